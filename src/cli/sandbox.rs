//! `sandbox`: a local Feishu, until it is told to stop.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use feishu_sandbox::{DEFAULT_APP_ID, DEFAULT_APP_SECRET, DEFAULT_CHAT, Options, Seed};

use super::exit::{Ended, Exit, Trouble};
use super::{out, signal};

/// Run a local Feishu that says no wherever Feishu would
#[derive(Debug, clap::Args)]
pub(super) struct Sandbox {
    /// Where to listen; port 0 takes a free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9797")]
    listen: SocketAddr,
    /// World to start from, JSON
    #[arg(long, value_name = "FILE")]
    seed: Option<PathBuf>,
    /// File in which world and ledger outlive the sandbox
    #[arg(long, value_name = "FILE")]
    state: Option<PathBuf>,
}

impl Sandbox {
    /// Serves until SIGINT or SIGTERM.
    pub(super) async fn run(self) -> Ended {
        let stop = signal::stop()?;
        let default_world = self.seed.is_none() && self.state.is_none();
        let options = Options {
            listen: self.listen,
            state: self.state,
            seed: self.seed.as_deref().map(seed).transpose()?,
        };
        let sandbox = feishu_sandbox::start(options)
            .await
            .map_err(|error| Trouble::new(Exit::Failed, error.to_string()))?;
        let url = sandbox.url();
        out::line(&format!("base_url  {url}"))?;
        out::line(&format!("chats     {url}/_sandbox/"))?;
        if default_world {
            out::line(&format!(
                "app       {DEFAULT_APP_ID} with secret {DEFAULT_APP_SECRET}"
            ))?;
            out::line(&format!("a chat    {DEFAULT_CHAT}"))?;
        }
        stop.cancelled().await;
        sandbox.stop().await;
        Ok(Exit::Fine)
    }
}

fn seed(file: &Path) -> Result<Seed, Trouble> {
    let shown = file.display();
    let text = std::fs::read_to_string(file)
        .map_err(|error| Trouble::wrong(format!("cannot read {shown}: {error}")))?;
    Seed::from_json(&text).map_err(|error| Trouble::wrong(format!("{shown}: {error}")))
}
