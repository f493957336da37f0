//! Where the daemon's log goes: stderr, as text for people or JSON for programs.
//!
//! Not here: what is logged, and that it holds no secret and no content (each room).

use std::io::IsTerminal;

use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use super::exit::{Exit, Trouble};
use crate::config::{Log, LogFormat};

/// The crates whose lines the configured level is for.
const OURS: [&str; 3] = ["feishu_relay", "feishu_im", "feishu_sandbox"];

/// Sends everything that is logged from now on to stderr.
///
/// # Errors
/// A log was started before in this process.
pub(super) fn start(log: Log) -> Result<(), Trouble> {
    let stderr = std::io::stderr();
    let colours = stderr.is_terminal()
        && anstream::AutoStream::choice(&stderr) != anstream::ColorChoice::Never;
    // Libraries speak up when something is wrong; what they say below that may hold addresses.
    let ours = Targets::new()
        .with_targets(OURS.map(|name| (name, log.level)))
        .with_default(LevelFilter::WARN);
    let layer = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(colours);
    let registry = tracing_subscriber::registry().with(ours);
    let started = match log.format {
        LogFormat::Text => registry.with(layer).try_init(),
        LogFormat::Json => registry.with(layer.json().flatten_event(true)).try_init(),
    };
    started.map_err(|error| Trouble::new(Exit::Failed, format!("cannot start the log: {error}")))
}
