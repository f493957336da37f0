//! Who has a producer's key.

use std::collections::HashMap;

use serde_json::{Value, json};
use sqlx::Row;

use crate::job::{AppId, JobId, NewJob};
use crate::store::writer::Tx;

/// Where a key stands: an app, a client, the key itself.
pub(super) type Place = (AppId, String, String);
/// Who has it, and the hash of what was asked with it.
pub(super) type Holder = (JobId, [u8; 32]);
pub(super) type Holders = HashMap<Place, Holder>;

/// Who has the keys that `requests` name.
pub(super) async fn holders(
    tx: &mut Tx<'_>,
    requests: &[&[NewJob]],
) -> Result<Holders, sqlx::Error> {
    let wanted: Vec<Value> = requests
        .iter()
        .flat_map(|jobs| jobs.iter())
        .filter_map(|job| {
            Some(json!([
                tx.app_id(&job.app)?.0,
                job.client,
                job.key.as_ref()?.text
            ]))
        })
        .collect();
    if wanted.is_empty() {
        return Ok(Holders::new());
    }
    let rows = sqlx::query(
        "select job.app, job.client, job.key, job.id, job.key_hash
           from json_each(?1) wanted
           join job on job.app = wanted.value ->> 0 and job.client = wanted.value ->> 1 and job.key = wanted.value ->> 2
          where job.key is not null",
    )
    .bind(Value::Array(wanted).to_string())
    .fetch_all(tx.conn().await?)
    .await?;
    Ok(rows
        .into_iter()
        .filter_map(|row| {
            let id = JobId(row.get::<Vec<u8>, _>(3).try_into().ok()?);
            let hash = row.get::<Vec<u8>, _>(4).try_into().ok()?;
            Some(((AppId(row.get(0)), row.get(1), row.get(2)), (id, hash)))
        })
        .collect())
}
