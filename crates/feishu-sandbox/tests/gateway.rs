//! The gateway: paths, methods, tokens, and what an app may not do.

mod common;

use common::{Room, SEND, TOKEN, message, told};
use feishu_sandbox::{DEFAULT_APP_ID, DEFAULT_APP_SECRET, DEFAULT_CHAT};
use serde_json::{Value, json};

#[tokio::test]
async fn an_unknown_path_and_a_wrong_method_have_codes() {
    let room = Room::new().await;
    room.get("/open-apis/im/v9/messages")
        .await
        .is(404, 99_991_201);
    room.call("PUT", "/open-apis/im/v1/pins", json!({}))
        .await
        .is(405, 99_991_301);
    room.call("POST", "/open-apis/message/v4/batch_send", json!({}))
        .await
        .is(404, 99_991_201);
}

#[tokio::test]
async fn a_missing_or_wrong_token_is_told_apart() {
    let room = Room::new().await;
    let bare = told(
        room.raw("GET", "/open-apis/bot/v3/info")
            .send()
            .await
            .unwrap(),
    )
    .await;
    bare.is(400, 99_991_661);
    for (token, code) in [
        ("t-unknown", 99_991_663),
        ("u-somebody", 99_991_668),
        ("eyJhbGciOi", 99_991_668),
        ("anything", 99_991_671),
    ] {
        room.call_as(token, "GET", "/open-apis/bot/v3/info", Value::Null)
            .await
            .is(400, code);
    }
    let strict = Room::with(r#"{"switches":{"token_http":401}}"#).await;
    strict
        .call_as("t-x", "POST", SEND, json!({}))
        .await
        .is(401, 99_991_663);
}

#[tokio::test]
async fn a_token_is_renewed_in_its_last_half_hour_and_the_old_one_still_works() {
    let room = Room::new().await;
    let again = room
        .token_of(DEFAULT_APP_ID, DEFAULT_APP_SECRET)
        .await
        .unwrap();
    assert_eq!(again, room.token);
    room.advance("91m").await;
    let new = room
        .token_of(DEFAULT_APP_ID, DEFAULT_APP_SECRET)
        .await
        .unwrap();
    assert_ne!(new, room.token);
    room.get("/open-apis/bot/v3/info").await.is(200, 0);
    room.advance("30m").await;
    room.get("/open-apis/bot/v3/info").await.is(400, 99_991_663);
    room.call_as(&new, "GET", "/open-apis/bot/v3/info", Value::Null)
        .await
        .is(200, 0);
}

#[tokio::test]
async fn both_token_calls_answer_at_the_top_level_with_or_without_a_slash() {
    let room = Room::new().await;
    let body = json!({ "app_id": DEFAULT_APP_ID, "app_secret": DEFAULT_APP_SECRET });
    let app = "/open-apis/auth/v3/app_access_token/internal";
    for path in [
        TOKEN.to_owned(),
        format!("{TOKEN}/"),
        app.to_owned(),
        format!("{app}/"),
    ] {
        let answer = told(room.raw("POST", &path).json(&body).send().await.unwrap()).await;
        answer.is(200, 0);
        assert!(
            answer.body["tenant_access_token"]
                .as_str()
                .unwrap()
                .starts_with("t-")
        );
        assert_eq!(
            answer.body.get("app_access_token").is_some(),
            path.starts_with(app)
        );
        assert!((7_100..=7_200).contains(&answer.body["expire"].as_i64().unwrap()));
        assert!(answer.body.get("data").is_none());
    }
    for (body, code) in [
        (
            json!({ "app_id": DEFAULT_APP_ID, "app_secret": "wrong" }),
            10_014,
        ),
        (json!({ "app_id": "cli_x", "app_secret": "x" }), 10_014),
        (json!({ "app_id": DEFAULT_APP_ID }), 10_003),
        (json!([]), 10_003),
    ] {
        told(room.raw("POST", TOKEN).json(&body).send().await.unwrap())
            .await
            .is(200, code);
    }
}

#[tokio::test]
async fn an_app_that_is_refused_hears_it_on_every_call() {
    let room = Room::with(
        r#"{"apps":[{"app_id":"cli_a","app_secret":"a","refuse":99991672}],
            "chats":[{"chat_id":"oc_1","name":"gone","refuse":232009}]}"#,
    )
    .await;
    let token = room.token_of("cli_a", "a").await.unwrap();
    let body = message(DEFAULT_CHAT, "text", json!({ "text": "hello all" }));
    room.call_as(&token, "POST", SEND, body)
        .await
        .is(400, 99_991_672);
    let room = Room::with(r#"{"chats":[{"chat_id":"oc_1","refuse":232009}]}"#).await;
    room.say("oc_1", "anyone here").await.is(400, 232_009);
}

#[tokio::test]
async fn an_old_call_fails_with_status_200_unless_the_gateway_says_no() {
    let room =
        Room::with(r#"{"apps":[{"app_id":"cli_a","app_secret":"a","refuse":230006}]}"#).await;
    let token = room.token_of("cli_a", "a").await.unwrap();
    let path = "/open-apis/message/v4/batch_send/";
    room.call_as(&token, "POST", path, json!({}))
        .await
        .is(200, 230_006);
    room.call_as(&token, "POST", SEND, json!({}))
        .await
        .is(400, 230_006);
    room.call_as("t-x", "POST", path, json!({}))
        .await
        .is(400, 99_991_663);
}

#[tokio::test]
async fn the_bot_knows_itself() {
    let room = Room::new().await;
    let info = room.get("/open-apis/bot/v3/info").await;
    info.is(200, 0);
    assert!(
        info.body["bot"]["open_id"]
            .as_str()
            .unwrap()
            .starts_with("ou_")
    );
    assert!(
        info.body["bot"]["app_name"]
            .as_str()
            .unwrap()
            .starts_with("Sandbox")
    );
}
