//! Content from arguments: what comes out, and where flaws are found.

use serde_json::{Value, json};

use super::*;

fn args(value: &Value) -> &Map<String, Value> {
    value.as_object().expect("arguments are an object")
}

/// `Ok(type, content)`, or the pointers of the flaws.
#[track_caller]
fn check(input: &Value, expected: Result<(&str, Value), &[&str]>) {
    let found = Content::from_args(args(input));
    let found = found.as_ref().map(|made| {
        let content: Value = serde_json::from_str(&made.content).expect("content is JSON");
        (made.msg_type.as_str(), content)
    });
    let found = found.map_err(|flaws| {
        flaws
            .iter()
            .map(|flaw| flaw.pointer.as_str())
            .collect::<Vec<_>>()
    });
    assert_eq!(found, expected.map_err(<[&str]>::to_vec), "{input}");
}

#[track_caller]
fn check_batch(input: &Value, expected: Result<(&str, Value), &[&str]>) {
    let found = BatchContent::from_args(args(input));
    let found = found.as_ref().map(|made| {
        let object: Value = serde_json::from_str(&made.object).expect("content is JSON");
        (made.msg_type.as_str(), object)
    });
    let found = found.map_err(|flaws| {
        flaws
            .iter()
            .map(|flaw| flaw.pointer.as_str())
            .collect::<Vec<_>>()
    });
    assert_eq!(found, expected.map_err(<[&str]>::to_vec), "{input}");
}

#[test]
fn every_argument_becomes_the_platforms_type() {
    check(
        &json!({ "text": "hi", "to": "oc_1" }),
        Ok(("text", json!({ "text": "hi" }))),
    );
    let md = json!({ "zh_cn": { "content": [[{ "tag": "md", "text": "**a**" }]] } });
    check(&json!({ "markdown": "**a**" }), Ok(("post", md)));
    let post = json!({ "zh_cn": { "title": "t", "content": [[{ "tag": "text", "text": "" }, { "tag": "hr" }]] } });
    check(&json!({ "post": post }), Ok(("post", post.clone())));
    check(
        &json!({ "post": post["zh_cn"] }),
        Ok(("post", post.clone())),
    );
    let card = json!({ "elements": [] });
    check(&json!({ "card": card }), Ok(("interactive", card)));
    let template = json!({ "type": "template", "data": { "template_id": "AAq1" } });
    check(
        &json!({ "template": "AAq1" }),
        Ok(("interactive", template.clone())),
    );
    check(
        &json!({ "template": { "template_id": "AAq1" } }),
        Ok(("interactive", template)),
    );
    check(
        &json!({ "image": "img_1" }),
        Ok(("image", json!({ "image_key": "img_1" }))),
    );
    check(
        &json!({ "image": { "image_key": "img_1" } }),
        Ok(("image", json!({ "image_key": "img_1" }))),
    );
    for kind in ["file", "audio", "media", "sticker"] {
        check(
            &json!({ kind: "file_1" }),
            Ok((kind, json!({ "file_key": "file_1" }))),
        );
    }
    let video = json!({ "file_key": "f", "image_key": "i" });
    check(&json!({ "media": video }), Ok(("media", video)));
    check(
        &json!({ "share_chat": "oc_1" }),
        Ok(("share_chat", json!({ "chat_id": "oc_1" }))),
    );
    check(
        &json!({ "share_user": "ou_1" }),
        Ok(("share_user", json!({ "user_id": "ou_1" }))),
    );
    let divider = json!({ "type": "divider", "params": { "divider_text": { "text": "new" } } });
    check(&json!({ "system": "new" }), Ok(("system", divider.clone())));
    check(&json!({ "system": divider }), Ok(("system", divider)));
}

#[test]
fn an_image_may_still_be_a_job() {
    let job = format!("job_{}", "0123456789abcdef".repeat(2));
    check(
        &json!({ "image": job }),
        Ok(("image", json!({ "image_key": job }))),
    );
}

#[test]
fn one_content_is_needed_and_no_more() {
    check(&json!({ "to": "oc_1" }), Err(&[""]));
    check(
        &json!({ "text": "a", "markdown": "b" }),
        Err(&["/markdown"]),
    );
    check(
        &json!({ "text": "a", "msg_type": "text", "content": {} }),
        Err(&["/msg_type", "/content"]),
    );
    check(&json!({ "msg_type": "text" }), Err(&["/msg_type"]));
    check(&json!({ "content": {} }), Err(&["/content"]));
}

#[test]
fn a_raw_string_stays_byte_for_byte() {
    let content = r#"{ "text" :  "é\n" }"#;
    let input = json!({ "msg_type": "text", "content": content });
    assert_eq!(
        Content::from_args(args(&input))
            .expect("it is right")
            .content,
        content
    );
    check(
        &json!({ "msg_type": "text", "content": { "text": "a" } }),
        Ok(("text", json!({ "text": "a" }))),
    );
    check(
        &json!({ "msg_type": "text", "content": "{" }),
        Err(&["/content"]),
    );
    check(
        &json!({ "msg_type": "text", "content": "[]" }),
        Err(&["/content"]),
    );
    check(
        &json!({ "msg_type": "text", "content": 1 }),
        Err(&["/content"]),
    );
    check(
        &json!({ "msg_type": "hongbao", "content": {} }),
        Err(&["/msg_type"]),
    );
    check(
        &json!({ "msg_type": 1, "content": {} }),
        Err(&["/msg_type"]),
    );
    check(
        &json!({ "msg_type": "image", "content": {} }),
        Err(&["/content"]),
    );
}

#[test]
fn wrong_shapes_are_found_in_their_place() {
    for key in [
        "text",
        "markdown",
        "post",
        "card",
        "template",
        "image",
        "file",
        "system",
        "share_user",
    ] {
        let at = format!("/{key}");
        check(&json!({ key: 1 }), Err(&[at.as_str()]));
        check(&json!({ key: null }), Err(&[at.as_str()]));
    }
    check(&json!({ "text": "" }), Err(&["/text"]));
    check(&json!({ "markdown": "" }), Err(&["/markdown"]));
    check(&json!({ "image": "" }), Err(&["/image"]));
    check(&json!({ "image": { "data": "aGk=" } }), Err(&["/image"]));
    check(
        &json!({ "image": { "image_key": 1 } }),
        Err(&["/image/image_key"]),
    );
    check(
        &json!({ "media": { "file_key": "f", "image_key": 1 } }),
        Err(&["/media/image_key"]),
    );
    check(
        &json!({ "template": { "template_id": "" } }),
        Err(&["/template/template_id"]),
    );
    check(
        &json!({ "template": { "template_id": "a", "template_variable": [] } }),
        Err(&["/template/template_variable"]),
    );
    check(
        &json!({ "card": { "type": "card", "data": {} } }),
        Err(&["/card/data"]),
    );
    check(&json!({ "card": { "type": "card" } }), Err(&["/card/data"]));
    check(&json!({ "card": {} }), Err(&["/card"]));
    check(
        &json!({ "card": { "schema": "3.0" } }),
        Err(&["/card/schema"]),
    );
    check(
        &json!({ "card": { "schema": "2.0", "body": [] } }),
        Err(&["/card/body"]),
    );
}

#[test]
fn posts_follow_the_rules_of_their_nodes() {
    let one = |nodes: Value| json!({ "post": { "zh_cn": { "content": [nodes] } } });
    let at = "/post/zh_cn/content/0";
    check(&json!({ "post": {} }), Err(&["/post"]));
    check(
        &json!({ "post": { "chinese": {} } }),
        Err(&["/post/chinese"]),
    );
    check(&json!({ "post": { "zh_cn": 1 } }), Err(&["/post/zh_cn"]));
    check(
        &json!({ "post": { "zh_cn": {} } }),
        Err(&["/post/zh_cn/content"]),
    );
    check(
        &json!({ "post": { "en_us": { "title": 1, "content": [] } } }),
        Err(&["/post/en_us/title"]),
    );
    check(&one(json!(1)), Err(&[at]));
    check(&one(json!([1])), Err(&[&format!("{at}/0")]));
    check(
        &one(json!([{ "tag": "button" }])),
        Err(&[&format!("{at}/0/tag")]),
    );
    check(
        &one(json!([{ "tag": "a", "text": "x", "href": "" }])),
        Err(&[&format!("{at}/0/href")]),
    );
    check(
        &one(json!([{ "tag": "at" }])),
        Err(&[&format!("{at}/0/user_id")]),
    );
    check(
        &one(json!([{ "tag": "text", "text": "x", "style": "bold" }])),
        Err(&[&format!("{at}/0/style")]),
    );
    for (tag, field) in [("img", "image_key"), ("media", "file_key"), ("md", "text")] {
        let node = json!({ "tag": tag, field: "x" });
        assert!(Content::from_args(args(&one(json!([node])))).is_ok());
        check(
            &one(json!([{ "tag": "hr" }, node])),
            Err(&[&format!("{at}/1")]),
        );
    }
}

#[test]
fn a_link_of_a_post_can_be_opened() {
    let href = |href: &str| json!({ "post": { "title": "t", "content": [[{ "tag": "text", "text": "" }, { "tag": "a", "text": "x", "href": href }]] } });
    for good in [
        "https://example.com",
        "HTTP://a/b?c=d#e",
        "mailto:a@b.cn",
        "lark://client/x",
        "tel:110",
        "vscode://file/x",
    ] {
        assert!(
            Content::from_args(args(&href(good))).is_ok(),
            "{good} is a link"
        );
    }
    for bad in [
        "example.com",
        "https://",
        "https:x",
        "http:///x",
        "https://a b",
        "https://a\n",
        ":x",
        "1a:x",
        "mailto:",
    ] {
        // Where no language is named there is none in the pointer either.
        check(&href(bad), Err(&["/post/content/0/1/href"]));
    }
}

#[test]
fn what_is_meant_as_a_mention_can_be_one() {
    for good in [
        r#"<at user_id="ou_1">Li</at> hi <at user_id="all"></at>"#,
        r#"<at user_id="ou_1"><atlas></at>"#,
        "<atom> 3 < 4, a<at 5, <at>, </at>, id=1",
        "plain",
    ] {
        assert!(
            Content::from_args(args(&json!({ "text": good }))).is_ok(),
            "{good}"
        );
    }
    for bad in [
        r#"<at user_id="ou_1">Li"#,
        r#"<at user_id="ou_1""#,
        r#"</at><at user_id="ou_1">"#,
        r#"<at user_id="ou_1"><at user_id="ou_2"></at>"#,
        r#"<at user_id=""></at>"#,
        "<at id=ou_1></at>",
        "<at  email=a@b.cn></at>",
    ] {
        check(&json!({ "text": bad }), Err(&["/text"]));
        check(&json!({ "markdown": bad }), Err(&["/markdown"]));
        check(
            &json!({ "msg_type": "text", "content": { "text": bad } }),
            Err(&["/content/text"]),
        );
        let whole = json!({ "text": bad }).to_string();
        check(
            &json!({ "msg_type": "text", "content": whole }),
            Err(&["/content"]),
        );
        check_batch(&json!({ "text": bad }), Err(&["/text"]));
    }
    let card = |tag: &str, content: &str| json!({ "card": { "elements": [{ "tag": "div", "text": { "tag": tag, "content": content } }] } });
    let at = "/card/elements/0/text/content";
    check(&card("lark_md", r#"<at user_id="ou_1"></at>"#), Err(&[at]));
    check(&card("lark_md", "<at id=></at>"), Err(&[at]));
    assert!(Content::from_args(args(&card("lark_md", "<at id=ou_1></at>"))).is_ok());
    // Plain text has no mentions, whatever it looks like.
    assert!(Content::from_args(args(&card("plain_text", r#"<at user_id="ou_1">"#))).is_ok());
}

#[test]
fn each_use_takes_its_own_types() {
    let at = |used, input: Value| {
        Content::checked(args(&input), used)
            .map(|made| made.msg_type)
            .map_err(|flaws| flaws[0].pointer.clone())
    };
    use ContentUse::{Edit, Reply, UpdateCard};
    let wrong = |pointer: &str| Err(pointer.to_owned());
    assert_eq!(at(Reply, json!({ "system": "x" })), wrong("/system"));
    assert!(at(Reply, json!({ "image": "img_1" })).is_ok());
    assert_eq!(at(Edit, json!({ "image": "img_1" })), wrong("/image"));
    assert_eq!(
        at(Edit, json!({ "card": { "elements": [] } })),
        wrong("/card")
    );
    assert_eq!(at(Edit, json!({ "markdown": "x" })), Ok("post".to_owned()));
    let image = json!({ "msg_type": "image", "content": { "image_key": "i" } });
    assert_eq!(at(Edit, image), wrong("/msg_type"));
    assert_eq!(at(UpdateCard, json!({ "text": "x" })), wrong("/text"));
    assert!(at(UpdateCard, json!({ "template": "AAq1" })).is_ok());
}

#[test]
fn a_card_that_is_updated_is_shared() {
    let fixed = |card: Value| {
        Content::not_updatable(args(&json!({ "card": card }))).map(|flaw| flaw.pointer)
    };
    let at = |pointer: &str| Some(pointer.to_owned());
    let with = |config: Value| json!({ "config": config, "elements": [] });
    assert_eq!(fixed(with(json!({ "update_multi": true }))), None);
    assert_eq!(
        fixed(with(json!({ "update_multi": false }))),
        at("/card/config/update_multi")
    );
    assert_eq!(fixed(with(json!({}))), at("/card/config"));
    assert_eq!(fixed(json!({ "elements": [] })), at("/card"));
    let new =
        |config: Value| json!({ "schema": "2.0", "config": config, "body": { "elements": [] } });
    assert_eq!(fixed(new(json!({}))), None);
    assert_eq!(
        fixed(new(json!({ "update_multi": false }))),
        at("/card/config/update_multi")
    );
    let entity = json!({ "type": "card", "data": { "card_id": "1" } });
    assert_eq!(fixed(entity), at("/card/type"));
    let template = json!({ "template": "AAq1" });
    assert_eq!(Content::not_updatable(args(&template)), None);
    let text = Content::not_updatable(args(&json!({ "text": "x" })));
    assert_eq!(text.map(|flaw| flaw.pointer), at("/text"));
}

#[test]
fn what_was_checked_before_is_not_checked_again() {
    let old = json!({ "text": "<at id=ou_1></at>" });
    assert!(Content::from_args(args(&old)).is_err());
    assert_eq!(
        Content::unchecked(args(&old)).expect("it is made").content,
        old.to_string()
    );
    assert!(Content::unchecked(args(&json!({ "text": "a", "card": {} }))).is_err());
}

#[test]
fn what_is_shared_has_an_id_of_its_kind() {
    check(&json!({ "share_user": "on_1" }), Err(&["/share_user"]));
    check(
        &json!({ "share_user": { "user_id": "a@b.cn" } }),
        Err(&["/share_user/user_id"]),
    );
    check(&json!({ "share_chat": "ou_1" }), Err(&["/share_chat"]));
    check_batch(
        &json!({ "msg_type": "share_chat", "content": { "share_chat_id": "" } }),
        Err(&["/content/share_chat_id"]),
    );
}

#[test]
fn a_card_may_travel_as_an_object() {
    let card = json!({ "elements": [] });
    let made = CardObject::from_args(args(&json!({ "card": card, "chat": "oc_1" })));
    assert_eq!(made.expect("it is right").card.get(), card.to_string());
    let at = |input: Value| {
        CardObject::from_args(args(&input))
            .map(drop)
            .map_err(|flaws| flaws[0].pointer.clone())
    };
    assert_eq!(at(json!({ "template": "AAq1" })), Ok(()));
    assert_eq!(at(json!({ "text": "x" })), Err("/text".to_owned()));
    assert_eq!(
        at(json!({ "card": { "elements": "x" } })),
        Err("/card/elements".to_owned())
    );
    let large = json!({ "elements": [{ "tag": "markdown", "content": "a".repeat(30_000) }] });
    assert_eq!(at(json!({ "card": large })), Err("/card".to_owned()));
}

#[test]
fn a_custom_bot_has_forms_and_a_size_of_its_own() {
    let made = |input: Value| {
        HookContent::from_args(args(&input)).map_err(|flaws| flaws[0].pointer.clone())
    };
    let text = made(json!({ "text": "hi" })).expect("it is right");
    assert_eq!(
        text.body(None),
        r#"{"msg_type":"text","content":{"text":"hi"}}"#
    );
    let signed = Signed {
        timestamp: 1_599_360_473,
        sign: "x=",
    };
    assert_eq!(
        text.body(Some(signed)),
        r#"{"timestamp":"1599360473","sign":"x=","msg_type":"text","content":{"text":"hi"}}"#
    );
    let card = made(json!({ "msg_type": "interactive", "card": { "elements": [] } }));
    assert_eq!(
        card.expect("it is right").body(None),
        r#"{"msg_type":"interactive","card":{"elements":[]}}"#
    );
    let styled = json!({ "content": [[{ "tag": "text", "text": "x", "style": ["bold"] }]] });
    assert!(made(json!({ "post": styled })).is_ok());
    for (input, pointer) in [
        (json!({ "markdown": "x" }), "/markdown"),
        (json!({ "file": "f" }), "/file"),
        (
            json!({ "post": { "content": [[{ "tag": "md", "text": "x" }]] } }),
            "/post/content/0/0",
        ),
        (
            json!({ "msg_type": "post", "content": { "post": { "zh_cn": {} } } }),
            "/content/post/zh_cn/content",
        ),
        (json!({ "text": "a".repeat(20_000) }), "/text"),
    ] {
        assert_eq!(made(input), Err(pointer.to_owned()));
    }
    let room = 20_000 - text.body(Some(hook::LONGEST)).len() + "hi".len();
    assert!(made(json!({ "text": "a".repeat(room) })).is_ok());
    assert!(made(json!({ "text": "a".repeat(room + 1) })).is_err());
}

#[test]
fn cards_keep_within_their_count_and_their_version() {
    let card = |count: usize| {
        json!({ "card": { "schema": "2.0", "body": { "elements":
        vec![json!({ "tag": "div", "text": { "tag": "plain_text", "content": "x" } }); count] } } })
    };
    assert!(Content::from_args(args(&card(200))).is_ok());
    check(&card(201), Err(&["/card/body/elements"]));
    let nested = json!({ "tag": "column_set", "columns": vec![json!({ "tag": "column", "elements": [] }); 200] });
    check(
        &json!({ "card": { "schema": "2.0", "body": { "elements": [nested] } } }),
        Err(&["/card/body/elements"]),
    );
    let old =
        json!({ "schema": "2.0", "body": { "elements": [{ "tag": "note", "elements": [] }] } });
    check(&json!({ "card": old }), Err(&["/card/body/elements/0/tag"]));
    // A producer's own data is nobody's element.
    let data = json!({ "schema": "2.0", "body": { "elements": [{ "tag": "button", "value": { "steps": [{ "tag": "note" }] } }] } });
    assert!(Content::from_args(args(&json!({ "card": data }))).is_ok());
    for (card, at) in [
        (json!({ "schema": "2.0" }), "/card/body"),
        (json!({ "elements": ["x"] }), "/card/elements/0"),
        (json!({ "elements": [], "config": 1 }), "/card/config"),
        (
            json!({ "elements": [], "config": { "update_multi": "true" } }),
            "/card/config/update_multi",
        ),
        (
            json!({ "elements": [], "header": { "title": "x" } }),
            "/card/header/title",
        ),
    ] {
        check(&json!({ "card": card }), Err(&[at]));
    }
}

#[test]
fn a_divider_is_short_and_speaks_known_languages() {
    let check_text = |text: &str, fits: bool| {
        assert_eq!(
            Content::from_args(args(&json!({ "system": text }))).is_ok(),
            fits,
            "{text}"
        );
    };
    check_text(&"a".repeat(20), true);
    check_text(&"a".repeat(21), false);
    check_text(&"字".repeat(10), true);
    check_text(&"字".repeat(11), false);
    let with = |name: &str, text: &str| {
        json!({ "system": { "type": "divider",
            "params": { "divider_text": { "text": "x", "i18n_text": { name: text } } } } })
    };
    assert!(Content::from_args(args(&with("zh_CN", "新消息"))).is_ok());
    let at = "/system/params/divider_text/i18n_text";
    check(&with("zh_cn", "新消息"), Err(&[&format!("{at}/zh_cn")]));
    check(&with("zh_CN", ""), Err(&[&format!("{at}/zh_CN")]));
    check(
        &json!({ "system": { "type": "notice" } }),
        Err(&["/system/type"]),
    );
}

#[test]
fn the_whole_request_counts_as_it_is_written() {
    let fits = |text: &str| Content::from_args(args(&json!({ "text": text }))).is_ok();
    let room = TEXT_BYTES_MAX - ENVELOPE_BYTES - r#""{\"text\":\"\"}""#.len();
    assert!(fits(&"a".repeat(room)));
    assert!(!fits(&"a".repeat(room + 1)));
    assert!(!fits(&"\n".repeat(room / 2))); // a newline takes three bytes when it is encoded twice
    check(
        &json!({ "markdown": "a".repeat(RICH_BYTES_MAX) }),
        Err(&["/markdown"]),
    );
    let raw = json!({ "msg_type": "post", "content":
        { "zh_cn": { "content": [[{ "tag": "md", "text": "a".repeat(RICH_BYTES_MAX) }]] } } });
    check(&raw, Err(&["/content"]));
}

#[test]
fn many_flaws_are_cut_short() {
    let nodes = vec![json!({ "tag": "button" }); 1000];
    let flaws = Content::from_args(args(
        &json!({ "post": { "zh_cn": { "content": [nodes] } } }),
    ));
    assert_eq!(flaws.expect_err("no node is right").len(), FLAWS_MAX);
}

#[test]
fn a_batch_has_forms_of_its_own() {
    check_batch(
        &json!({ "text": "hi" }),
        Ok(("text", json!({ "text": "hi" }))),
    );
    let post = json!({ "zh_cn": { "content": [[{ "tag": "text", "text": "x" }]] } });
    let wrapped = || Ok(("post", json!({ "post": post })));
    check_batch(&json!({ "post": post }), wrapped());
    check_batch(
        &json!({ "msg_type": "post", "content": { "post": post } }),
        wrapped(),
    );
    check_batch(&json!({ "msg_type": "post", "content": post }), wrapped());
    check_batch(
        &json!({ "image": "img_1" }),
        Ok(("image", json!({ "image_key": "img_1" }))),
    );
    let shared = || Ok(("share_chat", json!({ "share_chat_id": "oc_1" })));
    check_batch(&json!({ "share_chat": "oc_1" }), shared());
    check_batch(
        &json!({ "msg_type": "share_chat", "content": { "share_chat_id": "oc_1" } }),
        shared(),
    );
    let card = json!({ "elements": [] });
    check_batch(&json!({ "card": card }), Ok(("interactive", card.clone())));
    check_batch(
        &json!({ "msg_type": "interactive", "card": card }),
        Ok(("interactive", card.clone())),
    );
    check_batch(
        &json!({ "msg_type": "interactive", "content": card.to_string() }),
        Ok(("interactive", card)),
    );
    check_batch(&json!({ "markdown": "x" }), Err(&["/markdown"]));
    check_batch(&json!({ "file": "file_1" }), Err(&["/file"]));
    check_batch(
        &json!({ "msg_type": "file", "content": { "file_key": "f" } }),
        Err(&["/msg_type"]),
    );
    check_batch(
        &json!({ "msg_type": "text", "content": "x" }),
        Err(&["/content"]),
    );
    check_batch(&json!({ "text": "a".repeat(30_000) }), Err(&["/text"]));
    let one = |node: Value| json!({ "post": { "zh_cn": { "content": [[node]] } } });
    check_batch(
        &one(json!({ "tag": "md", "text": "x" })),
        Err(&["/post/zh_cn/content/0/0"]),
    );
    let styled = json!({ "tag": "text", "text": "x", "style": ["bold"] });
    check_batch(&one(styled), Err(&["/post/zh_cn/content/0/0/style"]));
}

#[test]
fn a_batchs_body_holds_the_lists_that_are_there() {
    let ids = ["ou_1".to_owned(), "ou_2".to_owned()];
    let lists = BatchLists {
        open_ids: &ids,
        ..BatchLists::default()
    };
    let text = BatchContent::from_args(args(&json!({ "text": "hi" }))).expect("it is right");
    assert_eq!(
        text.body(&lists),
        r#"{"msg_type":"text","content":{"text":"hi"},"open_ids":["ou_1","ou_2"]}"#
    );
    let card =
        BatchContent::from_args(args(&json!({ "card": { "elements": [] } }))).expect("it is right");
    assert_eq!(
        card.body(&lists),
        r#"{"msg_type":"interactive","card":{"elements":[]},"open_ids":["ou_1","ou_2"]}"#
    );
}
