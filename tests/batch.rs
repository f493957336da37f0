//! One batch is one job, however many calls it takes: its parts, its progress, and taking it back.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on should stop here"
)]

mod support;

use std::time::Duration;

use feishu_sandbox::{
    DEFAULT_COMPANY, DEFAULT_DEPARTMENT, DEFAULT_SECOND_DEPARTMENT, staff_open_id,
};
use serde_json::{Value, json};
use support::House;

const SEND: &str = "POST /open-apis/message/v4/batch_send/";
const RECALL: &str = "DELETE /open-apis/im/v1/batch_messages/:batch_message_id";

fn people(numbers: std::ops::RangeInclusive<usize>) -> Vec<String> {
    numbers.map(staff_open_id).collect()
}

/// A batch of `parts` parts, none of whose people are in another one.
fn batch(parts: usize) -> Value {
    json!({"kind": "batch_send", "args": {"open_ids": people(1..=200 * (parts - 1) + 50), "text": "the new canteen opens"}})
}

/// Lets the next `calls` pass, then does `rule`.
fn after(calls: u64, call: &str, mut rule: Value) -> Value {
    rule["call"] = json!(call);
    match calls {
        0 => json!([rule]),
        _ => json!([{"call": call, "do": "delay", "ms": 0, "count": calls}, rule]),
    }
}

/// The answer of the next call but `calls` is lost after Feishu did it.
fn lost(calls: u64) -> Value {
    after(
        calls,
        SEND,
        json!({"do": "drop", "when": "after", "count": 1}),
    )
}

fn id(job: &Value) -> &str {
    job["id"].as_str().unwrap()
}

/// The states of a batch's parts, in order.
fn parts(job: &Value) -> Vec<&str> {
    let parts = job["receipt"]["parts"].as_array().unwrap();
    parts
        .iter()
        .map(|part| part["state"].as_str().unwrap())
        .collect()
}

async fn made(house: &House, call: &str) -> u64 {
    house.calls(call).await["made"].as_u64().unwrap_or(0)
}

/// The job, once it is taken back or that has come to its end.
async fn recalled(house: &House, id: &str) -> Value {
    house
        .until(&format!("/v1/jobs/{id}"), |job| {
            let state = job["recall"]["state"].as_str();
            match job["state"].as_str() {
                Some("in_doubt") => state == Some("done"),
                _ => state == Some("done") && job["recalled_at"].is_string(),
            }
        })
        .await
}

/// A batch of three parts; the answer of the second is lost.
async fn in_doubt(house: &House) -> String {
    house.faults(lost(1)).await;
    let job = house.post(batch(3)).await;
    let job = house.settled(id(&job)).await;
    assert_eq!(job["state"], "in_doubt", "{job:#}");
    assert_eq!(parts(&job), ["done", "in_doubt", "done"]);
    id(&job).to_owned()
}

/// A batch of three parts, held up between the first and the second by a limit for ten minutes.
async fn held_up(house: &House, more: Value) -> String {
    house
        .faults(after(1, SEND, json!({"do": "429", "reset_s": 600})))
        .await;
    let mut job = batch(3);
    for (name, value) in more.as_object().unwrap() {
        job[name] = value.clone();
    }
    let job = house.post(job).await;
    let id = id(&job).to_owned();
    let job = house
        .until(&format!("/v1/jobs/{id}"), |job| {
            job["state"] == "queued" && job["attempts"].as_array().unwrap().len() == 2
        })
        .await;
    assert_eq!(job["waiting_for"], "limit", "{job:#}");
    assert_eq!(parts(&job), ["done", "queued", "queued"]);
    id
}

#[tokio::test]
async fn a_batch_to_450_people_and_3_departments_is_three_calls_one_job_and_one_sum() {
    let house = House::new().await;
    let args = json!({"open_ids": people(1..=450), "text": "the new canteen opens",
        "department_ids": [DEFAULT_COMPANY, DEFAULT_DEPARTMENT, DEFAULT_SECOND_DEPARTMENT]});
    let job = house
        .post(json!({"kind": "batch_send", "args": args}))
        .await;
    let job = house.settled(id(&job)).await;
    assert_eq!(job["state"], "done", "{job:#}");
    assert_eq!(made(&house, SEND).await, 3);
    let counts: Vec<&Value> = job["receipt"]["parts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|part| &part["count"])
        .collect();
    assert_eq!(counts, [203, 200, 50]);
    let ids = job["receipt"]["batch_message_ids"].as_array().unwrap();
    let seen = house.effects("batch").await;
    assert_eq!(seen.len(), 3);
    for (id, effect) in ids.iter().zip(&seen) {
        assert_eq!(*id, effect["batch_message_id"]);
    }

    // The first part reaches all 600 of the departments, the others 200 and 50 people once more.
    let path = format!("/v1/jobs/{}/progress?fresh=true", id(&job));
    let progress = house
        .until(&path, |progress| {
            progress["batch_message_send_progress"]["success_user_ids_count"] == 850
        })
        .await;
    assert_eq!(
        progress["batch_message_send_progress"],
        json!({"valid_user_ids_count": 850, "success_user_ids_count": 850, "read_user_ids_count": 0})
    );
    let read = json!({"do": "read", "user": staff_open_id(1), "message": ids[0]});
    house.control("act", read).await;
    let read = json!({"do": "read", "user": staff_open_id(450), "message": ids[2]});
    house.control("act", read).await;
    house
        .until(&path, |progress| {
            progress["batch_message_send_progress"]["read_user_ids_count"] == 2
        })
        .await;
}

#[tokio::test]
async fn one_command_takes_back_every_part() {
    let house = House::new().await;
    let job = house.post(batch(3)).await;
    let job = house.settled(id(&job)).await;
    assert_eq!(job["state"], "done");
    let ids = job["receipt"]["batch_message_ids"].clone();

    let said = house
        .binary()
        .args(["jobs", "recall", id(&job)])
        .output()
        .unwrap();
    assert!(said.status.success(), "{said:?}");
    let job = recalled(&house, id(&job)).await;
    assert_eq!(
        job["recall"],
        json!({"state": "done", "count": 3, "of": 3}),
        "{job:#}"
    );
    assert!(job["recalled_at"].is_string());
    assert_eq!(job["state"], "done");
    let seen = house.effects("batch_recall").await;
    let seen: Vec<Value> = seen
        .iter()
        .map(|effect| effect["batch_message_id"].clone())
        .collect();
    assert_eq!(json!(seen), ids);

    // A second time there is nothing to do.
    let (status, _) = house.act(id(&job), "recall", None).await;
    assert_eq!(status, 200);
    assert_eq!(made(&house, RECALL).await, 3);
}

#[tokio::test]
async fn a_recall_over_http_is_accepted_and_carried_out() {
    let house = House::new().await;
    let job = house.post(batch(2)).await;
    let job = house.settled(id(&job)).await;
    let (status, answer) = house.act(id(&job), "recall", None).await;
    assert_eq!(status, 202, "{answer:#}");
    assert_eq!(answer["recall"]["of"], 2);
    let job = recalled(&house, id(&job)).await;
    assert_eq!(job["recall"], json!({"state": "done", "count": 2, "of": 2}));
    assert!(job["recalled_at"].is_string());
    assert_eq!(job["actions"][0]["what"], "recall");
}

#[tokio::test]
async fn a_person_named_twice_in_a_list_is_named_once_and_unknown_ones_are_joined_in_the_receipt() {
    let house = House::new().await;
    let mut ids = people(1..=249);
    ids.insert(3, ids[0].clone());
    ids.push(ids[7].clone());
    ids[10] = String::from("ou_nobody_1");
    ids.push(String::from("ou_nobody_2"));
    let args = json!({"open_ids": ids, "department_ids": ["od-nowhere"], "text": "good morning"});
    let job = house
        .post(json!({"kind": "batch_send", "args": args}))
        .await;
    let job = house.settled(id(&job)).await;
    assert_eq!(job["state"], "done", "{job:#}");
    let receipt = &job["receipt"];
    assert_eq!(receipt["parts"][0]["count"], 201);
    assert_eq!(receipt["parts"][1]["count"], 50);
    assert_eq!(
        receipt["invalid_open_ids"],
        json!(["ou_nobody_1", "ou_nobody_2"])
    );
    assert_eq!(receipt["invalid_department_ids"], json!(["od-nowhere"]));
    let seen = house.effects("batch").await;
    let reached: usize = seen
        .iter()
        .map(|effect| effect["users"].as_array().unwrap().len())
        .sum();
    assert_eq!(reached, 248);
}

#[tokio::test]
async fn a_refused_part_does_not_stop_the_rest_and_only_it_is_retried() {
    let house = House::new().await;
    house
        .faults(after(
            1,
            SEND,
            json!({"do": "code", "code": 11101, "count": 1}),
        ))
        .await;
    let job = house.post(batch(3)).await;
    let job = house.settled(id(&job)).await;
    assert_eq!(job["state"], "failed", "{job:#}");
    assert_eq!(parts(&job), ["done", "failed", "done"]);
    assert_eq!(job["receipt"]["parts"][1]["code"], 11101);
    assert_eq!(job["error"]["code"], 11101);
    assert_eq!(house.effects("batch").await.len(), 2);

    let (status, _) = house.act(id(&job), "retry", None).await;
    assert_eq!(status, 202);
    let job = house.settled(id(&job)).await;
    assert_eq!(job["state"], "done", "{job:#}");
    assert_eq!(parts(&job), ["done", "done", "done"]);
    assert!(job["error"].is_null());
    let seen = house.effects("batch").await;
    assert_eq!(seen.len(), 3);
    assert_eq!(seen[2]["users"], json!(people(201..=400)));
}

#[tokio::test]
async fn refused_content_fails_every_part_with_one_call() {
    let house = House::new().await;
    let mut job = batch(3);
    job["args"]["text"] = json!("test");
    let job = house.post(job).await;
    let job = house.settled(id(&job)).await;
    assert_eq!(job["state"], "failed", "{job:#}");
    assert_eq!(job["error"]["code"], 230100);
    assert_eq!(parts(&job), ["failed", "failed", "failed"]);
    assert_eq!(made(&house, SEND).await, 1);
    assert!(house.effects("batch").await.is_empty());
}

#[tokio::test]
async fn a_lost_answer_leaves_its_part_in_doubt_and_the_others_go_on() {
    let house = House::new().await;
    let id = in_doubt(&house).await;
    assert_eq!(made(&house, SEND).await, 3);
    let seen = house.effects("batch").await;
    let reached: Vec<&Value> = seen.iter().map(|effect| &effect["users"]).collect();
    assert_eq!(
        json!(reached),
        json!([people(1..=200), people(201..=400), people(401..=450)])
    );
    let job = house.job(&id).await;
    assert_eq!(job["error"]["class"], "doubt");
    assert!(job["finished_at"].is_null());
    assert_eq!(
        job["receipt"]["batch_message_ids"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
}

#[tokio::test]
async fn a_retry_of_a_batch_in_doubt_sends_the_doubtful_part_again_and_no_other() {
    let house = House::new().await;
    let id = in_doubt(&house).await;
    let (status, _) = house.act(&id, "retry", None).await;
    assert_eq!(status, 202);
    let job = house.settled(&id).await;
    assert_eq!(job["state"], "done", "{job:#}");
    assert_eq!(parts(&job), ["done", "done", "done"]);
    let seen = house.effects("batch").await;
    assert_eq!(seen.len(), 4);
    assert_eq!(seen[3]["users"], seen[1]["users"]);
}

#[tokio::test]
async fn a_batch_in_doubt_is_settled_as_done_by_a_persons_word() {
    let house = House::new().await;
    let id = in_doubt(&house).await;
    let unseen = house.effects("batch").await[1]["batch_message_id"].clone();
    let word = json!({"state": "done", "message_id": unseen});
    let (status, job) = house.act(&id, "settle", Some(word)).await;
    assert_eq!(status, 200, "{job:#}");
    assert_eq!(job["state"], "done");
    assert_eq!(parts(&job), ["done", "done", "done"]);
    assert_eq!(job["receipt"]["batch_message_ids"][1], unseen);
    let (status, found) = house
        .request(
            "GET",
            &format!("/v1/jobs/{}", unseen.as_str().unwrap()),
            None,
        )
        .await;
    assert_eq!((status, &found["id"]), (200, &job["id"]));

    // Now that its id is known it is taken back with the others.
    house.act(&id, "recall", None).await;
    let job = recalled(&house, &id).await;
    assert_eq!(job["recall"], json!({"state": "done", "count": 3, "of": 3}));
    assert!(job["recalled_at"].is_string());
}

#[tokio::test]
async fn a_batch_settled_as_failed_can_be_retried_and_taken_back_whole() {
    let house = House::new().await;
    let id = in_doubt(&house).await;
    let (status, job) = house
        .act(&id, "settle", Some(json!({"state": "failed"})))
        .await;
    assert_eq!(status, 200, "{job:#}");
    assert_eq!(job["state"], "failed");
    assert_eq!(parts(&job), ["done", "failed", "done"]);

    house.act(&id, "recall", None).await;
    let job = recalled(&house, &id).await;
    assert_eq!(job["recall"], json!({"state": "done", "count": 2, "of": 2}));
    assert!(job["recalled_at"].is_string());

    let (status, _) = house.act(&id, "retry", None).await;
    assert_eq!(status, 202);
    let job = house.settled(&id).await;
    assert_eq!(job["state"], "done", "{job:#}");
    assert_eq!(house.effects("batch").await.len(), 4);
    assert!(
        job["recalled_at"].is_null(),
        "a part was sent after the others were taken back: {job:#}"
    );

    let (status, _) = house.act(&id, "recall", None).await;
    assert_eq!(status, 202);
    let job = recalled(&house, &id).await;
    assert_eq!(job["recall"], json!({"state": "done", "count": 3, "of": 3}));
    assert!(job["recalled_at"].is_string());
    assert_eq!(house.effects("batch_recall").await.len(), 3);
}

#[tokio::test]
async fn a_batch_in_doubt_counts_as_recalled_once_the_doubt_is_settled() {
    let house = House::new().await;
    let id = in_doubt(&house).await;
    let (status, _) = house.act(&id, "recall", None).await;
    assert_eq!(status, 202);
    let job = recalled(&house, &id).await;
    assert_eq!(job["recall"], json!({"state": "done", "count": 2, "of": 2}));
    assert_eq!(job["state"], "in_doubt");
    assert!(job["recalled_at"].is_null(), "{job:#}");

    let (status, job) = house
        .act(&id, "settle", Some(json!({"state": "failed"})))
        .await;
    assert_eq!(status, 200);
    assert!(job["recalled_at"].is_string(), "{job:#}");
}

#[tokio::test]
async fn a_part_whose_id_is_told_after_the_recall_is_taken_back_too() {
    let house = House::new().await;
    let id = in_doubt(&house).await;
    house.act(&id, "recall", None).await;
    recalled(&house, &id).await;
    let unseen = house.effects("batch").await[1]["batch_message_id"].clone();
    let word = json!({"state": "done", "message_id": unseen});
    let (status, _) = house.act(&id, "settle", Some(word)).await;
    assert_eq!(status, 200);
    let job = house
        .until(&format!("/v1/jobs/{id}"), |job| {
            job["recalled_at"].is_string()
        })
        .await;
    assert_eq!(
        job["recall"],
        json!({"state": "done", "count": 3, "of": 3}),
        "{job:#}"
    );
    let seen = house.effects("batch_recall").await;
    assert_eq!(seen.len(), 3);
    assert_eq!(seen[2]["batch_message_id"], unseen);
}

#[tokio::test]
async fn a_retry_after_a_recall_in_doubt_leaves_a_batch_that_is_not_recalled() {
    let house = House::new().await;
    let id = in_doubt(&house).await;
    house.act(&id, "recall", None).await;
    recalled(&house, &id).await;
    house.act(&id, "retry", None).await;
    let job = house.settled(&id).await;
    assert_eq!(job["state"], "done");
    assert!(job["recalled_at"].is_null(), "{job:#}");
    let (status, _) = house.act(&id, "recall", None).await;
    assert_eq!(status, 202);
    let job = house
        .until(&format!("/v1/jobs/{id}"), |job| {
            job["recalled_at"].is_string()
        })
        .await;
    assert_eq!(job["recall"], json!({"state": "done", "count": 3, "of": 3}));
}

#[tokio::test]
async fn resend_sends_each_doubtful_part_once_more() {
    let house = House::new().await;
    house
        .faults(json!([
            {"call": SEND, "do": "drop", "when": "after", "count": 1},
            {"call": SEND, "do": "delay", "ms": 0, "count": 1},
            {"call": SEND, "do": "drop", "when": "after", "count": 1},
        ]))
        .await;
    let mut job = batch(2);
    job["on_doubt"] = json!("resend");
    let job = house.post(job).await;
    let job = house.settled(id(&job)).await;
    assert_eq!(job["state"], "done", "{job:#}");
    assert_eq!(house.effects("batch").await.len(), 4);
}

#[tokio::test]
async fn drop_fails_the_doubtful_part_and_sends_it_no_more() {
    let house = House::new().await;
    house.faults(lost(0)).await;
    let mut job = batch(2);
    job["on_doubt"] = json!("drop");
    let job = house.post(job).await;
    let job = house.settled(id(&job)).await;
    assert_eq!(job["state"], "failed", "{job:#}");
    assert_eq!(job["error"]["class"], "dropped");
    assert_eq!(parts(&job), ["failed", "done"]);
    assert_eq!(house.effects("batch").await.len(), 2);
}

#[tokio::test]
async fn a_cancel_between_parts_keeps_the_sent_ones_and_sends_no_other() {
    let mut house = House::new().await;
    let id = held_up(&house, json!({})).await;
    let (status, job) = house.act(&id, "cancel", None).await;
    assert_eq!(status, 200);
    assert_eq!(job["state"], "canceled");
    assert_eq!(parts(&job), ["done", "canceled", "canceled"]);
    house.faults(json!([])).await;
    house.advance(Duration::from_secs(700)).await;

    // What was sent can still be taken back.
    let (status, _) = house.act(&id, "recall", None).await;
    assert_eq!(status, 202);
    let job = recalled(&house, &id).await;
    assert_eq!(job["recall"], json!({"state": "done", "count": 1, "of": 1}));
    assert!(job["recalled_at"].is_string());
    assert_eq!(house.effects("batch").await.len(), 1);
}

#[tokio::test]
async fn a_recall_between_parts_sends_no_other_and_takes_the_sent_ones_back() {
    let mut house = House::new().await;
    let id = held_up(&house, json!({})).await;
    let (status, job) = house.act(&id, "recall", None).await;
    assert_eq!(status, 202, "{job:#}");
    assert_eq!(job["state"], "canceled");
    let job = recalled(&house, &id).await;
    assert_eq!(job["recall"], json!({"state": "done", "count": 1, "of": 1}));
    assert!(job["recalled_at"].is_string(), "{job:#}");
    house.faults(json!([])).await;
    house.advance(Duration::from_secs(700)).await;
    assert_eq!(house.effects("batch").await.len(), 1);
}

#[tokio::test]
async fn a_deadline_between_parts_ends_the_batch_as_expired_and_a_retry_sends_the_rest() {
    let mut house = House::new().await;
    let id = held_up(&house, json!({"expires_in": "5m"})).await;
    house.advance(Duration::from_secs(301)).await;
    let job = house.settled(&id).await;
    assert_eq!(job["state"], "expired", "{job:#}");
    assert_eq!(parts(&job), ["done", "expired", "expired"]);
    house.faults(json!([])).await;
    house.advance(Duration::from_secs(400)).await;
    let (status, _) = house.act(&id, "retry", None).await;
    assert_eq!(status, 409);
    let (status, _) = house
        .act(&id, "retry", Some(json!({"expires_in": "1h"})))
        .await;
    assert_eq!(status, 202);
    let job = house.settled(&id).await;
    assert_eq!(job["state"], "done", "{job:#}");
    assert_eq!(house.effects("batch").await.len(), 3);
}

#[tokio::test]
async fn a_doubtful_part_keeps_the_batch_in_doubt_when_it_is_canceled_or_its_deadline_passes() {
    for end in ["cancel", "expiry"] {
        let mut house = House::new().await;
        house
            .faults(json!([
                {"call": SEND, "do": "drop", "when": "after", "count": 1},
                {"call": SEND, "do": "429", "reset_s": 600},
            ]))
            .await;
        let mut job = batch(3);
        job["expires_in"] = json!("5m");
        let job = house.post(job).await;
        let path = format!("/v1/jobs/{}", id(&job));
        house
            .until(&path, |job| {
                job["state"] == "queued" && job["attempts"].as_array().unwrap().len() == 2
            })
            .await;
        if end == "cancel" {
            let (status, _) = house.act(id(&job), "cancel", None).await;
            assert_eq!(status, 200);
        } else {
            house.advance(Duration::from_secs(301)).await;
        }
        let job = house.settled(id(&job)).await;
        assert_eq!(job["state"], "in_doubt", "{end}: {job:#}");
        assert_eq!(parts(&job)[0], "in_doubt");
        let unsent = if end == "cancel" {
            "canceled"
        } else {
            "expired"
        };
        assert_eq!(parts(&job)[1..], [unsent, unsent]);

        // Settled, the batch ends as what became of the parts that were never sent.
        let (status, job) = house
            .act(id(&job), "settle", Some(json!({"state": "done"})))
            .await;
        assert_eq!(status, 200);
        assert_eq!(job["state"], unsent, "{job:#}");
    }
}

#[tokio::test]
async fn a_recall_wished_for_while_a_part_is_under_way_stops_the_rest_and_takes_that_part_back() {
    let house = House::new().await;
    house
        .faults(after(
            0,
            SEND,
            json!({"do": "delay", "when": "before", "ms": 3000, "count": 1}),
        ))
        .await;
    let job = house.post(batch(3)).await;
    let path = format!("/v1/jobs/{}", id(&job));
    house.until(&path, |job| job["state"] == "sending").await;
    let (status, job) = house.act(id(&job), "recall", None).await;
    assert_eq!(status, 202, "{job:#}");
    assert_eq!(job["state"], "sending");
    let job = house
        .until(&path, |job| job["recalled_at"].is_string())
        .await;
    assert_eq!(job["state"], "canceled", "{job:#}");
    assert_eq!(parts(&job), ["done", "canceled", "canceled"]);
    assert_eq!(job["recall"], json!({"state": "done", "count": 1, "of": 1}));
    assert_eq!(made(&house, SEND).await, 1);
}

#[tokio::test]
async fn a_recall_wished_for_during_an_attempt_that_comes_to_nothing_takes_the_earlier_parts_back()
{
    // The second part does not fit into the day any more, so it would be tried again tomorrow.
    let house = House::with(Some(json!({"limits": {"batch_day": 210}})), "").await;
    house
        .faults(after(
            1,
            SEND,
            json!({"do": "delay", "when": "before", "ms": 3000, "count": 1}),
        ))
        .await;
    let job = house.post(batch(3)).await;
    let path = format!("/v1/jobs/{}", id(&job));
    house
        .until(&path, |job| parts(job)[..2] == ["done", "sending"])
        .await;
    let (status, _) = house.act(id(&job), "recall", None).await;
    assert_eq!(status, 202);
    let job = house
        .until(&path, |job| job["recalled_at"].is_string())
        .await;
    assert_eq!(job["state"], "canceled", "{job:#}");
    assert_eq!(parts(&job), ["done", "canceled", "canceled"]);
    assert_eq!(house.effects("batch_recall").await.len(), 1);
}

#[tokio::test]
async fn a_batch_is_found_by_the_id_of_any_of_its_parts() {
    let house = House::new().await;
    let job = house.post(batch(2)).await;
    let job = house.settled(id(&job)).await;
    for name in job["receipt"]["batch_message_ids"].as_array().unwrap() {
        let found = house.job(name.as_str().unwrap()).await;
        assert_eq!(found["id"], job["id"]);
    }
    let (status, _) = house.request("GET", "/v1/jobs/bm-unknown", None).await;
    assert_eq!(status, 404);
}

#[tokio::test]
async fn a_batch_may_take_itself_back_after_a_while() {
    let mut house = House::new().await;
    let mut job = batch(2);
    job["then"] = json!([{"kind": "batch_recall", "delay": "10m"}]);
    let job = house.post(job).await;
    let job = house
        .until(&format!("/v1/jobs/{}", id(&job)), |job| {
            job["state"] == "done"
        })
        .await;
    let child = job["children"][0].as_str().unwrap();
    house.advance(Duration::from_secs(9 * 60)).await;
    let waiting = house
        .until(&format!("/v1/jobs/{child}"), |job| {
            job["waiting_for"] == "schedule"
        })
        .await;
    assert_eq!(waiting["state"], "queued");
    assert!(house.effects("batch_recall").await.is_empty());
    house.advance(Duration::from_secs(61)).await;
    let child = house.settled(child).await;
    assert_eq!(child["state"], "done", "{child:#}");
    assert_eq!(parts(&child), ["done", "done"]);
    assert_eq!(house.effects("batch_recall").await.len(), 2);
    let job = house.job(id(&job)).await;
    assert!(job["recalled_at"].is_string(), "{job:#}");
}

#[tokio::test]
async fn a_part_under_way_at_a_crash_is_in_doubt_and_the_rest_is_sent() {
    let mut house = House::new().await;
    house
        .faults(after(
            1,
            SEND,
            json!({"do": "delay", "when": "after", "ms": 600_000, "count": 1}),
        ))
        .await;
    let job = house.post(batch(3)).await;
    while house.effects("batch").await.len() < 2 {
        tokio::task::yield_now().await;
    }
    house.kill();
    house.start();
    let job = house.settled(id(&job)).await;
    assert_eq!(job["state"], "in_doubt", "{job:#}");
    assert_eq!(parts(&job), ["done", "in_doubt", "done"]);
    assert_eq!(house.effects("batch").await.len(), 3);
}

#[tokio::test]
async fn a_batch_that_is_done_is_taken_back_by_its_job() {
    let house = House::new().await;
    let job = house.post(batch(2)).await;
    let job = house.settled(id(&job)).await;
    assert_eq!(job["state"], "done", "{job:#}");
    let recall = json!({"kind": "batch_recall", "args": {"batch": job["id"]}});
    let recall = house.post(recall).await;
    let recall = house.settled(id(&recall)).await;
    assert_eq!(recall["state"], "done", "{recall:#}");
    assert_eq!(parts(&recall), ["done", "done"]);
    assert_eq!(house.effects("batch_recall").await.len(), 2);
}
