//! Cards: how an incident looks in a chat.
//!
//! The built-in card speaks Chinese and English at once; a route may name a template of its own. What an alert says
//! is foreign: it never mentions, never links, never changes a card's structure.
//! Promises: pure but for the templates' files; every card is taken by the door's checks and can be updated.
//! Not here: when a card is sent or updated (`plan`), whom it mentions (`people`).

mod built;
mod digest;
mod pieces;
pub(crate) mod words;

use serde_json::{Value, json};

use crate::alerts::incident::{Digest, Incident};
use crate::alerts::notice::Severity;
use crate::alerts::people::People;
use crate::alerts::policy::Policy;
use crate::config::Config;

/// Draws cards.
#[derive(Debug, Default)]
pub struct Cards {}

/// A card, and what went wrong with it on the way.
#[derive(Clone, Debug, PartialEq)]
pub struct Drawn {
    /// The content part of a job's args: `{"card": {…}}`.
    pub args: Value,
    /// Why it is the built-in card although the route has a template; for the incident's log.
    pub note: Option<String>,
}

impl Cards {
    /// Those of a config: its templates read and compiled.
    ///
    /// # Errors
    /// What is wrong with each template, with its file and line.
    pub fn load(_config: &Config) -> Result<Cards, Vec<String>> {
        Ok(Cards::default())
    }

    /// The card of an incident as it stands; `mention`: with mentions of `people`.
    pub fn live(&self, incident: &Incident, people: &People, mention: bool) -> Drawn {
        Drawn {
            args: content(built::live(incident, people, mention)),
            note: None,
        }
    }

    /// What is new, for the card's thread: alerts by fingerprint, a severity that rose; mentions `people`.
    pub fn news(
        &self,
        incident: &Incident,
        fingerprints: &[String],
        worse: Option<Severity>,
        people: &People,
    ) -> Value {
        content(built::news(incident, fingerprints, worse, people))
    }

    /// That another message goes on, for the old card's thread.
    pub fn moved(&self, incident: &Incident) -> Value {
        content(built::moved(incident))
    }

    /// The card of a digest; mentions `people`.
    pub fn digest(&self, digest: &Digest, policy: &Policy, people: &People) -> Value {
        content(digest::digest(digest, policy, people))
    }
}

/// One line about an incident: how it stands and what it is about, for lists.
pub fn title(incident: &Incident) -> String {
    built::title(incident)
}

/// What an incident is about, without how it stands: for a digest's lines.
pub fn subject(incident: &Incident) -> String {
    built::subject(incident)
}

fn content(card: Value) -> Value {
    json!({ "card": card })
}

#[cfg(test)]
mod tests;
