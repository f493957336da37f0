//! From release to release: what the last one left goes on here, what a later one made is let alone.
//!
//! `fixtures/first.db` is a database of the first schema, left by a kill, with a job in every state;
//! `first.json` has their ids and the time of the kill. `newer.db` has a step that no release has yet.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on should stop here"
)]

mod support;

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use support::House;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(name)
}

fn now_ms() -> i64 {
    let since = std::time::UNIX_EPOCH.elapsed().unwrap();
    i64::try_from(since.as_millis()).unwrap()
}

#[tokio::test]
async fn a_database_of_the_first_release_opens_here_and_its_jobs_go_on() {
    let mut house = House::without_relay(None, "").await;
    std::fs::copy(fixture("first.db"), house.database()).unwrap();
    let facts: Value =
        serde_json::from_str(&std::fs::read_to_string(fixture("first.json")).unwrap()).unwrap();
    let id = |name: &str| facts["jobs"][name].as_str().unwrap().to_owned();
    // Ten seconds after the kill, on the relay's clock, and after a reboot: the boot clock of the machine that made
    // the fixture says nothing here, and on that machine it goes on.
    let by_ms = facts["at_ms"].as_i64().unwrap() + 10_000 - now_ms();
    house.set_clock(&format!("wall={by_ms}ms boot=0s boot_id=another"));
    house.start();
    for name in ["queued", "sending", "batch"] {
        let job = house.settled(&id(name)).await;
        assert_eq!(job["state"], "done", "{name}: {job:#}");
    }
    for (name, state) in [
        ("done", "done"),
        ("failed", "failed"),
        ("canceled", "canceled"),
        ("expired", "expired"),
        ("in_doubt", "in_doubt"),
        ("ahead", "queued"),
    ] {
        assert_eq!(house.job(&id(name)).await["state"], state, "{name}");
    }
    // The part that was sent before is not sent again, and the child of the message follows it.
    let seen = house.ledger().await;
    let effects = seen["effects"].as_array().unwrap().iter();
    let mut kinds: Vec<&str> = effects.map(|one| one["effect"].as_str().unwrap()).collect();
    kinds.sort_unstable();
    assert_eq!(kinds, ["batch", "batch", "message", "message", "pin"]);
    // Keys, labels and what a person may do are as they were.
    let again = json!({"kind": "send", "args": {"to": "oc_5a9db0c0000000000000000000000001", "text": "done"},
        "key": "done", "labels": {"team": "db"}, "then": [{"kind": "pin"}]});
    let (status, job) = house.request("POST", "/v1/jobs", Some(again)).await;
    assert_eq!((status, &job["id"]), (200, &json!(id("done"))));
    let (_, list) = house
        .request("GET", "/v1/jobs?label.team=db&kind=send", None)
        .await;
    assert_eq!(list["jobs"][0]["id"], id("done"));
    let (status, _) = house
        .act(&id("in_doubt"), "settle", Some(json!({"state": "done"})))
        .await;
    assert_eq!(status, 200);
    let (_, status) = house.request("GET", "/v1/status", None).await;
    assert_eq!(status["apps"][0]["jobs"]["in_doubt"], 0, "{status:#}");
    // What was counted by call goes on by cause: one of each before, and what was done here.
    let causes = &status["apps"][0]["month"]["causes"];
    assert_eq!(causes["pin"]["first"], 2, "{causes:#}");
    let sent = ["first", "again"].map(|of| causes["send"][of].as_u64().unwrap());
    assert_eq!(
        (sent, &causes["send"]["lost"]),
        ([3, 1], &json!(1)),
        "{causes:#}"
    );
}

#[tokio::test]
async fn a_database_of_a_later_release_is_refused_and_stays_as_it_is() {
    let house = House::without_relay(None, "").await;
    let config = house.dir.path().join("relay.toml");
    std::fs::write(&config, house.config()).unwrap();
    let before = std::fs::read(fixture("newer.db")).unwrap();
    std::fs::write(house.database(), &before).unwrap();
    let copy = house.dir.path().join("copy");
    for words in [&["serve"][..], &["backup", copy.to_str().unwrap()]] {
        let mut command = house.binary();
        let ended = command.args(words).arg("--config").arg(&config).output();
        let ended = ended.unwrap();
        let said = String::from_utf8_lossy(&ended.stderr);
        assert_eq!(ended.status.code(), Some(2), "{said}");
        assert!(said.contains("newer feishu-relay"), "{said}");
        assert_eq!(std::fs::read(house.database()).unwrap(), before);
    }
    assert!(!copy.exists());
    assert!(!house.dir.path().join("relay.sock").exists());
}
