//! Any calls, ends, reads and waits: what a breaker lets through, held against rules that know nothing of
//! how it counts. `cargo test -- --nocapture breaker::property` prints how much that was.

use std::sync::atomic::{AtomicUsize, Ordering};

use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone, Copy)]
enum Step {
    /// Somebody wants to go.
    Ask {
        dup: bool,
    },
    /// The `nth` call under way ends.
    End {
        nth: usize,
        event: BreakerEvent,
    },
    ReadOk,
    Look,
}

/// So many of some forty ends are answers.
fn step(answers: u32) -> impl Strategy<Value = (i64, Step)> {
    let gap =
        prop_oneof![4 => 0..50_i64, 4 => 0..3_000_i64, 3 => 0..40_000_i64, 1 => 0..400_000_i64];
    let answer = match answers {
        0 => BreakerEvent::Unknown,
        _ => BreakerEvent::Ok,
    };
    let event = prop_oneof![
        answers.max(1) => Just(answer),
        20 => Just(BreakerEvent::Unknown),
        20 => Just(BreakerEvent::NotSent),
        2 => Just(BreakerEvent::None),
    ];
    let step = prop_oneof![
        10 => prop::bool::weighted(0.3).prop_map(|dup| Step::Ask { dup }),
        8 => (0..4_usize, event).prop_map(|(nth, event)| Step::End { nth, event }),
        2 => Just(Step::ReadOk),
        1 => Just(Step::Look),
    ];
    (gap, step)
}

/// A call that went.
#[derive(Debug, Clone, Copy)]
struct Call {
    went_ms: i64,
    probe: bool,
}

/// What is known from outside.
#[derive(Debug, Default)]
struct Trace {
    /// Ends since the last answer.
    ends: Vec<BreakerEvent>,
    /// Of this outage: when probes went, how many of them failed, and since when nothing may go.
    probes: Vec<i64>,
    failed: u32,
    rest_from: i64,
    reads: usize,
    dup_probes: Vec<i64>,
}

impl Trace {
    /// Three in a row that the trigger counts; a loss breaks a row of calls that never left.
    fn is_open(&self, trigger: Trigger) -> bool {
        let (counts, breaks) = match trigger {
            Trigger::Unknown => (BreakerEvent::Unknown, None),
            Trigger::NotSent => (BreakerEvent::NotSent, Some(BreakerEvent::Unknown)),
        };
        let rows = self.ends.split(|end| Some(*end) == breaks);
        let mut lengths = rows.map(|row| row.iter().filter(|end| **end == counts).count());
        lengths.any(|length| length >= 3)
    }

    /// A probe of this outage; one of an earlier outage is a call like any other.
    fn is_ours(&self, call: &Call) -> bool {
        call.probe && self.probes.contains(&call.went_ms)
    }

    fn gap_ms(&self) -> i64 {
        [1_000, 2_000, 4_000, 8_000, 16_000, 30_000][self.failed.min(5) as usize]
    }
}

static PROBES: AtomicUsize = AtomicUsize::new(0);
static CALLS: AtomicUsize = AtomicUsize::new(0);

fn run(trigger: Trigger, steps: &[(i64, Step)]) -> Result<(), TestCaseError> {
    let mut breaker = Breaker::new(trigger);
    let mut trace = Trace::default();
    let mut under_way: Vec<Call> = Vec::new();
    let mut now = 1_000_000;
    for (gap, step) in steps {
        now += gap;
        let was_open = trace.is_open(trigger);
        prop_assert_eq!(breaker.is_open(), was_open);
        match *step {
            Step::Ask { dup } => {
                let gate = breaker.allows(dup, now);
                let probing = under_way
                    .iter()
                    .any(|call| trace.is_ours(call) && now < call.went_ms + PROBE_LOST_MS);
                let rested = now >= trace.rest_from + trace.gap_ms();
                let dup_rested = trace.dup_probes.last().is_none_or(|ms| now >= ms + 300_000);
                let may = match dup {
                    false => rested && !probing,
                    true => rested && !probing && trace.reads > 0 && dup_rested,
                };
                match gate {
                    Gate::Open => prop_assert!(!was_open),
                    // Neither sooner than it may, nor later.
                    Gate::Probe => prop_assert!(was_open && may, "{trace:?}"),
                    Gate::AfterRead => prop_assert!(was_open && dup && trace.reads == 0),
                    Gate::Closed { until_ms } => {
                        prop_assert!(was_open && !may, "{trace:?}");
                        prop_assert!(until_ms > now);
                    }
                }
                let probe = gate == Gate::Probe;
                if probe {
                    breaker.probe_started(dup, now);
                    trace.probes.push(now);
                    if dup {
                        trace.dup_probes.push(now);
                        trace.reads = 0;
                    }
                    PROBES.fetch_add(1, Ordering::Relaxed);
                }
                if matches!(gate, Gate::Open | Gate::Probe) {
                    CALLS.fetch_add(1, Ordering::Relaxed);
                    under_way.push(Call {
                        went_ms: now,
                        probe,
                    });
                }
            }
            Step::End { nth, event } if nth < under_way.len() => {
                let call = under_way.remove(nth);
                // A probe that was given up for another one says nothing any more.
                let probe = call.probe && trace.probes.last() == Some(&call.went_ms);
                if trace.is_ours(&call) && !probe {
                    continue;
                }
                breaker.ended(event, probe, now);
                if event == BreakerEvent::Ok {
                    let dup_probes = std::mem::take(&mut trace.dup_probes);
                    trace = Trace {
                        dup_probes,
                        ..Trace::default()
                    };
                    prop_assert_eq!(breaker.allows(true, now), Gate::Open);
                    continue;
                }
                trace.ends.push(event);
                if probe {
                    trace.failed += u32::from(event != BreakerEvent::None);
                    trace.rest_from = now;
                } else if !was_open && trace.is_open(trigger) {
                    trace.rest_from = now;
                    trace.reads = 0;
                }
            }
            Step::ReadOk => {
                breaker.read_ok();
                trace.reads += usize::from(was_open);
            }
            Step::End { .. } | Step::Look => {}
        }
        for (len_ms, most) in [(60_000, 7), (600_000, 26)] {
            let recent = trace.probes.iter().filter(|ms| **ms > now - len_ms).count();
            prop_assert!(recent <= most, "{recent} in {len_ms} ms: it hammers");
        }
    }
    Ok(())
}

#[test]
fn it_opens_after_three_probes_one_at_a_time_and_closes_at_any_answer() {
    let config = ProptestConfig {
        cases: 500,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    let steps = || prop::collection::vec(step(4), 1..300);
    let outage = || prop::collection::vec(step(0), 1..300);
    proptest!(config, |(steps in steps(), outage in outage())| {
        for trigger in [Trigger::Unknown, Trigger::NotSent] {
            run(trigger, &steps)?;
            run(trigger, &outage)?;
        }
    });
    println!(
        "{} calls, {} of them probes",
        CALLS.load(Ordering::Relaxed),
        PROBES.load(Ordering::Relaxed)
    );
}
