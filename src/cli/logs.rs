//! Where the daemon's log goes: stderr, as text for people or JSON for programs.
//!
//! Not here: what is logged, and that it holds no secret and no content (each room).

use std::io::IsTerminal;

use tracing_subscriber::filter::LevelFilter;

use super::exit::{Exit, Trouble};
use crate::config::{Log, LogFormat};

/// Sends everything that is logged from now on to stderr.
///
/// # Errors
/// A log was started before in this process.
pub(super) fn start(log: Log) -> Result<(), Trouble> {
    let stderr = std::io::stderr();
    let colours = stderr.is_terminal()
        && anstream::AutoStream::choice(&stderr) != anstream::ColorChoice::Never;
    let builder = tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_max_level(LevelFilter::from_level(log.level))
        .with_ansi(colours);
    let started = match log.format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    started.map_err(|error| Trouble::new(Exit::Failed, format!("cannot start the log: {error}")))
}
