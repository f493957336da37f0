//! Any JSON: one alert an object, its parts where the route says they stand.

use serde_json::Value;

use super::{
    ANNOTATION_BYTES_MAX, KEY_BYTES_MAX, LABEL_BYTES_MAX, NAME_BYTES_MAX, Texts, Walk, cut,
    escaped, few, key, link,
};
use crate::alerts::notice::{Alert, Links, Notification};
use crate::clock;
use crate::config::Fields;

/// From here on a number of a time is milliseconds: as seconds this is the year 5138.
const MILLISECONDS_FROM: i64 = 100_000_000_000;

pub(super) fn read(walk: &mut Walk, value: &Value, fields: &Fields) -> Notification {
    if !value.is_object() {
        walk.flaw("", "must be an object, one alert");
        return Notification::default();
    }
    let mut found = Found {
        walk,
        value,
        fields,
    };
    let id = found.needed("id");
    let firing = found.firing();
    let title = found.text("title");
    let text = found.text("text");
    let mut labels = found.labels();
    if let Some(severity) = found.text("severity") {
        labels.insert(String::from("severity"), cut(&severity, LABEL_BYTES_MAX));
    }
    let mut annotations = Texts::new();
    if let Some(title) = title {
        annotations.insert(String::from("summary"), cut(&title, ANNOTATION_BYTES_MAX));
        let name = labels.entry(String::from("alertname"));
        name.or_insert_with(|| cut(&title, NAME_BYTES_MAX));
    }
    if let Some(text) = text {
        let text = cut(&text, ANNOTATION_BYTES_MAX);
        annotations.insert(String::from("description"), text);
    }
    let group = found.text("group").filter(|group| !group.is_empty());
    let starts_ms = found.time("starts_at").unwrap_or(0);
    let ends_ms = found.time("ends_at").filter(|_| !firing);
    let alert = Alert {
        fingerprint: key(&id, NAME_BYTES_MAX),
        firing,
        starts_ms,
        ends_ms,
        labels: few(labels),
        annotations,
        links: Links {
            source: link(found.text("url").as_deref()),
            runbook: link(found.text("runbook_url").as_deref()),
            ..Links::default()
        },
    };
    Notification {
        group_key: key(&group.unwrap_or(id), KEY_BYTES_MAX),
        alerts: vec![alert],
        ..Notification::default()
    }
}

struct Found<'a> {
    walk: &'a mut Walk,
    value: &'a Value,
    fields: &'a Fields,
}

impl Found<'_> {
    fn path(&self, name: &str) -> String {
        let said = self.fields.paths.get(name);
        said.cloned().unwrap_or_else(|| format!("/{name}"))
    }

    /// A text, or what is written as one; `null` is none.
    fn text(&mut self, name: &str) -> Option<String> {
        let path = self.path(name);
        let value = self.value.pointer(&path)?;
        match scalar(value) {
            Some(text) => Some(text),
            None if value.is_null() => None,
            None => {
                self.walk.flaw(&path, "must be a text or a number");
                None
            }
        }
    }

    fn needed(&mut self, name: &str) -> String {
        let flaws = self.walk.flaws.len();
        let text = self.text(name).filter(|text| !text.is_empty());
        if text.is_none() && self.walk.flaws.len() == flaws {
            let path = self.path(name);
            self.walk.flaw(&path, "is missing");
        }
        text.unwrap_or_default()
    }

    fn firing(&mut self) -> bool {
        let word = self.needed("status").trim().to_lowercase();
        let says = |words: &[String]| words.contains(&word);
        match &*word {
            _ if says(&self.fields.firing) => return true,
            _ if says(&self.fields.resolved) => return false,
            "firing" => return true,
            "resolved" | "" => return false,
            _ => {}
        }
        let path = self.path("status");
        let detail = "must be \"firing\" or \"resolved\", or a word of the route's fields.firing or fields.resolved";
        self.walk.flaw(&path, detail);
        false
    }

    fn labels(&mut self) -> Texts {
        let path = self.path("labels");
        let map = match self.value.pointer(&path) {
            None | Some(Value::Null) => return Texts::new(),
            Some(Value::Object(map)) => map,
            Some(_) => {
                self.walk.flaw(&path, "must be an object");
                return Texts::new();
            }
        };
        let mut labels = Texts::new();
        for (name, value) in map {
            match scalar(value) {
                Some(text) => {
                    labels.insert(cut(name, NAME_BYTES_MAX), cut(&text, LABEL_BYTES_MAX));
                }
                None if value.is_null() => {}
                None => {
                    let at = format!("{path}/{}", escaped(name));
                    self.walk
                        .flaw(&at, "must be a text, a number, true or false");
                }
            }
        }
        labels
    }

    /// RFC 3339, or Unix seconds or milliseconds.
    fn time(&mut self, name: &str) -> Option<i64> {
        let text = self.text(name)?;
        let text = text.trim();
        let number = text.parse::<i64>().ok().map(|n| match n {
            n if n < MILLISECONDS_FROM => n.saturating_mul(1000),
            n => n,
        });
        match number.or_else(|| clock::parse_rfc3339(text)) {
            Some(ms) => Some(ms).filter(|ms| (1..253_402_300_800_000).contains(ms)),
            None if text.is_empty() => None,
            None => {
                let path = self.path(name);
                let detail = "must be a time: RFC 3339, or Unix seconds or milliseconds";
                self.walk.flaw(&path, detail);
                None
            }
        }
    }
}

fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(on) => Some(on.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}
