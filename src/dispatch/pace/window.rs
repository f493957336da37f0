//! One exact window: how many calls may count in any stretch of its length.
//!
//! A call holds its slots from `take` until one length after its answer. It can only have been
//! counted at Feishu between the two, so no stretch of one length holds more than the cap by
//! Feishu's clock, whatever its phase and however long the call was under way.
//! Not here: which windows a call has (`pace`), what a receiver's cap is just now (`shelf`).

use std::collections::VecDeque;

/// Times are cut to whole milliseconds; without this one a call cut down and a call cut up
/// would share a window.
const ROUNDING_MS: i64 = 1;

/// When a window has room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Room {
    /// At once.
    Now,
    /// At this time, if nothing else takes the room before.
    At(i64),
    /// Not before a call that is under way has been answered.
    OnAnswer,
}

/// Slots held by calls under way and by calls answered less than one length ago.
#[derive(Debug)]
pub(super) struct Window {
    len_ms: i64,
    open: u32,
    /// Slots by the time at which they become free, earliest first, one entry a millisecond.
    closing: VecDeque<(i64, u32)>,
    closing_sum: u32,
}

impl Window {
    pub(super) fn new(len_ms: i64) -> Self {
        Self {
            len_ms,
            open: 0,
            closing: VecDeque::new(),
            closing_sum: 0,
        }
    }

    /// When `weight` more slots fit under `cap` at or after `now`. A weight above the cap asks
    /// for the whole window.
    pub(super) fn room(&mut self, weight: u32, cap: u32, now: i64) -> Room {
        self.expire(now);
        let weight = weight.min(cap);
        let fits = |held: u32| held.saturating_add(weight) <= cap;
        if fits(self.open.saturating_add(self.closing_sum)) {
            return Room::Now;
        }
        let mut held = self.open.saturating_add(self.closing_sum);
        for &(free_ms, slots) in &self.closing {
            held = held.saturating_sub(slots);
            if fits(held) {
                return Room::At(free_ms);
            }
        }
        Room::OnAnswer
    }

    pub(super) fn take(&mut self, weight: u32) {
        self.open = self.open.saturating_add(weight);
    }

    /// The call was answered, or given up after its time-out.
    pub(super) fn answered(&mut self, weight: u32, now: i64) {
        self.refund(weight);
        self.close(weight, now);
    }

    /// The call provably never reached Feishu: its slots are free at once.
    pub(super) fn refund(&mut self, weight: u32) {
        debug_assert!(self.open >= weight, "a slot was given back twice");
        self.open = self.open.saturating_sub(weight);
    }

    /// Holds slots until one length after `at`, as if their call had been answered then.
    pub(super) fn close(&mut self, slots: u32, at: i64) {
        let free_ms = at.saturating_add(self.len_ms + ROUNDING_MS);
        let place = self.closing.partition_point(|&(ms, _)| ms < free_ms);
        match self.closing.get_mut(place) {
            Some((ms, there)) if *ms == free_ms => *there = there.saturating_add(slots),
            Some(_) | None => self.closing.insert(place, (free_ms, slots)),
        }
        self.closing_sum = self.closing_sum.saturating_add(slots);
    }

    /// Frees what is due. After the clock was put back, nothing is held longer than one length
    /// from now.
    pub(super) fn expire(&mut self, now: i64) {
        let latest = now.saturating_add(self.len_ms + ROUNDING_MS);
        if self.closing.back().is_some_and(|&(ms, _)| ms > latest) {
            self.pull_in(latest);
        }
        while let Some(&(ms, slots)) = self.closing.front() {
            if ms > now {
                break;
            }
            self.closing.pop_front();
            self.closing_sum = self.closing_sum.saturating_sub(slots);
        }
    }

    fn pull_in(&mut self, latest: i64) {
        let keep = self.closing.partition_point(|&(ms, _)| ms < latest);
        let late = self.closing.split_off(keep);
        let slots = late.iter().fold(0u32, |sum, &(_, n)| sum.saturating_add(n));
        self.closing.push_back((latest, slots));
    }

    /// Takes over what `other` still holds after its answers; its open calls stay with it.
    pub(super) fn absorb_closing(&mut self, other: &mut Self) {
        for (free_ms, slots) in other.closing.drain(..) {
            self.close(slots, free_ms.saturating_sub(self.len_ms + ROUNDING_MS));
        }
        other.closing_sum = 0;
    }

    pub(super) fn is_empty(&self) -> bool {
        self.open == 0 && self.closing.is_empty()
    }

    pub(super) fn open(&self) -> u32 {
        self.open
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_is_held_until_one_length_after_the_answer() {
        let mut window = Window::new(1000);
        window.take(1);
        assert_eq!(window.room(1, 1, 0), Room::OnAnswer);
        window.answered(1, 300);
        assert_eq!(window.room(1, 1, 300), Room::At(1301));
        assert_eq!(window.room(1, 1, 1300), Room::At(1301));
        assert_eq!(window.room(1, 1, 1301), Room::Now);
        assert!(window.is_empty());
    }

    #[test]
    fn a_refund_frees_the_slot_at_once() {
        let mut window = Window::new(1000);
        window.take(2);
        window.refund(1);
        assert_eq!(window.room(1, 2, 0), Room::Now);
        assert_eq!(window.room(2, 2, 0), Room::OnAnswer);
    }

    #[test]
    fn room_for_several_waits_for_as_many_to_be_freed() {
        let mut window = Window::new(1000);
        for at in [10, 20, 30] {
            window.take(1);
            window.answered(1, at);
        }
        assert_eq!(window.room(1, 3, 30), Room::At(1011));
        assert_eq!(window.room(2, 3, 30), Room::At(1021));
        assert_eq!(
            window.room(9, 3, 30),
            Room::At(1031),
            "never more than the whole window"
        );
    }

    #[test]
    fn a_clock_put_back_holds_no_longer_than_one_length() {
        let mut window = Window::new(1000);
        for at in [5_000_000, 5_000_001, 5_000_900] {
            window.take(1);
            window.answered(1, at);
        }
        assert_eq!(window.room(3, 3, 1000), Room::At(2001));
        assert_eq!(window.room(3, 3, 2001), Room::Now);
        window.take(1);
        window.answered(1, i64::MAX);
        assert_eq!(window.room(1, 1, i64::MIN), Room::At(i64::MIN + 1001));
    }

    #[test]
    fn a_window_takes_over_what_another_holds() {
        let mut ours = Window::new(1000);
        let mut other = Window::new(1000);
        for at in [10, 20] {
            other.take(1);
            other.answered(1, at);
        }
        other.take(1);
        ours.take(1);
        ours.answered(1, 15);
        ours.absorb_closing(&mut other);
        assert_eq!(ours.room(1, 3, 20), Room::At(1011));
        assert_eq!(ours.room(3, 3, 20), Room::At(1021));
        assert_eq!((other.open(), other.closing.len()), (1, 0));
        assert_eq!(other.room(2, 3, 20), Room::Now);
    }
}
