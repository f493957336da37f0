//! Asking clients to draw link previews again. Source: endpoints.md 8, limits.md 1.2.
//!
//! The answer over a window is not documented: over 5 in a second, and over one in five seconds
//! for a token, it is 99991400 with the gateway's headers.

use serde_json::{Map, Value, json};

use crate::call::{Call, Handled, success};
use crate::codes::Refusal;
use crate::ledger::Effect;
use crate::windows::{Ask, Scope};
use crate::world::Touched;

/// Tokens and people of one call. Source: limits.md 3.
const TOKENS_MAX: usize = 10;
const PEOPLE_MAX: usize = 100;

/// Asks everybody in the chats of these previews, or only `open_ids`, to draw them again.
pub(crate) fn update(call: &mut Call<'_>) -> Handled {
    let body = call.json()?;
    let tokens = list(&body, "preview_tokens", TOKENS_MAX)?.unwrap_or_default();
    if tokens.is_empty() {
        return Err(Refusal::ext("preview_tokens holds 1 to 10 tokens"));
    }
    let users = list(&body, "open_ids", PEOPLE_MAX)?;
    if tokens
        .iter()
        .any(|token| !call.world.previews.contains_key(token))
    {
        return Err(Refusal::ext("invalid preview_tokens"));
    }
    take_windows(call, &tokens)?;
    for token in &tokens {
        if let Some(preview) = call.world.previews.get_mut(token) {
            preview.updates += 1;
        }
        call.world.touch(Touched::Preview(token.clone()));
    }
    let message_id = (call.world.previews.get(&tokens[0])).map(|first| first.message_id.clone());
    let effect = Effect {
        message_id,
        content: Some(json!({ "preview_tokens": tokens })),
        users,
        ..call.new_effect("preview_update")
    };
    call.world.effect(effect);
    Ok(success(json!({})))
}

/// A place in every token's five seconds, or in none.
fn take_windows(call: &mut Call<'_>, tokens: &[String]) -> Result<(), Refusal> {
    let ask = |token: &String| Ask {
        scope: Scope::Preview,
        key: token.clone(),
        limit: u32::from(call.world.limits().preview_second > 0),
    };
    let asks: Vec<Ask> = tokens.iter().map(ask).collect();
    let refused_count = call.world.switches().refused_calls_count;
    match call.world.windows.take(&asks, call.now_ms, refused_count) {
        None => Ok(()),
        Some(full) => Err(Refusal::by_the_gateway(&full)),
    }
}

fn list(body: &Map<String, Value>, name: &str, max: usize) -> Result<Option<Vec<String>>, Refusal> {
    let wrong = || Refusal::ext(&format!("{name} holds at most {max} strings"));
    match body.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Array(list)) if list.len() <= max => list
            .iter()
            .map(|each| each.as_str().map(str::to_owned))
            .collect::<Option<_>>()
            .map(Some)
            .ok_or_else(wrong),
        Some(_) => Err(wrong()),
    }
}
