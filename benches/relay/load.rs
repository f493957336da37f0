//! The producer, in a process of its own: floods, fills, as much in as comes out, and single messages whose way
//! to Feishu is timed.
//!
//! It answers one line of JSON to each line of JSON. Everything that is timed is timed here, on one clock:
//! for the way to Feishu it is also Feishu's door. What a job costs whoever takes it is looked at here too, at the
//! same moments.

use std::io::BufRead;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
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
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep, sleep_until, timeout, timeout_at};

use crate::common::process::{BenchError, file};
use crate::common::usage::{cpu_seconds, rss_anon_mib};
use crate::door::{Door, Messages};

/// Bytes of a job as it is posted.
const JOB_BYTES: usize = 600;
/// Chats of the sandbox's world.
pub(crate) const CHATS: u32 = 1000;
/// The longest that one message may take to Feishu's door.
const LOST: Duration = Duration::from_secs(60);
/// Jobs in one request of a fill.
const FILL_AT_ONCE: u64 = 1000;
/// Connections of a fill.
const FILLERS: u32 = 2;
/// The door is still when nothing came for so long.
const STILL: Duration = Duration::from_millis(200);

/// Where jobs go.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Goes {
    pub(crate) to: SocketAddr,
    /// Process of whoever takes them, whose time is counted.
    pub(crate) pid: u32,
    /// For how many chats they are, in turn.
    pub(crate) lanes: u32,
}

/// What the load can be asked.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Ask {
    /// Single jobs on that many connections, each with one in flight; what the first time brings is not counted.
    Flood {
        goes: Goes,
        connections: u32,
        warm_ms: u64,
        for_ms: u64,
    },
    /// So many single jobs, likewise.
    Some {
        goes: Goes,
        connections: u32,
        jobs: u32,
    },
    /// Opens Feishu's door; answers its address. Nobody behind it: it says yes itself.
    Door { feishu: Option<SocketAddr> },
    /// Single jobs, no more than come out at the door, and so many ahead of that. `held`: the relay is on hold
    /// before and afterwards.
    Through {
        goes: Goes,
        connections: u32,
        ahead: u32,
        held: bool,
        warm_ms: u64,
        for_ms: u64,
    },
    /// Jobs by lists.
    Fill { goes: Goes, jobs: u32 },
    /// Single messages to chats from `first` on, timed until they are at the door.
    Probe {
        to: SocketAddr,
        first: u32,
        messages: u32,
        every_ms: u64,
    },
    /// Single jobs, one each time that has passed; answers how much memory was held in the last quarter.
    Slowly {
        goes: Goes,
        jobs: u32,
        every_ms: u64,
    },
    /// Waits until nothing came to the door for a moment.
    Still,
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
    // The door stands open between questions; whoever posts has a runtime of its own, on one thread.
    let runtime = Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .map_err(file("a runtime"))?;
    let mut load = Load {
        runtime,
        door: None,
        next: Arc::default(),
    };
    for line in std::io::stdin().lock().lines() {
        let ask = serde_json::from_str(&line.map_err(file("a question"))?)?;
        let answer = load
            .answer(ask)
            .unwrap_or_else(|error| json!({"error": error.to_string()}));
        crate::say(&answer);
    }
    Ok(())
}

struct Load {
    runtime: Runtime,
    door: Option<Door>,
    /// Jobs so far: it says for whom the next one is.
    next: Arc<AtomicU64>,
}

impl Load {
    fn answer(&mut self, ask: Ask) -> Result<Value, BenchError> {
        let ms = Duration::from_millis;
        match ask {
            Ask::Flood {
                goes,
                connections,
                warm_ms,
                for_ms,
            } => {
                let look = Look::between(goes.pid, ms(warm_ms), ms(for_ms), None);
                alone()?.block_on(self.post(goes, connections, None).flood(look, false))
            }
            Ask::Through {
                goes,
                connections,
                ahead,
                held,
                warm_ms,
                for_ms,
            } => {
                let messages = Arc::clone(&self.door()?.messages);
                messages.room.forget_permits(usize::MAX >> 3);
                messages.room.add_permits(ahead as usize);
                let door = Some(Arc::clone(&messages));
                let look = Look::between(goes.pid, ms(warm_ms), ms(for_ms), door.clone());
                alone()?.block_on(self.post(goes, connections, door).flood(look, held))
            }
            Ask::Some {
                goes,
                connections,
                jobs,
            } => alone()?.block_on(self.post(goes, connections, None).some(jobs)),
            Ask::Fill { goes, jobs } => {
                alone()?.block_on(self.post(goes, FILLERS, None).fill(u64::from(jobs)))
            }
            Ask::Door { feishu } => {
                let opened = self.runtime.block_on(Door::open(feishu))?;
                let address = opened.address;
                self.door = Some(opened);
                Ok(json!({"address": address}))
            }
            Ask::Probe {
                to,
                first,
                messages,
                every_ms,
            } => {
                let door = self.door.as_mut().ok_or_else(no_door)?;
                self.runtime
                    .block_on(probe(door, to, first, messages, ms(every_ms)))
            }
            Ask::Slowly {
                goes,
                jobs,
                every_ms,
            } => alone()?.block_on(self.post(goes, 1, None).slowly(jobs, ms(every_ms))),
            Ask::Still => {
                let messages = &self.door()?.messages;
                self.runtime.block_on(still(messages));
                Ok(json!({}))
            }
            Ask::Post { to, path, body } => {
                self.runtime.block_on(once(to, &path, &body))?;
                Ok(json!({}))
            }
        }
    }

    fn door(&self) -> Result<&Door, BenchError> {
        self.door.as_ref().ok_or_else(no_door)
    }

    fn post(&self, goes: Goes, connections: u32, door: Option<Arc<Messages>>) -> Posts {
        Posts {
            goes,
            connections,
            next: Arc::clone(&self.next),
            door,
        }
    }
}

async fn once(to: SocketAddr, path: &str, body: &Value) -> Result<(), BenchError> {
    let mut relay = Connection::open(to).await?;
    relay.post(path, body.to_string().into()).await
}

fn no_door() -> BenchError {
    BenchError::Answer(String::from("there is no door"))
}

fn alone() -> Result<Runtime, BenchError> {
    let alone = Builder::new_current_thread().enable_all().build();
    alone.map_err(file("a runtime"))
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
pub(crate) fn job(to: u32, words: &str) -> String {
    let chat = chat(to);
    let head = format!("{{\"kind\":\"send\",\"args\":{{\"to\":\"{chat}\",\"text\":\"{words} ");
    let tail = "\"}}";
    let fill = JOB_BYTES.saturating_sub(head.len() + tail.len());
    format!("{head}{}{tail}", "x".repeat(fill))
}

/// For whom the n-th job is: every chat in turn, and neighbours in time are none by name.
fn lane(n: u64, lanes: u32) -> u32 {
    /// Has no factor with any number of chats that is asked for.
    const STEP: u64 = 2_654_435_769;
    u32::try_from(n.wrapping_mul(STEP) % u64::from(lanes.max(1))).unwrap_or(0)
}

/// What is looked at, from when until when.
struct Look {
    pid: u32,
    from: Instant,
    until: Instant,
    door: Option<Arc<Messages>>,
}

impl Look {
    fn between(pid: u32, warm: Duration, length: Duration, door: Option<Arc<Messages>>) -> Look {
        let from = Instant::now() + warm;
        Look {
            pid,
            from,
            until: from + length,
            door,
        }
    }

    /// Seconds, seconds on the processors, and messages at the door in between.
    async fn take(&self) -> (f64, f64, f64) {
        let now = || {
            let messages = self.door.as_ref().map_or(0, |door| door.count());
            (Instant::now(), cpu_seconds(self.pid), messages)
        };
        sleep_until(self.from.into()).await;
        let before = now();
        sleep_until(self.until.into()).await;
        let after = now();
        (
            after.0.duration_since(before.0).as_secs_f64(),
            after.1 - before.1,
            (after.2 - before.2) as f64,
        )
    }
}

/// Jobs that are posted in turn on several connections.
struct Posts {
    goes: Goes,
    connections: u32,
    next: Arc<AtomicU64>,
    /// Nothing is posted that has no room here.
    door: Option<Arc<Messages>>,
}

impl Posts {
    fn job(&self) -> Bytes {
        let n = self.next.fetch_add(1, Ordering::Relaxed);
        job(lane(n, self.goes.lanes), "load").into()
    }

    async fn flood(self, look: Look, held: bool) -> Result<Value, BenchError> {
        let (posts, look) = (Arc::new(self), Arc::new(look));
        let mut tasks = JoinSet::new();
        let hold = json!({"app": "ops"});
        if held {
            once(posts.goes.to, "/v1/resume", &hold).await?;
        }
        for _ in 0..posts.connections {
            let mut relay = Connection::open(posts.goes.to).await?;
            let (posts, look) = (Arc::clone(&posts), Arc::clone(&look));
            tasks.spawn(async move {
                let mut took_us = Vec::new();
                loop {
                    if let Some(door) = &posts.door {
                        match timeout_at(look.until.into(), door.room.acquire()).await {
                            Ok(Ok(room)) => room.forget(),
                            _ => break,
                        }
                    }
                    let began = Instant::now();
                    if began >= look.until {
                        break;
                    }
                    relay.post("/v1/jobs", posts.job()).await?;
                    if began >= look.from {
                        took_us.push(micros(began.elapsed()));
                    }
                }
                Ok::<_, BenchError>(took_us)
            });
        }
        let looks = Arc::clone(&look);
        let taken = tokio::spawn(async move { looks.take().await });
        let mut took_us = Vec::new();
        while let Some(ended) = tasks.join_next().await {
            took_us.append(&mut ended.map_err(stopped)??);
        }
        if held {
            once(posts.goes.to, "/v1/pause", &hold).await?;
        }
        let (seconds, cpu, messages) = taken.await.map_err(stopped)?;
        let posted = took_us.len() as f64;
        // No more comes in than goes out, and it may be less.
        let jobs = match look.door {
            Some(_) => f64::midpoint(posted, messages),
            None => posted,
        };
        Ok(json!({
            "per_second": posted / seconds,
            "delivered_per_second": messages / seconds,
            "cpu_us": cpu / jobs * 1e6,
            "ms": percentiles(&mut took_us),
        }))
    }

    async fn some(self, jobs: u32) -> Result<Value, BenchError> {
        let posts = Arc::new(self);
        let left = Arc::new(AtomicU64::new(u64::from(jobs)));
        let mut connections = Vec::new();
        for _ in 0..posts.connections {
            connections.push(Connection::open(posts.goes.to).await?);
        }
        let pid = posts.goes.pid;
        let (began, cpu) = (Instant::now(), cpu_seconds(pid));
        let mut tasks = JoinSet::new();
        for mut relay in connections {
            let (posts, left) = (Arc::clone(&posts), Arc::clone(&left));
            tasks.spawn(async move {
                while take_up_to(&left, 1) > 0 {
                    relay.post("/v1/jobs", posts.job()).await?;
                }
                Ok::<_, BenchError>(())
            });
        }
        while let Some(ended) = tasks.join_next().await {
            ended.map_err(stopped)??;
        }
        Ok(spent(began, cpu, pid, f64::from(jobs)))
    }

    async fn fill(self, jobs: u64) -> Result<Value, BenchError> {
        let posts = Arc::new(self);
        let left = Arc::new(AtomicU64::new(jobs));
        let pid = posts.goes.pid;
        let (began, cpu) = (Instant::now(), cpu_seconds(pid));
        let mut tasks = JoinSet::new();
        for _ in 0..posts.connections {
            let mut relay = Connection::open(posts.goes.to).await?;
            let (posts, left) = (Arc::clone(&posts), Arc::clone(&left));
            tasks.spawn(async move {
                loop {
                    let jobs = take_up_to(&left, FILL_AT_ONCE);
                    if jobs == 0 {
                        return Ok::<_, BenchError>(());
                    }
                    let first = posts.next.fetch_add(jobs, Ordering::Relaxed);
                    let list: Vec<String> = (first..first + jobs)
                        .map(|n| job(lane(n, posts.goes.lanes), "fill"))
                        .collect();
                    let list = format!("[{}]", list.join(","));
                    relay.post("/v1/jobs", list.into()).await?;
                }
            });
        }
        while let Some(ended) = tasks.join_next().await {
            ended.map_err(stopped)??;
        }
        Ok(spent(began, cpu, pid, jobs as f64))
    }

    /// What is most of it is what counts: memory comes and goes.
    async fn slowly(self, jobs: u32, every: Duration) -> Result<Value, BenchError> {
        let mut relay = Connection::open(self.goes.to).await?;
        let mut ticks = interval(every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut most = 0.0_f64;
        for n in 0..jobs {
            ticks.tick().await;
            relay.post("/v1/jobs", self.job()).await?;
            if n >= jobs / 4 * 3 && n % 10 == 0 {
                most = most.max(rss_anon_mib(self.goes.pid));
            }
        }
        Ok(json!({"rss_anon_mib": most}))
    }
}

/// Takes `most` of what is left, or what there is.
fn take_up_to(left: &AtomicU64, most: u64) -> u64 {
    let taken = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
        Some(left.saturating_sub(most))
    });
    taken.unwrap_or(0).min(most)
}

fn spent(began: Instant, cpu_before: f64, pid: u32, jobs: f64) -> Value {
    let (seconds, cpu) = (began.elapsed().as_secs_f64(), cpu_seconds(pid) - cpu_before);
    json!({"per_second": jobs / seconds, "cpu_us": cpu / jobs * 1e6})
}

fn stopped(error: tokio::task::JoinError) -> BenchError {
    BenchError::Answer(error.to_string())
}

async fn still(messages: &Messages) {
    let mut count = messages.count();
    loop {
        sleep(STILL).await;
        let now = messages.count();
        if now == count {
            return;
        }
        count = now;
    }
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
        let job = job(n % CHATS, &words);
        relay.post("/v1/jobs", job.into()).await?;
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

pub(crate) fn micros(time: Duration) -> u32 {
    u32::try_from(time.as_micros()).unwrap_or(u32::MAX)
}

/// Of those times, in milliseconds.
pub(crate) fn percentiles(took_us: &mut [u32]) -> Value {
    took_us.sort_unstable();
    let at = |share: f64| {
        let place = (took_us.len() as f64 * share) as usize;
        let one = took_us.get(place.min(took_us.len().saturating_sub(1)));
        f64::from(one.copied().unwrap_or(0)) / 1000.0
    };
    json!({"p50": at(0.5), "p99": at(0.99), "max": at(1.0)})
}
