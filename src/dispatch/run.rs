//! The loop: who goes now is marked, then sent; what came of it is recorded; then the lane goes on.
//!
//! Everything that waits (the store, Feishu) is a task that reports back; the loop itself waits only
//! for reports, for time, and for the stop. While the store cannot write, results are kept and
//! offered again; nothing is marked, so nothing is sent.

use std::sync::Arc;
use std::time::Duration;

use feishu_im::Hook;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::dispatch::attempt::{self, Ended, Means};
use crate::dispatch::core::{Open, Told};
use crate::dispatch::gate;
use crate::dispatch::handle::{App, Dispatcher};
use crate::dispatch::lanes::{LaneName, Walk};
use crate::dispatch::month;
use crate::job::{AppId, Marked};
use crate::store::{End, Finish, LaneHead, Piece, Pulse, Store, StoreError};

/// Lanes in one piece of a walk.
const WALK: u32 = 256;
/// Results in one request to the store.
const RESULTS: usize = 256;
/// How long the store is left alone after it could not write.
const STORE_PAUSE: Duration = Duration::from_millis(250);
/// The longest window of an API looks back so far, the second it began in included.
const WINDOW: Duration = Duration::from_secs(61);
/// Lanes shown in status.
const LANES_SHOWN: usize = 100;

/// What a task reports.
#[derive(Debug)]
enum Report {
    Marked {
        asked: Vec<i64>,
        marked: Result<Vec<Marked>, StoreError>,
    },
    Ended(Box<Ended>),
    Recorded(Arc<[Finish]>, Result<(), StoreError>),
    Walked(Walk, Result<Piece, StoreError>),
    Read(Vec<LaneName>, Result<Vec<LaneHead>, StoreError>),
    Swept(Result<bool, StoreError>),
    Shown(Result<(), StoreError>),
    TakenBack(Result<(), StoreError>),
    Looked(usize, (bool, bool)),
    Tallied(gate::Tallied),
}

/// What the loop works with.
struct Loop {
    dispatcher: Arc<Dispatcher>,
    store: Store,
    clock: Clock,
    apps: Vec<App>,
    reports: mpsc::UnboundedSender<Report>,
    tasks: JoinSet<()>,
    /// Attempts ended, not yet on disk.
    results: Vec<Finish>,
    recording: bool,
    sweeping: bool,
    swept_ms: i64,
    showing: bool,
    tallying: bool,
    store_back_ms: i64,
    stopping: bool,
    /// Marks on their way back.
    taking_back: usize,
}

/// The loop, from its first look at the table to its end.
pub(super) async fn work(
    dispatcher: Arc<Dispatcher>,
    apps: Vec<App>,
    store: Store,
    clock: Clock,
    mut births: mpsc::UnboundedReceiver<Vec<Marked>>,
    mut changes: mpsc::UnboundedReceiver<(usize, App)>,
    stop: CancellationToken,
) {
    let (reports, mut inbox) = mpsc::unbounded_channel();
    let mut longest = apps.iter().map(|app| app.timeout).max().unwrap_or_default();
    let mut the = Loop {
        dispatcher,
        store,
        clock,
        apps,
        reports,
        tasks: JoinSet::new(),
        results: Vec::new(),
        recording: false,
        sweeping: false,
        swept_ms: i64::MIN / 2,
        showing: false,
        tallying: false,
        store_back_ms: i64::MIN,
        stopping: false,
        taking_back: 0,
    };
    if !the.begin(&stop).await {
        return;
    }
    loop {
        let sleep = the.turn();
        tokio::select! {
            Some(report) = inbox.recv() => {
                the.take(report);
                while let Ok(report) = inbox.try_recv() {
                    the.take(report);
                }
            }
            Some(marked) = births.recv() => the.launch(marked),
            Some((at, app)) = changes.recv() => {
                // Attempts under way keep the time-out they began with.
                longest = longest.max(app.timeout);
                the.apps[at] = app;
            }
            () = the.dispatcher.wake.notified() => {}
            () = tokio::time::sleep(sleep) => {}
            () = stop.cancelled() => break,
        }
        while the.tasks.try_join_next().is_some() {}
    }
    // The newborn whose attempts have not begun go back; those under way may end.
    the.stopping = true;
    the.dispatcher.core().stop();
    let mut back = Vec::new();
    while let Ok(marked) = births.try_recv() {
        back.extend(marked.iter().map(|one| (one.head.seq, one.attempt)));
        the.dispatcher.core().give_back(
            &marked.iter().map(|one| one.head.seq).collect::<Vec<_>>(),
            the.clock.steady_ms(),
        );
    }
    if let Err(error) = the.store.take_back(back).await {
        tracing::warn!(%error, "marks could not be taken back; their outcome counts as unknown");
    }
    let longest = longest.max(the.dispatcher.ways().longest());
    let deadline = tokio::time::Instant::now() + longest + Duration::from_secs(5);
    while the.busy() {
        the.record();
        tokio::select! {
            Some(report) = inbox.recv() => the.take(report),
            Some(marked) = births.recv() => the.take_back(marked).await,
            // A store that could not write is asked again.
            () = tokio::time::sleep(STORE_PAUSE) => {}
            () = tokio::time::sleep_until(deadline) => {
                tracing::warn!(attempts = the.dispatcher.core().in_flight(), "stopping with attempts under way; their outcome counts as unknown");
                break;
            }
        }
    }
    the.tasks.shutdown().await;
    gate::write_last(&the.dispatcher, &the.store).await;
}

impl Loop {
    /// Judges the marks of an earlier process and fills the windows with its calls. `false`: stopped
    /// meanwhile.
    async fn begin(&mut self, stop: &CancellationToken) -> bool {
        let mut open = Vec::new();
        let mut told = String::new();
        while let Err(error) = self.take_over(&mut open).await {
            self.dispatcher.turned();
            if told != error.to_string() {
                told = error.to_string();
                tracing::error!(%error, "what an earlier process left cannot be judged yet; trying on");
            }
            tokio::select! {
                () = tokio::time::sleep(STORE_PAUSE) => {}
                () = stop.cancelled() => return false,
            }
        }
        true
    }

    async fn take_over(&mut self, open: &mut Vec<Open>) -> Result<(), StoreError> {
        self.compare_clock().await?;
        while !self.judge_left(open).await? {}
        let past = self.store.past_calls(self.look_back()).await?;
        let reached = self.store.batches_today().await?;
        let month = self.store.month_start().await?;
        let (wall_ms, steady_ms) = (self.clock.wall_ms(), self.clock.steady_ms());
        let mut core = self.dispatcher.core();
        core.start_month(&month, &month::opened(&month, &self.apps));
        core.start(&past, open, &reached, wall_ms, steady_ms);
        Ok(())
    }

    /// A call may have reached Feishu a time-out after its mark, and counts from then.
    fn look_back(&self) -> Duration {
        let longest = self.apps.iter().map(|app| app.timeout).max();
        WINDOW
            + longest
                .max(Some(self.dispatcher.ways().longest()))
                .unwrap_or_default()
    }

    /// A wall clock behind the newest mark was set back: after a reboot nothing tells any more how old
    /// an attempt is.
    async fn compare_clock(&self) -> Result<(), StoreError> {
        let newest = self.store.past_calls(self.look_back()).await?;
        let newest_s = newest.iter().map(|past| past.second).max();
        if newest_s.is_some_and(|second| second * 1000 > self.clock.wall_ms()) {
            self.clock.found_behind();
        }
        Ok(())
    }

    /// One piece of what was left; `true`: nothing is.
    async fn judge_left(&mut self, open: &mut Vec<Open>) -> Result<bool, StoreError> {
        let left = self.store.left().await?;
        if left.is_empty() {
            return Ok(true);
        }
        let now = self.clock.now();
        let mut results = Vec::with_capacity(left.len());
        for left in &left {
            open.push(Open {
                head: left.marked.head.clone(),
                mark_ms: left.marked.mark.wall_ms,
            });
            let timeout = self
                .app(left.marked.head.app)
                .map_or(Duration::from_secs(10), |app| app.timeout);
            let ended = attempt::left(&left.marked, &now, millis(timeout));
            attempt::log(&left.marked, &ended);
            results.push(ended.finish);
        }
        self.store.finish(results.into()).await?;
        Ok(false)
    }

    fn app(&self, id: AppId) -> Option<&App> {
        self.apps.iter().find(|app| app.id == id)
    }

    fn busy(&self) -> bool {
        self.recording
            || self.taking_back > 0
            || !self.results.is_empty()
            || self.dispatcher.core().in_flight() > 0
    }

    /// Starts all that can start now. Returns how long there is nothing to do.
    fn turn(&mut self) -> Duration {
        let (wall_ms, steady_ms) = (self.clock.wall_ms(), self.clock.steady_ms());
        self.dispatcher.turned();
        self.record();
        self.sweep(steady_ms);
        if steady_ms >= self.store_back_ms {
            let seqs = self.dispatcher.core().pick(wall_ms, steady_ms);
            self.mark(seqs);
        } else {
            self.dispatcher.core().pick_calls(wall_ms, steady_ms);
        }
        self.tally(steady_ms);
        self.read(steady_ms);
        self.show(wall_ms, steady_ms);
        self.look(steady_ms);
        let spent = self.dispatcher.core().months_spent();
        month::say(&mut self.tasks, &self.store, &self.apps, spent);
        let next = self.dispatcher.core().rest(wall_ms, steady_ms);
        Duration::from_millis(next.unsigned_abs())
    }

    fn spawn(&mut self, task: impl Future<Output = Report> + Send + 'static) {
        let reports = self.reports.clone();
        self.tasks.spawn(async move {
            // The loop is gone only when nobody needs the report any more.
            let _ = reports.send(task.await);
        });
    }

    fn mark(&mut self, asked: Vec<i64>) {
        if asked.is_empty() {
            return;
        }
        let store = self.store.clone();
        self.spawn(async move {
            let marked = store.mark(asked.clone()).await;
            Report::Marked { asked, marked }
        });
    }

    fn launch(&mut self, marked: Vec<Marked>) {
        for marked in marked {
            let Some(app) = self.app(marked.head.app) else {
                continue;
            };
            let bot = self.dispatcher.ways().of(&marked.head);
            let timeout = bot.as_ref().map_or(app.timeout, |bot| bot.timeout);
            let means = Means {
                client: app.client.clone(),
                hook: bot.map(|bot| bot.hook),
                clock: self.clock.clone(),
                store: self.store.clone(),
                timeout_ms: millis(timeout),
            };
            self.spawn(async move {
                let ended = attempt::run(&means, &marked).await;
                attempt::log(&marked, &ended);
                Report::Ended(Box::new(ended))
            });
        }
    }

    async fn take_back(&mut self, marked: Vec<Marked>) {
        let marks = marked
            .iter()
            .map(|one| (one.head.seq, one.attempt))
            .collect();
        let seqs: Vec<i64> = marked.iter().map(|one| one.head.seq).collect();
        if let Err(error) = self.store.take_back(marks).await {
            tracing::warn!(%error, "marks could not be taken back; their outcome counts as unknown");
        }
        self.dispatcher
            .core()
            .give_back(&seqs, self.clock.steady_ms());
    }

    fn record(&mut self) {
        if self.recording || self.results.is_empty() || self.clock.steady_ms() < self.store_back_ms
        {
            return;
        }
        self.recording = true;
        let rest = self.results.split_off(self.results.len().min(RESULTS));
        let results: Arc<[Finish]> = std::mem::replace(&mut self.results, rest).into();
        let store = self.store.clone();
        self.spawn(async move {
            let done = store.finish(Arc::clone(&results)).await;
            Report::Recorded(results, done)
        });
    }

    fn sweep(&mut self, steady_ms: i64) {
        const GAP_MS: i64 = 500;
        if self.sweeping || steady_ms - self.swept_ms < GAP_MS || steady_ms < self.store_back_ms {
            return;
        }
        self.sweeping = true;
        self.swept_ms = steady_ms;
        self.dispatcher.core().prune(steady_ms);
        let store = self.store.clone();
        self.spawn(async move { Report::Swept(store.sweep().await) });
    }

    /// Reads lanes: those whose next job is not known, and those not seen yet.
    fn read(&mut self, steady_ms: i64) {
        if steady_ms < self.store_back_ms {
            return;
        }
        let (walk, names) = {
            let mut core = self.dispatcher.core();
            (core.next_walk(WALK, steady_ms), core.lanes.take_reads())
        };
        if let Some(walk) = walk
            && let Some(app) = self.apps.get(walk.app).map(|app| app.id)
        {
            tracing::trace!(app = walk.app, rank = walk.rank, "walks over lanes");
            let store = self.store.clone();
            self.spawn(async move {
                let found = store
                    .lanes_after(app, walk.rank, &walk.cursor, walk.limit)
                    .await;
                Report::Walked(walk, found)
            });
        }
        if !names.is_empty() {
            let lanes: Vec<(AppId, Box<str>)> = names
                .iter()
                .filter_map(|(app, lane)| Some((self.apps.get(*app)?.id, lane.clone())))
                .collect();
            let store = self.store.clone();
            self.spawn(async move {
                let heads = store.heads(&lanes).await;
                Report::Read(names, heads)
            });
        }
    }

    /// Shows what is stopped and who waits, once a second or when it changes.
    fn show(&mut self, wall_ms: i64, steady_ms: i64) {
        let mut core = self.dispatcher.core();
        if self.showing || !core.pauses_changed || steady_ms < self.store_back_ms {
            return;
        }
        core.pauses_changed = false;
        let pauses = core.stops(wall_ms, steady_ms);
        drop(core);
        self.showing = true;
        let store = self.store.clone();
        self.spawn(async move { Report::Shown(store.show_pauses(pauses).await) });
    }

    fn publish(&self) {
        let wall_ms = self.clock.wall_ms();
        let longest = self.dispatcher.core().lanes.longest(LANES_SHOWN, wall_ms);
        let lanes = longest
            .into_iter()
            .filter_map(|(app, lane, due)| Some((self.apps.get(app)?.id, lane, due)))
            .collect();
        self.store.publish(Pulse { lanes });
    }

    /// A kind that cannot be repeated waits for a read to be answered: one is made, at a breaker's gaps.
    fn look(&mut self, steady_ms: i64) {
        let wanted = self.dispatcher.core().reads_wanted(steady_ms);
        for at in wanted {
            if let Some(app) = self.apps.get(at) {
                let look = month::look(self.store.clone(), app.client.clone(), app.id);
                self.spawn(async move { Report::Looked(at, look.await) });
            } else if let Some(hook) = self.hook_at(at) {
                self.spawn(async move {
                    let answered = hook.knock().await.answer.is_ok();
                    Report::Looked(at, (answered, false))
                });
            } else {
                self.dispatcher.core().looked(at, false, false, steady_ms);
            }
        }
    }

    /// Writes down what calls that are no jobs have spent.
    fn tally(&mut self, steady_ms: i64) {
        if self.tallying || steady_ms < self.store_back_ms {
            return;
        }
        if let Some(writing) = gate::write_down(&self.dispatcher, &self.store) {
            self.tallying = true;
            self.spawn(async move { Report::Tallied(writing.await) });
        }
    }

    /// The bot of this place.
    fn hook_at(&self, place: usize) -> Option<Hook> {
        let name = self.dispatcher.core().lanes.bots.name(place).to_owned();
        self.dispatcher.ways().named(&name).map(|bot| bot.hook)
    }

    fn take(&mut self, report: Report) {
        let steady_ms = self.clock.steady_ms();
        match report {
            Report::Marked {
                asked,
                marked: Ok(marked),
            } => self.marked(&asked, marked, steady_ms),
            Report::Marked {
                asked,
                marked: Err(error),
            } => {
                self.store_failed(&error, steady_ms);
                self.dispatcher.core().give_back(&asked, steady_ms);
            }
            Report::Ended(ended) => self.ended(*ended, steady_ms),
            Report::Recorded(results, Ok(())) => {
                self.recording = false;
                let mut core = self.dispatcher.core();
                for result in results.iter() {
                    let head = &result.head;
                    core.recorded(head.app, &head.lane, head.seq, is_gone(result));
                }
            }
            Report::Recorded(results, Err(error)) => {
                self.recording = false;
                self.store_failed(&error, steady_ms);
                self.results.splice(0..0, results.iter().cloned());
            }
            Report::Walked(walk, Ok(found)) => {
                self.dispatcher
                    .core()
                    .walked(&walk, found, self.clock.wall_ms())
            }
            Report::Walked(walk, Err(error)) => {
                self.store_failed(&error, steady_ms);
                self.dispatcher.core().lanes.walk_failed(&walk);
            }
            Report::Read(_, Ok(heads)) => self.dispatcher.core().read(heads, self.clock.wall_ms()),
            Report::Read(names, Err(error)) => {
                self.store_failed(&error, steady_ms);
                self.dispatcher.core().lanes.read_failed(names);
            }
            Report::Swept(done) => {
                self.sweeping = false;
                match done {
                    Ok(true) => self.swept_ms = i64::MIN / 2,
                    Ok(false) => {}
                    Err(error) => self.store_failed(&error, steady_ms),
                }
                self.publish();
            }
            Report::Shown(done) => {
                self.showing = false;
                if let Err(error) = done {
                    self.store_failed(&error, steady_ms);
                    self.dispatcher.core().pauses_changed = true;
                }
            }
            Report::TakenBack(done) => {
                self.taking_back -= 1;
                if let Err(error) = done {
                    tracing::warn!(%error, "marks could not be taken back; their outcome counts as unknown");
                }
            }
            Report::Looked(app, (ok, counted)) => {
                self.dispatcher.core().looked(app, ok, counted, steady_ms)
            }
            Report::Tallied(done) => {
                self.tallying = false;
                if let Err((calls, error)) = done {
                    self.store_failed(&error, steady_ms);
                    self.dispatcher.tally.put_back(calls);
                }
            }
        }
    }

    fn marked(&mut self, asked: &[i64], marked: Vec<Marked>, steady_ms: i64) {
        let missing: Vec<i64> = asked
            .iter()
            .copied()
            .filter(|seq| !marked.iter().any(|one| one.head.seq == *seq))
            .collect();
        self.dispatcher.core().give_back(&missing, steady_ms);
        if !self.stopping {
            return self.launch(marked);
        }
        let store = self.store.clone();
        let seqs: Vec<i64> = marked.iter().map(|one| one.head.seq).collect();
        let marks = marked
            .iter()
            .map(|one| (one.head.seq, one.attempt))
            .collect();
        self.dispatcher.core().give_back(&seqs, steady_ms);
        self.taking_back += 1;
        self.spawn(async move { Report::TakenBack(store.take_back(marks).await) });
    }

    fn ended(&mut self, ended: Ended, steady_ms: i64) {
        let told = Told {
            judgement: &ended.judgement,
            msg: &ended.msg,
            refund: ended.refund,
            chat: ended.chat.as_deref(),
            made: ended.finish.made(),
            counted: ended.finish.counted.is_some(),
        };
        self.dispatcher
            .core()
            .answered(ended.finish.head.seq, &told, steady_ms);
        self.results.push(ended.finish);
    }

    fn store_failed(&mut self, error: &StoreError, steady_ms: i64) {
        tracing::debug!(%error, "the store does not answer; nothing is sent until it does");
        self.store_back_ms = steady_ms + millis(STORE_PAUSE);
    }
}

/// Does it surely stand in its lane no more? One that failed may go on with a new upload, and a batch
/// with its next part.
fn is_gone(result: &Finish) -> bool {
    result.part.is_none() && matches!(result.end, End::Done { .. })
}

pub(super) fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
