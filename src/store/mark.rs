//! Marks due jobs: `queued → sending`, with the time of the attempt.
//!
//! Nothing leaves before its mark is committed; a mark that lost its process is an unknown outcome,
//! never a fresh job. With the marks goes the count of calls per second, so that a new process knows
//! what its windows have seen.
//! Not here: which jobs, and whether a window is free (`dispatch`).

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use feishu_im::Api;
use serde_json::json;
use sqlx::Row;
use sqlx::sqlite::{SqlitePool, SqliteRow};

use crate::job::{
    AppId, Head, JobId, Kind, Marked, MarkedPart, Moment, OnDoubt, OnRefused, Priority, Spent,
    State,
};
use crate::store::writer::Tx;
use crate::store::{act, day, pause};

/// A mark that an earlier process left without a result.
#[derive(Debug)]
pub struct Left {
    /// As it was marked.
    pub marked: Marked,
}

/// Calls begun in one second.
#[derive(Debug)]
pub struct Past {
    /// With which app.
    pub app: AppId,
    /// Which call.
    pub api: Api,
    /// Of a custom bot's call: which bot, whatever the app.
    pub bot: Option<Box<str>>,
    /// Unix seconds.
    pub second: i64,
    /// How many.
    pub calls: u32,
}

/// Columns of a marked job, in the order `marked` reads them.
macro_rules! marked_columns {
    () => {
        "seq, id, app, kind, lane, priority, run_ms, receiver, message, size, weight, verify, rank,
         unknown_ms, unknown_boot_ms, unknown_boot_id, attempt, mark_ms, mark_boot_ms, mark_boot_id,
         coalesce(args, '{}') as args, resolved, parts, on_doubt, on_refused, rung, tries, unsent, unclear, token, resent, created_ms, own, progress"
    };
}

pub(super) async fn apply(tx: &mut Tx<'_>, seqs: &[i64]) -> Result<Vec<Marked>, sqlx::Error> {
    let seqs = pause::free(tx, seqs).await?;
    if seqs.is_empty() {
        return Ok(Vec::new());
    }
    let now = tx.moment();
    let sql = concat!(
        "update job set state = 'sending', attempt = attempt + 1, mark_ms = ?2, mark_boot_ms = ?3, mark_boot_id = ?4
          where seq in (select value from json_each(?1)) and state = 'queued' and stands = 1
            and (deadline_ms is null or deadline_ms > ?2)
         returning ",
        marked_columns!()
    );
    let args = [
        json!(seqs).to_string().into(),
        now.wall_ms.into(),
        now.boot_ms.into(),
        (&*now.boot_id).into(),
    ];
    let rows = tx.fetch(sql, &args).await?;
    let marked: Vec<(Marked, bool)> = rows
        .iter()
        .filter_map(|row| Some((read(row)?, row.get::<i64, _>("parts") > 0)))
        .collect();
    for row in &rows {
        tx.count(
            AppId(row.get("app")),
            row.get::<i64, _>("own") == 1,
            Some(State::Queued),
            Some(State::Sending),
        );
    }
    let mut within = Vec::with_capacity(marked.len());
    for (job, parts) in marked {
        let head = &job.head;
        if day::spend(tx, head.app, head.kind, head.seq, head.weight).await? {
            tx.moved(head.seq);
            within.push((job, parts));
        }
    }
    let mut marked = within;
    let batches: Vec<i64> = marked
        .iter()
        .filter(|(_, parts)| *parts)
        .map(|(marked, _)| marked.head.seq)
        .collect();
    let mut parts = begin_parts(tx, &batches).await?;
    for (job, _) in &mut marked {
        if let Some((part, doubtful)) = parts.remove(&job.head.seq) {
            begin_part(job, part, doubtful);
        }
    }
    let marked: Vec<Marked> = marked.into_iter().map(|(marked, _)| marked).collect();
    count_calls(tx, &marked)?;
    Ok(marked)
}

/// A part that a person has sent again is as unknown as it was before: whatever comes of this attempt
/// speaks of it alone.
fn begin_part(job: &mut Marked, part: MarkedPart, doubtful: bool) {
    if doubtful {
        job.resent = true;
        job.head.unknown.get_or_insert_with(|| job.mark.clone());
    }
    job.part = Some(part);
}

/// The first part of each that is still to be sent is under way; with it, whether it is in doubt.
async fn begin_parts(
    tx: &mut Tx<'_>,
    jobs: &[i64],
) -> Result<HashMap<i64, (MarkedPart, bool)>, sqlx::Error> {
    if jobs.is_empty() {
        return Ok(HashMap::new());
    }
    let rows = sqlx::query(
        "update part set state = 'sending'
          where (job, n) in (select job, min(n) from part
                              where job in (select value from json_each(?1)) and state = 'queued'
                              group by job)
         returning job, n, coalesce(args, '{}'), coalesce(error ->> 'class' = 'doubt', 0)",
    )
    .bind(json!(jobs).to_string())
    .fetch_all(tx.conn().await?)
    .await?;
    Ok(rows
        .iter()
        .map(|row| {
            let part = MarkedPart {
                n: row.get(1),
                args: Arc::from(row.get::<&str, _>(2)),
            };
            (row.get(0), (part, row.get(3)))
        })
        .collect())
}

/// Adds the calls of `marked` to their second; also for jobs that were born marked.
pub(super) fn count_calls(tx: &mut Tx<'_>, marked: &[Marked]) -> Result<(), sqlx::Error> {
    let second = tx.now.wall_ms.div_euclid(1000);
    let mut calls: BTreeMap<(AppId, Cow<'static, str>), i64> = BTreeMap::new();
    for job in marked {
        let call = counted_as(&job.head);
        *calls.entry((job.head.app, call)).or_default() += 1;
    }
    if calls.is_empty() {
        return Ok(());
    }
    let rows: Vec<_> = calls
        .iter()
        .map(|((app, api), calls)| json!([app.0, api, second, calls]))
        .collect();
    tx.put(
        "insert into call_second (app, api, second, calls)
         select value ->> 0, value ->> 1, value ->> 2, value ->> 3 from json_each(?1) where true
         on conflict (second, app, api) do update set calls = calls + excluded.calls",
        &[json!(rows).to_string().into()],
    )?;
    Ok(())
}

/// The column `api`: the name of the call; of a custom bot's, whose windows are its own, with the bot behind it.
fn counted_as(head: &Head) -> Cow<'static, str> {
    let name = head.api().name();
    match (head.api(), head.receiver.as_deref()) {
        (Api::Webhook, Some(bot)) => Cow::Owned(format!("{name}:{bot}")),
        _ => Cow::Borrowed(name),
    }
}

/// Takes marks back whose attempts never began.
pub(super) async fn take_back(tx: &mut Tx<'_>, marks: &[(i64, i64)]) -> Result<(), sqlx::Error> {
    for (seq, attempt) in marks {
        let row = sqlx::query(
            "update job set state = 'queued', attempt = attempt - 1
              where seq = ?1 and state = 'sending' and attempt = ?2
             returning *",
        )
        .bind(seq)
        .bind(attempt)
        .fetch_optional(tx.conn().await?)
        .await?;
        let Some(row) = row else { continue };
        day::taken_back(tx, &row).await?;
        sqlx::query("update part set state = 'queued' where job = ?1 and state = 'sending'")
            .bind(seq)
            .execute(tx.conn().await?)
            .await?;
        tx.moved(*seq);
        tx.changes.incidents.job_again(&row);
        tx.count(
            AppId(row.get("app")),
            row.get::<i64, _>("own") == 1,
            Some(State::Sending),
            Some(State::Queued),
        );
        if row.get::<Option<&str>, _>("wish").is_some() {
            act::recall_unsent(tx, &row).await?;
        } else if let Some(head) = head(&row).filter(|head| head.kind.folds()) {
            // A newer update may have come to stand meanwhile.
            tx.changes.stood.push(head);
        }
    }
    Ok(())
}

/// Marks without a result. Nobody else reads them: this is asked before the dispatcher starts.
pub(super) async fn left(readers: &SqlitePool) -> Result<Vec<Left>, sqlx::Error> {
    let rows = sqlx::query(concat!(
        "select ",
        marked_columns!(),
        // Named: for the order SQLite would go through the whole table.
        " from job indexed by job_sending where state = 'sending' order by seq limit 1000"
    ))
    .fetch_all(readers)
    .await?;
    let mut left = Vec::with_capacity(rows.len());
    for row in &rows {
        let Some(mut marked) = read(row) else {
            continue;
        };
        if row.get::<i64, _>("parts") > 0 {
            let part = sqlx::query(
                "select n, coalesce(args, '{}'), coalesce(error ->> 'class' = 'doubt', 0)
                   from part where job = ?1 and state = 'sending'",
            )
            .bind(marked.head.seq)
            .fetch_optional(readers)
            .await?;
            if let Some(row) = part {
                let part = MarkedPart {
                    n: row.get(0),
                    args: Arc::from(row.get::<&str, _>(1)),
                };
                begin_part(&mut marked, part, row.get(2));
            }
        }
        left.push(Left { marked });
    }
    Ok(left)
}

pub(super) async fn past(readers: &SqlitePool, since_ms: i64) -> Result<Vec<Past>, sqlx::Error> {
    let rows = sqlx::query(
        "select app, api, second, calls from call_second where second >= ?1 order by second",
    )
    .bind(since_ms.div_euclid(1000))
    .fetch_all(readers)
    .await?;
    Ok(rows
        .iter()
        .filter_map(|row| {
            let call: &str = row.get(1);
            let (name, bot) = match call.split_once(':') {
                Some((name, bot)) => (name, Some(bot)),
                None => (call, None),
            };
            Some(Past {
                app: AppId(row.get(0)),
                api: Api::from_name(name)?,
                bot: bot.map(Into::into),
                second: row.get(2),
                calls: row.get::<i64, _>(3).try_into().unwrap_or(u32::MAX),
            })
        })
        .collect())
}

/// `None`: a row of a kind that this binary does not know.
fn read(row: &SqliteRow) -> Option<Marked> {
    let small = |name: &str| u32::try_from(row.get::<i64, _>(name)).unwrap_or(u32::MAX);
    Some(Marked {
        head: head(row)?,
        id: JobId(row.get::<Vec<u8>, _>("id").try_into().ok()?),
        attempt: row.get("attempt"),
        mark: Moment {
            wall_ms: row.get("mark_ms"),
            boot_ms: row.get::<Option<i64>, _>("mark_boot_ms").unwrap_or(0),
            boot_id: Arc::from(
                row.get::<Option<&str>, _>("mark_boot_id")
                    .unwrap_or_default(),
            ),
        },
        args: Arc::from(row.get::<&str, _>("args")),
        resolved: row.get::<Option<&str>, _>("resolved").map(Arc::from),
        part: None,
        on_doubt: OnDoubt::from_name(row.get("on_doubt")).unwrap_or(OnDoubt::Hold),
        on_refused: OnRefused::from_name(row.get("on_refused")).unwrap_or(OnRefused::Fail),
        rung: rung(row),
        spent: Spent {
            tries: small("tries"),
            unsent: small("unsent"),
            unclear: small("unclear"),
            token: small("token"),
        },
        resent: row.get::<i64, _>("resent") != 0,
        created_ms: row.get("created_ms"),
        progress: row.get::<Option<&str>, _>("progress").map(Arc::from),
    })
}

/// How far down the ladder the card of a row is.
pub(super) fn rung(row: &SqliteRow) -> u8 {
    u8::try_from(row.get::<i64, _>("rung")).unwrap_or(0)
}

/// Reads what every row of a lane head has.
pub(super) fn head(row: &SqliteRow) -> Option<Head> {
    let unknown_ms: Option<i64> = row.get("unknown_ms");
    let kind = Kind::from_name(row.get("kind"))?;
    let tried = row.get::<i64, _>("rank") == 0;
    Some(Head {
        seq: row.get("seq"),
        app: AppId(row.get("app")),
        lane: row.get::<&str, _>("lane").into(),
        kind,
        verify: row.get::<i64, _>("verify") != 0,
        priority: Priority::from_rank(row.get("priority")),
        tried,
        due_ms: row.get("run_ms"),
        // A question of the relay's own is put again and again, and each time is a new one.
        since_ms: match tried && kind.is_public() {
            true => row.get("created_ms"),
            false => row.get("run_ms"),
        },
        receiver: row.get::<Option<&str>, _>("receiver").map(Into::into),
        message: row.get::<Option<&str>, _>("message").map(Into::into),
        size: row.get::<i64, _>("size").try_into().unwrap_or(u32::MAX),
        weight: row.get::<i64, _>("weight").try_into().unwrap_or(u32::MAX),
        unknown: unknown_ms.map(|wall_ms| Moment {
            wall_ms,
            boot_ms: row.get::<Option<i64>, _>("unknown_boot_ms").unwrap_or(0),
            boot_id: Arc::from(
                row.get::<Option<&str>, _>("unknown_boot_id")
                    .unwrap_or_default(),
            ),
        }),
    })
}
