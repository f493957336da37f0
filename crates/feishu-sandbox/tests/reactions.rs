//! Reactions: add, list, remove, and of many messages at once.

mod common;

use common::{Room, Told};
use feishu_sandbox::{DEFAULT_APP_ID, DEFAULT_CLOSED_CHAT, DEFAULT_USER, DEFAULT_USERS};
use serde_json::{Value, json};

fn path(message_id: &str) -> String {
    format!("/open-apis/im/v1/messages/{message_id}/reactions")
}

async fn react(room: &Room, message_id: &str, emoji: &str) -> Told {
    let body = json!({ "reaction_type": { "emoji_type": emoji } });
    room.call("POST", &path(message_id), body).await
}

async fn remove(room: &Room, message_id: &str, reaction: &str) -> Told {
    let path = format!("{}/{reaction}", path(message_id));
    room.call("DELETE", &path, Value::Null).await
}

#[track_caller]
fn reaction_id(told: &Told) -> String {
    told.ok()["reaction_id"].as_str().expect("an id").to_owned()
}

#[tokio::test]
async fn a_reaction_stands_until_it_is_removed() {
    let room = Room::unbound().await;
    let message = room.said("shipped").await;
    let told = react(&room, &message, "DONE").await;
    assert_eq!(
        told.ok()["operator"],
        json!({ "operator_id": DEFAULT_APP_ID, "operator_type": "app" })
    );
    assert_eq!(told.data()["reaction_type"]["emoji_type"], "DONE");
    assert!(told.data()["action_time"].is_string());
    let by_person =
        json!({ "do": "react", "user": DEFAULT_USER, "message": message, "emoji": "OK" });
    let theirs = room.act(by_person).await["reaction_id"].clone();
    let listed = room.get(&path(&message)).await;
    assert_eq!(listed.ok()["items"].as_array().unwrap().len(), 2);
    let only = room
        .get(&format!("{}?reaction_type=DONE", path(&message)))
        .await;
    assert_eq!(only.ok()["items"].as_array().unwrap().len(), 1);
    let unions = format!("{}?user_id_type=union_id&page_size=1", path(&message));
    let first = room.get(&unions).await;
    assert_eq!(first.ok()["has_more"], true);
    let token = first.data()["page_token"].as_str().unwrap();
    let second = room.get(&format!("{unions}&page_token={token}")).await;
    let operator = &second.ok()["items"][0]["operator"];
    assert!(operator["operator_id"].as_str().unwrap().starts_with("on_"));

    remove(&room, &message, theirs.as_str().unwrap())
        .await
        .is(400, 231_007);
    let own = reaction_id(&told);
    assert_eq!(remove(&room, &message, &own).await.ok(), told.data());
    remove(&room, &message, &own).await.is(400, 231_011);
    let effects = room.ledger().await["effects"].clone();
    assert_eq!(effects.as_array().unwrap().len(), 3);
    assert_eq!(effects[1]["effect"], "reaction");
    assert_eq!(effects[1]["content"]["reaction_type"]["emoji_type"], "DONE");
    assert_eq!(effects[2]["effect"], "unreaction");
    assert_eq!(effects[2]["key"], own);
}

#[tokio::test]
async fn what_a_repeat_does_is_a_switch() {
    let room = Room::unbound().await;
    let message = room.said("x").await;
    let first = reaction_id(&react(&room, &message, "OK").await);
    assert_ne!(reaction_id(&react(&room, &message, "OK").await), first);
    assert_eq!(room.effects("reaction").await.len(), 2);

    let seed =
        r#"{"switches":{"second_reaction":"same","second_unreact":"success","emoji":"listed"}}"#;
    let room = Room::with(seed).await;
    let message = room.said("x").await;
    let first = reaction_id(&react(&room, &message, "OK").await);
    assert_eq!(reaction_id(&react(&room, &message, "OK").await), first);
    assert_eq!(room.effects("reaction").await.len(), 1);
    for _ in 0..2 {
        remove(&room, &message, &first).await.ok();
    }
    assert_eq!(room.effects("unreaction").await.len(), 1);
    react(&room, &message, "ROCKET").await.is(400, 231_001);
}

#[tokio::test]
async fn a_reaction_that_can_not_be_is_refused() {
    let room = Room::unbound().await;
    let (message, other) = (room.said("x").await, room.said("y").await);
    react(&room, &message, "ROCKET").await.ok();
    for emoji in ["", "thumbsup", "no emoji", "😀"] {
        react(&room, &message, emoji).await.is(400, 231_001);
    }
    react(&room, "om_0", "OK").await.is(400, 231_003);
    let own = reaction_id(&react(&room, &message, "OK").await);
    remove(&room, &other, &own).await.is(400, 231_010);
    remove(&room, &message, "none").await.is(400, 231_011);
    let query = |query: &str| format!("{}?{query}", path(&message));
    room.get(&query("user_id_type=email"))
        .await
        .is(400, 231_014);
    room.get(&query("page_token=odd")).await.is(400, 231_012);
    room.get(&query("page_size=51")).await.is(400, 230_001);
    let hidden =
        json!({ "do": "write", "user": DEFAULT_USER, "chat": DEFAULT_CLOSED_CHAT, "text": "psst" });
    let hidden = room.act(hidden).await["message_id"].clone();
    react(&room, hidden.as_str().unwrap(), "OK")
        .await
        .is(400, 231_008);
    let gone = format!("/open-apis/im/v1/messages/{message}");
    room.call("DELETE", &gone, Value::Null).await.ok();
    react(&room, &message, "OK").await.is(400, 231_003);
}

#[tokio::test]
async fn many_messages_are_asked_at_once() {
    let room = Room::unbound().await;
    let message = room.said("x").await;
    for user in &DEFAULT_USERS[..3] {
        let act = json!({ "do": "react", "user": user, "message": message, "emoji": "OK" });
        room.act(act).await;
    }
    react(&room, &message, "DONE").await.ok();
    let hidden =
        json!({ "do": "write", "user": DEFAULT_USER, "chat": DEFAULT_CLOSED_CHAT, "text": "psst" });
    let hidden = room.act(hidden).await["message_id"].clone();
    let call = "/open-apis/im/v1/messages/reactions/batch_query";
    let body = json!({ "page_size_per_message": 3, "queries": [
        { "message_id": message }, { "message_id": "om_0" }, { "message_id": hidden },
        { "message_id": message, "page_token": "odd" }, { "message_id": message, "page_token": "rq3" },
    ] });
    let told = room.call("POST", call, body).await;
    let details = told.ok()["success_msg_reaction_details"].clone();
    assert_eq!(
        details[0]["message_reaction_items"]
            .as_array()
            .unwrap()
            .len(),
        3
    );
    assert_eq!(details[0]["page_token"], "rq3");
    assert_eq!(
        details[1]["message_reaction_items"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    let counts = &told.data()["success_msg_reaction_counts"][0]["reaction_count"];
    assert_eq!(counts[0]["count"], "3");
    let first = &details[0]["message_reaction_items"][0];
    assert_eq!(first["emoji_type"], counts[0]["reaction_type"], "{first}");
    assert!(first["emoji_type"].is_string(), "{first}");
    let failed: Vec<&str> = told.data()["fail_msg_reaction_details"]
        .as_array()
        .unwrap()
        .iter()
        .map(|each| each["fail_reason"].as_str().unwrap())
        .collect();
    assert_eq!(failed, ["invalid", "no_permission", "invalid_page_token"]);
    for bad in [
        json!({}),
        json!({ "queries": [] }),
        json!({ "queries": vec![json!({ "message_id": message }); 21] }),
        json!({ "queries": [{ "message_id": message }], "page_size_per_message": 11 }),
    ] {
        room.call("POST", call, bad).await.is(400, 231_001);
    }
    assert_eq!(room.effects("reaction").await.len(), 1);
}
