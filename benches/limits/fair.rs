//! Long queues, and a first message to a chat that has none.

use std::path::Path;
use std::time::Duration;

use fastrand::Rng;
use serde_json::{Value, json};

use super::house::{House, message, now_ms, post};
use super::judge::{Posted, Shown, count, faults, median_and_worst};
use super::relay::BenchError;
use super::report::{Report, progress, seconds};

const CROWD: u64 = 200;
const EACH: u64 = 1000;
/// First messages behind the crowd, and how long each is waited for.
const FIRSTS: u64 = 20;
const PATIENCE: Duration = Duration::from_secs(180);
/// Between two of them, milliseconds.
const GAP_MS: std::ops::Range<u64> = 500..6_000;
/// Queued for one chat.
const LONG: u64 = 100_000;
/// Messages to other chats, without it and beside it.
const SINGLES: u64 = 100;
const SINGLE_GAP_MS: std::ops::Range<u64> = 100..300;
const DELAY_MS: i64 = 50;
/// The most jobs of one request.
const REQUEST: usize = 10_000;

/// Behind 200 chats of 1000 messages each: how many of theirs go before a first message to another chat?
pub(crate) async fn crowd(
    binary: &Path,
    seed: u64,
    report: &mut Report,
) -> Result<House, BenchError> {
    let mut rng = Rng::with_seed(seed);
    let crowd = |n: u64| format!("oc_2000{n:028}");
    let first = |n: u64| format!("oc_2001{n:028}");
    let chats = (0..CROWD).map(crowd).chain((0..FIRSTS).map(first));
    let mut house = House::open(binary, &world(chats)).await?;
    let jobs: Vec<Value> = (0..CROWD * EACH)
        .map(|n| message(&crowd(n % CROWD), &format!("m{n}"), "normal"))
        .collect();
    all(&house, &jobs).await?;
    let mut posted = Vec::new();
    for n in 0..FIRSTS {
        progress(&format!("{n} of {FIRSTS} first messages"));
        tokio::time::sleep(Duration::from_millis(rng.u64(GAP_MS))).await;
        let one = asked(first(n), format!("f{n}"));
        post(&house.client(), &[message(&one.chat, &one.text, "normal")]).await?;
        posted.push((one, now_ms()));
    }
    let there = |shown: &[Shown]| {
        count(shown.iter().filter(|one| one.text.starts_with('f')).count()) >= FIRSTS
    };
    house.until(PATIENCE, there).await?;
    let shown = house.shown();
    let before = |text: &str, since_ms: i64| {
        let late = shown.iter().skip_while(|one| one.at_ms < since_ms);
        count(late.take_while(|one| one.text != text).count())
    };
    let overtaken: Vec<u64> = posted
        .iter()
        .map(|(one, at_ms)| before(&one.text, *at_ms))
        .collect();
    let most = overtaken.iter().max().copied().unwrap_or(u64::MAX);
    let waits = posted.iter().filter_map(|(one, at_ms)| {
        let shown = shown.iter().find(|shown| shown.text == one.text)?;
        Some(shown.at_ms - at_ms)
    });
    let (_, longest) = median_and_worst(waits.collect()).unwrap_or((0, i64::MAX));
    report.goal(
        "crowd",
        json!({"most": most, "round": CROWD, "each": overtaken, "longest_ms": longest}),
        format!(
            "{FIRSTS} first messages behind {CROWD} chats x {EACH}: {most} of theirs before one at most (a round: \
             {CROWD}); the longest wait {}, most of it the minute's window",
            seconds(longest)
        ),
        most <= CROWD,
    );
    let firsts: Vec<Posted> = posted.into_iter().map(|(one, _)| one).collect();
    let lost = faults(&firsts, shown).lost;
    report.goal("crowd lost", lost, lost.to_string(), lost == 0);
    Ok(house)
}

/// Beside one chat with 100 000 queued: how much longer does a message to another chat take?
pub(crate) async fn long(
    binary: &Path,
    seed: u64,
    report: &mut Report,
) -> Result<House, BenchError> {
    let mut rng = Rng::with_seed(seed);
    let busy = format!("oc_1000{:028}", 0);
    let other = |n: u64| format!("oc_1001{n:028}");
    let chats = [busy.clone()]
        .into_iter()
        .chain((0..2 * SINGLES).map(other));
    let mut house = House::open(binary, &world(chats)).await?;
    let without = singles(&mut house, &mut rng, 0).await?;
    let jobs: Vec<Value> = (0..LONG)
        .map(|n| message(&busy, &format!("m{n}"), "normal"))
        .collect();
    all(&house, &jobs).await?;
    let beside = singles(&mut house, &mut rng, SINGLES).await?;
    let waits = |waits: Vec<i64>| median_and_worst(waits).unwrap_or((i64::MAX / 2, i64::MAX / 2));
    let ((before, worst_before), (after, worst)) = (waits(without), waits(beside));
    report.goal(
        "long",
        json!({"median_ms": after, "worst_ms": worst, "without_ms": before, "worst_without_ms": worst_before}),
        format!(
            "{SINGLES} messages beside one chat with {LONG} queued: {after} ms (median), {before} ms without it \
             (less than {DELAY_MS} ms more); at worst {worst} and {worst_before} ms"
        ),
        after - before < DELAY_MS,
    );
    Ok(house)
}

/// Posts single messages, each to a chat of its own, and says how long each took until people saw it.
async fn singles(house: &mut House, rng: &mut Rng, from: u64) -> Result<Vec<i64>, BenchError> {
    let mut posted = Vec::new();
    for n in from..from + SINGLES {
        progress(&format!("{} of {} messages", n, 2 * SINGLES));
        tokio::time::sleep(Duration::from_millis(rng.u64(SINGLE_GAP_MS))).await;
        let one = asked(format!("oc_1001{n:028}"), format!("f{n}"));
        let at_ms = now_ms();
        post(&house.client(), &[message(&one.chat, &one.text, "normal")]).await?;
        posted.push((one.text, at_ms));
    }
    let there = |shown: &[Shown]| {
        count(shown.iter().filter(|one| one.text.starts_with('f')).count()) >= from + SINGLES
    };
    house.until(PATIENCE, there).await?;
    let wait = |(text, at_ms): &(String, i64)| {
        let shown = house.shown().iter().find(|one| one.text == *text)?;
        Some(shown.at_ms - at_ms)
    };
    let waits: Vec<i64> = posted.iter().filter_map(wait).collect();
    match waits.len() == posted.len() {
        true => Ok(waits),
        false => Err(BenchError::Answer(format!(
            "of {} messages only {} were shown",
            posted.len(),
            waits.len()
        ))),
    }
}

async fn all(house: &House, jobs: &[Value]) -> Result<(), BenchError> {
    for (n, some) in jobs.chunks(REQUEST).enumerate() {
        progress(&format!("{} of {} posted", n * REQUEST, jobs.len()));
        post(&house.client(), some).await?;
    }
    Ok(())
}

fn asked(chat: String, text: String) -> Posted {
    Posted {
        chat,
        text,
        high: false,
    }
}

fn world(chats: impl Iterator<Item = String>) -> Value {
    let chats: Vec<Value> = chats.map(|id| json!({"chat_id": id})).collect();
    json!({"chats": chats})
}
