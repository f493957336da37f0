//! Lane heads for the dispatcher: which lanes have a job to run, and which job stands first in each.
//!
//! Lanes are sought one after another by index, never by reading the jobs of a lane: the cost is in
//! lanes asked for, whatever the backlog.

use serde_json::json;
use sqlx::Row;
use sqlx::sqlite::SqlitePool;

use crate::job::{AppId, Head};
use crate::store::mark;

/// Where a walk over an app's lanes stands. The default is before the first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cursor(pub String);

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

/// The lanes of `app` after `cursor` that have a job of `rank`, in order of name, at most `limit`.
pub(super) async fn lanes_after(
    readers: &SqlitePool,
    app: AppId,
    rank: i64,
    cursor: &Cursor,
    limit: u32,
) -> Result<Vec<LaneHead>, sqlx::Error> {
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
    .bind(&cursor.0)
    .bind(limit)
    .fetch_all(readers)
    .await?;
    let lanes: Vec<(AppId, Box<str>)> = names
        .into_iter()
        .map(|name| (app, name.into_boxed_str()))
        .collect();
    heads(readers, &lanes).await
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
