//! Are the files on disk still those that were opened?
//!
//! A database that was deleted or replaced under a running daemon goes on taking writes, which go
//! with the process. So the names are looked up before each batch: three questions to the file
//! system, next to a commit nothing. As long as the process lives nothing is lost: what was
//! acknowledged is in the open files, and they are let alone.

use std::fs::{File, Metadata};
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::store::damage::beside;
use crate::store::health::{Cause, Failure};
use crate::store::{StoreError, damage, open};

/// The database, its log and its lock, as they were opened.
#[derive(Debug)]
pub(super) struct Files {
    database: PathBuf,
    opened: [(PathBuf, Id); 2],
    /// Length of the log when it was last looked at, bytes.
    log_len: u64,
    /// Held so that no second daemon opens the database.
    lock: File,
}

type Id = (u64, u64);

impl Files {
    /// Of a database that is open.
    pub(super) fn of(database: &Path, lock: File) -> Result<Files, StoreError> {
        let id_of = |path: PathBuf| match std::fs::metadata(&path) {
            Ok(file) => Ok((path, id(&file))),
            Err(error) => Err(StoreError::Unavailable(Failure::at(&path, &error))),
        };
        Ok(Files {
            database: database.to_owned(),
            opened: [
                id_of(database.to_owned())?,
                id_of(beside(database, "-wal"))?,
            ],
            log_len: 0,
            lock,
        })
    }

    /// # Errors
    /// They are not; nothing may be written, and nothing opened by its name.
    pub(super) fn check(&mut self) -> Result<(), Failure> {
        let mut log_len = 0;
        for (path, was) in &self.opened {
            match std::fs::metadata(path) {
                Ok(file) if file.nlink() > 1 => {
                    return Err(Failure::new(Cause::Linked, path, &open::TWO_NAMES));
                }
                Ok(file) if id(&file) == *was => log_len = file.len(),
                Ok(_) => return Err(Failure::new(Cause::Gone, path, &"replaced")),
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    return Err(Failure::new(Cause::Gone, path, &"deleted"));
                }
                Err(error) => return Err(Failure::at(path, &error)),
            }
        }
        // While it is open SQLite shortens it to its limit, and to no less.
        if log_len < self.log_len.min(open::LOG_MAX) {
            let (log, _) = &self.opened[1];
            return Err(Failure::new(Cause::Damaged, log, &damage::CUT));
        }
        self.log_len = log_len;
        self.keep_lock()
    }

    /// The relay emptied the log itself.
    pub(super) fn emptied_log(&mut self) {
        self.log_len = 0;
    }

    /// A lock whose file was deleted keeps nobody out: it is taken anew.
    fn keep_lock(&mut self) -> Result<(), Failure> {
        let path = open::lock_path(&self.database);
        let same = |held: &File| -> io::Result<bool> {
            Ok(id(&held.metadata()?) == id(&std::fs::metadata(&path)?))
        };
        if same(&self.lock).unwrap_or(false) {
            return Ok(());
        }
        match open::lock(&self.database) {
            Ok(lock) => {
                tracing::warn!(
                    "{} was deleted or replaced; it is locked again",
                    path.display()
                );
                self.lock = lock;
                Ok(())
            }
            Err(StoreError::Unavailable(failure)) => Err(failure),
            Err(StoreError::Unusable(text)) => Err(Failure {
                cause: Cause::Busy,
                text,
            }),
        }
    }
}

fn id(file: &Metadata) -> Id {
    (file.dev(), file.ino())
}
