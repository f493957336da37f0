//! A custom bot of a group: one URL, no token, nothing to take hold of afterwards.
//!
//! Source: messages.md 5, limits.md 1.2. The reference names codes only for too many messages
//! (11232, or 9499 with HTTP 400: the switch `hook_over`). A wrong signature and a missing keyword
//! are answered with the codes of the switches `hook_sign` and `hook_keyword`, all else with 9499
//! and its reason. Its messages do not count in the second their group shares among apps.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Map, Value, json};
use sha2::Sha256;

use crate::call::{Call, Handled, success};
use crate::clock::{HOUR_MS, SECOND_MS};
use crate::codes::Refusal;
use crate::content::{self, Place};
use crate::ledger::Effect;
use crate::seed::{Hook, HookOver};
use crate::windows::{Ask, Scope};
use crate::world::{Message, Sender};

/// Body of one message, in KB. Source: limits.md 3.
const BODY_KB_MAX: usize = 20;
/// How old a signature may be. Source: messages.md 5.
const SIGNATURE_LIFE_MS: i64 = HOUR_MS;

/// Says something in the bot's group.
pub(crate) fn say(call: &mut Call<'_>) -> Handled {
    let id = call.param("hook");
    let hooks = &call.world.seed.hooks;
    let hook = hooks.iter().find(|hook| hook.hook == id).cloned();
    let hook = hook
        .filter(|hook| call.world.chats.contains_key(&hook.chat_id))
        .ok_or_else(|| bad("the webhook is unknown"))?;
    take_windows(call, &hook)?;
    if call.arrived.body.len() > BODY_KB_MAX * call.world.switches().kb {
        return Err(bad("the body is longer than 20 KB"));
    }
    let body = call.json()?;
    check_signature(call, &hook, &body)?;
    let (msg_type, content) = content_of(&body)?;
    check_keywords(call, &hook, content)?;
    let refuse = (call.world.chats.get(&hook.chat_id)).and_then(|chat| chat.refuse);
    if let Some(code) = hook.refuse.or(refuse) {
        return Err(Refusal::code(code));
    }
    let place = Place {
        world: call.world,
        app_id: "",
        chat_id: &hook.chat_id,
    };
    let shown =
        content::check_hook(&place, msg_type, content).map_err(|refusal| bad(&refusal.msg))?;
    let seq = call.world.next_seq();
    let mut message = Message::new(
        seq,
        hook.chat_id,
        Sender::Hook(hook.name),
        msg_type,
        content.to_string(),
        shown.content,
        call.now_ms,
    );
    message.mentions = shown.mentions;
    let effect = Effect {
        msg_type: Some(msg_type.to_owned()),
        content: Some(content.clone()),
        ..call.effect_on("message", &message)
    };
    call.world.put_message(message);
    call.world.effect(effect);
    Ok(success(json!({})))
}

fn bad(says: &str) -> Refusal {
    Refusal::code(9499).because(says)
}

/// The bot's own minute and second. Source: limits.md 1.2.
fn take_windows(call: &mut Call<'_>, hook: &Hook) -> Result<(), Refusal> {
    let limits = call.world.limits();
    let ask = |scope, limit| Ask {
        scope,
        key: format!("hook {}", hook.hook),
        limit,
    };
    let asks = [
        ask(Scope::AppMinute, limits.bot_minute),
        ask(Scope::AppSecond, limits.bot_second),
    ];
    let switches = call.world.switches();
    let over = switches.hook_over;
    let refused_count = switches.refused_calls_count;
    match call.world.windows.take(&asks, call.now_ms, refused_count) {
        None => Ok(()),
        Some(_) => Err(match over {
            HookOver::Limited => Refusal::code(11_232),
            HookOver::BadRequest => Refusal::code(9499).saying("too many request"),
        }
        .by_a_window()),
    }
}

/// `sign` = base64(HMAC-SHA256(key = timestamp + "\n" + secret, message = empty)).
fn check_signature(call: &Call<'_>, hook: &Hook, body: &Map<String, Value>) -> Result<(), Refusal> {
    let Some(secret) = &hook.secret else {
        return Ok(());
    };
    let refused = || Refusal::code(call.world.switches().hook_sign);
    // Seconds come as a string; a number is taken as well.
    let timestamp = match body.get("timestamp") {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Number(number)) => number.to_string(),
        _ => return Err(refused()),
    };
    let seconds: i64 = timestamp.parse().map_err(|_| refused())?;
    let age_ms = call
        .now_ms
        .saturating_sub(seconds.saturating_mul(SECOND_MS));
    if age_ms.saturating_abs() > SIGNATURE_LIFE_MS {
        return Err(refused());
    }
    let sign = body.get("sign").and_then(Value::as_str).unwrap_or_default();
    if sign != signature(&timestamp, secret) {
        return Err(refused());
    }
    Ok(())
}

fn signature(timestamp: &str, secret: &str) -> String {
    let key = format!("{timestamp}\n{secret}");
    let mac = Hmac::<Sha256>::new_from_slice(key.as_bytes());
    let bytes = mac.map(|mac| mac.finalize().into_bytes());
    bytes
        .map(|bytes| STANDARD.encode(bytes))
        .unwrap_or_default()
}

/// The type, and the content object: a card under its own name.
fn content_of(body: &Map<String, Value>) -> Result<(&str, &Value), Refusal> {
    let msg_type = body.get("msg_type").and_then(Value::as_str);
    let msg_type = msg_type.ok_or_else(|| bad("msg_type is required"))?;
    let field = match msg_type {
        "text" | "post" | "image" | "share_chat" => "content",
        "interactive" => "card",
        _ => return Err(bad("msg_type is not supported here")),
    };
    match body.get(field) {
        Some(content @ Value::Object(_)) => Ok((msg_type, content)),
        _ => Err(bad(&format!("{field} must be an object"))),
    }
}

/// One of the bot's keywords must stand in what it says.
fn check_keywords(call: &Call<'_>, hook: &Hook, content: &Value) -> Result<(), Refusal> {
    let says = |keyword: &String| contains(content, keyword);
    if hook.keywords.is_empty() || hook.keywords.iter().any(says) {
        return Ok(());
    }
    Err(Refusal::code(call.world.switches().hook_keyword))
}

fn contains(value: &Value, keyword: &str) -> bool {
    match value {
        Value::String(text) => text.contains(keyword),
        Value::Array(list) => list.iter().any(|each| contains(each, keyword)),
        Value::Object(object) => object.values().any(|each| contains(each, keyword)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::signature;

    /// Computed beside this code with Python's `hmac` and `base64`.
    #[test]
    fn a_signature_is_the_documented_one() {
        assert_eq!(
            signature("1599360473", "demo"),
            "l1N0gAcBjdwBvGm1xMjOF0XSyaLRpR7tuO5dHfhAYc8="
        );
    }
}
