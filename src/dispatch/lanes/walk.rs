//! Finds lanes that are not here: walks over the table, lane after lane, one for each app and rank.
//!
//! A round goes by name and meets all lanes. In a round of more than one piece most pieces go by the age of the jobs
//! instead, as long as they find lanes that come in: whoever waits longest is found sooner then, and what is read and
//! written together lies together in the table. Nothing is concluded from those.
//! A walk goes on while it may find a lane that has room; then it rests where it is. What has no room
//! is looked at all the same, one piece a second over all: what was known of it may have changed.
//! So a window full of lanes that cannot go costs no more than that, however many are outside.

use std::collections::HashSet;

use super::places::{Outside, Sort, sort_of};
use super::{Lanes, RANKS, SLOTS, rank_index};
use crate::job::Head;
use crate::store::{Age, Cursor, Piece};

/// Gap between pieces that are read without room.
const SLOW_MS: i64 = 1000;

/// Pieces by age between two by name, which alone bring a round to its end.
const AGED: u32 = 7;
/// Pieces by age in a row that may bring in less than half of what they read: the oldest jobs may be those that are
/// here, and somebody else's, for as long as the window is.
const UNPAID: u32 = 16;

/// A walk over the lanes of one app and rank.
#[derive(Debug)]
pub(super) struct Ring {
    cursor: Cursor,
    /// By age; none: not in this round, or not any more.
    age: Option<Age>,
    /// Pieces by age until the next one by name.
    aged: u32,
    /// Of the last pieces by age, how many found too few.
    unpaid: u32,
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
            age: None,
            aged: 0,
            unpaid: 0,
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

    /// No round is under way: the next one begins at the first name.
    fn begin_again(&mut self) {
        self.looking = Outside::default();
        self.cursor = Cursor::default();
        self.age = None;
        self.aged = 0;
        self.unpaid = 0;
    }

    /// Where its next piece begins.
    fn next(&mut self) -> Cursor {
        match self.age {
            Some(age) if self.aged > 0 => {
                self.aged -= 1;
                Cursor::Age(age)
            }
            Some(_) | None => self.cursor.clone(),
        }
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
                ring.begin_again();
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
            cursor: ring.next(),
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
    pub(in crate::dispatch) fn walked(&mut self, walk: &Walk, piece: Piece, wall_ms: i64) {
        let rank = usize::try_from(walk.rank).unwrap_or(2);
        let ring = &mut self.rings[walk.app][rank];
        ring.reading = false;
        let stale = std::mem::take(&mut ring.stale);
        let mut came: u32 = 0;
        for lane in piece.lanes {
            let name = (walk.app, lane.lane);
            let Some(head) = lane.head.filter(|_| !self.holds(&name)) else {
                continue;
            };
            let sort = sort_of(&head);
            if self.places[walk.app].admits(sort) && !stale.contains(&name.1) {
                came += 1;
                self.put(name, head, lane.other, wall_ms);
            } else {
                self.rings[walk.app][rank].leave_out(&name.1, Some(sort));
            }
        }
        let ring = &mut self.rings[walk.app][rank];
        match (&walk.cursor, piece.next) {
            (Cursor::Name(first), Some(next)) => {
                if first.is_empty() {
                    ring.age = Some(Age::default());
                }
                ring.aged = AGED;
                ring.cursor = next;
            }
            (Cursor::Name(_), None) => ring.begin_again(),
            (Cursor::Age(_), next) => {
                ring.unpaid = match came >= walk.limit / 2 {
                    true => 0,
                    false => ring.unpaid + 1,
                };
                ring.age = match next {
                    Some(Cursor::Age(age)) if ring.unpaid <= UNPAID => Some(age),
                    Some(_) | None => None,
                };
            }
        }
    }

    /// A walk could not be read.
    pub(in crate::dispatch) fn walk_failed(&mut self, walk: &Walk) {
        let rank = usize::try_from(walk.rank).unwrap_or(2);
        self.rings[walk.app][rank].reading = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::{AppId, Kind, Priority};
    use crate::store::LaneHead;

    /// Lanes whose names go from the newest job to the oldest.
    fn table(lanes: i64) -> Vec<Head> {
        let head = |seq| Head {
            seq,
            app: AppId(1),
            lane: format!("oc_{:03}", lanes - seq).into_boxed_str(),
            kind: Kind::Send,
            verify: false,
            priority: Priority::Normal,
            tried: false,
            due_ms: 0,
            since_ms: 0,
            receiver: None,
            message: None,
            size: 0,
            weight: 1,
            unknown: None,
        };
        (1..=lanes).map(head).collect()
    }

    /// Answers a piece of four as the store does; by age, that many jobs are read from `first` on.
    fn answer(table: &[Head], walk: &Walk) -> Piece {
        let mut heads: Vec<&Head> = table.iter().filter(|_| walk.rank == 2).collect();
        heads.sort_by_key(|head| match &walk.cursor {
            Cursor::Name(_) => (0, head.lane.clone()),
            Cursor::Age(_) => (head.seq, Box::default()),
        });
        heads.retain(|head| match &walk.cursor {
            Cursor::Name(after) => *head.lane > **after,
            Cursor::Age(age) => head.seq > age.seq,
        });
        heads.truncate(walk.limit as usize);
        let last = heads
            .last()
            .filter(|_| heads.len() == walk.limit as usize)
            .map(|last| match &walk.cursor {
                Cursor::Name(_) => Cursor::Name(last.lane.to_string()),
                Cursor::Age(_) => Cursor::Age(Age {
                    deadline_ms: 0,
                    seq: last.seq,
                }),
            });
        let lanes = heads.into_iter().map(|head| LaneHead {
            app: head.app,
            lane: head.lane.clone(),
            head: Some(head.clone()),
            other: None,
        });
        Piece {
            lanes: lanes.collect(),
            next: last,
        }
    }

    /// A round over all ranks; how the pieces of the table's rank went.
    fn round(lanes: &mut Lanes, table: &[Head]) -> String {
        let mut went = String::new();
        while let Some(walk) = lanes.next_walk(4, 0, |_| false) {
            assert!(went.len() < 200, "it never ends: {went}");
            if walk.rank == 2 {
                went.push(match walk.cursor {
                    Cursor::Name(_) => 'n',
                    Cursor::Age(_) => 'a',
                });
            }
            assert!(!lanes.knows_all(walk.app), "not before it ends");
            lanes.walked(&walk, answer(table, &walk), 0);
        }
        assert!(lanes.knows_all(0));
        went
    }

    #[test]
    fn a_long_round_goes_by_age_while_that_finds_somebody_and_ends_by_name() {
        let mut lanes = Lanes::new(1);
        // Four by name, which are the newest; 28 by age; four by name; one more by age, until there is none.
        assert_eq!(round(&mut lanes, &table(40)), "naaaaaaanaaaannnnnnnnn");
        assert_eq!(lanes.len(), 40);
    }

    #[test]
    fn whoever_waits_longest_comes_in_first() {
        let (mut lanes, table) = (Lanes::new(1), table(400));
        let mut pieces = 0;
        while pieces < 3 {
            let walk = lanes.next_walk(4, 0, |_| false).unwrap();
            pieces += u32::from(walk.rank == 2);
            lanes.walked(&walk, answer(&table, &walk), 0);
        }
        let here = table
            .iter()
            .filter(|head| lanes.holds(&(0, head.lane.clone())));
        let here: Vec<i64> = here.map(|head| head.seq).collect();
        assert_eq!(here, [1, 2, 3, 4, 5, 6, 7, 8, 397, 398, 399, 400]);
    }

    #[test]
    fn a_short_round_goes_by_name_and_one_whose_lanes_are_here_soon_does() {
        let mut lanes = Lanes::new(1);
        assert_eq!(round(&mut lanes, &table(3)), "n");
        let (mut lanes, table) = (Lanes::new(1), table(400));
        for head in &table[..200] {
            lanes.put((0, head.lane.clone()), head.clone(), None, 0);
        }
        // Fifty pieces by age would be for nothing: seventeen are.
        let aged = format!("n{0}n{0}naaa", "a".repeat(7));
        assert_eq!(round(&mut lanes, &table), aged + &"n".repeat(98));
        assert_eq!(lanes.len(), 400);
    }
}
