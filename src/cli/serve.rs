//! `serve`: the daemon, from its config to a clean stop, with a word to systemd at each end and at
//! each reload.

use std::path::PathBuf;

use sd_notify::NotifyState;
use tokio_util::sync::CancellationToken;

use super::exit::{Ended, Exit, Trouble};
use super::{logs, signal};
use crate::daemon::{self, DaemonError, News, Sockets};
use crate::store::StoreError;

/// Run the daemon
#[derive(Debug, clap::Args)]
pub(super) struct Serve {
    /// Else $FEISHU_RELAY_CONFIG, else /etc/feishu-relay/config.toml
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl Serve {
    /// Serves until SIGINT or SIGTERM; reads its config again on SIGHUP.
    pub(super) async fn run(self, sockets: Sockets) -> Ended {
        // First of all: a reload that is asked for while this starts must not end it.
        let reloads = signal::reloads()?;
        let config = super::load(self.config.as_deref())?;
        let level = logs::start(config.log)?;
        let stop = signal::stop()?;
        tokio::spawn(say_stopping(stop.clone()));
        let set_level = |to| level.set(to);
        daemon::run_reloading(config, sockets, say, set_level, reloads, stop).await?;
        tracing::info!("stopped");
        Ok(Exit::Fine)
    }
}

fn say(news: News) {
    match news {
        News::Ready(ready) => {
            tracing::info!("listening on {}", ready.addrs.join(", "));
            tell(&[NotifyState::Ready]);
        }
        // systemd knows by the time which reload is meant.
        News::Reloading => match NotifyState::monotonic_usec_now() {
            Ok(now) => tell(&[NotifyState::Reloading, now]),
            Err(error) => tracing::warn!("systemd could not be told of the reload: {error}"),
        },
        News::Reloaded => tell(&[NotifyState::Ready]),
    }
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
            | DaemonError::Bot { .. }
            | DaemonError::Templates(_)
            | DaemonError::TestClock(_)
            | DaemonError::Store(StoreError::Unusable(_)) => Exit::Wrong,
            DaemonError::Store(StoreError::Unavailable(_)) | DaemonError::Listen(_) => Exit::Failed,
        };
        Self::new(exit, error.to_string())
    }
}
