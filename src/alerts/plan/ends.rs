//! How the jobs of an incident ended, and what that says of it. Each is noted once.
//!
//! A job that did not end well stays in sight until another takes its place: a person may retry or settle it.

use crate::alerts::incident::{Incident, Unshown};
use crate::alerts::plan::{Act, Planned, View, moved, news, pins};
use crate::job::{Fault, IncidentJob, IncidentRole, State};

/// Notes how its jobs ended.
pub(super) fn notice(incident: &mut Incident, view: &View<'_>, planned: &mut Planned) {
    for (at, job) in view.jobs.iter().enumerate() {
        if job.state.is_pending() {
            continue;
        }
        let is_over = match job.role {
            IncidentRole::Card | IncidentRole::Update => carrier(incident, view, at, job, planned),
            IncidentRole::News => news::ended(incident, view, job),
            IncidentRole::Pin | IncidentRole::Unpin => pins::ended(incident, view, job),
            IncidentRole::Moved => {
                if job.state != State::Done {
                    let what = format!("its old message could not be answered: {}", why(job));
                    incident.note(view.now_ms, what, Some(job.id));
                }
                true
            }
            IncidentRole::Rung => false,
        };
        if is_over {
            planned.acts.push(Act::Forget { job: job.id });
        }
    }
}

/// In words, without what was said in the message.
pub(super) fn why(job: &IncidentJob) -> String {
    match &job.error {
        Some(Fault { class, code, .. }) => match code {
            Some(code) => format!("{} ({class}, code {code})", job.state.name()),
            None => format!("{} ({class})", job.state.name()),
        },
        None => job.state.name().to_owned(),
    }
}

/// Somebody said no to it.
pub(super) fn is_refused(job: &IncidentJob) -> bool {
    let class = job.error.as_ref().map(|fault| &*fault.class);
    let refused =
        class.is_some_and(|class| matches!(class, "caller" | "gone" | "admin" | "unclear"));
    job.state == State::Failed && refused
}

/// A job that carried the state ended. `true`: nothing more can come of it.
fn carrier(
    incident: &mut Incident,
    view: &View<'_>,
    at: usize,
    job: &IncidentJob,
    planned: &mut Planned,
) -> bool {
    if job.merged {
        // The digest says what became of it.
        return job.state != State::InDoubt;
    }
    if job.state == State::Done {
        shown(incident, view, job);
        return true;
    }
    let carries = |other: &IncidentJob| {
        matches!(other.role, IncidentRole::Card | IncidentRole::Update) && !other.merged
    };
    if job.n != incident.card.n || view.jobs[at + 1..].iter().any(carries) {
        return true;
    }
    let id = job.id.to_string();
    let known = incident.card.unshown.as_ref();
    if known.is_some_and(|known| known.job == id && known.state == job.state.name()) {
        return false;
    }
    let why = why(job);
    incident.note(
        view.now_ms,
        format!("{} not shown: {why}", job.role.name()),
        Some(job.id),
    );
    incident.card.unshown = Some(Unshown {
        tag: job.tag.clone(),
        job: id,
        state: job.state.name().to_owned(),
        why,
    });
    is_refused(job) && refused(incident, view, job, planned)
}

fn shown(incident: &mut Incident, view: &View<'_>, job: &IncidentJob) {
    if job.n != incident.card.n {
        incident.note(
            view.now_ms,
            "an earlier message of it was shown after all",
            Some(job.id),
        );
        return;
    }
    let at_ms = job.finished_ms.unwrap_or(view.now_ms);
    let card = &mut incident.card;
    card.shown = job.tag.clone();
    card.unshown = None;
    if job.role == IncidentRole::Card {
        card.message_id = job.message_id.clone();
        card.sent_ms = Some(at_ms);
        card.shown_ms.get_or_insert(at_ms);
        incident.note(at_ms, "shown", Some(job.id));
    }
}

/// Feishu refused it: what is tried instead. `true`: something is, so this job is done with.
fn refused(
    incident: &mut Incident,
    view: &View<'_>,
    job: &IncidentJob,
    planned: &mut Planned,
) -> bool {
    let by_form = job
        .error
        .as_ref()
        .is_some_and(|fault| fault.class == "caller");
    let (policy, card) = (&incident.policy, &mut incident.card);
    if policy.template.is_some() && !card.plain && by_form {
        card.plain = true;
        card.unshown = None;
        if job.role == IncidentRole::Card {
            card.n += 1;
        }
        incident.note(
            view.now_ms,
            "the built-in card stands in for its template",
            None,
        );
        return true;
    }
    // A person whom Feishu does not know spoils the whole card.
    if job.role == IncidentRole::Card && !policy.mention.is_empty() && !card.mute && by_form {
        card.mute = true;
        card.unshown = None;
        card.n += 1;
        incident.note(view.now_ms, "it goes without its mentions", None);
        return true;
    }
    if job.role == IncidentRole::Update {
        moved(incident, view, planned, "its message cannot be updated");
        return true;
    }
    if policy.fallback.is_some() && !card.fallback {
        card.fallback = true;
        card.unshown = None;
        card.n += 1;
        incident.note(view.now_ms, "it goes to the fallback", None);
        return true;
    }
    false
}
