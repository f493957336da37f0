//! Feishu away, Feishu confused, the app refused: jobs wait, say why, and go on in order.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on should stop here"
)]

mod support;

use std::collections::HashMap;
use std::time::Duration;

use feishu_sandbox::DEFAULT_USERS;
use serde_json::{Value, json};
use support::House;

const SEND: &str = "POST /open-apis/im/v1/messages";

/// What people saw, chat by chat.
async fn seen_by_chat(house: &House) -> HashMap<String, Vec<String>> {
    let mut chats: HashMap<String, Vec<String>> = HashMap::new();
    for effect in house.effects("message").await {
        let chat = effect["chat_id"].as_str().unwrap().to_owned();
        chats
            .entry(chat)
            .or_default()
            .push(effect["content"].as_str().unwrap().to_owned());
    }
    chats
}

async fn twenty_waiting(house: &House) -> Vec<String> {
    let jobs: Vec<Value> = (0..20).map(|n| json!({"kind": "send", "args": {"to": DEFAULT_USERS[n % 4], "text": format!("{n:02}")}})).collect();
    let answer = house.post(Value::Array(jobs)).await;
    answer["jobs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|job| job["id"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn an_hour_of_refused_connections_expires_what_said_so_and_drains_the_rest_in_order() {
    let mut house = House::new().await;
    house.feishu_down().await;
    let ids = twenty_waiting(&house).await;
    let short = house.post(json!({"kind": "send", "args": {"to": DEFAULT_USERS[0], "text": "soon old"}, "expires_in": "15m"})).await;
    let short = short["id"].as_str().unwrap().to_owned();
    house
        .until("/v1/status", |status| {
            !status["apps"][0]["paused"].as_array().unwrap().is_empty()
        })
        .await;
    for _ in 0..4 {
        house.advance(Duration::from_secs(15 * 60)).await;
        // The relay has seen the new time once it swept by it.
        house
            .until(&format!("/v1/jobs/{short}"), |job| {
                job["state"] == "expired"
            })
            .await;
    }
    for id in &ids {
        let job = house.job(id).await;
        assert_eq!(job["state"], "queued", "{job:#}");
        let outcomes = job["attempts"].as_array().unwrap();
        assert!(
            outcomes.iter().all(|one| one["outcome"] == "not_sent"),
            "{job:#}"
        );
    }
    house.feishu_up().await;
    for id in &ids {
        assert_eq!(house.settled(id).await["state"], "done");
    }
    for line in ["WARN", "Feishu cannot be reached", "can be reached again"] {
        assert!(house.log().contains(line), "the log tells of {line:?}");
    }
    let chats = seen_by_chat(&house).await;
    assert_eq!(chats.values().map(Vec::len).sum::<usize>(), 20);
    assert!(chats.values().all(|texts| texts.is_sorted()), "{chats:?}");
}

/// Seventy minutes of `fault` on the call that sends. What the breaker lets through may end in doubt;
/// everything else waits, and goes out in order afterwards.
async fn confused(more: &str, fault: Value) {
    let mut house = House::with(None, more).await;
    house.faults(json!([fault])).await;
    let ids = twenty_waiting(&house).await;
    let stopped = |status: &Value| !status["apps"][0]["paused"].as_array().unwrap().is_empty();
    house.until("/v1/status", stopped).await;
    for _ in 0..14 {
        house.advance(Duration::from_secs(300)).await;
    }
    let made = house.calls(SEND).await["made"].as_u64().unwrap();
    assert!(made < 100, "it hammers: {made} calls");
    house.faults(json!([])).await;
    let mut doubtful = Vec::new();
    for (n, id) in ids.iter().enumerate() {
        match house.settled(id).await["state"].as_str().unwrap() {
            "done" => {}
            "in_doubt" => doubtful.push(format!("{n:02}")),
            other => panic!("{id} is {other}"),
        }
    }
    // In flight when it began (the head of each of four lanes), and one for each 50 minutes.
    assert!(!doubtful.is_empty() && doubtful.len() <= 6, "{doubtful:?}");
    let chats = seen_by_chat(&house).await;
    let seen: Vec<&String> = chats.values().flatten().collect();
    for n in 0..20 {
        let text = format!("{n:02}");
        let times = seen.iter().filter(|seen| seen.contains(&text)).count();
        let doubt = doubtful.contains(&text);
        assert!(
            times == 1 || doubt && times == 0,
            "{text} was seen {times} times"
        );
    }
    assert!(chats.values().all(|texts| texts.is_sorted()), "{chats:?}");
}

#[tokio::test]
async fn an_hour_of_503_leaves_in_doubt_no_more_than_the_breaker_lets_through() {
    confused("", json!({"call": SEND, "do": "5xx", "when": "before"})).await;
}

#[tokio::test]
async fn an_hour_of_time_outs_leaves_in_doubt_no_more_than_the_breaker_lets_through() {
    // The call is executed after its caller has given up.
    let late = json!({"call": SEND, "do": "delay", "when": "before", "ms": 1500});
    confused("timeout = \"1s\"\n", late).await;
}

#[tokio::test]
async fn an_hour_of_lost_answers_shows_each_message_once() {
    let mut house = House::new().await;
    house
        .faults(json!([{"call": SEND, "do": "drop", "when": "after"}]))
        .await;
    let ids = twenty_waiting(&house).await;
    house
        .until("/v1/status", |status| {
            !status["apps"][0]["paused"].as_array().unwrap().is_empty()
        })
        .await;
    house.advance(Duration::from_secs(20 * 60)).await;
    house.faults(json!([])).await;
    for id in &ids {
        assert_eq!(house.settled(id).await["state"], "done");
    }
    let chats = seen_by_chat(&house).await;
    assert_eq!(chats.values().map(Vec::len).sum::<usize>(), 20);
    assert!(chats.values().all(|texts| texts.is_sorted()), "{chats:?}");
}

#[tokio::test]
async fn a_wrong_secret_stops_the_app_visibly_and_the_right_one_drains_it() {
    let mut house = House::without_relay(None, "").await;
    house.set_secret("wrong-secret");
    house.start();
    let ids = twenty_waiting(&house).await;
    let status = house
        .until("/v1/status", |status| {
            !status["apps"][0]["paused"].as_array().unwrap().is_empty()
        })
        .await;
    let stop = &status["apps"][0]["paused"][0];
    assert_eq!(stop["code"], 10014, "{stop:#}");
    assert_eq!(house.job(&ids[19]).await["waiting_for"], "app");
    house.advance(Duration::from_secs(3600)).await;
    house
        .until("/v1/status", |status| status["apps"][0]["queued"] == 20)
        .await;
    assert_eq!(house.job(&ids[0]).await["state"], "queued");
    house.stop();
    house.set_secret("sandbox-secret");
    house.start();
    for id in &ids {
        assert_eq!(house.settled(id).await["state"], "done");
    }
    assert_eq!(house.effects("message").await.len(), 20);
    let status = house
        .until("/v1/status", |status| {
            status["apps"][0]["paused"].as_array().unwrap().is_empty()
        })
        .await;
    assert_eq!(status["apps"][0]["dead_letters"], 0);
}
