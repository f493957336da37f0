//! A storm: five thousand groups of alerts in a minute to one chat. What people saw is the sandbox's ledger; each
//! alert stands in one card or is counted by one digest, and what stands there last is how it is.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on should stop here"
)]

mod support;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use futures_util::{StreamExt, stream};
use serde_json::{Value, json};
use support::House;
use support::alerts::{firing, resolved, route};

const AT: &str = "2026-01-31T08:00:00Z";
/// Parts in which a storm comes, and how long each of them lasts beside the time that posting it takes.
const PARTS: usize = 12;
const PART: Duration = Duration::from_secs(4);
/// Requests at one time.
const AT_ONCE: usize = 32;
const SEVERITIES: [&str; 4] = ["critical", "warning", "info", "error"];

/// A relay in a storm.
struct Storm {
    house: House,
    http: reqwest::Client,
}

/// What people can read at the end.
#[derive(Debug, Default)]
struct Seen {
    /// Messages that were sent.
    messages: usize,
    digests: usize,
    /// Alerts that the digests count.
    counted: usize,
    /// Incidents that fire and that are over, in digests and in cards.
    firing: usize,
    resolved: usize,
    /// From the first message to the last, milliseconds of Feishu's clock.
    lasted_ms: i64,
    /// Pins that were made, and messages that are pinned at the end.
    pins: usize,
    pinned: usize,
}

impl Storm {
    async fn new() -> Storm {
        let house = House::with(None, &route("pin = true\nreopen = \"1h\"\n")).await;
        let socket = house.dir.path().join("relay.sock");
        let http = reqwest::Client::builder().no_proxy().unix_socket(socket);
        Storm {
            http: http.build().unwrap(),
            house,
        }
    }

    /// Posts one group of one alert each, once more where nobody answered.
    async fn tell(&self, groups: std::ops::Range<usize>, is_firing: bool) {
        let one = |n: usize| {
            let name = format!("Down{n}");
            let mut alert = match is_firing {
                true => firing(&name, "a", AT),
                false => resolved(&name, "a", AT),
            };
            alert["labels"]["severity"] = json!(SEVERITIES[n % 4]);
            let body = support::alerts::notice(&name, &[alert]);
            async move {
                let request = self.http.post("http://localhost/v1/alerts/db").json(&body);
                let status = request.send().await.unwrap().status();
                assert_eq!(status, 200, "{n}");
            }
        };
        stream::iter(groups)
            .map(one)
            .buffer_unordered(AT_ONCE)
            .collect::<()>()
            .await;
    }

    /// Lets time pass until nothing is left to do.
    async fn calms(&mut self) {
        for _ in 0..40 {
            self.house.advance(Duration::from_secs(10)).await;
            let (_, status) = self.house.request("GET", "/v1/status", None).await;
            if status["pending"] == 0 {
                // What ended may have made more.
                self.house.advance(Duration::from_secs(10)).await;
                self.house.advance(Duration::from_secs(10)).await;
                let quiet = |status: &Value| status["pending"] == 0;
                self.house.until("/v1/status", quiet).await;
                return;
            }
        }
        panic!("the storm does not end\n{}", self.house.log());
    }

    async fn seen(&self) -> Seen {
        let ledger = self.house.ledger().await;
        let mut shows: BTreeMap<String, String> = BTreeMap::new();
        let mut seen = Seen::default();
        let (mut first, mut last) = (i64::MAX, 0);
        for effect in ledger["effects"].as_array().unwrap() {
            let id = effect["message_id"].as_str().unwrap_or_default().to_owned();
            match effect["effect"].as_str().unwrap() {
                "message" => {
                    seen.messages += 1;
                    first = first.min(effect["at"].as_i64().unwrap());
                    last = effect["at"].as_i64().unwrap();
                    shows.insert(id, text(&effect["content"]));
                }
                "card_update" => {
                    shows.insert(id, text(&effect["content"]));
                }
                "pin" => {
                    seen.pins += 1;
                    seen.pinned += 1;
                }
                "unpin" => seen.pinned -= 1,
                other => panic!("{other}"),
            }
        }
        seen.lasted_ms = (last - first).max(0);
        for words in shows.values() {
            if words.contains("告警汇总 digest") {
                seen.digests += 1;
                seen.counted += number_after(words, "告警 alerts: ");
                seen.firing += number_before(words, " 告警中 firing");
                seen.resolved += number_before(words, " 已恢复 resolved");
            } else {
                seen.counted += 1;
                let over = words.contains("已恢复 resolved");
                seen.firing += usize::from(!over);
                seen.resolved += usize::from(over);
            }
        }
        seen
    }

    /// Every one of `all` alerts is in one message, `firing` of them firing, and the messages are few.
    ///
    /// A digest says a moment later what became of its members: until then it is waited for.
    async fn judge(&self, all: usize, firing: usize) {
        let until = Instant::now() + Duration::from_secs(60);
        let seen = loop {
            let seen = self.seen().await;
            let said = (seen.counted, seen.firing, seen.resolved);
            if said == (all, firing, all - firing) {
                break seen;
            }
            assert!(Instant::now() < until, "{seen:?}\n{}", self.house.log());
            self.house.until("/v1/status", |_| true).await;
        };
        // Where posting took longer than the minute, so did the storm: a minute more is as good as calm.
        let minutes = usize::try_from(seen.lasted_ms / 60_000).unwrap();
        assert!(
            seen.messages <= 60 + 27 * minutes.saturating_sub(1),
            "{seen:?}"
        );
        assert!(seen.digests >= 1, "{seen:?}");
        assert!(seen.pins <= seen.messages, "{seen:?}");
    }
}

fn text(content: &Value) -> String {
    content
        .as_str()
        .map_or_else(|| content.to_string(), str::to_owned)
}

fn number_before(words: &str, what: &str) -> usize {
    let before = words
        .split(what)
        .next()
        .filter(|before| before.len() < words.len());
    let digits = |before: &str| {
        let from = before
            .rfind(|sign: char| !sign.is_ascii_digit())
            .map_or(0, |at| {
                at + before[at..].chars().next().map_or(1, char::len_utf8)
            });
        before[from..].parse().unwrap_or(0)
    };
    before.map_or(0, digits)
}

fn number_after(words: &str, what: &str) -> usize {
    let (_, after) = words.split_once(what).unwrap();
    let end = after.find(|sign: char| !sign.is_ascii_digit()).unwrap();
    after[..end].parse().unwrap()
}

/// Which part of a storm.
fn part(n: usize, all: usize) -> std::ops::Range<usize> {
    n * all / PARTS..(n + 1) * all / PARTS
}

#[tokio::test]
async fn five_thousand_alerts_in_a_minute_are_sixty_messages_and_each_is_counted() {
    let mut storm = Storm::new().await;
    for n in 0..PARTS {
        storm.tell(part(n, 5000), true).await;
        storm.house.advance(PART).await;
    }
    storm.calms().await;
    storm.judge(5000, 5000).await;
    // What ends later is said by what carries it, and nobody is told anew.
    let before = storm.seen().await;
    storm.tell(0..1000, false).await;
    storm.calms().await;
    storm.judge(5000, 4000).await;
    assert_eq!(storm.seen().await.messages, before.messages);
}

#[tokio::test]
async fn what_ends_during_a_storm_is_counted_as_over() {
    let mut storm = Storm::new().await;
    for n in 0..PARTS {
        storm.tell(part(n, 1500), true).await;
        if n >= 3 {
            storm.tell(part(n - 3, 1500), false).await;
        }
        storm.house.advance(PART).await;
    }
    storm.calms().await;
    storm.judge(1500, 1500 - part(PARTS - 4, 1500).end).await;
}

#[tokio::test]
async fn a_storm_that_kills_the_relay_loses_nobody() {
    let mut storm = Storm::new().await;
    for n in 0..PARTS {
        storm.tell(part(n, 1500), true).await;
        if n % 4 == 2 {
            storm.house.kill();
            storm.house.start();
        }
        storm.house.advance(PART).await;
    }
    storm.calms().await;
    storm.judge(1500, 1500).await;
}

#[tokio::test]
async fn a_storm_in_an_outage_ends_as_a_few_messages() {
    let mut storm = Storm::new().await;
    for n in 0..PARTS {
        if n == 2 {
            storm.house.feishu_down().await;
        }
        storm.tell(part(n, 1500), true).await;
        if n == 9 {
            storm.tell(0..200, false).await;
        }
        if n == 10 {
            storm.house.feishu_up().await;
        }
        storm.house.advance(PART).await;
    }
    storm.calms().await;
    storm.judge(1500, 1300).await;
    let seen = storm.seen().await;
    assert!(seen.messages <= 35, "{seen:?}");
}

#[tokio::test]
async fn a_merged_job_says_who_speaks_for_it_and_is_not_taken_back() {
    let mut storm = Storm::new().await;
    storm.tell(0..60, true).await;
    storm.calms().await;
    storm.judge(60, 60).await;
    let (_, jobs) = storm
        .house
        .request("GET", "/v1/jobs?state=done&kind=send&limit=200", None)
        .await;
    let jobs = jobs["jobs"].as_array().unwrap();
    let merged = jobs
        .iter()
        .find(|job| job["receipt"]["merged_into"].is_string());
    let merged = merged.unwrap_or_else(|| panic!("none of {} is merged", jobs.len()));
    let id = merged["id"].as_str().unwrap();
    let (status, answer) = storm.house.act(id, "recall", None).await;
    assert_eq!(status, 409, "{answer}");
    // What fires anew has a card of its own.
    let incident = merged["labels"]["incident"].as_str().unwrap();
    let (_, incident) = storm
        .house
        .request("GET", &format!("/v1/incidents/{incident}"), None)
        .await;
    let before = storm.seen().await.messages;
    let group = incident["group"].as_str().unwrap();
    let name = group.split('"').nth(1).unwrap().to_owned();
    let more = [firing(&name, "a", AT), firing(&name, "b", AT)];
    let body = support::alerts::notice(&name, &more);
    let request = storm.http.post("http://localhost/v1/alerts/db").json(&body);
    assert_eq!(request.send().await.unwrap().status(), 200);
    storm.calms().await;
    assert_eq!(storm.seen().await.messages, before + 1);
}
