//! Crashes amid slow calls: no window is overfull by Feishu's clock, whatever the next process can know.

use feishu_im::Api;

use super::super::core::Open;
use super::*;
use crate::job::Moment;
use crate::store::Past;

const CHATS: i64 = 400;
const PRIORITIES: [Priority; 4] = [
    Priority::High,
    Priority::Normal,
    Priority::Normal,
    Priority::Low,
];

/// A crash: what is under way stays under way at Feishu, and the next process has what is on disk.
fn crash(trial: &mut Trial, down_ms: i64) {
    let open: Vec<Open> = trial
        .sending
        .values()
        .map(|(head, sent_ms)| Open {
            head: head.clone(),
            mark_ms: sent_ms - MARK_MS,
        })
        .collect();
    trial.events.clear();
    trial.ends.clear();
    trial.now += down_ms;
    let since_s = (trial.now - 61_000 - TIMEOUT_MS).div_euclid(1000);
    let mut seconds: BTreeMap<(AppId, i64), u32> = BTreeMap::new();
    for one in &trial.seen {
        let second = (one.sent_ms - MARK_MS).div_euclid(1000);
        *seconds.entry((APP, second)).or_default() += 1;
    }
    let past: Vec<Past> = seconds
        .into_iter()
        .filter(|((_, second), _)| *second >= since_s)
        .map(|((app, second), calls)| Past {
            app,
            api: Api::SendMessage,
            bot: None,
            second,
            calls,
        })
        .collect();
    for (_, (head, sent_ms)) in std::mem::take(&mut trial.sending) {
        let unknown = Moment {
            wall_ms: sent_ms,
            boot_ms: sent_ms,
            boot_id: "boot".into(),
        };
        trial.stands(Head {
            tried: true,
            due_ms: trial.now,
            unknown: Some(unknown),
            ..head
        });
    }
    trial.core = Core::new(trial.core.apps.clone());
    let (past, open, now) = (&past, &open, trial.now);
    trial.core.start(past, open, &[], now, now);
}

/// Runs a crowd through crashes and returns how many calls a Feishu of fixed windows would refuse.
fn through(seed: u64, trip_ms: i64, crashes: usize) -> u32 {
    let mut trial = Trial::new(seed, trip_ms);
    let mut under_way = 0;
    for _ in 0..crashes {
        for _ in 0..1500 {
            let chat = trial.dice.roll(1, CHATS);
            let priority = PRIORITIES[trial.dice.roll(0, 3) as usize];
            trial.add(Kind::Send, &format!("oc_{chat}"), priority);
        }
        let until = trial.now + trial.dice.roll(500, 75_000);
        trial.run(until);
        under_way += trial.sending.len();
        let down_ms = trial.dice.roll(0, 3_000);
        crash(&mut trial, down_ms);
    }
    trial.run(i64::MAX);
    let all: Vec<i64> = trial.seen.iter().map(|one| one.at_ms).collect();
    let mut chats: HashMap<&str, Vec<i64>> = HashMap::new();
    for one in &trial.seen {
        chats.entry(&one.lane).or_default().push(one.at_ms);
    }
    let (minute, over_minute) = refused(all.clone(), 60_000, 1000);
    let (second, over_second) = refused(all, 1000, 50);
    let of_chats = chats.into_values().map(|times| refused(times, 1000, 5));
    let (chat, over_chat) = of_chats.fold((0, 0), |a, b| (a.0.max(b.0), a.1 + b.1));
    println!(
        "seed {seed}, up to {trip_ms} ms there and back: {} calls, {crashes} crashes with {under_way} under way; fullest minute {minute} of 1000, second {second} of 50, chat {chat} of 5",
        trial.seen.len()
    );
    over_minute + over_second + over_chat
}

#[test]
fn no_window_is_overfull_after_a_crash_amid_slow_calls() {
    for (seed, trip_ms) in [(21, 60), (22, 2_000), (23, 9_900), (24, 9_900), (25, 5_000)] {
        assert_eq!(through(seed, trip_ms, 12), 0, "seed {seed}");
    }
}
