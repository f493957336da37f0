//! `jobs list`: the newest first.

use std::time::Duration;

use comfy_table::Cell;
use serde_json::Value;

use super::filter::Filter;
use crate::cli::exit::{Ended, Exit};
use crate::cli::out;
use crate::cli::relay::Remote;

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
    /// Prints one page.
    pub(super) async fn run(self) -> Ended {
        let relay = self.remote.relay()?;
        let mut query = self.filter.query()?;
        query.push(("limit".to_owned(), self.limit.to_string()));
        query.extend(self.cursor.map(|cursor| ("cursor".to_owned(), cursor)));
        let answer = relay.get(&["jobs"], query, Duration::ZERO).await?;
        if self.remote.json {
            out::json(&answer.body)?;
            return Ok(Exit::Fine);
        }
        let jobs = answer.json["jobs"]
            .as_array()
            .map_or(&[][..], Vec::as_slice);
        if jobs.is_empty() {
            out::complain("no jobs");
        } else {
            let headers = ["ID", "KIND", "TO", "STATE", "CREATED", "TRIED", "WHY"];
            out::table(&headers, jobs.iter().map(row).collect())?;
        }
        if let Some(cursor) = answer.json["next_cursor"].as_str() {
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
