//! A short run of the torture harness: a fixed seed, some kills, every promise kept.
//!
//! The long one is done by hand: `cargo bench --bench torture -- --kills 500`.

mod check;
#[path = "../../benches/torture/harness/mod.rs"]
mod harness;
mod plan;
mod report;

use std::path::Path;

use harness::report::Report;
use harness::run::{RELAY, run};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dozen_kills_under_faults_lose_nothing_double_nothing_and_keep_the_order() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("torture-short");
    let outcome = run(
        &harness::plan::plan(20, 12),
        &folder,
        Path::new(RELAY),
        |_| {},
    )
    .await
    .unwrap();
    let mut report = Report::default();
    report.add(&outcome);
    assert!(
        report.is_clean(),
        "{}\n{:#?}",
        report.text(),
        outcome.verdict.breaches
    );
    assert_eq!(report.json()["acknowledged"], outcome.verdict.acknowledged);
    assert!(
        outcome.kills >= 12 && outcome.faulted > 0,
        "{}",
        report.text()
    );
}
