//! An incident and what was planned for it, as one write.

use crate::alerts::cards;
use crate::alerts::incident::Incident;
use crate::alerts::plan::Planned;
use crate::alerts::run::{Alerts, Trouble, steps};
use crate::job::{IncidentId, IncidentRow, IncidentWrite};

/// The least time until an incident is looked at again, milliseconds: a plan that is always due spins nothing.
const LOOK_MS_MIN: i64 = 200;
/// The body of an incident of so many alerts is written where it is; a longer one where it blocks nobody.
const FEW_ALERTS: usize = 100;

/// Which incident it is, beside what it is about.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) id: IncidentId,
    pub(super) version: Option<i64>,
    pub(super) after: Option<IncidentId>,
    pub(super) route: String,
    pub(super) group: String,
    pub(super) client: String,
    pub(super) is_digest: bool,
}

impl Place {
    /// Of one that is stored.
    pub(super) fn of(row: &IncidentRow) -> Place {
        Place {
            id: row.id,
            version: Some(row.version),
            after: None,
            route: row.route.clone(),
            group: row.group.clone(),
            client: row.client.clone(),
            is_digest: row.is_digest,
        }
    }
}

impl Alerts {
    /// Draws what is to be said, and puts all of it into one write.
    pub(super) async fn write(
        &self,
        place: Place,
        mut incident: Incident,
        planned: Planned,
    ) -> Result<IncidentWrite, Trouble> {
        let Planned {
            acts,
            due_ms,
            leave_digest,
            wants_digest,
            ask: _,
        } = planned;
        let now_ms = self.clock.wall_ms();
        let drawing = steps::Drawing {
            id: place.id,
            route: place.route.clone(),
            client: place.client.clone(),
            apps: self.apps.clone(),
            now_ms,
        };
        // Lists and templates are files, which may lie on a slow disk; and many alerts are a long body.
        let aside = steps::are_drawn(&acts) || incident.alerts.len() > FEW_ALERTS;
        let in_force = self.in_force();
        let draw = move || {
            let steps = drawing.steps(acts, &mut incident, &in_force);
            let body = serde_json::to_string(&incident);
            (steps, body, incident)
        };
        let (steps, body, incident) = match aside {
            false => draw(),
            true => {
                let drawn = tokio::task::spawn_blocking(draw).await;
                drawn.map_err(|error| {
                    tracing::error!(panicked = error.is_panic(), "a card was not drawn");
                    Trouble::Broken
                })?
            }
        };
        Ok(IncidentWrite {
            id: place.id,
            version: place.version,
            after: place.after,
            app: incident.policy.app.clone(),
            receiver: incident.receiver().to_owned(),
            route: place.route,
            group: place.group,
            client: place.client,
            state: incident.state(),
            severity: incident.severity().rank(),
            title: cards::subject(&incident),
            alerts: i64::try_from(incident.alerts.len()).unwrap_or(i64::MAX),
            tag: incident.tag(),
            is_digest: place.is_digest,
            leave_digest,
            wants_digest,
            opened_ms: incident.opened_ms,
            ended_ms: incident.ended_ms.filter(|_| !incident.is_firing()),
            due_ms: due_ms.map(|due_ms| due_ms.max(now_ms + LOOK_MS_MIN)),
            message_id: incident.card.message_id.clone(),
            body: body.map_err(|error| {
                tracing::error!(%error, "an incident cannot be written");
                Trouble::Broken
            })?,
            steps,
            members: Vec::new(),
            members_seen: incident.digest.as_ref().map(|digest| digest.seen),
        })
    }
}
