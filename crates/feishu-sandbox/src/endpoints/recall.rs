//! Recalling a message. Source: endpoints.md 2.5.

use serde_json::json;

use crate::call::{Call, Handled, success};
use crate::codes::Refusal;
use crate::ledger::Effect;
use crate::seed::SecondRecall;

/// Takes an own message back.
pub(crate) fn recall(call: &mut Call<'_>) -> Handled {
    let message_id = call.param("message_id").to_owned();
    let message = call.message(&message_id)?;
    call.enter(&message.chat_id)?;
    if !message.is_by(&call.app_id) {
        return Err(Refusal::code(230_026));
    }
    if message.deleted {
        return match call.world.switches().second_recall {
            SecondRecall::Success => Ok(success(json!({}))),
            SecondRecall::Recalled => Err(Refusal::code(230_011)),
            SecondRecall::Deleted => Err(Refusal::code(230_110)),
        };
    }
    if message.msg_type == "system" {
        return Err(Refusal::code(230_054));
    }
    if call.now_ms - message.create_ms > call.world.switches().recall_window.0 {
        return Err(Refusal::code(230_009));
    }
    let effect = Effect {
        message_id: Some(message_id.clone()),
        chat_id: Some(message.chat_id.clone()),
        ..call.new_effect("recall")
    };
    call.world.delete_message(&message_id);
    call.world.effect(effect);
    Ok(success(json!({})))
}
