//! The doors: where the relay listens, and how a connection lives and ends.
//!
//! The accept loop is our own because a stop must end: half-sent headers, slow bodies and readers
//! who do not read are cut off, while what is being answered gets the time it was given. The number
//! of connections is bounded; one more waits at the door.
//! Not here: what is answered (`http`).

use std::fmt;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, Response};
use futures_util::future::join_all;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::{self, Listen};
use crate::http::activity::{Activity, Watched};
use crate::http::auth::Peer;
use crate::http::passed::Sockets;

/// The most connections at one time.
const CONNECTIONS_MAX: usize = 1024;

/// How long a client may take to send its headers, and stay idle between two requests.
const HEADER: Duration = Duration::from_secs(10);

/// How long a client may not read what is written to it.
const STUCK: Duration = Duration::from_secs(30);

/// How often a stopping door looks for connections on which nothing happens any more.
const STOPPING: Duration = Duration::from_millis(250);

/// How long the loop rests when it cannot accept (no file descriptors left).
const REST: Duration = Duration::from_millis(200);

/// A place that cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {place}: {why}")]
pub(crate) struct DoorsError {
    pub(super) place: String,
    pub(super) why: String,
}

/// Listeners that are bound and not served yet.
#[derive(Debug)]
pub(crate) struct Doors {
    listeners: Vec<Listener>,
}

#[derive(Debug)]
pub(super) enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener, SocketFile),
    /// A unix socket that somebody else opened, and keeps.
    Passed(UnixListener),
}

impl Doors {
    /// The doors that systemd opened, if there are any; else every place of the config.
    ///
    /// # Errors
    /// As `bind`; or a socket cannot be served, or is open to machines that nobody would ask who they are.
    pub(crate) async fn open_up(
        passed: Sockets,
        config: &config::Config,
    ) -> Result<Doors, DoorsError> {
        if passed.is_empty() {
            return Doors::bind(&config.server).await;
        }
        let listeners = passed.listeners(!config.clients.is_empty())?;
        Ok(Doors { listeners })
    }

    /// Binds every place of `server`; none is served before `serve`.
    ///
    /// # Errors
    /// A place is taken or not allowed. A stale socket file is replaced; one that answers is not.
    pub(crate) async fn bind(server: &config::Server) -> Result<Doors, DoorsError> {
        let mut listeners = Vec::new();
        for place in &server.listen {
            let bound = match place {
                Listen::Tcp(address) => TcpListener::bind(address).await.map(Listener::Tcp),
                Listen::Unix(path) => bind_unix(path, server.socket_mode).await,
            };
            listeners.push(bound.map_err(|error| DoorsError {
                place: place.to_string(),
                why: error.to_string(),
            })?);
        }
        Ok(Doors { listeners })
    }

    /// The places with their real ports: `127.0.0.1:8787`, `unix:/path`.
    pub(crate) fn addrs(&self) -> Vec<String> {
        self.listeners.iter().map(ToString::to_string).collect()
    }

    /// Serves until `stop`, then at most for `drain` what is under way.
    pub(super) async fn open<A, F>(self, answer: A, stop: CancellationToken, drain: Duration)
    where
        A: Fn(Request<Incoming>, Peer) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Response<Body>> + Send + 'static,
    {
        let house = House {
            answer,
            stop,
            cut: CancellationToken::new(),
            room: Arc::new(Semaphore::new(CONNECTIONS_MAX)),
            under_way: TaskTracker::new(),
        };
        let all = self.listeners.into_iter().map(|door| house.listen(door));
        join_all(all).await;
        house.under_way.close();
        if tokio::time::timeout(drain, house.under_way.wait())
            .await
            .is_err()
        {
            tracing::warn!(
                connections = house.under_way.len(),
                "connections were cut off at the stop"
            );
            house.cut.cancel();
            house.under_way.wait().await;
        }
    }
}

impl fmt::Display for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Listener::Tcp(listener) => match listener.local_addr() {
                Ok(address) => write!(f, "{address}"),
                Err(_) => f.write_str("?"),
            },
            Listener::Passed(listener) => match listener.local_addr() {
                Ok(address) => match address.as_pathname() {
                    Some(path) => write!(f, "unix:{}", path.display()),
                    None => f.write_str("unix:(no path)"),
                },
                Err(_) => f.write_str("?"),
            },
            Listener::Unix(_, file) => write!(f, "unix:{}", file.path.display()),
        }
    }
}

/// A socket's file, removed with its listener unless another daemon has replaced it.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    inode: (u64, u64),
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let ours = inode(&self.path).is_ok_and(|inode| inode == self.inode);
        if ours && let Err(error) = std::fs::remove_file(&self.path) {
            tracing::warn!(%error, "the socket file stays behind");
        }
    }
}

fn inode(path: &Path) -> io::Result<(u64, u64)> {
    std::fs::symlink_metadata(path).map(|file| (file.dev(), file.ino()))
}

async fn bind_unix(path: &Path, mode: u32) -> io::Result<Listener> {
    remove_stale(path).await?;
    let listener = UnixListener::bind(path)?;
    let file = SocketFile {
        path: path.to_owned(),
        inode: inode(path)?,
    };
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))?;
    Ok(Listener::Unix(listener, file))
}

/// Removes a socket that nobody answers on; anything else that is there stays.
async fn remove_stale(path: &Path) -> io::Result<()> {
    let file = match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    if !file.file_type().is_socket() {
        return Err(io::Error::other("a file that is no socket is in the way"));
    }
    match UnixStream::connect(path).await {
        Ok(_) => Err(io::Error::other("another process answers there")),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            std::fs::remove_file(path)
        }
        Err(error) => Err(error),
    }
}

/// What all doors share while they are open.
struct House<A> {
    answer: A,
    stop: CancellationToken,
    /// The time for what was under way at the stop is over.
    cut: CancellationToken,
    room: Arc<Semaphore>,
    under_way: TaskTracker,
}

impl<A, F> House<A>
where
    A: Fn(Request<Incoming>, Peer) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response<Body>> + Send + 'static,
{
    /// Takes connections until the stop; the listener, and its socket file, end with this.
    async fn listen(&self, door: Listener) {
        loop {
            let place = tokio::select! {
                place = Arc::clone(&self.room).acquire_owned() => place,
                () = self.stop.cancelled() => return,
            };
            let taken = tokio::select! {
                taken = self.take(&door) => taken,
                () = self.stop.cancelled() => return,
            };
            match taken {
                Ok(connection) => {
                    self.under_way.spawn(async move {
                        connection.await;
                        drop(place);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, %door, "a connection was not accepted");
                    tokio::select! {
                        () = tokio::time::sleep(REST) => {}
                        () = self.stop.cancelled() => return,
                    }
                }
            }
        }
    }

    /// The next connection, as what is to be done with it.
    async fn take(
        &self,
        door: &Listener,
    ) -> io::Result<std::pin::Pin<Box<dyn Future<Output = ()> + Send>>> {
        // Each connection has tokens of its own: all of them looking at the same two is a lock that all wait for.
        let (stop, cut) = (self.stop.child_token(), self.cut.child_token());
        let answer = self.answer.clone();
        Ok(match door {
            Listener::Tcp(listener) => {
                let (stream, address) = listener.accept().await?;
                // Answers are small and whole: waiting for more to send only delays them.
                stream.set_nodelay(true).ok();
                let answer = move |request| answer(request, Peer::Tcp(address));
                Box::pin(converse(stream, answer, stop, cut))
            }
            Listener::Unix(listener, _) | Listener::Passed(listener) => {
                let (stream, _) = listener.accept().await?;
                let answer = move |request| answer(request, Peer::Unix);
                Box::pin(converse(stream, answer, stop, cut))
            }
        })
    }
}

/// One connection, from its first request to its end.
async fn converse<S, A, F>(stream: S, answer: A, stop: CancellationToken, cut: CancellationToken)
where
    S: AsyncRead + AsyncWrite + Unpin,
    A: Fn(Request<Incoming>) -> F,
    F: Future<Output = Response<Body>>,
{
    let activity = Arc::new(Activity::default());
    let stream = TokioIo::new(Watched::new(stream, Arc::clone(&activity)));
    let service = service_fn(|request| {
        let answering = activity.answering();
        let answer = answer(request);
        async move {
            let response = answer.await;
            drop(answering);
            Ok::<_, std::convert::Infallible>(response)
        }
    });
    let mut connection = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER)
            // As Feishu writes them: its Python SDK finds `Content-Type` in this spelling alone.
            .title_case_headers(true)
            .serve_connection(stream, service)
    );
    let mut stopping = false;
    let mut seen = activity.written();
    loop {
        let look = if stopping { STOPPING } else { STUCK };
        tokio::select! {
            ended = connection.as_mut() => {
                if let Err(error) = ended {
                    tracing::debug!(%error, "a connection broke off");
                }
                return;
            }
            () = cut.cancelled() => return,
            () = stop.cancelled(), if !stopping => {
                stopping = true;
                connection.as_mut().graceful_shutdown();
            }
            () = tokio::time::sleep(look) => {
                // Nobody reads what is written; or it is time to go and nothing is being answered.
                if activity.is_stuck_since(seen) || stopping && activity.is_idle() {
                    return;
                }
                seen = activity.written();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::future::join;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;
    use tokio::sync::mpsc;

    use super::*;

    /// Longer than any stop may take; a test that reaches it has failed.
    const DRAIN: Duration = Duration::from_secs(120);

    fn server(listen: Vec<Listen>) -> config::Server {
        config::Server {
            listen,
            socket_mode: 0o600,
            max_body: 1 << 20,
        }
    }

    /// A door that says when a request came in, and answers `size` bytes.
    async fn open(
        size: usize,
    ) -> (
        String,
        mpsc::UnboundedReceiver<()>,
        CancellationToken,
        tokio::task::JoinHandle<()>,
    ) {
        let any = Listen::Tcp("127.0.0.1:0".parse().unwrap());
        let doors = Doors::bind(&server(vec![any])).await.unwrap();
        let address = doors.addrs().remove(0);
        let (tell, told) = mpsc::unbounded_channel();
        let answer = move |_, _| {
            tell.send(()).ok();
            async move { Response::new(Body::from(vec![b'x'; size])) }
        };
        let stop = CancellationToken::new();
        let served = tokio::spawn(doors.open(answer, stop.clone(), DRAIN));
        (address, told, stop, served)
    }

    async fn stops_soon(stop: CancellationToken, served: tokio::task::JoinHandle<()>) {
        stop.cancel();
        let soon = tokio::time::timeout(Duration::from_secs(20), served);
        soon.await.expect("the stop ends").unwrap();
    }

    #[tokio::test]
    async fn a_half_sent_header_does_not_hold_up_a_stop() {
        // The client is done writing only when the server has read most of it.
        let (mut client, server) = tokio::io::duplex(4);
        let (stop, cut) = (CancellationToken::new(), CancellationToken::new());
        let answer = |_| async { Response::new(Body::empty()) };
        let half = async {
            client.write_all(b"GET / HTTP/1.1\r\nHo").await.unwrap();
            stop.cancel();
            assert_eq!(client.read(&mut [0; 1]).await.unwrap_or(0), 0);
        };
        let both = join(converse(server, answer, stop.clone(), cut), half);
        let ended = tokio::time::timeout(HEADER / 2, both).await;
        assert!(ended.is_ok());
    }

    #[tokio::test]
    async fn an_idle_connection_does_not_hold_up_a_stop() {
        let (address, mut told, stop, served) = open(1).await;
        let mut client = TcpStream::connect(&address).await.unwrap();
        client.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
        told.recv().await.unwrap();
        stops_soon(stop, served).await;
    }

    #[tokio::test]
    async fn a_reader_who_does_not_read_does_not_hold_up_a_stop() {
        let (address, mut told, stop, served) = open(64 << 20).await;
        let mut client = TcpStream::connect(&address).await.unwrap();
        client.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
        told.recv().await.unwrap();
        stops_soon(stop, served).await;
    }

    #[tokio::test]
    async fn what_is_being_answered_at_the_stop_is_answered() {
        let any = Listen::Tcp("127.0.0.1:0".parse().unwrap());
        let doors = Doors::bind(&server(vec![any])).await.unwrap();
        let address = doors.addrs().remove(0);
        let stop = CancellationToken::new();
        let during = stop.clone();
        let answer = move |_, _| {
            let stop = during.clone();
            async move {
                stop.cancel();
                tokio::task::yield_now().await;
                Response::new(Body::from("late"))
            }
        };
        let served = tokio::spawn(doors.open(answer, stop.clone(), DRAIN));
        let mut client = TcpStream::connect(&address).await.unwrap();
        client.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
        let mut text = String::new();
        client.read_to_string(&mut text).await.unwrap();
        assert!(text.ends_with("late"), "{text}");
        stops_soon(stop, served).await;
    }

    #[tokio::test]
    async fn a_socket_file_has_its_mode_and_goes_with_its_listener() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("relay.sock");
        let place = || server(vec![Listen::Unix(path.clone())]);
        let doors = Doors::bind(&place()).await.unwrap();
        assert_eq!(doors.addrs(), [format!("unix:{}", path.display())]);
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let second = Doors::bind(&place()).await.unwrap_err().to_string();
        assert!(second.contains("another process answers"), "{second}");
        drop(doors);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn a_stale_socket_is_replaced_and_any_other_file_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("relay.sock");
        let place = || server(vec![Listen::Unix(path.clone())]);
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        drop(Doors::bind(&place()).await.unwrap());
        std::fs::write(&path, "notes").unwrap();
        let error = Doors::bind(&place()).await.unwrap_err().to_string();
        assert!(error.contains("no socket"), "{error}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "notes");
    }
}
