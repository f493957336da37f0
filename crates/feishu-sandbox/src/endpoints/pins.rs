//! Pins: pin, unpin, list. Source: endpoints.md 7.

use serde_json::{Value, json};

use super::paging::Page;
use crate::call::{Call, Fields, Handled, success};
use crate::codes::Refusal;
use crate::ledger::Effect;
use crate::windows::Scope;
use crate::world::{Message, Pin};

/// Pins a message; one that is pinned already keeps its pin.
pub(crate) fn pin(call: &mut Call<'_>) -> Handled {
    let body = call.json()?;
    let mut fields = Fields::default();
    let message_id = fields.text(&body, "message_id");
    fields.finish()?;
    let message = call.message(&message_id)?;
    call.enter(&message.chat_id)?;
    if message.deleted {
        return Err(Refusal::code(230_011));
    }
    if message.msg_type == "system" {
        return Err(Refusal::code(230_054));
    }
    take_message_window(call, &message_id)?;
    if call.message(&message_id)?.pin.is_none() {
        set_pin(call, &message_id);
    }
    let message = call.message(&message_id)?;
    Ok(success(
        json!({ "pin": message.pin.as_ref().map(|pin| object(message, pin)) }),
    ))
}

/// Takes a pin off; a message without one, or recalled, is a success as well.
pub(crate) fn unpin(call: &mut Call<'_>) -> Handled {
    let message_id = call.param("message_id").to_owned();
    let message = call.message(&message_id)?;
    let chat_id = call.enter(&message.chat_id)?.chat_id.clone();
    take_message_window(call, &message_id)?;
    if call.message(&message_id)?.pin.is_some() {
        call.world.unpin(&message_id);
        let effect = Effect {
            message_id: Some(message_id),
            chat_id: Some(chat_id),
            ..call.new_effect("unpin")
        };
        call.world.effect(effect);
    }
    Ok(success(json!({})))
}

/// Lists a chat's pins, newest first; `start_time` and `end_time` in milliseconds.
pub(crate) fn list(call: &mut Call<'_>) -> Handled {
    let Some(chat_id) = call.asked("chat_id").map(str::to_owned) else {
        return Err(Refusal::field("chat_id", "", "chat_id is required"));
    };
    let start_ms = time(call, "start_time")?.unwrap_or(0);
    let end_ms = time(call, "end_time")?.unwrap_or(i64::MAX);
    if end_ms < start_ms {
        return Err(Refusal::ext("end_time earlier than start_time"));
    }
    let page = Page::read(call, 50, 20)?;
    call.enter(&chat_id)?;
    let limit = call.world.limits().list_pins_second;
    let app_id = call.app_id.clone();
    call.take_window(Scope::ListPins, &app_id, limit, "list pins rate limit")?;
    let chat = call.enter(&chat_id)?;
    let pins = chat
        .pins
        .range(..page.after.unwrap_or(u64::MAX))
        .rev()
        .filter_map(|(seq, id)| call.world.messages.get(id).map(|message| (*seq, message)))
        .filter_map(|(seq, message)| message.pin.as_ref().map(|pin| (seq, message, pin)))
        .filter(|(_, _, pin)| (start_ms..=end_ms).contains(&pin.at_ms))
        .map(|(seq, message, pin)| (seq, object(message, pin)));
    Ok(success(page.cut(pins)))
}

fn set_pin(call: &mut Call<'_>, message_id: &str) {
    let pin = Pin {
        seq: call.world.next_seq(),
        app_id: call.app_id.clone(),
        at_ms: call.now_ms,
    };
    let seq = pin.seq;
    let mut chat_id = String::new();
    call.world.change_message(message_id, |message| {
        message.pin = Some(pin);
        chat_id.clone_from(&message.chat_id);
    });
    if let Some(chat) = call.world.chats.get_mut(&chat_id) {
        chat.pins.insert(seq, message_id.to_owned());
    }
    let effect = Effect {
        message_id: Some(message_id.to_owned()),
        chat_id: Some(chat_id),
        ..call.new_effect("pin")
    };
    call.world.effect(effect);
}

fn take_message_window(call: &mut Call<'_>, message_id: &str) -> Result<(), Refusal> {
    let limit = call.world.limits().message_second;
    call.take_window(Scope::Message, message_id, limit, "message rate limit")
}

fn time(call: &Call<'_>, name: &str) -> Result<Option<i64>, Refusal> {
    let invalid = || Refusal::ext(&format!("{name} invalid"));
    call.asked(name)
        .map(|text| {
            text.parse::<i64>()
                .ok()
                .filter(|ms| *ms >= 0)
                .ok_or_else(invalid)
        })
        .transpose()
}

fn object(message: &Message, pin: &Pin) -> Value {
    json!({
        "message_id": message.message_id, "chat_id": message.chat_id,
        "operator_id": pin.app_id, "operator_id_type": "app_id",
        "create_time": pin.at_ms.to_string(),
    })
}
