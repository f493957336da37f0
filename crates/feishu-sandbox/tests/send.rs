//! Sending: receivers, content, refusals, the message object, the uuid's hour.

mod common;

use common::{Room, SEND, id, message};
use feishu_sandbox::{
    DEFAULT_APP_ID, DEFAULT_CHAT, DEFAULT_CLOSED_CHAT, DEFAULT_SECOND_CHAT,
    DEFAULT_UNREACHABLE_USER, DEFAULT_USERS,
};
use serde_json::{Value, json};

fn to(kind: &str) -> String {
    format!("/open-apis/im/v1/messages?receive_id_type={kind}")
}

#[tokio::test]
async fn a_text_comes_back_as_a_message_object_and_is_seen_once() {
    let room = Room::new().await;
    let text = format!("<b>hot</b> <at user_id=\"{}\">x</at>", DEFAULT_USERS[1]);
    let told = room.say(DEFAULT_CHAT, &text).await;
    let data = told.ok();
    assert!(told.header("x-tt-logid").len() > 20);
    assert!(data["message_id"].as_str().unwrap().starts_with("om_"));
    assert_eq!(data["chat_id"], DEFAULT_CHAT);
    assert_eq!(data["msg_type"], "text");
    assert_eq!(data["deleted"], false);
    assert_eq!(data["create_time"], data["update_time"]);
    assert_eq!(data["body"]["content"], r#"{"text":"hot @_user_1"}"#);
    assert_eq!(data["mentions"][0]["id"], DEFAULT_USERS[1]);
    assert_eq!(data["mentions"][0]["name"], "Chen Jing");
    assert_eq!(data["sender"]["id"], DEFAULT_APP_ID);
    assert_eq!(data["sender"]["sender_type"], "app");
    assert!(data.get("root_id").is_none());

    let effects = room.effects("message").await;
    assert_eq!(effects.len(), 1);
    assert_eq!(effects[0]["content"], json!({ "text": text }).to_string());
    assert_eq!(effects[0]["call"], "POST /open-apis/im/v1/messages");
    assert_eq!(effects[0]["app_id"], DEFAULT_APP_ID);
    assert!(effects[0].get("uuid").is_none());
}

#[tokio::test]
async fn a_person_is_reached_under_every_id_in_one_chat() {
    let room = Room::new().await;
    let world = room.get("/_sandbox/world").await.body;
    let user = &world["users"][0];
    let mut chats = Vec::new();
    for kind in ["open_id", "union_id", "user_id", "email"] {
        let body = message(
            user[kind].as_str().unwrap(),
            "text",
            json!({ "text": "hi there" }),
        );
        let told = room.call("POST", &to(kind), body).await;
        chats.push(told.ok()["chat_id"].as_str().unwrap().to_owned());
    }
    chats.dedup();
    assert_eq!(chats.len(), 1);
    room.say(&chats[0], "by chat id").await.ok();
}

#[tokio::test]
async fn a_receiver_who_can_not_be_reached_is_refused() {
    let room = Room::new().await;
    let text = json!({ "text": "hello you" });
    for (kind, to_whom, code, words) in [
        ("open_id", "ou_nobody", 230_001, "ext=invalid receive_id"),
        ("chat_id", "oc_nowhere", 230_001, "ext=invalid receive_id"),
        (
            "email",
            "nobody@sandbox.example",
            230_001,
            "ext=invalid receive_id",
        ),
        ("open_id", DEFAULT_CHAT, 230_001, "receive_id"),
        ("chat_id", DEFAULT_USERS[0], 230_034, ""),
        ("union_id", DEFAULT_USERS[0], 230_034, ""),
        ("chat_id", DEFAULT_CLOSED_CHAT, 230_002, ""),
        ("open_id", DEFAULT_UNREACHABLE_USER, 230_013, ""),
    ] {
        let told = room
            .call("POST", &to(kind), message(to_whom, "text", text.clone()))
            .await;
        assert_eq!(told.http, 400);
        assert!(
            told.code() == code || told.code() == 230_034,
            "{kind} {to_whom}: {}",
            told.body
        );
        assert!(told.msg().contains(words) || told.code() == 230_034);
        assert_eq!(told.body["error"]["log_id"], told.header("x-tt-logid"));
    }
    assert!(room.effects("message").await.is_empty());
    assert_eq!(
        room.counts("POST /open-apis/im/v1/messages").await["refused"],
        8
    );
}

#[tokio::test]
async fn a_missing_field_is_named() {
    let room = Room::new().await;
    let good = message(DEFAULT_CHAT, "text", json!({ "text": "all there" }));
    for field in ["receive_id", "msg_type", "content"] {
        let mut body = good.clone();
        body.as_object_mut().unwrap().remove(field);
        let told = room.call("POST", SEND, body).await;
        told.is(400, 99_992_402);
        assert_eq!(told.body["error"]["field_violations"][0]["field"], field);
    }
    let told = room
        .call("POST", "/open-apis/im/v1/messages", good.clone())
        .await;
    told.is(400, 99_992_402);
    assert_eq!(
        told.body["error"]["field_violations"][0]["field"],
        "receive_id_type"
    );
    room.call("POST", &to("thread_id"), good.clone())
        .await
        .is(400, 99_992_402);
    let mut long = good;
    long["uuid"] = json!("u".repeat(51));
    room.call("POST", SEND, long).await.is(400, 99_992_402);
    let told = room
        .request("POST", SEND)
        .body("no json")
        .send()
        .await
        .unwrap();
    common::told(told).await.is(400, 9499);
}

#[tokio::test]
async fn a_content_of_the_wrong_shape_is_refused() {
    let room = Room::new().await;
    let cases: Vec<(&str, Value, i64, &str)> = vec![
        (
            "text",
            json!({ "words": "x" }),
            230_001,
            "invalid message content",
        ),
        (
            "text",
            json!({ "text": "" }),
            230_001,
            "content cannot be empty",
        ),
        (
            "text",
            json!({ "text": "<at user_id=\"ou_0\"></at>" }),
            230_001,
            "invalid user_id",
        ),
        ("text", json!([]), 230_001, "not a string in json format"),
        (
            "letter",
            json!({ "text": "x" }),
            230_001,
            "invalid msg_type",
        ),
        (
            "image",
            json!({ "image_key": "img_v3_0" }),
            230_001,
            "invalid image_key",
        ),
        (
            "file",
            json!({ "file_key": "file_v3_0" }),
            230_001,
            "invalid file_key",
        ),
        ("post", json!({}), 230_001, "invalid message content"),
        (
            "post",
            json!({ "zh_cn": { "content": [[{ "tag": "blink" }]] } }),
            230_001,
            "",
        ),
        (
            "post",
            post(json!({ "tag": "a", "text": "x", "href": "not a link" })),
            230_001,
            "href",
        ),
        (
            "post",
            post(json!({ "tag": "at", "user_id": "ou_0" })),
            230_001,
            "invalid user_id",
        ),
        (
            "post",
            post(json!({ "tag": "img", "image_key": "img_0" })),
            230_001,
            "image_key",
        ),
        (
            "share_chat",
            json!({ "chat_id": DEFAULT_CLOSED_CHAT }),
            230_002,
            "",
        ),
        (
            "share_user",
            json!({ "user_id": "ou_0" }),
            230_001,
            "user_id",
        ),
        ("system", divider("today"), 230_001, "group chats"),
    ];
    for (msg_type, content, code, words) in cases {
        room.align().await;
        let told = room
            .call("POST", SEND, message(DEFAULT_CHAT, msg_type, content))
            .await;
        told.is(400, code).says(words);
    }
    let mut object = message(DEFAULT_CHAT, "text", json!({}));
    object["content"] = json!({ "text": "no string" });
    room.call("POST", SEND, object)
        .await
        .is(400, 230_001)
        .says("not a string in json format");
    assert!(room.effects("message").await.is_empty());
}

fn post(node: Value) -> Value {
    json!({ "zh_cn": { "title": "t", "content": [[node]] } })
}

fn divider(text: &str) -> Value {
    json!({ "type": "divider", "params": { "divider_text": { "text": text } } })
}

#[tokio::test]
async fn a_content_that_is_too_long_is_refused() {
    let room = Room::new().await;
    room.say(DEFAULT_CHAT, &"x".repeat(151_000))
        .await
        .is(400, 230_025);
    room.say(DEFAULT_CHAT, &"x".repeat(149_000)).await.ok();
    let long = post(json!({ "tag": "text", "text": "x".repeat(30_000) }));
    room.call("POST", SEND, message(DEFAULT_CHAT, "post", long))
        .await
        .is(400, 230_025);
}

#[tokio::test]
async fn a_post_comes_back_without_its_language() {
    let room = Room::new().await;
    let content = json!({
        "en_us": { "content": [[{ "tag": "text", "text": "english" }]] },
        "zh_cn": { "title": "T", "content": [
            [{ "tag": "text", "text": "a ", "style": ["bold", "blink"] },
             { "tag": "at", "user_id": DEFAULT_USERS[0] }],
            [{ "tag": "md", "text": "one\ntwo" }],
        ] },
    });
    let told = room
        .call("POST", SEND, message(DEFAULT_CHAT, "post", content))
        .await;
    let shown: Value =
        serde_json::from_str(told.ok()["body"]["content"].as_str().unwrap()).unwrap();
    assert_eq!(shown["title"], "T");
    assert_eq!(shown["content"][0][0]["style"], json!(["bold"]));
    assert_eq!(shown["content"][0][1]["user_id"], "@_user_1");
    assert_eq!(shown["content"][2][0]["text"], "two");
    assert_eq!(told.data()["mentions"][0]["id"], DEFAULT_USERS[0]);
}

#[tokio::test]
async fn a_system_divider_goes_to_one_person_only() {
    let room = Room::new().await;
    let body = |text| message(DEFAULT_USERS[0], "system", divider(text));
    room.call("POST", &to("open_id"), body("today")).await.ok();
    room.call("POST", &to("open_id"), body("twenty-one characters"))
        .await
        .is(400, 230_001);
    room.call("POST", &to("open_id"), body(""))
        .await
        .is(400, 230_001);
}

#[tokio::test]
async fn a_bad_card_says_its_sub_code() {
    let room = Room::new().await;
    let v2 = |elements: Vec<Value>| json!({ "schema": "2.0", "body": { "elements": elements } });
    let hr = || json!({ "tag": "hr" });
    let cases = vec![
        (json!({ "header": {} }), "ErrCode: 200621"),
        (v2((0..201).map(|_| hr()).collect()), "ErrCode: 11310"),
        (
            v2(vec![json!({ "tag": "note", "elements": [] })]),
            "ErrCode: 200861",
        ),
        (
            v2(vec![json!({ "tag": "img", "img_key": "img_0" })]),
            "ErrCode: 200570",
        ),
        (
            v2(vec![
                json!({ "tag": "markdown", "content": "<at id=ou_0></at>" }),
            ]),
            "ErrCode: 100290",
        ),
        (
            json!({ "type": "template", "data": { "template_id": "?" } }),
            "ErrCode: 200380",
        ),
    ];
    for (card, words) in cases {
        room.align().await;
        let told = room
            .call("POST", SEND, message(DEFAULT_CHAT, "interactive", card))
            .await;
        told.is(400, 230_099)
            .says("Failed to create card content, ext=")
            .says(words);
    }
    let mut broken = message(DEFAULT_CHAT, "interactive", json!({}));
    broken["content"] = json!("{");
    room.call("POST", SEND, broken)
        .await
        .is(400, 230_099)
        .says("200621");
    let good = v2((0..200).map(|_| hr()).collect());
    room.call("POST", SEND, message(DEFAULT_CHAT, "interactive", good))
        .await
        .ok();
}

#[tokio::test]
async fn a_uuid_sends_once_in_its_hour_and_again_after_it() {
    let room = Room::new().await;
    let body = |text: &str| {
        let mut body = message(DEFAULT_CHAT, "text", json!({ "text": text }));
        body["uuid"] = json!("one-key");
        body
    };
    let first = room.call("POST", SEND, body("first")).await;
    room.advance("59m").await;
    let again = room.call("POST", SEND, body("other words")).await;
    assert_eq!(first.ok(), again.ok());
    assert_eq!(room.effects("message").await.len(), 1);
    room.advance("61s").await;
    let late = room.call("POST", SEND, body("late")).await;
    assert_ne!(id(&first), id(&late));
    let effects = room.effects("message").await;
    assert_eq!(effects.len(), 2);
    assert_eq!(effects[1]["uuid"], "one-key");
}

#[tokio::test]
async fn a_refused_call_does_not_use_up_its_uuid() {
    let room = Room::new().await;
    let mut bad = message(DEFAULT_CLOSED_CHAT, "text", json!({ "text": "no entry" }));
    bad["uuid"] = json!("key");
    room.call("POST", SEND, bad.clone()).await.is(400, 230_002);
    bad["receive_id"] = json!(DEFAULT_SECOND_CHAT);
    assert_eq!(
        room.call("POST", SEND, bad).await.ok()["chat_id"],
        DEFAULT_SECOND_CHAT
    );
}

#[tokio::test]
async fn a_uuid_belongs_to_its_app_unless_the_switch_says_otherwise() {
    for (switches, same) in [(r#"{}"#, false), (r#"{"uuid_scope":"tenant"}"#, true)] {
        let seed = format!(
            r#"{{"apps":[{{"app_id":"cli_a","app_secret":"a"}},{{"app_id":"cli_b","app_secret":"b"}}],"switches":{switches}}}"#
        );
        let room = Room::with(&seed).await;
        let mut ids = Vec::new();
        for app in ["a", "b"] {
            let token = room.token_of(&format!("cli_{app}"), app).await.unwrap();
            let mut body = message(DEFAULT_CHAT, "text", json!({ "text": "shared key" }));
            body["uuid"] = json!("key");
            ids.push(id(&room.call_as(&token, "POST", SEND, body).await));
        }
        assert_eq!(ids[0] == ids[1], same, "{switches}");
    }
}
