//! The month's ledger as status and metrics tell it: counted, forecast, and what is kept for `high`.
//!
//! Not here: the rows (`store::month`), the arithmetic (`job::month`).

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

use crate::job::Time;
use crate::job::month::{self, Forecast};
use crate::store::{CauseCalls, MonthStatus};

/// An app's calls of this month (UTC+8) that count towards the quota.
#[derive(Serialize, ToSchema)]
pub(super) struct MonthOfApp<'a> {
    /// Whose quota that is.
    tenant: &'a str,
    /// All of them.
    calls: u64,
    /// In the month before.
    calls_before: u64,
    /// Why they were made: a kind of job; `check`: to see what an attempt did; `probe`: to see whether Feishu is back.
    causes: BTreeMap<&'a str, ToldCause>,
}

/// Calls for one reason.
#[derive(Serialize, ToSchema)]
#[schema(as = Cause)]
struct ToldCause {
    /// First attempts.
    first: u64,
    /// Repeats.
    again: u64,
    /// Of both, calls whose answer never came: counted here, perhaps not by Feishu.
    lost: u64,
}

/// A tenant's month.
#[derive(Serialize, ToSchema)]
#[schema(as = Month)]
pub(super) struct ToldMonth<'a> {
    tenant: &'a str,
    /// Year and month, UTC+8.
    month: String,
    ends_at: Time,
    /// Calls of all its apps that count towards the quota. Other programs of the tenant spend it too; nobody can ask how much.
    calls: u64,
    /// `month_quota`; null: unknown.
    quota: Option<u64>,
    /// Calls of the quota that are left, as far as this relay counts.
    left: Option<u64>,
    /// The last calls of the quota, which are for `high` alone.
    reserve: Option<u64>,
    /// A person resumed: this month nothing is kept back.
    reserve_open: bool,
    forecast: ToldForecast,
}

/// How it goes on at the pace of the last seven days and today.
#[derive(Serialize, ToSchema)]
#[schema(as = Forecast)]
struct ToldForecast {
    /// Calls a day.
    calls_per_day: u64,
    /// Calls of this month at its end.
    calls: u64,
    /// When the quota is used up; null: not this month, or no quota is known.
    exhausted_at: Option<Time>,
}

/// What is told of one app.
pub(super) fn of_app<'a>(app: &str, calls: u64, months: &'a [MonthStatus]) -> MonthOfApp<'a> {
    let apps = |month: &'a MonthStatus| month.apps.iter().map(|one| (&*month.tenant, one));
    let mut apps = months.iter().flat_map(apps);
    let (tenant, causes, calls_before) = match apps.find(|(_, (name, _, _))| name == app) {
        None => ("", BTreeMap::new(), 0),
        Some((tenant, (_, causes, before))) => {
            let causes = causes.iter().map(|(name, cause)| {
                let CauseCalls { first, again, lost } = *cause;
                (name.as_str(), ToldCause { first, again, lost })
            });
            (tenant, causes.collect(), *before)
        }
    };
    MonthOfApp {
        tenant,
        calls,
        calls_before,
        causes,
    }
}

/// How a tenant's month goes on.
pub(super) fn forecast(month: &MonthStatus, now_ms: i64) -> Forecast {
    month::forecast(month.calls(), month.pace, month.quota, now_ms)
}

/// What is told of one tenant.
pub(super) fn told(month: &MonthStatus, now_ms: i64) -> ToldMonth<'_> {
    let quota = Some(month.quota).filter(|quota| *quota > 0);
    let calls = month.calls();
    let Forecast {
        per_day,
        by_end,
        exhausted_ms,
    } = forecast(month, now_ms);
    ToldMonth {
        tenant: &month.tenant,
        month: month.month.name(),
        ends_at: Time(month.month.end_ms()),
        calls,
        quota,
        left: quota.map(|quota| quota.saturating_sub(calls)),
        reserve: quota.map(month::reserve),
        reserve_open: month.open,
        forecast: ToldForecast {
            calls_per_day: per_day,
            calls: by_end,
            exhausted_at: exhausted_ms.map(Time),
        },
    }
}
