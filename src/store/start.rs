//! What the writer must know before its first request, and the rows that every database has.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use sqlx::Row;
use sqlx::sqlite::SqliteConnection;

use crate::job::{AppId, JobId, State};
use crate::store::counter::{NO_APP, SETTLED};
use crate::store::writer::{Memory, Seams};
use crate::store::{pause, tokens};

/// Small rows only: nothing is counted or scanned.
pub(super) async fn known(
    conn: &mut SqliteConnection,
    names: &[String],
    seams: &Seams,
) -> Result<(Memory, Vec<(AppId, String)>), sqlx::Error> {
    let mut apps = Vec::with_capacity(names.len());
    for name in names {
        sqlx::query("insert into app (name) values (?1) on conflict (name) do nothing")
            .bind(name)
            .execute(&mut *conn)
            .await?;
        let id: i64 = sqlx::query_scalar("select id from app where name = ?1")
            .bind(name)
            .fetch_one(&mut *conn)
            .await?;
        apps.push((AppId(id), name.clone()));
    }
    sqlx::query("delete from pause where by = 'fault'")
        .execute(&mut *conn)
        .await?;
    let next_seq: i64 = sqlx::query_scalar("select coalesce(max(seq), 0) from job")
        .fetch_one(&mut *conn)
        .await?;
    let kept: Option<String> = sqlx::query_scalar("select value from meta where name = 'last_seq'")
        .fetch_optional(&mut *conn)
        .await?;
    let next_seq = next_seq.max(kept.and_then(|seq| seq.parse().ok()).unwrap_or(0));
    let last: Option<Vec<u8>> = sqlx::query_scalar("select max(id) from job")
        .fetch_one(&mut *conn)
        .await?;
    let last_id_ms = last
        .and_then(|id| <[u8; 16]>::try_from(id).ok())
        .map_or(0, |id| JobId(id).ms() + 1);
    let purged: Option<String> =
        sqlx::query_scalar("select value from meta where name = 'purged_ms'")
            .fetch_optional(&mut *conn)
            .await?;
    seams.purged_ms.store(
        purged.and_then(|ms| ms.parse().ok()).unwrap_or(0),
        Ordering::Relaxed,
    );
    sqlx::query(
        "insert into meta (name, value) values ('events_epoch', lower(hex(randomblob(4))))
         on conflict (name) do nothing",
    )
    .execute(&mut *conn)
    .await?;
    tokens::make_key(&mut *conn).await?;
    let (mut counts, mut settled) = (BTreeMap::new(), 0);
    for row in sqlx::query("select app, name, value from counter")
        .fetch_all(&mut *conn)
        .await?
    {
        let (app, name, value): (i64, String, i64) = (row.get(0), row.get(1), row.get(2));
        let own = name.starts_with("own:");
        if name == SETTLED {
            settled = value;
        }
        if let Some(state) = State::from_name(name.trim_start_matches("own:")) {
            counts.insert((AppId(app), own, state), value);
        }
    }
    // The counter is ahead where a number is not in use any more, the rows where it was counted anew.
    let newest: Option<i64> = sqlx::query_scalar(
        "select settle_seq from job where settle_seq is not null order by settle_seq desc limit 1",
    )
    .fetch_optional(&mut *conn)
    .await?;
    let settled = settled.max(newest.unwrap_or(0));
    sqlx::query(
        "insert into counter (app, name, value) values (?1, ?2, ?3)
         on conflict (app, name) do update set value = excluded.value",
    )
    .bind(NO_APP)
    .bind(SETTLED)
    .bind(settled)
    .execute(&mut *conn)
    .await?;
    seams.hub.begin(settled);
    Ok((
        Memory {
            next_seq,
            settled,
            last_id_ms,
            last_id_count: 0,
            counts,
            paused: pause::count(&mut *conn).await?,
            swept_ms: i64::MAX,
        },
        apps,
    ))
}
