//! What is wrong with a config file, and where: every fault with its line, column and key.
//!
//! Not here: what counts as a fault (`sections`, `values`, `secret`).

use std::cell::RefCell;
use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// One fault of a config file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Line in the file, from 1; 0 when the file could not be read at all.
    pub line: usize,
    /// Column in that line in characters, from 1.
    pub column: usize,
    /// The key it speaks of, as a path: `apps[0].timeout`; empty for a fault of the file.
    pub key: String,
    /// What is wrong and what would be right; never a secret.
    pub message: String,
}

/// Why a config was not accepted: all of its faults, in the order of the file.
#[derive(Debug, Clone)]
pub struct ConfigError {
    /// The file as it was named.
    pub file: PathBuf,
    /// At least one.
    pub faults: Vec<Fault>,
}

impl ConfigError {
    /// The fault of a file that could not be read.
    pub(super) fn unreadable(file: &Path, message: String) -> Self {
        let fault = Fault {
            line: 0,
            column: 0,
            key: String::new(),
            message,
        };
        Self {
            file: file.to_owned(),
            faults: vec![fault],
        }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, fault) in self.faults.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            fault.write(&self.file, f)?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}

impl Fault {
    /// The fault as one line: `FILE:LINE:COL: key: message`.
    pub fn in_file(&self, file: &Path) -> String {
        struct Line<'a>(&'a Fault, &'a Path);
        impl fmt::Display for Line<'_> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.write(self.1, f)
            }
        }
        Line(self, file).to_string()
    }

    fn write(&self, file: &Path, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", file.display())?;
        if self.line > 0 {
            write!(f, ":{}:{}", self.line, self.column)?;
        }
        if !self.key.is_empty() {
            write!(f, ": {}", self.key)?;
        }
        write!(f, ": {}", self.message)
    }
}

/// Where a value stands in the file: byte offset and key path.
#[derive(Debug, Clone)]
pub(super) struct At {
    pub(super) start: usize,
    pub(super) key: String,
}

impl At {
    pub(super) fn new(span: &Range<usize>, key: String) -> Self {
        Self {
            start: span.start,
            key,
        }
    }
}

/// Collects what is wrong while the file is read, so that one run names everything.
#[derive(Debug)]
pub(super) struct Report<'t> {
    text: &'t str,
    faults: RefCell<Vec<Fault>>,
    warnings: RefCell<Vec<Fault>>,
}

impl<'t> Report<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        Self {
            text,
            faults: RefCell::default(),
            warnings: RefCell::default(),
        }
    }

    pub(super) fn fault(&self, at: &At, message: impl Into<String>) {
        self.faults.borrow_mut().push(self.place(at, message));
    }

    pub(super) fn warn(&self, at: &At, message: impl Into<String>) {
        self.warnings.borrow_mut().push(self.place(at, message));
    }

    pub(super) fn is_clean(&self) -> bool {
        self.faults.borrow().is_empty()
    }

    /// The faults and the warnings, each in the order of the file.
    pub(super) fn into_parts(self) -> (Vec<Fault>, Vec<Fault>) {
        let sorted = |found: RefCell<Vec<Fault>>| {
            let mut found = found.into_inner();
            found.sort_by_key(|fault| (fault.line, fault.column));
            found
        };
        (sorted(self.faults), sorted(self.warnings))
    }

    fn place(&self, at: &At, message: impl Into<String>) -> Fault {
        let (line, column) = line_and_column(self.text, at.start);
        Fault {
            line,
            column,
            key: at.key.clone(),
            message: message.into(),
        }
    }
}

fn line_and_column(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let start = before.rfind('\n').map_or(0, |newline| newline + 1);
    (line, before[start..].chars().count() + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_counted_in_lines_and_characters_from_one() {
        let check = |offset, expected| assert_eq!(line_and_column("ab\n群x\n", offset), expected);
        check(0, (1, 1));
        check(2, (1, 3));
        check(3, (2, 1));
        check(6, (2, 2));
        check(99, (3, 1));
    }

    #[test]
    fn a_fault_reads_as_a_compiler_would_write_it() {
        let fault = Fault {
            line: 3,
            column: 9,
            key: "apps[0].timeout".into(),
            message: "too long".into(),
        };
        assert_eq!(
            fault.in_file(Path::new("relay.toml")),
            "relay.toml:3:9: apps[0].timeout: too long"
        );
    }
}
