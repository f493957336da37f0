//! When a base URL may be asked, by a read of the relay's own, whether it is back: at a breaker's gaps.
//!
//! Each read counts towards the month when its answer is lost, so an outage of hours must not cost one a second.

use super::{FIRST_GAP_MS, LONGEST_GAP_MS, Probes};

/// One read at a time, the first at once, then after 1 s, doubling to 30 s.
#[derive(Debug)]
pub(crate) struct Looks {
    gap_ms: i64,
    probes: Probes,
}

impl Default for Looks {
    fn default() -> Self {
        Self {
            gap_ms: FIRST_GAP_MS,
            probes: Probes::from(i64::MIN),
        }
    }
}

impl Looks {
    /// May one be made at `now`? True: it is under way from now on, until `ended`.
    pub(crate) fn begin(&mut self, now: i64) -> bool {
        let free = self.probes.free_at(LONGEST_GAP_MS, now) <= now;
        if free {
            self.probes.start(now);
        }
        free
    }

    /// It was answered, or not.
    pub(crate) fn ended(&mut self, answered: bool, now: i64) {
        if answered {
            self.gap_ms = FIRST_GAP_MS;
        }
        self.probes.end(now.saturating_add(self.gap_ms));
        self.gap_ms = (2 * self.gap_ms).min(LONGEST_GAP_MS);
    }

    /// Nothing is out of reach any more.
    pub(crate) fn rest(&mut self) {
        self.gap_ms = FIRST_GAP_MS;
    }

    /// Somebody changed something: the next need not wait.
    pub(crate) fn now(&mut self, now: i64) {
        self.probes.next_ms = self.probes.next_ms.min(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_are_one_at_a_time_at_doubling_gaps_up_to_half_a_minute() {
        let mut looks = Looks::default();
        let mut now = 0;
        for gap_ms in [1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000] {
            assert!(looks.begin(now));
            assert!(!looks.begin(now + 5_000), "one is under way");
            looks.ended(false, now);
            assert!(!looks.begin(now + gap_ms - 1));
            now += gap_ms;
        }
        assert!(looks.begin(now));
        looks.ended(true, now);
        assert!(!looks.begin(now + 999));
        looks.now(now + 10);
        assert!(looks.begin(now + 10));
        looks.ended(false, now + 10);
        let back = now - 1_000_000;
        assert!(!looks.begin(back));
        assert!(looks.begin(back + 30_000), "a clock that was put back");
    }
}
