//! One or many apps within Feishu's own limits, each with a backlog: what goes in a minute, and what it costs.
//!
//! Relay and sandbox are processes of their own, on the clock of the wall. What is counted comes from the
//! sandbox's ledger. The answers to messages take `TRIP_MS` at least, as a Feishu nearby would.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::common::process::{BenchError, Helper, Relay, Sandbox, file, folder};
use crate::common::usage::cpu_seconds;
use crate::load::{Ask, chat};
use crate::rows::Bench;

/// Of a call, there and back.
pub(crate) const TRIP_MS: u64 = 20;
/// Chats of each app: many enough that none of them is the limit.
const CHATS_EACH: u32 = 100;
/// The call of every message here.
const SEND: &str = "POST /open-apis/im/v1/messages";
const MINUTE_MS: i64 = 60_000;
/// Jobs in one request.
const AT_ONCE: u32 = 1000;
/// The backlog is still there when the last minute is over.
const MORE: u32 = 300;
/// What the sandbox may take for its ledger.
const PATIENCE: Duration = Duration::from_secs(120);

/// What came of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen {
    /// Calls in the least of the whole minutes, of the app that had the least.
    pub(crate) least: usize,
    /// Of all, in a second.
    pub(crate) per_second: f64,
    /// Of a hundred calls, those that Feishu refused for its windows.
    pub(crate) refused_percent: f64,
    /// Of one core: the relay, the sandbox.
    pub(crate) relay_percent: f64,
    pub(crate) sandbox_percent: f64,
}

/// Gives each of `apps` a backlog, lets them go, and counts over `minutes` whole minutes of Feishu's clock.
pub(crate) fn measure(bench: &Bench, apps: u32, minutes: u32) -> Result<Seen, BenchError> {
    let folder = folder(&bench.folder)?;
    let sandbox = Sandbox::start(&bench.relay, folder.path(), &world(apps))?;
    let feishu = sandbox.address;
    let config = |address| config(address, feishu, apps);
    let relay = Relay::with(&bench.relay, folder.path(), feishu, config)?;
    let mut load = Helper::start(&["load"])?;
    let slow = json!([{"call": SEND, "do": "delay", "when": "after", "ms": TRIP_MS}]);
    post(&mut load, sandbox.address, "/_sandbox/faults", slow)?;
    post(
        &mut load,
        relay.address,
        "/v1/pause",
        json!({"kind": "send"}),
    )?;
    for app in 0..apps {
        // One more minute, of which the last part passes before the first whole one.
        let backlog = 1000 * (minutes + 1) + MORE;
        for first in (0..backlog).step_by(AT_ONCE as usize) {
            let last = (first + AT_ONCE).min(backlog);
            let jobs: Vec<Value> = (first..last).map(|n| job(app, n)).collect();
            post(&mut load, relay.address, "/v1/jobs", Value::Array(jobs))?;
        }
    }
    let pids = [relay.process.pid(), sandbox.process.pid()];
    let cpu = || pids.map(cpu_seconds);
    post(&mut load, relay.address, "/v1/resume", json!({}))?;
    let now_ms = now_ms();
    let from_ms = (now_ms.div_euclid(MINUTE_MS) + 1) * MINUTE_MS;
    std::thread::sleep(Duration::from_millis((from_ms - now_ms).unsigned_abs()));
    let (before, began) = (cpu(), Instant::now());
    std::thread::sleep(Duration::from_secs(60 * u64::from(minutes)));
    let after = cpu();
    let taken_s = began.elapsed().as_secs_f64();
    let ledger = get(sandbox.address, "/_sandbox/ledger")?;
    let mut times: HashMap<&str, Vec<i64>> = HashMap::new();
    for effect in ledger["effects"].as_array().into_iter().flatten() {
        let at_ms = effect["at"].as_i64().unwrap_or(0);
        if effect["call"] == SEND && at_ms >= from_ms {
            let app = effect["app_id"].as_str().unwrap_or_default();
            times.entry(app).or_default().push(at_ms);
        }
    }
    let ended_ms = from_ms + i64::from(minutes) * MINUTE_MS;
    let counted = times.values().flatten().filter(|at| **at < ended_ms);
    let all = counted.count();
    let least = (0..apps).map(|app| {
        let mine = times.get(app_id(app).as_str());
        mine.map_or(0, |times| least_minute(times, from_ms, minutes))
    });
    let [relay_s, sandbox_s] = [0, 1].map(|who| after[who] - before[who]);
    Ok(Seen {
        least: least.min().unwrap_or(0),
        per_second: all as f64 / taken_s,
        refused_percent: refused_percent(&ledger),
        relay_percent: relay_s / taken_s * 100.0,
        sandbox_percent: sandbox_s / taken_s * 100.0,
    })
}

/// The fewest of `times` in any of `minutes` whole minutes of Feishu's clock from `from_ms` on.
fn least_minute(times: &[i64], from_ms: i64, minutes: u32) -> usize {
    let within = |minute: i64| {
        let minute_ms = from_ms + minute * MINUTE_MS;
        let mine = |at: &&i64| (minute_ms..minute_ms + MINUTE_MS).contains(*at);
        times.iter().filter(mine).count()
    };
    (0..i64::from(minutes)).map(within).min().unwrap_or(0)
}

fn refused_percent(ledger: &Value) -> f64 {
    let mut calls = ledger["calls"].as_array().into_iter().flatten();
    let send = calls.find(|row| row["call"] == SEND);
    let number = |name: &str| send.and_then(|row| row[name].as_f64()).unwrap_or(0.0);
    number("limited") / number("made").max(1.0) * 100.0
}

fn app_id(app: u32) -> String {
    format!("cli_be0c{app:012}")
}

fn job(app: u32, n: u32) -> Value {
    let to = chat(app * CHATS_EACH + n % CHATS_EACH);
    let text = format!("{n} {}", "x".repeat(200));
    json!({"kind": "send", "app": format!("app{app}"), "args": {"to": to, "text": text}})
}

/// The sandbox's world: Feishu's limits, and chats for each app.
fn world(apps: u32) -> Value {
    let app = |n| json!({"app_id": app_id(n), "app_secret": "bench"});
    let chats = (0..apps * CHATS_EACH).map(|n| json!({"chat_id": chat(n)}));
    json!({"apps": (0..apps).map(app).collect::<Vec<_>>(), "chats": chats.collect::<Vec<_>>()})
}

/// The relay's config: the same apps, each of a tenant of its own.
fn config(address: SocketAddr, feishu: SocketAddr, apps: u32) -> String {
    let head = format!(
        "[server]\nlisten = \"{address}\"\n[log]\nlevel = \"warn\"\n[store]\npath = \"relay.db\"\n\
         [queue]\nmax_pending = 4_000_000\n"
    );
    let app = |n| {
        format!(
            "[[apps]]\nname = \"app{n}\"\ntenant = \"tenant{n}\"\napp_id = \"{}\"\n\
             app_secret = \"bench\"\nbase_url = \"http://{feishu}\"\n",
            app_id(n)
        )
    };
    (0..apps).fold(head, |text, n| text + &app(n))
}

fn post(load: &mut Helper, to: SocketAddr, path: &str, body: Value) -> Result<(), BenchError> {
    let path = path.to_owned();
    load.ask(&Ask::Post { to, path, body }).map(drop)
}

/// An answer of a server that says how long it is.
fn get(to: SocketAddr, path: &str) -> Result<Value, BenchError> {
    let name = || to.to_string();
    let mut stream = TcpStream::connect(to).map_err(file(name()))?;
    let patience = stream.set_read_timeout(Some(PATIENCE));
    patience.map_err(file(name()))?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: {to}\r\nconnection: close\r\n\r\n");
    let sent = stream.write_all(request.as_bytes());
    sent.map_err(file(name()))?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).map_err(file(name()))?;
    let head = answer.windows(4).position(|four| four == b"\r\n\r\n");
    let body = head.and_then(|at| answer.get(at + 4..)).unwrap_or_default();
    Ok(serde_json::from_slice(body)?)
}

/// Unix milliseconds; the sandbox goes by the same clock.
fn now_ms() -> i64 {
    let since = std::time::UNIX_EPOCH.elapsed().unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
