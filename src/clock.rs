//! The wall clock, the boot clock and the boot's name; and durations as people write them.
//!
//! Deadlines are wall-clock times and survive a restart. Ages that decide whether something may be
//! repeated are the larger of wall age and boot age, so that a clock set back never makes an old
//! attempt young again. The boot clock counts suspended time (`CLOCK_BOOTTIME`, read without a system call).
//! A test moves both through a file (`FEISHU_RELAY_TEST_CLOCK`); the daemon allows it only while
//! every Feishu it talks to is on loopback.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How often a moved clock is looked up again, and the longest a wait may sleep without looking.
pub const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// One reading of every clock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Now {
    /// Unix time, milliseconds.
    pub wall_ms: i64,
    /// Time since the machine started, suspended time included, milliseconds.
    pub boot_ms: i64,
    /// Names this boot of the machine; boot times of different boots do not compare.
    pub boot_id: Arc<str>,
    /// The wall clock was found behind what is on record: it tells nothing about other boots.
    pub behind: bool,
}

impl Now {
    /// Milliseconds since `then`: the larger of wall age and boot age; never below zero.
    ///
    /// Of another boot only the wall age is known, and not even that when the wall clock is behind:
    /// then it is older than anything.
    pub fn age_ms(&self, then_wall_ms: i64, then_boot_ms: i64, then_boot_id: &str) -> i64 {
        let wall = self.wall_ms.saturating_sub(then_wall_ms);
        if then_boot_id == &*self.boot_id {
            wall.max(self.boot_ms.saturating_sub(then_boot_ms)).max(0)
        } else if wall < 0 || self.behind {
            i64::MAX
        } else {
            wall
        }
    }
}

/// The process's clocks. Clones share their state.
#[derive(Clone, Debug)]
pub struct Clock {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    started: Instant,
    boot_id: Arc<str>,
    behind: AtomicBool,
    /// How far the test clock had moved the boot clock when this process began.
    moved_at_start_ms: i64,
    moved: Option<Mutex<Moved>>,
}

#[derive(Debug)]
struct Moved {
    file: PathBuf,
    read_at: Option<Instant>,
    shift: Shift,
}

/// What the test clock's file says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Shift {
    wall_ms: i64,
    boot_ms: i64,
    boot_id: Option<Arc<str>>,
}

impl Clock {
    /// The machine's clocks as they are.
    pub fn system() -> Clock {
        Clock::with(None)
    }

    /// The machine's clocks moved by what `file` says; it is read again each second.
    pub fn moved_by(file: &Path) -> Clock {
        Clock::with(Some(file.to_owned()))
    }

    fn with(file: Option<PathBuf>) -> Clock {
        let at_start = file.as_deref().and_then(Shift::read);
        let moved = file.map(|file| {
            Mutex::new(Moved {
                file,
                read_at: None,
                shift: Shift::default(),
            })
        });
        Clock {
            shared: Arc::new(Shared {
                started: Instant::now(),
                boot_id: boot_id(),
                behind: AtomicBool::new(false),
                moved_at_start_ms: at_start.map_or(0, |shift| shift.boot_ms),
                moved,
            }),
        }
    }

    /// Reads every clock.
    pub fn now(&self) -> Now {
        let shift = self.shift();
        Now {
            wall_ms: unix_ms() + shift.wall_ms,
            boot_ms: boot_ms() + shift.boot_ms,
            boot_id: shift
                .boot_id
                .unwrap_or_else(|| Arc::clone(&self.shared.boot_id)),
            behind: self.shared.behind.load(Ordering::Relaxed),
        }
    }

    /// The wall clock is behind a time on record: from now on it is not asked about other boots.
    pub fn found_behind(&self) {
        self.shared.behind.store(true, Ordering::Relaxed);
    }

    /// Unix time in milliseconds.
    pub fn wall_ms(&self) -> i64 {
        unix_ms() + self.shift().wall_ms
    }

    /// A clock that a set wall clock does not move: milliseconds since this process started, plus
    /// what the test clock added to the boot clock meanwhile. For windows, pauses and token ages.
    pub fn steady_ms(&self) -> i64 {
        self.running_ms() + self.shift().boot_ms - self.shared.moved_at_start_ms
    }

    fn running_ms(&self) -> i64 {
        i64::try_from(self.shared.started.elapsed().as_millis()).unwrap_or(i64::MAX)
    }

    fn shift(&self) -> Shift {
        let Some(moved) = &self.shared.moved else {
            return Shift::default();
        };
        let mut moved = moved.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = moved.read_at.is_some_and(|at| at.elapsed() < LOOK_AGAIN);
        if !fresh {
            moved.read_at = Some(Instant::now());
            if let Some(shift) = Shift::read(&moved.file) {
                moved.shift = shift;
            }
        }
        moved.shift.clone()
    }
}

impl Shift {
    /// `None`: keep the old one.
    fn read(file: &Path) -> Option<Shift> {
        Shift::parse(&std::fs::read_to_string(file).ok()?)
    }

    /// `61m`, or any of `wall=-5m boot=0s boot_id=b2`. `None`: not of that form, keep the old one.
    fn parse(text: &str) -> Option<Shift> {
        let mut shift = Shift::default();
        for word in text.split_whitespace() {
            match word.split_once('=') {
                None => {
                    shift.wall_ms = parse_signed_ms(word)?;
                    shift.boot_ms = shift.wall_ms;
                }
                Some(("wall", by)) => shift.wall_ms = parse_signed_ms(by)?,
                Some(("boot", by)) => shift.boot_ms = parse_signed_ms(by)?,
                Some(("boot_id", id)) => shift.boot_id = Some(Arc::from(id)),
                Some(_) => return None,
            }
        }
        Some(shift)
    }
}

fn unix_ms() -> i64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// Since the machine started, suspended time included. Each attempt asks for it twice.
fn boot_ms() -> i64 {
    let up = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    up.tv_sec * 1000 + up.tv_nsec / 1_000_000
}

fn boot_id() -> Arc<str> {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    Arc::from(id.trim())
}

/// Milliseconds of `"90s"`, `"1h30m"`, `"30d"`, `"250ms"`; units: ms s m h d w.
///
/// `None`: empty, a number without a unit, an unknown unit, or beyond 100 years.
pub fn parse_ms(text: &str) -> Option<i64> {
    const LONGEST_MS: i64 = 100 * 366 * 86_400_000;
    let mut rest = text.trim();
    let mut total: i64 = 0;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let count: i64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let letters = rest
            .find(|c: char| !c.is_ascii_alphabetic())
            .unwrap_or(rest.len());
        let unit = match &rest[..letters] {
            "ms" => 1,
            "s" => 1000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            "w" => 604_800_000,
            _ => return None,
        };
        total = total.checked_add(count.checked_mul(unit)?)?;
        rest = rest[letters..].trim_start();
    }
    (total <= LONGEST_MS).then_some(total)
}

fn parse_signed_ms(text: &str) -> Option<i64> {
    match text.strip_prefix('-') {
        Some(rest) => parse_ms(rest).map(|ms| -ms),
        None => parse_ms(text.strip_prefix('+').unwrap_or(text)),
    }
}

/// RFC 3339 with milliseconds, UTC; the form in which every time leaves the relay.
pub fn rfc3339(ms: i64) -> String {
    match jiff::Timestamp::from_millisecond(ms) {
        Ok(at) => format!("{at:.3}"),
        Err(_) => String::from("9999-12-31T23:59:59.999Z"),
    }
}

/// Unix milliseconds of an RFC 3339 time. `None`: not of that form.
pub fn parse_rfc3339(text: &str) -> Option<i64> {
    text.parse::<jiff::Timestamp>()
        .ok()
        .map(|at| at.as_millisecond())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_people_write_them() {
        fn check(text: &str, expected: Option<i64>) {
            assert_eq!(parse_ms(text), expected, "{text:?}");
        }
        check("30s", Some(30_000));
        check("1h30m", Some(5_400_000));
        check("1h 30m", Some(5_400_000));
        check("30d", Some(2_592_000_000));
        check("250ms", Some(250));
        check("0s", Some(0));
        check("", None);
        check("15", None);
        check("5 parsecs", None);
        check("-5m", None);
        check("99999999999999999999s", None);
        check("200000d", None);
    }

    #[test]
    fn times_leave_with_milliseconds_and_come_back() {
        assert_eq!(rfc3339(1_767_225_600_123), "2026-01-01T00:00:00.123Z");
        assert_eq!(
            parse_rfc3339("2026-01-01T08:00:00.123+08:00"),
            Some(1_767_225_600_123)
        );
        assert_eq!(parse_rfc3339("tomorrow"), None);
    }

    #[test]
    fn the_test_clock_moves_each_clock_by_what_its_file_says() {
        let both = Shift::parse("61m").unwrap();
        assert_eq!((both.wall_ms, both.boot_ms), (3_660_000, 3_660_000));
        let each = Shift::parse("wall=-5m boot=0s boot_id=b2").unwrap();
        assert_eq!((each.wall_ms, each.boot_ms), (-300_000, 0));
        assert_eq!(each.boot_id.as_deref(), Some("b2"));
        assert_eq!(Shift::parse("soon"), None);
    }

    /// Marks name it, and the next process compares them with its own: it must be the machine's.
    #[test]
    fn the_boot_clock_is_the_machines() {
        let text = std::fs::read_to_string("/proc/uptime").unwrap();
        let up_s: f64 = text.split_whitespace().next().unwrap().parse().unwrap();
        let after_ms = Clock::system().now().boot_ms - (up_s * 1000.0) as i64;
        assert!((-10..60_000).contains(&after_ms), "{after_ms}");
    }

    #[test]
    fn an_age_is_the_larger_of_wall_and_boot_age() {
        let now = Now {
            wall_ms: 1_000,
            boot_ms: 90_000,
            boot_id: Arc::from("b1"),
            behind: false,
        };
        assert_eq!(now.age_ms(900, 30_000, "b1"), 60_000);
        assert_eq!(now.age_ms(900, 30_000, "b0"), 100);
        assert_eq!(now.age_ms(5_000, 95_000, "b1"), 0);
        // Of another boot nobody knows it once the wall clock was set back.
        assert_eq!(now.age_ms(5_000, 95_000, "b0"), i64::MAX);
        let behind = Now {
            behind: true,
            ..now
        };
        assert_eq!(behind.age_ms(900, 30_000, "b0"), i64::MAX);
        assert_eq!(behind.age_ms(900, 30_000, "b1"), 60_000);
    }
}
