//! Alerts: a group is one card that changes, whatever its source repeats.

mod support;

use std::time::Duration;

use serde_json::{Value, json};
use support::House;
use support::alerts::{count, firing, of, resolved, route, tell, until_seen, words};
use support::jobs::{DAY, SEND};

const AT: &str = "2026-01-31T08:00:00Z";

#[tokio::test]
async fn a_group_is_one_card_that_changes_to_resolved() {
    let house = House::with(None, &route("")).await;
    let [one, two] = [firing("Down", "a", AT), firing("Down", "b", AT)];
    let answer = tell(&house, "Down", &[one.clone(), two.clone()]).await;
    assert_eq!(
        (&answer["alerts"], &answer["unmatched"]),
        (&json!(2), &json!(0))
    );
    let seen = until_seen(&house, |seen| count(seen, "message") == 1).await;
    assert!(words(&seen[0]).contains("firing"), "{seen:#?}");
    let more = [one, two, firing("Down", "c", AT)];
    assert_eq!(
        tell(&house, "Down", &more).await["incidents"],
        answer["incidents"]
    );
    let updated = |updates: usize| move |seen: &[Value]| count(seen, "card_update") == updates;
    until_seen(&house, updated(1)).await;
    let over = ["a", "b", "c"].map(|name| resolved("Down", name, AT));
    tell(&house, "Down", &over).await;
    let seen = until_seen(&house, updated(2)).await;
    let last = words(of(&seen, "card_update")[1]);
    assert!(
        last.contains("resolved") && last.contains("已恢复"),
        "{last}"
    );
    assert_eq!(count(&seen, "message"), 1);
    // Said again, also by a twin who is late, it changes nothing: what comes after it is the next effect.
    tell(&house, "Down", &over).await;
    tell(&house, "Down", &more).await;
    tell(&house, "Other", &[firing("Other", "x", AT)]).await;
    let seen = until_seen(&house, |seen| count(seen, "message") == 2).await;
    assert_eq!(seen.len(), 4, "{seen:#?}");
    let (_, metrics) = house.request("GET", "/metrics", None).await;
    let metrics = metrics.as_str().unwrap();
    for line in [
        "feishu_relay_alerts_total{route=\"db\",outcome=\"opened\"} 3",
        "feishu_relay_alerts_total{route=\"db\",outcome=\"changed\"} 6",
        "feishu_relay_alerts_total{route=\"db\",outcome=\"same\"} 3",
        "feishu_relay_alerts_total{route=\"db\",outcome=\"late\"} 3",
        "feishu_relay_incidents{route=\"db\",state=\"firing\"} 1",
    ] {
        assert!(
            metrics.lines().any(|said| said == line),
            "{line}\n{metrics}"
        );
    }
}

/// What the jobs of a route's incidents ended as, by kind and state.
async fn ended(house: &House, kind: &str, state: &str) -> usize {
    let path = format!("/v1/jobs?kind={kind}&state={state}&label.route=db");
    let (_, page) = house.request("GET", &path, None).await;
    page["jobs"].as_array().expect("a list of jobs").len()
}

async fn until_ended(house: &House, kind: &str, state: &str, count: usize) {
    let path = format!("/v1/jobs?kind={kind}&state={state}&label.route=db");
    let many = |page: &Value| {
        page["jobs"]
            .as_array()
            .is_some_and(|jobs| jobs.len() == count)
    };
    house.until(&path, many).await;
}

#[tokio::test]
async fn a_new_alert_is_also_told_as_a_reply_with_the_mentions_and_not_more_often_than_each_30_s() {
    let mention = format!("mention = [\"{}\"]", feishu_sandbox::DEFAULT_USER);
    let mut house = House::with(None, &route(&mention)).await;
    let mut group = vec![firing("Down", "a", AT)];
    tell(&house, "Down", &group).await;
    let seen = until_seen(&house, |seen| count(seen, "message") == 1).await;
    assert!(words(&seen[0]).contains(feishu_sandbox::DEFAULT_USER));
    group.push(firing("Down", "second", AT));
    tell(&house, "Down", &group).await;
    let seen = until_seen(&house, |seen| count(seen, "message") == 2).await;
    let reply = of(&seen, "message")[1];
    assert!(
        reply["call"].as_str().unwrap().ends_with("/reply"),
        "{reply:#}"
    );
    let said = words(reply);
    assert!(
        said.contains(feishu_sandbox::DEFAULT_USER) && said.contains("second"),
        "{said}"
    );
    for name in ["third", "fourth"] {
        group.push(firing("Down", name, AT));
        tell(&house, "Down", &group).await;
    }
    let newest = |seen: &[Value]| {
        let last = of(seen, "card_update").last().map(|last| words(last));
        last.is_some_and(|said| said.contains("fourth"))
    };
    let seen = until_seen(&house, newest).await;
    assert_eq!(count(&seen, "message"), 2, "told within 30 s: {seen:#?}");
    house.advance(Duration::from_secs(31)).await;
    let seen = until_seen(&house, |seen| count(seen, "message") == 3).await;
    let said = words(of(&seen, "message")[2]);
    assert!(said.contains("third") && said.contains("fourth"), "{said}");
}

#[tokio::test]
async fn a_card_is_pinned_while_it_fires() {
    let house = House::with(None, &route("pin = true")).await;
    tell(&house, "Down", &[firing("Down", "a", AT)]).await;
    until_seen(&house, |seen| count(seen, "pin") == 1).await;
    tell(&house, "Down", &[resolved("Down", "a", AT)]).await;
    let seen = until_seen(&house, |seen| count(seen, "unpin") == 1).await;
    assert_eq!((count(&seen, "message"), count(&seen, "pin")), (1, 1));
}

#[tokio::test]
async fn when_its_message_can_be_updated_no_more_a_reply_says_so_and_a_new_card_goes_on() {
    let mut house = House::with(None, &route("")).await;
    tell(&house, "Old", &[firing("Old", "a", AT)]).await;
    tell(&house, "Gone", &[firing("Gone", "a", AT)]).await;
    let seen = until_seen(&house, |seen| count(seen, "message") == 2).await;
    let gone = of(&seen, "message")
        .into_iter()
        .find(|one| words(one).contains("Gone"));
    let message = gone.unwrap()["message_id"].clone();
    house
        .control(
            "act",
            json!({"do": "recall", "message": message, "user": feishu_sandbox::DEFAULT_USER}),
        )
        .await;
    tell(&house, "Gone", &[resolved("Gone", "a", AT)]).await;
    let seen = until_seen(&house, |seen| count(seen, "message") == 3).await;
    let last = words(of(&seen, "message")[2]);
    assert!(last.contains("Gone") && last.contains("resolved"), "{last}");
    until_ended(&house, "reply", "failed", 1).await;
    house.advance(15 * DAY).await;
    let two = [firing("Old", "a", AT), firing("Old", "b", AT)];
    tell(&house, "Old", &two).await;
    let seen = until_seen(&house, |seen| count(seen, "message") == 5).await;
    let is_reply = |one: &&Value| one["call"].as_str().unwrap().ends_with("/reply");
    let (replies, cards): (Vec<&Value>, Vec<&Value>) = of(&seen, "message")[3..]
        .iter()
        .copied()
        .partition(is_reply);
    let (reply, card) = (replies[0], cards[0]);
    assert!(words(reply).contains("a new card goes on"), "{reply:#}");
    assert!(words(card).contains("firing"), "{card:#}");
    assert_eq!(count(&seen, "card_update"), 0);
    // From then on that card changes.
    tell(
        &house,
        "Old",
        &[resolved("Old", "a", AT), resolved("Old", "b", AT)],
    )
    .await;
    let seen = until_seen(&house, |seen| count(seen, "card_update") == 1).await;
    assert_eq!(
        of(&seen, "card_update")[0]["message_id"],
        card["message_id"]
    );
}

#[tokio::test]
async fn what_feishu_refuses_goes_to_the_fallback_once_and_is_made_anew_when_it_is_said_again() {
    let fallback = format!(
        "fallback = \"{}\"\n[[routes]]\nname = \"alone\"\nsource = \"alertmanager\"\nto = \"{}\"",
        feishu_sandbox::DEFAULT_SECOND_CHAT,
        feishu_sandbox::DEFAULT_SECOND_CHAT,
    );
    let house = House::with(None, &route(&fallback)).await;
    let refused =
        |count: u32| json!([{"call": SEND, "do": "code", "code": 230_002, "count": count}]);
    house.faults(refused(1)).await;
    tell(&house, "Down", &[firing("Down", "a", AT)]).await;
    let seen = until_seen(&house, |seen| count(seen, "message") == 1).await;
    assert_eq!(seen[0]["chat_id"], feishu_sandbox::DEFAULT_SECOND_CHAT);
    house.faults(refused(1)).await;
    let notice = support::alerts::notice("Up", &[firing("Up", "a", AT)]);
    let post = || house.request("POST", "/v1/alerts/alone", Some(notice.clone()));
    let (status, _) = post().await;
    assert_eq!(status, 200);
    house
        .until(
            "/v1/jobs?kind=send&state=failed&label.route=alone",
            |page| page["jobs"].as_array().is_some_and(|jobs| jobs.len() == 1),
        )
        .await;
    let (status, _) = post().await;
    assert_eq!(status, 200);
    let seen = until_seen(&house, |seen| count(seen, "message") == 2).await;
    assert!(words(of(&seen, "message")[1]).contains("Up"));
    assert_eq!(ended(&house, "send", "failed").await, 1);
}

#[tokio::test]
async fn an_outage_beyond_every_expiry_loses_nothing_that_fires_and_tells_of_the_rest_while_it_matters()
 {
    let mention = format!("mention = [\"{}\"]", feishu_sandbox::DEFAULT_USER);
    let mut house = House::with(None, &route(&mention)).await;
    house.feishu_down().await;
    tell(&house, "Fires", &[firing("Fires", "a", AT)]).await;
    tell(&house, "Long", &[firing("Long", "a", AT)]).await;
    tell(&house, "Long", &[resolved("Long", "a", AT)]).await;
    house.advance(4 * DAY).await;
    tell(&house, "Short", &[firing("Short", "a", AT)]).await;
    tell(&house, "Short", &[resolved("Short", "a", AT)]).await;
    until_ended(&house, "send", "expired", 1).await;
    // What an attempt under way carries goes on as it is; so the kill comes when there is none of it.
    let is_over = |page: &Value| {
        let jobs = page["jobs"].as_array().into_iter().flatten();
        jobs.filter(|job| job["expires_at"].is_string()).count() == 1
    };
    house
        .until("/v1/jobs?kind=send&state=queued", is_over)
        .await;
    house.kill();
    house.start();
    house.feishu_up().await;
    // The relay finds Feishu at its next look, which its clock brings.
    house.advance(Duration::from_secs(60)).await;
    let seen = until_seen(&house, |seen| count(seen, "message") == 2).await;
    let said: Vec<String> = seen.iter().map(words).collect();
    let fires = said.iter().find(|said| said.contains("Fires")).unwrap();
    assert!(fires.contains("firing") && fires.contains(feishu_sandbox::DEFAULT_USER));
    let short = said.iter().find(|said| said.contains("Short")).unwrap();
    assert!(
        short.contains("resolved") && !short.contains(feishu_sandbox::DEFAULT_USER),
        "{short}"
    );
}

#[tokio::test]
async fn what_fires_again_soon_changes_the_same_card_where_the_route_wants_it() {
    let more = format!(
        "reopen = \"5m\"\n[[routes]]\nname = \"anew\"\nsource = \"alertmanager\"\nto = \"{}\"",
        feishu_sandbox::DEFAULT_CHAT
    );
    let mut house = House::with(None, &route(&more)).await;
    for name in ["db", "anew"] {
        let tell = async |alert: Value| {
            let path = format!("/v1/alerts/{name}");
            let notice = support::alerts::notice(name, &[alert]);
            let (status, answer) = house.request("POST", &path, Some(notice)).await;
            assert_eq!(status, 200, "{answer}");
        };
        let before = until_seen(&house, |_| true).await;
        let (messages, updates) = (count(&before, "message"), count(&before, "card_update"));
        tell(firing(name, "a", AT)).await;
        until_seen(&house, |seen| count(seen, "message") == messages + 1).await;
        tell(resolved(name, "a", AT)).await;
        until_seen(&house, |seen| count(seen, "card_update") == updates + 1).await;
        tell(firing(name, "a", "2026-01-31T10:00:00Z")).await;
        let again = |seen: &[Value]| {
            count(seen, "message") + count(seen, "card_update") == messages + updates + 3
        };
        let seen = until_seen(&house, again).await;
        let expected = if name == "db" {
            "card_update"
        } else {
            "message"
        };
        assert_eq!(seen.last().unwrap()["effect"], expected, "{name}");
        assert!(words(seen.last().unwrap()).contains("firing"));
    }
    house.stop();
}

#[tokio::test]
async fn what_nobody_speaks_of_any_more_is_marked_as_stale() {
    let mut house = House::with(None, &route("stale_after = \"10m\"")).await;
    tell(&house, "Down", &[firing("Down", "a", AT)]).await;
    until_seen(&house, |seen| count(seen, "message") == 1).await;
    house.advance(Duration::from_secs(21 * 60)).await;
    let seen = until_seen(&house, |seen| count(seen, "card_update") == 1).await;
    assert!(words(&seen[1]).contains("stale"), "{seen:#?}");
    tell(&house, "Down", &[firing("Down", "a", AT)]).await;
    let seen = until_seen(&house, |seen| count(seen, "card_update") == 2).await;
    assert!(!words(&seen[2]).contains("stale"), "{seen:#?}");
}

#[tokio::test]
async fn what_cannot_be_taken_says_where_it_is_wrong_and_changes_nothing() {
    let mut house = House::with(None, &format!("{}[queue]\nmax_pending = 1\n", route(""))).await;
    let good = support::alerts::notice("Down", &[firing("Down", "a", AT)]);
    let (status, _) = house
        .request("POST", "/v1/alerts/nobody", Some(good.clone()))
        .await;
    assert_eq!(status, 404);
    let mut bad = good.clone();
    bad["alerts"][0]["startsAt"] = json!("yesterday");
    let (status, answer) = house.request("POST", "/v1/alerts/db", Some(bad)).await;
    assert_eq!(status, 422);
    assert_eq!(
        answer["errors"][0]["pointer"], "/alerts/0/startsAt",
        "{answer}"
    );
    house.feishu_down().await;
    tell(&house, "Down", &[firing("Down", "a", AT)]).await;
    let other = support::alerts::notice("Other", &[firing("Other", "a", AT)]);
    let (status, answer) = house
        .request("POST", "/v1/alerts/db", Some(other.clone()))
        .await;
    assert_eq!(
        (status, &answer["type"]),
        (503, &json!("urn:feishu-relay:problem:full"))
    );
    // What is known already may still change, and what was refused comes again.
    tell(
        &house,
        "Down",
        &[firing("Down", "a", AT), firing("Down", "b", AT)],
    )
    .await;
    house.feishu_up().await;
    house.advance(Duration::from_secs(60)).await;
    until_seen(&house, |seen| count(seen, "message") == 1).await;
    let (status, _) = house.request("POST", "/v1/alerts/db", Some(other)).await;
    assert_eq!(status, 200);
    let seen = until_seen(&house, |seen| count(seen, "message") == 2).await;
    assert_eq!(count(&seen, "card_update"), 0);
}

#[tokio::test]
async fn a_card_whose_form_feishu_refuses_is_said_plainer_and_then_in_words() {
    let mention = format!("mention = [\"{}\"]", feishu_sandbox::DEFAULT_USER);
    let house = House::with(None, &route(&mention)).await;
    let refused = json!([{"call": SEND, "do": "code", "http": 400, "code": 230_099, "count": 2}]);
    house.faults(refused).await;
    tell(&house, "Down", &[firing("Down", "a", AT)]).await;
    let seen = until_seen(&house, |seen| count(seen, "message") == 1).await;
    assert_eq!(seen[0]["msg_type"], "post", "{seen:#?}");
    let said = words(&seen[0]);
    assert!(said.contains("Down") && said.contains("firing"), "{said}");
    assert!(!said.contains(feishu_sandbox::DEFAULT_USER), "{said}");
    // What is no card cannot change; what comes next is said anew.
    tell(&house, "Down", &[resolved("Down", "a", AT)]).await;
    let is_told =
        |one: &&Value| one["msg_type"] == "interactive" && words(one).contains("resolved");
    until_seen(&house, |seen| of(seen, "message").iter().any(is_told)).await;
}

#[tokio::test]
async fn what_is_over_ends_its_incident_though_another_route_takes_it_now() {
    let mut house = House::with(None, &route("match = 'severity=\"critical\"'")).await;
    tell(&house, "Down", &[firing("Down", "a", AT)]).await;
    until_seen(&house, |seen| count(seen, "message") == 1).await;
    let changed = house
        .config()
        .replace("severity=\"critical\"", "severity=~\"crit.*\"");
    assert_ne!(changed, house.config());
    house.set_config(changed);
    house.reload();
    tell(&house, "Down", &[resolved("Down", "a", AT)]).await;
    let seen = until_seen(&house, |seen| count(seen, "card_update") == 1).await;
    assert!(words(of(&seen, "card_update")[0]).contains("resolved"));
    assert_eq!(count(&seen, "message"), 1, "{seen:#?}");
}
