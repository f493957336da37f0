//! The sinks of alerts as their sources meet them: who is believed, what is refused, what a reload changes.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on should stop here"
)]

mod support;

use feishu_sandbox::DEFAULT_CHAT;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;
use support::House;
use support::alerts::{count, until_seen, words};

/// A notification as Grafana documents it, for a group.
fn grafana(group: &str) -> Value {
    json!({
        "receiver": "feishu", "status": "firing", "orgId": 1, "version": "1", "groupKey": group,
        "groupLabels": {}, "commonLabels": {}, "commonAnnotations": {}, "truncatedAlerts": 0,
        "externalURL": "https://play.grafana.example/", "title": "[FIRING:1]", "state": "alerting",
        "alerts": [{
            "status": "firing", "labels": {"alertname": "High memory usage", "zone": "us-1"},
            "annotations": {"summary": "for zone us-1"}, "startsAt": "2026-01-31T09:51:03.157076+02:00",
            "endsAt": "0001-01-01T00:00:00Z", "fingerprint": "c6eadffa33fcdf37",
            "generatorURL": "https://play.grafana.example/alerting/1/edit", "values": {"B": 44.2},
        }],
    })
}

fn route(source: &str, more: &str) -> String {
    format!("[[routes]]\nname = \"in\"\nsource = \"{source}\"\nto = \"{DEFAULT_CHAT}\"\n{more}\n")
}

/// Posts to the sink, as a program on another machine would: the answer's status and body.
async fn post(house: &House, headers: &[(&str, &str)], body: &str) -> (u16, String) {
    let client = reqwest::Client::builder()
        .no_proxy()
        .unix_socket(house.socket())
        .build()
        .unwrap();
    let mut request = client.post("http://localhost/v1/alerts/in");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let answer = request.body(body.to_owned()).send().await.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

fn signed(stamp: &str, body: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(b"of-the-sink").unwrap();
    mac.update(format!("{stamp}:{body}").as_bytes());
    let bytes = mac.finalize().into_bytes();
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test]
async fn grafana_is_known_by_its_password_and_its_signature() {
    let client =
        "[[clients]]\nname = \"grafana\"\ntoken = \"graf\"\nscopes = [\"enqueue\", \"read\"]\n";
    let more = "hmac_secret = \"of-the-sink\"\nhmac_timestamp_header = \"X-Time\"";
    let house = House::with(None, &format!("{client}{}", route("grafana", more))).await;
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let stamp = now.unwrap().as_secs().to_string();
    let old = (stamp.parse::<u64>().unwrap() - 3600).to_string();
    let body = grafana("g1").to_string();
    let (name, good, late) = (
        "X-Grafana-Alerting-Signature",
        signed(&stamp, &body),
        signed(&old, &body),
    );
    // "anybody:graf", "anybody:wrong"
    let (right, wrong) = ("Basic YW55Ym9keTpncmFm", "Basic YW55Ym9keTp3cm9uZw==");
    let of = |authorization, signature, stamp| {
        [
            ("authorization", authorization),
            (name, signature),
            ("x-time", stamp),
        ]
    };
    let other = grafana("g2").to_string();
    for (headers, body) in [
        (&of(right, &good, &stamp)[..1], &body),
        (&of(right, &good, &old)[..], &body),
        (&of(right, &late, &old)[..], &body),
        (&of(right, &good, &stamp)[..], &other),
        (&of(wrong, &good, &stamp)[..], &body),
    ] {
        let (status, answer) = post(&house, headers, body).await;
        assert_eq!(status, 401, "{headers:?} {answer}");
        assert!(
            !answer.contains("of-the-sink") && !answer.contains(&good),
            "{answer}"
        );
    }
    let (status, answer) = post(&house, &of(right, &good, &stamp), &body).await;
    assert_eq!(status, 200, "{answer}");
    let bearer = of("Bearer graf", &good, &stamp);
    assert_eq!(post(&house, &bearer, &body).await.0, 200);
    let seen = until_seen(&house, |seen| count(seen, "message") == 1).await;
    assert_eq!(seen.len(), 1, "{seen:#?}");
    assert!(words(&seen[0]).contains("High memory usage"), "{seen:#?}");
}

#[tokio::test]
async fn what_is_refused_says_where_and_leaves_nothing_behind() {
    let house = House::with(None, &route("alertmanager", "")).await;
    let alerts: Vec<Value> = (0..3)
        .map(|n| json!({"status": "planted-word", "labels": {"n": n}}))
        .collect();
    let flawed = json!({"version": "4", "groupKey": "g", "alerts": alerts}).to_string();
    let (status, answer) = post(&house, &[], &flawed).await;
    assert_eq!(status, 422, "{answer}");
    let answer: Value = serde_json::from_str(&answer).unwrap();
    assert_eq!(answer["errors"][2]["pointer"], "/alerts/2/status");
    assert!(!answer.to_string().contains("planted-word"), "{answer}");
    assert_eq!(post(&house, &[], "{\"version\":").await.0, 400);
    let commas = format!("[{}0]", "0,".repeat(1_000_001));
    assert_eq!(post(&house, &[], &commas).await.0, 413);
    let (status, _) = house
        .request("POST", "/v1/alerts/none", Some(json!({})))
        .await;
    assert_eq!(status, 404);
    let (_, kept) = house.request("GET", "/v1/incidents", None).await;
    assert_eq!(kept["incidents"], json!([]), "{kept}");
    assert!(house.effects("message").await.is_empty());
    assert!(!house.log().contains("planted-word"));
}

#[tokio::test]
async fn any_json_is_an_alert_by_the_paths_and_words_of_its_route() {
    let fields = "[routes.fields]\nid = \"event.id\"\nstatus = \"event.value\"\ntitle = \"event.name\"\n\
                  firing = [\"problem\"]\nresolved = \"ok\"\n";
    let house = House::with(None, &route("generic", fields)).await;
    let event =
        |value: &str| json!({"event": {"id": 42, "value": value, "name": "disk full"}}).to_string();
    for _ in 0..2 {
        let (status, answer) = post(&house, &[], &event("PROBLEM")).await;
        assert_eq!(status, 200, "{answer}");
    }
    let seen = until_seen(&house, |seen| count(seen, "message") == 1).await;
    let card = words(&seen[0]);
    // It says no start: that of its arrival counts.
    assert!(
        card.contains("disk full") && !card.contains("1970"),
        "{card}"
    );
    assert_eq!(post(&house, &[], &event("OK")).await.0, 200);
    let seen = until_seen(&house, |seen| count(seen, "card_update") == 1).await;
    assert!(words(&seen[1]).contains("已恢复"), "{seen:#?}");
    assert_eq!(post(&house, &[], &event("perhaps")).await.0, 422);
    // Nobody can tell it from a late twin: it is shown.
    assert_eq!(post(&house, &[], &event("problem")).await.0, 200);
    let seen = until_seen(&house, |seen| count(seen, "message") == 2).await;
    assert_eq!(seen.len(), 3, "{seen:#?}");
}

#[tokio::test]
async fn a_reload_changes_where_alerts_go() {
    let mut house = House::with(None, &route("grafana", "match = 'zone=\"eu\"'")).await;
    let body = grafana("g").to_string();
    let (status, answer) = post(&house, &[], &body).await;
    let answer: Value = serde_json::from_str(&answer).unwrap();
    assert_eq!((status, &answer["unmatched"]), (200, &json!(1)));
    let changed = house.config().replace("zone=\"eu\"", "zone=~\"us-.*\"");
    house.set_config(changed);
    house.reload();
    assert!(house.log().contains("reloaded: routes"), "{}", house.log());
    let (_, answer) = post(&house, &[], &body).await;
    let answer: Value = serde_json::from_str(&answer).unwrap();
    assert_eq!(answer["unmatched"], 0);
    until_seen(&house, |seen| count(seen, "message") == 1).await;
    // A file with a fault changes nothing.
    let broken = house.config().replace("us-.*", "(");
    house.set_config(broken);
    house.reload();
    assert!(
        house.log().contains("is no regular expression"),
        "{}",
        house.log()
    );
    assert_eq!(post(&house, &[], &body).await.0, 200);
}
