//! What hangs on another job: children, named messages, images of its own.

mod support;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use feishu_sandbox::{DEFAULT_CHAT, DEFAULT_USER};
use serde_json::{Value, json};
use support::House;
use support::form::png;
use support::jobs::{
    HOUR, MINUTE, PIXEL, SECOND, SEND, UPLOAD, acted, child, doubtful, id, message, ms, post,
    until_state,
};

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
        "image": {"data": STANDARD.encode(png(2, 2)), "file_name": "dot.png"}}, "then": [{"kind": "pin"}]});
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
async fn a_batch_may_carry_its_image_as_a_message_may() {
    let house = House::new().await;
    let batch = json!({"kind": "batch_send", "args": {"open_ids": [DEFAULT_USER],
        "image": {"data": PIXEL, "file_name": "dot.png"}}});
    let id = post(&house, batch).await;
    let job = house.settled(&id).await;
    assert_eq!(job["state"], "done", "{job:#}");
    let batch = house.effects("batch").await;
    let upload = house.effects("upload").await;
    assert_eq!((batch.len(), upload.len()), (1, 1));
    let key = upload[0]["key"].as_str().unwrap();
    assert!(batch[0]["content"].to_string().contains(key), "{batch:#?}");
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
