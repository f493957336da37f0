//! Faults: each kind on either side of the effect, as a client meets it.

mod common;

use std::time::{Duration, Instant};

use common::{Room, SEND, Told, id, message, told};
use feishu_sandbox::DEFAULT_CHAT;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const CALL: &str = "POST /open-apis/im/v1/messages";

/// Sends one text with a uuid and says how it ended.
async fn attempt(room: &Room) -> Result<Told, reqwest::Error> {
    let mut body = message(DEFAULT_CHAT, "text", json!({ "text": "under a fault" }));
    body["uuid"] = json!("key");
    let response = room.request("POST", SEND).json(&body).send().await?;
    let (http, headers) = (response.status().as_u16(), response.headers().clone());
    let bytes = response.bytes().await?;
    Ok(Told {
        http,
        headers,
        body: serde_json::from_slice(&bytes).unwrap_or(Value::Null),
    })
}

async fn seen(room: &Room) -> usize {
    room.effects("message").await.len()
}

#[tokio::test]
async fn a_dropped_or_reset_or_cut_answer_is_an_error_on_either_side_of_the_effect() {
    for what in ["drop", "reset", "cut"] {
        for (when, effects) in [("before", 0), ("after", 1)] {
            let room = Room::new().await;
            let rule = json!([{ "call": CALL, "do": what, "when": when, "count": 1 }]);
            room.faults(rule).await;
            assert!(attempt(&room).await.is_err(), "{what} {when}");
            assert_eq!(seen(&room).await, effects, "{what} {when}");
            attempt(&room).await.unwrap().ok();
            assert_eq!(seen(&room).await, 1, "{what} {when}");
            let counts = room.counts(CALL).await;
            assert_eq!(
                (&counts["made"], &counts["faulted"]),
                (&json!(2), &json!(1)),
                "{what}"
            );
        }
    }
}

#[tokio::test]
async fn an_answer_of_a_fault_looks_like_feishus() {
    for (when, effects) in [("before", 0), ("after", 1)] {
        let rule = |more: Value| {
            let mut rule = json!({ "call": CALL, "when": when });
            rule.as_object_mut()
                .unwrap()
                .extend(more.as_object().unwrap().clone());
            json!([rule])
        };
        let room = Room::new().await;

        room.faults(rule(json!({ "do": "5xx" }))).await;
        let broken = attempt(&room).await.unwrap();
        assert_eq!((broken.http, &broken.body), (503, &Value::Null));
        room.faults(rule(json!({ "do": "5xx", "http": 500, "code": 1500 })))
            .await;
        attempt(&room).await.unwrap().is(500, 1500);

        room.faults(rule(json!({ "do": "429", "reset_s": 7 })))
            .await;
        let limited = attempt(&room).await.unwrap();
        limited.is(429, 99_991_400);
        assert_eq!(limited.header("x-ogw-ratelimit-reset"), "7");
        assert!(!limited.header("x-tt-logid").is_empty());

        room.faults(rule(json!({ "do": "code", "code": 230_020 })))
            .await;
        attempt(&room).await.unwrap().is(400, 230_020);
        room.faults(rule(json!({ "do": "code", "code": 11_232, "http": 200 })))
            .await;
        attempt(&room).await.unwrap().is(200, 11_232);
        assert_eq!(seen(&room).await, effects);
    }
}

#[tokio::test]
async fn a_delay_waits_and_then_the_call_goes_on() {
    for when in ["before", "after"] {
        let room = Room::new().await;
        room.faults(json!([{ "call": CALL, "do": "delay", "ms": 300, "when": when }]))
            .await;
        let start = Instant::now();
        attempt(&room).await.unwrap().ok();
        assert!(start.elapsed() >= Duration::from_millis(300), "{when}");
        assert_eq!(seen(&room).await, 1);
    }
}

#[tokio::test]
async fn a_call_goes_on_when_its_caller_hangs_up() {
    let room = Room::new().await;
    room.faults(json!([{ "call": CALL, "do": "delay", "ms": 400, "count": 1 }]))
        .await;
    let body = message(DEFAULT_CHAT, "text", json!({ "text": "late but sure" }));
    let hasty = room
        .request("POST", SEND)
        .json(&body)
        .timeout(Duration::from_millis(100));
    assert!(hasty.send().await.unwrap_err().is_timeout());
    assert_eq!(seen(&room).await, 0);
    let start = Instant::now();
    while seen(&room).await == 0 {
        assert!(
            start.elapsed() < Duration::from_secs(10),
            "the call was given up"
        );
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_repeat_while_the_first_answer_is_held_back_is_told_to_wait() {
    let room = Room::new().await;
    let rule = json!([{ "call": CALL, "do": "delay", "ms": 500, "when": "after", "count": 1 }]);
    room.faults(rule).await;
    let (first, second) = tokio::join!(attempt(&room), async {
        while seen(&room).await == 0 {
            tokio::task::yield_now().await;
        }
        attempt(&room).await.unwrap()
    });
    second.is(400, 230_049);
    let third = attempt(&room).await.unwrap();
    assert_eq!(id(&first.unwrap()), id(&third));
    assert_eq!(seen(&room).await, 1);
}

#[tokio::test]
async fn a_cut_answer_promises_more_than_it_sends() {
    let room = Room::new().await;
    room.faults(json!([{ "call": "*", "do": "cut", "when": "after" }]))
        .await;
    let mut stream = tokio::net::TcpStream::connect(room.sandbox.addr())
        .await
        .unwrap();
    let request = "GET /open-apis/bot/v3/info HTTP/1.1\r\nhost: x\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    let answer = String::from_utf8(answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("Content-Length: "))
        .unwrap();
    let length: usize = length.parse().unwrap();
    assert_eq!(body.len(), length / 2);
    assert!(body.starts_with("{\"code\":99991661"));
}

#[tokio::test]
async fn a_reset_is_a_reset_and_a_drop_is_an_end() {
    for (what, reset) in [("reset", true), ("drop", false)] {
        let room = Room::new().await;
        room.faults(json!([{ "call": "*", "do": what }])).await;
        let mut stream = tokio::net::TcpStream::connect(room.sandbox.addr())
            .await
            .unwrap();
        let request = "GET /open-apis/bot/v3/info HTTP/1.1\r\nhost: x\r\n\r\n";
        stream.write_all(request.as_bytes()).await.unwrap();
        let ended = stream.read_to_end(&mut Vec::new()).await;
        let kind = ended.as_ref().err().map(std::io::Error::kind);
        assert_eq!(
            kind == Some(std::io::ErrorKind::ConnectionReset),
            reset,
            "{what}: {ended:?}"
        );
    }
}

#[tokio::test]
async fn faults_reach_token_calls_and_unknown_paths_but_never_the_controls() {
    let room = Room::new().await;
    room.faults(json!([{ "call": "*", "do": "5xx" }])).await;
    for path in [common::TOKEN, "/open-apis/nothing/at/all"] {
        let answer = told(room.raw("POST", path).send().await.unwrap()).await;
        assert_eq!(answer.http, 503);
    }
    assert_eq!(room.ledger().await["effects"], json!([]));
    room.faults(json!([])).await;
    room.said("all quiet").await;
}

#[tokio::test]
async fn a_list_is_answered_as_stored_and_a_bad_one_names_rule_and_field() {
    let room = Room::new().await;
    let good = json!([{ "call": CALL, "do": "drop", "when": "after", "count": 2, "share": 0.5 }]);
    assert_eq!(room.control("faults", good.clone()).await.body, good);
    let bad = json!([{ "call": "*", "do": "drop" }, { "call": "*", "do": "drop", "when": "now" }]);
    let refused = room.control("faults", bad).await;
    assert_eq!(refused.http, 422);
    assert_eq!(refused.body["errors"][0]["pointer"], "/1/when");
    assert!(
        refused.body["detail"]
            .as_str()
            .unwrap()
            .contains("rule 1, field when")
    );
    assert_eq!(room.get("/_sandbox/faults").await.body, good);
}
