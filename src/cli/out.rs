//! The only place that prints: lines and tables for people, JSON for programs.
//!
//! Colours leave a terminal only, and not there when `NO_COLOR` is set (`anstream`).

use std::io::{self, IsTerminal, Write};

use comfy_table::{Cell, Color, ColumnConstraint, ContentArrangement, Table, presets};
use serde_json::Value;

/// Prints one line to stdout.
pub(super) fn line(text: &str) -> io::Result<()> {
    let mut out = anstream::stdout().lock();
    writeln!(out, "{text}")?;
    out.flush()
}

/// Prints the relay's JSON as it came, ended by a newline.
pub(super) fn json(body: &str) -> io::Result<()> {
    line(body.trim_end())
}

/// Prints one line to stderr; when that fails nobody is left to tell.
pub(super) fn complain(text: &str) {
    let mut out = anstream::stderr().lock();
    let _ = writeln!(out, "{text}");
}

/// Says on stderr how far long work is, over what it said before; only to a person who looks.
pub(super) fn progress(text: &str) {
    let mut out = io::stderr().lock();
    if out.is_terminal() {
        let _ = write!(out, "\r\x1b[K{text}");
        let _ = out.flush();
    }
}

/// Prints a table; on a terminal no wider than it, as far as its last column can give way.
pub(super) fn table(headers: &[&str], rows: Vec<Vec<Cell>>) -> io::Result<()> {
    line(&lay_out(headers, rows, Table::new().width()))
}

/// Lays out a table for a terminal of `width` columns; `None` or 0: nobody knows how wide.
///
/// Only the last column is ever broken over lines: the others hold ids, which are copied, and
/// numbers. When there is too little room even so, it is left to the terminal to break lines.
fn lay_out(headers: &[&str], rows: Vec<Vec<Cell>>, width: Option<u16>) -> String {
    /// The least width in which words are worth breaking over lines, with the blanks beside them.
    const LAST_MIN: u32 = 20;
    /// One blank on each side of a column.
    const BLANKS: u32 = 2;
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .enforce_styling()
        .set_header(headers)
        .add_rows(rows);
    let last = table.column_count().saturating_sub(1);
    let widths = table.column_max_content_widths();
    let whole: u32 = widths
        .iter()
        .take(last)
        .map(|one| u32::from(*one) + BLANKS)
        .sum();
    table.set_content_arrangement(ContentArrangement::Disabled);
    if let Some(width) = width.filter(|width| u32::from(*width) >= whole + LAST_MIN) {
        table
            .set_content_arrangement(ContentArrangement::Dynamic)
            .set_width(width);
        for column in table.column_iter_mut().take(last) {
            column.set_constraint(ColumnConstraint::ContentWidth);
        }
    }
    let text = table.to_string();
    let trimmed: Vec<_> = text.lines().map(str::trim_end).collect();
    trimmed.join("\n")
}

/// A list of objects as a table: a column for each key, in the order of the alphabet.
pub(super) fn objects(items: &[Value]) -> io::Result<()> {
    let mut keys: Vec<&str> = Vec::new();
    for key in items
        .iter()
        .filter_map(Value::as_object)
        .flat_map(|item| item.keys())
    {
        if !keys.contains(&key.as_str()) {
            keys.push(key);
        }
    }
    // What names a row comes first.
    keys.sort_by_key(|key| (!matches!(*key, "app" | "name" | "lane"), *key));
    let row = |item: &Value| keys.iter().map(|key| cell(&item[*key])).collect();
    table(&keys, items.iter().map(row).collect())
}

/// A value as a person reads it.
pub(super) fn cell(value: &Value) -> Cell {
    Cell::new(text(value))
}

/// A JSON value as text: strings bare, nothing for null.
pub(super) fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// The state of a job, in the colour of how it stands.
pub(super) fn state_cell(job: &Value) -> Cell {
    let color = match job["state"].as_str().unwrap_or_default() {
        "done" => Color::Green,
        "failed" | "expired" => Color::Red,
        "in_doubt" => Color::Yellow,
        "canceled" => Color::DarkGrey,
        _ => Color::Reset,
    };
    Cell::new(state(job)).fg(color)
}

/// One change of a job in one line, its state in the colour of how it stands.
pub(super) fn event(data: &Value) -> String {
    let color = match data["state"].as_str().unwrap_or_default() {
        "done" => "\u{1b}[32m",
        "failed" | "expired" => "\u{1b}[31m",
        "in_doubt" => "\u{1b}[33m",
        _ => "",
    };
    let end = if color.is_empty() { "" } else { "\u{1b}[0m" };
    let mut line = format!(
        "{} {} {} {color}{}{end}",
        text(&data["at"]),
        text(&data["id"]),
        text(&data["kind"]),
        state(data)
    );
    let why = ["to", "message_id", "class", "code"].map(|name| text(&data[name]));
    for word in why.iter().filter(|word| !word.is_empty()) {
        line.push(' ');
        line.push_str(word);
    }
    line
}

/// The state of a job, with what it waits for and whether it was taken back.
pub(super) fn state(job: &Value) -> String {
    let state = text(&job["state"]);
    match job["waiting_for"].as_str() {
        Some(reason) => format!("{state} ({reason})"),
        None if job["recalled_at"].is_string() => format!("{state}, recalled"),
        None => state,
    }
}

/// A job in one line: its id, how it stands, what it made or why not.
pub(super) fn summary(job: &Value) -> String {
    let made = ["message_id", "batch_message_id", "image_key", "file_key"]
        .iter()
        .find_map(|name| job["receipt"][*name].as_str());
    let mut line = format!("{} {}", text(&job["id"]), state(job));
    if let Some(made) = made {
        line.push(' ');
        line.push_str(made);
    }
    let why = reason(job);
    if !why.is_empty() {
        line.push_str(": ");
        line.push_str(&why);
    }
    line
}

/// Why a job is not done, in one line; empty when there is nothing to say.
pub(super) fn reason(job: &Value) -> String {
    why(&job["error"], &text(&job["state"]))
}

/// How far taking a job back is, in one line; a job that was not sent is only that.
pub(super) fn recall(job: &Value) -> String {
    let recall = &job["recall"];
    let Some(state) = recall["state"].as_str() else {
        return summary(job);
    };
    let mut line = format!("{} recall {state}", text(&job["id"]));
    if recall["of"].as_u64().is_some_and(|of| of > 1) {
        let count = text(&recall["count"]);
        line.push_str(&format!(", {count} of {}", text(&recall["of"])));
    }
    let why = why(&recall["error"], state);
    if !why.is_empty() {
        line.push_str(": ");
        line.push_str(&why);
    }
    line
}

/// An error in one line: its class only where the state does not say the same.
fn why(error: &Value, state: &str) -> String {
    let class = text(&error["class"]);
    let told = class == state || (class == "doubt" && state == "in_doubt");
    let parts = [
        if told { String::new() } else { class },
        text(&error["code"]),
        text(&error["msg"]),
    ];
    let said: Vec<_> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    said.join(" ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_state_is_not_said_twice() {
        fn check(state: &str, class: &str, expected: &str) {
            let job =
                json!({"id": "job_1", "state": state, "error": {"class": class, "msg": "words"}});
            assert_eq!(summary(&job), expected);
        }
        check("canceled", "canceled", "job_1 canceled: words");
        check("expired", "expired", "job_1 expired: words");
        check("in_doubt", "doubt", "job_1 in_doubt: words");
        check("canceled", "dependency", "job_1 canceled: dependency words");
        check("failed", "admin", "job_1 failed: admin words");
    }

    #[test]
    fn an_id_is_never_broken_over_lines() {
        const ID: &str = "job_0123456789abcdef0123456789abcdef";
        const WHY: &str = "230002 The bot can not be outside the group, and so on and so on";
        fn check(width: Option<u16>, lines: usize) {
            let row = vec![Cell::new(ID), Cell::new("oc_a"), Cell::new(WHY)];
            let text = lay_out(&["ID", "TO", "WHY"], vec![row], width);
            assert!(text.contains(ID), "{width:?}: {text}");
            assert_eq!(text.lines().count(), lines, "{width:?}: {text}");
            let room = usize::from(width.unwrap_or(0));
            if lines > 2 {
                assert!(text.lines().all(|line| line.len() <= room), "{text}");
            }
        }
        check(None, 2);
        check(Some(0), 2);
        check(Some(1), 2);
        check(Some(60), 2);
        check(Some(80), 3);
        check(Some(200), 2);
    }
}
