//! Memory does not grow with the backlog, nor with what passes through.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on should stop here"
)]

mod support;

use feishu_sandbox::{DEFAULT_CHAT, DEFAULT_USER};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use support::House;
use support::form::{Form, Upload, kept};
use support::openapis::Sdk;

const JOBS: usize = 100_000;
const KIB_MAX: u64 = 32 * 1024;
const FILES: &str = "/open-apis/im/v1/files";

/// Queues `JOBS` while Feishu is away; `to`: the receiver of the n-th. What a burst of requests took
/// must come back; what the backlog takes must stay under the bound, also after a restart.
async fn stays_under_the_bound(to: impl Fn(usize) -> String) {
    let mut house = House::new().await;
    house.feishu_down().await;
    let text = "x".repeat(500);
    for start in (0..JOBS).step_by(2500) {
        let job = |n| json!({"kind": "send", "args": {"to": to(n), "text": text}});
        let jobs: Vec<Value> = (start..start + 2500).map(job).collect();
        house.post(Value::Array(jobs)).await;
    }
    for restarted in [false, true] {
        if restarted {
            house.restart();
        }
        // The dispatcher has looked at the lanes once it shows who waits longest.
        let waits = |status: &Value| status["lanes"][0].is_object();
        let status = house.until("/v1/status", waits).await;
        assert_eq!(status["pending"], JOBS, "{status:#}");
        let relay = &house;
        house
            .until("/v1/status", |_| relay.rss_anon_kib() < KIB_MAX)
            .await;
    }
}

#[tokio::test]
async fn a_hundred_thousand_jobs_in_one_lane_stay_under_32_mib() {
    stays_under_the_bound(|_| DEFAULT_CHAT.to_owned()).await;
}

#[tokio::test]
async fn a_hundred_thousand_lanes_stay_under_32_mib() {
    stays_under_the_bound(|n| format!("ou_{n:032x}")).await;
}

/// The largest file that Feishu gives back.
const FILE_BYTES: u64 = 100_000_000;

/// A file of that size in a message, as an address.
async fn large_file(house: &House, feishu: &Sdk) -> String {
    let value = json!({"msg_type": "file", "file_name": "big.bin", "size": FILE_BYTES});
    let act = json!({"do": "write", "user": DEFAULT_USER, "chat": DEFAULT_CHAT, "value": value});
    let message = house.control("act", act).await["message_id"].clone();
    let path = format!("/open-apis/im/v1/messages/{}", message.as_str().unwrap());
    let said = feishu.call("GET", &path, Value::Null).await;
    let content = said.body["data"]["items"][0]["body"]["content"].as_str();
    let content: Value = serde_json::from_str(content.unwrap()).unwrap();
    let key = content["file_key"].as_str().unwrap();
    format!("{path}/resources/{key}?type=file")
}

/// Reads at most `bytes_max` and says how many there were, their hash, and the most memory that the relay
/// had in use meanwhile. `asks`: between two pieces the relay has something else to do.
async fn downloaded(
    house: &House,
    sdk: &Sdk,
    path: &str,
    bytes_max: u64,
    asks: bool,
) -> (u64, Vec<u8>, u64) {
    let request = sdk.request("GET", path).bearer_auth(&sdk.token);
    let mut answer = request.send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let (mut bytes, mut hash, mut kib) = (0, Sha256::new(), 0);
    let mut looked_at = 0;
    while let Some(piece) = answer.chunk().await.unwrap() {
        bytes += piece.len() as u64;
        hash.update(&piece);
        if bytes >= looked_at {
            looked_at = bytes + (64 << 10);
            kib = kib.max(house.rss_anon_kib());
            if asks {
                house.until("/v1/status", |_| true).await;
            }
        }
        if bytes >= bytes_max {
            break;
        }
    }
    (bytes, hash.finalize().to_vec(), kib)
}

/// It passes in pieces, and as fast as it is read: a slow reader has nothing held for him.
#[tokio::test]
async fn a_download_of_100_mb_passes_in_32_mib_however_slowly_it_is_read() {
    let house = House::new().await;
    let mut feishu = house.sdk_at(&house.feishu);
    feishu.log_in("sandbox-secret").await;
    let path = large_file(&house, &feishu).await;
    let relay = house.sdk().await;
    // What a first call and a first look need stays.
    house.until("/v1/status", |_| true).await;
    let before = house.rss_anon_kib();
    let (slow, _, slow_kib) = downloaded(&house, &relay, &path, 8 << 20, true).await;
    assert!(slow >= 8 << 20);
    let (bytes, hash, kib) = downloaded(&house, &relay, &path, u64::MAX, false).await;
    let (_, as_sent, _) = downloaded(&house, &feishu, &path, u64::MAX, false).await;
    assert_eq!((bytes, hash), (FILE_BYTES, as_sent));
    for kib in [slow_kib, kib] {
        assert!(kib < before + KIB_MAX, "{kib} KiB, {before} before");
    }
}

/// Sends a file of 30 MB in a form to `path`. Returns what was answered, once Feishu has the file, and how
/// much more memory the relay had in use at most.
async fn uploaded(house: &House, path: &str, token: &str, form: Form) -> (String, u64) {
    house
        .post(json!({"kind": "upload_image", "args": {"data": support::jobs::PIXEL}}))
        .await;
    let before = house.rss_anon_kib();
    let form = form.file("file", "large.bin", &vec![7; 30_000_000]);
    let body = form.whole();
    let mut peak = 0;
    let mut upload = Upload::begin_as(house, path, token, body.len()).await;
    for piece in body.chunks(64 << 10) {
        upload.send(piece).await;
        peak = peak.max(house.rss_anon_kib());
    }
    let answer = upload.answer().await;
    loop {
        peak = peak.max(house.rss_anon_kib());
        let (_, jobs) = house
            .request("GET", "/v1/jobs?kind=upload_file", None)
            .await;
        if jobs["jobs"][0]["state"] == "done" {
            break;
        }
        assert_ne!(jobs["jobs"][0]["state"], "failed", "{jobs:#}");
    }
    (answer, peak.saturating_sub(before))
}

/// As it comes, while it is on disk and as it goes to Feishu.
#[tokio::test]
async fn an_upload_of_30_mb_costs_less_than_32_mib() {
    let house = House::new().await;
    let form = Form::default().word("kind", "upload_file");
    let (answer, more) = uploaded(&house, "/v1/jobs?wait=1ms", "", form).await;
    assert!(answer.starts_with("HTTP/1.1 202 "), "{answer}");
    assert_eq!(kept(&house).len(), 2);
    assert!(more < KIB_MAX, "{more} KiB more than before");
}

/// So it does in Feishu's own form.
#[tokio::test]
async fn an_upload_of_30_mb_in_feishus_form_costs_less_than_32_mib() {
    let house = House::new().await;
    let sdk = house.sdk().await;
    let form = Form::default()
        .word("file_type", "stream")
        .word("file_name", "large.bin");
    let (answer, more) = uploaded(&house, FILES, &sdk.token, form).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(answer.contains("\"code\":0"), "{answer}");
    assert_eq!(house.effects("upload").await.len(), 2);
    assert!(more < KIB_MAX, "{more} KiB more than before");
}
