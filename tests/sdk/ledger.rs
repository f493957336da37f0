//! Two ledgers, compared effect by effect in whatever order, and the jobs behind one of them.
//!
//! An id is named after what made it, so that it is the same in both: a message after what it says and
//! where it stands, an upload after its sort.

use std::collections::HashMap;

use serde_json::Value;

use crate::relayed::seen;
use crate::support::House;

/// What the ids of the default world's rooms begin with; others are made as somebody is spoken to.
const ROOM: &str = "oc_5a9db0c";

/// The effects with every id named after what made it.
fn described(ledger: &Value) -> Vec<Value> {
    let mut names: HashMap<String, String> = HashMap::new();
    let mut described = Vec::new();
    for effect in seen(ledger) {
        // Who speaks to a person first makes the room of the two.
        for field in ["chat_id", "message_id", "batch_message_id", "key"] {
            let Some(id) = effect[field].as_str() else {
                continue;
            };
            if id.starts_with(ROOM) || names.contains_key(id) {
                continue;
            }
            let name = match field {
                "key" => format!("made by {}", effect["call"]),
                _ => nameless(&effect, &names).to_string(),
            };
            names.insert(id.to_owned(), name);
        }
        described.push(renamed(&effect, &names));
    }
    described
}

/// An effect without the ids that are not known yet.
fn nameless(effect: &Value, names: &HashMap<String, String>) -> Value {
    let mut effect = effect.clone();
    let fields = effect.as_object_mut().unwrap();
    for field in ["chat_id", "message_id", "batch_message_id"] {
        let id = fields.get(field).and_then(Value::as_str);
        if id.is_some_and(|id| !id.starts_with(ROOM) && !names.contains_key(id)) {
            fields.remove(field);
        }
    }
    renamed(&effect, names)
}

fn renamed(value: &Value, names: &HashMap<String, String>) -> Value {
    match value {
        Value::Array(list) => list.iter().map(|each| renamed(each, names)).collect(),
        Value::Object(fields) => fields
            .iter()
            .map(|(name, value)| (name.clone(), renamed(value, names)))
            .collect(),
        Value::String(text) => {
            let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
            let mut renamed = text.clone();
            for word in text.split(|c| !is_part(c)) {
                if let Some(name) = names.get(word) {
                    renamed = renamed.replace(word, name);
                } else if word.starts_with("preview_") {
                    renamed = renamed.replace(word, "a preview");
                }
            }
            Value::String(renamed)
        }
        _ => value.clone(),
    }
}

/// What `here` has more of than `straight`, and what fewer.
pub(crate) fn told_apart(straight: &Value, here: &Value) -> (Vec<Value>, Vec<Value>) {
    let (straight, here) = (described(straight), described(here));
    (without(&here, &straight), without(&straight, &here))
}

/// Those of `one` that `other` has not, or not as often.
fn without(one: &[Value], other: &[Value]) -> Vec<Value> {
    let mut rest = other.to_vec();
    let mut left = Vec::new();
    for effect in one {
        match rest.iter().position(|each| each == effect) {
            Some(at) => drop(rest.swap_remove(at)),
            None => left.push(effect.clone()),
        }
    }
    left
}

/// All jobs of the relay.
pub(crate) async fn jobs_of(house: &House) -> Vec<Value> {
    let mut jobs = Vec::new();
    let mut path = String::from("/v1/jobs?limit=200");
    loop {
        let (status, page) = house.request("GET", &path, None).await;
        assert_eq!(status, 200, "{page}");
        jobs.extend(page["jobs"].as_array().unwrap().iter().cloned());
        match page["next_cursor"].as_str() {
            Some(cursor) => path = format!("/v1/jobs?limit=200&cursor={cursor}"),
            None => return jobs,
        }
    }
}
