//! `serve`: the daemon, from its config to a clean stop, with a word to systemd at each end.

use std::path::PathBuf;

use sd_notify::NotifyState;
use tokio_util::sync::CancellationToken;

use super::exit::{Ended, Exit, Trouble};
use super::{logs, signal};
use crate::daemon::{self, DaemonError, Ready, Sockets};
use crate::store::StoreError;

/// Run the daemon
#[derive(Debug, clap::Args)]
pub(super) struct Serve {
    /// Else $FEISHU_RELAY_CONFIG, else /etc/feishu-relay/config.toml
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl Serve {
    /// Serves until SIGINT or SIGTERM.
    pub(super) async fn run(self, sockets: Sockets) -> Ended {
        let config = super::load(self.config.as_deref())?;
        logs::start(config.log)?;
        let stop = signal::stop()?;
        tokio::spawn(say_stopping(stop.clone()));
        daemon::run_on(config, sockets, say_ready, stop).await?;
        tracing::info!("stopped");
        Ok(Exit::Fine)
    }
}

fn say_ready(ready: Ready) {
    tracing::info!("listening on {}", ready.addrs.join(", "));
    tell(&[NotifyState::Ready]);
}

async fn say_stopping(stop: CancellationToken) {
    stop.cancelled().await;
    tracing::info!("stopping; what is being sent is awaited");
    tell(&[NotifyState::Stopping]);
}

/// Tells systemd, if it listens; the relay works as well without it.
fn tell(news: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(news) {
        tracing::warn!("systemd could not be told: {error}");
    }
}

impl From<DaemonError> for Trouble {
    fn from(error: DaemonError) -> Self {
        let exit = match &error {
            // Settings, and a database of a newer relay: the same again ends the same.
            DaemonError::App { .. }
            | DaemonError::TestClock(_)
            | DaemonError::Store(StoreError::Unusable(_)) => Exit::Wrong,
            DaemonError::Store(StoreError::Unavailable(_)) | DaemonError::Listen(_) => Exit::Failed,
        };
        Self::new(exit, error.to_string())
    }
}
