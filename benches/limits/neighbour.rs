//! One group, shared with a bot that knows nothing of us.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use fastrand::Rng;
use feishu_sandbox::{DEFAULT_APP_ID, DEFAULT_APP_SECRET};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::house::{House, message, now_ms, plain, post};
use super::judge::{Posted, Shown, count, faults, room};
use super::relay::BenchError;
use super::report::{Report, percent, progress, seconds};

const GROUP: &str = "oc_51000000000000000000000000000000";
/// The other bot's app.
const HIS: &str = "cli_51000000000000ff";
/// Messages that a group takes a second, whoever sends.
const PLACES: u64 = 5;
/// So often his share is drawn anew.
const REDRAW: Duration = Duration::from_secs(300);
const REFUSED_PERCENT: f64 = 1.5;
const USED_PERCENT: f64 = 85.0;

/// From which numbers of calls a second his share is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Share {
    /// 1, 2, 3 or 4
    Whole,
    /// Any number from 1 to 4
    Real,
}

/// What the other bot did and heard.
#[derive(Clone, Debug, Default)]
struct Heard {
    shares: Vec<f64>,
    sent: u64,
    refused: u64,
    /// Neither taken nor refused for its rate.
    failed: Vec<String>,
}

/// Sends to the group for `minutes`, and says what became of the places that he left.
pub(crate) async fn neighbour(
    binary: &Path,
    seed: u64,
    minutes: u32,
    share: Share,
) -> Result<(Report, House), BenchError> {
    let world = json!({
        "apps": [
            {"app_id": DEFAULT_APP_ID, "app_secret": DEFAULT_APP_SECRET},
            {"app_id": HIS, "app_secret": "his"},
        ],
        "chats": [{"chat_id": GROUP}],
    });
    let mut house = House::open(binary, &world).await?;
    // More than the group takes in that time, so that there is always one to send.
    let asked: Vec<Posted> = (0..u64::from(minutes) * 60 * PLACES + 100)
        .map(|n| Posted {
            chat: GROUP.to_owned(),
            text: format!("m{n}"),
            high: false,
        })
        .collect();
    let jobs: Vec<Value> = asked
        .iter()
        .map(|one| message(&one.chat, &one.text, "normal"))
        .collect();
    let stop = CancellationToken::new();
    let heard = Arc::new(Mutex::new(Heard::default()));
    let bot = Bot::open(house.feishu_url(), Arc::clone(&heard)).await?;
    let his = tokio::spawn(bot.run(Rng::with_seed(seed), share, stop.clone()));
    for some in jobs.chunks(5_000) {
        post(&house.client(), some).await?;
    }
    let begun = Instant::now();
    let whole = Duration::from_secs(60 * u64::from(minutes));
    house
        .until(whole, |shown| {
            let after_s = begun.elapsed().as_secs();
            progress(&format!("{} shown after {after_s} s", shown.len()));
            false
        })
        .await?;
    let until_s = now_ms().div_euclid(1000);
    house.kill_relay()?;
    stop.cancel();
    his.await
        .map_err(|error| BenchError::Answer(error.to_string()))?;
    house.look().await?;
    let heard = heard.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let report = report(seed, &house, &asked, &heard, until_s).await?;
    Ok((report, house))
}

async fn report(
    seed: u64,
    house: &House,
    asked: &[Posted],
    heard: &Heard,
    until_s: i64,
) -> Result<Report, BenchError> {
    let mut report = Report::default();
    let shown = house.shown();
    let times = |app: &str| -> Vec<i64> {
        let of = shown.iter().filter(|one| one.app == app);
        of.map(|one| one.at_ms).collect()
    };
    let (ours, his) = (times(DEFAULT_APP_ID), times(HIS));
    // The first whole second in which there were two.
    let first_ms = |times: &[i64]| times.first().copied().unwrap_or(i64::MAX);
    let from_s = first_ms(&ours)
        .max(first_ms(&his))
        .div_euclid(1000)
        .saturating_add(1);
    let all = room(PLACES, &ours, &his, from_s, until_s);
    let calls = house.calls().await?;
    let limited = calls.limited.saturating_sub(heard.refused);
    let made = calls.made.saturating_sub(heard.sent);
    let refused = percent(limited, made);
    let used = percent(all.used, all.left);

    report.fact("seed", seed, seed.to_string());
    let shares: Vec<String> = heard.shares.iter().map(|one| format!("{one:.2}")).collect();
    report.fact(
        "his share",
        heard.shares.clone(),
        format!("{} calls a second", shares.join(", ")),
    );
    let span_s = until_s.saturating_sub(from_s);
    report.fact("time", span_s, seconds(span_s.saturating_mul(1000)));
    report.goal(
        "refused",
        json!({"count": limited, "of": made, "percent": refused}),
        format!("{limited} of {made} calls, {refused:.2} % (under {REFUSED_PERCENT} %)"),
        made > 0 && refused < REFUSED_PERCENT,
    );
    report.goal(
        "used",
        json!({"count": all.used, "of": all.left, "percent": used}),
        format!(
            "{} of {} places that he left, {used:.1} % (at least {USED_PERCENT} %)",
            all.used, all.left
        ),
        used >= USED_PERCENT,
    );
    let each: Vec<_> = (from_s..until_s)
        .step_by(60)
        .map(|second| room(PLACES, &ours, &his, second, until_s.min(second + 60)))
        .collect();
    report.fact(
        "minutes",
        each.iter()
            .map(|one| json!({"used": one.used, "left": one.left}))
            .collect::<Vec<_>>(),
        each.iter()
            .map(|one| format!("{}/{}", one.used, one.left))
            .collect::<Vec<_>>()
            .join(" "),
    );
    report.fact(
        "he",
        json!({"sent": heard.sent, "refused": heard.refused}),
        format!(
            "sent {} calls, {} of them refused ({:.2} %)",
            heard.sent,
            heard.refused,
            percent(heard.refused, heard.sent)
        ),
    );
    let failed = heard.failed.len();
    report.goal(
        "failed",
        failed,
        match heard.failed.first() {
            Some(first) => format!("{failed} of his calls, the first: {first}"),
            None => String::from("0 of his calls"),
        },
        failed == 0,
    );
    // The rest was still to be sent.
    let ours: Vec<Shown> = shown
        .iter()
        .filter(|one| one.app == DEFAULT_APP_ID)
        .cloned()
        .collect();
    let sent = ours.len().min(asked.len());
    report.faults(faults(&asked[..sent], &ours));
    report.fact("shown", count(sent), format!("{sent} of ours"));
    Ok(report)
}

/// A bot that sends at its own pace and lets go what is refused.
struct Bot {
    http: reqwest::Client,
    url: String,
    token: String,
    heard: Arc<Mutex<Heard>>,
}

impl Bot {
    async fn open(url: &str, heard: Arc<Mutex<Heard>>) -> Result<Bot, BenchError> {
        let http = plain()?;
        let door = format!("{url}/open-apis/auth/v3/tenant_access_token/internal");
        let who = json!({"app_id": HIS, "app_secret": "his"});
        let answer: Value = http.post(door).json(&who).send().await?.json().await?;
        let token = answer["tenant_access_token"].as_str().map(str::to_owned);
        Ok(Bot {
            http,
            url: format!("{url}/open-apis/im/v1/messages?receive_id_type=chat_id"),
            token: token.ok_or_else(|| BenchError::Answer(format!("no token: {answer}")))?,
            heard,
        })
    }

    /// Evenly, until it is told to stop; what is under way then is heard out.
    async fn run(self, mut rng: Rng, share: Share, stop: CancellationToken) {
        let mut calls = JoinSet::new();
        let mut next = Instant::now() + Duration::from_millis(rng.u64(..1000));
        let mut redraw = Instant::now();
        let mut rate = 1.0;
        loop {
            if redraw <= Instant::now() {
                rate = match share {
                    Share::Whole => f64::from(rng.u8(1..=4)),
                    Share::Real => 1.0 + 3.0 * rng.f64(),
                };
                self.note(|heard| heard.shares.push(rate));
                redraw += REDRAW;
            }
            let wait = tokio::time::sleep_until(next);
            if stop.run_until_cancelled(wait).await.is_none() {
                break;
            }
            next += Duration::from_secs_f64(1.0 / rate);
            let body = json!({
                "receive_id": GROUP, "msg_type": "text", "content": json!({"text": "his"}).to_string(),
            });
            let request = self.http.post(&self.url).bearer_auth(&self.token);
            calls.spawn(request.json(&body).send());
            while let Some(answer) = calls.try_join_next() {
                self.hear(answer).await;
            }
        }
        while let Some(answer) = calls.join_next().await {
            self.hear(answer).await;
        }
    }

    async fn hear(
        &self,
        answer: Result<reqwest::Result<reqwest::Response>, tokio::task::JoinError>,
    ) {
        let body: Value = match answer {
            Ok(Ok(answer)) => answer.json().await.unwrap_or_default(),
            Ok(Err(error)) => json!(error.to_string()),
            Err(error) => json!(error.to_string()),
        };
        self.note(|heard| {
            heard.sent += 1;
            match body["code"].as_i64() {
                Some(0) => {}
                Some(230_020) => heard.refused += 1,
                _ => heard.failed.push(body.to_string()),
            }
        });
    }

    fn note(&self, what: impl FnOnce(&mut Heard)) {
        what(&mut self.heard.lock().unwrap_or_else(PoisonError::into_inner));
    }
}
