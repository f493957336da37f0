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
        "db-1 is **down**",
        "<span class=\"button\">Mine</span>",
    ] {
        assert!(page.contains(words), "{words}");
    }
    assert!(!page.contains("slip of the pen"));
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
