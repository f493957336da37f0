//! How SQLite goes about each statement: by an index, and never through a table.
//!
//! Every statement of `store` is explained on a fresh schema: those that stand in the sources (`text`), and those
//! that are put together, as they are heard on the road of some jobs (`heard`, `road`). Without `analyze` SQLite plans by the
//! schema alone, so the plan of an empty table is that of a full one. Where a plan does go through something, it is named
//! here with the reason why that is small.

mod cost;
mod heard;
pub(super) mod road;
mod text;

use std::collections::BTreeSet;

use sqlx::sqlite::SqliteConnection;
use sqlx::{AssertSqlSafe, Row};

use self::road::Walk;
use self::text::{Written, written};
use crate::store::open;

/// Tables that are small by what they are, wherever a plan goes through them whole.
const SMALL: [(&str, &str); 5] = [
    ("app", "one row for each app that the config ever named"),
    ("counter", "one row for each app and state"),
    (
        "pause",
        "10 000 by hand at most (`pause::PAUSES_MAX`), and the dispatcher's few",
    ),
    (
        "folding",
        "one row is taken from it; long lists of updates that are being ended",
    ),
    (
        "merging",
        "one row is taken from it; digests whose members are being told",
    ),
];

/// Plans that go through something: how the statement begins, what of its plan, and why that is small.
const KNOWN: [(&str, &str, &str); 17] = [
    (
        "select seq, id, app, kind, lane, priority, run_ms",
        "job_sending",
        "asked once a start: marks without a result, as many as were under way",
    ),
    (
        "select seq, id, app, kind, lane, priority, run_ms",
        "FOR ORDER BY",
        "the same",
    ),
    (
        "select sha256 from upload",
        "SCAN upload",
        "asked once a start, of files that lie in one folder, which is read too",
    ),
    (
        "update incident set due_ms = min(coalesce(due_ms, ?1), ?1), version = version + 1 where state",
        "SCAN incident",
        "once, when a copy is put back by hand",
    ),
    (
        "select route, state, count(*) from incident",
        "incident_open",
        "an index of the open ones alone, which are what it counts",
    ),
    (
        "select receipt ->> 'chat_id' from (select app, receiver, receipt from job order by seq desc limit ?3)",
        "SCAN job",
        "the newest rows, as many as its limit says; once a look at what is in doubt",
    ),
    (
        "with recursive who(app, client)",
        "FOR ORDER BY",
        "one row for each client that has this key",
    ),
    (
        "select job.* from ( with recursive",
        "FOR ORDER BY",
        "the same",
    ),
    (
        "select job.seq, id, kind, state, receiver, recalled_ms, readers from ( with recursive",
        "FOR ORDER BY",
        "the same",
    ),
    (
        "select app.name, max(newest.finished_ms)",
        "FOR GROUP BY",
        "asked once a start, of the newest that ended, as many as its limit says",
    ),
    (
        "select job.app, job.client, job.uuid",
        "FOR ORDER BY",
        "one row for each job of a uuid of these requests",
    ),
    (
        "select job.* from json_each(?1) wanted",
        "FOR ORDER BY",
        "64 rows at most, as they were named",
    ),
    (
        "select job.seq, job.id, app.name as app_name",
        "FOR ORDER BY",
        "what one batch moved, and only while somebody listens",
    ),
    (
        "insert into merging",
        "FOR DISTINCT",
        "what one batch ended of incidents",
    ),
    (
        "select distinct job from part",
        "FOR DISTINCT",
        "the parts of one batch that was taken back",
    ),
    (
        "select reader.job, user_id, read_ms",
        "FOR ORDER BY",
        "a person asks for names: at most 10 001 go out",
    ),
    (
        "select coalesce(app.name, ''), lane, api, by, code, reason",
        "FOR ORDER BY",
        "all that is paused, for a person",
    ),
];

/// A line of a plan that goes through something, or builds something to go through.
fn is_fault(line: &str, plan: &[String]) -> bool {
    if line.contains("TEMP B-TREE") || line.contains("AUTOMATIC") {
        return true;
    }
    let Some(scanned) = line.strip_prefix("SCAN ") else {
        return false;
    };
    let table = scanned.split(' ').next().unwrap_or_default();
    let made = plan.iter().any(|one| {
        one.strip_prefix("MATERIALIZE ") == Some(table)
            || one.strip_prefix("CO-ROUTINE ") == Some(table)
    });
    let small = SMALL.iter().any(|(name, _)| *name == table);
    !(made || small || scanned.contains("VIRTUAL TABLE") || table == "CONSTANT")
}

/// How SQLite would go about it; `Err`: it is no whole statement.
async fn plan(conn: &mut SqliteConnection, text: &str) -> Result<Vec<String>, sqlx::Error> {
    let ask = format!("explain query plan {text}");
    let rows = sqlx::query(AssertSqlSafe(ask)).fetch_all(conn).await?;
    Ok(rows.iter().map(|row| row.get("detail")).collect())
}

/// A statement of which this is a piece.
fn is_piece(piece: &str, heard: &BTreeSet<String>) -> bool {
    heard.iter().any(|heard| heard.contains(piece))
}

/// A statement that was made by putting something between these.
fn is_made_of(pieces: &[String], heard: &BTreeSet<String>) -> bool {
    heard.iter().any(|heard| {
        let mut rest = heard.as_str();
        pieces.iter().all(|piece| {
            let at = rest.find(piece.as_str());
            rest = at.map_or("", |at| &rest[at + piece.len()..]);
            at.is_some()
        })
    })
}

/// Is there a plan to be asked for? Transactions and what sqlx keeps for itself have none.
fn is_explained(text: &str) -> bool {
    const WITHOUT: [&str; 6] = ["begin", "commit", "rollback", "pragma", "create", "drop"];
    let verb = text.split(' ').next().unwrap_or_default().to_lowercase();
    !WITHOUT.contains(&verb.as_str()) && !text.contains("_sqlx_migrations")
}

/// The statements of the sources that can be explained; what cannot must have been heard.
async fn of_the_sources(
    conn: &mut SqliteConnection,
    heard: &BTreeSet<String>,
    faults: &mut Vec<String>,
) -> BTreeSet<String> {
    let mut whole = BTreeSet::new();
    for one in written() {
        let pieces = one.pieces();
        let Written { file, text } = one;
        if let Some(pieces) = pieces {
            if !is_made_of(&pieces, heard) {
                faults.push(format!(
                    "{file}: put together, and not heard; walk over it in `road`:\n    {text}"
                ));
            }
        } else if plan(&mut *conn, &text).await.is_ok() {
            whole.insert(text);
        } else if !is_piece(&text, heard) {
            faults.push(format!(
                "{file}: no statement, nor a piece of one that was heard:\n    {text}"
            ));
        }
    }
    whole
}

#[tokio::test]
async fn no_statement_goes_through_a_table() {
    let Walk { folder, road, all } = road::walk().await;
    let mut conn = open::connect_writer(&folder.path().join("relay.db"))
        .await
        .unwrap();
    let mut faults = Vec::new();
    let written = of_the_sources(&mut conn, &all, &mut faults).await;
    let (mut used, mut shown) = (BTreeSet::new(), String::new());
    for text in written.union(&all).filter(|text| is_explained(text)) {
        let plan = match plan(&mut conn, text).await {
            Ok(plan) => plan,
            Err(error) => {
                faults.push(format!("{error}\n    {text}"));
                continue;
            }
        };
        if road.contains(text) {
            let words: String = text.chars().take(110).collect();
            shown += &format!("{words}\n    {}\n", plan.join("\n    "));
        }
        for line in plan.iter().filter(|line| is_fault(line, &plan)) {
            let known = |(begins, what, _): &(&str, &str, &str)| {
                text.starts_with(begins) && line.contains(what)
            };
            match KNOWN.iter().position(known) {
                Some(at) => drop(used.insert(at)),
                None => faults.push(format!("{line}\n    {text}")),
            }
        }
    }
    let unused = (0..KNOWN.len()).filter(|at| !used.contains(at));
    faults
        .extend(unused.map(|at| format!("not so any more; take it out of KNOWN: {:?}", KNOWN[at])));
    assert!(
        faults.is_empty(),
        "{} faults\n{}",
        faults.len(),
        faults.join("\n")
    );
    insta::assert_snapshot!("road", shown);
}
