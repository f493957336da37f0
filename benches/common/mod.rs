//! What several benches need: the programs as processes, what they use, and how quiet the machine was.
//!
//! Not here: what is measured.

pub(crate) mod process;
pub(crate) mod quiet;
pub(crate) mod usage;
