//! What costs money is spent as the config allows, and what a day has used is not forgotten.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on should stop here"
)]

mod support;

use std::time::Duration;

use feishu_sandbox::{DEFAULT_CHAT, DEFAULT_USERS};
use serde_json::{Value, json};
use support::House;

/// Buzzes two people by telephone about one message; the buzz's job, ended.
async fn ring(house: &House) -> Value {
    let job = json!({"kind": "send", "args": {"to": DEFAULT_CHAT, "text": "it burns"},
        "then": [{"kind": "urgent_phone", "args": {"users": &DEFAULT_USERS[..2]}}]});
    let job = house.post(job).await;
    let job = house.settled(job["id"].as_str().unwrap()).await;
    assert_eq!(job["state"], "done", "{job:#}");
    house.settled(job["children"][0].as_str().unwrap()).await
}

#[tokio::test]
async fn people_are_rung_up_to_the_days_budget_and_not_beyond_it_also_after_a_restart() {
    let mut house = House::with(None, "budget = { urgent_phone = 5 }\n").await;
    for _ in 0..2 {
        assert_eq!(ring(&house).await["state"], "done");
    }
    house.restart();
    // Two of five are left, and two people would be rung: one too many is not half of them.
    let over = ring(&house).await;
    assert_eq!(over["state"], "failed", "{over:#}");
    assert_eq!(over["error"]["class"], "budget");
    assert_eq!(house.effects("urgent_phone").await.len(), 2);
    house.advance(Duration::from_secs(24 * 3600)).await;
    let id = over["id"].as_str().unwrap();
    house.until("/v1/jobs?limit=1", |_| true).await;
    let (status, answer) = house.act(id, "retry", None).await;
    assert_eq!(status, 202, "{answer}");
    assert_eq!(house.settled(id).await["state"], "done");
    assert_eq!(house.effects("urgent_phone").await.len(), 3);
}

#[tokio::test]
async fn a_buzz_that_feishu_refused_costs_nothing_of_the_budget() {
    let house = House::with(None, "budget = { urgent_phone = 2 }\n").await;
    let call = "PATCH /open-apis/im/v1/messages/:message_id/urgent_phone";
    let refusal = json!([{"call": call, "do": "code", "code": 230_052, "http": 400, "count": 1}]);
    house.faults(refusal).await;
    assert_eq!(ring(&house).await["state"], "failed");
    assert_eq!(ring(&house).await["state"], "done");
    assert_eq!(ring(&house).await["error"]["class"], "budget");
    assert_eq!(house.effects("urgent_phone").await.len(), 1);
}
