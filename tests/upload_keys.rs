//! A key that Feishu gave for bytes is used again, and brought anew when Feishu does not know it any more.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on should stop here"
)]

mod support;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use feishu_sandbox::DEFAULT_CHAT;
use serde_json::{Value, json};
use support::House;
use support::jobs::{PIXEL, SEND, outcomes, post};

fn picture() -> Value {
    json!({"kind": "send", "args": {"to": DEFAULT_CHAT, "image": {"data": PIXEL}}})
}

async fn ended(house: &House, job: Value, state: &str) -> Value {
    let job = house.settled(&post(house, job).await).await;
    assert_eq!(job["state"], state, "{job:#}");
    job
}

/// What Feishu said; that it has forgotten the relay's token, too, says nothing of the message.
fn heard(job: &Value) -> Vec<&str> {
    let mut outcomes = outcomes(job);
    outcomes.retain(|outcome| *outcome != "not_sent");
    outcomes
}

async fn uploads(house: &House) -> usize {
    house.effects("upload").await.len()
}

/// Feishu forgets everything, keys above all.
async fn feishu_forgets(house: &mut House) {
    house.feishu_down().await;
    std::fs::remove_file(house.dir.path().join("feishu.state")).unwrap();
    house.feishu_up().await;
}

#[tokio::test]
async fn the_same_bytes_go_to_feishu_once() {
    let mut house = House::new().await;
    let image = json!({"kind": "upload_image", "args": {"data": PIXEL, "file_name": "a.png"}});
    let first = ended(&house, image, "done").await;
    let image = json!({"kind": "upload_image", "args": {"data": PIXEL, "file_name": "b.png"}});
    let again = ended(&house, image, "done").await;
    assert_eq!(again["receipt"]["image_key"], first["receipt"]["image_key"]);
    assert_eq!(again["receipt"]["reused_from"], first["id"], "{again:#}");
    assert!(again["attempts"][0]["http"].is_null(), "{again:#}");
    house.restart();
    ended(&house, picture(), "done").await;
    assert_eq!(uploads(&house).await, 1);
    // What Feishu keeps of an upload makes it another one.
    let avatar = json!({"kind": "upload_image", "args": {"data": PIXEL, "image_type": "avatar"}});
    ended(&house, avatar, "done").await;
    let data = STANDARD.encode("x");
    for (name, expected) in [("a.txt", 3), ("b.txt", 4), ("a.txt", 4)] {
        let file = json!({"kind": "upload_file", "args": {"data": data, "file_name": name}});
        ended(&house, file, "done").await;
        assert_eq!(uploads(&house).await, expected, "{name}");
    }
}

#[tokio::test]
async fn a_key_that_feishu_does_not_know_any_more_is_brought_anew() {
    let mut house = House::new().await;
    let upload = json!({"kind": "upload_image", "args": {"data": PIXEL}});
    let upload = ended(&house, upload, "done").await;
    feishu_forgets(&mut house).await;
    // Its own bytes, whose key is known; then a job that is named; then one in a card's place.
    let named = json!({"kind": "send", "args": {"to": DEFAULT_CHAT, "image": upload["id"]}});
    let video = json!({"data": STANDARD.encode("\0\0\0\u{18}ftypmp42"), "cover": upload["id"]});
    let video = json!({"kind": "send", "args": {"to": DEFAULT_CHAT, "media": video}});
    for (n, job) in [picture(), named, video].into_iter().enumerate() {
        let id = post(&house, job).await;
        let job = house.settled(&id).await;
        assert_eq!(job["state"], "done", "{job:#}");
        assert_eq!(heard(&job), ["refused", "done"], "{job:#}");
        let seen = house.effects("message").await;
        assert_eq!(seen.len(), n + 1);
        let uuid = seen[n]["uuid"].as_str().unwrap();
        assert!(uuid.ends_with(".k"), "another content: {uuid}");
    }
    // The image once for all of them, and the video.
    assert_eq!(uploads(&house).await, 2);
}

#[tokio::test]
async fn a_key_is_brought_anew_once_and_never_after_an_unknown_attempt() {
    let house = House::new().await;
    let unknown = |count: u64| json!({"call": SEND, "do": "code", "code": 230017, "count": count});
    house.faults(json!([unknown(2)])).await;
    let job = ended(&house, picture(), "failed").await;
    assert_eq!(outcomes(&job), ["refused", "refused"], "{job:#}");
    assert_eq!(job["error"]["code"], 230017, "{job:#}");
    assert_eq!(uploads(&house).await, 2);

    let lost = json!({"call": SEND, "do": "drop", "when": "before", "count": 1});
    house.faults(json!([lost, unknown(1)])).await;
    let job = ended(&house, picture(), "in_doubt").await;
    assert_eq!(outcomes(&job), ["unknown", "refused"], "{job:#}");
    // The key was forgotten with the second refusal; only this message brought it since.
    assert_eq!(uploads(&house).await, 3);
    assert!(house.effects("message").await.is_empty());
}

/// A part says what the batch was accepted with, so the batch fails; the next one has a new key.
#[tokio::test]
async fn a_batch_that_was_refused_for_its_key_leaves_none_for_the_next() {
    let house = House::new().await;
    let refused = json!({"call": "POST /open-apis/message/v4/batch_send/", "do": "code", "http": 200, "code": 11227, "count": 1});
    house.faults(json!([refused])).await;
    let people = json!(["ou_5a9db0c0000000000000000000000001"]);
    let batch =
        json!({"kind": "batch_send", "args": {"open_ids": people, "image": {"data": PIXEL}}});
    let failed = ended(&house, batch.clone(), "failed").await;
    assert_eq!(failed["error"]["code"], 11227, "{failed:#}");
    assert_eq!(uploads(&house).await, 1);
    ended(&house, batch, "done").await;
    assert_eq!(uploads(&house).await, 2);
}

#[tokio::test]
async fn a_kill_before_the_new_key_is_there_loses_nothing() {
    let mut house = House::new().await;
    let upload = json!({"kind": "upload_image", "args": {"data": PIXEL}});
    ended(&house, upload, "done").await;
    feishu_forgets(&mut house).await;
    let late = json!([{"call": "POST /open-apis/im/v1/images", "do": "delay", "when": "before", "ms": 2000, "count": 1}]);
    house.faults(late).await;
    let id = post(&house, picture()).await;
    let refused = |job: &Value| heard(job) == ["refused"] && job["state"] == "queued";
    house.until(&format!("/v1/jobs/{id}"), refused).await;
    house.kill();
    house.start();
    let job = house.settled(&id).await;
    assert_eq!(job["state"], "done", "{job:#}");
    assert_eq!(house.effects("message").await.len(), 1);
}
