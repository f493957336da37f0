//! Start and stop, in order: store, doors, dispatcher; and back again.
//!
//! Jobs are taken as soon as the store is open, whether Feishu answers or not. A stop closes the doors
//! first, lets attempts under way end, writes what came of them, and closes the file last.
//! Not here: the command line (`cli`), what a config may say (`config`), what of it can change while
//! the daemon runs (`reload`).

mod reload;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use feishu_im::{Client, ClientOptions, Hook, HookOptions};
use secrecy::ExposeSecret;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::alerts::{Alerts, Cards};
use crate::clock::Clock;
use crate::config::Config;
use crate::dispatch::{App, Bot, Dispatcher};
pub use crate::http::Sockets;
use crate::http::{Doors, HttpState};
use crate::job::AppId;
use crate::store::{Budget, MonthOf, Options, Store, StoreError};
use crate::watchdog;
use reload::Reloader;

/// A file that moves the daemon's clock; for tests, and only while every Feishu is on loopback.
pub const TEST_CLOCK_VARIABLE: &str = "FEISHU_RELAY_TEST_CLOCK";
/// How long a stop waits for requests under way.
const DRAIN: Duration = Duration::from_secs(2);
/// A body that stands still for so long is given up. Source: contract, `timeout`.
const BODY_IDLE: Duration = Duration::from_secs(30);

/// Why the daemon did not start, or did not go on.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// The database cannot be used; nothing was changed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A socket cannot be opened.
    #[error("{0}")]
    Listen(String),
    /// The client of an app cannot be made.
    #[error("app {app:?}: {why}")]
    App {
        /// Which.
        app: String,
        /// Why.
        why: String,
    },
    /// The way to a custom bot cannot be made.
    #[error("bot {bot:?}: {why}")]
    Bot {
        /// Which.
        bot: String,
        /// Why.
        why: String,
    },
    /// Templates of cards are broken.
    #[error("{}", .0.join("\n"))]
    Templates(Vec<String>),
    /// The test clock was asked for beside a Feishu that is not on loopback.
    #[error("{TEST_CLOCK_VARIABLE} is for tests: {0:?} is not on loopback")]
    TestClock(String),
}

/// The daemon takes jobs.
#[derive(Debug, Clone)]
pub struct Ready {
    /// Where it listens: `127.0.0.1:8787`, `unix:/run/…`; real ports.
    pub addrs: Vec<String>,
}

/// What the daemon tells whoever runs it.
#[derive(Debug, Clone)]
pub enum News {
    /// It takes jobs.
    Ready(Ready),
    /// It begins to read its config again.
    Reloading,
    /// It is done with that, with whatever outcome; the log has it.
    Reloaded,
}

/// Seconds and minutes of the steady clock for the client's tokens.
#[derive(Debug)]
struct TokenClock(Clock);

impl feishu_im::Clock for TokenClock {
    fn now_ms(&self) -> i64 {
        self.0.steady_ms()
    }
}

/// Runs until `stop`. `ready` is told once jobs are taken.
///
/// # Errors
/// It did not start; nothing was changed.
pub async fn run(
    config: Config,
    ready: impl FnOnce(Ready),
    stop: CancellationToken,
) -> Result<(), DaemonError> {
    let mut ready = Some(ready);
    let tell = |news| {
        if let News::Ready(at) = news
            && let Some(ready) = ready.take()
        {
            ready(at);
        }
    };
    let (_never, reloads) = mpsc::channel(1);
    run_reloading(config, Sockets::none(), tell, |_| {}, reloads, stop).await
}

/// As `run`, on the sockets that were passed to the process, if there are any; and reads its config
/// again for each of `reloads`. `set_level` sets the log's.
///
/// # Errors
/// As `run`. A reload has none: what it could not do is logged, and what was in force stays.
pub async fn run_reloading(
    config: Config,
    sockets: Sockets,
    mut tell: impl FnMut(News),
    set_level: impl Fn(tracing::Level),
    mut reloads: mpsc::Receiver<()>,
    stop: CancellationToken,
) -> Result<(), DaemonError> {
    let clock = clock(&config)?;
    let names: Vec<String> = config.apps.iter().map(|app| app.name.clone()).collect();
    let clients = clients(&config, &clock)?;
    let cards = Cards::load(&config).map_err(DaemonError::Templates)?;
    let (store, closer) = Store::open(options(&config, &names), clock.clone()).await?;
    let doors = match Doors::open_up(sockets, &config).await {
        Ok(doors) => doors,
        Err(error) => {
            closer.close().await;
            return Err(DaemonError::Listen(error.to_string()));
        }
    };
    let (dispatcher, work, halt) = Dispatcher::new(
        apps(&config, &store, clients.clone()),
        store.clone(),
        clock.clone(),
    );
    dispatcher.set_bots(bots(&config, None)?);
    tokio::spawn(watchdog(&dispatcher, &store, &stop));
    store.attach(dispatcher.clone()).await?;
    let work = tokio::spawn(work);
    let alerts = Alerts::new(
        store.clone(),
        dispatcher.clone(),
        clock.clone(),
        &config,
        cards,
    );
    let alerts = Arc::new(alerts);
    let looks = tokio::spawn(Arc::clone(&alerts).run(stop.clone()));
    let state = HttpState::new(
        store.clone(),
        dispatcher.clone(),
        Arc::clone(&alerts),
        clock.clone(),
        &config,
    );
    let state = Arc::new(state);
    let addrs = doors.addrs();
    let serve = tokio::spawn(doors.serve(Arc::clone(&state), stop.clone(), DRAIN));
    tell(News::Ready(Ready { addrs }));
    let mut reloader = Reloader {
        running: config,
        clock,
        store,
        dispatcher,
        doors: state,
        alerts,
        clients,
    };
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            Some(()) = reloads.recv() => {
                tell(News::Reloading);
                reloader.reload(&set_level).await;
                tell(News::Reloaded);
            }
        }
    }
    ended("the doors", serve).await;
    ended("the alerts", looks).await;
    halt.cancel();
    ended("the dispatcher", work).await;
    closer.close().await;
    Ok(())
}

fn watchdog(
    dispatcher: &Arc<Dispatcher>,
    store: &Store,
    stop: &CancellationToken,
) -> impl Future<Output = ()> + Send + 'static {
    let (dispatcher, store) = (Arc::clone(dispatcher), store.clone());
    let answers = move || {
        let store = store.clone();
        async move { store.is_alive().await }
    };
    watchdog::run(move || dispatcher.turns(), answers, stop.clone())
}

async fn ended(what: &str, task: tokio::task::JoinHandle<()>) {
    if let Err(error) = task.await {
        tracing::error!("{what} ended badly: {error}");
    }
}

/// The machine's clocks, or those of a test; also for commands that work on the daemon's files.
///
/// # Errors
/// `TestClock`: a Feishu of the config is not on loopback.
pub fn clock(config: &Config) -> Result<Clock, DaemonError> {
    let Some(file) = std::env::var_os(TEST_CLOCK_VARIABLE) else {
        return Ok(Clock::system());
    };
    let apps = config.apps.iter().map(|app| (&app.name, &*app.base_url));
    let bots = (config.bots.iter()).map(|bot| (&bot.name, bot.url.expose_secret()));
    match apps.chain(bots).find(|(_, url)| !is_loopback(url)) {
        Some((name, _)) => Err(DaemonError::TestClock(name.clone())),
        None => Ok(Clock::moved_by(&PathBuf::from(file))),
    }
}

fn is_loopback(url: &str) -> bool {
    let host = url.split_once("://").map_or(url, |(_, rest)| rest);
    let host = host.split(['/', '?']).next().unwrap_or(host);
    let host = host
        .rsplit_once(':')
        .map_or(host, |(host, _)| host)
        .trim_matches(['[', ']']);
    host == "localhost"
        || host
            .parse::<std::net::IpAddr>()
            .is_ok_and(|addr| addr.is_loopback())
}

fn options(config: &Config, apps: &[String]) -> Options {
    Options {
        path: config.store.path.clone(),
        max_pending: config.queue.max_pending,
        give_up_ms: millis(config.queue.give_up_after),
        retention_ms: millis(config.store.retention),
        content_retention_ms: millis(config.store.content_retention),
        apps: apps.to_vec(),
        budgets: config.apps.iter().map(budget).collect(),
        months: config.apps.iter().map(month).collect(),
    }
}

fn month(app: &crate::config::App) -> MonthOf {
    MonthOf {
        tenant: app.tenant.clone(),
        quota: app.month_quota,
    }
}

fn budget(app: &crate::config::App) -> Budget {
    Budget {
        urgent_sms: app.budget.urgent_sms,
        urgent_phone: app.budget.urgent_phone,
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

fn clients(config: &Config, clock: &Clock) -> Result<Vec<Client>, DaemonError> {
    config.apps.iter().map(|app| client(app, clock)).collect()
}

fn client(app: &crate::config::App, clock: &Clock) -> Result<Client, DaemonError> {
    let options = ClientOptions {
        base_url: app.base_url.clone(),
        app_id: app.app_id.clone(),
        app_secret: app.app_secret.clone(),
        timeout: app.timeout,
        body_idle: BODY_IDLE,
        proxy: app.proxy.clone(),
        clock: Arc::new(TokenClock(clock.clone())),
    };
    Client::new(options).map_err(|error| DaemonError::App {
        app: app.name.clone(),
        why: error.to_string(),
    })
}

fn apps(config: &Config, store: &Store, clients: Vec<Client>) -> Vec<App> {
    let places = config.apps.iter().zip(store.apps()).zip(clients);
    places
        .map(|((app, (id, _)), client)| dispatched(app, *id, client))
        .collect()
}

/// The custom bots as the dispatcher takes them. `before`: those in force until now.
fn bots(config: &Config, before: Option<&[crate::config::Bot]>) -> Result<Vec<Bot>, DaemonError> {
    let one = |bot: &crate::config::Bot| {
        let options = HookOptions {
            url: bot.url.clone(),
            secret: bot.secret.clone(),
            timeout: bot.timeout,
            body_idle: BODY_IDLE,
            proxy: bot.proxy.clone(),
        };
        let hook = Hook::new(options).map_err(|error| DaemonError::Bot {
            bot: bot.name.clone(),
            why: error.to_string(),
        })?;
        let was = before.map(|before| before.iter().find(|one| one.name == bot.name));
        Ok(Bot {
            name: bot.name.clone(),
            timeout: bot.timeout,
            hook,
            // One that comes back may be stopped still since it was here last.
            changed: was.is_some_and(|was| was.is_none_or(|was| !reload::is_same_bot(was, bot))),
        })
    };
    config.bots.iter().map(one).collect()
}

/// An app as the dispatcher takes it.
fn dispatched(app: &crate::config::App, id: AppId, client: Client) -> App {
    App {
        id,
        name: app.name.clone(),
        tenant: app.tenant.clone(),
        base_url: app.base_url.clone(),
        limits: [
            app.limits.app_minute,
            app.limits.app_second,
            app.limits.chat_second,
            app.limits.user_second,
        ],
        timeout: app.timeout,
        month_quota: app.month_quota,
        client,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_counts_as_loopback() {
        for url in [
            "http://127.0.0.1:9797",
            "http://localhost",
            "http://[::1]:80/x",
            "http://127.9.9.9",
        ] {
            assert!(is_loopback(url), "{url}");
        }
        for url in [
            "https://open.feishu.cn",
            "http://127.0.0.1.example.org",
            "http://10.0.0.1",
            "http://localhost.example",
        ] {
            assert!(!is_loopback(url), "{url}");
        }
    }
}
