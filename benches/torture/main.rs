//! `cargo bench --bench torture`: kills the relay some hundred times under faults and says what came of it.
//!
//! Not here: everything (`harness`). A short run is a test like any other: `tests/torture.rs`.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program for a terminal"
)]

mod harness;

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

use harness::plan::plan;
use harness::report::{Report, again};
use harness::run::{RELAY, run};

/// Kills the relay at random moments, while producers post, Feishu is at fault and clocks jump; then compares what
/// people saw with what was acknowledged. Exit code 0: nothing lost, doubled, out of order, dishonest, doubtful or late.
#[derive(Debug, Parser)]
#[command(name = "torture")]
struct Args {
    /// Seed of the first run; each further run takes the next number.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Kills of all runs together.
    #[arg(long, default_value_t = 100)]
    kills: usize,
    /// Kills of one run; each run has a database and a Feishu of its own.
    #[arg(long, default_value_t = 25)]
    per_run: usize,
    /// Where a run that failed is kept.
    #[arg(long, default_value = concat!(env!("CARGO_TARGET_TMPDIR"), "/torture"))]
    folder: PathBuf,
    /// The relay to kill: by default the one that was built with this bench.
    #[arg(long, default_value = RELAY, hide_default_value = true)]
    relay: PathBuf,
    /// Print the report as JSON.
    #[arg(long)]
    json: bool,
    /// Given by `cargo bench`.
    #[arg(long, hide = true)]
    bench: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    let mut report = Report::default();
    let mut failed = 0;
    let mut left = args.kills;
    for seed in args.seed.. {
        let kills = left.min(args.per_run.max(1));
        if kills == 0 {
            break;
        }
        left -= kills;
        let folder = args.folder.join(format!("seed-{seed}"));
        let before = args.kills - left - kills;
        let heard = |done| progress(seed, before + done, args.kills);
        let plan = plan(seed, kills);
        let ended = tokio::select! {
            ended = run(&plan, &folder, &args.relay, heard) => ended,
            // Dropped, a run ends its relay.
            _ = tokio::signal::ctrl_c() => return ExitCode::FAILURE,
        };
        match ended {
            Ok(outcome) => report.add(&outcome),
            Err(error) => {
                failed += 1;
                eprintln!("\nseed {seed} could not be run to its end: {error}");
                eprintln!("kept: {}\nagain: {}", folder.display(), again(seed, kills));
            }
        }
    }
    progress_end();
    match args.json {
        true => println!("{:#}", report.json()),
        false => print!("{}", report.text()),
    }
    match report.is_clean() && failed == 0 {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

fn progress(seed: u64, kills: usize, of: usize) {
    if std::io::stderr().is_terminal() {
        eprint!("\rseed {seed}: {kills} of {of} kills ");
    }
}

fn progress_end() {
    if std::io::stderr().is_terminal() {
        eprintln!();
    }
}
