//! Incidents that are due are looked at: a job of theirs ended, or their time has come.
//!
//! Several at a time, each once at a time. One that could not be written is still due, and is looked at again
//! after a second.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::alerts::run::write::Place;
use crate::alerts::run::{Alerts, TRIES, Trouble, read};
use crate::clock::LOOK_AGAIN;
use crate::job::{IncidentId, IncidentRow};

/// Incidents that are looked at at one time.
const LOOKS_MAX: usize = 32;

/// Who is being looked at.
#[derive(Debug, Default)]
struct Looks {
    tasks: JoinSet<(IncidentId, Result<(), Trouble>)>,
    ids: HashSet<IncidentId>,
}

/// Looks at what is due, until `stop`; what is under way then is ended.
pub(super) async fn run(alerts: Arc<Alerts>, stop: CancellationToken) {
    let changed = alerts.store.incidents_changed();
    let mut looks = Looks::default();
    let mut rest = false;
    loop {
        // Asked for before the look, so that no news falls in between.
        let news = changed.notified();
        let wait = match rest {
            true => LOOK_AGAIN,
            false => looks.begin(&alerts).await,
        };
        tokio::select! {
            () = stop.cancelled() => break,
            Some(ended) = looks.tasks.join_next() => rest = !looks.ended(ended),
            () = news, if !rest => {}
            () = sleep(wait) => rest = false,
        }
    }
    while let Some(ended) = looks.tasks.join_next().await {
        looks.ended(ended);
    }
}

impl Looks {
    /// Begins to look at what is due. Returns for how long nothing else will be, a second at most.
    async fn begin(&mut self, alerts: &Arc<Alerts>) -> Duration {
        let free = LOOKS_MAX.saturating_sub(self.ids.len());
        if free < LOOKS_MAX / 2 {
            return LOOK_AGAIN;
        }
        let due = alerts
            .store
            .incidents_due(u32::try_from(LOOKS_MAX).unwrap_or(u32::MAX))
            .await;
        let due = match due {
            Ok(due) => due,
            Err(error) => {
                tracing::warn!(%error, "what is due cannot be read");
                return LOOK_AGAIN;
            }
        };
        for row in due {
            if self.ids.len() < LOOKS_MAX && self.ids.insert(row.id) {
                let alerts = Arc::clone(alerts);
                self.tasks
                    .spawn(async move { (row.id, alerts.look(row).await) });
            }
        }
        let next = alerts.store.next_incident_due().await;
        let Ok(Some(next_ms)) = next else {
            return LOOK_AGAIN;
        };
        let wait_ms = next_ms.saturating_sub(alerts.clock.wall_ms());
        let wait = Duration::from_millis(u64::try_from(wait_ms).unwrap_or(0));
        // What is due already is being looked at, or waits for a place.
        match wait.is_zero() {
            true => LOOK_AGAIN,
            false => wait.min(LOOK_AGAIN),
        }
    }

    /// One was looked at. `false`: it could not be written.
    fn ended(
        &mut self,
        ended: Result<(IncidentId, Result<(), Trouble>), tokio::task::JoinError>,
    ) -> bool {
        match ended {
            Ok((id, looked)) => {
                self.ids.remove(&id);
                if let Err(error) = &looked {
                    tracing::warn!(incident = %id, %error, "an incident could not be looked at");
                }
                looked.is_ok()
            }
            Err(error) => {
                tracing::error!(%error, "a look at an incident ended badly");
                // Whose it was is not known: all are free again, and a second look changes nothing.
                self.ids.clear();
                false
            }
        }
    }
}

impl Alerts {
    /// Decides what comes next for an incident, and writes it.
    async fn look(&self, row: IncidentRow) -> Result<(), Trouble> {
        let mut row = row;
        let mut facts = None;
        for _ in 0..TRIES {
            let mut incident = read(&row)?;
            let hold_until_ms = self.ready(&row.route, &mut incident, Some(&row)).await?;
            let planned = self.plan(
                &mut incident,
                Some(&row),
                false,
                facts.as_ref(),
                hold_until_ms,
            );
            if facts.is_none()
                && let Some(ask) = &planned.ask
            {
                facts = Some(self.ask(&row, ask).await);
                // It may have been stopped meanwhile.
                match self.store.incident(row.id).await? {
                    Some(newer) => row = newer,
                    None => return Ok(()),
                }
                continue;
            }
            let write = self.write(Place::of(&row), incident, planned).await?;
            if self.commit(vec![write]).await? {
                return Ok(());
            }
            match self.store.incident(row.id).await? {
                Some(newer) => row = newer,
                None => return Ok(()),
            }
        }
        Err(Trouble::Busy)
    }
}
