//! Updating a card after somebody clicked on it, by the click's token.
//!
//! Source: endpoints.md 4.2, limits.md 4, errors.md 5. A token of nobody's click is answered as
//! one out of form (300020), `open_ids` missing from a card that is not shared as 200320, a card
//! whose content fails as 11311: the reference lists those codes without their causes. The status
//! of failures is a switch (`old_http`), as are the uses of a token (`click_uses`). Only a success
//! spends one.

use serde_json::{Value, json};

use super::cards;
use crate::call::{Call, Handled, ok};
use crate::clock::MINUTE_MS;
use crate::codes::Refusal;
use crate::content::{self, Place, Shown};
use crate::ledger::Effect;
use crate::world::{Click, Touched, View};

/// Body of one update, in KB. Source: limits.md 3.
const BODY_KB_MAX: usize = 30;
/// Life of a click's token.
const CLICK_LIFE_MS: i64 = 30 * MINUTE_MS;

/// Puts another card in the place of the clicked one.
pub(crate) fn update(call: &mut Call<'_>) -> Handled {
    let body = call.json().map_err(|_| Refusal::code(100_030))?;
    if call.arrived.body.len() > BODY_KB_MAX * call.world.switches().kb {
        return Err(Refusal::code(100_000));
    }
    let token = body
        .get("token")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let Some(Value::Object(card)) = body.get("card") else {
        return Err(Refusal::code(100_030));
    };
    let click = click(call, token)?;
    let message = call.message(&click.message_id)?;
    if message.deleted {
        return Err(Refusal::code(200_000));
    }
    let shared = cards::is_shared(&message.sent);
    let mut card = card.clone();
    let open_ids = card.remove("open_ids");
    let place = Place {
        world: call.world,
        app_id: &call.app_id,
        chat_id: &message.chat_id,
    };
    let card = Value::Object(card);
    let shown = content::check(&place, "interactive", &card)
        .map_err(|refusal| Refusal::code(11_311).because(&refusal.msg))?;
    if shared {
        cards::show(call, &click.message_id, card.to_string(), shown);
    } else {
        let users = users(call, open_ids.as_ref())?;
        show_some(call, &click.message_id, &users, &card, &shown);
    }
    if let Some(click) = call.world.clicks.get_mut(token) {
        click.uses += 1;
    }
    call.world.touch(Touched::Click(token.to_owned()));
    Ok(ok(json!({})))
}

/// The click behind a token that may still be used.
fn click(call: &Call<'_>, token: &str) -> Result<Click, Refusal> {
    let click = call.world.clicks.get(token);
    let click = click.ok_or_else(|| Refusal::code(300_020))?;
    if !call.message(&click.message_id)?.is_by(&call.app_id) {
        return Err(Refusal::code(200_310));
    }
    if call.now_ms - click.at_ms > CLICK_LIFE_MS {
        return Err(Refusal::code(300_030));
    }
    if click.uses >= call.world.switches().click_uses {
        return Err(Refusal::code(300_040));
    }
    Ok(click.clone())
}

/// Those who shall see it, of a card that is not shared.
fn users(call: &Call<'_>, open_ids: Option<&Value>) -> Result<Vec<String>, Refusal> {
    let list = open_ids.and_then(Value::as_array);
    let list = list
        .filter(|list| !list.is_empty())
        .ok_or_else(|| Refusal::code(200_320))?;
    let known = |id: &Value| {
        let user = call.world.people.guess(id.as_str()?)?;
        Some(user.open_id.clone())
    };
    list.iter()
        .map(known)
        .collect::<Option<_>>()
        .ok_or_else(|| Refusal::code(10_002).because("invalid open_ids"))
}

/// Shows `card` to `users` alone; the same card again is no effect.
fn show_some(call: &mut Call<'_>, message_id: &str, users: &[String], card: &Value, shown: &Shown) {
    let mut effect = call.new_effect("card_update");
    let sent = card.to_string();
    let mut changed = Vec::new();
    call.world.change_message(message_id, |message| {
        for user in users {
            let same = |view: &View| view.user == *user && view.sent == sent;
            if !message.views.iter().any(same) {
                changed.push(user.clone());
            }
            message.views.retain(|view| view.user != *user);
            message.views.push(View {
                user: user.clone(),
                sent: sent.clone(),
                shown: shown.content.clone(),
            });
        }
        effect = Effect {
            message_id: Some(message.message_id.clone()),
            chat_id: Some(message.chat_id.clone()),
            msg_type: Some(message.msg_type.clone()),
            content: Some(Value::String(sent.clone())),
            ..std::mem::take(&mut effect)
        };
    });
    if !changed.is_empty() {
        effect.users = Some(changed);
        call.world.effect(effect);
    }
}
