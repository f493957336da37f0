//! Opens the database: one process, the right SQLite, the right schema.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool, SqlitePoolOptions,
    SqliteSynchronous,
};
use sqlx::{ConnectOptions, Connection};

use crate::store::StoreError;

/// The first SQLite without the WAL-reset corruption. Source: sqlite.org, release notes of 3.51.3.
const SQLITE_AT_LEAST: [u32; 3] = [3, 51, 3];
/// Readers: lists, single jobs, lane heads.
const READERS: u32 = 3;
/// Page cache of the writer and of one reader, KiB (negative: KiB rather than pages).
const WRITER_CACHE: &str = "-8192";
const READER_CACHE: &str = "-1024";
/// Pages in the log before they are brought into the file; larger is faster and recovers slower.
const CHECKPOINT_PAGES: &str = "4000";

/// What the store works on.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) writer: SqliteConnection,
    pub(super) readers: SqlitePool,
    pub(super) path: PathBuf,
    pub(super) lock: File,
}

/// Opens the file at `path`, makes it when it is not there, and brings its schema up to date.
///
/// # Errors
/// `Unusable`: another daemon has it, it is no database, or a newer relay made it; nothing was changed.
pub(super) async fn open(path: &Path) -> Result<Opened, StoreError> {
    let lock = lock(path)?;
    let mut writer = connect_writer(path).await.map_err(unusable)?;
    check_version(&mut writer).await?;
    sqlx::migrate!("migrations/sqlite")
        .run(&mut writer)
        .await
        .map_err(|error| match error {
            sqlx::migrate::MigrateError::VersionMissing(_)
            | sqlx::migrate::MigrateError::VersionTooNew(..) => StoreError::Unusable(format!(
                "{} was written by a newer feishu-relay",
                path.display()
            )),
            other => StoreError::Unusable(format!("{}: {other}", path.display())),
        })?;
    let readers = SqlitePoolOptions::new()
        .min_connections(1)
        .max_connections(READERS)
        .test_before_acquire(false)
        .idle_timeout(None)
        .max_lifetime(None)
        .acquire_timeout(Duration::from_secs(30))
        .connect_with(
            options(path)
                .read_only(true)
                .pragma("cache_size", READER_CACHE),
        )
        .await
        .map_err(unusable)?;
    Ok(Opened {
        writer,
        readers,
        path: path.to_owned(),
        lock,
    })
}

/// A new write connection; also after an error that SQLite answered by rolling back on its own.
pub(super) async fn connect_writer(path: &Path) -> Result<SqliteConnection, sqlx::Error> {
    let options = options(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .pragma("cache_size", WRITER_CACHE)
        .pragma("wal_autocheckpoint", CHECKPOINT_PAGES)
        .pragma("journal_size_limit", "67108864");
    options.connect().await
}

fn options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .busy_timeout(Duration::from_secs(5))
        .foreign_keys(true)
        .pragma("temp_store", "memory")
        .disable_statement_logging()
}

async fn check_version(writer: &mut SqliteConnection) -> Result<(), StoreError> {
    let version: String = sqlx::query_scalar("select sqlite_version()")
        .fetch_one(writer)
        .await
        .map_err(unusable)?;
    let parts: Vec<u32> = version
        .split('.')
        .map(|part| part.parse().unwrap_or(0))
        .collect();
    if parts.as_slice() < SQLITE_AT_LEAST.as_slice() {
        return Err(StoreError::Unusable(format!(
            "SQLite {version} can damage a database in WAL mode; 3.51.3 is the oldest that is safe"
        )));
    }
    Ok(())
}

/// One daemon per database: the lock goes with the process, however it ends.
fn lock(path: &Path) -> Result<File, StoreError> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&name)
        .map_err(|error| {
            StoreError::Unusable(format!("{}: {error}", Path::new(&name).display()))
        })?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StoreError::Unusable(format!(
            "another feishu-relay has {}",
            path.display()
        ))),
        Err(TryLockError::Error(error)) => Err(StoreError::Unusable(format!(
            "{}: {error}",
            Path::new(&name).display()
        ))),
    }
}

fn unusable(error: sqlx::Error) -> StoreError {
    StoreError::Unusable(error.to_string())
}

/// Closes the write connection so that the log is brought into the file.
pub(super) async fn close(writer: SqliteConnection) {
    if let Err(error) = writer.close().await {
        tracing::warn!(%error, "the database did not close cleanly; nothing is lost");
    }
}
