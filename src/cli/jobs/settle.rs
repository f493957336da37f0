//! `jobs settle`: a person's word on a job that is in doubt.

use serde_json::json;

use crate::cli::exit::{Ended, Exit};
use crate::cli::out;
use crate::cli::relay::Remote;

/// Say what became of a job in doubt
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Settle {
    /// The job (job_…)
    id: String,
    /// It happened
    #[arg(long, required_unless_present = "failed", conflicts_with = "failed")]
    done: bool,
    /// It did not
    #[arg(long)]
    failed: bool,
    /// Feishu's id of the message that was found
    #[arg(long, value_name = "ID", conflicts_with = "failed")]
    message_id: Option<String>,
    /// This part of a batch only, counted from 0
    #[arg(long, value_name = "N")]
    part: Option<u32>,
    #[command(flatten)]
    remote: Remote,
}

impl Settle {
    /// Tells the relay.
    pub(super) async fn run(self) -> Ended {
        let relay = self.remote.relay()?;
        let state = if self.done { "done" } else { "failed" };
        let mut body = json!({"state": state});
        if let Some(id) = &self.message_id {
            body["message_id"] = json!(id);
        }
        if let Some(part) = self.part {
            body["part"] = json!(part);
        }
        let path = ["jobs", &self.id, "settle"];
        let answer = relay
            .post(&path, Vec::new(), Some(body.to_string()))
            .await?;
        match self.remote.json {
            true => out::json(&answer.body)?,
            false => out::line(&out::summary(&answer.json))?,
        }
        Ok(Exit::Fine)
    }
}
