//! The token dies while a hundred calls are on the wire.

use feishu_sandbox::staff_open_id;
use serde_json::{Value, json};

use crate::support::House;
use crate::support::jobs::{SEND, made, message, outcomes, post};
use crate::{FREE, TOKEN, free, ids, shown, until_faulted, until_made};

const CALLS: usize = 100;

/// A hundred messages on the wire, their token dead before Feishu looks at it.
async fn dying(house: &House) -> Vec<String> {
    // A token is there, so that nobody waits for the first one.
    let first = post(house, message(json!({}))).await;
    house.settled(&first).await;
    assert_eq!(made(house, TOKEN).await, 1);
    let slow = json!({"call": SEND, "do": "delay", "when": "before", "ms": 3000, "count": CALLS});
    house.faults(json!([slow])).await;
    let jobs: Vec<Value> = (0..CALLS)
        .map(|n| json!({"kind": "send", "args": {"to": staff_open_id(n + 1), "text": format!("to number {n}")}}))
        .collect();
    let ids = ids(&house.post(Value::Array(jobs)).await);
    let on_the_wire = |status: &Value| status["apps"][0]["jobs"]["sending"] == CALLS;
    house.until("/v1/status", on_the_wire).await;
    until_faulted(house, SEND, CALLS as u64).await;
    // Feishu's clock alone: the relay believes that its token is good for two hours.
    house.control("clock", json!({"advance": "3h"})).await;
    ids
}

#[tokio::test]
async fn a_hundred_calls_in_flight_when_the_token_dies() {
    let house = House::with(Some(free()), FREE).await;
    let ids = dying(&house).await;
    for id in &ids {
        let job = house.settled(id).await;
        assert_eq!(job["state"], "done", "{job:#}");
        assert_eq!(refusals(&job), 1, "{job:#}");
        assert_eq!(shown(&house, id).await, 1);
    }
    assert_eq!(made(&house, TOKEN).await, 2, "one fetch for all");
    assert_eq!(
        made(&house, SEND).await,
        1 + 2 * CALLS as u64,
        "each repeated once"
    );
    let (_, status) = house.request("GET", "/v1/status", None).await;
    assert_eq!(
        status["apps"][0]["paused"],
        json!([]),
        "one death stops nobody"
    );
}

#[tokio::test]
async fn a_hundred_calls_in_flight_when_the_token_and_the_relay_die() {
    let mut house = House::with(Some(free()), FREE).await;
    let ids = dying(&house).await;
    house.kill();
    until_made(&house, SEND, 1 + CALLS as u64).await;
    house.start();
    for id in &ids {
        let job = house.settled(id).await;
        assert_eq!(job["state"], "done", "{job:#}");
        assert_eq!(outcomes(&job), ["unknown", "done"]);
        assert_eq!(shown(&house, id).await, 1);
    }
    assert_eq!(made(&house, TOKEN).await, 2);
}

/// How often Feishu refused the job's token. While nobody may fetch another yet, nothing leaves at all.
pub(crate) fn refusals(job: &Value) -> usize {
    let attempts = job["attempts"].as_array().unwrap();
    let refused = attempts
        .iter()
        .filter(|attempt| attempt["code"] == 99_991_663);
    refused.count()
}

/// A token that stays dead: the relay stops instead of asking on and on, and goes on when it is mended.
#[tokio::test]
async fn a_hundred_calls_in_flight_and_no_new_token_is_any_good() {
    let mut house = House::with(Some(free()), FREE).await;
    let dead = json!({"call": SEND, "do": "code", "code": 99_991_663});
    house.faults(json!([dead])).await;
    let jobs: Vec<Value> = (0..CALLS)
        .map(|n| json!({"kind": "send", "args": {"to": staff_open_id(n + 1), "text": format!("to number {n}")}}))
        .collect();
    let ids = ids(&house.post(Value::Array(jobs)).await);
    let stopped = |status: &Value| {
        let app = &status["apps"][0];
        app["paused"][0]["code"] == 99_991_663 && app["jobs"]["sending"].as_u64().unwrap_or(0) == 0
    };
    house.until("/v1/status", stopped).await;
    house.advance(std::time::Duration::from_secs(3600)).await;
    house.until("/v1/status", stopped).await;
    let (calls, tokens) = (made(&house, SEND).await, made(&house, TOKEN).await);
    assert!(calls <= 2 * CALLS as u64 + 20, "{calls} calls");
    assert!(tokens <= 20, "{tokens} tokens");
    assert!(house.effects("message").await.is_empty());
    house.faults(json!([])).await;
    house.request("POST", "/v1/resume", Some(json!({}))).await;
    for id in &ids {
        assert_eq!(house.settled(id).await["state"], "done");
        assert_eq!(shown(&house, id).await, 1);
    }
}
