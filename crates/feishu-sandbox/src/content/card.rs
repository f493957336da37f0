//! Cards: the four forms, their faults under 230099, and the simplified form given back.
//!
//! Source: messages.md 4, errors.md 5, limits.md 3.

use serde_json::{Map, Value, json};

use super::{Place, Shown};
use crate::codes::Refusal;

/// Elements of a JSON 2.0 card. Source: limits.md 3.
const ELEMENTS_MAX: usize = 200;
/// Tags JSON 2.0 no longer has. Source: messages.md 4.
const OLD_TAGS: [&str; 2] = ["action", "note"];

/// Checks a card in any of its forms.
pub(super) fn check(place: &Place<'_>, card: &Map<String, Value>) -> Result<Shown, Refusal> {
    match card.get("type").and_then(Value::as_str) {
        Some("template") => return template(card),
        Some("card") => return entity(card),
        _ => {}
    }
    let is_v2 = card.get("schema").and_then(Value::as_str) == Some("2.0");
    let (path, elements) = if is_v2 {
        (
            "/body/elements",
            card.get("body").and_then(|body| body.get("elements")),
        )
    } else {
        (
            "/elements",
            card.get("elements").or_else(|| card.get("i18n_elements")),
        )
    };
    let elements = match elements {
        Some(elements @ (Value::Array(_) | Value::Object(_))) => elements,
        _ => return Err(Refusal::card(200_621, path, "the card has no elements")),
    };
    let mut tags = Vec::new();
    collect_tags(elements, &mut tags);
    if is_v2 {
        check_v2(path, &tags)?;
    }
    check_references(place, path, elements)?;
    Ok(Shown::of(&simplified(card, elements)))
}

fn check_v2(path: &str, tags: &[&str]) -> Result<(), Refusal> {
    if let Some(old) = tags.iter().find(|tag| OLD_TAGS.contains(tag)) {
        let says = format!("tag {old} is not supported in schema 2.0");
        return Err(Refusal::card(200_861, path, &says));
    }
    if tags.len() > ELEMENTS_MAX {
        return Err(Refusal::card(
            11_310,
            path,
            "the card has more than 200 elements",
        ));
    }
    Ok(())
}

/// Everything with a tag, however deep, but texts, which are no elements.
fn collect_tags<'a>(value: &'a Value, tags: &mut Vec<&'a str>) {
    match value {
        Value::Array(list) => list.iter().for_each(|each| collect_tags(each, tags)),
        Value::Object(object) => {
            match object.get("tag").and_then(Value::as_str) {
                None | Some("plain_text" | "lark_md") => {}
                Some(tag) => tags.push(tag),
            }
            object.values().for_each(|each| collect_tags(each, tags));
        }
        _ => {}
    }
}

/// Image keys and people a card names must exist.
fn check_references(place: &Place<'_>, path: &str, value: &Value) -> Result<(), Refusal> {
    match value {
        Value::Array(list) => list
            .iter()
            .try_for_each(|each| check_references(place, path, each)),
        Value::Object(object) => {
            if let Some(key) = object.get("img_key").and_then(Value::as_str)
                && !place.has_image(key)
            {
                return Err(Refusal::card(200_570, path, "the image keys are unknown"));
            }
            if object.get("tag").and_then(Value::as_str) == Some("person") {
                check_person(place, path, object.get("user_id").and_then(Value::as_str))?;
            }
            object
                .values()
                .try_for_each(|each| check_references(place, path, each))
        }
        Value::String(text) => mentioned(text)
            .into_iter()
            .try_for_each(|id| check_person(place, path, Some(id))),
        _ => Ok(()),
    }
}

fn check_person(place: &Place<'_>, path: &str, id: Option<&str>) -> Result<(), Refusal> {
    match id {
        Some("all") => Ok(()),
        Some(id) if place.world.people.guess(id).is_some() => Ok(()),
        _ => Err(Refusal::card(100_290, path, "the user is unknown")),
    }
}

/// Ids in `<at id=…>` and `<at email=…>`. Source: messages.md 4.
fn mentioned(text: &str) -> Vec<&str> {
    let starts = ["<at id=", "<at email="];
    let after = starts.iter().flat_map(|start| text.split(start).skip(1));
    after
        .filter_map(|rest| rest.split('>').next())
        .map(|id| id.trim_matches(['"', '\'']))
        .collect()
}

/// A template by its id. Source: messages.md 1 (form of the id), errors.md 5.
fn template(card: &Map<String, Value>) -> Result<Shown, Refusal> {
    let id = card
        .get("data")
        .and_then(|data| data.get("template_id"))
        .and_then(Value::as_str);
    match id {
        Some(id) if id.starts_with("AAq") || id.starts_with("ctp_") => Ok(Shown::of(&json!({
            "title": "", "elements": [[{ "tag": "text", "text": format!("[template {id}]") }]],
        }))),
        _ => Err(Refusal::card(
            200_380,
            "/data/template_id",
            "the template is missing",
        )),
    }
}

/// A card made beforehand, by its id of digits. Source: messages.md 1.
fn entity(card: &Map<String, Value>) -> Result<Shown, Refusal> {
    let id = card
        .get("data")
        .and_then(|data| data.get("card_id"))
        .and_then(Value::as_str);
    match id {
        Some(id) if !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_digit()) => {
            Ok(Shown::of(&json!({
                "title": "", "elements": [[{ "tag": "text", "text": format!("[card {id}]") }]],
            })))
        }
        _ => Err(Refusal::card(
            200_621,
            "/data/card_id",
            "the card id is misshapen",
        )),
    }
}

/// Title and texts, an element a paragraph. Source: messages.md 3.
fn simplified(card: &Map<String, Value>, elements: &Value) -> Value {
    let title = card
        .get("header")
        .and_then(|header| header.get("title"))
        .and_then(|title| title.get("content"))
        .and_then(Value::as_str)
        .unwrap_or_default();
    let list = elements.as_array().map(Vec::as_slice).unwrap_or_default();
    let paragraphs: Vec<Value> = list
        .iter()
        .map(|each| Value::Array(simple_nodes(each)))
        .collect();
    json!({ "title": title, "elements": paragraphs })
}

fn simple_nodes(element: &Value) -> Vec<Value> {
    let mut nodes = Vec::new();
    walk(element, &mut nodes);
    nodes
}

fn walk(value: &Value, nodes: &mut Vec<Value>) {
    match value {
        Value::Array(list) => list.iter().for_each(|each| walk(each, nodes)),
        Value::Object(object) => {
            let text = |field: &str| object.get(field).and_then(Value::as_str);
            match text("tag") {
                Some("hr") => nodes.push(json!({ "tag": "hr" })),
                Some("img") => nodes.push(json!({ "tag": "img", "image_key": text("img_key") })),
                Some("button") => {
                    let label = object.get("text").and_then(|each| each.get("content"));
                    nodes.push(json!({ "tag": "button", "text": label, "type": text("type") }));
                    return;
                }
                _ => {}
            }
            if let Some(content) = text("content") {
                nodes.push(json!({ "tag": "text", "text": content }));
            }
            object
                .values()
                .filter(|each| !each.is_string())
                .for_each(|each| walk(each, nodes));
        }
        _ => {}
    }
}
