//! Incidents: asked about, listed, and acknowledged.
//!
//! Not here: how alerts come in (`alerts`), what follows from them (`alerts` of the relay), what an incident looks
//! like from outside (`told`).

mod told;

use std::sync::Arc;

use axum::extract::{Path, Request, State};
use axum::http::Uri;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde::Serialize;
use utoipa::ToSchema;

use crate::alerts::AckError;
use crate::http::Relay;
use crate::http::alerts::troubled;
use crate::http::auth::Caller;
use crate::http::jobs::{need_any, read_fields};
use crate::http::openapi::{Asking, Contested, OfJob, Telling};
use crate::http::params::{IncidentName, Incidents, Paging};
use crate::http::problem::Problem;
use crate::http::query::Words;
use crate::http::schema::Nothing;
use crate::job::{IncidentId, IncidentRow};

use told::{Brief, Whole};

/// A page of incidents, newest first.
#[derive(Serialize, ToSchema)]
#[schema(as = IncidentPage)]
struct Listed<'a> {
    incidents: Vec<Brief<'a>>,
    /// Where the next page begins; null: there is none.
    next_cursor: Option<String>,
}

/// `GET /v1/incidents`
#[utoipa::path(
    get,
    path = "/v1/incidents",
    summary = "Incidents, newest first",
    operation_id = "incidents",
    params(Incidents, Paging),
    responses((status = 200, description = "A page, without what they are about.", body = Listed), Asking),
)]
pub(super) async fn list(
    State(relay): State<Arc<Relay>>,
    Extension(caller): Extension<Caller>,
    uri: Uri,
) -> Result<Response, Problem> {
    let mut words = Words::of(&uri)?;
    let mut filter = words.incidents(relay.state.clock.wall_ms());
    words.finish()?;
    filter.apps = caller.apps().map(<[String]>::to_vec);
    let page = relay.state.store.list_incidents(&filter).await?;
    let listed = Listed {
        incidents: page.incidents.iter().map(Brief::of).collect(),
        next_cursor: page.next_cursor.map(|cursor| cursor.to_string()),
    };
    Ok(Json(listed).into_response())
}

/// `GET /v1/incidents/{id}`
#[utoipa::path(
    get,
    path = "/v1/incidents/{id}",
    summary = "One incident: its alerts, what was shown of it, who was called and why",
    operation_id = "incident",
    params(IncidentName),
    responses((status = 200, description = "The incident.", body = Whole), Asking, OfJob),
)]
pub(super) async fn one(
    State(relay): State<Arc<Relay>>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    uri: Uri,
) -> Result<Response, Problem> {
    Words::of(&uri)?.finish()?;
    let incident = relay.incident(&caller, &id).await?;
    relay.whole(incident).await
}

/// `POST /v1/incidents/{id}/ack`
#[utoipa::path(
    post,
    path = "/v1/incidents/{id}/ack",
    summary = "Somebody looks at it: nobody is called for it any more",
    operation_id = "ack_incident",
    params(IncidentName),
    request_body = Option<Nothing>,
    responses((status = 200, description = "It is so now; said twice, the first counts.", body = Whole), Telling, OfJob, Contested),
)]
pub(super) async fn ack(
    State(relay): State<Arc<Relay>>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    request: Request,
) -> Result<Response, Problem> {
    need_any(&caller)?;
    Words::of(request.uri())?.finish()?;
    read_fields(&relay, request, &[]).await?;
    let incident = relay.incident(&caller, &id).await?;
    caller.need_own(&incident.client, "incident")?;
    let acked = relay.state.alerts.ack(incident.id, caller.by()).await;
    let acked = acked.map_err(|error| match error {
        AckError::Resolved => Problem::conflict(error.to_string()),
        AckError::Trouble(trouble) => troubled(trouble),
    })?;
    let incident = acked.ok_or_else(nobody)?;
    relay.whole(incident).await
}

fn nobody() -> Problem {
    Problem::no_such_incident("no incident that is kept has this id")
}

impl Relay {
    /// The incident of that id. One of an app that is not the caller's is answered as one that is not there.
    async fn incident(&self, caller: &Caller, id: &str) -> Result<IncidentRow, Problem> {
        let id: IncidentId = id.parse().map_err(|_| {
            Problem::no_such_incident("an incident is called inc_ and 32 hex digits")
        })?;
        let incident = self.state.store.incident(id).await?;
        incident
            .filter(|incident| caller.sees(&incident.app))
            .ok_or_else(nobody)
    }

    /// The incident as it is answered.
    async fn whole(&self, incident: IncidentRow) -> Result<Response, Problem> {
        let jobs = self.state.store.incident_jobs(incident.id).await?;
        let about = serde_json::from_str(&incident.body).map_err(|error| {
            tracing::error!(incident = %incident.id, %error, "an incident cannot be read");
            Problem::internal()
        })?;
        Ok(Json(Whole::of(&incident, about, &jobs)).into_response())
    }
}
