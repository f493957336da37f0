//! `jobs watch` without an id: every change of the jobs that match, until Ctrl-C.
//!
//! A connection that is lost is opened again behind the last event that was heard, so that no end of
//! a job is missed; what was missed all the same is said on stderr.

use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use crate::cli::exit::{Ended, Exit, Trouble};
use crate::cli::out;
use crate::cli::relay::{Relay, RelayError, Remote};

/// A stream that says nothing for so long is lost: the relay says something every 15 s.
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// How long to wait before a lost connection is opened again: at first, and at most.
const AGAIN: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(30)];

/// What was heard of a stream.
#[derive(Debug, Default)]
struct Heard {
    /// Bytes that are no whole block yet.
    rest: Vec<u8>,
    /// The id behind which the next connection goes on.
    last: Option<String>,
}

/// Prints what is told until `until`, or for ever.
pub(super) async fn run(
    remote: &Remote,
    query: Vec<(String, String)>,
    until: Option<Instant>,
) -> Ended {
    let relay = remote.relay()?;
    let watching = watch(&relay, &query, remote.json);
    match until {
        None => watching.await,
        Some(until) => tokio::time::timeout_at(until, watching)
            .await
            .unwrap_or(Ok(Exit::Fine)),
    }
}

async fn watch(relay: &Relay, query: &[(String, String)], json: bool) -> Ended {
    let mut heard = Heard::default();
    let mut again = AGAIN[0];
    loop {
        match relay.events(query.to_vec(), heard.last.as_deref()).await {
            Ok(mut stream) => {
                heard.rest.clear();
                while let Ok(Ok(Some(bytes))) =
                    tokio::time::timeout(SILENCE_MAX, stream.chunk()).await
                {
                    again = AGAIN[0];
                    heard.take(&bytes, json)?;
                }
            }
            // It was there before, so it may come back; what is refused once is refused again.
            Err(error) if heard.last.is_some() && may_pass(&error) => {}
            Err(error) => return Err(error.into()),
        }
        let seconds = again.as_secs();
        out::complain(&format!(
            "feishu-relay: the connection was lost; trying again in {seconds} s"
        ));
        tokio::time::sleep(again).await;
        again = (again * 2).min(AGAIN[1]);
    }
}

fn may_pass(error: &RelayError) -> bool {
    match error {
        RelayError::Unreachable { .. }
        | RelayError::Lost { .. }
        | RelayError::Unanswered { .. }
        | RelayError::Full { .. } => true,
        RelayError::Refused { .. } | RelayError::Strange { .. } => false,
    }
}

impl Heard {
    /// Prints each whole block of what came.
    fn take(&mut self, bytes: &[u8], json: bool) -> Result<(), Trouble> {
        self.rest.extend_from_slice(bytes);
        while let Some(end) = self.rest.windows(2).position(|two| two == b"\n\n") {
            let block: Vec<u8> = self.rest.drain(..end + 2).collect();
            self.block(&String::from_utf8_lossy(&block), json)?;
        }
        Ok(())
    }

    fn block(&mut self, block: &str, json: bool) -> Result<(), Trouble> {
        let field = |name: &str| block.lines().find_map(|line| line.strip_prefix(name));
        // Shown first: a line that could not be printed was not heard.
        match (field("event: "), field("data: ")) {
            (Some("job"), Some(data)) if json => out::json(data)?,
            (Some("job"), Some(data)) => {
                let data: Value = serde_json::from_str(data).unwrap_or_default();
                out::line(&out::event(&data))?;
            }
            (Some("gap"), Some(data)) => {
                let data: Value = serde_json::from_str(data).unwrap_or_default();
                let detail = out::text(&data["detail"]);
                out::complain(&format!("feishu-relay: changes were missed: {detail}"));
            }
            _ => {}
        }
        if let Some(id) = field("id: ") {
            self.last = Some(id.to_owned());
        }
        Ok(())
    }
}
