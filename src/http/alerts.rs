//! `POST /v1/alerts/{name}`: what monitoring says, on disk before it is answered.
//!
//! Full is 503, never 429, on which alert senders drop. Not here: what an alert does (`alerts`).

use std::sync::Arc;

use axum::extract::{Path, Request, State};
use axum::{Extension, Json};
use serde::Serialize;
use utoipa::ToSchema;

use crate::alerts::sources::Refused;
use crate::alerts::{NotTaken, Taken, Trouble};
use crate::config::Scope;
use crate::http::Relay;
use crate::http::auth::Caller;
use crate::http::body;
use crate::http::openapi::{OfJob, Telling};
use crate::http::problem::Problem;
use crate::http::query::Words;
use crate::job::IncidentId;

/// What became of a notification.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Told {
    /// The incidents that it is of, each once.
    incidents: Vec<IncidentId>,
    /// Alerts in it.
    alerts: usize,
    /// Those of them that no route wanted.
    unmatched: usize,
}

/// `POST /v1/alerts/{name}`
#[utoipa::path(
    post,
    path = "/v1/alerts/{name}",
    summary = "Alerts in: what Alertmanager, Grafana or anything else posts to the routes of that name",
    params(("name" = String, Path, description = "A name of [[routes]]")),
    request_body(content = Object, content_type = "application/json", description = "As the routes' `source` sends it."),
    responses((status = 200, description = "It is on disk.", body = Told), Telling, OfJob),
)]
pub(super) async fn take(
    State(relay): State<Arc<Relay>>,
    Extension(caller): Extension<Caller>,
    Path(name): Path<String>,
    request: Request,
) -> Result<Json<Told>, Problem> {
    caller.need(Scope::Enqueue)?;
    Words::of(request.uri())?.finish()?;
    let state = &relay.state;
    if let Some(app) = (caller.apps()).and_then(|allowed| state.alerts.beyond(&name, allowed)) {
        return Err(Problem::forbidden(format!(
            "client {:?} may not use the app {app:?} of a route of this name",
            caller.name()
        )));
    }
    let (head, body) = request.into_parts();
    let body = body::read(
        &head.headers,
        body,
        state.max_body,
        &relay.room,
        &relay.stop,
    )
    .await?;
    let taken = state
        .alerts
        .accept(&name, caller.name(), &head.headers, body.bytes)
        .await;
    match taken {
        Ok(taken) => Ok(Json(told(taken))),
        Err(why) => Err(refusal(why)),
    }
}

fn told(taken: Taken) -> Told {
    Told {
        incidents: taken.incidents,
        alerts: taken.alerts,
        unmatched: taken.unmatched,
    }
}

fn refusal(why: NotTaken) -> Problem {
    match why {
        NotTaken::NoSuchSink => {
            Problem::no_such_sink("no route of the config has this name: see [[routes]]")
        }
        NotTaken::Refused(Refused::Unsigned(why)) => Problem::unsigned(why),
        NotTaken::Refused(Refused::Malformed(why)) => Problem::not_json(why),
        NotTaken::Refused(Refused::TooLarge(why)) => Problem::too_much(why),
        NotTaken::Refused(Refused::Flawed(flaws)) => Problem::flawed(flaws),
        NotTaken::Trouble(trouble) => troubled(trouble),
    }
}

/// What is answered when an incident could not be written.
pub(super) fn troubled(trouble: Trouble) -> Problem {
    match trouble {
        Trouble::Full => Problem::full("the queue is full; send it again later"),
        Trouble::Busy => Problem::unavailable(trouble.to_string()),
        Trouble::Broken => Problem::internal(),
        Trouble::Store(error) => Problem::from(error),
    }
}
