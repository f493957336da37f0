//! The document and its plain sections: `[server]`, `[log]`, `[store]`, `[queue]`.
//!
//! A section is always read to its end. Where a value is missing or wrong the fault is noted and
//! a default stands in, so that the rest is checked too; a report with faults never becomes a
//! `Config`.
//! Not here: `[[apps]]` and `[[bots]]` (`apps`), `[[clients]]` (`clients`), `[[routes]]` and `[oncall]` (`routes`).

use std::collections::HashSet;
use std::hash::Hash;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::de::DeTable;

use super::fault::Report;
use super::read::{Given, Section, duration_within, number_within, parsed, size_within};
use super::{
    Config, Listen, Log, LogFormat, Queue, Server, StoreConfig, apps, clients, routes, values,
};

pub(super) const SECOND: Duration = Duration::from_secs(1);
pub(super) const MINUTE: Duration = Duration::from_secs(60);
pub(super) const DAY: Duration = Duration::from_secs(86_400);
pub(super) const TEN_YEARS: Duration = Duration::from_secs(10 * 365 * 86_400);

/// Numbers are stored as signed 64-bit integers.
pub(super) const NUMBER_MAX: u64 = i64::MAX as u64;

/// All bodies being parsed share this room; a larger one could never be taken.
const MAX_BODY_MOST: u64 = 64 << 20;
const MAX_BODY_LEAST: u64 = 64 << 10;
const MAX_BODY: u64 = 48 << 20;
const _: () = assert!(MAX_BODY_LEAST <= MAX_BODY && MAX_BODY <= MAX_BODY_MOST);

const RETENTION: Duration = Duration::from_secs(30 * 86_400);
const CONTENT_RETENTION: Duration = Duration::from_secs(7 * 86_400);
const GIVE_UP_AFTER: Duration = Duration::from_secs(3 * 86_400);
const MAX_PENDING: u64 = 1_000_000;
const SOCKET_MODE: u32 = 0o660;
const DATABASE: &str = "relay.db";

/// What every section may look at.
pub(super) struct Context<'a, 't> {
    pub(super) report: &'a Report<'t>,
    pub(super) folder: &'a Path,
    pub(super) env: &'a dyn Fn(&str) -> Option<String>,
}

/// Reads the whole document; what it returns is a config only if the report stayed clean.
pub(super) fn config<'t>(context: &Context<'_, 't>, file: &Path, document: DeTable<'t>) -> Config {
    let mut root = Section::root(context.report, document);
    let (server, listen) = server(context, root.table("server"));
    let log = log(context, root.table("log"));
    let store = store(context, root.table("store"));
    let queue = queue(root.table("queue"));
    let apps = apps::apps(context, &mut root);
    let bots = apps::bots(context, &mut root);
    let clients = clients::clients(context, &mut root, &apps);
    let oncall = routes::oncall(context, &mut root);
    let routes = routes::routes(context, &mut root, &apps, &oncall);
    root.finish();
    if clients.is_empty() {
        refuse_open_doors(&listen, context.report);
    }
    Config {
        file: file.to_owned(),
        server,
        log,
        store,
        queue,
        apps,
        bots,
        clients,
        routes,
        oncall,
        warnings: Vec::new(),
    }
}

/// Without clients whoever reaches the port may send, so only this machine may reach it.
fn refuse_open_doors(listen: &[Given<Listen>], report: &Report<'_>) {
    for given in listen {
        if let Listen::Tcp(address) = &given.value
            && !address.ip().is_loopback()
        {
            let message =
                format!("{address} is open to other machines; add [[clients]] with tokens first");
            report.fault(&given.at, message);
        }
    }
}

fn server(context: &Context<'_, '_>, mut section: Section<'_, '_>) -> (Server, Vec<Given<Listen>>) {
    let absent = (!section.has("listen")).then(|| Given {
        value: Listen::Tcp(SocketAddr::from(([127, 0, 0, 1], 8787))),
        at: section.at("listen"),
    });
    let mut listen = section.one_or_more("listen", parsed(values::listen));
    listen.extend(absent);
    let mut seen = Once::default();
    for given in &listen {
        seen.check(given, context.report, "is listened on twice");
    }
    let socket_mode = section.get("socket_mode", parsed(values::socket_mode));
    let max_body = section.get("max_body", size_within(MAX_BODY_LEAST, MAX_BODY_MOST));
    section.finish();
    let server = Server {
        listen: listen.iter().map(|given| given.value.clone()).collect(),
        socket_mode: value_or(socket_mode, SOCKET_MODE),
        max_body: value_or(max_body, MAX_BODY),
    };
    (server, listen)
}

fn log(context: &Context<'_, '_>, mut section: Section<'_, '_>) -> Log {
    let level = section.get("level", parsed(log_level));
    let format = section.get("format", parsed(log_format));
    section.finish();
    let usual = match (context.env)("JOURNAL_STREAM") {
        Some(_) => LogFormat::Json,
        None => LogFormat::Text,
    };
    Log {
        level: value_or(level, tracing::Level::INFO),
        format: value_or(format, usual),
    }
}

fn log_level(text: &str) -> Result<tracing::Level, String> {
    use tracing::Level;
    Ok(match text {
        "error" => Level::ERROR,
        "warn" => Level::WARN,
        "info" => Level::INFO,
        "debug" => Level::DEBUG,
        "trace" => Level::TRACE,
        _ => return Err(format!("{text:?} is not error, warn, info, debug or trace")),
    })
}

fn log_format(text: &str) -> Result<LogFormat, String> {
    match text {
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        _ => Err(format!("{text:?} is not text or json")),
    }
}

fn store(context: &Context<'_, '_>, mut section: Section<'_, '_>) -> StoreConfig {
    let path = section.get("path", parsed(file_path));
    let retention = section.get("retention", duration_within(DAY, TEN_YEARS));
    let content = section.get(
        "content_retention",
        duration_within(Duration::ZERO, TEN_YEARS),
    );
    section.finish();
    let retention = value_or(retention, RETENTION);
    if let Some(given) = content.as_ref().filter(|given| given.value > retention) {
        let rows = values::duration_text(retention);
        let message = format!("is longer than retention ({rows}); content goes before its row");
        context.report.fault(&given.at, message);
    }
    let path = value_or(path, PathBuf::from(DATABASE));
    StoreConfig {
        path: state_folder(context).join(path),
        retention,
        content_retention: value_or(content, CONTENT_RETENTION.min(retention)),
    }
}

/// The first folder of `$STATE_DIRECTORY` (systemd lists several with colons), else the config's.
fn state_folder(context: &Context<'_, '_>) -> PathBuf {
    let listed = (context.env)("STATE_DIRECTORY").unwrap_or_default();
    match listed.split(':').next() {
        Some(first) if !first.is_empty() => PathBuf::from(first),
        _ => context.folder.to_owned(),
    }
}

fn file_path(text: &str) -> Result<PathBuf, String> {
    if text.is_empty() || text.ends_with('/') {
        return Err(format!("{text:?} does not name a file"));
    }
    Ok(PathBuf::from(text))
}

fn queue(mut section: Section<'_, '_>) -> Queue {
    let max_pending = section.get("max_pending", number_within(1, NUMBER_MAX));
    let give_up_after = section.get("give_up_after", duration_within(MINUTE, TEN_YEARS));
    section.finish();
    Queue {
        max_pending: value_or(max_pending, MAX_PENDING),
        give_up_after: value_or(give_up_after, GIVE_UP_AFTER),
    }
}

/// The given value, else the default.
pub(super) fn value_or<T>(given: Option<Given<T>>, default: T) -> T {
    given.map_or(default, |given| given.value)
}

/// The values without their places.
pub(super) fn plain<T>(given: Vec<Given<T>>) -> Vec<T> {
    given.into_iter().map(|given| given.value).collect()
}

/// Notices a value that was there before.
#[derive(Debug)]
pub(super) struct Once<T>(HashSet<T>);

impl<T> Default for Once<T> {
    fn default() -> Self {
        Self(HashSet::new())
    }
}

impl<T: Clone + Eq + Hash> Once<T> {
    /// Notes `message` as a fault when the value was checked before.
    pub(super) fn check(&mut self, given: &Given<T>, report: &Report<'_>, message: &str) {
        if !self.0.insert(given.value.clone()) {
            report.fault(&given.at, message);
        }
    }
}
