//! Checks of content, type by type.
//!
//! Source: content and card pages of the platform, May 2026.

use serde_json::{Map, Value};

use super::{Flaws, card, mention, post};
use crate::ids::IdType;
use crate::limits::DIVIDER_WIDTH_MAX;

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

/// Adds what is wrong with the content of a `msg_type` that stands at `at`.
pub(super) fn content(msg_type: &str, value: &Value, at: &str, flaws: &mut Flaws) {
    let Some(object) = value.as_object() else {
        flaws.add(at, "is not an object".to_owned());
        return;
    };
    match msg_type {
        "text" => text(object, at, flaws),
        "post" => post::check(object, at, flaws),
        "image" => filled(object, "image_key", at, flaws),
        "interactive" => card::check(object, at, flaws),
        "share_chat" => shared(object, "chat_id", IdType::ChatId, at, flaws),
        "share_user" => shared(object, "user_id", IdType::OpenId, at, flaws),
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
pub(super) fn filled(object: &Map<String, Value>, name: &str, at: &str, flaws: &mut Flaws) {
    match object.get(name) {
        Some(Value::String(text)) if !text.is_empty() => {}
        Some(Value::String(_)) => flaws.add(&below(at, name), "is empty".to_owned()),
        Some(_) => flaws.add(&below(at, name), "is not a string".to_owned()),
        None => flaws.add(at, format!("has no {name}")),
    }
}

pub(super) fn below(at: &str, name: &str) -> String {
    format!("{at}/{}", name.replace('~', "~0").replace('/', "~1"))
}

fn text(object: &Map<String, Value>, at: &str, flaws: &mut Flaws) {
    filled(object, "text", at, flaws);
    let text = object.get("text").and_then(Value::as_str);
    for says in mention::in_text(text.unwrap_or_default()) {
        flaws.add(&below(at, "text"), says);
    }
}

/// What is shared takes one kind of id. An id that looks like none is left to the platform.
fn shared(object: &Map<String, Value>, name: &str, kind: IdType, at: &str, flaws: &mut Flaws) {
    filled(object, name, at, flaws);
    let given = object.get(name).and_then(Value::as_str).unwrap_or_default();
    let looks = IdType::guess(given);
    if looks != kind && looks != IdType::UserId {
        let says = format!("is a {}; {} is needed", looks.name(), kind.name());
        flaws.add(&below(at, name), says);
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
