//! Custom bots: signature, keywords, windows, and what they may say.

mod common;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use common::{Room, Told, told};
use feishu_sandbox::{
    DEFAULT_CHAT, DEFAULT_HOOK, DEFAULT_HOOK_SECRET, DEFAULT_SIGNED_HOOK, DEFAULT_USER,
};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;

async fn say(room: &Room, hook: &str, body: Value) -> Told {
    let request = room
        .raw("POST", &format!("/open-apis/bot/v2/hook/{hook}"))
        .json(&body);
    told(request.send().await.expect("an answer")).await
}

fn text(words: &str) -> Value {
    json!({ "msg_type": "text", "content": { "text": words } })
}

fn signed(words: &str, seconds: i64, secret: &str) -> Value {
    let key = format!("{seconds}\n{secret}");
    let mac = Hmac::<Sha256>::new_from_slice(key.as_bytes()).expect("any length");
    let sign = STANDARD.encode(mac.finalize().into_bytes());
    let mut body = text(words);
    body["timestamp"] = json!(seconds.to_string());
    body["sign"] = json!(sign);
    body
}

#[tokio::test]
async fn a_custom_bot_speaks_without_a_token_and_answers_no_id() {
    let room = Room::new().await;
    let told = say(&room, DEFAULT_HOOK, text("disk full")).await;
    assert_eq!(told.ok(), &json!({}));
    say(&room, DEFAULT_HOOK, text("disk full")).await.ok();
    let effects = room.effects("message").await;
    assert_eq!(effects.len(), 2, "a repeat is a second message");
    assert_eq!(effects[0]["call"], "POST /open-apis/bot/v2/hook/:hook");
    assert_eq!(effects[0]["chat_id"], DEFAULT_CHAT);
    assert_eq!(effects[0]["content"], json!({ "text": "disk full" }));
    assert_eq!(effects[0].get("app_id"), None);
    let card = json!({ "elements": [{ "tag": "hr" }] });
    say(
        &room,
        DEFAULT_HOOK,
        json!({ "msg_type": "interactive", "card": card }),
    )
    .await
    .ok();
    let post = json!({ "post": { "zh_cn": { "title": "T", "content": [[{ "tag": "text", "text": "w" }]] } } });
    say(
        &room,
        DEFAULT_HOOK,
        json!({ "msg_type": "post", "content": post }),
    )
    .await
    .ok();
    let chat = json!({ "share_chat_id": DEFAULT_CHAT });
    say(
        &room,
        DEFAULT_HOOK,
        json!({ "msg_type": "share_chat", "content": chat }),
    )
    .await
    .ok();
    let history =
        format!("/open-apis/im/v1/messages?container_id_type=chat&container_id={DEFAULT_CHAT}");
    let listed = room.get(&history).await;
    let kinds: Vec<&str> = (listed.ok()["items"].as_array().unwrap().iter())
        .map(|item| item["msg_type"].as_str().unwrap())
        .collect();
    assert_eq!(kinds, ["text", "text", "interactive", "post", "share_chat"]);
    assert_eq!(
        listed.data()["items"][4]["body"]["content"],
        json!({ "chat_id": DEFAULT_CHAT }).to_string()
    );
}

#[tokio::test]
async fn a_signature_must_be_right_and_young() {
    let room = Room::with(r#"{"limits":{"bot_second":0}}"#).await;
    let now_s = room.advance("0s").await / 1_000;
    let hook = DEFAULT_SIGNED_HOOK;
    say(&room, hook, signed("x", now_s, DEFAULT_HOOK_SECRET))
        .await
        .ok();
    let mut number = signed("x", now_s, DEFAULT_HOOK_SECRET);
    number["timestamp"] = json!(now_s);
    say(&room, hook, number).await.ok();
    for bad in [
        text("unsigned"),
        signed("x", now_s, "another secret"),
        signed("x", now_s - 3_700, DEFAULT_HOOK_SECRET),
        signed("x", now_s + 3_700, DEFAULT_HOOK_SECRET),
        json!({ "timestamp": "soon", "sign": "x", "msg_type": "text", "content": { "text": "x" } }),
    ] {
        say(&room, hook, bad).await.is(200, 19_021);
    }
    assert_eq!(room.effects("message").await.len(), 2);
}

#[tokio::test]
async fn a_keyword_must_stand_in_what_is_said() {
    let seed = json!({ "hooks": [
        { "hook": "key", "chat_id": DEFAULT_CHAT, "keywords": ["alarm", "告警"] },
        { "hook": "gone", "chat_id": DEFAULT_CHAT, "refuse": 11205 },
    ] });
    let room = Room::with(&seed.to_string()).await;
    say(&room, "key", text("an alarm")).await.ok();
    let card = json!({ "header": { "title": { "tag": "plain_text", "content": "告警" } },
        "elements": [{ "tag": "hr" }] });
    say(
        &room,
        "key",
        json!({ "msg_type": "interactive", "card": card }),
    )
    .await
    .ok();
    say(&room, "key", text("all quiet")).await.is(200, 19_024);
    say(&room, "gone", text("x")).await.is(200, 11_205);
    say(&room, DEFAULT_HOOK, text("x")).await.is(400, 9499);
}

#[tokio::test]
async fn a_custom_bot_says_five_things_in_a_second() {
    let room = Room::with(r#"{"limits":{"bot_minute":7}}"#).await;
    room.align().await;
    for _ in 0..5 {
        say(&room, DEFAULT_HOOK, text("x")).await.ok();
    }
    say(&room, DEFAULT_HOOK, text("x")).await.is(200, 11_232);
    // The refused call has used up the minute, too.
    room.advance("1s").await;
    say(&room, DEFAULT_HOOK, text("x")).await.ok();
    say(&room, DEFAULT_HOOK, text("x")).await.is(200, 11_232);
    let counts = room.counts("POST /open-apis/bot/v2/hook/:hook").await;
    assert_eq!(
        (&counts["done"], &counts["limited"]),
        (&json!(6), &json!(2))
    );

    let room = Room::with(r#"{"limits":{"bot_second":1},"switches":{"hook_over":"9499"}}"#).await;
    room.align().await;
    say(&room, DEFAULT_HOOK, text("x")).await.ok();
    say(&room, DEFAULT_HOOK, text("x"))
        .await
        .is(400, 9499)
        .says("too many request");
}

#[tokio::test]
async fn what_a_custom_bot_can_not_say_is_a_bad_request() {
    let room = Room::with(r#"{"limits":{"bot_second":0}}"#).await;
    let md = json!({ "post": { "zh_cn": { "content": [[{ "tag": "md", "text": "w" }]] } } });
    for bad in [
        json!({}),
        json!([]),
        json!({ "msg_type": "text" }),
        json!({ "msg_type": "text", "content": "{\"text\":\"x\"}" }),
        json!({ "msg_type": "text", "content": { "text": "" } }),
        json!({ "msg_type": "file", "content": { "file_key": "file_0" } }),
        json!({ "msg_type": "image", "content": { "image_key": "img_0" } }),
        json!({ "msg_type": "share_chat", "content": { "share_chat_id": DEFAULT_USER } }),
        json!({ "msg_type": "interactive", "card": {} }),
        json!({ "msg_type": "post", "content": md }),
        text(&"x".repeat(20_001)),
    ] {
        say(&room, DEFAULT_HOOK, bad).await.is(400, 9499);
    }
    assert!(room.effects("message").await.is_empty());
}

#[tokio::test]
async fn a_hook_of_an_unknown_chat_is_no_seed() {
    let seed = json!({ "hooks": [{ "hook": "x", "chat_id": "oc_0" }] });
    let error = feishu_sandbox::Seed::from_json(&seed.to_string()).expect_err("no such chat");
    assert!(error.to_string().contains("hooks[0].chat_id"), "{error}");
    // Without hooks of its own a seed keeps the default ones whose chats are there.
    let room = Room::with(r#"{"chats":[{"chat_id":"oc_1"}]}"#).await;
    say(&room, DEFAULT_HOOK, text("x")).await.is(400, 9499);
}
