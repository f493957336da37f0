//! No room: nothing is accepted, nothing is sent, and it goes on by itself.

use std::process::{Command, Output};

use feishu_sandbox::DEFAULT_USERS;
use serde_json::{Value, json};

use super::small::Disk;
use super::support::House;
use super::support::jobs::*;

const FREE: &str =
    "limits = { app_minute = 0, app_second = 0, chat_second = 0, user_second = 0 }\n";

async fn house() -> House {
    let free =
        json!({"limits": {"app_minute": 0, "app_second": 0, "chat_second": 0, "user_second": 0}});
    let mut house = House::without_relay(Some(free), FREE).await;
    let config = house.config().replace("\"debug\"", "\"info\"");
    house.set_config(config);
    house
}

/// On a real full disk where the machine allows it, else on one that only errs.
async fn on_tmpfs() -> (House, Disk) {
    let mut house = house().await;
    let disk = match Disk::tmpfs(&mut house) {
        Some(disk) => disk,
        None => Disk::limited(&mut house),
    };
    house.start();
    (house, disk)
}

async fn on_limit() -> (House, Disk) {
    let mut house = house().await;
    let disk = Disk::limited(&mut house);
    house.start();
    (house, disk)
}

pub(crate) fn serve(house: &House) -> Output {
    let config = house.write_config();
    let mut relay = house.binary();
    relay.args(["serve", "--config"]).arg(config);
    // It should end by itself; one that starts instead must not hold the test up.
    let mut command = Command::new("timeout");
    command
        .arg("20")
        .arg(relay.get_program())
        .args(relay.get_args());
    command.env_clear();
    for (name, value) in relay.get_envs() {
        command.envs(value.map(|value| (name, value)));
    }
    command.output().unwrap()
}

pub(crate) fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn times(house: &House, words: &str) -> usize {
    house.log().matches(words).count()
}

async fn is_ready(house: &House) -> bool {
    house.request("GET", "/readyz", None).await.0 == 200
}

/// A message that people see, and whose answer comes only when the disk has no room for it.
async fn under_way_when_it_fills(house: &House, disk: &Disk) -> String {
    let late = json!([{"call": SEND, "do": "delay", "when": "after", "ms": 4000, "count": 1}]);
    house.faults(late).await;
    let id = post(house, message(json!({}))).await;
    while house.effects("message").await.is_empty() {}
    disk.fill(house, 0);
    house
        .until("/readyz", |answer| answer["status"] == 503)
        .await;
    id
}

async fn stops_and_goes_on((mut house, disk): (House, Disk)) {
    let waiting = json!({"args": {"to": DEFAULT_USERS[0], "text": "later"}, "delay": "1h"});
    let waiting = post(&house, message(waiting)).await;
    let under_way = under_way_when_it_fills(&house, &disk).await;

    // Its time comes, and nothing is sent: it cannot be marked.
    house.advance(HOUR + SECOND).await;
    for n in 0..40 {
        let three = [0, 1, 2].map(|m| message(json!({"key": format!("{}", 3 * n + m)})));
        let (status, refused) = house.request("POST", "/v1/jobs", Some(json!(three))).await;
        assert_eq!(status, 503, "{refused}");
        let detail = refused["detail"].as_str().unwrap();
        assert!(
            detail.contains("disk") && detail.contains("nothing was changed"),
            "{detail}"
        );
    }
    let (_, status) = house.request("GET", "/v1/status", None).await;
    assert_eq!(status["store_fault"]["type"], disk.name(), "{status:#}");
    let detail = status["store_fault"]["detail"].as_str().unwrap();
    assert!(detail.contains("relay.db"), "{detail}");
    let shown = house.binary().arg("status").output().unwrap();
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(
        shown.contains("NOTHING IS ACCEPTED OR SENT since"),
        "{shown}"
    );
    assert_eq!(status["pending"], 2, "{status:#}");
    assert_eq!(house.effects("message").await.len(), 1);
    assert_eq!(house.job(&under_way).await["state"], "sending");
    assert_eq!(
        times(&house, "the store cannot write"),
        1,
        "{}",
        house.log()
    );

    disk.make_room(&house);
    let job = house.settled(&under_way).await;
    assert_eq!(outcomes(&job), ["done"], "{job:#}");
    assert_eq!(house.settled(&waiting).await["state"], "done");
    let seen = house.effects("message").await;
    assert_eq!(seen.len(), 2, "{seen:#?}");
    assert_eq!(job["receipt"]["message_id"], seen[0]["message_id"]);
    assert!(is_ready(&house).await);
    // A key that was refused is free.
    let id = post(&house, message(json!({"key": "0"}))).await;
    assert_eq!(house.settled(&id).await["state"], "done");
    assert_eq!(
        times(&house, "the store writes again"),
        1,
        "{}",
        house.log()
    );
    house.stop();
}

#[tokio::test]
async fn a_full_disk_stops_everything_and_room_lets_it_go_on() {
    stops_and_goes_on(on_tmpfs().await).await;
}

#[tokio::test]
async fn a_disk_that_errs_stops_everything_and_a_sound_one_lets_it_go_on() {
    stops_and_goes_on(on_limit().await).await;
}

/// Four producers, each with a lane, until the disk is full; then room, or a kill and room.
async fn all_arrives((mut house, disk): (House, Disk), kill: bool) {
    disk.fill(&house, 2 * 1024 * 1024);
    let mut stored: Vec<Vec<String>> = vec![Vec::new(); 4];
    for round in 0.. {
        assert!(round < 5000, "it does not fill");
        let lane = round % 4;
        let text = format!("{round:05} {}", "x".repeat(3000));
        let job = json!({"args": {"to": DEFAULT_USERS[lane], "text": text}});
        let two = json!([message(job.clone()), message(job)]);
        let (status, answer) = house.request("POST", "/v1/jobs", Some(two)).await;
        match status {
            202 => stored[lane].extend([text.clone(), text]),
            503 => break,
            _ => panic!("{status} {answer}"),
        }
    }
    let all: usize = stored.iter().map(Vec::len).sum();
    assert!(all > 20, "{all}");
    if kill {
        house.kill();
        if disk.name() == "full" {
            disk.make_room(&house);
        }
        house.start();
    } else {
        disk.make_room(&house);
    }
    house
        .until("/v1/status", |status| {
            status["apps"][0]["jobs"]["done"] == all && status["store_fault"].is_null()
        })
        .await;
    let seen = house.effects("message").await;
    assert_eq!(seen.len(), all);
    for (lane, stored) in stored.iter().enumerate() {
        let seen: Vec<String> = seen
            .iter()
            .map(text_of)
            .filter(|text| text[..5].parse::<usize>().unwrap() % 4 == lane)
            .collect();
        assert!(&seen == stored, "lane {lane} is not as it was stored");
    }
}

fn text_of(effect: &Value) -> String {
    let content = match &effect["content"] {
        Value::String(content) => serde_json::from_str(content).unwrap(),
        content => content.clone(),
    };
    content["text"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn what_was_acknowledged_before_the_disk_was_full_arrives_once_in_order() {
    all_arrives(on_tmpfs().await, false).await;
}

#[tokio::test]
async fn what_was_acknowledged_before_a_disk_erred_arrives_once_in_order() {
    all_arrives(on_limit().await, false).await;
}

#[tokio::test]
async fn a_kill_on_a_full_disk_loses_nothing() {
    all_arrives(on_tmpfs().await, true).await;
}

#[tokio::test]
async fn a_result_that_a_kill_took_from_a_full_disk_is_asked_for_again_and_not_shown_twice() {
    let (mut house, disk) = on_tmpfs().await;
    let id = under_way_when_it_fills(&house, &disk).await;
    house.kill();
    if disk.name() == "full" {
        disk.make_room(&house);
    }
    house.start();
    let job = house.settled(&id).await;
    assert_eq!(job["state"], "done", "{job:#}");
    let seen = house.effects("message").await;
    assert_eq!(seen.len(), 1, "{seen:#?}");
    assert_eq!(job["receipt"]["message_id"], seen[0]["message_id"]);
}

#[tokio::test]
async fn an_upload_that_does_not_fit_leaves_nothing_behind() {
    let (house, disk) = on_tmpfs().await;
    let mut picture = vec![0; 3 * 1024 * 1024];
    base64::Engine::decode_slice(
        &base64::engine::general_purpose::STANDARD,
        PIXEL,
        &mut picture,
    )
    .unwrap();
    let picture = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, picture);
    let job = json!({"kind": "upload_image", "args": {"data": picture}, "delay": "1h"});
    disk.fill(&house, 1024 * 1024);
    let (status, answer) = house.request("POST", "/v1/jobs", Some(job.clone())).await;
    assert_eq!(status, 503, "{answer}");
    let uploads = disk.folder(&house).join("relay.db.uploads");
    assert_eq!(std::fs::read_dir(&uploads).unwrap().count(), 0);
    disk.make_room(&house);
    house.until("/readyz", |answer| *answer == "ready\n").await;
    house.post(job).await;
    assert_eq!(std::fs::read_dir(&uploads).unwrap().count(), 1);
}

#[tokio::test]
async fn an_upgrade_and_a_backup_without_room_change_nothing() {
    let mut house = house().await;
    let Some(disk) = Disk::tmpfs(&mut house) else {
        // The errors themselves are those of the tests above, which run everywhere.
        return;
    };
    let fixture = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/first.db");
    let database = disk.folder(&house).join("relay.db");
    std::fs::copy(fixture, &database).unwrap();
    disk.fill(&house, 0);
    let ended = serve(&house);
    assert_eq!(ended.status.code(), Some(1), "{}", said(&ended));
    assert!(
        said(&ended).contains("relay.db: the disk is full"),
        "{}",
        said(&ended)
    );
    disk.make_room(&house);
    house.start();
    let (_, status) = house.request("GET", "/v1/status", None).await;
    assert_eq!(status["apps"][0]["jobs"]["canceled"], 1, "{status:#}");

    disk.fill(&house, 64 * 1024);
    let seen_by_the_relay = house.dir.path().join("disk/copy");
    let config = house.write_config();
    let mut backup = house.binary();
    backup.arg("backup").arg(seen_by_the_relay).arg("--config");
    let ended = backup.arg(config).output().unwrap();
    assert_eq!(ended.status.code(), Some(1), "{}", said(&ended));
    assert!(said(&ended).contains("full"), "{}", said(&ended));
    let left = std::fs::read_dir(disk.folder(&house)).unwrap();
    let left = left.map(|one| one.unwrap().file_name().into_string().unwrap());
    let copies: Vec<String> = left.filter(|name| name.contains("copy")).collect();
    assert!(copies.is_empty(), "{copies:?}");
}

/// The log of a database that is small itself: as much as all of the disk would be written to it, were it let.
#[tokio::test]
async fn the_log_leaves_room_on_a_small_disk() {
    let mut house = house().await;
    let Some(_disk) = Disk::tmpfs(&mut house) else {
        // Only a file system of its own has so little room.
        return;
    };
    house.start();
    for n in 0..600 {
        let text = format!("{n} {}", "x".repeat(300));
        let later = json!({"args": {"to": DEFAULT_USERS[n % 5], "text": text}, "delay": "1h"});
        post(&house, message(later)).await;
    }
    house.stop();
}
