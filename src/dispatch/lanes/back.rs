//! The wall clock was set back: whoever waits for a retry waits no longer for it.
//!
//! A schedule is a wall-clock time and stays one; a retry's delay is a stretch of time, kept as a
//! wall-clock time only because that survives a restart.

use super::{Lane, Lanes, Place, Until};

impl Lanes {
    /// The wall clock reads this now.
    pub(super) fn reads(&mut self, wall_ms: i64) {
        let back_ms = self.wall_ms.saturating_sub(wall_ms);
        self.wall_ms = wall_ms;
        if back_ms <= 0 {
            return;
        }
        for (mut ms, slot) in std::mem::take(&mut self.by_wall) {
            if let Some(Lane {
                place: Place::Waiting { head, until, .. },
                ..
            }) = self.lanes.get_mut(&slot)
                && head.tried
            {
                ms = ms.saturating_sub(back_ms);
                head.due_ms = head.due_ms.min(ms);
                *until = Until::Wall(ms);
            }
            self.by_wall.insert((ms, slot));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::LaneName;
    use super::*;
    use crate::job::{AppId, Head, Kind, Priority};
    use crate::store::LaneHead;

    const DUE_MS: i64 = 2_000_000;
    const BACK_MS: i64 = 1_200_000;

    /// When the lanes wake that have a head due a minute after `DUE_MS`, read when the clock showed that.
    fn wakes(tried: bool) -> Option<i64> {
        let mut lanes = Lanes::new(1);
        let name: LaneName = (0, "oc_a".into());
        let head = Head {
            seq: 1,
            app: AppId(1),
            lane: name.1.clone(),
            kind: Kind::Send,
            verify: false,
            priority: Priority::Normal,
            tried,
            due_ms: DUE_MS + 60_000,
            since_ms: 0,
            receiver: None,
            message: None,
            size: 1,
            weight: 1,
            unknown: None,
        };
        lanes.wake(DUE_MS, 0);
        lanes.ask(name.clone());
        lanes.take_reads();
        let found = LaneHead {
            app: AppId(1),
            lane: name.1,
            head: Some(head),
            other: None,
        };
        lanes.read(0, found, DUE_MS);
        lanes.wake(DUE_MS - BACK_MS, 0);
        lanes.next_wake().0
    }

    #[test]
    fn a_retry_is_as_far_off_as_before_and_a_schedule_is_a_time_of_day() {
        assert_eq!(wakes(true), Some(DUE_MS - BACK_MS + 60_000));
        assert_eq!(wakes(false), Some(DUE_MS + 60_000));
    }
}
