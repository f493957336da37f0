//! Incidents over a fresh file, without a dispatcher; each with a second one that must not change.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::*;
use crate::clock::Clock;
use crate::job::{
    Attempt, Door, IncidentRole, Marked, NewJob, Outcome, Priority, Spent, State, Step, parse,
};
use crate::store::{Budget, Closer, End, Filter, Finish, Name, Options, Store, UnknownMove};

struct House {
    _folder: tempfile::TempDir,
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
        let (store, closer) = Store::open(options, Clock::system()).await.unwrap();
        House {
            _folder: folder,
            store,
            closer,
        }
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
    }
}

fn conflicts(error: &IncidentError) -> bool {
    matches!(error, IncidentError::Conflict)
}

#[tokio::test]
async fn an_incident_and_its_job_are_written_together_and_read_back() {
    let house = House::open().await;
    let other = new("other");
    house.put(with(other.clone(), vec![card("o")])).await;
    let first = IncidentWrite {
        due_ms: Some(7),
        body: String::from("{\"a\":1}"),
        ..with(new("g"), vec![card("t1")])
    };
    let ids = house.put(first.clone()).await;
    let row = house.store.incident_of("db", "g").await.unwrap().unwrap();
    assert_eq!((row.id, row.version, row.due_ms), (first.id, 1, Some(7)));
    assert_eq!(row.body, "{\"a\":1}");
    assert_eq!(row.jobs.len(), 1);
    let shown = &row.jobs[0];
    assert_eq!(
        (shown.id, shown.role, shown.tag.as_str()),
        (ids[0], IncidentRole::Card, "t1")
    );
    assert_eq!(
        (shown.state, shown.tried, shown.merged),
        (State::Queued, false, false)
    );
    let due = house.store.incidents_due(10).await.unwrap();
    assert_eq!(due.iter().map(|row| row.id).collect::<Vec<_>>(), [first.id]);
    assert_eq!(house.store.next_incident_due().await.unwrap(), Some(7));
    let open = house.store.open_incidents().await.unwrap();
    assert_eq!(open[&IncidentState::Firing], 2);
    assert_eq!(house.read(other.id).await.version, 1);
    assert_eq!(
        house
            .store
            .incident_of("db", "none")
            .await
            .unwrap()
            .map(|row| row.id),
        None
    );
    house.close().await;
}

#[tokio::test]
async fn whoever_writes_over_another_version_is_refused() {
    let house = House::open().await;
    let other = new("other");
    house.put(with(other.clone(), vec![card("o")])).await;
    let first = new("g");
    house.put(first.clone()).await;
    let row = house.read(first.id).await;
    house.put(next(&row, vec![])).await;
    assert!(conflicts(&house.refused(next(&row, vec![card("t")])).await));
    // A second one of the group must know the first; so one of two that are born at once is refused.
    assert!(conflicts(
        &house.refused(with(new("g"), vec![card("t")])).await
    ));
    let second = IncidentWrite {
        after: Some(first.id),
        ..new("g")
    };
    house.put(second.clone()).await;
    let third = IncidentWrite {
        after: Some(first.id),
        ..new("g")
    };
    assert!(conflicts(&house.refused(third).await));
    let newest = house.store.incident_of("db", "g").await.unwrap().unwrap();
    assert_eq!(newest.id, second.id);
    // All or nothing: the first of these fits.
    let fits = next(&house.read(second.id).await, vec![card("t")]);
    let both = vec![fits, next(&row, vec![])];
    let before = house.all().await;
    let error = house.store.write_incidents(both).await.unwrap_err();
    assert!(conflicts(&error));
    assert_eq!(house.all().await, before);
    house.close().await;
}

#[tokio::test]
async fn a_job_that_settles_makes_its_incident_due_and_refuses_who_has_not_seen_it() {
    let house = House::open().await;
    let (first, other) = (new("g"), new("other"));
    let ids = house.put(with(first.clone(), vec![card("t")])).await;
    house.put(with(other.clone(), vec![card("o")])).await;
    let before = house.read(first.id).await;
    let changed = house.store.incidents_changed();
    house.done(ids[0], "om_1").await;
    changed.notified().await;
    assert!(conflicts(&house.refused(next(&before, vec![])).await));
    let due = house.store.incidents_due(10).await.unwrap();
    assert_eq!(due.len(), 1);
    let row = &due[0];
    assert_eq!(row.id, first.id);
    assert_eq!(row.jobs[0].state, State::Done);
    assert_eq!(row.jobs[0].message_id.as_deref(), Some("om_1"));
    let noticed = IncidentWrite {
        due_ms: None,
        message_id: Some(String::from("om_1")),
        ..next(row, vec![Step::Forget { job: ids[0] }])
    };
    house.put(noticed).await;
    let row = house.read(first.id).await;
    assert!(row.jobs.is_empty() && row.due_ms.is_none());
    assert_eq!(row.message_id.as_deref(), Some("om_1"));
    assert_eq!(house.store.incident_jobs(first.id).await.unwrap().len(), 1);
    let other = house.read(other.id).await;
    assert_eq!((other.version, other.due_ms), (1, None));
    house.close().await;
}
