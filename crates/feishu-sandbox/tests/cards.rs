//! Updating a card that was sent.

mod common;

use common::{Room, SEND, Told, id, message};
use feishu_sandbox::{DEFAULT_APP_ID, DEFAULT_APP_SECRET, DEFAULT_CHAT, DEFAULT_USER};
use serde_json::{Value, json};

fn card(title: &str, multi: bool) -> Value {
    json!({
        "config": { "update_multi": multi },
        "header": { "title": { "tag": "plain_text", "content": title } },
        "elements": [{ "tag": "div", "text": { "tag": "plain_text", "content": "body" } }],
    })
}

async fn send(room: &Room, card: Value) -> String {
    id(&room
        .call("POST", SEND, message(DEFAULT_CHAT, "interactive", card))
        .await)
}

async fn patch(room: &Room, message_id: &str, card: &Value) -> Told {
    let body = json!({ "content": card.to_string() });
    let path = format!("/open-apis/im/v1/messages/{message_id}");
    room.call("PATCH", &path, body).await
}

#[tokio::test]
async fn an_update_changes_the_card_for_all_and_again_changes_nothing() {
    let room = Room::unbound().await;
    let sent = send(&room, card("firing", true)).await;
    let told = patch(&room, &sent, &card("resolved", true)).await;
    assert_eq!(told.ok(), &json!({}));
    assert_eq!(told.msg(), "ok");
    patch(&room, &sent, &card("resolved", true)).await.ok();
    let path = format!("/open-apis/im/v1/messages/{sent}?card_msg_content_type=user_card_content");
    let got = room.get(&path).await;
    let item = &got.ok()["items"][0];
    assert_eq!(item["body"]["content"], card("resolved", true).to_string());
    assert_eq!(item["updated"], true);
    let effects = room.effects("card_update").await;
    assert_eq!(effects.len(), 1);
    assert_eq!(effects[0]["content"], card("resolved", true).to_string());
    assert_eq!(effects[0]["chat_id"], DEFAULT_CHAT);
}

#[tokio::test]
async fn only_a_card_that_all_share_is_updated() {
    let room = Room::unbound().await;
    let alone = send(&room, card("alone", false)).await;
    patch(&room, &alone, &card("new", true))
        .await
        .is(400, 230_001)
        .says("update_multi");
    let shared = send(&room, card("shared", true)).await;
    patch(&room, &shared, &card("new", false))
        .await
        .is(400, 230_001)
        .says("update_multi");
    let v2 = |words: &str| json!({ "schema": "2.0", "body": { "elements": [{ "tag": "markdown", "content": words }] } });
    let second = send(&room, v2("one")).await;
    patch(&room, &second, &v2("two")).await.ok();
    let text = room.said("no card").await;
    patch(&room, &text, &card("x", true))
        .await
        .is(400, 230_001)
        .says("This message is NOT a card");
}

#[tokio::test]
async fn an_update_that_can_not_be_is_refused() {
    let mut room = Room::with(
        r#"{"apps":[{"app_id":"cli_5a9db0c5a9db0c5a","app_secret":"sandbox-secret"},
                    {"app_id":"cli_b","app_secret":"b"}]}"#,
    )
    .await;
    let sent = send(&room, card("one", true)).await;
    let path = format!("/open-apis/im/v1/messages/{sent}");
    for (content, http, code) in [
        (json!({}), 400, 99_992_402),
        (json!({ "content": card("x", true) }), 400, 99_992_402),
        (json!({ "content": "no json" }), 400, 230_099),
        (json!({ "content": "x".repeat(30_001) }), 400, 230_025),
    ] {
        room.call("PATCH", &path, content).await.is(http, code);
    }
    let mut unknown = card("x", true);
    unknown["elements"][0] = json!({ "tag": "img", "img_key": "img_0" });
    patch(&room, &sent, &unknown)
        .await
        .is(400, 230_099)
        .says("200570");
    patch(&room, "om_0", &card("x", true))
        .await
        .is(400, 230_001);
    let other = room.token_of("cli_b", "b").await.unwrap();
    let body = json!({ "content": card("x", true).to_string() });
    room.call_as(&other, "PATCH", &path, body)
        .await
        .is(400, 230_027);
    let gone = send(&room, card("gone", true)).await;
    let gone_path = format!("/open-apis/im/v1/messages/{gone}");
    room.call("DELETE", &gone_path, Value::Null).await.ok();
    patch(&room, &gone, &card("x", true)).await.is(400, 230_011);
    room.advance("337h").await;
    room.token = room
        .token_of(DEFAULT_APP_ID, DEFAULT_APP_SECRET)
        .await
        .unwrap();
    patch(&room, &sent, &card("x", true)).await.is(400, 230_031);
    assert!(room.effects("card_update").await.is_empty());
}

#[tokio::test]
async fn a_card_takes_five_updates_in_a_second_and_each_card_has_its_own() {
    let room = Room::unbound().await;
    room.align().await;
    let sent = send(&room, card("0", true)).await;
    let other = send(&room, card("0", true)).await;
    for number in 1..=5 {
        patch(&room, &sent, &card(&number.to_string(), true))
            .await
            .ok();
    }
    let refused = patch(&room, &sent, &card("6", true)).await;
    refused.is(400, 230_020);
    assert_eq!(refused.header("x-ogw-ratelimit-reset"), "");
    patch(&room, &other, &card("1", true)).await.ok();
    room.advance("1s").await;
    patch(&room, &sent, &card("6", true)).await.ok();
    assert_eq!(room.effects("card_update").await.len(), 7);
}

#[tokio::test]
async fn a_card_somebody_clicks_is_locked_for_as_long_as_the_switch_says() {
    let room = Room::with(r#"{"switches":{"click_open":"3s"}}"#).await;
    room.align().await;
    let sent = send(&room, card("one", true)).await;
    room.act(json!({ "do": "click", "user": DEFAULT_USER, "message": sent }))
        .await;
    patch(&room, &sent, &card("two", true))
        .await
        .is(400, 230_099)
        .says("card action is lock");
    room.advance("3s").await;
    patch(&room, &sent, &card("two", true)).await.ok();
}
