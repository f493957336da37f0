//! Passing messages on: one, several in one, a thread. Source: endpoints.md 2.7 to 2.9.
//!
//! The `uuid` of these calls is in the query and counts per target.

use serde_json::json;

use super::send::{Outgoing, UUID_CHARS_MAX, deliver, receiver};
use crate::call::{Call, Fields, Handled, success};
use crate::codes::Refusal;
use crate::content::Shown;
use crate::world::{Message, Spot};

/// Messages of one merged forward. Source: limits.md 3.
const MESSAGES_MAX: usize = 100;
/// Content of a merged forward: a literal text. Source: messages.md 3.
const MERGED: &str = "Merged and Forwarded Message";
/// Types that stay where they are. Source: errors.md 3 (230061).
const FIXED: [&str; 6] = ["system", "audio", "hongbao", "vote", "calendar", "todo"];

/// Where a forward goes.
struct Target {
    chat_id: String,
    spot: Spot,
    uuid: String,
}

/// Passes one message on.
pub(crate) fn one(call: &mut Call<'_>) -> Handled {
    let target = Target::read(call)?;
    let message_id = call.param("message_id");
    if !message_id.starts_with("om_") {
        return Err(Refusal::ext("invalid message_id"));
    }
    let source = call.world.messages.get(message_id);
    let source = source.ok_or_else(|| Refusal::code(230_064))?;
    see(call, source, 230_050)?;
    if source.deleted {
        return Err(Refusal::code(230_065));
    }
    if FIXED.contains(&source.msg_type.as_str()) || source.upper_message_id.is_some() {
        return Err(Refusal::code(230_061));
    }
    let shown = Shown {
        content: source.shown.clone(),
        mentions: source.mentions.clone(),
    };
    let (msg_type, sent) = (source.msg_type.clone(), source.sent.clone());
    let parts = match source.msg_type.as_str() {
        "merge_forward" => call.world.parts(&source.message_id),
        _ => Vec::new(),
    };
    let parts = parts.into_iter().cloned().collect();
    call.take_chat_window(&target.chat_id)?;
    let sent = deliver(call, target.carry(msg_type, sent, shown, parts))?;
    Ok(success(sent.object))
}

/// Passes several messages of one chat on as one.
pub(crate) fn merge(call: &mut Call<'_>) -> Handled {
    let target = Target::read(call)?;
    let ids = message_ids(call)?;
    let (parts, invalid) = sort_out(call, &ids)?;
    call.take_chat_window(&target.chat_id)?;
    let sent = deliver(call, target.merged(parts))?;
    Ok(success(
        json!({ "message": sent.object, "invalid_message_id_list": invalid }),
    ))
}

/// Passes a thread on.
pub(crate) fn thread(call: &mut Call<'_>) -> Handled {
    let target = Target::read(call)?;
    let thread_id = call.param("thread_id");
    let root = call.world.thread_root(thread_id);
    let root = root.ok_or_else(|| Refusal::code(230_064))?;
    see(call, root, 230_073)?;
    let chat = call.world.chats.get(&root.chat_id);
    let parts: Vec<Message> = chat
        .into_iter()
        .flat_map(|chat| &chat.messages)
        .filter_map(|id| call.world.messages.get(id))
        .filter(|each| each.thread_id.as_deref() == Some(thread_id) && !each.deleted)
        .cloned()
        .collect();
    if parts.is_empty() {
        return Err(Refusal::code(230_064));
    }
    call.take_chat_window(&target.chat_id)?;
    let sent = deliver(call, target.merged(parts))?;
    Ok(success(sent.object))
}

/// The bot must be where the source stands; elsewhere it is refused with `invisible`.
fn see(call: &Call<'_>, source: &Message, invisible: i64) -> Result<(), Refusal> {
    match call.enter(&source.chat_id) {
        Err(refusal) if refusal.code == 230_002 => Err(Refusal::code(invisible)),
        other => other.map(drop),
    }
}

impl Target {
    fn read(call: &Call<'_>) -> Result<Self, Refusal> {
        let kinds = [
            "open_id",
            "union_id",
            "user_id",
            "email",
            "chat_id",
            "thread_id",
        ];
        let kind = call.choice("receive_id_type", &kinds)?;
        let mut fields = Fields::default();
        let name = fields.text(&call.json()?, "receive_id");
        let uuid = call.asked("uuid").unwrap_or_default().to_owned();
        if uuid.chars().count() > UUID_CHARS_MAX {
            fields.wrong("uuid", &uuid, "uuid has at most 50 characters");
        }
        fields.finish()?;
        let (chat_id, spot) = if kind == "thread_id" {
            Self::thread(call, &name)?
        } else {
            (receiver(call, &kind, &name)?, Spot::default())
        };
        Ok(Self {
            chat_id,
            spot,
            uuid,
        })
    }

    fn thread(call: &Call<'_>, thread_id: &str) -> Result<(String, Spot), Refusal> {
        if !thread_id.starts_with("omt_") {
            return Err(Refusal::code(230_034));
        }
        let root = call.world.thread_root(thread_id);
        let root = root.ok_or_else(|| Refusal::code(230_019))?;
        see(call, root, 230_074)?;
        Ok((root.chat_id.clone(), root.answered()))
    }

    fn carry(self, msg_type: String, sent: String, shown: Shown, parts: Vec<Message>) -> Outgoing {
        // However it was named: a person by mail or by open id is one target.
        let target = (self.spot.thread_id.as_ref()).unwrap_or(&self.chat_id);
        Outgoing {
            target: target.clone(),
            chat_id: self.chat_id,
            msg_type,
            sent,
            shown,
            spot: self.spot,
            uuid: self.uuid,
            parts,
        }
    }

    fn merged(self, parts: Vec<Message>) -> Outgoing {
        let shown = Shown {
            content: MERGED.to_owned(),
            mentions: Vec::new(),
        };
        self.carry("merge_forward".to_owned(), MERGED.to_owned(), shown, parts)
    }
}

fn message_ids(call: &Call<'_>) -> Result<Vec<String>, Refusal> {
    let name = "message_id_list";
    let says = "message_id_list holds 1 to 100 ids";
    let body = call.json()?;
    let list = body.get(name).and_then(serde_json::Value::as_array);
    let list = list.ok_or_else(|| Refusal::field(name, "", says))?;
    if list.is_empty() || list.len() > MESSAGES_MAX {
        return Err(Refusal::field(name, &list.len().to_string(), says));
    }
    list.iter()
        .map(|id| id.as_str().map(str::to_owned))
        .collect::<Option<_>>()
        .ok_or_else(|| Refusal::field(name, "", says))
}

/// The messages that can go, and the ids of those that can not.
fn sort_out(call: &Call<'_>, ids: &[String]) -> Result<(Vec<Message>, Vec<String>), Refusal> {
    let mut parts: Vec<Message> = Vec::new();
    let mut invalid = Vec::new();
    let mut recalled = 0;
    for id in ids {
        match call.world.messages.get(id) {
            Some(message) if message.deleted => {
                recalled += 1;
                invalid.push(id.clone());
            }
            Some(message) if see(call, message, 230_064).is_ok() => {
                if !parts.iter().any(|part| part.message_id == *id) {
                    parts.push(message.clone());
                }
            }
            _ => invalid.push(id.clone()),
        }
    }
    if parts.is_empty() {
        let all_recalled = recalled == ids.len();
        return Err(Refusal::code(if all_recalled { 230_065 } else { 230_064 }));
    }
    check_mix(&parts)?;
    parts.sort_unstable_by_key(|part| part.seq);
    Ok((parts, invalid))
}

/// One chat, and either plain messages or one thread. Source: endpoints.md 2.8.
fn check_mix(parts: &[Message]) -> Result<(), Refusal> {
    let first = &parts[0];
    if parts.iter().any(|part| part.chat_id != first.chat_id) {
        return Err(Refusal::code(230_069));
    }
    let fixed = |part: &Message| part.msg_type == "system" || part.upper_message_id.is_some();
    let thread = |part: &Message| part.is_inside_thread().then(|| part.thread_id.clone());
    if parts.iter().any(fixed) || parts.iter().any(|part| thread(part) != thread(first)) {
        return Err(Refusal::code(230_067));
    }
    Ok(())
}
