//! The ladder: a card that may not go as a card is seen as a post or a text, once, whatever happens in between.

mod support;

use feishu_sandbox::{DEFAULT_CHAT, DEFAULT_USERS};
use serde_json::{Value, json};
use support::House;
use support::jobs::{MINUTE, SECOND, SEND, made, outcomes, pass, post, tried, until_state};

/// A card with a picture that nobody has uploaded, to be degraded.
fn card() -> Value {
    degrading(json!({
        "schema": "2.0",
        "header": { "title": { "tag": "plain_text", "content": "disk full" } },
        "body": { "elements": [
            { "tag": "markdown", "content": "db-1 at [97 %](https://ex.cn/d)" },
            { "tag": "img", "img_key": "img_v3_nobodys" },
        ] },
    }))
}

/// One without.
fn plain_card() -> Value {
    degrading(json!({ "elements": [{ "tag": "markdown", "content": "db-2 is well" }] }))
}

fn degrading(card: Value) -> Value {
    json!({ "kind": "send", "on_refused": "degrade", "args": { "to": DEFAULT_CHAT, "card": card } })
}

/// The refusal of a form, `count` times.
fn refuse(code: i64, count: u64) -> Value {
    json!({ "call": SEND, "do": "code", "code": code, "http": 400, "count": count })
}

/// What people saw, as `[type, uuid]`; the ledger holds no more than that.
async fn seen(house: &House) -> Vec<[String; 2]> {
    let effects = house.effects("message").await;
    let word = |effect: &Value, name: &str| effect[name].as_str().unwrap_or_default().to_owned();
    effects
        .iter()
        .map(|effect| [word(effect, "msg_type"), word(effect, "uuid")])
        .collect()
}

fn on(msg_type: &str, id: &str, rung: u8) -> [String; 2] {
    let hex = id.trim_start_matches("job_");
    let uuid = if rung == 0 {
        hex.to_owned()
    } else {
        format!("{hex}.{rung}")
    };
    [msg_type.to_owned(), uuid]
}

fn rungs(job: &Value) -> Vec<Option<u64>> {
    let attempts = job["attempts"].as_array().into_iter().flatten();
    attempts.map(|attempt| attempt["rung"].as_u64()).collect()
}

#[tokio::test]
async fn a_card_that_is_refused_for_its_form_is_seen_as_a_post() {
    let house = House::new().await;
    let first = post(&house, card()).await;
    let second = post(&house, plain_card()).await;
    let job = house.settled(&first).await;
    assert_eq!(job["state"], "done", "{job:#}");
    assert_eq!(outcomes(&job), ["refused", "done"]);
    assert_eq!(rungs(&job), [None, Some(1)]);
    let degraded = &job["degraded"];
    assert_eq!(
        (&degraded["rung"], &degraded["msg_type"], &degraded["code"]),
        (&json!(1), &json!("post"), &json!(230_099)),
        "{job:#}"
    );
    assert_eq!(job["receipt"]["msg_type"], "post");
    let job = house.settled(&second).await;
    assert_eq!(
        (&job["state"], &job["degraded"]),
        (&json!("done"), &Value::Null)
    );
    // Who stood behind it in the lane came behind it.
    let expected = [on("post", &first, 1), on("interactive", &second, 0)];
    assert_eq!(seen(&house).await, expected);
    let content = house.effects("message").await[0]["content"].clone();
    let content: Value = serde_json::from_str(content.as_str().unwrap()).unwrap();
    assert_eq!(
        content["zh_cn"]["content"][0][1],
        json!({ "tag": "a", "text": "97 %", "href": "https://ex.cn/d" })
    );
}

#[tokio::test]
async fn a_post_that_is_refused_too_is_seen_as_a_text_and_below_that_there_is_nothing() {
    let house = House::new().await;
    house.faults(json!([refuse(230_025, 2)])).await;
    let id = post(&house, plain_card()).await;
    let job = house.settled(&id).await;
    assert_eq!(job["state"], "done", "{job:#}");
    assert_eq!(rungs(&job), [None, Some(1), Some(2)]);
    assert_eq!(job["degraded"]["msg_type"], "text");
    assert_eq!(seen(&house).await, [on("text", &id, 2)]);

    house.faults(json!([refuse(230_099, 3)])).await;
    let id = post(&house, plain_card()).await;
    let job = house.settled(&id).await;
    assert_eq!(job["state"], "failed", "{job:#}");
    assert_eq!(
        (&job["error"]["class"], &job["error"]["code"]),
        (&json!("caller"), &json!(230_099))
    );
    assert_eq!(outcomes(&job), ["refused"; 3]);
    assert_eq!(seen(&house).await.len(), 1);
    // Who has it tried again finds it where it was.
    assert_eq!(house.act(&id, "retry", None).await.0, 202);
    let job = house.settled(&id).await;
    assert_eq!(job["state"], "done", "{job:#}");
    assert_eq!(seen(&house).await[1], on("text", &id, 2));
}

#[tokio::test]
async fn what_speaks_of_receiver_permission_or_words_leads_nowhere() {
    let house = House::new().await;
    for code in [230_013, 230_035, 230_022, 230_028, 230_001] {
        house.faults(json!([refuse(code, 1)])).await;
        let id = post(&house, plain_card()).await;
        let job = house.settled(&id).await;
        assert_eq!(job["state"], "failed", "{code}: {job:#}");
        assert_eq!(job["degraded"], Value::Null);
    }
    // Nor does anything where nobody asked for it.
    let mut job = card();
    job.as_object_mut().unwrap().remove("on_refused");
    let id = post(&house, job).await;
    assert_eq!(house.settled(&id).await["state"], "failed");
    assert!(seen(&house).await.is_empty());
}

#[tokio::test]
async fn after_an_unknown_attempt_nothing_goes_lower() {
    let mut house = House::new().await;
    for code in [230_099, 230_025] {
        let lost = json!({ "call": SEND, "do": "drop", "when": "before", "count": 1 });
        house.faults(json!([lost, refuse(code, 9)])).await;
        let id = post(&house, plain_card()).await;
        tried(&house, &id, 1).await;
        pass(&mut house, 5 * SECOND).await;
        let job = house.settled(&id).await;
        // Of the second it is known that the lost one was refused as well: the same bytes are too long.
        let ends = if code == 230_099 {
            "in_doubt"
        } else {
            "failed"
        };
        assert_eq!(job["state"], ends, "{job:#}");
        assert_eq!(job["degraded"], Value::Null);
        assert_eq!(outcomes(&job), ["unknown", "refused"]);
    }
    assert!(seen(&house).await.is_empty());
}

#[tokio::test]
async fn a_lower_rung_whose_answer_is_lost_is_repeated_under_its_own_uuid() {
    let mut house = House::new().await;
    let lost = json!({ "call": SEND, "do": "drop", "when": "after", "count": 1 });
    house.faults(json!([refuse(230_099, 1), lost])).await;
    let id = post(&house, plain_card()).await;
    tried(&house, &id, 2).await;
    pass(&mut house, 5 * SECOND).await;
    let job = house.settled(&id).await;
    assert_eq!(job["state"], "done", "{job:#}");
    assert_eq!(outcomes(&job), ["refused", "unknown", "done"]);
    assert_eq!(rungs(&job), [None, Some(1), Some(1)]);
    assert_eq!(seen(&house).await, [on("post", &id, 1)]);
}

#[tokio::test]
async fn a_kill_between_two_rungs_leaves_it_on_the_lower_one() {
    let mut house = House::new().await;
    // The group is over its second for long enough to be killed in.
    let limited = json!({ "call": SEND, "do": "code", "code": 230_020, "http": 400, "count": 1 });
    house.faults(json!([refuse(230_099, 1), limited])).await;
    let id = post(&house, plain_card()).await;
    tried(&house, &id, 2).await;
    house.kill();
    house.start();
    let job = house.settled(&id).await;
    assert_eq!(job["state"], "done", "{job:#}");
    assert_eq!(outcomes(&job), ["refused", "limited", "done"]);
    assert_eq!(rungs(&job), [None, Some(1), Some(1)]);
    assert_eq!(job["degraded"]["rung"], 1);
    assert_eq!(seen(&house).await, [on("post", &id, 1)]);
    assert_eq!(made(&house, SEND).await, 3, "the card was tried once");
}

#[tokio::test]
async fn a_kill_in_the_middle_of_a_rung_shows_nothing_twice() {
    let mut house = House::new().await;
    let slow = json!({ "call": SEND, "do": "delay", "when": "after", "ms": 60_000, "count": 1 });
    house.faults(json!([refuse(230_099, 1), slow])).await;
    let to = json!(DEFAULT_USERS[0]);
    let mut job = plain_card();
    job["args"]["to"] = to;
    let id = post(&house, job).await;
    while seen(&house).await.is_empty() {
        tokio::task::yield_now().await;
    }
    house.kill();
    house.feishu_down().await;
    house.feishu_up().await;
    house.advance(10 * MINUTE).await;
    house.start();
    let job = house.settled(&id).await;
    assert_eq!(job["state"], "done", "{job:#}");
    assert_eq!(rungs(&job), [None, Some(1), Some(1)]);
    assert_eq!(outcomes(&job)[1..], ["unknown", "done"]);
    assert_eq!(seen(&house).await, [on("post", &id, 1)]);
}

#[tokio::test]
async fn a_card_too_large_for_the_door_starts_as_a_post() {
    let house = House::new().await;
    let lines =
        vec![json!({ "tag": "markdown", "content": "a long line of a log ".repeat(20) }); 150];
    let large = json!({ "schema": "2.0", "body": { "elements": lines } });
    let many = json!({ "schema": "2.0", "body": { "elements": vec![json!({ "tag": "markdown", "content": "x" }); 201] } });
    let old = json!({ "schema": "2.0", "body": { "elements": [{ "tag": "note", "elements": [{ "tag": "plain_text", "content": "x" }] }] } });
    for card in [large, many, old] {
        let job = degrading(card);
        let mut refused = job.clone();
        refused["on_refused"] = json!("fail");
        let (status, problem) = house.request("POST", "/v1/jobs", Some(refused)).await;
        assert_eq!(status, 422, "{problem:#}");
        let before = made(&house, SEND).await;
        let told = house.post(job).await;
        assert_eq!(told["degraded"]["rung"], 1, "{told:#}");
        let id = told["id"].as_str().unwrap();
        let job = house.settled(id).await;
        assert_eq!(job["state"], "done", "{job:#}");
        assert_eq!(job["degraded"], told["degraded"]);
        assert_eq!(job["degraded"]["code"], Value::Null);
        assert_eq!(rungs(&job), [Some(1)]);
        assert_eq!(made(&house, SEND).await, before + 1);
        assert_eq!(seen(&house).await.last(), Some(&on("post", id, 1)));
    }
}

#[tokio::test]
async fn what_has_no_lower_rung_is_refused_at_the_door() {
    let house = House::new().await;
    let entity = json!({ "type": "card", "data": { "card_id": "7371" } });
    let text = json!({ "kind": "send", "on_refused": "degrade", "args": { "to": DEFAULT_CHAT, "text": "x" } });
    let batch = json!({ "kind": "batch_send", "on_refused": "degrade", "args": { "open_ids": ["ou_1"], "card": { "elements": [] } } });
    let mut child = plain_card();
    child["then"] = json!([{ "kind": "pin", "on_refused": "degrade" }]);
    for (job, pointer) in [
        (degrading(entity), "/args/card"),
        (degrading(json!({})), "/args/card"),
        (text, "/args/text"),
        (batch, "/on_refused"),
        (child, "/then/0/on_refused"),
    ] {
        let (status, problem) = house.request("POST", "/v1/jobs", Some(job)).await;
        assert_eq!(status, 422, "{problem:#}");
        assert_eq!(problem["errors"][0]["pointer"], pointer, "{problem:#}");
    }
    assert!(seen(&house).await.is_empty());
}

#[tokio::test]
async fn a_post_in_doubt_is_looked_for_as_a_post() {
    let mut house = House::new().await;
    let lost = json!({ "call": SEND, "do": "drop", "when": "after", "count": 1 });
    house.faults(json!([refuse(230_099, 1), lost])).await;
    let id = post(&house, plain_card()).await;
    tried(&house, &id, 2).await;
    assert_eq!(house.act(&id, "cancel", None).await.0, 200);
    until_state(&house, &id, "in_doubt").await;
    pass(&mut house, 31 * SECOND).await;
    let looked = |job: &Value| job["doubt"]["candidates"].is_array();
    let job = house.until(&support::jobs::path(&id), looked).await;
    let candidates = job["doubt"]["candidates"].as_array().unwrap();
    // A card would not be of the type that was sent last.
    assert_eq!(candidates.len(), 1, "{job:#}");
}

#[tokio::test]
async fn a_reply_goes_down_too_and_stays_a_reply() {
    let house = House::new().await;
    let root = support::jobs::sent(&house).await;
    let mut job = card();
    job["kind"] = json!("reply");
    job["args"] = json!({ "message": root, "card": job["args"]["card"] });
    let id = post(&house, job).await;
    let job = house.settled(&id).await;
    assert_eq!(job["state"], "done", "{job:#}");
    assert_eq!(rungs(&job), [None, Some(1)]);
    assert_eq!(job["receipt"]["parent_id"], root.as_str());
    assert_eq!(seen(&house).await[1], on("post", &id, 1));
    let system = json!({ "kind": "reply", "on_refused": "degrade", "args": { "message": root, "system": "x" } });
    let (status, problem) = house.request("POST", "/v1/jobs", Some(system)).await;
    assert_eq!(
        (status, &problem["errors"][0]["pointer"]),
        (422, &json!("/args/system"))
    );
}
