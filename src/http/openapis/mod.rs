//! The Feishu-compatible endpoint: a program that speaks to Feishu changes its base URL, nothing else.
//!
//! What is answered here has Feishu's shape, `{"code", "msg", "data"}`, refusals of the relay's own
//! included, so that an SDK understands it. Who calls is known by a token of the relay's (`tokens`).
//! Not here: the relay's own doors; which origins may call at all (`auth`).

mod direct;
mod promise;
mod reads;
mod settled;
mod through;
mod tokens;
mod writes;

use axum::body::Body;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, Request, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::http::Relay;
use crate::http::auth::Peer;
use crate::http::problem::{Dressed, Problem};
use crate::job::Api;
use crate::job::openapi::{self, Call};

pub(super) use tokens::Signer;

/// What every path of Feishu's begins with; what the log says of them all.
pub(super) const BELOW: &str = "/open-apis/";

/// The media type of Feishu's answers.
const JSON: &str = "application/json; charset=utf-8";

/// A body that is no JSON object, or a request that cannot be read. Source: errors.md, section 2.
const BAD_REQUEST: i64 = 9499;

/// The app, here the client, lacks a scope. Source: errors.md, section 2.
const NO_SCOPE: i64 = 99_991_672;

/// A field is wrong. Source: errors.md, section 2.
const BAD_FIELD: i64 = 99_992_402;

/// The relay's own: the call, or the one whose promise it names, expired before it was made.
const EXPIRED: i64 = 990_001;
/// The relay's own: it was canceled.
const CANCELED: i64 = 990_002;
/// The relay's own: it was given up without an answer of Feishu's.
const FAILED: i64 = 990_007;
/// The relay's own: nothing was stored, and the same request may come again.
const NOT_STORED: i64 = 990_005;

/// Is it a path of Feishu's?
pub(super) fn is_here(path: &str) -> bool {
    path.starts_with(BELOW) || path == direct::CONNECT
}

/// What the relay itself says, in Feishu's shape.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Refusal {
    http: StatusCode,
    code: i64,
    msg: String,
    /// How a promise stands that has nothing to say yet.
    state: Option<&'static str>,
}

impl Refusal {
    fn new(http: StatusCode, code: i64, msg: impl Into<String>) -> Refusal {
        Refusal {
            http,
            code,
            msg: msg.into(),
            state: None,
        }
    }

    /// The client may not do this.
    fn forbidden(msg: &str) -> Refusal {
        Refusal::new(StatusCode::FORBIDDEN, NO_SCOPE, msg)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = said(self.http, &json!({"code": self.code, "msg": self.msg}));
        if let Some(state) = self.state {
            let headers = response.headers_mut();
            headers.insert(settled::STATE, HeaderValue::from_static(state));
        }
        response
    }
}

/// What the doors refuse anywhere: too large, too slow, no room.
fn undressed(problem: &Problem) -> Response {
    let (http, detail, header) = problem.parts();
    let code = match http.is_server_error() {
        true => NOT_STORED,
        false => BAD_REQUEST,
    };
    let mut response = Refusal::new(http, code, detail).into_response();
    if let Some((name, value)) = header {
        let value = HeaderValue::from_static(value);
        response.headers_mut().insert(name, value);
    }
    response
}

/// An answer in Feishu's shape.
fn said(http: StatusCode, body: &Value) -> Response {
    whole(http, body.to_string())
}

/// The same, of a text.
fn whole(http: StatusCode, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = http;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(JSON));
    response.extensions_mut().insert(Dressed);
    response
}

/// Any call below `/open-apis/`.
pub(super) async fn answer(relay: &Relay, peer: Peer, request: Request<Body>) -> Response {
    let (head, body) = request.into_parts();
    if tokens::is_asked_for(&head.method, head.uri.path()) {
        return tokens::issue(relay, peer, &head, body).await;
    }
    if direct::is_connect(&head.method, head.uri.path()) {
        return direct::connect(relay, peer, &head, body).await;
    }
    let bearer = match tokens::bearer(relay, peer, &head.headers) {
        Ok(bearer) => bearer,
        Err(refusal) => return refusal.into_response(),
    };
    let (method, path) = (head.method.as_str(), head.uri.path());
    let Some((api, _)) = Api::of_call(method, path) else {
        return direct::answer(relay, &bearer, &head, body).await;
    };
    if openapi::reads(api) {
        return reads::answer(relay, &bearer, api, &head, body).await;
    }
    let call = Call::find(method, path);
    match call.and_then(|call| Some((call.kind()?, call))) {
        Some(call) => writes::write(relay, &bearer, &head, body, call).await,
        None => {
            let msg = "an id in the path cannot be read";
            Refusal::new(StatusCode::BAD_REQUEST, BAD_FIELD, msg).into_response()
        }
    }
}
