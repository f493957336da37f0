//! The built-in cards: what fires, since when, on what, and where to go; in Chinese and English at once.
//!
//! Promises: whatever an alert says, a card has at most `BYTES_MAX` bytes and far fewer than 200 elements; what has
//! no room is counted; nothing of an alert stands where it could be more than text.
//! Not here: the words themselves (`words`), elements (`pieces`), digests (`digest`).

use std::collections::BTreeMap;

use jiff::tz::TimeZone;
use serde_json::Value;

use super::pieces::{self, Room};
use super::words;
use crate::alerts::incident::{Incident, Tracked};
use crate::alerts::notice::{Alert, Severity};
use crate::alerts::people::People;

/// Bytes of a card as Feishu counts them; its own bound is 30 000 with what is around the card.
pub(super) const BYTES_MAX: usize = 28_000;
/// Alerts shown with all they say.
const WHOLE_MAX: usize = 10;
/// Alerts shown with their names.
const NAMED_MAX: usize = 150;
/// Names in one element.
const NAMED_EACH: usize = 15;
/// Bytes kept for what comes behind the alerts.
const END_BYTES: usize = 1_000;
/// Labels of one alert.
const LABELS_MAX: usize = 24;
/// Signs of a label's name, and of its value.
const LABEL_CHARS: (usize, usize) = (60, 200);
/// Signs and lines of a summary or a description.
const TEXT_SIZE: (usize, usize) = (600, 12);
/// Signs of a name where it stands among others.
const NAME_CHARS: usize = 80;
/// Labels that say on what an alert fires, the first that is there.
const INSTANCE: [&str; 8] = [
    "instance", "host", "hostname", "node", "pod", "device", "service", "job",
];

/// The card of an incident.
pub(super) fn live(incident: &Incident, people: &People, mention: bool) -> Value {
    let zone = zone(incident);
    let severity = incident.severity();
    let mut elements = vec![pieces::markdown(&counts(incident, severity))];
    let common = common(incident);
    let title = title(incident);
    if !common.is_empty() {
        elements.push(pieces::small(&labels(&common, &BTreeMap::new())));
    }
    elements.push(pieces::plain(&since(incident, &zone)));
    if let Some(ack) = &incident.ack {
        elements.push(pieces::plain(&format!(
            "{}: {} · {}",
            pieces::ACKNOWLEDGED,
            words::line(&ack.by, NAME_CHARS),
            pieces::time(ack.at_ms, &zone)
        )));
    }
    if incident.stale && incident.is_firing() {
        elements.push(pieces::plain(&format!(
            "{}: 最后消息 last heard {}",
            pieces::STALE,
            pieces::time(incident.heard_ms, &zone)
        )));
    }
    let mentioned = pieces::mentions(people);
    if mention && !mentioned.is_empty() {
        elements.push(pieces::markdown(&mentioned));
    }
    elements.push(pieces::rule());
    let shared = shared_links(incident);
    let card = pieces::card(&title, colour(incident), elements);
    alerts(card, incident, &common, &shared, &zone)
}

/// What is new, for the card's thread.
pub(super) fn news(
    incident: &Incident,
    fingerprints: &[String],
    worse: Option<Severity>,
    people: &People,
) -> Value {
    let zone = zone(incident);
    let mut elements = Vec::new();
    if let Some(worse) = worse {
        elements.push(pieces::markdown(&format!(
            "⬆️ 级别升高 severity is now **{}**",
            pieces::severity(worse)
        )));
    }
    let fresh: Vec<&Alert> = fingerprints
        .iter()
        .filter_map(|name| incident.alerts.get(name))
        .map(|tracked| &tracked.alert)
        .filter(|alert| alert.firing)
        .collect();
    if !fresh.is_empty() {
        elements.push(pieces::markdown(&format!(
            "🆕 新告警 new alerts: {}",
            fresh.len()
        )));
        for alert in fresh.iter().take(WHOLE_MAX) {
            elements.push(pieces::plain(&format!(
                "{}\n{}",
                heading(alert),
                alert_since(alert, None, &zone)
            )));
        }
        elements.extend(left_out(fresh.len().saturating_sub(WHOLE_MAX)));
    }
    let mentioned = pieces::mentions(people);
    if !mentioned.is_empty() {
        elements.push(pieces::markdown(&mentioned));
    }
    if elements.is_empty() {
        elements.push(pieces::markdown(pieces::FIRING));
    }
    let severity = worse.unwrap_or_else(|| incident.severity());
    pieces::card(&title(incident), pieces::colour(severity), elements)
}

/// That another message goes on with this incident.
pub(super) fn moved(incident: &Incident) -> Value {
    let says = pieces::markdown(
        "此消息无法再更新，后续见新卡片。\nThis message can be updated no more; a new card goes on.",
    );
    pieces::card(&title(incident), "grey", vec![says])
}

/// One line about an incident, for heads of cards and for lists.
pub(super) fn title(incident: &Incident) -> String {
    let status = status(incident);
    format!("{status} · {}", subject(incident))
}

/// What an incident is about, without how it stands.
pub(super) fn subject(incident: &Incident) -> String {
    let shown = shown(incident);
    let mut names: Vec<String> = Vec::new();
    for alert in &shown {
        let name = words::line(alert.name(), NAME_CHARS);
        if !names.contains(&name) {
            names.push(name);
        }
        if names.len() > 3 {
            break;
        }
    }
    let more = names.len() > 3;
    names.truncate(3);
    let mut subject = names.join(", ");
    if more {
        subject.push_str(", …");
    }
    let mut instances = shown.iter().map(|alert| instance(alert));
    if let Some(Some(first)) = instances.next()
        && instances.all(|other| other == Some(first))
    {
        subject = format!("{subject} · {}", words::line(first, NAME_CHARS));
    }
    if subject.is_empty() {
        subject = words::line(&incident.sink, NAME_CHARS);
    }
    subject
}

/// How it stands, in words.
pub(super) fn status(incident: &Incident) -> String {
    let mut status = String::from(if incident.is_firing() {
        pieces::FIRING
    } else {
        pieces::RESOLVED
    });
    if incident.is_firing() {
        for (is, word) in [
            (incident.ack.is_some(), pieces::ACKNOWLEDGED),
            (incident.stale, pieces::STALE),
        ] {
            if is {
                status = format!("{status} · {word}");
            }
        }
    }
    status
}

/// The colour of its head.
pub(super) fn colour(incident: &Incident) -> &'static str {
    let severity = incident.severity();
    match (incident.is_firing(), incident.stale, &incident.ack) {
        (false, _, _) => "green",
        (true, true, _) => "grey",
        (true, false, Some(_)) => "wathet",
        (true, false, None) => pieces::colour(severity),
    }
}

/// The alerts that a title speaks of: what fires, else all.
fn shown(incident: &Incident) -> Vec<&Alert> {
    let firing = incident.firing();
    if !firing.is_empty() {
        return firing;
    }
    resolved(incident)
        .iter()
        .map(|tracked| &tracked.alert)
        .collect()
}

/// What does not fire any more, the latest end first.
fn resolved(incident: &Incident) -> Vec<&Tracked> {
    let all = incident.alerts.values();
    let mut resolved: Vec<_> = all.filter(|tracked| !tracked.alert.firing).collect();
    resolved.sort_by_key(|tracked| std::cmp::Reverse((tracked.resolved_ms, tracked.heard_ms)));
    resolved
}

/// All its alerts: what fires, the worst first, then what is over, the latest end first.
pub(super) fn in_order(incident: &Incident) -> Vec<&Tracked> {
    let mut firing: Vec<_> = incident
        .alerts
        .values()
        .filter(|tracked| tracked.alert.firing)
        .collect();
    firing.sort_by_key(|tracked| {
        let alert = &tracked.alert;
        (std::cmp::Reverse(alert.severity()), alert.starts_ms)
    });
    firing.extend(resolved(incident));
    firing
}

fn counts(incident: &Incident, severity: Severity) -> String {
    let firing = incident.firing().len();
    let resolved = incident.alerts.len() - firing;
    let mut said = Vec::new();
    if firing > 0 {
        said.push(format!("**{firing} {}**", pieces::FIRING));
    }
    if resolved > 0 {
        said.push(format!("**{resolved} {}**", pieces::RESOLVED));
    }
    let severity = pieces::severity(severity);
    if !severity.is_empty() {
        said.push(severity.to_owned());
    }
    if incident.reopened > 0 && firing > 0 {
        said.push(format!("再次告警 fired again: {}", incident.reopened));
    }
    if said.is_empty() {
        said.push(pieces::RESOLVED.to_owned());
    }
    said.join(" · ")
}

fn since(incident: &Incident, zone: &TimeZone) -> String {
    let (from, to) = span(incident);
    between(from, to, zone)
}

fn between(from_ms: i64, to_ms: Option<i64>, zone: &TimeZone) -> String {
    let from = pieces::time(from_ms, zone);
    match to_ms {
        Some(to_ms) => format!("从 from {from} 到 to {}", pieces::time(to_ms, zone)),
        None => format!("开始于 since {from}"),
    }
}

/// Since when it fires; of what is over, until when it did, too.
pub(super) fn span(incident: &Incident) -> (i64, Option<i64>) {
    let firing = incident.is_firing();
    let alerts = incident.alerts.values().map(|tracked| &tracked.alert);
    let started = alerts
        .filter(|alert| !firing || alert.firing)
        .map(|alert| alert.starts_ms);
    let started = started.min().unwrap_or(incident.opened_ms);
    let ended = || {
        let ended = incident.alerts.values().filter_map(ended_ms).max();
        ended.or(incident.ended_ms).unwrap_or(incident.heard_ms)
    };
    (started, (!firing).then(ended))
}

/// When an alert ended: by its source, if that can be so, else by the arrival of its end.
pub(super) fn ended_ms(tracked: &Tracked) -> Option<i64> {
    let said = tracked.alert.ends_ms;
    let said = said.filter(|end| *end >= tracked.alert.starts_ms);
    said.or(tracked.resolved_ms)
}

/// Adds the alerts and what comes behind them to a card, as far as there is room.
fn alerts(
    mut card: Value,
    incident: &Incident,
    common: &BTreeMap<&str, &str>,
    shared: &[(&'static str, String)],
    zone: &TimeZone,
) -> Value {
    let mut room = Room::beside(&card, BYTES_MAX - END_BYTES);
    let end = (!shared.is_empty()).then(|| pieces::buttons(shared));
    let end = end.filter(|end| room.take(end));
    let all = in_order(incident);
    let firing = all.iter().filter(|tracked| tracked.alert.firing).count();
    let mut made = Vec::new();
    let mut done = 0;
    // What is over is worth all its words only where nothing fires.
    let whole = if firing == 0 { all.len() } else { firing };
    for tracked in all.iter().take(whole.min(WHOLE_MAX)) {
        let pieces = entry(tracked, common, shared, zone);
        if !room.take(&Value::Array(pieces.clone())) {
            break;
        }
        made.extend(pieces);
        done += 1;
    }
    let names: Vec<String> = all
        .iter()
        .skip(done)
        .take(NAMED_MAX)
        .map(|tracked| heading(&tracked.alert))
        .collect();
    for chunk in names.chunks(NAMED_EACH) {
        let piece = pieces::plain(&chunk.join("\n"));
        if !room.take(&piece) {
            break;
        }
        made.push(piece);
        done += chunk.len();
    }
    made.extend(left_out(all.len() - done));
    if incident.truncated > 0 {
        made.push(pieces::small(&format!(
            "来源另有 {0} 条未发来 / {0} more were left out by the source",
            incident.truncated
        )));
    }
    made.extend(end);
    if let Some(elements) = card["body"]["elements"].as_array_mut() {
        elements.extend(made);
    }
    card
}

/// One alert with all it says.
fn entry(
    tracked: &Tracked,
    common: &BTreeMap<&str, &str>,
    shared: &[(&'static str, String)],
    zone: &TimeZone,
) -> Vec<Value> {
    let alert = &tracked.alert;
    let mut said = vec![heading(alert)];
    let mut texts: Vec<String> = Vec::new();
    for name in ["summary", "message", "description"] {
        let text = alert.annotations.get(name).map_or("", String::as_str);
        let text = words::lines(text, TEXT_SIZE.0, TEXT_SIZE.1);
        if !text.is_empty() && !texts.contains(&text) {
            texts.push(text);
        }
    }
    said.extend(texts);
    said.push(alert_since(alert, ended_ms(tracked), zone));
    let mut pieces = vec![pieces::plain(&said.join("\n"))];
    let own: BTreeMap<&str, &str> = alert
        .labels
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    let own = labels(&own, common);
    if !own.is_empty() {
        pieces.push(pieces::small(&own));
    }
    let links: Vec<_> = pieces::links(&alert.links)
        .into_iter()
        .filter(|link| !shared.contains(link))
        .collect();
    if !links.is_empty() {
        pieces.push(pieces::line_of_links(&links));
    }
    pieces
}

/// An alert in one line.
fn heading(alert: &Alert) -> String {
    let mut line = format!(
        "{} {}",
        pieces::mark(alert.firing, alert.severity()),
        words::line(alert.name(), NAME_CHARS)
    );
    if let Some(instance) = instance(alert) {
        line = format!("{line} · {}", words::line(instance, NAME_CHARS));
    }
    line
}

/// On what it fires.
pub(super) fn instance(alert: &Alert) -> Option<&str> {
    let values = INSTANCE.iter().filter_map(|name| alert.labels.get(*name));
    let mut values = values.map(|value| value.trim());
    values.find(|value| !value.is_empty())
}

fn alert_since(alert: &Alert, end_ms: Option<i64>, zone: &TimeZone) -> String {
    between(alert.starts_ms, end_ms.filter(|_| !alert.firing), zone)
}

/// Labels in a line, but for those that stand elsewhere.
fn labels(labels: &BTreeMap<&str, &str>, but: &BTreeMap<&str, &str>) -> String {
    let own: Vec<_> = labels
        .iter()
        .filter(|(name, _)| **name != "alertname" && !but.contains_key(*name))
        .collect();
    let mut said: Vec<String> = own
        .iter()
        .take(LABELS_MAX)
        .map(|(name, value)| {
            let name = words::line(name, LABEL_CHARS.0);
            format!("{name}={}", words::line(value, LABEL_CHARS.1))
        })
        .collect();
    if own.len() > LABELS_MAX {
        let more = own.len() - LABELS_MAX;
        said.push(format!("另有 {more} 个标签 / and {more} more labels"));
    }
    said.join(" · ")
}

/// Labels that all alerts share, where there are several.
pub(super) fn common(incident: &Incident) -> BTreeMap<&str, &str> {
    let mut alerts = incident.alerts.values().map(|tracked| &tracked.alert);
    let Some(first) = alerts.next().filter(|_| incident.alerts.len() > 1) else {
        return BTreeMap::new();
    };
    let mut common: BTreeMap<&str, &str> = first
        .labels
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    for alert in alerts {
        common.retain(|name, value| alert.labels.get(*name).is_some_and(|own| own == value));
    }
    common.remove("alertname");
    common
}

/// Links that stand once for all: the source's own page, and what every alert shares.
fn shared_links(incident: &Incident) -> Vec<(&'static str, String)> {
    let mut alerts = shown(incident).into_iter();
    let mut shared = alerts
        .next()
        .map(|alert| pieces::links(&alert.links))
        .unwrap_or_default();
    for alert in alerts {
        let own = pieces::links(&alert.links);
        shared.retain(|link| own.contains(link));
    }
    let overview = incident.external_url.as_deref().and_then(pieces::web);
    shared.extend(overview.map(|url| ("总览 overview", url)));
    shared
}

fn left_out(more: usize) -> Option<Value> {
    (more > 0).then(|| pieces::plain(&format!("另有 {more} 条 / and {more} more")))
}

/// The clock of its cards.
pub(super) fn zone(incident: &Incident) -> TimeZone {
    pieces::zone(
        incident
            .policy
            .quiet
            .as_ref()
            .map(|quiet| quiet.zone.as_str()),
    )
}
