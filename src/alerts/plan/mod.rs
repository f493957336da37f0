//! From an incident and how its jobs stand to what comes next: pure, total, asked again after each change.
//!
//! It looks at what should be shown and at what was done about it, not at what happened: asked twice it
//! wants nothing more, and asked after a crash it wants what was missing. At most one job carries the
//! incident's state to its message at a time; what is newer folds into one that was not marked yet, and
//! waits for the end of one that may be on its way.
//! Not here: what a notification does to an incident (`arrive`), how a card looks (`cards`).

mod ends;
mod escalation;
mod news;
mod pins;
#[cfg(test)]
mod property;

use crate::alerts::incident::{Card, Incident, Unshown};
use crate::alerts::notice::Severity;
use crate::alerts::rungs::{Ask, Call, Facts};
use crate::job::{CARD_UPDATE_WINDOW_MS, DigestLink, IncidentJob, IncidentRole, JobId, State};

/// Before Feishu would refuse to update a card for its age a new one goes on, milliseconds.
const AGE_MARGIN_MS: i64 = 60_000;
/// How long nothing is tried after Feishu put something off too often, milliseconds.
const GAVE_UP_MS: i64 = 300_000;

/// What is known beside the incident itself.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// Now, Unix milliseconds.
    pub now_ms: i64,
    /// Its jobs, in the order in which they were made.
    pub jobs: &'a [IncidentJob],
    /// The digest that speaks for it.
    pub digest: Option<&'a DigestLink>,
    /// Its source spoke of it just now, be it to say the same: what could not be shown is tried anew.
    pub heard: bool,
    /// A new card does not go before: its receiver has enough to read.
    pub hold_until_ms: Option<i64>,
    /// Nobody is to be disturbed until then.
    pub quiet_until_ms: Option<i64>,
    /// Of a digest: members that fire and that nobody looks at.
    pub members_firing: Option<i64>,
    /// What was asked for the rungs that are due.
    pub facts: Option<&'a Facts>,
}

/// What comes next.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Planned {
    /// What becomes of its jobs, in order.
    pub acts: Vec<Act>,
    /// When to look again, whatever happens until then.
    pub due_ms: Option<i64>,
    /// It leaves its digest: its own card goes on.
    pub leave_digest: bool,
    /// It has something to say that no card of its own does: the next digest's.
    pub wants_digest: bool,
    /// To be found out before rungs that are due can be decided; all else of the plan stands.
    pub ask: Option<Ask>,
}

/// What becomes of a job; `make` turns it into a `Step`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// A new one.
    Make(Make),
    /// One that was never marked says something else.
    Replace {
        /// Which.
        job: JobId,
        /// Its new deadline.
        expires_ms: Option<i64>,
        /// What it carries now.
        tag: String,
        /// What it says.
        what: What,
    },
    /// One is not wanted any more.
    Cancel {
        /// Which.
        job: JobId,
        /// Why.
        why: &'static str,
    },
    /// How it ended is noted.
    Forget {
        /// Which.
        job: JobId,
    },
}

/// A new job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Make {
    /// What it does.
    pub role: IncidentRole,
    /// Of a card and of an update which of the incident's messages; of a rung which.
    pub n: i64,
    /// What it carries.
    pub tag: String,
    /// Not before.
    pub start_ms: Option<i64>,
    /// Not after.
    pub expires_ms: Option<i64>,
    /// A full queue refuses it.
    pub bounded: bool,
    /// What it says.
    pub what: What,
}

/// What a job says or does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// Shows the incident in a message of its own, to the receiver or the fallback.
    Card {
        /// With mentions.
        mention: bool,
    },
    /// Brings that message up to date.
    Update {
        /// Which.
        message: String,
    },
    /// Says news as a reply.
    News {
        /// To which message.
        message: String,
        /// Of which alerts.
        alerts: Vec<String>,
        /// It became as bad as this.
        worse: Option<Severity>,
        /// With mentions.
        mention: bool,
    },
    /// Says as a reply that another message goes on.
    Moved {
        /// To which message.
        message: String,
    },
    /// Pins that message.
    Pin {
        /// Which.
        message: String,
    },
    /// Takes its pin away.
    Unpin {
        /// Which.
        message: String,
    },
    /// Calls people.
    Call(Call),
}

impl Planned {
    /// It must be looked at again at `ms` at the latest.
    pub fn due(&mut self, ms: i64) {
        self.due_ms = Some(self.due_ms.map_or(ms, |due_ms| due_ms.min(ms)));
    }

    /// Its job is not wanted any more.
    pub fn cancel(&mut self, job: &IncidentJob, why: &'static str) {
        self.acts.push(Act::Cancel { job: job.id, why });
    }
}

/// It may still say something else.
pub fn is_unmarked(job: &IncidentJob) -> bool {
    job.state == State::Queued && !job.tried && !job.merged
}

/// It was tried, surely not carried out, and is not under way: another may take its place.
fn is_stuck(job: &IncidentJob) -> bool {
    job.state == State::Queued && job.tried && !job.unknown
}

/// What comes next for `incident`, which notes what was seen and what will be done.
pub fn plan(incident: &mut Incident, view: &View<'_>) -> Planned {
    let mut planned = Planned::default();
    ends::notice(incident, view, &mut planned);
    go_stale(incident, view, &mut planned);
    escalation::plan(incident, view, &mut planned);
    match in_digest(incident, view, &mut planned) {
        true => {}
        false => carry(incident, view, &mut planned),
    }
    news::plan(incident, view, &mut planned);
    pins::plan(incident, view, &mut planned);
    planned
}

/// Nothing was heard of what fires for long.
fn go_stale(incident: &mut Incident, view: &View<'_>, planned: &mut Planned) {
    let after_ms = incident.policy.stale_after_ms.saturating_mul(2);
    if after_ms == 0 || incident.stale || !incident.is_firing() || incident.digest.is_some() {
        return;
    }
    let at_ms = incident.heard_ms.saturating_add(after_ms);
    match view.now_ms >= at_ms {
        true => {
            incident.stale = true;
            incident.note(view.now_ms, "nothing was heard of it for long", None);
        }
        false => planned.due(at_ms),
    }
}

/// A digest speaks for it; `false`: its own card does, or will.
fn in_digest(incident: &mut Incident, view: &View<'_>, planned: &mut Planned) -> bool {
    let Some(link) = view.digest else {
        return false;
    };
    let severity = incident.severity();
    let level = *incident.news.level.get_or_insert(severity);
    let further = incident.is_firing() && (!incident.news.alerts.is_empty() || severity > level);
    let leaves = match link.state {
        State::Queued | State::Sending => false,
        State::Done => further,
        State::Expired => view.heard || incident.is_firing(),
        State::Failed | State::Canceled | State::InDoubt => view.heard,
    };
    if leaves {
        planned.leave_digest = true;
        incident.note(view.now_ms, "leaves its digest for a card of its own", None);
        return false;
    }
    // What fires stays where it is counted: the digest's own update says how it stands, and its calls go on.
    planned.wants_digest =
        link.state == State::Done && !incident.is_firing() && link.tag != incident.tag();
    true
}

/// The job that carries the incident's state to its message, if one is under way.
fn carrier<'a>(view: &View<'a>) -> Option<&'a IncidentJob> {
    let carries = |job: &&IncidentJob| {
        let role = matches!(job.role, IncidentRole::Card | IncidentRole::Update);
        role && job.state.is_pending() && !job.merged
    };
    view.jobs.iter().rfind(carries)
}

/// Brings the newest state to people.
fn carry(incident: &mut Incident, view: &View<'_>, planned: &mut Planned) {
    let want = incident.tag();
    let Some(job) = carrier(view) else {
        if incident.card.shown == want {
            incident.card.unshown = None;
        } else if may_make(incident, view, &want, planned) {
            make(incident, view, want, planned);
        }
        return;
    };
    // Its message may have been given up meanwhile.
    let fits = job.n == incident.card.n;
    if fits && job.tag == want {
        return;
    }
    if fits && is_unmarked(job) && too_late(incident, view, job.role).is_none() {
        let what = says(incident, view, job.role);
        planned.acts.push(Act::Replace {
            job: job.id,
            expires_ms: expires_ms(incident, job.role),
            tag: want,
            what,
        });
    } else if is_unmarked(job) || (is_stuck(job) && incident.digest.is_none()) {
        // A digest that was tried goes as it is: the jobs that merged into it would end with it.
        planned.cancel(job, "the incident has changed since");
        if fits && job.role == IncidentRole::Card {
            incident.card.n += 1;
        }
        make(incident, view, want, planned);
    }
}

/// May what is not shown be tried now? What somebody refused waits until the source speaks again.
fn may_make(incident: &Incident, view: &View<'_>, want: &str, planned: &mut Planned) -> bool {
    let Some(unshown) = &incident.card.unshown else {
        return true;
    };
    if view.heard || unshown.tag != want {
        return true;
    }
    let ended = view
        .jobs
        .iter()
        .find(|job| job.id.to_string() == unshown.job);
    // A message that stands red is set right, too.
    let goes_on = incident.is_firing() || incident.card.message_id.is_some();
    let Some(ended) = ended.filter(|_| goes_on) else {
        return false;
    };
    let fault = ended.error.as_ref();
    match ended.state {
        State::Expired => true,
        State::Failed if fault.is_some_and(|fault| fault.class == "gave_up") => {
            let since_ms = ended.finished_ms.unwrap_or(view.now_ms);
            let refused = fault.is_some_and(|fault| fault.code.is_some());
            let at_ms = since_ms + if refused { GAVE_UP_MS } else { 0 };
            if view.now_ms < at_ms {
                planned.due(at_ms);
            }
            view.now_ms >= at_ms
        }
        _ => false,
    }
}

/// A new job that carries the state `want`.
fn make(incident: &mut Incident, view: &View<'_>, want: String, planned: &mut Planned) {
    let card = &incident.card;
    let old = card.sent_ms.is_some_and(|sent_ms| {
        view.now_ms.saturating_sub(sent_ms) >= CARD_UPDATE_WINDOW_MS - AGE_MARGIN_MS
    });
    if card.message_id.is_some() && old {
        moved(
            incident,
            view,
            planned,
            "its message is too old to be updated",
        );
    }
    let role = match incident.card.message_id {
        Some(_) => IncidentRole::Update,
        None => IncidentRole::Card,
    };
    if let Some(why) = too_late(incident, view, role) {
        if incident
            .card
            .unshown
            .as_ref()
            .is_none_or(|unshown| unshown.tag != want)
        {
            incident.note(view.now_ms, why, None);
        }
        incident.card.unshown = Some(Unshown {
            tag: want,
            job: String::new(),
            state: String::from(State::Expired.name()),
            why: String::from(why),
        });
        return;
    }
    // An earlier card that was not shown may still be, at a person's word: it is another message.
    let again = |job: &IncidentJob| job.role == IncidentRole::Card && job.n == incident.card.n;
    if role == IncidentRole::Card && view.jobs.iter().any(again) {
        incident.card.n += 1;
    }
    let start_ms = view.hold_until_ms.filter(|_| role == IncidentRole::Card);
    let what = says(incident, view, role);
    planned.acts.push(Act::Make(Make {
        role,
        n: incident.card.n,
        tag: want,
        start_ms,
        expires_ms: expires_ms(incident, role),
        // What is known already may still change when the queue is full: there is one such job of it.
        bounded: role == IncidentRole::Card && view.heard && view.jobs.is_empty(),
        what,
    }));
}

/// What a carrier made or changed now says; a card tells of all that is new.
fn says(incident: &mut Incident, view: &View<'_>, role: IncidentRole) -> What {
    if let (IncidentRole::Update, Some(message)) = (role, &incident.card.message_id) {
        let message = message.clone();
        return What::Update { message };
    }
    let first = incident.card.shown_ms.is_none();
    let mention = incident.is_firing()
        && view.quiet_until_ms.is_none()
        && !incident.card.mute
        && (first || news::is_untold(incident));
    news::told_by_card(incident);
    What::Card { mention }
}

/// What does not fire any more and is not on its way is shown for a while only. A message that stands
/// red is set right whenever that is possible.
fn expires_ms(incident: &Incident, role: IncidentRole) -> Option<i64> {
    let ended_ms = incident.ended_ms.filter(|_| !incident.is_firing())?;
    let is_card = role == IncidentRole::Card;
    is_card.then(|| ended_ms.saturating_add(incident.policy.expires_in_ms))
}

fn too_late(incident: &Incident, view: &View<'_>, role: IncidentRole) -> Option<&'static str> {
    let deadline_ms = expires_ms(incident, role)?;
    let late = deadline_ms <= view.now_ms;
    late.then_some("it was over for too long to be shown")
}

/// Its message cannot be updated any more: a reply says so, if that is possible, and a new card goes on.
fn moved(incident: &mut Incident, view: &View<'_>, planned: &mut Planned, why: &str) {
    incident.note(view.now_ms, format!("{why}: a new one goes on"), None);
    let card = &mut incident.card;
    let Some(message) = card.message_id.clone() else {
        return;
    };
    planned.acts.push(Act::Make(Make {
        role: IncidentRole::Moved,
        n: card.n,
        tag: String::new(),
        start_ms: None,
        expires_ms: None,
        bounded: false,
        what: What::Moved { message },
    }));
    card.lost();
}

impl Card {
    /// It has no message any more; another one goes on.
    fn lost(&mut self) {
        self.n += 1;
        self.message_id = None;
        self.sent_ms = None;
        self.shown = String::new();
        self.unshown = None;
    }
}
