//! What sources send, read into one form.
//!
//! Everything is bounded: the body, its values, the alerts of a notification, the labels of an alert and each text
//! in it. What a source cannot mean is refused with its place, and nothing of the content stands in the refusal.
//! What it can mean is taken, however odd: a source that was refused drops the alert.
//! Not here: which route takes an alert (`routes`), who may post at all (`http`).

mod alertmanager;
mod generic;
mod grafana;
mod signature;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::alerts::notice::{Alert, Notification};
use crate::clock;
use crate::config::{Fields, Source};
use crate::job::Flaw;

pub(crate) use self::signature::verify;

/// The longest body of a notification.
pub const BODY_BYTES_MAX: usize = 16 << 20;
/// The most values of one body: a list of nothing takes thirty times its size in memory.
const VALUES_MAX: usize = 1_000_000;
/// The most alerts of a notification; what fires before what does not, then in the source's order.
const ALERTS_MAX: usize = 10_000;
/// The most labels of an alert, and the most annotations.
const LABELS_MAX: usize = 100;
/// The longest name of a label, and the longest fingerprint and group key that are kept as they are.
const NAME_BYTES_MAX: usize = 256;
const KEY_BYTES_MAX: usize = 1000;
/// The longest value of a label, and of an annotation.
const LABEL_BYTES_MAX: usize = 4 << 10;
const ANNOTATION_BYTES_MAX: usize = 8 << 10;
/// The longest link.
const LINK_BYTES_MAX: usize = 2048;
/// The most faults that are listed.
const FLAWS_MAX: usize = 100;
/// Labels that stay whatever else is left out.
const FIRST: [&str; 4] = ["alertname", "severity", "priority", "level"];

/// Why a notification is not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// It does not show that it comes from its source.
    Unsigned(&'static str),
    /// It is no JSON; where, and what is wrong there.
    Malformed(String),
    /// It is too large.
    TooLarge(String),
    /// It is JSON of another form; every fault with its place.
    Flawed(Vec<Flaw>),
}

/// Reads `body` as that source sends it.
///
/// # Errors
/// It is not of that form.
pub fn read(source: Source, fields: &Fields, body: &[u8]) -> Result<Notification, Refused> {
    let value = json(body)?;
    let mut walk = Walk::default();
    let notification = match source {
        Source::Alertmanager => alertmanager::read(&mut walk, &value),
        Source::Grafana => grafana::read(&mut walk, &value),
        Source::Generic => generic::read(&mut walk, &value, fields),
    };
    match walk.flaws.is_empty() {
        true => Ok(bounded(notification)),
        false => Err(Refused::Flawed(walk.flaws)),
    }
}

fn json(body: &[u8]) -> Result<Value, Refused> {
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    if body.len() > BODY_BYTES_MAX || values(body) > VALUES_MAX {
        let detail = "a notification is at most 16 MiB and a million values; let the source send fewer alerts in one (max_alerts)";
        return Err(Refused::TooLarge(String::from(detail)));
    }
    serde_json::from_slice(body).map_err(|error| Refused::Malformed(error.to_string()))
}

/// How many values the JSON in `body` may hold at most.
fn values(body: &[u8]) -> usize {
    let (mut count, mut text, mut escaped) = (1, false, false);
    for byte in body {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if text => escaped = true,
            b'"' => text = !text,
            b',' | b':' | b'[' | b'{' if !text => count += 1,
            _ => {}
        }
    }
    count
}

/// Each fingerprint once, and not more alerts than are kept.
fn bounded(mut notification: Notification) -> Notification {
    let mut places: BTreeMap<String, usize> = BTreeMap::new();
    let mut alerts: Vec<Alert> = Vec::with_capacity(notification.alerts.len());
    for alert in notification.alerts {
        match places.get(&alert.fingerprint) {
            None => {
                places.insert(alert.fingerprint.clone(), alerts.len());
                alerts.push(alert);
            }
            Some(place) => {
                // Of two words on one alert the one on the later firing counts; of the same, its end.
                let known = &mut alerts[*place];
                if (alert.starts_ms, !alert.firing) >= (known.starts_ms, !known.firing) {
                    *known = alert;
                }
            }
        }
    }
    if alerts.len() > ALERTS_MAX {
        let firing = |alerts: &[Alert]| alerts.iter().filter(|alert| alert.firing).count();
        let before = firing(&alerts);
        // Stable: the source's order stays among what fires and among what does not.
        alerts.sort_by_key(|alert| !alert.firing);
        alerts.truncate(ALERTS_MAX);
        let left_out = (before - firing(&alerts)) as u64;
        notification.truncated = notification.truncated.saturating_add(left_out);
    }
    Notification {
        alerts,
        ..notification
    }
}

/// Reads values and notes what is wrong with them, each with its place.
#[derive(Default)]
struct Walk {
    flaws: Vec<Flaw>,
}

impl Walk {
    fn flaw(&mut self, at: &str, detail: impl Into<String>) {
        if self.flaws.len() < FLAWS_MAX {
            self.flaws.push(Flaw {
                pointer: at.to_owned(),
                detail: detail.into(),
            });
        }
    }

    /// A field that may be missing, `null` or a string.
    fn text<'v>(&mut self, value: &'v Value, at: &str, name: &str) -> Option<&'v str> {
        match value.get(name) {
            None | Some(Value::Null) => None,
            Some(Value::String(text)) => Some(text),
            Some(_) => {
                self.flaw(&format!("{at}/{name}"), "must be a string");
                None
            }
        }
    }

    /// A field that may be missing, `null` or an object of strings.
    fn texts(&mut self, value: &Value, at: &str, name: &str, longest: usize) -> Texts {
        let map = match value.get(name) {
            None | Some(Value::Null) => return Texts::new(),
            Some(Value::Object(map)) => map,
            Some(_) => {
                self.flaw(&format!("{at}/{name}"), "must be an object of strings");
                return Texts::new();
            }
        };
        let mut texts = Texts::new();
        for (key, value) in map {
            match value {
                Value::String(text) => {
                    texts.insert(cut(key, NAME_BYTES_MAX), cut(text, longest));
                }
                _ => {
                    let place = escaped(key);
                    self.flaw(&format!("{at}/{name}/{place}"), "must be a string");
                }
            }
        }
        few(texts)
    }

    /// The time in a field that may be missing, `null` or RFC 3339; a time before 1970 is none.
    fn time(&mut self, value: &Value, at: &str, name: &str) -> Option<i64> {
        let text = self.text(value, at, name).filter(|text| !text.is_empty())?;
        match clock::parse_rfc3339(text) {
            Some(ms) => Some(ms).filter(|ms| *ms > 0),
            None => {
                let detail = "must be a time as RFC 3339 writes it: 2026-01-31T08:00:00Z";
                self.flaw(&format!("{at}/{name}"), detail);
                None
            }
        }
    }
}

type Texts = BTreeMap<String, String>;

/// At most `LABELS_MAX`: those that say what it is, then by name.
fn few(mut texts: Texts) -> Texts {
    if texts.len() <= LABELS_MAX {
        return texts;
    }
    let first: Texts = FIRST
        .iter()
        .filter_map(|name| texts.remove_entry(*name))
        .collect();
    let rest = texts.into_iter().take(LABELS_MAX - first.len());
    rest.chain(first.clone()).collect()
}

/// The text, or what of it fits into `bytes` with a mark of the cut.
fn cut(text: &str, bytes: usize) -> String {
    if text.len() <= bytes {
        return text.to_owned();
    }
    let mut end = bytes - '…'.len_utf8();
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}…", &text[..end])
}

/// A key as it is, or what stands for a very long one.
fn key(text: &str, longest: usize) -> String {
    match text.len() <= longest {
        true => text.to_owned(),
        false => format!("sha256:{}", crate::job::hex(&Sha256::digest(text))),
    }
}

/// What stands for a fingerprint where the source gives none.
fn fingerprint(labels: &Texts) -> String {
    let mut hash = Sha256::new();
    for text in labels.iter().flat_map(|(name, value)| [name, value]) {
        hash.update(text.len().to_be_bytes());
        hash.update(text);
    }
    crate::job::hex(&hash.finalize()[..8])
}

/// A name as a part of a JSON pointer.
fn escaped(name: &str) -> String {
    cut(&name.replace('~', "~0").replace('/', "~1"), NAME_BYTES_MAX)
}

/// A link that leads to a web page, in the form that a browser would give it; anything else is none.
fn link(text: Option<&str>) -> Option<String> {
    let text = text?.trim();
    if text.len() > LINK_BYTES_MAX {
        return None;
    }
    let url = reqwest::Url::parse(text).ok()?;
    let web = matches!(url.scheme(), "http" | "https") && url.host_str().is_some();
    let text = String::from(url);
    (web && text.len() <= LINK_BYTES_MAX).then_some(text)
}

/// The first of these annotations that is a link.
fn annotated(annotations: &Texts, names: &[&str]) -> Option<String> {
    let named = names.iter().filter_map(|name| annotations.get(*name));
    named.filter_map(|text| link(Some(text))).next()
}

/// A door for the fuzzer: what is taken is within its bounds, and a refusal says why.
#[cfg(any(fuzzing, test))]
pub fn fuzz(bytes: &[u8]) {
    let fields = Fields {
        paths: BTreeMap::new(),
        firing: Vec::new(),
        resolved: Vec::new(),
    };
    for source in [Source::Alertmanager, Source::Grafana, Source::Generic] {
        match read(source, &fields, bytes) {
            Ok(read) => {
                assert!(!read.group_key.is_empty() && read.alerts.len() <= ALERTS_MAX);
                for alert in &read.alerts {
                    assert!(!alert.fingerprint.is_empty() && alert.starts_ms >= 0);
                    assert!(alert.labels.len() <= LABELS_MAX);
                }
            }
            Err(Refused::Flawed(flaws)) => assert!(!flaws.is_empty()),
            Err(_) => {}
        }
    }
}
