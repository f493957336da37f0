//! Jobs as they stand at their acceptance, told from what was just written rather than read back.
//!
//! Reading a job takes several questions to another thread; at full load that cost ten times what its insert
//! did. What a fresh job waits for is asked once for all of the batch, in its transaction.
//! Not here: jobs with others below or before them, parts or uploads, and long lists: those are read (`read`).

use std::collections::HashMap;

use serde_json::json;
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use crate::job::{Job, Kind, State, WaitingFor};
use crate::store::Accepted;
use crate::store::insert::NewRow;
use crate::store::read::public_lane;
use crate::store::writer::Tx;

/// Jobs of one request that are told so; what they say stays in memory until it is sent.
pub(super) const JOBS_MAX: usize = 16;

/// Nothing stands elsewhere that its answer names.
pub(super) fn is_simple(row: &NewRow) -> bool {
    !row.own
        && row.parent.is_none()
        && row.dependents == 0
        && row.blocked == 0
        && row.parts == 0
        && row.head.kind != Kind::BatchSend
        // Whether a newer one goes first is known when the whole batch is.
        && !row.head.kind.folds()
}

/// Those of `rows`, which are put into the table; what those wait for whose time has come is told with the commit.
pub(super) fn told(tx: &mut Tx<'_>, rows: &[&NewRow]) -> Result<Vec<Job>, sqlx::Error> {
    ask(tx, rows)?;
    let jobs = rows.iter().filter_map(|row| {
        // A job that may not begin yet waits for its time, whoever stands before it.
        let is_early = row.state() == State::Queued && !row.stands;
        let waiting_for = is_early.then_some(WaitingFor::Schedule);
        job(tx, row, waiting_for)
    });
    Ok(jobs.collect())
}

/// Completes what is told of jobs, once it is known what they wait for.
pub(super) fn tell(accepted: &mut [Accepted], waiting: &HashMap<i64, WaitingFor>) {
    for job in accepted.iter_mut().filter_map(|one| one.fresh.as_mut()) {
        if let Some(why) = waiting.get(&job.seq) {
            job.waiting_for = Some(*why);
        }
    }
}

/// Asks what those wait for whose time has come: `read::waiting_for`, for jobs that were never tried.
/// The likeliest first, for the rest is not looked at then.
fn ask(tx: &mut Tx<'_>, rows: &[&NewRow]) -> Result<(), sqlx::Error> {
    let standing = rows.iter().filter(|row| row.stands && row.mark.is_none());
    let wanted: Vec<i64> = standing.map(|row| row.head.seq).collect();
    if wanted.is_empty() {
        return Ok(());
    }
    let calls: serde_json::Map<_, _> = rows
        .iter()
        .map(|row| {
            (
                row.head.kind.name().to_owned(),
                json!(row.head.api().name()),
            )
        })
        .collect();
    let free: serde_json::Map<_, _> = Kind::all()
        .filter(|kind| !kind.api().endpoint().counted)
        .map(|kind| (kind.name().to_owned(), json!(1)))
        .collect();
    let asked = tx.script.ask(
        "select job.seq,
                exists (select 1 from pause
                         where pause.app in (0, job.app) and pause.lane in ('', job.lane) and api in ('', ?2 ->> job.kind)
                           and not (spares = 'high' and (job.priority = 1 or (?3 ->> job.kind) is not null))),
                case when exists (select 1 from job other where other.state = 'queued' and other.stands = 1
                                     and other.app = job.app and other.rank = job.rank and other.lane = job.lane
                                     and other.seq < job.seq) then 1
                     when exists (select 1 from job other where other.state = 'queued' and other.stands = 1
                                     and other.app = job.app and other.rank = 0 and other.lane = job.lane) then 1
                     when job.rank > 1 and
                          exists (select 1 from job other where other.state = 'queued' and other.stands = 1
                                     and other.app = job.app and other.rank = 1 and other.lane = job.lane) then 1
                     when job.rank > 2 and
                          exists (select 1 from job other where other.state = 'queued' and other.stands = 1
                                     and other.app = job.app and other.rank = 2 and other.lane = job.lane) then 1
                     else exists (select 1 from job other where other.state = 'sending' and other.app = job.app
                                     and other.lane = job.lane) end
           from json_each(?1) wanted
          cross join job on job.seq = wanted.value",
        &[
            json!(wanted).to_string().into(),
            serde_json::Value::Object(calls).to_string().into(),
            serde_json::Value::Object(free).to_string().into(),
        ],
    )?;
    tx.changes.asked = Some(asked);
    Ok(())
}

/// What those wait for that were asked about.
pub(super) fn waiting(rows: &[SqliteRow]) -> HashMap<i64, WaitingFor> {
    let waits = rows.iter().map(|row| {
        let why = match (row.get::<bool, _>(1), row.get::<bool, _>(2)) {
            (true, _) => WaitingFor::App,
            (false, true) => WaitingFor::Lane,
            (false, false) => WaitingFor::Limit,
        };
        (row.get(0), why)
    });
    waits.collect()
}

/// `None`: of an app that is not configured.
fn job(tx: &Tx<'_>, row: &NewRow, waiting_for: Option<WaitingFor>) -> Option<Job> {
    let head = &row.head;
    let (_, app) = tx.apps.iter().find(|(id, _)| *id == head.app)?;
    let to = head.receiver.as_deref().or(head.message.as_deref());
    Some(Job {
        seq: head.seq,
        id: row.id,
        kind: head.kind,
        app: app.clone(),
        client: row.client.clone(),
        to: to.map(str::to_owned),
        state: row.state(),
        waiting_for,
        key: row.key.as_ref().map(|(text, _)| text.clone()),
        lane: public_lane(&head.lane).map(str::to_owned),
        priority: head.priority,
        labels: serde_json::from_str(&row.labels).unwrap_or_default(),
        args: None,
        created_ms: tx.now.wall_ms,
        run_ms: head.due_ms,
        expires_ms: row.expires_ms,
        finished_ms: None,
        attempts: Vec::new(),
        actions: Vec::new(),
        receipt: None,
        degraded: row.degraded.clone(),
        parts: Vec::new(),
        doubt: None,
        error: None,
        parent: None,
        children: Vec::new(),
        progress: None,
        track: row.track.clone(),
        reads: None,
        recall: None,
        recalled_ms: None,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::clock::Clock;
    use crate::job::{Door, NewJob, Priority, Reach, Steer, parse};
    use crate::store::{Accepted, Budget, Closer, Options, Store};

    async fn open(folder: &std::path::Path) -> (Store, Closer) {
        let options = Options {
            path: folder.join("relay.db"),
            max_pending: 100,
            give_up_ms: 3_600_000,
            retention_ms: 86_400_000,
            content_retention_ms: 86_400_000,
            apps: vec![String::from("ops")],
            budgets: vec![Budget {
                urgent_sms: 0,
                urgent_phone: 0,
            }],
            months: Vec::new(),
        };
        Store::open(options, Clock::system()).await.unwrap()
    }

    fn job(job: Value) -> NewJob {
        let door = Door {
            apps: vec![String::from("ops")],
            bots: Vec::new(),
            allowed_apps: None,
            allowed_kinds: None,
            client: String::from("watchdog"),
            priority: Priority::Normal,
            expires_in_ms: None,
            labels: std::collections::BTreeMap::new(),
            now_ms: Clock::system().wall_ms(),
            arrived: Vec::new(),
        };
        parse(&job, "", &door).unwrap()
    }

    fn send(to: &str) -> Value {
        json!({"kind": "send", "args": {"to": to, "text": "x"}})
    }

    fn with(mut job: Value, more: Value) -> Value {
        let more = more.as_object().unwrap().clone();
        job.as_object_mut().unwrap().extend(more);
        job
    }

    /// Each is told as it is read, and waits for that.
    async fn check(store: &Store, jobs: Vec<Value>, waits: &[&str]) -> Vec<Accepted> {
        let jobs = jobs.into_iter().map(job).collect();
        let accepted = store.accept(jobs).await.unwrap();
        for (one, waits) in accepted.iter().zip(waits) {
            let told = serde_json::to_value(one.fresh.as_ref().unwrap()).unwrap();
            let read = store.jobs(&[one.id]).await.unwrap();
            assert_eq!(told, serde_json::to_value(&read[0]).unwrap());
            assert_eq!(told["waiting_for"], *waits, "{told}");
        }
        accepted
    }

    #[tokio::test]
    async fn a_fresh_job_is_told_as_it_would_be_read() {
        let folder = tempfile::tempdir().unwrap();
        let (store, closer) = open(folder.path()).await;
        let first = check(&store, vec![send("oc_a")], &["limit"]).await;
        check(&store, vec![send("oc_a")], &["lane"]).await;
        let priority = |one: &str| with(send("oc_a"), json!({"priority": one}));
        check(&store, vec![priority("low")], &["lane"]).await;
        check(&store, vec![priority("high")], &["limit"]).await;
        check(&store, vec![priority("high")], &["lane"]).await;
        check(
            &store,
            vec![send("oc_b"), priority("low"), send("oc_b")],
            &["limit", "lane", "lane"],
        )
        .await;
        let later = with(send("oc_c"), json!({"delay": "1h", "expires_in": "2h"}));
        check(&store, vec![later], &["schedule"]).await;
        let all = json!({"key": "k", "labels": {"team": "db"}, "track": {"reads": {"every": "10m", "for": "1h"}}});
        let named = check(&store, vec![with(send("oc_d"), all)], &["limit"]).await;
        let pin = json!({"kind": "pin", "args": {"message": "om_x"}});
        check(&store, vec![pin.clone()], &["limit"]).await;
        check(&store, vec![pin], &["lane"]).await;

        // One that is under way is before them, too.
        let seq = |one: &Accepted| one.fresh.as_ref().unwrap().seq;
        let marked = store.mark(vec![seq(&named[0])]).await.unwrap();
        assert_eq!(marked.len(), 1);
        check(&store, vec![send("oc_d")], &["lane"]).await;
        let reach = Reach {
            lane: Some("oc_a".into()),
            ..Reach::default()
        };
        store.steer(Steer::Pause(reach), "").await.unwrap();
        check(&store, vec![send("oc_a"), send("oc_e")], &["app", "limit"]).await;
        assert!(!first[0].repeated);
        drop(store);
        closer.close().await;
    }

    #[tokio::test]
    async fn what_hangs_together_comes_in_crowds_or_was_there_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let (store, closer) = open(folder.path()).await;
        let family = with(send("oc_a"), json!({"then": [{"kind": "pin"}]}));
        let keyed = with(send("oc_b"), json!({"key": "k"}));
        check(&store, vec![keyed.clone()], &["limit"]).await;
        for jobs in [vec![family], vec![keyed], vec![send("oc_c"); 17]] {
            let told = check(&store, jobs, &[]).await;
            assert!(told.iter().all(|one| one.fresh.is_none()));
        }
        drop(store);
        closer.close().await;
    }
}
