//! Order within a lane whatever happens, and lanes that do not wait for each other.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on should stop here"
)]

mod support;

use std::time::Duration;

use feishu_sandbox::{DEFAULT_CHAT, DEFAULT_SECOND_CHAT, DEFAULT_USER};
use serde_json::{Value, json};
use support::House;

const SEND: &str = "POST /open-apis/im/v1/messages";
const PIN: &str = "POST /open-apis/im/v1/pins";

/// Windows of receivers turned off on both sides, so that only lanes and priorities order calls.
const UNLIMITED: &str = "limits = { chat_second = 0, user_second = 0 }\n";

fn unlimited() -> Option<Value> {
    Some(json!({"limits": {"chat_second": 0, "user_second": 0, "message_second": 0}}))
}

fn message(to: &str, text: impl std::fmt::Display, priority: &str) -> Value {
    json!({"kind": "send", "priority": priority, "args": {"to": to, "text": text.to_string()}})
}

async fn post(house: &House, job: Value) -> String {
    house.post(job).await["id"].as_str().unwrap().to_owned()
}

async fn post_all(house: &House, jobs: Vec<Value>) -> Vec<String> {
    let answer = house.post(Value::Array(jobs)).await;
    let jobs = answer["jobs"].as_array().unwrap();
    jobs.iter()
        .map(|job| job["id"].as_str().unwrap().to_owned())
        .collect()
}

async fn until_state(house: &House, id: &str, state: &str) -> Value {
    house
        .until(&format!("/v1/jobs/{id}"), |job| job["state"] == state)
        .await
}

/// Holds the next such call back with a limit of ten minutes, and its lane with it.
async fn limit(house: &House, call: &str) {
    house
        .faults(json!([{"call": call, "do": "429", "reset_s": 600, "count": 1}]))
        .await;
}

async fn held_back(house: &House, id: &str) {
    house
        .until(&format!("/v1/jobs/{id}"), |job| {
            job["waiting_for"] == "limit" && job["attempts"][0]["outcome"] == "limited"
        })
        .await;
}

/// Until the limit is over.
async fn go_on(house: &mut House) {
    house.advance(Duration::from_secs(601)).await;
}

/// A lane whose first message is held back, so that what comes meanwhile stands behind it.
async fn busy(house: &House) -> String {
    limit(house, SEND).await;
    let head = post(house, message(DEFAULT_CHAT, "head", "normal")).await;
    held_back(house, &head).await;
    head
}

/// The texts that people saw, in order.
async fn texts(house: &House) -> Vec<String> {
    let seen = house.effects("message").await;
    seen.iter()
        .map(|effect| {
            let content = &effect["content"];
            let inner = content
                .as_str()
                .map(|text| serde_json::from_str(text).unwrap());
            let content: Value = inner.unwrap_or_else(|| content.clone());
            content["text"].as_str().unwrap().to_owned()
        })
        .collect()
}

fn numbers(to: usize) -> Vec<String> {
    (1..=to).map(|n| n.to_string()).collect()
}

/// Moves the clocks on until the job is done, so that nobody waits for a retry's delay.
async fn hurried(house: &mut House, id: &str) -> Value {
    for _ in 0..300 {
        let (_, job) = house
            .request("GET", &format!("/v1/jobs/{id}?wait=200ms"), None)
            .await;
        if job["state"] == "done" {
            return job;
        }
        assert!(
            matches!(job["state"].as_str(), Some("queued" | "sending")),
            "{job:#}"
        );
        house.advance(Duration::from_secs(4)).await;
    }
    panic!("{id} was not done in 20 minutes: {}", house.log());
}

#[tokio::test]
async fn a_lane_keeps_its_order_whatever_is_lost_refused_or_limited() {
    let mut house = House::with(unlimited(), UNLIMITED).await;
    house
        .faults(json!([
            {"call": SEND, "do": "drop", "when": "after", "share": 0.2, "seed": 1},
            {"call": SEND, "do": "5xx", "when": "before", "share": 0.2, "seed": 2},
            {"call": SEND, "do": "429", "reset_s": 2, "share": 0.2, "seed": 3},
            {"call": SEND, "do": "code", "code": 230049, "share": 0.2, "seed": 4},
            {"call": SEND, "do": "drop", "when": "before", "share": 0.2, "seed": 5},
        ]))
        .await;
    let jobs = (1..=15).map(|n| message(DEFAULT_CHAT, n, "normal"));
    let ids = post_all(&house, jobs.collect()).await;
    hurried(&mut house, &ids[14]).await;
    for id in &ids {
        assert_eq!(house.job(id).await["state"], "done");
    }
    assert_eq!(texts(&house).await, numbers(15));
    let faulted = &house.calls(SEND).await["faulted"];
    assert!(
        faulted.as_u64().unwrap() > 5,
        "{faulted} faults prove little"
    );
}

#[tokio::test]
async fn a_lane_keeps_its_order_over_kills_and_restarts() {
    let mut house = House::new().await;
    let jobs = (1..=12).map(|n| message(DEFAULT_CHAT, n, "normal"));
    let ids = post_all(&house, jobs.collect()).await;
    for (seen, kill) in [(2, true), (6, false), (9, true)] {
        while house.effects("message").await.len() < seen {
            tokio::task::yield_now().await;
        }
        if kill {
            house.kill();
        } else {
            house.stop();
        }
        house.start();
    }
    hurried(&mut house, &ids[11]).await;
    assert_eq!(texts(&house).await, numbers(12));
}

#[tokio::test]
async fn a_high_one_overtakes_and_a_low_one_gives_way() {
    let mut house = House::new().await;
    busy(&house).await;
    let jobs = ["low", "normal", "high"].map(|name| message(DEFAULT_CHAT, name, name));
    let ids = post_all(&house, jobs.to_vec()).await;
    for id in &ids {
        assert_eq!(house.job(id).await["waiting_for"], "lane");
    }
    go_on(&mut house).await;
    house.settled(&ids[0]).await;
    assert_eq!(texts(&house).await, ["head", "high", "normal", "low"]);
}

#[tokio::test]
async fn every_eighth_place_in_a_lane_goes_to_the_oldest_of_a_lower_priority() {
    let mut house = House::with(unlimited(), UNLIMITED).await;
    busy(&house).await;
    let mut jobs = vec![
        message(DEFAULT_CHAT, "low 1", "low"),
        message(DEFAULT_CHAT, "normal 1", "normal"),
        message(DEFAULT_CHAT, "low 2", "low"),
    ];
    jobs.extend((1..=30).map(|n| message(DEFAULT_CHAT, format!("high {n}"), "high")));
    let ids = post_all(&house, jobs).await;
    go_on(&mut house).await;
    for id in &ids {
        house.settled(id).await;
    }
    let seen = texts(&house).await;
    let at = |text: &str| seen.iter().position(|one| one == text).unwrap();
    assert!(at("low 1") <= 8, "{seen:?}");
    assert_eq!(at("normal 1"), at("low 1") + 8, "{seen:?}");
    assert_eq!(at("low 2"), at("normal 1") + 8, "{seen:?}");
    let high: Vec<&String> = seen
        .iter()
        .filter(|text| text.starts_with("high"))
        .collect();
    let expected: Vec<String> = (1..=30).map(|n| format!("high {n}")).collect();
    assert_eq!(high, expected.iter().collect::<Vec<_>>());
}

#[tokio::test]
async fn a_tried_job_keeps_the_head_of_its_lane_also_before_a_high_one() {
    let mut house = House::new().await;
    house
        .faults(json!([{"call": SEND, "do": "code", "code": 999_999, "count": 1}]))
        .await;
    let tried = post(&house, message(DEFAULT_CHAT, "tried", "low")).await;
    house
        .until(&format!("/v1/jobs/{tried}"), |job| {
            job["waiting_for"] == "retry"
        })
        .await;
    let normal = post(&house, message(DEFAULT_CHAT, "normal", "normal")).await;
    let high = post(&house, message(DEFAULT_CHAT, "high", "high")).await;
    assert_eq!(house.job(&high).await["waiting_for"], "lane");
    house.advance(Duration::from_secs(300)).await;
    house.settled(&normal).await;
    assert_eq!(texts(&house).await, ["tried", "high", "normal"]);
}

#[tokio::test]
async fn a_lane_that_is_stuck_does_not_delay_another() {
    let mut house = House::new().await;
    house
        .faults(json!([
            {"call": SEND, "do": "delay", "when": "before", "ms": 600_000, "count": 1},
            {"call": SEND, "do": "code", "code": 999_999, "count": 1},
        ]))
        .await;
    let stuck = post(&house, message(DEFAULT_CHAT, "stuck", "normal")).await;
    until_state(&house, &stuck, "sending").await;
    let waiting = post(&house, message(DEFAULT_SECOND_CHAT, "waiting", "normal")).await;
    house
        .until(&format!("/v1/jobs/{waiting}"), |job| {
            job["waiting_for"] == "retry"
        })
        .await;
    let backlog = (0..200).map(|n| message(DEFAULT_CHAT, n, "high"));
    let backlog = post_all(&house, backlog.collect()).await;
    let other = post(&house, message(DEFAULT_USER, "other", "low")).await;
    assert_eq!(house.settled(&other).await["state"], "done");
    assert_eq!(house.job(&stuck).await["state"], "sending");
    assert_eq!(house.job(&waiting).await["waiting_for"], "retry");
    assert_eq!(house.job(&backlog[0]).await["waiting_for"], "lane");
    house.kill();
}

#[tokio::test]
async fn a_job_stands_in_its_lane_only_once_its_schedule_is_reached() {
    let mut house = House::new().await;
    let mut later = message(DEFAULT_CHAT, "later", "high");
    later["delay"] = json!("10m");
    let later = post(&house, later).await;
    let now = post(&house, message(DEFAULT_CHAT, "now", "low")).await;
    assert_eq!(house.settled(&now).await["state"], "done");
    assert_eq!(house.job(&later).await["state"], "queued");
    house.advance(Duration::from_secs(601)).await;
    house.settled(&later).await;
    assert_eq!(texts(&house).await, ["now", "later"]);
}

#[tokio::test]
async fn a_job_that_failed_lets_its_lane_go_on() {
    let house = House::new().await;
    house
        .faults(json!([{"call": SEND, "do": "code", "code": 230022, "count": 1}]))
        .await;
    let jobs = (1..=3).map(|n| message(DEFAULT_CHAT, n, "normal"));
    let ids = post_all(&house, jobs.collect()).await;
    house.settled(&ids[2]).await;
    assert_eq!(house.job(&ids[0]).await["state"], "failed");
    assert_eq!(texts(&house).await, ["2", "3"]);
}

#[tokio::test]
async fn what_acts_on_a_message_stands_in_its_lane_however_the_message_is_named() {
    let mut house = House::new().await;
    let sent = post(&house, message(DEFAULT_CHAT, "look here", "normal")).await;
    let job = house.settled(&sent).await;
    let om = job["receipt"]["message_id"].as_str().unwrap().to_owned();
    for (first, second) in [(&om, &sent), (&sent, &om)] {
        limit(&house, PIN).await;
        let pin = post(&house, json!({"kind": "pin", "args": {"message": first}})).await;
        held_back(&house, &pin).await;
        let unpin = json!({"kind": "unpin", "args": {"message": second}});
        let unpin = post(&house, unpin).await;
        let job = house.job(&unpin).await;
        assert_eq!(job["waiting_for"], "lane", "{job:#}");
        assert_eq!(job["lane"], om.as_str());
        assert_eq!(house.job(&pin).await["lane"], om.as_str());
        go_on(&mut house).await;
        assert_eq!(house.settled(&unpin).await["state"], "done");
        assert_eq!(house.job(&pin).await["state"], "done");
    }
    let ledger = house.ledger().await;
    let effects = ledger["effects"].as_array().unwrap().iter();
    let names: Vec<&str> = effects.map(|one| one["effect"].as_str().unwrap()).collect();
    assert_eq!(names, ["message", "pin", "unpin", "pin", "unpin"]);
}

#[tokio::test]
async fn what_waited_for_a_message_goes_in_the_order_of_acceptance() {
    let mut house = House::new().await;
    let head = busy(&house).await;
    let by_job = |kind: &str| json!({"kind": kind, "args": {"message": head}});
    let kinds = ["pin", "unpin", "pin", "unpin"].map(by_job);
    let ids = post_all(&house, kinds.to_vec()).await;
    assert_eq!(house.job(&ids[0]).await["waiting_for"], "dependency");
    go_on(&mut house).await;
    for id in &ids {
        assert_eq!(house.settled(id).await["state"], "done");
    }
    let ledger = house.ledger().await;
    let effects = ledger["effects"].as_array().unwrap().iter();
    let names: Vec<&str> = effects.map(|one| one["effect"].as_str().unwrap()).collect();
    assert_eq!(names, ["message", "pin", "unpin", "pin", "unpin"]);
}

#[tokio::test]
async fn a_lane_may_be_named_and_holds_whoever_names_it() {
    let mut house = House::new().await;
    limit(&house, SEND).await;
    let mut jobs = vec![
        message(DEFAULT_CHAT, "first", "normal"),
        message(DEFAULT_USER, "second", "normal"),
    ];
    for job in &mut jobs {
        job["lane"] = json!("shift change");
    }
    let ids = post_all(&house, jobs).await;
    let job = house.job(&ids[1]).await;
    assert_eq!(job["lane"], "shift change");
    held_back(&house, &ids[0]).await;
    assert_eq!(house.job(&ids[1]).await["waiting_for"], "lane");
    go_on(&mut house).await;
    house.settled(&ids[1]).await;
    assert_eq!(texts(&house).await, ["first", "second"]);
}

#[tokio::test]
async fn a_batch_has_no_lane() {
    let house = House::new().await;
    house
        .faults(json!([{"call": "POST /open-apis/message/v4/batch_send/", "do": "delay", "when": "before", "ms": 600_000, "count": 1}]))
        .await;
    let batch =
        json!({"kind": "batch_send", "args": {"open_ids": [DEFAULT_USER], "text": "hello"}});
    let first = post(&house, batch.clone()).await;
    until_state(&house, &first, "sending").await;
    let second = post(&house, batch).await;
    let job = house.settled(&second).await;
    assert_eq!(job["state"], "done");
    assert!(job["lane"].is_null(), "{job:#}");
    assert_eq!(house.job(&first).await["state"], "sending");
}
