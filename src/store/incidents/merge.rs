//! Jobs that were merged into a digest's: they wait for it and take its end.
//!
//! Only jobs that were never marked merge, so nobody has seen them. When the digest's job settles they settle as
//! it did, and name it in their receipt; while it is in doubt they wait; when a person has it tried again they
//! wait again. Its members hear of each of these. All of that goes by 1000 a batch.
//! Not here: which jobs merge (`alerts`).

use serde_json::json;
use sqlx::Row;

use crate::job::{AppId, JobId, State};
use crate::store::writer::Tx;
use crate::store::{dependents, finish, mark, pause};

/// Rows of one kind in one batch; the rest follows with the sweeps.
const ROWS: i64 = 1000;

/// The jobs `children`, queued and never marked, wait for `parent`, which is the digest's.
pub(super) async fn merge(
    tx: &mut Tx<'_>,
    parent: i64,
    children: &[i64],
) -> Result<(), sqlx::Error> {
    if children.is_empty() {
        return Ok(());
    }
    let list = json!(children).to_string();
    sqlx::query(
        "insert into dependency (parent, child, role)
         select ?1, value, 'merged' from json_each(?2)",
    )
    .bind(parent)
    .bind(&list)
    .execute(tx.conn().await?)
    .await?;
    let before = sqlx::query(
        "select * from job where seq in (select value from json_each(?1)) and stands = 1",
    )
    .bind(&list)
    .fetch_all(tx.conn().await?)
    .await?;
    for row in &before {
        pause::left(tx, mark::head(row));
    }
    tx.changes
        .stood
        .retain(|head| !children.contains(&head.seq));
    // Its schedule and its deadline are the digest's from now on.
    let rows = sqlx::query(
        "update job set stands = 0, blocked = blocked + 1, run_ms = min(run_ms, ?2), deadline_ms = null
          where seq in (select value from json_each(?1)) and state = 'queued' and attempt = 0
         returning id",
    )
    .bind(&list)
    .bind(tx.now.wall_ms)
    .fetch_all(tx.conn().await?)
    .await?;
    for row in &rows {
        dependents::touch(tx, row);
    }
    Ok(())
}

/// The job that speaks for the job `seq`.
pub(in crate::store) async fn merged_into(
    tx: &mut Tx<'_>,
    seq: i64,
) -> Result<Option<JobId>, sqlx::Error> {
    let id: Option<Vec<u8>> = sqlx::query_scalar(
        "select parent.id from dependency join job parent on parent.seq = dependency.parent
          where dependency.child = ?1 and dependency.role = 'merged'",
    )
    .bind(seq)
    .fetch_optional(tx.conn().await?)
    .await?;
    Ok(id.and_then(|id| id.try_into().ok()).map(JobId))
}

/// Of `jobs`, pairs of an incident and a job that changed, those that show a digest: whoever is merged into
/// them hears of it. One that was merged and waits again hears how its digest's ended, if it did.
pub(super) async fn begin_telling(tx: &mut Tx<'_>, jobs: &str) -> Result<(), sqlx::Error> {
    let parents: Vec<i64> = sqlx::query_scalar(
        "insert into merging (parent, digest)
         select link.job, link.incident
           from json_each(?1) changed
           join incident on incident.seq = changed.value ->> 0 and incident.is_digest = 1
           join incident_job link on link.incident = incident.seq and link.job = changed.value ->> 1 and link.role = 'card'
          where true
         on conflict (parent) do update set told = 0
         returning parent",
    )
    .bind(jobs)
    .fetch_all(tx.conn().await?)
    .await?;
    let late: Vec<i64> = sqlx::query_scalar(
        "insert into merging (parent, digest)
         select distinct parent.seq, parent.incident
           from json_each(?1) changed
           join job child on child.seq = changed.value ->> 1 and child.state = 'queued'
           join dependency on dependency.child = child.seq and dependency.role = 'merged' and open = 1
           join job parent on parent.seq = dependency.parent and parent.finished_ms is not null
                          and parent.incident is not null
          where true
         on conflict (parent) do nothing
         returning parent",
    )
    .bind(jobs)
    .fetch_all(tx.conn().await?)
    .await?;
    for parent in parents.into_iter().chain(late) {
        tell(tx, parent).await?;
    }
    Ok(())
}

/// Goes on telling. `true`: there is more.
pub(in crate::store) async fn go_on(tx: &mut Tx<'_>) -> Result<bool, sqlx::Error> {
    let parent: Option<i64> = sqlx::query_scalar("select parent from merging limit 1")
        .fetch_optional(tx.conn().await?)
        .await?;
    match parent {
        Some(parent) => tell(tx, parent).await.map(|()| true),
        None => Ok(false),
    }
}

/// One piece of what those merged into `parent` must hear: first the jobs, then the members.
async fn tell(tx: &mut Tx<'_>, parent: i64) -> Result<(), sqlx::Error> {
    let row = sqlx::query("select id, state, error from job where seq = ?1")
        .bind(parent)
        .fetch_optional(tx.conn().await?)
        .await?;
    let state = row
        .as_ref()
        .and_then(|row| State::from_name(row.get("state")));
    let full = match (&row, state) {
        (Some(row), Some(state)) if state.is_settled() => {
            let id = JobId(row.get::<Vec<u8>, _>("id").try_into().unwrap_or_default());
            end(tx, parent, id, state, row.get("error")).await?
        }
        (Some(_), Some(State::Queued)) => revive(tx, parent).await?,
        _ => false,
    };
    if full || tell_members(tx, parent).await? {
        return Ok(());
    }
    sqlx::query("delete from merging where parent = ?1")
        .bind(parent)
        .execute(tx.conn().await?)
        .await?;
    Ok(())
}

/// Ends what waits for `parent` as that ended. `true`: there may be more.
async fn end(
    tx: &mut Tx<'_>,
    parent: i64,
    id: JobId,
    state: State,
    error: Option<String>,
) -> Result<bool, sqlx::Error> {
    let children: Vec<i64> = sqlx::query_scalar(
        "select child from dependency join job on job.seq = child
          where dependency.parent = ?1 and dependency.role = 'merged' and open = 1 and job.state = 'queued'
          order by child limit ?2",
    )
    .bind(parent)
    .bind(ROWS)
    .fetch_all(tx.conn().await?)
    .await?;
    if children.is_empty() {
        return Ok(false);
    }
    let list: Vec<_> = children
        .iter()
        .map(|child| json!([child, tx.settle_seq()]))
        .collect();
    let mut rows = sqlx::query(
        "update job set state = ?2, finished_ms = ?3, settle_seq = given.settle_seq, error = ?4,
                        receipt = ?5,
                        args = case when ?2 = 'done' then null else args end,
                        resolved = case when ?2 = 'done' then null else resolved end
           from (select value ->> 0 as seq, value ->> 1 as settle_seq from json_each(?1)) given
          where job.seq = given.seq and job.state = 'queued'
         returning *",
    )
    .bind(json!(list).to_string())
    .bind(state.name())
    .bind(tx.now.wall_ms)
    .bind(error)
    .bind(json!({"merged_into": id.to_string()}).to_string())
    .fetch_all(tx.conn().await?)
    .await?;
    if state == State::Done {
        sqlx::query(
            "update dependency set open = 0
              where parent = ?1 and role = 'merged' and child in (select value from json_each(?2))",
        )
        .bind(parent)
        .bind(json!(children).to_string())
        .execute(tx.conn().await?)
        .await?;
    }
    rows.sort_by_key(|row| row.get::<i64, _>("settle_seq"));
    for row in &rows {
        tx.moved(row.get("seq"));
        tx.count(
            AppId(row.get("app")),
            false,
            Some(State::Queued),
            Some(state),
        );
        tx.ended(row, state);
        dependents::touch(tx, row);
        finish::free_dependents(tx, row, state).await?;
    }
    Ok(children.len() as i64 == ROWS)
}

/// `parent` is tried again: what ended with it waits again. `true`: there may be more.
async fn revive(tx: &mut Tx<'_>, parent: i64) -> Result<bool, sqlx::Error> {
    let rows = sqlx::query(
        "select job.* from dependency join job on job.seq = child
          where dependency.parent = ?1 and dependency.role = 'merged' and open = 1
            and job.state in ('failed', 'expired', 'canceled')
            and job.receipt ->> 'merged_into' is not null and job.args is not null
          order by child limit ?2",
    )
    .bind(parent)
    .bind(ROWS)
    .fetch_all(tx.conn().await?)
    .await?;
    let seqs: Vec<i64> = rows.iter().map(|row| row.get("seq")).collect();
    sqlx::query(
        "update job set state = 'queued', finished_ms = null, settle_seq = null, error = null, receipt = null
          where seq in (select value from json_each(?1)) and finished_ms is not null",
    )
    .bind(json!(seqs).to_string())
    .execute(tx.conn().await?)
    .await?;
    for row in &rows {
        let seq: i64 = row.get("seq");
        let from = State::from_name(row.get("state"));
        tx.moved(seq);
        tx.count(AppId(row.get("app")), false, from, Some(State::Queued));
        tx.changes.incidents.job(row);
        dependents::touch(tx, row);
        if row.get::<i64, _>("dependents") > 0 {
            dependents::revive(tx, seq, None).await?;
        }
    }
    Ok(rows.len() as i64 == ROWS)
}

/// The members of the digest that `parent` shows must be looked at. `true`: there may be more.
async fn tell_members(tx: &mut Tx<'_>, parent: i64) -> Result<bool, sqlx::Error> {
    let members: Vec<i64> = sqlx::query_scalar(
        "select incident.seq from merging join incident on incident.digest = merging.digest and incident.seq > merging.told
          where merging.parent = ?1
          order by incident.seq limit ?2",
    )
    .bind(parent)
    .bind(ROWS)
    .fetch_all(tx.conn().await?)
    .await?;
    sqlx::query("update merging set told = coalesce(?2, told) where parent = ?1")
        .bind(parent)
        .bind(members.last())
        .execute(tx.conn().await?)
        .await?;
    let full = members.len() as i64 == ROWS;
    tx.changes.incidents.woken.extend(members);
    Ok(full)
}
