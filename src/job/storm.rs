//! What the store says of a route's cards to one receiver, for whoever decides whether they are too many.
//!
//! Not here: what too many is (`alerts::storm`), the rows (`store::incidents::storm`).

use crate::job::{IncidentId, IncidentState, JobId};

/// Where a route's cards go: those of one place merge with each other and with no others.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StormPlace {
    /// The route's identity.
    pub route: String,
    /// The app of its jobs, by name.
    pub app: String,
    /// The receiver.
    pub receiver: String,
}

/// How it looks at a place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Weather {
    /// Messages of the last minute, and those that wait and are not held: cards, news, digests.
    pub told: i64,
    /// Since when the cards wait that were never marked and merged, the oldest first; the first few.
    pub waiting: Vec<Wait>,
    /// The newest digest.
    pub digest: Option<LastDigest>,
}

/// A card that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wait {
    /// When its job was made.
    pub since_ms: i64,
    /// It is held: its time has not come.
    pub held: bool,
}

/// The newest digest of a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LastDigest {
    /// Which.
    pub id: IncidentId,
    /// When it was made or taken further.
    pub at_ms: i64,
    /// Its card was never marked: it can still speak for more.
    pub open: bool,
}

/// An incident as a digest sees it: without what it is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StormMember {
    /// Which.
    pub id: IncidentId,
    /// The version that was read.
    pub version: i64,
    /// Its card's job, which was never marked; `None`: a digest speaks for it already.
    pub job: Option<JobId>,
    /// Where it stands.
    pub state: IncidentState,
    /// The worse the higher.
    pub severity: i64,
    /// Its title.
    pub title: String,
    /// Alerts in it.
    pub alerts: i64,
    /// What is to be shown of it.
    pub tag: String,
    /// When it began.
    pub opened_ms: i64,
}

/// Members of a digest that are alike, counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemberCount {
    /// Where they stand.
    pub state: IncidentState,
    /// How bad they are.
    pub severity: i64,
    /// How many.
    pub incidents: i64,
    /// Alerts in them.
    pub alerts: i64,
}
