//! `jobs retry`, `cancel`, `recall`: on one job by its id, or on all that match.

use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;

use super::filter::Filter;
use crate::cli::exit::{Ended, Exit, Trouble};
use crate::cli::follow::{exit_of_recall, settle};
use crate::cli::out;
use crate::cli::relay::Remote;
use crate::config::values;

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

/// As `Act`, and how long to wait for its end.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Recall {
    #[command(flatten)]
    act: Act,
    /// Wait until one job is taken back: 30s, or --wait=2m
    #[arg(long, value_name = "TIME", num_args = 0..=1, require_equals = true, default_missing_value = "30s", value_parser = values::duration, requires = "id")]
    wait: Option<Duration>,
}

impl Recall {
    /// Asks the relay to take back; with `--wait` ends as that does.
    pub(super) async fn run(self) -> Ended {
        let Some(id) = self.act.one_id("recall")? else {
            return self.act.many("recall").await;
        };
        let until = self.wait.map(|wait| Instant::now() + wait);
        let relay = self.act.remote.relay()?;
        let path = ["jobs", id, "recall"];
        let first = relay.post(&path, Vec::new(), None).await?;
        let (exit, last) = match until {
            Some(until) => settle(&relay, first, until, exit_of_recall).await?,
            None => (Exit::Fine, first),
        };
        match self.act.remote.json {
            true => out::json(&last.body)?,
            false => out::line(&out::recall(&last.json))?,
        }
        if exit == Exit::Unsettled {
            out::complain("feishu-relay: the recall is stored, but not settled in the time given");
        }
        Ok(exit)
    }
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
        match self.one_id(verb)? {
            Some(id) => self.one(id, verb, body).await,
            None => self.many(verb).await,
        }
    }

    /// The one job; `None`: it is the choice of many.
    fn one_id(&self, verb: &str) -> Result<Option<&str>, Trouble> {
        let chosen = !self.filter.query()?.is_empty();
        match &self.id {
            Some(_) if self.dry_run || chosen => {
                Err(Trouble::wrong("give either one id, or what to choose by"))
            }
            None if !chosen => Err(Trouble::wrong(format!(
                "say which jobs to {verb}: one id, or --state, --kind, --label, --to, --since, …"
            ))),
            id => Ok(id.as_deref()),
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

    async fn many(&self, verb: &str) -> Ended {
        let relay = self.remote.relay()?;
        let mut query = self.filter.query()?;
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
