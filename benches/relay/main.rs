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
mod door;
mod growth;
mod load;
mod report;
mod rows;

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
    #[arg(long, hide = true)]
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
}

fn main() -> ExitCode {
    let args = Args::parse();
    let ended = match &args.part {
        Some(Part::Load) => load::run(),
        Some(Part::Ceiling { folder, shape }) => match tokio::runtime::Runtime::new() {
            Ok(runtime) => runtime.block_on(ceiling::serve(folder, *shape)),
            Err(error) => Err(file("a runtime")(error)),
        },
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
    let bench = Bench {
        relay: args.relay.clone(),
        folder: args.folder.clone(),
        runs: args.runs.unwrap_or(if args.quick { 1 } else { 3 }),
        quick: args.quick,
    };
    let (look, load_before) = (Look::now(), load_now());
    let mut rows: Vec<Row> = Vec::new();
    let mut growths = Vec::new();
    for group in Group::value_variants() {
        if args.only.is_empty() || args.only.contains(group) {
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
            });
        }
    }
    let circumstances = Circumstances {
        relay: env!("CARGO_PKG_VERSION").to_owned(),
        cores: std::thread::available_parallelism().map_or(1, usize::from),
        runs: bench.runs,
        quick: bench.quick,
        load_before,
        load_after: load_now(),
        beside: look.since(),
    };
    print!("{}", report::text(&rows, &growths, &circumstances));
    if let Some(path) = &args.save {
        let text = format!("{:#}\n", report::json(&rows, &growths, &circumstances));
        std::fs::write(path, text).map_err(file(path.display().to_string()))?;
    }
    Ok(())
}

/// One line, for whoever started this part.
fn say(line: &serde_json::Value) {
    println!("{line}");
    let _ = std::io::stdout().flush();
}

fn complain(error: &BenchError) {
    eprintln!("{error}");
}
