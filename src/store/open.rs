//! Opens the database: one process, the right SQLite, the right schema.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::ErrorKind;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool, SqlitePoolOptions,
    SqliteSynchronous,
};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection};

use crate::store::health::{Cause, Failure};
use crate::store::{StoreError, damage, health};

/// The first SQLite without the WAL-reset corruption. Source: sqlite.org, release notes of 3.51.3.
const SQLITE_AT_LEAST: [u32; 3] = [3, 51, 3];
/// Readers: lists, single jobs, lane heads.
const READERS: u32 = 3;
/// How long a statement waits for another program that holds the file.
const BUSY: Duration = Duration::from_secs(5);
/// Page cache of the writer and of one reader, KiB (negative: KiB rather than pages).
const WRITER_CACHE: &str = "-8192";
const READER_CACHE: &str = "-1024";
/// Pages in the log before they are brought into the file (64 MiB, as `LOG_MAX`). Of 1000 to 16 000 measured under a
/// flood, more pages write less twice and fewer requests wait for a checkpoint (slowest hundredth 14, 17, 17, 19 and 9 ms);
/// each checkpoint takes longer (at most 40 ms), and so does the look at the log after a crash. A connection that did it
/// beside the writer made the longest wait shorter and the slowest hundredth longer, and could lose pages whose way to the
/// disk failed: SQLite takes them for brought in before anybody has synced them.
const LOG_PAGES_MAX: u64 = 16_000;
/// As much of the free room may the log take, where that is less: what it holds needs as much again in the file.
const ROOM_SHARE: u64 = 4;
const PAGE: u64 = 4096;

/// What SQLite leaves of the log when it grew beyond it, bytes.
pub(super) const LOG_MAX: u64 = 64 << 20;
/// Why a file with two names is not opened: SQLite keeps a log and a lock for each.
pub(super) const TWO_NAMES: &str = "it has a second name (a hard link)";

/// The schema, step by step.
pub(super) static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!("migrations/sqlite");
/// The row of `meta` that makes a file a backup's copy; `restore` takes it away.
pub(super) const COPY: &str = "copy";
/// The row of `meta` that a database has whose jobs live elsewhere now.
pub(super) const MOVED: &str = "moved";

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
/// `Unusable`: another daemon has it, it is no database, it is damaged or takes no writes, a newer relay made
/// it, or it is a copy or the rest of a move; nothing was changed. `Unavailable`: the disk is full or fails.
pub(super) async fn open(path: &Path) -> Result<Opened, StoreError> {
    let path = &one_name(path)?;
    let lock = lock(path)?;
    read_log(path)?;
    look(path).await?;
    private(path)?;
    let mut writer = connect_writer(path)
        .await
        .map_err(|error| unusable(path, &error))?;
    if let Err(refused) = prepare(path, &mut writer).await {
        // Left to the end of the process, it may leave an empty log behind.
        writer.close().await.ok();
        return Err(refused);
    }
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
        .map_err(|error| unusable(path, &error))?;
    Ok(Opened {
        writer,
        readers,
        path: path.to_owned(),
        lock,
    })
}

/// The file behind a symbolic link, since SQLite keeps the log beside that; refuses a file with two names.
fn one_name(path: &Path) -> Result<PathBuf, StoreError> {
    let link = std::fs::symlink_metadata(path).is_ok_and(|file| file.is_symlink());
    let path = if link {
        std::fs::canonicalize(path).map_err(|error| {
            StoreError::Unusable(format!(
                "{} is a symbolic link that leads nowhere: {error}",
                path.display()
            ))
        })?
    } else {
        path.to_owned()
    };
    if std::fs::metadata(&path).is_ok_and(|file| file.nlink() > 1) {
        return Err(StoreError::Unusable(format!(
            "{}: {TWO_NAMES}; a relay under each would lose the other's jobs; remove one of them",
            path.display()
        )));
    }
    Ok(path)
}

/// Looks at what is there, and brings it to this program's schema.
async fn prepare(path: &Path, writer: &mut SqliteConnection) -> Result<(), StoreError> {
    check_version(path, writer).await?;
    match damage::check(path, writer).await {
        Ok(None) => {}
        Ok(Some(found)) => return Err(damaged(path, &found)),
        Err(error) => return Err(unusable(path, &error)),
    }
    MIGRATIONS
        .run(writer)
        .await
        .map_err(|error| not_migrated(path, &error))
}

/// A file without its end, and a log with a break: SQLite would go on without a word.
fn read_log(path: &Path) -> Result<(), StoreError> {
    match damage::is_cut(path) {
        Ok(false) => {}
        Ok(true) => return Err(damaged(path, "it ends within a page")),
        Err(error) => return Err(system(path, &error)),
    }
    match damage::lost_in_log(path) {
        Ok(0) => Ok(()),
        Ok(lost) => Err(damaged(
            &damage::beside(path, "-wal"),
            &format!("{lost} transactions stand behind a place that cannot be read"),
        )),
        Err(error) => Err(system(&damage::beside(path, "-wal"), &error)),
    }
}

fn damaged(path: &Path, found: &str) -> StoreError {
    StoreError::Unusable(Failure::new(Cause::Damaged, path, &found).text)
}

fn not_migrated(path: &Path, error: &sqlx::migrate::MigrateError) -> StoreError {
    use sqlx::migrate::MigrateError;
    match error {
        MigrateError::VersionMissing(_) | MigrateError::VersionTooNew(..) => newer(path),
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => {
            unusable(path, error)
        }
        other => StoreError::Unusable(format!("{}: {other}", path.display())),
    }
}

fn newer(path: &Path) -> StoreError {
    StoreError::Unusable(format!(
        "{} was written by a newer feishu-relay",
        path.display()
    ))
}

/// Looks at a file that is there, through a connection that cannot write: a refusal leaves every byte
/// as it was. What this look cannot read, the write connection will say.
async fn look(path: &Path) -> Result<(), StoreError> {
    if std::fs::metadata(path).map_or(0, |file| file.len()) == 0 {
        return Ok(());
    }
    // Without a log there is nothing to look up in shared memory, and no file is made for it.
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    let alone = std::fs::metadata(log).map_or(0, |log| log.len()) == 0;
    let reader = options(path).read_only(true).immutable(alone);
    let Ok(mut reader) = reader.connect().await else {
        return Ok(());
    };
    let version = version(&mut reader).await;
    let word: Result<Option<String>, _> =
        sqlx::query_scalar("select name from meta where name in (?1, ?2)")
            .bind(COPY)
            .bind(MOVED)
            .fetch_optional(&mut reader)
            .await;
    let _ = reader.close().await;
    if version.is_ok_and(|version| version > newest()) {
        return Err(newer(path));
    }
    match word.ok().flatten().as_deref() {
        None => Ok(()),
        Some(MOVED) => Err(StoreError::Unusable(format!(
            "{} was moved away (`backup --move`): its jobs are in that copy, and would be sent twice from here",
            path.display()
        ))),
        Some(_) => Err(StoreError::Unusable(format!(
            "{} is a backup's copy; put it back with `feishu-relay restore`, which knows what may have been sent since",
            path.display()
        ))),
    }
}

/// The newest step of the schema that a file has.
pub(super) async fn version(conn: &mut SqliteConnection) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar("select coalesce(max(version), 0) from _sqlx_migrations")
        .fetch_one(conn)
        .await
}

/// The newest step of the schema that this program knows.
pub(super) fn newest() -> i64 {
    let steps = MIGRATIONS.iter().map(|step| step.version);
    steps.max().unwrap_or(0)
}

/// How many pages the log may have before it is brought into the file.
pub(super) fn log_pages(path: &Path) -> u64 {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        Some(_) | None => Path::new("."),
    };
    // Who cannot be asked has room.
    let free = rustix::fs::statvfs(folder)
        .map_or(u64::MAX, |disk| disk.f_bavail.saturating_mul(disk.f_frsize));
    (free / ROOM_SHARE / PAGE).clamp(100, LOG_PAGES_MAX)
}

/// Empties the log, so that nothing in it of a commit that failed is taken for one that did not; `false`: somebody
/// reads there.
pub(super) async fn empty_log(writer: &mut SqliteConnection) -> Result<bool, sqlx::Error> {
    // Nobody shall wait for a long read.
    sqlx::query("pragma busy_timeout = 100")
        .execute(&mut *writer)
        .await?;
    let emptied = sqlx::query_scalar::<_, i64>("pragma wal_checkpoint(truncate)")
        .fetch_one(&mut *writer)
        .await;
    sqlx::query(AssertSqlSafe(format!(
        "pragma busy_timeout = {}",
        BUSY.as_millis()
    )))
    .execute(writer)
    .await?;
    emptied.map(|busy| busy == 0)
}

/// A new write connection; also after an error that SQLite answered by rolling back on its own.
pub(super) async fn connect_writer(path: &Path) -> Result<SqliteConnection, sqlx::Error> {
    let options = options(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .pragma("cache_size", WRITER_CACHE)
        .pragma("wal_autocheckpoint", log_pages(path).to_string())
        .pragma("journal_size_limit", LOG_MAX.to_string());
    options.connect().await
}

pub(super) fn options(path: &Path) -> SqliteConnectOptions {
    let options = SqliteConnectOptions::new()
        .filename(path)
        .busy_timeout(BUSY)
        .foreign_keys(true)
        .pragma("temp_store", "memory");
    match cfg!(test) {
        // `plans` listens, and tells databases apart by their threads.
        true => {
            let name = path.display().to_string();
            options.thread_name(move |_| name.clone())
        }
        false => options.disable_statement_logging(),
    }
}

async fn check_version(path: &Path, writer: &mut SqliteConnection) -> Result<(), StoreError> {
    let version: String = sqlx::query_scalar("select sqlite_version()")
        .fetch_one(writer)
        .await
        .map_err(|error| unusable(path, &error))?;
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

/// Whoever works on the database holds this file.
pub(super) fn lock_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    PathBuf::from(name)
}

/// One daemon per database: the lock goes with the process, however it ends.
pub(super) fn lock(path: &Path) -> Result<File, StoreError> {
    let name = lock_path(path);
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(&name)
        .map_err(|error| system(&name, &error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StoreError::Unusable(format!(
            "another feishu-relay has {}",
            path.display()
        ))),
        Err(TryLockError::Error(error)) => Err(system(&name, &error)),
    }
}

/// A fault of the disk may pass; a file that is no database of ours, or takes no writes, will not.
pub(super) fn unusable(path: &Path, error: &sqlx::Error) -> StoreError {
    /// SQLite could not open the file; says nothing of why. Source: sqlite.org, result codes.
    const CANTOPEN: &str = "14";
    let failure = Failure::of(path, error);
    let code = error.as_database_error().and_then(|error| error.code());
    if code.is_some_and(|code| code == CANTOPEN) {
        return StoreError::Unusable(failure.text);
    }
    // SQLite says "I/O" also where there is no room for its shared memory.
    let known = match failure.cause {
        Cause::Failing => health::try_room(path).map_err(|error| Failure::at(path, &error)),
        _ => Ok(()),
    };
    sorted(known.err().unwrap_or(failure))
}

/// The same of an error of the system.
fn system(path: &Path, error: &std::io::Error) -> StoreError {
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
            StoreError::Unavailable(Failure::at(path, error))
        }
        _ => StoreError::Unusable(Failure::at(path, error).text),
    }
}

fn sorted(failure: Failure) -> StoreError {
    match failure.cause {
        Cause::Full | Cause::Failing | Cause::Busy | Cause::Linked | Cause::Closing => {
            StoreError::Unavailable(failure)
        }
        Cause::ReadOnly | Cause::Damaged | Cause::Gone | Cause::Rule => {
            StoreError::Unusable(failure.text)
        }
    }
}

/// Messages are nobody else's to read: the file is made for its owner, and SQLite makes those beside
/// it alike.
fn private(path: &Path) -> Result<(), StoreError> {
    let made = OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(path);
    made.map(drop).map_err(|error| system(path, &error))
}

/// Closes the write connection. The log is brought into the file first, so that the file alone is
/// the whole database.
pub(super) async fn close(mut writer: SqliteConnection) {
    let last = sqlx::query("pragma wal_checkpoint(truncate)").execute(&mut writer);
    if let Err(error) = last.await {
        tracing::warn!(%error, "the log stays beside the database; it belongs to it");
    }
    if let Err(error) = writer.close().await {
        tracing::warn!(%error, "the database did not close cleanly; nothing is lost");
    }
}
