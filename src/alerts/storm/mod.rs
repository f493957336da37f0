//! When cards are held back, when those that wait become one digest, and what a digest says.
//!
//! A calm route's cards go as they come. Once a route has told a receiver much in a minute, or its cards
//! stand before a window that is shut, a new card is stored with its time ahead (`hold`), and soon after all that
//! wait unmarked become one message (`turn`). While that one waits too it is taken further instead of a second
//! one made: so an outage ends as a digest and not as a pour.
//! Not here: the rows (`store::incidents::storm`), reading and writing (`run::digests`), the card (`cards`).

use std::cmp::Reverse;

use crate::alerts::incident::{Digest, DigestLine};
use crate::alerts::notice::Severity;
use crate::job::{IncidentState, MemberCount, StormMember, Wait, Weather};

/// Messages of a route to a receiver in a minute, beyond which a new card is held.
pub const BURST: i64 = 15;
/// Cards of a route that may wait for a receiver, beyond which a new one is held.
pub const QUEUE: usize = 5;
/// So many cards that wait for `STANDING_MS` show that the window is shut.
pub const STANDING: usize = 3;
/// See `STANDING`.
pub const STANDING_MS: i64 = 2000;
/// From one digest of a place to the next, and from the first card that is held to its digest: what comes meanwhile
/// is in it.
pub const GAP_MS: i64 = 5000;
/// A held card goes by itself so long after its digest should have been made: when nobody made it.
pub const HELD_MS: i64 = 60_000;
/// Lines of a digest that name an incident.
pub const LINES: usize = 20;
/// How many waiting cards `Weather` must name, at least.
pub const LOOK: usize = QUEUE + 1;

const _: () = assert!(STANDING <= QUEUE); // what shows a shut window is never held itself

/// Until when a new card of that place is held, Unix milliseconds; `None`: it goes at once.
pub fn hold(weather: &Weather, now_ms: i64) -> Option<i64> {
    let open = weather.digest.is_some_and(|digest| digest.open);
    let storms = open
        || weather.told >= BURST
        || weather.waiting.len() >= QUEUE
        || weather.waiting.iter().any(|wait| wait.held);
    storms.then(|| now_ms + GAP_MS + HELD_MS)
}

/// What is to be done at a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Nothing yet.
    Rest,
    /// The only card that is held goes by itself: there is nothing to merge it with.
    LetGo,
    /// All that wait become one.
    Merge,
}

/// What is to be done at a place now.
pub fn turn(weather: &Weather, now_ms: i64) -> Turn {
    // A time ahead is a clock that was set back: nobody waits for it.
    let past = |at_ms: i64, by_ms: i64| at_ms > now_ms || now_ms - at_ms >= by_ms;
    let waiting = &weather.waiting;
    if let Some(digest) = weather.digest {
        if !past(digest.at_ms, GAP_MS) {
            return Turn::Rest;
        }
        if digest.open && !waiting.is_empty() {
            return Turn::Merge;
        }
    }
    let shut = |wait: &Wait| past(wait.since_ms, STANDING_MS);
    if waiting.iter().filter(|wait| shut(wait)).count() >= STANDING {
        return Turn::Merge;
    }
    let held = waiting.iter().find(|wait| wait.held);
    match held {
        Some(held) if !past(held.since_ms, GAP_MS) => Turn::Rest,
        Some(_) if waiting.len() == 1 => Turn::LetGo,
        Some(_) => Turn::Merge,
        None => Turn::Rest,
    }
}

/// What a digest says of the members that the store counted.
pub fn digest(counts: &[MemberCount], worst: &[StormMember]) -> Digest {
    let mut digest = Digest::default();
    for count in counts {
        let (incidents, alerts) = (whole(count.incidents), whole(count.alerts));
        digest.alerts += alerts;
        match count.state {
            IncidentState::Resolved => digest.resolved += incidents,
            IncidentState::Firing | IncidentState::Acknowledged => {
                let severity = Severity::of_rank(count.severity);
                digest.firing += incidents;
                *digest.by_severity.entry(severity).or_default() += incidents;
            }
        }
    }
    digest.worst = worst.iter().map(line).collect();
    keep_worst(&mut digest);
    digest
}

/// Counts `more` too, of whom it did not speak yet.
pub fn extend(digest: &mut Digest, more: &[StormMember]) {
    for member in more {
        let firing = member.state != IncidentState::Resolved;
        digest.alerts += whole(member.alerts);
        if firing {
            let severity = Severity::of_rank(member.severity);
            digest.firing += 1;
            *digest.by_severity.entry(severity).or_default() += 1;
        } else {
            digest.resolved += 1;
        }
    }
    digest.worst.extend(more.iter().map(line));
    keep_worst(digest);
}

/// Of how many a digest spoke so far, those included that left it.
pub fn ever(digest: &Digest) -> u64 {
    digest.firing + digest.resolved + digest.moved
}

/// The digest of those that are in it now, once it spoke of `ever`.
pub fn moved(mut digest: Digest, ever: u64) -> Digest {
    digest.moved = ever.saturating_sub(digest.firing + digest.resolved);
    digest
}

fn whole(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

fn line(member: &StormMember) -> DigestLine {
    DigestLine {
        title: member.title.clone(),
        severity: Severity::of_rank(member.severity),
        firing: member.state != IncidentState::Resolved,
        since_ms: member.opened_ms,
        alerts: whole(member.alerts),
        incident: member.id.to_string(),
    }
}

/// What fires first, then the worst, then the oldest.
fn keep_worst(digest: &mut Digest) {
    digest.worst.sort_by(|one, other| {
        let order = |line: &DigestLine| (!line.firing, Reverse(line.severity), line.since_ms);
        (order(one), &one.incident).cmp(&(order(other), &other.incident))
    });
    digest.worst.truncate(LINES);
}

#[cfg(test)]
mod tests;
