//! What a source says, whatever its form: one group of alerts, some firing, some resolved.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// One notification.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Notification {
    /// What makes two notifications speak of the same incident.
    pub group_key: String,
    /// The labels that the group shares by its key.
    pub group_labels: BTreeMap<String, String>,
    /// Where the source can be looked at.
    pub external_url: Option<String>,
    /// Its alerts, in the source's order; a fingerprint once.
    pub alerts: Vec<Alert>,
    /// How many more the source left out.
    pub truncated: u64,
}

/// One alert, as one notification says it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alert {
    /// What makes it this alert: the source's, else a hash of its labels.
    pub fingerprint: String,
    /// It fires; else it is resolved.
    pub firing: bool,
    /// Since when, Unix milliseconds; 0: the source does not say, so its arrival counts, and no two firings can be
    /// told apart by it.
    pub starts_ms: i64,
    /// Until when, by the source; only where it is resolved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ends_ms: Option<i64>,
    /// Its labels, `alertname` and `severity` among them.
    pub labels: BTreeMap<String, String>,
    /// Its annotations: `summary`, `description` and others.
    pub annotations: BTreeMap<String, String>,
    /// Links, each `http` or `https`.
    #[serde(default, skip_serializing_if = "Links::is_empty")]
    pub links: Links,
}

/// Where one goes from an alert.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Links {
    /// What fired: the graph, the panel.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Where it is silenced.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub silence: Option<String>,
    /// What to do (`runbook_url`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runbook: Option<String>,
    /// The dashboard.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dashboard: Option<String>,
}

impl Links {
    /// There are none.
    pub fn is_empty(&self) -> bool {
        *self == Links::default()
    }
}

/// How bad an alert is, by its label `severity` (else `priority`, `level`), in the words of the field.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// For the record: `info`, `none`, `debug`, `low`, `p4`, `p5`.
    Info,
    /// Not said, or in a word of which nothing is known.
    #[default]
    Unknown,
    /// `warning`, `warn`, `minor`, `medium`, `p3`.
    Warning,
    /// `error`, `major`, `high`, `p2`.
    Error,
    /// `critical`, `crit`, `fatal`, `emergency`, `page`, `disaster`, `p0`, `p1`.
    Critical,
}

impl Severity {
    /// All of them, the worst last.
    pub const ALL: [Severity; 5] = [
        Severity::Info,
        Severity::Unknown,
        Severity::Warning,
        Severity::Error,
        Severity::Critical,
    ];

    /// The one that `word` calls so.
    pub fn named(word: &str) -> Option<Severity> {
        Severity::ALL.into_iter().find(|one| one.word() == word)
    }

    /// As configs and programs call it.
    pub fn word(self) -> &'static str {
        match self {
            Severity::Critical => "critical",
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Unknown => "unknown",
            Severity::Info => "info",
        }
    }

    /// Of that word, in any case.
    pub fn of(word: &str) -> Severity {
        match word.to_ascii_lowercase().as_str() {
            "critical" | "crit" | "fatal" | "emergency" | "page" | "disaster" | "p0" | "p1" => {
                Severity::Critical
            }
            "error" | "major" | "high" | "p2" => Severity::Error,
            "warning" | "warn" | "minor" | "medium" | "p3" => Severity::Warning,
            "info" | "information" | "informational" | "none" | "debug" | "notice" | "low"
            | "p4" | "p5" => Severity::Info,
            _ => Severity::Unknown,
        }
    }

    /// The worse the higher, as the store sorts it.
    pub fn rank(self) -> i64 {
        self as i64
    }

    /// The one of that rank.
    pub fn of_rank(rank: i64) -> Severity {
        use Severity::{Critical, Error, Info, Unknown, Warning};
        let all = [Info, Unknown, Warning, Error, Critical];
        let found = all.into_iter().find(|severity| severity.rank() == rank);
        found.unwrap_or_default()
    }
}

impl Alert {
    /// How bad it is.
    pub fn severity(&self) -> Severity {
        let words = ["severity", "priority", "level"].iter();
        let word = words.filter_map(|name| self.labels.get(*name)).next();
        word.map_or(Severity::Unknown, |word| Severity::of(word))
    }

    /// What it is called.
    pub fn name(&self) -> &str {
        let name = self.labels.get("alertname");
        name.filter(|name| !name.is_empty())
            .map_or("alert", |name| name)
    }
}
