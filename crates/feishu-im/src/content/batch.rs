//! Content of the old batch send: an object instead of a string, fewer types, names of its own.

use std::fmt;

use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::{Flaw, Flaws, Form, check, named, pick, post};
use crate::limits::BATCH_BYTES_MAX;

/// Types a batch takes.
const TYPES: &[&str] = &["text", "post", "image", "interactive", "share_chat"];

/// Content of a batch, ready to be sent.
#[derive(Clone, PartialEq, Eq)]
pub struct BatchContent {
    /// The platform's type.
    pub msg_type: String,
    /// A JSON object as text; for `interactive` the card.
    pub object: String,
}

/// Receivers of one call; each list ≤ [`crate::limits::BATCH_IDS_MAX`], at least one not empty.
#[derive(Clone, Copy, Default)]
pub struct BatchLists<'a> {
    /// Departments with all below them, `od-…` or the tenant's own ids.
    pub department_ids: &'a [String],
    /// People, `ou_…`.
    pub open_ids: &'a [String],
    /// People, no fixed form.
    pub user_ids: &'a [String],
    /// People, `on_…`.
    pub union_ids: &'a [String],
}

impl BatchContent {
    /// Content from arguments: `text`, `post`, `image`, `card`, `template`, `share_chat`, or the raw pair in the
    /// batch's own form (`msg_type` with `content`, or with `card`).
    ///
    /// # Errors
    /// What is wrong, each with its place; also what a single message could hold and a batch cannot: `md` nodes,
    /// styles, other types.
    pub fn from_args(args: &Map<String, Value>) -> Result<BatchContent, Vec<Flaw>> {
        let mut flaws = Flaws::default();
        let content = build(args, &mut flaws);
        flaws.none_or(content)
    }

    /// The body of a call to these receivers.
    pub fn body(&self, lists: &BatchLists<'_>) -> Bytes {
        let field = if self.msg_type == "interactive" {
            "card"
        } else {
            "content"
        };
        let mut body = format!(
            "{{\"msg_type\":{},\"{field}\":{}",
            json!(self.msg_type),
            self.object
        );
        let lists = [
            ("department_ids", lists.department_ids),
            ("open_ids", lists.open_ids),
            ("user_ids", lists.user_ids),
            ("union_ids", lists.union_ids),
        ];
        for (name, ids) in lists.into_iter().filter(|(_, ids)| !ids.is_empty()) {
            body.push_str(&format!(",\"{name}\":{}", json!(ids)));
        }
        body.push('}');
        body.into()
    }
}

fn build(args: &Map<String, Value>, flaws: &mut Flaws) -> Option<BatchContent> {
    let mut args = args.clone();
    if args
        .get("msg_type")
        .is_some_and(|word| word == "interactive")
        && args.contains_key("card")
    {
        args.remove("msg_type"); // the batch's own form of a card
    }
    let (msg_type, content, at) = match pick(&args, flaws)? {
        Form::Named {
            key: key @ ("text" | "post" | "image" | "card" | "template" | "share_chat"),
            value,
        } => {
            let at = format!("/{key}");
            let (msg_type, content) = named(key, value, &at, flaws)?;
            (msg_type.to_owned(), content, at)
        }
        Form::Named { key, .. } => {
            return flaws.lost(
                &format!("/{key}"),
                "is not for a batch, which takes text, post, image, card and share_chat",
            );
        }
        Form::Raw { msg_type, .. } if !TYPES.contains(&msg_type) => {
            return flaws.lost(
                "/msg_type",
                "is not for a batch, which takes text, post, image, interactive and share_chat",
            );
        }
        Form::Raw { msg_type, content } => (
            msg_type.to_owned(),
            raw(msg_type, content, flaws)?,
            "/content".to_owned(),
        ),
    };
    check::content(&msg_type, &content, &at, flaws);
    if msg_type == "post" {
        check::plain_post(&content, &at, flaws);
    }
    let object = wrapped(&msg_type, content).to_string();
    if object.len() > BATCH_BYTES_MAX {
        flaws.add(
            &at,
            format!(
                "has {} bytes; at most {BATCH_BYTES_MAX} are taken",
                object.len()
            ),
        );
    }
    Some(BatchContent { msg_type, object })
}

/// Raw content in the form of a single message.
fn raw(msg_type: &str, content: &Value, flaws: &mut Flaws) -> Option<Value> {
    let mut content = match content {
        Value::String(text) => serde_json::from_str(text).unwrap_or(Value::Null),
        other => other.clone(),
    };
    let Some(object) = content.as_object_mut() else {
        return flaws.lost(
            "/content",
            "is neither an object nor a string that holds one",
        );
    };
    match msg_type {
        "post" => Some(post(&object.remove("post").unwrap_or(content))),
        "share_chat" => {
            if let Some(id) = object.remove("share_chat_id") {
                object.insert("chat_id".to_owned(), id);
            }
            Some(content)
        }
        _ => Some(content),
    }
}

/// Content of a single message in the form of a batch.
fn wrapped(msg_type: &str, content: Value) -> Value {
    match msg_type {
        "post" => json!({ "post": content }),
        "share_chat" => json!({ "share_chat_id": content["chat_id"] }),
        _ => content,
    }
}

impl fmt::Debug for BatchContent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "BatchContent({}, {} bytes)",
            self.msg_type,
            self.object.len()
        )
    }
}

impl fmt::Debug for BatchLists<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BatchLists")
            .field("departments", &self.department_ids.len())
            .field(
                "people",
                &(self.open_ids.len() + self.user_ids.len() + self.union_ids.len()),
            )
            .finish()
    }
}
