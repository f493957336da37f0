//! Doors for the micro benches: a verdict judged, a call through its windows, a job through the lanes.
//!
//! Each does the smallest whole step again and again, in virtual time, and touches neither disk nor network.
//! Not here: what the rooms behind promise; their own tests hold that.

use std::collections::VecDeque;
use std::hint::black_box;

use feishu_im::exchange::{Exchange, Fault, Reply, UnknownKind};
use feishu_im::{Api, classify};

use crate::dispatch::breaker::BreakerEvent;
use crate::dispatch::core::{AppPlace, Core, Told};
use crate::dispatch::judge::{Judgement, Next, Subject, judge};
use crate::dispatch::pace::{Ask, Earliest, Limits, Pace, TenantIx};
use crate::job::{AppId, Head, Kind, OnDoubt, Outcome, Priority};
use crate::store::{Age, Cursor, LaneHead, Piece};

/// What attempts wait at most.
const TIMEOUT_MS: i64 = 10_000;
/// Lanes in one piece of a walk, as the loop reads them.
const WALK: u32 = 256;
/// What is over is forgotten so often, as the loop does it.
const PRUNE_MS: i64 = 500;
const OFF: Limits = Limits {
    app_minute: 0,
    app_second: 0,
    chat_second: 0,
    user_second: 0,
};

/// One attempt's end, waiting to be judged.
#[derive(Debug)]
pub struct Judging {
    subject: Subject,
    exchange: Exchange,
}

impl Judging {
    /// The ends that are met most, each with its name.
    pub fn all() -> Vec<(&'static str, Judging)> {
        let lost = Fault::Unknown {
            kind: UnknownKind::Timeout,
            http: None,
            text: String::new(),
        };
        vec![
            ("done", Judging::of(Ok(reply(200, 0)))),
            ("chat_limit", Judging::of(Ok(reply(400, 230_020)))),
            ("refused", Judging::of(Ok(reply(400, 230_001)))),
            ("code_of_no_table", Judging::of(Ok(reply(400, 987_654)))),
            ("answer_lost", Judging::of(Err(lost))),
        ]
    }

    fn of(answer: Result<Reply, Fault>) -> Judging {
        let api = Api::SendMessage;
        Judging {
            subject: Subject {
                api,
                seed: 7,
                on_doubt: OnDoubt::Hold,
                tries: 0,
                unsent: 0,
                unclear: 0,
                token_retries: 0,
                unknown_age_ms: None,
                resent: false,
                verify: false,
                verified: None,
                can_lower: false,
                timeout_ms: TIMEOUT_MS,
            },
            exchange: Exchange {
                api,
                answer,
                log_id: None,
                fresh_token_same: false,
            },
        }
    }

    /// What the answer means, and what follows for the job.
    pub fn judge(&self) {
        let verdict = classify(black_box(&self.exchange));
        black_box(judge(black_box(&self.subject), &verdict, 0));
    }
}

fn reply(http: u16, code: i64) -> Reply {
    Reply {
        http,
        code,
        msg: String::from("said by Feishu"),
        data: None,
        body: Vec::new().into(),
        rate_limit: None,
        reset_s: None,
        retry_after_s: None,
        log_id: None,
    }
}

/// The windows of one app and of the chats that it writes to.
#[derive(Debug)]
pub struct Windows {
    pace: Pace,
    chats: Vec<String>,
    next: usize,
    now_ns: i64,
    every_ns: i64,
    prune_ms: i64,
}

impl Windows {
    /// An app at its full rate, a thousand a minute, to so many chats in turn.
    pub fn of_an_app(chats: usize) -> Windows {
        let limits = Limits {
            app_minute: 1000,
            app_second: 50,
            chat_second: 5,
            user_second: 5,
        };
        Windows::new(limits, chats, 63_000_000)
    }

    /// So many chats, each written to four times a second.
    pub fn of_chats(chats: usize) -> Windows {
        let limits = Limits {
            chat_second: 5,
            ..OFF
        };
        Windows::new(limits, chats, 250_000_000 / chats as i64)
    }

    fn new(limits: Limits, chats: usize, every_ns: i64) -> Windows {
        let mut windows = Windows {
            pace: Pace::new(vec![(TenantIx(0), limits)]),
            chats: (0..chats).map(|n| format!("oc_{n:032}")).collect(),
            next: 0,
            now_ns: 0,
            every_ns,
            prune_ms: 0,
        };
        // As full as they get: a second for each chat, a minute for the app.
        let calls = (8 * chats).max(1000);
        assert!((0..calls).all(|_| windows.call()), "every call has room");
        windows
    }

    /// One call asks, takes its slots and is answered; false: it had to wait.
    pub fn call(&mut self) -> bool {
        let now_ms = self.now_ns / 1_000_000;
        let ask = Ask {
            app: 0,
            api: Api::SendMessage,
            receiver: Some(&self.chats[self.next % self.chats.len()]),
            message: None,
            high: false,
            weight: 1,
        };
        self.next += 1;
        self.now_ns += self.every_ns;
        if now_ms >= self.prune_ms {
            self.pace.prune(now_ms);
            self.prune_ms = now_ms + PRUNE_MS;
        }
        if black_box(self.pace.earliest(&ask, now_ms)) != Earliest::Now {
            return false;
        }
        match self.pace.take(&ask, now_ms) {
            Some(hold) => {
                self.pace.answered(hold, now_ms);
                true
            }
            None => false,
        }
    }
}

/// A dispatcher with a backlog that never ends: so many lanes, each with a next job, no limits.
#[derive(Debug)]
pub struct Picking {
    core: Core,
    lanes: Vec<Box<str>>,
    /// The number of each lane's first job.
    first: Vec<i64>,
    /// Under way, the oldest first.
    flights: VecDeque<i64>,
    steps: i64,
}

impl Picking {
    /// As many attempts under way as there may be.
    pub fn over(lanes: usize) -> Picking {
        let mut core = Core::new(vec![AppPlace {
            id: AppId(1),
            name: String::from("app"),
            tenant: 0,
            base: 0,
            limits: OFF,
            timeout_ms: TIMEOUT_MS,
        }]);
        core.start(&[], &[], &[], 0, 0);
        let mut picking = Picking {
            core,
            lanes: (0..lanes).map(|n| format!("oc_{n:032}").into()).collect(),
            first: (0..lanes as i64).collect(),
            flights: VecDeque::new(),
            steps: 0,
        };
        picking.read();
        picking.pick();
        picking
    }

    /// One job ends and is recorded, its lane's next one is read, and the next job is picked. Answers how many
    /// were picked: one.
    pub fn step(&mut self) -> usize {
        self.steps += 1;
        let now_ms = self.now_ms();
        let Some(seq) = self.flights.pop_front() else {
            return 0;
        };
        let judgement = Judgement {
            outcome: Outcome::Done,
            next: Next::Done,
            pause: None,
            bucket: None,
            breaker: BreakerEvent::Ok,
        };
        let told = Told {
            judgement: &judgement,
            msg: "",
            refund: false,
            chat: None,
            made: None,
            counted: true,
        };
        self.core.answered(seq, &told, now_ms);
        let lane = self.lane_of(seq);
        self.first[lane] = seq + self.lanes.len() as i64;
        self.core.recorded(AppId(1), &self.lanes[lane], seq, true);
        if now_ms % PRUNE_MS == 0 {
            self.core.prune(now_ms);
        }
        self.read();
        self.pick()
    }

    fn pick(&mut self) -> usize {
        let now_ms = self.now_ms();
        let picked = self.core.pick(now_ms, now_ms);
        self.flights.extend(&picked);
        picked.len()
    }

    /// A thousand jobs a second.
    fn now_ms(&self) -> i64 {
        self.steps
    }

    fn lane_of(&self, seq: i64) -> usize {
        usize::try_from(seq).unwrap_or(0) % self.lanes.len()
    }

    /// The loop's reads of the table, answered from memory.
    fn read(&mut self) {
        let now_ms = self.now_ms();
        while let Some(walk) = self.core.next_walk(WALK, now_ms) {
            // Each lane has as many jobs, in turn: by age they come in the same order.
            let from = match &walk.cursor {
                Cursor::Name(after) => self.lanes.partition_point(|lane| **lane <= **after),
                Cursor::Age(age) => usize::try_from(age.seq).unwrap_or(0),
            };
            let to = match walk.rank == Priority::Normal.rank() {
                true => self.lanes.len().min(from + WALK as usize),
                false => from,
            };
            let next = (to - from == WALK as usize).then(|| match &walk.cursor {
                Cursor::Name(_) => Cursor::Name(self.lanes[to - 1].to_string()),
                Cursor::Age(_) => Cursor::Age(Age {
                    seq: to as i64,
                    ..Age::default()
                }),
            });
            let lanes = (from..to).map(|lane| self.head(lane)).collect();
            self.core.walked(&walk, Piece { lanes, next }, now_ms);
        }
        let wanted = self.core.lanes.take_reads();
        let found = wanted.iter().map(|(_, name)| {
            let place = self.lanes.binary_search(name);
            self.head(place.unwrap_or(0))
        });
        let found = found.collect();
        self.core.read(found, now_ms);
    }

    fn head(&self, lane: usize) -> LaneHead {
        let name = &self.lanes[lane];
        LaneHead {
            app: AppId(1),
            lane: name.clone(),
            head: Some(Head {
                seq: self.first[lane],
                app: AppId(1),
                lane: name.clone(),
                kind: Kind::Send,
                verify: false,
                priority: Priority::Normal,
                tried: false,
                due_ms: 0,
                since_ms: 0,
                receiver: Some(name.clone()),
                message: None,
                size: 600,
                weight: 1,
                unknown: None,
            }),
            other: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is timed is what is meant to be: each step picks one, and no call waits.
    #[test]
    fn every_step_is_one_job_and_every_call_has_room() {
        for lanes in [1, 100, 1000, 10_000] {
            let mut picking = Picking::over(lanes);
            assert_eq!(picking.flights.len(), lanes.min(512), "{lanes}");
            assert!((0..20_000).all(|_| picking.step() == 1), "{lanes}");
        }
        for mut windows in [Windows::of_an_app(1000), Windows::of_chats(1000)] {
            assert!((0..20_000).all(|_| windows.call()));
        }
    }
}
