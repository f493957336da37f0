//! Jobs in doubt: which messages of the chat may be the one that was sent.
//!
//! A look into the chat's history is a job of the relay's own (`role` doubt), one for each message in
//! doubt: paced, counted and kept like any other, and no part of `max_pending`. It is made when the job
//! comes to be in doubt and begins anew when somebody wants to know now. What it found stands in its
//! `progress`: ids and times, never content. It settles nothing.
//! Not here: what is asked, which message fits, when it gives up (`dispatch::doubt`).

use serde_json::Value;
use sqlx::Row;
use sqlx::sqlite::{SqliteConnection, SqliteRow};

use crate::job::{
    Action, AppId, Attempt, Candidate, DoubtRecord, Fault, JobId, Kind, Look, Makes, Outcome,
    PartRecord, Priority, State, Time,
};
use crate::store::insert::{self, NewRow};
use crate::store::writer::Tx;
use crate::store::{Store, mark, read};

/// A call that is lost may be carried out all the same, a little later.
const SETTLES_MS: i64 = 30_000;
/// Rows that are looked through, newest first, for the chat behind a receiver.
const ROWS_FOR_CHAT: i64 = 10_000;
/// Candidates in an answer.
const CANDIDATES_MAX: i64 = 50;

/// A job in doubt, as a look needs it.
#[derive(Debug)]
pub struct Case {
    /// It is still in doubt.
    pub open: bool,
    /// What was asked for, and what other jobs made for it: JSON objects; `None`: not kept any more.
    pub content: Option<(String, Option<String>)>,
    /// How far down the ladder its card was sent.
    pub rung: u8,
    /// The chat that its message went to, if that is known.
    pub chat: Option<String>,
    /// What was tried.
    pub attempts: Vec<Attempt>,
    /// What was done to it.
    pub actions: Vec<Action>,
    /// Since when its outcome is unknown, Unix milliseconds.
    pub unknown_ms: Option<i64>,
}

/// May a look tell anything of the job of `row`?
fn can_be_looked_for(row: &SqliteRow) -> bool {
    let makes = Kind::from_name(row.get("kind")).map(Kind::makes);
    makes == Some(Makes::Message)
        && row.get::<i64, _>("own") == 0
        && row.get::<Option<&str>, _>("message_id").is_none()
}

/// The job of `row` has come to be in doubt: the chat is looked at, once.
pub(super) async fn begin(tx: &mut Tx<'_>, row: &SqliteRow) -> Result<(), sqlx::Error> {
    if !can_be_looked_for(row) {
        return Ok(());
    }
    let attempts = read::attempts(row.get("attempts"));
    let unknown = |attempt: &&Attempt| attempt.outcome == Outcome::Unknown;
    let last_ms = attempts.iter().rfind(unknown).map_or(0, |attempt| {
        attempt.at_ms.saturating_add(attempt.ms.unwrap_or(0))
    });
    let run_ms = last_ms.saturating_add(SETTLES_MS).max(tx.now.wall_ms);
    look(tx, row.get("seq"), AppId(row.get("app")), run_ms).await
}

/// Looks at the chat of the job `id` now. `false`: there is nothing to look for.
pub(super) async fn ask(tx: &mut Tx<'_>, id: JobId) -> Result<bool, sqlx::Error> {
    let row = sqlx::query("select * from job where id = ?1 and state = 'in_doubt'")
        .bind(id.0.as_slice())
        .fetch_optional(tx.conn().await?)
        .await?;
    let Some(row) = row.filter(can_be_looked_for) else {
        return Ok(false);
    };
    let now = tx.now.wall_ms;
    look(tx, row.get("seq"), AppId(row.get("app")), now).await?;
    Ok(true)
}

/// The look for the job `seq` is due at `run_ms`, from its beginning; one under way is left alone.
async fn look(tx: &mut Tx<'_>, seq: i64, app: AppId, run_ms: i64) -> Result<(), sqlx::Error> {
    let deadline_ms = run_ms.saturating_add(tx.options.give_up_ms);
    let before = sqlx::query(
        "select seq, state, stands = 1 and state = 'queued' from job where parent = ?1 and role = 'doubt'",
    )
    .bind(seq)
    .fetch_optional(tx.conn().await?)
    .await?;
    let Some(before) = before else {
        let mut row = NewRow::own(tx, Kind::History, app, seq, "doubt", run_ms);
        row.head.priority = Priority::Low;
        row.deadline_ms = Some(deadline_ms);
        if row.stands {
            tx.changes.stood.push(row.head.clone());
        }
        return insert::rows(tx, &[row]).await;
    };
    let from = State::from_name(before.get(1)).unwrap_or(State::Queued);
    if from == State::Sending {
        return Ok(());
    }
    let row = sqlx::query(
        "update job set state = 'queued', finished_ms = null, error = null, run_ms = ?2, deadline_ms = ?3,
                        stands = case when ?2 <= ?5 then 1 else stands end, rank = priority,
                        tries = 0, unsent = 0, unclear = 0, token = 0, args = coalesce(args, '{}'),
                        progress = json_remove(progress, '$.next')
          where seq = ?1 and state = ?4
         returning *",
    )
    .bind(before.get::<i64, _>(0))
    .bind(run_ms)
    .bind(deadline_ms)
    .bind(from.name())
    .bind(tx.now.wall_ms)
    .fetch_optional(tx.conn().await?)
    .await?;
    let Some(row) = row else { return Ok(()) };
    tx.count(app, true, Some(from), Some(State::Queued));
    if row.get::<i64, _>("stands") == 1 && !before.get::<bool, _>(2) {
        tx.changes.stood.extend(mark::head(&row));
    }
    Ok(())
}

/// Is the chat of the job `id` being looked at, or about to be?
pub(super) async fn asks(store: &Store, id: JobId) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar(
        "select exists (select 1 from job look
                         where look.parent = (select seq from job where id = ?1) and look.role = 'doubt'
                           and (look.state = 'sending' or (look.state = 'queued' and look.run_ms <= ?2)))",
    )
    .bind(id.0.as_slice())
    .bind(store.shared.clock.wall_ms())
    .fetch_one(&store.shared.readers)
    .await
}

/// What the look `seq` is about.
pub(super) async fn case(store: &Store, seq: i64) -> Result<Case, sqlx::Error> {
    let mut snapshot = store.shared.readers.begin().await?;
    let conn = &mut *snapshot;
    let row = sqlx::query(
        "select about.* from job look join job about on about.seq = look.parent where look.seq = ?1",
    )
    .bind(seq)
    .fetch_one(&mut *conn)
    .await?;
    let receiver: Option<String> = row.get("receiver");
    let chat = match receiver {
        Some(chat) if chat.starts_with("oc_") => Some(chat),
        Some(receiver) => chat_of(&mut *conn, row.get("app"), &receiver).await?,
        None => None,
    };
    let args: Option<String> = row.get("args");
    Ok(Case {
        open: row.get::<&str, _>("state") == State::InDoubt.name(),
        content: args.map(|args| (args, row.get("resolved"))),
        rung: mark::rung(&row),
        chat,
        attempts: read::attempts(row.get("attempts")),
        actions: read::actions(row.get("actions")),
        unknown_ms: row.get("unknown_ms"),
    })
}

/// The chat that an earlier message to `receiver` was answered with.
async fn chat_of(
    conn: &mut SqliteConnection,
    app: i64,
    receiver: &str,
) -> Result<Option<String>, sqlx::Error> {
    sqlx::query_scalar(
        "select receipt ->> 'chat_id' from (select app, receiver, receipt from job order by seq desc limit ?3)
          where app = ?1 and receiver = ?2 and receipt ->> 'chat_id' is not null
          limit 1",
    )
    .bind(app)
    .bind(receiver)
    .bind(ROWS_FOR_CHAT)
    .fetch_optional(&mut *conn)
    .await
}

/// What is known of the job of `row`, if it is in doubt. A message that a job here has made since is no
/// candidate any more.
pub(super) async fn of(
    conn: &mut SqliteConnection,
    row: &SqliteRow,
    attempts: &[Attempt],
    parts: &[PartRecord],
) -> Result<Option<DoubtRecord>, sqlx::Error> {
    let Some(kind) = Kind::from_name(row.get("kind")) else {
        return Ok(None);
    };
    if row.get::<&str, _>("state") != State::InDoubt.name() {
        return Ok(None);
    }
    let mut doubt = DoubtRecord::of(kind, attempts, parts, row.get("unknown_ms"));
    if !can_be_looked_for(row) {
        return Ok(Some(doubt));
    }
    let look = sqlx::query(
        "select seq, state, error, progress from job where parent = ?1 and role = 'doubt'",
    )
    .bind(row.get::<i64, _>("seq"))
    .fetch_optional(&mut *conn)
    .await?;
    let Some(look) = look else {
        doubt.looked(&Look::None);
        return Ok(Some(doubt));
    };
    let known: Value = (look.get::<Option<&str>, _>(3))
        .and_then(|text| serde_json::from_str(text).ok())
        .unwrap_or_default();
    doubt.checked_at = known["asked_ms"].as_i64().map(Time);
    doubt.chat_id = known["chat"].as_str().map(str::to_owned);
    if doubt.checked_at.is_some() {
        doubt.candidates = Some(candidates(&mut *conn, look.get(0)).await?);
    }
    doubt.looked(&how(&look, &known));
    Ok(Some(doubt))
}

fn how(look: &SqliteRow, known: &Value) -> Look {
    match State::from_name(look.get(1)) {
        Some(State::Queued | State::Sending) | None => Look::UnderWay,
        Some(State::Done) if known["asked_ms"].is_null() => Look::NoChat,
        Some(State::Done) => Look::Done {
            complete: known["complete"] == true,
        },
        Some(State::Failed | State::Expired | State::Canceled | State::InDoubt) => {
            let fault = look.get::<Option<&str>, _>(2);
            let fault: Fault = fault
                .and_then(|text| serde_json::from_str(text).ok())
                .unwrap_or_default();
            let why = match fault.code {
                Some(code) => format!("{code} {}", fault.msg),
                None => fault.msg,
            };
            Look::Failed { why }
        }
    }
}

async fn candidates(conn: &mut SqliteConnection, look: i64) -> Result<Vec<Candidate>, sqlx::Error> {
    let list: Vec<String> = sqlx::query_scalar(
        "select found.value from job look, json_each(look.progress, '$.found') found
          where look.seq = ?1
            and not exists (select 1 from job made where made.message_id = found.value ->> 'message_id')
          limit ?2",
    )
    .bind(look)
    .bind(CANDIDATES_MAX)
    .fetch_all(&mut *conn)
    .await?;
    Ok(list
        .iter()
        .filter_map(|one| serde_json::from_str(one).ok())
        .collect())
}
