//! The producer, in a process of its own: floods, fills, and single messages whose way to Feishu is timed.
//!
//! It answers one line of JSON to each line of JSON. Everything that is timed is timed here, on one clock:
//! for the way to Feishu it is also Feishu's door, through which the relay's calls pass to the sandbox.

use std::io::BufRead;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::common::process::{BenchError, file};
use crate::door::Door;

/// Bytes of a job as it is posted.
const JOB_BYTES: usize = 600;
/// Chats of the sandbox's world.
pub(crate) const CHATS: u32 = 1000;
/// The longest that one message may take to Feishu's door.
const LOST: Duration = Duration::from_secs(60);
/// Jobs in one request of a fill.
const FILL_AT_ONCE: u32 = 1000;

/// What the load can be asked.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Ask {
    /// Single jobs on that many connections, each with one in flight; what the first time brings is not counted.
    Flood {
        to: SocketAddr,
        connections: u32,
        warm_ms: u64,
        for_ms: u64,
    },
    /// Opens Feishu's door; answers its address.
    Door { feishu: SocketAddr },
    /// Jobs for one chat.
    Fill {
        to: SocketAddr,
        chat: u32,
        jobs: u32,
    },
    /// Single messages to chats from `first` on, timed until they are at the door.
    Probe {
        to: SocketAddr,
        first: u32,
        messages: u32,
        every_ms: u64,
    },
    /// A request with that body.
    Post {
        to: SocketAddr,
        path: String,
        body: Value,
    },
}

/// The id of a chat of the sandbox's world.
pub(crate) fn chat(n: u32) -> String {
    format!("oc_be0c{n:028}")
}

/// Answers line by line until nobody asks any more.
pub(crate) fn run() -> Result<(), BenchError> {
    // The door stands open between questions; a flood has a runtime of its own, on one thread.
    let runtime = Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .map_err(file("a runtime"))?;
    let mut door = None;
    for line in std::io::stdin().lock().lines() {
        let ask = serde_json::from_str(&line.map_err(file("a question"))?)?;
        let answer = answer(&runtime, &mut door, ask)
            .unwrap_or_else(|error| json!({"error": error.to_string()}));
        crate::say(&answer);
    }
    Ok(())
}

fn answer(runtime: &Runtime, door: &mut Option<Door>, ask: Ask) -> Result<Value, BenchError> {
    match ask {
        Ask::Flood {
            to,
            connections,
            warm_ms,
            for_ms,
        } => {
            let alone = Builder::new_current_thread().enable_all().build();
            let (warm, length) = (
                Duration::from_millis(warm_ms),
                Duration::from_millis(for_ms),
            );
            alone
                .map_err(file("a runtime"))?
                .block_on(flood(to, connections, warm, length))
        }
        Ask::Door { feishu } => {
            let opened = runtime.block_on(Door::open(feishu))?;
            let address = opened.address;
            *door = Some(opened);
            Ok(json!({"address": address}))
        }
        Ask::Fill { to, chat, jobs } => runtime.block_on(fill(to, chat, jobs)),
        Ask::Probe {
            to,
            first,
            messages,
            every_ms,
        } => {
            let door = door.as_mut();
            let door = door.ok_or_else(|| BenchError::Answer(String::from("there is no door")))?;
            let every = Duration::from_millis(every_ms);
            runtime.block_on(probe(door, to, first, messages, every))
        }
        Ask::Post { to, path, body } => runtime.block_on(async {
            let mut relay = Connection::open(to).await?;
            relay.post(&path, body.to_string().into()).await?;
            Ok(json!({}))
        }),
    }
}

/// A connection that is kept.
struct Connection {
    sender: SendRequest<Full<Bytes>>,
}

impl Connection {
    async fn open(to: SocketAddr) -> Result<Connection, BenchError> {
        let stream = TcpStream::connect(to).await.map_err(file(to.to_string()))?;
        stream.set_nodelay(true).map_err(file(to.to_string()))?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(Connection { sender })
    }

    /// Posts and reads the answer, which must be a good one.
    async fn post(&mut self, path: &str, body: Bytes) -> Result<(), BenchError> {
        let request = Request::builder()
            .method(Method::POST)
            .uri(path)
            .header("host", "localhost")
            .header("content-type", "application/json")
            .body(Full::new(body))
            .map_err(|error| BenchError::Answer(error.to_string()))?;
        self.sender.ready().await?;
        let answer = self.sender.send_request(request).await?;
        let status = answer.status();
        let text = answer.into_body().collect().await?.to_bytes();
        match status {
            StatusCode::ACCEPTED | StatusCode::OK => Ok(()),
            _ => Err(BenchError::Answer(format!(
                "{path}: {status} {}",
                String::from_utf8_lossy(&text)
            ))),
        }
    }
}

/// A job of `JOB_BYTES` for one of the chats.
fn job(to: u32, words: &str) -> Bytes {
    let chat = chat(to);
    let head = format!("{{\"kind\":\"send\",\"args\":{{\"to\":\"{chat}\",\"text\":\"{words} ");
    let tail = "\"}}";
    let fill = JOB_BYTES.saturating_sub(head.len() + tail.len());
    format!("{head}{}{tail}", "x".repeat(fill)).into()
}

async fn flood(
    to: SocketAddr,
    connections: u32,
    warm: Duration,
    length: Duration,
) -> Result<Value, BenchError> {
    let from = Instant::now() + warm;
    let until = from + length;
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..connections {
        let mut relay = Connection::open(to).await?;
        tasks.spawn(async move {
            let mut took_us = Vec::new();
            for count in 0_u32.. {
                let began = Instant::now();
                if began >= until {
                    break;
                }
                let chat = count.wrapping_mul(connections).wrapping_add(n) % CHATS;
                relay.post("/v1/jobs", job(chat, "load")).await?;
                if began >= from {
                    took_us.push(micros(began.elapsed()));
                }
            }
            Ok::<_, BenchError>(took_us)
        });
    }
    let mut took_us = Vec::new();
    while let Some(ended) = tasks.join_next().await {
        let ended = ended.map_err(|error| BenchError::Answer(error.to_string()))?;
        took_us.append(&mut ended?);
    }
    Ok(json!({
        "per_second": took_us.len() as f64 / length.as_secs_f64(),
        "ms": percentiles(&mut took_us),
    }))
}

async fn fill(to: SocketAddr, chat: u32, jobs: u32) -> Result<Value, BenchError> {
    let mut relay = Connection::open(to).await?;
    for begun in (0..jobs).step_by(FILL_AT_ONCE as usize) {
        let list: Vec<Value> = (begun..jobs.min(begun + FILL_AT_ONCE))
            .map(|_| serde_json::from_slice(&job(chat, "fill")))
            .collect::<Result<_, _>>()?;
        relay
            .post("/v1/jobs", Value::Array(list).to_string().into())
            .await?;
    }
    Ok(json!({}))
}

async fn probe(
    door: &mut Door,
    to: SocketAddr,
    first: u32,
    messages: u32,
    every: Duration,
) -> Result<Value, BenchError> {
    let mut relay = Connection::open(to).await?;
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut accepted_us, mut there_us) = (Vec::new(), Vec::new());
    for n in first..first + messages {
        ticks.tick().await;
        let words = door.words(n);
        let began = Instant::now();
        relay.post("/v1/jobs", job(n % CHATS, &words)).await?;
        accepted_us.push(micros(began.elapsed()));
        let there = timeout(LOST, door.there(n)).await.map_err(|_| {
            BenchError::Answer(format!(
                "message {n} did not reach Feishu's door in {LOST:?}"
            ))
        })?;
        there_us.push(micros(there.duration_since(began)));
    }
    Ok(
        json!({"accepted_ms": percentiles(&mut accepted_us), "there_ms": percentiles(&mut there_us)}),
    )
}

fn micros(time: Duration) -> u32 {
    u32::try_from(time.as_micros()).unwrap_or(u32::MAX)
}

/// Of those times, in milliseconds.
fn percentiles(took_us: &mut [u32]) -> Value {
    took_us.sort_unstable();
    let at = |share: f64| {
        let place = (took_us.len() as f64 * share) as usize;
        let one = took_us.get(place.min(took_us.len().saturating_sub(1)));
        f64::from(one.copied().unwrap_or(0)) / 1000.0
    };
    json!({"p50": at(0.5), "p99": at(0.99), "max": at(1.0)})
}
