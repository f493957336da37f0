//! Files: uploads, downloads, what messages carry, and the large ones.

mod common;

use common::{Room, SEND, Told, id, message, told};
use feishu_sandbox::{DEFAULT_CHAT, DEFAULT_CLOSED_CHAT, DEFAULT_USER, Options};
use reqwest::multipart::{Form, Part};
use serde_json::{Value, json};
use tempfile::TempDir;

const PATH: &str = "/open-apis/im/v1/files";

fn form(kind: &str, name: &str, bytes: Vec<u8>) -> Form {
    Form::new()
        .text("file_type", kind.to_owned())
        .text("file_name", name.to_owned())
        .part("file", Part::bytes(bytes).file_name("upload"))
}

async fn put(room: &Room, path: &str, form: Form) -> Told {
    let request = room.request("POST", path).multipart(form);
    told(request.send().await.expect("an answer")).await
}

async fn upload(room: &Room, kind: &str, name: &str, bytes: Vec<u8>) -> String {
    let told = put(room, PATH, form(kind, name, bytes)).await;
    told.ok()["file_key"].as_str().expect("a key").to_owned()
}

async fn fetch(room: &Room, path: &str) -> (u16, reqwest::header::HeaderMap, Vec<u8>) {
    let response = room.request("GET", path).send().await.expect("an answer");
    let (http, headers) = (response.status().as_u16(), response.headers().clone());
    (
        http,
        headers,
        response.bytes().await.expect("whole").to_vec(),
    )
}

fn png() -> Vec<u8> {
    let mut bytes = b"\x89PNG\r\n\x1a\n\x00\x00\x00\x0dIHDR".to_vec();
    bytes.extend([0, 0, 0, 1, 0, 0, 0, 1, 8, 6, 0, 0, 0, 0, 0, 0, 0]);
    bytes
}

async fn upload_image(room: &Room, kind: &str) -> String {
    let form = Form::new()
        .text("image_type", kind.to_owned())
        .part("image", Part::bytes(png()).file_name("a.png"));
    let told = put(room, "/open-apis/im/v1/images", form).await;
    told.ok()["image_key"].as_str().expect("a key").to_owned()
}

#[tokio::test]
async fn a_file_goes_up_is_sent_and_comes_back() {
    let room = Room::unbound().await;
    let key = upload(&room, "pdf", "报告 1.pdf", b"%PDF-1.7".to_vec()).await;
    assert!(key.starts_with("file_v3_"));
    let (http, headers, bytes) = fetch(&room, &format!("{PATH}/{key}")).await;
    assert_eq!((http, bytes.as_slice()), (200, &b"%PDF-1.7"[..]));
    assert_eq!(headers["content-type"], "application/octet-stream");
    let name = headers["content-disposition"].to_str().unwrap();
    assert!(name.contains("filename*=UTF-8''"), "{name}");
    assert!(!headers["x-tt-logid"].is_empty());
    let body = message(DEFAULT_CHAT, "file", json!({ "file_key": key }));
    let sent = room.call("POST", SEND, body).await;
    let content: Value =
        serde_json::from_str(sent.ok()["body"]["content"].as_str().unwrap()).unwrap();
    assert_eq!(
        content,
        json!({ "file_key": key, "file_name": "报告 1.pdf" })
    );
    let resource = format!(
        "/open-apis/im/v1/messages/{}/resources/{key}?type=file",
        id(&sent)
    );
    assert_eq!(fetch(&room, &resource).await.2, b"%PDF-1.7");
    let effects = room.effects("upload").await;
    assert_eq!(effects.len(), 1);
    assert_eq!(effects[0]["key"], key);
}

#[tokio::test]
async fn a_sound_and_a_film_say_how_long_they_are_and_fit_their_types() {
    let room = Room::unbound().await;
    let opus = form("opus", "a.opus", vec![1]).text("duration", "3000");
    let opus = put(&room, PATH, opus).await.ok()["file_key"].clone();
    let film = upload(&room, "mp4", "a.mp4", vec![1]).await;
    let send = |kind: &'static str, key: Value| {
        let body = message(DEFAULT_CHAT, kind, json!({ "file_key": key }));
        room.call("POST", SEND, body)
    };
    let sent = send("audio", opus.clone()).await;
    assert!(
        sent.ok()["body"]["content"]
            .as_str()
            .unwrap()
            .contains("\"duration\":3000")
    );
    send("media", json!(film)).await.ok();
    send("media", opus.clone()).await.is(400, 230_055);
    send("file", json!(film)).await.is(400, 230_055);
    send("sticker", json!(film)).await.is(400, 230_055);
    let sticker = json!({ "do": "write", "user": DEFAULT_USER, "chat": DEFAULT_CHAT,
        "value": { "msg_type": "sticker" } });
    let sticker = room.act(sticker).await["message_id"].clone();
    let got = room
        .get(&format!(
            "/open-apis/im/v1/messages/{}",
            sticker.as_str().unwrap()
        ))
        .await;
    let content = got.ok()["items"][0]["body"]["content"]
        .as_str()
        .unwrap()
        .to_owned();
    let key = serde_json::from_str::<Value>(&content).unwrap()["file_key"].clone();
    send("sticker", key).await.ok();
}

#[tokio::test]
async fn an_upload_out_of_form_is_refused() {
    let room = Room::unbound().await;
    put(&room, PATH, form("exe", "a.exe", vec![1]))
        .await
        .is(400, 234_001);
    put(&room, PATH, form("pdf", "nameless", vec![1]))
        .await
        .is(400, 234_001);
    put(&room, PATH, form("pdf", "a.pdf", vec![]))
        .await
        .is(400, 234_010);
    let long = form("opus", "a.opus", vec![1]).text("duration", "long");
    put(&room, PATH, long).await.is(400, 234_001);
    let without = Form::new()
        .text("file_type", "pdf")
        .text("file_name", "a.pdf");
    put(&room, PATH, without).await.is(400, 234_001);
    room.call("POST", PATH, json!({})).await.is(400, 234_001);
    put(&room, PATH, form("stream", "a.bin", vec![7; 30_000_001]))
        .await
        .is(400, 234_006);
    upload(&room, "stream", "a.bin", vec![7; 30_000_000]).await;
    let over = room
        .request("POST", PATH)
        .multipart(form("stream", "a.bin", vec![7; 49 << 20]))
        .send()
        .await;
    // Refused by its length before it is read, so the rest of it may meet a closed connection.
    assert!(over.is_err() || over.is_ok_and(|answer| answer.status() == 413));
    assert_eq!(room.effects("upload").await.len(), 1);
}

#[tokio::test]
async fn only_its_app_fetches_an_upload() {
    let room = Room::with(
        r#"{"apps":[{"app_id":"cli_5a9db0c5a9db0c5a","app_secret":"sandbox-secret"},
                    {"app_id":"cli_b","app_secret":"b"}],"switches":{"upload_life":"1h"}}"#,
    )
    .await;
    let (image, avatar) = (
        upload_image(&room, "message").await,
        upload_image(&room, "avatar").await,
    );
    let file = upload(&room, "pdf", "a.pdf", vec![1]).await;
    let image_path = format!("/open-apis/im/v1/images/{image}");
    let (http, headers, bytes) = fetch(&room, &image_path).await;
    assert_eq!((http, bytes), (200, png()));
    assert_eq!(headers["content-type"], "image/png");
    room.get(&format!("/open-apis/im/v1/images/{avatar}"))
        .await
        .is(400, 234_001);
    room.get(&format!("/open-apis/im/v1/images/{file}"))
        .await
        .is(400, 234_005);
    room.get(&format!("{PATH}/file_0")).await.is(400, 234_005);
    let other = room.token_of("cli_b", "b").await.unwrap();
    for path in [&image_path, &format!("{PATH}/{file}")] {
        room.call_as(&other, "GET", path, Value::Null)
            .await
            .is(400, 234_008);
    }
    room.advance("61m").await;
    room.get(&image_path).await.is(400, 234_005);
    let body = message(DEFAULT_CHAT, "file", json!({ "file_key": file }));
    room.call("POST", SEND, body)
        .await
        .is(400, 230_001)
        .says("invalid file_key");
}

async fn brought(room: &Room, chat: &str, value: Value) -> (String, String) {
    let act = json!({ "do": "write", "user": DEFAULT_USER, "chat": chat, "value": value });
    let sent = room.act(act).await["message_id"]
        .as_str()
        .expect("one")
        .to_owned();
    let ledger = room.get(&format!("/open-apis/im/v1/messages/{sent}")).await;
    let content = ledger.body["data"]["items"][0]["body"]["content"].clone();
    let content: Value = serde_json::from_str(content.as_str().unwrap_or("{}")).expect("one");
    let key = content["file_key"]
        .as_str()
        .or(content["image_key"].as_str());
    (sent, key.unwrap_or_default().to_owned())
}

#[tokio::test]
async fn what_a_person_sent_is_fetched_through_its_message() {
    let room = Room::unbound().await;
    let file = json!({ "msg_type": "file", "file_name": "big.bin", "size": 100_000_000 });
    let (sent, key) = brought(&room, DEFAULT_CHAT, file).await;
    let resource = |sent: &str, key: &str, kind: &str| {
        format!("/open-apis/im/v1/messages/{sent}/resources/{key}?type={kind}")
    };
    let (http, headers, bytes) = fetch(&room, &resource(&sent, &key, "file")).await;
    assert_eq!((http, bytes.len()), (200, 100_000_000));
    assert_eq!(headers["content-length"], "100000000");
    assert_eq!(
        headers["content-disposition"],
        "attachment; filename=\"big.bin\""
    );
    room.get(&resource(&sent, &key, "image"))
        .await
        .is(400, 234_003);
    room.get(&resource(&sent, "file_0", "file"))
        .await
        .is(400, 234_003);
    room.get(&resource(&sent, &key, "")).await.is(400, 234_001);
    room.get(&resource("om_0", &key, "file"))
        .await
        .is(400, 234_001);
    let larger = json!({ "msg_type": "file", "file_name": "a.bin", "size": 100_000_001 });
    let (larger, larger_key) = brought(&room, DEFAULT_CHAT, larger).await;
    room.get(&resource(&larger, &larger_key, "file"))
        .await
        .is(400, 234_037);
    let (hidden, _) = brought(&room, DEFAULT_CLOSED_CHAT, json!({ "msg_type": "image" })).await;
    room.get(&resource(&hidden, "img_0", "image"))
        .await
        .is(400, 234_004);
    let (sticker, sticker_key) =
        brought(&room, DEFAULT_CHAT, json!({ "msg_type": "sticker" })).await;
    room.get(&resource(&sticker, &sticker_key, "file"))
        .await
        .is(400, 234_043);
    room.act(json!({ "do": "recall", "user": DEFAULT_USER, "message": sent }))
        .await;
    room.get(&resource(&sent, &key, "file"))
        .await
        .is(400, 230_110);
    let act = json!({ "do": "write", "user": DEFAULT_USER, "chat": DEFAULT_CHAT, "value": { "msg_type": "car" } });
    assert_eq!(room.control("act", act).await.http, 422);
}

#[tokio::test]
async fn a_download_can_be_cut_and_is_refused_by_its_window() {
    let room = Room::with(r#"{"limits":{"app_second":1}}"#).await;
    let key = upload(&room, "pdf", "a.pdf", vec![7; 1_000]).await;
    let call = "GET /open-apis/im/v1/files/:file_key";
    let cut = json!([{ "call": call, "do": "cut", "when": "after", "count": 1 }]);
    room.faults(cut).await;
    room.align().await;
    let path = format!("{PATH}/{key}");
    let response = room.request("GET", &path).send().await.expect("a head");
    assert_eq!(response.status(), 200);
    assert!(response.bytes().await.is_err());
    let refused = room.get(&path).await;
    refused.is(429, 99_991_400);
    assert_eq!(refused.header("x-ogw-ratelimit-reset"), "1");
    room.advance("1s").await;
    assert_eq!(fetch(&room, &path).await.2, vec![7; 1_000]);
}

fn options(dir: &TempDir) -> Options {
    Options {
        listen: ([127, 0, 0, 1], 0).into(),
        state: Some(dir.path().join("state.jsonl")),
        seed: None,
    }
}

#[tokio::test]
async fn uploads_outlive_a_restart_beside_the_state_file() {
    let dir = TempDir::new().unwrap();
    let room = Room::open(options(&dir)).await;
    let key = upload(&room, "stream", "a.bin", vec![7; 2_000_000]).await;
    let made = json!({ "msg_type": "file", "file_name": "made.bin", "size": 5 });
    let (sent, made) = brought(&room, DEFAULT_CHAT, made).await;
    drop(room);
    let state = dir.path().join("state.jsonl");
    assert!(std::fs::metadata(&state).unwrap().len() < 1_000_000);
    let room = Room::open(options(&dir)).await;
    let (_, headers, bytes) = fetch(&room, &format!("{PATH}/{key}")).await;
    assert_eq!(bytes, vec![7; 2_000_000]);
    assert_eq!(
        headers["content-disposition"],
        "attachment; filename=\"a.bin\""
    );
    let resource = format!("/open-apis/im/v1/messages/{sent}/resources/{made}?type=file");
    assert_eq!(fetch(&room, &resource).await.2, [0, 1, 2, 3, 4]);
    drop(room);
    std::fs::remove_file(dir.path().join("state.jsonl.files").join(&key)).unwrap();
    let error = feishu_sandbox::start(options(&dir))
        .await
        .expect_err("a file is missing");
    assert!(error.to_string().contains(&key), "{error}");
}

/// A row as 0.1 wrote it: the bytes in the line, nothing of what came later.
#[tokio::test]
async fn a_state_file_of_the_release_before_is_read() {
    let dir = TempDir::new().unwrap();
    let state = dir.path().join("state.jsonl");
    let old = [
        r#"{"seed":{"apps":[{"app_id":"cli_5a9db0c5a9db0c5a","app_secret":"sandbox-secret"}],"users":[],"chats":[{"chat_id":"oc_5a9db0c0000000000000000000000001","name":"Old","members":[]}],"departments":[],"limits":{"app_minute":1000},"switches":{"kb":1000}}}"#,
        r#"{"click":{"token":"c-0","at_ms":1,"message_id":"om_0","user":"ou_0","value":null}}"#,
        r#"{"upload":{"key":"img_v3_0","app_id":"cli_5a9db0c5a9db0c5a","kind":"message","content_type":"image/png","base64":"AQID"}}"#,
        r#"{"message":{"message_id":"om_0","seq":1,"chat_id":"oc_5a9db0c0000000000000000000000001","sender":{"app":"cli_5a9db0c5a9db0c5a"},"msg_type":"text","sent":"{\"text\":\"old\"}","shown":"{\"text\":\"old\"}","create_ms":1,"update_ms":1,"updated":false,"deleted":false}}"#,
    ];
    std::fs::write(&state, old.join("\n") + "\n").unwrap();
    for _ in 0..2 {
        let room = Room::open(options(&dir)).await;
        let (_, _, bytes) = fetch(&room, "/open-apis/im/v1/images/img_v3_0").await;
        assert_eq!(bytes, [1, 2, 3]);
        room.get("/open-apis/im/v1/messages/om_0").await.ok();
    }
    assert!(!std::fs::read_to_string(&state).unwrap().contains("base64"));
}
