//! Windows and allowances: who is refused, with which headers, and until when.

mod common;

use common::{Room, SEND, id, message};
use feishu_sandbox::{DEFAULT_CHAT, DEFAULT_SECOND_CHAT, DEFAULT_USERS, staff_open_id};
use serde_json::{Value, json};

const CALL: &str = "POST /open-apis/im/v1/messages";

fn seed(limits: &str) -> String {
    format!(r#"{{"limits":{limits}}}"#)
}

#[tokio::test]
async fn the_gateway_refuses_what_is_over_the_second_and_says_when_it_ends() {
    let room = Room::with(&seed(r#"{"app_second":3}"#)).await;
    room.align().await;
    for _ in 0..3 {
        room.get("/open-apis/bot/v3/info").await.is(200, 0);
    }
    let refused = room.get("/open-apis/bot/v3/info").await;
    refused.is(429, 99_991_400);
    assert_eq!(refused.header("x-ogw-ratelimit-limit"), "3");
    assert_eq!(refused.header("x-ogw-ratelimit-reset"), "1");
    room.advance("1s").await;
    room.get("/open-apis/bot/v3/info").await.is(200, 0);
    let counts = room.counts("GET /open-apis/bot/v3/info").await;
    assert_eq!(
        (&counts["done"], &counts["limited"]),
        (&json!(4), &json!(1))
    );
}

#[tokio::test]
async fn the_gateway_refuses_what_is_over_the_minute_for_one_api_alone() {
    let room = Room::with(&seed(r#"{"app_minute":2}"#)).await;
    room.align().await;
    for span in ["0s", "10s"] {
        room.advance(span).await;
        room.get("/open-apis/bot/v3/info").await.is(200, 0);
    }
    let refused = room.get("/open-apis/bot/v3/info").await;
    refused.is(429, 99_991_400);
    let reset: i64 = refused.header("x-ogw-ratelimit-reset").parse().unwrap();
    assert!((45..=50).contains(&reset), "{reset}");
    room.said("another api").await;
    room.advance("50s").await;
    room.get("/open-apis/bot/v3/info").await.is(200, 0);
}

#[tokio::test]
async fn the_body_of_a_gateway_refusal_may_be_missing() {
    let seed = r#"{"limits":{"app_second":1},"switches":{"limit_body":"empty"}}"#;
    let room = Room::with(seed).await;
    room.align().await;
    room.get("/open-apis/bot/v3/info").await.is(200, 0);
    let refused = room.get("/open-apis/bot/v3/info").await;
    assert_eq!((refused.http, refused.body), (429, Value::Null));
}

#[tokio::test]
async fn a_group_takes_five_a_second_from_all_bots_together() {
    let room = Room::with(
        r#"{"apps":[{"app_id":"cli_a","app_secret":"a"},{"app_id":"cli_b","app_secret":"b"}]}"#,
    )
    .await;
    let (a, b) = (
        room.token_of("cli_a", "a").await,
        room.token_of("cli_b", "b").await,
    );
    let (a, b) = (a.unwrap(), b.unwrap());
    room.align().await;
    let body = message(DEFAULT_CHAT, "text", json!({ "text": "one of many" }));
    for _ in 0..5 {
        room.call_as(&a, "POST", SEND, body.clone()).await.ok();
    }
    let refused = room.call_as(&b, "POST", SEND, body.clone()).await;
    refused.is(400, 230_020).says("ext=chat rate limit");
    assert!(refused.headers.get("x-ogw-ratelimit-reset").is_none());
    let elsewhere = message(DEFAULT_SECOND_CHAT, "text", json!({ "text": "free here" }));
    room.call_as(&b, "POST", SEND, elsewhere).await.ok();
    room.advance("1s").await;
    room.call_as(&b, "POST", SEND, body).await.ok();
    assert_eq!(room.counts(CALL).await["limited"], 1);
}

#[tokio::test]
async fn a_person_takes_five_a_second_under_whatever_id() {
    let room = Room::new().await;
    room.align().await;
    let path = "/open-apis/im/v1/messages?receive_id_type=open_id";
    let body = message(DEFAULT_USERS[0], "text", json!({ "text": "one of many" }));
    let first = room.call("POST", path, body.clone()).await;
    let chat = first.ok()["chat_id"].as_str().unwrap().to_owned();
    for _ in 0..4 {
        room.say(&chat, "and another").await.ok();
    }
    room.call("POST", path, body).await.is(400, 230_020);
    let other = message(DEFAULT_USERS[1], "text", json!({ "text": "someone else" }));
    room.call("POST", path, other).await.ok();
}

#[tokio::test]
async fn a_limit_of_zero_is_off() {
    let zero = r#"{"app_minute":0,"app_second":0,"chat_second":0}"#;
    let room = Room::with(&seed(zero)).await;
    for _ in 0..60 {
        room.say(DEFAULT_CHAT, "as fast as it goes").await.ok();
    }
}

#[tokio::test]
async fn one_message_is_pinned_five_times_a_second() {
    let room = Room::new().await;
    let message = room.said("pin me").await;
    room.align().await;
    let body = json!({ "message_id": message });
    for _ in 0..5 {
        room.call("POST", "/open-apis/im/v1/pins", body.clone())
            .await
            .ok();
    }
    let path = format!("/open-apis/im/v1/pins/{message}");
    room.call("DELETE", &path, Value::Null)
        .await
        .is(400, 230_047);
    room.call("POST", "/open-apis/im/v1/pins", body)
        .await
        .is(400, 230_047);
}

#[tokio::test]
async fn listing_pins_has_a_window_of_its_own() {
    let room = Room::with(&seed(r#"{"list_pins_second":2}"#)).await;
    room.align().await;
    let path = format!("/open-apis/im/v1/pins?chat_id={DEFAULT_CHAT}");
    for _ in 0..2 {
        room.get(&path).await.ok();
    }
    room.get(&path).await.is(400, 230_048);
}

#[tokio::test]
async fn a_month_used_up_refuses_every_counted_call_until_the_next() {
    let room = Room::with(&seed(r#"{"month":2}"#)).await;
    room.say("oc_nowhere", "failed calls are free")
        .await
        .is(400, 230_001);
    room.said("one").await;
    room.get("/open-apis/bot/v3/info").await.is(200, 0);
    room.get("/open-apis/bot/v3/info").await.is(429, 99_991_403);
    room.say(DEFAULT_CHAT, "three").await.is(429, 99_991_403);
    room.advance("31d").await;
    let token = room
        .token_of(feishu_sandbox::DEFAULT_APP_ID, "sandbox-secret")
        .await
        .unwrap();
    room.call_as(&token, "GET", "/open-apis/bot/v3/info", Value::Null)
        .await
        .is(200, 0);
}

#[tokio::test]
async fn a_day_of_batches_used_up_refuses_until_midnight() {
    let room = Room::with(&seed(r#"{"batch_day":3}"#)).await;
    let batch = |users: &[String]| json!({ "msg_type": "text", "content": { "text": "to many" }, "open_ids": users });
    let path = "/open-apis/message/v4/batch_send/";
    let two = [staff_open_id(1), staff_open_id(2)];
    room.call("POST", path, batch(&two)).await.ok();
    room.call("POST", path, batch(&two)).await.is(200, 11_247);
    room.call("POST", path, batch(&two[..1])).await.ok();
    room.advance("24h").await;
    let token = room
        .token_of(feishu_sandbox::DEFAULT_APP_ID, "sandbox-secret")
        .await
        .unwrap();
    id(&room.call_as(&token, "POST", path, batch(&two)).await);
}
