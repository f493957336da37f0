//! One call on its way through an endpoint: who calls, what they sent, and the world.
//!
//! Reads fields so that a missing or misshapen one is refused as Feishu does, with its name.

use std::collections::HashMap;

use bytes::Bytes;
use serde_json::{Map, Value, json};

use crate::codes::{Refusal, violation};
use crate::ledger::Effect;
use crate::stored::Stored;
use crate::table::{ENDPOINTS, Endpoint, percent_decode};
use crate::windows::{Ask, Scope};
use crate::world::{Chat, ChatKind, IdKind, Message, World};

/// A success.
#[derive(Debug)]
pub(crate) enum Answered {
    /// The whole JSON body.
    Json(Value),
    /// A file's bytes, with the headers they come under.
    File {
        headers: Vec<(&'static str, String)>,
        bytes: Stored,
    },
}

impl From<Value> for Answered {
    fn from(body: Value) -> Self {
        Self::Json(body)
    }
}

/// What an endpoint answers.
pub(crate) type Handled = Result<Answered, Refusal>;

/// One part of a multipart form.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) name: String,
    pub(crate) bytes: Bytes,
}

/// What came in, read to its end.
#[derive(Debug)]
pub(crate) struct Arrived {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) query: String,
    pub(crate) authorization: Option<String>,
    /// The name it was called under.
    pub(crate) host: String,
    pub(crate) body: Bytes,
    /// Parts of the form, where the endpoint takes one and the body was one.
    pub(crate) form: Option<Vec<Part>>,
}

/// One call past the gateway.
pub(crate) struct Call<'a> {
    pub(crate) world: &'a mut World,
    /// Place of the endpoint in the table.
    pub(crate) at: usize,
    pub(crate) app_id: String,
    pub(crate) params: &'a [(&'static str, String)],
    pub(crate) query: HashMap<String, String>,
    pub(crate) arrived: &'a Arrived,
    pub(crate) now_ms: i64,
    /// The uuid this call was the first to use with success.
    pub(crate) uuid_key: Option<String>,
}

impl Call<'_> {
    pub(crate) fn row(&self) -> &'static Endpoint {
        &ENDPOINTS[self.at]
    }

    /// The path parameter `name`.
    pub(crate) fn param(&self, name: &str) -> &str {
        let found = self.params.iter().find(|(key, _)| *key == name);
        found.map_or("", |(_, value)| value.as_str())
    }

    /// The query parameter `name`; empty counts as absent.
    pub(crate) fn asked(&self, name: &str) -> Option<&str> {
        self.query
            .get(name)
            .map(String::as_str)
            .filter(|value| !value.is_empty())
    }

    /// The body as a JSON object; anything else is a bad request.
    pub(crate) fn json(&self) -> Result<Map<String, Value>, Refusal> {
        match serde_json::from_slice(&self.arrived.body) {
            Ok(Value::Object(object)) => Ok(object),
            _ => Err(Refusal::code(9499)),
        }
    }

    /// A required query parameter that must be one of `allowed`.
    pub(crate) fn choice(&self, name: &str, allowed: &[&str]) -> Result<String, Refusal> {
        match self.asked(name) {
            None => Err(Refusal::field(name, "", &format!("{name} is required"))),
            Some(value) if allowed.contains(&value) => Ok(value.to_owned()),
            Some(value) => Err(Refusal::field(
                name,
                value,
                &format!("{name} must be one of {}", allowed.join(", ")),
            )),
        }
    }

    /// A required `user_id_type`.
    pub(crate) fn user_id_type(&self) -> Result<IdKind, Refusal> {
        let name = self.choice("user_id_type", &["open_id", "union_id", "user_id"])?;
        IdKind::parse(&name).ok_or_else(|| Refusal::field("user_id_type", &name, "unknown"))
    }

    /// The message the path or body names. Source: errors.md 4 (invalid message_id).
    pub(crate) fn message(&self, message_id: &str) -> Result<&Message, Refusal> {
        self.world
            .messages
            .get(message_id)
            .ok_or_else(|| Refusal::ext("invalid message_id"))
    }

    /// The chat with this id, if the app's bot is in it and it still takes calls.
    pub(crate) fn enter(&self, chat_id: &str) -> Result<&Chat, Refusal> {
        let chat = self
            .world
            .chats
            .get(chat_id)
            .ok_or_else(|| Refusal::ext("invalid chat_id"))?;
        if !chat.has_bot(&self.app_id) {
            return Err(Refusal::code(230_002));
        }
        match chat.refuse {
            Some(code) => Err(Refusal::code(code)),
            None => Ok(chat),
        }
    }

    /// Takes a place in the window of a chat: of the person one to one, of the group for all apps.
    pub(crate) fn take_chat_window(&mut self, chat_id: &str) -> Result<(), Refusal> {
        let limits = self.world.limits();
        let is_group = self
            .world
            .chats
            .get(chat_id)
            .is_none_or(|chat| chat.kind == ChatKind::Group);
        let (scope, limit) = if is_group {
            (Scope::Chat, limits.chat_second)
        } else {
            (Scope::User, limits.user_second)
        };
        self.take_window(scope, chat_id, limit, "chat rate limit")
    }

    /// Takes a place in one window; a full one refuses with the endpoint's `window_code`.
    pub(crate) fn take_window(
        &mut self,
        scope: Scope,
        key: &str,
        limit: u32,
        reason: &str,
    ) -> Result<(), Refusal> {
        let code = self.row().window_code;
        self.take_window_as(scope, key, limit, code, reason)
    }

    /// The same, where a full window refuses with `code`.
    pub(crate) fn take_window_as(
        &mut self,
        scope: Scope,
        key: &str,
        limit: u32,
        code: i64,
        reason: &str,
    ) -> Result<(), Refusal> {
        let asks = [Ask {
            scope,
            key: key.to_owned(),
            limit,
        }];
        let refused_count = self.world.switches().refused_calls_count;
        match self.world.windows.take(&asks, self.now_ms, refused_count) {
            None => Ok(()),
            Some(_) => Err(Refusal::code(code).because(reason).by_a_window()),
        }
    }

    /// An effect of this call on a message.
    pub(crate) fn effect_on(&self, effect: &str, message: &Message) -> Effect {
        Effect {
            message_id: Some(message.message_id.clone()),
            chat_id: Some(message.chat_id.clone()),
            ..self.new_effect(effect)
        }
    }

    /// An effect of this call, named and dated.
    pub(crate) fn new_effect(&self, effect: &str) -> Effect {
        Effect {
            at: self.now_ms,
            effect: effect.to_owned(),
            call: self.row().call(),
            app_id: self.app_id.clone(),
            ..Effect::default()
        }
    }
}

/// Parses `a=b&c=d`.
pub(crate) fn parse_query(query: &str) -> HashMap<String, String> {
    query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (percent_decode(key, true), percent_decode(value, true))
        })
        .collect()
}

/// Collects the fields at fault, so that one answer names them all.
#[derive(Debug, Default)]
pub(crate) struct Fields {
    violations: Vec<Value>,
}

impl Fields {
    /// A required, non-empty string of the body.
    pub(crate) fn text(&mut self, body: &Map<String, Value>, name: &str) -> String {
        match body.get(name) {
            Some(Value::String(text)) if !text.is_empty() => return text.clone(),
            None | Some(Value::Null | Value::String(_)) => {
                self.wrong(name, "", &format!("{name} is required"));
            }
            Some(other) => self.wrong(name, &other.to_string(), &format!("{name} is a string")),
        }
        String::new()
    }

    /// An optional string of the body.
    pub(crate) fn optional(&mut self, body: &Map<String, Value>, name: &str) -> String {
        match body.get(name) {
            None | Some(Value::Null) => String::new(),
            Some(Value::String(text)) => text.clone(),
            Some(other) => {
                self.wrong(name, &other.to_string(), &format!("{name} is a string"));
                String::new()
            }
        }
    }

    /// Notes a fault.
    pub(crate) fn wrong(&mut self, name: &str, value: &str, says: &str) {
        self.violations.push(violation(name, value, says));
    }

    /// Refuses when there was any fault.
    pub(crate) fn finish(self) -> Result<(), Refusal> {
        if self.violations.is_empty() {
            Ok(())
        } else {
            Err(Refusal::fields(self.violations))
        }
    }
}

/// The body of a success.
pub(crate) fn success(data: Value) -> Answered {
    json!({ "code": 0, "msg": "success", "data": data }).into()
}

/// The body of a success of the calls that say `ok`.
pub(crate) fn ok(data: Value) -> Answered {
    json!({ "code": 0, "msg": "ok", "data": data }).into()
}
