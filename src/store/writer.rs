//! The one writer: takes what waits, writes it in one transaction, commits, then answers each.
//!
//! No timer makes groups: while one batch is being written the next one gathers, so load makes
//! groups larger, not slower. An error other than a constraint violation fails the whole batch and
//! replaces the connection, because SQLite has then rolled back on its own.
//! Not here: what each request writes (`accept`, `mark`, `finish`, `act`, `sweep`).

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicI64;

use sqlx::Connection;
use sqlx::sqlite::{SqliteConnection, SqliteRow};
use tokio::sync::{Notify, mpsc, oneshot};

use crate::clock::{Clock, Now};
use crate::job::{AppId, Head, IncidentWrite, JobId, Marked, Moment, NewJob, Permit, State, Steer};
use crate::metrics::Metrics;
use crate::store::events::{self, Hub, Told};
use crate::store::files::Files;
use crate::store::health::{Cause, Failure, Health};
use crate::store::measure::Measured;
use crate::store::open::{self, Opened};
use crate::store::refuse::refuse;
use crate::store::script::{Arg, Asked, Script, Texts};
use crate::store::watch::Watchers;
use crate::store::{
    AcceptError, Accepted, Act, ActError, Acted, Finish, MonthWord, Options, Pause, PauseError,
    StoreError, accept, act, alive, counter, doubt, finish, fold, fresh, incidents, mark, month,
    pause, reads, start, sweep, upload,
};

/// Requests in one transaction, at most.
const BATCH: usize = 512;
/// Jobs in one transaction, about at most: one request more may go over it.
const BATCH_JOBS: usize = 2000;
/// Why nothing is written though the disk is well again.
const RESTS: &str =
    "what a failed write left in its log cannot be taken out while somebody reads there";

pub(super) type Reply<T> = oneshot::Sender<Result<T, StoreError>>;

/// What the writer can be asked.
pub(super) enum Request {
    Attach(Arc<dyn Permit>, Reply<()>),
    Accept(
        Vec<NewJob>,
        oneshot::Sender<Result<Vec<Accepted>, AcceptError>>,
    ),
    Mark(Vec<i64>, Reply<Vec<Marked>>),
    Finish(Arc<[Finish]>, Reply<()>),
    TakeBack(Vec<(i64, i64)>, Reply<()>),
    Act(JobId, Act, String, oneshot::Sender<Result<Acted, ActError>>),
    AskProgress(JobId, Reply<bool>),
    AskReads(Vec<JobId>, Reply<()>),
    AskDoubt(JobId, Reply<bool>),
    Sweep(Reply<bool>),
    Pauses(Vec<Pause>, Reply<()>),
    Steer(Steer, String, oneshot::Sender<Result<(), PauseError>>),
    Tune(Box<Options>, Reply<()>),
    Month(MonthWord, Reply<bool>),
    Incidents(Vec<IncidentWrite>, oneshot::Sender<incidents::Written>),
}

impl std::fmt::Debug for Request {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Request::Attach(..) => "Attach",
            Request::Accept(..) => "Accept",
            Request::Mark(..) => "Mark",
            Request::Finish(..) => "Finish",
            Request::TakeBack(..) => "TakeBack",
            Request::Act(..) => "Act",
            Request::AskProgress(..) => "AskProgress",
            Request::AskReads(..) => "AskReads",
            Request::AskDoubt(..) => "AskDoubt",
            Request::Sweep(..) => "Sweep",
            Request::Pauses(..) => "Pauses",
            Request::Steer(..) => "Steer",
            Request::Tune(..) => "Tune",
            Request::Month(..) => "Month",
            Request::Incidents(..) => "Incidents",
        })
    }
}

/// What a request is answered, once its batch is committed.
enum Answer {
    Nothing,
    Accept(Result<Vec<Accepted>, AcceptError>),
    Marked(Vec<Marked>),
    Flag(bool),
    Act(Result<Acted, ActError>),
    Steered(Result<(), PauseError>),
    Incidents(incidents::Written),
}

/// Where the writer meets the rest of the process.
pub(super) struct Seams {
    pub(super) clock: Clock,
    pub(super) watchers: Arc<Watchers>,
    pub(super) health: Arc<Health>,
    pub(super) purged_ms: Arc<AtomicI64>,
    pub(super) hub: Arc<Hub>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) holds: Arc<upload::Holds>,
    pub(super) incidents: Arc<Notify>,
}

/// What the writer knows without asking the file; goes back to what it was when a batch fails.
#[derive(Clone, Debug)]
pub(super) struct Memory {
    pub(super) next_seq: i64,
    pub(super) last_id_ms: i64,
    pub(super) last_id_count: u16,
    /// How often a producer's job has settled so far.
    pub(super) settled: i64,
    /// Jobs by app, own or producer's, and state.
    pub(super) counts: BTreeMap<(AppId, bool, State), i64>,
    /// Pauses by hand.
    pub(super) paused: i64,
    /// The wall clock at the last sweep.
    pub(super) swept_ms: i64,
}

impl Memory {
    /// Producers' jobs that are queued or under way.
    pub(super) fn pending(&self) -> i64 {
        self.counts
            .iter()
            .filter(|((_, own, state), _)| !own && state.is_pending())
            .map(|(_, n)| n)
            .sum()
    }
}

/// What a batch changes beyond its answers; told after the commit.
#[derive(Default)]
pub(super) struct Changes {
    pub(super) granted: Vec<Head>,
    pub(super) born: Vec<Marked>,
    pub(super) stood: Vec<Head>,
    pub(super) steered: Vec<Steer>,
    pub(super) left: Vec<(AppId, Box<str>)>,
    pub(super) touched: Vec<JobId>,
    pub(super) counts: BTreeMap<(AppId, bool, State), i64>,
    pub(super) settled: i64,
    pub(super) moved: Vec<i64>,
    pub(super) told: Told,
    pub(super) files_gone: Vec<String>,
    pub(super) measured: Measured,
    pub(super) incidents: incidents::News,
    /// What those wait for who are told of their jobs; its rows come with the commit.
    pub(super) asked: Option<Asked>,
}

/// One batch being written.
pub(super) struct Tx<'a> {
    pub(super) script: Script<'a>,
    pub(super) memory: &'a mut Memory,
    pub(super) changes: Changes,
    pub(super) now: Now,
    pub(super) options: &'a Options,
    pub(super) apps: &'a [(AppId, String)],
    pub(super) permit: Option<&'a dyn Permit>,
    pub(super) purged_ms: &'a AtomicI64,
    pub(super) holds: &'a upload::Holds,
    /// Somebody listens to events.
    pub(super) is_heard: bool,
    /// The batch before failed: this one must really write something, else it proves nothing.
    pub(super) is_proof: bool,
}

impl Tx<'_> {
    /// The connection, for whatever must be known before the batch can go on.
    pub(super) async fn conn(&mut self) -> Result<&mut SqliteConnection, sqlx::Error> {
        self.script.conn().await
    }

    /// Puts a statement aside whose rows nobody waits for.
    pub(super) fn put(&mut self, sql: &'static str, args: &[Arg]) -> Result<(), sqlx::Error> {
        self.script.put(sql, args)
    }

    /// The rows of a statement.
    pub(super) async fn fetch(
        &mut self,
        sql: &'static str,
        args: &[Arg],
    ) -> Result<Vec<SqliteRow>, sqlx::Error> {
        self.script.fetch(sql, args).await
    }

    /// Counts a job that moves from `from` (`None`: it is new) to `to` (`None`: it is gone).
    pub(super) fn count(&mut self, app: AppId, own: bool, from: Option<State>, to: Option<State>) {
        if to.is_some_and(State::is_settled) {
            self.changes.measured.ends += 1;
        }
        for (state, by) in [(from, -1), (to, 1)] {
            if let Some(state) = state {
                *self.changes.counts.entry((app, own, state)).or_default() += by;
                *self.memory.counts.entry((app, own, state)).or_default() += by;
            }
        }
    }

    /// Notes that the state of a job changed, for those who listen.
    pub(super) fn moved(&mut self, seq: i64) {
        if self.is_heard {
            self.changes.moved.push(seq);
        }
    }

    /// The next number in the order of settling; one that stays unused is not given again.
    pub(super) fn settle_seq(&mut self) -> i64 {
        self.memory.settled += 1;
        self.changes.settled += 1;
        self.memory.settled
    }

    /// The next number in the order of acceptance.
    pub(super) fn next_seq(&mut self) -> i64 {
        self.memory.next_seq += 1;
        self.memory.next_seq
    }

    /// The next id; its time never goes back, whatever the wall clock does.
    pub(super) fn next_id(&mut self) -> JobId {
        let memory = &mut *self.memory;
        if self.now.wall_ms > memory.last_id_ms {
            memory.last_id_ms = self.now.wall_ms;
            memory.last_id_count = 0;
        } else if memory.last_id_count >= 0x0fff {
            memory.last_id_ms += 1;
            memory.last_id_count = 0;
        } else {
            memory.last_id_count += 1;
        }
        // The tail of a v7 is random; its head is replaced by the store's own time and count.
        let (_, random) = uuid::Uuid::now_v7().as_u64_pair();
        JobId::new(
            memory.last_id_ms.unsigned_abs(),
            memory.last_id_count,
            random,
        )
    }

    pub(super) fn moment(&self) -> Moment {
        Moment {
            wall_ms: self.now.wall_ms,
            boot_ms: self.now.boot_ms,
            boot_id: Arc::clone(&self.now.boot_id),
        }
    }

    pub(super) fn app_id(&self, name: &str) -> Option<AppId> {
        self.apps
            .iter()
            .find(|(_, one)| one == name)
            .map(|(id, _)| *id)
    }
}

/// The task that owns the write connection.
pub(super) struct Writer {
    conn: Option<SqliteConnection>,
    texts: Texts,
    path: PathBuf,
    files: Files,
    /// A commit failed and may stand in the log all the same.
    has_rests: bool,
    options: Options,
    seams: Seams,
    memory: Memory,
    apps: Vec<(AppId, String)>,
    permit: Option<Arc<dyn Permit>>,
}

impl Writer {
    pub(super) async fn new(
        opened: Opened,
        options: Options,
        seams: Seams,
    ) -> Result<Writer, StoreError> {
        let Opened {
            mut writer,
            path,
            lock,
            ..
        } = opened;
        let start = start::known(&mut writer, &options.apps, &seams).await;
        let (memory, apps) = start.map_err(|error| open::unusable(&path, &error))?;
        let files = Files::of(&path, lock)?;
        Ok(Writer {
            conn: Some(writer),
            texts: Texts::default(),
            files,
            has_rests: false,
            path,
            options,
            seams,
            memory,
            apps,
            permit: None,
        })
    }

    /// The configured apps, in the order of the config.
    pub(super) fn apps(&self) -> Vec<(AppId, String)> {
        self.apps.clone()
    }

    /// Works until `stop`, then writes what was handed over and closes the file.
    pub(super) async fn run(
        mut self,
        mut inbox: mpsc::Receiver<Request>,
        mut asked: mpsc::Receiver<alive::Asked>,
        mut stop: oneshot::Receiver<()>,
    ) {
        loop {
            let first = tokio::select! {
                biased;
                Some(asked) = asked.recv() => {
                    let _ = asked.send(());
                    continue;
                }
                request = inbox.recv() => request,
                _ = &mut stop => {
                    inbox.close();
                    inbox.recv().await
                }
            };
            let Some(first) = first else { break };
            // Whoever is about to ask, asks now: the first of a crowd would else have a commit of its own.
            tokio::task::yield_now().await;
            let batch = gather(first, &mut inbox);
            self.write(batch).await;
        }
        self.seams.health.fell(&Failure::closing(), 0);
        if let Some(conn) = self.conn.take() {
            open::close(conn).await;
        }
    }

    async fn write(&mut self, batch: Vec<Request>) {
        let before = self.memory.clone();
        match self.transaction(&batch).await {
            Ok((answers, changes)) => self.publish(batch, answers, changes),
            Err(Trouble::Constraint(error)) if batch.len() > 1 => {
                tracing::warn!(%error, "a batch broke a rule of the schema; its requests go one by one");
                self.memory = before;
                for request in batch {
                    Box::pin(self.write(vec![request])).await;
                }
            }
            Err(Trouble::Constraint(error)) => {
                tracing::error!(%error, "a request broke a rule of the schema; nothing of it was written");
                self.memory = before;
                refuse(batch, &Failure::new(Cause::Rule, &self.path, &error));
            }
            Err(Trouble::Broken(failure)) => {
                self.memory = before;
                let now_ms = self.seams.clock.wall_ms();
                self.seams.health.fell(&failure, now_ms);
                tracing::debug!(requests = batch.len(), "nothing was written: {failure}");
                refuse(batch, &failure);
            }
        }
    }

    /// Is there anything that could be written to? The file is opened again where a batch failed.
    async fn ground(&mut self) -> Result<(), Failure> {
        self.seams.health.permits().await?;
        self.files.check()?;
        if self.conn.is_none() {
            let opened = open::connect_writer(&self.path).await;
            self.conn = Some(opened.map_err(|error| Failure::of(&self.path, &error))?);
        }
        match self.clear_rests().await {
            // What did not fit stands there torn, and is read by nobody.
            Err(failure) if failure.cause != Cause::Full => Err(failure),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// What SQLite wrote and could not bring to the disk stands in the log until something goes over it. A start after
    /// a crash would take it for stored, or, behind a shorter commit, for a log that is damaged.
    async fn clear_rests(&mut self) -> Result<(), Failure> {
        let Some(conn) = self.conn.as_mut().filter(|_| self.has_rests) else {
            return Ok(());
        };
        match open::empty_log(conn).await {
            Ok(true) => {
                self.has_rests = false;
                self.files.emptied_log();
                Ok(())
            }
            // A long read; the log may not go before it does.
            Ok(false) => Err(Failure::new(Cause::Busy, &self.path, &RESTS)),
            Err(error) => Err(self.seams.health.diagnose(&error).await),
        }
    }

    async fn transaction(&mut self, batch: &[Request]) -> Result<(Vec<Answer>, Changes), Trouble> {
        for request in batch {
            match request {
                Request::Attach(permit, _) => self.permit = Some(Arc::clone(permit)),
                Request::Tune(options, _) => self.tune(options),
                _ => {}
            }
        }
        self.ground().await.map_err(Trouble::Broken)?;
        let Some(conn) = self.conn.as_mut() else {
            return Err(Trouble::Broken(Failure::closing()));
        };
        let mut tx = Tx {
            script: Script::begin(conn, &mut self.texts),
            memory: &mut self.memory,
            changes: Changes::default(),
            now: self.seams.clock.now(),
            options: &self.options,
            apps: &self.apps,
            permit: self.permit.as_deref(),
            purged_ms: &self.seams.purged_ms,
            holds: &self.seams.holds,
            is_heard: self.seams.hub.is_heard(),
            is_proof: self.seams.health.ill().is_some(),
        };
        let result = apply(&mut tx, batch).await;
        let changes = std::mem::take(&mut tx.changes);
        match result {
            Ok(answers) => {
                let well = self.seams.health.well(self.seams.clock.wall_ms());
                well.map_err(Trouble::Broken)?;
                Ok((answers, changes))
            }
            Err(error) => {
                if let Some(permit) = &self.permit {
                    permit.withdraw(&changes.granted);
                }
                let constraint = error.as_database_error().is_some_and(|error| {
                    error.is_unique_violation()
                        || error.is_check_violation()
                        || error.is_foreign_key_violation()
                        || matches!(error.kind(), sqlx::error::ErrorKind::NotNullViolation)
                });
                self.abandon(constraint).await;
                if constraint {
                    return Err(Trouble::Constraint(error));
                }
                let failure = self.seams.health.diagnose(&error).await;
                // At once where it can be: what was refused shall not be there after a crash.
                if failure.cause == Cause::Failing {
                    let _ = self.ground().await;
                }
                Err(Trouble::Broken(failure))
            }
        }
    }

    /// What may change while it runs; the file and the apps stay.
    fn tune(&mut self, options: &Options) {
        self.options = Options {
            path: self.options.path.clone(),
            apps: self.options.apps.clone(),
            ..options.clone()
        };
    }

    /// After a constraint the transaction can be rolled back; after anything else nothing is known of it.
    async fn abandon(&mut self, constraint: bool) {
        let Some(mut conn) = self.conn.take() else {
            return;
        };
        if constraint && sqlx::query("rollback").execute(&mut conn).await.is_ok() {
            self.conn = Some(conn);
            return;
        }
        // Closed before the next one opens, which would else find it reading.
        let _ = conn.close().await;
        self.has_rests = true;
    }

    fn publish(&mut self, batch: Vec<Request>, answers: Vec<Answer>, changes: Changes) {
        // First, so that whoever hears of an end finds it counted.
        let now_ms = self.seams.clock.wall_ms();
        changes
            .measured
            .tell(&self.seams.metrics, &self.apps, now_ms);
        // Whoever hears that something is paused must find it standing still.
        if let Some(permit) = self.permit.as_ref().filter(|_| !changes.steered.is_empty()) {
            permit.steered(changes.steered);
        }
        for (request, answer) in batch.into_iter().zip(answers) {
            reply(request, answer);
        }
        if let Some(permit) = &self.permit {
            if !changes.born.is_empty() {
                permit.born(changes.born);
            }
            if !changes.stood.is_empty() {
                permit.stood(changes.stood);
            }
            if !changes.left.is_empty() {
                permit.left(changes.left);
            }
        }
        self.seams.watchers.tell(&changes.touched);
        self.seams.hub.tell(changes.told, self.memory.settled);
        if changes.incidents.is_due {
            self.seams.incidents.notify_one();
        }
        self.seams.holds.remove(&self.path, &changes.files_gone);
    }
}

/// Why a batch was not written.
#[derive(Debug)]
enum Trouble {
    Constraint(sqlx::Error),
    Broken(Failure),
}

fn gather(first: Request, inbox: &mut mpsc::Receiver<Request>) -> Vec<Request> {
    let weight = |request: &Request| match request {
        Request::Accept(jobs, _) => jobs.len(),
        Request::Incidents(writes, _) => incidents::weight(writes),
        _ => 1,
    };
    let mut jobs = weight(&first);
    let mut batch = vec![first];
    while batch.len() < BATCH && jobs < BATCH_JOBS {
        let Ok(request) = inbox.try_recv() else { break };
        jobs += weight(&request);
        batch.push(request);
    }
    batch
}

/// Results first, so that what they free is free for the rest; marks last, so that a cancel of the
/// same batch is seen.
async fn apply(tx: &mut Tx<'_>, batch: &[Request]) -> Result<Vec<Answer>, sqlx::Error> {
    if tx.is_proof {
        prove(tx).await?;
    }
    let mut answers: Vec<Answer> = batch.iter().map(|_| Answer::Nothing).collect();
    let results: Vec<&Finish> = batch
        .iter()
        .filter_map(|request| {
            if let Request::Finish(results, _) = request {
                Some(results.iter())
            } else {
                None
            }
        })
        .flatten()
        .collect();
    finish::apply(tx, &results).await?;
    for (request, answer) in batch.iter().zip(&mut answers) {
        match request {
            Request::TakeBack(marks, _) => mark::take_back(tx, marks).await?,
            Request::Act(id, act, by, _) => {
                *answer = Answer::Act(act::apply(tx, *id, act, by).await?)
            }
            Request::AskProgress(id, _) => {
                *answer = Answer::Flag(act::ask_progress(tx, *id).await?)
            }
            Request::AskReads(ids, _) => reads::ask(tx, ids).await?,
            Request::AskDoubt(id, _) => *answer = Answer::Flag(doubt::ask(tx, *id).await?),
            Request::Sweep(_) => *answer = Answer::Flag(sweep::apply(tx).await?),
            Request::Month(word, _) => *answer = Answer::Flag(month::say(tx, word).await?),
            Request::Pauses(pauses, _) => sweep::pauses(tx, pauses).await?,
            Request::Attach(..) => pause::attach(tx).await?,
            Request::Steer(steer, reason, _) => {
                *answer = Answer::Steered(pause::steer(tx, steer, reason).await?)
            }
            Request::Tune(..)
            | Request::Accept(..)
            | Request::Mark(..)
            | Request::Finish(..)
            | Request::Incidents(..) => {}
        }
    }
    incidents::wake(tx).await?;
    let accepts: Vec<&[NewJob]> = batch
        .iter()
        .filter_map(|request| {
            if let Request::Accept(jobs, _) = request {
                Some(jobs.as_slice())
            } else {
                None
            }
        })
        .collect();
    let mut accepted = accept::apply(tx, &accepts).await?.into_iter();
    for (request, answer) in batch.iter().zip(&mut answers) {
        if let Request::Incidents(writes, _) = request {
            *answer = Answer::Incidents(incidents::write(tx, writes).await?);
        }
    }
    fold::stood(tx).await?;
    for (request, answer) in batch.iter().zip(&mut answers) {
        match request {
            Request::Accept(..) => {
                *answer = accepted.next().map_or(Answer::Nothing, Answer::Accept)
            }
            Request::Mark(seqs, _) => *answer = Answer::Marked(mark::apply(tx, seqs).await?),
            _ => {}
        }
    }
    incidents::wake(tx).await?;
    counter::write(tx)?;
    events::build(tx).await?;
    let asked = std::mem::take(&mut tx.changes.asked);
    tx.script.commit().await?;
    let asked = asked.map(|asked| tx.script.take(asked));
    let waiting = fresh::waiting(&asked.unwrap_or_default());
    for answer in &mut answers {
        if let Answer::Accept(Ok(accepted)) = answer {
            fresh::tell(accepted, &waiting);
        }
    }
    Ok(answers)
}

/// A batch that changes no page succeeds on a full disk too.
async fn prove(tx: &mut Tx<'_>) -> Result<(), sqlx::Error> {
    sqlx::query(
        "insert into meta (name, value) values ('proof', hex(randomblob(8)))
         on conflict (name) do update set value = excluded.value",
    )
    .execute(tx.conn().await?)
    .await
    .map(drop)
}

fn reply(request: Request, answer: Answer) {
    match (request, answer) {
        (
            Request::Attach(_, to)
            | Request::AskReads(_, to)
            | Request::Finish(_, to)
            | Request::TakeBack(_, to)
            | Request::Pauses(_, to)
            | Request::Tune(_, to),
            _,
        ) => drop(to.send(Ok(()))),
        (Request::Steer(_, _, to), Answer::Steered(result)) => drop(to.send(result)),
        (Request::Accept(_, to), Answer::Accept(result)) => drop(to.send(result)),
        (Request::Mark(_, to), Answer::Marked(marked)) => drop(to.send(Ok(marked))),
        (Request::Act(_, _, _, to), Answer::Act(result)) => drop(to.send(result)),
        (Request::Incidents(_, to), Answer::Incidents(result)) => drop(to.send(result)),
        (Request::AskProgress(_, to) | Request::AskDoubt(_, to), Answer::Flag(is))
        | (Request::Sweep(to) | Request::Month(_, to), Answer::Flag(is)) => drop(to.send(Ok(is))),
        (request, _) => tracing::error!(?request, "written, with an answer of another kind"),
    }
}
