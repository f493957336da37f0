//! Who read it: of one job, and summed over the jobs of a notice.
//!
//! Nothing here calls Feishu: `fresh=true` makes or hurries the relay's own questions, which are
//! paced and counted like any job, and waits a little for their answers. When they take longer, the
//! answer is what is known, with `fresh: false`; the questions go on.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::Uri;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde::Serialize;
use tokio::time::Instant;
use utoipa::ToSchema;

use crate::http::Relay;
use crate::http::auth::Caller;
use crate::http::jobs::FRESH;
use crate::http::openapi::{self, Contested, OfJob};
use crate::http::params::{Filtering, Fresh, Id, Summing};
use crate::http::problem::Problem;
use crate::http::query::Words;
use crate::job::{Flaw, JobId, Makes, NoticeJob, Reader, ReadsRecord, State as JobState, Time};
use crate::store::{Asking, Filter, Name, Notice};

/// Jobs in the sums of one answer, unless the caller wants fewer; a list looks at no more rows.
const JOBS_MAX: u32 = 10_000;

/// The most jobs that one request asks Feishu about: each costs a call of the month's quota.
const FRESH_MAX: usize = 1000;

/// `GET /v1/jobs/{id}/reads[?fresh=true]`
#[utoipa::path(
    get,
    operation_id = "reads",
    path = "/v1/jobs/{id}/reads",
    summary = "Who read it",
    params(Id, Fresh),
    responses((status = 200, description = "Who read a message, or how many read a batch.", body = One), openapi::Asking, OfJob, Contested),
)]
pub(super) async fn one(
    State(relay): State<Arc<Relay>>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    uri: Uri,
) -> Result<Response, Problem> {
    let mut words = Words::of(&uri)?;
    let fresh = words.fresh();
    words.finish()?;
    let mut job = relay.job(&caller, &id).await?;
    let batch = match job.kind.makes() {
        Makes::Message => false,
        Makes::Batch => true,
        Makes::Nothing | Makes::Image | Makes::File | Makes::Reaction | Makes::Ephemeral => {
            let detail = format!(
                "{} is a {}: it makes nothing that could be read",
                job.id,
                job.kind.name()
            );
            return Err(Problem::conflict(detail));
        }
    };
    let mut asked = None;
    if fresh {
        asked = Some(relay.ask(&[job.id]).await?);
        job = relay.job_named(&Name::Job(job.id)).await?;
    }
    let reads = job.reads.unwrap_or_else(|| ReadsRecord {
        user_id_type: (!batch).then_some("open_id"),
        items: (!batch).then(Vec::new),
        total_count: batch.then_some(0),
        ..ReadsRecord::default()
    });
    let answer = One {
        id: job.id,
        state: job.state,
        to: job.to,
        recalled_at: job.recalled_ms.map(Time),
        fresh: asked,
        reads,
    };
    Ok(Json(answer).into_response())
}

/// `GET /v1/reads?filter[&fresh=true]`
#[utoipa::path(
    get,
    path = "/v1/reads",
    summary = "Who read a notice of many jobs",
    params(Filtering, Summing, Fresh),
    responses((status = 200, description = "The sums, and who is known by name.", body = Sums), openapi::Asking),
)]
pub(super) async fn notice(
    State(relay): State<Arc<Relay>>,
    Extension(caller): Extension<Caller>,
    uri: Uri,
) -> Result<Response, Problem> {
    let mut words = Words::of(&uri)?;
    let fresh = words.fresh();
    let chooses = words.chooses();
    let limited = words.has("limit");
    let mut filter = caller.within(words.filter(relay.state.clock.wall_ms()));
    words.finish()?;
    if !chooses {
        let detail = "names no notice: give a filter, such as label.notice=canteen";
        return Err(Problem::flawed(vec![Flaw {
            pointer: String::from("?"),
            detail: String::from(detail),
        }]));
    }
    if !limited {
        filter.limit = JOBS_MAX;
    }
    let mut asked = None;
    if fresh {
        asked = Some(relay.ask_all(&filter).await?);
    }
    let notice = relay.state.store.notice(&filter).await?;
    Ok(Json(Sums::of(notice, asked)).into_response())
}

impl Relay {
    /// Asks Feishu who read what `ids` made. `true`: it has answered for all of them.
    async fn ask(&self, ids: &[JobId]) -> Result<bool, Problem> {
        let store = &self.state.store;
        let since_ms = self.state.clock.wall_ms();
        let deadline = Instant::now() + FRESH;
        store.ask_reads(ids).await?;
        let mut all = true;
        for id in ids {
            all &= self.answered(*id, since_ms, deadline).await?;
        }
        Ok(all)
    }

    async fn answered(&self, id: JobId, since_ms: i64, deadline: Instant) -> Result<bool, Problem> {
        // Before the first look, so that no change falls between the two.
        let mut watch = self.state.store.watch(id);
        loop {
            match self.state.store.asking(id, since_ms).await? {
                Asking::Answered => return Ok(true),
                Asking::Stopped => return Ok(false),
                Asking::UnderWay => {}
            }
            tokio::select! {
                () = watch.changed() => {}
                () = tokio::time::sleep_until(deadline) => return Ok(false),
                () = self.stop.cancelled() => return Ok(false),
            }
        }
    }

    /// The same of all that a filter names; of more than are asked about at once the oldest are left out.
    async fn ask_all(&self, filter: &Filter) -> Result<bool, Problem> {
        let notice = self.state.store.notice(filter).await?;
        let done = |job: &&NoticeJob| job.state == JobState::Done && !job.recalled;
        let mut ids: Vec<JobId> = notice.jobs.iter().filter(done).map(|job| job.id).collect();
        let left_out = ids.len() > FRESH_MAX;
        ids.truncate(FRESH_MAX);
        Ok(self.ask(&ids).await? && !left_out)
    }
}

/// Who read what one job made.
#[derive(Serialize, ToSchema)]
#[schema(as = Reads)]
struct One {
    id: JobId,
    state: JobState,
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    recalled_at: Option<Time>,
    /// Feishu has answered since the request came.
    #[serde(skip_serializing_if = "Option::is_none")]
    fresh: Option<bool>,
    #[serde(flatten)]
    reads: ReadsRecord,
}

/// One who read a message of a notice.
#[derive(Serialize, ToSchema)]
#[schema(as = NoticeReader)]
struct Who {
    id: JobId,
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<String>,
    #[serde(flatten)]
    reader: Reader,
}

/// A message of a notice, and to whom it went.
#[derive(Serialize, ToSchema)]
#[schema(as = NoticeMessage)]
struct Sent {
    id: JobId,
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<String>,
}

/// A batch of a notice.
#[derive(Serialize, ToSchema)]
#[schema(as = NoticeBatch)]
struct Counts {
    id: JobId,
    read_count: i64,
    total_count: i64,
}

/// The sums over a notice.
#[derive(Default, Serialize, ToSchema)]
#[schema(as = Notice)]
struct Sums {
    /// Jobs that are done; the rest is in `not_done`, by state.
    jobs: u64,
    not_done: BTreeMap<String, u64>,
    /// Of `jobs`: taken back since, so that nobody reads them any more.
    recalled: u64,
    /// Of `jobs`: to groups and the like, whose people are not known.
    groups: u64,
    /// Of `jobs`: Feishu was never asked, or has not answered.
    unasked: Vec<Sent>,
    /// Whom messages to one person and batches were meant for or reached.
    people: i64,
    read_count: i64,
    user_id_type: &'static str,
    readers: Vec<Who>,
    /// Messages to one person that nobody had read when Feishu was asked.
    not_read: Vec<Sent>,
    batches: Vec<Counts>,
    /// The earliest of the newest answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    asked_at: Option<Time>,
    /// All that the filter names is in the sums, every job of it was asked about, every reader named.
    complete: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    fresh: Option<bool>,
    next_cursor: Option<String>,
}

impl Sums {
    fn of(notice: Notice, fresh: Option<bool>) -> Sums {
        let mut sums = Sums {
            user_id_type: "open_id",
            fresh,
            next_cursor: notice.next_cursor.map(|cursor| cursor.to_string()),
            ..Sums::default()
        };
        for job in notice.jobs {
            match job.state {
                JobState::Done => sums.add(job),
                state => *sums.not_done.entry(state.name().to_owned()).or_default() += 1,
            }
        }
        sums.complete = sums.next_cursor.is_none() && !notice.more && sums.unasked.is_empty();
        sums
    }

    fn add(&mut self, job: NoticeJob) {
        self.jobs += 1;
        self.recalled += u64::from(job.recalled);
        // What was written to a person names that person; a chat or a message does not say who reads it.
        let person = !job.batch && job.to.as_deref().is_some_and(|to| !to.starts_with("oc_"));
        let known = job.reads.unwrap_or_default();
        self.read_count += known.read_count;
        self.people += match known.total_count {
            Some(reached) => reached,
            None => i64::from(person),
        };
        self.groups += u64::from(!person && !job.batch);
        self.asked_at = match (self.asked_at, known.asked_at) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
        let sent = |to| Sent { id: job.id, to };
        if !known.complete {
            if !job.recalled {
                self.unasked.push(sent(job.to.clone()));
            }
        } else if person && known.read_count == 0 && !job.recalled {
            self.not_read.push(sent(job.to.clone()));
        }
        if job.batch {
            self.batches.push(Counts {
                id: job.id,
                read_count: known.read_count,
                total_count: known.total_count.unwrap_or(0),
            });
        }
        self.readers
            .extend(job.readers.into_iter().map(|reader| Who {
                id: job.id,
                to: job.to.clone(),
                reader,
            }));
    }
}
