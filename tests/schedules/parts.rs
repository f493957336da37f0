//! One part of a batch in doubt, and everything that a person may do about it, in one life.

use feishu_sandbox::staff_open_id;
use serde_json::{Value, json};

use crate::support::House;
use crate::support::jobs::{HOUR, acted, made, pass, path, post};
use crate::{BATCH, until_seen};

const UNDO: &str = "DELETE /open-apis/im/v1/batch_messages/:batch_message_id";

/// Three parts; the answer of the second is lost.
async fn in_doubt(house: &House, more: Value) -> String {
    house.faults(second("drop", 0)).await;
    let people: Vec<String> = (1..=450).map(staff_open_id).collect();
    let mut job = json!({"kind": "batch_send", "args": {"open_ids": people, "text": "the new canteen opens"}});
    for (name, value) in more.as_object().unwrap() {
        job[name] = value.clone();
    }
    let id = post(house, job).await;
    let job = house
        .until(&path(&id), |job| job["state"] == "in_doubt")
        .await;
    assert_eq!(parts(&job), ["done", "in_doubt", "done"]);
    id
}

fn second(what: &str, ms: u64) -> Value {
    json!([
        {"call": BATCH, "do": "delay", "ms": 0, "count": 1},
        {"call": BATCH, "do": what, "ms": ms, "when": "after", "count": 1},
    ])
}

fn parts(job: &Value) -> Vec<&str> {
    let parts = job["receipt"]["parts"].as_array().unwrap();
    parts
        .iter()
        .map(|part| part["state"].as_str().unwrap())
        .collect()
}

/// How often the people of the second part were reached.
async fn reached(house: &House) -> usize {
    let seen = house.effects("batch").await;
    let of_second = |effect: &&Value| effect["users"][0] == staff_open_id(201).as_str();
    seen.iter().filter(of_second).count()
}

#[tokio::test]
async fn one_part_of_a_batch_in_doubt_then_retry_settle_recall() {
    for restart in [false, true] {
        let mut house = House::new().await;
        let again = |house: &mut House| {
            if restart {
                house.kill();
                house.start();
            }
        };
        let id = in_doubt(&house, json!({})).await;
        again(&mut house);
        // Retried at a person's word; the answer is lost once more.
        let lost = json!([{"call": BATCH, "do": "drop", "when": "after", "count": 1}]);
        house.faults(lost).await;
        assert_eq!(acted(&house, &id, "retry", Value::Null).await.0, 202);
        let job = house
            .until(&path(&id), |job| job["state"] == "in_doubt")
            .await;
        assert_eq!(parts(&job), ["done", "in_doubt", "done"]);
        assert_eq!(reached(&house).await, 2, "the word was for one call");
        assert_eq!(made(&house, BATCH).await, 4);
        again(&mut house);
        pass(&mut house, 5 * HOUR).await;
        assert_eq!(made(&house, BATCH).await, 4, "nobody said it again");

        // Settled with the id that a person found; then everything is taken back.
        let seen = house.effects("batch").await;
        let found = seen.last().unwrap()["batch_message_id"].clone();
        let word = json!({"state": "done", "message_id": found});
        let (status, job) = acted(&house, &id, "settle", word).await;
        assert_eq!((status, &job["state"]), (200, &json!("done")), "{job:#}");
        again(&mut house);
        assert_eq!(acted(&house, &id, "recall", Value::Null).await.0, 202);
        again(&mut house);
        let job = house
            .until(&path(&id), |job| job["recalled_at"].is_string())
            .await;
        assert_eq!(
            job["recall"],
            json!({"state": "done", "count": 3, "of": 3}),
            "{job:#}"
        );
        assert_eq!(house.effects("batch_recall").await.len(), 3);
    }
}

/// A relay that dies during the repeat that a person asked for does not repeat it.
#[tokio::test]
async fn one_part_of_a_batch_in_doubt_then_killed_in_its_retry() {
    let mut house = House::new().await;
    let id = in_doubt(&house, json!({})).await;
    let slow = json!([{"call": BATCH, "do": "delay", "when": "after", "ms": 600_000, "count": 1}]);
    house.faults(slow).await;
    assert_eq!(acted(&house, &id, "retry", Value::Null).await.0, 202);
    until_seen(&house, "batch", 4).await;
    house.kill();
    house.start();
    let job = house.settled(&id).await;
    assert_eq!(job["state"], "in_doubt", "{job:#}");
    assert_eq!((reached(&house).await, made(&house, BATCH).await), (2, 4));
    // Taken back as far as it can be, and whole only when a person says what became of the rest.
    assert_eq!(acted(&house, &id, "recall", Value::Null).await.0, 202);
    let job = house
        .until(&path(&id), |job| job["recall"]["state"] == "done")
        .await;
    assert!(job["recalled_at"].is_null(), "{job:#}");
    house.restart();
    assert_eq!(
        acted(&house, &id, "settle", json!({"state": "failed"}))
            .await
            .0,
        200
    );
    let job = house
        .until(&path(&id), |job| job["recalled_at"].is_string())
        .await;
    assert_eq!(job["state"], "failed", "{job:#}");
    assert_eq!(made(&house, UNDO).await, 2);
}

/// `resend` repeats each part once in its life, also when the relay dies in between.
#[tokio::test]
async fn one_part_of_a_batch_in_doubt_resent_once_over_kills() {
    let mut house = House::new().await;
    let slow = |count: u64| json!({"call": BATCH, "do": "delay", "when": "after", "ms": 600_000, "count": count});
    house.faults(json!([slow(2)])).await;
    let job = json!({"kind": "batch_send", "on_doubt": "resend",
        "args": {"open_ids": [staff_open_id(201)], "text": "the new canteen opens"}});
    let id = post(&house, job).await;
    for seen in 1..=2 {
        until_seen(&house, "batch", seen).await;
        house.kill();
        house.start();
    }
    let job = house.settled(&id).await;
    assert_eq!(job["state"], "in_doubt", "{job:#}");
    house.restart();
    pass(&mut house, HOUR).await;
    assert_eq!((reached(&house).await, made(&house, BATCH).await), (2, 2));
}
