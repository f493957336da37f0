//! The escalation's part of a plan.

use crate::alerts::incident::Incident;
use crate::alerts::plan::{Act, Make, Planned, View, What};
use crate::alerts::rungs;
use crate::job::IncidentRole;

/// What is due of it. Comes before the card is thought of: a reaction that was found changes what it shows.
pub(super) fn plan(incident: &mut Incident, view: &View<'_>, planned: &mut Planned) {
    if incident.policy.escalate.is_empty() {
        return;
    }
    let members = view.members_firing.map(|firing| firing > 0);
    let rungs = rungs::plan(
        incident,
        &rungs::View {
            now_ms: view.now_ms,
            firing: members.unwrap_or(incident.is_firing()),
            shown: incident.card.message_id.is_some() && incident.card.shown == incident.tag(),
            jobs: view.jobs,
            facts: view.facts,
        },
    );
    let cancel = rungs.cancel.into_iter();
    let cancel = cancel.map(|(job, why)| Act::Cancel { job, why });
    let forget = rungs.forget.into_iter().map(|job| Act::Forget { job });
    planned.acts.extend(cancel.chain(forget));
    for call in rungs.calls {
        planned.acts.push(Act::Make(Make {
            role: IncidentRole::Rung,
            n: call.n,
            tag: call.tag.clone(),
            start_ms: None,
            expires_ms: Some(call.expires_ms),
            bounded: false,
            what: What::Call(call),
        }));
    }
    planned.ask = rungs.ask;
    if let Some(due_ms) = rungs.due_ms {
        planned.due(due_ms);
    }
}
