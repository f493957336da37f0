//! What all runs together came to, for people and for programs.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::PathBuf;

use serde_json::{Map, Value, json};

use super::check::{Sin, Why};
use super::run::Outcome;

/// How to do one run again.
pub(crate) fn again(seed: u64, kills: usize) -> String {
    format!(
        "cargo bench --profile dev --bench torture -- --seed {seed} --kills {kills} --per-run {kills}"
    )
}

/// What brought a job into doubt. There is no other cause: what is in doubt without one is a breach (`doubtful`).
const CAUSES: [(&str, &str); 4] = [
    ("no uuid", "of kinds without uuid"),
    ("window over", "sends, unknown for over 50 min"),
    (
        "ended",
        "sends, expired, canceled or taken back after an unknown attempt",
    ),
    (
        "refused",
        "sends, refused for good after an unknown attempt",
    ),
];

/// Which of `CAUSES`.
fn cause(kind: &str, why: Why) -> usize {
    match (kind, why) {
        ("send", Why::Window) => 1,
        ("send", Why::Stopped | Why::Deadline) => 2,
        ("send", Why::Refused) => 3,
        (_, Why::NoRepeat | Why::Window | Why::Stopped | Why::Deadline | Why::Refused) => 0,
    }
}

/// Sums over runs.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) seeds: Vec<u64>,
    kills: usize,
    starts: usize,
    reboots: u32,
    acts: usize,
    acknowledged: u64,
    unanswered: u64,
    effects: usize,
    calls: u64,
    faulted: u64,
    /// Calls and refusals of the runs with Feishu's own limits.
    limited: u64,
    limited_of: u64,
    moved_ms: i64,
    states: BTreeMap<String, u64>,
    doubts: BTreeMap<(String, Why), u64>,
    waiting: u64,
    sins: BTreeMap<Sin, usize>,
    kept: Vec<(u64, usize, PathBuf)>,
}

impl Report {
    /// Adds a run.
    pub(crate) fn add(&mut self, run: &Outcome) {
        self.seeds.push(run.seed);
        self.kills += run.kills;
        self.starts += run.starts;
        self.reboots += run.reboots;
        self.acts += run.acts;
        self.acknowledged += run.verdict.acknowledged;
        self.unanswered += run.verdict.unanswered;
        self.effects += run.effects;
        self.calls += run.calls;
        self.faulted += run.faulted;
        if run.limits {
            self.limited += run.limited;
            self.limited_of += run.calls;
        }
        self.moved_ms += run.moved_ms;
        for (state, count) in &run.verdict.states {
            *self.states.entry(state.clone()).or_default() += count;
        }
        for (doubt, count) in &run.verdict.doubts {
            *self.doubts.entry(doubt.clone()).or_default() += count;
        }
        self.waiting += run.verdict.waiting;
        for sin in SINS {
            *self.sins.entry(sin).or_default() += run.verdict.count(sin);
        }
        if let Some(folder) = &run.kept {
            self.kept.push((run.seed, run.planned, folder.clone()));
        }
    }

    /// Was every promise kept?
    pub(crate) fn is_clean(&self) -> bool {
        self.sins.values().all(|count| *count == 0)
    }

    fn sin(&self, sin: Sin) -> usize {
        self.sins.get(&sin).copied().unwrap_or(0)
    }

    /// How many were ever in doubt, by `CAUSES`.
    fn causes(&self) -> [u64; CAUSES.len()] {
        let mut counts = [0; CAUSES.len()];
        for ((kind, why), count) in &self.doubts {
            counts[cause(kind, *why)] += count;
        }
        counts
    }

    /// For programs.
    pub(crate) fn json(&self) -> Value {
        let causes: Map<String, Value> = CAUSES
            .iter()
            .zip(self.causes())
            .map(|((name, _), count)| (name.replace(' ', "_"), json!(count)))
            .collect();
        let doubts: Vec<Value> = self
            .doubts
            .iter()
            .map(|((kind, why), count)| json!({"kind": kind, "why": word(*why), "count": count}))
            .collect();
        let kept: Vec<Value> = self
            .kept
            .iter()
            .map(|(seed, kills, folder)| json!({"seed": seed, "folder": folder, "again": again(*seed, *kills)}))
            .collect();
        json!({
            "seeds": self.seeds, "runs": self.seeds.len(), "kills": self.kills, "starts": self.starts,
            "reboots": self.reboots, "moved_hours": self.moved_ms / 3_600_000,
            "operator": self.acts,
            "acknowledged": self.acknowledged, "unanswered": self.unanswered, "effects": self.effects,
            "calls": self.calls, "faulted": self.faulted,
            "limited": {"count": self.limited, "of": self.limited_of},
            "lost": self.sin(Sin::Lost), "doubled": self.sin(Sin::Doubled),
            "out_of_order": self.sin(Sin::OutOfOrder), "dishonest": self.sin(Sin::Dishonest),
            "doubtful": self.sin(Sin::Doubtful), "late": self.sin(Sin::Late),
            "states": self.states, "in_doubt": doubts, "in_doubt_by_cause": causes, "waiting_for_doubt": self.waiting, "kept": kept,
        })
    }

    /// For people.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        let mut line = |name: &str, says: String| {
            let _ = writeln!(text, "{name:<14}{says}");
        };
        let seeds: Vec<String> = self.seeds.iter().map(u64::to_string).collect();
        line("seeds", seeds.join(" "));
        line("runs", self.seeds.len().to_string());
        line(
            "kills",
            format!(
                "{} ({} starts, {} reboots)",
                self.kills, self.starts, self.reboots
            ),
        );
        line(
            "clocks",
            format!("moved by {} h", self.moved_ms / 3_600_000),
        );
        line(
            "jobs",
            format!(
                "{} acknowledged, {} without an answer",
                self.acknowledged, self.unanswered
            ),
        );
        line("operator", format!("{} acts", self.acts));
        line(
            "ended",
            counts(
                self.states
                    .iter()
                    .map(|(state, count)| (state.clone(), *count)),
            ),
        );
        line("effects", self.effects.to_string());
        line(
            "calls",
            format!("{}, {} of them under a fault", self.calls, self.faulted),
        );
        line(
            "limited",
            format!(
                "{} of {} calls where Feishu's limits hold",
                self.limited, self.limited_of
            ),
        );
        let names = [
            "lost",
            "doubled",
            "out of order",
            "dishonest",
            "doubtful",
            "late",
        ];
        for (name, sin) in names.into_iter().zip(SINS) {
            line(name, self.sin(sin).to_string());
        }
        let doubts = self
            .doubts
            .iter()
            .map(|((kind, why), count)| (format!("{kind} ({})", word(*why)), *count));
        line("ever in doubt", counts(doubts));
        for ((name, means), count) in CAUSES.iter().zip(self.causes()) {
            line(&format!("  {name}"), format!("{count} {means}"));
        }
        let doubtful = self.sin(Sin::Doubtful);
        line("  otherwise", format!("{doubtful} (to be 0)"));
        line("wait for them", self.waiting.to_string());
        for (seed, kills, folder) in &self.kept {
            line(
                "kept",
                format!(
                    "{}\n{:<14}again: {}",
                    folder.display(),
                    "",
                    again(*seed, *kills)
                ),
            );
        }
        text
    }
}

const SINS: [Sin; 6] = [
    Sin::Lost,
    Sin::Doubled,
    Sin::OutOfOrder,
    Sin::Dishonest,
    Sin::Doubtful,
    Sin::Late,
];

fn word(why: Why) -> &'static str {
    match why {
        Why::NoRepeat => "no repeat",
        Why::Window => "window over",
        Why::Stopped => "stopped",
        Why::Deadline => "deadline",
        Why::Refused => "refused later",
    }
}

fn counts(pairs: impl Iterator<Item = (String, u64)>) -> String {
    let all: Vec<String> = pairs
        .map(|(name, count)| format!("{count} {name}"))
        .collect();
    match all.is_empty() {
        true => String::from("none"),
        false => all.join(", "),
    }
}
