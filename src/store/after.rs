//! What the relay does of its own after a job: takes back what it made, asks how far a batch is.

use serde_json::{Value, json};
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use crate::job::{AppId, Head, Kind, State};
use crate::store::insert::{self, NewRow};
use crate::store::writer::Tx;
use crate::store::{dependents, mark, reads};

/// When a batch's progress is first asked for after it was sent, milliseconds.
const FIRST_PROGRESS_MS: i64 = 2_000;

/// The relay asks how far a batch is, until the counts are stable.
pub(super) async fn follow_progress(
    tx: &mut Tx<'_>,
    head: &Head,
    batch: &str,
) -> Result<(), sqlx::Error> {
    let mut row = NewRow::own(
        tx,
        Kind::BatchProgress,
        head.app,
        head.seq,
        "progress",
        tx.now.wall_ms + FIRST_PROGRESS_MS,
    );
    row.resolved = Some(json!({"batch": batch}).to_string());
    insert::rows(tx, &[row]).await
}

/// Takes back what the job `seq` made, by a job of the relay's own. `false`: there is nothing to take back.
pub(super) async fn start_recall(tx: &mut Tx<'_>, seq: i64) -> Result<bool, sqlx::Error> {
    let job = sqlx::query("select app, kind, message_id, priority from job where seq = ?1")
        .bind(seq)
        .fetch_one(tx.conn().await?)
        .await?;
    let app = AppId(job.get(0));
    let now = tx.now.wall_ms;
    let mut row = match (job.get::<&str, _>(1), job.get::<Option<String>, _>(2)) {
        ("batch_send", _) => {
            let ids = ids_to_recall(tx, seq).await?;
            if ids.is_empty() {
                return Ok(false);
            }
            let row = NewRow::own(tx, Kind::BatchRecall, app, seq, "recall", now);
            return recall_batches(tx, row, &ids).await.map(|()| true);
        }
        (_, Some(id)) => {
            let mut row = NewRow::own(tx, Kind::Recall, app, seq, "recall", now);
            row.resolved = Some(json!({"message": id}).to_string());
            row.head.message = Some(id.clone().into_boxed_str());
            row.head.lane = id.into_boxed_str();
            row
        }
        (_, None) => return Ok(false),
    };
    row.deadline_ms = Some(now.saturating_add(tx.options.give_up_ms));
    tx.changes.stood.push(row.head.clone());
    insert::rows(tx, &[row]).await?;
    Ok(true)
}

/// The batches of the job `seq` that are neither taken back nor on the way to it.
pub(super) async fn ids_to_recall(tx: &mut Tx<'_>, seq: i64) -> Result<Vec<String>, sqlx::Error> {
    sqlx::query_scalar(
        "select batch_message_id from part
          where job = ?1 and batch_message_id is not null and recalled_ms is null
            and batch_message_id not in (select part.args ->> 'batch' from job recall join part on part.job = recall.seq
                                          where recall.parent = ?1 and recall.role = 'recall'
                                            and recall.state in ('queued', 'sending')
                                            and part.state in ('queued', 'sending'))
          order by n",
    )
    .bind(seq)
    .fetch_all(tx.conn().await?)
    .await
}

async fn recall_batches(
    tx: &mut Tx<'_>,
    mut row: NewRow,
    ids: &[String],
) -> Result<(), sqlx::Error> {
    let seq = row.head.seq;
    row.deadline_ms = Some(tx.now.wall_ms.saturating_add(tx.options.give_up_ms));
    row.resolved = Some(json!({"batch": ids}).to_string());
    tx.changes.stood.push(row.head.clone());
    insert::rows(tx, &[row]).await?;
    let ids: Vec<Value> = ids.iter().map(|id| json!(id)).collect();
    dependents::recall_parts(tx, seq, &ids).await
}

/// Whoever asked for it: the job that made what was taken back says since when.
pub(super) async fn note_recalled(tx: &mut Tx<'_>, row: &SqliteRow) -> Result<(), sqlx::Error> {
    let now = tx.now.wall_ms;
    let ids = if row.get::<&str, _>("kind") == "recall" {
        let message: Option<&str> = row.get("message");
        reads::stop(tx, message.unwrap_or_default()).await?;
        sqlx::query("update job set recalled_ms = ?2 where message_id = ?1 and recalled_ms is null returning id").bind(message).bind(now).fetch_all(tx.conn().await?).await?
    } else {
        note_batches(tx, row, now).await?
    };
    for row in &ids {
        dependents::touch(tx, row);
    }
    Ok(())
}

/// The parts that the recall of `row` took back, and the batches that are gone with them.
async fn note_batches(
    tx: &mut Tx<'_>,
    row: &SqliteRow,
    now: i64,
) -> Result<Vec<SqliteRow>, sqlx::Error> {
    let of = |name: &str| {
        row.get::<Option<&str>, _>(name)
            .and_then(|text| serde_json::from_str::<Value>(text).ok())
            .unwrap_or_default()["batch"]
            .take()
    };
    let batches = match (of("resolved"), of("args")) {
        (Value::Array(list), _) => Value::Array(list),
        (Value::String(one), _) | (_, Value::String(one)) => json!([one]),
        _ => json!([]),
    };
    sqlx::query("update part set recalled_ms = ?2 where recalled_ms is null and batch_message_id in (select value from json_each(?1))")
        .bind(batches.to_string())
        .bind(now)
        .execute(tx.conn().await?)
        .await?;
    let jobs: Vec<i64> = sqlx::query_scalar(
        "select distinct job from part where batch_message_id in (select value from json_each(?1))",
    )
    .bind(batches.to_string())
    .fetch_all(tx.conn().await?)
    .await?;
    for batch in batches.as_array().into_iter().flatten() {
        reads::stop(tx, batch.as_str().unwrap_or_default()).await?;
    }
    let mut rows = Vec::with_capacity(jobs.len());
    for job in jobs {
        rows.extend(note_batch(tx, job).await?);
    }
    Ok(rows)
}

/// A batch counts as taken back when all its parts with an id are, and no part may still be seen.
pub(super) async fn note_batch(
    tx: &mut Tx<'_>,
    seq: i64,
) -> Result<Option<SqliteRow>, sqlx::Error> {
    sqlx::query(
        "update job set recalled_ms = ?2
          where seq = ?1 and recalled_ms is null
            and exists (select 1 from part where job = ?1 and recalled_ms is not null)
            and not exists (select 1 from part
                             where job = ?1
                               and (state in ('in_doubt', 'sending', 'queued')
                                    or (batch_message_id is not null and recalled_ms is null)))
         returning id",
    )
    .bind(seq)
    .bind(tx.now.wall_ms)
    .fetch_optional(tx.conn().await?)
    .await
}

/// Asks for a batch's progress at once: follow-ups that wait or have ended begin once more.
/// `false`: there are none.
pub(super) async fn hurry_progress(tx: &mut Tx<'_>, seq: i64) -> Result<bool, sqlx::Error> {
    let before = sqlx::query("select seq, state, app from job where parent = ?1 and role = 'progress' and state <> 'sending'").bind(seq).fetch_all(tx.conn().await?).await?;
    for row in &before {
        let from = State::from_name(row.get(1)).unwrap_or(State::Queued);
        let row = sqlx::query(
            "update job set state = 'queued', finished_ms = null, error = null, run_ms = ?2, stands = 1, tries = 0, unclear = 0
              where seq = ?1 and state = ?3
             returning *",
        )
        .bind(row.get::<i64, _>(0))
        .bind(tx.now.wall_ms)
        .bind(from.name())
        .fetch_optional(tx.conn().await?)
        .await?;
        let Some(row) = row else { continue };
        tx.count(AppId(row.get("app")), true, Some(from), Some(State::Queued));
        tx.changes.stood.extend(mark::head(&row));
    }
    let under_way: i64 = sqlx::query_scalar(
        "select count(*) from job where parent = ?1 and role = 'progress' and state = 'sending'",
    )
    .bind(seq)
    .fetch_one(tx.conn().await?)
    .await?;
    Ok(under_way > 0 || !before.is_empty())
}
