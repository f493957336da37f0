//! What each endpoint checks and does, one file per family.
//!
//! Every function gets a call that the gateway let through and answers the whole body of a
//! success, or a refusal. Order inside: fields, business, receiver's window, execution.

pub(crate) mod batch;
pub(crate) mod bot;
pub(crate) mod cards;
pub(crate) mod delayed;
pub(crate) mod discovery;
pub(crate) mod edit;
pub(crate) mod ephemeral;
pub(crate) mod files;
pub(crate) mod follow;
pub(crate) mod forward;
pub(crate) mod history;
pub(crate) mod hook;
pub(crate) mod images;
mod paging;
pub(crate) mod pins;
pub(crate) mod previews;
pub(crate) mod reactions;
pub(crate) mod read;
pub(crate) mod recall;
pub(crate) mod reply;
pub(crate) mod resources;
pub(crate) mod send;
pub(crate) mod tokens;
pub(crate) mod urgent;

use uuid::Uuid;

/// A new id behind `prefix`.
pub(crate) fn new_id(prefix: &str) -> String {
    format!("{prefix}{}", Uuid::now_v7().simple())
}
