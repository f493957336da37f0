//! Bytes beside the database, under their hash: on disk before the job that needs them is.
//!
//! A file that has its name is complete: names appear by rename. Nobody takes a file away that a request
//! still holds (`Holds`); one that no job took over goes with the next sweep, and what a crash left
//! goes at the start.
//! Not here: when a job needs a file no more (`sweep`).

use std::collections::{HashMap, HashSet};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{BufReader, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sha2::{Digest, Sha256};
use sqlx::sqlite::SqlitePool;

use crate::job::{Arrived, Looks, NewJob, Upload, hex};
use crate::store::writer::Tx;
use crate::store::{Failure, Store, StoreError};

/// How much of an upload is gathered before it is written.
const PIECE_BYTES: usize = 256 << 10;

/// What a file is called that is still being written.
const DRAFT: &str = ".part";

/// Where the bytes of that hash (64 hex digits) are.
pub(super) fn path(database: &Path, sha256: &str) -> PathBuf {
    folder(database).join(sha256)
}

/// The folder of them all.
pub(super) fn folder(database: &Path) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push(".uploads");
    PathBuf::from(name)
}

/// The hash as it names the file.
pub(super) fn name(upload: &Upload) -> String {
    hex(&upload.sha256)
}

/// Does it carry bytes?
pub(super) fn has_upload(job: &NewJob) -> bool {
    job.upload.is_some()
        || job.first.iter().any(|first| has_upload(&first.job))
        || job.then.iter().any(has_upload)
}

/// All bytes that it and its children carry.
pub(super) fn uploads(job: &NewJob) -> Vec<&Upload> {
    let own = job.upload.iter();
    let first = job.first.iter().flat_map(|first| uploads(&first.job));
    let then = job.then.iter().flat_map(uploads);
    own.chain(first).chain(then).collect()
}

/// One more job needs each of them.
pub(super) async fn count(tx: &mut Tx<'_>, uploads: &[String]) -> Result<(), sqlx::Error> {
    for name in uploads {
        // What nobody needed a moment ago is needed again.
        tx.changes.files_gone.retain(|gone| gone != name);
        sqlx::query(
            "insert into upload (sha256, jobs) values (?1, 1)
             on conflict (sha256) do update set jobs = jobs + 1",
        )
        .bind(name)
        .execute(tx.conn().await?)
        .await?;
    }
    Ok(())
}

/// Files that requests hold, by name.
#[derive(Debug, Default)]
pub(super) struct Holds {
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    names: HashMap<String, usize>,
    /// Nobody holds them any more; whether a job took them over is to be looked up.
    left: HashSet<String>,
}

impl Holds {
    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Files that may be nobody's.
    pub(super) fn left(&self) -> Vec<String> {
        self.lock().left.iter().cloned().collect()
    }

    /// A job has taken it over.
    pub(super) fn taken(&self, name: &str) {
        self.lock().left.remove(name);
    }

    /// Takes the files away; one that a request holds stays, and whoever lets go of it last asks again.
    pub(super) fn remove(&self, database: &Path, names: &[String]) {
        let mut held = self.lock();
        for name in names {
            if held.names.contains_key(name) {
                continue;
            }
            held.left.remove(name);
            match fs::remove_file(path(database, name)) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    tracing::warn!(%error, "an upload that nobody needs could not be removed");
                }
                _ => {}
            }
        }
    }
}

/// As long as it lives, the file of that name is not taken away.
#[derive(Debug)]
pub(super) struct Hold {
    holds: Arc<Holds>,
    name: String,
}

impl Hold {
    pub(super) fn new(holds: &Arc<Holds>, name: String) -> Hold {
        *holds.lock().names.entry(name.clone()).or_default() += 1;
        Hold {
            holds: Arc::clone(holds),
            name,
        }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut held = self.holds.lock();
        let name = std::mem::take(&mut self.name);
        match held.names.get_mut(&name) {
            Some(count) if *count > 1 => *count -= 1,
            _ => {
                held.names.remove(&name);
                held.left.insert(name);
            }
        }
    }
}

/// Writes the bytes and waits for the disk; those that arrived before are there.
pub(super) fn keep(database: &Path, upload: &Upload) -> std::io::Result<()> {
    let Some(bytes) = &upload.bytes else {
        return Ok(());
    };
    let name = name(upload);
    if path(database, &name).exists() {
        return Ok(());
    }
    let mut draft = Draft::create(database)?;
    draft.file.write_all(bytes)?;
    draft.publish(database, &name)
}

/// A file that is being written; it goes when this is dropped unless it got its name.
#[derive(Debug)]
struct Draft {
    file: File,
    path: Trace,
}

/// Takes the draft away: half of one must not stay, on a full disk above all.
#[derive(Debug)]
struct Trace(PathBuf);

impl Drop for Trace {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

impl Draft {
    fn create(database: &Path) -> std::io::Result<Draft> {
        let folder = folder(database);
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&folder)?;
        let path = folder.join(format!("{}{DRAFT}", uuid::Uuid::now_v7().simple()));
        let file = OpenOptions::new()
            .write(true)
            .read(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)?;
        Ok(Draft {
            file,
            path: Trace(path),
        })
    }

    /// On disk, then under its name, then the name on disk.
    fn publish(self, database: &Path, name: &str) -> std::io::Result<()> {
        self.file.sync_all()?;
        fs::rename(&self.path.0, path(database, name))?;
        File::open(folder(database))?.sync_all()
    }
}

/// Takes away what no job needs: drafts, and files that a crash left before their job was stored.
///
/// To be called before anything is accepted.
pub(super) async fn clear(database: &Path, readers: &SqlitePool) -> Result<(), sqlx::Error> {
    let needed: Vec<String> = sqlx::query_scalar("select sha256 from upload")
        .fetch_all(readers)
        .await?;
    let needed: HashSet<String> = needed.into_iter().collect();
    let Ok(files) = fs::read_dir(folder(database)) else {
        return Ok(());
    };
    for file in files.flatten() {
        let name = file.file_name();
        let name = name.to_string_lossy();
        let ours = name.ends_with(DRAFT) || (name.len() == 64 && !needed.contains(&*name));
        if ours && let Err(error) = fs::remove_file(file.path()) {
            tracing::warn!(%error, "an upload that nobody needs could not be removed");
        }
    }
    Ok(())
}

/// Bytes that come in piece by piece.
///
/// Dropped before its end it leaves nothing behind.
#[derive(Debug)]
pub struct Incoming {
    store: Store,
    work: Option<Work>,
    buffer: Vec<u8>,
    bytes: u64,
}

#[derive(Debug)]
struct Work {
    draft: Draft,
    hash: Sha256,
}

/// Bytes that came in whole: on disk under their hash, and kept there at least as long as this lives.
#[derive(Debug)]
pub struct Received {
    arrived: Arrived,
    _hold: Hold,
}

impl Received {
    /// What came, for the job that takes it.
    pub fn arrived(&self) -> &Arrived {
        &self.arrived
    }
}

impl Incoming {
    pub(super) async fn begin(store: &Store) -> Result<Incoming, StoreError> {
        let database = store.shared.path.clone();
        let draft = aside(store, move || Draft::create(&database)).await?;
        Ok(Incoming {
            store: store.clone(),
            work: Some(Work {
                draft,
                hash: Sha256::new(),
            }),
            buffer: Vec::new(),
            bytes: 0,
        })
    }

    /// How many bytes came so far.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Takes the next piece.
    ///
    /// # Errors
    /// The disk did not take it; drop this, nothing stays.
    pub async fn take(&mut self, piece: &[u8]) -> Result<(), StoreError> {
        self.bytes += piece.len() as u64;
        self.buffer.extend_from_slice(piece);
        match self.buffer.len() < PIECE_BYTES {
            true => Ok(()),
            false => self.write().await,
        }
    }

    async fn write(&mut self) -> Result<(), StoreError> {
        let Some(mut work) = self.work.take() else {
            return Err(super::gone());
        };
        let mut buffer = std::mem::take(&mut self.buffer);
        let written = aside(&self.store, move || {
            work.draft.file.write_all(&buffer)?;
            work.hash.update(&buffer);
            buffer.clear();
            Ok((work, buffer))
        });
        let (work, buffer) = written.await?;
        self.work = Some(work);
        self.buffer = buffer;
        Ok(())
    }

    /// That was all: returns once the bytes are on disk under their hash.
    ///
    /// # Errors
    /// The disk did not take them; nothing stays.
    pub async fn finish(mut self) -> Result<Received, StoreError> {
        self.write().await?;
        let Some(Work { draft, hash }) = self.work.take() else {
            return Err(super::gone());
        };
        let (database, bytes) = (self.store.shared.path.clone(), self.bytes);
        let holds = Arc::clone(&self.store.shared.holds);
        aside(&self.store, move || {
            let sha256: [u8; 32] = hash.finalize().into();
            let looks = Looks::of(&mut BufReader::new(&draft.file));
            let name = hex(&sha256);
            // Held before it has its name, so that nobody takes it for abandoned.
            let hold = Hold::new(&holds, name.clone());
            draft.publish(&database, &name)?;
            Ok(Received {
                arrived: Arrived {
                    sha256,
                    bytes,
                    looks,
                },
                _hold: hold,
            })
        })
        .await
    }
}

/// Runs what waits for the disk where it may block.
pub(super) async fn aside<T: Send + 'static>(
    store: &Store,
    work: impl FnOnce() -> std::io::Result<T> + Send + 'static,
) -> Result<T, StoreError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(error)) => {
            let failure = Failure::at(&folder(&store.shared.path), &error);
            let now_ms = store.shared.clock.wall_ms();
            store.shared.health.fell(&failure, now_ms);
            Err(StoreError::Unavailable(failure))
        }
        Err(_) => Err(super::gone()),
    }
}
