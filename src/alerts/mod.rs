//! Alert sinks: what monitoring says becomes incidents, and each incident one message that changes.
//!
//! A notification is read (`notice`), routed, and folded into the incident of its group (`incident`); from the
//! incident and how its jobs stand follows which jobs come next. All of that is pure; what reads and writes the
//! store, or asks Feishu who has read something, is in `run`.
//! Not here: the doors (`http`), the rows (`store::incidents`), sending (`dispatch`).

pub mod arrive;
pub mod cards;
pub mod fingerprints;
pub mod incident;
pub mod notice;
pub mod people;
pub mod plan;
pub mod policy;
pub mod quiet;
pub mod routes;
mod run;
pub mod rungs;
pub mod sources;
pub mod storm;

pub use self::cards::Cards;
pub use self::run::{AckError, Alerts, NotTaken, Taken, Trouble};
