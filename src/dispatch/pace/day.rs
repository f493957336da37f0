//! How many recipients batches may reach in one day of UTC+8.
//!
//! A calendar day, not a rolling one: the page of the limit speaks of days. A call under way at
//! midnight counts in both.

const DAY_MS: i64 = 24 * 60 * 60 * 1000;
const UTC8_MS: i64 = 8 * 60 * 60 * 1000;

/// What was taken in the current day.
#[derive(Debug, Default)]
pub(super) struct Day {
    number: Option<i64>,
    used: u32,
    open: u32,
}

impl Day {
    /// None: room now. Otherwise the next midnight.
    pub(super) fn full_until(&mut self, weight: u32, cap: u32, now: i64) -> Option<i64> {
        self.turn(now);
        let full = self.used.saturating_add(weight.min(cap)) > cap;
        full.then(|| midnight_after(now))
    }

    pub(super) fn take(&mut self, weight: u32) {
        self.used = self.used.saturating_add(weight);
        self.open = self.open.saturating_add(weight);
    }

    pub(super) fn answered(&mut self, weight: u32, now: i64) {
        self.turn(now);
        self.open = self.open.saturating_sub(weight);
    }

    pub(super) fn refund(&mut self, weight: u32) {
        self.open = self.open.saturating_sub(weight);
        self.used = self.used.saturating_sub(weight);
    }

    /// Counts what was reached earlier today, before a restart.
    pub(super) fn restore(&mut self, recipients: u32, now: i64) {
        self.turn(now);
        self.used = self.used.saturating_add(recipients);
    }

    /// A later day starts with what is under way; an earlier one means that the clock was put
    /// back, and keeps the count.
    fn turn(&mut self, now: i64) {
        let today = day_of(now);
        if self.number.is_some_and(|number| today > number) {
            self.used = self.open;
        }
        self.number = Some(today);
    }
}

fn day_of(now: i64) -> i64 {
    now.saturating_add(UTC8_MS).div_euclid(DAY_MS)
}

fn midnight_after(now: i64) -> i64 {
    (day_of(now) + 1)
        .saturating_mul(DAY_MS)
        .saturating_sub(UTC8_MS)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-08-01T00:00:00+08:00.
    const MIDNIGHT: i64 = 1_785_513_600_000;

    #[test]
    fn a_full_day_waits_for_midnight_in_beijing() {
        let mut day = Day::default();
        assert_eq!(day.full_until(500, 500, MIDNIGHT - 10), None);
        day.take(500);
        day.answered(500, MIDNIGHT - 5);
        assert_eq!(day.full_until(1, 500, MIDNIGHT - 5), Some(MIDNIGHT));
        assert_eq!(day.full_until(1, 500, MIDNIGHT), None);
    }

    #[test]
    fn a_call_under_way_at_midnight_counts_in_both_days() {
        let mut day = Day::default();
        assert_eq!(day.full_until(400, 500, MIDNIGHT - 10), None);
        day.take(400);
        assert_eq!(
            day.full_until(200, 500, MIDNIGHT + 10),
            Some(MIDNIGHT + DAY_MS)
        );
        day.answered(400, MIDNIGHT + 10);
        assert_eq!(
            day.full_until(200, 500, MIDNIGHT + 10),
            Some(MIDNIGHT + DAY_MS)
        );
        assert_eq!(day.full_until(100, 500, MIDNIGHT + 10), None);
    }

    #[test]
    fn a_clock_put_back_a_day_neither_frees_nor_blocks_for_longer_than_a_day() {
        let mut day = Day::default();
        assert_eq!(day.full_until(500, 500, MIDNIGHT + 400 * DAY_MS), None);
        day.take(500);
        day.answered(500, MIDNIGHT + 400 * DAY_MS);
        assert_eq!(day.full_until(1, 500, MIDNIGHT), Some(MIDNIGHT + DAY_MS));
        assert_eq!(day.full_until(1, 500, MIDNIGHT + DAY_MS), None);
    }

    #[test]
    fn what_was_reached_before_a_restart_counts() {
        let mut day = Day::default();
        day.restore(450, MIDNIGHT);
        assert_eq!(day.full_until(51, 500, MIDNIGHT), Some(MIDNIGHT + DAY_MS));
        day.take(50);
        day.refund(50);
        assert_eq!(day.full_until(50, 500, MIDNIGHT), None);
    }
}
