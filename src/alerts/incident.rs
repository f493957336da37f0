//! What is known of an incident: its alerts, what was shown of it and who was called. It stands as JSON in the
//! store's row (`IncidentRow::body`) and is read and written whole.
//!
//! Everything has a bound: what a group may hold beyond is counted, not kept.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::json;
use sha2::{Digest as _, Sha256};

use crate::alerts::fingerprints::Fingerprints;
use crate::alerts::notice::{Alert, Severity};
use crate::alerts::policy::Policy;
use crate::job::{IncidentState, JobId, hex};

/// Entries of `log`, at most; the oldest but the first ones go.
pub const LOG_MAX: usize = 200;

/// An incident of one route and group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Incident {
    /// The name in `POST /v1/alerts/{name}`.
    pub sink: String,
    /// The group's key, as its source named it.
    pub group_key: String,
    /// What the route wants, as it was when this began.
    pub policy: Policy,
    /// The labels of the group.
    #[serde(default)]
    pub group_labels: BTreeMap<String, String>,
    /// Where the source can be looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_url: Option<String>,
    /// Its alerts by fingerprint, resolved ones too.
    #[serde(default)]
    pub alerts: BTreeMap<String, Tracked>,
    /// How many firing alerts the source left out of its last notification.
    #[serde(default)]
    pub truncated: u64,
    /// When it began, by its arrival here, Unix milliseconds as all times here.
    pub opened_ms: i64,
    /// The last time that the source said anything of it, repeats too.
    pub heard_ms: i64,
    /// When nothing of it fired any more, by its arrival.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_ms: Option<i64>,
    /// How often it fired again on the same card.
    #[serde(default)]
    pub reopened: u32,
    /// When it did so last, by its arrival.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reopened_ms: Option<i64>,
    /// Alerts of this group that ended lately and are not of this incident.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub over: BTreeMap<String, Over>,
    /// Somebody looks at it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ack: Option<Ack>,
    /// Nothing was heard of it for long.
    #[serde(default)]
    pub stale: bool,
    /// Its message.
    #[serde(default)]
    pub card: Card,
    /// What is to be said in its thread.
    #[serde(default)]
    pub news: News,
    /// Its escalation, a rung of the policy each.
    #[serde(default)]
    pub rungs: Vec<RungState>,
    /// Which escalation `rungs` speaks of: one that fires again is escalated again.
    #[serde(default)]
    pub round: Round,
    /// Of a digest: what it says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// What happened, the oldest first.
    #[serde(default)]
    pub log: Vec<Entry>,
}

/// An alert of an incident.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tracked {
    /// As it was said last.
    pub alert: Alert,
    /// When that was, for the first time.
    pub heard_ms: i64,
    /// When `resolved` arrived.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resolved_ms: Option<i64>,
}

/// An alert that is over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Over {
    /// Since when it had fired.
    pub starts_ms: i64,
    /// When `resolved` arrived.
    pub resolved_ms: i64,
}

/// Somebody looks at it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ack {
    /// When.
    pub at_ms: i64,
    /// Who: a client's name, `local`, or an open_id.
    pub by: String,
    /// How: `ack` or `reaction`.
    pub how: String,
}

/// The message that shows an incident.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Card {
    /// Which of the incident's messages it is, from 0.
    #[serde(default)]
    pub n: i64,
    /// Its id, once shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message_id: Option<String>,
    /// When it was shown first: rungs count from here, also after a new card.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shown_ms: Option<i64>,
    /// When the present message was sent: Feishu updates it for 14 days.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sent_ms: Option<i64>,
    /// The tag of what it shows now; empty: nothing is shown.
    #[serde(default)]
    pub shown: String,
    /// It goes to the fallback: Feishu refused the receiver.
    #[serde(default)]
    pub fallback: bool,
    /// Its template was refused: the built-in card stands in.
    #[serde(default)]
    pub plain: bool,
    /// It mentions nobody: Feishu refused it with its mentions.
    #[serde(default)]
    pub mute: bool,
    /// Replies to it stand in no thread: the group takes none.
    #[serde(default)]
    pub no_thread: bool,
    /// The tag that could not be shown, and why: made anew when the source repeats itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unshown: Option<Unshown>,
    /// The pin: `message_id` of what is pinned now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pinned: Option<String>,
    /// The message that could not be pinned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unpinnable: Option<String>,
}

/// A state that was not shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unshown {
    /// Which.
    pub tag: String,
    /// Its job.
    #[serde(default)]
    pub job: String,
    /// The state that ended in.
    pub state: String,
    /// Why, in words.
    pub why: String,
}

/// What the thread has not been told yet.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct News {
    /// Fingerprints of alerts that are new since the card was sent.
    #[serde(default)]
    pub alerts: Fingerprints,
    /// It became as bad as this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worse: Option<Severity>,
    /// Fingerprints of those that a job on its way tells of.
    #[serde(default)]
    pub telling: Fingerprints,
    /// As bad as this, the same job says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub telling_worse: Option<Severity>,
    /// The worst that people were told of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub level: Option<Severity>,
    /// When the thread was told last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub told_ms: Option<i64>,
    /// How often.
    #[serde(default)]
    pub told: i64,
}

/// What became of a rung.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RungState {
    /// When it is or was due, once that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due_ms: Option<i64>,
    /// `fired`, `skipped`; empty: not yet decided.
    #[serde(default)]
    pub outcome: String,
    /// Why, in words.
    #[serde(default)]
    pub why: String,
    /// When that was decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_ms: Option<i64>,
    /// Whom it called.
    #[serde(default)]
    pub people: Vec<String>,
    /// Who had read the card before.
    #[serde(default)]
    pub readers: Vec<String>,
    /// Its calls, one for each kind of id; of SMS and phone one for each person.
    #[serde(default)]
    pub jobs: Vec<RungJob>,
}

/// A call of a rung.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RungJob {
    /// Its job, once it ended or was given up.
    pub job: String,
    /// How it ended: a state, and why if it is not `done`.
    pub ended: String,
}

/// An escalation among those of its incident.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Round {
    /// Which: as often as it had fired again.
    #[serde(default)]
    pub n: u32,
    /// From when its rungs count: when the card showed that it fires.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from_ms: Option<i64>,
}

/// Of a digest: what it says of whom.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Digest {
    /// Incidents that fire.
    pub firing: u64,
    /// Incidents that are over.
    pub resolved: u64,
    /// Alerts in them.
    pub alerts: u64,
    /// Incidents of which it spoke and which have a card of their own or stand in a later digest by now.
    #[serde(default)]
    pub moved: u64,
    /// Firing incidents by severity.
    pub by_severity: BTreeMap<Severity, u64>,
    /// The worst of them, the worst first.
    pub worst: Vec<DigestLine>,
    /// Up to which change of its members that holds, as the store counts them; not a thing that is said.
    #[serde(skip)]
    pub seen: i64,
}

/// One incident in a digest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DigestLine {
    /// Its title.
    pub title: String,
    /// How bad.
    pub severity: Severity,
    /// It fires.
    pub firing: bool,
    /// Since when.
    pub since_ms: i64,
    /// Alerts in it.
    pub alerts: u64,
    /// Its name.
    pub incident: String,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// When.
    pub at_ms: i64,
    /// What, in words.
    pub what: String,
    /// The job concerned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<String>,
}

impl Incident {
    /// The alerts that fire, the worst first, then the oldest.
    pub fn firing(&self) -> Vec<&Alert> {
        let all = self.alerts.values().map(|tracked| &tracked.alert);
        let mut firing: Vec<_> = all.filter(|alert| alert.firing).collect();
        firing.sort_by_key(|alert| (std::cmp::Reverse(alert.severity()), alert.starts_ms));
        firing
    }

    /// Something of it fires; of a digest, something that it speaks of.
    pub fn is_firing(&self) -> bool {
        if let Some(digest) = &self.digest {
            return digest.firing > 0;
        }
        self.alerts.values().any(|tracked| tracked.alert.firing)
    }

    /// How bad it is: the worst that fires, else the worst that did.
    pub fn severity(&self) -> Severity {
        if let Some(digest) = &self.digest {
            let over = || digest.worst.iter().map(|line| line.severity).max();
            let firing = digest.by_severity.keys().copied().max();
            return firing.or_else(over).unwrap_or_default();
        }
        let firing = self.is_firing();
        let all = self.alerts.values().map(|tracked| &tracked.alert);
        let counted = all.filter(|alert| alert.firing || !firing);
        counted.map(Alert::severity).max().unwrap_or_default()
    }

    /// Where it stands.
    pub fn state(&self) -> IncidentState {
        match (self.is_firing(), &self.ack) {
            (false, _) => IncidentState::Resolved,
            (true, Some(_)) => IncidentState::Acknowledged,
            (true, None) => IncidentState::Firing,
        }
    }

    /// What its message must show, as a hash: the same for the same state, whatever words say it.
    pub fn tag(&self) -> String {
        let alerts = self.alerts.iter().map(|(fingerprint, tracked)| {
            let alert = &tracked.alert;
            json!([
                fingerprint,
                alert.firing,
                alert.starts_ms,
                alert.annotations
            ])
        });
        let state = json!([
            alerts.collect::<Vec<_>>(),
            self.truncated,
            self.is_firing(),
            self.stale && self.is_firing(),
            self.ack.as_ref().map(|ack| &ack.by),
            self.digest,
        ]);
        hex(&Sha256::digest(state.to_string())[..16])
    }

    /// Where its card goes.
    pub fn receiver(&self) -> &str {
        let fallback = self.policy.fallback.as_deref();
        fallback
            .filter(|_| self.card.fallback)
            .unwrap_or(&self.policy.to)
    }

    /// Notes what happened; of too many entries the oldest but the first goes.
    pub fn note(&mut self, at_ms: i64, what: impl Into<String>, job: Option<JobId>) {
        if self.log.len() >= LOG_MAX {
            self.log.remove(1);
        }
        self.log.push(Entry {
            at_ms,
            what: what.into(),
            job: job.map(|job| job.to_string()),
        });
    }
}
