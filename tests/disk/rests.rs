//! Commits that fail on their way to the disk leave their pages in the log.

use std::process::Command;

use serde_json::{Value, json};

use super::support::House;
use super::support::jobs::*;

/// Lets `fsync` of a log fail while a file is there.
const FAILING: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int fails(int fd) {
    const char *flag = getenv("FAILING");
    char link[64], name[4096];
    if (!flag || access(flag, F_OK)) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, name, sizeof name - 1);
    if (length <= 0) return 0;
    name[length] = 0;
    errno = EIO;
    return strstr(name, "-wal") != NULL;
}

int fsync(int fd) {
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fsync");
    return fails(fd) ? -1 : real(fd);
}

int fdatasync(int fd) {
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
    return fails(fd) ? -1 : real(fd);
}
"#;

/// A house whose disk fails while the file `failing` is in its folder. The compiler is there wherever the relay was built.
async fn house() -> House {
    let mut house = House::without_relay(None, "").await;
    let folder = house.dir.path().to_owned();
    let (source, library) = (folder.join("failing.c"), folder.join("failing.so"));
    std::fs::write(&source, FAILING).unwrap();
    let made = Command::new("cc")
        .args(["-shared", "-fPIC", "-o"])
        .args([&library, &source])
        .arg("-ldl")
        .status();
    assert!(made.unwrap().success());
    house.before = vec![
        String::from("env"),
        format!("LD_PRELOAD={}", library.display()),
        format!("FAILING={}", folder.join("failing").display()),
    ];
    house.start();
    house
}

fn some(name: &str, count: usize, bytes: usize) -> Value {
    let fill = "x".repeat(bytes);
    (0..count)
        .map(|n| {
            message(
                json!({"args": {"to": "ou_a", "text": format!("{name}{n} {fill}")}, "delay": "1h"}),
            )
        })
        .collect()
}

#[tokio::test]
async fn a_start_after_failed_commits_finds_what_was_accepted_and_nothing_else() {
    let mut house = house().await;
    let accept = async |house: &House, jobs: Value| {
        let (status, answer) = house.request("POST", "/v1/jobs", Some(jobs)).await;
        (status, answer)
    };
    assert_eq!(accept(&house, some("first", 5, 2000)).await.0, 202);
    let failing = house.dir.path().join("failing");
    std::fs::write(&failing, "").unwrap();
    for count in [60, 25] {
        let (status, refused) = accept(&house, some("lost", count, 2000)).await;
        assert_eq!(status, 503, "{refused}");
    }
    std::fs::remove_file(&failing).unwrap();
    // Shorter than what failed, whose end would stand behind it.
    house
        .until("/readyz", |answer| answer["status"] != 503)
        .await;
    assert_eq!(accept(&house, some("last", 1, 10)).await.0, 202);
    house.kill();
    house.start();
    let (_, page) = house.request("GET", "/v1/jobs?limit=100", None).await;
    assert_eq!(page["jobs"].as_array().unwrap().len(), 6, "{page:#}");
    house.stop();
}
