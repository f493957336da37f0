//! Picks due jobs, paces them, performs them and judges what came of it.

mod breaker;
mod delay;
mod judge;
mod pace;
