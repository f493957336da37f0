//! A copy taken while the relay works, put back later: nothing in it is seen twice, nothing is lost.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on should stop here"
)]

mod support;

use std::path::{Path, PathBuf};
use std::process::Output;

use feishu_sandbox::{DEFAULT_CHAT, DEFAULT_SECOND_CHAT, DEFAULT_USERS, staff_open_id};
use serde_json::{Value, json};
use support::House;
use support::jobs::{
    HOUR, MINUTE, PIXEL, SEND, UPLOAD, child, id, message, pass, post, sent, until_state,
};

const BATCH: &str = "POST /open-apis/message/v4/batch_send/";

/// A command on the files of the house, whose relay may run or not.
fn run(house: &House, words: &[&str]) -> Output {
    let config = house.dir.path().join("relay.toml");
    let mut command = house.binary();
    command.args(words).arg("--config").arg(config);
    command.output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn back_up(house: &House, more: &[&str]) -> PathBuf {
    let folder = house.dir.path().join("copy");
    let words = [&["backup", folder.to_str().unwrap(), "--json"], more].concat();
    let output = run(house, &words);
    assert!(output.status.success(), "{}", said(&output));
    folder
}

/// The disk is lost, and the copy put back. What `restore` says of it.
fn put_back(house: &House, folder: &Path) -> Value {
    for end in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(house.dir.path().join(format!("relay.db{end}")));
    }
    let _ = std::fs::remove_dir_all(house.dir.path().join("relay.db.uploads"));
    let output = run(house, &["restore", folder.to_str().unwrap(), "--json"]);
    assert!(output.status.success(), "{}", said(&output));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// What people saw, in a form that two looks can be compared by. An upload is seen by nobody.
async fn seen(house: &House) -> Vec<(String, Value, Value, Value)> {
    let ledger = house.ledger().await;
    let effects = ledger["effects"].as_array().unwrap().iter();
    effects
        .filter(|effect| effect["effect"] != "upload")
        .map(|effect| {
            (
                effect["effect"].as_str().unwrap().to_owned(),
                effect["message_id"].clone(),
                effect["content"].clone(),
                effect["users"].clone(),
            )
        })
        .collect()
}

async fn state(house: &House, id: &str) -> String {
    house.job(id).await["state"].as_str().unwrap().to_owned()
}

/// Jobs of every kind that wait ten seconds, so that the copy shows them unsettled.
struct Waiting {
    plain: String,
    resend: String,
    family: Value,
    picture: String,
    urgent: String,
    pin: String,
    unpin: String,
    recall: String,
    batch: String,
    ahead: String,
    late_child: String,
    done: String,
}

async fn everything(house: &House) -> Waiting {
    let later = |mut job: Value| {
        job["delay"] = json!("10s");
        job
    };
    let old = [sent(house).await, sent(house).await, sent(house).await];
    let done = post(house, message(json!({"key": "done"}))).await;
    house.settled(&done).await;
    // One part is sent, the other two are told to wait, and so are the bytes of the picture.
    house
        .faults(json!([
            {"call": BATCH, "do": "delay", "ms": 0, "count": 1},
            {"call": BATCH, "do": "429", "reset_s": 20},
            {"call": UPLOAD, "do": "429", "reset_s": 20},
        ]))
        .await;
    let people: Vec<String> = (1..=450).map(staff_open_id).collect();
    let batch =
        json!({"kind": "batch_send", "args": {"open_ids": people, "text": "the canteen moves"}});
    let batch = post(house, batch).await;
    let half =
        |job: &Value| job["receipt"]["parts"][0]["state"] == "done" && job["state"] == "queued";
    house.until(&format!("/v1/jobs/{batch}"), half).await;
    let on = |kind: &str, message: &str, more: Value| {
        let mut args = json!({"message": message});
        for (name, value) in more.as_object().unwrap() {
            args[name] = value.clone();
        }
        later(json!({"kind": kind, "args": args}))
    };
    let buzz = json!({"kind": "urgent_app", "args": {"users": [DEFAULT_USERS[0]]}});
    let family = later(message(json!({"then": [{"kind": "pin"}, buzz]})));
    let picture = json!({"kind": "send", "args": {"to": DEFAULT_SECOND_CHAT, "image": {"data": PIXEL, "file_name": "p.png"}}});
    let mut slow = buzz.clone();
    slow["delay"] = json!("90m");
    let parent = later(message(json!({"then": [slow]})));
    let parent = house.post(parent).await;
    Waiting {
        plain: post(house, later(message(json!({})))).await,
        resend: post(house, later(message(json!({"on_doubt": "resend"})))).await,
        family: house.post(family).await,
        picture: post(house, picture).await,
        urgent: post(
            house,
            on("urgent_app", &old[0], json!({"users": [DEFAULT_USERS[0]]})),
        )
        .await,
        pin: post(house, on("pin", &old[1], json!({}))).await,
        unpin: post(house, on("unpin", &old[1], json!({}))).await,
        recall: post(house, on("recall", &old[2], json!({}))).await,
        batch,
        ahead: post(
            house,
            message(
                json!({"delay": "2h", "args": {"to": DEFAULT_CHAT, "text": "tomorrow's menu"}}),
            ),
        )
        .await,
        late_child: child(&parent, 0),
        done,
    }
}

/// The relay goes on after the copy was taken: all that can end does.
async fn goes_on(house: &mut House, jobs: &Waiting) {
    house.faults(json!([])).await;
    pass(house, MINUTE).await;
    for id in [
        &jobs.plain,
        &jobs.resend,
        &id(&jobs.family),
        &jobs.picture,
        &jobs.urgent,
        &jobs.pin,
        &jobs.unpin,
        &jobs.recall,
        &jobs.batch,
    ] {
        let job = house.settled(id).await;
        assert_eq!(job["state"], "done", "{job:#}");
    }
}

#[tokio::test]
async fn an_hour_old_copy_over_a_lost_disk_shows_nothing_twice() {
    let mut house = House::new().await;
    let jobs = everything(&house).await;
    let folder = back_up(&house, &[]);
    goes_on(&mut house, &jobs).await;
    house.kill();
    let before = seen(&house).await;
    house.advance(HOUR).await;
    let counts = put_back(&house, &folder);
    assert_eq!(
        (&counts["in_doubt_before"], &counts["moved"]),
        (&json!(0), &json!(false))
    );
    house.start();
    for id in [&jobs.unpin, &jobs.recall] {
        assert_eq!(house.settled(id).await["state"], "done");
    }
    let doubts = [
        &jobs.plain,
        &jobs.resend,
        &id(&jobs.family),
        &child(&jobs.family, 1),
        &jobs.picture,
        &jobs.urgent,
        &jobs.pin,
        &jobs.batch,
    ];
    for id in doubts {
        let job = house.job(id).await;
        assert_eq!(job["state"], "in_doubt", "{job:#}");
        let told = job["error"]["msg"].as_str().unwrap();
        assert!(told.contains("backup"), "{told}");
        assert_eq!(job["actions"][0]["by"], "restore");
    }
    assert_eq!(state(&house, &jobs.done).await, "done");
    for id in [&jobs.ahead, &jobs.late_child, &child(&jobs.family, 0)] {
        assert_eq!(state(&house, id).await, "queued");
    }
    let parts = house.job(&jobs.batch).await["receipt"]["parts"].clone();
    assert_eq!(parts[0]["state"], "done");
    assert_eq!([&parts[1]["state"], &parts[2]["state"]], ["in_doubt"; 2]);
    assert_eq!(seen(&house).await, before);
    // Counted as they are, and a producer that repeats a key of before gets its job.
    let (_, status) = house.request("GET", "/v1/status", None).await;
    assert_eq!(status["apps"][0]["jobs"]["in_doubt"], 9, "{status:#}");
    let again = house.post(message(json!({"key": "done"}))).await;
    assert_eq!(id(&again), jobs.done);
    // What was ahead is sent when its time comes, once.
    house.advance(HOUR).await;
    assert_eq!(house.settled(&jobs.ahead).await["state"], "done");
    let after = seen(&house).await;
    assert_eq!(after.len(), before.len() + 1);
    assert!(after.last().unwrap().2.to_string().contains("menu"));
    // The word of a person: sent again.
    let (status, _) = house.act(&jobs.plain, "retry", None).await;
    assert_eq!(status, 202);
    assert_eq!(house.settled(&jobs.plain).await["state"], "done");
}

#[tokio::test]
async fn a_copy_of_ten_minutes_ago_goes_on_under_the_same_uuids() {
    let mut house = House::new().await;
    let jobs = everything(&house).await;
    // One is under way while the copy is taken.
    house
        .faults(json!([
            {"call": SEND, "do": "delay", "ms": 1500, "count": 1},
            {"call": BATCH, "do": "429", "reset_s": 20},
            {"call": UPLOAD, "do": "429", "reset_s": 20},
        ]))
        .await;
    let flying = post(
        &house,
        message(json!({"args": {"to": DEFAULT_USERS[1], "text": "on its way"}})),
    )
    .await;
    until_state(&house, &flying, "sending").await;
    let folder = back_up(&house, &[]);
    goes_on(&mut house, &jobs).await;
    house.settled(&flying).await;
    house.kill();
    let before = seen(&house).await;
    house.advance(10 * MINUTE).await;
    put_back(&house, &folder);
    house.start();
    for id in [
        &jobs.plain,
        &jobs.resend,
        &id(&jobs.family),
        &flying,
        &jobs.unpin,
        &jobs.recall,
        &child(&jobs.family, 0),
    ] {
        let path = format!("/v1/jobs/{id}?wait=50s");
        let (_, job) = house.request("GET", &path, None).await;
        assert_eq!(job["state"], "done", "{job:#}");
    }
    // The picture would go under another key now, and the rest shows twice.
    for id in [
        &jobs.picture,
        &jobs.urgent,
        &jobs.pin,
        &jobs.batch,
        &child(&jobs.family, 1),
    ] {
        assert_eq!(state(&house, id).await, "in_doubt");
    }
    assert_eq!(seen(&house).await, before);
}

#[tokio::test]
async fn a_moved_database_goes_on_without_a_doubt_and_is_closed_here() {
    let mut house = House::new().await;
    let jobs = everything(&house).await;
    house.faults(json!([])).await;
    let folder = house.dir.path().join("copy");
    let refused = run(&house, &["backup", folder.to_str().unwrap(), "--move"]);
    assert_eq!(refused.status.code(), Some(2), "{}", said(&refused));
    assert!(!folder.exists());
    house.stop();
    let folder = back_up(&house, &["--move"]);
    // Neither the database left behind nor the copy itself can be started.
    let refused = run(&house, &["serve"]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(said(&refused).contains("moved away"), "{}", said(&refused));
    let other = house.dir.path().join("other");
    for more in [&[][..], &["--move"]] {
        let words = [&["backup", other.to_str().unwrap()], more].concat();
        let refused = run(&house, &words);
        assert_eq!(refused.status.code(), Some(2), "{}", said(&refused));
        assert!(said(&refused).contains("moved away"), "{}", said(&refused));
        assert!(!other.exists());
    }
    house.advance(2 * HOUR).await;
    let counts = put_back(&house, &folder);
    assert_eq!(
        [&counts["repeated"], &counts["in_doubt"]],
        [&json!(0), &json!(0)]
    );
    house.start();
    goes_on(&mut house, &jobs).await;
    house.kill();
    let before = seen(&house).await;
    // Of a second restore nothing is known any more.
    let counts = put_back(&house, &folder);
    assert_eq!(counts["moved"], false);
    assert!(counts["in_doubt"].as_i64() > Some(0));
    house.start();
    assert_eq!(state(&house, &jobs.urgent).await, "in_doubt");
    house.settled(&jobs.ahead).await;
    assert_eq!(seen(&house).await.len(), before.len());
}

#[tokio::test]
async fn a_copy_is_whole_while_the_relay_takes_jobs() {
    let mut house = House::new().await;
    let some = |round: usize| -> Vec<Value> {
        (0..50)
            .map(|n| message(json!({"delay": "1h", "key": format!("{round}-{n}")})))
            .collect()
    };
    house.post(json!(some(0))).await;
    let folder = house.dir.path().join("copy");
    let config = house.dir.path().join("relay.toml");
    let mut command = house.binary();
    command
        .arg("backup")
        .arg(&folder)
        .arg("--config")
        .arg(config);
    let mut child = command.spawn().unwrap();
    let mut posted = 1;
    let status = loop {
        house.post(json!(some(posted))).await;
        posted += 1;
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
    };
    assert!(status.success());
    house.kill();
    let counts = put_back(&house, &folder);
    // Requests are there whole or not at all.
    let there = counts["untouched"].as_u64().unwrap();
    assert!(there >= 50 && there.is_multiple_of(50), "{counts}");
    house.start();
    let (_, status) = house.request("GET", "/v1/status", None).await;
    assert_eq!(status["apps"][0]["jobs"]["queued"], there);
    let path = house.dir.path();
    let mode = |path: &Path| {
        use std::os::unix::fs::PermissionsExt;
        std::fs::metadata(path).unwrap().permissions().mode() & 0o777
    };
    assert_eq!(mode(&path.join("copy")), 0o700);
    for file in ["copy/relay.db", "copy/backup.json", "relay.db"] {
        assert_eq!(mode(&path.join(file)), 0o600, "{file}");
    }
}

#[tokio::test]
async fn uploads_come_with_the_copy() {
    let mut house = House::new().await;
    let picture = json!({"kind": "upload_image", "args": {"data": PIXEL}, "delay": "1h"});
    let id = post(&house, picture).await;
    let folder = back_up(&house, &[]);
    house.kill();
    put_back(&house, &folder);
    house.start();
    house.advance(HOUR).await;
    let job = house.settled(&id).await;
    assert_eq!(job["state"], "done", "{job:#}");
    // A copy without its bytes, or with others, is not put back.
    house.stop();
    let uploads = folder.join("uploads");
    let file = std::fs::read_dir(&uploads)
        .unwrap()
        .next()
        .unwrap()
        .unwrap();
    std::fs::write(file.path(), "else").unwrap();
    std::fs::remove_file(house.database()).unwrap();
    let output = run(&house, &["restore", folder.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(2), "{}", said(&output));
    assert!(said(&output).contains("damaged"));
    assert!(!house.database().exists());
}

#[tokio::test]
async fn what_would_lose_or_mix_up_something_is_refused_and_changes_nothing() {
    let mut house = House::new().await;
    let folder = back_up(&house, &[]);
    let check = |house: &House, words: &[&str], why: &str| {
        let before = listing(house.dir.path());
        let output = run(house, words);
        assert_eq!(
            output.status.code(),
            Some(2),
            "{words:?}: {}",
            said(&output)
        );
        assert!(said(&output).contains(why), "{}", said(&output));
        assert_eq!(listing(house.dir.path()), before, "{words:?}");
    };
    let copy = folder.to_str().unwrap();
    check(&house, &["backup", copy], "there already");
    check(&house, &["backup", "/nowhere/at/all"], "no folder");
    check(&house, &["restore", copy], "running");
    house.stop();
    check(&house, &["restore", copy], "already");
    // The copy is no database for a daemon: it does not know what was sent since.
    std::fs::rename(house.database(), house.dir.path().join("old.db")).unwrap();
    std::fs::copy(folder.join("relay.db"), house.database()).unwrap();
    check(&house, &["serve"], "backup's copy");
    std::fs::remove_file(house.database()).unwrap();
    check(
        &house,
        &["restore", house.dir.path().to_str().unwrap()],
        "no backup",
    );
    check(&house, &["backup", "/tmp/x/y"], "no database");
    house.set_clock("-2h");
    check(&house, &["restore", copy], "clock");
}

/// Names and bytes of what is in a folder, but for the logs of SQLite and of the relay.
fn listing(folder: &Path) -> Vec<(PathBuf, u64)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(listing(&path));
        } else if !matches!(
            path.extension().and_then(|end| end.to_str()),
            Some("db-wal" | "db-shm" | "lock")
        ) {
            let bytes = std::fs::metadata(&path).unwrap().len();
            found.push((path, bytes));
        }
    }
    found.sort();
    found
}
