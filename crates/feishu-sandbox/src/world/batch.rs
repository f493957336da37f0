//! A batch message: one content for many people, sent in the background.
//!
//! Its counts grow with time and are final after the `batch_settle` of the switches, by the
//! sandbox's clock or by real time, whichever is further.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Read;

/// A task `bm-…`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Batch {
    pub(crate) batch_message_id: String,
    pub(crate) app_id: String,
    pub(crate) msg_type: String,
    pub(crate) content: Value,
    /// Everybody named, once, whom the platform knows.
    pub(crate) valid: u64,
    /// Those who got it.
    pub(crate) users: Vec<String>,
    pub(crate) at_ms: i64,
    pub(crate) at_real_ms: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) recalled: Option<Moment>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) reads: Vec<Read>,
}

/// A moment by both clocks.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Moment {
    pub(crate) at_ms: i64,
    pub(crate) real_ms: i64,
}

impl Batch {
    /// `of` as far as it is reached now, the whole of it `settle_ms` after the start.
    pub(crate) fn grown(of: u64, start: Moment, now: Moment, settle_ms: i64) -> u64 {
        let passed = (now.at_ms - start.at_ms)
            .max(now.real_ms - start.real_ms)
            .max(0);
        if passed >= settle_ms {
            return of;
        }
        of * u64::try_from(passed).unwrap_or(0) / u64::try_from(settle_ms).unwrap_or(1).max(1)
    }

    /// When it was accepted.
    pub(crate) fn start(&self) -> Moment {
        Moment {
            at_ms: self.at_ms,
            real_ms: self.at_real_ms,
        }
    }

    /// Notes a reader, once; `false` when they never got it.
    pub(crate) fn read_by(&mut self, user: &str, at_ms: i64) -> bool {
        if !self.users.iter().any(|each| each == user) {
            return false;
        }
        if !self.reads.iter().any(|read| read.user == user) {
            self.reads.push(Read {
                user: user.to_owned(),
                at_ms,
            });
        }
        true
    }
}
