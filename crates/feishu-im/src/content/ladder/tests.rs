//! Cards on their lower rungs: what they say, how much of it, and that nothing in them does more than say.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::*;

fn card(value: &Value) -> Content {
    Content {
        msg_type: "interactive".to_owned(),
        content: value.to_string(),
    }
}

fn shown(value: &Value, rung: u8) -> Value {
    let made = card(value).lowered(rung);
    assert_eq!(
        made.msg_type,
        ["interactive", "post", "text"][usize::from(rung)]
    );
    serde_json::from_str(&made.content).expect("content is JSON")
}

/// Passes the checks of its type at the door.
fn is_good(content: &Content) -> Result<(), Vec<Flaw>> {
    let args = json!({ "msg_type": content.msg_type, "content": content.content });
    Content::from_args(args.as_object().expect("it is one")).map(drop)
}

fn example() -> Value {
    json!({
        "schema": "2.0",
        "header": { "title": { "tag": "plain_text", "content": "disk full" }, "template": "red" },
        "body": { "elements": [
            { "tag": "markdown", "content": "**db-1** at 97 %, see [the board](https://ex.cn/d?x=1)\n<at id=ou_1></at> please" },
            { "tag": "hr" },
            { "tag": "column_set", "columns": [
                { "tag": "column", "elements": [{ "tag": "div", "text": { "tag": "plain_text", "content": "left <at id=all>" } }] },
                { "tag": "column", "elements": [{ "tag": "img", "img_key": "img_1", "alt": { "tag": "plain_text", "content": "a graph" } }] },
            ] },
            { "tag": "button", "text": { "tag": "plain_text", "content": "runbook" }, "behaviors": [{ "type": "open_url", "default_url": "https://ex.cn/r" }] },
            { "tag": "button", "text": { "tag": "plain_text", "content": "ack" }, "behaviors": [{ "type": "callback", "value": { "content": "secret" } }] },
        ] },
    })
}

#[test]
fn a_post_says_what_the_card_said_and_counts_the_rest() {
    let text = |text: &str| json!({ "tag": "text", "text": text });
    assert_eq!(
        shown(&example(), 1),
        json!({ "zh_cn": { "title": "disk full", "content": [
            [text("**db-1** at 97 %, see "), { "tag": "a", "text": "the board", "href": "https://ex.cn/d?x=1" }],
            [text("@ou_1 please")],
            [text("left <at id=all>")],
            [{ "tag": "a", "text": "runbook", "href": "https://ex.cn/r" }],
            [text(&note(2))],
        ] } })
    );
}

#[test]
fn a_text_says_the_same_in_one_piece() {
    let expected = format!(
        "disk full\n**db-1** at 97 %, see the board https://ex.cn/d?x=1\n@ou_1 please\nleft ＜at id=all>\n\
         runbook https://ex.cn/r\n{}",
        note(2)
    );
    assert_eq!(shown(&example(), 2), json!({ "text": expected }));
}

#[test]
fn the_older_form_a_template_and_an_empty_card_have_words_too() {
    let old = json!({ "elements": [
        { "tag": "div", "text": { "tag": "lark_md", "content": "a<br>b <font color='red'>c</font>" },
          "fields": [{ "is_short": true, "text": { "tag": "lark_md", "content": "d <at id=ou_1>Li</at>" } }] },
        { "tag": "note", "elements": [{ "tag": "plain_text", "content": "e" }] },
        { "tag": "action", "actions": [{ "tag": "button", "text": { "tag": "lark_md", "content": "go" }, "url": "https://ex.cn" }] },
    ] });
    assert_eq!(shown(&old, 2)["text"], "a\nb c\nd @Li\ne\ngo https://ex.cn");
    let template = json!({ "type": "template", "data": { "template_id": "AAq1",
        "template_variable": { "host": "db-1", "rows": [{ "n": 3 }], "none": null } } });
    assert_eq!(shown(&template, 2)["text"], "host: db-1\nn: 3");
    assert_eq!(
        shown(&json!({ "elements": [] }), 2)["text"],
        "（卡片 / card）"
    );
    let languages = json!({ "i18n_elements": {
        "en_us": [{ "tag": "markdown", "content": "hi" }], "zh_cn": [{ "tag": "markdown", "content": "你好" }] } });
    assert_eq!(shown(&languages, 2)["text"], "你好");
}

#[test]
fn a_link_is_kept_only_where_it_is_one() {
    let line = |content: &str| {
        let card = json!({ "elements": [{ "tag": "markdown", "content": content }] });
        shown(&card, 1)["zh_cn"]["content"][0].clone()
    };
    let text = |text: &str| json!([{ "tag": "text", "text": text }]);
    assert_eq!(line("[a](javascript:x)"), text("[a](javascript:x)"));
    assert_eq!(line("[a](b c) ](x"), text("[a](b c) ](x"));
    assert_eq!(
        line("[](https://a.cn)[b](mailto:b@c.cn)"),
        json!([{ "tag": "a", "text": "https://a.cn", "href": "https://a.cn" }, { "tag": "a", "text": "b", "href": "mailto:b@c.cn" }])
    );
}

#[test]
fn what_is_too_much_is_counted() {
    let lines: Vec<Value> = (0..2_000)
        .map(|n| json!({ "tag": "markdown", "content": format!("line {n} \"quoted\\\"") }))
        .collect();
    let value =
        json!({ "header": { "title": { "content": "t".repeat(5_000) } }, "elements": lines });
    for rung in 1..=RUNGS {
        let made = card(&value).lowered(rung);
        assert_eq!(is_good(&made), Ok(()));
    }
    let post = shown(&value, 1);
    let list = post["zh_cn"]["content"].as_array().expect("it is a list");
    let shown = list.len() - 1;
    assert_eq!(list[shown][0]["text"], note(2_000 - shown));
    assert!(shown > 300, "{shown} lines fit");
    let long = json!({ "elements": [{ "tag": "markdown", "content": "字\"".repeat(40_000) }] });
    for rung in 1..=RUNGS {
        let made = card(&long).lowered(rung);
        assert_eq!(is_good(&made), Ok(()));
        assert!(made.content.len() > 10_000 && made.content.contains('…'));
    }
}

#[test]
fn a_sign_costs_what_it_takes_when_it_is_written() {
    for sign in ('\0'..='\u{ff}').chain(['字', '🎉', '\u{2028}']) {
        let bare = twice(&json!(""));
        assert_eq!(
            sign_twice(sign),
            twice(&json!(sign.to_string())) - bare,
            "{sign:?}"
        );
    }
}

#[test]
fn only_a_card_whose_words_are_known_can_go_down() {
    let at = |input: Value| {
        Content::degradable(input.as_object().expect("it is one"))
            .map(|lowered| lowered.map(|lowered| lowered.why))
            .map_err(|flaws| flaws[0].pointer.clone())
    };
    let good = |value: Value| at(json!({ "card": value }));
    assert_eq!(good(json!({ "elements": [] })), Ok(None));
    assert_eq!(at(json!({ "template": "AAq1" })), Ok(None));
    assert_eq!(at(json!({ "text": "x" })), Err("/text".to_owned()));
    assert_eq!(
        good(json!({ "type": "card", "data": { "card_id": "1" } })),
        Err("/card".to_owned())
    );
    assert_eq!(good(json!({})), Err("/card".to_owned()));
    let two = |elements: Value| good(json!({ "schema": "2.0", "body": { "elements": elements } }));
    let says = |found: Result<Option<String>, String>, words: &str| {
        let why = found.expect("it is taken").expect("it starts lower");
        assert!(why.contains(words), "{why}");
    };
    says(
        two(json!(vec![json!({ "tag": "hr" }); 201])),
        "201 elements",
    );
    says(two(json!([{ "tag": "note", "elements": [] }])), "JSON 2.0");
    says(
        two(json!([{ "tag": "markdown", "content": "a".repeat(30_000) }])),
        "bytes",
    );
    let wrong = json!([{ "tag": "note", "elements": [] }, { "tag": "markdown", "content": "<at user_id=x>" }]);
    assert_eq!(two(wrong), Err("/card/body/elements/1/content".to_owned()));
}

/// Strings that would like to be more than words.
fn hostile() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("<at user_id=\"all\"></at>".to_owned()),
        Just("<at user_id=\"ou_1\">x</at>".to_owned()),
        Just("<at id=all></at>".to_owned()),
        Just("<<at id=x>at user_id=\"all\"></at>".to_owned()),
        Just("<font>".to_owned()),
        Just("</at>".to_owned()),
        Just("[a](https://b.cn)".to_owned()),
        Just("](".to_owned()),
        Just("[<at id=\"".to_owned()),
        Just("\n".to_owned()),
        Just("\u{0}\u{7}\u{2028}".to_owned()),
        ".{0,40}",
        "[字\"\\\\]{0,2000}",
    ];
    prop::collection::vec(piece, 0..6).prop_map(|pieces| pieces.concat())
}

fn any_card() -> impl Strategy<Value = Value> {
    let names = [
        "tag",
        "text",
        "content",
        "elements",
        "columns",
        "fields",
        "actions",
        "extra",
        "header",
        "title",
        "body",
        "schema",
        "type",
        "data",
        "template_variable",
        "i18n_elements",
        "url",
        "behaviors",
        "default_url",
        "x",
    ];
    let words = [
        "markdown",
        "lark_md",
        "plain_text",
        "div",
        "button",
        "img",
        "note",
        "hr",
        "2.0",
        "template",
        "https://a.cn",
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<i32>().prop_map(Value::from),
        prop::sample::select(words.to_vec()).prop_map(Value::from),
        hostile().prop_map(Value::from),
    ];
    let name = prop::sample::select(names.to_vec());
    let tree = leaf.prop_recursive(6, 80, 8, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..8).prop_map(Value::from),
            prop::collection::btree_map(name.clone(), inner.clone(), 0..8).prop_map(|map| {
                Value::Object(Map::from_iter(
                    map.into_iter()
                        .map(|(name, value)| (name.to_owned(), value)),
                ))
            }),
            hostile().prop_map(|text| json!({ "tag": "markdown", "content": text })),
            hostile().prop_map(
                |text| json!({ "tag": "div", "text": { "tag": "plain_text", "content": text } })
            ),
        ]
    });
    (hostile(), prop::collection::vec(tree, 0..20)).prop_map(|(title, elements)| {
        json!({ "schema": "2.0", "header": { "title": { "content": title } }, "body": { "elements": elements } })
    })
}

proptest! {
    #[test]
    fn any_card_becomes_a_good_post_and_a_good_text_that_mention_nobody(value in any_card()) {
        for rung in 1..=RUNGS {
            let made = card(&value).lowered(rung);
            prop_assert_eq!(&made, &card(&value).lowered(rung));
            prop_assert_eq!(is_good(&made), Ok(()), "{}", made.content);
            let value: Value = serde_json::from_str(&made.content).expect("it is JSON");
            match rung {
                1 => {
                    let paragraphs = value["zh_cn"]["content"].as_array().expect("it is a list");
                    let nodes = paragraphs.iter().flat_map(|each| each.as_array().expect("it is a list"));
                    for node in nodes {
                        prop_assert!(node["tag"] == "text" || node["tag"] == "a");
                    }
                }
                _ => {
                    let text = value["text"].as_str().expect("it is a string");
                    prop_assert!(!text.contains('<') && !text.contains("]("), "{text}");
                }
            }
        }
    }

    #[test]
    fn anything_at_all_becomes_something(text in hostile()) {
        for content in [text.clone(), json!(text).to_string(), json!({ "elements": text }).to_string()] {
            let made = Content { msg_type: "interactive".to_owned(), content };
            for rung in 1..=RUNGS {
                prop_assert_eq!(is_good(&made.clone().lowered(rung)), Ok(()));
            }
        }
    }
}
