//! A card for one member of a group, and taking it away. Source: endpoints.md 4.3 and 4.4.
//!
//! Of its failures the reference names only 18051. Taken are the codes of the other old call
//! (errors.md 6): 10003, 11101, 11231, 11246, 19036; and what a chat says to everybody (230002).
//! Status and the code over 40 in a second are switches (`old_http`, `ephemeral_over`).

use serde_json::{Map, Value, json};

use super::new_id;
use crate::call::{Call, Handled, ok, success};
use crate::codes::Refusal;
use crate::content::{self, Place};
use crate::ledger::Effect;
use crate::seed::Mode;
use crate::windows::Scope;
use crate::world::{Ephemeral, IdKind, Touched};

/// Body of one card, in KB. Source: limits.md 3.
const BODY_KB_MAX: usize = 30;

/// Shows a card to one member, who is taken to be online.
pub(crate) fn send(call: &mut Call<'_>) -> Handled {
    let body = call.json().map_err(|_| Refusal::code(10_003))?;
    let chat_id = text(&body, "chat_id").ok_or_else(|| wrong("chat_id is required"))?;
    if text(&body, "msg_type") != Some("interactive") {
        return Err(wrong("msg_type is interactive"));
    }
    let Some(card @ Value::Object(_)) = body.get("card") else {
        return Err(wrong("card must be an object"));
    };
    check_chat(call, chat_id)?;
    let user = member(call, &body, chat_id)?;
    if call.arrived.body.len() > BODY_KB_MAX * call.world.switches().kb {
        return Err(Refusal::code(19_036));
    }
    let place = Place {
        world: call.world,
        app_id: &call.app_id,
        chat_id,
    };
    let shown = content::check(&place, "interactive", card)
        .map_err(|refusal| Refusal::code(11_246).because(&refusal.msg))?;
    let (limit, over) = (
        call.world.limits().ephemeral_second,
        call.world.switches().ephemeral_over,
    );
    call.take_window_as(Scope::Ephemeral, chat_id, limit, over, "group rate limit")?;
    let ephemeral = Ephemeral {
        message_id: new_id("om_"),
        seq: call.world.next_seq(),
        chat_id: chat_id.to_owned(),
        app_id: call.app_id.clone(),
        user,
        sent: card.to_string(),
        shown: shown.content,
        at_ms: call.now_ms,
        deleted: false,
    };
    let message_id = ephemeral.message_id.clone();
    let effect = Effect {
        msg_type: Some("interactive".to_owned()),
        content: Some(card.clone()),
        ..effect(call, "ephemeral", &ephemeral)
    };
    call.world.put_ephemeral(ephemeral);
    call.world.effect(effect);
    Ok(success(json!({ "message_id": message_id })))
}

/// Takes such a card away.
pub(crate) fn delete(call: &mut Call<'_>) -> Handled {
    let body = call.json().map_err(|_| Refusal::code(10_003))?;
    let id = text(&body, "message_id").ok_or_else(|| wrong("message_id is required"))?;
    let ephemeral = call.world.ephemerals.get(id);
    let ephemeral = ephemeral
        .filter(|each| each.app_id == call.app_id)
        .ok_or_else(|| wrong("invalid message_id"))?;
    if ephemeral.deleted {
        return Err(Refusal::code(18_051));
    }
    let effect = effect(call, "ephemeral_delete", ephemeral);
    if let Some(ephemeral) = call.world.ephemerals.get_mut(id) {
        ephemeral.deleted = true;
    }
    call.world.touch(Touched::Ephemeral(id.to_owned()));
    call.world.effect(effect);
    Ok(ok(json!({})))
}

fn effect(call: &Call<'_>, name: &str, ephemeral: &Ephemeral) -> Effect {
    Effect {
        message_id: Some(ephemeral.message_id.clone()),
        chat_id: Some(ephemeral.chat_id.clone()),
        users: Some(vec![ephemeral.user.clone()]),
        ..call.new_effect(name)
    }
}

fn wrong(says: &str) -> Refusal {
    Refusal::code(10_003).because(says)
}

fn text<'a>(body: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    let text = body.get(name).and_then(Value::as_str);
    text.filter(|text| !text.is_empty())
}

/// Ordinary groups only.
fn check_chat(call: &Call<'_>, chat_id: &str) -> Result<(), Refusal> {
    if !call.world.chats.contains_key(chat_id) {
        return Err(Refusal::code(11_231));
    }
    let chat = call.enter(chat_id)?;
    if !chat.is_group() || chat.mode == Mode::Topic {
        return Err(wrong("only ordinary groups take cards for one member"));
    }
    Ok(())
}

/// The member meant: `open_id` before `user_id` before `email`.
fn member(call: &Call<'_>, body: &Map<String, Value>, chat_id: &str) -> Result<String, Refusal> {
    let kinds = [
        ("open_id", IdKind::Open),
        ("user_id", IdKind::User),
        ("email", IdKind::Email),
    ];
    let named = kinds
        .into_iter()
        .find_map(|(name, kind)| text(body, name).map(|id| (kind, id)));
    let (kind, id) = named.ok_or_else(|| wrong("one of open_id, user_id, email is required"))?;
    let user = call.world.people.find(kind, id);
    let user = user.ok_or_else(|| Refusal::code(11_101))?;
    if !call.enter(chat_id)?.has_member(&user.open_id) {
        return Err(wrong("the user is not in the chat"));
    }
    Ok(user.open_id.clone())
}
