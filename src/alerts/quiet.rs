//! Quiet hours: when nobody is to be disturbed, and when that ends.
//!
//! They go by the clock on the wall of their zone: an hour that is left out or comes twice when clocks are changed
//! is quiet whenever the wall says so.

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};

use crate::alerts::policy::Quiet;
use crate::config::time_zone;

impl Quiet {
    /// When the quiet hours end in which `now_ms` lies; `None`: it lies in none. Unix milliseconds.
    ///
    /// A zone that this machine does not know any more has none: disturbed once too often is better than not at
    /// all.
    pub fn ends_ms(&self, now_ms: i64) -> Option<i64> {
        let zone = time_zone(&self.zone)?;
        let now = Timestamp::from_millisecond(now_ms).ok()?;
        if !self.is_quiet(&zone, now) {
            return None;
        }
        let today = now.to_zoned(zone.clone()).date();
        let days = [today, today.tomorrow().ok()?];
        let ends = days.into_iter().flat_map(|day| self.ends_on(&zone, day));
        let changes = zone.following(now).map(|change| change.timestamp());
        let soon = now.checked_add(48.hours()).ok()?;
        let changes = changes.take_while(|at| *at < soon);
        let open = ends
            .chain(changes)
            .filter(|at| *at > now && !self.is_quiet(&zone, *at));
        open.min().map(Timestamp::as_millisecond)
    }

    fn is_quiet(&self, zone: &TimeZone, at: Timestamp) -> bool {
        let time = at.to_zoned(zone.clone()).time();
        let minute = u16::try_from(time.hour()).unwrap_or(0) * 60
            + u16::try_from(time.minute()).unwrap_or(0);
        match self.from_min < self.until_min {
            true => (self.from_min..self.until_min).contains(&minute),
            false => minute >= self.from_min || minute < self.until_min,
        }
    }

    /// Both moments of that day at which its wall shows the end; mostly they are one.
    fn ends_on(&self, zone: &TimeZone, day: Date) -> Vec<Timestamp> {
        let hour = i8::try_from(self.until_min / 60).unwrap_or(0);
        let minute = i8::try_from(self.until_min % 60).unwrap_or(0);
        let shown = zone.to_ambiguous_timestamp(day.at(hour, minute, 0, 0));
        [shown.earlier(), shown.later()]
            .into_iter()
            .flatten()
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn quiet(from: (u16, u16), until: (u16, u16), zone: &str) -> Quiet {
        Quiet {
            from_min: from.0 * 60 + from.1,
            until_min: until.0 * 60 + until.1,
            zone: zone.to_owned(),
        }
    }

    fn check(quiet: &Quiet, now: &str, ends: Option<&str>) {
        let ms = |text: &str| text.parse::<Timestamp>().unwrap().as_millisecond();
        assert_eq!(quiet.ends_ms(ms(now)), ends.map(ms), "{now} of {quiet:?}");
    }

    #[test]
    fn quiet_hours_over_midnight_end_in_the_morning_of_their_zone() {
        let night = quiet((22, 0), (8, 0), "Asia/Shanghai");
        check(&night, "2026-11-22T21:59:59.999+08:00", None);
        let end = Some("2026-11-23T08:00:00+08:00");
        check(&night, "2026-11-22T22:00:00+08:00", end);
        check(&night, "2026-11-23T00:00:00+08:00", end);
        check(&night, "2026-11-23T07:59:59.999+08:00", end);
        check(&night, "2026-11-23T08:00:00+08:00", None);
        let offset = quiet((22, 0), (8, 0), "+08:00");
        check(&offset, "2026-11-23T00:00:00+08:00", end);
        let noon = quiet((12, 0), (13, 30), "UTC");
        check(&noon, "2026-11-23T12:00:00Z", Some("2026-11-23T13:30:00Z"));
        check(&noon, "2026-11-23T13:30:00Z", None);
        let evening = quiet((22, 0), (0, 0), "UTC");
        check(
            &evening,
            "2026-11-23T23:00:00Z",
            Some("2026-11-24T00:00:00Z"),
        );
        check(&evening, "2026-11-24T00:00:00Z", None);
    }

    #[test]
    fn a_change_of_clocks_is_lived_through_by_the_wall() {
        // Berlin: 2026-03-29 02:00 becomes 03:00; 2026-10-25 03:00 becomes 02:00.
        let spring = quiet((22, 0), (2, 30), "Europe/Berlin");
        check(
            &spring,
            "2026-03-28T22:00:00Z",
            Some("2026-03-29T01:00:00Z"),
        );
        let autumn = quiet((22, 0), (2, 30), "Europe/Berlin");
        check(
            &autumn,
            "2026-10-24T22:00:00Z",
            Some("2026-10-25T00:30:00Z"),
        );
        // 02:10 for the second time.
        check(
            &autumn,
            "2026-10-25T01:10:00Z",
            Some("2026-10-25T01:30:00Z"),
        );
        let long = quiet((22, 0), (8, 0), "Europe/Berlin");
        check(&long, "2026-03-28T22:00:00Z", Some("2026-03-29T06:00:00Z"));
        check(&long, "2026-10-24T21:00:00Z", Some("2026-10-25T07:00:00Z"));
    }

    #[test]
    fn a_zone_that_nobody_knows_has_no_quiet_hours() {
        check(
            &quiet((0, 0), (23, 0), "Moon/Tranquility"),
            "2026-03-28T22:00:00Z",
            None,
        );
    }

    proptest! {
        /// The end is loud, the whole way to it is quiet, and it is not far.
        #[test]
        fn the_end_is_the_first_moment_that_is_not_quiet(
            now_ms in 1_760_000_000_000_i64..1_830_000_000_000, from in 0..1440_u16, long in 1..1440_u16,
            zone in prop_oneof![
                Just("Asia/Shanghai"), Just("Europe/Berlin"), Just("America/New_York"), Just("UTC"),
                Just("Australia/Lord_Howe"), Just("-03:30"),
            ],
        ) {
            let quiet = Quiet { from_min: from, until_min: (from + long) % 1440, zone: zone.to_owned() };
            if let Some(end) = quiet.ends_ms(now_ms) {
                prop_assert!(end > now_ms && end - now_ms <= 25 * 3_600_000);
                prop_assert_eq!(quiet.ends_ms(end), None);
                let before = (end - now_ms - 1) / 97;
                for n in 0..97 {
                    prop_assert_eq!(quiet.ends_ms(now_ms + before * n), Some(end));
                }
            }
        }
    }
}
