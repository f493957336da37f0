//! Seventy minutes in which Feishu answers 503: who waits, who is in doubt, and how often it is asked.
//!
//! What may end in doubt: what was under way before anybody could know, and one for each 50 minutes; of
//! kinds that cannot be repeated one for each 5 minutes. A restart in the middle of it has learned nothing
//! and may not cost as much again.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use feishu_sandbox::DEFAULT_USER;
use serde_json::{Value, json};

use crate::support::House;
use crate::support::jobs::{MINUTE, SEND, made, ms, sent};
use crate::{BATCH, PHONE, ids};

fn chat(n: usize) -> String {
    format!("oc_{n:032}")
}

fn world(chats: usize) -> Value {
    let chats: Vec<Value> = (0..chats)
        .map(
            |n| json!({"chat_id": chat(n), "name": format!("Room {n}"), "members": [DEFAULT_USER]}),
        )
        .collect();
    json!({ "chats": chats })
}

/// One message to each chat, a second one to every tenth.
async fn post_all(house: &House, chats: usize) -> Vec<String> {
    let text = |n: usize, turn: usize| json!({"kind": "send", "args": {"to": chat(n), "text": format!("{n:04}-{turn}")}});
    let first = (0..chats).map(|n| text(n, 1));
    let second = (0..chats).step_by(10).map(|n| text(n, 2));
    ids(&house.post(first.chain(second).collect()).await)
}

/// Feishu answers nobody any more; half of what it is asked for it does all the same.
async fn down(house: &House) {
    let half = json!({"call": "*", "do": "5xx", "when": "after", "share": 0.5, "seed": 7});
    let rest = json!({"call": "*", "do": "5xx", "when": "before"});
    house.faults(json!([half, rest])).await;
}

/// Jobs that were ever tried, once the breaker is open and no answer is awaited.
async fn under_way(house: &House) -> usize {
    let quiet = |status: &Value| {
        let app = &status["apps"][0];
        !app["paused"].as_array().unwrap().is_empty()
            && app["jobs"]["sending"].as_u64().unwrap_or(0) == 0
    };
    house.until("/v1/status", quiet).await;
    touched(house).await
}

async fn touched(house: &House) -> usize {
    let jobs = list(house, "state=queued,sending,in_doubt").await;
    let tried = |job: &&Value| !job["attempts"].as_array().unwrap().is_empty();
    jobs.iter().filter(tried).count()
}

async fn list(house: &House, filter: &str) -> Vec<Value> {
    let (mut jobs, mut cursor) = (Vec::new(), String::new());
    loop {
        let path = format!("/v1/jobs?limit=200&{filter}{cursor}");
        let (_, mut page) = house.request("GET", &path, None).await;
        let Value::Array(more) = page["jobs"].take() else {
            panic!("{page}")
        };
        jobs.extend(more);
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return jobs,
        }
    }
}

/// Lets time pass until nothing is pending.
async fn drain(house: &mut House) {
    for _ in 0..200 {
        let (_, status) = house.request("GET", "/v1/status", None).await;
        if status["pending"] == 0 {
            return;
        }
        house.advance(Duration::from_secs(5)).await;
    }
    panic!("it does not drain: {}", house.log());
}

/// Everybody was shown once, the doubtful perhaps never, each chat in order. Returns who is in doubt.
async fn judge(house: &House, ids: &[String]) -> Vec<Value> {
    let mut seen: HashMap<String, usize> = HashMap::new();
    let mut chats: HashMap<String, Vec<String>> = HashMap::new();
    for effect in house.effects("message").await {
        let uuid = effect["uuid"].as_str().unwrap();
        *seen.entry(format!("job_{uuid}")).or_default() += 1;
        let chat = effect["chat_id"].as_str().unwrap().to_owned();
        let text = effect["content"].as_str().unwrap().to_owned();
        chats.entry(chat).or_default().push(text);
    }
    let doubtful = list(house, "state=in_doubt").await;
    let doubts: BTreeSet<&str> = doubtful
        .iter()
        .map(|job| job["id"].as_str().unwrap())
        .collect();
    for id in ids {
        let times = seen.get(id).copied().unwrap_or(0);
        let right = times == 1 || times == 0 && doubts.contains(id.as_str());
        assert!(right, "{id} was seen {times} times");
    }
    assert!(chats.values().all(|texts| texts.is_sorted()), "{chats:?}");
    let done = list(house, "state=done").await.len();
    assert!(done + doubtful.len() >= ids.len(), "{done} are done");
    doubtful
}

#[tokio::test]
async fn seventy_minutes_of_503_over_a_thousand_chats() {
    let mut house = House::with(Some(world(1000)), "").await;
    down(&house).await;
    let ids = post_all(&house, 1000).await;
    let under_way = under_way(&house).await;
    // Feishu's own window lets so many go in the second in which it happens.
    assert!(under_way <= 50, "{under_way} went into it");
    for _ in 0..14 {
        house.advance(5 * MINUTE).await;
    }
    let calls = made(&house, SEND).await;
    // At doubling gaps up to 30 s.
    let probes = 5 + 70 * 60 / 30;
    assert!(
        calls <= under_way as u64 + probes,
        "it hammers: {calls} calls"
    );
    let touched = touched(&house).await;
    assert!(
        touched <= under_way + 2,
        "{touched} of {under_way} were tried"
    );
    house.faults(json!([])).await;
    drain(&mut house).await;
    let doubtful = judge(&house, &ids).await;
    assert!(doubtful.len() <= under_way + 1, "{}", doubtful.len());
    for job in &doubtful {
        let first = ms(&job["attempts"][0]["at"]);
        let last = ms(&job["attempts"].as_array().unwrap().last().unwrap()["at"]);
        assert!(last - first > 45 * 60_000, "given up early: {job:#}");
    }
}

#[tokio::test]
async fn seventy_minutes_of_503_with_kills_in_the_middle_of_it() {
    let mut house = House::with(Some(world(200)), "").await;
    down(&house).await;
    let ids = post_all(&house, 200).await;
    let under_way = under_way(&house).await;
    for n in 0..14 {
        if n % 3 == 1 {
            house.kill();
            house.advance(4 * MINUTE).await;
            house.start();
        }
        house.advance(5 * MINUTE).await;
    }
    let touched = touched(&house).await;
    // A probe that a kill caught is one more.
    assert!(
        touched <= under_way + 2 + 5,
        "{touched} of {under_way} were tried"
    );
    house.faults(json!([])).await;
    drain(&mut house).await;
    let doubtful = judge(&house, &ids).await.len();
    assert!(doubtful <= under_way + 2 + 5, "{doubtful} of {under_way}");
}

#[tokio::test]
async fn seventy_minutes_of_503_with_kinds_that_cannot_be_repeated() {
    let mut house = House::new().await;
    let mut messages = Vec::new();
    for _ in 0..5 {
        messages.push(sent(&house).await);
    }
    // Reads are answered: Feishu itself is there, so that one in five minutes may try.
    let rule = |call: &str, when: &str, more: Value| {
        let mut rule = json!({"call": call, "do": "5xx", "when": when});
        rule.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        rule
    };
    let half = json!({"share": 0.5, "seed": 3});
    let rules = [PHONE, BATCH].map(|call| {
        [
            rule(call, "after", half.clone()),
            rule(call, "before", json!({})),
        ]
    });
    house.faults(rules.concat().into()).await;
    let phone = |n: usize| json!({"kind": "urgent_phone", "args": {"message": messages[n % 5], "users": [DEFAULT_USER]}});
    let batch = |n: usize| json!({"kind": "batch_send", "args": {"open_ids": [DEFAULT_USER], "text": format!("notice {n}")}});
    let jobs: Vec<Value> = (0..40)
        .map(|n| if n < 20 { phone(n) } else { batch(n) })
        .collect();
    let ids = ids(&house.post(Value::Array(jobs)).await);
    let under_way = under_way(&house).await;
    let mut kills = 0;
    for n in 0..14 {
        house.advance(5 * MINUTE).await;
        if n == 6 {
            house.kill();
            house.start();
            kills += 1;
        }
    }
    let calls = [made(&house, PHONE).await, made(&house, BATCH).await];
    house.faults(json!([])).await;
    drain(&mut house).await;
    let doubtful = list(&house, "state=in_doubt").await;
    let most = under_way + 2 * (70 / 5 + kills);
    println!(
        "{under_way} under way, {calls:?} calls, {} in doubt",
        doubtful.len()
    );
    assert!(doubtful.len() <= most, "{} of {most}", doubtful.len());
    // Whoever is done was called, whoever is in doubt at most once; nobody was called twice.
    assert_eq!(
        made(&house, PHONE).await + made(&house, BATCH).await,
        ids.len() as u64
    );
    for (effect, kind) in [("urgent_phone", "urgent_phone"), ("batch", "batch_send")] {
        let seen = house.effects(effect).await.len();
        let done = list(&house, &format!("state=done&kind={kind}")).await.len();
        let doubts = doubtful.iter().filter(|job| job["kind"] == kind).count();
        assert!(
            (done..=done + doubts).contains(&seen),
            "{effect}: {seen} seen, {done} done"
        );
        assert_eq!(done + doubts, 20);
    }
}
