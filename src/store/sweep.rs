//! What happens by time alone: schedules reached, deadlines passed, things kept long enough.

use serde_json::json;
use sqlx::Row;

use crate::job::{AppId, Fault, Kind, State};
use crate::store::finish;
use crate::store::script::Asked;
use crate::store::writer::Tx;
use crate::store::{Pause, day, dependents, fold, incidents, keys, mark, month, pause};

/// Rows of one kind per sweep; a larger backlog takes several, so that nobody waits long behind one.
const ROWS: i64 = 1000;
/// No retry waits longer.
const RETRY_MAX_MS: i64 = 5 * 60_000;
/// The row of `meta` that says up to which end content was dropped.
const CONTENT_DROPPED: &str = "content_dropped_ms";
/// Calls older than this are in no window any more, seconds: one minute, the longest time-out, some more.
const CALLS_KEPT_S: i64 = 240;

/// Returns whether a list was full, so that there is more to do at once. Whether there is anything to do at all
/// is asked in one trip, since most of the time there is not.
pub(super) async fn apply(tx: &mut Tx<'_>) -> Result<bool, sqlx::Error> {
    pull_back(tx)?;
    let questions = questions(tx)?;
    let calls_until = tx.now.wall_ms.div_euclid(1000) - CALLS_KEPT_S;
    tx.put(
        "delete from call_second where second < ?1",
        &[calls_until.into()],
    )?;
    keys::drop_old(tx)?;
    day::drop_old(tx)?;
    incidents::drop_told(tx)?;
    month::drop_old(tx)?;
    tx.conn().await?;
    let [due, over, content, old, folding, merging, incidents] =
        questions.map(|asked| !tx.script.take(asked).is_empty());
    let mut more = due && stand_due(tx).await?;
    more |= over && end_overdue(tx).await?;
    more |= content && drop_content(tx).await?;
    more |= old && purge(tx).await?;
    drop_left_uploads(tx).await?;
    more |= folding && fold::go_on(tx).await?;
    more |= merging && incidents::go_on(tx).await?;
    more |= incidents && incidents::drop_old(tx).await?;
    Ok(more)
}

/// Whether each step of a sweep may find anything, in their order: a seek each.
fn questions(tx: &mut Tx<'_>) -> Result<[Asked; 7], sqlx::Error> {
    let now = tx.now.wall_ms;
    let content = now.saturating_sub(tx.options.content_retention_ms);
    let rows = now.saturating_sub(tx.options.retention_ms);
    let script = &mut tx.script;
    Ok([
        script.ask(
            "select 1 from job
              where state = 'queued' and stands = 0 and blocked = 0 and parked = 0 and run_ms <= ?1 limit 1",
            &[now.into()],
        )?,
        script.ask(
            "select 1 from job where state = 'queued' and deadline_ms <= ?1 limit 1",
            &[now.into()],
        )?,
        script.ask(
            "select 1 from job
              where finished_ms <= ?1
                and finished_ms > coalesce((select cast(value as integer) from meta where name = ?2), 0)
              limit 1",
            &[content.into(), CONTENT_DROPPED.into()],
        )?,
        script.ask("select 1 from job where finished_ms <= ?1 limit 1", &[rows.into()])?,
        script.ask("select 1 from folding limit 1", &[])?,
        script.ask("select 1 from merging limit 1", &[])?,
        script.ask(
            "select 1 from incident where state = 'resolved' and changed_ms <= ?1 limit 1",
            &[rows.into()],
        )?,
    ])
}

/// The wall clock was set back: a retry is not further off than its cap. A schedule is a time of day.
/// The jobs in lanes are the dispatcher's; asked after a start too, as nobody knows what was before.
fn pull_back(tx: &mut Tx<'_>) -> Result<(), sqlx::Error> {
    let now = tx.now.wall_ms;
    let before = std::mem::replace(&mut tx.memory.swept_ms, now);
    if before <= now {
        return Ok(());
    }
    tx.put(
        "update job set run_ms = ?1
          where state = 'queued' and stands = 0 and blocked = 0 and parked = 0 and run_ms > ?1 and attempt > 0 and own = 0",
        &[now.saturating_add(RETRY_MAX_MS).into()],
    )
}

async fn stand_due(tx: &mut Tx<'_>) -> Result<bool, sqlx::Error> {
    let rows = sqlx::query(
        "update job set stands = 1
          where seq in (select seq from job
                         where state = 'queued' and stands = 0 and blocked = 0 and parked = 0 and run_ms <= ?1
                         order by run_ms limit ?2)
         returning *",
    )
    .bind(tx.now.wall_ms)
    .bind(ROWS)
    .fetch_all(tx.conn().await?)
    .await?;
    tx.changes.stood.extend(rows.iter().filter_map(mark::head));
    Ok(rows.len() as i64 == ROWS)
}

/// A job past its deadline ends: as expired when the producer set it, as failed when the relay gives
/// up, and in doubt when something may have happened.
async fn end_overdue(tx: &mut Tx<'_>) -> Result<bool, sqlx::Error> {
    let rows = sqlx::query(
        "select seq, parts, expires_ms is not null, unknown_ms is not null and role <> 'first' from job
          where state = 'queued' and deadline_ms <= ?1
          order by deadline_ms limit ?2",
    )
    .bind(tx.now.wall_ms)
    .bind(ROWS)
    .fetch_all(tx.conn().await?)
    .await?;
    for row in &rows {
        let (seq, parts, said, mut unknown): (i64, i64, bool, bool) =
            (row.get(0), row.get(1), row.get(2), row.get(3));
        if parts > 0 {
            dependents::end_parts(tx, seq, State::Expired).await?;
            unknown |= finish::parts_end(tx, seq).await?.state == State::InDoubt;
        }
        let (to, fault) = match (unknown, said) {
            (true, _) => (
                State::InDoubt,
                doubt("its deadline passed after an attempt whose outcome is not known"),
            ),
            (false, true) => (
                State::Expired,
                Fault {
                    class: "expired".into(),
                    msg: "its deadline passed".into(),
                    ..Fault::default()
                },
            ),
            (false, false) => (
                State::Failed,
                Fault {
                    class: "gave_up".into(),
                    msg: "it could not be delivered within give_up_after".into(),
                    ..Fault::default()
                },
            ),
        };
        end(tx, seq, to, &fault).await?;
    }
    Ok(rows.len() as i64 == ROWS)
}

fn doubt(msg: &str) -> Fault {
    Fault {
        class: "doubt".into(),
        msg: msg.into(),
        hint: Some("settle it as done or failed, or retry it".into()),
        who: Some("operator".into()),
        code: None,
    }
}

async fn end(tx: &mut Tx<'_>, seq: i64, to: State, fault: &Fault) -> Result<(), sqlx::Error> {
    let settle_seq = to.is_settled().then(|| tx.settle_seq());
    let row = sqlx::query("update job set state = ?2, finished_ms = case when ?3 then ?4 end, error = ?5, settle_seq = case when own = 0 then ?6 end where seq = ?1 and state = 'queued' returning *")
        .bind(seq)
        .bind(to.name())
        .bind(to.is_settled())
        .bind(tx.now.wall_ms)
        .bind(serde_json::to_string(fault).unwrap_or_default())
        .bind(settle_seq)
        .fetch_optional(tx.conn().await?)
        .await?;
    let Some(row) = row else { return Ok(()) };
    tx.moved(seq);
    tx.count(
        AppId(row.get("app")),
        row.get::<i64, _>("own") == 1,
        Some(State::Queued),
        Some(to),
    );
    tx.ended(&row, to);
    if row.get::<i64, _>("stands") == 1 {
        pause::left(tx, mark::head(&row));
    }
    dependents::touch(tx, &row);
    finish::settled(tx, &row, to).await
}

/// Content goes before its row. A cursor on the time of the end makes each pass read only what is new.
async fn drop_content(tx: &mut Tx<'_>) -> Result<bool, sqlx::Error> {
    let until = tx
        .now
        .wall_ms
        .saturating_sub(tx.options.content_retention_ms);
    let from: i64 = meta(tx, CONTENT_DROPPED).await?;
    let rows = sqlx::query("select seq, kind, args, finished_ms from job where finished_ms > ?1 and finished_ms <= ?2 order by finished_ms limit ?3")
        .bind(from)
        .bind(until)
        .bind(ROWS)
        .fetch_all(tx.conn().await?)
        .await?;
    let full = rows.len() as i64 == ROWS;
    let Some(last) = rows.last().map(|row| row.get::<i64, _>("finished_ms")) else {
        return Ok(false);
    };
    // Rows of one millisecond may be cut by the limit: the cursor stops before them.
    let upto = if full { last - 1 } else { last };
    let seqs: Vec<i64> = rows.iter().map(|row| row.get("seq")).collect();
    for row in rows
        .iter()
        .filter(|row| Kind::from_name(row.get("kind")).is_some_and(Kind::brings_bytes))
    {
        release_upload(tx, row.get::<Option<&str>, _>("args")).await?;
    }
    sqlx::query("update job set args = null, resolved = null, answer = null where seq in (select value from json_each(?1))").bind(json!(seqs).to_string()).execute(tx.conn().await?).await?;
    sqlx::query("update part set args = null where job in (select value from json_each(?1))")
        .bind(json!(seqs).to_string())
        .execute(tx.conn().await?)
        .await?;
    set_meta(tx, CONTENT_DROPPED, upto.max(from)).await?;
    Ok(full && upto > from)
}

async fn release_upload(tx: &mut Tx<'_>, args: Option<&str>) -> Result<(), sqlx::Error> {
    let args: serde_json::Value = args
        .and_then(|args| serde_json::from_str(args).ok())
        .unwrap_or_default();
    let Some(name) = args["sha256"].as_str() else {
        return Ok(());
    };
    sqlx::query("update upload set jobs = jobs - 1 where sha256 = ?1")
        .bind(name)
        .execute(tx.conn().await?)
        .await?;
    let gone = sqlx::query("delete from upload where sha256 = ?1 and jobs <= 0")
        .bind(name)
        .execute(tx.conn().await?)
        .await?;
    if gone.rows_affected() > 0 {
        tx.changes.files_gone.push(name.to_owned());
    }
    Ok(())
}

/// Bytes that came and that no job took over: it was refused, or its sender went away.
async fn drop_left_uploads(tx: &mut Tx<'_>) -> Result<(), sqlx::Error> {
    for name in tx.holds.left() {
        let jobs: Option<i64> = sqlx::query_scalar("select jobs from upload where sha256 = ?1")
            .bind(&name)
            .fetch_optional(tx.conn().await?)
            .await?;
        match jobs {
            Some(_) => tx.holds.taken(&name),
            None => tx.changes.files_gone.push(name),
        }
    }
    Ok(())
}

/// Settled rows go when they are kept long enough and nothing that is open hangs on them. What the relay
/// learned of a job that is open is kept with it.
async fn purge(tx: &mut Tx<'_>) -> Result<bool, sqlx::Error> {
    let until = tx.now.wall_ms.saturating_sub(tx.options.retention_ms);
    let rows = sqlx::query(
        "select seq, app, own, state, id, settle_seq from job
          where finished_ms <= ?1 and args is null
            and not exists (select 1 from dependency join job child on child.seq = dependency.child
                             where dependency.parent = job.seq and child.finished_ms is null)
            and not exists (select 1 from job child where child.parent = job.seq and child.finished_ms is null)
            and not (own = 1 and exists (select 1 from job made where made.seq = job.parent and made.finished_ms is null))
            and not (incident is not null and exists (select 1 from incident_job
                                                       where incident_job.incident = job.incident and job = job.seq
                                                         and noticed = 0))
          order by finished_ms limit ?2",
    )
    .bind(until)
    .bind(ROWS)
    .fetch_all(tx.conn().await?)
    .await?;
    if rows.is_empty() {
        return Ok(false);
    }
    let seqs = json!(
        rows.iter()
            .map(|row| row.get::<i64, _>("seq"))
            .collect::<Vec<_>>()
    )
    .to_string();
    let last_seq = tx.memory.next_seq;
    set_meta(tx, "last_seq", last_seq).await?;
    sqlx::query("delete from dependency where parent in (select value from json_each(?1)) or child in (select value from json_each(?1))").bind(&seqs).execute(tx.conn().await?).await?;
    sqlx::query("delete from part where job in (select value from json_each(?1))")
        .bind(&seqs)
        .execute(tx.conn().await?)
        .await?;
    sqlx::query(
        "delete from incident_job
          where (incident, job) in (select incident, seq from job
                                     where seq in (select value from json_each(?1)) and incident is not null)",
    )
    .bind(&seqs)
    .execute(tx.conn().await?)
    .await?;
    sqlx::query("delete from reader where job in (select value from json_each(?1))")
        .bind(&seqs)
        .execute(tx.conn().await?)
        .await?;
    sqlx::query("delete from job where seq in (select value from json_each(?1))")
        .bind(&seqs)
        .execute(tx.conn().await?)
        .await?;
    for row in &rows {
        let state = State::from_name(row.get("state")).unwrap_or(State::Done);
        tx.count(
            AppId(row.get("app")),
            row.get::<i64, _>("own") == 1,
            Some(state),
            None,
        );
    }
    let settled: Option<i64> = rows
        .iter()
        .filter_map(|row| row.get::<Option<i64>, _>("settle_seq"))
        .max();
    if let Some(settled) = settled {
        let before = meta(tx, "settled_purged").await?;
        set_meta(tx, "settled_purged", settled.max(before)).await?;
    }
    note_purged(tx, &rows).await?;
    Ok(rows.len() as i64 == ROWS)
}

/// Ids older than this may have been jobs.
async fn note_purged(tx: &mut Tx<'_>, rows: &[sqlx::sqlite::SqliteRow]) -> Result<(), sqlx::Error> {
    let newest = rows
        .iter()
        .filter_map(|row| <[u8; 16]>::try_from(row.get::<Vec<u8>, _>("id")).ok())
        .map(|id| crate::job::JobId(id).ms() + 1)
        .max()
        .unwrap_or(0);
    let before = tx
        .purged_ms
        .fetch_max(newest, std::sync::atomic::Ordering::Relaxed);
    set_meta(tx, "purged_ms", newest.max(before)).await
}

async fn meta(tx: &mut Tx<'_>, name: &str) -> Result<i64, sqlx::Error> {
    let value: Option<String> = sqlx::query_scalar("select value from meta where name = ?1")
        .bind(name)
        .fetch_optional(tx.conn().await?)
        .await?;
    Ok(value.and_then(|value| value.parse().ok()).unwrap_or(0))
}

async fn set_meta(tx: &mut Tx<'_>, name: &str, value: i64) -> Result<(), sqlx::Error> {
    sqlx::query("insert into meta (name, value) values (?1, ?2) on conflict (name) do update set value = excluded.value").bind(name).bind(value.to_string()).execute(tx.conn().await?).await?;
    Ok(())
}

/// Replaces the relay's own pauses.
pub(super) async fn pauses(tx: &mut Tx<'_>, list: &[Pause]) -> Result<(), sqlx::Error> {
    sqlx::query("delete from pause where by = 'fault'")
        .execute(tx.conn().await?)
        .await?;
    for pause in list.iter().filter(|pause| !pause.by_hand) {
        let app = if pause.app.is_empty() {
            0
        } else {
            tx.app_id(&pause.app).map_or(0, |app| app.0)
        };
        sqlx::query("insert into pause (app, lane, api, by, code, reason, since_ms, probe_ms, spares) values (?1, ?2, ?3, 'fault', ?4, ?5, ?6, ?7, ?8) on conflict do nothing")
            .bind(app)
            .bind(&pause.lane)
            .bind(&pause.api)
            .bind(pause.code)
            .bind(&pause.reason)
            .bind(pause.since_ms)
            .bind(pause.probe_ms)
            .bind(pause.spares.name())
            .execute(tx.conn().await?)
            .await?;
    }
    Ok(())
}
