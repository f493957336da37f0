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
    /// A custom bot, by its name.
    Hook(String),
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

/// Where a message stands in a conversation: what it answers, and the thread it is in.
#[derive(Debug, Clone, Default)]
pub(crate) struct Spot {
    pub(crate) root_id: Option<String>,
    pub(crate) parent_id: Option<String>,
    pub(crate) thread_id: Option<String>,
}

/// A card as one person sees it who was given one of their own.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct View {
    pub(crate) user: String,
    pub(crate) sent: String,
    pub(crate) shown: String,
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
    /// A thread hangs under it, although it answers something itself.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) heads_thread: bool,
    /// The merged forward it is a part of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) upper_message_id: Option<String>,
    /// Edits and card updates so far.
    #[serde(default)]
    pub(crate) changes: u32,
    /// Cards of their own that some people see in its place.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) views: Vec<View>,
    /// Bubbles below it, by their words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) bubbles: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) pin: Option<Pin>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) reads: Vec<Read>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) buzzes: Vec<Buzz>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) reactions: Vec<Reaction>,
    /// Reactions that were taken back.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) removed: Vec<Reaction>,
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
            heads_thread: false,
            upper_message_id: None,
            changes: 0,
            views: Vec::new(),
            bubbles: Vec::new(),
            pin: None,
            reads: Vec::new(),
            buzzes: Vec::new(),
            reactions: Vec::new(),
            removed: Vec::new(),
        }
    }

    /// Whether `app_id` sent it.
    pub(crate) fn is_by(&self, app_id: &str) -> bool {
        matches!(&self.sender, Sender::App(by) if by == app_id)
    }

    /// Where an answer to it stands: in its thread, if it has one, right under the thread's root.
    /// Source: endpoints.md 0 (in a thread both are the thread root), 2.3.
    pub(crate) fn answered(&self) -> Spot {
        let own = || self.message_id.clone();
        let root_id = match &self.root_id {
            Some(root_id) if !self.heads_thread => root_id.clone(),
            _ => own(),
        };
        let parent_id = if self.thread_id.is_some() {
            root_id.clone()
        } else {
            own()
        };
        Spot {
            root_id: Some(root_id),
            parent_id: Some(parent_id),
            thread_id: self.thread_id.clone(),
        }
    }

    /// Puts it where `spot` says.
    pub(crate) fn stand(&mut self, spot: Spot) {
        self.root_id = spot.root_id;
        self.parent_id = spot.parent_id;
        self.thread_id = spot.thread_id;
    }

    /// Whether it is in a thread without being its root.
    pub(crate) fn is_inside_thread(&self) -> bool {
        self.thread_id.is_some() && self.root_id.is_some() && !self.heads_thread
    }

    /// A copy under a new id, as a part of the merged forward `upper`.
    pub(crate) fn part_of(&self, upper: &str, seq: u64) -> Self {
        Self {
            message_id: crate::endpoints::new_id("om_"),
            seq,
            upper_message_id: Some(upper.to_owned()),
            pin: None,
            reads: Vec::new(),
            buzzes: Vec::new(),
            reactions: Vec::new(),
            removed: Vec::new(),
            views: Vec::new(),
            bubbles: Vec::new(),
            ..self.clone()
        }
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
            ("upper_message_id", &self.upper_message_id),
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
            // How a custom bot is named here is not known.
            Sender::Hook(name) => (name, "app_id", "app"),
        };
        json!({ "id": id, "id_type": id_type, "sender_type": sender_type, "tenant_key": TENANT_KEY })
    }
}
