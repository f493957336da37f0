//! Updates of one message: of those that wait only the newest is sent, and the last state is what people see.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on should stop here"
)]

mod support;

use feishu_sandbox::DEFAULT_CHAT;
use serde_json::{Value, json};
use support::House;
use support::jobs::{
    MINUTE, SECOND, acted, child, id, made, pass, path, post, sent, tried, until_state,
};
use support::openapis::MESSAGES;
use support::stream::Stream;

const UPDATE: &str = "PATCH /open-apis/im/v1/messages/:message_id";
const EDIT: &str = "PUT /open-apis/im/v1/messages/:message_id";
const LOOK: &str = "GET /open-apis/im/v1/messages/:message_id";

fn card(word: &str) -> Value {
    json!({"schema": "2.0", "config": {"update_multi": true},
           "body": {"elements": [{"tag": "markdown", "content": word}]}})
}

fn update(message: &str, word: &str) -> Value {
    json!({"kind": "update_card", "args": {"message": message, "card": card(word)}})
}

/// A card that was sent, by its id.
async fn shown(house: &House) -> String {
    let job = json!({"kind": "send", "args": {"to": DEFAULT_CHAT, "card": card("begins")}});
    let job = house.settled(&post(house, job).await).await;
    job["receipt"]["message_id"].as_str().unwrap().to_owned()
}

async fn pause(house: &House, what: &str) {
    let body = json!({"kind": "update_card"});
    let (status, answer) = house.request("POST", what, Some(body)).await;
    assert_eq!(status, 200, "{answer}");
}

/// The words that people saw, in order.
async fn words(house: &House) -> Vec<String> {
    let word = |effect: &Value| {
        let card = effect["content"].as_str().map_or_else(
            || effect["content"].clone(),
            |text| serde_json::from_str(text).unwrap(),
        );
        card["body"]["elements"][0]["content"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    house
        .effects("card_update")
        .await
        .iter()
        .map(word)
        .collect()
}

/// It was carried by `carrier`, and nothing of its content is left.
async fn carried(house: &House, id: &str, carrier: &str) {
    let job = house.settled(id).await;
    assert_eq!(
        (&job["state"], &job["receipt"]["folded_into"]),
        (&json!("done"), &json!(carrier)),
        "{job:#}"
    );
    assert!(
        job["args"].is_null() && job["attempts"] == json!([]),
        "{job:#}"
    );
}

/// Updates that wait behind a pause, the oldest first.
async fn waiting(house: &House, message: &str, n: usize) -> Vec<String> {
    pause(house, "/v1/pause").await;
    let mut ids = Vec::new();
    for n in 0..n {
        ids.push(post(house, update(message, &n.to_string())).await);
    }
    ids
}

#[tokio::test]
async fn of_updates_that_wait_only_the_newest_is_sent_and_the_others_are_done_with_it() {
    let house = House::new().await;
    let message = shown(&house).await;
    let other = shown(&house).await;
    let mut heard = Stream::open(&house, "kind=update_card").await;
    let ids = waiting(&house, &message, 20).await;
    let beside = post(&house, update(&other, "beside")).await;
    for id in &ids[..19] {
        let job = house.job(id).await;
        assert_eq!(job["state"], "queued");
    }
    pause(&house, "/v1/resume").await;
    let last = &ids[19];
    assert_eq!(house.settled(last).await["state"], "done");
    for id in &ids[..19] {
        carried(&house, id, last).await;
    }
    house.settled(&beside).await;
    let mut seen = words(&house).await;
    seen.sort();
    assert_eq!(seen, ["19", "beside"]);
    let mut ended = 0;
    while ended < 21 {
        ended += usize::from(heard.next().await.unwrap().state() == "done");
    }
    let (_, status) = house.request("GET", "/v1/status", None).await;
    assert_eq!(status["pending"], 0);
}

#[tokio::test]
async fn a_refused_newest_leaves_the_next_older_to_go_and_to_carry_the_rest() {
    let house = House::new().await;
    let message = shown(&house).await;
    house
        .faults(json!([{"call": UPDATE, "do": "code", "code": 230099, "count": 2}]))
        .await;
    let ids = waiting(&house, &message, 5).await;
    pause(&house, "/v1/resume").await;
    for id in &ids[3..] {
        assert_eq!(house.settled(id).await["state"], "failed");
    }
    assert_eq!(house.settled(&ids[2]).await["state"], "done");
    for id in &ids[..2] {
        carried(&house, id, &ids[2]).await;
    }
    assert_eq!(words(&house).await, ["2"]);
    assert_eq!(made(&house, UPDATE).await, 3);
    // Sent again at a person's word, it is the newest there is.
    let (status, _) = acted(&house, &ids[4], "retry", Value::Null).await;
    assert_eq!(status, 202);
    house.settled(&ids[4]).await;
    assert_eq!(words(&house).await, ["2", "4"]);
    let (status, _) = acted(&house, &ids[0], "retry", Value::Null).await;
    assert_eq!(status, 409);
}

#[tokio::test]
async fn a_canceled_or_expired_newest_leaves_the_next_older_too() {
    let mut house = House::new().await;
    let message = shown(&house).await;
    let ids = waiting(&house, &message, 3).await;
    let mut brief = update(&message, "brief");
    brief["expires_in"] = json!("1m");
    let brief = post(&house, brief).await;
    assert_eq!(house.job(&ids[2]).await["waiting_for"], "app");
    acted(&house, &ids[1], "cancel", Value::Null).await;
    house.advance(MINUTE + SECOND).await;
    assert_eq!(house.settled(&brief).await["state"], "expired");
    acted(&house, &ids[2], "cancel", Value::Null).await;
    pause(&house, "/v1/resume").await;
    assert_eq!(house.settled(&ids[0]).await["state"], "done");
    assert_eq!(words(&house).await, ["0"]);
}

#[tokio::test]
async fn an_update_whose_answer_is_lost_is_looked_for_and_those_that_it_carries_stay_open_until_then()
 {
    for (when, updates, looks) in [("after", 1, 1), ("before", 2, 1)] {
        let mut house = House::new().await;
        let message = shown(&house).await;
        let ids = waiting(&house, &message, 3).await;
        house
            .faults(json!([{"call": UPDATE, "do": "drop", "when": when, "count": 1}]))
            .await;
        pause(&house, "/v1/resume").await;
        tried(&house, &ids[2], 1).await;
        // Newer ones wait behind it: an answer that is lost may still take effect.
        let newer = post(&house, update(&message, "newer")).await;
        for id in &ids[..2] {
            assert_eq!(house.job(id).await["state"], "queued", "{when}");
        }
        assert_eq!(made(&house, LOOK).await, 0);
        pass(&mut house, 20 * SECOND).await;
        assert_eq!(made(&house, LOOK).await, 0);
        pass(&mut house, MINUTE).await;
        assert_eq!(house.settled(&newer).await["state"], "done");
        let job = house.settled(&ids[2]).await;
        assert_eq!(job["state"], "done", "{when} {job:#}");
        for id in &ids[..2] {
            let job = house.settled(id).await;
            let by = &job["receipt"]["folded_into"];
            assert!([&json!(ids[2]), &json!(newer)].contains(&by), "{job:#}");
        }
        assert_eq!(words(&house).await.last().unwrap(), "newer");
        assert_eq!(
            (made(&house, UPDATE).await, made(&house, LOOK).await),
            (updates + 1, looks),
            "{when}"
        );
    }
}

#[tokio::test]
async fn an_edit_that_took_effect_is_not_written_again() {
    let mut house = House::new().await;
    let message = sent(&house).await;
    house
        .faults(json!([{"call": EDIT, "do": "drop", "when": "after", "count": 1}]))
        .await;
    let edit = json!({"kind": "edit", "args": {"message": message, "text": "disk fine on db-1"}});
    let edit = post(&house, edit).await;
    tried(&house, &edit, 1).await;
    pass(&mut house, MINUTE).await;
    let job = house.settled(&edit).await;
    assert_eq!(job["state"], "done", "{job:#}");
    assert_eq!(
        (made(&house, EDIT).await, house.effects("edit").await.len()),
        (1, 1)
    );
}

#[tokio::test]
async fn a_kill_in_the_middle_loses_no_update_and_writes_no_older_one_last() {
    let mut house = House::new().await;
    let message = shown(&house).await;
    let ids = waiting(&house, &message, 4).await;
    house
        .faults(json!([{"call": UPDATE, "do": "delay", "ms": 60_000, "when": "after", "count": 1}]))
        .await;
    pause(&house, "/v1/resume").await;
    until_state(&house, &ids[3], "sending").await;
    let newer = post(&house, update(&message, "newer")).await;
    house.kill();
    house.faults(json!([])).await;
    house.start();
    pass(&mut house, 2 * MINUTE).await;
    for id in ids.iter().chain([&newer]) {
        assert_eq!(house.settled(id).await["state"], "done");
    }
    assert_eq!(words(&house).await.last().unwrap(), "newer");
}

#[tokio::test]
async fn updates_of_one_request_go_as_the_last_of_them_however_many() {
    let house = House::new().await;
    let message = shown(&house).await;
    let jobs: Vec<Value> = (0..2500)
        .map(|n| update(&message, &n.to_string()))
        .collect();
    let (status, answer) = house
        .request("POST", "/v1/jobs", Some(Value::Array(jobs)))
        .await;
    assert_eq!(status, 202);
    let ids: Vec<String> = answer["jobs"].as_array().unwrap().iter().map(id).collect();
    house
        .until("/v1/status", |status| status["pending"] == 0)
        .await;
    assert_eq!(words(&house).await, ["2499"]);
    for n in [0, 999, 1000, 2498] {
        carried(&house, &ids[n], &ids[2499]).await;
    }
}

#[tokio::test]
async fn what_hangs_on_a_carried_update_goes_on_when_it_is_done() {
    let house = House::new().await;
    let message = shown(&house).await;
    pause(&house, "/v1/pause").await;
    let mut first = update(&message, "first");
    first["then"] = json!([{"kind": "pin", "args": {"message": message}}]);
    let first = post(&house, first).await;
    let last = post(&house, update(&message, "last")).await;
    let (_, waits) = house
        .request("GET", &format!("{}?wait=1s", path(&first)), None)
        .await;
    assert_eq!(waits["state"], "queued");
    pause(&house, "/v1/resume").await;
    carried(&house, &first, &last).await;
    let first = house.job(&first).await;
    assert_eq!(house.settled(&child(&first, 0)).await["state"], "done");
}

#[tokio::test]
async fn a_card_patched_faster_than_it_may_be_ends_on_its_last_state_and_feishu_refuses_nothing() {
    const PATCHES: usize = 600;
    let house = House::new().await;
    let message = shown(&house).await;
    let mut ids = Vec::new();
    for n in 0..PATCHES {
        ids.push(post(&house, update(&message, &n.to_string())).await);
    }
    house.settled(&ids[PATCHES - 1]).await;
    house
        .until("/v1/status", |status| status["pending"] == 0)
        .await;
    let seen = words(&house).await;
    assert_eq!(seen.last().unwrap(), "599");
    let numbers: Vec<usize> = seen.iter().map(|word| word.parse().unwrap()).collect();
    assert!(
        numbers.is_sorted(),
        "an older state came after a newer one: {numbers:?}"
    );
    assert!(seen.len() < PATCHES / 2, "{}", seen.len());
    let calls = house.calls(UPDATE).await;
    assert_eq!(
        (&calls["limited"], &calls["refused"]),
        (&json!(0), &json!(0))
    );
    let effects = house.effects("card_update").await;
    let times: Vec<i64> = effects
        .iter()
        .map(|effect| effect["at"].as_i64().unwrap())
        .collect();
    for six in times.windows(6) {
        assert!(six[5] - six[0] >= 1000, "six within a second: {six:?}");
    }
    let mut folded = 0;
    for id in &ids {
        let job = house.job(id).await;
        assert_eq!(job["state"], "done", "{job:#}");
        if job["receipt"]["folded_into"].is_string() {
            assert!(job["args"].is_null(), "{job:#}");
            folded += 1;
        }
    }
    assert_eq!(folded + seen.len(), PATCHES);
}

/// In Feishu's own form too: whoever waits for an update that a newer one carried gets the newer one's answer.
#[tokio::test]
async fn a_folded_patch_gets_the_newer_ones_answer() {
    let mut house = House::new().await;
    let sdk = house.sdk().await;
    let message = shown(&house).await;
    let at = format!("{MESSAGES}/{message}");
    let patch = |word: &str| {
        let (sdk, at) = (sdk.clone(), at.clone());
        let body = json!({"content": card(word).to_string()});
        let headers = [("x-relay-wait", "50s")];
        tokio::spawn(async move { sdk.with("PATCH", &at, body, &headers).await })
    };
    house
        .faults(json!([{"call": UPDATE, "do": "429", "when": "before", "reset_s": 60}]))
        .await;
    // The first is tried, and stays what it is; the other two wait behind it.
    let mut waiting = Vec::new();
    for (n, word) in ["tried", "older", "newest"].into_iter().enumerate() {
        waiting.push(patch(word));
        let list = "/v1/jobs?kind=update_card&state=queued";
        let there = |told: &Value| {
            let jobs = told["jobs"].as_array().unwrap();
            jobs.len() == n + 1 && jobs[n]["attempts"][0]["outcome"] == "limited"
        };
        house.until(list, there).await;
    }
    house.faults(json!([])).await;
    house.advance(2 * MINUTE).await;
    let mut said = Vec::new();
    for one in waiting {
        said.push(one.await.unwrap());
    }
    for one in &said {
        assert_eq!(one.is_feishus().code(), 0, "{one:?}");
    }
    let traces: Vec<&str> = said.iter().map(|one| one.header("x-tt-logid")).collect();
    assert_ne!(traces[0], traces[2]);
    assert_eq!(traces[1], traces[2]);
    assert_eq!(said[1].text, said[2].text);
    assert_eq!(words(&house).await, ["tried", "newest"]);
}

/// What carried it may have come as a job of `/v1/jobs`: its answer is told in Feishu's form.
#[tokio::test]
async fn an_edit_that_a_job_carried_is_answered_with_its_message() {
    let mut house = House::new().await;
    let sdk = house.sdk().await;
    let message = sent(&house).await;
    house
        .faults(json!([{"call": EDIT, "do": "429", "when": "before", "reset_s": 60}]))
        .await;
    let edit = |word: &str| json!({"kind": "edit", "args": {"message": message, "text": word}});
    let tried = post(&house, edit("tried")).await;
    let limited = |job: &Value| job["attempts"][0]["outcome"] == "limited";
    house.until(&path(&tried), limited).await;
    let older = {
        let (sdk, at) = (sdk.clone(), format!("{MESSAGES}/{message}"));
        let content = json!({"text": "older"}).to_string();
        let body = json!({"msg_type": "text", "content": content});
        let headers = [("x-relay-wait", "50s")];
        tokio::spawn(async move { sdk.with("PUT", &at, body, &headers).await })
    };
    let list = "/v1/jobs?kind=edit&state=queued";
    let two = |told: &Value| told["jobs"].as_array().unwrap().len() == 2;
    house.until(list, two).await;
    let newest = post(&house, edit("newest")).await;
    house.faults(json!([])).await;
    house.advance(2 * MINUTE).await;
    let said = older.await.unwrap();
    assert_eq!((said.status, said.code()), (200, 0), "{said:?}");
    let newest = house.settled(&newest).await;
    assert_eq!(said.body["data"], newest["receipt"]);
    assert_eq!(said.body["data"]["message_id"], *message);
    assert_eq!(house.effects("edit").await.len(), 2);
}
