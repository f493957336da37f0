//! Tells waiting readers that a job changed. Only committed changes are told.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

use crate::job::JobId;

/// Who waits for which job.
#[derive(Debug, Default)]
pub(super) struct Watchers {
    waiting: Mutex<HashMap<JobId, Vec<Arc<Notify>>>>,
}

/// Wakes at each change of one job; dropped, it costs nothing.
#[derive(Debug)]
pub struct Watch {
    id: JobId,
    notify: Arc<Notify>,
    watchers: Arc<Watchers>,
}

impl Watchers {
    pub(super) fn watch(self: &Arc<Self>, id: JobId) -> Watch {
        let notify = Arc::new(Notify::new());
        self.lock().entry(id).or_default().push(Arc::clone(&notify));
        Watch {
            id,
            notify,
            watchers: Arc::clone(self),
        }
    }

    /// Wakes all who wait for one of `ids`. A wake that nobody awaits yet is kept for them.
    pub(super) fn tell(&self, ids: &[JobId]) {
        let waiting = self.lock();
        if waiting.is_empty() {
            return;
        }
        for notify in ids.iter().filter_map(|id| waiting.get(id)).flatten() {
            notify.notify_one();
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<JobId, Vec<Arc<Notify>>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watch {
    /// Returns at the next change since the watch began or since the last call.
    pub async fn changed(&mut self) {
        self.notify.notified().await;
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let mut waiting = self.watchers.lock();
        if let Some(list) = waiting.get_mut(&self.id) {
            list.retain(|notify| !Arc::ptr_eq(notify, &self.notify));
            if list.is_empty() {
                waiting.remove(&self.id);
            }
        }
    }
}
