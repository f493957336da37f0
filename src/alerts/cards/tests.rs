//! The built-in cards: what they say, that they fit, and that nothing foreign is more than text in them.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::alerts::incident::{Ack, Tracked};
use crate::alerts::notice::{Alert, Links};
use crate::job;

pub(super) fn policy() -> Policy {
    serde_json::from_value(json!({
        "app": "ops", "to": "oc_1", "expires_in_ms": 900_000, "on_doubt": "hold",
    }))
    .expect("it is a policy")
}

pub(super) fn alert(name: &str, instance: &str, severity: &str) -> Alert {
    let label = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    Alert {
        fingerprint: format!("{name}/{instance}"),
        firing: true,
        starts_ms: 1_767_225_600_000,
        labels: BTreeMap::from([
            label("alertname", name),
            label("instance", instance),
            label("severity", severity),
        ]),
        annotations: BTreeMap::from([label("summary", &format!("{name} on {instance}"))]),
        ..Alert::default()
    }
}

pub(super) fn incident(alerts: impl IntoIterator<Item = Alert>) -> Incident {
    let mut incident: Incident = serde_json::from_value(json!({
        "sink": "db", "group_key": "g", "policy": policy(),
        "opened_ms": 1_767_225_601_000_i64, "heard_ms": 1_767_225_602_000_i64,
    }))
    .expect("it is an incident");
    for alert in alerts {
        let resolved_ms = (!alert.firing).then_some(1_767_225_660_000);
        let tracked = Tracked {
            heard_ms: 1_767_225_601_000,
            resolved_ms,
            alert,
        };
        incident
            .alerts
            .insert(tracked.alert.fingerprint.clone(), tracked);
    }
    incident
}

pub(super) fn over(alert: Alert) -> Alert {
    Alert {
        firing: false,
        ends_ms: Some(1_767_225_650_000),
        ..alert
    }
}

fn oncall() -> People {
    People {
        ids: vec!["ou_1".to_owned()],
        ..People::default()
    }
}

fn live(incident: &Incident) -> Value {
    Cards::default().live(incident, &oncall(), true).args
}

/// All strings of a card that people read.
fn said(value: &Value, into: &mut Vec<String>) {
    match value {
        Value::Array(list) => list.iter().for_each(|item| said(item, into)),
        Value::Object(object) => {
            into.extend(
                object
                    .get("content")
                    .and_then(Value::as_str)
                    .map(str::to_owned),
            );
            object.values().for_each(|item| said(item, into));
        }
        _ => {}
    }
}

fn words_of(args: &Value) -> String {
    let mut all = Vec::new();
    said(&args["card"]["header"], &mut all);
    said(&args["card"]["body"], &mut all);
    all.join("\n")
}

#[test]
fn a_card_says_what_fires_and_then_that_it_is_over() {
    let mut incident = incident([alert("DiskFull", "db-1:9100", "critical")]);
    incident.external_url = Some("http://alertmanager:9093".to_owned());
    let tracked = incident
        .alerts
        .get_mut("DiskFull/db-1:9100")
        .expect("it is there");
    tracked.alert.links = Links {
        source: Some("http://prom:9090/graph?g0.expr=(x)".to_owned()),
        runbook: Some("javascript:x".to_owned()),
        ..Links::default()
    };
    insta::assert_json_snapshot!("firing", live(&incident));
    let tracked = incident
        .alerts
        .get_mut("DiskFull/db-1:9100")
        .expect("it is there");
    tracked.alert = over(tracked.alert.clone());
    let words = words_of(&Cards::default().live(&incident, &oncall(), false).args);
    for part in [
        "已恢复 resolved · DiskFull · db-1:9100",
        "从 from 2026-01-01 08:00:00 +08:00 到 to 2026-01-01 08:00:50 +08:00",
    ] {
        assert!(words.contains(part), "{part}: {words}");
    }
    for part in ["firing", "告警中", "<at"] {
        assert!(!words.contains(part), "{part}: {words}");
    }
}

#[test]
fn a_card_says_who_looks_that_it_is_stale_and_what_is_over_already() {
    let mut incident = incident([
        alert("DiskFull", "db-1", "warning"),
        over(alert("DiskFull", "db-2", "critical")),
    ]);
    incident.ack = Some(Ack {
        at_ms: 1_767_225_700_000,
        by: "li<at id=all>".to_owned(),
        how: "ack".to_owned(),
    });
    incident.stale = true;
    incident.reopened = 2;
    incident.truncated = 3;
    let args = live(&incident);
    assert_eq!(args["card"]["header"]["template"], "grey");
    let words = words_of(&args);
    for part in [
        "告警中 firing · 已确认 acknowledged · 久无消息 stale · DiskFull · db-1",
        "**1 告警中 firing** · **1 已恢复 resolved** · 警告 warning · 再次告警 fired again: 2",
        "已确认 acknowledged: li＜at id=all> · 2026-01-01 08:01:40 +08:00",
        "✅ DiskFull · db-2",
        "3 more were left out by the source",
    ] {
        assert!(words.contains(part), "{part}: {words}");
    }
}

#[test]
fn what_has_no_room_is_counted() {
    let many = |count: usize| (0..count).map(|n| alert("DiskFull", &format!("db-{n}"), "error"));
    let words = words_of(&live(&incident(many(100)))) + "\n";
    for n in 0..100 {
        assert!(words.contains(&format!("DiskFull · db-{n}\n")), "{n}");
    }
    assert!(!words.contains("另有"), "{words}");
    let words = words_of(&live(&incident(many(5_000))));
    let named = words.matches(" · db-").count();
    let more = 5_000 - named;
    assert!(named > 100, "{named}");
    assert!(
        words.contains(&format!("另有 {more} 条 / and {more} more")),
        "{words}"
    );
}

#[test]
fn news_and_digests_say_how_many_and_how_bad() {
    let incident = incident([
        alert("DiskFull", "db-1", "warning"),
        alert("DiskFull", "db-2", "critical"),
    ]);
    let fresh = ["DiskFull/db-2".to_owned(), "gone".to_owned()];
    let cards = Cards::default();
    let args = cards.news(&incident, &fresh, Some(Severity::Critical), &oncall());
    assert_eq!(args["card"]["header"]["template"], "red");
    let words = words_of(&args);
    for part in [
        "**严重 critical**",
        "new alerts: 1",
        "DiskFull · db-2",
        "<at id=ou_1></at>",
    ] {
        assert!(words.contains(part), "{part}: {words}");
    }
    assert!(words_of(&cards.moved(&incident)).contains("a new card goes on"));
    let digest: Digest = serde_json::from_value(json!({
        "firing": 41, "resolved": 2, "alerts": 99,
        "by_severity": { "critical": 1, "warning": 40 },
        "worst": [{ "title": "DiskFull <at id=all>", "severity": "critical", "firing": true,
            "since_ms": 0, "alerts": 3, "incident": "inc_1" }],
    }))
    .expect("it is a digest");
    let args = cards.digest(&digest, &policy(), &oncall());
    assert_eq!(args["card"]["header"]["template"], "red");
    let words = words_of(&args);
    for part in [
        "告警汇总 digest · 41 告警中 firing · 2 已恢复 resolved",
        "告警 alerts: 99",
        "🔴 严重 critical: 1 · 🟡 警告 warning: 40",
        "🔴 DiskFull ＜at id=all> · 告警 alerts: 3 · 开始于 since 1970-01-01 08:00:00 +08:00",
        "另有 42 条 / and 42 more",
        "<at id=ou_1></at>",
    ] {
        assert!(words.contains(part), "{part}: {words}");
    }
}

/// Strings that would like to be more than words.
pub(super) fn hostile() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("<at id=all></at>".to_owned()),
        Just("<at id=ou_evil></at>".to_owned()),
        Just("<at email=evil@corp.cn></at>".to_owned()),
        Just("<at user_id=\"all\">all</at>".to_owned()),
        Just("<\u{200b}at id=all></at>".to_owned()),
        Just("&lt;at id=all&gt;&lt;/at&gt;".to_owned()),
        Just("&#60;at id=all&#62;".to_owned()),
        Just("[x](https://evil.cn)".to_owned()),
        Just("![x](img_v3_evil)".to_owned()),
        Just("<a href='https://evil.cn'>x</a><link url='x'>".to_owned()),
        Just("```\n# x\n---\n".to_owned()),
        Just("\"},{\"tag\":\"markdown\",\"content\":\"<at id=all></at>\"}".to_owned()),
        Just("\\\"\\u003cat id=all\\u003e".to_owned()),
        Just("{{ 7 * 7 }}{% for x in range(9) %}".to_owned()),
        Just("\u{202e}\u{2066}\u{0}\u{7}\u{1b}[31m\u{2028}\u{fdd0}\u{fdd1}".to_owned()),
        Just("字".repeat(900)),
        ".{0,30}",
    ];
    prop::collection::vec(piece, 0..4).prop_map(|pieces| pieces.concat())
}

fn hostile_map() -> impl Strategy<Value = BTreeMap<String, String>> {
    let name = prop_oneof![
        prop::sample::select(vec![
            "alertname",
            "severity",
            "instance",
            "summary",
            "description",
            "job"
        ])
        .prop_map(str::to_owned),
        hostile(),
    ];
    prop::collection::btree_map(name, hostile(), 0..12)
}

fn hostile_link() -> impl Strategy<Value = Option<String>> {
    prop::option::of(prop_oneof![
        hostile(),
        hostile().prop_map(|text| format!("https://ex.cn/{text}")),
        hostile().prop_map(|text| format!("https://{text}/")),
        Just("https://ex.cn/x)<at id=all></at>[y](https://evil.cn".to_owned()),
    ])
}

fn hostile_alert() -> impl Strategy<Value = Alert> {
    let links = (
        hostile_link(),
        hostile_link(),
        hostile_link(),
        hostile_link(),
    );
    let links = links.prop_map(|(source, silence, runbook, dashboard)| Links {
        source,
        silence,
        runbook,
        dashboard,
    });
    let times = (any::<bool>(), any::<i64>(), prop::option::of(any::<i64>()));
    (hostile(), times, hostile_map(), hostile_map(), links).prop_map(
        |(fingerprint, (firing, starts_ms, ends_ms), labels, annotations, links)| Alert {
            fingerprint,
            firing,
            starts_ms,
            ends_ms,
            labels,
            annotations,
            links,
        },
    )
}

pub(super) fn hostile_incident() -> impl Strategy<Value = Incident> {
    let alerts = prop::collection::vec(hostile_alert(), 0..40);
    let rest = (
        hostile(),
        hostile_link(),
        any::<bool>(),
        any::<u64>(),
        prop::option::of(hostile()),
    );
    (alerts, rest).prop_map(|(alerts, (sink, url, stale, truncated, by))| {
        let mut incident = incident(alerts);
        incident.sink = sink;
        incident.external_url = url;
        incident.stale = stale;
        incident.truncated = truncated;
        incident.ack = by.map(|by| Ack {
            at_ms: i64::MIN,
            how: by.clone(),
            by,
        });
        incident
    })
}

/// Nothing but our own mentions is a mention, nothing but our own links a link, wherever it stands.
pub(super) fn is_tame(card: &Value, ours: &str) -> Result<(), TestCaseError> {
    prop_assert_eq!(job::check_card(card), Ok(()), "{}", card);
    let elements = card["body"]["elements"]
        .as_array()
        .expect("they are a list");
    prop_assert!(elements.len() < 100);
    tame(card, ours)
}

fn tame(value: &Value, ours: &str) -> Result<(), TestCaseError> {
    match value {
        Value::Array(list) => list.iter().try_for_each(|item| tame(item, ours))?,
        Value::Object(object) => object.values().try_for_each(|item| tame(item, ours))?,
        Value::String(text) => {
            let bare = if text == ours { "" } else { text };
            prop_assert!(!bare.contains("<at") && !bare.contains("<a "), "{}", text);
            prop_assert!(!bare.contains("<link") && !bare.contains("![") || !bare.contains("]("));
            for (at, _) in bare.match_indices("](") {
                let address = &bare[at + 2..];
                prop_assert!(
                    address.starts_with("http") && address.contains(')'),
                    "{}",
                    text
                );
                let before: String = bare[..at].chars().rev().take_while(|c| *c != '[').collect();
                let label: String = before.chars().rev().collect();
                let labels = [
                    "来源 source",
                    "看板 dashboard",
                    "手册 runbook",
                    "静默 silence",
                ];
                prop_assert!(labels.contains(&label.as_str()), "{}", text);
            }
        }
        _ => {}
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn no_alert_makes_more_than_text_of_a_card(incident in hostile_incident(), worse in any::<bool>()) {
        let cards = Cards::default();
        let ours = "<at id=ou_1></at>";
        let fresh: Vec<String> = incident.alerts.keys().cloned().collect();
        let worse = worse.then_some(Severity::Error);
        let made = [
            cards.live(&incident, &oncall(), true).args,
            cards.news(&incident, &fresh, worse, &oncall()),
            cards.moved(&incident),
        ];
        for args in &made {
            is_tame(&args["card"], ours)?;
        }
        let shape = |args: &Value| {
            let card = &args["card"];
            (card["schema"].clone(), card["config"].clone(), card["header"]["title"]["tag"].clone())
        };
        let calm = shape(&cards.moved(&super::tests::incident([])));
        for args in &made {
            prop_assert_eq!(shape(args), calm.clone());
        }
    }
}
