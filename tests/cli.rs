//! The command line against a relay that answers what it is told: exit codes, shapes, words.

mod stub;

use serde_json::Value;
use serde_json::json;
use stub::{Ended, command, finish, run};
use tokio::net::TcpListener;

fn job(state: &str) -> Value {
    json!({"id": "job_1", "kind": "send", "to": "oc_a", "state": state, "attempts": []})
}

const SEND: [&str; 5] = ["send", "--to", "oc_a", "--text", "hi"];

#[tokio::test]
async fn a_stored_job_is_shown_by_id_and_state() {
    let ended = run(vec![(202, job("queued"))], &SEND, "").await;
    assert_eq!(
        (ended.code, ended.out.as_str()),
        (0, "job_1 queued\n"),
        "{}",
        ended.err
    );
    assert_eq!(ended.lines(), ["POST /v1/jobs"]);
    let body = json!({"kind": "send", "args": {"to": "oc_a", "text": "hi"}});
    assert_eq!(ended.seen[0].body, body);
}

#[tokio::test]
async fn every_flag_of_send_reaches_the_relay() {
    let words = "send --to oc_a --text hi --app ops --key k --priority high --delay 5m --expires-in 1h \
        --label team=db --label a=b=c --then-pin --then-urgent-app ou_a,ou_b --token t --json";
    let words: Vec<_> = words.split_whitespace().collect();
    let ended = run(vec![(202, job("queued"))], &words, "").await;
    assert_eq!(ended.code, 0, "{}", ended.err);
    assert_eq!(ended.out, format!("{}\n", job("queued")));
    assert_eq!(ended.seen[0].token.as_deref(), Some("Bearer t"));
    let body = json!({
        "kind": "send", "args": {"to": "oc_a", "text": "hi"}, "app": "ops", "key": "k", "priority": "high",
        "delay": "5m", "expires_in": "1h", "labels": {"team": "db", "a": "b=c"},
        "then": [{"kind": "pin"}, {"kind": "urgent_app", "args": {"users": ["ou_a", "ou_b"]}}],
    });
    assert_eq!(ended.seen[0].body, body);
}

#[tokio::test]
async fn content_comes_from_files_and_standard_input() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (image, ids) = (
        file("a.png", b"png"),
        file("ids", b"ou_a\n\n# nobody\nou_b # two\n"),
    );
    let stored = || vec![(202, job("queued"))];
    let args = |ended: Ended| {
        assert_eq!(ended.code, 0, "{}", ended.err);
        ended.seen[0].body["args"].clone()
    };
    let ended = run(stored(), &["send", "--to", "oc_a", "--image", &image], "").await;
    let expected = json!({"to": "oc_a", "image": {"data": "cG5n", "file_name": "a.png"}});
    assert_eq!(args(ended), expected);
    let ended = run(
        stored(),
        &["send", "--to", "oc_a", "--card", "-"],
        "{\"b\":1.50,\"a\":[]}\n",
    )
    .await;
    assert_eq!(
        args(ended),
        json!({"to": "oc_a", "card": {"b": 1.5, "a": []}})
    );
    let ended = run(
        stored(),
        &["send", "--open-ids", &ids, "--markdown", "-"],
        "# hi\n",
    )
    .await;
    assert_eq!(ended.seen[0].body["kind"], "batch_send");
    assert_eq!(
        args(ended),
        json!({"open_ids": ["ou_a", "ou_b"], "markdown": "# hi"})
    );
}

#[tokio::test]
async fn wrong_words_end_with_2_before_anything_is_asked() {
    for words in [
        &["send", "--to", "oc_a"][..],
        &["send", "--text", "hi"],
        &["send", "--to", "oc_a", "--text", "hi", "--markdown", "hi"],
        &["send", "--to", "oc_a", "--text", "hi", "--label", "team"],
        &[
            "send", "--to", "oc_a", "--text", "hi", "--label", "a=1", "--label", "a=2",
        ],
        &["jobs", "list", "--label", "a=1", "--label", "a=1"],
        &["send", "--to", "oc_a", "--card", "/nonexistent"],
        &["send", "--open-ids", "-", "--text", "-"],
        &["send", "--to", "oc_a", "--text", "hi", "--url", "ftp://a"],
        &["jobs", "retry"],
        &["jobs", "cancel", "job_1", "--state", "queued"],
        &["jobs", "recall", "--state", "done", "--wait"],
        &["jobs", "settle", "job_1"],
        &["jobs", "settle", "job_1", "--done", "--failed"],
    ] {
        let ended = run(vec![], words, "").await;
        assert_eq!(
            (ended.code, ended.seen.len()),
            (2, 0),
            "{words:?}: {}",
            ended.err
        );
        assert!(!ended.err.is_empty(), "{words:?}");
    }
}

#[tokio::test]
async fn a_time_is_for_the_relay_to_refuse() {
    let detail = "/delay: must be a duration";
    let refused = vec![(422, json!({"detail": detail}))];
    let words = [&SEND[..], &["--delay", "-1h", "--expires-in", "-5m"]].concat();
    let ended = run(refused, &words, "").await;
    assert_eq!(ended.code, 2, "{}", ended.err);
    assert!(ended.err.contains(detail), "{}", ended.err);
    let body = &ended.seen[0].body;
    assert_eq!(
        (&body["delay"], &body["expires_in"]),
        (&json!("-1h"), &json!("-5m"))
    );
}

#[tokio::test]
async fn wait_ends_as_the_job_does() {
    for (state, code) in [
        ("done", 0),
        ("failed", 1),
        ("expired", 1),
        ("canceled", 1),
        ("in_doubt", 5),
    ] {
        let words = [&SEND[..], &["--wait=10s"]].concat();
        let answers = vec![
            (202, job("queued")),
            (200, job("sending")),
            (200, job(state)),
        ];
        let ended = run(answers, &words, "").await;
        assert_eq!(ended.code, code, "{state}: {}", ended.err);
        assert_eq!(ended.out, format!("job_1 {state}\n"));
        assert_eq!(ended.lines()[0], "POST /v1/jobs?wait=10000ms");
        assert!(
            ended.lines()[1].starts_with("GET /v1/jobs/job_1?wait="),
            "{:?}",
            ended.lines()
        );
    }
}

#[tokio::test]
async fn a_job_that_settles_at_once_is_not_asked_for_again() {
    let words = [&SEND[..], &["--wait"]].concat();
    let ended = run(vec![(202, job("done"))], &words, "").await;
    assert_eq!(
        (ended.code, ended.lines()),
        (0, vec!["POST /v1/jobs?wait=30000ms"])
    );
}

#[tokio::test]
async fn a_wait_that_runs_out_ends_with_4() {
    let words = [&SEND[..], &["--wait=1ms"]].concat();
    let ended = run(vec![(202, job("queued")), (200, job("queued"))], &words, "").await;
    assert_eq!(ended.code, 4, "{}", ended.err);
    assert!(ended.err.contains("it is stored"), "{}", ended.err);
}

#[tokio::test]
async fn refusals_say_why_in_one_line() {
    let problem = json!({"title": "Unprocessable", "detail": "the job is not right"});
    for (status, code) in [
        (400, 2),
        (401, 2),
        (404, 2),
        (409, 2),
        (422, 2),
        (503, 3),
        (500, 1),
    ] {
        let ended = run(vec![(status, problem.clone())], &SEND, "").await;
        assert_eq!(ended.code, code, "{status}");
        assert!(
            ended.err.ends_with(": the job is not right\n"),
            "{}",
            ended.err
        );
        assert_eq!(ended.err.lines().count(), 1, "{}", ended.err);
    }
}

#[tokio::test]
async fn a_fault_is_said_once() {
    let flaw = |pointer: &str, detail: &str| json!({"pointer": pointer, "detail": detail});
    for (status, detail, errors, said) in [
        (
            422,
            "/args/to: is missing",
            json!([flaw("/args/to", "is missing")]),
            "(422): /args/to: is missing\n",
        ),
        (
            422,
            "/key: is empty (and 1 more)",
            json!([flaw("/key", "is empty"), flaw("/kind", "is missing")]),
            "(422): /key: is empty; /kind: is missing\n",
        ),
        (
            409,
            "job_1 has this key",
            json!([flaw("", "job_1 has this key")]),
            "(409): job_1 has this key\n",
        ),
    ] {
        let problem = json!({"title": "Refused", "detail": detail, "errors": errors});
        let ended = run(vec![(status, problem)], &SEND, "").await;
        assert_eq!(ended.code, 2);
        assert!(ended.err.ends_with(said), "{}", ended.err);
    }
}

#[tokio::test]
async fn an_unreachable_relay_ends_with_3() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let ended = finish(command(&[&SEND[..], &["--url", &url]].concat()), "").await;
    assert_eq!(ended.code, 3, "{}", ended.err);
    assert!(ended.err.contains("nothing was stored"), "{}", ended.err);
    let ended = finish(command(&["status", "--url", "unix:/nonexistent.sock"]), "").await;
    assert_eq!(ended.code, 3, "{}", ended.err);
    assert!(ended.err.contains("cannot be reached"), "{}", ended.err);
    assert!(!ended.err.contains("stored"), "{}", ended.err);
}

/// Accepts one connection, reads the head of the request and closes it without an answer.
async fn hangs_up(words: &[&str]) -> Ended {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let server = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.expect("a connection");
        stream.readable().await.expect("a request");
        let _ = stream.try_read(&mut [0; 65_536]);
    });
    let ended = finish(command(&[words, &["--url", &url]].concat()), "").await;
    server.await.expect("the stub ends");
    ended
}

#[tokio::test]
async fn a_connection_lost_in_the_middle_leaves_a_send_in_doubt() {
    let ended = hangs_up(&SEND).await;
    assert_eq!(ended.code, 5, "{}", ended.err);
    assert!(
        ended
            .err
            .contains("may or may not be stored; look with `jobs list`"),
        "{}",
        ended.err
    );
    let ended = hangs_up(&[&SEND[..], &["--key", "k"]].concat()).await;
    assert_eq!(ended.code, 5, "{}", ended.err);
    assert!(
        ended
            .err
            .contains("repeating it with the same --key is safe"),
        "{}",
        ended.err
    );
    let ended = hangs_up(&["status"]).await;
    assert_eq!(ended.code, 3, "{}", ended.err);
}

#[tokio::test]
async fn a_list_is_a_table_for_people_and_untouched_for_programs() {
    let mut failed = job("failed");
    failed["error"] = json!({"class": "gone", "code": 230002, "msg": "not in the chat"});
    let page = json!({"jobs": [failed, job("done")], "next_cursor": "c2"});
    let words = [
        "jobs", "list", "--state", "failed", "--label", "team=a b", "--since", "1h", "--limit", "2",
    ];
    let ended = run(vec![(200, page.clone())], &words, "").await;
    assert_eq!(ended.code, 0, "{}", ended.err);
    let query = "GET /v1/jobs?state=failed&since=1h&label.team=a+b&limit=2";
    assert_eq!(ended.lines(), [query]);
    assert_eq!(ended.out.lines().count(), 3, "{}", ended.out);
    assert!(
        ended.out.contains("gone 230002 not in the chat"),
        "{}",
        ended.out
    );
    assert!(
        !ended.out.contains('\u{1b}'),
        "colours in a pipe: {:?}",
        ended.out
    );
    assert!(ended.err.contains("--cursor c2"), "{}", ended.err);
    let words = ["jobs", "list", "--limit", "2", "--json"];
    let ended = run(vec![(200, page.clone())], &words, "").await;
    assert_eq!(ended.out, format!("{page}\n"));
}

#[tokio::test]
async fn a_list_goes_on_behind_an_empty_page_until_it_has_enough_or_there_is_no_more() {
    let page = |jobs: usize, next: Value| {
        let jobs = vec![job("done"); jobs];
        (200, json!({"jobs": jobs, "next_cursor": next}))
    };
    let words = ["jobs", "list", "--state", "done", "--limit", "3"];
    let answers = || vec![page(0, json!("c1")), page(1, json!("c2"))];

    let enough = [answers(), vec![page(2, json!("c3"))]].concat();
    let ended = run(enough.clone(), &words, "").await;
    assert_eq!(ended.code, 0, "{}", ended.err);
    assert_eq!(
        ended.lines(),
        [
            "GET /v1/jobs?state=done&limit=3",
            "GET /v1/jobs?state=done&limit=3&cursor=c1",
            "GET /v1/jobs?state=done&limit=2&cursor=c2",
        ]
    );
    assert_eq!(ended.out.lines().count(), 4, "{}", ended.out);
    assert_eq!(ended.err, "more: --cursor c3\n", "no progress in a pipe");

    let json_words = [&words[..], &["--json"]].concat();
    let ended = run(enough, &json_words, "").await;
    let whole: Value = serde_json::from_str(&ended.out).expect("one page");
    let jobs = vec![job("done"); 3];
    assert_eq!(whole, json!({"jobs": jobs, "next_cursor": "c3"}));

    let no_more = [answers(), vec![page(0, Value::Null)]].concat();
    let ended = run(no_more, &words, "").await;
    assert_eq!((ended.seen.len(), ended.err.as_str()), (3, ""));
    assert_eq!(ended.out.lines().count(), 2, "{}", ended.out);
}

#[tokio::test]
async fn a_job_is_shown_whole() {
    let mut whole = job("done");
    whole["attempts"] = json!([{"at": "2026-01-01T00:00:00.000Z", "outcome": "done", "http": 200}]);
    whole["receipt"] = json!({"message_id": "om_1"});
    let ended = run(vec![(200, whole)], &["jobs", "show", "om_1"], "").await;
    assert_eq!(ended.lines(), ["GET /v1/jobs/om_1"]);
    for part in [
        "id           job_1",
        "attempts:",
        "2026-01-01T00:00:00.000Z",
        "om_1",
    ] {
        assert!(ended.out.contains(part), "{}", ended.out);
    }
}

#[tokio::test]
async fn an_id_cannot_leave_its_place_in_the_path() {
    let ended = run(
        vec![(404, json!({"detail": "no such job"}))],
        &["jobs", "show", "../x?y"],
        "",
    )
    .await;
    assert_eq!(
        (ended.code, ended.lines()),
        (2, vec!["GET /v1/jobs/..%2Fx%3Fy"])
    );
}

#[tokio::test]
async fn watch_prints_each_change_and_ends_as_the_job_does() {
    let states = ["queued", "queued", "sending", "done"];
    let answers = states.map(|state| (200, job(state))).to_vec();
    let ended = run(answers, &["jobs", "watch", "job_1"], "").await;
    assert_eq!(
        (ended.code, ended.out.as_str()),
        (0, "job_1 queued\njob_1 sending\njob_1 done\n")
    );
    assert_eq!(ended.seen.len(), 4);
}

#[tokio::test]
async fn operators_act_on_one_job_or_on_many() {
    let one = |words: &'static [&'static str]| async move {
        let ended = run(vec![(200, job("queued"))], words, "").await;
        assert_eq!(
            (ended.code, ended.out.as_str()),
            (0, "job_1 queued\n"),
            "{}",
            ended.err
        );
        (ended.seen[0].line.clone(), ended.seen[0].body.clone())
    };
    let (line, body) = one(&["jobs", "retry", "job_1", "--expires-in", "5m"]).await;
    assert_eq!(
        (line.as_str(), body),
        ("POST /v1/jobs/job_1/retry", json!({"expires_in": "5m"}))
    );
    let (line, body) = one(&["jobs", "cancel", "job_1"]).await;
    assert_eq!(
        (line.as_str(), body),
        ("POST /v1/jobs/job_1/cancel", Value::Null)
    );
    let (line, body) = one(&["jobs", "settle", "job_1", "--done", "--message-id", "om_1"]).await;
    let expected = json!({"state": "done", "message_id": "om_1"});
    assert_eq!(
        (line.as_str(), body),
        ("POST /v1/jobs/job_1/settle", expected)
    );

    let count = vec![(200, json!({"count": 3, "dry_run": true}))];
    let ended = run(
        count,
        &["jobs", "recall", "--label", "team=db", "--dry-run"],
        "",
    )
    .await;
    assert_eq!(
        (ended.code, ended.out.as_str()),
        (0, "recall: would be 3 jobs\n")
    );
    assert_eq!(
        ended.lines(),
        ["POST /v1/jobs/recall?label.team=db&dry_run=true"]
    );
}

#[tokio::test]
async fn a_recall_is_shown_and_waited_for_by_its_own_state() {
    let recall = |job_state: &str, state: &str| {
        let mut job = job(job_state);
        job["recall"] = json!({"state": state, "count": 0, "of": 1});
        job
    };
    let words = ["jobs", "recall", "job_1"];
    let ended = run(vec![(202, recall("done", "queued"))], &words, "").await;
    let said = (ended.code, ended.out.as_str());
    assert_eq!(said, (0, "job_1 recall queued\n"), "{}", ended.err);

    let wait = [&words[..], &["--wait=10s"]].concat();
    let mut refused = recall("done", "failed");
    refused["recall"]["error"] = json!({"class": "caller", "code": 230026, "msg": "too late"});
    let mut batch = recall("done", "done");
    batch["recall"]["count"] = json!(3);
    batch["recall"]["of"] = json!(3);
    for (last, code, said) in [
        (recall("done", "done"), 0, "job_1 recall done\n"),
        (batch, 0, "job_1 recall done, 3 of 3\n"),
        (refused, 1, "job_1 recall failed: caller 230026 too late\n"),
        (recall("done", "in_doubt"), 5, "job_1 recall in_doubt\n"),
        (recall("in_doubt", "done"), 5, "job_1 recall done\n"),
        (job("canceled"), 0, "job_1 canceled\n"),
        (job("in_doubt"), 5, "job_1 in_doubt\n"),
    ] {
        let answers = vec![
            (202, recall("sending", "queued")),
            (200, recall("done", "sending")),
            (200, last),
        ];
        let ended = run(answers, &wait, "").await;
        assert_eq!((ended.code, ended.out.as_str()), (code, said));
        assert_eq!(ended.seen.len(), 3, "{:?}", ended.lines());
    }

    let wait = [&words[..], &["--wait=1ms"]].concat();
    let queued = || recall("done", "queued");
    let ended = run(vec![(202, queued()), (200, queued())], &wait, "").await;
    assert_eq!(ended.code, 4, "{}", ended.err);

    let mut gone = job("done");
    gone["recalled_at"] = json!("2026-01-01T00:00:00.000Z");
    let page = json!({"jobs": [gone], "next_cursor": null});
    let ended = run(vec![(200, page)], &["jobs", "list"], "").await;
    assert!(ended.out.contains(" done, recalled "), "{}", ended.out);
}

#[tokio::test]
async fn the_status_says_what_waits_and_what_stands_still() {
    let pause = json!({"app": "ops", "lane": "", "api": "", "kind": null, "by": "relay", "code": 99991663, "reason": "invalid token",
        "since": "2026-01-01T00:00:00.000Z", "next_probe": null});
    let status = json!({"pending": 3, "max_pending": 1000, "store_bytes": 4096, "version": "0.1.0",
        "apps": [{"app": "ops", "queued": 2, "sending": 1, "in_doubt": 0, "dead_letters": 7,
            "oldest_age_s": 90, "paused": [pause],
            "month": {"tenant": "main", "calls": 12, "causes": {"send": {"first": 8, "again": 1}, "pin": {"first": 3, "again": 0}}}}],
        "months": [{"tenant": "main", "month": "2026-01", "calls": 12, "quota": 50,
            "forecast": {"calls_per_day": 4, "calls": 60, "exhausted_at": "2026-01-20T00:00:00.000Z"}}],
        "lanes": [{"app": "ops", "lane": "oc_a", "oldest_age_s": 90}]});
    let ended = run(vec![(200, status)], &["status"], "").await;
    assert_eq!(ended.code, 0, "{}", ended.err);
    let words: Vec<_> = ended
        .out
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect();
    assert_eq!(
        words,
        [
            "pending 3 of 1000, store 4.0 KiB, version 0.1.0",
            "APP QUEUED SENDING IN DOUBT DEAD OLDEST MONTH",
            "ops 2 1 0 7 1m 30s 12",
            "",
            "the month's calls:",
            "TENANT MONTH CALLS QUOTA A DAY AT ITS END USED UP FOR",
            "main 2026-01 12 50 4 60 2026-01-20T00:00:00.000Z send 9, pin 3",
            "",
            "paused:",
            "APP LANE WHAT BY SINCE TRIED AGAIN WHY",
            "ops all all relay 2026-01-01T00:00:00.000Z 99991663 invalid token",
            "",
            "APP LANE OLDEST",
            "ops oc_a 1m 30s",
        ]
    );
}
