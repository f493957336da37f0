//! Files that are damaged, deleted, replaced or closed to writing: the relay says so, and sends nothing.

use std::fs::{self, OpenOptions, Permissions};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use serde_json::json;

use super::full::{said, serve};
use super::support::House;
use super::support::jobs::*;

/// A frame of the log: its head and a page.
const FRAME: u64 = 24 + 4096;

fn log_of(house: &House) -> PathBuf {
    house.dir.path().join("relay.db-wal")
}

/// A relay with `n` jobs that wait, each in a commit of its own.
async fn waiting(n: usize) -> (House, Vec<String>) {
    let house = House::with(None, "").await;
    let mut ids = Vec::new();
    for _ in 0..n {
        ids.push(post(&house, message(json!({"delay": "1h"}))).await);
    }
    (house, ids)
}

fn is_refused_as_damaged(house: &House) {
    // An empty log is none: a process that ends may leave it.
    let read = |file: PathBuf| fs::read(file).ok().filter(|bytes| !bytes.is_empty());
    let files = |_: ()| [house.database(), log_of(house)].map(read);
    let before = files(());
    let ended = serve(house);
    let said = said(&ended);
    assert_eq!(ended.status.code(), Some(2), "{said}");
    assert!(
        said.contains("is damaged") && said.contains("OPERATIONS.md"),
        "{said}"
    );
    assert!(files(()) == before, "it changed what is left");
}

#[tokio::test]
async fn a_file_that_lost_its_end_is_refused_and_left_as_it_is() {
    let (mut house, _) = waiting(5).await;
    house.stop();
    let file = OpenOptions::new()
        .write(true)
        .open(house.database())
        .unwrap();
    let size = file.metadata().unwrap().len();
    for lost in [1, 3000, 4096, 5000] {
        file.set_len(size - lost).unwrap();
        is_refused_as_damaged(&house);
    }
}

#[tokio::test]
async fn a_log_with_a_broken_middle_is_refused_and_left_as_it_is() {
    let (mut house, _) = waiting(8).await;
    house.kill();
    let log = OpenOptions::new().write(true).open(log_of(&house)).unwrap();
    let frames = (log.metadata().unwrap().len() - 32) / FRAME;
    log.write_all_at(b"!!", 32 + frames / 2 * FRAME + 1000)
        .unwrap();
    is_refused_as_damaged(&house);
}

/// The file without its log is sound, only old: jobs that were accepted are not in it.
#[tokio::test]
async fn a_log_that_was_cut_off_under_a_running_relay_is_damage_for_good() {
    let (mut house, _) = waiting(5).await;
    let log = OpenOptions::new().write(true).open(log_of(&house)).unwrap();
    log.set_len(0).unwrap();
    for _ in 0..5 {
        house.request("GET", "/v1/jobs?limit=50", None).await;
        let refused = house
            .request("POST", "/v1/jobs", Some(message(json!({}))))
            .await;
        assert_eq!(refused.0, 503, "{}", refused.1);
    }
    house.kill();
    is_refused_as_damaged(&house);
    is_refused_as_damaged(&house);
    assert!(house.effects("message").await.is_empty());
}

/// A relay under each name would have a log and a lock of its own.
#[tokio::test]
async fn a_database_with_two_names_is_refused_and_a_symbolic_link_is_followed() {
    let (mut house, ids) = waiting(1).await;
    house.stop();
    let other = house.dir.path().join("other.db");
    fs::hard_link(house.database(), &other).unwrap();
    let ended = serve(&house);
    let words = said(&ended);
    assert_eq!(ended.status.code(), Some(2), "{words}");
    assert!(words.contains("a second name"), "{words}");
    fs::remove_file(house.database()).unwrap();
    std::os::unix::fs::symlink(&other, house.database()).unwrap();
    house.start();
    assert_eq!(house.job(&ids[0]).await["state"], "queued");
    let id = post(&house, message(json!({}))).await;
    assert_eq!(house.settled(&id).await["state"], "done");
    assert!(
        house.dir.path().join("other.db.lock").exists(),
        "the lock stands beside the file itself"
    );
    house.stop();
    fs::remove_file(&other).unwrap();
    let ended = serve(&house);
    assert_eq!(ended.status.code(), Some(2), "{}", said(&ended));
    assert!(said(&ended).contains("leads nowhere"), "{}", said(&ended));
}

#[tokio::test]
async fn a_second_name_stops_a_running_relay_until_it_is_gone() {
    let (house, ids) = waiting(1).await;
    let other = house.dir.path().join("snapshot.db");
    fs::hard_link(house.database(), &other).unwrap();
    let refused = house
        .request("POST", "/v1/jobs", Some(message(json!({}))))
        .await;
    assert_eq!(refused.0, 503, "{}", refused.1);
    let (_, status) = house.request("GET", "/v1/status", None).await;
    assert_eq!(status["store_fault"]["type"], "linked", "{status:#}");
    fs::remove_file(&other).unwrap();
    house.until("/readyz", |answer| *answer == "ready\n").await;
    let id = post(&house, message(json!({}))).await;
    assert_eq!(house.settled(&id).await["state"], "done");
    assert_eq!(house.job(&ids[0]).await["state"], "queued");
}

/// What a power cut leaves: all that was acknowledged, and the beginning of a write that was not.
#[tokio::test]
async fn a_torn_end_of_the_log_loses_nothing_that_was_acknowledged() {
    let (mut house, ids) = waiting(8).await;
    house.kill();
    let log = OpenOptions::new()
        .append(true)
        .open(log_of(&house))
        .unwrap();
    let first = fs::read(log_of(&house)).unwrap()[32..32 + 3000].to_vec();
    std::io::Write::write_all(&mut &log, &first).unwrap();
    house.start();
    for id in &ids {
        assert_eq!(house.job(id).await["state"], "queued");
    }
}

#[tokio::test]
async fn a_database_that_was_moved_away_is_noticed_and_goes_on_when_it_is_back() {
    let (house, _) = waiting(1).await;
    let away = house.dir.path().join("away.db");
    fs::rename(house.database(), &away).unwrap();
    let refused = house
        .request("POST", "/v1/jobs", Some(message(json!({}))))
        .await;
    assert_eq!(refused.0, 503, "{}", refused.1);
    assert!(!house.database().exists(), "no empty one is made");
    let (_, status) = house.request("GET", "/v1/status", None).await;
    assert_eq!(status["store_fault"]["type"], "gone", "{status:#}");
    // Another file under its name is no better.
    fs::write(house.database(), "not this one").unwrap();
    let refused = house
        .request("POST", "/v1/jobs", Some(message(json!({}))))
        .await;
    assert_eq!(refused.0, 503, "{}", refused.1);
    assert!(house.effects("message").await.is_empty());
    fs::rename(&away, house.database()).unwrap();
    house.until("/readyz", |answer| *answer == "ready\n").await;
    let id = post(&house, message(json!({}))).await;
    assert_eq!(house.settled(&id).await["state"], "done");
}

/// As OPERATIONS.md says: the open file still has everything.
#[tokio::test]
async fn a_database_that_was_deleted_is_still_in_the_hands_of_the_relay() {
    let (mut house, ids) = waiting(5).await;
    fs::remove_file(house.database()).unwrap();
    house
        .until("/readyz", |answer| answer["status"] == 503)
        .await;
    let held = Path::new("/proc").join(house.pid().to_string()).join("fd");
    let deleted = format!("{} (deleted)", house.database().display());
    let held = fs::read_dir(held)
        .unwrap()
        .map(|one| one.unwrap().path())
        .find(|one| fs::read_link(one).is_ok_and(|to| to == Path::new(&deleted)))
        .unwrap();
    fs::copy(held, house.database()).unwrap();
    house.kill();
    house.start();
    for id in &ids {
        assert_eq!(house.job(id).await["state"], "queued");
    }
}

#[tokio::test]
async fn a_second_relay_stays_out_though_somebody_deleted_the_lock() {
    let (house, _) = waiting(1).await;
    let lock = house.dir.path().join("relay.db.lock");
    let held = fs::metadata(&lock).unwrap().ino();
    fs::remove_file(&lock).unwrap();
    // The next batch notices.
    post(&house, message(json!({"delay": "1h"}))).await;
    assert_ne!(fs::metadata(&lock).unwrap().ino(), held);
    let ended = serve(&house);
    assert_eq!(ended.status.code(), Some(2), "{}", said(&ended));
    assert!(said(&ended).contains("another feishu-relay has"));
}

#[tokio::test]
async fn a_file_or_a_folder_that_takes_no_writes_is_refused_by_name() {
    let (mut house, _) = waiting(1).await;
    house.stop();
    if fs::metadata(house.dir.path()).unwrap().uid() == 0 {
        // Root may write anywhere, unless it gives that right up.
        house.before = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", "--"]
            .map(String::from)
            .to_vec();
    }
    let before = fs::read(house.database()).unwrap();
    for (path, closed, open) in [
        (house.database(), 0o400, 0o600),
        (house.dir.path().join("relay.db.lock"), 0o400, 0o600),
    ] {
        fs::set_permissions(&path, Permissions::from_mode(closed)).unwrap();
        let ended = serve(&house);
        fs::set_permissions(&path, Permissions::from_mode(open)).unwrap();
        let said = said(&ended);
        assert_eq!(ended.status.code(), Some(2), "{said}");
        let named = format!("{} cannot be written to", path.display());
        assert!(said.contains(&named), "{said}");
    }
    assert!(fs::read(house.database()).unwrap() == before);
    house.before.clear();
    house.start();
}

#[tokio::test]
async fn damage_that_shows_at_work_stops_the_work_until_a_start_has_looked_at_the_file() {
    let (mut house, ids) = waiting(5).await;
    house.restart();
    let sound = fs::read(house.database()).unwrap();
    let file = OpenOptions::new()
        .write(true)
        .open(house.database())
        .unwrap();
    file.write_all_at(&vec![0xa5; sound.len() - 4096], 4096)
        .unwrap();
    let job = message(json!({}));
    let ready = house.until("/readyz", |answer| {
        answer["detail"].to_string().contains("damaged")
    });
    ready.await;
    // It is not trusted any more, whatever it holds now.
    file.write_all_at(&sound[4096..], 4096).unwrap();
    for _ in 0..3 {
        let (status, refused) = house.request("POST", "/v1/jobs", Some(job.clone())).await;
        assert_eq!(status, 503, "{refused}");
    }
    assert!(house.effects("message").await.is_empty());
    assert_eq!(
        house
            .log()
            .matches("until it can, nothing is accepted")
            .count(),
        1
    );
    let mark = house.dir.path().join("relay.db.damaged");
    assert!(mark.exists());
    house.kill();
    house.start();
    assert!(!mark.exists());
    for id in &ids {
        assert_eq!(house.job(id).await["state"], "queued");
    }
}
