//! The minute's window of an app, end to end.

use std::time::Duration;

use serde_json::{Value, json};

use crate::judged::{Faults, Posted, faults, shown};
use crate::support::House;

/// Calls a minute; the last 4 % of them are for `high`.
const MINUTE: u64 = 50;
const NORMAL: u64 = 48;
const CHATS: u64 = 10;
/// Minutes that are full.
const ROUNDS: u64 = 3;

fn asked(n: u64, high: bool) -> Posted {
    Posted {
        chat: format!("oc_6000{:028}", n % CHATS),
        text: format!("{}{n}", if high { 'h' } else { 'm' }),
        high,
    }
}

fn job(one: &Posted) -> Value {
    let priority = if one.high { "high" } else { "normal" };
    json!({"kind": "send", "args": {"to": one.chat, "text": one.text}, "priority": priority})
}

/// Both clocks, Feishu's first: the relay never acts on a time that is not yet.
async fn pass(house: &House, total: Duration, by: Duration) {
    let advance = json!({"advance": format!("{}ms", by.as_millis())});
    house.control("clock", advance).await;
    house.set_clock(&format!("{}ms", total.as_millis()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backlog_leaves_minute_by_minute_a_high_one_at_once_and_feishu_refuses_nothing() {
    let chats: Vec<Value> = (0..CHATS)
        .map(|n| json!({"chat_id": asked(n, false).chat}))
        .collect();
    let limits = json!({"app_minute": MINUTE, "app_second": 0, "chat_second": 0, "user_second": 0});
    let house = House::with(
        Some(json!({"chats": chats, "limits": limits})),
        "limits = { app_minute = 50, app_second = 0, chat_second = 0, user_second = 0 }\n",
    )
    .await;
    let all = ROUNDS * MINUTE + 10;
    let mut posted: Vec<Posted> = (0..all).map(|n| asked(n, false)).collect();
    let jobs: Vec<Value> = posted.iter().map(job).collect();
    let (status, answer) = house
        .request("POST", "/v1/jobs", Some(Value::Array(jobs)))
        .await;
    assert_eq!(status, 202, "{answer}");

    let mut total = Duration::ZERO;
    for round in 0..ROUNDS {
        let most = all - (round + 1) * NORMAL;
        let full = |status: &Value| status["pending"].as_u64().unwrap() <= most;
        house.until("/v1/status", full).await;
        // What is left waits for the minute to end; a `high` message does not.
        let high = asked(round, true);
        let (_, told) = house.request("POST", "/v1/jobs", Some(job(&high))).await;
        house.settled(told["id"].as_str().unwrap()).await;
        posted.push(high);
        let (_, status) = house.request("GET", "/v1/status", None).await;
        let least = all - (round + 1) * MINUTE;
        assert!(status["pending"].as_u64().unwrap() >= least, "{status}");
        let by = Duration::from_secs(61);
        total += by;
        pass(&house, total, by).await;
    }
    let drained = |status: &Value| status["pending"] == 0;
    house.until("/v1/status", drained).await;
    let ledger = house.ledger().await;
    let effects = ledger["effects"].as_array().unwrap();
    assert_eq!(faults(&posted, &shown(effects)), Faults::default());
    let sends = ledger["calls"].as_array().unwrap().iter();
    let limited: u64 = sends.map(|call| call["limited"].as_u64().unwrap()).sum();
    assert_eq!(limited, 0, "{}", ledger["calls"]);
}
