//! What is counted for `/metrics`, and the text of it.
//!
//! Only what is committed is counted, by whoever committed it (`store`); a scrape adds what the queue
//! is at that moment and scans nothing. Labels are names of the config and words of ours: no receiver,
//! no id, no text. The codes of Feishu are bounded, so that a strange answer cannot fill the memory.
//! Counters begin at 0 with each process, as Prometheus expects.

use std::collections::BTreeSet;
use std::sync::atomic::AtomicU64;
use std::sync::{Mutex, PoisonError};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

/// The media type of the text.
pub(crate) const MEDIA_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Different codes of Feishu that get a label of their own; the rest is `other`.
const CODES_MAX: usize = 200;

/// Upper bounds of the delivery's buckets, seconds: from at once to a day.
const BUCKETS: [f64; 14] = [
    0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0, 3600.0, 21_600.0, 86_400.0,
];

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfApp {
    app: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct InState {
    app: String,
    state: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Ended {
    app: String,
    kind: &'static str,
    state: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Tried {
    app: String,
    kind: &'static str,
    outcome: &'static str,
    code: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Stopped {
    app: String,
    bucket: String,
}

type Seconds = Gauge<f64, AtomicU64>;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfRoute {
    route: String,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Open {
    route: String,
    state: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfTenant {
    tenant: String,
}

/// One tenant's month at the moment of a scrape.
#[derive(Clone, Debug, Default)]
pub(crate) struct TenantNow {
    /// Its name.
    pub(crate) tenant: String,
    /// Calls that its plan allows a month; 0 = unknown.
    pub(crate) month_quota: u64,
    /// Calls of this month at its end, at the present pace.
    pub(crate) month_forecast: u64,
}

/// One app's queue at the moment of a scrape.
#[derive(Clone, Debug, Default)]
pub(crate) struct AppNow {
    /// Its name.
    pub(crate) app: String,
    /// Producers' jobs by state.
    pub(crate) jobs: Vec<(&'static str, u64)>,
    /// How long the longest-waiting job of a lane could have run, seconds.
    pub(crate) oldest_due_s: f64,
    /// Calls of this month.
    pub(crate) month_calls: u64,
    /// What is stopped, and for how many seconds.
    pub(crate) paused: Vec<(String, f64)>,
}

/// The queue at the moment of a scrape.
#[derive(Clone, Debug, Default)]
pub(crate) struct QueueNow {
    /// Every app.
    pub(crate) apps: Vec<AppNow>,
    /// Every tenant.
    pub(crate) tenants: Vec<TenantNow>,
    /// Bytes of the database.
    pub(crate) store_bytes: u64,
    /// Incidents that are open, by route and state.
    pub(crate) incidents: Vec<(String, &'static str, u64)>,
}

/// The counters of this process.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    finished: Family<Ended, Counter>,
    attempts: Family<Tried, Counter>,
    codes: Mutex<BTreeSet<i64>>,
    delivery: Histogram,
    last_success: Family<OfApp, Seconds>,
    /// One scrape at a time, for it writes what follows.
    scrape: Mutex<()>,
    jobs: Family<InState, Gauge>,
    oldest_due: Family<OfApp, Seconds>,
    paused: Family<Stopped, Seconds>,
    month_calls: Family<OfApp, Gauge>,
    month_quota: Family<OfTenant, Gauge>,
    month_forecast: Family<OfTenant, Gauge>,
    store_bytes: Gauge,
    alerts: Family<OfRoute, Counter>,
    incidents: Family<Open, Gauge>,
}

impl Default for Metrics {
    fn default() -> Metrics {
        let mut metrics = Metrics {
            registry: Registry::with_prefix("feishu_relay"),
            finished: Family::default(),
            attempts: Family::default(),
            codes: Mutex::default(),
            delivery: Histogram::new(BUCKETS),
            last_success: Family::default(),
            scrape: Mutex::default(),
            jobs: Family::default(),
            oldest_due: Family::default(),
            paused: Family::default(),
            month_calls: Family::default(),
            month_quota: Family::default(),
            month_forecast: Family::default(),
            store_bytes: Gauge::default(),
            alerts: Family::default(),
            incidents: Family::default(),
        };
        metrics.register();
        metrics
    }
}

impl Metrics {
    /// The library puts `_total` and `_info` behind names itself, and a full stop behind each text.
    fn register(&mut self) {
        let all = &mut self.registry;
        all.register(
            "jobs",
            "Producers' jobs that are kept, by state",
            self.jobs.clone(),
        );
        all.register(
            "oldest_due_seconds",
            "How long the longest-waiting job that stands in a lane could have run",
            self.oldest_due.clone(),
        );
        all.register(
            "finished",
            "Jobs that came to an end, the relay's own included",
            self.finished.clone(),
        );
        all.register(
            "attempts",
            "Attempts by how they ended and Feishu's code",
            self.attempts.clone(),
        );
        all.register(
            "delivery_seconds",
            "From when a job was accepted and due until it was done",
            self.delivery.clone(),
        );
        all.register(
            "paused_seconds",
            "For how long something is stopped: a call, or the app, a lane, or what the month's reserve holds back",
            self.paused.clone(),
        );
        all.register(
            "last_success_timestamp_seconds",
            "When an attempt last succeeded",
            self.last_success.clone(),
        );
        all.register(
            "month_calls",
            "Calls of this month (UTC+8) that count towards the quota",
            self.month_calls.clone(),
        );
        all.register(
            "month_quota",
            "Calls a month that the tenant's plan allows, where the config says so",
            self.month_quota.clone(),
        );
        all.register(
            "month_forecast_calls",
            "Calls of this month (UTC+8) at its end, at the pace of the last seven days",
            self.month_forecast.clone(),
        );
        all.register(
            "store_bytes",
            "Bytes of the database file and its log",
            self.store_bytes.clone(),
        );
        all.register(
            "alerts",
            "Alerts of notifications, by route and by what the notification did to its incident",
            self.alerts.clone(),
        );
        all.register(
            "incidents",
            "Incidents that are open, digests included, by route and state",
            self.incidents.clone(),
        );
        let build = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        all.register("build", "The program", build);
    }

    /// A notification brought so many alerts to a route.
    pub(crate) fn alerts(&self, route: &str, outcome: &'static str, count: usize) {
        if count == 0 {
            return;
        }
        let route = route.to_owned();
        let counter = self.alerts.get_or_create(&OfRoute { route, outcome });
        counter.inc_by(count as u64);
    }

    /// A job came to an end.
    pub(crate) fn ended(&self, app: &str, kind: &'static str, state: &'static str) {
        let app = app.to_owned();
        self.finished
            .get_or_create(&Ended { app, kind, state })
            .inc();
    }

    /// An attempt ended.
    pub(crate) fn tried(
        &self,
        app: &str,
        kind: &'static str,
        outcome: &'static str,
        code: Option<i64>,
    ) {
        let tried = Tried {
            app: app.to_owned(),
            kind,
            outcome,
            code: code.map(|code| self.code(code)).unwrap_or_default(),
        };
        self.attempts.get_or_create(&tried).inc();
    }

    fn code(&self, code: i64) -> String {
        let mut codes = self.codes.lock().unwrap_or_else(PoisonError::into_inner);
        if codes.len() < CODES_MAX {
            codes.insert(code);
        }
        match codes.contains(&code) {
            true => code.to_string(),
            false => String::from("other"),
        }
    }

    /// A producer's job was done, so many milliseconds after it was accepted and due.
    pub(crate) fn delivered(&self, ms: i64) {
        self.delivery.observe(ms.max(0) as f64 / 1000.0);
    }

    /// An attempt of `app` succeeded at this time, Unix milliseconds.
    pub(crate) fn succeeded(&self, app: &str, at_ms: i64) {
        let app = app.to_owned();
        let last = self.last_success.get_or_create(&OfApp { app });
        last.set(last.get().max(at_ms as f64 / 1000.0));
    }

    /// All of it as text; `queue` is what is true now.
    pub(crate) fn text(&self, queue: &QueueNow) -> String {
        let _alone = self.scrape.lock().unwrap_or_else(PoisonError::into_inner);
        self.jobs.clear();
        self.oldest_due.clear();
        self.paused.clear();
        self.month_calls.clear();
        self.month_quota.clear();
        self.month_forecast.clear();
        self.incidents.clear();
        for (route, state, count) in &queue.incidents {
            let route = route.clone();
            let open = self.incidents.get_or_create(&Open { route, state });
            open.set(whole(*count));
        }
        for now in &queue.tenants {
            let tenant = now.tenant.clone();
            let of_tenant = OfTenant { tenant };
            if now.month_quota > 0 {
                let quota = self.month_quota.get_or_create(&of_tenant);
                quota.set(whole(now.month_quota));
            }
            let forecast = self.month_forecast.get_or_create(&of_tenant);
            forecast.set(whole(now.month_forecast));
        }
        self.store_bytes.set(whole(queue.store_bytes));
        for now in &queue.apps {
            let of_app = OfApp {
                app: now.app.clone(),
            };
            self.oldest_due.get_or_create(&of_app).set(now.oldest_due_s);
            self.month_calls
                .get_or_create(&of_app)
                .set(whole(now.month_calls));
            for (state, count) in &now.jobs {
                let app = now.app.clone();
                let of_state = InState { app, state };
                self.jobs.get_or_create(&of_state).set(whole(*count));
            }
            for (bucket, seconds) in &now.paused {
                let (app, bucket) = (now.app.clone(), bucket.clone());
                let stopped = self.paused.get_or_create(&Stopped { app, bucket });
                // Two lanes share a bucket: the longer counts.
                stopped.set(stopped.get().max(*seconds));
            }
        }
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}

fn whole(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stand_as_the_contract_has_them() {
        let metrics = Metrics::default();
        metrics.ended("ops", "send", "done");
        metrics.tried("ops", "send", "refused", Some(230_002));
        metrics.tried("ops", "send", "done", None);
        metrics.delivered(1500);
        metrics.alerts("db", "opened", 3);
        metrics.alerts("db", "unmatched", 0);
        metrics.succeeded("ops", 1_767_225_600_500);
        metrics.succeeded("ops", 1_767_225_500_000);
        let app = AppNow {
            app: String::from("ops"),
            jobs: vec![("queued", 3)],
            oldest_due_s: 2.5,
            month_calls: 7,
            paused: vec![(String::from("lane"), 5.0), (String::from("lane"), 2.0)],
        };
        let text = metrics.text(&QueueNow {
            apps: vec![app],
            tenants: vec![TenantNow {
                tenant: String::from("main"),
                month_quota: 50,
                month_forecast: 40,
            }],
            store_bytes: 4096,
            incidents: vec![(String::from("db"), "firing", 2)],
        });
        for line in [
            "feishu_relay_jobs{app=\"ops\",state=\"queued\"} 3",
            "feishu_relay_oldest_due_seconds{app=\"ops\"} 2.5",
            "feishu_relay_finished_total{app=\"ops\",kind=\"send\",state=\"done\"} 1",
            "feishu_relay_attempts_total{app=\"ops\",kind=\"send\",outcome=\"refused\",code=\"230002\"} 1",
            "feishu_relay_attempts_total{app=\"ops\",kind=\"send\",outcome=\"done\",code=\"\"} 1",
            "feishu_relay_delivery_seconds_bucket{le=\"2.5\"} 1",
            "feishu_relay_paused_seconds{app=\"ops\",bucket=\"lane\"} 5.0",
            "feishu_relay_last_success_timestamp_seconds{app=\"ops\"} 1767225600.5",
            "feishu_relay_month_calls{app=\"ops\"} 7",
            "feishu_relay_month_quota{tenant=\"main\"} 50",
            "feishu_relay_month_forecast_calls{tenant=\"main\"} 40",
            "feishu_relay_store_bytes 4096",
            "feishu_relay_incidents{route=\"db\",state=\"firing\"} 2",
            "feishu_relay_alerts_total{route=\"db\",outcome=\"opened\"} 3",
        ] {
            assert!(text.lines().any(|said| said == line), "{line}\n{text}");
        }
        assert!(text.contains("feishu_relay_build_info{version="), "{text}");
        let later = metrics.text(&QueueNow::default());
        assert!(!later.contains("feishu_relay_jobs{"), "{later}");
    }

    #[test]
    fn codes_without_end_share_one_label() {
        let metrics = Metrics::default();
        for code in 0..10 * CODES_MAX as i64 {
            metrics.tried("ops", "send", "refused", Some(code));
        }
        let text = metrics.text(&QueueNow::default());
        assert_eq!(text.matches("attempts_total{").count(), CODES_MAX + 1);
        assert!(text.contains("code=\"other\"} 1800"), "{text}");
    }
}
