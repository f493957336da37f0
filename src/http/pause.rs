//! `POST /v1/pause` and `/v1/resume`: people stop and go on, by app, lane and kind.
//!
//! An empty body is refused: `{}` stands for everything, and nobody should say that by accident.
//! Not here: what a pause does to a job (`dispatch`), how it is kept (`store`).

use std::sync::Arc;

use axum::Json;
use axum::extract::{Extension, Request, State};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::Relay;
use super::auth::Caller;
use super::jobs::{fields, read_small};
use super::openapi::Telling;
use super::problem::Problem;
use super::query::Words;
use super::schema::{Pausing, Resuming};
use super::status::{self, ToldPause};
use crate::config::Scope;
use crate::job::{Flaw, Kind, Reach, Steer};
use crate::store::{PauseError, REASON_CHARS_MAX};

/// The longest name of a lane, characters: a receiver as it was written.
const LANE_CHARS_MAX: usize = 1000;

/// `POST /v1/pause {"app"?, "lane"?, "kind"?, "reason"?}`
#[utoipa::path(
    post,
    path = "/v1/pause",
    summary = "Stop by app, lane and kind; {} stops everything",
    request_body = Pausing,
    responses((status = 200, description = "Nothing of it is sent any more; what is stopped now of what was named.", body = Stopped), Telling),
)]
pub(super) async fn pause(
    State(relay): State<Arc<Relay>>,
    Extension(caller): Extension<Caller>,
    request: Request,
) -> Result<Response, Problem> {
    caller.need(Scope::Operate)?;
    Words::of(request.uri())?.finish()?;
    let asked = Asked::read(&relay, request, &["app", "lane", "kind", "reason"]).await?;
    asked.allowed(&caller)?;
    relay.steer(&caller, asked, "paused", Steer::Pause).await
}

/// `POST /v1/resume {"app"?, "lane"?, "kind"?}`
#[utoipa::path(
    post,
    path = "/v1/resume",
    summary = "Lift the pauses that have what is given, and try at once what waits for a fault to be mended",
    request_body = Resuming,
    responses((status = 200, description = "It goes on; what is still stopped of what was named.", body = Stopped), Telling),
)]
pub(super) async fn resume(
    State(relay): State<Arc<Relay>>,
    Extension(caller): Extension<Caller>,
    request: Request,
) -> Result<Response, Problem> {
    caller.need(Scope::Operate)?;
    Words::of(request.uri())?.finish()?;
    let asked = Asked::read(&relay, request, &["app", "lane", "kind"]).await?;
    asked.allowed(&caller)?;
    relay.steer(&caller, asked, "resumed", Steer::Resume).await
}

/// What is stopped of what was named, or of a part of it, by hand and by the relay.
#[derive(Serialize, ToSchema)]
struct Stopped<'a> {
    paused: Vec<ToldPause<'a>>,
}

/// What is to be paused or resumed.
struct Asked {
    reach: Reach,
    app: Option<String>,
    reason: String,
}

impl Asked {
    async fn read(relay: &Relay, request: Request, known: &[&str]) -> Result<Asked, Problem> {
        let (head, body) = request.into_parts();
        let bytes = read_small(relay, &head.headers, body).await?;
        if bytes.iter().all(u8::is_ascii_whitespace) {
            return Err(Problem::not_json(
                "the body is empty; {} stands for everything",
            ));
        }
        Asked::of(&fields(&bytes, known)?, relay)
    }

    fn of(given: &Map<String, Value>, relay: &Relay) -> Result<Asked, Problem> {
        let mut flaws = Vec::new();
        let app = text(given, "app", usize::MAX, &mut flaws);
        let lane = text(given, "lane", LANE_CHARS_MAX, &mut flaws);
        let kind = text(given, "kind", usize::MAX, &mut flaws);
        let reason = text(given, "reason", REASON_CHARS_MAX, &mut flaws);
        let apps = relay.state.store.apps();
        let id = app.as_deref().and_then(|app| {
            let found = apps.iter().find(|(_, name)| name == app);
            if found.is_none() {
                let names: Vec<&str> = apps.iter().map(|(_, name)| name.as_str()).collect();
                flaws.push(flaw(
                    "app",
                    format!("is not an app; there are {}", names.join(", ")),
                ));
            }
            found.map(|(id, _)| *id)
        });
        let kind = kind.as_deref().and_then(|name| {
            let found = Kind::from_name(name).filter(|kind| kind.is_public());
            if found.is_none() {
                let known = Kind::all().filter(|kind| kind.is_public()).map(Kind::name);
                let known = known.collect::<Vec<_>>().join(", ");
                flaws.push(flaw(
                    "kind",
                    format!("is not a kind of job; there are {known}"),
                ));
            }
            found
        });
        if !flaws.is_empty() {
            return Err(Problem::flawed(flaws));
        }
        Ok(Asked {
            reach: Reach {
                app: id,
                lane: lane.map(Into::into),
                kind,
            },
            app,
            reason: reason.unwrap_or_default(),
        })
    }

    /// Who may use some apps only stops no others.
    fn allowed(&self, caller: &Caller) -> Result<(), Problem> {
        match caller.apps() {
            None => Ok(()),
            Some(apps) if self.app.as_ref().is_some_and(|app| apps.contains(app)) => Ok(()),
            Some(apps) => Err(Problem::forbidden(format!(
                "client {:?} may only use {}; name one of them as \"app\"",
                caller.name(),
                apps.join(", ")
            ))),
        }
    }
}

/// A name that is given; null is no name, as `{"app": null}` would else mean every app.
fn text(
    given: &Map<String, Value>,
    name: &str,
    chars_max: usize,
    flaws: &mut Vec<Flaw>,
) -> Option<String> {
    let detail = match given.get(name)? {
        Value::String(text) if text.is_empty() => String::from("is empty; leave it out"),
        Value::String(text)
            if text.chars().count() > chars_max || text.chars().any(char::is_control) =>
        {
            format!("must be at most {chars_max} characters, without control characters")
        }
        Value::String(text) => return Some(text.clone()),
        _ => String::from("must be text; leave it out for all"),
    };
    flaws.push(flaw(name, detail));
    None
}

fn flaw(name: &str, detail: String) -> Flaw {
    Flaw {
        pointer: format!("/{name}"),
        detail,
    }
}

impl Relay {
    /// Writes it down, and answers what is stopped then of what was named.
    async fn steer(
        &self,
        caller: &Caller,
        asked: Asked,
        done: &str,
        steer: fn(Reach) -> Steer,
    ) -> Result<Response, Problem> {
        let Asked { reach, app, reason } = asked;
        let steered = self.state.store.steer(steer(reach.clone()), &reason).await;
        steered.map_err(|error| match error {
            PauseError::Full => Problem::full(
                "there are 10000 pauses by hand already; pause an app or a kind instead",
            ),
            PauseError::Store(error) => Problem::from(error),
        })?;
        // A lane is somebody's id: it is not written to the log.
        let app = app.as_deref().unwrap_or("every");
        let kind = reach.kind.map_or("every", Kind::name);
        let lane = if reach.lane.is_some() { "one" } else { "every" };
        tracing::info!(by = caller.by(), app, kind, lane, "{done} by hand");
        let paused = self.state.store.paused(&reach).await;
        let paused = paused.map_err(|error| {
            tracing::warn!(%error, "what is paused could not be read back");
            Problem::unavailable(format!("it is {done}; what is stopped now cannot be told"))
        })?;
        let paused = paused.iter().map(status::pause).collect();
        Ok(Json(Stopped { paused }).into_response())
    }
}
