//! `cargo bench --bench relay`: how fast the relay is, beside the best that the same libraries can do here.
//!
//! Producer, relay, ceiling and sandbox are processes of their own; this program is also the producer and the
//! ceiling, when it is started so. How the table is read: docs/PERFORMANCE.md.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program for a terminal"
)]

#[path = "../common/mod.rs"]
mod common;

mod backlog;
mod ceiling;
#[cfg(feature = "bench")]
mod day;
mod door;
mod growth;
mod load;
#[path = "../peers/mod.rs"]
mod peers;
mod report;
mod rows;
mod town;
mod windows;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};

use common::process::{BenchError, RELAY, file, usual_folder};
use common::quiet::{Look, load as load_now};
use report::{Circumstances, Row};
use rows::Bench;

/// As the relay has it.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Measures the relay and prints one table. Exit code 0: it was measured, whatever came of it.
#[derive(Debug, Parser)]
#[command(name = "relay")]
struct Args {
    /// A look only: short and once, disturbed or not.
    #[arg(long)]
    quick: bool,
    /// How often each figure is taken.
    #[arg(long, value_name = "N")]
    runs: Option<usize>,
    /// These rows only.
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Group>,
    /// Write the table with every run to FILE, as JSON.
    #[arg(long, value_name = "FILE")]
    save: Option<PathBuf>,
    /// The relay to measure: by default the one that was built with this bench.
    #[arg(long, default_value = RELAY, hide_default_value = true)]
    relay: PathBuf,
    /// Where databases are made: on the disk that is to be measured.
    #[arg(long, value_name = "DIR", default_value_os_t = usual_folder(), hide_default_value = true)]
    folder: PathBuf,
    /// Given by `cargo bench`.
    #[arg(long, hide = true, global = true)]
    bench: bool,
    #[command(subcommand)]
    part: Option<Part>,
}

/// Rows that are measured together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Group {
    Enqueue,
    Idle,
    Delivered,
    Backlog,
    HotChat,
    /// Three whole minutes by the clock.
    Windows,
    /// A whole minute by the clock for each number of apps; only when it is asked for.
    Apps,
    /// In virtual time; with the feature `bench`.
    #[cfg(feature = "bench")]
    Day,
}

impl Group {
    /// Is it taken when nothing is asked for?
    fn is_usual(self, quick: bool) -> bool {
        match self {
            Group::Apps => false,
            Group::Windows => !quick,
            _ => true,
        }
    }
}

/// What else this program is.
#[derive(Debug, Subcommand)]
enum Part {
    #[command(hide = true)]
    Ceiling {
        folder: PathBuf,
        #[command(flatten)]
        shape: ceiling::Shape,
    },
    #[command(hide = true)]
    Load,
    /// Measures Redis and PostgreSQL beside the relay instead: benches/peers/run.
    Peers(peers::Programs),
    #[command(hide = true)]
    PeerLoad(peers::Load),
}

fn main() -> ExitCode {
    let args = Args::parse();
    let ended = match &args.part {
        Some(Part::Load) => load::run(),
        Some(Part::Ceiling { folder, shape }) => match tokio::runtime::Runtime::new() {
            Ok(runtime) => runtime.block_on(ceiling::serve(folder, *shape)),
            Err(error) => Err(file("a runtime")(error)),
        },
        Some(Part::PeerLoad(load)) => peers::load(load),
        Some(Part::Peers(programs)) => beside_peers(&args, programs),
        None => measure(&args),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&error);
            ExitCode::FAILURE
        }
    }
}

fn measure(args: &Args) -> Result<(), BenchError> {
    let (bench, begun) = (bench(args), (Look::now(), load_now()));
    let mut rows: Vec<Row> = Vec::new();
    let mut growths = Vec::new();
    for group in Group::value_variants() {
        if args.only.contains(group) || args.only.is_empty() && group.is_usual(args.quick) {
            rows.append(&mut match group {
                Group::Enqueue => rows::enqueue(&bench)?,
                Group::Idle => rows::idle(&bench)?,
                Group::Delivered => rows::delivered(&bench)?,
                Group::Backlog => {
                    let (rows, more) = backlog::backlog(&bench)?;
                    growths.extend(more);
                    rows
                }
                Group::HotChat => rows::hot_chat(&bench)?,
                // A run has three minutes of its own: one is enough beside all the rest.
                Group::Windows if args.only.is_empty() => windows::windows(&bench.once())?,
                Group::Windows => windows::windows(&bench)?,
                Group::Apps => windows::apps(&bench)?,
                #[cfg(feature = "bench")]
                Group::Day => day::rows(&bench)?,
            });
        }
    }
    let circumstances = circumstances(&bench, begun);
    print!("{}", report::text(&rows, &growths, &circumstances));
    save(args, || report::json(&rows, &growths, &circumstances))
}

fn beside_peers(args: &Args, programs: &peers::Programs) -> Result<(), BenchError> {
    let (bench, begun) = (bench(args), (Look::now(), load_now()));
    let versions = peers::versions(programs)?;
    let lines = peers::measure(&bench, programs)?;
    let circumstances = circumstances(&bench, begun);
    print!("{}", peers::text(&lines, &versions, &circumstances));
    save(args, || peers::json(&lines, &versions, &circumstances))
}

fn bench(args: &Args) -> Bench {
    Bench {
        relay: args.relay.clone(),
        folder: args.folder.clone(),
        runs: args.runs.unwrap_or(if args.quick { 1 } else { 3 }),
        quick: args.quick,
    }
}

fn circumstances(bench: &Bench, (look, load_before): (Look, f64)) -> Circumstances {
    Circumstances {
        relay: env!("CARGO_PKG_VERSION").to_owned(),
        cores: std::thread::available_parallelism().map_or(1, usize::from),
        runs: bench.runs,
        quick: bench.quick,
        load_before,
        load_after: load_now(),
        beside: look.since(),
    }
}

fn save(args: &Args, table: impl FnOnce() -> serde_json::Value) -> Result<(), BenchError> {
    let Some(path) = &args.save else {
        return Ok(());
    };
    let text = format!("{:#}\n", table());
    std::fs::write(path, text).map_err(file(path.display().to_string()))
}

/// One line, for whoever started this part.
fn say(line: &serde_json::Value) {
    println!("{line}");
    let _ = std::io::stdout().flush();
}

fn complain(error: &BenchError) {
    eprintln!("{error}");
}
