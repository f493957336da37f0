//! Bytes come in as forms, straight to disk, and go when nobody needs them.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on should stop here"
)]

mod support;

use std::io::Write;
use std::process::Stdio;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use feishu_sandbox::DEFAULT_CHAT;
use serde_json::{Value, json};
use support::House;
use support::form::{self, Form, Upload, kept, pixel, png, until_kept};
use support::jobs::{HOUR, PIXEL, id, post};

const MIB: usize = 1 << 20;

/// An upload that waits, so that its bytes are needed.
fn waiting() -> Form {
    Form::default()
        .word("kind", "upload_image")
        .word("delay", "1h")
}

#[tokio::test]
async fn a_form_brings_an_image_as_words_or_as_a_job_beside_it() {
    let house = House::new().await;
    let words = Form::default()
        .word("kind", "upload_image")
        .word("image_type", "avatar")
        .word("priority", "high")
        .word("labels", "{\"team\": \"db\"}")
        .file("image", "dot.png", &pixel());
    let job = json!({"kind": "upload_image", "args": {"image_type": "avatar", "file_name": "dot.png"},
        "priority": "high", "labels": {"team": "db"}});
    let whole = Form::default().file("data", "other.png", &pixel()).job(job);
    let labels = Form::default()
        .file("image", "dot.png", &pixel())
        .word("kind", "upload_image")
        .word("image_type", "avatar")
        .word("priority", "high")
        .word("label.team", "db");
    let mut args = Vec::new();
    for form in [words, whole, labels] {
        let (status, job) = form.post(&house).await;
        assert_eq!(status, 202, "{job:#}");
        let job = house.settled(&id(&job)).await;
        assert_eq!(job["state"], "done", "{job:#}");
        assert!(job["receipt"]["image_key"].is_string(), "{job:#}");
        assert_eq!(job["priority"], "high");
        assert_eq!(job["labels"], json!({"team": "db"}));
        args.push(job["args"].clone());
    }
    assert_eq!(args[0]["file_name"], "dot.png");
    assert_eq!(args[0]["image_type"], "avatar");
    assert_eq!(args[0]["bytes"], pixel().len());
    assert!(args.iter().all(|one| *one == args[0]), "{args:#?}");
    let seen = house.effects("upload").await;
    assert!(!seen.is_empty());
    assert_eq!(kept(&house), [args[0]["sha256"].as_str().unwrap()]);
}

#[tokio::test]
async fn a_file_keeps_a_name_that_is_not_ascii() {
    let house = House::new().await;
    let extended = "name=\"image\"; filename=\"x\"; filename*=UTF-8''%E7%82%B9.png";
    for disposition in [extended, "name=\"image\"; filename=\"点.png\""] {
        let (status, job) = waiting().raw(disposition, &pixel()).post(&house).await;
        assert_eq!(status, 202, "{job:#}");
        assert_eq!(house.job(&id(&job)).await["args"]["file_name"], "点.png");
    }
}

#[tokio::test]
async fn a_key_stands_for_the_bytes_of_a_form_too() {
    let house = House::new().await;
    let keyed = |bytes: &[u8]| waiting().word("key", "k").file("image", "a.png", bytes);
    let (status, first) = keyed(&pixel()).post(&house).await;
    assert_eq!(status, 202, "{first:#}");
    let (status, again) = keyed(&pixel()).post(&house).await;
    assert_eq!((status, &again["id"]), (200, &first["id"]), "{again:#}");
    let (status, other) = keyed(&png(7, 7)).post(&house).await;
    assert_eq!(status, 409, "{other:#}");
    // What was refused is not kept.
    until_kept(&house, 1).await;
}

/// Refused with this status, at this place.
async fn refused(house: &House, body: Vec<u8>, expected: u16, pointer: &str) {
    let (status, problem) = form::post(house, body).await;
    assert_eq!(status, expected, "{problem:#}");
    let found = &problem["errors"][0]["pointer"];
    match pointer {
        "-" => assert_eq!(*found, Value::Null, "{problem:#}"),
        pointer => assert_eq!(found, pointer, "{problem:#}"),
    }
}

#[tokio::test]
async fn a_form_that_is_refused_leaves_no_file() {
    let house = House::new().await;
    let upload = || Form::default().word("kind", "upload_image");
    let image = |form: Form| form.file("image", "a.png", &pixel());
    let job = || json!({"kind": "upload_image", "delay": "1h"});
    let check = async |form: Form, pointer: &str| refused(&house, form.whole(), 422, pointer).await;
    check(image(Form::default()), "/kind").await;
    check(image(Form::default().word("kind", "send")), "/args/to").await;
    check(upload(), "/args/data").await;
    check(upload().word("image", "x"), "/args/data").await;
    check(upload().file("image", "a.png", b""), "/args/data").await;
    check(upload().file("image", "a.png", b"%PDF-1.7"), "/args/data").await;
    check(
        upload().file("image", "a.png", &png(12_001, 2)),
        "/args/data",
    )
    .await;
    check(
        image(upload().word("image_type", "banner")),
        "/args/image_type",
    )
    .await;
    check(image(image(upload())), "/image").await;
    check(image(upload().word("colour", "red")), "/args/colour").await;
    check(image(upload().word("labels", "red")), "/labels").await;
    check(image(upload().word("kind", "send")), "/kind").await;
    check(image(Form::default().job(job()).word("key", "k")), "/key").await;
    check(image(Form::default().job(json!([job()]))), "/job").await;
    check(image(upload().raw("name=\"key\"", b"\xff\xfe")), "/key").await;
    let words = "x".repeat(300_000);
    check(image(upload().word("file_name", &words)), "/file_name").await;
    // Nobody can name bytes that did not come along.
    let there = image(waiting()).post(&house).await.1;
    let sha256 = house.job(&id(&there)).await["args"]["sha256"].clone();
    let data = format!("sha256:{}", sha256.as_str().unwrap());
    let (status, problem) = house
        .request(
            "POST",
            "/v1/jobs",
            Some(json!({"kind": "upload_image", "args": {"data": data}})),
        )
        .await;
    assert_eq!(status, 422, "{problem:#}");
    check(
        upload()
            .word("data", &data)
            .file("image", "b.png", &png(3, 3)),
        "/data",
    )
    .await;

    refused(&house, image(upload()).broken(), 400, "-").await;
    refused(
        &house,
        image(Form::default().word("job", "{")).whole(),
        400,
        "-",
    )
    .await;
    refused(&house, image(upload()).raw("x", b"y").whole(), 400, "-").await;
    refused(&house, b"no form at all".to_vec(), 400, "-").await;
    let (status, _) = house
        .post_bytes("multipart/form-data", image(upload()).whole(), &[])
        .await;
    assert_eq!(status, 400, "no boundary");
    until_kept(&house, 1).await;
    let (_, jobs) = house.request("GET", "/v1/jobs", None).await;
    assert_eq!(jobs["jobs"].as_array().unwrap().len(), 1, "{jobs:#}");
}

#[tokio::test]
async fn a_form_that_is_too_large_or_has_no_end_to_a_head_is_refused_while_it_comes() {
    let house = House::with(None, "").await;
    let mut upload = Upload::begin(&house, "/v1/jobs", 49 * MIB).await;
    upload.send(b"--").await;
    let answer = upload.answer().await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");

    let body = waiting()
        .file("image", "a.png", &vec![0; 30_000_001])
        .whole();
    refused(&house, body, 422, "/image").await;
    let endless = "x".repeat(3 * MIB);
    refused(&house, Form::default().raw(&endless, b"").whole(), 400, "-").await;
    assert!(kept(&house).is_empty(), "{:?}", kept(&house));
}

/// Half of an image, and its sender is still there.
async fn half(house: &House) -> Upload {
    let mut bytes = png(9, 9);
    bytes.resize(2 * MIB, 7);
    let whole = waiting().file("image", "a.png", &bytes).whole();
    let mut upload = Upload::begin(house, "/v1/jobs", whole.len()).await;
    upload.send(&whole[..MIB]).await;
    until_kept(house, 1).await;
    assert!(kept(house)[0].ends_with(".part"), "{:?}", kept(house));
    upload
}

#[tokio::test]
async fn an_upload_that_is_broken_off_leaves_nothing() {
    let house = House::new().await;
    let upload = half(&house).await;
    drop(upload);
    until_kept(&house, 0).await;
}

#[tokio::test]
async fn a_kill_while_an_upload_streams_leaves_no_job_and_no_draft() {
    let mut house = House::new().await;
    let (status, there) = waiting()
        .file("image", "a.png", &pixel())
        .post(&house)
        .await;
    assert_eq!(status, 202, "{there:#}");
    let folder = house.dir.path().join("relay.db.uploads");
    let there = kept(&house);
    let mut bytes = png(9, 9);
    bytes.resize(2 * MIB, 7);
    let whole = waiting().file("image", "a.png", &bytes).whole();
    let mut upload = Upload::begin(&house, "/v1/jobs", whole.len()).await;
    upload.send(&whole[..MIB]).await;
    until_kept(&house, 2).await;
    house.kill();
    assert_eq!(kept(&house).len(), 2);
    // And one that had come whole, its job not stored yet.
    std::fs::write(folder.join("0".repeat(64)), b"x").unwrap();
    house.start();
    assert_eq!(kept(&house), there);
    let (_, jobs) = house.request("GET", "/v1/jobs", None).await;
    assert_eq!(jobs["jobs"].as_array().unwrap().len(), 1, "{jobs:#}");
    house.advance(HOUR).await;
    let job = house.settled(&id(&jobs["jobs"][0])).await;
    assert_eq!(job["state"], "done", "{job:#}");
}

#[tokio::test]
async fn slow_uploads_leave_the_room_to_others() {
    let house = House::new().await;
    let mut slow = Vec::new();
    for _ in 0..70 {
        slow.push(half_of_a_mib(&house).await);
    }
    until_kept(&house, 70).await;
    let text = "x".repeat(MIB);
    let job = json!({"kind": "upload_image", "args": {"data": text}});
    let (status, problem) = house.request("POST", "/v1/jobs", Some(job)).await;
    assert_eq!(status, 422, "it was read: {problem:#}");
}

async fn half_of_a_mib(house: &House) -> Upload {
    let whole = waiting().file("image", "a.png", &vec![7; 2 * MIB]).whole();
    let mut upload = Upload::begin(house, "/v1/jobs", whole.len()).await;
    upload.send(&whole[..MIB]).await;
    upload
}

/// The job, done.
async fn done(house: &House, job: Value) -> Value {
    let job = house.settled(&post(house, job).await).await;
    assert_eq!(job["state"], "done", "{job:#}");
    job
}

/// The newest message: its type and content.
async fn newest(house: &House) -> (String, Value) {
    let seen = house.effects("message").await;
    let last = seen.last().unwrap();
    let content = match &last["content"] {
        Value::String(content) => serde_json::from_str(content).unwrap(),
        content => content.clone(),
    };
    (last["msg_type"].as_str().unwrap().to_owned(), content)
}

#[tokio::test]
async fn a_file_is_brought_by_json_or_as_a_form_and_sent_by_its_job() {
    let house = House::new().await;
    let data = STANDARD.encode("notes");
    let by_json = json!({"kind": "upload_file", "args": {"data": data, "file_name": "notes.txt"}});
    let by_json = done(&house, by_json).await;
    let form = Form::default()
        .word("kind", "upload_file")
        .word("duration", "1500")
        .file("file", "talk.opus", b"OggS");
    let (status, by_form) = form.post(&house).await;
    assert_eq!(status, 202, "{by_form:#}");
    let by_form = house.settled(&id(&by_form)).await;
    assert_eq!(by_form["args"]["file_type"], "opus", "{by_form:#}");
    assert_eq!(by_form["args"]["duration"], 1500, "{by_form:#}");
    assert_eq!(by_json["args"]["file_type"], "stream", "{by_json:#}");
    for (name, upload) in [("file", &by_json), ("audio", &by_form)] {
        let key = &upload["receipt"]["file_key"];
        assert!(key.is_string(), "{upload:#}");
        let send = json!({"kind": "send", "args": {"to": DEFAULT_CHAT, name: upload["id"]}});
        done(&house, send).await;
        let (msg_type, content) = newest(&house).await;
        assert_eq!((msg_type.as_str(), &content["file_key"]), (name, key));
    }
    let image = json!({"kind": "send", "args": {"to": DEFAULT_CHAT, "image": by_json["id"]}});
    let (status, problem) = house.request("POST", "/v1/jobs", Some(image)).await;
    assert_eq!(
        (status, &problem["errors"][0]["pointer"]),
        (422, &json!("/args/image"))
    );
}

#[tokio::test]
async fn a_message_brings_its_own_bytes_whatever_they_are() {
    let house = House::new().await;
    let data = STANDARD.encode("\0\0\0\u{18}ftypmp42");
    let audio = json!({"data": STANDARD.encode("OggS"), "duration": 900});
    let file = json!({"data": data, "file_name": "clip.mp4"});
    let video =
        json!({"data": data, "file_name": "clip.mp4", "duration": 900, "cover": {"data": PIXEL}});
    let image = json!({"data": STANDARD.encode(png(2, 2))});
    for (name, bytes, keys) in [
        ("file", file, 1),
        ("audio", audio, 1),
        ("media", video, 2),
        ("image", image, 1),
    ] {
        let before = house.effects("upload").await.len();
        let sent = done(
            &house,
            json!({"kind": "send", "args": {"to": DEFAULT_CHAT, name: bytes}}),
        )
        .await;
        let (msg_type, content) = newest(&house).await;
        assert_eq!(msg_type, name, "{content:#}");
        let brought = house.effects("upload").await.split_off(before);
        assert_eq!(brought.len(), keys, "{brought:#?}");
        for upload in &brought {
            let key = upload["key"].as_str().unwrap();
            assert!(content.to_string().contains(key), "{content:#} {key}");
        }
        // Without their bytes, which nobody asks for any more.
        assert!(!sent["args"].to_string().contains(&data), "{sent:#}");
    }
    let message = house.effects("message").await[0]["message_id"].clone();
    let file = json!({"data": data, "file_name": "a.pdf"});
    done(
        &house,
        json!({"kind": "reply", "args": {"message": message, "file": file}}),
    )
    .await;
    assert_eq!(newest(&house).await.0, "file");
}

#[tokio::test]
async fn a_message_and_its_files_come_as_one_form() {
    let house = House::new().await;
    let job = json!({"kind": "send", "args": {"to": DEFAULT_CHAT, "media": {"duration": 10}}});
    let form = Form::default()
        .job(job)
        .file("media", "clip.mp4", b"\0\0\0\x18ftypmp42")
        .file("cover", "first.png", &pixel());
    let (status, job) = form.post(&house).await;
    assert_eq!(status, 202, "{job:#}");
    let job = house.settled(&id(&job)).await;
    assert_eq!(job["state"], "done", "{job:#}");
    let (msg_type, content) = newest(&house).await;
    assert_eq!(msg_type, "media");
    assert!(content["image_key"].is_string(), "{content:#}");
    let words = Form::default()
        .word("kind", "send")
        .word("to", DEFAULT_CHAT)
        .file("file", "a.txt", b"x");
    let (status, job) = words.post(&house).await;
    assert_eq!(status, 202, "{job:#}");
    house.settled(&id(&job)).await;
    assert_eq!(newest(&house).await.0, "file");
}

#[tokio::test]
async fn bytes_that_feishu_would_not_take_there_are_refused_with_their_place() {
    let house = House::new().await;
    let check = async |args: Value, pointer: &str| {
        let mut job = json!({"kind": "send", "args": args});
        match job["args"]["kind"].take() {
            Value::Null => job["args"]["to"] = json!(DEFAULT_CHAT),
            kind => job["kind"] = kind,
        }
        job["args"].as_object_mut().unwrap().remove("kind");
        let (status, problem) = house.request("POST", "/v1/jobs", Some(job)).await;
        assert_eq!(status, 422, "{problem:#}");
        assert_eq!(problem["errors"][0]["pointer"], pointer, "{problem:#}");
    };
    check(
        json!({"audio": {"data": "AAAA", "file_name": "a.mp4"}}),
        "/args/audio/file_name",
    )
    .await;
    check(
        json!({"audio": {"data": "AAAA", "file_type": "pdf"}}),
        "/args/audio/file_type",
    )
    .await;
    check(
        json!({"media": {"data": "AAAA", "file_name": "a.opus"}}),
        "/args/media/file_name",
    )
    .await;
    check(
        json!({"media": {"data": "AAAA", "cover": {"data": "AAAA"}}}),
        "/args/media/cover/data",
    )
    .await;
    check(
        json!({"media": {"file_key": "file_1", "image_key": "img_1", "cover": "img_2"}}),
        "/args/media/cover",
    )
    .await;
    check(
        json!({"file": {"data": "AAAA", "file_name": "a.x", "file_type": "mp4"}}),
        "/args/file/file_type",
    )
    .await;
    check(json!({"file": {"data": "AAAA"}}), "/args/file/file_name").await;
    check(
        json!({"file": {"data": "AAAA", "file_name": "Makefile"}}),
        "/args/file/file_name",
    )
    .await;
    check(
        json!({"file": {"data": "", "file_name": "a.x"}}),
        "/args/file/data",
    )
    .await;
    check(
        json!({"file": {"data": "AAAA", "file_name": "a\nb"}}),
        "/args/file/file_name",
    )
    .await;
    check(
        json!({"file": {"data": "AAAA", "file_name": "a.x"}, "text": "x"}),
        "/args/file",
    )
    .await;
    check(
        json!({"kind": "upload_file", "data": "AAAA"}),
        "/args/file_name",
    )
    .await;
    check(
        json!({"kind": "upload_file", "data": "AAAA", "file_name": "a.x", "file_type": "zip"}),
        "/args/file_type",
    )
    .await;
    check(
        json!({"kind": "upload_file", "data": "AAAA", "file_name": "a.x", "duration": "long"}),
        "/args/duration",
    )
    .await;
    check(json!({"kind": "batch_send", "open_ids": ["ou_1"], "file": {"data": "AAAA", "file_name": "a.x"}}), "/args/file").await;
    assert!(kept(&house).is_empty());
}

/// `send --file` and what it answers.
fn cli(house: &House, words: &[&str], stdin: &[u8]) -> (Option<i32>, String) {
    let mut command = house.binary();
    command
        .args(["send", "--to", DEFAULT_CHAT, "--wait", "--json"])
        .args(words);
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(stdin).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(said).unwrap())
}

#[tokio::test]
async fn the_command_line_sends_a_file_or_what_it_reads() {
    let house = House::new().await;
    let file = house.dir.path().join("report.pdf");
    std::fs::write(&file, b"%PDF-1.7").unwrap();
    let (code, said) = cli(&house, &["--file", file.to_str().unwrap()], b"");
    assert_eq!(code, Some(0), "{said}");
    let name = |effects: Vec<Value>| effects.last().unwrap().clone();
    let upload = name(house.effects("upload").await);
    assert_eq!(
        newest(&house).await.1["file_key"],
        upload["key"],
        "{upload:#}"
    );
    let (code, said) = cli(&house, &["--file", "-", "--then-pin"], b"from a pipe");
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(house.effects("pin").await.len(), 1);
    for (words, what) in [
        (&["--file", "/nowhere/at/all"][..], "cannot read"),
        (&["--file", "/tmp"][..], "is a folder"),
        (&["--file", "/dev/null"][..], "is empty"),
    ] {
        let (code, said) = cli(&house, words, b"");
        assert_eq!(code, Some(2), "{said}");
        assert!(said.contains(what), "{said}");
    }
}
