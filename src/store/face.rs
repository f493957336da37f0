//! What the store takes and answers: the types of its public face, free of SQLite's particulars.

use std::collections::BTreeMap;

use crate::job::month::{Month, Pace};
use crate::job::{AppId, Flaw, Job, JobId, NoticeJob, Outcome, State};
use crate::store::Counted;
pub use crate::store::health::{Cause, Failure, Ill};

/// The store could not answer.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Nothing was written. The disk is full, the file is damaged or locked, or the store is closing;
    /// what was asked may be asked again.
    #[error("the store cannot write: {0}")]
    Unavailable(Failure),
    /// The file cannot be used as it is; a person must look.
    #[error("the store cannot be opened: {0}")]
    Unusable(String),
}

/// Why jobs were not accepted. Nothing was stored.
#[derive(Debug, thiserror::Error)]
pub enum AcceptError {
    /// `max_pending` jobs wait already.
    #[error("the queue is full")]
    Full,
    /// A key is taken by another request; the place of the job that bears it, and who has it.
    #[error("the key is taken by {holder}")]
    KeyTaken {
        /// Which of the jobs, from 0.
        index: usize,
        /// Who has it.
        holder: JobId,
    },
    /// What the request names does not fit what is stored.
    #[error("the request names jobs that do not fit")]
    Flawed(Vec<Flaw>),
    /// The store could not write.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// One job of an accepted request.
#[derive(Clone, Debug)]
pub struct Accepted {
    /// Its name.
    pub id: JobId,
    /// It was there before: same key, same request.
    pub repeated: bool,
    /// The job as it was when it was stored, where that could be told without reading it.
    pub fresh: Option<Box<Job>>,
}

/// What a person or a program asks to be done to a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// Do not do it any more.
    Cancel,
    /// Do it again, or go on.
    Retry {
        /// A new life, milliseconds from now.
        expires_in_ms: Option<i64>,
    },
    /// Take it back, whatever its state.
    Recall,
    /// A person's word on what happened.
    Settle {
        /// `Done` or `Failed`.
        state: State,
        /// The id, when the person knows it.
        message_id: Option<String>,
        /// Which part of a batch, from 0; `None`: every one that is in doubt.
        part: Option<i64>,
    },
}

/// What became of an `Act`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acted {
    /// It is so now.
    Now,
    /// It is wanted, and will be so.
    Later,
}

/// Why an `Act` was not done. Nothing changed.
#[derive(Debug, thiserror::Error)]
pub enum ActError {
    /// No such job; `purged`: it is so old that it may have been one.
    #[error("no such job")]
    Unknown {
        /// Its time lies before the oldest that is kept.
        purged: bool,
    },
    /// Its state forbids it; the text says why.
    #[error("{0}")]
    Forbidden(String),
    /// The store could not write.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// How a job is named by whoever asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Name {
    /// `job_…`
    Job(JobId),
    /// `om_…`: the job that made this message.
    Message(String),
    /// `bm-…`: the job that made this batch.
    Batch(String),
}

impl std::str::FromStr for Name {
    type Err = ();

    fn from_str(text: &str) -> Result<Name, ()> {
        match text {
            _ if text.len() > 200 => Err(()),
            _ if text.starts_with("om_") => Ok(Name::Message(text.to_owned())),
            _ if text.starts_with("bm-") => Ok(Name::Batch(text.to_owned())),
            _ => text.parse().map(Name::Job).map_err(|_| ()),
        }
    }
}

/// Which jobs of a list; an absent part excludes nothing.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// One of these states.
    pub states: Vec<State>,
    /// One of these kinds.
    pub kinds: Vec<String>,
    /// This app.
    pub app: Option<String>,
    /// One of these apps, whichever is asked for: nobody sees more than is theirs.
    pub apps: Option<Vec<String>>,
    /// This lane.
    pub lane: Option<String>,
    /// This client.
    pub client: Option<String>,
    /// This receiver, or message acted on.
    pub to: Option<String>,
    /// This key.
    pub key: Option<String>,
    /// This message id.
    pub message_id: Option<String>,
    /// This code of Feishu in its error.
    pub code: Option<i64>,
    /// These labels, all of them.
    pub labels: Vec<(String, String)>,
    /// Accepted at or after, Unix milliseconds.
    pub since_ms: Option<i64>,
    /// Accepted before, Unix milliseconds.
    pub until_ms: Option<i64>,
    /// At most so many (1 to 200).
    pub limit: u32,
    /// Goes on where an earlier page ended.
    pub cursor: Option<i64>,
}

/// A page of jobs, newest first.
#[derive(Debug)]
pub struct Page {
    /// Without their args.
    pub jobs: Vec<Job>,
    /// Where the next page begins; `None`: there is none.
    pub next_cursor: Option<i64>,
}

/// Why a pause or a resume was not written down. Nothing changed.
#[derive(Debug, thiserror::Error)]
pub enum PauseError {
    /// There are too many pauses by hand.
    #[error("too much is paused by hand already")]
    Full,
    /// The store could not write.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The jobs of a notice: those that make something to read, newest first.
#[derive(Debug)]
pub struct Notice {
    /// Whatever their state.
    pub jobs: Vec<NoticeJob>,
    /// There are more readers than were read.
    pub more: bool,
    /// Where the next page begins; `None`: there is none.
    pub next_cursor: Option<i64>,
}

/// How far a question put to Feishu is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asking {
    /// It was answered.
    Answered,
    /// It is under way, or due.
    UnderWay,
    /// It will not be answered for now.
    Stopped,
}

/// Something that is stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pause {
    /// Which app; empty: every one.
    pub app: String,
    /// Which lane; empty: every one.
    pub lane: String,
    /// Which call; empty: every one.
    pub api: String,
    /// A person's, or the relay's own after a fault.
    pub by_hand: bool,
    /// Feishu's code.
    pub code: Option<i64>,
    /// Why.
    pub reason: String,
    /// Since when, Unix milliseconds.
    pub since_ms: i64,
    /// When the next job tries, Unix milliseconds.
    pub probe_ms: Option<i64>,
    /// Whom it does not stop.
    pub spares: Spares,
}

/// Whom a pause of the relay's own does not stop.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Spares {
    /// Nobody.
    #[default]
    Nobody,
    /// Producers' jobs: the relay's own questions wait, for the month runs short.
    Jobs,
    /// `high`, and what was begun: the rest of the month is kept for it.
    High,
}

impl Spares {
    /// As it is kept.
    pub fn name(self) -> &'static str {
        match self {
            Spares::Nobody => "",
            Spares::Jobs => "jobs",
            Spares::High => "high",
        }
    }

    /// Of a name that is kept.
    pub(super) fn from_name(name: &str) -> Spares {
        let all = [Spares::Jobs, Spares::High];
        let found = all.into_iter().find(|spares| spares.name() == name);
        found.unwrap_or_default()
    }
}

/// Where an app's calls of the month are counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MonthOf {
    /// The tenant, which all of its apps share.
    pub tenant: String,
    /// Calls a month that its plan allows, as this app's config says; 0 = unknown.
    pub quota: u64,
}

/// How a call that was no job ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Passed {
    /// With which app.
    pub app: AppId,
    /// Why it was made: `read` or `direct`.
    pub cause: &'static str,
    /// How it ended.
    pub outcome: Outcome,
    /// Feishu's code, where there was one.
    pub code: Option<i64>,
    /// How it counts towards the month, if it does.
    pub counted: Option<Counted>,
}

/// What is told to the ledger beside the results of attempts.
#[derive(Clone, Debug)]
pub enum MonthWord {
    /// Calls that were no jobs, and how many ended so.
    Passed(Vec<(Passed, u64)>),
    /// A call of no job looked whether Feishu is back.
    Probed {
        /// With which app.
        app: AppId,
        /// Its answer never came.
        lost: bool,
    },
    /// So much of a quota is spent.
    Warned {
        /// In which month.
        month: Month,
        /// Whose.
        tenant: String,
        /// Of so many calls.
        quota: u64,
        /// Percent.
        percent: u64,
    },
}

/// What a dispatcher that begins must know of the present month.
#[derive(Clone, Debug)]
pub struct MonthStart {
    /// Which it is.
    pub month: Month,
    /// Calls so far.
    pub calls: Vec<(AppId, u64)>,
    /// Tenants whose reserve a person opened.
    pub open: Vec<String>,
}

/// Calls for one reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CauseCalls {
    /// First attempts.
    pub first: u64,
    /// Repeats.
    pub again: u64,
    /// Of both, calls whose answer never came: they may not have counted.
    pub lost: u64,
}

/// A tenant's month so far.
#[derive(Clone, Debug)]
pub struct MonthStatus {
    /// Whose.
    pub tenant: String,
    /// Which.
    pub month: Month,
    /// Calls that its plan allows; 0 = unknown.
    pub quota: u64,
    /// A person opened the reserve.
    pub open: bool,
    /// Calls of the last days.
    pub pace: Pace,
    /// Its apps: name, calls by cause, calls of the month before.
    pub apps: Vec<(String, BTreeMap<String, CauseCalls>, u64)>,
}

impl MonthStatus {
    /// Calls so far, of all its apps.
    pub fn calls(&self) -> u64 {
        let causes = self.apps.iter().flat_map(|(_, causes, _)| causes.values());
        causes.map(|cause| cause.first + cause.again).sum()
    }
}

/// One app's queue.
#[derive(Clone, Debug, Default)]
pub struct AppStatus {
    /// Its name.
    pub app: String,
    /// Producers' jobs by state, in the order of `State::ALL`.
    pub jobs: Vec<(State, u64)>,
    /// Unix milliseconds since when the longest-waiting job that stands in a lane may run.
    pub oldest_due_ms: Option<i64>,
    /// Calls of this month that count towards the quota.
    pub month_calls: u64,
    /// What is stopped.
    pub paused: Vec<Pause>,
}

/// One lane's queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LaneStatus {
    /// Its app.
    pub app: String,
    /// Its name.
    pub lane: String,
    /// Since when its longest-waiting job may run, Unix milliseconds.
    pub oldest_due_ms: i64,
}

/// The queue.
#[derive(Clone, Debug, Default)]
pub struct Status {
    /// Every app.
    pub apps: Vec<AppStatus>,
    /// Producers' jobs that are queued or under way.
    pub pending: u64,
    /// How many may be.
    pub max_pending: u64,
    /// The longest-waiting lanes, longest first, at most 100.
    pub lanes: Vec<LaneStatus>,
    /// Bytes of the database file and its log.
    pub bytes: u64,
    /// What keeps the store from writing.
    pub ill: Option<Ill>,
    /// Every tenant's month.
    pub months: Vec<MonthStatus>,
}
