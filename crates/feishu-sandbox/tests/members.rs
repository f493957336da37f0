//! Cards for one member, updates after a click, link previews.

mod common;

use common::{Room, SEND, Told, id, message};
use feishu_sandbox::{
    DEFAULT_CHAT, DEFAULT_CLOSED_CHAT, DEFAULT_UNREACHABLE_USER, DEFAULT_USER, DEFAULT_USERS,
    Options,
};
use serde_json::{Value, json};
use tempfile::TempDir;

const SHOW: &str = "/open-apis/ephemeral/v1/send";
const HIDE: &str = "/open-apis/ephemeral/v1/delete";
const UPDATE: &str = "/open-apis/interactive/v1/card/update";
const PREVIEWS: &str = "/open-apis/im/v2/url_previews/batch_update";
const APPS: &str = r#"[{"app_id":"cli_5a9db0c5a9db0c5a","app_secret":"sandbox-secret"},
                       {"app_id":"cli_b","app_secret":"b"}]"#;

fn card(words: &str, multi: bool) -> Value {
    json!({
        "config": { "update_multi": multi },
        "elements": [{ "tag": "div", "text": { "tag": "plain_text", "content": words } }],
    })
}

fn to_member(user: &str) -> Value {
    json!({ "chat_id": DEFAULT_CHAT, "open_id": user, "msg_type": "interactive",
            "card": card("only you", true) })
}

#[tokio::test]
async fn a_card_for_one_member_is_shown_once_per_call_and_taken_away_once() {
    let room = Room::new().await;
    let first = id(&room.call("POST", SHOW, to_member(DEFAULT_USER)).await);
    let second = id(&room.call("POST", SHOW, to_member(DEFAULT_USER)).await);
    assert!(first.starts_with("om_"));
    assert_ne!(first, second);
    let gone = json!({ "message_id": first });
    room.call("POST", HIDE, gone.clone()).await.ok();
    room.call("POST", HIDE, gone).await.is(200, 18_051);
    let shown = room.effects("ephemeral").await;
    assert_eq!(shown.len(), 2);
    assert_eq!(shown[0]["users"], json!([DEFAULT_USER]));
    assert_eq!(shown[0]["content"], card("only you", true));
    let hidden = room.effects("ephemeral_delete").await;
    assert_eq!(hidden.len(), 1);
    assert_eq!(hidden[0]["message_id"], first);
    // It is no message: neither history nor the message calls know it.
    let history =
        format!("/open-apis/im/v1/messages?container_id_type=chat&container_id={DEFAULT_CHAT}");
    assert_eq!(room.get(&history).await.ok()["items"], json!([]));
    room.get(&format!("/open-apis/im/v1/messages/{second}"))
        .await
        .is(400, 230_001);
}

#[tokio::test]
async fn a_member_is_named_by_the_first_of_their_ids() {
    let room = Room::new().await;
    let mut body = to_member(DEFAULT_USERS[1]);
    body["email"] = json!("lin.wei@sandbox.example");
    room.call("POST", SHOW, body.clone()).await.ok();
    body.as_object_mut().unwrap().remove("open_id");
    room.call("POST", SHOW, body).await.ok();
    let users: Vec<Value> = (room.effects("ephemeral").await.iter())
        .map(|effect| effect["users"][0].clone())
        .collect();
    assert_eq!(users, [DEFAULT_USERS[1], DEFAULT_USER]);
}

#[tokio::test]
async fn a_card_for_one_member_that_can_not_be_is_refused() {
    let seed = format!(r#"{{"apps":{APPS}}}"#);
    let room = Room::with(&seed).await;
    let with = |name: &str, value: Value| {
        let mut body = to_member(DEFAULT_USER);
        body[name] = value;
        body
    };
    for (body, code) in [
        (json!({}), 10_003),
        (with("msg_type", json!("text")), 10_003),
        (with("card", json!("{}")), 10_003),
        (with("open_id", json!("")), 10_003),
        (with("open_id", json!(DEFAULT_UNREACHABLE_USER)), 10_003),
        (with("open_id", json!("ou_0")), 11_101),
        (with("chat_id", json!("oc_0")), 11_231),
        (with("chat_id", json!(DEFAULT_CLOSED_CHAT)), 230_002),
        (with("card", json!({})), 11_246),
        (with("card", card(&"x".repeat(30_000), true)), 19_036),
    ] {
        room.call("POST", SHOW, body).await.is(200, code);
    }
    let talk = room
        .call(
            "POST",
            "/open-apis/im/v1/messages?receive_id_type=open_id",
            message(DEFAULT_USER, "text", json!({ "text": "hi" })),
        )
        .await;
    let p2p = with("chat_id", talk.ok()["chat_id"].clone());
    room.call("POST", SHOW, p2p).await.is(200, 10_003);
    let own = id(&room.call("POST", SHOW, to_member(DEFAULT_USER)).await);
    let other = room.token_of("cli_b", "b").await.unwrap();
    for (token, body) in [
        (&room.token, json!({})),
        (&room.token, json!({ "message_id": "om_0" })),
        (&other, json!({ "message_id": own })),
    ] {
        room.call_as(token, "POST", HIDE, body)
            .await
            .is(200, 10_003);
    }
    let strict = Room::with(r#"{"switches":{"old_http":400}}"#).await;
    strict.call("POST", HIDE, json!({})).await.is(400, 10_003);
}

#[tokio::test]
async fn a_group_takes_so_many_cards_for_members_in_a_second() {
    let room = Room::with(r#"{"limits":{"ephemeral_second":2}}"#).await;
    room.align().await;
    for _ in 0..2 {
        room.call("POST", SHOW, to_member(DEFAULT_USER)).await.ok();
    }
    room.call("POST", SHOW, to_member(DEFAULT_USER))
        .await
        .is(200, 11_233);
    let counts = room.counts("POST /open-apis/ephemeral/v1/send").await;
    assert_eq!(counts["limited"], 1);
    room.advance("1s").await;
    room.call("POST", SHOW, to_member(DEFAULT_USER)).await.ok();
}

async fn send(room: &Room, card: Value) -> String {
    id(&room
        .call("POST", SEND, message(DEFAULT_CHAT, "interactive", card))
        .await)
}

async fn click(room: &Room, sent: &str) -> String {
    let act = json!({ "do": "click", "user": DEFAULT_USER, "message": sent, "value": { "a": 1 } });
    room.act(act).await["token"]
        .as_str()
        .expect("a token")
        .to_owned()
}

async fn update(room: &Room, token: &str, card: Value) -> Told {
    let body = json!({ "token": token, "card": card });
    room.call("POST", UPDATE, body).await
}

#[tokio::test]
async fn a_click_is_good_for_two_updates_in_half_an_hour() {
    let room = Room::new().await;
    let sent = send(&room, card("question", true)).await;
    let token = click(&room, &sent).await;
    let told = update(&room, &token, card("answer", true)).await;
    assert_eq!(told.ok(), &json!({}));
    // The same card again is no effect and still spends a use.
    update(&room, &token, card("answer", true)).await.ok();
    update(&room, &token, card("answer", true))
        .await
        .is(200, 300_040);
    let effects = room.effects("card_update").await;
    assert_eq!(effects.len(), 1);
    assert_eq!(
        effects[0]["call"],
        "POST /open-apis/interactive/v1/card/update"
    );
    assert_eq!(effects[0]["content"], card("answer", true).to_string());
    let path = format!("/open-apis/im/v1/messages/{sent}?card_msg_content_type=user_card_content");
    let got = room.get(&path).await;
    assert_eq!(
        got.ok()["items"][0]["body"]["content"],
        card("answer", true).to_string()
    );
    let late = click(&room, &sent).await;
    room.advance("31m").await;
    update(&room, &late, card("x", true)).await.is(200, 300_030);
}

#[tokio::test]
async fn an_update_after_a_click_that_can_not_be_is_refused() {
    let seed = format!(r#"{{"apps":{APPS}}}"#);
    let room = Room::with(&seed).await;
    let sent = send(&room, card("question", true)).await;
    let token = click(&room, &sent).await;
    update(&room, "x-1", card("x", true)).await.is(200, 300_020);
    update(&room, "c-1", card("x", true)).await.is(200, 300_020);
    update(&room, &token, json!("{}")).await.is(200, 100_030);
    update(&room, &token, json!({})).await.is(200, 11_311);
    update(&room, &token, card(&"x".repeat(30_000), true))
        .await
        .is(200, 100_000);
    let other = room.token_of("cli_b", "b").await.unwrap();
    let body = json!({ "token": token, "card": card("x", true) });
    room.call_as(&other, "POST", UPDATE, body)
        .await
        .is(200, 200_310);
    let raw = room.request("POST", UPDATE).body("no json");
    common::told(raw.send().await.unwrap())
        .await
        .is(200, 100_030);
    let path = format!("/open-apis/im/v1/messages/{sent}");
    room.call("DELETE", &path, Value::Null).await.ok();
    update(&room, &token, card("x", true))
        .await
        .is(200, 200_000);
    // None of them has spent a use of another card's click.
    assert!(room.effects("card_update").await.is_empty());
}

#[tokio::test]
async fn a_card_that_is_not_shared_changes_for_those_it_names() {
    let room = Room::new().await;
    let sent = send(&room, card("question", false)).await;
    let token = click(&room, &sent).await;
    update(&room, &token, card("mine", false))
        .await
        .is(200, 200_320);
    let mut own = card("mine", false);
    own["open_ids"] = json!(["ou_0"]);
    update(&room, &token, own.clone()).await.is(200, 10_002);
    own["open_ids"] = json!([DEFAULT_USER]);
    update(&room, &token, own.clone()).await.ok();
    update(&room, &token, own).await.ok();
    let effects = room.effects("card_update").await;
    assert_eq!(effects.len(), 1);
    assert_eq!(effects[0]["users"], json!([DEFAULT_USER]));
    let path = format!("/open-apis/im/v1/messages/{sent}?card_msg_content_type=user_card_content");
    let got = room.get(&path).await;
    assert_eq!(
        got.ok()["items"][0]["body"]["content"],
        card("question", false).to_string()
    );
}

async fn preview(room: &Room, sent: &str) -> String {
    let act = json!({ "do": "preview", "user": DEFAULT_USER, "message": sent });
    room.act(act).await["token"]
        .as_str()
        .expect("a token")
        .to_owned()
}

#[tokio::test]
async fn previews_are_drawn_again_within_their_windows() {
    let room = Room::with(r#"{"limits":{"preview_second":2}}"#).await;
    let sent = room.said("https://example.com").await;
    let (one, two) = (preview(&room, &sent).await, preview(&room, &sent).await);
    room.align().await;
    let ask = |tokens: Value| room.call("POST", PREVIEWS, json!({ "preview_tokens": tokens }));
    ask(json!([one])).await.ok();
    let again = ask(json!([two, one])).await;
    again.is(429, 99_991_400);
    assert_eq!(again.header("x-ogw-ratelimit-reset"), "5");
    let third = ask(json!([two])).await;
    third.is(429, 99_991_400);
    assert_eq!(third.header("x-ogw-ratelimit-limit"), "2");
    room.advance("5s").await;
    let body = json!({ "preview_tokens": [one, two], "open_ids": [DEFAULT_USER] });
    room.call("POST", PREVIEWS, body).await.ok();
    let effects = room.effects("preview_update").await;
    assert_eq!(effects.len(), 2);
    assert_eq!(effects[1]["users"], json!([DEFAULT_USER]));
    assert_eq!(
        effects[1]["content"],
        json!({ "preview_tokens": [one, two] })
    );
    assert_eq!(effects[1]["message_id"], sent);
}

#[tokio::test]
async fn a_preview_update_out_of_form_is_refused() {
    let room = Room::new().await;
    let sent = room.said("https://example.com").await;
    let token = preview(&room, &sent).await;
    room.align().await;
    for body in [
        json!({}),
        json!({ "preview_tokens": [] }),
        json!({ "preview_tokens": ["unknown"] }),
        json!({ "preview_tokens": vec![token.clone(); 11] }),
        json!({ "preview_tokens": [token], "open_ids": vec!["ou_0"; 101] }),
    ] {
        room.call("POST", PREVIEWS, body).await.is(400, 230_001);
    }
    assert!(room.effects("preview_update").await.is_empty());
}

/// Everything of the new kinds outlives a restart: threads, cards, clicks, members' cards, bubbles.
#[tokio::test]
async fn what_only_some_see_outlives_a_restart() {
    let dir = TempDir::new().unwrap();
    let options = || Options {
        listen: ([127, 0, 0, 1], 0).into(),
        state: Some(dir.path().join("state.jsonl")),
        seed: None,
    };
    let room = Room::open(options()).await;
    let own = id(&room.call("POST", SHOW, to_member(DEFAULT_USER)).await);
    let sent = send(&room, card("question", true)).await;
    let token = click(&room, &sent).await;
    update(&room, &token, card("one", true)).await.ok();
    let preview = preview(&room, &sent).await;
    let react = format!("/open-apis/im/v1/messages/{sent}/reactions");
    let emoji = json!({ "reaction_type": { "emoji_type": "OK" } });
    let reaction = room.call("POST", &react, emoji).await.ok()["reaction_id"].clone();
    let reply = format!("/open-apis/im/v1/messages/{sent}/reply");
    let body =
        json!({ "msg_type": "text", "content": "{\"text\":\"in\"}", "reply_in_thread": true });
    let thread = room.call("POST", &reply, body).await.ok()["thread_id"].clone();
    let merge = "/open-apis/im/v1/messages/merge_forward?receive_id_type=chat_id&uuid=key";
    let body = json!({ "receive_id": DEFAULT_CHAT, "message_id_list": [sent] });
    let merged = room.call("POST", merge, body.clone()).await.ok()["message"]["message_id"].clone();
    let before = room.ledger().await;
    drop(room);

    let room = Room::open(options()).await;
    assert_eq!(room.ledger().await["effects"], before["effects"]);
    update(&room, &token, card("two", true)).await.ok();
    update(&room, &token, card("three", true))
        .await
        .is(200, 300_040);
    room.call("POST", PREVIEWS, json!({ "preview_tokens": [preview] }))
        .await
        .ok();
    room.call("POST", HIDE, json!({ "message_id": own }))
        .await
        .ok();
    room.call("POST", HIDE, json!({ "message_id": own }))
        .await
        .is(200, 18_051);
    let listed = room.get(&react).await;
    assert_eq!(listed.ok()["items"][0]["reaction_id"], reaction);
    let path = format!(
        "/open-apis/im/v1/messages?container_id_type=thread&container_id={}",
        thread.as_str().unwrap()
    );
    assert_eq!(
        room.get(&path).await.ok()["items"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
    let again = room.call("POST", merge, body).await;
    assert_eq!(again.ok()["message"]["message_id"], merged);
    let parts = format!("/open-apis/im/v1/messages/{}", merged.as_str().unwrap());
    assert_eq!(
        room.get(&parts).await.ok()["items"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
    drop(room);
    let room = Room::open(options()).await;
    room.call("POST", HIDE, json!({ "message_id": own }))
        .await
        .is(200, 18_051);
}
