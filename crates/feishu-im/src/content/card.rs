//! Cards: their four forms, how many elements they may have, and whether they can be updated later.
//!
//! Source: card pages of the platform, May 2026.

use serde_json::{Map, Value};

use super::check::{below, filled};
use super::{Flaws, mention};
use crate::limits::CARD_ELEMENTS_MAX;

/// Tags of JSON 1.0 that JSON 2.0 refuses.
const OLD_TAGS: &[&str] = &["action", "note"];
/// Fields whose insides are the producer's own data, not elements, whatever they look like.
pub(super) const DATA: &[&str] = &["value", "behaviors", "chart_spec", "rows"];

/// Adds what is wrong with a card.
pub(super) fn check(card: &Map<String, Value>, at: &str, flaws: &mut Flaws) {
    match (card.get("type").and_then(Value::as_str), card.get("schema")) {
        (Some("template"), _) => return by_id(card, "template_id", at, flaws),
        (Some("card"), _) => return by_id(card, "card_id", at, flaws),
        (_, Some(Value::String(schema))) if schema == "2.0" => card_2(card, at, flaws),
        (_, Some(schema)) if schema != "1.0" => {
            flaws.add(&below(at, "schema"), "is not \"2.0\"".to_owned());
        }
        _ => card_1(card, at, flaws),
    }
    head(card, at, flaws);
    mention::in_card(card, at, flaws);
}

/// What both JSON forms have around their elements.
fn head(card: &Map<String, Value>, at: &str, flaws: &mut Flaws) {
    for name in ["config", "header"] {
        if card.get(name).is_some_and(|part| !part.is_object()) {
            flaws.add(&below(at, name), "is not an object".to_owned());
        }
    }
    let multi = card
        .get("config")
        .and_then(|config| config.get("update_multi"));
    if multi.is_some_and(|multi| !multi.is_boolean()) {
        flaws.add(
            &format!("{at}/config/update_multi"),
            "is neither true nor false".to_owned(),
        );
    }
    let title = card.get("header").and_then(|header| header.get("title"));
    if let Some(title) = title {
        let at = format!("{at}/header/title");
        if !title.is_object() {
            flaws.add(&at, "is not an object with tag and content".to_owned());
        } else if title.get("content").is_some_and(|text| !text.is_string()) {
            flaws.add(&below(&at, "content"), "is not a string".to_owned());
        }
    }
}

fn card_1(card: &Map<String, Value>, at: &str, flaws: &mut Flaws) {
    match (card.get("elements"), card.get("i18n_elements")) {
        (Some(Value::Array(list)), _) => objects(list, &below(at, "elements"), flaws),
        (Some(_), _) => flaws.add(&below(at, "elements"), "is not a list".to_owned()),
        (None, Some(Value::Object(_))) => {}
        (None, _) => flaws.add(
            at,
            "is no card: neither schema 2.0, nor a list of elements, nor a template".to_owned(),
        ),
    }
}

/// A card that stands on the platform: `{"type", "data": {id, …}}`.
fn by_id(card: &Map<String, Value>, name: &str, at: &str, flaws: &mut Flaws) {
    let at = below(at, "data");
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
    let at = below(at, "body");
    let Some(Value::Array(list)) = card.get("body").and_then(|body| body.get("elements")) else {
        flaws.add(&at, "is not an object with a list of elements".to_owned());
        return;
    };
    let at = below(&at, "elements");
    objects(list, &at, flaws);
    let count = list_elements(list, &at, flaws);
    if count > CARD_ELEMENTS_MAX {
        flaws.add(
            &at,
            format!("are {count} in all; at most {CARD_ELEMENTS_MAX} are taken"),
        );
    }
}

/// Why a card of a right shape has elements that the platform does not take: too many, or of an older form.
pub(super) fn too_rich(card: &Value) -> Option<String> {
    let list = card["body"]["elements"].as_array()?;
    if card["schema"] != "2.0" {
        return None;
    }
    let mut old = Flaws::default();
    let count = list_elements(list, "", &mut old);
    if count > CARD_ELEMENTS_MAX {
        return Some(format!(
            "the card has {count} elements; at most {CARD_ELEMENTS_MAX} are taken"
        ));
    }
    (!old.0.is_empty()).then(|| "the card has elements that JSON 2.0 does not know".to_owned())
}

/// As [`check`], of a JSON 2.0 card whose elements are known not to go as they are.
pub(super) fn check_but_elements(card: &Map<String, Value>, at: &str, flaws: &mut Flaws) {
    head(card, at, flaws);
    mention::in_card(card, at, flaws);
}

fn objects(list: &[Value], at: &str, flaws: &mut Flaws) {
    for (index, item) in list.iter().enumerate() {
        if !item.is_object() {
            flaws.add(
                &format!("{at}/{index}"),
                "is not an object with a tag".to_owned(),
            );
        }
    }
}

/// Counts the tagged objects in lists at any depth, and adds those of an older form. Texts and icons that are a
/// field of their element are not counted: the page is not clear on them, and the platform has the last word.
fn elements(value: &Value, at: &str, flaws: &mut Flaws) -> usize {
    match value {
        Value::Array(list) => list_elements(list, at, flaws),
        Value::Object(object) => object
            .iter()
            .filter(|(name, _)| !DATA.contains(&name.as_str()))
            .map(|(name, value)| elements(value, &below(at, name), flaws))
            .sum(),
        _ => 0,
    }
}

fn list_elements(list: &[Value], at: &str, flaws: &mut Flaws) -> usize {
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

/// Why a card cannot be updated by its message: where in it, and what. Of a template nothing is known here.
pub(super) fn fixed(card: &Value) -> Option<(&'static str, &'static str)> {
    const MULTI: &str = "/config/update_multi";
    let multi = card.pointer(MULTI);
    match (card["type"].as_str(), card["schema"].as_str()) {
        (Some("template"), _) => None,
        (Some("card"), _) => Some((
            "/type",
            "is a card entity, which is updated where it was made, not by its message",
        )),
        (_, Some("2.0")) if multi == Some(&Value::Bool(false)) => {
            Some((MULTI, "is false; a card that is updated must be shared"))
        }
        (_, Some("2.0")) => None,
        _ if multi == Some(&Value::Bool(true)) => None,
        _ if multi.is_some() => Some((MULTI, "must be true for the card to be updated")),
        _ if card["config"].is_object() => Some((
            "/config",
            "has no update_multi; it must be true for the card to be updated",
        )),
        _ => Some((
            "",
            "has no config.update_multi; it must be true for the card to be updated",
        )),
    }
}
