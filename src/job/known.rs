//! The names that the reader of a job knows, for the tests that hold other lists against them.

use std::collections::BTreeMap;

use serde_json::Map;

use crate::job::fields::Fields;
use crate::job::submit::Envelope;
use crate::job::{Door, Kind, Priority, args};

/// The fields that a job of this kind may have, and those of its args.
pub(crate) fn known(kind: Kind) -> (Vec<&'static str>, Vec<&'static str>) {
    let map = Map::new();
    let mut fields = Fields::new(&map, "");
    let door = Door {
        apps: vec![String::from("ops")],
        bots: vec![String::from("room")],
        allowed_apps: None,
        allowed_kinds: None,
        client: String::new(),
        priority: Priority::Normal,
        expires_in_ms: None,
        labels: BTreeMap::new(),
        now_ms: 0,
        arrived: Vec::new(),
    };
    Envelope::read(&mut fields, &door, None);
    fields.leave(&["then", "args"]);
    (fields.known, args::known(kind))
}
