//! What keeps the store from writing: said once when it begins, shown while it lasts, said once when
//! it is over.
//!
//! A full disk is over when there is room again, not when a small write found a gap; damage is never
//! over while the process lives. What was answered before stays: every failure here comes before an
//! answer.
//! Not here: what a batch does about it (`writer`), how damage is found (`damage`), whose files these
//! are (`files`).

use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::store::damage;

/// Room that there must be beside the database before a full disk counts as mended, bytes.
const ROOM: usize = 256 * 1024;

/// Why the store could not do what was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// No room on the disk, or in the quota.
    Full,
    /// The file or its file system takes no writes.
    ReadOnly,
    /// The file does not hold what was written to it.
    Damaged,
    /// The file has another name now, or none, or its name is another file's.
    Gone,
    /// The disk answers with errors.
    Failing,
    /// Another program holds the file.
    Busy,
    /// The file has a second name.
    Linked,
    /// A rule of the schema was broken: a fault of the relay.
    Rule,
    /// The daemon is stopping.
    Closing,
}

impl Cause {
    /// The name that programs may compare.
    pub fn name(self) -> &'static str {
        match self {
            Cause::Full => "full",
            Cause::ReadOnly => "read_only",
            Cause::Damaged => "damaged",
            Cause::Gone => "gone",
            Cause::Failing => "failing",
            Cause::Busy => "busy",
            Cause::Linked => "linked",
            Cause::Rule => "rule",
            Cause::Closing => "closing",
        }
    }

    /// For a producer: what it is, without a path.
    pub fn words(self) -> &'static str {
        match self {
            Cause::Full => "the relay's disk is full",
            Cause::ReadOnly => "the relay's database takes no writes",
            Cause::Damaged => "the relay's database is damaged",
            Cause::Gone => "the relay's database was deleted or replaced",
            Cause::Failing => "the relay's disk answers with errors",
            Cause::Busy => "another program holds the relay's database",
            Cause::Linked => "the relay's database has a second name",
            Cause::Rule => "the store refused what it was asked",
            Cause::Closing => "the relay is stopping",
        }
    }
}

/// Why the store could not do what was asked: for programs and, in a sentence, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The kind of it.
    pub cause: Cause,
    /// One sentence that names the file and says what to do.
    pub text: String,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

impl Failure {
    /// What an error of SQLite at the database `path` means.
    pub(super) fn of(path: &Path, error: &sqlx::Error) -> Failure {
        let cause = cause_of(error);
        match error.as_database_error() {
            Some(said) => {
                let code = said.code().unwrap_or_default();
                let said = format!("SQLite: {}, {code}", said.message());
                Failure::new(cause, path, &said)
            }
            None => Failure::new(cause, path, error),
        }
    }

    /// What an error of the system at `path` means.
    pub(super) fn at(path: &Path, error: &io::Error) -> Failure {
        let cause = match error.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Cause::Full,
            ErrorKind::ReadOnlyFilesystem | ErrorKind::PermissionDenied => Cause::ReadOnly,
            _ => Cause::Failing,
        };
        Failure::new(cause, path, error)
    }

    pub(super) fn new(cause: Cause, path: &Path, error: &dyn std::fmt::Display) -> Failure {
        let path = path.display();
        let text = match cause {
            Cause::Full => format!("{path}: the disk is full ({error}); make room"),
            Cause::ReadOnly => format!(
                "{path} cannot be written to ({error}); the file, its folder and its file system must be writable for the relay's user"
            ),
            Cause::Damaged => format!(
                "{path} is damaged ({error}); keep it and the files beside it as they are, and see \"The database is damaged\" in OPERATIONS.md"
            ),
            Cause::Gone => format!(
                "{path} was {error} while the relay runs; do not stop the relay, and see \"The database was deleted\" in OPERATIONS.md"
            ),
            Cause::Failing => format!("{path}: {error}; look at the disk"),
            Cause::Busy => format!("{path}: {error}; another program holds it"),
            Cause::Linked => format!(
                "{path}: {error}; remove one of them, the relay goes on by itself (a snapshot must copy, not link)"
            ),
            Cause::Rule | Cause::Closing => format!("{path}: {error}"),
        };
        Failure { cause, text }
    }

    pub(super) fn closing() -> Failure {
        Failure {
            cause: Cause::Closing,
            text: String::from("it is closing"),
        }
    }
}

/// SQLite's primary result codes. Source: sqlite.org, result codes.
fn cause_of(error: &sqlx::Error) -> Cause {
    /// The database file was moved away under SQLite.
    const READONLY_DBMOVED: i32 = 1032;
    let code = error.as_database_error().and_then(|error| error.code());
    let code: i32 = code.and_then(|code| code.parse().ok()).unwrap_or(0);
    match (code, code & 0xff) {
        (READONLY_DBMOVED, _) => Cause::Gone,
        (_, 5 | 6) => Cause::Busy,
        (_, 8) => Cause::ReadOnly,
        (_, 11 | 26) => Cause::Damaged,
        (_, 13) => Cause::Full,
        _ => Cause::Failing,
    }
}

/// What keeps the store from writing at the moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ill {
    /// What it is.
    pub failure: Failure,
    /// Since when, Unix milliseconds.
    pub since_ms: i64,
}

/// How the store is. Shared by the writer, which finds out, and those who look.
#[derive(Debug)]
pub(super) struct Health {
    path: PathBuf,
    ill: Mutex<Option<Ill>>,
}

impl Health {
    pub(super) fn new(path: &Path) -> Health {
        Health {
            path: path.to_owned(),
            ill: Mutex::new(None),
        }
    }

    pub(super) fn ill(&self) -> Option<Ill> {
        self.lock().clone()
    }

    /// Something failed. Said in the log unless it is what is the matter already.
    pub(super) fn fell(&self, failure: &Failure, now_ms: i64) {
        let mut ill = self.lock();
        let before = ill.as_ref().map(|ill| (ill.failure.cause, ill.since_ms));
        if before.is_some_and(|(cause, _)| cause == failure.cause || cause == Cause::Damaged) {
            return;
        }
        let since_ms = before.map_or(now_ms, |(_, since_ms)| since_ms);
        *ill = Some(Ill {
            failure: failure.clone(),
            since_ms,
        });
        drop(ill);
        match failure.cause {
            Cause::Closing => return,
            Cause::Damaged => damage::remember(&self.path, &failure.text),
            _ => {}
        }
        tracing::error!(
            cause = failure.cause.name(),
            "the store cannot write: {failure}; until it can, nothing is accepted and nothing is sent"
        );
    }

    /// Something was written.
    ///
    /// # Errors
    /// A reader found damage meanwhile, which no write mends: what was written is not to be relied on.
    pub(super) fn well(&self, now_ms: i64) -> Result<(), Failure> {
        let mut ill = self.lock();
        match ill.take() {
            None => Ok(()),
            Some(damaged) if damaged.failure.cause == Cause::Damaged => {
                let failure = damaged.failure.clone();
                *ill = Some(damaged);
                Err(failure)
            }
            Some(was) => {
                drop(ill);
                let after_s = now_ms.saturating_sub(was.since_ms).max(0) / 1000;
                tracing::info!(after_s, "the store writes again");
                Ok(())
            }
        }
    }

    /// May a batch be tried? A full disk is asked for room first, damage is never tried again.
    ///
    /// # Errors
    /// No, and why.
    pub(super) async fn permits(&self) -> Result<(), Failure> {
        match self.ill().map(|ill| ill.failure) {
            Some(failure) if failure.cause == Cause::Damaged => Err(failure),
            Some(failure) if failure.cause == Cause::Full => self.room().await,
            _ => Ok(()),
        }
    }

    /// What an error of SQLite means here: it says "I/O" also of a spent quota and of a file system
    /// that became read-only, and the disk itself knows better.
    pub(super) async fn diagnose(&self, error: &sqlx::Error) -> Failure {
        let failure = Failure::of(&self.path, error);
        match failure.cause {
            Cause::Failing => match self.room().await {
                Err(known) if known.cause != Cause::Failing => known,
                _ => failure,
            },
            _ => failure,
        }
    }

    async fn room(&self) -> Result<(), Failure> {
        let path = self.path.clone();
        let tried = tokio::task::spawn_blocking(move || {
            try_room(&path).map_err(|error| Failure::at(&path, &error))
        });
        tried.await.unwrap_or_else(|_| Err(Failure::closing()))
    }

    fn lock(&self) -> MutexGuard<'_, Option<Ill>> {
        self.ill.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes a file beside the database and takes it away again.
pub(super) fn try_room(database: &Path) -> io::Result<()> {
    let mut name = database.as_os_str().to_owned();
    name.push(".room");
    let name = PathBuf::from(name);
    let tried = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&name)
        .and_then(|mut file| {
            file.write_all(&vec![0; ROOM])?;
            file.sync_all()
        });
    let gone = std::fs::remove_file(&name);
    tried.and(gone)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_failure_is_kept_until_something_was_written() {
        let health = Health::new(Path::new("relay.db"));
        let full = Failure::at(Path::new("relay.db"), &ErrorKind::StorageFull.into());
        assert_eq!(full.cause, Cause::Full);
        health.fell(&full, 1000);
        health.fell(&full, 2000);
        assert_eq!(health.ill().unwrap().since_ms, 1000);
        // It turned into something else: it is still not writing since then.
        let failing = Failure::at(Path::new("relay.db"), &ErrorKind::Other.into());
        health.fell(&failing, 3000);
        let ill = health.ill().unwrap();
        assert_eq!((ill.failure.cause, ill.since_ms), (Cause::Failing, 1000));
        assert_eq!(health.well(4000), Ok(()));
        assert_eq!(health.ill(), None);
    }

    #[tokio::test]
    async fn damage_stays_and_a_full_disk_is_asked_for_room() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("relay.db");
        let health = Health::new(&path);
        assert_eq!(health.permits().await, Ok(()));
        let full = Failure::new(Cause::Full, &path, &"full");
        health.fell(&full, 0);
        assert_eq!(health.permits().await, Ok(()), "there is room");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        assert_eq!(health.well(0), Ok(()));
        let damaged = Failure::new(Cause::Damaged, &path, &"malformed");
        health.fell(&damaged, 0);
        health.fell(&full, 0);
        // A batch that was under way when a reader found it mends nothing.
        assert_eq!(health.well(0), Err(damaged.clone()));
        assert_eq!(health.permits().await, Err(damaged));
        assert!(folder.path().join("relay.db.damaged").exists());
    }
}
