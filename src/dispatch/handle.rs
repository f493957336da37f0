//! The dispatcher as others hold it: the store's `Permit`, the doors' `Gate`, a word for the loop.
//!
//! All of it works on `core`, under the one lock, and wakes the loop; nothing here waits but a call (`gate`).
//! Not here: the loop (`run`), who goes now (`core`).

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use feishu_im::Client;
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::dispatch::core::{AppPlace, Core};
use crate::dispatch::gate::Tally;
use crate::dispatch::pace::Limits;
use crate::dispatch::run::{millis, work};
use crate::dispatch::ways::{Bot, Bots};
use crate::job::{AppId, Head, Marked, Permit, Reach, Steer};
use crate::store::Store;

/// One app and the way to it.
#[derive(Clone, Debug)]
pub(crate) struct App {
    /// As the store numbers it.
    pub(crate) id: AppId,
    pub(crate) name: String,
    pub(crate) tenant: String,
    pub(crate) base_url: String,
    /// Calls a minute and a second, and to one receiver; 0 = off.
    pub(crate) limits: [u32; 4],
    pub(crate) timeout: Duration,
    /// Calls a month that its tenant's plan allows; 0 = unknown.
    pub(crate) month_quota: u64,
    pub(crate) client: Client,
}

/// The dispatcher: a `Permit` for the store, and a loop.
#[derive(Debug)]
pub(crate) struct Dispatcher {
    core: Mutex<Core>,
    pub(super) clock: Clock,
    pub(super) wake: Notify,
    newborn: mpsc::UnboundedSender<Vec<Marked>>,
    turns: AtomicU64,
    changed: mpsc::UnboundedSender<(usize, App)>,
    /// One for each app, in order.
    clients: Mutex<Vec<Client>>,
    /// Calls that are no jobs, not on disk yet.
    pub(super) tally: Tally,
    ways: Mutex<Bots>,
}

impl Permit for Dispatcher {
    fn grant(&self, head: &Head) -> bool {
        self.core().grant(head, self.clock.steady_ms())
    }

    fn withdraw(&self, heads: &[Head]) {
        let seqs: Vec<i64> = heads.iter().map(|head| head.seq).collect();
        self.core().give_back(&seqs, self.clock.steady_ms());
        self.wake.notify_one();
    }

    fn born(&self, marked: Vec<Marked>) {
        // Bounded by what `grant` allows under way. A loop that has ended leaves them marked: unknown
        // at the next start, like any mark without a result.
        if self.newborn.send(marked).is_err() {
            tracing::warn!("jobs were born while the dispatcher ended");
        }
    }

    fn stood(&self, heads: Vec<Head>) {
        let (wall_ms, steady_ms) = (self.clock.wall_ms(), self.clock.steady_ms());
        let mut core = self.core();
        for head in heads {
            core.stood(head, wall_ms);
        }
        if core.must_wake(wall_ms, steady_ms) {
            self.wake.notify_one();
        }
    }

    fn steered(&self, steers: Vec<Steer>) {
        self.core().steered(&steers, self.clock.steady_ms());
        self.wake.notify_one();
    }

    fn left(&self, lanes: Vec<(AppId, Box<str>)>) {
        self.core().left(lanes);
        self.wake.notify_one();
    }
}

impl Dispatcher {
    /// How often the loop has turned; it does at least once a second, whatever it waits for.
    pub(crate) fn turns(&self) -> u64 {
        self.turns.load(Ordering::Relaxed)
    }

    pub(super) fn turned(&self) {
        self.turns.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn core(&self) -> MutexGuard<'_, Core> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Dispatcher {
    /// Judges what an earlier process left, then hands out jobs until `stop`; then waits at most
    /// `drain` for attempts under way, and for the disk.
    ///
    /// Returns the dispatcher, for the store, and the loop.
    pub(crate) fn new(
        apps: Vec<App>,
        store: Store,
        clock: Clock,
    ) -> (
        Arc<Dispatcher>,
        impl Future<Output = ()> + Send,
        CancellationToken,
    ) {
        let (newborn, births) = mpsc::unbounded_channel();
        let (changed, changes) = mpsc::unbounded_channel();
        let mut core = Core::new(places(&apps));
        for (at, app) in apps.iter().enumerate() {
            core.set_quota(at, app.month_quota);
        }
        let core = Mutex::new(core);
        let clients = apps.iter().map(|app| app.client.clone()).collect();
        let dispatcher = Arc::new(Dispatcher {
            core,
            clock: clock.clone(),
            wake: Notify::new(),
            newborn,
            turns: AtomicU64::new(0),
            changed,
            clients: Mutex::new(clients),
            tally: Tally::default(),
            ways: Mutex::default(),
        });
        let stop = CancellationToken::new();
        let work = work(
            Arc::clone(&dispatcher),
            apps,
            store,
            clock,
            births,
            changes,
            stop.clone(),
        );
        (dispatcher, work, stop)
    }

    /// The app at this place of the config has other limits, another time-out or another client.
    pub(crate) fn change(&self, at: usize, app: App) {
        self.core().set_limits(at, limits(&app));
        self.core().set_quota(at, app.month_quota);
        self.clients()[at] = app.client.clone();
        // A loop that has ended sends nothing any more.
        let _ = self.changed.send((at, app));
        self.wake.notify_one();
    }

    /// The config names these custom bots now.
    pub(crate) fn set_bots(&self, bots: Vec<Bot>) {
        let mut core = self.core();
        let mut ways = self.ways();
        core.set_bots(&bots.iter().map(Bot::place).collect::<Vec<_>>());
        for name in ways.set(bots) {
            core.probe_bot(&name, self.clock.steady_ms());
        }
        drop((core, ways));
        self.wake.notify_one();
    }

    pub(super) fn ways(&self) -> MutexGuard<'_, Bots> {
        self.ways.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn clients(&self) -> MutexGuard<'_, Vec<Client>> {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Somebody changed something: what waits there for a fault to be mended is tried at once.
    pub(crate) fn probe(&self, reach: &Reach) {
        self.core().probe(reach, self.clock.steady_ms());
        self.wake.notify_one();
    }
}

fn limits(app: &App) -> Limits {
    let [app_minute, app_second, chat_second, user_second] = app.limits;
    Limits {
        app_minute,
        app_second,
        chat_second,
        user_second,
    }
}

fn places(apps: &[App]) -> Vec<AppPlace> {
    let number = |list: &mut Vec<String>, name: &str| match list.iter().position(|one| one == name)
    {
        Some(at) => at,
        None => {
            list.push(name.to_owned());
            list.len() - 1
        }
    };
    let (mut tenants, mut bases) = (Vec::new(), Vec::new());
    apps.iter()
        .map(|app| AppPlace {
            id: app.id,
            name: app.name.clone(),
            tenant: number(&mut tenants, &app.tenant),
            base: number(&mut bases, &app.base_url),
            limits: limits(app),
            timeout_ms: millis(app.timeout),
        })
        .collect()
}
