//! Waits until jobs have come to their end.
//!
//! A wait ends early, and says nothing, when its time is over or the relay stops: whoever waited
//! then answers what is known.

use std::time::Duration;

use crate::http::Relay;
use crate::http::query::Wait;
use crate::job::{Job, JobId, State};
use crate::store::{Store, StoreError};

impl Relay {
    /// Returns when all of `ids` (and their children, if `wait` says so) have settled or are in
    /// doubt, or when the wait is over.
    ///
    /// # Errors
    /// The store could not be read.
    pub(super) async fn wait(&self, ids: &[JobId], wait: Wait) -> Result<(), StoreError> {
        let limit = Duration::from_millis(u64::try_from(wait.ms).unwrap_or(0));
        if limit.is_zero() {
            return Ok(());
        }
        tokio::select! {
            ended = all(&self.state.store, ids, wait.children) => ended,
            () = tokio::time::sleep(limit) => Ok(()),
            () = self.stop.cancelled() => Ok(()),
        }
    }
}

/// One after the other: the last to end is waited for either way.
async fn all(store: &Store, ids: &[JobId], children: bool) -> Result<(), StoreError> {
    for id in ids {
        let Some(job) = end(store, *id).await? else {
            continue;
        };
        // Children of a job in doubt wait for a person, and so would this.
        if children && job.state != State::InDoubt {
            for child in &job.children {
                end(store, *child).await?;
            }
        }
    }
    Ok(())
}

/// The job at its end; `None`: there is no such job.
async fn end(store: &Store, id: JobId) -> Result<Option<Job>, StoreError> {
    // Before the first look, so that no change falls between the two.
    let mut watch = store.watch(id);
    loop {
        match store.jobs(&[id]).await?.pop() {
            Some(job) if job.state.is_pending() => watch.changed().await,
            ended => return Ok(ended),
        }
    }
}
