//! The judge of a run: what people saw, against what was acknowledged and what the relay says of it.
//!
//! Pure, and knows nothing of how the relay works: it reads the ledger, the answers that producers got and
//! the jobs as the API shows them.
//!
//! | breach | is |
//! |---|---|
//! | lost | acknowledged, and unknown to the relay or never ended, though everything was done to let it end |
//! | doubled | shown more often than asked: once, and once more for each `resend` and each retry out of doubt |
//! | out of order | see `order` |
//! | dishonest | `done` and not shown; `failed`, `expired` or `canceled` and shown; shown otherwise than asked |
//! | doubtful | in doubt without a reason for it, see `Why` |
//! | late | a message written once more when its window was over by the relay's own clock, whoever was lucky |
//!
//! Not here: children of a job in doubt, which wait for a person; they are counted.

mod order;

use std::collections::{BTreeMap, HashMap, HashSet};

use feishu_sandbox::staff_open_id;
use serde_json::Value;

use super::house::Setting;
use super::plan::{Job, Kind, PART, What};

/// A message may be repeated this long after its first unknown attempt, less what the attempt, the wait before
/// it and a late look at the clock take.
const WINDOW_MS: i64 = 50 * 60_000 - 75_000;
/// Nobody may repeat a message that is unknown for so long: ten minutes later Feishu has forgotten it.
const REPEAT_MAX_MS: i64 = 50 * 60_000;
/// The relay's default `give_up_after`.
const GIVE_UP_MS: i64 = 3 * 86_400_000;

/// A job that a producer asked for, and what he heard.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) job: Job,
    /// Marker of the job that it hangs on.
    pub(crate) parent: Option<String>,
    /// Jobs of one request have its number in common; `place` is where it stands there.
    pub(crate) request: u64,
    pub(crate) place: usize,
    /// When it was first posted and when it was acknowledged: numbers that grow over all producers.
    pub(crate) posted: u64,
    pub(crate) answered: Option<u64>,
    /// What the acknowledgement names.
    pub(crate) id: Option<String>,
}

/// What an operator did: the relay took it, or its answer was lost.
#[derive(Clone, Debug)]
pub(crate) struct Acted {
    pub(crate) id: String,
    pub(crate) what: What,
    /// The state in which he found the job.
    pub(crate) before: String,
}

/// A job as it was when it was first seen in doubt.
#[derive(Clone, Debug)]
pub(crate) struct Doubt {
    /// Feishu's time.
    pub(crate) at_ms: i64,
    pub(crate) job: Value,
}

/// All that is known of a run.
#[derive(Debug, Default)]
pub(crate) struct Evidence {
    pub(crate) asked: Vec<Asked>,
    pub(crate) acts: Vec<Acted>,
    pub(crate) doubts: Vec<Doubt>,
    /// The relay's clocks.
    pub(crate) settings: Vec<Setting>,
    /// Every job, as the relay lists it at the end.
    pub(crate) jobs: Vec<Value>,
    /// The ledger's effects.
    pub(crate) effects: Vec<Value>,
}

/// Which promise was broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Sin {
    Lost,
    Doubled,
    OutOfOrder,
    Dishonest,
    Doubtful,
    Late,
}

/// A broken promise.
#[derive(Clone, Debug)]
pub(crate) struct Breach {
    pub(crate) sin: Sin,
    pub(crate) says: String,
}

/// Why a job may be in doubt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Why {
    /// Its call cannot be repeated.
    NoRepeat,
    /// Unknown for longer than a repeat is safe.
    Window,
    /// After an unknown attempt it was canceled or taken back.
    Stopped,
    /// After an unknown attempt its deadline passed.
    Deadline,
    /// After an unknown attempt it was refused.
    Refused,
}

/// What came out.
#[derive(Debug, Default)]
pub(crate) struct Verdict {
    pub(crate) breaches: Vec<Breach>,
    pub(crate) acknowledged: u64,
    /// Their answer was lost, and nobody asked again.
    pub(crate) unanswered: u64,
    /// How the acknowledged ended.
    pub(crate) states: BTreeMap<String, u64>,
    /// Ever in doubt, by kind and reason.
    pub(crate) doubts: BTreeMap<(String, Why), u64>,
    /// Wait for a job in doubt.
    pub(crate) waiting: u64,
}

impl Verdict {
    pub(crate) fn count(&self, sin: Sin) -> usize {
        self.breaches
            .iter()
            .filter(|breach| breach.sin == sin)
            .count()
    }

    fn add(&mut self, sin: Sin, says: String) {
        self.breaches.push(Breach { sin, says });
    }
}

/// Judges a run.
pub(crate) fn check(evidence: &Evidence) -> Verdict {
    let mut verdict = Verdict::default();
    let case = Case::of(evidence, &mut verdict);
    for asked in &evidence.asked {
        case.one(asked, &mut verdict);
    }
    for doubt in &evidence.doubts {
        case.doubt(doubt, &mut verdict);
    }
    order::check(&case, &mut verdict);
    verdict
}

/// The evidence, put so that things are found.
struct Case<'a> {
    evidence: &'a Evidence,
    /// Jobs that the relay has under a marker and of its kind.
    jobs: HashMap<&'a str, Vec<&'a Value>>,
    /// By id.
    by_id: HashMap<&'a str, &'a Value>,
    acts: HashMap<&'a str, Vec<&'a Acted>>,
    /// Ids of jobs that were ever seen in doubt.
    doubted: HashSet<&'a str>,
    /// What was shown of a marker: messages, batches, buzzes, pins, recalls.
    shown: HashMap<&'a str, Vec<&'a Value>>,
}

impl<'a> Case<'a> {
    fn of(evidence: &'a Evidence, verdict: &mut Verdict) -> Case<'a> {
        let mut case = Case {
            evidence,
            jobs: HashMap::new(),
            by_id: HashMap::new(),
            acts: HashMap::new(),
            doubted: HashSet::new(),
            shown: HashMap::new(),
        };
        for job in &evidence.jobs {
            case.by_id.insert(text(job, "id"), job);
        }
        let kinds: HashMap<&str, &str> = evidence
            .asked
            .iter()
            .map(|asked| (&*asked.job.marker, asked.job.kind.name()))
            .collect();
        for job in &evidence.jobs {
            let marker = marker(job);
            if kinds.get(marker) == Some(&text(job, "kind")) {
                case.jobs.entry(marker).or_default().push(job);
            }
        }
        for act in &evidence.acts {
            case.acts.entry(&act.id).or_default().push(act);
        }
        let doubts = evidence.doubts.iter().map(|doubt| text(&doubt.job, "id"));
        case.doubted = doubts.collect();
        case.assign(verdict);
        case
    }

    /// Gives each effect to the marker that it belongs to.
    fn assign(&mut self, verdict: &mut Verdict) {
        let mut owner: HashMap<&str, &str> = HashMap::new();
        let mut children: HashMap<(&str, &str), &str> = HashMap::new();
        for asked in &self.evidence.asked {
            if let Some(parent) = &asked.parent {
                children.insert((parent, asked.job.kind.name()), &asked.job.marker);
            }
        }
        for effect in &self.evidence.effects {
            let kind = text(effect, "effect");
            let of = match kind {
                "message" => {
                    let of = self.sender(effect);
                    owner.extend(of.map(|marker| (text(effect, "message_id"), marker)));
                    of
                }
                "batch" => {
                    let of = effect["content"]["text"].as_str();
                    let of = of.filter(|of| self.jobs.contains_key(of));
                    owner.extend(of.map(|marker| (text(effect, "batch_message_id"), marker)));
                    of
                }
                "upload" => continue,
                _ => {
                    let on = ["message_id", "batch_message_id"].map(|name| text(effect, name));
                    let on = on.iter().find_map(|id| owner.get(id));
                    match on.and_then(|on| children.get(&(*on, kind))) {
                        Some(child) => Some(*child),
                        // An operator may take back what no child does.
                        None if on.is_some() && matches!(kind, "recall" | "batch_recall") => {
                            continue;
                        }
                        None => None,
                    }
                }
            };
            match of {
                Some(of) => self.shown.entry(of).or_default().push(effect),
                None => verdict.add(
                    Sin::Dishonest,
                    format!("shown, and nobody asked for it: {effect}"),
                ),
            }
        }
    }

    /// Whose message it is: its uuid is the id of its job.
    fn sender(&self, effect: &Value) -> Option<&'a str> {
        let uuid = text(effect, "uuid").split('.').next()?;
        let job = self.by_id.get(format!("job_{uuid}").as_str())?;
        Some(marker(job))
    }

    fn shown(&self, marker: &str) -> &[&'a Value] {
        self.shown.get(marker).map_or(&[], Vec::as_slice)
    }

    fn acts(&self, id: &str) -> &[&'a Acted] {
        self.acts.get(id).map_or(&[], Vec::as_slice)
    }

    /// How often it may be shown.
    fn allowed(&self, asked: &Asked, job: &Value) -> usize {
        let mut open = false;
        let mut repeats = usize::from(asked.job.on_doubt == "resend");
        for act in self.acts(text(job, "id")) {
            let doubtful = act.before == "in_doubt" || asked.job.on_doubt == "drop";
            open |= doubtful;
            // After a person gave a job up, a retry may show what was shown already.
            repeats += usize::from(act.what == What::Retry && open);
        }
        1 + repeats
    }

    /// Did somebody say of it that it is not to be, though it may have been shown?
    fn given_up(&self, job: &Value) -> bool {
        let word = |act: &&&Acted| {
            act.before == "in_doubt" && matches!(act.what, What::Cancel | What::SettleFailed)
        };
        let class = job["error"]["class"].as_str();
        class == Some("dropped")
            || class == Some("settled")
            || self.acts(text(job, "id")).iter().any(|act| word(&act))
    }

    fn one(&self, asked: &Asked, verdict: &mut Verdict) {
        let name = format!("{} {}", asked.job.kind.name(), asked.job.marker);
        let found = self
            .jobs
            .get(&*asked.job.marker)
            .map_or(&[][..], Vec::as_slice);
        match asked.answered {
            Some(_) => verdict.acknowledged += 1,
            None => verdict.unanswered += 1,
        }
        if found.len() > 1 {
            verdict.add(
                Sin::Doubled,
                format!("{name} was accepted {} times", found.len()),
            );
        }
        let known = |job: &&&Value| asked.id.as_deref().is_none_or(|id| id == text(job, "id"));
        let Some(job) = found.iter().find(known) else {
            if asked.answered.is_some() {
                verdict.add(
                    Sin::Lost,
                    format!("{name} was accepted, and the relay does not know it"),
                );
            }
            return;
        };
        let state = text(job, "state");
        if asked.answered.is_some() {
            *verdict.states.entry(state.to_owned()).or_default() += 1;
        }
        if matches!(state, "queued" | "sending") {
            match self.waits_for_doubt(job) {
                true => verdict.waiting += 1,
                false => verdict.add(
                    Sin::Lost,
                    format!("{name} never ended; it is {state}: {job}"),
                ),
            }
        }
        if asked.job.kind.name() == "send" {
            self.late(asked, job, &name, verdict);
        }
        if let Kind::Batch { people } = asked.job.kind {
            self.parts(asked, job, people, &name, verdict);
        } else {
            self.whole(asked, job, &name, verdict);
        }
    }

    /// No attempt leaves when the first unknown one is too old, unless somebody wanted it in spite of that. A mark is
    /// no attempt yet: the relay looks at the clock once more before it writes, and one that died between the two
    /// has no duration. Had it written, the message would be there twice.
    fn late(&self, asked: &Asked, job: &Value, name: &str, verdict: &mut Verdict) {
        let id = text(job, "id");
        if asked.job.on_doubt == "resend" || self.acts(id).iter().any(|act| act.what == What::Retry)
        {
            return;
        }
        let attempts = job["attempts"].as_array().map_or(&[][..], Vec::as_slice);
        let unknown = attempts
            .iter()
            .find(|attempt| attempt["outcome"] == "unknown");
        let Some(since_ms) = unknown.and_then(|attempt| ms(&attempt["at"])) else {
            return;
        };
        let late = attempts
            .iter()
            .filter(|attempt| attempt["outcome"] != "not_sent" && attempt["ms"].is_i64())
            .filter_map(|attempt| ms(&attempt["at"]))
            .any(|at_ms| at_ms - since_ms > REPEAT_MAX_MS);
        if late {
            let says = format!("{name} was repeated when its window was over: {job}");
            verdict.add(Sin::Late, says);
        }
    }

    /// A job with one effect.
    fn whole(&self, asked: &Asked, job: &Value, name: &str, verdict: &mut Verdict) {
        let shown = self.shown(&asked.job.marker);
        let allowed = match asked.job.kind {
            // One effect a part of its batch.
            Kind::BatchRecall => usize::MAX,
            _ => self.allowed(asked, job),
        };
        if shown.len() > allowed {
            verdict.add(
                Sin::Doubled,
                format!("{name} was shown {} times: {shown:?}", shown.len()),
            );
        }
        // A message is taken back once, whoever asked.
        let shared = matches!(asked.job.kind, Kind::Recall | Kind::BatchRecall);
        match text(job, "state") {
            "done" if shown.is_empty() && asked.job.kind != Kind::BatchRecall => {
                verdict.add(
                    Sin::Dishonest,
                    format!("{name} is done and nobody saw it: {job}"),
                );
            }
            "failed" | "expired" | "canceled"
                if !shown.is_empty() && !shared && !self.given_up(job) =>
            {
                verdict.add(
                    Sin::Dishonest,
                    format!("{name} was shown and says that it was not: {job}"),
                );
            }
            _ => {}
        }
        for effect in shown
            .iter()
            .filter(|_| matches!(asked.job.kind, Kind::Text | Kind::Image))
        {
            self.as_asked(asked, job, effect, name, verdict);
        }
    }

    /// The right words in the right chat, under the id that the job tells.
    fn as_asked(
        &self,
        asked: &Asked,
        job: &Value,
        effect: &Value,
        name: &str,
        verdict: &mut Verdict,
    ) {
        let content: Value = serde_json::from_str(text(effect, "content")).unwrap_or_default();
        let right = match asked.job.kind {
            Kind::Text => content["text"] == asked.job.marker.as_str(),
            _ => content["image_key"].is_string(),
        };
        let there = !asked.job.to.starts_with("oc_") || text(effect, "chat_id") == asked.job.to;
        if !right || !there {
            verdict.add(
                Sin::Dishonest,
                format!("{name} was shown otherwise than asked: {effect}"),
            );
        }
        let told = &job["receipt"]["message_id"];
        let alone = self.shown(&asked.job.marker).len() == 1;
        if text(job, "state") == "done" && alone && *told != effect["message_id"] {
            verdict.add(
                Sin::Dishonest,
                format!("{name} tells {told}, and people saw {effect}"),
            );
        }
    }

    /// A batch, part by part.
    fn parts(&self, asked: &Asked, job: &Value, people: usize, name: &str, verdict: &mut Verdict) {
        let told = job["receipt"]["parts"]
            .as_array()
            .map_or(&[][..], Vec::as_slice);
        let allowed = self.allowed(asked, job);
        for n in 0..people.div_ceil(PART) {
            let first = staff_open_id(n * PART + 1);
            let of_part = |effect: &&&Value| effect["users"][0] == first.as_str();
            let shown: Vec<_> = self
                .shown(&asked.job.marker)
                .iter()
                .filter(of_part)
                .collect();
            if shown.len() > allowed {
                verdict.add(
                    Sin::Doubled,
                    format!("part {n} of {name} was shown {} times", shown.len()),
                );
            }
            let Some(part) = told.get(n) else {
                verdict.add(
                    Sin::Dishonest,
                    format!("{name} tells of no part {n}: {job}"),
                );
                continue;
            };
            let id = &part["batch_message_id"];
            match text(part, "state") {
                "done" if !shown.iter().any(|effect| effect["batch_message_id"] == *id) => verdict
                    .add(
                        Sin::Dishonest,
                        format!("part {n} of {name} is done and nobody saw it: {job}"),
                    ),
                "queued" | "failed" | "expired" | "canceled"
                    if !shown.is_empty() && !self.given_up(job) =>
                {
                    verdict.add(
                        Sin::Dishonest,
                        format!("part {n} of {name} was shown and says that it was not: {job}"),
                    );
                }
                _ => {}
            }
        }
    }

    /// Does it hang, directly or not, on a job in doubt?
    fn waits_for_doubt(&self, job: &Value) -> bool {
        let parent = job["parent"].as_str().and_then(|id| self.by_id.get(id));
        parent.is_some_and(|parent| {
            text(parent, "state") == "in_doubt" || self.waits_for_doubt(parent)
        })
    }

    fn doubt(&self, doubt: &Doubt, verdict: &mut Verdict) {
        let (kind, id) = (text(&doubt.job, "kind"), text(&doubt.job, "id"));
        match self.why(doubt) {
            Some(why) => *verdict.doubts.entry((kind.to_owned(), why)).or_default() += 1,
            None => verdict.add(
                Sin::Doubtful,
                format!("{kind} {id} is in doubt without need: {}", doubt.job),
            ),
        }
    }

    fn why(&self, doubt: &Doubt) -> Option<Why> {
        let job = &doubt.job;
        let kind = text(job, "kind");
        if matches!(
            kind,
            "batch_send" | "urgent_app" | "urgent_sms" | "urgent_phone"
        ) {
            return Some(Why::NoRepeat);
        }
        let attempts = job["attempts"].as_array().map_or(&[][..], Vec::as_slice);
        let unknown = attempts
            .iter()
            .find(|attempt| attempt["outcome"] == "unknown")?;
        if kind == "send" && self.too_old(unknown, doubt.at_ms) {
            return Some(Why::Window);
        }
        let stop = |act: &&Acted| matches!(act.what, What::Cancel | What::Recall);
        if self.acts(text(job, "id")).iter().any(stop) {
            return Some(Why::Stopped);
        }
        if attempts
            .last()
            .is_some_and(|attempt| attempt["outcome"] == "refused")
        {
            return Some(Why::Refused);
        }
        // Whatever the wall clock was: the later of it and time itself.
        let ahead_ms = self
            .evidence
            .settings
            .iter()
            .map(|setting| setting.wall_ms)
            .max();
        let latest_ms = doubt.at_ms + ahead_ms.unwrap_or(0).max(0);
        let deadline = ms(&job["expires_at"]).or_else(|| Some(ms(&job["run_at"])? + GIVE_UP_MS));
        deadline
            .filter(|deadline| *deadline <= latest_ms + 1_000)
            .map(|_| Why::Deadline)
    }

    /// May the relay think that its first unknown attempt is older than the window? It began at a wall time
    /// that may have been more than once: the earliest counts.
    fn too_old(&self, attempt: &Value, now_ms: i64) -> bool {
        let Some(wall_ms) = ms(&attempt["at"]) else {
            return false;
        };
        let settings = &self.evidence.settings;
        for (n, setting) in settings.iter().enumerate() {
            let at_ms = wall_ms - setting.wall_ms;
            let until_ms = settings
                .get(n + 1)
                .map_or(i64::MAX, |next| next.from_ms + 2_000);
            if at_ms < setting.from_ms - 2_000 || at_ms >= until_ms {
                continue;
            }
            let since = &settings[n..];
            // By its wall clock it may be older than it is.
            let ahead_ms = since
                .iter()
                .map(|later| later.wall_ms - setting.wall_ms)
                .max();
            let age_ms = now_ms - at_ms + ahead_ms.unwrap_or(0).max(0);
            return age_ms >= WINDOW_MS || self.behind_after(setting.boots);
        }
        // It began at a time that never was.
        false
    }

    /// Was the wall clock, after a reboot later than boot `boots`, behind a time that it had shown before? Then
    /// nobody knows any more how old an attempt of that boot is.
    fn behind_after(&self, boots: u32) -> bool {
        let mut latest_ms = i64::MIN;
        let mut wall_ms = 0;
        for setting in &self.evidence.settings {
            latest_ms = latest_ms.max(setting.from_ms + wall_ms);
            if setting.boots > boots && setting.from_ms + setting.wall_ms < latest_ms {
                return true;
            }
            wall_ms = setting.wall_ms;
        }
        false
    }
}

/// A string of `value`, empty when it is absent.
fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_default()
}

fn marker(job: &Value) -> &str {
    job["labels"]["n"].as_str().unwrap_or_default()
}

/// Unix milliseconds of a time as the relay writes it.
fn ms(time: &Value) -> Option<i64> {
    let time: jiff::Timestamp = time.as_str()?.parse().ok()?;
    Some(time.as_millisecond())
}
