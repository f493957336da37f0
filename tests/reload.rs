//! SIGHUP: what can change does at once, what cannot is named, and a fault changes nothing.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on should stop here"
)]

mod support;

use std::collections::HashMap;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use feishu_sandbox::{DEFAULT_CHAT, DEFAULT_USERS, staff_open_id};
use serde_json::{Value, json};
use support::House;
use support::jobs::{MINUTE, SEND, id, message, ms, outcomes, path, post, until_state};

fn to(receiver: &str, text: &str) -> Value {
    json!({"kind": "send", "args": {"to": receiver, "text": text}})
}

/// The config with `line` put into one of its sections, or as lines behind its app.
fn change(house: &mut House, from: &str, to: &str) {
    let config = house.config().replacen(from, to, 1);
    assert_ne!(config, house.config(), "there is no {from:?}");
    house.set_config(config);
}

async fn status(house: &House) -> Value {
    house.request("GET", "/v1/status", None).await.1
}

/// How often the log has this line's words.
fn told(house: &House, words: &str) -> usize {
    house
        .log()
        .lines()
        .filter(|line| line.contains(words))
        .count()
}

async fn all_done(house: &House, ids: &[String]) {
    for id in ids {
        let job = house.settled(id).await;
        assert_eq!(job["state"], "done", "{job:#}");
    }
}

fn write_secret(house: &House, secret: &str) {
    let path = house.dir.path().join("ops.secret");
    std::fs::write(&path, secret).unwrap();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
}

/// Twenty jobs wait, visible, for an hour; the right secret lets them go at once.
#[tokio::test]
async fn a_wrong_secret_at_night_is_mended_by_the_right_one_and_a_reload() {
    let mut house = House::without_relay(None, "").await;
    let plain = "app_secret = \"sandbox-secret\"";
    change(&mut house, plain, "app_secret_file = \"ops.secret\"");
    write_secret(&house, "wrong-secret-of-the-night");
    house.start();
    let jobs = (0..20).map(|n| to(DEFAULT_USERS[n % 4], &format!("{n:02}")));
    let answer = house.post(jobs.collect()).await;
    let ids: Vec<String> = answer["jobs"].as_array().unwrap().iter().map(id).collect();
    let stopped = |status: &Value| status["apps"][0]["paused"][0]["code"] == 10014;
    house.until("/v1/status", stopped).await;
    for _ in 0..12 {
        house.advance(5 * MINUTE).await;
    }
    // A probe has just gone: by itself the next one would go in minutes.
    let probed = |status: &Value| {
        let app = &status["apps"][0];
        let probe = &app["paused"][0]["next_probe"];
        stopped(status) && app["jobs"]["queued"] == 20 && ms(probe) - ms(&status["now"]) > 200_000
    };
    let night = house.until("/v1/status", probed).await;
    assert_eq!(night["apps"][0]["dead_letters"], 0, "{night:#}");
    let waiting = house.job(&ids[19]).await;
    assert_eq!(waiting["waiting_for"], "app", "{waiting:#}");
    assert!(house.effects("message").await.is_empty());
    let (_, metrics) = house.request("GET", "/metrics", None).await;
    let metrics = metrics.as_str().unwrap();
    let paused = |line: &&str| line.starts_with("feishu_relay_paused_seconds{app=\"ops\"");
    let paused = metrics.lines().find(paused).expect(metrics);
    let seconds: f64 = paused.rsplit(' ').next().unwrap().parse().unwrap();
    assert!(seconds > 3000.0, "{paused}");
    assert!(
        metrics.contains("feishu_relay_jobs{app=\"ops\",state=\"queued\"} 20"),
        "{metrics}"
    );

    write_secret(&house, "sandbox-secret");
    let heard = house.reload();
    let times = heard
        .lines()
        .filter(|line| line.starts_with("MONOTONIC_USEC="));
    assert_eq!(times.count(), 1, "{heard}");
    all_done(&house, &ids).await;
    let mut chats: HashMap<String, Vec<String>> = HashMap::new();
    for effect in house.effects("message").await {
        let chat = effect["chat_id"].as_str().unwrap().to_owned();
        let content = effect["content"].as_str().unwrap().to_owned();
        chats.entry(chat).or_default().push(content);
    }
    assert_eq!(chats.values().map(Vec::len).sum::<usize>(), 20);
    assert!(chats.values().all(|texts| texts.is_sorted()), "{chats:?}");
    let calm = |status: &Value| status["apps"][0]["paused"] == json!([]);
    house.until("/v1/status", calm).await;
    assert_eq!(told(&house, "reloaded: apps.ops.app_secret"), 1);
    for secret in ["sandbox-secret", "wrong-secret-of-the-night"] {
        assert!(!house.log().contains(secret), "a secret is in the log");
    }
}

#[tokio::test]
async fn a_config_with_faults_is_refused_line_by_line_and_the_old_one_serves_on() {
    let mut house = House::new().await;
    let good = house.config().to_owned();
    house.set_config(format!(
        "[queue]\nmax_pending = \"many\"\n{good}timeout = \"1y\"\nproxie = \"http://x.example\"\n"
    ));
    house.reload();
    let log = house.log();
    for place in [
        "relay.toml:2:15: queue.max_pending: ",
        ": apps[0].timeout: ",
        ": apps[0].proxie: ",
    ] {
        let line = log.lines().find(|line| line.contains(place));
        let line = line.unwrap_or_else(|| panic!("nothing of {place}: {log}"));
        assert!(line.contains("ERROR"), "{line}");
    }
    assert_eq!(told(&house, "not reloaded: the config has faults"), 1);
    assert_eq!(status(&house).await["max_pending"], 1_000_000);
    all_done(&house, &[post(&house, message(json!({}))).await]).await;
    // A file that is gone, or is no TOML, likewise.
    for text in ["[[apps", "\u{0}"] {
        house.set_config(String::from(text));
        house.reload();
    }
    assert_eq!(told(&house, "not reloaded"), 3);
    house.set_config(format!("[queue]\nmax_pending = 7\n{good}"));
    house.reload();
    assert_eq!(status(&house).await["max_pending"], 7);
    assert_eq!(told(&house, "reloaded: queue.max_pending"), 1);
}

/// The HTTP status of a question with this token.
async fn asked(house: &House, token: &str) -> u16 {
    let client = reqwest::Client::builder()
        .no_proxy()
        .unix_socket(house.dir.path().join("relay.sock"))
        .build();
    let question = client.unwrap().get("http://localhost/v1/status");
    let answer = question.bearer_auth(token).send().await.unwrap();
    answer.status().as_u16()
}

#[tokio::test]
async fn a_token_is_changed_without_a_gap() {
    const CLIENT: &str = "[[clients]]\nname = \"am\"\nscopes = [\"read\"]\n";
    let mut house = House::with(None, &format!("{CLIENT}token = \"old\"\n")).await;
    assert_eq!(
        [asked(&house, "old").await, asked(&house, "new").await],
        [200, 401]
    );
    change(&mut house, "\"old\"", "[\"old\", \"new\"]");
    house.reload();
    assert_eq!(
        [asked(&house, "old").await, asked(&house, "new").await],
        [200, 200]
    );
    change(&mut house, "[\"old\", \"new\"]", "\"new\"");
    house.reload();
    assert_eq!(
        [asked(&house, "old").await, asked(&house, "new").await],
        [401, 200]
    );
    assert_eq!(told(&house, "reloaded: clients"), 2);
}

#[tokio::test]
async fn a_stream_ends_with_the_token_that_opened_it() {
    const CLIENT: &str = "[[clients]]\nname = \"am\"\n";
    let mut house = House::with(None, &format!("{CLIENT}token = \"old\"\n")).await;
    let client = reqwest::Client::builder()
        .no_proxy()
        .unix_socket(house.dir.path().join("relay.sock"))
        .timeout(MINUTE)
        .build();
    let question = client.unwrap().get("http://localhost/v1/events");
    let mut stream = question.bearer_auth("old").send().await.unwrap();
    assert!(stream.chunk().await.unwrap().is_some());
    change(&mut house, "\"old\"", "\"new\"");
    house.reload();
    post(&house, to(DEFAULT_USERS[0], "not for everybody")).await;
    assert_eq!(stream.chunk().await.unwrap(), None);
}

#[tokio::test]
async fn lower_limits_hold_at_once_and_higher_ones_let_go_at_once() {
    let mut house = House::with(None, "limits = { app_minute = 1000 }\n").await;
    all_done(&house, &[post(&house, message(json!({}))).await]).await;
    change(&mut house, "app_minute = 1000", "app_minute = 4");
    house.reload();
    let jobs = (0..10).map(|n| to(&staff_open_id(n + 1), "x"));
    let answer = house.post(jobs.collect()).await;
    let ids: Vec<String> = answer["jobs"].as_array().unwrap().iter().map(id).collect();
    house
        .until("/v1/status", |status| {
            status["apps"][0]["jobs"]["done"] == 4
        })
        .await;
    let job = house.job(&ids[9]).await;
    assert_eq!(job["waiting_for"], "limit", "{job:#}");
    assert_eq!(support::jobs::made(&house, SEND).await, 4);
    change(&mut house, "app_minute = 4", "app_minute = 900");
    house.reload();
    all_done(&house, &ids).await;
    assert_eq!(told(&house, "reloaded: apps.ops.limits"), 2);
}

#[tokio::test]
async fn another_time_out_is_in_force_from_the_next_attempt_on() {
    let mut house = House::new().await;
    let slow = json!([{"call": SEND, "do": "delay", "when": "before", "ms": 3000, "count": 1}]);
    house.faults(slow.clone()).await;
    let patient = house.settled(&post(&house, message(json!({}))).await).await;
    assert_eq!(outcomes(&patient), ["done"]);
    let more = format!("{}timeout = \"1s\"\n", house.config());
    house.set_config(more);
    house.reload();
    house.faults(slow).await;
    let hasty = post(&house, to(DEFAULT_USERS[1], "again")).await;
    let tried = |job: &Value| job["attempts"][0]["outcome"] == "unknown";
    house.until(&path(&hasty), tried).await;
    assert_eq!(told(&house, "reloaded: apps.ops.timeout"), 1);
}

#[tokio::test]
async fn the_level_of_the_log_and_what_a_job_may_cost_change_at_once() {
    let mut house = House::without_relay(None, "budget = { urgent_sms = 0 }\n").await;
    change(&mut house, "level = \"debug\"", "level = \"warn\"");
    house.start();
    assert_eq!(told(&house, "listening on"), 0);
    let sms = json!({"kind": "send", "args": {"to": DEFAULT_CHAT, "text": "fire"},
        "then": [{"kind": "urgent_sms", "args": {"users": [DEFAULT_USERS[0]]}}]});
    let spent = house.settled(&id(&house.post(sms.clone()).await)).await;
    let spent = house.settled(&support::jobs::child(&spent, 0)).await;
    assert_eq!(spent["error"]["class"], "budget", "{spent:#}");
    change(&mut house, "level = \"warn\"", "level = \"info\"");
    change(&mut house, "urgent_sms = 0", "urgent_sms = 5");
    house.reload();
    assert_eq!(told(&house, "reloaded: log.level, apps.ops.budget"), 1);
    let paid = house.settled(&id(&house.post(sms).await)).await;
    let paid = house.settled(&support::jobs::child(&paid, 0)).await;
    assert_eq!(paid["state"], "done", "{paid:#}");
    change(&mut house, "level = \"info\"", "level = \"error\"");
    let before = house.log();
    house.reload();
    assert_eq!(house.log(), before, "nothing is that severe");
}

#[tokio::test]
async fn a_key_that_needs_a_restart_is_named_and_stays() {
    let mut house = House::new().await;
    change(&mut house, "path = \"relay.db\"", "path = \"other.db\"");
    let more =
        "tenant = \"elsewhere\"\n[[apps]]\nname = \"hr\"\napp_id = \"cli_h\"\napp_secret = \"h\"\n";
    let more = format!("{}{more}", house.config());
    house.set_config(more);
    for times in 1..=2 {
        house.reload();
        for key in [
            "store.path",
            "apps.ops.tenant",
            "apps (which there are, and their order)",
        ] {
            let line = format!("{key} differs from what is in force; it needs a restart");
            assert_eq!(told(&house, &line), times, "{}", house.log());
        }
        assert_eq!(
            told(&house, "reloaded: nothing has changed that can change now"),
            times
        );
    }
    let (code, refused) = house
        .request(
            "POST",
            "/v1/jobs",
            Some(json!({"kind": "send", "app": "hr", "args": {"to": DEFAULT_CHAT, "text": "x"}})),
        )
        .await;
    assert_eq!(code, 422, "{refused}");
    all_done(&house, &[post(&house, message(json!({}))).await]).await;
    assert!(!house.dir.path().join("other.db").exists());
}

#[tokio::test]
async fn many_reloads_at_once_and_one_while_it_starts_or_stops_end_nothing() {
    let mut house = House::new().await;
    let pid = house.pid();
    let plain = house.config().to_owned();
    for n in 1..=10 {
        house.set_config(format!("{plain}[queue]\nmax_pending = {n}\n"));
        house.write_config();
        for _ in 0..2 {
            house.signal("HUP");
        }
        let last = |status: &Value| status["max_pending"] == n;
        house.until("/v1/status", last).await;
        house.hear_all();
    }
    assert_eq!(house.pid(), pid);

    // While it stops: an attempt under way is awaited.
    house
        .faults(json!([{"call": SEND, "do": "delay", "when": "before", "ms": 2000, "count": 1}]))
        .await;
    let job = post(&house, message(json!({}))).await;
    until_state(&house, &job, "sending").await;
    house.signal("TERM");
    let relay = &house;
    tokio::task::spawn_blocking({
        let log = relay.dir.path().join("log");
        move || while !std::fs::read_to_string(&log).unwrap().contains("stopping;") {}
    })
    .await
    .unwrap();
    house.signal("HUP");
    house.ended();
    house.start();
    assert_eq!(outcomes(&house.settled(&job).await), ["done"]);
}

/// From the moment that SIGHUP is caught, which is before the config is read, it ends nothing.
#[tokio::test]
async fn a_reload_that_is_asked_for_while_it_starts_does_not_end_it() {
    let mut house = House::new().await;
    house.stop();
    let config = house.dir.path().join("relay.toml");
    for _ in 0..5 {
        let mut child = Command::new(env!("CARGO_BIN_EXE_feishu-relay"))
            .args(["serve", "--config"])
            .arg(&config)
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let status = format!("/proc/{}/status", child.id());
        let catches = || {
            let status = std::fs::read_to_string(&status).unwrap_or_default();
            let mask = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
            mask.is_some_and(|mask| {
                mask.trim()
                    .ends_with(['1', '3', '5', '7', '9', 'b', 'd', 'f'])
            })
        };
        while !catches() {
            assert!(child.try_wait().unwrap().is_none(), "it ended by itself");
        }
        let pid = child.id().to_string();
        for name in ["-HUP", "-HUP", "-TERM"] {
            assert!(
                Command::new("kill")
                    .args([name, &pid])
                    .status()
                    .unwrap()
                    .success()
            );
        }
        // SIGTERM is caught later than SIGHUP, so it may end the start; SIGHUP may not.
        let ended = child.wait().unwrap();
        let signal = std::os::unix::process::ExitStatusExt::signal(&ended);
        assert_ne!(signal, Some(1), "{ended}");
    }
}
