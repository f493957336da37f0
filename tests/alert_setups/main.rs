//! What is printed for those who set up alerts, run as it stands: the blocks of docs/ALERTS.md, README.md's first try,
//! and the rules for the relay's own metrics. Only chats, addresses and the places of files are put in.
//!
//! It needs Prometheus's tools. Where they are missing the tests say so and pass, unless `CI` or
//! `FEISHU_RELAY_REQUIRE_PROMETHEUS` is set.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on should stop here"
)]

mod first;
mod local;
mod rules;
#[path = "../alertmanager/server.rs"]
mod server;
mod sinks;
#[path = "../support/mod.rs"]
mod support;

use std::path::Path;
use std::process::{Command, Output};

use feishu_sandbox::DEFAULT_CHAT;
use serde_json::Value;
use support::House;

const PAGE: &str = include_str!("../../docs/ALERTS.md");

/// The blocks of the page whose fence says `fence`.
fn blocks(fence: &str) -> Vec<String> {
    blocks_of(PAGE, fence)
}

fn blocks_of(page: &str, fence: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = page.split("```").skip(1);
    while let (Some(block), _) = (rest.next(), rest.next()) {
        if let Some((said, text)) = block.split_once('\n')
            && said == fence
        {
            found.push(text.to_owned());
        }
    }
    found
}

fn block(fence: &str) -> String {
    let mut found = blocks(fence);
    assert_eq!(found.len(), 1, "{fence}");
    found.remove(0)
}

/// A shell for what stands on the page: the relay's program in its path, `$CHAT` set.
fn shell(house: &House) -> Command {
    let binary = house.binary();
    let folder = Path::new(binary.get_program()).parent().unwrap();
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
        .env("CHAT", DEFAULT_CHAT)
        .current_dir(house.dir.path());
    shell
}

fn said(output: &Output) -> String {
    let both = [output.stdout.as_slice(), output.stderr.as_slice()].concat();
    String::from_utf8_lossy(&both).into_owned()
}

/// The texts of what people saw, in order.
async fn texts(house: &House) -> Vec<String> {
    let messages = house.effects("message").await;
    let text = |message: &Value| message["content"].to_string();
    messages.iter().map(text).collect()
}

/// Waits until everything that was taken is sent.
async fn all_sent(house: &House) {
    let idle = |status: &Value| status["pending"] == 0;
    house.until("/v1/status", idle).await;
}
