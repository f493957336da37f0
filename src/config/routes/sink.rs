//! What a sink reads, where it finds it, and the signature that it wants.

use std::collections::BTreeMap;
use std::fmt;

use secrecy::{ExposeSecret, SecretString};

use super::super::read::{Given, Section, parsed};
use super::super::secret;
use super::super::sections::{Context, value_or};

/// Grafana's own. Source: grafana.com/docs/grafana/latest/alerting, webhook notifier, read 2026-11-22.
const SIGNATURE_HEADER: &str = "X-Grafana-Alerting-Signature";

/// What a sink reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// Alertmanager's webhook, version 4.
    Alertmanager,
    /// Grafana's unified alerting.
    Grafana,
    /// Any JSON.
    Generic,
}

/// Of `generic`: where in the body each thing stands, as a JSON pointer or as names with dots between; and its
/// words for the two states.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fields {
    /// Paths, by what they lead to: the names of `PATHS`.
    pub paths: BTreeMap<&'static str, String>,
    /// Besides `firing`.
    pub firing: Vec<String>,
    /// Besides `resolved`.
    pub resolved: Vec<String>,
}

/// What `fields` may lead to, and where it stands when nothing is said.
pub const PATHS: [&str; 11] = [
    "id",
    "status",
    "title",
    "text",
    "severity",
    "labels",
    "url",
    "group",
    "starts_at",
    "ends_at",
    "runbook_url",
];

/// A signature over the body.
#[derive(Clone)]
pub struct Signature {
    /// Of the HMAC-SHA256.
    pub secret: SecretString,
    /// The header that holds it, in hexadecimal.
    pub header: String,
    /// The header of the time that is signed too, Unix seconds.
    pub timestamp_header: Option<String>,
}

impl PartialEq for Signature {
    fn eq(&self, other: &Signature) -> bool {
        self.secret.expose_secret() == other.secret.expose_secret()
            && self.header == other.header
            && self.timestamp_header == other.timestamp_header
    }
}

impl Eq for Signature {}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signature")
            .field("header", &self.header)
            .field("timestamp_header", &self.timestamp_header)
            .finish_non_exhaustive()
    }
}

pub(super) fn source(text: &str) -> Result<Source, String> {
    match text {
        "alertmanager" => Ok(Source::Alertmanager),
        "grafana" => Ok(Source::Grafana),
        "generic" => Ok(Source::Generic),
        _ => Err(format!("{text:?} is not alertmanager, grafana or generic")),
    }
}

pub(super) fn fields(context: &Context<'_, '_>, mut section: Section<'_, '_>) -> Fields {
    let mut paths = BTreeMap::new();
    for name in PATHS {
        if let Some(given) = section.get(name, parsed(path)) {
            paths.insert(name, given.value);
        }
    }
    let firing = section.one_or_more("firing", parsed(word));
    let resolved = section.one_or_more("resolved", parsed(word));
    section.finish();
    for given in &resolved {
        if firing.iter().any(|one| one.value == given.value) {
            context.report.fault(&given.at, "stands under firing too");
        }
    }
    let plain = |all: Vec<Given<String>>| all.into_iter().map(|given| given.value).collect();
    Fields {
        paths,
        firing: plain(firing),
        resolved: plain(resolved),
    }
}

/// A place in JSON, as a JSON pointer.
fn path(text: &str) -> Result<String, String> {
    if text.is_empty() || text.len() > 500 {
        return Err(String::from("must be like \"event.id\" or \"/event/id\""));
    }
    if text.starts_with('/') {
        return Ok(text.to_owned());
    }
    let mut pointer = String::new();
    for name in text.split('.') {
        if name.is_empty() {
            return Err(String::from("has an empty name between its dots"));
        }
        pointer.push('/');
        pointer.push_str(&name.replace('~', "~0").replace('/', "~1"));
    }
    Ok(pointer)
}

fn word(text: &str) -> Result<String, String> {
    match text.trim() {
        "" => Err(String::from("is empty")),
        text => Ok(text.to_lowercase()),
    }
}

pub(super) fn signature(
    context: &Context<'_, '_>,
    section: &mut Section<'_, '_>,
) -> Option<Signature> {
    const KEYS: secret::Keys = ["hmac_secret", "hmac_secret_file", "hmac_secret_env"];
    let signs = KEYS.iter().any(|key| section.has(key));
    let secret = secret::one(context, section, KEYS);
    let named = section.get("hmac_header", parsed(header));
    let timestamp_header = section.get("hmac_timestamp_header", parsed(header));
    for given in [&named, &timestamp_header].into_iter().flatten() {
        if !signs {
            let message = "says nothing without hmac_secret, hmac_secret_file or hmac_secret_env";
            context.report.fault(&given.at, message);
        }
    }
    Some(Signature {
        secret: secret?,
        header: value_or(named, String::from(SIGNATURE_HEADER)),
        timestamp_header: timestamp_header.map(|given| given.value),
    })
}

fn header(text: &str) -> Result<String, String> {
    match text.eq_ignore_ascii_case("authorization") {
        true => Err(String::from("is where the client's token stands")),
        false => header_name(text),
    }
}

fn header_name(text: &str) -> Result<String, String> {
    match http::HeaderName::try_from(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(_) => Err(format!("{text:?} is no name of a header")),
    }
}
