//! feishu-relay: a durable queue in front of Feishu's messaging API.
//!
//! `docs/ARCHITECTURE.md` is the map of these rooms and says which may use which.

pub mod config;
