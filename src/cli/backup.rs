//! `backup`: a consistent copy of what the daemon keeps, while it runs.

use std::path::PathBuf;

use serde_json::json;

use super::exit::{Ended, Exit, Trouble};
use super::out;
use crate::clock::rfc3339;
use crate::daemon;
use crate::store::{self, CopyError};

/// Copy what the daemon keeps to a new folder, while it runs
#[derive(Debug, clap::Args)]
pub(super) struct Backup {
    /// The folder to make; it must not exist
    dir: PathBuf,
    /// Close the database here for good: its jobs move (daemon stopped)
    #[arg(long = "move")]
    moves: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Else $FEISHU_RELAY_CONFIG, else /etc/feishu-relay/config.toml
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl Backup {
    /// Makes the copy and says of which moment it is.
    pub(super) async fn run(self) -> Ended {
        let config = super::load(self.config.as_deref())?;
        let clock = daemon::clock(&config)?;
        let database = &config.store.path;
        if !database.is_file() && std::env::var_os("STATE_DIRECTORY").is_none() {
            return Err(Trouble::wrong(format!(
                "there is no database at {}; for that of the service, set STATE_DIRECTORY=/var/lib/feishu-relay",
                database.display()
            )));
        }
        let backup = store::Backup {
            database,
            folder: &self.dir,
            moves: self.moves,
        };
        let tell = |done: u64, of: u64| {
            let percent = (done * 100).checked_div(of).unwrap_or(100);
            out::progress(&format!("{percent} % of {}", size(of)));
        };
        let copied = store::back_up(&backup, &clock, tell).await;
        out::progress("");
        let copied = copied?;
        let at = rfc3339(copied.taken_ms);
        if self.json {
            let answer = json!({
                "dir": self.dir, "taken_at": at, "bytes": copied.bytes, "uploads": copied.uploads, "moved": self.moves,
            });
            out::json(&answer.to_string())?;
            return Ok(Exit::Fine);
        }
        let dir = self.dir.display();
        out::line(&format!(
            "{dir}: as of {at}, {} and {} uploads",
            size(copied.bytes),
            copied.uploads
        ))?;
        if self.moves {
            out::line(&format!(
                "{} is closed for good; its jobs go on where this copy is restored",
                database.display()
            ))?;
        }
        Ok(Exit::Fine)
    }
}

fn size(bytes: u64) -> String {
    bytesize::ByteSize::b(bytes).display().iec().to_string()
}

impl From<CopyError> for Trouble {
    fn from(error: CopyError) -> Self {
        match error {
            CopyError::Wrong(text) => Self::wrong(text),
            CopyError::Failed(text) => Self::new(Exit::Failed, text),
        }
    }
}
