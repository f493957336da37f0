//! Notifications in any order, repeated and late, and jobs that end in every way: planned from what is stored
//! each time, as after a kill.
//!
//! The store and Feishu are played here: a step that the store would refuse is a fault, and so is a second job
//! that carries the incident's state.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::alerts::arrive::{Arrival, Heard, TWIN_MS, arrive};
use crate::alerts::notice::{Alert, Notification};
use crate::alerts::policy::{Policy, Who};
use crate::job::Fault;

const START: i64 = 1_767_225_600_000;

/// What happens.
#[derive(Clone, Debug)]
enum Event {
    /// An alert of the source begins or ends.
    Toggle(usize),
    /// The source says how it stands.
    Notify,
    /// A twin says what was said a while ago.
    Late(usize),
    /// The oldest job that waits is marked.
    Mark,
    /// A job under way ends.
    End(usize, End),
    /// Somebody looks at the incident.
    Look,
    /// Somebody decides and is killed before it is written.
    Lost,
    /// Somebody acknowledges it.
    Ack,
    /// Time passes, milliseconds.
    Pass(i64),
}

#[derive(Clone, Copy, Debug)]
enum End {
    Done,
    Refused(&'static str),
    NotSent,
    Unknown,
    InDoubt,
    Canceled,
    Expired,
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let end = prop_oneof![
        5 => Just(End::Done),
        1 => prop::sample::select(vec!["caller", "gone", "admin", "gave_up"]).prop_map(End::Refused),
        1 => Just(End::NotSent),
        1 => Just(End::Unknown),
        1 => Just(End::InDoubt),
        1 => Just(End::Canceled),
        1 => Just(End::Expired),
    ];
    let event = prop_oneof![
        4 => (0..3_usize).prop_map(Event::Toggle),
        4 => Just(Event::Notify),
        2 => (0..6_usize).prop_map(Event::Late),
        6 => Just(Event::Mark),
        6 => (0..4_usize, end).prop_map(|(at, end)| Event::End(at, end)),
        4 => Just(Event::Look),
        1 => Just(Event::Lost),
        1 => Just(Event::Ack),
        4 => (0..40_000_i64).prop_map(Event::Pass),
    ];
    prop::collection::vec(event, 1..80)
}

fn policies() -> impl Strategy<Value = Policy> {
    (any::<[bool; 4]>(), prop::sample::select(vec![0, 60_000])).prop_map(|(wants, reopen_ms)| {
        let [mention, pin, fallback, template] = wants;
        Policy {
            reopen_ms,
            pin,
            mention: mention
                .then(|| Who::Id(String::from("ou_1")))
                .into_iter()
                .collect(),
            fallback: fallback.then(|| String::from("oc_2")),
            template: template.then(|| String::from("card.json")),
            ..crate::alerts::policy::tests::plain()
        }
    })
}

/// One incident as it is stored.
#[derive(Debug)]
struct Stored {
    body: String,
    jobs: Vec<IncidentJob>,
    forgotten: Vec<JobId>,
}

#[derive(Debug)]
struct World {
    now_ms: i64,
    policy: Policy,
    /// Since when each alert of the source fires, or when it did.
    source: [(bool, i64); 3],
    said: Vec<(i64, Vec<Alert>)>,
    incidents: Vec<Stored>,
    /// What each job says.
    words: BTreeMap<JobId, What>,
    /// What each message shows.
    messages: BTreeMap<String, String>,
    made: u8,
    news: Vec<(usize, i64)>,
}

impl World {
    fn new(policy: Policy) -> World {
        World {
            now_ms: START,
            policy,
            source: [(false, 0); 3],
            said: Vec::new(),
            incidents: Vec::new(),
            words: BTreeMap::new(),
            messages: BTreeMap::new(),
            made: 0,
            news: Vec::new(),
        }
    }

    fn happens(&mut self, event: &Event) {
        match event {
            Event::Toggle(at) => {
                self.now_ms += 1;
                let (firing, starts_ms) = self.source[*at];
                self.source[*at] = match firing {
                    true => (false, starts_ms),
                    false => (true, self.now_ms),
                };
            }
            Event::Notify => {
                let alerts = self.alerts();
                self.said.push((self.now_ms, alerts.clone()));
                self.hear(&alerts);
            }
            Event::Late(back) => {
                let said = self.said.iter().rev().nth(*back).cloned();
                let said = said.filter(|(at_ms, _)| self.now_ms - at_ms < TWIN_MS);
                if let Some((_, alerts)) = said {
                    self.hear(&alerts);
                }
            }
            Event::Mark => {
                let jobs = self.incidents.iter_mut().flat_map(|one| &mut one.jobs);
                let mut waiting = jobs.filter(|job| job.state == State::Queued);
                if let Some(job) = waiting.next() {
                    job.state = State::Sending;
                    job.tried = true;
                }
            }
            Event::End(at, end) => self.end(*at, *end),
            Event::Look => self.look(true),
            Event::Lost => self.look(false),
            Event::Ack => {
                let Some(last) = self.incidents.last_mut() else {
                    return;
                };
                let mut incident: Incident = serde_json::from_str(&last.body).unwrap();
                if incident.is_firing() {
                    incident.ack = Some(crate::alerts::incident::Ack {
                        at_ms: self.now_ms,
                        by: String::from("local"),
                        how: String::from("ack"),
                    });
                    last.body = serde_json::to_string(&incident).unwrap();
                    self.look(true);
                }
            }
            Event::Pass(ms) => self.now_ms += ms,
        }
    }

    fn alerts(&self) -> Vec<Alert> {
        let known = self
            .source
            .iter()
            .enumerate()
            .filter(|(_, (_, starts_ms))| *starts_ms > 0);
        known
            .map(|(at, (firing, starts_ms))| Alert {
                fingerprint: format!("f{at}"),
                firing: *firing,
                starts_ms: *starts_ms,
                ends_ms: (!firing).then_some(self.now_ms),
                ..Alert::default()
            })
            .collect()
    }

    fn hear(&mut self, alerts: &[Alert]) {
        let note = Notification {
            group_key: String::from("g"),
            ..Notification::default()
        };
        let policy = self.policy.clone();
        let arrival = Arrival {
            sink: "db",
            note: &note,
            alerts,
            policy: &policy,
            now_ms: self.now_ms,
        };
        let newest = self
            .incidents
            .last()
            .map(|one| serde_json::from_str(&one.body).unwrap());
        let Some((incident, heard)) = arrive(newest, &arrival) else {
            return;
        };
        if heard == Heard::Opened {
            self.incidents.push(Stored {
                body: String::new(),
                jobs: Vec::new(),
                forgotten: Vec::new(),
            });
        }
        let at = self.incidents.len() - 1;
        self.plan(at, incident, true, true);
    }

    fn look(&mut self, writes: bool) {
        for at in 0..self.incidents.len() {
            let incident = serde_json::from_str(&self.incidents[at].body).unwrap();
            self.plan(at, incident, false, writes);
        }
    }

    /// Plans for the incident at `at`, and does what was planned as the store would.
    fn plan(&mut self, at: usize, mut incident: Incident, heard: bool, writes: bool) {
        let stored = &mut self.incidents[at];
        let seen = stored
            .jobs
            .iter()
            .filter(|job| !stored.forgotten.contains(&job.id));
        let seen: Vec<IncidentJob> = seen.cloned().collect();
        let view = View {
            now_ms: self.now_ms,
            jobs: &seen,
            digest: None,
            heard,
            hold_until_ms: None,
            quiet_until_ms: None,
            members_firing: None,
            facts: None,
        };
        let planned = super::plan(&mut incident, &view);
        if !writes {
            return;
        }
        for act in planned.acts {
            let job = |jobs: &mut Vec<IncidentJob>, id: JobId| {
                jobs.iter().position(|job| job.id == id).unwrap()
            };
            match act {
                Act::Forget { job: id } => {
                    let place = job(&mut stored.jobs, id);
                    assert!(
                        !stored.jobs[place].state.is_pending(),
                        "forgets what is open"
                    );
                    stored.forgotten.push(id);
                }
                Act::Cancel { job: id, .. } => {
                    let place = job(&mut stored.jobs, id);
                    let canceled = &mut stored.jobs[place];
                    assert_eq!(canceled.state, State::Queued, "cancels what is under way");
                    canceled.state = match canceled.unknown {
                        true => State::InDoubt,
                        false => State::Canceled,
                    };
                    canceled.finished_ms = Some(self.now_ms);
                }
                Act::Replace {
                    job: id, tag, what, ..
                } => {
                    let place = job(&mut stored.jobs, id);
                    let replaced = &mut stored.jobs[place];
                    assert!(is_unmarked(replaced), "changes what was marked");
                    replaced.tag = tag;
                    self.words.insert(id, what);
                }
                Act::Make(make) => {
                    self.made += 1;
                    let mut id = [0; 16];
                    id[0] = self.made;
                    let id = JobId(id);
                    if make.role == IncidentRole::News {
                        self.news.push((at, self.now_ms));
                    }
                    stored.jobs.push(IncidentJob {
                        id,
                        role: make.role,
                        n: make.n,
                        tag: make.tag,
                        state: State::Queued,
                        tried: false,
                        unknown: false,
                        merged: false,
                        message_id: None,
                        created_ms: self.now_ms,
                        finished_ms: None,
                        error: None,
                    });
                    self.words.insert(id, make.what);
                }
            }
        }
        let carries = |job: &&IncidentJob| {
            let role = matches!(job.role, IncidentRole::Card | IncidentRole::Update);
            role && job.state.is_pending()
        };
        assert!(
            stored.jobs.iter().filter(carries).count() <= 1,
            "two carry the state: {stored:#?}"
        );
        stored.body = serde_json::to_string(&incident).unwrap();
    }

    /// The `at`th of the jobs under way ends.
    fn end(&mut self, at: usize, end: End) {
        let World {
            incidents,
            words,
            messages,
            now_ms,
            ..
        } = self;
        let jobs = incidents.iter_mut().flat_map(|one| &mut one.jobs);
        let under_way: Vec<_> = jobs.filter(|job| job.state == State::Sending).collect();
        if under_way.is_empty() {
            return;
        }
        let at = at % under_way.len();
        let Some(job) = under_way.into_iter().nth(at) else {
            return;
        };
        let (state, class) = match end {
            End::Done => (State::Done, None),
            End::Refused(class) if !job.unknown => (State::Failed, Some(class)),
            End::Expired if !job.unknown => (State::Expired, None),
            End::NotSent => (State::Queued, None),
            End::Canceled if !job.unknown => (State::Canceled, None),
            End::Unknown => {
                job.unknown = true;
                (State::Queued, None)
            }
            End::InDoubt | End::Refused(_) | End::Expired | End::Canceled => (State::InDoubt, None),
        };
        job.state = state;
        job.error = class.map(|class| Fault {
            class: class.to_owned(),
            ..Fault::default()
        });
        if state.is_settled() {
            job.finished_ms = Some(*now_ms);
        }
        if state == State::Done {
            match &words[&job.id] {
                What::Card { .. } => {
                    let message = format!("om_{}", job.id);
                    messages.insert(message.clone(), job.tag.clone());
                    job.message_id = Some(message);
                }
                What::Update { message } => {
                    messages.insert(message.clone(), job.tag.clone());
                }
                _ => {}
            }
        }
    }

    /// The source repeats itself, everything goes well from now on, and time passes.
    fn settle(&mut self) {
        self.happens(&Event::Notify);
        for _ in 0..40 {
            self.happens(&Event::Look);
            for _ in 0..20 {
                self.happens(&Event::Mark);
                self.happens(&Event::End(0, End::Done));
            }
            self.now_ms += 31_000;
        }
        self.happens(&Event::Look);
    }

    /// What is shown is what is so.
    fn judge(&self) {
        let Some(last) = self.incidents.last() else {
            return;
        };
        let incident: Incident = serde_json::from_str(&last.body).unwrap();
        let open = last.jobs.iter().filter(|job| job.state.is_pending());
        assert_eq!(open.count(), 0, "{last:#?}");
        let fires = self.source.iter().any(|(firing, _)| *firing);
        assert_eq!(incident.is_firing(), fires);
        let card = &incident.card;
        let Some(message) = &card.message_id else {
            let over = incident
                .ended_ms
                .is_some_and(|at| at + 900_000 <= self.now_ms + 2_000_000);
            assert!(!fires && over, "what fires is not shown: {incident:#?}");
            return;
        };
        assert_eq!(self.messages[message], incident.tag(), "{incident:#?}");
        assert_eq!(card.shown, incident.tag());
        let pinned = card.unpinnable.as_ref() != Some(message) && incident.policy.pin && fires;
        assert_eq!(
            card.pinned.as_ref(),
            pinned.then_some(message),
            "{incident:#?}"
        );
        assert!(incident.news.alerts.is_empty() && incident.news.telling.is_empty());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 250, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_newest_state_is_shown_in_the_end_by_one_job_at_a_time(
        policy in policies(),
        events in events(),
    ) {
        let mut world = World::new(policy);
        for event in &events {
            world.happens(event);
        }
        world.settle();
        world.judge();
        let mut last: BTreeMap<usize, i64> = BTreeMap::new();
        for (incident, at_ms) in &world.news {
            let before = last.insert(*incident, *at_ms);
            let soon = before.is_some_and(|before| at_ms - before < news::GAP_MS);
            prop_assert!(!soon || world.incidents[*incident].body.contains("news not told"), "two replies at once");
        }
    }
}
