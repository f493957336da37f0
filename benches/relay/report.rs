//! The table: medians, what they are compared with, what is to be reached, and how quiet the machine was.

use comfy_table::presets::ASCII_MARKDOWN;
use comfy_table::{CellAlignment, Table};
use serde::Serialize;
use serde_json::{Value, json};

use crate::common::quiet::Beside;
use crate::growth::{self, Growth};

/// What a row is to reach.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Goal {
    /// A share of what it is compared with.
    ShareAtLeast(f64),
    /// Likewise, and no more.
    ShareAtMost(f64),
    /// A figure, whatever the machine.
    AtMost(f64),
    /// So much more than what it is compared with.
    MoreAtMost(f64),
    /// It is there to be read, as a share of what it is compared with.
    Share,
    /// It is there to be read.
    None,
}

/// One row, with every run.
#[derive(Debug)]
pub(crate) struct Row {
    name: String,
    unit: &'static str,
    /// What it is compared with, if anything.
    against: &'static str,
    goal: Goal,
    other: Vec<f64>,
    /// The ceiling with lanes, where it was measured.
    lanes: Vec<f64>,
    relay: Vec<f64>,
    disturbed: usize,
}

impl Row {
    pub(crate) fn new(name: String, unit: &'static str, against: &'static str, goal: Goal) -> Row {
        Row {
            name,
            unit,
            against,
            goal,
            other: Vec::new(),
            lanes: Vec::new(),
            relay: Vec::new(),
            disturbed: 0,
        }
    }

    /// One run: the figure beside it, ours, and what disturbed them.
    pub(crate) fn add(&mut self, other: Option<f64>, relay: f64, beside: &[Beside]) {
        self.other.extend(other);
        self.relay.push(relay);
        self.disturbed += usize::from(!beside.iter().all(|one| one.is_quiet()));
    }

    /// The same run's figure of the ceiling with lanes.
    pub(crate) fn add_lanes(&mut self, lanes: f64) {
        self.lanes.push(lanes);
    }

    /// That figure, and what the relay has of it.
    fn with_lanes(&self) -> String {
        if self.lanes.is_empty() {
            return String::new();
        }
        let shares = self.relay.iter().zip(&self.lanes).map(|(a, b)| a / b);
        let share = median(&shares.collect::<Vec<f64>>());
        format!("{} {}: {share:.2} ×", short(median(&self.lanes)), self.unit)
    }

    /// What is judged, run by run: a share, a difference, or the figure itself.
    fn judged(&self) -> Vec<f64> {
        let pairs = self.relay.iter().zip(&self.other);
        match self.goal {
            Goal::ShareAtLeast(_) | Goal::ShareAtMost(_) | Goal::Share => {
                pairs.map(|(a, b)| a / b).collect()
            }
            Goal::MoreAtMost(_) => pairs.map(|(a, b)| a - b).collect(),
            Goal::AtMost(_) | Goal::None => self.relay.clone(),
        }
    }

    /// In each of its runs; `None`: there was nothing to reach.
    fn is_met(&self) -> Option<bool> {
        let judged = self.judged();
        match self.goal {
            Goal::ShareAtLeast(least) => Some(judged.iter().all(|one| *one >= least)),
            Goal::ShareAtMost(most) | Goal::AtMost(most) | Goal::MoreAtMost(most) => {
                Some(judged.iter().all(|one| *one <= most))
            }
            Goal::Share | Goal::None => None,
        }
    }

    fn goal(&self) -> String {
        match self.goal {
            Goal::ShareAtLeast(share) => format!("≥ {share:.2} ×"),
            Goal::ShareAtMost(share) => format!("≤ {share:.2} ×"),
            Goal::AtMost(most) => format!("≤ {} {}", short(most), self.unit),
            Goal::MoreAtMost(most) => format!("≤ +{} {}", short(most), self.unit),
            Goal::Share | Goal::None => String::new(),
        }
    }

    fn reached(&self) -> String {
        let judged = median(&self.judged());
        match self.goal {
            Goal::ShareAtLeast(_) | Goal::ShareAtMost(_) | Goal::Share => format!("{judged:.2} ×"),
            Goal::MoreAtMost(_) => format!("{judged:+.2} {}", self.unit),
            Goal::AtMost(_) | Goal::None => format!("{} {}", short(judged), self.unit),
        }
    }

    fn json(&self) -> Value {
        json!({
            "name": self.name, "unit": self.unit, "against": self.against,
            "other": self.other, "with_lanes": self.lanes, "relay": self.relay, "judged": median(&self.judged()),
            "goal": self.goal(), "met": self.is_met(), "disturbed": self.disturbed,
        })
    }
}

/// Where and when it was measured.
#[derive(Debug, Serialize)]
pub(crate) struct Circumstances {
    pub(crate) relay: String,
    pub(crate) cores: usize,
    pub(crate) runs: usize,
    pub(crate) quick: bool,
    pub(crate) load_before: f64,
    pub(crate) load_after: f64,
    /// Over the whole time.
    pub(crate) beside: Beside,
}

impl Circumstances {
    pub(crate) fn text(&self) -> String {
        let quiet = if self.beside.is_quiet() {
            "quiet"
        } else {
            "NOT QUIET"
        };
        format!(
            "{}{} runs on {} cores; the machine was {quiet}: others computed {:.1} %, stolen {:.1} %, load {:.2} before and {:.2} after",
            if self.quick { "a quick look; " } else { "" },
            self.runs,
            self.cores,
            self.beside.others * 100.0,
            self.beside.stolen * 100.0,
            self.load_before,
            self.load_after,
        )
    }
}

/// The table as it is printed; it is Markdown, too.
pub(crate) fn text(rows: &[Row], growths: &[Growth], circumstances: &Circumstances) -> String {
    let mut table = Table::new();
    table.load_style(ASCII_MARKDOWN).set_header([
        "row",
        "beside it",
        "relay",
        "compared",
        "ceiling with lanes",
        "to reach",
        "met",
        "runs",
        "spread",
        "disturbed",
    ]);
    for row in rows {
        let other = match row.against {
            "" => String::new(),
            against => format!("{against} {} {}", short(median(&row.other)), row.unit),
        };
        let met = match row.is_met() {
            Some(_) if row.disturbed > 0 => "?",
            Some(true) => "yes",
            Some(false) => "no",
            None => "",
        };
        table.add_row([
            row.name.clone(),
            other,
            format!("{} {}", short(median(&row.relay)), row.unit),
            row.reached(),
            row.with_lanes(),
            row.goal(),
            met.to_owned(),
            row.relay.len().to_string(),
            spread(&row.relay),
            row.disturbed.to_string(),
        ]);
    }
    align(&mut table, 1..10);
    let growths = growth::text(growths);
    format!("{table}\n{growths}\n{}\n", circumstances.text())
}

/// Figures stand to the right.
pub(crate) fn align(table: &mut Table, columns: std::ops::Range<usize>) {
    for column in columns {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
}

/// The same for programs, with every run.
pub(crate) fn json(rows: &[Row], growths: &[Growth], circumstances: &Circumstances) -> Value {
    let rows: Vec<Value> = rows.iter().map(Row::json).collect();
    let growths: Vec<Value> = growths.iter().map(Growth::json).collect();
    json!({"circumstances": circumstances, "rows": rows, "growth": growths})
}

/// Three digits that count.
pub(crate) fn short(figure: f64) -> String {
    match figure.abs() {
        0.0..10.0 => format!("{figure:.2}"),
        10.0..100.0 => format!("{figure:.1}"),
        _ => format!("{figure:.0}"),
    }
}

/// How far runs lie apart, as a share of their median; nothing where that is 0, or where there is one run.
pub(crate) fn spread(figures: &[f64]) -> String {
    if figures.len() < 2 {
        return String::new();
    }
    let (least, most) = figures.iter().fold((f64::MAX, f64::MIN), |(a, b), one| {
        (a.min(*one), b.max(*one))
    });
    match median(figures) {
        0.0 => String::new(),
        middle => format!("{:.0} %", (most - least) / middle * 100.0),
    }
}

pub(crate) fn median(figures: &[f64]) -> f64 {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => sorted[middle],
        _ => f64::midpoint(sorted[middle - 1], sorted[middle]),
    }
}
