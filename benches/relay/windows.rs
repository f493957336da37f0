//! The rows about Feishu's windows: how much of one app's minute is used, and of how many apps' at once.
//!
//! They take their minutes by the clock of the wall and hardly any of the machine, so they are not taken again
//! when others compute meanwhile.

use crate::common::process::BenchError;
use crate::common::quiet::Look;
use crate::report::{Goal, Row};
use crate::rows::Bench;
use crate::town::{TRIP_MS, measure};

/// What Feishu lets an app call in a minute.
const MINUTE: f64 = 1000.0;
/// What is to be used of it.
const SHARE: f64 = 0.95;

/// One app with a backlog: what it uses of its minute.
pub(crate) fn windows(bench: &Bench) -> Result<Vec<Row>, BenchError> {
    let mut used = Row::new(
        format!("Feishu's minute used, the least of a backlog's, {TRIP_MS} ms there and back"),
        "calls",
        "window",
        Goal::ShareAtLeast(SHARE),
    );
    let mut refused = Row::new(
        String::from("… refused for its windows"),
        "%",
        "",
        Goal::AtMost(0.1),
    );
    let minutes = if bench.quick { 1 } else { 3 };
    for _ in 0..bench.runs {
        let look = Look::now();
        let seen = measure(bench, 1, minutes)?;
        let beside = [look.since()];
        used.add(Some(MINUTE), seen.least as f64, &beside);
        refused.add(None, seen.refused_percent, &beside);
    }
    Ok(vec![used, refused])
}

/// Ever more apps, each with a backlog, until one of them falls behind.
pub(crate) fn apps(bench: &Bench) -> Result<Vec<Row>, BenchError> {
    const LADDER: [u32; 9] = [1, 5, 10, 20, 40, 80, 120, 160, 240];
    const QUICK: [u32; 2] = [1, 10];
    let ladder = match bench.quick {
        true => &QUICK[..],
        false => &LADDER[..],
    };
    let mut rows = Vec::new();
    for apps in ladder {
        let look = Look::now();
        let seen = measure(bench, *apps, 1)?;
        let beside = [look.since()];
        let row = |what: &str, unit, against, goal| {
            Row::new(format!("{apps} apps at once, {what}"), unit, against, goal)
        };
        let mut least = row(
            "the slowest's minute",
            "calls",
            "window",
            Goal::ShareAtLeast(SHARE),
        );
        least.add(Some(MINUTE), seen.least as f64, &beside);
        rows.push(least);
        for (what, unit, figure) in [
            ("all", "calls/s", seen.per_second),
            ("refused", "%", seen.refused_percent),
            ("the relay", "% of a core", seen.relay_percent),
            ("the sandbox", "% of a core", seen.sandbox_percent),
        ] {
            let mut row = row(what, unit, "", Goal::None);
            row.add(None, figure, &beside);
            rows.push(row);
        }
        if (seen.least as f64) < SHARE * MINUTE {
            break;
        }
    }
    Ok(rows)
}
