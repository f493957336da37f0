//! Texts: mentions become `@_user_N`, balanced style tags go, the rest stays.
//!
//! Source: messages.md 2.1 and 3.

use serde_json::{Map, Value, json};

use super::{Place, Shown};
use crate::codes::Refusal;
use crate::seed::UnknownMention;
use crate::world::Mention;

/// Checks a text message.
pub(super) fn check(place: &Place<'_>, object: &Map<String, Value>) -> Result<Shown, Refusal> {
    let text = match object.get("text") {
        Some(Value::String(text)) => text,
        _ => return Err(Refusal::ext("invalid message content")),
    };
    if text.is_empty() {
        return Err(Refusal::ext("content cannot be empty"));
    }
    let mut mentions = Vec::new();
    let text = replace_mentions(place, text, &mut mentions)?;
    let content = json!({ "text": drop_styles(&text) }).to_string();
    Ok(Shown { content, mentions })
}

/// Checks the text of a batch. Source: errors.md 6.
pub(super) fn check_batch(object: &Map<String, Value>) -> Result<(), Refusal> {
    let text = match object.get("text") {
        Some(Value::String(text)) if !text.is_empty() => text,
        _ => return Err(Refusal::code(10_003).because("content.text is required")),
    };
    if text.trim().eq_ignore_ascii_case("test") {
        return Err(Refusal::code(230_100));
    }
    if text.contains("user_id=\"all\"") {
        return Err(Refusal::code(11_235));
    }
    Ok(())
}

/// A piece of a text: words, or `<at user_id="…">…</at>` as it stood there and its id.
pub(super) enum Piece<'a> {
    Words(&'a str),
    At { id: &'a str, whole: &'a str },
}

/// Takes a text apart at its mentions.
pub(super) fn pieces(text: &str) -> Vec<Piece<'_>> {
    const OPEN: &str = "<at user_id=\"";
    const CLOSE: &str = "</at>";
    let mut pieces = Vec::new();
    let (mut words, mut at) = (0, 0);
    while let Some(found) = text[at..].find(OPEN) {
        let start = at + found;
        let id_start = start + OPEN.len();
        let Some((id, name)) = text[id_start..].split_once("\">") else {
            break;
        };
        let Some(name_end) = name.find(CLOSE) else {
            break;
        };
        if id.contains(['<', '>', '"']) {
            at = id_start;
            continue;
        }
        let end = id_start + id.len() + "\">".len() + name_end + CLOSE.len();
        pieces.push(Piece::Words(&text[words..start]));
        pieces.push(Piece::At {
            id,
            whole: &text[start..end],
        });
        (words, at) = (end, end);
    }
    pieces.push(Piece::Words(&text[words..]));
    pieces
}

/// Puts a mention's key for every `<at>`, and the mention into `mentions`.
pub(super) fn replace_mentions(
    place: &Place<'_>,
    text: &str,
    mentions: &mut Vec<Mention>,
) -> Result<String, Refusal> {
    let mut replaced = String::with_capacity(text.len());
    for piece in pieces(text) {
        match piece {
            Piece::Words(words) => replaced.push_str(words),
            Piece::At { id: "all", .. } => replaced.push_str("@_all"),
            Piece::At { id, whole } => match place.mention(id, mentions.len() + 1) {
                Some(mention) => {
                    replaced.push_str(&mention.key);
                    mentions.push(mention);
                }
                None if place.world.switches().unknown_mention == UnknownMention::Plain => {
                    replaced.push_str(whole);
                }
                None => return Err(Refusal::ext("invalid user_id")),
            },
        }
    }
    Ok(replaced)
}

/// Drops style tags; a text whose tags do not nest keeps them all.
pub(super) fn drop_styles(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut open: Vec<char> = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find('<') {
        plain.push_str(&rest[..at]);
        rest = &rest[at..];
        match style_tag(rest) {
            Some((true, style, length)) => {
                if open.pop() != Some(style) {
                    return text.to_owned();
                }
                rest = &rest[length..];
            }
            Some((false, style, length)) => {
                open.push(style);
                rest = &rest[length..];
            }
            None => {
                plain.push('<');
                rest = &rest[1..];
            }
        }
    }
    plain.push_str(rest);
    if open.is_empty() {
        plain
    } else {
        text.to_owned()
    }
}

/// `(closing, style, length)` of the tag `text` begins with.
fn style_tag(text: &str) -> Option<(bool, char, usize)> {
    for style in ['b', 'i', 'u', 's'] {
        if text.starts_with(&format!("<{style}>")) {
            return Some((false, style, 3));
        }
        if text.starts_with(&format!("</{style}>")) {
            return Some((true, style, 4));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::drop_styles;

    #[test]
    fn style_tags_go_only_when_they_nest() {
        for (given, expected) in [
            ("<b>hot <i>now</i></b> x", "hot now x"),
            ("<b>open", "<b>open"),
            ("<b><i>crossed</b></i>", "<b><i>crossed</b></i>"),
            ("a < b > c", "a < b > c"),
        ] {
            assert_eq!(drop_styles(given), expected);
        }
    }
}
