//! Content at the door: each flaw at its place, and the door and the sandbox, which know nothing of each other,
//! agree on what a content is.

mod support;

use feishu_im::Content;
use feishu_sandbox::{DEFAULT_APP_ID, DEFAULT_APP_SECRET, DEFAULT_CHAT, DEFAULT_USERS};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Map, Value, json};
use support::House;

/// Contents that are tried on both sides.
const CASES: u32 = 600;
/// What the door says no to and the sandbox shows as it stands, or measures otherwise.
const STRICTER: [&str; 3] = ["mention", "the form of", "makes a request"];

#[tokio::test]
async fn a_flaw_is_named_with_its_place_and_changes_nothing() {
    let house = House::new().await;
    let at = |kind: &str, mut args: Value, more: Value| {
        if kind == "send" {
            args["to"] = json!(DEFAULT_CHAT);
        }
        let mut job = json!({ "kind": kind, "args": args });
        for (name, value) in more.as_object().into_iter().flatten() {
            job[name] = value.clone();
        }
        job
    };
    let none = || json!({});
    let post =
        |node: Value| json!({ "post": { "zh_cn": { "content": [[{ "tag": "hr" }, node]] } } });
    let old = json!({ "elements": [] });
    let update = json!({ "then": [{ "kind": "update_card", "args": { "card": { "schema": "2.0", "body": { "elements": [] } } } }] });
    let edit = json!({ "then": [{ "kind": "edit", "args": { "text": "x" } }] });
    for (job, pointer) in [
        (
            at(
                "send",
                post(json!({ "tag": "a", "text": "x", "href": "ex.cn" })),
                none(),
            ),
            "/args/post/zh_cn/content/0/1/href",
        ),
        (
            at(
                "send",
                post(json!({ "tag": "emotion", "emoji_type": "" })),
                none(),
            ),
            "/args/post/zh_cn/content/0/1/emoji_type",
        ),
        (
            at("send", json!({ "text": "<at id=ou_1></at>" }), none()),
            "/args/text",
        ),
        (
            at(
                "send",
                json!({ "msg_type": "text", "content": "{\"text\":\"<at user_id=\\\"x\\\">\"}" }),
                none(),
            ),
            "/args/content",
        ),
        (
            at("send", json!({ "text": "a".repeat(150_000) }), none()),
            "/args/text",
        ),
        (
            at("send", json!({ "card": old }), update.clone()),
            "/args/card",
        ),
        (at("send", json!({ "text": "x" }), update), "/args/text"),
        (at("send", json!({ "card": old }), edit), "/args/card"),
        (
            at("reply", json!({ "message": "om_1", "system": "x" }), none()),
            "/args/system",
        ),
        (
            at(
                "edit",
                json!({ "message": "om_1", "image": "img_1" }),
                none(),
            ),
            "/args/image",
        ),
        (
            at(
                "update_card",
                json!({ "message": "om_1", "card": { "config": { "update_multi": false }, "elements": [] } }),
                none(),
            ),
            "/args/card/config/update_multi",
        ),
        (
            at(
                "batch_send",
                json!({ "open_ids": ["ou_1"], "post": { "content": [[{ "tag": "md", "text": "x" }]] } }),
                none(),
            ),
            "/args/post/content/0/0",
        ),
        (
            at(
                "send_ephemeral",
                json!({ "chat": "oc_1", "user": "ou_1", "card": { "schema": "2.0", "body": { "elements": [{ "tag": "note" }] } } }),
                none(),
            ),
            "/args/card/body/elements/0/tag",
        ),
    ] {
        let (status, problem) = house.request("POST", "/v1/jobs", Some(job.clone())).await;
        assert_eq!(status, 422, "{job}");
        assert_eq!(problem["errors"][0]["pointer"], pointer, "{problem:#}");
    }
    let (_, list) = house.request("GET", "/v1/jobs", None).await;
    assert_eq!(list["jobs"], json!([]));
    // A card that travels as an object is measured as one: its quotes are not written twice.
    let quotes = json!({ "elements": [{ "tag": "markdown", "content": "\"".repeat(11_000) }] });
    let shown = at(
        "send_ephemeral",
        json!({ "chat": DEFAULT_CHAT, "user": DEFAULT_USERS[0], "card": quotes }),
        none(),
    );
    let id = support::jobs::post(&house, shown).await;
    assert_eq!(house.settled(&id).await["state"], "done");
}

/// A Feishu without limits, as a program speaks to it.
struct Feishu {
    house: House,
    http: reqwest::Client,
    token: String,
}

impl Feishu {
    async fn open() -> Feishu {
        let seed = json!({ "limits": { "app_minute": 0, "app_second": 0, "chat_second": 0, "user_second": 0 } });
        let house = House::without_relay(Some(seed), "").await;
        let http = reqwest::Client::builder().no_proxy().build();
        let mut feishu = Feishu {
            house,
            http: http.expect("a client can be built"),
            token: String::new(),
        };
        let asks = json!({ "app_id": DEFAULT_APP_ID, "app_secret": DEFAULT_APP_SECRET });
        let told = feishu
            .post("auth/v3/tenant_access_token/internal", &asks)
            .await;
        feishu.token = told["tenant_access_token"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        feishu
    }

    async fn post(&self, path: &str, body: &Value) -> Value {
        let url = format!("{}/open-apis/{path}", self.house.feishu);
        let request = self.http.post(url).bearer_auth(&self.token).json(body);
        let answer = request.send().await.expect("it answers");
        answer.json().await.expect("it answers with JSON")
    }

    /// Its answer to a message with this content.
    async fn send(&self, content: &Content) -> Value {
        let body = json!({
            "receive_id": DEFAULT_CHAT, "msg_type": content.msg_type, "content": content.content,
        });
        self.post("im/v1/messages?receive_id_type=chat_id", &body)
            .await
    }
}

fn words() -> impl Strategy<Value = String> {
    let user = DEFAULT_USERS[0];
    let pieces = vec![
        format!("<at user_id=\"{user}\">x</at>"),
        "<at user_id=\"all\"></at>".to_owned(),
        format!("<at user_id=\"{user}\">"),
        format!("<at id={user}></at>"),
        "<b>x</b>".to_owned(),
        "</at>".to_owned(),
        "<b>".to_owned(),
        "[x](https://ex.cn)".to_owned(),
        "\n".to_owned(),
        "  ".to_owned(),
        "字".to_owned(),
    ];
    let piece = prop_oneof![prop::sample::select(pieces), "[ -~]{0,12}"];
    prop::collection::vec(piece, 0..4).prop_map(|pieces| pieces.concat())
}

/// A node of a post, mostly a right one.
fn node() -> impl Strategy<Value = Value> {
    let href = prop::sample::select(vec![
        "https://ex.cn/a?b=c",
        "mailto:a@ex.cn",
        "lark://x",
        "ex.cn",
        "https://",
        "https://a b",
        "",
    ]);
    prop_oneof![
        words().prop_map(|text| json!({ "tag": "text", "text": text, "style": ["bold", "odd"] })),
        words().prop_map(|text| json!({ "tag": "text", "text": text, "un_escape": true })),
        (words(), href).prop_map(|(text, href)| json!({ "tag": "a", "text": text, "href": href })),
        Just(json!({ "tag": "at", "user_id": DEFAULT_USERS[0] })),
        Just(json!({ "tag": "at", "user_id": "all" })),
        Just(json!({ "tag": "at" })),
        words().prop_map(|text| json!({ "tag": "md", "text": text })),
        words().prop_map(|text| json!({ "tag": "code_block", "text": text, "language": "GO" })),
        Just(json!({ "tag": "emotion", "emoji_type": "OK" })),
        Just(json!({ "tag": "hr" })),
        Just(json!({ "tag": "button" })),
        Just(json!({ "tag": "text", "text": 1 })),
        Just(json!("x")),
    ]
}

fn post() -> impl Strategy<Value = Value> {
    let paragraphs = prop::collection::vec(prop::collection::vec(node(), 0..3), 0..4);
    let language = prop::sample::select(vec!["zh_cn", "en_us", "zh_CN", "chinese"]);
    (language, paragraphs, words()).prop_map(
        |(language, content, title)| json!({ language: { "title": title, "content": content } }),
    )
}

/// An element of a card, mostly a right one.
fn element() -> impl Strategy<Value = Value> {
    prop_oneof![
        "[ -;=?-~]{0,20}".prop_map(|text| json!({ "tag": "markdown", "content": text })),
        Just(json!({ "tag": "markdown", "content": format!("<at id={}></at>", DEFAULT_USERS[0]) })),
        words().prop_map(|text| json!({ "tag": "div", "text": { "tag": "plain_text", "content": text.replace('<', "") } })),
        Just(json!({ "tag": "hr" })),
        Just(json!({ "tag": "column_set", "columns": [{ "tag": "column", "elements": [{ "tag": "hr" }] }] })),
        Just(json!({ "tag": "button", "value": { "list": [{ "step": "note" }] } })),
        Just(json!({ "tag": "note", "elements": [{ "tag": "plain_text", "content": "x" }] })),
    ]
}

fn card() -> impl Strategy<Value = Value> {
    let list = prop_oneof![
        6 => prop::collection::vec(element(), 0..6),
        1 => (198_usize..204).prop_map(|count| vec![json!({ "tag": "hr" }); count]),
    ];
    (list, 0..6).prop_map(|(list, form)| match form {
        0 | 1 => json!({ "schema": "2.0", "header": { "title": { "tag": "plain_text", "content": "t" } }, "body": { "elements": list } }),
        2 => json!({ "config": { "update_multi": true }, "elements": list }),
        3 => json!({ "schema": "2.0", "body": {} }),
        4 => json!({ "type": "template", "data": { "template_id": "AAqexample" } }),
        _ => json!({ "type": "card", "data": { "card_id": "7371" } }),
    })
}

/// A type and its content as an object.
fn content() -> impl Strategy<Value = (&'static str, Value)> {
    prop_oneof![
        3 => words().prop_map(|text| ("text", json!({ "text": text }))),
        4 => post().prop_map(|post| ("post", post)),
        4 => card().prop_map(|card| ("interactive", card)),
        1 => Just(("share_user", json!({ "user_id": DEFAULT_USERS[0] }))),
        1 => Just(("share_user", json!({}))),
        1 => Just(("share_chat", json!({ "chat_id": DEFAULT_CHAT }))),
        1 => Just(("image", json!({ "image_key": "" }))),
        1 => Just(("system", json!({ "type": "notice" }))),
        1 => prop::sample::select(vec!["text", "post", "interactive", "video"]).prop_map(|kind| (kind, json!({ "x": 1 }))),
    ]
}

#[tokio::test]
async fn the_sandbox_takes_what_the_door_takes_and_refuses_what_it_refuses() {
    let feishu = Feishu::open().await;
    let mut runner =
        TestRunner::new_with_rng(Config::default(), TestRunner::deterministic().rng().clone());
    let contents = content();
    let (mut taken, mut refused) = (0, 0);
    for _ in 0..CASES {
        let (msg_type, object) = contents
            .new_tree(&mut runner)
            .expect("one can be made")
            .current();
        let args = Map::from_iter([
            ("msg_type".to_owned(), json!(msg_type)),
            ("content".to_owned(), object.clone()),
        ]);
        let raw = Content {
            msg_type: msg_type.to_owned(),
            content: object.to_string(),
        };
        match Content::from_args(&args) {
            Ok(content) => {
                let answer = feishu.send(&content).await;
                assert_eq!(answer["code"], 0, "{msg_type} {object}: {answer}");
                taken += 1;
            }
            Err(flaws)
                if flaws
                    .iter()
                    .all(|flaw| STRICTER.iter().any(|word| flaw.detail.contains(word))) => {}
            Err(flaws) => {
                let answer = feishu.send(&raw).await;
                assert_ne!(answer["code"], 0, "{msg_type} {object}: {flaws:?}");
                refused += 1;
            }
        }
    }
    assert!(
        taken > CASES / 4 && refused > CASES / 8,
        "{taken} and {refused}"
    );
}
