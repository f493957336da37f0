//! Tokens: the same one while half an hour or more is left of it, else a new one beside it.
//!
//! Source: endpoints.md 1. Both internal calls answer the same token, as the example of the page does.

use serde_json::{Map, Value, json};

use super::new_id;
use crate::call::{Call, Handled};
use crate::clock::SECOND_MS;
use crate::codes::Refusal;
use crate::world::{TENANT_KEY, TOKEN_LIFE_MS, TOKEN_RENEWAL_MS, Token, Touched, World};

/// Issues a token for an app's id and secret.
pub(crate) fn issue(call: &mut Call<'_>) -> Handled {
    let body = call.json().map_err(|_| Refusal::code(10_003))?;
    let app_id = known_app(call, &body)?;
    let token = current(call.world, &app_id, call.now_ms);
    let expire = (token.expires_ms - call.now_ms) / SECOND_MS;
    let mut answer = json!({
        "code": 0, "msg": "ok", "tenant_access_token": token.token, "expire": expire,
    });
    if call.row().path.contains("app_access_token") {
        answer["app_access_token"] = json!(token.token);
    }
    Ok(answer.into())
}

/// Issues an app token for a store app; any ticket is taken, since none is pushed here.
pub(crate) fn of_store_app(call: &mut Call<'_>) -> Handled {
    let body = call.json().map_err(|_| Refusal::code(10_003))?;
    let app_id = known_app(call, &body)?;
    if text(&body, "app_ticket").is_none() {
        return Err(Refusal::code(10_003));
    }
    let token = current(call.world, &app_id, call.now_ms);
    Ok(json!({
        "code": 0, "msg": "ok", "app_access_token": token.token,
        "expire": (token.expires_ms - call.now_ms) / SECOND_MS,
    })
    .into())
}

/// Issues a tenant's token for a store app's own one.
pub(crate) fn of_tenant(call: &mut Call<'_>) -> Handled {
    let body = call.json().map_err(|_| Refusal::code(10_003))?;
    let given = text(&body, "app_access_token");
    let (Some(given), Some(tenant)) = (given, text(&body, "tenant_key")) else {
        return Err(Refusal::code(10_003));
    };
    let app = call.world.tokens.get(given);
    let app = app.filter(|token| call.now_ms < token.expires_ms);
    let app_id = app.ok_or_else(|| Refusal::code(99_991_664))?.app_id.clone();
    if tenant != TENANT_KEY {
        return Err(Refusal::code(10_003).because("tenant_key"));
    }
    let token = current(call.world, &app_id, call.now_ms);
    Ok(json!({
        "code": 0, "msg": "ok", "tenant_access_token": token.token,
        "expire": (token.expires_ms - call.now_ms) / SECOND_MS,
    })
    .into())
}

/// Takes the wish for another ticket, which would come as an event.
pub(crate) fn resend_ticket(call: &mut Call<'_>) -> Handled {
    let body = call.json().map_err(|_| Refusal::code(10_003))?;
    known_app(call, &body)?;
    Ok(json!({ "code": 0, "msg": "ok" }).into())
}

/// The app whose id and secret the body names.
fn known_app(call: &Call<'_>, body: &Map<String, Value>) -> Result<String, Refusal> {
    let (Some(app_id), Some(secret)) = (text(body, "app_id"), text(body, "app_secret")) else {
        return Err(Refusal::code(10_003));
    };
    let apps = &call.world.seed.apps;
    if !apps
        .iter()
        .any(|app| app.app_id == app_id && app.app_secret == secret)
    {
        return Err(Refusal::code(10_014));
    }
    Ok(app_id.to_owned())
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
