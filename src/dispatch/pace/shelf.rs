//! Windows by name: one for each receiver or message that is busy just now.
//!
//! A name nobody sends to has no window, so their number follows the last second's traffic. Two
//! names of one chat (an `ou_` and the `oc_` it turned out to be) are brought together by `merge`.
//! A refusal of Feishu's takes one from what a name may have, unless the last one was a while ago. After a
//! quiet time one more is tried, and then one more every few seconds: who shares a group learns what is left of
//! it with few refusals.
//! Not here: which names a call counts under (`pace`).

use std::collections::HashMap;

use super::super::delay::{RECEIVER_LIMITED, delay_ms};
use super::pause::Pause;
use super::window::{Room, Window};

/// A learned rate is tried one higher after so many calls without a refusal: that costs one if nothing changed.
const TRY_CALLS: i64 = 150;
/// But after so long at least, and at most.
const QUIET_MS: (i64, i64) = (40_000, 100_000);
/// Once that try held, another one is made after so long: there is room again.
const CLIMB_MS: i64 = 5_000;
/// Refusals closer together than this are one piece of news: the calls left together.
const SAME_NEWS_MS: i64 = 1_000;
/// What held for so long after a pause is worth a refusal: what is left lies between two whole numbers, and is
/// nearly the upper one. Sooner, the refusals are in a row: one less, and the pause grows.
const HELD_MS: i64 = 3_000;
const _: () = assert!(SAME_NEWS_MS < HELD_MS && HELD_MS < CLIMB_MS && CLIMB_MS < QUIET_MS.0);
/// A pause from a single refusal is never longer.
const PAUSE_CAP_MS: i64 = 60_000;
/// With fewer windows than this nobody looks for idle ones.
const SWEEP_MIN: usize = 256;

/// A window in a shelf, held by a call under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place(u32);

#[derive(Debug)]
struct Slot {
    window: Window,
    rate: Option<Rate>,
    pause: Pause,
    /// Where this window went when its name turned out to be another's; kept for its open calls.
    moved: Option<Place>,
}

/// A cap below the configured one, and since when.
#[derive(Debug, Clone, Copy)]
struct Rate {
    calls: u32,
    /// The configured cap: a rate that is back there is forgotten.
    full: u32,
    /// In a row.
    refusals: u32,
    since: i64,
    /// The end of the pause after the last of them.
    open_ms: i64,
}

/// All windows of one length, in rows (a tenant's chats, an app's people).
#[derive(Debug)]
pub(super) struct Shelf {
    len_ms: i64,
    rows: Vec<HashMap<Box<str>, Place>>,
    slots: Vec<Slot>,
    free: Vec<Place>,
    /// So many windows, and idle ones are looked for.
    sweep_at: usize,
}

impl Shelf {
    pub(super) fn new(rows: usize, len_ms: i64) -> Self {
        Self {
            len_ms,
            rows: (0..rows).map(|_| HashMap::new()).collect(),
            slots: Vec::new(),
            free: Vec::new(),
            sweep_at: SWEEP_MIN,
        }
    }

    /// When one more call to `name` fits; `cap` 0 = no window, only pauses.
    pub(super) fn room(&mut self, row: usize, name: &str, cap: u32, now: i64) -> Room {
        let Some(place) = self.find(row, name) else {
            return Room::Now;
        };
        let slot = self.slot(place);
        let room = match slot.cap(cap, now) {
            0 => Room::Now,
            cap => slot.window.room(1, cap, now),
        };
        match (room, slot.pause.until(now)) {
            (Room::OnAnswer, _) => Room::OnAnswer,
            (room, None) => room,
            (Room::Now, Some(until)) => Room::At(until),
            (Room::At(ms), Some(until)) => Room::At(ms.max(until)),
        }
    }

    pub(super) fn take(&mut self, row: usize, name: &str, now: i64) -> Place {
        if self.len() >= self.sweep_at {
            self.prune(now);
        }
        let place = self.find_or_add(row, name);
        self.slot(place).window.take(1);
        place
    }

    pub(super) fn answered(&mut self, place: Place, now: i64) {
        let slot = self.slot(place);
        let Some(to) = slot.moved else {
            return slot.window.answered(1, now);
        };
        slot.window.refund(1);
        self.let_go(place);
        self.slot(to).window.answered(1, now);
    }

    pub(super) fn refund(&mut self, place: Place) {
        let slot = self.slot(place);
        slot.window.refund(1);
        if let Some(to) = slot.moved {
            self.let_go(place);
            self.slot(to).window.refund(1);
        }
    }

    /// Feishu refused a call to `name`: it may have one less, unless what it has held since the last refusal, and
    /// is closed until `until_ms`, longer each time as long as refusals go on.
    pub(super) fn limited(&mut self, row: usize, name: &str, cap: u32, until_ms: i64, now: i64) {
        let place = self.find_or_add(row, name);
        let seed = u64::from(place.0) ^ now.unsigned_abs();
        let slot = self.slot(place);
        let calls = slot.cap(cap, now);
        let (refusals, held) = match slot.rate {
            Some(rate) if rate.quiet_ms(now) < SAME_NEWS_MS => (rate.refusals, false),
            Some(rate) if now.saturating_sub(rate.open_ms) < HELD_MS => {
                (rate.refusals.saturating_add(1), false)
            }
            Some(rate) => (1, rate.quiet_ms(now) < rate.try_ms()),
            None => (1, false),
        };
        let wait_ms = delay_ms(seed, refusals, RECEIVER_LIMITED);
        slot.pause
            .extend(until_ms.max(now.saturating_add(wait_ms)), PAUSE_CAP_MS, now);
        slot.rate = Some(Rate {
            // Of calls that left together each refused one was one too many.
            calls: match held {
                true => calls,
                false => calls.saturating_sub(1).max(1),
            },
            full: cap,
            refusals,
            since: now,
            open_ms: slot.pause.until(now).unwrap_or(now),
        });
    }

    /// `from` turned out to be `to`: from now on they share one window.
    pub(super) fn merge(&mut self, from: (usize, &str), to: (usize, &str), now: i64) {
        let Some(old) = self.rows.get_mut(from.0).and_then(|row| row.remove(from.1)) else {
            return;
        };
        let new = self.find_or_add(to.0, to.1);
        if new == old {
            return;
        }
        let fresh = Slot::new(self.len_ms);
        let mut gone = std::mem::replace(self.slot(old), fresh);
        let open = gone.window.open();
        let slot = self.slot(new);
        slot.window.take(open);
        slot.window.absorb_closing(&mut gone.window);
        slot.pause.absorb(&mut gone.pause, now);
        slot.rate = slower(slot.rate, gone.rate);
        gone.moved = Some(new);
        *self.slot(old) = gone;
        self.let_go(old);
    }

    /// Drops every window that holds nothing, is open and has its full rate again.
    pub(super) fn prune(&mut self, now: i64) {
        let Self {
            len_ms,
            rows,
            slots,
            free,
            ..
        } = self;
        for row in rows {
            row.retain(|_, place| {
                let slot = &mut slots[place.0 as usize];
                let idle = slot.is_idle(now);
                if idle {
                    *slot = Slot::new(*len_ms);
                    free.push(*place);
                }
                !idle
            });
            if row.capacity() > 4 * row.len() + 64 {
                row.shrink_to_fit();
            }
        }
        self.sweep_at = (2 * self.len()).max(SWEEP_MIN);
    }

    /// How many windows there are, those that moved and still have open calls included.
    pub(super) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    fn find(&self, row: usize, name: &str) -> Option<Place> {
        self.rows.get(row)?.get(name).copied()
    }

    fn find_or_add(&mut self, row: usize, name: &str) -> Place {
        if let Some(place) = self.find(row, name) {
            return place;
        }
        let slot = Slot::new(self.len_ms);
        let place = match self.free.pop() {
            Some(place) => {
                *self.slot(place) = slot;
                place
            }
            None => {
                self.slots.push(slot);
                Place(u32::try_from(self.slots.len() - 1).expect("fewer windows than calls"))
            }
        };
        self.rows[row].insert(name.into(), place);
        place
    }

    fn slot(&mut self, place: Place) -> &mut Slot {
        &mut self.slots[place.0 as usize]
    }

    /// Frees a moved window once its last open call was given back.
    fn let_go(&mut self, place: Place) {
        let slot = &mut self.slots[place.0 as usize];
        if slot.moved.is_some() && slot.window.is_empty() {
            *slot = Slot::new(self.len_ms);
            self.free.push(place);
        }
    }
}

impl Slot {
    fn new(len_ms: i64) -> Self {
        Self {
            window: Window::new(len_ms),
            rate: None,
            pause: Pause::default(),
            moved: None,
        }
    }

    /// The learned cap, at most the configured one; 0 stays 0.
    fn cap(&mut self, cap: u32, now: i64) -> u32 {
        let Some(rate) = &mut self.rate else {
            return cap;
        };
        rate.since = rate.since.min(now);
        rate.calls_at(now).min(cap)
    }

    fn is_idle(&mut self, now: i64) -> bool {
        self.window.expire(now);
        let recovered = self.rate.is_none_or(|rate| rate.calls_at(now) >= rate.full);
        recovered && self.window.is_empty() && self.pause.until(now).is_none()
    }
}

impl Rate {
    fn quiet_ms(self, now: i64) -> i64 {
        now.saturating_sub(self.since).max(0)
    }

    /// Quiet time after which one more is tried. (A window here is a second.)
    fn try_ms(self) -> i64 {
        (TRY_CALLS * 1_000 / i64::from(self.calls.max(1))).clamp(QUIET_MS.0, QUIET_MS.1)
    }

    fn calls_at(self, now: i64) -> u32 {
        let tried_ms = self.quiet_ms(now).saturating_sub(self.try_ms());
        let steps = if tried_ms < 0 {
            0
        } else {
            1 + tried_ms / CLIMB_MS
        };
        self.calls
            .saturating_add(u32::try_from(steps).unwrap_or(u32::MAX))
    }
}

fn slower(a: Option<Rate>, b: Option<Rate>) -> Option<Rate> {
    match (a, b) {
        (Some(a), Some(b)) => Some(if b.calls < a.calls { b } else { a }),
        (a, b) => a.or(b),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CAP: u32 = 5;

    fn fill(shelf: &mut Shelf, row: usize, name: &str, now: i64) -> Vec<Place> {
        let mut places = Vec::new();
        while shelf.room(row, name, CAP, now) == Room::Now {
            places.push(shelf.take(row, name, now));
        }
        places
    }

    /// How many calls fit at `now`; they are answered at once.
    fn fits(shelf: &mut Shelf, name: &str, now: i64) -> usize {
        let places = fill(shelf, 0, name, now);
        for place in &places {
            shelf.answered(*place, now);
        }
        places.len()
    }

    #[test]
    fn each_name_of_each_row_has_a_window_of_its_own() {
        let mut shelf = Shelf::new(2, 1_000);
        for (row, name) in [(0, "oc_a"), (0, "oc_b"), (1, "oc_a")] {
            assert_eq!(fill(&mut shelf, row, name, 0).len(), 5);
        }
        assert_eq!(shelf.room(0, "oc_a", CAP, 0), Room::OnAnswer);
    }

    #[test]
    fn a_refusal_takes_one_away_and_quiet_time_gives_it_back() {
        let mut shelf = Shelf::new(1, 1_000);
        for now in [0, 2_000, 5_000] {
            shelf.limited(0, "oc_a", CAP, 0, now);
        }
        for (now, rate) in [
            (20_000, 2),
            (79_000, 2),
            (81_000, 3),
            (86_000, 4),
            (91_000, 5),
            (1_000_000, 5),
        ] {
            assert_eq!(fits(&mut shelf, "oc_a", now), rate, "{now}");
        }
        shelf.prune(2_000_000);
        assert_eq!(shelf.len(), 0);
    }

    #[test]
    fn a_try_that_is_refused_waits_the_whole_quiet_time_again() {
        let mut shelf = Shelf::new(1, 1_000);
        shelf.limited(0, "oc_a", CAP, 0, 0);
        shelf.limited(0, "oc_a", CAP, 0, 2_000);
        assert_eq!(fits(&mut shelf, "oc_a", 52_500), 4);
        shelf.limited(0, "oc_a", CAP, 0, 54_000);
        assert_eq!(fits(&mut shelf, "oc_a", 103_000), 3);
        assert_eq!(fits(&mut shelf, "oc_a", 105_000), 4);
    }

    #[test]
    fn a_low_rate_is_tried_less_often() {
        for (refusals, quiet_ms) in [(1, 40_000), (2, 50_000), (3, 75_000), (4, 100_000)] {
            let mut shelf = Shelf::new(1, 1_000);
            for now in 0..refusals {
                shelf.limited(0, "oc_a", CAP, 0, now);
            }
            let rate = 5 - refusals as usize;
            assert_eq!(fits(&mut shelf, "oc_a", quiet_ms - 1_100), rate);
            assert_eq!(fits(&mut shelf, "oc_a", quiet_ms + 100), rate + 1);
        }
    }

    /// Of 2.8 places a second three are there four times of five.
    #[test]
    fn what_held_for_some_seconds_is_worth_a_refusal() {
        let mut shelf = Shelf::new(1, 1_000);
        shelf.limited(0, "oc_a", CAP, 0, 0);
        for now in [6_000, 12_000, 18_000] {
            shelf.limited(0, "oc_a", CAP, 0, now);
            assert_eq!(fits(&mut shelf, "oc_a", now + 2_000), 4, "{now}");
        }
        // And as long as it costs one, no more is tried.
        assert_eq!(fits(&mut shelf, "oc_a", 57_000), 4);
        shelf.limited(0, "oc_a", CAP, 0, 57_500);
        shelf.limited(0, "oc_a", CAP, 0, 60_000);
        assert_eq!(fits(&mut shelf, "oc_a", 70_000), 3);
    }

    #[test]
    fn of_calls_refused_together_each_was_one_too_many() {
        for (refused, left) in [(1, 4), (3, 2), (5, 1), (9, 1)] {
            let mut shelf = Shelf::new(1, 1_000);
            for now in 0..refused {
                shelf.limited(0, "oc_a", CAP, 0, now);
            }
            assert_eq!(fits(&mut shelf, "oc_a", 20_000), left, "{refused}");
        }
    }

    #[test]
    fn refusals_in_a_row_close_it_for_longer_up_to_eight_seconds() {
        let mut shelf = Shelf::new(1, 1_000);
        let mut now = 0;
        for least in [500, 1_000, 2_000, 4_000, 4_000] {
            shelf.limited(0, "oc_a", CAP, now + 1, now);
            let Room::At(until) = shelf.room(0, "oc_a", CAP, now) else {
                panic!("it is open");
            };
            assert!(
                (least..=2 * least).contains(&(until - now)),
                "{until} after {now}"
            );
            now = until + 2_000;
        }
        shelf.limited(0, "oc_a", CAP, now + 30_000, now);
        assert_eq!(shelf.room(0, "oc_a", CAP, now), Room::At(now + 30_000));
        now += 60_000;
        shelf.limited(0, "oc_a", CAP, 0, now);
        assert_eq!(
            shelf.room(0, "oc_a", CAP, now + 1_000),
            Room::Now,
            "it was quiet meanwhile"
        );
    }

    #[test]
    fn a_pause_holds_where_the_window_is_off() {
        let mut shelf = Shelf::new(1, 1_000);
        assert_eq!(shelf.room(0, "oc_a", 0, 0), Room::Now);
        shelf.limited(0, "oc_a", 0, 9_000, 0);
        assert_eq!(shelf.room(0, "oc_a", 0, 0), Room::At(9_000));
        assert_eq!(shelf.room(0, "oc_a", 0, 9_000), Room::Now);
    }

    #[test]
    fn two_names_of_one_chat_share_what_both_hold_from_the_merge_on() {
        let mut shelf = Shelf::new(2, 1_000);
        let old: Vec<Place> = (0..3).map(|_| shelf.take(1, "ou_a", 0)).collect();
        shelf.answered(old[0], 100);
        let new = shelf.take(0, "oc_a", 0);
        shelf.merge((1, "ou_a"), (0, "oc_a"), 100);
        assert_eq!(fill(&mut shelf, 0, "oc_a", 100).len(), 1);
        shelf.answered(old[1], 200);
        shelf.refund(old[2]);
        shelf.answered(new, 300);
        assert_eq!(
            fill(&mut shelf, 0, "oc_a", 300).len(),
            1,
            "the refunded one"
        );
        assert_eq!(shelf.room(0, "oc_a", CAP, 300), Room::At(1_101));
        assert_eq!(
            fill(&mut shelf, 1, "ou_a", 300).len(),
            5,
            "a name of its own again"
        );
    }

    #[test]
    fn a_merge_keeps_the_lower_rate_and_the_longer_pause() {
        let mut shelf = Shelf::new(2, 1_000);
        shelf.limited(1, "ou_a", CAP, 9_000, 0);
        shelf.merge((1, "ou_a"), (0, "oc_a"), 0);
        assert_eq!(shelf.room(0, "oc_a", CAP, 0), Room::At(9_000));
        assert_eq!(fits(&mut shelf, "oc_a", 9_000), 4);
    }

    #[test]
    fn the_number_of_windows_follows_the_last_seconds_traffic() {
        let mut shelf = Shelf::new(2, 1_000);
        for n in 0..100_000_i64 {
            let now = n * 20;
            let place = shelf.take(1, &format!("ou_{n}"), now);
            if n % 3 == 0 {
                shelf.merge((1, &format!("ou_{n}")), (0, &format!("oc_{n}")), now);
            }
            shelf.answered(place, now + 5);
            assert!(shelf.len() <= SWEEP_MIN, "{} windows", shelf.len());
        }
        assert!(
            shelf.slots.len() <= SWEEP_MIN + 1,
            "{} slots",
            shelf.slots.len()
        );
        shelf.prune(10_000_000);
        assert_eq!(shelf.len(), 0);
    }
}
