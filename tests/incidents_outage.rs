//! Alerts while things fail: killed relays, Feishu away for minutes or for days, a full queue.
//!
//! The sandbox's ledger is the judge: what people saw, how often, and what it said last.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on should stop here"
)]

mod support;

use std::time::Duration;

use feishu_sandbox::DEFAULT_USERS;
use serde_json::{Value, json};
use support::House;
use support::alerts::{count, firing, notice, of, resolved, route, tell, until_seen, words};

const AT: &str = "2026-01-31T08:00:00Z";
const SEND: &str = "POST /open-apis/im/v1/messages";
const PATCH: &str = "PATCH /open-apis/im/v1/messages/:message_id";

fn is_over(effect: &Value) -> bool {
    let words = words(effect);
    words.contains("resolved") && words.contains("已恢复")
}

/// The card as people see it now: what it said last, of one message in all.
fn card(seen: &[Value]) -> &Value {
    assert_eq!(count(seen, "message"), 1, "{seen:#?}");
    let shows = |effect: &&Value| {
        let effect = &effect["effect"];
        effect == "message" || effect == "card_update"
    };
    seen.iter().rfind(shows).unwrap()
}

async fn until_over(house: &House) -> Vec<Value> {
    until_seen(house, |seen| seen.iter().any(is_over)).await
}

/// What comes after it would be seen after it: so nothing else is on its way.
async fn until_quiet(house: &House) -> Vec<Value> {
    let before = house.ledger().await["effects"].as_array().unwrap().len();
    tell(house, "Last", &[firing("Last", "z", AT)]).await;
    let seen = until_seen(house, |seen| {
        seen.iter().any(|one| words(one).contains("Last"))
    })
    .await;
    assert_eq!(seen.len(), before + 1, "{seen:#?}");
    seen[..before].to_vec()
}

/// Killed and started again, two minutes later: by then what was on its way has been looked for.
async fn restart(house: &mut House) {
    house.kill();
    house.start();
    house.advance(Duration::from_secs(120)).await;
}

/// Feishu stays away, so long; then the relay has seen what that does to its jobs.
async fn stay_away(house: &mut House, hours: u64) {
    for _ in 0..hours {
        house.advance(Duration::from_secs(3600)).await;
    }
}

#[tokio::test]
async fn a_relay_that_is_killed_after_each_answer_shows_one_card_that_ends_resolved() {
    let mut house = House::with(None, &route("")).await;
    let all = ["a", "b", "c"].map(|name| firing("Down", name, AT));
    tell(&house, "Down", &all[..1]).await;
    restart(&mut house).await;
    until_seen(&house, |seen| count(seen, "message") == 1).await;
    tell(&house, "Down", &all).await;
    restart(&mut house).await;
    let updated = |updates: usize| move |seen: &[Value]| count(seen, "card_update") == updates;
    until_seen(&house, updated(1)).await;
    let over = ["a", "b", "c"].map(|name| resolved("Down", name, AT));
    tell(&house, "Down", &over).await;
    restart(&mut house).await;
    until_over(&house).await;
    // The source may not have heard the answer, and says it again.
    tell(&house, "Down", &over).await;
    let seen = until_quiet(&house).await;
    assert_eq!(
        (count(&seen, "message"), count(&seen, "card_update")),
        (1, 2)
    );
    assert!(is_over(card(&seen)));
}

#[tokio::test]
async fn answers_that_are_lost_make_no_second_card() {
    let mut house = House::with(None, &route("")).await;
    let lost = |call: &str| json!([{"call": call, "do": "drop", "when": "after", "count": 1}]);
    house.faults(lost(SEND)).await;
    tell(&house, "Down", &[firing("Down", "a", AT)]).await;
    until_seen(&house, |seen| count(seen, "message") == 1).await;
    house.kill();
    house.start();
    house.faults(lost(PATCH)).await;
    tell(&house, "Down", &[resolved("Down", "a", AT)]).await;
    until_over(&house).await;
    // What may have been sent is asked for again within the minute, under its own name.
    house.advance(Duration::from_secs(60)).await;
    let done = |list: &Value| {
        let jobs = list["jobs"].as_array().unwrap();
        jobs.iter().all(|job| job["state"] == "done")
    };
    house.until("/v1/jobs", done).await;
    let seen = until_quiet(&house).await;
    assert!(is_over(card(&seen)));
}

#[tokio::test]
async fn what_happened_while_feishu_was_away_is_one_card_with_the_newest_state() {
    let mut house = House::with(None, &route("")).await;
    house.feishu_down().await;
    let (a, b) = (firing("Down", "a", AT), firing("Down", "b", AT));
    tell(&house, "Down", std::slice::from_ref(&a)).await;
    house.kill();
    house.start();
    tell(&house, "Down", &[a, b]).await;
    tell(
        &house,
        "Down",
        &[resolved("Down", "a", AT), firing("Down", "b", AT)],
    )
    .await;
    house.kill();
    house.start();
    house.feishu_up().await;
    // The first state may have been on its way when the relay was killed; then it is brought up to date.
    let is_newest = |one: &Value| {
        let words = words(one);
        words.contains("1 告警中 firing") && words.contains("1 已恢复 resolved")
    };
    until_seen(&house, |seen| seen.last().is_some_and(is_newest)).await;
    let seen = until_quiet(&house).await;
    assert!(is_newest(card(&seen)) && seen.len() <= 2, "{seen:#?}");
}

#[tokio::test]
async fn an_incident_that_fires_beyond_every_expiry_is_shown_when_feishu_is_back() {
    let more = route("expires_in = \"5m\"") + "[queue]\ngive_up_after = \"2h\"\n";
    let mut house = House::with(None, &more).await;
    house.feishu_down().await;
    tell(&house, "Down", &[firing("Down", "a", AT)]).await;
    let gave_up = |list: &Value| {
        let jobs = list["jobs"].as_array().unwrap();
        jobs.iter().any(|job| job["error"]["class"] == "gave_up")
    };
    stay_away(&mut house, 3).await;
    house.until("/v1/jobs", gave_up).await;
    stay_away(&mut house, 6).await;
    house.kill();
    house.start();
    house.feishu_up().await;
    let seen = until_seen(&house, |seen| count(seen, "message") == 1).await;
    assert!(words(&seen[0]).contains("firing"));
    // The source, which has said nothing for so long, goes on with the same card.
    tell(&house, "Down", &[resolved("Down", "a", AT)]).await;
    until_over(&house).await;
    assert!(is_over(card(&until_quiet(&house).await)));
}

#[tokio::test]
async fn what_was_over_before_it_could_be_shown_is_one_card_that_disturbs_nobody() {
    let more = format!(
        "expires_in = \"1h\"\nmention = [\"{0}\"]\nescalate = [{{ after = \"1m\", do = \"urgent_app\", to = [\"{0}\"] }}]",
        DEFAULT_USERS[0]
    );
    let mut house = House::with(None, &route(&more)).await;
    house.feishu_down().await;
    tell(&house, "Down", &[firing("Down", "a", AT)]).await;
    house.advance(Duration::from_secs(120)).await;
    tell(&house, "Down", &[resolved("Down", "a", AT)]).await;
    house.advance(Duration::from_secs(600)).await;
    house.kill();
    house.start();
    house.feishu_up().await;
    until_seen(&house, |seen| count(seen, "message") == 1).await;
    house.advance(Duration::from_secs(300)).await;
    let seen = until_quiet(&house).await;
    assert_eq!(seen.len(), 1, "{seen:#?}");
    assert!(is_over(&seen[0]));
    assert!(
        !words(&seen[0]).contains(DEFAULT_USERS[0]),
        "it mentions nobody"
    );
}

#[tokio::test]
async fn what_was_over_for_longer_than_its_expiry_is_not_poured_out() {
    let mut house = House::with(None, &route("expires_in = \"15m\"")).await;
    house.feishu_down().await;
    for group in ["One", "Two", "Three"] {
        tell(&house, group, &[firing(group, "a", AT)]).await;
        tell(&house, group, &[resolved(group, "a", AT)]).await;
    }
    stay_away(&mut house, 1).await;
    let ended = |list: &Value| {
        let jobs = list["jobs"].as_array().unwrap();
        jobs.iter()
            .all(|job| job["state"] == "expired" || job["state"] == "canceled")
    };
    house.until("/v1/jobs", ended).await;
    house.feishu_up().await;
    let seen = until_quiet(&house).await;
    assert!(seen.is_empty(), "{seen:#?}");
}

#[tokio::test]
async fn a_card_that_stands_red_is_set_right_however_long_feishu_was_away() {
    let more = route("expires_in = \"5m\"") + "[queue]\ngive_up_after = \"2h\"\n";
    let mut house = House::with(None, &more).await;
    tell(&house, "Down", &[firing("Down", "a", AT)]).await;
    until_seen(&house, |seen| count(seen, "message") == 1).await;
    house.feishu_down().await;
    tell(&house, "Down", &[resolved("Down", "a", AT)]).await;
    stay_away(&mut house, 6).await;
    house.kill();
    house.start();
    house.feishu_up().await;
    until_over(&house).await;
    assert!(is_over(card(&until_quiet(&house).await)));
}

#[tokio::test]
async fn a_full_relay_says_so_and_keeps_nothing_of_what_it_refused() {
    let more = route("") + "[queue]\nmax_pending = 1\n";
    let house = House::with(None, &more).await;
    let later =
        json!({"kind": "send", "delay": "1h", "args": {"to": DEFAULT_USERS[0], "text": "later"}});
    let later = house.post(later).await;
    let down = notice("Down", &[firing("Down", "a", AT)]);
    let full = house.request("POST", "/v1/alerts/db", Some(down)).await;
    assert_eq!(full.0, 503, "{}", full.1);
    let (_, list) = house.request("GET", "/v1/incidents", None).await;
    assert_eq!(list["incidents"], json!([]));
    // Alertmanager tries again, and by then there is room.
    house
        .act(later["id"].as_str().unwrap(), "cancel", None)
        .await;
    tell(&house, "Down", &[firing("Down", "a", AT)]).await;
    until_seen(&house, |seen| count(seen, "message") == 1).await;
    // What an incident needs that is there is taken, however full it is.
    let later =
        json!({"kind": "send", "delay": "1h", "args": {"to": DEFAULT_USERS[0], "text": "later"}});
    house.post(later).await;
    tell(&house, "Down", &[resolved("Down", "a", AT)]).await;
    let seen = until_over(&house).await;
    assert_eq!(of(&seen, "card_update").len(), 1);
}
