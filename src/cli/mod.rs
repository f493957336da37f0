//! The command line: one file a command, one place that prints, one table of exit codes.
//!
//! Commands that speak to a running relay (`send`, `jobs`, `incidents`, `reads`, `status`, `pause`, `resume`) use its HTTP and nothing
//! else; they hold no state and repeat nothing by themselves.

mod backup;
mod check;
mod completions;
mod demo;
mod exit;
mod explain;
mod follow;
mod incidents;
mod jobs;
mod logs;
mod out;
mod pause;
mod reads;
mod relay;
mod restore;
mod routes;
mod sandbox;
mod send;
mod serve;
mod signal;
mod status;
mod token;

use std::collections::HashSet;
use std::path::Path;
use std::process::ExitCode;

use clap::Parser;

use self::exit::{Exit, Trouble};
use crate::config::Config;
pub use crate::daemon::Sockets;

/// What every complaint on stderr begins with.
const NAME: &str = "feishu-relay";

/// How commands end, for `-h`; `exit` has the same as a type, README.md as a table.
const EXIT_CODES: &str = "\
Exit codes: 0 stored; with --wait: done. 1 failed. 2 the words or the config are
wrong, or the relay refused. 3 relay unreachable or full, nothing stored.
4 stored, but not settled in time. 5 in doubt, or not known whether stored.";
/// Without a list of options: -h and -V are all there are. A screen has 24 lines.
const HELP: &str = "\
{about}
Usage: {name} COMMAND   (-h says more of each, -V the version)

{subcommands}{after-help}";

/// A durable queue in front of Feishu: each message once, in order, in its limits
#[derive(Debug, Parser)]
#[command(name = NAME, version, max_term_width = 100, disable_help_subcommand = true, after_help = EXIT_CODES, help_template = HELP)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Serve(serve::Serve),
    Demo(demo::Demo),
    Sandbox(sandbox::Sandbox),
    Send(Box<send::Send>),
    /// List jobs, look at one, act on one or on many
    #[command(subcommand)]
    Jobs(jobs::Jobs),
    /// List incidents, look at one, say that you look at it
    #[command(subcommand)]
    Incidents(incidents::Incidents),
    Reads(Box<reads::Reads>),
    Status(status::Status),
    Pause(pause::Pause),
    Resume(pause::Resume),
    Check(check::Check),
    Explain(explain::Explain),
    Token(token::Token),
    Completions(completions::Completions),
    Backup(backup::Backup),
    Restore(restore::Restore),
    #[command(subcommand)]
    Routes(routes::RoutesCommand),
}

/// Runs the command that the process was started with.
pub async fn run(sockets: Sockets) -> ExitCode {
    let ended = match Cli::parse().command {
        Command::Serve(serve) => serve.run(sockets).await,
        Command::Demo(demo) => demo.run().await,
        Command::Sandbox(sandbox) => sandbox.run().await,
        Command::Send(send) => send.run().await,
        Command::Jobs(jobs) => jobs.run().await,
        Command::Incidents(incidents) => incidents.run().await,
        Command::Reads(reads) => reads.run().await,
        Command::Status(status) => status.run().await,
        Command::Pause(pause) => pause.run().await,
        Command::Resume(resume) => resume.run().await,
        Command::Check(check) => check.run().await,
        Command::Explain(explain) => explain.run().await,
        Command::Token(token) => token.run().await,
        Command::Completions(completions) => completions.run().await,
        Command::Backup(backup) => backup.run().await,
        Command::Restore(restore) => restore.run().await,
        Command::Routes(routes) => routes.run().await,
    };
    match ended {
        Ok(exit) => exit.into(),
        Err(trouble) => {
            if !trouble.sentence.is_empty() {
                complain(&trouble.sentence);
            }
            trouble.exit.into()
        }
    }
}

/// Says on stderr why the program cannot go on.
pub fn complain(sentence: &str) {
    out::complain(&format!("{NAME}: {sentence}"));
}

/// Loads the config; its warnings go to stderr, its faults become the trouble.
fn load(path: Option<&Path>) -> Result<Config, Trouble> {
    let config = Config::load(path).map_err(|error| {
        for fault in &error.faults {
            out::complain(&fault.in_file(&error.file));
        }
        let sentence = match error.faults.len() {
            1 => "the config has a fault".to_owned(),
            faults => format!("the config has {faults} faults"),
        };
        Trouble::new(Exit::Wrong, sentence)
    })?;
    for warning in &config.warnings {
        out::complain(&format!("warning: {}", warning.in_file(&config.file)));
    }
    Ok(config)
}

/// Refuses a label that is given twice: one of the two values would be lost in silence.
fn each_label_once(labels: &[(String, String)]) -> Result<(), Trouble> {
    let mut names = HashSet::new();
    match labels.iter().find(|(name, _)| !names.insert(name)) {
        Some((name, _)) => Err(Trouble::wrong(format!("--label {name} is given twice"))),
        None => Ok(()),
    }
}

/// Reads `name=value`.
fn label(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("write it as NAME=VALUE".to_owned()),
    }
}
