//! The platform's codes, as tables: what each means, where, and who can mend it.
//!
//! Promises: rows are data with a source; a code means one thing per endpoint and wording, and the narrower row wins
//! (a named endpoint over a topic over any; a matching sub-code or text over none).
//! Not here: what a status without a code means, and what to do about a class (`classify`).

mod batch;
mod cards;
mod files;
mod gateway;
mod hooks;
mod messages;
mod reactions;

use crate::classify::{BucketKind, Class, PauseScope};
use crate::endpoints::{Api, Topic};
use crate::limits::IN_PROGRESS_WAIT_MS;

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
    /// It speaks of the form of the content alone: other content to the same receiver may be taken.
    pub form: bool,
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
    /// These endpoints, by [`Api::name`].
    Only(&'static [&'static str]),
    /// No answer: shown in the user's client.
    Client,
}

/// What else an answer must say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sub {
    /// Nothing.
    None,
    /// These words (lower case here, any case there).
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

/// The beginning of a row; the rest is added by the functions below.
const fn row(
    apis: Scope,
    source: &'static str,
    code: i64,
    class: Class,
    who: Who,
    meaning: &'static str,
    meaning_zh: &'static str,
) -> CodeRow {
    CodeRow {
        apis,
        code,
        sub: Sub::None,
        class,
        meaning,
        meaning_zh,
        who,
        pause: None,
        bucket: None,
        wait_ms: None,
        proof: false,
        same_bytes: false,
        form: false,
        in_progress: false,
        source,
    }
}

impl CodeRow {
    const fn only(self, names: &'static [&'static str]) -> CodeRow {
        CodeRow {
            apis: Scope::Only(names),
            ..self
        }
    }

    const fn text(self, words: &'static str) -> CodeRow {
        CodeRow {
            sub: Sub::Text(words),
            ..self
        }
    }

    const fn pause(self, scope: PauseScope) -> CodeRow {
        CodeRow {
            pause: Some(scope),
            ..self
        }
    }

    const fn bucket(self, bucket: BucketKind, wait_ms: Option<i64>) -> CodeRow {
        CodeRow {
            bucket: Some(bucket),
            wait_ms,
            ..self
        }
    }

    const fn wait(self, wait_ms: i64) -> CodeRow {
        CodeRow {
            wait_ms: Some(wait_ms),
            ..self
        }
    }

    const fn proof(self) -> CodeRow {
        CodeRow {
            proof: true,
            ..self
        }
    }

    const fn same_bytes(self) -> CodeRow {
        CodeRow {
            same_bytes: true,
            ..self
        }
    }

    const fn form(self) -> CodeRow {
        CodeRow { form: true, ..self }
    }

    const fn in_progress(self) -> CodeRow {
        CodeRow {
            in_progress: true,
            wait_ms: Some(IN_PROGRESS_WAIT_MS),
            ..self
        }
    }

    const fn source(self, source: &'static str) -> CodeRow {
        CodeRow { source, ..self }
    }
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

    /// The more it asks for, the more it knows.
    fn rank(self) -> usize {
        match self {
            Sub::None => 0,
            Sub::Card(_) => 1,
            Sub::Text(words) | Sub::CardText(_, words) => 1 + words.len(),
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
    let tables = [
        gateway::ROWS,
        messages::ROWS,
        reactions::ROWS,
        files::ROWS,
        batch::ROWS,
        hooks::ROWS,
    ];
    tables.into_iter().flatten().chain(cards::rows())
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

#[cfg(test)]
mod tests;
