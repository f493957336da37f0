//! Jobs that wait for each other, and a parent that is kept as long as somebody needs it.

use std::time::Duration;

use feishu_sandbox::{DEFAULT_CHAT, DEFAULT_SECOND_CHAT};
use serde_json::{Value, json};

use crate::support::House;
use crate::support::jobs::{
    DAY, MINUTE, PIXEL, SECOND, SEND, UPLOAD, acted, child, id, made, message, post, sent, tried,
    until_state,
};
use crate::{PIN, cancel, ids};

/// Whoever needs the message of another stands in the lane behind it, whatever his priority says.
#[tokio::test]
async fn two_jobs_of_one_lane_that_wait_for_each_other() {
    let house = House::new().await;
    let first = json!({"kind": "send", "lane": "one", "priority": "low",
        "args": {"to": DEFAULT_CHAT, "text": "the first of them"}, "delay": "1s"});
    let first = post(&house, first).await;
    let pin = json!({"kind": "pin", "lane": "one", "priority": "high", "args": {"message": first}});
    let pin = post(&house, pin).await;
    let last = json!({"kind": "send", "lane": "one", "args": {"to": DEFAULT_CHAT, "text": "the last of them"},
        "then": [{"kind": "pin", "lane": "one", "priority": "high"}, {"kind": "unpin", "lane": "one", "priority": "low"}]});
    let last = post(&house, last).await;
    for id in [&first, &pin, &last] {
        let job = house.settled(id).await;
        assert_eq!(job["state"], "done", "{job:#}");
    }
    assert_eq!(made(&house, PIN).await, 2);
}

/// Across two lanes: each has at its head, by priority, a job that needs the one behind the other's.
#[tokio::test]
async fn two_lanes_whose_first_jobs_wait_for_the_second_ones_of_each_other() {
    for kill in [false, true] {
        let mut house = House::new().await;
        let behind = |lane: &str, chat: &str| {
            json!({"kind": "send", "lane": lane, "priority": "low", "delay": "2s",
            "args": {"to": chat, "text": format!("needed in {lane}")}})
        };
        let left = post(&house, behind("left", DEFAULT_CHAT)).await;
        let right = post(&house, behind("right", DEFAULT_SECOND_CHAT)).await;
        let front = |lane: &str, needs: &str| json!({"kind": "pin", "lane": lane, "priority": "high", "args": {"message": needs}});
        let jobs = json!([front("left", &right), front("right", &left)]);
        let fronts = ids(&house.post(jobs).await);
        if kill {
            house.kill();
            house.start();
        }
        house.advance(3 * SECOND).await;
        for id in fronts.iter().chain([&left, &right]) {
            let job = house.settled(id).await;
            assert_eq!(job["state"], "done", "{job:#}");
        }
    }
}

/// One that needs a message in doubt does not hold the lane in which both stand.
#[tokio::test]
async fn a_job_that_waits_for_one_in_doubt_does_not_stop_their_lane() {
    let mut house = House::new().await;
    house
        .faults(json!([
            {"call": SEND, "do": "drop", "when": "after", "count": 1},
            {"call": SEND, "do": "code", "code": 230_013, "count": 1},
        ]))
        .await;
    let doubtful = json!({"kind": "send", "lane": "one", "args": {"to": DEFAULT_CHAT, "text": "perhaps there"},
        "then": [{"kind": "pin", "lane": "one", "priority": "high"}]});
    let doubtful = post(&house, doubtful).await;
    let needs = json!({"kind": "unpin", "lane": "one", "args": {"message": doubtful}});
    let needs = post(&house, needs).await;
    let next = json!({"kind": "send", "lane": "one", "args": {"to": DEFAULT_CHAT, "text": "surely there"}});
    let next = post(&house, next).await;
    assert_eq!(house.settled(&next).await["state"], "done");
    house.restart();
    let (_, job) = house
        .request("GET", &format!("/v1/jobs/{doubtful}"), None)
        .await;
    assert_eq!(job["state"], "in_doubt", "{job:#}");
    let pin = child(&job, 0);
    for id in [&pin, &needs] {
        assert_eq!(house.job(id).await["waiting_for"], "dependency");
    }
    // Settled with its id, all of it goes.
    let message = house.effects("message").await[0]["message_id"].clone();
    let word = json!({"state": "done", "message_id": message});
    assert_eq!(acted(&house, &doubtful, "settle", word).await.0, 200);
    for id in [&pin, &needs] {
        let job = house.settled(id).await;
        assert_eq!(job["state"], "done", "{job:#}");
    }
}

/// A message with an image of its own waits for an upload that nobody sees; while it does, its lane is free.
#[tokio::test]
async fn a_message_that_waits_for_its_own_image_does_not_stop_its_lane() {
    let mut house = House::new().await;
    house
        .faults(json!([{"call": UPLOAD, "do": "429", "reset_s": 600, "count": 1}]))
        .await;
    let picture = json!({"kind": "send", "priority": "high", "args": {"to": DEFAULT_CHAT, "image": {"data": PIXEL}}});
    let picture = post(&house, picture).await;
    let text = post(&house, message(json!({}))).await;
    assert_eq!(house.settled(&text).await["state"], "done");
    assert_eq!(house.job(&picture).await["waiting_for"], "dependency");
    house.advance(10 * MINUTE + SECOND).await;
    assert_eq!(house.settled(&picture).await["state"], "done");
}

/// The parent is kept until its child, and whoever names it, is at an end; then it goes.
#[tokio::test]
async fn a_childs_delay_beyond_the_parents_retention() {
    let mut house = House::without_relay(None, "").await;
    let kept = "path = \"relay.db\"\nretention = \"24h\"\ncontent_retention = \"24h\"\n";
    let config = house.config().replace("path = \"relay.db\"\n", kept);
    house.set_config(config);
    house.start();
    let job = message(json!({"delay": "1m", "then": [{"kind": "pin", "delay": "5d"}]}));
    let parent = house.post(job).await;
    let (parent, pin) = (id(&parent), child(&parent, 0));
    let naming = json!({"kind": "unpin", "args": {"message": parent}, "delay": "8d"});
    let naming = post(&house, naming).await;
    house.advance(MINUTE + SECOND).await;
    until_state(&house, &parent, "done").await;
    // Somebody without anybody behind him goes when his time is over: the purge is at work.
    let alone = post(&house, message(json!({}))).await;
    house.settled(&alone).await;
    for day in 1..=4 {
        house.advance(DAY).await;
        if day == 2 {
            house.restart();
        }
        sent(&house).await;
    }
    house.until_gone(&alone).await;
    let message = house.job(&parent).await["receipt"]["message_id"].clone();
    assert!(message.is_string(), "it is still here");
    assert_eq!(house.job(&pin).await["state"], "queued");
    house.advance(DAY + MINUTE).await;
    assert_eq!(house.settled(&pin).await["state"], "done");
    assert_eq!(house.effects("pin").await[0]["message_id"], message);
    // The child is gone before the one that names the same message comes.
    house.advance(2 * DAY).await;
    house.until_gone(&pin).await;
    house.job(&parent).await;
    house.advance(Duration::from_secs(86_400 + 120)).await;
    assert_eq!(house.settled(&naming).await["state"], "done");
    assert_eq!(house.effects("unpin").await[0]["message_id"], message);
    house.advance(2 * DAY).await;
    house.until_gone(&parent).await;
    house.until_gone(&naming).await;
}

/// A parent in doubt is never purged, nor is its child; a retry works until its content would be gone.
#[tokio::test]
async fn a_parent_in_doubt_outlives_every_retention() {
    let mut house = House::without_relay(None, "").await;
    let kept = "path = \"relay.db\"\nretention = \"24h\"\ncontent_retention = \"24h\"\n";
    let config = house.config().replace("path = \"relay.db\"\n", kept);
    house.set_config(config);
    house.start();
    house
        .faults(json!([{"call": SEND, "do": "drop", "when": "after", "count": 1}]))
        .await;
    let parent = post(&house, message(json!({"then": [{"kind": "pin"}]}))).await;
    tried(&house, &parent, 1).await;
    cancel(&house, &parent).await;
    let parent = house.settled(&parent).await;
    for _ in 0..3 {
        house.advance(DAY).await;
        sent(&house).await;
    }
    house.restart();
    let job = house.job(&id(&parent)).await;
    if job["state"] == "done" {
        return; // its repeat came before the cancel
    }
    assert_eq!(job["state"], "in_doubt", "{job:#}");
    let shown = house.effects("message").await[0]["message_id"].clone();
    let word = json!({"state": "done", "message_id": shown});
    assert_eq!(acted(&house, &id(&parent), "settle", word).await.0, 200);
    let pin = house.settled(&child(&job, 0)).await;
    assert_eq!(pin["state"], "done", "{pin:#}");
    assert_eq!(house.effects("pin").await[0]["message_id"], shown);
}

impl House {
    /// Until the relay does not know it any more, and says that it did.
    async fn until_gone(&self, id: &str) {
        let gone = |answer: &Value| answer["status"] == 404;
        let answer = self.until(&format!("/v1/jobs/{id}"), gone).await;
        assert!(
            answer["detail"].as_str().unwrap().contains("purged"),
            "{answer:#}"
        );
    }
}
