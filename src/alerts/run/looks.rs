//! Incidents that are due are looked at: a job of theirs ended, or their time has come.
//!
//! Several at a time, each once at a time. One that could not be written is still due, and is looked at again
//! after a second. One that is broken, in itself or for this binary, is left alone longer each time.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::alerts::run::write::Place;
use crate::alerts::run::{Alerts, TRIES, Trouble, read};
use crate::clock::LOOK_AGAIN;
use crate::job::{IncidentId, IncidentRow};

/// Incidents that are looked at at one time.
const LOOKS_MAX: usize = 32;
/// A broken one is left alone for no longer.
const REST_MAX: Duration = Duration::from_secs(64);
/// Broken ones that are remembered.
const RESTS_MAX: usize = 1000;

/// Who is being looked at.
#[derive(Debug, Default)]
struct Looks {
    tasks: JoinSet<(IncidentId, Result<(), Trouble>)>,
    ids: HashSet<IncidentId>,
    rests: HashMap<IncidentId, Rest>,
}

/// A broken incident is left alone.
#[derive(Debug)]
struct Rest {
    long: Duration,
    until: Instant,
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
        // Those that rest are due all the time, and must not keep the others out.
        let most = LOOKS_MAX + self.rests.len();
        let due = alerts
            .store
            .incidents_due(u32::try_from(most).unwrap_or(u32::MAX))
            .await;
        let due = match due {
            Ok(due) => due,
            Err(error) => {
                tracing::warn!(%error, "what is due cannot be read");
                return LOOK_AGAIN;
            }
        };
        let now = Instant::now();
        for row in due {
            if self.rests(row.id, now) {
                continue;
            }
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

    /// Is it left alone for now?
    fn rests(&self, id: IncidentId, now: Instant) -> bool {
        self.rests.get(&id).is_some_and(|rest| now < rest.until)
    }

    /// It is broken: it is left alone for a second, and twice as long each time.
    fn rest(&mut self, id: IncidentId, now: Instant) {
        if self.rests.len() >= RESTS_MAX {
            // Whose rest ends soonest is looked at soon anyway; those that are over may be of incidents that are gone.
            let soonest = self.rests.iter().min_by_key(|(_, rest)| rest.until);
            if let Some(soonest) = soonest.map(|(id, _)| *id) {
                self.rests.remove(&soonest);
            }
        }
        let before = self.rests.get(&id).map(|rest| rest.long * 2);
        let long = before.unwrap_or(LOOK_AGAIN).min(REST_MAX);
        let until = now + long;
        self.rests.insert(id, Rest { long, until });
    }

    /// One was looked at. `false`: it could not be written, nor could others now.
    fn ended(
        &mut self,
        ended: Result<(IncidentId, Result<(), Trouble>), tokio::task::JoinError>,
    ) -> bool {
        match ended {
            Ok((id, looked)) => {
                self.ids.remove(&id);
                match &looked {
                    Err(Trouble::Broken) => self.rest(id, Instant::now()),
                    Ok(()) | Err(Trouble::Full | Trouble::Busy | Trouble::Store(_)) => {
                        self.rests.remove(&id);
                    }
                }
                if let Err(error) = &looked {
                    tracing::warn!(incident = %id, %error, "an incident could not be looked at");
                }
                matches!(looked, Ok(()) | Err(Trouble::Broken))
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
            let mut incident = read(&row).await?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_broken_incident_is_left_alone_longer_each_time_and_no_other_is() {
        let mut looks = Looks::default();
        let [broken, other] = [IncidentId::new(1), IncidentId::new(2)];
        let now = Instant::now();
        for seconds in [1, 2, 4, 8, 16, 32, 64, 64] {
            looks.rest(broken, now);
            let later = |ms: u64| now + Duration::from_millis(ms);
            assert!(looks.rests(broken, later(seconds * 1000 - 1)));
            assert!(!looks.rests(broken, later(seconds * 1000)));
        }
        assert!(!looks.ended(Ok((other, Err(Trouble::Busy)))));
        assert!(!looks.rests(other, now));
        assert!(looks.ended(Ok((other, Err(Trouble::Broken)))));
        assert!(looks.rests(other, now));
        assert!(looks.ended(Ok((broken, Ok(())))));
        assert!(!looks.rests(broken, now));
    }
}
