//! Whole runs of the pure parts against a model of the table and of Feishu, in virtual time.
//!
//! Lanes, windows, pauses and breakers are the real ones (`core`); the table is queues in memory, Feishu a
//! list of arrivals that is judged afterwards by whoever asks. One seed, one run. Nothing here knows how
//! `pace` counts. `cargo test -- --nocapture trial` prints the figures; `day` is also a part of the benches.
#![cfg_attr(not(test), expect(dead_code, reason = "most of it is for the tests"))]

#[cfg(test)]
mod crash;
pub(crate) mod day;
#[cfg(test)]
mod drain;
#[cfg(test)]
mod fairness;
#[cfg(test)]
mod order;
#[cfg(test)]
mod outage;
#[cfg(test)]
mod starved;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap};
use std::ops::Bound;

use feishu_im::{BucketKind, PauseScope};

use super::breaker::BreakerEvent;
use super::core::{AppPlace, Core, Told};
use super::judge::{Judgement, Next};
use super::pace::Limits;
use crate::job::{AppId, Head, Kind, Outcome, Priority};
use crate::store::{Age, Cursor, LaneHead, Piece};

const APP: AppId = AppId(1);
/// From the pick to the write on the wire: the commit of the mark.
const MARK_MS: i64 = 3;
/// From the answer to the next job of the lane: the commit of the result.
const RECORD_MS: i64 = 3;
/// What attempts wait at most.
const TIMEOUT_MS: i64 = 10_000;
/// Lanes in one piece of a walk.
const WALK: u32 = 256;

/// A small generator, so that a seed fixes everything (splitmix64).
pub(super) struct Dice(pub(super) u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// From `least` to `most`, both included.
    pub(super) fn roll(&mut self, least: i64, most: i64) -> i64 {
        let one = self.next() % (most - least + 1).unsigned_abs();
        least + i64::try_from(one).expect("less than an i64")
    }
}

/// One message as Feishu saw it.
#[derive(Debug, Clone)]
struct Seen {
    seq: i64,
    lane: Box<str>,
    /// When it was stored, when it was written, and when Feishu counted it.
    added_ms: i64,
    sent_ms: i64,
    at_ms: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Answered(i64),
    Recorded(i64),
}

/// What an attempt comes to, and what becomes of the job.
#[derive(Debug, Clone)]
enum End {
    Done,
    /// Settled without being done.
    InDoubt,
    /// It stays, as this.
    Again(Box<Head>, Outcome),
    /// Feishu refuses every job of the app; it stays, as this.
    Stopped(Box<Head>),
}

/// One relay, its table and its clock.
struct Trial {
    core: Core,
    now: i64,
    dice: Dice,
    /// The longest way there and back; the shortest is a fifth.
    trip_ms: i64,
    /// Jobs that wait, lane by lane, in the order of their lane.
    table: BTreeMap<Box<str>, BTreeMap<(i64, i64), Head>>,
    /// Lanes of an app that have a job of a rank, as the table's index has them.
    ranks: BTreeMap<(AppId, i64), BTreeSet<Box<str>>>,
    /// The same jobs by age, all apps and ranks.
    ages: BTreeMap<i64, (AppId, i64, Box<str>)>,
    /// Where in the table a job waits.
    places: HashMap<i64, (Box<str>, (i64, i64))>,
    sending: HashMap<i64, (Head, i64)>,
    ends: HashMap<i64, End>,
    added: HashMap<i64, i64>,
    events: BinaryHeap<Reverse<(i64, Event)>>,
    seen: Vec<Seen>,
    next_seq: i64,
    /// Settled without being done.
    in_doubt: usize,
    /// Each pick is held against the table: lanes are few.
    checked: bool,
    /// Looks of the relay's own are answered.
    reads: bool,
    /// How many there were.
    looks: u32,
    /// Pieces of walks over the table that were read.
    walks: u32,
    /// How an attempt of this job ends, begun at that time.
    answer: fn(&Head, i64) -> End,
}

impl Trial {
    /// One app.
    fn new(seed: u64, trip_ms: i64) -> Trial {
        Trial::with_apps(seed, trip_ms, 1)
    }

    /// So many apps, each of a tenant and on a base URL of its own. A lane's name is of one app only.
    fn with_apps(seed: u64, trip_ms: i64, apps: usize) -> Trial {
        let limits = Limits {
            app_minute: 1000,
            app_second: 50,
            chat_second: 5,
            user_second: 5,
        };
        let app = |at: usize| AppPlace {
            id: AppId(APP.0 + at as i64),
            name: format!("app{at}"),
            tenant: at,
            base: at,
            limits,
            timeout_ms: TIMEOUT_MS,
        };
        let mut core = Core::new((0..apps).map(app).collect());
        core.start(&[], &[], &[], 0, 0);
        let mut trial = Trial {
            core,
            now: 0,
            dice: Dice(seed),
            trip_ms,
            table: BTreeMap::new(),
            ranks: BTreeMap::new(),
            ages: BTreeMap::new(),
            places: HashMap::new(),
            sending: HashMap::new(),
            ends: HashMap::new(),
            added: HashMap::new(),
            events: BinaryHeap::new(),
            seen: Vec::new(),
            next_seq: 0,
            in_doubt: 0,
            checked: false,
            reads: true,
            looks: 0,
            walks: 0,
            answer: |_, _| End::Done,
        };
        trial.read();
        trial
    }

    /// Another process on the same table; nothing may be under way.
    fn restart(&mut self) {
        assert!(self.sending.is_empty(), "that is a crash");
        self.core = Core::new(self.core.apps.clone());
        self.core.start(&[], &[], &[], self.now, self.now);
    }

    /// A job of that kind comes now, to the chat that names its lane. Answers its number.
    fn add(&mut self, kind: Kind, lane: &str, priority: Priority) -> i64 {
        let head = self.head(kind, lane, priority, self.now);
        self.comes(head);
        self.next_seq
    }

    /// The next job, due at `due_ms`.
    fn head(&mut self, kind: Kind, lane: &str, priority: Priority, due_ms: i64) -> Head {
        self.next_seq += 1;
        Head {
            seq: self.next_seq,
            app: APP,
            lane: lane.into(),
            kind,
            verify: false,
            priority,
            tried: false,
            due_ms,
            since_ms: due_ms,
            receiver: (kind == Kind::Send).then(|| lane.into()),
            message: (kind != Kind::Send).then(|| lane.into()),
            size: 200,
            weight: 1,
            unknown: None,
        }
    }

    /// It stands in its lane now, or goes at once.
    fn comes(&mut self, head: Head) {
        self.added.insert(head.seq, self.now);
        if head.due_ms <= self.now && self.core.grant(&head, self.now) {
            self.go(head);
        } else {
            self.stands(head.clone());
            self.core.stood(head, self.now);
        }
    }

    /// It is in the table since before the start.
    fn waits(&mut self, head: Head) {
        self.added.insert(head.seq, self.now);
        self.stands(head);
    }

    fn stands(&mut self, head: Head) {
        let place = (head.lane.clone(), head.order());
        let rank = self.ranks.entry((head.app, place.1.0)).or_default();
        rank.insert(head.lane.clone());
        self.ages
            .insert(head.seq, (head.app, place.1.0, head.lane.clone()));
        self.places.insert(head.seq, place);
        self.table
            .entry(head.lane.clone())
            .or_default()
            .insert(head.order(), head);
    }

    /// It is marked: it leaves, and its answer is on its way.
    fn go(&mut self, head: Head) {
        let sent_ms = self.now + MARK_MS;
        let trip = self.dice.roll(self.trip_ms / 5, self.trip_ms);
        self.seen.push(Seen {
            seq: head.seq,
            lane: head.lane.clone(),
            added_ms: self.added[&head.seq],
            sent_ms,
            at_ms: sent_ms + self.dice.roll(0, trip),
        });
        let answered_ms = sent_ms + trip;
        self.events
            .push(Reverse((answered_ms, Event::Answered(head.seq))));
        self.sending.insert(head.seq, (head, sent_ms));
    }

    /// Everything up to `until_ms`, or to the moment when nothing is left to do.
    fn run(&mut self, until_ms: i64) {
        loop {
            self.turn();
            let idle = self.events.is_empty() && self.table.is_empty();
            let soon = self.now + self.core.next_ms(self.now, self.now);
            let next = self.events.peek().map_or(soon, |event| event.0.0.min(soon));
            if idle || next > until_ms {
                self.now = if idle { self.now } else { until_ms };
                return;
            }
            self.now = next.max(self.now);
        }
    }

    fn turn(&mut self) {
        while let Some(&Reverse((_, event))) =
            self.events.peek().filter(|event| event.0.0 <= self.now)
        {
            self.events.pop();
            match event {
                Event::Answered(seq) => self.answered(seq),
                Event::Recorded(seq) => self.recorded(seq),
            }
        }
        self.read();
        for app in self.core.reads_wanted(self.now) {
            self.looks += 1;
            self.core.looked(app, self.reads, false, self.now);
        }
        for seq in self.core.pick(self.now, self.now) {
            let head = self.take(seq);
            self.go(head);
        }
        self.read();
    }

    fn take(&mut self, seq: i64) -> Head {
        let (lane, order) = self.places.remove(&seq).expect("what is picked waits");
        if self.checked {
            self.check(&lane, order);
        }
        let jobs = self.table.get_mut(&lane).expect("it has a place");
        let head = jobs.remove(&order).expect("it has a place");
        self.ages.remove(&seq);
        if !jobs.keys().any(|other| other.0 == order.0) {
            let rank = self.ranks.entry((head.app, order.0)).or_default();
            rank.remove(&lane);
        }
        if jobs.is_empty() {
            self.table.remove(&lane);
        }
        head
    }

    /// The one that goes is the first of its lane, or the oldest of a lower priority; its lane is free.
    fn check(&self, lane: &str, order: (i64, i64)) {
        let jobs = &self.table[lane];
        assert!(jobs[&order].due_ms <= self.now, "{order:?} is not due");
        assert!(
            self.sending.values().all(|(head, _)| *head.lane != *lane),
            "two of {lane} at once"
        );
        let first = jobs.keys().next().expect("it holds the one");
        let oldest = jobs
            .keys()
            .filter(|one| one.0 != first.0)
            .min_by_key(|one| one.1);
        let turn = first.0 > 0 && oldest == Some(&order);
        assert!(order == *first || turn, "{order:?} of {:?}", jobs.keys());
    }

    fn answered(&mut self, seq: i64) {
        let (head, sent_ms) = &self.sending[&seq];
        let end = (self.answer)(head, *sent_ms);
        let outcome = match &end {
            End::Done => Outcome::Done,
            End::InDoubt => Outcome::Unknown,
            End::Again(_, outcome) => *outcome,
            End::Stopped(_) => Outcome::Refused,
        };
        let stopped = matches!(end, End::Stopped(_));
        let judgement = Judgement {
            outcome,
            next: Next::Done,
            pause: stopped.then_some((PauseScope::App, 10_014)),
            bucket: (outcome == Outcome::Limited).then_some((BucketKind::Receiver, self.now + 500)),
            breaker: match outcome {
                Outcome::Unknown => BreakerEvent::Unknown,
                Outcome::NotSent => BreakerEvent::NotSent,
                Outcome::Done | Outcome::Limited | Outcome::Refused => BreakerEvent::Ok,
            },
        };
        let told = Told {
            judgement: &judgement,
            msg: "",
            refund: outcome == Outcome::NotSent,
            chat: None,
            made: None,
            counted: true,
        };
        self.core.answered(seq, &told, self.now);
        self.ends.insert(seq, end);
        self.events
            .push(Reverse((self.now + RECORD_MS, Event::Recorded(seq))));
    }

    fn recorded(&mut self, seq: i64) {
        let (head, _) = self.sending.remove(&seq).expect("it was sent");
        let end = self.ends.remove(&seq);
        let gone = matches!(end, Some(End::Done));
        match end {
            Some(End::Again(next, _) | End::Stopped(next)) => self.stands(*next),
            Some(End::InDoubt) => self.in_doubt += 1,
            Some(End::Done) | None => {}
        }
        self.core.recorded(head.app, &head.lane, seq, gone);
    }

    /// The loop's reads of the table, answered at once.
    fn read(&mut self) {
        while let Some(walk) = self.core.next_walk(WALK, self.now) {
            self.walks += 1;
            let app = self.core.apps[walk.app].id;
            let limit = walk.limit as usize;
            let (names, next): (Vec<Box<str>>, Option<Cursor>) = match &walk.cursor {
                Cursor::Name(after) => {
                    let after: Box<str> = after.as_str().into();
                    let after = (Bound::Excluded(after), Bound::Unbounded);
                    let rank = self.ranks.entry((app, walk.rank)).or_default();
                    let names: Vec<Box<str>> = rank.range(after).take(limit).cloned().collect();
                    let last = names.last().filter(|_| names.len() == limit);
                    let next = last.map(|last| Cursor::Name(last.to_string()));
                    (names, next)
                }
                Cursor::Age(age) => {
                    let jobs: Vec<_> = self.ages.range(age.seq + 1..).take(limit).collect();
                    let last = jobs.last().filter(|_| jobs.len() == limit);
                    let next = last.map(|(seq, _)| {
                        Cursor::Age(Age {
                            seq: **seq,
                            ..Age::default()
                        })
                    });
                    let mut met = BTreeSet::new();
                    let wanted = jobs
                        .iter()
                        .filter(|(_, job)| (job.0, job.1) == (app, walk.rank));
                    let names = wanted.map(|(_, job)| job.2.clone());
                    (
                        names.filter(|name| met.insert(name.clone())).collect(),
                        next,
                    )
                }
            };
            let lanes = names.iter();
            let lanes = lanes.map(|lane| lane_head(app, lane, self.table.get(lane)));
            let piece = Piece {
                lanes: lanes.collect(),
                next,
            };
            self.core.walked(&walk, piece, self.now);
        }
        let reads = self.core.lanes.take_reads();
        let reads = reads.into_iter().map(|(app, lane)| {
            let app = self.core.apps[app].id;
            lane_head(app, &lane, self.table.get(&lane))
        });
        let found = reads.collect();
        self.core.read(found, self.now);
    }
}

/// As the store reads it: who stands first, and the oldest behind it of another rank.
fn lane_head(app: AppId, lane: &str, jobs: Option<&BTreeMap<(i64, i64), Head>>) -> LaneHead {
    let mut firsts: BTreeMap<i64, &Head> = BTreeMap::new();
    for (order, head) in jobs.into_iter().flatten() {
        firsts.entry(order.0).or_insert(head);
    }
    let mut firsts = firsts.into_values();
    let head = firsts.next().cloned();
    LaneHead {
        app,
        lane: lane.into(),
        head,
        other: firsts.min_by_key(|head| head.seq).cloned(),
    }
}

/// The most that stood in any stretch of `len_ms`, and how many calls a Feishu of fixed windows would have
/// refused in the worst phase. A fixed window of any phase is such a stretch.
fn refused(mut times: Vec<i64>, len_ms: i64, most: u32) -> (u32, u32) {
    times.sort_unstable();
    let within = |from: usize| times[from..].partition_point(|at| *at < times[from] + len_ms);
    let fullest = (0..times.len()).map(within).max().unwrap_or(0);
    let fullest = u32::try_from(fullest).expect("fewer calls than that");
    if fullest <= most {
        return (fullest, 0);
    }
    let over = (0..len_ms).step_by(7).map(|phase| {
        let mut windows: HashMap<i64, u32> = HashMap::new();
        for at in &times {
            *windows.entry((at + phase).div_euclid(len_ms)).or_default() += 1;
        }
        let over = windows.values().map(|count| count.saturating_sub(most));
        over.sum()
    });
    (fullest, over.max().unwrap_or(0))
}
