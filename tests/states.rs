//! Every state a job can be in, what leads there, and who may take it out again.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on should stop here"
)]

mod support;

use feishu_sandbox::{DEFAULT_SECOND_CHAT, DEFAULT_USER};
use serde_json::{Value, json};
use support::House;
use support::jobs::{
    DAY, HOUR, MINUTE, SECOND, SEND, acted, child, doubtful, id, made, message, ms, outcomes, pass,
    path, post, sent, tried, until_state,
};

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
                let seen = answer["state"].as_str().unwrap();
                // What goes again may have begun, or ended, before the answer was written.
                let went = *to == "queued" && matches!(seen, "sending" | "done");
                assert!(seen == *to || went, "{action} of {state}: {answer:#}");
                let actions = answer["actions"].as_array().unwrap();
                let last = actions.last().unwrap();
                assert!(last["what"].as_str().unwrap().starts_with(action));
                // What goes again is let go, so that it takes neither the lane nor the fault of the next;
                // the expired one still waits for the message that it names, the canceled one for its time.
                if *to == "queued" && !matches!(state, "expired" | "canceled") {
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
async fn a_cancel_taken_back_leaves_the_schedule_as_it_was() {
    let mut house = House::new().await;
    let id = post(&house, message(json!({"delay": "1h"}))).await;
    let before = house.job(&id).await;
    acted(&house, &id, "cancel", Value::Null).await;
    let (status, job) = acted(&house, &id, "retry", Value::Null).await;
    assert_eq!((status, &job["state"]), (202, &json!("queued")), "{job:#}");
    assert_eq!(job["waiting_for"], "schedule", "{job:#}");
    assert_eq!(job["run_at"], before["run_at"]);
    pass(&mut house, MINUTE).await;
    assert!(house.effects("message").await.is_empty());
    pass(&mut house, HOUR).await;
    assert_eq!(house.settled(&id).await["state"], "done");
    assert_eq!(house.effects("message").await.len(), 1);
}
