//! A door to the parser of requests, for the fuzzer and the property tests.

use serde_json::Value;

use super::{Door, Flaw, Priority, parse};

/// What a producer without restrictions meets.
pub(super) fn door() -> Door {
    Door {
        apps: vec![String::from("main"), String::from("ops")],
        bots: vec![String::from("room")],
        allowed_apps: None,
        allowed_kinds: None,
        client: String::new(),
        priority: Priority::Normal,
        expires_in_ms: None,
        labels: Default::default(),
        now_ms: 1_767_225_600_000,
        arrived: Vec::new(),
    }
}

/// A job of a request: either every fault has its place in the request, or what was accepted is JSON.
pub fn job(bytes: &[u8]) {
    if let Ok(value) = serde_json::from_slice::<Value>(bytes) {
        parsed(&value);
    }
}

/// As `job`, from a value.
pub(super) fn parsed(value: &Value) {
    match parse(value, "", &door()) {
        Ok(job) => {
            let args: Value = serde_json::from_str(&job.args).expect("args are stored as JSON");
            assert!(args.is_object() && job.people >= 1);
            for part in &job.parts {
                let lists: Value = serde_json::from_str(&part.args).expect("lists are JSON");
                assert!(lists.is_object() && part.count >= 0);
            }
        }
        Err(flaws) => {
            assert!(!flaws.is_empty(), "a refusal says why");
            flaws.iter().for_each(|flaw| has_its_place(flaw, value));
        }
    }
}

/// The pointer leads to something in the request, or to what is missing in an object of it, be it in args
/// that are missing as well.
fn has_its_place(flaw: &Flaw, value: &Value) {
    let above = |pointer: &str| pointer.rsplit_once('/').map(|(above, _)| above.to_owned());
    let missing = above(&flaw.pointer);
    let found = value.pointer(&flaw.pointer).is_some()
        || missing.is_some_and(|above| match value.pointer(&above) {
            None | Some(Value::Null) => above.ends_with("/args"),
            Some(inside) => inside.is_object(),
        });
    assert!(found && !flaw.detail.is_empty(), "{flaw:?} in {value}");
}
