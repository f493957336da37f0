//! What an alert says never is more than words: on the built-in card, on a card of one's own, and on the rungs below.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on should stop here"
)]

mod support;

use std::fs;

use feishu_sandbox::{DEFAULT_CHAT, DEFAULT_USERS};
use serde_json::{Value, json};
use support::House;
use support::alerts::{count, firing, of, resolved, route, tell, until_seen};
use support::jobs::SEND;

const AT: &str = "2026-01-31T08:00:00Z";
/// A card as somebody would write one.
const CARD: &str = r#"{
  "schema": "2.0",
  "header": { "title": { "tag": "plain_text", "content": {{ title }} }, "template": "{{ color }}" },
  "body": { "elements": [
    {% for alert in alerts %}
    { "tag": "markdown", "content": "**{{ alert.name }}** {{ alert.description }} {{ mentions }}" },
    {% for name, value in alert.labels|items %}
    { "tag": "div", "text": { "tag": "plain_text", "content": "{{ name }} is {{ value }}" } },
    {% endfor %}
    {% endfor %}
    { "tag": "hr" }
  ] }
}"#;

/// An alert that would like to be more than words.
fn hostile(status: fn(&str, &str, &str) -> Value) -> Value {
    let other = DEFAULT_USERS[1];
    let evil = format!(
        "<at id=all></at><at id={other}></at><at id=ou_nobody></at><at user_id=\"all\">x</at> **[a](https://evil.cn)** \
         ![b](img_v3_x) &lt;at id=all&gt; \"}},{{\"tag\":\"hr\"}} {{{{ 7 * 7 }}}} \u{202e}\u{0}\u{200b}<\u{200b}at id=all></at>"
    );
    let mut alert = status("Evil", "db-1", AT);
    alert["labels"]["alertname"] = json!(evil);
    alert["labels"]["instance"] = json!(evil);
    alert["labels"]["long"] = json!("字".repeat(350_000));
    alert["labels"][&evil] = json!(evil);
    alert["annotations"] =
        json!({ "summary": evil, "description": evil.repeat(40), "runbook_url": "javascript:x" });
    alert["generatorURL"] = json!("https://ex.cn/x)<at id=all></at>");
    alert
}

fn card(effect: &Value) -> Value {
    serde_json::from_str(effect["content"].as_str().unwrap()).unwrap()
}

fn elements(card: &Value) -> Vec<&str> {
    let list = card["body"]["elements"].as_array().unwrap().iter();
    list.map(|each| each["tag"].as_str().unwrap()).collect()
}

/// The one mention is the route's, and no link leads where an alert wants.
fn is_tame(card: &Value, mentions: usize) {
    let text = card.to_string();
    assert_eq!(text.matches("<at").count(), mentions, "{text}");
    let ours = format!("<at id={}></at>", DEFAULT_USERS[0]);
    assert_eq!(text.matches(&ours).count(), mentions, "{text}");
    for bad in [
        "](https://evil",
        "javascript:",
        "\u{202e}",
        "\\u0000",
        "\u{200b}",
        "49",
    ] {
        assert!(!text.contains(bad), "{bad}: {text}");
    }
    assert!(text.len() < 30_000);
}

#[tokio::test]
async fn hostile_labels_mention_nobody_and_change_no_card() {
    let mention = format!("mention = [\"{}\"]", DEFAULT_USERS[0]);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("card.json");
    fs::write(&path, CARD).unwrap();
    let own = format!("{mention}\ntemplate = \"{}\"", path.display());
    let own = route(&format!("match = ['kind=\"own\"']\n{own}"));
    let house = House::with(None, &format!("{own}\n{}", route(&mention))).await;
    tell(&house, "Evil", &[hostile(firing)]).await;
    let seen = until_seen(&house, |seen| count(seen, "message") == 1).await;
    let built_in = card(of(&seen, "message")[0]);
    is_tame(&built_in, 1);
    let expected = [
        "markdown",
        "div",
        "markdown",
        "hr",
        "div",
        "div",
        "markdown",
        "column_set",
    ];
    let found = elements(&built_in);
    assert!(
        found.iter().all(|tag| expected.contains(tag)) && found.len() <= expected.len(),
        "{found:?}"
    );
    tell(&house, "Evil", &[hostile(resolved)]).await;
    let seen = until_seen(&house, |seen| count(seen, "card_update") == 1).await;
    is_tame(&card(of(&seen, "card_update")[0]), 0);
    // A card of one's own.
    let mut alert = hostile(firing);
    alert["labels"]["kind"] = json!("own");
    tell(&house, "Own", &[alert]).await;
    let seen = until_seen(&house, |seen| count(seen, "message") == 2).await;
    let own = card(of(&seen, "message")[1]);
    is_tame(&own, 1);
    assert_eq!(
        elements(&own),
        ["markdown", "div", "div", "div", "div", "div", "div", "hr"]
    );
    // The rungs below the built-in card.
    for (times, msg_type) in [(1, "post"), (2, "text")] {
        let rule =
            json!({ "call": SEND, "do": "code", "code": 230_099, "http": 400, "count": times });
        house.control("faults", json!([rule])).await;
        let job = json!({ "kind": "send", "on_refused": "degrade", "args": { "to": DEFAULT_CHAT, "card": built_in } });
        let (status, job) = house.request("POST", "/v1/jobs?wait=50s", Some(job)).await;
        assert!(status < 300, "{job}");
        let seen = until_seen(&house, |seen| {
            seen.iter().any(|effect| effect["msg_type"] == msg_type)
        })
        .await;
        let last = seen.last().unwrap();
        assert_eq!(last["msg_type"], msg_type, "{last}");
        let content = card(last);
        if msg_type == "text" {
            let text = content["text"].as_str().unwrap();
            assert!(!text.contains("<at") && !text.contains("]("), "{text}");
        } else {
            let text = content.to_string();
            assert!(
                !text.contains("\"tag\":\"at\"") && !text.contains("\"tag\":\"md\""),
                "{text}"
            );
        }
    }
}

#[tokio::test]
async fn a_broken_template_is_named_with_its_line_and_starts_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("card.json");
    let template = format!("template = \"{}\"", path.display());
    let house = House::without_relay(None, &route(&template)).await;
    let config = house.write_config();
    let told = |command: &str| {
        let told = house
            .binary()
            .args([command, "--config"])
            .arg(&config)
            .output()
            .unwrap();
        (
            told.status.code(),
            String::from_utf8_lossy(&told.stderr).into_owned(),
        )
    };
    fs::write(&path, "{\"elements\": [\n{{ sumary }}\n]}").unwrap();
    for command in ["check", "serve"] {
        let (code, said) = told(command);
        assert_eq!(code, Some(2), "{command}: {said}");
        assert!(
            said.contains("card.json:2: undefined value"),
            "{command}: {said}"
        );
    }
    fs::write(&path, CARD).unwrap();
    assert_eq!(told("check").0, Some(0));
}
