//! How a command ends: its exit code, and one sentence when it did not end well.

use std::io;
use std::process::ExitCode;

/// The exit codes of every command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Exit {
    /// Stored; with `--wait`: done.
    Fine = 0,
    /// The job failed, or the command itself did.
    Failed = 1,
    /// The words of the command or the config are wrong, or the relay refused; nothing was done.
    Wrong = 2,
    /// The relay is unreachable or full; nothing was stored.
    Unreachable = 3,
    /// Stored, but not settled in the time given.
    Unsettled = 4,
    /// Nobody knows whether it happened.
    Doubt = 5,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a command ended early.
#[derive(Debug)]
pub(super) struct Trouble {
    pub(super) exit: Exit,
    /// One sentence for stderr; empty: nothing more to say.
    pub(super) sentence: String,
}

impl Trouble {
    pub(super) fn new(exit: Exit, sentence: impl Into<String>) -> Self {
        Self {
            exit,
            sentence: sentence.into(),
        }
    }

    /// The words of the command are wrong.
    pub(super) fn wrong(sentence: impl Into<String>) -> Self {
        Self::new(Exit::Wrong, sentence)
    }
}

impl From<io::Error> for Trouble {
    /// Of writing the output: a reader that went away is no reason for words.
    fn from(error: io::Error) -> Self {
        let sentence = match error.kind() {
            io::ErrorKind::BrokenPipe => String::new(),
            _ => format!("cannot write the output: {error}"),
        };
        Self::new(Exit::Failed, sentence)
    }
}

/// What a command answers.
pub(super) type Ended = Result<Exit, Trouble>;
