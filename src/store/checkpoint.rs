//! Brings the log into the file beside the writer, so that hardly anybody waits for it.
//!
//! In the writer's own thread a long log holds up whoever waits for a commit, for as long as its pages take to the
//! disk. Here another connection copies what stood in the log when it looked, while the writer goes on; what came
//! meanwhile is little, and the writer brings in the rest after a commit of its own, for only a log that is in the
//! file whole begins anew. Should this end or fall behind, SQLite does it all in the writer, as it always may
//! (`open::log_pages`).

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sqlx::sqlite::{SqliteConnection, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection, Row};
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;

use crate::store::open;

/// Of what the log may have it is brought in from that part on: what is written meanwhile has room in the rest.
const BEGIN: (u64, u64) = (5, 8);
/// Pages that are left to the writer: a few milliseconds.
const REST: i64 = 500;
/// As often it is tried to come as near as that.
const PASSES: usize = 3;
/// Between a commit and the look at the log.
const GAP: Duration = Duration::from_millis(50);
/// The same while a long read keeps the log from being brought in.
const GAP_MAX: Duration = Duration::from_secs(2);

/// Where the writer and the checkpoint beside it meet.
#[derive(Debug, Default)]
pub(super) struct Beside {
    wrote: Notify,
    rest: AtomicBool,
}

impl Beside {
    /// A batch is in the log.
    pub(super) fn wrote(&self) {
        self.wrote.notify_one();
    }

    /// Shall the writer bring in the rest now? Says so once.
    pub(super) fn take_rest(&self) -> bool {
        self.rest.load(Ordering::Relaxed) && self.rest.swap(false, Ordering::Relaxed)
    }
}

/// Brings in the rest, in the writer's connection.
pub(super) async fn bring_rest(writer: &mut SqliteConnection) {
    if let Err(error) = look(writer, PASSIVE).await {
        // The next commit says what is wrong, if it still is.
        tracing::debug!(%error, "the log was not brought into the database");
    }
}

/// The task beside the writer.
#[derive(Debug)]
pub(super) struct Checkpointer {
    stop: oneshot::Sender<()>,
    task: JoinHandle<Arc<File>>,
}

impl Checkpointer {
    /// `file`: the database, which is open in this process already.
    pub(super) fn start(path: &Path, file: File, beside: Arc<Beside>) -> Checkpointer {
        let (stop, stopped) = oneshot::channel();
        let work = Work {
            path: path.to_owned(),
            file: Arc::new(file),
            beside,
            conn: None,
            gap: GAP,
        };
        Checkpointer {
            stop,
            task: tokio::spawn(work.run(stopped)),
        }
    }

    /// Ends it. The file is for the caller to close when SQLite has closed it: the system gives up all locks of a
    /// process on a file as soon as one of its handles is closed.
    pub(super) async fn end(self) -> Option<Arc<File>> {
        let _ = self.stop.send(());
        self.task.await.ok()
    }
}

struct Work {
    path: PathBuf,
    /// The database, to have it on the disk; never read.
    file: Arc<File>,
    beside: Arc<Beside>,
    conn: Option<SqliteConnection>,
    gap: Duration,
}

/// Pages in the log, and how many of them are in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Log {
    pages: i64,
    brought: i64,
}

/// Copies what stands in the log and no reader needs there; waits for nobody.
const PASSIVE: &str = "pragma wal_checkpoint(passive)";
/// Only tells how long it is.
const NOOP: &str = "pragma wal_checkpoint(noop)";

async fn look(conn: &mut SqliteConnection, sql: &'static str) -> Result<Log, sqlx::Error> {
    let row = sqlx::query(sql).fetch_one(conn).await?;
    Ok(Log {
        pages: row.get(1),
        brought: row.get(2),
    })
}

impl Work {
    async fn run(mut self, mut stop: oneshot::Receiver<()>) -> Arc<File> {
        loop {
            tokio::select! {
                biased;
                _ = &mut stop => break,
                () = self.beside.wrote.notified() => {}
            }
            tokio::select! {
                biased;
                _ = &mut stop => break,
                () = tokio::time::sleep(self.gap) => {}
            }
            self.gap = match self.bring().await {
                Ok(true) => GAP,
                Ok(false) => (self.gap * 2).min(GAP_MAX),
                Err(error) => {
                    // The writer meets the same fault, and says so.
                    tracing::debug!(%error, "the log was not brought into the database");
                    self.conn = None;
                    GAP_MAX
                }
            };
        }
        if let Some(conn) = self.conn.take() {
            let _ = conn.close().await;
        }
        self.file
    }

    /// Brings in a long log, but for the rest. `false`: somebody who reads needs it where it is.
    async fn bring(&mut self) -> Result<bool, sqlx::Error> {
        let conn = match &mut self.conn {
            Some(conn) => conn,
            none => none.insert(connect(&self.path).await?),
        };
        let mut log = look(conn, NOOP).await?;
        let begin = open::log_pages(&self.path) * BEGIN.0 / BEGIN.1;
        if log.pages < i64::try_from(begin).unwrap_or(i64::MAX) {
            return Ok(true);
        }
        for _ in 0..PASSES {
            if log.pages - log.brought <= REST {
                break;
            }
            let passed = look(conn, PASSIVE).await?;
            if passed.brought <= log.brought {
                return Ok(false);
            }
            // SQLite leaves that to whoever brings in the last page; then it would be the writer who waits.
            sync(&self.file).await?;
            log = look(conn, NOOP).await?;
        }
        self.beside.rest.store(true, Ordering::Relaxed);
        Ok(true)
    }
}

async fn sync(file: &Arc<File>) -> Result<(), sqlx::Error> {
    let file = Arc::clone(file);
    let synced = tokio::task::spawn_blocking(move || file.sync_data());
    let synced = synced.await.map_err(std::io::Error::other);
    synced.and_then(|synced| synced).map_err(sqlx::Error::Io)
}

async fn connect(path: &Path) -> Result<SqliteConnection, sqlx::Error> {
    open::options(path)
        // The log is on the disk before anything of it goes into the file.
        .synchronous(SqliteSynchronous::Full)
        .pragma("wal_autocheckpoint", "0")
        .pragma("cache_size", "-64")
        .connect()
        .await
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Yard {
        folder: tempfile::TempDir,
        writer: SqliteConnection,
        beside: Arc<Beside>,
        checkpointer: Checkpointer,
    }

    impl Yard {
        async fn open() -> Yard {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("some.db");
            let mut writer = open::connect_writer(&path).await.unwrap();
            // SQLite's own checkpoint would come in between.
            for sql in ["pragma wal_autocheckpoint = 0", "create table u (x blob)"] {
                sqlx::query(sql).execute(&mut writer).await.unwrap();
            }
            let beside = Arc::<Beside>::default();
            let file = File::open(&path).unwrap();
            let checkpointer = Checkpointer::start(&path, file, Arc::clone(&beside));
            Yard {
                folder,
                writer,
                beside,
                checkpointer,
            }
        }

        fn pages(&self) -> i64 {
            i64::try_from(open::log_pages(self.folder.path())).unwrap()
        }

        async fn write(&mut self, pages: i64) {
            sqlx::query("insert into u values (zeroblob(?1))")
                .bind(pages * 4096)
                .execute(&mut self.writer)
                .await
                .unwrap();
            self.beside.wrote();
        }

        /// Whether the writer is told to bring in the rest; it goes on asking for the log's sake.
        async fn is_told(&self) {
            let told = async {
                while !self.beside.take_rest() {
                    tokio::task::yield_now().await;
                }
            };
            let told = tokio::time::timeout(Duration::from_secs(60), told).await;
            told.expect("the log stays as long as it is");
        }

        async fn close(self) {
            let file = self.checkpointer.end().await;
            assert!(file.is_some());
            open::close(self.writer).await;
            let log = self.folder.path().join("some.db-wal");
            assert!(!log.exists(), "the last connection takes it along");
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_long_log_is_brought_in_beside_the_writer_and_begins_anew() {
        let mut yard = Yard::open().await;
        yard.write(yard.pages() * 3 / 4).await;
        yard.is_told().await;
        let log = look(&mut yard.writer, NOOP).await.unwrap();
        assert!(log.pages > yard.pages() / 2, "{log:?}");
        assert!(log.pages - log.brought <= REST, "{log:?}");
        yard.write(10).await;
        bring_rest(&mut yard.writer).await;
        let log = look(&mut yard.writer, NOOP).await.unwrap();
        assert_eq!(log.pages, log.brought);
        yard.write(10).await;
        let log = look(&mut yard.writer, NOOP).await.unwrap();
        assert!(log.pages < 100, "{log:?}");
        yard.close().await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_long_read_is_not_disturbed_and_the_log_goes_when_it_is_over() {
        let mut yard = Yard::open().await;
        let mut reader = connect(&yard.folder.path().join("some.db")).await.unwrap();
        let mut reading = reader.begin().await.unwrap();
        let count = "select count(*) from u";
        let seen: i64 = sqlx::query_scalar(count)
            .fetch_one(&mut *reading)
            .await
            .unwrap();
        yard.write(yard.pages() * 3 / 4).await;
        // What it has seen is all that may be brought in.
        let mut other = connect(&yard.folder.path().join("some.db")).await.unwrap();
        let log = look(&mut other, PASSIVE).await.unwrap();
        assert!(log.brought < 10, "{log:?}");
        let again: i64 = sqlx::query_scalar(count)
            .fetch_one(&mut *reading)
            .await
            .unwrap();
        assert_eq!((seen, again), (0, 0));
        drop(reading);
        reader.close().await.unwrap();
        other.close().await.unwrap();
        yard.write(1).await;
        yard.is_told().await;
        yard.close().await;
    }
}
