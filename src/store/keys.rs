//! Keys that Feishu gave for bytes: used again while it takes them, forgotten when it says that it knows
//! them no more.
//!
//! A message that was refused for such a key goes on once with a new upload of the same bytes: only if
//! Feishu refused it outright, never after an attempt whose outcome is unknown, and under a `uuid` of its
//! own (`resolved.renewed`), because another key is other content.
//! Not here: the bytes (`upload`).

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use crate::job::values::{self, RENEWED};
use crate::job::{AppId, JobId, Kind};
use crate::store::finish::{End, Finish};
use crate::store::insert::{self, NewRow};
use crate::store::writer::Tx;
use crate::store::{Store, StoreError, upload};

/// In the receipt of an upload that was not made because the key was known: who made it.
const REUSED: &str = "reused_from";

fn field(kind: Kind) -> Option<&'static str> {
    match kind {
        Kind::UploadImage => Some("image_key"),
        Kind::UploadFile => Some("file_key"),
        _ => None,
    }
}

/// What an upload brings, hashed: its bytes and all that Feishu keeps of them. An image has no name there.
fn what(kind: Kind, args: &str) -> Option<Vec<u8>> {
    let args: Map<String, Value> = serde_json::from_str(args).ok()?;
    let fields: &[&str] = match kind {
        Kind::UploadImage => &["image_type"],
        Kind::UploadFile => &["file_type", "file_name"],
        _ => return None,
    };
    let mut all = vec![kind.name(), args.get("sha256")?.as_str()?];
    for field in fields {
        all.push(args.get(*field)?.as_str()?);
    }
    let duration = args.get("duration").map(Value::to_string);
    all.extend(duration.as_deref());
    Some(Sha256::digest(json!(all).to_string()).to_vec())
}

impl Store {
    /// What an upload of the same bytes by the same app was given, unless Feishu has refused it since: a
    /// receipt that names the job that made it.
    ///
    /// # Errors
    /// The file cannot answer.
    pub async fn known_key(
        &self,
        app: AppId,
        kind: Kind,
        args: &str,
    ) -> Result<Option<String>, StoreError> {
        let (Some(field), Some(what)) = (field(kind), what(kind, args)) else {
            return Ok(None);
        };
        let row = sqlx::query("select key, job from upload_key where app = ?1 and what = ?2")
            .bind(app.0)
            .bind(what)
            .fetch_optional(&self.shared.readers)
            .await
            .map_err(self.failed())?;
        Ok(row.and_then(|row| {
            let by = JobId(row.get::<Vec<u8>, _>(1).try_into().ok()?);
            let key: String = row.get(0);
            Some(json!({field: key, REUSED: by}).to_string())
        }))
    }
}

/// Remembers what the upload of `row`, which is done, was given.
pub(super) async fn remember(tx: &mut Tx<'_>, row: &SqliteRow) -> Result<(), sqlx::Error> {
    let kind = Kind::from_name(row.get("kind"));
    let Some((kind, field)) = kind.and_then(|kind| Some((kind, field(kind)?))) else {
        return Ok(());
    };
    let what = row
        .get::<Option<&str>, _>("args")
        .and_then(|args| what(kind, args));
    let receipt: Value = row
        .get::<Option<&str>, _>("receipt")
        .and_then(|text| serde_json::from_str(text).ok())
        .unwrap_or_default();
    let (Some(what), Some(key), None) = (what, receipt[field].as_str(), receipt.get(REUSED)) else {
        return Ok(());
    };
    sqlx::query(
        "insert into upload_key (app, what, key, job, at_ms) values (?1, ?2, ?3, ?4, ?5)
         on conflict (app, what) do update set key = excluded.key, job = excluded.job, at_ms = excluded.at_ms",
    )
    .bind(row.get::<i64, _>("app"))
    .bind(what)
    .bind(key)
    .bind(row.get::<Vec<u8>, _>("id"))
    .bind(tx.now.wall_ms)
    .execute(tx.conn().await?)
    .await?;
    Ok(())
}

/// Keys of that age are dropped: the bytes go anew then.
pub(super) fn drop_old(tx: &mut Tx<'_>) -> Result<(), sqlx::Error> {
    let until = tx.now.wall_ms.saturating_sub(tx.options.retention_ms);
    tx.put("delete from upload_key where at_ms <= ?1", &[until.into()])
}

/// Does Feishu say that it does not know a key? Source: feishu/README.md (image/file keys), feishu/errors.md,
/// sections 3, 4 and 6.
fn speaks_of_a_key(end: &End) -> bool {
    let End::Failed { fault, .. } = end else {
        return false;
    };
    match fault.code {
        Some(230_017 | 234_005 | 11_227) => true,
        Some(230_001) => ["image_key", "file_key"]
            .iter()
            .any(|name| fault.msg.contains(name)),
        _ => false,
    }
}

/// Of two keys the message may name the one by its field.
fn speaks_of(end: &End, kind: &str) -> bool {
    let End::Failed { fault, .. } = end else {
        return false;
    };
    let named = |name: &str| fault.msg.contains(name);
    match Kind::from_name(kind).and_then(field) {
        Some(field) => named(field) || !(named("image_key") || named("file_key")),
        None => false,
    }
}

/// Forgets the keys that a refused message used, and has their bytes brought anew where that is safe.
/// `true`: the job goes on once they are there; whoever records it must let it wait (`wait`).
pub(super) async fn renew(tx: &mut Tx<'_>, result: &Finish) -> Result<bool, sqlx::Error> {
    if !speaks_of_a_key(&result.end) {
        return Ok(false);
    }
    let job = sqlx::query(
        "select app, args, resolved, parts, priority, expires_ms, deadline_ms, wish, unknown_ms from job
          where seq = ?1 and state = 'sending' and attempt = ?2",
    )
    .bind(result.head.seq)
    .bind(result.attempt)
    .fetch_optional(tx.conn().await?)
    .await?;
    let Some(job) = job else { return Ok(false) };
    let object = |name: &str| -> Map<String, Value> {
        let text = job.get::<Option<&str>, _>(name);
        text.and_then(|text| serde_json::from_str(text).ok())
            .unwrap_or_default()
    };
    let (mut args, mut resolved) = (object("args"), object("resolved"));
    let mut uploads = uploads(tx, &resolved).await?;
    uploads.retain(|(_, upload)| speaks_of(&result.end, upload.get("kind")));
    for (_, upload) in &uploads {
        sqlx::query(
            "delete from upload_key where app = ?1 and key in (select value from json_each(?2))",
        )
        .bind(job.get::<i64, _>("app"))
        .bind(upload.get::<String, _>("keys"))
        .execute(tx.conn().await?)
        .await?;
    }
    let doubtful = result.leaves_doubt() || job.get::<Option<i64>, _>("unknown_ms").is_some();
    let again = !uploads.is_empty()
        && !doubtful
        && job.get::<i64, _>("parts") == 0
        && job.get::<Option<&str>, _>("wish").is_none()
        && !resolved.contains_key(RENEWED)
        && !args.contains_key("openapi")
        && uploads
            .iter()
            .all(|(_, upload)| upload.get::<bool, _>("there"));
    if !again {
        return Ok(false);
    }
    for (name, upload) in &uploads {
        // An image that the job names as a whole stands under its role, too.
        let key = resolved.remove(name);
        let role = match key.is_some() && resolved.get("image") == key.as_ref() {
            true => "image",
            false => "value",
        };
        if role == "image" {
            resolved.remove(role);
        }
        let id = bring(tx, result, &job, upload, role).await?;
        let instead = Map::from_iter([(name.clone(), json!(id))]);
        values::put(&mut args, &instead);
    }
    tracing::info!(
        code = result.record.code,
        "Feishu does not know a key any more; its bytes are brought anew"
    );
    resolved.insert(RENEWED.into(), json!(1));
    sqlx::query("update job set args = ?2, resolved = ?3 where seq = ?1")
        .bind(result.head.seq)
        .bind(Value::Object(args).to_string())
        .bind(Value::Object(resolved).to_string())
        .execute(tx.conn().await?)
        .await?;
    Ok(true)
}

/// The uploads whose keys stand in a job, by the name under which they do.
async fn uploads(
    tx: &mut Tx<'_>,
    resolved: &Map<String, Value>,
) -> Result<Vec<(String, SqliteRow)>, sqlx::Error> {
    let mut uploads = Vec::new();
    for name in resolved.keys() {
        let Ok(id) = name.parse::<JobId>() else {
            continue;
        };
        let row = sqlx::query(
            "select kind, args, json_array(receipt ->> 'image_key', receipt ->> 'file_key') as keys,
                    args is not null and exists (select 1 from upload where sha256 = args ->> 'sha256') as there
               from job where id = ?1 and kind in ('upload_image', 'upload_file')",
        )
        .bind(id.0.to_vec())
        .fetch_optional(tx.conn().await?)
        .await?;
        uploads.extend(row.map(|row| (name.clone(), row)));
    }
    Ok(uploads)
}

/// Another upload of the bytes of `upload`, before the job of `result`. Returns its name.
async fn bring(
    tx: &mut Tx<'_>,
    result: &Finish,
    job: &SqliteRow,
    upload: &SqliteRow,
    role: &'static str,
) -> Result<String, sqlx::Error> {
    let args: String = upload.get("args");
    let kind = Kind::from_name(upload.get("kind")).unwrap_or(Kind::UploadImage);
    let (head, now) = (&result.head, tx.now.wall_ms);
    let mut row = NewRow::own(tx, kind, head.app, head.seq, "first", now);
    row.head.priority = head.priority;
    row.head.size = 256 << 10;
    row.expires_ms = job.get("expires_ms");
    row.deadline_ms = row
        .expires_ms
        .or_else(|| Some(now.saturating_add(tx.options.give_up_ms)));
    row.dependents = 1;
    let (id, seq) = (row.id.to_string(), row.head.seq);
    let sha256: Value = serde_json::from_str(&args).unwrap_or_default();
    row.args = args;
    tx.changes.stood.push(row.head.clone());
    insert::rows(tx, &[row]).await?;
    insert::dependencies(tx, &[(seq, head.seq, role)])?;
    let sha256 = sha256["sha256"].as_str().unwrap_or_default().to_owned();
    upload::count(tx, &[sha256]).await?;
    Ok(id)
}

/// The job waits until its bytes are there again.
pub(super) async fn wait(tx: &mut Tx<'_>, seq: i64) -> Result<(), sqlx::Error> {
    sqlx::query(
        "update job set stands = 0,
                        blocked = (select count(*) from dependency where child = ?1 and open = 1)
          where seq = ?1 and state = 'queued'",
    )
    .bind(seq)
    .execute(tx.conn().await?)
    .await?;
    Ok(())
}
