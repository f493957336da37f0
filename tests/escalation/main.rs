//! Escalations from a seed: reads, reactions, acks, ends, outages, lost answers and kills, and the four rules after
//! each run.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on should stop here"
)]

mod judge;
mod run;
#[path = "../support/mod.rs"]
mod support;

use judge::{Got, Round, Run, Rung, Story, planted};

/// Runs the seed and judges it; then breaks each rule once in what was seen, and wants that found.
async fn hold(seed: u64) {
    let run = run::run(seed).await;
    let breaches = run.breaches();
    assert!(breaches.is_empty(), "seed {seed}: {breaches:#?}\n{run:#?}");
    assert!(
        run.got.len() >= 5,
        "seed {seed}: nobody was called: {run:#?}"
    );
    for (rule, broken) in planted(&run) {
        let found = broken.breaches();
        assert!(
            found.iter().any(|breach| breach.starts_with(rule)),
            "seed {seed}: a breach of rule {rule} is not found, but {found:#?}"
        );
    }
}

#[tokio::test]
async fn escalations_of_one_seed_keep_the_four_rules() {
    hold(1).await;
}

#[tokio::test]
async fn escalations_of_another_seed_keep_the_four_rules() {
    hold(2).await;
}

#[tokio::test]
async fn escalations_of_a_third_seed_keep_the_four_rules() {
    hold(3).await;
}

#[test]
fn the_judge_finds_each_breach_and_nothing_where_there_is_none() {
    const MINUTE: i64 = 60_000;
    let rung = |after: i64, urgent| Rung {
        after_ms: after * MINUTE,
        urgent,
        to: vec![String::from("a"), String::from("b")],
    };
    let got = |at: i64, urgent: &str| Got {
        at_ms: at * MINUTE + 900,
        message: String::from("om_1"),
        urgent: urgent.to_owned(),
        users: vec![String::from("a"), String::from("b")],
    };
    let round = Round {
        from_ms: 0,
        stopping_ms: Some(25 * MINUTE),
        stopped_ms: Some(25 * MINUTE),
        read: Vec::new(),
        reacted_ms: None,
    };
    let run = Run {
        rungs: vec![
            rung(5, "urgent_app"),
            rung(15, "urgent_sms"),
            rung(20, "urgent_phone"),
        ],
        stories: vec![Story {
            message: String::from("om_1"),
            rounds: vec![round],
            marks: vec![5 * MINUTE, 15 * MINUTE, 20 * MINUTE],
        }],
        got: vec![
            got(5, "urgent_app"),
            got(15, "urgent_sms"),
            got(20, "urgent_phone"),
        ],
        away: Vec::new(),
        lossy: Vec::new(),
        slow_ms: 0,
        end_ms: 60 * MINUTE,
    };
    assert_eq!(run.breaches(), [""; 0]);
    let broken = planted(&run);
    assert_eq!(broken.len(), 8);
    for (rule, broken) in broken {
        let found = broken.breaches();
        assert!(
            found.iter().any(|breach| breach.starts_with(rule)),
            "rule {rule}: {found:#?}"
        );
    }
}
