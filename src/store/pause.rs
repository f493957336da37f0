//! What people paused: durable, looked at by every mark, told to the dispatcher before the answer.
//!
//! A kind is kept as the name of its call, as the relay's own pauses are. Those are written in
//! `sweep`, for people to see; these here decide.

use serde_json::json;
use sqlx::Row;
use sqlx::sqlite::{SqliteConnection, SqlitePool};

use crate::job::{AppId, Head, Kind, Reach, Steer};
use crate::store::writer::Tx;
use crate::store::{Pause, PauseError, month};

/// Pauses by hand at one time: each is held in memory, and shown.
const PAUSES_MAX: i64 = 10_000;
/// The longest reason that is kept, characters.
pub const REASON_CHARS_MAX: usize = 500;

/// The columns `app`, `lane` and `api`; what stands in none of them is not bounded by it.
fn key(reach: &Reach) -> (i64, &str, &'static str) {
    (
        reach.app.map_or(0, |app| app.0),
        reach.lane.as_deref().unwrap_or(""),
        reach.kind.map_or("", |kind| kind.api().name()),
    )
}

/// How many there are: what the writer knows of them without asking.
pub(super) async fn count(conn: &mut SqliteConnection) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar("select count(*) from pause where by = 'hand'")
        .fetch_one(conn)
        .await
}

/// Everything that people paused, for a dispatcher that begins.
pub(super) async fn attach(tx: &mut Tx<'_>) -> Result<(), sqlx::Error> {
    let rows = sqlx::query("select app, lane, api from pause where by = 'hand'")
        .fetch_all(tx.conn().await?)
        .await?;
    for row in rows {
        let (app, lane, api): (i64, &str, &str) = (row.get(0), row.get(1), row.get(2));
        let kind = Kind::of_call(api);
        if !api.is_empty() && kind.is_none() {
            continue; // of a kind that this binary does not know, and will not send
        }
        tx.changes.steered.push(Steer::Pause(Reach {
            app: (app != 0).then_some(AppId(app)),
            lane: (!lane.is_empty()).then(|| lane.into()),
            kind,
        }));
    }
    Ok(())
}

/// Writes `steer` down. A pause that is there already keeps its time, and takes a new reason.
pub(super) async fn steer(
    tx: &mut Tx<'_>,
    steer: &Steer,
    reason: &str,
) -> Result<Result<(), PauseError>, sqlx::Error> {
    match steer {
        Steer::Pause(reach) => {
            if !begin(tx, reach, reason).await? {
                return Ok(Err(PauseError::Full));
            }
        }
        Steer::Resume(reach) => {
            let (app, lane, api) = key(reach);
            let gone = sqlx::query(
                "delete from pause
                  where by = 'hand' and ?1 in (0, app) and ?2 in ('', lane) and ?3 in ('', api)",
            )
            .bind(app)
            .bind(lane)
            .bind(api)
            .execute(tx.conn().await?)
            .await?;
            tx.memory.paused -= gone.rows_affected() as i64;
            if reach.lane.is_none() && reach.kind.is_none() {
                month::open_up(tx, reach.app).await?;
            }
        }
    }
    tx.changes.steered.push(steer.clone());
    Ok(Ok(()))
}

/// `false`: there is no room for another.
async fn begin(tx: &mut Tx<'_>, reach: &Reach, reason: &str) -> Result<bool, sqlx::Error> {
    let (app, lane, api) = key(reach);
    let there = sqlx::query(
        "update pause set reason = case when ?4 = '' then reason else ?4 end
          where by = 'hand' and app = ?1 and lane = ?2 and api = ?3",
    )
    .bind(app)
    .bind(lane)
    .bind(api)
    .bind(reason)
    .execute(tx.conn().await?)
    .await?;
    if there.rows_affected() > 0 {
        return Ok(true);
    }
    if tx.memory.paused >= PAUSES_MAX {
        return Ok(false);
    }
    sqlx::query("insert into pause (app, lane, api, by, code, reason, since_ms, probe_ms) values (?1, ?2, ?3, 'hand', null, ?4, ?5, null)")
        .bind(app)
        .bind(lane)
        .bind(api)
        .bind(reason)
        .bind(tx.now.wall_ms)
        .execute(tx.conn().await?)
        .await?;
    tx.memory.paused += 1;
    Ok(true)
}

/// Those of `seqs` that no pause by hand covers: a mark may have been on its way when somebody paused.
pub(super) async fn free(tx: &mut Tx<'_>, seqs: &[i64]) -> Result<Vec<i64>, sqlx::Error> {
    if tx.memory.paused == 0 {
        return Ok(seqs.to_vec());
    }
    let calls: serde_json::Map<_, _> = Kind::all()
        .map(|kind| (kind.name().to_owned(), json!(kind.api().name())))
        .collect();
    sqlx::query_scalar(
        "select seq from job
          where seq in (select value from json_each(?1))
            and not exists (select 1 from pause
                             where by = 'hand' and pause.app in (0, job.app) and pause.lane in ('', job.lane)
                               and api in ('', ?2 ->> job.kind))",
    )
    .bind(json!(seqs).to_string())
    .bind(serde_json::Value::Object(calls).to_string())
    .fetch_all(tx.conn().await?)
    .await
}

/// A queued job that stood in its lane ended by somebody's word or by time: whoever stands behind it
/// may be free though it was not.
pub(super) fn left(tx: &mut Tx<'_>, head: Option<Head>) {
    if tx.memory.paused > 0 {
        tx.changes
            .left
            .extend(head.map(|head| (head.app, head.lane)));
    }
}

/// What is stopped of `reach`, or of a part of it: by hand, and by the relay.
pub(super) async fn over(readers: &SqlitePool, reach: &Reach) -> Result<Vec<Pause>, sqlx::Error> {
    let (app, lane, api) = key(reach);
    let rows = sqlx::query(
        "select coalesce(app.name, ''), lane, api, by, code, reason, since_ms, probe_ms, spares
           from pause left join app on app.id = pause.app
          where (?1 = 0 or pause.app in (0, ?1)) and (?2 = '' or lane in ('', ?2)) and (?3 = '' or api in ('', ?3))
          order by app.name, lane, api",
    )
    .bind(app)
    .bind(lane)
    .bind(api)
    .fetch_all(readers)
    .await?;
    Ok(rows.iter().map(super::status::pause).collect())
}

/// Does a pause cover this job, by hand or by the relay? `spared`: the month's reserve is for it too.
pub(super) async fn covers(
    conn: &mut SqliteConnection,
    app: i64,
    lane: &str,
    kind: Kind,
    spared: bool,
) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar(
        "select exists (select 1 from pause
                         where app in (0, ?1) and lane in ('', ?2) and api in ('', ?3)
                           and not (?4 and spares = 'high'))",
    )
    .bind(app)
    .bind(lane)
    .bind(kind.api().name())
    .bind(spared)
    .fetch_one(conn)
    .await
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::clock::Clock;
    use crate::job::{Door, Priority, parse};
    use crate::store::{Budget, Closer, Cursor, Options, Store};

    async fn open(folder: &std::path::Path) -> (Store, Closer) {
        let options = Options {
            path: folder.join("relay.db"),
            max_pending: 100,
            give_up_ms: 3_600_000,
            retention_ms: 86_400_000,
            content_retention_ms: 86_400_000,
            apps: vec![String::from("ops"), String::from("hr")],
            budgets: vec![
                Budget {
                    urgent_sms: 0,
                    urgent_phone: 0,
                };
                2
            ],
            months: Vec::new(),
        };
        Store::open(options, Clock::system()).await.unwrap()
    }

    /// A message, queued, as nobody dispatches here; its number.
    async fn queued(store: &Store, app: &str, lane: &str, kind: &str) -> i64 {
        let door = Door {
            apps: vec![String::from("ops"), String::from("hr")],
            bots: Vec::new(),
            allowed_apps: None,
            allowed_kinds: None,
            client: String::new(),
            priority: Priority::Normal,
            expires_in_ms: None,
            labels: std::collections::BTreeMap::new(),
            now_ms: 0,
            arrived: Vec::new(),
        };
        let args = match kind {
            "send" => json!({"to": lane, "text": "x"}),
            _ => json!({"message": lane}),
        };
        let job = json!({"kind": kind, "app": app, "args": args});
        let job = parse(&job, "", &door).unwrap();
        let id = store.accept(vec![job]).await.unwrap()[0].id;
        store.jobs(&[id]).await.unwrap()[0].seq
    }

    async fn marked(store: &Store, seqs: &[i64]) -> Vec<i64> {
        let marked = store.mark(seqs.to_vec()).await.unwrap();
        let marks = marked
            .iter()
            .map(|one| (one.head.seq, one.attempt))
            .collect();
        store.take_back(marks).await.unwrap();
        let mut seqs: Vec<i64> = marked.iter().map(|one| one.head.seq).collect();
        seqs.sort_unstable();
        seqs
    }

    #[tokio::test]
    async fn a_mark_that_was_on_its_way_when_somebody_paused_is_not_made() {
        let folder = tempfile::tempdir().unwrap();
        let (store, closer) = open(folder.path()).await;
        let seqs = [
            queued(&store, "ops", "oc_a", "send").await,
            queued(&store, "ops", "om_a", "pin").await,
            queued(&store, "ops", "oc_b", "send").await,
            queued(&store, "hr", "oc_a", "send").await,
        ];
        assert_eq!(marked(&store, &seqs).await, seqs);
        let ops = store.apps()[0].0;
        for (app, lane, kind, free) in [
            (None, None, None, &[][..]),
            (Some(ops), None, None, &[3]),
            (None, Some("oc_a"), None, &[1, 2]),
            (None, None, Some(Kind::Send), &[1]),
            (Some(ops), Some("oc_a"), Some(Kind::Send), &[1, 2, 3]),
            (Some(ops), Some("oc_a"), Some(Kind::Pin), &[0, 1, 2, 3]),
        ] {
            let reach = Reach {
                app,
                lane: lane.map(Into::into),
                kind,
            };
            store.steer(Steer::Pause(reach.clone()), "").await.unwrap();
            let free: Vec<i64> = free.iter().map(|at| seqs[*at]).collect();
            assert_eq!(marked(&store, &seqs).await, free, "{reach:?}");
            assert_eq!(store.paused(&reach).await.unwrap().len(), 1);
            store.steer(Steer::Resume(reach), "").await.unwrap();
            assert_eq!(marked(&store, &seqs).await, seqs);
        }
        let heads = store.lanes_after(ops, 2, &Cursor::default(), 9).await;
        assert_eq!(heads.unwrap().lanes.len(), 3, "they are where they were");
        drop(store);
        closer.close().await;
    }

    #[tokio::test]
    async fn a_pause_keeps_its_time_takes_a_new_reason_and_outlives_the_process() {
        let folder = tempfile::tempdir().unwrap();
        let (store, closer) = open(folder.path()).await;
        let all = Reach::default();
        for reason in ["first", "", "second"] {
            let pause = Steer::Pause(all.clone());
            store.steer(pause, reason).await.unwrap();
        }
        let before = store.paused(&all).await.unwrap();
        assert_eq!((before.len(), before[0].reason.as_str()), (1, "second"));
        let job = queued(&store, "ops", "oc_a", "send").await;
        drop(store);
        closer.close().await;
        let (store, closer) = open(folder.path()).await;
        assert_eq!(store.paused(&all).await.unwrap(), before);
        assert!(marked(&store, &[job]).await.is_empty());
        drop(store);
        closer.close().await;
    }
}
