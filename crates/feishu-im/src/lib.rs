//! A typed client of Feishu's messaging API.
//!
//! An operation (`op`) makes a `Request`; `Client::call` performs it exactly once and hands back an `Exchange`;
//! `classify` reads what it means. Endpoints, codes and limits are tables.
//!
//! Promises: a request is never repeated here; "not sent" is proven, never guessed; no token, secret, address or
//! content appears in an error text or in `Debug`.
//! Not here: queues, waiting, pacing, what to do about an outcome. The program installs the TLS provider if it
//! links more than one.

pub mod answers;
mod body;
pub mod classify;
pub mod client;
pub mod codes;
pub mod content;
pub mod endpoints;
pub mod exchange;
mod form;
#[cfg(any(fuzzing, test))]
#[doc(hidden)]
pub mod fuzz;
pub mod hook;
pub mod ids;
pub mod limits;
pub mod op;
pub mod request;
pub mod stream;
mod token;

pub use classify::{BucketKind, Class, PauseScope, Verdict, classify};
pub use client::{Client, ClientError, ClientOptions, Clock, SystemClock};
pub use codes::{CodeRow, Who, explain};
pub use content::{
    BatchContent, BatchLists, CONTENT_KEYS, CardObject, Content, ContentUse, Flaw, HookContent,
    Lowered, RUNGS, Signed,
};
pub use endpoints::{Api, Endpoint, Family, Paced, Repeat, Tier, Topic, UuidPlace};
pub use exchange::{Exchange, Fault, NotSentKind, Reply, TokenFault, UnknownKind};
pub use hook::{Hook, HookOptions};
pub use ids::IdType;
pub use op::{FILE_TYPES, LANGUAGES as FOLLOW_UP_LANGUAGES};
pub use request::{Body, FileSource, Request};
pub use stream::{Answer, Passing, Streamed};
