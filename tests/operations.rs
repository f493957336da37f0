//! The page for whoever is on call, run as printed: each of its commands does what the page says.
//!
//! Blocks that begin with ```` ```sh ```` run as they stand. In blocks marked `systemd` the words to systemd are
//! carried out on the relay of the test: what counts is the order, and what the program says to it.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on should stop here"
)]

mod support;

use std::process::{Command, Output};

use feishu_sandbox::DEFAULT_CHAT;
use serde_json::{Value, json};
use support::House;
use support::jobs::{doubtful, message, post, until_state};

const PAGE: &str = include_str!("../docs/OPERATIONS.md");

/// The lines of all blocks whose fence begins with `fence`, block by block.
fn blocks(fence: &str) -> Vec<Vec<&'static str>> {
    let mut found = Vec::new();
    let mut open: Option<(bool, Vec<&str>)> = None;
    for line in PAGE.lines() {
        match (&mut open, line.strip_prefix("```")) {
            (None, Some(kind)) => open = Some((kind == fence, Vec::new())),
            (Some((wanted, _)), Some(_)) => {
                let wanted = *wanted;
                let (_, lines) = open.take().unwrap();
                if wanted {
                    found.push(lines);
                }
            }
            (Some((_, lines)), None) => lines.push(line),
            (None, None) => {}
        }
    }
    found
}

/// Commands that stand in the running text or in a table.
fn inline() -> Vec<&'static str> {
    let mut fenced = false;
    let text = PAGE.lines().filter(|line| {
        fenced ^= line.starts_with("```");
        !fenced
    });
    text.flat_map(|line| line.split('`').skip(1).step_by(2))
        .filter(|code| code.starts_with("feishu-relay "))
        .collect()
}

/// A route, so that there are incidents.
fn route() -> String {
    format!("[[routes]]\nname = \"try\"\nsource = \"generic\"\nto = \"{DEFAULT_CHAT}\"\n")
}

/// Runs a line as a person would, with `$JOB`, `$INCIDENT` and `$CHAT` set.
fn run(house: &House, line: &str, job: &str) -> Output {
    let binary = house.binary();
    let folder = std::path::Path::new(binary.get_program()).parent().unwrap();
    let path = std::env::var("PATH").unwrap_or_default();
    let mut shell = Command::new("sh");
    shell
        .env_clear()
        .envs(
            binary
                .get_envs()
                .filter_map(|(name, value)| Some((name, value?))),
        )
        .env("PATH", format!("{}:{path}", folder.display()))
        .env("FEISHU_RELAY_CONFIG", house.dir.path().join("relay.toml"))
        .env("JOB", job)
        .env("INCIDENT", job)
        .env("CHAT", DEFAULT_CHAT)
        .current_dir(house.dir.path())
        .args(["-euc", line]);
    shell.output().unwrap()
}

/// A job that the command is for: in doubt where a person settles, waiting where one is canceled.
async fn job_for(house: &House, line: &str) -> String {
    if line.contains("settle") || line.contains("retry") {
        return doubtful(house, json!({})).await;
    }
    let job = post(house, message(json!({"delay": "1h"}))).await;
    until_state(house, &job, "queued").await;
    job
}

fn alert() -> Value {
    json!({"id": "disk", "status": "firing", "title": "disk full on db-1"})
}

/// An incident that fires.
async fn incident(house: &House) -> String {
    let (status, told) = house.request("POST", "/v1/alerts/try", Some(alert())).await;
    assert_eq!(status, 200, "{told}");
    told["incidents"][0].as_str().unwrap().to_owned()
}

async fn holds(house: &House, line: &str) -> String {
    let job = match (line.contains("$JOB"), line.contains("$INCIDENT")) {
        (true, _) => job_for(house, line).await,
        (_, true) => incident(house).await,
        (false, false) => String::new(),
    };
    let line = line.replace("om_…", "om_0123456789abcdef0123456789abcdef");
    let told = run(house, &line, &job);
    let said = String::from_utf8_lossy(&told.stdout).into_owned();
    assert!(
        told.status.success(),
        "{line}: {}\n{said}{}",
        told.status,
        String::from_utf8_lossy(&told.stderr)
    );
    if line.contains("retry $JOB") {
        // Else it would meet the fault that is meant for the next one.
        house.settled(&job).await;
    }
    said
}

#[tokio::test(flavor = "multi_thread")]
async fn every_command_of_the_page_runs_as_printed() {
    let house = House::with(None, &route()).await;
    let file = house.dir.path().join("FILE.json");
    std::fs::write(file, alert().to_string()).unwrap();
    let refused = json!({"kind": "send", "args": {"to": "oc_0123456789abcdef0123456789abcdef", "text": "nobody there"}});
    let refused = post(&house, refused).await;
    house.settled(&refused).await;
    let lines: Vec<&str> = blocks("sh").concat().into_iter().chain(inline()).collect();
    assert!(lines.len() > 20, "{lines:?}");
    for line in lines {
        holds(&house, line).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_asked_of_systemd_works_on_the_program() {
    let mut house = House::new().await;
    let kept = post(&house, message(json!({"delay": "1h"}))).await;
    holds(&house, "feishu-relay backup backup-1").await;
    for line in blocks("sh systemd").concat() {
        match line.split_whitespace().next().unwrap() {
            "systemctl" if line.ends_with("stop feishu-relay") => house.stop(),
            "systemctl" if line.ends_with("start feishu-relay") => house.start(),
            "systemctl" if line.ends_with("reload feishu-relay") => {
                let pid = house.pid().to_string();
                let told = Command::new("kill").args(["-HUP", &pid]).status().unwrap();
                assert!(told.success());
            }
            "journalctl" => assert!(!house.log().is_empty()),
            "feishu-relay" => {
                // The disk that was lost, or the machine that has none yet.
                if line.contains(" restore ") {
                    std::fs::remove_file(house.database()).unwrap();
                }
                holds(&house, line).await;
            }
            other => panic!("{other}: {line}"),
        }
    }
    assert_eq!(house.job(&kept).await["state"], "queued");
}
