//! Checks of content, type by type.
//!
//! Source: content and card pages of the platform, May 2026.

use serde_json::{Map, Value};

use super::Flaws;
use crate::limits::{CARD_ELEMENTS_MAX, DIVIDER_WIDTH_MAX};

/// Types a bot can send.
pub(super) const TYPES: &[&str] = &[
    "text",
    "post",
    "image",
    "interactive",
    "share_chat",
    "share_user",
    "audio",
    "media",
    "file",
    "sticker",
    "system",
];

/// Languages of a divider; their case matters.
const LOCALES: &[&str] = &[
    "zh_CN", "en_US", "zh_HK", "zh_TW", "ja_JP", "id_ID", "vi_VN", "th_TH", "pt_BR", "es_ES",
    "ko_KR", "de_DE", "fr_FR", "it_IT", "ru_RU", "ms_MY",
];

/// Tags of JSON 1.0 that JSON 2.0 refuses.
const OLD_TAGS: &[&str] = &["action", "note"];

/// Adds what is wrong with the content of a `msg_type` that stands at `at`.
pub(super) fn content(msg_type: &str, value: &Value, at: &str, flaws: &mut Flaws) {
    let Some(object) = value.as_object() else {
        flaws.add(at, "is not an object".to_owned());
        return;
    };
    match msg_type {
        "text" => filled(object, "text", at, flaws),
        "post" => post(object, at, flaws),
        "image" => filled(object, "image_key", at, flaws),
        "interactive" => card(object, at, flaws),
        "share_chat" => filled(object, "chat_id", at, flaws),
        "share_user" => filled(object, "user_id", at, flaws),
        "media" => {
            filled(object, "file_key", at, flaws);
            if object.contains_key("image_key") {
                filled(object, "image_key", at, flaws);
            }
        }
        "audio" | "file" | "sticker" => filled(object, "file_key", at, flaws),
        "system" => divider(object, at, flaws),
        _ => flaws.add(at, "is of no type a bot can send".to_owned()),
    }
}

/// `object[name]` is a string with something in it.
fn filled(object: &Map<String, Value>, name: &str, at: &str, flaws: &mut Flaws) {
    match object.get(name) {
        Some(Value::String(text)) if !text.is_empty() => {}
        // Where the argument itself was the string, there is no place below it to point to.
        Some(Value::String(_)) => flaws.add(at, format!("is empty ({name})")),
        Some(_) => flaws.add(&below(at, name), "is not a string".to_owned()),
        None => flaws.add(at, format!("has no {name}")),
    }
}

fn below(at: &str, name: &str) -> String {
    format!("{at}/{}", name.replace('~', "~0").replace('/', "~1"))
}

fn post(languages: &Map<String, Value>, at: &str, flaws: &mut Flaws) {
    if languages.is_empty() {
        flaws.add(at, "has no language".to_owned());
    }
    for (name, body) in languages {
        let at = below(at, name);
        if !is_language(name) {
            flaws.add(&at, "is no language such as zh_cn".to_owned());
        } else if let Some(body) = body.as_object() {
            post_body(body, &at, flaws);
        } else {
            flaws.add(&at, "is not an object".to_owned());
        }
    }
}

fn is_language(name: &str) -> bool {
    let lower = |part: &str| part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_lowercase());
    name.split_once('_')
        .is_some_and(|(language, country)| lower(language) && lower(country))
}

fn post_body(body: &Map<String, Value>, at: &str, flaws: &mut Flaws) {
    if body.get("title").is_some_and(|title| !title.is_string()) {
        flaws.add(&below(at, "title"), "is not a string".to_owned());
    }
    let at = below(at, "content");
    let Some(paragraphs) = body.get("content").and_then(Value::as_array) else {
        flaws.add(&at, "is not a list of paragraphs".to_owned());
        return;
    };
    for (index, paragraph) in paragraphs.iter().enumerate() {
        let at = format!("{at}/{index}");
        let Some(nodes) = paragraph.as_array() else {
            flaws.add(&at, "is not a list of nodes".to_owned());
            continue;
        };
        for (index, value) in nodes.iter().enumerate() {
            node(value, nodes.len() == 1, &format!("{at}/{index}"), flaws);
        }
    }
}

fn node(value: &Value, alone: bool, at: &str, flaws: &mut Flaws) {
    let (Some(node), Some(tag)) = (value.as_object(), value["tag"].as_str()) else {
        flaws.add(at, "is not an object with a tag".to_owned());
        return;
    };
    let needs: &[&str] = match tag {
        "text" | "md" | "code_block" => &["text"],
        "a" => &["text", "href"],
        "at" => &["user_id"],
        "img" => &["image_key"],
        "media" => &["file_key"],
        "emotion" => &["emoji_type"],
        "hr" => &[],
        _ => {
            flaws.add(&below(at, "tag"), "is no tag of a post".to_owned());
            return;
        }
    };
    for name in needs {
        let given = node.get(*name).and_then(Value::as_str);
        if given.is_none_or(|given| given.is_empty() && *name != "text") {
            flaws.add(&below(at, name), format!("is needed by {tag} as a string"));
        }
    }
    if !alone && matches!(tag, "img" | "media" | "md") {
        flaws.add(
            at,
            format!("is {tag}, which must be alone in its paragraph"),
        );
    }
    if node.get("style").is_some_and(|style| !strings(style)) {
        flaws.add(&below(at, "style"), "is not a list of strings".to_owned());
    }
}

fn strings(value: &Value) -> bool {
    value
        .as_array()
        .is_some_and(|list| list.iter().all(Value::is_string))
}

/// Adds what a batch refuses in a post that is right by itself: `md` and styles.
pub(super) fn plain_post(languages: &Value, at: &str, flaws: &mut Flaws) {
    for (name, body) in languages.as_object().into_iter().flatten() {
        let paragraphs = body["content"].as_array().into_iter().flatten().enumerate();
        for (row, column, node) in paragraphs.flat_map(|(row, paragraph)| {
            paragraph
                .as_array()
                .into_iter()
                .flatten()
                .enumerate()
                .map(move |(column, node)| (row, column, node))
        }) {
            let at = format!("{}/content/{row}/{column}", below(at, name));
            if node["tag"] == "md" {
                flaws.add(&at, "is md, which a batch does not take".to_owned());
            }
            if node["style"]
                .as_array()
                .is_some_and(|list| !list.is_empty())
            {
                flaws.add(&below(&at, "style"), "is not taken by a batch".to_owned());
            }
        }
    }
}

fn card(card: &Map<String, Value>, at: &str, flaws: &mut Flaws) {
    match (card.get("type").and_then(Value::as_str), card.get("schema")) {
        (Some("template"), _) => by_id(card, "template_id", at, flaws),
        (Some("card"), _) => by_id(card, "card_id", at, flaws),
        (_, Some(Value::String(schema))) if schema == "2.0" => card_2(card, at, flaws),
        (_, Some(schema)) if schema != "1.0" => {
            flaws.add(&below(at, "schema"), "is not \"2.0\"".to_owned())
        }
        _ if card.get("elements").is_some_and(Value::is_array) => {}
        _ if card.get("i18n_elements").is_some_and(Value::is_object) => {}
        _ => flaws.add(
            at,
            "is no card: neither schema 2.0, nor a list of elements, nor a template".to_owned(),
        ),
    }
}

/// A card that stands on the platform: `{"type", "data": {id, …}}`.
fn by_id(card: &Map<String, Value>, name: &str, at: &str, flaws: &mut Flaws) {
    // What the `template` argument holds is the data itself.
    let at = if at == "/template" {
        at.to_owned()
    } else {
        below(at, "data")
    };
    let Some(data) = card.get("data").and_then(Value::as_object) else {
        flaws.add(&at, "is not an object".to_owned());
        return;
    };
    filled(data, name, &at, flaws);
    if data
        .get("template_variable")
        .is_some_and(|variables| !variables.is_object())
    {
        flaws.add(
            &below(&at, "template_variable"),
            "is not an object".to_owned(),
        );
    }
    if data
        .get("template_version_name")
        .is_some_and(|version| !version.is_string())
    {
        flaws.add(
            &below(&at, "template_version_name"),
            "is not a string".to_owned(),
        );
    }
}

fn card_2(card: &Map<String, Value>, at: &str, flaws: &mut Flaws) {
    let Some(body) = card.get("body") else { return };
    let at = below(at, "body");
    if !body.is_object()
        || body
            .get("elements")
            .is_some_and(|elements| !elements.is_array())
    {
        flaws.add(&at, "is not an object with a list of elements".to_owned());
        return;
    }
    let count = elements(body, &at, flaws);
    if count > CARD_ELEMENTS_MAX {
        flaws.add(
            &below(&at, "elements"),
            format!("are {count} in all; at most {CARD_ELEMENTS_MAX} are taken"),
        );
    }
}

/// Counts the tagged objects in lists at any depth, and adds those of an older form. Texts that are a field of
/// their element are not counted: the page is not clear on them, and the platform has the last word.
fn elements(value: &Value, at: &str, flaws: &mut Flaws) -> usize {
    match value {
        Value::Array(list) => {
            let mut count = 0;
            for (index, item) in list.iter().enumerate() {
                let at = format!("{at}/{index}");
                let tag = item["tag"].as_str();
                if tag.is_some_and(|tag| OLD_TAGS.contains(&tag)) {
                    flaws.add(
                        &below(&at, "tag"),
                        "is not known to JSON 2.0 cards".to_owned(),
                    );
                }
                count += usize::from(tag.is_some()) + elements(item, &at, flaws);
            }
            count
        }
        Value::Object(object) => object
            .iter()
            .map(|(name, value)| elements(value, &below(at, name), flaws))
            .sum(),
        _ => 0,
    }
}

fn divider(object: &Map<String, Value>, at: &str, flaws: &mut Flaws) {
    if object.get("type").and_then(Value::as_str) != Some("divider") {
        flaws.add(&below(at, "type"), "is not \"divider\"".to_owned());
        return;
    }
    let at = format!("{at}/params/divider_text");
    let Some(text) = object
        .get("params")
        .and_then(|params| params["divider_text"].as_object())
    else {
        flaws.add(&at, "is not an object".to_owned());
        return;
    };
    divider_text(
        text.get("text").unwrap_or(&Value::Null),
        &below(&at, "text"),
        flaws,
    );
    let at = below(&at, "i18n_text");
    match text.get("i18n_text") {
        None => {}
        Some(Value::Object(languages)) => {
            for (name, text) in languages {
                let at = below(&at, name);
                if !LOCALES.contains(&name.as_str()) {
                    flaws.add(&at, "is no language such as zh_CN".to_owned());
                }
                divider_text(text, &at, flaws);
            }
        }
        Some(_) => flaws.add(&at, "is not an object".to_owned()),
    }
}

fn divider_text(text: &Value, at: &str, flaws: &mut Flaws) {
    let Some(text) = text.as_str().filter(|text| !text.is_empty()) else {
        flaws.add(at, "is not a string with something in it".to_owned());
        return;
    };
    let width: usize = text
        .chars()
        .map(|c| if c < '\u{1100}' { 1 } else { 2 })
        .sum();
    if width > DIVIDER_WIDTH_MAX {
        flaws.add(
            at,
            "is longer than 20 letters or 10 Chinese characters".to_owned(),
        );
    }
}
