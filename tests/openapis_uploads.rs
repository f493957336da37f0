//! Uploads through the compatible endpoint: forms straight to disk, keys promised and taken.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on should stop here"
)]

mod support;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use feishu_sandbox::{DEFAULT_APP_SECRET, DEFAULT_CHAT};
use reqwest::multipart::{Form, Part};
use serde_json::json;
use support::House;
use support::jobs::PIXEL;
use support::openapis::{Said, Sdk, TO_CHAT};

const IMAGES: &str = "/open-apis/im/v1/images";
const LONG: (&str, &str) = ("x-relay-wait", "50s");

fn pixel() -> Vec<u8> {
    STANDARD.decode(PIXEL).unwrap()
}

async fn bring(sdk: &Sdk, form: Form, key: Option<&str>) -> Said {
    let request = sdk.request("POST", IMAGES).bearer_auth(&sdk.token);
    let request = request.header(LONG.0, LONG.1).multipart(form);
    Said::of(match key {
        Some(key) => request.header("idempotency-key", key),
        None => request,
    })
    .await
}

fn image(bytes: Vec<u8>) -> Form {
    let part = Part::bytes(bytes).file_name("a b.png");
    Form::new()
        .text("image_type", "message")
        .part("image", part)
}

#[tokio::test]
async fn an_upload_is_answered_as_feishu_answers_it() {
    let house = House::new().await;
    let sdk = house.sdk().await;
    let mut straight = house.sdk_at(&house.feishu);
    straight.log_in(DEFAULT_APP_SECRET).await;
    let forms: [fn() -> Form; 5] = [
        || image(pixel()),
        || image(b"no image at all".to_vec()),
        || image(Vec::new()),
        || Form::new().part("image", Part::bytes(pixel()).file_name("a.png")),
        || Form::new().text("image_type", "message"),
    ];
    for (n, form) in forms.into_iter().enumerate() {
        let (expected, said) = (
            bring(&straight, form(), None).await,
            bring(&sdk, form(), None).await,
        );
        assert_eq!(
            (said.status, said.code()),
            (expected.status, expected.code()),
            "{n}: {said:?}"
        );
        if said.code() == 0 {
            assert!(said.is_feishus().id().starts_with("img_"));
        }
    }
    let said = sdk
        .call("POST", IMAGES, json!({"image_type": "message"}))
        .await;
    said.refuses(400, 234_001);
}

#[tokio::test]
async fn a_promised_image_is_sent_once_it_is_there() {
    let mut house = House::new().await;
    let sdk = house.sdk().await;
    let (status, _) = house.request("POST", "/v1/pause", Some(json!({}))).await;
    assert_eq!(status, 200);
    let key = bring(&sdk, image(pixel()), Some("k"))
        .await
        .promise("queued");
    assert_eq!(
        bring(&sdk, image(b"other".to_vec()), Some("k")).await.id(),
        key
    );
    let alone = json!({"image_key": key}).to_string();
    let among = json!({"zh_cn": {"title": "t", "content": [[{"tag": "img", "image_key": key}]]}});
    for (msg_type, content) in [("image", alone), ("post", among.to_string())] {
        let body = json!({"receive_id": DEFAULT_CHAT, "msg_type": msg_type, "content": content});
        sdk.call("POST", TO_CHAT, body).await.promise("queued");
    }
    // The bytes are the relay's now: they outlive it.
    house.kill();
    house.start();
    house.request("POST", "/v1/resume", Some(json!({}))).await;
    house
        .until("/v1/jobs?state=queued,sending", |told| {
            told["jobs"] == json!([])
        })
        .await;
    let uploads = house.effects("upload").await;
    assert_eq!(uploads.len(), 1);
    let real = house.job(&key).await["receipt"]["image_key"].clone();
    let messages = house.effects("message").await;
    assert_eq!(messages.len(), 2);
    for message in messages {
        let content = message["content"].as_str().unwrap();
        assert!(content.contains(real.as_str().unwrap()), "{content}");
        assert!(!content.contains("job_"), "{content}");
    }
    // What is done is answered as it was.
    let said = bring(&sdk, image(pixel()), Some("k")).await;
    assert_eq!(said.is_feishus().id(), real);
}

#[tokio::test]
async fn a_file_is_brought_with_the_words_beside_it() {
    let house = House::new().await;
    let sdk = house.sdk().await;
    let form = |file_type: &'static str| {
        let part = Part::bytes(b"%PDF-1.7 report".to_vec()).file_name("x");
        let form = Form::new().text("file_type", file_type);
        form.text("file_name", "report.pdf").part("file", part)
    };
    let files = async |file_type: &'static str| {
        let request = sdk.request("POST", "/open-apis/im/v1/files");
        let request = request.bearer_auth(&sdk.token).header(LONG.0, LONG.1);
        Said::of(request.multipart(form(file_type))).await
    };
    let key = files("pdf").await.is_feishus().id();
    assert!(key.starts_with("file_"), "{key}");
    let (_, jobs) = house
        .request("GET", "/v1/jobs?kind=upload_file", None)
        .await;
    assert_eq!(jobs["jobs"][0]["state"], "done");
    // A type that Feishu does not know is Feishu's to refuse.
    assert_eq!(files("exe").await.is_feishus().code(), 234_001);
}
