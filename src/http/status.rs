//! How the relay is: the queue in numbers, alive, ready, and an index of the paths.
//!
//! Nothing here calls Feishu: all of it answers while Feishu does not.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use axum::http::Uri;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde::Serialize;
use utoipa::ToSchema;

use crate::http::Relay;
use crate::http::auth::Caller;
use crate::http::month::{self, MonthOfApp, ToldMonth};
use crate::http::openapi::{Always, Asking, Closing, Guarded};
use crate::http::problem::Problem;
use crate::http::query::Words;
use crate::job::{Kind, State as JobState, Time};
use crate::store::{AppStatus, LaneStatus, MonthStatus, Pause, Status};

const INDEX: &str = "\
feishu-relay: a durable queue in front of Feishu's messaging API

POST /v1/jobs                 jobs in: one object, a list or NDJSON; ?wait=10s
GET  /v1/jobs                 jobs, newest first; ?state= kind= app= lane= client= to= key=
                              message_id= code= label.NAME= since= until= limit= cursor=
GET  /v1/jobs/{id}            one job, also by om_... or bm-...; ?wait=30s&wait_for=all
GET  /v1/jobs/{id}/progress   how far a batch is; ?fresh=true
GET  /v1/jobs/{id}/reads      who read it; ?fresh=true
POST /v1/jobs/{id}/cancel     do not do it any more
POST /v1/jobs/{id}/recall     take it back
POST /v1/jobs/{id}/retry      do it again; {\"expires_in\"?}
POST /v1/jobs/{id}/settle     say what happened; {\"state\": \"done\" or \"failed\", \"message_id\"?}
POST /v1/jobs/cancel          cancels all that a filter of the list names; ?dry_run=true counts them
POST /v1/jobs/recall          takes all of them back
POST /v1/jobs/retry           does all of them again; {\"expires_in\"?}
GET  /v1/reads                who read a notice of many jobs, by a filter of the list; ?fresh=true
POST /v1/alerts/{name}        alerts in, as the routes of that name read them
GET  /v1/incidents            what monitoring brought, newest first; ?state= route= client= digest=
                              since= until= limit= cursor=
GET  /v1/incidents/{id}       one incident: its alerts, its jobs, who was called and why
POST /v1/incidents/{id}/ack   somebody looks at it: nobody is called any more
POST /v1/pause                stop {\"app\"?, \"lane\"?, \"kind\"?, \"reason\"?}; {} stops everything
POST /v1/resume               go on, and try at once what waits for a fault to be mended
GET  /v1/events               server-sent events: every change of state; the filters of the list but
                              its times and pages; Last-Event-ID replays what settled since
GET  /v1/status               the queue
GET  /metrics                 all of it in numbers, for Prometheus
GET  /openapi.json            all of this for programs: OpenAPI 3.1
GET  /healthz                 200 while the process runs
GET  /readyz                  200 while jobs are accepted

ANY  /open-apis/...           Feishu's own API, for its SDKs: with this relay as their base URL
";

/// `GET /`
#[utoipa::path(
    get,
    path = "/",
    summary = "The paths, in a text",
    responses((status = 200, description = "An index.", body = str), Guarded),
)]
pub(super) async fn index() -> &'static str {
    INDEX
}

/// `GET /healthz`
#[utoipa::path(
    get,
    path = "/healthz",
    summary = "200 while the process runs",
    responses((status = 200, description = "It runs.", body = str), Always),
    security(()),
)]
pub(super) async fn healthz() -> &'static str {
    "ok\n"
}

/// `GET /readyz`
#[utoipa::path(
    get,
    path = "/readyz",
    summary = "200 while jobs are accepted",
    responses((status = 200, description = "Jobs are accepted.", body = str), Always, Closing),
    security(()),
)]
pub(super) async fn readyz(State(relay): State<Arc<Relay>>) -> Response {
    match relay.state.store.ill() {
        None if !relay.stop.is_cancelled() => "ready\n".into_response(),
        None => Problem::unavailable("the relay is stopping").into_response(),
        Some(ill) => {
            let why = ill.failure.cause.words();
            Problem::unavailable(format!("jobs are not accepted: {why}")).into_response()
        }
    }
}

/// `GET /v1/status`
#[utoipa::path(
    get,
    path = "/v1/status",
    summary = "The queue, in numbers",
    responses((status = 200, description = "The queue.", body = Told), Asking),
)]
pub(super) async fn status(
    State(relay): State<Arc<Relay>>,
    Extension(caller): Extension<Caller>,
    uri: Uri,
) -> Result<Response, Problem> {
    Words::of(&uri)?.finish()?;
    let mut status = relay.state.store.status().await?;
    // The room in the queue is everybody's; the rest is told to whom it belongs.
    status.apps.retain(|one| caller.sees(&one.app));
    status.lanes.retain(|one| caller.sees(&one.app));
    // The quota is of everybody in the tenant, so its sum is told to each of them.
    let sees = |month: &MonthStatus| month.apps.iter().any(|(app, _, _)| caller.sees(app));
    status.months.retain(sees);
    Ok(Json(queue(&status, relay.state.clock.wall_ms())).into_response())
}

/// The queue, in numbers.
#[derive(Serialize, ToSchema)]
#[schema(as = Status)]
struct Told<'a> {
    now: Time,
    apps: Vec<ToldApp<'a>>,
    /// Producers' jobs that are queued or under way.
    pending: u64,
    /// How many may be; beyond: 503.
    max_pending: u64,
    /// The month's calls of each tenant, whose apps share its quota.
    months: Vec<ToldMonth<'a>>,
    /// The longest-waiting lanes, longest first, at most 100.
    lanes: Vec<ToldLane<'a>>,
    /// Bytes of the database file and its log.
    store_bytes: u64,
    /// What keeps the store from writing: meanwhile nothing is accepted and nothing is sent.
    store_fault: Option<ToldFault<'a>>,
    version: &'static str,
}

/// What keeps the store from writing.
#[derive(Serialize, ToSchema)]
#[schema(as = StoreFault)]
struct ToldFault<'a> {
    /// `full`, `read_only`, `damaged`, `gone`, `failing`, `busy`, `linked` or `closing`.
    #[serde(rename = "type")]
    name: &'a str,
    /// The file and what to do, for people.
    detail: &'a str,
    since: Time,
}

/// One app's queue.
#[derive(Serialize, ToSchema)]
#[schema(as = StatusOfApp)]
struct ToldApp<'a> {
    app: &'a str,
    /// Jobs by state, every state.
    jobs: BTreeMap<&'static str, u64>,
    queued: u64,
    sending: u64,
    /// Failed jobs that are kept.
    dead_letters: u64,
    in_doubt: u64,
    /// What is stopped.
    paused: Vec<ToldPause<'a>>,
    /// Since when the longest-waiting job that stands in a lane may run.
    oldest_due_at: Option<Time>,
    oldest_age_s: Option<i64>,
    month: MonthOfApp<'a>,
}

/// Something that is stopped.
#[derive(Serialize, ToSchema)]
#[schema(as = Pause)]
pub(super) struct ToldPause<'a> {
    /// Empty: every app.
    app: &'a str,
    /// Empty: every lane.
    lane: &'a str,
    /// Which call; empty: every one.
    api: &'a str,
    /// Jobs of this kind make that call.
    kind: Option<&'static str>,
    /// `hand` or `relay`.
    by: &'static str,
    /// Feishu's code.
    code: Option<i64>,
    reason: &'a str,
    since: Time,
    /// When the next job tries, or the next month begins.
    next_probe: Option<Time>,
    /// Whom it does not stop: `high`, and what was begun; or all `jobs` of producers, only the relay's own questions wait.
    spares: Option<&'static str>,
}

/// One lane's queue.
#[derive(Serialize, ToSchema)]
#[schema(as = StatusOfLane)]
struct ToldLane<'a> {
    app: &'a str,
    lane: &'a str,
    oldest_due_at: Time,
    oldest_age_s: i64,
}

fn queue(status: &Status, now_ms: i64) -> Told<'_> {
    Told {
        now: Time(now_ms),
        apps: status
            .apps
            .iter()
            .map(|one| app(one, status, now_ms))
            .collect(),
        pending: status.pending,
        max_pending: status.max_pending,
        months: status
            .months
            .iter()
            .map(|one| month::told(one, now_ms))
            .collect(),
        lanes: status.lanes.iter().map(|one| lane(one, now_ms)).collect(),
        store_bytes: status.bytes,
        store_fault: status.ill.as_ref().map(|ill| ToldFault {
            name: ill.failure.cause.name(),
            detail: &ill.failure.text,
            since: Time(ill.since_ms),
        }),
        version: env!("CARGO_PKG_VERSION"),
    }
}

fn app<'a>(status: &'a AppStatus, all: &'a Status, now_ms: i64) -> ToldApp<'a> {
    let count = |state: JobState| {
        let counted = status.jobs.iter().find(|(counted, _)| *counted == state);
        counted.map_or(0, |(_, count)| *count)
    };
    ToldApp {
        app: &status.app,
        jobs: JobState::ALL
            .iter()
            .map(|state| (state.name(), count(*state)))
            .collect(),
        queued: count(JobState::Queued),
        sending: count(JobState::Sending),
        dead_letters: count(JobState::Failed),
        in_doubt: count(JobState::InDoubt),
        paused: status.paused.iter().map(pause).collect(),
        oldest_due_at: status.oldest_due_ms.map(Time),
        oldest_age_s: status.oldest_due_ms.map(|due_ms| age_s(due_ms, now_ms)),
        month: month::of_app(&status.app, status.month_calls, &all.months),
    }
}

/// As status and the answers to a pause show it.
pub(super) fn pause(pause: &Pause) -> ToldPause<'_> {
    ToldPause {
        app: &pause.app,
        lane: &pause.lane,
        api: &pause.api,
        kind: Kind::of_call(&pause.api).map(Kind::name),
        by: if pause.by_hand { "hand" } else { "relay" },
        code: pause.code,
        reason: &pause.reason,
        since: Time(pause.since_ms),
        next_probe: pause.probe_ms.map(Time),
        spares: Some(pause.spares.name()).filter(|name| !name.is_empty()),
    }
}

fn lane(lane: &LaneStatus, now_ms: i64) -> ToldLane<'_> {
    ToldLane {
        app: &lane.app,
        lane: &lane.lane,
        oldest_due_at: Time(lane.oldest_due_ms),
        oldest_age_s: age_s(lane.oldest_due_ms, now_ms),
    }
}

/// Never below zero: a clock that was set back makes nothing younger than new.
fn age_s(then_ms: i64, now_ms: i64) -> i64 {
    now_ms.saturating_sub(then_ms).max(0) / 1000
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::http::every_door;
    use crate::store::Spares;

    #[test]
    fn the_queue_is_told_with_every_state_and_its_ages() {
        let due_ms = 1_767_225_600_000;
        let status = Status {
            apps: vec![AppStatus {
                app: String::from("ops"),
                jobs: vec![(JobState::Queued, 3), (JobState::Failed, 2)],
                oldest_due_ms: Some(due_ms),
                month_calls: 9,
                paused: vec![Pause {
                    app: String::from("ops"),
                    lane: String::new(),
                    api: String::new(),
                    by_hand: true,
                    code: None,
                    reason: String::from("by hand"),
                    since_ms: due_ms,
                    probe_ms: None,
                    spares: Spares::Nobody,
                }],
            }],
            pending: 3,
            max_pending: 10,
            lanes: Vec::new(),
            months: Vec::new(),
            bytes: 4096,
            ill: None,
        };
        let told = json!(queue(&status, due_ms + 61_500));
        let app = &told["apps"][0];
        assert_eq!(app["jobs"]["queued"], 3);
        assert_eq!(app["jobs"]["in_doubt"], 0);
        assert_eq!(
            (&app["queued"], &app["dead_letters"]),
            (&json!(3), &json!(2))
        );
        assert_eq!(app["oldest_due_at"], "2026-01-01T00:00:00.000Z");
        assert_eq!(app["oldest_age_s"], 61);
        assert_eq!(app["paused"][0]["by"], "hand");
        assert_eq!(app["paused"][0]["next_probe"], Value::Null);
        assert_eq!(
            (&told["pending"], &told["store_bytes"]),
            (&json!(3), &json!(4096))
        );
    }

    #[test]
    fn the_index_names_every_path_of_the_router() {
        let described = every_door().into_openapi();
        assert!(described.paths.paths.len() >= 10);
        for (path, item) in described.paths.paths {
            let gets = if item.get.is_some() { "GET  " } else { "POST " };
            let line = format!("\n{gets}{path} ");
            assert!(path == "/" || INDEX.contains(&line), "{gets}{path}");
            if item.get.is_some() && item.post.is_some() {
                assert!(INDEX.contains(&format!("\nPOST {path} ")), "POST {path}");
            }
        }
    }
}
