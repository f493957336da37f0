//! Jobs of the kinds that tests need again and again, and ways to wait for them.

use std::time::Duration;

use feishu_sandbox::DEFAULT_CHAT;
use serde_json::{Value, json};

use super::House;

pub const SEND: &str = "POST /open-apis/im/v1/messages";
pub const UPLOAD: &str = "POST /open-apis/im/v1/images";
pub const SECOND: Duration = Duration::from_secs(1);
pub const MINUTE: Duration = Duration::from_secs(60);
pub const HOUR: Duration = Duration::from_secs(3600);
pub const DAY: Duration = Duration::from_secs(86_400);

/// One pixel, as base64 of a PNG.
pub const PIXEL: &str = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";

pub fn message(more: Value) -> Value {
    let mut job =
        json!({"kind": "send", "args": {"to": DEFAULT_CHAT, "text": "disk full on db-1"}});
    for (name, value) in more.as_object().unwrap() {
        job[name] = value.clone();
    }
    job
}

pub fn id(job: &Value) -> String {
    job["id"].as_str().unwrap().to_owned()
}

pub fn child(job: &Value, n: usize) -> String {
    job["children"][n].as_str().unwrap().to_owned()
}

pub fn path(id: &str) -> String {
    format!("/v1/jobs/{id}")
}

pub fn ms(time: &Value) -> i64 {
    let at: jiff::Timestamp = time.as_str().unwrap().parse().unwrap();
    at.as_millisecond()
}

pub fn outcomes(job: &Value) -> Vec<&str> {
    let attempts = job["attempts"].as_array().unwrap();
    attempts
        .iter()
        .map(|attempt| attempt["outcome"].as_str().unwrap())
        .collect()
}

pub async fn made(house: &House, call: &str) -> u64 {
    house.calls(call).await["made"].as_u64().unwrap_or(0)
}

/// Posts one job and says its id.
pub async fn post(house: &House, job: Value) -> String {
    id(&house.post(job).await)
}

pub async fn until_state(house: &House, id: &str, state: &str) -> Value {
    house.until(&path(id), |job| job["state"] == state).await
}

/// The job, queued again after `attempts` attempts.
pub async fn tried(house: &House, id: &str, attempts: usize) -> Value {
    house
        .until(&path(id), |job| {
            job["state"] == "queued" && job["attempts"].as_array().unwrap().len() >= attempts
        })
        .await
}

/// Moves the clocks, and waits until the relay has seen it.
pub async fn pass(house: &mut House, by: Duration) {
    let delay = format!("{}s", by.as_secs());
    let witness = json!({"kind": "unpin", "args": {"message": "om_witness"}, "delay": delay});
    let witness = post(house, witness).await;
    house.advance(by + SECOND).await;
    house.settled(&witness).await;
}

pub async fn acted(house: &House, id: &str, what: &str, body: Value) -> (u16, Value) {
    let body = (!body.is_null()).then_some(body);
    house.act(id, what, body).await
}

/// A message that was sent, by its id.
pub async fn sent(house: &House) -> String {
    let job = house.post(message(json!({}))).await;
    let job = house.settled(&id(&job)).await;
    job["receipt"]["message_id"].as_str().unwrap().to_owned()
}

/// A message whose answer was lost, given up by a person: in doubt.
pub async fn doubtful(house: &House, more: Value) -> String {
    house
        .faults(json!([{"call": SEND, "do": "drop", "when": "after", "count": 1}]))
        .await;
    let id = post(house, message(more)).await;
    tried(house, &id, 1).await;
    let (status, job) = acted(house, &id, "cancel", Value::Null).await;
    assert_eq!(
        (status, &job["state"]),
        (200, &json!("in_doubt")),
        "{job:#}"
    );
    id
}
