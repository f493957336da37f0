//! `jobs watch`: each change of one job, until it settles or is in doubt; or of all that match.

use std::time::Duration;

use tokio::time::Instant;

use super::filter::Filter;
use crate::cli::exit::{Ended, Exit, Trouble};
use crate::cli::follow::{exit_of, follow};
use crate::cli::out;
use crate::cli::relay::{Answer, Remote};
use crate::config::values;

/// A change between two states is seen when it lasts longer than this.
const STEP: Duration = Duration::from_secs(1);

/// Print each change of a job until it settles, or of all that match
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Watch {
    /// One job (job_…), or its message (om_…) or batch (bm-…)
    id: Option<String>,
    #[command(flatten)]
    filter: Filter,
    /// Give up after this long
    #[arg(long, value_name = "TIME", value_parser = values::duration)]
    wait: Option<Duration>,
    #[command(flatten)]
    remote: Remote,
}

impl Watch {
    /// Ends as the job does; without one, with Ctrl-C or when the time is over.
    pub(super) async fn run(self) -> Ended {
        let until = self.wait.map(|wait| Instant::now() + wait);
        let query = self.filter.query()?;
        match &self.id {
            Some(_) if !query.is_empty() => {
                Err(Trouble::wrong("give either one id, or what to choose by"))
            }
            Some(id) => self.one(id, until).await,
            None => super::stream::run(&self.remote, query, until).await,
        }
    }

    async fn one(&self, id: &str, until: Option<Instant>) -> Ended {
        let relay = self.remote.relay()?;
        let mut shown = String::new();
        let show = |answer: &Answer| -> Result<(), Trouble> {
            let attempts = answer.json["attempts"].as_array().map_or(0, Vec::len);
            let line = match attempts {
                0 | 1 => out::summary(&answer.json),
                _ => format!("{} after {attempts} attempts", out::summary(&answer.json)),
            };
            if line != shown {
                match self.remote.json {
                    true => out::json(&answer.body)?,
                    false => out::line(&line)?,
                }
                shown = line;
            }
            Ok(())
        };
        let exit = follow(&relay, id, STEP, until, exit_of, show).await?;
        if exit == Exit::Unsettled {
            out::complain("feishu-relay: not settled in the time given");
        }
        Ok(exit)
    }
}
