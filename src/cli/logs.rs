//! Where the daemon's log goes: stderr, as text for people or JSON for programs.
//!
//! Not here: what is logged, and that it holds no secret and no content (each room).

use std::io::IsTerminal;

use tracing::Level;
use tracing_subscriber::Registry;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::reload::{self, Handle};
use tracing_subscriber::util::SubscriberInitExt;

use super::exit::{Exit, Trouble};
use crate::config::{Log, LogFormat};

/// The crates whose lines the configured level is for.
const OURS: [&str; 3] = ["feishu_relay", "feishu_im", "feishu_sandbox"];

/// The level of the log, to be set while it runs.
pub(super) struct Levels(Handle<Targets, Registry>);

impl Levels {
    /// From now on nothing less severe is written.
    pub(super) fn set(&self, level: Level) {
        if let Err(error) = self.0.reload(targets(level)) {
            tracing::warn!(%error, "the level of the log stays as it was");
        }
    }
}

/// Libraries speak up when something is wrong; what they say below that may hold addresses.
fn targets(level: Level) -> Targets {
    Targets::new()
        .with_targets(OURS.map(|name| (name, level)))
        .with_default(LevelFilter::WARN)
}

/// Sends everything that is logged from now on to stderr.
///
/// # Errors
/// A log was started before in this process.
pub(super) fn start(log: Log) -> Result<Levels, Trouble> {
    let stderr = std::io::stderr();
    let colours = stderr.is_terminal()
        && anstream::AutoStream::choice(&stderr) != anstream::ColorChoice::Never;
    let (ours, levels) = reload::Layer::new(targets(log.level));
    let layer = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(colours);
    let registry = tracing_subscriber::registry().with(ours);
    let started = match log.format {
        LogFormat::Text => registry.with(layer).try_init(),
        LogFormat::Json => registry.with(layer.json().flatten_event(true)).try_init(),
    };
    started
        .map_err(|error| Trouble::new(Exit::Failed, format!("cannot start the log: {error}")))?;
    Ok(Levels(levels))
}
