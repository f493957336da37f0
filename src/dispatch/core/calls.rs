//! Calls that are no jobs: who goes, who waits, and in turns with the jobs of the same windows.
//!
//! A call takes a slot as a job of normal priority does, never of what is kept for `high`. Where a job of the same
//! app×API waits too, slots go to them in turns, so neither starves. What is stopped is said at once: whoever reads
//! cannot wait for an outage.
//! Not here: how long a call waits, its answer (`gate`).

use std::collections::{BTreeMap, HashSet, VecDeque};

use feishu_im::{Api, BucketKind, PauseScope, Repeat};
use tokio::sync::oneshot;

use super::{Core, LOOK_AGAIN_MS, Probe};
use crate::dispatch::breaker::{BreakerEvent, Gate};
use crate::dispatch::lanes::Group;
use crate::dispatch::pace::{Ask, Earliest, Hold};

/// Calls under way at once, bodies that are still being read included.
const UNDER_WAY_MAX: usize = 64;
/// Calls that wait for a slot at once; one more is refused.
const WAITING_MAX: usize = 256;

/// Whose call it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::dispatch) struct Call {
    pub(in crate::dispatch) app: usize,
    /// The endpoint; none: nobody knows its windows, so it has none here.
    pub(in crate::dispatch) api: Option<Api>,
}

/// A call may go: give it back with `call_ended`. One that is lost keeps its slot for good.
#[derive(Debug)]
#[must_use = "a pass that is dropped keeps its slot for good"]
pub(in crate::dispatch) struct Pass {
    call: Call,
    hold: Option<Hold>,
    probe: Probe,
}

/// Why no call goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::dispatch) enum Stop {
    /// By a person.
    Paused,
    /// Feishu refuses everything there, with this code.
    Refused(i64),
    /// Answers to this call are lost.
    Lost,
    /// No connection.
    Unreachable,
    /// The rest of the month is kept for `high`.
    Month,
    /// The relay ends.
    Ending,
}

/// What asking for a pass comes to.
#[derive(Debug)]
pub(in crate::dispatch) enum Entered {
    Goes(Pass),
    /// The answer comes here.
    Waits(oneshot::Receiver<Result<Pass, Stop>>),
    Stopped(Stop),
    /// Too many wait already.
    Full,
}

/// What an ended call says to everything around it.
#[derive(Debug)]
pub(in crate::dispatch) struct CallTold<'a> {
    pub(in crate::dispatch) event: BreakerEvent,
    /// Provably nothing left.
    pub(in crate::dispatch) refund: bool,
    pub(in crate::dispatch) counted: bool,
    /// A limit that was hit, and until when it is closed.
    pub(in crate::dispatch) bucket: Option<(BucketKind, i64)>,
    /// What Feishu refuses altogether: the code and its words.
    pub(in crate::dispatch) pause: Option<(PauseScope, i64, &'a str)>,
    /// Feishu answered the call itself, so nothing around it is refused as a whole.
    pub(in crate::dispatch) spoke: bool,
}

/// Whose turn it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::dispatch) enum Turn {
    /// Only where a job had the last slot.
    Calls,
    /// Whoever has room.
    Anybody,
}

type Waiter = oneshot::Sender<Result<Pass, Stop>>;

/// Calls that are no jobs.
#[derive(Debug, Default)]
pub(super) struct Calls {
    waiting: BTreeMap<Call, VecDeque<Waiter>>,
    under_way: usize,
    /// Where a job had the last slot while a call waited.
    theirs: HashSet<Group>,
    /// When one of those that wait may go by time alone, steady ms.
    next_ms: Option<i64>,
    ending: bool,
}

enum Tried {
    Goes(Pass),
    Waits(i64),
    Stopped(Stop),
}

impl Calls {
    /// Those who wait are looked at anew.
    pub(super) fn begin_round(&mut self) {
        self.next_ms = None;
    }

    pub(super) fn next_ms(&self) -> Option<i64> {
        self.next_ms
    }

    /// A job had a slot: where calls wait, the next is theirs.
    pub(super) fn job_went(&mut self, (app, api): Group) {
        let call = Call {
            app,
            api: Some(api),
        };
        if self.waiting.contains_key(&call) {
            self.theirs.insert((app, api));
        }
    }

    /// Those who gave up make room.
    fn is_full(&mut self) -> bool {
        let waiting = |calls: &Calls| calls.waiting.values().map(VecDeque::len).sum::<usize>();
        if waiting(self) < WAITING_MAX {
            return false;
        }
        for list in self.waiting.values_mut() {
            list.retain(|waiter| !waiter.is_closed());
        }
        self.waiting.retain(|_, list| !list.is_empty());
        waiting(self) >= WAITING_MAX
    }
}

impl Core {
    /// A call wants to go.
    pub(in crate::dispatch) fn enter(&mut self, call: Call, steady_ms: i64) -> Entered {
        if self.calls.ending {
            return Entered::Stopped(Stop::Ending);
        }
        let jobs_wait = call.api.is_some_and(|api| {
            self.lanes
                .candidates((call.app, api), false)
                .next()
                .is_some()
        });
        if self.running && !jobs_wait && !self.calls.waiting.contains_key(&call) {
            match self.try_call(call, steady_ms) {
                Tried::Goes(pass) => return Entered::Goes(pass),
                Tried::Stopped(stop) => return Entered::Stopped(stop),
                Tried::Waits(_) => {}
            }
        }
        if self.calls.is_full() {
            return Entered::Full;
        }
        let (go, comes) = oneshot::channel();
        self.calls.waiting.entry(call).or_default().push_back(go);
        Entered::Waits(comes)
    }

    /// Lets calls go while nothing may be marked.
    pub(in crate::dispatch) fn pick_calls(&mut self, wall_ms: i64, steady_ms: i64) {
        self.pace.set_wall(wall_ms - steady_ms);
        self.calls.begin_round();
        while self.running && self.serve_calls(Turn::Anybody, steady_ms) {}
    }

    /// Gives one slot to the first of those who wait for each call. True: somebody went.
    pub(super) fn serve_calls(&mut self, turn: Turn, steady_ms: i64) -> bool {
        let calls: Vec<Call> = self.calls.waiting.keys().copied().collect();
        let mut went = false;
        for call in calls {
            let group = call.api.map(|api| (call.app, api));
            let theirs = group.is_none_or(|group| self.calls.theirs.contains(&group));
            if turn == Turn::Anybody || theirs {
                went |= self.serve(call, steady_ms);
            }
        }
        went
    }

    fn serve(&mut self, call: Call, steady_ms: i64) -> bool {
        while let Some(waiter) = self.next_waiter(call) {
            match self.try_call(call, steady_ms) {
                Tried::Goes(pass) => match waiter.send(Ok(pass)) {
                    Ok(()) => {
                        if let Some(api) = call.api {
                            self.calls.theirs.remove(&(call.app, api));
                        }
                        return true;
                    }
                    Err(Ok(pass)) => self.call_not_made(pass, steady_ms),
                    Err(Err(_)) => {}
                },
                Tried::Waits(until_ms) => {
                    let next = self.calls.next_ms.map_or(until_ms, |ms| ms.min(until_ms));
                    self.calls.next_ms = Some(next);
                    let list = self.calls.waiting.entry(call).or_default();
                    list.push_front(waiter);
                    return false;
                }
                Tried::Stopped(stop) => {
                    // Whoever gave up does not mind.
                    let _ = waiter.send(Err(stop));
                }
            }
        }
        false
    }

    fn next_waiter(&mut self, call: Call) -> Option<Waiter> {
        let list = self.calls.waiting.get_mut(&call)?;
        let waiter = loop {
            match list.pop_front() {
                Some(gone) if gone.is_closed() => {}
                other => break other,
            }
        };
        if list.is_empty() {
            self.calls.waiting.remove(&call);
        }
        waiter
    }

    fn try_call(&mut self, call: Call, steady_ms: i64) -> Tried {
        let probe = match self.way(call, steady_ms) {
            Ok(probe) => probe,
            Err(stop) => return Tried::Stopped(stop),
        };
        if self.calls.under_way >= UNDER_WAY_MAX {
            return Tried::Waits(steady_ms + 1000);
        }
        let mut hold = None;
        if let Some(ask) = ask(call) {
            match self.pace.earliest(&ask, steady_ms) {
                Earliest::Now => hold = self.pace.take(&ask, steady_ms),
                Earliest::At { ms, .. } => return Tried::Waits(ms.max(steady_ms + 1)),
                Earliest::OnAnswer { .. } => return Tried::Waits(steady_ms + LOOK_AGAIN_MS),
            }
        }
        self.start_call_probe(call, probe, steady_ms);
        self.calls.under_way += 1;
        self.month_takes(call.app, true);
        Tried::Goes(Pass { call, hold, probe })
    }

    /// Is the way free; and as whose probe would the call go?
    ///
    /// Of a call without a row nothing is known that Feishu could refuse as a whole: it is passed on, and Feishu says so.
    fn way(&mut self, call: Call, steady_ms: i64) -> Result<Probe, Stop> {
        let place = &self.apps[call.app];
        if self.held.covers_app(place.id) {
            return Err(Stop::Paused);
        }
        if self.is_month_kept(call.app) {
            return Err(Stop::Month);
        }
        let mut probe = Probe::default();
        let base = place.base;
        if let Some(api) = call.api {
            let spot = self.spot((call.app, api));
            probe.pause = match self.pauses.allows(spot, steady_ms) {
                Gate::Open => false,
                Gate::Probe => true,
                Gate::Closed { .. } | Gate::AfterRead => {
                    return Err(Stop::Refused(self.pauses.code(spot).unwrap_or(0)));
                }
            };
            let breaker = self.api_breakers.get_mut(&(call.app, api));
            probe.api = match breaker.map_or(Gate::Open, |one| one.allows(false, steady_ms)) {
                Gate::Open => false,
                Gate::Probe => true,
                Gate::Closed { .. } | Gate::AfterRead => return Err(Stop::Lost),
            };
        }
        probe.base = match self.base_breakers[base].allows(false, steady_ms) {
            Gate::Open => false,
            Gate::Probe => true,
            Gate::Closed { .. } | Gate::AfterRead => return Err(Stop::Unreachable),
        };
        Ok(probe)
    }

    fn start_call_probe(&mut self, call: Call, probe: Probe, steady_ms: i64) {
        if let Some(api) = call.api {
            let group = (call.app, api);
            if probe.pause {
                self.pauses.probe_started(self.spot(group), steady_ms);
            }
            if let Some(breaker) = self.api_breakers.get_mut(&group).filter(|_| probe.api) {
                breaker.probe_started(false, steady_ms);
            }
        }
        if probe.base {
            let base = self.apps[call.app].base;
            self.base_breakers[base].probe_started(false, steady_ms);
        }
    }

    /// A call that was let go was not made.
    pub(in crate::dispatch) fn call_not_made(&mut self, pass: Pass, steady_ms: i64) {
        let told = CallTold {
            event: BreakerEvent::None,
            refund: true,
            counted: false,
            bucket: None,
            pause: None,
            spoke: false,
        };
        self.call_ended(pass, &told, steady_ms);
        self.call_over();
    }

    /// A call was answered, or never will be: its windows close one length from now. Its place stays taken until
    /// `call_over`.
    pub(in crate::dispatch) fn call_ended(
        &mut self,
        pass: Pass,
        told: &CallTold<'_>,
        steady_ms: i64,
    ) {
        let Pass { call, hold, probe } = pass;
        if let Some((ask, (bucket, until_ms))) = ask(call).zip(told.bucket) {
            self.pace.limited(&ask, bucket, until_ms, steady_ms);
        }
        if let Some(hold) = hold {
            match told.refund {
                true => self.pace.refund(hold),
                false => self.pace.answered(hold, steady_ms),
            }
        }
        self.month_ended(call.app, true, told.counted);
        let Some(api) = call.api else {
            return self.end_base_probe(call.app, told.event, probe.base, steady_ms);
        };
        let group = (call.app, api);
        self.call_tells_pauses(group, probe, told, steady_ms);
        self.end_probe(group, probe, told.event, steady_ms);
        if told.event == BreakerEvent::Ok && api.endpoint().repeat == Repeat::Read {
            self.read_ok(call.app);
        }
        if let Some(closed) = self.closed.get_mut(&group) {
            closed.all_ms = closed.all_ms.min(steady_ms + LOOK_AGAIN_MS);
        }
    }

    fn call_tells_pauses(
        &mut self,
        group: Group,
        probe: Probe,
        told: &CallTold<'_>,
        steady_ms: i64,
    ) {
        let spot = self.spot(group);
        let changed = match told.pause {
            // What one endpoint refuses is the client's to hear, again and again.
            Some((PauseScope::AppApi, ..)) => {
                if probe.pause {
                    self.pauses.probe_told_nothing(spot, steady_ms);
                }
                false
            }
            Some((scope, code, msg)) => {
                if self
                    .pauses
                    .begin(spot, scope, (code, msg), probe.pause, steady_ms)
                {
                    let app = &self.apps[group.0].name;
                    tracing::warn!(%app, code, "stopped: Feishu refuses what every call needs");
                }
                true
            }
            None if told.spoke => !self.pauses.lift(spot).is_empty(),
            None => {
                if probe.pause {
                    self.pauses.probe_told_nothing(spot, steady_ms);
                }
                false
            }
        };
        if changed {
            self.pauses_changed = true;
            self.closed.clear();
        }
    }

    /// The body of a call's answer is through, or nobody wants it any more.
    pub(in crate::dispatch) fn call_over(&mut self) {
        self.calls.under_way = self.calls.under_way.saturating_sub(1);
    }

    /// Nobody goes any more, and nobody waits.
    pub(super) fn stop_calls(&mut self) {
        self.calls.ending = true;
        for waiter in std::mem::take(&mut self.calls.waiting)
            .into_values()
            .flatten()
        {
            let _ = waiter.send(Err(Stop::Ending));
        }
    }
}

fn ask(call: Call) -> Option<Ask<'static>> {
    let api = call.api?;
    Some(Ask {
        app: call.app,
        api,
        receiver: None,
        message: None,
        high: false,
        weight: 1,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dispatch::core::{AppPlace, Told};
    use crate::dispatch::judge::{Judgement, Next};
    use crate::dispatch::pace::Limits;
    use crate::job::{AppId, Head, Kind, Outcome, Priority, Reach, Steer};
    use crate::store::Piece;

    const READ: Call = Call {
        app: 0,
        api: Some(Api::ReadUsers),
    };
    const DIRECT: Call = Call { app: 0, api: None };

    /// One app whose calls have one window, of a minute.
    fn core(app_minute: u32) -> Core {
        let mut core = Core::new(vec![AppPlace {
            id: AppId(1),
            name: String::from("ops"),
            tenant: 0,
            base: 0,
            limits: Limits {
                app_minute,
                app_second: 0,
                chat_second: 0,
                user_second: 0,
            },
            timeout_ms: 10_000,
        }]);
        core.start(&[], &[], &[], 0, 0);
        while let Some(walk) = core.next_walk(10, 0) {
            core.walked(&walk, Piece::default(), 0);
        }
        core
    }

    /// A question of the relay's own: a job with the same windows as `READ`.
    fn job(seq: i64, priority: Priority) -> Head {
        Head {
            seq,
            app: AppId(1),
            lane: format!("\u{1}{seq}").into(),
            kind: Kind::ReadUsers,
            verify: false,
            priority,
            tried: false,
            due_ms: 0,
            since_ms: 0,
            receiver: None,
            message: None,
            size: 1,
            weight: 1,
            unknown: None,
        }
    }

    fn told(event: BreakerEvent) -> CallTold<'static> {
        CallTold {
            event,
            refund: false,
            counted: true,
            bucket: None,
            pause: None,
            spoke: event == BreakerEvent::Ok,
        }
    }

    /// A job that is done.
    fn answered() -> Told<'static> {
        static DONE: Judgement = Judgement {
            outcome: Outcome::Done,
            next: Next::Done,
            pause: None,
            bucket: None,
            breaker: BreakerEvent::Ok,
        };
        Told {
            made: None,
            judgement: &DONE,
            msg: "",
            refund: false,
            chat: None,
            counted: true,
        }
    }

    #[track_caller]
    fn goes(core: &mut Core, call: Call, now: i64) -> Pass {
        match core.enter(call, now) {
            Entered::Goes(pass) => pass,
            other => panic!("{other:?}"),
        }
    }

    fn end(core: &mut Core, pass: Pass, event: BreakerEvent, now: i64) {
        core.call_ended(pass, &told(event), now);
        core.call_over();
    }

    #[track_caller]
    fn stops(core: &mut Core, call: Call, now: i64, expected: Stop) {
        match core.enter(call, now) {
            Entered::Stopped(stop) => assert_eq!(stop, expected),
            other => panic!("{other:?}"),
        }
    }

    fn waits(core: &mut Core, now: i64) -> oneshot::Receiver<Result<Pass, Stop>> {
        match core.enter(READ, now) {
            Entered::Waits(comes) => comes,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_is_kept_for_high_is_not_a_calls() {
        let mut core = core(100);
        for _ in 0..96 {
            let pass = goes(&mut core, READ, 0);
            end(&mut core, pass, BreakerEvent::Ok, 0);
        }
        let mut last = waits(&mut core, 0);
        core.stood(job(1, Priority::High), 0);
        assert_eq!(core.pick(0, 1), [1]);
        assert!(last.try_recv().is_err());
        core.pick(61_000, 61_000);
        assert!(matches!(last.try_recv(), Ok(Ok(_))), "the minute is over");
    }

    /// Each minute has room for one.
    #[test]
    fn calls_and_jobs_of_one_window_take_turns() {
        let mut core = core(1);
        let pass = goes(&mut core, READ, 0);
        end(&mut core, pass, BreakerEvent::Ok, 0);
        let mut calls: Vec<_> = (0..8).map(|_| waits(&mut core, 0)).collect();
        for seq in 0..8 {
            core.stood(job(seq, Priority::High), 0);
        }
        let mut went = String::new();
        for minute in 1..=8 {
            let now = minute * 61_000;
            for seq in core.pick(now, now) {
                went.push('j');
                core.answered(seq, &answered(), now);
                core.recorded(AppId(1), &format!("\u{1}{seq}"), seq, true);
                core.lanes.take_reads();
            }
            for turn in calls.iter_mut().filter_map(|call| call.try_recv().ok()) {
                went.push('c');
                end(&mut core, turn.unwrap(), BreakerEvent::Ok, now);
            }
        }
        assert!(went == "jcjcjcjc" || went == "cjcjcjcj", "{went}");
    }

    #[test]
    fn who_gave_up_takes_no_slot_and_keeps_nobody_waiting() {
        let mut core = core(1);
        let pass = goes(&mut core, READ, 0);
        let gone = waits(&mut core, 0);
        let mut comes = waits(&mut core, 0);
        drop(gone);
        core.call_not_made(pass, 1);
        core.pick(1, 1);
        assert!(matches!(comes.try_recv(), Ok(Ok(_))));
    }

    #[test]
    fn too_many_are_refused_and_those_who_left_make_room() {
        let mut core = core(1);
        let _under_way = goes(&mut core, READ, 0);
        let all: Vec<_> = (0..WAITING_MAX).map(|_| waits(&mut core, 0)).collect();
        assert!(matches!(core.enter(READ, 0), Entered::Full));
        drop(all);
        waits(&mut core, 0);
    }

    #[test]
    fn an_outage_is_said_at_once_and_a_call_probes_its_end() {
        let mut core = core(0);
        for _ in 0..3 {
            let pass = goes(&mut core, READ, 0);
            end(&mut core, pass, BreakerEvent::Unknown, 0);
        }
        stops(&mut core, READ, 0, Stop::Lost);
        let pass = goes(&mut core, DIRECT, 0);
        end(&mut core, pass, BreakerEvent::Ok, 0);
        stops(&mut core, READ, 999, Stop::Lost);
        let probe = goes(&mut core, READ, 1000);
        stops(&mut core, READ, 1000, Stop::Lost);
        end(&mut core, probe, BreakerEvent::Ok, 1100);
        let pass = goes(&mut core, READ, 1100);
        end(&mut core, pass, BreakerEvent::Ok, 1100);
        for _ in 0..3 {
            let pass = goes(&mut core, DIRECT, 2000);
            end(&mut core, pass, BreakerEvent::NotSent, 2000);
        }
        stops(&mut core, READ, 2000, Stop::Unreachable);
        stops(&mut core, DIRECT, 2000, Stop::Unreachable);
        let probe = goes(&mut core, DIRECT, 3000);
        end(&mut core, probe, BreakerEvent::Ok, 3000);
        let _reads_again = goes(&mut core, READ, 3000);
    }

    #[test]
    fn a_pause_by_hand_stops_an_app_and_one_by_feishus_word_its_reads() {
        let mut core = core(0);
        let mut refused = told(BreakerEvent::Ok);
        refused.spoke = false;
        refused.pause = Some((PauseScope::AppApi, 99_991_672, ""));
        let pass = goes(&mut core, READ, 0);
        core.call_ended(pass, &refused, 0);
        let pass = goes(&mut core, READ, 0);
        refused.pause = Some((PauseScope::Tenant, 99_991_403, ""));
        core.call_ended(pass, &refused, 0);
        stops(&mut core, READ, 0, Stop::Refused(99_991_403));
        let pass = goes(&mut core, DIRECT, 0);
        end(&mut core, pass, BreakerEvent::Ok, 0);
        stops(&mut core, READ, 0, Stop::Refused(99_991_403));
        let probe = goes(&mut core, READ, 60_000);
        end(&mut core, probe, BreakerEvent::Ok, 60_000);
        let pass = goes(&mut core, READ, 60_000);
        end(&mut core, pass, BreakerEvent::Ok, 60_000);
        core.steered(&[Steer::Pause(Reach::default())], 60_000);
        stops(&mut core, READ, 60_000, Stop::Paused);
        stops(&mut core, DIRECT, 60_000, Stop::Paused);
        core.stop();
        stops(&mut core, READ, 60_000, Stop::Ending);
    }
}
