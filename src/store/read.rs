//! Jobs as they are answered, read beside the writer: each from one snapshot, so that its parts agree.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use sqlx::Row;
use sqlx::sqlite::{SqliteConnection, SqliteRow};

use crate::clock::parse_rfc3339;
use crate::job::month::Level;
use crate::job::{
    Action, Attempt, Fault, Job, JobId, Kind, Outcome, PartRecord, Priority, RecallRecord, State,
    WaitingFor,
};
use crate::store::insert::ALONE;
use crate::store::{Filter, Name, Page, Store, doubt, find, mark, pause, reads};

/// Rows read at once: one holds some kilobytes while it is read, whatever is in it.
const ROWS_AT_ONCE: usize = 64;

/// The lane as a producer knows it; `None`: it has none.
pub(super) fn public_lane(lane: &str) -> Option<&str> {
    (!lane.is_empty() && !lane.starts_with(ALONE)).then_some(lane)
}

pub(super) async fn job(store: &Store, name: &Name) -> Result<Option<Job>, sqlx::Error> {
    let mut snapshot = store.shared.readers.begin().await?;
    let conn = &mut *snapshot;
    let row = match name {
        Name::Job(id) => sqlx::query("select * from job where id = ?1").bind(id.0.as_slice()).fetch_optional(&mut *conn).await?,
        Name::Message(id) => sqlx::query("select * from job where message_id = ?1 and own = 0 order by seq desc limit 1").bind(id).fetch_optional(&mut *conn).await?,
        Name::Batch(id) => {
            sqlx::query("select job.* from part join job on job.seq = part.job where part.batch_message_id = ?1 order by part.job desc limit 1").bind(id).fetch_optional(&mut *conn).await?
        }
    };
    match row {
        None => Ok(None),
        Some(row) => {
            let mut job = full(store, &mut *conn, &row).await?;
            if let Some(job) = &mut job {
                job.args = row.get("args");
                reads::name(&mut *conn, job).await?;
            }
            Ok(job)
        }
    }
}

pub(super) async fn jobs(store: &Store, ids: &[JobId]) -> Result<Vec<Job>, sqlx::Error> {
    let mut jobs = Vec::with_capacity(ids.len());
    for some in ids.chunks(ROWS_AT_ONCE) {
        // A snapshot each: a long one would keep the log from being reset.
        let mut snapshot = store.shared.readers.begin().await?;
        let conn = &mut *snapshot;
        let hex: Vec<String> = some.iter().map(|id| id.hex()).collect();
        let rows = sqlx::query(
            "select job.* from json_each(?1) wanted
               join job on job.id = unhex(wanted.value)
              order by wanted.key",
        )
        .bind(json!(hex).to_string())
        .fetch_all(&mut *conn)
        .await?;
        fill(store, &mut *conn, &rows, &mut jobs).await?;
    }
    Ok(jobs)
}

async fn fill(
    store: &Store,
    conn: &mut SqliteConnection,
    rows: &[SqliteRow],
    jobs: &mut Vec<Job>,
) -> Result<(), sqlx::Error> {
    for row in rows {
        jobs.extend(full(store, &mut *conn, row).await?);
    }
    Ok(())
}

pub(super) async fn list(store: &Store, filter: &Filter) -> Result<Page, sqlx::Error> {
    let mut snapshot = store.shared.readers.begin().await?;
    let conn = &mut *snapshot;
    let limit = i64::from(filter.limit.clamp(1, 200));
    let rows = find::rows(&mut *conn, "job.*", filter, limit).await?;
    let next_cursor = if rows.len() as i64 == limit {
        rows.last().map(|row| row.get("seq"))
    } else {
        find::looked_at(&mut *conn, filter).await?
    };
    let mut jobs = Vec::with_capacity(rows.len());
    fill(store, &mut *conn, &rows, &mut jobs).await?;
    Ok(Page { jobs, next_cursor })
}

/// A row with everything that stands elsewhere. `None`: of a kind that this binary does not know.
async fn full(
    store: &Store,
    conn: &mut SqliteConnection,
    row: &SqliteRow,
) -> Result<Option<Job>, sqlx::Error> {
    let (Some(kind), Some(state)) = (
        Kind::from_name(row.get("kind")),
        State::from_name(row.get("state")),
    ) else {
        return Ok(None);
    };
    let Some(id) = <[u8; 16]>::try_from(row.get::<Vec<u8>, _>("id"))
        .ok()
        .map(JobId)
    else {
        return Ok(None);
    };
    let seq: i64 = row.get("seq");
    let app = app_name(store, &mut *conn, row.get("app")).await?;
    let lane: &str = row.get("lane");
    let parts = if row.get::<i64, _>("parts") > 0 {
        parts(&mut *conn, seq).await?
    } else {
        Vec::new()
    };
    let attempts = attempts(row.get("attempts"));
    let doubt = doubt::of(&mut *conn, row, &attempts, &parts).await?;
    let waiting_for = if state == State::Queued {
        Some(waiting_for(store, &mut *conn, row, kind).await?)
    } else {
        None
    };
    let parent = match (
        row.get::<Option<i64>, _>("parent"),
        row.get::<&str, _>("role"),
    ) {
        (Some(parent), "then") => id_of(&mut *conn, parent).await?,
        _ => None,
    };
    Ok(Some(Job {
        seq,
        id,
        kind,
        app,
        client: row.get("client"),
        to: row
            .get::<Option<String>, _>("receiver")
            .or_else(|| row.get("message")),
        state,
        waiting_for,
        key: row.get("key"),
        lane: public_lane(lane).map(str::to_owned),
        priority: Priority::from_rank(row.get("priority")),
        labels: parse::<BTreeMap<String, String>>(row.get("labels")),
        args: None,
        created_ms: row.get("created_ms"),
        run_ms: row.get("run_ms"),
        expires_ms: row.get("expires_ms"),
        finished_ms: row.get("finished_ms"),
        attempts,
        actions: actions(row.get("actions")),
        receipt: row.get("receipt"),
        degraded: row
            .get::<Option<&str>, _>("degraded")
            .and_then(|text| serde_json::from_str(text).ok()),
        progress: if kind == Kind::BatchSend {
            progress(&mut *conn, seq).await?
        } else {
            None
        },
        track: row.get("track"),
        reads: reads::of(&mut *conn, row).await?,
        // What is queued for the first time made nothing that could be taken back.
        recall: if state == State::Queued && parts.is_empty() {
            None
        } else {
            recall(&mut *conn, row, &parts).await?
        },
        parts,
        doubt,
        error: row
            .get::<Option<&str>, _>("error")
            .and_then(|text| serde_json::from_str::<Fault>(text).ok()),
        parent,
        children: if row.get::<i64, _>("dependents") > 0 {
            children(&mut *conn, seq).await?
        } else {
            Vec::new()
        },
        recalled_ms: row.get("recalled_ms"),
    }))
}

async fn app_name(
    store: &Store,
    conn: &mut SqliteConnection,
    app: i64,
) -> Result<String, sqlx::Error> {
    match store.app_name(crate::job::AppId(app)) {
        Some(name) => Ok(name.to_owned()),
        // It was configured once.
        None => {
            sqlx::query_scalar("select name from app where id = ?1")
                .bind(app)
                .fetch_one(&mut *conn)
                .await
        }
    }
}

fn parse<T: serde::de::DeserializeOwned + Default>(text: &str) -> T {
    serde_json::from_str(text).unwrap_or_default()
}

async fn id_of(conn: &mut SqliteConnection, seq: i64) -> Result<Option<JobId>, sqlx::Error> {
    let id: Option<Vec<u8>> = sqlx::query_scalar("select id from job where seq = ?1")
        .bind(seq)
        .fetch_optional(&mut *conn)
        .await?;
    Ok(id.and_then(|id| id.try_into().ok()).map(JobId))
}

async fn children(conn: &mut SqliteConnection, seq: i64) -> Result<Vec<JobId>, sqlx::Error> {
    let ids: Vec<Vec<u8>> =
        sqlx::query_scalar("select id from job where parent = ?1 and role = 'then' order by seq")
            .bind(seq)
            .fetch_all(&mut *conn)
            .await?;
    Ok(ids
        .into_iter()
        .filter_map(|id| id.try_into().ok())
        .map(JobId)
        .collect())
}

async fn parts(conn: &mut SqliteConnection, seq: i64) -> Result<Vec<PartRecord>, sqlx::Error> {
    let rows = sqlx::query(
        "select state, batch_message_id, count, error, receipt from part where job = ?1 order by n",
    )
    .bind(seq)
    .fetch_all(&mut *conn)
    .await?;
    Ok(rows
        .iter()
        .map(|row| {
            let error: Option<Fault> = row
                .get::<Option<&str>, _>(3)
                .and_then(|text| serde_json::from_str(text).ok());
            PartRecord {
                state: State::from_name(row.get(0)).unwrap_or(State::Queued),
                batch_message_id: row.get(1),
                count: row.get(2),
                code: error.as_ref().and_then(|fault| fault.code),
                msg: error.map(|fault| fault.msg),
                receipt: row.get(4),
            }
        })
        .collect())
}

/// The parts' progress as one, under Feishu's names.
async fn progress(conn: &mut SqliteConnection, seq: i64) -> Result<Option<String>, sqlx::Error> {
    let list: Vec<String> = sqlx::query_scalar("select progress from job where parent = ?1 and role = 'progress' and progress is not null order by seq").bind(seq).fetch_all(&mut *conn).await?;
    if list.is_empty() {
        return Ok(None);
    }
    let (mut valid, mut success, mut read, mut recalled) = (0, 0, 0, 0);
    let mut recall = true;
    for one in &list {
        let one: Value = serde_json::from_str(one).unwrap_or_default();
        let send = &one["batch_message_send_progress"];
        valid += send["valid_user_ids_count"].as_i64().unwrap_or(0);
        success += send["success_user_ids_count"].as_i64().unwrap_or(0);
        read += send["read_user_ids_count"].as_i64().unwrap_or(0);
        recalled += one["batch_message_recall_progress"]["recall_count"]
            .as_i64()
            .unwrap_or(0);
        recall &= one["batch_message_recall_progress"]["recall"]
            .as_bool()
            .unwrap_or(false);
    }
    Ok(Some(
        json!({
            "batch_message_send_progress": {"valid_user_ids_count": valid, "success_user_ids_count": success, "read_user_ids_count": read},
            "batch_message_recall_progress": {"recall": recall, "recall_count": recalled},
        })
        .to_string(),
    ))
}

/// Is a follow-up of that batch due or under way?
pub(super) async fn asks_progress(
    store: &Store,
    id: JobId,
    now_ms: i64,
) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar(
        "select exists (select 1 from job follow
                         where follow.parent = (select seq from job where id = ?1) and follow.role = 'progress'
                           and (follow.state = 'sending' or (follow.state = 'queued' and follow.run_ms <= ?2)))",
    )
    .bind(id.0.as_slice())
    .bind(now_ms)
    .fetch_one(&store.shared.readers)
    .await
}

/// How far taking it back is, from the relay's own job for it, or from the wish that waits for the id.
async fn recall(
    conn: &mut SqliteConnection,
    row: &SqliteRow,
    parts: &[PartRecord],
) -> Result<Option<RecallRecord>, sqlx::Error> {
    let seq: i64 = row.get("seq");
    let job = sqlx::query("select state, error from job where parent = ?1 and role = 'recall' order by seq desc limit 1").bind(seq).fetch_optional(&mut *conn).await?;
    let Some(job) = job else {
        let wished = row.get::<Option<&str>, _>("wish") == Some("recall")
            && row.get::<&str, _>("state") == "sending";
        let of = if parts.is_empty() {
            1
        } else {
            parts.len() as i64
        };
        return Ok(wished.then_some(RecallRecord {
            state: State::Queued,
            count: 0,
            of,
            error: None,
        }));
    };
    let state = State::from_name(job.get(0)).unwrap_or(State::Queued);
    let error = job
        .get::<Option<&str>, _>(1)
        .and_then(|text| serde_json::from_str(text).ok());
    if parts.is_empty() {
        let count = i64::from(state == State::Done);
        return Ok(Some(RecallRecord {
            state,
            count,
            of: 1,
            error,
        }));
    }
    // Several recalls may have had a hand in it: what counts is what is gone.
    let (count, of): (i64, i64) = sqlx::query_as(
        "select count(recalled_ms), count(batch_message_id) from part where job = ?1",
    )
    .bind(seq)
    .fetch_one(&mut *conn)
    .await?;
    Ok(Some(RecallRecord {
        state,
        count,
        of,
        error,
    }))
}

/// Of several the first of: schedule, dependency, app, retry, then its place in the lane.
async fn waiting_for(
    store: &Store,
    conn: &mut SqliteConnection,
    row: &SqliteRow,
    kind: Kind,
) -> Result<WaitingFor, sqlx::Error> {
    let tried = row.get::<i64, _>("rank") == 0;
    let later = row.get::<i64, _>("run_ms") > store.shared.clock.wall_ms();
    let lane: &str = row.get("lane");
    if later && !tried {
        return Ok(WaitingFor::Schedule);
    }
    if row.get::<i64, _>("blocked") > 0 {
        return Ok(WaitingFor::Dependency);
    }
    let spared = mark::head(row).is_some_and(|head| head.is_spared(Level::Reserve));
    if pause::covers(&mut *conn, row.get("app"), lane, kind, spared).await? {
        return Ok(WaitingFor::App);
    }
    if later {
        return Ok(WaitingFor::Retry);
    }
    if row.get::<i64, _>("parked") == 1 {
        return Ok(WaitingFor::Lane);
    }
    let before: bool = sqlx::query_scalar(
        // Each looks at one row at most: whoever stands behind in a long lane is not walked past.
        "select exists (select 1 from job where state = 'queued' and stands = 1 and app = ?1 and lane = ?2 and rank = 0 and seq <> ?4)
             or (?3 > 1 and exists (select 1 from job where state = 'queued' and stands = 1 and app = ?1 and lane = ?2 and rank = 1))
             or (?3 > 2 and exists (select 1 from job where state = 'queued' and stands = 1 and app = ?1 and lane = ?2 and rank = 2))
             or exists (select 1 from job where state = 'queued' and stands = 1 and app = ?1 and lane = ?2 and rank = ?3 and ?3 > 0 and seq < ?4)
             or exists (select 1 from job where state = 'sending' and app = ?1 and lane = ?2)",
    )
    .bind(row.get::<i64, _>("app"))
    .bind(lane)
    .bind(row.get::<i64, _>("rank"))
    .bind(row.get::<i64, _>("seq"))
    .fetch_one(&mut *conn)
    .await?;
    Ok(if before {
        WaitingFor::Lane
    } else {
        WaitingFor::Limit
    })
}

pub(super) fn attempts(text: &str) -> Vec<Attempt> {
    let list: Vec<Value> = parse(text);
    list.iter()
        .filter_map(|one| {
            Some(Attempt {
                at_ms: parse_rfc3339(one["at"].as_str()?)?,
                ms: one["ms"].as_i64(),
                outcome: Outcome::from_name(one["outcome"].as_str()?)?,
                http: one["http"].as_u64().and_then(|http| http.try_into().ok()),
                code: one["code"].as_i64(),
                log_id: one["log_id"].as_str().map(str::to_owned),
                part: one["part"].as_i64(),
                rung: one["rung"].as_u64().and_then(|rung| rung.try_into().ok()),
            })
        })
        .collect()
}

pub(super) fn actions(text: &str) -> Vec<Action> {
    let list: Vec<Value> = parse(text);
    list.iter()
        .filter_map(|one| {
            Some(Action {
                at_ms: parse_rfc3339(one["at"].as_str()?)?,
                by: one["by"].as_str()?.to_owned(),
                what: one["what"].as_str()?.to_owned(),
            })
        })
        .collect()
}
