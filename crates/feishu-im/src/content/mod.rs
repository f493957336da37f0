//! Content of messages, from arguments to what the platform takes, checked at the door.
//!
//! Promises: what comes out has the platform's shape and size; a flaw names its place; a raw string stays byte for
//! byte. Refused is only what the platform's pages rule out by type, shape, count or size.
//! Not here: whether a key, a chat or a template exists (the platform knows), bytes to be uploaded.

mod batch;
mod check;

use std::fmt;

use serde_json::{Map, Value, json};

pub use batch::{BatchContent, BatchLists};

use crate::limits::{ENVELOPE_BYTES, RICH_BYTES_MAX, TEXT_BYTES_MAX};

/// The argument names that are content; exactly one is given, `msg_type` and `content` being one together.
pub const CONTENT_KEYS: &[&str] = &[
    "text",
    "markdown",
    "post",
    "card",
    "template",
    "image",
    "file",
    "audio",
    "media",
    "sticker",
    "share_chat",
    "share_user",
    "system",
    "msg_type",
    "content",
];

/// Content of a message, ready to be sent.
#[derive(Clone, PartialEq, Eq)]
pub struct Content {
    /// The platform's type.
    pub msg_type: String,
    /// JSON text, which travels as a string.
    pub content: String,
}

/// What is wrong with an argument.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flaw {
    /// JSON pointer into the arguments; empty for the whole.
    pub pointer: String,
    /// For people; quotes names, never content.
    pub detail: String,
}

impl Content {
    /// Content from arguments; names that are not in [`CONTENT_KEYS`] are left alone.
    ///
    /// Texts are strings; `post`, `card`, `template` and `system` are the platform's objects (`template` may be an
    /// id, `system` a divider's text); the others are a key or an id, or the platform's object around it. A raw
    /// `content` is an object or a string of JSON.
    ///
    /// # Errors
    /// What is wrong, each with its place: no content or two, a wrong shape, a wrong count, too large.
    pub fn from_args(args: &Map<String, Value>) -> Result<Content, Vec<Flaw>> {
        let mut flaws = Flaws::default();
        let content = build(args, &mut flaws);
        flaws.none_or(content)
    }

    /// Bytes of a send's body with this content, its receiver and uuid counted with their usual room.
    pub fn request_bytes(&self) -> usize {
        ENVELOPE_BYTES
            + serde_json::to_string(&self.content).map_or(usize::MAX / 2, |text| text.len())
    }

    fn bytes_max(&self) -> usize {
        if self.msg_type == "text" {
            TEXT_BYTES_MAX
        } else {
            RICH_BYTES_MAX
        }
    }
}

fn build(args: &Map<String, Value>, flaws: &mut Flaws) -> Option<Content> {
    let (content, key) = match pick(args, flaws)? {
        Form::Raw { msg_type, content } => (raw(msg_type, content, flaws)?, "content"),
        Form::Named { key, value } => {
            let at = format!("/{key}");
            let (msg_type, value) = named(key, value, &at, flaws)?;
            check::content(msg_type, &value, &at, flaws);
            (
                Content {
                    msg_type: msg_type.to_owned(),
                    content: value.to_string(),
                },
                key,
            )
        }
    };
    let (bytes, max) = (content.request_bytes(), content.bytes_max());
    if bytes > max {
        flaws.add(
            &format!("/{key}"),
            format!("makes a request of {bytes} bytes; at most {max} are taken"),
        );
    }
    Some(content)
}

/// The one content among the arguments.
enum Form<'a> {
    Named {
        key: &'static str,
        value: &'a Value,
    },
    Raw {
        msg_type: &'a str,
        content: &'a Value,
    },
}

fn pick<'a>(args: &'a Map<String, Value>, flaws: &mut Flaws) -> Option<Form<'a>> {
    let found: Vec<&'static str> = CONTENT_KEYS
        .iter()
        .copied()
        .filter(|key| args.contains_key(*key))
        .collect();
    match found[..] {
        [] => flaws.add(
            "",
            "has no content; give one of text, markdown, post, card, template, image, file, …"
                .to_owned(),
        ),
        ["msg_type", "content"] => {
            let Some(msg_type) = args["msg_type"].as_str() else {
                flaws.add("/msg_type", "is not a string".to_owned());
                return None;
            };
            return Some(Form::Raw {
                msg_type,
                content: &args["content"],
            });
        }
        ["msg_type"] => flaws.add("/msg_type", "stands without content".to_owned()),
        ["content"] => flaws.add("/content", "stands without msg_type".to_owned()),
        [key] => {
            return Some(Form::Named {
                key,
                value: &args[key],
            });
        }
        [first, ref more @ ..] => {
            for key in more {
                flaws.add(
                    &format!("/{key}"),
                    format!("is a second content beside {first}"),
                );
            }
        }
    }
    None
}

/// The platform's type and content for an argument.
fn named(
    key: &'static str,
    value: &Value,
    at: &str,
    flaws: &mut Flaws,
) -> Option<(&'static str, Value)> {
    let text = value.as_str();
    let made = match (key, text) {
        ("text", Some(text)) => ("text", json!({ "text": text })),
        ("markdown", Some("")) => return flaws.lost(at, "is empty"),
        ("markdown", Some(text)) => (
            "post",
            json!({ "zh_cn": { "content": [[{ "tag": "md", "text": text }]] } }),
        ),
        ("template", Some(id)) => (
            "interactive",
            json!({ "type": "template", "data": { "template_id": id } }),
        ),
        ("system", Some(text)) => (
            "system",
            json!({ "type": "divider", "params": { "divider_text": { "text": text } } }),
        ),
        ("image", Some(key)) => ("image", json!({ "image_key": key })),
        ("share_chat", Some(id)) => ("share_chat", json!({ "chat_id": id })),
        ("share_user", Some(id)) => ("share_user", json!({ "user_id": id })),
        ("file" | "audio" | "media" | "sticker", Some(file)) => (key, json!({ "file_key": file })),
        ("post", None) if value.is_object() => ("post", post(value)),
        ("card", None) if value.is_object() => ("interactive", value.clone()),
        ("template", None) if value.is_object() => {
            ("interactive", json!({ "type": "template", "data": value }))
        }
        (
            "image" | "file" | "audio" | "media" | "sticker" | "share_chat" | "share_user"
            | "system",
            None,
        ) if value.is_object() => (key, value.clone()),
        ("text" | "markdown", _) => return flaws.lost(at, "is not a string"),
        ("post" | "card", _) => return flaws.lost(at, "is not an object"),
        _ => return flaws.lost(at, "is neither a string nor an object"),
    };
    Some(made)
}

/// A post as the platform takes it: by language. A bare one is taken as Chinese, which every client falls back to.
fn post(value: &Value) -> Value {
    if value.get("content").is_some_and(Value::is_array) {
        json!({ "zh_cn": value })
    } else {
        value.clone()
    }
}

/// The platform's own pair; a string stays as it is.
fn raw(msg_type: &str, content: &Value, flaws: &mut Flaws) -> Option<Content> {
    let parsed = match content {
        Value::String(text) => match serde_json::from_str(text) {
            Ok(parsed) => parsed,
            Err(_) => return flaws.lost("/content", "is a string that does not hold JSON"),
        },
        other => other.clone(),
    };
    if !parsed.is_object() {
        return flaws.lost(
            "/content",
            "is neither an object nor a string that holds one",
        );
    }
    if !check::TYPES.contains(&msg_type) {
        return flaws.lost("/msg_type", "is no type a bot can send");
    }
    check::content(msg_type, &parsed, "/content", flaws);
    let content = content
        .as_str()
        .map_or_else(|| parsed.to_string(), ToOwned::to_owned);
    Some(Content {
        msg_type: msg_type.to_owned(),
        content,
    })
}

/// Flaws found so far.
#[derive(Default)]
struct Flaws(Vec<Flaw>);

/// More flaws than this are not listed.
const FLAWS_MAX: usize = 20;

impl Flaws {
    fn add(&mut self, pointer: &str, detail: String) {
        if self.0.len() < FLAWS_MAX {
            self.0.push(Flaw {
                pointer: pointer.to_owned(),
                detail,
            });
        }
    }

    fn lost<T>(&mut self, pointer: &str, detail: &str) -> Option<T> {
        self.add(pointer, detail.to_owned());
        None
    }

    fn none_or<T>(self, made: Option<T>) -> Result<T, Vec<Flaw>> {
        match made {
            Some(made) if self.0.is_empty() => Ok(made),
            _ => Err(self.0),
        }
    }
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Content({}, {} bytes)",
            self.msg_type,
            self.content.len()
        )
    }
}

#[cfg(test)]
mod tests;
