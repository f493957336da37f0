//! Custom group bots: signed, within windows of their own, never twice by the relay's own will, and of no app.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on should stop here"
)]

mod support;

use std::collections::HashMap;

use feishu_sandbox::{
    DEFAULT_CHAT, DEFAULT_HOOK, DEFAULT_HOOK_SECRET, DEFAULT_SIGNED_HOOK, DEFAULT_USER,
};
use serde_json::{Value, json};
use support::House;
use support::jobs::{
    HOUR, MINUTE, PIXEL, SECOND, UPLOAD, acted, id, made, message, outcomes, path, post,
    until_state,
};

const HOOK: &str = "POST /open-apis/bot/v2/hook/:hook";
const KNOCK: &str = "GET /open-apis/bot/v3/info";

/// A bot's lines in the config.
fn bot(house: &House, name: &str, hook: &str, more: &str) -> String {
    let url = format!("{}/open-apis/bot/v2/hook/{hook}", house.feishu);
    format!("[[bots]]\nname = \"{name}\"\nurl = \"{url}\"\n{more}\n")
}

fn secret(secret: &str) -> String {
    format!("secret = \"{secret}\"")
}

/// A relay with two bots: `open`, and `signed`, which has a secret.
async fn house(seed: Option<Value>) -> House {
    let mut house = House::without_relay(seed, "").await;
    let open = bot(&house, "open", DEFAULT_HOOK, "");
    let signed = bot(
        &house,
        "signed",
        DEFAULT_SIGNED_HOOK,
        &secret(DEFAULT_HOOK_SECRET),
    );
    house.set_config(format!("{}{open}{signed}", house.config()));
    house.start();
    house
}

fn change(house: &mut House, from: &str, to: &str) {
    let config = house.config().replacen(from, to, 1);
    assert_ne!(config, house.config(), "there is no {from:?}");
    house.set_config(config);
}

fn say(bot: &str, words: &str, more: Value) -> Value {
    let mut job = json!({"kind": "webhook", "args": {"bot": bot, "text": words}});
    for (name, value) in more.as_object().unwrap() {
        job[name] = value.clone();
    }
    job
}

fn plain(bot: &str, words: &str) -> Value {
    say(bot, words, json!({}))
}

/// What people saw of bots and apps, in order.
async fn texts(house: &House) -> Vec<String> {
    let effects = house.effects("message").await;
    let text = |effect: &Value| match &effect["content"] {
        Value::Object(content) => content["text"].as_str().unwrap_or("?").to_owned(),
        sent => sent.as_str().unwrap().to_owned(),
    };
    effects.iter().map(text).collect()
}

/// Waits until people saw so many messages.
async fn until_seen(house: &House, count: usize) {
    for _ in 0..10_000 {
        if house.effects("message").await.len() >= count {
            return;
        }
    }
    panic!("nothing comes: {}", house.log());
}

async fn done(house: &House, id: &str) -> Value {
    let job = house.settled(id).await;
    assert_eq!(job["state"], "done", "{job:#}");
    job
}

async fn stopped(house: &House, bot: &str) -> Value {
    let is_it = |pause: &Value| pause["lane"] == bot && pause["kind"] == "webhook";
    let there = |status: &Value| {
        let paused = status["apps"][0]["paused"].as_array().unwrap();
        paused.iter().any(is_it)
    };
    let status = house.until("/v1/status", there).await;
    let paused = status["apps"][0]["paused"].as_array().unwrap();
    assert_eq!(paused.len(), 1, "nothing else is stopped: {status:#}");
    paused[0].clone()
}

#[tokio::test]
async fn a_bot_says_all_it_can_say_and_signs_the_time_of_the_attempt() {
    let mut house = house(None).await;
    let image = post(
        &house,
        json!({"kind": "upload_image", "args": {"data": PIXEL}}),
    )
    .await;
    let post_ = json!({"title": "T", "content": [[{"tag": "text", "text": "to be read"}]]});
    let card = json!({"elements": [{"tag": "hr"}]});
    let contents = [
        json!({"text": "disk full on db-1"}),
        json!({"post": post_}),
        json!({"card": card}),
        json!({"share_chat": DEFAULT_CHAT}),
        json!({"image": image}),
        json!({"image": {"data": PIXEL}}),
        json!({"msg_type": "text", "content": {"text": "raw words here"}}),
    ];
    let mut ids = Vec::new();
    for mut args in contents {
        args["bot"] = json!("signed");
        ids.push(post(&house, json!({"kind": "webhook", "args": args})).await);
    }
    for one in &ids {
        let job = done(&house, one).await;
        assert_eq!(
            (&job["to"], &job["lane"], &job["app"]),
            (&json!("signed"), &json!("signed"), &json!("ops"))
        );
        assert_eq!(job["receipt"], json!({}), "nothing to take hold of");
    }
    // A signature is good for an hour: that of a late message is made when it goes.
    let late = say("signed", "later than that", json!({"delay": "2h"}));
    let late = post(&house, late).await;
    house.advance(2 * HOUR + SECOND).await;
    done(&house, &late).await;
    let effects = house.effects("message").await;
    assert_eq!(effects.len(), 8);
    assert_eq!(effects[0]["content"], json!({"text": "disk full on db-1"}));
    assert_eq!(effects[1]["content"], json!({"post": {"zh_cn": post_}}));
    assert_eq!(effects[2]["content"], card);
    let status = house.request("GET", "/v1/status", None).await.1;
    let calls = &status["apps"][0]["month"]["calls"];
    let uploads = made(&house, UPLOAD).await;
    assert_eq!(calls, uploads, "uploads count, no bot does: {status:#}");
}

#[tokio::test]
async fn what_a_bot_cannot_say_is_refused_at_the_door_with_its_place() {
    let house = house(None).await;
    let long = "x".repeat(20_001);
    for (args, pointer) in [
        (json!({"text": "to nobody at all"}), "/args/bot"),
        (json!({"bot": 7, "text": "to a number"}), "/args/bot"),
        (json!({"bot": "gone", "text": "to a stranger"}), "/args/bot"),
        (json!({"bot": "open"}), "/args"),
        (
            json!({"bot": "open", "markdown": "**bold words**"}),
            "/args/markdown",
        ),
        (json!({"bot": "open", "file": "file_v3_1"}), "/args/file"),
        (json!({"bot": "open", "text": long}), "/args/text"),
        (
            json!({"bot": "open", "text": "one of two", "to": DEFAULT_CHAT}),
            "/args/to",
        ),
    ] {
        let job = json!({"kind": "webhook", "args": args});
        let (status, problem) = house.request("POST", "/v1/jobs", Some(job)).await;
        assert_eq!(
            (status, &problem["errors"][0]["pointer"]),
            (422, &json!(pointer)),
            "{problem:#}"
        );
    }
    // Nothing of it can be named by another job, read, or taken back.
    for more in [
        json!({"then": [{"kind": "pin"}]}),
        json!({"track": {"reads": {"every": "1m", "for": "1h"}}}),
    ] {
        let job = say("open", "nobody can follow this", more);
        let (status, problem) = house.request("POST", "/v1/jobs", Some(job)).await;
        assert_eq!(status, 422, "{problem:#}");
    }
    let said = post(&house, plain("open", "said for good")).await;
    done(&house, &said).await;
    let (status, problem) = acted(&house, &said, "recall", Value::Null).await;
    assert_eq!(status, 409, "{problem:#}");
    let why = "a webhook makes nothing that can be taken back";
    assert!(
        problem["detail"].as_str().unwrap().contains(why),
        "{problem:#}"
    );
}

/// Five a second and a hundred a minute for each bot, by Feishu's clock, over a crash too.
#[tokio::test]
async fn each_bot_keeps_its_own_windows() {
    let mut house = house(None).await;
    let mut all = Vec::new();
    for (bot, count) in [("open", 104), ("signed", 20)] {
        let jobs: Value = (0..count)
            .map(|n| plain(bot, &format!("{bot} {n:03}")))
            .collect();
        let answer = house.post(jobs).await;
        let list: Vec<String> = answer["jobs"].as_array().unwrap().iter().map(id).collect();
        all.push(list);
    }
    house.settled(&all[0][49]).await;
    house.kill();
    house.start();
    house.settled(&all[1][19]).await;
    house.settled(&all[0][95]).await;
    // The minute is full but for what is kept for `high`, and stays so until it has passed.
    let last = house.job(&all[0][103]).await;
    assert_eq!(last["state"], "queued", "{last:#}");
    house.advance(MINUTE).await;
    let mut texts: HashMap<String, usize> = HashMap::new();
    house.settled(&all[0][103]).await;
    for text in self::texts(&house).await {
        *texts.entry(text).or_default() += 1;
    }
    let mut doubtful = 0;
    for (bot, list) in ["open", "signed"].iter().zip(&all) {
        for (n, id) in list.iter().enumerate() {
            let seen = texts.get(&format!("{bot} {n:03}")).copied().unwrap_or(0);
            let job = house.settled(id).await;
            match job["state"].as_str().unwrap() {
                "done" => assert_eq!(seen, 1, "{job:#}"),
                "in_doubt" if seen <= 1 => doubtful += 1,
                other => panic!("{other}, seen {seen} times: {job:#}"),
            }
        }
    }
    assert!(doubtful <= 2, "each bot has one under way: {doubtful}");
    let calls = house.calls(HOOK).await;
    assert_eq!(calls["limited"], 0, "{calls:#}");
}

#[tokio::test]
async fn a_lost_answer_is_in_doubt_at_once_and_sent_again_only_on_somebodys_word() {
    let mut house = house(None).await;
    let lose = json!([{"call": HOOK, "do": "drop", "when": "after", "count": 1}]);
    for (word, state, outcome) in [("hold", "in_doubt", "doubt"), ("drop", "failed", "dropped")] {
        house.faults(lose.clone()).await;
        let job = say("open", "the answer is lost", json!({"on_doubt": word}));
        let job = post(&house, job).await;
        let job = house.settled(&job).await;
        assert_eq!(
            (&job["state"], &job["error"]["class"]),
            (&json!(state), &json!(outcome)),
            "{job:#}"
        );
        assert_eq!(outcomes(&job), ["unknown"]);
    }
    assert_eq!(house.effects("message").await.len(), 2);
    house.faults(lose.clone()).await;
    let again = say(
        "open",
        "twice rather than never",
        json!({"on_doubt": "resend"}),
    );
    let again = post(&house, again).await;
    assert_eq!(outcomes(&done(&house, &again).await), ["unknown", "done"]);
    assert_eq!(house.effects("message").await.len(), 4);

    // A crash while it is under way is the same; a person's word sends it once more.
    house
        .faults(json!([{"call": HOOK, "do": "delay", "when": "after", "ms": 600_000}]))
        .await;
    let cut = post(&house, plain("open", "cut off in the middle")).await;
    until_state(&house, &cut, "sending").await;
    until_seen(&house, 5).await;
    house.kill();
    house.faults(json!([])).await;
    house.start();
    let job = until_state(&house, &cut, "in_doubt").await;
    assert!(
        job["doubt"]["note"]
            .as_str()
            .unwrap()
            .contains("cannot be asked"),
        "{job:#}"
    );
    let (status, _) = acted(&house, &cut, "retry", Value::Null).await;
    assert_eq!(status, 202);
    done(&house, &cut).await;
    assert_eq!(house.effects("message").await.len(), 6);
}

#[tokio::test]
async fn a_dead_bot_stops_nobody_else_and_goes_on_where_a_reload_sends_it() {
    let mut house = house(None).await;
    let (right, dead) = (
        format!("{}/open-apis", house.feishu),
        "http://127.0.0.1:9/open-apis",
    );
    change(&mut house, &right, dead);
    house.reload();
    let waits = post(&house, plain("open", "to a dead bot")).await;
    let pause = stopped(&house, "open").await;
    assert_eq!(
        (&pause["by"], &pause["app"]),
        (&json!("relay"), &json!("")),
        "{pause:#}"
    );
    let lives = post(&house, plain("signed", "to a living bot")).await;
    let sent = post(&house, message(json!({}))).await;
    done(&house, &lives).await;
    done(&house, &sent).await;
    let job = house.job(&waits).await;
    assert_eq!(
        (&job["state"], &job["waiting_for"]),
        (&json!("queued"), &json!("app")),
        "{job:#}"
    );
    assert!(
        outcomes(&job).iter().all(|one| *one == "not_sent"),
        "{job:#}"
    );
    change(&mut house, dead, &right);
    house.reload();
    done(&house, &waits).await;
    let log = house.log();
    assert!(log.contains("reloaded: bots"), "{log}");
}

#[tokio::test]
async fn a_refused_app_does_not_stop_the_bots() {
    let mut house = house(None).await;
    change(&mut house, "sandbox-secret", "wrong-secret-tonight");
    house.restart();
    let waits = post(&house, message(json!({}))).await;
    house
        .until(&path(&waits), |job| job["waiting_for"] == "app")
        .await;
    let lives = post(&house, plain("open", "the bots speak on")).await;
    done(&house, &lives).await;
}

/// Three lost answers stop a bot. Whether its host is back is asked with a read that says nothing to anybody.
#[tokio::test]
async fn lost_answers_stop_their_bot_until_its_host_answers_a_read() {
    let mut house = house(None).await;
    // Not the bot alone: the host answers nobody.
    let lose = json!([{"call": "*", "do": "drop", "when": "after"}]);
    house.faults(lose).await;
    let jobs: Value = (0..6)
        .map(|n| plain("open", &format!("number {n}")))
        .collect();
    let answer = house.post(jobs).await;
    let ids: Vec<String> = answer["jobs"].as_array().unwrap().iter().map(id).collect();
    for id in &ids[..3] {
        until_state(&house, id, "in_doubt").await;
    }
    let knocks = made(&house, KNOCK).await;
    for _ in 0..10 {
        house.advance(MINUTE).await;
    }
    let waits = house.job(&ids[3]).await;
    assert_eq!(
        (&waits["state"], &waits["waiting_for"]),
        (&json!("queued"), &json!("app")),
        "{waits:#}"
    );
    assert!(made(&house, KNOCK).await > knocks, "the host is asked");
    house.faults(json!([])).await;
    for id in &ids[3..] {
        done(&house, id).await;
    }
    assert_eq!(house.effects("message").await.len(), 6, "each once");
}

#[tokio::test]
async fn a_bot_that_feishu_refuses_waits_and_a_message_that_it_refuses_fails() {
    let seed = json!({"hooks": [
        {"hook": DEFAULT_HOOK, "chat_id": DEFAULT_CHAT, "keywords": ["alarm"]},
        {"hook": DEFAULT_SIGNED_HOOK, "chat_id": DEFAULT_CHAT, "secret": "another-secret-there"},
    ]});
    let mut house = house(Some(seed)).await;
    let quiet = post(&house, plain("open", "all is quiet tonight")).await;
    let quiet = house.settled(&quiet).await;
    assert_eq!(
        (&quiet["state"], &quiet["error"]["code"]),
        (&json!("failed"), &json!(19024)),
        "{quiet:#}"
    );
    assert_eq!(quiet["error"]["class"], "caller");
    let waits = post(&house, plain("signed", "signed with a wrong secret")).await;
    let pause = stopped(&house, "signed").await;
    assert_eq!(pause["code"], 19021, "{pause:#}");
    let job = house.job(&waits).await;
    assert_eq!(
        (&job["waiting_for"], outcomes(&job)),
        (&json!("app"), vec!["limited"]),
        "{job:#}"
    );
    done(
        &house,
        &post(&house, plain("open", "an alarm at last")).await,
    )
    .await;
    change(&mut house, DEFAULT_HOOK_SECRET, "another-secret-there");
    house.reload();
    done(&house, &waits).await;
}

/// A Feishu that is stricter than its pages, in both of its ways to say so.
#[tokio::test]
async fn too_many_messages_pause_their_bot_and_fail_nothing() {
    for over in ["11232", "9499"] {
        let seed = json!({"limits": {"bot_second": 1}, "switches": {"hook_over": over}});
        let mut house = house(Some(seed)).await;
        let jobs: Value = (0..4)
            .map(|n| plain("open", &format!("too often {n}")))
            .collect();
        let answer = house.post(jobs).await;
        let ids: Vec<String> = answer["jobs"].as_array().unwrap().iter().map(id).collect();
        // The relay would send five in this second.
        let mut limited = 0;
        for _ in 0..10_000 {
            limited = house.calls(HOOK).await["limited"].as_u64().unwrap();
            if limited > 0 {
                break;
            }
        }
        assert!(limited > 0, "{over}");
        let other = post(&house, plain("signed", "not the other bot")).await;
        done(&house, &other).await;
        for _ in 0..60 {
            if house.job(&ids[3]).await["state"] == "done" {
                break;
            }
            house.advance(SECOND).await;
        }
        for id in &ids {
            let job = done(&house, id).await;
            let spent = outcomes(&job);
            assert!(
                spent.iter().all(|one| ["limited", "done"].contains(one)),
                "{job:#}"
            );
        }
        let seen = texts(&house).await;
        let open: Vec<_> = seen.iter().filter(|text| text.starts_with("too")).collect();
        assert!(open.is_sorted() && open.len() == 4, "{over}: {open:?}");
    }
}

#[tokio::test]
async fn jobs_of_a_bot_that_the_config_does_not_name_wait_until_it_does() {
    let mut house = house(None).await;
    let late = say("open", "for a bot on leave", json!({"delay": "1m"}));
    let late = post(&house, late).await;
    let with = house.config().to_owned();
    change(&mut house, "name = \"open\"", "name = \"closed\"");
    let without = house.config().to_owned();
    for restart in [false, true] {
        house.set_config(without.clone());
        match restart {
            true => house.restart(),
            false => drop(house.reload()),
        }
        let refused = plain("open", "nobody of that name");
        let (status, problem) = house.request("POST", "/v1/jobs", Some(refused)).await;
        assert_eq!(status, 422, "{problem:#}");
        house.advance(2 * MINUTE).await;
        let job = house.job(&late).await;
        assert_eq!(
            (&job["state"], outcomes(&job).len()),
            (&json!("queued"), 0),
            "{job:#}"
        );
        let other = post(&house, plain("closed", "one that is named")).await;
        done(&house, &other).await;
    }
    house.set_config(with);
    house.reload();
    done(&house, &late).await;
}

/// What stood ready when it left is found when it is back, and it is tried at once, whatever stopped it before.
#[tokio::test]
async fn a_bot_that_was_away_for_two_reloads_goes_on() {
    let signed = json!({"hook": DEFAULT_SIGNED_HOOK, "chat_id": DEFAULT_CHAT, "secret": "another"});
    let open = json!({"hook": DEFAULT_HOOK, "chat_id": DEFAULT_CHAT});
    let mut house = house(Some(json!({"hooks": [open, signed]}))).await;
    let mut ids = Vec::new();
    for n in 0..6 {
        let lane = json!({"lane": format!("lane-{n}")});
        ids.push(post(&house, say("signed", &format!("of lane {n}"), lane)).await);
        // Whoever comes now stands ready until the secret is mended.
        stopped(&house, "signed").await;
    }
    change(&mut house, "name = \"signed\"", "name = \"closed\"");
    house.reload();
    let other = post(&house, plain("open", "meanwhile")).await;
    done(&house, &other).await;
    change(&mut house, "name = \"closed\"", "name = \"signed\"");
    change(&mut house, DEFAULT_HOOK_SECRET, "another");
    house.reload();
    for id in &ids {
        done(&house, id).await;
    }
    assert_eq!(texts(&house).await.len(), 7);
}

/// A pause by hand names a bot by its lane, or all of them by the kind.
#[tokio::test]
async fn people_pause_one_bot_or_all_of_them() {
    let house = house(None).await;
    let pause = |reach: Value| house.request("POST", "/v1/pause", Some(reach));
    assert_eq!(pause(json!({"lane": "open"})).await.0, 200);
    let waits = post(&house, plain("open", "paused by its lane")).await;
    let other = post(&house, plain("signed", "not paused at all")).await;
    done(&house, &other).await;
    assert_eq!(house.job(&waits).await["waiting_for"], "app");
    assert_eq!(pause(json!({"kind": "webhook"})).await.0, 200);
    let too = post(&house, plain("signed", "paused by the kind")).await;
    assert_eq!(house.job(&too).await["waiting_for"], "app");
    let sent = post(
        &house,
        json!({"kind": "send", "args": {"to": DEFAULT_USER, "text": "an app's message"}}),
    )
    .await;
    done(&house, &sent).await;
    assert_eq!(
        house.request("POST", "/v1/resume", Some(json!({}))).await.0,
        200
    );
    done(&house, &waits).await;
    done(&house, &too).await;
}
