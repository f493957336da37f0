//! How long the loop has nothing to do, and what does not wait for that.
//!
//! Jobs that come in while an app is on hold or a window is full change nothing that the loop could act on
//! before it looks again by itself: nobody is woken for them.

use super::{Core, FLIGHTS_MAX};

impl Core {
    /// How long there is nothing to do, milliseconds; the loop sleeps for it.
    pub(in crate::dispatch) fn rest(&mut self, wall_ms: i64, steady_ms: i64) -> i64 {
        let rest_ms = self.next_ms(wall_ms, steady_ms);
        self.rests_until_ms = steady_ms + rest_ms;
        rest_ms
    }

    /// Is there something to do before the loop looks again by itself?
    pub(in crate::dispatch) fn must_wake(&self, wall_ms: i64, steady_ms: i64) -> bool {
        let next_ms = steady_ms + self.next_ms(wall_ms, steady_ms);
        next_ms < self.rests_until_ms
            || steady_ms >= self.rests_until_ms
            || self.may_pick(steady_ms)
            || self.lanes.wants_reads()
            || self.lanes.wants_walk(self.asleep())
    }

    /// With as many under way as there may be, the next answer wakes the loop.
    fn may_pick(&self, steady_ms: i64) -> bool {
        let mut groups = self.lanes.groups().into_iter();
        self.flights.len() < FLIGHTS_MAX
            && groups.any(|group| {
                let closed = self.closed.get(&group).copied().unwrap_or_default();
                let high_only = closed.low_ms > steady_ms;
                let mut candidates = self.lanes.candidates(group, high_only);
                closed.all_ms <= steady_ms && candidates.next().is_some()
            })
    }

    /// When something may change by time alone, milliseconds from now.
    pub(in crate::dispatch) fn next_ms(&self, wall_ms: i64, steady_ms: i64) -> i64 {
        let (wall, steady) = self.lanes.next_wake();
        let lanes = [wall.map(|ms| ms - wall_ms), steady.map(|ms| ms - steady_ms)];
        let closed = self
            .closed
            .values()
            .flat_map(|closed| [closed.all_ms, closed.low_ms])
            .filter(|ms| *ms > steady_ms)
            .map(|ms| Some(ms - steady_ms));
        lanes
            .into_iter()
            .chain(closed)
            .chain([self.calls.next_ms().map(|ms| ms - steady_ms)])
            .flatten()
            .min()
            .unwrap_or(1000)
            .clamp(1, 1000)
    }
}

#[cfg(test)]
mod tests {
    use crate::dispatch::core::{AppPlace, Core};
    use crate::dispatch::pace::Limits;
    use crate::job::{AppId, Head, Kind, Priority, Reach, Steer};
    use crate::store::Piece;

    /// One app that may send so many a minute, whose lanes are all known to be empty, and whose loop rests.
    fn core(app_minute: u32) -> Core {
        let limits = Limits {
            app_minute,
            app_second: 0,
            chat_second: 0,
            user_second: 0,
        };
        let mut core = Core::new(vec![AppPlace {
            id: AppId(1),
            name: String::from("ops"),
            tenant: 0,
            base: 0,
            limits,
            timeout_ms: 10_000,
        }]);
        core.start(&[], &[], &[], 0, 0);
        while let Some(walk) = core.next_walk(1000, 0) {
            core.walked(&walk, Piece::default(), 0);
        }
        turn(&mut core, 0);
        core
    }

    /// The loop looks: who goes, then how long it rests.
    fn turn(core: &mut Core, now: i64) -> Vec<i64> {
        let went = core.pick(now, now);
        core.rest(now, now);
        went
    }

    fn head(seq: i64, priority: Priority) -> Head {
        Head {
            seq,
            app: AppId(1),
            lane: format!("oc_{seq}").into(),
            kind: Kind::Send,
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

    fn stands(core: &mut Core, head: Head, now: i64) -> bool {
        core.stood(head, now);
        core.must_wake(now, now)
    }

    #[test]
    fn nobody_is_woken_for_an_app_on_hold() {
        let mut core = core(0);
        let all = Reach::default();
        core.steered(&[Steer::Pause(all.clone())], 0);
        turn(&mut core, 0);
        for seq in 0..100 {
            assert!(!stands(&mut core, head(seq, Priority::High), 1), "{seq}");
        }
        core.steered(&[Steer::Resume(all)], 2);
        assert!(core.must_wake(2, 2), "they must be found");
    }

    #[test]
    fn a_full_window_wakes_nobody_but_for_whom_a_slot_is_kept() {
        let mut core = core(50);
        for seq in 0..50 {
            core.stood(head(seq, Priority::Normal), 0);
        }
        assert_eq!(turn(&mut core, 0).len(), 48, "two are kept for high");
        assert!(!stands(&mut core, head(50, Priority::Normal), 1));
        assert!(!stands(&mut core, head(51, Priority::Low), 1));
        assert!(stands(&mut core, head(52, Priority::High), 1));
        assert_eq!(turn(&mut core, 1), [52]);
    }

    #[test]
    fn what_can_go_or_falls_due_before_the_loop_looks_wakes_it() {
        let mut core = core(0);
        let soon = Head {
            due_ms: 500,
            ..head(1, Priority::Normal)
        };
        assert!(stands(&mut core, soon, 0), "it would sleep until 1000");
        turn(&mut core, 0);
        let later = Head {
            due_ms: 600,
            ..head(2, Priority::Normal)
        };
        assert!(!stands(&mut core, later, 0), "it looks at 500");
        assert!(stands(&mut core, head(3, Priority::Normal), 0));
        assert_eq!(turn(&mut core, 0), [3]);
        assert!(core.must_wake(9_000, 9_000), "it slept for too long");
    }
}
