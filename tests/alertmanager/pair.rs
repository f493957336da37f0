//! Two Alertmanagers that say the same, each in its own time and order: one card, and nobody is called twice.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::server::{Alertmanager, alert, free_port, tells};
use crate::support::House;
use crate::support::jobs::MINUTE;
use crate::{INSTANCES, all, all_sent, house, incident, one_card_that_is_resolved, relay};

/// Waits until that many of its notifications were taken.
async fn taken(monitor: &Alertmanager, count: f64) {
    let deadline = std::time::Instant::now() + MINUTE;
    while monitor.taken().await < count {
        assert!(std::time::Instant::now() < deadline, "it has told nothing");
        tokio::task::yield_now().await;
    }
}

/// The end of what both tests tell: called once, and resolved once.
async fn called_once(house: &mut House) {
    house.advance(MINUTE * 6).await;
    let path = "/v1/incidents";
    let page = house.until(path, |_| true).await;
    let id = page["incidents"][0]["id"].as_str().unwrap().to_owned();
    house
        .until(&format!("/v1/incidents/{id}"), |one| {
            one["rungs"][0]["outcome"] == "fired"
        })
        .await;
    all_sent(house).await;
    assert_eq!(house.effects("urgent_phone").await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pair_that_does_not_hear_of_each_other_makes_one_card_and_calls_once() {
    let Some((mut house, hook, program)) = house().await else {
        return;
    };
    let folder = |name: &str| house.dir.path().join(name);
    let first = Alertmanager::start(&program, &folder("a"), &tells(&hook), None).await;
    let second = Alertmanager::start(&program, &folder("b"), &tells(&hook), None).await;
    let start = Timestamp::now();
    first.post(&all(&start, false)).await;
    incident(&house, |one| one["message_id"].is_string()).await;
    let mut late = all(&start, false);
    late.reverse();
    second.post(&late).await;
    taken(&second, 1.0).await;
    called_once(&mut house).await;
    // The second half tells the end first; the first half, late, tells nothing new.
    late.iter_mut()
        .for_each(|one| *one = alert(&start, one["labels"]["instance"].as_str().unwrap(), true));
    second.post(&late).await;
    taken(&second, 2.0).await;
    incident(&house, |one| one["state"] == "resolved").await;
    first.post(&all(&start, true)).await;
    taken(&first, 2.0).await;
    all_sent(&house).await;
    one_card_that_is_resolved(&house).await;
    assert_eq!(house.effects("urgent_phone").await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_of_two_makes_one_card_and_calls_once() {
    let Some((mut house, hook, program)) = house().await else {
        return;
    };
    let folder = |name: &str| house.dir.path().join(name);
    let ports = [free_port(), free_port()];
    let cluster = |n: usize| Some((ports[n], &ports[..]));
    let first = Alertmanager::start(&program, &folder("a"), &tells(&hook), cluster(0)).await;
    let second = Alertmanager::start(&program, &folder("b"), &tells(&hook), cluster(1)).await;
    first.until_members(2.0).await;
    let start = Timestamp::now();
    first.post(&all(&start, false)).await;
    second.post(&all(&start, false)).await;
    incident(&house, |one| one["message_id"].is_string()).await;
    called_once(&mut house).await;
    first.post(&all(&start, true)).await;
    second.post(&all(&start, true)).await;
    incident(&house, |one| one["state"] == "resolved").await;
    all_sent(&house).await;
    one_card_that_is_resolved(&house).await;
    assert_eq!(house.effects("urgent_phone").await.len(), 1);
}

/// What an Alertmanager 0.25 posts, in its own words.
fn payload(instances: &[&str], status: &str) -> Value {
    let labels = |instance: &str| json!({"alertname": "HighLatency", "cluster": "eu", "severity": "critical", "instance": instance});
    let annotations =
        json!({"summary": "Requests are slow", "runbook_url": "https://wiki.example.com/latency"});
    let ends_at = match status {
        "firing" => "0001-01-01T00:00:00Z",
        _ => "2026-01-31T08:30:00Z",
    };
    let alert = |instance: &&str| {
        json!({
            "status": status, "labels": labels(instance), "annotations": annotations, "startsAt": "2026-01-31T08:00:00Z", "endsAt": ends_at,
            "generatorURL": "", "fingerprint": format!("00000000{:08x}", instance.len() + usize::from(instance.as_bytes()[4])),
        })
    };
    json!({
        "receiver": "feishu", "status": status, "alerts": instances.iter().map(alert).collect::<Vec<_>>(),
        "groupLabels": {"alertname": "HighLatency", "cluster": "eu"},
        "commonLabels": {"alertname": "HighLatency", "cluster": "eu", "severity": "critical"},
        "commonAnnotations": annotations, "externalURL": "http://alertmanager.example.com:9093", "version": "4",
        "groupKey": "{}:{alertname=\"HighLatency\", cluster=\"eu\"}", "truncatedAlerts": 0,
    })
}

async fn tell(house: &House, payload: Value) -> Value {
    let (status, told) = house.request("POST", "/v1/alerts/db", Some(payload)).await;
    assert_eq!(status, 200, "{told}");
    told
}

#[tokio::test(flavor = "multi_thread")]
async fn the_second_half_late_and_in_another_order_makes_nothing() {
    let (mut house, _) = relay().await;
    let turned = ["web-3", "web-1", "web-2"];
    tell(&house, payload(&INSTANCES, "firing")).await;
    tell(&house, payload(&turned, "firing")).await;
    incident(&house, |one| one["message_id"].is_string()).await;
    tell(&house, payload(&turned, "firing")).await;
    called_once(&mut house).await;
    // Killed between the two halves.
    tell(&house, payload(&turned, "firing")).await;
    house.kill();
    house.start();
    tell(&house, payload(&INSTANCES, "resolved")).await;
    // The second half has not noticed the end: a late twin, up to two minutes.
    for _ in 0..3 {
        tell(&house, payload(&turned, "firing")).await;
        tell(&house, payload(&turned, "resolved")).await;
        house.advance(MINUTE / 2).await;
    }
    house.advance(MINUTE * 10).await;
    all_sent(&house).await;
    incident(&house, |one| one["state"] == "resolved").await;
    one_card_that_is_resolved(&house).await;
    assert_eq!(house.effects("urgent_phone").await.len(), 1);
}
