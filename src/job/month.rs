//! The month's calls: where a month begins, how many there will be, and what is saved of them.
//!
//! The quota is the tenant's: all its apps spend it, and nobody can ask Feishu how much is left. So
//! what is known is what this relay counted, which is never more than what was spent. When it runs
//! short the relay's own questions stop first, then what is not `high`; `high` goes on beyond our
//! count, until Feishu itself says no (99991403), for the count may be wrong in either direction.
//! Pure: times come in. Not here: the rows (`store::month`), who is held back (`dispatch`).

use jiff::civil::Date;
use jiff::tz::{self, TimeZone};
use jiff::{Span, Timestamp};

/// Of a hundred calls of the quota so many, the last ones, are for `high` alone.
pub const RESERVE_PERCENT: u64 = 5;
/// Of a hundred calls so many, the last ones, are not for the relay's own questions (who read it, how
/// far a batch is).
pub const SAVED_PERCENT: u64 = 10;
const _: () = assert!(RESERVE_PERCENT < SAVED_PERCENT && SAVED_PERCENT < 100);
/// Shares of the quota that are worth a line in the log, percent, in order.
pub const WARNED_PERCENT: [u64; 3] = [80, 90, 100];
/// Days that the pace is taken from, beside today.
pub const PACE_DAYS: i64 = 7;

const DAY_MS: i64 = 86_400_000;
/// Where the quota's months and days are taken to begin: UTC+8.
/// Source: feishu/limits.md, sections 1.3 and 2 (the zone is inferred).
const EAST_HOURS: i8 = 8;

/// A calendar month in UTC+8.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Month(Date);

impl Month {
    /// The month of `wall_ms`, Unix milliseconds.
    pub fn of(wall_ms: i64) -> Month {
        Month(date(wall_ms).first_of_month())
    }

    /// `2026-11`.
    pub fn name(self) -> String {
        self.0.strftime("%Y-%m").to_string()
    }

    /// When it begins, Unix milliseconds.
    pub fn begin_ms(self) -> i64 {
        begin_ms(self.0)
    }

    /// When the next one begins, Unix milliseconds.
    pub fn end_ms(self) -> i64 {
        self.earlier(-1).begin_ms()
    }

    /// So many months before.
    pub fn earlier(self, months: i32) -> Month {
        Month(self.0.saturating_sub(Span::new().months(months)))
    }
}

/// A day in UTC+8: `2026-11-21`.
pub fn day(wall_ms: i64) -> String {
    date(wall_ms).to_string()
}

/// When the day of that name begins, Unix milliseconds.
pub fn day_ms(name: &str) -> Option<i64> {
    name.parse().ok().map(begin_ms)
}

fn zone() -> TimeZone {
    TimeZone::fixed(tz::offset(EAST_HOURS))
}

fn date(wall_ms: i64) -> Date {
    let at = Timestamp::from_millisecond(wall_ms).unwrap_or_default();
    at.to_zoned(zone()).date()
}

fn begin_ms(date: Date) -> i64 {
    let begin = date.to_zoned(zone());
    begin.map_or(i64::MAX, |begin| begin.timestamp().as_millisecond())
}

/// How it goes on at the pace of the last days.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forecast {
    /// Calls a day.
    pub per_day: u64,
    /// Calls of the month at its end, those counted so far included.
    pub by_end: u64,
    /// When the quota is used up, Unix milliseconds; `None`: not within this month, or no quota is known.
    pub exhausted_ms: Option<i64>,
}

/// What a forecast is made from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Calls since `since_ms`.
    pub calls: u64,
    /// Midnight seven days ago, or of the first day on record, Unix milliseconds.
    pub since_ms: i64,
}

/// From when on calls are looked at for a pace at `now_ms`: midnight (UTC+8), `PACE_DAYS` before today's.
pub fn pace_since_ms(now_ms: i64) -> i64 {
    begin_ms(date(now_ms)).saturating_sub(PACE_DAYS * DAY_MS)
}

/// Extends the pace of the last seven days and today to the end of the month of `now_ms`.
///
/// `used`: calls of this month so far; `quota`: 0 = unknown. With less than a day on record what was
/// counted is taken for a day's: a burst of a minute is not made a month of.
pub fn forecast(used: u64, pace: Pace, quota: u64, now_ms: i64) -> Forecast {
    let span_ms = now_ms.saturating_sub(pace.since_ms).max(DAY_MS);
    let left_ms = Month::of(now_ms).end_ms().saturating_sub(now_ms).max(0);
    let in_ms = |ms: i64| u128::from(pace.calls) * wide(ms) / wide(span_ms);
    let to_come = narrow(in_ms(left_ms));
    let exhausted_ms = match quota {
        0 => None,
        quota if used >= quota => Some(now_ms),
        quota if used.saturating_add(to_come) < quota => None,
        // At this pace the missing ones take so long; there is a pace, for they come within the month.
        quota => {
            let missing = u128::from(quota - used);
            let ms = (missing * wide(span_ms)).div_ceil(u128::from(pace.calls.max(1)));
            Some(now_ms.saturating_add(i64::try_from(ms).unwrap_or(i64::MAX)))
        }
    };
    Forecast {
        per_day: narrow(in_ms(DAY_MS)),
        by_end: used.saturating_add(to_come),
        exhausted_ms,
    }
}

fn wide(ms: i64) -> u128 {
    u128::from(ms.max(0).unsigned_abs())
}

fn narrow(calls: u128) -> u64 {
    u64::try_from(calls).unwrap_or(u64::MAX)
}

/// Who may still spend the month's calls; the later the fewer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Everybody.
    #[default]
    Free,
    /// Every producer, but not the relay's own questions.
    Saving,
    /// Only `high`, and what was begun already.
    Reserve,
}

impl Level {
    /// The level when `used` calls of `quota` (0 = unknown) are spent or under way.
    pub fn of(used: u64, quota: u64) -> Level {
        let kept = |percent: u64| quota - share(quota, percent);
        match quota {
            0 => Level::Free,
            _ if used >= kept(RESERVE_PERCENT) => Level::Reserve,
            _ if used >= kept(SAVED_PERCENT) => Level::Saving,
            _ => Level::Free,
        }
    }
}

/// Calls that only `high` may spend, the last ones of the quota.
pub fn reserve(quota: u64) -> u64 {
    share(quota, RESERVE_PERCENT)
}

/// Rounded up: also a small quota has a reserve.
fn share(quota: u64, percent: u64) -> u64 {
    narrow((u128::from(quota) * u128::from(percent)).div_ceil(100))
}

/// The greatest of `WARNED_PERCENT` that `used` of `quota` has reached.
pub fn warned_percent(used: u64, quota: u64) -> Option<u64> {
    let reached =
        |percent: &u64| u128::from(used) * 100 >= u128::from(quota) * u128::from(*percent);
    let known = WARNED_PERCENT.into_iter().rev().filter(|_| quota > 0);
    known.clone().find(reached)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// 2026-12-01T00:00:00+08:00.
    const DECEMBER: i64 = 1_796_054_400_000;

    #[test]
    fn a_month_turns_at_midnight_in_beijing() {
        let check = |wall_ms: i64, name: &str, day_name: &str| {
            let month = Month::of(wall_ms);
            assert_eq!((month.name(), day(wall_ms)), (name.into(), day_name.into()));
            assert!((month.begin_ms()..month.end_ms()).contains(&wall_ms));
        };
        check(DECEMBER - 1, "2026-11", "2026-11-30");
        check(DECEMBER, "2026-12", "2026-12-01");
        assert_eq!(Month::of(DECEMBER - 1).end_ms(), DECEMBER);
        assert_eq!(Month::of(DECEMBER).earlier(12).name(), "2025-12");
        assert_eq!(day_ms("2026-12-01"), Some(DECEMBER));
        assert_eq!(day_ms("a day"), None);
    }

    #[test]
    fn the_pace_of_a_week_goes_on_to_the_end_of_the_month() {
        // Noon of the 20th of November: ten and a half days are left.
        let now = DECEMBER - 10 * DAY_MS - DAY_MS / 2;
        let pace = Pace {
            calls: 750,
            since_ms: pace_since_ms(now),
        };
        assert_eq!(now - pace.since_ms, 7 * DAY_MS + DAY_MS / 2);
        let forecast = |quota| forecast(1000, pace, quota, now);
        let without = Forecast {
            per_day: 100,
            by_end: 2050,
            exhausted_ms: None,
        };
        assert_eq!(forecast(0), without);
        assert_eq!(forecast(2051), without);
        assert_eq!(forecast(1500).exhausted_ms, Some(now + 5 * DAY_MS));
        assert_eq!(forecast(900).exhausted_ms, Some(now), "it is used up");
    }

    #[test]
    fn a_burst_of_a_first_minute_is_not_made_a_month_of() {
        let pace = Pace {
            calls: 300,
            since_ms: DECEMBER,
        };
        let forecast = forecast(300, pace, 0, DECEMBER + 60_000);
        assert_eq!((forecast.per_day, forecast.by_end / 100), (300, 95));
    }

    #[test]
    fn the_last_calls_are_kept_for_fewer_and_fewer() {
        let check =
            |used, quota, level| assert_eq!(Level::of(used, quota), level, "{used}/{quota}");
        check(u64::MAX, 0, Level::Free);
        check(8999, 10_000, Level::Free);
        check(9000, 10_000, Level::Saving);
        check(9499, 10_000, Level::Saving);
        check(9500, 10_000, Level::Reserve);
        check(20_000, 10_000, Level::Reserve);
        check(8, 10, Level::Free);
        check(9, 10, Level::Reserve);
        check(0, 1, Level::Reserve);
        assert_eq!((reserve(10_000), reserve(10), reserve(0)), (500, 1, 0));
    }

    #[test]
    fn the_greatest_share_that_is_reached_is_the_one_that_is_told() {
        let check = |used, percent| assert_eq!(warned_percent(used, 1000), percent, "{used}");
        check(799, None);
        check(800, Some(80));
        check(950, Some(90));
        check(5000, Some(100));
        assert_eq!(warned_percent(7, 0), None);
    }

    proptest! {
        #[test]
        fn a_forecast_never_undercuts_what_is_counted_and_agrees_with_itself(
            used in 0..1_000_000_u64, calls in 0..1_000_000_u64, quota in 0..2_000_000_u64,
            now_ms in 0..4_000_000_000_000_i64, young_ms in 0..8 * DAY_MS,
        ) {
            let since_ms = (now_ms - young_ms).max(pace_since_ms(now_ms));
            let told = forecast(used, Pace { calls, since_ms }, quota, now_ms);
            prop_assert!(told.by_end >= used);
            prop_assert_eq!(told.exhausted_ms.is_some(), quota > 0 && told.by_end >= quota);
            if let Some(at_ms) = told.exhausted_ms {
                // Up to the millisecond that rounding adds.
                prop_assert!((now_ms..=Month::of(now_ms).end_ms() + 1).contains(&at_ms));
            }
            // A faster pace uses up more, and sooner.
            let faster = forecast(used, Pace { calls: calls + 1000, since_ms }, quota, now_ms);
            prop_assert!(faster.by_end >= told.by_end && faster.per_day >= told.per_day);
            let sooner = |forecast: Forecast| forecast.exhausted_ms.unwrap_or(i64::MAX);
            prop_assert!(sooner(faster) <= sooner(told));
        }

        /// Counted by hand: a constant pace ends where it says.
        #[test]
        fn a_steady_pace_is_extended_as_it_is(a_day in 1..10_000_u64, day in 0..30_i64, hour in 0..24_i64) {
            let now_ms = DECEMBER + day * DAY_MS + hour * 3_600_000;
            let since_ms = pace_since_ms(now_ms);
            let hours = u64::try_from((now_ms - since_ms) / 3_600_000).unwrap();
            let calls = a_day * hours / 24;
            let told = forecast(0, Pace { calls, since_ms }, 0, now_ms);
            let left = u64::try_from((31 * DAY_MS - (now_ms - DECEMBER)) / 3_600_000).unwrap();
            prop_assert!(told.by_end.abs_diff(a_day * left / 24) <= 32, "{told:?}");
            prop_assert!(told.per_day.abs_diff(a_day) <= 1);
        }

        #[test]
        fn a_level_only_rises_and_the_reserve_is_never_more_than_it_says(used in 0..3000_u64, quota in 1..2000_u64) {
            prop_assert!(Level::of(used, quota) <= Level::of(used + 1, quota));
            prop_assert!(Level::of(used, quota + 1) <= Level::of(used, quota).max(Level::of(used, quota + 1)));
            let free = (0..quota).filter(|used| Level::of(*used, quota) < Level::Reserve).count() as u64;
            prop_assert_eq!(free, quota - reserve(quota));
        }
    }
}
