//! Records how attempts ended, and what follows from it: children, the next part, recalls, progress.
//!
//! A result names the attempt it belongs to; one that comes too late changes nothing. What an
//! unknown outcome forbids is decided before (`dispatch`); a stored wish to take a job back is
//! honoured here, because only here both are known at once.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use crate::job::{AppId, Attempt, Fault, Head, Kind, Moment, Spent, State};
use crate::store::dependents::{self, Made};
use crate::store::insert::{self, NewRow};
use crate::store::mark;
use crate::store::writer::Tx;

/// When a batch's progress is first asked for after it was sent, milliseconds.
const FIRST_PROGRESS_MS: i64 = 2_000;
/// Attempts that stay on a job: the first ones, then the newest.
const ATTEMPTS_KEPT: i64 = 40;
/// Of those, how many of the first.
const ATTEMPTS_FIRST: i64 = 8;

/// Where a job goes after an attempt.
#[derive(Clone, Debug)]
pub enum End {
    /// Feishu did it.
    Done {
        /// Feishu's `data`: JSON object.
        receipt: Option<String>,
        /// The message's id, or the batch's.
        message_id: Option<String>,
    },
    /// It will not be done.
    Failed {
        /// Why.
        fault: Fault,
        /// The content was refused: no part of a batch can go.
        content: bool,
    },
    /// Nobody can know.
    InDoubt {
        /// What is known.
        fault: Fault,
    },
    /// Queued again, not before this time, Unix milliseconds.
    Again {
        /// Unix milliseconds.
        run_ms: i64,
    },
}

/// What becomes of the memory of an unknown outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UnknownMove {
    /// As it was.
    Keep,
    /// The first unknown outcome of a window began at this mark.
    Begin(Moment),
    /// It is settled.
    Clear,
}

/// How one attempt ended.
#[derive(Clone, Debug)]
pub struct Finish {
    /// The job as it was marked.
    pub head: Head,
    /// The attempt it belongs to.
    pub attempt: i64,
    /// The part of a batch.
    pub part: Option<i64>,
    /// Where the job goes.
    pub end: End,
    /// What goes on the job's list of attempts.
    pub record: Attempt,
    /// The counts as they are now.
    pub spent: Spent,
    /// What becomes of the memory of an unknown outcome.
    pub unknown: UnknownMove,
    /// The next attempt only looks at what an earlier one did.
    pub verify: bool,
    /// It was sent again at somebody's word.
    pub resent: bool,
    /// The call counts towards the month's quota.
    pub counted: bool,
    /// What was learned of a batch: JSON.
    pub progress: Option<String>,
}

pub(super) async fn apply(tx: &mut Tx<'_>, results: &[&Finish]) -> Result<(), sqlx::Error> {
    if results.is_empty() {
        return Ok(());
    }
    let mut rows = Vec::with_capacity(results.len());
    let mut ledger: BTreeMap<(AppId, &'static str), i64> = BTreeMap::new();
    for result in results {
        if result.counted {
            *ledger
                .entry((result.head.app, result.head.api().name()))
                .or_default() += 1;
        }
        let end = match result.part {
            None => result.end.clone(),
            Some(n) => match finish_part(tx, result, n).await? {
                Some(end) => end,
                None => continue,
            },
        };
        rows.push(row_json(result, &end, tx.now.wall_ms));
    }
    let updated = update(tx, &rows).await?;
    for row in &updated {
        follow(tx, row).await?;
    }
    write_ledger(tx, &ledger).await
}

fn row_json(result: &Finish, end: &End, now_ms: i64) -> Value {
    let (state, run_ms, receipt, message_id, error) = match end {
        End::Done {
            receipt,
            message_id,
        } => (State::Done, None, receipt.clone(), message_id.clone(), None),
        End::Failed { fault, .. } => (
            State::Failed,
            None,
            None,
            None,
            serde_json::to_string(fault).ok(),
        ),
        End::InDoubt { fault } => (
            State::InDoubt,
            None,
            None,
            None,
            serde_json::to_string(fault).ok(),
        ),
        End::Again { run_ms } => (State::Queued, Some(*run_ms), None, None, None),
    };
    // The next part starts afresh; what the last one spent or left unknown is on the part.
    let next_part = result.part.is_some()
        && matches!(end, End::Again { .. })
        && !matches!(result.end, End::Again { .. });
    let spent = if next_part {
        Spent::default()
    } else {
        result.spent
    };
    let (unknown, moment) = match (&result.unknown, next_part) {
        (_, true) | (UnknownMove::Clear, _) => ("clear", None),
        (UnknownMove::Keep, _) => ("keep", None),
        (UnknownMove::Begin(moment), _) => ("begin", Some(moment)),
    };
    json!([
        result.head.seq,
        result.attempt,
        state.name(),
        run_ms,
        receipt,
        message_id,
        error,
        result.record,
        spent.tries,
        spent.unsent,
        spent.unclear,
        spent.token,
        unknown,
        moment.map(|moment| moment.wall_ms),
        moment.map(|moment| moment.boot_ms),
        moment.map(|moment| &*moment.boot_id),
        i64::from(result.verify && !next_part),
        i64::from(result.resent && !next_part),
        result.progress,
        i64::from(state.is_settled()),
        now_ms,
    ])
}

/// One statement for all. A job whose recall was wished for meanwhile is not tried again. One that
/// stands alone waits for its time outside the lanes, so that it takes no place among their heads.
async fn update(tx: &mut Tx<'_>, rows: &[Value]) -> Result<Vec<SqliteRow>, sqlx::Error> {
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    sqlx::query(
        "update job set
            state = case when result.state = 'queued' and wish = 'recall'
                         then case when result.unknown = 'begin' or (result.unknown = 'keep' and job.unknown_ms is not null)
                                   then 'in_doubt' else 'canceled' end
                         else result.state end,
            finished_ms = case when result.settled = 1
                                 or (result.state = 'queued' and wish = 'recall' and result.unknown <> 'begin'
                                     and not (result.unknown = 'keep' and job.unknown_ms is not null))
                               then result.now_ms end,
            run_ms = coalesce(result.run_ms, job.run_ms),
            stands = case when result.state = 'queued' and result.run_ms > result.now_ms and lane >= char(1) and lane < char(2)
                          then 0 else stands end,
            rank = case when result.state = 'queued' then 0 else rank end,
            receipt = coalesce(result.receipt, job.receipt),
            message_id = coalesce(result.message_id, job.message_id),
            error = result.error,
            progress = coalesce(result.progress, job.progress),
            attempts = case when json_array_length(job.attempts) >= ?2
                            then json_insert(json_remove(job.attempts, '$[' || ?3 || ']'), '$[#]', json(result.record))
                            else json_insert(job.attempts, '$[#]', json(result.record)) end,
            tries = result.tries, unsent = result.unsent, unclear = result.unclear, token = result.token,
            unknown_ms = case result.unknown when 'begin' then result.unknown_ms when 'clear' then null else job.unknown_ms end,
            unknown_boot_ms = case result.unknown when 'begin' then result.unknown_boot_ms when 'clear' then null else job.unknown_boot_ms end,
            unknown_boot_id = case result.unknown when 'begin' then result.unknown_boot_id when 'clear' then null else job.unknown_boot_id end,
            verify = result.verify,
            resent = max(job.resent, result.resent)
           from (select value ->> 0 as seq, value ->> 1 as attempt, value ->> 2 as state, value ->> 3 as run_ms,
                        value ->> 4 as receipt, value ->> 5 as message_id, value ->> 6 as error, value -> 7 as record,
                        value ->> 8 as tries, value ->> 9 as unsent, value ->> 10 as unclear, value ->> 11 as token,
                        value ->> 12 as unknown, value ->> 13 as unknown_ms, value ->> 14 as unknown_boot_ms,
                        value ->> 15 as unknown_boot_id, value ->> 16 as verify, value ->> 17 as resent,
                        value ->> 18 as progress, value ->> 19 as settled, value ->> 20 as now_ms
                   from json_each(?1)) result
          where job.seq = result.seq and job.state = 'sending' and job.attempt = result.attempt
         returning *",
    )
    .bind(Value::Array(rows.to_vec()).to_string())
    .bind(ATTEMPTS_KEPT)
    .bind(ATTEMPTS_FIRST)
    .fetch_all(&mut *tx.conn)
    .await
}

/// What follows from the new state of a job that was under way.
async fn follow(tx: &mut Tx<'_>, row: &SqliteRow) -> Result<(), sqlx::Error> {
    let (seq, app): (i64, i64) = (row.get("seq"), row.get("app"));
    let own = row.get::<i64, _>("own") == 1;
    let state = State::from_name(row.get("state")).unwrap_or(State::Failed);
    tx.count(AppId(app), own, Some(State::Sending), Some(state));
    dependents::touch(tx, row);
    if own {
        touch_parent(tx, row.get("parent")).await?;
    }
    settled(tx, row, state).await?;
    let wished = row.get::<Option<&str>, _>("wish") == Some("recall");
    if wished && matches!(state, State::Done | State::Failed | State::InDoubt) {
        start_recall(tx, seq).await?;
    }
    if state == State::Done && matches!(row.get("kind"), "recall" | "batch_recall") {
        note_recalled(tx, row).await?;
    }
    Ok(())
}

/// Tells those who hang on a job that it ended; also after a cancel, an expiry or a person's word.
pub(super) async fn settled(
    tx: &mut Tx<'_>,
    row: &SqliteRow,
    state: State,
) -> Result<(), sqlx::Error> {
    if row.get::<i64, _>("dependents") == 0 {
        return Ok(());
    }
    let seq: i64 = row.get("seq");
    match state {
        State::Done => {
            let made = made(tx, row).await?;
            dependents::free(tx, seq, &made).await
        }
        State::Failed | State::Expired | State::Canceled => {
            dependents::cancel(
                tx,
                seq,
                &format!("the job it hangs on ended as {}", state.name()),
            )
            .await
        }
        State::Queued | State::Sending | State::InDoubt => Ok(()),
    }
}

async fn made(tx: &mut Tx<'_>, row: &SqliteRow) -> Result<Made, sqlx::Error> {
    let receipt: Value = row
        .get::<Option<&str>, _>("receipt")
        .and_then(|text| serde_json::from_str(text).ok())
        .unwrap_or_default();
    let batches = match row.get("kind") {
        "batch_send" => batch_ids(tx, row.get("seq")).await?,
        _ => Vec::new(),
    };
    Ok(Made {
        message_id: row.get("message_id"),
        image_key: receipt["image_key"].as_str().map(str::to_owned),
        batches,
    })
}

async fn batch_ids(tx: &mut Tx<'_>, seq: i64) -> Result<Vec<String>, sqlx::Error> {
    sqlx::query_scalar("select batch_message_id from part where job = ?1 and batch_message_id is not null order by n").bind(seq).fetch_all(&mut *tx.conn).await
}

async fn touch_parent(tx: &mut Tx<'_>, parent: Option<i64>) -> Result<(), sqlx::Error> {
    let row = sqlx::query("select id from job where seq = ?1")
        .bind(parent)
        .fetch_optional(&mut *tx.conn)
        .await?;
    if let Some(row) = row {
        dependents::touch(tx, &row);
    }
    Ok(())
}

/// Records one part. Returns where the whole job goes now; `None`: the result came too late.
async fn finish_part(tx: &mut Tx<'_>, result: &Finish, n: i64) -> Result<Option<End>, sqlx::Error> {
    let seq = result.head.seq;
    let job =
        sqlx::query("select wish from job where seq = ?1 and state = 'sending' and attempt = ?2")
            .bind(seq)
            .bind(result.attempt)
            .fetch_optional(&mut *tx.conn)
            .await?;
    let Some(job) = job else { return Ok(None) };
    let wished = job.get::<Option<&str>, _>(0) == Some("recall");
    let (state, receipt, id, error) = match &result.end {
        End::Done {
            receipt,
            message_id,
        } => (State::Done, receipt.clone(), message_id.clone(), None),
        End::Failed { fault, .. } => (State::Failed, None, None, Some(fault)),
        End::InDoubt { fault } => (State::InDoubt, None, None, Some(fault)),
        End::Again { .. } => (State::Queued, None, None, None),
    };
    let error = error.and_then(|fault| serde_json::to_string(fault).ok());
    sqlx::query("update part set state = ?3, receipt = ?4, batch_message_id = ?5, error = ?6 where job = ?1 and n = ?2 and state = 'sending'")
        .bind(seq)
        .bind(n)
        .bind(state.name())
        .bind(receipt)
        .bind(&id)
        .bind(&error)
        .execute(&mut *tx.conn)
        .await?;
    if let (Some(id), Kind::BatchSend) = (&id, result.head.kind) {
        follow_progress(tx, &result.head, id).await?;
    }
    if let End::Again { run_ms } = result.end {
        return Ok(Some(End::Again { run_ms }));
    }
    if matches!(result.end, End::Failed { content: true, .. }) {
        sqlx::query(
            "update part set state = 'failed', error = ?2 where job = ?1 and state = 'queued'",
        )
        .bind(seq)
        .bind(&error)
        .execute(&mut *tx.conn)
        .await?;
    }
    if wished {
        dependents::end_parts(tx, seq, State::Canceled).await?;
    }
    parts_end(tx, seq, None).await.map(Some)
}

/// Where a job goes when its parts stand as they do: on to the next part, or to its end.
pub(super) async fn parts_end(
    tx: &mut Tx<'_>,
    seq: i64,
    doubt: Option<&str>,
) -> Result<End, sqlx::Error> {
    let rows = sqlx::query("select state, error from part where job = ?1 order by n")
        .bind(seq)
        .fetch_all(&mut *tx.conn)
        .await?;
    let first = |state: &str| rows.iter().find(|row| row.get::<&str, _>(0) == state);
    let fault = |row: &SqliteRow| {
        row.get::<Option<&str>, _>(1)
            .and_then(|text| serde_json::from_str::<Fault>(text).ok())
    };
    if first("queued").is_some() {
        return Ok(End::Again {
            run_ms: tx.now.wall_ms,
        });
    }
    if let Some(row) = first("in_doubt") {
        let msg = doubt.unwrap_or("a part of the batch may have been sent");
        let fault = fault(row).unwrap_or_else(|| Fault {
            class: "doubt".into(),
            msg: msg.into(),
            ..Fault::default()
        });
        return Ok(End::InDoubt { fault });
    }
    if let Some(row) = first("failed") {
        let fault = fault(row).unwrap_or_else(|| Fault {
            class: "caller".into(),
            msg: "a part of the batch was refused".into(),
            ..Fault::default()
        });
        return Ok(End::Failed {
            fault,
            content: false,
        });
    }
    if first("canceled").is_some() || first("expired").is_some() {
        let fault = Fault {
            class: "canceled".into(),
            msg: "the rest of the batch was not sent".into(),
            ..Fault::default()
        };
        return Ok(End::Failed {
            fault,
            content: false,
        });
    }
    Ok(End::Done {
        receipt: None,
        message_id: None,
    })
}

/// The relay asks how far a batch is, until the counts are stable.
async fn follow_progress(tx: &mut Tx<'_>, head: &Head, batch: &str) -> Result<(), sqlx::Error> {
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
        .fetch_one(&mut *tx.conn)
        .await?;
    let app = AppId(job.get(0));
    let now = tx.now.wall_ms;
    let mut row = match (job.get::<&str, _>(1), job.get::<Option<String>, _>(2)) {
        ("batch_send", _) => {
            let ids = batch_ids(tx, seq).await?;
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
async fn note_recalled(tx: &mut Tx<'_>, row: &SqliteRow) -> Result<(), sqlx::Error> {
    let now = tx.now.wall_ms;
    let ids = if row.get::<&str, _>("kind") == "recall" {
        let message: Option<&str> = row.get("message");
        sqlx::query("update job set recalled_ms = ?2 where message_id = ?1 and recalled_ms is null returning id").bind(message).bind(now).fetch_all(&mut *tx.conn).await?
    } else {
        note_batches(tx, row, now).await?
    };
    for row in &ids {
        dependents::touch(tx, row);
    }
    Ok(())
}

/// A batch counts as taken back when all its parts with an id are, and none is in doubt.
async fn note_batches(
    tx: &mut Tx<'_>,
    row: &SqliteRow,
    now: i64,
) -> Result<Vec<SqliteRow>, sqlx::Error> {
    let args: Value = serde_json::from_str(row.get::<Option<&str>, _>("args").unwrap_or("{}"))
        .unwrap_or_default();
    let resolved: Value = row
        .get::<Option<&str>, _>("resolved")
        .and_then(|text| serde_json::from_str(text).ok())
        .unwrap_or_default();
    let batches = match (&resolved["batch"], &args["batch"]) {
        (Value::Array(list), _) => Value::Array(list.clone()),
        (Value::String(one), _) | (_, Value::String(one)) => json!([one]),
        _ => json!([]),
    };
    sqlx::query(
        "update job set recalled_ms = ?2
          where recalled_ms is null
            and seq in (select part.job from part where part.batch_message_id in (select value from json_each(?1)))
            and not exists (select 1 from part
                             where part.job = job.seq
                               and (part.state in ('in_doubt', 'sending', 'queued')
                                    or (part.batch_message_id is not null
                                        and part.batch_message_id not in (select value from json_each(?1)))))
         returning id",
    )
    .bind(batches.to_string())
    .bind(now)
    .fetch_all(&mut *tx.conn)
    .await
}

async fn write_ledger(
    tx: &mut Tx<'_>,
    ledger: &BTreeMap<(AppId, &'static str), i64>,
) -> Result<(), sqlx::Error> {
    if ledger.is_empty() {
        return Ok(());
    }
    let month = month(tx.now.wall_ms);
    let rows: Vec<Value> = ledger
        .iter()
        .map(|((app, api), calls)| json!([app.0, month, api, calls]))
        .collect();
    sqlx::query(
        "insert into month_calls (app, month, api, calls)
         select value ->> 0, value ->> 1, value ->> 2, value ->> 3 from json_each(?1) where true
         on conflict (app, month, api) do update set calls = calls + excluded.calls",
    )
    .bind(json!(rows).to_string())
    .execute(&mut *tx.conn)
    .await?;
    Ok(())
}

/// `2026-11`: the quota's months are taken to begin in UTC+8. Source: feishu/limits.md, section 1.3.
pub(super) fn month(wall_ms: i64) -> String {
    const HOURS_EAST: i64 = 8;
    let at = jiff::Timestamp::from_millisecond(wall_ms.saturating_add(HOURS_EAST * 3_600_000))
        .unwrap_or_default();
    at.strftime("%Y-%m").to_string()
}

/// Asks for a batch's progress at once: follow-ups that wait or have ended begin once more.
/// `false`: there are none.
pub(super) async fn hurry_progress(tx: &mut Tx<'_>, seq: i64) -> Result<bool, sqlx::Error> {
    let before = sqlx::query("select seq, state, app from job where parent = ?1 and role = 'progress' and state <> 'sending'").bind(seq).fetch_all(&mut *tx.conn).await?;
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
        .fetch_optional(&mut *tx.conn)
        .await?;
        let Some(row) = row else { continue };
        tx.count(AppId(row.get("app")), true, Some(from), Some(State::Queued));
        tx.changes.stood.extend(mark::head(&row));
    }
    let under_way: i64 = sqlx::query_scalar(
        "select count(*) from job where parent = ?1 and role = 'progress' and state = 'sending'",
    )
    .bind(seq)
    .fetch_one(&mut *tx.conn)
    .await?;
    Ok(under_way > 0 || !before.is_empty())
}
