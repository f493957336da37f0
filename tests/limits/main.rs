//! Feishu's windows as the real binary keeps them, with both clocks moved; and the judge of the long runs.
//!
//! The long runs are done by hand, in real time: `cargo bench --bench limits`. Moved clocks cannot stand in for them:
//! the relay looks at its test clock once a second, which is the very length of most windows. Only the minute's is seen
//! here; `dispatch::trial` runs the whole in virtual time.

mod judge;
#[path = "../../benches/limits/judge.rs"]
#[expect(dead_code, reason = "some of it only the bench uses")]
mod judged;
mod minute;
#[path = "../support/mod.rs"]
mod support;
