//! What must never be read where others may look: secrets of the config, and what messages say.
//!
//! Every house remembers what its test sent and looks for it in the log, in `/metrics` and in each
//! refusal, so that every test with a house judges this too.

use std::collections::BTreeSet;
use std::sync::Mutex;

use serde_json::Value;

/// Shorter ones might stand anywhere by chance.
const BYTES_MIN: usize = 8;

/// The names under which content stands in a request.
const CONTENT: [&str; 4] = ["text", "markdown", "content", "data"];

/// The names under which a secret stands in the config.
const SECRETS: [&str; 4] = ["app_secret", "token", "url", "secret"];

#[derive(Default)]
pub struct Planted(Mutex<BTreeSet<String>>);

impl Planted {
    pub fn word(&self, word: &str) {
        if word.len() >= BYTES_MIN {
            self.0.lock().unwrap().insert(word.to_owned());
        }
    }

    /// Every content in a request.
    pub fn content(&self, body: &Value) {
        match body {
            Value::Array(list) => list.iter().for_each(|one| self.content(one)),
            Value::Object(map) => {
                for (name, value) in map {
                    match value {
                        Value::String(text) if CONTENT.contains(&name.as_str()) => self.word(text),
                        other => self.content(other),
                    }
                }
            }
            _ => {}
        }
    }

    /// Every secret of a config.
    pub fn secrets(&self, config: &str) {
        for line in config.lines() {
            let Some((name, value)) = line.split_once('=') else {
                continue;
            };
            if SECRETS.contains(&name.trim()) {
                value
                    .split('"')
                    .skip(1)
                    .step_by(2)
                    // Of a custom bot's URL the end is the secret.
                    .flat_map(|secret| [Some(secret), secret.rsplit('/').next()])
                    .flatten()
                    .for_each(|secret| self.word(secret));
            }
        }
    }

    pub fn judge(&self, place: &str, text: &str) {
        let found = self
            .0
            .lock()
            .unwrap()
            .iter()
            .find(|word| text.contains(*word))
            .cloned();
        if let Some(word) = found {
            let line = text
                .lines()
                .find(|line| line.contains(&word))
                .unwrap_or(text);
            panic!("{place} holds {word:?}: {line}");
        }
    }
}
