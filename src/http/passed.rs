//! Sockets that systemd opened for the relay (socket activation): they win over `listen`.
//!
//! They stay systemd's: a unix socket's file is not removed at the stop, so that connections wait
//! for the next start.

use std::fmt;
use std::os::fd::AsFd;

use listenfd::ListenFd;
use socket2::SockRef;
use tokio::net::{TcpListener, UnixListener};

use crate::http::doors::{DoorsError, Listener};

/// The number of the first descriptor that is passed. Source: sd_listen_fds(3).
const FIRST: usize = 3;

/// Sockets that were passed to this process; none, where it was started by hand.
pub struct Sockets(ListenFd);

impl fmt::Debug for Sockets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Sockets").field(&self.0.len()).finish()
    }
}

impl Sockets {
    /// Takes them over from the environment, which forgets them. For `main`, before there are threads.
    pub fn take() -> Sockets {
        Sockets(ListenFd::from_env())
    }

    /// None.
    pub fn none() -> Sockets {
        Sockets(ListenFd::empty())
    }

    /// Were there none?
    pub fn is_empty(&self) -> bool {
        self.0.len() == 0
    }

    /// All of them, to be served. `open`: clients show tokens, so other machines may come in.
    pub(super) fn listeners(mut self, open: bool) -> Result<Vec<Listener>, DoorsError> {
        let all = 0..self.0.len();
        all.map(|n| self.listener(n, open)).collect()
    }

    fn listener(&mut self, n: usize, open: bool) -> Result<Listener, DoorsError> {
        let refused = |why: String| DoorsError {
            place: format!("descriptor {} that systemd passed", FIRST + n),
            why,
        };
        let failed = |error: std::io::Error| refused(error.to_string());
        if let Ok(Some(tcp)) = self.0.take_tcp_listener(n) {
            let address = tcp.local_addr().map_err(failed)?;
            listens(&tcp).map_err(refused)?;
            if !open && !address.ip().to_canonical().is_loopback() {
                let why = format!("{address} is not loopback, and there are no [[clients]]");
                return Err(refused(why));
            }
            tcp.set_nonblocking(true).map_err(failed)?;
            let tcp = TcpListener::from_std(tcp).map_err(failed)?;
            return Ok(Listener::Tcp(tcp));
        }
        if let Ok(Some(unix)) = self.0.take_unix_listener(n) {
            listens(&unix).map_err(refused)?;
            unix.set_nonblocking(true).map_err(failed)?;
            let unix = UnixListener::from_std(unix).map_err(failed)?;
            return Ok(Listener::Passed(unix));
        }
        let why = "it is neither a TCP socket nor a unix stream socket (ListenStream=)";
        Err(refused(String::from(why)))
    }
}

fn listens(socket: &impl AsFd) -> Result<(), String> {
    match SockRef::from(socket).is_listener() {
        Ok(true) => Ok(()),
        Ok(false) => Err(String::from("it does not listen (Accept=no is needed)")),
        Err(error) => Err(error.to_string()),
    }
}
