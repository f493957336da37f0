//! The compatible endpoint's writes: stored, then waited for; Feishu's answer, or a promise that holds.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on should stop here"
)]

mod support;

use feishu_sandbox::{
    DEFAULT_APP_SECRET, DEFAULT_CHAT, DEFAULT_CLOSED_CHAT, DEFAULT_SECOND_CHAT, DEFAULT_USER,
};
use futures_util::future::join_all;
use serde_json::{Value, json};
use support::House;
use support::jobs::{HOUR, MINUTE, SEND};
use support::openapis::{MESSAGES, PINS, Said, Sdk, TO_CHAT, text};

const NOW: (&str, &str) = ("x-relay-wait", "0");
const LONG: (&str, &str) = ("x-relay-wait", "50s");

async fn pause(house: &House) {
    let (status, said) = house
        .request("POST", "/v1/pause", Some(json!({"app": "ops"})))
        .await;
    assert_eq!(status, 200, "{said}");
}

async fn resume(house: &House) {
    let (status, said) = house.request("POST", "/v1/resume", Some(json!({}))).await;
    assert_eq!(status, 200, "{said}");
}

async fn send(sdk: &Sdk, words: &str, headers: &[(&str, &str)]) -> Said {
    sdk.with("POST", TO_CHAT, text(DEFAULT_CHAT, words), headers)
        .await
}

fn of(id: &str, what: &str) -> String {
    format!("{MESSAGES}/{id}{what}")
}

fn reply(words: &str) -> Value {
    json!({"msg_type": "text", "content": json!({ "text": words }).to_string()})
}

fn card(words: &str) -> Value {
    json!({"config": {"update_multi": true}, "elements": [{"tag": "markdown", "content": words}]})
}

/// What people saw: effect and message.
async fn seen(house: &House) -> Vec<(String, String)> {
    let ledger = house.ledger().await;
    let effects = ledger["effects"].as_array().unwrap().iter();
    let word = |effect: &Value, name: &str| effect[name].as_str().unwrap_or_default().to_owned();
    effects
        .map(|effect| (word(effect, "effect"), word(effect, "message_id")))
        .collect()
}

/// Ids and times differ from run to run; all else must not.
fn plain(value: &Value) -> Value {
    match value {
        Value::String(text) => {
            const IDS: [&str; 6] = ["om_", "bm-", "img_", "omt_", "file_", "c-"];
            let is_id = IDS.iter().any(|id| text.starts_with(id));
            let is_time = text.len() == 13 && text.bytes().all(|byte| byte.is_ascii_digit());
            match is_id || is_time {
                true => json!("…"),
                false => value.clone(),
            }
        }
        Value::Array(list) => list.iter().map(plain).collect(),
        Value::Object(map) => {
            let plain = |(name, value): (&String, &Value)| {
                let value = match name.as_str() {
                    "log_id" | "reaction_id" => json!("…"),
                    _ => plain(value),
                };
                (name.clone(), value)
            };
            map.iter().map(plain).collect()
        }
        other => other.clone(),
    }
}

/// One call of every writing endpoint but the uploads, and some that are refused.
async fn all_calls(sdk: &Sdk) -> Vec<(String, u16, Value)> {
    let mut told = Vec::new();
    let mut call = async |method: &str, path: &str, body: Value| {
        let said = sdk.with(method, path, body, &[LONG]).await;
        said.is_feishus();
        let name = format!("call {}: {method}", told.len());
        told.push((name, said.status, plain(&said.body)));
        said
    };
    let sent = call("POST", TO_CHAT, text(DEFAULT_CHAT, "hello"))
        .await
        .id();
    let answer = call("POST", &of(&sent, "/reply"), reply("yes")).await.id();
    call("PUT", &of(&answer, ""), reply("no")).await;
    let target = json!({"receive_id": DEFAULT_SECOND_CHAT});
    let at = "/forward?receive_id_type=chat_id&uuid=f1";
    call("POST", &of(&sent, at), target.clone()).await;
    let both = json!({"receive_id": DEFAULT_SECOND_CHAT, "message_id_list": [sent, answer]});
    let at = format!("{MESSAGES}/merge_forward?receive_id_type=chat_id");
    call("POST", &at, both).await;
    let thread =
        json!({"msg_type": "text", "content": "{\"text\":\"t\"}", "reply_in_thread": true});
    let thread = call("POST", &of(&sent, "/reply"), thread).await.body["data"]["thread_id"].clone();
    let at = format!(
        "/open-apis/im/v1/threads/{}/forward?receive_id_type=chat_id",
        thread.as_str().unwrap_or("omt_none")
    );
    call("POST", &at, target).await;
    for way in ["app", "sms", "phone"] {
        let at = format!("/urgent_{way}?user_id_type=open_id");
        call(
            "PATCH",
            &of(&sent, &at),
            json!({"user_id_list": [DEFAULT_USER]}),
        )
        .await;
    }
    call("POST", PINS, json!({"message_id": sent})).await;
    call("DELETE", &format!("{PINS}/{sent}"), Value::Null).await;
    let emoji = json!({"reaction_type": {"emoji_type": "OK"}});
    let reaction = call("POST", &of(&sent, "/reactions"), emoji).await.id();
    call(
        "DELETE",
        &of(&sent, &format!("/reactions/{reaction}")),
        Value::Null,
    )
    .await;
    let content = json!({"receive_id": DEFAULT_CHAT, "msg_type": "interactive", "content": card("a").to_string()});
    let carded = call("POST", TO_CHAT, content).await.id();
    let newer = json!({"content": card("b").to_string()});
    call("PATCH", &of(&carded, ""), newer).await;
    let batch =
        json!({"msg_type": "text", "content": {"text": "all of you"}, "open_ids": [DEFAULT_USER]});
    let batch = call("POST", "/open-apis/message/v4/batch_send/", batch)
        .await
        .id();
    let at = format!("/open-apis/im/v1/batch_messages/{batch}");
    call("DELETE", &at, Value::Null).await;
    let one = json!({"chat_id": DEFAULT_CHAT, "open_id": DEFAULT_USER, "msg_type": "interactive", "card": card("c")});
    let one = call("POST", "/open-apis/ephemeral/v1/send", one).await.id();
    let gone = json!({"message_id": one});
    call("POST", "/open-apis/ephemeral/v1/delete", gone.clone()).await;
    call("POST", "/open-apis/ephemeral/v1/delete", gone).await;
    let bubbles = json!({"follow_ups": [{"content": "more"}]});
    call("POST", &of(&sent, "/push_follow_up"), bubbles).await;
    let update = json!({"token": "c-none", "card": card("d")});
    call("POST", "/open-apis/interactive/v1/card/update", update).await;
    let previews = json!({"preview_tokens": ["none"]});
    call(
        "POST",
        "/open-apis/im/v2/url_previews/batch_update",
        previews,
    )
    .await;
    call("DELETE", &of(&answer, ""), Value::Null).await;
    // What Feishu refuses.
    call("DELETE", &of(&answer, ""), Value::Null).await;
    call("POST", TO_CHAT, text(DEFAULT_CLOSED_CHAT, "x")).await;
    call("POST", TO_CHAT, json!({"receive_id": DEFAULT_CHAT})).await;
    call("POST", TO_CHAT, json!({})).await;
    call("POST", MESSAGES, text(DEFAULT_CHAT, "x")).await;
    call("POST", &of("om_none", "/reply"), reply("x")).await;
    call("POST", PINS, json!({"message_id": 7})).await;
    let mut long = text(DEFAULT_CHAT, "x");
    long["uuid"] = json!("x".repeat(51));
    call("POST", TO_CHAT, long).await;
    told
}

#[tokio::test]
async fn every_writing_call_is_answered_as_feishu_answers_it() {
    let house = House::new().await;
    let mut straight = house.sdk_at(&house.feishu);
    straight.log_in(DEFAULT_APP_SECRET).await;
    let expected = all_calls(&straight).await;
    let told = all_calls(&house.sdk().await).await;
    for (expected, told) in expected.iter().zip(&told) {
        assert_eq!(told, expected);
    }
    assert_eq!(told.len(), expected.len());
}

#[tokio::test]
async fn a_job_of_the_endpoint_is_seen_among_the_others_and_its_bytes_are_kept() {
    let house = House::new().await;
    let sdk = house.sdk().await;
    let content = "{ \"text\" : \"1.0 \\u00e9 \\/\" }";
    let body = json!({"receive_id": DEFAULT_CHAT, "msg_type": "text", "content": content});
    let said = sdk.with("POST", TO_CHAT, body, &[LONG]).await;
    let job = house.job(&said.is_feishus().id()).await;
    assert_eq!(job["kind"], "send");
    assert_eq!(job["to"], DEFAULT_CHAT);
    assert_eq!(job["lane"], DEFAULT_CHAT);
    assert_eq!(job["args"]["openapi"]["body"]["content"], content);
    let effect = &house.effects("message").await[0];
    assert_eq!(effect["content"], content);
    // Feishu knows it by the job's own name.
    assert_eq!(effect["uuid"], job["id"].as_str().unwrap()[4..]);
    // Without the slash too.
    let batch = json!({"msg_type": "text", "content": {"text": "x"}, "open_ids": [DEFAULT_USER]});
    let said = sdk
        .with("POST", "/open-apis/message/v4/batch_send", batch, &[LONG])
        .await;
    let job = house.job(&said.id()).await;
    assert_eq!(
        (&job["kind"], &job["state"]),
        (&json!("batch_send"), &json!("done"))
    );
}

#[tokio::test]
async fn while_the_app_is_stopped_calls_are_promised_and_later_ones_take_the_promise() {
    let house = House::new().await;
    let sdk = house.sdk().await;
    pause(&house).await;
    // At once, however long the caller would wait.
    let sent = send(&sdk, "first", &[("x-relay-wait", "5m")]).await;
    let sent = sent.promise("queued");
    let said = sdk
        .call("POST", &of(&sent, "/reply"), reply("second"))
        .await;
    let answer = said.promise("queued");
    let said = sdk.call("POST", PINS, json!({"message_id": answer})).await;
    assert_eq!(said.promise("queued"), "");
    let emoji = json!({"reaction_type": {"emoji_type": "OK"}});
    let said = sdk.call("POST", &of(&sent, "/reactions"), emoji).await;
    let reaction = said.promise("queued");
    let at = of(&sent, &format!("/reactions/{reaction}"));
    assert_eq!(
        sdk.call("DELETE", &at, Value::Null).await.promise("queued"),
        ""
    );
    let both = json!({"receive_id": DEFAULT_SECOND_CHAT, "message_id_list": [sent, answer]});
    let at = format!("{MESSAGES}/merge_forward?receive_id_type=chat_id");
    let merged = sdk.call("POST", &at, both).await;
    assert!(
        merged.body["data"]["message"]["message_id"].is_string(),
        "{merged:?}"
    );
    let merged = merged.promise("queued");
    let said = sdk.call("PUT", &of(&answer, ""), reply("changed")).await;
    assert_eq!(said.id(), answer);
    let batch = json!({"msg_type": "text", "content": {"text": "x"}, "open_ids": [DEFAULT_USER]});
    let batch = sdk
        .call("POST", "/open-apis/message/v4/batch_send/", batch)
        .await;
    let batch = batch.promise("queued");
    let at = format!("/open-apis/im/v1/batch_messages/{batch}");
    assert_eq!(
        sdk.call("DELETE", &at, Value::Null).await.promise("queued"),
        ""
    );
    resume(&house).await;
    let said = sdk
        .with("DELETE", &of(&merged, ""), Value::Null, &[LONG])
        .await;
    assert_eq!(said.is_feishus().code(), 0, "{said:?}");
    for id in [&sent, &answer, &reaction, &merged, &batch] {
        assert_eq!(house.settled(id).await["state"], "done");
    }
    house
        .until("/v1/jobs?state=queued,sending", |told| {
            told["jobs"] == json!([])
        })
        .await;
    let seen = seen(&house).await;
    let message = async |id: &str| house.job(id).await["receipt"]["message_id"].clone();
    let (sent, answer) = (message(&sent).await, message(&answer).await);
    let at = |effect: &str, id: &Value| {
        let found = seen.iter().position(|(one, on)| one == effect && on == id);
        found.unwrap_or_else(|| panic!("no {effect} of {id} in {seen:?}"))
    };
    assert!(at("message", &sent) < at("message", &answer));
    assert!(at("message", &answer) < at("pin", &answer));
    assert!(at("reaction", &sent) < at("unreaction", &sent));
    at("edit", &answer);
    for effect in ["batch", "batch_recall", "recall"] {
        assert_eq!(house.effects(effect).await.len(), 1, "{effect}");
    }
    assert_eq!(house.effects("message").await.len(), 3);
}

#[tokio::test]
async fn a_wait_is_as_long_as_asked_and_ends_with_the_job_or_with_the_app() {
    let house = House::with(
        None,
        "[[clients]]\nname = \"hasty\"\ntoken = \"hasty-token\"\nwait = \"0s\"\n",
    )
    .await;
    let mut sdk = house.sdk().await;
    send(&sdk, "by itself", &[]).await.is_feishus().id();
    let held = json!([{"call": SEND, "do": "delay", "when": "before", "ms": 8000}]);
    house.faults(held).await;
    send(&sdk, "now", &[NOW]).await.promise("queued");
    send(&sdk, "slow", &[]).await.promise("queued");
    sdk.log_in("hasty-token").await;
    send(&sdk, "hasty", &[]).await.promise("queued");
    send(&sdk, "patient", &[LONG]).await.is_feishus().id();
    // A pause ends a wait that has begun.
    house
        .faults(json!([{"call": SEND, "do": "429", "when": "before", "reset_s": 60}]))
        .await;
    let waiting = send(&sdk, "stopped", &[("x-relay-wait", "5m")]);
    let stop = async {
        house
            .until("/v1/jobs?state=queued,sending", |told| {
                told["jobs"] != json!([])
            })
            .await;
        pause(&house).await;
    };
    let (said, ()) = tokio::join!(waiting, stop);
    said.promise("queued");
}

#[tokio::test]
async fn a_lost_answer_is_asked_for_again_and_people_see_one_message() {
    let house = House::new().await;
    let sdk = house.sdk().await;
    let lost = json!([{"call": SEND, "do": "drop", "when": "after", "count": 1}]);
    house.faults(lost).await;
    let id = send(&sdk, "once", &[LONG]).await.is_feishus().id();
    let messages = house.effects("message").await;
    assert_eq!(messages.len(), 1);
    assert_eq!(messages[0]["message_id"], *id);
    // What cannot be repeated is told as it is.
    let call = "PATCH /open-apis/im/v1/messages/:message_id/urgent_app";
    house
        .faults(json!([{"call": call, "do": "drop", "when": "after"}]))
        .await;
    let at = of(&id, "/urgent_app?user_id_type=open_id");
    let users = json!({"user_id_list": [DEFAULT_USER]});
    let said = sdk
        .with(
            "PATCH",
            &at,
            users.clone(),
            &[LONG, ("idempotency-key", "k")],
        )
        .await;
    assert_eq!(said.promise("in_doubt"), "");
    let again = sdk
        .with("PATCH", &at, users, &[LONG, ("idempotency-key", "k")])
        .await;
    again.promise("in_doubt");
    assert_eq!(house.effects("urgent_app").await.len(), 1);
}

/// A repeat that is refused because the first one did it is no refusal.
#[tokio::test]
async fn what_was_done_before_its_answer_was_lost_is_answered_as_done() {
    let house = House::new().await;
    let sdk = house.sdk().await;
    let one = json!({"chat_id": DEFAULT_CHAT, "open_id": DEFAULT_USER, "msg_type": "interactive", "card": card("c")});
    let one = sdk
        .with("POST", "/open-apis/ephemeral/v1/send", one, &[LONG])
        .await
        .id();
    let call = "POST /open-apis/ephemeral/v1/delete";
    house
        .faults(json!([{"call": call, "do": "drop", "when": "after", "count": 1}]))
        .await;
    let gone = json!({"message_id": one});
    let said = sdk
        .with("POST", "/open-apis/ephemeral/v1/delete", gone, &[LONG])
        .await;
    assert_eq!((said.status, said.code()), (200, 0), "{said:?}");
    assert_eq!(house.effects("ephemeral_delete").await.len(), 1);
}

#[tokio::test]
async fn a_uuid_gets_the_first_answer_whatever_is_sent_with_it() {
    let mut house = House::new().await;
    let sdk = house.sdk().await;
    let with = async |words: &str, uuid: &str| {
        let mut body = text(DEFAULT_CHAT, words);
        body["uuid"] = json!(uuid);
        sdk.call("POST", TO_CHAT, body).await
    };
    pause(&house).await;
    let first = with("first", "u-1").await.promise("queued");
    assert_eq!(with("other", "u-1").await.promise("queued"), first);
    assert_eq!(
        send(&sdk, "third", &[("idempotency-key", "u-1")])
            .await
            .id(),
        first
    );
    assert_ne!(with("first", "u-2").await.id(), first);
    // The keys of jobs are another space.
    let mut job = support::jobs::message(json!({"key": "u-1"}));
    job["args"]["text"] = json!("native");
    assert_ne!(house.post(job).await["id"], *first);
    resume(&house).await;
    let done = house.settled(&first).await;
    let said = with("late", "u-1").await;
    assert_eq!(said.is_feishus().id(), done["receipt"]["message_id"]);
    let again = with("late", "u-1").await;
    assert_eq!(again.text, said.text);
    house
        .until("/v1/jobs?state=queued,sending", |told| {
            told["jobs"] == json!([])
        })
        .await;
    assert_eq!(house.effects("message").await.len(), 3);
    house.advance(59 * MINUTE).await;
    assert_eq!(with("later", "u-1").await.id(), said.id());
    house.advance(2 * MINUTE).await;
    assert_ne!(with("last", "u-1").await.id(), said.id());
    assert_eq!(house.effects("message").await.len(), 4);
}

#[tokio::test]
async fn a_forwards_uuid_counts_for_its_target_and_a_headers_key_for_its_call() {
    let house = House::new().await;
    let sdk = house.sdk().await;
    let id = send(&sdk, "x", &[LONG]).await.id();
    let forward = async |chat: &str| {
        let at = of(&id, "/forward?receive_id_type=chat_id&uuid=f");
        let said = sdk
            .with("POST", &at, json!({"receive_id": chat}), &[LONG])
            .await;
        said.id()
    };
    let (here, there) = (
        forward(DEFAULT_CHAT).await,
        forward(DEFAULT_SECOND_CHAT).await,
    );
    assert_ne!(here, there);
    assert_eq!(forward(DEFAULT_CHAT).await, here);
    assert_eq!(forward(DEFAULT_SECOND_CHAT).await, there);
    let pin = async |method: &str, path: &str, body: Value| {
        let key = [LONG, ("idempotency-key", "k")];
        let said = sdk.with(method, path, body, &key).await;
        said.is_feishus().body.clone()
    };
    let body = json!({"message_id": id});
    let pinned = pin("POST", PINS, body.clone()).await;
    assert_eq!(pin("POST", PINS, body.clone()).await, pinned);
    pin("DELETE", &format!("{PINS}/{id}"), Value::Null).await;
    assert_eq!(pin("POST", PINS, body).await, pinned);
    assert_eq!(house.effects("pin").await.len(), 1);
    assert_eq!(house.effects("unpin").await.len(), 1);
    // One key for two messages is two calls, each of them once.
    let other = send(&sdk, "y", &[LONG]).await.id();
    for id in [&id, &other, &other] {
        pin("DELETE", &of(id, ""), Value::Null).await;
    }
    assert_eq!(house.effects("recall").await.len(), 2);
}

#[tokio::test]
async fn of_twenty_calls_at_once_with_one_uuid_one_is_sent() {
    let house = House::new().await;
    let sdk = house.sdk().await;
    let headers = [LONG, ("idempotency-key", "race")];
    let calls = (0..20).map(|n| {
        let (sdk, headers) = (&sdk, &headers);
        async move { send(sdk, &format!("number {n}"), headers).await }
    });
    let said = join_all(calls).await;
    let id = said[0].is_feishus().id();
    assert!(said.iter().all(|one| one.text == said[0].text), "{said:?}");
    assert_eq!(house.effects("message").await.len(), 1);
    assert_eq!(house.effects("message").await[0]["message_id"], *id);
}

#[tokio::test]
async fn a_promise_outlives_the_relay_and_so_does_the_token() {
    let mut house = House::without_relay(None, "").await;
    let base = house.on_a_port();
    house.start();
    let mut sdk = house.sdk_at(&base);
    sdk.log_in("x").await;
    house.feishu_down().await;
    let key = [NOW, ("idempotency-key", "k")];
    let sent = send(&sdk, "once", &key).await.promise("queued");
    let pin = json!({"message_id": sent});
    sdk.with("POST", PINS, pin, &[NOW]).await.promise("queued");
    house.kill();
    house.start();
    assert_eq!(send(&sdk, "once", &key).await.promise("queued"), sent);
    house.feishu_up().await;
    resume(&house).await;
    let said = send(&sdk, "once", &[LONG, ("idempotency-key", "k")]).await;
    let id = said.is_feishus().id();
    house.kill();
    house.start();
    let again = send(&sdk, "once", &[LONG, ("idempotency-key", "k")]).await;
    assert_eq!(again.is_feishus().text, said.text);
    let at = format!("{PINS}/{sent}");
    let said = sdk.with("DELETE", &at, Value::Null, &[LONG]).await;
    assert_eq!(said.is_feishus().code(), 0);
    let expected = ["message", "pin", "unpin"].map(|effect| (effect.to_owned(), id.clone()));
    assert_eq!(seen(&house).await, expected);
}

#[tokio::test]
async fn a_promise_that_failed_is_answered_with_feishus_refusal() {
    let house = House::new().await;
    let sdk = house.sdk().await;
    let mut straight = house.sdk_at(&house.feishu);
    straight.log_in(DEFAULT_APP_SECRET).await;
    let body = text(DEFAULT_CLOSED_CHAT, "x");
    let refused = straight.call("POST", TO_CHAT, body.clone()).await;
    assert_ne!(refused.code(), 0);
    pause(&house).await;
    let sent = sdk
        .call("POST", TO_CHAT, body.clone())
        .await
        .promise("queued");
    let said = sdk.call("POST", &of(&sent, "/reply"), reply("a")).await;
    let answer = said.promise("queued");
    resume(&house).await;
    let check = |said: Said| {
        assert_eq!(said.status, refused.status, "{said:?}");
        assert_eq!(plain(&said.is_feishus().body), plain(&refused.body));
    };
    // Also of one that hangs on one that hangs on it.
    check(
        sdk.with("POST", PINS, json!({"message_id": answer}), &[LONG])
            .await,
    );
    assert_eq!(house.settled(&sent).await["state"], "failed");
    check(
        sdk.with("POST", PINS, json!({"message_id": answer}), &[LONG])
            .await,
    );
    check(
        sdk.with("POST", &of(&sent, "/reply"), reply("b"), &[LONG])
            .await,
    );
    // A read on either is told the same.
    check(sdk.with("GET", &of(&sent, ""), Value::Null, &[LONG]).await);
    check(
        sdk.with("GET", &of(&answer, ""), Value::Null, &[LONG])
            .await,
    );
    assert_eq!(house.effects("message").await.len(), 0);
    // It frees its uuid.
    let mut body = body;
    body["uuid"] = json!("u");
    check(sdk.with("POST", TO_CHAT, body.clone(), &[LONG]).await);
    body["receive_id"] = json!(DEFAULT_CHAT);
    sdk.with("POST", TO_CHAT, body, &[LONG])
        .await
        .is_feishus()
        .id();
}

#[tokio::test]
async fn what_expired_or_was_canceled_says_so_and_frees_its_uuid() {
    let mut house = House::new().await;
    let sdk = house.sdk().await;
    pause(&house).await;
    let key = ("idempotency-key", "k");
    let short = [("x-relay-expires", "5m"), key];
    let sent = send(&sdk, "short", &short).await.promise("queued");
    let said = sdk.call("POST", &of(&sent, "/reply"), reply("a")).await;
    let answer = said.promise("queued");
    let hour = send(&sdk, "hour", &[]).await.promise("queued");
    house.advance(6 * MINUTE).await;
    assert_eq!(house.settled(&sent).await["state"], "expired");
    let pin = |id: &str| json!({"message_id": id});
    for id in [&sent, &answer] {
        let said = sdk.call("POST", PINS, pin(id)).await;
        said.refuses(400, 990_001);
    }
    let next = send(&sdk, "next", &[key]).await.promise("queued");
    assert_ne!(next, sent);
    assert_eq!(house.act(&next, "cancel", None).await.0, 200);
    sdk.call("POST", PINS, pin(&next))
        .await
        .refuses(400, 990_002);
    assert_ne!(send(&sdk, "next", &[key]).await.promise("queued"), next);
    house.advance(HOUR).await;
    assert_eq!(house.settled(&hour).await["state"], "expired");
    // For the call itself too.
    resume(&house).await;
    house
        .faults(json!([{"call": SEND, "do": "429", "when": "before", "reset_s": 600}]))
        .await;
    let waiting = send(&sdk, "waits", &[LONG, ("x-relay-expires", "1m")]);
    let cancel = async {
        let told = house
            .until("/v1/jobs?state=queued", |told| told["jobs"] != json!([]))
            .await;
        let id = told["jobs"][0]["id"].as_str().unwrap().to_owned();
        house.act(&id, "cancel", None).await
    };
    let (said, (status, _)) = tokio::join!(waiting, cancel);
    assert_eq!(status, 200);
    said.refuses(400, 990_002);
    assert_eq!(house.effects("message").await.len(), 0);
}

#[tokio::test]
async fn what_cannot_be_kept_is_refused_in_feishus_shape_and_changes_nothing() {
    let more = "[queue]\nmax_pending = 1\n";
    let house = House::with(None, more).await;
    let sdk = house.sdk().await;
    let raw = async |body: &'static str| {
        let request = sdk.request("POST", TO_CHAT).bearer_auth(&sdk.token);
        Said::of(request.body(body)).await
    };
    for body in ["{", "[1]", "\"x\"", "{\"a\":\"\\ud800\"}"] {
        raw(body).await.refuses(400, 9499);
    }
    for header in [
        ("x-relay-wait", "soon"),
        ("x-relay-expires", "0"),
        ("x-relay-expires", "-1s"),
        ("idempotency-key", ""),
    ] {
        send(&sdk, "x", &[header]).await.refuses(400, 99_992_402);
    }
    let twice = [NOW, LONG];
    send(&sdk, "x", &twice).await.refuses(400, 99_992_402);
    let (_, jobs) = house.request("GET", "/v1/jobs", None).await;
    assert_eq!(jobs["jobs"], json!([]));
    pause(&house).await;
    send(&sdk, "fits", &[]).await.promise("queued");
    let full = send(&sdk, "does not", &[]).await;
    full.refuses(503, 990_005);
    assert_eq!(full.header("retry-after"), "5");
    // A job that is not there is a text like any other: Feishu says what it is.
    resume(&house).await;
    house
        .until("/v1/jobs?state=queued,sending", |told| {
            told["jobs"] == json!([])
        })
        .await;
    let none = "job_0192a0000000700080000000000000aa";
    let said = sdk
        .with("POST", PINS, json!({"message_id": none}), &[LONG])
        .await;
    assert_eq!(said.is_feishus().code(), 230_001);
}

#[tokio::test]
async fn a_client_does_only_what_it_may() {
    let clients = r#"
[[clients]]
name = "reader"
token = "reader-token"
scopes = ["read"]
[[clients]]
name = "pinner"
token = "pinner-token"
kinds = ["pin"]
labels = { team = "db" }
priority = "high"
expires_in = "15m"
"#;
    let house = House::with(None, clients).await;
    let mut sdk = house.sdk().await;
    let id = send(&sdk, "x", &[LONG]).await.id();
    sdk.log_in("reader-token").await;
    send(&sdk, "x", &[]).await.refuses(403, 99_991_672);
    sdk.log_in("pinner-token").await;
    send(&sdk, "x", &[]).await.refuses(403, 99_991_672);
    let said = sdk
        .with("POST", PINS, json!({"message_id": id}), &[LONG])
        .await;
    assert_eq!(said.is_feishus().code(), 0);
    let (_, jobs) = house.request("GET", "/v1/jobs?kind=pin", None).await;
    let job = &jobs["jobs"][0];
    assert_eq!(job["client"], "pinner");
    assert_eq!(job["labels"], json!({"team": "db"}));
    assert_eq!(job["priority"], "high");
    // Two clients do not share their uuids.
    assert_eq!(house.effects("message").await.len(), 1);
}
