//! Schedules that broke earlier designs, each a test: the real binary, its database on disk, and the
//! sandbox's ledger as the judge.
//!
//! | schedule | test |
//! |---|---|
//! | shown, killed before the record, down 2 h | `doubt`; `crash.rs` has it for one message |
//! | unknown, then refused, expired, canceled or out of quota | `doubt` |
//! | 70 min of 503 over 1000 chats | `outage`; its pure part in `src/dispatch/trial/outage.rs` |
//! | clock 5 min back and 20 min back, reboot, suspend | `clocks` |
//! | two jobs of one lane that wait for each other | `waiting` |
//! | a child's delay beyond the parent's retention | `waiting` |
//! | 100 calls in flight when the token dies | `token` |
//! | one part of a batch in doubt, then retry, settle, recall | `parts`; single steps in `batch.rs` |
//! | lost answers on `batch_send` and `urgent_phone` | `crash.rs`: happen once and stay in doubt for ever |
//!
//! The others are of our own making (`adverse`). Time is moved, never waited for.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on should stop here"
)]

mod adverse;
mod clocks;
mod doubt;
mod outage;
mod parts;
#[path = "../support/mod.rs"]
mod support;
mod token;
mod waiting;

use std::time::{Duration, Instant};

use feishu_sandbox::DEFAULT_USERS;
use serde_json::{Value, json};

use support::House;

const BATCH: &str = "POST /open-apis/message/v4/batch_send/";
const PHONE: &str = "PATCH /open-apis/im/v1/messages/:message_id/urgent_phone";
const PIN: &str = "POST /open-apis/im/v1/pins";
const TOKEN: &str = "POST /open-apis/auth/v3/tenant_access_token/internal";

/// No windows on either side, so that only lanes and outcomes order calls.
const FREE: &str =
    "limits = { app_minute = 0, app_second = 0, chat_second = 0, user_second = 0 }\n";

fn free() -> Value {
    json!({"limits": {"app_minute": 0, "app_second": 0, "chat_second": 0, "user_second": 0, "message_second": 0}})
}

/// A message to one of the cast, so that it has a lane of its own.
fn to(user: usize, more: Value) -> Value {
    let mut job = json!({"kind": "send", "args": {"to": DEFAULT_USERS[user], "text": format!("for user {user}")}});
    for (name, value) in more.as_object().unwrap() {
        job[name] = value.clone();
    }
    job
}

/// Feishu does it, and the answer is lost.
fn lost(call: &str) -> Value {
    json!({"call": call, "do": "drop", "when": "after", "count": 1})
}

/// How often people saw what this job sends.
async fn shown(house: &House, id: &str) -> usize {
    let uuid = id.trim_start_matches("job_");
    let seen = house.effects("message").await;
    seen.iter().filter(|effect| effect["uuid"] == uuid).count()
}

/// The longest that Feishu's side is waited for.
const PATIENCE: Duration = Duration::from_secs(60);

/// Asks Feishu's side until it says so.
async fn until(house: &House, good: impl AsyncFn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !good().await {
        assert!(Instant::now() < deadline, "{}", house.log());
        tokio::task::yield_now().await;
    }
}

/// Until people have seen so many effects of that name.
async fn until_seen(house: &House, effect: &str, count: usize) {
    until(house, async || house.effects(effect).await.len() >= count).await;
}

/// Until Feishu was called so often.
async fn until_made(house: &House, call: &str, count: u64) {
    until(house, async || {
        support::jobs::made(house, call).await >= count
    })
    .await;
}

/// Until so many calls were spoiled on purpose.
async fn until_faulted(house: &House, call: &str, count: u64) {
    let faulted = async || house.calls(call).await["faulted"].as_u64().unwrap_or(0);
    until(house, async || faulted().await >= count).await;
}

/// Cancels it; an attempt under way is let end.
async fn cancel(house: &House, id: &str) {
    until(house, async || house.act(id, "cancel", None).await.0 != 409).await;
}

fn ids(answer: &Value) -> Vec<String> {
    let jobs = answer["jobs"].as_array().unwrap();
    jobs.iter().map(support::jobs::id).collect()
}

/// The word on where a job stands: `done`, `in_doubt`, …
async fn state(house: &House, id: &str) -> String {
    house.job(id).await["state"].as_str().unwrap().to_owned()
}
