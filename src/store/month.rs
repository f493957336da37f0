//! The month's ledger: calls that count towards the tenant's quota, by app and by cause.
//!
//! Rows are written in the batch that records the call, so a count outlives whatever the call does;
//! a call whose answer never came is counted, for it may have been. Months and days are UTC+8.
//! Not here: which calls count (`dispatch::attempt`), what follows from the count (`job::month`).

use std::collections::BTreeMap;

use serde_json::json;
use sqlx::Row;
use sqlx::sqlite::{SqliteConnection, SqlitePool, SqliteRow};

use crate::job::AppId;
use crate::job::month::{self, Month, Pace};
use crate::store::writer::Tx;
use crate::store::{CauseCalls, MonthOf, MonthStart, MonthStatus, MonthWord, Store};

/// Months that stay, beside the present one.
const MONTHS_KEPT: i32 = 12;
/// Days that stay: more than any pace is taken from.
const DAYS_KEPT: i64 = 40;
const DAY_MS: i64 = 86_400_000;
/// The word of a tenant whose reserve a person opened.
const OPEN: &str = "open";

/// What a batch adds to the ledger.
#[derive(Debug, Default)]
pub(super) struct Counts(BTreeMap<(AppId, &'static str, bool), (i64, i64)>);

impl Counts {
    /// One call. `again`: it repeats an attempt; `lost`: its answer never came.
    pub(super) fn add(&mut self, app: AppId, cause: &'static str, again: bool, lost: bool) {
        let (calls, lost_calls) = self.0.entry((app, cause, again)).or_default();
        *calls += 1;
        *lost_calls += i64::from(lost);
    }
}

pub(super) fn write(tx: &mut Tx<'_>, counts: &Counts) -> Result<(), sqlx::Error> {
    if counts.0.is_empty() {
        return Ok(());
    }
    let mut days: BTreeMap<i64, i64> = BTreeMap::new();
    let rows: Vec<_> = counts
        .0
        .iter()
        .map(|((app, cause, again), (calls, lost))| {
            *days.entry(app.0).or_default() += calls;
            json!([app.0, cause, i64::from(*again), calls, lost])
        })
        .collect();
    tx.put(
        "insert into ledger (month, app, cause, again, calls, lost)
         select ?2, value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4 from json_each(?1) where true
         on conflict (month, app, cause, again)
         do update set calls = calls + excluded.calls, lost = lost + excluded.lost",
        &[json!(rows).to_string().into(), Month::of(tx.now.wall_ms).name().into()],
    )?;
    tx.put(
        "insert into ledger_day (day, app, calls)
         select ?2, value ->> 0, value ->> 1 from json_each(?1) where true
         on conflict (day, app) do update set calls = calls + excluded.calls",
        &[
            json!(days.into_iter().collect::<Vec<_>>())
                .to_string()
                .into(),
            month::day(tx.now.wall_ms).into(),
        ],
    )?;
    Ok(())
}

/// Notes a word. `false`: it was said before.
pub(super) async fn say(tx: &mut Tx<'_>, word: &MonthWord) -> Result<bool, sqlx::Error> {
    match word {
        MonthWord::Passed(calls) => {
            let mut counts = Counts::default();
            for (call, times) in calls {
                for _ in 0..*times {
                    if let Some(counted) = call.counted {
                        counts.add(call.app, call.cause, counted.again, counted.lost);
                    }
                    let told = (call.app, call.cause, call.outcome, call.code);
                    tx.changes.measured.passed.push(told);
                }
            }
            write(tx, &counts)?;
            Ok(true)
        }
        MonthWord::Probed { app, lost } => {
            let mut counts = Counts::default();
            counts.add(*app, "probe", false, *lost);
            write(tx, &counts)?;
            Ok(true)
        }
        MonthWord::Warned {
            month,
            tenant,
            quota,
            percent,
        } => {
            let quota = i64::try_from(*quota).unwrap_or(i64::MAX);
            note(tx, *month, tenant, &percent.to_string(), quota).await
        }
    }
}

async fn note(
    tx: &mut Tx<'_>,
    month: Month,
    tenant: &str,
    word: &str,
    quota: i64,
) -> Result<bool, sqlx::Error> {
    let said = sqlx::query(
        "insert into month_word (month, tenant, word, quota, at_ms) values (?1, ?2, ?3, ?4, ?5)
         on conflict do nothing",
    )
    .bind(month.name())
    .bind(tenant)
    .bind(word)
    .bind(quota)
    .bind(tx.now.wall_ms)
    .execute(tx.conn().await?)
    .await?;
    Ok(said.rows_affected() > 0)
}

/// A person resumed `app` (`None`: every one): where the rest of a month was kept, it is kept no more,
/// until the month turns.
pub(super) async fn open_up(tx: &mut Tx<'_>, app: Option<AppId>) -> Result<(), sqlx::Error> {
    let kept: Vec<i64> = sqlx::query_scalar(
        "select distinct app from pause where by = 'fault' and spares <> '' and ?1 in (0, app)",
    )
    .bind(app.map_or(0, |app| app.0))
    .fetch_all(tx.conn().await?)
    .await?;
    let month = Month::of(tx.now.wall_ms);
    for app in kept {
        let place = tx.apps.iter().position(|(id, _)| id.0 == app);
        let Some(of) = place.and_then(|place| tx.options.months.get(place)) else {
            continue;
        };
        note(tx, month, &of.tenant, OPEN, 0).await?;
        for at in 0..tx.apps.len() {
            if tx
                .options
                .months
                .get(at)
                .is_some_and(|one| one.tenant == of.tenant)
            {
                sqlx::query("delete from pause where by = 'fault' and spares <> '' and app = ?1")
                    .bind(tx.apps[at].0.0)
                    .execute(tx.conn().await?)
                    .await?;
            }
        }
    }
    Ok(())
}

/// Months and days that nobody asks about any more.
pub(super) fn drop_old(tx: &mut Tx<'_>) -> Result<(), sqlx::Error> {
    let month = Month::of(tx.now.wall_ms).earlier(MONTHS_KEPT).name();
    for old in [
        "delete from ledger where month < ?1",
        "delete from month_word where month < ?1",
    ] {
        tx.put(old, &[month.as_str().into()])?;
    }
    let day = month::day(tx.now.wall_ms - DAYS_KEPT * DAY_MS);
    tx.put("delete from ledger_day where day < ?1", &[day.into()])
}

/// What a dispatcher that begins must know of the present month.
pub(super) async fn start(readers: &SqlitePool, wall_ms: i64) -> Result<MonthStart, sqlx::Error> {
    let month = Month::of(wall_ms);
    let calls = sqlx::query("select app, sum(calls) from ledger where month = ?1 group by app")
        .bind(month.name())
        .fetch_all(readers)
        .await?;
    let mut conn = readers.acquire().await?;
    Ok(MonthStart {
        month,
        calls: calls
            .iter()
            .map(|row| (AppId(row.get(0)), number(row, 1)))
            .collect(),
        open: opened(&mut conn, month).await?,
    })
}

async fn opened(conn: &mut SqliteConnection, month: Month) -> Result<Vec<String>, sqlx::Error> {
    sqlx::query_scalar("select tenant from month_word where month = ?1 and word = ?2")
        .bind(month.name())
        .bind(OPEN)
        .fetch_all(conn)
        .await
}

/// The present month of every tenant of the config. The rows read are bounded by causes and days.
pub(super) async fn status(store: &Store, now_ms: i64) -> Result<Vec<MonthStatus>, sqlx::Error> {
    let mut conn = store.shared.readers.acquire().await?;
    let month = Month::of(now_ms);
    let rows = sqlx::query(
        "select month, app, cause, again, calls, lost from ledger where month in (?1, ?2)",
    )
    .bind(month.name())
    .bind(month.earlier(1).name())
    .fetch_all(&mut *conn)
    .await?;
    let since_ms = month::pace_since_ms(now_ms);
    let days = sqlx::query("select day, app, calls from ledger_day where day >= ?1")
        .bind(month::day(since_ms))
        .fetch_all(&mut *conn)
        .await?;
    let first: Option<String> = sqlx::query_scalar("select min(day) from ledger_day")
        .fetch_one(&mut *conn)
        .await?;
    let first_ms = first.as_deref().and_then(month::day_ms).unwrap_or(now_ms);
    let open = opened(&mut conn, month).await?;
    drop(conn);
    let settings = store.months();
    let mut tenants: Vec<MonthStatus> = Vec::new();
    for ((app, name), of) in store.shared.apps.iter().zip(&settings) {
        let at = match tenants.iter().position(|one| one.tenant == of.tenant) {
            Some(at) => at,
            None => {
                tenants.push(MonthStatus {
                    tenant: of.tenant.clone(),
                    month,
                    quota: quota(&settings, &of.tenant),
                    open: open.contains(&of.tenant),
                    pace: Pace {
                        calls: 0,
                        since_ms: since_ms.max(first_ms),
                    },
                    apps: Vec::new(),
                });
                tenants.len() - 1
            }
        };
        let of_app = |row: &&SqliteRow| row.get::<i64, _>("app") == app.0;
        let days = days.iter().filter(of_app);
        tenants[at].pace.calls += days.map(|row| number(row, "calls")).sum::<u64>();
        let (mut causes, mut before) = (BTreeMap::<String, CauseCalls>::new(), 0);
        for row in rows.iter().filter(of_app) {
            let calls = number(row, "calls");
            if row.get::<&str, _>("month") != month.name() {
                before += calls;
                continue;
            }
            let cause = causes.entry(row.get("cause")).or_default();
            cause.lost += number(row, "lost");
            match row.get::<i64, _>("again") {
                0 => cause.first += calls,
                _ => cause.again += calls,
            }
        }
        tenants[at].apps.push((name.clone(), causes, before));
    }
    Ok(tenants)
}

/// The quota is the tenant's, at whichever of its apps it stands.
fn quota(settings: &[MonthOf], tenant: &str) -> u64 {
    let of_tenant = settings.iter().filter(|of| of.tenant == tenant);
    of_tenant.map(|of| of.quota).max().unwrap_or(0)
}

fn number<I: sqlx::ColumnIndex<SqliteRow>>(row: &SqliteRow, index: I) -> u64 {
    row.get::<i64, _>(index).max(0).unsigned_abs()
}
