//! A notification comes in: read, routed, folded into its incidents, and written before it is answered.

use std::sync::Arc;

use http::HeaderMap;

use crate::alerts::arrive::{Arrival, Heard, arrive};
use crate::alerts::notice::{Alert, Notification};
use crate::alerts::routes::{Picked, Routed};
use crate::alerts::run::write::Place;
use crate::alerts::run::{Alerts, InForce, SMALL_BYTES, TRIES, Trouble, read};
use crate::alerts::sources::Refused;
use crate::job::{IncidentId, IncidentWrite};

/// What became of a notification.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// The incidents that it is of.
    pub incidents: Vec<IncidentId>,
    /// Its alerts.
    pub alerts: usize,
    /// Those of them that no route wanted.
    pub unmatched: usize,
}

/// Why a notification was not taken; nothing was changed.
#[derive(Debug)]
pub enum NotTaken {
    /// No route has that name.
    NoSuchSink,
    /// It is wrong.
    Refused(Refused),
    /// It could not be written.
    Trouble(Trouble),
}

impl From<Trouble> for NotTaken {
    fn from(trouble: Trouble) -> NotTaken {
        NotTaken::Trouble(trouble)
    }
}

/// What one route makes of it.
struct Change {
    write: Option<IncidentWrite>,
    id: Option<IncidentId>,
    outcome: &'static str,
}

impl Alerts {
    /// The first app of a route of the sink `name` that is not among `allowed`.
    pub fn beyond(&self, name: &str, allowed: &[String]) -> Option<String> {
        let in_force = self.in_force();
        in_force.routes.beyond(name, allowed).map(str::to_owned)
    }

    /// Takes what was posted to the sink `name` by `client`. What it changes is on disk when this returns.
    ///
    /// # Errors
    /// Nothing was changed.
    pub async fn accept(
        &self,
        name: &str,
        client: &str,
        headers: &HeaderMap,
        body: Vec<u8>,
    ) -> Result<Taken, NotTaken> {
        let in_force = self.in_force();
        let (note, routed) = self.understood(&in_force, name, headers, body).await?;
        let metrics = self.store.metrics();
        let alerts = note.alerts.len();
        let groups = routed
            .picked
            .iter()
            .map(|picked| (&*picked.identity, &*note.group_key));
        let _turn = self.stripes(groups).await;
        for _ in 0..TRIES {
            let mut changes = Vec::with_capacity(routed.picked.len());
            for picked in &routed.picked {
                changes.push(self.change(name, client, &note, picked).await?);
            }
            let known = changes.iter().filter_map(|change| change.id).collect();
            let mut beside = self.elsewhere(name, &note, known).await?;
            let writes: Vec<IncidentWrite> = changes
                .iter_mut()
                .chain(&mut beside)
                .filter_map(|change| change.write.take())
                .collect();
            if !writes.is_empty() && !self.commit(writes).await? {
                continue;
            }
            for (picked, change) in routed.picked.iter().zip(&changes) {
                metrics.alerts(&picked.identity, change.outcome, picked.alerts.len());
            }
            metrics.alerts(name, "unmatched", routed.unmatched);
            return Ok(Taken {
                incidents: changes.iter().filter_map(|change| change.id).collect(),
                alerts,
                unmatched: routed.unmatched,
            });
        }
        Err(Trouble::Busy.into())
    }

    /// What it says, and who of the routes wants it.
    async fn understood(
        &self,
        in_force: &Arc<InForce>,
        name: &str,
        headers: &HeaderMap,
        body: Vec<u8>,
    ) -> Result<(Notification, Routed), NotTaken> {
        let now_ms = self.clock.wall_ms();
        let (in_force, name, headers) = (Arc::clone(in_force), name.to_owned(), headers.clone());
        let small = body.len() <= SMALL_BYTES;
        let read = move || {
            let sink = in_force.routes.sink(&name).ok_or(NotTaken::NoSuchSink)?;
            let note = sink
                .read(&headers, &body, now_ms)
                .map_err(NotTaken::Refused)?;
            let routed = sink.route(&note);
            Ok((note, routed))
        };
        match small {
            true => read(),
            false => tokio::task::spawn_blocking(read)
                .await
                .unwrap_or_else(|error| {
                    tracing::error!(
                        panicked = error.is_panic(),
                        "a notification was not read to its end"
                    );
                    Err(Trouble::Broken.into())
                }),
        }
    }

    /// What it does to the incident of one route.
    async fn change(
        &self,
        name: &str,
        client: &str,
        note: &Notification,
        picked: &Picked,
    ) -> Result<Change, Trouble> {
        let row = self
            .store
            .incident_of(&picked.identity, &note.group_key)
            .await?;
        let newest = match &row {
            Some(row) => Some(read(row).await?),
            None => None,
        };
        let arrival = Arrival {
            sink: name,
            note,
            alerts: &picked.alerts,
            policy: &picked.policy,
            now_ms: self.clock.wall_ms(),
        };
        let Some((mut incident, heard)) = arrive(newest, &arrival) else {
            return Ok(Change {
                write: None,
                id: row.map(|row| row.id),
                outcome: "late",
            });
        };
        let known = row.as_ref().filter(|_| heard != Heard::Opened);
        let place = match known {
            Some(row) => Place::of(row),
            None => Place {
                id: IncidentId::new(arrival.now_ms),
                version: None,
                after: row.as_ref().map(|row| row.id),
                route: picked.identity.clone(),
                group: note.group_key.clone(),
                client: client.to_owned(),
                is_digest: false,
            },
        };
        let hold_until_ms = self.ready(&place.route, &mut incident, known).await?;
        let planned = self.plan(&mut incident, known, true, None, hold_until_ms);
        Ok(Change {
            id: Some(place.id),
            write: Some(self.write(place, incident, planned).await?),
            outcome: heard.name(),
        })
    }

    /// What is over also ends in open incidents of its group that another route of the sink had begun: since then
    /// the routes have changed, and nobody else will say so.
    async fn elsewhere(
        &self,
        name: &str,
        note: &Notification,
        known: Vec<IncidentId>,
    ) -> Result<Vec<Change>, Trouble> {
        let over: Vec<Alert> = (note.alerts.iter())
            .filter(|alert| !alert.firing)
            .cloned()
            .collect();
        let mut changes = Vec::new();
        if over.is_empty() {
            return Ok(changes);
        }
        for row in self.store.open_incidents_of(&note.group_key).await? {
            let before = read(&row).await?;
            if row.is_digest || known.contains(&row.id) || before.sink != name {
                continue;
            }
            let policy = before.policy.clone();
            let arrival = Arrival {
                sink: name,
                note,
                alerts: &over,
                policy: &policy,
                now_ms: self.clock.wall_ms(),
            };
            let Some((mut incident, Heard::Changed)) = arrive(Some(before), &arrival) else {
                continue;
            };
            let hold_until_ms = self.ready(&row.route, &mut incident, Some(&row)).await?;
            let planned = self.plan(&mut incident, Some(&row), true, None, hold_until_ms);
            changes.push(Change {
                id: Some(row.id),
                write: Some(self.write(Place::of(&row), incident, planned).await?),
                outcome: Heard::Changed.name(),
            });
        }
        Ok(changes)
    }
}
