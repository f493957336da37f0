//! JSON text, changed in single places: every other byte stays as the caller wrote it.

use std::fmt;

use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::{UUID, is_uuid};
use crate::job::JobId;

/// The field whose string may hold JSON of its own. Source: endpoints.md, section 2.
const NESTED: &str = "content";

/// Every job that is a whole string of `text`, which is JSON; also in the JSON of a `content`.
pub(super) fn named(text: &str) -> Vec<JobId> {
    let mut jobs = Vec::new();
    let mut find = |job: JobId| {
        jobs.push(job);
        None
    };
    change(text, true, &mut find);
    jobs
}

/// `text` with the ids that jobs made in their places. `made`: by `job_…`.
pub(crate) fn put(text: &str, made: &Map<String, Value>) -> String {
    if made.keys().any(|name| name.starts_with(JobId::PREFIX)) {
        let mut find = |job: JobId| made.get(&job.to_string())?.as_str().map(str::to_owned);
        if let Some(changed) = change(text, true, &mut find) {
            return changed;
        }
    }
    text.to_owned()
}

/// `None`: nothing was changed.
fn change(
    text: &str,
    nests: bool,
    find: &mut dyn FnMut(JobId) -> Option<String>,
) -> Option<String> {
    // A job's name can also be written with escapes.
    if !text.contains(JobId::PREFIX) && !text.contains("\\u") {
        return None;
    }
    let bytes = text.as_bytes();
    let mut changed = String::new();
    let (mut copied, mut at) = (0, 0);
    let mut key = String::new();
    while at < bytes.len() {
        if bytes[at] != b'"' {
            at += 1;
            continue;
        }
        let end = end_of_string(bytes, at);
        let literal = &text[at..end];
        let (from, is_key) = (at, text[end..].trim_start().starts_with(':'));
        at = end;
        if is_key {
            key = plain(literal).unwrap_or_default();
            continue;
        }
        let Some(string) = plain(literal) else {
            continue;
        };
        let put = match string.parse() {
            Ok(job) => find(job),
            Err(_) if nests && key == NESTED && string.trim_start().starts_with(['{', '[']) => {
                let is_json = serde_json::from_str::<&RawValue>(&string).is_ok();
                is_json.then(|| change(&string, false, find)).flatten()
            }
            Err(_) => None,
        };
        if let Some(put) = put {
            changed.push_str(&text[copied..from]);
            changed.push_str(&Value::String(put).to_string());
            copied = end;
        }
    }
    (copied > 0).then(|| {
        changed.push_str(&text[copied..]);
        changed
    })
}

/// Behind the closing quote of the string that begins at `start`.
fn end_of_string(bytes: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    bytes.len()
}

fn plain(literal: &str) -> Option<String> {
    serde_json::from_str(literal).ok()
}

/// The object `text` with this `uuid`, whatever it had; one that Feishu does not take stays.
pub(crate) fn with_uuid(text: &str, uuid: &str) -> String {
    let Ok(Pairs(pairs)) = serde_json::from_str(text) else {
        return text.to_owned();
    };
    let refused = |(name, value): &(String, &RawValue)| {
        let fits = match serde_json::from_str(value.get()) {
            Ok(Value::Null) => true,
            Ok(Value::String(given)) => is_uuid(&given),
            _ => false,
        };
        name == UUID && !fits
    };
    if pairs.iter().any(refused) {
        return text.to_owned();
    }
    let mut whole = String::with_capacity(text.len() + 64);
    for (name, value) in pairs.iter().filter(|(name, _)| name != UUID) {
        push(&mut whole, name, value.get());
    }
    push(&mut whole, UUID, &Value::from(uuid).to_string());
    whole.push('}');
    whole
}

fn push(whole: &mut String, name: &str, value: &str) {
    whole.push(if whole.is_empty() { '{' } else { ',' });
    whole.push_str(&Value::from(name).to_string());
    whole.push(':');
    whole.push_str(value);
}

/// An object's fields in their order, each as it was written.
struct Pairs<'a>(Vec<(String, &'a RawValue)>);

impl<'de> serde::Deserialize<'de> for Pairs<'de> {
    fn deserialize<D: Deserializer<'de>>(reader: D) -> Result<Pairs<'de>, D::Error> {
        struct Fields;
        impl<'de> Visitor<'de> for Fields {
            type Value = Pairs<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs<'de>, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Pairs(pairs))
            }
        }
        reader.deserialize_map(Fields)
    }
}
