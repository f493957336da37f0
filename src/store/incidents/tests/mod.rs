//! Incidents over a fresh file, without a dispatcher; each with a second one that must not change.

mod merged;
mod restored;
mod written;

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::*;
use crate::clock::Clock;
use crate::job::{
    Attempt, Door, IncidentRole, Marked, Member, NewJob, Outcome, Priority, Spent, State, Step,
    parse,
};
use crate::store::{Act, Budget, Closer, End, Filter, Finish, Name, Options, Store, UnknownMove};

struct House {
    folder: tempfile::TempDir,
    options: Options,
    store: Store,
    closer: Closer,
}

impl House {
    async fn open() -> House {
        House::of(100).await
    }

    async fn of(max_pending: u64) -> House {
        let folder = tempfile::tempdir().unwrap();
        let options = options(folder.path(), max_pending);
        House::at(folder, options, "0s").await
    }

    /// Opens the database at another time.
    async fn at(folder: tempfile::TempDir, options: Options, shift: &str) -> House {
        let clock = folder.path().join("clock");
        std::fs::write(&clock, shift).unwrap();
        let clock = Clock::moved_by(&clock);
        let (store, closer) = Store::open(options.clone(), clock).await.unwrap();
        House {
            folder,
            options,
            store,
            closer,
        }
    }

    /// A restart, so much later; then all that is due by time.
    async fn later(self, shift: &str) -> House {
        drop(self.store);
        self.closer.close().await;
        let house = House::at(self.folder, self.options, shift).await;
        while house.store.sweep().await.unwrap() {}
        house
    }

    async fn close(self) {
        drop(self.store);
        self.closer.close().await;
    }

    async fn put(&self, write: IncidentWrite) -> Vec<JobId> {
        let mut ids = self.store.write_incidents(vec![write]).await.unwrap();
        ids.remove(0)
    }

    async fn refused(&self, write: IncidentWrite) -> IncidentError {
        let before = self.all().await;
        let error = self.store.write_incidents(vec![write]).await.unwrap_err();
        assert_eq!(self.all().await, before, "a refused write leaves nothing");
        error
    }

    /// Everything that can be seen of incidents and jobs.
    async fn all(&self) -> String {
        let filter = IncidentFilter {
            limit: 200,
            ..IncidentFilter::default()
        };
        let page = self.store.list_incidents(&filter).await.unwrap();
        let mut all = String::new();
        for row in page.incidents {
            // A list leaves the bodies out.
            let row = self.read(row.id).await;
            let jobs = self.store.incident_jobs(row.id).await.unwrap();
            all += &format!("{row:?} {jobs:?}\n");
        }
        let filter = Filter {
            limit: 200,
            ..Filter::default()
        };
        let jobs = self.store.list(&filter).await.unwrap().jobs;
        all + &serde_json::to_string(&jobs).unwrap()
    }

    async fn read(&self, id: IncidentId) -> IncidentRow {
        self.store.incident(id).await.unwrap().unwrap()
    }

    async fn job(&self, id: JobId) -> Value {
        let job = self.store.job(&Name::Job(id)).await.unwrap().unwrap();
        serde_json::to_value(job).unwrap()
    }

    async fn mark(&self, id: JobId) -> Option<Marked> {
        let seq = self.store.job(&Name::Job(id)).await.unwrap().unwrap().seq;
        self.store.mark(vec![seq]).await.unwrap().pop()
    }

    async fn finish(&self, marked: &Marked, end: End, unknown: UnknownMove) {
        let finish = Finish {
            head: marked.head.clone(),
            attempt: marked.attempt,
            part: None,
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
            unknown,
            verify: false,
            resent: false,
            degraded: None,
            counted: None,
            progress: None,
            readers: Vec::new(),
            answer: None,
        };
        self.store.finish(vec![finish].into()).await.unwrap();
    }

    async fn done(&self, id: JobId, message: &str) {
        let marked = self.mark(id).await.unwrap();
        let end = End::Done {
            receipt: Some(json!({"message_id": message}).to_string()),
            message_id: Some(message.to_owned()),
        };
        self.finish(&marked, end, UnknownMove::Clear).await;
    }

    /// Its attempt ended with an unknown outcome, and it waits for the next.
    async fn unknown(&self, id: JobId) {
        let marked = self.mark(id).await.unwrap();
        let end = End::Again {
            run_ms: marked.mark.wall_ms,
        };
        let begin = UnknownMove::Begin(marked.mark.clone());
        self.finish(&marked, end, begin).await;
    }
}

fn options(folder: &std::path::Path, max_pending: u64) -> Options {
    Options {
        path: folder.join("relay.db"),
        max_pending,
        give_up_ms: 3_600_000,
        retention_ms: 86_400_000,
        content_retention_ms: 86_400_000,
        apps: vec![String::from("ops")],
        budgets: vec![Budget {
            urgent_sms: 0,
            urgent_phone: 0,
        }],
        months: Vec::new(),
    }
}

fn job(job: Value) -> Box<NewJob> {
    let door = Door {
        apps: vec![String::from("ops")],
        bots: Vec::new(),
        allowed_apps: None,
        allowed_kinds: None,
        client: String::from("alertmanager"),
        priority: Priority::Normal,
        expires_in_ms: None,
        labels: BTreeMap::new(),
        now_ms: Clock::system().wall_ms(),
        arrived: Vec::new(),
    };
    Box::new(parse(&job, "", &door).unwrap())
}

fn send(text: &str) -> Value {
    json!({"kind": "send", "args": {"to": "oc_a", "text": text}})
}

fn enqueue(role: IncidentRole, tag: &str, new: Value) -> Step {
    Step::Enqueue {
        role,
        n: 0,
        tag: tag.to_owned(),
        job: job(new),
        bounded: true,
    }
}

fn card(tag: &str) -> Step {
    enqueue(IncidentRole::Card, tag, send(tag))
}

fn new(group: &str) -> IncidentWrite {
    IncidentWrite {
        id: IncidentId::new(Clock::system().wall_ms()),
        version: None,
        after: None,
        route: String::from("db"),
        group: group.to_owned(),
        app: String::from("ops"),
        receiver: String::from("oc_a"),
        client: String::from("alertmanager"),
        state: IncidentState::Firing,
        severity: 4,
        title: String::from("disk full"),
        alerts: 1,
        tag: String::from("t"),
        body: String::from("{}"),
        is_digest: false,
        leave_digest: false,
        wants_digest: false,
        opened_ms: 1,
        ended_ms: None,
        due_ms: None,
        message_id: None,
        steps: Vec::new(),
        members: Vec::new(),
        members_seen: None,
    }
}

fn with(write: IncidentWrite, steps: Vec<Step>) -> IncidentWrite {
    IncidentWrite { steps, ..write }
}

/// What `row` becomes when only that changes.
fn next(row: &IncidentRow, steps: Vec<Step>) -> IncidentWrite {
    IncidentWrite {
        id: row.id,
        version: Some(row.version),
        after: None,
        route: row.route.clone(),
        group: row.group.clone(),
        app: row.app.clone(),
        receiver: row.receiver.clone(),
        client: row.client.clone(),
        state: row.state,
        severity: row.severity,
        title: row.title.clone(),
        alerts: row.alerts,
        tag: row.tag.clone(),
        body: row.body.clone(),
        is_digest: row.is_digest,
        leave_digest: false,
        wants_digest: row.wants_digest,
        opened_ms: row.opened_ms,
        ended_ms: row.ended_ms,
        due_ms: row.due_ms,
        message_id: row.message_id.clone(),
        steps,
        members: Vec::new(),
        members_seen: None,
    }
}

fn conflicts(error: &IncidentError) -> bool {
    matches!(error, IncidentError::Conflict)
}

fn job_args(text: &str) -> Value {
    serde_json::from_str(&job(send(text)).args).unwrap()
}
