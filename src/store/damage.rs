//! Finds a file that does not hold what was written to it, before anything is sent from it.
//!
//! SQLite reads its log up to the first frame that does not fit and takes that for its end. After a
//! power cut that is right: the last write may be torn, and nobody was answered. When whole
//! transactions follow, they were answered, and reading on would lose them in silence.
//! A small file is checked at each start, a large one when damage was seen in it before.
//! Not here: damage inside a page that leaves its form as it was; SQLite keeps no sums of pages.

use std::fs::File;
use std::io::{self, BufReader, ErrorKind, Read};
use std::path::{Path, PathBuf};

use sqlx::sqlite::SqliteConnection;

/// Files up to this size are checked at each start, bytes: some tenths of a second at most.
const CHECKED_MAX: u64 = 64 * 1024 * 1024;
/// The head of the log, and of each frame in it, bytes. Source: sqlite.org, file format, section 4.
const HEAD: usize = 32;
const FRAME_HEAD: usize = 24;
const MAGIC: u32 = 0x377f_0682;
/// Our page size, when the head of the log cannot tell it.
const PAGE: u32 = 4096;

/// A name beside the database.
pub(super) fn beside(database: &Path, end: &str) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push(end);
    PathBuf::from(name)
}

/// What is said of a log that became shorter under a running relay. The file without it is sound, only old.
pub(super) const CUT: &str = "it was cut off while the relay ran";

/// Damage was seen: the next start looks at the whole file, however large it is. `found` is for people, and
/// tells that start of a log that was cut.
pub(super) fn remember(database: &Path, found: &str) {
    let mark = beside(database, ".damaged");
    if let Err(error) = std::fs::write(&mark, format!("{found}\n")) {
        tracing::warn!(%error, "{} could not be made: a restart may not notice the damage at once", mark.display());
    }
}

/// Does the file end within a page? Right after a crash it may, and the log still has that page.
///
/// # Errors
/// The file cannot be read.
pub(super) fn is_cut(database: &Path) -> io::Result<bool> {
    let size = |path: &Path| std::fs::metadata(path).map_or(0, |file| file.len());
    if size(&beside(database, "-wal")) > 0 || size(database) < 100 {
        return Ok(false);
    }
    let mut head = [0; 18];
    File::open(database)?.read_exact(&mut head)?;
    // 1 stands for 65 536, which does not fit. Source: sqlite.org, file format, section 1.3.2.
    let page = match u64::from(head[16]) << 8 | u64::from(head[17]) {
        1 => 65_536,
        page => page,
    };
    Ok(head.starts_with(b"SQLite format 3\0") && !size(database).is_multiple_of(page))
}

/// Looks at the whole file if it is small, or if damage was seen in it; `Some`: what is wrong.
pub(super) async fn check(
    database: &Path,
    conn: &mut SqliteConnection,
) -> Result<Option<String>, sqlx::Error> {
    let mark = beside(database, ".damaged");
    let seen = mark.exists();
    let size = std::fs::metadata(database).map_or(0, |file| file.len());
    if !seen && size > CHECKED_MAX {
        return Ok(None);
    }
    let found: String = sqlx::query_scalar("pragma quick_check(1)")
        .fetch_one(conn)
        .await?;
    if found != "ok" {
        // A list of its findings, one a line; the first is enough for a sentence.
        let first = found.lines().next_back().unwrap_or_default();
        return Ok(Some(first.to_owned()));
    }
    if std::fs::read_to_string(&mark).is_ok_and(|found| found.contains(CUT)) {
        return Ok(Some(format!(
            "a part of its log is lost, which the file does not show; delete {} only if what was accepted last may be missing",
            mark.display()
        )));
    }
    if seen && let Err(error) = std::fs::remove_file(&mark) {
        tracing::warn!(%error, "{} says that the database was damaged; it is not any more", mark.display());
    }
    Ok(None)
}

/// Whole transactions in the log of `database` that SQLite would not read, because something before
/// them is damaged. The last one may be torn, and counts for nothing.
///
/// # Errors
/// The log cannot be read.
pub(super) fn lost_in_log(database: &Path) -> io::Result<u64> {
    match File::open(beside(database, "-wal")) {
        Ok(log) => lost(&mut BufReader::with_capacity(1 << 20, log)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(0),
        Err(error) => Err(error),
    }
}

fn lost(log: &mut impl Read) -> io::Result<u64> {
    let mut head = [0; HEAD];
    if !fill(log, &mut head)? {
        return Ok(0);
    }
    let known = word(&head, 0) & !1 == MAGIC;
    let big = match known {
        true => word(&head, 0) & 1 == 1,
        false => cfg!(target_endian = "big"),
    };
    let page = match word(&head, 8) {
        page if known && page.is_power_of_two() && (512..=65_536).contains(&page) => page,
        _ => PAGE,
    };
    let mut sum = sum(big, (0, 0), &head[..24]);
    let mut whole = known && sum == (word(&head, 24), word(&head, 28));
    let mut salts = whole.then(|| (word(&head, 16), word(&head, 20)));
    let mut frame = vec![0; FRAME_HEAD + page as usize];
    let mut commits = 0;
    while fill(log, &mut frame)? {
        let said = (word(&frame, 16), word(&frame, 20));
        let salted = (word(&frame, 8), word(&frame, 12));
        let fits = *salts.get_or_insert(salted) == salted
            && word(&frame, 0) != 0
            && said == self::sum(big, self::sum(big, sum, &frame[..8]), &frame[FRAME_HEAD..]);
        // Each sum goes on from the one before, so frames tell that they follow each other even behind a break.
        sum = said;
        whole &= fits;
        if !whole && fits && word(&frame, 4) != 0 {
            commits += 1;
        }
    }
    // The end of a torn transaction may be there while its middle is not.
    Ok(if commits < 2 { 0 } else { commits })
}

/// `false`: the file ends before it is full.
fn fill(log: &mut impl Read, into: &mut [u8]) -> io::Result<bool> {
    match log.read_exact(into) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

fn word(bytes: &[u8], at: usize) -> u32 {
    let word = [bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]];
    u32::from_be_bytes(word)
}

fn sum(big: bool, (mut a, mut b): (u32, u32), bytes: &[u8]) -> (u32, u32) {
    for pair in bytes.chunks_exact(8) {
        let [mut x, mut y] = [word(pair, 0), word(pair, 4)];
        if !big {
            (x, y) = (x.swap_bytes(), y.swap_bytes());
        }
        a = a.wrapping_add(x).wrapping_add(b);
        b = b.wrapping_add(y).wrapping_add(a);
    }
    (a, b)
}

#[cfg(test)]
mod tests {
    use sqlx::Connection;

    use super::*;
    use crate::store::open;

    const FRAME: usize = FRAME_HEAD + PAGE as usize;

    /// A log of some transactions as a crash leaves it, with the frames at which they end.
    async fn log() -> (Vec<u8>, Vec<usize>) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("some.db");
        let mut conn = open::connect_writer(&path).await.unwrap();
        sqlx::query("create table u (x blob) strict")
            .execute(&mut conn)
            .await
            .unwrap();
        for _ in 0..6 {
            sqlx::query("insert into u values (randomblob(9000))")
                .execute(&mut conn)
                .await
                .unwrap();
        }
        let log = std::fs::read(beside(&path, "-wal")).unwrap();
        conn.close().await.unwrap();
        let frames = (log.len() - HEAD) / FRAME;
        let ends = (0..frames).filter(|n| word(&log, HEAD + n * FRAME + 4) != 0);
        let ends = ends.collect();
        (log, ends)
    }

    #[tokio::test]
    async fn a_break_before_whole_transactions_is_damage_and_a_torn_end_is_not() {
        let (log, ends) = log().await;
        assert!(ends.len() >= 6, "{ends:?}");
        let lost = |log: &[u8]| lost(&mut &log[..]).unwrap();
        assert_eq!(lost(&log), 0);
        for at in 0..log.len() / 512 {
            assert_eq!(lost(&log[..at * 512]), 0, "cut at {at}");
        }
        let last_begins = ends[ends.len() - 2] + 1;
        for n in 0..=ends[ends.len() - 1] {
            for at in [4, 9, 17, 100, 4000] {
                let mut torn = log.clone();
                torn[HEAD + n * FRAME + at] ^= 0x40;
                // The transaction that holds the frame, unless its end is what broke, and those behind it.
                let behind = ends.iter().filter(|end| **end > n).count() as u64;
                let found = lost(&torn);
                match n >= last_begins {
                    true => assert_eq!(found, 0, "frame {n}, byte {at}: nobody was answered"),
                    // The frame behind a broken sum does not fit either.
                    false if behind >= 2 + u64::from(at == 17) => {
                        assert!(found >= 2, "frame {n}, byte {at}: {found} of {behind}");
                    }
                    false => {}
                }
            }
        }
        for at in 0..HEAD {
            let mut torn = log.clone();
            torn[at] ^= 0x40;
            assert!(lost(&torn) >= 2, "byte {at} of the head");
        }
    }

    #[tokio::test]
    async fn what_is_left_of_an_earlier_round_of_the_log_is_no_damage() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("some.db");
        let mut conn = open::connect_writer(&path).await.unwrap();
        sqlx::query("create table u (x blob) strict")
            .execute(&mut conn)
            .await
            .unwrap();
        for _ in 0..6 {
            sqlx::query("insert into u values (randomblob(9000))")
                .execute(&mut conn)
                .await
                .unwrap();
        }
        sqlx::query("pragma wal_checkpoint(restart)")
            .execute(&mut conn)
            .await
            .unwrap();
        sqlx::query("delete from u where rowid = 1")
            .execute(&mut conn)
            .await
            .unwrap();
        assert!(std::fs::metadata(beside(&path, "-wal")).unwrap().len() > 10 * 4096);
        assert_eq!(lost_in_log(&path).unwrap(), 0);
        conn.close().await.unwrap();
    }
}
