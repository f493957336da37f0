//! `jobs show`: everything that is known of one job.

use std::time::Duration;

use serde_json::Value;

use super::doubt;
use crate::cli::exit::{Ended, Exit};
use crate::cli::out;
use crate::cli::relay::Remote;

/// Show one job whole
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Show {
    /// The job (job_…), or its message (om_…) or batch (bm-…)
    id: String,
    /// Of a message in doubt: look into its chat's history first
    #[arg(long)]
    fresh: bool,
    #[command(flatten)]
    remote: Remote,
}

impl Show {
    /// Prints the job: plain values first, then its lists.
    pub(super) async fn run(self) -> Ended {
        let relay = self.remote.relay()?;
        let query = match self.fresh {
            true => vec![("fresh".to_owned(), "true".to_owned())],
            false => Vec::new(),
        };
        let answer = relay
            .get(&["jobs", &self.id], query, Duration::from_secs(10))
            .await?;
        match self.remote.json {
            true => out::json(&answer.body)?,
            false => show(&answer.json)?,
        }
        Ok(Exit::Fine)
    }
}

fn show(job: &Value) -> std::io::Result<()> {
    /// What a person looks for first; the rest follows as it comes.
    const FIRST: [&str; 6] = ["id", "kind", "state", "waiting_for", "app", "to"];
    let fields = || job.as_object().into_iter().flatten();
    let rest = fields()
        .map(|(name, _)| name.as_str())
        .filter(|name| !FIRST.contains(name) && *name != "doubt");
    let plain = FIRST
        .into_iter()
        .chain(rest)
        .filter(|name| !is_table(&job[*name]));
    for name in plain {
        let value = out::text(&job[name]);
        if !matches!(value.as_str(), "" | "[]" | "{}") {
            out::line(&format!("{name:<12} {value}"))?;
        }
    }
    for (name, value) in fields().filter(|(_, value)| is_table(value)) {
        out::line(&format!("\n{name}:"))?;
        out::objects(value.as_array().map_or(&[][..], Vec::as_slice))?;
    }
    match job["doubt"].is_object() {
        true => doubt::show(job),
        false => Ok(()),
    }
}

fn is_table(value: &Value) -> bool {
    value
        .as_array()
        .is_some_and(|items| !items.is_empty() && items.iter().all(Value::is_object))
}
