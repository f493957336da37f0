//! Updates of one message: of those that were not tried yet only the newest stands in its lane.
//!
//! An edit or a card update that comes to stand parks the older ones of its message; they stand in no
//! lane and cost nothing until it ends. Done, it carried them: they are done with it, and their content
//! goes at once. Refused, canceled or expired, the next older stands up. In doubt, they stay as they
//! are. Whether one is the newest is one look into an index, however many wait.
//! Not here: what becomes of an update whose outcome is unknown (`dispatch::judge`).

use std::collections::BTreeMap;

use serde_json::json;
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use crate::job::{AppId, Head, JobId, Kind, State};
use crate::store::writer::Tx;
use crate::store::{dependents, finish, mark};

/// Carried jobs that are ended in one batch; the rest follows with the sweeps.
const ROWS: i64 = 1000;

/// The updates among which that job is one; `None`: it is no update, or its message is not known.
pub(super) fn group(kind: Kind, message: Option<&str>) -> Option<String> {
    let message = message.filter(|_| kind.folds())?;
    Some(format!("{} {message}", kind.name()))
}

fn group_of(head: &Head) -> Option<(AppId, String)> {
    Some((head.app, group(head.kind, head.message.as_deref())?))
}

/// Which of `heads`, all new, a newer one among them makes needless, by their numbers.
pub(super) fn newest<'a>(heads: impl Iterator<Item = &'a Head>) -> BTreeMap<(AppId, String), i64> {
    let mut newest = BTreeMap::new();
    for head in heads {
        if let Some(group) = group_of(head) {
            let seq = newest.entry(group).or_insert(head.seq);
            *seq = head.seq.max(*seq);
        }
    }
    newest
}

/// Is it an update that a newer one of `newest` carries?
pub(super) fn is_older(newest: &BTreeMap<(AppId, String), i64>, head: &Head) -> bool {
    let group = group_of(head);
    let seq = group.and_then(|group| newest.get(&group));
    seq.is_some_and(|newest| head.seq < *newest)
}

/// Parks, of the updates that came to stand in this batch, those that have a newer one, and those that
/// stood before a new one.
pub(super) async fn stood(tx: &mut Tx<'_>) -> Result<(), sqlx::Error> {
    let mut groups: BTreeMap<(AppId, String), Vec<i64>> = BTreeMap::new();
    for head in tx.changes.stood.iter().filter(|head| !head.tried) {
        if let Some(group) = group_of(head) {
            groups.entry(group).or_default().push(head.seq);
        }
    }
    let mut parked = Vec::new();
    for ((app, fold), seqs) in groups {
        sqlx::query("update job set fold = ?2 where seq in (select value from json_each(?1)) and fold is not ?2")
            .bind(json!(seqs).to_string())
            .bind(&fold)
            .execute(tx.conn().await?)
            .await?;
        // Whoever was tried keeps the head of the lane; whoever may have been done is no one's to end.
        let older: Vec<i64> = sqlx::query_scalar(
            "update job set parked = 1, stands = 0
              where app = ?1 and fold = ?2 and state = 'queued' and parked = 0 and stands = 1
                and rank <> 0 and unknown_ms is null
                and seq < (select max(seq) from job where app = ?1 and fold = ?2 and fold is not null
                                                      and finished_ms is null)
             returning seq",
        )
        .bind(app.0)
        .bind(&fold)
        .fetch_all(tx.conn().await?)
        .await?;
        parked.extend(older);
    }
    if !parked.is_empty() {
        parked.sort_unstable();
        let stands = |head: &Head| parked.binary_search(&head.seq).is_err();
        tx.changes.stood.retain(stands);
    }
    Ok(())
}

/// The job of `row` ended: those that it carried end with it, or the next older goes.
pub(super) async fn ended(
    tx: &mut Tx<'_>,
    row: &SqliteRow,
    state: State,
) -> Result<(), sqlx::Error> {
    let fold: Option<String> = row.get("fold");
    let Some(fold) = fold else { return Ok(()) };
    let app = AppId(row.get("app"));
    match state {
        State::Done => {
            let full = carry(tx, app, &fold, row.get("seq")).await?;
            if full {
                go_on_later(tx, app, &fold, row.get("seq")).await?;
            }
            Ok(())
        }
        State::Failed | State::Expired | State::Canceled => stand_up(tx, app, &fold).await,
        State::Queued | State::Sending | State::InDoubt => Ok(()),
    }
}

/// The newest that is left stands, if it is parked: else it goes anyway, or a person decides.
async fn stand_up(tx: &mut Tx<'_>, app: AppId, fold: &str) -> Result<(), sqlx::Error> {
    let row = sqlx::query(
        "update job set parked = 0, stands = 1
          where seq = (select max(seq) from job where app = ?1 and fold = ?2 and fold is not null
                                                  and finished_ms is null)
            and parked = 1 and state = 'queued'
            and not exists (select 1 from folding
                             where folding.app = ?1 and folding.fold = ?2 and folding.seq > job.seq)
         returning *",
    )
    .bind(app.0)
    .bind(fold)
    .fetch_optional(tx.conn().await?)
    .await?;
    let Some(row) = row else { return Ok(()) };
    dependents::touch(tx, &row);
    tx.changes.stood.extend(mark::head(&row));
    Ok(())
}

/// Ends parked jobs of the group that are older than `carrier`, the oldest first. `true`: there may be more.
async fn carry(tx: &mut Tx<'_>, app: AppId, fold: &str, carrier: i64) -> Result<bool, sqlx::Error> {
    let seqs: Vec<i64> = sqlx::query_scalar(
        "select seq from job
          where app = ?1 and fold = ?2 and fold is not null and finished_ms is null
            and seq < ?3 and parked = 1 and state = 'queued'
          order by seq limit ?4",
    )
    .bind(app.0)
    .bind(fold)
    .bind(carrier)
    .bind(ROWS)
    .fetch_all(tx.conn().await?)
    .await?;
    if seqs.is_empty() {
        return Ok(false);
    }
    let id: Vec<u8> = sqlx::query_scalar("select id from job where seq = ?1")
        .bind(carrier)
        .fetch_one(tx.conn().await?)
        .await?;
    let id = JobId(id.try_into().unwrap_or_default());
    let list: Vec<_> = seqs
        .iter()
        .map(|seq| json!([seq, tx.settle_seq()]))
        .collect();
    let mut rows = sqlx::query(
        "update job set state = 'done', finished_ms = ?2, settle_seq = given.settle_seq, parked = 0,
                        receipt = ?3, error = null, args = null, resolved = null
           from (select value ->> 0 as seq, value ->> 1 as settle_seq from json_each(?1)) given
          where job.seq = given.seq and job.state = 'queued' and job.parked = 1
         returning *",
    )
    .bind(json!(list).to_string())
    .bind(tx.now.wall_ms)
    .bind(json!({"folded_into": id.to_string()}).to_string())
    .fetch_all(tx.conn().await?)
    .await?;
    rows.sort_by_key(|row| row.get::<i64, _>("settle_seq"));
    for row in &rows {
        tx.moved(row.get("seq"));
        tx.count(app, false, Some(State::Queued), Some(State::Done));
        tx.ended(row, State::Done);
        dependents::touch(tx, row);
        finish::free_dependents(tx, row, State::Done).await?;
    }
    Ok(seqs.len() as i64 == ROWS)
}

async fn go_on_later(
    tx: &mut Tx<'_>,
    app: AppId,
    fold: &str,
    carrier: i64,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "insert into folding (app, fold, seq) values (?1, ?2, ?3)
         on conflict (app, fold) do update set seq = max(seq, excluded.seq)",
    )
    .bind(app.0)
    .bind(fold)
    .bind(carrier)
    .execute(tx.conn().await?)
    .await?;
    Ok(())
}

/// Ends more of what was carried. `true`: there is more.
pub(super) async fn go_on(tx: &mut Tx<'_>) -> Result<bool, sqlx::Error> {
    let row = sqlx::query("select app, fold, seq from folding limit 1")
        .fetch_optional(tx.conn().await?)
        .await?;
    let Some(row) = row else { return Ok(false) };
    let (app, fold, carrier): (AppId, String, i64) = (AppId(row.get(0)), row.get(1), row.get(2));
    if !carry(tx, app, &fold, carrier).await? {
        sqlx::query("delete from folding where app = ?1 and fold = ?2")
            .bind(app.0)
            .bind(&fold)
            .execute(tx.conn().await?)
            .await?;
    }
    Ok(true)
}
