//! A server of a few lines: reads whole requests, does what it is told, remembers what it saw.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What to do with a request.
pub(super) enum Act {
    /// Status, extra headers, body.
    Answer(u16, &'static str, String),
    /// These bytes, then FIN.
    Raw(String),
    /// These bytes, then nothing.
    Hang(String),
    /// FIN.
    Close,
    /// RST.
    Reset,
}

/// A request as it came.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    /// `POST /path?query`
    pub(super) call: String,
    pub(super) headers: HashMap<String, String>,
    pub(super) body: Vec<u8>,
}

pub(super) struct Server {
    pub(super) url: String,
    seen: Arc<Mutex<Vec<Seen>>>,
    count: watch::Receiver<usize>,
    opened: Arc<AtomicUsize>,
}

pub(super) fn json(body: impl Into<String>) -> Act {
    Act::Answer(200, "Content-Type: application/json\r\n", body.into())
}

pub(super) fn token(value: &str) -> Act {
    json(format!(
        r#"{{"code":0,"msg":"ok","tenant_access_token":"{value}","expire":7200}}"#
    ))
}

impl Server {
    /// `act` is asked for each request, with the number of equal calls before it.
    pub(super) async fn start(act: impl Fn(&Seen, usize) -> Act + Send + Sync + 'static) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0")
            .await
            .expect("loopback has a port");
        let url = format!("http://{}", listener.local_addr().expect("it is bound"));
        let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
        let (counter, count) = watch::channel(0);
        let (act, all, counter) = (Arc::new(act), seen.clone(), Arc::new(counter));
        let opened = Arc::<AtomicUsize>::default();
        let connections = Arc::clone(&opened);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                connections.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(serve(stream, act.clone(), all.clone(), counter.clone()));
            }
        });
        Server {
            url,
            seen,
            count,
            opened,
        }
    }

    /// A server whose token endpoint answers `t-1`, and everything else `act`.
    pub(super) async fn with_token(
        act: impl Fn(&Seen, usize) -> Act + Send + Sync + 'static,
    ) -> Server {
        Server::start(move |seen, nth| {
            if seen.call.contains("/auth/") {
                token("t-1")
            } else {
                act(seen, nth)
            }
        })
        .await
    }

    /// Connections that were opened so far.
    pub(super) fn opened(&self) -> usize {
        self.opened.load(Ordering::SeqCst)
    }

    pub(super) fn seen(&self, part: &str) -> Vec<Seen> {
        self.seen
            .lock()
            .unwrap()
            .iter()
            .filter(|seen| seen.call.contains(part))
            .cloned()
            .collect()
    }

    /// Returns once so many requests with `part` in their call were read.
    pub(super) async fn until(&self, part: &str, count: usize) {
        let mut changes = self.count.clone();
        let enough = changes.wait_for(|_| self.seen(part).len() >= count);
        let enough = tokio::time::timeout(super::LONG, enough).await;
        enough
            .expect("the requests come in time")
            .expect("the server lives");
    }
}

async fn serve(
    mut stream: TcpStream,
    act: Arc<impl Fn(&Seen, usize) -> Act>,
    all: Arc<Mutex<Vec<Seen>>>,
    counter: Arc<watch::Sender<usize>>,
) {
    while let Some(seen) = read(&mut stream).await {
        let act = {
            let mut all = all.lock().unwrap();
            let before = all.iter().filter(|one| one.call == seen.call).count();
            let act = act(&seen, before);
            all.push(seen);
            act
        };
        counter.send_modify(|count| *count += 1);
        let text = match act {
            Act::Answer(status, headers, body) => {
                format!(
                    "HTTP/1.1 {status} X\r\n{headers}Content-Length: {}\r\n\r\n{body}",
                    body.len()
                )
            }
            Act::Raw(text) => {
                let _ = stream.write_all(text.as_bytes()).await;
                return;
            }
            Act::Hang(text) => {
                let _ = stream.write_all(text.as_bytes()).await;
                std::future::pending::<()>().await;
                return;
            }
            Act::Close => return,
            Act::Reset => {
                stream.set_zero_linger().expect("the option exists");
                return;
            }
        };
        if stream.write_all(text.as_bytes()).await.is_err() {
            return;
        }
    }
}

/// One whole request; `None` at the end of the connection.
async fn read(stream: &mut TcpStream) -> Option<Seen> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(at) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break at;
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8(bytes[..end].to_vec()).expect("heads are text");
    let mut lines = head.lines();
    let call = lines.next()?.rsplit_once(' ')?.0.to_owned();
    let headers: HashMap<String, String> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
        .collect();
    let length = headers
        .get("content-length")
        .map_or(0, |length| length.parse().expect("a length is a number"));
    let mut body = bytes.split_off(end + 4);
    while body.len() < length {
        if stream.read_buf(&mut body).await.ok()? == 0 {
            return None;
        }
    }
    Some(Seen {
        call,
        headers,
        body,
    })
}
