//! A message in doubt: which messages of the chat may be the one, and what a person makes of it.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on should stop here"
)]

mod support;

use feishu_sandbox::{DEFAULT_APP_ID, DEFAULT_CHAT, DEFAULT_USER};
use serde_json::{Value, json};
use support::House;
use support::jobs::{
    HOUR, MINUTE, SECOND, SEND, acted, child, made, message, ms, pass, path, post, sent, tried,
    until_state,
};

const HISTORY: &str = "GET /open-apis/im/v1/messages";

/// Sends `job` so that its answer is lost, `when` it was shown (`after`) or not (`before`), and lets its
/// window pass while the relay is down.
async fn lost(house: &mut House, when: &str, jobs: Vec<Value>) -> Vec<String> {
    house
        .faults(json!([{"call": SEND, "do": "drop", "when": when}]))
        .await;
    let mut ids = Vec::new();
    for job in jobs {
        let id = post(house, job).await;
        tried(house, &id, 1).await;
        ids.push(id);
    }
    house.kill();
    house.faults(json!([])).await;
    house.advance(51 * MINUTE).await;
    house.start();
    ids
}

/// The job's doubt, once the chat's history has been read.
async fn checked(house: &House, id: &str) -> Value {
    let job = house
        .until(&path(id), |job| job["doubt"]["checked_at"].is_string())
        .await;
    assert_eq!(job["state"], "in_doubt", "{job:#}");
    job["doubt"].clone()
}

fn candidates(doubt: &Value) -> Vec<&str> {
    let list = doubt["candidates"].as_array().unwrap();
    list.iter()
        .map(|one| one["message_id"].as_str().unwrap())
        .collect()
}

/// What the sandbox saw of that job.
async fn seen(house: &House, id: &str) -> Value {
    let effects = house.effects("message").await;
    let uuid = id.trim_start_matches("job_");
    let mut of_job = effects.into_iter().filter(|effect| effect["uuid"] == uuid);
    let one = of_job.next().unwrap();
    assert!(of_job.next().is_none());
    one
}

#[tokio::test]
async fn a_message_that_was_shown_is_found_and_settled_with_its_id_and_its_pin_goes_on() {
    let mut house = House::new().await;
    // Another job's message says the same; it is not taken for this one's.
    sent(&house).await;
    let written = json!({"do": "write", "user": DEFAULT_USER, "chat": DEFAULT_CHAT, "text": "a private word"});
    house.control("act", written).await;
    let job = message(json!({"then": [{"kind": "pin"}]}));
    let id = lost(&mut house, "after", vec![job]).await.remove(0);
    let doubt = checked(&house, &id).await;
    let shown = seen(&house, &id).await;
    assert_eq!(candidates(&doubt), [shown["message_id"].as_str().unwrap()]);
    let found = &doubt["candidates"][0];
    assert_eq!(
        (&found["same_content"], &found["sender"]),
        (&json!(true), &json!(DEFAULT_APP_ID))
    );
    assert_eq!(ms(&found["create_time"]), shown["at"].as_i64().unwrap());
    assert_eq!(doubt["chat_id"], DEFAULT_CHAT);
    let job = house.job(&id).await;
    // The mark comes right before the attempt.
    assert!(ms(&doubt["since"]) <= ms(&job["attempts"][0]["at"]));
    assert_eq!(
        ms(&doubt["window_ends_at"]) - ms(&doubt["since"]),
        50 * 60_000
    );
    assert!(
        doubt["note"].as_str().unwrap().contains("taken back"),
        "{doubt:#}"
    );
    assert_eq!(made(&house, HISTORY).await, 1);
    // Nothing of it is settled by that alone, however long it lasts, and nobody asks again.
    pass(&mut house, HOUR).await;
    house.restart();
    pass(&mut house, 24 * HOUR).await;
    assert_eq!(house.job(&id).await["doubt"], doubt);
    assert_eq!(made(&house, HISTORY).await, 1);

    // A person is given the command.
    let said = house.binary().args(["jobs", "show", &id]).output().unwrap();
    let said = String::from_utf8(said.stdout).unwrap();
    let command = (said.lines())
        .find_map(|line| line.trim().strip_prefix("feishu-relay jobs settle "))
        .unwrap();
    assert!(command.contains("--done --message-id om_"), "{said}");
    let listed = house
        .binary()
        .args(["jobs", "list", "--state", "in_doubt"])
        .output()
        .unwrap();
    assert!(String::from_utf8(listed.stdout).unwrap().contains(&id));
    let words = ["jobs", "settle"].into_iter().chain(command.split(' '));
    let ended = house.binary().args(words).output().unwrap();
    assert!(ended.status.success(), "{ended:?}");
    let job = house.job(&id).await;
    assert_eq!(job["state"], "done", "{job:#}");
    assert_eq!(job["receipt"]["message_id"], found["message_id"]);
    assert!(job["doubt"].is_null());
    let pin = house.settled(&child(&job, 0)).await;
    assert_eq!(pin["state"], "done", "{pin:#}");
    assert_eq!(
        house.effects("pin").await[0]["message_id"],
        found["message_id"]
    );
    house.stop();
    for file in ["relay.db", "relay.db-wal"] {
        let bytes = std::fs::read(house.dir.path().join(file)).unwrap_or_default();
        let held = bytes.windows(14).any(|some| some == b"a private word");
        assert!(!held, "{file} holds what somebody else wrote");
    }
}

#[tokio::test]
async fn a_message_that_was_not_shown_has_no_candidate_and_is_sent_again_by_a_persons_word() {
    let mut house = House::new().await;
    let id = lost(&mut house, "before", vec![message(json!({}))])
        .await
        .remove(0);
    let doubt = checked(&house, &id).await;
    assert_eq!(doubt["candidates"], json!([]), "{doubt:#}");
    let (status, _) = acted(&house, &id, "retry", Value::Null).await;
    assert_eq!(status, 202);
    assert_eq!(house.settled(&id).await["state"], "done");
    assert_eq!(house.effects("message").await.len(), 1);
}

#[tokio::test]
async fn two_equal_messages_are_each_others_candidates_until_one_is_settled() {
    let mut house = House::new().await;
    let text = |text: &str| json!({"kind": "send", "args": {"to": DEFAULT_CHAT, "text": text}});
    // Each in a lane of its own, so that one in doubt holds nobody up.
    let jobs = [text("disk full"), text("disk full"), text("disk fine")];
    let jobs = jobs.into_iter().enumerate().map(|(n, mut job)| {
        job["lane"] = json!(format!("lane-{n}"));
        job
    });
    let ids = lost(&mut house, "after", jobs.collect()).await;
    let mut shown = Vec::new();
    for id in &ids {
        shown.push(
            seen(&house, id).await["message_id"]
                .as_str()
                .unwrap()
                .to_owned(),
        );
    }
    let doubt = checked(&house, &ids[0]).await;
    assert_eq!(candidates(&doubt), shown);
    let same = |doubt: &Value| -> Vec<Value> {
        let list = doubt["candidates"].as_array().unwrap();
        list.iter().map(|one| one["same_content"].clone()).collect()
    };
    assert_eq!(same(&doubt), [true, true, false]);
    checked(&house, &ids[1]).await;
    let word = json!({"state": "done", "message_id": shown[0]});
    let (status, _) = acted(&house, &ids[0], "settle", word.clone()).await;
    assert_eq!(status, 200);
    // What is one job's message is no other's.
    let (status, told) = acted(&house, &ids[1], "settle", word).await;
    assert_eq!(status, 409, "{told:#}");
    assert!(
        told["detail"].as_str().unwrap().contains(&ids[0]),
        "{told:#}"
    );
    let doubt = checked(&house, &ids[1]).await;
    assert_eq!(candidates(&doubt), shown[1..]);
}

#[tokio::test]
async fn a_card_is_known_again_by_its_json_and_never_taken_for_a_text() {
    let mut house = House::new().await;
    let card = json!({"header": {"title": {"tag": "plain_text", "content": "disk full"}},
        "elements": [{"tag": "div", "text": {"tag": "plain_text", "content": "on db-1"}}]});
    let card = json!({"kind": "send", "lane": "cards", "args": {"to": DEFAULT_CHAT, "card": card}});
    let ids = lost(&mut house, "after", vec![card, message(json!({}))]).await;
    for id in &ids {
        let doubt = checked(&house, id).await;
        let shown = seen(&house, id).await;
        assert_eq!(candidates(&doubt), [shown["message_id"].as_str().unwrap()]);
        assert_eq!(doubt["candidates"][0]["same_content"], true);
    }
}

#[tokio::test]
async fn a_history_that_the_app_may_not_read_is_said_and_stops_nothing_else() {
    for (code, http) in [(230_027, 400), (99_991_672, 400)] {
        let mut house = House::new().await;
        let refused =
            json!({"call": HISTORY, "do": "code", "code": code, "http": http, "count": 1});
        house
            .faults(json!([{"call": SEND, "do": "drop", "when": "after", "count": 1}, refused]))
            .await;
        let id = post(&house, message(json!({}))).await;
        tried(&house, &id, 1).await;
        acted(&house, &id, "cancel", Value::Null).await;
        // A call that is lost may still be carried out: the look waits a little.
        let job = house.job(&id).await;
        assert_eq!(
            (&job["state"], made(&house, HISTORY).await),
            (&json!("in_doubt"), 0)
        );
        house.advance(31 * SECOND).await;
        let code = code.to_string();
        let noted = |job: &Value| job["doubt"]["note"].as_str().unwrap().contains(&code);
        let job = house.until(&path(&id), noted).await;
        assert!(job["doubt"]["candidates"].is_null(), "{job:#}");
        let status = house
            .until("/v1/status", |status| status["apps"].is_array())
            .await;
        assert_eq!(status["apps"][0]["paused"], json!([]), "{status:#}");
        pass(&mut house, HOUR).await;
        assert_eq!(made(&house, HISTORY).await, 1);

        // Somebody gave the app its scope, and asks anew.
        let (_, job) = house
            .request("GET", &format!("{}?fresh=true", path(&id)), None)
            .await;
        assert_eq!(candidates(&job["doubt"]).len(), 1, "{job:#}");
        assert_eq!(made(&house, HISTORY).await, 2);
    }
}

#[tokio::test]
async fn a_look_survives_a_crash_between_its_pages() {
    let limits =
        json!({"limits": {"app_minute": 100_000, "app_second": 100_000, "chat_second": 100_000}});
    let off = "limits = { app_minute = 0, app_second = 0, chat_second = 0, user_second = 0 }\n";
    let mut house = House::with(Some(limits), off).await;
    let many: Vec<Value> = (0..60).map(|_| message(json!({}))).collect();
    let many = house.post(json!(many)).await;
    for job in many["jobs"].as_array().unwrap() {
        house.settled(job["id"].as_str().unwrap()).await;
    }
    house
        .faults(
            json!([{"call": SEND, "do": "drop", "when": "after", "count": 1},
        {"call": HISTORY, "do": "delay", "ms": 0, "count": 1},
        {"call": HISTORY, "do": "delay", "when": "after", "ms": 600_000, "count": 1}]),
        )
        .await;
    let id = post(&house, message(json!({}))).await;
    tried(&house, &id, 1).await;
    acted(&house, &id, "cancel", Value::Null).await;
    house.advance(31 * SECOND).await;
    while made(&house, HISTORY).await < 2 {
        tokio::task::yield_now().await;
    }
    house.kill();
    house.start();
    let doubt = checked(&house, &id).await;
    let shown = seen(&house, &id).await;
    assert_eq!(candidates(&doubt), [shown["message_id"].as_str().unwrap()]);
    assert_eq!(made(&house, HISTORY).await, 3);
}

#[tokio::test]
async fn the_chat_of_a_person_is_known_from_an_earlier_answer() {
    let mut house = House::new().await;
    let to = |text: &str| json!({"kind": "send", "args": {"to": DEFAULT_USER, "text": text}});
    let id = lost(&mut house, "after", vec![to("good morning")])
        .await
        .remove(0);
    let unknown = |job: &Value| {
        let note = job["doubt"]["note"].as_str().unwrap_or_default();
        note.contains("the chat is not known")
    };
    house.until(&path(&id), unknown).await;
    assert_eq!(made(&house, HISTORY).await, 0);
    let other = post(&house, to("good night")).await;
    assert_eq!(house.settled(&other).await["state"], "done");
    let (_, job) = house
        .request("GET", &format!("{}?fresh=true", path(&id)), None)
        .await;
    let shown = seen(&house, &id).await;
    assert_eq!(
        candidates(&job["doubt"]),
        [shown["message_id"].as_str().unwrap()]
    );
    assert_eq!(job["doubt"]["chat_id"], shown["chat_id"]);
}

#[tokio::test]
async fn answers_that_stay_away_end_the_look_after_a_dozen_calls_and_it_can_be_asked_for_again() {
    let mut house = House::new().await;
    let id = lost(&mut house, "after", vec![message(json!({}))])
        .await
        .remove(0);
    checked(&house, &id).await;
    house
        .faults(json!([{"call": HISTORY, "do": "5xx", "when": "before"}]))
        .await;
    let before = made(&house, HISTORY).await;
    let ask = format!("{}?fresh=true", path(&id));
    let gave_up = |job: &Value| job["doubt"]["note"].as_str().unwrap().contains("no answer");
    let (_, mut job) = house.request("GET", &ask, None).await;
    for _ in 0..60 {
        if gave_up(&job) {
            break;
        }
        // What an earlier look found stays on show meanwhile.
        assert_eq!(candidates(&job["doubt"]).len(), 1, "{job:#}");
        pass(&mut house, HOUR).await;
        job = house.job(&id).await;
    }
    assert!(gave_up(&job), "{job:#}");
    assert_eq!(made(&house, HISTORY).await - before, 12);
    pass(&mut house, 24 * HOUR).await;
    assert_eq!(made(&house, HISTORY).await - before, 12);
    house.faults(json!([])).await;
    let (_, job) = house.request("GET", &ask, None).await;
    assert!(!gave_up(&job), "{job:#}");
    assert_eq!(candidates(&job["doubt"]).len(), 1, "{job:#}");
}

#[tokio::test]
async fn what_is_not_in_doubt_is_not_looked_for() {
    let mut house = House::new().await;
    let about = sent(&house).await;
    let job = house.job(&about).await;
    let id = job["id"].as_str().unwrap();
    let (status, job) = house
        .request("GET", &format!("{}?fresh=true", path(id)), None)
        .await;
    assert_eq!((status, &job["doubt"]), (200, &Value::Null));
    let call = "PATCH /open-apis/im/v1/messages/:message_id/urgent_app";
    house
        .faults(json!([{"call": call, "do": "drop", "when": "after", "count": 1}]))
        .await;
    let buzz = json!({"kind": "urgent_app", "args": {"message": about, "users": [DEFAULT_USER]}});
    let id = post(&house, buzz).await;
    until_state(&house, &id, "in_doubt").await;
    house.advance(MINUTE).await;
    let (_, job) = house
        .request("GET", &format!("{}?fresh=true", path(&id)), None)
        .await;
    assert!(job["doubt"]["since"].is_string(), "{job:#}");
    assert!(job["doubt"]["candidates"].is_null(), "{job:#}");
    assert_eq!(made(&house, HISTORY).await, 0);
}

#[tokio::test]
async fn a_message_settled_or_sent_again_before_the_look_is_not_looked_for() {
    let mut house = House::new().await;
    for word in ["settle", "retry"] {
        house
            .faults(json!([{"call": SEND, "do": "drop", "when": "after", "count": 1}]))
            .await;
        let id = post(&house, message(json!({}))).await;
        tried(&house, &id, 1).await;
        acted(&house, &id, "cancel", Value::Null).await;
        let body = if word == "settle" {
            json!({"state": "failed"})
        } else {
            Value::Null
        };
        let (status, _) = acted(&house, &id, word, body).await;
        assert!(status < 300);
        house.settled(&id).await;
        pass(&mut house, MINUTE).await;
    }
    assert_eq!(made(&house, HISTORY).await, 0);
}
