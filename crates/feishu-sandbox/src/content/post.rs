//! Posts: paragraphs of nodes, per language. Source: messages.md 2.2 and 3.

use serde_json::{Map, Value, json};

use super::text::{Piece, pieces};
use super::{Place, Shown};
use crate::codes::Refusal;
use crate::world::Mention;

/// Checks a post; one language of it is given back, zh_cn before others.
pub(super) fn check(place: &Place<'_>, post: &Map<String, Value>) -> Result<Shown, Refusal> {
    let mut shown: Option<Shown> = None;
    if post.is_empty() {
        return Err(invalid());
    }
    for (language, body) in post {
        if !is_language(language) {
            return Err(invalid());
        }
        let body = body.as_object().ok_or_else(invalid)?;
        let this = check_language(place, body)?;
        if shown.is_none() || language == "zh_cn" {
            shown = Some(this);
        }
    }
    shown.ok_or_else(invalid)
}

/// Checks the post of a batch, which knows no `md`. Source: messages.md 5.
pub(super) fn check_batch(place: &Place<'_>, post: &Map<String, Value>) -> Result<(), Refusal> {
    if post.values().any(|body| has(body, "tag", "md")) {
        return Err(Refusal::code(11_246).because("the md tag is not supported"));
    }
    if post.values().any(|body| has(body, "user_id", "all")) {
        return Err(Refusal::code(11_235));
    }
    check(place, post).map(drop)
}

/// Checks the post of a custom bot, which knows no `md` either.
pub(super) fn check_hook(place: &Place<'_>, post: &Map<String, Value>) -> Result<Shown, Refusal> {
    if post.values().any(|body| has(body, "tag", "md")) {
        return Err(Refusal::ext("the md tag is not supported"));
    }
    check(place, post)
}

/// Whether `field` is `word` anywhere inside.
fn has(value: &Value, field: &str, word: &str) -> bool {
    match value {
        Value::Array(list) => list.iter().any(|each| has(each, field, word)),
        Value::Object(object) => {
            object.get(field).and_then(Value::as_str) == Some(word)
                || object.values().any(|each| has(each, field, word))
        }
        _ => false,
    }
}

fn invalid() -> Refusal {
    Refusal::ext("invalid message content")
}

/// `zh_cn`, `en_us`, …
fn is_language(name: &str) -> bool {
    let bytes = name.as_bytes();
    bytes.len() == 5
        && bytes[2] == b'_'
        && bytes
            .iter()
            .enumerate()
            .all(|(at, byte)| at == 2 || byte.is_ascii_lowercase())
}

fn check_language(place: &Place<'_>, body: &Map<String, Value>) -> Result<Shown, Refusal> {
    let title = match body.get("title") {
        None | Some(Value::Null) => "",
        Some(Value::String(title)) => title,
        Some(_) => return Err(invalid()),
    };
    let content = body
        .get("content")
        .and_then(Value::as_array)
        .ok_or_else(invalid)?;
    let mut mentions = Vec::new();
    let mut paragraphs = Vec::new();
    for paragraph in content {
        let nodes = paragraph.as_array().ok_or_else(invalid)?;
        let alone = nodes.len() == 1;
        let mut shown = Vec::new();
        for node in nodes {
            let node = node.as_object().ok_or_else(invalid)?;
            match text_of(node, "tag")? {
                "md" if alone => paragraphs.extend(check_md(place, node, &mut mentions)?),
                "img" | "media" | "md" if !alone => return Err(invalid()),
                tag => shown.push(check_node(place, tag, node, &mut mentions)?),
            }
        }
        if !shown.is_empty() || nodes.is_empty() {
            paragraphs.push(Value::Array(shown));
        }
    }
    let content = json!({ "title": title, "content": paragraphs }).to_string();
    Ok(Shown { content, mentions })
}

fn text_of<'a>(node: &'a Map<String, Value>, field: &str) -> Result<&'a str, Refusal> {
    node.get(field).and_then(Value::as_str).ok_or_else(invalid)
}

fn check_node(
    place: &Place<'_>,
    tag: &str,
    node: &Map<String, Value>,
    mentions: &mut Vec<Mention>,
) -> Result<Value, Refusal> {
    let style = styles(node)?;
    Ok(match tag {
        "text" => json!({ "tag": tag, "text": text_of(node, "text")?, "style": style }),
        "a" => {
            let href = text_of(node, "href")?;
            if !is_link(href) {
                return Err(Refusal::ext("invalid message content: href"));
            }
            json!({ "tag": tag, "text": text_of(node, "text")?, "href": href, "style": style })
        }
        "at" => mention(place, text_of(node, "user_id")?, &style, mentions)?,
        "img" => json!({ "tag": tag, "image_key": place.image(node, "image_key")? }),
        "media" => {
            super::file(place, "media", node)?;
            json!({ "tag": tag, "file_key": text_of(node, "file_key")? })
        }
        "emotion" => json!({ "tag": tag, "emoji_type": text_of(node, "emoji_type")? }),
        "code_block" => {
            let language = node
                .get("language")
                .and_then(Value::as_str)
                .unwrap_or_default();
            json!({ "tag": tag, "language": language, "text": text_of(node, "text")? })
        }
        "hr" => json!({ "tag": tag }),
        _ => return Err(invalid()),
    })
}

/// Known styles; others are dropped. Source: messages.md 2.2.
fn styles(node: &Map<String, Value>) -> Result<Vec<Value>, Refusal> {
    const KNOWN: [&str; 4] = ["bold", "underline", "lineThrough", "italic"];
    match node.get("style") {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::Array(list)) => {
            let known = |style: &&Value| style.as_str().is_some_and(|name| KNOWN.contains(&name));
            Ok(list.iter().filter(known).cloned().collect())
        }
        Some(_) => Err(invalid()),
    }
}

fn mention(
    place: &Place<'_>,
    id: &str,
    style: &[Value],
    mentions: &mut Vec<Mention>,
) -> Result<Value, Refusal> {
    if id == "all" {
        return Ok(json!({ "tag": "at", "user_id": "@_all", "user_name": "", "style": style }));
    }
    let mention = place
        .mention(id, mentions.len() + 1)
        .ok_or_else(|| Refusal::ext("invalid user_id"))?;
    let node = json!({
        "tag": "at", "user_id": mention.key, "user_name": mention.name, "style": style,
    });
    mentions.push(mention);
    Ok(node)
}

/// Markdown comes back as plain paragraphs, a line each, with its mentions taken out.
fn check_md(
    place: &Place<'_>,
    node: &Map<String, Value>,
    mentions: &mut Vec<Mention>,
) -> Result<Vec<Value>, Refusal> {
    let mut paragraphs = Vec::new();
    for line in text_of(node, "text")?.lines() {
        let mut nodes = Vec::new();
        for piece in pieces(line) {
            match piece {
                Piece::Words("") => {}
                Piece::Words(words) => {
                    nodes.push(json!({ "tag": "text", "text": words, "style": [] }));
                }
                Piece::At { id, .. } => nodes.push(mention(place, id, &[], mentions)?),
            }
        }
        paragraphs.push(Value::Array(nodes));
    }
    Ok(paragraphs)
}

/// Something a client can open.
fn is_link(href: &str) -> bool {
    let known = ["http://", "https://", "mailto:", "lark://", "tel:"];
    let rest = known.iter().find_map(|scheme| href.strip_prefix(scheme));
    rest.is_some_and(|rest| !rest.is_empty() && !rest.contains(char::is_whitespace))
}
