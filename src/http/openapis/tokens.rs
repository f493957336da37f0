//! Tokens of the relay's: a program gets one for an app's id and a client's token, and shows it like
//! Feishu's own.
//!
//! A token says by itself for whom and since when it is, and is signed; nothing is kept of it, so it
//! outlives every restart. It ends after two hours, and at once with the secret that it was given for.
//! The same one is answered until half an hour is left of it, as at Feishu.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use axum::body::Body;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;
use subtle::ConstantTimeEq;

use crate::config::Client;
use crate::http::Relay;
use crate::http::auth::{self, Caller, Peer};
use crate::http::body;
use crate::http::openapis::{BELOW, Refusal, said, undressed};
use crate::job::AppId;

/// How long a token lives. Source: endpoints.md, section 1.
const LIFE_MS: i64 = 7_200_000;

/// With less than this left another one is answered beside it. Source: endpoints.md, section 1.
const RENEWAL_MS: i64 = 1_800_000;

/// What a body with an id and a secret may have.
const BODY_BYTES_MAX: u64 = 64 << 10;

const PREFIX: &str = "t-";
const SIGNATURE_BYTES: usize = 16;
/// Time, app, whose.
const CLAIM_BYTES: usize = 8 + 8 + 8;

/// For whom a token of nobody's secret is.
const NOBODY: [u8; 32] = [0; 32];

// Source: errors.md, section 2.
const BAD_PARAM: i64 = 10_003;
const WRONG_SECRET: i64 = 10_014;
const MISSING: i64 = 99_991_661;
const INVALID: i64 = 99_991_663;
const OF_A_USER: i64 = 99_991_668;

/// Makes tokens and knows them again.
pub(in crate::http) struct Signer {
    key: Vec<u8>,
    /// The newest of each app and secret.
    newest: Mutex<HashMap<(AppId, [u8; 32]), i64>>,
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Signer")
    }
}

/// What a token says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Claim {
    issued_ms: i64,
    app: AppId,
    /// The beginning of the hash of the secret.
    whose: [u8; 8],
}

/// Who calls, and as which app.
#[derive(Clone, Debug)]
pub(super) struct Bearer {
    pub(super) caller: Caller,
    /// Its number in the store.
    pub(super) app: AppId,
    /// Its configured name.
    pub(super) app_name: String,
}

impl Claim {
    fn bytes(self) -> [u8; CLAIM_BYTES] {
        let mut bytes = [0; CLAIM_BYTES];
        bytes[..8].copy_from_slice(&self.issued_ms.to_be_bytes());
        bytes[8..16].copy_from_slice(&self.app.0.to_be_bytes());
        bytes[16..].copy_from_slice(&self.whose);
        bytes
    }

    fn of(bytes: &[u8]) -> Option<Claim> {
        let part = |from: usize| <[u8; 8]>::try_from(bytes.get(from..from + 8)?).ok();
        Some(Claim {
            issued_ms: i64::from_be_bytes(part(0)?),
            app: AppId(i64::from_be_bytes(part(8)?)),
            whose: part(16)?,
        })
    }
}

impl Signer {
    pub(in crate::http) fn new(key: &[u8]) -> Signer {
        Signer {
            key: key.to_vec(),
            newest: Mutex::default(),
        }
    }

    /// The token of this app for this secret, and how long it lives from now, milliseconds.
    fn token(&self, app: AppId, secret: &[u8; 32], now_ms: i64) -> (String, i64) {
        let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        newest.retain(|_, issued_ms| (0..LIFE_MS).contains(&(now_ms - *issued_ms)));
        let issued_ms = newest.entry((app, *secret)).or_insert(now_ms);
        if LIFE_MS - (now_ms - *issued_ms) < RENEWAL_MS {
            *issued_ms = now_ms;
        }
        let claim = Claim {
            issued_ms: *issued_ms,
            app,
            whose: first(secret),
        };
        let mut bytes = claim.bytes().to_vec();
        bytes.extend(self.signature(&bytes, secret));
        let token = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes));
        (token, LIFE_MS - (now_ms - *issued_ms))
    }

    /// What a token says that one of `secrets` was given and that still lives, and which.
    fn read<'a>(
        &self,
        token: &str,
        secrets: impl Iterator<Item = &'a [u8; 32]>,
        now_ms: i64,
    ) -> Option<(Claim, &'a [u8; 32])> {
        let bytes = URL_SAFE_NO_PAD.decode(token.strip_prefix(PREFIX)?).ok()?;
        let (said, signature) = bytes.split_at_checked(CLAIM_BYTES)?;
        let claim = Claim::of(said)?;
        if now_ms - claim.issued_ms >= LIFE_MS {
            return None;
        }
        let mut fitting = secrets.filter(|secret| first(secret) == claim.whose);
        let secret =
            fitting.find(|secret| bool::from(self.signature(said, secret).ct_eq(signature)))?;
        Some((claim, secret))
    }

    fn signature(&self, said: &[u8], secret: &[u8; 32]) -> [u8; SIGNATURE_BYTES] {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.key).expect("any length is a key");
        mac.update(b"feishu-relay token 1");
        mac.update(secret);
        mac.update(said);
        let whole = mac.finalize().into_bytes();
        let mut signature = [0; SIGNATURE_BYTES];
        signature.copy_from_slice(&whole[..SIGNATURE_BYTES]);
        signature
    }
}

fn first(secret: &[u8; 32]) -> [u8; 8] {
    let mut first = [0; 8];
    first.copy_from_slice(&secret[..8]);
    first
}

/// Is it one of the two calls that answer a token? Also with a slash at the end, as the page has it.
pub(super) fn is_asked_for(method: &Method, path: &str) -> bool {
    *method == Method::POST && call(path).is_some()
}

/// Which of the two.
fn call(path: &str) -> Option<&str> {
    let call = path.strip_prefix(BELOW)?.strip_prefix("auth/v3/")?;
    let call = call.strip_suffix('/').unwrap_or(call);
    let call = call.strip_suffix("/internal")?;
    matches!(call, "tenant_access_token" | "app_access_token").then_some(call)
}

/// Answers a token for an app's id and a client's token.
pub(super) async fn issue(relay: &Relay, peer: Peer, head: &Parts, body: Body) -> Response {
    let state = &relay.state;
    let room = (&relay.room, &relay.stop);
    let body = match body::read(&head.headers, body, BODY_BYTES_MAX, room.0, room.1).await {
        Ok(body) => body,
        Err(problem) => return undressed(&problem),
    };
    let given: Option<Value> = serde_json::from_slice(&body.bytes).ok();
    let text = |name: &str| {
        let value = given.as_ref()?.get(name)?.as_str()?;
        (!value.is_empty()).then_some(value)
    };
    let (Some(app_id), Some(secret)) = (text("app_id"), text("app_secret")) else {
        return Refusal::new(StatusCode::OK, BAD_PARAM, "invalid param").into_response();
    };
    let Some((bearer, secret)) = relay.introduced(peer, app_id, secret) else {
        return Refusal::new(StatusCode::OK, WRONG_SECRET, "app secret invalid").into_response();
    };
    let now_ms = state.clock.wall_ms();
    let (token, left_ms) = state.tokens.token(bearer.app, &secret, now_ms);
    let mut answer = json!({
        "code": 0, "msg": "ok", "tenant_access_token": token, "expire": left_ms / 1000,
    });
    if call(head.uri.path()) == Some("app_access_token") {
        answer["app_access_token"] = json!(token);
    }
    said(StatusCode::OK, &answer)
}

impl Relay {
    /// Whoever knows a client's token is that client, with each app that it may use; where no token is
    /// needed, any secret will do. Also what a token for it is signed with.
    pub(super) fn introduced(
        &self,
        peer: Peer,
        app_id: &str,
        secret: &str,
    ) -> Option<(Bearer, [u8; 32])> {
        let state = &self.state;
        let clients = state.clients();
        let known = auth::owner(secret, &clients);
        let (caller, secret) = match known {
            Some(client) => (Caller::of(Some(client)), auth::hash(secret)),
            None if clients.is_empty() || matches!(peer, Peer::Unix) => (Caller::of(None), NOBODY),
            None => return None,
        };
        let at = state.app_ids.iter().position(|known| known == app_id)?;
        let (app, app_name) = state.store.apps().get(at)?.clone();
        let bearer = Bearer {
            caller,
            app,
            app_name,
        };
        bearer
            .caller
            .sees(&bearer.app_name)
            .then_some((bearer, secret))
    }
}

/// Who shows a token of ours.
///
/// # Errors
/// In Feishu's words: there is none, it is of a person, or it is none of ours any more.
pub(super) fn bearer(relay: &Relay, peer: Peer, headers: &HeaderMap) -> Result<Bearer, Refusal> {
    let refuse = |code, msg: &str| Refusal::new(StatusCode::BAD_REQUEST, code, msg);
    let mut shown = headers.get_all(AUTHORIZATION).iter();
    let token = shown.next().and_then(|value| value.to_str().ok());
    let token = token.and_then(auth::bearer).unwrap_or_default();
    if token.is_empty() {
        return Err(refuse(MISSING, "Missing access token for authorization"));
    }
    if token.starts_with("u-") {
        let msg = "the relay takes no user access tokens";
        return Err(refuse(OF_A_USER, msg));
    }
    let invalid = || refuse(INVALID, "Invalid access token for authorization");
    let state = &relay.state;
    let clients = state.clients();
    let secrets = clients.iter().flat_map(|client| &client.token_sha256);
    let nobody = (clients.is_empty() || matches!(peer, Peer::Unix)).then_some(&NOBODY);
    let now_ms = state.clock.wall_ms();
    let read = state.tokens.read(token, secrets.chain(nobody), now_ms);
    let (claim, secret) = read
        .filter(|_| shown.next().is_none())
        .ok_or_else(invalid)?;
    let owns = |client: &&Arc<Client>| client.token_sha256.contains(secret);
    let caller = Caller::of(clients.iter().find(owns).cloned());
    let mut apps = state.store.apps().iter();
    let (app, app_name) = apps
        .find(|(app, _)| *app == claim.app)
        .cloned()
        .ok_or_else(invalid)?;
    match caller.sees(&app_name) {
        true => Ok(Bearer {
            caller,
            app,
            app_name,
        }),
        false => Err(Refusal::forbidden(&format!(
            "client {:?} may not use app {app_name:?}",
            caller.name()
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const APP: AppId = AppId(1);
    const SECRET: [u8; 32] = [7; 32];
    const NOW_MS: i64 = 1_767_225_600_000;

    fn knows(signer: &Signer, token: &str, now_ms: i64) -> bool {
        let secrets = [[6; 32], SECRET];
        let read = signer.read(token, secrets.iter(), now_ms);
        read.is_some_and(|(claim, secret)| claim.app == APP && *secret == SECRET)
    }

    #[test]
    fn a_token_is_the_same_until_half_an_hour_is_left_and_lives_on_beside_the_next() {
        let signer = Signer::new(b"key");
        let (first, left_ms) = signer.token(APP, &SECRET, NOW_MS);
        assert_eq!(left_ms, LIFE_MS);
        let late_ms = NOW_MS + LIFE_MS - RENEWAL_MS;
        assert_eq!(signer.token(APP, &SECRET, late_ms).0, first);
        assert_eq!(signer.token(APP, &SECRET, late_ms).1, RENEWAL_MS);
        let (second, left_ms) = signer.token(APP, &SECRET, late_ms + 1);
        assert_ne!(second, first);
        assert_eq!(left_ms, LIFE_MS);
        assert!(knows(&signer, &first, NOW_MS + LIFE_MS - 1));
        assert!(!knows(&signer, &first, NOW_MS + LIFE_MS));
        assert!(knows(&signer, &second, NOW_MS + LIFE_MS));
    }

    #[test]
    fn a_token_is_known_by_its_key_and_secret_alone() {
        let signer = Signer::new(b"key");
        let (token, _) = signer.token(APP, &SECRET, NOW_MS);
        assert!(knows(&Signer::new(b"key"), &token, NOW_MS));
        assert!(!knows(&Signer::new(b"another"), &token, NOW_MS));
        let others = [[6; 32], [8; 32]];
        assert!(signer.read(&token, others.iter(), NOW_MS).is_none());
        for at in 2..token.len() {
            let mut changed = token.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).unwrap();
            assert!(!knows(&signer, &changed, NOW_MS), "{changed}");
            assert!(!knows(&signer, &token[..at], NOW_MS));
        }
    }

    #[test]
    fn both_calls_are_found_with_a_slash_at_their_end_too() {
        let check = |path: &str, found: bool| {
            assert_eq!(is_asked_for(&Method::POST, path), found, "{path}");
        };
        check("/open-apis/auth/v3/tenant_access_token/internal", true);
        check("/open-apis/auth/v3/tenant_access_token/internal/", true);
        check("/open-apis/auth/v3/app_access_token/internal", true);
        check("/open-apis/auth/v3/app_access_token", false);
        check("/open-apis/auth/v3/user_access_token/internal", false);
    }
}
