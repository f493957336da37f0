//! Batches: who is reached, how the counts grow, recall, and the codes that come with HTTP 200.

mod common;

use common::{Room, Told, id};
use feishu_sandbox::{
    DEFAULT_CHAT, DEFAULT_CLOSED_CHAT, DEFAULT_COMPANY, DEFAULT_DEPARTMENT, DEFAULT_STAFF,
    DEFAULT_UNREACHABLE_USER, DEFAULT_USERS, staff_open_id,
};
use serde_json::{Value, json};

const SEND: &str = "/open-apis/message/v4/batch_send/";

async fn send(room: &Room, more: Value) -> Told {
    let mut body = json!({ "msg_type": "text", "content": { "text": "to many" } });
    for (name, value) in more.as_object().expect("an object") {
        body[name] = value.clone();
    }
    room.call("POST", SEND, body).await
}

async fn progress(room: &Room, batch: &str) -> Value {
    let path = format!("/open-apis/im/v1/batch_messages/{batch}/get_progress");
    room.get(&path).await.ok().clone()
}

#[tokio::test]
async fn everybody_named_is_reached_once_and_unknown_ids_are_reported() {
    let room = Room::new().await;
    let told = send(
        &room,
        json!({
            "open_ids": [DEFAULT_USERS[0], DEFAULT_USERS[0], "ou_0"],
            "user_ids": ["u0001", "u0002", "nobody"],
            "union_ids": ["on_0"],
            "department_ids": ["od-0"],
        }),
    )
    .await;
    let batch = id(&told);
    assert!(batch.starts_with("bm-"));
    assert_eq!(told.data()["invalid_open_ids"], json!(["ou_0"]));
    assert_eq!(told.data()["invalid_user_ids"], json!(["nobody"]));
    assert_eq!(told.data()["invalid_union_ids"], json!(["on_0"]));
    assert_eq!(told.data()["invalid_department_ids"], json!(["od-0"]));
    let effects = room.effects("batch").await;
    assert_eq!(
        effects[0]["users"],
        json!([DEFAULT_USERS[0], DEFAULT_USERS[1]])
    );
    assert_eq!(effects[0]["batch_message_id"], batch);
    assert_eq!(effects[0]["content"], json!({ "text": "to many" }));
}

#[tokio::test]
async fn a_department_is_its_people_and_those_below_it() {
    let room = Room::new().await;
    send(
        &room,
        json!({ "department_ids": [DEFAULT_COMPANY, DEFAULT_DEPARTMENT] }),
    )
    .await
    .ok();
    let effects = room.effects("batch").await;
    assert_eq!(effects[0]["users"].as_array().unwrap().len(), DEFAULT_STAFF);
}

#[tokio::test]
async fn counts_are_final_within_three_seconds_and_leave_out_whom_nobody_reaches() {
    let room = Room::new().await;
    let told = send(
        &room,
        json!({ "open_ids": [DEFAULT_USERS[0], DEFAULT_UNREACHABLE_USER] }),
    );
    let batch = id(&told.await);
    room.advance("3s").await;
    let told = progress(&room, &batch).await;
    let sent = &told["batch_message_send_progress"];
    assert_eq!(sent["valid_user_ids_count"], 2);
    assert_eq!(sent["success_user_ids_count"], 1);
    assert_eq!(sent["read_user_ids_count"], 0);
    assert_eq!(
        told["batch_message_recall_progress"],
        json!({ "recall": false, "recall_count": 0 })
    );
    room.act(json!({ "do": "read", "user": DEFAULT_USERS[0], "message": batch }))
        .await;
    room.act(json!({ "do": "read", "user": DEFAULT_USERS[0], "message": batch }))
        .await;
    let told = progress(&room, &batch).await;
    assert_eq!(
        told["batch_message_send_progress"]["read_user_ids_count"],
        1
    );
    let path = format!("/open-apis/im/v1/batch_messages/{batch}/read_user");
    let read = room.get(&path).await;
    assert_eq!(
        read.ok()["read_user"],
        json!({ "read_count": "1", "total_count": "1" })
    );
}

#[tokio::test]
async fn counts_start_from_nothing() {
    let room = Room::with(r#"{"switches":{"batch_settle":"1h"}}"#).await;
    let batch = id(&send(&room, json!({ "department_ids": [DEFAULT_COMPANY] })).await);
    let count = |told: &Value| {
        told["batch_message_send_progress"]["valid_user_ids_count"]
            .as_u64()
            .unwrap()
    };
    assert_eq!(count(&progress(&room, &batch).await), 0);
    room.advance("30m").await;
    assert_eq!(count(&progress(&room, &batch).await), 300);
    room.advance("30m").await;
    assert_eq!(count(&progress(&room, &batch).await), 600);
}

#[tokio::test]
async fn a_recall_counts_up_and_a_second_one_changes_nothing() {
    let room = Room::new().await;
    let batch = id(&send(&room, json!({ "department_ids": [DEFAULT_DEPARTMENT] })).await);
    let path = format!("/open-apis/im/v1/batch_messages/{batch}");
    room.call("DELETE", &path, Value::Null).await.ok();
    room.advance("3s").await;
    room.call("DELETE", &path, Value::Null).await.ok();
    let told = progress(&room, &batch).await;
    assert_eq!(
        told["batch_message_recall_progress"],
        json!({ "recall": true, "recall_count": 300 })
    );
    let effects = room.effects("batch_recall").await;
    assert_eq!(effects.len(), 1);
    assert_eq!(effects[0]["batch_message_id"], batch);
}

#[tokio::test]
async fn a_recall_comes_too_late_after_its_window() {
    let room = Room::with(r#"{"switches":{"recall_window":"1h"}}"#).await;
    let batch = id(&send(&room, json!({ "user_ids": ["u0001"] })).await);
    room.advance("61m").await;
    let path = format!("/open-apis/im/v1/batch_messages/{batch}");
    room.call("DELETE", &path, Value::Null)
        .await
        .is(400, 230_009);
}

#[tokio::test]
async fn a_task_that_is_unknown_or_old_or_not_ones_own_is_refused() {
    let room = Room::with(
        r#"{"apps":[{"app_id":"cli_a","app_secret":"a"},{"app_id":"cli_b","app_secret":"b"}]}"#,
    )
    .await;
    let (a, b) = (
        room.token_of("cli_a", "a").await.unwrap(),
        room.token_of("cli_b", "b").await,
    );
    let b = b.unwrap();
    let body =
        json!({ "msg_type": "text", "content": { "text": "to many" }, "user_ids": ["u0001"] });
    let batch = id(&room.call_as(&a, "POST", SEND, body).await);
    let base = "/open-apis/im/v1/batch_messages";
    for (token, id, tail, method, code) in [
        (&a, "bm", "", "DELETE", 230_001),
        (&a, "bm-unknown", "", "DELETE", 230_030),
        (&a, "bm-unknown", "/get_progress", "GET", 230_030),
        (&b, batch.as_str(), "", "DELETE", 230_026),
        (&b, batch.as_str(), "/get_progress", "GET", 230_012),
        (&b, batch.as_str(), "/read_user", "GET", 230_012),
    ] {
        let path = format!("{base}/{id}{tail}");
        room.call_as(token, method, &path, Value::Null)
            .await
            .is(400, code);
    }
    room.advance("31d").await;
    let a = room.token_of("cli_a", "a").await.unwrap();
    let path = format!("{base}/{batch}/get_progress");
    room.call_as(&a, "GET", &path, Value::Null)
        .await
        .is(400, 230_030);
}

#[tokio::test]
async fn refusals_come_with_status_200() {
    let room = Room::new().await;
    let ids: Vec<String> = (1..=201).map(staff_open_id).collect();
    let one = json!([DEFAULT_USERS[0]]);
    let text = |text: &str| json!({ "open_ids": one, "content": { "text": text } });
    let other = |msg_type: &str, content: Value| json!({ "open_ids": one, "msg_type": msg_type, "content": content });
    let card = |card: Value| json!({ "open_ids": one, "msg_type": "interactive", "card": card });
    let post = |node: Value| json!({ "post": { "zh_cn": { "content": [[node]] } } });
    for (body, code) in [
        (json!({}), 10_003),
        (json!({ "open_ids": [] }), 10_003),
        (json!({ "open_ids": ids }), 10_003),
        (json!({ "open_ids": "ou_1" }), 10_003),
        (json!({ "department_ids": ["0"] }), 10_003),
        (json!({ "open_ids": one, "msg_type": "file" }), 10_003),
        (json!({ "open_ids": one, "content": "a string" }), 10_003),
        (text("Test "), 230_100),
        (text("<at user_id=\"all\"></at> hello"), 11_235),
        (text(&"x".repeat(30_000)), 19_036),
        (other("image", json!({ "image_key": "img_0" })), 11_227),
        (
            other("share_chat", json!({ "share_chat_id": "oc_0" })),
            11_231,
        ),
        (
            other(
                "share_chat",
                json!({ "share_chat_id": DEFAULT_CLOSED_CHAT }),
            ),
            11_231,
        ),
        (
            other("post", post(json!({ "tag": "md", "text": "x" }))),
            11_246,
        ),
        (
            other("post", post(json!({ "tag": "img", "image_key": "img_0" }))),
            11_227,
        ),
        (
            other("post", post(json!({ "tag": "at", "user_id": "all" }))),
            11_235,
        ),
        (other("post", json!({ "zh_cn": {} })), 10_003),
        (card(json!({ "header": {} })), 11_246),
    ] {
        send(&room, body).await.is(200, code);
    }
    assert!(room.effects("batch").await.is_empty());
    send(
        &room,
        other("share_chat", json!({ "share_chat_id": DEFAULT_CHAT })),
    )
    .await
    .ok();
    send(&room, card(json!({ "elements": [] }))).await.ok();
    send(
        &room,
        other("post", post(json!({ "tag": "text", "text": "x" }))),
    )
    .await
    .ok();
}
