//! The only SQL: makes jobs durable, claims them, records what became of them.
//!
//! One task owns the one write connection (`writer`); whatever waits is written in one transaction
//! and answered after its commit. Readers have connections of their own.
//! Not here: when a job may run and what an answer means (`dispatch`), what may be asked (`http`).

mod accept;
mod act;
mod after;
mod alive;
mod backup;
mod counter;
mod damage;
mod day;
mod dependents;
mod doubt;
mod events;
mod face;
mod files;
mod find;
mod finish;
mod fold;
mod fresh;
mod heads;
mod health;
mod holders;
mod incidents;
mod insert;
mod keys;
mod mark;
mod measure;
mod month;
mod open;
mod openapis;
mod pause;
#[cfg(test)]
mod plans;
mod read;
mod reads;
mod receivers;
mod refuse;
mod restore;
mod script;
mod start;
mod status;
mod sweep;
mod tokens;
mod upload;
mod watch;
mod writer;

use std::path::PathBuf;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sqlx::sqlite::SqlitePool;
use tokio::sync::{Notify, mpsc, oneshot};

pub use self::backup::{Backup, Copied, CopyError, back_up};
pub use self::doubt::Case;
pub use self::events::{Event, Events, Gap, Heard, News};
pub use self::face::*;
pub use self::finish::{Counted, End, Finish, UnknownMove};
pub use self::heads::{Age, Cursor, LaneHead, Piece};
use self::health::Health;
pub use self::incidents::{IncidentError, IncidentFilter, IncidentPage, MEMBERS_MAX};
pub use self::mark::{Left, Past};
pub use self::openapis::{Said, SaidAnswer};
pub use self::pause::REASON_CHARS_MAX;
pub use self::restore::{Restored, restore};
pub use self::upload::{Incoming, Received};
pub use self::watch::Watch;
use self::watch::Watchers;
use self::writer::Request;
use crate::clock::Clock;
use crate::job::{AppId, Job, JobId, Marked, NewJob, Permit, Reach, Steer};
use crate::metrics::Metrics;

/// Requests that may wait for the writer; beyond, callers wait to hand theirs over.
const QUEUE: usize = 4096;

/// What the store must be told.
#[derive(Clone, Debug)]
pub struct Options {
    /// The database file.
    pub path: PathBuf,
    /// Unsettled jobs of producers, at most.
    pub max_pending: u64,
    /// How long a job without a deadline is tried, milliseconds.
    pub give_up_ms: i64,
    /// How long settled jobs stay, milliseconds.
    pub retention_ms: i64,
    /// How long their content stays, milliseconds.
    pub content_retention_ms: i64,
    /// Configured apps, in order.
    pub apps: Vec<String>,
    /// What each of them may spend a day, in the same order.
    pub budgets: Vec<Budget>,
    /// Where each of them counts its month, in the same order.
    pub months: Vec<MonthOf>,
}

/// People that an app may buzz a day, in ways that cost money.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// By SMS.
    pub urgent_sms: u32,
    /// By telephone.
    pub urgent_phone: u32,
}

/// The store. Clones share it.
#[derive(Clone, Debug)]
pub struct Store {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    requests: mpsc::Sender<Request>,
    asks: mpsc::Sender<alive::Asked>,
    readers: SqlitePool,
    path: PathBuf,
    clock: Clock,
    watchers: Arc<Watchers>,
    health: Arc<Health>,
    /// Jobs finished before this time may be gone.
    purged_ms: Arc<AtomicI64>,
    hub: Arc<events::Hub>,
    /// What the ids of this database's events begin with.
    epoch: String,
    token_key: Vec<u8>,
    max_pending: AtomicU64,
    months: Mutex<Vec<MonthOf>>,
    apps: Vec<(AppId, String)>,
    pulse: Mutex<Pulse>,
    metrics: Arc<Metrics>,
    holds: Arc<upload::Holds>,
    incidents: Arc<Notify>,
}

/// What the dispatcher sees of the lanes, for status.
#[derive(Clone, Debug, Default)]
pub struct Pulse {
    /// Lanes that wait longest, with when their head fell due; longest first.
    pub lanes: Vec<(AppId, Box<str>, i64)>,
}

/// Ends the writer; what was handed to it before is written.
#[derive(Debug)]
pub struct Closer {
    stop: oneshot::Sender<()>,
    task: tokio::task::JoinHandle<()>,
    readers: SqlitePool,
}

impl Closer {
    /// Waits until everything handed over is on disk and the file is closed.
    pub async fn close(self) {
        // Readers first: the last connection to close takes the log with it.
        self.readers.close().await;
        let _ = self.stop.send(());
        if self.task.await.is_err() {
            tracing::error!("the writer ended in a panic; what it had not answered is not stored");
        }
    }
}

impl Store {
    /// Opens the database and starts its writer. Jobs are taken at once; nothing is dispatched yet.
    ///
    /// # Errors
    /// `Unusable`: say it and exit; nothing was changed.
    pub async fn open(options: Options, clock: Clock) -> Result<(Store, Closer), StoreError> {
        let opened = open::open(&options.path).await?;
        let (requests, inbox) = mpsc::channel(QUEUE);
        let (asks, asked) = mpsc::channel(1);
        let (stop, stopped) = oneshot::channel();
        let watchers = Arc::new(Watchers::default());
        let health = Arc::new(Health::new(&opened.path));
        let purged_ms = Arc::new(AtomicI64::new(0));
        let hub = Arc::new(events::Hub::default());
        let metrics = Arc::<Metrics>::default();
        let readers = opened.readers.clone();
        let max_pending = options.max_pending;
        let months = Mutex::new(options.months.clone());
        let path = opened.path.clone();
        let holds = Arc::<upload::Holds>::default();
        let incidents = Arc::<Notify>::default();
        let writer = writer::Writer::new(
            opened,
            options,
            writer::Seams {
                clock: clock.clone(),
                watchers: Arc::clone(&watchers),
                health: Arc::clone(&health),
                purged_ms: Arc::clone(&purged_ms),
                hub: Arc::clone(&hub),
                metrics: Arc::clone(&metrics),
                holds: Arc::clone(&holds),
                incidents: Arc::clone(&incidents),
            },
        )
        .await?;
        let apps = writer.apps();
        let epoch = events::epoch(&readers).await;
        let epoch = epoch.map_err(|error| open::unusable(&path, &error))?;
        let token_key = tokens::key(&readers).await;
        let token_key = token_key.map_err(|error| open::unusable(&path, &error))?;
        let cleared = upload::clear(&path, &readers).await;
        cleared.map_err(|error| open::unusable(&path, &error))?;
        let task = tokio::spawn(writer.run(inbox, asked, stopped));
        // Without it the first success after a restart would be the first there ever was.
        match status::last_successes(&readers).await {
            Ok(last) => last
                .iter()
                .for_each(|(app, ms)| metrics.succeeded(app, *ms)),
            Err(error) => tracing::warn!(%error, "the last successes could not be read"),
        }
        let shared = Shared {
            requests,
            asks,
            readers: readers.clone(),
            path,
            clock,
            watchers,
            health,
            purged_ms,
            hub,
            epoch,
            token_key,
            max_pending: AtomicU64::new(max_pending),
            months,
            apps,
            pulse: Mutex::default(),
            metrics,
            holds,
            incidents,
        };
        Ok((
            Store {
                shared: Arc::new(shared),
            },
            Closer {
                stop,
                task,
                readers,
            },
        ))
    }

    /// What was counted since the start.
    pub(crate) fn metrics(&self) -> &Metrics {
        &self.shared.metrics
    }

    /// Hands the dispatcher to the writer: from now on free jobs may be born marked.
    pub async fn attach(&self, permit: Arc<dyn Permit>) -> Result<(), StoreError> {
        self.ask(|reply| Request::Attach(permit, reply)).await
    }

    /// The store's number of each configured app, in the order of the config.
    pub fn apps(&self) -> &[(AppId, String)] {
        &self.shared.apps
    }

    /// Makes `jobs` durable, all or none; returns once they are on disk.
    ///
    /// # Errors
    /// Nothing was stored. `Full`: try later. `KeyTaken`, `Flawed`: the request is wrong. `Store`: try again.
    pub async fn accept(&self, jobs: Vec<NewJob>) -> Result<Vec<Accepted>, AcceptError> {
        // Held until the answer is there: then a job needs them, or they go.
        let (jobs, _held) = self.keep_uploads(jobs).await?;
        let (reply, answer) = oneshot::channel();
        self.hand(Request::Accept(jobs, reply)).await?;
        answer.await.map_err(|_| gone())?
    }

    async fn keep_uploads(
        &self,
        jobs: Vec<NewJob>,
    ) -> Result<(Vec<NewJob>, Vec<upload::Hold>), StoreError> {
        if !jobs.iter().any(upload::has_upload) {
            return Ok((jobs, Vec::new()));
        }
        let (path, holds) = (self.shared.path.clone(), Arc::clone(&self.shared.holds));
        upload::aside(self, move || {
            let mut held = Vec::new();
            for upload in jobs.iter().flat_map(upload::uploads) {
                held.push(upload::Hold::new(&holds, upload::name(upload)));
                upload::keep(&path, upload)?;
            }
            Ok((jobs, held))
        })
        .await
    }

    /// Takes bytes that come in piece by piece, for a job that is not there yet.
    ///
    /// # Errors
    /// The disk does not take them.
    pub async fn receive(&self) -> Result<Incoming, StoreError> {
        Incoming::begin(self).await
    }

    /// Where the bytes of that hash are.
    pub fn upload_path(&self, sha256: &str) -> PathBuf {
        upload::path(&self.shared.path, sha256)
    }

    /// Marks those of `seqs` that are still queued and due as `sending`, and counts their calls.
    ///
    /// Returns those marked; one canceled or expired meanwhile is left out.
    ///
    /// # Errors
    /// Nothing was marked: send nothing.
    pub async fn mark(&self, seqs: Vec<i64>) -> Result<Vec<Marked>, StoreError> {
        self.ask(|reply| Request::Mark(seqs, reply)).await
    }

    /// Records how attempts ended. A result whose mark is not the newest any more changes nothing.
    ///
    /// # Errors
    /// Nothing was recorded; keep the results and ask again.
    pub async fn finish(&self, results: Arc<[Finish]>) -> Result<(), StoreError> {
        self.ask(|reply| Request::Finish(results, reply)).await
    }

    /// Takes marks back whose attempts never began: `(seq, attempt)`.
    ///
    /// # Errors
    /// The marks stand; after a restart their outcome counts as unknown.
    pub async fn take_back(&self, marks: Vec<(i64, i64)>) -> Result<(), StoreError> {
        self.ask(|reply| Request::TakeBack(marks, reply)).await
    }

    /// Lets jobs whose time has come into their lanes, ends those past their deadline, and drops
    /// what is kept long enough. Returns whether there is more to do at once.
    ///
    /// # Errors
    /// Nothing changed; ask again.
    pub async fn sweep(&self) -> Result<bool, StoreError> {
        self.ask(Request::Sweep).await
    }

    /// Replaces the relay's own pauses, for those who look.
    ///
    /// # Errors
    /// The old ones stand; ask again.
    pub async fn show_pauses(&self, pauses: Vec<Pause>) -> Result<(), StoreError> {
        self.ask(|reply| Request::Pauses(pauses, reply)).await
    }

    /// Pauses or resumes by hand; once it returns nothing that is paused is marked any more.
    ///
    /// `reason`: a person's words; empty: none.
    ///
    /// # Errors
    /// Nothing changed.
    pub async fn steer(&self, steer: Steer, reason: &str) -> Result<(), PauseError> {
        let (reply, answer) = oneshot::channel();
        self.hand(Request::Steer(steer, reason.to_owned(), reply))
            .await?;
        answer.await.map_err(|_| gone())?
    }

    /// What is stopped of `reach`, or of a part of it, by hand and by the relay.
    ///
    /// # Errors
    /// The file cannot answer.
    pub async fn paused(&self, reach: &Reach) -> Result<Vec<Pause>, StoreError> {
        pause::over(&self.shared.readers, reach)
            .await
            .map_err(self.failed())
    }

    /// From now on these options are in force, all but the file and the apps.
    ///
    /// # Errors
    /// The store is closing.
    pub async fn tune(&self, options: Options) -> Result<(), StoreError> {
        let max_pending = options.max_pending;
        let months = options.months.clone();
        self.ask(|reply| Request::Tune(Box::new(options), reply))
            .await?;
        *self.locked_months() = months;
        self.shared
            .max_pending
            .store(max_pending, Ordering::Relaxed);
        Ok(())
    }

    /// Does `act` to the job, in the name of `by`.
    ///
    /// # Errors
    /// Nothing changed.
    pub async fn act(&self, id: JobId, act: Act, by: &str) -> Result<Acted, ActError> {
        let (reply, answer) = oneshot::channel();
        self.hand(Request::Act(id, act, by.to_owned(), reply))
            .await?;
        answer.await.map_err(|_| gone())?
    }

    /// Asks Feishu for a batch's progress now rather than at its next time; false: it is no batch with an id.
    ///
    /// # Errors
    /// Nothing changed; ask again.
    pub async fn ask_progress(&self, id: JobId) -> Result<bool, StoreError> {
        self.ask(|reply| Request::AskProgress(id, reply)).await
    }

    /// Is a question for a batch's progress under way, or about to be?
    ///
    /// # Errors
    /// The file cannot answer.
    pub async fn asks_progress(&self, id: JobId) -> Result<bool, StoreError> {
        let now_ms = self.shared.clock.wall_ms();
        read::asks_progress(self, id, now_ms)
            .await
            .map_err(self.failed())
    }

    /// Asks Feishu now who read what each of `ids` made; one that made nothing, or was taken back, is left out.
    ///
    /// # Errors
    /// Nothing changed; ask again.
    pub async fn ask_reads(&self, ids: &[JobId]) -> Result<(), StoreError> {
        // In pieces, so that nobody else's request waits for all of them.
        for some in ids.chunks(reads::ASKED_AT_ONCE) {
            self.ask(|reply| Request::AskReads(some.to_vec(), reply))
                .await?;
        }
        Ok(())
    }

    /// How far the question who read a job's message is, when it was put at `since_ms`.
    ///
    /// # Errors
    /// The file cannot answer.
    pub async fn asking(&self, id: JobId, since_ms: i64) -> Result<Asking, StoreError> {
        reads::asking(self, id, since_ms)
            .await
            .map_err(self.failed())
    }

    /// Looks now for the message of a job in doubt; false: there is nothing that could be looked for.
    ///
    /// # Errors
    /// Nothing changed; ask again.
    pub async fn ask_doubt(&self, id: JobId) -> Result<bool, StoreError> {
        self.ask(|reply| Request::AskDoubt(id, reply)).await
    }

    /// Is a message being looked for, or about to be?
    ///
    /// # Errors
    /// The file cannot answer.
    pub async fn asks_doubt(&self, id: JobId) -> Result<bool, StoreError> {
        doubt::asks(self, id).await.map_err(self.failed())
    }

    /// What the look with that number is about.
    ///
    /// # Errors
    /// The file cannot answer.
    pub async fn case(&self, look: i64) -> Result<Case, StoreError> {
        doubt::case(self, look).await.map_err(self.failed())
    }

    /// Who read the messages of the jobs that a filter names. `filter.limit` is not bounded by a page.
    ///
    /// # Errors
    /// The file cannot answer.
    pub async fn notice(&self, filter: &Filter) -> Result<Notice, StoreError> {
        reads::notice(self, filter).await.map_err(self.failed())
    }

    /// Tells of each change of that job that is committed after this call.
    pub fn watch(&self, id: JobId) -> Watch {
        self.shared.watchers.watch(id)
    }

    /// Hears of every change of state of producers' jobs that `filter` names (its times, limit and
    /// cursor aside), of `apps` only where they are given; and first of what has settled since `heard`.
    ///
    /// # Errors
    /// The file cannot answer.
    pub async fn listen(
        &self,
        filter: Filter,
        apps: Option<Vec<String>>,
        heard: Option<&Heard>,
    ) -> Result<Events, StoreError> {
        let purged = events::purged(&self.shared.readers)
            .await
            .map_err(self.failed())?;
        Ok(Events::listen(self, filter, apps, heard, purged))
    }

    /// The id of an event: `Heard` reads it.
    pub fn event_id(&self, place: i64) -> String {
        format!("{}-{place}", self.shared.epoch)
    }

    /// One job, with its args, parts and children.
    ///
    /// # Errors
    /// The file cannot answer.
    pub async fn job(&self, name: &Name) -> Result<Option<Job>, StoreError> {
        read::job(self, name).await.map_err(self.failed())
    }

    /// Those jobs, in that order, without args; one that is gone meanwhile is left out.
    ///
    /// # Errors
    /// The file cannot answer.
    pub async fn jobs(&self, ids: &[JobId]) -> Result<Vec<Job>, StoreError> {
        read::jobs(self, ids).await.map_err(self.failed())
    }

    /// A page of jobs, newest first. A page that looked at 10 000 rows ends early, with a cursor.
    ///
    /// # Errors
    /// The file cannot answer.
    pub async fn list(&self, filter: &Filter) -> Result<Page, StoreError> {
        read::list(self, filter).await.map_err(self.failed())
    }

    /// The queue as it is.
    ///
    /// # Errors
    /// The file cannot answer.
    pub async fn status(&self) -> Result<Status, StoreError> {
        status::status(self).await.map_err(self.failed())
    }

    /// The heads of up to `limit` lanes of `app` that follow `cursor` and have a job of that rank; by age, of the lanes
    /// of up to `limit` jobs.
    ///
    /// # Errors
    /// The file cannot answer.
    pub async fn lanes_after(
        &self,
        app: AppId,
        rank: i64,
        cursor: &Cursor,
        limit: u32,
    ) -> Result<Piece, StoreError> {
        heads::lanes_after(&self.shared.readers, app, rank, cursor, limit)
            .await
            .map_err(self.failed())
    }

    /// The heads of those lanes.
    ///
    /// # Errors
    /// The file cannot answer.
    pub async fn heads(&self, lanes: &[(AppId, Box<str>)]) -> Result<Vec<LaneHead>, StoreError> {
        heads::heads(&self.shared.readers, lanes)
            .await
            .map_err(self.failed())
    }

    /// Marks that an earlier process left without a result, at most 1000.
    ///
    /// # Errors
    /// The file cannot answer.
    pub async fn left(&self) -> Result<Vec<Left>, StoreError> {
        mark::left(&self.shared.readers)
            .await
            .map_err(self.failed())
    }

    /// Calls begun in the last `within`, per app, API and second.
    ///
    /// # Errors
    /// The file cannot answer.
    pub async fn past_calls(&self, within: Duration) -> Result<Vec<Past>, StoreError> {
        let within_ms = i64::try_from(within.as_millis()).unwrap_or(i64::MAX);
        mark::past(
            &self.shared.readers,
            self.shared.clock.wall_ms() - within_ms,
        )
        .await
        .map_err(self.failed())
    }

    /// People whom the batches of each app reached today (UTC+8).
    ///
    /// # Errors
    /// The file cannot answer.
    pub async fn batches_today(&self) -> Result<Vec<(AppId, u32)>, StoreError> {
        let wall_ms = self.shared.clock.wall_ms();
        day::batches_today(&self.shared.readers, wall_ms)
            .await
            .map_err(self.failed())
    }

    /// The present month as a dispatcher that begins must know it.
    ///
    /// # Errors
    /// The file cannot answer.
    pub async fn month_start(&self) -> Result<MonthStart, StoreError> {
        let wall_ms = self.shared.clock.wall_ms();
        month::start(&self.shared.readers, wall_ms)
            .await
            .map_err(self.failed())
    }

    /// Writes into the month's ledger what belongs to no attempt of a job. `false`: it stands there.
    ///
    /// # Errors
    /// Nothing was written; say it again.
    pub async fn say_of_month(&self, word: MonthWord) -> Result<bool, StoreError> {
        self.ask(|reply| Request::Month(word, reply)).await
    }

    fn locked_months(&self) -> MutexGuard<'_, Vec<MonthOf>> {
        let months = &self.shared.months;
        months.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn months(&self) -> Vec<MonthOf> {
        self.locked_months().clone()
    }

    /// May this id have been a job that was purged?
    pub fn may_be_purged(&self, id: JobId) -> bool {
        id.ms() < self.shared.purged_ms.load(Ordering::Relaxed)
    }

    /// What keeps the store from writing; `None`: it writes.
    pub fn ill(&self) -> Option<Ill> {
        self.shared.health.ill()
    }

    /// What the dispatcher sees of the lanes.
    pub fn publish(&self, pulse: Pulse) {
        *self
            .shared
            .pulse
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = pulse;
    }

    fn pulse(&self) -> Pulse {
        self.shared
            .pulse
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn app_name(&self, app: AppId) -> Option<&str> {
        self.shared
            .apps
            .iter()
            .find(|(id, _)| *id == app)
            .map(|(_, name)| name.as_str())
    }

    /// What a reader met: damage concerns everybody, the rest this question alone.
    fn failed(&self) -> impl Fn(sqlx::Error) -> StoreError + '_ {
        |error| {
            let failure = Failure::of(&self.shared.path, &error);
            match (failure.cause, self.ill()) {
                (Cause::Damaged, _) => {
                    let now_ms = self.shared.clock.wall_ms();
                    self.shared.health.fell(&failure, now_ms);
                }
                (_, None) => tracing::warn!("a question to the store was not answered: {failure}"),
                (_, Some(_)) => {}
            }
            StoreError::Unavailable(failure)
        }
    }

    async fn hand(&self, request: Request) -> Result<(), StoreError> {
        self.shared.requests.send(request).await.map_err(|_| gone())
    }

    async fn ask<T>(
        &self,
        request: impl FnOnce(oneshot::Sender<Result<T, StoreError>>) -> Request,
    ) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        self.hand(request(reply)).await?;
        answer.await.map_err(|_| gone())?
    }
}

fn gone() -> StoreError {
    StoreError::Unavailable(Failure::closing())
}
