//! The page's sinks: its config, its Alertmanager, its Grafana, its curl, and the words on incidents.

use std::os::unix::fs::PermissionsExt;

use feishu_sandbox::{DEFAULT_CHAT, DEFAULT_USERS};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;

use crate::server::{Alertmanager, free_port};
use crate::support::House;
use crate::support::tools::{ran, tool};
use crate::{all_sent, block, blocks, said, shell};

/// The chat that the page writes.
const CHAT: &str = "oc_0123456789abcdef0123456789abcdef";
/// The relay's address on the page.
const ADDRESS: &str = "127.0.0.1:8787";

/// A relay with all routes of the page, the files that they name, and its port.
async fn house(clients: &str) -> (House, u16) {
    let routes = blocks("toml relay").concat().replace(CHAT, DEFAULT_CHAT);
    let mut house = House::without_relay(None, &format!("{clients}{routes}")).await;
    let put = |name: &str, text: &str| std::fs::write(house.dir.path().join(name), text).unwrap();
    put("oncall.txt", &format!("{} # Lin\n", DEFAULT_USERS[0]));
    put("lead.txt", DEFAULT_USERS[1]);
    put("grafana.secret", SECRET);
    let mine = std::fs::Permissions::from_mode(0o600);
    std::fs::set_permissions(house.dir.path().join("grafana.secret"), mine).unwrap();
    let port = free_port();
    house.listen_on(port);
    house.start();
    (house, port)
}

const SECRET: &str = "signed-by-grafana";

/// The incidents, once there is one of which people saw something.
async fn shown(house: &House) -> Value {
    let page = house
        .until("/v1/incidents", |page| {
            page["incidents"][0]["message_id"].is_string()
        })
        .await;
    page["incidents"][0].clone()
}

async fn card(house: &House) -> String {
    let messages = house.effects("message").await;
    assert_eq!(messages.len(), 1, "{messages:#?}");
    assert_eq!(messages[0]["chat_id"], DEFAULT_CHAT);
    messages[0]["content"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn alertmanager_with_the_printed_file_and_token_makes_a_card() {
    let (Some(program), Some(_)) = (tool("prometheus-alertmanager"), tool("amtool")) else {
        return;
    };
    let made = std::process::Command::new(env!("CARGO_BIN_EXE_feishu-relay"))
        .args(["token", "alertmanager"])
        .output()
        .unwrap();
    let made = String::from_utf8(made.stdout).unwrap();
    let (token, lines) = made.split_once('\n').unwrap();
    let (house, port) = house(&format!("{lines}scopes = [\"enqueue\"]\n")).await;
    let folder = house.dir.path().join("alertmanager");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("feishu-relay.token"), token).unwrap();
    let config = block("yaml alertmanager")
        .replace(ADDRESS, &format!("127.0.0.1:{port}"))
        .replace("/etc/prometheus", folder.to_str().unwrap());
    let monitor = Alertmanager::start(&program, &folder, &config, None).await;
    let line = block("sh amtool").replace("http://127.0.0.1:9093", &monitor.url);
    ran(shell(&house).args(["-euc", &line]));
    let incident = shown(&house).await;
    assert_eq!(incident["client"], "alertmanager");
    assert_eq!(incident["severity"], "critical");
    let card = card(&house).await;
    for word in [
        "告警中",
        "HighLatency",
        "web-1",
        "Requests are slow",
        DEFAULT_USERS[0],
    ] {
        assert!(card.contains(word), "{word}: {card}");
    }
    all_sent(&house).await;
    assert_eq!(house.effects("pin").await.len(), 1);
}

/// What Grafana posts, in the form that its documentation has for webhooks.
fn grafana() -> String {
    let alert = |name: &str, zone: &str| {
        json!({
            "status": "firing",
            "labels": {"alertname": name, "team": "blue", "zone": zone},
            "annotations": {"summary": format!("{name} in {zone}"), "runbook_url": "https://wiki.example.com/runbooks/1234"},
            "startsAt": "2026-01-31T08:51:03.157076+02:00",
            "endsAt": "0001-01-01T00:00:00Z",
            "generatorURL": "https://grafana.example.com/alerting/1afz29v7z/edit",
            "fingerprint": format!("c6eadffa33fcdf{}", zone.len()),
            "silenceURL": "https://grafana.example.com/alerting/silence/new?alertmanager=grafana&matchers=team%3Dblue",
            "dashboardURL": "",
            "panelURL": "",
            "values": {"B": 44.239_437_375_419_08, "C": 1},
        })
    };
    json!({
        "receiver": "feishu", "status": "firing", "orgId": 1,
        "alerts": [alert("High memory usage", "us-1"), alert("High CPU usage", "eu-11")],
        "groupLabels": {}, "commonLabels": {"team": "blue"}, "commonAnnotations": {},
        "externalURL": "https://grafana.example.com/", "version": "1", "groupKey": "{}:{}", "truncatedAlerts": 0,
        "title": "[FIRING:2]  (blue)", "state": "alerting", "message": "**Firing**\n",
    })
    .to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn grafana_is_believed_by_its_signature() {
    let (house, port) = house("").await;
    let contact = block("yaml grafana");
    let told = |name: &str| {
        let line = contact
            .lines()
            .find_map(|line| line.trim().strip_prefix(name));
        line.unwrap_or_else(|| panic!("{name}: {contact}")).trim()
    };
    let url = told("url:").replace(ADDRESS, &format!("127.0.0.1:{port}"));
    let body = grafana();
    let stamp = jiff::Timestamp::now().as_second().to_string();
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
    mac.update(format!("{stamp}:{body}").as_bytes());
    let signature: String = mac
        .finalize()
        .into_bytes()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let post = |signature: String| {
        let asked = http
            .post(&url)
            .header("content-type", "application/json")
            .header(told("header:"), signature)
            .header(told("timestampHeader:"), &stamp);
        asked.body(body.clone()).send()
    };
    let refused = post(signature.replace('a', "b")).await.unwrap().status();
    assert!(
        refused.as_u16() == 401 || refused.as_u16() == 403,
        "{refused}"
    );
    assert_eq!(post(signature).await.unwrap().status().as_u16(), 200);
    shown(&house).await;
    let card = card(&house).await;
    for word in ["High memory usage", "us-1", "eu-11", "silence"] {
        assert!(card.contains(word), "{word}: {card}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_words_of_curl_make_a_card_and_turn_it_green() {
    let (house, port) = house("").await;
    let lines = block("sh batch").replace(ADDRESS, &format!("127.0.0.1:{port}"));
    let told = shell(&house).args(["-euc", &lines]).output().unwrap();
    assert!(told.status.success(), "{}", said(&told));
    house
        .until("/v1/incidents?state=resolved", |page| {
            page["incidents"][0]["message_id"].is_string()
        })
        .await;
    all_sent(&house).await;
    let card = card(&house).await;
    assert!(card.contains("The nightly import failed"), "{card}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_incident_is_listed_shown_and_acknowledged_and_a_payload_is_tried() {
    let (house, _) = house("").await;
    let payload = json!({
        "version": "4", "groupKey": "{}:{}", "status": "firing", "receiver": "feishu", "truncatedAlerts": 0,
        "groupLabels": {}, "commonLabels": {}, "commonAnnotations": {}, "externalURL": "http://alertmanager.example.com",
        "alerts": [{"status": "firing", "labels": {"alertname": "HighLatency", "severity": "critical"}, "annotations": {},
            "startsAt": "2026-01-31T08:00:00Z", "endsAt": "0001-01-01T00:00:00Z", "generatorURL": "", "fingerprint": "2b27196bc75881f1"}],
    });
    std::fs::write(house.dir.path().join("payload.json"), payload.to_string()).unwrap();
    let file = house.dir.path().join("payload.json");
    std::fs::write(file, payload.to_string()).unwrap();
    let (status, told) = house.request("POST", "/v1/alerts/db", Some(payload)).await;
    assert_eq!(status, 200, "{told}");
    let id = shown(&house).await["id"].as_str().unwrap().to_owned();
    let mut told = Vec::new();
    for line in blocks("sh").concat().lines() {
        let output = shell(&house)
            .env("INCIDENT", &id)
            .args(["-euc", line])
            .output()
            .unwrap();
        assert!(output.status.success(), "{line}: {}", said(&output));
        told.push(said(&output));
    }
    let [list, show, ack, tried] = told.as_slice() else {
        panic!("{told:?}")
    };
    assert!(
        list.contains(&id) && show.contains("urgent_phone"),
        "{told:?}"
    );
    assert!(ack.contains("acknowledged"), "{ack}");
    assert!(tried.contains(DEFAULT_CHAT), "{tried}");
}
