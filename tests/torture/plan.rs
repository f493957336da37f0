//! A plan follows from its seed, and has everything in it that the relay must stand.

use std::collections::HashSet;

use crate::harness::plan::*;

#[test]
fn a_seed_gives_one_plan_and_another_seed_another() {
    let text = |seed| format!("{:?}", plan(seed, 20));
    assert_eq!(text(7), text(7));
    assert_ne!(text(7), text(8));
}

#[test]
fn every_job_has_a_marker_of_its_own_and_children_of_different_kinds() {
    let mut markers = HashSet::new();
    for request in plan(3, 50).requests.iter().flatten() {
        assert!(!request.jobs.is_empty());
        for job in &request.jobs {
            assert!(markers.insert(job.marker.clone()));
            assert_eq!(job.key.is_some(), request.keyed);
            let kinds: HashSet<&str> = job.then.iter().map(|child| child.kind.name()).collect();
            assert_eq!(kinds.len(), job.then.len());
        }
    }
    assert!(markers.len() > 200, "{}", markers.len());
}

#[test]
fn a_plan_has_everything_in_it() {
    let plan = plan(1, 400);
    let text = format!("{plan:?}");
    for word in [
        "Start",
        "Acks",
        "Calls",
        "Wall",
        "Reboot",
        "outage: true",
        "Retry",
        "Recall",
        "Cancel",
        "SettleFailed",
        "Image",
        "Batch {",
        "UrgentPhone",
        "BatchRecall",
        "\"drop\"",
        "\"resend\"",
        "lane-2",
        "\"reset\"",
        "\"5xx\"",
        "\"429\"",
        "\"cut\"",
        "\"delay\"",
        "\"code\"",
    ] {
        assert!(text.contains(word), "no {word}");
    }
}

#[test]
fn no_fault_denies_what_feishu_did() {
    for round in plan(5, 500).rounds {
        for rule in round.faults.as_array().unwrap() {
            if rule["do"] == "429" || rule["do"] == "code" {
                assert_eq!(rule["when"], "before", "{rule}");
            }
        }
    }
}
