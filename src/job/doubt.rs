//! What is known of a job in doubt, for the person who settles it.
//!
//! A message that was shown cannot be told from another of the same app but by its time and its content,
//! so what the chat's history holds are candidates, never proof: nothing is settled by them alone.

use utoipa::ToSchema;

use crate::job::record::Time;
use crate::job::{Attempt, Kind, Makes, Outcome, PartRecord, State};

/// A message of the chat's history that may be the one.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize, ToSchema)]
pub struct Candidate {
    /// Feishu's id of it.
    pub message_id: String,
    /// When Feishu made it, by its own clock.
    #[serde(rename(serialize = "create_time"), serialize_with = "as_time")]
    #[schema(rename = "create_time", value_type = Time)]
    pub create_ms: i64,
    /// The app that sent it: the job's own.
    pub sender: String,
    /// Does it say what the job says? Left out where Feishu shows content otherwise than it was sent, so
    /// that nobody can tell.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub same_content: Option<bool>,
    /// It was taken back, by whomever.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub recalled: bool,
}

fn as_time<S: serde::Serializer>(ms: &i64, serializer: S) -> Result<S::Ok, S::Error> {
    serde::Serialize::serialize(&Time(*ms), serializer)
}

/// A part of a batch that may have been sent.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, ToSchema)]
pub struct DoubtfulPart {
    /// Its number, from 0, as in `attempts[].part` and `receipt.parts[]`.
    pub part: i64,
    /// Ids that were named in it.
    pub count: i64,
    /// When the newest of its attempts with an unknown outcome began, as far as that is kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<Time>,
    /// Feishu's name for that call, where it gave one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log_id: Option<String>,
}

/// How a look into the chat's history went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Look {
    /// There was none yet.
    None,
    /// It is on its way.
    UnderWay,
    /// No answer ever named the chat of this receiver.
    NoChat,
    /// All of that time was read; or the beginning of it only.
    Done {
        /// All of it.
        complete: bool,
    },
    /// Feishu did not show it.
    Failed {
        /// Why: its code and words, or ours.
        why: String,
    },
}

/// What is known of a job in doubt.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, ToSchema)]
#[schema(as = Doubt)]
pub struct DoubtRecord {
    /// When the first attempt with an unknown outcome began.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Time>,
    /// Of a message: a retry that is answered before this shows nothing twice.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub window_ends_at: Option<Time>,
    /// The chat that was looked into.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chat_id: Option<String>,
    /// When its history had been read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checked_at: Option<Time>,
    /// Messages of the job's app and type from the time of its attempts that no job here made, oldest
    /// first; absent as long as nothing was read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub candidates: Option<Vec<Candidate>>,
    /// Of a batch: the parts that may have been sent.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<DoubtfulPart>,
    /// What else a person should know before settling it.
    pub note: String,
}

impl DoubtRecord {
    /// What the job's own row says. `unknown_ms`: since when its outcome is unknown.
    pub(crate) fn of(
        kind: Kind,
        attempts: &[Attempt],
        parts: &[PartRecord],
        unknown_ms: Option<i64>,
    ) -> DoubtRecord {
        let unknown = |attempt: &&Attempt| attempt.outcome == Outcome::Unknown;
        let first_ms = attempts.iter().find(unknown).map(|first| first.at_ms);
        let since_ms = match (first_ms, unknown_ms) {
            (Some(first), Some(since)) => Some(first.min(since)),
            (first, since) => first.or(since),
        };
        let message = kind.makes() == Makes::Message;
        let window = since_ms.filter(|_| message);
        let doubtful = parts
            .iter()
            .zip(0..)
            .filter(|(part, _)| part.state == State::InDoubt);
        let parts = doubtful.map(|(part, n)| {
            let newest = attempts
                .iter()
                .filter(unknown)
                .rfind(|one| one.part == Some(n));
            DoubtfulPart {
                part: n,
                count: part.count,
                at: newest.map(|attempt| Time(attempt.at_ms)),
                log_id: newest.and_then(|attempt| attempt.log_id.clone()),
            }
        });
        DoubtRecord {
            since: since_ms.map(Time),
            window_ends_at: window
                .map(|since| Time(since.saturating_add(feishu_im::limits::SAFE_WINDOW_MS))),
            parts: parts.collect(),
            note: String::from("Feishu cannot be asked what became of it; ask whomever it was for"),
            ..DoubtRecord::default()
        }
    }

    /// The same, after a look into the history of the chat.
    pub(crate) fn looked(&mut self, look: &Look) {
        const MAY_LACK: &str = "the chat's history may lack a message that was shown, and one may have been taken back since";
        self.note = match look {
            Look::None => String::from(
                "the chat's history was not looked at; fresh=true (jobs show --fresh) does",
            ),
            Look::UnderWay => String::from("the chat's history is about to be looked at"),
            Look::NoChat => String::from(
                "the chat is not known: no kept message to this receiver was answered with its chat; look there by hand",
            ),
            Look::Done { complete: true } => String::from(MAY_LACK),
            Look::Done { complete: false } => format!(
                "the chat is busy: only the beginning of that time was read; also, {MAY_LACK}"
            ),
            Look::Failed { why } => {
                format!("Feishu did not show the chat's history ({why}); look there by hand")
            }
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attempt(at_ms: i64, outcome: Outcome, part: Option<i64>) -> Attempt {
        Attempt {
            at_ms,
            ms: None,
            outcome,
            http: None,
            code: None,
            log_id: part.map(|part| format!("log-{part}-{at_ms}")),
            part,
            rung: None,
        }
    }

    #[test]
    fn a_message_is_in_doubt_since_its_first_unknown_attempt_whatever_window_is_open_now() {
        let attempts = [
            attempt(1_000, Outcome::Limited, None),
            attempt(2_000, Outcome::Unknown, None),
            attempt(9_000_000, Outcome::Unknown, None),
        ];
        let doubt = DoubtRecord::of(Kind::Send, &attempts, &[], Some(8_000_000));
        assert_eq!(doubt.since, Some(Time(2_000)));
        assert_eq!(doubt.window_ends_at, Some(Time(2_000 + 50 * 60_000)));
        let buzz = DoubtRecord::of(Kind::UrgentSms, &attempts, &[], None);
        assert_eq!((buzz.since, buzz.window_ends_at), (Some(Time(2_000)), None));
        let restored = DoubtRecord::of(Kind::Send, &[], &[], Some(8_000_000));
        assert_eq!(restored.since, Some(Time(8_000_000)));
    }

    #[test]
    fn of_a_batch_each_part_in_doubt_has_its_own_newest_attempt() {
        let part = |state| PartRecord {
            state,
            batch_message_id: None,
            count: 7,
            code: None,
            msg: None,
            receipt: None,
        };
        let attempts = [
            attempt(1, Outcome::Unknown, Some(0)),
            attempt(2, Outcome::Done, Some(1)),
            attempt(3, Outcome::Unknown, Some(2)),
            attempt(4, Outcome::Unknown, Some(0)),
            attempt(5, Outcome::Refused, Some(2)),
        ];
        let states = [State::InDoubt, State::Done, State::InDoubt].map(part);
        let doubt = DoubtRecord::of(Kind::BatchSend, &attempts, &states, None);
        let parts: Vec<_> = doubt.parts.iter().map(|one| (one.part, one.at)).collect();
        assert_eq!(parts, [(0, Some(Time(4))), (2, Some(Time(3)))]);
        assert_eq!(doubt.parts[1].log_id.as_deref(), Some("log-2-3"));
        assert!(doubt.window_ends_at.is_none());
    }
}
