//! What a run does, from its seed alone: jobs, faults, kill points, moves of the clocks.
//!
//! The same seed gives the same plan, on every machine. Which job meets which fault does not follow
//! from it: processes and threads run as the system lets them.

use fastrand::Rng;
use feishu_sandbox::{DEFAULT_CLOSED_CHAT, DEFAULT_UNREACHABLE_USER, DEFAULT_USERS, staff_open_id};
use serde_json::{Value, json};

/// How many post at the same time.
pub(crate) const PRODUCERS: usize = 4;
/// Groups of the world.
const CHATS: usize = 8;
/// Ids of one list of a batch. Source: the platform's limit, and what a part is.
pub(crate) const PART: usize = 200;
/// One pixel, as base64 of a PNG.
const PIXEL: &str = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";
/// A move of the clocks longer than this could carry a call that Feishu still works on out of its
/// window: Feishu is stopped for it. Well under the ten minutes between the two windows.
pub(crate) const SHORT_MS: i64 = 4 * 60_000;

/// What a job is asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Text,
    Image,
    Batch { people: usize },
    Pin,
    UrgentApp,
    UrgentSms,
    UrgentPhone,
    Recall,
    BatchRecall,
}

impl Kind {
    /// As the relay names it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Text | Kind::Image => "send",
            Kind::Batch { .. } => "batch_send",
            Kind::Pin => "pin",
            Kind::UrgentApp => "urgent_app",
            Kind::UrgentSms => "urgent_sms",
            Kind::UrgentPhone => "urgent_phone",
            Kind::Recall => "recall",
            Kind::BatchRecall => "batch_recall",
        }
    }
}

/// A job as it is asked for. `marker` stands in its text and in its label `n`.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    pub(crate) marker: String,
    pub(crate) kind: Kind,
    pub(crate) to: String,
    pub(crate) lane: Option<String>,
    pub(crate) priority: &'static str,
    pub(crate) delay_s: Option<u64>,
    pub(crate) expires_s: Option<u64>,
    pub(crate) on_doubt: &'static str,
    pub(crate) key: Option<String>,
    pub(crate) then: Vec<Job>,
}

impl Job {
    /// The request.
    pub(crate) fn body(&self) -> Value {
        let mut body = json!({
            "kind": self.kind.name(), "labels": {"n": self.marker}, "on_doubt": self.on_doubt,
        });
        let args = match self.kind {
            Kind::Text => json!({"to": self.to, "text": self.marker}),
            Kind::Image => {
                json!({"to": self.to, "image": {"data": PIXEL, "file_name": "pixel.png"}})
            }
            Kind::Batch { people } => {
                let ids: Vec<String> = (1..=people).map(staff_open_id).collect();
                json!({"open_ids": ids, "text": self.marker})
            }
            Kind::UrgentApp | Kind::UrgentSms | Kind::UrgentPhone => json!({"users": [self.to]}),
            Kind::Pin | Kind::Recall | Kind::BatchRecall => json!({}),
        };
        body["args"] = args;
        let mut put = |name: &str, value: Value| body[name] = value;
        if self.priority != "normal" {
            put("priority", json!(self.priority));
        }
        if let Some(lane) = &self.lane {
            put("lane", json!(lane));
        }
        if let Some(s) = self.delay_s {
            put("delay", json!(format!("{s}s")));
        }
        if let Some(s) = self.expires_s {
            put("expires_in", json!(format!("{s}s")));
        }
        if let Some(key) = &self.key {
            put("key", json!(key));
        }
        if !self.then.is_empty() {
            put("then", self.then.iter().map(Job::body).collect());
        }
        body
    }
}

/// Jobs that are posted together. Without a key on each, a lost answer is not asked again.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) jobs: Vec<Job>,
    pub(crate) keyed: bool,
}

/// When the relay is killed: so many acknowledgements or calls after the round began, or while it starts;
/// and then `micros` later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Kill {
    pub(crate) point: KillPoint,
    pub(crate) micros: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KillPoint {
    Acks(u64),
    Calls(u64),
    Start,
}

/// What the clocks do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Move {
    /// Time passes: every clock, Feishu's too.
    Forward { ms: i64 },
    /// The wall clock alone is set, forward or back; time itself goes on.
    Wall { ms: i64 },
    /// The machine is off for `ms`: another boot, whose clock begins again. The wall clock runs on.
    Reboot { ms: i64 },
}

/// What somebody with the rights of an operator does: to the `pick`-th of what he finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Act {
    pub(crate) what: What,
    pub(crate) pick: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    Cancel,
    Recall,
    Retry,
    SettleFailed,
}

impl What {
    /// As it stands in the path.
    pub(crate) fn name(self) -> &'static str {
        match self {
            What::Cancel => "cancel",
            What::Recall => "recall",
            What::Retry => "retry",
            What::SettleFailed => "settle",
        }
    }
}

/// From one kill to the next.
#[derive(Clone, Debug)]
pub(crate) struct Round {
    /// Requests of each producer.
    pub(crate) requests: usize,
    /// The sandbox's list.
    pub(crate) faults: Value,
    /// Feishu is not there until the kill.
    pub(crate) outage: bool,
    pub(crate) acts: Vec<Act>,
    pub(crate) kill: Kill,
    /// While the relay is dead.
    pub(crate) dead: Vec<Move>,
    /// After it is back.
    pub(crate) live: Option<Move>,
}

/// A whole run.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    /// The sandbox keeps Feishu's real windows; else neither side knows a limit.
    pub(crate) limits: bool,
    pub(crate) rounds: Vec<Round>,
    /// By producer, in the order of posting; the rounds release them.
    pub(crate) requests: Vec<Vec<Request>>,
}

/// The plan of `seed` with `kills` kills.
pub(crate) fn plan(seed: u64, kills: usize) -> Plan {
    let mut rng = Rng::with_seed(seed);
    let limits = rng.u8(..3) == 0;
    let rounds: Vec<Round> = (0..kills).map(|_| round(&mut rng)).collect();
    let per_producer: usize = rounds.iter().map(|round| round.requests).sum();
    let requests = (0..PRODUCERS)
        .map(|producer| {
            let mut maker = Maker {
                rng: Rng::with_seed(rng.u64(..)),
                prefix: format!("t{seed:x}-{producer}"),
                made: 0,
            };
            (0..per_producer).map(|_| maker.request()).collect()
        })
        .collect();
    Plan {
        seed,
        limits,
        rounds,
        requests,
    }
}

/// The sandbox's world: groups of the named cast, limits as the plan has them.
pub(crate) fn world(limits: bool) -> Value {
    let chats: Vec<Value> = (1..=CHATS)
        .map(|n| json!({"chat_id": chat(n), "name": format!("Room {n}"), "members": DEFAULT_USERS}))
        .chain([json!({"chat_id": DEFAULT_CLOSED_CHAT, "name": "No bots here", "members": DEFAULT_USERS, "bots": []})])
        .collect();
    let mut world = json!({"chats": chats, "limits": {"unread_buzzes": 0, "batch_day": 0}});
    if !limits {
        for name in [
            "app_minute",
            "app_second",
            "chat_second",
            "user_second",
            "message_second",
        ] {
            world["limits"][name] = json!(0);
        }
    }
    world
}

fn chat(n: usize) -> String {
    format!("oc_70270000{n:024}")
}

struct Maker {
    rng: Rng,
    prefix: String,
    made: usize,
}

impl Maker {
    fn request(&mut self) -> Request {
        let count = match self.rng.u8(..10) {
            0..6 => 1,
            6..9 => self.rng.usize(2..6),
            _ => self.rng.usize(6..20),
        };
        let keyed = self.rng.u8(..10) < 7;
        let mut jobs: Vec<Job> = (0..count).map(|_| self.job()).collect();
        if keyed {
            for job in &mut jobs {
                job.key = Some(format!("k-{}", job.marker));
            }
        }
        Request { jobs, keyed }
    }

    fn job(&mut self) -> Job {
        self.made += 1;
        let marker = format!("{}-{:05}", self.prefix, self.made);
        let rng = &mut self.rng;
        let (kind, to) = match rng.u8(..100) {
            0..84 => (Kind::Text, receiver(rng)),
            84..88 => (Kind::Image, receiver(rng)),
            _ => {
                let most = if rng.u8(..4) == 0 { 450 } else { 6 };
                let people = rng.usize(1..=most);
                (Kind::Batch { people }, String::new())
            }
        };
        let mut job = Job {
            marker,
            kind,
            to,
            lane: None,
            priority: priority(rng),
            delay_s: (rng.u8(..8) == 0).then(|| rng.u64(1..600)),
            expires_s: None,
            on_doubt: [
                "hold", "hold", "hold", "hold", "hold", "hold", "drop", "resend",
            ][rng.usize(..8)],
            key: None,
            then: Vec::new(),
        };
        if rng.u8(..8) == 0 {
            job.expires_s = Some(job.delay_s.unwrap_or(0) + rng.u64(20..7200));
        }
        if kind == Kind::Text && rng.u8(..12) == 0 {
            job.lane = Some(format!("lane-{}", rng.u8(..3)));
        }
        if rng.u8(..4) == 0 {
            job.then = children(rng, &job);
        }
        job
    }
}

/// A few lanes get most, so that there is an order to keep.
fn receiver(rng: &mut Rng) -> String {
    match rng.u8(..100) {
        0..40 => chat(rng.usize(1..=2)),
        40..65 => chat(rng.usize(1..=CHATS)),
        65..96 => DEFAULT_USERS[rng.usize(..DEFAULT_USERS.len())].to_owned(),
        96..98 => DEFAULT_CLOSED_CHAT.to_owned(),
        _ => DEFAULT_UNREACHABLE_USER.to_owned(),
    }
}

fn priority(rng: &mut Rng) -> &'static str {
    match rng.u8(..10) {
        0 => "high",
        1 => "low",
        _ => "normal",
    }
}

/// At most one of a kind, so that each effect has one job that it belongs to.
fn children(rng: &mut Rng, parent: &Job) -> Vec<Job> {
    let mut kinds = match parent.kind {
        Kind::Batch { .. } => vec![Kind::BatchRecall],
        _ => vec![
            Kind::Pin,
            Kind::UrgentApp,
            Kind::UrgentSms,
            Kind::UrgentPhone,
        ],
    };
    rng.shuffle(&mut kinds);
    kinds.truncate(rng.usize(1..=kinds.len()));
    if kinds[0] != Kind::BatchRecall && rng.u8(..6) == 0 {
        kinds.push(Kind::Recall);
    }
    let user = match parent.to.starts_with("ou_") {
        true => parent.to.clone(),
        false => DEFAULT_USERS[rng.usize(..DEFAULT_USERS.len())].to_owned(),
    };
    let child = |(n, kind): (usize, Kind)| Job {
        marker: format!("{}.{n}", parent.marker),
        kind,
        to: user.clone(),
        lane: None,
        priority: "normal",
        delay_s: match kind {
            Kind::Recall | Kind::BatchRecall => Some(rng.u64(10..1200)),
            _ => (rng.u8(..6) == 0).then(|| rng.u64(1..300)),
        },
        expires_s: None,
        on_doubt: "hold",
        key: None,
        then: Vec::new(),
    };
    let mut made: Vec<Job> = kinds.into_iter().enumerate().map(child).collect();
    if parent.expires_s.is_some() {
        // Else a short deadline of the parent could lie before the start of a delayed child.
        for child in made.iter_mut().filter(|child| child.delay_s.is_some()) {
            child.expires_s = None;
        }
    }
    made
}

fn round(rng: &mut Rng) -> Round {
    let outage = rng.u8(..12) == 0;
    let point = match rng.u8(..10) {
        0 => KillPoint::Start,
        1..5 => KillPoint::Acks(rng.u64(1..12)),
        _ => KillPoint::Calls(rng.u64(1..60)),
    };
    let micros = match rng.u8(..3) {
        0 => 0,
        1 => rng.u64(..3_000),
        _ => rng.u64(..80_000),
    };
    let acts = (0..rng.usize(..3)).map(|_| act(rng)).collect();
    Round {
        requests: rng.usize(1..5),
        faults: faults(rng),
        outage,
        acts,
        kill: Kill { point, micros },
        dead: moves(rng),
        live: match rng.u8(..8) {
            0 => Some(forward(rng)),
            1 => Some(back(rng)),
            _ => None,
        },
    }
}

fn act(rng: &mut Rng) -> Act {
    let what = match rng.u8(..10) {
        0..3 => What::Retry,
        3..6 => What::Recall,
        6..9 => What::Cancel,
        _ => What::SettleFailed,
    };
    Act {
        what,
        pick: rng.usize(..1000),
    }
}

fn forward(rng: &mut Rng) -> Move {
    let ms = match rng.u8(..100) {
        0..60 => rng.i64(500..40_000),
        60..80 => rng.i64(40_000..SHORT_MS),
        80..92 => rng.i64(SHORT_MS..75 * 60_000),
        _ => rng.i64(75 * 60_000..5 * 3_600_000),
    };
    Move::Forward { ms }
}

fn back(rng: &mut Rng) -> Move {
    let minutes = if rng.bool() { 5 } else { 20 };
    Move::Wall {
        ms: -minutes * 60_000,
    }
}

/// A wall clock that is wrong is right again in the next round. A reboot comes only with a clock that
/// is right: after a reboot only the wall clock knows how old a message is, so one that was set back
/// by more than the ten minutes between the two windows leaves nobody who could tell.
fn moves(rng: &mut Rng) -> Vec<Move> {
    match rng.u8(..20) {
        0..5 => Vec::new(),
        5..15 => vec![forward(rng)],
        15..17 => vec![back(rng), forward(rng)],
        17 => vec![Move::Wall {
            ms: rng.i64(1_000..120_000),
        }],
        _ => vec![Move::Reboot {
            ms: rng.i64(20_000..SHORT_MS),
        }],
    }
}

const SEND: &str = "POST /open-apis/im/v1/messages";
const CALLS: [&str; 9] = [
    "*",
    SEND,
    SEND,
    "POST /open-apis/message/v4/batch_send/",
    "POST /open-apis/im/v1/pins",
    "PATCH /open-apis/im/v1/messages/:message_id/urgent_app",
    "PATCH /open-apis/im/v1/messages/:message_id/urgent_phone",
    "POST /open-apis/im/v1/images",
    "DELETE /open-apis/im/v1/messages/:message_id",
];

fn faults(rng: &mut Rng) -> Value {
    let count = match rng.u8(..10) {
        0..2 => 0,
        _ => rng.usize(1..5),
    };
    (0..count).map(|_| fault(rng)).collect()
}

fn fault(rng: &mut Rng) -> Value {
    let call = CALLS[rng.usize(..CALLS.len())];
    let share = [0.1, 0.25, 0.5, 0.9][rng.usize(..4)];
    let when = if rng.bool() { "before" } else { "after" };
    let mut rule = json!({"call": call, "when": when, "share": share, "seed": rng.u64(..1 << 53)});
    let mut put = |name: &str, value: Value| rule[name] = value;
    match rng.u8(..10) {
        0..2 => put("do", json!("drop")),
        2 => put("do", json!("reset")),
        3..5 => {
            put("do", json!("delay"));
            // Before the effect it must be over well before a move of the clocks.
            let most = if when == "before" { 300 } else { 1_600 };
            put("ms", json!(rng.u64(5..most)));
        }
        5..7 => {
            put("do", json!("5xx"));
            put("http", json!([500, 502, 503, 504][rng.usize(..4)]));
        }
        7 => put("do", json!("cut")),
        // An answer that says no is said before the effect; Feishu does not lie about it.
        8 => {
            put("do", json!("429"));
            put("when", json!("before"));
            put("reset_s", json!(rng.u64(1..4)));
        }
        _ => {
            put("do", json!("code"));
            put("when", json!("before"));
            put("call", json!(SEND));
            // What speaks of one message: often, so that it also meets those whose outcome is unknown.
            let of_one = [230_049, 230_002, 230_013];
            // What stops a call, or a job, for minutes comes rarely.
            let of_all = [99_991_400, 99_991_663, 230_020, 99_991_672, 555_123];
            let (codes, share) = match rng.bool() {
                true => (&of_one[..], 0.25),
                false => (&of_all[..], 0.05),
            };
            put("code", json!(codes[rng.usize(..codes.len())]));
            put("share", json!(share));
        }
    }
    rule
}
