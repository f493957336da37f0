//! feishu-relay: a durable queue in front of Feishu's messaging API.
//!
//! `docs/ARCHITECTURE.md` is the map of these rooms and says which may use which.

pub mod alerts;
#[cfg(any(feature = "bench", test))]
#[doc(hidden)]
pub mod bench;
pub mod cli;
pub mod clock;
pub mod config;
pub mod daemon;
mod dispatch;
#[cfg(any(fuzzing, test))]
#[doc(hidden)]
pub mod fuzz;
mod http;
pub mod job;
mod metrics;
pub mod store;
pub mod watchdog;
