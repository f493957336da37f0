//! What a job costs while more and more others wait: a table of its own, one column for each length of the queue.

use comfy_table::Table;
use comfy_table::presets::ASCII_MARKDOWN;
use serde_json::{Value, json};

use crate::common::quiet::Beside;
use crate::report::{align, median, short};

/// A job with the longest queue may cost so much of what it costs with the shortest. Source: the measure of flat,
/// "within 33 %".
const FLAT: f64 = 1.33;

/// One cost, by the length of the queue.
#[derive(Debug)]
pub(crate) struct Growth {
    name: String,
    /// It is to be flat; else it is there to be read.
    flat: bool,
    queued: &'static [u32],
    /// By run, and then by length: microseconds.
    runs: Vec<Vec<f64>>,
    disturbed: usize,
}

impl Growth {
    pub(crate) fn new(name: String, flat: bool, queued: &'static [u32]) -> Growth {
        Growth {
            name,
            flat,
            queued,
            runs: Vec::new(),
            disturbed: 0,
        }
    }

    /// One run: the cost at each length, and what disturbed it.
    pub(crate) fn add(&mut self, costs_us: Vec<f64>, beside: Beside) {
        self.runs.push(costs_us);
        self.disturbed += usize::from(!beside.is_quiet());
    }

    fn costs_us(&self) -> Vec<f64> {
        let at = |place: usize| -> Vec<f64> {
            self.runs.iter().map(|run| run[place]).collect::<Vec<f64>>()
        };
        (0..self.queued.len()).map(|n| median(&at(n))).collect()
    }

    /// Run by run, the dearest that came after the shortest queue, as a share of that.
    fn dearest(&self) -> f64 {
        let shares = self.runs.iter().map(|run| {
            let dearest = run[1..].iter().copied().fold(0.0, f64::max);
            dearest / run[0]
        });
        median(&shares.collect::<Vec<f64>>())
    }

    /// How much more a job costs for each tenfold of the queue, by the two ends.
    fn slope(&self) -> f64 {
        let tens =
            (f64::from(self.queued[self.queued.len() - 1]) / f64::from(self.queued[0])).log10();
        let shares = self.runs.iter().map(|run| run[run.len() - 1] / run[0]);
        median(&shares.collect::<Vec<f64>>()).powf(1.0 / tens) - 1.0
    }

    fn met(&self) -> Option<bool> {
        self.flat.then(|| self.dearest() <= FLAT)
    }

    pub(crate) fn json(&self) -> Value {
        json!({
            "name": self.name, "unit": "µs/job", "queued": self.queued, "runs": self.runs,
            "dearest": self.dearest(), "slope": self.slope(), "met": self.met(), "disturbed": self.disturbed,
        })
    }
}

/// The table as it is printed; nothing if nothing was measured. All have the same lengths.
pub(crate) fn text(growths: &[Growth]) -> String {
    let Some(first) = growths.first() else {
        return String::new();
    };
    let mut header = vec![String::from("µs for a job, by what is queued")];
    header.extend(first.queued.iter().map(|queued| many(*queued)));
    header.extend(
        [
            "a tenfold",
            "dearest",
            "to reach",
            "met",
            "runs",
            "disturbed",
        ]
        .map(String::from),
    );
    let mut table = Table::new();
    let columns = header.len();
    table.load_style(ASCII_MARKDOWN).set_header(header);
    for growth in growths {
        let mut row = vec![growth.name.clone()];
        row.extend(growth.costs_us().into_iter().map(short));
        row.push(format!("{:+.0} %", growth.slope() * 100.0));
        row.push(format!("{:.2} ×", growth.dearest()));
        row.push(if growth.flat {
            format!("≤ {FLAT:.2} ×")
        } else {
            String::new()
        });
        row.push(match growth.met() {
            Some(true) => String::from("yes"),
            Some(false) => String::from("no"),
            None => String::new(),
        });
        row.push(growth.runs.len().to_string());
        row.push(growth.disturbed.to_string());
        table.add_row(row);
    }
    align(&mut table, 1..columns);
    format!("\n{table}\n")
}

/// A round number in words: `1 k`, `100 k`, `1 M`.
pub(crate) fn many(n: u32) -> String {
    match n {
        0..1000 => n.to_string(),
        1000..1_000_000 => format!("{} k", n / 1000),
        _ => format!("{} M", n / 1_000_000),
    }
}
