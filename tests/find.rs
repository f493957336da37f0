//! What a list finds: each filter, both ways of saying when, page after page.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on should stop here"
)]

mod support;

use std::collections::BTreeMap;

use feishu_sandbox::{DEFAULT_CHAT, DEFAULT_USERS};
use serde_json::{Value, json};
use support::House;
use support::jobs::{HOUR, SEND, id, message, post};

/// Another app, which reaches nobody, and somebody with a name.
const MORE: &str = r#"
[[apps]]
name = "other"
app_id = "cli_0000000000000001"
app_secret = "x"
base_url = "http://127.0.0.1:9"
[[clients]]
name = "graphs"
token = "graphs-token"
"#;

/// Jobs by the name that the test has for them.
struct Found {
    house: House,
    names: BTreeMap<String, &'static str>,
}

impl Found {
    async fn list(&self, query: &str) -> (Vec<&'static str>, Value) {
        let path = format!("/v1/jobs?{query}");
        let (status, page) = self.house.request("GET", &path, None).await;
        assert_eq!(status, 200, "{query}: {page:#}");
        let jobs = page["jobs"].as_array().unwrap();
        assert!(jobs.iter().all(|job| job["args"].is_null()), "{query}");
        let names = jobs.iter().map(|job| self.names[&id(job)]).collect();
        (names, page["next_cursor"].clone())
    }

    /// All that a query finds, newest first, on one page.
    async fn check(&self, query: &str, expected: &[&str]) {
        assert_eq!(
            self.list(query).await,
            (expected.to_vec(), Value::Null),
            "{query}"
        );
    }
}

/// As a client with a token.
async fn post_as(house: &House, token: &str, job: &Value) -> String {
    let client = reqwest::Client::builder()
        .no_proxy()
        .unix_socket(house.socket());
    let request = client.build().unwrap().post("http://localhost/v1/jobs");
    let answer = request.bearer_auth(token).json(job).send().await.unwrap();
    assert_eq!(answer.status(), 202);
    id(&answer.json().await.unwrap())
}

#[tokio::test]
async fn every_filter_finds_what_it_names_and_nothing_else() {
    let mut house = House::with(None, MORE).await;
    let old = post(
        &house,
        message(json!({"key": "a/b", "labels": {"team": "db", "row": "1"}})),
    )
    .await;
    let done = house.settled(&old).await;
    house.advance(2 * HOUR).await;
    house
        .faults(json!([{"call": SEND, "do": "code", "code": 230022, "count": 1}]))
        .await;
    let failed = post(
        &house,
        message(json!({"labels": {"team": "db", "row": "2"}})),
    )
    .await;
    let failed_job = house.settled(&failed).await;
    assert_eq!(failed_job["state"], "failed");
    let batch =
        json!({"kind": "batch_send", "args": {"open_ids": [DEFAULT_USERS[0]], "text": "x"}});
    let batch = post(&house, batch).await;
    let batch_job = house.settled(&batch).await;
    let other = json!({"app": "other", "key": "a/b", "delay": "1h", "labels": {"team": "web"}});
    let other = post(&house, message(other)).await;
    let pin = json!({"kind": "pin", "args": {"message": "om_there"}, "delay": "1h"});
    let pin = post(&house, pin).await;
    let laned = message(json!({"lane": "night", "delay": "1h", "key": "c"}));
    let laned = post_as(&house, "graphs-token", &laned).await;
    let names = [
        (old, "done"),
        (failed, "failed"),
        (batch, "batch"),
        (other, "other"),
        (pin, "pin"),
        (laned, "laned"),
    ];
    let found = Found {
        house,
        names: names.into(),
    };
    let all = ["laned", "pin", "other", "batch", "failed", "done"];

    found.check("", &all).await;
    found.check("state=failed", &["failed"]).await;
    found
        .check("state=failed,queued", &["laned", "pin", "other", "failed"])
        .await;
    found
        .check("state=failed&state=canceled", &["failed"])
        .await;
    found.check("kind=pin", &["pin"]).await;
    found.check("kind=pin,batch_send", &["pin", "batch"]).await;
    found.check("app=other", &["other"]).await;
    found.check("app=nobodys", &[]).await;
    found.check("lane=night", &["laned"]).await;
    found
        .check(
            &format!("lane={DEFAULT_CHAT}"),
            &["other", "failed", "done"],
        )
        .await;
    found.check("client=graphs", &["laned"]).await;
    found.check("client=graph", &[]).await;
    found
        .check(
            &format!("to={DEFAULT_CHAT}"),
            &["laned", "other", "failed", "done"],
        )
        .await;
    found.check("to=om_there", &["pin"]).await;
    found.check("key=a/b", &["other", "done"]).await;
    found.check("key=a%2Fb&app=ops", &["done"]).await;
    found.check("key=c", &["laned"]).await;
    found.check("key=c&client=nobody", &[]).await;
    let message = done["receipt"]["message_id"].as_str().unwrap();
    found
        .check(&format!("message_id={message}"), &["done"])
        .await;
    found
        .check(&format!("message_id={message}&state=failed"), &[])
        .await;
    found.check("code=230022", &["failed"]).await;
    found.check("code=230002", &[]).await;
    found.check("label.team=db", &["failed", "done"]).await;
    found.check("label.team=db&label.row=2", &["failed"]).await;
    found.check("label.team=web&label.row=2", &[]).await;
    found.check("since=1h", &all[..5]).await;
    found.check("until=1h", &["done"]).await;
    found.check("since=3h&until=1h", &["done"]).await;
    let at = failed_job["created_at"].as_str().unwrap();
    found.check(&format!("since={at}"), &all[..5]).await;
    found.check(&format!("until={at}"), &["done"]).await;

    // Two on a page, then one, then none.
    let wanted = "state=queued&limit=2";
    let (first, cursor) = found.list(wanted).await;
    assert_eq!(first, ["laned", "pin"]);
    let cursor = cursor.as_str().unwrap();
    let next = format!("{wanted}&cursor={cursor}");
    assert_eq!(found.list(&next).await, (vec!["other"], Value::Null));

    // By Feishu's names.
    let bm = &batch_job["receipt"]["batch_message_ids"][0];
    for (name, job) in [(message, &done), (bm.as_str().unwrap(), &batch_job)] {
        assert_eq!(found.house.job(name).await["id"], job["id"], "{name}");
    }
    for nobodys in ["om_nobodys", "bm-nobodys", "job_1", "ou_1"] {
        let path = format!("/v1/jobs/{nobodys}");
        assert_eq!(
            found.house.request("GET", &path, None).await.0,
            404,
            "{nobodys}"
        );
    }
}

#[tokio::test]
async fn a_word_that_a_list_does_not_know_is_pointed_at() {
    let house = House::new().await;
    for (bad, pointer) in [
        ("limit=0", "?limit"),
        ("limit=201", "?limit"),
        ("cursor=x", "?cursor"),
        ("stat=done", "?stat"),
        ("label=db", "?label"),
        ("state=done,doone", "?state"),
        ("kind=sent", "?kind"),
        ("code=x", "?code"),
        ("since=then", "?since"),
        ("until=2026-13-01T00:00:00Z", "?until"),
        ("app=ops&app=other", "?app"),
    ] {
        let path = format!("/v1/jobs?{bad}");
        let (status, problem) = house.request("GET", &path, None).await;
        assert_eq!(status, 422, "{bad}");
        let pointers = problem["errors"].as_array().unwrap();
        assert!(
            pointers.iter().any(|one| one["pointer"] == pointer),
            "{bad}: {problem:#}"
        );
    }
    let (status, _) = house.request("GET", "/v1/jobs?limit=200", None).await;
    assert_eq!(status, 200);
}
