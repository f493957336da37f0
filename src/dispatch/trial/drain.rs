//! 9500 messages to 1000 chats, as fast as Feishu lets them.

use super::*;

const MESSAGES: u32 = 9500;
const CHATS: i64 = 1000;
/// Nine whole minutes of 1000, and the last 500 at 50 a second.
const BEST_MS: i64 = 9 * 60_000 + 10_000;

/// What Feishu saw of a run.
struct Drained {
    seen: Vec<Seen>,
    high: Vec<i64>,
}

/// `every_ms`: so often one `high` message comes in, to any of the chats.
fn drain(seed: u64, trip_ms: i64, every_ms: Option<i64>) -> Drained {
    let mut trial = Trial::new(seed, trip_ms);
    for _ in 0..MESSAGES {
        let chat = trial.dice.roll(1, CHATS);
        trial.add(Kind::Send, &format!("oc_{chat}"), Priority::Normal);
    }
    let mut high = Vec::new();
    while let Some(every_ms) = every_ms.filter(|_| !trial.table.is_empty()) {
        let until = trial.now + trial.dice.roll(every_ms / 2, 3 * every_ms / 2);
        trial.run(until);
        let chat = trial.dice.roll(1, CHATS);
        high.push(trial.add(Kind::Send, &format!("oc_{chat}"), Priority::High));
    }
    trial.run(i64::MAX);
    assert_eq!(trial.seen.len(), MESSAGES as usize + high.len());
    Drained {
        seen: trial.seen,
        high,
    }
}

/// Calls that a Feishu of fixed windows would have refused, whatever their phase.
fn refusals(seen: &[Seen]) -> u32 {
    let mut chats: HashMap<&str, Vec<i64>> = HashMap::new();
    for one in seen {
        chats.entry(&one.lane).or_default().push(one.at_ms);
    }
    let all: Vec<i64> = seen.iter().map(|one| one.at_ms).collect();
    let (minute, over_minute) = refused(all.clone(), 60_000, 1000);
    let (second, over_second) = refused(all, 1000, 50);
    let (chat, over_chat) = chats
        .into_values()
        .map(|times| refused(times, 1000, 5))
        .fold((0, 0), |a, b| (a.0.max(b.0), a.1 + b.1));
    println!("  fullest minute {minute} of 1000, second {second} of 50, chat {chat} of 5");
    over_minute + over_second + over_chat
}

#[test]
fn a_thousand_chats_are_served_in_hardly_more_than_the_best_time_and_none_is_refused() {
    for (seed, trip_ms) in [(4, 60), (5, 400)] {
        let drained = drain(seed, trip_ms, None);
        let total_ms = drained.seen.iter().map(|one| one.at_ms).max().unwrap();
        let refused = refusals(&drained.seen);
        let ratio = total_ms as f64 / BEST_MS as f64;
        println!(
            "seed {seed}, up to {trip_ms} ms there and back: {:.1} s, {ratio:.3} of the best; {refused} refused",
            total_ms as f64 / 1000.0
        );
        assert_eq!(refused, 0);
        assert!(ratio <= 1.10, "{ratio}");
    }
}

#[test]
fn a_high_message_leaves_within_a_second_at_any_moment_of_it() {
    let drained = drain(6, 60, Some(2_000));
    let waits = drained
        .seen
        .iter()
        .filter(|one| drained.high.contains(&one.seq));
    let waits: Vec<i64> = waits.map(|one| one.sent_ms - one.added_ms).collect();
    let longest = waits.iter().max().unwrap();
    println!(
        "{} high messages, the longest wait {longest} ms",
        waits.len()
    );
    assert_eq!(refusals(&drained.seen), 0);
    assert!(waits.len() > 200 && *longest <= 1_000, "{longest}");
}
