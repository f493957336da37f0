//! One call to Feishu that is no job: a read, a download, or a call of which the relay knows nothing.
//!
//! `http` has the request and `dispatch` the way to Feishu; neither names the other, so the daemon hands this
//! trait from one to the other. What goes through it is not stored, and nobody waits for it but the client.
//! Not here: who may call what (`http`), when a call may go (`dispatch`).

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
pub use feishu_im::Api;
use futures_util::Stream;
use http::{HeaderMap, Method, StatusCode};

use crate::job::AppId;

/// A call on behalf of a client.
#[derive(Clone)]
pub struct GateCall {
    /// With which app.
    pub app: AppId,
    /// The endpoint, if it is one that reads; `None`: it is passed on as it is, and never repeated.
    pub read: Option<Api>,
    /// Its method.
    pub method: Method,
    /// The path as it came, percent-encoded.
    pub path: String,
    /// The query as it came, without its `?`; empty for none.
    pub query: String,
    /// Headers that go along; no token among them, Feishu's is put in.
    pub headers: HeaderMap,
    /// The body as it came.
    pub body: Bytes,
}

/// Feishu's answer, as it came.
pub struct GateAnswer {
    /// Its status.
    pub status: StatusCode,
    /// All of its headers.
    pub headers: HeaderMap,
    /// Its body: read as fast as it is taken, broken off where Feishu's broke off. The call ends when this is dropped.
    pub body: GateBody,
}

/// A body that is read as it is taken.
pub type GateBody = Pin<Box<dyn Stream<Item = io::Result<Bytes>> + Send>>;

/// Why there is no answer of Feishu's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GateFault {
    /// Too many calls wait or are under way, or a window stayed full for as long as a call waits. Nothing was sent.
    Full {
        /// In so many seconds there may be room.
        wait_s: u64,
    },
    /// Nothing is sent now: a pause, an outage, the rest of a month, no token. In words, without content.
    Stopped(String),
    /// The request cannot be sent as it is written. In words, without content.
    Flawed(String),
    /// It left, and no answer came; what reads was tried again before.
    Lost,
}

/// What a call comes to.
pub type GateResult = Result<GateAnswer, GateFault>;

/// Makes calls that are no jobs, under the limits that jobs keep to.
pub trait Gate: fmt::Debug + Send + Sync {
    /// Makes one call, when its windows have room, within a bounded time.
    ///
    /// Dropping the future gives the call up.
    fn call(self: Arc<Self>, call: GateCall) -> Pin<Box<dyn Future<Output = GateResult> + Send>>;
}

impl fmt::Debug for GateCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GateCall")
            .field("app", &self.app)
            .field("read", &self.read)
            .field("method", &self.method)
            .field("body_bytes", &self.body.len())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for GateAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GateAnswer")
            .field("status", &self.status)
            .finish_non_exhaustive()
    }
}
