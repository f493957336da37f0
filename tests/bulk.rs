//! One act on many jobs, by what they have in common.

mod support;

use feishu_sandbox::DEFAULT_USERS;
use serde_json::{Value, json};
use support::House;
use support::jobs::{HOUR, message, post};

async fn posted(house: &House, team: &str, count: usize) {
    let job = |n: usize| {
        json!({"kind": "send", "args": {"to": DEFAULT_USERS[n % 6], "text": format!("{n}")},
            "labels": {"team": team}, "delay": "1h"})
    };
    house.post((0..count).map(job).collect()).await;
}

async fn count_of(house: &House, filter: &str) -> usize {
    let (_, list) = house
        .request("GET", &format!("/v1/jobs?{filter}&limit=200"), None)
        .await;
    list["jobs"].as_array().map_or(0, Vec::len)
}

async fn bulk(house: &House, what: &str) -> (u16, Value) {
    let path = format!("/v1/jobs/{what}");
    house.request("POST", &path, None).await
}

#[tokio::test]
async fn what_a_filter_names_is_canceled_retried_and_counted_and_nothing_else() {
    let mut house = House::new().await;
    posted(&house, "db", 250).await;
    posted(&house, "web", 3).await;

    let would = bulk(&house, "cancel?state=queued&label.team=db&dry_run=true").await;
    assert_eq!(would, (200, json!({"count": 250, "dry_run": true})));
    assert_eq!(count_of(&house, "state=canceled").await, 0);
    let did = bulk(&house, "cancel?state=queued&label.team=db").await;
    assert_eq!(did, (200, json!({"count": 250, "dry_run": false})));
    assert_eq!(count_of(&house, "state=canceled&label.team=web").await, 0);
    assert_eq!(count_of(&house, "state=queued&label.team=web").await, 3);
    // What is canceled cannot be canceled again: nobody is counted twice.
    assert_eq!(bulk(&house, "cancel?label.team=db").await.1["count"], 0);
    assert_eq!(
        bulk(&house, "retry?state=canceled&label.team=db").await.1["count"],
        250
    );
    assert_eq!(count_of(&house, "state=queued&label.team=db").await, 200);
    assert_eq!(bulk(&house, "recall?label.team=web").await.1["count"], 3);
    house.advance(HOUR).await;
    house
        .until("/v1/status", |status| {
            status["apps"][0]["jobs"]["done"] == 250
        })
        .await;
}

#[tokio::test]
async fn a_bulk_act_without_a_filter_is_refused() {
    let house = House::new().await;
    posted(&house, "db", 2).await;
    for what in ["cancel", "retry", "recall", "cancel?dry_run=true"] {
        let (status, problem) = house
            .request("POST", &format!("/v1/jobs/{what}"), None)
            .await;
        assert_eq!(status, 422, "{problem}");
        assert_eq!(problem["errors"][0]["pointer"], "?", "{problem}");
    }
    let (status, problem) = house
        .request("POST", "/v1/jobs/cancel?stat=queued", None)
        .await;
    assert_eq!(
        (status, &problem["errors"][0]["pointer"]),
        (422, &Value::from("?stat"))
    );
    assert_eq!(count_of(&house, "state=queued").await, 2);
}

#[tokio::test]
async fn a_dry_run_counts_what_the_act_would_take() {
    let house = House::new().await;
    let job = message(
        json!({"labels": {"notice": "n"}, "then": [{"kind": "pin", "labels": {"notice": "n"}}]}),
    );
    let id = post(&house, job).await;
    house.settled(&id).await;
    let later = message(json!({"labels": {"notice": "n"}, "delay": "1h"}));
    post(&house, later).await;
    for dry_run in [true, false] {
        let path = format!("/v1/jobs/recall?label.notice=n&dry_run={dry_run}");
        let told = house.request("POST", &path, None).await;
        assert_eq!(told, (200, json!({"count": 2, "dry_run": dry_run})));
    }
}
