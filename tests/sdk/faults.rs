//! The same scenario while Feishu is away and the relay is killed; the SDK's process lives through it.
//!
//! The program does what it should do anyway: a call that breaks is made again under the same
//! `Idempotency-Key`. What people saw must be what they see without any trouble, but for uploads that
//! nobody names and for calls that are left in doubt, whose effect is there once or not at all.
//!
//! `FEISHU_RELAY_SDK_KILLS=A..B` kills at each of these steps instead of those of the seeds.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::time::Duration;

use serde_json::{Value, json};

use crate::ledger::{jobs_of, told_apart};
use crate::packages::{Sdk, node, python};
use crate::relayed::{SECRET, house};
use crate::run::{Run, Word, scenario};
use crate::straight::straight;
use crate::support::House;

/// What is repeated under one id, or writes the same state again: never in doubt, unless refused in the end.
const TELLABLE: [&str; 11] = [
    "forward",
    "forward_thread",
    "merge_forward",
    "pin",
    "recall",
    "reply",
    "send",
    "unpin",
    "update_url_previews",
    "upload_file",
    "upload_image",
];
/// Refusals that prove, after a lost answer, that what was asked for is so: answered as done.
const PROOFS: [i64; 2] = [18_051, 231_011];
/// When nothing is said for so long, time moves on.
const QUIET: Duration = Duration::from_secs(2);
/// So long a word is waited for before anything else is looked at.
const LOOK: Duration = Duration::from_millis(20);
const SLICE: Duration = Duration::from_secs(30);
/// An outage in slices.
const OUTAGE: u32 = 20;
/// Slices that a run may take beside its outage, under the hour after which its jobs expire.
const SLICES_MAX: u32 = 90;

/// What happens as a step begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trouble {
    /// `kill -9` before the call comes.
    Killed,
    /// `kill -9` once the step's call to Feishu had its effect and is not answered yet.
    KilledAtWork,
    /// Feishu is away for ten minutes.
    Away,
}

/// A run under way.
struct Trial {
    house: House,
    run: Run,
    troubles: HashMap<String, Trouble>,
    answers: Vec<Value>,
    /// An act that waits for Feishu, or for what it acts on.
    act: Option<Value>,
    /// The relay is killed once more calls than these were spoiled.
    armed: Option<u64>,
    /// Slices of the outage still to come.
    away: u32,
    slices: u32,
}

impl Trial {
    /// Runs to the end and returns how many tokens the SDK fetched.
    async fn run(&mut self) -> u64 {
        let mut quiet = Duration::ZERO;
        loop {
            if let Some(act) = self.act.take() {
                self.perform(act).await;
            }
            if self.away > 0 || self.act.is_some() || quiet >= QUIET {
                self.pass().await;
                quiet = Duration::ZERO;
            }
            if self.act.is_some() {
                continue;
            }
            match tokio::time::timeout(LOOK, self.run.next()).await {
                Err(_) => quiet += LOOK,
                Ok(word) => {
                    quiet = Duration::ZERO;
                    if let ControlFlow::Break(tokens) = self.hear(word).await {
                        return tokens;
                    }
                }
            }
            self.kill_at_work().await;
        }
    }

    async fn hear(&mut self, word: Word) -> ControlFlow<u64> {
        match word {
            Word::Begin(step) => self.begin(&step).await,
            Word::Act(act) => self.act = Some(act),
            Word::Clock(by) => {
                let seconds = by.strip_suffix('s').unwrap().parse().unwrap();
                self.house.advance(Duration::from_secs(seconds)).await;
                self.run.reply(&json!({})).await;
            }
            Word::Answer(answer) => {
                self.answers.push(answer);
                // A step that makes no call at Feishu is left alone.
                if self.armed.take().is_some() {
                    self.house.faults(json!([])).await;
                }
            }
            Word::End(tokens) => return ControlFlow::Break(tokens),
        }
        ControlFlow::Continue(())
    }

    async fn begin(&mut self, step: &str) {
        match self.troubles.remove(step) {
            Some(Trouble::Away) if self.away == 0 => {
                self.house.feishu_down().await;
                self.away = OUTAGE;
            }
            Some(Trouble::Killed) => {
                self.house.kill();
                self.run.reply(&json!({})).await;
                self.house.start();
                return;
            }
            Some(Trouble::KilledAtWork) if self.away == 0 => self.arm().await,
            Some(Trouble::Away | Trouble::KilledAtWork) | None => {}
        }
        self.run.reply(&json!({})).await;
    }

    /// The next call at Feishu has its effect and no answer for a while.
    async fn arm(&mut self) {
        self.armed = Some(faulted(&self.house).await);
        let rule = json!({"call": "*", "do": "delay", "when": "after", "ms": 3_000, "count": 1});
        self.house.faults(json!([rule])).await;
    }

    /// Kills the relay once that call is there.
    async fn kill_at_work(&mut self) {
        let Some(before) = self.armed else { return };
        if faulted(&self.house).await > before {
            self.armed = None;
            self.house.kill();
            self.house.faults(json!([])).await;
            self.house.start();
        }
    }

    /// A slice of time; at the end of an outage Feishu is back.
    async fn pass(&mut self) {
        self.house.advance(SLICE).await;
        if self.away == 0 {
            self.slices += 1;
            assert!(
                self.slices < SLICES_MAX,
                "the scenario does not come on after {:?}, {:?}, {:#?}",
                self.answers.last(),
                self.act,
                jobs_of(&self.house)
                    .await
                    .iter()
                    .filter(|job| job["state"] == "queued" || job["state"] == "sending")
                    .collect::<Vec<_>>()
            );
            return;
        }
        self.away -= 1;
        if self.away == 0 {
            self.house.feishu_up().await;
            let missed = format!("{}s", (SLICE * OUTAGE).as_secs());
            self.house
                .control("clock", json!({"advance": missed}))
                .await;
        }
    }

    /// Does what somebody shall do, as soon as Feishu is there and so is what it is about.
    async fn perform(&mut self, act: Value) {
        if self.away > 0 {
            self.act = Some(act);
            return;
        }
        match self.kept(&act).await {
            Promise::Open => self.act = Some(act),
            Promise::Doubtful => self.run.reply(&json!({})).await,
            Promise::Kept(act) => {
                let done = self.house.control("act", act).await;
                self.run.reply(&done).await;
            }
        }
    }

    /// An act with Feishu's id in the place of a promised one.
    async fn kept(&self, act: &Value) -> Promise {
        let Some(id) = act["message"].as_str().filter(|id| id.starts_with("job_")) else {
            return Promise::Kept(act.clone());
        };
        let job = self.house.job(id).await;
        let made = ["message_id", "batch_message_id"].map(|name| &job["receipt"][name]);
        match job["state"].as_str().unwrap() {
            "done" => {
                let mut act = act.clone();
                act["message"] = made.into_iter().find(|id| id.is_string()).unwrap().clone();
                Promise::Kept(act)
            }
            "queued" | "sending" => Promise::Open,
            _ => Promise::Doubtful,
        }
    }

    /// Until nothing is under way any more but what waits for a call in doubt. Returns the jobs.
    async fn settled(&mut self) -> Vec<Value> {
        loop {
            let jobs = jobs_of(&self.house).await;
            let open = |job: &Value| match job["state"].as_str().unwrap() {
                "sending" => true,
                "queued" => job["waiting_for"] != "dependency",
                _ => false,
            };
            if self.away == 0 && !jobs.iter().any(open) {
                return jobs;
            }
            self.pass().await;
        }
    }
}

enum Promise {
    Kept(Value),
    Open,
    Doubtful,
}

async fn faulted(house: &House) -> u64 {
    let ledger = house.ledger().await;
    let calls = ledger["calls"].as_array().unwrap();
    calls
        .iter()
        .map(|call| call["faulted"].as_u64().unwrap())
        .sum()
}

/// Steps that call, by name.
fn steps() -> Vec<String> {
    let calls = |spec: &&Value| spec["act"].is_null() && spec["clock"].is_null();
    let steps = scenario();
    let steps = steps.iter().filter(calls);
    steps
        .map(|spec| spec["step"].as_str().unwrap().to_owned())
        .collect()
}

/// Five kills and one outage, from a seed.
fn drawn(seed: u64) -> HashMap<String, Trouble> {
    let mut steps = steps();
    // Bubbles are refused under a message that stood there during an outage.
    steps.retain(|step| !["to an address", "bubbles"].contains(&step.as_str()));
    let mut random = fastrand::Rng::with_seed(seed);
    random.shuffle(&mut steps);
    let troubles = [
        Trouble::Away,
        Trouble::Killed,
        Trouble::KilledAtWork,
        Trouble::KilledAtWork,
        Trouble::KilledAtWork,
        Trouble::KilledAtWork,
    ];
    steps.into_iter().zip(troubles).collect()
}

/// What to do instead of what the seed says.
fn asked_for() -> Option<HashMap<String, Trouble>> {
    let asked = std::env::var("FEISHU_RELAY_SDK_KILLS").ok()?;
    let (from, to) = asked.split_once("..")?;
    let (from, to): (usize, usize) = (from.parse().ok()?, to.parse().ok()?);
    let steps = steps().into_iter().skip(from).take(to - from);
    Some(steps.map(|step| (step, Trouble::KilledAtWork)).collect())
}

async fn people_see_the_same(sdk: &Sdk, seed: u64) {
    let straight = straight(sdk).await;
    let troubles = asked_for().unwrap_or_else(|| drawn(seed));
    let plan = format!("seed {seed}: {troubles:?}");
    let (house, base) = house(None, "").await;
    let run = Run::start(sdk, &base, SECRET, &["--patient"]).await;
    let mut trial = Trial {
        house,
        run,
        troubles,
        answers: Vec::new(),
        act: None,
        armed: None,
        away: 0,
        slices: 0,
    };
    let tokens = trial.run().await;
    let jobs = trial.settled().await;
    assert_eq!(tokens, 1, "{plan}: the first token is good throughout");
    let left = judge_jobs(&jobs, &plan);
    let skipped = judge_answers(&straight.answers, &trial.answers, left, &plan);
    let (more, fewer) = told_apart(&straight.ledger, &trial.house.ledger().await);
    assert!(
        more.iter().all(|effect| effect["effect"] == "upload"),
        "{plan}: people saw more: {more:#?}"
    );
    assert!(
        fewer.len() <= left + skipped,
        "{plan}: people saw less: {fewer:#?}"
    );
    trial.house.stop();
}

/// Every job ended as its call does, or nobody can tell. Returns how many are in doubt or wait for one that is.
fn judge_jobs(jobs: &[Value], plan: &str) -> usize {
    let codes: Vec<i64> = scenario()
        .iter()
        .filter_map(|spec| spec["code"].as_i64())
        .collect();
    let state = |job: &&Value, state: &str| job["state"] == state;
    let doubtful = jobs.iter().filter(|job| state(job, "in_doubt"));
    for job in doubtful.clone() {
        // A refusal after a lost answer speaks of its own attempt alone.
        let refused = codes.contains(&job["error"]["code"].as_i64().unwrap_or(0));
        let kind = job["kind"].as_str().unwrap();
        assert!(refused || !TELLABLE.contains(&kind), "{plan}: {job:#}");
    }
    let waiting = jobs.iter().filter(|job| state(job, "queued"));
    let (doubtful, waiting) = (doubtful.count(), waiting.count());
    assert!(waiting == 0 || doubtful > 0, "{plan}: {jobs:#?}");
    for job in jobs {
        let fine = match job["state"].as_str().unwrap() {
            "failed" => codes.contains(&job["error"]["code"].as_i64().unwrap_or(0)),
            other => ["done", "in_doubt", "queued"].contains(&other),
        };
        assert!(fine, "{plan}: {job:#}");
    }
    doubtful + waiting
}

/// Every step was answered as ever, or with a promise. Returns how many were left out.
fn judge_answers(straight: &[Value], here: &[Value], left: usize, plan: &str) -> usize {
    assert_eq!(straight.len(), here.len(), "{plan}");
    let mut skipped = 0;
    for (straight, here) in straight.iter().zip(here) {
        assert_eq!(straight["step"], here["step"], "{plan}");
        if here["skipped"] == json!(true) {
            skipped += 1;
            continue;
        }
        let code = |answer: &Value| (answer["http"].clone(), answer["body"]["code"].clone());
        let promised = here["state"].is_string() && here["body"]["code"] == 0;
        // What was asked of a promise in doubt has no answer.
        let doubtful = left > 0 && here["state"] == "in_doubt";
        let is_proof = PROOFS.map(Value::from).contains(&straight["body"]["code"]);
        let proven = is_proof && here["body"]["code"] == 0;
        assert!(
            promised || doubtful || proven || code(straight) == code(here),
            "{plan}: {straight:#} became {here:#}"
        );
    }
    assert!(skipped == 0 || left > 0, "{plan}: steps were left out");
    skipped
}

#[tokio::test]
async fn nothing_the_python_sdk_was_promised_is_lost_or_doubled() {
    let Some(python) = python() else { return };
    people_see_the_same(&python, 1).await;
}

#[tokio::test]
async fn nothing_the_node_sdk_was_promised_is_lost_or_doubled() {
    let Some(node) = node() else { return };
    people_see_the_same(&node, 3).await;
}
