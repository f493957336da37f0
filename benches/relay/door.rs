//! Feishu's door: every call of the relay comes here, and the moment of each message is noted.
//!
//! Behind it stands a sandbox, or nobody: then the door itself says yes to each call, which costs as little as an
//! answer can. The clock of the door is the producer's: no two clocks are compared, and Feishu need not know of it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};

use crate::common::process::{BenchError, file};

/// What stands before the number of a message that is timed.
const WORD: &[u8] = b"probe-";
/// Digits of the number.
const DIGITS: usize = 8;
/// A call on that path asks for a token.
const TOKEN: &[u8] = b"tenant_access_token";

type Seen = (u32, Instant);

/// Open until it is dropped with its runtime.
#[derive(Debug)]
pub(crate) struct Door {
    pub(crate) address: SocketAddr,
    pub(crate) messages: Arc<Messages>,
    seen: UnboundedReceiver<Seen>,
}

/// Messages that the door itself took.
#[derive(Debug)]
pub(crate) struct Messages {
    count: AtomicU64,
    /// One for each that came: who wants as much to come in as goes out takes one before each job.
    pub(crate) room: Semaphore,
}

impl Messages {
    pub(crate) fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }
}

impl Door {
    /// `feishu`: who stands behind it, if anybody does.
    pub(crate) async fn open(feishu: Option<SocketAddr>) -> Result<Door, BenchError> {
        let listener = TcpListener::bind("127.0.0.1:0")
            .await
            .map_err(file("the door"))?;
        let address = listener.local_addr().map_err(file("the door"))?;
        let (tell, seen) = mpsc::unbounded_channel();
        let messages = Arc::new(Messages {
            count: AtomicU64::new(0),
            room: Semaphore::new(0),
        });
        let taken = Arc::clone(&messages);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let _ = stream.set_nodelay(true);
                let tell = tell.clone();
                match feishu {
                    Some(feishu) => drop(tokio::spawn(pass(stream, feishu, tell))),
                    None => drop(tokio::spawn(answer(stream, Arc::clone(&taken), tell))),
                }
            }
        });
        Ok(Door {
            address,
            messages,
            seen,
        })
    }

    /// By these words the message `n` is known.
    pub(crate) fn words(&self, n: u32) -> String {
        format!("probe-{n:08}")
    }

    /// When the message `n` was here.
    pub(crate) async fn there(&mut self, n: u32) -> Instant {
        while let Some((seen, at)) = self.seen.recv().await {
            if seen == n {
                return at;
            }
        }
        // Whoever tells lives as long as this.
        std::future::pending().await
    }
}

async fn pass(relay: TcpStream, feishu: SocketAddr, tell: UnboundedSender<Seen>) {
    let Ok(feishu) = TcpStream::connect(feishu).await else {
        return;
    };
    let _ = feishu.set_nodelay(true);
    let (mut from_relay, mut to_relay) = relay.into_split();
    let (mut from_feishu, mut to_feishu) = feishu.into_split();
    tokio::spawn(async move {
        let _ = tokio::io::copy(&mut from_feishu, &mut to_relay).await;
    });
    let mut bytes = vec![0; 64 << 10];
    while let Ok(n @ 1..) = from_relay.read(&mut bytes).await {
        let at = Instant::now();
        if let Some(number) = number(&bytes[..n]) {
            let _ = tell.send((number, at));
        }
        if to_feishu.write_all(&bytes[..n]).await.is_err() {
            return;
        }
    }
}

/// Says yes to call after call. One whose length is not told in its head ends the connection: none is.
async fn answer(mut relay: TcpStream, messages: Arc<Messages>, tell: UnboundedSender<Seen>) {
    let mut bytes = vec![0; 64 << 10];
    let mut held = 0;
    while let Ok(n @ 1..) = relay.read(&mut bytes[held..]).await {
        let at = Instant::now();
        if let Some(number) = number(&bytes[held..held + n]) {
            let _ = tell.send((number, at));
        }
        held += n;
        let mut begin = 0;
        while let Some((line, length)) = call(&bytes[begin..held]) {
            let yes = match find(line, TOKEN) {
                Some(_) => token(),
                None => {
                    let count = messages.count.fetch_add(1, Ordering::Relaxed);
                    messages.room.add_permits(1);
                    message(count)
                }
            };
            if relay.write_all(yes.as_bytes()).await.is_err() {
                return;
            }
            begin += length;
        }
        bytes.copy_within(begin..held, 0);
        held -= begin;
        if held == bytes.len() {
            return;
        }
    }
}

/// The first line of the call that begins here, and how many bytes all of it has, once all of it is here.
fn call(bytes: &[u8]) -> Option<(&[u8], usize)> {
    const LENGTH: &[u8] = b"\r\ncontent-length: ";
    let head = find(bytes, b"\r\n\r\n")?;
    let place = find(&bytes[..head], LENGTH)? + LENGTH.len();
    let digits = bytes[place..].split(|byte| *byte == b'\r').next()?;
    let body: usize = std::str::from_utf8(digits).ok()?.parse().ok()?;
    let whole = head + 4 + body;
    let line = find(bytes, b"\r\n")?;
    (bytes.len() >= whole).then(|| (&bytes[..line], whole))
}

fn token() -> String {
    yes(r#"{"code":0,"msg":"ok","tenant_access_token":"t-bench","expire":7200}"#)
}

/// As long as Feishu's own.
fn message(count: u64) -> String {
    yes(&format!(
        r#"{{"code":0,"msg":"success","data":{{"message_id":"om_{count:032x}","root_id":"","parent_id":"","msg_type":"text","create_time":"1700000000000","update_time":"1700000000000","deleted":false,"updated":false,"chat_id":"oc_be0c","sender":{{"id":"cli_5a9db0c5a9db0c5a","id_type":"app_id","sender_type":"app","tenant_key":"736588c9260f175e"}},"body":{{"content":"{{\"text\":\"bench\"}}"}}}}}}"#
    ))
}

fn yes(body: &str) -> String {
    format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json; charset=utf-8\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// The number of the message in those bytes. One that came in two pieces is not found, and never was so far:
/// a request of this size is written at once.
fn number(bytes: &[u8]) -> Option<u32> {
    let place = find(bytes, WORD)?;
    let digits = bytes.get(place + WORD.len()..place + WORD.len() + DIGITS)?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|here| here == what)
}
