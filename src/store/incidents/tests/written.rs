//! Incidents and their jobs are written together, over what was read.

use super::*;

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
    assert_eq!(open.values().sum::<u64>(), 2);
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

#[tokio::test]
async fn a_job_that_nobody_tried_says_something_else_and_one_that_was_does_not() {
    let house = House::open().await;
    let (first, other) = (new("g"), new("other"));
    let ids = house.put(with(first.clone(), vec![card("old")])).await;
    let others = house.put(with(other.clone(), vec![card("o")])).await;
    let replace = |tag: &str| Step::Replace {
        job: ids[0],
        args: job(send(tag)).args,
        expires_ms: Some(i64::MAX / 2),
        degraded: None,
        tag: tag.to_owned(),
    };
    let row = house.read(first.id).await;
    house.put(next(&row, vec![replace("newest")])).await;
    let told = house.job(ids[0]).await;
    assert_eq!(told["args"], job_args("newest"), "{told}");
    assert!(told["expires_at"].is_string());
    let row = house.read(first.id).await;
    assert_eq!(row.jobs[0].tag, "newest");
    // Once it is marked, what it says is out.
    let marked = house.mark(ids[0]).await.unwrap();
    assert_eq!(marked.args.as_ref(), job(send("newest")).args);
    assert!(conflicts(
        &house.refused(next(&row, vec![replace("late")])).await
    ));
    // A mark that is taken back never left.
    let marks = vec![(marked.head.seq, marked.attempt)];
    house.store.take_back(marks).await.unwrap();
    let row = house.read(first.id).await;
    house.put(next(&row, vec![replace("again")])).await;
    house.unknown(ids[0]).await;
    let row = house.read(first.id).await;
    assert!(row.jobs[0].tried && row.jobs[0].unknown);
    assert!(conflicts(
        &house.refused(next(&row, vec![replace("late")])).await
    ));
    // A job of another incident is nobody's to change.
    let foreign = Step::Cancel {
        job: others[0],
        why: String::new(),
    };
    assert!(conflicts(&house.refused(next(&row, vec![foreign])).await));
    let other = house.job(others[0]).await;
    assert_eq!(
        (&other["state"], &other["args"]),
        (&json!("queued"), &job_args("o"))
    );
    house.close().await;
}

#[tokio::test]
async fn a_job_that_is_not_wanted_ends_and_one_that_may_have_been_sent_is_in_doubt() {
    let house = House::open().await;
    let (first, second, other) = (new("g"), new("h"), new("other"));
    let clean = house.put(with(first.clone(), vec![card("t")])).await[0];
    let tried = house.put(with(second.clone(), vec![card("t")])).await[0];
    let others = house.put(with(other.clone(), vec![card("o")])).await;
    let cancel = |job| Step::Cancel {
        job,
        why: String::from("the state is another"),
    };
    house.unknown(tried).await;
    for (id, job, state) in [
        (first.id, clean, "canceled"),
        (second.id, tried, "in_doubt"),
    ] {
        let row = house.read(id).await;
        // The new one comes in the same write, and is the first that may go.
        let ids = house
            .put(next(&row, vec![cancel(job), card("newer")]))
            .await;
        let told = house.job(job).await;
        assert_eq!(told["state"], state);
        assert_eq!(told["actions"][0]["what"], "cancel: the state is another");
        assert_eq!(house.job(ids[0]).await["state"], "queued");
        // The end of the old one is news, even though it was asked for.
        let row = house.read(id).await;
        assert!(row.due_ms.is_some());
        assert!(conflicts(
            &house.refused(next(&row, vec![cancel(job)])).await
        ));
        house.put(next(&row, vec![Step::Forget { job }])).await;
        let row = house.read(id).await;
        assert_eq!(row.jobs.iter().map(|job| job.id).collect::<Vec<_>>(), ids);
        let waits = Step::Forget { job: ids[0] };
        assert!(conflicts(&house.refused(next(&row, vec![waits])).await));
    }
    assert_eq!(house.job(others[0]).await["state"], "queued");
    house.close().await;
}

#[tokio::test]
async fn what_a_person_does_to_a_forgotten_job_is_news_again() {
    let house = House::open().await;
    let (first, other) = (new("g"), new("other"));
    let ids = house.put(with(first.clone(), vec![card("t")])).await;
    house.put(with(other.clone(), vec![card("o")])).await;
    house.store.act(ids[0], Act::Cancel, "local").await.unwrap();
    let forget = Step::Forget { job: ids[0] };
    let row = house.read(first.id).await;
    let calm = IncidentWrite {
        due_ms: None,
        ..next(&row, vec![forget])
    };
    house.put(calm).await;
    let calm = house.read(first.id).await;
    assert!(calm.jobs.is_empty() && calm.due_ms.is_none());
    let retry = Act::Retry {
        expires_in_ms: None,
    };
    house.store.act(ids[0], retry, "local").await.unwrap();
    let row = house.read(first.id).await;
    assert_eq!(row.jobs[0].state, State::Queued);
    assert!(row.due_ms.is_some() && row.version > calm.version);
    let other = house.read(other.id).await;
    assert_eq!((other.version, other.due_ms), (1, None));
    house.close().await;
}

#[tokio::test]
async fn a_full_queue_refuses_what_producers_bring_and_takes_what_incidents_need() {
    let house = House::of(1).await;
    let first = new("g");
    house.put(with(first.clone(), vec![card("t")])).await;
    let row = house.read(first.id).await;
    let full = house.refused(with(new("h"), vec![card("t")])).await;
    assert!(matches!(full, IncidentError::Full), "{full}");
    let update = json!({"kind": "pin", "args": {"message": "om_1"}});
    let needed = Step::Enqueue {
        role: IncidentRole::Pin,
        n: 0,
        tag: String::new(),
        job: job(update),
        bounded: false,
    };
    house.put(next(&row, vec![needed])).await;
    let lost = json!({"kind": "pin", "args": {"message": JobId::new(1, 1, 1).to_string()}});
    let row = house.read(first.id).await;
    let write = next(&row, vec![enqueue(IncidentRole::Pin, "", lost)]);
    let flawed = house.refused(write).await;
    assert!(matches!(flawed, IncidentError::Flawed(_)), "{flawed}");
    house.close().await;
}

#[tokio::test]
async fn a_held_job_goes_when_it_is_let_go() {
    let house = House::open().await;
    let (first, other) = (new("g"), new("other"));
    let held = |tag: &str| {
        let mut new = send(tag);
        new["delay"] = json!("1h");
        enqueue(IncidentRole::Card, tag, new)
    };
    let ids = house.put(with(first.clone(), vec![held("t")])).await;
    let others = house.put(with(other.clone(), vec![held("o")])).await;
    assert!(house.mark(ids[0]).await.is_none());
    let row = house.read(first.id).await;
    house
        .put(next(&row, vec![Step::Release { job: ids[0] }]))
        .await;
    assert!(house.mark(ids[0]).await.is_some());
    assert!(house.mark(others[0]).await.is_none());
    assert_eq!(house.job(others[0]).await["waiting_for"], "schedule");
    house.close().await;
}

#[tokio::test]
async fn an_incident_that_is_over_goes_with_time_and_one_that_fires_stays() {
    let house = House::open().await;
    let (over, doubtful, firing) = (new("over"), new("doubtful"), new("firing"));
    let mut jobs = Vec::new();
    for write in [&over, &doubtful, &firing] {
        jobs.push(house.put(with(write.clone(), vec![card("t")])).await[0]);
    }
    house.done(jobs[0], "om_1").await;
    house.unknown(jobs[1]).await;
    house.done(jobs[2], "om_3").await;
    house
        .store
        .act(jobs[1], Act::Cancel, "local")
        .await
        .unwrap();
    for id in [over.id, doubtful.id] {
        let row = house.read(id).await;
        let resolved = IncidentWrite {
            state: IncidentState::Resolved,
            ended_ms: Some(2),
            due_ms: None,
            ..next(&row, vec![])
        };
        house.put(resolved).await;
    }
    let house = house.later("23h").await;
    assert!(house.store.incident(over.id).await.unwrap().is_some());
    let house = house.later("50h").await;
    assert!(house.store.incident(over.id).await.unwrap().is_none());
    assert!(house.store.incident(doubtful.id).await.unwrap().is_some());
    // The end of its job was not noticed yet, so what it made must not be lost.
    let row = house.read(firing.id).await;
    assert_eq!(row.jobs[0].message_id.as_deref(), Some("om_3"));
    house
        .put(next(&row, vec![Step::Forget { job: jobs[2] }]))
        .await;
    let house = house.later("51h").await;
    assert!(
        house
            .store
            .job(&Name::Job(jobs[2]))
            .await
            .unwrap()
            .is_none()
    );
    assert!(
        house
            .store
            .incident_jobs(firing.id)
            .await
            .unwrap()
            .is_empty()
    );
    assert_eq!(house.read(firing.id).await.state, IncidentState::Firing);
    house.close().await;
}

#[tokio::test]
async fn incidents_are_listed_newest_first_by_what_is_asked() {
    let house = House::open().await;
    let mut ids = Vec::new();
    for n in 0..5 {
        let write = IncidentWrite {
            route: ["db", "db{severity=\"critical\"}", "db#2", "dbx", "web"][n].to_owned(),
            state: [IncidentState::Firing, IncidentState::Resolved][n % 2],
            app: String::from(["ops", "hr"][n / 4]),
            opened_ms: n as i64,
            ..new("g")
        };
        house.put(write.clone()).await;
        ids.push(write.id);
    }
    let check = async |filter: IncidentFilter, wanted: &[usize]| {
        let page = house.store.list_incidents(&filter).await.unwrap();
        let found: Vec<_> = page.incidents.iter().map(|row| row.id).collect();
        let wanted: Vec<_> = wanted.iter().map(|n| ids[*n]).collect();
        assert_eq!(found, wanted, "{filter:?}");
        page.next_cursor
    };
    let all = IncidentFilter {
        limit: 200,
        ..IncidentFilter::default()
    };
    assert_eq!(check(all.clone(), &[4, 3, 2, 1, 0]).await, None);
    let some = IncidentFilter {
        limit: 3,
        ..all.clone()
    };
    let cursor = check(some.clone(), &[4, 3, 2]).await;
    assert_eq!(
        check(IncidentFilter { cursor, ..some }, &[1, 0]).await,
        None
    );
    let route = |route: &str| IncidentFilter {
        route: Some(route.to_owned()),
        ..all.clone()
    };
    check(route("db"), &[2, 1, 0]).await;
    check(route("db#2"), &[2]).await;
    let states = vec![IncidentState::Resolved];
    check(
        IncidentFilter {
            states,
            ..all.clone()
        },
        &[3, 1],
    )
    .await;
    let apps = Some(vec![String::from("hr")]);
    check(
        IncidentFilter {
            apps,
            ..all.clone()
        },
        &[4],
    )
    .await;
    let apps = Some(Vec::new());
    check(
        IncidentFilter {
            apps,
            ..all.clone()
        },
        &[],
    )
    .await;
    let (since_ms, until_ms) = (Some(1), Some(3));
    check(
        IncidentFilter {
            since_ms,
            until_ms,
            ..all.clone()
        },
        &[2, 1],
    )
    .await;
    let client = Some(String::from("nobody"));
    check(
        IncidentFilter {
            client,
            ..all.clone()
        },
        &[],
    )
    .await;
    check(
        IncidentFilter {
            is_digest: Some(true),
            ..all
        },
        &[],
    )
    .await;
    house.close().await;
}

#[tokio::test]
async fn an_attempt_that_came_to_nothing_is_news_for_whoever_waited_for_it() {
    let house = House::open().await;
    let (first, other) = (new("g"), new("other"));
    let ids = house.put(with(first.clone(), vec![card("t")])).await;
    house.put(with(other.clone(), vec![card("o")])).await;
    let comes_back = async || {
        let marked = house.mark(ids[0]).await.unwrap();
        let row = house.read(first.id).await;
        let end = End::Again {
            run_ms: marked.mark.wall_ms,
        };
        (marked, row, end)
    };
    // It still carries what is to be shown: it goes on by itself.
    let (marked, before, end) = comes_back().await;
    house.finish(&marked, end, UnknownMove::Keep).await;
    let row = house.read(first.id).await;
    assert_eq!((row.version, row.due_ms), (before.version, None));
    // While it was under way there was news, which could only wait.
    let (marked, before, end) = comes_back().await;
    let newer = IncidentWrite {
        tag: String::from("newer"),
        ..next(&before, vec![])
    };
    house.put(newer).await;
    house.finish(&marked, end, UnknownMove::Keep).await;
    let row = house.read(first.id).await;
    assert!(row.due_ms.is_some() && row.version > before.version + 1);
    // A clean stop takes a mark back; that is no other thing.
    let calm = IncidentWrite {
        due_ms: None,
        ..next(&row, vec![])
    };
    house.put(calm).await;
    let marked = house.mark(ids[0]).await.unwrap();
    let marks = vec![(marked.head.seq, marked.attempt)];
    house.store.take_back(marks).await.unwrap();
    assert!(house.read(first.id).await.due_ms.is_some());
    let other = house.read(other.id).await;
    assert_eq!((other.version, other.due_ms), (1, None));
    house.close().await;
}

#[tokio::test]
async fn a_call_that_was_under_way_when_it_was_stopped_is_not_tried_again() {
    let house = House::open().await;
    let call = json!({"kind": "urgent_app", "args": {"message": "om_1", "users": ["ou_1"]}});
    for (state, wanted) in [
        (IncidentState::Firing, "queued"),
        (IncidentState::Acknowledged, "canceled"),
        (IncidentState::Resolved, "canceled"),
    ] {
        let write = with(
            new(state.name()),
            vec![enqueue(IncidentRole::Rung, "0", call.clone())],
        );
        let id = write.id;
        let rung = house.put(write).await[0];
        let marked = house.mark(rung).await.unwrap();
        let row = house.read(id).await;
        let stopped = IncidentWrite {
            state,
            ..next(&row, vec![])
        };
        house.put(stopped).await;
        let end = End::Again {
            run_ms: marked.mark.wall_ms,
        };
        house.finish(&marked, end, UnknownMove::Keep).await;
        assert_eq!(house.job(rung).await["state"], wanted);
    }
    house.close().await;
}

/// Grants everything, and remembers what was born.
#[derive(Default)]
struct Free {
    born: std::sync::Mutex<Vec<Marked>>,
}

impl crate::job::Permit for Free {
    fn grant(&self, _: &crate::job::Head) -> bool {
        true
    }
    fn withdraw(&self, _: &[crate::job::Head]) {}
    fn born(&self, marked: Vec<Marked>) {
        self.born.lock().unwrap().extend(marked);
    }
    fn stood(&self, _: Vec<crate::job::Head>) {}
    fn steered(&self, _: Vec<crate::job::Steer>) {}
    fn left(&self, _: Vec<(crate::job::AppId, Box<str>)>) {}
}

#[tokio::test]
async fn a_card_that_may_go_at_once_is_born_marked_and_each_call_counts_once() {
    let house = House::open().await;
    let free = Arc::new(Free::default());
    let permit: Arc<dyn crate::job::Permit> = free.clone();
    house.store.attach(permit).await.unwrap();
    let (first, second) = (new("g"), new("h"));
    // All of these are one batch: none is answered before all are handed over.
    let (plain, one, two) = tokio::join!(
        house.store.accept(vec![*job(send("plain"))]),
        house
            .store
            .write_incidents(vec![with(first.clone(), vec![card("t")])]),
        house
            .store
            .write_incidents(vec![with(second.clone(), vec![card("t")])]),
    );
    let ids = [plain.unwrap()[0].id, one.unwrap()[0][0], two.unwrap()[0][0]];
    for id in ids {
        assert_eq!(house.job(id).await["state"], "sending");
    }
    let born: Vec<_> = free.born.lock().unwrap().iter().map(|one| one.id).collect();
    assert_eq!(born, ids);
    let calls = house
        .store
        .past_calls(std::time::Duration::from_secs(60))
        .await;
    let calls: u32 = calls.unwrap().iter().map(|past| past.calls).sum();
    assert_eq!(calls, 3);
    let row = house.read(first.id).await;
    assert!(row.jobs[0].tried);
    house.close().await;
}
