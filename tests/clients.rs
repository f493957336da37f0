//! Clients over HTTP: their tokens, their defaults, and what they may use and see.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on should stop here"
)]

#[allow(dead_code, reason = "these tests use a part of it")]
mod house;

use feishu_sandbox::{DEFAULT_CHAT, DEFAULT_USERS};
use house::{House, Told};
use serde_json::{Value, json};

/// Nobody answers for the second app: its jobs stay queued. SHA-256 of `hashed-token` stands with
/// the plain one beside it.
const CLIENTS: &str = r#"
[[apps]]
name = "other"
app_id = "cli_0000000000000001"
app_secret = "x"
base_url = "http://127.0.0.1:9"
[[clients]]
name = "boss"
token = "boss-token"
[[clients]]
name = "alerts"
token = ["old-token", "new-token"]
priority = "high"
expires_in = "15m"
labels = { team = "db", from = "alerts" }
wait = "5m"
[[clients]]
name = "elsewhere"
token_sha256 = ["HASH"]
apps = ["other"]
kinds = ["send", "pin"]
"#;

async fn open() -> House {
    use sha2::{Digest, Sha256};
    let hash: String = Sha256::digest(b"hashed-token")
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    House::open(&CLIENTS.replace("HASH", &hash)).await
}

async fn call(house: &House, token: &str, method: &str, path: &str, body: Value) -> Told {
    let request = house.request(method, path).bearer_auth(token);
    match body {
        Value::Null => Told::of(request).await,
        body => Told::of(request.json(&body)).await,
    }
}

fn message(more: Value) -> Value {
    let args = json!({"to": DEFAULT_CHAT, "text": "x"});
    let mut job = json!({"kind": "send", "args": args, "delay": "1h"});
    for (name, value) in more.as_object().unwrap() {
        job[name] = value.clone();
    }
    job
}

fn ms(time: &Value) -> i64 {
    let time: jiff::Timestamp = time.as_str().unwrap().parse().unwrap();
    time.as_millisecond()
}

#[tokio::test]
async fn a_client_has_its_defaults_and_a_job_may_say_otherwise() {
    let house = open().await;
    let post = async |token: &str, more: Value| {
        let told = call(&house, token, "POST", "/v1/jobs", message(more)).await;
        assert_eq!(told.status, 202, "{told:?}");
        told.body
    };
    let life = |job: &Value| ms(&job["expires_at"]) - ms(&job["run_at"]);
    let job = post("new-token", json!({"delay": "1m"})).await;
    // Its `wait` is none of this door's: the request would be held until the job is settled.
    assert_eq!(job["state"], "queued");
    assert_eq!((&job["priority"], life(&job)), (&json!("high"), 900_000));
    assert_eq!(job["labels"], json!({"team": "db", "from": "alerts"}));

    // A life of its own counts from acceptance, an hour before the job may run.
    let own = json!({"priority": "low", "expires_in": "2h", "labels": {"team": "web", "row": "1"}});
    let job = post("new-token", own).await;
    assert_eq!((&job["priority"], life(&job)), (&json!("low"), 3_600_000));
    assert_eq!(
        job["labels"],
        json!({"team": "web", "from": "alerts", "row": "1"})
    );

    let job = post("boss-token", json!({})).await;
    assert_eq!(job["priority"], "normal");
    assert!(
        job["expires_at"].is_null() && job["labels"] == json!({}),
        "{job:#}"
    );
    house.close().await;
}

#[tokio::test]
async fn each_token_of_a_list_and_each_hash_is_the_client() {
    let house = open().await;
    for (token, client) in [
        ("old-token", "alerts"),
        ("new-token", "alerts"),
        ("boss-token", "boss"),
    ] {
        let told = call(
            &house,
            token,
            "POST",
            "/v1/jobs",
            message(json!({"delay": "1m"})),
        )
        .await;
        assert_eq!((told.status, told.text("client")), (202, client.to_owned()));
    }
    let job = message(json!({"app": "other"}));
    let told = call(&house, "hashed-token", "POST", "/v1/jobs", job).await;
    assert_eq!(
        (told.status, told.text("client")),
        (202, "elsewhere".to_owned())
    );
    call(&house, "elsewhere", "GET", "/v1/jobs", Value::Null)
        .await
        .is_problem(401);
    house.close().await;
}

#[tokio::test]
async fn a_client_uses_its_apps_and_kinds_only() {
    let house = open().await;
    for (job, pointer) in [
        (message(json!({"app": "ops"})), "/app"),
        (
            json!({"kind": "urgent_sms", "app": "other", "args": {"message": "om_1", "users": [DEFAULT_USERS[0]]}}),
            "/kind",
        ),
        (
            message(json!({"app": "other", "then": [{"kind": "recall"}]})),
            "/then/0/kind",
        ),
    ] {
        let told = call(&house, "hashed-token", "POST", "/v1/jobs", job).await;
        assert_eq!(told.status, 422, "{told:?}");
        told.points_at(pointer);
    }
    assert_eq!(
        call(&house, "boss-token", "GET", "/v1/jobs", Value::Null)
            .await
            .body["jobs"],
        json!([])
    );
    // Its first app is its default.
    let job = message(json!({"then": [{"kind": "pin"}]}));
    let told = call(&house, "hashed-token", "POST", "/v1/jobs", job).await;
    assert_eq!((told.status, told.text("app")), (202, "other".to_owned()));
    house.close().await;
}

#[tokio::test]
async fn a_client_with_apps_sees_and_touches_nothing_of_the_others() {
    let house = open().await;
    let post = async |job: Value| {
        let told = call(&house, "boss-token", "POST", "/v1/jobs", job).await;
        assert_eq!(told.status, 202, "{told:?}");
        told.text("id")
    };
    let labels = json!({"notice": "n"});
    let foreign = post(message(json!({"app": "ops", "labels": labels, "key": "k"}))).await;
    let batch = json!({"kind": "batch_send", "app": "ops", "args": {"open_ids": [DEFAULT_USERS[0]], "text": "x"}});
    let batch = post(batch).await;
    let path = format!("/v1/jobs/{batch}?wait=50s");
    let batch_job = call(&house, "boss-token", "GET", &path, Value::Null)
        .await
        .body;
    assert_eq!(batch_job["state"], "done", "{batch_job:#}");
    let batch_name = batch_job["receipt"]["batch_message_ids"][0]
        .as_str()
        .unwrap()
        .to_owned();
    let own = post(message(
        json!({"app": "other", "labels": labels, "key": "k"}),
    ))
    .await;

    let asked = async |path: &str| call(&house, "hashed-token", "GET", path, Value::Null).await;
    let ids = async |path: &str| -> Vec<String> {
        let told = asked(path).await;
        let jobs = told.body["jobs"]
            .as_array()
            .unwrap_or_else(|| panic!("{told:?}"));
        jobs.iter()
            .map(|job| job["id"].as_str().unwrap().to_owned())
            .collect()
    };
    for query in ["", "?key=k", "?label.notice=n", "?app=other"] {
        assert_eq!(
            ids(&format!("/v1/jobs{query}")).await,
            std::slice::from_ref(&own),
            "{query}"
        );
    }
    assert!(ids("/v1/jobs?app=ops").await.is_empty());

    // As if it were not there, in the words of one that is not.
    let nobodys = asked("/v1/jobs/job_00000000000000000000000000000000").await;
    for path in ["", "?wait=1s", "/reads", "/progress"] {
        let told = asked(&format!("/v1/jobs/{foreign}{path}")).await;
        told.is_problem(404);
        let told = asked(&format!("/v1/jobs/{batch}{path}")).await;
        told.is_problem(404);
    }
    asked(&format!("/v1/jobs/{batch_name}"))
        .await
        .is_problem(404);
    assert_eq!(nobodys.status, 404);
    assert_eq!(asked(&format!("/v1/jobs/{own}")).await.text("id"), own);

    let sums = asked("/v1/reads?label.notice=n").await;
    assert_eq!(sums.body["not_done"], json!({"queued": 1}), "{sums:?}");
    let status = asked("/v1/status").await;
    let apps = status.body["apps"].as_array().unwrap();
    assert_eq!(
        (apps.len(), &apps[0]["app"]),
        (1, &json!("other")),
        "{status:?}"
    );
    let all = call(&house, "boss-token", "GET", "/v1/status", Value::Null).await;
    assert_eq!(all.body["apps"].as_array().unwrap().len(), 2);

    // Nor does a word of it reach them, one by one or all at once.
    let told = async |path: &str| call(&house, "hashed-token", "POST", path, json!({})).await;
    for what in ["cancel", "recall", "retry"] {
        told(&format!("/v1/jobs/{foreign}/{what}"))
            .await
            .is_problem(404);
    }
    let path = format!("/v1/jobs/{foreign}/settle");
    let settle = json!({"state": "failed"});
    call(&house, "hashed-token", "POST", &path, settle)
        .await
        .is_problem(404);
    let would = told("/v1/jobs/cancel?label.notice=n&dry_run=true").await;
    assert_eq!(would.body["count"], 1, "{would:?}");
    assert_eq!(told("/v1/jobs/recall?app=ops").await.body["count"], 0);
    assert_eq!(
        told("/v1/jobs/cancel?label.notice=n").await.body["count"],
        1
    );
    assert_eq!(told("/v1/jobs/retry?key=k").await.body["count"], 1);
    for (id, state) in [(&foreign, "queued"), (&batch, "done")] {
        let path = format!("/v1/jobs/{id}");
        let job = call(&house, "boss-token", "GET", &path, Value::Null).await;
        assert_eq!(job.text("state"), state);
        assert_eq!(job.body["actions"], json!([]), "{job:?}");
    }
    let told = asked(&format!("/v1/jobs/{own}")).await;
    assert_eq!(told.body["actions"].as_array().unwrap().len(), 2);
    house.close().await;
}
