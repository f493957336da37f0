//! Escalations with random reads, reactions, stops, outages and crashes keep the four rules.
//!
//! The world plays the store and the dispatcher; the judge looks at what people got and at what happened to them,
//! never at what the rungs say of themselves.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::tests::{MINUTE, facts, incident, job};
use super::*;

const PEOPLE: [&str; 2] = ["ou_a", "ou_b"];

#[derive(Clone, Debug)]
enum Step {
    Pass(i64),
    Relay(bool),
    Feishu(bool),
    Read(usize),
    React,
    Ack,
    Resolve,
    Again,
    NewMessage,
    /// The next write of the engine is lost with its process.
    Crash,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => (0..12 * MINUTE).prop_map(Step::Pass),
        2 => any::<bool>().prop_map(Step::Relay),
        2 => any::<bool>().prop_map(Step::Feishu),
        2 => (0..2_usize).prop_map(Step::Read),
        1 => Just(Step::React),
        1 => Just(Step::Ack),
        1 => Just(Step::Resolve),
        1 => Just(Step::Again),
        1 => Just(Step::NewMessage),
        2 => Just(Step::Crash),
    ]
}

/// What a person got.
#[derive(Debug)]
struct Effect {
    at_ms: i64,
    round: u32,
    rung: usize,
    person: String,
}

struct World {
    incident: Incident,
    jobs: Vec<IncidentJob>,
    /// Beside `jobs`: whom each calls and until when.
    calls: Vec<Call>,
    now_ms: i64,
    firing: bool,
    relay: bool,
    feishu: bool,
    crash: bool,
    messages: i64,
    read: BTreeSet<(i64, &'static str)>,
    reacted: Option<i64>,
    effects: Vec<Effect>,
    /// By round: when it began and when a stop was stored.
    rounds: Vec<(i64, Option<i64>)>,
    /// Whoever had read the message by then: round and rung time do not matter, a reader stays one.
    readers: Vec<(i64, &'static str)>,
    /// When relay or Feishu came to be there or not.
    up: Vec<(i64, bool)>,
}

impl World {
    fn new(rungs: &[(i64, &str)]) -> World {
        World {
            incident: incident(rungs),
            jobs: Vec::new(),
            calls: Vec::new(),
            now_ms: 0,
            firing: true,
            relay: true,
            feishu: true,
            crash: false,
            messages: 1,
            read: BTreeSet::new(),
            reacted: None,
            effects: Vec::new(),
            rounds: vec![(0, None)],
            readers: Vec::new(),
            up: vec![(0, true)],
        }
    }

    fn change(&mut self, step: &Step) {
        let up = self.relay && self.feishu;
        match step {
            Step::Pass(ms) => return self.pass(self.now_ms + ms),
            Step::Relay(there) => self.relay = *there,
            Step::Feishu(there) => self.feishu = *there,
            Step::Read(who) => {
                self.read.insert((self.messages, PEOPLE[*who]));
                self.readers.push((self.now_ms, PEOPLE[*who]));
            }
            Step::React => self.reacted = self.reacted.or(Some(self.now_ms)),
            Step::Crash => self.crash = true,
            // What is said to a relay that is away is said again once it is back: here it does not happen.
            _ if !self.relay => {}
            Step::Ack if self.firing && self.incident.ack.is_none() => {
                let (at_ms, by, how) = (self.now_ms, "lin".into(), "ack".into());
                self.incident.ack = Some(Ack { at_ms, by, how });
                self.stopped();
            }
            Step::Resolve if self.firing => {
                self.firing = false;
                self.stopped();
            }
            Step::Again if !self.firing => {
                self.firing = true;
                self.reacted = None;
                self.read.clear();
                self.readers.clear();
                self.incident.ack = None;
                self.incident.reopened += 1;
                self.rounds.push((self.now_ms, None));
            }
            Step::NewMessage => {
                self.messages += 1;
                self.incident.card.message_id = Some(format!("om_{}", self.messages));
            }
            Step::Ack | Step::Resolve | Step::Again => {}
        }
        if up != (self.relay && self.feishu) {
            self.up.push((self.now_ms, !up));
        }
        self.work();
    }

    /// A stop is stored together with what follows from it: no crash comes between.
    fn stopped(&mut self) {
        self.crash = false;
        if let Some((_, stop @ None)) = self.rounds.last_mut() {
            *stop = Some(self.now_ms);
        }
    }

    /// Time passes; the engine looks whenever something is due.
    fn pass(&mut self, until_ms: i64) {
        while self.now_ms < until_ms {
            let due_ms = self.plan(None).1.due_ms.filter(|_| self.relay);
            let next = due_ms.unwrap_or(until_ms).clamp(self.now_ms + 1, until_ms);
            self.now_ms = next;
            self.work();
        }
    }

    fn plan(&self, facts: Option<&Facts>) -> (Incident, Planned) {
        let mut incident = self.incident.clone();
        let view = View {
            now_ms: self.now_ms,
            firing: self.firing,
            shown: true,
            jobs: &self.jobs,
            facts,
        };
        let planned = plan(&mut incident, &view);
        (incident, planned)
    }

    fn work(&mut self) {
        if self.relay {
            let mut asked = None;
            for _ in 0..4 {
                let (incident, planned) = self.plan(asked.as_ref());
                let ask = planned.ask.clone();
                self.write(incident, planned);
                let Some(ask) = ask else { break };
                asked = Some(self.answer(&ask));
            }
        }
        self.dispatch();
    }

    fn answer(&self, ask: &Ask) -> Facts {
        let of_this = self.read.iter().filter(|(n, _)| *n == self.messages);
        let readers: Vec<_> = of_this.map(|(_, who)| *who).collect();
        let (readers, reaction) = match self.feishu {
            true => (readers, self.reacted.map(|_| "ou_c")),
            false => (Vec::new(), None),
        };
        facts(ask, self.now_ms, &readers, reaction)
    }

    fn write(&mut self, incident: Incident, planned: Planned) {
        if std::mem::take(&mut self.crash) && !planned.calls.is_empty() {
            return;
        }
        if incident.ack.is_some() {
            self.stopped();
        }
        self.incident = incident;
        for (id, _) in planned.cancel {
            let job = self.jobs.iter_mut().find(|job| job.id == id);
            let job = job.expect("a canceled call is there");
            assert_eq!(job.state, State::Queued);
            job.state = State::Canceled;
        }
        for call in planned.calls {
            let number = u8::try_from(self.calls.len()).expect("few calls");
            self.jobs.push(job(&call, number, State::Queued));
            self.calls.push(call);
        }
    }

    fn dispatch(&mut self) {
        if !(self.relay && self.feishu) {
            return;
        }
        for (job, call) in self.jobs.iter_mut().zip(&self.calls) {
            if job.state != State::Queued {
                continue;
            }
            if call.expires_ms <= self.now_ms {
                job.state = State::Expired;
                continue;
            }
            job.state = State::Done;
            let (round, rung) = (round_of(job), rung_of(job));
            self.effects.extend(call.users.iter().map(|person| Effect {
                at_ms: self.now_ms,
                round: round.expect("a tag names its round"),
                rung: rung.expect("a call names its rung"),
                person: person.clone(),
            }));
        }
    }

    /// Relay and Feishu were there all the time between.
    fn was_up(&self, from_ms: i64, until_ms: i64) -> bool {
        let before = self.up.iter().rfind(|(at, _)| *at <= from_ms);
        let within = self
            .up
            .iter()
            .filter(|(at, _)| *at > from_ms && *at <= until_ms);
        before.into_iter().chain(within).all(|(_, up)| *up)
    }
}

fn judge(world: &World, rungs: &[(i64, &str)]) -> Result<(), TestCaseError> {
    let mut seen = BTreeSet::new();
    for effect in &world.effects {
        let key = (effect.round, effect.rung, effect.person.as_str());
        prop_assert!(seen.insert(key), "twice: {effect:?}");
        let (from_ms, stop_ms) = world.rounds[effect.round as usize];
        let due_ms = from_ms + rungs[effect.rung].0 * MINUTE;
        prop_assert!(effect.at_ms >= due_ms, "early: {effect:?}");
        prop_assert!(effect.at_ms <= due_ms + LATE_MS, "too late: {effect:?}");
        prop_assert!(
            stop_ms.is_none_or(|stop| effect.at_ms <= stop),
            "stopped: {effect:?}"
        );
        let reacted = world
            .reacted
            .filter(|_| effect.round as usize + 1 == world.rounds.len());
        let ignored = reacted.is_some_and(|at| at < effect.at_ms && world.was_up(at, effect.at_ms));
        prop_assert!(!ignored, "somebody had reacted: {effect:?}");
        let higher = rungs[effect.rung + 1..].iter();
        let overtaken = higher
            .map(|(after, _)| from_ms + after * MINUTE)
            .any(|due| due <= effect.at_ms);
        let overdue = effect.at_ms > due_ms + PROMPT_MS;
        prop_assert!(!(overdue && overtaken), "not the highest: {effect:?}");
    }
    for (round, (from_ms, stop_ms)) in world.rounds.iter().enumerate() {
        for (rung, (after, _)) in rungs.iter().enumerate() {
            let due_ms = from_ms + after * MINUTE;
            let until_ms = due_ms + PROMPT_MS;
            let last = round + 1 == world.rounds.len();
            if until_ms > world.now_ms
                || stop_ms.is_some_and(|stop| stop <= until_ms)
                || !world.was_up(due_ms, until_ms)
                || !last
                || world.reacted.is_some()
            {
                continue;
            }
            for person in PEOPLE {
                if world.readers.iter().any(|(_, who)| *who == person) {
                    continue;
                }
                let on_time = world.effects.iter().any(|effect| {
                    effect.round as usize == round
                        && effect.rung == rung
                        && effect.person == person
                        && effect.at_ms <= until_ms
                });
                prop_assert!(
                    on_time,
                    "round {round}, rung {rung}: {person} was not called"
                );
            }
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_four_rules_hold_whatever_happens(
        mut after in prop::collection::vec(1..40_i64, 1..4),
        steps in prop::collection::vec(step(), 1..40),
    ) {
        after.sort_unstable();
        let urgent = ["urgent_app", "urgent_sms", "urgent_phone"];
        let rungs: Vec<_> = after.into_iter().zip(urgent).collect();
        let mut world = World::new(&rungs);
        for step in &steps {
            world.change(step);
        }
        world.pass(world.now_ms + 80 * MINUTE);
        judge(&world, &rungs)?;
    }
}
