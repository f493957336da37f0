//! The stream of events: every change, once, also over a broken connection, a restart and a clock
//! that goes back.

#![expect(clippy::unwrap_used, reason = "what a test stands on must hold")]

mod support;

use std::process::Stdio;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout};

use support::House;
use support::jobs::*;
use support::stream::{Event, Stream};

fn ended(event: &Event) -> bool {
    matches!(event.state(), "done" | "failed" | "expired" | "canceled")
}

/// What became of `id`, in order.
fn states_of<'a>(events: &'a [Event], id: &str) -> Vec<&'a str> {
    let of = events.iter().filter(|event| event.job() == id);
    of.map(Event::state).collect()
}

#[tokio::test]
async fn every_change_of_state_is_one_event_and_tells_no_content() {
    let mut house = House::new().await;
    let mut stream = Stream::open(&house, "").await;
    let more =
        json!({"key": "k1", "delay": "1h", "labels": {"team": "db"}, "then": [{"kind": "pin"}]});
    let job = house.post(message(more)).await;
    let (parent, child) = (id(&job), child(&job, 0));
    house.advance(HOUR).await;
    let events = stream
        .until(|event| event.job() == child && ended(event))
        .await;
    for id in [&parent, &child] {
        assert_eq!(states_of(&events, id), ["queued", "sending", "done"]);
    }
    let first = |id: &str| events.iter().find(|event| event.job() == id).unwrap();
    assert_eq!(first(&parent).data["waiting_for"], "schedule");
    let waits = first(&child);
    assert_eq!(waits.data["waiting_for"], "dependency");
    assert_eq!(waits.data["parent"], json!(parent));
    let done = events.iter().find(|event| event.state() == "done").unwrap();
    assert_eq!(done.event, "job");
    for (name, value) in [
        ("kind", "send"),
        ("app", "ops"),
        ("client", ""),
        ("key", "k1"),
        ("to", feishu_sandbox::DEFAULT_CHAT),
        ("lane", feishu_sandbox::DEFAULT_CHAT),
    ] {
        assert_eq!(done.data[name], value, "{name}");
    }
    assert_eq!(done.data["labels"], json!({"team": "db"}));
    let kept = house.job(&parent).await;
    assert_eq!(done.data["message_id"], kept["receipt"]["message_id"]);
    assert_eq!(done.data["at"], kept["finished_at"]);
    let all = format!("{events:?}");
    assert!(!all.contains("disk full") && !all.contains("args"), "{all}");

    // What is the relay's own is not told: a recall makes a job of its own.
    acted(&house, &parent, "recall", Value::Null).await;
    let gone = message(json!({"to": "x", "args": {"to": "oc_nowhere", "text": "x"}}));
    let gone = post(&house, json!({"kind": gone["kind"], "args": gone["args"]})).await;
    let events = stream
        .until(|event| event.job() == gone && ended(event))
        .await;
    assert!(events.iter().all(|event| event.job() == gone), "{events:?}");
    let failed = events.last().unwrap();
    assert_eq!(failed.state(), "failed");
    let error = &house.job(&gone).await["error"];
    assert_eq!(failed.data["code"], error["code"]);
    assert_eq!(failed.data["class"], error["class"]);
    assert_eq!(acted(&house, &gone, "retry", Value::Null).await.0, 202);
    let events = stream
        .until(|event| event.job() == gone && ended(event))
        .await;
    assert_eq!(events[0].state(), "queued");
    assert!(events[0].data.get("code").is_none(), "{events:?}");
}

#[tokio::test]
async fn a_broken_stream_goes_on_without_a_gap_or_a_double() {
    let mut house = House::new().await;
    let mut stream = Stream::open(&house, "state=done").await;
    let mut posted = Vec::new();
    let mut heard = Vec::new();
    for round in 0..4 {
        for _ in 0..3 {
            posted.push(post(&house, message(json!({}))).await);
        }
        // It breaks off in the middle of the round; the rest settles while nobody listens, or at
        // the very time when somebody comes back.
        heard.push(stream.next().await.unwrap());
        let last = heard.last().unwrap().id.clone();
        drop(stream);
        match round {
            0 => {}
            1 => {
                for id in &posted {
                    house.settled(id).await;
                }
                house.restart();
            }
            2 => {
                for id in &posted {
                    house.settled(id).await;
                }
                house.kill();
                house.set_clock("wall=-3h boot=0s");
                house.start();
            }
            _ => posted.push(post(&house, message(json!({}))).await),
        }
        stream = Stream::after(&house, "state=done", &last).await;
    }
    while heard.len() < posted.len() {
        heard.push(stream.next().await.unwrap());
    }
    let mut ids: Vec<String> = heard.iter().map(|event| event.job().to_owned()).collect();
    ids.sort();
    posted.sort();
    assert_eq!(ids, posted);
    let place = |event: &Event| event.id.split_once('-').unwrap().1.parse::<i64>().unwrap();
    assert!(heard.is_sorted_by(|a, b| place(a) < place(b)), "{heard:?}");
    // Nothing comes after the last of them but what is new.
    let one = post(&house, message(json!({}))).await;
    assert_eq!(stream.next().await.unwrap().job(), one);
}

#[tokio::test]
async fn what_was_retried_is_replayed_as_it_ended_in_the_end() {
    let house = House::new().await;
    let start = Stream::open(&house, "").await.last_id;
    let refused = json!({"kind": "send", "args": {"to": "oc_nowhere", "text": "x"}});
    let first = post(&house, refused.clone()).await;
    house.settled(&first).await;
    let second = post(&house, refused).await;
    house.settled(&second).await;
    acted(&house, &first, "retry", Value::Null).await;
    house.settled(&first).await;
    let held = post(&house, message(json!({"delay": "1h"}))).await;
    let mut stream = Stream::after(&house, "", &start).await;
    let replayed = [stream.next().await.unwrap(), stream.next().await.unwrap()];
    let jobs = replayed.each_ref().map(Event::job);
    assert_eq!(jobs, [second.as_str(), first.as_str()]);
    acted(&house, &held, "cancel", Value::Null).await;
    let next = stream.next().await.unwrap();
    assert_eq!((next.job(), next.state()), (held.as_str(), "canceled"));
}

#[tokio::test]
async fn a_stream_takes_the_filters_of_a_list() {
    let house = House::new().await;
    let start = Stream::open(&house, "").await.last_id;
    let more = json!({"key": "a b", "labels": {"team": "db"}, "then": [{"kind": "pin"}]});
    let wanted = post(&house, message(more)).await;
    let wanted = house.settled(&wanted).await;
    let refused = json!({"kind": "send", "args": {"to": "oc_nowhere", "text": "x"}});
    let refused = house.settled(&post(&house, refused).await).await;
    let pinned = house.settled(&child(&wanted, 0)).await;
    let [message_id, code] = [&wanted["receipt"]["message_id"], &refused["error"]["code"]];
    let [message_id, code] = [message_id.as_str().unwrap(), &code.to_string()];
    let chat = feishu_sandbox::DEFAULT_CHAT;
    let check = async |query: &str, expected: &[&Value]| {
        // Replayed first, then live; the same filter holds for both, and a witness ends each.
        let mut stream = Stream::after(&house, query, &start).await;
        let mut heard = Vec::new();
        for _ in expected {
            heard.push(stream.next().await.unwrap());
        }
        let jobs: Vec<&str> = heard.iter().map(Event::job).collect();
        let mut ids: Vec<&str> = expected
            .iter()
            .map(|job| job["id"].as_str().unwrap())
            .collect();
        ids.sort_by_key(|id| jobs.iter().position(|heard| heard == id));
        assert_eq!(jobs, ids, "{query}");
        stream
    };
    check("state=done", &[&wanted, &pinned]).await;
    check("state=done,failed", &[&wanted, &pinned, &refused]).await;
    check("state=failed", &[&refused]).await;
    check("kind=pin", &[&pinned]).await;
    check("app=ops&key=a%20b", &[&wanted]).await;
    check("label.team=db&state=done", &[&wanted]).await;
    check(&format!("to={chat}&kind=send"), &[&wanted]).await;
    check(&format!("lane={chat}&kind=send"), &[&wanted]).await;
    check("lane=oc_nowhere", &[&refused]).await;
    check("client=", &[&wanted, &pinned, &refused]).await;
    check(&format!("message_id={message_id}"), &[&wanted]).await;
    let mut by_code = check(&format!("code={code}"), &[&refused]).await;
    let mut nobody = check("client=nobody", &[]).await;
    let mut elsewhere = check("app=other", &[]).await;
    let mut expired = check("state=expired", &[]).await;

    // Live: only what fits is heard.
    post(&house, message(json!({}))).await;
    let again = json!({"kind": "send", "args": {"to": "oc_nowhere", "text": "y"}});
    let again = post(&house, again).await;
    let next = by_code.next().await.unwrap();
    assert_eq!((next.job(), next.state()), (again.as_str(), "failed"));
    let mut house = house;
    house.stop();
    for stream in [&mut by_code, &mut nobody, &mut elsewhere, &mut expired] {
        assert_eq!(stream.next().await, None);
    }
}

#[tokio::test]
async fn a_stream_refuses_what_it_does_not_know() {
    let house = House::new().await;
    for query in [
        "stat=done",
        "state=doone",
        "kind=shout",
        "code=x",
        "since=1h",
        "limit=5",
        "cursor=5",
        "last_event_id=17",
        "last_event_id=00000000-x",
        "last_event_id=00000000--1",
    ] {
        let (status, answer) = house
            .request("GET", &format!("/v1/events?{query}"), None)
            .await;
        assert_eq!(status, 422, "{query}: {answer}");
        let pointer = format!("?{}", query.split_once('=').unwrap().0);
        assert_eq!(answer["errors"][0]["pointer"], pointer);
    }
    let (status, _) = Stream::ask(&house, "", &[("Last-Event-ID", "yesterday")]).await;
    assert_eq!(status, 422);
    let two = [
        ("Last-Event-ID", "00000000-1"),
        ("Last-Event-ID", "00000000-1"),
    ];
    assert_eq!(Stream::ask(&house, "", &two).await.0, 400);
}

#[tokio::test]
async fn an_id_that_is_too_old_or_of_another_database_is_told_as_a_gap() {
    let mut house = House::new().await;
    let start = Stream::open(&house, "").await.last_id;
    let sent = post(&house, message(json!({}))).await;
    house.settled(&sent).await;
    let before = Stream::open(&house, "").await.last_id;
    pass(&mut house, 40 * DAY).await;
    house
        .until(&path(&sent), |answer| answer["status"] == 404)
        .await;
    let mut stream = Stream::after(&house, "kind=send", &start).await;
    let gap = stream.next().await.unwrap();
    assert_eq!(
        (gap.event.as_str(), &gap.data["why"]),
        ("gap", &json!("purged"))
    );
    // The numbers go on where they were, though the jobs that had them are gone.
    house.restart();
    let mut stream = Stream::after(&house, "kind=send", &before).await;
    let one = post(&house, message(json!({}))).await;
    let events = stream.until(ended).await;
    assert!(events.iter().all(|event| event.job() == one), "{events:?}");

    let [ours, foreign] = [stream.last_id.clone(), format!("00000000-{}", 1)];
    let (epoch, place) = ours.split_once('-').unwrap();
    let ahead = format!("{epoch}-{}", place.parse::<i64>().unwrap() + 1000);
    for id in [foreign, ahead] {
        let mut stream = Stream::after(&house, &format!("last_event_id={id}"), "").await;
        let gap = stream.next().await.unwrap();
        assert_eq!(gap.data["why"], "foreign", "{id}");
        // And it is alive: what comes now is heard, and nothing else.
        let one = post(&house, message(json!({}))).await;
        assert_eq!(stream.next().await.unwrap().job(), one);
        house.settled(&one).await;
    }
}

#[tokio::test]
async fn a_reader_that_lags_is_told_and_hears_what_settled() {
    let house = House::without_relay(None, "").await;
    let mut house = house;
    house.start();
    let mut slow = Stream::open(&house, "").await;
    let many = json!(vec![message(json!({"delay": "1h"})); 10_000]);
    for _ in 0..2 {
        house.post(many.clone()).await;
    }
    let few = json!({"delay": "1h", "labels": {"few": "yes"}});
    let few: Vec<Value> = vec![message(few); 20];
    let few = house.post(json!(few)).await;
    let (_, canceled) = house
        .request("POST", "/v1/jobs/cancel?label.few=yes", None)
        .await;
    assert_eq!(canceled["count"], 20);
    let events = slow.until(|event| event.event == "gap").await;
    assert_eq!(events.last().unwrap().data["why"], "lagged");
    assert!(events.len() < 20_000, "{}", events.len());
    let mut heard = Vec::new();
    for _ in 0..20 {
        heard.push(slow.next().await.unwrap());
    }
    assert!(
        heard.iter().all(|event| event.state() == "canceled"),
        "{heard:?}"
    );
    let mut jobs: Vec<&str> = heard.iter().map(Event::job).collect();
    jobs.sort_unstable();
    let mut wanted: Vec<String> = few["jobs"].as_array().unwrap().iter().map(id).collect();
    wanted.sort();
    assert_eq!(jobs, wanted);
    let one = post(&house, message(json!({"delay": "1h"}))).await;
    assert_eq!(slow.next().await.unwrap().job(), one);
}

const CLIENTS: &str = r#"
[[clients]]
name = "reader"
token = "reader-token"
scopes = ["read"]
[[clients]]
name = "elsewhere"
token = "elsewhere-token"
apps = ["other"]
[[clients]]
name = "writer"
token = "writer-token"
scopes = ["enqueue"]
"#;

#[tokio::test]
async fn who_may_not_read_hears_nothing_and_who_has_an_app_hears_of_that_one() {
    let other = "[[apps]]\nname = \"other\"\napp_id = \"cli_0000000000000001\"\napp_secret = \"x\"\nbase_url = \"http://127.0.0.1:9\"\n";
    let house = House::with(None, &format!("{other}{CLIENTS}")).await;
    let token = |name: &str| format!("Bearer {name}-token");
    let ask = async |name: &str| {
        let token = token(name);
        Stream::ask(&house, "", &[("Authorization", &token)]).await
    };
    assert_eq!(ask("writer").await.0, 403);
    assert_eq!(ask("nobodys").await.0, 401);
    let (status, mut reader) = ask("reader").await;
    assert_eq!(status, 200);
    let (status, mut elsewhere) = ask("elsewhere").await;
    assert_eq!(status, 200);
    let mine = post(&house, message(json!({"delay": "1h"}))).await;
    let theirs = post(&house, message(json!({"delay": "1h", "app": "other"}))).await;
    assert_eq!(reader.next().await.unwrap().job(), mine);
    assert_eq!(reader.next().await.unwrap().job(), theirs);
    assert_eq!(elsewhere.next().await.unwrap().job(), theirs);
}

#[tokio::test]
async fn streams_leave_connections_to_others_and_end_with_the_relay() {
    const MAX: usize = 256;
    let mut house = House::new().await;
    let mut streams = Vec::new();
    for _ in 0..MAX {
        streams.push(Stream::open(&house, "").await);
    }
    let (status, answer) = house.request("GET", "/v1/events", None).await;
    assert_eq!(status, 503, "{answer}");
    streams.pop();
    // The relay sees at its next word that somebody has left.
    let mut left = None;
    while left.is_none() {
        post(&house, message(json!({"delay": "1h"}))).await;
        let (status, stream) = Stream::ask(&house, "", &[]).await;
        left = (status == 200).then_some(stream);
    }
    for stream in &mut streams {
        assert_eq!(stream.next().await.unwrap().state(), "queued");
    }
    house.stop();
    let log = house.log();
    assert!(!log.contains("cut off"), "{log}");
    for stream in &mut streams {
        while stream.next().await.is_some() {}
    }
}

/// `jobs watch`, once the relay has answered it.
async fn watch(house: &House, words: &[&str]) -> (Child, Lines<BufReader<ChildStdout>>) {
    let asked = |log: &str| log.matches("path=\"/v1/events\"").count();
    let before = asked(&house.log());
    let mut command = tokio::process::Command::from(house.binary());
    command.args(["jobs", "watch"]).args(words);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.kill_on_drop(true).spawn().unwrap();
    house
        .until("/v1/status", |_| asked(&house.log()) > before)
        .await;
    let out = child.stdout.take().unwrap();
    (child, BufReader::new(out).lines())
}

#[tokio::test]
async fn watch_follows_all_that_match_and_comes_back_after_a_lost_connection() {
    let mut house = House::new().await;
    let (mut child, mut lines) = watch(&house, &["--json", "--state", "done"]).await;
    let first = post(&house, message(json!({}))).await;
    let line = lines.next_line().await.unwrap().unwrap();
    let told: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(
        (&told["id"], &told["state"]),
        (&json!(first), &json!("done"))
    );

    house.restart();
    // Whether it is back already or not: this one is not missed.
    let second = post(&house, message(json!({}))).await;
    let line = lines.next_line().await.unwrap().unwrap();
    let told: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(told["id"], json!(second));
    let mut said = BufReader::new(child.stderr.take().unwrap()).lines();
    let said = said.next_line().await.unwrap().unwrap();
    assert!(said.contains("lost; trying again"), "{said}");

    let (_people, mut lines) = watch(&house, &["--state", "failed"]).await;
    let refused = json!({"kind": "send", "args": {"to": "oc_nowhere", "text": "x"}});
    let refused = post(&house, refused).await;
    let line = lines.next_line().await.unwrap().unwrap();
    let words: Vec<&str> = line.split(' ').collect();
    assert_eq!(words[1..5], [&refused, "send", "failed", "oc_nowhere"]);
    assert!(!line.contains('\u{1b}'), "colours in a pipe: {line:?}");

    for (words, code) in [
        (&["--state", "doone"][..], Some(2)),
        (&["job_1", "--state", "done"], Some(2)),
        (&["--wait", "1ms"], Some(0)),
    ] {
        let mut command = house.binary();
        let ended = command
            .args(["jobs", "watch"])
            .args(words)
            .output()
            .unwrap();
        assert_eq!(ended.status.code(), code, "{words:?}: {ended:?}");
    }
}
