//! Editing an own text or post. Source: endpoints.md 2.4, limits.md 4.

use serde_json::Value;

use super::send::Draft;
use crate::call::{Call, Handled, success};
use crate::codes::Refusal;
use crate::content::Shown;
use crate::ledger::Effect;
use crate::world::Message;

/// Edits of one message. Source: limits.md 4.
const EDITS_MAX: u32 = 20;
/// What can be edited, and into what.
const KINDS: [&str; 2] = ["text", "post"];

/// Puts a text or a post in the place of an own one.
pub(crate) fn edit(call: &mut Call<'_>) -> Handled {
    let draft = Draft::read(&call.json()?)?;
    let message = call.message(call.param("message_id"))?;
    call.enter(&message.chat_id)?;
    check_message(call, message)?;
    if !KINDS.contains(&draft.msg_type.as_str()) {
        return Err(Refusal::ext("invalid msg_type"));
    }
    let (message_id, chat_id) = (message.message_id.clone(), message.chat_id.clone());
    draft.check_size(call)?;
    let shown = draft.check_content(call, &chat_id)?;
    if call.world.switches().edits_count {
        call.take_chat_window(&chat_id)?;
    }
    apply(call, &message_id, &draft, shown);
    let message = call.message(&message_id)?;
    Ok(success(message.object(Some(&message.shown))))
}

fn check_message(call: &Call<'_>, message: &Message) -> Result<(), Refusal> {
    let says = |code: i64, words: &str| Err(Refusal::code(code).saying(words));
    if message.deleted {
        return Err(Refusal::code(230_011));
    }
    if !message.is_by(&call.app_id) {
        return says(230_071, "The operator is not the sender of the message");
    }
    if !KINDS.contains(&message.msg_type.as_str()) {
        return Err(Refusal::code(230_054));
    }
    if call.now_ms - message.create_ms > call.world.switches().edit_window.0 {
        return says(230_075, "The message was sent too long ago to be edited");
    }
    if message.changes >= EDITS_MAX {
        return says(230_072, "The message has been edited 20 times");
    }
    Ok(())
}

/// Spends one edit; the same words again change nothing that people see.
fn apply(call: &mut Call<'_>, message_id: &str, draft: &Draft, shown: Shown) {
    let sent = draft.content.clone().unwrap_or_default();
    let now_ms = call.now_ms;
    let mut effect = call.new_effect("edit");
    let mut changed = false;
    call.world.change_message(message_id, |message| {
        changed = !message.updated || message.sent != sent || message.msg_type != draft.msg_type;
        message.msg_type.clone_from(&draft.msg_type);
        message.sent.clone_from(&sent);
        message.shown = shown.content;
        message.mentions = shown.mentions;
        message.updated = true;
        message.update_ms = now_ms;
        message.changes += 1;
        effect = Effect {
            message_id: Some(message.message_id.clone()),
            chat_id: Some(message.chat_id.clone()),
            msg_type: Some(message.msg_type.clone()),
            content: Some(Value::String(sent)),
            ..std::mem::take(&mut effect)
        };
    });
    if changed {
        call.world.effect(effect);
    }
}
