//! Requests of any form: nothing panics, every fault has its place, what is accepted is accepted again.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::fuzz::{door, parsed};
use super::parse;

/// Good requests, to be spoilt.
fn requests() -> Vec<Value> {
    vec![
        json!({"kind": "send", "key": "k", "priority": "high", "lane": "l", "expires_in": "2h",
            "labels": {"team": "db"}, "on_doubt": "hold",
            "args": {"to": "oc_1", "to_type": "chat_id", "text": "hi"},
            "then": [{"kind": "pin", "delay": "5s"}, {"kind": "urgent_app", "args": {"users": ["ou_1"]}}]}),
        json!({"kind": "send", "not_before": "2026-02-01T00:00:00Z", "args": {"receive_id": "ou_1",
            "card": {"schema": "2.0", "body": {"elements": [{"tag": "markdown", "content": "x"}]}}}}),
        json!({"kind": "send", "args": {"to": "a@b.c", "msg_type": "text", "content": {"text": "hi"}}}),
        json!({"kind": "batch_send", "args": {"open_ids": ["ou_1", "ou_2"], "department_ids": ["od_1"], "text": "hi"}}),
        json!({"kind": "recall", "args": {"message": "om_1"}}),
        json!({"kind": "batch_recall", "args": {"batch_message_id": "bm-1"}}),
        json!({"kind": "urgent_sms", "args": {"message_id": "om_1", "users": ["ou_1"]}}),
        json!({"kind": "upload_image", "args": {"data": "iVBORw0KGgo=", "file_name": "a.png"}}),
        json!({"kind": "upload_file", "args": {"data": "AAAA", "file_name": "a.mp4", "file_type": "mp4", "duration": 1}}),
        json!({"kind": "send", "args": {"to": "oc_1", "media": {"data": "AAAA", "cover": {"data": "iVBORw0KGgo="}}}}),
    ]
}

fn any_value() -> impl Strategy<Value = Value> {
    let words = [
        "",
        "send",
        "om_1",
        "oc_1",
        "5m",
        "-1s",
        "job_",
        "img_1",
        "\u{0}",
        "a/b~c",
        "2026-01-31T08:00:00Z",
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<i16>().prop_map(|eighths| json!(f64::from(eighths) / 8.0)),
        prop::sample::select(words.to_vec()).prop_map(Value::from),
        ".{0,300}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 40, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::btree_map(name(), inner, 0..6)
                .prop_map(|map| Value::Object(Map::from_iter(map))),
        ]
    })
}

fn name() -> impl Strategy<Value = String> {
    let known = [
        "kind", "args", "then", "to", "text", "card", "post", "content", "msg_type", "image",
        "labels", "delay", "users", "open_ids", "message", "key", "elements", "tag", "schema",
        "track",
    ];
    prop_oneof![
        4 => prop::sample::select(known.to_vec()).prop_map(String::from),
        1 => "[a-z/~\u{0}é]{0,6}",
    ]
}

/// Puts `value` at the `nth` place of a request, in the order of a walk: over it, or into it as `name`.
fn spoil(target: &mut Value, nth: &mut usize, name: &str, value: &Value) {
    if *nth == 0 {
        match target {
            Value::Object(map) if !name.is_empty() => {
                drop(map.insert(name.to_owned(), value.clone()))
            }
            _ => *target = value.clone(),
        }
    }
    *nth = nth.wrapping_sub(1);
    match target {
        Value::Object(map) => map
            .values_mut()
            .for_each(|inner| spoil(inner, nth, name, value)),
        Value::Array(list) => list
            .iter_mut()
            .for_each(|inner| spoil(inner, nth, name, value)),
        _ => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_request_is_accepted_whole_or_refused_with_places_that_exist(
        mut value in prop_oneof![6 => prop::sample::select(requests()), 1 => any_value()],
        edits in prop::collection::vec((0..24_usize, name(), any_value()), 0..4),
    ) {
        for (mut nth, name, new) in edits {
            spoil(&mut value, &mut nth, &name, &new);
        }
        parsed(&value);
    }

    /// What is stored is a request again, and the same one.
    #[test]
    fn what_was_accepted_is_accepted_again(
        mut value in prop::sample::select(requests()),
        (mut nth, name, new) in (0..24_usize, name(), any_value()),
    ) {
        spoil(&mut value, &mut nth, &name, &new);
        let Ok(job) = parse(&value, "", &door()) else {
            return Ok(());
        };
        if job.upload.is_none() && job.first.is_empty() && job.references.is_empty() && job.parts.is_empty() {
            let args: Value = serde_json::from_str(&job.args).unwrap();
            let again = json!({"kind": job.kind.name(), "args": args});
            let same = parse(&again, "", &door());
            prop_assert_eq!(same.map(|job| job.args), Ok(job.args), "{}", again);
        }
    }
}

#[test]
fn the_requests_that_are_spoilt_are_good_ones() {
    for request in requests() {
        let parsed = parse(&request, "/3", &door());
        assert!(parsed.is_ok(), "{request}: {:?}", parsed.err());
        let wrong = parse(&json!({"kind": request["kind"], "x": 1}), "/3", &door());
        let pointers = wrong.unwrap_err();
        assert!(pointers.iter().all(|flaw| flaw.pointer.starts_with("/3")));
    }
}
