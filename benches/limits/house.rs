//! A sandbox with Feishu's own limits and a relay beside it, each a process of its own.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use feishu_sandbox::{DEFAULT_APP_ID, DEFAULT_APP_SECRET};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use super::judge::{Shown, shown};
use super::relay::{BenchError, PATIENCE, Relay, client, file, get, keep};

/// How often the ledger is looked at.
const LOOK: Duration = Duration::from_millis(250);
/// The call of every message here.
const SEND: &str = "POST /open-apis/im/v1/messages";

/// Both processes; dropped, they are killed.
#[derive(Debug)]
pub(crate) struct House {
    folder: TempDir,
    _feishu: Child,
    feishu_url: String,
    relay: Option<Relay>,
    client: reqwest::Client,
    control: reqwest::Client,
    effects: Vec<Value>,
    shown: Vec<Shown>,
}

/// How many messages were sent to Feishu, and how many of them it refused because a window was full.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Calls {
    pub(crate) made: u64,
    pub(crate) limited: u64,
}

/// Unix milliseconds; Feishu and the relay go by the same clock here.
pub(crate) fn now_ms() -> i64 {
    let since = std::time::UNIX_EPOCH.elapsed().unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

impl House {
    /// Starts both. `world`: who lives in the sandbox; its limits stay Feishu's.
    pub(crate) async fn open(binary: &Path, world: &Value) -> Result<House, BenchError> {
        let folder = tempfile::tempdir().map_err(file("a folder"))?;
        keep(folder.path(), "world.json", world)?;
        let (feishu, feishu_url) = feishu(binary, folder.path()).await?;
        let socket = folder.path().join("relay.sock");
        let config = format!(
            "[server]\nlisten = \"unix:{}\"\n[log]\nlevel = \"warn\"\n[store]\npath = \"relay.db\"\n\
             [[apps]]\nname = \"ops\"\napp_id = \"{DEFAULT_APP_ID}\"\napp_secret = \"{DEFAULT_APP_SECRET}\"\n\
             base_url = \"{feishu_url}\"\n",
            socket.display(),
        );
        std::fs::write(folder.path().join("relay.toml"), config).map_err(file("the config"))?;
        let notify = folder.path().join("notify");
        let (relay, word) = Relay::spawn(binary, folder.path(), None, &notify)?;
        word.ready().await?;
        Ok(House {
            client: client(&socket)?,
            control: plain()?,
            folder,
            _feishu: feishu,
            feishu_url,
            relay: Some(relay),
            effects: Vec::new(),
            shown: Vec::new(),
        })
    }

    pub(crate) fn feishu_url(&self) -> &str {
        &self.feishu_url
    }

    /// A client of the relay, for who posts beside.
    pub(crate) fn client(&self) -> reqwest::Client {
        self.client.clone()
    }

    /// What was shown up to the last look.
    pub(crate) fn shown(&self) -> &[Shown] {
        &self.shown
    }

    /// Looks at what was shown since the last look.
    pub(crate) async fn look(&mut self) -> Result<&[Shown], BenchError> {
        let since = self.shown.last().map_or(0, |last| last.seq);
        let mut ledger = self.ledger(since).await?;
        if let Value::Array(effects) = ledger["effects"].take() {
            self.shown.extend(shown(&effects));
            self.effects.extend(effects);
        }
        Ok(&self.shown)
    }

    /// Looks again and again until `enough`, for at most `most`; says whether it was.
    pub(crate) async fn until(
        &mut self,
        most: Duration,
        mut enough: impl FnMut(&[Shown]) -> bool,
    ) -> Result<bool, BenchError> {
        let mut tick = tokio::time::interval(LOOK);
        let begun = Instant::now();
        while begun.elapsed() < most {
            tick.tick().await;
            if enough(self.look().await?) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The calls that Feishu counted, whoever made them.
    pub(crate) async fn calls(&self) -> Result<Calls, BenchError> {
        let ledger = self.ledger(u64::MAX).await?;
        let rows = ledger["calls"].as_array().into_iter().flatten();
        let send = rows.into_iter().find(|row| row["call"] == SEND);
        let number = |name: &str| send.and_then(|row| row[name].as_u64()).unwrap_or(0);
        Ok(Calls {
            made: number("made"),
            limited: number("limited"),
        })
    }

    async fn ledger(&self, since: u64) -> Result<Value, BenchError> {
        let url = format!("{}/_sandbox/ledger?since={since}", self.feishu_url);
        Ok(self.control.get(url).send().await?.json().await?)
    }

    /// How many jobs the relay holds that have not ended.
    pub(crate) async fn pending(&self) -> Result<u64, BenchError> {
        let status = get(&self.client, "/v1/status").await?;
        Ok(status["pending"].as_u64().unwrap_or(u64::MAX))
    }

    /// `kill -9`: from now on nothing is sent.
    pub(crate) fn kill_relay(&mut self) -> Result<(), BenchError> {
        self.relay.take().map_or(Ok(()), Relay::kill)
    }

    /// Keeps ledger, log and database where a person can look at them. Returns where.
    pub(crate) fn keep(self, folder: &Path) -> Result<PathBuf, BenchError> {
        keep(self.folder.path(), "ledger.json", &json!(self.effects))?;
        let _ = std::fs::remove_dir_all(folder);
        std::fs::create_dir_all(folder).map_err(file(folder.display().to_string()))?;
        for name in ["ledger.json", "relay.log", "relay.toml", "relay.db"] {
            let kept = std::fs::copy(self.folder.path().join(name), folder.join(name));
            kept.map_err(file(name))?;
        }
        Ok(folder.to_owned())
    }
}

/// A message as it is posted.
pub(crate) fn message(chat: &str, text: &str, priority: &str) -> Value {
    json!({"kind": "send", "args": {"to": chat, "text": text}, "priority": priority})
}

/// Hands `jobs` to the relay, all or none.
pub(crate) async fn post(relay: &reqwest::Client, jobs: &[Value]) -> Result<(), BenchError> {
    let request = relay.post("http://localhost/v1/jobs").json(&jobs);
    let answer = request.send().await?;
    let status = answer.status();
    let text = answer.text().await?;
    match status.as_u16() {
        202 => Ok(()),
        _ => Err(BenchError::Answer(format!(
            "posting: {status} {}",
            text.chars().take(500).collect::<String>()
        ))),
    }
}

pub(crate) fn plain() -> Result<reqwest::Client, BenchError> {
    Ok(reqwest::Client::builder()
        .no_proxy()
        .timeout(PATIENCE)
        .build()?)
}

/// Starts the sandbox, and reads from it where it is.
async fn feishu(binary: &Path, folder: &Path) -> Result<(Child, String), BenchError> {
    let mut child = Command::new(binary)
        .args(["sandbox", "--listen", "127.0.0.1:0", "--seed"])
        .arg(folder.join("world.json"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .map_err(file("the sandbox"))?;
    let silent = || BenchError::Answer(String::from("the sandbox does not say where it is"));
    let out = child.stdout.take().ok_or_else(silent)?;
    let mut lines = BufReader::new(out).lines();
    let first = tokio::time::timeout(PATIENCE, lines.next_line()).await;
    let line = first.map_err(|_| silent())?.map_err(file("the sandbox"))?;
    let url = line
        .as_deref()
        .and_then(|line| line.split_whitespace().nth(1));
    let url = url.ok_or_else(silent)?.to_owned();
    // Its other lines are read, so that it is never held up by them.
    tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
    Ok((child, url))
}
