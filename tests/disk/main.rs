//! Disks that are full, that fail, that take no writes, that lost what was on them: a clear word, and
//! nothing lost or doubled.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on should stop here"
)]

mod broken;
mod full;
mod rests;
mod small;
#[path = "../support/mod.rs"]
mod support;
