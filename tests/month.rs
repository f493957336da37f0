//! The month's calls: counted by cause, forecast, warned of, and the last of them kept for `high`.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on should stop here"
)]

mod support;

use std::time::Duration;

use feishu_sandbox::{DEFAULT_CHAT, DEFAULT_USERS};
use jiff::tz::{TimeZone, offset};
use jiff::{Timestamp, ToSpan};
use serde_json::{Value, json};
use support::House;
use support::jobs::{DAY, SECOND, SEND, id, made, message, ms, path, post};

const PIN: &str = "POST /open-apis/im/v1/pins";
const READERS: &str = "GET /open-apis/im/v1/messages/:message_id/read_users";
const BATCH: &str = "POST /open-apis/message/v4/batch_send/";
const PROGRESS: &str = "GET /open-apis/im/v1/batch_messages/:batch_message_id/get_progress";

/// No windows on either side, so that only the month holds anything back.
const FREE: &str =
    "limits = { app_minute = 0, app_second = 0, chat_second = 0, user_second = 0 }\n";

fn seed(month: u64) -> Value {
    json!({"limits": {"app_minute": 0, "app_second": 0, "chat_second": 0, "user_second": 0, "month": month}})
}

/// Midnight in Beijing at the beginning of the month, so many months after that of `at_ms`.
fn turn_ms(at_ms: i64, months: i64) -> i64 {
    let at = Timestamp::from_millisecond(at_ms).unwrap();
    let at = at.to_zoned(TimeZone::fixed(offset(8)));
    let turn = at.first_of_month().unwrap().start_of_day().unwrap();
    let turn = turn.checked_add(months.months()).unwrap();
    turn.timestamp().as_millisecond()
}

async fn now_ms(house: &House) -> i64 {
    ms(&status(house).await["now"])
}

/// A relay whose tenant has `quota` calls a month, on the tenth of a month at noon.
async fn house(quota: u64, month_of_feishu: u64) -> House {
    let more = format!("month_quota = {quota}\n{FREE}");
    let mut house = House::without_relay(Some(seed(month_of_feishu)), &more).await;
    let now_ms = Timestamp::now().as_millisecond();
    let to = Duration::from_millis(u64::try_from(turn_ms(now_ms, 1) - now_ms).unwrap());
    house.advance(to + 9 * DAY + DAY / 2).await;
    house.start();
    house
}

async fn status(house: &House) -> Value {
    let (status, answer) = house.request("GET", "/v1/status", None).await;
    assert_eq!(status, 200, "{answer}");
    answer
}

/// Moves to the next month, a minute past its beginning.
async fn next_month(house: &mut House) {
    let now_ms = now_ms(house).await;
    let left = u64::try_from(turn_ms(now_ms, 1) - now_ms).unwrap();
    house
        .advance(Duration::from_millis(left) + 60 * SECOND)
        .await;
}

fn calls(status: &Value) -> u64 {
    status["months"][0]["calls"].as_u64().unwrap()
}

fn cause(status: &Value, name: &str) -> [u64; 3] {
    let cause = &status["apps"][0]["month"]["causes"][name];
    ["first", "again", "lost"].map(|of| cause[of].as_u64().unwrap_or(0))
}

/// Sends so many messages of no importance.
async fn spend(house: &House, count: u64) {
    for _ in 0..count {
        let id = post(house, message(json!({}))).await;
        assert_eq!(house.settled(&id).await["state"], "done");
    }
}

async fn done(house: &House, id: &str) {
    let job = house.settled(id).await;
    assert_eq!(job["state"], "done", "{job:#}");
}

/// It waits for the month, and was not tried.
async fn waits(house: &House, id: &str) {
    let job = house
        .until(&path(id), |job| job["waiting_for"] == "app")
        .await;
    assert_eq!(
        (&job["state"], &job["attempts"]),
        (&json!("queued"), &json!([]))
    );
}

fn high() -> Value {
    message(json!({"priority": "high"}))
}

/// How often the log says that so many percent are spent.
fn warned(house: &House) -> [usize; 3] {
    let log = house.log();
    [80, 90, 100].map(|percent| {
        let words = format!("{percent} % of the month's calls are spent");
        log.matches(&words).count()
    })
}

#[tokio::test]
async fn the_last_calls_are_kept_for_high_until_the_month_turns() {
    let mut house = house(20, 0).await;
    spend(&house, 19).await;
    let normal = post(&house, message(json!({}))).await;
    let low = post(&house, message(json!({"priority": "low"}))).await;
    let brief = post(&house, message(json!({"expires_in": "1h"}))).await;
    for id in [&normal, &low, &brief] {
        waits(&house, id).await;
    }
    let told = status(&house).await;
    let pause = &told["apps"][0]["paused"][0];
    assert_eq!(
        (&pause["by"], &pause["spares"]),
        (&json!("relay"), &json!("high"))
    );
    let reason = pause["reason"].as_str().unwrap();
    assert!(
        reason.starts_with("month's quota: the rest is kept for high"),
        "{reason}"
    );
    assert_eq!(pause["next_probe"], told["months"][0]["ends_at"]);
    let month = &told["months"][0];
    assert_eq!(
        (&month["quota"], &month["left"], &month["reserve"]),
        (&json!(20), &json!(1), &json!(1))
    );
    assert!(!month["forecast"]["exhausted_at"].is_null(), "{month}");

    // The reserve, and beyond our own count: only Feishu knows what is really left.
    for _ in 0..3 {
        let id = post(&house, high()).await;
        done(&house, &id).await;
    }
    let told = status(&house).await;
    assert_eq!((calls(&told), &told["months"][0]["left"]), (22, &json!(0)));

    house.advance(2 * 3600 * SECOND).await;
    let ended = house.settled(&brief).await;
    assert_eq!(
        (&ended["state"], &ended["attempts"]),
        (&json!("expired"), &json!([]))
    );

    // Three days on it would be given up: what waits longer must outlive the month's rest.
    let patient = post(&house, message(json!({"expires_in": "40d"}))).await;
    waits(&house, &patient).await;
    next_month(&mut house).await;
    done(&house, &patient).await;
    for id in [&normal, &low] {
        let job = house.settled(id).await;
        assert_eq!(job["error"]["class"], "gave_up", "{job:#}");
    }
    let told = house.until("/v1/status", |told| calls(told) == 1).await;
    assert_eq!(told["apps"][0]["month"]["calls_before"], 22);
    assert_eq!(told["apps"][0]["paused"], json!([]));
    assert_eq!(house.effects("message").await.len(), 23);
}

#[tokio::test]
async fn a_high_job_behind_others_in_one_chat_overtakes_what_waits_for_the_month() {
    let house = house(20, 0).await;
    spend(&house, 19).await;
    let normal: Vec<Value> = (0..20).map(|_| message(json!({}))).collect();
    let normal = house.post(json!(normal)).await;
    waits(&house, &id(&normal["jobs"][0])).await;
    // More than eight in one lane: no turn of a lower priority comes.
    let jobs: Vec<Value> = (0..20).map(|_| high()).collect();
    let jobs = house.post(json!(jobs)).await;
    for job in jobs["jobs"].as_array().unwrap() {
        done(&house, &id(job)).await;
    }
    assert_eq!(made(&house, SEND).await, 39);
    waits(&house, &id(&normal["jobs"][0])).await;
}

#[tokio::test]
async fn counts_and_words_outlive_a_restart_and_each_warning_is_said_once_a_month() {
    let mut house = house(20, 0).await;
    spend(&house, 15).await;
    assert_eq!(warned(&house), [0, 0, 0]);
    spend(&house, 1).await;
    house
        .until("/v1/status", |_| warned(&house) == [1, 0, 0])
        .await;
    house.restart();
    let told = status(&house).await;
    assert_eq!((calls(&told), cause(&told, "send")), (16, [16, 0, 0]));
    spend(&house, 3).await;
    house
        .until("/v1/status", |_| warned(&house) == [1, 1, 0])
        .await;
    house.kill();
    house.start();
    let normal = post(&house, message(json!({"expires_in": "40d"}))).await;
    waits(&house, &normal).await;
    let last = post(&house, high()).await;
    done(&house, &last).await;
    house
        .until("/v1/status", |_| warned(&house) == [1, 1, 1])
        .await;
    house.restart();
    let last = post(&house, high()).await;
    done(&house, &last).await;
    assert_eq!(warned(&house), [1, 1, 1]);
    next_month(&mut house).await;
    done(&house, &normal).await;
    spend(&house, 16).await;
    house
        .until("/v1/status", |_| warned(&house) == [2, 1, 1])
        .await;
}

#[tokio::test]
async fn a_greater_quota_frees_what_waits_and_so_does_a_resume_until_the_month_turns() {
    let mut house = house(20, 0).await;
    spend(&house, 19).await;
    let first = post(&house, message(json!({}))).await;
    waits(&house, &first).await;
    let config = house
        .config()
        .replace("month_quota = 20", "month_quota = 40");
    house.set_config(config);
    house.reload();
    done(&house, &first).await;
    assert_eq!(status(&house).await["months"][0]["quota"], 40);

    spend(&house, 18).await;
    let second = post(&house, message(json!({}))).await;
    waits(&house, &second).await;
    // Not a word on this: it names a lane.
    let lane = json!({"lane": DEFAULT_CHAT});
    house.request("POST", "/v1/resume", Some(lane)).await;
    waits(&house, &second).await;
    let (code, answer) = house
        .request("POST", "/v1/resume", Some(json!({"app": "ops"})))
        .await;
    assert_eq!((code, &answer["paused"]), (200, &json!([])));
    done(&house, &second).await;
    house.restart();
    spend(&house, 5).await;
    let told = status(&house).await;
    assert_eq!(
        (calls(&told), &told["months"][0]["reserve_open"]),
        (44, &json!(true))
    );
    next_month(&mut house).await;
    spend(&house, 38).await;
    let third = post(&house, message(json!({}))).await;
    waits(&house, &third).await;
}

#[tokio::test]
async fn the_relays_own_questions_stop_before_any_job_does() {
    let mut house = house(20, 0).await;
    spend(&house, 17).await;
    let track = json!({"track": {"reads": {"every": "1m", "for": "30m"}}});
    let followed = post(&house, message(track)).await;
    done(&house, &followed).await;
    let told = house
        .until("/v1/status", |told| {
            told["apps"][0]["paused"][0]["spares"] == "jobs"
        })
        .await;
    let held = told["apps"][0]["paused"].as_array().unwrap();
    assert!(
        held.iter().any(|one| one["api"] == "read_users"),
        "{told:#}"
    );
    house.advance(10 * 60 * SECOND).await;
    // The relay has seen that time, and goes on with jobs.
    spend(&house, 1).await;
    assert_eq!(made(&house, READERS).await, 0);
    let told = status(&house).await;
    assert_eq!((calls(&told), cause(&told, "read_users")), (19, [0; 3]));
}

/// Feishu's own word stands above our count; it is asked again as soon as the month has turned.
#[tokio::test]
async fn a_month_that_feishu_says_is_used_up_stops_everything_until_it_turns() {
    let mut house = house(0, 5).await;
    spend(&house, 5).await;
    let refused = post(
        &house,
        message(json!({"priority": "high", "expires_in": "40d"})),
    )
    .await;
    let told = house
        .until("/v1/status", |told| {
            told["apps"][0]["paused"][0]["code"] == 99_991_403
        })
        .await;
    assert_eq!(
        (calls(&told), &told["months"][0]["quota"]),
        (5, &Value::Null)
    );
    next_month(&mut house).await;
    done(&house, &refused).await;
    let told = house.until("/v1/status", |told| calls(told) == 1).await;
    assert_eq!(cause(&told, "send"), [0, 1, 0]);
}

/// What the ledger has for each cause is what Feishu executed, whatever became of the answers.
#[tokio::test]
async fn the_ledger_by_cause_is_feishus_own_count_under_faults() {
    let mut house = house(0, 0).await;
    house
        .faults(json!([
            {"call": SEND, "do": "drop", "when": "after", "count": 2},
            {"call": SEND, "do": "429", "when": "before", "count": 2},
            {"call": SEND, "do": "5xx", "when": "before", "count": 1},
            {"call": PIN, "do": "cut", "when": "after", "count": 1},
            {"call": PIN, "do": "code", "code": 99_991_400, "when": "before", "count": 1},
            {"call": READERS, "do": "reset", "when": "after", "count": 1},
        ]))
        .await;
    let mut jobs = Vec::new();
    for user in DEFAULT_USERS.iter().take(3) {
        let job = json!({"kind": "send", "args": {"to": user, "text": "to one"}, "then": [{"kind": "pin"}]});
        jobs.push(post(&house, job).await);
    }
    jobs.push(
        post(
            &house,
            json!({"kind": "batch_send", "args": {"open_ids": DEFAULT_USERS, "text": "to many"}}),
        )
        .await,
    );
    jobs.push(
        post(
            &house,
            message(json!({"track": {"reads": {"every": "1m", "for": "1m"}}})),
        )
        .await,
    );
    jobs.push(
        post(
            &house,
            json!({"kind": "send", "args": {"to": "oc_nowhere", "text": "refused"}}),
        )
        .await,
    );
    // Waits for retries pass by the clock.
    for _ in 0..12 {
        house.advance(20 * SECOND).await;
    }
    for id in &jobs {
        house.settled(id).await;
    }
    // An attempt that a crash cut off counts too: it was made.
    let slow = json!([{"call": PIN, "do": "delay", "ms": 600_000, "when": "after", "count": 1}]);
    house.faults(slow).await;
    let before = made(&house, PIN).await;
    let shown = json!({"kind": "pin", "args": {"message": jobs[0]}});
    let cut = post(&house, shown).await;
    while made(&house, PIN).await == before {}
    house.kill();
    house.faults(json!([])).await;
    house.start();
    done(&house, &cut).await;

    let count = async |call: &str| house.calls(call).await["done"].as_u64().unwrap_or(0);
    let feishu = [
        ("send", count(SEND).await),
        ("pin", count(PIN).await),
        ("batch_send", count(BATCH).await),
        ("batch_progress", count(PROGRESS).await),
        ("read_users", count(READERS).await),
    ];
    let equal = |told: &Value| {
        feishu.iter().all(|(name, done)| {
            let [first, again, _] = cause(told, name);
            first + again == *done
        })
    };
    let told = house.until("/v1/status", equal).await;
    let [first, again, lost] = cause(&told, "send");
    assert_eq!((first + again, lost), (feishu[0].1, 2), "{told:#}");
    assert!(again >= 3, "{told:#}");
    assert_eq!(cause(&told, "pin")[2], 2);
    assert_eq!(cause(&told, "read_users")[2], 1);
    let sum: u64 = feishu.iter().map(|(_, done)| done).sum();
    assert_eq!(calls(&told), sum);
    assert_eq!(told["apps"][0]["month"]["calls"], sum);
}
