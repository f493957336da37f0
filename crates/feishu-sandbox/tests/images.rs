//! Image uploads: formats by their first bytes, sizes, pixels, and who may use a key.

mod common;

use common::{Room, SEND, Told, message, told};
use feishu_sandbox::DEFAULT_CHAT;
use reqwest::multipart::{Form, Part};
use serde_json::json;

const PATH: &str = "/open-apis/im/v1/images";

/// The head of a PNG of these dimensions.
fn png(width: u32, height: u32) -> Vec<u8> {
    let mut bytes = b"\x89PNG\r\n\x1a\n\x00\x00\x00\x0dIHDR".to_vec();
    bytes.extend(width.to_be_bytes());
    bytes.extend(height.to_be_bytes());
    bytes.extend([8, 6, 0, 0, 0, 0, 0, 0, 0]);
    bytes
}

fn gif(width: u16, height: u16) -> Vec<u8> {
    let mut bytes = b"GIF89a".to_vec();
    bytes.extend(width.to_le_bytes());
    bytes.extend(height.to_le_bytes());
    bytes.extend([0; 16]);
    bytes
}

async fn upload(room: &Room, token: &str, kind: &str, bytes: Vec<u8>) -> Told {
    let form = Form::new()
        .text("image_type", kind.to_owned())
        .part("image", Part::bytes(bytes).file_name("a.png"));
    let request = room.raw("POST", PATH).bearer_auth(token).multipart(form);
    told(request.send().await.expect("an answer")).await
}

#[tokio::test]
async fn an_uploaded_image_can_be_sent_and_looked_at() {
    let room = Room::new().await;
    let told = upload(&room, &room.token, "message", png(640, 480)).await;
    let key = told.ok()["image_key"].as_str().unwrap().to_owned();
    assert!(key.starts_with("img_v3_"));
    let body = message(DEFAULT_CHAT, "image", json!({ "image_key": key }));
    room.call("POST", SEND, body).await.ok();
    let effects = room.effects("upload").await;
    assert_eq!((effects.len(), &effects[0]["key"]), (1, &json!(key)));
    let image = room
        .raw("GET", &format!("/_sandbox/image/{key}"))
        .send()
        .await
        .unwrap();
    assert_eq!(image.headers()["content-type"], "image/png");
    assert_eq!(image.bytes().await.unwrap(), png(640, 480));
    let missing = room
        .raw("GET", "/_sandbox/image/img_0")
        .send()
        .await
        .unwrap();
    assert_eq!(missing.status(), 404);
}

#[tokio::test]
async fn an_image_that_is_too_large_or_no_image_is_refused() {
    let room = Room::new().await;
    let mut heavy = png(10, 10);
    heavy.resize(10_000_001, 0);
    for (kind, bytes, code) in [
        ("message", Vec::new(), 234_010),
        ("message", b"plain text, no image".to_vec(), 234_011),
        ("message", heavy, 234_006),
        ("message", png(12_001, 10), 234_039),
        ("avatar", png(4_097, 10), 234_039),
        ("message", gif(2_001, 10), 234_039),
        ("banner", png(10, 10), 234_001),
    ] {
        upload(&room, &room.token, kind, bytes).await.is(400, code);
    }
    for (kind, bytes) in [
        ("message", png(12_000, 12_000)),
        ("avatar", png(4_096, 1)),
        ("message", gif(2_000, 2_000)),
    ] {
        upload(&room, &room.token, kind, bytes).await.ok();
    }
    assert_eq!(room.effects("upload").await.len(), 3);
}

#[tokio::test]
async fn a_form_with_a_part_missing_or_no_form_is_refused() {
    let room = Room::new().await;
    let form = Form::new().text("image_type", "message");
    let answer = room
        .request("POST", PATH)
        .multipart(form)
        .send()
        .await
        .unwrap();
    told(answer).await.is(400, 234_001);
    room.call("POST", PATH, json!({ "image_type": "message" }))
        .await
        .is(400, 234_001);
}

#[tokio::test]
async fn a_key_belongs_to_the_app_that_uploaded_it() {
    let room = Room::with(
        r#"{"apps":[{"app_id":"cli_a","app_secret":"a"},{"app_id":"cli_b","app_secret":"b"}]}"#,
    )
    .await;
    let (a, b) = (
        room.token_of("cli_a", "a").await.unwrap(),
        room.token_of("cli_b", "b").await,
    );
    let told = upload(&room, &a, "message", png(1, 1)).await;
    let key = told.ok()["image_key"].as_str().unwrap();
    let body = message(DEFAULT_CHAT, "image", json!({ "image_key": key }));
    room.call_as(&b.unwrap(), "POST", SEND, body)
        .await
        .is(400, 230_017);
}
