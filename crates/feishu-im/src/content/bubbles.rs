//! Follow-up bubbles, from arguments to what the platform takes, checked at the door.
//!
//! Source: follow-up bubbles page of the platform, May 2026.

use serde_json::{Map, Value};

use super::check::below;
use super::{Flaw, Flaws};
use crate::limits::{FOLLOW_UP_CHARS_MAX, FOLLOW_UP_LANGUAGES_MAX, FOLLOW_UPS_MAX};
use crate::op::{Bubble, LANGUAGES, LocalBubble};

/// The bubbles of a follow-up: a list of `{"content", "i18n_contents": [{"content", "language"}]}`; a bare string
/// is one without other languages.
///
/// # Errors
/// What is wrong, each with its place below `value`.
pub fn bubbles(value: &Value) -> Result<Vec<Bubble>, Vec<Flaw>> {
    let mut flaws = Flaws::default();
    let made = match value {
        Value::Array(list) if (1..=FOLLOW_UPS_MAX).contains(&list.len()) => {
            let each = list.iter().enumerate();
            each.map(|(index, item)| bubble(item, &format!("/{index}"), &mut flaws))
                .collect()
        }
        Value::Array(list) => flaws.lost(
            "",
            &format!(
                "has {} bubbles; 1 to {FOLLOW_UPS_MAX} are taken",
                list.len()
            ),
        ),
        _ => flaws.lost("", "is not a list of bubbles"),
    };
    flaws.none_or(made)
}

fn bubble(value: &Value, at: &str, flaws: &mut Flaws) -> Option<Bubble> {
    if let Value::String(text) = value {
        let content = words(text, at, flaws)?;
        return Some(Bubble {
            content,
            i18n_contents: Vec::new(),
        });
    }
    let object = fields(value, &["content", "i18n_contents"], at, flaws)?;
    let content = content(object, at, flaws);
    let at = below(at, "i18n_contents");
    let i18n_contents = match object.get("i18n_contents") {
        None | Some(Value::Null) => Some(Vec::new()),
        Some(Value::Array(list)) if list.len() <= FOLLOW_UP_LANGUAGES_MAX => {
            let each = list.iter().enumerate();
            each.map(|(index, item)| wording(item, &format!("{at}/{index}"), flaws))
                .collect()
        }
        Some(Value::Array(list)) => flaws.lost(
            &at,
            &format!(
                "has {} wordings; at most {FOLLOW_UP_LANGUAGES_MAX} are taken",
                list.len()
            ),
        ),
        Some(_) => flaws.lost(&at, "is not a list"),
    };
    Some(Bubble {
        content: content?,
        i18n_contents: i18n_contents?,
    })
}

fn wording(value: &Value, at: &str, flaws: &mut Flaws) -> Option<LocalBubble> {
    let object = fields(value, &["content", "language"], at, flaws)?;
    let content = content(object, at, flaws);
    let language = object.get("language").and_then(Value::as_str);
    let Some(language) = language.filter(|language| LANGUAGES.contains(language)) else {
        let says = format!("must be one of {}", LANGUAGES.join(", "));
        return flaws.lost(&below(at, "language"), &says);
    };
    Some(LocalBubble {
        content: content?,
        language: language.to_owned(),
    })
}

fn content(object: &Map<String, Value>, at: &str, flaws: &mut Flaws) -> Option<String> {
    let at = below(at, "content");
    match object.get("content") {
        Some(Value::String(text)) => words(text, &at, flaws),
        _ => flaws.lost(&at, "is needed as a string"),
    }
}

fn words(text: &str, at: &str, flaws: &mut Flaws) -> Option<String> {
    let count = text.chars().count();
    if !(1..=FOLLOW_UP_CHARS_MAX).contains(&count) {
        let says = format!("has {count} characters; 1 to {FOLLOW_UP_CHARS_MAX} are taken");
        return flaws.lost(at, &says);
    }
    Some(text.to_owned())
}

/// An object with no other fields than these: what would be left out is said.
fn fields<'a>(
    value: &'a Value,
    known: &[&str],
    at: &str,
    flaws: &mut Flaws,
) -> Option<&'a Map<String, Value>> {
    let Some(object) = value.as_object() else {
        return flaws.lost(at, "is not an object with content");
    };
    for name in object.keys().filter(|name| !known.contains(&name.as_str())) {
        flaws.add(&below(at, name), "is no field of a bubble".to_owned());
    }
    Some(object)
}
