//! An app that cannot send, with more lanes than are held: the other one does not notice.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on should stop here"
)]

mod support;

use std::time::Duration;

use feishu_sandbox::{DEFAULT_APP_ID, DEFAULT_CHAT, DEFAULT_USERS};
use serde_json::{Value, json};
use support::House;
use support::jobs::{MINUTE, SECOND, made, post};

const SEND: &str = "POST /open-apis/im/v1/messages";
/// More than are held at once.
const LANES: usize = 5200;
const BEHIND: usize = 40;

const OPS: &str = "cli_0000000000000002";
const SECRET: &str = "ops-secret";

/// A second app that Feishu takes, behind one that it refuses or that leads nowhere.
fn two_apps(house: &House, dead: &str) -> String {
    let (head, _) = house.config().split_once("[[apps]]").unwrap();
    let head = head.replace("\"debug\"", "\"trace\"");
    let feishu = &house.feishu;
    format!(
        "{head}[[apps]]\nname = \"dead\"\napp_id = \"{DEFAULT_APP_ID}\"\n{dead}\n\
         [[apps]]\nname = \"ops\"\napp_id = \"{OPS}\"\napp_secret = \"{SECRET}\"\nbase_url = \"{feishu}\"\n",
    )
}

fn message(app: &str, to: &str, text: &str) -> Value {
    json!({"kind": "send", "app": app, "args": {"to": to, "text": text}})
}

/// Moves the clocks, and waits until the relay has seen it.
async fn pass(house: &mut House, by: Duration) {
    let delay = format!("{}s", by.as_secs());
    let witness =
        json!({"kind": "unpin", "app": "ops", "args": {"message": "om_witness"}, "delay": delay});
    let witness = post(house, witness).await;
    house.advance(by + SECOND).await;
    house.settled(&witness).await;
}

/// How often the relay has walked over lanes.
fn walks(house: &House) -> usize {
    house.log().matches("walks over lanes").count()
}

async fn nobody_waits_behind(first: impl Fn(&House) -> String) {
    let apps = json!({"apps": [
        {"app_id": DEFAULT_APP_ID, "app_secret": "sandbox-secret"},
        {"app_id": OPS, "app_secret": SECRET},
    ]});
    let mut house = House::without_relay(Some(apps), "").await;
    house.set_config(two_apps(&house, &first(&house)));
    house.start();
    let lanes: Vec<Value> = (0..LANES)
        .map(|n| message("dead", &format!("oc_{n:032x}"), "stuck"))
        .collect();
    house.post(Value::Array(lanes)).await;
    house
        .until("/v1/status", |status| {
            !status["apps"][0]["paused"].as_array().unwrap().is_empty()
        })
        .await;
    let one = post(&house, message("ops", DEFAULT_CHAT, "first")).await;
    assert_eq!(house.settled(&one).await["state"], "done");

    // The same after a start that finds both in the table, and knows nothing of the fault.
    house.kill();
    house.start();
    let many = (0..BEHIND).map(|n| message("ops", DEFAULT_USERS[n % 4], "later"));
    let many = house.post(Value::Array(many.collect())).await;
    for job in many["jobs"].as_array().unwrap() {
        let id = job["id"].as_str().unwrap();
        assert_eq!(house.settled(id).await["state"], "done");
    }
    assert_eq!(made(&house, SEND).await, BEHIND as u64 + 1);

    // Whoever cannot go costs a look a second, however many there are.
    pass(&mut house, 3 * MINUTE).await;
    let (before, started) = (walks(&house), std::time::Instant::now());
    for _ in 0..20 {
        pass(&mut house, SECOND).await;
    }
    let (walks, seconds) = (walks(&house) - before, started.elapsed().as_secs() as usize);
    // Clocks that are moved count as well; a job in and out of a lane is a walk of its own at most.
    assert!(
        walks <= 2 * (20 + seconds) + 20,
        "{walks} walks in {seconds} s"
    );
    let status = house.request("GET", "/v1/status", None).await.1;
    let stuck = &status["apps"][0]["jobs"]["queued"];
    assert_eq!(stuck.as_u64(), Some(LANES as u64), "{status:#}");
}

#[tokio::test]
async fn an_app_with_a_wrong_secret_and_five_thousand_chats_delays_no_other() {
    nobody_waits_behind(|house| format!("app_secret = \"wrong\"\nbase_url = \"{}\"", house.feishu))
        .await;
}

#[tokio::test]
async fn an_app_that_reaches_nobody_and_has_five_thousand_chats_delays_no_other() {
    // The port of a sandbox that is gone.
    let gone = House::without_relay(None, "").await;
    let nowhere = gone.feishu.clone();
    drop(gone);
    nobody_waits_behind(|_| format!("app_secret = \"x\"\nbase_url = \"{nowhere}\"")).await;
}
