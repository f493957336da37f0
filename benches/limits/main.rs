//! `cargo bench --bench limits`: the relay within Feishu's windows, in real time, against a sandbox that keeps them.
//!
//! Relay, sandbox and load are processes of their own. What is said comes from the sandbox's ledger (`judge`).
//! Not here: the same in virtual time (`dispatch::trial`, `pace::neighbour`).
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program for a terminal"
)]

mod drain;
mod fair;
mod house;
mod judge;
mod neighbour;
#[path = "../shared/relay.rs"]
mod relay;
mod report;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use house::House;
use neighbour::Share;
use relay::{BenchError, RELAY};
use report::{Report, progress};

/// Proves the relay's limits in real time, beside a sandbox with Feishu's own windows. Exit code 0: every goal reached.
#[derive(Debug, Parser)]
#[command(name = "limits")]
struct Args {
    #[command(subcommand)]
    what: What,
    /// What is drawn by lot is drawn from this.
    #[arg(long, global = true, default_value_t = 1)]
    seed: u64,
    /// Print the report as JSON.
    #[arg(long, global = true)]
    json: bool,
    /// Where ledger, log and database of a run that missed a goal are kept.
    #[arg(long, global = true, default_value = concat!(env!("CARGO_TARGET_TMPDIR"), "/limits"))]
    folder: PathBuf,
    /// The relay: by default the one that was built with this bench.
    #[arg(long, global = true, default_value = RELAY, hide_default_value = true)]
    relay: PathBuf,
    /// Given by `cargo bench`.
    #[arg(long, global = true, hide = true)]
    bench: bool,
}

#[derive(Debug, Subcommand)]
enum What {
    /// 9500 messages to 1000 chats, `high` ones at any moment; 10 min
    Drain,
    /// One group, shared with another bot
    Neighbour {
        /// How long.
        #[arg(long, default_value_t = 10)]
        minutes: u32,
        /// His calls a second, drawn anew every 5 min.
        #[arg(long, value_enum, default_value_t = Share::Whole)]
        share: Share,
    },
    /// First messages behind long queues; 3 min
    Fair,
}

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    let ended = tokio::select! {
        ended = run(&args) => ended,
        // Dropped, a run ends its processes.
        _ = tokio::signal::ctrl_c() => return ExitCode::FAILURE,
    };
    progress("");
    let (report, houses) = match ended {
        Ok(ended) => ended,
        Err(error) => {
            eprintln!("it could not be run to its end: {error}");
            return ExitCode::FAILURE;
        }
    };
    match args.json {
        true => println!("{:#}", report.json()),
        false => print!("{}", report.text()),
    }
    if report.is_clean() {
        return ExitCode::SUCCESS;
    }
    for (n, house) in houses.into_iter().enumerate() {
        match house.keep(&args.folder.join(n.to_string())) {
            Ok(folder) => eprintln!("kept: {}", folder.display()),
            Err(error) => eprintln!("nothing kept: {error}"),
        }
    }
    ExitCode::FAILURE
}

async fn run(args: &Args) -> Result<(Report, Vec<House>), BenchError> {
    let (binary, seed) = (&args.relay, args.seed);
    match args.what {
        What::Drain => {
            let (report, house) = drain::drain(binary, seed).await?;
            Ok((report, vec![house]))
        }
        What::Neighbour { minutes, share } => {
            let (report, house) = neighbour::neighbour(binary, seed, minutes, share).await?;
            Ok((report, vec![house]))
        }
        What::Fair => {
            let mut report = Report::default();
            let crowd = fair::crowd(binary, seed, &mut report).await?;
            let long = fair::long(binary, seed, &mut report).await?;
            Ok((report, vec![crowd, long]))
        }
    }
}
