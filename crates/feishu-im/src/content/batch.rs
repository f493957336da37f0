//! Content of the old batch send: an object instead of a string, fewer types, names of its own.

use std::fmt;

use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::{Flaw, Flaws, Form, Place, check, is_bare, named, pick, place, post};
use crate::limits::BATCH_BYTES_MAX;

/// Who carries content as an object: the same few types, each with rules of its own.
pub(super) struct Carrier {
    whose: &'static str,
    styles: bool,
}

/// What a carrier made.
pub(super) struct Carried {
    pub(super) msg_type: String,
    pub(super) object: String,
    /// The argument with the content.
    pub(super) at: String,
}

/// Types that are carried.
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
        BatchContent::made(args, true)
    }

    /// The same without a look at what is in it: for what was checked before, maybe by other rules.
    ///
    /// # Errors
    /// It cannot be made: no content or two, or of a wrong shape.
    pub fn unchecked(args: &Map<String, Value>) -> Result<BatchContent, Vec<Flaw>> {
        BatchContent::made(args, false)
    }

    fn made(args: &Map<String, Value>, checked: bool) -> Result<BatchContent, Vec<Flaw>> {
        let mut flaws = Flaws::default();
        let carried = Carrier::BATCH.build(args, checked, &mut flaws);
        let made = carried.map(
            |Carried {
                 msg_type,
                 object,
                 at,
             }| {
                let bytes = object.len();
                if checked && bytes > BATCH_BYTES_MAX {
                    let says = format!("has {bytes} bytes; at most {BATCH_BYTES_MAX} are taken");
                    flaws.add(&at, says);
                }
                BatchContent { msg_type, object }
            },
        );
        flaws.none_or(made)
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

impl Carrier {
    pub(super) const BATCH: Carrier = Carrier {
        whose: "a batch",
        styles: false,
    };
    pub(super) const HOOK: Carrier = Carrier {
        whose: "a custom bot",
        styles: true,
    };

    /// Content from arguments, in the form of an object.
    pub(super) fn build(
        &self,
        args: &Map<String, Value>,
        checked: bool,
        flaws: &mut Flaws,
    ) -> Option<Carried> {
        let mut args = args.clone();
        if args
            .get("msg_type")
            .is_some_and(|word| word == "interactive")
            && args.contains_key("card")
        {
            args.remove("msg_type"); // the form of a card that stands beside `content`
        }
        let whose = self.whose;
        let (msg_type, content, place) = match pick(&args, flaws)? {
            Form::Named {
                key: key @ ("text" | "post" | "image" | "card" | "template" | "share_chat"),
                value,
            } => {
                let at = format!("/{key}");
                let (msg_type, content) = named(key, value, &at, flaws)?;
                (msg_type.to_owned(), content, place(key, value, at))
            }
            Form::Named { key, .. } => {
                let says = format!(
                    "is not for {whose}, which takes text, post, image, card and share_chat"
                );
                return flaws.lost(&format!("/{key}"), &says);
            }
            Form::Raw { msg_type, .. } if !TYPES.contains(&msg_type) => {
                let says = format!(
                    "is not for {whose}, which takes text, post, image, interactive and share_chat"
                );
                return flaws.lost("/msg_type", &says);
            }
            Form::Raw { msg_type, content } => {
                let (made, place) = raw(msg_type, content, flaws)?;
                (msg_type.to_owned(), made, place)
            }
        };
        let at = place.at.clone();
        if checked {
            let mut found = Flaws::default();
            check::content(&msg_type, &content, "", &mut found);
            if msg_type == "post" {
                super::post::check_plain(&content, self.styles, "", whose, &mut found);
            }
            place.take(found, flaws);
        }
        let object = wrapped(&msg_type, content).to_string();
        Some(Carried {
            msg_type,
            object,
            at,
        })
    }
}

/// Raw content in the form of a single message, and where it stands.
fn raw(msg_type: &str, content: &Value, flaws: &mut Flaws) -> Option<(Value, Place)> {
    let mut place = Place {
        at: "/content".to_owned(),
        around: "",
        inside: "",
        is_text: content.is_string(),
    };
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
        "post" => {
            if let Some(inner) = object.remove("post") {
                place.inside = "/post";
                content = inner;
            }
            if is_bare(&content) {
                place.around = "/zh_cn";
            }
            content = post(&content);
        }
        "share_chat" => {
            if let Some(id) = object.remove("share_chat_id") {
                if !place.is_text && id.as_str().is_none_or(str::is_empty) {
                    let says = "is not a string with something in it";
                    return flaws.lost("/content/share_chat_id", says);
                }
                object.insert("chat_id".to_owned(), id);
            }
        }
        _ => {}
    }
    Some((content, place))
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
