//! Puts a backup's copy back, so that nothing in it is seen twice.
//!
//! The relay went on after the copy was taken, and nobody knows how far: what the copy shows as
//! unsettled, and what could have begun before the restore, counts as tried at the copy's time. A
//! message whose `uuid` still removes the double goes on, and what writes the same state again; the
//! rest is in doubt. What could not have begun yet stays as it was.
//! Not here: taking the copy (`backup`), what becomes of a job that counts as tried (`dispatch`).

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, chown};
use std::path::{Path, PathBuf};

use feishu_im::limits::SAFE_WINDOW_MS;
use serde_json::json;
use sha2::{Digest, Sha256};
use sqlx::Connection;
use sqlx::sqlite::SqliteConnection;

use crate::clock::{Clock, Now, rfc3339};
use crate::job::{Action, Fault, Kind};
use crate::store::backup::{self, CopyError, DATABASE, Stamp, UPLOADS, at, of, sync};
use crate::store::{incidents, open, upload};

/// How far the clock may stand behind the copy's time: two machines' clocks differ by less.
const CLOCKS_DIFFER_MS: i64 = 60_000;
/// Numbers left out, so that none given after the copy was taken is given again.
const SEQ_GAP: i64 = 1 << 32;

/// What a copy came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Restored {
    /// Of which moment the copy is, Unix milliseconds.
    pub taken_ms: i64,
    /// Its database was closed for good when it was taken: nothing counts as tried.
    pub moved: bool,
    /// Jobs that had ended.
    pub settled: i64,
    /// Jobs that could not have begun since: they go on as they were.
    pub untouched: i64,
    /// Jobs that count as tried and go on, because a repeat does no harm.
    pub repeated: i64,
    /// Jobs in doubt now.
    pub in_doubt: i64,
    /// Of those, how many were before.
    pub in_doubt_before: i64,
}

/// What a second execution after the copy's time would do.
enum Fate {
    /// Nothing, under its `uuid`, within its window.
    Key,
    /// Nothing: the same state once more, another object that nobody sees.
    Again,
    /// Nothing, unless something newer of its sort came after it.
    State,
    /// A second effect.
    Doubt,
    /// It only reads.
    Read,
}

fn fate(kind: Kind) -> Fate {
    match kind {
        Kind::Send
        | Kind::Reply
        | Kind::Forward
        | Kind::MergeForward
        | Kind::ForwardThread => Fate::Key,
        Kind::Recall
        | Kind::BatchRecall
        | Kind::UploadImage
        | Kind::UploadFile
        | Kind::FollowUp
        | Kind::Unreact
        | Kind::DeleteEphemeral
        | Kind::UpdateUrlPreviews => Fate::Again,
        Kind::Pin | Kind::Unpin => Fate::State,
        Kind::BatchSend
        | Kind::UrgentApp
        | Kind::UrgentSms
        | Kind::UrgentPhone
        | Kind::SendEphemeral
        | Kind::Webhook
        | Kind::React
        // Something newer, which the copy does not know, may be shown since.
        | Kind::Edit
        | Kind::UpdateCard
        | Kind::DelayUpdateCard => Fate::Doubt,
        Kind::BatchProgress | Kind::ReadUsers | Kind::BatchReadUser | Kind::History => Fate::Read,
    }
}

/// The names of the kinds of a fate, as a JSON list.
fn names(wanted: impl Fn(&Fate) -> bool) -> String {
    let names: Vec<_> = Kind::all()
        .filter(|kind| wanted(&fate(*kind)))
        .map(Kind::name)
        .collect();
    json!(names).to_string()
}

/// Puts the copy in `folder` to `database`, where there must be none.
///
/// # Errors
/// `Wrong`: there is a database, a relay runs on it, or `folder` is no copy that fits; nothing was touched.
/// `Failed`: it broke off, and no database was made.
pub async fn restore(folder: &Path, database: &Path, clock: &Clock) -> Result<Restored, CopyError> {
    let copy = folder.join(DATABASE);
    if !copy.is_file() {
        return Err(CopyError::wrong(format!(
            "{} holds no backup: there is no {DATABASE} in it",
            folder.display()
        )));
    }
    absent(database)?;
    let home = backup::parent(database);
    backup::make_folder(&home)?;
    let _lock = open::lock(database)?;
    absent(database)?;
    let draft = Draft::of(&copy, database)?;
    let mut conn = backup::connect_copy(&draft.path).await?;
    let stamp = check(&mut conn, folder).await?;
    let now = clock.now();
    if now.wall_ms + CLOCKS_DIFFER_MS < stamp.taken_ms {
        return Err(CopyError::wrong(format!(
            "the clock stands at {}, before the copy was taken ({}); set it first, because it says what is too old to be repeated",
            rfc3339(now.wall_ms),
            stamp.taken_at
        )));
    }
    let schema = open::MIGRATIONS.run(&mut conn).await;
    schema.map_err(|error| CopyError::Failed(format!("{}: {error}", folder.display())))?;
    bring_uploads(folder, database, &backup::needed(&draft.path).await?)?;
    let restored = mark(&mut conn, &stamp, &now).await.map_err(of(&copy))?;
    conn.close().await.map_err(of(&copy))?;
    if stamp.moved {
        // Once: a second restore of it cannot know what the first one has sent.
        let used = Stamp {
            moved: false,
            ..stamp
        };
        backup::write_stamp(folder, &used).await?;
    }
    draft.name(database, &home)?;
    give_to_owner(&open::lock_path(database), &home)?;
    Ok(restored)
}

/// Refuses when there is a database: what is in it may be newer.
fn absent(database: &Path) -> Result<(), CopyError> {
    if fs::symlink_metadata(database).is_err() {
        return Ok(());
    }
    // Asked of the lock only where there is one, so that a refusal makes no file.
    let running = File::open(open::lock_path(database)).is_ok_and(|file| file.try_lock().is_err());
    let path = database.display();
    Err(CopyError::wrong(match running {
        true => format!("a feishu-relay is running on {path}; nothing was restored"),
        false => format!("there is a database at {path} already; nothing was restored"),
    }))
}

/// The stamp of a copy that is sound and fits this program.
async fn check(conn: &mut SqliteConnection, folder: &Path) -> Result<Stamp, CopyError> {
    let name = folder.display();
    let sound: String = sqlx::query_scalar("pragma integrity_check(1)")
        .fetch_one(&mut *conn)
        .await
        .map_err(|error| CopyError::wrong(format!("{name}: {error}")))?;
    if sound != "ok" {
        return Err(CopyError::wrong(format!("{name} is damaged: {sound}")));
    }
    let text: Option<String> = sqlx::query_scalar("select value from meta where name = ?1")
        .bind(open::COPY)
        .fetch_optional(&mut *conn)
        .await
        .map_err(|error| CopyError::wrong(format!("{name}: {error}")))?;
    let stamp = text.and_then(|text| serde_json::from_str::<Stamp>(&text).ok());
    let Some(stamp) = stamp else {
        return Err(CopyError::wrong(format!(
            "{name} was not made by `feishu-relay backup`: it does not say when it was taken"
        )));
    };
    let version = open::version(conn).await.map_err(of(folder))?;
    if version > open::newest() {
        return Err(CopyError::wrong(format!(
            "{name} was made by a newer feishu-relay ({})",
            stamp.relay
        )));
    }
    Ok(stamp)
}

/// The bytes that the rows name, each checked against its name.
fn bring_uploads(
    folder: &Path,
    database: &Path,
    needed: &std::collections::HashSet<String>,
) -> Result<(), CopyError> {
    if needed.is_empty() {
        return Ok(());
    }
    let home = upload::folder(database);
    backup::make_folder(&home)?;
    for name in needed {
        let from = folder.join(UPLOADS).join(name);
        let draft = home.join(format!("{name}.{}.part", uuid::Uuid::now_v7().simple()));
        let hash = copy(&from, &draft)?;
        if hash != *name {
            let _ = fs::remove_file(&draft);
            return Err(CopyError::wrong(format!("{} is damaged", from.display())));
        }
        give_to_owner(&draft, &home)?;
        let target = upload::path(database, name);
        fs::rename(&draft, &target).map_err(at(&target))?;
    }
    give_to_owner(&home, &backup::parent(database))?;
    sync(&home)
}

/// Copies a file to one that is its owner's alone, and waits for the disk. Returns the hash of its bytes.
fn copy(from: &Path, to: &Path) -> Result<String, CopyError> {
    let mut source = File::open(from).map_err(at(from))?;
    let mut target = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(to)
        .map_err(at(to))?;
    let mut hash = Sha256::new();
    let mut piece = vec![0; 1 << 16];
    loop {
        let read = source.read(&mut piece).map_err(at(from))?;
        if read == 0 {
            break;
        }
        hash.update(&piece[..read]);
        io::Write::write_all(&mut target, &piece[..read]).map_err(at(to))?;
    }
    target.sync_all().map_err(at(to))?;
    Ok(crate::job::hex(&hash.finalize()))
}

/// What root puts back belongs to whom the folder belongs: the service runs as a user of its own.
fn give_to_owner(path: &Path, folder: &Path) -> Result<(), CopyError> {
    let (file, home) = (
        fs::metadata(path).map_err(at(path))?,
        fs::metadata(folder).map_err(at(folder))?,
    );
    if file.uid() == 0 && home.uid() != 0 {
        chown(path, Some(home.uid()), Some(home.gid())).map_err(at(path))?;
    }
    Ok(())
}

/// The database under another name; it goes when it is not put in place.
struct Draft {
    path: PathBuf,
    whole: bool,
}

impl Draft {
    fn of(from: &Path, database: &Path) -> Result<Draft, CopyError> {
        let mut name = database.as_os_str().to_owned();
        name.push(format!(".{}.part", uuid::Uuid::now_v7().simple()));
        let draft = Draft {
            path: PathBuf::from(name),
            whole: false,
        };
        copy(from, &draft.path)?;
        Ok(draft)
    }

    /// It is whole: it becomes the database. A log without its database would be taken for this one's.
    fn name(mut self, database: &Path, home: &Path) -> Result<(), CopyError> {
        sync(&self.path)?;
        give_to_owner(&self.path, home)?;
        put_aside(database)?;
        fs::rename(&self.path, database).map_err(at(database))?;
        self.whole = true;
        sync(home)
    }
}

/// Takes away what SQLite left beside the lost database. A log with rows in it is kept under another
/// name: without its file it is of little use, but it is not ours to delete.
fn put_aside(database: &Path) -> Result<(), CopyError> {
    let beside = |end: &str| {
        let mut name = database.as_os_str().to_owned();
        name.push(end);
        PathBuf::from(name)
    };
    let (log, index) = (beside("-wal"), beside("-shm"));
    let gone = match fs::metadata(&log) {
        Ok(file) if file.len() > 0 => fs::rename(&log, beside("-wal.lost")),
        Ok(_) => fs::remove_file(&log),
        Err(error) => Err(error),
    };
    for (path, done) in [(&log, gone), (&index, fs::remove_file(&index))] {
        match done {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(at(path)(error)),
            Ok(()) | Err(_) => {}
        }
    }
    Ok(())
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.whole {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Makes the copy a database again, in one transaction.
async fn mark(
    conn: &mut SqliteConnection,
    stamp: &Stamp,
    now: &Now,
) -> Result<Restored, sqlx::Error> {
    sqlx::query("begin immediate").execute(&mut *conn).await?;
    let before: i64 = sqlx::query_scalar("select count(*) from job where state = 'in_doubt'")
        .fetch_one(&mut *conn)
        .await?;
    let repeated = match stamp.moved {
        true => 0,
        false => {
            reach(conn, stamp).await?;
            tried(conn, now).await?;
            doubt(conn, stamp, now).await?;
            settle(conn, stamp, now).await?
        }
    };
    recount(conn).await?;
    incidents::restored(conn, now.wall_ms).await?;
    let seq: i64 = sqlx::query_scalar(
        "select max(coalesce((select max(seq) from job), 0),
                    coalesce((select cast(value as integer) from meta where name = 'last_seq'), 0))",
    )
    .fetch_one(&mut *conn)
    .await?;
    set(conn, "last_seq", &(seq + SEQ_GAP).to_string()).await?;
    set(
        conn,
        "restored",
        &json!({"at": rfc3339(now.wall_ms), "of": stamp.taken_at, "moved": stamp.moved})
            .to_string(),
    )
    .await?;
    // Listeners may have heard more than the copy knows; a new epoch tells them so.
    sqlx::query("delete from meta where name in (?1, 'events_epoch')")
        .bind(open::COPY)
        .execute(&mut *conn)
        .await?;
    let (settled, unsettled, in_doubt): (i64, i64, i64) = sqlx::query_as(
        "select count(*) filter (where finished_ms is not null),
                count(*) filter (where state in ('queued', 'sending')),
                count(*) filter (where state = 'in_doubt') from job",
    )
    .fetch_one(&mut *conn)
    .await?;
    sqlx::query("commit").execute(&mut *conn).await?;
    Ok(Restored {
        taken_ms: stamp.taken_ms,
        moved: stamp.moved,
        settled,
        untouched: unsettled - repeated,
        repeated,
        in_doubt,
        in_doubt_before: before,
    })
}

async fn set(conn: &mut SqliteConnection, name: &str, value: &str) -> Result<(), sqlx::Error> {
    sqlx::query("insert into meta (name, value) values (?1, ?2) on conflict (name) do update set value = excluded.value")
        .bind(name)
        .bind(value)
        .execute(conn)
        .await?;
    Ok(())
}

/// When each unsettled job could have begun, at the earliest: its time, or, of one that waits for
/// others, when the last of them could have been done and its delay was over.
async fn reach(conn: &mut SqliteConnection, stamp: &Stamp) -> Result<(), sqlx::Error> {
    sqlx::query("create temp table reach (seq integer primary key, ms integer not null, round integer not null)")
        .execute(&mut *conn)
        .await?;
    sqlx::query("create index temp.reach_round on reach (round)")
        .execute(&mut *conn)
        .await?;
    sqlx::query("create temp table step (seq integer primary key)")
        .execute(&mut *conn)
        .await?;
    // One in doubt may have been settled by a person, which frees those who wait for it.
    sqlx::query(
        "insert into reach
         select seq, case state when 'queued' then max(run_ms, ?1) else ?1 end, 0 from job
          where state in ('sending', 'in_doubt') or (state = 'queued' and blocked = 0)",
    )
    .bind(stamp.taken_ms)
    .execute(&mut *conn)
    .await?;
    for round in 1.. {
        sqlx::query("delete from step").execute(&mut *conn).await?;
        let found = sqlx::query(
            "insert into step
             select distinct child from reach before join dependency on parent = before.seq and open = 1
              where before.round = ?1 - 1 and child not in (select seq from reach) and role <> 'merged'
                and not exists (select 1 from dependency other join job needed on needed.seq = other.parent
                                 where other.child = dependency.child and other.open = 1
                                   and needed.finished_ms is null and needed.seq not in (select seq from reach))",
        )
        .bind(round)
        .execute(&mut *conn)
        .await?;
        if found.rows_affected() == 0 {
            break;
        }
        sqlx::query(
            "insert into reach
             select job.seq,
                    max(job.run_ms, job.delay_ms + (select max(ms) from dependency join reach on reach.seq = parent
                                                     where child = job.seq and open = 1)), ?1
               from step join job on job.seq = step.seq
              where job.state = 'queued'",
        )
        .bind(round)
        .execute(&mut *conn)
        .await?;
    }
    // Whoever is left waits for nothing that is known here: nothing says that it could not have begun. But what
    // was merged never begins.
    sqlx::query(
        "insert into reach
         select seq, max(run_ms, ?1), 0 from job
          where state = 'queued' and seq not in (select seq from reach)
            and not exists (select 1 from dependency where child = job.seq and dependency.role = 'merged' and open = 1)",
    )
    .bind(stamp.taken_ms)
    .execute(&mut *conn)
    .await?;
    Ok(())
}

/// Who may have begun by now. What only reads does no harm.
async fn tried(conn: &mut SqliteConnection, now: &Now) -> Result<(), sqlx::Error> {
    sqlx::query("create temp table tried (seq integer primary key)")
        .execute(&mut *conn)
        .await?;
    sqlx::query(
        "insert into tried
         select job.seq from reach join job on job.seq = reach.seq
          where reach.ms <= ?1 and state in ('queued', 'sending')
            and kind not in (select value from json_each(?2))",
    )
    .bind(now.wall_ms)
    .bind(names(|fate| matches!(fate, Fate::Read)))
    .execute(&mut *conn)
    .await?;
    Ok(())
}

/// Of those, who cannot be repeated: what shows twice, a message whose window is over or whose image
/// would be another one now, a pin that an unpin followed.
async fn doubt(conn: &mut SqliteConnection, stamp: &Stamp, now: &Now) -> Result<(), sqlx::Error> {
    sqlx::query("create temp table doubt (seq integer primary key)")
        .execute(&mut *conn)
        .await?;
    sqlx::query(
        "insert into doubt
         select job.seq from tried join job on job.seq = tried.seq
          where kind not in (select value from json_each(?1))
             or (kind in (select value from json_each(?2))
                 and (?3 - coalesce(unknown_ms, case state when 'sending' then mark_ms end, ?4) >= ?5
                      or exists (select 1 from dependency where child = job.seq and role in ('image', 'value') and open = 1)))",
    )
    .bind(names(|fate| matches!(fate, Fate::Key | Fate::Again | Fate::State)))
    .bind(names(|fate| matches!(fate, Fate::Key)))
    .bind(now.wall_ms)
    .bind(stamp.taken_ms)
    .bind(SAFE_WINDOW_MS)
    .execute(&mut *conn)
    .await?;
    sqlx::query(
        "insert or ignore into doubt
         select seq from (
             select seq, max(seq) over (partition by target) as last from (
                 select job.seq, coalesce(message, (select parent from dependency where child = job.seq and role = 'message')) as target
                   from tried join job on job.seq = tried.seq
                  where kind in (select value from json_each(?1))))
          where seq < last",
    )
    .bind(names(|fate| matches!(fate, Fate::State)))
    .execute(&mut *conn)
    .await?;
    Ok(())
}

/// Writes down what was found. Returns how many count as tried and go on.
async fn settle(conn: &mut SqliteConnection, stamp: &Stamp, now: &Now) -> Result<i64, sqlx::Error> {
    let action = Action {
        at_ms: now.wall_ms,
        by: "restore".into(),
        what: format!("counts as tried at {}", stamp.taken_at),
    };
    let fault = Fault {
        class: "doubt".into(),
        msg: format!(
            "it was not settled in the backup of {} that was restored; it may have been sent since",
            stamp.taken_at
        ),
        hint: Some("look whether it arrived; then settle it as done or failed, or retry it".into()),
        who: Some("operator".into()),
        code: None,
    };
    // The attempt that was under way is on record, as it is after a crash.
    sqlx::query(
        "update job set attempts = json_insert(attempts, '$[#]', json_object(
                'at', strftime('%Y-%m-%dT%H:%M:%fZ', mark_ms / 1000.0, 'unixepoch'), 'outcome', 'unknown'))
          where state = 'sending' and seq in (select seq from tried)",
    )
    .execute(&mut *conn)
    .await?;
    // `on_doubt` speaks of a lost answer, not of a lost disk: nothing is sent again by itself for it.
    let all = sqlx::query(
        "update job set
            unknown_boot_ms = case when unknown_ms is not null then unknown_boot_ms
                                   when state = 'sending' then mark_boot_ms else ?2 end,
            unknown_boot_id = case when unknown_ms is not null then unknown_boot_id
                                   when state = 'sending' then mark_boot_id else ?3 end,
            unknown_ms = coalesce(unknown_ms, case state when 'sending' then mark_ms end, ?1),
            on_doubt = case when seq in (select seq from doubt) then on_doubt else 'hold' end,
            error = case when seq in (select seq from doubt) then ?4 end,
            actions = json_insert(actions, '$[#]', json(?5)),
            state = case when seq in (select seq from doubt) then 'in_doubt' else 'queued' end
          where state in ('queued', 'sending') and seq in (select seq from tried)",
    )
    .bind(stamp.taken_ms)
    .bind(stamp.boot_ms)
    .bind(&stamp.boot_id)
    .bind(serde_json::to_string(&fault).unwrap_or_default())
    .bind(serde_json::to_string(&action).unwrap_or_default())
    .execute(&mut *conn)
    .await?;
    sqlx::query(
        "update part set state = case when job in (select seq from doubt) then 'in_doubt' else 'queued' end
          where state in ('queued', 'sending') and job in (select seq from tried)",
    )
    .execute(&mut *conn)
    .await?;
    let doubts: i64 = sqlx::query_scalar("select count(*) from doubt")
        .fetch_one(&mut *conn)
        .await?;
    Ok(i64::try_from(all.rows_affected()).unwrap_or(i64::MAX) - doubts)
}

/// The counters, from the rows: this is the one place where they may be counted.
async fn recount(conn: &mut SqliteConnection) -> Result<(), sqlx::Error> {
    sqlx::query("delete from counter")
        .execute(&mut *conn)
        .await?;
    sqlx::query(
        "insert into counter (app, name, value)
         select app, case own when 1 then 'own:' else '' end || state, count(*) from job group by 1, 2",
    )
    .execute(&mut *conn)
    .await?;
    Ok(())
}
