//! `incidents`: what monitoring brought, who looks at it, and what was done about it.
//!
//! Titles, labels and annotations are others' words: nothing in them reaches the terminal as a command of its own.

use std::time::Duration;

use comfy_table::{Cell, CellAlignment, Color};
use serde_json::{Value, json};

use super::exit::{Ended, Exit};
use super::out;
use super::relay::Remote;

/// Pages that one list asks for at most.
const LOOKS_MAX: u32 = 1000;

/// A list of an incident: its name, its columns, and a row of it.
type Listing = (
    &'static str,
    &'static [&'static str],
    fn(&Value) -> Vec<Cell>,
);

/// List incidents, look at one, say that you look at it
#[derive(Debug, clap::Subcommand)]
pub(super) enum Incidents {
    List(List),
    Show(Show),
    Ack(Ack),
}

/// List incidents, the newest first
#[derive(Debug, clap::Args)]
pub(super) struct List {
    /// firing, acknowledged or resolved; several with commas
    #[arg(long)]
    state: Option<String>,
    /// Route, by its name in the config
    #[arg(long, value_name = "NAME")]
    route: Option<String>,
    /// Begun since: RFC 3339, or a duration back
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    since: Option<String>,
    /// How many, at most 200
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=200))]
    limit: u16,
    /// Where an earlier list ended
    #[arg(long)]
    cursor: Option<String>,
    #[command(flatten)]
    remote: Remote,
}

/// Show one incident whole: its alerts, its rungs and why they fired or not
#[derive(Debug, clap::Args)]
pub(super) struct Show {
    /// The incident (inc_…)
    id: String,
    #[command(flatten)]
    remote: Remote,
}

/// Say that you look at it: nobody is called for it any more
#[derive(Debug, clap::Args)]
pub(super) struct Ack {
    /// The incident (inc_…)
    id: String,
    #[command(flatten)]
    remote: Remote,
}

impl Incidents {
    /// Does it.
    pub(super) async fn run(self) -> Ended {
        match self {
            Self::List(list) => list.run().await,
            Self::Show(show) => show.run().await,
            Self::Ack(ack) => ack.run().await,
        }
    }
}

impl List {
    /// Prints what was found; a page that came short is not the end.
    async fn run(self) -> Ended {
        let relay = self.remote.relay()?;
        let given = [
            ("state", self.state),
            ("route", self.route),
            ("since", self.since),
        ];
        let chosen: Vec<(String, String)> = given
            .into_iter()
            .filter_map(|(name, value)| Some((name.to_owned(), value?)))
            .collect();
        let limit = usize::from(self.limit);
        let mut cursor = self.cursor;
        let mut found = Vec::new();
        for _ in 0..LOOKS_MAX {
            let mut query = chosen.clone();
            query.push(("limit".to_owned(), (limit - found.len()).to_string()));
            query.extend(cursor.map(|cursor| ("cursor".to_owned(), cursor)));
            let mut answer = relay.get(&["incidents"], query, Duration::ZERO).await?;
            if let Value::Array(incidents) = answer.json["incidents"].take() {
                found.extend(incidents);
            }
            cursor = answer.json["next_cursor"].as_str().map(str::to_owned);
            if cursor.is_none() || found.len() >= limit {
                break;
            }
        }
        if self.remote.json {
            out::json(&json!({"incidents": found, "next_cursor": cursor}).to_string())?;
            return Ok(Exit::Fine);
        }
        if found.is_empty() {
            out::complain("no incidents");
        } else {
            let headers = [
                "ID", "STATE", "SEVERITY", "ROUTE", "SINCE", "ALERTS", "TITLE",
            ];
            out::table(&headers, found.iter().map(row).collect())?;
        }
        if let Some(cursor) = cursor {
            out::complain(&format!("more: --cursor {cursor}"));
        }
        Ok(Exit::Fine)
    }
}

impl Show {
    /// Prints the incident: plain values first, then its lists.
    async fn run(self) -> Ended {
        let relay = self.remote.relay()?;
        let path = ["incidents", self.id.as_str()];
        let answer = relay.get(&path, Vec::new(), Duration::ZERO).await?;
        match self.remote.json {
            true => out::json(&answer.body)?,
            false => show(&answer.json)?,
        }
        Ok(Exit::Fine)
    }
}

impl Ack {
    /// Tells the relay, and prints how the incident stands then.
    async fn run(self) -> Ended {
        let relay = self.remote.relay()?;
        let path = ["incidents", self.id.as_str(), "ack"];
        let answer = relay.post(&path, Vec::new(), None).await?;
        match self.remote.json {
            true => out::json(&answer.body)?,
            false => {
                let [id, state, title] =
                    ["id", "state", "title"].map(|name| words(&answer.json[name]));
                out::line(&format!("{id} {state}: {title}"))?;
            }
        }
        Ok(Exit::Fine)
    }
}

fn row(incident: &Value) -> Vec<Cell> {
    let cell = |name: &str| Cell::new(words(&incident[name]));
    vec![
        cell("id"),
        state(incident),
        severity(incident),
        cell("route"),
        cell("opened_at"),
        cell("alert_count").set_alignment(CellAlignment::Right),
        cell("title"),
    ]
}

/// How it stands, in the colour of that.
fn state(incident: &Value) -> Cell {
    let state = words(&incident["state"]);
    let color = match state.as_str() {
        "firing" => Color::Red,
        "acknowledged" => Color::Yellow,
        "resolved" => Color::Green,
        _ => Color::Reset,
    };
    Cell::new(state).fg(color)
}

fn severity(incident: &Value) -> Cell {
    let severity = words(&incident["severity"]);
    let over = incident["state"] == "resolved";
    let color = match severity.as_str() {
        "critical" | "error" if !over => Color::Red,
        "warning" if !over => Color::Yellow,
        _ => Color::Reset,
    };
    Cell::new(severity).fg(color)
}

fn show(incident: &Value) -> std::io::Result<()> {
    /// What a person looks for, in that order.
    const PLAIN: [(&str, &str); 17] = [
        ("id", "/id"),
        ("title", "/title"),
        ("state", "/state"),
        ("severity", "/severity"),
        ("route", "/route"),
        ("since", "/opened_at"),
        ("ended", "/ended_at"),
        ("heard", "/heard_at"),
        ("to", "/to"),
        ("message", "/card/message_id"),
        ("not shown", "/card/unshown/why"),
        ("in digest", "/digest"),
        ("looks at it", "/acknowledged/by"),
        ("group", "/group"),
        ("from", "/client"),
        ("source", "/external_url"),
        ("left out", "/truncated"),
    ];
    for (name, place) in PLAIN {
        let value = incident.pointer(place).map(words).unwrap_or_default();
        if !matches!(value.as_str(), "" | "0") {
            out::line(&format!("{name:<12} {value}"))?;
        }
    }
    let tables: [Listing; 4] = [
        (
            "alerts",
            &["STATUS", "SEVERITY", "SINCE", "ENDED", "LABELS"],
            alert,
        ),
        (
            "rungs",
            &["DO", "AFTER", "WHOM", "DUE", "OUTCOME", "WHY"],
            rung,
        ),
        (
            "jobs",
            &["ID", "FOR", "STATE", "CREATED", "MESSAGE", "WHY"],
            job,
        ),
        ("log", &["AT", "WHAT"], entry),
    ];
    for (name, headers, row) in tables {
        let items = incident[name].as_array().map_or(&[][..], Vec::as_slice);
        if !items.is_empty() {
            out::line(&format!("\n{name}:"))?;
            out::table(headers, items.iter().map(row).collect())?;
        }
    }
    Ok(())
}

fn alert(alert: &Value) -> Vec<Cell> {
    let labels = alert["labels"].as_object().into_iter().flatten();
    let labels: Vec<String> = labels
        .map(|(name, value)| clean(&format!("{name}={}", out::text(value))))
        .collect();
    let cell = |name: &str| Cell::new(words(&alert[name]));
    // A source need not say when it ended; then it is over since its word came.
    let ended = match alert["ends_at"].is_null() {
        true => "resolved_at",
        false => "ends_at",
    };
    let color = match alert["status"].as_str() {
        Some("firing") => Color::Red,
        _ => Color::Green,
    };
    vec![
        cell("status").fg(color),
        cell("severity"),
        cell("starts_at"),
        cell(ended),
        Cell::new(labels.join(" ")),
    ]
}

fn rung(rung: &Value) -> Vec<Cell> {
    let list = |name: &str| {
        let items = rung[name].as_array().into_iter().flatten();
        items.map(words).collect::<Vec<_>>().join(" ")
    };
    let cell = |name: &str| Cell::new(words(&rung[name]));
    // Whom it called, once that is known; else whom it would.
    let people = list("people");
    let whom = match people.is_empty() {
        true => list("to"),
        false => people,
    };
    // A rung that fired has called nobody yet: how its calls ended says so.
    let calls = rung["jobs"].as_array().into_iter().flatten();
    let ends: Vec<String> = calls
        .map(|call| words(&call["ended"]))
        .filter(|ended| !matches!(ended.as_str(), "" | "done" | "queued" | "sending"))
        .collect();
    let why = match ends.is_empty() {
        true => words(&rung["why"]),
        false => format!("{}; not done: {}", words(&rung["why"]), ends.join("; ")),
    };
    let color = match (rung["outcome"].as_str(), ends.is_empty()) {
        (_, false) => Color::Red,
        (Some("fired"), true) => Color::Yellow,
        _ => Color::Reset,
    };
    vec![
        cell("do"),
        cell("after"),
        Cell::new(whom),
        cell("due_at"),
        cell("outcome").fg(color),
        Cell::new(why),
    ]
}

fn job(job: &Value) -> Vec<Cell> {
    let cell = |name: &str| Cell::new(words(&job[name]));
    vec![
        cell("id"),
        cell("role"),
        out::state_cell(job),
        cell("created_at"),
        cell("message_id"),
        Cell::new(clean(&out::reason(job))),
    ]
}

fn entry(entry: &Value) -> Vec<Cell> {
    let cell = |name: &str| Cell::new(words(&entry[name]));
    vec![cell("at"), cell("what")]
}

/// A value for a terminal.
fn words(value: &Value) -> String {
    clean(&out::text(value))
}

/// Without what a terminal would obey, and without marks that turn the order of letters around.
fn clean(text: &str) -> String {
    let seen = |c: char| match c {
        '\u{61c}' | '\u{200e}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
            None
        }
        c if c.is_control() => Some(' '),
        c => Some(c),
    };
    text.chars().filter_map(seen).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_does_not_speak_to_the_terminal() {
        fn check(text: &str, expected: &str) {
            assert_eq!(clean(text), expected);
        }
        check("disk full", "disk full");
        check("\u{1b}[2Jgone\r\nall well", " [2Jgone  all well");
        check("a\u{202e}b\u{2066}c", "abc");
        check("告警中", "告警中");
    }
}
