//! What nobody knows stays unknown until it is proven or a person says so, whatever is done to the job.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on should stop here"
)]

mod support;

use feishu_sandbox::{DEFAULT_USER, staff_open_id};
use serde_json::{Value, json};
use support::House;
use support::jobs::{MINUTE, SECOND, SEND, acted, doubtful, made, path, post, sent};

const BATCH: &str = "POST /open-apis/message/v4/batch_send/";

fn people(numbers: std::ops::RangeInclusive<usize>) -> Vec<String> {
    numbers.map(staff_open_id).collect()
}

/// The states of a batch's parts, in order.
fn parts(job: &Value) -> Vec<&str> {
    let parts = job["receipt"]["parts"].as_array().unwrap();
    parts
        .iter()
        .map(|part| part["state"].as_str().unwrap())
        .collect()
}

/// A batch of three parts that come to these states.
async fn batch_of(house: &House, states: [&str; 3]) -> String {
    let rules: Vec<Value> = states
        .iter()
        .map(|state| match *state {
            "in_doubt" => json!({"call": BATCH, "do": "drop", "when": "after", "count": 1}),
            "failed" => json!({"call": BATCH, "do": "code", "code": 11101, "count": 1}),
            _ => json!({"call": BATCH, "do": "delay", "ms": 0, "count": 1}),
        })
        .collect();
    house.faults(json!(rules)).await;
    let batch = json!({"kind": "batch_send",
        "args": {"open_ids": people(1..=450), "text": "the new canteen opens"}});
    let id = post(house, batch).await;
    let job = house.settled(&id).await;
    assert_eq!(job["state"], "in_doubt", "{job:#}");
    assert_eq!(parts(&job), states);
    house.faults(json!([])).await;
    id
}

/// Sends `id` again, which must be in doubt, and waits until `attempts` more have been made.
async fn retried(house: &House, id: &str, body: Value, attempts: usize) -> Value {
    let before = house.job(id).await["attempts"].as_array().unwrap().len();
    let (status, job) = acted(house, id, "retry", body).await;
    assert_eq!(status, 202, "{job:#}");
    house
        .until(&path(id), |job| {
            job["state"] != "sending"
                && job["attempts"].as_array().unwrap().len() >= before + attempts
        })
        .await
}

#[tokio::test]
async fn a_part_in_doubt_that_is_sent_again_and_does_not_go_is_in_doubt_again() {
    let limited = json!([{"call": BATCH, "do": "429", "reset_s": 600}]);
    for end in ["expiry", "cancel", "recall", "refusal", "crash"] {
        let mut house = House::new().await;
        let id = batch_of(&house, ["done", "in_doubt", "done"]).await;
        match end {
            "refusal" => {
                let refused = json!([{"call": BATCH, "do": "code", "code": 11101, "count": 1}]);
                house.faults(refused).await;
                retried(&house, &id, Value::Null, 1).await;
            }
            "crash" => {
                let slow = json!([{"call": BATCH, "do": "delay", "when": "before", "ms": 600_000}]);
                house.faults(slow).await;
                acted(&house, &id, "retry", Value::Null).await;
                house
                    .until(&path(&id), |job| parts(job)[1] == "sending")
                    .await;
                house.kill();
                house.start();
            }
            _ => {
                house.faults(limited.clone()).await;
                retried(&house, &id, json!({"expires_in": "5m"}), 1).await;
                if end == "expiry" {
                    // The doubt is on the row, not in memory.
                    house.restart();
                    house.advance(5 * MINUTE + SECOND).await;
                } else {
                    let (status, _) = acted(&house, &id, end, Value::Null).await;
                    assert!(status < 300, "{end}: {status}");
                }
            }
        }
        let job = house.settled(&id).await;
        assert_eq!(job["state"], "in_doubt", "{end}: {job:#}");
        assert_eq!(parts(&job), ["done", "in_doubt", "done"], "{end}");
        assert_eq!(house.effects("batch").await.len(), 3, "{end}");
    }
}

#[tokio::test]
async fn refused_content_says_nothing_of_parts_that_may_have_been_sent() {
    let house = House::new().await;
    let id = batch_of(&house, ["failed", "done", "in_doubt"]).await;
    house
        .faults(json!([{"call": BATCH, "do": "code", "code": 230_100, "count": 1}]))
        .await;
    acted(&house, &id, "retry", Value::Null).await;
    let job = house.settled(&id).await;
    assert_eq!(job["state"], "in_doubt", "{job:#}");
    assert_eq!(parts(&job), ["failed", "done", "in_doubt"], "{job:#}");
    assert_eq!(house.effects("batch").await.len(), 2);
    // Sent once more, and done: nothing is left of the doubt.
    acted(&house, &id, "retry", Value::Null).await;
    let job = house.settled(&id).await;
    assert_eq!(job["state"], "done", "{job:#}");
    assert_eq!(parts(&job), ["done", "done", "done"]);
}

#[tokio::test]
async fn a_job_in_doubt_that_is_sent_again_and_does_not_go_is_in_doubt_again() {
    for kind in ["send", "urgent_app", "urgent_phone"] {
        for end in ["expiry", "cancel", "refusal"] {
            let mut house = House::new().await;
            let about = sent(&house).await;
            let (call, id) = match kind {
                "send" => (SEND.to_owned(), doubtful(&house, json!({})).await),
                _ => {
                    let call = format!("PATCH /open-apis/im/v1/messages/:message_id/{kind}");
                    let lost = json!([{"call": call, "do": "drop", "when": "after", "count": 1}]);
                    house.faults(lost).await;
                    let args = json!({"message": about, "users": [DEFAULT_USER]});
                    let id = post(&house, json!({"kind": kind, "args": args})).await;
                    (call, id)
                }
            };
            let job = house.settled(&id).await;
            assert_eq!(job["state"], "in_doubt", "{job:#}");
            if end == "refusal" {
                let refused = json!([{"call": call, "do": "code", "code": 230_013, "count": 1}]);
                house.faults(refused).await;
                retried(&house, &id, Value::Null, 1).await;
            } else {
                let limited = json!([{"call": call, "do": "429", "reset_s": 600}]);
                house.faults(limited).await;
                retried(&house, &id, json!({"expires_in": "5m"}), 1).await;
                if end == "expiry" {
                    house.restart();
                    house.advance(5 * MINUTE + SECOND).await;
                } else {
                    let (status, _) = acted(&house, &id, end, Value::Null).await;
                    assert_eq!(status, 200);
                }
            }
            let job = house.settled(&id).await;
            assert_eq!(job["state"], "in_doubt", "{kind} {end}: {job:#}");
            let of_kind = if kind == "send" { "message" } else { kind };
            let seen = house.effects(of_kind).await.len();
            assert_eq!(seen, if kind == "send" { 2 } else { 1 }, "{kind} {end}");
        }
    }
}

/// The ids of the batches that were seen, in order.
async fn batches(house: &House) -> Vec<Value> {
    let seen = house.effects("batch").await;
    seen.iter()
        .map(|effect| effect["batch_message_id"].clone())
        .collect()
}

#[tokio::test]
async fn of_a_batch_each_part_in_doubt_is_shown_and_settled_by_itself() {
    let house = House::new().await;
    let id = batch_of(&house, ["in_doubt", "done", "in_doubt"]).await;
    let job = house.job(&id).await;
    let told: Vec<(&Value, &Value)> = job["doubt"]["parts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|part| (&part["part"], &part["count"]))
        .collect();
    assert_eq!(
        told,
        [(&json!(0), &json!(200)), (&json!(2), &json!(50))],
        "{job:#}"
    );
    assert_eq!(job["doubt"]["parts"][1]["at"], job["attempts"][2]["at"]);
    let seen = batches(&house).await;

    // An id is that of one part: which one must be said, and it must be in doubt, and nobody else's.
    for (word, says) in [
        (json!({"state": "done", "message_id": seen[2]}), "[0, 2]"),
        (json!({"state": "done", "part": 1}), "[0, 2]"),
        (json!({"state": "done", "part": 7}), "[0, 2]"),
        (
            json!({"state": "done", "part": 0, "message_id": seen[1]}),
            "was made by",
        ),
    ] {
        let (status, told) = acted(&house, &id, "settle", word).await;
        assert_eq!(status, 409, "{told:#}");
        assert!(told["detail"].as_str().unwrap().contains(says), "{told:#}");
    }
    let word = json!({"state": "done", "message_id": seen[2], "part": 2});
    let (status, job) = acted(&house, &id, "settle", word).await;
    assert_eq!(
        (status, &job["state"]),
        (200, &json!("in_doubt")),
        "{job:#}"
    );
    assert_eq!(parts(&job), ["in_doubt", "done", "done"]);
    assert_eq!(job["receipt"]["parts"][2]["batch_message_id"], seen[2]);
    let counts = house.request("GET", "/v1/status", None).await.1;
    assert_eq!(counts["apps"][0]["jobs"]["in_doubt"], 1, "{counts:#}");

    let words = ["jobs", "settle", &id, "--failed", "--part", "0"];
    let said = house.binary().args(words).output().unwrap();
    assert!(said.status.success(), "{said:?}");
    let job = house.job(&id).await;
    assert_eq!(job["state"], "failed", "{job:#}");
    assert_eq!(parts(&job), ["failed", "done", "done"]);
    let what: Vec<&Value> = (job["actions"].as_array().unwrap().iter())
        .map(|action| &action["what"])
        .collect();
    assert_eq!(what, ["settle done part 2", "settle failed part 0"]);
}

#[tokio::test]
async fn an_id_that_cannot_be_the_jobs_is_refused_and_nothing_is_settled() {
    let house = House::new().await;
    let taken = sent(&house).await;
    let message = doubtful(&house, json!({})).await;
    let batch = batch_of(&house, ["done", "in_doubt", "done"]).await;
    let call = "PATCH /open-apis/im/v1/messages/:message_id/urgent_app";
    let lost = json!([{"call": call, "do": "drop", "when": "after", "count": 1}]);
    house.faults(lost).await;
    let buzz = json!({"message": taken, "users": [DEFAULT_USER]});
    let buzz = post(&house, json!({"kind": "urgent_app", "args": buzz})).await;
    house.settled(&buzz).await;
    for (job, id, expected) in [
        (&message, "bm-1", 422),
        (&message, "om_", 422),
        (&message, "om_1 ", 422),
        (&message, "oc_1", 422),
        (&message, &*taken, 409),
        (&batch, "om_1", 422),
        (&buzz, "om_1", 422),
    ] {
        let word = json!({"state": "done", "message_id": id});
        let (status, told) = acted(&house, job, "settle", word).await;
        assert_eq!(status, expected, "{id}: {told:#}");
        if expected == 422 {
            assert_eq!(told["errors"][0]["pointer"], "/message_id", "{told:#}");
        }
        assert_eq!(house.job(job).await["state"], "in_doubt");
    }
    let (status, _) = acted(
        &house,
        &message,
        "settle",
        json!({"state": "done", "part": 0}),
    )
    .await;
    assert_eq!(status, 409);
}

const RECALL: &str = "DELETE /open-apis/im/v1/messages/:message_id";
const GET: &str = "GET /open-apis/im/v1/messages/:message_id";
const BATCH_RECALL: &str = "DELETE /open-apis/im/v1/batch_messages/:batch_message_id";

/// The job, once it is taken back; time passes meanwhile, for a read-back waits a little.
async fn taken_back(house: &mut House, id: &str) -> Value {
    for _ in 0..20 {
        let job = house.job(id).await;
        if job["recalled_at"].is_string() {
            return job;
        }
        house.advance(MINUTE).await;
    }
    panic!("{:#}", house.job(id).await)
}

#[tokio::test]
async fn a_recall_whose_answer_is_lost_is_read_back_and_made_once() {
    for gone in ["deleted", "empty", "230011", "230110"] {
        let seed = json!({"switches": {"recalled_get": gone}});
        let mut house = House::with(Some(seed), "").await;
        let made_it = house.job(&sent(&house).await).await;
        let id = made_it["id"].as_str().unwrap();
        house
            .faults(json!([{"call": RECALL, "do": "drop", "when": "after", "count": 1}]))
            .await;
        acted(&house, id, "recall", Value::Null).await;
        let job = taken_back(&mut house, id).await;
        assert_eq!(job["recall"]["state"], "done", "{gone}: {job:#}");
        assert_eq!(house.effects("recall").await.len(), 1, "{gone}");
        let calls = (made(&house, RECALL).await, made(&house, GET).await);
        assert_eq!(calls, (1, 1), "{gone}");
    }
}

#[tokio::test]
async fn a_recall_that_was_lost_on_its_way_is_made_after_the_read_back_also_where_none_is_allowed()
{
    for read_back in ["shown", "forbidden"] {
        let mut house = House::new().await;
        let about = sent(&house).await;
        let forbidden = json!({"call": GET, "do": "code", "http": 400, "code": 99_991_672});
        let mut rules = vec![json!({"call": RECALL, "do": "drop", "when": "before", "count": 1})];
        if read_back == "forbidden" {
            rules.push(forbidden);
        }
        house.faults(json!(rules)).await;
        let recall = json!({"kind": "recall", "args": {"message": about}});
        let id = post(&house, recall).await;
        let made_it = house.job(&about).await;
        taken_back(&mut house, made_it["id"].as_str().unwrap()).await;
        let job = house.settled(&id).await;
        assert_eq!(job["state"], "done", "{read_back}: {job:#}");
        assert_eq!(house.effects("recall").await.len(), 1);
        // That the app may not look stops nothing for good.
        let status = house.request("GET", "/v1/status", None).await.1;
        assert_eq!(status["apps"][0]["paused"], json!([]), "{status:#}");
    }
}

#[tokio::test]
async fn a_recall_of_a_batch_whose_answers_are_lost_is_read_back_and_made_once_a_part() {
    for when in ["before", "after"] {
        let mut house = House::new().await;
        let batch = json!({"kind": "batch_send",
            "args": {"open_ids": people(1..=250), "text": "the new canteen opens"}});
        let id = post(&house, batch).await;
        house.settled(&id).await;
        let lost = json!([{"call": BATCH_RECALL, "do": "drop", "when": when, "count": 2}]);
        house.faults(lost).await;
        acted(&house, &id, "recall", Value::Null).await;
        let job = taken_back(&mut house, &id).await;
        let whole = json!({"state": "done", "count": 2, "of": 2});
        assert_eq!(job["recall"], whole, "{when}: {job:#}");
        assert_eq!(house.effects("batch_recall").await.len(), 2, "{when}");
    }
}

#[tokio::test]
async fn on_doubt_repeats_a_message_or_a_batch_and_never_a_buzz_and_drop_ends_all_three() {
    for (kind, on_doubt, state, effects) in [
        ("batch_send", "hold", "in_doubt", 1),
        ("batch_send", "resend", "done", 2),
        ("batch_send", "drop", "failed", 1),
        ("urgent_phone", "hold", "in_doubt", 1),
        ("urgent_phone", "resend", "in_doubt", 1),
        ("urgent_phone", "drop", "failed", 1),
        ("urgent_sms", "resend", "in_doubt", 1),
        ("urgent_app", "resend", "in_doubt", 1),
    ] {
        let house = House::new().await;
        let about = sent(&house).await;
        let (call, effect, args) = match kind {
            "batch_send" => (
                BATCH.to_owned(),
                "batch",
                json!({"open_ids": people(1..=2), "text": "the new canteen opens"}),
            ),
            _ => (
                format!("PATCH /open-apis/im/v1/messages/:message_id/{kind}"),
                kind,
                json!({"message": about, "users": [DEFAULT_USER]}),
            ),
        };
        house
            .faults(json!([{"call": call, "do": "drop", "when": "after", "count": 1}]))
            .await;
        let job = json!({"kind": kind, "on_doubt": on_doubt, "args": args});
        let id = post(&house, job).await;
        let job = house.settled(&id).await;
        assert_eq!(job["state"], state, "{kind} {on_doubt}: {job:#}");
        if state == "failed" {
            assert_eq!(job["error"]["class"], "dropped");
        }
        let seen = house.effects(effect).await.len();
        assert_eq!(seen, effects, "{kind} {on_doubt}");
    }
}
