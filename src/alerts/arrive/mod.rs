//! What a notification does to the incident of its group: pure, and the only place that decides it.
//!
//! The same notification twice changes nothing; two senders of one source may bring it late and in another
//! order. So an alert is judged by its start: what is older than what is known says nothing, and what comes
//! again shortly after it ended is a late twin. What a notification leaves out means nothing.
//! Not here: what people see of it (`plan`), which route it is of (`routes`).

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use crate::alerts::incident::{Card, Incident, News, Over, Tracked};
use crate::alerts::notice::{Alert, Notification};
use crate::alerts::policy::Policy;

/// How long after the arrival of `resolved` the same firing is taken for a late twin, milliseconds.
/// Source: contract, section 5.
pub const TWIN_MS: i64 = 120_000;
/// Alerts that an incident keeps; the rest is counted.
const ALERTS_MAX: usize = 10_000;
/// Alerts that an incident keeps whole; of those beyond, what tells them apart.
const WHOLE_MAX: usize = 500;
/// Alerts that are over and that an incident keeps beside those that fire.
const RESOLVED_MAX: usize = 200;
/// Labels and annotations of an alert, each.
const PAIRS_MAX: usize = 64;
/// The longest value of a label or an annotation, bytes.
const VALUE_BYTES_MAX: usize = 4096;
/// Of an alert beyond `WHOLE_MAX` these labels are kept.
const SLIM_LABELS: [&str; 6] = [
    "alertname",
    "severity",
    "priority",
    "level",
    "instance",
    "job",
];

/// What came in, for one route and group.
#[derive(Clone, Copy, Debug)]
pub struct Arrival<'a> {
    /// The name in `POST /v1/alerts/{name}`.
    pub sink: &'a str,
    /// What the source said, for all but its alerts.
    pub note: &'a Notification,
    /// Those of its alerts that the route takes.
    pub alerts: &'a [Alert],
    /// What the route wants of an incident that begins now.
    pub policy: &'a Policy,
    /// Now, Unix milliseconds.
    pub now_ms: i64,
}

/// What it did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// An incident begins.
    Opened,
    /// One that had ended goes on.
    Reopened,
    /// One looks different now.
    Changed,
    /// Nothing but that it was heard of again.
    Same,
}

impl Heard {
    /// As it is counted.
    pub fn name(self) -> &'static str {
        match self {
            Heard::Opened => "opened",
            Heard::Reopened => "reopened",
            Heard::Changed => "changed",
            Heard::Same => "same",
        }
    }
}

/// Folds `arrival` into `newest`, the newest incident of its route and group.
///
/// `None`: it makes nothing. It was late, or what it says is over was never known to fire.
pub fn arrive(newest: Option<Incident>, arrival: &Arrival<'_>) -> Option<(Incident, Heard)> {
    let now_ms = arrival.now_ms;
    let Some(mut incident) = newest else {
        return opened(None, arrival);
    };
    let fires = |alert: &&Alert| alert.firing && !is_late(&incident, alert, now_ms);
    let is_fresh = arrival.alerts.iter().any(|alert| fires(&alert));
    if incident.is_firing() {
        let (before, news) = (incident.tag(), incident.news.alerts.len());
        fold(&mut incident, arrival);
        incident.heard_ms = now_ms;
        incident.stale = false;
        if !incident.is_firing() {
            incident.ended_ms = Some(now_ms);
            incident.note(now_ms, "resolved", None);
        }
        let same = incident.tag() == before && incident.news.alerts.len() == news;
        return Some((incident, if same { Heard::Same } else { Heard::Changed }));
    }
    if !is_fresh {
        // A late twin says nothing; that it is over may be said again.
        let is_over =
            |alert: &Alert| !alert.firing && incident.alerts.contains_key(&alert.fingerprint);
        let again = arrival.alerts.iter().any(is_over);
        incident.heard_ms = now_ms;
        return again.then_some((incident, Heard::Same));
    }
    let ended_ms = incident.ended_ms.unwrap_or(incident.heard_ms);
    let reopen_ms = incident.policy.reopen_ms;
    if reopen_ms > 0 && now_ms.saturating_sub(ended_ms) <= reopen_ms {
        fold(&mut incident, arrival);
        incident.heard_ms = now_ms;
        incident.ended_ms = None;
        incident.ack = None;
        incident.stale = false;
        incident.reopened += 1;
        incident.reopened_ms = Some(now_ms);
        incident.note(now_ms, "fires again", None);
        return Some((incident, Heard::Reopened));
    }
    opened(Some(&incident), arrival)
}

/// A new incident, `before` being the one of its group that is over.
fn opened(before: Option<&Incident>, arrival: &Arrival<'_>) -> Option<(Incident, Heard)> {
    let (note, now_ms) = (arrival.note, arrival.now_ms);
    let mut incident = Incident {
        sink: arrival.sink.to_owned(),
        group_key: note.group_key.clone(),
        policy: arrival.policy.clone(),
        group_labels: bounded(&note.group_labels),
        external_url: note.external_url.clone(),
        alerts: BTreeMap::new(),
        truncated: 0,
        opened_ms: now_ms,
        heard_ms: now_ms,
        ended_ms: None,
        reopened: 0,
        reopened_ms: None,
        over: before
            .map(|before| over(before, now_ms))
            .unwrap_or_default(),
        ack: None,
        stale: false,
        card: Card::default(),
        news: News::default(),
        rungs: Vec::new(),
        round: Default::default(),
        digest: None,
        log: Vec::new(),
    };
    fold(&mut incident, arrival);
    if !incident.is_firing() {
        return None;
    }
    // The card itself tells of all that it began with.
    incident.news = News::default();
    incident.note(now_ms, "began", None);
    Some((incident, Heard::Opened))
}

/// What of an incident that ended must be known to tell late twins in the next one.
fn over(before: &Incident, now_ms: i64) -> BTreeMap<String, Over> {
    let ended = before.alerts.iter().filter_map(|(fingerprint, tracked)| {
        let over = Over {
            starts_ms: tracked.alert.starts_ms,
            resolved_ms: tracked.resolved_ms?,
        };
        Some((fingerprint.clone(), over))
    });
    let mut all = before.over.clone();
    for (fingerprint, over) in ended {
        later(&mut all, fingerprint, over);
    }
    all.retain(|_, over| is_recent(over.resolved_ms, now_ms));
    all
}

/// Of two ends of one alert that of the later start counts.
fn later(all: &mut BTreeMap<String, Over>, fingerprint: String, over: Over) {
    let known = all.entry(fingerprint).or_insert_with(|| over.clone());
    if over.starts_ms >= known.starts_ms {
        *known = over;
    }
}

fn is_recent(resolved_ms: i64, now_ms: i64) -> bool {
    now_ms.saturating_sub(resolved_ms) < TWIN_MS
}

/// It fires, says a sender who was late: it is known to be over since, or to have begun anew.
///
/// An alert without a start may be another one each time: it is never late.
fn is_late(incident: &Incident, alert: &Alert, now_ms: i64) -> bool {
    if alert.starts_ms == 0 {
        return false;
    }
    let tracked = incident.alerts.get(&alert.fingerprint);
    let known = tracked.map(|one| (one.alert.starts_ms, one.resolved_ms));
    let over = incident.over.get(&alert.fingerprint);
    let over = over.map(|over| (over.starts_ms, Some(over.resolved_ms)));
    [known, over]
        .into_iter()
        .flatten()
        .any(|(starts_ms, resolved_ms)| match resolved_ms {
            Some(resolved_ms) => alert.starts_ms <= starts_ms && is_recent(resolved_ms, now_ms),
            None => alert.starts_ms < starts_ms,
        })
}

fn fold(incident: &mut Incident, arrival: &Arrival<'_>) {
    let now_ms = arrival.now_ms;
    let mut beyond = 0;
    for alert in arrival.alerts {
        match alert.firing {
            true if is_late(incident, alert, now_ms) => {}
            true => beyond += fires(incident, alert, now_ms),
            false => resolves(incident, alert, now_ms),
        }
    }
    incident.truncated = arrival.note.truncated.saturating_add(beyond);
    let link = arrival.note.external_url.as_ref();
    incident.external_url = link.or(incident.external_url.as_ref()).cloned();
    incident
        .over
        .retain(|_, over| is_recent(over.resolved_ms, now_ms));
    forget(incident, now_ms);
}

/// An alert that fires. Returns how many could not be kept.
fn fires(incident: &mut Incident, alert: &Alert, now_ms: i64) -> u64 {
    let kept = incident.alerts.len();
    if let Some(tracked) = incident.alerts.get_mut(&alert.fingerprint) {
        let slim = tracked.alert.annotations.is_empty() && kept > WHOLE_MAX;
        let mut starts_ms = tracked.alert.starts_ms;
        if tracked.resolved_ms.take().is_some() {
            starts_ms = now_ms;
            tracked.heard_ms = now_ms;
            incident.news.alerts.push(alert.fingerprint.clone());
        }
        tracked.alert = started(kept_of(alert, slim), starts_ms);
        return 0;
    }
    if kept >= ALERTS_MAX {
        return 1;
    }
    let tracked = Tracked {
        alert: started(kept_of(alert, kept >= WHOLE_MAX), now_ms),
        heard_ms: now_ms,
        resolved_ms: None,
    };
    incident.alerts.insert(alert.fingerprint.clone(), tracked);
    incident.news.alerts.push(alert.fingerprint.clone());
    0
}

/// With its start; where the source says none, `else_ms`.
fn started(mut alert: Alert, else_ms: i64) -> Alert {
    if alert.starts_ms == 0 {
        alert.starts_ms = else_ms;
    }
    alert
}

/// An alert that is over. Of one that was never known to fire nothing is shown.
fn resolves(incident: &mut Incident, alert: &Alert, now_ms: i64) {
    let known = incident.alerts.get(&alert.fingerprint);
    let is_later = known.is_none_or(|known| alert.starts_ms > known.alert.starts_ms);
    // The end of a firing that was never heard of: its start may still come, late.
    if is_later && incident.over.len() < ALERTS_MAX {
        let over = Over {
            starts_ms: alert.starts_ms,
            resolved_ms: now_ms,
        };
        later(&mut incident.over, alert.fingerprint.clone(), over);
    }
    let Some(tracked) = incident.alerts.get_mut(&alert.fingerprint) else {
        return;
    };
    // The end of an earlier firing, said late, is not the end of this one.
    let ends_this = alert.starts_ms == 0
        || alert.starts_ms >= tracked.alert.starts_ms
        || alert
            .ends_ms
            .is_some_and(|ends_ms| ends_ms >= tracked.alert.starts_ms);
    if tracked.resolved_ms.is_some() || !ends_this {
        return;
    }
    tracked.resolved_ms = Some(now_ms);
    tracked.alert.firing = false;
    tracked.alert.ends_ms = alert.ends_ms;
    incident.news.alerts.remove(&alert.fingerprint);
}

/// Of alerts that are over the oldest go, once nobody can take their twins for new ones.
fn forget(incident: &mut Incident, now_ms: i64) {
    if !incident.is_firing() {
        return;
    }
    let ended = incident.alerts.iter().filter_map(|(fingerprint, tracked)| {
        let resolved_ms = tracked.resolved_ms?;
        (!is_recent(resolved_ms, now_ms)).then(|| (resolved_ms, fingerprint.clone()))
    });
    let mut ended: Vec<(i64, String)> = ended.collect();
    let too_many = ended.len().saturating_sub(RESOLVED_MAX);
    ended.sort_unstable();
    for (_, fingerprint) in &ended[..too_many] {
        incident.alerts.remove(fingerprint);
    }
}

/// What is kept of an alert.
fn kept_of(alert: &Alert, slim: bool) -> Alert {
    let mut kept = Alert {
        labels: bounded(&alert.labels),
        annotations: bounded(&alert.annotations),
        ..alert.clone()
    };
    if slim {
        kept.labels.retain(|name, _| SLIM_LABELS.contains(&&**name));
        kept.annotations.clear();
        kept.links = Default::default();
    }
    kept
}

fn bounded(pairs: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let cut = |text: &String| {
        let end = text.floor_char_boundary(VALUE_BYTES_MAX);
        text[..end].to_owned()
    };
    let first = SLIM_LABELS
        .iter()
        .filter_map(|name| pairs.get_key_value(*name));
    let mut kept: BTreeMap<String, String> = first
        .map(|(name, value)| (name.clone(), cut(value)))
        .collect();
    for (name, value) in pairs {
        if kept.len() >= PAIRS_MAX {
            break;
        }
        kept.entry(cut(name)).or_insert_with(|| cut(value));
    }
    kept
}
