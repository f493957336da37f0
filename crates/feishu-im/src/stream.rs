//! Calls whose answers are handed on as they come: reads and downloads for somebody else, and calls of which this
//! crate knows nothing but where they go.
//!
//! Promises: one attempt a call; of an answer no more than [`PEEK_BYTES_MAX`] is held, the rest comes at the pace of
//! whoever takes it; an answer that breaks off is told as broken, and one that is let go ends the call.
//! Not here: repeating, who may call what.

use std::fmt;

use bytes::{Bytes, BytesMut};
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Method, Response, Url};
use secrecy::ExposeSecret;
use serde::Serialize;
use tokio::time::{Duration, timeout};

use crate::body::{Outgoing, Part};
use crate::classify::classify;
use crate::client::{Client, Inner, bearer, flawed, head_of};
use crate::endpoints::Api;
use crate::exchange::{Exchange, Fault, Head, Reply, UnknownKind};
use crate::token::{self, Token};

/// Of an answer in JSON so much is looked at before it is handed on; what has a code for the client is far shorter.
pub const PEEK_BYTES_MAX: usize = 64 << 10;
/// Where an app asks for the address of its long connection. Source: feishu/events.md, section 7.1.
pub const CONNECT_PATH: &str = "/callback/ws/endpoint";

/// A call on behalf of somebody else.
#[derive(Clone)]
pub struct Passing {
    /// Which endpoint, if it is one of the table.
    pub api: Option<Api>,
    /// Its method.
    pub method: Method,
    /// The path as it came, percent-encoded; [`CONNECT_PATH`] gets the app's id and secret instead of a token.
    pub path: String,
    /// The query as it came, without its `?`; empty for none.
    pub query: String,
    /// Headers that go along; no token among them.
    pub headers: HeaderMap,
    /// The body as it came.
    pub body: Bytes,
}

/// What came of it.
#[derive(Debug)]
pub struct Streamed {
    /// As it is classified: an answer that is handed on without a look stands as code 0.
    pub exchange: Exchange,
    /// What is handed on; `None`: there is nothing, the exchange says why.
    pub answer: Option<Answer>,
}

/// An answer under way.
pub struct Answer {
    /// HTTP status.
    pub http: u16,
    /// All headers.
    pub headers: HeaderMap,
    peeked: Option<Bytes>,
    rest: Option<Response>,
    body_idle: Duration,
}

/// The answer broke off, or stood still.
#[derive(Debug, thiserror::Error)]
#[error("the answer {0}")]
pub struct BrokeOff(&'static str);

impl Answer {
    /// The next piece; `None`: that was all.
    ///
    /// # Errors
    /// The answer broke off, or nothing of it came within the client's `body_idle`.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, BrokeOff> {
        if let Some(peeked) = self.peeked.take().filter(|peeked| !peeked.is_empty()) {
            return Ok(Some(peeked));
        }
        let Some(rest) = &mut self.rest else {
            return Ok(None);
        };
        match timeout(self.body_idle, rest.chunk()).await {
            Ok(Ok(chunk)) => Ok(chunk),
            Ok(Err(_)) => Err(BrokeOff("broke off")),
            Err(_) => Err(BrokeOff("stood still")),
        }
    }
}

impl Client {
    /// Performs `passing` once, with the app's token.
    ///
    /// Returns when the head of the answer is there, and what of its body must be seen to know what it means.
    /// Dropping the future after it began leaves the outcome unknown.
    pub async fn stream(&self, passing: &Passing) -> Streamed {
        let mut exchange = Exchange {
            // Codes that any endpoint can answer are all that can be known of a foreign one.
            api: passing.api.unwrap_or(Api::BotInfo),
            answer: Err(flawed("")),
            log_id: None,
            fresh_token_same: false,
        };
        let mut answer = None;
        let token = match passing.path == CONNECT_PATH {
            true => Ok(None),
            false => token::acquire(&self.0).await.map(Some),
        };
        let token = match token {
            Ok(token) => token,
            Err(fault) => {
                exchange.answer = Err(fault);
                return Streamed { exchange, answer };
            }
        };
        let reply = self.0.pass(passing, token.as_ref(), &mut answer).await;
        exchange.log_id = answer.as_ref().and_then(log_id);
        exchange.answer = reply;
        if let Some(token) = token.filter(|_| classify(&exchange).token) {
            self.0.tokens.drop_token(&token, self.0.now_ms());
            exchange.fresh_token_same = token.returned;
        }
        Streamed { exchange, answer }
    }
}

impl Inner {
    async fn pass(
        &self,
        passing: &Passing,
        token: Option<&Token>,
        answer: &mut Option<Answer>,
    ) -> Result<Reply, Fault> {
        let body = match token {
            Some(_) => passing.body.clone(),
            None => self.credentials(),
        };
        let (body, evidence) = Outgoing::new(vec![Part::Bytes(body)]);
        let mut built = reqwest::Request::new(passing.method.clone(), self.address(passing)?);
        *built.headers_mut() = passing.headers.clone();
        match token {
            Some(token) => {
                built.headers_mut().insert(AUTHORIZATION, bearer(token)?);
            }
            None => {
                let json = HeaderValue::from_static("application/json");
                built.headers_mut().insert(CONTENT_TYPE, json);
            }
        }
        *built.body_mut() = Some(reqwest::Body::wrap(body));
        let response = self.head(built, &evidence).await?;
        let head = head_of(&response);
        let looked = self.look(passing.api, &head, response).await?;
        let reply = looked.0;
        *answer = Some(looked.1);
        reply
    }

    /// Where it goes. A path that an address would change would name another endpoint than the one that was allowed.
    fn address(&self, passing: &Passing) -> Result<Url, Fault> {
        let mark = if passing.query.is_empty() { "" } else { "?" };
        let text = format!("{}{}{mark}{}", self.base, passing.path, passing.query);
        let url = Url::parse(&text).map_err(|_| flawed("the path is none"))?;
        let base = Url::parse(&self.base).map_err(|_| flawed("the path is none"))?;
        let kept = url.path() == format!("{}{}", base.path().trim_end_matches('/'), passing.path);
        match kept {
            true => Ok(url),
            false => Err(flawed("the path is not written as an address writes it")),
        }
    }

    /// What the app shows where no token is taken.
    fn credentials(&self) -> Bytes {
        #[derive(Serialize)]
        struct Wire<'a> {
            #[serde(rename = "AppID")]
            app_id: &'a str,
            #[serde(rename = "AppSecret")]
            app_secret: &'a str,
        }
        let secret = self.tokens.secret();
        let wire = Wire {
            app_id: self.app_id(),
            app_secret: secret.expose_secret(),
        };
        let text = serde_json::to_vec(&wire).expect("two strings are JSON");
        text.into()
    }

    /// Looks at the beginning of an answer, where it may be a refusal.
    ///
    /// # Errors
    /// There is nothing to hand on: it broke off before it was known what it is.
    async fn look(
        &self,
        api: Option<Api>,
        head: &Head,
        mut response: Response,
    ) -> Result<(Result<Reply, Fault>, Answer), Fault> {
        let http = head.http;
        let good = (200..300).contains(&http);
        let json_due = api.is_some_and(|api| !answers_bytes(api));
        let mut answer = Answer {
            http,
            headers: response.headers().clone(),
            peeked: None,
            rest: None,
            body_idle: self.body_idle,
        };
        if good && !json_due && !is_json(&answer.headers) {
            answer.rest = Some(response);
            return Ok((Ok(unread(head)), answer));
        }
        let mut body = BytesMut::new();
        let whole = loop {
            if body.len() > PEEK_BYTES_MAX {
                break false;
            }
            let (kind, text) = match timeout(self.body_idle, response.chunk()).await {
                Ok(Ok(None)) => break true,
                Ok(Ok(Some(chunk))) => {
                    body.extend_from_slice(&chunk);
                    continue;
                }
                Ok(Err(_)) => (UnknownKind::Broken, "the answer broke off"),
                Err(_) => (UnknownKind::Timeout, "the answer stopped in the middle"),
            };
            return Err(match http {
                429 => not_json(head), // the status alone says: not executed
                _ => unknown(kind, http, text),
            });
        };
        let body = body.freeze();
        answer.peeked = Some(body.clone());
        answer.rest = (!whole).then_some(response);
        let read = whole.then(|| Reply::read(head, body)).flatten();
        let reply = match (read, http) {
            (Some(reply), _) => Ok(reply),
            // Long, a file of JSON, or of an endpoint that answers in a way of its own.
            (None, 200..=299) if !whole || !json_due => Ok(unread(head)),
            (None, 300..=499) => Err(not_json(head)),
            (None, 500..) => {
                let text = "a server error without a code";
                Err(unknown(UnknownKind::ServerError, http, text))
            }
            (None, _) => {
                let text = "the answer is not JSON with a code";
                Err(unknown(UnknownKind::Garbled, http, text))
            }
        };
        Ok((reply, answer))
    }
}

/// Endpoints whose answers are files, unless they refuse.
fn answers_bytes(api: Api) -> bool {
    matches!(
        api,
        Api::DownloadImage | Api::DownloadFile | Api::GetResource
    )
}

fn is_json(headers: &HeaderMap) -> bool {
    let media = headers
        .get(CONTENT_TYPE)
        .and_then(|media| media.to_str().ok());
    media.is_some_and(|media| media.to_ascii_lowercase().contains("json"))
}

/// An answer that is handed on without a look, for whoever classifies.
fn unread(head: &Head) -> Reply {
    Reply {
        http: head.http,
        code: 0,
        msg: String::new(),
        data: None,
        body: Bytes::new(),
        rate_limit: head.rate_limit,
        reset_s: head.reset_s,
        retry_after_s: head.retry_after_s,
        log_id: head.log_id.clone(),
    }
}

fn unknown(kind: UnknownKind, http: u16, text: &str) -> Fault {
    Fault::Unknown {
        kind,
        http: Some(http),
        text: text.to_owned(),
    }
}

fn not_json(head: &Head) -> Fault {
    Fault::NotJson {
        http: head.http,
        reset_s: head.reset_s,
        retry_after_s: head.retry_after_s,
    }
}

fn log_id(answer: &Answer) -> Option<String> {
    let id = answer.headers.get("x-tt-logid")?;
    id.to_str().ok().map(str::to_owned)
}

impl fmt::Debug for Passing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Passing")
            .field("api", &self.api)
            .field("method", &self.method)
            .field("body_bytes", &self.body.len())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer")
            .field("http", &self.http)
            .finish_non_exhaustive()
    }
}
