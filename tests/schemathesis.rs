//! Strangers' requests, thousands of them, made from the relay's own description by schemathesis: no
//! 5xx but 503, and no answer outside the document.
//!
//! It needs Python. Where there is none the test says so and passes, unless
//! `FEISHU_RELAY_REQUIRE_PYTHON` is set, as in CI. What it installs stays below `target/`.
#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test stops where it cannot go on, and says what was left out"
)]

mod support;

use std::path::{Path, PathBuf};
use std::process::Command;

use support::House;

const VERSION: &str = "4.32.5";

/// What every answer is held against.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,\
                      response_headers_conformance,response_schema_conformance,unsupported_method,\
                      allow_header_conformance";

/// 503 is the one answer of the server's own that is no fault.
const SETTINGS: &str =
    "[checks.not_a_server_error]\nexpected-statuses = [\"2xx\", \"3xx\", \"4xx\", 503]\n";

/// The Python that has schemathesis; `None`: there is no Python, and none is asked for.
fn python() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("schemathesis-{VERSION}"));
    let python = folder.join("bin/python");
    let is_there = |python: &Path| {
        let asked = Command::new(python)
            .args(["-m", "pip", "show", "schemathesis"])
            .output();
        asked.is_ok_and(|told| {
            String::from_utf8_lossy(&told.stdout).contains(&format!("Version: {VERSION}\n"))
        })
    };
    if is_there(&python) {
        return Some(python);
    }
    let steps = [
        ("python3", vec!["-m", "venv", folder.to_str().unwrap()]),
        (
            python.to_str().unwrap(),
            vec![
                "-m",
                "pip",
                "install",
                "--quiet",
                "--disable-pip-version-check",
            ],
        ),
    ];
    let package = format!("schemathesis=={VERSION}");
    for (n, (program, mut args)) in steps.into_iter().enumerate() {
        if n == 1 {
            args.push(&package);
        }
        let done = Command::new(program).args(&args).output();
        let trouble = match &done {
            Ok(done) if done.status.success() => continue,
            Ok(done) => String::from_utf8_lossy(&done.stderr).into_owned(),
            Err(error) => error.to_string(),
        };
        let required = std::env::var_os("FEISHU_RELAY_REQUIRE_PYTHON").is_some();
        assert!(!required, "{program} {args:?}: {trouble}");
        eprintln!("left out: schemathesis, for want of Python: {program} {args:?}: {trouble}");
        return None;
    }
    assert!(
        is_there(&python),
        "{package} was installed and is not there"
    );
    Some(python)
}

#[tokio::test]
async fn no_answer_to_a_stranger_is_outside_the_document() {
    let Some(python) = python() else { return };
    let mut house = House::without_relay(None, "").await;
    let more = house
        .config()
        .replace("listen = \"unix:", "listen = [\"127.0.0.1:0\", \"unix:");
    let more = more.replace("relay.sock\"", "relay.sock\"]");
    // A line for each of some thousand requests tells nobody anything.
    house.set_config(more.replace("level = \"debug\"", "level = \"info\""));
    house.start();
    let log = house.log();
    let address = log.split("listening on ").nth(1).unwrap();
    let address = address.split(',').next().unwrap().trim().to_owned();
    let settings = house.dir.path().join("schemathesis.toml");
    std::fs::write(&settings, SETTINGS).unwrap();
    let mut run = Command::new(python);
    run.args(["-m", "schemathesis.cli", "--config-file"])
        .arg(&settings)
        .args(["run", &format!("http://{address}/openapi.json")])
        .args(["--checks", CHECKS, "--max-examples", "25"])
        .args(["--phases", "examples,coverage,fuzzing,stateful"])
        .args(["--generation-deterministic", "--no-color"])
        // A stream does not end, and this waits for the end of each answer.
        .args(["--exclude-path", "/v1/events"])
        .current_dir(house.dir.path());
    let told = tokio::task::spawn_blocking(move || run.output())
        .await
        .unwrap()
        .unwrap();
    let said = String::from_utf8_lossy(&told.stdout);
    assert!(
        told.status.success(),
        "{said}\n{}",
        String::from_utf8_lossy(&told.stderr)
    );
    let tested = said.split("Tested: ").nth(1).and_then(|rest| {
        let end = rest.find(|c: char| !c.is_ascii_digit())?;
        rest[..end].parse::<usize>().ok()
    });
    assert!(tested >= Some(15), "{said}");
    house.stop();
}
