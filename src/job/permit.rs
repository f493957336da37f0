//! What the store tells the dispatcher, and asks of it, without knowing it.

use std::sync::Arc;

use feishu_im::Api;

use crate::job::month::Level;
use crate::job::{JobId, Kind, OnDoubt, OnRefused, Priority, Steer};

/// An app, as the store numbers it; the number outlives changes of the config.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AppId(pub i64);

/// A moment on every clock, kept with a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Unix milliseconds.
    pub wall_ms: i64,
    /// Milliseconds since that boot.
    pub boot_ms: i64,
    /// Which boot.
    pub boot_id: Arc<str>,
}

/// What must be known of a queued job to decide when it may run: no content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// The store's number: order of acceptance.
    pub seq: i64,
    /// Its app.
    pub app: AppId,
    /// Its lane, unique within the app.
    pub lane: Box<str>,
    /// What it does.
    pub kind: Kind,
    /// A look at what an earlier attempt did, not the write itself.
    pub verify: bool,
    /// Its priority.
    pub priority: Priority,
    /// Was it tried before? Then it keeps the head of its lane.
    pub tried: bool,
    /// Not before this time, Unix milliseconds.
    pub due_ms: i64,
    /// Since when it waits, Unix milliseconds: its time; of a producer's job that was tried its acceptance, as no row
    /// keeps the time that it had before.
    pub since_ms: i64,
    /// Receiver of a send.
    pub receiver: Option<Box<str>>,
    /// Message that is acted on.
    pub message: Option<Box<str>>,
    /// Bytes of its content: what an attempt holds in memory.
    pub size: u32,
    /// People that the next part of a batch reaches, as far as that is known; else 1.
    pub weight: u32,
    /// When the first attempt with an unknown outcome began, if there was one.
    pub unknown: Option<Moment>,
}

impl Head {
    /// The call that the next attempt makes: the kind's own, or the look at what an earlier one did.
    pub fn api(&self) -> Api {
        match (self.verify, self.kind) {
            (true, Kind::Recall | Kind::Edit | Kind::UpdateCard) => Api::GetMessage,
            (true, Kind::React | Kind::Unreact) => Api::ListReactions,
            (true, Kind::BatchRecall) => Api::BatchProgress,
            (_, kind) => kind.api(),
        }
    }

    /// In the month's ledger: why the call is made. A kind, or `check`: a look at what an earlier attempt did.
    pub fn cause(&self) -> &'static str {
        match self.verify {
            true => "check",
            false => self.kind.name(),
        }
    }

    /// Does it go on while the rest of the month's calls is kept? `high` does, and what does not count; and
    /// what was begun, where a lane waits for it or its outcome is unknown, for then it must end within its
    /// window.
    pub fn is_spared(&self, level: Level) -> bool {
        match level {
            Level::Free => true,
            _ if !self.api().endpoint().counted => true,
            _ if !self.kind.is_public() => false,
            Level::Saving => true,
            Level::Reserve => {
                let stands_alone = self.lane.starts_with('\u{1}');
                let begun = self.unknown.is_some() || (self.tried && !stands_alone);
                self.priority == Priority::High || begun
            }
        }
    }

    /// The order within a lane: a tried job first, then priority, then acceptance.
    pub fn order(&self) -> (i64, i64) {
        (if self.tried { 0 } else { self.priority.rank() }, self.seq)
    }
}

/// A job whose mark is committed: an attempt may begin.
#[derive(Clone, Debug)]
pub struct Marked {
    /// As it stood at the head of its lane.
    pub head: Head,
    /// Its name; on the first rung also the `uuid`.
    pub id: JobId,
    /// Which attempt this is, counted from 1; a result must name it.
    pub attempt: i64,
    /// When it was marked.
    pub mark: Moment,
    /// What the producer asked for: JSON object.
    pub args: Arc<str>,
    /// What other jobs made for it: JSON object of `message`, `batch`, `image`.
    pub resolved: Option<Arc<str>>,
    /// The part of a batch that is next.
    pub part: Option<MarkedPart>,
    /// What to do when its outcome cannot be known.
    pub on_doubt: OnDoubt,
    /// What to do when its card is refused for its form.
    pub on_refused: OnRefused,
    /// How far down the ladder its card is.
    pub rung: u8,
    /// Attempts so far, by what they spent.
    pub spent: Spent,
    /// Was it sent again at somebody's word?
    pub resent: bool,
    /// When it was accepted, Unix milliseconds.
    pub created_ms: i64,
    /// What earlier attempts of a follow-up learned: JSON.
    pub progress: Option<Arc<str>>,
}

/// One part of a batch, under way.
#[derive(Clone, Debug)]
pub struct MarkedPart {
    /// Its number, from 0.
    pub n: i64,
    /// Its lists, or the batch to take back: JSON object.
    pub args: Arc<str>,
}

/// Attempts of a job, by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spent {
    /// Refused with something that may pass.
    pub tries: u32,
    /// Provably never sent.
    pub unsent: u32,
    /// Refused with a code nobody knows.
    pub unclear: u32,
    /// Refused for its token.
    pub token: u32,
}

/// What the dispatcher does for the store. The daemon hands one to the other.
///
/// Called from the writer, so nothing here may wait.
pub trait Permit: Send + Sync {
    /// May a job that is being accepted begin at once? Its lane and its windows must be free now.
    /// `true` takes both, until `born` or `withdraw`.
    fn grant(&self, head: &Head) -> bool;

    /// The granted jobs' commit failed: their lanes and windows are free again.
    fn withdraw(&self, heads: &[Head]);

    /// Granted jobs whose mark is committed: begin.
    fn born(&self, marked: Vec<Marked>);

    /// Jobs that now stand in their lanes, and wait to be picked.
    fn stood(&self, heads: Vec<Head>);

    /// What people pause and resume, in order; committed, and not answered yet. At the start: all that
    /// is paused.
    fn steered(&self, steers: Vec<Steer>);

    /// Jobs that stood in these lanes ended without an attempt, while something is paused.
    fn left(&self, lanes: Vec<(AppId, Box<str>)>);
}
