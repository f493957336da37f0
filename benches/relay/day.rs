//! The rows of a simulated day (`dispatch::trial::day`): bursts, a hot chat, batch notices, urgent words.
//!
//! It runs in virtual time and comes out the same on every machine; what differs from run to run is the seed.

use feishu_relay::bench::day;

use crate::common::process::BenchError;
use crate::common::quiet::Beside;
use crate::report::{Goal, Row};
use crate::rows::Bench;

const DAY_MINUTES: i64 = 24 * 60;
/// A look is a morning.
const QUICK_MINUTES: i64 = 90;

/// One seed a run.
pub(crate) fn rows(bench: &Bench) -> Result<Vec<Row>, BenchError> {
    let row = |name: &str, unit, against, goal| {
        let name = format!("a simulated day: {name}");
        Row::new(name, unit, against, goal)
    };
    let mut drained = row(
        "all backlogs drained",
        "s",
        "oracle",
        Goal::ShareAtMost(1.10),
    );
    let mut slowest = row(
        "the slowest of them, of the oracle's time",
        "×",
        "",
        Goal::AtMost(1.10),
    );
    let mut refused = row("refused, in the worst phase", "%", "", Goal::AtMost(0.1));
    let mut waits = Vec::new();
    let minutes = if bench.quick {
        QUICK_MINUTES
    } else {
        DAY_MINUTES
    };
    for seed in (1..).take(bench.runs) {
        let day = day(seed, minutes);
        let quiet = [Beside::default()];
        let seconds = |ms: i64| ms as f64 / 1000.0;
        let (best_ms, relay_ms) = day.drains.iter().fold((0, 0), |(best, relay), drain| {
            (best + drain.best_ms, relay + drain.relay_ms)
        });
        drained.add(Some(seconds(best_ms)), seconds(relay_ms), &quiet);
        let shares = day
            .drains
            .iter()
            .map(|drain| drain.relay_ms as f64 / drain.best_ms as f64);
        slowest.add(None, shares.fold(1.0, f64::max), &quiet);
        let share = f64::from(day.refused) / day.calls.max(1) as f64;
        refused.add(None, share * 100.0, &quiet);
        waits.resize_with(day.waits.len(), || None);
        for (row_of, wait) in waits.iter_mut().zip(&day.waits) {
            let name = format!("the longest wait of {}", wait.priority);
            // What is urgent waits for nothing if the oracle serves it.
            let goal = match wait.best_ms {
                0 => Goal::MoreAtMost(1.0),
                _ => Goal::Share,
            };
            let row = row_of.get_or_insert_with(|| row(&name, "s", "oracle", goal));
            row.add(Some(seconds(wait.best_ms)), seconds(wait.worst_ms), &quiet);
        }
    }
    let mut rows = vec![drained, slowest, refused];
    rows.extend(waits.into_iter().flatten());
    Ok(rows)
}
