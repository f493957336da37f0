//! Any jobs in any lanes, with any ends: each is served, in the order of its lane, one at a time.

use proptest::prelude::*;

use super::*;

/// How the attempts of a job end, by its number: so often again first.
fn ends(head: &Head, sent_ms: i64) -> End {
    let again = head.weight;
    if again == 1 {
        return End::Done;
    }
    let tried = Head {
        tried: true,
        due_ms: sent_ms + 700,
        weight: again - 1,
        ..head.clone()
    };
    let outcome = match again % 3 {
        0 => Outcome::Limited,
        1 => Outcome::Refused,
        _ => Outcome::NotSent,
    };
    End::Again(Box::new(tried), outcome)
}

#[derive(Debug, Clone)]
struct Job {
    gap_ms: i64,
    lane: usize,
    priority: Priority,
    /// Attempts it takes.
    attempts: u32,
    /// It waits so long for another job before it stands in its lane.
    stands_ms: i64,
    due_ms: i64,
}

fn job() -> impl Strategy<Value = Job> {
    let priority = prop::sample::select(Priority::ALL.to_vec());
    let later = || prop_oneof![4 => Just(0), 1 => 0..3_000_i64];
    let gap = prop_oneof![3 => Just(0), 1 => 0..400_i64];
    (gap, 0..4_usize, priority, 1..4_u32, later(), later()).prop_map(
        |(gap_ms, lane, priority, attempts, stands_ms, due_ms)| Job {
            gap_ms,
            lane,
            priority,
            attempts,
            stands_ms,
            due_ms,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_job_is_served_once_in_the_order_of_its_lane(jobs in prop::collection::vec(job(), 1..60)) {
        let mut trial = Trial::new(1, 50);
        trial.answer = ends;
        trial.checked = true;
        let mut come: BTreeMap<i64, Vec<Head>> = BTreeMap::new();
        let mut now = 0;
        for job in &jobs {
            now += job.gap_ms;
            let mut head = trial.head(Kind::Send, &format!("oc_{}", job.lane), job.priority, now);
            head.weight = job.attempts;
            // As in the table: nobody stands in a lane before its time.
            head.due_ms = now + job.due_ms;
            let stands_ms = now + job.stands_ms.max(job.due_ms);
            come.entry(stands_ms).or_default().push(head);
        }
        for (at, heads) in come {
            trial.run(at);
            for head in heads {
                trial.comes(head);
            }
        }
        trial.run(i64::MAX);
        let wanted: u32 = jobs.iter().map(|job| job.attempts).sum();
        prop_assert_eq!(trial.seen.len(), wanted as usize);
        prop_assert!(trial.table.is_empty() && trial.sending.is_empty());
    }
}
