//! `GET /metrics`: what was counted, and the queue as it is, for Prometheus.
//!
//! The same rows as `/v1/status`, so a scrape costs no scan; Feishu is not called.

use std::sync::Arc;

use axum::extract::State;
use axum::http::Uri;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};

use crate::http::Relay;
use crate::http::month;
use crate::http::openapi::Asking;
use crate::http::problem::Problem;
use crate::http::query::Words;
use crate::metrics::{AppNow, MEDIA_TYPE, QueueNow, TenantNow};
use crate::store::{Pause, Spares, Status};

/// `GET /metrics`
#[utoipa::path(
    get,
    path = "/metrics",
    summary = "The queue and its past in numbers, for Prometheus",
    responses(
        (status = 200, description = "OpenMetrics.", body = String, content_type = "application/openmetrics-text"),
        Asking
    ),
)]
pub(super) async fn metrics(
    State(relay): State<Arc<Relay>>,
    uri: Uri,
) -> Result<Response, Problem> {
    Words::of(&uri)?.finish()?;
    let store = &relay.state.store;
    let status = store.status().await?;
    let open = store.open_incidents().await?;
    let open = open.into_iter();
    let now = QueueNow {
        incidents: open
            .map(|((route, state), count)| (route, state.name(), count))
            .collect(),
        ..queue(&status, relay.state.clock.wall_ms())
    };
    let text = store.metrics().text(&now);
    Ok(([(CONTENT_TYPE, MEDIA_TYPE)], text).into_response())
}

fn queue(status: &Status, now_ms: i64) -> QueueNow {
    let since = |then_ms: i64| now_ms.saturating_sub(then_ms).max(0) as f64 / 1000.0;
    let apps = status.apps.iter().map(|one| AppNow {
        app: one.app.clone(),
        jobs: one
            .jobs
            .iter()
            .map(|(state, count)| (state.name(), *count))
            .collect(),
        oldest_due_s: one.oldest_due_ms.map_or(0.0, since),
        month_calls: one.month_calls,
        paused: one
            .paused
            .iter()
            .map(|pause| (bucket(pause).to_owned(), since(pause.since_ms)))
            .collect(),
    });
    let months = status.months.iter().map(|one| TenantNow {
        tenant: one.tenant.clone(),
        month_quota: one.quota,
        month_forecast: month::forecast(one, now_ms).by_end,
    });
    QueueNow {
        apps: apps.collect(),
        tenants: months.collect(),
        store_bytes: status.bytes,
        incidents: Vec::new(),
    }
}

/// What is stopped, without a receiver: a lane bears the name of one.
fn bucket(pause: &Pause) -> &str {
    match (&*pause.api, &*pause.lane) {
        _ if pause.spares != Spares::Nobody => "month",
        ("", "") => "app",
        ("", _) => "lane",
        (api, _) => api,
    }
}
