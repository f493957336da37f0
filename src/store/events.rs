//! Tells every change of state to whoever listens, and reads back from the table what has settled.
//!
//! Only committed changes are told, in the order of their commits. Nothing is built while nobody
//! listens. What is kept for slow readers is bounded: one who falls behind it is told so, and gets
//! what settled meanwhile from the table. The place of an event is the number of jobs that had
//! settled up to it; the writer counts them, so it never goes back, whatever the clock does.
//! Not here: who may listen, and how it is written on the wire (`http`).

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::json;
use sqlx::Row;
use sqlx::sqlite::{SqlitePool, SqliteRow};
use tokio::sync::watch;

use crate::job::{JobId, Kind, State, WaitingFor};
use crate::store::read::public_lane;
use crate::store::writer::Tx;
use crate::store::{Filter, Store, StoreError};

/// Changes that are kept for those who read more slowly than they are made.
const KEPT: usize = 16_384;

/// Settled jobs read from the table at once.
const PAGE: i64 = 500;

/// Rows built in one statement.
const ROWS: usize = 500;

/// Changes that a listener takes at once.
const TAKEN: usize = 256;

/// What an event tells, of jobs that a `where` behind it names.
macro_rules! columns {
    () => {
        "job.seq, job.id, app.name as app_name, client, kind, state, coalesce(receiver, message) as named, job.key, lane,
         labels, message_id, error ->> 'class' as class, error ->> 'code' as code, settle_seq, finished_ms,
         case when state <> 'queued' then null
              when blocked > 0 then 'dependency'
              when parked = 1 then 'lane'
              when stands = 0 and rank > 0 then 'schedule'
              when rank = 0 and attempt > 0 and stands = 0 then 'retry' end as waits,
         (select up.id from job up where up.seq = job.parent and job.role = 'then') as parent_id
           from job join app on app.id = job.app"
    };
}

/// One change of state of a producer's job.
#[derive(Clone, Debug)]
pub struct Event {
    /// Jobs that had settled up to here, this one included.
    pub place: i64,
    /// When, Unix milliseconds.
    pub at_ms: i64,
    /// Which job.
    pub id: JobId,
    /// What it does.
    pub kind: Kind,
    /// With which app.
    pub app: String,
    /// Who asked.
    pub client: String,
    /// Receiver as written, or the message that is acted on.
    pub to: Option<String>,
    /// Where it is now.
    pub state: State,
    /// What it waits for while queued, as far as its row tells: its time, another job, or the delay
    /// after an attempt.
    pub waiting_for: Option<WaitingFor>,
    /// The producer's key.
    pub key: Option<String>,
    /// Its lane, when it has one.
    pub lane: Option<String>,
    /// The producer's labels.
    pub labels: BTreeMap<String, String>,
    /// The job that it hangs on.
    pub parent: Option<JobId>,
    /// What it made, once that is known.
    pub message_id: Option<String>,
    /// Why it is not done: the class of its error.
    pub class: Option<String>,
    /// Feishu's code in it.
    pub code: Option<i64>,
}

/// What a listener hears.
#[derive(Clone, Debug)]
pub enum News {
    /// A job changed.
    Event(Arc<Event>),
    /// Changes were missed; what settled and is still kept follows.
    Gap(Gap),
}

/// Why changes were missed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gap {
    /// The listener read too slowly: some changes that settled nothing are lost to it.
    Lagged,
    /// Jobs that settled since its last event may have been purged.
    Purged,
    /// Its last event was not of this database as it is now.
    Foreign,
}

/// Where a listener was, from the id of the last event that it heard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heard {
    epoch: String,
    place: i64,
}

impl std::str::FromStr for Heard {
    type Err = ();

    fn from_str(text: &str) -> Result<Heard, ()> {
        let (epoch, place) = text.split_once('-').ok_or(())?;
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        if epoch.len() != 8 || !epoch.bytes().all(|b| b.is_ascii_hexdigit()) || !digits(place) {
            return Err(());
        }
        Ok(Heard {
            epoch: epoch.to_owned(),
            place: place.parse().map_err(|_| ())?,
        })
    }
}

/// What a batch has for those who listen.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// Somebody listened while the batch was written.
    built: bool,
    events: Vec<Event>,
}

/// Where the writer tells and listeners hear.
#[derive(Debug)]
pub(super) struct Hub {
    ring: Mutex<Ring>,
    /// How many changes were told so far; wakes those who wait for more.
    told: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Ring {
    kept: VecDeque<Entry>,
    /// The number of the next entry.
    next: u64,
    /// Jobs that have settled, all told.
    settled: i64,
    listeners: usize,
}

#[derive(Clone, Debug)]
enum Entry {
    Event(Arc<Event>),
    /// A batch that began before anybody listened: jobs settled up to this number are in the table.
    Unbuilt(i64),
}

impl Default for Hub {
    fn default() -> Hub {
        Hub {
            ring: Mutex::default(),
            told: watch::Sender::new(0),
        }
    }
}

impl Hub {
    /// So many jobs have settled before anything is told.
    pub(super) fn begin(&self, settled: i64) {
        self.lock().settled = settled;
    }

    pub(super) fn is_heard(&self) -> bool {
        self.lock().listeners > 0
    }

    /// Tells what a batch changed, after its commit.
    pub(super) fn tell(&self, told: Told, settled: i64) {
        let mut ring = self.lock();
        let before = std::mem::replace(&mut ring.settled, settled);
        if ring.listeners == 0 {
            return;
        }
        for event in told.events {
            ring.push(Entry::Event(Arc::new(event)));
        }
        if !told.built && settled > before {
            ring.push(Entry::Unbuilt(settled));
        }
        let next = ring.next;
        drop(ring);
        self.told
            .send_if_modified(|told| std::mem::replace(told, next) != next);
    }

    fn lock(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ring {
    fn push(&mut self, entry: Entry) {
        if self.kept.len() == KEPT {
            self.kept.pop_front();
        }
        self.kept.push_back(entry);
        self.next += 1;
    }

    fn first(&self) -> u64 {
        self.next - self.kept.len() as u64
    }
}

/// One listener; dropped, it costs nothing.
#[derive(Debug)]
pub struct Events {
    store: Store,
    filter: Filter,
    apps: Option<Vec<String>>,
    told: watch::Receiver<u64>,
    /// The entry of the ring that it reads next.
    next: u64,
    /// It has heard of all that settled up to here.
    place: i64,
    /// From `place` up to here it reads from the table, before it goes on in the ring.
    upto: i64,
    gap: Option<Gap>,
    ready: VecDeque<Step>,
}

/// What a listener comes past.
#[derive(Debug)]
enum Step {
    Event(Arc<Event>),
    /// Something that it did not ask for: only the place counts.
    Place(i64),
}

impl Events {
    /// Listens from now on, or from where `heard` says. `apps`: these only. `purged`: settled jobs up
    /// to this place may be gone.
    pub(super) fn listen(
        store: &Store,
        filter: Filter,
        apps: Option<Vec<String>>,
        heard: Option<&Heard>,
        purged: i64,
    ) -> Events {
        let hub = &store.shared.hub;
        let mut ring = hub.lock();
        ring.listeners += 1;
        let (next, upto) = (ring.next, ring.settled);
        drop(ring);
        let ours = heard.filter(|heard| heard.epoch == store.shared.epoch && heard.place <= upto);
        let gap = match (heard, ours) {
            (Some(_), None) => Some(Gap::Foreign),
            (_, Some(heard)) if heard.place < purged => Some(Gap::Purged),
            _ => None,
        };
        Events {
            told: hub.told.subscribe(),
            store: store.clone(),
            filter,
            apps,
            next,
            place: ours.map_or(upto, |heard| heard.place),
            upto,
            gap,
            ready: VecDeque::new(),
        }
    }

    /// The id of the place up to which all was heard: whoever shows it goes on from there.
    pub fn place(&self) -> String {
        self.store.event_id(self.place)
    }

    /// The id of an event that was heard.
    pub fn id_of(&self, event: &Event) -> String {
        self.store.event_id(event.place)
    }

    /// Waits for news and answers at most `max`, in order. Dropped while it waits, it loses nothing.
    ///
    /// # Errors
    /// The file cannot answer; whoever comes again with the last id misses nothing.
    pub async fn next(&mut self, max: usize) -> Result<Vec<News>, StoreError> {
        loop {
            if let Some(gap) = self.gap.take() {
                return Ok(vec![News::Gap(gap)]);
            }
            let news = self.pass(max);
            if !news.is_empty() {
                return Ok(news);
            }
            if self.place < self.upto {
                self.read_back().await.map_err(self.store.failed())?;
            } else if !self.take() {
                // The sender lives as long as the store, which this holds.
                let _ = self.told.changed().await;
            }
        }
    }

    /// Goes on in what is ready.
    fn pass(&mut self, max: usize) -> Vec<News> {
        let mut news = Vec::new();
        while news.len() < max {
            match self.ready.pop_front() {
                None => break,
                Some(Step::Place(place)) => self.place = place,
                Some(Step::Event(event)) => {
                    self.place = event.place;
                    news.push(News::Event(event));
                }
            }
        }
        news
    }

    fn put(&mut self, event: Arc<Event>) {
        let theirs = self.apps.as_ref();
        let theirs = theirs.is_none_or(|apps| apps.contains(&event.app));
        match (
            theirs && matches(&self.filter, &event),
            self.ready.back_mut(),
        ) {
            (true, _) => self.ready.push_back(Step::Event(event)),
            (false, Some(Step::Place(place))) => *place = event.place,
            (false, _) => self.ready.push_back(Step::Place(event.place)),
        }
    }

    /// Takes from the ring what it has, up to where the table must be read. False: nothing.
    fn take(&mut self) -> bool {
        self.told.mark_unchanged();
        let store = self.store.clone();
        let ring = store.shared.hub.lock();
        let first = ring.first();
        if self.next < first {
            self.next = ring.next;
            self.upto = ring.settled;
            self.gap = Some(Gap::Lagged);
            return true;
        }
        let from = usize::try_from(self.next - first).unwrap_or(usize::MAX);
        for entry in ring.kept.iter().skip(from).take(TAKEN) {
            self.next += 1;
            match entry {
                Entry::Event(event) => self.put(Arc::clone(event)),
                Entry::Unbuilt(settled) => {
                    self.upto = *settled;
                    break;
                }
            }
        }
        from < ring.kept.len()
    }

    async fn read_back(&mut self) -> Result<(), sqlx::Error> {
        let rows = sqlx::query(concat!(
            "select ",
            columns!(),
            " where settle_seq > ?1 and settle_seq <= ?2 order by settle_seq limit ?3"
        ))
        .bind(self.place)
        .bind(self.upto)
        .bind(PAGE)
        .fetch_all(&self.store.shared.readers)
        .await?;
        for row in &rows {
            let place = row.get("settle_seq");
            match event(row) {
                Some(settled) => self.put(Arc::new(Event {
                    place,
                    at_ms: row.get("finished_ms"),
                    ..settled
                })),
                None => self.ready.push_back(Step::Place(place)),
            }
        }
        if (rows.len() as i64) < PAGE {
            self.ready.push_back(Step::Place(self.upto));
        }
        Ok(())
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        let mut ring = self.store.shared.hub.lock();
        ring.listeners -= 1;
        if ring.listeners == 0 {
            ring.kept = VecDeque::new();
        }
    }
}

/// Is it one that the filter names?
fn matches(filter: &Filter, event: &Event) -> bool {
    let is = |wanted: &Option<String>, has: Option<&str>| {
        wanted.as_deref().is_none_or(|wanted| has == Some(wanted))
    };
    let kind = event.kind.name();
    (filter.states.is_empty() || filter.states.contains(&event.state))
        && (filter.kinds.is_empty() || filter.kinds.iter().any(|wanted| wanted == kind))
        && is(&filter.app, Some(&event.app))
        && is(&filter.lane, event.lane.as_deref())
        && is(&filter.client, Some(&event.client))
        && is(&filter.to, event.to.as_deref())
        && is(&filter.key, event.key.as_deref())
        && is(&filter.message_id, event.message_id.as_deref())
        && filter.code.is_none_or(|code| event.code == Some(code))
        && filter
            .labels
            .iter()
            .all(|(name, value)| event.labels.get(name) == Some(value))
}

/// What the batch moved, as events: read before its commit, and only when somebody listens. A job
/// that it moved twice is told once, as it is in the end.
pub(super) async fn build(tx: &mut Tx<'_>) -> Result<(), sqlx::Error> {
    if !tx.is_heard {
        return Ok(());
    }
    let mut moved = std::mem::take(&mut tx.changes.moved);
    let mut seen = HashSet::with_capacity(moved.len());
    moved.reverse();
    moved.retain(|seq| seen.insert(*seq));
    moved.reverse();
    tx.changes.told.built = true;
    let mut place = tx.memory.settled - tx.changes.settled;
    for some in moved.chunks(ROWS) {
        let rows = sqlx::query(concat!(
            "select ",
            columns!(),
            " join json_each(?1) moved on moved.value = job.seq where own = 0 order by moved.key"
        ))
        .bind(json!(some).to_string())
        .fetch_all(tx.conn().await?)
        .await?;
        for row in &rows {
            place = place.max(row.get::<Option<i64>, _>("settle_seq").unwrap_or(place));
            tx.changes.told.events.extend(event(row).map(|event| Event {
                place,
                at_ms: tx.now.wall_ms,
                ..event
            }));
        }
    }
    Ok(())
}

/// A row of `columns!`. `None`: of a kind that this binary does not know.
fn event(row: &SqliteRow) -> Option<Event> {
    let id = |name: &str| {
        let id: Option<Vec<u8>> = row.get(name);
        id.and_then(|id| id.try_into().ok()).map(JobId)
    };
    Some(Event {
        place: 0,
        at_ms: 0,
        id: id("id")?,
        kind: Kind::from_name(row.get("kind"))?,
        app: row.get("app_name"),
        client: row.get("client"),
        to: row.get("named"),
        state: State::from_name(row.get("state"))?,
        waiting_for: row
            .get::<Option<&str>, _>("waits")
            .and_then(WaitingFor::from_name),
        key: row.get("key"),
        lane: public_lane(row.get("lane")).map(str::to_owned),
        labels: serde_json::from_str(row.get("labels")).unwrap_or_default(),
        parent: id("parent_id"),
        message_id: row.get("message_id"),
        class: row.get("class"),
        code: row.get("code"),
    })
}

/// What the ids of this file's events begin with: another file, or an older copy that was put back,
/// has counted others. Whoever puts one back drops the row.
pub(super) async fn epoch(readers: &SqlitePool) -> Result<String, sqlx::Error> {
    sqlx::query_scalar("select value from meta where name = 'events_epoch'")
        .fetch_one(readers)
        .await
}

/// Jobs that settled up to this place may be gone.
pub(super) async fn purged(readers: &SqlitePool) -> Result<i64, sqlx::Error> {
    let purged: Option<String> =
        sqlx::query_scalar("select value from meta where name = 'settled_purged'")
            .fetch_optional(readers)
            .await?;
    Ok(purged.and_then(|place| place.parse().ok()).unwrap_or(0))
}
