//! What is done to a message once it is there: buzz, pin, recall, read, read back.

mod common;

use common::{Room, SEND, id, message};
use feishu_sandbox::{
    DEFAULT_CHAT, DEFAULT_CLOSED_CHAT, DEFAULT_SECOND_CHAT, DEFAULT_USERS, staff_open_id,
};
use serde_json::{Value, json};

const OTHER_APP: &str = r#"{"apps":[
    {"app_id":"cli_5a9db0c5a9db0c5a","app_secret":"sandbox-secret"},
    {"app_id":"cli_b","app_secret":"b"}]}"#;

fn buzz_path(message: &str, kind: &str) -> String {
    format!("/open-apis/im/v1/messages/{message}/urgent_{kind}?user_id_type=open_id")
}

fn message_path(message: &str) -> String {
    format!("/open-apis/im/v1/messages/{message}")
}

#[tokio::test]
async fn a_buzz_reaches_members_and_reports_the_others() {
    let room = Room::new().await;
    let message = room.said("look here").await;
    let outsider = staff_open_id(500);
    let users = json!({ "user_id_list": [DEFAULT_USERS[0], "ou_0", outsider, DEFAULT_USERS[0]] });
    for kind in ["app", "sms", "phone"] {
        let told = room
            .call("PATCH", &buzz_path(&message, kind), users.clone())
            .await;
        assert_eq!(told.ok()["invalid_user_id_list"], json!(["ou_0", outsider]));
        let effects = room.effects(&format!("urgent_{kind}")).await;
        assert_eq!(effects.len(), 1);
        assert_eq!(effects[0]["users"], json!([DEFAULT_USERS[0]]));
        assert_eq!(effects[0]["message_id"], message);
        assert_eq!(
            effects[0]["call"],
            format!("PATCH /open-apis/im/v1/messages/:message_id/urgent_{kind}")
        );
    }
    room.call("PATCH", &buzz_path(&message, "app"), users)
        .await
        .ok();
    assert_eq!(room.effects("urgent_app").await.len(), 2);
}

#[tokio::test]
async fn a_buzz_is_refused_for_lists_and_messages_that_do_not_fit() {
    let room = Room::with(OTHER_APP).await;
    let message = room.said("look here").await;
    let buzz = |path: String, body: Value| {
        let room = &room;
        async move { room.call("PATCH", &path, body).await }
    };
    let path = buzz_path(&message, "app");
    let many: Vec<String> = (0..201).map(|at| format!("ou_{at}")).collect();
    buzz(path.clone(), json!({ "user_id_list": ["ou_0"] }))
        .await
        .is(400, 230_001)
        .says("all ids in the user_id_list are invalid");
    buzz(path.clone(), json!({ "user_id_list": many }))
        .await
        .is(400, 230_001);
    buzz(path.clone(), json!({ "user_id_list": [] }))
        .await
        .is(400, 230_001);
    buzz(path.clone(), json!({})).await.is(400, 99_992_402);
    let one = json!({ "user_id_list": [DEFAULT_USERS[0]] });
    buzz(
        format!("{}/urgent_app", message_path(&message)),
        one.clone(),
    )
    .await
    .is(400, 99_992_402);
    buzz(buzz_path("om_0", "app"), one.clone())
        .await
        .is(400, 230_001)
        .says("invalid message_id");
    buzz(buzz_path("bm-000", "app"), one.clone())
        .await
        .is(400, 230_001);
    let other = room.token_of("cli_b", "b").await.unwrap();
    room.call_as(&other, "PATCH", &path, one.clone())
        .await
        .is(400, 230_012);
    room.call("DELETE", &message_path(&message), Value::Null)
        .await
        .ok();
    buzz(path, one).await.is(400, 230_110);
    assert!(room.effects("urgent_app").await.is_empty());
}

#[tokio::test]
async fn a_person_with_too_many_unread_buzzes_must_read_first() {
    let room = Room::with(r#"{"limits":{"unread_buzzes":2}}"#).await;
    let message = room.said("look here").await;
    let body = json!({ "user_id_list": [DEFAULT_USERS[0]] });
    let path = buzz_path(&message, "app");
    for _ in 0..2 {
        room.call("PATCH", &path, body.clone()).await.ok();
    }
    room.call("PATCH", &path, body.clone())
        .await
        .is(400, 230_023);
    room.act(json!({ "do": "read", "user": DEFAULT_USERS[0], "message": message }))
        .await;
    room.call("PATCH", &path, body).await.ok();
}

#[tokio::test]
async fn sms_and_calls_end_with_what_was_bought() {
    let room = Room::with(r#"{"limits":{"sms_quota":1,"phone_quota":1}}"#).await;
    let message = room.said("look here").await;
    let body = json!({ "user_id_list": [DEFAULT_USERS[0]] });
    for kind in ["sms", "phone"] {
        room.call("PATCH", &buzz_path(&message, kind), body.clone())
            .await
            .ok();
        room.call("PATCH", &buzz_path(&message, kind), body.clone())
            .await
            .is(400, 230_024);
    }
    room.call("PATCH", &buzz_path(&message, "app"), body)
        .await
        .ok();
}

#[tokio::test]
async fn an_identical_second_buzz_can_be_suppressed() {
    let seed = r#"{"limits":{"sms_quota":1},"switches":{"second_buzz":"suppressed"}}"#;
    let room = Room::with(seed).await;
    let message = room.said("look here").await;
    let body = json!({ "user_id_list": [DEFAULT_USERS[0]] });
    for _ in 0..2 {
        room.call("PATCH", &buzz_path(&message, "sms"), body.clone())
            .await
            .ok();
    }
    assert_eq!(room.effects("urgent_sms").await.len(), 1);
}

#[tokio::test]
async fn a_pin_stands_once_and_goes_once() {
    let room = Room::new().await;
    let message = room.said("keep this").await;
    let body = json!({ "message_id": message });
    let first = room
        .call("POST", "/open-apis/im/v1/pins", body.clone())
        .await;
    let second = room.call("POST", "/open-apis/im/v1/pins", body).await;
    assert_eq!(first.ok(), second.ok());
    assert_eq!(first.data()["pin"]["operator_id_type"], "app_id");
    assert_eq!(first.data()["pin"]["chat_id"], DEFAULT_CHAT);
    let path = format!("/open-apis/im/v1/pins/{message}");
    for _ in 0..2 {
        room.call("DELETE", &path, Value::Null).await.ok();
    }
    assert_eq!(room.effects("pin").await.len(), 1);
    assert_eq!(room.effects("unpin").await.len(), 1);
}

#[tokio::test]
async fn pins_are_listed_newest_first_page_by_page() {
    let room = Room::with(r#"{"limits":{"chat_second":0}}"#).await;
    let mut messages = Vec::new();
    for at in 0..3 {
        let message = room.said(&format!("keep {at}")).await;
        let body = json!({ "message_id": message });
        room.call("POST", "/open-apis/im/v1/pins", body).await.ok();
        messages.push(message);
    }
    let path = format!("/open-apis/im/v1/pins?chat_id={DEFAULT_CHAT}&page_size=2");
    let first = room.get(&path).await;
    let page = first.ok();
    assert_eq!(page["items"][0]["message_id"], messages[2]);
    assert_eq!(page["has_more"], true);
    let token = page["page_token"].as_str().unwrap();
    let second = room.get(&format!("{path}&page_token={token}")).await;
    assert_eq!(second.ok()["items"][0]["message_id"], messages[0]);
    assert_eq!(second.data()["has_more"], false);
    assert!(second.data().get("page_token").is_none());
    room.get(&format!("{path}&page_token=zzz"))
        .await
        .is(400, 230_001)
        .says("page_token");
    room.get("/open-apis/im/v1/pins").await.is(400, 99_992_402);
    room.get("/open-apis/im/v1/pins?chat_id=oc_0")
        .await
        .is(400, 230_001);
    let far = format!("/open-apis/im/v1/pins?chat_id={DEFAULT_CHAT}&start_time=99999999999999");
    assert_eq!(room.get(&far).await.ok()["items"], json!([]));
    let wrong = format!("/open-apis/im/v1/pins?chat_id={DEFAULT_CHAT}&start_time=5&end_time=1");
    room.get(&wrong)
        .await
        .is(400, 230_001)
        .says("end_time earlier");
}

#[tokio::test]
async fn a_recalled_message_is_not_pinned_and_its_pin_goes_quietly() {
    let room = Room::new().await;
    let message = room.said("keep this").await;
    let body = json!({ "message_id": message });
    room.call("POST", "/open-apis/im/v1/pins", body.clone())
        .await
        .ok();
    room.call("DELETE", &message_path(&message), Value::Null)
        .await
        .ok();
    room.call("POST", "/open-apis/im/v1/pins", body)
        .await
        .is(400, 230_011);
    room.call(
        "DELETE",
        &format!("/open-apis/im/v1/pins/{message}"),
        Value::Null,
    )
    .await
    .ok();
    assert!(room.effects("unpin").await.is_empty());
    room.call("POST", "/open-apis/im/v1/pins", json!({}))
        .await
        .is(400, 99_992_402);
    let unknown = json!({ "message_id": "om_0" });
    room.call("POST", "/open-apis/im/v1/pins", unknown)
        .await
        .is(400, 230_001);
}

#[tokio::test]
async fn a_recall_shows_in_get_and_history_and_a_second_one_is_refused() {
    let room = Room::with(OTHER_APP).await;
    let message = room.said("a slip").await;
    let other = room.token_of("cli_b", "b").await.unwrap();
    let path = message_path(&message);
    room.call_as(&other, "DELETE", &path, Value::Null)
        .await
        .is(400, 230_026);
    room.call("DELETE", &path, Value::Null).await.ok();
    let got = room.get(&path).await;
    assert_eq!(got.ok()["items"][0]["deleted"], true);
    assert!(got.data()["items"][0].get("body").is_none());
    let history =
        format!("/open-apis/im/v1/messages?container_id_type=chat&container_id={DEFAULT_CHAT}");
    let listed = room.get(&history).await;
    assert_eq!(
        listed.ok()["items"][0]["body"]["content"],
        "This message was recalled"
    );
    room.call("DELETE", &path, Value::Null)
        .await
        .is(400, 230_011);
    room.call("DELETE", &message_path("om_0"), Value::Null)
        .await
        .is(400, 230_001);
    room.call("DELETE", &message_path("bm-0"), Value::Null)
        .await
        .is(400, 230_001);
    assert_eq!(room.effects("recall").await.len(), 1);
}

#[tokio::test]
async fn what_a_recalled_message_answers_is_a_switch() {
    for (recall, get, second, got) in [
        ("success", "empty", (200, 0), (200, 0)),
        ("230110", "230110", (400, 230_110), (400, 230_110)),
        ("230011", "230011", (400, 230_011), (400, 230_011)),
    ] {
        let seed =
            format!(r#"{{"switches":{{"second_recall":"{recall}","recalled_get":"{get}"}}}}"#);
        let room = Room::with(&seed).await;
        let path = message_path(&room.said("a slip").await);
        room.call("DELETE", &path, Value::Null).await.ok();
        room.call("DELETE", &path, Value::Null)
            .await
            .is(second.0, second.1);
        room.get(&path).await.is(got.0, got.1);
        assert_eq!(room.effects("recall").await.len(), 1);
    }
}

#[tokio::test]
async fn a_recall_comes_too_late_after_a_day() {
    let room = Room::new().await;
    let path = message_path(&room.said("a slip").await);
    room.advance("25h").await;
    let token = room
        .token_of(feishu_sandbox::DEFAULT_APP_ID, "sandbox-secret")
        .await
        .unwrap();
    room.call_as(&token, "DELETE", &path, Value::Null)
        .await
        .is(400, 230_009);
}

#[tokio::test]
async fn readers_are_listed_once_each_for_seven_days() {
    let room = Room::with(OTHER_APP).await;
    let message = room.said("read me").await;
    for user in [DEFAULT_USERS[1], DEFAULT_USERS[0], DEFAULT_USERS[1]] {
        room.act(json!({ "do": "read", "user": user, "message": message }))
            .await;
    }
    let path = format!(
        "{}/read_users?user_id_type=union_id",
        message_path(&message)
    );
    let readers = room.get(&path).await;
    let items = readers.ok()["items"].as_array().unwrap();
    assert_eq!(items.len(), 2);
    assert!(items[0]["user_id"].as_str().unwrap().starts_with("on_"));
    assert_eq!(items[0]["user_id_type"], "union_id");
    assert!(
        items[0]["timestamp"]
            .as_str()
            .unwrap()
            .parse::<i64>()
            .is_ok()
    );
    let page = room.get(&format!("{path}&page_size=1")).await;
    let token = page.ok()["page_token"].as_str().unwrap().to_owned();
    let next = room
        .get(&format!("{path}&page_size=1&page_token={token}"))
        .await;
    assert_eq!(next.ok()["items"][0], items[1]);

    room.get(&format!("{path}&page_size=101"))
        .await
        .is(400, 230_001)
        .says("page_size exceeds");
    let changed = format!("{}&page_token={token}", path.replace("union_id", "open_id"));
    room.get(&changed)
        .await
        .is(400, 230_001)
        .says("request parameters have changed");
    room.get(&format!("{}/read_users", message_path(&message)))
        .await
        .is(400, 99_992_402);
    let other = room.token_of("cli_b", "b").await.unwrap();
    room.call_as(&other, "GET", &path, Value::Null)
        .await
        .is(400, 230_012);
    room.advance("169h").await;
    let token = room
        .token_of(feishu_sandbox::DEFAULT_APP_ID, "sandbox-secret")
        .await
        .unwrap();
    room.call_as(&token, "GET", &path, Value::Null)
        .await
        .is(400, 230_033);
}

#[tokio::test]
async fn history_is_listed_in_both_orders_and_by_seconds() {
    let room = Room::with(r#"{"limits":{"chat_second":0}}"#).await;
    let mut messages = Vec::new();
    for at in 0..5 {
        messages.push(room.said(&format!("number {at}")).await);
        room.advance("10s").await;
    }
    let base = format!(
        "/open-apis/im/v1/messages?container_id_type=chat&container_id={DEFAULT_CHAT}&page_size=2"
    );
    for (sort, expected) in [
        ("ByCreateTimeAsc", [0, 1, 2, 3, 4]),
        ("ByCreateTimeDesc", [4, 3, 2, 1, 0]),
    ] {
        let mut found = Vec::new();
        let mut path = format!("{base}&sort_type={sort}");
        loop {
            let page = room.get(&path).await;
            let data = page.ok();
            for item in data["items"].as_array().unwrap() {
                found.push(item["message_id"].as_str().unwrap().to_owned());
            }
            let Some(token) = data["page_token"].as_str() else {
                break;
            };
            path = format!("{base}&sort_type={sort}&page_token={token}");
        }
        let expected: Vec<_> = expected.iter().map(|at| messages[*at].clone()).collect();
        assert_eq!(found, expected, "{sort}");
    }
    let second = room.get(&message_path(&messages[1])).await;
    let create_ms: i64 = second.ok()["items"][0]["create_time"]
        .as_str()
        .unwrap()
        .parse()
        .unwrap();
    let at = create_ms / 1_000;
    let window = room
        .get(&format!("{base}&start_time={at}&end_time={at}"))
        .await;
    assert_eq!(window.ok()["items"].as_array().unwrap().len(), 1);
    room.get(&format!("{base}&start_time={create_ms}"))
        .await
        .is(400, 230_001)
        .says("start_time");
}

#[tokio::test]
async fn history_is_refused_where_the_bot_is_not_or_the_question_is_wrong() {
    let room = Room::new().await;
    let base = "/open-apis/im/v1/messages?container_id_type";
    for (query, code) in [
        ("=chat&container_id=oc_0".to_owned(), 230_001),
        (format!("=chat&container_id={DEFAULT_CLOSED_CHAT}"), 230_002),
        (
            format!("=chat&container_id={DEFAULT_CHAT}&page_size=51"),
            230_001,
        ),
        (
            format!("=chat&container_id={DEFAULT_CHAT}&sort_type=Random"),
            230_001,
        ),
        ("=thread&container_id=omt_0".to_owned(), 230_001),
        ("=chat".to_owned(), 99_992_402),
        (format!("=room&container_id={DEFAULT_CHAT}"), 99_992_402),
    ] {
        room.get(&format!("{base}{query}")).await.is(400, code);
    }
    room.get(&message_path("om_0")).await.is(400, 230_001);
}

#[tokio::test]
async fn a_card_comes_back_simple_or_as_it_was_sent() {
    let room = Room::new().await;
    let card = json!({
        "header": { "title": { "tag": "plain_text", "content": "Disk full" } },
        "elements": [{ "tag": "div", "text": { "tag": "lark_md", "content": "db-1" } }],
    });
    let sent = room
        .call(
            "POST",
            SEND,
            message(DEFAULT_CHAT, "interactive", card.clone()),
        )
        .await;
    let path = message_path(&id(&sent));
    let content = |told: &common::Told| -> Value {
        let text = told.data()["items"][0]["body"]["content"]
            .as_str()
            .unwrap()
            .to_owned();
        serde_json::from_str(&text).unwrap()
    };
    let simple = content(&room.get(&path).await);
    assert_eq!(simple["title"], "Disk full");
    assert_eq!(
        simple["elements"][0][0],
        json!({ "tag": "text", "text": "db-1" })
    );
    let whole = room
        .get(&format!("{path}?card_msg_content_type=user_card_content"))
        .await;
    assert_eq!(content(&whole), card);
}

#[tokio::test]
async fn people_write_reply_react_and_recall() {
    let room = Room::new().await;
    let user = DEFAULT_USERS[2];
    let question = room
        .act(json!({ "do": "write", "user": user, "chat": DEFAULT_SECOND_CHAT, "text": "who?" }))
        .await;
    let question = question["message_id"].as_str().unwrap();
    let answer = room
        .act(json!({ "do": "reply", "user": user, "message": question, "text": "me" }))
        .await;
    let got = room
        .get(&message_path(answer["message_id"].as_str().unwrap()))
        .await;
    assert_eq!(got.ok()["items"][0]["parent_id"], question);
    assert_eq!(got.data()["items"][0]["sender"]["id"], user);
    let reaction = json!({ "do": "react", "user": user, "message": question, "emoji": "OK" });
    assert!(room.act(reaction).await["reaction_id"].is_string());
    let click = json!({ "do": "click", "user": user, "message": question, "value": { "a": 1 } });
    assert!(
        room.act(click).await["token"]
            .as_str()
            .unwrap()
            .starts_with("c-")
    );
    room.call("DELETE", &message_path(question), Value::Null)
        .await
        .is(400, 230_026);
    room.act(json!({ "do": "recall", "user": user, "message": question }))
        .await;
    assert_eq!(
        room.get(&message_path(question)).await.ok()["items"][0]["deleted"],
        true
    );
    assert_eq!(room.ledger().await["effects"], json!([]));
}

#[tokio::test]
async fn an_act_on_something_unknown_names_it() {
    let room = Room::new().await;
    let user = DEFAULT_USERS[0];
    for (act, pointer) in [
        (
            json!({ "do": "read", "user": "ou_0", "message": "om_0" }),
            "/user",
        ),
        (
            json!({ "do": "read", "user": user, "message": "om_0" }),
            "/message",
        ),
        (
            json!({ "do": "read", "user": user, "message": "bm-0" }),
            "/message",
        ),
        (
            json!({ "do": "write", "user": user, "chat": "oc_0", "text": "x" }),
            "/chat",
        ),
        (
            json!({ "do": "write", "user": user, "chat": DEFAULT_CHAT }),
            "/text",
        ),
        (json!({ "do": "dance", "user": user }), ""),
    ] {
        let told = room.control("act", act).await;
        assert_eq!(told.http, 422, "{}", told.body);
        assert_eq!(told.body["errors"][0]["pointer"], pointer, "{}", told.body);
    }
}
