//! The sandbox's own time: real time plus an offset that a test moves, or standing still.
//!
//! Every window, token and age is measured by it. Also the calendar of UTC+8, in which Feishu's
//! days and months are assumed to turn, and the spelling of durations (`61m`, `-5m`, `1h30m`).
//! Not here: who may move it (`control`).

use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// Feishu's days and months are assumed to turn at midnight UTC+8. Source: limits.md 2.
const UTC8_MS: i64 = 8 * HOUR_MS;

pub(crate) const SECOND_MS: i64 = 1_000;
pub(crate) const MINUTE_MS: i64 = 60 * SECOND_MS;
pub(crate) const HOUR_MS: i64 = 60 * MINUTE_MS;
pub(crate) const DAY_MS: i64 = 24 * HOUR_MS;

/// Real time plus an offset, or a moment at which it stands.
#[derive(Debug, Default, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Clock {
    /// How far the sandbox is ahead of real time, in milliseconds; may be negative.
    offset_ms: i64,
    /// Where it stands while it is frozen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    frozen_ms: Option<i64>,
}

impl Clock {
    /// The sandbox's time in Unix milliseconds.
    pub(crate) fn now_ms(&self) -> i64 {
        self.frozen_ms
            .unwrap_or_else(|| real_ms().saturating_add(self.offset_ms))
    }

    /// Moves it by `span_ms`, back when negative.
    pub(crate) fn advance(&mut self, span_ms: i64) {
        match &mut self.frozen_ms {
            Some(at) => *at = at.saturating_add(span_ms),
            None => self.offset_ms = self.offset_ms.saturating_add(span_ms),
        }
    }

    /// Lets it stand still, or go on from where it stood.
    pub(crate) fn freeze(&mut self, frozen: bool) {
        let now_ms = self.now_ms();
        self.offset_ms = now_ms - real_ms();
        self.frozen_ms = frozen.then_some(now_ms);
    }
}

/// Real time in Unix milliseconds.
pub(crate) fn real_ms() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| {
            i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
        })
}

/// The number of the day `at_ms` falls into, in UTC+8.
pub(crate) fn day_utc8(at_ms: i64) -> i64 {
    (at_ms + UTC8_MS).div_euclid(DAY_MS)
}

/// The number of the month `at_ms` falls into, in UTC+8: twelve a year.
pub(crate) fn month_utc8(at_ms: i64) -> i64 {
    let (year, month, _) = civil(day_utc8(at_ms));
    year * 12 + i64::from(month)
}

/// `HH:MM:SS` of `at_ms` in UTC.
pub(crate) fn time_of_day(at_ms: i64) -> String {
    let second = at_ms.rem_euclid(DAY_MS) / SECOND_MS;
    format!(
        "{:02}:{:02}:{:02}",
        second / 3600,
        second / 60 % 60,
        second % 60
    )
}

/// `YYYYMMDDHHMMSS` of `at_ms` in UTC, the head of a log id.
pub(crate) fn stamp(at_ms: i64) -> String {
    let (year, month, day) = civil(at_ms.div_euclid(DAY_MS));
    let time = time_of_day(at_ms).replace(':', "");
    format!("{year:04}{month:02}{day:02}{time}")
}

/// Year, month and day of the `days`-th day after 1 January 1970 (the usual era arithmetic).
fn civil(days: i64) -> (i64, u32, u32) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (
        year,
        u32::try_from(month).unwrap_or(1),
        u32::try_from(day).unwrap_or(1),
    )
}

/// Reads `61m`, `-5m`, `1h30m`, `250ms` into milliseconds; `None` when it is no duration.
pub(crate) fn parse_span(text: &str) -> Option<i64> {
    let (sign, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text),
    };
    let mut total: i64 = 0;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let (number, after) = rest.split_at(digits);
        let unit_end = after
            .find(|c: char| c.is_ascii_digit())
            .unwrap_or(after.len());
        let (unit, after) = after.split_at(unit_end);
        let unit_ms = match unit {
            "ms" => 1,
            "s" => SECOND_MS,
            "m" | "min" => MINUTE_MS,
            "h" => HOUR_MS,
            "d" => DAY_MS,
            _ => return None,
        };
        total = total.checked_add(number.parse::<i64>().ok()?.checked_mul(unit_ms)?)?;
        rest = after;
    }
    Some(sign * total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_reads_as_people_write_it() {
        for (text, expected) in [
            ("61m", Some(61 * MINUTE_MS)),
            ("-5m", Some(-5 * MINUTE_MS)),
            ("1h30m", Some(90 * MINUTE_MS)),
            ("250ms", Some(250)),
            ("2d", Some(2 * DAY_MS)),
            ("", None),
            ("5", None),
            ("m", None),
            ("5 m", None),
            ("5y", None),
        ] {
            assert_eq!(parse_span(text), expected, "{text:?}");
        }
    }

    #[test]
    fn a_frozen_clock_stands_until_it_is_moved_or_let_go() {
        let mut clock = Clock::default();
        clock.advance(HOUR_MS);
        clock.freeze(true);
        let stood = clock.now_ms();
        assert!(stood >= real_ms() + HOUR_MS - MINUTE_MS);
        clock.advance(SECOND_MS);
        assert_eq!(clock.now_ms(), stood + SECOND_MS);
        clock.freeze(false);
        assert!((stood + SECOND_MS..stood + MINUTE_MS).contains(&clock.now_ms()));
    }

    #[test]
    fn a_day_and_a_month_turn_at_sixteen_hours_utc() {
        // 2026-06-30T15:59:59Z and one second later, which is 1 July in UTC+8.
        let before = 1_782_835_199_000;
        assert_eq!(stamp(before), "20260630155959");
        assert_eq!(day_utc8(before) + 1, day_utc8(before + SECOND_MS));
        assert_eq!(month_utc8(before) + 1, month_utc8(before + SECOND_MS));
    }
}
