//! A real Alertmanager in front of the relay: one group is one card, whatever is killed in between, and a pair is one.
//!
//! It needs `prometheus-alertmanager`. Where that is missing the tests say so and pass, unless `CI` or
//! `FEISHU_RELAY_REQUIRE_PROMETHEUS` is set.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on should stop here"
)]

mod pair;
mod server;
#[path = "../support/mod.rs"]
mod support;

use std::path::PathBuf;

use feishu_sandbox::{DEFAULT_CHAT, DEFAULT_USERS};
use jiff::Timestamp;
use serde_json::{Value, json};

use server::{Alertmanager, alert, free_port, tells};
use support::House;
use support::jobs::{DAY, HOUR, MINUTE};
use support::tools::tool;

const INSTANCES: [&str; 3] = ["web-1", "web-2", "web-3"];

/// A relay with one sink that escalates, and where an Alertmanager reaches it.
async fn relay() -> (House, String) {
    let route = format!(
        "[[routes]]\nname = \"db\"\nsource = \"alertmanager\"\nto = \"{DEFAULT_CHAT}\"\nmention = [\"{0}\"]\n\
         escalate = [{{ after = \"5m\", do = \"urgent_phone\", to = [\"{0}\"] }}]\n",
        DEFAULT_USERS[0]
    );
    let mut house = House::without_relay(None, &route).await;
    let port = free_port();
    house.listen_on(port);
    house.start();
    (house, format!("http://127.0.0.1:{port}/v1/alerts/db"))
}

/// The same, with the program of Alertmanager. `None`: there is none.
async fn house() -> Option<(House, String, PathBuf)> {
    let program = tool("prometheus-alertmanager")?;
    let (house, hook) = relay().await;
    Some((house, hook, program))
}

fn all(start: &Timestamp, ended: bool) -> Vec<Value> {
    INSTANCES
        .iter()
        .map(|instance| alert(start, instance, ended))
        .collect()
}

/// The only incident, once `good` likes it.
async fn incident(house: &House, good: impl Fn(&Value) -> bool) -> Value {
    let found = house
        .until("/v1/incidents", |page| {
            let incidents = page["incidents"].as_array();
            incidents.is_some_and(|list| list.first().is_some_and(&good))
        })
        .await;
    assert_eq!(found["incidents"].as_array().unwrap().len(), 1, "{found:#}");
    found["incidents"][0].clone()
}

/// Waits until all that follows is sent.
async fn all_sent(house: &House) {
    house
        .until("/v1/status", |status| status["pending"] == 0)
        .await;
}

/// One message of three instances that changed at last to resolved, and nothing else was seen.
async fn one_card_that_is_resolved(house: &House) {
    let messages = house.effects("message").await;
    assert_eq!(messages.len(), 1, "{messages:#?}");
    assert_eq!(messages[0]["chat_id"], DEFAULT_CHAT);
    let updates = house.effects("card_update").await;
    let last = updates.last().expect("the card was changed");
    assert_eq!(last["message_id"], messages[0]["message_id"]);
    let shown = last["content"].as_str().unwrap();
    assert!(
        shown.contains("resolved") && shown.contains("已恢复"),
        "{shown}"
    );
    assert!(INSTANCES.iter().all(|one| shown.contains(one)), "{shown}");
}

/// What the card said when it was sent.
async fn first_shown(house: &House) -> String {
    let messages = house.effects("message").await;
    messages[0]["content"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_of_three_is_one_card_that_changes_to_resolved() {
    let Some((house, hook, program)) = house().await else {
        return;
    };
    let folder = house.dir.path().join("a");
    let monitor = Alertmanager::start(&program, &folder, &tells(&hook), None).await;
    let start = Timestamp::now();
    monitor.post(&all(&start, false)).await;
    let begun = incident(&house, |one| one["message_id"].is_string()).await;
    assert_eq!(begun["state"], "firing");
    assert_eq!(begun["alert_count"], 3);
    let shown = first_shown(&house).await;
    assert!(
        shown.contains("firing") && shown.contains("告警中"),
        "{shown}"
    );
    assert!(INSTANCES.iter().all(|one| shown.contains(one)), "{shown}");
    monitor.post(&all(&start, true)).await;
    incident(&house, |one| one["state"] == "resolved").await;
    all_sent(&house).await;
    one_card_that_is_resolved(&house).await;
    assert!(house.effects("urgent_phone").await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_and_a_feishu_that_are_killed_in_between_lose_nothing() {
    let Some((mut house, hook, program)) = house().await else {
        return;
    };
    let folder = house.dir.path().join("a");
    let monitor = Alertmanager::start(&program, &folder, &tells(&hook), None).await;
    // Nobody listens when the news come: Alertmanager tries again.
    house.kill();
    let start = Timestamp::now();
    monitor.post(&all(&start, false)).await;
    let failed = "alertmanager_notification_requests_failed_total";
    monitor.until(failed, |count| count >= 1.0).await;
    house.start();
    incident(&house, |one| one["message_id"].is_string()).await;
    // A first notification of less than three is followed by the rest.
    incident(&house, |one| one["alert_count"] == 3).await;
    house.feishu_down().await;
    monitor.post(&all(&start, true)).await;
    incident(&house, |one| one["state"] == "resolved").await;
    house.kill();
    house.start();
    house.feishu_up().await;
    // It is tried again after a while, and looked for where the kill took its answer.
    house.advance(MINUTE).await;
    all_sent(&house).await;
    one_card_that_is_resolved(&house).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_still_fires_is_shown_when_feishu_is_back_after_days() {
    let Some((mut house, hook, program)) = house().await else {
        return;
    };
    let folder = house.dir.path().join("a");
    let monitor = Alertmanager::start(&program, &folder, &tells(&hook), None).await;
    house.feishu_down().await;
    let start = Timestamp::now();
    monitor.post(&all(&start, false)).await;
    incident(&house, |one| one["state"] == "firing").await;
    // Past `expires_in`, past `give_up_after`.
    for by in [HOUR, DAY, DAY * 3] {
        house.advance(by).await;
    }
    house.kill();
    house.start();
    house.advance(DAY).await;
    house.feishu_up().await;
    incident(&house, |one| one["message_id"].is_string()).await;
    let shown = first_shown(&house).await;
    assert!(shown.contains("告警中"), "{shown}");
    assert!(INSTANCES.iter().all(|one| shown.contains(one)), "{shown}");
    monitor.post(&all(&start, true)).await;
    incident(&house, |one| one["state"] == "resolved").await;
    all_sent(&house).await;
    one_card_that_is_resolved(&house).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_looks_at_it_is_not_called() {
    let Some((mut house, hook, program)) = house().await else {
        return;
    };
    let folder = house.dir.path().join("a");
    let monitor = Alertmanager::start(&program, &folder, &tells(&hook), None).await;
    let start = Timestamp::now();
    monitor.post(&all(&start, false)).await;
    let begun = incident(&house, |one| one["message_id"].is_string()).await;
    let id = begun["id"].as_str().unwrap();
    let (status, told) = house
        .request("POST", &format!("/v1/incidents/{id}/ack"), Some(json!({})))
        .await;
    assert_eq!(
        (status, &told["state"]),
        (200, &json!("acknowledged")),
        "{told:#}"
    );
    house.advance(MINUTE * 6).await;
    let (_, told) = house
        .request("GET", &format!("/v1/incidents/{id}"), None)
        .await;
    assert_eq!(told["rungs"][0]["outcome"], "skipped", "{told:#}");
    assert!(house.effects("urgent_phone").await.is_empty());
    monitor.post(&all(&start, true)).await;
    incident(&house, |one| one["state"] == "resolved").await;
    all_sent(&house).await;
    one_card_that_is_resolved(&house).await;
}
