//! The queue as it is, from rows that are kept, never counted.

use std::path::Path;
use std::sync::atomic::Ordering;

use sqlx::Row;
use sqlx::sqlite::{SqliteConnection, SqlitePool, SqliteRow};

use crate::job::{AppId, State};
use crate::store::{AppStatus, LaneStatus, Pause, Spares, Status, Store, month};

/// How many of the newest ends are looked at for an app's last success.
const NEWEST: i64 = 1000;

pub(super) async fn status(store: &Store) -> Result<Status, sqlx::Error> {
    let readers = &store.shared.readers;
    let counts = sqlx::query("select app.name, counter.name, counter.value from counter join app on app.id = counter.app").fetch_all(readers).await?;
    let months = month::status(store, store.shared.clock.wall_ms()).await?;
    let pauses = pauses(&mut *store.shared.readers.acquire().await?).await?;
    let mut pulse = store.pulse();
    let names: Vec<String> = sqlx::query_scalar("select name from app order by id")
        .fetch_all(readers)
        .await?;
    let mut status = Status {
        max_pending: store.shared.max_pending.load(Ordering::Relaxed),
        bytes: bytes_of(&store.shared.path),
        ill: store.ill(),
        ..Status::default()
    };
    for name in names {
        let value = |state: State| {
            let row = counts
                .iter()
                .find(|row| row.get::<&str, _>(0) == name && row.get::<&str, _>(1) == state.name());
            row.map_or(0, |row| row.get::<i64, _>(2).max(0).unsigned_abs())
        };
        let jobs: Vec<(State, u64)> = State::ALL
            .iter()
            .map(|state| (*state, value(*state)))
            .collect();
        status.pending += jobs
            .iter()
            .filter(|(state, _)| state.is_pending())
            .map(|(_, n)| n)
            .sum::<u64>();
        let month_calls = months
            .iter()
            .flat_map(|month| &month.apps)
            .filter(|(app, _, _)| *app == name)
            .flat_map(|(_, causes, _)| causes.values())
            .map(|cause| cause.first + cause.again)
            .sum();
        let paused = pauses
            .iter()
            .filter(|pause| pause.app == name || pause.app.is_empty())
            .cloned()
            .collect();
        // What was seen of the lanes may be a second old: nobody waits where nobody is left.
        let left = counts.iter().any(|row| {
            let state = State::from_name(row.get::<&str, _>(1).trim_start_matches("own:"));
            row.get::<&str, _>(0) == name
                && matches!(state, Some(State::Queued | State::Sending))
                && row.get::<i64, _>(2) > 0
        });
        if !left {
            pulse
                .lanes
                .retain(|(app, _, _)| store.app_name(*app) != Some(&name));
        }
        let oldest_due_ms = pulse
            .lanes
            .iter()
            .filter(|(app, _, _)| store.app_name(*app) == Some(&name))
            .map(|(_, _, due)| *due)
            .min();
        status.apps.push(AppStatus {
            app: name,
            jobs,
            oldest_due_ms,
            month_calls,
            paused,
        });
    }
    status.months = months;
    status.lanes = pulse
        .lanes
        .iter()
        .filter_map(|(app, lane, due)| lane_status(store, *app, lane, *due))
        .collect();
    Ok(status)
}

/// When each app was last seen to do a job, Unix milliseconds, as far as the newest ends tell.
pub(super) async fn last_successes(
    readers: &SqlitePool,
) -> Result<Vec<(String, i64)>, sqlx::Error> {
    let rows = sqlx::query(
        "select app.name, max(newest.finished_ms)
           from (select app, state, finished_ms from job where finished_ms is not null
                  order by finished_ms desc limit ?1) newest
           join app on app.id = newest.app
          where newest.state = 'done'
          group by app.name",
    )
    .bind(NEWEST)
    .fetch_all(readers)
    .await?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}

fn lane_status(store: &Store, app: AppId, lane: &str, oldest_due_ms: i64) -> Option<LaneStatus> {
    let app = store.app_name(app)?.to_owned();
    let lane = super::read::public_lane(lane)?.to_owned();
    Some(LaneStatus {
        app,
        lane,
        oldest_due_ms,
    })
}

/// Everything that is stopped.
async fn pauses(conn: &mut SqliteConnection) -> Result<Vec<Pause>, sqlx::Error> {
    let rows = sqlx::query(
        "select coalesce(app.name, ''), lane, api, by, code, reason, since_ms, probe_ms, spares
           from pause left join app on app.id = pause.app
          order by app.name, lane, api",
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.iter().map(pause).collect())
}

/// A row of app's name, lane, api, by, code, reason, since_ms, probe_ms, spares.
pub(super) fn pause(row: &SqliteRow) -> Pause {
    Pause {
        app: row.get(0),
        lane: row.get(1),
        api: row.get(2),
        by_hand: row.get::<&str, _>(3) == "hand",
        code: row.get(4),
        reason: row.get(5),
        since_ms: row.get(6),
        probe_ms: row.get(7),
        spares: Spares::from_name(row.get(8)),
    }
}

/// Bytes of the database and its log on disk.
fn bytes_of(path: &Path) -> u64 {
    ["", "-wal"]
        .iter()
        .map(|end| {
            let mut name = path.as_os_str().to_owned();
            name.push(end);
            std::fs::metadata(name).map_or(0, |meta| meta.len())
        })
        .sum()
}
