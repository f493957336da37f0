//! `status`: how the queue stands, per app, what is paused and why, and who waits longest.

use std::collections::BTreeMap;
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
    let months = list(&status["months"]);
    if !months.is_empty() {
        out::line("\nthe month's calls:")?;
        let headers = [
            "TENANT",
            "MONTH",
            "CALLS",
            "QUOTA",
            "A DAY",
            "AT ITS END",
            "USED UP",
            "FOR",
        ];
        let month = |one| month(one, list(&status["apps"]));
        out::table(&headers, months.iter().map(month).collect())?;
    }
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

/// A tenant's month, and the causes that cost most.
fn month(month: &Value, apps: &[Value]) -> Vec<Cell> {
    const CAUSES_SHOWN: usize = 3;
    let right = |value: &Value| out::cell(value).set_alignment(CellAlignment::Right);
    let quota = match &month["quota"] {
        Value::Null => Cell::new("unknown"),
        quota => right(quota),
    };
    let mut causes: BTreeMap<&str, u64> = BTreeMap::new();
    for app in apps
        .iter()
        .filter(|app| app["month"]["tenant"] == month["tenant"])
    {
        for (name, cause) in app["month"]["causes"].as_object().into_iter().flatten() {
            let calls = ["first", "again"].map(|of| cause[of].as_u64().unwrap_or(0));
            *causes.entry(name).or_default() += calls.iter().sum::<u64>();
        }
    }
    let mut causes: Vec<(&str, u64)> = causes.into_iter().collect();
    causes.sort_by_key(|(_, calls)| std::cmp::Reverse(*calls));
    let causes: Vec<String> = causes
        .iter()
        .take(CAUSES_SHOWN)
        .map(|(name, calls)| format!("{name} {calls}"))
        .collect();
    let forecast = &month["forecast"];
    vec![
        out::cell(&month["tenant"]),
        out::cell(&month["month"]),
        right(&month["calls"]),
        quota,
        right(&forecast["calls_per_day"]),
        right(&forecast["calls"]),
        out::cell(&forecast["exhausted_at"]),
        Cell::new(causes.join(", ")),
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
