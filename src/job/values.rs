//! Jobs that stand in content where an id that they make will stand: a whole JSON string `job_…`.
//!
//! Found and replaced deep in objects and lists, and inside the JSON that stands as a string in a
//! `content`. Content that names no job keeps every byte.
//! Not here: what a job makes (`kind`), when it is known (`store`).

use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::job::{JobId, hex};

/// The field whose string may hold JSON of its own. Source: feishu/endpoints.md, section 2.
const NESTED: &str = "content";

/// The lane of what is done with the token of a click.
pub(crate) fn click_lane(token: &str) -> String {
    let hash = Sha256::digest(token);
    format!("click-{}", hex(&hash[..8]))
}

/// Among what other jobs made for one: that its uploads were made anew, so its content is another.
pub(crate) const RENEWED: &str = "renewed";

/// Every job that `value`, the field of that `name` (or ""), names, with its place below it as a JSON
/// pointer, in order.
///
/// A job inside a `content` string has the place of that string.
pub(crate) fn named(name: &str, value: &Value) -> Vec<(String, JobId)> {
    let mut found = Vec::new();
    find(value, name, String::new(), &mut found);
    found
}

fn find(value: &Value, name: &str, pointer: String, found: &mut Vec<(String, JobId)>) {
    match value {
        Value::String(text) => match text.parse() {
            Ok(job) => found.push((pointer, job)),
            Err(_) => {
                let inner = nested(name, text);
                let jobs = inner.iter().flat_map(|inner| named("", inner));
                found.extend(jobs.map(|(_, job)| (pointer.clone(), job)));
            }
        },
        Value::Array(list) => {
            for (n, item) in list.iter().enumerate() {
                find(item, "", format!("{pointer}/{n}"), found);
            }
        }
        Value::Object(map) => {
            for (name, item) in map {
                let escaped = name.replace('~', "~0").replace('/', "~1");
                find(item, name, format!("{pointer}/{escaped}"), found);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// The JSON in a string that may hold some; only where a job could stand in it.
fn nested(name: &str, text: &str) -> Option<Value> {
    let inner =
        (name == NESTED && text.contains(JobId::PREFIX)).then(|| serde_json::from_str(text));
    inner?
        .ok()
        .filter(|inner: &Value| inner.is_object() || inner.is_array())
}

/// Puts what the jobs made in their places. `made`: by `job_…`; other entries are left alone.
pub(crate) fn put(map: &mut Map<String, Value>, made: &Map<String, Value>) {
    if made.keys().any(|name| name.starts_with(JobId::PREFIX)) {
        for (name, value) in map {
            replace(name, value, made);
        }
    }
}

/// `true`: something changed.
fn replace(name: &str, value: &mut Value, made: &Map<String, Value>) -> bool {
    match value {
        Value::String(text) => {
            if text.starts_with(JobId::PREFIX)
                && let Some(id) = made.get(text.as_str())
            {
                *value = id.clone();
                return true;
            }
            let Some(mut inner) = nested(name, text) else {
                return false;
            };
            let changed = replace("", &mut inner, made);
            if changed {
                *text = inner.to_string();
            }
            changed
        }
        Value::Array(list) => {
            let changed = list
                .iter_mut()
                .filter_map(|item| replace("", item, made).then_some(()));
            changed.count() > 0
        }
        Value::Object(map) => {
            let changed = map
                .iter_mut()
                .filter_map(|(name, item)| replace(name, item, made).then_some(()));
            changed.count() > 0
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const A: &str = "job_0192a0000000700080000000000000aa";
    const B: &str = "job_0192a0000000700080000000000000bb";

    fn check(args: Value, places: &[&str], after: Value) {
        let found = named("", &args);
        let found: Vec<&str> = found.iter().map(|(place, _)| place.as_str()).collect();
        assert_eq!(found, places, "{args}");
        let made = json!({A: "img_1", B: "om_2", "message": "om_3"});
        let (Value::Object(mut map), Value::Object(made)) = (args, made) else {
            panic!("args are objects");
        };
        put(&mut map, &made);
        assert_eq!(Value::Object(map), after);
    }

    #[test]
    fn a_job_is_found_wherever_it_is_a_whole_string_and_nowhere_else() {
        check(
            json!({"messages": [B, "om_1"], "card": {"a/b": {"img_key": A}}}),
            &["/card/a~1b/img_key", "/messages/0"],
            json!({"messages": ["om_2", "om_1"], "card": {"a/b": {"img_key": "img_1"}}}),
        );
        let said = format!("see {A}");
        check(json!({"text": said}), &[], json!({"text": said}));
    }

    #[test]
    fn content_that_is_a_string_of_json_is_looked_into_and_else_keeps_every_byte() {
        let content = format!(r#"{{ "image_key" : "{A}" }}"#);
        check(
            json!({"content": content}),
            &["/content"],
            json!({"content": r#"{"image_key":"img_1"}"#}),
        );
        let spaced = r#"{ "text" : "job_ done" }"#;
        check(json!({"content": spaced}), &[], json!({"content": spaced}));
        let elsewhere = format!(r#"{{"image_key":"{A}"}}"#);
        check(json!({"text": elsewhere}), &[], json!({"text": elsewhere}));
    }

    #[test]
    fn a_job_that_made_nothing_known_stays_as_it_is() {
        let other = "job_0192a0000000700080000000000000cc";
        check(json!({"x": other}), &["/x"], json!({"x": other}));
    }
}
