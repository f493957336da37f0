//! Commands that need no relay: what a code means, a client's token, a shell's completions.
#![allow(dead_code, reason = "the stub has more than is used here")]

mod stub;
mod support;

use std::process::{Command as Plain, Stdio};

use feishu_sandbox::DEFAULT_CHAT;
use serde_json::{Value, json};
use stub::{Ended, command, finish};
use support::House;

async fn say(words: &[&str], lang: &str) -> Ended {
    let mut command = command(words);
    command.env("LANG", lang);
    finish(command, "").await
}

#[tokio::test]
async fn a_code_is_explained_per_endpoint_in_the_language_of_its_reader() {
    let english = say(&["explain", "230002"], "C.UTF-8").await;
    assert_eq!(english.code, 0);
    for words in ["send_message", "administrator", "jobs retry"] {
        assert!(english.out.contains(words), "{words}: {}", english.out);
    }
    let chinese = say(&["explain", "230002"], "zh_CN.UTF-8").await;
    assert!(chinese.out.contains("机器人不在该群里"), "{}", chinese.out);
    let forced = say(&["explain", "230002", "--lang", "zh"], "C").await;
    assert_eq!(forced.out, chinese.out);
    // The same number is something else at another endpoint.
    let json = say(&["explain", "230002", "--json"], "C").await.out;
    let json: Value = serde_json::from_str(&json).unwrap();
    let meanings = json["meanings"].as_array().unwrap();
    assert_eq!(meanings.len(), 2, "{json:#}");
    assert_eq!(
        [&meanings[0]["class"], &meanings[0]["who"]],
        ["admin", "admin"]
    );
    assert_ne!(meanings[0]["meaning"], meanings[1]["meaning"]);
}

#[tokio::test]
async fn an_unknown_code_ends_with_1_and_says_what_the_relay_does_with_it() {
    let ended = say(&["explain", "42"], "C").await;
    assert_eq!(ended.code, 1);
    assert!(ended.out.contains("no table knows it"), "{}", ended.out);
    assert!(ended.out.contains("tries 3 times"), "{}", ended.out);
    assert_eq!(say(&["explain", "forty"], "C").await.code, 2);
    let list = say(&["explain"], "C").await;
    assert_eq!(list.code, 0);
    assert!(list.out.lines().count() > 100);
}

#[tokio::test]
async fn the_relays_own_codes_are_explained_as_its_own() {
    for code in 990_001..=990_007 {
        let code = code.to_string();
        let ended = say(&["explain", &code], "C").await;
        assert_eq!(ended.code, 0, "{}", ended.out);
        assert!(ended.out.contains("the relay's own"), "{}", ended.out);
    }
    let chinese = say(&["explain", "990001", "--lang", "zh"], "C").await;
    assert!(chinese.out.contains("已过期"), "{}", chinese.out);
    let json = say(&["explain", "990001", "--json"], "C").await.out;
    let json: Value = serde_json::from_str(&json).unwrap();
    assert!(json["relay"]["zh"].is_string(), "{json:#}");
    assert_eq!(say(&["explain", "990008"], "C").await.code, 1);
}

#[tokio::test]
async fn a_new_token_opens_the_relay_by_its_hash_alone() {
    let made = say(&["token", "alertmanager"], "C").await;
    let lines: Vec<&str> = made.out.lines().collect();
    let token = lines[0];
    assert!(
        token.starts_with("frt_") && token.len() == 4 + 64,
        "{token}"
    );
    let clients = made.out.split_once("[[clients]]").unwrap().1;
    let house = House::with(None, &format!("[[clients]]{clients}")).await;
    // Who comes by the socket needs no token; one that is shown is looked at.
    let send = |token: &str| {
        let mut command = house.binary();
        let words = [
            "send",
            "--to",
            DEFAULT_CHAT,
            "--text",
            "hi",
            "--token",
            token,
        ];
        command.args(words).output().unwrap()
    };
    let ended = send(token);
    assert!(ended.status.success(), "{ended:?}");
    let (_, list) = house.request("GET", "/v1/jobs", None).await;
    assert_eq!(list["jobs"][0]["client"], json!("alertmanager"));
    // Two are never the same, and a name that the config would refuse is refused.
    let json: Value = serde_json::from_str(&say(&["token", "a", "--json"], "C").await.out).unwrap();
    assert_ne!(json["token"], *token);
    assert_eq!(json["token_sha256"].as_str().unwrap().len(), 64);
    assert_eq!(say(&["token", "a b"], "C").await.code, 2);
}

#[tokio::test]
async fn completions_are_scripts_that_their_shell_reads() {
    for shell in ["bash", "zsh", "fish"] {
        let made = say(&["completions", shell], "C").await;
        assert_eq!(made.code, 0);
        assert!(made.out.contains("restore"), "{shell}");
        let read = Plain::new(shell)
            .args(["-n", "/dev/stdin"])
            .stdin(Stdio::piped())
            .spawn();
        let Ok(mut read) = read else { continue };
        let mut input = read.stdin.take().unwrap();
        std::io::Write::write_all(&mut input, made.out.as_bytes()).unwrap();
        drop(input);
        assert!(read.wait().unwrap().success(), "{shell}");
    }
    assert_eq!(say(&["completions", "cmd"], "C").await.code, 2);
}
