//! The relay as a process, for the benches: started, heard of when it is ready, asked, killed.
//!
//! Shared by `torture` and `limits`. Not here: the Feishu it speaks to, and its clocks.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;

/// The relay that was built with the benches.
pub(crate) const RELAY: &str = env!("CARGO_BIN_EXE_feishu-relay");
/// The longest that one thing is waited for. The machine may have a lot to do besides.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Why a run could not be carried out; it says nothing about the relay's promises.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BenchError {
    #[error("{what}: {source}")]
    File { what: String, source: io::Error },
    #[error("the sandbox does not start: {0}")]
    Sandbox(#[from] feishu_sandbox::StartError),
    #[error("no answer: {0}")]
    Call(#[from] reqwest::Error),
    #[error("the relay does not start; its log ends with:\n{0}")]
    NotReady(String),
    #[error("{0}")]
    Answer(String),
}

pub(crate) fn file(what: impl Into<String>) -> impl FnOnce(io::Error) -> BenchError {
    let what = what.into();
    |source| BenchError::File { what, source }
}

/// One process of the relay. Dropped, it is killed.
#[derive(Debug)]
pub(crate) struct Relay {
    child: Child,
    log: PathBuf,
}

/// What a relay that begins will say.
#[derive(Debug)]
pub(crate) struct Word {
    said: UnixDatagram,
    log: PathBuf,
}

impl Relay {
    /// Starts `binary` with `relay.toml` and `relay.log` of `folder`; `clock` moves its clocks. It is not ready when
    /// this returns: its word is. `notify`: a short path, where it says so.
    pub(crate) fn spawn(
        binary: &Path,
        folder: &Path,
        clock: Option<&Path>,
        notify: &Path,
    ) -> Result<(Relay, Word), BenchError> {
        let _ = std::fs::remove_file(notify);
        let said = UnixDatagram::bind(notify).map_err(file("the socket for readiness"))?;
        said.set_read_timeout(Some(PATIENCE))
            .map_err(file("the socket for readiness"))?;
        let log = folder.join("relay.log");
        let lines = OpenOptions::new().create(true).append(true).open(&log);
        let child = Command::new(binary)
            .args(["serve", "--config"])
            .arg(folder.join("relay.toml"))
            .env_clear()
            .envs(clock.map(|clock| ("FEISHU_RELAY_TEST_CLOCK", clock)))
            .env("NOTIFY_SOCKET", notify)
            .stdout(Stdio::null())
            .stderr(lines.map_err(file("the relay's log"))?)
            .spawn()
            .map_err(file("the relay"))?;
        let word = Word {
            said,
            log: log.clone(),
        };
        Ok((Relay { child, log }, word))
    }

    /// `kill -9`.
    ///
    /// # Errors
    /// `Answer`: it had ended before, by itself.
    pub(crate) fn kill(mut self) -> Result<(), BenchError> {
        if let Ok(Some(status)) = self.child.try_wait() {
            let end = log_end(&self.log);
            return Err(BenchError::Answer(format!(
                "the relay ended by itself ({status}); its log ends with:\n{end}"
            )));
        }
        self.child.kill().map_err(file("kill -9"))?;
        self.child.wait().map_err(file("the end of the relay"))?;
        Ok(())
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Word {
    /// Waits for the word that systemd would get.
    pub(crate) async fn ready(self) -> Result<(), BenchError> {
        let said = self.said;
        let heard = tokio::task::spawn_blocking(move || {
            let mut word = [0; 256];
            loop {
                let n = said.recv(&mut word)?;
                if String::from_utf8_lossy(&word[..n]).contains("READY=1") {
                    return io::Result::Ok(());
                }
            }
        });
        match heard.await {
            Ok(Ok(())) => Ok(()),
            _ => Err(BenchError::NotReady(log_end(&self.log))),
        }
    }
}

fn log_end(log: &Path) -> String {
    let log = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(20)..].join("\n")
}

/// A client of the relay on `socket`.
pub(crate) fn client(socket: &Path) -> Result<reqwest::Client, BenchError> {
    let client = reqwest::Client::builder()
        .no_proxy()
        .pool_max_idle_per_host(0);
    Ok(client.unix_socket(socket).timeout(PATIENCE).build()?)
}

/// Asks the relay, which must answer with 200.
pub(crate) async fn get(relay: &reqwest::Client, path: &str) -> Result<Value, BenchError> {
    let answer = relay.get(format!("http://localhost{path}")).send().await?;
    let status = answer.status();
    let text = answer.text().await?;
    match serde_json::from_str(&text) {
        Ok(value) if status.is_success() => Ok(value),
        _ => Err(BenchError::Answer(format!("{path}: {status} {text}"))),
    }
}

/// Keeps `value` in `folder`.
pub(crate) fn keep(folder: &Path, name: &str, value: &Value) -> Result<(), BenchError> {
    let path = folder.join(name);
    let write = File::create(&path).and_then(|file| Ok(serde_json::to_writer_pretty(file, value)?));
    write.map_err(file(path.display().to_string()))
}
