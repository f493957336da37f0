//! The bounded window of lane heads: one job a lane, picked in O(log n) whatever the backlog.
//!
//! The table is the truth; this is what was read of it. A lane is here at most once: ready, waiting
//! for its time, or busy. Lanes that did not fit (`places`) are found again by walking the table lane
//! after lane (`walk`); while any may be missing, nothing may be concluded from a lane's absence.
//! Pure: times come in. Not here: windows, pauses and breakers (`core`), reading the table (`run`).

mod back;
mod places;
mod waits;
mod walk;

pub(super) use walk::Walk;

use std::collections::{BTreeSet, HashMap, HashSet};

use feishu_im::Api;

use crate::dispatch::bots::Bots;
use crate::job::{Head, Priority};
use crate::store::LaneHead;
use places::{Places, Sort, sort_of};
use waits::Waits;
use walk::Ring;

/// Lanes held at once, over all apps; a few hundred bytes each.
pub(super) const WINDOW: usize = 4096;
/// Of eight slots one goes to the oldest job of a lower priority.
const SLOTS: u32 = 8;
/// A retry is never further off than this, however the clocks were set.
const RETRY_MAX_MS: i64 = 10 * 60_000;
/// A job with an unknown outcome that is due within this probes; a new one stays out of it.
const DOUBT_SOON_MS: i64 = 30_000;
/// Ranks of the table: tried, high, normal, low.
pub(super) const RANKS: usize = 4;

/// The lanes of a priority that has none.
static NOBODY: BTreeSet<(u64, Slot)> = BTreeSet::new();

/// An app's place in the config, and a lane of it.
pub(super) type LaneName = (usize, Box<str>);
/// Calls that share windows: of an app, or of a custom bot (`bots`).
pub(super) type Group = (usize, Api);
/// A lane's place in the window.
pub(super) type Slot = u32;

#[derive(Debug)]
struct Lane {
    name: LaneName,
    place: Place,
    /// As what it has its place; none: it was never read.
    sort: Option<Sort>,
    waits: Waits,
    /// When it was served last, or came in: the smaller goes first.
    order: u64,
    /// How often it was served since a lower priority was.
    served: u32,
    /// Nobody stands behind its first job: the lane had none before, and none came since.
    alone: bool,
}

#[derive(Debug)]
enum Place {
    /// In the set of that group. It is kept, for bots come and go: asked for later, it may be another.
    Ready {
        head: Head,
        other: Option<Head>,
        group: Group,
    },
    /// In the set of times: not before that wall-clock or steady time.
    Waiting {
        head: Head,
        other: Option<Head>,
        until: Until,
    },
    /// Its job is being marked or sent; whoever came in meanwhile is read afterwards.
    Busy { seq: i64 },
    /// Its next job is being read; it was served, or it was asked for.
    Reading { served: bool },
}

/// A time on one of the two clocks, milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Until {
    /// A job's own time.
    Wall(i64),
    /// A window's.
    Steady(i64),
}

/// Who probes without putting another job in doubt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Doubtful {
    /// This lane.
    Ready(Slot),
    /// One that waits for its time or its window.
    Soon,
}

/// Lanes, and who of them may go.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    pub(super) bots: Bots,
    lanes: HashMap<Slot, Lane>,
    names: HashMap<LaneName, Slot>,
    next_slot: Slot,
    next_order: u64,
    /// As of the last time that anybody said it.
    wall_ms: i64,
    ready: HashMap<Group, [BTreeSet<(u64, Slot)>; 3]>,
    slots: HashMap<Group, u32>,
    by_wall: BTreeSet<(i64, Slot)>,
    by_steady: BTreeSet<(i64, Slot)>,
    /// Both by app.
    places: Vec<Places>,
    rings: Vec<[Ring; RANKS]>,
    /// Pieces that were asked for of the lower ranks.
    walks: u32,
    /// Whose turn it is: of apps, and of walks that rest for want of room, which have it not before then.
    next_app: usize,
    next_slow: usize,
    slow_ms: i64,
    /// Lanes whose next job must be read.
    to_read: Vec<LaneName>,
    /// Lanes that are being read: asked twice, the older answer could be taken for the newer.
    reading: HashSet<LaneName>,
}

fn priority_index(priority: Priority) -> usize {
    match priority {
        Priority::High => 0,
        Priority::Normal => 1,
        Priority::Low => 2,
    }
}

fn rank_index(head: &Head) -> usize {
    if head.tried {
        0
    } else {
        usize::try_from(head.priority.rank()).unwrap_or(2)
    }
}

impl Lanes {
    pub(super) fn new(apps: usize) -> Lanes {
        Lanes {
            bots: Bots::behind(apps),
            places: (0..apps).map(|_| Places::of(apps)).collect(),
            rings: (0..apps).map(|_| Default::default()).collect(),
            ..Lanes::default()
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.lanes.len()
    }

    /// What the call of this job of `app` shares windows with.
    pub(super) fn group(&self, app: usize, head: &Head) -> Group {
        (self.bots.place(app, head).unwrap_or(app), head.api())
    }

    pub(super) fn holds(&self, name: &LaneName) -> bool {
        self.names.contains_key(name)
    }

    /// Groups that have a lane ready.
    pub(super) fn groups(&self) -> Vec<Group> {
        let mut groups: Vec<Group> = self
            .ready
            .iter()
            .filter(|(_, sets)| sets.iter().any(|set| !set.is_empty()))
            .map(|(group, _)| *group)
            .collect();
        groups.sort_unstable();
        groups
    }

    /// A job went into its lane.
    pub(super) fn stood(&mut self, app: usize, head: Head, wall_ms: i64) {
        let name = (app, head.lane.clone());
        let Some(slot) = self.names.get(&name).copied() else {
            let sort = sort_of(&head);
            match self.knows_all(app) {
                true if self.places[app].admits(sort) => {
                    let slot = self.slot(name, Some(sort));
                    self.put_at(slot, head, None, wall_ms);
                    self.alone(slot, true);
                }
                // Who stands first there is not known, but there is room for it: read.
                false if self.places[app].wants_call(sort) => {
                    self.slot(name.clone(), Some(sort));
                    self.to_read.push(name);
                }
                true | false => self.leave_out(app, &head),
            }
            return;
        };
        let Some(lane) = self.lanes.get_mut(&slot) else {
            return;
        };
        let better = match &lane.place {
            Place::Ready { head: first, .. } | Place::Waiting { head: first, .. } => {
                head.order() < first.order() && head.seq != first.seq
            }
            Place::Busy { .. } | Place::Reading { .. } => false,
        };
        // The one that gives way is behind it now.
        if better {
            let behind = match &lane.place {
                Place::Ready { head, other, .. } | Place::Waiting { head, other, .. } => {
                    [Some(head.clone()), other.clone()]
                }
                _ => [None, None],
            };
            let lower = behind.into_iter().flatten();
            let lower = lower.filter(|one| one.order().0 != head.order().0);
            let other = lower.min_by_key(|one| one.seq);
            self.unlink(slot);
            self.put_at(slot, head, other, wall_ms);
        } else if let Place::Ready {
            head: first, other, ..
        }
        | Place::Waiting {
            head: first, other, ..
        } = &mut lane.place
            && other.as_ref().is_none_or(|other| head.seq < other.seq)
            && head.order() > first.order()
            && head.priority != first.priority
        {
            *other = Some(head);
        } else if matches!(lane.place, Place::Reading { .. }) {
            // What is being read may be older than this: read once more.
            self.to_read.push(name);
        }
    }

    /// A newborn begins at once in a lane of its own.
    pub(super) fn occupy(&mut self, name: LaneName, head: &Head) {
        let slot = self.slot(name, Some(sort_of(head)));
        self.place(slot, Place::Busy { seq: head.seq });
        self.waits_for(slot, head);
        self.alone(slot, true);
    }

    fn alone(&mut self, slot: Slot, alone: bool) {
        if let Some(lane) = self.lanes.get_mut(&slot) {
            lane.alone = alone;
        }
    }

    /// Somebody came into this lane, wherever he stands there and whether he may go or not.
    pub(super) fn crowded(&mut self, name: &LaneName) {
        if let Some(slot) = self.names.get(name).copied() {
            self.alone(slot, false);
        }
    }

    fn slot(&mut self, name: LaneName, sort: Option<Sort>) -> Slot {
        if let Some(slot) = self.names.get(&name) {
            return *slot;
        }
        while self.lanes.contains_key(&self.next_slot) {
            self.next_slot = self.next_slot.wrapping_add(1);
        }
        let slot = self.next_slot;
        self.next_slot = self.next_slot.wrapping_add(1);
        self.next_order += 1;
        self.places[name.0].add(sort);
        self.names.insert(name.clone(), slot);
        self.lanes.insert(
            slot,
            Lane {
                name,
                place: Place::Reading { served: false },
                sort,
                waits: Waits::default(),
                order: self.next_order,
                served: 0,
                alone: false,
            },
        );
        slot
    }

    fn place(&mut self, slot: Slot, place: Place) {
        if let Some(lane) = self.lanes.get_mut(&slot) {
            lane.place = place;
        }
    }

    fn put(&mut self, name: LaneName, head: Head, other: Option<Head>, wall_ms: i64) {
        let slot = self.slot(name, Some(sort_of(&head)));
        self.put_at(slot, head, other, wall_ms);
    }

    fn put_at(&mut self, slot: Slot, head: Head, other: Option<Head>, wall_ms: i64) {
        self.reads(wall_ms);
        self.sort(slot, sort_of(&head));
        self.waits_for(slot, &head);
        let due = if head.tried {
            head.due_ms.min(wall_ms + RETRY_MAX_MS)
        } else {
            head.due_ms
        };
        if due > wall_ms {
            self.by_wall.insert((due, slot));
            return self.place(
                slot,
                Place::Waiting {
                    head,
                    other,
                    until: Until::Wall(due),
                },
            );
        }
        let Some(lane) = self.lanes.get(&slot) else {
            return;
        };
        let group = self.group(lane.name.0, &head);
        self.ready.entry(group).or_default()[priority_index(head.priority)]
            .insert((lane.order, slot));
        self.place(slot, Place::Ready { head, other, group });
    }

    /// The lane has its place as that from now on.
    fn sort(&mut self, slot: Slot, sort: Sort) {
        if let Some(lane) = self.lanes.get_mut(&slot) {
            let places = &mut self.places[lane.name.0];
            places.remove(lane.sort.replace(sort));
            places.add(lane.sort);
        }
    }

    /// Takes a lane out of the set it stands in.
    fn unlink(&mut self, slot: Slot) {
        let Some(lane) = self.lanes.get(&slot) else {
            return;
        };
        match &lane.place {
            Place::Ready { head, group, .. } => {
                if let Some(sets) = self.ready.get_mut(group) {
                    sets[priority_index(head.priority)].remove(&(lane.order, slot));
                }
            }
            Place::Waiting {
                until: Until::Wall(ms),
                ..
            } => drop(self.by_wall.remove(&(*ms, slot))),
            Place::Waiting {
                until: Until::Steady(ms),
                ..
            } => drop(self.by_steady.remove(&(*ms, slot))),
            Place::Busy { .. } | Place::Reading { .. } => {}
        }
    }

    /// Lanes whose time has come are ready.
    pub(super) fn wake(&mut self, wall_ms: i64, steady_ms: i64) {
        self.reads(wall_ms);
        while let Some(&(ms, slot)) = self.by_wall.first().filter(|(ms, _)| *ms <= wall_ms) {
            self.by_wall.remove(&(ms, slot));
            self.ready_again(slot, wall_ms);
        }
        while let Some(&(ms, slot)) = self.by_steady.first().filter(|(ms, _)| *ms <= steady_ms) {
            self.by_steady.remove(&(ms, slot));
            self.ready_again(slot, wall_ms);
        }
    }

    fn ready_again(&mut self, slot: Slot, wall_ms: i64) {
        let Some(lane) = self.lanes.get_mut(&slot) else {
            return;
        };
        if let Place::Waiting { head, other, .. } =
            std::mem::replace(&mut lane.place, Place::Reading { served: false })
        {
            let head = Head {
                due_ms: head.due_ms.min(wall_ms),
                ..head
            };
            self.put_at(slot, head, other, wall_ms);
        }
    }

    /// When the next lane may become ready: (wall, steady), milliseconds.
    pub(super) fn next_wake(&self) -> (Option<i64>, Option<i64>) {
        (
            self.by_wall.first().map(|(ms, _)| *ms),
            self.by_steady.first().map(|(ms, _)| *ms),
        )
    }

    /// The lanes of a group in the order in which they may go, best first. `high_only`: only what
    /// may use the reserve. On every eighth slot lower priorities come first: of two the one least
    /// recently served, so that neither starves the other.
    pub(super) fn candidates(
        &self,
        group: Group,
        high_only: bool,
    ) -> impl Iterator<Item = Slot> + '_ {
        let [high, normal, low] = self.sets(group);
        let (merge, [first, second, third]) = match (self.is_turn(group), high.is_empty()) {
            (true, false) => (true, [normal, low, high]),
            (_, _) if high_only => (false, [high, &NOBODY, &NOBODY]),
            (true, true) => (false, [low, normal, &NOBODY]),
            (false, _) => (false, [high, normal, low]),
        };
        let (mut first, mut second) = (first.iter().peekable(), second.iter().peekable());
        let both = std::iter::from_fn(move || match (first.peek(), second.peek()) {
            (Some(a), Some(b)) if merge && b < a => second.next(),
            (Some(_), _) => first.next(),
            (None, _) => second.next(),
        });
        both.chain(third).map(|(_, slot)| *slot)
    }

    /// Is it the turn of a lower priority while `high` waits? Then it may use the reserve as well: a
    /// `high` that takes every slot that falls free would else leave it none.
    pub(super) fn is_turn_of_lower(&self, group: Group) -> bool {
        let [high, normal, low] = self.sets(group);
        self.is_turn(group) && !high.is_empty() && !(normal.is_empty() && low.is_empty())
    }

    fn is_turn(&self, group: Group) -> bool {
        let slots = self.slots.get(&group).copied().unwrap_or(0);
        slots % SLOTS == SLOTS - 1
    }

    fn sets(&self, group: Group) -> [&BTreeSet<(u64, Slot)>; 3] {
        let sets = self.ready.get(&group);
        sets.map_or([&NOBODY; 3], |sets| sets.each_ref())
    }

    /// A lane of the group whose job was already tried with an unknown outcome: it may probe.
    pub(super) fn doubtful(&self, group: Group) -> Option<Doubtful> {
        let soon_ms = self.wall_ms.saturating_add(DOUBT_SOON_MS);
        let mut ready: Option<(u64, Slot)> = None;
        let mut soon = false;
        for (slot, lane) in &self.lanes {
            let ours =
                |head: &Head| head.unknown.is_some() && self.group(lane.name.0, head) == group;
            match &lane.place {
                Place::Ready {
                    head, group: of, ..
                } if *of == group && head.unknown.is_some() => {
                    let this = (lane.order, *slot);
                    ready = Some(ready.map_or(this, |other| other.min(this)));
                }
                Place::Waiting { head, until, .. } if ours(head) => {
                    soon |= match until {
                        Until::Wall(ms) => *ms <= soon_ms,
                        Until::Steady(_) => true,
                    };
                }
                _ => {}
            }
        }
        match ready {
            Some((_, slot)) => Some(Doubtful::Ready(slot)),
            None => soon.then_some(Doubtful::Soon),
        }
    }

    /// The job that the lane would send now: its head, or on its eighth slot the oldest lower one.
    pub(super) fn head(&self, slot: Slot) -> Option<&Head> {
        let lane = self.lanes.get(&slot)?;
        match &lane.place {
            Place::Ready { head, other, group } => match other {
                Some(other)
                    if !head.tried
                        && lane.served % SLOTS == SLOTS - 1
                        && self.group(lane.name.0, other) == *group =>
                {
                    Some(other)
                }
                _ => Some(head),
            },
            Place::Waiting { .. } | Place::Busy { .. } | Place::Reading { .. } => None,
        }
    }

    /// Does `high` wait in that lane, be it behind a lower one whose turn it is? It may use the reserve.
    pub(super) fn is_high(&self, slot: Slot) -> bool {
        let place = self.lanes.get(&slot).map(|lane| &lane.place);
        matches!(place, Some(Place::Ready { head, .. }) if head.priority == Priority::High)
    }

    /// In the sets of which group the lane stands.
    fn standing(&self, slot: Slot) -> Option<Group> {
        match self.lanes.get(&slot)?.place {
            Place::Ready { group, .. } => Some(group),
            Place::Waiting { .. } | Place::Busy { .. } | Place::Reading { .. } => None,
        }
    }

    /// A place that no lane has.
    #[cfg(test)]
    pub(super) fn go_astray(&mut self, group: Group) {
        self.ready.entry(group).or_default()[1].insert((0, Slot::MAX));
    }

    /// Takes out of the group's sets who is there by mistake, and would be first there for good.
    pub(super) fn drop_stray(&mut self, group: Group, slot: Slot) -> bool {
        let stands = self.standing(slot) == Some(group);
        if !stands {
            for set in self.ready.get_mut(&group).into_iter().flatten() {
                set.retain(|(_, one)| *one != slot);
            }
        }
        !stands
    }

    /// The lane's job goes: it is busy until `ended`.
    pub(super) fn begin(&mut self, slot: Slot) -> Option<(LaneName, Head)> {
        let head = self.head(slot)?.clone();
        let group = self.standing(slot)?;
        self.unlink(slot);
        self.next_order += 1;
        let lane = self.lanes.get_mut(&slot)?;
        lane.order = self.next_order;
        lane.served = lane.served.wrapping_add(1);
        lane.place = Place::Busy { seq: head.seq };
        lane.waits.are_for(&head);
        let name = lane.name.clone();
        *self.slots.entry(group).or_default() += 1;
        Some((name, head))
    }

    /// The lane waits for a window of its own.
    pub(super) fn hold_back(&mut self, slot: Slot, until_ms: i64) {
        self.unlink(slot);
        let Some(lane) = self.lanes.get_mut(&slot) else {
            return;
        };
        match std::mem::replace(&mut lane.place, Place::Reading { served: false }) {
            Place::Ready { head, other, .. } => {
                lane.place = Place::Waiting {
                    head,
                    other,
                    until: Until::Steady(until_ms),
                };
                self.by_steady.insert((until_ms, slot));
            }
            place @ (Place::Waiting { .. } | Place::Busy { .. } | Place::Reading { .. }) => {
                lane.place = place
            }
        }
    }

    /// The job of that lane is recorded: its next one must be read, unless it is `gone` from the lane and
    /// nobody is behind it.
    pub(super) fn ended(&mut self, name: &LaneName, seq: i64, gone: bool) {
        let Some(slot) = self.names.get(name).copied() else {
            return;
        };
        let Some(Lane {
            place: Place::Busy { seq: busy },
            alone,
            ..
        }) = self.lanes.get(&slot)
        else {
            return;
        };
        if *busy != seq {
            return;
        }
        if gone && *alone {
            return self.forget(name);
        }
        self.place(slot, Place::Reading { served: true });
        self.to_read.push(name.clone());
    }

    fn forget(&mut self, name: &LaneName) {
        if let Some(slot) = self.names.remove(name) {
            self.unlink(slot);
            if let Some(lane) = self.lanes.remove(&slot) {
                self.places[name.0].remove(lane.sort);
            }
        }
    }

    /// Lanes whose next job must be read now.
    pub(super) fn take_reads(&mut self) -> Vec<LaneName> {
        let names = std::mem::take(&mut self.to_read).into_iter();
        let (later, mut names): (Vec<_>, Vec<_>) =
            names.partition(|name| self.reading.contains(name));
        self.to_read = later;
        names.sort_unstable();
        names.dedup();
        self.reading.extend(names.iter().cloned());
        names
    }

    /// Is there a lane whose next job could be read now?
    pub(super) fn wants_reads(&self) -> bool {
        let mut names = self.to_read.iter();
        names.any(|name| !self.reading.contains(name))
    }

    /// What was read of a lane that had asked for it.
    pub(super) fn read(&mut self, app: usize, lane: LaneHead, wall_ms: i64) {
        let name = (app, lane.lane);
        self.reading.remove(&name);
        let Some(slot) = self.names.get(&name).copied() else {
            return;
        };
        let Some(Lane {
            place: Place::Reading { served },
            ..
        }) = self.lanes.get(&slot)
        else {
            return;
        };
        let served = *served;
        // Of those behind its head only one is known.
        self.alone(slot, false);
        // Somebody came in while this was being read: the answer to the next read decides.
        if self.to_read.contains(&name) {
            return;
        }
        match lane.head {
            None => self.forget(&name),
            // With more lanes than room one that was served makes place, and is found on a later walk.
            Some(head)
                if served && !self.knows_all(app) && !self.places[app].wants(sort_of(&head)) =>
            {
                self.forget(&name);
                self.leave_out(app, &head);
            }
            Some(head) => self.put_at(slot, head, lane.other, wall_ms),
        }
    }

    /// Those lanes could not be read: they are asked for again.
    pub(super) fn read_failed(&mut self, names: Vec<LaneName>) {
        self.reading.retain(|name| !names.contains(name));
        self.to_read.extend(names);
    }

    /// Every lane that is here.
    pub(super) fn names(&self) -> Vec<LaneName> {
        self.names.keys().cloned().collect()
    }

    /// The lane makes room when its first job must wait for a person's word.
    pub(super) fn park(&mut self, name: &LaneName, must: impl Fn(&Head) -> bool) {
        let slot = self.names.get(name);
        let place = slot.and_then(|slot| Some(&mut self.lanes.get_mut(slot)?.place));
        if let Some(Place::Ready { head, other, .. } | Place::Waiting { head, other, .. }) = place {
            match must(head) {
                true => self.forget(name),
                false => drop(other.take_if(|other| must(other))),
            }
        }
    }

    /// Something happened in a lane: if it is not here, or is being read, its first job is read.
    pub(super) fn ask(&mut self, name: LaneName) {
        let here = self.names.get(&name);
        match here.and_then(|slot| self.lanes.get_mut(slot)) {
            // Whoever it is asked for may stand behind the one that is known.
            Some(lane) if !matches!(lane.place, Place::Reading { .. }) => lane.alone = false,
            None if !self.places[name.0].admits_any() => {
                for ring in &mut self.rings[name.0] {
                    ring.leave_out(&name.1, None);
                }
            }
            Some(_) | None => {
                self.slot(name.clone(), None);
                self.to_read.push(name);
            }
        }
    }
}
