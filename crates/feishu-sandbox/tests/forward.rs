//! Passing messages on: one, several in one, a thread.

mod common;

use common::{Room, Told, id, message};
use feishu_sandbox::{
    DEFAULT_CHAT, DEFAULT_CLOSED_CHAT, DEFAULT_SECOND_CHAT, DEFAULT_UNREACHABLE_USER, DEFAULT_USER,
};
use serde_json::{Value, json};

const TO_CHAT: &str = "receive_id_type=chat_id";

async fn forward(room: &Room, message_id: &str, query: &str, to: &str) -> Told {
    let path = format!("/open-apis/im/v1/messages/{message_id}/forward?{query}");
    room.call("POST", &path, json!({ "receive_id": to })).await
}

async fn merge(room: &Room, ids: Value, query: &str) -> Told {
    let path = format!("/open-apis/im/v1/messages/merge_forward?{query}");
    let body = json!({ "receive_id": DEFAULT_SECOND_CHAT, "message_id_list": ids });
    room.call("POST", &path, body).await
}

async fn answer_in_thread(room: &Room, parent: &str, words: &str) -> Told {
    let path = format!("/open-apis/im/v1/messages/{parent}/reply");
    let content = json!({ "text": words }).to_string();
    let body = json!({ "msg_type": "text", "content": content, "reply_in_thread": true });
    room.call("POST", &path, body).await
}

#[tokio::test]
async fn a_message_is_passed_on_once_per_uuid_and_target() {
    let room = Room::unbound().await;
    let source = room.said("disk full").await;
    let query = format!("{TO_CHAT}&uuid=key");
    let first = forward(&room, &source, &query, DEFAULT_SECOND_CHAT).await;
    assert_eq!(first.ok()["chat_id"], DEFAULT_SECOND_CHAT);
    assert_eq!(first.data()["msg_type"], "text");
    assert_ne!(id(&first), source);
    let again = forward(&room, &source, &query, DEFAULT_SECOND_CHAT).await;
    assert_eq!(id(&again), id(&first));
    let elsewhere = forward(&room, &source, &query, DEFAULT_CHAT).await;
    assert_ne!(id(&elsewhere), id(&first));
    let person = "receive_id_type=email&uuid=key";
    let by_mail = forward(&room, &source, person, "lin.wei@sandbox.example").await;
    let by_id = "receive_id_type=open_id&uuid=key";
    let by_id = forward(&room, &source, by_id, DEFAULT_USER).await;
    assert_eq!(id(&by_id), id(&by_mail));
    assert_eq!(room.effects("message").await.len(), 4);
    room.advance("61m").await;
    let late = forward(&room, &source, &query, DEFAULT_SECOND_CHAT).await;
    assert_ne!(id(&late), id(&first));
}

#[tokio::test]
async fn a_message_is_passed_on_into_a_thread() {
    let room = Room::unbound().await;
    let root = room.said("incident").await;
    let thread = answer_in_thread(&room, &root, "looking").await;
    let thread = thread.ok()["thread_id"].as_str().unwrap().to_owned();
    let source = room.say(DEFAULT_SECOND_CHAT, "the log").await;
    let query = "receive_id_type=thread_id";
    let told = forward(&room, &id(&source), query, &thread).await;
    assert_eq!(told.ok()["thread_id"], thread);
    assert_eq!(told.data()["root_id"], root);
    forward(&room, &id(&source), query, "omt_0")
        .await
        .is(400, 230_019);
    forward(&room, &id(&source), query, "oc_0")
        .await
        .is(400, 230_034);
}

#[tokio::test]
async fn what_can_not_be_passed_on_is_refused() {
    let room = Room::unbound().await;
    let source = room.said("disk full").await;
    let to = DEFAULT_SECOND_CHAT;
    forward(&room, &source, "", to).await.is(400, 99_992_402);
    forward(&room, &source, TO_CHAT, "")
        .await
        .is(400, 99_992_402);
    forward(&room, &source, TO_CHAT, "oc_0")
        .await
        .is(400, 230_001);
    forward(&room, &source, TO_CHAT, DEFAULT_USER)
        .await
        .is(400, 230_034);
    forward(&room, &source, TO_CHAT, DEFAULT_CLOSED_CHAT)
        .await
        .is(400, 230_002);
    let person = "receive_id_type=open_id";
    forward(&room, &source, person, DEFAULT_UNREACHABLE_USER)
        .await
        .is(400, 230_013);
    let long = format!("{TO_CHAT}&uuid={}", "x".repeat(51));
    forward(&room, &source, &long, to).await.is(400, 99_992_402);
    forward(&room, "om_0", TO_CHAT, to).await.is(400, 230_064);
    forward(&room, "bm-0", TO_CHAT, to).await.is(400, 230_001);
    let divider = json!({ "type": "divider", "params": { "divider_text": { "text": "line" } } });
    let system = room
        .call(
            "POST",
            "/open-apis/im/v1/messages?receive_id_type=open_id",
            message(DEFAULT_USER, "system", divider),
        )
        .await;
    forward(&room, &id(&system), TO_CHAT, to)
        .await
        .is(400, 230_061);
    let hidden =
        json!({ "do": "write", "user": DEFAULT_USER, "chat": DEFAULT_CLOSED_CHAT, "text": "psst" });
    let hidden = room.act(hidden).await["message_id"].clone();
    forward(&room, hidden.as_str().unwrap(), TO_CHAT, to)
        .await
        .is(400, 230_050);
    let gone = format!("/open-apis/im/v1/messages/{source}");
    room.call("DELETE", &gone, Value::Null).await.ok();
    forward(&room, &source, TO_CHAT, to).await.is(400, 230_065);
}

#[tokio::test]
async fn forwards_share_the_second_of_their_target() {
    let room = Room::with(r#"{"limits":{"chat_second":2}}"#).await;
    let source = room.said("x").await;
    room.align().await;
    for _ in 0..2 {
        forward(&room, &source, TO_CHAT, DEFAULT_SECOND_CHAT)
            .await
            .ok();
    }
    forward(&room, &source, TO_CHAT, DEFAULT_SECOND_CHAT)
        .await
        .is(400, 230_020);
    merge(&room, json!([source]), TO_CHAT)
        .await
        .is(400, 230_020);
    room.advance("1s").await;
    merge(&room, json!([source]), TO_CHAT).await.ok();
}

#[tokio::test]
async fn a_merged_forward_holds_its_parts_and_names_the_rest() {
    let room = Room::unbound().await;
    let (one, two) = (room.said("one").await, room.said("two").await);
    let query = format!("{TO_CHAT}&uuid=key");
    let told = merge(&room, json!([two, "om_0", one]), &query).await;
    let merged = &told.ok()["message"];
    assert_eq!(merged["msg_type"], "merge_forward");
    assert_eq!(merged["body"]["content"], "Merged and Forwarded Message");
    assert_eq!(told.data()["invalid_message_id_list"], json!(["om_0"]));
    let merged_id = merged["message_id"].as_str().unwrap().to_owned();
    let got = room
        .get(&format!("/open-apis/im/v1/messages/{merged_id}"))
        .await;
    let items = got.ok()["items"].as_array().unwrap().clone();
    assert_eq!(items.len(), 3);
    assert_eq!(items[1]["upper_message_id"], merged_id);
    assert_eq!(
        items[1]["body"]["content"],
        json!({ "text": "one" }).to_string()
    );
    let again = merge(&room, json!([one, two]), &query).await;
    assert_eq!(again.ok()["message"]["message_id"], merged_id);
    let history = format!(
        "/open-apis/im/v1/messages?container_id_type=chat&container_id={DEFAULT_SECOND_CHAT}"
    );
    let listed = room.get(&history).await;
    assert_eq!(listed.ok()["items"].as_array().unwrap().len(), 1);
    assert_eq!(room.effects("message").await.len(), 3);
    // A part goes nowhere by itself.
    let part = items[1]["message_id"].as_str().unwrap();
    forward(&room, part, TO_CHAT, DEFAULT_CHAT)
        .await
        .is(400, 230_061);
    merge(&room, json!([part]), TO_CHAT).await.is(400, 230_067);
    // The whole of it does.
    forward(&room, &merged_id, TO_CHAT, DEFAULT_CHAT).await.ok();
}

#[tokio::test]
async fn what_does_not_belong_together_is_not_merged() {
    let room = Room::unbound().await;
    let here = room.said("here").await;
    let there = id(&room.say(DEFAULT_SECOND_CHAT, "there").await);
    merge(&room, json!([here, there]), TO_CHAT)
        .await
        .is(400, 230_069);
    let root = room.said("root").await;
    let inside = id(&answer_in_thread(&room, &root, "inside").await);
    merge(&room, json!([here, inside]), TO_CHAT)
        .await
        .is(400, 230_067);
    merge(&room, json!([inside]), TO_CHAT).await.ok();
    merge(&room, json!(["om_0"]), TO_CHAT)
        .await
        .is(400, 230_064);
    merge(&room, json!([]), TO_CHAT).await.is(400, 99_992_402);
    merge(&room, json!(vec!["om_0"; 101]), TO_CHAT)
        .await
        .is(400, 99_992_402);
    let gone = format!("/open-apis/im/v1/messages/{here}");
    room.call("DELETE", &gone, Value::Null).await.ok();
    merge(&room, json!([here]), TO_CHAT).await.is(400, 230_065);
}

#[tokio::test]
async fn a_thread_is_passed_on_as_one_message() {
    let room = Room::unbound().await;
    let root = room.said("root").await;
    let inside = answer_in_thread(&room, &root, "inside").await;
    let thread = inside.ok()["thread_id"].as_str().unwrap().to_owned();
    let path = |thread: &str| format!("/open-apis/im/v1/threads/{thread}/forward?{TO_CHAT}&uuid=k");
    let body = json!({ "receive_id": DEFAULT_SECOND_CHAT });
    let told = room.call("POST", &path(&thread), body.clone()).await;
    assert_eq!(told.ok()["msg_type"], "merge_forward");
    let again = room.call("POST", &path(&thread), body.clone()).await;
    assert_eq!(id(&again), id(&told));
    let got = room
        .get(&format!("/open-apis/im/v1/messages/{}", id(&told)))
        .await;
    assert_eq!(got.ok()["items"].as_array().unwrap().len(), 3);
    room.call("POST", &path("omt_0"), body)
        .await
        .is(400, 230_064);
    assert_eq!(room.effects("message").await.len(), 3);
}
