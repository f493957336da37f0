//! Jobs after they were accepted: asked about, listed, and acted on.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::clock;
use crate::config::Scope;
use crate::http::auth::Caller;
use crate::http::openapi::{Asking, Contested, OfJob, Telling};
use crate::http::params::{Filtering, Fresh, Id, Paging, Waiting};
use crate::http::problem::Problem;
use crate::http::query::Words;
use crate::http::schema::{Nothing, Retry, Settle};
use crate::http::submit::unreadable;
use crate::http::{Relay, body, json as reading};
use crate::job::{Flaw, Job, JobId, Kind, Makes, PartRecord, State as JobState};
use crate::store::{Act, ActError, Acted, Name};

/// The largest body of an action.
const ACTION_BYTES_MAX: u64 = 64 << 10;

/// How long a question for what is fresh waits for Feishu's answer.
pub(super) const FRESH: Duration = Duration::from_secs(10);

/// A page of jobs, newest first.
#[derive(Serialize, ToSchema)]
#[schema(as = Page)]
struct Listed {
    jobs: Vec<Job>,
    /// Where the next page begins; null: there is none.
    next_cursor: Option<String>,
}

/// How far a batch is.
#[derive(Serialize, ToSchema)]
struct Progress {
    id: JobId,
    state: JobState,
    parts: Vec<PartRecord>,
    /// Feishu's counts, summed over the parts, under its names.
    #[serde(flatten)]
    #[schema(value_type = Object)]
    counts: Map<String, Value>,
}

/// `GET /v1/jobs/{id}[?wait=&wait_for=&fresh=]`. `fresh`: of a message in doubt, the chat is looked at first.
#[utoipa::path(
    get,
    path = "/v1/jobs/{id}",
    summary = "One job",
    params(Id, Waiting, Fresh),
    responses((status = 200, description = "The job.", body = Job), Asking, OfJob),
)]
pub(super) async fn one(
    State(relay): State<Arc<Relay>>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    uri: Uri,
) -> Result<Response, Problem> {
    let mut words = Words::of(&uri)?;
    let wait = words.wait(0);
    let fresh = words.fresh();
    words.finish()?;
    let job = relay.job(&caller, &id).await?;
    if wait.ms == 0 && !fresh {
        return Ok(Json(job).into_response());
    }
    relay.wait(&[job.id], wait).await?;
    if fresh {
        relay.look(job.id).await?;
    }
    let job = relay.job_named(&Name::Job(job.id)).await?;
    Ok(Json(job).into_response())
}

/// `GET /v1/jobs`
#[utoipa::path(
    get,
    path = "/v1/jobs",
    summary = "Jobs, newest first",
    params(Filtering, Paging),
    responses((status = 200, description = "A page, without the jobs' `args`.", body = Listed), Asking),
)]
pub(super) async fn list(
    State(relay): State<Arc<Relay>>,
    Extension(caller): Extension<Caller>,
    uri: Uri,
) -> Result<Response, Problem> {
    let mut words = Words::of(&uri)?;
    let filter = words.filter(relay.state.clock.wall_ms());
    words.finish()?;
    let filter = caller.within(filter);
    let page = relay.state.store.list(&filter).await?;
    let next = page.next_cursor.map(|cursor| cursor.to_string());
    let listed = Listed {
        jobs: page.jobs,
        next_cursor: next,
    };
    Ok(Json(listed).into_response())
}

/// `GET /v1/jobs/{id}/progress[?fresh=true]`
#[utoipa::path(
    get,
    path = "/v1/jobs/{id}/progress",
    summary = "How far a batch is",
    params(Id, Fresh),
    responses((status = 200, description = "Its counts.", body = Progress), Asking, OfJob, Contested),
)]
pub(super) async fn progress(
    State(relay): State<Arc<Relay>>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    uri: Uri,
) -> Result<Response, Problem> {
    let mut words = Words::of(&uri)?;
    let fresh = words.fresh();
    words.finish()?;
    let mut job = relay.job(&caller, &id).await?;
    if job.kind != Kind::BatchSend {
        let detail = format!("{} is no batch, so it has no progress", job.id);
        return Err(Problem::conflict(detail));
    }
    if fresh {
        let mut watch = relay.state.store.watch(job.id);
        if relay.state.store.ask_progress(job.id).await? {
            let deadline = tokio::time::Instant::now() + FRESH;
            // Each part answers for itself; counts of different times are not added up.
            while relay.state.store.asks_progress(job.id).await? {
                tokio::select! {
                    () = watch.changed() => {}
                    () = tokio::time::sleep_until(deadline) => break,
                    () = relay.stop.cancelled() => break,
                }
            }
            job = relay.job_named(&Name::Job(job.id)).await?;
        }
    }
    let counts = job.progress.as_deref().map(serde_json::from_str);
    let answer = Progress {
        id: job.id,
        state: job.state,
        parts: job.parts,
        counts: match counts {
            Some(Ok(Value::Object(counts))) => counts,
            _ => Map::new(),
        },
    };
    Ok(Json(answer).into_response())
}

/// `POST /v1/jobs/{id}/cancel`
#[utoipa::path(
    post,
    path = "/v1/jobs/{id}/cancel",
    summary = "Do not do it any more",
    params(Id),
    request_body = Option<Nothing>,
    responses(
        (status = 200, description = "It is so now.", body = Job),
        (status = 202, description = "It is wanted, and will be so.", body = Job),
        Telling, OfJob, Contested
    ),
)]
pub(super) async fn cancel(
    State(relay): State<Arc<Relay>>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    request: Request,
) -> Result<Response, Problem> {
    need_any(&caller)?;
    Words::of(request.uri())?.finish()?;
    read_fields(&relay, request, &[]).await?;
    relay.act(&caller, &id, Act::Cancel).await
}

/// `POST /v1/jobs/{id}/recall`
#[utoipa::path(
    post,
    path = "/v1/jobs/{id}/recall",
    summary = "Take it back, whatever its state",
    params(Id),
    request_body = Option<Nothing>,
    responses(
        (status = 200, description = "It is so now.", body = Job),
        (status = 202, description = "It is wanted, and will be so.", body = Job),
        Telling, OfJob, Contested
    ),
)]
pub(super) async fn recall(
    State(relay): State<Arc<Relay>>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    request: Request,
) -> Result<Response, Problem> {
    need_any(&caller)?;
    Words::of(request.uri())?.finish()?;
    read_fields(&relay, request, &[]).await?;
    relay.act(&caller, &id, Act::Recall).await
}

/// `POST /v1/jobs/{id}/retry {"expires_in"?}`
#[utoipa::path(
    post,
    path = "/v1/jobs/{id}/retry",
    summary = "Do it again, or go on",
    params(Id),
    request_body = Option<Retry>,
    responses(
        (status = 200, description = "It is so now.", body = Job),
        (status = 202, description = "It is wanted, and will be so.", body = Job),
        Telling, OfJob, Contested
    ),
)]
pub(super) async fn retry(
    State(relay): State<Arc<Relay>>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    request: Request,
) -> Result<Response, Problem> {
    caller.need(Scope::Operate)?;
    Words::of(request.uri())?.finish()?;
    let fields = read_fields(&relay, request, &["expires_in"]).await?;
    relay.act(&caller, &id, retry_act(&fields)?).await
}

/// `POST /v1/jobs/{id}/settle {"state", "message_id"?, "part"?}`
#[utoipa::path(
    post,
    path = "/v1/jobs/{id}/settle",
    summary = "Say what happened",
    params(Id),
    request_body = Settle,
    responses(
        (status = 200, description = "It is so now.", body = Job),
        (status = 202, description = "It is wanted, and will be so.", body = Job),
        Telling, OfJob, Contested
    ),
)]
pub(super) async fn settle(
    State(relay): State<Arc<Relay>>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    request: Request,
) -> Result<Response, Problem> {
    caller.need(Scope::Operate)?;
    Words::of(request.uri())?.finish()?;
    let fields = read_fields(&relay, request, &["state", "message_id", "part"]).await?;
    let act = settle_act(&fields)?;
    fits(relay.job(&caller, &id).await?.kind, &act)?;
    relay.act(&caller, &id, act).await
}

/// A producer may take back what is its own; which that is, is looked at with the job.
pub(super) fn need_any(caller: &Caller) -> Result<(), Problem> {
    match caller.may(Scope::Operate) {
        true => Ok(()),
        false => caller.need(Scope::Enqueue),
    }
}

impl Relay {
    /// The job that is called `id` in a path. One of an app that is not the caller's is answered as
    /// one that is not there.
    pub(super) async fn job(&self, caller: &Caller, id: &str) -> Result<Job, Problem> {
        let name: Name = id.parse().map_err(|()| {
            Problem::no_such_job("a job is called job_ and 32 hex digits, om_… or bm-…")
        })?;
        let job = self.state.store.job(&name).await?;
        job.filter(|job| caller.sees(&job.app))
            .ok_or_else(|| self.nobody(&name))
    }

    /// Looks for the message of a job in doubt, and waits a little for what comes of it.
    async fn look(&self, id: JobId) -> Result<(), Problem> {
        let mut watch = self.state.store.watch(id);
        if !self.state.store.ask_doubt(id).await? {
            return Ok(());
        }
        let deadline = tokio::time::Instant::now() + FRESH;
        while self.state.store.asks_doubt(id).await? {
            tokio::select! {
                () = watch.changed() => {}
                () = tokio::time::sleep_until(deadline) => break,
                () = self.stop.cancelled() => break,
            }
        }
        Ok(())
    }

    pub(super) async fn job_named(&self, name: &Name) -> Result<Job, Problem> {
        let job = self.state.store.job(name).await?;
        job.ok_or_else(|| self.nobody(name))
    }

    fn nobody(&self, name: &Name) -> Problem {
        match name {
            Name::Job(id) => self.unknown(self.state.store.may_be_purged(*id)),
            Name::Message(_) => Problem::no_such_job("no job that is kept made this message"),
            Name::Batch(_) => Problem::no_such_job("no job that is kept made this batch"),
        }
    }

    fn unknown(&self, purged: bool) -> Problem {
        Problem::no_such_job(match purged {
            true => "it is older than what is kept: if it was a job, it was purged",
            false => "no job has this id",
        })
    }

    /// Does `act` and answers the job as it is then.
    async fn act(&self, caller: &Caller, id: &str, act: Act) -> Result<Response, Problem> {
        let job = self.job(caller, id).await?;
        caller.need_job(&job)?;
        let acted = self.state.store.act(job.id, act, caller.by()).await;
        let acted = acted.map_err(|error| match error {
            ActError::Unknown { purged } => self.unknown(purged),
            ActError::Forbidden(why) => Problem::conflict(why),
            ActError::Store(error) => Problem::from(error),
        })?;
        let status = match acted {
            Acted::Now => StatusCode::OK,
            Acted::Later => StatusCode::ACCEPTED,
        };
        let job = self.job_named(&Name::Job(job.id)).await?;
        Ok((status, Json(job)).into_response())
    }
}

/// The fields of an action's body; no body has none.
pub(super) async fn read_fields(
    relay: &Relay,
    request: Request,
    known: &[&str],
) -> Result<Map<String, Value>, Problem> {
    let (head, body) = request.into_parts();
    let bytes = read_small(relay, &head.headers, body).await?;
    fields(&bytes, known)
}

pub(super) async fn read_small(
    relay: &Relay,
    headers: &HeaderMap,
    body: Body,
) -> Result<Vec<u8>, Problem> {
    body::is_ndjson(headers)?;
    let bytes_max = ACTION_BYTES_MAX.min(relay.state.max_body);
    let whole = body::read(headers, body, bytes_max, &relay.room, &relay.stop).await?;
    Ok(whole.bytes.clone())
}

pub(super) fn fields(bytes: &[u8], known: &[&str]) -> Result<Map<String, Value>, Problem> {
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Ok(Map::new());
    }
    let Value::Object(fields) = reading::value(bytes).map_err(unreadable)? else {
        return Err(flawed("", "must be an object"));
    };
    match fields.keys().find(|name| !known.contains(&name.as_str())) {
        None => Ok(fields),
        Some(name) => {
            let name = name.replace('~', "~0").replace('/', "~1");
            Err(flawed(&format!("/{name}"), "is not known here"))
        }
    }
}

fn flawed(pointer: &str, detail: &str) -> Problem {
    Problem::flawed(vec![Flaw {
        pointer: pointer.to_owned(),
        detail: detail.to_owned(),
    }])
}

pub(super) fn retry_act(fields: &Map<String, Value>) -> Result<Act, Problem> {
    let expires_in_ms = match fields.get("expires_in") {
        None | Some(Value::Null) => None,
        Some(value) => {
            let ms = value.as_str().and_then(clock::parse_ms);
            let ms = ms.filter(|ms| *ms > 0).ok_or_else(|| {
                flawed(
                    "/expires_in",
                    "must be a duration such as \"30s\", \"5m\" or \"2h\"",
                )
            })?;
            Some(ms)
        }
    };
    Ok(Act::Retry { expires_in_ms })
}

fn settle_act(fields: &Map<String, Value>) -> Result<Act, Problem> {
    let state = fields.get("state").and_then(Value::as_str);
    let state = state.and_then(JobState::from_name);
    let state = state.filter(|state| matches!(state, JobState::Done | JobState::Failed));
    let state = state.ok_or_else(|| flawed("/state", "must be done or failed"))?;
    let message_id = match fields.get("message_id") {
        None | Some(Value::Null) => None,
        Some(Value::String(id)) if is_feishu_id(id) => Some(id.clone()),
        Some(_) => {
            return Err(flawed(
                "/message_id",
                "must be an id of Feishu: om_… or bm-…",
            ));
        }
    };
    if message_id.is_some() && state == JobState::Failed {
        return Err(flawed("/message_id", "is only known of what is done"));
    }
    let part = match fields.get("part") {
        None | Some(Value::Null) => None,
        Some(part) => Some(
            part.as_i64()
                .filter(|part| *part >= 0)
                .ok_or_else(|| flawed("/part", "must be the number of a part, from 0"))?,
        ),
    };
    Ok(Act::Settle {
        state,
        message_id,
        part,
    })
}

/// An id is opaque behind its prefix, but nobody pastes a blank into it on purpose.
fn is_feishu_id(id: &str) -> bool {
    let named = matches!(id.parse(), Ok(Name::Message(_) | Name::Batch(_)));
    named && id.len() > 3 && id.bytes().all(|byte| byte.is_ascii_graphic())
}

/// Is what the person names something that a job of this kind makes?
fn fits(kind: Kind, act: &Act) -> Result<(), Problem> {
    let Act::Settle { message_id, .. } = act else {
        return Ok(());
    };
    let made = kind.makes();
    let wanted = match (message_id.as_deref(), made) {
        (None, _) => return Ok(()),
        (Some(id), Makes::Message | Makes::Ephemeral) if id.starts_with("om_") => return Ok(()),
        (Some(id), Makes::Batch) if id.starts_with("bm-") => return Ok(()),
        (Some(_), Makes::Message | Makes::Ephemeral) => "must be the id of a message: om_…",
        (Some(_), Makes::Batch) => "must be the id of a batch: bm-…",
        (Some(_), Makes::Nothing | Makes::Image | Makes::File | Makes::Reaction) => {
            "is of what this kind does not make: leave it out"
        }
    };
    Err(flawed("/message_id", wanted))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn act(
        body: &str,
        known: &[&str],
        act: fn(&Map<String, Value>) -> Result<Act, Problem>,
    ) -> Option<Act> {
        fields(body.as_bytes(), known)
            .and_then(|fields| act(&fields))
            .ok()
    }

    #[test]
    fn a_retry_may_give_a_new_life() {
        let known = ["expires_in"];
        let retry = |body| act(body, &known, retry_act);
        let life = |expires_in_ms| Some(Act::Retry { expires_in_ms });
        assert_eq!(retry(""), life(None));
        assert_eq!(retry(" {} "), life(None));
        assert_eq!(retry("{\"expires_in\": \"1h\"}"), life(Some(3_600_000)));
        for bad in [
            "{\"expires_in\": \"0s\"}",
            "{\"expires_in\": 60}",
            "{\"expires_in\": \"soon\"}",
            "{\"expires\": \"1h\"}",
            "[]",
            "now",
        ] {
            assert_eq!(retry(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_person_settles_as_done_or_failed() {
        let known = ["state", "message_id", "part"];
        let settle = |body| act(body, &known, settle_act);
        let done = |message_id: Option<&str>| {
            Some(Act::Settle {
                state: JobState::Done,
                message_id: message_id.map(str::to_owned),
                part: None,
            })
        };
        assert_eq!(settle("{\"state\": \"done\"}"), done(None));
        let with_id = "{\"state\": \"done\", \"message_id\": \"om_1\"}";
        assert_eq!(settle(with_id), done(Some("om_1")));
        for bad in [
            "",
            "{}",
            "{\"state\": \"queued\"}",
            "{\"state\": \"failed\", \"message_id\": \"om_1\"}",
            "{\"state\": \"done\", \"message_id\": \"\"}",
            "{\"state\": \"done\", \"message_id\": \"job_1\"}",
            "{\"state\": \"done\", \"message_id\": \"om_\"}",
            "{\"state\": \"done\", \"message_id\": \"om_1 \"}",
            "{\"state\": \"done\", \"part\": -1}",
            "{\"state\": \"done\", \"part\": \"0\"}",
            "{\"state\": \"done\", \"state\": \"failed\"}",
        ] {
            assert_eq!(settle(bad), None, "{bad}");
        }
    }
}
