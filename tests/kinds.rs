//! Replies, edits, forwards, bubbles, reactions and cards: what people see, what is kept, and who waits for whom.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on should stop here"
)]

mod support;

use feishu_sandbox::{DEFAULT_CHAT, DEFAULT_SECOND_CHAT, DEFAULT_USER, DEFAULT_USERS};
use serde_json::{Value, json};
use support::House;
use support::jobs::{
    MINUTE, PIXEL, SECOND, SEND, acted, child, doubtful, id, message, pass, post, sent, tried,
    until_state,
};

const REPLY: &str = "POST /open-apis/im/v1/messages/:message_id/reply";

fn of(kind: &str, args: Value) -> Value {
    json!({"kind": kind, "args": args})
}

fn card(word: &str) -> Value {
    json!({"schema": "2.0", "config": {"update_multi": true},
           "body": {"elements": [{"tag": "markdown", "content": word}]}})
}

/// The job of that kind once it is done.
async fn done(house: &House, kind: &str, args: Value) -> Value {
    let id = post(house, of(kind, args)).await;
    let job = house.settled(&id).await;
    assert_eq!(job["state"], "done", "{job:#}");
    job
}

fn made(job: &Value) -> String {
    job["receipt"]["message_id"].as_str().unwrap().to_owned()
}

async fn refused(house: &House, job: Value, pointers: &[&str]) {
    let (status, problem) = house.request("POST", "/v1/jobs", Some(job.clone())).await;
    assert_eq!(status, 422, "{job}: {problem}");
    let found: Vec<&str> = problem["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|error| error["pointer"].as_str().unwrap())
        .collect();
    assert_eq!(found, pointers, "{job}: {problem:#}");
}

#[tokio::test]
async fn each_kind_does_what_it_says_and_keeps_what_feishu_answered() {
    let house = House::new().await;
    let first = sent(&house).await;
    let job = done(
        &house,
        "reply",
        json!({"message": first, "text": "on it", "in_thread": true}),
    )
    .await;
    assert_eq!(
        (&job["receipt"]["parent_id"], &job["lane"]),
        (&json!(first), &json!(first))
    );
    let thread = job["receipt"]["thread_id"].clone();
    let reply = made(&job);
    let (status, found) = house
        .request("GET", &format!("/v1/jobs/{reply}"), None)
        .await;
    assert_eq!((status, &found["id"]), (200, &job["id"]));

    done(
        &house,
        "edit",
        json!({"message_id": first, "msg_type": "text", "content": "{\"text\":\"better now\"}"}),
    )
    .await;
    let job = done(
        &house,
        "forward",
        json!({"message": first, "to": DEFAULT_SECOND_CHAT}),
    )
    .await;
    assert_eq!(
        (&job["receipt"]["chat_id"], &job["to"], &job["lane"]),
        (
            &json!(DEFAULT_SECOND_CHAT),
            &json!(DEFAULT_SECOND_CHAT),
            &json!(DEFAULT_SECOND_CHAT)
        )
    );
    let second = sent(&house).await;
    let job = done(
        &house,
        "merge_forward",
        json!({"messages": [first, second], "receive_id": DEFAULT_USER}),
    )
    .await;
    let merged = job["receipt"]["message"]["message_id"].as_str().unwrap();
    let (_, found) = house
        .request("GET", &format!("/v1/jobs/{merged}"), None)
        .await;
    assert_eq!(found["id"], job["id"]);
    let to_thread = json!({"message": second, "to": thread, "to_type": "thread_id"});
    let job = done(&house, "forward", to_thread).await;
    assert_eq!(job["receipt"]["thread_id"], thread);
    done(
        &house,
        "forward_thread",
        json!({"thread": thread, "to": DEFAULT_SECOND_CHAT}),
    )
    .await;

    let private = post(
        &house,
        message(json!({"args": {"to": DEFAULT_USER, "text": "lunch?"}})),
    )
    .await;
    let bubbles = json!({"message": private, "bubbles": ["yes", {"content": "no", "i18n_contents": [{"content": "不", "language": "zh_cn"}]}]});
    let job = done(&house, "follow_up", bubbles).await;
    assert_eq!(job["lane"], DEFAULT_USER);

    let job = done(&house, "react", json!({"message": first, "emoji": "OK"})).await;
    let reaction = job["receipt"]["reaction_id"].clone();
    done(
        &house,
        "unreact",
        json!({"message": first, "reaction": reaction}),
    )
    .await;

    let shown = done(
        &house,
        "send",
        json!({"to": DEFAULT_CHAT, "card": card("0 %")}),
    )
    .await;
    done(
        &house,
        "update_card",
        json!({"message": made(&shown), "card": card("50 %")}),
    )
    .await;
    let click =
        json!({"do": "click", "user": DEFAULT_USER, "message": made(&shown), "value": {"a": 1}});
    let click = house.control("act", click).await;
    let job = done(
        &house,
        "delay_update_card",
        json!({"token": click["token"], "card": card("100 %")}),
    )
    .await;
    assert!(
        job["lane"].as_str().unwrap().starts_with("click-"),
        "{job:#}"
    );
    assert!(job["to"].is_null());

    let job = done(
        &house,
        "send_ephemeral",
        json!({"chat": DEFAULT_CHAT, "user": DEFAULT_USER, "card": card("for you")}),
    )
    .await;
    done(&house, "delete_ephemeral", json!({"message": made(&job)})).await;

    let count = |name: &'static str| house.effects(name);
    for (effect, n) in [
        ("edit", 1),
        ("follow_up", 1),
        ("reaction", 1),
        ("unreaction", 1),
        ("card_update", 2),
        ("ephemeral", 1),
        ("ephemeral_delete", 1),
    ] {
        assert_eq!(count(effect).await.len(), n, "{effect}");
    }
    // Two sends, a reply, two forwards, a merged one, a thread, the private one and the card.
    assert_eq!(count("message").await.len(), 9);
}

#[tokio::test]
async fn what_feishus_limits_rule_out_is_refused_at_its_place_and_nothing_is_stored() {
    let house = House::new().await;
    let many: Vec<String> = (0..101).map(|n| format!("om_{n}")).collect();
    let long = "x".repeat(201);
    for (kind, args, pointers) in [
        (
            "reply",
            json!({"message": "om_1", "system": "later"}),
            vec!["/args/system"],
        ),
        (
            "reply",
            json!({"text": "a", "in_thread": "yes"}),
            vec!["/args/message", "/args/in_thread"],
        ),
        (
            "edit",
            json!({"message": "om_1", "card": card("a")}),
            vec!["/args/card"],
        ),
        (
            "forward",
            json!({"message": "om_1", "to": "oc_1", "to_type": "thread"}),
            vec!["/args/to_type"],
        ),
        (
            "merge_forward",
            json!({"messages": many, "to": "oc_1"}),
            vec!["/args/messages"],
        ),
        (
            "merge_forward",
            json!({"messages": ["om_1", "bm-2"], "to": "oc_1"}),
            vec!["/args/messages/1"],
        ),
        (
            "forward_thread",
            json!({"thread": "om_1", "to": "oc_1"}),
            vec!["/args/thread"],
        ),
        (
            "follow_up",
            json!({"message": "om_1", "bubbles": ["a", "b", "c", "d"]}),
            vec!["/args/bubbles"],
        ),
        (
            "follow_up",
            json!({"message": "om_1", "bubbles": ["", {"content": long}]}),
            vec!["/args/bubbles/0", "/args/bubbles/1/content"],
        ),
        (
            "follow_up",
            json!({"message": "om_1", "bubbles": [{"content": "a", "i18n_contents": [{"content": "b", "language": "tlh"}]}]}),
            vec!["/args/bubbles/0/i18n_contents/0/language"],
        ),
        (
            "react",
            json!({"message": "om_1", "emoji": "not one"}),
            vec!["/args/emoji"],
        ),
        (
            "unreact",
            json!({"message": "om_1"}),
            vec!["/args/reaction"],
        ),
        (
            "update_card",
            json!({"message": "om_1", "text": "a"}),
            vec!["/args/card", "/args/text"],
        ),
        (
            "delay_update_card",
            json!({"card": card("a")}),
            vec!["/args/token"],
        ),
        (
            "send_ephemeral",
            json!({"chat": "ou_1", "user": "on_1", "card": card("a")}),
            vec!["/args/chat", "/args/user"],
        ),
        (
            "delete_ephemeral",
            json!({"message": "bm-1"}),
            vec!["/args/message"],
        ),
        (
            "update_url_previews",
            json!({"preview_tokens": [], "open_ids": "all"}),
            vec!["/args/preview_tokens", "/args/open_ids"],
        ),
        (
            "send",
            json!({"to": "omt_1", "text": "a"}),
            vec!["/args/to"],
        ),
    ] {
        refused(&house, of(kind, args), &pointers).await;
    }
    let (_, list) = house.request("GET", "/v1/jobs", None).await;
    assert_eq!(list["jobs"], json!([]));
}

#[tokio::test]
async fn children_take_the_message_the_reaction_and_the_card_of_their_parent() {
    let house = House::new().await;
    let then = json!([{"kind": "react", "args": {"emoji": "OK"}}, {"kind": "reply", "args": {"text": "see below"}},
                      {"kind": "forward", "args": {"to": DEFAULT_SECOND_CHAT}}]);
    let parent = house
        .settled(&post(&house, message(json!({"then": then}))).await)
        .await;
    let shown = made(&parent);
    for n in 0..3 {
        let job = house.settled(&child(&parent, n)).await;
        assert_eq!(job["state"], "done", "{job:#}");
    }
    assert_eq!(
        house.effects("reaction").await[0]["message_id"],
        json!(shown)
    );
    let reply = json!({"kind": "reply", "args": {"message": shown, "text": "pinned"}, "then": [{"kind": "pin"}]});
    let reply = house.settled(&post(&house, reply).await).await;
    assert_eq!(house.settled(&child(&reply, 0)).await["state"], "done");
    assert_eq!(
        house.effects("pin").await[0]["message_id"],
        json!(made(&reply))
    );
    let react = json!({"kind": "react", "args": {"message": shown, "emoji": "DONE"}, "then": [{"kind": "unreact"}]});
    let react = house.settled(&post(&house, react).await).await;
    let unreact = house.settled(&child(&react, 0)).await;
    assert_eq!(unreact["state"], "done", "{unreact:#}");
    let own = json!({"kind": "send_ephemeral", "args": {"chat": DEFAULT_CHAT, "user": DEFAULT_USER, "card": card("a")},
                     "then": [{"kind": "delete_ephemeral"}]});
    let own = house.settled(&post(&house, own).await).await;
    assert_eq!(house.settled(&child(&own, 0)).await["state"], "done");
    // What is no message cannot be pinned, and what is no card for one member not be deleted as one.
    let job = json!({"kind": "pin", "args": {"message": own["id"]}});
    refused(&house, job, &["/args/message"]).await;
    let job = json!({"kind": "delete_ephemeral", "args": {"message": parent["id"]}});
    refused(&house, job, &["/args/message"]).await;
}

#[tokio::test]
async fn a_job_named_in_a_list_or_in_the_content_is_waited_for_and_its_id_takes_its_place() {
    let house = House::new().await;
    let upload = post(
        &house,
        json!({"kind": "upload_image", "args": {"data": PIXEL}, "delay": "1s"}),
    )
    .await;
    let picture =
        json!({"tag": "img", "img_key": upload, "alt": {"tag": "plain_text", "content": "a"}});
    let twice = json!({"schema": "2.0", "body": {"elements": [picture, picture]}});
    let shown = post(
        &house,
        of("send", json!({"to": DEFAULT_CHAT, "card": twice})),
    )
    .await;
    let raw = json!({"to": DEFAULT_CHAT, "msg_type": "image", "content": json!({"image_key": upload}).to_string()});
    let plain = post(&house, of("send", raw)).await;
    let all = post(
        &house,
        of(
            "merge_forward",
            json!({"messages": [shown, plain, shown], "to": DEFAULT_SECOND_CHAT}),
        ),
    )
    .await;
    let pin = post(&house, of("pin", json!({"message": all}))).await;
    assert_eq!(house.job(&shown).await["waiting_for"], "dependency");
    let pin = house.settled(&pin).await;
    assert_eq!(pin["state"], "done", "{pin:#}");
    let key = house.job(&upload).await["receipt"]["image_key"].clone();
    let seen = house.effects("message").await;
    let card: Value = match &seen[0]["content"] {
        Value::String(text) => serde_json::from_str(text).unwrap(),
        other => other.clone(),
    };
    assert_eq!(card["body"]["elements"][1]["img_key"], key);
    assert_eq!(seen.len(), 3);
    // Once all is done a name is as good as an id.
    let late = done(
        &house,
        "merge_forward",
        json!({"messages": [shown, plain], "to": DEFAULT_CHAT}),
    )
    .await;
    assert_eq!(late["attempts"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn who_names_a_job_is_canceled_with_it_and_waits_while_it_is_in_doubt() {
    let mut house = House::new().await;
    house
        .faults(json!([{"call": SEND, "do": "code", "code": 230022, "count": 1}]))
        .await;
    let first = post(&house, message(json!({"delay": "1s"}))).await;
    let second = post(
        &house,
        of(
            "merge_forward",
            json!({"messages": [first], "to": DEFAULT_SECOND_CHAT}),
        ),
    )
    .await;
    let third = post(
        &house,
        of("react", json!({"message": second, "emoji": "OK"})),
    )
    .await;
    assert_eq!(house.settled(&third).await["state"], "canceled");
    assert_eq!(house.job(&second).await["error"]["class"], "dependency");
    acted(&house, &first, "retry", Value::Null).await;
    assert_eq!(house.settled(&third).await["state"], "done");

    let lost = doubtful(&house, json!({})).await;
    let waits = post(
        &house,
        of(
            "merge_forward",
            json!({"messages": [lost], "to": DEFAULT_SECOND_CHAT}),
        ),
    )
    .await;
    assert_eq!(house.job(&lost).await["state"], "in_doubt");
    house.advance(MINUTE).await;
    assert_eq!(house.job(&waits).await["waiting_for"], "dependency");
    let shown = house.effects("message").await;
    let id = shown
        .iter()
        .rfind(|effect| effect["uuid"] == json!(lost.trim_start_matches("job_")))
        .unwrap()["message_id"]
        .clone();
    acted(
        &house,
        &lost,
        "settle",
        json!({"state": "done", "message_id": id}),
    )
    .await;
    assert_eq!(house.settled(&waits).await["state"], "done");
}

#[tokio::test]
async fn a_name_that_leads_nowhere_or_to_another_thing_is_refused_and_words_are_words() {
    let house = House::new().await;
    let nobody = "job_0192a000000070008000000000000000";
    let upload = post(
        &house,
        json!({"kind": "upload_image", "args": {"data": PIXEL}}),
    )
    .await;
    refused(
        &house,
        of(
            "merge_forward",
            json!({"messages": ["om_1", nobody], "to": DEFAULT_CHAT}),
        ),
        &["/args/messages/1"],
    )
    .await;
    refused(
        &house,
        of(
            "merge_forward",
            json!({"messages": [upload], "to": DEFAULT_CHAT}),
        ),
        &["/args/messages/0"],
    )
    .await;
    refused(
        &house,
        of("unreact", json!({"message": "om_1", "reaction": upload})),
        &["/args/reaction"],
    )
    .await;
    let pin = post(&house, of("pin", json!({"message": "om_1"}))).await;
    let card = json!({"elements": [{"tag": "img", "img_key": pin}]});
    refused(
        &house,
        of("send", json!({"to": DEFAULT_CHAT, "card": card})),
        &["/args/card/elements/0/img_key"],
    )
    .await;
    done(&house, "send", json!({"to": DEFAULT_CHAT, "text": nobody})).await;
}

#[tokio::test]
async fn a_lost_answer_of_a_reply_and_of_the_forwards_is_repeated_under_its_uuid() {
    let mut house = House::new().await;
    let first = sent(&house).await;
    let drop = |call: &str| json!({"call": call, "do": "drop", "when": "after", "count": 1});
    house
        .faults(json!([
            drop(REPLY),
            drop("POST /open-apis/im/v1/messages/:message_id/forward"),
            drop("POST /open-apis/im/v1/messages/merge_forward")
        ]))
        .await;
    let before = house.effects("message").await.len();
    let mut ids = Vec::new();
    for job in [
        of("reply", json!({"message": first, "text": "on it"})),
        of("forward", json!({"message": first, "to": DEFAULT_USERS[1]})),
        of(
            "merge_forward",
            json!({"messages": [first], "to": DEFAULT_USERS[2]}),
        ),
    ] {
        ids.push(post(&house, job).await);
    }
    for id in &ids {
        let job = house.settled(id).await;
        assert_eq!(job["state"], "done", "{job:#}");
        assert_eq!(job["attempts"][0]["outcome"], "unknown");
    }
    assert_eq!(house.effects("message").await.len(), before + 3);
    house.advance(SECOND).await;
}

#[tokio::test]
async fn a_card_for_one_member_whose_answer_is_lost_is_in_doubt_and_shown_once() {
    let house = House::new().await;
    let call = "POST /open-apis/ephemeral/v1/send";
    house
        .faults(json!([{"call": call, "do": "drop", "when": "after", "count": 1}]))
        .await;
    let args = json!({"chat": DEFAULT_CHAT, "user": DEFAULT_USER, "card": card("a")});
    let lost = post(&house, of("send_ephemeral", args)).await;
    let job = until_state(&house, &lost, "in_doubt").await;
    assert_eq!(job["attempts"].as_array().unwrap().len(), 1);
    assert_eq!(house.effects("ephemeral").await.len(), 1);
    assert_eq!(id(&job), lost);
}

/// Lets the relay look what an attempt did, and then write again where it did nothing.
async fn looked(house: &mut House, id: &str) {
    pass(house, MINUTE).await;
    let two = |job: &Value| job["attempts"].as_array().unwrap().len() >= 2;
    house.until(&format!("/v1/jobs/{id}"), two).await;
    // A job that is unknown for so long waits up to five minutes between its attempts.
    pass(house, 6 * MINUTE).await;
}

#[tokio::test]
async fn a_reaction_whose_answer_is_lost_is_looked_for_before_it_is_added_again() {
    let call = "POST /open-apis/im/v1/messages/:message_id/reactions";
    let remove = "DELETE /open-apis/im/v1/messages/:message_id/reactions/:reaction_id";
    for (when, writes) in [("after", 1), ("before", 2)] {
        let mut house = House::new().await;
        let message = sent(&house).await;
        // Other people's of the same kind are not taken for the bot's, on whatever page it stands.
        for user in DEFAULT_USERS {
            let act = json!({"do": "react", "user": user, "message": message, "emoji": "OK"});
            house.control("act", act).await;
        }
        let drop = |call: &str| json!([{"call": call, "do": "drop", "when": when, "count": 1}]);
        house.faults(drop(call)).await;
        let react = of("react", json!({"message": message, "emoji": "OK"}));
        let react = post(&house, react).await;
        tried(&house, &react, 1).await;
        looked(&mut house, &react).await;
        let job = house.settled(&react).await;
        assert_eq!(job["state"], "done", "{when} {job:#}");
        assert_eq!(house.effects("reaction").await.len(), 1, "{when}");
        assert_eq!(house.calls(call).await["made"], writes, "{when}");
        let reaction = job["receipt"]["reaction_id"].as_str().unwrap();

        house.faults(drop(remove)).await;
        let args = json!({"message": message, "reaction": reaction});
        let unreact = post(&house, of("unreact", args)).await;
        tried(&house, &unreact, 1).await;
        looked(&mut house, &unreact).await;
        let job = house.settled(&unreact).await;
        assert_eq!(job["state"], "done", "{when} {job:#}");
        assert_eq!(house.effects("unreaction").await.len(), 1);
        assert_eq!(house.calls(remove).await["made"], writes, "{when}");
    }
}

#[tokio::test]
async fn a_click_serves_once_more_without_a_look_and_then_the_update_is_in_doubt() {
    for (lost, state) in [(1, "done"), (2, "in_doubt")] {
        let mut house = House::new().await;
        let shown = json!({"to": DEFAULT_CHAT, "card": card("0 %")});
        let shown = made(&done(&house, "send", shown).await);
        let click =
            json!({"do": "click", "user": DEFAULT_USER, "message": shown, "value": {"a": 1}});
        let click = house.control("act", click).await;
        let call = "POST /open-apis/interactive/v1/card/update";
        house
            .faults(json!([{"call": call, "do": "drop", "when": "after", "count": lost}]))
            .await;
        let update = json!({"token": click["token"], "card": card("100 %")});
        let update = post(&house, of("delay_update_card", update)).await;
        tried(&house, &update, 1).await;
        pass(&mut house, MINUTE).await;
        let job = until_state(&house, &update, state).await;
        assert_eq!(job["attempts"].as_array().unwrap().len(), 2, "{job:#}");
        if state == "in_doubt" {
            // Both uses are gone: that is proof enough for whoever asks once more.
            acted(&house, &update, "retry", Value::Null).await;
            assert_eq!(house.settled(&update).await["state"], "done");
        }
    }
}
