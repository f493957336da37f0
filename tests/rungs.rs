//! An escalation, rung by rung: who is called about a card, and what keeps them from it.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on should stop here"
)]

mod support;

use std::time::Duration;

use feishu_sandbox::{DEFAULT_USERS, staff_open_id};
use serde_json::{Value, json};
use support::House;
use support::alerts::{firing, of, resolved, route, tell, until_seen};
use support::jobs::{MINUTE, SECOND, made};

const AT: &str = "2026-01-31T08:00:00Z";
const APP: &str = "PATCH /open-apis/im/v1/messages/:message_id/urgent_app";
const READERS: &str = "GET /open-apis/im/v1/messages/:message_id/read_users";
const REACTIONS: &str = "GET /open-apis/im/v1/messages/:message_id/reactions";
const A: &str = DEFAULT_USERS[0];
const B: &str = DEFAULT_USERS[1];
const C: &str = DEFAULT_USERS[2];

fn ladder(rungs: &[(&str, &str, &[&str])]) -> String {
    let rungs = rungs.iter().map(|(after, urgent, to)| {
        format!("{{ after = \"{after}\", do = \"{urgent}\", to = {to:?} }}")
    });
    let rungs: Vec<_> = rungs.collect();
    format!("escalate = [{}]\n", rungs.join(", "))
}

fn until_read_or_reaction(rungs: &[(&str, &str, &[&str])]) -> String {
    format!("until = [\"read\", \"reaction\"]\n{}", ladder(rungs))
}

/// An incident whose card is shown: its name and its message.
async fn shown(house: &House, name: &str) -> (String, String) {
    let answer = tell(house, name, &[firing(name, "a", AT)]).await;
    let id = answer["incidents"][0].as_str().unwrap().to_owned();
    let shown = |one: &Value| one["card"]["message_id"].is_string();
    let one = house.until(&format!("/v1/incidents/{id}"), shown).await;
    let message = one["card"]["message_id"].as_str().unwrap().to_owned();
    (id, message)
}

/// The incident, once its rungs are decided and their calls have ended.
async fn decided(house: &House, id: &str, outcomes: &[&str]) -> Value {
    let good = |one: &Value| {
        let rungs = one["rungs"].as_array().unwrap();
        let all = rungs
            .iter()
            .zip(outcomes)
            .all(|(rung, outcome)| rung["outcome"] == *outcome);
        let jobs = one["jobs"].as_array().unwrap();
        let ended = |job: &Value| !matches!(job["state"].as_str().unwrap(), "queued" | "sending");
        let calls = jobs.iter().filter(|job| job["role"] == "rung").count();
        let noted = rungs
            .iter()
            .map(|rung| rung["jobs"].as_array().unwrap().len());
        all && rungs.len() == outcomes.len()
            && jobs.iter().all(ended)
            && noted.sum::<usize>() == calls
    };
    house.until(&format!("/v1/incidents/{id}"), good).await
}

async fn act(house: &House, what: &str, user: &str, message: &str) {
    let act = json!({"do": what, "user": user, "message": message, "emoji": "OK"});
    house.control("act", act).await;
}

fn users(effect: &Value) -> Vec<&str> {
    let users = effect["users"].as_array().unwrap();
    users.iter().map(|user| user.as_str().unwrap()).collect()
}

#[tokio::test]
async fn rungs_call_who_has_not_read_one_after_the_other() {
    let rungs: [(&str, &str, &[&str]); 2] = [
        ("5m", "urgent_app", &[A, B]),
        ("15m", "urgent_phone", &[B, C]),
    ];
    let mut house = House::with(None, &route(&until_read_or_reaction(&rungs))).await;
    let (id, message) = shown(&house, "Down").await;
    act(&house, "read", A, &message).await;
    house.advance(5 * MINUTE).await;
    let one = decided(&house, &id, &["fired", "waiting"]).await;
    assert_eq!(one["rungs"][0]["readers"], json!([A]), "{one:#}");
    let calls = house.effects("urgent_app").await;
    assert_eq!((calls.len(), users(&calls[0])), (1, vec![B]));
    assert_eq!(calls[0]["message_id"], *message);
    // One look at who has read it and one at reactions, and none in between.
    assert_eq!(
        (made(&house, READERS).await, made(&house, REACTIONS).await),
        (1, 1)
    );
    house.advance(9 * MINUTE).await;
    assert_eq!(made(&house, READERS).await, 1);
    house.advance(MINUTE).await;
    decided(&house, &id, &["fired", "fired"]).await;
    let calls = house.effects("urgent_phone").await;
    let mut called: Vec<_> = calls.iter().flat_map(users).collect();
    called.sort_unstable();
    assert_eq!(called, [B, C]);
}

#[tokio::test]
async fn a_reaction_acknowledges_and_resolve_ends_it() {
    let rungs: [(&str, &str, &[&str]); 1] = [("5m", "urgent_app", &[A])];
    let mut house = House::with(None, &route(&until_read_or_reaction(&rungs))).await;
    let (seen, message) = shown(&house, "Seen").await;
    let (over, _) = shown(&house, "Over").await;
    act(&house, "react", B, &message).await;
    tell(&house, "Over", &[resolved("Over", "a", AT)]).await;
    house.advance(5 * MINUTE).await;
    let one = decided(&house, &seen, &["skipped"]).await;
    assert_eq!(one["state"], "acknowledged");
    assert_eq!(one["acknowledged"]["by"], B, "{one:#}");
    let one = decided(&house, &over, &["skipped"]).await;
    assert_eq!(one["rungs"][0]["why"], "resolved");
    assert_eq!(house.effects("urgent_app").await.len(), 0);
}

#[tokio::test]
async fn a_call_whose_answer_was_lost_is_not_made_again_nor_by_a_restart() {
    let rungs: [(&str, &str, &[&str]); 1] = [("5m", "urgent_app", &[A])];
    let mut house = House::with(None, &route(&ladder(&rungs))).await;
    let (id, _) = shown(&house, "Down").await;
    let lost = json!([{"call": APP, "do": "drop", "when": "after", "count": 1}]);
    house.faults(lost).await;
    house.advance(5 * MINUTE).await;
    let one = decided(&house, &id, &["fired"]).await;
    let ended = one["rungs"][0]["jobs"][0]["ended"].as_str().unwrap();
    assert!(ended.starts_with("in_doubt"), "{one:#}");
    house.kill();
    house.start();
    house.advance(30 * MINUTE).await;
    shown(&house, "Next").await;
    house.advance(5 * MINUTE).await;
    until_seen(&house, |seen| of(seen, "urgent_app").len() == 2).await;
    let calls = house.effects("urgent_app").await;
    assert_ne!(calls[0]["message_id"], calls[1]["message_id"]);
}

#[tokio::test]
async fn after_a_relay_that_was_away_only_the_highest_rung_calls() {
    let rungs: [(&str, &str, &[&str]); 3] = [
        ("5m", "urgent_app", &[A]),
        ("10m", "urgent_sms", &[A]),
        ("50m", "urgent_phone", &[A]),
    ];
    let mut house = House::with(None, &route(&ladder(&rungs))).await;
    let (id, _) = shown(&house, "Down").await;
    house.kill();
    house.advance(20 * MINUTE).await;
    house.start();
    decided(&house, &id, &["skipped", "fired", "waiting"]).await;
    house.kill();
    house.advance(Duration::from_secs(61 * 60)).await;
    house.start();
    let one = decided(&house, &id, &["skipped", "fired", "skipped"]).await;
    assert_eq!(one["rungs"][2]["why"], "it was more than 30 minutes late");
    let all = house.ledger().await;
    let all = all["effects"].as_array().unwrap();
    let called: Vec<_> = ["urgent_app", "urgent_sms", "urgent_phone"]
        .map(|name| of(all, name).len())
        .into();
    assert_eq!(called, [0, 1, 0]);
}

#[tokio::test]
async fn a_list_a_stranger_and_a_spent_budget_are_noted_and_the_others_are_called() {
    let rungs: [(&str, &str, &[&str]); 2] = [
        ("5m", "urgent_app", &[A, "@duty", "@gone"]),
        ("10m", "urgent_sms", &["@duty", B]),
    ];
    let lists = "[oncall]\nduty = \"duty.txt\"\ngone = \"gone.txt\"\n";
    let more = format!(
        "budget = {{ urgent_sms = 1 }}\n{}{lists}",
        route(&ladder(&rungs))
    );
    let mut house = House::without_relay(None, &more).await;
    // Somebody of the company who is not in the chat.
    let stranger = staff_open_id(300);
    let duty = house.dir.path().join("duty.txt");
    std::fs::write(&duty, format!("{A}\n{stranger}\n")).unwrap();
    house.start();
    let (id, _) = shown(&house, "Down").await;
    house.advance(5 * MINUTE).await;
    let one = decided(&house, &id, &["fired", "waiting"]).await;
    let why = one["rungs"][0]["why"].as_str().unwrap();
    assert!(why.starts_with("called 2; @gone cannot be read"), "{one:#}");
    let calls = house.effects("urgent_app").await;
    assert_eq!((calls.len(), users(&calls[0])), (1, vec![A]));
    assert!(house.log().contains("@gone cannot be read"));
    // Read at each use.
    std::fs::write(&duty, format!("{C}\n")).unwrap();
    house.advance(5 * MINUTE + SECOND).await;
    let one = decided(&house, &id, &["fired", "fired"]).await;
    let ended = one["rungs"][1]["jobs"].as_array().unwrap();
    let ended: Vec<_> = ended
        .iter()
        .map(|job| job["ended"].as_str().unwrap())
        .collect();
    assert_eq!(
        ended.iter().filter(|ended| **ended == "done").count(),
        1,
        "{one:#}"
    );
    assert_eq!(
        ended
            .iter()
            .filter(|ended| ended.contains("budget"))
            .count(),
        1,
        "{one:#}"
    );
    assert_eq!(house.effects("urgent_sms").await.len(), 1);
}
