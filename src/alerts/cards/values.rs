//! What a template may speak of: the incident as it stands, in words that were cleaned (`words`).
//!
//! The names are the template's outside: `docs/ALERTS.md` has them all.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::tz::TimeZone;
use minijinja::Value;
use minijinja::value::{Enumerator, Object};

use super::{built, pieces, samples, words};
use crate::alerts::incident::{Incident, Tracked};
use crate::alerts::notice::Severity;
use crate::alerts::people::People;

/// Alerts in a list; the rest is counted.
const ALERTS_MAX: usize = 50;
/// Labels of an alert.
const LABELS_MAX: usize = 64;
/// Signs of a label's name, and of its value.
const LABEL_CHARS: (usize, usize) = (100, 500);
/// Signs and lines of an annotation.
const TEXT_SIZE: (usize, usize) = (2_000, 40);

/// The variables of an incident's card.
pub(super) fn of(incident: &Incident, people: &People, mention: bool) -> Value {
    made(incident, people, mention, false)
}

fn made(incident: &Incident, people: &People, mention: bool, any: bool) -> Value {
    let zone = &built::zone(incident);
    let firing = incident.is_firing();
    let severity = incident.severity();
    let all = built::in_order(incident);
    let count = all.len();
    let list = |wanted: Option<bool>| {
        let wanted = all
            .iter()
            .filter(|tracked| wanted.is_none_or(|firing| tracked.alert.firing == firing));
        let wanted = wanted.take(ALERTS_MAX);
        Value::from_iter(wanted.map(|tracked| alert(tracked, zone, any)))
    };
    let counted = |firing: bool| {
        all.iter()
            .filter(|each| each.alert.firing == firing)
            .count()
    };
    let mentions = if mention {
        pieces::mentions(people)
    } else {
        String::new()
    };
    let ack = incident.ack.as_ref();
    let (since, until) = built::span(incident);
    object(vec![
        ("status", Value::from(status(firing))),
        ("status_text", Value::from(built::status(incident))),
        ("firing", Value::from(firing)),
        ("acknowledged", Value::from(ack.is_some())),
        (
            "acknowledged_by",
            Value::from(ack.map_or_else(String::new, |ack| words::line(&ack.by, 80))),
        ),
        (
            "acknowledged_at",
            Value::from(ack.map_or_else(String::new, |ack| pieces::time(ack.at_ms, zone))),
        ),
        ("stale", Value::from(incident.stale)),
        ("reopened", Value::from(incident.reopened)),
        ("severity", Value::from(word(severity))),
        ("severity_text", Value::from(pieces::severity(severity))),
        ("color", Value::from(built::colour(incident))),
        ("title", Value::from(built::title(incident))),
        ("subject", Value::from(built::subject(incident))),
        ("route", Value::from(words::line(&incident.sink, 80))),
        ("since", Value::from(pieces::time(since, zone))),
        (
            "until",
            Value::from(until.map_or_else(String::new, |until| pieces::time(until, zone))),
        ),
        ("group_labels", named(&incident.group_labels, any)),
        ("common_labels", text_map(built::common(incident), any)),
        ("url", address(incident.external_url.as_deref())),
        ("alerts", list(None)),
        ("firing_alerts", list(Some(true))),
        ("resolved_alerts", list(Some(false))),
        ("firing_count", Value::from(counted(true))),
        ("resolved_count", Value::from(counted(false))),
        ("more", Value::from(count.saturating_sub(ALERTS_MAX))),
        ("truncated", Value::from(incident.truncated)),
        ("mentions", Value::from_safe_string(mentions)),
    ])
}

fn alert(tracked: &Tracked, zone: &TimeZone, any: bool) -> Value {
    let alert = &tracked.alert;
    let text = |name: &str| {
        let text = alert.annotations.get(name).map_or("", String::as_str);
        Value::from(words::lines(text, TEXT_SIZE.0, TEXT_SIZE.1))
    };
    let until = built::ended_ms(tracked).filter(|_| !alert.firing);
    let links = &alert.links;
    object(vec![
        (
            "name",
            Value::from(words::line(alert.name(), LABEL_CHARS.1)),
        ),
        (
            "instance",
            Value::from(words::line(
                built::instance(alert).unwrap_or_default(),
                LABEL_CHARS.1,
            )),
        ),
        ("status", Value::from(status(alert.firing))),
        ("firing", Value::from(alert.firing)),
        ("severity", Value::from(word(alert.severity()))),
        (
            "severity_text",
            Value::from(pieces::severity(alert.severity())),
        ),
        (
            "mark",
            Value::from(pieces::mark(alert.firing, alert.severity())),
        ),
        ("since", Value::from(pieces::time(alert.starts_ms, zone))),
        (
            "until",
            Value::from(until.map_or_else(String::new, |until| pieces::time(until, zone))),
        ),
        ("summary", text("summary")),
        ("description", text("description")),
        ("labels", named(&alert.labels, any)),
        ("annotations", named(&alert.annotations, any)),
        (
            "links",
            object(vec![
                ("source", address(links.source.as_deref())),
                ("dashboard", address(links.dashboard.as_deref())),
                ("runbook", address(links.runbook.as_deref())),
                ("silence", address(links.silence.as_deref())),
            ]),
        ),
    ])
}

fn object(pairs: Vec<(&'static str, Value)>) -> Value {
    let pairs = pairs.into_iter();
    let pairs = pairs
        .map(|(name, value)| (name.to_owned(), value))
        .collect();
    Value::from_object(Names { pairs, any: false })
}

/// Labels or annotations; of a sample there are `any`.
fn text_map<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>, any: bool) -> Value {
    let pairs = pairs.into_iter().take(LABELS_MAX);
    let pairs = pairs.map(|(name, value)| {
        let name = words::line(name, LABEL_CHARS.0);
        (
            name,
            Value::from(words::lines(value, TEXT_SIZE.0, TEXT_SIZE.1)),
        )
    });
    let pairs = pairs.collect();
    Value::from_object(Names { pairs, any })
}

fn named(pairs: &BTreeMap<String, String>, any: bool) -> Value {
    let pairs = pairs.iter();
    text_map(
        pairs.map(|(name, value)| (name.as_str(), value.as_str())),
        any,
    )
}

fn address(url: Option<&str>) -> Value {
    Value::from(url.and_then(pieces::web).unwrap_or_default())
}

fn status(firing: bool) -> &'static str {
    if firing { "firing" } else { "resolved" }
}

fn word(severity: Severity) -> &'static str {
    match severity {
        Severity::Critical => "critical",
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Info => "info",
        Severity::Unknown => "unknown",
    }
}

/// Names and their values.
#[derive(Debug)]
struct Names {
    pairs: BTreeMap<String, Value>,
    /// Of a sample's labels: whichever is asked for is there.
    any: bool,
}

impl Object for Names {
    fn get_value(self: &Arc<Self>, name: &Value) -> Option<Value> {
        let found = self.pairs.get(name.as_str()?).cloned();
        found.or_else(|| self.any.then(|| Value::from("sample")))
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        let names = self.pairs.keys().map(|name| Value::from(name.as_str()));
        Enumerator::Values(names.collect())
    }
}

/// Incidents that a template is tried on: one that fires, with all there can be, and one that is over.
pub(super) fn samples() -> Vec<Value> {
    let people = People {
        ids: vec!["ou_sample".to_owned()],
        ..People::default()
    };
    let incidents = samples::incidents().into_iter();
    incidents
        .map(|sample| made(&sample, &people, true, true))
        .collect()
}
