//! To whom messages went that a request names: a bubble stands in the lane of its message's receiver.

use std::collections::HashMap;

use serde_json::json;
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use crate::job::{AppId, LaneRule, NewJob};
use crate::store::writer::Tx;

/// To whom the messages went whose receiver gives a job its lane.
pub(super) async fn of(
    tx: &mut Tx<'_>,
    requests: &[&[NewJob]],
) -> Result<HashMap<(AppId, String), String>, sqlx::Error> {
    fn named<'a>(job: &'a NewJob, ids: &mut Vec<&'a str>) {
        let goes_with_it = job.kind.lane() == LaneRule::MessageReceiver;
        ids.extend(job.to.as_deref().filter(|_| goes_with_it));
        job.then.iter().for_each(|child| named(child, ids));
    }
    let mut ids = Vec::new();
    requests
        .iter()
        .flat_map(|jobs| jobs.iter())
        .for_each(|job| named(job, &mut ids));
    if ids.is_empty() {
        return Ok(HashMap::new());
    }
    let rows = sqlx::query(
        "select app, message_id, receiver from job
          where message_id in (select value from json_each(?1)) and receiver is not null",
    )
    .bind(json!(ids).to_string())
    .fetch_all(tx.conn().await?)
    .await?;
    let found = |row: &SqliteRow| ((AppId(row.get(0)), row.get(1)), row.get(2));
    Ok(rows.iter().map(found).collect())
}
