//! What somebody would put durable jobs into instead: Redis and PostgreSQL beside the relay, in one run.
//!
//! Started by `benches/peers/run`. Each takes the same job of 600 bytes and says yes once it is on the disk, one in
//! flight on each connection. All run in turns, each on an empty folder of the same disk, and what is compared are
//! neighbours. Neither peer parses the job, gives it a lane or sends it: as little as a durable put can be.

mod servers;
mod table;
mod wire;

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::common::process::{BenchError, Helper};
use crate::rows::{self, Bench, Flood, Taken};
pub(crate) use servers::versions;
use servers::{Postgres, Redis};
use table::Line;
pub(crate) use table::{json, text};

/// Producers at once.
const PRODUCERS: [u32; 3] = [1, 16, 64];

/// Where the others' programs are.
#[derive(Clone, Debug, Args)]
pub(crate) struct Programs {
    /// The program redis-server.
    #[arg(long, value_name = "FILE")]
    pub(crate) redis: PathBuf,
    /// The folder of PostgreSQL's programs: initdb, postgres and pg_ctl.
    #[arg(long, value_name = "DIR")]
    pub(crate) postgres: PathBuf,
}

/// One flood of another server, in a process of its own.
#[derive(Clone, Debug, Args)]
pub(crate) struct Load {
    peer: Peer,
    to: SocketAddr,
    connections: u32,
    warm_ms: u64,
    for_ms: u64,
}

/// Who else takes jobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Peer {
    Redis,
    Postgres,
}

/// Floods and says in one line what came of it.
pub(crate) fn load(load: &Load) -> Result<(), BenchError> {
    crate::say(&wire::flood(load)?);
    Ok(())
}

/// Every line of the table.
pub(crate) fn measure(bench: &Bench, programs: &Programs) -> Result<Vec<Line>, BenchError> {
    let mut lines = Vec::new();
    for producers in PRODUCERS {
        let mut line = Line::new(producers);
        for _ in 0..bench.runs {
            line.add([
                bench.take(|| redis(bench, programs, producers))?,
                bench.take(|| postgres(bench, programs, producers))?,
                bench.take(|| rows::ceiling(bench, false, producers))?,
                bench.take(|| rows::held(bench, producers))?,
            ]);
        }
        lines.push(line);
    }
    Ok(lines)
}

fn redis(bench: &Bench, programs: &Programs, producers: u32) -> Result<Flood, BenchError> {
    let server = Redis::start(&programs.redis, &bench.folder)?;
    flood(bench, Peer::Redis, server.address, producers)
}

fn postgres(bench: &Bench, programs: &Programs, producers: u32) -> Result<Flood, BenchError> {
    let server = Postgres::start(&programs.postgres, &bench.folder)?;
    flood(bench, Peer::Postgres, server.address, producers)
}

fn flood(bench: &Bench, peer: Peer, to: SocketAddr, producers: u32) -> Result<Flood, BenchError> {
    let (warm_ms, for_ms) = bench.times();
    let name = peer.to_possible_value();
    let name = name.as_ref().map_or("", |name| name.get_name());
    let [to, producers, warm_ms, for_ms] = [
        to.to_string(),
        producers.to_string(),
        warm_ms.to_string(),
        for_ms.to_string(),
    ];
    let args = ["peer-load", name, &to, &producers, &warm_ms, &for_ms];
    Ok(Flood::of(&Helper::start(&args)?.hear()?))
}
