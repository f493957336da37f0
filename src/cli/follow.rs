//! Follows a job until it settles or is in doubt.

use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use super::exit::{Exit, Trouble};
use super::relay::{Answer, Relay, RelayError};

/// The longest wait asked of the relay at once.
pub(super) const WAIT_MAX: Duration = Duration::from_secs(30);

/// An answer sooner than this did not wait; the next question is held back so long.
const PAUSE: Duration = Duration::from_millis(200);

/// How the state of a job ends a command; `None` while it is open.
pub(super) fn exit_of(job: &Value) -> Option<Exit> {
    match job["state"].as_str() {
        Some("done") => Some(Exit::Fine),
        Some("failed" | "expired" | "canceled") => Some(Exit::Failed),
        Some("in_doubt") => Some(Exit::Doubt),
        _ => None,
    }
}

/// Asks for the job `id` again and again, each time waiting at most `step`, until it is not open
/// any more or `until` has come; shows each answer to `seen`.
///
/// # Errors
/// What the relay or `seen` says.
pub(super) async fn follow(
    relay: &Relay,
    id: &str,
    step: Duration,
    until: Option<Instant>,
    mut seen: impl FnMut(&Answer) -> Result<(), Trouble>,
) -> Result<Exit, Followed> {
    loop {
        let asked = Instant::now();
        let left = until.map_or(step, |until| until.duration_since(asked).min(step));
        let query = vec![("wait".to_owned(), format!("{}ms", left.as_millis()))];
        let answer = relay.get(&["jobs", id], query, left).await?;
        seen(&answer)?;
        if let Some(exit) = exit_of(&answer.json) {
            return Ok(exit);
        }
        if until.is_some_and(|until| Instant::now() >= until) {
            return Ok(Exit::Unsettled);
        }
        if asked.elapsed() < PAUSE {
            tokio::time::sleep_until(asked + PAUSE).await;
        }
    }
}

/// Why a job could not be followed.
#[derive(Debug)]
pub(super) enum Followed {
    /// The relay did not say how it stands.
    Relay(RelayError),
    /// It could not be shown.
    Shown(Trouble),
}

impl From<RelayError> for Followed {
    fn from(error: RelayError) -> Self {
        Self::Relay(error)
    }
}

impl From<Trouble> for Followed {
    fn from(trouble: Trouble) -> Self {
        Self::Shown(trouble)
    }
}

impl From<Followed> for Trouble {
    fn from(followed: Followed) -> Self {
        match followed {
            Followed::Relay(error) => error.into(),
            Followed::Shown(trouble) => trouble,
        }
    }
}
