//! Decides who goes now: lanes, windows, pauses and breakers asked together, under one lock.
//!
//! Pure but for the lock around it: every time comes in. The store asks it for newborns (`Permit`),
//! the loop (`run`) for the rest; neither waits here.
//! Not here: what people pause and change meanwhile (`steer`), what is stopped in words (`show`).

mod around;
mod asks;
mod calls;
mod looks;
mod month;
mod rest;
mod show;
mod steer;

pub(super) use self::calls::{Call, CallTold, Entered, Pass, Stop, Turn};
pub(super) use self::month::Spent;

use std::collections::{BTreeMap, HashMap};

use feishu_im::Repeat;
use feishu_im::limits::API_PAUSE_MS;

use crate::dispatch::breaker::{Breaker, BreakerEvent, Gate, Looks, Pauses};
use crate::dispatch::core::around::Around;
use crate::dispatch::core::asks::ask;
use crate::dispatch::core::calls::Calls;
use crate::dispatch::core::month::Months;
use crate::dispatch::held::Held;
use crate::dispatch::judge::Judgement;
use crate::dispatch::lanes::{Doubtful, Group, LaneName, Lanes, Slot};
use crate::dispatch::pace::{Ask, Blocker, Earliest, Hold, Limits, Pace, TenantIx};
use crate::job::{AppId, Head, Outcome};
use crate::store::Past;

/// Attempts under way at once: more than Feishu's 50 a second at its slowest answers.
const FLIGHTS_MAX: usize = 512;
/// Content held for attempts under way, bytes.
const FLIGHT_BYTES_MAX: u64 = 8 << 20;
/// How long a closed group is left alone when only an answer can open it, milliseconds.
const LOOK_AGAIN_MS: i64 = 50;
/// Candidates looked at for one slot before the group is left for this round.
const LOOK_AT: usize = 256;
/// How long receivers' windows count as full after a start, milliseconds.
pub(super) const START_FLOOR_MS: i64 = 1000;

/// An app as the dispatcher sees it.
#[derive(Clone, Debug)]
pub(super) struct AppPlace {
    pub(super) id: AppId,
    pub(super) name: String,
    pub(super) tenant: usize,
    /// Which base URL, by number.
    pub(super) base: usize,
    pub(super) limits: Limits,
    /// The longest that an attempt waits for the head of its answer.
    pub(super) timeout_ms: i64,
}

/// A call that was under way when the process before ended.
#[derive(Clone, Debug)]
pub(super) struct Open {
    pub(super) head: Head,
    /// When it was marked, by the wall clock.
    pub(super) mark_ms: i64,
}

/// One attempt under way, or about to be.
#[derive(Debug)]
struct Flight {
    head: Head,
    name: LaneName,
    /// Whom its answer concerns, though its bot may be gone by then.
    group: Group,
    hold: Hold,
    probe: Probe,
}

/// Whose probe a call is.
#[derive(Clone, Copy, Debug, Default)]
struct Probe {
    pause: bool,
    api: bool,
    base: bool,
}

/// What an ended attempt says to everything around it.
#[derive(Debug)]
pub(super) struct Told<'a> {
    pub(super) judgement: &'a Judgement,
    pub(super) msg: &'a str,
    /// Provably nothing left, so no window saw it.
    pub(super) refund: bool,
    /// The chat that the message went to.
    pub(super) chat: Option<&'a str>,
    /// The message that was made.
    pub(super) made: Option<&'a str>,
    /// It counts towards the month's quota.
    pub(super) counted: bool,
}

/// All that decides who goes.
#[derive(Debug)]
pub(super) struct Core {
    pub(super) apps: Vec<AppPlace>,
    /// The apps, then custom bots: what calls count for.
    places: Vec<Around>,
    pub(super) lanes: Lanes,
    pace: Pace,
    /// What people paused.
    held: Held,
    months: Months,
    calls: Calls,
    pauses: Pauses,
    api_breakers: HashMap<Group, Breaker>,
    base_breakers: Vec<Breaker>,
    /// By base URL.
    looks: Vec<Looks>,
    /// Groups that wait, steady ms: the whole of it, or only what may not use the reserve.
    closed: HashMap<Group, Closed>,
    flights: HashMap<i64, Flight>,
    flight_bytes: u64,
    running: bool,
    pub(super) pauses_changed: bool,
    next_group: usize,
    /// The loop looks again by itself then, steady ms.
    rests_until_ms: i64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Closed {
    all_ms: i64,
    low_ms: i64,
}

impl Core {
    pub(super) fn new(apps: Vec<AppPlace>) -> Core {
        let bases = apps.iter().map(|app| app.base + 1).max().unwrap_or(0);
        let tenants = apps.iter().map(|app| app.tenant + 1).max().unwrap_or(0);
        let pace = Pace::new(
            apps.iter()
                .map(|app| (TenantIx(app.tenant), app.limits))
                .collect(),
        );
        Core {
            lanes: Lanes::new(apps.len()),
            pace,
            held: Held::default(),
            months: Months::new(tenants, apps.len()),
            calls: Calls::default(),
            pauses: Pauses::default(),
            api_breakers: HashMap::new(),
            base_breakers: (0..bases).map(|_| Breaker::of_base_url()).collect(),
            looks: (0..bases).map(|_| Looks::default()).collect(),
            closed: HashMap::new(),
            flights: HashMap::new(),
            flight_bytes: 0,
            running: false,
            pauses_changed: true,
            next_group: 0,
            rests_until_ms: i64::MIN,
            places: apps
                .iter()
                .map(|app| Around {
                    name: app.name.clone(),
                    tenant: app.tenant,
                    base: app.base,
                    timeout_ms: app.timeout_ms,
                })
                .collect(),
            apps,
        }
    }

    /// From now on jobs go.
    ///
    /// `past`: calls by the second of their mark, those under way when the process before ended among
    /// them; `open`: these; `reached`: people whom batches reached today.
    pub(super) fn start(
        &mut self,
        past: &[Past],
        open: &[Open],
        reached: &[(AppId, u32)],
        wall_ms: i64,
        steady_ms: i64,
    ) {
        self.pace.set_wall(wall_ms - steady_ms);
        for (app, people) in reached {
            if let Some(app) = self.app_of(*app) {
                self.pace.restore_day(app, *people, steady_ms);
            }
        }
        // What is open may reach Feishu until its time-out, wherever it counts.
        let mut opened: HashMap<(Group, i64), u32> = HashMap::new();
        for one in open {
            let app = self.app_of(one.head.app);
            if let Some(place) = app.and_then(|app| self.lanes.bots.place(app, &one.head)) {
                let timeout_ms = self.places[place].timeout_ms;
                let until_ms = steady_ms + one.mark_ms + timeout_ms - wall_ms;
                let until_ms = until_ms.min(steady_ms + timeout_ms);
                self.pace
                    .reopen(&ask(place, &one.head), until_ms, steady_ms);
                let second = one.mark_ms.div_euclid(1000);
                *opened.entry(((place, one.head.api()), second)).or_default() += 1;
            }
        }
        let mut calls: BTreeMap<Group, Vec<(i64, u32)>> = BTreeMap::new();
        for one in past {
            let place = match &one.bot {
                Some(bot) => self.lanes.bots.named(bot),
                None => self.app_of(one.app),
            };
            if let Some(place) = place {
                let open = opened.remove(&((place, one.api), one.second));
                let open = open.unwrap_or(0);
                // Nobody wrote down when it was answered: its time-out at the latest, and before now.
                let late_ms = (one.second + 1) * 1000 + self.places[place].timeout_ms;
                let at = steady_ms - (wall_ms - late_ms).max(0);
                let group = calls.entry((place, one.api)).or_default();
                group.push((at, one.calls.saturating_sub(open)));
            }
        }
        for ((place, api), list) in calls {
            self.pace.restore(place, api, &list, steady_ms);
        }
        if !past.is_empty() {
            self.pace.floor(steady_ms + START_FLOOR_MS);
        }
        self.running = true;
    }

    /// From now on nobody goes; what is under way ends.
    pub(super) fn stop(&mut self) {
        self.running = false;
        self.stop_calls();
    }

    pub(super) fn app_of(&self, id: AppId) -> Option<usize> {
        self.apps.iter().position(|app| app.id == id)
    }

    pub(super) fn in_flight(&self) -> usize {
        self.flights.len()
    }

    /// May a newborn begin at once?
    pub(super) fn grant(&mut self, head: &Head, steady_ms: i64) -> bool {
        let Some(app) = self.app_of(head.app) else {
            return false;
        };
        let name = (app, head.lane.clone());
        let group = self.group(app, head);
        if !self.running
            || self.waits(app, head)
            || self.splits(app, head)
            || self.lanes.holds(&name)
            || !self.lanes.knows_all(app)
            || !self.room(head)
        {
            return false;
        }
        if !self
            .gate(group, head, steady_ms)
            .is_ok_and(|passage| !passage.is_probe())
        {
            return false;
        }
        let ask = ask(group.0, head);
        if self.pace.earliest(&ask, steady_ms) != Earliest::Now
            || self.lanes.candidates(group, false).next().is_some()
        {
            return false;
        }
        let Some(hold) = self.pace.take(&ask, steady_ms) else {
            return false;
        };
        self.lanes.occupy(name.clone(), head);
        self.fly(head.clone(), name, group, hold, Probe::default());
        true
    }

    fn room(&self, head: &Head) -> bool {
        let bytes = self.flight_bytes + u64::from(head.size);
        self.flights.is_empty() || (self.flights.len() < FLIGHTS_MAX && bytes <= FLIGHT_BYTES_MAX)
    }

    fn fly(&mut self, head: Head, name: LaneName, group: Group, hold: Hold, probe: Probe) {
        self.flight_bytes += u64::from(head.size);
        self.month_takes(name.0, is_counted(&head));
        self.flights.insert(
            head.seq,
            Flight {
                head,
                name,
                group,
                hold,
                probe,
            },
        );
    }

    /// Those who go now: their lanes and windows are taken until `give_back` or `ended`.
    pub(super) fn pick(&mut self, wall_ms: i64, steady_ms: i64) -> Vec<i64> {
        self.lanes.wake(wall_ms, steady_ms);
        self.pace.set_wall(wall_ms - steady_ms);
        self.month_turns(wall_ms, steady_ms);
        let mut picked = Vec::new();
        if !self.running {
            return picked;
        }
        let groups = self.lanes.groups();
        // Groups take turns, one slot each, so that no call starves another for places under way.
        let mut open: Vec<Group> = groups
            .iter()
            .copied()
            .cycle()
            .skip(self.next_group % groups.len().max(1))
            .take(groups.len())
            .collect();
        self.next_group = self.next_group.wrapping_add(1);
        self.calls.begin_round();
        loop {
            let mut went = self.serve_calls(Turn::Calls, steady_ms);
            open.retain(|group| match self.pick_one(*group, steady_ms) {
                Some(seq) => {
                    picked.push(seq);
                    self.calls.job_went(*group);
                    true
                }
                None => false,
            });
            went |= self.serve_calls(Turn::Anybody, steady_ms);
            if open.is_empty() && !went {
                return picked;
            }
        }
    }

    fn pick_one(&mut self, group: Group, steady_ms: i64) -> Option<i64> {
        for _ in 0..LOOK_AT {
            let closed = self.closed.get(&group).copied().unwrap_or_default();
            if closed.all_ms > steady_ms {
                return None;
            }
            let high_only = closed.low_ms > steady_ms;
            let slot = self.lanes.candidates(group, high_only).next()?;
            if self.lanes.drop_stray(group, slot) {
                let (app, call) = (&self.places[group.0].name, group.1.name());
                tracing::warn!(%app, call, "a lane stood where it does not stand: passed over");
                continue;
            }
            match self.try_slot(group, slot, steady_ms) {
                Tried::Goes(seq) => return Some(seq),
                Tried::LaneWaits(slot, until_ms) => self.lanes.hold_back(slot, until_ms),
                Tried::LowWaits => {}
                Tried::GroupWaits => return None,
            }
        }
        None
    }

    fn try_slot(&mut self, group: Group, slot: Slot, steady_ms: i64) -> Tried {
        let Some(head) = self.lanes.head(slot).cloned() else {
            return Tried::LaneWaits(slot, steady_ms + LOOK_AGAIN_MS);
        };
        if !self.room(&head) {
            return Tried::GroupWaits;
        }
        let (slot, head, probe) = match self.gate(group, &head, steady_ms) {
            Ok(gate) if gate.is_probe() => match self.probe_candidate(group, slot, head, steady_ms)
            {
                Some((slot, head)) => (slot, head, gate.probe),
                None => return Tried::GroupWaits,
            },
            Ok(_) => (slot, head, Probe::default()),
            Err(until_ms) => {
                self.closed.entry(group).or_default().all_ms = until_ms;
                return Tried::GroupWaits;
            }
        };
        let ask = Ask {
            high: self.lanes.is_high(slot) || self.lanes.is_turn_of_lower(group),
            ..ask(group.0, &head)
        };
        match self.pace.earliest(&ask, steady_ms) {
            Earliest::Now => {}
            Earliest::At {
                ms,
                by: Blocker::Receiver | Blocker::Message,
            } => return Tried::LaneWaits(slot, ms.max(steady_ms + 1)),
            Earliest::OnAnswer {
                by: Blocker::Receiver | Blocker::Message,
            } => return Tried::LaneWaits(slot, steady_ms + LOOK_AGAIN_MS),
            Earliest::At { ms, .. } => return self.close(group, ask.high, ms.max(steady_ms + 1)),
            Earliest::OnAnswer { .. } => {
                return self.close(group, ask.high, steady_ms + LOOK_AGAIN_MS);
            }
        }
        let Some(hold) = self.pace.take(&ask, steady_ms) else {
            return Tried::GroupWaits;
        };
        let Some((name, head)) = self.lanes.begin(slot) else {
            self.pace.refund(hold);
            return Tried::GroupWaits;
        };
        self.start_probe(group, &head, probe, steady_ms);
        let seq = head.seq;
        self.fly(head, name, group, hold, probe);
        Tried::Goes(seq)
    }

    /// A window of the whole call is full: `high` may still have the reserve.
    fn close(&mut self, group: Group, high: bool, until_ms: i64) -> Tried {
        let closed = self.closed.entry(group).or_default();
        if high {
            closed.all_ms = until_ms;
            Tried::GroupWaits
        } else {
            closed.low_ms = until_ms;
            Tried::LowWaits
        }
    }

    /// A probe is a job that is unknown already, so that an outage leaves few more in doubt; where
    /// repeating has an end, one that is due soon is waited for.
    fn probe_candidate(
        &mut self,
        group: Group,
        slot: Slot,
        head: Head,
        steady_ms: i64,
    ) -> Option<(Slot, Head)> {
        match self.lanes.doubtful(group) {
            Some(Doubtful::Ready(slot)) => Some((slot, self.lanes.head(slot)?.clone())),
            Some(Doubtful::Soon) if group.1.endpoint().repeat == Repeat::Key => {
                self.closed.entry(group).or_default().all_ms = steady_ms + LOOK_AGAIN_MS;
                None
            }
            Some(Doubtful::Soon) | None => Some((slot, head)),
        }
    }

    fn gate(&mut self, group: Group, head: &Head, steady_ms: i64) -> Result<Passage, i64> {
        let dup = is_dup(head);
        let spot = self.spot(group);
        let mut probe = Probe::default();
        let gates = [
            (self.pauses.allows(spot, steady_ms), 0),
            (
                self.api_breakers
                    .get_mut(&group)
                    .map_or(Gate::Open, |breaker| breaker.allows(dup, steady_ms)),
                1,
            ),
            (self.base_of(group.0).allows(dup, steady_ms), 2),
        ];
        for (gate, of) in gates {
            match gate {
                Gate::Open => {}
                Gate::Probe => match of {
                    0 => probe.pause = true,
                    1 => probe.api = true,
                    _ => probe.base = true,
                },
                Gate::Closed { until_ms } => {
                    return Err(until_ms.clamp(steady_ms + 1, steady_ms + 1000));
                }
                Gate::AfterRead => return Err(steady_ms + API_PAUSE_MS),
            }
        }
        Ok(Passage { probe })
    }

    fn start_probe(&mut self, group: Group, head: &Head, probe: Probe, steady_ms: i64) {
        let dup = is_dup(head);
        if probe.pause {
            self.pauses.probe_started(self.spot(group), steady_ms);
        }
        if probe.api
            && let Some(breaker) = self.api_breakers.get_mut(&group)
        {
            breaker.probe_started(dup, steady_ms);
        }
        if probe.base {
            self.base_of(group.0).probe_started(dup, steady_ms);
        }
    }

    /// Marks that were not made, or were taken back: nothing left, lanes are read anew.
    pub(super) fn give_back(&mut self, seqs: &[i64], steady_ms: i64) {
        for seq in seqs {
            let Some(flight) = self.flights.remove(seq) else {
                continue;
            };
            self.flight_bytes -= u64::from(flight.head.size);
            self.pace.refund(flight.hold);
            self.month_ended(flight.name.0, is_counted(&flight.head), false);
            let group = flight.group;
            if flight.probe.pause {
                self.pauses.probe_told_nothing(self.spot(group), steady_ms);
            }
            self.end_probe(group, flight.probe, BreakerEvent::None, steady_ms);
            self.lanes.ended(&flight.name, *seq, false);
        }
    }

    fn end_probe(&mut self, group: Group, probe: Probe, event: BreakerEvent, steady_ms: i64) {
        let breaker = self
            .api_breakers
            .entry(group)
            .or_insert_with(Breaker::of_api);
        let was_open = breaker.is_open();
        breaker.ended(event, probe.api, steady_ms);
        let (app, call) = (&self.places[group.0].name, group.1.name());
        match (was_open, breaker.is_open()) {
            (false, true) => {
                tracing::warn!(%app, call, "answers are lost: stopped, but for probes")
            }
            (true, false) => tracing::info!(%app, call, "answers come again: going on"),
            (true, true) | (false, false) => {}
        }
        self.pauses_changed |= was_open != breaker.is_open();
        self.end_base_probe(group.0, event, probe.base, steady_ms);
        if event == BreakerEvent::Ok {
            self.closed.remove(&group);
        }
    }

    fn end_base_probe(&mut self, place: usize, event: BreakerEvent, probe: bool, steady_ms: i64) {
        let Around { name, base, .. } = &self.places[place];
        let base = &mut self.base_breakers[*base];
        let was_open = base.is_open();
        base.ended(event, probe, steady_ms);
        match (was_open, base.is_open()) {
            (false, true) => {
                tracing::warn!(
                    app = name,
                    "Feishu cannot be reached: stopped, but for probes"
                )
            }
            (true, false) => tracing::info!(app = name, "Feishu can be reached again: going on"),
            (true, true) | (false, false) => {}
        }
        self.pauses_changed |= was_open != base.is_open();
        if was_open && !base.is_open() {
            self.looks[self.places[place].base].rest();
        }
    }

    /// An attempt ended: its windows close one length from now, and what it says concerns others.
    pub(super) fn answered(&mut self, seq: i64, told: &Told<'_>, steady_ms: i64) {
        let Some(flight) = self.flights.remove(&seq) else {
            return;
        };
        self.flight_bytes -= u64::from(flight.head.size);
        let group = flight.group;
        let ask = ask(group.0, &flight.head);
        if let Some((bucket, until_ms)) = told.judgement.bucket {
            self.pace.limited(&ask, bucket, until_ms, steady_ms);
        }
        // A reply goes to the chat of its message; a later one to the message made now goes there too.
        let to = flight.head.receiver.as_deref();
        let to = to.or(flight.head.message.as_deref());
        for name in [to, told.made].into_iter().flatten() {
            if let Some(chat) = told.chat {
                self.pace.learn_chat(group.0, name, chat, steady_ms);
            }
        }
        match told.refund {
            true => self.pace.refund(flight.hold),
            false => self.pace.answered(flight.hold, steady_ms),
        }
        self.month_ended(flight.name.0, is_counted(&flight.head), told.counted);
        self.tell_pauses(group, flight.probe, told, steady_ms);
        self.end_probe(group, flight.probe, told.judgement.breaker, steady_ms);
        if told.judgement.breaker == BreakerEvent::Ok && group.1.endpoint().repeat == Repeat::Read {
            self.read_ok(group.0);
        }
        // Only an answer opens what was closed for want of slots.
        if let Some(closed) = self.closed.get_mut(&group) {
            closed.all_ms = closed.all_ms.min(steady_ms + LOOK_AGAIN_MS);
        }
    }

    fn tell_pauses(&mut self, group: Group, probe: Probe, told: &Told<'_>, steady_ms: i64) {
        let spot = self.spot(group);
        match (told.judgement.pause, told.judgement.outcome) {
            (Some((scope, code)), _) => {
                if self
                    .pauses
                    .begin(spot, scope, (code, told.msg), probe.pause, steady_ms)
                {
                    // Feishu's own words may quote what was sent; they stand in the status.
                    tracing::warn!(
                        app = self.places[group.0].name,
                        code,
                        "stopped: Feishu refuses what every job needs"
                    );
                }
                self.pauses_changed = true;
                self.closed.clear();
            }
            (None, Outcome::Done | Outcome::Refused) => {
                let lifted = self.pauses.lift(spot);
                if !lifted.is_empty() {
                    tracing::info!(app = self.places[group.0].name, "going on");
                    self.pauses_changed = true;
                    self.closed.clear();
                }
            }
            (None, Outcome::Limited | Outcome::NotSent | Outcome::Unknown) if probe.pause => {
                self.pauses.probe_told_nothing(spot, steady_ms);
            }
            (None, Outcome::Limited | Outcome::NotSent | Outcome::Unknown) => {}
        }
    }

    /// The job's result is on disk: its lane goes on. `gone`: the job stands there no more.
    pub(super) fn recorded(&mut self, app: AppId, lane: &str, seq: i64, gone: bool) {
        if let Some(app) = self.app_of(app) {
            self.lanes.ended(&(app, lane.into()), seq, gone);
        }
    }

    pub(super) fn prune(&mut self, steady_ms: i64) {
        self.pace.prune(steady_ms);
        self.closed
            .retain(|_, closed| closed.all_ms.max(closed.low_ms) > steady_ms);
    }
}

/// What trying a lane came to.
enum Tried {
    Goes(i64),
    /// That lane: a probe may be another than the one that was tried.
    LaneWaits(Slot, i64),
    LowWaits,
    GroupWaits,
}

/// A call may pass; as whose probe.
#[derive(Clone, Copy, Debug)]
struct Passage {
    probe: Probe,
}

impl Passage {
    fn is_probe(self) -> bool {
        self.probe.pause || self.probe.api || self.probe.base
    }
}

fn is_dup(head: &Head) -> bool {
    head.api().endpoint().repeat == Repeat::Dup
}

fn is_counted(head: &Head) -> bool {
    head.api().endpoint().counted
}

fn is_high(head: &Head) -> bool {
    head.priority == crate::job::Priority::High
}
