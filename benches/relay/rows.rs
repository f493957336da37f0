//! What is measured: each function runs its programs in turn and gives rows of the table.
//!
//! A program is started afresh for each figure, on an empty database, and ends before the next one starts.
//! What is compared runs one after the other, again and again, so that both meet the same minute of the machine.
//! A new row is a function here and a line in `main`.

use std::path::PathBuf;

use serde_json::{Value, json};

use crate::common::process::{BenchError, Helper, Relay, Sandbox, folder};
use crate::common::quiet::{Beside, Look};
use crate::load::{Ask, CHATS, chat};
use crate::report::{Goal, Row};

/// The relay's app is on hold, so that nothing is sent.
const PAUSE: &str = "/v1/pause";
/// A disturbed figure is taken again so often.
const AGAIN: usize = 2;

/// How it is measured.
#[derive(Clone, Debug)]
pub(crate) struct Bench {
    pub(crate) relay: PathBuf,
    pub(crate) folder: PathBuf,
    pub(crate) runs: usize,
    pub(crate) quick: bool,
}

/// One measurement and what disturbed it.
pub(crate) struct Taken<T> {
    pub(crate) value: T,
    pub(crate) beside: Beside,
}

impl Bench {
    /// Measures; once more when others computed meanwhile, unless a quick look is enough.
    fn take<T>(&self, measure: impl Fn() -> Result<T, BenchError>) -> Result<Taken<T>, BenchError> {
        let tries = if self.quick { 0 } else { AGAIN };
        for left in (0..=tries).rev() {
            let look = Look::now();
            let value = measure()?;
            let beside = look.since();
            if beside.is_quiet() || left == 0 {
                return Ok(Taken { value, beside });
            }
        }
        Err(BenchError::Answer(String::from("nothing was measured")))
    }

    fn times(&self) -> (u64, u64) {
        if self.quick {
            (300, 1000)
        } else {
            (1000, 4000)
        }
    }
}

/// What the load answers to a flood.
#[derive(Clone, Copy)]
struct Flood {
    per_second: f64,
    p99_ms: f64,
}

impl Flood {
    fn of(answer: &Value) -> Flood {
        Flood {
            per_second: number(&answer["per_second"]),
            p99_ms: number(&answer["ms"]["p99"]),
        }
    }
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or(f64::NAN)
}

/// Durable jobs a second, beside the ceiling.
pub(crate) fn enqueue(bench: &Bench) -> Result<Vec<Row>, BenchError> {
    const CONNECTIONS: [(u32, f64); 4] = [(1, 0.85), (16, 0.80), (64, 0.80), (256, 0.80)];
    /// The slowest hundredth is looked at with so many connections.
    const P99_AT: u32 = 64;
    let mut rows = Vec::new();
    for (connections, share) in CONNECTIONS {
        let mut rate = Row::new(
            format!("enqueue, {connections} connections"),
            "jobs/s",
            "ceiling",
            Goal::ShareAtLeast(share),
        );
        let mut slowest = Row::new(
            format!("enqueue, {connections} connections, p99"),
            "ms",
            "ceiling",
            Goal::ShareAtMost(2.0),
        );
        for _ in 0..bench.runs {
            let ceiling = bench.take(|| ceiling(bench, connections))?;
            let relay = bench.take(|| held(bench, connections))?;
            let beside = [ceiling.beside, relay.beside];
            let (ceiling, relay) = (ceiling.value, relay.value);
            rate.add(Some(ceiling.per_second), relay.per_second, &beside);
            slowest.add(Some(ceiling.p99_ms), relay.p99_ms, &beside);
        }
        rows.push(rate);
        if connections == P99_AT {
            rows.push(slowest);
        }
    }
    Ok(rows)
}

fn ceiling(bench: &Bench, connections: u32) -> Result<Flood, BenchError> {
    let folder = folder(&bench.folder)?;
    let path = folder.path().to_string_lossy();
    let mut ceiling = Helper::start(&["ceiling", &path])?;
    let to = address(&ceiling.hear()?)?;
    flood(bench, to, connections)
}

/// The relay, its app on hold.
fn held(bench: &Bench, connections: u32) -> Result<Flood, BenchError> {
    let folder = folder(&bench.folder)?;
    // Nobody is there, and nobody is asked.
    let feishu = ([127, 0, 0, 1], 9).into();
    let relay = Relay::start(&bench.relay, folder.path(), feishu, false)?;
    let mut load = Helper::start(&["load"])?;
    load.ask(&Ask::Post {
        to: relay.address,
        path: PAUSE.to_owned(),
        body: json!({"app": "ops"}),
    })?;
    flood(bench, relay.address, connections)
}

fn flood(bench: &Bench, to: std::net::SocketAddr, connections: u32) -> Result<Flood, BenchError> {
    let (warm_ms, for_ms) = bench.times();
    let answer = Helper::start(&["load"])?.ask(&Ask::Flood {
        to,
        connections,
        warm_ms,
        for_ms,
    })?;
    Ok(Flood::of(&answer))
}

fn address(answer: &Value) -> Result<std::net::SocketAddr, BenchError> {
    Ok(serde_json::from_value(answer["address"].clone())?)
}

/// One message at a time through an idle relay, from the request to Feishu's door.
pub(crate) fn idle(bench: &Bench) -> Result<Vec<Row>, BenchError> {
    let row = |name: &str, goal| Row::new(name.to_owned(), "ms", "", goal);
    let mut half = row("idle, to Feishu's door, p50", Goal::AtMost(1.4));
    let mut slowest = row("idle, to Feishu's door, p99", Goal::AtMost(3.0));
    let mut accepted = row("idle, until it is accepted, p50", Goal::None);
    for _ in 0..bench.runs {
        let taken = bench.take(|| {
            let mut road = Road::open(bench, false)?;
            let (messages, every_ms) = if bench.quick { (100, 20) } else { (500, 20) };
            // What is done once (connections, the token, statements) is done by the first ones.
            road.probe(0, 20, every_ms)?;
            road.probe(20, messages, every_ms)
        })?;
        let (there, beside) = (&taken.value["there_ms"], [taken.beside]);
        half.add(None, number(&there["p50"]), &beside);
        slowest.add(None, number(&there["p99"]), &beside);
        accepted.add(None, number(&taken.value["accepted_ms"]["p50"]), &beside);
    }
    Ok(vec![half, slowest, accepted])
}

/// A message to another chat, while one chat has 100 000 queued, beside the same without them.
pub(crate) fn hot_chat(bench: &Bench) -> Result<Vec<Row>, BenchError> {
    const QUEUED: u32 = 100_000;
    let row = |which: &str, goal| {
        let name = format!("beside a chat with 100 000 queued, {which}");
        Row::new(name, "ms", "without", goal)
    };
    let mut half = row("p50", Goal::MoreAtMost(50.0));
    let mut slowest = row("p99", Goal::None);
    for _ in 0..bench.runs {
        let measure = |queued| {
            let mut road = Road::open(bench, true)?;
            if queued > 0 {
                road.fill(0, queued)?;
            }
            // With the five a second of the hot chat this stays below the app's 1000 a minute.
            let (messages, every_ms) = if bench.quick { (40, 120) } else { (250, 120) };
            road.probe(1, 20, every_ms)?;
            road.probe(21, messages, every_ms)
        };
        let without = bench.take(|| measure(0))?;
        let with = bench.take(|| measure(QUEUED))?;
        let beside = [without.beside, with.beside];
        for (row, which) in [(&mut half, "p50"), (&mut slowest, "p99")] {
            let at = |taken: &Taken<Value>| number(&taken.value["there_ms"][which]);
            row.add(Some(at(&without)), at(&with), &beside);
        }
    }
    Ok(vec![half, slowest])
}

/// Producer, relay and sandbox, each a process, and Feishu's door between the last two.
struct Road {
    load: Helper,
    relay: Relay,
    _sandbox: Sandbox,
    _folder: tempfile::TempDir,
}

impl Road {
    fn open(bench: &Bench, limits: bool) -> Result<Road, BenchError> {
        let folder = folder(&bench.folder)?;
        let sandbox = Sandbox::start(&bench.relay, folder.path(), &world(limits))?;
        let mut load = Helper::start(&["load"])?;
        let door = address(&load.ask(&Ask::Door {
            feishu: sandbox.address,
        })?)?;
        let relay = Relay::start(&bench.relay, folder.path(), door, limits)?;
        Ok(Road {
            load,
            relay,
            _sandbox: sandbox,
            _folder: folder,
        })
    }

    fn fill(&mut self, chat: u32, jobs: u32) -> Result<(), BenchError> {
        let to = self.relay.address;
        self.load.ask(&Ask::Fill { to, chat, jobs }).map(drop)
    }

    fn probe(&mut self, first: u32, messages: u32, every_ms: u64) -> Result<Value, BenchError> {
        self.load.ask(&Ask::Probe {
            to: self.relay.address,
            first,
            messages,
            every_ms,
        })
    }
}

/// The sandbox's world: the chats of the load, limits as Feishu has them or none.
fn world(limits: bool) -> Value {
    let chats: Vec<Value> = (0..CHATS)
        .map(|n| json!({"chat_id": chat(n), "name": format!("Bench {n}")}))
        .collect();
    let mut world = json!({"chats": chats});
    if !limits {
        world["limits"] =
            json!({"app_minute": 0, "app_second": 0, "chat_second": 0, "user_second": 0});
    }
    world
}
