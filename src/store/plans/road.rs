//! What the road of jobs has SQLite do: a store without a dispatcher, its statements heard.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::heard::Ear;
use crate::clock::Clock;
use crate::job::{
    Attempt, Door, Head, IncidentId, IncidentState, IncidentWrite, Marked, NewJob, Outcome, Permit,
    Priority, Reach, Spent, Steer, StormPlace, parse,
};
use crate::store::{
    Act, Age, Budget, Closer, Counted, Cursor, End, Filter, Finish, IncidentFilter, Name, Options,
    Store, UnknownMove,
};

/// A store, and what it says to SQLite.
pub(in crate::store) struct Yard {
    pub(super) folder: TempDir,
    pub(in crate::store) store: Store,
    pub(super) ear: Ear,
    closer: Closer,
}

impl Yard {
    pub(in crate::store) async fn open() -> Yard {
        let folder = tempfile::tempdir().unwrap();
        Yard::at(folder, "0s").await
    }

    /// Opens the database at another time.
    async fn at(folder: TempDir, shift: &str) -> Yard {
        std::fs::write(folder.path().join("clock"), shift).unwrap();
        let clock = Clock::moved_by(&folder.path().join("clock"));
        let path = folder.path().join("relay.db");
        let ear = Ear::to(&path);
        let options = Options {
            path,
            max_pending: 100_000,
            give_up_ms: 3_600_000,
            retention_ms: 86_400_000,
            content_retention_ms: 86_400_000,
            apps: vec![String::from("ops")],
            budgets: vec![Budget {
                urgent_sms: 10,
                urgent_phone: 10,
            }],
            months: Vec::new(),
        };
        let (store, closer) = Store::open(options, clock).await.unwrap();
        Yard {
            folder,
            store,
            ear,
            closer,
        }
    }

    /// A restart, so much later.
    async fn later(self, shift: &str) -> Yard {
        drop(self.store);
        self.closer.close().await;
        Yard::at(self.folder, shift).await
    }

    pub(in crate::store) async fn close(self) -> TempDir {
        drop(self.store);
        self.closer.close().await;
        self.folder
    }

    pub(super) async fn post(&self, jobs: Vec<NewJob>) -> Vec<i64> {
        let accepted = self.store.accept(jobs).await.unwrap();
        let ids: Vec<_> = accepted.iter().map(|one| one.id).collect();
        let jobs = self.store.jobs(&ids).await.unwrap();
        jobs.iter().map(|job| job.seq).collect()
    }

    pub(super) async fn mark(&self, seqs: &[i64]) -> Vec<Marked> {
        let marked = self.store.mark(seqs.to_vec()).await.unwrap();
        assert_eq!(marked.len(), seqs.len(), "what is queued is marked");
        marked
    }
}

/// May everything begin at once?
struct Gate(bool);

impl Permit for Gate {
    fn grant(&self, _: &Head) -> bool {
        self.0
    }
    fn withdraw(&self, _: &[Head]) {}
    fn born(&self, _: Vec<Marked>) {}
    fn stood(&self, _: Vec<Head>) {}
    fn steered(&self, _: Vec<Steer>) {}
    fn left(&self, _: Vec<(crate::job::AppId, Box<str>)>) {}
}

/// From now on free jobs are born marked, or are not.
pub(super) async fn set_free(store: &Store, free: bool) {
    store.attach(Arc::new(Gate(free))).await.unwrap();
}

pub(in crate::store) fn job(job: &Value) -> NewJob {
    let door = Door {
        apps: vec![String::from("ops")],
        bots: Vec::new(),
        allowed_apps: None,
        allowed_kinds: None,
        client: String::from("watchdog"),
        priority: Priority::Normal,
        expires_in_ms: None,
        labels: BTreeMap::new(),
        now_ms: Clock::system().wall_ms(),
        arrived: Vec::new(),
    };
    parse(job, "", &door).unwrap()
}

/// A message of that size to a chat of that number.
pub(in crate::store) fn send(chat: usize, bytes: usize) -> Value {
    json!({"kind": "send", "args": {"to": format!("oc_{chat}"), "text": "x".repeat(bytes)}})
}

fn with(mut job: Value, more: &Value) -> NewJob {
    let more = more.as_object().unwrap().clone();
    job.as_object_mut().unwrap().extend(more);
    self::job(&job)
}

/// The attempt of `marked` ended so.
pub(super) fn finish(marked: &Marked, end: End) -> Finish {
    Finish {
        head: marked.head.clone(),
        attempt: marked.attempt,
        part: marked.part.as_ref().map(|part| part.n),
        end,
        record: Attempt {
            at_ms: marked.mark.wall_ms,
            ms: Some(1),
            outcome: Outcome::Done,
            http: Some(200),
            code: Some(0),
            log_id: None,
            part: None,
            rung: None,
        },
        spent: Spent::default(),
        unknown: UnknownMove::Clear,
        verify: false,
        resent: false,
        degraded: None,
        counted: Some(Counted {
            again: false,
            lost: false,
        }),
        progress: None,
        readers: Vec::new(),
        answer: None,
    }
}

pub(super) fn done(marked: &Marked) -> Finish {
    let id = format!("om_{}", marked.id.hex());
    let end = End::Done {
        receipt: Some(json!({"message_id": id}).to_string()),
        message_id: Some(id),
    };
    finish(marked, end)
}

/// What several errands came to.
pub(super) fn statements(heard: &[String]) -> impl Iterator<Item = String> {
    let each = heard.iter().flat_map(|text| text.split(';'));
    each.map(|one| one.trim().to_owned())
        .filter(|one| !one.is_empty())
}

/// What was heard.
pub(super) struct Walk {
    pub(super) folder: TempDir,
    /// From the acceptance of jobs to their end.
    pub(super) road: BTreeSet<String>,
    /// With it what people ask, a restart, and what happens by time alone.
    pub(super) all: BTreeSet<String>,
}

/// Messages with keys, children and parts, from their acceptance to their end and beyond.
pub(super) async fn walk() -> Walk {
    let yard = Yard::open().await;
    let store = &yard.store;
    yard.ear.heard();
    let mut seqs = yard.post(vec![job(&send(1, 9)), job(&send(1, 9))]).await;
    for more in [
        json!({"key": "k"}),
        json!({"key": "k"}),
        json!({"then": [{"kind": "pin"}], "track": {"reads": {"every": "10m", "for": "1h"}}}),
        json!({"delay": "30m"}),
    ] {
        seqs.extend(yard.post(vec![with(send(2, 9), &more)]).await);
    }
    seqs.dedup();
    let people: Vec<String> = (0..250).map(|n| format!("ou_{n:032}")).collect();
    let batch = json!({"kind": "batch_send", "args": {"open_ids": people, "text": "x"}});
    seqs.extend(yard.post(vec![job(&batch)]).await);
    let edits = json!({"kind": "edit", "args": {"message": "om_a", "text": "x"}});
    seqs.extend(yard.post(vec![job(&edits), job(&edits)]).await);
    let filter = || Filter::default();
    let events = store.listen(filter(), None, None).await.unwrap();
    set_free(store, true).await;
    let born = yard.post(vec![job(&send(3, 9))]).await;
    set_free(store, false).await;

    // The dispatcher's own questions.
    let ops = store.apps()[0].0;
    let by_age = Cursor::Age(Age::default());
    let lanes = store.lanes_after(ops, 2, &by_age, 9).await;
    assert!(!lanes.unwrap().lanes.is_empty());
    let lanes = store.lanes_after(ops, 2, &Cursor::default(), 9).await;
    let lanes = lanes
        .unwrap()
        .lanes
        .into_iter()
        .map(|lane| (ops, lane.lane));
    let heads = store.heads(&lanes.collect::<Vec<_>>()).await.unwrap();
    assert!(!heads.is_empty());
    let left = store.left().await.unwrap();
    assert_eq!(left.len(), born.len());
    store
        .past_calls(std::time::Duration::from_secs(60))
        .await
        .unwrap();
    store.batches_today().await.unwrap();
    store.month_start().await.unwrap();

    let reach = Reach {
        lane: Some("oc_9".into()),
        ..Reach::default()
    };
    store.steer(Steer::Pause(reach.clone()), "").await.unwrap();
    let marked = store.mark(seqs).await.unwrap();
    assert!(marked.len() > 4, "{marked:?}");
    store.steer(Steer::Resume(reach), "").await.unwrap();
    let mut results: Vec<Finish> = marked.iter().skip(2).map(done).collect();
    let mut again = finish(
        &marked[0],
        End::Again {
            run_ms: marked[0].mark.wall_ms,
        },
    );
    again.unknown = UnknownMove::Begin(marked[0].mark.clone());
    results.push(again);
    let doubt = finish(
        &marked[1],
        End::InDoubt {
            fault: crate::job::Fault::default(),
        },
    );
    results.push(doubt);
    results.push(done(&left[0].marked));
    store.finish(results.into()).await.unwrap();
    while store.sweep().await.unwrap() {}
    drop(events);
    let road: BTreeSet<String> = statements(&yard.ear.heard()).collect();

    // Whoever asks: by what they may ask.
    let name = Name::Job(marked[2].id);
    store.job(&name).await.unwrap().unwrap();
    store
        .job(&Name::Message(String::from("om_a")))
        .await
        .unwrap();
    store.job(&Name::Batch(String::from("bm-a"))).await.unwrap();
    for filter in [
        filter(),
        Filter {
            key: Some(String::from("k")),
            ..filter()
        },
        Filter {
            message_id: Some(String::from("om_a")),
            ..filter()
        },
    ] {
        store.list(&filter).await.unwrap();
        store.notice(&filter).await.unwrap();
    }
    store.status().await.unwrap();
    store.act(marked[2].id, Act::Recall, "local").await.unwrap();
    incidents(store).await;

    let yard = yard.later("2h").await;
    while yard.store.sweep().await.unwrap() {}
    let yard = yard.later("80h").await;
    while yard.store.sweep().await.unwrap() {}
    let heard = yard.ear.heard();
    let all = road.iter().cloned().chain(statements(&heard)).collect();
    Walk {
        folder: yard.close().await,
        road,
        all,
    }
}

/// What is asked of incidents in words that are put together.
async fn incidents(store: &Store) {
    let digest = IncidentWrite {
        id: IncidentId::new(1),
        version: None,
        after: None,
        route: String::from("db"),
        group: String::from("g"),
        app: String::from("ops"),
        receiver: String::from("oc_a"),
        client: String::new(),
        state: IncidentState::Firing,
        severity: 4,
        title: String::new(),
        alerts: 1,
        tag: String::new(),
        body: String::from("{}"),
        is_digest: true,
        leave_digest: false,
        wants_digest: false,
        opened_ms: 1,
        ended_ms: None,
        due_ms: Some(1),
        message_id: None,
        steps: Vec::new(),
        members: Vec::new(),
        members_seen: None,
    };
    let id = digest.id;
    store.write_incidents(vec![digest]).await.unwrap();
    store.incidents_due(9).await.unwrap();
    store.incident_jobs(id).await.unwrap();
    let list = IncidentFilter {
        limit: 9,
        ..IncidentFilter::default()
    };
    store.list_incidents(&list).await.unwrap();
    store.open_incidents().await.unwrap();
    let place = StormPlace {
        route: String::from("db"),
        app: String::from("ops"),
        receiver: String::from("oc_a"),
    };
    store.weather(&place, 9).await.unwrap();
    store.waiting_members(&place).await.unwrap();
    store.wanting_members(&place, None).await.unwrap();
    store.members_of(id, 9).await.unwrap();
}
