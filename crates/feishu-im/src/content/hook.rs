//! Content of a custom group bot: an object, few types, and maybe a signature beside it.

use std::fmt;

use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::batch::{Carried, Carrier};
use super::{Flaw, Flaws};
use crate::limits::BOT_BYTES_MAX;

/// Content of a custom bot's message, ready to be sent.
#[derive(Clone, PartialEq, Eq)]
pub struct HookContent {
    /// The platform's type.
    pub msg_type: String,
    /// A JSON object as text; for `interactive` the card.
    pub object: String,
}

/// The proof that the sender knows the bot's secret.
#[derive(Clone, Copy)]
pub struct Signed<'a> {
    /// Unix seconds.
    pub timestamp: i64,
    /// Base64 of the HMAC-SHA256 that the platform describes.
    pub sign: &'a str,
}

/// A signature as long as any.
pub(super) const LONGEST: Signed<'static> = Signed {
    timestamp: 9_999_999_999,
    sign: "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
};

impl HookContent {
    /// Content from arguments: `text`, `post`, `image`, `card`, `template`, `share_chat`, or the raw pair in the
    /// bot's own form (`msg_type` with `content`, or with `card`).
    ///
    /// # Errors
    /// What is wrong, each with its place; also what a message could hold and a custom bot cannot: `md` nodes,
    /// other types.
    pub fn from_args(args: &Map<String, Value>) -> Result<HookContent, Vec<Flaw>> {
        HookContent::made(args, true)
    }

    /// The same without a look at what is in it: for what was checked before, maybe by other rules.
    ///
    /// # Errors
    /// It cannot be made: no content or two, or of a wrong shape.
    pub fn unchecked(args: &Map<String, Value>) -> Result<HookContent, Vec<Flaw>> {
        HookContent::made(args, false)
    }

    fn made(args: &Map<String, Value>, checked: bool) -> Result<HookContent, Vec<Flaw>> {
        let mut flaws = Flaws::default();
        let carried = Carrier::HOOK.build(args, checked, &mut flaws);
        let made = carried.map(
            |Carried {
                 msg_type,
                 object,
                 at,
             }| {
                let made = HookContent { msg_type, object };
                let bytes = made.body(Some(LONGEST)).len();
                if checked && bytes > BOT_BYTES_MAX {
                    let says =
                        format!("makes a body of {bytes} bytes; at most {BOT_BYTES_MAX} are taken");
                    flaws.add(&at, says);
                }
                made
            },
        );
        flaws.none_or(made)
    }

    /// The body of its call, signed where the bot has a secret.
    pub fn body(&self, signed: Option<Signed<'_>>) -> Bytes {
        let field = if self.msg_type == "interactive" {
            "card"
        } else {
            "content"
        };
        let proof = signed.map_or_else(String::new, |Signed { timestamp, sign }| {
            format!("\"timestamp\":\"{timestamp}\",\"sign\":{},", json!(sign))
        });
        let (msg_type, object) = (json!(self.msg_type), &self.object);
        format!("{{{proof}\"msg_type\":{msg_type},\"{field}\":{object}}}").into()
    }
}

impl fmt::Debug for HookContent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "HookContent({}, {} bytes)",
            self.msg_type,
            self.object.len()
        )
    }
}

impl fmt::Debug for Signed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Signed")
    }
}
