//! Notifications as Alertmanager posts them, and ways to wait for what people see.

use std::time::Instant;

use feishu_sandbox::DEFAULT_CHAT;
use serde_json::{Value, json};

use super::{House, PATIENCE};

/// A route named `db` to the default chat, and more lines of it.
pub fn route(more: &str) -> String {
    format!(
        "[[routes]]\nname = \"db\"\nsource = \"alertmanager\"\nto = \"{DEFAULT_CHAT}\"\n{more}\n"
    )
}

/// A notification of a group.
pub fn notice(group: &str, alerts: &[Value]) -> Value {
    let firing = alerts.iter().any(|alert| alert["status"] == "firing");
    json!({
        "version": "4",
        "groupKey": format!("{{}}:{{alertname=\"{group}\"}}"),
        "truncatedAlerts": 0,
        "status": if firing { "firing" } else { "resolved" },
        "receiver": "feishu",
        "groupLabels": {"alertname": group},
        "commonLabels": {"alertname": group},
        "commonAnnotations": {},
        "externalURL": "http://alertmanager.example:9093",
        "alerts": alerts,
    })
}

/// An alert that fires, `severity` critical.
pub fn firing(name: &str, instance: &str, starts_at: &str) -> Value {
    json!({
        "status": "firing",
        "labels": {"alertname": name, "instance": instance, "severity": "critical"},
        "annotations": {"summary": format!("{name} on {instance}")},
        "startsAt": starts_at,
        "endsAt": "0001-01-01T00:00:00Z",
        "generatorURL": "http://prometheus.example/graph?g0.expr=up",
        "fingerprint": format!("{name}-{instance}"),
    })
}

/// The same, over.
pub fn resolved(name: &str, instance: &str, starts_at: &str) -> Value {
    let mut alert = firing(name, instance, starts_at);
    alert["status"] = json!("resolved");
    alert["endsAt"] = json!("2026-01-31T09:00:00Z");
    alert
}

/// Posts a notification to the route `db`, which must take it.
pub async fn tell(house: &House, group: &str, alerts: &[Value]) -> Value {
    let (status, answer) = house
        .request("POST", "/v1/alerts/db", Some(notice(group, alerts)))
        .await;
    assert_eq!(status, 200, "{answer}");
    answer
}

/// Waits until `good` likes what people saw, in order. Each question lets the relay work in between.
pub async fn until_seen(house: &House, good: impl Fn(&[Value]) -> bool) -> Vec<Value> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let ledger = house.ledger().await;
        let effects = ledger["effects"].as_array().unwrap().clone();
        if good(&effects) {
            return effects;
        }
        assert!(
            Instant::now() < deadline,
            "people saw {effects:#?}\n{}",
            house.log()
        );
        tokio::task::yield_now().await;
    }
}

/// How many effects of that name there are.
pub fn count(effects: &[Value], name: &str) -> usize {
    of(effects, name).len()
}

/// The effects of that name.
pub fn of<'a>(effects: &'a [Value], name: &str) -> Vec<&'a Value> {
    let named = effects.iter().filter(|effect| effect["effect"] == name);
    named.collect()
}

/// All that a card says.
pub fn words(effect: &Value) -> String {
    effect["content"].to_string()
}
