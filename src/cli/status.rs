//! `status`: how the queue stands, per app, what is paused and why, and who waits longest.

use std::time::Duration;

use comfy_table::{Cell, CellAlignment};
use serde_json::Value;

use super::exit::{Ended, Exit};
use super::out;
use super::relay::Remote;
use crate::config::values;

/// Show how the queue stands
#[derive(Debug, clap::Args)]
pub(super) struct Status {
    #[command(flatten)]
    remote: Remote,
}

impl Status {
    /// Asks the relay, which does not ask Feishu.
    pub(super) async fn run(self) -> Ended {
        let relay = self.remote.relay()?;
        let answer = relay.get(&["status"], Vec::new(), Duration::ZERO).await?;
        match self.remote.json {
            true => out::json(&answer.body)?,
            false => show(&answer.json)?,
        }
        Ok(Exit::Fine)
    }
}

fn show(status: &Value) -> std::io::Result<()> {
    let number = |name: &str| out::text(&status[name]);
    let size = bytesize::ByteSize(status["store_bytes"].as_u64().unwrap_or(0));
    out::line(&format!(
        "pending {} of {}, store {size}, version {}",
        number("pending"),
        number("max_pending"),
        number("version")
    ))?;
    let headers = [
        "APP", "QUEUED", "SENDING", "IN DOUBT", "DEAD", "OLDEST", "MONTH",
    ];
    out::table(&headers, list(&status["apps"]).iter().map(app).collect())?;
    for pause in list(&status["apps"])
        .iter()
        .flat_map(|app| list(&app["paused"]))
    {
        out::line(&paused(pause))?;
    }
    let lanes = list(&status["lanes"]);
    if !lanes.is_empty() {
        out::line("")?;
        out::table(&["APP", "LANE", "OLDEST"], lanes.iter().map(lane).collect())?;
    }
    Ok(())
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn app(app: &Value) -> Vec<Cell> {
    let count = |name: &str| out::cell(&app[name]).set_alignment(CellAlignment::Right);
    let month = out::cell(&app["month"]["calls"]).set_alignment(CellAlignment::Right);
    vec![
        out::cell(&app["app"]),
        count("queued"),
        count("sending"),
        count("in_doubt"),
        count("dead_letters"),
        age(app),
        month,
    ]
}

fn lane(lane: &Value) -> Vec<Cell> {
    vec![out::cell(&lane["app"]), out::cell(&lane["lane"]), age(lane)]
}

fn age(item: &Value) -> Cell {
    let seconds = item["oldest_age_s"].as_u64();
    let text = seconds.map(|seconds| values::duration_text(Duration::from_secs(seconds)));
    Cell::new(text.unwrap_or_default()).set_alignment(CellAlignment::Right)
}

/// A pause as a sentence: what stands still, since when, why, and when it is tried again.
fn paused(pause: &Value) -> String {
    let what = ["app", "lane", "api"].map(|name| out::text(&pause[name]));
    let what: Vec<_> = what.into_iter().filter(|part| !part.is_empty()).collect();
    let why = ["code", "reason"].map(|name| out::text(&pause[name]));
    let why: Vec<_> = why.into_iter().filter(|part| !part.is_empty()).collect();
    let mut line = format!("paused: {}", what.join(" "));
    if pause["by"] == "hand" {
        line.push_str(" by hand");
    }
    line.push_str(&format!(" since {}", out::text(&pause["since"])));
    if !why.is_empty() {
        line.push_str(&format!(": {}", why.join(" ")));
    }
    if let Some(probe) = pause["next_probe"].as_str() {
        line.push_str(&format!("; tried again at {probe}"));
    }
    line
}
