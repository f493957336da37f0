//! The judge of escalations: what people got, against what happened to them.
//!
//! It knows the route, the moments at which a test did something and the sandbox's ledger; of what the relay says
//! of itself it takes only when a call was marked, which no ledger can tell.

use std::collections::BTreeSet;

/// So late a rung may call.
const LATE_MS: i64 = 30 * 60_000;
/// So late a rung is still on time.
const PROMPT_MS: i64 = 10_000;
/// Between a mark and what people see of it.
const UNDER_WAY_MS: i64 = 5_000;
/// So long after a disturbance nothing is demanded: breakers look again within half a minute, and a call that cannot
/// be repeated waits for its turn.
const CALM_MS: i64 = 60_000;
const CALM_AFTER_LOSS_MS: i64 = 11 * 60_000;

/// A rung of the route.
#[derive(Clone, Debug)]
pub(crate) struct Rung {
    pub(crate) after_ms: i64,
    pub(crate) urgent: &'static str,
    pub(crate) to: Vec<String>,
}

/// A call that people got.
#[derive(Clone, Debug)]
pub(crate) struct Got {
    pub(crate) at_ms: i64,
    pub(crate) message: String,
    pub(crate) urgent: String,
    pub(crate) users: Vec<String>,
}

/// One time that an incident fired.
#[derive(Clone, Debug)]
pub(crate) struct Round {
    /// When its message showed it.
    pub(crate) from_ms: i64,
    /// Before this was asked for, it was not stopped.
    pub(crate) stopping_ms: Option<i64>,
    /// When that was answered: now it is stored.
    pub(crate) stopped_ms: Option<i64>,
    /// Who had read its message since, and when.
    pub(crate) read: Vec<(i64, String)>,
    /// When somebody reacted.
    pub(crate) reacted_ms: Option<i64>,
}

/// What happened to an incident.
#[derive(Clone, Debug)]
pub(crate) struct Story {
    pub(crate) message: String,
    pub(crate) rounds: Vec<Round>,
    /// When its calls were marked.
    pub(crate) marks: Vec<i64>,
}

/// All of a run.
#[derive(Clone, Debug)]
pub(crate) struct Run {
    pub(crate) rungs: Vec<Rung>,
    pub(crate) stories: Vec<Story>,
    pub(crate) got: Vec<Got>,
    /// When the relay or Feishu was away.
    pub(crate) away: Vec<(i64, i64)>,
    /// When answers were lost or questions failed.
    pub(crate) lossy: Vec<i64>,
    /// What the machine itself takes for anything, milliseconds.
    pub(crate) slow_ms: i64,
    pub(crate) end_ms: i64,
}

impl Run {
    /// Every breach of a rule, in words that begin with its number.
    pub(crate) fn breaches(&self) -> Vec<String> {
        let mut breaches = Vec::new();
        for got in &self.got {
            match self
                .stories
                .iter()
                .find(|story| story.message == got.message)
            {
                Some(story) => self.judge_call(story, got, &mut breaches),
                None => breaches.push(format!("0: of no incident: {got:?}")),
            }
        }
        for story in &self.stories {
            self.judge_twice(story, &mut breaches);
            judge_marks(story, &mut breaches);
            for round in &story.rounds {
                self.judge_missing(story, round, &mut breaches);
            }
        }
        breaches
    }

    fn of<'a>(&'a self, story: &Story, round: usize) -> impl Iterator<Item = &'a Got> {
        let from_ms = story.rounds[round].from_ms;
        let next = story.rounds.get(round + 1);
        let until_ms = next.map_or(i64::MAX, |next| next.from_ms);
        let message = story.message.clone();
        let got = self.got.iter();
        got.filter(move |got| got.message == message && (from_ms..until_ms).contains(&got.at_ms))
    }

    fn judge_twice(&self, story: &Story, breaches: &mut Vec<String>) {
        for round in 0..story.rounds.len() {
            let mut seen = BTreeSet::new();
            for got in self.of(story, round) {
                for user in &got.users {
                    if !seen.insert((got.urgent.clone(), user.clone())) {
                        breaches.push(format!("1: {user} twice: {got:?}"));
                    }
                }
            }
        }
    }

    fn judge_call(&self, story: &Story, got: &Got, breaches: &mut Vec<String>) {
        let Some(round) = story
            .rounds
            .iter()
            .rfind(|round| round.from_ms <= got.at_ms)
        else {
            return breaches.push(format!("3: before it was shown: {got:?}"));
        };
        let Some(n) = self.rungs.iter().position(|rung| rung.urgent == got.urgent) else {
            return breaches.push(format!("0: no such rung: {got:?}"));
        };
        let due_ms = |n: usize| round.from_ms + self.rungs[n].after_ms;
        let late_ms = got.at_ms - due_ms(n);
        if late_ms < 0 {
            breaches.push(format!("3: {late_ms} ms: {got:?}"));
        }
        if late_ms > LATE_MS + UNDER_WAY_MS {
            breaches.push(format!("4: {late_ms} ms late: {got:?}"));
        }
        let higher = (n + 1..self.rungs.len()).any(|n| due_ms(n) + UNDER_WAY_MS < got.at_ms);
        if late_ms > PROMPT_MS + UNDER_WAY_MS + self.slow_ms && higher {
            breaches.push(format!("4: not the highest, {late_ms} ms late: {got:?}"));
        }
        let stopped = round
            .stopped_ms
            .is_some_and(|at| at + 4 * UNDER_WAY_MS < got.at_ms);
        if stopped {
            breaches.push(format!("2: after its stop: {got:?}"));
        }
        let asked_ms = due_ms(n).max(got.at_ms - LATE_MS);
        let was_seen =
            |at_ms: i64| at_ms < due_ms(n) && self.is_calm(at_ms.min(asked_ms), got.at_ms);
        if round.reacted_ms.is_some_and(was_seen) {
            breaches.push(format!("2: after a reaction: {got:?}"));
        }
        let reads = round.read.iter().filter(|(at_ms, _)| was_seen(*at_ms));
        for (_, reader) in reads.filter(|(_, reader)| got.users.contains(reader)) {
            breaches.push(format!("2: {reader} had read it: {got:?}"));
        }
        let stranger = got
            .users
            .iter()
            .find(|user| !self.rungs[n].to.contains(user));
        if let Some(stranger) = stranger {
            breaches.push(format!("0: {stranger} is not named: {got:?}"));
        }
    }

    /// Whoever is called is called in time, while all is there.
    fn judge_missing(&self, story: &Story, round: &Round, breaches: &mut Vec<String>) {
        for rung in &self.rungs {
            let due_ms = round.from_ms + rung.after_ms;
            let until_ms = due_ms + PROMPT_MS + self.slow_ms;
            let stopped = round.stopping_ms.is_some_and(|at| at <= until_ms);
            let reacted = round.reacted_ms.is_some_and(|at| at <= until_ms);
            if until_ms > self.end_ms || stopped || reacted || !self.is_calm(due_ms, until_ms) {
                continue;
            }
            for user in &rung.to {
                if round
                    .read
                    .iter()
                    .any(|(at, who)| who == user && *at <= until_ms)
                {
                    continue;
                }
                let on_time = self.got.iter().any(|got| {
                    got.message == story.message
                        && got.urgent == rung.urgent
                        && (due_ms..=until_ms).contains(&got.at_ms)
                        && got.users.contains(user)
                });
                if !on_time {
                    let what = format!("{} of {user}, due {due_ms}", rung.urgent);
                    breaches.push(format!("3: not called in time: {what}: {round:?}"));
                }
            }
        }
    }

    /// Everything was there from a while before `from_ms` until `until_ms`.
    fn is_calm(&self, from_ms: i64, until_ms: i64) -> bool {
        let away = |(left, back): &(i64, i64)| *left <= until_ms && back + CALM_MS >= from_ms;
        let lost = |at: &i64| *at <= until_ms && at + CALM_AFTER_LOSS_MS >= from_ms;
        !self.away.iter().any(away) && !self.lossy.iter().any(lost)
    }
}

/// No mark between a stop that was stored and the next time that it fires.
fn judge_marks(story: &Story, breaches: &mut Vec<String>) {
    for (n, round) in story.rounds.iter().enumerate() {
        let Some(stopped_ms) = round.stopped_ms else {
            continue;
        };
        let next = story.rounds.get(n + 1);
        let next_ms = next.map_or(i64::MAX, |next| next.from_ms);
        for mark in &story.marks {
            if (stopped_ms + 1..next_ms).contains(mark) {
                breaches.push(format!(
                    "2: marked at {mark}, stored at {stopped_ms}: {story:?}"
                ));
            }
        }
    }
}

/// A run that is changed in one thing, and the rule that this breaks.
pub(crate) fn planted(run: &Run) -> Vec<(&'static str, Run)> {
    let mut all = Vec::new();
    let mut plant = |rule: &'static str, change: &dyn Fn(&mut Run) -> Option<()>| {
        let mut changed = run.clone();
        if change(&mut changed).is_some() {
            all.push((rule, changed));
        }
    };
    plant("1", &|run| {
        let mut again = run.got.first()?.clone();
        again.at_ms += 1000;
        run.got.push(again);
        Some(())
    });
    plant("2", &|run| {
        let got = run.got.first()?.clone();
        let story = run
            .stories
            .iter_mut()
            .find(|story| story.message == got.message)?;
        let round = story
            .rounds
            .iter_mut()
            .rfind(|round| round.from_ms <= got.at_ms)?;
        round.stopping_ms = Some(got.at_ms - 60_000);
        round.stopped_ms = Some(got.at_ms - 60_000);
        Some(())
    });
    plant("2", &|run| {
        let story = run.stories.iter_mut().find(|story| {
            let stops = story.rounds.last().and_then(|round| round.stopped_ms);
            stops.is_some()
        })?;
        let stopped_ms = story.rounds.last()?.stopped_ms?;
        story.marks.push(stopped_ms + 1);
        Some(())
    });
    plant("3", &|run| {
        let on_time = |got: &Got| run.is_in_time(got);
        let gone = run.got.iter().position(on_time)?;
        run.got.remove(gone);
        Some(())
    });
    plant("3", &|run| {
        let late = run.got.iter().position(|got| run.is_in_time(got))?;
        run.got[late].at_ms += PROMPT_MS + run.slow_ms + 1;
        Some(())
    });
    plant("3", &|run| {
        let early = run.got.iter().position(|got| run.is_in_time(got))?;
        run.got[early].at_ms -= 60_000;
        Some(())
    });
    plant("4", &|run| {
        let last = run.rungs.last()?.urgent;
        let once = run.fired_once();
        let of_last = |got: &&mut Got| got.urgent == last && once.contains(&got.message);
        let got = run.got.iter_mut().find(of_last)?;
        got.at_ms += LATE_MS + 2 * UNDER_WAY_MS;
        Some(())
    });
    plant("4", &|run| {
        let gap_ms = run.rungs[1].after_ms - run.rungs[0].after_ms;
        let first = run.rungs[0].urgent;
        let once = run.fired_once();
        let of_first = |got: &&mut Got| got.urgent == first && once.contains(&got.message);
        let got = run.got.iter_mut().find(of_first)?;
        got.at_ms += gap_ms.max(PROMPT_MS + run.slow_ms) + 2 * UNDER_WAY_MS;
        Some(())
    });
    all
}

impl Run {
    /// Messages of what never fired again.
    fn fired_once(&self) -> Vec<String> {
        let once = self.stories.iter().filter(|story| story.rounds.len() == 1);
        once.map(|story| story.message.clone()).collect()
    }

    /// The judge would miss it.
    fn is_in_time(&self, got: &Got) -> bool {
        let mut without = self.clone();
        without
            .got
            .retain(|one| one.at_ms != got.at_ms || one.message != got.message);
        without.breaches().len() > self.breaches().len()
    }
}
