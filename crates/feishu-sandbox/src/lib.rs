//! A local Feishu that says no wherever Feishu would, with a ledger of what people saw.
//!
//! `start` opens one on a port; many may live in one process. Everything else is HTTP: the
//! endpoints under `/open-apis/`, the controls under `/_sandbox/`. It is written from the fact
//! reference alone and knows nothing of the client or the relay, so that a mistake of theirs shows.
//!
//! The road of a call: `wire` reads it, `gate` lets it in (`table` says what to check), a function
//! of `endpoints` answers it from the `world`, `ledger` keeps what people saw, `journal` makes it
//! outlive the process.
//!
//! | control | does |
//! |---|---|
//! | `GET /_sandbox/` | the chats as a person would see them |
//! | `GET /_sandbox/ledger[?since=SEQ]` | effects (after `SEQ`) and counts of calls |
//! | `GET`, `POST /_sandbox/faults` | the rules of faults; a list replaces the old one |
//! | `POST /_sandbox/clock` | `{"advance":"61m"}`, `{"freeze":true}`, answers `{"now":ms}` |
//! | `POST /_sandbox/act` | `read` `react` `reply` `recall` `click` `preview` `write`, by a person |
//! | `GET /_sandbox/world` | apps, users, chats, departments, custom bots, limits, switches |
//! | `GET /_sandbox/image/KEY` | an uploaded image |

mod answer;
mod call;
mod clock;
mod codes;
mod content;
mod control;
mod default_world;
mod endpoints;
mod faults;
mod gate;
mod journal;
mod ledger;
mod seed;
mod shared;
mod stored;
mod table;
mod windows;
mod wire;
mod world;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

pub use default_world::{
    DEFAULT_APP_ID, DEFAULT_APP_SECRET, DEFAULT_BIG_CHAT, DEFAULT_CHAT, DEFAULT_CLOSED_CHAT,
    DEFAULT_COMPANY, DEFAULT_DEPARTMENT, DEFAULT_HOOK, DEFAULT_HOOK_SECRET, DEFAULT_SECOND_CHAT,
    DEFAULT_SECOND_DEPARTMENT, DEFAULT_SIGNED_HOOK, DEFAULT_STAFF, DEFAULT_UNREACHABLE_USER,
    DEFAULT_USER, DEFAULT_USERS, staff_open_id,
};
pub use seed::{Seed, SeedError};

use journal::Journal;
use shared::Shared;
use world::World;

/// How to start a sandbox.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where it listens; port 0 takes a free one.
    pub listen: SocketAddr,
    /// File in which ledger and world outlive the process.
    pub state: Option<PathBuf>,
    /// The world to start from; absent = that of the state file, else the default one.
    pub seed: Option<Seed>,
}

impl Default for Options {
    /// `127.0.0.1:9797`, nothing kept, the default world.
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 9797)),
            state: None,
            seed: None,
        }
    }
}

/// Why a sandbox did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address is taken or not ours.
    #[error("the sandbox can not listen on {listen}: {source}")]
    Listen {
        /// The address.
        listen: SocketAddr,
        /// What the system says.
        source: std::io::Error,
    },
    /// The state file can not be read or written.
    #[error("the sandbox can not use the state file {}: {source}", path.display())]
    State {
        /// The file.
        path: PathBuf,
        /// What the system says, or the line that is no row.
        source: std::io::Error,
    },
}

/// A running sandbox. Dropping it stops accepting; `stop` also waits for the calls at work.
#[derive(Debug)]
pub struct Sandbox {
    addr: SocketAddr,
    stop: DropGuard,
    served: JoinHandle<()>,
}

/// Starts a sandbox on the current tokio runtime; it accepts calls when this returns.
///
/// # Errors
/// `Listen`: choose another address. `State`: choose another file, or mend or remove this one.
pub async fn start(options: Options) -> Result<Sandbox, StartError> {
    let Options {
        listen,
        state,
        seed,
    } = options;
    let (world, journal) = match state {
        None => (World::new(seed.unwrap_or_default()), None),
        Some(path) => {
            let (journal, world) =
                Journal::open(&path, seed).map_err(|source| StartError::State { path, source })?;
            (world, Some(journal))
        }
    };
    let refused = |source| StartError::Listen { listen, source };
    let listener = TcpListener::bind(listen).await.map_err(refused)?;
    let addr = listener.local_addr().map_err(refused)?;
    let stop = CancellationToken::new();
    let shared = Arc::new(Shared::new(world, journal));
    let served = tokio::spawn(wire::serve(listener, shared, stop.clone()));
    Ok(Sandbox {
        addr,
        stop: stop.drop_guard(),
        served,
    })
}

impl Sandbox {
    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Its base URL, without a slash at the end.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// Stops accepting, waits a moment for the calls at work, and ends the rest.
    pub async fn stop(self) {
        drop(self.stop);
        if let Err(error) = self.served.await {
            tracing::error!(%error, "the sandbox did not stop cleanly");
        }
    }
}
