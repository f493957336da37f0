//! The pin of its message: there while something fires, where the route wants it.

use crate::alerts::incident::Incident;
use crate::alerts::plan::{Act, Make, Planned, View, What, ends, is_unmarked};
use crate::job::{IncidentJob, IncidentRole, State};

/// A pin or its removal ended; its tag names the message. `true`: nothing more can come of it.
pub(super) fn ended(incident: &mut Incident, view: &View<'_>, job: &IncidentJob) -> bool {
    let pins = job.role == IncidentRole::Pin;
    if job.state != State::Done {
        let what = match pins {
            true => format!("not pinned: {}", ends::why(job)),
            false => format!("the pin stays: {}", ends::why(job)),
        };
        incident.note(view.now_ms, what, Some(job.id));
    }
    let wanted = incident.policy.pin && incident.is_firing();
    let card = &mut incident.card;
    let wanted = wanted && card.message_id.as_ref() == Some(&job.tag);
    match (pins, job.state) {
        (true, State::Done | State::InDoubt) => card.pinned = Some(job.tag.clone()),
        // Taken back by whoever planned it, not by a person.
        (true, State::Canceled) if !wanted => {}
        (false, State::Canceled) if wanted => {}
        (true, _) => card.unpinnable = Some(job.tag.clone()),
        // Where a pin cannot be taken away, it is left.
        (false, _) => card.pinned = card.pinned.take().filter(|pinned| *pinned != job.tag),
    }
    true
}

/// What comes next.
pub(super) fn plan(incident: &mut Incident, view: &View<'_>, planned: &mut Planned) {
    let is_pin = |job: &&IncidentJob| {
        matches!(job.role, IncidentRole::Pin | IncidentRole::Unpin) && job.state.is_pending()
    };
    let card = &incident.card;
    let can = |message: &&String| card.unpinnable.as_ref() != Some(*message);
    let wanted = incident.policy.pin && incident.is_firing();
    let wanted = card.message_id.as_ref().filter(|_| wanted).filter(can);
    if let Some(job) = view.jobs.iter().rfind(is_pin) {
        let holds = (job.role == IncidentRole::Pin) == (wanted == Some(&job.tag));
        if !holds && is_unmarked(job) {
            planned.cancel(job, "the incident has changed since");
        }
        return;
    }
    let make = |role, what: fn(String) -> What, message: &String| {
        Act::Make(Make {
            role,
            n: 0,
            tag: message.clone(),
            start_ms: None,
            expires_ms: None,
            bounded: false,
            what: what(message.clone()),
        })
    };
    match (&card.pinned, wanted) {
        (Some(pinned), wanted) if Some(pinned) != wanted => {
            let unpin = |message| What::Unpin { message };
            planned.acts.push(make(IncidentRole::Unpin, unpin, pinned));
        }
        (None, Some(message)) => {
            let pin = |message| What::Pin { message };
            planned.acts.push(make(IncidentRole::Pin, pin, message));
        }
        _ => {}
    }
}
