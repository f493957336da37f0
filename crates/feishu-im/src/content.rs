//! stub
use bytes::Bytes;
use serde_json::{Map, Value};

/// The argument names that are content.
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
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    /// The platform's type.
    pub msg_type: String,
    /// JSON text.
    pub content: String,
}

/// What is wrong with an argument.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flaw {
    /// JSON pointer into the arguments.
    pub pointer: String,
    /// For people.
    pub detail: String,
}

impl Content {
    /// Content from arguments.
    ///
    /// # Errors
    /// What is wrong, each with its place.
    pub fn from_args(_args: &Map<String, Value>) -> Result<Content, Vec<Flaw>> {
        Err(Vec::new())
    }
}

/// Content of a batch, ready to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchContent {
    /// The platform's type.
    pub msg_type: String,
    /// A JSON object; for a card the card itself.
    pub object: String,
}

/// Receivers of one batch call.
#[derive(Clone, Copy, Debug, Default)]
pub struct BatchLists<'a> {
    /// `od-…`
    pub department_ids: &'a [String],
    /// `ou_…`
    pub open_ids: &'a [String],
    /// No fixed form.
    pub user_ids: &'a [String],
    /// `on_…`
    pub union_ids: &'a [String],
}

impl BatchContent {
    /// Content from arguments.
    ///
    /// # Errors
    /// What is wrong, each with its place.
    pub fn from_args(_args: &Map<String, Value>) -> Result<BatchContent, Vec<Flaw>> {
        Err(Vec::new())
    }

    /// The body of a call.
    pub fn body(&self, _lists: &BatchLists<'_>) -> Bytes {
        Bytes::new()
    }
}
