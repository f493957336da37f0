//! What only some see: a card for one member, a link preview that was drawn for somebody.

use serde::{Deserialize, Serialize};

/// A card that one member of a group sees.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Ephemeral {
    pub(crate) message_id: String,
    /// Its place among the chat's messages.
    pub(crate) seq: u64,
    pub(crate) chat_id: String,
    pub(crate) app_id: String,
    pub(crate) user: String,
    pub(crate) sent: String,
    pub(crate) shown: String,
    pub(crate) at_ms: i64,
    #[serde(default)]
    pub(crate) deleted: bool,
}

/// A link preview in a message, by the token its callback would carry.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Preview {
    pub(crate) token: String,
    pub(crate) message_id: String,
    pub(crate) user: String,
    /// How often clients were asked to draw it again.
    #[serde(default)]
    pub(crate) updates: u32,
}
