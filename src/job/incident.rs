//! An incident as the store keeps it: one group of alerts of one route, and the jobs that speak of it.
//!
//! The store knows who it is, where it stands and when somebody must look at it again; what it is about stands
//! in `body`, which only `alerts` reads. Every change names the version it was made from, so two who change
//! the same incident cannot both win.
//! Not here: what news do to an incident and which jobs follow (`alerts`), the rows (`store::incidents`).

use std::fmt;
use std::str::FromStr;

use crate::job::{Degraded, Fault, JobId, NewJob, State};

/// How long Feishu updates a card, from when it was sent.
pub const CARD_UPDATE_WINDOW_MS: i64 = feishu_im::limits::CARD_UPDATE_WINDOW_MS;

/// The name of an incident: `inc_` and 32 hex digits; those of later incidents sort after earlier ones.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct IncidentId(pub [u8; 16]);

/// The text is no incident id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an incident id is \"inc_\" and 32 hex digits")]
pub struct NotAnIncidentId;

impl IncidentId {
    /// What stands before the digits.
    pub const PREFIX: &str = "inc_";

    /// A new one of time `ms`, Unix milliseconds.
    pub fn new(ms: i64) -> IncidentId {
        let unique = uuid::Uuid::new_v7(uuid::Timestamp::from_unix(
            uuid::NoContext,
            u64::try_from(ms.div_euclid(1000)).unwrap_or(0),
            u32::try_from(ms.rem_euclid(1000) * 1_000_000).unwrap_or(0),
        ));
        IncidentId(*unique.as_bytes())
    }
}

impl fmt::Display for IncidentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", IncidentId::PREFIX, super::hex(&self.0))
    }
}

impl fmt::Debug for IncidentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for IncidentId {
    type Err = NotAnIncidentId;

    fn from_str(text: &str) -> Result<IncidentId, NotAnIncidentId> {
        let digits = text
            .strip_prefix(IncidentId::PREFIX)
            .ok_or(NotAnIncidentId)?;
        let JobId(bytes) = JobId::from_hex(digits).map_err(|_| NotAnIncidentId)?;
        Ok(IncidentId(bytes))
    }
}

impl serde::Serialize for IncidentId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for IncidentId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<IncidentId, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl utoipa::PartialSchema for IncidentId {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
        utoipa::openapi::ObjectBuilder::new()
            .schema_type(utoipa::openapi::Type::String)
            .pattern(Some("^inc_[0-9a-f]{32}$"))
            .into()
    }
}

impl utoipa::ToSchema for IncidentId {}

super::state::named! {
    /// Where an incident stands.
    IncidentState {
        /// Something of it is firing, and nobody said that they look.
        Firing = "firing",
        /// Something of it is firing, and somebody looks.
        Acknowledged = "acknowledged",
        /// Nothing of it is firing.
        Resolved = "resolved",
    }
}

super::state::named! {
    /// What a job does for its incident.
    IncidentRole {
        /// Shows it: a message of its own.
        Card = "card",
        /// Brings its message up to date.
        Update = "update",
        /// Says news in its thread, with mentions.
        News = "news",
        /// Says in its thread that another message goes on.
        Moved = "moved",
        /// Pins its message.
        Pin = "pin",
        /// Takes the pin away.
        Unpin = "unpin",
        /// A rung of its escalation.
        Rung = "rung",
    }
}

/// A job that speaks of an incident, and how it stands.
#[derive(Clone, Debug)]
pub struct IncidentJob {
    /// Which.
    pub id: JobId,
    /// What it does.
    pub role: IncidentRole,
    /// Of a rung which, from 0; of a card and an update which of the incident's messages, from 0.
    pub n: i64,
    /// What it carries, as `alerts` tagged it: two jobs with the same tag show the same.
    pub tag: String,
    /// Its state.
    pub state: State,
    /// It was marked before: its content does not change any more.
    pub tried: bool,
    /// An attempt may have been carried out.
    pub unknown: bool,
    /// It waits for a digest, which speaks for it.
    pub merged: bool,
    /// The message that it made.
    pub message_id: Option<String>,
    /// When it was made.
    pub created_ms: i64,
    /// When it settled.
    pub finished_ms: Option<i64>,
    /// Why it failed.
    pub error: Option<Fault>,
}

/// A digest that speaks for an incident.
#[derive(Clone, Debug)]
pub struct DigestLink {
    /// Which: an incident of its own, with `is_digest`.
    pub id: IncidentId,
    /// What it says of this one, as `alerts` tagged it.
    pub tag: String,
    /// The state of the job that shows the digest.
    pub state: State,
    /// That job was marked before.
    pub tried: bool,
    /// When that job settled.
    pub finished_ms: Option<i64>,
    /// The digest's message.
    pub message_id: Option<String>,
}

/// An incident as it was read: its jobs with it, but for those that `alerts` has done with (`Step::Forget`).
#[derive(Clone, Debug)]
pub struct IncidentRow {
    /// Its name.
    pub id: IncidentId,
    /// Of this state of it; the first is 1.
    pub version: i64,
    /// The route's identity.
    pub route: String,
    /// The group's, as its source named it.
    pub group: String,
    /// The app of its jobs, by name.
    pub app: String,
    /// Where its card goes or went.
    pub receiver: String,
    /// Who brought it.
    pub client: String,
    /// Where it stands.
    pub state: IncidentState,
    /// The worse the higher.
    pub severity: i64,
    /// One line, for lists.
    pub title: String,
    /// Alerts in it, firing or not; a digest counts them.
    pub alerts: i64,
    /// What is to be shown of it, as `alerts` tagged it.
    pub tag: String,
    /// What it is about, as `alerts` wrote it: a JSON object.
    pub body: String,
    /// It is a digest of others.
    pub is_digest: bool,
    /// The digest that speaks for it.
    pub digest: Option<DigestLink>,
    /// It waits for the next digest.
    pub wants_digest: bool,
    /// Of a digest: members that are firing and not acknowledged.
    pub members_firing: i64,
    /// When it began.
    pub opened_ms: i64,
    /// When it changed last.
    pub changed_ms: i64,
    /// When it ended.
    pub ended_ms: Option<i64>,
    /// When somebody must look at it; `None`: only when there is news.
    pub due_ms: Option<i64>,
    /// Its message, once shown.
    pub message_id: Option<String>,
    /// Its jobs, in the order in which they were made.
    pub jobs: Vec<IncidentJob>,
}

/// What an incident is from now on.
#[derive(Clone, Debug)]
pub struct IncidentWrite {
    /// Its name; a new one's is made by whoever writes.
    pub id: IncidentId,
    /// The version it was made from; `None`: it must be new, and no newer one of its route and group may be there
    /// than `after`.
    pub version: Option<i64>,
    /// Of a new one: the newest incident of its route and group, as its writer saw it.
    pub after: Option<IncidentId>,
    /// The route's identity.
    pub route: String,
    /// The group's.
    pub group: String,
    /// The app of its jobs.
    pub app: String,
    /// Where its card goes.
    pub receiver: String,
    /// Who brought it.
    pub client: String,
    /// Where it stands.
    pub state: IncidentState,
    /// The worse the higher.
    pub severity: i64,
    /// One line.
    pub title: String,
    /// Alerts in it.
    pub alerts: i64,
    /// What is to be shown of it.
    pub tag: String,
    /// A JSON object.
    pub body: String,
    /// It is a digest.
    pub is_digest: bool,
    /// It leaves the digest that spoke for it: its own card goes on.
    pub leave_digest: bool,
    /// It waits for the next digest.
    pub wants_digest: bool,
    /// When it began.
    pub opened_ms: i64,
    /// When it ended.
    pub ended_ms: Option<i64>,
    /// When to look again; a settled job of it is always news, whatever stands here.
    pub due_ms: Option<i64>,
    /// Its message.
    pub message_id: Option<String>,
    /// What becomes of its jobs.
    pub steps: Vec<Step>,
    /// Of a digest: for whom it speaks from now on, beside those for whom it did.
    pub members: Vec<Member>,
    /// Of a digest: up to which change of a member it says how they stand; one that came later makes it due.
    pub members_seen: Option<i64>,
}

/// An incident that a digest speaks for.
#[derive(Clone, Debug)]
pub struct Member {
    /// Which.
    pub id: IncidentId,
    /// The version that was read; it must not have changed.
    pub version: i64,
    /// What the digest says of it.
    pub tag: String,
    /// Its card's job, which waits for the digest's and takes its end; only one that was never marked.
    pub job: Option<JobId>,
}

/// What becomes of a job of an incident. A step that does not fit what is stored refuses the whole write (`Conflict`).
#[derive(Clone, Debug)]
pub enum Step {
    /// A new job, which belongs to the incident.
    Enqueue {
        /// What it does.
        role: IncidentRole,
        /// Which.
        n: i64,
        /// What it carries.
        tag: String,
        /// The job.
        job: Box<NewJob>,
        /// It counts as a producer's and is refused when the queue is full; else it is taken anyway.
        bounded: bool,
    },
    /// A job that was never marked says something else from now on.
    Replace {
        /// Which; `queued`, never marked, not merged.
        job: JobId,
        /// Its new args, as `NewJob::args`.
        args: String,
        /// Its new deadline.
        expires_ms: Option<i64>,
        /// As `NewJob::degraded`: the new card does not go as it is.
        degraded: Option<Degraded>,
        /// What it carries now.
        tag: String,
    },
    /// A job that waits for its time only goes at once.
    Release {
        /// Which; `queued`, never marked, not merged.
        job: JobId,
    },
    /// A job is not wanted any more: `canceled`, or after an unknown attempt `in_doubt`. Only of one that is `queued`.
    Cancel {
        /// Which.
        job: JobId,
        /// Why, for its `actions`.
        why: String,
    },
    /// The incident has taken notice of how this job ended; it is not read with it any more.
    Forget {
        /// Which; settled or in doubt.
        job: JobId,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_incident_id_is_read_back_from_its_text_and_nothing_else_is() {
        let (id, later) = (
            IncidentId::new(1_767_225_600_123),
            IncidentId::new(1_767_225_600_124),
        );
        assert_eq!(id.to_string().parse(), Ok(id));
        assert!(id < later);
        for bad in ["", "inc_", "inc_0g", "job_00000000000000000000000000000000"] {
            assert_eq!(bad.parse::<IncidentId>(), Err(NotAnIncidentId), "{bad}");
        }
    }
}
