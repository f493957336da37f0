//! Alertmanager's webhook, version 4; Grafana's has the same frame.
//!
//! Source: prometheus.io/docs/alerting/latest/configuration (webhook_config) and `notify/webhook/webhook.go`,
//! `template/template.go` of prometheus/alertmanager, read 2026-11-22.

use serde_json::Value;

use super::{
    ANNOTATION_BYTES_MAX, KEY_BYTES_MAX, LABEL_BYTES_MAX, LINK_BYTES_MAX, NAME_BYTES_MAX, Texts,
    Walk, annotated, fingerprint, key, link,
};
use crate::alerts::notice::{Alert, Links, Notification};
use crate::job::percent_encoded;

/// What the relay understands.
const VERSION: &str = "4";

pub(super) fn read(walk: &mut Walk, value: &Value) -> Notification {
    if value.is_object() && value.get("version").and_then(Value::as_str) != Some(VERSION) {
        walk.flaw("/version", "must be \"4\", Alertmanager's webhook");
    }
    let mut notification = group(walk, value);
    let external = notification.external_url.clone();
    for alert in &mut notification.alerts {
        let silence = external.as_deref();
        alert.links.silence = silence.and_then(|url| silence_link(url, &alert.labels));
    }
    notification
}

/// The frame: a group and its alerts.
pub(super) fn group(walk: &mut Walk, value: &Value) -> Notification {
    if !value.is_object() {
        walk.flaw("", "must be an object");
        return Notification::default();
    }
    let flaws = walk.flaws.len();
    let group_key = walk.text(value, "", "groupKey").unwrap_or_default();
    if group_key.is_empty() && walk.flaws.len() == flaws {
        walk.flaw("/groupKey", "is missing");
    }
    let mut alerts = Vec::new();
    match value.get("alerts") {
        Some(Value::Array(list)) if list.is_empty() => walk.flaw("/alerts", "is empty"),
        Some(Value::Array(list)) => {
            for (n, value) in list.iter().enumerate() {
                alerts.extend(alert(walk, value, &format!("/alerts/{n}")));
            }
        }
        _ => walk.flaw("/alerts", "must be a list of alerts"),
    }
    let truncated = match value.get("truncatedAlerts") {
        None | Some(Value::Null) => 0,
        Some(number) => number.as_u64().unwrap_or_else(|| {
            walk.flaw("/truncatedAlerts", "must be a whole number");
            0
        }),
    };
    Notification {
        group_key: key(group_key, KEY_BYTES_MAX),
        group_labels: walk.texts(value, "", "groupLabels", LABEL_BYTES_MAX),
        external_url: link(walk.text(value, "", "externalURL")),
        alerts,
        truncated,
    }
}

fn alert(walk: &mut Walk, value: &Value, at: &str) -> Option<Alert> {
    if !value.is_object() {
        walk.flaw(at, "must be an object");
        return None;
    }
    let firing = match walk.text(value, at, "status") {
        Some("firing") => true,
        Some("resolved") => false,
        _ => {
            walk.flaw(
                &format!("{at}/status"),
                "must be \"firing\" or \"resolved\"",
            );
            return None;
        }
    };
    let labels = walk.texts(value, at, "labels", LABEL_BYTES_MAX);
    let annotations = walk.texts(value, at, "annotations", ANNOTATION_BYTES_MAX);
    let named = walk.text(value, at, "fingerprint");
    let named = named.filter(|text| !text.is_empty());
    let starts_ms = walk.time(value, at, "startsAt").unwrap_or(0);
    // While it fires the end is a guess, or the year 1.
    let ends_ms = match firing {
        true => None,
        false => walk.time(value, at, "endsAt"),
    };
    Some(Alert {
        fingerprint: named.map_or_else(|| fingerprint(&labels), |text| key(text, NAME_BYTES_MAX)),
        firing,
        starts_ms,
        ends_ms,
        links: Links {
            source: link(walk.text(value, at, "generatorURL")),
            silence: None,
            runbook: annotated(&annotations, &["runbook_url", "runbook"]),
            dashboard: annotated(&annotations, &["dashboard_url", "dashboard"]),
        },
        labels,
        annotations,
    })
}

/// The page of Alertmanager where a silence for this alert is begun.
fn silence_link(external: &str, labels: &Texts) -> Option<String> {
    let matcher = |(name, value): (&String, &String)| {
        let value = value.replace('\\', "\\\\").replace('\n', "\\n");
        format!("{name}=\"{}\"", value.replace('"', "\\\""))
    };
    let matchers: Vec<String> = labels.iter().map(matcher).collect();
    let filter = percent_encoded(&format!("{{{}}}", matchers.join(",")));
    let text = format!(
        "{}/#/silences/new?filter={filter}",
        external.trim_end_matches('/')
    );
    (text.len() <= LINK_BYTES_MAX).then_some(text)
}
