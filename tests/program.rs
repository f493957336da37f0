//! Commands that need no relay: check, sandbox, demo, and the help of all.

mod stub;

use axum::Router;
use serde_json::json;
use stub::{Stub, answer, command, finish};
use tokio::io::AsyncBufReadExt;
use tokio::io::BufReader;
use tokio::net::TcpListener;
use tokio::process::Command;

#[tokio::test]
async fn check_names_faults_and_ends_with_2() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("relay.toml");
    let path = path.to_str().unwrap();
    std::fs::write(path, "[server]\nprot = 1\n").unwrap();
    let ended = finish(command(&["check", "--config", path]), "").await;
    assert_eq!(ended.code, 2);
    assert!(
        ended
            .err
            .contains("relay.toml:2:1: server.prot: is not a known key"),
        "{}",
        ended.err
    );
    std::fs::write(path, include_str!("../config.example.toml")).unwrap();
    let ended = finish(command(&["check", "--config", path]), "").await;
    assert_eq!(
        (ended.code, ended.out.as_str()),
        (0, "ok: 1 app, 0 bots, 0 clients, 0 routes\n"),
        "{}",
        ended.err
    );
}

#[tokio::test]
async fn check_online_says_what_feishu_says() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("relay.toml");
    let refused = vec![(200, json!({"code": 10014, "msg": "app secret invalid"}))];
    let stub = Stub::default();
    *stub.answers.lock().unwrap() = refused;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let router = Router::new().fallback(answer).with_state(stub);
    let server = tokio::spawn(async move { axum::serve(listener, router).await });
    let text = format!(
        "[[apps]]\nname = \"ops\"\napp_id = \"cli_a\"\napp_secret = \"s\"\nbase_url = \"{base}\"\n"
    );
    std::fs::write(&path, text).unwrap();
    let ended = finish(
        command(&["check", "--online", "--config", path.to_str().unwrap()]),
        "",
    )
    .await;
    server.abort();
    assert_eq!(ended.code, 2, "{}", ended.err);
    assert!(
        ended
            .err
            .contains("app ops: Feishu refuses it: 10014 app secret invalid"),
        "{}",
        ended.err
    );
}

#[tokio::test]
async fn the_sandbox_says_where_it_is_and_stops_when_told() {
    let mut child = command(&["sandbox", "--listen", "127.0.0.1:0"])
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let first = lines.next_line().await.unwrap().unwrap();
    let url = first.strip_prefix("base_url  ").unwrap();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let ledger = client
        .get(format!("{url}/_sandbox/ledger"))
        .send()
        .await
        .unwrap();
    assert_eq!(ledger.status(), 200);
    let id = child.id().unwrap().to_string();
    Command::new("kill")
        .args(["-TERM", &id])
        .status()
        .await
        .unwrap();
    assert_eq!(child.wait().await.unwrap().code(), Some(0));

    let ended = finish(command(&["sandbox", "--seed", "/nonexistent"]), "").await;
    assert_eq!(ended.code, 2, "{}", ended.err);
}

/// The first lines of a sandbox, which is then told to stop.
async fn sandbox_says(words: &[&str], lines: usize) -> Vec<String> {
    let words = [&["sandbox", "--listen", "127.0.0.1:0"], words].concat();
    let mut child = command(&words).spawn().expect("the binary starts");
    let mut out = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    let mut said = Vec::new();
    while said.len() < lines {
        said.push(out.next_line().await.expect("text").expect("a line"));
    }
    let id = child.id().expect("it runs").to_string();
    let kill = Command::new("kill").args(["-TERM", &id]).status().await;
    assert!(kill.expect("kill runs").success());
    assert_eq!(child.wait().await.expect("an end").code(), Some(0));
    said
}

#[tokio::test]
async fn the_sandbox_says_which_app_and_chat_to_use() {
    let usual = [
        "app       cli_5a9db0c5a9db0c5a with secret sandbox-secret",
        "a chat    oc_5a9db0c0000000000000000000000001",
    ];
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (fresh, other, seed) = (file("fresh"), file("other"), file("seed"));
    let written = json!({
        "apps": [{"app_id": "cli_a", "app_secret": "s1"}],
        "users": [],
        "chats": [{"chat_id": "oc_shut", "bots": []}, {"chat_id": "oc_open"}],
    });
    std::fs::write(&seed, written.to_string()).unwrap();
    for (words, expected) in [
        (&[][..], usual),
        (&["--state", &fresh], usual),
        (&["--state", &fresh], usual),
        (
            &["--state", &other, "--seed", &seed],
            ["app       cli_a with secret s1", "a chat    oc_open"],
        ),
        (
            &["--state", &other],
            [
                "app       cli_a with the secret of its seed",
                "a chat    oc_open",
            ],
        ),
    ] {
        assert_eq!(sandbox_says(words, 4).await[2..], expected, "{words:?}");
    }
}

#[tokio::test]
async fn the_demo_ends_well_and_shows_the_kind_and_end_of_every_job() {
    let ended = finish(command(&["demo", "--exit"]), "").await;
    assert_eq!(ended.code, 0, "{}{}", ended.out, ended.err);
    assert!(
        ended.out.lines().all(|line| line.chars().count() <= 120),
        "{}",
        ended.out
    );
    assert!(!ended.out.contains('\u{1b}'), "{:?}", ended.out);
    let words: Vec<_> = ended
        .out
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect();
    for line in [
        "throttled send done after a limit",
        "then pin done",
        "then urgent_app done",
        "to 450 people batch_send done in 3 calls",
        "recalled send done, recalled",
    ] {
        assert!(
            words.iter().any(|words| words == line),
            "{line}: {words:#?}"
        );
    }
    assert!(
        words
            .iter()
            .any(|words| words.starts_with("refused by Feishu send failed")),
        "{words:#?}"
    );
}

#[tokio::test]
async fn help_fits_a_screen() {
    let top = finish(command(&["-h"]), "").await.out;
    for code in ["0 stored; with --wait: done", "5 in doubt"] {
        assert!(top.contains(code), "{top}");
    }
    for words in [
        &[][..],
        &["send"],
        &["jobs"],
        &["reads"],
        &["incidents"],
        &["incidents", "list"],
        &["incidents", "show"],
        &["incidents", "ack"],
        &["jobs", "list"],
        &["jobs", "show"],
        &["jobs", "watch"],
        &["jobs", "retry"],
        &["jobs", "cancel"],
        &["jobs", "recall"],
        &["jobs", "settle"],
        &["status"],
        &["check"],
        &["sandbox"],
        &["serve"],
        &["demo"],
        &["pause"],
        &["resume"],
        &["explain"],
        &["token"],
        &["completions"],
        &["backup"],
        &["restore"],
        &["routes", "test"],
    ] {
        let mut command = command(&[words, &["-h"]].concat());
        command.env("COLUMNS", "80");
        let ended = finish(command, "").await;
        assert_eq!(ended.code, 0, "{words:?}");
        assert!(ended.out.lines().count() <= 24, "{words:?}: {}", ended.out);
        for line in ended.out.lines() {
            assert!(line.chars().count() <= 80, "{words:?}: {line}");
        }
    }
}
