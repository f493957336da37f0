//! Buzzing people about an own message, in the app, by SMS or by phone. Source: endpoints.md 6.

use serde_json::{Map, Value, json};

use crate::call::{Call, Handled, success};
use crate::codes::Refusal;
use crate::ledger::Effect;
use crate::seed::SecondBuzz;
use crate::world::{Buzz, IdKind, Touched};

/// People of one call. Source: limits.md 3.
const USERS_MAX: usize = 200;

/// Buzzes in the app.
pub(crate) fn app(call: &mut Call<'_>) -> Handled {
    buzz(call, "urgent_app")
}

/// Buzzes by SMS, and in the app.
pub(crate) fn sms(call: &mut Call<'_>) -> Handled {
    buzz(call, "urgent_sms")
}

/// Buzzes by phone, and in the app.
pub(crate) fn phone(call: &mut Call<'_>) -> Handled {
    buzz(call, "urgent_phone")
}

fn buzz(call: &mut Call<'_>, kind: &str) -> Handled {
    let id_kind = call.user_id_type()?;
    let ids = user_ids(&call.json()?)?;
    let message_id = call.param("message_id").to_owned();
    let chat_id = check_message(call, &message_id)?;
    let (users, invalid) = sort_out(call, id_kind, &ids, &chat_id)?;
    let suppressed = is_repeated(call, kind, &message_id, &users)?;
    if !suppressed {
        check_unread(call, &users)?;
        spend(call, kind, users.len())?;
        execute(call, kind, &message_id, &chat_id, users);
    }
    Ok(success(json!({ "invalid_user_id_list": invalid })))
}

/// Whether the platform swallows this buzz as an identical second one. Source: README.md, "Unknown".
fn is_repeated(
    call: &Call<'_>,
    kind: &str,
    message_id: &str,
    users: &[String],
) -> Result<bool, Refusal> {
    let message = call.message(message_id)?;
    let before = message
        .buzzes
        .iter()
        .any(|each| each.kind == kind && each.users == users);
    Ok(before && call.world.switches().second_buzz == SecondBuzz::Suppressed)
}

fn user_ids(body: &Map<String, Value>) -> Result<Vec<String>, Refusal> {
    let wrong = |says: &str| Refusal::field("user_id_list", "", says);
    let list = match body.get("user_id_list") {
        None | Some(Value::Null) => return Err(wrong("user_id_list is required")),
        Some(Value::Array(list)) => list,
        Some(_) => return Err(wrong("user_id_list is a list")),
    };
    if list.is_empty() || list.len() > USERS_MAX {
        return Err(Refusal::ext("user_id_list holds 1 to 200 ids"));
    }
    let id = |value: &Value| value.as_str().map(str::to_owned);
    list.iter()
        .map(id)
        .collect::<Option<_>>()
        .ok_or_else(|| wrong("user_id_list holds strings"))
}

/// The message must stand and be the app's own; answers its chat.
fn check_message(call: &Call<'_>, message_id: &str) -> Result<String, Refusal> {
    let message = call.message(message_id)?;
    call.enter(&message.chat_id)?;
    if !message.is_by(&call.app_id) {
        return Err(Refusal::code(230_012));
    }
    if message.deleted {
        return Err(Refusal::code(230_110));
    }
    Ok(message.chat_id.clone())
}

/// Members of the chat, once each, and the ids that are none of them.
fn sort_out(
    call: &Call<'_>,
    kind: IdKind,
    ids: &[String],
    chat_id: &str,
) -> Result<(Vec<String>, Vec<String>), Refusal> {
    let chat = call.enter(chat_id)?;
    let mut users: Vec<String> = Vec::new();
    let mut invalid = Vec::new();
    for id in ids {
        match call.world.people.find(kind, id) {
            Some(user) if chat.has_member(&user.open_id) && user.refuse.is_none() => {
                if !users.contains(&user.open_id) {
                    users.push(user.open_id.clone());
                }
            }
            _ => invalid.push(id.clone()),
        }
    }
    if users.is_empty() {
        return Err(Refusal::ext("all ids in the user_id_list are invalid"));
    }
    Ok((users, invalid))
}

fn check_unread(call: &Call<'_>, users: &[String]) -> Result<(), Refusal> {
    let limit = call.world.limits().unread_buzzes;
    let unread = |user: &String| call.world.unread_buzzes.get(user).copied().unwrap_or(0);
    if limit > 0 && users.iter().any(|user| unread(user) >= limit) {
        return Err(Refusal::code(230_023));
    }
    Ok(())
}

/// Takes SMS and calls from what the tenant has bought.
fn spend(call: &mut Call<'_>, kind: &str, count: usize) -> Result<(), Refusal> {
    let limits = call.world.limits();
    let (quota, spent) = match kind {
        "urgent_sms" => (limits.sms_quota, &mut call.world.spent.sms),
        "urgent_phone" => (limits.phone_quota, &mut call.world.spent.phone),
        _ => return Ok(()),
    };
    let count = u64::try_from(count).unwrap_or(u64::MAX);
    if quota > 0 && *spent + count > quota {
        return Err(Refusal::code(230_024));
    }
    *spent += count;
    call.world.touch(Touched::Spent);
    Ok(())
}

fn execute(call: &mut Call<'_>, kind: &str, message_id: &str, chat_id: &str, users: Vec<String>) {
    for user in &users {
        *call.world.unread_buzzes.entry(user.clone()).or_default() += 1;
    }
    let effect = Effect {
        message_id: Some(message_id.to_owned()),
        chat_id: Some(chat_id.to_owned()),
        users: Some(users.clone()),
        ..call.new_effect(kind)
    };
    let at_ms = call.now_ms;
    let buzz = Buzz {
        kind: kind.to_owned(),
        at_ms,
        users,
        read: Vec::new(),
    };
    call.world
        .change_message(message_id, |message| message.buzzes.push(buzz));
    call.world.effect(effect);
}
