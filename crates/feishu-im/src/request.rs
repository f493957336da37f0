//! A request ready to be sent: path, query and body are final, the token is not in it.
//!
//! Promises: a request can be cloned, kept and sent again byte for byte; its `Debug` shows no content and no id.
//! Not here: which fields an operation has (`op`), the sending (`client`).

use std::fmt;
use std::path::PathBuf;

use bytes::Bytes;
use serde::Serialize;

use crate::endpoints::Api;

/// A request of one operation.
#[derive(Clone)]
pub struct Request {
    /// Which endpoint.
    pub api: Api,
    /// The path from `/open-apis` on, percent-encoded.
    pub path: String,
    /// The query without its `?`, percent-encoded; empty for none.
    pub query: String,
    /// What is sent.
    pub body: Body,
    /// Why no such request can be made, when an id does not fit in a path.
    pub(crate) flaw: Option<&'static str>,
}

/// What a request carries.
#[derive(Clone)]
pub enum Body {
    /// Nothing.
    None,
    /// JSON text, sent as it is.
    Json(Bytes),
    /// A form with one file, the fields before it.
    Multipart {
        /// Names and values of the plain fields.
        fields: Vec<(&'static str, String)>,
        /// Name of the file's field.
        file_field: &'static str,
        /// The name the file is given.
        file_name: String,
        /// Where its bytes are.
        file: FileSource,
    },
}

/// Where the bytes of a file are.
#[derive(Clone)]
pub enum FileSource {
    /// In memory.
    Bytes(Bytes),
    /// On disk; read while it is sent. It must not change meanwhile.
    Path(PathBuf),
}

impl Request {
    /// A request without a body. `params` fill the path's parameters in order.
    pub fn new(api: Api, params: &[&str]) -> Request {
        let mut flaw = None;
        let mut params = params.iter();
        let mut path = String::new();
        for part in api.endpoint().path.split_inclusive('/') {
            let Some(slash) = part.starts_with(':').then(|| part.ends_with('/')) else {
                path.push_str(part);
                continue;
            };
            let value = params.next().copied().unwrap_or_default();
            if matches!(value, "" | "." | "..") {
                flaw = Some("an id is empty or only dots"); // a URL would swallow it and name another endpoint
            }
            encode_into(&mut path, value);
            if slash {
                path.push('/');
            }
        }
        Request {
            api,
            path,
            query: String::new(),
            body: Body::None,
            flaw,
        }
    }

    /// With one more query parameter.
    #[must_use]
    pub fn query(mut self, name: &str, value: &str) -> Request {
        if !self.query.is_empty() {
            self.query.push('&');
        }
        encode_into(&mut self.query, name);
        self.query.push('=');
        encode_into(&mut self.query, value);
        self
    }

    /// With one more query parameter, if there is a value.
    #[must_use]
    pub fn query_opt(self, name: &str, value: Option<impl fmt::Display>) -> Request {
        match value {
            Some(value) => self.query(name, &value.to_string()),
            None => self,
        }
    }

    /// With `value` as JSON body.
    #[must_use]
    pub fn json(mut self, value: &impl Serialize) -> Request {
        let text =
            serde_json::to_vec(value).expect("bodies are strings, lists and maps with string keys");
        self.body = Body::Json(text.into());
        self
    }
}

/// Appends `text`, everything but letters, digits and `-._~` percent-encoded, `/` included.
fn encode_into(out: &mut String, text: &str) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push('%');
            out.push(char::from(HEX[usize::from(byte >> 4)]));
            out.push(char::from(HEX[usize::from(byte & 15)]));
        }
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("api", &self.api)
            .field("body", &self.body)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Body::None => f.write_str("None"),
            Body::Json(text) => write!(f, "Json({} bytes)", text.len()),
            Body::Multipart { file, .. } => write!(f, "Multipart({file:?})"),
        }
    }
}

impl fmt::Debug for FileSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FileSource::Bytes(bytes) => write!(f, "{} bytes", bytes.len()),
            FileSource::Path(_) => f.write_str("a file on disk"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(params: &[&str], expected: &str) {
        assert_eq!(Request::new(Api::ReadUsers, params).path, expected);
    }

    #[test]
    fn ids_are_encoded_into_the_path() {
        check(&["om_1"], "/open-apis/im/v1/messages/om_1/read_users");
        check(
            &["a/b?c#d e%"],
            "/open-apis/im/v1/messages/a%2Fb%3Fc%23d%20e%25/read_users",
        );
        check(&["中"], "/open-apis/im/v1/messages/%E4%B8%AD/read_users");
        assert_eq!(
            Request::new(Api::Unpin, &["om_1"]).path,
            "/open-apis/im/v1/pins/om_1"
        );
        assert_eq!(
            Request::new(Api::BatchSend, &[]).path,
            "/open-apis/message/v4/batch_send/"
        );
    }

    #[test]
    fn an_id_that_would_name_another_endpoint_is_a_flaw() {
        for id in ["", ".", ".."] {
            assert!(Request::new(Api::Recall, &[id]).flaw.is_some(), "{id:?}");
        }
        assert!(Request::new(Api::Recall, &["om_1"]).flaw.is_none());
    }

    #[test]
    fn queries_are_encoded_and_joined() {
        let request = Request::new(Api::ListPins, &[])
            .query("chat_id", "oc_1&x=y")
            .query_opt("page_size", Some(5));
        assert_eq!(request.query, "chat_id=oc_1%26x%3Dy&page_size=5");
        assert_eq!(
            request.query_opt("page_token", None::<&str>).query,
            "chat_id=oc_1%26x%3Dy&page_size=5"
        );
    }

    #[test]
    fn debug_shows_no_content() {
        let request = Request::new(Api::Recall, &["om_secret"]).json(&"secret");
        assert!(!format!("{request:?}").contains("secret"));
    }
}
