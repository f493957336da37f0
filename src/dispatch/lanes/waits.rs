//! Since when lanes wait: for those who look, never for who goes.
//!
//! A lane waits for its first job, and while that is being attempted as well. While the next one is
//! not known yet it counts as the one before, so an age has no gaps; a job that is tried again keeps
//! the age that it had.

use super::{Lane, Lanes, Place, Slot, Until};
use crate::job::Head;

/// What fell due within this waits for nothing yet: else every lane of a busy relay would be named.
const AT_ONCE_MS: i64 = 1000;

/// The job that a lane waits for, or did last, by number, and when it fell due; none: it is not known.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Waits(Option<(i64, i64)>);

impl Waits {
    /// For that job. Read anew it knows only its acceptance, which a delay or another job may stand after.
    pub(super) fn are_for(&mut self, head: &Head) {
        let before = self.0.filter(|(seq, _)| *seq == head.seq);
        let since_ms = before.map_or(head.since_ms, |(_, ms)| ms.max(head.since_ms));
        self.0 = Some((head.seq, since_ms));
    }
}

impl Lane {
    /// When its first job fell due, if that is over.
    fn waits_since(&self, wall_ms: i64) -> Option<i64> {
        let (_, since_ms) = self.waits.0?;
        let later = matches!(
            self.place,
            Place::Waiting {
                until: Until::Wall(_),
                ..
            }
        ) && since_ms > wall_ms;
        // A clock that was set back makes nobody disappear.
        let new = (0..AT_ONCE_MS).contains(&wall_ms.saturating_sub(since_ms));
        (!later && !new).then_some(since_ms)
    }
}

impl Lanes {
    pub(super) fn waits_for(&mut self, slot: Slot, head: &Head) {
        if let Some(lane) = self.lanes.get_mut(&slot) {
            lane.waits.are_for(head);
        }
    }

    /// The lanes that wait longest, longest first, with when their first job fell due.
    pub(in crate::dispatch) fn longest(
        &self,
        most: usize,
        wall_ms: i64,
    ) -> Vec<(usize, Box<str>, i64)> {
        let mut list: Vec<(i64, &Lane)> = self
            .lanes
            .values()
            .filter_map(|lane| Some((lane.waits_since(wall_ms)?, lane)))
            .collect();
        list.sort_by_key(|(since_ms, _)| *since_ms);
        list.truncate(most);
        let told = list.into_iter();
        told.map(|(since_ms, lane)| (lane.name.0, lane.name.1.clone(), since_ms))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::LaneName;
    use super::*;
    use crate::job::{AppId, Kind, Priority};
    use crate::store::LaneHead;

    const HOUR_MS: i64 = 3_600_000;

    fn head(seq: i64, due_ms: i64) -> Head {
        Head {
            seq,
            app: AppId(1),
            lane: "oc_a".into(),
            kind: Kind::Send,
            verify: false,
            priority: Priority::Normal,
            tried: false,
            due_ms,
            since_ms: due_ms,
            receiver: None,
            message: None,
            size: 1,
            weight: 1,
            unknown: None,
        }
    }

    /// The same job after an attempt, as the table has it.
    fn again(head: &Head, due_ms: i64, since_ms: i64) -> Head {
        Head {
            tried: true,
            due_ms,
            since_ms,
            ..head.clone()
        }
    }

    fn name() -> LaneName {
        (0, "oc_a".into())
    }

    /// One lane, which is being read.
    fn lanes() -> Lanes {
        let mut lanes = Lanes::new(1);
        lanes.ask(name());
        lanes
    }

    fn read(lanes: &mut Lanes, head: Option<&Head>, wall_ms: i64) {
        lanes.take_reads();
        let found = LaneHead {
            app: AppId(1),
            lane: name().1,
            head: head.cloned(),
            other: None,
        };
        lanes.read(0, found, wall_ms);
    }

    /// Its first job goes.
    fn begin(lanes: &mut Lanes, wall_ms: i64) {
        lanes.wake(wall_ms, wall_ms);
        let slot = lanes.names[&name()];
        assert!(lanes.begin(slot).is_some());
    }

    fn since(lanes: &Lanes, wall_ms: i64) -> Option<i64> {
        let list = lanes.longest(10, wall_ms);
        assert!(list.len() < 2);
        list.first().map(|(_, _, since_ms)| *since_ms)
    }

    #[test]
    fn an_age_has_no_gap_while_jobs_go_one_after_another() {
        let (one, two) = (head(1, 0), head(2, 50));
        let mut lanes = lanes();
        assert_eq!(since(&lanes, 5_000), None, "nobody knows who stands there");
        read(&mut lanes, Some(&one), 5_000);
        assert_eq!(since(&lanes, 5_000), Some(0));
        begin(&mut lanes, 6_000);
        assert_eq!(since(&lanes, 6_000), Some(0), "under way");
        lanes.ended(&name(), 1, true);
        assert_eq!(since(&lanes, 6_100), Some(0), "who is next is being read");
        read(&mut lanes, Some(&two), 6_200);
        assert_eq!(since(&lanes, 6_200), Some(50));
        let slot = lanes.names[&name()];
        lanes.hold_back(slot, 7_000);
        assert_eq!(since(&lanes, 6_300), Some(50), "its window is full");
        begin(&mut lanes, 7_000);
        lanes.ended(&name(), 2, true);
        read(&mut lanes, None, 7_100);
        assert_eq!(since(&lanes, 7_100), None);
    }

    #[test]
    fn a_job_that_is_tried_again_is_as_old_as_before() {
        // Accepted at 0 and due an hour later.
        let delayed = head(1, HOUR_MS);
        let mut lanes = lanes();
        read(&mut lanes, Some(&delayed), HOUR_MS);
        let mut now = HOUR_MS;
        for _ in 0..3 {
            now += 60_000;
            begin(&mut lanes, now);
            lanes.ended(&name(), 1, false);
            read(&mut lanes, Some(&again(&delayed, now + 30_000, 0)), now);
            assert_eq!(since(&lanes, now), Some(HOUR_MS));
        }
    }

    #[test]
    fn a_question_that_is_put_again_is_due_anew() {
        let mut lanes = lanes();
        let mut question = head(1, 0);
        question.kind = Kind::ReadUsers;
        read(&mut lanes, Some(&question), 2_000);
        begin(&mut lanes, 2_000);
        lanes.ended(&name(), 1, false);
        let next = again(&question, 60_000, 60_000);
        read(&mut lanes, Some(&next), 3_000);
        assert_eq!(since(&lanes, 3_000), None, "it is not due");
        lanes.wake(62_000, 62_000);
        assert_eq!(since(&lanes, 62_000), Some(60_000));
    }

    #[test]
    fn what_goes_at_once_waits_for_nothing() {
        let mut lanes = Lanes::new(1);
        lanes.occupy(name(), &head(1, 10_000));
        assert_eq!(since(&lanes, 10_500), None);
        assert_eq!(since(&lanes, 13_000), Some(10_000), "a slow answer");
        assert_eq!(since(&lanes, 9_000), Some(10_000), "the clock was set back");
    }

    #[test]
    fn those_who_wait_longest_are_told_first() {
        let mut lanes = Lanes::new(1);
        for seq in 0..5 {
            let mut head = head(seq, 100 - seq);
            head.lane = format!("oc_{seq}").into();
            lanes.occupy((0, head.lane.clone()), &head);
        }
        let told = lanes.longest(2, 10_000);
        let names: Vec<&str> = told.iter().map(|(_, lane, _)| &**lane).collect();
        assert_eq!(names, ["oc_4", "oc_3"]);
    }
}
