//! Doors for benches: what is private and worth timing by itself. Only with the feature `bench`, so
//! not in a normal build.

pub use crate::dispatch::bench::{Judging, Picking, Windows};
pub use crate::dispatch::trial::day::{Day, Drain, Wait, day};
pub use crate::http::bench::jobs;
