//! What a batch adds to the metrics; told once it is committed, so that only facts are counted.

use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use crate::job::{AppId, Kind, Outcome, State};
use crate::metrics::Metrics;
use crate::store::writer::Tx;

/// What is to be told.
#[derive(Default)]
pub(super) struct Measured {
    ended: Vec<(AppId, Kind, State)>,
    /// Attempts that were recorded, with Feishu's code.
    pub(super) tried: Vec<(AppId, Kind, Outcome, Option<i64>)>,
    /// Calls that were no jobs, with why they were made.
    pub(super) passed: Vec<(AppId, &'static str, Outcome, Option<i64>)>,
    /// Milliseconds that producers' jobs took until they were done.
    pub(super) delivered: Vec<i64>,
    /// How many jobs came to an end, as their states are counted: each must be in `ended` once.
    pub(super) ends: usize,
}

impl Tx<'_> {
    /// Notes that the job of `row` (its `seq`, `app`, `kind` and `incident`) is in state `to` now.
    pub(super) fn ended(&mut self, row: &SqliteRow, to: State) {
        match to {
            State::Queued => self.changes.incidents.job_again(row),
            _ => self.changes.incidents.job(row),
        }
        let kind = Kind::from_name(row.get("kind"));
        if let Some(kind) = kind.filter(|_| to.is_settled()) {
            let ended = (AppId(row.get("app")), kind, to);
            self.changes.measured.ended.push(ended);
        }
    }
}

impl Measured {
    /// `now_ms` is the time of the commit, Unix milliseconds.
    pub(super) fn tell(&self, metrics: &Metrics, apps: &[(AppId, String)], now_ms: i64) {
        debug_assert_eq!(self.ended.len(), self.ends, "an end is not measured");
        let name = |app: AppId| {
            let found = apps.iter().find(|(id, _)| *id == app);
            found.map_or("", |(_, name)| name)
        };
        for (app, kind, state) in &self.ended {
            metrics.ended(name(*app), kind.name(), state.name());
        }
        let jobs = self.tried.iter();
        let jobs = jobs.map(|(app, kind, outcome, code)| (app, kind.name(), outcome, code));
        let calls = self.passed.iter();
        let calls = calls.map(|(app, cause, outcome, code)| (app, *cause, outcome, code));
        for (app, kind, outcome, code) in jobs.chain(calls) {
            metrics.tried(name(*app), kind, outcome.name(), *code);
            if *outcome == Outcome::Done {
                metrics.succeeded(name(*app), now_ms);
            }
        }
        for ms in &self.delivered {
            metrics.delivered(*ms);
        }
    }
}
