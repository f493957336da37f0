//! The page: what a person would see, and nothing a sender could smuggle in.

mod common;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use common::{Room, SEND, id, message};
use feishu_sandbox::{DEFAULT_CHAT, DEFAULT_DEPARTMENT, DEFAULT_USERS};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

async fn look(room: &Room, query: &str) -> String {
    let answer = room
        .raw("GET", &format!("/_sandbox/{query}"))
        .send()
        .await
        .expect("an answer");
    assert_eq!(answer.status(), 200);
    answer.text().await.expect("text")
}

#[tokio::test]
async fn a_person_sees_messages_pins_buzzes_and_recalls() {
    let room = Room::new().await;
    let kept = room.said("disk full on db-1").await;
    room.call(
        "POST",
        "/open-apis/im/v1/pins",
        json!({ "message_id": kept }),
    )
    .await
    .ok();
    let buzz = format!("/open-apis/im/v1/messages/{kept}/urgent_phone?user_id_type=open_id");
    room.call(
        "PATCH",
        &buzz,
        json!({ "user_id_list": [DEFAULT_USERS[0]] }),
    )
    .await
    .ok();
    let slip = room.said("a slip of the pen").await;
    room.call(
        "DELETE",
        &format!("/open-apis/im/v1/messages/{slip}"),
        Value::Null,
    )
    .await
    .ok();
    let card = json!({
        "header": { "template": "red", "title": { "tag": "plain_text", "content": "Alarm" } },
        "elements": [
            { "tag": "div", "text": { "tag": "lark_md", "content": "db-1 is **down**" } },
            { "tag": "action", "actions": [{ "tag": "button", "type": "primary",
              "text": { "tag": "plain_text", "content": "Mine" } }] },
        ],
    });
    id(&room
        .call("POST", SEND, message(DEFAULT_CHAT, "interactive", card))
        .await);

    let page = look(&room, "").await;
    for words in [
        "Operations",
        "disk full on db-1",
        "📌 pinned",
        "📞 buzzed by phone: Lin Wei",
        "was recalled",
        "Alarm",
        "card red",
        "db-1 is <b>down</b>",
        "<span class=\"button\">Mine</span>",
    ] {
        assert!(page.contains(words), "{words}");
    }
    assert!(!page.contains("slip of the pen"));
}

#[tokio::test]
async fn a_person_sees_a_card_as_it_was_meant() {
    let room = Room::unbound().await;
    let mention = format!("**2 firing** <at id={}></at> < 5", DEFAULT_USERS[0]);
    let button = json!({ "tag": "button", "text": { "tag": "plain_text", "content": "graph" },
        "behaviors": [{ "type": "open_url", "default_url": "https://ex.cn/g?a=1&b=2" }] });
    let card = json!({
        "schema": "2.0",
        "header": { "template": "purple", "title": { "tag": "plain_text", "content": "Alarm <b>" } },
        "body": { "elements": [
            { "tag": "markdown", "content": mention },
            { "tag": "hr" },
            { "tag": "div", "text": { "tag": "plain_text", "content": "db-1 **x**\n<i>y</i>" } },
            { "tag": "markdown", "content": "[source](https://ex.cn/s) [no](javascript:x)" },
            { "tag": "column_set", "columns": [{ "tag": "column", "elements": [button] }] },
        ] },
    });
    id(&room
        .call("POST", SEND, message(DEFAULT_CHAT, "interactive", card))
        .await);
    let page = look(&room, "").await;
    for words in [
        "card purple",
        "<h3>Alarm &lt;b&gt;</h3>",
        "<b>2 firing</b> <b class=\"at\">@Lin Wei</b> &lt; 5",
        "<hr>",
        "db-1 **x**<br>&lt;i&gt;y&lt;/i&gt;",
        "<a href=\"https://ex.cn/s\" rel=\"noreferrer noopener\">source</a> [no](javascript:x)",
        "<span class=\"button\"><a href=\"https://ex.cn/g?a=1&amp;b=2\" rel=\"noreferrer noopener\">graph</a></span>",
    ] {
        assert!(page.contains(words), "{words}\n{page}");
    }
}

#[tokio::test]
async fn a_person_sees_threads_edits_reactions_and_what_was_passed_on() {
    let room = Room::unbound().await;
    let root = room.said("incident").await;
    let path = |id: &str, tail: &str| format!("/open-apis/im/v1/messages/{id}{tail}");
    let text = |words: &str| json!({ "msg_type": "text", "content": json!({ "text": words }).to_string() });
    let mut inside = text("found the cause");
    inside["reply_in_thread"] = json!(true);
    room.call("POST", &path(&root, "/reply"), inside).await.ok();
    let typo = room.said("disc full").await;
    room.call("PUT", &path(&typo, ""), text("disk full now"))
        .await
        .ok();
    let emoji = json!({ "reaction_type": { "emoji_type": "DONE" } });
    room.call("POST", &path(&typo, "/reactions"), emoji)
        .await
        .ok();
    room.act(json!({ "do": "react", "user": DEFAULT_USERS[0], "message": typo, "emoji": "DONE" }))
        .await;
    let merge = "/open-apis/im/v1/messages/merge_forward?receive_id_type=chat_id";
    let body = json!({ "receive_id": DEFAULT_CHAT, "message_id_list": [typo] });
    room.call("POST", merge, body).await.ok();
    let file = json!({ "msg_type": "file", "file_name": "log.txt", "size": 1234 });
    room.act(
        json!({ "do": "write", "user": DEFAULT_USERS[1], "chat": DEFAULT_CHAT, "value": file }),
    )
    .await;
    let page = look(&room, "").await;
    for words in [
        "<ol class=\"thread\">",
        "found the cause",
        "disk full now",
        "<i>edited</i>",
        "DONE Bot cli_5a9db0c5a9db0c5a, Lin Wei</span>",
        "Forwarded messages",
        "</b>: disk full now",
        "📄 <b>log.txt</b> · 1234 bytes",
    ] {
        assert!(page.contains(words), "{words}");
    }
    assert!(!page.contains("disc full"));
    let incident = page.find("incident").unwrap();
    let answer = page.find("found the cause").unwrap();
    assert!(incident < answer && answer < page.find("disk full now").unwrap());
    assert_eq!(page.matches("found the cause").count(), 1);
    // The answers of a recalled root stay where they are.
    room.call("DELETE", &path(&root, ""), Value::Null)
        .await
        .ok();
    let page = look(&room, "").await;
    assert!(page.contains("found the cause") && !page.contains("incident"));
}

#[tokio::test]
async fn a_person_sees_who_alone_sees_a_card_and_how_it_changed() {
    let room = Room::unbound().await;
    let card = |words: &str, multi: bool| {
        json!({ "config": { "update_multi": multi },
            "elements": [{ "tag": "div", "text": { "tag": "plain_text", "content": words } }] })
    };
    let only = json!({ "chat_id": DEFAULT_CHAT, "open_id": DEFAULT_USERS[0],
        "msg_type": "interactive", "card": card("just for you <b>", true) });
    let only = id(&room
        .call("POST", "/open-apis/ephemeral/v1/send", only)
        .await);
    let sent = |card: Value| room.call("POST", SEND, message(DEFAULT_CHAT, "interactive", card));
    let shared = id(&sent(card("firing", true)).await);
    let body = json!({ "content": card("resolved", true).to_string() });
    let path = format!("/open-apis/im/v1/messages/{shared}");
    room.call("PATCH", &path, body).await.ok();
    let own = id(&sent(card("ask everybody", false)).await);
    let click = json!({ "do": "click", "user": DEFAULT_USERS[1], "message": own });
    let token = room.act(click).await["token"].clone();
    let mut mine = card("thanks for the click", false);
    mine["open_ids"] = json!([DEFAULT_USERS[1]]);
    let body = json!({ "token": token, "card": mine });
    room.call("POST", "/open-apis/interactive/v1/card/update", body)
        .await
        .ok();
    let hook = format!("/open-apis/bot/v2/hook/{}", feishu_sandbox::DEFAULT_HOOK);
    let body = json!({ "msg_type": "text", "content": { "text": "from outside" } });
    room.raw("POST", &hook).json(&body).send().await.unwrap();
    let page = look(&room, "").await;
    for words in [
        "<i>only Lin Wei sees this</i>",
        "just for you &lt;b&gt;",
        "<i>updated 1 time</i>",
        "resolved",
        "ask everybody",
        "Chen Jing sees",
        "thanks for the click",
        "Open custom bot",
        "from outside",
    ] {
        assert!(page.contains(words), "{words}");
    }
    assert!(!page.contains("firing"));
    let gone = json!({ "message_id": only });
    room.call("POST", "/open-apis/ephemeral/v1/delete", gone)
        .await
        .ok();
    let page = look(&room, "").await;
    assert!(page.contains("A card that only Lin Wei saw was taken away"));
    assert!(!page.contains("just for you"));
}

#[tokio::test]
async fn foreign_names_of_files_bots_and_bubbles_stay_text() {
    let seed = json!({ "limits": { "user_second": 0 }, "hooks": [
        { "hook": "h", "chat_id": DEFAULT_CHAT, "name": "<u>bot</u>" },
    ] });
    let room = Room::with(&seed.to_string()).await;
    let file = json!({ "msg_type": "file", "file_name": "<u>a</u>.txt", "size": 1 });
    let act =
        json!({ "do": "write", "user": DEFAULT_USERS[0], "chat": DEFAULT_CHAT, "value": file });
    room.act(act).await;
    let body = json!({ "msg_type": "text", "content": { "text": "x" } });
    room.raw("POST", "/open-apis/bot/v2/hook/h")
        .json(&body)
        .send()
        .await
        .unwrap();
    let talk = message(DEFAULT_USERS[0], "text", json!({ "text": "choose" }));
    let talk = room
        .call(
            "POST",
            "/open-apis/im/v1/messages?receive_id_type=open_id",
            talk,
        )
        .await;
    let bubbles = json!({ "follow_ups": [{ "content": "<u>yes</u>" }] });
    let path = format!("/open-apis/im/v1/messages/{}/push_follow_up", id(&talk));
    room.call("POST", &path, bubbles).await.ok();
    let here = look(&room, &format!("?chat={DEFAULT_CHAT}")).await;
    let there = look(&room, "").await;
    for (page, words) in [
        (&here, "&lt;u&gt;a&lt;/u&gt;.txt"),
        (&here, "&lt;u&gt;bot&lt;/u&gt;"),
        (&there, "&lt;u&gt;yes&lt;/u&gt;"),
    ] {
        assert!(page.contains(words) && !page.contains("<u>"), "{words}");
    }
}

#[tokio::test]
async fn foreign_text_stays_text() {
    let room = Room::new().await;
    room.said("<script>alert(1)</script><img src=x onerror=\"y\">")
        .await;
    let link = json!({ "zh_cn": { "title": "<b>t</b>", "content": [[
        { "tag": "a", "text": "<i>here</i>", "href": "https://x.example/\"><script>" },
    ]] } });
    room.call("POST", SEND, message(DEFAULT_CHAT, "post", link))
        .await
        .ok();
    let page = look(&room, "").await;
    assert!(page.contains("&lt;script&gt;alert(1)"));
    assert_eq!(page.matches("<script>").count(), 1, "only the page's own");
    assert!(
        !page.contains("<i>here") && !page.contains("<b>t</b>") && !page.contains("<img src=x")
    );
    let part = look(&room, "part?chat=%3Cscript%3E").await;
    assert!(part.contains("no such chat") && !part.contains("<script>"));
}

#[tokio::test]
async fn only_the_pages_own_script_and_style_may_run() {
    let room = Room::new().await;
    let answer = room.raw("GET", "/_sandbox/").send().await.unwrap();
    let policy = answer.headers()["content-security-policy"]
        .to_str()
        .unwrap()
        .to_owned();
    assert!(policy.starts_with("default-src 'none'"));
    let page = answer.text().await.unwrap();
    for tag in ["script", "style"] {
        let (open, close) = (format!("<{tag}>"), format!("</{tag}>"));
        let inside = page
            .split(&open)
            .nth(1)
            .unwrap()
            .split(&close)
            .next()
            .unwrap();
        let hash = STANDARD.encode(Sha256::digest(inside.as_bytes()));
        assert!(
            policy.contains(&format!("{tag}-src 'sha256-{hash}'")),
            "{tag}"
        );
    }
    assert!(!page.contains("src=\"http") && !page.contains("style=\""));
}

#[tokio::test]
async fn a_batch_is_shown_with_whom_it_reached() {
    let room = Room::new().await;
    let body = json!({
        "msg_type": "text", "content": { "text": "fire drill" },
        "department_ids": [DEFAULT_DEPARTMENT],
    });
    room.call("POST", "/open-apis/message/v4/batch_send/", body)
        .await
        .ok();
    let page = look(&room, "?chat=batches").await;
    for words in ["fire drill", "to 300 people", "Lin Wei", "and 292 more"] {
        assert!(page.contains(words), "{words}");
    }
}
