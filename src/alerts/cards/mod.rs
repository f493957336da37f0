//! Cards: how an incident looks in a chat.
//!
//! The built-in card speaks Chinese and English at once; a route may name a template of its own. What an alert says
//! is foreign: it never mentions, never links, never changes a card's structure.
//! Promises: pure but for the templates' files; every card is taken by the door's checks and can be updated.
//! Not here: when a card is sent or updated (`plan`), whom it mentions (`people`).

mod built;
mod digest;
mod files;
mod foreign;
mod pieces;
mod samples;
mod template;
mod values;
pub(crate) mod words;

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::{Value, json};

use self::files::File;
pub use self::files::TemplateFault;

use crate::alerts::incident::{Digest, Incident};
use crate::alerts::notice::Severity;
use crate::alerts::people::People;
use crate::alerts::policy::Policy;
use crate::config::Config;

/// Draws cards.
#[derive(Debug, Default)]
pub struct Cards {
    /// By the name that the config gives.
    templates: BTreeMap<String, File>,
}

/// A card, and what went wrong with it on the way.
#[derive(Clone, Debug, PartialEq)]
pub struct Drawn {
    /// The content part of a job's args: `{"card": {…}}`.
    pub args: Value,
    /// Why it is the built-in card although the route has a template; for the incident's log.
    pub note: Option<String>,
}

impl Cards {
    /// Those of a config: its templates read and tried.
    ///
    /// # Errors
    /// What is wrong with each template, with its file and line.
    pub fn load(config: &Config) -> Result<Cards, Vec<String>> {
        let routes = config.routes.iter();
        let names = routes.filter_map(|route| route.template.as_ref());
        let cards = Cards::with(names.map(|name| (name.clone(), config.beside(name))));
        cards.map_err(|faults| faults.iter().map(ToString::to_string).collect())
    }

    /// Those of these templates, each by its name and with its file.
    ///
    /// # Errors
    /// What is wrong with each template.
    pub fn with(
        templates: impl IntoIterator<Item = (String, PathBuf)>,
    ) -> Result<Cards, Vec<TemplateFault>> {
        let mut cards = Cards::default();
        let mut faults = Vec::new();
        let paths: BTreeMap<String, PathBuf> = templates.into_iter().collect();
        for (name, path) in paths {
            match File::read(&path) {
                Ok(file) => drop(cards.templates.insert(name, file)),
                Err(fault) => faults.push(fault),
            }
        }
        match faults.is_empty() {
            true => Ok(cards),
            false => Err(faults),
        }
    }

    /// The card of an incident as it stands; `mention`: with mentions of `people`.
    ///
    /// Of a template that fails here, or is not there any more, it is the built-in card, and `note` says why.
    pub fn live(&self, incident: &Incident, people: &People, mention: bool) -> Drawn {
        let (card, note) = match self.own(incident, people, mention) {
            Some(Ok(card)) => (card, None),
            Some(Err(fault)) => (
                built::live(incident, people, mention),
                Some(format!(
                    "the built-in card stands in for the template: {fault}"
                )),
            ),
            None => (built::live(incident, people, mention), None),
        };
        Drawn {
            args: content(card),
            note,
        }
    }

    /// The card of the route's own template, if it has one.
    fn own(
        &self,
        incident: &Incident,
        people: &People,
        mention: bool,
    ) -> Option<Result<Value, TemplateFault>> {
        let name = incident.policy.template.as_ref()?;
        let Some(file) = self.templates.get(name) else {
            return Some(Err(TemplateFault {
                file: PathBuf::from(name),
                line: None,
                says: "is not in the config any more".to_owned(),
            }));
        };
        let drawn = file.template().draw(values::of(incident, people, mention));
        Some(drawn.map_err(|broken| file.fault(broken)))
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
mod templates;
#[cfg(test)]
mod tests;
