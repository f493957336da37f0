//! What two runs of the scenario were told, made comparable: ids by where they first came up, times
//! left out.

use std::collections::HashMap;

use serde_json::{Value, json};

/// What stands before the random part of an id.
const PREFIXES: [&str; 10] = [
    "om_", "omt_", "oc_", "img_v3_", "file_v3_", "bm-", "c-", "t-", "preview_", "job_",
];
/// The random part has at least so many characters; shorter words are words.
const RANDOM_CHARS_MIN: usize = 16;
/// Fields whose whole value is an id without a prefix.
const IDS: [&str; 3] = ["reaction_id", "page_token", "key"];
/// Fields that tell a time.
const TIMES: [&str; 5] = [
    "create_time",
    "update_time",
    "action_time",
    "timestamp",
    "expire",
];

/// Feishu's own notes of each call.
const TRACES: [&str; 2] = ["log_id", "troubleshooter"];

/// The names given so far.
#[derive(Debug, Default)]
pub(crate) struct Names {
    given: HashMap<String, String>,
}

impl Names {
    fn of(&mut self, id: &str) -> String {
        let next = format!("id {}", self.given.len() + 1);
        self.given.entry(id.to_owned()).or_insert(next).clone()
    }

    /// Each of them with ids named and times left out.
    pub(crate) fn all(&mut self, values: &[Value]) -> Vec<Value> {
        values.iter().map(|value| self.put(value)).collect()
    }

    fn put(&mut self, value: &Value) -> Value {
        match value {
            Value::Array(list) => list.iter().map(|each| self.put(each)).collect(),
            Value::Object(fields) => {
                let mut put = serde_json::Map::new();
                for (name, value) in fields {
                    if TRACES.contains(&name.as_str()) {
                        continue;
                    }
                    let value = match value {
                        _ if TIMES.contains(&name.as_str()) => Value::from("-"),
                        Value::String(id) if IDS.contains(&name.as_str()) => self.of(id).into(),
                        _ => self.put(value),
                    };
                    if name != "error" || value != json!({}) {
                        put.insert(name.clone(), value);
                    }
                }
                Value::Object(put)
            }
            Value::String(text) => self.text(text).into(),
            _ => value.clone(),
        }
    }

    /// Ids may stand anywhere in a text, as in content that is JSON in a string.
    fn text(&mut self, text: &str) -> String {
        let mut put = String::new();
        let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        let mut rest = text;
        while !rest.is_empty() {
            let end = rest.find(|c| !is_part(c)).unwrap_or(rest.len());
            let (word, more) = rest.split_at(end);
            let is_id = PREFIXES.iter().any(|prefix| {
                word.strip_prefix(prefix)
                    .is_some_and(|random| random.len() >= RANDOM_CHARS_MIN)
            });
            let named = is_id && !word.starts_with("oc_5a9db0c");
            put.push_str(&if named {
                self.of(word)
            } else {
                word.to_owned()
            });
            let other = more.find(is_part).unwrap_or(more.len());
            put.push_str(&more[..other]);
            rest = &more[other..];
        }
        put
    }
}

/// Step by step the same, or it is said where not.
pub(crate) fn agreed(one: &[Value], other: &[Value]) {
    assert_eq!(one.len(), other.len());
    let differ = |(one, other): &(&Value, &Value)| one != other;
    let apart: Vec<String> = one
        .iter()
        .zip(other)
        .filter(differ)
        .map(|(one, other)| format!("{one}\nbecame\n{other}\n"))
        .collect();
    assert!(apart.is_empty(), "{}", apart.join("\n"));
}
