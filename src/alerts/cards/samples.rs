//! Incidents that nobody had: what a template is tried on before it is taken.

use serde_json::{Value, json};

use crate::alerts::incident::Incident;

/// One that fires, with all there can be, and one that is over, with nothing more than must be.
pub(super) fn incidents() -> Vec<Incident> {
    let policy =
        json!({ "app": "sample", "to": "oc_sample", "expires_in_ms": 900_000, "on_doubt": "hold" });
    let firing = json!({
        "sink": "sample", "group_key": "sample", "policy": policy,
        "group_labels": { "alertname": "SampleAlert" },
        "external_url": "https://alertmanager.example.com",
        "opened_ms": 1_767_225_600_000_i64, "heard_ms": 1_767_225_660_000_i64,
        "alerts": {
            "a": tracked("SampleAlert", "sample-1:9100", true),
            "b": tracked("SampleAlert", "sample-2:9100", true),
            "c": tracked("SampleAlert", "sample-3:9100", false),
        },
        "ack": { "at_ms": 1_767_225_700_000_i64, "by": "sample", "how": "ack" },
        "reopened": 1, "truncated": 2,
    });
    let resolved = json!({
        "sink": "sample", "group_key": "sample", "policy": policy,
        "opened_ms": 1_767_225_600_000_i64, "heard_ms": 1_767_225_660_000_i64,
        "ended_ms": 1_767_225_660_000_i64,
        "alerts": { "a": tracked("SampleAlert", "sample-1:9100", false) },
    });
    [firing, resolved]
        .into_iter()
        .map(|sample| serde_json::from_value(sample).expect("it is an incident"))
        .collect()
}

fn tracked(name: &str, instance: &str, firing: bool) -> Value {
    let link = |path: &str| format!("https://example.com/{path}");
    json!({
        "alert": {
            "fingerprint": instance, "firing": firing, "starts_ms": 1_767_225_600_000_i64,
            "labels": { "alertname": name, "instance": instance, "severity": "critical" },
            "annotations": { "summary": "a sample", "description": "nothing happened" },
            "links": {
                "source": link("graph"), "silence": link("silence"), "runbook": link("runbook"),
                "dashboard": link("dashboard"),
            },
        },
        "heard_ms": 1_767_225_660_000_i64,
        "resolved_ms": (!firing).then_some(1_767_225_660_000_i64),
    })
}
