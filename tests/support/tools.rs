//! Programs of others that a test runs: they are here, or it is said plainly what is missing.

use std::path::PathBuf;
use std::process::Command;

/// Debian's packages that bring `prometheus-alertmanager` with `amtool`, and `promtool`.
const PACKAGES: &str = "prometheus-alertmanager prometheus";

/// The program of that name, from the path. `None`: it is missing, and none is asked for.
#[expect(clippy::print_stderr, reason = "a test says what it left out")]
pub fn tool(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path)
        .map(|folder| folder.join(name))
        .find(|file| file.is_file());
    if found.is_none() {
        let said = format!("{name} is missing: apt-get install {PACKAGES}");
        let required = ["CI", "FEISHU_RELAY_REQUIRE_PROMETHEUS"]
            .iter()
            .any(|name| std::env::var_os(name).is_some_and(|value| !value.is_empty()));
        assert!(!required, "{said}");
        eprintln!("left out: {said}");
    }
    found
}

/// Runs a tool in a folder; returns what it said. It must end well.
pub fn ran(command: &mut Command) -> String {
    let told = command.output().unwrap();
    let both = [told.stdout.as_slice(), told.stderr.as_slice()].concat();
    let said = String::from_utf8_lossy(&both).into_owned();
    assert!(
        told.status.success(),
        "{command:?}: {}\n{said}",
        told.status
    );
    said
}
