//! Statements of one transaction, sent to SQLite's thread as few times as possible.
//!
//! Each question to that thread costs two changes of thread, which is more than most statements take. So what
//! nobody waits for is put aside, and goes together with the next question or with the commit: a batch that only
//! inserts is one trip, from `begin` to `commit`.
//! Not here: what the statements say.

use std::collections::HashMap;
use std::sync::Arc;

use futures_util::TryStreamExt;
use sqlx::sqlite::{SqliteArguments, SqliteConnection, SqliteRow};
use sqlx::{Arguments, AssertSqlSafe, Either, Executor};

/// So many bytes are put aside before they are sent in a trip of their own: what a batch holds in memory is bounded.
const WAITING_MAX: usize = 1 << 20;

/// Longer scripts are seldom and each one different: they are not kept prepared.
const KEPT_MAX: usize = 12;

/// A value for a parameter.
#[derive(Clone, Debug)]
pub(super) enum Arg {
    Null,
    Int(i64),
    Text(Arc<str>),
}

impl From<i64> for Arg {
    fn from(value: i64) -> Arg {
        Arg::Int(value)
    }
}

impl From<&str> for Arg {
    fn from(value: &str) -> Arg {
        Arg::Text(value.into())
    }
}

impl From<String> for Arg {
    fn from(value: String) -> Arg {
        Arg::Text(value.into())
    }
}

impl<T: Into<Arg>> From<Option<T>> for Arg {
    fn from(value: Option<T>) -> Arg {
        value.map_or(Arg::Null, Into::into)
    }
}

/// A statement with `?` for each parameter, and which argument each of them takes.
#[derive(Debug)]
struct Text {
    sql: String,
    takes: Vec<usize>,
}

/// Statements that were rewritten before, by their text.
#[derive(Debug, Default)]
pub(super) struct Texts(HashMap<&'static str, Text>);

impl Texts {
    fn of(&mut self, sql: &'static str) -> &Text {
        self.0.entry(sql).or_insert_with(|| plain(sql))
    }
}

/// A statement whose rows somebody wants: its place among all of the transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Asked(usize);

/// What waits to be sent, on the way to a commit.
#[derive(Debug)]
pub(super) struct Script<'a> {
    conn: &'a mut SqliteConnection,
    texts: &'a mut Texts,
    sql: String,
    args: SqliteArguments,
    /// Statements so far, and how many of them have run.
    put: usize,
    run: usize,
    /// Bytes of what waits.
    waiting: usize,
    /// Rows that somebody wants; empty until they are there.
    rows: HashMap<Asked, Vec<SqliteRow>>,
}

impl<'a> Script<'a> {
    /// Begins a transaction that writes, with the first trip.
    pub(super) fn begin(conn: &'a mut SqliteConnection, texts: &'a mut Texts) -> Script<'a> {
        let mut script = Script {
            conn,
            texts,
            sql: String::new(),
            args: SqliteArguments::default(),
            put: 0,
            run: 0,
            waiting: 0,
            rows: HashMap::new(),
        };
        // It has no parameter, so nothing can fail here.
        let _ = script.put("begin immediate", &[]);
        script
    }

    /// Puts a single statement, its parameters `?1`, `?2`…, aside. It runs with the next trip, in its order.
    ///
    /// # Errors
    /// It has a parameter without an argument.
    pub(super) fn put(&mut self, sql: &'static str, args: &[Arg]) -> Result<(), sqlx::Error> {
        let text = self.texts.of(sql);
        for place in &text.takes {
            let missing = || sqlx::Error::Encode(format!("no argument ?{}", place + 1).into());
            let added = match args.get(*place).ok_or_else(missing)? {
                Arg::Null => self.args.add(None::<i64>),
                Arg::Int(value) => self.args.add(*value),
                Arg::Text(value) => {
                    self.waiting += value.len();
                    self.args.add(Arc::clone(value))
                }
            };
            added.map_err(sqlx::Error::Encode)?;
        }
        self.waiting += text.sql.len();
        self.sql.push_str(&text.sql);
        self.sql.push_str(";\n");
        self.put += 1;
        Ok(())
    }

    /// The same of a statement whose rows are wanted once it has run.
    ///
    /// # Errors
    /// As of `put`.
    pub(super) fn ask(&mut self, sql: &'static str, args: &[Arg]) -> Result<Asked, sqlx::Error> {
        let asked = Asked(self.put);
        self.put(sql, args)?;
        self.rows.insert(asked, Vec::new());
        Ok(asked)
    }

    /// What that statement found, once; nothing before it has run.
    pub(super) fn take(&mut self, asked: Asked) -> Vec<SqliteRow> {
        self.rows.remove(&asked).unwrap_or_default()
    }

    /// The rows of a statement, after all that was put aside.
    ///
    /// # Errors
    /// It failed, or something before it.
    pub(super) async fn fetch(
        &mut self,
        sql: &'static str,
        args: &[Arg],
    ) -> Result<Vec<SqliteRow>, sqlx::Error> {
        let asked = self.ask(sql, args)?;
        self.run().await?;
        Ok(self.take(asked))
    }

    /// The connection, once all that was put aside has run.
    ///
    /// # Errors
    /// Something that was put aside failed.
    pub(super) async fn conn(&mut self) -> Result<&mut SqliteConnection, sqlx::Error> {
        if self.put > self.run {
            self.run().await?;
        }
        Ok(self.conn)
    }

    /// Sends what was put aside if it is much.
    ///
    /// # Errors
    /// Something of it failed.
    pub(super) async fn relieve(&mut self) -> Result<(), sqlx::Error> {
        match self.waiting > WAITING_MAX {
            true => self.run().await,
            false => Ok(()),
        }
    }

    /// Runs what is left and commits.
    ///
    /// # Errors
    /// Something failed; nothing is committed.
    pub(super) async fn commit(&mut self) -> Result<(), sqlx::Error> {
        self.put("commit", &[])?;
        self.run().await
    }

    async fn run(&mut self) -> Result<(), sqlx::Error> {
        let sql = std::mem::take(&mut self.sql);
        let is_kept = self.put - self.run <= KEPT_MAX;
        let mut at = Asked(std::mem::replace(&mut self.run, self.put));
        self.waiting = 0;
        // Made of texts of this program; what comes from outside stands in the arguments.
        let query = sqlx::query_with(AssertSqlSafe(sql), std::mem::take(&mut self.args))
            .persistent(is_kept);
        let mut steps = (&mut *self.conn).fetch_many(query);
        while let Some(step) = steps.try_next().await? {
            match step {
                Either::Left(_) => at.0 += 1,
                Either::Right(row) => {
                    if let Some(rows) = self.rows.get_mut(&at) {
                        rows.push(row);
                    }
                }
            }
        }
        Ok(())
    }
}

/// `?2` becomes `?` and takes the second argument: of several statements in one text each would else count
/// from the first argument of all.
fn plain(sql: &str) -> Text {
    let mut text = Text {
        sql: String::with_capacity(sql.len()),
        takes: Vec::new(),
    };
    let mut quoted = false;
    let mut rest = sql.chars().peekable();
    while let Some(one) = rest.next() {
        text.sql.push(one);
        quoted ^= one == '\'';
        if one == '?' && !quoted {
            let mut number = 0;
            while let Some(digit) = rest.peek().and_then(|one| one.to_digit(10)) {
                number = number * 10 + digit as usize;
                rest.next();
            }
            text.takes.push(number.saturating_sub(1));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use sqlx::{ConnectOptions, Row};

    use super::*;

    async fn open(folder: &std::path::Path) -> SqliteConnection {
        let options = sqlx::sqlite::SqliteConnectOptions::new()
            .filename(folder.join("script.db"))
            .create_if_missing(true);
        let mut conn = options.connect().await.unwrap();
        sqlx::query("create table one (a integer primary key, b text) strict")
            .execute(&mut conn)
            .await
            .unwrap();
        conn
    }

    #[test]
    fn parameters_take_their_arguments_by_number() {
        let text = plain("select ?2, '?1', ?12 || ?2 from x where y = ?1");
        assert_eq!(text.sql, "select ?, '?1', ? || ? from x where y = ?");
        assert_eq!(text.takes, [1, 11, 1, 0]);
    }

    #[tokio::test]
    async fn each_statement_finds_its_own_rows_and_sees_those_before_it() {
        let folder = tempfile::tempdir().unwrap();
        let mut conn = open(folder.path()).await;
        let mut texts = Texts::default();
        let mut script = Script::begin(&mut conn, &mut texts);
        const PUT: &str = "insert into one (a, b) values (?2, ?1 || ?1)";
        script.put(PUT, &["x".into(), 1.into()]).unwrap();
        script.put(PUT, &["y".into(), 2.into()]).unwrap();
        let rows = script
            .fetch("select a, b from one where a >= ?1", &[1.into()])
            .await
            .unwrap();
        let read: Vec<(i64, String)> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
        assert_eq!(read, [(1, "xx".into()), (2, "yy".into())]);
        script.put(PUT, &[Arg::Null, 3.into()]).unwrap();
        let all = script.ask("select a from one order by a", &[]).unwrap();
        let none = script.ask("select a from one where a > 9", &[]).unwrap();
        // What is asked runs with whatever trip comes next, and is kept.
        script.conn().await.unwrap();
        script.put(PUT, &["z".into(), 4.into()]).unwrap();
        script.commit().await.unwrap();
        let read: Vec<i64> = script.take(all).iter().map(|row| row.get(0)).collect();
        assert_eq!(read, [1, 2, 3]);
        assert!(script.take(none).is_empty());
    }

    #[tokio::test]
    async fn much_goes_before_the_rest_and_in_its_order() {
        let folder = tempfile::tempdir().unwrap();
        let mut conn = open(folder.path()).await;
        let mut texts = Texts::default();
        let mut script = Script::begin(&mut conn, &mut texts);
        const PUT: &str = "insert into one (a, b) values (?1, ?2)";
        for n in 0..40 {
            script
                .put(PUT, &[n.into(), "x".repeat(60_000).into()])
                .unwrap();
            script.relieve().await.unwrap();
            assert!(script.waiting <= WAITING_MAX);
        }
        let all = script.ask("select count(*) from one", &[]).unwrap();
        script.commit().await.unwrap();
        assert_eq!(script.take(all)[0].get::<i64, _>(0), 40);
    }

    #[tokio::test]
    async fn a_fault_on_the_way_commits_nothing_and_leaves_a_transaction_to_roll_back() {
        let folder = tempfile::tempdir().unwrap();
        let mut conn = open(folder.path()).await;
        let mut texts = Texts::default();
        let mut script = Script::begin(&mut conn, &mut texts);
        const PUT: &str = "insert into one (a) values (?1)";
        script.put(PUT, &[1.into()]).unwrap();
        script.put(PUT, &[1.into()]).unwrap();
        script.put(PUT, &[2.into()]).unwrap();
        assert!(script.put(PUT, &[]).is_err());
        let error = script.commit().await.unwrap_err();
        assert!(error.as_database_error().unwrap().is_unique_violation());
        sqlx::query("rollback").execute(&mut conn).await.unwrap();
        let left: i64 = sqlx::query_scalar("select count(*) from one")
            .fetch_one(&mut conn)
            .await
            .unwrap();
        assert_eq!(left, 0);
    }
}
