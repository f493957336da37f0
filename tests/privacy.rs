//! Nothing that is secret and nothing that a message says may be read in the log, in `/metrics` or in
//! a refusal, whatever goes wrong. Every house looks for it at its end; here is where it goes wrong.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on should stop here"
)]

mod support;

use axum::body::Bytes;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use support::House;
use support::jobs::*;
use tokio::net::TcpListener;

const QUIET: &str = "the merger with Initech is off";

/// A relay that logs all it can.
fn talkative(house: &mut House) {
    let config = house
        .config()
        .replace("level = \"debug\"", "level = \"trace\"");
    house.set_config(config);
}

/// A Feishu that quotes whatever it is sent, and refuses it; `code` is its refusal of messages.
async fn parrot(code: i64) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let answer = move |uri: Uri, body: Bytes| async move {
        let heard = String::from_utf8_lossy(&body).into_owned();
        let said = match uri.path().contains("tenant_access_token") {
            true => {
                json!({"code": 0, "msg": heard, "tenant_access_token": "t-parrot", "expire": 7200})
            }
            false => json!({"code": code, "msg": format!("no: {heard}")}),
        };
        let status = if said["code"] == 0 { 200 } else { 400 };
        let mut response: Response = said.to_string().into_response();
        *response.status_mut() = StatusCode::from_u16(status).unwrap();
        response
    };
    let router = axum::Router::new().fallback(answer);
    tokio::spawn(async move { axum::serve(listener, router).await });
    format!("http://{address}")
}

async fn beside_a_parrot(code: i64) -> House {
    let mut house = House::without_relay(None, "").await;
    talkative(&mut house);
    let config = house.config().replace(&house.feishu, &parrot(code).await);
    house.set_config(config);
    house.start();
    house
}

#[tokio::test]
async fn a_body_that_cannot_be_read_is_not_quoted() {
    let mut house = House::without_relay(None, "").await;
    talkative(&mut house);
    house.start();
    let bodies = [
        QUIET.to_owned(),
        format!("{{\"kind\": \"send\", \"args\": {{\"to\": \"oc_1\", \"text\": \"{QUIET}"),
        format!(
            "{{\"kind\": \"send\", \"args\": {{\"to\": \"oc_1\", \"text\": \"{QUIET}\", \"text\": 1}}}}"
        ),
        format!("{{\"kind\": \"send\", \"args\": \"{QUIET}\"}}"),
        format!("{{\"kind\": \"send\", \"args\": {{\"to\": 7, \"text\": \"{QUIET}\"}}}}"),
        format!("{{\"kind\": \"send\", \"args\": {{\"to\": \"oc_1\", \"post\": \"{QUIET}\"}}}}"),
        format!(
            "{{\"kind\": \"send\", \"args\": {{\"to\": \"oc_1\", \"msg_type\": \"text\", \"content\": \"{QUIET}\"}}}}"
        ),
        format!("{{\"kind\": \"upload_image\", \"args\": {{\"data\": \"{QUIET}\"}}}}"),
        format!(
            "[{{\"kind\": \"send\", \"args\": {{\"to\": \"oc_1\", \"card\": [\"{QUIET}\"]}}}}]"
        ),
    ];
    for body in bodies {
        let (status, said) = house
            .post_bytes("application/json", body.clone().into_bytes(), &[QUIET])
            .await;
        assert!(matches!(status, 400 | 422), "{body}: {status} {said}");
    }
    let broken = [b"{\"text\": \"", QUIET.as_bytes(), b"\xff\xfe\"}"].concat();
    let (status, _) = house.post_bytes("text/plain", broken, &[QUIET]).await;
    assert_eq!(status, 400);
    let bytes = QUIET.as_bytes().to_vec();
    assert_eq!(house.post_bytes("image/png", bytes, &[QUIET]).await.0, 415);
    house.stop();
}

#[tokio::test]
async fn a_feishu_that_quotes_what_it_is_sent_is_not_repeated() {
    // A refusal of the content, a fault of the app, and a code that nobody knows.
    for code in [230_001, 99_991_401, 987_654] {
        let mut house = beside_a_parrot(code).await;
        let quiet = json!({"to": "oc_1", "text": QUIET});
        let job = house.post(json!({"kind": "send", "args": quiet})).await;
        let tried = |job: &Value| {
            let queued = job["state"] == "queued" && job["waiting_for"] != "retry";
            !job["attempts"].as_array().unwrap().is_empty() && !queued
                || job["waiting_for"] == "app"
        };
        house.until(&path(&id(&job)), tried).await;
        house.stop();
    }
}

#[tokio::test]
async fn a_secret_that_feishu_refuses_and_quotes_is_not_repeated() {
    let mut house = House::without_relay(None, "").await;
    talkative(&mut house);
    let config = house
        .config()
        .replace("sandbox-secret", "wrong-but-not-to-be-read");
    house.set_config(config);
    house.start();
    let quiet = json!({"to": feishu_sandbox::DEFAULT_CHAT, "markdown": QUIET});
    let job = house.post(json!({"kind": "send", "args": quiet})).await;
    let stopped = |job: &Value| job["waiting_for"] == "app";
    house.until(&path(&id(&job)), stopped).await;
    house.feishu_down().await;
    house.advance(HOUR).await;
    house.kill();
    house.start();
    house.stop();
}

#[tokio::test]
async fn lost_and_late_answers_are_told_without_what_was_sent() {
    let mut house = House::without_relay(None, "[apps.limits]\n").await;
    talkative(&mut house);
    house.start();
    for fault in ["reset", "cut", "5xx", "drop"] {
        house
            .faults(json!([{"call": SEND, "do": fault, "when": "before", "count": 1, "http": 502}]))
            .await;
        let job = message(json!({"args": {"to": feishu_sandbox::DEFAULT_CHAT, "text": QUIET}}));
        let job = house.post(job).await;
        let tried = |job: &Value| !job["attempts"].as_array().unwrap().is_empty();
        house.until(&path(&id(&job)), tried).await;
    }
    house.stop();
}

#[tokio::test]
async fn a_log_in_json_is_one_object_a_line_with_its_facts_as_fields() {
    let mut house = House::without_relay(None, "").await;
    let config = house
        .config()
        .replace("[log]\n", "[log]\nformat = \"json\"\n");
    house.set_config(config);
    house.start();
    let refuse = json!([{"call": SEND, "do": "code", "when": "before", "count": 1, "http": 400, "code": 230_002}]);
    house.faults(refuse).await;
    let job = house.post(message(json!({}))).await;
    house.settled(&id(&job)).await;
    house.stop();
    let log = house.log();
    let lines: Vec<Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    for line in &lines {
        let said = ["timestamp", "level", "target", "message"];
        assert!(said.iter().all(|name| line[name].is_string()), "{line}");
    }
    let failed = lines
        .iter()
        .find(|line| line["message"] == "failed")
        .unwrap();
    assert_eq!(
        (&failed["id"], &failed["code"]),
        (&job["id"], &json!(230_002))
    );
}
