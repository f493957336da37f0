//! The ladder: a card that may not go as a card goes as a post with its words, and then as a text.
//!
//! Each rung is a message of its own, under a `uuid` of its own; only after a refusal is it known that the one above
//! was never seen, so nothing goes lower after an attempt with unknown outcome.
//! Not here: what a lower rung says (`feishu-im`), which refusal leads down (`dispatch::judge`).

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::job::{JobId, Kind};

/// Where a card came to when it did not go as it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Degraded {
    /// 1 or 2.
    pub rung: u8,
    /// Feishu's type of message on that rung: `post` or `text`.
    pub msg_type: String,
    /// Feishu's code for the rung above; absent where it was known at acceptance that it would be refused.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub code: Option<i64>,
    /// Why the rung above would not do.
    pub msg: String,
}

impl Degraded {
    /// On `rung`, as that one above it would not do.
    pub fn to(rung: u8, code: Option<i64>, msg: String) -> Degraded {
        let msg_type = if rung == 1 { "post" } else { "text" };
        Degraded {
            rung,
            msg_type: msg_type.to_owned(),
            code,
            msg,
        }
    }
}

/// May a job of this kind go down? What changes a sent card cannot make another message of it.
pub(crate) fn has_ladder(kind: Kind) -> bool {
    matches!(kind, Kind::Send | Kind::Reply)
}

impl JobId {
    /// The `uuid` of its attempts on a rung, at most 50 characters.
    pub fn uuid(self, rung: u8) -> String {
        match rung {
            0 => self.hex(),
            rung => format!("{}.{rung}", self.hex()),
        }
    }
}
