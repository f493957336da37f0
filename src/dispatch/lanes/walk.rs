//! Finds lanes that are not here: walks over the table, lane after lane, one for each app and rank.
//!
//! A walk goes on while it may find a lane that has room; then it rests where it is. What has no room
//! is looked at all the same, one piece a second over all: what was known of it may have changed.
//! So a window full of lanes that cannot go costs no more than that, however many are outside.

use std::collections::HashSet;

use super::places::{Outside, Sort, sort_of};
use super::{Lanes, RANKS, SLOTS, rank_index};
use crate::job::Head;
use crate::store::{Cursor, LaneHead};

/// Gap between pieces that are read without room.
const SLOW_MS: i64 = 1000;

/// A walk over the lanes of one app and rank.
#[derive(Debug)]
pub(super) struct Ring {
    cursor: Cursor,
    /// What this round looks for; nothing: none is under way.
    looking: Outside,
    /// What was left out since it began: for the next one.
    outside: Outside,
    /// A read is under way, and these lanes changed meanwhile.
    pub(super) reading: bool,
    stale: HashSet<Box<str>>,
}

impl Default for Ring {
    /// Nothing was looked at yet.
    fn default() -> Ring {
        Ring {
            cursor: Cursor::default(),
            looking: Outside::default(),
            outside: Outside::anybody(),
            reading: false,
            stale: HashSet::new(),
        }
    }
}

impl Ring {
    /// Every lane was seen, and none was left out since.
    pub(super) fn is_complete(&self) -> bool {
        self.looking.is_empty() && self.outside.is_empty()
    }

    /// That lane has a job and no place here.
    pub(super) fn leave_out(&mut self, lane: &str, sort: Option<Sort>) {
        self.outside.add(sort);
        if self.reading {
            self.stale.insert(lane.into());
        }
    }
}

/// The next piece of a walk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::dispatch) struct Walk {
    pub(in crate::dispatch) app: usize,
    pub(in crate::dispatch) rank: i64,
    pub(in crate::dispatch) cursor: Cursor,
    pub(in crate::dispatch) limit: u32,
}

impl Lanes {
    /// Is every lane of this app that has a job here? Then a lane that is not here has none.
    pub(in crate::dispatch) fn knows_all(&self, app: usize) -> bool {
        self.rings[app].iter().all(Ring::is_complete)
    }

    pub(super) fn leave_out(&mut self, app: usize, head: &Head) {
        self.rings[app][rank_index(head)].leave_out(&head.lane, Some(sort_of(head)));
    }

    /// Lanes of this app that were not wanted before are: they are found from the first one on.
    /// One of them may stand behind a job that is under way: that one's end reads its lane.
    pub(in crate::dispatch) fn walk_again(&mut self, app: usize) {
        let here = self.lanes.values_mut();
        here.filter(|lane| lane.name.0 == app)
            .for_each(|lane| lane.alone = false);
        for ring in &mut self.rings[app] {
            ring.outside.add(None);
            // A piece that is being read goes on from where it is, and another round follows.
            if !ring.reading {
                ring.looking = Outside::default();
                ring.cursor = Cursor::default();
            }
        }
    }

    /// The next piece of a walk that is worth reading at `steady_ms`: apps in turn, high first.
    /// `asleep`: nobody of that app may go.
    pub(in crate::dispatch) fn next_walk(
        &mut self,
        limit: u32,
        steady_ms: i64,
        asleep: impl Fn(usize) -> bool,
    ) -> Option<Walk> {
        if self.rings.iter().flatten().any(|ring| ring.reading) {
            return None;
        }
        let found = self.worth_reading(&asleep).or_else(|| {
            (steady_ms >= self.slow_ms)
                .then(|| self.resting(&asleep))
                .flatten()
                .inspect(|_| self.slow_ms = steady_ms + SLOW_MS)
        });
        let (app, rank) = found?;
        self.next_app = app + 1;
        self.walks = self.walks.wrapping_add(u32::from(rank > 1));
        let ring = &mut self.rings[app][rank];
        if ring.looking.is_empty() {
            ring.looking = std::mem::take(&mut ring.outside);
        }
        ring.reading = true;
        ring.stale.clear();
        Some(Walk {
            app,
            rank: rank as i64,
            cursor: ring.cursor.clone(),
            limit,
        })
    }

    /// Could the next piece of a walk be read now, and might it find somebody there is room for?
    pub(in crate::dispatch) fn wants_walk(&self, asleep: impl Fn(usize) -> bool) -> bool {
        let reading = self.rings.iter().flatten().any(|ring| ring.reading);
        !reading && self.worth_reading(&asleep).is_some()
    }

    fn worth_reading(&self, asleep: &impl Fn(usize) -> bool) -> Option<(usize, usize)> {
        // Low has its turn here as well: there may always be more of normal than there is room.
        let [third, fourth] = match self.walks % SLOTS == SLOTS - 1 {
            false => [2, 3],
            true => [3, 2],
        };
        let apps = self.rings.len();
        let in_turn = (0..apps).map(|n| (self.next_app + n) % apps);
        in_turn
            .filter(|app| !asleep(*app))
            .flat_map(|app| [1, 0, third, fourth].map(|rank| (app, rank)))
            .find(|(app, rank)| {
                let (ring, places) = (&self.rings[*app][*rank], &self.places[*app]);
                ring.looking.is_wanted(places) || ring.outside.is_wanted(places)
            })
    }

    /// A walk that rests for want of room; each in turn.
    fn resting(&mut self, asleep: &impl Fn(usize) -> bool) -> Option<(usize, usize)> {
        let all = self.rings.len() * RANKS;
        let in_turn = (0..all).map(|n| (self.next_slow + n) % all);
        let at = in_turn
            .filter(|at| !asleep(at / RANKS))
            .find(|at| !self.rings[at / RANKS][at % RANKS].is_complete())?;
        self.next_slow = at + 1;
        Some((at / RANKS, at % RANKS))
    }

    /// What a piece of a walk found.
    pub(in crate::dispatch) fn walked(&mut self, walk: &Walk, found: Vec<LaneHead>, wall_ms: i64) {
        let rank = usize::try_from(walk.rank).unwrap_or(2);
        let ring = &mut self.rings[walk.app][rank];
        ring.reading = false;
        let stale = std::mem::take(&mut ring.stale);
        match found.last() {
            Some(last) if found.len() >= walk.limit as usize => {
                ring.cursor = Cursor(last.lane.to_string());
            }
            Some(_) | None => {
                ring.cursor = Cursor::default();
                ring.looking = Outside::default();
            }
        }
        for lane in found {
            let name = (walk.app, lane.lane);
            let Some(head) = lane.head.filter(|_| !self.holds(&name)) else {
                continue;
            };
            let sort = sort_of(&head);
            if self.places[walk.app].admits(sort) && !stale.contains(&name.1) {
                self.put(name, head, lane.other, wall_ms);
            } else {
                self.rings[walk.app][rank].leave_out(&name.1, Some(sort));
            }
        }
    }

    /// A walk could not be read.
    pub(in crate::dispatch) fn walk_failed(&mut self, walk: &Walk) {
        let rank = usize::try_from(walk.rank).unwrap_or(2);
        self.rings[walk.app][rank].reading = false;
    }
}
