//! Doors for the fuzzer in `fuzz/`: every parser of bytes that come from outside, and what must hold
//! of what it says. Not in a normal build.
//!
//! The test here sends the kept corpus through every door, so that both stay true between two runs of
//! the fuzzer.

use std::path::Path;

pub use crate::alerts::sources::fuzz as alert;
use crate::clock;
use crate::config::{Config, values};
pub use crate::http::fuzz::{body, query};
pub use crate::job::fuzz::job;

/// A config file. It names no file of a secret: those would be read.
pub fn config(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    if text.contains("file") {
        return;
    }
    if let Err(error) = Config::parse(text, Path::new("config.toml"), &|_| None) {
        assert!(!error.to_string().is_empty());
    }
}

/// Durations, times, sizes and the other single values of config, query and request.
pub fn words(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    if let Some(ms) = clock::parse_ms(text) {
        assert!(ms >= 0);
    }
    if let Some(ms) = clock::parse_rfc3339(text) {
        assert_eq!(clock::parse_rfc3339(&clock::rfc3339(ms)), Some(ms));
    }
    if let Ok(duration) = values::duration(text) {
        assert_eq!(
            values::duration(&values::duration_text(duration)),
            Ok(duration)
        );
    }
    values::every(text);
}

#[cfg(test)]
mod tests {
    use super::*;

    type Parser = fn(&[u8]);

    #[test]
    fn the_kept_corpus_passes_every_door() {
        let doors: [(&str, Parser); 6] = [
            ("body", body),
            ("job", job),
            ("config", config),
            ("query", query),
            ("words", words),
            ("alert", alert),
        ];
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
        for (name, door) in doors {
            let files: Vec<_> = std::fs::read_dir(corpus.join(name)).unwrap().collect();
            assert!(files.len() >= 3, "{name}");
            for file in files {
                door(&std::fs::read(file.unwrap().path()).unwrap());
            }
        }
    }
}
