//! The endpoints: every one of the reference is there, and those around tokens answer.

mod common;

use common::{Room, TOKEN, told};
use feishu_sandbox::{DEFAULT_APP_ID, DEFAULT_APP_SECRET, DEFAULT_CHAT, DEFAULT_USER};
use serde_json::{Value, json};

/// Every call of the reference's endpoints.md, by section; custom bots are in its messages.md,
/// the address of a long connection in its events.md. CardKit is named there as related and has no
/// row of its own.
const CALLS: &[&str] = &[
    "POST /open-apis/auth/v3/tenant_access_token/internal",
    "POST /open-apis/auth/v3/app_access_token/internal",
    "POST /open-apis/auth/v3/app_access_token",
    "POST /open-apis/auth/v3/tenant_access_token",
    "POST /open-apis/auth/v3/app_ticket/resend",
    "POST /open-apis/im/v1/messages",
    "POST /open-apis/message/v4/batch_send/",
    "POST /open-apis/im/v1/messages/:message_id/reply",
    "PUT /open-apis/im/v1/messages/:message_id",
    "DELETE /open-apis/im/v1/messages/:message_id",
    "DELETE /open-apis/im/v1/batch_messages/:batch_message_id",
    "POST /open-apis/im/v1/messages/:message_id/forward",
    "POST /open-apis/im/v1/messages/merge_forward",
    "POST /open-apis/im/v1/threads/:thread_id/forward",
    "GET /open-apis/im/v1/messages/:message_id/read_users",
    "GET /open-apis/im/v1/messages",
    "GET /open-apis/im/v1/messages/:message_id/resources/:file_key",
    "GET /open-apis/im/v1/messages/:message_id",
    "GET /open-apis/im/v1/batch_messages/:batch_message_id/read_user",
    "GET /open-apis/im/v1/batch_messages/:batch_message_id/get_progress",
    "POST /open-apis/im/v1/messages/:message_id/push_follow_up",
    "POST /open-apis/im/v1/images",
    "POST /open-apis/im/v1/files",
    "GET /open-apis/im/v1/images/:image_key",
    "GET /open-apis/im/v1/files/:file_key",
    "PATCH /open-apis/im/v1/messages/:message_id",
    "POST /open-apis/interactive/v1/card/update",
    "POST /open-apis/ephemeral/v1/send",
    "POST /open-apis/ephemeral/v1/delete",
    "POST /open-apis/im/v1/messages/:message_id/reactions",
    "GET /open-apis/im/v1/messages/:message_id/reactions",
    "DELETE /open-apis/im/v1/messages/:message_id/reactions/:reaction_id",
    "POST /open-apis/im/v1/messages/reactions/batch_query",
    "PATCH /open-apis/im/v1/messages/:message_id/urgent_app",
    "PATCH /open-apis/im/v1/messages/:message_id/urgent_sms",
    "PATCH /open-apis/im/v1/messages/:message_id/urgent_phone",
    "POST /open-apis/im/v1/pins",
    "DELETE /open-apis/im/v1/pins/:message_id",
    "GET /open-apis/im/v1/pins",
    "POST /open-apis/im/v2/url_previews/batch_update",
    "GET /open-apis/bot/v3/info",
    "POST /open-apis/bot/v2/hook/:hook",
    "POST /callback/ws/endpoint",
];

#[tokio::test]
async fn every_call_of_the_reference_has_its_row_and_no_row_is_made_up() {
    let room = Room::new().await;
    let ledger = room.ledger().await;
    let mut there: Vec<&str> = (ledger["calls"].as_array().unwrap().iter())
        .map(|each| each["call"].as_str().unwrap())
        .collect();
    let mut due = CALLS.to_vec();
    there.sort_unstable();
    due.sort_unstable();
    assert_eq!(there, due);
}

/// Each answers something of its own, and no call but the open ones does so without a token.
#[tokio::test]
async fn every_call_is_answered_and_asks_for_a_token() {
    let room = Room::new().await;
    for call in CALLS {
        let (method, path) = call.split_once(' ').unwrap();
        let path: String = (path.split('/'))
            .map(|part| part.strip_prefix(':').unwrap_or(part))
            .collect::<Vec<_>>()
            .join("/");
        let request = room.raw(method, &path).json(&json!({}));
        let answer = told(request.send().await.unwrap()).await;
        let open = call.contains("/auth/") || call.contains("/hook/") || call.contains("/ws/");
        assert_eq!(
            answer.code() == 99_991_661,
            !open,
            "{call}: {}",
            answer.body
        );
        let known = room.call(method, &path, json!({})).await;
        assert!(
            ![99_991_201, 99_991_301, 99_991_661]
                .contains(&known.body["code"].as_i64().unwrap_or(0)),
            "{call}"
        );
        assert!(!known.header("x-tt-logid").is_empty(), "{call}");
    }
}

async fn ask(room: &Room, path: &str, body: Value) -> common::Told {
    let request = room.raw("POST", path).json(&body);
    told(request.send().await.expect("an answer")).await
}

#[tokio::test]
async fn a_store_app_gets_its_tokens_in_two_steps() {
    let room = Room::new().await;
    let own = "/open-apis/auth/v3/app_access_token";
    let whole =
        json!({ "app_id": DEFAULT_APP_ID, "app_secret": DEFAULT_APP_SECRET, "app_ticket": "t" });
    let told = ask(&room, own, whole.clone()).await;
    told.ok();
    let token = told.body["app_access_token"].as_str().unwrap().to_owned();
    assert!(told.body["expire"].as_i64().unwrap() > 7_000);
    let mut wrong = whole.clone();
    wrong["app_secret"] = json!("x");
    ask(&room, own, wrong).await.is(200, 10_014);
    ask(&room, own, json!({})).await.is(200, 10_003);
    let mut without = whole.clone();
    without["app_ticket"] = json!("");
    ask(&room, own, without).await.is(200, 10_003);
    let tenant = "/open-apis/auth/v3/tenant_access_token";
    let key = room.say(DEFAULT_CHAT, "x").await.ok()["sender"]["tenant_key"].clone();
    let body = json!({ "app_access_token": token, "tenant_key": key });
    let told = ask(&room, tenant, body).await;
    told.ok();
    let tenant_token = told.body["tenant_access_token"].as_str().unwrap();
    room.call_as(tenant_token, "GET", "/open-apis/bot/v3/info", Value::Null)
        .await
        .is(200, 0);
    let other = json!({ "app_access_token": token, "tenant_key": "other" });
    ask(&room, tenant, other).await.is(200, 10_003);
    let unknown = json!({ "app_access_token": "a-0", "tenant_key": key });
    ask(&room, tenant, unknown).await.is(400, 99_991_664);
    let resend = "/open-apis/auth/v3/app_ticket/resend";
    ask(&room, resend, whole).await.ok();
    ask(&room, resend, json!({})).await.is(200, 10_003);
    // Token calls have no tier and cost nothing of the month.
    for _ in 0..60 {
        ask(&room, TOKEN, json!({})).await.is(200, 10_003);
    }
}

#[tokio::test]
async fn the_address_of_a_long_connection_is_told_to_who_has_the_secret() {
    let room = Room::new().await;
    let path = "/callback/ws/endpoint";
    let told = ask(
        &room,
        path,
        json!({ "AppID": DEFAULT_APP_ID, "AppSecret": DEFAULT_APP_SECRET }),
    )
    .await;
    let url = told.ok()["URL"].as_str().unwrap();
    assert!(
        url.starts_with(&format!("ws://{}/", room.sandbox.addr())),
        "{url}"
    );
    // A client that reads the whole URL as a query must find these two.
    assert!(
        url.contains("&device_id=") && url.contains("&service_id="),
        "{url}"
    );
    assert_eq!(told.data()["ClientConfig"]["PingInterval"], 120);
    ask(
        &room,
        path,
        json!({ "AppID": DEFAULT_APP_ID, "AppSecret": "x" }),
    )
    .await
    .is(200, 1_000_040_345);
    ask(&room, path, json!({})).await.is(200, 1_000_040_344);
}

/// Every code of messages, reactions and files in the reference's endpoints.md and errors.md.
#[rustfmt::skip]
const CODES: &[i64] = &[
    230_001, 230_002, 230_003, 230_004, 230_005, 230_006, 230_007, 230_008, 230_009, 230_011,
    230_012, 230_013, 230_015, 230_017, 230_018, 230_019, 230_020, 230_022, 230_023, 230_024,
    230_025, 230_026, 230_027, 230_028, 230_029, 230_030, 230_031, 230_033, 230_034, 230_035,
    230_036, 230_038, 230_045, 230_046, 230_047, 230_048, 230_049, 230_050, 230_052, 230_053,
    230_054, 230_055, 230_061, 230_062, 230_063, 230_064, 230_065, 230_066, 230_067, 230_069,
    230_070, 230_071, 230_072, 230_073, 230_074, 230_075, 230_098, 230_099, 230_100, 230_101,
    230_110, 230_111, 231_001, 231_002, 231_003, 231_004, 231_005, 231_006, 231_007, 231_008,
    231_010, 231_011, 231_012, 231_013, 231_014, 231_015, 231_017, 231_018, 231_019, 231_020,
    231_021, 231_022, 231_203, 231_204, 232_009, 232_096, 234_001, 234_002, 234_003, 234_004,
    234_005, 234_006, 234_007, 234_008, 234_009, 234_010, 234_011, 234_019, 234_037, 234_038,
    234_039, 234_040, 234_041, 234_042, 234_043,
];

/// A chat that says `refuse` answers any of them, so that a test gets what no request provokes.
#[tokio::test]
async fn every_code_of_the_reference_can_be_had() {
    let chat = |code: &i64| json!({ "chat_id": format!("oc_{code}"), "refuse": code });
    let chats: Vec<Value> = CODES.iter().map(chat).collect();
    let seed = json!({ "chats": chats, "limits": { "app_minute": 0, "app_second": 0 } });
    let room = Room::with(&seed.to_string()).await;
    for code in CODES {
        let http = match code {
            // Batches answer with HTTP 200, files without a token with 401.
            230_100 => 200,
            234_002 => 401,
            _ => 400,
        };
        room.say(&format!("oc_{code}"), "x").await.is(http, *code);
    }
}

#[tokio::test]
async fn a_message_names_its_sender_by_the_kind_of_id_asked_for() {
    let room = Room::new().await;
    let act = json!({ "do": "write", "user": DEFAULT_USER, "chat": DEFAULT_CHAT, "text": "hi" });
    let sent = room.act(act).await["message_id"]
        .as_str()
        .unwrap()
        .to_owned();
    let path = format!("/open-apis/im/v1/messages/{sent}");
    for (kind, prefix) in [("open_id", "ou_"), ("union_id", "on_"), ("user_id", "u0")] {
        let got = room.get(&format!("{path}?user_id_type={kind}")).await;
        let sender = &got.ok()["items"][0]["sender"];
        assert_eq!(sender["id_type"], kind);
        assert!(
            sender["id"].as_str().unwrap().starts_with(prefix),
            "{sender}"
        );
    }
    room.get(&format!("{path}?user_id_type=email"))
        .await
        .is(400, 99_992_402);
}
