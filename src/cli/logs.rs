//! Where the daemon's log goes: stderr, as text for people or JSON for programs.
//!
//! Not here: what is logged, and that it holds no secret and no content (each room).

use std::io::IsTerminal;
use std::panic::PanicHookInfo;

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
    std::panic::set_hook(Box::new(|panic| {
        tracing::error!("a panic at {}", place(panic));
    }));
    Ok(Levels(levels))
}

/// Where it was. What it says stays unsaid: the text of a panic may quote what was being read.
fn place(panic: &PanicHookInfo<'_>) -> String {
    panic.location().map_or_else(
        || String::from("an unknown place"),
        |place| format!("{}:{}:{}", place.file(), place.line(), place.column()),
    )
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[test]
    fn a_panic_tells_its_place_and_not_its_words() {
        let said = Arc::new(Mutex::new(String::new()));
        let heard = Arc::clone(&said);
        std::panic::set_hook(Box::new(move |panic| {
            *heard.lock().unwrap() = place(panic);
        }));
        let cut = std::panic::catch_unwind(|| {
            let text = String::from("\u{5bc6}quiet words");
            text[..1].len()
        });
        let _ = std::panic::take_hook();
        assert!(cut.is_err());
        let said = said.lock().unwrap();
        assert!(
            said.contains("logs.rs:") && !said.contains("quiet"),
            "{said}"
        );
    }
}
