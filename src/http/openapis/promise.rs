//! Promised ids: where Feishu's id would stand, a call may name the job that makes it.
//!
//! A job that is named is waited for; then its id stands in its place. What became of a job that makes none is
//! answered as if the call itself had come to it.
//! Not here: writes on promises, which become jobs that hang on them (`job`).

use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value};

use crate::http::Relay;
use crate::http::auth::Caller;
use crate::http::openapis::settled::is_refused;
use crate::http::openapis::tokens::Bearer;
use crate::http::openapis::{BAD_FIELD, NOT_STORED, Refusal};
use crate::http::query::{Wait, duration};
use crate::job::{Job, JobId, State, percent_encoded};

/// How long a call waits, in a duration; `0` = not at all.
pub(super) const WAIT: &str = "x-relay-wait";

/// How long it waits when neither it nor its client says, milliseconds.
const WAIT_MS: i64 = 3_000;

/// The longest wait, milliseconds.
const WAIT_MS_MAX: i64 = crate::http::query::WAIT_MS_MAX;

// The relay's own: what became of a job.
const UNSETTLED: i64 = 990_003;

/// There is no such message. Source: errors.md, section 2.
const NO_SUCH_ID: i64 = 99_992_354;

/// Where receipts have the id that was made.
const IDS: [&str; 6] = [
    "/message_id",
    "/message/message_id",
    "/image_key",
    "/file_key",
    "/reaction_id",
    "/batch_message_id",
];

/// How long this call waits.
///
/// # Errors
/// The header is no duration.
pub(super) fn wait(caller: &Caller, headers: &HeaderMap) -> Result<Wait, Refusal> {
    let own = |ms| Wait {
        ms: i64::clamp(ms, 0, WAIT_MS_MAX),
        children: false,
    };
    let mut given = headers.get_all(WAIT).iter();
    let Some(said) = given.next() else {
        return Ok(own(caller.wait_ms().unwrap_or(WAIT_MS)));
    };
    let text = said.to_str().ok().filter(|_| given.next().is_none());
    let ms = text.and_then(|text| duration(text.trim()));
    ms.map(own).ok_or_else(|| {
        let msg = "X-Relay-Wait is a duration such as 10s, or 0";
        Refusal::new(StatusCode::BAD_REQUEST, BAD_FIELD, msg)
    })
}

/// The jobs that stand for whole pieces of a path, or for whole values of a query.
pub(super) fn in_address(path: &str, query: &str) -> Vec<JobId> {
    let pieces = path.split('/').chain(values(query));
    pieces.filter_map(|piece| piece.parse().ok()).collect()
}

fn values(query: &str) -> impl Iterator<Item = &str> {
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    pairs.map(|(_, value)| value)
}

/// The address with what jobs made in their places.
pub(super) fn put_in_address(
    path: &str,
    query: &str,
    made: &Map<String, Value>,
) -> (String, String) {
    let id = |piece: &str| match made.get(piece).and_then(Value::as_str) {
        Some(id) => percent_encoded(id),
        None => piece.to_owned(),
    };
    let path: Vec<String> = path.split('/').map(id).collect();
    let pair = |pair: &str| match pair.split_once('=') {
        Some((name, value)) => format!("{name}={}", id(value)),
        None => pair.to_owned(),
    };
    let query: Vec<String> = query.split('&').map(pair).collect();
    (path.join("/"), query.join("&"))
}

impl Relay {
    /// What these jobs have made, by their names, once they have.
    ///
    /// # Errors
    /// One of them made nothing: what it came to, or that it is not settled within the wait.
    pub(super) async fn made(
        &self,
        bearer: &Bearer,
        ids: &[JobId],
        wait: Wait,
    ) -> Result<Map<String, Value>, Box<Response>> {
        let unread = |_| {
            let msg = "the store cannot be read";
            boxed(Refusal::new(
                StatusCode::SERVICE_UNAVAILABLE,
                NOT_STORED,
                msg,
            ))
        };
        let mut made = Map::new();
        if ids.is_empty() {
            return Ok(made);
        }
        self.wait(ids, wait).await.map_err(unread)?;
        let jobs = self.state.store.jobs(ids).await.map_err(unread)?;
        for id in ids {
            let job = jobs.iter().find(|job| job.id == *id);
            let job = job.filter(|job| job.app == bearer.app_name);
            let none = || boxed(no_such(format!("there is no job {id} of this app")));
            let job = job.ok_or_else(none)?;
            if job.state != State::Done {
                let said = self.state.store.said(&[*id]).await.map_err(unread)?;
                return Err(match said.iter().find(|said| is_refused(said)) {
                    Some(said) => Box::new(self.refused(said).await),
                    None => boxed(unsettled(job)),
                });
            }
            made.insert(id.to_string(), Value::String(id_of(job).map_err(boxed)?));
        }
        Ok(made)
    }
}

fn boxed(refusal: Refusal) -> Box<Response> {
    Box::new(refusal.into_response())
}

/// The id that a job that is done has made.
fn id_of(job: &Job) -> Result<String, Refusal> {
    let receipt = job.receipt.as_deref().unwrap_or_default();
    let receipt: Value = serde_json::from_str(receipt).unwrap_or_default();
    let found = IDS
        .iter()
        .find_map(|place| receipt.pointer(place)?.as_str());
    let batch = job.parts.first();
    let batch = batch.and_then(|part| part.batch_message_id.as_deref());
    let id = found.or(batch);
    id.map(str::to_owned).ok_or_else(|| {
        no_such(format!(
            "the job {} has made nothing that has an id",
            job.id
        ))
    })
}

fn no_such(msg: String) -> Refusal {
    Refusal::new(StatusCode::BAD_REQUEST, NO_SUCH_ID, msg)
}

/// A call on a job that is not settled, for as long as it waits.
fn unsettled(job: &Job) -> Refusal {
    let msg = format!("the job {} is {}", job.id, job.state.name());
    let is_doubtful = job.state == State::InDoubt;
    Refusal {
        state: Some(if is_doubtful { "in_doubt" } else { "queued" }),
        ..Refusal::new(StatusCode::GATEWAY_TIMEOUT, UNSETTLED, msg)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_job_stands_for_whole_pieces_of_an_address_alone() {
        let job = format!("job_{}", "7".repeat(32));
        let made = json!({ job.clone(): "om_1/x" });
        let made = made.as_object().unwrap();
        let check = |path: &str, query: &str, jobs: usize, expected: (&str, &str)| {
            assert_eq!(in_address(path, query).len(), jobs, "{path}?{query}");
            let (path, query) = put_in_address(path, query, made);
            assert_eq!((path.as_str(), query.as_str()), expected);
        };
        let path = format!("/messages/{job}/reactions");
        let query = format!("a=1&id={job}&b");
        let put = ("/messages/om_1%2Fx/reactions", "a=1&id=om_1%2Fx&b");
        check(&path, &query, 2, put);
        let (path, query) = (format!("/messages/x{job}"), format!("{job}=1&a={job}x"));
        check(&path, &query, 0, (&path, &query));
        check("/messages", "", 0, ("/messages", ""));
    }
}
