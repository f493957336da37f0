//! Reads and downloads: passed through to Feishu, promised ids resolved.

use axum::body::{Body, Bytes};
use axum::http::request::Parts;
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::Value;

use crate::config::Scope;
use crate::http::Relay;
use crate::http::body;
use crate::http::openapis::through::Asked;
use crate::http::openapis::tokens::Bearer;
use crate::http::openapis::{BAD_REQUEST, Refusal, promise, undressed};
use crate::job::{Api, values};

/// What a read that has a body may have in it.
const BODY_BYTES_MAX: u64 = 64 << 10;

/// Answers a call of `api`, which reads.
pub(super) async fn answer(
    relay: &Relay,
    bearer: &Bearer,
    api: Api,
    head: &Parts,
    body: Body,
) -> Response {
    if !bearer.caller.may(Scope::Read) {
        return Refusal::forbidden("the client lacks the scope \"read\"").into_response();
    }
    let mut content = Bytes::new();
    if head.method != Method::GET {
        let room = (&relay.room, &relay.stop);
        match body::read(&head.headers, body, BODY_BYTES_MAX, room.0, room.1).await {
            Ok(whole) => content = Bytes::copy_from_slice(&whole.bytes),
            Err(problem) => return undressed(&problem),
        }
    }
    match resolved(relay, bearer, head, content).await {
        Ok((path, query, body)) => {
            let asked = Asked {
                read: Some(api),
                path,
                query,
                body,
            };
            relay.through(bearer, head, asked).await
        }
        Err(answer) => *answer,
    }
}

/// Path, query and body with ids in the places of promises.
async fn resolved(
    relay: &Relay,
    bearer: &Bearer,
    head: &Parts,
    body: Bytes,
) -> Result<(String, String, Bytes), Box<Response>> {
    let (path, query) = (head.uri.path(), head.uri.query().unwrap_or_default());
    let mut jobs = promise::in_address(path, query);
    let said: Value = serde_json::from_slice(&body).unwrap_or_default();
    let named = values::named("", &said);
    jobs.extend(named.iter().map(|(_, job)| *job));
    if jobs.is_empty() {
        return Ok((path.to_owned(), query.to_owned(), body));
    }
    let refused = |refusal: Refusal| Box::new(refusal.into_response());
    let wait = promise::wait(&bearer.caller, &head.headers).map_err(refused)?;
    let made = relay.made(bearer, &jobs, wait).await?;
    let (path, query) = promise::put_in_address(path, query, &made);
    if named.is_empty() {
        return Ok((path, query, body));
    }
    let Value::Object(mut said) = said else {
        let msg = "the body is a JSON object";
        return Err(refused(Refusal::new(
            StatusCode::BAD_REQUEST,
            BAD_REQUEST,
            msg,
        )));
    };
    values::put(&mut said, &made);
    Ok((path, query, Value::Object(said).to_string().into()))
}
