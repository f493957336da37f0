//! Picks due jobs, paces them, performs them and judges what came of it.
//!
//! The loop (`run`) owns no state of a job: the table does. What decides who goes is `core`, under one
//! lock that is never held over a wait. Results stay here until they are on disk.
//! Not here: how jobs come in (`http`), SQL (`store`), what a code means (`feishu-im`).

mod attempt;
#[cfg(any(feature = "bench", test))]
pub(crate) mod bench;
mod bots;
mod breaker;
mod core;
mod delay;
mod doubt;
mod follow;
mod gate;
mod handle;
mod held;
mod judge;
mod lanes;
mod month;
mod pace;
mod perform;
mod readback;
mod run;
#[cfg(any(test, feature = "bench"))]
pub(crate) mod trial;
mod ways;

pub(crate) use self::handle::{App, Dispatcher};
pub(crate) use self::ways::Bot;
