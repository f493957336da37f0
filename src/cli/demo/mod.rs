//! `demo`: a local Feishu, a relay in front of it, and a tour of jobs, with nothing to set up.
//!
//! Everything is on loopback and in a temporary folder that goes when the demo ends.
//! Not here: which jobs are shown and how each should end (`tour`).

mod tour;

use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::exit::{Ended, Exit, Trouble};
use super::relay::Relay;
use super::{out, signal};
use crate::config::Config;
use crate::daemon::{self, Ready};

/// Show a tour of jobs between a relay and a local Feishu
#[derive(Debug, clap::Args)]
pub(super) struct Demo {
    /// End after the tour; the exit code says whether every job ended as it should
    #[arg(long)]
    exit: bool,
}

impl Demo {
    /// Starts both, shows the tour, and stays until Ctrl-C unless told to end.
    pub(super) async fn run(self) -> Ended {
        let asked = signal::stop()?;
        let folder = Folder::new()?;
        let options = feishu_sandbox::Options {
            listen: ([127, 0, 0, 1], 0).into(),
            ..Default::default()
        };
        let sandbox = feishu_sandbox::start(options).await.map_err(failed)?;
        let sandbox_url = sandbox.url();
        let config = config(&sandbox_url, &folder.0)?;
        let (tell, told) = oneshot::channel();
        let ready = |ready: Ready| {
            // Nobody listens only when the demo is over.
            let _ = tell.send(ready);
        };
        let stop = CancellationToken::new();
        let tour = async {
            let shown = self.tour(told, &sandbox_url, &asked).await;
            stop.cancel();
            shown
        };
        let (ended, shown) = tokio::join!(daemon::run(config, ready, stop.clone()), tour);
        ended?;
        sandbox.stop().await;
        shown
    }

    async fn tour(
        &self,
        ready: oneshot::Receiver<Ready>,
        sandbox: &str,
        asked: &CancellationToken,
    ) -> Ended {
        let ready = ready.await.map_err(|_| failed("the relay did not start"))?;
        let address = ready.addrs.first().map_or("", String::as_str);
        let url = format!("http://{address}");
        let relay = Relay::on_loopback(&url)?;
        let shown = tokio::select! {
            shown = tour::show(&relay, sandbox) => shown,
            () = asked.cancelled() => Ok(Exit::Unsettled),
        };
        if shown.is_ok() && !self.exit && !asked.is_cancelled() {
            look_around(&url, sandbox)?;
            asked.cancelled().await;
        }
        shown
    }
}

fn look_around(relay: &str, sandbox: &str) -> std::io::Result<()> {
    out::line("")?;
    out::line("Look around, until Ctrl-C:")?;
    out::line(&format!(
        "  the chats as people see them  {sandbox}/_sandbox/"
    ))?;
    out::line(&format!("  the relay                     {relay}/"))?;
    out::line(&format!(
        "  its jobs                      feishu-relay jobs list --url {relay}"
    ))
}

fn config(sandbox: &str, folder: &Path) -> Result<Config, Trouble> {
    let text = format!(
        "server.listen = \"127.0.0.1:0\"\n[[apps]]\nname = \"demo\"\napp_id = \"{}\"\napp_secret = \"{}\"\nbase_url = \"{sandbox}\"\n",
        feishu_sandbox::DEFAULT_APP_ID,
        feishu_sandbox::DEFAULT_APP_SECRET,
    );
    Config::parse(&text, &folder.join("demo.toml"), &|_| None).map_err(failed)
}

fn failed(error: impl std::fmt::Display) -> Trouble {
    Trouble::new(Exit::Failed, error.to_string())
}

/// A folder of the demo's own, gone when it ends.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Result<Self, Trouble> {
        let name = format!("feishu-relay-demo-{}", uuid::Uuid::now_v7().simple());
        let path = std::env::temp_dir().join(name);
        let made = std::fs::DirBuilder::new().mode(0o700).create(&path);
        made.map_err(|error| failed(format!("cannot make {}: {error}", path.display())))?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What stays behind is small, private, and in a temporary folder.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
