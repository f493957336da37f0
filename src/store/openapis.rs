//! Calls in Feishu's own form: which one a repeat repeats, and what a job of such a call came to.
//!
//! A caller's uuid stands for its first job while that is unsettled or in doubt and for an hour after it
//! is done; looked up before anything is written, by the one writer, so two at once are one job.

use std::collections::HashMap;

use serde_json::{Value, json};
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use crate::job::{AppId, Fault, JobId, Kind, NewJob, State, hex};
use crate::store::writer::Tx;
use crate::store::{Store, StoreError};

/// How long a uuid is remembered after its job is done. Source: endpoints.md, section 0.
const REMEMBERED_MS: i64 = 3_600_000;

/// An app, a client, and the hash of what is unique there.
pub(super) type Space = (AppId, String, [u8; 32]);

/// Which job a uuid stands for.
pub(super) type Firsts = HashMap<Space, JobId>;

/// Where the job's uuid is unique, if it has one.
pub(super) fn space(app: AppId, job: &NewJob) -> Option<Space> {
    Some((app, job.client.clone(), job.uuid?))
}

/// The jobs for which the uuids of these requests stand already.
pub(super) async fn firsts(tx: &mut Tx<'_>, requests: &[&[NewJob]]) -> Result<Firsts, sqlx::Error> {
    let jobs = requests.iter().flat_map(|jobs| jobs.iter());
    let wanted: Vec<Value> = jobs
        .filter_map(|job| {
            let (app, client, uuid) = space(tx.app_id(&job.app)?, job)?;
            Some(json!([app.0, client, hex(&uuid)]))
        })
        .collect();
    if wanted.is_empty() {
        return Ok(Firsts::new());
    }
    // A later one outdoes an earlier one that a person brought back.
    let rows = sqlx::query(
        "select job.app, job.client, job.uuid, job.id
           from json_each(?1) wanted
           join job on job.app = wanted.value ->> 0 and job.client = wanted.value ->> 1
                   and job.uuid = unhex(wanted.value ->> 2)
          where job.uuid is not null
            and (job.state in ('queued', 'sending', 'in_doubt')
                 or job.state = 'done' and job.finished_ms > ?2)
          order by job.seq",
    )
    .bind(Value::Array(wanted).to_string())
    .bind(tx.now.wall_ms - REMEMBERED_MS)
    .fetch_all(tx.conn().await?)
    .await?;
    let found = rows.into_iter().filter_map(|row| {
        let uuid = row.get::<Vec<u8>, _>(2).try_into().ok()?;
        let id = JobId(row.get::<Vec<u8>, _>(3).try_into().ok()?);
        Some(((AppId(row.get(0)), row.get(1), uuid), id))
    });
    Ok(found.collect())
}

/// A job as whoever called in Feishu's own form must be told of it.
#[derive(Clone, Debug)]
pub struct Said {
    /// Which.
    pub id: JobId,
    /// With which app.
    pub app: AppId,
    /// What it does.
    pub kind: Kind,
    /// Where it is.
    pub state: State,
    /// What Feishu answered to the attempt that ended it, where it came in Feishu's own form.
    pub answer: Option<SaidAnswer>,
    /// Feishu's `data`, as far as it is known otherwise: JSON object.
    pub receipt: Option<String>,
    /// Why it failed.
    pub fault: Option<Fault>,
    /// What was asked for; gone with the content.
    pub args: Option<String>,
}

/// Feishu's answer as it came.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct SaidAnswer {
    /// Its HTTP status.
    pub http: u16,
    /// Its trace id.
    pub log_id: Option<String>,
    /// Its body.
    pub body: String,
}

impl Store {
    /// What these jobs are now; one that is not there is left out.
    ///
    /// # Errors
    /// The file cannot answer.
    pub async fn said(&self, ids: &[JobId]) -> Result<Vec<Said>, StoreError> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let ids: Vec<String> = ids.iter().map(|id| id.hex()).collect();
        let rows = sqlx::query(
            "select id, app, kind, state, answer, error, args,
                    coalesce(receipt, (select receipt from part where job = seq and n = 0)) as receipt
               from job where id in (select unhex(value) from json_each(?1))",
        )
        .bind(json!(ids).to_string())
        .fetch_all(&self.shared.readers)
        .await
        .map_err(self.failed())?;
        Ok(rows.iter().filter_map(said).collect())
    }
}

fn said(row: &SqliteRow) -> Option<Said> {
    let text = |name| row.get::<Option<&str>, _>(name);
    Some(Said {
        id: JobId(row.get::<Vec<u8>, _>("id").try_into().ok()?),
        app: AppId(row.get("app")),
        kind: Kind::from_name(row.get("kind"))?,
        state: State::from_name(row.get("state"))?,
        answer: text("answer").and_then(|text| serde_json::from_str(text).ok()),
        receipt: text("receipt").map(str::to_owned),
        fault: text("error").and_then(|text| serde_json::from_str(text).ok()),
        args: text("args").map(str::to_owned),
    })
}
