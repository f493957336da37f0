//! Follows a job until it settles or is in doubt.

use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use super::exit::{Exit, Trouble};
use super::out;
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

/// How taking a job back ends a command; `None` while it is under way.
///
/// What ended without being sent needs no taking back. While a part of a batch is in doubt, more
/// of it may be there than was taken back.
pub(super) fn exit_of_recall(job: &Value) -> Option<Exit> {
    let exit = match job["recall"]["state"].as_str() {
        Some("done") => Exit::Fine,
        Some("failed" | "expired" | "canceled") => return Some(Exit::Failed),
        Some("in_doubt") => return Some(Exit::Doubt),
        Some(_) => return None,
        None => match exit_of(job)? {
            Exit::Fine if !job["recalled_at"].is_string() => return None,
            _ => Exit::Fine,
        },
    };
    match exit_of(job) {
        Some(Exit::Doubt) => Some(Exit::Doubt),
        _ => Some(exit),
    }
}

/// Follows a job that the relay has stored `first` until it ends by `exit_of` or `until` has
/// come; answers the last that was heard of it.
///
/// # Errors
/// The relay went away meanwhile: stored it is, settled perhaps not.
pub(super) async fn settle(
    relay: &Relay,
    first: Answer,
    until: Instant,
    exit_of: fn(&Value) -> Option<Exit>,
) -> Result<(Exit, Answer), Trouble> {
    if let Some(exit) = exit_of(&first.json) {
        return Ok((exit, first));
    }
    let id = out::text(&first.json["id"]);
    let mut last = first;
    let keep = |answer: &Answer| {
        last = Answer {
            body: answer.body.clone(),
            json: answer.json.clone(),
        };
        Ok(())
    };
    let followed = follow(relay, &id, WAIT_MAX, Some(until), exit_of, keep).await;
    let exit = followed.map_err(|error| {
        let trouble = Trouble::from(error);
        let sentence = format!("{id} is stored, but {}", trouble.sentence);
        Trouble::new(Exit::Unsettled, sentence)
    })?;
    Ok((exit, last))
}

/// Asks for the job `id` again and again, each time waiting at most `step`, until it has ended by
/// `exit_of` or `until` has come; shows each answer to `seen`.
///
/// # Errors
/// What the relay or `seen` says.
pub(super) async fn follow(
    relay: &Relay,
    id: &str,
    step: Duration,
    until: Option<Instant>,
    exit_of: fn(&Value) -> Option<Exit>,
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
