//! Puts rows into `job`: producers' jobs and the relay's own, many in one statement.

use std::collections::BTreeMap;

use serde::ser::{Serialize, SerializeSeq, Serializer};
use serde_json::json;

use crate::job::{AppId, Degraded, Head, JobId, Kind, Moment, State, hex};
use crate::store::fold;
use crate::store::script::Arg;
use crate::store::writer::Tx;

/// The lane of a job that has none begins with this; no producer's lane can.
pub(super) const ALONE: char = '\u{1}';

/// Rows in one statement: what its text and SQLite's reading of it take in memory is bounded by it.
const ROWS: usize = 500;

/// A row before it is written.
#[derive(Clone, Debug)]
pub(super) struct NewRow {
    pub(super) id: JobId,
    pub(super) client: String,
    pub(super) own: bool,
    pub(super) parent: Option<i64>,
    pub(super) role: &'static str,
    pub(super) blocked: i64,
    pub(super) stands: bool,
    pub(super) delay_ms: i64,
    pub(super) expires_ms: Option<i64>,
    pub(super) deadline_ms: Option<i64>,
    pub(super) key: Option<(String, [u8; 32])>,
    pub(super) uuid: Option<[u8; 32]>,
    pub(super) labels: String,
    pub(super) args: String,
    pub(super) resolved: Option<String>,
    pub(super) parts: i64,
    pub(super) dependents: i64,
    pub(super) on_doubt: &'static str,
    pub(super) on_refused: &'static str,
    pub(super) degraded: Option<Degraded>,
    pub(super) track: Option<String>,
    pub(super) mark: Option<Moment>,
    /// Number, app, lane, kind, priority, time, receiver, message, size and weight.
    pub(super) head: Head,
}

impl NewRow {
    /// A job of the relay's own for `parent`, due at `run_ms`.
    pub(super) fn own(
        tx: &mut Tx<'_>,
        kind: Kind,
        app: AppId,
        parent: i64,
        role: &'static str,
        run_ms: i64,
    ) -> NewRow {
        let id = tx.next_id();
        NewRow {
            id,
            client: String::new(),
            own: true,
            parent: Some(parent),
            role,
            blocked: 0,
            stands: run_ms <= tx.now.wall_ms,
            delay_ms: 0,
            expires_ms: None,
            deadline_ms: None,
            key: None,
            uuid: None,
            labels: String::from("{}"),
            args: String::from("{}"),
            resolved: None,
            parts: 0,
            dependents: 0,
            on_doubt: "hold",
            on_refused: "fail",
            degraded: None,
            track: None,
            mark: None,
            head: Head {
                seq: tx.next_seq(),
                app,
                lane: alone(id),
                kind,
                verify: false,
                priority: crate::job::Priority::Normal,
                tried: false,
                due_ms: run_ms,
                since_ms: run_ms,
                receiver: None,
                message: None,
                size: 0,
                weight: 1,
                unknown: None,
            },
        }
    }

    /// Where a new row begins.
    pub(super) fn state(&self) -> State {
        if self.mark.is_some() {
            State::Sending
        } else {
            State::Queued
        }
    }
}

/// Straight to text: at thousands of rows a tree of values would cost more than the rows.
impl Serialize for NewRow {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let head = &self.head;
        let mark = self.mark.as_ref();
        let mut row = serializer.serialize_seq(None)?;
        row.serialize_element(&head.seq)?;
        row.serialize_element(&self.id.hex())?;
        row.serialize_element(&head.app.0)?;
        row.serialize_element(&self.client)?;
        row.serialize_element(&head.kind.name())?;
        row.serialize_element(&self.state().name())?;
        row.serialize_element(&i64::from(self.own))?;
        row.serialize_element(&self.parent)?;
        row.serialize_element(&self.role)?;
        row.serialize_element(&head.lane)?;
        row.serialize_element(&i64::from(self.stands))?;
        row.serialize_element(&self.blocked)?;
        row.serialize_element(&head.priority.rank())?;
        row.serialize_element(&head.due_ms)?;
        row.serialize_element(&self.delay_ms)?;
        row.serialize_element(&self.expires_ms)?;
        row.serialize_element(&self.deadline_ms)?;
        row.serialize_element(&head.receiver)?;
        row.serialize_element(&head.message)?;
        row.serialize_element(&self.key.as_ref().map(|(text, _)| text))?;
        row.serialize_element(&self.key.as_ref().map(|(_, hash)| hex(hash)))?;
        row.serialize_element(&self.labels)?;
        row.serialize_element(&self.args)?;
        row.serialize_element(&self.resolved)?;
        row.serialize_element(&head.size)?;
        row.serialize_element(&head.weight)?;
        row.serialize_element(&self.parts)?;
        row.serialize_element(&self.dependents)?;
        row.serialize_element(&self.on_doubt)?;
        row.serialize_element(&self.on_refused)?;
        row.serialize_element(&mark.map_or(0, |_| 1))?;
        row.serialize_element(&mark.map(|mark| mark.wall_ms))?;
        row.serialize_element(&mark.map(|mark| mark.boot_ms))?;
        row.serialize_element(&mark.map(|mark| &*mark.boot_id))?;
        row.serialize_element(&self.track)?;
        row.serialize_element(&self.degraded.as_ref().map_or(0, |down| down.rung))?;
        row.serialize_element(&self.degraded)?;
        row.serialize_element(&self.uuid.as_ref().map(|uuid| hex(uuid)))?;
        let fold = self
            .stands
            .then(|| fold::group(head.kind, head.message.as_deref()));
        row.serialize_element(&fold.flatten())?;
        row.end()
    }
}

/// The lane of a job that stands alone.
pub(super) fn alone(id: JobId) -> Box<str> {
    format!("{ALONE}{}", id.hex()).into_boxed_str()
}

/// Rows that say little more than whom and what, and agree in the rest: their statement has a tenth of the values.
#[derive(PartialEq)]
struct Likeness<'a> {
    app: AppId,
    client: &'a str,
    kind: Kind,
    mark: Option<&'a Moment>,
    priority: crate::job::Priority,
    due_ms: i64,
    expires_ms: Option<i64>,
    deadline_ms: Option<i64>,
    labels: &'a str,
    weight: u32,
}

impl<'a> Likeness<'a> {
    /// `None`: the row says more.
    fn of(row: &'a NewRow) -> Option<Likeness<'a>> {
        let head = &row.head;
        let says_more = row.own
            || row.parent.is_some()
            || !row.stands
            || row.blocked > 0
            || row.delay_ms > 0
            || row.uuid.is_some()
            || row.resolved.is_some()
            || row.parts > 0
            || row.dependents > 0
            || row.on_doubt != "hold"
            || row.on_refused != "fail"
            || row.degraded.is_some()
            || row.track.is_some()
            || head.tried
            || head.message.is_some()
            || head.receiver.as_ref() != Some(&head.lane);
        (!says_more).then(|| Likeness {
            app: head.app,
            client: &row.client,
            kind: head.kind,
            mark: row.mark.as_ref(),
            priority: head.priority,
            due_ms: head.due_ms,
            expires_ms: row.expires_ms,
            deadline_ms: row.deadline_ms,
            labels: &row.labels,
            weight: head.weight,
        })
    }
}

/// What a row says that others like it do not.
struct Lean<'a>(&'a NewRow);

impl Serialize for Lean<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Lean(row) = self;
        let key = row.key.as_ref();
        (
            row.head.seq,
            row.id.hex(),
            &row.head.lane,
            &row.args,
            row.head.size,
            key.map(|(text, _)| text),
            key.map(|(_, hash)| hex(hash)),
        )
            .serialize(serializer)
    }
}

/// Writes `rows` in as few statements as they need, and counts them.
pub(super) async fn rows(tx: &mut Tx<'_>, rows: &[NewRow]) -> Result<(), sqlx::Error> {
    let first = rows.iter().find_map(Likeness::of);
    let (alike, others): (Vec<&NewRow>, Vec<&NewRow>) = rows
        .iter()
        .partition(|row| first.is_some() && Likeness::of(row) == first);
    if let Some(first) = &first {
        for some in alike.chunks(ROWS) {
            write_alike(tx, first, some)?;
            tx.script.relieve().await?;
        }
    }
    for some in others.chunks(ROWS) {
        write(tx, some)?;
        tx.script.relieve().await?;
    }
    for row in rows {
        tx.moved(row.head.seq);
        tx.count(row.head.app, row.own, None, Some(row.state()));
    }
    Ok(())
}

fn write_alike(tx: &mut Tx<'_>, like: &Likeness<'_>, rows: &[&NewRow]) -> Result<(), sqlx::Error> {
    let rows: Vec<Lean<'_>> = rows.iter().map(|row| Lean(row)).collect();
    let mark = like.mark;
    let state = match mark {
        Some(_) => State::Sending,
        None => State::Queued,
    };
    // Materialized: else SQLite would make the row's text anew for each of its columns.
    tx.put(
        "with given as materialized (select value from json_each(?1))
         insert into job (seq, id, lane, receiver, args, size, key, key_hash, app, client, kind, state, stands, rank,
                          priority, run_ms, expires_ms, deadline_ms, labels, weight, attempt, mark_ms, mark_boot_ms,
                          mark_boot_id, created_ms)
         select value ->> 0, unhex(value ->> 1), value ->> 2, value ->> 2, value ->> 3, value ->> 4, value ->> 5,
                unhex(value ->> 6), ?2, ?3, ?4, ?5, 1, ?6, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16
           from given",
        &[
            text(&rows)?,
            like.app.0.into(),
            like.client.into(),
            like.kind.name().into(),
            state.name().into(),
            like.priority.rank().into(),
            like.due_ms.into(),
            like.expires_ms.into(),
            like.deadline_ms.into(),
            like.labels.into(),
            i64::from(like.weight).into(),
            i64::from(mark.is_some()).into(),
            mark.map(|mark| mark.wall_ms).into(),
            mark.map(|mark| mark.boot_ms).into(),
            mark.map(|mark| &*mark.boot_id).into(),
            tx.now.wall_ms.into(),
        ],
    )?;
    Ok(())
}

fn text(rows: &impl Serialize) -> Result<Arg, sqlx::Error> {
    let text = serde_json::to_string(rows);
    Ok(text
        .map_err(|error| sqlx::Error::Encode(Box::new(error)))?
        .into())
}

fn write(tx: &mut Tx<'_>, rows: &[&NewRow]) -> Result<(), sqlx::Error> {
    // Materialized: else SQLite would make the row's text anew for each of its columns.
    tx.put(
        "with given as materialized (select value from json_each(?1))
         insert into job (seq, id, app, client, kind, state, own, parent, role, lane, stands, blocked, rank, priority,
                          run_ms, delay_ms, expires_ms, deadline_ms, receiver, message, key, key_hash, labels, args,
                          resolved, size, weight, parts, dependents, on_doubt, on_refused, attempt, mark_ms,
                          mark_boot_ms, mark_boot_id, track, rung, degraded, uuid, fold, created_ms)
         select value ->> 0, unhex(value ->> 1), value ->> 2, value ->> 3, value ->> 4, value ->> 5, value ->> 6,
                value ->> 7, value ->> 8, value ->> 9, value ->> 10, value ->> 11, value ->> 12, value ->> 12,
                value ->> 13, value ->> 14, value ->> 15, value ->> 16, value ->> 17, value ->> 18, value ->> 19,
                unhex(value ->> 20), value ->> 21, value ->> 22, value ->> 23, value ->> 24, value ->> 25,
                value ->> 26, value ->> 27, value ->> 28, value ->> 29, value ->> 30, value ->> 31, value ->> 32,
                value ->> 33, value ->> 34, value ->> 35, value ->> 36, unhex(value ->> 37), value ->> 38, ?2
           from given",
        &[text(&rows)?, tx.now.wall_ms.into()],
    )?;
    Ok(())
}

/// `(parent, child, role)`.
pub(super) fn dependencies(
    tx: &mut Tx<'_>,
    list: &[(i64, i64, &'static str)],
) -> Result<(), sqlx::Error> {
    if list.is_empty() {
        return Ok(());
    }
    tx.put(
        "insert into dependency (parent, child, role)
         select value ->> 0, value ->> 1, value ->> 2 from json_each(?1)",
        &[json!(list).to_string().into()],
    )?;
    Ok(())
}

/// One job more hangs on each of those, as often as it is named.
pub(super) fn count_dependents(tx: &mut Tx<'_>, named: &[i64]) -> Result<(), sqlx::Error> {
    let mut counts: BTreeMap<i64, i64> = BTreeMap::new();
    for seq in named {
        *counts.entry(*seq).or_default() += 1;
    }
    if counts.is_empty() {
        return Ok(());
    }
    let counts: Vec<_> = counts.into_iter().collect();
    tx.put(
        "update job set dependents = dependents + given.n
           from (select value ->> 0 as seq, value ->> 1 as n from json_each(?1)) given
          where job.seq = given.seq",
        &[json!(counts).to_string().into()],
    )
}

/// `(job, n, args, count)`.
pub(super) fn parts(tx: &mut Tx<'_>, list: &[(i64, i64, &str, i64)]) -> Result<(), sqlx::Error> {
    if list.is_empty() {
        return Ok(());
    }
    tx.put(
        "insert into part (job, n, state, args, count)
         select value ->> 0, value ->> 1, 'queued', value ->> 2, value ->> 3 from json_each(?1)",
        &[json!(list).to_string().into()],
    )?;
    Ok(())
}
