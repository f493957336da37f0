//! The rules for the relay's own metrics, and the files of the page that Prometheus's tools can judge.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;

use crate::block;
use crate::support::House;
use crate::support::jobs::{doubtful, message};
use crate::support::tools::{ran, tool};

const RULES: &str = include_str!("../../docs/prometheus/feishu-relay.rules.yml");
const OPERATIONS: &str = include_str!("../../docs/OPERATIONS.md");

fn prometheus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/prometheus")
}

#[test]
fn the_rules_for_the_relays_metrics_hold_what_their_tests_say() {
    let Some(promtool) = tool("promtool") else {
        return;
    };
    let mut check = Command::new(&promtool);
    check.args(["check", "rules", "--lint=all", "--lint-fatal"]);
    ran(check
        .arg("feishu-relay.rules.yml")
        .current_dir(prometheus()));
    let mut test = Command::new(&promtool);
    test.args(["test", "rules"]);
    ran(test
        .arg("feishu-relay.rules.test.yml")
        .current_dir(prometheus()));
}

/// The words of a text that begin with `start`.
fn words<'a>(text: &'a str, start: &str) -> BTreeSet<&'a str> {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.split(|c| !word(c))
        .filter(|found| found.starts_with(start))
        .collect()
}

#[tokio::test]
async fn the_rules_ask_for_nothing_that_the_relay_does_not_say() {
    let quota = "tenant = \"main\"\nmonth_quota = 100";
    let house = House::with(None, quota).await;
    let done = house.post(message(json!({}))).await;
    house.settled(done["id"].as_str().unwrap()).await;
    doubtful(&house, json!({})).await;
    let pause = json!({"kind": "batch_send", "reason": "a test"});
    let (status, _) = house.request("POST", "/v1/pause", Some(pause)).await;
    assert_eq!(status, 200);
    let (_, text) = house.request("GET", "/metrics", None).await;
    let said = words(text.as_str().unwrap(), "feishu_relay_");
    let asked = words(RULES, "feishu_relay_");
    assert!(asked.len() >= 7, "{asked:?}");
    let missing: Vec<_> = asked.difference(&said).collect();
    assert!(missing.is_empty(), "{missing:?}: {text}");
}

#[test]
fn each_rule_has_good_labels_and_a_section_that_says_what_to_do() {
    let mut rules = RULES.split("- alert: ").skip(1);
    let told = |rule: &str| {
        let name = rule.lines().next().unwrap();
        for word in [
            "severity: ",
            "service: feishu-relay",
            "summary: ",
            "description: ",
        ] {
            assert!(rule.contains(word), "{name} has no {word}");
        }
        let section = rule.split("docs/OPERATIONS.md: ").nth(1);
        let section = section.unwrap_or_else(|| panic!("{name} names no section"));
        let section = section.split('"').next().unwrap();
        let there = OPERATIONS
            .lines()
            .any(|line| line == format!("## {section}"));
        assert!(there, "{name}: there is no section {section:?}");
    };
    assert!(rules.by_ref().inspect(|rule| told(rule)).count() >= 9);
}
#[test]
fn the_files_for_prometheus_are_what_its_tool_wants() {
    let Some(promtool) = tool("promtool") else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let here = dir.path().display().to_string();
    let put = |name: &str, text: String| {
        let text = text.replace("/etc/prometheus", &here);
        std::fs::write(dir.path().join(name), text).unwrap();
    };
    std::fs::create_dir(dir.path().join("rules")).unwrap();
    put("prometheus.yml", block("yaml prometheus"));
    put("rules/disks.yml", block("yaml rules"));
    put("rules/relay.yml", RULES.to_owned());
    put("feishu-relay.token", "frt_0".to_owned());
    let mut check = Command::new(&promtool);
    check.args(["check", "config", "--lint=all", "--lint-fatal"]);
    let said = ran(check.arg("prometheus.yml").current_dir(dir.path()));
    assert!(
        said.contains("1 rules found") && said.contains("2 rule files found"),
        "{said}"
    );
}

#[test]
fn the_file_for_alertmanager_is_what_its_tool_wants() {
    let Some(amtool) = tool("amtool") else { return };
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(
        dir.path().join("alertmanager.yml"),
        block("yaml alertmanager"),
    )
    .unwrap();
    let mut check = Command::new(amtool);
    let said = ran(check
        .args(["check-config", "alertmanager.yml"])
        .current_dir(dir.path()));
    assert!(said.contains("1 receivers"), "{said}");
}
