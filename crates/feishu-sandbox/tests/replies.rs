//! Replies, threads, edits and follow-up bubbles.

mod common;

use common::{Room, SEND, Told, id, message};
use feishu_sandbox::{DEFAULT_APP_ID, DEFAULT_CHAT, DEFAULT_CLOSED_CHAT, DEFAULT_USER};
use serde_json::{Value, json};

fn path(message_id: &str) -> String {
    format!("/open-apis/im/v1/messages/{message_id}")
}

fn text(words: &str) -> Value {
    json!({ "msg_type": "text", "content": json!({ "text": words }).to_string() })
}

async fn reply(room: &Room, parent: &str, body: Value) -> Told {
    room.call("POST", &format!("{}/reply", path(parent)), body)
        .await
}

async fn edit(room: &Room, message_id: &str, body: Value) -> Told {
    room.call("PUT", &path(message_id), body).await
}

fn in_thread(words: &str) -> Value {
    let mut body = text(words);
    body["reply_in_thread"] = json!(true);
    body
}

async fn history(room: &Room, kind: &str, id: &str) -> Vec<String> {
    let path = format!("/open-apis/im/v1/messages?container_id_type={kind}&container_id={id}");
    let told = room.get(&path).await;
    let items = told.ok()["items"].as_array().expect("a list").clone();
    items
        .iter()
        .map(|item| item["message_id"].as_str().expect("an id").to_owned())
        .collect()
}

#[tokio::test]
async fn a_reply_names_its_parent_and_its_root() {
    let room = Room::unbound().await;
    let root = room.said("disk full").await;
    let first = reply(&room, &root, text("on it")).await;
    assert_eq!(first.ok()["parent_id"], root);
    assert_eq!(first.data()["root_id"], root);
    assert_eq!(first.data().get("thread_id"), None);
    assert_eq!(first.data()["chat_id"], DEFAULT_CHAT);
    let second = reply(&room, &id(&first), text("done")).await;
    assert_eq!(second.ok()["parent_id"], id(&first));
    assert_eq!(second.data()["root_id"], root);
    let effects = room.effects("message").await;
    assert_eq!(effects.len(), 3);
    assert_eq!(
        effects[1]["call"],
        "POST /open-apis/im/v1/messages/:message_id/reply"
    );
}

#[tokio::test]
async fn a_thread_shows_its_root_in_the_chat_and_all_of_it_by_its_id() {
    let room = Room::unbound().await;
    let root = room.said("incident").await;
    let first = reply(&room, &root, in_thread("looking")).await;
    let thread = first.ok()["thread_id"].as_str().unwrap().to_owned();
    assert!(thread.starts_with("omt_"), "{thread}");
    // In a thread all hang under its root, and a reply without the wish lands in it as well.
    let second = reply(&room, &id(&first), text("found it")).await;
    assert_eq!(second.ok()["thread_id"], thread);
    assert_eq!(second.data()["parent_id"], root);
    assert_eq!(second.data()["root_id"], root);
    let third = reply(&room, &root, text("fixed")).await;
    assert_eq!(third.ok()["thread_id"], thread);
    assert_eq!(
        history(&room, "chat", DEFAULT_CHAT).await,
        std::slice::from_ref(&root)
    );
    let all = [root.clone(), id(&first), id(&second), id(&third)];
    assert_eq!(history(&room, "thread", &thread).await, all);
    room.get("/open-apis/im/v1/messages?container_id_type=thread&container_id=omt_0")
        .await
        .is(400, 230_001);
    // A plain reply may open a thread of its own, and stays visible in the chat.
    let plain = room.said("another").await;
    let answer = id(&reply(&room, &plain, text("yes")).await);
    let deep = reply(&room, &answer, in_thread("details")).await;
    assert_eq!(deep.ok()["root_id"], answer);
    assert_ne!(deep.data()["thread_id"], thread);
    assert_eq!(
        history(&room, "chat", DEFAULT_CHAT).await,
        [root, plain, answer]
    );
}

#[tokio::test]
async fn a_reply_under_a_uuid_is_sent_once_whatever_its_parent() {
    let room = Room::unbound().await;
    let (one, two) = (room.said("one").await, room.said("two").await);
    let mut body = in_thread("only once");
    body["uuid"] = json!("key");
    let first = reply(&room, &one, body.clone()).await;
    let again = reply(&room, &two, body.clone()).await;
    assert_eq!(again.ok(), first.ok());
    assert_eq!(room.effects("message").await.len(), 3);
    let other = room.get(&path(&two)).await;
    assert_eq!(other.ok()["items"][0].get("thread_id"), None);
    room.advance("61m").await;
    let late = reply(&room, &two, body).await;
    assert_ne!(id(&late), id(&first));
}

#[tokio::test]
async fn a_reply_that_can_not_be_is_refused() {
    let seed = json!({ "chats": [
        { "chat_id": "oc_flat", "members": [DEFAULT_USER], "mode": "no_threads" },
        { "chat_id": "oc_topics", "members": [DEFAULT_USER], "mode": "topic" },
        { "chat_id": DEFAULT_CLOSED_CHAT, "members": [DEFAULT_USER], "bots": [] },
    ] });
    let room = Room::with(&seed.to_string()).await;
    let flat = id(&room.say("oc_flat", "here").await);
    reply(&room, &flat, in_thread("x")).await.is(400, 230_071);
    reply(&room, &flat, text("x")).await.ok();
    reply(&room, "om_0", text("x")).await.is(400, 230_001);
    reply(&room, "bm-0", text("x")).await.is(400, 230_001);
    reply(&room, &flat, json!({})).await.is(400, 99_992_402);
    let mut odd = text("x");
    odd["reply_in_thread"] = json!("yes");
    reply(&room, &flat, odd).await.is(400, 99_992_402);
    let divider = json!({ "msg_type": "system", "content": "{}" });
    reply(&room, &flat, divider).await.is(400, 230_001);
    let long = "x".repeat(150_001);
    reply(&room, &flat, text(&long)).await.is(400, 230_025);
    room.call("DELETE", &path(&flat), Value::Null).await.ok();
    reply(&room, &flat, text("x")).await.is(400, 230_011);
    let elsewhere =
        json!({ "do": "write", "user": DEFAULT_USER, "chat": DEFAULT_CLOSED_CHAT, "text": "psst" });
    let elsewhere = room.act(elsewhere).await["message_id"].clone();
    reply(&room, elsewhere.as_str().unwrap(), text("x"))
        .await
        .is(400, 230_002);
    // In a group of topics every message opens a thread.
    let topic = room.say("oc_topics", "a topic").await;
    let thread = topic.ok()["thread_id"].clone();
    let answer = reply(&room, &id(&topic), text("x")).await;
    assert_eq!(answer.ok()["thread_id"], thread);
}

#[tokio::test]
async fn replies_and_edits_share_the_second_of_their_chat() {
    let room = Room::with(r#"{"limits":{"chat_second":3}}"#).await;
    room.align().await;
    let root = room.said("one").await;
    reply(&room, &root, text("two")).await.ok();
    edit(&room, &root, text("three")).await.ok();
    reply(&room, &root, text("x")).await.is(400, 230_020);
    edit(&room, &root, text("x")).await.is(400, 230_020);
    let counts = room
        .counts("PUT /open-apis/im/v1/messages/:message_id")
        .await;
    assert_eq!(counts["limited"], 1);
    room.advance("1s").await;
    reply(&room, &root, text("four")).await.ok();
}

#[tokio::test]
async fn an_edit_shows_the_new_words_and_the_same_words_again_are_no_effect() {
    let room = Room::unbound().await;
    let sent = room.said("disc full").await;
    room.advance("1m").await;
    let told = edit(&room, &sent, text("disk full")).await;
    assert_eq!(told.ok()["message_id"], sent);
    assert_eq!(told.data()["updated"], true);
    assert_ne!(told.data()["create_time"], told.data()["update_time"]);
    assert_eq!(
        told.data()["body"]["content"],
        json!({ "text": "disk full" }).to_string()
    );
    edit(&room, &sent, text("disk full")).await.ok();
    let post = json!({ "zh_cn": { "title": "T", "content": [[{ "tag": "text", "text": "w" }]] } });
    let post = json!({ "msg_type": "post", "content": post.to_string() });
    assert_eq!(edit(&room, &sent, post).await.ok()["msg_type"], "post");
    let effects = room.effects("edit").await;
    assert_eq!(effects.len(), 2);
    assert_eq!(effects[0]["message_id"], sent);
    assert_eq!(
        effects[0]["content"],
        json!({ "text": "disk full" }).to_string()
    );
}

#[tokio::test]
async fn an_edit_has_its_limits() {
    let mut room = Room::with(
        r#"{"limits":{"chat_second":0},"switches":{"edit_window":"2h"},
            "apps":[{"app_id":"cli_5a9db0c5a9db0c5a","app_secret":"sandbox-secret"},
                    {"app_id":"cli_b","app_secret":"b"}]}"#,
    )
    .await;
    let sent = room.said("0").await;
    for number in 1..=20 {
        edit(&room, &sent, text(&number.to_string())).await.ok();
    }
    edit(&room, &sent, text("21"))
        .await
        .is(400, 230_072)
        .says("20 times");
    let fresh = room.said("fresh").await;
    let other = room.token_of("cli_b", "b").await.unwrap();
    room.call_as(&other, "PUT", &path(&fresh), text("mine"))
        .await
        .is(400, 230_071);
    let image = json!({ "msg_type": "image", "content": "{\"image_key\":\"img_1\"}" });
    edit(&room, &fresh, image).await.is(400, 230_001);
    edit(&room, &fresh, json!({ "msg_type": "text" }))
        .await
        .is(400, 99_992_402);
    edit(
        &room,
        &fresh,
        json!({ "msg_type": "text", "content": "no json" }),
    )
    .await
    .is(400, 230_001);
    edit(&room, "om_0", text("x")).await.is(400, 230_001);
    let card = json!({ "elements": [{ "tag": "hr" }] });
    let card = id(&room
        .call("POST", SEND, message(DEFAULT_CHAT, "interactive", card))
        .await);
    edit(&room, &card, text("x")).await.is(400, 230_054);
    room.call("DELETE", &path(&card), Value::Null).await.ok();
    edit(&room, &card, text("x")).await.is(400, 230_011);
    room.advance("121m").await;
    room.token = room
        .token_of(DEFAULT_APP_ID, feishu_sandbox::DEFAULT_APP_SECRET)
        .await
        .unwrap();
    edit(&room, &fresh, text("too late")).await.is(400, 230_075);
}

const BUBBLES: &str = "/open-apis/im/v1/messages?receive_id_type=open_id";

async fn push(room: &Room, message_id: &str, body: Value) -> Told {
    let path = format!("{}/push_follow_up", path(message_id));
    room.call("POST", &path, body).await
}

fn bubble(words: &str) -> Value {
    json!({ "follow_ups": [{ "content": words,
        "i18n_contents": [{ "content": words, "language": "en_us" }] }] })
}

#[tokio::test]
async fn bubbles_stand_once_under_the_newest_message_of_a_talk() {
    let room = Room::unbound().await;
    let talk = |words: &str| {
        room.call(
            "POST",
            BUBBLES,
            message(DEFAULT_USER, "text", json!({ "text": words })),
        )
    };
    let old = id(&talk("one").await);
    let new = id(&talk("two").await);
    push(&room, &new, bubble("Yes")).await.ok();
    push(&room, &new, bubble("Yes")).await.is(400, 230_008);
    push(&room, &old, bubble("Yes"))
        .await
        .is(400, 230_006)
        .says("newest");
    let in_group = room.said("group").await;
    push(&room, &in_group, bubble("Yes")).await.is(400, 230_003);
    push(&room, "om_0", bubble("Yes")).await.is(400, 230_001);
    let newest = id(&talk("three").await);
    for bad in [
        json!({ "follow_ups": [] }),
        json!({ "follow_ups": [1] }),
        bubble(""),
        bubble(&"x".repeat(201)),
        json!({ "follow_ups": [{ "content": "a", "i18n_contents": [{ "content": "a", "language": "xx" }] }] }),
        json!({ "follow_ups": [{ "content": "a" }, { "content": "a" }, { "content": "a" }, { "content": "a" }] }),
    ] {
        push(&room, &newest, bad).await.is(400, 230_007);
    }
    push(&room, &newest, json!({})).await.is(400, 99_992_402);
    room.advance("601s").await;
    push(&room, &newest, bubble("Yes"))
        .await
        .is(400, 230_002)
        .says("too old");
    let effects = room.effects("follow_up").await;
    assert_eq!(effects.len(), 1);
    assert_eq!(effects[0]["message_id"], new);
    assert_eq!(effects[0]["content"], bubble("Yes")["follow_ups"]);
}
