//! Copies a database to a folder while a daemon works on it: rows, pauses and the bytes of uploads.
//!
//! The copy is one moment of the file, read through a connection that cannot write; the writer goes
//! on meanwhile. It is made beside the folder asked for and gets its name when it is whole and on
//! disk. A row in it says when it was taken: no daemon opens such a file, because what it shows as
//! waiting may have been sent since (`restore`).
//! Not here: putting it back (`restore`).

use std::collections::HashSet;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sqlx::sqlite::{SqliteConnection, SqliteJournalMode};
use sqlx::{ConnectOptions, Connection};

use crate::clock::{Clock, rfc3339};
use crate::store::{StoreError, open, upload};

/// The database in the folder of a backup.
pub(super) const DATABASE: &str = "relay.db";
/// The uploads beside it.
pub(super) const UPLOADS: &str = "uploads";
/// The stamp once more, for people and scripts; what counts is the row in the copy.
const STAMP: &str = "backup.json";
/// How often a copy is begun again because an upload that it needs went while it was made.
const TRIES: u32 = 5;
/// How often progress is told.
const TELL: Duration = Duration::from_millis(250);

/// Why a backup or a restore did not happen.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// What was asked cannot be done as things stand; nothing was touched.
    #[error("{0}")]
    Wrong(String),
    /// It broke off; what was not whole was taken away again.
    #[error("{0}")]
    Failed(String),
}

impl CopyError {
    pub(super) fn wrong(text: impl Into<String>) -> CopyError {
        CopyError::Wrong(text.into())
    }
}

impl From<StoreError> for CopyError {
    fn from(error: StoreError) -> CopyError {
        match error {
            StoreError::Unusable(text) => CopyError::Wrong(text),
            StoreError::Unavailable(failure) => CopyError::Failed(failure.text),
        }
    }
}

/// Names the file that an error of the system is about.
pub(super) fn at(path: &Path) -> impl FnOnce(io::Error) -> CopyError {
    move |error| CopyError::Failed(format!("{}: {error}", path.display()))
}

/// Names the database that an error of SQLite is about.
pub(super) fn of(path: &Path) -> impl FnOnce(sqlx::Error) -> CopyError {
    move |error| CopyError::Failed(format!("{}: {error}", path.display()))
}

/// What a copy says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Stamp {
    /// When it was taken, for people.
    pub(super) taken_at: String,
    /// The same, Unix milliseconds.
    pub(super) taken_ms: i64,
    /// The same on the boot clock, and of which boot.
    pub(super) boot_ms: i64,
    pub(super) boot_id: String,
    /// The relay that took it.
    pub(super) relay: String,
    /// The newest step of its schema.
    pub(super) schema: i64,
    /// The database it was taken of is closed for good: nothing in it was sent since.
    pub(super) moved: bool,
}

/// What is to be copied.
#[derive(Debug)]
pub struct Backup<'a> {
    /// The database.
    pub database: &'a Path,
    /// The folder to be made.
    pub folder: &'a Path,
    /// Close the database here for good, because the copy goes on elsewhere.
    pub moves: bool,
}

/// What was copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Copied {
    /// Of which moment it is, Unix milliseconds.
    pub taken_ms: i64,
    /// Bytes of the database's copy.
    pub bytes: u64,
    /// Uploads beside it.
    pub uploads: u64,
}

/// Makes the copy. `tell` hears of progress: bytes done, and of how many.
///
/// # Errors
/// `Wrong`: there is no such database, the folder is there, or (for a move) a relay is running.
/// `Failed`: it broke off, and nothing stayed behind; of a move that broke off at its very end, the folder stays,
/// as an ordinary backup.
pub async fn back_up(
    backup: &Backup<'_>,
    clock: &Clock,
    mut tell: impl FnMut(u64, u64),
) -> Result<Copied, CopyError> {
    let Backup {
        database,
        folder,
        moves,
    } = *backup;
    if fs::symlink_metadata(folder).is_ok() {
        return Err(CopyError::wrong(format!(
            "{} is there already; a backup makes its own folder",
            folder.display()
        )));
    }
    if !database.is_file() {
        return Err(CopyError::wrong(format!(
            "there is no database at {}",
            database.display()
        )));
    }
    let _lock = moves.then(|| open::lock(database)).transpose()?;
    let mut draft = Draft::make(folder)?;
    let mut reader = open::options(database)
        .read_only(true)
        .connect()
        .await
        .map_err(of(database))?;
    let schema = schema(&mut reader, database).await?;
    not_moved(&mut reader, database).await?;
    let taken = one_moment(&mut reader, database, &draft.path, clock, &mut tell).await?;
    reader.close().await.map_err(of(database))?;
    let mut stamp = Stamp {
        taken_at: rfc3339(taken.wall_ms),
        taken_ms: taken.wall_ms,
        boot_ms: taken.boot_ms,
        boot_id: taken.boot_id.to_string(),
        relay: env!("CARGO_PKG_VERSION").to_owned(),
        schema,
        moved: false,
    };
    write_stamp(&draft.path, &stamp).await?;
    let copy = draft.path.join(DATABASE);
    sync(&copy)?;
    let copied = Copied {
        taken_ms: taken.wall_ms,
        bytes: fs::metadata(&copy).map_err(at(&copy))?.len(),
        uploads: count(&draft.path.join(UPLOADS))?,
    };
    sync(&draft.path)?;
    draft.name(folder)?;
    if moves {
        // In this order a crash leaves at worst an ordinary backup, never a copy that nobody can find.
        close_for_good(database, &stamp).await?;
        stamp.moved = true;
        write_stamp(folder, &stamp).await?;
        sync(&folder.join(DATABASE))?;
        sync(folder)?;
    }
    Ok(copied)
}

/// A database that was closed for good holds no jobs that may be sent: a copy of it would never start.
async fn not_moved(reader: &mut SqliteConnection, database: &Path) -> Result<(), CopyError> {
    let moved: Option<String> = sqlx::query_scalar("select value from meta where name = ?1")
        .bind(open::MOVED)
        .fetch_optional(reader)
        .await
        .map_err(of(database))?;
    match moved {
        None => Ok(()),
        Some(at) => Err(CopyError::wrong(format!(
            "{} was moved away at {at} (`backup --move`): its jobs are in that copy",
            database.display()
        ))),
    }
}

/// The version of the file's schema, when it is a database of ours that this program knows.
async fn schema(reader: &mut SqliteConnection, database: &Path) -> Result<i64, CopyError> {
    let version = open::version(reader).await.map_err(|error| {
        CopyError::wrong(format!(
            "{} is no database of feishu-relay: {error}",
            database.display()
        ))
    })?;
    if version > open::newest() {
        return Err(CopyError::wrong(format!(
            "{} was written by a newer feishu-relay",
            database.display()
        )));
    }
    Ok(version)
}

/// Rows and uploads as they belong together. Uploads that are there before the rows are read, and those
/// that came meanwhile: only one that came and went during the copy is missed, and then it begins again.
async fn one_moment(
    reader: &mut SqliteConnection,
    database: &Path,
    draft: &Path,
    clock: &Clock,
    tell: &mut impl FnMut(u64, u64),
) -> Result<crate::clock::Now, CopyError> {
    let (copy, from, to) = (
        draft.join(DATABASE),
        upload::folder(database),
        draft.join(UPLOADS),
    );
    make_folder(&to)?;
    let mut missing = Vec::new();
    for _ in 0..TRIES {
        copy_all(&from, &to)?;
        // Before the rows are read: what is tried after this moment may be missing in them.
        let taken = clock.now();
        vacuum_into(reader, &copy, tell).await?;
        let needed = needed(&copy).await?;
        missing.clear();
        for name in &needed {
            let target = to.join(name);
            if !target.exists() && !copy_one(&from.join(name), &target)? {
                missing.push(name.clone());
            }
        }
        if missing.is_empty() {
            drop_others(&to, &needed)?;
            sync(&to)?;
            return Ok(taken);
        }
        fs::remove_file(&copy).map_err(at(&copy))?;
    }
    Err(CopyError::Failed(format!(
        "{}: bytes that jobs need are not there: {}",
        from.display(),
        missing.join(", ")
    )))
}

async fn vacuum_into(
    reader: &mut SqliteConnection,
    copy: &Path,
    tell: &mut impl FnMut(u64, u64),
) -> Result<(), CopyError> {
    // SQLite takes an empty file as its own; made here, it is nobody else's to read.
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(copy)
        .map_err(at(copy))?;
    let (pages, free, size): (i64, i64, i64) =
        sqlx::query_as("select page_count, freelist_count, page_size from pragma_page_count, pragma_freelist_count, pragma_page_size")
            .fetch_one(&mut *reader)
            .await
            .map_err(of(copy))?;
    let whole = u64::try_from((pages - free) * size).unwrap_or(0);
    let name = copy.to_string_lossy().into_owned();
    let work = sqlx::query("vacuum into ?1").bind(name).execute(reader);
    tokio::pin!(work);
    loop {
        tokio::select! {
            done = &mut work => {
                tell(whole, whole);
                return done.map(drop).map_err(of(copy));
            }
            () = tokio::time::sleep(TELL) => {
                tell(fs::metadata(copy).map_or(0, |file| file.len()).min(whole), whole);
            }
        }
    }
}

/// The uploads that the rows of a copy name.
pub(super) async fn needed(copy: &Path) -> Result<HashSet<String>, CopyError> {
    let mut conn = connect_copy(copy).await?;
    let names: Vec<String> = sqlx::query_scalar("select sha256 from upload")
        .fetch_all(&mut conn)
        .await
        .map_err(of(copy))?;
    conn.close().await.map_err(of(copy))?;
    Ok(names.into_iter().collect())
}

/// A connection to a copy, which keeps no log beside it.
pub(super) async fn connect_copy(copy: &Path) -> Result<SqliteConnection, CopyError> {
    let options = open::options(copy).journal_mode(SqliteJournalMode::Delete);
    options.connect().await.map_err(of(copy))
}

/// Writes into the copy what it is, and beside it for people.
pub(super) async fn write_stamp(folder: &Path, stamp: &Stamp) -> Result<(), CopyError> {
    let text = serde_json::to_string_pretty(stamp)
        .map_err(|error| CopyError::Failed(error.to_string()))?;
    let copy = folder.join(DATABASE);
    let mut conn = connect_copy(&copy).await?;
    sqlx::query("insert into meta (name, value) values (?1, ?2) on conflict (name) do update set value = excluded.value")
        .bind(open::COPY)
        .bind(&text)
        .execute(&mut conn)
        .await
        .map_err(of(&copy))?;
    conn.close().await.map_err(of(&copy))?;
    let path = folder.join(STAMP);
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&path)
        .map_err(at(&path))?;
    io::Write::write_all(&mut file, format!("{text}\n").as_bytes()).map_err(at(&path))?;
    file.sync_all().map_err(at(&path))
}

/// From now on no daemon opens this database.
async fn close_for_good(database: &Path, stamp: &Stamp) -> Result<(), CopyError> {
    let mut writer = open::connect_writer(database).await.map_err(of(database))?;
    sqlx::query("insert into meta (name, value) values (?1, ?2)")
        .bind(open::MOVED)
        .bind(&stamp.taken_at)
        .execute(&mut writer)
        .await
        .map_err(of(database))?;
    open::close(writer).await;
    Ok(())
}

/// A folder under a name that nobody takes for a backup; it goes when it is not named.
struct Draft {
    path: PathBuf,
    whole: bool,
}

impl Draft {
    fn make(folder: &Path) -> Result<Draft, CopyError> {
        let Some(name) = folder.file_name() else {
            return Err(CopyError::wrong(format!(
                "{} cannot be the name of a new folder",
                folder.display()
            )));
        };
        let beside = parent(folder);
        if !beside.is_dir() {
            return Err(CopyError::wrong(format!(
                "there is no folder {}",
                beside.display()
            )));
        }
        let mut draft = std::ffi::OsString::from(".");
        draft.push(name);
        draft.push(format!(".{}.part", uuid::Uuid::now_v7().simple()));
        let path = beside.join(draft);
        make_folder(&path)?;
        Ok(Draft { path, whole: false })
    }

    /// It is whole: it gets the name that was asked for.
    fn name(&mut self, folder: &Path) -> Result<(), CopyError> {
        fs::rename(&self.path, folder).map_err(at(folder))?;
        self.whole = true;
        sync(&parent(folder))
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.whole {
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

/// The folder that `path` stands in.
pub(super) fn parent(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}

pub(super) fn make_folder(path: &Path) -> Result<(), CopyError> {
    let mut builder = DirBuilder::new();
    builder.recursive(true).mode(0o700);
    builder.create(path).map_err(at(path))
}

/// Waits until the file or the folder is on disk.
pub(super) fn sync(path: &Path) -> Result<(), CopyError> {
    let file = File::open(path).map_err(at(path))?;
    file.sync_all().map_err(at(path))
}

/// Copies whole uploads that are not there yet; drafts of them are left out.
fn copy_all(from: &Path, to: &Path) -> Result<(), CopyError> {
    let list = match fs::read_dir(from) {
        Ok(list) => list,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(at(from)(error)),
    };
    for entry in list {
        let entry = entry.map_err(at(from))?;
        let target = to.join(entry.file_name());
        if entry.path().extension().is_none() && !target.exists() {
            copy_one(&entry.path(), &target)?;
        }
    }
    Ok(())
}

/// `false`: it is not there any more.
fn copy_one(from: &Path, to: &Path) -> Result<bool, CopyError> {
    let mut source = match File::open(from) {
        Ok(source) => source,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(at(from)(error)),
    };
    let mut target = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(to)
        .map_err(at(to))?;
    io::copy(&mut source, &mut target).map_err(at(to))?;
    target.sync_all().map_err(at(to))?;
    Ok(true)
}

fn drop_others(folder: &Path, needed: &HashSet<String>) -> Result<(), CopyError> {
    for entry in fs::read_dir(folder).map_err(at(folder))? {
        let entry = entry.map_err(at(folder))?;
        if !needed.contains(&*entry.file_name().to_string_lossy()) {
            fs::remove_file(entry.path()).map_err(at(folder))?;
        }
    }
    Ok(())
}

fn count(folder: &Path) -> Result<u64, CopyError> {
    let list = fs::read_dir(folder).map_err(at(folder))?;
    Ok(u64::try_from(list.count()).unwrap_or(u64::MAX))
}
