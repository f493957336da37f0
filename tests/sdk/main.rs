//! Feishu's official SDKs, unmodified, judge what stands in Feishu's place.
//!
//! One scenario (`scenario.json`) goes over every endpoint; `scenario.py` and `scenario.mjs` do
//! nothing but carry it out with the SDK of their language, each in one process with one client.
//! They need Python and Node. Where one is missing its tests say so and pass, unless
//! `FEISHU_RELAY_REQUIRE_PYTHON` is set, as in CI. What is installed stays below `target/`.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on should stop here"
)]

mod faults;
mod ledger;
mod packages;
mod relayed;
mod run;
mod same;
mod straight;
#[path = "../support/mod.rs"]
mod support;
