//! `status`: how the queue stands, per app and per lane that waits longest.

use std::time::Duration;

use serde_json::Value;

use super::exit::{Ended, Exit};
use super::out;
use super::relay::Remote;

/// Show how the queue stands
#[derive(Debug, clap::Args)]
pub(super) struct Status {
    #[command(flatten)]
    remote: Remote,
}

impl Status {
    /// Asks the relay, which does not ask Feishu.
    pub(super) async fn run(self) -> Ended {
        let relay = self.remote.relay()?;
        let answer = relay.get(&["status"], Vec::new(), Duration::ZERO).await?;
        if self.remote.json {
            out::json(&answer.body)?;
            return Ok(Exit::Fine);
        }
        for (name, value) in answer.json.as_object().into_iter().flatten() {
            match value {
                Value::Array(items) if items.iter().all(Value::is_object) => {
                    if !items.is_empty() {
                        out::line(&format!("{name}:"))?;
                        out::objects(items)?;
                    }
                }
                other => out::line(&format!("{name}: {}", out::text(other)))?,
            }
        }
        Ok(Exit::Fine)
    }
}
