//! A custom bot's message: signed where the bot asks for it, to a URL that is itself a secret.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::nameless_debug;
use crate::content::{HookContent, Signed};
use crate::endpoints::Api;
use crate::request::{Body, Request};

/// Says something in a custom bot's group. No answer beyond the code.
#[derive(Clone, Copy)]
pub struct Webhook<'a> {
    /// The path of the bot's URL, percent-encoded as it stands there.
    pub path: &'a str,
    /// The query of the bot's URL without its `?`; empty for none.
    pub query: &'a str,
    /// What is said.
    pub content: &'a HookContent,
    /// The time it is sent, signed; none for a bot without a secret.
    pub signed: Option<Signed<'a>>,
}

impl Webhook<'_> {
    /// The request.
    pub fn request(&self) -> Request {
        let mut request = Request::new(Api::Webhook, &["hook"]);
        request.path = self.path.to_owned();
        request.query = self.query.to_owned();
        request.body = Body::Json(self.content.body(self.signed));
        request
    }
}

/// The signature of a time (Unix seconds): the time and the secret are the key, the message is empty.
/// It is valid for an hour. Source: custom bot page.
pub fn sign(timestamp: i64, secret: &str) -> String {
    let key = format!("{timestamp}\n{secret}");
    let mac = Hmac::<Sha256>::new_from_slice(key.as_bytes()).expect("a key of any length will do");
    STANDARD.encode(mac.finalize().into_bytes())
}

nameless_debug!(Webhook);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::tests::check;

    const PATH: &str = "/open-apis/bot/v2/hook/x-1";

    #[test]
    fn a_message_goes_to_the_url_as_it_stands_and_a_card_has_a_field_of_its_own() {
        let content = |msg_type: &str, object: &str| HookContent {
            msg_type: msg_type.to_owned(),
            object: object.to_owned(),
        };
        let text = Webhook {
            path: PATH,
            query: "",
            content: &content("text", r#"{"text":"a"}"#),
            signed: None,
        };
        let call = format!("POST {PATH}");
        check(
            &text.request(),
            &call,
            r#"{"msg_type":"text","content":{"text":"a"}}"#,
        );
        let card = Webhook {
            query: "a=b",
            content: &content("interactive", r#"{"elements":[]}"#),
            signed: Some(Signed {
                timestamp: 1_599_360_473,
                sign: "s=",
            }),
            ..text
        };
        check(
            &card.request(),
            &format!("{call}?a=b"),
            r#"{"timestamp":"1599360473","sign":"s=","msg_type":"interactive","card":{"elements":[]}}"#,
        );
    }

    /// Computed with Python: `b64encode(hmac.new(b"1599360473\ndemo", b"", sha256).digest())`.
    #[test]
    fn a_signature_is_the_documented_one() {
        assert_eq!(
            sign(1_599_360_473, "demo"),
            "l1N0gAcBjdwBvGm1xMjOF0XSyaLRpR7tuO5dHfhAYc8="
        );
    }
}
