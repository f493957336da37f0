//! One call through the gate, and Feishu's answer handed on as it comes.
//!
//! Status and body pass unchanged, and the headers that say something of them. A body that breaks off breaks the
//! answer too: nothing that is cut looks whole.
//! Not here: who may call what (`reads`, `direct`).

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::http::header::{
    ACCEPT, ACCEPT_LANGUAGE, ACCEPT_RANGES, CONTENT_DISPOSITION, CONTENT_ENCODING,
    CONTENT_LANGUAGE, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderName, LAST_MODIFIED,
    LOCATION, RANGE, RETRY_AFTER,
};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};

use crate::http::Relay;
use crate::http::openapis::tokens::Bearer;
use crate::http::openapis::{BAD_REQUEST, NOT_STORED, Refusal};
use crate::http::problem::Dressed;
use crate::job::{Api, GateCall, GateFault};

/// The relay's own: nothing is sent now.
const STOPPED: i64 = 990_004;

/// The relay's own: it left, and no answer came.
const LOST: i64 = 990_006;

/// Headers of a request that go along. None says who asks.
const ASKED: [HeaderName; 5] = [
    ACCEPT,
    ACCEPT_LANGUAGE,
    CONTENT_TYPE,
    RANGE,
    HeaderName::from_static("locale"),
];

/// Headers of an answer that pass.
const SAID: [HeaderName; 11] = [
    ACCEPT_RANGES,
    CONTENT_DISPOSITION,
    CONTENT_ENCODING,
    CONTENT_LANGUAGE,
    CONTENT_LENGTH,
    CONTENT_RANGE,
    CONTENT_TYPE,
    ETAG,
    LAST_MODIFIED,
    LOCATION,
    RETRY_AFTER,
];

/// Feishu's own, all of which pass.
const OF_FEISHU: [&str; 2] = ["x-tt-", "x-ogw-"];

/// A call as it is to be made.
pub(super) struct Asked {
    /// The endpoint, where it reads.
    pub(super) read: Option<Api>,
    pub(super) path: String,
    pub(super) query: String,
    pub(super) body: Bytes,
}

impl Relay {
    /// Makes the call with the app of `bearer`; `head` is the client's request.
    pub(super) async fn through(&self, bearer: &Bearer, head: &Parts, asked: Asked) -> Response {
        let mut headers = HeaderMap::new();
        for name in ASKED {
            if let Some(value) = head.headers.get(&name) {
                headers.insert(name, value.clone());
            }
        }
        let call = GateCall {
            app: bearer.app,
            read: asked.read,
            method: head.method.clone(),
            path: asked.path,
            query: asked.query,
            headers,
            body: asked.body,
        };
        let answer = match Arc::clone(&self.state.gate).call(call).await {
            Ok(answer) => answer,
            Err(fault) => return no_answer(fault),
        };
        let mut response = Response::new(Body::from_stream(answer.body));
        *response.status_mut() = answer.status;
        for (name, value) in &answer.headers {
            let of_feishu = OF_FEISHU
                .iter()
                .any(|prefix| name.as_str().starts_with(prefix));
            if of_feishu || SAID.contains(name) {
                response.headers_mut().append(name.clone(), value.clone());
            }
        }
        response.extensions_mut().insert(Dressed);
        response
    }
}

/// What is said where Feishu said nothing.
fn no_answer(fault: GateFault) -> Response {
    let unavailable = StatusCode::SERVICE_UNAVAILABLE;
    match fault {
        GateFault::Full { wait_s } => {
            let msg = "the relay has too many calls at a time, or their windows are full";
            let mut response = Refusal::new(unavailable, NOT_STORED, msg).into_response();
            let wait = HeaderValue::from(wait_s);
            response.headers_mut().insert(RETRY_AFTER, wait);
            response
        }
        GateFault::Stopped(why) => {
            Refusal::new(unavailable, STOPPED, format!("nothing was sent: {why}")).into_response()
        }
        GateFault::Flawed(why) => {
            Refusal::new(StatusCode::BAD_REQUEST, BAD_REQUEST, why).into_response()
        }
        GateFault::Lost => {
            let msg = "the call was sent, and Feishu's answer did not come";
            Refusal::new(StatusCode::GATEWAY_TIMEOUT, LOST, msg).into_response()
        }
    }
}
