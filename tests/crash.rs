//! What was accepted survives the process, and nothing is seen twice because of it.

mod support;

use std::collections::HashMap;
use std::time::Duration;

use feishu_sandbox::DEFAULT_USERS;
use serde_json::{Value, json};
use support::House;
use support::jobs::{made, message, outcomes, pass, post, sent, tried};

const SEND: &str = "POST /open-apis/im/v1/messages";
const BATCH: &str = "POST /open-apis/message/v4/batch_send/";

fn free_limits() -> Value {
    json!({"limits": {"app_minute": 0, "app_second": 0, "chat_second": 0, "user_second": 0}})
}

/// The same job to another receiver, so that it has a lane of its own.
fn at(mut job: Value, user: usize) -> Value {
    job["args"]["to"] = json!(DEFAULT_USERS[user]);
    job
}

const FREE: &str =
    "limits = { app_minute = 0, app_second = 0, chat_second = 0, user_second = 0 }\n";

#[tokio::test]
async fn a_thousand_accepted_jobs_survive_kills_and_each_is_seen_once_in_order() {
    let mut house = House::with(Some(free_limits()), FREE).await;
    let mut ids = Vec::new();
    // Ten producers' worth of jobs, a kill after each of them; the next start goes on.
    for round in 0..10 {
        let jobs: Vec<Value> = (0..100)
            .map(|n| {
                let to = DEFAULT_USERS[n % DEFAULT_USERS.len()];
                json!({"kind": "send", "args": {"to": to, "text": format!("{round:02}-{n:03}")}})
            })
            .collect();
        let answer = house.post(Value::Array(jobs)).await;
        let jobs = answer["jobs"].as_array().unwrap();
        ids.extend(
            jobs.iter()
                .map(|job| job["id"].as_str().unwrap().to_owned()),
        );
        // Wherever the dispatcher stands: some are sent, some marked, most queued.
        if round % 3 == 2 {
            house
                .until("/v1/status", |status| {
                    status["apps"][0]["jobs"]["done"].as_u64() > Some(100 * round)
                })
                .await;
        }
        house.kill();
        house.start();
    }
    assert_eq!(ids.len(), 1000);
    for id in &ids {
        let job = house.settled(id).await;
        assert_eq!(job["state"], "done", "{job:#}");
    }
    let seen = house.effects("message").await;
    let mut by_chat: HashMap<&str, Vec<&str>> = HashMap::new();
    for effect in &seen {
        by_chat
            .entry(effect["chat_id"].as_str().unwrap())
            .or_default()
            .push(effect["content"].as_str().unwrap());
    }
    assert_eq!(seen.len(), 1000, "each is seen once");
    for texts in by_chat.values() {
        assert!(texts.is_sorted(), "in order within a lane: {texts:?}");
    }
}

#[tokio::test]
async fn a_message_shown_and_killed_before_its_record_is_not_seen_twice_two_hours_later() {
    let mut house = House::new().await;
    // The effect happens, the answer never comes: the attempt is under way when the process dies.
    house
        .faults(json!([{"call": SEND, "do": "delay", "when": "after", "ms": 60_000, "count": 1}]))
        .await;
    let job = house
        .post(json!({"kind": "send", "args": {"to": DEFAULT_USERS[0], "text": "shown"}}))
        .await;
    let id = job["id"].as_str().unwrap();
    while house.effects("message").await.is_empty() {
        tokio::task::yield_now().await;
    }
    assert_eq!(house.job(id).await["state"], "sending");
    house.kill();
    house.faults(json!([])).await;
    house.advance(Duration::from_secs(2 * 3600)).await;
    house.start();
    let job = house.settled(id).await;
    assert_eq!(job["state"], "in_doubt", "{job:#}");
    assert_eq!(house.effects("message").await.len(), 1);
    // A minute after such an end it is in time: the same uuid removes the double.
    let job = house
        .post(json!({"kind": "send", "args": {"to": DEFAULT_USERS[0], "text": "the lane goes on"}}))
        .await;
    assert_eq!(
        house.settled(job["id"].as_str().unwrap()).await["state"],
        "done"
    );
}

#[tokio::test]
async fn a_message_killed_before_its_record_is_proven_by_its_uuid_when_the_relay_is_soon_back() {
    let mut house = House::new().await;
    house
        .faults(json!([{"call": SEND, "do": "delay", "when": "after", "ms": 60_000, "count": 1}]))
        .await;
    let job = house
        .post(json!({"kind": "send", "args": {"to": DEFAULT_USERS[0], "text": "shown"}}))
        .await;
    let id = job["id"].as_str().unwrap();
    while house.effects("message").await.is_empty() {
        tokio::task::yield_now().await;
    }
    house.kill();
    house.feishu_down().await;
    house.feishu_up().await;
    house.advance(Duration::from_secs(600)).await;
    house.start();
    let job = house.settled(id).await;
    assert_eq!(job["state"], "done", "{job:#}");
    let seen = house.effects("message").await;
    assert_eq!(seen.len(), 1);
    assert_eq!(job["receipt"]["message_id"], seen[0]["message_id"]);
}

/// Feishu counts a slow call when it gets to it, not when it was sent: the next process keeps its slot.
#[tokio::test]
async fn calls_that_are_slow_at_a_crash_leave_the_next_process_no_more_than_feishu_has_left() {
    const A_SECOND: usize = 4;
    let chats: Vec<Value> = (0..40)
        .map(|n| json!({"chat_id": format!("oc_{n:032x}"), "name": n.to_string()}))
        .collect();
    let seed = json!({"chats": chats, "limits": {"app_second": A_SECOND}});
    let limits = format!("timeout = \"6s\"\nlimits = {{ app_second = {A_SECOND} }}\n");
    let mut house = House::with(Some(seed), &limits).await;
    house
        .faults(json!([{"call": SEND, "do": "delay", "when": "before", "ms": 2500}]))
        .await;
    let jobs = (0..24).map(
        |n| json!({"kind": "send", "args": {"to": format!("oc_{n:032x}"), "text": n.to_string()}}),
    );
    let answer = house.post(Value::Array(jobs.collect())).await;
    while house.calls(SEND).await["faulted"].as_u64() < Some(A_SECOND as u64) {
        tokio::task::yield_now().await;
    }
    house.kill();
    house.faults(json!([])).await;
    house.start();
    for job in answer["jobs"].as_array().unwrap() {
        let job = house.settled(job["id"].as_str().unwrap()).await;
        assert_eq!(job["state"], "done", "{job:#}");
    }
    let calls = house.calls(SEND).await;
    assert_eq!(calls["limited"], 0, "{calls}");
    assert_eq!(house.effects("message").await.len(), 24);
}

#[tokio::test]
async fn a_batch_and_a_call_whose_answers_are_lost_happen_once_and_stay_in_doubt_for_ever() {
    const PHONE: &str = "PATCH /open-apis/im/v1/messages/:message_id/urgent_phone";
    let mut house = House::new().await;
    let message = sent(&house).await;
    let mut jobs = Vec::new();
    // The call is over and the answer is lost in every way that there is, the last by a kill.
    for way in ["drop", "reset", "cut", "5xx", "killed"] {
        // After some unknown outcomes a call that cannot be repeated has its turn every five minutes.
        house.advance(Duration::from_secs(360)).await;
        let (what, ms) = match way {
            "killed" => ("delay", 600_000),
            _ => (way, 0),
        };
        for call in [BATCH, PHONE] {
            let rule = json!({"call": call, "do": what, "when": "after", "ms": ms, "count": 1});
            house.faults(json!([rule])).await;
            let before = house.ledger().await["effects"].as_array().unwrap().len();
            let args = match call {
                BATCH => {
                    json!({"kind": "batch_send", "args": {"open_ids": [DEFAULT_USERS[0]], "text": way}})
                }
                _ => {
                    json!({"kind": "urgent_phone", "args": {"message": message, "users": [DEFAULT_USERS[0]]}})
                }
            };
            let job = post(&house, args).await;
            while house.ledger().await["effects"].as_array().unwrap().len() == before {
                tokio::task::yield_now().await;
            }
            if way == "killed" {
                house.kill();
                house.start();
            }
            assert_eq!(house.settled(&job).await["state"], "in_doubt", "{way}");
            jobs.push(job);
        }
    }
    for (n, hours) in [1, 5, 240].into_iter().enumerate() {
        match n {
            0 => house.restart(),
            _ => {
                house.kill();
                house.start();
            }
        }
        // Something else is sent, so that whatever the relay still wanted to repeat had its turn.
        pass(&mut house, Duration::from_secs(hours * 3600)).await;
        sent(&house).await;
        for job in &jobs {
            let job = house.job(job).await;
            assert_eq!(job["state"], "in_doubt", "{job:#}");
            assert_eq!(outcomes(&job), ["unknown"]);
        }
        for (effect, call) in [("batch", BATCH), ("urgent_phone", PHONE)] {
            assert_eq!(house.effects(effect).await.len(), 5, "{hours} h: {effect}");
            assert_eq!(made(&house, call).await, 5, "{hours} h: {call}");
        }
    }
}

#[tokio::test]
async fn what_a_kill_left_unknown_stays_unknown_through_an_outage_and_another_kill() {
    let mut house = House::new().await;
    house
        .faults(json!([{"call": SEND, "do": "delay", "when": "after", "ms": 60_000, "count": 2}]))
        .await;
    let [kept, short] = [json!({}), json!({"expires_in": "30m"})].map(message);
    let jobs = [post(&house, kept).await, post(&house, at(short, 1)).await];
    while house.effects("message").await.len() < 2 {
        tokio::task::yield_now().await;
    }
    house.kill();
    house.feishu_down().await;
    // Nobody can be asked: the attempts of this process never leave, and say nothing of the first ones.
    house.start();
    for id in &jobs {
        tried(&house, id, 2).await;
    }
    house.kill();
    house.advance(Duration::from_secs(2 * 3600)).await;
    house.feishu_up().await;
    house.start();
    for id in &jobs {
        let job = house.settled(id).await;
        assert_eq!(job["state"], "in_doubt", "{job:#}");
    }
    assert_eq!(house.effects("message").await.len(), 2);
}

#[tokio::test]
async fn a_batch_that_was_to_be_sent_again_stays_in_doubt_with_its_part_when_time_or_a_person_ends_it()
 {
    let mut house = House::new().await;
    for by_time in [true, false] {
        house
            .faults(json!([
                {"call": BATCH, "do": "drop", "when": "after", "count": 1},
                {"call": BATCH, "do": "429", "reset_s": 7200},
            ]))
            .await;
        let batch = json!({"kind": "batch_send", "on_doubt": "resend", "expires_in": "30m",
            "args": {"open_ids": [DEFAULT_USERS[0]], "text": "seen already"}});
        let id = post(&house, batch).await;
        tried(&house, &id, 2).await;
        match by_time {
            true => pass(&mut house, Duration::from_secs(1860)).await,
            false => assert_eq!(house.act(&id, "cancel", None).await.0, 200),
        }
        let job = house.settled(&id).await;
        assert_eq!(job["state"], "in_doubt", "{job:#}");
        assert_eq!(job["receipt"]["parts"][0]["state"], "in_doubt", "{job:#}");
        // Now a person has something to settle.
        let (status, job) = house
            .act(&id, "settle", Some(json!({"state": "done"})))
            .await;
        assert_eq!((status, &job["state"]), (200, &json!("done")), "{job:#}");
        pass(&mut house, Duration::from_secs(7200)).await;
    }
    assert_eq!(house.effects("batch").await.len(), 2);
}

#[tokio::test]
async fn after_a_reboot_with_the_wall_clock_behind_what_is_unknown_is_not_repeated() {
    const MINUTE_MS: i64 = 60_000;
    let mut house = House::new().await;
    // Shown, its answer lost; then a limit keeps it from being asked about.
    house
        .faults(json!([
            {"call": SEND, "do": "drop", "when": "after", "count": 1},
            {"call": SEND, "do": "429", "reset_s": 7200},
        ]))
        .await;
    let id = post(&house, message(json!({}))).await;
    tried(&house, &id, 2).await;
    // Half an hour later something else is done: the newest mark.
    pass(&mut house, Duration::from_secs(1800)).await;
    house.kill();
    house.faults(json!([])).await;
    house.control("clock", json!({"advance": "90m"})).await;
    // Two hours have passed, and the clock of the new boot says that it were twenty minutes.
    let wall_ms = 20 * MINUTE_MS;
    house.set_clock(&format!("wall={wall_ms}ms boot=0s boot_id=another"));
    house.start();
    let job = house.settled(&id).await;
    assert_eq!(job["state"], "in_doubt", "{job:#}");
    assert_eq!(house.effects("message").await.len(), 1);
}

#[tokio::test]
async fn a_clean_stop_leaves_nothing_under_way() {
    let mut house = House::with(Some(free_limits()), FREE).await;
    let jobs: Vec<Value> = (0..300).map(|n| json!({"kind": "send", "args": {"to": DEFAULT_USERS[n % 6], "text": format!("{n:03}")}})).collect();
    house.post(Value::Array(jobs)).await;
    house.stop();
    house.start();
    let status = house
        .until("/v1/status", |status| {
            status["apps"][0]["jobs"]["done"] == 300
        })
        .await;
    assert_eq!(status["pending"], 0, "{status:#}");
    assert_eq!(house.effects("message").await.len(), 300);
    let (_, list) = house.request("GET", "/v1/jobs?limit=200", None).await;
    for job in list["jobs"].as_array().unwrap() {
        let outcomes: Vec<&str> = job["attempts"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| one["outcome"].as_str().unwrap())
            .collect();
        assert!(
            !outcomes.contains(&"unknown"),
            "a clean stop makes nothing unknown: {job:#}"
        );
    }
}

#[tokio::test]
async fn a_second_daemon_on_the_same_file_is_refused() {
    let house = House::new().await;
    let second = house
        .binary()
        .args(["serve", "--config"])
        .arg(house.dir.path().join("relay.toml"))
        .output()
        .unwrap();
    assert_eq!(second.status.code(), Some(2));
    let said = String::from_utf8_lossy(&second.stderr);
    assert!(said.contains("another feishu-relay has"), "{said}");
    let job = house
        .post(json!({"kind": "send", "args": {"to": DEFAULT_USERS[0], "text": "still here"}}))
        .await;
    assert_eq!(
        house.settled(job["id"].as_str().unwrap()).await["state"],
        "done"
    );
}

#[tokio::test]
async fn after_a_stop_the_file_alone_is_the_whole_database_and_only_its_owner_reads_it() {
    use std::os::unix::fs::PermissionsExt;
    let mut house = House::new().await;
    let job = house
        .post(json!({"kind": "send", "args": {"to": DEFAULT_USERS[0], "text": "kept"}}))
        .await;
    let id = job["id"].as_str().unwrap();
    house.settled(id).await;
    let mode = |name: &str| {
        let meta = std::fs::metadata(house.dir.path().join(name)).unwrap();
        meta.permissions().mode() & 0o777
    };
    assert_eq!([mode("relay.db"), mode("relay.db-wal")], [0o600; 2]);
    house.stop();
    let log = house.dir.path().join("relay.db-wal");
    assert!(std::fs::metadata(&log).map_or(0, |meta| meta.len()) == 0);
    let copy = house.dir.path().join("copy.db");
    std::fs::copy(house.database(), &copy).unwrap();
    std::fs::remove_file(house.database()).unwrap();
    std::fs::rename(copy, house.database()).unwrap();
    house.start();
    assert_eq!(house.job(id).await["state"], "done");
}
