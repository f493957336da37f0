//! `/metrics` after stories whose numbers are known: every end once, every attempt, nothing else.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on should stop here"
)]

mod support;

use std::cell::Cell;
use std::collections::BTreeMap;

use serde_json::{Value, json};
use support::House;
use support::jobs::*;

/// Samples by name with labels, as written.
type Samples = BTreeMap<String, f64>;

async fn scrape(house: &House) -> Samples {
    let (status, text) = house.request("GET", "/metrics", None).await;
    assert_eq!(status, 200, "{text}");
    samples(text.as_str().unwrap())
}

/// Strict: each sample belongs to the family that was announced last, is there once, and the text
/// says where it ends.
fn samples(text: &str) -> Samples {
    let body = text.strip_suffix("# EOF\n").expect("the end is marked");
    let mut family = (String::new(), String::new());
    let mut seen = Vec::new();
    let mut samples = Samples::new();
    for line in body.lines() {
        if let Some(said) = line.strip_prefix("# ") {
            let mut words = said.splitn(3, ' ');
            let (what, name, rest) = (words.next(), words.next(), words.next());
            let name = name.unwrap();
            match what.unwrap() {
                "HELP" => {
                    assert!(!seen.contains(&name.to_owned()), "{name} stands twice");
                    assert!(rest.unwrap().ends_with('.'), "{line}");
                    seen.push(name.to_owned());
                    family = (name.to_owned(), String::new());
                }
                "TYPE" => {
                    assert_eq!(name, family.0, "{line}");
                    family.1 = rest.unwrap().to_owned();
                }
                other => panic!("{other}: {line}"),
            }
            continue;
        }
        let (name, value) = line.rsplit_once(' ').unwrap();
        let bare = name.split('{').next().unwrap();
        let rest = bare.strip_prefix(&family.0).expect("of its family");
        let fits = match family.1.as_str() {
            "counter" => rest == "_total",
            "gauge" => rest.is_empty(),
            "info" => rest == "_info",
            "histogram" => ["_sum", "_count", "_bucket"].contains(&rest),
            other => panic!("{other}"),
        };
        assert!(fits && bare.starts_with("feishu_relay_"), "{line}");
        if let Some(labels) = name.strip_prefix(bare).filter(|labels| !labels.is_empty()) {
            let inside = labels.strip_prefix('{').and_then(|l| l.strip_suffix('}'));
            for pair in inside.unwrap().split(',') {
                let (label, quoted) = pair.split_once('=').unwrap();
                assert!(label.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'));
                assert!(quoted.starts_with('"') && quoted.ends_with('"'), "{line}");
            }
        }
        let twice = samples.insert(name.to_owned(), value.parse().unwrap());
        assert_eq!(twice, None, "{line}");
    }
    samples
}

/// The samples of a family, without its name.
fn of<'a>(samples: &'a Samples, family: &str) -> Vec<(&'a str, f64)> {
    samples
        .iter()
        .filter_map(|(name, value)| Some((name.strip_prefix(family)?, *value)))
        .filter(|(labels, _)| labels.starts_with('{'))
        .collect()
}

#[tokio::test]
async fn each_end_and_each_attempt_is_counted_once() {
    let mut house = House::new().await;
    let before = scrape(&house).await;
    assert!(of(&before, "feishu_relay_finished_total").is_empty());
    assert!(of(&before, "feishu_relay_last_success_timestamp_seconds").is_empty());

    // Done, with a child that is done too.
    let parent = house
        .post(message(json!({"then": [{"kind": "pin"}]})))
        .await;
    house.settled(&id(&parent)).await;
    // Limited once, then done.
    let limit = json!([{"call": SEND, "do": "429", "when": "before", "count": 1, "reset_s": 1}]);
    house.faults(limit).await;
    let limited = house.post(message(json!({}))).await;
    house.settled(&id(&limited)).await;
    // Refused; its child is canceled with it.
    let refuse = json!([{"call": SEND, "do": "code", "when": "before", "count": 1, "http": 400, "code": 230_002}]);
    house.faults(refuse).await;
    let refused = house
        .post(message(json!({"then": [{"kind": "pin"}]})))
        .await;
    house.settled(&id(&refused)).await;
    // Canceled by a person, expired by time.
    let later = house.post(message(json!({"delay": "2h"}))).await;
    assert_eq!(house.act(&id(&later), "cancel", None).await.0, 200);
    let late = house
        .post(message(
            json!({"delay": "30m", "expires_in": "31m", "lane": "late"}),
        ))
        .await;
    house.faults(json!([])).await;
    // A buzz whose answer is lost stays in doubt, until a person settles it.
    let lose = json!([{"call": "PATCH /open-apis/im/v1/messages/:message_id/urgent_app", "do": "drop", "when": "after"}]);
    house.faults(lose).await;
    let sent = house.settled(&id(&parent)).await;
    let buzz = json!({"kind": "urgent_app", "args": {
        "message": sent["receipt"]["message_id"], "users": [feishu_sandbox::DEFAULT_USERS[0]]}});
    let buzz = house.settled(&id(&house.post(buzz).await)).await;
    assert_eq!(buzz["state"], "in_doubt", "{buzz}");
    let doubt = scrape(&house).await;
    assert_eq!(
        doubt["feishu_relay_jobs{app=\"ops\",state=\"in_doubt\"}"],
        1.0
    );
    let settle = Some(json!({"state": "failed"}));
    assert_eq!(house.act(&id(&buzz), "settle", settle).await.0, 200);
    // Feishu is away while the deadline passes.
    house.feishu_down().await;
    house.advance(HOUR).await;
    house.settled(&id(&late)).await;
    let after = scrape(&house).await;
    let ended = |kind: &str, state: &str| {
        after.get(&format!(
            "feishu_relay_finished_total{{app=\"ops\",kind=\"{kind}\",state=\"{state}\"}}"
        ))
    };
    assert_eq!(ended("send", "done"), Some(&2.0), "{after:#?}");
    assert_eq!(ended("pin", "done"), Some(&1.0));
    assert_eq!(ended("send", "failed"), Some(&1.0));
    assert_eq!(ended("pin", "canceled"), Some(&1.0));
    assert_eq!(ended("send", "canceled"), Some(&1.0));
    assert_eq!(ended("send", "expired"), Some(&1.0));
    assert_eq!(ended("urgent_app", "failed"), Some(&1.0));
    let all: f64 = of(&after, "feishu_relay_finished_total")
        .iter()
        .map(|(_, n)| n)
        .sum();
    assert_eq!(all, 8.0);

    let mut attempts: Vec<(&str, f64)> = of(&after, "feishu_relay_attempts_total");
    attempts.retain(|(labels, _)| !labels.contains("not_sent"));
    let expected = [
        (
            "{app=\"ops\",kind=\"pin\",outcome=\"done\",code=\"0\"}",
            1.0,
        ),
        (
            "{app=\"ops\",kind=\"send\",outcome=\"done\",code=\"0\"}",
            2.0,
        ),
        (
            "{app=\"ops\",kind=\"send\",outcome=\"limited\",code=\"99991400\"}",
            1.0,
        ),
        (
            "{app=\"ops\",kind=\"send\",outcome=\"refused\",code=\"230002\"}",
            1.0,
        ),
        (
            "{app=\"ops\",kind=\"urgent_app\",outcome=\"unknown\",code=\"\"}",
            1.0,
        ),
    ];
    assert_eq!(attempts, expected);
    assert_eq!(after["feishu_relay_delivery_seconds_count"], 3.0);
    assert!(after["feishu_relay_delivery_seconds_sum"] < 60.0);
    assert!(after["feishu_relay_store_bytes"] > 4096.0);
    for (state, count) in [("done", 3.0), ("failed", 2.0), ("queued", 0.0)] {
        let name = format!("feishu_relay_jobs{{app=\"ops\",state=\"{state}\"}}");
        assert_eq!(after[&name], count, "{state}");
    }
    // Those that were done, and the buzz: it may have been.
    assert_eq!(after["feishu_relay_month_calls{app=\"ops\"}"], 4.0);
    let forecast = after["feishu_relay_month_forecast_calls{tenant=\"main\"}"];
    assert!(forecast >= 4.0, "{forecast}");
    let info = of(&after, "feishu_relay_build_info");
    assert_eq!(info, [("{version=\"0.1.0\"}", 1.0)]);

    let success = "feishu_relay_last_success_timestamp_seconds{app=\"ops\"}";
    let last = after[success];
    house.restart();
    let again = scrape(&house).await;
    assert!(
        (again[success] - last).abs() < 2.0,
        "{} {last}",
        again[success]
    );
    assert!(of(&again, "feishu_relay_finished_total").is_empty());
}

#[tokio::test]
async fn a_wrong_secret_shows_while_it_lasts() {
    let mut house = House::without_relay(None, "").await;
    house.set_secret("not-the-secret");
    house.start();
    let job = house.post(message(json!({}))).await;
    let paused = |status: &Value| !status["apps"][0]["paused"].as_array().unwrap().is_empty();
    house.until("/v1/status", paused).await;
    house.advance(MINUTE).await;
    let aged = |status: &Value| status["apps"][0]["oldest_age_s"].as_i64() >= Some(55);
    house.until("/v1/status", aged).await;
    let wrong = scrape(&house).await;
    let bucket = of(&wrong, "feishu_relay_paused_seconds");
    assert_eq!(bucket.len(), 1, "{wrong:#?}");
    assert_eq!(bucket[0].0, "{app=\"ops\",bucket=\"app\"}");
    assert!(bucket[0].1 >= 55.0, "{bucket:?}");
    assert!(wrong["feishu_relay_oldest_due_seconds{app=\"ops\"}"] >= 55.0);
    // It may be the probe of this moment.
    let open = ["queued", "sending"]
        .map(|state| wrong[&format!("feishu_relay_jobs{{app=\"ops\",state=\"{state}\"}}")]);
    assert_eq!(open.iter().sum::<f64>(), 1.0);

    house.set_secret("sandbox-secret");
    house.restart();
    house.settled(&id(&job)).await;
    let right = scrape(&house).await;
    assert!(of(&right, "feishu_relay_paused_seconds").is_empty());
    assert_eq!(right["feishu_relay_oldest_due_seconds{app=\"ops\"}"], 0.0);
    let waited = right["feishu_relay_delivery_seconds_sum"];
    assert!(waited >= 55.0, "{waited}");
}

/// How far a batch is.
const PROGRESS: &str = "GET /open-apis/im/v1/batch_messages/:batch_message_id/get_progress";

fn age_s(status: &Value) -> Option<i64> {
    status["apps"][0]["oldest_age_s"].as_i64()
}

fn due_ms(status: &Value) -> Option<i64> {
    let at = &status["apps"][0]["oldest_due_at"];
    (!at.is_null()).then(|| ms(at))
}

/// Holds the answers to the next such call back for so long that nobody waits for them here.
async fn unanswered(house: &House, call: &str) {
    house
        .faults(json!([{"call": call, "do": "delay", "ms": 100_000, "count": 1}]))
        .await;
}

#[tokio::test]
async fn a_backlog_in_one_chat_has_an_age_while_it_is_being_sent() {
    let mut house = House::new().await;
    house
        .post(Value::Array(vec![message(json!({})); 600]))
        .await;
    // No scrape may meet a gap.
    let seen = Cell::new(false);
    let grows = |status: &Value| {
        let age = age_s(status);
        assert!(age.is_some() || !seen.replace(age.is_some()), "{status:#}");
        age >= Some(4)
    };
    house.until("/v1/status", grows).await;
    house.advance(MINUTE).await;
    let status = house
        .until("/v1/status", |status| age_s(status) >= Some(60))
        .await;
    assert!(status["apps"][0]["queued"].as_u64() > Some(0), "{status:#}");
    let lanes = status["lanes"].as_array().unwrap();
    assert_eq!(lanes.len(), 1, "{lanes:#?}");
    assert_eq!(lanes[0]["lane"], feishu_sandbox::DEFAULT_CHAT);
    assert!(lanes[0]["oldest_age_s"].as_i64() >= Some(60), "{lanes:#?}");
    let all = scrape(&house).await;
    assert!(all["feishu_relay_oldest_due_seconds{app=\"ops\"}"] >= 60.0);
}

#[tokio::test]
async fn a_job_that_is_under_way_has_the_age_of_its_lane() {
    let house = House::with(None, "timeout = \"110s\"\n").await;
    unanswered(&house, SEND).await;
    let first = post(&house, message(json!({}))).await;
    let behind = post(&house, message(json!({}))).await;
    until_state(&house, &first, "sending").await;
    let status = house
        .until("/v1/status", |status| age_s(status) >= Some(2))
        .await;
    assert_eq!(status["apps"][0]["sending"], 1, "{status:#}");
    assert_eq!(status["apps"][0]["queued"], 1, "{status:#}");
    assert_eq!(status["lanes"].as_array().unwrap().len(), 1, "{status:#}");
    assert_eq!(house.job(&behind).await["waiting_for"], "lane");
}

#[tokio::test]
async fn a_delay_makes_no_job_older_when_it_is_tried_again() {
    let mut house = House::new().await;
    let job = post(&house, message(json!({"delay": "1h"}))).await;
    house
        .faults(json!([{"call": SEND, "do": "429", "reset_s": 600, "count": 1}]))
        .await;
    house.advance(HOUR + SECOND).await;
    let job = tried(&house, &job, 1).await;
    house.advance(MINUTE).await;
    let status = house
        .until("/v1/status", |status| age_s(status) >= Some(60))
        .await;
    let due_ms = due_ms(&status).unwrap();
    let delayed_ms = due_ms - ms(&job["created_at"]);
    assert!((3_599_000..3_660_000).contains(&delayed_ms), "{delayed_ms}");
}

#[tokio::test]
async fn a_question_that_is_put_again_is_as_old_as_this_time() {
    let mut house = House::with(None, "timeout = \"110s\"\n").await;
    let args = json!({"open_ids": [feishu_sandbox::DEFAULT_USER], "text": "soup"});
    let job = house
        .post(json!({"kind": "batch_send", "args": args}))
        .await;
    let job = house.settled(&id(&job)).await;
    let sent_ms = ms(&job["finished_at"]);
    house.advance(MINUTE).await;
    let path = format!("/v1/jobs/{}/progress?fresh=true", id(&job));
    let (status, told) = house.request("GET", &path, None).await;
    assert_eq!(status, 200, "{told}");
    unanswered(&house, PROGRESS).await;
    house.advance(MINUTE).await;
    house
        .until("/v1/status", |status| {
            due_ms(status) >= Some(sent_ms + 75_000)
        })
        .await;
}
