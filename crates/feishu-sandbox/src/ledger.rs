//! The ledger: what people saw, in order, and how often each endpoint was called.
//!
//! An effect is written once per thing that changed for somebody; a repeat that changes nothing
//! writes none. This is the oracle of the relay's tests, so nothing here guesses.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::table::ENDPOINTS;

/// One thing that people saw. Fields that do not apply are absent.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Effect {
    pub(crate) seq: u64,
    pub(crate) at: i64,
    pub(crate) effect: String,
    pub(crate) call: String,
    /// Empty for a custom bot.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) app_id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) message_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) batch_message_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) chat_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) msg_type: Option<String>,
    /// As it was sent: a string, or an object where the call takes one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) content: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) uuid: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) users: Option<Vec<String>>,
    /// Key of an upload, id of a reaction.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) key: Option<String>,
}

/// How the calls of one endpoint ended.
///
/// `made` = `done` + `refused` + `limited` + those a fault kept from being executed. A call that
/// was executed and whose answer a fault spoiled counts in `done` and in `faulted`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Counts {
    pub(crate) made: u64,
    pub(crate) done: u64,
    pub(crate) refused: u64,
    pub(crate) limited: u64,
    pub(crate) faulted: u64,
}

/// Effects and counts.
#[derive(Debug)]
pub(crate) struct Ledger {
    pub(crate) effects: Vec<Effect>,
    /// By place in `ENDPOINTS`.
    pub(crate) counts: Vec<Counts>,
}

impl Default for Ledger {
    fn default() -> Self {
        Self {
            effects: Vec::new(),
            counts: vec![Counts::default(); ENDPOINTS.len()],
        }
    }
}

impl Ledger {
    /// Appends `effect` under the next number.
    pub(crate) fn append(&mut self, mut effect: Effect) -> u64 {
        effect.seq = self.effects.last().map_or(1, |last| last.seq + 1);
        let seq = effect.seq;
        self.effects.push(effect);
        seq
    }

    /// The ledger as the contract shows it; of the effects only those after `since`.
    pub(crate) fn to_json(&self, now_ms: i64, since: u64) -> Value {
        let from = self.effects.partition_point(|effect| effect.seq <= since);
        let calls: Vec<Value> = ENDPOINTS
            .iter()
            .zip(&self.counts)
            .map(|(row, counts)| {
                json!({
                    "call": row.call(), "made": counts.made, "done": counts.done,
                    "refused": counts.refused, "limited": counts.limited,
                    "faulted": counts.faulted,
                })
            })
            .collect();
        json!({ "now": now_ms, "effects": &self.effects[from..], "calls": calls })
    }
}
