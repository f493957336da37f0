//! What a run came to: from the sandbox's ledger and from what was posted, and from nothing else.
//!
//! Pure, and knows nothing of how the relay counts: a window here is a whole second or minute of Feishu's clock.
//! `tests/limits` plants each breach and sees it found.

use std::collections::{BTreeMap, HashMap};

use serde_json::Value;

/// One message that people saw.
#[derive(Clone, Debug)]
pub(crate) struct Shown {
    pub(crate) seq: u64,
    /// Feishu's time.
    pub(crate) at_ms: i64,
    pub(crate) app: String,
    pub(crate) chat: String,
    pub(crate) text: String,
}

/// A message that was asked for; those of one chat and rank are in order.
#[derive(Clone, Debug)]
pub(crate) struct Posted {
    pub(crate) chat: String,
    pub(crate) text: String,
    /// May overtake those that are not.
    pub(crate) high: bool,
}

/// What is to be nought.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Faults {
    /// Not shown in its chat.
    pub(crate) lost: u64,
    /// Shown again.
    pub(crate) doubled: u64,
    /// Shown before one of its chat that was posted earlier.
    pub(crate) out_of_order: u64,
    /// Shown, and nobody asked for it there.
    pub(crate) unasked: u64,
}

/// One whole minute of Feishu's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Minute {
    pub(crate) calls: u64,
    pub(crate) fullest_second: u64,
}

/// What another bot left of a group's places, and what was made of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Room {
    pub(crate) left: u64,
    pub(crate) used: u64,
}

/// The messages among `effects`.
pub(crate) fn shown(effects: &[Value]) -> Vec<Shown> {
    let messages = effects
        .iter()
        .filter(|effect| effect["effect"] == "message");
    let one = |effect: &Value| {
        let word = |name: &str| effect[name].as_str().unwrap_or_default().to_owned();
        let content: Value = serde_json::from_str(&word("content")).unwrap_or_default();
        Shown {
            seq: effect["seq"].as_u64().unwrap_or(0),
            at_ms: effect["at"].as_i64().unwrap_or(0),
            app: word("app_id"),
            chat: word("chat_id"),
            text: content["text"].as_str().unwrap_or_default().to_owned(),
        }
    };
    messages.map(one).collect()
}

/// Compares what was asked for with what was shown.
pub(crate) fn faults(posted: &[Posted], shown: &[Shown]) -> Faults {
    let mut seen: HashMap<(&str, &str), Vec<u64>> = HashMap::new();
    for one in shown {
        let seqs = seen.entry((&one.chat, &one.text)).or_default();
        seqs.push(one.seq);
    }
    let mut faults = Faults::default();
    let mut latest: HashMap<(&str, bool), u64> = HashMap::new();
    for one in posted {
        let Some(seqs) = seen.remove(&(one.chat.as_str(), one.text.as_str())) else {
            faults.lost += 1;
            continue;
        };
        faults.doubled += count(seqs.len() - 1);
        let latest = latest.entry((&one.chat, one.high)).or_default();
        faults.out_of_order += u64::from(seqs[0] < *latest);
        *latest = seqs[0].max(*latest);
    }
    faults.unasked = seen.values().map(|seqs| count(seqs.len())).sum();
    faults
}

/// The shortest time in which so many calls fit into 1000 of any 60 s and 50 of any second.
pub(crate) fn best_ms(calls: u64) -> u64 {
    let whole = calls.saturating_sub(1) / 1000;
    let rest = calls - 1000 * whole;
    60_000 * whole + 20 * rest
}

/// The whole minutes between the first and the last of `times`, the two that hold these left out.
pub(crate) fn minutes(times: &[i64]) -> Vec<Minute> {
    let mut seconds: BTreeMap<i64, u64> = BTreeMap::new();
    for at in times {
        *seconds.entry(at.div_euclid(1000)).or_default() += 1;
    }
    let minute = |second: Option<&i64>| second.map_or(0, |second| second.div_euclid(60));
    let last = minute(seconds.keys().next_back());
    let whole = (minute(seconds.keys().next()) + 1)..last;
    whole
        .map(|minute| {
            let within = seconds.range(60 * minute..60 * (minute + 1));
            let counts = within.map(|(_, count)| *count);
            Minute {
                calls: counts.clone().sum(),
                fullest_second: counts.max().unwrap_or(0),
            }
        })
        .collect()
}

/// Of `places` in each of Feishu's seconds from `from_s` to `to_s`, those that `his` calls left, and `ours` in them.
pub(crate) fn room(places: u64, ours: &[i64], his: &[i64], from_s: i64, to_s: i64) -> Room {
    let within = |times: &[i64], second: i64| {
        count(
            times
                .iter()
                .filter(|at| at.div_euclid(1000) == second)
                .count(),
        )
    };
    let mut room = Room::default();
    for second in from_s..to_s {
        room.left += places.saturating_sub(within(his, second));
        room.used += within(ours, second);
    }
    room
}

/// Median and worst of `waits`; none of none.
pub(crate) fn median_and_worst(mut waits: Vec<i64>) -> Option<(i64, i64)> {
    waits.sort_unstable();
    Some((*waits.get(waits.len() / 2)?, *waits.last()?))
}

pub(crate) fn count(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}
