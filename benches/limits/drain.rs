//! 9500 messages to 1000 chats: nearly all posted at once, and the rest, `high` ones, at any moment while they leave.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use fastrand::Rng;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::house::{House, message, now_ms, post};
use super::judge::{Minute, Posted, best_ms, count, faults, median_and_worst, minutes};
use super::relay::BenchError;
use super::report::{Report, percent, progress, seconds};

const MESSAGES: u64 = 9500;
/// So many of them are `high`.
const HIGHS: u64 = 150;
/// When they are posted: no run is over sooner.
const HIGH_MS: std::ops::Range<u64> = 0..540_000;
const CHATS: u64 = 1000;
/// The longest that the whole is waited for.
const PATIENCE: Duration = Duration::from_secs(3 * 550);
const RATIO_MAX: f64 = 1.10;
const REFUSED_PERCENT: f64 = 0.1;
const HIGH_WORST_MS: i64 = 1_000;

/// A `high` message, and when it was posted.
#[derive(Clone, Debug)]
struct High {
    posted: Posted,
    at_ms: i64,
}

/// Sends them all, and says how it went.
pub(crate) async fn drain(binary: &Path, seed: u64) -> Result<(Report, House), BenchError> {
    let mut rng = Rng::with_seed(seed);
    let chats: Vec<Value> = (0..CHATS).map(|n| json!({"chat_id": chat(n)})).collect();
    let mut house = House::open(binary, &json!({"chats": chats})).await?;
    let asked: Vec<Posted> = (0..MESSAGES - HIGHS)
        .map(|n| Posted {
            chat: chat(rng.u64(..CHATS)),
            text: format!("m{n}"),
            high: false,
        })
        .collect();
    let jobs: Vec<Value> = asked
        .iter()
        .map(|one| message(&one.chat, &one.text, "normal"))
        .collect();

    let (begun_ms, begun) = (now_ms(), Instant::now());
    let highs = Arc::new(Mutex::new(Vec::new()));
    let beside = now_and_then(house.client(), rng.fork(), begun, Arc::clone(&highs));
    let beside = tokio::spawn(beside);
    post(&house.client(), &jobs).await?;
    let taken_ms = now_ms() - begun_ms;
    house
        .until(PATIENCE, |shown| {
            let after_s = begun.elapsed().as_secs();
            progress(&format!("{} of {MESSAGES} after {after_s} s", shown.len()));
            count(shown.len()) >= MESSAGES
        })
        .await?;
    beside
        .await
        .map_err(|error| BenchError::Answer(error.to_string()))??;
    let highs = highs.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let report = report(seed, &house, begun_ms, taken_ms, &asked, &highs).await?;
    Ok((report, house))
}

async fn report(
    seed: u64,
    house: &House,
    begun_ms: i64,
    taken_ms: i64,
    asked: &[Posted],
    highs: &[High],
) -> Result<Report, BenchError> {
    let mut report = Report::default();
    let shown = house.shown();
    let calls = house.calls().await?;
    report.fact("seed", seed, seed.to_string());
    report.fact(
        "messages",
        json!({"count": MESSAGES, "high": highs.len(), "chats": CHATS, "accepted_ms": taken_ms}),
        format!(
            "{MESSAGES} to {CHATS} chats; {} posted at once and accepted within {}, {} high ones meanwhile",
            asked.len(),
            seconds(taken_ms),
            highs.len()
        ),
    );
    let last_ms = shown.iter().map(|one| one.at_ms).max();
    let total_ms = last_ms.unwrap_or(begun_ms) - begun_ms;
    let best_ms = best_ms(MESSAGES);
    let ratio = percent(total_ms.unsigned_abs(), best_ms) / 100.0;
    report.fact("total", total_ms, seconds(total_ms));
    report.fact("best", best_ms, seconds(best_ms.cast_signed()));
    report.goal(
        "ratio",
        ratio,
        format!("{ratio:.3} (at most {RATIO_MAX:.2})"),
        ratio <= RATIO_MAX,
    );
    let refused = percent(calls.limited, calls.made);
    report.goal(
        "refused",
        json!({"count": calls.limited, "of": calls.made, "percent": refused}),
        format!(
            "{} of {} calls, {refused:.3} % (under {REFUSED_PERCENT} %)",
            calls.limited, calls.made
        ),
        refused < REFUSED_PERCENT,
    );
    let times: Vec<i64> = shown.iter().map(|one| one.at_ms).collect();
    let minutes = minutes(&times);
    let told =
        |minute: &Minute| json!({"calls": minute.calls, "fullest_second": minute.fullest_second});
    report.fact(
        "whole minutes",
        minutes.iter().map(told).collect::<Vec<_>>(),
        minutes
            .iter()
            .map(|minute| minute.calls.to_string())
            .collect::<Vec<_>>()
            .join(" "),
    );
    let fullest = minutes.iter().map(|minute| minute.fullest_second).max();
    report.fact(
        "fullest second",
        fullest,
        fullest.map_or(String::from("none"), |most| most.to_string()),
    );
    high(&mut report, house, highs);
    let mut posted = asked.to_vec();
    posted.extend(highs.iter().map(|high| high.posted.clone()));
    report.faults(faults(&posted, shown));
    let pending = house.pending().await?;
    report.fact(
        "pending",
        pending,
        format!("{pending} jobs, as the relay says"),
    );
    Ok(report)
}

/// How long each `high` message took, from its post to the eyes of people.
fn high(report: &mut Report, house: &House, highs: &[High]) {
    let wait = |high: &High| {
        let shown = house
            .shown()
            .iter()
            .find(|one| one.text == high.posted.text)?;
        Some(shown.at_ms - high.at_ms)
    };
    let waits: Vec<i64> = highs.iter().filter_map(wait).collect();
    let late = waits.iter().filter(|ms| **ms > HIGH_WORST_MS).count();
    let all = waits.len() == highs.len();
    let (median, worst) = median_and_worst(waits).unwrap_or((0, i64::MAX));
    report.goal(
        "high",
        json!({"median_ms": median, "worst_ms": worst, "late": late}),
        format!("after {median} ms (median), {worst} ms at worst (at most {HIGH_WORST_MS} ms)"),
        all && late == 0,
    );
}

/// Posts a `high` message at each of some random moments, to any of the chats.
async fn now_and_then(
    relay: reqwest::Client,
    mut rng: Rng,
    begun: Instant,
    highs: Arc<Mutex<Vec<High>>>,
) -> Result<(), BenchError> {
    let mut moments: Vec<u64> = (0..HIGHS).map(|_| rng.u64(HIGH_MS)).collect();
    moments.sort_unstable();
    for (n, ms) in moments.into_iter().enumerate() {
        tokio::time::sleep_until(begun + Duration::from_millis(ms)).await;
        let high = High {
            posted: Posted {
                chat: chat(rng.u64(..CHATS)),
                text: format!("h{n}"),
                high: true,
            },
            at_ms: now_ms(),
        };
        let job = message(&high.posted.chat, &high.posted.text, "high");
        post(&relay, &[job]).await?;
        highs
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(high);
    }
    Ok(())
}

fn chat(n: u64) -> String {
    format!("oc_9500{n:028}")
}
