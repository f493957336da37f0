//! Records how attempts ended, and what follows from it: children, the next part, recalls, progress.
//!
//! A result names the attempt it belongs to; one that comes too late changes nothing. What an
//! unknown outcome forbids is decided before (`dispatch`); a stored wish to take a job back is
//! honoured here, because only here both are known at once.

use std::collections::HashSet;

use serde_json::{Value, json};
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use crate::clock::parse_rfc3339;
use crate::job::{
    AppId, Attempt, Degraded, Fault, Head, JobId, Kind, Makes, Moment, Reader, Spent, State,
};
use crate::store::after;
use crate::store::dependents::{self, Made};
use crate::store::writer::Tx;
use crate::store::{act, day, doubt, fold, keys, month, reads};

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
    /// The job goes on a rung lower.
    pub degraded: Option<Degraded>,
    /// How the call counts towards the month's quota, if it does.
    pub counted: Option<Counted>,
    /// What a follow-up learned: JSON.
    pub progress: Option<String>,
    /// Who read the message that it asks about.
    pub readers: Vec<Reader>,
    /// Feishu's answer as it came, of a call in Feishu's own form that ended with it: JSON.
    pub answer: Option<String>,
}

/// A call that counts towards the month's quota.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counted {
    /// It repeats an attempt.
    pub again: bool,
    /// Its answer never came: it may not have counted.
    pub lost: bool,
}

impl Finish {
    /// The message, or the batch, that was made.
    pub fn made(&self) -> Option<&str> {
        match &self.end {
            End::Done { message_id, .. } => message_id.as_deref(),
            End::Failed { .. } | End::InDoubt { .. } | End::Again { .. } => None,
        }
    }

    /// Is it still unknown whether one of the attempts so far did it?
    pub(super) fn leaves_doubt(&self) -> bool {
        match self.unknown {
            UnknownMove::Keep => self.head.unknown.is_some(),
            UnknownMove::Begin(_) => true,
            UnknownMove::Clear => false,
        }
    }
}

pub(super) async fn apply(tx: &mut Tx<'_>, results: &[&Finish]) -> Result<(), sqlx::Error> {
    if results.is_empty() {
        return Ok(());
    }
    let mut rows = Vec::with_capacity(results.len());
    let mut renewed = Vec::new();
    let mut ledger = month::Counts::default();
    for result in results {
        let head = &result.head;
        let (outcome, at_ms) = (result.record.outcome, result.record.at_ms);
        day::ended(tx, head.app, head.kind, head.weight, outcome, at_ms).await?;
        if let Some(Counted { again, lost }) = result.counted {
            ledger.add(head.app, head.cause(), again, lost);
        }
        let whole = match result.part {
            None if head.kind.asks_reads() && !reads::keep(tx, result).await? => {
                Whole::ended(State::Done, None)
            }
            None if keys::renew(tx, result).await? => {
                renewed.push(head.seq);
                Whole::again(tx.now.wall_ms)
            }
            None => Whole::of(&result.end),
            Some(n) => {
                // A batch does not go on with another key, but the next one shall not take this again.
                keys::renew(tx, result).await?;
                match finish_part(tx, result, n).await? {
                    Some(whole) => whole,
                    None => continue,
                }
            }
        };
        rows.push(row_json(result, &whole, tx));
    }
    let mut updated = update(tx, &rows).await?;
    // What settled is told in the order of its numbers, before what follows from it takes others.
    updated.sort_by_key(|row| row.get::<Option<i64>, _>("settle_seq"));
    for row in &updated {
        tx.moved(row.get("seq"));
    }
    for row in &updated {
        follow(tx, row).await?;
    }
    for seq in renewed {
        keys::wait(tx, seq).await?;
    }
    let recorded: HashSet<(i64, i64)> = updated
        .iter()
        .map(|row| (row.get("seq"), row.get("attempt")))
        .collect();
    for result in results {
        let (head, record) = (&result.head, &result.record);
        if recorded.contains(&(head.seq, result.attempt)) {
            let tried = (head.app, head.kind, record.outcome, record.code);
            tx.changes.measured.tried.push(tried);
        }
    }
    month::write(tx, &ledger)
}

/// Where the whole job goes: where its one attempt leads, or what its parts come to.
pub(super) struct Whole {
    /// `Queued`: it goes on.
    pub(super) state: State,
    pub(super) fault: Option<Fault>,
    run_ms: Option<i64>,
    receipt: Option<String>,
    message_id: Option<String>,
}

impl Whole {
    fn of(end: &End) -> Whole {
        match end {
            End::Done {
                receipt,
                message_id,
            } => Whole {
                receipt: receipt.clone(),
                message_id: message_id.clone(),
                ..Whole::ended(State::Done, None)
            },
            End::Failed { fault, .. } => Whole::ended(State::Failed, Some(fault.clone())),
            End::InDoubt { fault } => Whole::ended(State::InDoubt, Some(fault.clone())),
            End::Again { run_ms } => Whole::again(*run_ms),
        }
    }

    fn ended(state: State, fault: Option<Fault>) -> Whole {
        Whole {
            state,
            fault,
            run_ms: None,
            receipt: None,
            message_id: None,
        }
    }

    fn again(run_ms: i64) -> Whole {
        Whole {
            run_ms: Some(run_ms),
            ..Whole::ended(State::Queued, None)
        }
    }
}

fn row_json(result: &Finish, whole: &Whole, tx: &mut Tx<'_>) -> Value {
    let state = whole.state;
    let error = whole
        .fault
        .as_ref()
        .and_then(|fault| serde_json::to_string(fault).ok());
    // The next part starts afresh; what the last one spent or left unknown is on the part.
    let next_part =
        result.part.is_some() && state == State::Queued && !matches!(result.end, End::Again { .. });
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
        whole.run_ms,
        whole.receipt,
        whole.message_id,
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
        tx.now.wall_ms,
        tx.settle_seq(),
        result.degraded,
        result.answer,
    ])
}

/// One statement for all. A job whose recall was wished for meanwhile is not tried again. One that
/// stands alone waits for its time outside the lanes, so that it takes no place among their heads.
async fn update(tx: &mut Tx<'_>, rows: &[Value]) -> Result<Vec<SqliteRow>, sqlx::Error> {
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    // Materialized: else SQLite would make the result's text anew for each of its columns.
    let sql =
        "with given as materialized (select value from json_each(?1))
         update job set
            state = case when result.state = 'queued' and wish = 'recall'
                         then case when result.unknown = 'begin' or (result.unknown = 'keep' and job.unknown_ms is not null)
                                   then 'in_doubt' else 'canceled' end
                         else result.state end,
            finished_ms = case when result.settled = 1
                                 or (result.state = 'queued' and wish = 'recall' and result.unknown <> 'begin'
                                     and not (result.unknown = 'keep' and job.unknown_ms is not null))
                               then result.now_ms end,
            settle_seq = case when own = 0
                                   and (result.settled = 1
                                        or (result.state = 'queued' and wish = 'recall' and result.unknown <> 'begin'
                                            and not (result.unknown = 'keep' and job.unknown_ms is not null)))
                              then result.settle_seq end,
            run_ms = coalesce(result.run_ms, job.run_ms),
            stands = case when result.state = 'queued' and result.run_ms > result.now_ms and lane >= char(1) and lane < char(2)
                          then 0 else stands end,
            rank = case when result.state = 'queued' then 0 else rank end,
            receipt = coalesce(result.receipt, job.receipt),
            message_id = coalesce(result.message_id, job.message_id),
            error = case when result.state <> 'queued' or wish is null then result.error
                         when result.unknown = 'begin' or (result.unknown = 'keep' and job.unknown_ms is not null) then ?5
                         else ?4 end,
            progress = coalesce(result.progress, job.progress),
            answer = result.answer,
            attempts = case when json_array_length(job.attempts) >= ?2
                            then json_insert(json_remove(job.attempts, '$[' || ?3 || ']'), '$[#]', json(result.record))
                            else json_insert(job.attempts, '$[#]', json(result.record)) end,
            tries = result.tries, unsent = result.unsent, unclear = result.unclear, token = result.token,
            unknown_ms = case result.unknown when 'begin' then result.unknown_ms when 'clear' then null else job.unknown_ms end,
            unknown_boot_ms = case result.unknown when 'begin' then result.unknown_boot_ms when 'clear' then null else job.unknown_boot_ms end,
            unknown_boot_id = case result.unknown when 'begin' then result.unknown_boot_id when 'clear' then null else job.unknown_boot_id end,
            rung = coalesce(result.degraded ->> 'rung', job.rung),
            degraded = coalesce(result.degraded, job.degraded),
            verify = result.verify,
            resent = result.resent
           from (select value ->> 0 as seq, value ->> 1 as attempt, value ->> 2 as state, value ->> 3 as run_ms,
                        value ->> 4 as receipt, value ->> 5 as message_id, value ->> 6 as error, value -> 7 as record,
                        value ->> 8 as tries, value ->> 9 as unsent, value ->> 10 as unclear, value ->> 11 as token,
                        value ->> 12 as unknown, value ->> 13 as unknown_ms, value ->> 14 as unknown_boot_ms,
                        value ->> 15 as unknown_boot_id, value ->> 16 as verify, value ->> 17 as resent,
                        value ->> 18 as progress, value ->> 19 as settled, value ->> 20 as now_ms,
                        value ->> 21 as settle_seq, value ->> 22 as degraded, value ->> 23 as answer
                   from given) result
          where job.seq = result.seq and job.state = 'sending' and job.attempt = result.attempt
         returning *";
    let text = |fault: &Fault| serde_json::to_string(fault).unwrap_or_default();
    let args = [
        Value::Array(rows.to_vec()).to_string().into(),
        ATTEMPTS_KEPT.into(),
        ATTEMPTS_FIRST.into(),
        text(&act::canceled()).into(),
        text(&act::stopped_in_doubt("recalled")).into(),
    ];
    tx.fetch(sql, &args).await
}

/// What follows from the new state of a job that was under way.
async fn follow(tx: &mut Tx<'_>, row: &SqliteRow) -> Result<(), sqlx::Error> {
    let (seq, app): (i64, i64) = (row.get("seq"), row.get("app"));
    let own = row.get::<i64, _>("own") == 1;
    let state = State::from_name(row.get("state")).unwrap_or(State::Failed);
    tx.count(AppId(app), own, Some(State::Sending), Some(state));
    tx.ended(row, state);
    if state == State::Done && !own {
        tx.changes
            .measured
            .delivered
            .push(tx.now.wall_ms - due_ms(row));
    }
    dependents::touch(tx, row);
    if own {
        touch_parent(tx, row.get("parent")).await?;
    }
    if state == State::Done {
        keys::remember(tx, row).await?;
    }
    settled(tx, row, state).await?;
    if !own {
        reads::track(tx, row).await?;
    }
    let wished = row.get::<Option<&str>, _>("wish") == Some("recall");
    // Also of a batch whose rest was canceled by the wish: its first parts were sent.
    if wished && !state.is_pending() {
        after::start_recall(tx, seq).await?;
    }
    if state == State::Done && matches!(row.get("kind"), "recall" | "batch_recall") {
        after::note_recalled(tx, row).await?;
    }
    Ok(())
}

/// When the job of `row` was accepted and due. A job that was tried again keeps no memory of when it
/// was due first; then its first attempt counts.
fn due_ms(row: &SqliteRow) -> i64 {
    let (created_ms, run_ms): (i64, i64) = (row.get("created_ms"), row.get("run_ms"));
    let attempts: serde_json::Result<Value> = serde_json::from_str(row.get("attempts"));
    let first_ms = attempts.ok().and_then(|list| {
        let at = list[0]["at"].as_str()?;
        parse_rfc3339(at)
    });
    run_ms.min(first_ms.unwrap_or(run_ms)).max(created_ms)
}

/// Tells those who hang on a job that it ended, and looks for what is in doubt; also after a cancel, an expiry or a person's word.
pub(super) async fn settled(
    tx: &mut Tx<'_>,
    row: &SqliteRow,
    state: State,
) -> Result<(), sqlx::Error> {
    if state == State::InDoubt {
        doubt::begin(tx, row).await?;
    }
    fold::ended(tx, row, state).await?;
    free_dependents(tx, row, state).await
}

/// What hangs on the job of `row` goes on, or ends with it.
pub(super) async fn free_dependents(
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
        // Nobody knows of this upload but the message whose bytes it brings: it ends as that did.
        State::Failed | State::Expired | State::Canceled
            if row.get::<&str, _>("role") == "first" =>
        {
            end_with_first(tx, row, state).await
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

async fn end_with_first(
    tx: &mut Tx<'_>,
    first: &SqliteRow,
    state: State,
) -> Result<(), sqlx::Error> {
    let settle_seq = tx.settle_seq();
    let row = sqlx::query(
        "update job set state = ?2, finished_ms = ?3, error = ?4, settle_seq = ?5
          where seq = ?1 and state = 'queued'
         returning *",
    )
    .bind(first.get::<Option<i64>, _>("parent"))
    .bind(state.name())
    .bind(tx.now.wall_ms)
    .bind(first.get::<Option<&str>, _>("error"))
    .bind(settle_seq)
    .fetch_optional(tx.conn().await?)
    .await?;
    let Some(row) = row else { return Ok(()) };
    tx.count(
        AppId(row.get("app")),
        false,
        Some(State::Queued),
        Some(state),
    );
    tx.moved(row.get("seq"));
    tx.ended(&row, state);
    dependents::touch(tx, &row);
    Box::pin(settled(tx, &row, state)).await
}

/// The job `child` is queued again: what it waits for may have been done while it was not.
pub(super) async fn free_from_done(tx: &mut Tx<'_>, child: i64) -> Result<(), sqlx::Error> {
    let done = sqlx::query(
        "select * from job
          where state = 'done' and seq in (select parent from dependency where child = ?1 and open = 1)",
    )
    .bind(child)
    .fetch_all(tx.conn().await?)
    .await?;
    for row in &done {
        let made = made(tx, row).await?;
        dependents::free(tx, row.get("seq"), &made).await?;
    }
    Ok(())
}

async fn made(tx: &mut Tx<'_>, row: &SqliteRow) -> Result<Made, sqlx::Error> {
    let receipt: Value = row
        .get::<Option<&str>, _>("receipt")
        .and_then(|text| serde_json::from_str(text).ok())
        .unwrap_or_default();
    let key = ["image_key", "file_key", "reaction_id"].into_iter();
    let mut key = key.filter_map(|name| receipt[name].as_str());
    let makes = Kind::from_name(row.get("kind")).map_or(Makes::Nothing, Kind::makes);
    let batches = match row.get("kind") {
        "batch_send" => batch_ids(tx, row.get("seq")).await?,
        _ => Vec::new(),
    };
    let id: Vec<u8> = row.get("id");
    Ok(Made {
        id: JobId(id.try_into().unwrap_or_default()),
        makes,
        message_id: row.get("message_id"),
        key: key.next().map(str::to_owned),
        batches,
    })
}

async fn batch_ids(tx: &mut Tx<'_>, seq: i64) -> Result<Vec<String>, sqlx::Error> {
    sqlx::query_scalar("select batch_message_id from part where job = ?1 and batch_message_id is not null order by n").bind(seq).fetch_all(tx.conn().await?).await
}

async fn touch_parent(tx: &mut Tx<'_>, parent: Option<i64>) -> Result<(), sqlx::Error> {
    let row = sqlx::query("select id from job where seq = ?1")
        .bind(parent)
        .fetch_optional(tx.conn().await?)
        .await?;
    if let Some(row) = row {
        dependents::touch(tx, &row);
    }
    Ok(())
}

/// Records one part. Returns where the whole job goes now; `None`: the result came too late.
async fn finish_part(
    tx: &mut Tx<'_>,
    result: &Finish,
    n: i64,
) -> Result<Option<Whole>, sqlx::Error> {
    let seq = result.head.seq;
    let job =
        sqlx::query("select wish from job where seq = ?1 and state = 'sending' and attempt = ?2")
            .bind(seq)
            .bind(result.attempt)
            .fetch_optional(tx.conn().await?)
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
        // It is not tried again once its recall is wished for.
        End::Again { .. } if wished && result.leaves_doubt() => (State::InDoubt, None, None, None),
        End::Again { .. } if wished => (State::Canceled, None, None, None),
        End::Again { .. } => (State::Queued, None, None, None),
    };
    let error = error.and_then(|fault| serde_json::to_string(fault).ok());
    // What waits to be sent again keeps its doubt, if it has one.
    sqlx::query(
        "update part set state = ?3, receipt = ?4, batch_message_id = ?5,
                         error = case when ?3 = 'queued' then error else ?6 end
          where job = ?1 and n = ?2 and state = 'sending'",
    )
    .bind(seq)
    .bind(n)
    .bind(state.name())
    .bind(receipt)
    .bind(&id)
    .bind(&error)
    .execute(tx.conn().await?)
    .await?;
    // What the next part reaches is asked of the day's window before it goes.
    sqlx::query(
        "update job set weight = coalesce((select count from part where job = seq and state = 'queued' order by n limit 1),
                                          weight)
          where seq = ?1",
    )
    .bind(seq)
    .execute(tx.conn().await?)
    .await?;
    if let (Some(id), Kind::BatchSend) = (&id, result.head.kind) {
        after::follow_progress(tx, &result.head, id).await?;
    }
    if state == State::Done && result.head.kind == Kind::BatchRecall {
        sqlx::query(
            "update part set recalled_ms = ?3
              where recalled_ms is null
                and batch_message_id = (select args ->> 'batch' from part where job = ?1 and n = ?2)",
        )
        .bind(seq)
        .bind(n)
        .bind(tx.now.wall_ms)
        .execute(tx.conn().await?)
        .await?;
    }
    if let (End::Again { run_ms }, State::Queued) = (&result.end, state) {
        return Ok(Some(Whole::again(*run_ms)));
    }
    if matches!(result.end, End::Failed { content: true, .. }) {
        sqlx::query(
            "update part set state = case when error ->> 'class' = 'doubt' then 'in_doubt' else 'failed' end,
                             error = case when error ->> 'class' = 'doubt' then error else ?2 end
              where job = ?1 and state = 'queued'",
        )
        .bind(seq)
        .bind(&error)
        .execute(tx.conn().await?)
        .await?;
    }
    if wished {
        dependents::end_parts(tx, seq, State::Canceled).await?;
    }
    parts_end(tx, seq).await.map(Some)
}

/// Where a job goes when its parts stand as they do: on to the next part, or to its end.
///
/// A doubt outweighs everything; a part that was never sent outweighs one that was refused.
pub(super) async fn parts_end(tx: &mut Tx<'_>, seq: i64) -> Result<Whole, sqlx::Error> {
    const ORDER: [State; 5] = [
        State::Queued,
        State::InDoubt,
        State::Expired,
        State::Canceled,
        State::Failed,
    ];
    let rows = sqlx::query("select state, error from part where job = ?1 order by n")
        .bind(seq)
        .fetch_all(tx.conn().await?)
        .await?;
    let first = |state: State| {
        rows.iter()
            .find(|row| row.get::<&str, _>(0) == state.name())
            .map(|row| (state, row.get::<Option<&str>, _>(1)))
    };
    let Some((state, error)) = ORDER.into_iter().find_map(first) else {
        return Ok(Whole::ended(State::Done, None));
    };
    let (class, msg) = match state {
        State::InDoubt => ("doubt", "a part of the batch may have been sent"),
        State::Expired => ("expired", "its deadline passed before all of it was sent"),
        State::Canceled => ("canceled", "the rest of the batch was not sent"),
        State::Failed => ("caller", "a part of the batch was refused"),
        State::Queued | State::Sending | State::Done => {
            return Ok(Whole::again(tx.now.wall_ms));
        }
    };
    let fault = error
        .and_then(|text| serde_json::from_str(text).ok())
        .unwrap_or_else(|| Fault {
            class: class.into(),
            msg: msg.into(),
            ..Fault::default()
        });
    Ok(Whole::ended(state, Some(fault)))
}
