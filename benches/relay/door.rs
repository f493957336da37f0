//! Feishu's door: what the relay sends to the sandbox passes here, and the moment of each message is noted.
//!
//! The clock of the door is the producer's: no two clocks are compared, and the sandbox need not know of it.

use std::net::SocketAddr;
use std::time::Instant;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};

use crate::common::process::{BenchError, file};

/// What stands before the number of a message that is timed.
const WORD: &[u8] = b"probe-";
/// Digits of the number.
const DIGITS: usize = 8;

type Seen = (u32, Instant);

/// Open until it is dropped with its runtime.
#[derive(Debug)]
pub(crate) struct Door {
    pub(crate) address: SocketAddr,
    seen: UnboundedReceiver<Seen>,
}

impl Door {
    pub(crate) async fn open(feishu: SocketAddr) -> Result<Door, BenchError> {
        let listener = TcpListener::bind("127.0.0.1:0")
            .await
            .map_err(file("the door"))?;
        let address = listener.local_addr().map_err(file("the door"))?;
        let (tell, seen) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(pass(stream, feishu, tell.clone()));
            }
        });
        Ok(Door { address, seen })
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
    let _ = (relay.set_nodelay(true), feishu.set_nodelay(true));
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

/// The number of the message in those bytes. One that came in two pieces is not found, and never was so far:
/// a request of this size is written at once.
fn number(bytes: &[u8]) -> Option<u32> {
    let place = bytes.windows(WORD.len()).position(|word| word == WORD)?;
    let digits = bytes.get(place + WORD.len()..place + WORD.len() + DIGITS)?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}
