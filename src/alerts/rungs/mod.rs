//! Which rungs of an escalation are due, whom they call, and why not.
//!
//! Promises: a person is called at most once by a rung; nobody after a stop (the end, an ack, a reaction where the
//! route says so) that stands on the incident, and what a stop finds queued is canceled in the same write; a rung
//! that is overdue gives way to a higher one that is due, and is over half an hour after its deadline.
//! A rung is decided in the write that makes its calls, so a restart or a second reader of the incident finds it
//! decided.
//! Not here: asking Feishu who has read (`run::ask`), when the card was shown (`plan`).

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use crate::alerts::incident::{Ack, Incident, Round, RungJob, RungState};
use crate::alerts::policy::{Rung, Who};
use crate::job::{IncidentJob, IncidentRole, JobId, State};

/// So late a rung may still call, milliseconds.
pub const LATE_MS: i64 = 30 * 60_000;
/// So late a rung is still on time: beyond, a higher one that is due takes its place.
const PROMPT_MS: i64 = 10_000;
/// So long an answer of Feishu's is one that came just before the rung.
const FRESH_MS: i64 = 30_000;
/// People of one call. The same number is checked at the jobs' door.
const USERS_MAX: usize = 200;
const MINUTE_MS: i64 = 60_000;
const OVERTAKEN: &str = "it was overdue when a higher rung was due";

/// What is known beside the incident.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// Now, Unix milliseconds.
    pub now_ms: i64,
    /// Something of it fires; of a digest, something that it speaks of and nobody looks at.
    pub firing: bool,
    /// The message shows that.
    pub shown: bool,
    /// Its jobs.
    pub jobs: &'a [IncidentJob],
    /// What was asked.
    pub facts: Option<&'a Facts>,
}

/// What is to be found out before the rungs that are due can be decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    /// Of which message.
    pub message: String,
    /// Whom the rungs name, by their place.
    pub rungs: BTreeMap<usize, Vec<Who>>,
    /// Who has read it.
    pub read: bool,
    /// Whether somebody has reacted to it.
    pub reaction: bool,
    /// Only what happened from then on counts.
    pub since_ms: Option<i64>,
}

/// The answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// When.
    pub asked_ms: i64,
    /// Of which message.
    pub message: String,
    /// Whom the rungs name, by their place.
    pub called: BTreeMap<usize, Called>,
    /// Who has read it; ids of every kind that `called` has.
    pub readers: BTreeSet<String>,
    /// Who has reacted to it.
    pub reaction: Option<String>,
    /// What could not be found out, in words: as if nobody had read and nobody reacted.
    pub troubles: Vec<String>,
}

/// Whom a rung names, its lists read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Called {
    /// `ou_…`, `on_…` or user ids.
    pub ids: Vec<String>,
    /// Lists that could not be read or name nobody, in words.
    pub faults: Vec<String>,
}

/// A call that a rung makes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// Of which rung, from 0.
    pub n: i64,
    /// The job's tag.
    pub tag: String,
    /// `urgent_app`, `urgent_sms` or `urgent_phone`.
    pub urgent: String,
    /// About which message.
    pub message: String,
    /// Whom: ids of one kind.
    pub users: Vec<String>,
    /// Which kind.
    pub id_type: &'static str,
    /// Not after, Unix milliseconds.
    pub expires_ms: i64,
}

impl Call {
    /// Its job's args, as a producer would write them.
    pub fn args(&self) -> Map<String, Value> {
        Map::from_iter([
            (String::from("message"), json!(self.message)),
            (String::from("users"), json!(self.users)),
            (String::from("user_id_type"), json!(self.id_type)),
        ])
    }
}

/// What is to be done for the rungs now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Planned {
    /// Calls that are not wanted any more, and why.
    pub cancel: Vec<(JobId, &'static str)>,
    /// Calls whose end was noted.
    pub forget: Vec<JobId>,
    /// Calls to make.
    pub calls: Vec<Call>,
    /// To be found out now, before anything else of this can be decided.
    pub ask: Option<Ask>,
    /// When to look again.
    pub due_ms: Option<i64>,
}

/// Decides what is due of the escalation, and notes it on the incident.
///
/// A reaction among the facts becomes the incident's `ack`: what is shown of it follows from that.
pub fn plan(incident: &mut Incident, view: &View<'_>) -> Planned {
    let mut planned = Planned::default();
    begin(incident, view, &mut planned);
    note_ends(incident, view, &mut planned);
    let fresh = fresh(incident, view);
    if let Some(by) = fresh.and_then(|facts| facts.reaction.clone())
        && incident.ack.is_none()
        && incident.policy.until_reaction
    {
        let at_ms = view.now_ms;
        incident.note(at_ms, format!("acknowledged with a reaction by {by}"), None);
        let how = String::from("reaction");
        incident.ack = Some(Ack { at_ms, by, how });
    }
    if let Some(why) = stop(incident, view) {
        end(incident, view, &why, &mut planned);
        return planned;
    }
    let Some(from_ms) = incident.round.from_ms else {
        return planned;
    };
    set_deadlines(incident, from_ms);
    if let Some(until_ms) = quiet(incident, view.now_ms) {
        planned.due_ms = next_due(incident).map(|due_ms| due_ms.max(until_ms));
        return planned;
    }
    decide(incident, view, fresh, &mut planned);
    if planned.ask.is_none() {
        planned.due_ms = planned.due_ms.or_else(|| next_due(incident));
    }
    planned
}

/// Answers that came just before, and speak of the message as it stands.
fn fresh<'a>(incident: &Incident, view: &View<'a>) -> Option<&'a Facts> {
    let facts = view.facts?;
    let age_ms = view.now_ms.saturating_sub(facts.asked_ms);
    let same = incident.card.message_id.as_ref() == Some(&facts.message);
    (same && (0..=FRESH_MS).contains(&age_ms)).then_some(facts)
}

/// The rungs as the incident's round has them; a later round begins when the message shows it.
fn begin(incident: &mut Incident, view: &View<'_>, planned: &mut Planned) {
    let count = incident.policy.escalate.len();
    if incident.round.n != incident.reopened {
        incident.round = Round {
            n: incident.reopened,
            from_ms: None,
        };
        incident.rungs = Vec::new();
    }
    incident.rungs.resize_with(count, RungState::default);
    if incident.round.from_ms.is_none() {
        incident.round.from_ms = match incident.round.n {
            0 => incident.card.shown_ms,
            _ if view.shown && view.firing && incident.card.message_id.is_some() => {
                Some(shown_ms(view))
            }
            _ => None,
        };
    }
    let earlier = rung_jobs(view).filter(|job| round_of(job) != Some(incident.round.n));
    for job in earlier {
        give_up(job, "it fires again, and is escalated anew", planned);
        if job.state.is_settled() {
            planned.forget.push(job.id);
        }
    }
}

/// When the message came to show what it shows.
fn shown_ms(view: &View<'_>) -> i64 {
    let shows = |job: &&IncidentJob| {
        matches!(job.role, IncidentRole::Card | IncidentRole::Update) && job.state == State::Done
    };
    let ends = view.jobs.iter().filter(shows);
    let last = ends.filter_map(|job| job.finished_ms).max();
    last.unwrap_or(view.now_ms)
}

fn rung_jobs<'a>(view: &View<'a>) -> impl Iterator<Item = &'a IncidentJob> + use<'a> {
    let jobs = view.jobs.iter();
    jobs.filter(|job| job.role == IncidentRole::Rung)
}

fn tag(round: u32, rung: usize, part: usize) -> String {
    format!("{round}.{rung}.{part}")
}

fn round_of(job: &IncidentJob) -> Option<u32> {
    job.tag.split('.').next()?.parse().ok()
}

fn rung_of(job: &IncidentJob) -> Option<usize> {
    usize::try_from(job.n).ok()
}

/// Only of one that waits; one under way cannot be stopped.
fn give_up(job: &IncidentJob, why: &'static str, planned: &mut Planned) {
    if job.state == State::Queued {
        planned.cancel.push((job.id, why));
    }
}

fn note_ends(incident: &mut Incident, view: &View<'_>, planned: &mut Planned) {
    let round = incident.round.n;
    let mut unmade = Vec::new();
    for job in rung_jobs(view).filter(|job| round_of(job) == Some(round)) {
        let rung = rung_of(job).and_then(|n| incident.rungs.get_mut(n));
        let ended = job.state.is_settled() || job.state == State::InDoubt;
        let (Some(rung), true) = (rung, ended) else {
            continue;
        };
        let ended = match &job.error {
            Some(fault) => format!("{}: {}", job.state.name(), fault.msg),
            None => job.state.name().to_owned(),
        };
        let name = job.id.to_string();
        let known = rung.jobs.iter_mut().find(|one| one.job == name);
        let is_news = known.as_ref().is_none_or(|known| known.ended != ended);
        if is_news && job.state != State::Done {
            unmade.push((job.id, format!("rung {}: the call {ended}", job.n + 1)));
        }
        match known {
            Some(known) => known.ended = ended,
            None => rung.jobs.push(RungJob { job: name, ended }),
        }
        if job.state.is_settled() {
            planned.forget.push(job.id);
        }
    }
    for (job, what) in unmade {
        tracing::warn!(job = %job, "a call of an escalation was not made, or may not have been");
        incident.note(view.now_ms, what, Some(job));
    }
}

/// What ends the whole escalation.
fn stop(incident: &Incident, view: &View<'_>) -> Option<String> {
    match &incident.ack {
        Some(ack) if ack.how == "reaction" => Some(format!("{} reacted to the card", ack.by)),
        Some(ack) => Some(format!("acknowledged by {}", ack.by)),
        None if view.firing => None,
        None if incident.digest.is_some() => {
            Some(String::from("nothing of it fires that nobody looks at"))
        }
        None => Some(String::from("resolved")),
    }
}

fn end(incident: &mut Incident, view: &View<'_>, why: &str, planned: &mut Planned) {
    let round = incident.round.n;
    for job in rung_jobs(view).filter(|job| round_of(job) == Some(round)) {
        give_up(job, "its escalation has ended", planned);
    }
    for n in 0..incident.rungs.len() {
        if incident.rungs[n].outcome.is_empty() {
            skip(incident, n, view.now_ms, why.to_owned());
        }
    }
}

fn decided(rung: &mut RungState, outcome: &str, at_ms: i64, why: String) {
    rung.outcome = outcome.to_owned();
    rung.at_ms = Some(at_ms);
    rung.why = why;
}

fn skip(incident: &mut Incident, n: usize, now_ms: i64, why: String) {
    let urgent = &incident.policy.escalate[n].urgent;
    let said = format!("rung {}, {urgent}, calls nobody: {why}", n + 1);
    incident.note(now_ms, said, None);
    decided(&mut incident.rungs[n], "skipped", now_ms, why);
}

fn set_deadlines(incident: &mut Incident, from_ms: i64) {
    for n in 0..incident.rungs.len() {
        let due_ms = from_ms.saturating_add(incident.policy.escalate[n].after_ms);
        incident.rungs[n].due_ms = Some(quiet(incident, due_ms).unwrap_or(due_ms));
    }
}

/// If nobody is to be disturbed at that time: until when.
fn quiet(incident: &Incident, at_ms: i64) -> Option<i64> {
    incident.policy.quiet.as_ref()?.ends_ms(at_ms)
}

/// A call of rung `n` could not be made as it is: `why`.
pub fn not_made(incident: &mut Incident, n: i64, why: &str) {
    let rung = usize::try_from(n).ok();
    if let Some(rung) = rung.and_then(|n| incident.rungs.get_mut(n)) {
        rung.why.push_str("; a call could not be made: ");
        rung.why.push_str(why);
    }
}

fn next_due(incident: &Incident) -> Option<i64> {
    let open = incident.rungs.iter().filter(|rung| rung.outcome.is_empty());
    open.filter_map(|rung| rung.due_ms).min()
}

/// How late a rung is that is due and not decided.
fn late(rung: &RungState, now_ms: i64) -> Option<i64> {
    let late_ms = now_ms.saturating_sub(rung.due_ms?);
    (rung.outcome.is_empty() && late_ms >= 0).then_some(late_ms)
}

fn decide(incident: &mut Incident, view: &View<'_>, facts: Option<&Facts>, planned: &mut Planned) {
    let now_ms = view.now_ms;
    let mut due = Vec::new();
    for n in 0..incident.rungs.len() {
        match late(&incident.rungs[n], now_ms) {
            Some(late_ms) if late_ms > LATE_MS => {
                let why = String::from("it was more than 30 minutes late");
                skip(incident, n, now_ms, why);
            }
            Some(late_ms) => due.push((n, late_ms)),
            None => {}
        }
    }
    let Some(&(highest, _)) = due.last() else {
        return;
    };
    let Some(message) = incident.card.message_id.clone() else {
        // A new message is on its way; when none comes, the rungs are over one after the other.
        planned.due_ms = next_due(incident).map(|due_ms| due_ms.saturating_add(LATE_MS + 1));
        return;
    };
    let (fire, overtaken): (Vec<_>, Vec<_>) = due
        .into_iter()
        .partition(|(n, late_ms)| *late_ms <= PROMPT_MS || *n == highest);
    let is_known = |n: &usize| facts.is_some_and(|facts| facts.called.contains_key(n));
    let fire = fire.into_iter().map(|(n, _)| n);
    let (known, unknown): (Vec<usize>, Vec<usize>) = fire.partition(is_known);
    if !unknown.is_empty() {
        planned.ask = Some(ask(incident, &unknown, message.clone()));
        planned.due_ms = Some(now_ms);
    }
    if !unknown.contains(&highest) {
        for (n, _) in overtaken {
            skip(incident, n, now_ms, String::from(OVERTAKEN));
        }
    }
    for n in known {
        if let Some(facts) = facts {
            call(incident, view, n, facts, &message, planned);
        }
    }
}

fn ask(incident: &Incident, rungs: &[usize], message: String) -> Ask {
    let policy = &incident.policy;
    let whom = |n: &usize| (*n, policy.escalate[*n].to.clone());
    Ask {
        message,
        rungs: rungs.iter().map(whom).collect(),
        read: policy.until_read,
        reaction: policy.until_reaction,
        // What was read before it fired again was another state of the same message.
        since_ms: incident.round.from_ms.filter(|_| incident.round.n > 0),
    }
}

fn call(
    incident: &mut Incident,
    view: &View<'_>,
    n: usize,
    facts: &Facts,
    message: &str,
    planned: &mut Planned,
) {
    let now_ms = view.now_ms;
    let named = &facts.called[&n];
    let all: BTreeSet<&String> = named.ids.iter().collect();
    let is_reader = |id: &&&String| incident.policy.until_read && facts.readers.contains(**id);
    let readers: Vec<String> = all
        .iter()
        .filter(is_reader)
        .map(|id| (*id).clone())
        .collect();
    let unread: Vec<String> = all
        .iter()
        .filter(|id| !readers.contains(**id))
        .map(|id| (*id).clone())
        .collect();
    let why = reason(all.len(), readers.len(), named, &facts.troubles);
    incident.rungs[n].readers = readers;
    if unread.is_empty() {
        return skip(incident, n, now_ms, why);
    }
    let due_ms = incident.rungs[n].due_ms.unwrap_or(now_ms);
    let expires_ms = last_moment(incident, n, due_ms, view);
    let rung: &Rung = &incident.policy.escalate[n];
    let round = incident.round.n;
    let parts = parts(&unread, &rung.urgent).into_iter().enumerate();
    planned.calls.extend(parts.map(|(part, users)| Call {
        n: i64::try_from(n).unwrap_or(i64::MAX),
        tag: tag(round, n, part),
        urgent: rung.urgent.clone(),
        message: message.to_owned(),
        id_type: id_type(&users[0]),
        users,
        expires_ms,
    }));
    let said = format!("rung {}, {}: {why}", n + 1, rung.urgent);
    incident.note(now_ms, said, None);
    incident.rungs[n].people = unread;
    decided(&mut incident.rungs[n], "fired", now_ms, why);
}

fn reason(all: usize, readers: usize, named: &Called, troubles: &[String]) -> String {
    let mut why = match (all, readers) {
        (0, _) => String::from("there is nobody to call"),
        (all, 0) => format!("called {all}"),
        (all, readers) if all == readers => format!("all {all} had read the card"),
        (all, readers) => format!(
            "called {} of {all}: {readers} had read the card",
            all - readers
        ),
    };
    for more in named.faults.iter().chain(troubles) {
        why.push_str("; ");
        why.push_str(more);
    }
    why
}

/// Calls of one kind of id each. SMS and phone: one for each person, so that a day's budget that does not cover
/// all still covers some.
fn parts(people: &[String], urgent: &str) -> Vec<Vec<String>> {
    let most = match urgent {
        "urgent_app" => USERS_MAX,
        _ => 1,
    };
    let mut kinds: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for id in people {
        kinds.entry(id_type(id)).or_default().push(id.clone());
    }
    let chunks = kinds.values().flat_map(|ids| ids.chunks(most));
    chunks.map(<[String]>::to_vec).collect()
}

/// The kind of a person's id, by its form.
pub fn id_type(id: &str) -> &'static str {
    match id.get(..3) {
        Some("ou_") => "open_id",
        Some("on_") => "union_id",
        _ => "user_id",
    }
}

/// Until when rung `n` may still call: half an hour after its deadline, not once a higher one is due, and not into
/// quiet hours, which begin and end with a minute. So a call that waits for Feishu ends by itself.
fn last_moment(incident: &Incident, n: usize, due_ms: i64, view: &View<'_>) -> i64 {
    let higher = incident.rungs.get(n + 1).and_then(|rung| rung.due_ms);
    let overtaken_ms = higher.map(|higher_ms| higher_ms.max(due_ms.saturating_add(PROMPT_MS)));
    let last_ms = due_ms.saturating_add(LATE_MS);
    let last_ms = overtaken_ms.map_or(last_ms, |overtaken_ms| overtaken_ms.min(last_ms));
    let mut minute_ms = view.now_ms.div_euclid(MINUTE_MS) * MINUTE_MS + MINUTE_MS;
    while minute_ms < last_ms {
        if quiet(incident, minute_ms).is_some() {
            return minute_ms;
        }
        minute_ms += MINUTE_MS;
    }
    last_ms
}

#[cfg(test)]
mod property;
#[cfg(test)]
mod tests;
