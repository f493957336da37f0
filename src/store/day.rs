//! What a day has spent: buzzes that cost money, and people whom batches reached. Days are UTC+8.
//!
//! It is counted with the mark, so that no two attempts spend the same rest, and taken back when
//! the attempt provably did nothing. What is unknown stays spent.

use sqlx::Row;
use sqlx::sqlite::{SqlitePool, SqliteRow};

use crate::job::{AppId, Fault, Kind, Outcome, State};
use crate::store::writer::Tx;
use crate::store::{Budget, dependents, finish};

/// Rows of days that no window reaches are dropped after so many days.
const DAYS_KEPT: i64 = 3;
/// Milliseconds of a day.
const DAY_MS: i64 = 86_400_000;

/// `2026-11-21` in UTC+8: where the platform's day begins is not stated.
/// Source: feishu/limits.md, section 2, and the contract's `budget`.
fn day(wall_ms: i64) -> String {
    const EAST_MS: i64 = 8 * 3_600_000;
    let at = jiff::Timestamp::from_millisecond(wall_ms.saturating_add(EAST_MS));
    at.unwrap_or_default().strftime("%Y-%m-%d").to_string()
}

/// How many people of that kind an app may buzz a day; `None`: as many as it likes.
fn budget(budgets: &[Budget], place: usize, kind: Kind) -> Option<i64> {
    let budget = budgets.get(place)?;
    match kind {
        Kind::UrgentSms => Some(i64::from(budget.urgent_sms)),
        Kind::UrgentPhone => Some(i64::from(budget.urgent_phone)),
        _ => None,
    }
}

fn is_counted(kind: Kind) -> bool {
    matches!(kind, Kind::UrgentSms | Kind::UrgentPhone | Kind::BatchSend)
}

/// A job was marked: its people are spent. `false`: the day's budget does not cover them, and the
/// job has ended.
pub(super) async fn spend(
    tx: &mut Tx<'_>,
    app: AppId,
    kind: Kind,
    seq: i64,
    people: u32,
) -> Result<bool, sqlx::Error> {
    if !is_counted(kind) {
        return Ok(true);
    }
    let place = tx.apps.iter().position(|(id, _)| *id == app);
    let limit = place.and_then(|place| budget(&tx.options.budgets, place, kind));
    let today = day(tx.now.wall_ms);
    if let Some(limit) = limit {
        let spent: Option<i64> = sqlx::query_scalar(
            "select amount from day_use where app = ?1 and day = ?2 and what = ?3",
        )
        .bind(app.0)
        .bind(&today)
        .bind(kind.name())
        .fetch_optional(tx.conn().await?)
        .await?;
        if spent.unwrap_or(0) + i64::from(people) > limit {
            fail(tx, seq, kind, limit).await?;
            return Ok(false);
        }
    }
    add(tx, app, kind, &today, i64::from(people)).await?;
    Ok(true)
}

async fn add(
    tx: &mut Tx<'_>,
    app: AppId,
    kind: Kind,
    day: &str,
    amount: i64,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "insert into day_use (app, day, what, amount) values (?1, ?2, ?3, max(?4, 0))
         on conflict (app, day, what) do update set amount = max(amount + ?4, 0)",
    )
    .bind(app.0)
    .bind(day)
    .bind(kind.name())
    .bind(amount)
    .execute(tx.conn().await?)
    .await?;
    Ok(())
}

async fn fail(tx: &mut Tx<'_>, seq: i64, kind: Kind, limit: i64) -> Result<(), sqlx::Error> {
    let fault = Fault {
        class: "budget".into(),
        msg: format!(
            "the app's budget of {limit} people a day for {} is spent",
            kind.name()
        ),
        hint: Some(format!(
            "retry it tomorrow (UTC+8), or raise budget.{}",
            kind.name()
        )),
        who: Some("admin".into()),
        code: None,
    };
    let settle_seq = tx.settle_seq();
    let row = sqlx::query(
        "update job set state = case when unknown_ms is null then 'failed' else 'in_doubt' end,
                        finished_ms = case when unknown_ms is null then ?2 end, error = ?3,
                        settle_seq = case when unknown_ms is null and own = 0 then ?4 end
          where seq = ?1 and state = 'sending'
         returning *",
    )
    .bind(seq)
    .bind(tx.now.wall_ms)
    .bind(serde_json::to_string(&fault).unwrap_or_default())
    .bind(settle_seq)
    .fetch_optional(tx.conn().await?)
    .await?;
    let Some(row) = row else { return Ok(()) };
    tx.moved(seq);
    let state = State::from_name(row.get("state")).unwrap_or(State::Failed);
    let own = row.get::<i64, _>("own") == 1;
    tx.count(
        AppId(row.get("app")),
        own,
        Some(State::Sending),
        Some(state),
    );
    tx.ended(&row, state);
    dependents::touch(tx, &row);
    finish::settled(tx, &row, state).await
}

/// An attempt of that time ended so: what it did not use is there again.
pub(super) async fn ended(
    tx: &mut Tx<'_>,
    app: AppId,
    kind: Kind,
    people: u32,
    outcome: Outcome,
    at_ms: i64,
) -> Result<(), sqlx::Error> {
    match outcome {
        Outcome::Done | Outcome::Unknown => Ok(()),
        Outcome::Refused | Outcome::Limited | Outcome::NotSent if !is_counted(kind) => Ok(()),
        Outcome::Refused | Outcome::Limited | Outcome::NotSent => {
            add(tx, app, kind, &day(at_ms), -i64::from(people)).await
        }
    }
}

/// A mark was taken back before its attempt began.
pub(super) async fn taken_back(tx: &mut Tx<'_>, row: &SqliteRow) -> Result<(), sqlx::Error> {
    let Some(kind) = Kind::from_name(row.get("kind")) else {
        return Ok(());
    };
    let people = row.get::<i64, _>("weight").try_into().unwrap_or(u32::MAX);
    let at_ms = row
        .get::<Option<i64>, _>("mark_ms")
        .unwrap_or(tx.now.wall_ms);
    let app = AppId(row.get("app"));
    ended(tx, app, kind, people, Outcome::NotSent, at_ms).await
}

/// People whom the batches of each app reached today.
pub(super) async fn batches_today(
    readers: &SqlitePool,
    wall_ms: i64,
) -> Result<Vec<(AppId, u32)>, sqlx::Error> {
    let rows = sqlx::query("select app, amount from day_use where day = ?1 and what = ?2")
        .bind(day(wall_ms))
        .bind(Kind::BatchSend.name())
        .fetch_all(readers)
        .await?;
    let people = |row: &SqliteRow| row.get::<i64, _>(1).try_into().unwrap_or(u32::MAX);
    Ok(rows
        .iter()
        .map(|row| (AppId(row.get(0)), people(row)))
        .collect())
}

/// Days that nobody asks about any more.
pub(super) fn drop_old(tx: &mut Tx<'_>) -> Result<(), sqlx::Error> {
    let until = day(tx.now.wall_ms - DAYS_KEPT * DAY_MS);
    tx.put("delete from day_use where day < ?1", &[until.into()])
}
