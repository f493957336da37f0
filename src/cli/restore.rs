//! `restore`: puts a backup's copy back, and says what it does not know.

use std::path::PathBuf;

use serde_json::json;

use super::exit::{Ended, Exit};
use super::out;
use crate::clock::rfc3339;
use crate::daemon;
use crate::store::{self, Restored};

/// Put a backup back, with the daemon stopped and no database there
///
/// What had not settled when it was taken counts as tried at that time: nothing is sent twice.
#[derive(Debug, clap::Args)]
pub(super) struct Restore {
    /// The folder that `backup` made
    dir: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Else $FEISHU_RELAY_CONFIG, else /etc/feishu-relay/config.toml
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl Restore {
    /// Puts the copy where the config says that the database is.
    pub(super) async fn run(self) -> Ended {
        let config = super::load(self.config.as_deref())?;
        let clock = daemon::clock(&config)?;
        out::progress("checking and copying");
        let restored = store::restore(&self.dir, &config.store.path, &clock).await;
        out::progress("");
        let restored = restored?;
        let at = rfc3339(restored.taken_ms);
        if self.json {
            let answer = json!({
                "database": config.store.path, "taken_at": at, "moved": restored.moved,
                "settled": restored.settled, "untouched": restored.untouched, "repeated": restored.repeated,
                "in_doubt": restored.in_doubt, "in_doubt_before": restored.in_doubt_before,
            });
            out::json(&answer.to_string())?;
            return Ok(Exit::Fine);
        }
        let path = config.store.path.display();
        out::line(&format!("{path}: as of {at}"))?;
        for line in counts(&restored) {
            out::line(&line)?;
        }
        if !restored.moved {
            out::line(&format!(
                "What was accepted, canceled or settled after {at} is not in it: a producer that asks again is taken at its word,"
            ))?;
            out::line("and the calls counted since (month, day's budgets) are missing.")?;
        }
        Ok(Exit::Fine)
    }
}

fn counts(restored: &Restored) -> Vec<String> {
    let mut lines = vec![
        format!("{:>9}  settled", restored.settled),
        format!(
            "{:>9}  go on: they cannot have begun since",
            restored.untouched
        ),
    ];
    if !restored.moved {
        lines.push(format!(
            "{:>9}  go on: they count as tried at that time, and a repeat is not seen twice",
            restored.repeated
        ));
    }
    lines.push(format!(
        "{:>9}  in doubt ({} were before): look, then `jobs settle`, `retry` or `cancel`",
        restored.in_doubt, restored.in_doubt_before
    ));
    lines
}
