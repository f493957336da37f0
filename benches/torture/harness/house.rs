//! The relay as a process, the sandbox beside it, and the clocks that both follow.
//!
//! The clocks: Feishu's is time itself. The relay's wall clock may be set; its boot clock begins again
//! with each boot. `Clocks` writes down every change, so that ages can be judged afterwards.

use std::path::{Path, PathBuf};
use std::time::Duration;

use feishu_sandbox::{DEFAULT_APP_ID, DEFAULT_APP_SECRET, Options, Sandbox, Seed};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::plan::{self, Move, SHORT_MS};
pub(crate) use super::relay::{BenchError as TortureError, PATIENCE, client, get, keep};
use super::relay::{Relay, Word, file};

/// One setting of the relay's clocks, from a moment of Feishu's on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Setting {
    /// Feishu's time.
    pub(crate) from_ms: i64,
    /// How far the relay's wall clock is ahead of Feishu's.
    pub(crate) wall_ms: i64,
    /// How many boots there were before.
    pub(crate) boots: u32,
}

/// The clocks as they stand, and how they came to.
#[derive(Clone, Debug, Default)]
pub(crate) struct Clocks {
    /// How far Feishu's clock is ahead of real time.
    ahead_ms: i64,
    wall_ms: i64,
    boot_ms: i64,
    boots: u32,
    pub(crate) settings: Vec<Setting>,
}

impl Clocks {
    /// Feishu's time.
    pub(crate) fn now_ms(&self) -> i64 {
        let since = std::time::UNIX_EPOCH.elapsed().unwrap_or_default();
        i64::try_from(since.as_millis()).unwrap_or(i64::MAX) + self.ahead_ms
    }

    fn note(&mut self) {
        self.settings.push(Setting {
            from_ms: self.now_ms(),
            wall_ms: self.wall_ms,
            boots: self.boots,
        });
    }

    /// As the relay's test clock reads it.
    fn text(&self) -> String {
        format!(
            "wall={}ms boot={}ms boot_id=boot-{}",
            self.ahead_ms + self.wall_ms,
            self.boot_ms,
            self.boots
        )
    }
}

/// Everything that one run needs, in one folder.
pub(crate) struct House {
    pub(crate) folder: PathBuf,
    binary: PathBuf,
    /// A short path: a socket's name has little room.
    sockets: TempDir,
    feishu: Option<Sandbox>,
    feishu_url: String,
    relay: Option<Relay>,
    pub(crate) clocks: Clocks,
    control: reqwest::Client,
}

impl House {
    /// Starts Feishu; the relay does not run yet.
    pub(crate) async fn open(
        folder: &Path,
        binary: &Path,
        limits: bool,
    ) -> Result<House, TortureError> {
        std::fs::create_dir_all(folder).map_err(file(folder.display().to_string()))?;
        let seed = Seed::from_json(&plan::world(limits).to_string())
            .map_err(|error| TortureError::Answer(format!("the world is wrong: {error}")))?;
        let feishu = feishu_sandbox::start(Options {
            listen: std::net::SocketAddr::from(([127, 0, 0, 1], 0)),
            state: Some(folder.join("feishu.state")),
            seed: Some(seed),
        })
        .await?;
        let feishu_url = feishu.url();
        let sockets = tempfile::tempdir().map_err(file("a folder for the sockets"))?;
        let mut house = House {
            folder: folder.to_owned(),
            binary: binary.to_owned(),
            sockets,
            feishu: Some(feishu),
            feishu_url,
            relay: None,
            clocks: Clocks::default(),
            control: reqwest::Client::builder()
                .no_proxy()
                .timeout(PATIENCE)
                .build()?,
        };
        let config = house.config(limits);
        std::fs::write(folder.join("relay.toml"), config).map_err(file("the config"))?;
        house.write_clock()?;
        Ok(house)
    }

    fn config(&self, limits: bool) -> String {
        let off = "limits = { app_minute = 0, app_second = 0, chat_second = 0, user_second = 0 }\n";
        format!(
            "[server]\nlisten = \"unix:{}\"\n[log]\nlevel = \"debug\"\n[store]\npath = \"relay.db\"\n\
             [[apps]]\nname = \"ops\"\napp_id = \"{DEFAULT_APP_ID}\"\napp_secret = \"{DEFAULT_APP_SECRET}\"\n\
             base_url = \"{}\"\ntimeout = \"1s\"\nbudget = {{ urgent_sms = 100000, urgent_phone = 100000 }}\n{}",
            self.socket().display(),
            self.feishu_url,
            if limits { "" } else { off },
        )
    }

    /// Where the relay listens.
    pub(crate) fn socket(&self) -> PathBuf {
        self.sockets.path().join("relay.sock")
    }

    /// Starts the relay. It is not ready when this returns: its word is waited for.
    pub(crate) fn spawn(&mut self) -> Result<Word, TortureError> {
        let (clock, notify) = (self.clock_file(), self.sockets.path().join("notify"));
        let (relay, word) = Relay::spawn(&self.binary, &self.folder, Some(&clock), &notify)?;
        self.relay = Some(relay);
        Ok(word)
    }

    /// `kill -9`.
    ///
    /// # Errors
    /// `Answer`: it had ended before, by itself.
    pub(crate) fn kill(&mut self) -> Result<(), TortureError> {
        self.relay.take().map_or(Ok(()), Relay::kill)
    }

    fn clock_file(&self) -> PathBuf {
        self.folder.join("clock")
    }

    fn write_clock(&mut self) -> Result<(), TortureError> {
        let draft = self.folder.join("clock.new");
        std::fs::write(&draft, self.clocks.text()).map_err(file("the clock"))?;
        std::fs::rename(draft, self.clock_file()).map_err(file("the clock"))?;
        self.clocks.note();
        Ok(())
    }

    /// Feishu is gone: connections are refused. A call that it works on is over when this returns.
    pub(crate) async fn feishu_down(&mut self) {
        if let Some(feishu) = self.feishu.take() {
            feishu.stop().await;
        }
    }

    /// It is back, with all that it knew and its clock where it should stand; no faults.
    pub(crate) async fn feishu_up(&mut self) -> Result<(), TortureError> {
        if self.feishu.is_some() {
            return Ok(());
        }
        let address = self.feishu_url.trim_start_matches("http://").parse();
        let Ok(listen) = address else {
            return Err(TortureError::Answer(format!(
                "{} is no address",
                self.feishu_url
            )));
        };
        let options = Options {
            listen,
            state: Some(self.folder.join("feishu.state")),
            seed: None,
        };
        self.feishu = Some(feishu_sandbox::start(options).await?);
        self.set_feishu_clock().await
    }

    /// Moves clocks. `relay`: what to ask the relay with, when it runs; then this returns once the
    /// relay goes by the new time.
    ///
    /// A long move stops Feishu first and starts it last: no call that was sent before it is carried
    /// out after it, as if Feishu had worked on it for an hour.
    pub(crate) async fn travel(
        &mut self,
        by: Move,
        relay: Option<&reqwest::Client>,
    ) -> Result<(), TortureError> {
        let was_up = self.feishu.is_some();
        match by {
            Move::Forward { ms } => {
                if ms >= SHORT_MS {
                    self.feishu_down().await;
                }
                self.clocks.ahead_ms += ms;
                self.clocks.boot_ms += ms;
            }
            Move::Wall { ms } => self.clocks.wall_ms += ms,
            Move::Reboot { ms } => {
                self.clocks.ahead_ms += ms;
                self.clocks.boot_ms = 0;
                self.clocks.boots += 1;
            }
        }
        self.write_clock()?;
        if let Some(relay) = relay {
            self.seen(relay).await?;
        }
        match was_up {
            true if self.feishu.is_none() => self.feishu_up().await,
            true => self.set_feishu_clock().await,
            false => Ok(()),
        }
    }

    /// A wall clock that was wrong is right again.
    pub(crate) fn right_wall(&mut self) -> Result<(), TortureError> {
        if self.clocks.wall_ms == 0 {
            return Ok(());
        }
        self.clocks.wall_ms = 0;
        self.write_clock()
    }

    /// The relay looks at its clock once a second.
    async fn seen(&self, relay: &reqwest::Client) -> Result<(), TortureError> {
        let mut tick = tokio::time::interval(Duration::from_millis(20));
        let deadline = std::time::Instant::now() + PATIENCE;
        while std::time::Instant::now() < deadline {
            tick.tick().await;
            let status = get(relay, "/v1/status").await?;
            let now: Option<jiff::Timestamp> =
                status["now"].as_str().and_then(|now| now.parse().ok());
            let wall_ms = self.clocks.now_ms() + self.clocks.wall_ms;
            if now.is_some_and(|now| (now.as_millisecond() - wall_ms).abs() < 400) {
                return Ok(());
            }
        }
        Err(TortureError::Answer(
            "the relay does not follow its clock".into(),
        ))
    }

    async fn set_feishu_clock(&self) -> Result<(), TortureError> {
        let url = format!("{}/_sandbox/clock", self.feishu_url);
        let answer: Value = self.control.get(&url).send().await?.json().await?;
        let by = self.clocks.now_ms() - answer["now"].as_i64().unwrap_or(0);
        let body = json!({"advance": format!("{by}ms")});
        self.control
            .post(&url)
            .json(&body)
            .send()
            .await?
            .error_for_status()?;
        Ok(())
    }

    /// The sandbox's faults from now on.
    pub(crate) async fn faults(&self, rules: &Value) -> Result<(), TortureError> {
        let url = format!("{}/_sandbox/faults", self.feishu_url);
        let answer = self.control.post(url).json(rules).send().await?;
        if !answer.status().is_success() {
            return Err(TortureError::Answer(format!(
                "faults: {}",
                answer.text().await?
            )));
        }
        Ok(())
    }

    /// What people saw, after the effect `since`, and the counts of calls.
    pub(crate) async fn ledger(&self, since: u64) -> Result<Value, TortureError> {
        let url = format!("{}/_sandbox/ledger?since={since}", self.feishu_url);
        Ok(self.control.get(url).send().await?.json().await?)
    }

    /// How many calls reached Feishu; none while it is away.
    pub(crate) async fn calls(&self) -> u64 {
        let Ok(ledger) = self.ledger(u64::MAX).await else {
            return 0;
        };
        sum(&ledger, "made")
    }
}

/// The sum over all calls of one of the ledger's counts.
pub(crate) fn sum(ledger: &Value, name: &str) -> u64 {
    let calls = ledger["calls"].as_array().into_iter().flatten();
    calls.filter_map(|call| call[name].as_u64()).sum()
}

/// All jobs that `filter` finds, newest first.
pub(crate) async fn list(
    relay: &reqwest::Client,
    filter: &str,
) -> Result<Vec<Value>, TortureError> {
    let mut jobs = Vec::new();
    let mut cursor = String::new();
    loop {
        let mut page = get(relay, &format!("/v1/jobs?limit=200&{filter}{cursor}")).await?;
        if let Value::Array(more) = page["jobs"].take() {
            jobs.extend(more);
        }
        match &page["next_cursor"] {
            Value::Null => return Ok(jobs),
            Value::String(next) => cursor = format!("&cursor={next}"),
            next => cursor = format!("&cursor={next}"),
        }
    }
}
