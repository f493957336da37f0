//! What a person or a program does to a job: cancel, retry, recall, settle.

use serde_json::json;
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use crate::clock::rfc3339;
use crate::job::{AppId, Fault, JobId, Kind, Makes, State};
use crate::store::after;
use crate::store::finish;
use crate::store::writer::Tx;
use crate::store::{Act, ActError, Acted, dependents, incidents, mark, pause, reads};

type Result2 = Result<Acted, ActError>;

/// The job that is acted on.
struct Subject {
    seq: i64,
    app: AppId,
    own: bool,
    kind: Option<Kind>,
    state: State,
    unknown: bool,
    parts: bool,
    has_content: bool,
    expires_ms: Option<i64>,
    wished: bool,
}

pub(super) async fn apply(
    tx: &mut Tx<'_>,
    id: JobId,
    act: &Act,
    by: &str,
) -> Result<Result2, sqlx::Error> {
    let row = sqlx::query("select * from job where id = ?1")
        .bind(id.0.as_slice())
        .fetch_optional(tx.conn().await?)
        .await?;
    let Some(subject) = row.as_ref().and_then(subject) else {
        let purged = id.ms() < tx.purged_ms.load(std::sync::atomic::Ordering::Relaxed);
        return Ok(Err(ActError::Unknown { purged }));
    };
    if subject.own {
        return Ok(Err(ActError::Forbidden(
            "this job is the relay's own; act on the one it belongs to".into(),
        )));
    }
    let (what, result) = match act {
        Act::Cancel => (String::from("cancel"), cancel(tx, &subject).await?),
        Act::Retry { expires_in_ms } => (
            String::from("retry"),
            retry(tx, &subject, *expires_in_ms).await?,
        ),
        Act::Recall => (String::from("recall"), recall(tx, &subject).await?),
        Act::Settle {
            state,
            message_id,
            part,
        } => {
            let what = match part {
                Some(part) => format!("settle {} part {part}", state.name()),
                None => format!("settle {}", state.name()),
            };
            let id = message_id.as_deref();
            (what, settle(tx, &subject, *state, id, *part).await?)
        }
    };
    if result.is_ok() {
        note(tx, subject.seq, by, &what).await?;
        tx.changes.touched.push(id);
    }
    Ok(result)
}

fn subject(row: &SqliteRow) -> Option<Subject> {
    Some(Subject {
        seq: row.get("seq"),
        app: AppId(row.get("app")),
        own: row.get::<i64, _>("own") == 1,
        kind: Kind::from_name(row.get("kind")),
        state: State::from_name(row.get("state"))?,
        unknown: row.get::<Option<i64>, _>("unknown_ms").is_some(),
        parts: row.get::<i64, _>("parts") > 0,
        has_content: row.get::<Option<&str>, _>("args").is_some(),
        expires_ms: row.get("expires_ms"),
        wished: row.get::<Option<&str>, _>("wish").is_some(),
    })
}

/// Keeps who did what on the job, the newest hundred.
async fn note(tx: &mut Tx<'_>, seq: i64, by: &str, what: &str) -> Result<(), sqlx::Error> {
    let entry = json!({"at": rfc3339(tx.now.wall_ms), "by": by, "what": what}).to_string();
    sqlx::query(
        "update job set actions = json_insert(case when json_array_length(actions) >= 100 then json_remove(actions, '$[0]') else actions end,
                                              '$[#]', json(?2))
          where seq = ?1",
    )
    .bind(seq)
    .bind(entry)
    .execute(tx.conn().await?)
    .await?;
    Ok(())
}

fn forbidden(text: impl Into<String>) -> Result2 {
    Err(ActError::Forbidden(text.into()))
}

/// Moves a job that is in `from` to its end, and all that hangs on it.
async fn end(
    tx: &mut Tx<'_>,
    subject: &Subject,
    to: State,
    fault: Option<&Fault>,
) -> Result<(), sqlx::Error> {
    let error = fault.and_then(|fault| serde_json::to_string(fault).ok());
    let settle_seq = (to.is_settled() && !subject.own).then(|| tx.settle_seq());
    let row = sqlx::query(
        "update job set state = ?3, finished_ms = case when ?4 then ?5 end, error = ?6, settle_seq = ?7
          where seq = ?1 and state = ?2
         returning *",
    )
    .bind(subject.seq)
    .bind(subject.state.name())
    .bind(to.name())
    .bind(to.is_settled())
    .bind(tx.now.wall_ms)
    .bind(error)
    .bind(settle_seq)
    .fetch_optional(tx.conn().await?)
    .await?;
    let Some(row) = row else { return Ok(()) };
    tx.moved(subject.seq);
    tx.count(subject.app, subject.own, Some(subject.state), Some(to));
    tx.ended(&row, to);
    if subject.state == State::Queued && row.get::<i64, _>("stands") == 1 {
        pause::left(tx, mark::head(&row));
    }
    finish::settled(tx, &row, to).await
}

pub(super) fn canceled() -> Fault {
    Fault {
        class: "canceled".into(),
        msg: "it was canceled".into(),
        ..Fault::default()
    }
}

/// A queued job, or one in doubt, is not tried any more.
async fn cancel(tx: &mut Tx<'_>, subject: &Subject) -> Result<Result2, sqlx::Error> {
    match subject.state {
        State::Sending => {
            return Ok(forbidden(
                "an attempt is under way; recall takes back what it makes",
            ));
        }
        State::Done | State::Failed | State::Expired | State::Canceled => {
            return Ok(forbidden(format!("it ended as {}", subject.state.name())));
        }
        State::Queued | State::InDoubt => {}
    }
    dependents::end_parts(tx, subject.seq, State::Canceled).await?;
    let given_up = subject.state == State::InDoubt;
    if given_up && subject.parts {
        sqlx::query("update part set state = 'canceled' where job = ?1 and state = 'in_doubt'")
            .bind(subject.seq)
            .execute(tx.conn().await?)
            .await?;
    }
    let (to, fault) = after_stop(tx, subject, given_up, "canceled").await?;
    end(tx, subject, to, Some(&fault)).await?;
    Ok(Ok(Acted::Now))
}

/// The incident of a queued job does not want it any more: as a person's cancel.
pub(super) async fn cancel_unwanted(
    tx: &mut Tx<'_>,
    seq: i64,
    why: &str,
) -> Result<(), sqlx::Error> {
    let row = sqlx::query("select * from job where seq = ?1 and state = 'queued'")
        .bind(seq)
        .fetch_optional(tx.conn().await?)
        .await?;
    let Some(row) = row else { return Ok(()) };
    let Some(subject) = subject(&row) else {
        return Ok(());
    };
    // A job that is queued can be canceled, whatever was tried.
    if cancel(tx, &subject).await?.is_ok() {
        note(tx, seq, "alerts", &format!("cancel: {why}")).await?;
        dependents::touch(tx, &row);
    }
    Ok(())
}

/// What a job ends as when nobody tries it any more: in doubt, when something may have happened.
async fn after_stop(
    tx: &mut Tx<'_>,
    subject: &Subject,
    given_up: bool,
    word: &str,
) -> Result<(State, Fault), sqlx::Error> {
    let doubt = if subject.parts {
        finish::parts_end(tx, subject.seq).await?.state == State::InDoubt
            || (subject.unknown && !given_up)
    } else {
        subject.unknown && !given_up
    };
    if !doubt {
        return Ok((State::Canceled, canceled()));
    }
    Ok((State::InDoubt, stopped_in_doubt(word)))
}

/// `word`: what was done to it.
pub(super) fn stopped_in_doubt(word: &str) -> Fault {
    Fault {
        class: "doubt".into(),
        msg: format!("it was {word} after an attempt whose outcome is not known"),
        hint: Some("settle it as done or failed, or retry it".into()),
        who: Some("operator".into()),
        code: None,
    }
}

async fn retry(
    tx: &mut Tx<'_>,
    subject: &Subject,
    expires_in_ms: Option<i64>,
) -> Result<Result2, sqlx::Error> {
    match subject.state {
        State::Queued => return Ok(forbidden("it is queued already")),
        State::Sending => return Ok(forbidden("an attempt is under way")),
        State::Done => return Ok(forbidden("it is done; a new job sends it again")),
        State::Failed | State::Expired | State::Canceled | State::InDoubt => {}
    }
    if !subject.has_content {
        return Ok(forbidden("its content is gone (content_retention is over)"));
    }
    let now = tx.now.wall_ms;
    if expires_in_ms.is_none() && subject.expires_ms.is_some_and(|deadline| deadline <= now) {
        return Ok(forbidden("its deadline is over; give a new \"expires_in\""));
    }
    let expires_ms = expires_in_ms.map(|ms| now.saturating_add(ms));
    let blockers = sqlx::query(
        "select parent.* from dependency join job parent on parent.seq = dependency.parent
          where dependency.child = ?1 and dependency.open = 1 and parent.state in ('failed', 'expired', 'canceled')",
    )
    .bind(subject.seq)
    .fetch_all(tx.conn().await?)
    .await?;
    let mut first = Vec::new();
    for row in &blockers {
        let Some(blocker) = self::subject(row) else {
            continue;
        };
        // The upload of its own bytes is tried again with it; nobody else could ask for that.
        if row.get::<&str, _>("role") != "first" {
            return Ok(forbidden(format!(
                "the job it hangs on ended as {}; retry that one",
                blocker.state.name()
            )));
        }
        if !blocker.has_content {
            return Ok(forbidden("its bytes are gone (content_retention is over)"));
        }
        first.push(blocker);
    }
    for first in &first {
        requeue(tx, first, expires_ms).await?;
    }
    requeue(tx, subject, expires_ms).await?;
    let renewed = subject.expires_ms.zip(expires_ms);
    let revived = dependents::revive(tx, subject.seq, renewed).await?;
    for seq in std::iter::once(subject.seq).chain(revived) {
        finish::free_from_done(tx, seq).await?;
    }
    Ok(Ok(Acted::Later))
}

/// Queued again, under the same uuid; a new window for what is unknown begins with the person's word.
async fn requeue(
    tx: &mut Tx<'_>,
    subject: &Subject,
    expires_ms: Option<i64>,
) -> Result<(), sqlx::Error> {
    let doubt = subject.state == State::InDoubt;
    if subject.parts {
        dependents::retry_parts(tx, subject.seq).await?;
    }
    let moment = tx.moment();
    // What was never tried keeps its schedule: taking a cancel back is no order to begin now.
    let row = sqlx::query(
        "update job set state = 'queued', finished_ms = null, settle_seq = null, error = null, rank = priority, verify = 0, wish = null, parked = 0,
                        stands = case when blocked = 0 and (attempt > 0 or run_ms <= ?3) then 1 else 0 end,
                        run_ms = case when blocked > 0 then run_ms when attempt > 0 then ?3 else max(run_ms, ?3) end,
                        expires_ms = coalesce(?4, expires_ms),
                        deadline_ms = case when blocked > 0 then coalesce(?4, expires_ms)
                                           else coalesce(?4, expires_ms, case when attempt > 0 then ?3 else max(run_ms, ?3) end + ?5) end,
                        tries = 0, unsent = 0, unclear = 0, token = 0,
                        resent = case when ?6 then 1 else resent end,
                        recalled_ms = null,
                        unknown_ms = case when ?6 and ?9 = 0 then ?3 end,
                        unknown_boot_ms = case when ?6 and ?9 = 0 then ?7 end,
                        unknown_boot_id = case when ?6 and ?9 = 0 then ?8 end
          where seq = ?1 and state = ?2
         returning *",
    )
    .bind(subject.seq)
    .bind(subject.state.name())
    .bind(moment.wall_ms)
    .bind(expires_ms)
    .bind(tx.options.give_up_ms)
    .bind(doubt)
    .bind(moment.boot_ms)
    .bind(&*moment.boot_id)
    .bind(i64::from(subject.parts))
    .fetch_optional(tx.conn().await?)
    .await?;
    let Some(row) = row else { return Ok(()) };
    tx.moved(subject.seq);
    tx.changes.incidents.job(&row);
    tx.count(
        subject.app,
        subject.own,
        Some(subject.state),
        Some(State::Queued),
    );
    if row.get::<i64, _>("stands") == 1 {
        tx.changes.stood.extend(mark::head(&row));
    }
    Ok(())
}

async fn recall(tx: &mut Tx<'_>, subject: &Subject) -> Result<Result2, sqlx::Error> {
    if let Some(digest) = incidents::merged_into(tx, subject.seq).await? {
        return Ok(forbidden(format!(
            "{digest} speaks for it and for others; recall that one to take all of it back"
        )));
    }
    let makes = subject.kind.map_or(Makes::Nothing, Kind::makes);
    if !matches!(makes, Makes::Message | Makes::Batch) && subject.state != State::Queued {
        return Ok(forbidden(format!(
            "a {} makes nothing that can be taken back",
            subject.kind.map_or("job", Kind::name)
        )));
    }
    match subject.state {
        State::Queued => recall_queued(tx, subject).await.map(Ok),
        State::Sending => {
            sqlx::query("update job set wish = 'recall' where seq = ?1 and state = 'sending'")
                .bind(subject.seq)
                .execute(tx.conn().await?)
                .await?;
            Ok(Ok(Acted::Later))
        }
        State::Done | State::Failed | State::Expired | State::Canceled | State::InDoubt => {
            recall_made(tx, subject).await
        }
    }
}

/// Nothing more is tried; what parts of a batch made already is taken back.
async fn recall_queued(tx: &mut Tx<'_>, subject: &Subject) -> Result<Acted, sqlx::Error> {
    dependents::end_parts(tx, subject.seq, State::Canceled).await?;
    let (to, fault) = after_stop(tx, subject, false, "recalled").await?;
    end(tx, subject, to, Some(&fault)).await?;
    if to == State::InDoubt {
        // Carried out when a person tells the id.
        sqlx::query("update job set wish = 'recall' where seq = ?1")
            .bind(subject.seq)
            .execute(tx.conn().await?)
            .await?;
    }
    let started = subject.parts && after::start_recall(tx, subject.seq).await?;
    Ok(if started { Acted::Later } else { Acted::Now })
}

/// Its recall was wished for while it was marked, and the mark was taken back: nothing left.
pub(super) async fn recall_unsent(tx: &mut Tx<'_>, row: &SqliteRow) -> Result<(), sqlx::Error> {
    let Some(subject) = subject(row) else {
        return Ok(());
    };
    recall_queued(tx, &subject).await?;
    dependents::touch(tx, row);
    Ok(())
}

async fn recall_made(tx: &mut Tx<'_>, subject: &Subject) -> Result<Result2, sqlx::Error> {
    let running: Option<String> = sqlx::query_scalar("select state from job where parent = ?1 and role = 'recall' and state in ('queued', 'sending', 'done', 'in_doubt') order by seq desc limit 1")
        .bind(subject.seq)
        .fetch_optional(tx.conn().await?)
        .await?;
    let running = running.as_deref();
    // Of a batch a part may have been sent since the last time; a message is there once.
    if (subject.parts || matches!(running, None | Some("in_doubt")))
        && after::start_recall(tx, subject.seq).await?
    {
        return Ok(Ok(Acted::Later));
    }
    match running {
        Some("done") if subject.state != State::InDoubt => return Ok(Ok(Acted::Now)),
        Some(_) => return Ok(Ok(Acted::Later)),
        None => {}
    }
    if subject.wished {
        return Ok(Ok(Acted::Later));
    }
    Ok(match subject.state {
        State::InDoubt => forbidden(
            "nobody knows whether it was sent, and under which id; settle it with the id first",
        ),
        _ => forbidden(format!(
            "it ended as {} and made nothing",
            subject.state.name()
        )),
    })
}

async fn settle(
    tx: &mut Tx<'_>,
    subject: &Subject,
    state: State,
    message_id: Option<&str>,
    part: Option<i64>,
) -> Result<Result2, sqlx::Error> {
    if subject.state != State::InDoubt {
        return Ok(forbidden(format!(
            "only a job in doubt can be settled; this one is {}",
            subject.state.name()
        )));
    }
    if let Some(id) = message_id
        && let Some(other) = made_by(tx, id).await?
    {
        return Ok(forbidden(format!("{id} was made by {other}")));
    }
    let fault = (state == State::Failed).then(|| Fault {
        class: "settled".into(),
        msg: "a person settled it as failed".into(),
        ..Fault::default()
    });
    if subject.parts {
        let parts = match parts_meant(tx, subject.seq, part, message_id.is_some()).await? {
            Ok(parts) => parts,
            Err(why) => return Ok(forbidden(why)),
        };
        settle_parts(tx, subject, state, message_id, &parts).await?;
        // Parts that were never sent, or refused, stay as they are and say what the whole is.
        let whole = finish::parts_end(tx, subject.seq).await?;
        if whole.state != State::InDoubt {
            end(tx, subject, whole.state, whole.fault.as_ref()).await?;
        }
        reads::track_seq(tx, subject.seq).await?;
        recall_late(tx, subject.seq).await?;
        return Ok(Ok(Acted::Now));
    }
    if part.is_some() {
        return Ok(forbidden("it has no parts"));
    }
    if let Some(id) = message_id {
        let receipt = json!({"message_id": id}).to_string();
        sqlx::query(
            "update job set message_id = ?2, receipt = coalesce(receipt, ?3) where seq = ?1",
        )
        .bind(subject.seq)
        .bind(id)
        .bind(receipt)
        .execute(tx.conn().await?)
        .await?;
    }
    end(tx, subject, state, fault.as_ref()).await?;
    reads::track_seq(tx, subject.seq).await?;
    if subject.wished {
        after::start_recall(tx, subject.seq).await?;
    }
    Ok(Ok(Acted::Now))
}

/// The job that made this message or batch, as far as it is kept.
async fn made_by(tx: &mut Tx<'_>, id: &str) -> Result<Option<JobId>, sqlx::Error> {
    let made: Option<Vec<u8>> = sqlx::query_scalar(
        "select id from job where message_id = ?1 and own = 0
          union all select job.id from part join job on job.seq = part.job where batch_message_id = ?1
          limit 1",
    )
    .bind(id)
    .fetch_optional(tx.conn().await?)
    .await?;
    Ok(made.and_then(|id| id.try_into().ok()).map(JobId))
}

/// The parts that a person's word is about: those in doubt, or the one that is named. An id is that of
/// one part only.
async fn parts_meant(
    tx: &mut Tx<'_>,
    seq: i64,
    part: Option<i64>,
    has_id: bool,
) -> Result<Result<Vec<i64>, String>, sqlx::Error> {
    let doubtful: Vec<i64> =
        sqlx::query_scalar("select n from part where job = ?1 and state = 'in_doubt' order by n")
            .bind(seq)
            .fetch_all(tx.conn().await?)
            .await?;
    Ok(match part {
        Some(part) if doubtful.contains(&part) => Ok(vec![part]),
        Some(part) => Err(format!(
            "its part {part} is not in doubt; in doubt: {doubtful:?}"
        )),
        None if has_id && doubtful.len() > 1 => Err(format!(
            "several of its parts are in doubt: {doubtful:?}; say which \"part\" has this id"
        )),
        None => Ok(doubtful),
    })
}

async fn settle_parts(
    tx: &mut Tx<'_>,
    subject: &Subject,
    state: State,
    id: Option<&str>,
    parts: &[i64],
) -> Result<(), sqlx::Error> {
    let error: Option<String> = (state == State::Failed)
        .then(|| json!({"class": "settled", "msg": "a person settled it as failed"}).to_string());
    sqlx::query(
        "update part set state = ?2, error = ?3, batch_message_id = coalesce(batch_message_id, ?4)
          where job = ?1 and state = 'in_doubt' and n in (select value from json_each(?5))",
    )
    .bind(subject.seq)
    .bind(state.name())
    .bind(error)
    .bind(id)
    .bind(json!(parts).to_string())
    .execute(tx.conn().await?)
    .await?;
    Ok(())
}

/// A batch that was recalled while a part was in doubt: what that part made is taken back too, and
/// if it made nothing, or nobody knows its id, the batch is recalled now.
async fn recall_late(tx: &mut Tx<'_>, seq: i64) -> Result<(), sqlx::Error> {
    let wanted: bool = sqlx::query_scalar(
        "select exists (select 1 from job where parent = ?1 and role = 'recall')",
    )
    .bind(seq)
    .fetch_one(tx.conn().await?)
    .await?;
    if wanted && !after::start_recall(tx, seq).await? {
        after::note_batch(tx, seq).await?;
    }
    Ok(())
}

/// Asks for a batch's progress now.
pub(super) async fn ask_progress(tx: &mut Tx<'_>, id: JobId) -> Result<bool, sqlx::Error> {
    let seq: Option<i64> =
        sqlx::query_scalar("select seq from job where id = ?1 and kind = 'batch_send'")
            .bind(id.0.as_slice())
            .fetch_optional(tx.conn().await?)
            .await?;
    let Some(seq) = seq else { return Ok(false) };
    after::hurry_progress(tx, seq).await
}
