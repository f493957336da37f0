//! Who read it: the questions that follow a job, what they learned, and the sums over a notice.
//!
//! A question is a job of the relay's own (`role` reads), one for each message or batch: paced,
//! counted and kept like any other, and no part of `max_pending`. It asks as often as its producer
//! wants, or once when somebody wants to know now. The message that it asks about stands in its
//! `message`, how far it is in its `progress`.
//! Not here: when it asks again and when it stops (`dispatch::follow`).

use std::collections::HashMap;

use serde_json::{Value, json};
use sqlx::Row;
use sqlx::sqlite::{SqliteConnection, SqliteRow};

use crate::job::{
    AppId, Job, JobId, Kind, Makes, NoticeJob, Priority, Reader, ReadsRecord, State, Time, tracked,
};
use crate::store::find::{self, ROWS_LOOKED_AT};
use crate::store::insert::{self, NewRow};
use crate::store::writer::Tx;
use crate::store::{Asking, Filter, Finish, Notice, Store, mark};

/// Jobs asked about in one request to the writer.
pub(super) const ASKED_AT_ONCE: usize = 100;
/// Readers named in one answer.
const READERS_MAX: usize = 10_000;

/// The job of `row` may have made something that its producer wants followed.
pub(super) async fn track(tx: &mut Tx<'_>, row: &SqliteRow) -> Result<(), sqlx::Error> {
    match row.get::<Option<&str>, _>("track").and_then(tracked) {
        Some(plan) => begin(tx, row.get("seq"), Some(plan)).await,
        None => Ok(()),
    }
}

/// The same, after a person's word on the job `seq`.
pub(super) async fn track_seq(tx: &mut Tx<'_>, seq: i64) -> Result<(), sqlx::Error> {
    let row = sqlx::query("select seq, track from job where seq = ?1 and track is not null")
        .bind(seq)
        .fetch_optional(tx.conn().await?)
        .await?;
    match row {
        Some(row) => track(tx, &row).await,
        None => Ok(()),
    }
}

/// One question for each message or batch of the job `seq` that has none yet. `plan`: how often and
/// how long, milliseconds; `None`: once, now.
async fn begin(tx: &mut Tx<'_>, seq: i64, plan: Option<(i64, i64)>) -> Result<(), sqlx::Error> {
    let made = sqlx::query(
        "select app, kind, target
           from (select app, kind, message_id as target from job
                  where seq = ?1 and kind <> 'batch_send' and recalled_ms is null
                 union all
                 select app, kind, batch_message_id from job join part on part.job = job.seq
                  where seq = ?1 and kind = 'batch_send' and part.recalled_ms is null)
          where target is not null
            and target not in (select message from job where parent = ?1 and role = 'reads' and message is not null)",
    )
    .bind(seq)
    .fetch_all(tx.conn().await?)
    .await?;
    let now = tx.now.wall_ms;
    let mut rows = Vec::with_capacity(made.len());
    for one in &made {
        let kind = match Kind::from_name(one.get("kind")).map(Kind::makes) {
            Some(Makes::Message) => Kind::ReadUsers,
            Some(Makes::Batch) => Kind::BatchReadUser,
            Some(
                Makes::Nothing | Makes::Image | Makes::File | Makes::Reaction | Makes::Ephemeral,
            )
            | None => {
                continue;
            }
        };
        let run_ms = plan.map_or(now, |(every, _)| now.saturating_add(every));
        let until_ms = plan.map_or(now, |(_, whole)| now.saturating_add(whole));
        let mut row = NewRow::own(tx, kind, AppId(one.get("app")), seq, "reads", run_ms);
        row.head.message = Some(one.get::<String, _>("target").into_boxed_str());
        row.head.priority = Priority::Low;
        row.deadline_ms = Some(until_ms.saturating_add(tx.options.give_up_ms));
        if let Some((every, _)) = plan {
            row.args = json!({"from_ms": now, "every_ms": every, "until_ms": until_ms}).to_string();
        }
        if row.stands {
            tx.changes.stood.push(row.head.clone());
        }
        rows.push(row);
    }
    if rows.is_empty() {
        return Ok(());
    }
    insert::rows(tx, &rows).await?;
    sqlx::query("update job set readers = coalesce(readers, 0) where seq = ?1")
        .bind(seq)
        .execute(tx.conn().await?)
        .await?;
    Ok(())
}

/// Asks now who read what each of `ids` made: questions that wait or have ended begin once more.
pub(super) async fn ask(tx: &mut Tx<'_>, ids: &[JobId]) -> Result<(), sqlx::Error> {
    for id in ids {
        let seq: Option<i64> = sqlx::query_scalar("select seq from job where id = ?1 and own = 0")
            .bind(id.0.as_slice())
            .fetch_optional(tx.conn().await?)
            .await?;
        if let Some(seq) = seq {
            hurry(tx, seq).await?;
            begin(tx, seq, None).await?;
        }
    }
    Ok(())
}

/// What was taken back is not asked about any more; one under way ends by itself.
async fn hurry(tx: &mut Tx<'_>, seq: i64) -> Result<(), sqlx::Error> {
    let now = tx.now.wall_ms;
    let before = sqlx::query(
        "select seq, state, app, state = 'queued' and stands = 1 and run_ms <= ?2 from job
          where parent = ?1 and role = 'reads' and state <> 'sending'
            and exists (select 1 from job made where made.seq = ?1 and made.recalled_ms is null)
            and not exists (select 1 from part
                             where part.job = ?1 and part.batch_message_id = message and part.recalled_ms is not null)",
    )
    .bind(seq)
    .bind(now)
    .fetch_all(tx.conn().await?)
    .await?;
    for one in &before {
        let from = State::from_name(one.get(1)).unwrap_or(State::Queued);
        // From the first page on: what an earlier pass has read is not of now.
        let row = sqlx::query(
            "update job set state = 'queued', finished_ms = null, error = null, run_ms = ?2, stands = 1,
                            tries = 0, unsent = 0, unclear = 0, args = coalesce(args, '{}'),
                            deadline_ms = max(coalesce(deadline_ms, 0), ?3),
                            progress = json_remove(progress, '$.page_token', '$.again')
              where seq = ?1 and state = ?4
             returning *",
        )
        .bind(one.get::<i64, _>(0))
        .bind(now)
        .bind(now.saturating_add(tx.options.give_up_ms))
        .bind(from.name())
        .fetch_optional(tx.conn().await?)
        .await?;
        let Some(row) = row else { continue };
        tx.count(AppId(one.get(2)), true, Some(from), Some(State::Queued));
        if !one.get::<bool, _>(3) {
            tx.changes.stood.extend(mark::head(&row));
        }
    }
    Ok(())
}

/// Keeps who read it. `false`: it was taken back meanwhile, so nobody need ask again.
pub(super) async fn keep(tx: &mut Tx<'_>, result: &Finish) -> Result<bool, sqlx::Error> {
    let row = sqlx::query(
        "select made.seq, made.recalled_ms is not null
                or exists (select 1 from part
                            where part.job = made.seq and part.batch_message_id = question.message
                              and part.recalled_ms is not null)
           from job question join job made on made.seq = question.parent
          where question.seq = ?1 and question.state = 'sending' and question.attempt = ?2",
    )
    .bind(result.head.seq)
    .bind(result.attempt)
    .fetch_optional(tx.conn().await?)
    .await?;
    let Some(row) = row else { return Ok(true) };
    let (seq, gone): (i64, bool) = (row.get(0), row.get(1));
    if !result.readers.is_empty() {
        let readers: Vec<Value> = (result.readers.iter())
            .map(|reader| json!([reader.user_id, reader.read_ms]))
            .collect();
        // When somebody read it does not change: whoever is known stays as known.
        let new = sqlx::query(
            "insert into reader (job, user_id, read_ms)
             select ?1, value ->> 0, value ->> 1 from json_each(?2) where true
             on conflict (job, user_id) do nothing",
        )
        .bind(seq)
        .bind(json!(readers).to_string())
        .execute(tx.conn().await?)
        .await?
        .rows_affected();
        sqlx::query("update job set readers = coalesce(readers, 0) + ?2 where seq = ?1")
            .bind(seq)
            .bind(i64::try_from(new).unwrap_or(i64::MAX))
            .execute(tx.conn().await?)
            .await?;
    }
    Ok(!gone)
}

/// `target` was taken back: the questions about it that wait have come to their end.
pub(super) async fn stop(tx: &mut Tx<'_>, target: &str) -> Result<(), sqlx::Error> {
    let rows = sqlx::query(
        "update job set state = 'done', finished_ms = ?2, error = null
          where parent in (select seq from job where message_id = ?1
                           union all select job from part where batch_message_id = ?1)
            and role = 'reads' and message = ?1 and state = 'queued'
         returning app, kind, seq, incident",
    )
    .bind(target)
    .bind(tx.now.wall_ms)
    .fetch_all(tx.conn().await?)
    .await?;
    for row in &rows {
        let app = AppId(row.get(0));
        tx.count(app, true, Some(State::Queued), Some(State::Done));
        tx.ended(row, State::Done);
    }
    Ok(())
}

pub(super) async fn asking(store: &Store, id: JobId, since_ms: i64) -> Result<Asking, sqlx::Error> {
    let (all, answered, under_way): (i64, i64, i64) = sqlx::query_as(
        "select count(*),
                count(*) filter (where coalesce(progress ->> 'asked_ms', -1) >= ?2),
                count(*) filter (where state = 'sending' or (state = 'queued' and run_ms <= ?3))
           from job
          where parent = (select seq from job where id = ?1) and role = 'reads'
            and not exists (select 1 from part
                             where part.job = job.parent and part.batch_message_id = message
                               and part.recalled_ms is not null)",
    )
    .bind(id.0.as_slice())
    .bind(since_ms)
    .bind(store.shared.clock.wall_ms())
    .fetch_one(&store.shared.readers)
    .await?;
    Ok(match (all - answered, under_way) {
        _ if all == 0 => Asking::Stopped,
        (0, _) => Asking::Answered,
        (_, 0) => Asking::Stopped,
        _ => Asking::UnderWay,
    })
}

/// What is known of a row's readers, without their names.
pub(super) async fn of(
    conn: &mut SqliteConnection,
    row: &SqliteRow,
) -> Result<Option<ReadsRecord>, sqlx::Error> {
    let Some(job) = Read::of(row) else {
        return Ok(None);
    };
    let seq = job.seq;
    Ok(records(conn, &[job]).await?.remove(&seq))
}

/// Names the readers of `job`.
pub(super) async fn name(conn: &mut SqliteConnection, job: &mut Job) -> Result<(), sqlx::Error> {
    let Some(reads) = (job.reads.as_mut()).filter(|reads| reads.user_id_type.is_some()) else {
        return Ok(());
    };
    let mut named = readers(conn, &[job.seq]).await?;
    reads.more = named.len() > READERS_MAX;
    named.truncate(READERS_MAX);
    reads.items = Some(named.into_iter().map(|(_, reader)| reader).collect());
    Ok(())
}

/// Readers of `jobs`, one more than is named.
async fn readers(
    conn: &mut SqliteConnection,
    jobs: &[i64],
) -> Result<Vec<(i64, Reader)>, sqlx::Error> {
    let rows = sqlx::query(
        "select reader.job, user_id, read_ms from json_each(?1) wanted
           join reader on reader.job = wanted.value
          order by wanted.key, read_ms, user_id
          limit ?2",
    )
    .bind(json!(jobs).to_string())
    .bind(i64::try_from(READERS_MAX + 1).unwrap_or(i64::MAX))
    .fetch_all(&mut *conn)
    .await?;
    Ok(rows
        .iter()
        .map(|row| {
            let reader = Reader {
                user_id: row.get(1),
                read_ms: row.get(2),
            };
            (row.get(0), reader)
        })
        .collect())
}

/// A job whose readers may be known.
#[derive(Clone, Copy)]
struct Read {
    seq: i64,
    batch: bool,
    /// Readers known; `None`: nobody asked.
    readers: Option<i64>,
}

impl Read {
    fn of(row: &SqliteRow) -> Option<Read> {
        let batch = row.get::<&str, _>("kind") == Kind::BatchSend.name();
        let readers: Option<i64> = row.get("readers");
        (batch || readers.is_some()).then(|| Read {
            seq: row.get("seq"),
            batch,
            readers,
        })
    }
}

/// What is known of each of `jobs`. A batch that nobody asked about has what its progress says.
async fn records(
    conn: &mut SqliteConnection,
    jobs: &[Read],
) -> Result<HashMap<i64, ReadsRecord>, sqlx::Error> {
    let seqs: Vec<i64> = jobs.iter().map(|job| job.seq).collect();
    let seqs = json!(seqs).to_string();
    let rows = sqlx::query(
        "select parent, role, state, run_ms, error, progress from job
          where parent in (select value from json_each(?1)) and role in ('reads', 'progress')
          order by parent, seq",
    )
    .bind(&seqs)
    .fetch_all(&mut *conn)
    .await?;
    let mut asked: HashMap<i64, Vec<Answer>> = HashMap::new();
    for row in &rows {
        asked.entry(row.get(0)).or_default().push(Answer::of(row));
    }
    let batches: HashMap<i64, i64> = match jobs.iter().any(|job| job.batch) {
        false => HashMap::new(),
        true => sqlx::query_as(
            "select job, count(batch_message_id) from part
              where job in (select value from json_each(?1))
              group by job",
        )
        .bind(&seqs)
        .fetch_all(&mut *conn)
        .await?
        .into_iter()
        .collect(),
    };
    Ok(jobs
        .iter()
        .filter_map(|job| {
            let answers = asked.remove(&job.seq).unwrap_or_default();
            let parts = batches.get(&job.seq).copied().unwrap_or(0);
            Some((job.seq, job.record(answers, parts)?))
        })
        .collect())
}

/// What one question, or one look at a batch's progress, has learned.
struct Answer {
    progress: bool,
    next_ms: Option<i64>,
    error: Option<String>,
    known: Value,
}

impl Answer {
    fn of(row: &SqliteRow) -> Answer {
        let state = State::from_name(row.get(2));
        let text: Option<&str> = row.get(5);
        Answer {
            progress: row.get::<&str, _>(1) == "progress",
            next_ms: (state == Some(State::Queued)).then(|| row.get(3)),
            error: (state == Some(State::Failed)).then(|| row.get(4)).flatten(),
            known: text
                .and_then(|text| serde_json::from_str(text).ok())
                .unwrap_or_default(),
        }
    }

    /// Read and reached, of a batch.
    fn counts(&self) -> (i64, i64) {
        let number = |value: &Value| value.as_i64().unwrap_or(0);
        if !self.progress {
            let known = &self.known;
            return (number(&known["read_count"]), number(&known["total_count"]));
        }
        let send = &self.known["batch_message_send_progress"];
        (
            number(&send["read_user_ids_count"]),
            number(&send["success_user_ids_count"]),
        )
    }
}

impl Read {
    /// `None`: nothing is known. `parts`: batches of it at Feishu.
    fn record(&self, mut answers: Vec<Answer>, parts: i64) -> Option<ReadsRecord> {
        if answers.iter().any(|answer| !answer.progress) {
            answers.retain(|answer| !answer.progress);
        }
        if answers.is_empty() {
            return None;
        }
        let asked: Vec<i64> = answers
            .iter()
            .filter_map(|answer| answer.known["asked_ms"].as_i64())
            .collect();
        let wanted = if self.batch { parts } else { 1 };
        let sum = |of: fn((i64, i64)) -> i64| answers.iter().map(|one| of(one.counts())).sum();
        Some(ReadsRecord {
            user_id_type: (!self.batch).then_some("open_id"),
            items: None,
            more: false,
            read_count: match self.batch {
                true => sum(|(read, _)| read),
                false => self.readers.unwrap_or(0),
            },
            total_count: self.batch.then(|| sum(|(_, reached)| reached)),
            asked_at: asked.iter().min().copied().map(Time),
            complete: asked.len() as i64 >= wanted,
            next_at: answers.iter().filter_map(|one| one.next_ms).min().map(Time),
            error: answers
                .iter()
                .find_map(|one| serde_json::from_str(one.error.as_deref()?).ok()),
        })
    }
}

/// What a notice tells of a job.
const NOTICE: &str = "job.seq, id, kind, state, receiver, recalled_ms, readers";

pub(super) async fn notice(store: &Store, filter: &Filter) -> Result<Notice, sqlx::Error> {
    let mut snapshot = store.shared.readers.begin().await?;
    let conn = &mut *snapshot;
    let limit = i64::from(filter.limit).min(ROWS_LOOKED_AT);
    let rows = find::rows(&mut *conn, NOTICE, filter, limit).await?;
    let next_cursor = match rows.len() as i64 == limit {
        true => rows.last().map(|row| row.get("seq")),
        false => find::looked_at(&mut *conn, filter).await?,
    };
    let read: Vec<Read> = rows.iter().filter_map(Read::of).collect();
    let mut records = records(&mut *conn, &read).await?;
    let seqs: Vec<i64> = read.iter().map(|job| job.seq).collect();
    let mut named = readers(&mut *conn, &seqs).await?;
    let more = named.len() > READERS_MAX;
    named.truncate(READERS_MAX);
    let mut by_job: HashMap<i64, Vec<Reader>> = HashMap::new();
    for (seq, reader) in named {
        by_job.entry(seq).or_default().push(reader);
    }
    let jobs = rows.iter().filter_map(|row| {
        let seq: i64 = row.get("seq");
        let kind = Kind::from_name(row.get("kind"))?;
        let batch = match kind.makes() {
            Makes::Message => false,
            Makes::Batch => true,
            Makes::Nothing | Makes::Image | Makes::File | Makes::Reaction | Makes::Ephemeral => {
                return None;
            }
        };
        Some(NoticeJob {
            id: JobId(row.get::<Vec<u8>, _>("id").try_into().ok()?),
            state: State::from_name(row.get("state"))?,
            to: row.get("receiver"),
            recalled: row.get::<Option<i64>, _>("recalled_ms").is_some(),
            batch,
            reads: records.remove(&seq),
            readers: by_job.remove(&seq).unwrap_or_default(),
        })
    });
    Ok(Notice {
        jobs: jobs.collect(),
        more,
        next_cursor,
    })
}
