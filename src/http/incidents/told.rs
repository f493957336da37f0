//! An incident as it is answered.
//!
//! Its texts are its source's: who shows them to people or to a terminal takes them for what they are.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;
use utoipa::ToSchema;

use crate::alerts::incident::{self, Incident, RungState, Tracked};
use crate::alerts::notice::{Links, Severity};
use crate::alerts::policy::{Rung, Who};
use crate::config::values::duration_text;
use crate::job::{
    Fault, IncidentId, IncidentJob, IncidentRole, IncidentRow, IncidentState, JobId,
    State as JobState, Time,
};

/// An incident, as lists have it.
#[derive(Serialize, ToSchema)]
#[schema(as = IncidentBrief)]
pub(super) struct Brief<'a> {
    id: IncidentId,
    state: IncidentState,
    /// `critical`, `error`, `warning`, `unknown` or `info`.
    severity: &'static str,
    title: &'a str,
    /// The route's name, with its matchers where it has some.
    route: &'a str,
    /// What its source calls the group.
    group: &'a str,
    app: &'a str,
    /// Where its card goes.
    to: &'a str,
    /// Who brought it.
    client: &'a str,
    /// Alerts in it, firing or not.
    alert_count: i64,
    opened_at: Time,
    changed_at: Time,
    /// When nothing of it fired any more.
    ended_at: Option<Time>,
    message_id: Option<&'a str>,
    /// It is a digest of others.
    is_digest: bool,
    /// The digest that speaks for it.
    digest: Option<IncidentId>,
}

impl<'a> Brief<'a> {
    pub(super) fn of(row: &'a IncidentRow) -> Brief<'a> {
        Brief {
            id: row.id,
            state: row.state,
            severity: Severity::of_rank(row.severity).word(),
            title: &row.title,
            route: &row.route,
            group: &row.group,
            app: &row.app,
            to: &row.receiver,
            client: &row.client,
            alert_count: row.alerts,
            opened_at: Time(row.opened_ms),
            changed_at: Time(row.changed_ms),
            ended_at: row.ended_ms.map(Time),
            message_id: row.message_id.as_deref(),
            is_digest: row.is_digest,
            digest: row.digest.as_ref().map(|digest| digest.id),
        }
    }
}

/// An incident, whole.
#[derive(Serialize, ToSchema)]
#[schema(as = Incident)]
pub(super) struct Whole<'a> {
    #[serde(flatten)]
    brief: Brief<'a>,
    group_labels: BTreeMap<String, String>,
    /// Where its source can be looked at.
    external_url: Option<String>,
    /// The last time that its source said anything of it.
    heard_at: Time,
    /// How often it fired again on the same card.
    reopened: u32,
    /// Nothing was heard of it for long.
    stale: bool,
    /// Who looks at it.
    acknowledged: Option<ToldAck>,
    card: ToldCard,
    /// Firing ones first, the worst first.
    alerts: Vec<ToldAlert>,
    /// Alerts that the source left out of its last notification.
    truncated: u64,
    /// Of a digest: what it says.
    counts: Option<ToldDigest>,
    /// Its escalation, in order.
    rungs: Vec<ToldRung>,
    /// Its jobs as far as they are kept, in the order in which they were made.
    jobs: Vec<ToldJob<'a>>,
    /// What happened, the oldest first.
    log: Vec<ToldEntry>,
}

/// Who looks at it.
#[derive(Serialize, ToSchema)]
#[schema(as = IncidentAck)]
struct ToldAck {
    at: Time,
    /// A client's name, `local`, or a person's open_id.
    by: String,
    /// `ack` or `reaction`.
    how: String,
}

/// The message that shows it.
#[derive(Serialize, ToSchema)]
#[schema(as = IncidentCard)]
struct ToldCard {
    message_id: Option<String>,
    /// When it was shown first.
    shown_at: Option<Time>,
    /// When the present message was sent.
    sent_at: Option<Time>,
    /// It went to the fallback, for Feishu refused the receiver.
    fallback: bool,
    /// The message that is pinned now.
    pinned: Option<String>,
    /// Why its newest state is not shown.
    unshown: Option<ToldUnshown>,
}

/// A state that was not shown.
#[derive(Serialize, ToSchema)]
#[schema(as = IncidentUnshown)]
struct ToldUnshown {
    /// The state in which its job ended.
    state: String,
    why: String,
}

/// An alert of it.
#[derive(Serialize, ToSchema)]
#[schema(as = IncidentAlert)]
struct ToldAlert {
    fingerprint: String,
    /// `firing` or `resolved`.
    status: &'static str,
    severity: &'static str,
    starts_at: Time,
    /// By its source.
    ends_at: Option<Time>,
    /// When `resolved` arrived.
    resolved_at: Option<Time>,
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
    #[schema(value_type = Object)]
    links: Links,
}

/// What a digest says.
#[derive(Serialize, ToSchema)]
#[schema(as = IncidentDigest)]
struct ToldDigest {
    /// Incidents that fire.
    firing: u64,
    /// Incidents that are over.
    resolved: u64,
    /// Alerts in them.
    alerts: u64,
    /// Firing incidents by severity.
    by_severity: BTreeMap<&'static str, u64>,
    /// The worst of them, the worst first.
    worst: Vec<ToldMember>,
}

/// An incident of which a digest speaks.
#[derive(Serialize, ToSchema)]
#[schema(as = IncidentMember)]
struct ToldMember {
    id: String,
    title: String,
    severity: &'static str,
    firing: bool,
    since: Time,
    alerts: u64,
}

/// One rung of its escalation.
#[derive(Serialize, ToSchema)]
#[schema(as = IncidentRung)]
struct ToldRung {
    /// `urgent_app`, `urgent_sms` or `urgent_phone`.
    #[serde(rename = "do")]
    urgent: String,
    /// From when the card was shown.
    after: String,
    /// Whom, as the route says it.
    to: Vec<String>,
    due_at: Option<Time>,
    /// `waiting`, `fired` or `skipped`.
    outcome: String,
    /// Why, in words.
    why: String,
    /// When that was decided.
    at: Option<Time>,
    /// Whom it called.
    people: Vec<String>,
    /// Who had read the card before.
    readers: Vec<String>,
    /// How its calls ended.
    jobs: Vec<ToldCall>,
}

/// A call of a rung.
#[derive(Serialize, ToSchema)]
#[schema(as = IncidentCall)]
struct ToldCall {
    id: String,
    ended: String,
}

/// A job of it.
#[derive(Serialize, ToSchema)]
#[schema(as = IncidentJob)]
struct ToldJob<'a> {
    id: JobId,
    /// What it does for the incident.
    role: IncidentRole,
    /// Which rung, or which of the incident's cards, from 0.
    n: i64,
    state: JobState,
    /// A digest speaks for it.
    merged: bool,
    message_id: Option<&'a str>,
    created_at: Time,
    finished_at: Option<Time>,
    error: Option<&'a Fault>,
}

/// Something that happened.
#[derive(Serialize, ToSchema)]
#[schema(as = IncidentEntry)]
struct ToldEntry {
    at: Time,
    what: String,
    /// The job concerned.
    job: Option<String>,
}

impl<'a> Whole<'a> {
    pub(super) fn of(row: &'a IncidentRow, about: Incident, jobs: &'a [IncidentJob]) -> Whole<'a> {
        let mut alerts: Vec<ToldAlert> = about.alerts.into_values().map(alert).collect();
        alerts.sort_by_key(|one| {
            let worst = Reverse(Severity::of(one.severity).rank());
            (one.status != "firing", worst, one.starts_at)
        });
        let rungs = about.policy.escalate.iter().enumerate();
        let rungs = rungs.map(|(n, wanted)| rung(wanted, about.rungs.get(n)));
        Whole {
            brief: Brief::of(row),
            group_labels: about.group_labels,
            external_url: about.external_url,
            heard_at: Time(about.heard_ms),
            reopened: about.reopened,
            stale: about.stale,
            acknowledged: about.ack.map(|ack| ToldAck {
                at: Time(ack.at_ms),
                by: ack.by,
                how: ack.how,
            }),
            card: card(about.card),
            alerts,
            truncated: about.truncated,
            counts: about.digest.map(digest),
            rungs: rungs.collect(),
            jobs: jobs.iter().map(job).collect(),
            log: about.log.into_iter().map(entry).collect(),
        }
    }
}

fn card(card: incident::Card) -> ToldCard {
    ToldCard {
        message_id: card.message_id,
        shown_at: card.shown_ms.map(Time),
        sent_at: card.sent_ms.map(Time),
        fallback: card.fallback,
        pinned: card.pinned,
        unshown: card.unshown.map(|unshown| ToldUnshown {
            state: unshown.state,
            why: unshown.why,
        }),
    }
}

fn alert(tracked: Tracked) -> ToldAlert {
    let severity = tracked.alert.severity().word();
    let alert = tracked.alert;
    ToldAlert {
        fingerprint: alert.fingerprint,
        status: if alert.firing { "firing" } else { "resolved" },
        severity,
        starts_at: Time(alert.starts_ms),
        ends_at: alert.ends_ms.map(Time),
        resolved_at: tracked.resolved_ms.map(Time),
        labels: alert.labels,
        annotations: alert.annotations,
        links: alert.links,
    }
}

fn digest(digest: incident::Digest) -> ToldDigest {
    let by_severity = digest.by_severity.into_iter();
    let worst = digest.worst.into_iter().map(|line| ToldMember {
        id: line.incident,
        title: line.title,
        severity: line.severity.word(),
        firing: line.firing,
        since: Time(line.since_ms),
        alerts: line.alerts,
    });
    ToldDigest {
        firing: digest.firing,
        resolved: digest.resolved,
        alerts: digest.alerts,
        by_severity: by_severity
            .map(|(one, count)| (one.word(), count))
            .collect(),
        worst: worst.collect(),
    }
}

fn rung(wanted: &Rung, state: Option<&RungState>) -> ToldRung {
    let state = state.cloned().unwrap_or_default();
    let outcome = match state.outcome.is_empty() {
        true => String::from("waiting"),
        false => state.outcome,
    };
    let calls = state.jobs.into_iter().map(|call| ToldCall {
        id: call.job,
        ended: call.ended,
    });
    ToldRung {
        urgent: wanted.urgent.clone(),
        after: duration_text(Duration::from_millis(wanted.after_ms.unsigned_abs())),
        to: wanted.to.iter().map(who).collect(),
        due_at: state.due_ms.map(Time),
        outcome,
        why: state.why,
        at: state.at_ms.map(Time),
        people: state.people,
        readers: state.readers,
        jobs: calls.collect(),
    }
}

/// As the route has it.
fn who(who: &Who) -> String {
    match who {
        Who::Id(id) | Who::Mail(id) => id.clone(),
        Who::List(name) => format!("@{name}"),
        Who::All => String::from("@all"),
    }
}

fn job(job: &IncidentJob) -> ToldJob<'_> {
    ToldJob {
        id: job.id,
        role: job.role,
        n: job.n,
        state: job.state,
        merged: job.merged,
        message_id: job.message_id.as_deref(),
        created_at: Time(job.created_ms),
        finished_at: job.finished_ms.map(Time),
        error: job.error.as_ref(),
    }
}

fn entry(entry: incident::Entry) -> ToldEntry {
    ToldEntry {
        at: Time(entry.at_ms),
        what: entry.what,
        job: entry.job,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_severity_is_told_by_the_name_that_it_is_stored_with() {
        for word in ["critical", "error", "warning", "info", "unknown"] {
            assert_eq!(Severity::of_rank(Severity::of(word).rank()).word(), word);
        }
        assert_eq!(Severity::of_rank(99).word(), "unknown");
    }
}
