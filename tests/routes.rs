//! `routes test`: what a payload would do, said without a relay.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on should stop here"
)]

mod stub;

use serde_json::{Value, json};
use stub::{Ended, command, finish};
use tempfile::TempDir;

const CONFIG: &str = r#"
[[apps]]
name = "ops"
app_id = "cli_a"
app_secret = "s"
[[routes]]
name = "db"
source = "alertmanager"
hmac_secret = "not-asked-for-here"
to = "oc_all"
continue = true
match = 'severity=~"critical|warning"'
[[routes]]
name = "db"
to = "oc_crit"
fallback = "oc_else"
match = 'severity="critical"'
mention = ["@duty", "a@corp.cn"]
pin = true
escalate = [{ after = "5m", do = "urgent_app", to = ["@duty"] }, { after = "15m", do = "urgent_phone", to = ["ou_lead", "@gone"] }]
[[routes]]
name = "db"
to = "oc_quiet"
match = 'severity="quiet"'
mention = "@all"
quiet = "00:00-13:00 UTC"
[oncall]
duty = "duty.txt"
gone = "gone.txt"
"#;

struct Desk {
    folder: TempDir,
}

impl Desk {
    fn new(config: &str) -> Desk {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("relay.toml"), config).unwrap();
        std::fs::write(folder.path().join("duty.txt"), "ou_1 Li Lei\nou_2\n").unwrap();
        Desk { folder }
    }

    async fn test(&self, more: &[&str], body: &str) -> Ended {
        let config = self.folder.path().join("relay.toml");
        let config = config.to_str().unwrap();
        let words = [&["routes", "test", "-", "--config", config], more].concat();
        finish(command(&words), body).await
    }
}

fn alert(name: &str, status: &str, severity: &str) -> Value {
    json!({"status": status, "fingerprint": name, "startsAt": "2026-11-22T09:51:03Z",
        "labels": {"alertname": name, "severity": severity}})
}

fn group(alerts: Vec<Value>) -> String {
    json!({"version": "4", "groupKey": "{}:{}", "alerts": alerts}).to_string()
}

#[tokio::test]
async fn a_payload_is_followed_to_everybody_whom_it_would_reach() {
    let desk = Desk::new(CONFIG);
    let body = group(vec![
        alert("DiskFull", "firing", "critical"),
        alert("Slow", "firing", "warning"),
        alert("Old", "resolved", "critical"),
        alert("Other", "firing", "none"),
    ]);
    let ended = desk.test(&["--json"], &body).await;
    assert_eq!(ended.code, 0, "{}", ended.err);
    let answer: Value = serde_json::from_str(&ended.out).unwrap();
    assert_eq!(
        (&answer["sink"], &answer["unmatched"]),
        (&json!("db"), &json!(1))
    );
    let [all, crit] = &answer["routes"].as_array().unwrap()[..] else {
        panic!("{answer:#}");
    };
    assert_eq!(all["route"], "db{severity=~\"critical|warning\"}");
    assert_eq!(
        (&all["to"], &all["firing"], &all["resolved"]),
        (&json!("oc_all"), &json!(2), &json!(1))
    );
    assert_eq!(
        (&crit["to"], &crit["fallback"], &crit["priority"]),
        (&json!("oc_crit"), &json!("oc_else"), &json!("high"))
    );
    assert_eq!(crit["mention"]["ids"], json!(["ou_1", "ou_2"]));
    assert_eq!(crit["mention"]["mails"], json!(["a@corp.cn"]));
    let card = crit["card"].to_string();
    assert!(
        card.contains("DiskFull") && card.contains("ou_1") && !card.contains("Slow"),
        "{card}"
    );
    let [first, second] = &crit["escalate"].as_array().unwrap()[..] else {
        panic!("{crit:#}");
    };
    assert_eq!(
        (&first["after"], &first["do"], &first["ids"]),
        (&json!("5m"), &json!("urgent_app"), &json!(["ou_1", "ou_2"]))
    );
    assert_eq!(
        (&second["named"], &second["ids"]),
        (&json!(["ou_lead", "@gone"]), &json!(["ou_lead"]))
    );
    let fault = second["faults"][0].as_str().unwrap();
    assert!(fault.starts_with("@gone cannot be read"), "{fault}");

    let ended = desk.test(&[], &body).await;
    for line in [
        "POST /v1/alerts/db: 4 alerts in the group \"{}:{}\"",
        "no route takes 1 of them: nobody would see them",
        "db{severity=\"critical\"}: 1 firing, 1 resolved",
        "  one card to oc_crit by ops, or oc_else if Feishu refuses that: ",
        "  severity critical, priority high, pinned while it fires",
        "  mentions ou_1, ou_2, a@corp.cn",
        "  after 5m urgent_app to ou_1, ou_2",
        "  after 15m urgent_phone to ou_lead (@gone cannot be read",
    ] {
        assert!(ended.out.contains(line), "{line} in {}", ended.out);
    }
}

#[tokio::test]
async fn what_is_over_makes_nothing() {
    let desk = Desk::new(CONFIG);
    let ended = desk
        .test(&[], &group(vec![alert("Old", "resolved", "warning")]))
        .await;
    assert_eq!(ended.code, 0, "{}", ended.err);
    assert!(
        ended.out.contains("  nothing: none of it is firing"),
        "{}",
        ended.out
    );
}

#[tokio::test]
async fn in_quiet_hours_nobody_is_mentioned() {
    // Whichever hour it is now, one of the two is quiet.
    let mut quiet = 0;
    for hours in ["00:00-13:00", "12:00-01:00"] {
        let desk = Desk::new(&CONFIG.replace("00:00-13:00", hours));
        let body = group(vec![alert("Night", "firing", "quiet")]);
        let ended = desk.test(&["--json"], &body).await;
        let answer: Value = serde_json::from_str(&ended.out).unwrap();
        let route = &answer["routes"][0];
        let loud = route["quiet_until"].is_null();
        assert_eq!(route["mentioned"] == true, loud, "{answer:#}");
        assert_eq!(
            route["card"].to_string().contains("id=all"),
            loud,
            "{answer:#}"
        );
        quiet += i32::from(!loud);
    }
    assert!(quiet > 0);
}

#[tokio::test]
async fn what_the_relay_would_refuse_is_said_with_its_place() {
    let desk = Desk::new(CONFIG);
    let body = json!({"version": "4", "groupKey": "g", "alerts": [{"status": "on"}]});
    let ended = desk.test(&[], &body.to_string()).await;
    assert_eq!((ended.code, &*ended.out), (2, ""));
    assert!(
        ended
            .err
            .contains("/alerts/0/status: must be \"firing\" or \"resolved\""),
        "{}",
        ended.err
    );
    let ended = desk.test(&[], "{").await;
    assert_eq!(ended.code, 2);
    assert!(ended.err.contains("it is no JSON"), "{}", ended.err);
    let ended = desk.test(&["--name", "web"], "{}").await;
    assert_eq!(ended.code, 2);
    assert!(
        ended
            .err
            .contains("no route is named \"web\"; there are db"),
        "{}",
        ended.err
    );
    let bare = Desk::new(&CONFIG[..CONFIG.find("[[routes]]").unwrap()]);
    let ended = bare.test(&[], "{}").await;
    assert_eq!(ended.code, 2);
    assert!(
        ended.err.contains("the config has no [[routes]]"),
        "{}",
        ended.err
    );
}
