//! Shown, killed before the record; unknown, and then something else says no.

use serde_json::{Value, json};

use crate::support::House;
use crate::support::jobs::{
    HOUR, MINUTE, SEND, acted, child, made, message, outcomes, pass, path, post, sent, tried,
    until_state,
};
use crate::{BATCH, PHONE, PIN, cancel, lost, shown, state, to, until_seen};
use feishu_sandbox::DEFAULT_USER;

/// What repeats safely is repeated, what does not is in doubt; nobody sees anything twice.
#[tokio::test]
async fn shown_killed_before_the_record_down_two_hours_each_kind_once() {
    let mut house = House::new().await;
    let [first, second] = [sent(&house).await, sent(&house).await];
    let slow = |call: &str| json!({"call": call, "do": "delay", "when": "after", "ms": 600_000, "count": 1});
    house
        .faults(json!([slow(SEND), slow(BATCH), slow(PHONE), slow(PIN)]))
        .await;
    let send = post(&house, to(1, json!({"then": [{"kind": "pin"}]}))).await;
    let batch = json!({"kind": "batch_send", "args": {"open_ids": [DEFAULT_USER], "text": "the canteen opens"}});
    let batch = post(&house, batch).await;
    let phone =
        json!({"kind": "urgent_phone", "args": {"message": first, "users": [DEFAULT_USER]}});
    let phone = post(&house, phone).await;
    let pin = post(&house, json!({"kind": "pin", "args": {"message": second}})).await;
    for (effect, count) in [
        ("message", 3),
        ("batch", 1),
        ("urgent_phone", 1),
        ("pin", 1),
    ] {
        until_seen(&house, effect, count).await;
    }
    house.kill();
    house.faults(json!([])).await;
    house.advance(2 * HOUR).await;
    house.start();
    for id in [&send, &batch, &phone] {
        let job = house.settled(id).await;
        assert_eq!(job["state"], "in_doubt", "{job:#}");
        assert_eq!(outcomes(&job)[0], "unknown");
    }
    assert_eq!(house.settled(&pin).await["state"], "done");
    // Again and again nothing changes; the lane goes on, the child waits.
    for restart in [true, false] {
        if restart {
            house.kill();
            house.start();
        }
        pass(&mut house, 3 * HOUR).await;
        let next = post(&house, to(1, json!({}))).await;
        assert_eq!(house.settled(&next).await["state"], "done");
    }
    for (call, effect, count) in [(BATCH, "batch", 1), (PHONE, "urgent_phone", 1)] {
        assert_eq!(house.effects(effect).await.len(), count);
        assert_eq!(made(&house, call).await, 1, "{call}");
    }
    assert_eq!(shown(&house, &send).await, 1);
    assert_eq!(house.effects("pin").await.len(), 1, "pinned already");
    let waiting = house.job(&child(&house.job(&send).await, 0)).await;
    assert_eq!(waiting["waiting_for"], "dependency", "{waiting:#}");
}

/// Unknown, then refused for good: what speaks of the later attempt alone does not unmake the first.
#[tokio::test]
async fn unknown_then_refused_is_in_doubt_and_not_failed_also_over_a_kill() {
    let mut house = House::new().await;
    // A caller's mistake, a target that is gone, an administrator's no, a code that nobody knows.
    for (user, code) in [230_001, 232_009, 230_013, 555_123].into_iter().enumerate() {
        for kill in [false, true] {
            house
                .faults(json!([lost(SEND), {"call": SEND, "do": "code", "code": code}]))
                .await;
            let job = to(user, json!({"then": [{"kind": "pin"}]}));
            let id = post(&house, job).await;
            until_seen(&house, "message", 2 * user + usize::from(kill) + 1).await;
            if kill {
                house.kill();
                house.start();
            }
            let job = ended(&mut house, &id).await;
            assert_eq!(job["state"], "in_doubt", "{code}: {job:#}");
            assert_eq!(job["error"]["class"], "doubt");
            assert_eq!(outcomes(&job).last(), Some(&"refused"), "{job:#}");
            let pin = house.job(&child(&job, 0)).await;
            assert_eq!(pin["waiting_for"], "dependency", "{pin:#}");

            // Asked again at a person's word it turns out to be there.
            house.faults(json!([])).await;
            let (status, _) = acted(&house, &id, "retry", Value::Null).await;
            assert_eq!(status, 202);
            let job = house.settled(&id).await;
            assert_eq!(job["state"], "done", "{job:#}");
            assert_eq!(shown(&house, &id).await, 1);
        }
    }
}

/// Moves the clocks on until the job is at its end.
async fn ended(house: &mut House, id: &str) -> Value {
    for _ in 0..20 {
        let (_, job) = house
            .request("GET", &format!("{}?wait=3s", path(id)), None)
            .await;
        if !matches!(job["state"].as_str(), Some("queued" | "sending")) {
            return job;
        }
        house.advance(2 * MINUTE).await;
    }
    panic!("{id} does not end: {}", house.log());
}

/// A code that says the same of the same bytes speaks of the first attempt as well.
#[tokio::test]
async fn unknown_then_refused_for_its_very_bytes_has_failed() {
    let house = House::new().await;
    let not_done = json!({"call": SEND, "do": "drop", "when": "before", "count": 1});
    house
        .faults(json!([not_done, {"call": SEND, "do": "code", "code": 230_025}]))
        .await;
    let id = post(&house, message(json!({}))).await;
    let job = house.settled(&id).await;
    assert_eq!(job["state"], "failed", "{job:#}");
    assert_eq!(job["error"]["code"], 230_025);
    assert_eq!(shown(&house, &id).await, 0);
}

/// Unknown, then its deadline passes or it is canceled, with a kill in between.
#[tokio::test]
async fn unknown_then_expired_or_canceled_is_in_doubt_also_over_a_kill() {
    let mut house = House::new().await;
    let mut users = 0..6;
    for end in ["expiry", "expiry while down", "cancel"] {
        house
            .faults(json!([lost(SEND), {"call": SEND, "do": "5xx", "when": "before"}]))
            .await;
        let job = to(users.next().unwrap(), json!({"expires_in": "20m"}));
        let before = house.effects("message").await.len();
        let id = post(&house, job).await;
        until_seen(&house, "message", before + 1).await;
        house.kill();
        match end {
            "expiry" => {
                house.start();
                pass(&mut house, 21 * MINUTE).await;
            }
            "expiry while down" => {
                house.advance(21 * MINUTE).await;
                house.start();
            }
            _ => {
                house.start();
                tried(&house, &id, 1).await;
                // An attempt may be under way: then it is canceled after it.
                cancel(&house, &id).await;
            }
        }
        let job = house.settled(&id).await;
        assert_eq!(job["state"], "in_doubt", "{end}: {job:#}");
        assert_eq!(job["error"]["class"], "doubt");
        assert!(job["finished_at"].is_null());
        house.faults(json!([])).await;
        house.restart();
        pass(&mut house, MINUTE).await;
        assert_eq!(state(&house, &id).await, "in_doubt", "{end}");
        assert_eq!(shown(&house, &id).await, 1);
    }
}

/// Unknown, then the tenant's month is used up: everybody waits. It is proven when the quota is back
/// in time, in doubt when it is not; and nobody hammers meanwhile.
#[tokio::test]
async fn unknown_then_out_of_quota_waits_and_is_proven_in_time_or_in_doubt_after_it() {
    for (minutes, end) in [(10, "done"), (70, "in_doubt")] {
        for kill in [false, true] {
            let mut house = House::new().await;
            let quota = json!({"call": SEND, "do": "429", "code": 99_991_403, "http": 429});
            house.faults(json!([lost(SEND), quota])).await;
            let id = post(&house, message(json!({}))).await;
            until_seen(&house, "message", 1).await;
            let stopped = |status: &Value| status["apps"][0]["paused"][0]["code"] == 99_991_403;
            if kill {
                house.kill();
                house.start();
            }
            house.until("/v1/status", stopped).await;
            let other = post(&house, to(1, json!({}))).await;
            for _ in 0..minutes / 10 {
                house.advance(10 * MINUTE).await;
                let waits = |job: &Value| job["waiting_for"] == "app" || job["state"] == "in_doubt";
                house.until(&path(&id), waits).await;
                assert_eq!(shown(&house, &other).await, 0);
            }
            let tries = made(&house, SEND).await;
            assert!(tries <= 4 + minutes / 5, "it hammers: {tries} calls");
            house.faults(json!([])).await;
            pass(&mut house, 6 * MINUTE).await;
            let job = house.settled(&id).await;
            assert_eq!(job["state"], end, "{minutes} min, kill {kill}: {job:#}");
            assert_eq!(shown(&house, &id).await, 1);
            pass(&mut house, 6 * MINUTE).await;
            until_state(&house, &other, "done").await;
            assert_eq!(shown(&house, &other).await, 1);
        }
    }
}
