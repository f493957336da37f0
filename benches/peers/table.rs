//! The table of the peers: jobs a second of each, and what the relay's are beside them.

use comfy_table::presets::ASCII_MARKDOWN;
use comfy_table::{CellAlignment, Table};
use serde_json::{Value, json};

use crate::peers::Taken;
use crate::report::{Circumstances, median, short, spread};
use crate::rows::Flood;

/// In the order in which they run; the relay is the last.
const NAMES: [&str; 4] = ["Redis", "PostgreSQL", "ceiling", "relay"];
const RELAY: usize = NAMES.len() - 1;
/// With so many producers the relay is to be ahead of Redis and PostgreSQL.
const AHEAD_AT: u32 = 16;

/// So many producers, with every run.
pub(crate) struct Line {
    producers: u32,
    runs: Vec<[Flood; 4]>,
    disturbed: usize,
}

impl Line {
    pub(crate) fn new(producers: u32) -> Line {
        Line {
            producers,
            runs: Vec::new(),
            disturbed: 0,
        }
    }

    pub(crate) fn add(&mut self, taken: [Taken<Flood>; 4]) {
        let is_quiet = taken.iter().all(|one| one.beside.is_quiet());
        self.disturbed += usize::from(!is_quiet);
        self.runs.push(taken.map(|one| one.value));
    }

    fn of(&self, who: usize, figure: fn(&Flood) -> f64) -> Vec<f64> {
        self.runs.iter().map(|run| figure(&run[who])).collect()
    }

    /// The relay's share of another's, run by run.
    fn share(&self, who: usize, figure: fn(&Flood) -> f64) -> f64 {
        let shares = self.of(RELAY, figure).into_iter().zip(self.of(who, figure));
        median(
            &shares
                .map(|(ours, other)| ours / other)
                .collect::<Vec<f64>>(),
        )
    }

    /// Ahead of both in each run; `None`: it need not be.
    fn is_met(&self) -> Option<bool> {
        let ours = self.of(RELAY, per_second);
        let ahead = [0, 1].map(|who| {
            let theirs = self.of(who, per_second);
            ours.iter().zip(theirs).all(|(ours, theirs)| *ours > theirs)
        });
        (self.producers == AHEAD_AT).then_some(ahead == [true; 2])
    }

    fn cells(&self, what: &str, figure: fn(&Flood) -> f64) -> Vec<String> {
        let s = if self.producers == 1 { "" } else { "s" };
        let mut cells = vec![format!("{} producer{s}, {what}", self.producers)];
        cells.extend((0..NAMES.len()).map(|who| short(median(&self.of(who, figure)))));
        cells.extend((0..RELAY).map(|who| format!("{:.2} ×", self.share(who, figure))));
        cells
    }

    fn json(&self) -> Value {
        let runs = (0..NAMES.len()).map(|who| {
            json!({
                "of": NAMES[who],
                "per_second": self.of(who, per_second),
                "p99_ms": self.of(who, p99_ms),
                "relay_share": self.share(who, per_second),
            })
        });
        json!({
            "producers": self.producers,
            "runs": runs.collect::<Vec<Value>>(),
            "met": self.is_met(),
            "disturbed": self.disturbed,
        })
    }
}

fn per_second(flood: &Flood) -> f64 {
    flood.per_second
}

fn p99_ms(flood: &Flood) -> f64 {
    flood.p99_ms
}

/// The table as it is printed; it is Markdown, too. `versions`: of the others.
pub(crate) fn text(lines: &[Line], versions: &str, circumstances: &Circumstances) -> String {
    let mut header = vec![String::from("durable put")];
    header.extend(NAMES.map(String::from));
    header.extend(NAMES[..RELAY].iter().map(|name| format!("relay / {name}")));
    header.extend(["ahead of both", "runs", "spread", "disturbed"].map(String::from));
    let mut table = Table::new();
    table.load_style(ASCII_MARKDOWN).set_header(header);
    for line in lines {
        let mut cells = line.cells("jobs/s", per_second);
        cells.push(match line.is_met() {
            Some(true) => String::from("yes"),
            Some(false) => String::from("no"),
            None => String::new(),
        });
        cells.extend([
            line.runs.len().to_string(),
            spread(&line.of(RELAY, per_second)),
            line.disturbed.to_string(),
        ]);
        table.add_row(cells);
        table.add_row(line.cells("p99 ms", p99_ms));
    }
    for place in (1..=7).chain(9..=11) {
        if let Some(column) = table.column_mut(place) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    format!("{table}\n\n{versions}\n{}\n", circumstances.text())
}

/// The same for programs, with every run.
pub(crate) fn json(lines: &[Line], versions: &str, circumstances: &Circumstances) -> Value {
    let lines: Vec<Value> = lines.iter().map(Line::json).collect();
    json!({"circumstances": circumstances, "versions": versions, "lines": lines})
}
