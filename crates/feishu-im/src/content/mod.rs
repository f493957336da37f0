//! Content of messages, from arguments to what the platform takes, checked at the door.
//!
//! Promises: what comes out has the platform's shape and size; a flaw names its place; a raw string stays byte for
//! byte. Refused is only what the platform's pages rule out by type, shape, count or size.
//! Not here: whether a key, a chat or a template exists (the platform knows), bytes to be uploaded.

mod batch;
mod card;
mod check;
mod hook;
mod ladder;
mod mention;
mod object;
mod post;

use std::fmt;

use serde_json::{Map, Value, json};

pub use batch::{BatchContent, BatchLists};
pub use hook::{HookContent, Signed};
pub use ladder::{Lowered, RUNGS};
pub use object::CardObject;

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

/// What a content is for: not everything takes everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContentUse {
    /// A message of its own.
    Send,
    /// An answer to a message: no `system`.
    Reply,
    /// Another content for a sent message: text and post alone.
    Edit,
    /// Another card for a sent card, which is shared.
    UpdateCard,
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
        Content::checked(args, ContentUse::Send)
    }

    /// As [`Content::from_args`], and of a type that this use takes.
    ///
    /// # Errors
    /// As there.
    pub fn checked(args: &Map<String, Value>, used: ContentUse) -> Result<Content, Vec<Flaw>> {
        let mut flaws = Flaws::default();
        let content = build(args, &mut flaws).map(|built| {
            built.check(&mut flaws);
            built.check_use(used, &mut flaws);
            built.content
        });
        flaws.none_or(content)
    }

    /// The same content without a look at what is in it: for what was checked before, maybe by other rules.
    ///
    /// # Errors
    /// It cannot be made: no content or two, or of a wrong shape.
    pub fn unchecked(args: &Map<String, Value>) -> Result<Content, Vec<Flaw>> {
        let mut flaws = Flaws::default();
        let content = build(args, &mut flaws).map(|built| built.content);
        flaws.none_or(content)
    }

    /// Why the message of these arguments, good by themselves, cannot be followed by an update of its card.
    pub fn not_updatable(args: &Map<String, Value>) -> Option<Flaw> {
        let mut flaws = Flaws::default();
        let built = build(args, &mut flaws)?;
        built.check_updatable(&mut flaws);
        flaws.0.into_iter().next()
    }

    /// Why the message of these arguments, good by themselves, cannot be edited.
    pub fn not_editable(args: &Map<String, Value>) -> Option<Flaw> {
        let mut flaws = Flaws::default();
        build(args, &mut flaws)?.check_use(ContentUse::Edit, &mut flaws);
        flaws.0.into_iter().next()
    }

    /// Bytes of a send's body with this content, its receiver and uuid counted with their usual room.
    pub fn request_bytes(&self) -> usize {
        ENVELOPE_BYTES
            + serde_json::to_string(&self.content).map_or(usize::MAX / 2, |text| text.len())
    }

    /// The most bytes of a body with a content of this type.
    pub fn bytes_max(&self) -> usize {
        if self.msg_type == "text" {
            TEXT_BYTES_MAX
        } else {
            RICH_BYTES_MAX
        }
    }
}

/// A content that was made, and where its parts stand in the arguments.
struct Built {
    content: Content,
    value: Value,
    place: Place,
    /// The argument that chose the type.
    chosen: String,
}

impl Built {
    fn check(&self, flaws: &mut Flaws) {
        let mut found = Flaws::default();
        check::content(&self.content.msg_type, &self.value, "", &mut found);
        self.place.take(found, flaws);
        let (bytes, max) = (self.content.request_bytes(), self.content.bytes_max());
        if bytes > max {
            flaws.add(
                &self.place.at,
                format!("makes a request of {bytes} bytes; at most {max} are taken"),
            );
        }
    }

    fn check_use(&self, used: ContentUse, flaws: &mut Flaws) {
        let says = match (used, self.content.msg_type.as_str()) {
            (ContentUse::Send, _) => return,
            (ContentUse::Reply, "system") => "cannot be a reply; a system message is only sent",
            (ContentUse::Reply, _) | (ContentUse::Edit, "text" | "post") => return,
            (ContentUse::Edit, _) => "cannot be edited; only texts and posts can",
            (ContentUse::UpdateCard, _) => return self.check_updatable(flaws),
        };
        flaws.add(&self.chosen, says.to_owned());
    }

    fn check_updatable(&self, flaws: &mut Flaws) {
        if self.content.msg_type != "interactive" {
            let says = "is no card, and nothing else takes an update_card";
            return flaws.add(&self.chosen, says.to_owned());
        }
        if let Some((pointer, says)) = card::fixed(&self.value) {
            let mut found = Flaws::default();
            found.add(pointer, says.to_owned());
            self.place.take(found, flaws);
        }
    }
}

/// Where a value stands in the arguments. A value is made from its argument and may have more around it.
struct Place {
    /// The argument.
    at: String,
    /// What is around it only in the value.
    around: &'static str,
    /// What is around it only in the argument.
    inside: &'static str,
    /// The argument is a string: there is no place in it.
    is_text: bool,
}

impl Place {
    /// Takes over what was found in the value.
    fn take(&self, found: Flaws, flaws: &mut Flaws) {
        for Flaw { pointer, detail } in found.0 {
            let inner = pointer.strip_prefix(self.around).unwrap_or("");
            if self.is_text && self.at == "/content" && !inner.is_empty() {
                flaws.add(&self.at, format!("holds {inner}, which {detail}"));
            } else if self.is_text {
                flaws.add(&self.at, detail);
            } else {
                flaws.add(&format!("{}{}{inner}", self.at, self.inside), detail);
            }
        }
    }
}

fn build(args: &Map<String, Value>, flaws: &mut Flaws) -> Option<Built> {
    match pick(args, flaws)? {
        Form::Raw { msg_type, content } => raw(msg_type, content, flaws),
        Form::Named { key, value } => {
            let at = format!("/{key}");
            let (msg_type, made) = named(key, value, &at, flaws)?;
            Some(Built {
                content: Content {
                    msg_type: msg_type.to_owned(),
                    content: made.to_string(),
                },
                place: place(key, value, at.clone()),
                value: made,
                chosen: at,
            })
        }
    }
}

/// Where the value that `named` makes of an argument stands in it.
fn place(key: &str, value: &Value, at: String) -> Place {
    Place {
        at,
        around: match key {
            "post" if is_bare(value) => "/zh_cn",
            "template" => "/data",
            _ => "",
        },
        inside: "",
        is_text: value.is_string(),
    }
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
    if is_bare(value) {
        json!({ "zh_cn": value })
    } else {
        value.clone()
    }
}

fn is_bare(post: &Value) -> bool {
    post.get("content").is_some_and(Value::is_array)
}

/// The platform's own pair; a string stays as it is.
fn raw(msg_type: &str, content: &Value, flaws: &mut Flaws) -> Option<Built> {
    let value = match content {
        Value::String(text) => match serde_json::from_str(text) {
            Ok(parsed) => parsed,
            Err(_) => return flaws.lost("/content", "is a string that does not hold JSON"),
        },
        other => other.clone(),
    };
    if !value.is_object() {
        return flaws.lost(
            "/content",
            "is neither an object nor a string that holds one",
        );
    }
    if !check::TYPES.contains(&msg_type) {
        return flaws.lost("/msg_type", "is no type a bot can send");
    }
    let text = content.as_str();
    Some(Built {
        content: Content {
            msg_type: msg_type.to_owned(),
            content: text.map_or_else(|| value.to_string(), ToOwned::to_owned),
        },
        value,
        place: Place {
            at: "/content".to_owned(),
            around: "",
            inside: "",
            is_text: text.is_some(),
        },
        chosen: "/msg_type".to_owned(),
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
