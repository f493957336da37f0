//! What one attempt came to, before anybody judges it.
//!
//! Promises: `Fault::NotSent` is proven; everything doubtful is `Fault::Unknown`. `Debug` shows no content.
//! Not here: what a code means (`classify`).

use std::fmt;

use bytes::Bytes;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use crate::endpoints::Api;

/// One attempt and its end.
#[derive(Clone, Debug)]
pub struct Exchange {
    /// Which endpoint was called.
    pub api: Api,
    /// What came back.
    pub answer: Result<Reply, Fault>,
    /// The platform's trace id, if an answer carried one.
    pub log_id: Option<String>,
    /// The token used had been dropped before and came back the same: a token code now means that this API
    /// refuses the token, not that it expired.
    pub fresh_token_same: bool,
}

/// A whole answer with a code.
#[derive(Clone)]
pub struct Reply {
    /// HTTP status.
    pub http: u16,
    /// The platform's code; 0 is success.
    pub code: i64,
    /// The platform's words; may quote content, so not for logs without care.
    pub msg: String,
    /// `data`, as it came.
    pub data: Option<Box<RawValue>>,
    /// The whole body, as it came.
    pub body: Bytes,
    /// `x-ogw-ratelimit-limit`: the limit that was hit.
    pub rate_limit: Option<u32>,
    /// `x-ogw-ratelimit-reset`: seconds from now.
    pub reset_s: Option<f64>,
    /// `Retry-After` in its seconds form.
    pub retry_after_s: Option<f64>,
    /// The platform's trace id.
    pub log_id: Option<String>,
}

/// No answer with a code.
#[derive(Clone, PartialEq)]
pub enum Fault {
    /// Surely not executed.
    NotSent {
        /// Why.
        kind: NotSentKind,
        /// For people.
        text: String,
        /// When a repeat makes sense at the earliest, in milliseconds from now; `None`: the caller's back-off.
        wait_ms: Option<i64>,
    },
    /// May or may not have been executed.
    Unknown {
        /// How it ended.
        kind: UnknownKind,
        /// HTTP status, if the head of an answer came.
        http: Option<u16>,
        /// For people.
        text: String,
    },
    /// An answer without a code where a status alone says enough: never 2xx, never 5xx.
    NotJson {
        /// HTTP status.
        http: u16,
        /// `x-ogw-ratelimit-reset`: seconds from now.
        reset_s: Option<f64>,
        /// `Retry-After` in its seconds form.
        retry_after_s: Option<f64>,
    },
    /// The token endpoint refused the app; the call itself was not made.
    Token(TokenFault),
}

/// Why nothing was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NotSentKind {
    /// No connection: name, address, TLS, proxy or time.
    Connect,
    /// No token was to be had: its endpoint is unreachable, slow, limited or faulty.
    Token,
    /// The file to be uploaded cannot be read.
    File,
    /// The request cannot be made from these ids.
    Request,
}

/// How an attempt ended without a usable answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum UnknownKind {
    /// No head of an answer in time.
    Timeout,
    /// The connection ended, or a body stopped in the middle.
    Broken,
    /// The answer is not what is due: no JSON, no code, too large.
    Garbled,
    /// HTTP 5xx without a code.
    ServerError,
}

/// What the token endpoint said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenFault {
    /// HTTP status.
    pub http: u16,
    /// The platform's code.
    pub code: i64,
    /// The platform's words.
    pub msg: String,
}

/// Why an answer could not be read as its type.
#[derive(Debug, thiserror::Error)]
#[error("the answer has no data of the expected form")]
pub struct ShapeError;

impl Reply {
    /// `data` as the endpoint's answer; an absent one reads as `{}`.
    ///
    /// # Errors
    /// `ShapeError`: `data` is not of that form; the code still holds.
    pub fn data<T: DeserializeOwned>(&self) -> Result<T, ShapeError> {
        let text = self.data.as_deref().map_or("{}", RawValue::get);
        serde_json::from_str(text).map_err(|_| ShapeError)
    }

    /// The whole body as the answer, for endpoints without `data`.
    ///
    /// # Errors
    /// `ShapeError`: the body is not of that form; the code still holds.
    pub fn whole<T: DeserializeOwned>(&self) -> Result<T, ShapeError> {
        serde_json::from_slice(&self.body).map_err(|_| ShapeError)
    }

    /// Reads a whole body; `None` if it is not a JSON object with an integer `code`.
    pub(crate) fn read(head: &Head, body: Bytes) -> Option<Reply> {
        #[derive(Deserialize)]
        struct Wire<'a> {
            code: i64,
            #[serde(borrow)]
            msg: Option<&'a RawValue>,
            #[serde(borrow)]
            data: Option<&'a RawValue>,
            #[serde(borrow)]
            error: Option<&'a RawValue>,
        }
        #[derive(Deserialize)]
        struct Details {
            log_id: String,
        }
        let wire: Wire<'_> = serde_json::from_slice(&body).ok()?;
        let msg = wire
            .msg
            .and_then(|raw| serde_json::from_str(raw.get()).ok())
            .unwrap_or_default();
        let inner = wire
            .error
            .and_then(|raw| serde_json::from_str::<Details>(raw.get()).ok());
        let data = wire.data.map(ToOwned::to_owned);
        Some(Reply {
            http: head.http,
            code: wire.code,
            msg,
            data,
            rate_limit: head.rate_limit,
            reset_s: head.reset_s,
            retry_after_s: head.retry_after_s,
            log_id: head.log_id.clone().or(inner.map(|details| details.log_id)),
            body,
        })
    }
}

/// What the head of an answer tells.
#[derive(Clone, Debug, Default)]
pub(crate) struct Head {
    pub(crate) http: u16,
    pub(crate) rate_limit: Option<u32>,
    pub(crate) reset_s: Option<f64>,
    pub(crate) retry_after_s: Option<f64>,
    pub(crate) log_id: Option<String>,
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reply")
            .field("http", &self.http)
            .field("code", &self.code)
            .field("body_bytes", &self.body.len())
            .field("reset_s", &self.reset_s)
            .field("log_id", &self.log_id)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::NotSent { kind, text, .. } => write!(f, "not sent ({kind:?}): {text}"),
            Fault::Unknown {
                kind,
                http: Some(http),
                text,
            } => write!(f, "unknown ({kind:?}, HTTP {http}): {text}"),
            Fault::Unknown {
                kind,
                http: None,
                text,
            } => write!(f, "unknown ({kind:?}): {text}"),
            Fault::NotJson { http, .. } => write!(f, "HTTP {http} without a code"),
            Fault::Token(fault) => write!(f, "no token: code {}, {}", fault.code, fault.msg),
        }
    }
}
