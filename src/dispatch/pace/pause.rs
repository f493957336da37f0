//! A bucket that Feishu closed until a named time.

/// Remembers when it was set, so that a clock put back lengthens nothing.
#[derive(Debug, Default)]
pub(super) struct Pause {
    set: Option<(i64, i64)>,
}

impl Pause {
    /// Closes until `until_ms`, unless it is closed for longer already; at most `cap_ms`.
    pub(super) fn extend(&mut self, until_ms: i64, cap_ms: i64, now: i64) {
        let until_ms = until_ms.min(now.saturating_add(cap_ms));
        let there = self.until(now).unwrap_or(i64::MIN);
        if until_ms > now && until_ms > there {
            self.set = Some((now, until_ms));
        }
    }

    /// The end of the pause, or none when it is over.
    pub(super) fn until(&mut self, now: i64) -> Option<i64> {
        let (since, until) = self.set?;
        if until <= now {
            self.set = None;
            return None;
        }
        if now < since {
            self.set = Some((now, now.saturating_add(until.saturating_sub(since))));
        }
        self.end_ms()
    }

    /// The end as it was last seen.
    pub(super) fn end_ms(&self) -> Option<i64> {
        self.set.map(|(_, until)| until)
    }

    /// Takes over a pause that another key of the same receiver had.
    pub(super) fn absorb(&mut self, other: &mut Self, now: i64) {
        if let Some(until) = other.until(now) {
            self.extend(until, i64::MAX, now);
        }
        other.set = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_later_end_counts_and_a_cap_bounds_it() {
        let mut pause = Pause::default();
        pause.extend(5_000, 60_000, 0);
        pause.extend(2_000, 60_000, 100);
        assert_eq!(pause.until(100), Some(5_000));
        pause.extend(900_000, 60_000, 100);
        assert_eq!(pause.until(100), Some(60_100));
        assert_eq!(pause.until(60_100), None);
    }

    #[test]
    fn a_clock_put_back_does_not_lengthen_a_pause() {
        let mut pause = Pause::default();
        pause.extend(1_008_000, 60_000, 1_000_000);
        assert_eq!(pause.until(500), Some(8_500));
        assert_eq!(pause.until(8_500), None);
    }
}
