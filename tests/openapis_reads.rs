//! The compatible endpoint's reads, downloads and calls that it does not know: Feishu's answers, handed on.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on should stop here"
)]

mod support;

use std::time::Duration;

use feishu_sandbox::{DEFAULT_APP_ID, DEFAULT_CHAT, DEFAULT_USER};
use serde_json::{Value, json};
use support::House;
use support::jobs::MINUTE;
use support::openapis::{Said, Sdk, TENANT_TOKEN};

const GET: &str = "GET /open-apis/im/v1/messages/:message_id";
const RESOURCE: &str = "GET /open-apis/im/v1/messages/:message_id/resources/:file_key";
const CONNECT: &str = "/callback/ws/endpoint";

/// A program that speaks to Feishu itself.
async fn straight(house: &House) -> Sdk {
    let mut sdk = house.sdk_at(&house.feishu);
    sdk.log_in("sandbox-secret").await;
    sdk
}

/// A message of the app's, on its way through the relay.
async fn sent(house: &House, text: &str) -> String {
    let job = house
        .post(json!({"kind": "send", "args": {"to": DEFAULT_CHAT, "text": text}}))
        .await;
    let job = house.settled(job["id"].as_str().unwrap()).await;
    job["receipt"]["message_id"].as_str().unwrap().to_owned()
}

/// A file that a person sent: its message and its key.
async fn brought(house: &House, bytes: u64) -> (String, String) {
    let value = json!({"msg_type": "file", "file_name": "big.bin", "size": bytes});
    let act = json!({"do": "write", "user": DEFAULT_USER, "chat": DEFAULT_CHAT, "value": value});
    let told = house.control("act", act).await;
    let id = told["message_id"].as_str().unwrap().to_owned();
    let said = straight(house).await;
    let path = format!("/open-apis/im/v1/messages/{id}");
    let said = said.call("GET", &path, Value::Null).await;
    let content = said.body["data"]["items"][0]["body"]["content"].as_str();
    let content: Value = serde_json::from_str(content.unwrap()).unwrap();
    (id, content["file_key"].as_str().unwrap().to_owned())
}

fn resource(message: &str, key: &str) -> String {
    format!("/open-apis/im/v1/messages/{message}/resources/{key}?type=file")
}

/// Calls of this month for one reason, and how many of them were lost.
async fn month(house: &House, cause: &str) -> (u64, u64) {
    let status = house.until("/v1/status", |_| true).await;
    let of = find(&status, cause);
    let number = |name: &str| of[name].as_u64().unwrap_or(0);
    (number("first") + number("again"), number("lost"))
}

/// The object under `name`, wherever status has it.
fn find<'a>(value: &'a Value, name: &str) -> &'a Value {
    match value {
        Value::Object(map) => match map.get(name) {
            Some(found) if found.is_object() => found,
            _ => map
                .values()
                .map(|inner| find(inner, name))
                .find(|found| !found.is_null())
                .unwrap_or(&Value::Null),
        },
        Value::Array(list) => list
            .iter()
            .map(|inner| find(inner, name))
            .find(|found| !found.is_null())
            .unwrap_or(&Value::Null),
        _ => &Value::Null,
    }
}

#[tokio::test]
async fn every_read_is_answered_as_feishu_answers_it() {
    let house = House::new().await;
    let (relay, feishu) = (house.sdk().await, straight(&house).await);
    let message = sent(&house, "one").await;
    sent(&house, "two").await;
    let react = json!({"reaction_type": {"emoji_type": "SMILE"}});
    let path = format!("/open-apis/im/v1/messages/{message}/reactions");
    feishu.call("POST", &path, react).await;
    let pin = json!({"message_id": message});
    feishu.call("POST", "/open-apis/im/v1/pins", pin).await;
    let read = json!({"do": "read", "user": DEFAULT_USER, "message": message});
    house.control("act", read).await;
    let batch = json!({"msg_type": "text", "content": {"text": "all"}, "open_ids": [DEFAULT_USER]});
    let batch = feishu
        .call("POST", "/open-apis/message/v4/batch_send/", batch)
        .await;
    let batch = batch.body["data"]["message_id"].as_str().unwrap();
    let (file, key) = brought(&house, 100_000).await;
    let history = format!(
        "/open-apis/im/v1/messages?container_id_type=chat&container_id={DEFAULT_CHAT}&page_size=1"
    );
    let page = feishu.call("GET", &history, Value::Null).await;
    let page = page.body["data"]["page_token"].as_str().unwrap();
    let paths = [
        format!("/open-apis/im/v1/messages/{message}"),
        format!("/open-apis/im/v1/messages/{message}?card_msg_content_type=user_card_content"),
        format!("{history}&page_token={page}"),
        format!("/open-apis/im/v1/messages/{message}/read_users?user_id_type=open_id"),
        format!("/open-apis/im/v1/messages/{message}/reactions?page_size=5"),
        format!("/open-apis/im/v1/pins?chat_id={DEFAULT_CHAT}"),
        format!("/open-apis/im/v1/batch_messages/{batch}/get_progress"),
        format!("/open-apis/im/v1/batch_messages/{batch}/read_user"),
        String::from("/open-apis/bot/v3/info"),
        resource(&file, &key),
        // Refusals pass as well.
        resource(&message, &key),
        String::from("/open-apis/im/v1/messages/om_none"),
        String::from("/open-apis/im/v1/images/img_none"),
        String::from("/open-apis/im/v1/files/file_none"),
        String::from("/open-apis/im/v1/messages?container_id_type=chat"),
    ];
    for path in paths {
        let (one, other) = (
            relay.call("GET", &path, Value::Null).await,
            feishu.call("GET", &path, Value::Null).await,
        );
        agree(&path, &one, &other);
    }
    let query = json!({"queries": [{"message_id": message}], "page_size_per_message": 5});
    let path = "/open-apis/im/v1/messages/reactions/batch_query?user_id_type=open_id";
    let (one, other) = (
        relay.call("POST", path, query.clone()).await,
        feishu.call("POST", path, query).await,
    );
    assert_eq!(other.status, 200, "{other:?}");
    agree(path, &one, &other);
}

/// Trace ids and Feishu's own log ids differ from call to call.
fn agree(path: &str, relay: &Said, feishu: &Said) {
    assert_eq!(relay.status, feishu.status, "{path}: {relay:?} {feishu:?}");
    let plain = |said: &Said| {
        let mut body = said.body.clone();
        if let Some(error) = body.get_mut("error").and_then(Value::as_object_mut) {
            error.remove("log_id");
        }
        match body.is_null() {
            true => Value::String(said.text.clone()),
            false => body,
        }
    };
    assert!(
        plain(relay) == plain(feishu),
        "{path}: {relay:?} {feishu:?}"
    );
    for name in ["content-type", "content-disposition", "content-length"] {
        assert_eq!(relay.header(name), feishu.header(name), "{path}: {name}");
    }
    assert!(!relay.header("x-tt-logid").is_empty(), "{path}: {relay:?}");
    assert_eq!(relay.header("x-relay-state"), "", "{path}");
}

/// What a read may and what it is counted as; a call that nobody knows needs a scope of its own.
#[tokio::test]
async fn scopes_part_reads_from_calls_that_nobody_knows() {
    let clients = r#"
[[clients]]
name = "reader"
token = "reader-token"
scopes = ["read"]
[[clients]]
name = "writer"
token = "writer-token"
scopes = ["enqueue"]
[[clients]]
name = "all"
token = "all-token"
scopes = ["direct"]
"#;
    let mut house = House::without_relay(None, clients).await;
    let base = house.on_a_port();
    house.start();
    let (read, direct) = ("/open-apis/bot/v3/info", "/open-apis/contact/v3/users/ou_1");
    for (token, reads, passes) in [
        ("reader-token", true, false),
        ("writer-token", false, false),
        ("all-token", false, true),
    ] {
        let mut sdk = house.sdk_at(&base);
        sdk.log_in(token).await;
        let said = sdk.call("GET", read, Value::Null).await;
        match reads {
            true => assert_eq!((said.status, said.code()), (200, 0)),
            false => said.refuses(403, 99_991_672),
        }
        for method in ["GET", "POST", "DELETE"] {
            let said = sdk.call(method, direct, Value::Null).await;
            match passes {
                // The sandbox has no such call, and says so itself.
                true => {
                    assert_eq!(said.header("x-relay-state"), "direct", "{said:?}");
                    assert_eq!(said.status, 404, "{said:?}");
                }
                false => said.refuses(403, 99_991_672),
            }
        }
        let body = json!({"AppID": DEFAULT_APP_ID, "AppSecret": token});
        let said = Said::of(sdk.request("POST", CONNECT).json(&body)).await;
        match passes {
            true => assert_eq!((said.status, said.code()), (200, 0), "{said:?}"),
            false => said.refuses(403, 99_991_672),
        }
    }
}

/// The program shows its token of the relay; Feishu gets the app's secret.
#[tokio::test]
async fn a_long_connection_is_asked_for_without_the_apps_secret() {
    let house = House::new().await;
    let sdk = house.sdk().await;
    let ask = async |body: Value| Said::of(sdk.request("POST", CONNECT).json(&body)).await;
    let body = json!({"AppID": DEFAULT_APP_ID, "AppSecret": "any"});
    let said = ask(body).await;
    assert_eq!((said.status, said.code()), (200, 0), "{said:?}");
    assert!(
        said.body["data"]["URL"]
            .as_str()
            .unwrap()
            .contains("service_id=")
    );
    assert_eq!(said.header("x-relay-state"), "direct");
    ask(json!({"AppID": "cli_none", "AppSecret": "any"}))
        .await
        .refuses(200, 1_000_040_345);
    ask(json!({"AppID": DEFAULT_APP_ID}))
        .await
        .refuses(200, 1_000_040_344);
}

#[tokio::test]
async fn what_reads_is_asked_again_and_anything_else_is_not() {
    let house = House::new().await;
    let sdk = house.sdk().await;
    let message = sent(&house, "one").await;
    let path = format!("/open-apis/im/v1/messages/{message}");
    let made = async || house.calls(GET).await["made"].as_u64().unwrap_or(0);
    for fault in [
        json!({"call": GET, "do": "5xx", "when": "before", "count": 2}),
        json!({"call": GET, "do": "reset", "when": "before", "count": 1}),
        json!({"call": GET, "do": "drop", "when": "after", "count": 1}),
        json!({"call": GET, "do": "cut", "when": "after", "count": 1}),
        json!({"call": GET, "do": "429", "when": "before", "count": 1, "reset_s": 1}),
        json!({"call": GET, "do": "code", "when": "before", "count": 1, "http": 400, "code": 99_991_663}),
    ] {
        house.faults(json!([fault])).await;
        let before = made().await;
        let said = sdk.call("GET", &path, Value::Null).await;
        assert_eq!((said.status, said.code()), (200, 0), "{fault}: {said:?}");
        let tries = made().await - before;
        assert_eq!(tries, fault["count"].as_u64().unwrap() + 1, "{fault}");
    }
    // What stays wrong is Feishu's to say, in the end.
    house
        .faults(json!([{"call": GET, "do": "5xx", "when": "before", "http": 502}]))
        .await;
    let before = made().await;
    let said = sdk.call("GET", &path, Value::Null).await;
    assert_eq!(said.status, 502, "{said:?}");
    assert_eq!(made().await - before, 3);
    house
        .faults(json!([{"call": "*", "do": "5xx", "when": "before", "http": 503}]))
        .await;
    let body = json!({"AppID": DEFAULT_APP_ID, "AppSecret": "any"});
    let said = Said::of(sdk.request("POST", CONNECT).json(&body)).await;
    assert_eq!((said.status, said.header("x-relay-state")), (503, "direct"));
    let made = house.calls("POST /callback/ws/endpoint").await["made"].clone();
    assert_eq!(made, 1);
}

#[tokio::test]
async fn an_outage_is_said_at_once_and_its_end_is_found() {
    let mut house = House::new().await;
    let sdk = house.sdk().await;
    let message = sent(&house, "one").await;
    let path = format!("/open-apis/im/v1/messages/{message}");
    house.feishu_down().await;
    let asks = async || sdk.call("GET", &path, Value::Null).await;
    asks().await.refuses(503, 990_004);
    asks().await.refuses(503, 990_004);
    let body = json!({"AppID": DEFAULT_APP_ID, "AppSecret": "any"});
    let said = Said::of(sdk.request("POST", CONNECT).json(&body)).await;
    said.refuses(503, 990_004);
    house.feishu_up().await;
    house.advance(MINUTE).await;
    let said = asks().await;
    assert_eq!((said.status, said.code()), (200, 0), "{said:?}");
    let (status, _) = house
        .request("POST", "/v1/pause", Some(json!({"app": "ops"})))
        .await;
    assert_eq!(status, 200);
    asks().await.refuses(503, 990_004);
    house.request("POST", "/v1/resume", Some(json!({}))).await;
    assert_eq!(asks().await.status, 200);
}

/// An answer that breaks off is broken for the client too, with and without a length.
#[tokio::test]
async fn a_download_that_is_cut_does_not_look_whole() {
    let house = House::new().await;
    let sdk = house.sdk().await;
    let (message, key) = brought(&house, 1_000_000).await;
    house
        .faults(json!([{"call": RESOURCE, "do": "cut", "when": "after", "count": 1}]))
        .await;
    let get = || {
        sdk.request("GET", &resource(&message, &key))
            .bearer_auth(&sdk.token)
    };
    let answer = get().send().await.unwrap();
    assert_eq!(answer.status(), 200);
    assert!(answer.bytes().await.is_err());
    let whole = get().send().await.unwrap().bytes().await.unwrap();
    assert_eq!(whole.len(), 1_000_000);
}

/// A client who goes away ends the call: its place and Feishu's answer are let go.
#[tokio::test]
async fn clients_who_go_away_leave_room_for_others() {
    let house = House::new().await;
    let sdk = house.sdk().await;
    let (message, key) = brought(&house, 20_000_000).await;
    let get = || {
        sdk.request("GET", &resource(&message, &key))
            .bearer_auth(&sdk.token)
    };
    // More than can be under way at once.
    for _ in 0..80 {
        let mut answer = get().send().await.unwrap();
        assert_eq!(answer.status(), 200);
        assert!(answer.chunk().await.unwrap().is_some());
    }
    let whole = get().send().await.unwrap().bytes().await.unwrap();
    assert_eq!(whole.len(), 20_000_000);
}

#[tokio::test]
async fn a_read_on_a_promise_waits_for_its_job_and_hears_what_became_of_it() {
    let mut house = House::new().await;
    let sdk = house.sdk().await;
    let post = async |house: &House, more: Value| {
        let mut job = json!({"kind": "send", "args": {"to": DEFAULT_CHAT, "text": "x"}});
        job.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        house.post(job).await["id"].as_str().unwrap().to_owned()
    };
    let get = async |id: &str, wait: &str| {
        let path = format!("/open-apis/im/v1/messages/{id}");
        let wait = [("X-Relay-Wait", wait)];
        sdk.with("GET", &path, Value::Null, &wait).await
    };
    let done = post(&house, json!({})).await;
    let said = get(&done, "30s").await;
    let made = house.settled(&done).await["receipt"]["message_id"].clone();
    assert_eq!(said.body["data"]["items"][0]["message_id"], made);
    let query = json!({"queries": [{"message_id": done}]});
    let path = "/open-apis/im/v1/messages/reactions/batch_query";
    let said = sdk.call("POST", path, query).await;
    assert_eq!((said.status, said.code()), (200, 0), "{said:?}");

    let later = post(&house, json!({"delay": "20m", "expires_in": "30m"})).await;
    get(&later, "0").await.refuses(504, 990_003);
    get(&later, "much").await.refuses(400, 99_992_402);
    house.act(&later, "cancel", None).await;
    get(&later, "0").await.refuses(400, 990_002);
    let expires = post(&house, json!({"delay": "20m", "expires_in": "30m"})).await;
    house.request("POST", "/v1/pause", Some(json!({}))).await;
    house.advance(40 * MINUTE).await;
    house.settled(&expires).await;
    get(&expires, "0").await.refuses(400, 990_001);
    house.request("POST", "/v1/resume", Some(json!({}))).await;

    let fault = json!([{"call": "POST /open-apis/im/v1/messages", "do": "code", "when": "before",
        "http": 400, "code": 230_002, "count": 1}]);
    house.faults(fault).await;
    let failed = post(&house, json!({})).await;
    house.settled(&failed).await;
    get(&failed, "0").await.refuses(400, 230_002);
    let nobody = format!("job_{}", "7".repeat(32));
    get(&nobody, "0").await.refuses(400, 99_992_354);
}

/// Each call is counted in the month and in the metrics, by what it was.
#[tokio::test]
async fn calls_are_counted_by_what_they_were() {
    let house = House::new().await;
    let sdk = house.sdk().await;
    for _ in 0..3 {
        sdk.call("GET", "/open-apis/bot/v3/info", Value::Null).await;
    }
    sdk.call("GET", "/open-apis/im/v1/messages/om_none", Value::Null)
        .await;
    let body = json!({"AppID": DEFAULT_APP_ID, "AppSecret": "any"});
    Said::of(sdk.request("POST", CONNECT).json(&body)).await;
    let counted = |text: &Value| {
        let text = text.as_str().unwrap_or_default();
        let of = |kind: &str, outcome: &str| {
            text.lines().any(|line| {
                line.starts_with("feishu_relay_attempts_total")
                    && line.contains(&format!("kind=\"{kind}\""))
                    && line.contains(&format!("outcome=\"{outcome}\""))
            })
        };
        of("read", "done") && of("read", "refused") && of("direct", "done")
    };
    house.until("/metrics", counted).await;
    // What was refused with a status of 400 does not count towards the quota.
    assert_eq!(month(&house, "read").await, (3, 0));
    assert_eq!(month(&house, "direct").await, (1, 0));
    house
        .faults(json!([{"call": "GET /open-apis/bot/v3/info", "do": "drop", "when": "after"}]))
        .await;
    let said = sdk.call("GET", "/open-apis/bot/v3/info", Value::Null).await;
    said.refuses(504, 990_006);
    let lost = |status: &Value| find(status, "read")["lost"] == 3;
    house.until("/v1/status", lost).await;
    assert_eq!(month(&house, "read").await, (6, 3));
}

/// A path that an address would write in another way is not sent: it would name another endpoint.
#[tokio::test]
async fn a_path_cannot_climb_out_of_where_it_is_allowed() {
    let house = House::new().await;
    let sdk = house.sdk().await;
    let answer = |path: &'static str| {
        let (socket, token) = (house.socket(), sdk.token.clone());
        tokio::task::spawn_blocking(move || {
            use std::io::{Read, Write};
            let mut relay = std::os::unix::net::UnixStream::connect(socket).unwrap();
            relay
                .set_read_timeout(Some(Duration::from_secs(60)))
                .unwrap();
            let request = format!(
                "GET {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\nconnection: close\r\n\r\n"
            );
            relay.write_all(request.as_bytes()).unwrap();
            let mut text = String::new();
            relay.read_to_string(&mut text).unwrap();
            text
        })
    };
    for path in [
        "/open-apis/../_sandbox/ledger",
        "/open-apis/%2e%2e/_sandbox/ledger",
        "/open-apis/im/v1/messages/..",
        "/open-apis/im/v1/messages/%2E%2e/reactions",
    ] {
        let text = answer(path).await.unwrap();
        assert!(text.starts_with("HTTP/1.1 400"), "{path}: {text}");
        assert!(text.contains("9499"), "{path}: {text}");
    }
    let ask = json!({"app_id": DEFAULT_APP_ID, "app_secret": "x"});
    let said = Said::of(sdk.request("POST", TENANT_TOKEN).json(&ask)).await;
    assert_eq!(said.code(), 0);
}
