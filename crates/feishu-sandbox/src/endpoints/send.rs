//! Sending one message, and what every call that makes a message shares.
//!
//! Source: endpoints.md 2.1; content: `content`.

use serde_json::{Map, Value};

use super::new_id;
use crate::call::{Call, Fields, Handled, success};
use crate::codes::Refusal;
use crate::content::{self, Place, Shown};
use crate::ledger::Effect;
use crate::seed::Mode;
use crate::world::{IdKind, Message, Sender, Spot, Touched, UuidUse};

/// Characters a uuid may have. Source: endpoints.md 0.
pub(crate) const UUID_CHARS_MAX: usize = 50;

/// Sends one message to a person or a chat.
pub(crate) fn send(call: &mut Call<'_>) -> Handled {
    let kinds = ["open_id", "union_id", "user_id", "email", "chat_id"];
    let kind = call.choice("receive_id_type", &kinds);
    let body = call.json()?;
    let draft = Draft::read(&body)?;
    let mut fields = Fields::default();
    let receive_id = fields.text(&body, "receive_id");
    let kind = kind?;
    fields.finish()?;

    let chat_id = receiver(call, &kind, &receive_id)?;
    draft.check_size(call)?;
    let shown = draft.check_content(call, &chat_id)?;
    call.take_chat_window(&chat_id)?;
    let sent = deliver(call, Outgoing::of(&draft, &chat_id, shown))?;
    Ok(success(sent.object))
}

/// A message as the caller wants it.
pub(crate) struct Draft {
    pub(crate) msg_type: String,
    /// `None`: it was no string.
    pub(crate) content: Option<String>,
    pub(crate) uuid: String,
}

impl Draft {
    /// Reads the fields every message has.
    pub(crate) fn read(body: &Map<String, Value>) -> Result<Self, Refusal> {
        let mut fields = Fields::default();
        let msg_type = fields.text(body, "msg_type");
        let content = match body.get("content") {
            Some(Value::String(text)) if !text.is_empty() => Some(text.clone()),
            None | Some(Value::Null | Value::String(_)) => {
                fields.wrong("content", "", "content is required");
                None
            }
            Some(_) => None,
        };
        let uuid = fields.optional(body, "uuid");
        if uuid.chars().count() > UUID_CHARS_MAX {
            fields.wrong("uuid", &uuid, "uuid has at most 50 characters");
        }
        fields.finish()?;
        Ok(Self {
            msg_type,
            content,
            uuid,
        })
    }

    /// A card by itself.
    pub(crate) fn card(text: &str) -> Self {
        Self {
            msg_type: "interactive".to_owned(),
            content: Some(text.to_owned()),
            uuid: String::new(),
        }
    }

    /// Measures the whole request body. Source: limits.md 3.
    pub(crate) fn check_size(&self, call: &Call<'_>) -> Result<(), Refusal> {
        let kb = match self.msg_type.as_str() {
            "post" | "interactive" => 30,
            _ => 150,
        };
        if call.arrived.body.len() > kb * call.world.switches().kb {
            return Err(Refusal::code(230_025));
        }
        Ok(())
    }

    /// Checks the content for its type and says how it will be shown.
    pub(crate) fn check_content(&self, call: &Call<'_>, chat_id: &str) -> Result<Shown, Refusal> {
        let not_json = || Refusal::ext("content is not a string in json format");
        let text = self.content.as_deref().ok_or_else(not_json)?;
        let content: Value =
            serde_json::from_str(text).map_err(|_| match self.msg_type.as_str() {
                "interactive" => Refusal::card(200_621, "/", "the card is no JSON"),
                _ => not_json(),
            })?;
        let place = Place {
            world: call.world,
            app_id: &call.app_id,
            chat_id,
        };
        content::check(&place, &self.msg_type, &content)
    }
}

/// The chat a receiver stands for. Source: endpoints.md 2.1, errors.md 4.
pub(crate) fn receiver(call: &Call<'_>, kind: &str, receive_id: &str) -> Result<String, Refusal> {
    let unknown = || Refusal::ext("invalid receive_id");
    let Some(kind) = IdKind::parse(kind) else {
        if IdKind::guess(receive_id).is_some_and(|looks| looks != IdKind::User) {
            return Err(Refusal::code(230_034));
        }
        if !call.world.chats.contains_key(receive_id) {
            return Err(unknown());
        }
        return call.enter(receive_id).map(|chat| chat.chat_id.clone());
    };
    let looks = IdKind::guess(receive_id);
    if looks != Some(kind) && looks != Some(IdKind::User) && kind != IdKind::User {
        return Err(Refusal::code(230_034));
    }
    let user = call
        .world
        .people
        .find(kind, receive_id)
        .ok_or_else(unknown)?;
    let chat_id = crate::world::p2p_chat_id(&call.app_id, &user.open_id);
    call.enter(&chat_id).map(|chat| chat.chat_id.clone())
}

/// A message on its way into a chat.
pub(crate) struct Outgoing {
    pub(crate) chat_id: String,
    pub(crate) msg_type: String,
    pub(crate) sent: String,
    pub(crate) shown: Shown,
    pub(crate) spot: Spot,
    pub(crate) uuid: String,
    /// Receiver that the uuid counts for; empty where it counts for all. Source: endpoints.md 0.
    pub(crate) target: String,
    /// Parts of a merged forward, as they stand in their chat.
    pub(crate) parts: Vec<Message>,
}

impl Outgoing {
    /// What `draft` says, to be shown as `shown`.
    pub(crate) fn of(draft: &Draft, chat_id: &str, shown: Shown) -> Self {
        Self {
            chat_id: chat_id.to_owned(),
            msg_type: draft.msg_type.clone(),
            sent: draft.content.clone().unwrap_or_default(),
            shown,
            spot: Spot::default(),
            uuid: draft.uuid.clone(),
            target: String::new(),
            parts: Vec::new(),
        }
    }
}

/// A message that was put into its chat.
pub(crate) struct Delivered {
    /// The message object of the answer.
    pub(crate) object: Value,
    pub(crate) message_id: String,
    /// The first success of the same uuid was answered instead.
    pub(crate) repeated: bool,
}

/// Puts the message into its chat, or finds the first success of the same uuid.
pub(crate) fn deliver(call: &mut Call<'_>, out: Outgoing) -> Result<Delivered, Refusal> {
    let uuid = match out.target.as_str() {
        _ if out.uuid.is_empty() => String::new(),
        "" => out.uuid.clone(),
        target => format!("{} {target}", out.uuid),
    };
    let uuid_key = call.world.uuid_key(&call.app_id, &call.row().call(), &uuid);
    if let Some(key) = &uuid_key
        && let Some(first) = first_success(call, key)?
    {
        return Ok(first);
    }
    let seq = call.world.next_seq();
    let sender = Sender::App(call.app_id.clone());
    let mut message = Message::new(
        seq,
        out.chat_id,
        sender,
        &out.msg_type,
        out.sent,
        out.shown.content,
        call.now_ms,
    );
    message.mentions = out.shown.mentions;
    message.stand(out.spot);
    let opens_thread = (call.world.chats.get(&message.chat_id))
        .is_some_and(|chat| chat.mode == Mode::Topic && message.root_id.is_none());
    if opens_thread {
        message.thread_id = Some(new_id("omt_"));
    }
    let delivered = Delivered {
        object: message.object(Some(&message.shown)),
        message_id: message.message_id.clone(),
        repeated: false,
    };
    let effect = Effect {
        msg_type: Some(message.msg_type.clone()),
        content: Some(Value::String(message.sent.clone())),
        uuid: Some(out.uuid).filter(|uuid| !uuid.is_empty()),
        ..call.effect_on("message", &message)
    };
    remember_uuid(call, uuid_key, &message.message_id);
    call.world.put_message(message);
    for part in out.parts {
        let seq = call.world.next_seq();
        let part = part.part_of(&delivered.message_id, seq);
        call.world.put_message(part);
    }
    call.world.effect(effect);
    Ok(delivered)
}

/// What a uuid was answered with within its window, if anything.
fn first_success(call: &Call<'_>, key: &str) -> Result<Option<Delivered>, Refusal> {
    if call.world.busy_uuids.contains(key) {
        return Err(Refusal::code(230_049));
    }
    let Some(first) = call.world.uuid_success(key) else {
        return Ok(None);
    };
    let message =
        (call.world.messages.get(&first.message_id)).ok_or_else(|| Refusal::code(230_110))?;
    Ok(Some(Delivered {
        object: message.object(Some(&message.shown)),
        message_id: message.message_id.clone(),
        repeated: true,
    }))
}

fn remember_uuid(call: &mut Call<'_>, key: Option<String>, message_id: &str) {
    if let Some(key) = key {
        let message_id = message_id.to_owned();
        let used = UuidUse {
            key: key.clone(),
            at_ms: call.now_ms,
            message_id,
        };
        call.world.uuids.insert(key.clone(), used);
        call.world.touch(Touched::Uuid(key.clone()));
        call.uuid_key = Some(key);
    }
}
