//! Clocks that are set, a machine that boots or sleeps: nothing young again, nothing late for ever.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::House;
use crate::support::jobs::{
    HOUR, MINUTE, PIXEL, SEND, UPLOAD, acted, made, message, ms, outcomes, path, post, tried,
};
use crate::{lost, shown, state, to, until_seen};

/// The relay's clocks against Feishu's, which is time itself.
#[derive(Default)]
struct Clocks {
    /// How far time was moved since the test began.
    passed_ms: i64,
    /// How far the wall clock is ahead of time.
    wall_ms: i64,
    /// What the boot clock lacks.
    boot_ms: i64,
    boots: u32,
}

impl Clocks {
    fn write(&self, house: &House) {
        let wall = self.passed_ms + self.wall_ms;
        let (boot, boots) = (self.passed_ms + self.boot_ms, self.boots);
        let id = match boots {
            0 => String::new(),
            _ => format!(" boot_id=boot-{boots}"),
        };
        house.set_clock(&format!("wall={wall}ms boot={boot}ms{id}"));
    }

    /// Until the running relay goes by the clock that was written.
    async fn seen(&self, house: &House) {
        let seen = |status: &Value| {
            let real = std::time::UNIX_EPOCH.elapsed().unwrap().as_millis();
            let due = i64::try_from(real).unwrap() + self.passed_ms + self.wall_ms;
            (ms(&status["now"]) - due).abs() < 20_000
        };
        house.until("/v1/status", seen).await;
    }

    /// Time passes, for everybody.
    async fn pass(&mut self, house: &House, by: Duration) {
        let by_ms = i64::try_from(by.as_millis()).unwrap();
        self.passed_ms += by_ms;
        self.write(house);
        let feishu = json!({"advance": format!("{by_ms}ms")});
        house.control("clock", feishu).await;
    }

    /// The wall clock alone is set, `minutes` ahead or back.
    fn set_wall(&mut self, house: &House, minutes: i64) {
        self.wall_ms += minutes * 60_000;
        self.write(house);
    }

    /// Another boot: its clock begins at 0.
    fn reboot(&mut self, house: &House) {
        let up = std::fs::read_to_string("/proc/uptime").unwrap();
        let up: f64 = up.split_whitespace().next().unwrap().parse().unwrap();
        self.boots += 1;
        self.boot_ms = -self.passed_ms - (up * 1000.0) as i64;
        self.write(house);
    }
}

/// A message that was shown and whose outcome is unknown; every further attempt is limited, so that it
/// stays so until the faults are taken away.
async fn unknown(house: &House) -> String {
    let limit = json!({"call": SEND, "do": "429", "reset_s": 1});
    house.faults(json!([lost(SEND), limit])).await;
    let id = post(house, message(json!({}))).await;
    tried(house, &id, 1).await;
    id
}

/// With the wall clock set back a message looks younger than it is: an hour later Feishu would show it
/// again.
#[tokio::test]
async fn clock_5_min_and_20_min_back_while_unknown_makes_nothing_young_again() {
    for minutes in [5, 20] {
        for restart in [false, true] {
            let mut house = House::new().await;
            let mut clocks = Clocks::default();
            let id = unknown(&house).await;
            clocks.set_wall(&house, -minutes);
            clocks.seen(&house).await;
            if restart {
                house.kill();
            }
            // By the wall clock it is 41 or 56 minutes old, by the boot clock 61.
            clocks.pass(&house, 61 * MINUTE).await;
            house.faults(json!([])).await;
            if restart {
                house.start();
            }
            clocks.seen(&house).await;
            let job = house.settled(&id).await;
            assert_eq!(job["state"], "in_doubt", "{minutes} min: {job:#}");
            assert_eq!(shown(&house, &id).await, 1);
            let next = post(&house, to(1, json!({}))).await;
            assert_eq!(house.settled(&next).await["state"], "done");
        }
    }
}

/// And inside the window it goes on as if nothing had been.
#[tokio::test]
async fn clock_5_min_and_20_min_back_soon_after_is_proven_all_the_same() {
    for minutes in [5, 20] {
        let mut house = House::new().await;
        let mut clocks = Clocks::default();
        let id = unknown(&house).await;
        house.kill();
        clocks.set_wall(&house, -minutes);
        clocks.pass(&house, 30 * MINUTE).await;
        house.faults(json!([])).await;
        house.start();
        let job = house.settled(&id).await;
        assert_eq!(job["state"], "done", "{minutes} min: {job:#}");
        assert_eq!(shown(&house, &id).await, 1);
    }
}

/// A retry that was a minute off is not twenty minutes off because somebody set the clock.
#[tokio::test]
async fn clock_20_min_back_makes_no_retry_later_than_its_cap() {
    for restart in [false, true] {
        let mut house = House::new().await;
        let mut clocks = Clocks::default();
        house
            .faults(json!([
                {"call": SEND, "do": "code", "code": 555_123, "count": 1},
                {"call": UPLOAD, "do": "5xx", "when": "before", "count": 1},
            ]))
            .await;
        let send = post(&house, message(json!({}))).await;
        let upload = json!({"kind": "upload_image", "args": {"data": PIXEL}});
        let upload = post(&house, upload).await;
        for id in [&send, &upload] {
            tried(&house, id, 1).await;
        }
        clocks.set_wall(&house, -20);
        clocks.seen(&house).await;
        if restart {
            house.restart();
        }
        clocks.pass(&house, 11 * MINUTE).await;
        clocks.seen(&house).await;
        for id in [&send, &upload] {
            let job = house.settled(id).await;
            assert_eq!(job["state"], "done", "restart {restart}: {job:#}");
        }
    }
}

/// Jobs accepted before and after the clock was set back leave in the order in which they came.
#[tokio::test]
async fn clock_20_min_back_keeps_the_order_of_a_lane() {
    let mut house = House::new().await;
    let mut clocks = Clocks::default();
    house
        .faults(json!([{"call": SEND, "do": "429", "reset_s": 600, "count": 1}]))
        .await;
    let mut ids = Vec::new();
    for n in 0..3 {
        let text = json!({"to": feishu_sandbox::DEFAULT_CHAT, "text": format!("number {n}")});
        ids.push(post(&house, json!({"kind": "send", "args": text})).await);
        if n == 0 {
            tried(&house, &ids[0], 1).await;
        }
        match n {
            0 => clocks.set_wall(&house, -20),
            _ => clocks.set_wall(&house, -5),
        }
        clocks.seen(&house).await;
    }
    assert!(ids.is_sorted(), "ids are of their order: {ids:?}");
    house.restart();
    clocks.pass(&house, 11 * MINUTE).await;
    clocks.seen(&house).await;
    for id in &ids {
        assert_eq!(house.settled(id).await["state"], "done");
    }
    let seen = house.effects("message").await;
    let texts: Vec<&str> = seen
        .iter()
        .map(|one| one["content"].as_str().unwrap())
        .collect();
    assert!(texts.len() == 3 && texts.is_sorted(), "{texts:?}");
}

/// After a boot only the wall clock knows how long it took.
#[tokio::test]
async fn a_reboot_while_unknown_is_proven_in_time_and_in_doubt_after_it() {
    for (minutes, end) in [(30, "done"), (61, "in_doubt")] {
        let mut house = House::new().await;
        let mut clocks = Clocks::default();
        // The machine dies with one attempt under way and one unknown.
        let slow = json!({"call": SEND, "do": "delay", "when": "after", "ms": 600_000, "count": 1});
        house.faults(json!([slow])).await;
        let under_way = post(&house, to(1, json!({}))).await;
        until_seen(&house, "message", 1).await;
        let unknown = unknown(&house).await;
        house.kill();
        // Feishu gives the long answer up; else it would still be at work on it.
        house.feishu_down().await;
        house.feishu_up().await;
        clocks.pass(&house, minutes * MINUTE).await;
        clocks.reboot(&house);
        house.faults(json!([])).await;
        house.start();
        for id in [&under_way, &unknown] {
            let job = house.settled(id).await;
            assert_eq!(job["state"], end, "{minutes} min: {job:#}");
            assert_eq!(shown(&house, id).await, 1);
        }
        // The new boot's clock counts from its own beginning.
        let again = self::unknown(&house).await;
        clocks.pass(&house, 61 * MINUTE).await;
        house.faults(json!([])).await;
        clocks.seen(&house).await;
        assert_eq!(house.settled(&again).await["state"], "in_doubt");
        assert_eq!(shown(&house, &again).await, 1);
    }
}

/// Suspended: the wall clock and the boot clock go on while the process stands still.
#[tokio::test]
async fn a_suspend_over_the_window_and_over_a_deadline_is_seen_at_once() {
    let mut house = House::new().await;
    let mut clocks = Clocks::default();
    let unknown = unknown(&house).await;
    let late = post(&house, to(1, json!({"expires_in": "1h", "delay": "50m"}))).await;
    let due = post(&house, to(2, json!({"delay": "90m"}))).await;
    clocks.pass(&house, 2 * HOUR).await;
    house.faults(json!([])).await;
    clocks.seen(&house).await;
    for (id, end, times) in [
        (&unknown, "in_doubt", 1),
        (&late, "expired", 0),
        (&due, "done", 1),
    ] {
        let job = house.settled(id).await;
        assert_eq!(job["state"], end, "{job:#}");
        assert_eq!(shown(&house, id).await, times);
    }
    house.kill();
}

/// Suspended with a call on the wire: its answer is there when the machine wakes.
#[tokio::test]
async fn a_suspend_with_a_call_on_the_wire_takes_its_answer_whatever_the_time() {
    for answered in [true, false] {
        let mut house = House::new().await;
        let mut clocks = Clocks::default();
        let slow = json!({"call": SEND, "do": "delay", "when": "after", "ms": 3000, "count": 1});
        let none = json!({"call": SEND, "do": "drop", "when": "after", "count": 1});
        house
            .faults(json!([if answered { slow } else { none }]))
            .await;
        let id = post(&house, message(json!({"expires_in": "5m"}))).await;
        until_seen(&house, "message", 1).await;
        clocks.pass(&house, 2 * HOUR).await;
        clocks.seen(&house).await;
        let job = house.settled(&id).await;
        let end = if answered { "done" } else { "in_doubt" };
        assert_eq!(job["state"], end, "{job:#}");
        assert_eq!(outcomes(&job).len(), 1, "{job:#}");
        assert_eq!(made(&house, SEND).await, 1);
        house.restart();
        assert_eq!(state(&house, &id).await, end);
    }
}

/// A machine without a battery wakes with a wall clock an hour ahead, and somebody sets it right.
#[tokio::test]
async fn a_wall_clock_ahead_for_a_while_is_honest_and_stops_nobody() {
    let house = House::new().await;
    let mut clocks = Clocks::default();
    let id = unknown(&house).await;
    clocks.set_wall(&house, 61);
    clocks.seen(&house).await;
    house.faults(json!([])).await;
    // By the larger of both ages it is too old: nobody risks it.
    let job = house.settled(&id).await;
    assert_eq!(job["state"], "in_doubt", "{job:#}");
    let ahead = post(&house, to(1, json!({}))).await;
    assert_eq!(house.settled(&ahead).await["state"], "done");
    clocks.set_wall(&house, -61);
    clocks.seen(&house).await;
    let behind = post(&house, to(1, json!({}))).await;
    assert!(behind > ahead, "ids go on");
    assert_eq!(house.settled(&behind).await["state"], "done");
    let (status, _) = acted(&house, &id, "retry", Value::Null).await;
    assert_eq!(status, 202);
    let job = house.until(&path(&id), |job| job["state"] == "done").await;
    assert_eq!(shown(&house, &id).await, 1, "{job:#}");
}
