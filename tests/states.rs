//! Every state a job can be in, what leads there, and who may take it out again.
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
const UPLOAD: &str = "POST /open-apis/im/v1/images";
const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);

/// One pixel, as base64 of a PNG.
const PIXEL: &str = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";

fn message(more: Value) -> Value {
    let mut job =
        json!({"kind": "send", "args": {"to": DEFAULT_CHAT, "text": "disk full on db-1"}});
    for (name, value) in more.as_object().unwrap() {
        job[name] = value.clone();
    }
    job
}

fn id(job: &Value) -> String {
    job["id"].as_str().unwrap().to_owned()
}

fn child(job: &Value, n: usize) -> String {
    job["children"][n].as_str().unwrap().to_owned()
}

fn path(id: &str) -> String {
    format!("/v1/jobs/{id}")
}

fn ms(time: &Value) -> i64 {
    let at: jiff::Timestamp = time.as_str().unwrap().parse().unwrap();
    at.as_millisecond()
}

fn outcomes(job: &Value) -> Vec<&str> {
    let attempts = job["attempts"].as_array().unwrap();
    attempts
        .iter()
        .map(|attempt| attempt["outcome"].as_str().unwrap())
        .collect()
}

async fn made(house: &House, call: &str) -> u64 {
    house.calls(call).await["made"].as_u64().unwrap_or(0)
}

/// Posts one job and says its id.
async fn post(house: &House, job: Value) -> String {
    id(&house.post(job).await)
}

async fn until_state(house: &House, id: &str, state: &str) -> Value {
    house.until(&path(id), |job| job["state"] == state).await
}

/// The job, queued again after `attempts` attempts.
async fn tried(house: &House, id: &str, attempts: usize) -> Value {
    house
        .until(&path(id), |job| {
            job["state"] == "queued" && job["attempts"].as_array().unwrap().len() >= attempts
        })
        .await
}

/// Moves the clocks, and waits until the relay has seen it.
async fn pass(house: &mut House, by: Duration) {
    let delay = format!("{}s", by.as_secs());
    let witness = json!({"kind": "unpin", "args": {"message": "om_witness"}, "delay": delay});
    let witness = post(house, witness).await;
    house.advance(by + SECOND).await;
    house.settled(&witness).await;
}

async fn acted(house: &House, id: &str, what: &str, body: Value) -> (u16, Value) {
    let body = (!body.is_null()).then_some(body);
    house.act(id, what, body).await
}

/// A message that was sent, by its id.
async fn sent(house: &House) -> String {
    let job = house.post(message(json!({}))).await;
    let job = house.settled(&id(&job)).await;
    job["receipt"]["message_id"].as_str().unwrap().to_owned()
}

/// A message whose answer was lost, given up by a person: in doubt.
async fn doubtful(house: &House, more: Value) -> String {
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

#[tokio::test]
async fn a_job_is_not_sent_before_its_schedule_and_then_without_delay() {
    let mut house = House::new().await;
    let delayed = house.post(message(json!({"delay": "10m"}))).await;
    let wait = ms(&delayed["run_at"]) - ms(&delayed["created_at"]);
    assert!((590_000..=600_000).contains(&wait), "{wait}");
    let at = post(&house, message(json!({"not_before": delayed["run_at"]}))).await;
    let delayed = id(&delayed);
    house.advance(9 * MINUTE).await;
    sent(&house).await;
    for id in [&delayed, &at] {
        let job = house.job(id).await;
        assert_eq!(job["state"], "queued");
        assert_eq!(job["waiting_for"], "schedule");
    }
    assert_eq!(house.effects("message").await.len(), 1);
    house.advance(MINUTE + SECOND).await;
    for id in [&delayed, &at] {
        assert_eq!(house.settled(id).await["state"], "done");
    }
}

#[tokio::test]
async fn schedules_and_deadlines_are_wall_clock_times_that_survive_a_restart() {
    let mut house = House::new().await;
    let late = post(&house, message(json!({"delay": "1h", "expires_in": "2h"}))).await;
    let due = post(&house, message(json!({"delay": "1h"}))).await;
    house.stop();
    house.advance(3 * HOUR).await;
    house.start();
    assert_eq!(house.settled(&late).await["state"], "expired");
    assert_eq!(house.settled(&due).await["state"], "done");
    assert_eq!(house.effects("message").await.len(), 1);
}

#[tokio::test]
async fn a_job_past_its_deadline_says_so_also_while_it_waits_for_a_limit() {
    let mut house = House::new().await;
    house
        .faults(json!([{"call": SEND, "do": "429", "reset_s": 1800}]))
        .await;
    let id = post(&house, message(json!({"expires_in": "5m"}))).await;
    let job = tried(&house, &id, 1).await;
    assert_eq!(job["waiting_for"], "limit", "{job:#}");
    assert_eq!(outcomes(&job), ["limited"]);
    house.advance(5 * MINUTE).await;
    let job = house.settled(&id).await;
    assert_eq!(job["state"], "expired", "{job:#}");
    assert!(ms(&job["finished_at"]) - ms(&job["expires_at"]) < 10_000);
    assert_eq!(job["error"]["class"], "expired");
    assert!(house.effects("message").await.is_empty());
}

#[tokio::test]
async fn a_job_without_a_deadline_is_given_up_after_the_configured_time_from_its_schedule_on() {
    let mut house = House::new().await;
    house
        .faults(json!([{"call": SEND, "do": "429", "reset_s": 1800}]))
        .await;
    let id = post(&house, message(json!({"delay": "1d"}))).await;
    house.advance(DAY + HOUR).await;
    tried(&house, &id, 1).await;
    house.advance(3 * DAY - 2 * HOUR).await;
    tried(&house, &id, 2).await;
    house.advance(HOUR + SECOND).await;
    let job = house.settled(&id).await;
    assert_eq!(job["state"], "failed", "{job:#}");
    assert_eq!(job["error"]["class"], "gave_up");
}

#[tokio::test]
async fn after_an_unknown_attempt_a_deadline_or_a_cancel_or_a_recall_ends_in_doubt() {
    let mut house = House::new().await;
    let lost = json!([{"call": SEND, "do": "drop", "when": "after"}]);
    for end in ["expiry", "cancel", "recall"] {
        house.faults(lost.clone()).await;
        let id = post(&house, message(json!({"expires_in": "5m"}))).await;
        tried(&house, &id, 1).await;
        if end == "expiry" {
            house.advance(5 * MINUTE + SECOND).await;
        } else {
            let (status, _) = acted(&house, &id, end, Value::Null).await;
            assert_eq!(status, 200);
        }
        let job = house.settled(&id).await;
        assert_eq!(job["state"], "in_doubt", "{end}: {job:#}");
        assert!(job["finished_at"].is_null());
        assert_eq!(job["error"]["class"], "doubt");
        house.faults(json!([])).await;
        sent(&house).await;
    }
    assert_eq!(house.effects("message").await.len(), 6);
}

#[tokio::test]
async fn children_are_canceled_with_a_failed_parent_and_brought_back_by_its_retry() {
    let house = House::new().await;
    house
        .faults(json!([{"call": SEND, "do": "code", "code": 230022, "count": 1}]))
        .await;
    let then = json!([{"kind": "pin"}, {"kind": "urgent_app", "args": {"users": [DEFAULT_USER]}}]);
    let parent = post(&house, message(json!({"then": then}))).await;
    let job = house.settled(&parent).await;
    assert_eq!(job["state"], "failed", "{job:#}");
    assert_eq!(job["error"]["class"], "caller");
    for n in 0..2 {
        let child = house.job(&child(&job, n)).await;
        assert_eq!(child["state"], "canceled");
        assert_eq!(child["error"]["class"], "dependency");
        let (status, _) = acted(&house, &id(&child), "retry", Value::Null).await;
        assert_eq!(status, 409, "its parent is not done");
    }
    let (status, _) = acted(&house, &parent, "retry", Value::Null).await;
    assert_eq!(status, 202);
    let job = house.settled(&parent).await;
    assert_eq!(job["state"], "done");
    for n in 0..2 {
        assert_eq!(house.job(&child(&job, n)).await["state"], "done");
    }
    assert_eq!(house.effects("pin").await.len(), 1);
    assert_eq!(house.effects("urgent_app").await.len(), 1);
}

#[tokio::test]
async fn children_are_canceled_with_an_expired_a_canceled_and_a_recalled_parent() {
    let mut house = House::new().await;
    house
        .faults(json!([{"call": SEND, "do": "429", "reset_s": 1800}]))
        .await;
    for end in ["expired", "cancel", "recall"] {
        let job = message(json!({"expires_in": "5m", "then": [{"kind": "pin", "delay": "1h"}]}));
        let parent = post(&house, job).await;
        match end {
            "expired" => house.advance(5 * MINUTE + SECOND).await,
            _ => {
                let (status, _) = acted(&house, &parent, end, Value::Null).await;
                assert_eq!(status, 200);
            }
        }
        let job = house.settled(&parent).await;
        let ended = if end == "expired" {
            "expired"
        } else {
            "canceled"
        };
        assert_eq!(job["state"], ended);
        assert_eq!(house.job(&child(&job, 0)).await["state"], "canceled");
    }
}

#[tokio::test]
async fn a_child_that_took_its_parents_deadline_takes_the_new_one_of_a_retry() {
    let mut house = House::new().await;
    house
        .faults(json!([{"call": SEND, "do": "429", "reset_s": 600}]))
        .await;
    let job = message(json!({"expires_in": "5m", "then": [{"kind": "pin"}]}));
    let parent = post(&house, job).await;
    house.advance(5 * MINUTE + SECOND).await;
    assert_eq!(house.settled(&parent).await["state"], "expired");
    house.faults(json!([])).await;
    house.advance(6 * MINUTE).await;
    acted(&house, &parent, "retry", json!({"expires_in": "1h"})).await;
    let job = house.settled(&parent).await;
    assert_eq!(job["state"], "done", "{job:#}");
    let pin = house.job(&child(&job, 0)).await;
    assert_eq!(pin["state"], "done", "{pin:#}");
    assert_eq!(pin["expires_at"], job["expires_at"]);
}

#[tokio::test]
async fn a_child_retried_after_its_parent_was_done_goes_on_with_its_message() {
    let mut house = House::new().await;
    let job = message(json!({"delay": "10m", "then": [{"kind": "pin"}]}));
    let parent = house.post(job).await;
    let pin = child(&parent, 0);
    acted(&house, &pin, "cancel", Value::Null).await;
    house.advance(10 * MINUTE + SECOND).await;
    assert_eq!(house.settled(&id(&parent)).await["state"], "done");
    let (status, _) = acted(&house, &pin, "retry", Value::Null).await;
    assert_eq!(status, 202);
    let job = house.settled(&pin).await;
    assert_eq!(job["state"], "done", "{job:#}");
}

#[tokio::test]
async fn a_child_comes_back_only_when_nothing_that_it_needs_has_failed() {
    let house = House::new().await;
    house
        .faults(json!([{"call": SEND, "do": "code", "code": 230022, "count": 2}]))
        .await;
    let target = post(&house, message(json!({"delay": "1s"}))).await;
    let then = json!([{"kind": "pin", "args": {"message": target}}]);
    let parent = post(&house, message(json!({"delay": "1s", "then": then}))).await;
    assert_eq!(house.settled(&target).await["state"], "failed");
    let job = house.settled(&parent).await;
    assert_eq!(job["state"], "failed");
    let pin = child(&job, 0);
    acted(&house, &parent, "retry", Value::Null).await;
    assert_eq!(house.settled(&parent).await["state"], "done");
    assert_eq!(house.job(&pin).await["state"], "canceled");
    acted(&house, &target, "retry", Value::Null).await;
    assert_eq!(house.settled(&target).await["state"], "done");
    let job = house.settled(&pin).await;
    assert_eq!(job["state"], "done", "{job:#}");
}

#[tokio::test]
async fn what_hangs_on_a_canceled_job_through_another_is_canceled_and_comes_back_too() {
    let house = House::new().await;
    house
        .faults(json!([{"call": UPLOAD, "do": "code", "code": 234011, "count": 1}]))
        .await;
    let upload = json!({"kind": "upload_image", "args": {"data": PIXEL}, "delay": "1s"});
    let upload = post(&house, upload).await;
    let picture = json!({"kind": "send", "args": {"to": DEFAULT_CHAT, "image": upload}});
    let picture = post(&house, picture).await;
    let pin = post(&house, json!({"kind": "pin", "args": {"message": picture}})).await;
    assert_eq!(house.settled(&upload).await["state"], "failed");
    for id in [&picture, &pin] {
        assert_eq!(house.job(id).await["state"], "canceled");
    }
    acted(&house, &upload, "retry", Value::Null).await;
    for id in [&upload, &picture, &pin] {
        let job = house.settled(id).await;
        assert_eq!(job["state"], "done", "{job:#}");
    }
    assert_eq!(house.effects("pin").await.len(), 1);
}

#[tokio::test]
async fn children_of_a_job_in_doubt_wait_until_it_is_settled_with_its_id() {
    let house = House::new().await;
    let parent = doubtful(&house, json!({"then": [{"kind": "pin"}]})).await;
    let pin = child(&house.job(&parent).await, 0);
    let job = house.job(&pin).await;
    assert_eq!(job["state"], "queued");
    assert_eq!(job["waiting_for"], "dependency");
    let message = house.effects("message").await[0]["message_id"].clone();
    let word = json!({"state": "done", "message_id": message});
    let (status, job) = acted(&house, &parent, "settle", word).await;
    assert_eq!((status, &job["state"]), (200, &json!("done")));
    assert_eq!(job["receipt"]["message_id"], message);
    let job = house.settled(&pin).await;
    assert_eq!(job["state"], "done", "{job:#}");
    assert_eq!(house.effects("pin").await[0]["message_id"], message);
}

#[tokio::test]
async fn children_of_a_job_settled_without_an_id_or_as_failed_are_canceled() {
    let house = House::new().await;
    for state in ["done", "failed"] {
        let parent = doubtful(&house, json!({"then": [{"kind": "pin"}]})).await;
        let (status, job) = acted(&house, &parent, "settle", json!({"state": state})).await;
        assert_eq!((status, &job["state"]), (200, &json!(state)));
        let job = house.settled(&child(&job, 0)).await;
        assert_eq!(job["state"], "canceled", "{job:#}");
    }
    assert!(house.effects("pin").await.is_empty());
}

#[tokio::test]
async fn children_of_a_job_in_doubt_go_on_when_its_retry_is_done() {
    let house = House::new().await;
    let parent = doubtful(&house, json!({"then": [{"kind": "pin"}]})).await;
    let (status, _) = acted(&house, &parent, "retry", Value::Null).await;
    assert_eq!(status, 202);
    let job = house.settled(&parent).await;
    assert_eq!(job["state"], "done", "{job:#}");
    assert_eq!(house.job(&child(&job, 0)).await["state"], "done");
    assert_eq!(house.effects("message").await.len(), 1, "the same uuid");
}

#[tokio::test]
async fn a_childs_delay_counts_from_the_end_of_its_parent() {
    let mut house = House::new().await;
    let job = message(json!({"delay": "1h", "then": [{"kind": "pin", "delay": "10m"}]}));
    let parent = house.post(job).await;
    let pin = child(&parent, 0);
    let parent = id(&parent);
    house.advance(30 * MINUTE).await;
    assert_eq!(house.job(&pin).await["waiting_for"], "dependency");
    house.advance(30 * MINUTE + SECOND).await;
    let parent = until_state(&house, &parent, "done").await;
    let job = house.job(&pin).await;
    assert_eq!(job["waiting_for"], "schedule", "{job:#}");
    assert_eq!(ms(&job["run_at"]) - ms(&parent["finished_at"]), 600_000);
    house.advance(10 * MINUTE).await;
    assert_eq!(house.settled(&pin).await["state"], "done");
}

#[tokio::test]
async fn a_child_takes_its_parents_deadline_only_without_a_delay_and_its_own_from_acceptance() {
    let mut house = House::new().await;
    let then = json!([{"kind": "pin"}, {"kind": "pin", "delay": "2h"}, {"kind": "pin", "expires_in": "30m"}]);
    let job = message(json!({"delay": "1h", "expires_in": "90m", "then": then}));
    let parent = house.post(job).await;
    let [first, second, third] = [0, 1, 2].map(|n| child(&parent, n));
    assert_eq!(house.job(&first).await["expires_at"], parent["expires_at"]);
    assert!(house.job(&second).await["expires_at"].is_null());
    let job = house.job(&third).await;
    let life = ms(&job["expires_at"]) - ms(&parent["created_at"]);
    assert!((1_790_000..=1_800_000).contains(&life), "{life}");

    // It does not wait for a parent that comes too late for it.
    house.advance(30 * MINUTE).await;
    assert_eq!(house.settled(&third).await["state"], "expired");
    house.advance(30 * MINUTE + SECOND).await;
    assert_eq!(house.settled(&first).await["state"], "done");
    house.advance(2 * HOUR).await;
    assert_eq!(house.settled(&second).await["state"], "done");
}

#[tokio::test]
async fn a_deadline_before_the_start_is_refused_of_a_job_and_of_a_child() {
    let house = House::new().await;
    for (job, pointer) in [
        (
            message(json!({"delay": "1h", "expires_in": "30m"})),
            "/expires_in",
        ),
        (
            message(json!({"then": [{"kind": "pin", "delay": "1h", "expires_in": "30m"}]})),
            "/then/0/expires_in",
        ),
    ] {
        let (status, problem) = house.request("POST", "/v1/jobs", Some(job)).await;
        assert_eq!(status, 422, "{problem:#}");
        assert_eq!(problem["errors"][0]["pointer"], pointer);
    }
}

#[tokio::test]
async fn a_job_that_names_another_jobs_message_waits_for_it_and_takes_its_id() {
    let mut house = House::new().await;
    let first = post(&house, message(json!({"delay": "10m"}))).await;
    let pin = json!({"kind": "pin", "args": {"message": first}});
    let pin = post(&house, pin).await;
    assert_eq!(house.job(&pin).await["waiting_for"], "dependency");
    house.restart();
    house.advance(10 * MINUTE).await;
    let job = house.settled(&pin).await;
    assert_eq!(job["state"], "done", "{job:#}");
    assert!(job["parent"].is_null());
    let message = house.job(&first).await["receipt"]["message_id"].clone();
    assert_eq!(job["to"], message);

    // Of a job that is done already the id is taken at once.
    let unpin = post(&house, json!({"kind": "unpin", "args": {"message": first}})).await;
    assert_eq!(house.settled(&unpin).await["state"], "done");
    assert_eq!(house.effects("unpin").await[0]["message_id"], message);
}

#[tokio::test]
async fn a_job_that_names_a_job_without_a_message_is_refused_or_canceled_with_it() {
    let house = House::new().await;
    let first = post(&house, message(json!({"delay": "10m"}))).await;
    let pin = json!({"kind": "pin", "args": {"message": first}});
    let pinned = post(&house, pin.clone()).await;
    acted(&house, &first, "cancel", Value::Null).await;
    assert_eq!(house.job(&pinned).await["state"], "canceled");
    let nobody = json!({"kind": "pin", "args": {"message": format!("job_{}", "0".repeat(32))}});
    for job in [pin, nobody] {
        let (status, problem) = house.request("POST", "/v1/jobs", Some(job)).await;
        assert_eq!(status, 422, "{problem:#}");
        assert_eq!(problem["errors"][0]["pointer"], "/args/message");
    }
}

#[tokio::test]
async fn an_image_comes_from_an_upload_job_or_from_bytes_of_its_own() {
    let house = House::new().await;
    let upload = json!({"kind": "upload_image", "args": {"data": PIXEL, "file_name": "dot.png"}});
    let upload = post(&house, upload).await;
    let named = json!({"kind": "send", "args": {"to": DEFAULT_CHAT, "image": upload}});
    let own = json!({"kind": "send", "args": {"to": DEFAULT_CHAT,
        "image": {"data": PIXEL, "file_name": "dot.png"}}, "then": [{"kind": "pin"}]});
    let (named, own) = (post(&house, named).await, post(&house, own).await);
    for id in [&upload, &named, &own] {
        let job = house.settled(id).await;
        assert_eq!(job["state"], "done", "{job:#}");
    }
    let key = house.job(&upload).await["receipt"]["image_key"].clone();
    let seen = house.effects("message").await;
    assert_eq!(seen.len(), 2);
    for effect in &seen {
        assert_eq!(effect["msg_type"], "image");
    }
    let shows = |effect: &&Value| {
        effect["content"]
            .to_string()
            .contains(key.as_str().unwrap())
    };
    assert_eq!(seen.iter().filter(shows).count(), 1);
    assert_eq!(house.effects("upload").await.len(), 2);
    assert_eq!(
        house.job(&own).await["children"].as_array().unwrap().len(),
        1
    );
    assert_eq!(house.effects("pin").await.len(), 1);
}

#[tokio::test]
async fn a_message_whose_own_bytes_are_refused_fails_as_they_did_and_its_retry_uploads_them_again()
{
    let house = House::new().await;
    house
        .faults(json!([{"call": UPLOAD, "do": "code", "code": 234011, "count": 1}]))
        .await;
    let job = json!({"kind": "send", "args": {"to": DEFAULT_CHAT, "image": {"data": PIXEL}}, "then": [{"kind": "pin"}]});
    let own = post(&house, job).await;
    let job = house.settled(&own).await;
    assert_eq!(job["state"], "failed", "{job:#}");
    assert_eq!(job["error"]["code"], 234011, "it says why: {job:#}");
    assert_eq!(house.job(&child(&job, 0)).await["state"], "canceled");
    let (status, answer) = acted(&house, &own, "retry", Value::Null).await;
    assert_eq!(status, 202, "{answer:#}");
    let job = house.settled(&own).await;
    assert_eq!(job["state"], "done", "{job:#}");
    assert_eq!(house.job(&child(&job, 0)).await["state"], "done");
}

/// A job of its own in that state.
async fn in_state(house: &mut House, state: &str) -> String {
    let slow = json!([{"call": SEND, "do": "delay", "ms": 60_000, "when": "before", "count": 1}]);
    match state {
        "queued" => post(house, message(json!({"delay": "1d"}))).await,
        "sending" => {
            house.faults(slow).await;
            let id = post(house, message(json!({}))).await;
            until_state(house, &id, "sending").await;
            id
        }
        "done" => {
            let id = post(house, message(json!({}))).await;
            house.settled(&id).await;
            id
        }
        "failed" => {
            house
                .faults(json!([{"call": SEND, "do": "code", "code": 230022, "count": 1}]))
                .await;
            let id = post(house, message(json!({}))).await;
            house.settled(&id).await;
            id
        }
        "expired" => {
            let first = post(house, message(json!({"delay": "2m"}))).await;
            let pin = json!({"kind": "pin", "args": {"message": first}, "expires_in": "1m"});
            let id = post(house, pin).await;
            house.advance(MINUTE + SECOND).await;
            house.settled(&id).await;
            id
        }
        "canceled" => {
            let id = post(house, message(json!({"delay": "1d"}))).await;
            acted(house, &id, "cancel", Value::Null).await;
            id
        }
        _ => doubtful(house, json!({})).await,
    }
}

/// In which states an action is taken, and what it leads to.
async fn check_action(action: &str, body: Value, takes: &[(&str, u16, &str)]) {
    let mut house = House::new().await;
    for state in [
        "queued", "done", "failed", "expired", "canceled", "in_doubt", "sending",
    ] {
        let id = in_state(&mut house, state).await;
        assert_eq!(house.job(&id).await["state"], state);
        let before = house.job(&id).await;
        let (status, answer) = acted(&house, &id, action, body.clone()).await;
        match takes.iter().find(|(from, ..)| *from == state) {
            Some((_, expected, to)) => {
                assert_eq!(status, *expected, "{action} of {state}: {answer:#}");
                assert_eq!(answer["state"], *to, "{action} of {state}: {answer:#}");
                let actions = answer["actions"].as_array().unwrap();
                let last = actions.last().unwrap();
                assert!(last["what"].as_str().unwrap().starts_with(action));
                // What goes again is let go, so that it takes neither the lane nor the fault of the next;
                // the expired one still waits for the message that it names.
                if *to == "queued" && state != "expired" {
                    house.settled(&id).await;
                }
            }
            None => {
                assert_eq!(status, 409, "{action} of {state}: {answer:#}");
                assert!(answer["detail"].is_string());
                let after = house.job(&id).await;
                assert_eq!(after["actions"], before["actions"]);
            }
        }
    }
}

#[tokio::test]
async fn a_cancel_is_taken_of_what_is_queued_or_in_doubt() {
    let takes = [("queued", 200, "canceled"), ("in_doubt", 200, "canceled")];
    check_action("cancel", Value::Null, &takes).await;
}

#[tokio::test]
async fn a_retry_is_taken_of_what_ended_without_being_done() {
    let takes = [
        ("failed", 202, "queued"),
        ("expired", 202, "queued"),
        ("canceled", 202, "queued"),
        ("in_doubt", 202, "queued"),
    ];
    // The one that it would be taken of without a new life as well, but for its deadline.
    check_action("retry", json!({"expires_in": "1h"}), &takes).await;
}

#[tokio::test]
async fn a_recall_is_taken_of_what_was_or_may_still_be_sent() {
    let takes = [
        ("queued", 200, "canceled"),
        ("sending", 202, "sending"),
        ("done", 202, "done"),
    ];
    check_action("recall", Value::Null, &takes).await;
}

#[tokio::test]
async fn a_persons_word_is_taken_of_what_is_in_doubt() {
    let takes = [("in_doubt", 200, "failed")];
    check_action("settle", json!({"state": "failed"}), &takes).await;
}

#[tokio::test]
async fn a_retry_past_the_deadline_needs_a_new_one() {
    let mut house = House::new().await;
    house
        .faults(json!([{"call": SEND, "do": "429", "reset_s": 600}]))
        .await;
    let id = post(&house, message(json!({"expires_in": "5m"}))).await;
    house.advance(5 * MINUTE + SECOND).await;
    assert_eq!(house.settled(&id).await["state"], "expired");
    house.faults(json!([])).await;
    house.advance(6 * MINUTE).await;
    let (status, _) = acted(&house, &id, "retry", Value::Null).await;
    assert_eq!(status, 409);
    let (status, job) = acted(&house, &id, "retry", json!({"expires_in": "1h"})).await;
    assert_eq!(status, 202);
    assert!(ms(&job["expires_at"]) - ms(&job["run_at"]) > 3_500_000);
    assert_eq!(house.settled(&id).await["state"], "done");
}

#[tokio::test]
async fn a_recall_during_the_attempt_is_carried_out_when_the_id_is_known() {
    let house = House::new().await;
    house
        .faults(json!([{"call": SEND, "do": "delay", "when": "before", "ms": 3000, "count": 1}]))
        .await;
    let id = post(&house, message(json!({}))).await;
    until_state(&house, &id, "sending").await;
    let (status, job) = acted(&house, &id, "recall", Value::Null).await;
    assert_eq!(status, 202);
    assert_eq!(
        job["recall"],
        json!({"state": "queued", "count": 0, "of": 1})
    );
    let job = house
        .until(&path(&id), |job| job["recalled_at"].is_string())
        .await;
    assert_eq!(job["state"], "done");
    let message = &job["receipt"]["message_id"];
    let seen = house.effects("recall").await;
    assert_eq!(seen.len(), 1);
    assert_eq!(&seen[0]["message_id"], message);
    let job = house
        .until(&path(&id), |job| job["recall"]["state"] == "done")
        .await;
    assert_eq!(job["recall"], json!({"state": "done", "count": 1, "of": 1}));
}

#[tokio::test]
async fn a_recall_during_an_attempt_that_is_not_carried_out_cancels_the_job_and_its_children() {
    // The group is full: the first message takes its only place of the second.
    let seed = json!({"limits": {"app_second": 1}});
    let mut house = House::with(Some(seed), "").await;
    house
        .faults(json!([{"call": SEND, "do": "delay", "when": "before", "ms": 3000, "count": 1}]))
        .await;
    house.control("clock", json!({"freeze": true})).await;
    let slow = message(
        json!({"then": [{"kind": "pin"}], "args": {"to": DEFAULT_SECOND_CHAT, "text": "slow"}}),
    );
    let id = post(&house, slow).await;
    until_state(&house, &id, "sending").await;
    sent(&house).await;
    let (status, _) = acted(&house, &id, "recall", Value::Null).await;
    assert_eq!(status, 202);
    let job = house.settled(&id).await;
    assert_eq!(outcomes(&job), ["limited"]);
    assert_eq!(job["state"], "canceled", "{job:#}");
    assert_eq!(job["error"]["class"], "canceled");
    assert_eq!(house.job(&child(&job, 0)).await["state"], "canceled");
    house.control("clock", json!({"freeze": false})).await;
    house.advance(MINUTE).await;
    sent(&house).await;
    assert_eq!(house.effects("message").await.len(), 2);
}

#[tokio::test]
async fn a_recall_during_an_attempt_whose_answer_is_lost_stops_and_stays_in_doubt() {
    let house = House::with(None, "timeout = \"1s\"\n").await;
    house
        .faults(json!([{"call": SEND, "do": "delay", "when": "after", "ms": 3000, "count": 1}]))
        .await;
    let id = post(&house, message(json!({}))).await;
    until_state(&house, &id, "sending").await;
    let (status, _) = acted(&house, &id, "recall", Value::Null).await;
    assert_eq!(status, 202);
    let job = house.settled(&id).await;
    assert_eq!(job["state"], "in_doubt", "{job:#}");
    assert_eq!(job["error"]["class"], "doubt");
    assert_eq!(made(&house, SEND).await, 1);

    // With the id it is taken back after all.
    let message = house.effects("message").await[0]["message_id"].clone();
    let word = json!({"state": "done", "message_id": message});
    acted(&house, &id, "settle", word).await;
    house
        .until(&path(&id), |job| job["recalled_at"].is_string())
        .await;
    assert_eq!(house.effects("recall").await[0]["message_id"], message);
}

#[tokio::test]
async fn a_message_taken_back_by_a_job_of_its_own_says_so_on_the_job_that_sent_it() {
    let house = House::new().await;
    let job = message(json!({"then": [{"kind": "recall"}]}));
    let job = house.settled(&post(&house, job).await).await;
    assert_eq!(house.job(&child(&job, 0)).await["state"], "done");
    let job = house.job(&id(&job)).await;
    assert!(job["recalled_at"].is_string(), "{job:#}");
}

#[tokio::test]
async fn a_queued_job_says_what_it_waits_for() {
    let mut house = House::new().await;
    let waits = |job: &Value| job["waiting_for"].clone();
    // A code nobody knows is tried again after a minute; who comes behind waits for the lane.
    house
        .faults(json!([{"call": SEND, "do": "code", "code": 999_999, "count": 1}]))
        .await;
    let first = post(&house, message(json!({}))).await;
    assert_eq!(waits(&tried(&house, &first, 1).await), "retry");
    let behind = post(&house, message(json!({}))).await;
    assert_eq!(waits(&house.job(&behind).await), "lane");
    house.advance(5 * MINUTE).await;
    for id in [&first, &behind] {
        assert_eq!(house.settled(id).await["state"], "done");
    }

    // An app without the scope stops that call; schedule and dependency come first.
    house
        .faults(json!([{"call": SEND, "do": "code", "code": 99_991_672}]))
        .await;
    let job = json!([{"kind": "pin"}]);
    let stopped = post(&house, message(json!({"then": job}))).await;
    let job = house
        .until(&path(&stopped), |job| job["waiting_for"] == "app")
        .await;
    assert_eq!(outcomes(&job), ["limited"]);
    let later = post(&house, message(json!({"delay": "1h"}))).await;
    assert_eq!(waits(&house.job(&later).await), "schedule");
    assert_eq!(waits(&house.job(&child(&job, 0)).await), "dependency");
    house.faults(json!([])).await;
    house.advance(6 * MINUTE).await;
    assert_eq!(house.settled(&stopped).await["state"], "done");
}

#[tokio::test]
async fn a_lost_answer_on_a_buzz_is_in_doubt_at_once_and_nobody_is_buzzed_twice() {
    let mut house = House::new().await;
    let message = sent(&house).await;
    let kinds = ["urgent_app", "urgent_sms", "urgent_phone"];
    let call = |kind: &str| format!("PATCH /open-apis/im/v1/messages/:message_id/{kind}");
    let mut jobs = Vec::new();
    for kind in kinds {
        house
            .faults(json!([{"call": call(kind), "do": "drop", "when": "after", "count": 1}]))
            .await;
        let job = json!({"kind": kind, "on_doubt": "resend",
            "args": {"message": message, "users": [DEFAULT_USER]}});
        let id = post(&house, job).await;
        let job = house.settled(&id).await;
        assert_eq!(job["state"], "in_doubt", "{job:#}");
        assert_eq!(outcomes(&job), ["unknown"]);
        jobs.push(id);
    }
    house.restart();
    for later in [10 * MINUTE, 5 * HOUR, 10 * DAY] {
        pass(&mut house, later).await;
        sent(&house).await;
        for (kind, id) in kinds.iter().zip(&jobs) {
            assert_eq!(house.job(id).await["state"], "in_doubt");
            assert_eq!(house.effects(kind).await.len(), 1);
            assert_eq!(made(&house, &call(kind)).await, 1);
        }
    }
}

#[tokio::test]
async fn a_doubtful_buzz_frees_its_lane_and_is_repeated_only_by_a_persons_word() {
    let house = House::new().await;
    let message = sent(&house).await;
    let call = "PATCH /open-apis/im/v1/messages/:message_id/urgent_app";
    house
        .faults(json!([{"call": call, "do": "drop", "when": "after", "count": 1}]))
        .await;
    let buzz = json!({"kind": "urgent_app", "args": {"message": message, "users": [DEFAULT_USER]}});
    let pin = json!({"kind": "pin", "args": {"message": message}});
    let jobs = house.post(json!([buzz, pin])).await;
    let (buzz, pin) = (id(&jobs["jobs"][0]), id(&jobs["jobs"][1]));
    assert_eq!(house.settled(&pin).await["state"], "done");
    assert_eq!(house.settled(&buzz).await["state"], "in_doubt");
    assert_eq!(house.effects("urgent_app").await.len(), 1);
    let (status, _) = acted(&house, &buzz, "retry", Value::Null).await;
    assert_eq!(status, 202);
    assert_eq!(house.settled(&buzz).await["state"], "done");
    assert_eq!(house.effects("urgent_app").await.len(), 2);
}

#[tokio::test]
async fn a_lost_answer_on_a_message_is_repeated_under_the_same_uuid_and_seen_once() {
    let mut house = House::new().await;
    for fault in ["drop", "reset", "cut", "5xx"] {
        house
            .faults(json!([{"call": SEND, "do": fault, "when": "after", "count": 1}]))
            .await;
        let before = made(&house, SEND).await;
        let id = post(&house, message(json!({}))).await;
        house.advance(MINUTE).await;
        let job = house.settled(&id).await;
        assert_eq!(job["state"], "done", "{fault}: {job:#}");
        assert_eq!(outcomes(&job), ["unknown", "done"]);
        assert_eq!(made(&house, SEND).await, before + 2);
        let seen = house.effects("message").await;
        let of_job = |effect: &&Value| effect["uuid"] == id.trim_start_matches("job_");
        let seen: Vec<&Value> = seen.iter().filter(of_job).collect();
        assert_eq!(seen.len(), 1);
        assert_eq!(seen[0]["message_id"], job["receipt"]["message_id"]);
    }
}

#[tokio::test]
async fn past_the_safe_window_a_message_is_held_or_sent_once_more_or_dropped_as_it_said() {
    let mut house = House::new().await;
    for (on_doubt, state, calls) in [
        ("hold", "in_doubt", 1),
        ("resend", "done", 2),
        ("drop", "failed", 1),
    ] {
        house
            .faults(json!([{"call": SEND, "do": "drop", "when": "after"}]))
            .await;
        let before = made(&house, SEND).await;
        let id = post(&house, message(json!({"on_doubt": on_doubt}))).await;
        tried(&house, &id, 1).await;
        // Nobody tries it again before the window is over.
        house.kill();
        house.faults(json!([])).await;
        let lost = made(&house, SEND).await - before;
        house.advance(51 * MINUTE).await;
        house.start();
        let job = house.settled(&id).await;
        assert_eq!(job["state"], state, "{on_doubt}: {job:#}");
        assert_eq!(made(&house, SEND).await - before, lost + calls - 1);
        if state == "failed" {
            assert_eq!(job["error"]["class"], "dropped");
        }
        let seen = house.effects("message").await;
        let of_job = |effect: &&Value| effect["uuid"] == id.trim_start_matches("job_");
        assert_eq!(seen.iter().filter(of_job).count(), 1);
    }
}

#[tokio::test]
async fn a_message_that_feishu_is_still_sending_is_waited_for() {
    let mut house = House::new().await;
    house
        .faults(json!([{"call": SEND, "do": "code", "code": 230049, "count": 2}]))
        .await;
    let id = post(&house, message(json!({}))).await;
    let job = tried(&house, &id, 1).await;
    let wait = ms(&job["run_at"]) - ms(&job["attempts"][0]["at"]);
    assert!((1000..=6000).contains(&wait), "{wait} ms");
    tried(&house, &id, 2).await;
    house.advance(10 * SECOND).await;
    let job = house.settled(&id).await;
    assert_eq!(job["state"], "done", "{job:#}");
    assert_eq!(outcomes(&job), ["unknown", "unknown", "done"]);
    assert_eq!(house.effects("message").await.len(), 1);
}

#[tokio::test]
async fn the_same_key_and_body_is_the_first_job_and_another_body_refuses_the_whole_request() {
    let mut house = House::new().await;
    let job = message(json!({"key": "alert-1", "labels": {"team": "db", "row": "a"}}));
    let (status, first) = house.request("POST", "/v1/jobs", Some(job.clone())).await;
    assert_eq!(status, 202);
    for round in ["at once", "after a restart", "when it is done"] {
        let (status, again) = house.request("POST", "/v1/jobs", Some(job.clone())).await;
        assert_eq!(status, 200, "{round}");
        assert_eq!(again["id"], first["id"]);
        match round {
            "at once" => house.restart(),
            _ => assert_eq!(house.settled(&id(&first)).await["state"], "done"),
        }
    }

    // A new one beside a repeated one: 202, in order.
    let both = json!([job, message(json!({"key": "alert-2"}))]);
    let (status, answer) = house.request("POST", "/v1/jobs", Some(both.clone())).await;
    assert_eq!(status, 202);
    assert_eq!(answer["jobs"][0]["id"], first["id"]);
    let (status, _) = house.request("POST", "/v1/jobs", Some(both)).await;
    assert_eq!(status, 200);

    let other = json!([
        message(json!({"key": "alert-3"})),
        message(json!({"key": "alert-1", "priority": "high"}))
    ]);
    let (status, problem) = house.request("POST", "/v1/jobs", Some(other)).await;
    assert_eq!(status, 409, "{problem:#}");
    assert_eq!(problem["errors"][0]["pointer"], "/1/key");
    let (_, list) = house.request("GET", "/v1/jobs?key=alert-3", None).await;
    assert_eq!(list["jobs"], json!([]), "nothing of it is stored");
    house
        .settled(answer["jobs"][1]["id"].as_str().unwrap())
        .await;
    assert_eq!(house.effects("message").await.len(), 2);
}

#[tokio::test]
async fn one_request_may_not_use_a_key_for_two_things_and_the_key_of_a_failed_job_is_taken() {
    let house = House::new().await;
    let twice = json!([
        message(json!({"key": "k"})),
        message(json!({"key": "k", "priority": "low"}))
    ]);
    let (status, _) = house.request("POST", "/v1/jobs", Some(twice)).await;
    assert_eq!(status, 409);
    assert!(house.effects("message").await.is_empty());
    let same = json!([message(json!({"key": "k"})), message(json!({"key": "k"}))]);
    let answer = house.post(same).await;
    assert_eq!(answer["jobs"][0]["id"], answer["jobs"][1]["id"]);

    house
        .faults(json!([{"call": SEND, "do": "code", "code": 230022, "count": 1}]))
        .await;
    house.settled(&id(&answer["jobs"][0])).await;
    let job = message(json!({"key": "f"}));
    house
        .faults(json!([{"call": SEND, "do": "code", "code": 230022, "count": 1}]))
        .await;
    let failed = post(&house, job.clone()).await;
    assert_eq!(house.settled(&failed).await["state"], "failed");
    let (status, again) = house.request("POST", "/v1/jobs", Some(job)).await;
    assert_eq!(status, 200);
    assert_eq!(
        (&again["id"], &again["state"]),
        (&json!(failed), &json!("failed"))
    );
}

#[tokio::test]
async fn content_goes_after_7_days_and_the_row_after_30_and_the_id_says_that_it_was_purged() {
    let mut house = House::new().await;
    house
        .faults(json!([{"call": SEND, "do": "code", "code": 230022, "count": 1}]))
        .await;
    let job = message(json!({"key": "old"}));
    let old = post(&house, job.clone()).await;
    assert_eq!(house.settled(&old).await["state"], "failed");
    pass(&mut house, 7 * DAY - HOUR).await;
    sent(&house).await;
    assert!(house.job(&old).await["args"].is_object());
    house.advance(2 * HOUR).await;
    let kept = house.until(&path(&old), |job| job["args"].is_null()).await;
    assert_eq!(kept["state"], "failed");
    let (status, problem) = acted(&house, &old, "retry", Value::Null).await;
    assert_eq!(status, 409, "{problem:#}");
    let (status, again) = house.request("POST", "/v1/jobs", Some(job.clone())).await;
    assert_eq!(
        (status, &again["id"]),
        (200, &json!(old)),
        "its key lives on"
    );

    pass(&mut house, 22 * DAY).await;
    sent(&house).await;
    assert_eq!(house.job(&old).await["state"], "failed");
    house.advance(DAY).await;
    let gone = house
        .until(&path(&old), |answer| answer["status"] == 404)
        .await;
    assert!(
        gone["detail"].as_str().unwrap().contains("purged"),
        "{gone:#}"
    );
    house.restart();
    let (status, gone) = house.request("GET", &path(&old), None).await;
    assert_eq!(status, 404);
    assert!(
        gone["detail"].as_str().unwrap().contains("purged"),
        "{gone:#}"
    );
    let (status, gone) = acted(&house, &old, "cancel", Value::Null).await;
    assert_eq!(status, 404);
    assert!(
        gone["detail"].as_str().unwrap().contains("purged"),
        "{gone:#}"
    );

    // One that never was is not said to have been purged; and the key is free again.
    let never = format!("job_ff{}", &old["job_".len() + 2..]);
    let (status, gone) = house.request("GET", &path(&never), None).await;
    assert_eq!(status, 404);
    assert!(
        !gone["detail"].as_str().unwrap().contains("purged"),
        "{gone:#}"
    );
    let (status, again) = house.request("POST", "/v1/jobs", Some(job)).await;
    assert_eq!(status, 202);
    assert_ne!(again["id"], json!(old));
}

#[tokio::test]
async fn nothing_in_doubt_is_purged_and_nothing_on_which_an_open_job_hangs() {
    let mut house = House::new().await;
    let doubt = doubtful(&house, json!({"then": [{"kind": "pin"}]})).await;
    let parent = message(json!({"then": [{"kind": "pin", "delay": "40d"}]}));
    let parent = until_state(&house, &post(&house, parent).await, "done").await;
    let plain = post(&house, message(json!({}))).await;
    house.settled(&plain).await;
    // Beyond the time for which a wish to wait for it is kept: the child of doubt gave up by itself.
    house.advance(31 * DAY).await;
    house
        .until(&path(&plain), |answer| answer["status"] == 404)
        .await;
    assert_eq!(house.job(&doubt).await["state"], "in_doubt");
    assert!(house.job(&doubt).await["args"].is_object());
    assert_eq!(house.job(&id(&parent)).await["state"], "done");
    house.advance(9 * DAY + HOUR).await;
    assert_eq!(house.settled(&child(&parent, 0)).await["state"], "done");
    house
        .until(&path(&id(&parent)), |answer| answer["status"] == 404)
        .await;

    // A person may still settle, long after.
    let message = house.effects("message").await[0]["message_id"].clone();
    let word = json!({"state": "done", "message_id": message});
    let (status, job) = acted(&house, &doubt, "settle", word).await;
    assert_eq!(status, 200);
    assert_eq!(house.settled(&child(&job, 0)).await["state"], "done");
}
