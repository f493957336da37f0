//! Paused by hand: nothing of it is sent, nothing is lost, and nobody else waits for it.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on should stop here"
)]

#[expect(dead_code, reason = "the tests of the doors use the rest")]
mod house;
mod support;

use feishu_sandbox::{
    DEFAULT_APP_ID, DEFAULT_CHAT, DEFAULT_SECOND_CHAT, DEFAULT_USER, staff_open_id,
};
use serde_json::{Value, json};
use support::House;
use support::jobs::{HOUR, MINUTE, SEND, id, made, message, pass, path, post, sent, until_state};

const SECOND_APP_ID: &str = "cli_5a9db0c5a9db0c5b";

/// No windows on either side, so that only pauses hold anything back.
const FREE: &str =
    "limits = { app_minute = 0, app_second = 0, chat_second = 0, user_second = 0 }\n";

fn free() -> Value {
    json!({"limits": {"app_minute": 0, "app_second": 0, "chat_second": 0, "user_second": 0, "message_second": 0}})
}

/// Two apps of one tenant, `ops` and `hr`.
async fn two_apps() -> House {
    let mut seed = free();
    seed["apps"] = json!([
        {"app_id": DEFAULT_APP_ID, "app_secret": "sandbox-secret"},
        {"app_id": SECOND_APP_ID, "app_secret": "hr-secret"},
    ]);
    let mut house = House::without_relay(Some(seed), FREE).await;
    let second = format!(
        "[[apps]]\nname = \"hr\"\napp_id = \"{SECOND_APP_ID}\"\napp_secret = \"hr-secret\"\nbase_url = \"{}\"\n{FREE}",
        house.feishu
    );
    let config = format!("{}{second}", house.config());
    house.set_config(config);
    house.start();
    house
}

async fn free_house() -> House {
    House::with(Some(free()), FREE).await
}

fn to(receiver: &str, text: &str) -> Value {
    json!({"kind": "send", "args": {"to": receiver, "text": text}})
}

/// Pauses or resumes, and says what is paused then.
async fn steer(house: &House, what: &str, body: Value) -> Vec<Value> {
    let (status, answer) = house
        .request("POST", &format!("/v1/{what}"), Some(body))
        .await;
    assert_eq!(status, 200, "{answer}");
    answer["paused"].as_array().unwrap().clone()
}

/// It waits for somebody's word, and was not tried.
async fn waits(house: &House, id: &str) {
    let job = house.job(id).await;
    let told = (&job["state"], &job["waiting_for"]);
    assert_eq!(told, (&json!("queued"), &json!("app")), "{job:#}");
    assert_eq!(job["attempts"], json!([]), "{job:#}");
}

async fn done(house: &House, id: &str) {
    let job = house.settled(id).await;
    assert_eq!(job["state"], "done", "{job:#}");
}

/// The texts that people saw, in order.
async fn texts(house: &House) -> Vec<String> {
    let seen = house.effects("message").await;
    let text = |effect: &Value| {
        let content = effect["content"].as_str().unwrap();
        let content: Value = serde_json::from_str(content).unwrap();
        content["text"].as_str().unwrap().to_owned()
    };
    seen.iter().map(text).collect()
}

#[tokio::test]
async fn fifty_jobs_posted_after_the_answer_of_a_pause_stay_and_go_in_order_at_the_resume() {
    let house = free_house().await;
    let reason = json!({"reason": "the room is being moved"});
    let paused = steer(&house, "pause", reason).await;
    assert_eq!(paused.len(), 1, "{paused:?}");
    let pause = &paused[0];
    assert_eq!((&pause["app"], &pause["by"]), (&json!(""), &json!("hand")));
    assert_eq!(pause["reason"], "the room is being moved");
    let jobs = (0..50).map(|n| to(DEFAULT_CHAT, &format!("{n:02}")));
    let answer = house.post(jobs.collect()).await;
    let ids: Vec<String> = answer["jobs"].as_array().unwrap().iter().map(id).collect();
    // A second pause changes nothing but what is said.
    let again = steer(&house, "pause", json!({})).await;
    assert_eq!(again, paused);
    let status = house.request("GET", "/v1/status", None).await.1;
    assert_eq!(status["apps"][0]["paused"], json!(paused));
    waits(&house, &ids[0]).await;
    waits(&house, &ids[49]).await;
    assert_eq!(made(&house, SEND).await, 0);
    assert!(steer(&house, "resume", json!({})).await.is_empty());
    assert!(steer(&house, "resume", json!({})).await.is_empty());
    for id in &ids {
        done(&house, id).await;
    }
    let texts = texts(&house).await;
    assert!(texts.len() == 50 && texts.is_sorted(), "{texts:?}");
}

/// Jobs that are under way to their mark when the pause is answered are not marked after it.
#[tokio::test]
async fn a_pause_in_the_midst_of_sending_is_a_cut() {
    let house = free_house().await;
    for round in 0..20 {
        let jobs = (0..40).map(|n| to(&staff_open_id(n + 1), &format!("{round}-{n}")));
        let answer = house.post(jobs.collect()).await;
        steer(&house, "pause", json!({"app": "ops"})).await;
        let list = house
            .until("/v1/status", |status| status["apps"][0]["sending"] == 0)
            .await;
        let left = list["apps"][0]["queued"].as_u64().unwrap();
        let before = made(&house, SEND).await;
        // Each of these is a chance for a mark that came too late.
        for job in answer["jobs"].as_array().unwrap() {
            let job = house.job(&id(job)).await;
            assert_ne!(job["state"], "sending", "{job:#}");
        }
        assert_eq!(
            made(&house, SEND).await,
            before,
            "round {round}, {left} left"
        );
        steer(&house, "resume", json!({"app": "ops"})).await;
        house
            .until("/v1/status", |status| {
                status["apps"][0]["jobs"]["done"] == 40 * (round + 1)
            })
            .await;
    }
}

#[tokio::test]
async fn an_app_a_lane_and_a_kind_each_stop_no_others() {
    let house = two_apps().await;
    steer(&house, "pause", json!({"app": "hr"})).await;
    let mut of_hr = to(DEFAULT_CHAT, "hr");
    of_hr["app"] = json!("hr");
    let of_hr = post(&house, of_hr).await;
    done(&house, &post(&house, to(DEFAULT_CHAT, "ops")).await).await;
    waits(&house, &of_hr).await;

    let lane = json!({"app": "ops", "lane": DEFAULT_CHAT});
    let paused = steer(&house, "pause", lane).await;
    assert_eq!(paused.len(), 1, "hr is none of it: {paused:?}");
    let in_lane = post(&house, to(DEFAULT_CHAT, "lane")).await;
    done(
        &house,
        &post(&house, to(DEFAULT_SECOND_CHAT, "other")).await,
    )
    .await;
    waits(&house, &in_lane).await;

    let paused = steer(&house, "pause", json!({"kind": "pin"})).await;
    let of_pin: Vec<&Value> = paused.iter().map(|pause| &pause["kind"]).collect();
    assert!(of_pin.contains(&&json!("pin")), "{paused:?}");
    let parent = json!({"kind": "send", "args": {"to": DEFAULT_SECOND_CHAT, "text": "with pin"}, "then": [{"kind": "pin"}]});
    let parent = house.post(parent).await;
    done_alone(&house, &id(&parent)).await;
    let pin = support::jobs::child(&house.job(&id(&parent)).await, 0);
    waits(&house, &pin).await;

    steer(&house, "resume", json!({"lane": DEFAULT_CHAT})).await;
    done(&house, &in_lane).await;
    waits(&house, &of_hr).await;
    waits(&house, &pin).await;
    steer(&house, "resume", json!({"app": "hr"})).await;
    done(&house, &of_hr).await;
    waits(&house, &pin).await;
    steer(&house, "resume", json!({"kind": "pin"})).await;
    done(&house, &pin).await;
}

/// The job is done; its children may wait.
async fn done_alone(house: &House, id: &str) {
    until_state(house, id, "done").await;
}

/// The head of a lane stops the lane, and only while it is the head.
#[tokio::test]
async fn a_paused_kind_at_the_head_of_a_lane_stops_the_lane_until_it_ends() {
    let mut house = free_house().await;
    let message = sent(&house).await;
    steer(&house, "pause", json!({"kind": "pin"})).await;
    let act = |kind: &str, more: Value| {
        let mut job = json!({"kind": kind, "args": {"message": message}});
        for (name, value) in more.as_object().unwrap() {
            job[name] = value.clone();
        }
        job
    };
    let first = post(&house, act("unpin", json!({}))).await;
    done(&house, &first).await;
    let pin = post(&house, act("pin", json!({"expires_in": "10m"}))).await;
    let behind = post(&house, act("unpin", json!({}))).await;
    waits(&house, &pin).await;
    let job = house.job(&behind).await;
    assert_eq!(job["waiting_for"], "lane", "{job:#}");
    // Its deadline runs out while it is paused; whoever stood behind it goes on.
    pass(&mut house, 11 * MINUTE).await;
    until_state(&house, &pin, "expired").await;
    done(&house, &behind).await;

    // The same by a person's word, over a restart.
    let pin = post(&house, act("pin", json!({}))).await;
    let behind = post(&house, act("unpin", json!({}))).await;
    house.kill();
    house.start();
    waits(&house, &pin).await;
    assert_eq!(house.job(&behind).await["waiting_for"], "lane");
    let (status, _) = house.act(&pin, "cancel", None).await;
    assert_eq!(status, 200);
    done(&house, &behind).await;

    // Who has a higher priority stands before the one that is paused.
    let pin = post(&house, act("pin", json!({}))).await;
    let high = post(&house, act("unpin", json!({"priority": "high"}))).await;
    done(&house, &high).await;
    waits(&house, &pin).await;
    // And a paused one of higher priority stops those that were first before.
    steer(&house, "resume", json!({})).await;
    done(&house, &pin).await;
}

#[tokio::test]
async fn a_pause_survives_a_kill_and_nothing_is_marked_before_it_is_known() {
    let mut house = free_house().await;
    steer(&house, "pause", json!({"app": "ops", "reason": "tonight"})).await;
    let jobs = (0..20).map(|n| to(DEFAULT_CHAT, &format!("{n:02}")));
    let answer = house.post(jobs.collect()).await;
    let ids: Vec<String> = answer["jobs"].as_array().unwrap().iter().map(id).collect();
    for _ in 0..2 {
        house.kill();
        house.start();
        // Two sweeps, and jobs that come meanwhile.
        pass_paused(&mut house).await;
        waits(&house, &ids[0]).await;
        assert_eq!(made(&house, SEND).await, 0);
    }
    let status = house.request("GET", "/v1/status", None).await.1;
    let pause = &status["apps"][0]["paused"][0];
    let told = (&pause["by"], &pause["reason"], &pause["since"]);
    assert_eq!((told.0, told.1), (&json!("hand"), &json!("tonight")));
    steer(&house, "resume", json!({"app": "ops"})).await;
    for id in &ids {
        done(&house, id).await;
    }
    let texts: Vec<String> = texts(&house).await;
    let ours: Vec<&String> = texts.iter().filter(|text| text.len() == 2).collect();
    assert!(ours.len() == 20 && ours.is_sorted(), "{texts:?}");
}

/// A job that expires shows that the relay swept, though nothing may go.
async fn pass_paused(house: &mut House) {
    let witness = post(house, message(json!({"expires_in": "1m"}))).await;
    house.advance(2 * MINUTE).await;
    until_state(house, &witness, "expired").await;
}

#[tokio::test]
async fn a_deadline_runs_out_while_everything_is_paused_and_a_recall_waits() {
    let mut house = free_house().await;
    let job = post(&house, to(DEFAULT_CHAT, "take it back")).await;
    done(&house, &job).await;
    steer(&house, "pause", json!({})).await;
    let (status, told) = house.act(&job, "recall", None).await;
    assert_eq!((status, &told["recall"]["state"]), (202, &json!("queued")));
    let short = post(&house, message(json!({"expires_in": "30m"}))).await;
    let long = post(&house, message(json!({}))).await;
    house.advance(HOUR).await;
    let short = until_state(&house, &short, "expired").await;
    assert_eq!(short["attempts"], json!([]));
    waits(&house, &long).await;
    assert!(house.effects("recall").await.is_empty());
    // A queued job needs nobody at Feishu to be taken back.
    let (status, told) = house.act(&long, "recall", None).await;
    assert_eq!((status, &told["state"]), (200, &json!("canceled")));
    steer(&house, "resume", json!({})).await;
    house
        .until(&path(&job), |job| job["recalled_at"].is_string())
        .await;
}

#[tokio::test]
async fn five_thousand_lanes_that_wait_for_a_person_are_in_nobodys_way() {
    let house = free_house().await;
    steer(&house, "pause", json!({"kind": "send"})).await;
    for start in (0..5000).step_by(1000) {
        let jobs = (start..start + 1000).map(|n| to(&format!("ou_{n:032x}"), "paused"));
        house.post(jobs.collect()).await;
    }
    let pin = json!({"kind": "unpin", "args": {"message": "om_free"}});
    let free = house.settled(&post(&house, pin).await).await;
    assert_eq!(free["state"], "failed", "it was tried: {free:#}");
    assert_eq!(made(&house, SEND).await, 0);
    // They cost nothing either: their lanes were not read again and again.
    let before = house.cpu_ms();
    let idle = std::time::Instant::now();
    while idle.elapsed() < std::time::Duration::from_secs(3) {
        let wait = json!({"kind": "unpin", "args": {"message": "om_free"}, "delay": "1s"});
        let id = post(&house, wait).await;
        house.settled(&id).await;
    }
    let (spent, passed) = (house.cpu_ms() - before, idle.elapsed().as_millis());
    assert!(u128::from(spent) * 3 < passed, "{spent} ms in {passed} ms");
    // One of them is let go alone by pausing lanes instead of the kind.
    steer(&house, "pause", json!({"app": "ops", "lane": DEFAULT_USER})).await;
    let last = post(&house, to(DEFAULT_USER, "still")).await;
    let free = post(&house, to(DEFAULT_CHAT, "first")).await;
    steer(&house, "resume", json!({"kind": "send"})).await;
    done(&house, &free).await;
    waits(&house, &last).await;
}

#[tokio::test]
async fn a_resume_tries_at_once_what_waits_for_a_fault_to_be_mended() {
    let house = free_house().await;
    house
        .faults(json!([{"call": SEND, "do": "code", "http": 400, "code": 99991672}]))
        .await;
    let job = post(&house, to(DEFAULT_CHAT, "scope")).await;
    let stopped = |status: &Value| status["apps"][0]["paused"][0]["code"] == 99991672;
    house.until("/v1/status", stopped).await;
    house.faults(json!([])).await;
    // No clock is moved: by itself it would be tried after a minute.
    let other = json!({"kind": "pin"});
    steer(&house, "resume", other).await;
    waits_tried(&house, &job).await;
    let left = steer(&house, "resume", json!({"app": "ops"})).await;
    assert!(left.iter().all(|pause| pause["by"] == "relay"), "{left:?}");
    done(&house, &job).await;
    let calm = |status: &Value| status["apps"][0]["paused"] == json!([]);
    house.until("/v1/status", calm).await;
}

async fn waits_tried(house: &House, id: &str) {
    let job = house.job(id).await;
    assert_eq!(job["waiting_for"], "app", "{job:#}");
    assert_eq!(job["attempts"].as_array().unwrap().len(), 1, "{job:#}");
}

#[tokio::test]
async fn what_is_not_understood_is_pointed_at_and_pauses_nothing() {
    let house = house::House::open("").await;
    for (body, pointer) in [
        (json!({"apps": "ops"}), "/apps"),
        (json!({"app": "nobody"}), "/app"),
        (json!({"app": null}), "/app"),
        (json!({"app": ["ops"]}), "/app"),
        (json!({"kind": "shout"}), "/kind"),
        (json!({"kind": "batch_progress"}), "/kind"),
        (json!({"lane": ""}), "/lane"),
        (json!({"lane": "\u{1}x"}), "/lane"),
        (json!({"reason": 7}), "/reason"),
        (json!({"reason": "x".repeat(501)}), "/reason"),
        (json!(["ops"]), ""),
    ] {
        let told = house.post("/v1/pause", &body).await;
        assert_eq!(told.status, 422, "{body}: {told:?}");
        told.points_at(pointer);
        if body.get("reason").is_none() {
            house.post("/v1/resume", &body).await.points_at(pointer);
        }
    }
    let told = house.post("/v1/resume", &json!({"reason": "x"})).await;
    told.points_at("/reason");
    for body in ["", "  ", "{"] {
        let request = house.request("POST", "/v1/pause").body(body);
        house::Told::of(request).await.is_problem(400);
    }
    let status = house.get("/v1/status").await;
    assert_eq!(status.body["apps"][0]["paused"], json!([]));
    house.close().await;
}

#[tokio::test]
async fn pausing_needs_the_scope_operate_and_an_app_that_one_may_use() {
    const CLIENTS: &str = "[[clients]]\nname = \"producer\"\ntoken = \"p\"\nscopes = [\"enqueue\", \"read\"]\n\
         [[clients]]\nname = \"ops\"\ntoken = \"o\"\napps = [\"ops\"]\n\
         [[clients]]\nname = \"root\"\ntoken = \"r\"\n";
    // What stands behind the server's section of the config is read before the app's.
    let house = house::House::open(CLIENTS).await;
    let ask = async |token: &str, verb: &str, body: Value| {
        let request = house.request("POST", verb).bearer_auth(token).json(&body);
        house::Told::of(request).await
    };
    for verb in ["/v1/pause", "/v1/resume"] {
        ask("nobody", verb, json!({})).await.is_problem(401);
        ask("p", verb, json!({"app": "ops"})).await.is_problem(403);
        ask("o", verb, json!({})).await.is_problem(403);
        ask("o", verb, json!({"kind": "send"}))
            .await
            .is_problem(403);
        assert_eq!(ask("o", verb, json!({"app": "ops"})).await.status, 200);
        assert_eq!(ask("r", verb, json!({})).await.status, 200);
    }
    house.close().await;
}

#[tokio::test]
async fn the_commands_pause_and_resume_say_what_stands_still() {
    let house = free_house().await;
    let run = |words: &[&str]| {
        let ended = house.binary().args(words).output().unwrap();
        let text = |bytes: &[u8]| {
            let text = String::from_utf8_lossy(bytes);
            let lines = text.lines();
            let words = lines.map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
            words.collect::<Vec<_>>().join("\n")
        };
        (
            ended.status.code(),
            text(&ended.stdout),
            text(&ended.stderr),
        )
    };
    for verb in ["pause", "resume"] {
        let (code, _, said) = run(&[verb]);
        assert_eq!(code, Some(2), "{said}");
        assert!(said.contains("--all"), "{said}");
        let (code, _, said) = run(&[verb, "--all", "--app", "ops"]);
        assert_eq!(code, Some(2), "{said}");
    }
    let (code, told, _) = run(&["pause", "--kind", "urgent_phone", "--reason", "a drill"]);
    assert_eq!(code, Some(0));
    assert!(
        told.starts_with("APP LANE WHAT BY SINCE TRIED AGAIN WHY\nall all urgent_phone hand 2"),
        "{told}"
    );
    assert!(told.ends_with(" a drill"), "{told}");
    let (_, told, _) = run(&["status"]);
    assert!(
        told.contains("\npaused:\nAPP LANE WHAT") && told.contains(" a drill"),
        "{told}"
    );
    let (_, told, _) = run(&["pause", "--app", "ops", "--json"]);
    let told: Value = serde_json::from_str(&told).unwrap();
    assert_eq!(told["paused"].as_array().unwrap().len(), 2, "{told}");
    let (code, _, said) = run(&["pause", "--app", "nobody"]);
    assert!(code == Some(2) && said.contains("/app"), "{said}");
    let (code, told, _) = run(&["resume", "--all"]);
    assert_eq!(
        (code, told.as_str()),
        (Some(0), "nothing of it is paused any more")
    );
}
