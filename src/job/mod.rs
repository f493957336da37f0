//! What was accepted: jobs, their kinds and states, and how a request becomes one.
//!
//! No I/O and no clock: times come in as Unix milliseconds.
//! Not here: how a job is kept (`store`), when it runs (`dispatch`), how it looks on the wire (`http`).

mod args;
mod card;
mod changes;
mod doubt;
mod fields;
#[cfg(any(fuzzing, test))]
pub(crate) mod fuzz;
mod gate;
mod id;
mod incident;
mod kind;
#[cfg(test)]
mod known;
mod ladder;
pub mod month;
pub(crate) mod openapi;
mod percent;
mod permit;
mod picture;
#[cfg(test)]
mod property;
mod reach;
mod reads;
mod record;
mod state;
mod storm;
mod submit;
pub(crate) mod values;

pub use args::{Arrived, BatchLists, UPLOAD_BYTES_MAX, Upload};
pub use card::check_card;
pub use doubt::{Candidate, DoubtRecord, DoubtfulPart, Look};
pub use fields::Flaw;
pub use gate::{Api, Gate, GateAnswer, GateBody, GateCall, GateFault, GateResult};
pub(crate) use id::hex;
pub use id::{JobId, NotAJobId};
pub use incident::{
    CARD_UPDATE_WINDOW_MS, DigestLink, IncidentId, IncidentJob, IncidentRole, IncidentRow,
    IncidentState, IncidentWrite, Member, NotAnIncidentId, Step,
};
pub use kind::{Kind, LaneRule, Makes, Needs};
#[cfg(test)]
pub(crate) use known::known;
pub use ladder::Degraded;
pub(crate) use ladder::has_ladder;
pub(crate) use percent::percent_encoded;
pub use permit::{AppId, Head, Marked, MarkedPart, Moment, Permit, Spent};
pub use picture::Looks;
pub use reach::{Reach, Steer};
pub(crate) use reads::tracked;
pub use reads::{NoticeJob, Reader, ReadsRecord};
pub use record::{Action, Attempt, Fault, Job, PartRecord, RecallRecord, Time};
pub use state::{OnDoubt, OnRefused, Outcome, Priority, Role, State, WaitingFor};
pub use storm::{LastDigest, MemberCount, StormMember, StormPlace, Wait, Weather};
pub use submit::{Door, First, Key, NewJob, NewPart, Reference, parse};
