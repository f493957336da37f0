//! The torture harness: kills, faults and wrong clocks against the real relay, and a judge who counts.
//!
//! `plan` says from a seed what is to happen; `run` makes it happen with `house` (the relay's process, the sandbox,
//! the clocks) and `produce` (who posts); `check` judges what people saw against what was acknowledged; `report`
//! says it. `plan` and `check` are pure and repeat exactly; how threads, processes and the disk take turns does not.
//! Shared by the bench (`cargo bench --bench torture -- --help`) and by `tests/torture.rs`.

pub(crate) mod check;
pub(crate) mod house;
pub(crate) mod plan;
mod produce;
#[path = "../../shared/relay.rs"]
mod relay;
pub(crate) mod report;
pub(crate) mod run;
