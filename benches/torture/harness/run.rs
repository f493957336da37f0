//! One run: rounds of posting under faults, each ended by a kill, then time for everything to end, then judgement.
//!
//! Nothing is waited for by time alone: a kill comes after so many acknowledgements or calls (and, on purpose, up to
//! some milliseconds later), the end after whatever can still end. `ROUND` only bounds a round in which nothing
//! happens because Feishu is away.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::check::{Doubt, Evidence, Verdict, check};
use super::house::{House, TortureError, client, get, keep, list, sum};
use super::plan::{Kill, KillPoint, Move, Plan, Round};
use super::produce::{Records, Stage, operate, produce};
pub(crate) use super::relay::RELAY;

/// The longest that a round waits for its kill point.
const ROUND: Duration = Duration::from_millis(1_500);
/// How often something is looked at that gives no sign of its own.
const TICK: Duration = Duration::from_millis(4);
/// At the end: a backlog that did not shrink for so long waits for time to pass.
const STILL: Duration = Duration::from_millis(400);
/// At the end: how far each step moves the clocks, and how many steps there are at most.
const STEP_MS: i64 = 150_000;
const STEP_MS_MAX: i64 = 61 * 60_000;
const STEPS: usize = 200;
/// At the end: so many steps still see the faults of a round.
const STEPS_UNDER_FIRE: usize = 4;

/// What a run did and what came of it.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) seed: u64,
    pub(crate) limits: bool,
    /// Kills that the plan was made for.
    pub(crate) planned: usize,
    /// Kills there were: one more where the start was killed too.
    pub(crate) kills: usize,
    pub(crate) starts: usize,
    pub(crate) reboots: u32,
    /// What an operator did and the relay took.
    pub(crate) acts: usize,
    pub(crate) calls: u64,
    pub(crate) faulted: u64,
    pub(crate) limited: u64,
    pub(crate) effects: usize,
    /// How far the clocks were moved.
    pub(crate) moved_ms: i64,
    pub(crate) verdict: Verdict,
    /// Where everything is kept, when a promise was broken.
    pub(crate) kept: Option<PathBuf>,
}

/// Carries `plan` out in `folder`, which is left behind only when a promise was broken or the run failed.
///
/// `binary`: the relay to be killed, `RELAY` unless another is wanted. `progress` hears how many kills there were.
pub(crate) async fn run(
    plan: &Plan,
    folder: &Path,
    binary: &Path,
    progress: impl Fn(usize),
) -> Result<Outcome, TortureError> {
    // What an earlier run with this seed left.
    let _ = std::fs::remove_dir_all(folder);
    let mut run = Run::open(plan, folder, binary).await?;
    let ended = run.all(plan, progress).await;
    let asked = run.records.asked();
    let list = json!(
        asked
            .iter()
            .map(|one| format!("{one:?}"))
            .collect::<Vec<_>>()
    );
    let (evidence, ledger) = match ended {
        Ok(ended) => ended,
        Err(error) => {
            keep(folder, "asked.json", &list)?;
            keep(folder, "plan.json", &json!(format!("{:?}", plan.rounds)))?;
            return Err(error);
        }
    };
    let verdict = check(&evidence);
    let mut outcome = Outcome {
        seed: plan.seed,
        limits: plan.limits,
        planned: plan.rounds.len(),
        kills: run.kills,
        starts: run.starts,
        reboots: run
            .house
            .clocks
            .settings
            .last()
            .map_or(0, |last| last.boots),
        acts: evidence.acts.len(),
        calls: sum(&ledger, "made"),
        faulted: sum(&ledger, "faulted"),
        limited: sum(&ledger, "limited"),
        effects: evidence.effects.len(),
        moved_ms: run.moved_ms,
        verdict,
        kept: None,
    };
    if outcome.verdict.breaches.is_empty() {
        drop(run);
        let _ = std::fs::remove_dir_all(folder);
        return Ok(outcome);
    }
    keep(folder, "ledger.json", &ledger)?;
    keep(folder, "jobs.json", &json!(evidence.jobs))?;
    keep(folder, "asked.json", &list)?;
    keep(folder, "acts.json", &json!(format!("{:?}", evidence.acts)))?;
    keep(
        folder,
        "clocks.json",
        &json!(format!("{:?}", evidence.settings)),
    )?;
    keep(folder, "plan.json", &json!(format!("{:?}", plan.rounds)))?;
    let says = outcome
        .verdict
        .breaches
        .iter()
        .map(|breach| format!("{:?}: {}", breach.sin, breach.says));
    keep(folder, "breaches.json", &says.collect())?;
    outcome.kept = Some(folder.to_owned());
    Ok(outcome)
}

struct Run {
    house: House,
    relay: reqwest::Client,
    stage: watch::Sender<Stage>,
    records: Arc<Records>,
    producers: JoinSet<Result<(), TortureError>>,
    operators: JoinSet<()>,
    doubts: Vec<Doubt>,
    kills: usize,
    starts: usize,
    moved_ms: i64,
}

impl Run {
    async fn open(plan: &Plan, folder: &Path, binary: &Path) -> Result<Run, TortureError> {
        let house = House::open(folder, binary, plan.limits).await?;
        let (stage, staged) = watch::channel(Stage::default());
        let records = Arc::new(Records::default());
        let mut producers = JoinSet::new();
        for requests in plan.requests.clone() {
            let (staged, records) = (staged.clone(), Arc::clone(&records));
            producers.spawn(produce(requests, house.socket(), staged, records));
        }
        Ok(Run {
            relay: client(&house.socket())?,
            house,
            stage,
            records,
            producers,
            operators: JoinSet::new(),
            doubts: Vec::new(),
            kills: 0,
            starts: 0,
            moved_ms: 0,
        })
    }

    async fn all(
        &mut self,
        plan: &Plan,
        progress: impl Fn(usize),
    ) -> Result<(Evidence, Value), TortureError> {
        self.start().await?;
        for round in &plan.rounds {
            self.round(round).await?;
            progress(self.kills);
        }
        while let Some(ended) = self.producers.join_next().await {
            ended.map_err(|error| TortureError::Answer(error.to_string()))??;
        }
        while self.operators.join_next().await.is_some() {}
        self.end(&plan.rounds).await?;
        let ledger = self.house.ledger(0).await?;
        let evidence = Evidence {
            asked: self.records.asked(),
            acts: self.records.acts(),
            doubts: std::mem::take(&mut self.doubts),
            settings: self.house.clocks.settings.clone(),
            jobs: list(&self.relay, "").await?,
            effects: ledger["effects"].as_array().cloned().unwrap_or_default(),
        };
        Ok((evidence, ledger))
    }

    async fn round(&mut self, round: &Round) -> Result<(), TortureError> {
        self.house.faults(&round.faults).await?;
        if round.outage {
            self.house.feishu_down().await;
        }
        let (acks, calls) = (
            self.records.acks.load(Ordering::SeqCst),
            self.house.calls().await,
        );
        self.stage
            .send_modify(|stage| stage.released += round.requests);
        for act in &round.acts {
            self.operators
                .spawn(operate(*act, self.relay.clone(), Arc::clone(&self.records)));
        }
        if let Some(by) = round.live {
            self.observe().await?;
            self.travel(by, true).await?;
            if !round.outage {
                self.house.faults(&round.faults).await?;
            }
        }
        self.reach(round.kill, acks, calls).await;
        self.observe().await?;
        self.kill().await?;
        self.house.right_wall()?;
        for by in &round.dead {
            self.travel(*by, false).await?;
        }
        self.house.feishu_up().await?;
        if round.kill.point == KillPoint::Start {
            // Killed while it opens its file, reads what it left and begins again.
            let _said = self.house.spawn()?;
            self.starts += 1;
            tokio::time::sleep(Duration::from_micros(round.kill.micros * 2)).await;
            self.kill().await?;
        }
        self.start().await
    }

    /// Waits for the moment of the kill.
    async fn reach(&self, kill: Kill, acks: u64, calls: u64) {
        let mut tick = tokio::time::interval(TICK);
        let begun = Instant::now();
        while begun.elapsed() < ROUND {
            tick.tick().await;
            let reached = match kill.point {
                KillPoint::Acks(n) => self.records.acks.load(Ordering::SeqCst) >= acks + n,
                KillPoint::Calls(n) => self.house.calls().await >= calls + n,
                KillPoint::Start => true,
            };
            if reached {
                break;
            }
        }
        tokio::time::sleep(Duration::from_micros(kill.micros)).await;
    }

    async fn start(&mut self) -> Result<(), TortureError> {
        let said = self.house.spawn()?;
        said.ready().await?;
        self.starts += 1;
        self.stage.send_modify(|stage| stage.up = true);
        Ok(())
    }

    async fn kill(&mut self) -> Result<(), TortureError> {
        self.house.kill()?;
        self.kills += 1;
        self.stage.send_modify(|stage| stage.up = false);
        Ok(())
    }

    async fn travel(&mut self, by: Move, alive: bool) -> Result<(), TortureError> {
        if let Move::Forward { ms } | Move::Reboot { ms } = by {
            self.moved_ms += ms;
        }
        let relay = alive.then(|| self.relay.clone());
        self.house.travel(by, relay.as_ref()).await
    }

    /// Writes down who is newly in doubt: before the clocks move it can still be seen how old its attempt is.
    async fn observe(&mut self) -> Result<(), TortureError> {
        let at_ms = self.house.clocks.now_ms();
        for job in list(&self.relay, "state=in_doubt").await? {
            if !self.doubts.iter().any(|doubt| doubt.job["id"] == job["id"]) {
                self.doubts.push(Doubt { at_ms, job });
            }
        }
        Ok(())
    }

    /// Lets time pass until everything has ended that can: what is left waits for a job in doubt.
    async fn end(&mut self, rounds: &[Round]) -> Result<(), TortureError> {
        self.house.right_wall()?;
        let mut step_ms = STEP_MS;
        let mut before = usize::MAX;
        for n in 0..STEPS {
            let under_fire = rounds.get(n).filter(|_| n < STEPS_UNDER_FIRE);
            let faults = under_fire.map_or(json!([]), |round| round.faults.clone());
            self.house.faults(&faults).await?;
            self.still().await?;
            self.observe().await?;
            let open = list(&self.relay, "state=queued,sending").await?;
            let free = |job: &&Value| job["waiting_for"] != "dependency";
            if open.iter().filter(free).count() == 0 {
                return Ok(());
            }
            // Slowly while it helps, so that time alone brings nothing into doubt.
            step_ms = match open.len() < before {
                true => STEP_MS,
                false => (step_ms * 2).min(STEP_MS_MAX),
            };
            before = open.len();
            self.travel(Move::Forward { ms: step_ms }, true).await?;
        }
        Ok(())
    }

    /// Waits until the backlog does not shrink any more.
    async fn still(&self) -> Result<(), TortureError> {
        let mut tick = tokio::time::interval(Duration::from_millis(30));
        let (mut least, mut since) = (u64::MAX, Instant::now());
        while since.elapsed() < STILL {
            tick.tick().await;
            let status = get(&self.relay, "/v1/status").await?;
            let pending = status["pending"].as_u64().unwrap_or(0);
            if pending == 0 {
                return Ok(());
            }
            if pending < least {
                (least, since) = (pending, Instant::now());
            }
        }
        Ok(())
    }
}
