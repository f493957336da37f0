//! One run: incidents that escalate while things happen to them, to the relay and to Feishu.
//!
//! The clocks stand at each deadline; what is due there is waited for before they move on, so that a late call is
//! the relay's doing and not the test's.

use std::time::{Duration, Instant, UNIX_EPOCH};

use fastrand::Rng;
use feishu_sandbox::DEFAULT_USERS;
use serde_json::{Value, json};

use super::support::House;
use super::support::alerts::{firing, of, resolved, route, tell};
use super::{Got, Round, Run, Rung, Story};

const KINDS: [&str; 3] = ["urgent_app", "urgent_sms", "urgent_phone"];
const INCIDENTS: usize = 6;
const STEPS: usize = 40;
const MINUTE_MS: i64 = 60_000;
/// Within this a group that ended fires again on the same card.
const REOPEN_MS: i64 = 60 * MINUTE_MS;
/// A firing with the same start is a late twin for so long.
const TWIN_MS: i64 = 2 * MINUTE_MS;

/// An incident as the test knows it.
struct One {
    name: String,
    id: String,
    story: Story,
    starts: u32,
    fires: bool,
    ended_ms: i64,
}

struct World {
    house: House,
    rng: Rng,
    rungs: Vec<Rung>,
    ones: Vec<One>,
    moved_ms: i64,
    away: Vec<(i64, i64)>,
    lossy: Vec<i64>,
    slow_ms: i64,
}

/// Runs the seed to its end.
pub(crate) async fn run(seed: u64) -> Run {
    let mut world = World::new(seed).await;
    for n in 0..INCIDENTS {
        world.open(n).await;
    }
    for _ in 0..STEPS {
        world.step().await;
    }
    // Whatever still fires climbs to its end.
    for _ in 0..3 * INCIDENTS {
        world.pass(40 * MINUTE_MS).await;
    }
    world.told().await
}

impl World {
    async fn new(seed: u64) -> World {
        let mut rng = Rng::with_seed(seed);
        let users = |range: std::ops::Range<usize>| -> Vec<String> {
            DEFAULT_USERS[range]
                .iter()
                .map(|user| (*user).to_owned())
                .collect()
        };
        let mut after_ms = 0;
        let mut rungs = Vec::new();
        for (urgent, to) in KINDS
            .into_iter()
            .zip([users(0..2), users(1..4), users(0..4)])
        {
            after_ms += rng.i64(2..15) * MINUTE_MS;
            rungs.push(Rung {
                after_ms,
                urgent,
                to,
            });
        }
        let mut house = House::without_relay(None, &config(&rungs)).await;
        std::fs::write(house.dir.path().join("duty.txt"), users(2..4).join("\n")).unwrap();
        house.start();
        World {
            house,
            rng,
            rungs,
            ones: Vec::new(),
            moved_ms: 0,
            away: Vec::new(),
            lossy: Vec::new(),
            slow_ms: 0,
        }
    }

    fn now_ms(&self) -> i64 {
        let real = i64::try_from(UNIX_EPOCH.elapsed().unwrap().as_millis()).unwrap();
        real + self.moved_ms
    }

    async fn advance(&mut self, ms: i64) {
        self.moved_ms += ms;
        let by = Duration::from_millis(u64::try_from(ms).unwrap());
        self.house.advance(by).await;
    }

    async fn open(&mut self, n: usize) {
        let name = format!("Down{n}");
        let answer = tell(&self.house, &name, &[firing(&name, "a", &start(0))]).await;
        let id = answer["incidents"][0].as_str().unwrap().to_owned();
        let shown = |one: &Value| one["card"]["message_id"].is_string();
        let one = self
            .house
            .until(&format!("/v1/incidents/{id}"), shown)
            .await;
        let message = one["card"]["message_id"].as_str().unwrap().to_owned();
        let cards = self.house.effects("message").await;
        let card = cards.iter().find(|card| card["message_id"] == *message);
        let story = Story {
            message,
            rounds: vec![round(card.unwrap()["at"].as_i64().unwrap())],
            marks: Vec::new(),
        };
        self.ones.push(One {
            name,
            id,
            story,
            starts: 0,
            fires: true,
            ended_ms: 0,
        });
        let ms = self.rng.i64(0..15_000);
        self.advance(ms).await;
    }

    async fn step(&mut self) {
        self.house.hear_all();
        let which = self.rng.usize(0..INCIDENTS);
        match self.rng.u8(0..24) {
            0..6 => {
                let ms = self.rng.i64(MINUTE_MS..10 * MINUTE_MS);
                self.pass(ms).await;
            }
            6..9 => self.read(which).await,
            9 => self.react(which).await,
            10 => self.ack(which).await,
            11 => self.resolve(which).await,
            12..16 => self.fire_again(which).await,
            16 => self.twin(which).await,
            17..21 => self.relay_away().await,
            21 => self.feishu_away().await,
            22 => {
                let urgent = KINDS[self.rng.usize(0..3)];
                let call = format!("PATCH /open-apis/im/v1/messages/:message_id/{urgent}");
                self.lose(json!([{"call": call, "do": "drop", "when": "after", "count": 1}]))
                    .await;
            }
            _ => {
                let call = "GET /open-apis/im/v1/messages/:message_id/read_users";
                self.lose(json!([{"call": call, "do": "5xx", "when": "before", "count": 3}]))
                    .await;
            }
        }
    }

    /// Time passes, from deadline to deadline.
    async fn pass(&mut self, ms: i64) {
        let until_ms = self.now_ms() + ms;
        loop {
            let now_ms = self.now_ms();
            let Some(ms) = Some(until_ms - now_ms).filter(|ms| *ms > 0) else {
                return;
            };
            let due = self.deadlines().filter(|due| *due > now_ms).min();
            // A little after it: the relay counts from when it heard that the card was shown.
            let to_due = due.map_or(ms, |due| (due - now_ms + 500).min(ms));
            self.advance(to_due).await;
            // Sometimes what happens comes between a deadline and its call.
            let which = self.rng.usize(0..INCIDENTS);
            match self.rng.u8(0..20) {
                0 => self.ack(which).await,
                1 => self.resolve(which).await,
                2..5 => self.kill().await,
                _ => {}
            }
            self.settle().await;
        }
    }

    fn deadlines(&self) -> impl Iterator<Item = i64> {
        let firing = self.ones.iter().filter(|one| one.fires);
        firing.flat_map(|one| {
            let from_ms = one.story.rounds[one.story.rounds.len() - 1].from_ms;
            self.rungs.iter().map(move |rung| from_ms + rung.after_ms)
        })
    }

    /// Waits until what is due is decided and no call waits any more. Breakers may want a little time for that.
    async fn settle(&mut self) {
        let began = Instant::now();
        let witness = json!({"kind": "unpin", "args": {"message": "om_witness"}});
        let witness = self.house.post(witness).await;
        self.house.settled(witness["id"].as_str().unwrap()).await;
        let real_ms = i64::try_from(began.elapsed().as_millis()).unwrap();
        self.slow_ms = self.slow_ms.max(4 * real_ms);
        for n in 0..INCIDENTS {
            for _ in 0..90 {
                let now_ms = self.now_ms();
                let path = format!("/v1/incidents/{}", self.ones[n].id);
                let decided = |one: &Value| {
                    let mut rungs = one["rungs"].as_array().unwrap().iter();
                    rungs.all(|rung| rung["outcome"] != "waiting" || due_ms(rung) > now_ms)
                };
                let one = self.house.until(&path, decided).await;
                let jobs = one["jobs"].as_array().unwrap();
                let waits = |job: &&Value| {
                    let state = job["state"].as_str().unwrap();
                    job["role"] == "rung" && matches!(state, "queued" | "sending")
                };
                if !jobs.iter().any(|job| waits(&job)) {
                    break;
                }
                // A call on its way needs no other time than the machine's.
                let began = Instant::now();
                while began.elapsed() < Duration::from_millis(700) {
                    self.house.request("GET", "/v1/status", None).await;
                }
                let waiting = self.house.request("GET", &path, None).await.1;
                if waiting["jobs"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .any(|job| waits(&job))
                {
                    self.advance(5000).await;
                }
            }
        }
    }

    async fn read(&mut self, which: usize) {
        let user = DEFAULT_USERS[self.rng.usize(0..4)];
        self.act(which, "read", user).await;
        let now_ms = self.now_ms();
        last(&mut self.ones[which])
            .read
            .push((now_ms, user.to_owned()));
    }

    async fn react(&mut self, which: usize) {
        self.act(which, "react", DEFAULT_USERS[5]).await;
        let now_ms = self.now_ms();
        last(&mut self.ones[which]).reacted_ms.get_or_insert(now_ms);
    }

    async fn act(&mut self, which: usize, what: &str, user: &str) {
        let message = &self.ones[which].story.message;
        let act = json!({"do": what, "user": user, "message": message, "emoji": "OK"});
        self.house.control("act", act).await;
    }

    async fn ack(&mut self, which: usize) {
        if !self.ones[which].fires {
            return;
        }
        self.stopping(which);
        let path = format!("/v1/incidents/{}/ack", self.ones[which].id);
        let (status, answer) = self.house.request("POST", &path, None).await;
        assert_eq!(status, 200, "{answer}");
        self.stopped(which);
    }

    async fn resolve(&mut self, which: usize) {
        if !self.ones[which].fires {
            return;
        }
        self.stopping(which);
        self.tell(which).await;
        self.ones[which].fires = false;
        self.tell(which).await;
        self.stopped(which);
        self.ones[which].ended_ms = self.now_ms();
    }

    fn stopping(&mut self, which: usize) {
        let now_ms = self.now_ms();
        last(&mut self.ones[which])
            .stopping_ms
            .get_or_insert(now_ms);
    }

    fn stopped(&mut self, which: usize) {
        let now_ms = self.now_ms();
        last(&mut self.ones[which]).stopped_ms.get_or_insert(now_ms);
    }

    /// Says how it stands, as it may have been said before.
    async fn tell(&mut self, which: usize) {
        let one = &self.ones[which];
        let alert = match one.fires {
            true => firing(&one.name, "a", &start(one.starts)),
            false => resolved(&one.name, "a", &start(one.starts)),
        };
        tell(&self.house, &one.name, &[alert]).await;
    }

    /// The other half of a pair says what was said, or what was said before the end, late.
    async fn twin(&mut self, which: usize) {
        self.tell(which).await;
        let one = &self.ones[which];
        if !one.fires && self.now_ms() < one.ended_ms + TWIN_MS - MINUTE_MS {
            let late = firing(&one.name, "a", &start(one.starts));
            tell(&self.house, &one.name, &[late]).await;
        }
    }

    async fn fire_again(&mut self, which: usize) {
        // Where all is said and done it ends first.
        let last_ms = self.rungs[self.rungs.len() - 1].after_ms;
        let from_ms = last(&mut self.ones[which]).from_ms;
        if self.ones[which].fires && self.now_ms() > from_ms + last_ms {
            self.resolve(which).await;
            self.pass(TWIN_MS + MINUTE_MS).await;
        }
        let one = &self.ones[which];
        let since_ms = self.now_ms() - one.ended_ms;
        if one.fires || !(TWIN_MS..=REOPEN_MS - 5 * MINUTE_MS).contains(&since_ms) {
            return;
        }
        let seen = |ledger: &Value, message: &str| {
            let effects = ledger["effects"].as_array().unwrap();
            let updates = of(effects, "card_update").into_iter();
            let updates = updates.filter(|update| update["message_id"] == *message);
            updates
                .map(|update| update["at"].as_i64().unwrap())
                .collect::<Vec<_>>()
        };
        let message = one.story.message.clone();
        // That it ended is on the card first, else nothing new would be shown.
        let words = |one: &Value| {
            one["jobs"]
                .as_array()
                .unwrap()
                .iter()
                .all(|job| job["state"] == "done")
        };
        self.house
            .until(&format!("/v1/incidents/{}", one.id), words)
            .await;
        let before = seen(&self.house.ledger().await, &message).len();
        let one = &mut self.ones[which];
        one.starts += 1;
        one.fires = true;
        self.tell(which).await;
        let deadline = Instant::now() + Duration::from_secs(60);
        let from_ms = loop {
            let updates = seen(&self.house.ledger().await, &message);
            if let Some(at_ms) = updates.get(before) {
                break *at_ms;
            }
            assert!(Instant::now() < deadline, "{}", self.house.log());
            tokio::task::yield_now().await;
        };
        self.ones[which].story.rounds.push(round(from_ms));
    }

    async fn kill(&mut self) {
        let left_ms = self.now_ms();
        self.house.kill();
        self.house.start();
        self.away.push((left_ms, self.now_ms()));
    }

    async fn relay_away(&mut self) {
        let left_ms = self.now_ms();
        match self.rng.bool() {
            true => self.house.kill(),
            false => self.house.stop(),
        }
        let ms = self.rng.i64(MINUTE_MS..40 * MINUTE_MS);
        self.advance(ms).await;
        self.house.start();
        self.away.push((left_ms, self.now_ms()));
        self.settle().await;
    }

    /// Feishu is away; what is due meanwhile waits for it.
    async fn feishu_away(&mut self) {
        let left_ms = self.now_ms();
        self.house.feishu_down().await;
        let mut gone_ms = 0;
        for _ in 0..self.rng.u8(1..4) {
            let ms = self.rng.i64(MINUTE_MS..15 * MINUTE_MS);
            self.advance(ms).await;
            gone_ms += ms;
            if self.rng.u8(0..3) == 0 {
                self.house.kill();
                self.house.start();
            }
        }
        self.house.feishu_up().await;
        self.house
            .control("clock", json!({"advance": format!("{gone_ms}ms")}))
            .await;
        self.away.push((left_ms, self.now_ms()));
        self.settle().await;
        self.away.push((left_ms, self.now_ms()));
    }

    async fn lose(&mut self, rules: Value) {
        self.house.faults(rules).await;
        let now_ms = self.now_ms();
        self.lossy.push(now_ms);
        let ms = self.rng.i64(MINUTE_MS..8 * MINUTE_MS);
        self.pass(ms).await;
        self.house.faults(json!([])).await;
        let now_ms = self.now_ms();
        self.lossy.push(now_ms);
        self.settle().await;
    }

    /// What the judge needs.
    async fn told(mut self) -> Run {
        let end_ms = self.now_ms();
        for n in 0..INCIDENTS {
            let path = format!("/v1/incidents/{}", self.ones[n].id);
            let (_, one) = self.house.request("GET", &path, None).await;
            for job in one["jobs"].as_array().unwrap() {
                if job["role"] == "rung" {
                    let job = self.house.job(job["id"].as_str().unwrap()).await;
                    let attempts = job["attempts"].as_array().unwrap();
                    let marks = attempts.iter().map(|attempt| time_ms(&attempt["at"]));
                    self.ones[n].story.marks.extend(marks);
                }
            }
        }
        let ledger = self.house.ledger().await;
        let effects = ledger["effects"].as_array().unwrap();
        let calls = KINDS.iter().flat_map(|kind| of(effects, kind));
        let mut got: Vec<Got> = calls.map(got).collect();
        got.sort_by_key(|got| got.at_ms);
        self.house.stop();
        Run {
            rungs: self.rungs,
            stories: self.ones.into_iter().map(|one| one.story).collect(),
            got,
            away: self.away,
            lossy: self.lossy,
            slow_ms: self.slow_ms,
            end_ms,
        }
    }
}

fn config(rungs: &[Rung]) -> String {
    let to = [
        json!([DEFAULT_USERS[0], DEFAULT_USERS[1]]),
        json!([DEFAULT_USERS[1], "@duty", DEFAULT_USERS[2]]),
        json!([DEFAULT_USERS[0], DEFAULT_USERS[1], "@duty"]),
    ];
    let rungs = rungs.iter().zip(to).map(|(rung, to)| {
        let (after, urgent) = (rung.after_ms / MINUTE_MS, rung.urgent);
        format!("{{ after = \"{after}m\", do = \"{urgent}\", to = {to} }}")
    });
    let rungs: Vec<_> = rungs.collect();
    let more = format!(
        "until = [\"read\", \"reaction\"]\nreopen = \"{}m\"\nescalate = [{}]\n[oncall]\nduty = \"duty.txt\"\n",
        REOPEN_MS / MINUTE_MS,
        rungs.join(", ")
    );
    format!(
        "budget = {{ urgent_sms = 1000, urgent_phone = 1000 }}\n{}",
        route(&more)
    )
}

fn start(n: u32) -> String {
    format!("2026-01-31T08:{n:02}:00Z")
}

fn round(from_ms: i64) -> Round {
    Round {
        from_ms,
        stopping_ms: None,
        stopped_ms: None,
        read: Vec::new(),
        reacted_ms: None,
    }
}

fn last(one: &mut One) -> &mut Round {
    one.story.rounds.last_mut().unwrap()
}

fn got(effect: &Value) -> Got {
    let users = effect["users"].as_array().unwrap();
    Got {
        at_ms: effect["at"].as_i64().unwrap(),
        message: effect["message_id"].as_str().unwrap().to_owned(),
        urgent: effect["effect"].as_str().unwrap().to_owned(),
        users: users
            .iter()
            .map(|user| user.as_str().unwrap().to_owned())
            .collect(),
    }
}

/// When a rung is due; one without a deadline never is.
fn due_ms(rung: &Value) -> i64 {
    match &rung["due_at"] {
        Value::Null => i64::MAX,
        at => time_ms(at),
    }
}

fn time_ms(time: &Value) -> i64 {
    let time: jiff::Timestamp = time.as_str().unwrap().parse().unwrap();
    time.as_millisecond()
}
