//! Incidents as they are, each with its jobs from one snapshot.

use std::collections::BTreeMap;

use serde_json::json;
use sqlx::sqlite::{SqliteConnection, SqliteRow};
use sqlx::{AssertSqlSafe, Row};

use crate::job::{
    DigestLink, Fault, IncidentId, IncidentJob, IncidentRole, IncidentRow, IncidentState, JobId,
    State,
};
use crate::store::Store;
use crate::store::incidents::{IncidentFilter, IncidentPage};

/// Rows that one page looks at.
const ROWS_LOOKED_AT: i64 = 10_000;

pub(super) async fn newest(
    store: &Store,
    route: &str,
    group: &str,
) -> Result<Option<IncidentRow>, sqlx::Error> {
    let mut snapshot = store.shared.readers.begin().await?;
    let row = sqlx::query(
        "select * from incident where route = ?1 and group_key = ?2 order by seq desc limit 1",
    )
    .bind(route)
    .bind(group)
    .fetch_optional(&mut *snapshot)
    .await?;
    match row {
        Some(row) => full(&mut snapshot, &row).await,
        None => Ok(None),
    }
}

/// Open incidents of that group, whatever their route, a hundred at most.
pub(super) async fn open_of(store: &Store, group: &str) -> Result<Vec<IncidentRow>, sqlx::Error> {
    let mut snapshot = store.shared.readers.begin().await?;
    let rows = sqlx::query(
        "select * from incident where group_key = ?1 and state <> 'resolved' order by seq limit 100",
    )
    .bind(group)
    .fetch_all(&mut *snapshot)
    .await?;
    let mut incidents = Vec::with_capacity(rows.len());
    for row in &rows {
        incidents.extend(full(&mut snapshot, row).await?);
    }
    Ok(incidents)
}

pub(super) async fn one(store: &Store, id: IncidentId) -> Result<Option<IncidentRow>, sqlx::Error> {
    let mut snapshot = store.shared.readers.begin().await?;
    let row = sqlx::query("select * from incident where id = ?1")
        .bind(id.0.as_slice())
        .fetch_optional(&mut *snapshot)
        .await?;
    match row {
        Some(row) => full(&mut snapshot, &row).await,
        None => Ok(None),
    }
}

pub(super) async fn due(
    store: &Store,
    now_ms: i64,
    limit: u32,
) -> Result<Vec<IncidentRow>, sqlx::Error> {
    let mut snapshot = store.shared.readers.begin().await?;
    let rows =
        sqlx::query("select * from incident where due_ms <= ?1 order by due_ms, seq limit ?2")
            .bind(now_ms)
            .bind(limit)
            .fetch_all(&mut *snapshot)
            .await?;
    let mut incidents = Vec::with_capacity(rows.len());
    for row in &rows {
        incidents.extend(full(&mut snapshot, row).await?);
    }
    Ok(incidents)
}

pub(super) async fn next_due(store: &Store) -> Result<Option<i64>, sqlx::Error> {
    sqlx::query_scalar(
        "select due_ms from incident where due_ms is not null order by due_ms limit 1",
    )
    .fetch_optional(&store.shared.readers)
    .await
}

pub(super) async fn open(
    store: &Store,
) -> Result<BTreeMap<(String, IncidentState), u64>, sqlx::Error> {
    let rows: Vec<(String, String, i64)> = sqlx::query_as(
        "select route, state, count(*) from incident where state <> 'resolved' group by route, state",
    )
    .fetch_all(&store.shared.readers)
    .await?;
    let known = rows.into_iter().filter_map(|(route, state, count)| {
        let state = IncidentState::from_name(&state)?;
        Some(((route, state), count.unsigned_abs()))
    });
    Ok(known.collect())
}

/// What a list needs: all but the body, which may be megabytes.
const LISTED: &str = "incident.seq, id, version, route, group_key, app, receiver, client, state, severity, title, alerts, tag,
                      '' as body, is_digest, digest, digest_tag, wants_digest, opened_ms, changed_ms, ended_ms, due_ms,
                      message_id";

/// Where a page looks: rows below ?2, newest first, at most ?3.
const WINDOW: &str = "select seq from incident where seq < ?2 order by seq desc limit ?3";

pub(super) async fn list(
    store: &Store,
    filter: &IncidentFilter,
) -> Result<IncidentPage, sqlx::Error> {
    let mut snapshot = store.shared.readers.begin().await?;
    let limit = i64::from(filter.limit.clamp(1, 200));
    let wanted = json!({
        "route": filter.route, "states": filter.states, "apps": filter.apps, "client": filter.client,
        "is_digest": filter.is_digest.map(i64::from), "since": filter.since_ms, "until": filter.until_ms,
    });
    // In the order of the look, so that it ends with the page; a plain join might begin with the whole table.
    let statement = format!(
        "select {LISTED} from ({WINDOW}) looked cross join incident on incident.seq = looked.seq
          where (?1 ->> 'route' is null or route = ?1 ->> 'route'
                 or substr(route, 1, length(?1 ->> 'route') + 1) in ((?1 ->> 'route') || '{{', (?1 ->> 'route') || '#'))
            and (json_array_length(?1, '$.states') = 0 or state in (select value from json_each(?1, '$.states')))
            and (?1 ->> 'apps' is null or app in (select value from json_each(?1, '$.apps')))
            and (?1 ->> 'client' is null or client = ?1 ->> 'client')
            and (?1 ->> 'is_digest' is null or is_digest = ?1 ->> 'is_digest')
            and (?1 ->> 'since' is null or opened_ms >= ?1 ->> 'since')
            and (?1 ->> 'until' is null or opened_ms < ?1 ->> 'until')
          order by looked.seq desc limit ?4"
    );
    let rows = sqlx::query(AssertSqlSafe(statement))
        .bind(wanted.to_string())
        .bind(filter.cursor.unwrap_or(i64::MAX))
        .bind(ROWS_LOOKED_AT)
        .bind(limit)
        .fetch_all(&mut *snapshot)
        .await?;
    let last: Option<i64> = match rows.last() {
        Some(row) if rows.len() as i64 == limit => Some(row.get("seq")),
        _ => {
            // A full window may have more behind it.
            let statement =
                format!("select seq from ({WINDOW}) order by seq desc limit 1 offset ?3 - 1");
            sqlx::query_scalar(AssertSqlSafe(statement))
                .bind(wanted.to_string())
                .bind(filter.cursor.unwrap_or(i64::MAX))
                .bind(ROWS_LOOKED_AT)
                .fetch_optional(&mut *snapshot)
                .await?
        }
    };
    let mut incidents = Vec::with_capacity(rows.len());
    for row in &rows {
        let link = digest(&mut snapshot, row).await?;
        let members = members_firing(&mut snapshot, row).await?;
        incidents.extend(incident(row, link, members, Vec::new()));
    }
    Ok(IncidentPage {
        incidents,
        next_cursor: last,
    })
}

pub(super) async fn all_jobs(
    store: &Store,
    id: IncidentId,
) -> Result<Vec<IncidentJob>, sqlx::Error> {
    let mut snapshot = store.shared.readers.begin().await?;
    let seq: Option<i64> = sqlx::query_scalar("select seq from incident where id = ?1")
        .bind(id.0.as_slice())
        .fetch_optional(&mut *snapshot)
        .await?;
    match seq {
        Some(seq) => jobs(&mut snapshot, seq, true).await,
        None => Ok(Vec::new()),
    }
}

/// A row with all that stands elsewhere.
async fn full(
    conn: &mut SqliteConnection,
    row: &SqliteRow,
) -> Result<Option<IncidentRow>, sqlx::Error> {
    let jobs = jobs(conn, row.get("seq"), false).await?;
    let link = digest(conn, row).await?;
    let members = members_firing(conn, row).await?;
    Ok(incident(row, link, members, jobs))
}

async fn members_firing(conn: &mut SqliteConnection, row: &SqliteRow) -> Result<i64, sqlx::Error> {
    if row.get::<i64, _>("is_digest") == 0 {
        return Ok(0);
    }
    sqlx::query_scalar("select count(*) from incident where digest = ?1 and state = 'firing'")
        .bind(row.get::<i64, _>("seq"))
        .fetch_one(conn)
        .await
}

/// What shows the digest that speaks for the incident of `row`. Its job may be purged; then its message tells.
async fn digest(
    conn: &mut SqliteConnection,
    row: &SqliteRow,
) -> Result<Option<DigestLink>, sqlx::Error> {
    let Some(digest) = row.get::<Option<i64>, _>("digest") else {
        return Ok(None);
    };
    let found = sqlx::query(
        "select digest.id, digest.message_id, job.state, job.attempt > 0 or job.unknown_ms is not null, job.finished_ms,
                job.message_id
           from incident digest
           left join job on job.seq = (select max(job) from incident_job where incident = digest.seq and role = 'card')
          where digest.seq = ?1",
    )
    .bind(digest)
    .fetch_optional(conn)
    .await?;
    Ok(found.and_then(|found| {
        let message_id: Option<String> = found.get(1);
        let gone = match message_id.is_some() {
            true => State::Done,
            false => State::Failed,
        };
        let state = found.get::<Option<&str>, _>(2).map(State::from_name);
        Some(DigestLink {
            id: incident_id(found.get(0))?,
            tag: row
                .get::<Option<String>, _>("digest_tag")
                .unwrap_or_default(),
            state: state.unwrap_or(Some(gone))?,
            tried: found.get::<Option<bool>, _>(3).unwrap_or(true),
            finished_ms: found.get(4),
            message_id: found.get::<Option<String>, _>(5).or(message_id),
        })
    }))
}

/// The jobs of an incident: those that it has not noticed yet, or `all`.
async fn jobs(
    conn: &mut SqliteConnection,
    incident: i64,
    all: bool,
) -> Result<Vec<IncidentJob>, sqlx::Error> {
    // Of a long story little is still open: without the name SQLite would go through all of it.
    let open = match all {
        true => "",
        false => "indexed by incident_job_open",
    };
    let columns = "select job.id, link.role, link.n, link.tag, job.state, job.attempt > 0 or job.unknown_ms is not null,
                job.unknown_ms is not null, job.message_id, job.created_ms, job.finished_ms, job.error,
                exists (select 1 from dependency where child = job.seq and dependency.role = 'merged')
                or coalesce(job.receipt ->> 'merged_into' is not null, 0)
           from incident_job link";
    let wanted = match all {
        true => "where link.incident = ?1 order by link.job",
        false => "where link.incident = ?1 and link.noticed = 0 order by link.job",
    };
    let rows = sqlx::query(AssertSqlSafe(format!(
        "{columns} {open} join job on job.seq = link.job {wanted}"
    )))
    .bind(incident)
    .fetch_all(conn)
    .await?;
    Ok(rows.iter().filter_map(job).collect())
}

fn job(row: &SqliteRow) -> Option<IncidentJob> {
    let error: Option<&str> = row.get(10);
    Some(IncidentJob {
        id: JobId(row.get::<Vec<u8>, _>(0).try_into().ok()?),
        role: IncidentRole::from_name(row.get(1))?,
        n: row.get(2),
        tag: row.get(3),
        state: State::from_name(row.get(4))?,
        tried: row.get(5),
        unknown: row.get(6),
        merged: row.get(11),
        message_id: row.get(7),
        created_ms: row.get(8),
        finished_ms: row.get(9),
        error: error.and_then(|error| serde_json::from_str::<Fault>(error).ok()),
    })
}

pub(super) fn incident_id(bytes: Vec<u8>) -> Option<IncidentId> {
    bytes.try_into().ok().map(IncidentId)
}

fn incident(
    row: &SqliteRow,
    digest: Option<DigestLink>,
    members_firing: i64,
    jobs: Vec<IncidentJob>,
) -> Option<IncidentRow> {
    Some(IncidentRow {
        id: incident_id(row.get("id"))?,
        version: row.get("version"),
        route: row.get("route"),
        group: row.get("group_key"),
        app: row.get("app"),
        receiver: row.get("receiver"),
        client: row.get("client"),
        state: IncidentState::from_name(row.get("state"))?,
        severity: row.get("severity"),
        title: row.get("title"),
        alerts: row.get("alerts"),
        tag: row.get("tag"),
        body: row.get("body"),
        is_digest: row.get::<i64, _>("is_digest") == 1,
        digest,
        wants_digest: row.get::<i64, _>("wants_digest") == 1,
        members_firing,
        opened_ms: row.get("opened_ms"),
        changed_ms: row.get("changed_ms"),
        ended_ms: row.get("ended_ms"),
        due_ms: row.get("due_ms"),
        message_id: row.get("message_id"),
        jobs,
    })
}
