//! Jobs that were merged into a digest's wait for it and end as it does.

use super::*;

/// Three incidents with a card each, which wait; the digest speaks for the first two.
struct Crowd {
    house: House,
    members: [IncidentId; 2],
    jobs: [JobId; 2],
    digest: IncidentId,
    card: JobId,
    other: IncidentId,
    other_job: JobId,
}

fn digest_of(rows: &[IncidentRow], steps: Vec<Step>) -> IncidentWrite {
    let member = |row: &IncidentRow| Member {
        id: row.id,
        version: row.version,
        tag: String::from("told"),
        job: row.jobs.first().map(|job| job.id),
    };
    IncidentWrite {
        is_digest: true,
        members: rows.iter().map(member).collect(),
        ..with(new("digest"), steps)
    }
}

impl Crowd {
    async fn new() -> Crowd {
        let house = House::open().await;
        let (mut ids, mut jobs) = (Vec::new(), Vec::new());
        for group in ["a", "b", "other"] {
            let write = with(new(group), vec![card(group)]);
            ids.push(write.id);
            jobs.extend(house.put(write).await);
        }
        let rows = [house.read(ids[0]).await, house.read(ids[1]).await];
        let write = digest_of(&rows, vec![card("digest")]);
        let digest = write.id;
        let card = house.put(write).await[0];
        Crowd {
            house,
            members: [ids[0], ids[1]],
            jobs: [jobs[0], jobs[1]],
            digest,
            card,
            other: ids[2],
            other_job: jobs[2],
        }
    }

    /// Both merged jobs are in that state.
    async fn are(&self, state: &str) {
        for job in self.jobs {
            let told = self.house.job(job).await;
            assert_eq!(told["state"], state, "{told}");
        }
    }

    async fn refuse(&self) {
        let marked = self.house.mark(self.card).await.unwrap();
        let end = End::Failed {
            fault: crate::job::Fault {
                class: "gone".into(),
                code: Some(230_002),
                msg: "the bot is not in the chat".into(),
                ..crate::job::Fault::default()
            },
            content: false,
        };
        self.house.finish(&marked, end, UnknownMove::Clear).await;
    }

    async fn doubt(&self) {
        let marked = self.house.mark(self.card).await.unwrap();
        let end = End::InDoubt {
            fault: crate::job::Fault::default(),
        };
        let begin = UnknownMove::Begin(marked.mark.clone());
        self.house.finish(&marked, end, begin).await;
    }

    /// Nothing has happened to the third, and all is counted.
    async fn close(self) {
        let other = self.house.read(self.other).await;
        assert_eq!((other.version, other.due_ms), (1, None));
        assert!(!other.jobs[0].merged);
        assert_eq!(self.house.job(self.other_job).await["state"], "queued");
        let status = self.house.store.status().await.unwrap();
        let filter = Filter {
            limit: 200,
            ..Filter::default()
        };
        let jobs = self.house.store.list(&filter).await.unwrap().jobs;
        for (state, count) in &status.apps[0].jobs {
            let there = jobs.iter().filter(|job| job.state == *state).count();
            assert_eq!(*count, there as u64, "{state:?}");
        }
        self.house.close().await;
    }
}

#[tokio::test]
async fn what_is_merged_waits_for_the_digest_and_is_done_with_it() {
    let crowd = Crowd::new().await;
    let house = &crowd.house;
    for (id, job) in crowd.members.iter().zip(crowd.jobs) {
        let row = house.read(*id).await;
        assert_eq!((row.version, row.wants_digest), (2, false));
        let link = row.digest.unwrap();
        assert_eq!(
            (link.id, link.tag.as_str(), link.state),
            (crowd.digest, "told", State::Queued)
        );
        assert!(!link.tried && row.jobs[0].merged);
        let told = house.job(job).await;
        assert_eq!(
            (&told["state"], &told["waiting_for"]),
            (&json!("queued"), &json!("dependency"))
        );
        assert!(house.mark(job).await.is_none());
        let recall = house
            .store
            .act(job, Act::Recall, "local")
            .await
            .unwrap_err();
        assert!(
            recall.to_string().contains(&crowd.card.to_string()),
            "{recall}"
        );
    }
    assert_eq!(house.read(crowd.digest).await.members_firing, 2);
    house.done(crowd.card, "om_d").await;
    for (id, job) in crowd.members.iter().zip(crowd.jobs) {
        let told = house.job(job).await;
        assert_eq!(told["state"], "done");
        assert_eq!(told["receipt"], json!({"merged_into": crowd.card}));
        assert!(told["args"].is_null());
        let row = house.read(*id).await;
        assert!(row.due_ms.is_some());
        let link = row.digest.unwrap();
        assert_eq!(
            (link.state, link.message_id.as_deref()),
            (State::Done, Some("om_d"))
        );
        assert!(house.store.act(job, Act::Recall, "local").await.is_err());
    }
    crowd.close().await;
}

#[tokio::test]
async fn what_is_merged_fails_with_the_digest_and_comes_back_with_it() {
    let crowd = Crowd::new().await;
    let house = &crowd.house;
    crowd.refuse().await;
    crowd.are("failed").await;
    let row = house.read(crowd.members[0]).await;
    assert_eq!(row.jobs[0].error.as_ref().unwrap().code, Some(230_002));
    let retry = || Act::Retry {
        expires_in_ms: None,
    };
    // Nobody retries a part of it.
    assert!(
        house
            .store
            .act(crowd.jobs[0], retry(), "local")
            .await
            .is_err()
    );
    house.store.act(crowd.card, retry(), "local").await.unwrap();
    crowd.are("queued").await;
    assert!(house.mark(crowd.jobs[0]).await.is_none());
    house.done(crowd.card, "om_d").await;
    crowd.are("done").await;
    crowd.close().await;
}

#[tokio::test]
async fn a_digest_in_doubt_keeps_them_waiting_until_a_person_settles_it() {
    for (state, word) in [(State::Done, "done"), (State::Failed, "failed")] {
        let crowd = Crowd::new().await;
        crowd.doubt().await;
        crowd.are("queued").await;
        let settle = Act::Settle {
            state,
            message_id: None,
            part: None,
        };
        crowd
            .house
            .store
            .act(crowd.card, settle, "local")
            .await
            .unwrap();
        crowd.are(word).await;
        crowd.close().await;
    }
    let crowd = Crowd::new().await;
    crowd
        .house
        .store
        .act(crowd.card, Act::Cancel, "local")
        .await
        .unwrap();
    crowd.are("canceled").await;
    crowd.close().await;
}

#[tokio::test]
async fn one_that_a_person_took_out_comes_back_to_its_digest() {
    let crowd = Crowd::new().await;
    let house = &crowd.house;
    house
        .store
        .act(crowd.jobs[0], Act::Cancel, "local")
        .await
        .unwrap();
    house.done(crowd.card, "om_d").await;
    assert_eq!(house.job(crowd.jobs[0]).await["state"], "canceled");
    assert_eq!(house.job(crowd.jobs[1]).await["state"], "done");
    let retry = Act::Retry {
        expires_in_ms: None,
    };
    house
        .store
        .act(crowd.jobs[0], retry, "local")
        .await
        .unwrap();
    crowd.are("done").await;
    crowd.close().await;
}

#[tokio::test]
async fn only_what_nobody_has_tried_or_merged_merges_and_only_into_what_nobody_has_tried() {
    let crowd = Crowd::new().await;
    let house = &crowd.house;
    // It is merged already.
    let row = house.read(crowd.members[0]).await;
    assert!(conflicts(
        &house
            .refused(IncidentWrite {
                group: String::from("second"),
                ..digest_of(&[row], vec![card("second")])
            })
            .await
    ));
    // It was read before it changed.
    let late = new("late");
    let job = house.put(with(late.clone(), vec![card("late")])).await[0];
    let row = house.read(late.id).await;
    house.put(next(&row, vec![])).await;
    let digest = house.read(crowd.digest).await;
    let more = |row: &IncidentRow| IncidentWrite {
        members: digest_of(std::slice::from_ref(row), Vec::new()).members,
        ..next(&digest, vec![])
    };
    assert!(conflicts(&house.refused(more(&row)).await));
    // The digest grows as long as it is not marked.
    let row = house.read(late.id).await;
    house.put(more(&row)).await;
    assert_eq!(house.read(crowd.digest).await.members_firing, 3);
    assert!(house.read(late.id).await.jobs[0].merged);
    let later = new("later");
    house.put(with(later.clone(), vec![card("later")])).await;
    let row = house.read(later.id).await;
    let digest = house.read(crowd.digest).await;
    let more = IncidentWrite {
        members: digest_of(std::slice::from_ref(&row), Vec::new()).members,
        ..next(&digest, vec![])
    };
    let marked = house.mark(crowd.card).await.unwrap();
    assert!(conflicts(&house.refused(more.clone()).await));
    let marks = vec![(marked.head.seq, marked.attempt)];
    house.store.take_back(marks).await.unwrap();
    let version = Some(house.read(crowd.digest).await.version);
    house.put(IncidentWrite { version, ..more }).await;
    house.done(crowd.card, "om_d").await;
    assert_eq!(house.job(job).await["state"], "done");
    crowd.close().await;
}

#[tokio::test]
async fn what_is_too_old_to_be_shown_does_not_live_on_in_a_digest() {
    let house = House::open().await;
    let mut ids = Vec::new();
    for (group, life) in [("short", "15m"), ("long", "5h")] {
        let mut new_job = send(group);
        new_job["expires_in"] = json!(life);
        let write = with(
            new(group),
            vec![enqueue(IncidentRole::Card, group, new_job)],
        );
        ids.push(write.id);
        house.put(write).await;
    }
    // An hour later, before the first sweep.
    let House {
        folder,
        options,
        store,
        closer,
    } = house;
    drop(store);
    closer.close().await;
    let house = House::at(folder, options, "1h").await;
    let rows = [house.read(ids[0]).await, house.read(ids[1]).await];
    let both = digest_of(&rows, vec![card("digest")]);
    assert!(conflicts(&house.refused(both).await));
    house.put(digest_of(&rows[1..], vec![card("digest")])).await;
    while house.store.sweep().await.unwrap() {}
    let row = house.read(ids[0]).await;
    assert_eq!(row.jobs[0].state, State::Expired);
    assert!(house.read(ids[1]).await.jobs[0].merged);
    house.close().await;
}

#[tokio::test]
async fn nobody_is_called_for_a_digest_once_its_last_member_is_calm() {
    let crowd = Crowd::new().await;
    let house = &crowd.house;
    house.done(crowd.card, "om_d").await;
    let call = json!({"kind": "urgent_app", "args": {"message": "om_d", "users": ["ou_1"]}});
    let row = house.read(crowd.digest).await;
    let write = IncidentWrite {
        due_ms: None,
        ..next(
            &row,
            vec![
                Step::Forget { job: crowd.card },
                enqueue(IncidentRole::Rung, "0", call),
            ],
        )
    };
    let rung = house.put(write).await[0];
    for (n, id) in crowd.members.into_iter().enumerate() {
        let row = house.read(id).await;
        let calm = IncidentWrite {
            state: [IncidentState::Acknowledged, IncidentState::Resolved][n],
            ..next(&row, vec![])
        };
        house.put(calm).await;
        let wanted = ["queued", "canceled"][n];
        assert_eq!(house.job(rung).await["state"], wanted);
        assert_eq!(house.read(crowd.digest).await.due_ms.is_some(), n == 1);
    }
    assert!(house.mark(rung).await.is_none());
    crowd.close().await;
}

#[tokio::test]
async fn a_member_that_fires_further_leaves_its_digest() {
    let crowd = Crowd::new().await;
    let house = &crowd.house;
    house.done(crowd.card, "om_d").await;
    let row = house.read(crowd.members[0]).await;
    let leaves = IncidentWrite {
        leave_digest: true,
        ..next(&row, vec![card("own")])
    };
    let own = house.put(leaves).await[0];
    let row = house.read(crowd.members[0]).await;
    assert!(row.digest.is_none());
    assert_eq!(house.read(crowd.digest).await.members_firing, 1);
    assert!(house.mark(own).await.is_some());
    assert!(house.read(crowd.members[1]).await.digest.is_some());
    crowd.close().await;
}

#[tokio::test]
async fn a_crowd_hears_piece_by_piece() {
    const MANY: usize = 1500;
    let house = House::of(10_000).await;
    let other = new("other");
    house.put(with(other.clone(), vec![card("o")])).await;
    let writes: Vec<_> = (0..MANY)
        .map(|n| {
            let steps = match n % 2 {
                0 => vec![card("t")],
                _ => Vec::new(),
            };
            with(new(&format!("g{n}")), steps)
        })
        .collect();
    let ids: Vec<_> = writes.iter().map(|write| write.id).collect();
    let jobs = house.store.write_incidents(writes).await.unwrap();
    let member = |(n, id): (usize, &IncidentId)| Member {
        id: *id,
        version: 1,
        tag: String::from("t"),
        job: jobs[n].first().copied(),
    };
    let write = IncidentWrite {
        is_digest: true,
        members: ids.iter().enumerate().map(member).collect(),
        ..with(new("digest"), vec![card("d")])
    };
    let digest = house.put(write).await[0];
    house.done(digest, "om_d").await;
    while house.store.sweep().await.unwrap() {}
    for (n, id) in ids.iter().enumerate() {
        let row = house.read(*id).await;
        assert!(row.due_ms.is_some(), "{n}");
        assert!(row.jobs.iter().all(|job| job.state == State::Done), "{n}");
    }
    let other = house.read(other.id).await;
    assert_eq!((other.version, other.due_ms), (1, None));
    house.close().await;
}
