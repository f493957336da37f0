//! `feishu-relay incidents` against a relay that answers what it is told: what people read, and how it ends.

mod stub;

use serde_json::{Value, json};
use stub::run;

const ID: &str = "inc_0199a5b1c0007000800000000000beef";

fn incident() -> Value {
    json!({
        "id": ID, "state": "firing", "severity": "critical", "title": "HighLatency", "route": "db", "group": "{}:{}",
        "app": "ops", "to": "oc_1", "client": "am", "alert_count": 3, "opened_at": "2026-01-31T08:00:00.000Z",
        "changed_at": "2026-01-31T08:00:00.000Z", "ended_at": null, "message_id": "om_1", "is_digest": false, "digest": null,
    })
}

fn whole() -> Value {
    let mut whole = incident();
    let more = json!({
        "acknowledged": {"at": "2026-01-31T08:06:00.000Z", "by": "alice", "how": "ack"},
        "card": {"message_id": "om_1", "unshown": null},
        "alerts": [
            {"status": "firing", "severity": "critical", "starts_at": "2026-01-31T08:00:00.000Z", "ends_at": null,
             "labels": {"alertname": "HighLatency", "instance": "web-1\u{1b}[2J"}},
            {"status": "resolved", "severity": "critical", "starts_at": "2026-01-31T08:00:00.000Z", "ends_at": null,
             "resolved_at": "2026-01-31T08:04:00.000Z", "labels": {"instance": "web-2"}},
            {"status": "resolved", "severity": "critical", "starts_at": "2026-01-31T08:00:00.000Z",
             "ends_at": "2026-01-31T08:02:00.000Z", "resolved_at": "2026-01-31T08:03:00.000Z", "labels": {"instance": "web-3"}},
        ],
        "rungs": [
            {"do": "urgent_app", "after": "5m", "to": ["@oncall"], "due_at": "2026-01-31T08:05:00.000Z", "outcome": "fired",
             "why": "nobody had read it", "people": ["ou_1"], "readers": [], "jobs": []},
            {"do": "urgent_phone", "after": "15m", "to": ["@lead"], "due_at": "2026-01-31T08:15:00.000Z", "outcome": "skipped",
             "why": "acknowledged", "people": [], "readers": [], "jobs": []},
        ],
        "jobs": [{"id": "job_1", "role": "card", "n": 0, "state": "failed", "created_at": "2026-01-31T08:00:00.000Z",
            "message_id": null, "error": {"class": "admin", "code": 230_002, "msg": "The bot is not in the chat"}}],
        "log": [{"at": "2026-01-31T08:00:00.000Z", "what": "3 alerts fire", "job": null}],
    });
    for (name, value) in more.as_object().expect("an object") {
        whole[name] = value.clone();
    }
    whole
}

#[tokio::test]
async fn a_list_is_a_table_for_people_and_json_for_programs() {
    let page = json!({"incidents": [incident()], "next_cursor": null});
    let words = [
        "incidents",
        "list",
        "--state",
        "firing",
        "--route",
        "db",
        "--since",
        "2h",
    ];
    let ended = run(vec![(200, page.clone())], &words, "").await;
    assert_eq!(ended.code, 0, "{}", ended.err);
    let asked = "GET /v1/incidents?state=firing&route=db&since=2h&limit=50";
    assert_eq!(ended.lines(), [asked]);
    let lines: Vec<_> = ended.out.lines().collect();
    assert!(
        lines[0].contains("SEVERITY") && lines.len() == 2,
        "{}",
        ended.out
    );
    for word in [
        ID,
        "firing",
        "critical",
        "db",
        "2026-01-31T08:00:00.000Z",
        " 3 ",
        "HighLatency",
    ] {
        assert!(lines[1].contains(word), "{word}: {}", ended.out);
    }
    let ended = run(
        vec![(200, page.clone())],
        &["incidents", "list", "--json"],
        "",
    )
    .await;
    let told: Value = serde_json::from_str(&ended.out).expect("JSON");
    assert_eq!(told, page);
    let none = json!({"incidents": [], "next_cursor": null});
    let ended = run(vec![(200, none)], &["incidents", "list"], "").await;
    assert_eq!((ended.code, &*ended.err), (0, "no incidents\n"));
}

#[tokio::test]
async fn a_list_goes_on_behind_a_short_page() {
    let page = |cursor: Value| {
        (
            200,
            json!({"incidents": [incident()], "next_cursor": cursor}),
        )
    };
    let answers = vec![page(json!("9")), page(json!("7"))];
    let ended = run(answers, &["incidents", "list", "--limit", "2"], "").await;
    assert_eq!(ended.out.lines().count(), 3, "{}", ended.out);
    let asked = [
        "GET /v1/incidents?limit=2",
        "GET /v1/incidents?limit=1&cursor=9",
    ];
    assert_eq!(ended.lines(), asked);
    assert_eq!(ended.err, "more: --cursor 7\n");
}

#[tokio::test]
async fn an_incident_is_shown_with_why_a_rung_fired_or_did_not() {
    let ended = run(vec![(200, whole())], &["incidents", "show", ID], "").await;
    assert_eq!(ended.code, 0, "{}", ended.err);
    assert_eq!(ended.lines(), [format!("GET /v1/incidents/{ID}")]);
    let line = |word: &str| {
        let found = ended.out.lines().find(|line| line.contains(word));
        found.unwrap_or_else(|| panic!("{word}: {}", ended.out))
    };
    assert!(line("looks at it").ends_with("alice"), "{}", ended.out);
    assert!(line("web-2").contains("08:04"), "its source said no end");
    assert!(line("web-3").contains("08:02"), "{}", ended.out);
    assert!(line("urgent_app").contains("fired"));
    assert!(line("urgent_app").contains("ou_1") && !line("urgent_app").contains("@oncall"));
    assert!(line("urgent_app").ends_with("nobody had read it"));
    assert!(line("urgent_phone").contains("@lead"));
    assert!(line("urgent_phone").ends_with("acknowledged"));
    assert!(line("job_1").ends_with("admin 230002 The bot is not in the chat"));
    assert!(line("3 alerts fire").contains("2026-01-31T08:00:00.000Z"));
    assert!(
        line("instance=").contains("alertname=HighLatency instance=web-1 [2J"),
        "{}",
        ended.out
    );
    assert!(!ended.out.contains('\u{1b}'), "{:?}", ended.out);
}

#[tokio::test]
async fn an_ack_says_how_it_stands_then_or_why_not() {
    let mut seen = incident();
    seen["state"] = json!("acknowledged");
    let ended = run(vec![(200, seen)], &["incidents", "ack", ID], "").await;
    assert_eq!(ended.out, format!("{ID} acknowledged: HighLatency\n"));
    assert_eq!(ended.lines(), [format!("POST /v1/incidents/{ID}/ack")]);
    for (status, code) in [(403, 2), (404, 2), (409, 2), (503, 3)] {
        let problem = json!({"title": "No", "detail": "it is over"});
        let ended = run(vec![(status, problem)], &["incidents", "ack", ID], "").await;
        assert_eq!(ended.code, code, "{status}");
        assert!(ended.err.ends_with(": it is over\n"), "{}", ended.err);
    }
}
