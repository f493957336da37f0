//! Tokens: the same one while half an hour or more is left of it, else a new one beside it.
//!
//! Source: endpoints.md 1. Both calls answer the same token, as the example of the page does.

use serde_json::{Map, Value, json};

use super::new_id;
use crate::call::{Call, Handled};
use crate::clock::SECOND_MS;
use crate::codes::Refusal;
use crate::world::{TOKEN_LIFE_MS, TOKEN_RENEWAL_MS, Token, Touched, World};

/// Issues a token for an app's id and secret.
pub(crate) fn issue(call: &mut Call<'_>) -> Handled {
    let body = call.json().map_err(|_| Refusal::code(10_003))?;
    let (Some(app_id), Some(secret)) = (text(&body, "app_id"), text(&body, "app_secret")) else {
        return Err(Refusal::code(10_003));
    };
    let apps = &call.world.seed.apps;
    if !apps
        .iter()
        .any(|app| app.app_id == app_id && app.app_secret == secret)
    {
        return Err(Refusal::code(10_014));
    }
    let token = current(call.world, app_id, call.now_ms);
    let expire = (token.expires_ms - call.now_ms) / SECOND_MS;
    let mut answer = json!({
        "code": 0, "msg": "ok", "tenant_access_token": token.token, "expire": expire,
    });
    if call.row().path.contains("app_access_token") {
        answer["app_access_token"] = json!(token.token);
    }
    Ok(answer.into())
}

fn text<'a>(body: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    body.get(name)
        .and_then(Value::as_str)
        .filter(|text| !text.is_empty())
}

fn current(world: &mut World, app_id: &str, now_ms: i64) -> Token {
    let newest = world
        .newest_token
        .get(app_id)
        .and_then(|token| world.tokens.get(token));
    if let Some(token) = newest.filter(|token| token.expires_ms - now_ms >= TOKEN_RENEWAL_MS) {
        return token.clone();
    }
    let token = Token {
        token: new_id("t-"),
        app_id: app_id.to_owned(),
        expires_ms: now_ms + TOKEN_LIFE_MS,
    };
    world
        .newest_token
        .insert(app_id.to_owned(), token.token.clone());
    world.tokens.insert(token.token.clone(), token.clone());
    world.touch(Touched::Token(token.token.clone()));
    token
}
