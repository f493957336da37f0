//! The SDKs as their registries have them, of one version each, installed once below `target/`.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

const PYTHON: &str = "1.7.5";
const NODE: &str = "1.74.0";

/// An SDK at hand.
#[derive(Debug, Clone)]
pub(crate) struct Sdk {
    program: PathBuf,
    script: PathBuf,
    folder: PathBuf,
    pub(crate) language: &'static str,
}

impl Sdk {
    /// The scenario, ready to be started.
    pub(crate) fn command(&self) -> tokio::process::Command {
        let mut command = tokio::process::Command::new(&self.program);
        command.arg(&self.script).current_dir(&self.folder);
        command
    }
}

/// Python with `lark-oapi`; `None`: there is no Python, and none is asked for.
pub(crate) fn python() -> Option<Sdk> {
    let package = format!("lark-oapi=={PYTHON}");
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("lark-oapi-{PYTHON}"));
    let program = folder.join("bin/python");
    let words = ["-m", "pip", "install", "--quiet", &package];
    let steps = [
        command("python3", &["-m", "venv", folder.to_str()?]),
        command(program.to_str()?, &words),
    ];
    installed("Python", &folder, steps.into())?;
    Some(Sdk {
        program,
        script: here("scenario.py"),
        folder,
        language: "Python",
    })
}

/// Node with `@larksuiteoapi/node-sdk`, likewise.
pub(crate) fn node() -> Option<Sdk> {
    let package = format!("@larksuiteoapi/node-sdk@{NODE}");
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("node-sdk-{NODE}"));
    let words = ["install", "--silent", "--no-audit", "--no-fund", "--prefix"];
    let mut install = command("npm", &words);
    install.arg(&folder).arg(&package);
    installed("Node", &folder, vec![install])?;
    Some(Sdk {
        program: "node".into(),
        script: here("scenario.mjs"),
        folder,
        language: "Node",
    })
}

fn here(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/sdk")
        .join(name)
}

fn command(program: &str, words: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(words);
    command
}

/// Takes the steps unless they were all taken before. Tests of many processes wait for one another.
#[expect(clippy::print_stderr, reason = "a test says what it left out")]
fn installed(language: &str, folder: &Path, steps: Vec<Command>) -> Option<()> {
    std::fs::create_dir_all(folder).unwrap();
    let lock = File::create(folder.with_extension("lock")).unwrap();
    lock.lock().unwrap();
    let whole = folder.join("whole");
    if whole.exists() {
        return Some(());
    }
    for mut step in steps {
        let done = step.output();
        let trouble = match &done {
            Ok(done) if done.status.success() => continue,
            Ok(done) => String::from_utf8_lossy(&done.stderr).into_owned(),
            Err(error) => error.to_string(),
        };
        let required = std::env::var_os("FEISHU_RELAY_REQUIRE_PYTHON").is_some();
        assert!(
            !(required && language == "Python"),
            "{step:?} failed: {trouble}"
        );
        eprintln!("left out: the SDK's scenario, for want of {language}: {step:?}: {trouble}");
        return None;
    }
    File::create(whole).unwrap();
    Some(())
}
