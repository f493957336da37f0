//! The windows against a Feishu that counts each call anywhere between its send and its answer.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

const SMALL: Limits = Limits {
    app_minute: 40,
    app_second: 6,
    chat_second: 3,
    user_second: 2,
};

/// One thing that happens, some microseconds after the one before.
#[derive(Debug, Clone)]
enum Step {
    Ask {
        app: usize,
        which: usize,
        high: bool,
    },
    /// The `nth` open call is answered; Feishu counted it `at` per mille of the way.
    Answer {
        nth: usize,
        at: i64,
    },
    /// It never left.
    Refund {
        nth: usize,
    },
    Limited {
        app: usize,
        which: usize,
    },
    Prune,
}

fn step() -> impl Strategy<Value = (i64, Step)> {
    let gap = prop_oneof![6 => 0..2_000_i64, 4 => 0..200_000_i64, 1 => 0..20_000_000_i64];
    let step = prop_oneof![
        10 => (0..3_usize, 0..NAMES.len(), prop::bool::weighted(0.2))
            .prop_map(|(app, which, high)| Step::Ask { app, which, high }),
        7 => (0..8_usize, prop_oneof![Just(0), Just(1_000), 0..1_000_i64])
            .prop_map(|(nth, at)| Step::Answer { nth, at }),
        1 => (0..8_usize).prop_map(|nth| Step::Refund { nth }),
        1 => (0..3_usize, 0..NAMES.len()).prop_map(|(app, which)| Step::Limited { app, which }),
        1 => Just(Step::Prune),
    ];
    (gap, step)
}

/// API, address, and the chat it turns out to be.
const NAMES: [(Api, &str, &str); 6] = [
    (Api::SendMessage, "oc_a", "oc_a"),
    (Api::SendMessage, "ou_a", "oc_a"),
    (Api::SendMessage, "om_a", "oc_a"),
    (Api::SendMessage, "oc_b", "oc_b"),
    (Api::Pin, "om_x", ""),
    (Api::Unpin, "om_x", ""),
];
const TENANTS: [usize; 3] = [0, 0, 1];

fn ask_of(app: usize, which: usize, high: bool) -> Ask<'static> {
    let (api, name, chat) = NAMES[which];
    let (receiver, message) = if chat.is_empty() {
        (None, Some(name))
    } else {
        (Some(name), None)
    };
    Ask {
        app,
        api,
        receiver,
        message,
        high,
        weight: 1,
    }
}

/// A call as Feishu saw it, in the order of taking; times in microseconds.
#[derive(Debug, Clone, Copy)]
struct Seen {
    app: usize,
    which: usize,
    at: i64,
    /// The steps at which it was taken, and from which its address was known to be its chat.
    taken: usize,
    known_from: usize,
}

/// Runs the steps and returns what Feishu counted. Calls still open at the end are counted there.
fn run(steps: &[(i64, Step)]) -> Vec<Seen> {
    let mut pace = Pace::new(TENANTS.map(|tenant| (TenantIx(tenant), SMALL)).to_vec());
    let mut seen: Vec<Option<Seen>> = Vec::new();
    let mut open: Vec<(usize, i64, Hold)> = Vec::new();
    let mut known = [[usize::MAX; NAMES.len()]; TENANTS.len()];
    let mut us = 0;
    for (taken, (gap, step)) in steps.iter().enumerate() {
        us += gap;
        let now = us / 1_000;
        match *step {
            Step::Ask { app, which, high } => {
                let ask = ask_of(app, which, high);
                let earliest = pace.earliest(&ask, now);
                let hold = pace.take(&ask, now);
                assert_eq!(hold.is_some(), earliest == Earliest::Now);
                if let Some(hold) = hold {
                    open.push((seen.len(), us, hold));
                    let known_from = usize::MAX;
                    seen.push(Some(Seen {
                        app,
                        which,
                        at: us,
                        taken,
                        known_from,
                    }));
                }
            }
            Step::Answer { nth, at } if nth < open.len() => {
                let (ix, sent, hold) = open.remove(nth);
                let call = seen[ix].as_mut().unwrap();
                call.at = sent + (us - sent) * at / 1_000;
                let (_, name, chat) = NAMES[call.which];
                pace.answered(hold, now);
                pace.learn_chat(call.app, name, chat, now);
                known[call.app][call.which] = known[call.app][call.which].min(taken);
            }
            Step::Refund { nth } if nth < open.len() => {
                let (ix, _, hold) = open.remove(nth);
                seen[ix] = None;
                pace.refund(hold);
            }
            Step::Limited { app, which } => {
                let ask = ask_of(app, which, false);
                pace.limited(&ask, BucketKind::Receiver, now + 300, now);
            }
            Step::Prune => pace.prune(now),
            Step::Answer { .. } | Step::Refund { .. } => {}
        }
    }
    for (ix, _, _) in &open {
        seen[*ix].as_mut().unwrap().at = us;
    }
    for call in seen.iter_mut().flatten() {
        let (_, name, chat) = NAMES[call.which];
        call.known_from = if name == chat || chat.is_empty() {
            0
        } else {
            known[call.app][call.which]
        };
    }
    seen.into_iter().flatten().collect()
}

/// No call was one too many: no stretch of `len_ms` around it holds `cap` calls that were taken
/// before it under what was its name by then.
fn never_over(calls: &[Seen], len_ms: i64, cap: usize) -> bool {
    let len = len_ms * 1_000;
    calls.iter().enumerate().all(|(ix, call)| {
        let shares = |other: &&Seen| call.known_from.max(other.known_from) <= call.taken;
        let mut times: Vec<i64> = calls[..ix]
            .iter()
            .filter(shares)
            .map(|other| other.at)
            .collect();
        times.push(call.at);
        times.sort_unstable();
        let starts = times
            .iter()
            .filter(|from| (call.at - len + 1..=call.at).contains(*from));
        starts.into_iter().all(|from| {
            times
                .iter()
                .filter(|at| (*from..from + len).contains(*at))
                .count()
                <= cap
        })
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_stretch_of_any_window_is_overfull_by_feishus_clock(steps in prop::collection::vec(step(), 1..400)) {
        let seen = run(&steps);
        let mut by_api: BTreeMap<(usize, Api), Vec<Seen>> = BTreeMap::new();
        let mut by_name: BTreeMap<(usize, &str), Vec<Seen>> = BTreeMap::new();
        for call in &seen {
            let (api, name, chat) = NAMES[call.which];
            by_api.entry((call.app, api)).or_default().push(Seen { known_from: 0, ..*call });
            let name = if chat.is_empty() { name } else { chat };
            by_name.entry((TENANTS[call.app], name)).or_default().push(*call);
        }
        for calls in by_api.values() {
            prop_assert!(never_over(calls, 60_000, 40), "minute: {calls:?}");
            prop_assert!(never_over(calls, 1_000, 6), "second: {calls:?}");
        }
        for ((_, name), calls) in &by_name {
            let cap = if *name == "om_x" { 5 } else { 3 };
            prop_assert!(never_over(calls, 1_000, cap), "{name}: {calls:?}");
        }
    }

    #[test]
    fn no_clock_makes_it_panic_or_wait_longer_than_one_length(
        steps in prop::collection::vec((any::<i64>(), step()), 1..100),
        end in -1_000_000_000_000_000..1_000_000_000_000_000_i64,
    ) {
        let mut pace = Pace::new(TENANTS.map(|tenant| (TenantIx(tenant), SMALL)).to_vec());
        let mut open = Vec::new();
        for (now, (_, step)) in steps {
            match step {
                Step::Ask { app, which, high } => open.extend(pace.take(&ask_of(app, which, high), now)),
                Step::Answer { .. } => {
                    if let Some(hold) = open.pop() {
                        pace.answered(hold, now);
                    }
                }
                Step::Refund { .. } => {
                    if let Some(hold) = open.pop() {
                        pace.refund(hold);
                    }
                }
                Step::Limited { app, which } => {
                    pace.limited(&ask_of(app, which, false), BucketKind::Receiver, now.saturating_add(300), now);
                }
                Step::Prune => {
                    pace.prune(now);
                    pace.floor(now);
                }
            }
        }
        open.into_iter().for_each(|hold| pace.answered(hold, end));
        for which in 0..NAMES.len() {
            let ask = ask_of(0, which, true);
            if let Earliest::At { ms, .. } = pace.earliest(&ask, end) {
                prop_assert!(ms <= end + 60_001, "{ms} after {end}");
            }
            prop_assert_eq!(pace.earliest(&ask, end + 60_001), Earliest::Now);
        }
    }
}
