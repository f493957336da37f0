//! Incidents outlive a restart, and a copy of them is looked at as a whole.

use super::*;
use crate::store::{Backup, back_up, restore};

#[tokio::test]
async fn after_a_restart_everything_is_as_it_was() {
    let house = House::open().await;
    let first = IncidentWrite {
        due_ms: Some(9),
        ..with(new("g"), vec![card("t")])
    };
    let ids = house.put(first.clone()).await;
    house.mark(ids[0]).await.unwrap();
    let before = house.all().await;
    let house = house.later("0s").await;
    assert_eq!(house.all().await, before);
    assert_eq!(house.store.next_incident_due().await.unwrap(), Some(9));
    house.close().await;
}

#[tokio::test]
async fn what_is_open_in_a_copy_is_looked_at_and_what_was_merged_was_never_tried() {
    let house = House::open().await;
    let (member, over) = (new("member"), new("over"));
    let merged = house.put(with(member.clone(), vec![card("m")])).await[0];
    let resolved = IncidentWrite {
        state: IncidentState::Resolved,
        ended_ms: Some(2),
        ..over.clone()
    };
    house.put(resolved).await;
    let row = house.read(member.id).await;
    let digest = IncidentWrite {
        is_digest: true,
        members: vec![Member {
            id: row.id,
            version: row.version,
            tag: String::new(),
            job: Some(merged),
        }],
        ..with(new("digest"), vec![card("d")])
    };
    let shows = house.put(digest.clone()).await[0];
    house.mark(shows).await.unwrap();

    let copy = house.folder.path().join("copy");
    let backup = Backup {
        database: &house.options.path,
        folder: &copy,
        moves: false,
    };
    let clock = Clock::system();
    back_up(&backup, &clock, |_, _| {}).await.unwrap();
    let path = house.folder.path().join("restored.db");
    restore(&copy, &path, &clock).await.unwrap();
    let House {
        folder,
        options,
        store,
        closer,
    } = house;
    drop(store);
    closer.close().await;
    let house = House::at(folder, Options { path, ..options }, "0s").await;

    let mut due = house.store.incidents_due(10).await.unwrap();
    due.sort_by_key(|row| row.opened_ms);
    let ids: Vec<_> = due.iter().map(|row| row.id).collect();
    assert_eq!(ids, [member.id, digest.id]);
    assert!(!due[0].jobs[0].tried && due[0].jobs[0].merged);
    assert!(due[1].jobs[0].tried && due[1].jobs[0].unknown);
    let over = house.read(over.id).await;
    assert_eq!((over.version, over.due_ms), (1, None));
    // It still ends as the digest does.
    house.done(shows, "om_d").await;
    assert_eq!(house.job(merged).await["state"], "done");
    house.close().await;
}
