//! What hangs on a job: freed when it is done, canceled when it will not be, left waiting in doubt.

use std::collections::VecDeque;

use serde_json::{Map, Value, json};
use sqlx::Row;

use crate::job::{AppId, Fault, JobId, Kind, Makes, State};
use crate::store::mark;
use crate::store::writer::Tx;

/// What a done job leaves for others.
#[derive(Clone, Debug)]
pub(super) struct Made {
    pub(super) id: JobId,
    pub(super) makes: Makes,
    pub(super) message_id: Option<String>,
    /// What else has an id of its own: an image, a reaction.
    pub(super) key: Option<String>,
    pub(super) batches: Vec<String>,
}

impl Made {
    /// What stands for the job wherever another names it. A batch of several parts has no such id.
    fn value(&self) -> Option<Value> {
        match self.makes {
            Makes::Nothing => None,
            Makes::Message | Makes::Ephemeral => self.message_id.as_ref(),
            Makes::Image | Makes::File | Makes::Reaction => self.key.as_ref(),
            Makes::Batch => match &self.batches[..] {
                [] => self.message_id.as_ref(),
                [one] => Some(one),
                [..] => None,
            },
        }
        .map(|id| json!(id))
    }

    /// What goes into `resolved` of a job that needs it in that role: the id under the job's name, and
    /// under the role's. `None`: it is not known.
    pub(super) fn of(&self, role: &str) -> Option<Map<String, Value>> {
        let value = self.value();
        let part = match role {
            "value" => None,
            "batch" => Some(json!(self.batches)).filter(|_| !self.batches.is_empty()),
            _ => value.clone(),
        };
        if role != "value" && part.is_none() || role == "value" && value.is_none() {
            return None;
        }
        let named = value.map(|value| (self.id.to_string(), value));
        let part = part.map(|part| (role.to_owned(), part));
        Some(named.into_iter().chain(part).collect())
    }

    /// What a request that names the job must be told, when it does not make what is needed.
    pub(super) fn misses(&self, wanted: Option<Makes>) -> bool {
        match wanted {
            Some(wanted) => self.makes != wanted,
            None => self.makes == Makes::Nothing,
        }
    }
}

/// The job `seq` is done: each dependent takes what it needs; one whose need was not made is canceled.
pub(super) async fn free(tx: &mut Tx<'_>, seq: i64, made: &Made) -> Result<(), sqlx::Error> {
    let rows = sqlx::query(
        "update dependency set open = 0
          where parent = ?1 and open = 1 and role <> 'merged'
            and child in (select seq from job where seq = child and state = 'queued')
         returning child, role",
    )
    .bind(seq)
    .fetch_all(tx.conn().await?)
    .await?;
    for row in rows {
        let (child, role): (i64, String) = (row.get(0), row.get(1));
        match (role.as_str(), made.of(&role)) {
            ("after", _) => free_one(tx, child, None).await?,
            (_, Some(part)) => free_one(tx, child, Some(part)).await?,
            (_, None) => {
                // Settled by a person who did not know the id.
                sqlx::query("update dependency set open = 1 where parent = ?1 and child = ?2")
                    .bind(seq)
                    .bind(child)
                    .execute(tx.conn().await?)
                    .await?;
                cancel_list(
                    tx,
                    vec![child],
                    &format!("the job it needs was settled without its {role} id"),
                )
                .await?;
            }
        }
    }
    Ok(())
}

async fn free_one(
    tx: &mut Tx<'_>,
    child: i64,
    part: Option<Map<String, Value>>,
) -> Result<(), sqlx::Error> {
    let message = part.as_ref().and_then(|part| part.get("message"));
    let message = message.and_then(Value::as_str).map(str::to_owned);
    let part = part.map(|part| Value::Object(part).to_string());
    // The lane of a job that acts on a message is known once the message is.
    let row = sqlx::query(
        "update job set blocked = blocked - 1,
                        resolved = case when ?2 is null then resolved
                                        else json_patch(coalesce(resolved, '{}'), ?2) end,
                        message = case when receiver is null then coalesce(?3, message) else message end,
                        lane = case when lane = '' then coalesce(?3, lane) else lane end,
                        run_ms = case when blocked = 1 then max(run_ms, ?4 + delay_ms) else run_ms end,
                        stands = case when blocked = 1 and max(run_ms, ?4 + delay_ms) <= ?4 then 1 else 0 end,
                        deadline_ms = case when blocked = 1 then coalesce(expires_ms, max(run_ms, ?4 + delay_ms) + ?5)
                                           else deadline_ms end
          where seq = ?1 and state = 'queued' and blocked > 0
         returning *",
    )
    .bind(child)
    .bind(part)
    .bind(message)
    .bind(tx.now.wall_ms)
    .bind(tx.options.give_up_ms)
    .fetch_optional(tx.conn().await?)
    .await?;
    let Some(row) = row else { return Ok(()) };
    spread_batch(tx, &row).await?;
    touch(tx, &row);
    if row.get::<i64, _>("stands") == 1
        && let Some(head) = mark::head(&row)
    {
        tx.changes.stood.push(head);
    }
    Ok(())
}

/// A recall of a batch takes each of its parts back by a call of its own.
async fn spread_batch(tx: &mut Tx<'_>, row: &sqlx::sqlite::SqliteRow) -> Result<(), sqlx::Error> {
    if row.get::<&str, _>("kind") != "batch_recall"
        || row.get::<i64, _>("parts") > 0
        || row.get::<i64, _>("blocked") > 0
    {
        return Ok(());
    }
    let resolved: Option<&str> = row.get("resolved");
    let resolved: Value = resolved
        .and_then(|text| serde_json::from_str(text).ok())
        .unwrap_or_default();
    let Some(batches) = resolved["batch"].as_array() else {
        return Ok(());
    };
    recall_parts(tx, row.get("seq"), batches).await
}

/// What each part of a recall says whose batch was done when it was accepted.
pub(super) fn recalled(kind: Kind, resolved: &Map<String, Value>) -> Vec<String> {
    match resolved.get("batch") {
        Some(Value::Array(batches)) if kind == Kind::BatchRecall => part_args(batches),
        _ => Vec::new(),
    }
}

fn part_args(batches: &[Value]) -> Vec<String> {
    let one = |id| json!({"batch": id}).to_string();
    batches.iter().map(one).collect()
}

/// One part per batch id for the recall `seq`.
pub(super) async fn recall_parts(
    tx: &mut Tx<'_>,
    seq: i64,
    batches: &[Value],
) -> Result<(), sqlx::Error> {
    let args = part_args(batches);
    let parts: Vec<(i64, i64, &str, i64)> = args
        .iter()
        .enumerate()
        .map(|(n, args)| (seq, n as i64, args.as_str(), 1))
        .collect();
    crate::store::insert::parts(tx, &parts)?;
    sqlx::query("update job set parts = ?2 where seq = ?1")
        .bind(seq)
        .bind(parts.len() as i64)
        .execute(tx.conn().await?)
        .await?;
    Ok(())
}

/// The job `seq` will not be done: what waits for it is canceled, and what waits for that.
pub(super) async fn cancel(tx: &mut Tx<'_>, seq: i64, why: &str) -> Result<(), sqlx::Error> {
    let children = waiting(tx, seq).await?;
    cancel_list(tx, children, why).await
}

async fn waiting(tx: &mut Tx<'_>, seq: i64) -> Result<Vec<i64>, sqlx::Error> {
    sqlx::query_scalar(
        "select distinct child from dependency where parent = ?1 and open = 1 and role <> 'merged'",
    )
    .bind(seq)
    .fetch_all(tx.conn().await?)
    .await
}

async fn cancel_list(tx: &mut Tx<'_>, first: Vec<i64>, why: &str) -> Result<(), sqlx::Error> {
    let error = Fault {
        class: "dependency".into(),
        code: None,
        msg: why.to_owned(),
        hint: Some("retry the job that it hangs on".into()),
        who: None,
    };
    let error = serde_json::to_string(&error).unwrap_or_default();
    let mut queue = VecDeque::from(first);
    while let Some(child) = queue.pop_front() {
        let settle_seq = tx.settle_seq();
        let row = sqlx::query(
            "update job set state = 'canceled', finished_ms = ?2, error = ?3,
                            settle_seq = case when own = 0 then ?4 end
              where seq = ?1 and state = 'queued'
             returning seq, id, app, own, kind, dependents, parent, role, incident",
        )
        .bind(child)
        .bind(tx.now.wall_ms)
        .bind(&error)
        .bind(settle_seq)
        .fetch_optional(tx.conn().await?)
        .await?;
        let Some(row) = row else { continue };
        tx.moved(child);
        tx.count(
            AppId(row.get("app")),
            row.get::<i64, _>("own") == 1,
            Some(State::Queued),
            Some(State::Canceled),
        );
        tx.ended(&row, State::Canceled);
        touch(tx, &row);
        end_parts(tx, child, State::Canceled).await?;
        if row.get::<i64, _>("dependents") > 0 {
            queue.extend(waiting(tx, child).await?);
        }
    }
    Ok(())
}

/// The job `seq` is queued again: what was canceled with it waits again, and what hangs on that,
/// unless another job that it needs will not be done. `renewed`: the deadline that `seq` had, and the
/// one it has now; whoever took it over takes the new one too. Returns those that wait again.
pub(super) async fn revive(
    tx: &mut Tx<'_>,
    seq: i64,
    renewed: Option<(i64, i64)>,
) -> Result<Vec<i64>, sqlx::Error> {
    let (old_ms, new_ms) = renewed.unzip();
    let mut revived = Vec::new();
    let mut queue = VecDeque::from([seq]);
    while let Some(parent) = queue.pop_front() {
        let rows = sqlx::query(
            "update job set state = 'queued', finished_ms = null, settle_seq = null, error = null,
                            expires_ms = case when expires_ms = ?2 then ?3 else expires_ms end,
                            deadline_ms = case when expires_ms = ?2 then ?3 else deadline_ms end
              where seq in (select child from dependency where parent = ?1 and open = 1)
                and state = 'canceled' and error ->> 'class' = 'dependency'
                and not exists (select 1 from dependency other join job needed on needed.seq = other.parent
                                 where other.child = job.seq and other.open = 1
                                   and needed.state in ('failed', 'expired', 'canceled'))
             returning seq, id, app, own, dependents, parent, role, incident",
        )
        .bind(parent)
        .bind(old_ms)
        .bind(new_ms)
        .fetch_all(tx.conn().await?)
        .await?;
        for row in rows {
            let child: i64 = row.get("seq");
            revived.push(child);
            tx.moved(child);
            tx.count(
                AppId(row.get("app")),
                row.get::<i64, _>("own") == 1,
                Some(State::Canceled),
                Some(State::Queued),
            );
            touch(tx, &row);
            tx.changes.incidents.job(&row);
            sqlx::query("update part set state = 'queued', error = null where job = ?1 and state = 'canceled'").bind(child).execute(tx.conn().await?).await?;
            queue.push_back(child);
        }
    }
    Ok(revived)
}

/// Parts of `seq` that did not end as done wait to be sent again. One in doubt keeps that on it as its
/// `error` until it is done: sending it again settles nothing of what was sent before.
pub(super) async fn retry_parts(tx: &mut Tx<'_>, seq: i64) -> Result<(), sqlx::Error> {
    const DOUBT: &str = r#"{"class":"doubt","msg":"an earlier attempt may have sent it"}"#;
    sqlx::query(
        "update part set state = 'queued', error = case when state = 'in_doubt' then ?2 end
          where job = ?1 and state in ('in_doubt', 'failed', 'canceled', 'expired')",
    )
    .bind(seq)
    .bind(DOUBT)
    .execute(tx.conn().await?)
    .await?;
    Ok(())
}

/// Parts of `seq` that were not sent end in `state`; those that wait to be sent again after an attempt
/// whose outcome is not known are in doubt. These are what a person retries in doubt, and the job's
/// first open part while the job is unknown: parts go one by one.
pub(super) async fn end_parts(tx: &mut Tx<'_>, seq: i64, state: State) -> Result<(), sqlx::Error> {
    sqlx::query(
        "update part set state = 'in_doubt'
          where job = ?1 and state = 'queued'
            and (error ->> 'class' = 'doubt'
                 or n = (select min(n) from part first where first.job = ?1 and first.state = 'queued')
                    and exists (select 1 from job where seq = ?1 and unknown_ms is not null))",
    )
    .bind(seq)
    .execute(tx.conn().await?)
    .await?;
    sqlx::query("update part set state = ?2 where job = ?1 and state = 'queued'")
        .bind(seq)
        .bind(state.name())
        .execute(tx.conn().await?)
        .await?;
    Ok(())
}

/// Remembers that the job of `row` changed.
pub(super) fn touch(tx: &mut Tx<'_>, row: &sqlx::sqlite::SqliteRow) {
    if let Ok(id) = <[u8; 16]>::try_from(row.get::<Vec<u8>, _>("id")) {
        tx.changes.touched.push(JobId(id));
    }
}
