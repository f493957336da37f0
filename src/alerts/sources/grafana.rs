//! Grafana's unified alerting: Alertmanager's frame with links of its own.
//!
//! Its `values` are left out: they change with each evaluation, and a repeat is to be known as one.
//! Source: grafana.com/docs/grafana/latest/alerting (webhook notifier), read 2026-11-22.

use serde_json::Value;

use super::{Walk, alertmanager, link};
use crate::alerts::notice::Notification;

pub(super) fn read(walk: &mut Walk, value: &Value) -> Notification {
    let mut notification = alertmanager::group(walk, value);
    let Some(given) = value.get("alerts").and_then(Value::as_array) else {
        return notification;
    };
    // With a fault some are missing, and nothing is taken anyway.
    let alerts = notification.alerts.iter_mut().zip(given);
    for (n, (alert, value)) in alerts.enumerate() {
        let at = format!("/alerts/{n}");
        let mut page = |name: &str| link(walk.text(value, &at, name));
        alert.links.silence = page("silenceURL");
        let board = page("panelURL").or(page("dashboardURL"));
        alert.links.dashboard = board.or(alert.links.dashboard.take());
    }
    notification
}
