//! The state file: everything that was answered outlives the sandbox.

mod common;

use std::io::Write;

use common::{Room, SEND, id, message};
use feishu_sandbox::{DEFAULT_CHAT, DEFAULT_USERS, Options, Seed, StartError, start};
use serde_json::{Value, json};
use tempfile::TempDir;

fn options(dir: &TempDir) -> Options {
    Options {
        listen: ([127, 0, 0, 1], 0).into(),
        state: Some(dir.path().join("state.jsonl")),
        seed: None,
    }
}

/// A message with a pin, a buzz and a reader, sent under a uuid.
async fn fill(room: &Room) -> String {
    let mut body = message(DEFAULT_CHAT, "text", json!({ "text": "remember me" }));
    body["uuid"] = json!("key");
    let message = id(&room.call("POST", SEND, body).await);
    room.call(
        "POST",
        "/open-apis/im/v1/pins",
        json!({ "message_id": message }),
    )
    .await
    .ok();
    let path = format!("/open-apis/im/v1/messages/{message}/urgent_app?user_id_type=open_id");
    let users = json!({ "user_id_list": [DEFAULT_USERS[1]] });
    room.call("PATCH", &path, users).await.ok();
    room.act(json!({ "do": "read", "user": DEFAULT_USERS[0], "message": message }))
        .await;
    room.advance("10m").await;
    message
}

#[tokio::test]
async fn ledger_world_and_clock_outlive_a_restart() {
    let dir = TempDir::new().unwrap();
    let room = Room::open(options(&dir)).await;
    let message = fill(&room).await;
    let before = room.ledger().await;
    let token = room.token.clone();
    // Nothing is flushed on the way out: this is what a kill leaves.
    drop(room);

    let room = Room::open(options(&dir)).await;
    let after = room.ledger().await;
    assert_eq!(after["effects"], before["effects"]);
    assert_eq!(
        after["calls"].as_array().unwrap()[2..],
        before["calls"].as_array().unwrap()[2..]
    );
    let drift = after["now"].as_i64().unwrap() - before["now"].as_i64().unwrap();
    assert!((0..60_000).contains(&drift), "{drift}");
    assert_eq!(room.token, token);

    let pins = room
        .get(&format!("/open-apis/im/v1/pins?chat_id={DEFAULT_CHAT}"))
        .await;
    assert_eq!(pins.ok()["items"][0]["message_id"], message);
    let path = format!("/open-apis/im/v1/messages/{message}/read_users?user_id_type=open_id");
    assert_eq!(
        room.get(&path).await.ok()["items"][0]["user_id"],
        DEFAULT_USERS[0]
    );
    let mut body = common::message(DEFAULT_CHAT, "text", json!({ "text": "again" }));
    body["uuid"] = json!("key");
    assert_eq!(id(&room.call("POST", SEND, body).await), message);
    assert_eq!(room.effects("message").await.len(), 1);
}

#[tokio::test]
async fn a_torn_last_line_is_left_out_and_a_torn_other_is_an_error() {
    let dir = TempDir::new().unwrap();
    let room = Room::open(options(&dir)).await;
    let message = fill(&room).await;
    drop(room);
    let path = dir.path().join("state.jsonl");
    let mut file = std::fs::OpenOptions::new()
        .append(true)
        .open(&path)
        .unwrap();
    file.write_all(b"{\"message\":{\"mess").unwrap();
    let room = Room::open(options(&dir)).await;
    room.get(&format!("/open-apis/im/v1/messages/{message}"))
        .await
        .ok();
    drop(room);

    let whole = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, format!("torn\n{whole}")).unwrap();
    let error = start(options(&dir)).await.expect_err("a torn file");
    assert!(matches!(error, StartError::State { .. }));
    assert!(error.to_string().contains("line 1"), "{error}");
}

#[tokio::test]
async fn a_seed_given_later_changes_the_rules_and_keeps_what_happened() {
    let dir = TempDir::new().unwrap();
    let room = Room::open(options(&dir)).await;
    fill(&room).await;
    drop(room);
    let seed = Seed::from_json(r#"{"limits":{"month":1}}"#).unwrap();
    let room = Room::open(Options {
        seed: Some(seed),
        ..options(&dir)
    })
    .await;
    assert_eq!(room.effects("message").await.len(), 1);
    room.get("/open-apis/bot/v3/info").await.is(200, 0);
    room.get("/open-apis/bot/v3/info").await.is(429, 99_991_403);
    drop(room);
    let room = Room::open(options(&dir)).await;
    room.get("/open-apis/bot/v3/info").await.is(429, 99_991_403);
}

#[tokio::test]
async fn many_sandboxes_live_in_one_process_and_one_that_stops_is_gone() {
    let (one, two) = (Room::new().await, Room::new().await);
    one.said("only here").await;
    assert_eq!(two.ledger().await["effects"], json!([]));
    let addr = one.sandbox.addr();
    let taken = start(Options {
        listen: addr,
        ..Options::default()
    })
    .await;
    assert!(matches!(taken, Err(StartError::Listen { .. })));
    one.sandbox.stop().await;
    assert!(tokio::net::TcpStream::connect(addr).await.is_err());
    let again = start(Options {
        listen: addr,
        ..Options::default()
    })
    .await
    .unwrap();
    assert_eq!(again.addr(), addr);
}

#[tokio::test]
async fn the_ledger_has_the_shape_of_the_contract() {
    let room = Room::new().await;
    let message = fill(&room).await;
    let ledger = room.ledger().await;
    assert!(ledger["now"].is_i64());
    let effects = ledger["effects"].as_array().unwrap();
    let kinds: Vec<&str> = effects
        .iter()
        .map(|each| each["effect"].as_str().unwrap())
        .collect();
    assert_eq!(kinds, ["message", "pin", "urgent_app"]);
    for (at, effect) in effects.iter().enumerate() {
        assert_eq!(effect["seq"], at + 1);
        assert_eq!(effect["message_id"], message);
        assert_eq!(effect["chat_id"], DEFAULT_CHAT);
        assert!(effect["at"].is_i64());
    }
    let since = room.get("/_sandbox/ledger?since=2").await.body;
    assert_eq!(since["effects"].as_array().unwrap().len(), 1);
    let send = room.counts("POST /open-apis/im/v1/messages").await;
    let expected = json!({
        "call": "POST /open-apis/im/v1/messages",
        "made": 1, "done": 1, "refused": 0, "limited": 0, "faulted": 0,
    });
    assert_eq!(send, expected);
}

#[tokio::test]
async fn controls_refuse_what_they_do_not_know() {
    let room = Room::new().await;
    assert_eq!(
        room.control("clock", json!({ "advance": "soon" }))
            .await
            .http,
        422
    );
    let frozen = room.control("clock", json!({ "freeze": "yes" })).await;
    assert_eq!(frozen.http, 422);
    assert_eq!(room.control("ledger", json!({})).await.http, 405);
    assert_eq!(room.control("nothing", json!({})).await.http, 404);
    let now = room.advance("0s").await;
    assert!(room.advance("-5m").await < now);
    let foreign = room
        .raw("GET", "/_sandbox/ledger")
        .header("origin", "https://evil.example");
    assert_eq!(foreign.send().await.unwrap().status(), 403);
    let world = room.get("/_sandbox/world").await.body;
    assert_eq!(world["chats"][0]["chat_id"], DEFAULT_CHAT);
    assert_eq!(world["apps"][0].get("app_secret"), None::<&Value>);
}
