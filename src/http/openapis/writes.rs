//! Writing calls: each is a job on disk before anything else, then its caller waits for it.
//!
//! Nothing of a call is checked but that it can be kept; what Feishu would refuse, Feishu refuses.

use std::time::Duration;

use axum::body::Body;
use axum::extract::Query;
use axum::http::header::CONTENT_ENCODING;
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::Value;

use crate::config::Scope;
use crate::http::Relay;
use crate::http::auth::Caller;
use crate::http::body::{self, Whole};
use crate::http::json;
use crate::http::multipart::{self, Bounds};
use crate::http::openapis::promise;
use crate::http::openapis::settled::{Place, is_refused, promised};
use crate::http::openapis::tokens::Bearer;
use crate::http::openapis::{BAD_FIELD, BAD_REQUEST, Refusal, undressed};
use crate::http::problem::Problem;
use crate::http::query::{Wait, duration};
use crate::job::openapi::{self, Brought, Call, Terms, Written};
use crate::job::{JobId, Kind, Makes};
use crate::store::{AcceptError, Said, StoreError};

/// How long the job may wait for Feishu.
const EXPIRES: &str = "x-relay-expires";
const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// Of a call that does not say, milliseconds.
const EXPIRES_MS: i64 = 3_600_000;

/// A form without its file. Source: errors.md, section 3.
const BAD_FILE_PARAM: i64 = 234_001;

/// The longest key of a header.
const KEY_BYTES_MAX: usize = 255;

/// Bodies up to this size are parsed where they are; larger ones where they block nobody.
const SMALL_BYTES: usize = 16 << 10;

/// What the headers of a call say.
#[derive(Debug, PartialEq, Eq)]
struct Asked {
    wait: Wait,
    expires_ms: Option<i64>,
    key: Option<String>,
}

/// A body that can be kept: its text, and what it says.
#[derive(Debug)]
struct Object {
    text: String,
    value: Value,
}

/// Stores the call as a job, and answers what Feishu answers it, or a promise.
pub(super) async fn write(
    relay: &Relay,
    bearer: &Bearer,
    head: &Parts,
    body: Body,
    (kind, call): (Kind, Call),
) -> Response {
    let asked = match may(bearer, kind).and_then(|()| asked(&bearer.caller, &head.headers)) {
        Ok(asked) => asked,
        Err(refusal) => return refusal.into_response(),
    };
    let state = &relay.state;
    if let Some(field) = call.file() {
        return bring(relay, bearer, asked, (head, body), (kind, &call, field)).await;
    }
    let room = (&relay.room, &relay.stop);
    let body = body::read(&head.headers, body, state.max_body, room.0, room.1).await;
    let object = match body {
        Ok(body) => parsed(body, &head.headers).await,
        Err(problem) => return undressed(&problem),
    };
    let object = match object {
        Ok(object) => object,
        Err(refusal) => return refusal.into_response(),
    };
    let Ok(Query(query)) = Query::try_from_uri(&head.uri) else {
        let msg = "the query cannot be read";
        return Refusal::new(StatusCode::BAD_REQUEST, BAD_REQUEST, msg).into_response();
    };
    let written = Written {
        call: &call,
        query,
        body: object
            .as_ref()
            .map(|object| (object.text.as_str(), &object.value)),
    };
    store(relay, bearer, asked, kind, (&written, None)).await
}

/// Takes a form whose file goes straight to disk.
async fn bring(
    relay: &Relay,
    bearer: &Bearer,
    asked: Asked,
    (head, body): (&Parts, Body),
    (kind, call, field): (Kind, &Call, &'static str),
) -> Response {
    let refuse =
        |msg: &str| Refusal::new(StatusCode::BAD_REQUEST, BAD_FILE_PARAM, msg).into_response();
    if !multipart::is_form(&head.headers) {
        return refuse("the body is no form");
    }
    let state = &relay.state;
    let bounds = Bounds {
        body_bytes: state.max_body,
        file_bytes: state.max_body,
        files: &[field],
    };
    let form = multipart::read(&state.store, &head.headers, body, bounds, &relay.stop).await;
    let form = match form {
        Ok(form) => form,
        Err(problem) => return undressed(&problem),
    };
    let Some(file) = form.files.iter().find(|file| file.name == field) else {
        return refuse(&format!("the form has no file {field:?}"));
    };
    let written = Written {
        call,
        query: Vec::new(),
        body: None,
    };
    let brought = Brought {
        words: &form.words,
        file_name: file.file_name.as_deref(),
        file: file.arrived(),
    };
    // The form holds its files until the job is stored.
    store(relay, bearer, asked, kind, (&written, Some(&brought))).await
}

async fn store(
    relay: &Relay,
    bearer: &Bearer,
    asked: Asked,
    kind: Kind,
    (written, brought): (&Written<'_>, Option<&Brought<'_>>),
) -> Response {
    let state = &relay.state;
    let now_ms = state.clock.wall_ms();
    let door = bearer.caller.door(&state.apps, &state.bots(), now_ms);
    let life_ms = asked.expires_ms.or(door.expires_in_ms);
    let terms = Terms {
        app: bearer.app_name.clone(),
        client: door.client,
        priority: door.priority,
        expires_ms: now_ms.saturating_add(life_ms.unwrap_or(EXPIRES_MS)),
        labels: door.labels,
        key: asked.key,
    };
    let named = written.named();
    let promises = match promises(relay, bearer, &named).await {
        Ok(promises) => promises,
        Err(error) => return undressed(&Problem::from(error)),
    };
    if let Some(broken) = promises.iter().find(|said| is_refused(said)) {
        return relay.refused(broken).await;
    }
    let made_by: Vec<JobId> = promises.iter().map(|said| said.id).collect();
    let Some(job) = written.job(&made_by, brought, terms) else {
        return undressed(&Problem::bare(StatusCode::NOT_FOUND));
    };
    let place = Place {
        app: bearer.app,
        app_name: bearer.app_name.clone(),
        kind,
        lane: job.lane.clone(),
        priority: job.priority,
    };
    let args = job.args.clone();
    let accepted = match state.store.accept(vec![job]).await {
        Ok(accepted) => accepted,
        Err(error) => return not_accepted(relay, bearer, &named, error).await,
    };
    let Some(accepted) = accepted.first() else {
        return undressed(&Problem::internal());
    };
    let wait = Duration::from_millis(asked.wait.ms.unsigned_abs());
    // From here on the job is on disk: whatever fails, the answer says so.
    match relay.settled(accepted.id, wait, &place).await {
        Ok(Some(said)) => relay.told(&said).await,
        Ok(None) => promised(&openapi::promise(kind, accepted.id, Some(&args)), "queued"),
        Err(error) => {
            tracing::warn!(%error, "a wait for an accepted job broke off");
            promised(&openapi::promise(kind, accepted.id, Some(&args)), "queued")
        }
    }
}

/// What the client may not, in Feishu's words.
fn may(bearer: &Bearer, kind: Kind) -> Result<(), Refusal> {
    let (caller, name) = (&bearer.caller, kind.name());
    if !caller.may(Scope::Enqueue) {
        let msg = format!("client {:?} lacks the scope \"enqueue\"", caller.name());
        return Err(Refusal::forbidden(&msg));
    }
    match caller.kinds() {
        Some(kinds) if !kinds.iter().any(|kind| kind == name) => {
            let msg = format!("client {:?} may not use kind {name:?}", caller.name());
            Err(Refusal::forbidden(&msg))
        }
        _ => Ok(()),
    }
}

fn asked(caller: &Caller, headers: &HeaderMap) -> Result<Asked, Refusal> {
    let text = |name: &'static str| -> Result<Option<&str>, Refusal> {
        let mut given = headers.get_all(name).iter();
        let value = match (given.next(), given.next()) {
            (None, _) => return Ok(None),
            (Some(value), None) => value.to_str().ok(),
            (Some(_), Some(_)) => None,
        };
        value
            .map(Some)
            .ok_or_else(|| bad_header(name, "is given twice, or is no text"))
    };
    let time = |name: &'static str, least_ms: i64| -> Result<Option<i64>, Refusal> {
        let Some(value) = text(name)? else {
            return Ok(None);
        };
        let ms = duration(value.trim()).filter(|ms| *ms >= least_ms);
        ms.map(Some)
            .ok_or_else(|| bad_header(name, "is no duration, as \"3s\" or \"5m\""))
    };
    let key = text(IDEMPOTENCY_KEY)?;
    match key {
        Some(key) if key.is_empty() || key.len() > KEY_BYTES_MAX => {
            Err(bad_header(IDEMPOTENCY_KEY, "must have 1 to 255 bytes"))
        }
        key => Ok(Asked {
            wait: promise::wait(caller, headers)?,
            expires_ms: time(EXPIRES, 1)?,
            key: key.map(str::to_owned),
        }),
    }
}

fn bad_header(name: &str, detail: &str) -> Refusal {
    let msg = format!("header {name} {detail}");
    Refusal::new(StatusCode::BAD_REQUEST, BAD_FIELD, msg)
}

/// The body, which is a JSON object or nothing at all.
async fn parsed(body: Whole, headers: &HeaderMap) -> Result<Option<Object>, Refusal> {
    let refuse = |msg: &str| Refusal::new(StatusCode::BAD_REQUEST, BAD_REQUEST, msg);
    let encoding = headers.get(CONTENT_ENCODING);
    if encoding.is_some_and(|encoding| encoding != "identity") {
        return Err(refuse("compressed bodies are not taken"));
    }
    if body.bytes.is_empty() {
        return Ok(None);
    }
    let small = body.bytes.len() <= SMALL_BYTES;
    let read = move || {
        let value = json::value(&body.bytes).ok().filter(Value::is_object)?;
        let text = String::from_utf8(body.bytes).ok()?;
        Some(Object { text, value })
    };
    let read = match small {
        true => read(),
        false => tokio::task::spawn_blocking(read).await.unwrap_or_default(),
    };
    read.map(Some)
        .ok_or_else(|| refuse("the body is no JSON object"))
}

/// Those of `named` that are promises of ids for this app; what is none is only a text.
async fn promises(
    relay: &Relay,
    bearer: &Bearer,
    named: &[JobId],
) -> Result<Vec<Said>, StoreError> {
    let mut known = relay.state.store.said(named).await?;
    known.retain(|said| said.app == bearer.app && said.kind.makes() != Makes::Nothing);
    Ok(known)
}

/// Nothing was stored.
async fn not_accepted(
    relay: &Relay,
    bearer: &Bearer,
    named: &[JobId],
    error: AcceptError,
) -> Response {
    let flaws = match error {
        AcceptError::Flawed(flaws) => flaws,
        AcceptError::Full => return undressed(&Problem::full("the queue is full")),
        AcceptError::Store(error) => return undressed(&Problem::from(error)),
        AcceptError::KeyTaken { .. } => return undressed(&Problem::internal()),
    };
    // A promise may have been broken since it was looked at.
    let promises = promises(relay, bearer, named).await.unwrap_or_default();
    if let Some(broken) = promises.iter().find(|said| is_refused(said)) {
        return relay.refused(broken).await;
    }
    let msg = flaws.first().map_or("", |flaw| flaw.detail.as_str());
    Refusal::new(StatusCode::BAD_REQUEST, BAD_FIELD, msg).into_response()
}
