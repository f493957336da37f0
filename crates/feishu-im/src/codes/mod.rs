//! The platform's codes, as tables: what each means, where, and who can mend it.
//!
//! Promises: rows are data with a source; a code means one thing per endpoint and wording, and the narrower row wins
//! (a named endpoint over a topic over any; a matching sub-code or text over none).
//! Not here: what a status without a code means, and what to do about a class (`classify`).

mod batch;
mod cards;
mod files;
mod gateway;
mod messages;
mod reactions;

use crate::classify::{BucketKind, Class, PauseScope};
use crate::endpoints::{Api, Topic};

/// One meaning of one code.
#[derive(Debug)]
pub struct CodeRow {
    /// Where it holds.
    pub apis: Scope,
    /// The code.
    pub code: i64,
    /// What else must be in the message, if anything.
    pub sub: Sub,
    /// What it means for the request.
    pub class: Class,
    /// In one English sentence.
    pub meaning: &'static str,
    /// In one Chinese sentence.
    pub meaning_zh: &'static str,
    /// Who can mend it.
    pub who: Who,
    /// What stops with it, when it refuses every request alike.
    pub pause: Option<PauseScope>,
    /// Which limit was hit, when it is one.
    pub bucket: Option<BucketKind>,
    /// When a repeat makes sense, in milliseconds, if the answer does not say it.
    pub wait_ms: Option<i64>,
    /// After an attempt with unknown outcome it proves that the attempt worked.
    pub proof: bool,
    /// It speaks of the bytes, so it holds for every attempt with the same ones.
    pub same_bytes: bool,
    /// This very request is still being carried out.
    pub in_progress: bool,
    /// Where the row comes from.
    pub source: &'static str,
}

/// Where a row holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Every endpoint.
    Any,
    /// Every endpoint of a topic.
    Topic(Topic),
    /// These endpoints, by [`Api::name`]; may name one that is not in the table yet.
    Only(&'static [&'static str]),
    /// No answer: shown in the user's client.
    Client,
}

/// What else an answer must say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sub {
    /// Nothing.
    None,
    /// These words, in any case.
    Text(&'static str),
    /// `ErrCode: N` in the message of a failed card.
    Card(i64),
    /// Both.
    CardText(i64, &'static str),
}

/// Who can mend it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Who {
    /// Who made the request.
    Caller,
    /// An administrator or the owner of the app.
    Admin,
    /// Nobody.
    Nobody,
    /// It needs no person: waiting, repeating or a new token does it.
    Relay,
}

impl Scope {
    fn covers(self, api: Api) -> bool {
        match self {
            Scope::Any => true,
            Scope::Topic(topic) => api.endpoint().topic == topic,
            Scope::Only(names) => names.contains(&api.name()),
            Scope::Client => false,
        }
    }

    fn rank(self) -> u8 {
        match self {
            Scope::Only(_) => 2,
            Scope::Topic(_) => 1,
            Scope::Any | Scope::Client => 0,
        }
    }
}

impl Sub {
    /// `msg` in lower case.
    fn matches(self, msg: &str) -> bool {
        match self {
            Sub::None => true,
            Sub::Text(words) => msg.contains(words),
            Sub::Card(code) => card_code(msg) == Some(code),
            Sub::CardText(code, words) => card_code(msg) == Some(code) && msg.contains(words),
        }
    }

    fn rank(self) -> u8 {
        match self {
            Sub::None => 0,
            Sub::Text(_) | Sub::Card(_) => 1,
            Sub::CardText(..) => 2,
        }
    }

    fn card(self) -> Option<i64> {
        match self {
            Sub::Card(code) | Sub::CardText(code, _) => Some(code),
            Sub::None | Sub::Text(_) => None,
        }
    }
}

/// The number after `errcode:` in a lower-case message.
fn card_code(msg: &str) -> Option<i64> {
    let rest = msg.split_once("errcode:")?.1.trim_start();
    let end = rest
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(rest.len());
    rest[..end].parse().ok()
}

/// Every row.
pub fn rows() -> impl Iterator<Item = &'static CodeRow> {
    [
        gateway::ROWS,
        messages::ROWS,
        reactions::ROWS,
        files::ROWS,
        cards::ROWS,
        batch::ROWS,
    ]
    .into_iter()
    .flatten()
}

/// The row for a code that `api` answered with the words `msg`; `None` for an unknown code.
pub fn find(api: Api, code: i64, msg: &str) -> Option<&'static CodeRow> {
    let msg = msg.to_lowercase();
    rows()
        .filter(|row| row.code == code && row.apis.covers(api) && row.sub.matches(&msg))
        .max_by_key(|row| (row.apis.rank(), row.sub.rank()))
}

/// Every meaning of a code or of a card's sub-code, over all endpoints; empty for an unknown one.
pub fn explain(code: i64) -> Vec<&'static CodeRow> {
    rows()
        .filter(|row| row.code == code || row.sub.card() == Some(code))
        .collect()
}
