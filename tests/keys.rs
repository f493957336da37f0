//! Keys, and what is kept how long.

mod support;

use serde_json::{Value, json};
use support::House;
use support::jobs::{
    DAY, HOUR, SEND, acted, child, doubtful, id, message, pass, path, post, sent, until_state,
};

#[tokio::test]
async fn the_same_key_and_body_is_the_first_job_and_another_body_refuses_the_whole_request() {
    let mut house = House::new().await;
    let job = message(json!({"key": "alert-1", "labels": {"team": "db", "row": "a"}}));
    let (status, first) = house.request("POST", "/v1/jobs", Some(job.clone())).await;
    assert_eq!(status, 202);
    for round in ["at once", "after a restart", "when it is done"] {
        let (status, again) = house.request("POST", "/v1/jobs", Some(job.clone())).await;
        assert_eq!(status, 200, "{round}");
        assert_eq!(again["id"], first["id"]);
        match round {
            "at once" => house.restart(),
            _ => assert_eq!(house.settled(&id(&first)).await["state"], "done"),
        }
    }

    // A new one beside a repeated one: 202, in order.
    let both = json!([job, message(json!({"key": "alert-2"}))]);
    let (status, answer) = house.request("POST", "/v1/jobs", Some(both.clone())).await;
    assert_eq!(status, 202);
    assert_eq!(answer["jobs"][0]["id"], first["id"]);
    let (status, _) = house.request("POST", "/v1/jobs", Some(both)).await;
    assert_eq!(status, 200);

    let other = json!([
        message(json!({"key": "alert-3"})),
        message(json!({"key": "alert-1", "priority": "high"}))
    ]);
    let (status, problem) = house.request("POST", "/v1/jobs", Some(other)).await;
    assert_eq!(status, 409, "{problem:#}");
    assert_eq!(problem["errors"][0]["pointer"], "/1/key");
    let (_, list) = house.request("GET", "/v1/jobs?key=alert-3", None).await;
    assert_eq!(list["jobs"], json!([]), "nothing of it is stored");
    house
        .settled(answer["jobs"][1]["id"].as_str().unwrap())
        .await;
    assert_eq!(house.effects("message").await.len(), 2);
}

#[tokio::test]
async fn one_request_may_not_use_a_key_for_two_things_and_the_key_of_a_failed_job_is_taken() {
    let house = House::new().await;
    let twice = json!([
        message(json!({"key": "k"})),
        message(json!({"key": "k", "priority": "low"}))
    ]);
    let (status, _) = house.request("POST", "/v1/jobs", Some(twice)).await;
    assert_eq!(status, 409);
    assert!(house.effects("message").await.is_empty());
    let same = json!([message(json!({"key": "k"})), message(json!({"key": "k"}))]);
    let answer = house.post(same).await;
    assert_eq!(answer["jobs"][0]["id"], answer["jobs"][1]["id"]);

    house
        .faults(json!([{"call": SEND, "do": "code", "code": 230022, "count": 1}]))
        .await;
    house.settled(&id(&answer["jobs"][0])).await;
    let job = message(json!({"key": "f"}));
    house
        .faults(json!([{"call": SEND, "do": "code", "code": 230022, "count": 1}]))
        .await;
    let failed = post(&house, job.clone()).await;
    assert_eq!(house.settled(&failed).await["state"], "failed");
    let (status, again) = house.request("POST", "/v1/jobs", Some(job)).await;
    assert_eq!(status, 200);
    assert_eq!(
        (&again["id"], &again["state"]),
        (&json!(failed), &json!("failed"))
    );
}

#[tokio::test]
async fn content_goes_after_7_days_and_the_row_after_30_and_the_id_says_that_it_was_purged() {
    let mut house = House::new().await;
    house
        .faults(json!([{"call": SEND, "do": "code", "code": 230022, "count": 1}]))
        .await;
    let job = message(json!({"key": "old"}));
    let old = post(&house, job.clone()).await;
    assert_eq!(house.settled(&old).await["state"], "failed");
    pass(&mut house, 7 * DAY - HOUR).await;
    sent(&house).await;
    assert!(house.job(&old).await["args"].is_object());
    house.advance(2 * HOUR).await;
    let kept = house.until(&path(&old), |job| job["args"].is_null()).await;
    assert_eq!(kept["state"], "failed");
    let (status, problem) = acted(&house, &old, "retry", Value::Null).await;
    assert_eq!(status, 409, "{problem:#}");
    let (status, again) = house.request("POST", "/v1/jobs", Some(job.clone())).await;
    assert_eq!(
        (status, &again["id"]),
        (200, &json!(old)),
        "its key lives on"
    );

    pass(&mut house, 22 * DAY).await;
    sent(&house).await;
    assert_eq!(house.job(&old).await["state"], "failed");
    house.advance(DAY).await;
    let gone = house
        .until(&path(&old), |answer| answer["status"] == 404)
        .await;
    assert!(
        gone["detail"].as_str().unwrap().contains("purged"),
        "{gone:#}"
    );
    house.restart();
    let (status, gone) = house.request("GET", &path(&old), None).await;
    assert_eq!(status, 404);
    assert!(
        gone["detail"].as_str().unwrap().contains("purged"),
        "{gone:#}"
    );
    let (status, gone) = acted(&house, &old, "cancel", Value::Null).await;
    assert_eq!(status, 404);
    assert!(
        gone["detail"].as_str().unwrap().contains("purged"),
        "{gone:#}"
    );

    // One that never was is not said to have been purged; and the key is free again.
    let never = format!("job_ff{}", &old["job_".len() + 2..]);
    let (status, gone) = house.request("GET", &path(&never), None).await;
    assert_eq!(status, 404);
    assert!(
        !gone["detail"].as_str().unwrap().contains("purged"),
        "{gone:#}"
    );
    let (status, again) = house.request("POST", "/v1/jobs", Some(job)).await;
    assert_eq!(status, 202);
    assert_ne!(again["id"], json!(old));
}

#[tokio::test]
async fn nothing_in_doubt_is_purged_and_nothing_on_which_an_open_job_hangs() {
    let mut house = House::new().await;
    let doubt = doubtful(&house, json!({"then": [{"kind": "pin"}]})).await;
    let parent = message(json!({"then": [{"kind": "pin", "delay": "40d"}]}));
    let parent = until_state(&house, &post(&house, parent).await, "done").await;
    let plain = post(&house, message(json!({}))).await;
    house.settled(&plain).await;
    // Beyond the time for which a wish to wait for it is kept: the child of doubt gave up by itself.
    house.advance(31 * DAY).await;
    house
        .until(&path(&plain), |answer| answer["status"] == 404)
        .await;
    assert_eq!(house.job(&doubt).await["state"], "in_doubt");
    assert!(house.job(&doubt).await["args"].is_object());
    assert_eq!(house.job(&id(&parent)).await["state"], "done");
    house.advance(9 * DAY + HOUR).await;
    assert_eq!(house.settled(&child(&parent, 0)).await["state"], "done");
    house
        .until(&path(&id(&parent)), |answer| answer["status"] == 404)
        .await;

    // A person may still settle, long after.
    let message = house.effects("message").await[0]["message_id"].clone();
    let word = json!({"state": "done", "message_id": message});
    let (status, job) = acted(&house, &doubt, "settle", word).await;
    assert_eq!(status, 200);
    assert_eq!(house.settled(&child(&job, 0)).await["state"], "done");
}
