//! Schedules of our own: moments in which two things happen at once, and what a person does in doubt.

use feishu_sandbox::{DEFAULT_CHAT, DEFAULT_USER};
use serde_json::{Value, json};

use crate::support::House;
use crate::support::jobs::{
    HOUR, MINUTE, SECOND, SEND, acted, doubtful, made, message, outcomes, pass, path, post, sent,
    tried, until_state,
};
use crate::token::refusals;
use crate::{BATCH, PHONE, cancel, lost, shown, state, to, until_seen};

fn slow(when: &str, ms: u64) -> Value {
    json!({"call": SEND, "do": "delay", "when": when, "ms": ms, "count": 1})
}

/// The deadline passes while the call is on the wire: the answer decides, not the deadline.
#[tokio::test]
async fn an_answer_that_comes_after_the_deadline_counts() {
    let mut house = House::new().await;
    for (user, (rules, end, times)) in [
        (json!([slow("before", 3000)]), "done", 1),
        (json!([slow("before", 3000), lost(SEND)]), "done", 1),
        (
            json!([{"call": SEND, "do": "delay", "when": "before", "ms": 3000}, ]),
            "done",
            1,
        ),
    ]
    .into_iter()
    .enumerate()
    {
        house.faults(rules).await;
        let id = post(
            &house,
            to(user, json!({"expires_in": "5m", "then": [{"kind": "pin"}]})),
        )
        .await;
        until_state(&house, &id, "sending").await;
        house.advance(6 * MINUTE).await;
        let job = until_state(&house, &id, end).await;
        assert_eq!(shown(&house, &id).await, times);
        assert_eq!(outcomes(&job), ["done"], "{job:#}");
        // Its child took its deadline: that one is over.
        let job = house.settled(&id).await;
        let pin = house.job(job["children"][0].as_str().unwrap()).await;
        assert_eq!(pin["state"], "expired", "{pin:#}");
        house.faults(json!([])).await;
    }
}

/// The deadline passes while the call is on the wire, and its answer is lost or says not now.
#[tokio::test]
async fn no_answer_after_the_deadline_is_in_doubt_and_a_not_now_is_expired() {
    let seed = json!({"limits": {"app_second": 1}});
    let mut house = House::with(Some(seed), "timeout = \"2s\"\n").await;
    house.faults(json!([slow("after", 4000)])).await;
    let id = post(&house, to(1, json!({"expires_in": "5m"}))).await;
    until_seen(&house, "message", 1).await;
    house.advance(6 * MINUTE).await;
    let job = house.settled(&id).await;
    assert_eq!(job["state"], "in_doubt", "{job:#}");
    assert_eq!(made(&house, SEND).await, 1);

    // Its place in Feishu's second is taken by another while it is held up.
    house.faults(json!([slow("before", 1500)])).await;
    house.control("clock", json!({"freeze": true})).await;
    let id = post(&house, to(2, json!({"expires_in": "5m"}))).await;
    until_state(&house, &id, "sending").await;
    let other = post(&house, to(3, json!({}))).await;
    house.settled(&other).await;
    house.advance(6 * MINUTE).await;
    let job = house.settled(&id).await;
    if outcomes(&job) == ["limited"] {
        assert_eq!(job["state"], "expired", "{job:#}");
        assert_eq!(shown(&house, &id).await, 0);
    }
}

/// Feishu says that it is at work on the message; a cancel in that moment proves nothing.
#[tokio::test]
async fn a_cancel_while_feishu_is_still_sending_is_in_doubt() {
    let house = House::new().await;
    house
        .faults(json!([{"call": SEND, "do": "code", "code": 230_049}]))
        .await;
    let id = post(&house, message(json!({}))).await;
    tried(&house, &id, 1).await;
    cancel(&house, &id).await;
    let job = house.settled(&id).await;
    assert_eq!(job["state"], "in_doubt", "{job:#}");
    let tries = made(&house, SEND).await;
    house.faults(json!([])).await;
    sent(&house).await;
    assert_eq!(made(&house, SEND).await, tries + 1, "not tried again");
}

/// Unknown, repeated, and while the repeat is on the wire somebody wishes it back.
#[tokio::test]
async fn a_recall_during_the_repeat_of_an_unknown_attempt_is_carried_out_when_that_is_done() {
    for kill in [false, true] {
        let mut house = House::new().await;
        house
            .faults(json!([lost(SEND), slow("before", 3000)]))
            .await;
        let id = post(&house, message(json!({}))).await;
        house
            .until(&path(&id), |job| {
                job["state"] == "sending" && job["attempts"].as_array().unwrap().len() == 1
            })
            .await;
        assert_eq!(acted(&house, &id, "recall", Value::Null).await.0, 202);
        if kill {
            // The wish is on disk: no third attempt, nobody knows the id.
            house.kill();
            house.start();
            let job = house.settled(&id).await;
            assert_eq!(job["state"], "in_doubt", "{job:#}");
            let message = house.effects("message").await[0]["message_id"].clone();
            let word = json!({"state": "done", "message_id": message});
            assert_eq!(acted(&house, &id, "settle", word).await.0, 200);
        }
        let job = house
            .until(&path(&id), |job| job["recalled_at"].is_string())
            .await;
        assert_eq!(job["state"], "done", "{job:#}");
        assert_eq!(shown(&house, &id).await, 1);
        assert_eq!(house.effects("recall").await.len(), 1);
    }
}

/// The key of a job in doubt answers that job, however often and whatever happened meanwhile.
#[tokio::test]
async fn a_key_used_again_while_its_job_is_in_doubt_sends_nothing() {
    let mut house = House::new().await;
    let more = json!({"key": "once"});
    let id = doubtful(&house, more.clone()).await;
    for _ in 0..2 {
        let tries = made(&house, SEND).await;
        let (status, job) = house
            .request("POST", "/v1/jobs", Some(message(more.clone())))
            .await;
        assert_eq!((status, &job["id"]), (200, &json!(id)), "{job:#}");
        assert_eq!(job["state"], "in_doubt");
        assert_eq!(made(&house, SEND).await, tries);
        house.kill();
        house.start();
        pass(&mut house, 2 * HOUR).await;
    }
    assert_eq!(shown(&house, &id).await, 1);
}

/// A person says that it failed, and then sends it again after all: under the same uuid.
#[tokio::test]
async fn a_retry_after_a_settle_keeps_the_uuid() {
    let mut house = House::new().await;
    let id = doubtful(&house, json!({})).await;
    let failed = json!({"state": "failed"});
    assert_eq!(acted(&house, &id, "settle", failed).await.0, 200);
    house.restart();
    assert_eq!(acted(&house, &id, "retry", Value::Null).await.0, 202);
    let job = house.settled(&id).await;
    assert_eq!(job["state"], "done", "{job:#}");
    assert_eq!(
        shown(&house, &id).await,
        1,
        "inside the hour Feishu knows it"
    );
    assert_eq!(acted(&house, &id, "retry", Value::Null).await.0, 409);
}

/// Paused by hand while unknown: in time it is proven after it, later nobody dares.
#[tokio::test]
async fn a_pause_while_unknown_keeps_the_window_running() {
    for (minutes, end) in [(30, "done"), (61, "in_doubt")] {
        let mut house = House::new().await;
        house
            .faults(json!([lost(SEND), {"call": SEND, "do": "429", "reset_s": 1}]))
            .await;
        let id = post(&house, message(json!({}))).await;
        tried(&house, &id, 1).await;
        let all = Some(json!({"app": "ops"}));
        assert_eq!(house.request("POST", "/v1/pause", all.clone()).await.0, 200);
        house.faults(json!([])).await;
        house.restart();
        house.advance(minutes * MINUTE).await;
        let tries = made(&house, SEND).await;
        let job = house.job(&id).await;
        assert_eq!(
            (&job["state"], &job["waiting_for"]),
            (&json!("queued"), &json!("app"))
        );
        assert_eq!(made(&house, SEND).await, tries, "paused is paused");
        assert_eq!(house.request("POST", "/v1/resume", all).await.0, 200);
        let job = house.settled(&id).await;
        assert_eq!(job["state"], end, "{minutes} min: {job:#}");
        assert_eq!(shown(&house, &id).await, 1);
    }
}

/// Nothing looks at the window before the mark: the look right before the write is the one that counts,
/// whatever passed between the two.
#[tokio::test]
async fn a_window_that_is_closed_at_the_write_lets_nothing_leave() {
    let mut house = House::new().await;
    // The repeat is held up by a limit that ends inside the window, and nobody is awake then.
    let limit = json!({"call": SEND, "do": "429", "reset_s": 2400, "count": 1});
    house.faults(json!([lost(SEND), limit])).await;
    let id = post(&house, message(json!({}))).await;
    tried(&house, &id, 2).await;
    let tries = made(&house, SEND).await;
    house.advance(62 * MINUTE).await;
    let job = house.settled(&id).await;
    assert_eq!(job["state"], "in_doubt", "{job:#}");
    assert_eq!(outcomes(&job), ["unknown", "limited", "not_sent"]);
    assert_eq!(made(&house, SEND).await, tries);
    assert_eq!(shown(&house, &id).await, 1);
}

/// A job that is in doubt gives its lane to the next one, in order, also when the relay dies right then.
#[tokio::test]
async fn a_lane_goes_on_in_order_when_its_first_job_falls_into_doubt() {
    for kill in [false, true] {
        let mut house = House::new().await;
        house
            .faults(json!([lost(SEND), {"call": SEND, "do": "code", "code": 230_013, "count": 1}]))
            .await;
        let text = |n: usize| json!({"kind": "send", "args": {"to": DEFAULT_CHAT, "text": format!("number {n}")}});
        let ids = crate::ids(&house.post((0..5).map(text).collect()).await);
        until_state(&house, &ids[0], "in_doubt").await;
        if kill {
            house.kill();
            house.start();
        }
        for id in &ids[1..] {
            assert_eq!(house.settled(id).await["state"], "done");
        }
        // Retried it stands in the lane anew, and is known to Feishu already.
        assert_eq!(acted(&house, &ids[0], "retry", Value::Null).await.0, 202);
        assert_eq!(house.settled(&ids[0]).await["state"], "done");
        let seen = house.effects("message").await;
        let texts: Vec<&str> = seen
            .iter()
            .map(|one| one["content"].as_str().unwrap())
            .collect();
        assert!(texts.len() == 5 && texts.is_sorted(), "{texts:?}");
    }
}

/// A slow Feishu and a relay that dies three times before it hears an answer.
#[tokio::test]
async fn restarts_beside_a_slow_feishu_show_it_once() {
    let mut house = House::new().await;
    house
        .faults(json!([{"call": SEND, "do": "delay", "when": "before", "ms": 1500}]))
        .await;
    let id = post(&house, message(json!({}))).await;
    for n in 1..=3 {
        crate::until_faulted(&house, SEND, n).await;
        until_state(&house, &id, "sending").await;
        house.kill();
        house.start();
    }
    house.faults(json!([])).await;
    house.advance(MINUTE).await;
    let job = house.settled(&id).await;
    assert_eq!(job["state"], "done", "{job:#}");
    assert_eq!(outcomes(&job)[..3], ["unknown"; 3]);
    until_seen(&house, "message", 1).await;
    assert_eq!(shown(&house, &id).await, 1);
}

/// Down past its deadline with an attempt under way: nobody repeats it, and it says so.
#[tokio::test]
async fn killed_in_an_attempt_and_back_after_the_deadline_is_in_doubt() {
    let mut house = House::new().await;
    let slow = |call: &str| json!({"call": call, "do": "delay", "when": "after", "ms": 600_000, "count": 1});
    house.faults(json!([slow(SEND), slow(BATCH)])).await;
    let send = post(&house, message(json!({"expires_in": "5m"}))).await;
    let batch = json!({"kind": "batch_send", "expires_in": "5m", "args": {"open_ids": [DEFAULT_USER], "text": "the canteen opens"}});
    let batch = post(&house, batch).await;
    until_seen(&house, "message", 1).await;
    until_seen(&house, "batch", 1).await;
    house.kill();
    house.advance(6 * MINUTE).await;
    house.faults(json!([])).await;
    house.start();
    for id in [&send, &batch] {
        let job = house.settled(id).await;
        assert_eq!(job["state"], "in_doubt", "{job:#}");
    }
    pass(&mut house, HOUR).await;
    assert_eq!(
        (made(&house, SEND).await, made(&house, BATCH).await),
        (1, 1)
    );
}

/// The token is refused on the repeat of an unknown attempt, and on a call that cannot be repeated:
/// that attempt was not executed, and says nothing of any other.
#[tokio::test]
async fn a_dead_token_on_a_repeat_or_a_call_is_no_outcome() {
    let dead = |call: &str| json!({"call": call, "do": "code", "code": 99_991_663, "count": 1});
    let house = House::new().await;
    house.faults(json!([lost(SEND), dead(SEND)])).await;
    let send = post(&house, message(json!({}))).await;
    let job = house.settled(&send).await;
    assert_eq!((&job["state"], refusals(&job)), (&json!("done"), 1));
    assert_eq!(outcomes(&job)[0], "unknown", "{job:#}");
    assert_eq!(shown(&house, &send).await, 1);

    let house = House::new().await;
    let message = sent(&house).await;
    house.faults(json!([dead(PHONE)])).await;
    let phone =
        json!({"kind": "urgent_phone", "args": {"message": message, "users": [DEFAULT_USER]}});
    let job = house.settled(&post(&house, phone).await).await;
    assert_eq!((&job["state"], refusals(&job)), (&json!("done"), 1));
    assert_eq!(house.effects("urgent_phone").await.len(), 1);
}

/// `resend` repeats a message once, with a window of its own, whatever is killed meanwhile.
#[tokio::test]
async fn resend_past_the_window_repeats_once_over_kills_and_then_holds() {
    let mut house = House::new().await;
    let never = json!({"call": SEND, "do": "drop", "when": "after"});
    house.faults(json!([never])).await;
    let id = post(&house, message(json!({"on_doubt": "resend"}))).await;
    tried(&house, &id, 1).await;
    for _ in 0..4 {
        house.kill();
        house.advance(51 * MINUTE).await;
        house.start();
        pass(&mut house, 30 * SECOND).await;
    }
    let job = house.settled(&id).await;
    assert_eq!(job["state"], "in_doubt", "{job:#}");
    let times = shown(&house, &id).await;
    assert!(times <= 2, "shown {times} times");
    let tries = made(&house, SEND).await;
    pass(&mut house, 3 * HOUR).await;
    assert_eq!(made(&house, SEND).await, tries);
    assert_eq!(state(&house, &id).await, "in_doubt");
}
