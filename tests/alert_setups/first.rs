//! The first try that README.md prints, from its config to the second curl.

use std::process::Command;

use crate::server::free_port;
use crate::{blocks_of, said};

const README: &str = include_str!("../../README.md");

#[test]
fn the_first_try_runs_as_printed() {
    let dir = tempfile::tempdir().unwrap();
    let [feishu, relay] = [free_port(), free_port()].map(|port| format!("127.0.0.1:{port}"));
    let printed = blocks_of(README, "sh try").concat();
    assert!(printed.contains("feishu-relay sandbox &\n"), "{printed}");
    // Both on ports of their own, and ended with the shell.
    let lines = printed
        .replace("sandbox &", &format!("sandbox --listen {feishu} &"))
        .replace(
            "[[apps]]",
            &format!("[server]\nlisten = \"{relay}\"\n[[apps]]"),
        )
        .replace("127.0.0.1:9797", &feishu)
        .replace("127.0.0.1:8787", &relay)
        .replace(" &\n", " >log 2>&1 &\npids=\"$pids $!\"\n");
    let lines = format!("pids=\ntrap 'kill $pids; wait' EXIT\n{lines}");
    let program = std::path::Path::new(env!("CARGO_BIN_EXE_feishu-relay"));
    let path = std::env::var("PATH").unwrap_or_default();
    let told = Command::new("sh")
        .args(["-euc", &lines])
        .env_clear()
        .env(
            "PATH",
            format!("{}:{path}", program.parent().unwrap().display()),
        )
        .env("FEISHU_RELAY_URL", format!("http://{relay}"))
        .current_dir(dir.path())
        .output()
        .unwrap();
    let said = said(&told);
    assert!(told.status.success(), "{said}");
    let listed = said.lines().find(|line| line.contains(" firing "));
    assert!(
        listed.is_some_and(|line| line.contains("disk full on db-1")),
        "{said}"
    );
    assert_eq!(said.matches("\"unmatched\":0").count(), 2, "{said}");
}
