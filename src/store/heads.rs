//! Lane heads for the dispatcher: which lanes have a job to run, and which job stands first in each.
//!
//! Lanes are sought one after another by index, never by reading the jobs of a lane: the cost is in
//! lanes asked for, whatever the backlog. Where there are many lanes with few jobs each, their jobs are also read in
//! the order in which they were accepted, which is that of the table: neighbours lie on one page then, and so do the
//! marks and results of those that leave together.

use std::collections::HashSet;

use serde_json::json;
use sqlx::Row;
use sqlx::sqlite::SqlitePool;

use crate::job::{AppId, Head};
use crate::store::mark;

/// Where a walk over an app's lanes stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cursor {
    /// Lanes in the order of their names, behind this one. All lanes with a job are met so.
    Name(String),
    /// Lanes of jobs in the order of their deadlines, behind this one. A job without a deadline is not met so.
    Age(Age),
}

/// Before the first name.
impl Default for Cursor {
    fn default() -> Cursor {
        Cursor::Name(String::new())
    }
}

/// A job's place in the order of deadlines; most have the same time, so that is the order of acceptance. The
/// default is before the first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Age {
    /// Its deadline, Unix milliseconds.
    pub deadline_ms: i64,
    /// Its number.
    pub seq: i64,
}

/// A piece of a walk.
#[derive(Clone, Debug, Default)]
pub struct Piece {
    /// The lanes in it; none twice.
    pub lanes: Vec<LaneHead>,
    /// Where the next one begins; `None`: this was the last.
    pub next: Option<Cursor>,
}

/// A lane and the job that stands first in it; `other`: the oldest of a lower priority.
#[derive(Clone, Debug)]
pub struct LaneHead {
    /// Its app.
    pub app: AppId,
    /// Its name.
    pub lane: Box<str>,
    /// Who is first; `None`: nobody stands there any more.
    pub head: Option<Head>,
    /// The oldest job behind it of a lower priority.
    pub other: Option<Head>,
}

/// The lanes of `app` after `cursor` that have a job of `rank`, at most `limit`, or those of as many jobs.
pub(super) async fn lanes_after(
    readers: &SqlitePool,
    app: AppId,
    rank: i64,
    cursor: &Cursor,
    limit: u32,
) -> Result<Piece, sqlx::Error> {
    let (names, next) = match cursor {
        Cursor::Name(name) => by_name(readers, app, rank, name, limit).await?,
        Cursor::Age(age) => by_age(readers, app, rank, *age, limit).await?,
    };
    let lanes: Vec<(AppId, Box<str>)> = names
        .into_iter()
        .map(|name| (app, name.into_boxed_str()))
        .collect();
    let lanes = heads(readers, &lanes).await?;
    Ok(Piece { lanes, next })
}

async fn by_name(
    readers: &SqlitePool,
    app: AppId,
    rank: i64,
    after: &str,
    limit: u32,
) -> Result<(Vec<String>, Option<Cursor>), sqlx::Error> {
    let names: Vec<String> = sqlx::query_scalar(
        "with recursive lanes (lane) as (
             select min(lane) from job
              where state = 'queued' and stands = 1 and app = ?1 and rank = ?2 and lane > ?3
             union all
             select (select min(lane) from job
                      where state = 'queued' and stands = 1 and app = ?1 and rank = ?2 and lane > lanes.lane)
               from lanes where lanes.lane is not null limit ?4
         )
         select lane from lanes where lane is not null",
    )
    .bind(app.0)
    .bind(rank)
    .bind(after)
    .bind(limit)
    .fetch_all(readers)
    .await?;
    let last = names.last().filter(|_| names.len() >= limit as usize);
    let next = last.map(|last| Cursor::Name(last.clone()));
    Ok((names, next))
}

/// Jobs of other apps and ranks are read past: whoever finds too few this way goes by name.
async fn by_age(
    readers: &SqlitePool,
    app: AppId,
    rank: i64,
    after: Age,
    limit: u32,
) -> Result<(Vec<String>, Option<Cursor>), sqlx::Error> {
    // Of those with the same deadline first, by a seek of its own: as one range SQLite would go through all of them,
    // and a list may have a hundred thousand.
    let mut rows = sqlx::query(
        "select deadline_ms, seq, app, rank, stands, lane from job
          where state = 'queued' and deadline_ms is not null and deadline_ms = ?1 and seq > ?2
          order by seq limit ?3",
    )
    .bind(after.deadline_ms)
    .bind(after.seq)
    .bind(limit)
    .fetch_all(readers)
    .await?;
    let left = limit as usize - rows.len().min(limit as usize);
    if left > 0 {
        let later = sqlx::query(
            "select deadline_ms, seq, app, rank, stands, lane from job
              where state = 'queued' and deadline_ms is not null and deadline_ms > ?1
              order by deadline_ms, seq limit ?2",
        )
        .bind(after.deadline_ms)
        .bind(left as i64)
        .fetch_all(readers)
        .await?;
        rows.extend(later);
    }
    let last = rows.last().filter(|_| rows.len() >= limit as usize);
    let next = last.map(|row| {
        Cursor::Age(Age {
            deadline_ms: row.get(0),
            seq: row.get(1),
        })
    });
    let mut met = HashSet::new();
    let wanted = rows
        .iter()
        .filter(|row| row.get::<i64, _>(2) == app.0 && row.get::<i64, _>(3) == rank)
        .filter(|row| row.get::<i64, _>(4) == 1)
        .map(|row| row.get::<&str, _>(5));
    let names = wanted.filter(|lane| met.insert(*lane)).map(str::to_owned);
    Ok((names.collect(), next))
}

/// Who stands first in each of `lanes`, and behind it the oldest of a lower priority.
pub(super) async fn heads(
    readers: &SqlitePool,
    lanes: &[(AppId, Box<str>)],
) -> Result<Vec<LaneHead>, sqlx::Error> {
    if lanes.is_empty() {
        return Ok(Vec::new());
    }
    let wanted: Vec<_> = lanes
        .iter()
        .map(|(app, lane)| json!([app.0, lane]))
        .collect();
    // For each lane and each rank the first job: an index seek each.
    let rows = sqlx::query(
        "select wanted.key as place, job.seq, job.app, job.kind, job.lane, job.priority, job.run_ms, job.receiver, job.message,
                job.size, job.weight, job.verify, job.rank, job.unknown_ms, job.unknown_boot_ms, job.unknown_boot_id, job.created_ms
           from json_each(?1) wanted
           cross join (select 0 as rank union all select 1 union all select 2 union all select 3) ranks
           cross join job on job.seq = (select seq from job inside
                                         where inside.state = 'queued' and inside.stands = 1
                                           and inside.app = wanted.value ->> 0 and inside.rank = ranks.rank
                                           and inside.lane = wanted.value ->> 1
                                         order by inside.seq limit 1)",
    )
    .bind(json!(wanted).to_string())
    .fetch_all(readers)
    .await?;
    let mut found: Vec<LaneHead> = lanes
        .iter()
        .map(|(app, lane)| LaneHead {
            app: *app,
            lane: lane.clone(),
            head: None,
            other: None,
        })
        .collect();
    for row in &rows {
        let Some(head) = mark::head(row) else {
            continue;
        };
        let place = usize::try_from(row.get::<i64, _>("place")).unwrap_or(usize::MAX);
        if let Some(lane) = found.get_mut(place) {
            put(lane, head);
        }
    }
    Ok(found)
}

fn put(lane: &mut LaneHead, new: Head) {
    let behind = match lane.head.take() {
        None => {
            lane.head = Some(new);
            return;
        }
        Some(old) if new.order() < old.order() => {
            lane.head = Some(new);
            old
        }
        Some(old) => {
            lane.head = Some(old);
            new
        }
    };
    if lane
        .other
        .as_ref()
        .is_none_or(|other| behind.seq < other.seq)
    {
        lane.other = Some(behind);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::plans::road::{Yard, job, send};

    #[tokio::test]
    async fn lanes_are_found_by_name_and_by_the_age_of_their_jobs() {
        let yard = Yard::open().await;
        // The first lanes by name have the newest jobs; one has two.
        for to in [9, 7, 7, 5, 3, 1] {
            yard.store.accept(vec![job(&send(to, 9))]).await.unwrap();
        }
        let mut high = send(8, 9);
        high["priority"] = "high".into();
        yard.store.accept(vec![job(&high)]).await.unwrap();
        let app = yard.store.apps()[0].0;
        for (mut cursor, pieces) in [
            (Cursor::default(), [vec![6, 5, 4], vec![2, 1]]),
            (Cursor::Age(Age::default()), [vec![1, 2], vec![4, 5, 6]]),
        ] {
            for (at, seqs) in pieces.iter().enumerate() {
                let piece = yard.store.lanes_after(app, 2, &cursor, 3).await.unwrap();
                let heads = piece.lanes.iter().map(|lane| lane.head.as_ref().unwrap());
                let found: Vec<i64> = heads.map(|head| head.seq).collect();
                assert_eq!(found, *seqs, "{cursor:?}");
                // By age the piece is full of jobs, though two are of one lane; by name the last one is not.
                let is_last = at == 1 && matches!(cursor, Cursor::Name(_));
                assert_eq!(piece.next.is_none(), is_last, "{cursor:?}");
                cursor = piece.next.unwrap_or_default();
            }
        }
        // The seventh is of another rank.
        yard.close().await;
    }
}
