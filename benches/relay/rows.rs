//! What is measured: each function runs its programs in turn and gives rows of the table.
//!
//! A program is started afresh for each figure, on an empty database, and ends before the next one starts.
//! What is compared runs one after the other, again and again, so that both meet the same minute of the machine.
//! A new row is a function here and a line in `main`.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::common::process::{BenchError, Helper, Relay, Sandbox, folder};
use crate::common::quiet::{Beside, Look};
use crate::load::{Ask, CHATS, Goes, chat};
use crate::report::{Goal, Row};

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
    /// One run only.
    pub(crate) fn once(&self) -> Bench {
        Bench {
            runs: 1,
            ..self.clone()
        }
    }

    /// Measures; once more when others computed meanwhile, unless a quick look is enough.
    pub(crate) fn take<T>(
        &self,
        measure: impl Fn() -> Result<T, BenchError>,
    ) -> Result<Taken<T>, BenchError> {
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

    pub(crate) fn times(&self) -> (u64, u64) {
        if self.quick { (300, 1000) } else { (500, 3000) }
    }

    /// Of what is measured again and again.
    pub(crate) fn short(&self) -> (u64, u64) {
        if self.quick { (200, 600) } else { (300, 1200) }
    }
}

/// What the load answers to a flood.
#[derive(Clone, Copy)]
pub(crate) struct Flood {
    pub(crate) per_second: f64,
    pub(crate) delivered_per_second: f64,
    /// Of the one that took the jobs, for each.
    pub(crate) cpu_us: f64,
    pub(crate) p99_ms: f64,
}

impl Flood {
    pub(crate) fn of(answer: &Value) -> Flood {
        Flood {
            per_second: number(&answer["per_second"]),
            delivered_per_second: number(&answer["delivered_per_second"]),
            cpu_us: number(&answer["cpu_us"]),
            p99_ms: number(&answer["ms"]["p99"]),
        }
    }
}

pub(crate) fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or(f64::NAN)
}

/// Durable jobs a second, beside the ceiling.
pub(crate) fn enqueue(bench: &Bench) -> Result<Vec<Row>, BenchError> {
    const CONNECTIONS: [(u32, f64); 4] = [(1, 0.85), (16, 0.80), (64, 0.80), (256, 0.80)];
    /// The slowest hundredth, and the time on the processors, are looked at with so many connections.
    const CLOSER_AT: u32 = 64;
    let mut rows = Vec::new();
    for (connections, share) in CONNECTIONS {
        let row = |what, unit, goal| {
            let s = if connections == 1 { "" } else { "s" };
            let name = format!("enqueue, {connections} connection{s}{what}");
            Row::new(name, unit, "ceiling", goal)
        };
        let mut rate = row("", "jobs/s", Goal::ShareAtLeast(share));
        let mut slowest = row(", p99", "ms", Goal::ShareAtMost(2.0));
        let mut cpu = row(", processors", "µs/job", Goal::Share);
        for _ in 0..bench.runs {
            let ceiling = bench.take(|| ceiling(bench, false, connections))?;
            let relay = bench.take(|| held(bench, connections))?;
            let lanes = bench.take(|| self::ceiling(bench, true, connections))?;
            let beside = [ceiling.beside, relay.beside, lanes.beside];
            for (row, figure) in [
                (&mut rate, (|flood| flood.per_second) as fn(Flood) -> f64),
                (&mut slowest, |flood| flood.p99_ms),
                (&mut cpu, |flood| flood.cpu_us),
            ] {
                row.add(Some(figure(ceiling.value)), figure(relay.value), &beside);
                row.add_lanes(figure(lanes.value));
            }
        }
        rows.push(rate);
        if connections == CLOSER_AT {
            rows.extend([slowest, cpu]);
        }
    }
    Ok(rows)
}

pub(crate) fn ceiling(bench: &Bench, lanes: bool, connections: u32) -> Result<Flood, BenchError> {
    let ceiling = Ceiling::start(bench, lanes, None)?;
    flood(bench, ceiling.goes(CHATS), connections)
}

/// The ceiling as a process, on an empty database.
pub(crate) struct Ceiling {
    address: SocketAddr,
    process: Helper,
    _folder: tempfile::TempDir,
}

impl Ceiling {
    /// `to`: where it delivers; none: it does not.
    pub(crate) fn start(
        bench: &Bench,
        lanes: bool,
        to: Option<SocketAddr>,
    ) -> Result<Ceiling, BenchError> {
        let folder = folder(&bench.folder)?;
        let (path, to) = (
            folder.path().to_string_lossy(),
            to.map(|to| format!("--to={to}")),
        );
        let mut args = vec!["ceiling", &path];
        args.extend(lanes.then_some("--lanes"));
        args.extend(to.as_deref());
        let mut process = Helper::start(&args)?;
        Ok(Ceiling {
            address: address(&process.hear()?)?,
            process,
            _folder: folder,
        })
    }

    /// The way to it, for so many chats.
    pub(crate) fn goes(&self, lanes: u32) -> Goes {
        Goes {
            to: self.address,
            pid: self.process.pid(),
            lanes,
        }
    }
}

/// The way to `relay`, for so many chats.
pub(crate) fn goes(relay: &Relay, lanes: u32) -> Goes {
    Goes {
        to: relay.address,
        pid: relay.process.pid(),
        lanes,
    }
}

/// The relay, its app on hold.
pub(crate) fn held(bench: &Bench, connections: u32) -> Result<Flood, BenchError> {
    let folder = folder(&bench.folder)?;
    // Nobody is there, and nobody is asked.
    let feishu = ([127, 0, 0, 1], 9).into();
    let relay = Relay::start(&bench.relay, folder.path(), feishu, false)?;
    hold(&mut Helper::start(&["load"])?, &relay)?;
    flood(bench, goes(&relay, CHATS), connections)
}

/// From here on nothing is sent.
pub(crate) fn hold(load: &mut Helper, relay: &Relay) -> Result<(), BenchError> {
    post(load, relay, "/v1/pause")
}

/// Sending goes on.
pub(crate) fn resume(load: &mut Helper, relay: &Relay) -> Result<(), BenchError> {
    post(load, relay, "/v1/resume")
}

fn post(load: &mut Helper, relay: &Relay, path: &str) -> Result<(), BenchError> {
    let ask = Ask::Post {
        to: relay.address,
        path: path.to_owned(),
        body: json!({"app": "ops"}),
    };
    load.ask(&ask).map(drop)
}

pub(crate) fn flood(bench: &Bench, goes: Goes, connections: u32) -> Result<Flood, BenchError> {
    let (warm_ms, for_ms) = bench.times();
    let answer = Helper::start(&["load"])?.ask(&Ask::Flood {
        goes,
        connections,
        warm_ms,
        for_ms,
    })?;
    Ok(Flood::of(&answer))
}

pub(crate) fn address(answer: &Value) -> Result<SocketAddr, BenchError> {
    Ok(serde_json::from_value(answer["address"].clone())?)
}

/// A load whose door says yes to each message itself, and the door's address.
pub(crate) fn load_with_door() -> Result<(Helper, SocketAddr), BenchError> {
    let mut load = Helper::start(&["load"])?;
    let door = address(&load.ask(&Ask::Door { feishu: None })?)?;
    Ok((load, door))
}

/// One message at a time through an idle relay, from the request to Feishu's door, and through the ceiling.
pub(crate) fn idle(bench: &Bench) -> Result<Vec<Row>, BenchError> {
    let row = |name: &str, goal| Row::new(name.to_owned(), "ms", "ceiling", goal);
    let mut half = row("idle, to Feishu's door, p50", Goal::AtMost(1.4));
    let mut slowest = row("idle, to Feishu's door, p99", Goal::AtMost(3.0));
    let mut accepted = row("idle, until it is accepted, p50", Goal::Share);
    for _ in 0..bench.runs {
        let ceiling = bench.take(|| {
            let (mut load, door) = load_with_door()?;
            let ceiling = Ceiling::start(bench, false, Some(door))?;
            singly(bench, &mut load, ceiling.address)
        })?;
        let relay = bench.take(|| {
            let folder = folder(&bench.folder)?;
            let (mut load, door) = load_with_door()?;
            let relay = Relay::start(&bench.relay, folder.path(), door, false)?;
            singly(bench, &mut load, relay.address)
        })?;
        let beside = [ceiling.beside, relay.beside];
        for (row, way, which) in [
            (&mut half, "there_ms", "p50"),
            (&mut slowest, "there_ms", "p99"),
            (&mut accepted, "accepted_ms", "p50"),
        ] {
            let at = |taken: &Taken<Value>| number(&taken.value[way][which]);
            row.add(Some(at(&ceiling)), at(&relay), &beside);
        }
    }
    Ok(vec![half, slowest, accepted])
}

fn singly(bench: &Bench, load: &mut Helper, to: SocketAddr) -> Result<Value, BenchError> {
    let (messages, every_ms) = if bench.quick { (100, 20) } else { (500, 20) };
    let mut probe = |first, messages| {
        load.ask(&Ask::Probe {
            to,
            first,
            messages,
            every_ms,
        })
    };
    // What is done once (connections, the token, statements) is done by the first ones.
    probe(0, 20)?;
    probe(20, messages)
}

/// Delivered a second while as much comes in, limits off.
pub(crate) fn delivered(bench: &Bench) -> Result<Vec<Row>, BenchError> {
    let row = |name: &str, unit, goal| Row::new(name.to_owned(), unit, "ceiling", goal);
    let mut rate = row(
        "delivered beside an equal inflow",
        "jobs/s",
        Goal::ShareAtLeast(0.75),
    );
    let mut cpu = row(
        "delivered beside an equal inflow, processors",
        "µs/job",
        Goal::Share,
    );
    for _ in 0..bench.runs {
        let ceiling = |lanes| {
            let (mut load, door) = load_with_door()?;
            let ceiling = Ceiling::start(bench, lanes, Some(door))?;
            through(bench, &mut load, ceiling.goes(CHATS), AHEAD)
        };
        let plain = bench.take(|| ceiling(false))?;
        let relay = bench.take(|| {
            let folder = folder(&bench.folder)?;
            let (mut load, door) = load_with_door()?;
            let relay = Relay::start(&bench.relay, folder.path(), door, false)?;
            through(bench, &mut load, goes(&relay, CHATS), AHEAD)
        })?;
        let lanes = bench.take(|| ceiling(true))?;
        let beside = [plain.beside, relay.beside, lanes.beside];
        for (row, figure) in [
            (
                &mut rate,
                (|flood| flood.delivered_per_second) as fn(Flood) -> f64,
            ),
            (&mut cpu, |flood| flood.cpu_us),
        ] {
            row.add(Some(figure(plain.value)), figure(relay.value), &beside);
            row.add_lanes(figure(lanes.value));
        }
    }
    Ok(vec![rate, cpu])
}

/// Jobs that may be accepted and not delivered yet, beside an equal inflow.
const AHEAD: u32 = 1000;

/// As much in as comes out at the door, from 16 producers.
pub(crate) fn through(
    bench: &Bench,
    load: &mut Helper,
    goes: Goes,
    ahead: u32,
) -> Result<Flood, BenchError> {
    let (warm_ms, for_ms) = bench.times();
    let answer = load.ask(&Ask::Through {
        goes,
        connections: 16,
        ahead,
        held: false,
        warm_ms,
        for_ms,
    })?;
    Ok(Flood::of(&answer))
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
                road.fill(queued)?;
            }
            // With the five a second of the hot chat this stays below the app's 1000 a minute.
            let (messages, every_ms) = if bench.quick { (40, 120) } else { (60, 120) };
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
            feishu: Some(sandbox.address),
        })?)?;
        let relay = Relay::start(&bench.relay, folder.path(), door, limits)?;
        Ok(Road {
            load,
            relay,
            _sandbox: sandbox,
            _folder: folder,
        })
    }

    /// Jobs for the first chat.
    fn fill(&mut self, jobs: u32) -> Result<(), BenchError> {
        let goes = goes(&self.relay, 1);
        self.load.ask(&Ask::Fill { goes, jobs }).map(drop)
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
