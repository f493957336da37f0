//! A message: what was sent, what is shown, and all that was done to it since.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::TENANT_KEY;

/// Who sent it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Sender {
    App(String),
    User(String),
}

/// Somebody named in it. Source: messages.md 6.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Mention {
    pub(crate) key: String,
    pub(crate) id: String,
    pub(crate) id_type: String,
    pub(crate) name: String,
    pub(crate) tenant_key: String,
}

/// That it is pinned.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Pin {
    pub(crate) seq: u64,
    pub(crate) app_id: String,
    pub(crate) at_ms: i64,
}

/// That somebody has read it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Read {
    pub(crate) user: String,
    pub(crate) at_ms: i64,
}

/// One buzz and who has not looked yet.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Buzz {
    /// `urgent_app`, `urgent_sms`, `urgent_phone`.
    pub(crate) kind: String,
    pub(crate) at_ms: i64,
    pub(crate) users: Vec<String>,
    pub(crate) read: Vec<String>,
}

/// An emoji under it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Reaction {
    pub(crate) reaction_id: String,
    pub(crate) by: Sender,
    pub(crate) emoji: String,
    pub(crate) at_ms: i64,
}

/// A message in a chat.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Message {
    pub(crate) message_id: String,
    pub(crate) seq: u64,
    pub(crate) chat_id: String,
    pub(crate) sender: Sender,
    pub(crate) msg_type: String,
    /// Content as it was sent.
    pub(crate) sent: String,
    /// Content as the platform gives it back.
    pub(crate) shown: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) mentions: Vec<Mention>,
    pub(crate) create_ms: i64,
    pub(crate) update_ms: i64,
    #[serde(default)]
    pub(crate) updated: bool,
    #[serde(default)]
    pub(crate) deleted: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) root_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) parent_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) thread_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) pin: Option<Pin>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) reads: Vec<Read>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) buzzes: Vec<Buzz>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) reactions: Vec<Reaction>,
}

impl Message {
    /// A message nothing was done to yet, under a new id; `sent` and `shown` are its content in
    /// the two forms.
    pub(crate) fn new(
        seq: u64,
        chat_id: String,
        sender: Sender,
        msg_type: &str,
        sent: String,
        shown: String,
        at_ms: i64,
    ) -> Self {
        Self {
            message_id: crate::endpoints::new_id("om_"),
            seq,
            chat_id,
            sender,
            msg_type: msg_type.to_owned(),
            sent,
            shown,
            mentions: Vec::new(),
            create_ms: at_ms,
            update_ms: at_ms,
            updated: false,
            deleted: false,
            root_id: None,
            parent_id: None,
            thread_id: None,
            pin: None,
            reads: Vec::new(),
            buzzes: Vec::new(),
            reactions: Vec::new(),
        }
    }

    /// Whether `app_id` sent it.
    pub(crate) fn is_by(&self, app_id: &str) -> bool {
        matches!(&self.sender, Sender::App(by) if by == app_id)
    }

    /// Notes a reader, once; answers how many buzzes became read by it.
    pub(crate) fn read_by(&mut self, user: &str, at_ms: i64) -> u32 {
        if !self.reads.iter().any(|read| read.user == user) {
            self.reads.push(Read {
                user: user.to_owned(),
                at_ms,
            });
        }
        let mut count = 0;
        for buzz in &mut self.buzzes {
            if buzz.users.iter().any(|each| each == user) && !buzz.read.iter().any(|r| r == user) {
                buzz.read.push(user.to_owned());
                count += 1;
            }
        }
        count
    }

    /// The message object of answers, with `content` as its body; `None` leaves the body out.
    /// Source: endpoints.md 0 (message object).
    pub(crate) fn object(&self, content: Option<&str>) -> Value {
        let mut object = Map::new();
        let mut put = |key: &str, value: Value| object.insert(key.to_owned(), value);
        put("message_id", json!(self.message_id));
        for (key, id) in [
            ("root_id", &self.root_id),
            ("parent_id", &self.parent_id),
            ("thread_id", &self.thread_id),
        ] {
            if let Some(id) = id {
                put(key, json!(id));
            }
        }
        put("msg_type", json!(self.msg_type));
        put("create_time", json!(self.create_ms.to_string()));
        put("update_time", json!(self.update_ms.to_string()));
        put("deleted", json!(self.deleted));
        put("updated", json!(self.updated));
        put("chat_id", json!(self.chat_id));
        put("sender", self.sender_object());
        if let Some(content) = content {
            put("body", json!({ "content": content }));
            if !self.mentions.is_empty() {
                put("mentions", json!(self.mentions));
            }
        }
        Value::Object(object)
    }

    fn sender_object(&self) -> Value {
        let (id, id_type, sender_type) = match &self.sender {
            Sender::App(app_id) => (app_id, "app_id", "app"),
            Sender::User(open_id) => (open_id, "open_id", "user"),
        };
        json!({ "id": id, "id_type": id_type, "sender_type": sender_type, "tenant_key": TENANT_KEY })
    }
}
