//! What a route wants of an incident, as it was when the incident began: a later reload does not change it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::alerts::notice::Severity;
use crate::job::{OnDoubt, Priority};

/// A route's word on one incident; kept with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// The app of its jobs.
    pub app: String,
    /// Where its card goes.
    pub to: String,
    /// Where it goes when Feishu refuses that receiver.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fallback: Option<String>,
    /// Whom the first card and news mention.
    #[serde(default)]
    pub mention: Vec<Who>,
    /// The card is pinned while it fires.
    #[serde(default)]
    pub pin: bool,
    /// How long what does not fire any more may still be shown for the first time, from the arrival of `resolved`, milliseconds.
    pub expires_in_ms: i64,
    /// Fires again this soon after its end: the same card. Milliseconds; 0 = never.
    #[serde(default)]
    pub reopen_ms: i64,
    /// A person who has read the card is not buzzed.
    #[serde(default)]
    pub until_read: bool,
    /// A reaction to the card ends the escalation.
    #[serde(default)]
    pub until_reaction: bool,
    /// Its rungs, by `after_ms`.
    #[serde(default)]
    pub escalate: Vec<Rung>,
    /// When nobody is to be disturbed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quiet: Option<Quiet>,
    /// No news for twice this marks the card as stale. Milliseconds; 0 = never.
    #[serde(default)]
    pub stale_after_ms: i64,
    /// What to do about a card whose outcome cannot be known: `hold` or `resend`.
    pub on_doubt: String,
    /// Labels of all its jobs, beside `incident` and `route`.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// The template of its card, by the name that the config gives (its file); the built-in card without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<String>,
    /// `high`, `normal` or `low`, by severity; where it says nothing, `priority` knows.
    #[serde(default)]
    pub priority: BTreeMap<Severity, String>,
}

impl Policy {
    /// What its jobs say of doubt.
    pub fn on_doubt(&self) -> OnDoubt {
        OnDoubt::from_name(&self.on_doubt).unwrap_or(OnDoubt::Hold)
    }

    /// How its jobs stand among others: what is critical or an error before the rest, what is for the record
    /// behind it, unless the route says otherwise.
    pub fn priority(&self, severity: Severity) -> Priority {
        let said = self.priority.get(&severity);
        said.and_then(|name| Priority::from_name(name))
            .unwrap_or(match severity {
                Severity::Critical | Severity::Error => Priority::High,
                Severity::Warning | Severity::Unknown => Priority::Normal,
                Severity::Info => Priority::Low,
            })
    }
}

/// Somebody, or a list of people.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Who {
    /// `ou_…` (open_id), `on_…` (union_id), else a user_id.
    Id(String),
    /// A mail address: may be mentioned, not buzzed.
    Mail(String),
    /// `@name`: a file of `[oncall]`, read at each use.
    List(String),
    /// `@all`: everybody in the chat; may be mentioned, not buzzed.
    All,
}

/// One rung of an escalation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rung {
    /// From when the card was shown, milliseconds.
    pub after_ms: i64,
    /// `urgent_app`, `urgent_sms` or `urgent_phone`.
    #[serde(rename = "do")]
    pub urgent: String,
    /// Whom; no mail addresses, not `@all`.
    pub to: Vec<Who>,
}

/// Hours of each day in which nobody is to be disturbed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quiet {
    /// From this minute of the day on, 0 to 1439.
    pub from_min: u16,
    /// Until this one; smaller than `from_min`: over midnight.
    pub until_min: u16,
    /// Of which clock: an IANA time zone.
    pub zone: String,
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A policy that wants a card and nothing else.
    pub(crate) fn plain() -> Policy {
        Policy {
            app: String::from("ops"),
            to: String::from("oc_1"),
            fallback: None,
            mention: Vec::new(),
            pin: false,
            expires_in_ms: 900_000,
            reopen_ms: 0,
            until_read: true,
            until_reaction: true,
            escalate: Vec::new(),
            quiet: None,
            stale_after_ms: 0,
            on_doubt: String::from("hold"),
            labels: BTreeMap::new(),
            template: None,
            priority: BTreeMap::new(),
        }
    }
}
