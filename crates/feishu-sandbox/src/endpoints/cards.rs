//! Updating a card that was sent: last state wins, at most five times in a second.
//!
//! Source: endpoints.md 4.1. The reference names no code for a card that is not shared
//! (`config.update_multi`), nor for another app's: taken are 230001 with its reason, and 230027.

use serde_json::Value;

use super::send::Draft;
use crate::call::{Call, Handled, ok};
use crate::clock::DAY_MS;
use crate::codes::Refusal;
use crate::content::Shown;
use crate::ledger::Effect;
use crate::windows::Scope;
use crate::world::{Click, Message};

/// A card can be updated this long. Source: limits.md 4.
const CARD_LIFE_MS: i64 = 14 * DAY_MS;

/// Puts another card in the place of an own one, for everybody who sees it.
pub(crate) fn update(call: &mut Call<'_>) -> Handled {
    let body = call.json()?;
    let draft = match body.get("content") {
        Some(Value::String(text)) if !text.is_empty() => Draft::card(text),
        Some(other) if !other.is_null() => {
            let says = "content is a string in json format";
            return Err(Refusal::field("content", &other.to_string(), says));
        }
        _ => return Err(Refusal::field("content", "", "content is required")),
    };
    let message = call.message(call.param("message_id"))?;
    match call.enter(&message.chat_id) {
        Err(refusal) if refusal.code == 230_002 => return Err(Refusal::code(230_027)),
        other => other.map(drop)?,
    }
    check_message(call, message)?;
    let (message_id, chat_id) = (message.message_id.clone(), message.chat_id.clone());
    draft.check_size(call)?;
    let shown = draft.check_content(call, &chat_id)?;
    let card = draft.content.unwrap_or_default();
    if !is_shared(&card) {
        return Err(not_shared("the new card"));
    }
    let limit = call.world.limits().message_second;
    call.take_window(Scope::Message, &message_id, limit, "message rate limit")?;
    show(call, &message_id, card, shown);
    Ok(ok(serde_json::json!({})))
}

fn check_message(call: &Call<'_>, message: &Message) -> Result<(), Refusal> {
    if message.deleted {
        return Err(Refusal::code(230_011));
    }
    if message.msg_type != "interactive" {
        return Err(Refusal::ext("This message is NOT a card"));
    }
    if !message.is_by(&call.app_id) {
        return Err(Refusal::code(230_027));
    }
    if call.now_ms - message.create_ms > CARD_LIFE_MS {
        return Err(Refusal::code(230_031));
    }
    if !is_shared(&message.sent) {
        return Err(not_shared("the card"));
    }
    let open_ms = call.world.switches().click_open.0;
    let is_open = |click: &Click| {
        click.message_id == message.message_id && call.now_ms - click.at_ms < open_ms
    };
    if open_ms > 0 && call.world.clicks.values().any(is_open) {
        return Err(Refusal::card(11_310, "/", "card action is lock"));
    }
    Ok(())
}

fn not_shared(which: &str) -> Refusal {
    Refusal::ext(&format!("{which} does not declare config.update_multi"))
}

/// Whether all see the same card. JSON 2.0 knows no other kind; of a template and of an entity
/// nothing is known here. Source: messages.md 4.
pub(super) fn is_shared(card: &str) -> bool {
    let card: Value = serde_json::from_str(card).unwrap_or_default();
    let multi = card
        .pointer("/config/update_multi")
        .and_then(Value::as_bool);
    match card.get("type").and_then(Value::as_str) {
        Some("template") => true,
        Some("card") => false,
        _ if card.get("schema").and_then(Value::as_str) == Some("2.0") => multi != Some(false),
        _ => multi == Some(true),
    }
}

/// Shows `card` to all; the same card again is no effect.
pub(super) fn show(call: &mut Call<'_>, message_id: &str, card: String, shown: Shown) {
    let now_ms = call.now_ms;
    let mut effect = call.new_effect("card_update");
    let mut changed = false;
    call.world.change_message(message_id, |message| {
        changed = message.sent != card || !message.views.is_empty();
        message.views.clear();
        message.sent.clone_from(&card);
        message.shown = shown.content;
        message.mentions = shown.mentions;
        message.updated = true;
        message.update_ms = now_ms;
        message.changes += u32::from(changed);
        effect = Effect {
            message_id: Some(message.message_id.clone()),
            chat_id: Some(message.chat_id.clone()),
            msg_type: Some("interactive".to_owned()),
            content: Some(Value::String(card)),
            ..std::mem::take(&mut effect)
        };
    });
    if changed {
        call.world.effect(effect);
    }
}
