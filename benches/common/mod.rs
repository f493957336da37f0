//! What several benches need: the programs as processes, and how quiet the machine was.
//!
//! Not here: what is measured.

pub(crate) mod process;
pub(crate) mod quiet;
