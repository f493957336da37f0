//! An answer on its way out, and the ways in which a fault keeps it from arriving whole.

use bytes::Bytes;
use serde_json::{Value, json};

use crate::stored::Stored;

/// Status, headers, body.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) http: u16,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Stored,
}

impl Answer {
    /// A JSON answer.
    pub(crate) fn json(http: u16, body: &Value) -> Self {
        Self::of(
            http,
            "application/json; charset=utf-8",
            Bytes::from(body.to_string()),
        )
    }

    /// Bytes of a type.
    pub(crate) fn of(http: u16, content_type: &str, body: impl Into<Stored>) -> Self {
        Self {
            http,
            headers: vec![("content-type", content_type.to_owned())],
            body: body.into(),
        }
    }

    /// A refusal of the sandbox's own controls (RFC 9457).
    pub(crate) fn problem(http: u16, title: &str, pointer: &str, detail: &str) -> Self {
        let body = json!({
            "type": "about:blank", "title": title, "status": http, "detail": detail,
            "errors": [{ "pointer": pointer, "detail": detail }],
        });
        Self::of(
            http,
            "application/problem+json",
            Bytes::from(body.to_string()),
        )
    }

    /// The same answer with one header more.
    pub(crate) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

/// What happens on the connection.
#[derive(Debug)]
pub(crate) enum Reply {
    Whole(Answer),
    /// Half of the body under the length of all of it, then the connection closes.
    Half(Answer),
    /// The connection closes without an answer.
    Nothing,
    /// The connection is reset.
    Reset,
}
