//! `POST /v1/jobs`: from a body to jobs on disk, all or none.

use std::collections::HashMap;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::LOCATION;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::config::Scope;
use crate::http::Relay;
use crate::http::auth::Caller;
use crate::http::body::{self, Whole};
use crate::http::form;
use crate::http::json::{self, Fault, JOBS_MAX, Shape};
use crate::http::multipart::{self, Bounds, FilePart, Form};
use crate::http::openapi::{Contested, Telling};
use crate::http::params::Waiting;
use crate::http::problem::Problem;
use crate::http::query::Words;
use crate::http::schema::{NewForm, NewJobs};
use crate::job::{Door, Flaw, Job, JobId, NewJob, UPLOAD_BYTES_MAX, parse};
use crate::store::{AcceptError, Accepted};

/// The key of a single job, beside its body.
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// Bodies up to this size are parsed where they are; larger ones where they block nobody.
const SMALL_BYTES: usize = 16 << 10;

/// Jobs as they came in.
#[derive(Debug)]
struct Submission {
    shape: Shape,
    jobs: Vec<NewJob>,
}

/// A job that was accepted.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
enum Entry<'a> {
    /// As it is now.
    Job(&'a Job),
    /// It could not be read back.
    Id(OnlyId),
}

/// A job of which only the name can be told.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct OnlyId {
    id: JobId,
}

/// The jobs in the order of the request.
#[derive(Serialize, ToSchema)]
struct Entries<'a> {
    jobs: Vec<Entry<'a>>,
}

/// One object in: the job; several: all of them.
#[derive(ToSchema)]
#[expect(dead_code, reason = "what is answered, for the document")]
#[schema(as = Accepted)]
#[serde(untagged)]
enum Answered<'a> {
    One(Entry<'a>),
    Many(Entries<'a>),
}

/// `POST /v1/jobs[?wait=]`
#[utoipa::path(
    post,
    path = "/v1/jobs",
    summary = "Jobs in: one object, a list or NDJSON; all or none",
    params(Waiting),
    request_body(content((NewJobs = "application/json"), (String = "application/x-ndjson"), (NewForm = "multipart/form-data"))),
    responses(
        (status = 200, description = "All of them were there already.", body = Answered),
        (
            status = 202,
            description = "They are on disk.",
            body = Answered,
            links(
                ("one" = (operation_id = "one", parameters(("id" = "$response.body#/id")))),
                ("progress" = (operation_id = "progress", parameters(("id" = "$response.body#/id")))),
                ("cancel" = (operation_id = "cancel", parameters(("id" = "$response.body#/id")))),
                ("retry" = (operation_id = "retry", parameters(("id" = "$response.body#/id")))),
                ("recall" = (operation_id = "recall", parameters(("id" = "$response.body#/id")))),
                ("settle" = (operation_id = "settle", parameters(("id" = "$response.body#/id"))))
            )
        ),
        Telling,
        Contested
    ),
)]
pub(super) async fn submit(
    State(relay): State<Arc<Relay>>,
    Extension(caller): Extension<Caller>,
    request: Request,
) -> Result<Response, Problem> {
    caller.need(Scope::Enqueue)?;
    let mut words = Words::of(request.uri())?;
    let wait = words.wait(0);
    words.finish()?;
    let (head, body) = request.into_parts();
    let key = idempotency_key(&head.headers)?;
    let state = &relay.state;
    // Files of a form are held until their job is stored.
    let mut form = Form::default();
    let Submission { shape, jobs } = if multipart::is_form(&head.headers) {
        form = relay.form(&head.headers, body).await?;
        let door = Door {
            arrived: form.files.iter().map(FilePart::arrived).collect(),
            ..caller.door(&state.apps, &state.bots(), state.clock.wall_ms())
        };
        read_form(&form, key.as_deref(), &door)?
    } else {
        let lines = body::is_ndjson(&head.headers)?;
        let body = body::read(
            &head.headers,
            body,
            state.max_body,
            &relay.room,
            &relay.stop,
        );
        let body = body.await?;
        let door = caller.door(&state.apps, &state.bots(), state.clock.wall_ms());
        read_aside(body, lines, key, door).await?
    };
    let mut accepted = state
        .store
        .accept(jobs)
        .await
        .map_err(|error| refusal(error, shape))?;
    drop(form);
    let mut ids: Vec<JobId> = accepted.iter().map(|one| one.id).collect();
    ids.sort_unstable();
    ids.dedup();
    // From here on the jobs are on disk: whatever fails, the answer says so.
    if let Err(error) = relay.wait(&ids, wait).await {
        tracing::warn!(%error, "a wait for accepted jobs broke off");
    }
    // After a wait, even one that is over at once, they are told as they are now.
    let mut known = match wait.ms <= 0 {
        true => fresh(&mut accepted),
        false => Vec::new(),
    };
    ids.retain(|id| known.iter().all(|job| job.id != *id));
    if !ids.is_empty() {
        known.extend(state.store.jobs(&ids).await.unwrap_or_else(|error| {
            tracing::warn!(%error, "accepted jobs could not be read back");
            Vec::new()
        }));
    }
    Ok(receipt(shape, &accepted, &known))
}

impl Relay {
    async fn form(&self, headers: &HeaderMap, body: Body) -> Result<Form, Problem> {
        let bounds = Bounds {
            body_bytes: self.state.max_body,
            file_bytes: UPLOAD_BYTES_MAX,
            files: &form::FILES,
        };
        multipart::read(&self.state.store, headers, body, bounds, &self.stop).await
    }
}

/// What the store could tell of them without reading.
fn fresh(accepted: &mut [Accepted]) -> Vec<Job> {
    let told = accepted.iter_mut().filter_map(|one| one.fresh.take());
    told.map(|job| *job).collect()
}

/// The header's text, which counts as `key`.
fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let mut given = headers.get_all(IDEMPOTENCY_KEY).iter();
    let key = match (given.next(), given.next()) {
        (None, _) => return Ok(None),
        (Some(_), Some(_)) => {
            return Err(Problem::malformed("there are two Idempotency-Key headers"));
        }
        (Some(key), None) => std::str::from_utf8(key.as_bytes()),
    };
    match key {
        Ok(key) => Ok(Some(key.to_owned())),
        Err(_) => Err(Problem::malformed("the Idempotency-Key is no text")),
    }
}

/// Parses a large body on a thread that may block.
async fn read_aside(
    body: Whole,
    lines: bool,
    key: Option<String>,
    door: Door,
) -> Result<Submission, Problem> {
    let small = body.bytes.len() <= SMALL_BYTES;
    let read = move || read(&body.bytes, lines, key.as_deref(), &door);
    match small {
        true => read(),
        false => match tokio::task::spawn_blocking(read).await {
            Ok(read) => read,
            Err(error) => {
                tracing::error!(
                    panicked = error.is_panic(),
                    "a body was not parsed to its end"
                );
                Err(Problem::internal())
            }
        },
    }
}

fn read(body: &[u8], lines: bool, key: Option<&str>, door: &Door) -> Result<Submission, Problem> {
    let mut jobs = Vec::new();
    let mut flaws = Vec::new();
    let shape = json::jobs(body, lines, |at, mut value| {
        if at.is_empty() {
            flaws.extend(put_key(&mut value, key));
        }
        match parse(&value, at, door) {
            Ok(job) => jobs.push(job),
            Err(more) => flaws.extend(more),
        }
    });
    let shape = shape.map_err(unreadable)?;
    if shape == Shape::Many && key.is_some() {
        flaws.push(flaw(
            "Idempotency-Key names one job; give each job of a list its own \"key\"",
        ));
    }
    if jobs.is_empty() && flaws.is_empty() {
        flaws.push(flaw("the list is empty"));
    }
    match flaws.is_empty() {
        true => Ok(Submission { shape, jobs }),
        false => Err(Problem::flawed(flaws)),
    }
}

/// The one job of a form.
fn read_form(form: &Form, key: Option<&str>, door: &Door) -> Result<Submission, Problem> {
    let mut value = form::job(form)?;
    let mut flaws: Vec<Flaw> = put_key(&mut value, key).into_iter().collect();
    let job = parse(&value, "", door);
    match job {
        Ok(job) if flaws.is_empty() => Ok(Submission {
            shape: Shape::One,
            jobs: vec![job],
        }),
        job => {
            flaws.extend(job.err().unwrap_or_default());
            Err(Problem::flawed(flaws))
        }
    }
}

/// Writes the header's key into the job, unless the job has another one already.
fn put_key(job: &mut Value, key: Option<&str>) -> Option<Flaw> {
    let (Some(key), Value::Object(job)) = (key, job) else {
        return None;
    };
    match job.get("key") {
        None | Some(Value::Null) => {
            job.insert(String::from("key"), Value::from(key));
            None
        }
        Some(given) if *given == key => None,
        Some(_) => Some(Flaw {
            pointer: String::from("/key"),
            detail: String::from("is not the key of the Idempotency-Key header"),
        }),
    }
}

/// A fault of the request as a whole.
fn flaw(detail: &str) -> Flaw {
    Flaw {
        pointer: String::new(),
        detail: detail.to_owned(),
    }
}

/// What is answered to a body that cannot be taken apart.
pub(super) fn unreadable(fault: Fault) -> Problem {
    match fault {
        Fault::Syntax(detail) => Problem::not_json(detail),
        Fault::Empty => Problem::not_json("the body is empty; send a job"),
        Fault::TooManyJobs => {
            let detail = format!("has more than {JOBS_MAX} jobs; send them in several requests");
            Problem::flawed(vec![flaw(&detail)])
        }
        Fault::TooManyValues => {
            let detail = "has too many values; send its jobs in several requests";
            Problem::flawed(vec![flaw(detail)])
        }
    }
}

fn refusal(error: AcceptError, shape: Shape) -> Problem {
    match error {
        AcceptError::Full => Problem::full("the queue is full; send it again later"),
        AcceptError::KeyTaken { index, holder } => {
            let pointer = match shape {
                Shape::One => String::from("/key"),
                Shape::Many => format!("/{index}/key"),
            };
            let detail = format!("the key stands for another request already: {holder}");
            Problem::key_taken(pointer, detail)
        }
        AcceptError::Flawed(flaws) => Problem::flawed(flaws),
        AcceptError::Store(error) => Problem::from(error),
    }
}

/// The jobs in the order of the request; one that could not be read back is only named.
fn receipt(shape: Shape, accepted: &[Accepted], known: &[Job]) -> Response {
    let known: HashMap<JobId, &Job> = known.iter().map(|job| (job.id, job)).collect();
    let entry = |one: &Accepted| match known.get(&one.id) {
        Some(job) => Entry::Job(job),
        None => Entry::Id(OnlyId { id: one.id }),
    };
    let status = match accepted.iter().all(|one| one.repeated) {
        true => StatusCode::OK,
        false => StatusCode::ACCEPTED,
    };
    let entries: Vec<Entry<'_>> = accepted.iter().map(entry).collect();
    match (shape, accepted) {
        (Shape::One, [one]) => {
            let place = HeaderValue::try_from(format!("/v1/jobs/{}", one.id));
            let mut response = (status, Json(&entries[0])).into_response();
            if let Ok(place) = place {
                response.headers_mut().insert(LOCATION, place);
            }
            response
        }
        _ => (status, Json(Entries { jobs: entries })).into_response(),
    }
}
