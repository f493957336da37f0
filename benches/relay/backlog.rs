//! What a long queue costs: time for each job, memory, and the time until the relay is ready.
//!
//! One relay is filled step by step, over one chat, a thousand, or one for each job; at each step it is measured
//! with that many queued: jobs that are only taken, then as many in as out. At the last step come memory, a start
//! after an orderly end, and one after `kill -9`. The ceilings go the same way as far as they can.
//!
//! Memory takes its time to be given back and hardly differs from run to run, and the ceiling with lanes is there to
//! explain: both are looked at in the first run only.

use std::path::Path;

use serde_json::Value;

use crate::common::process::{BenchError, Helper, Relay, folder};
use crate::common::quiet::{Beside, Look};
use crate::common::usage::rss_anon_mib;
use crate::growth::{Growth, many};
use crate::load::{Ask, CHATS};
use crate::report::{Goal, Row};
use crate::rows::{Bench, Ceiling, Flood, flood, goes, held, hold, load_with_door, number, resume};

/// Lengths of the queue at which it is measured.
const QUEUED: &[u32] = &[1_000, 10_000, 100_000, 1_000_000];
/// Likewise, for a look.
const QUEUED_QUICK: &[u32] = &[1_000, 10_000, 100_000];
/// Connections of whoever only enqueues.
const CONNECTIONS: u32 = 64;
/// Jobs by which the cost of taking one is measured: the queue is so much longer at the end of it.
const SOME: u32 = 8_000;
const _: () = assert!(QUEUED[0] + SOME <= QUEUED[1]);
/// Jobs come so slowly while memory is looked at.
const SLOWLY_MS: u64 = 20;

/// What one relay showed on its way from the first length to the last.
struct Grown {
    enqueue: Vec<Flood>,
    through: Vec<Flood>,
    memory: Option<Memory>,
    ready_ms: f64,
    ready_killed_ms: f64,
    log_mib: f64,
    rates: Option<Rates>,
}

/// MiB.
struct Memory {
    /// Of a relay with a short queue, while few jobs come and are sent.
    few: f64,
    /// Right after all that was measured.
    busy: f64,
    /// A while later, while few jobs come and are sent.
    steady: f64,
}

/// Jobs a second, with nothing queued and with all of it.
struct Rates {
    empty: f64,
    full: f64,
}

/// What is looked at beside the costs.
#[derive(Clone, Copy)]
struct Also {
    memory: bool,
    rates: bool,
}

/// Rows and growths, lanes by lanes.
pub(crate) fn backlog(bench: &Bench) -> Result<(Vec<Row>, Vec<Growth>), BenchError> {
    let queued = if bench.quick { QUEUED_QUICK } else { QUEUED };
    let mut found = Found::new(queued);
    for run in 0..bench.runs {
        found.add_relays(bench, queued, run == 0)?;
        found.add_ceiling(bench, queued)?;
        if run == 0 {
            found.add_ceiling_with_lanes(bench, queued)?;
        }
    }
    Ok(found.into_tables())
}

/// Everything that is found out, run by run.
struct Found {
    full: Row,
    ceiling_full: Row,
    ready: Row,
    killed: Row,
    log: Row,
    /// What follows is by lanes.
    memory: [Row; 3],
    busy: [Row; 3],
    relays: [Costs; 3],
    ceiling: Costs,
    with_lanes: [Costs; 2],
}

impl Found {
    fn new(queued: &'static [u32]) -> Found {
        let most = queued[queued.len() - 1];
        let all = many(most);
        let lanes = [1, CHATS, most];
        let enqueue = format!("{CONNECTIONS} connections, {all} queued");
        let ready = format!("ready with {all} queued");
        let row = |name: String, unit, goal| Row::new(name, unit, "", goal);
        let rate = |name: String, goal| Row::new(name, "jobs/s", "empty", goal);
        Found {
            full: rate(format!("enqueue, {enqueue}"), Goal::ShareAtLeast(0.75)),
            ceiling_full: rate(format!("the ceiling: {enqueue}"), Goal::Share),
            killed: row(format!("{ready}, after kill -9"), "ms", Goal::AtMost(100.0)),
            ready: row(ready, "ms", Goal::AtMost(50.0)),
            log: row(String::from("… log that was left"), "MiB", Goal::None),
            memory: lanes.map(|lanes| {
                let name = format!("RssAnon with {all} queued over {}", over(lanes));
                Row::new(name, "MiB", "with 1 k", Goal::AtMost(32.0))
            }),
            busy: lanes.map(|lanes| {
                let name = format!("… over {}, right after a fill and a flood", over(lanes));
                row(name, "MiB", Goal::None)
            }),
            relays: lanes.map(|lanes| Costs::new("relay", lanes, true, queued)),
            ceiling: Costs::new("ceiling", CHATS, false, queued),
            with_lanes: [CHATS, most]
                .map(|lanes| Costs::new("ceiling with lanes", lanes, false, queued)),
        }
    }

    fn add_relays(
        &mut self,
        bench: &Bench,
        queued: &[u32],
        memory: bool,
    ) -> Result<(), BenchError> {
        let mut all = Vec::new();
        for (place, costs) in self.relays.iter_mut().enumerate() {
            let rates = costs.lanes == CHATS;
            let look = Look::now();
            let grown = grow(bench, costs.lanes, queued, Also { memory, rates })?;
            let beside = look.since();
            costs.add(&grown.enqueue, &grown.through, beside);
            if let Some(memory) = &grown.memory {
                self.memory[place].add(Some(memory.few), memory.steady, &[beside]);
                self.busy[place].add(None, memory.busy, &[beside]);
            }
            if let Some(rates) = &grown.rates {
                self.full.add(Some(rates.empty), rates.full, &[beside]);
            }
            all.push((grown, beside));
        }
        let besides: Vec<Beside> = all.iter().map(|(_, beside)| *beside).collect();
        for (row, figure) in [
            (
                &mut self.ready,
                (|grown| grown.ready_ms) as fn(&Grown) -> f64,
            ),
            (&mut self.killed, |grown| grown.ready_killed_ms),
            (&mut self.log, |grown| grown.log_mib),
        ] {
            let worst = all.iter().map(|(grown, _)| figure(grown));
            row.add(None, worst.fold(0.0, f64::max), &besides);
        }
        Ok(())
    }

    fn add_ceiling(&mut self, bench: &Bench, queued: &[u32]) -> Result<(), BenchError> {
        let look = Look::now();
        let (enqueue, rates) = {
            let (ceiling, enqueue) = grow_ceiling(bench, false, CHATS, queued)?;
            let other = Ceiling::start(bench, false, None)?;
            let empty = flood(bench, other.goes(CHATS), CONNECTIONS)?.per_second;
            let full = flood(bench, ceiling.goes(CHATS), CONNECTIONS)?.per_second;
            (enqueue, Rates { empty, full })
        };
        let beside = look.since();
        self.ceiling.add(&enqueue, &[], beside);
        self.ceiling_full
            .add(Some(rates.empty), rates.full, &[beside]);
        Ok(())
    }

    fn add_ceiling_with_lanes(&mut self, bench: &Bench, queued: &[u32]) -> Result<(), BenchError> {
        for costs in &mut self.with_lanes {
            let look = Look::now();
            let (ceiling, enqueue) = grow_ceiling(bench, true, costs.lanes, queued)?;
            drop(ceiling);
            costs.add(&enqueue, &[], look.since());
        }
        Ok(())
    }

    fn into_tables(self) -> (Vec<Row>, Vec<Growth>) {
        let mut rows = vec![
            self.full,
            self.ceiling_full,
            self.ready,
            self.killed,
            self.log,
        ];
        rows.extend(self.memory);
        rows.extend(self.busy);
        let ceilings = [self.ceiling].into_iter().chain(self.with_lanes);
        let costs = self.relays.into_iter().chain(ceilings);
        (rows, costs.flat_map(Costs::into_growths).collect())
    }
}

fn over(lanes: u32) -> String {
    let s = if lanes == 1 { "" } else { "s" };
    format!("{} lane{s}", many(lanes))
}

/// What a job costs, of the clock and of the processors.
struct Costs {
    lanes: u32,
    enqueue: [Growth; 2],
    through: Option<[Growth; 2]>,
}

impl Costs {
    /// `through`: it also sends.
    fn new(who: &str, lanes: u32, through: bool, queued: &'static [u32]) -> Costs {
        let both = |what: &str, flat| {
            let over = over(lanes);
            [
                Growth::new(format!("{who}, {over}, {what}"), flat, queued),
                Growth::new(format!("… {what}, processors"), false, queued),
            ]
        };
        Costs {
            lanes,
            enqueue: both("taken", through),
            through: through.then(|| both("taken and sent", true)),
        }
    }

    fn add(&mut self, enqueue: &[Flood], through: &[Flood], beside: Beside) {
        let of = |floods: &[Flood], cost: fn(&Flood) -> f64| floods.iter().map(cost).collect();
        let [clock, processors] = &mut self.enqueue;
        clock.add(of(enqueue, |flood| 1e6 / flood.per_second), beside);
        processors.add(of(enqueue, |flood| flood.cpu_us), beside);
        if let Some([clock, processors]) = &mut self.through {
            clock.add(
                of(through, |flood| 1e6 / flood.delivered_per_second),
                beside,
            );
            processors.add(of(through, |flood| flood.cpu_us), beside);
        }
    }

    fn into_growths(self) -> Vec<Growth> {
        let through = self.through.into_iter().flatten();
        self.enqueue.into_iter().chain(through).collect()
    }
}

/// Memory with a short queue, all limits on.
fn few(bench: &Bench, lanes: u32) -> Result<f64, BenchError> {
    let folder = folder(&bench.folder)?;
    let (mut load, door) = load_with_door()?;
    let relay = Relay::start(&bench.relay, folder.path(), door, true)?;
    let goes = goes(&relay, lanes);
    let jobs = QUEUED[0];
    load.ask(&Ask::Fill { goes, jobs })?;
    steady(&mut load, &relay, lanes, if bench.quick { 50 } else { 100 })
}

/// What the relay holds while so many jobs come slowly and are sent.
fn steady(load: &mut Helper, relay: &Relay, lanes: u32, jobs: u32) -> Result<f64, BenchError> {
    let answer = load.ask(&Ask::Slowly {
        goes: goes(relay, lanes),
        jobs,
        every_ms: SLOWLY_MS,
    })?;
    Ok(number(&answer["rss_anon_mib"]))
}

fn grow(bench: &Bench, lanes: u32, queued: &[u32], also: Also) -> Result<Grown, BenchError> {
    let folder = folder(&bench.folder)?;
    let (mut load, door) = load_with_door()?;
    let start = |limits| Relay::start(&bench.relay, folder.path(), door, limits);
    let relay = start(false)?;
    hold(&mut load, &relay)?;
    let goes_there = goes(&relay, lanes);
    let (mut enqueue, mut through) = (Vec::new(), Vec::new());
    let mut there = 0;
    for queued in queued {
        let jobs = queued - there;
        load.ask(&Ask::Fill {
            goes: goes_there,
            jobs,
        })?;
        enqueue.push(taken(
            &mut load,
            &Ask::Some {
                goes: goes_there,
                connections: CONNECTIONS,
                jobs: SOME,
            },
        )?);
        // Afterwards: what is sent leaves a log behind that whoever comes next would be charged with.
        through.push(match there {
            // With so few queued those that were just taken would count for much.
            0 => passing_few(bench, lanes, *queued)?,
            _ => passing(bench, &mut load, &relay, lanes)?,
        });
        there = queued + SOME;
    }
    let rates = match also.rates {
        true => Some(Rates {
            empty: held(bench, CONNECTIONS)?.per_second,
            full: flood(bench, goes_there, CONNECTIONS)?.per_second,
        }),
        false => None,
    };
    let memory = match also.memory {
        true => Some(memory(bench, &mut load, &relay, lanes)?),
        false => None,
    };
    relay.process.stop()?;
    let relay = start(true)?;
    let ready_ms = relay.ready_after.as_secs_f64() * 1e3;
    flood(bench, goes(&relay, lanes), CONNECTIONS)?;
    // Dropped, it is killed.
    drop(relay);
    let log_mib = mib(&folder.path().join("relay.db-wal"));
    let ready_killed_ms = start(true)?.ready_after.as_secs_f64() * 1e3;
    Ok(Grown {
        enqueue,
        through,
        memory,
        ready_ms,
        ready_killed_ms,
        log_mib,
        rates,
    })
}

/// Feishu's limits are on from here on: without them the queue would be empty again at once.
fn memory(
    bench: &Bench,
    load: &mut Helper,
    relay: &Relay,
    lanes: u32,
) -> Result<Memory, BenchError> {
    let busy = rss_anon_mib(relay.process.pid());
    relay.limit()?;
    resume(load, relay)?;
    Ok(Memory {
        steady: steady(load, relay, lanes, if bench.quick { 250 } else { 2500 })?,
        busy,
        few: few(bench, lanes)?,
    })
}

/// The same in a database of its own, with so many queued.
fn passing_few(bench: &Bench, lanes: u32, queued: u32) -> Result<Flood, BenchError> {
    let folder = folder(&bench.folder)?;
    let (mut load, door) = load_with_door()?;
    let relay = Relay::start(&bench.relay, folder.path(), door, false)?;
    hold(&mut load, &relay)?;
    load.ask(&Ask::Fill {
        goes: goes(&relay, lanes),
        jobs: queued,
    })?;
    passing(bench, &mut load, &relay, lanes)
}

/// As much in as out, with the queue as long as it is; the relay is on hold before and afterwards.
fn passing(
    bench: &Bench,
    load: &mut Helper,
    relay: &Relay,
    lanes: u32,
) -> Result<Flood, BenchError> {
    let (warm_ms, for_ms) = bench.short();
    let ended = taken(
        load,
        &Ask::Through {
            goes: goes(relay, lanes),
            connections: 16,
            ahead: 0,
            held: true,
            warm_ms,
            for_ms,
        },
    )?;
    load.ask(&Ask::Still)?;
    Ok(ended)
}

fn taken(load: &mut Helper, ask: &Ask) -> Result<Flood, BenchError> {
    let answer: Value = load.ask(ask)?;
    Ok(Flood::of(&answer))
}

/// A ceiling that was filled, and what a job cost it on the way.
fn grow_ceiling(
    bench: &Bench,
    with_lanes: bool,
    lanes: u32,
    queued: &[u32],
) -> Result<(Ceiling, Vec<Flood>), BenchError> {
    let ceiling = Ceiling::start(bench, with_lanes, None)?;
    let goes = ceiling.goes(lanes);
    let mut load = Helper::start(&["load"])?;
    let (mut enqueue, mut there) = (Vec::new(), 0);
    for queued in queued {
        let jobs = queued - there;
        load.ask(&Ask::Fill { goes, jobs })?;
        enqueue.push(taken(
            &mut load,
            &Ask::Some {
                goes,
                connections: CONNECTIONS,
                jobs: SOME,
            },
        )?);
        there = queued + SOME;
    }
    Ok((ceiling, enqueue))
}

fn mib(path: &Path) -> f64 {
    let bytes = std::fs::metadata(path).map_or(0, |file| file.len());
    bytes as f64 / f64::from(1 << 20)
}
