//! The report tells from what each doubt came.

use serde_json::json;

use crate::harness::check::{Breach, Sin, Verdict, Why};
use crate::harness::report::Report;
use crate::harness::run::Outcome;

/// A run that ended with this verdict.
fn outcome(verdict: Verdict) -> Outcome {
    Outcome {
        seed: 1,
        limits: true,
        planned: 1,
        kills: 1,
        starts: 2,
        reboots: 0,
        acts: 0,
        calls: 0,
        faulted: 0,
        limited: 0,
        effects: 0,
        moved_ms: 0,
        verdict,
        kept: None,
    }
}

#[test]
fn doubts_are_told_by_their_cause_and_one_without_a_cause_fails_the_run() {
    let mut report = Report::default();
    let doubts = [
        ("urgent_phone", Why::NoRepeat, 1),
        ("pin", Why::Stopped, 2),
        ("send", Why::Window, 4),
        ("send", Why::Stopped, 8),
        ("send", Why::Deadline, 16),
        ("send", Why::Refused, 32),
    ];
    for (kind, why, count) in doubts {
        let mut verdict = Verdict::default();
        verdict.doubts.insert((kind.to_owned(), why), count);
        report.add(&outcome(verdict));
    }
    let told = &report.json()["in_doubt_by_cause"];
    let expected = json!({"no_uuid": 3, "window_over": 4, "ended": 24, "refused": 32});
    assert_eq!(*told, expected);
    assert!(report.is_clean() && report.text().contains("24 sends, expired, canceled"));

    let mut verdict = Verdict::default();
    verdict.breaches.push(Breach {
        sin: Sin::Doubtful,
        says: String::new(),
    });
    report.add(&outcome(verdict));
    assert!(!report.is_clean());
    assert!(report.text().contains("otherwise"), "{}", report.text());
}
