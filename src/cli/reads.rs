//! `reads`: who read a message, or a notice of many, as a table or for a spreadsheet.
//!
//! A table goes to stdout, its sums to stderr, so that the lines can be piped on.

use std::time::Duration;

use comfy_table::Cell;
use serde_json::{Value, json};

use super::exit::{Ended, Exit, Trouble};
use super::jobs::filter::Filter;
use super::out;
use super::relay::{Relay, Remote};

/// The columns of `--csv`.
const COLUMNS: [&str; 7] = [
    "job",
    "to",
    "user_id",
    "read",
    "read_at",
    "read_count",
    "total_count",
];

/// Show who read a message, or a notice of many
#[derive(Debug, clap::Args)]
pub(super) struct Reads {
    /// The job (job_…), its message (om_…) or batch (bm-…); else say which jobs
    id: Option<String>,
    /// Ask Feishu first; exit code 4 if it has not answered in time
    #[arg(long)]
    fresh: bool,
    /// Print comma-separated values, one line a person
    #[arg(long, conflicts_with = "json")]
    csv: bool,
    #[command(flatten)]
    filter: Filter,
    /// Go on where an earlier answer ended
    #[arg(long, conflicts_with = "id", hide_short_help = true)]
    cursor: Option<String>,
    #[command(flatten)]
    remote: Remote,
}

impl Reads {
    /// Asks the relay; Feishu only with `--fresh`.
    pub(super) async fn run(self) -> Ended {
        let query = self.filter.query()?;
        let relay = self.remote.relay()?;
        match (&self.id, query.is_empty()) {
            (Some(id), true) => self.one(&relay, id).await,
            (None, false) => self.notice(&relay, query).await,
            (Some(_), false) => Err(Trouble::wrong("give an id or a filter, not both")),
            (None, true) => Err(Trouble::wrong(
                "which jobs? give an id, or a filter such as --label notice=canteen",
            )),
        }
    }

    fn fresh_word(&self) -> Option<(String, String)> {
        self.fresh
            .then(|| (String::from("fresh"), String::from("true")))
    }

    async fn one(&self, relay: &Relay, id: &str) -> Ended {
        let query = self.fresh_word().into_iter().collect();
        let answer = relay
            .get(&["jobs", id, "reads"], query, Duration::ZERO)
            .await?;
        if self.remote.json {
            out::json(&answer.body)?;
        } else {
            let lines = lines_of_one(&answer.json);
            self.print(&lines, true)?;
            if !self.csv {
                out::complain(&summary_of_one(&answer.json));
            }
        }
        Ok(ended(&answer.json))
    }

    /// Page after page, unless the JSON is wanted as it comes.
    async fn notice(&self, relay: &Relay, query: Vec<(String, String)>) -> Ended {
        let mut exit = Exit::Fine;
        let mut cursor = self.cursor.clone();
        let mut first = true;
        loop {
            let mut query = query.clone();
            query.extend(self.fresh_word());
            query.extend(cursor.take().map(|cursor| (String::from("cursor"), cursor)));
            let answer = relay.get(&["reads"], query, Duration::ZERO).await?;
            if ended(&answer.json) == Exit::Unsettled {
                exit = Exit::Unsettled;
            }
            let next = answer.json["next_cursor"].as_str().map(str::to_owned);
            if self.remote.json {
                out::json(&answer.body)?;
                if let Some(next) = next {
                    out::complain(&format!("more: --cursor {next}"));
                }
                return Ok(exit);
            }
            self.print(&lines_of_notice(&answer.json), first)?;
            if !self.csv {
                out::complain(&summary_of_notice(&answer.json));
            }
            if answer.json["complete"] == false && next.is_none() {
                out::complain(
                    "not complete: some were never asked about, or have too many readers to name",
                );
            }
            first = false;
            match next {
                Some(next) => cursor = Some(next),
                None => return Ok(exit),
            }
        }
    }

    fn print(&self, lines: &[Value], first: bool) -> std::io::Result<()> {
        if self.csv {
            if first {
                out::line(&COLUMNS.join(","))?;
            }
            for line in lines {
                out::line(&csv_line(line))?;
            }
            return Ok(());
        }
        if lines.is_empty() {
            return Ok(());
        }
        let cells = |line: &Value| {
            vec![
                out::cell(&line["to"]),
                out::cell(&line["user_id"]),
                Cell::new(read_word(line)),
                out::cell(&line["read_at"]),
                out::cell(&line["job"]),
            ]
        };
        let headers = ["TO", "WHO", "READ", "AT", "JOB"];
        out::table(&headers, lines.iter().map(cells).collect())
    }
}

/// Was Feishu's answer wanted and not there in time?
fn ended(answer: &Value) -> Exit {
    if answer["fresh"] == false {
        out::complain("Feishu has not answered for all of it; this is what is known");
        return Exit::Unsettled;
    }
    Exit::Fine
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// One who read it, as a line.
fn reader(job: &Value, to: &Value, reader: &Value) -> Value {
    let at = reader["timestamp"]
        .as_str()
        .and_then(|ms| ms.parse().ok())
        .map(crate::clock::rfc3339);
    json!({"job": job, "to": to, "user_id": reader["user_id"], "read": "yes", "read_at": at})
}

fn batch(job: &Value, counts: &Value) -> Value {
    json!({"job": job, "read_count": counts["read_count"], "total_count": counts["total_count"]})
}

fn lines_of_one(answer: &Value) -> Vec<Value> {
    if !answer["total_count"].is_null() {
        return vec![batch(&answer["id"], answer)];
    }
    let items = list(&answer["items"]).iter();
    items
        .map(|item| reader(&answer["id"], &answer["to"], item))
        .collect()
}

fn lines_of_notice(answer: &Value) -> Vec<Value> {
    let readers = list(&answer["readers"]).iter();
    let readers = readers.map(|who| reader(&who["id"], &who["to"], who));
    let people = |name: &str, read: &'static str| {
        let sent = list(&answer[name]).iter();
        sent.map(move |sent| json!({"job": sent["id"], "to": sent["to"], "read": read}))
    };
    let batches = list(&answer["batches"]).iter();
    let batches = batches.map(|one| batch(&one["id"], one));
    let known: Vec<Value> = readers
        .chain(people("not_read", "no"))
        .chain(batches)
        .collect();
    // A batch is on its own line already; what nobody asked about is neither read nor not read.
    let unknown = people("unasked", "unknown").filter(|line| {
        !list(&answer["batches"])
            .iter()
            .any(|one| one["id"] == line["job"])
    });
    known.iter().cloned().chain(unknown).collect()
}

fn summary_of_one(answer: &Value) -> String {
    let count = out::text(&answer["read_count"]);
    let of = match &answer["total_count"] {
        Value::Null => String::new(),
        total => format!(" of {total}"),
    };
    let asked = match answer["asked_at"].as_str() {
        Some(at) => format!("Feishu said so at {at}"),
        None => String::from("Feishu was not asked yet: --fresh asks"),
    };
    let why = match answer["error"]["msg"].as_str() {
        Some(msg) => format!(
            "; it is asked no more: {} {msg}",
            out::text(&answer["error"]["code"])
        ),
        None => String::new(),
    };
    format!("read by {count}{of}; {asked}{why}")
}

fn summary_of_notice(answer: &Value) -> String {
    let number = |name: &str| out::text(&answer[name]);
    let waiting: u64 = answer["not_done"]
        .as_object()
        .into_iter()
        .flatten()
        .filter_map(|(_, count)| count.as_u64())
        .sum();
    format!(
        "jobs {}, not done {waiting}, people {}, read by {}, not read {}, not asked {}",
        number("jobs"),
        number("people"),
        number("read_count"),
        list(&answer["not_read"]).len(),
        list(&answer["unasked"]).len(),
    )
}

fn read_word(line: &Value) -> String {
    match &line["total_count"] {
        Value::Null => out::text(&line["read"]),
        total => format!("{} of {total}", out::text(&line["read_count"])),
    }
}

fn csv_line(line: &Value) -> String {
    let cells: Vec<String> = COLUMNS
        .iter()
        .map(|column| csv_cell(&out::text(&line[*column])))
        .collect();
    cells.join(",")
}

/// Quoted as RFC 4180 says. What a spreadsheet would take for a formula gets an apostrophe before it.
fn csv_cell(text: &str) -> String {
    let formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']);
    let text = match formula {
        true => format!("'{text}"),
        false => text.to_owned(),
    };
    match text.contains([',', '"', '\r', '\n']) {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_can_neither_break_its_line_nor_be_a_formula() {
        fn check(text: &str, expected: &str) {
            assert_eq!(csv_cell(text), expected);
        }
        check("ou_1", "ou_1");
        check("", "");
        check("a,b", "\"a,b\"");
        check("say \"hi\"", "\"say \"\"hi\"\"\"");
        check("two\nlines", "\"two\nlines\"");
        for start in ["=", "+", "-", "@", "\t"] {
            check(&format!("{start}1"), &format!("'{start}1"));
        }
        check("=a,\"b\"", "\"'=a,\"\"b\"\"\"");
    }
}
