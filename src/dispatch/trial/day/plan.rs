//! What comes on a day, and when: three apps, from eight in the morning to eight in the morning.
//!
//! Everything is drawn from one seed. What is busy with what is made up; how much of it, is meant to press on
//! each window for a while: a crowd of chats on an app's minute, one chat on its five a second, people in
//! batches, hours with more than fits.

use super::super::*;

/// The hour of the clock at which the day begins.
pub(super) const FROM_HOUR: i64 = 8;
const HOUR_MS: i64 = 3_600_000;
const MINUTE_MS: i64 = 60_000;
/// People in one call of a batch notice.
const LIST: u32 = 200;

/// Alerts, notices to people, conversation.
pub(super) const APPS: [&str; 3] = ["ops", "hr", "bots"];
const OPS: usize = 0;
const HR: usize = 1;
const BOTS: usize = 2;

/// Answers take up to so long then, and `TRIP_MS` at any other time.
pub(super) const SLOW: std::ops::Range<i64> = clock(13, 0)..clock(13, 30);
pub(super) const SLOW_MS: i64 = 2_000;
pub(super) const TRIP_MS: i64 = 80;

/// One job that comes.
#[derive(Debug, Clone)]
pub(super) struct Comes {
    pub(super) at_ms: i64,
    pub(super) app: usize,
    pub(super) kind: Kind,
    pub(super) lane: Box<str>,
    pub(super) priority: Priority,
    pub(super) weight: u32,
}

/// The day as it is put together.
struct Plan {
    dice: Dice,
    jobs: Vec<Comes>,
}

/// A time of the day, in milliseconds since it began.
const fn clock(hour: i64, minute: i64) -> i64 {
    (hour - FROM_HOUR) * HOUR_MS + minute * MINUTE_MS
}

/// All that comes in the first `minutes`, in order.
pub(super) fn plan(seed: u64, minutes: i64) -> Vec<Comes> {
    let mut plan = Plan {
        dice: Dice(seed),
        jobs: Vec::new(),
    };
    plan.alerts();
    plan.notices();
    plan.conversation();
    let mut jobs = plan.jobs;
    jobs.retain(|job| job.at_ms < minutes * MINUTE_MS);
    jobs.sort_by_key(|job| job.at_ms);
    jobs
}

impl Plan {
    fn add(&mut self, at_ms: i64, app: usize, kind: Kind, lane: String, priority: Priority) {
        self.jobs.push(Comes {
            at_ms,
            app,
            kind,
            lane: lane.into(),
            priority,
            weight: 1,
        });
    }

    /// Of a hundred so many are `high` and so many `low`.
    fn priority(&mut self, high: i64, low: i64) -> Priority {
        match self.dice.roll(1, 100) {
            n if n <= high => Priority::High,
            n if n <= high + low => Priority::Low,
            _ => Priority::Normal,
        }
    }

    /// Messages to one of `chats` chats from `from_ms` to `until_ms`, so many an hour on the average.
    fn steady(
        &mut self,
        app: usize,
        (from_ms, until_ms): (i64, i64),
        an_hour: i64,
        chats: i64,
        shares: (i64, i64),
    ) {
        let gap_ms = HOUR_MS / an_hour;
        let mut at_ms = from_ms + self.dice.roll(0, gap_ms);
        while at_ms < until_ms {
            let priority = self.priority(shares.0, shares.1);
            // Few chats have much of it.
            let most = self.dice.roll(1, chats);
            let chat = self.dice.roll(1, most);
            let lane = format!("oc_{}{chat}", APPS[app]);
            self.add(at_ms, app, Kind::Send, lane, priority);
            at_ms += self.dice.roll(0, 2 * gap_ms);
        }
    }

    /// `count` messages to `chats` chats within `within_ms`.
    fn burst(
        &mut self,
        app: usize,
        (from_ms, within_ms): (i64, i64),
        count: i64,
        chats: i64,
        shares: (i64, i64),
    ) {
        for _ in 0..count {
            let at_ms = from_ms + self.dice.roll(0, within_ms);
            let priority = self.priority(shares.0, shares.1);
            let lane = format!("oc_{}{}", APPS[app], self.dice.roll(1, chats));
            self.add(at_ms, app, Kind::Send, lane, priority);
        }
    }

    /// Monitoring: a murmur, waves when something breaks, a chat that is told everything, urgent words.
    fn alerts(&mut self) {
        self.steady(OPS, (clock(8, 0), clock(32, 0)), 5_000, 400, (4, 10));
        for (hour, minute, count) in [
            (9, 20, 1_500),
            (10, 40, 4_000),
            (14, 15, 900),
            (16, 5, 6_000),
            (22, 30, 3_000),
            (27, 10, 12_000),
        ] {
            let from_ms = clock(hour, minute);
            self.burst(OPS, (from_ms, 40_000), count, 600, (1, 5));
            // Somebody is called for each wave, as soon as its card is there.
            for n in 0..20 {
                let at_ms = from_ms + self.dice.roll(5_000, 60_000);
                let lane = format!("om_ops{hour}_{n}");
                self.add(at_ms, OPS, Kind::UrgentApp, lane, Priority::High);
            }
        }
        for (hour, minute, count) in [(8, 20, 9_000), (15, 0, 4_500)] {
            let from_ms = clock(hour, minute);
            for n in 0..count {
                let at_ms = from_ms + n * 100 + self.dice.roll(0, 100);
                let lane = "oc_opshot".to_owned();
                self.add(at_ms, OPS, Kind::Send, lane, Priority::Normal);
            }
        }
        // A card that shows how far something is.
        for n in 0..3_600 {
            let at_ms = clock(9, 0) + n * 1_000 + self.dice.roll(0, 900);
            let lane = "om_opscard".to_owned();
            self.add(at_ms, OPS, Kind::UpdateCard, lane, Priority::Normal);
        }
    }

    /// To people: one by one at nine and at six, in lists three times.
    fn notices(&mut self) {
        self.steady(HR, (clock(8, 0), clock(20, 0)), 1_500, 300, (2, 0));
        for (hour, count) in [(9, 12_000), (18, 5_000)] {
            for n in 0..count {
                let lane = format!("ou_hr{n}");
                self.add(clock(hour, 0), HR, Kind::Send, lane, Priority::Low);
            }
        }
        for (hour, minute, people) in [(9, 5, 60_000), (14, 0, 250_000), (17, 30, 150_000)] {
            for n in 0..people / LIST {
                self.jobs.push(Comes {
                    at_ms: clock(hour, minute),
                    app: HR,
                    kind: Kind::BatchSend,
                    lane: format!("batch{hour}_{n}").into(),
                    priority: Priority::Normal,
                    weight: LIST,
                });
            }
        }
    }

    /// Bots that answer people: quiet by night, and from eleven to twelve more than fits.
    fn conversation(&mut self) {
        for (from, until, an_hour) in [
            (8, 11, 12_000),
            (11, 12, 70_000),
            (12, 14, 15_000),
            (14, 18, 25_000),
            (18, 24, 8_000),
            (24, 32, 1_000),
        ] {
            let span = (clock(from, 0), clock(until, 0));
            self.steady(BOTS, span, an_hour, 5_000, (3, 0));
        }
    }
}
