//! `status`: how the queue stands, per app, what is paused and why, and who waits longest.

use std::time::Duration;

use comfy_table::{Cell, CellAlignment};
use serde_json::Value;

use super::exit::{Ended, Exit};
use super::relay::Remote;
use super::{out, pause};
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
    let fault = &status["store_fault"];
    if fault.is_object() {
        let (since, detail) = (out::text(&fault["since"]), out::text(&fault["detail"]));
        out::line(&format!(
            "NOTHING IS ACCEPTED OR SENT since {since}: {detail}"
        ))?;
    }
    let headers = [
        "APP", "QUEUED", "SENDING", "IN DOUBT", "DEAD", "OLDEST", "MONTH",
    ];
    out::table(&headers, list(&status["apps"]).iter().map(app).collect())?;
    let paused = paused(list(&status["apps"]));
    if !paused.is_empty() {
        out::line("\npaused:")?;
        pause::table(&paused)?;
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

/// What stands still, and why; a pause of every app stands at each of them, and is said once.
fn paused(apps: &[Value]) -> Vec<Value> {
    let mut paused: Vec<Value> = Vec::new();
    for pause in apps.iter().flat_map(|app| list(&app["paused"])) {
        if !paused.contains(pause) {
            paused.push(pause.clone());
        }
    }
    paused
}
