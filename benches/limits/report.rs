//! What is said of a run: facts and goals, for people and for programs.

use std::fmt::Write;
use std::io::{IsTerminal, Write as _};

use serde_json::{Map, Value, json};

use super::judge::Faults;

/// Lines in the order in which they came.
#[derive(Debug, Default)]
pub(crate) struct Report {
    lines: Vec<(String, String)>,
    json: Map<String, Value>,
    missed: Vec<String>,
}

impl Report {
    /// A number without a goal.
    pub(crate) fn fact(&mut self, name: &str, value: impl Into<Value>, says: String) {
        self.json.insert(name.replace(' ', "_"), value.into());
        self.lines.push((name.to_owned(), says));
    }

    /// A number with a goal.
    pub(crate) fn goal(&mut self, name: &str, value: impl Into<Value>, says: String, kept: bool) {
        if !kept {
            self.missed.push(name.to_owned());
        }
        let mark = if kept { "" } else { "  MISSED" };
        self.fact(name, value, format!("{says}{mark}"));
    }

    /// What people saw, against what was asked for.
    pub(crate) fn faults(&mut self, faults: Faults) {
        for (name, count) in [
            ("lost", faults.lost),
            ("doubled", faults.doubled),
            ("out of order", faults.out_of_order),
            ("unasked", faults.unasked),
        ] {
            self.goal(name, count, count.to_string(), count == 0);
        }
    }

    /// Was every goal reached?
    pub(crate) fn is_clean(&self) -> bool {
        self.missed.is_empty()
    }

    /// For programs.
    pub(crate) fn json(&self) -> Value {
        let mut json = self.json.clone();
        json.insert(String::from("missed"), json!(self.missed));
        Value::Object(json)
    }

    /// For people.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        for (name, says) in &self.lines {
            let _ = writeln!(text, "{name:<16}{says}");
        }
        text
    }
}

/// `part` of `of` in percent.
#[expect(
    clippy::cast_precision_loss,
    reason = "counts of a run are far below 2^52"
)]
pub(crate) fn percent(part: u64, of: u64) -> f64 {
    100.0 * part as f64 / of.max(1) as f64
}

/// Milliseconds as seconds with a decimal.
pub(crate) fn seconds(ms: i64) -> String {
    format!("{}.{} s", ms / 1000, ms % 1000 / 100)
}

/// Says how far it is, over what was said before; only to a person who looks.
pub(crate) fn progress(text: &str) {
    let mut out = std::io::stderr().lock();
    if out.is_terminal() {
        let _ = write!(out, "\r\x1b[K{text}");
        let _ = out.flush();
    }
}
