//! Incidents: what is to be shown of a group of alerts, and which jobs show it.
//!
//! An incident and what becomes of its jobs are written in one transaction, and only over the version that was
//! read. A job of an incident that settles, comes to be in doubt or is retried makes its incident due in that
//! very transaction, with another version: whoever decided without knowing it is refused, and decides again.
//! Not here: what an incident is about and which jobs follow (`alerts`).

mod merge;
mod read;
mod storm;
#[cfg(test)]
mod tests;
mod wake;
mod write;

use std::collections::BTreeMap;
use std::sync::Arc;

use sqlx::Row;
use sqlx::sqlite::SqliteRow;
use tokio::sync::{Notify, oneshot};

pub(super) use self::merge::{go_on, merged_into};
pub use self::storm::MEMBERS_MAX;
pub(super) use self::storm::drop_told;
pub(super) use self::wake::{drop_old, restored, wake};
pub(super) use self::write::{weight, write};
use crate::job::{Flaw, IncidentId, IncidentJob, IncidentRow, IncidentState, IncidentWrite, JobId};
use crate::store::writer::Request;
use crate::store::{Store, StoreError, gone};

/// Why incidents were not written. Nothing was stored.
#[derive(Debug, thiserror::Error)]
pub enum IncidentError {
    /// One of them is not any more what it was when it was read, or a step does not fit; read again.
    #[error("the incident has changed")]
    Conflict,
    /// `max_pending` jobs wait already.
    #[error("the queue is full")]
    Full,
    /// A job does not fit what is stored.
    #[error("a job of the incident does not fit")]
    Flawed(Vec<Flaw>),
    /// The store could not write.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The jobs that each write enqueued, in its order.
pub(super) type Written = Result<Vec<Vec<JobId>>, IncidentError>;

/// Which incidents of a list; an absent part excludes nothing.
#[derive(Clone, Debug, Default)]
pub struct IncidentFilter {
    /// This route: its name, or its identity.
    pub route: Option<String>,
    /// One of these states.
    pub states: Vec<IncidentState>,
    /// One of these apps: nobody sees more than is theirs.
    pub apps: Option<Vec<String>>,
    /// Brought by this client.
    pub client: Option<String>,
    /// Digests only, or none of them.
    pub is_digest: Option<bool>,
    /// Began at or after, Unix milliseconds.
    pub since_ms: Option<i64>,
    /// Began before, Unix milliseconds.
    pub until_ms: Option<i64>,
    /// At most so many (1 to 200).
    pub limit: u32,
    /// Goes on where an earlier page ended.
    pub cursor: Option<i64>,
}

/// A page of incidents, newest first.
#[derive(Debug)]
pub struct IncidentPage {
    /// Without their jobs.
    pub incidents: Vec<IncidentRow>,
    /// Where the next page begins; `None`: there is none.
    pub next_cursor: Option<i64>,
}

/// What a batch does to incidents beside their own writes.
#[derive(Default)]
pub(super) struct News {
    /// Jobs that ended or wait again, each with its incident.
    jobs: Vec<(i64, i64)>,
    /// Jobs that were under way and are queued again, each with its incident.
    again: Vec<(i64, i64)>,
    /// Incidents that somebody must look at.
    woken: Vec<i64>,
    /// Somebody must look at one now.
    pub(super) is_due: bool,
}

impl News {
    /// The job of `row` (its `seq` and `incident`) is in another state now.
    pub(super) fn job(&mut self, row: &SqliteRow) {
        if let Some(incident) = row.get::<Option<i64>, _>("incident") {
            self.jobs.push((incident, row.get("seq")));
        }
    }

    /// The job of `row` was under way and is queued again.
    pub(super) fn job_again(&mut self, row: &SqliteRow) {
        if let Some(incident) = row.get::<Option<i64>, _>("incident") {
            self.again.push((incident, row.get("seq")));
        }
    }
}

impl Store {
    /// Writes incidents and what becomes of their jobs, all or none. Returns the jobs that each enqueued.
    ///
    /// # Errors
    /// Nothing was stored. `Conflict`: read again and decide again. `Full`: try later. `Flawed`: a job is wrong.
    pub async fn write_incidents(
        &self,
        writes: Vec<IncidentWrite>,
    ) -> Result<Vec<Vec<JobId>>, IncidentError> {
        let (reply, answer) = oneshot::channel();
        self.hand(Request::Incidents(writes, reply)).await?;
        answer.await.map_err(|_| gone())?
    }

    /// Told after each commit by which somebody must look at an incident now.
    pub fn incidents_changed(&self) -> Arc<Notify> {
        Arc::clone(&self.shared.incidents)
    }

    /// The newest incident of that group.
    ///
    /// # Errors
    /// The file cannot answer.
    pub async fn incident_of(
        &self,
        route: &str,
        group: &str,
    ) -> Result<Option<IncidentRow>, StoreError> {
        read::newest(self, route, group)
            .await
            .map_err(self.failed())
    }

    /// The open incidents of that group, whichever routes they are of; a hundred at most.
    ///
    /// # Errors
    /// The file cannot answer.
    pub async fn open_incidents_of(&self, group: &str) -> Result<Vec<IncidentRow>, StoreError> {
        read::open_of(self, group).await.map_err(self.failed())
    }

    /// That incident.
    ///
    /// # Errors
    /// The file cannot answer.
    pub async fn incident(&self, id: IncidentId) -> Result<Option<IncidentRow>, StoreError> {
        read::one(self, id).await.map_err(self.failed())
    }

    /// Incidents that somebody must look at, those that wait longest first.
    ///
    /// # Errors
    /// The file cannot answer.
    pub async fn incidents_due(&self, limit: u32) -> Result<Vec<IncidentRow>, StoreError> {
        let now_ms = self.shared.clock.wall_ms();
        read::due(self, now_ms, limit).await.map_err(self.failed())
    }

    /// When the next incident must be looked at, Unix milliseconds; it may be over.
    ///
    /// # Errors
    /// The file cannot answer.
    pub async fn next_incident_due(&self) -> Result<Option<i64>, StoreError> {
        read::next_due(self).await.map_err(self.failed())
    }

    /// A page of incidents, newest first. A page that looked at 10 000 rows ends early, with a cursor.
    ///
    /// # Errors
    /// The file cannot answer.
    pub async fn list_incidents(
        &self,
        filter: &IncidentFilter,
    ) -> Result<IncidentPage, StoreError> {
        read::list(self, filter).await.map_err(self.failed())
    }

    /// All jobs of an incident as far as they are kept, in the order in which they were made.
    ///
    /// # Errors
    /// The file cannot answer.
    pub async fn incident_jobs(&self, id: IncidentId) -> Result<Vec<IncidentJob>, StoreError> {
        read::all_jobs(self, id).await.map_err(self.failed())
    }

    /// How many incidents are open, by route and state.
    ///
    /// # Errors
    /// The file cannot answer.
    pub async fn open_incidents(
        &self,
    ) -> Result<BTreeMap<(String, IncidentState), u64>, StoreError> {
        read::open(self).await.map_err(self.failed())
    }
}
