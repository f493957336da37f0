//! The syntax of mentions: `<at user_id="…">name</at>` in texts and markdown, `<at id=…></at>` in cards.
//!
//! Refused is what was plainly meant as a mention and cannot be one: the other's form, one that names nobody,
//! one that is not closed. What else looks like a tag is shown as it stands, which may be what was wanted.
//! Source: content and card pages of the platform, May 2026.

use serde_json::{Map, Value};

use super::Flaws;
use super::card::DATA;
use super::check::below;

const OPEN: &str = "<at";
const CLOSE: &str = "</at>";

/// An opening tag.
struct Tag<'a> {
    /// The name of its first attribute.
    name: &'a str,
    /// Its value, without quotes.
    value: &'a str,
    /// What stands behind it; `None`: it has no end.
    rest: Option<&'a str>,
}

/// The `<at name=…` of a text, in order, each with what stands before the next.
fn tags(text: &str) -> Vec<Tag<'_>> {
    let opens = |at: &usize| text[at + OPEN.len()..].starts_with(char::is_whitespace);
    let starts: Vec<usize> = text.match_indices(OPEN).map(|found| found.0).collect();
    let starts: Vec<usize> = starts.into_iter().filter(opens).collect();
    let ends = starts.iter().skip(1).copied().chain([text.len()]);
    let pieces = starts
        .iter()
        .zip(ends)
        .map(|(start, end)| &text[start + OPEN.len()..end]);
    pieces.filter_map(tag).collect()
}

/// A tag from what stands behind its `<at`.
fn tag(piece: &str) -> Option<Tag<'_>> {
    let (name, value) = piece.split_once('=')?;
    let name = name.trim();
    let (value, rest) = match value.split_once('>') {
        Some((value, rest)) => (value, Some(rest)),
        None => (value, None),
    };
    let value = value.trim().trim_end_matches('/').trim_matches(['"', '\'']);
    Some(Tag { name, value, rest })
}

/// What is wrong with the mentions of a text or of markdown in a post.
pub(super) fn in_text(text: &str) -> Vec<String> {
    let wrong = tags(text).into_iter().filter_map(|tag| match tag.name {
        "id" | "email" => Some(format!(
            "has <at {}=…>, the form of cards; here it is <at user_id=\"…\">name</at>",
            tag.name
        )),
        // `rest` ends where the next tag begins, so an end found in it is this one's.
        "user_id" if !tag.rest.is_some_and(|rest| rest.contains(CLOSE)) => Some(String::from(
            "has a mention that is not closed; its form is <at user_id=\"…\">name</at>",
        )),
        "user_id" if tag.value.is_empty() => {
            Some(String::from("has a mention that names nobody (user_id)"))
        }
        _ => None,
    });
    wrong.collect()
}

/// Adds what is wrong with the mentions in the markdown of a card, or of an element of it.
pub(super) fn in_card(object: &Map<String, Value>, at: &str, flaws: &mut Flaws) {
    let tag = object.get("tag").and_then(Value::as_str);
    let content = object.get("content").and_then(Value::as_str);
    if let (Some("markdown" | "lark_md"), Some(content)) = (tag, content) {
        in_card_text(content, &below(at, "content"), flaws);
    }
    for (name, item) in object {
        if !DATA.contains(&name.as_str()) {
            in_value(item, &below(at, name), flaws);
        }
    }
}

fn in_value(value: &Value, at: &str, flaws: &mut Flaws) {
    match value {
        Value::Array(list) => {
            for (index, item) in list.iter().enumerate() {
                in_value(item, &format!("{at}/{index}"), flaws);
            }
        }
        Value::Object(object) => in_card(object, at, flaws),
        _ => {}
    }
}

fn in_card_text(content: &str, at: &str, flaws: &mut Flaws) {
    for tag in tags(content) {
        match tag.name {
            "user_id" => flaws.add(
                at,
                String::from(
                    "has <at user_id=…>, the form of texts; in a card it is <at id=…></at>",
                ),
            ),
            "id" | "email" if tag.value.is_empty() => {
                flaws.add(
                    at,
                    format!("has a mention that names nobody ({})", tag.name),
                );
            }
            _ => {}
        }
    }
}
