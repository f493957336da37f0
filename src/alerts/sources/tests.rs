//! What the sources document, and what they could send besides.

use proptest::prelude::*;
use serde_json::json;

use super::*;

const START: &str = "2026-11-22T09:51:03.157Z";
const START_MS: i64 = 1_795_341_063_157;

fn fields() -> Fields {
    Fields {
        paths: BTreeMap::new(),
        firing: Vec::new(),
        resolved: Vec::new(),
    }
}

fn take(source: Source, value: &Value) -> Result<Notification, Refused> {
    read(source, &fields(), value.to_string().as_bytes())
}

/// The alert in a notification of Alertmanager.
fn one(alert: Value) -> Value {
    json!({"version": "4", "groupKey": "{}:{}", "alerts": [alert]})
}

fn places(refused: Result<Notification, Refused>) -> Vec<String> {
    match refused {
        Err(Refused::Flawed(flaws)) => flaws.into_iter().map(|flaw| flaw.pointer).collect(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn alertmanagers_notification_is_read_whole() {
    let value = json!({
        "receiver": "feishu", "status": "firing", "version": "4", "truncatedAlerts": 2,
        "groupKey": "{}/{team=\"db\"}:{alertname=\"DiskFull\"}",
        "groupLabels": {"alertname": "DiskFull"}, "commonLabels": {}, "commonAnnotations": {},
        "externalURL": "http://am.example:9093",
        "alerts": [
            {"status": "firing", "fingerprint": "c6eadffa33fcdf37",
             "labels": {"alertname": "DiskFull", "severity": "critical", "path": "C:\\d \"x\""},
             "annotations": {"summary": "full", "runbook_url": "https://wiki.example/disk"},
             "startsAt": START, "endsAt": "0001-01-01T00:00:00Z",
             "generatorURL": "http://prom.example/graph?g0.expr=up"},
            {"status": "resolved", "fingerprint": "bc97ff14869b13e3",
             "labels": {"alertname": "DiskFull"}, "annotations": {"runbook_url": "javascript:alert(1)"},
             "startsAt": "2026-11-22T17:51:03.157076+08:00", "endsAt": "2026-11-22T10:00:00Z",
             "generatorURL": ""},
        ],
    });
    let read = take(Source::Alertmanager, &value).unwrap();
    assert_eq!(read.group_key, "{}/{team=\"db\"}:{alertname=\"DiskFull\"}");
    assert_eq!(read.group_labels["alertname"], "DiskFull");
    assert_eq!(
        read.external_url.as_deref(),
        Some("http://am.example:9093/")
    );
    assert_eq!(read.truncated, 2);
    let [first, second] = &read.alerts[..] else {
        panic!("{read:?}");
    };
    assert_eq!(
        (first.firing, first.starts_ms, first.ends_ms),
        (true, START_MS, None)
    );
    assert_eq!(first.annotations["summary"], "full");
    let links = &first.links;
    assert_eq!(
        links.source.as_deref(),
        Some("http://prom.example/graph?g0.expr=up")
    );
    assert_eq!(links.runbook.as_deref(), Some("https://wiki.example/disk"));
    let silence = "http://am.example:9093/#/silences/new?filter=%7Balertname%3D%22DiskFull%22%2Cpath%3D%22C%3A%5C%5Cd%20%5C%22x%5C%22%22%2Cseverity%3D%22critical%22%7D";
    assert_eq!(links.silence.as_deref(), Some(silence));
    assert_eq!((second.firing, second.starts_ms), (false, START_MS));
    assert_eq!(second.ends_ms, Some(START_MS + 536_843));
    assert_eq!(
        (&second.links.source, &second.links.runbook),
        (&None, &None)
    );
}

/// The documented payload, but for its length.
#[test]
fn grafanas_notification_is_read_with_its_own_links() {
    let value = json!({
        "receiver": "My Super Webhook", "status": "firing", "orgId": 1, "version": "1",
        "groupKey": "{}:{}", "truncatedAlerts": 0, "title": "[FIRING:2]  (blue)", "state": "alerting",
        "message": "**Firing**", "externalURL": "https://play.grafana.org/",
        "groupLabels": {}, "commonLabels": {"team": "blue"}, "commonAnnotations": {},
        "alerts": [{
            "status": "firing",
            "labels": {"alertname": "High memory usage", "team": "blue", "zone": "us-1"},
            "annotations": {"description": "The system has high memory usage",
                "runbook_url": "https://myrunbook.com/runbook/1234", "summary": "for zone us-1"},
            "startsAt": "2021-10-12T09:51:03.157076+02:00", "endsAt": "0001-01-01T00:00:00Z",
            "generatorURL": "https://play.grafana.org/alerting/1afz29v7z/edit",
            "fingerprint": "c6eadffa33fcdf37",
            "silenceURL": "https://play.grafana.org/alerting/silence/new?alertmanager=grafana&matchers=alertname%3DT2",
            "dashboardURL": "", "panelURL": "https://play.grafana.org/d/x?viewPanel=2",
            "values": {"B": 44.23943737541908, "C": 1}, "valueString": "[ var='B' ]", "imageURL": null,
        }],
    });
    let read = take(Source::Grafana, &value).unwrap();
    let alert = &read.alerts[0];
    assert_eq!(alert.starts_ms, 1_634_025_063_157);
    let links = [
        &alert.links.source,
        &alert.links.silence,
        &alert.links.runbook,
        &alert.links.dashboard,
    ];
    assert!(links.iter().all(|link| link.is_some()), "{links:?}");
    assert!(
        alert
            .links
            .silence
            .as_ref()
            .unwrap()
            .ends_with("matchers=alertname%3DT2")
    );
    assert!(
        alert
            .links
            .dashboard
            .as_ref()
            .unwrap()
            .ends_with("viewPanel=2")
    );
    // Its values change with each evaluation; the same alert is the same.
    let mut later = value.clone();
    later["alerts"][0]["values"] = json!({"B": 45, "C": 1});
    assert_eq!(take(Source::Grafana, &later).unwrap(), read);
}

#[test]
fn generic_json_is_read_by_its_names_and_by_the_routes_paths() {
    let value = json!({"id": 7, "status": "Firing", "title": "cron failed", "text": "exit 1",
        "severity": "warning", "labels": {"host": "db-1", "n": 3, "on": true, "none": null},
        "url": "https://ci.example/7", "starts_at": 1_795_341_063});
    let read = take(Source::Generic, &value).unwrap();
    let alert = &read.alerts[0];
    assert_eq!((&*read.group_key, &*alert.fingerprint), ("7", "7"));
    assert_eq!((alert.firing, alert.starts_ms), (true, 1_795_341_063_000));
    let labels: Vec<_> = alert
        .labels
        .iter()
        .map(|(k, v)| format!("{k}={v}"))
        .collect();
    assert_eq!(
        labels.join(" "),
        "alertname=cron failed host=db-1 n=3 on=true severity=warning"
    );
    assert_eq!(alert.annotations["description"], "exit 1");
    assert_eq!(alert.links.source.as_deref(), Some("https://ci.example/7"));

    let paths = [
        ("id", "/event/id"),
        ("status", "/event/value"),
        ("title", "/event/na~1me"),
        ("group", "/host/0/name"),
        ("starts_at", "/at"),
    ];
    let fields = Fields {
        paths: paths.map(|(name, path)| (name, String::from(path))).into(),
        firing: vec![String::from("problem"), String::from("1")],
        resolved: vec![String::from("ok")],
    };
    let event = |status: Value| {
        json!({"event": {"id": "e1", "value": status, "na/me": "T"}, "host": [{"name": "web"}],
            "at": "2026-11-22 17:51:03.157+08:00"})
    };
    let firing = |status: Value| {
        let body = event(status).to_string();
        super::read(Source::Generic, &fields, body.as_bytes()).map(|read| {
            assert_eq!(
                (&*read.group_key, &*read.alerts[0].fingerprint),
                ("web", "e1")
            );
            assert_eq!(
                (read.alerts[0].starts_ms, read.alerts[0].name()),
                (START_MS, "T")
            );
            read.alerts[0].firing
        })
    };
    assert_eq!(firing(json!("PROBLEM")), Ok(true));
    assert_eq!(firing(json!(1)), Ok(true));
    assert_eq!(firing(json!("OK")), Ok(false));
    assert_eq!(firing(json!("resolved")), Ok(false));
    assert_eq!(
        places(firing(json!("maybe")).map(|_| Notification::default())),
        ["/event/value"]
    );
}

#[test]
fn what_is_wrong_is_named_with_its_place() {
    let check = |source, value: Value, expected: &[&str]| {
        let found = places(take(source, &value));
        assert_eq!(found, expected, "{value}");
        let Err(Refused::Flawed(flaws)) = take(source, &value) else {
            panic!("refused before");
        };
        assert!(
            flaws.iter().all(|flaw| !flaw.detail.contains("hidden")),
            "{flaws:?}"
        );
    };
    use Source::{Alertmanager, Generic, Grafana};
    check(Alertmanager, json!([]), &[""]);
    check(
        Alertmanager,
        json!({}),
        &["/version", "/groupKey", "/alerts"],
    );
    check(
        Alertmanager,
        json!({"version": "5", "groupKey": "g", "alerts": "hidden"}),
        &["/version", "/alerts"],
    );
    check(
        Grafana,
        json!({"groupKey": "", "alerts": []}),
        &["/groupKey", "/alerts"],
    );
    check(
        Grafana,
        json!({"groupKey": 7, "alerts": [7, {"status": "hidden"}], "truncatedAlerts": -1}),
        &[
            "/groupKey",
            "/alerts/0",
            "/alerts/1/status",
            "/truncatedAlerts",
        ],
    );
    check(
        Grafana,
        json!({"groupKey": "g", "groupLabels": [], "externalURL": {}, "alerts": [
        {"status": "firing", "labels": {"a/b~c": 1}, "annotations": "hidden", "startsAt": "hidden",
         "fingerprint": 1, "silenceURL": 1}]}),
        &[
            "/alerts/0/labels/a~1b~0c",
            "/alerts/0/annotations",
            "/alerts/0/fingerprint",
            "/alerts/0/startsAt",
            "/groupLabels",
            "/externalURL",
            "/alerts/0/silenceURL",
        ],
    );
    check(Generic, json!([{}]), &[""]);
    check(Generic, json!({}), &["/id", "/status"]);
    check(
        Generic,
        json!({"id": {}, "status": "hidden", "labels": {"x": []}, "starts_at": "hidden"}),
        &["/id", "/status", "/labels/x", "/starts_at"],
    );
    let many: Vec<Value> = (0..500).map(|_| json!(1)).collect();
    let many = json!({"version": "4", "groupKey": "g", "alerts": many});
    assert_eq!(places(take(Alertmanager, &many)).len(), FLAWS_MAX);
}

#[test]
fn what_is_no_json_or_too_much_of_it_is_refused_before_it_is_taken_apart() {
    let check = |body: &[u8]| super::read(Source::Generic, &fields(), body).unwrap_err();
    assert!(matches!(check(b""), Refused::Malformed(_)));
    assert!(matches!(
        check(b"{\"id\": \"\xff\"}"),
        Refused::Malformed(_)
    ));
    assert!(matches!(check(b"{} {}"), Refused::Malformed(_)));
    assert!(matches!(check(&b"[".repeat(300)), Refused::Malformed(_)));
    assert!(matches!(
        check(&b"[0,".repeat(600_000)),
        Refused::TooLarge(_)
    ));
    let long = vec![b' '; BODY_BYTES_MAX + 1];
    assert!(matches!(check(&long), Refused::TooLarge(_)));
    // Signs in texts are not values.
    let text = json!({"id": "1", "status": "firing", "text": "[,{:\"".repeat(600_000)});
    let read = take(Source::Generic, &text).unwrap();
    assert_eq!(
        read.alerts[0].annotations["description"].len(),
        ANNOTATION_BYTES_MAX
    );
    let marked = [&b"\xef\xbb\xbf"[..], br#"{"id":"1","status":"firing"}"#].concat();
    assert!(super::read(Source::Generic, &fields(), &marked).is_ok());
}

#[test]
fn a_start_is_any_rfc_3339_and_a_missing_or_zero_one_is_none() {
    let check = |start: Value, expected: i64| {
        let value = one(json!({"status": "resolved", "startsAt": start, "endsAt": start}));
        let read = take(Source::Alertmanager, &value).unwrap();
        assert_eq!(read.alerts[0].starts_ms, expected, "{start}");
        assert_eq!(read.alerts[0].ends_ms, Some(expected).filter(|ms| *ms > 0));
    };
    for text in [
        START,
        "2026-11-22T09:51:03.157076999Z",
        "2026-11-22t09:51:03.157z",
        "2026-11-22 17:51:03.157+08:00",
        "2026-11-22T05:21:03.157-04:30",
    ] {
        check(json!(text), START_MS);
    }
    check(json!("2026-11-22T09:51:03Z"), START_MS - 157);
    check(json!("0001-01-01T00:00:00Z"), 0);
    check(json!("0001-01-01T00:00:00+08:00"), 0);
    check(json!(""), 0);
    check(json!(null), 0);
}

#[test]
fn an_alert_without_a_fingerprint_is_known_by_its_labels() {
    let of = |alert: Value| {
        take(Source::Alertmanager, &one(alert))
            .unwrap()
            .alerts
            .remove(0)
    };
    let first = of(json!({"status": "firing", "labels": {"a": "b", "c": "d"}}));
    let same = of(json!({"status": "resolved", "labels": {"c": "d", "a": "b"}, "fingerprint": ""}));
    assert_eq!(first.fingerprint, same.fingerprint);
    for other in [
        json!({"a": "b"}),
        json!({"a": "bc", "": "d"}),
        json!({"ab": "", "c": "d"}),
    ] {
        let other = of(json!({"status": "firing", "labels": other}));
        assert_ne!(first.fingerprint, other.fingerprint);
    }
    let long = of(json!({"status": "firing", "fingerprint": "f".repeat(5000)}));
    assert_eq!(long.fingerprint.len(), 71);
}

#[test]
fn of_one_fingerprint_twice_the_later_word_counts() {
    let word = |status: &str, minute: u32| {
        let at = format!("2026-11-22T09:{minute:02}:00Z");
        json!({"status": status, "fingerprint": "f", "startsAt": at})
    };
    let check = |words: [Value; 2], firing: bool, minute: i64| {
        let mut alerts: Vec<Value> = words.to_vec();
        alerts.insert(1, json!({"status": "firing", "fingerprint": "g"}));
        let value = json!({"version": "4", "groupKey": "g", "alerts": alerts});
        let read = take(Source::Alertmanager, &value).unwrap();
        let names: Vec<&str> = read.alerts.iter().map(|a| &*a.fingerprint).collect();
        assert_eq!(names, ["f", "g"]);
        let alert = &read.alerts[0];
        assert_eq!(
            (alert.firing, alert.starts_ms / 60_000 % 60),
            (firing, minute)
        );
    };
    check([word("firing", 1), word("firing", 1)], true, 1);
    check([word("firing", 1), word("resolved", 1)], false, 1);
    check([word("resolved", 1), word("firing", 1)], false, 1);
    check([word("resolved", 1), word("firing", 2)], true, 2);
    check([word("firing", 2), word("resolved", 1)], true, 2);
}

#[test]
fn more_alerts_than_are_kept_are_counted_and_what_fires_stays() {
    let alert = |n: usize| {
        let status = ["resolved", "firing"][usize::from(!n.is_multiple_of(3))];
        json!({"status": status, "fingerprint": n.to_string()})
    };
    let alerts: Vec<Value> = (0..18_000).map(alert).collect();
    let value = json!({"version": "4", "groupKey": "g", "alerts": alerts, "truncatedAlerts": 5});
    let read = take(Source::Alertmanager, &value).unwrap();
    assert_eq!(read.alerts.len(), ALERTS_MAX);
    assert!(read.alerts.iter().all(|alert| alert.firing));
    assert_eq!((&*read.alerts[0].fingerprint, read.truncated), ("1", 2005));
}

#[test]
fn texts_are_cut_and_what_names_an_alert_stays() {
    let mut labels: BTreeMap<String, String> = (0..150)
        .map(|n| (format!("l{n:03}"), String::from("v")))
        .collect();
    labels.insert("severity".into(), "critical".into());
    labels.insert("l000".into(), "ü".repeat(1 << 20));
    labels.insert("x".repeat(1000), "v".into());
    let value = one(json!({"status": "firing", "labels": labels}));
    let read = take(Source::Alertmanager, &value).unwrap();
    let labels = &read.alerts[0].labels;
    assert_eq!(
        (labels.len(), &*labels["severity"]),
        (LABELS_MAX, "critical")
    );
    assert!(labels["l000"].len() <= LABEL_BYTES_MAX && labels["l000"].ends_with("ü…"));
}

#[test]
fn a_link_is_a_web_page_or_nothing() {
    let check = |text: &str, expected: Option<&str>| {
        assert_eq!(link(Some(text)).as_deref(), expected, "{text}");
    };
    check(
        "https://a.example/x y\"<>",
        Some("https://a.example/x%20y%22%3C%3E"),
    );
    check(" http://a.example ", Some("http://a.example/"));
    check(
        "HTTPS://A.example/\u{202e}",
        Some("https://a.example/%E2%80%AE"),
    );
    for bad in [
        "",
        "a.example",
        "javascript:alert(1)",
        "ftp://a.example",
        "data:x",
        "https://",
        "//a.example",
        "lark://x",
    ] {
        check(bad, None);
    }
    check(&format!("https://a.example/{}", "x".repeat(3000)), None);
}

mod signed {
    use super::*;
    use crate::config::Signature;
    use hmac::{Hmac, KeyInit, Mac};
    use http::{HeaderMap, HeaderName, HeaderValue};

    const NOW_MS: i64 = 1_795_341_063_157;
    const BODY: &[u8] = br#"{"status":"firing"}"#;

    /// As grafana/alerting's `http/hmac.go` does.
    fn sign(secret: &str, stamp: Option<&str>, body: &[u8]) -> String {
        let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
        if let Some(stamp) = stamp {
            mac.update(stamp.as_bytes());
            mac.update(b":");
        }
        mac.update(body);
        crate::job::hex(&mac.finalize().into_bytes())
    }

    fn signature(timestamp_header: Option<&str>) -> Signature {
        Signature {
            secret: "s3cret".into(),
            header: String::from("X-Grafana-Alerting-Signature"),
            timestamp_header: timestamp_header.map(str::to_owned),
        }
    }

    fn check(signature: &Signature, given: &[(&str, &str)], body: &[u8], fine: bool) {
        let mut headers = HeaderMap::new();
        for (name, value) in given {
            let name: HeaderName = name.parse().unwrap();
            headers.append(name, HeaderValue::from_str(value).unwrap());
        }
        let verified = verify(signature, &headers, body, NOW_MS);
        assert_eq!(verified.is_ok(), fine, "{given:?}: {verified:?}");
    }

    #[test]
    fn a_body_is_taken_with_its_own_signature_alone() {
        let name = "x-grafana-alerting-signature";
        // By another hand: printf '{"status":"firing"}' | openssl dgst -sha256 -hmac s3cret
        let good = "043737fa7d4b65306416549b14537adb753ed11a55b3fb6f50fec5192bbd3851";
        assert_eq!(sign("s3cret", None, BODY), good);
        let plain = signature(None);
        check(&plain, &[(name, good)], BODY, true);
        check(&plain, &[(name, &good.to_uppercase())], BODY, true);
        check(&plain, &[(name, &format!("sha256={good}"))], BODY, true);
        check(&plain, &[], BODY, false);
        check(&plain, &[(name, "")], BODY, false);
        check(&plain, &[(name, &good[1..])], BODY, false);
        check(&plain, &[(name, &"é".repeat(32))], BODY, false);
        check(&plain, &[(name, good), (name, good)], BODY, false);
        check(&plain, &[(name, good)], b"{}", false);
        check(&plain, &[(name, &sign("other", None, BODY))], BODY, false);
    }

    #[test]
    fn a_signed_time_is_one_of_the_last_minutes() {
        let name = "X-Grafana-Alerting-Signature";
        let stamped = signature(Some("X-Time"));
        let at = |s: i64| (NOW_MS / 1000 + s).to_string();
        for (off, fine) in [
            (0, true),
            (-299, true),
            (299, true),
            (-302, false),
            (302, false),
        ] {
            let stamp = at(off);
            let good = sign("s3cret", Some(&stamp), BODY);
            check(&stamped, &[(name, &good), ("x-time", &stamp)], BODY, fine);
            check(
                &stamped,
                &[(name, &good), ("x-time", &at(off + 1))],
                BODY,
                false,
            );
            check(&stamped, &[(name, &good)], BODY, false);
        }
        let good = sign("s3cret", Some("soon"), BODY);
        check(&stamped, &[(name, &good), ("x-time", "soon")], BODY, false);
        let bare = sign("s3cret", None, BODY);
        check(&stamped, &[(name, &bare), ("x-time", &at(0))], BODY, false);
    }
}

/// JSON that looks like a notification more often than not.
fn anything() -> impl Strategy<Value = Value> {
    let word = prop_oneof![
        Just("firing"),
        Just("resolved"),
        Just("4"),
        Just(START),
        Just("0001-01-01T00:00:00Z"),
        Just("https://a.example/x"),
        Just("<at user_id=\"all\"></at>"),
        Just("\u{0}\u{202e}[x](y)"),
        Just(""),
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        word.prop_map(Value::from),
        "(?s).{0,20}".prop_map(Value::from),
    ];
    let name = prop_oneof![
        Just("version"),
        Just("groupKey"),
        Just("alerts"),
        Just("status"),
        Just("labels"),
        Just("annotations"),
        Just("startsAt"),
        Just("endsAt"),
        Just("fingerprint"),
        Just("externalURL"),
        Just("id"),
        Just("a/b~"),
        Just("truncatedAlerts"),
        Just("silenceURL"),
        Just("starts_at"),
        Just("severity"),
    ];
    leaf.prop_recursive(5, 64, 6, move |inner| {
        let name = name.clone().prop_map(String::from);
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map(name, inner, 0..10)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    /// Whatever comes: it is taken within bounds, or each fault stands where it says.
    #[test]
    fn every_fault_has_its_place_and_what_is_taken_has_its_bounds(value in anything()) {
        for source in [Source::Alertmanager, Source::Grafana, Source::Generic] {
            match take(source, &value) {
                Ok(read) => {
                    prop_assert!(!read.group_key.is_empty() && read.group_key.len() <= KEY_BYTES_MAX);
                    let names: std::collections::BTreeSet<_> =
                        read.alerts.iter().map(|alert| &alert.fingerprint).collect();
                    prop_assert_eq!(names.len(), read.alerts.len());
                    for alert in &read.alerts {
                        prop_assert!(!alert.fingerprint.is_empty() && alert.starts_ms >= 0);
                        prop_assert!(alert.firing <= alert.ends_ms.is_none());
                    }
                }
                Err(Refused::Flawed(flaws)) => {
                    prop_assert!(!flaws.is_empty());
                    for flaw in flaws {
                        let above = flaw.pointer.rsplit_once('/').map_or("", |(above, _)| above);
                        let inside = value.pointer(above);
                        prop_assert!(inside.is_some(), "{flaw:?} of {value}");
                    }
                }
                Err(other) => prop_assert!(false, "{other:?}"),
            }
        }
    }

    /// What a source says is what is read.
    #[test]
    fn an_alert_is_read_as_it_was_written(
        firing in any::<bool>(), start in 1_000_i64..4_000_000_000_000,
        labels in proptest::collection::btree_map("\\PC{1,20}", "(?s).{0,50}", 0..10),
        annotations in proptest::collection::btree_map("\\PC{1,20}", "(?s).{0,50}", 0..5),
        source in prop_oneof![Just(Source::Alertmanager), Just(Source::Grafana)],
    ) {
        let status = if firing { "firing" } else { "resolved" };
        let at = clock::rfc3339(start);
        let value = one(json!({"status": status, "startsAt": at, "endsAt": at, "labels": labels,
            "annotations": annotations, "fingerprint": "f"}));
        let alert = take(source, &value).unwrap().alerts.remove(0);
        prop_assert_eq!((&alert.labels, &alert.annotations), (&labels, &annotations));
        prop_assert_eq!((alert.firing, alert.starts_ms), (firing, start));
        prop_assert_eq!(alert.ends_ms, (!firing).then_some(start));
    }
}
