//! Calls of which the relay knows nothing: passed on once, for clients who may (scope `direct`).
//!
//! They are not stored and not repeated, and the answer says so. An app's long connection begins with such a call;
//! there the client shows its token where Feishu wants the app's secret, which is put in.

use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::Value;

use crate::config::Scope;
use crate::http::Relay;
use crate::http::auth::Peer;
use crate::http::body;
use crate::http::openapis::through::Asked;
use crate::http::openapis::tokens::Bearer;
use crate::http::openapis::{Refusal, undressed};

/// Where an app asks for the address of its long connection. Source: events.md, section 7.1.
pub(super) const CONNECT: &str = "/callback/ws/endpoint";

/// What became of the call at the relay.
const STATE: HeaderName = HeaderName::from_static("x-relay-state");

/// What a body with an id and a secret may have.
const CONNECT_BYTES_MAX: u64 = 64 << 10;

/// The credential is missing, and is wrong. Source: events.md, section 7.1.
const NO_CREDENTIAL: i64 = 1_000_040_344;
const WRONG_CREDENTIAL: i64 = 1_000_040_345;

/// Passes a call on as it is.
pub(super) async fn answer(relay: &Relay, bearer: &Bearer, head: &Parts, body: Body) -> Response {
    if let Err(refusal) = may(bearer) {
        return refusal.into_response();
    }
    let room = (&relay.room, &relay.stop);
    let max = relay.state.max_body;
    // The body's share of memory is given back after the answer has begun.
    let mut whole = match body::read(&head.headers, body, max, room.0, room.1).await {
        Ok(whole) => whole,
        Err(problem) => return undressed(&problem),
    };
    let asked = Asked {
        read: None,
        path: head.uri.path().to_owned(),
        query: head.uri.query().unwrap_or_default().to_owned(),
        body: std::mem::take(&mut whole.bytes).into(),
    };
    direct(relay.through(bearer, head, asked).await)
}

/// Asks for a long connection on behalf of a client who shows its token as the secret.
pub(super) async fn connect(relay: &Relay, peer: Peer, head: &Parts, body: Body) -> Response {
    let room = (&relay.room, &relay.stop);
    let whole = match body::read(&head.headers, body, CONNECT_BYTES_MAX, room.0, room.1).await {
        Ok(whole) => whole,
        Err(problem) => return undressed(&problem),
    };
    let said: Value = serde_json::from_slice(&whole.bytes).unwrap_or_default();
    let text = |name: &str| said.get(name).and_then(Value::as_str).unwrap_or_default();
    let (app_id, secret) = (text("AppID"), text("AppSecret"));
    if app_id.is_empty() || secret.is_empty() {
        let msg = "AppID and AppSecret are needed";
        return Refusal::new(StatusCode::OK, NO_CREDENTIAL, msg).into_response();
    }
    let Some((bearer, _)) = relay.introduced(peer, app_id, secret) else {
        let msg = "app secret invalid";
        return Refusal::new(StatusCode::OK, WRONG_CREDENTIAL, msg).into_response();
    };
    if let Err(refusal) = may(&bearer) {
        return refusal.into_response();
    }
    let asked = Asked {
        read: None,
        path: CONNECT.to_owned(),
        query: String::new(),
        // The relay's client makes the body: it alone has the secret.
        body: Default::default(),
    };
    direct(relay.through(&bearer, head, asked).await)
}

/// Is this the call that begins a long connection?
pub(super) fn is_connect(method: &Method, path: &str) -> bool {
    *method == Method::POST && path == CONNECT
}

fn may(bearer: &Bearer) -> Result<(), Refusal> {
    match bearer.caller.may(Scope::Direct) {
        true => Ok(()),
        false => Err(Refusal::forbidden(
            "the relay does not know this call, and the client lacks the scope \"direct\"",
        )),
    }
}

fn direct(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(STATE, HeaderValue::from_static("direct"));
    response
}
