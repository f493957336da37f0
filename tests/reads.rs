//! Who read it: followed as long as a producer wants, asked at once, and summed over a notice.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on should stop here"
)]

mod support;

use feishu_sandbox::{
    DEFAULT_APP_ID, DEFAULT_APP_SECRET, DEFAULT_UNREACHABLE_USER, DEFAULT_USERS, staff_open_id,
};
use serde_json::{Value, json};
use support::House;
use support::jobs::{DAY, HOUR, MINUTE, acted, made, message, pass, path, post};

const READERS: &str = "GET /open-apis/im/v1/messages/:message_id/read_users";
const BATCH_READS: &str = "GET /open-apis/im/v1/batch_messages/:batch_message_id/read_user";

fn track(every: &str, whole: &str) -> Value {
    json!({"track": {"reads": {"every": every, "for": whole}}})
}

fn reads_path(id: &str) -> String {
    format!("/v1/jobs/{id}/reads")
}

async fn get(house: &House, path: &str) -> Value {
    let (status, answer) = house.request("GET", path, None).await;
    assert_eq!(status, 200, "{path}: {answer}");
    answer
}

/// A message that was sent, followed as `more` says: its job and its id at Feishu.
async fn sent(house: &House, more: Value) -> (String, String) {
    let id = post(house, message(more)).await;
    let job = house.settled(&id).await;
    let message = job["receipt"]["message_id"].as_str().unwrap().to_owned();
    (id, message)
}

async fn read(house: &House, user: &str, message: &str) {
    let act = json!({"do": "read", "user": user, "message": message});
    house.control("act", act).await;
}

/// What is known once Feishu's answer to the question number `calls` is kept; the message itself was
/// a call too. Both are written together.
async fn asked(house: &House, id: &str, calls: u64) -> Value {
    let counted = |status: &Value| status["apps"][0]["month"]["calls"] == calls + 1;
    house.until("/v1/status", counted).await;
    assert_eq!(made(house, READERS).await, calls);
    get(house, &reads_path(id)).await
}

/// Calls of this month, as the relay's ledger says.
async fn month(house: &House) -> u64 {
    let status = get(house, "/v1/status").await;
    status["apps"][0]["month"]["calls"].as_u64().unwrap()
}

fn users(reads: &Value) -> Vec<&str> {
    let items = reads["items"].as_array().unwrap();
    items
        .iter()
        .map(|item| item["user_id"].as_str().unwrap())
        .collect()
}

#[tokio::test]
async fn a_tracked_message_is_asked_about_until_its_time_is_over_and_every_call_is_counted() {
    let mut house = House::new().await;
    let (id, message) = sent(&house, track("10m", "30m")).await;
    let job = house.job(&id).await;
    assert_eq!(job["track"], track("10m", "30m")["track"]);
    assert_eq!(job["reads"]["complete"], false, "{job:#}");
    assert_eq!(made(&house, READERS).await, 0);

    read(&house, DEFAULT_USERS[0], &message).await;
    pass(&mut house, 10 * MINUTE).await;
    let reads = asked(&house, &id, 1).await;
    assert_eq!(users(&reads), [DEFAULT_USERS[0]]);
    assert_eq!(reads["user_id_type"], "open_id");
    assert!(reads["items"][0]["timestamp"].is_string(), "{reads:#}");
    assert_eq!(reads["complete"], true);
    assert!(reads["asked_at"].is_string() && reads["next_at"].is_string());

    read(&house, DEFAULT_USERS[1], &message).await;
    pass(&mut house, 10 * MINUTE).await;
    let reads = asked(&house, &id, 2).await;
    assert_eq!(users(&reads), [DEFAULT_USERS[0], DEFAULT_USERS[1]]);
    let job = house.job(&message).await;
    assert_eq!(job["reads"]["items"], reads["items"]);
    let listed = get(&house, "/v1/jobs?kind=send").await;
    assert_eq!(listed["jobs"][0]["reads"]["read_count"], 2);
    assert!(listed["jobs"][0]["reads"]["items"].is_null());

    pass(&mut house, 10 * MINUTE).await;
    let reads = asked(&house, &id, 3).await;
    assert!(reads["next_at"].is_null(), "{reads:#}");
    pass(&mut house, HOUR).await;
    assert_eq!(made(&house, READERS).await, 3);
    assert_eq!(month(&house).await, 4);
    let status = get(&house, "/v1/status").await;
    assert_eq!(status["pending"], 0, "{status:#}");
}

#[tokio::test]
async fn whoever_wants_to_know_now_asks_feishu_once_tracked_or_not() {
    let house = House::new().await;
    let (id, message) = sent(&house, json!({})).await;
    let unasked = get(&house, &reads_path(&id)).await;
    assert_eq!(unasked["complete"], false);
    assert_eq!(unasked["items"], json!([]));
    assert!(house.job(&id).await["reads"].is_null());

    let fresh = format!("{}?fresh=true", reads_path(&message));
    assert_eq!(get(&house, &fresh).await["items"], json!([]));
    read(&house, DEFAULT_USERS[2], &message).await;
    let reads = get(&house, &fresh).await;
    assert_eq!(users(&reads), [DEFAULT_USERS[2]]);
    assert_eq!(
        (&reads["fresh"], &reads["complete"]),
        (&json!(true), &json!(true))
    );
    assert!(reads["next_at"].is_null(), "{reads:#}");
    assert_eq!(made(&house, READERS).await, 2);

    let (tracked, message) = sent(&house, track("10m", "24h")).await;
    read(&house, DEFAULT_USERS[2], &message).await;
    let reads = get(&house, &format!("{}?fresh=true", reads_path(&tracked))).await;
    assert_eq!(users(&reads), [DEFAULT_USERS[2]]);
    assert!(reads["next_at"].is_string(), "{reads:#}");
    assert_eq!(made(&house, READERS).await, 3);
}

#[tokio::test]
async fn pages_of_readers_survive_a_crash_between_them() {
    let people: Vec<Value> = (1..=150)
        .map(|n| json!({"open_id": staff_open_id(n), "union_id": format!("on_{n}"), "user_id": format!("u{n}"), "email": format!("p{n}@corp.example"), "name": format!("P {n}")}))
        .collect();
    let members: Vec<String> = (1..=150).map(staff_open_id).collect();
    let seed = json!({
        "apps": [{"app_id": DEFAULT_APP_ID, "app_secret": DEFAULT_APP_SECRET}],
        "users": people,
        "chats": [{"chat_id": feishu_sandbox::DEFAULT_CHAT, "name": "Hall", "members": members}],
    });
    let mut house = House::with(Some(seed), "").await;
    let (id, message) = sent(&house, track("10m", "10m")).await;
    for person in &members {
        read(&house, person, &message).await;
    }
    let held = json!([{"call": READERS, "do": "delay", "ms": 0, "count": 1}, {"call": READERS, "do": "delay", "when": "before", "ms": 60_000}]);
    house.faults(held).await;
    house.advance(10 * MINUTE).await;
    let half = |reads: &Value| reads["read_count"] == 100;
    let reads = house.until(&reads_path(&id), half).await;
    assert_eq!(reads["complete"], false, "{reads:#}");
    house.kill();
    house.faults(json!([])).await;
    house.start();
    let whole = |reads: &Value| reads["complete"] == true;
    let reads = house.until(&reads_path(&id), whole).await;
    assert_eq!(users(&reads).len(), 150);
    // The first page was not asked for again; the question under way at the crash never arrived.
    assert_eq!(made(&house, READERS).await, 2);
}

#[tokio::test]
async fn a_batch_has_counts_only_summed_over_its_parts() {
    let mut house = House::new().await;
    let people: Vec<String> = (1..=250).map(staff_open_id).collect();
    let mut job = json!({"kind": "batch_send", "args": {"open_ids": people, "text": "the new canteen opens"}});
    job["track"] = track("10m", "20m")["track"].clone();
    let id = post(&house, job).await;
    let job = house.settled(&id).await;
    let batches = job["receipt"]["batch_message_ids"].as_array().unwrap();
    for (n, batch) in [(1, 0), (2, 0), (201, 1)] {
        read(&house, &staff_open_id(n), batches[batch].as_str().unwrap()).await;
    }
    pass(&mut house, 10 * MINUTE).await;
    let counted = |reads: &Value| reads["complete"] == true && reads["read_count"] == 3;
    let reads = house.until(&reads_path(&id), counted).await;
    assert_eq!(reads["total_count"], 250, "{reads:#}");
    assert!(reads["items"].is_null(), "{reads:#}");
    assert_eq!(made(&house, BATCH_READS).await, 2);
    read(&house, &staff_open_id(202), batches[1].as_str().unwrap()).await;
    let reads = get(&house, &format!("{}?fresh=true", reads_path(&id))).await;
    assert_eq!(
        (&reads["read_count"], &reads["fresh"]),
        (&json!(4), &json!(true))
    );
    pass(&mut house, 10 * MINUTE).await;
    while made(&house, BATCH_READS).await < 6 {
        get(&house, "/v1/status").await;
    }
    pass(&mut house, HOUR).await;
    assert_eq!(made(&house, BATCH_READS).await, 6);
    assert!(get(&house, &reads_path(&id)).await["next_at"].is_null());
}

#[tokio::test]
async fn what_was_taken_back_is_asked_about_no_more() {
    let mut house = House::new().await;
    let (id, message) = sent(&house, track("10m", "24h")).await;
    read(&house, DEFAULT_USERS[0], &message).await;
    pass(&mut house, 10 * MINUTE).await;
    asked(&house, &id, 1).await;
    let (status, _) = acted(&house, &id, "recall", Value::Null).await;
    assert_eq!(status, 202);
    let gone = |job: &Value| job["recalled_at"].is_string();
    let job = house.until(&path(&id), gone).await;
    assert_eq!(job["reads"]["read_count"], 1);
    assert!(job["reads"]["next_at"].is_null(), "{job:#}");
    pass(&mut house, HOUR).await;
    assert_eq!(made(&house, READERS).await, 1);
    let reads = get(&house, &format!("{}?fresh=true", reads_path(&id))).await;
    assert_eq!(
        (&reads["fresh"], &reads["read_count"]),
        (&json!(false), &json!(1))
    );
    assert_eq!(made(&house, READERS).await, 1);
}

#[tokio::test]
async fn after_seven_days_feishu_tells_no_more_and_that_is_no_failure() {
    let mut house = House::new().await;
    let (id, message) = sent(&house, track("1d", "7d")).await;
    let (other, _) = sent(&house, track("7d", "7d")).await;
    read(&house, DEFAULT_USERS[0], &message).await;
    pass(&mut house, DAY).await;
    let read_once = |reads: &Value| reads["read_count"] == 1;
    house.until(&reads_path(&id), read_once).await;
    pass(&mut house, 8 * DAY).await;
    let refused = |reads: &Value| reads["error"]["code"] == 230_033;
    let reads = house.until(&reads_path(&other), refused).await;
    assert_eq!(reads["complete"], false, "{reads:#}");
    while made(&house, READERS).await < 3 {
        get(&house, "/v1/status").await;
    }
    // What was under way is recorded before anything later ends.
    pass(&mut house, MINUTE).await;
    let reads = get(&house, &reads_path(&id)).await;
    assert!(reads["error"].is_null(), "{reads:#}");
    assert!(reads["next_at"].is_null(), "{reads:#}");
    assert_eq!(reads["read_count"], 1);
}

#[tokio::test]
async fn a_notice_names_who_read_it_and_who_did_not() {
    let house = House::new().await;
    let notice = |to: &str| json!({"kind": "send", "args": {"to": to, "text": "the canteen is closed"}, "labels": {"notice": "canteen"}});
    let mut later = notice(DEFAULT_USERS[5]);
    later["delay"] = json!("1h");
    let mail = "chen.jing@sandbox.example";
    let to = [
        DEFAULT_USERS[0],
        mail,
        DEFAULT_USERS[2],
        DEFAULT_UNREACHABLE_USER,
    ];
    let mut all: Vec<Value> = to.iter().map(|to| notice(to)).collect();
    all[2]["then"] = json!([{"kind": "pin"}]);
    all.push(later);
    let group = message(json!({"labels": {"notice": "canteen"}}));
    all.push(group);
    all.push(notice(feishu_sandbox::DEFAULT_SECOND_CHAT));
    all.push(message(json!({"labels": {"notice": "other"}})));
    let answer = house.post(json!(all)).await;
    let mut messages = Vec::new();
    for job in answer["jobs"].as_array().unwrap() {
        if !job["run_at"].as_str().unwrap().is_empty() && job["waiting_for"] != "schedule" {
            let job = house.settled(job["id"].as_str().unwrap()).await;
            messages.push(job["receipt"]["message_id"].clone());
        }
    }
    let path = "/v1/reads?label.notice=canteen";
    let sums = get(&house, path).await;
    assert_eq!(sums["jobs"], 5, "{sums:#}");
    assert_eq!(sums["not_done"], json!({"failed": 1, "queued": 1}));
    assert_eq!(sums["unasked"].as_array().unwrap().len(), 5);
    assert_eq!(
        (&sums["complete"], &sums["not_read"]),
        (&json!(false), &json!([]))
    );

    read(&house, DEFAULT_USERS[0], messages[0].as_str().unwrap()).await;
    read(&house, DEFAULT_USERS[1], messages[1].as_str().unwrap()).await;
    let sums = get(&house, &format!("{path}&fresh=true")).await;
    assert_eq!(
        (&sums["fresh"], &sums["complete"]),
        (&json!(true), &json!(true)),
        "{sums:#}"
    );
    assert_eq!(
        (&sums["people"], &sums["groups"], &sums["read_count"]),
        (&json!(3), &json!(2), &json!(2))
    );
    let names = |list: &str, name: &str| -> Vec<String> {
        let list = sums[list].as_array().unwrap().iter();
        let mut names: Vec<String> = list
            .map(|one| one[name].as_str().unwrap().to_owned())
            .collect();
        names.sort();
        names
    };
    assert_eq!(names("readers", "to"), [mail, DEFAULT_USERS[0]]);
    assert_eq!(
        names("readers", "user_id"),
        [DEFAULT_USERS[0], DEFAULT_USERS[1]]
    );
    assert_eq!(names("not_read", "to"), [DEFAULT_USERS[2]]);
    assert_eq!(made(&house, READERS).await, 5);

    let page = get(&house, &format!("{path}&limit=3")).await;
    let cursor = page["next_cursor"].as_str().unwrap();
    assert_eq!(page["complete"], false);
    let rest = get(&house, &format!("{path}&cursor={cursor}")).await;
    let jobs = |page: &Value| page["jobs"].as_u64().unwrap();
    assert_eq!(jobs(&page) + jobs(&rest), 5);

    let ended = house
        .binary()
        .args(["reads", "--label", "notice=canteen", "--csv"])
        .output()
        .unwrap();
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    let text = String::from_utf8(ended.stdout).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(
        lines[0],
        "job,to,user_id,read,read_at,read_count,total_count"
    );
    assert_eq!(lines.len(), 4, "{text}");
    let chen = lines.iter().find(|line| line.contains(mail)).unwrap();
    assert!(
        chen.contains(&format!("{},yes,20", DEFAULT_USERS[1])),
        "{chen}"
    );
    assert!(
        text.contains(&format!(",{},,no,,,", DEFAULT_USERS[2])),
        "{text}"
    );
}

#[tokio::test]
async fn a_question_that_feishu_refuses_says_so() {
    let house = House::new().await;
    let (id, _) = sent(&house, track("10m", "24h")).await;
    let refused =
        json!([{"call": READERS, "do": "code", "http": 400, "code": 230_027, "count": 1}]);
    house.faults(refused).await;
    let ended = house
        .binary()
        .args(["reads", &id, "--fresh"])
        .output()
        .unwrap();
    assert_eq!(ended.status.code(), Some(4), "{ended:?}");
    let said = String::from_utf8(ended.stderr).unwrap();
    assert!(
        said.contains("230027") && said.contains("--fresh asks"),
        "{said}"
    );
    let reads = get(&house, &reads_path(&id)).await;
    assert_eq!(reads["error"]["code"], 230_027, "{reads:#}");
    assert!(reads["next_at"].is_null());
    // Asked anew it goes on as it was wanted.
    let reads = get(&house, &format!("{}?fresh=true", reads_path(&id))).await;
    assert_eq!(
        (&reads["fresh"], &reads["error"]),
        (&json!(true), &Value::Null),
        "{reads:#}"
    );
    assert!(reads["next_at"].is_string(), "{reads:#}");
    let ended = house.binary().args(["reads", &id]).output().unwrap();
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
}

#[tokio::test]
async fn what_cannot_be_followed_or_asked_is_refused_with_its_place() {
    let house = House::new().await;
    let mut bad = message(track("5s", "8d"));
    bad["then"] = json!([{"kind": "pin", "track": {"reads": {}}}]);
    let (status, problem) = house.request("POST", "/v1/jobs", Some(bad)).await;
    let pointers: Vec<&str> = problem["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|flaw| flaw["pointer"].as_str().unwrap())
        .collect();
    assert_eq!(status, 422, "{problem:#}");
    assert_eq!(
        pointers,
        ["/track/reads/every", "/track/reads/for", "/then/0/track"]
    );
    assert_eq!(get(&house, "/v1/jobs").await["jobs"], json!([]));

    let pin = post(
        &house,
        json!({"kind": "pin", "args": {"message": "om_none"}}),
    )
    .await;
    for (path, expected) in [
        (reads_path(&pin), 409),
        (reads_path("om_unknown"), 404),
        (String::from("/v1/reads"), 422),
        (String::from("/v1/reads?limit=5"), 422),
        (String::from("/v1/reads?label.a=b&fresh=perhaps"), 422),
        (String::from("/v1/reads?lable.a=b"), 422),
    ] {
        let (status, answer) = house.request("GET", &path, None).await;
        assert_eq!(status, expected, "{path}: {answer:#}");
    }
    for words in [&["reads"][..], &["reads", &pin, "--label", "a=b"]] {
        let ended = house.binary().args(words).output().unwrap();
        assert_eq!(ended.status.code(), Some(2), "{ended:?}");
    }
}

#[tokio::test]
async fn a_client_without_the_scope_reads_nothing() {
    let clients = "[[clients]]\nname = \"producer\"\ntoken = \"a-token-of-thirty-two-characters\"\nscopes = [\"enqueue\"]\n";
    let house = House::with(None, clients).await;
    for words in [&["reads", "om_1"][..], &["reads", "--label", "a=b"]] {
        let ended = house
            .binary()
            .args(words)
            .args(["--token", "a-token-of-thirty-two-characters"])
            .output()
            .unwrap();
        assert_eq!(ended.status.code(), Some(2), "{ended:?}");
        assert!(
            String::from_utf8_lossy(&ended.stderr).contains("(403)"),
            "{ended:?}"
        );
    }
}

#[tokio::test]
async fn a_followed_job_is_purged_like_any_other() {
    let mut house = House::without_relay(None, "").await;
    let short = house.config().replace(
        "path = \"relay.db\"",
        "path = \"relay.db\"\nretention = \"24h\"\ncontent_retention = \"24h\"",
    );
    house.set_config(short);
    house.start();
    let (id, message) = sent(&house, track("10m", "10m")).await;
    read(&house, DEFAULT_USERS[0], &message).await;
    pass(&mut house, 10 * MINUTE).await;
    asked(&house, &id, 1).await;
    pass(&mut house, 2 * DAY).await;
    let gone = |job: &Value| job["status"] == 404;
    house.until(&path(&id), gone).await;
    house.stop();
}
