//! `jobs list`: the newest first.

use std::time::Duration;

use comfy_table::Cell;
use serde_json::{Value, json};

use super::filter::Filter;
use crate::cli::exit::{Ended, Exit};
use crate::cli::out;
use crate::cli::relay::Remote;

/// Pages that one list asks for at most: ten million rows are behind them.
const LOOKS_MAX: u32 = 1000;

/// List jobs, the newest first
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct List {
    #[command(flatten)]
    filter: Filter,
    /// How many, at most 200
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=200))]
    limit: u16,
    /// Where an earlier list ended
    #[arg(long)]
    cursor: Option<String>,
    #[command(flatten)]
    remote: Remote,
}

impl List {
    /// Prints what was found. A page that came short because the relay has looked at enough rows for
    /// one answer is not the end: it asks on from there.
    pub(super) async fn run(self) -> Ended {
        let relay = self.remote.relay()?;
        let chosen = self.filter.query()?;
        let mut cursor = self.cursor;
        let mut found = Vec::new();
        let mut looks = 0;
        let body = loop {
            let mut query = chosen.clone();
            let more = usize::from(self.limit) - found.len();
            query.push(("limit".to_owned(), more.to_string()));
            query.extend(cursor.map(|cursor| ("cursor".to_owned(), cursor)));
            let mut answer = relay.get(&["jobs"], query, Duration::ZERO).await?;
            if let Value::Array(jobs) = answer.json["jobs"].take() {
                found.extend(jobs);
            }
            cursor = answer.json["next_cursor"].as_str().map(str::to_owned);
            looks += 1;
            if cursor.is_none() || found.len() >= usize::from(self.limit) || looks == LOOKS_MAX {
                break answer.body;
            }
            out::progress(&format!("{} found, looking further back", found.len()));
        };
        out::progress("");
        if self.remote.json {
            match looks {
                1 => out::json(&body)?,
                _ => out::json(&json!({"jobs": found, "next_cursor": cursor}).to_string())?,
            }
            return Ok(Exit::Fine);
        }
        if found.is_empty() {
            out::complain("no jobs");
        } else {
            let headers = ["ID", "KIND", "TO", "STATE", "CREATED", "TRIED", "WHY"];
            out::table(&headers, found.iter().map(row).collect())?;
        }
        if let Some(cursor) = cursor {
            out::complain(&format!("more: --cursor {cursor}"));
        }
        Ok(Exit::Fine)
    }
}

fn row(job: &Value) -> Vec<Cell> {
    let tried = job["attempts"].as_array().map_or(0, Vec::len);
    vec![
        out::cell(&job["id"]),
        out::cell(&job["kind"]),
        out::cell(&job["to"]),
        out::state_cell(job),
        out::cell(&job["created_at"]),
        Cell::new(tried),
        Cell::new(out::reason(job)),
    ]
}
