//! `jobs retry`, `cancel`, `recall`: on one job by its id, or on all that match.

use serde_json::json;

use super::filter::Filter;
use crate::cli::exit::{Ended, Exit, Trouble};
use crate::cli::out;
use crate::cli::relay::Remote;

/// One job, or a choice of many.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Act {
    /// One job (job_…), or its message (om_…) or batch (bm-…)
    id: Option<String>,
    #[command(flatten)]
    filter: Filter,
    /// Only say how many it would be
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    remote: Remote,
}

/// As `Act`, and how long what expired may live anew.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Retry {
    #[command(flatten)]
    act: Act,
    /// New life of one job that has expired
    #[arg(long, value_name = "TIME", allow_hyphen_values = true, requires = "id")]
    expires_in: Option<String>,
}

impl Retry {
    /// Asks the relay to try again.
    pub(super) async fn run(self) -> Ended {
        let body = self
            .expires_in
            .map(|time| json!({"expires_in": time}).to_string());
        self.act.run("retry", body).await
    }
}

impl Act {
    /// Asks the relay to do `verb`.
    pub(super) async fn run(self, verb: &str, body: Option<String>) -> Ended {
        let query = self.filter.query()?;
        match &self.id {
            Some(id) => {
                if self.dry_run || !query.is_empty() {
                    return Err(Trouble::wrong("give either one id, or what to choose by"));
                }
                self.one(id, verb, body).await
            }
            None if query.is_empty() => Err(Trouble::wrong(format!(
                "say which jobs to {verb}: one id, or --state, --kind, --label, --to, --since, …"
            ))),
            None => self.many(verb, query).await,
        }
    }

    async fn one(&self, id: &str, verb: &str, body: Option<String>) -> Ended {
        let relay = self.remote.relay()?;
        let answer = relay.post(&["jobs", id, verb], Vec::new(), body).await?;
        match self.remote.json {
            true => out::json(&answer.body)?,
            false => out::line(&out::summary(&answer.json))?,
        }
        Ok(Exit::Fine)
    }

    async fn many(&self, verb: &str, mut query: Vec<(String, String)>) -> Ended {
        let relay = self.remote.relay()?;
        if self.dry_run {
            query.push(("dry_run".to_owned(), "true".to_owned()));
        }
        let answer = relay.post(&["jobs", verb], query, None).await?;
        if self.remote.json {
            out::json(&answer.body)?;
            return Ok(Exit::Fine);
        }
        let count = out::text(&answer.json["count"]);
        let jobs = if count == "1" { "job" } else { "jobs" };
        match self.dry_run {
            true => out::line(&format!("{verb}: would be {count} {jobs}"))?,
            false => out::line(&format!("{verb}: {count} {jobs}"))?,
        }
        Ok(Exit::Fine)
    }
}
