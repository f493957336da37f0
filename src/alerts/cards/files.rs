//! The files of templates: read when the daemon starts, and again whenever one has changed.
//!
//! A new version that is broken is said once and not taken; the one before goes on.

use std::fmt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use super::template::{Broken, Template};

/// What is wrong with a template, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TemplateFault {
    /// The file.
    pub file: PathBuf,
    /// The line, if that is known.
    pub line: Option<usize>,
    /// What is wrong.
    pub says: String,
}

impl fmt::Display for TemplateFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.file.display())?;
        if let Some(line) = self.line {
            write!(f, "{line}:")?;
        }
        write!(f, " {}", self.says)
    }
}

impl std::error::Error for TemplateFault {}

/// A template's file.
#[derive(Debug)]
pub(super) struct File {
    path: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// What the file looked like when it was read last.
    seen: Option<Looks>,
    template: Arc<Template>,
}

/// What changes when somebody writes a file or puts another in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Looks {
    device: u64,
    inode: u64,
    bytes: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl File {
    /// Reads and tries a template.
    ///
    /// # Errors
    /// It cannot be read, or is broken.
    pub(super) fn read(path: &Path) -> Result<File, TemplateFault> {
        let seen = looks(path);
        Ok(File {
            path: path.to_owned(),
            state: Mutex::new(State {
                template: Arc::new(template(path)?),
                seen,
            }),
        })
    }

    /// The template as the file says it now; of a broken file, as it said it before.
    pub(super) fn template(&self) -> Arc<Template> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let looks = looks(&self.path);
        if looks != state.seen {
            state.seen = looks;
            match template(&self.path) {
                Ok(template) => {
                    state.template = Arc::new(template);
                    tracing::info!("the card template {} was read again", self.path.display());
                }
                Err(fault) => {
                    tracing::warn!("a card template is broken, the one before goes on: {fault}");
                }
            }
        }
        Arc::clone(&state.template)
    }

    /// A fault of this file's template.
    pub(super) fn fault(&self, broken: Broken) -> TemplateFault {
        fault(&self.path, broken)
    }
}

fn template(path: &Path) -> Result<Template, TemplateFault> {
    let source = std::fs::read_to_string(path).map_err(|error| {
        let says = format!("cannot be read: {error}");
        fault(path, Broken { line: None, says })
    })?;
    Template::new(&source).map_err(|broken| fault(path, broken))
}

fn fault(path: &Path, broken: Broken) -> TemplateFault {
    TemplateFault {
        file: path.to_owned(),
        line: broken.line,
        says: broken.says,
    }
}

fn looks(path: &Path) -> Option<Looks> {
    let file = std::fs::metadata(path).ok()?;
    Some(Looks {
        device: file.dev(),
        inode: file.ino(),
        bytes: file.size(),
        modified: (file.mtime(), file.mtime_nsec()),
        changed: (file.ctime(), file.ctime_nsec()),
    })
}
