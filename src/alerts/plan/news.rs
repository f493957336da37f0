//! What people are told beside the card: a PATCH notifies nobody, so a new alert or a higher severity is
//! also said as a reply, with the mentions.
//!
//! What is pending is gathered: a reply that was not marked yet takes it in, and there is at most one each
//! `GAP_MS`.

use crate::alerts::incident::Incident;
use crate::alerts::plan::{Act, Make, Planned, View, What, ends, is_unmarked};
use crate::job::{IncidentJob, IncidentRole, State};

/// The shortest time between two replies of an incident, milliseconds.
pub(super) const GAP_MS: i64 = 30_000;

/// There is something that nobody was told of.
pub(super) fn is_untold(incident: &Incident) -> bool {
    let news = &incident.news;
    let fires = |one: &String| {
        let tracked = incident.alerts.get(one);
        tracked.is_some_and(|tracked| tracked.alert.firing)
    };
    news.worse.is_some() || news.alerts.iter().any(fires)
}

/// A card that is made or changed now tells of all.
pub(super) fn told_by_card(incident: &mut Incident) {
    let severity = incident.severity();
    let news = &mut incident.news;
    news.alerts.clear();
    news.worse = None;
    news.level = news.level.max(Some(severity));
}

/// A reply ended. `true`: nothing more can come of it.
pub(super) fn ended(incident: &mut Incident, view: &View<'_>, job: &IncidentJob) -> bool {
    let news = &mut incident.news;
    let told = news.telling.take();
    let worse = news.telling_worse.take();
    if job.state == State::Done {
        return true;
    }
    let what = format!("news not told: {}", ends::why(job));
    let gone = job
        .error
        .as_ref()
        .is_some_and(|fault| fault.class == "gone");
    // A group without threads takes a plain reply, and any group one without a mention of somebody whom
    // Feishu does not know; a message that is gone takes none, and its successor tells of it.
    let tried_all = incident.card.no_thread && incident.card.mute;
    if ends::is_refused(job) && (gone || !tried_all) {
        match (gone, incident.card.no_thread) {
            (true, _) => {}
            (false, true) => incident.card.mute = true,
            (false, false) => incident.card.no_thread = true,
        }
        let news = &mut incident.news;
        told.into_iter().for_each(|one| news.alerts.push(one));
        news.worse = news.worse.max(worse);
        news.told_ms = None;
        if gone && incident.card.message_id.as_ref() == Some(&job.tag) {
            incident.card.lost();
        }
    }
    incident.note(view.now_ms, what, Some(job.id));
    true
}

/// What comes next.
pub(super) fn plan(incident: &mut Incident, view: &View<'_>, planned: &mut Planned) {
    let pending = view
        .jobs
        .iter()
        .rfind(|job| job.role == IncidentRole::News && job.state.is_pending());
    let policy = &incident.policy;
    let wanted = !policy.mention.is_empty() || !policy.escalate.is_empty();
    if !incident.is_firing() || !wanted {
        incident.news.alerts.clear();
        incident.news.worse = None;
        if let Some(job) = pending.filter(|job| is_unmarked(job)) {
            planned.cancel(job, "nothing of it fires any more");
        }
        return;
    }
    let severity = incident.severity();
    let news = &mut incident.news;
    if news.level.is_some_and(|level| severity > level) {
        news.worse = Some(severity);
        news.level = Some(severity);
    }
    let Some(message) = incident.card.message_id.clone() else {
        return;
    };
    if !is_untold(incident) {
        incident.news.alerts.clear();
        return;
    }
    if pending.is_some_and(|job| !is_unmarked(job)) {
        return;
    }
    let gap_ms = incident
        .news
        .told_ms
        .map(|told_ms| told_ms.saturating_add(GAP_MS));
    if pending.is_none() && gap_ms.is_some_and(|at_ms| view.now_ms < at_ms) {
        planned.due(gap_ms.unwrap_or_default());
        return;
    }
    // Its tag names the message that it answers.
    let tag = message.clone();
    let what = gather(incident, view, message);
    match pending {
        Some(job) => planned.acts.push(Act::Replace {
            job: job.id,
            expires_ms: None,
            tag,
            what,
        }),
        None => {
            let n = incident.news.told;
            incident.news.told += 1;
            incident.news.told_ms = Some(view.now_ms);
            planned.acts.push(Act::Make(Make {
                role: IncidentRole::News,
                n,
                tag,
                start_ms: None,
                expires_ms: None,
                bounded: false,
                what,
            }));
        }
    }
}

/// All that is pending, for one reply.
fn gather(incident: &mut Incident, view: &View<'_>, message: String) -> What {
    let firing = |one: &String| {
        let tracked = incident.alerts.get(one);
        tracked.is_some_and(|tracked| tracked.alert.firing)
    };
    let mut new = incident.news.alerts.take();
    new.retain(firing);
    let news = &mut incident.news;
    new.into_iter().for_each(|one| news.telling.push(one));
    news.telling_worse = news.telling_worse.max(news.worse.take());
    What::News {
        message,
        alerts: news.telling.clone().into(),
        worse: news.telling_worse,
        mention: view.quiet_until_ms.is_none() && !incident.card.mute,
    }
}
