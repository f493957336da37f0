//! What a job asks of the windows: in which of them its call counts.

use crate::dispatch::core::is_high;
use crate::dispatch::pace::Ask;
use crate::job::{Head, Kind};

/// `place`: what the call counts for (`around`).
pub(super) fn ask<'a>(place: usize, head: &'a Head) -> Ask<'a> {
    Ask {
        app: place,
        api: head.api(),
        receiver: head.receiver.as_deref().or(head.message.as_deref()),
        // A card for one member counts in its group, not on a message.
        message: match head.kind {
            Kind::SendEphemeral => head.receiver.as_deref(),
            _ => head.message.as_deref(),
        },
        high: is_high(head),
        weight: if head.kind == Kind::BatchSend {
            head.weight
        } else {
            1
        },
    }
}
