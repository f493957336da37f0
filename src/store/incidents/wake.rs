//! Who must look at an incident again because one of its jobs changed, and incidents that are kept long enough.

use serde_json::json;
use sqlx::Row;
use sqlx::sqlite::SqliteConnection;

use crate::store::act;
use crate::store::incidents::{merge, storm};
use crate::store::writer::Tx;

/// Incidents that are dropped in one batch.
const ROWS: i64 = 1000;

/// Makes the incidents due whose jobs ended or wait again since the last call, and lets those merged into such a
/// job hear of it.
pub(in crate::store) async fn wake(tx: &mut Tx<'_>) -> Result<(), sqlx::Error> {
    loop {
        put_back(tx).await?;
        let jobs = std::mem::take(&mut tx.changes.incidents.jobs);
        if jobs.is_empty() {
            break;
        }
        tx.changes
            .incidents
            .woken
            .extend(jobs.iter().map(|(incident, _)| *incident));
        let jobs = json!(jobs).to_string();
        sqlx::query(
            "update incident_job set noticed = 0
              where noticed = 1
                and (incident, job) in (select value ->> 0, value ->> 1 from json_each(?1))",
        )
        .bind(&jobs)
        .execute(tx.conn().await?)
        .await?;
        storm::settled(tx, &jobs).await?;
        // What ends here may be the job of a digest, too; then there is another round.
        merge::begin_telling(tx, &jobs).await?;
    }
    let mut woken = std::mem::take(&mut tx.changes.incidents.woken);
    if woken.is_empty() {
        return Ok(());
    }
    woken.sort_unstable();
    woken.dedup();
    sqlx::query(
        "update incident set due_ms = min(coalesce(due_ms, ?2), ?2), version = version + 1
          where seq in (select value from json_each(?1))",
    )
    .bind(json!(woken).to_string())
    .bind(tx.now.wall_ms)
    .execute(tx.conn().await?)
    .await?;
    tx.changes.incidents.is_due = true;
    Ok(())
}

/// Jobs whose attempt came to nothing are queued again. Meanwhile their incident may have changed: then it waited
/// for this, and must be looked at. Nobody is called any more for one that is calm.
async fn put_back(tx: &mut Tx<'_>) -> Result<(), sqlx::Error> {
    let again = std::mem::take(&mut tx.changes.incidents.again);
    if again.is_empty() {
        return Ok(());
    }
    let again = json!(again).to_string();
    let rungs: Vec<i64> = sqlx::query_scalar(
        "select link.job
           from json_each(?1) changed
           join incident on incident.seq = changed.value ->> 0
           join incident_job link on link.incident = incident.seq and link.job = changed.value ->> 1 and link.role = 'rung'
          where incident.state <> 'firing'
             or (incident.is_digest = 1
                 and not exists (select 1 from incident member
                                  where member.digest = incident.seq and member.state = 'firing'))",
    )
    .bind(&again)
    .fetch_all(tx.conn().await?)
    .await?;
    for rung in rungs {
        act::cancel_unwanted(tx, rung, "it was stopped while it was under way").await?;
    }
    let woken: Vec<i64> = sqlx::query_scalar(
        "select link.incident
           from json_each(?1) changed
           join incident on incident.seq = changed.value ->> 0
           join incident_job link on link.incident = incident.seq and link.job = changed.value ->> 1
          where not (link.role in ('card', 'update') and link.tag = incident.tag)",
    )
    .bind(&again)
    .fetch_all(tx.conn().await?)
    .await?;
    tx.changes.incidents.woken.extend(woken);
    Ok(())
}

/// A copy was put back: what became of the jobs of incidents since is not known, so all that is open is looked at.
pub(in crate::store) async fn restored(
    conn: &mut SqliteConnection,
    now_ms: i64,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "update incident set due_ms = min(coalesce(due_ms, ?1), ?1), version = version + 1
          where state <> 'resolved'
             or exists (select 1 from incident_job link join job on job.seq = link.job
                         where link.incident = incident.seq and link.noticed = 0)",
    )
    .bind(now_ms)
    .execute(conn)
    .await?;
    Ok(())
}

/// Incidents that are over go when nothing has happened to them for long; one that is open never does, nor a
/// digest that speaks for one that is kept. Returns whether there may be more.
pub(in crate::store) async fn drop_old(tx: &mut Tx<'_>) -> Result<bool, sqlx::Error> {
    let until = tx.now.wall_ms.saturating_sub(tx.options.retention_ms);
    let rows = sqlx::query(
        "select seq from incident
          where state = 'resolved' and changed_ms <= ?1
            and not exists (select 1 from incident_job link join job on job.seq = link.job
                             where link.incident = incident.seq and job.finished_ms is null)
            and not exists (select 1 from incident member where member.digest = incident.seq)
          order by changed_ms limit ?2",
    )
    .bind(until)
    .bind(ROWS)
    .fetch_all(tx.conn().await?)
    .await?;
    if rows.is_empty() {
        return Ok(false);
    }
    let seqs: Vec<i64> = rows.iter().map(|row| row.get(0)).collect();
    let seqs = json!(seqs).to_string();
    sqlx::query(
        "update job set incident = null
          where seq in (select job from incident_job where incident in (select value from json_each(?1)))",
    )
    .bind(&seqs)
    .execute(tx.conn().await?)
    .await?;
    sqlx::query("delete from incident_job where incident in (select value from json_each(?1))")
        .bind(&seqs)
        .execute(tx.conn().await?)
        .await?;
    sqlx::query("delete from incident where seq in (select value from json_each(?1))")
        .bind(&seqs)
        .execute(tx.conn().await?)
        .await?;
    Ok(rows.len() as i64 == ROWS)
}
