//! One act on all jobs that a filter names: `POST /v1/jobs/{cancel,retry,recall}?filter[&dry_run=true]`.
//!
//! Page after page from the newest on; the acts of a page go to the store together, so that they
//! share its commits. A job whose state forbids the act is left out of the count.
//! Not here: what an act does (`store`), acts on one job (`jobs`).

use std::sync::Arc;

use axum::extract::{Extension, Request, State};
use axum::response::{IntoResponse, Response};
use axum::{Json, http::Uri};
use futures_util::future::join_all;
use serde::Serialize;
use utoipa::ToSchema;

use super::Relay;
use super::auth::Caller;
use super::jobs::{need_any, read_fields, retry_act};
use super::openapi::Telling;
use super::params::{DryRun, Filtering};
use super::problem::Problem;
use super::query::Words;
use super::schema::{Nothing, Retry};
use crate::config::Scope;
use crate::job::{Flaw, Job, Makes, State as JobState};
use crate::store::{Act, ActError, Filter};

/// Jobs in one page; their acts share commits.
const PAGE: u32 = 200;

/// `POST /v1/jobs/cancel`
#[utoipa::path(
    post,
    path = "/v1/jobs/cancel",
    operation_id = "cancel_all",
    summary = "Cancel all that a filter names",
    params(Filtering, DryRun),
    request_body = Option<Nothing>,
    responses((status = 200, description = "How many.", body = Matched), Telling),
)]
pub(super) async fn cancel(
    State(relay): State<Arc<Relay>>,
    Extension(caller): Extension<Caller>,
    request: Request,
) -> Result<Response, Problem> {
    need_any(&caller)?;
    let asked = Asked::read(&relay, request.uri())?;
    read_fields(&relay, request, &[]).await?;
    let states = [JobState::Queued, JobState::InDoubt];
    relay.all(&caller, asked, &Act::Cancel, &states).await
}

/// `POST /v1/jobs/recall`
#[utoipa::path(
    post,
    path = "/v1/jobs/recall",
    operation_id = "recall_all",
    summary = "Take back all that a filter names",
    params(Filtering, DryRun),
    request_body = Option<Nothing>,
    responses((status = 200, description = "How many.", body = Matched), Telling),
)]
pub(super) async fn recall(
    State(relay): State<Arc<Relay>>,
    Extension(caller): Extension<Caller>,
    request: Request,
) -> Result<Response, Problem> {
    need_any(&caller)?;
    let asked = Asked::read(&relay, request.uri())?;
    read_fields(&relay, request, &[]).await?;
    let states = [JobState::Queued, JobState::Sending, JobState::Done];
    relay.all(&caller, asked, &Act::Recall, &states).await
}

/// `POST /v1/jobs/retry {"expires_in"?}`
#[utoipa::path(
    post,
    path = "/v1/jobs/retry",
    operation_id = "retry_all",
    summary = "Do again all that a filter names",
    params(Filtering, DryRun),
    request_body = Option<Retry>,
    responses((status = 200, description = "How many.", body = Matched), Telling),
)]
pub(super) async fn retry(
    State(relay): State<Arc<Relay>>,
    Extension(caller): Extension<Caller>,
    request: Request,
) -> Result<Response, Problem> {
    caller.need(Scope::Operate)?;
    let asked = Asked::read(&relay, request.uri())?;
    let fields = read_fields(&relay, request, &["expires_in"]).await?;
    let states = [
        JobState::Failed,
        JobState::Expired,
        JobState::Canceled,
        JobState::InDoubt,
    ];
    relay
        .all(&caller, asked, &retry_act(&fields)?, &states)
        .await
}

/// How many jobs matched, and whether they were only counted.
#[derive(Serialize, ToSchema)]
struct Matched {
    count: usize,
    dry_run: bool,
}

/// Which jobs, and whether only to count them.
struct Asked {
    filter: Filter,
    dry_run: bool,
}

impl Asked {
    fn read(relay: &Relay, uri: &Uri) -> Result<Asked, Problem> {
        let mut words = Words::of(uri)?;
        let dry_run = words.dry_run();
        let empty = words.is_empty();
        let filter = words.filter(relay.state.clock.wall_ms());
        words.finish()?;
        if empty {
            let detail = "names no job: give a filter, such as state=failed";
            return Err(Problem::flawed(vec![Flaw {
                pointer: String::from("?"),
                detail: String::from(detail),
            }]));
        }
        Ok(Asked { filter, dry_run })
    }
}

impl Relay {
    async fn all(
        &self,
        caller: &Caller,
        asked: Asked,
        act: &Act,
        states: &[JobState],
    ) -> Result<Response, Problem> {
        let mut filter = caller.within(asked.filter);
        filter.limit = PAGE;
        let mut count = 0;
        loop {
            let page = self.state.store.list(&filter).await?;
            let fits = |job: &&Job| {
                states.contains(&job.state) && takes(act, job) && caller.need_job(job).is_ok()
            };
            let fit: Vec<&Job> = page.jobs.iter().filter(fits).collect();
            count += match asked.dry_run {
                true => fit.len(),
                false => self.each(caller, &fit, act).await?,
            };
            filter.cursor = page.next_cursor;
            if filter.cursor.is_none() || self.stop.is_cancelled() {
                break;
            }
        }
        let dry_run = asked.dry_run;
        Ok(Json(Matched { count, dry_run }).into_response())
    }

    /// How many of `jobs` took the act.
    async fn each(&self, caller: &Caller, jobs: &[&Job], act: &Act) -> Result<usize, Problem> {
        let acts = jobs
            .iter()
            .map(|job| self.state.store.act(job.id, act.clone(), caller.by()));
        let mut count = 0;
        for acted in join_all(acts).await {
            match acted {
                Ok(_) => count += 1,
                Err(ActError::Unknown { .. } | ActError::Forbidden(_)) => {}
                Err(ActError::Store(error)) => return Err(Problem::from(error)),
            }
        }
        Ok(count)
    }
}

/// Would the act say no whatever the state? What was made by a pin or a buzz cannot be taken back.
fn takes(act: &Act, job: &Job) -> bool {
    let makes = matches!(job.kind.makes(), Makes::Message | Makes::Batch);
    *act != Act::Recall || job.state == JobState::Queued || makes
}
