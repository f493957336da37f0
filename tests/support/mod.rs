//! A house for tests: the real binary on a database of its own, the sandbox beside it as the judge.
//!
//! Nothing here sleeps: readiness is the notification that systemd would get, settlement is the
//! relay's own `?wait`, and hours pass by moving both clocks.
#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test file uses a part of it"
)]
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on should stop here"
)]

pub mod alerts;
pub mod form;
pub mod jobs;
pub mod openapis;
mod planted;
pub mod stream;
pub mod tools;

use std::io::{Read, Write};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::OnceLock;
use std::time::Duration;

use feishu_sandbox::{Options, Sandbox, Seed};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};

use planted::Planted;

/// The longest that anything here is waited for.
const PATIENCE: Duration = Duration::from_secs(60);

/// The relay, the sandbox, and the folder that holds what they keep.
pub struct House {
    pub dir: TempDir,
    pub sandbox: Option<Sandbox>,
    pub feishu: String,
    relay: Option<Child>,
    /// What the relay tells systemd.
    said: Option<UnixDatagram>,
    http: reqwest::Client,
    config: String,
    moved_ms: i64,
    planted: Planted,
    /// Words before those of the binary: where, and as whom, it runs.
    pub before: Vec<String>,
}

impl House {
    /// The default world of the sandbox, and a relay with default settings.
    pub async fn new() -> House {
        House::with(None, "").await
    }

    /// `seed`: the sandbox's world. `more`: lines put behind the config's `[[apps]]`.
    pub async fn with(seed: Option<Value>, more: &str) -> House {
        let mut house = House::without_relay(seed, more).await;
        house.start();
        house
    }

    /// The same, the relay not started yet.
    pub async fn without_relay(seed: Option<Value>, more: &str) -> House {
        let dir = tempfile::tempdir().unwrap();
        let seed = seed.map(|seed| Seed::from_json(&seed.to_string()).unwrap());
        let options = Options {
            listen: "127.0.0.1:0".parse().unwrap(),
            state: Some(dir.path().join("feishu.state")),
            seed,
        };
        let sandbox = feishu()
            .spawn(feishu_sandbox::start(options))
            .await
            .unwrap()
            .unwrap();
        let feishu = sandbox.url().trim_end_matches('/').to_owned();
        let config = config(&dir, &feishu, "sandbox-secret", more);
        let http = reqwest::Client::builder()
            .no_proxy()
            .pool_max_idle_per_host(0)
            .unix_socket(dir.path().join("relay.sock"))
            .timeout(PATIENCE)
            .build()
            .unwrap();
        std::fs::write(dir.path().join("clock"), "0s").unwrap();
        House {
            dir,
            sandbox: Some(sandbox),
            feishu,
            relay: None,
            said: None,
            http,
            config,
            moved_ms: 0,
            planted: Planted::default(),
            before: Vec::new(),
        }
    }

    /// Starts the relay and waits until it says that it is ready.
    pub fn start(&mut self) {
        let (mut child, said) = self.spawn(&[]);
        let mut word = [0; 256];
        loop {
            match said.recv(&mut word) {
                Ok(n) if String::from_utf8_lossy(&word[..n]).contains("READY=1") => break,
                Ok(_) => {}
                // Another child of the test has ended.
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(_) => {
                    let _ = child.kill();
                    panic!("the relay did not become ready: {}", self.log());
                }
            }
        }
        self.relay = Some(child);
        self.said = Some(said);
    }

    /// Asks for a reload of the config as it is here, and waits until it is over. Returns what systemd
    /// heard meanwhile.
    pub fn reload(&mut self) -> String {
        self.hear_all();
        self.write_config();
        self.signal("HUP");
        let mut heard = String::new();
        let mut word = [0; 256];
        while !(heard.contains("RELOADING=1") && heard.ends_with("READY=1\n")) {
            let n = self.said.as_ref().unwrap().recv(&mut word).unwrap();
            heard.push_str(String::from_utf8_lossy(&word[..n]).trim_end());
            heard.push('\n');
        }
        heard
    }

    /// Takes what the relay told systemd meanwhile; too much of it unheard would make it wait.
    pub fn hear_all(&self) {
        let said = self.said.as_ref().unwrap();
        said.set_nonblocking(true).unwrap();
        while said.recv(&mut [0; 256]).is_ok() {}
        said.set_nonblocking(false).unwrap();
    }

    /// Sends the relay a signal.
    pub fn signal(&self, name: &str) {
        let pid = self.pid().to_string();
        let sent = Command::new("kill").args(["-s", name, &pid]).status();
        assert!(sent.unwrap().success());
    }

    /// Writes the config as it is here; the relay reads it at its next start or reload.
    pub fn write_config(&self) -> PathBuf {
        let path = self.dir.path().join("relay.toml");
        std::fs::write(&path, &self.config).unwrap();
        self.planted.secrets(&self.config);
        path
    }

    fn spawn(&self, more: &[&str]) -> (Child, UnixDatagram) {
        let path = self.write_config();
        let notify = self.dir.path().join("notify.sock");
        let _ = std::fs::remove_file(&notify);
        let said = UnixDatagram::bind(&notify).unwrap();
        said.set_read_timeout(Some(PATIENCE)).unwrap();
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.dir.path().join("log"))
            .unwrap();
        let child = self
            .binary()
            .args(["serve", "--config"])
            .arg(&path)
            .args(more)
            .env("NOTIFY_SOCKET", &notify)
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        (child, said)
    }

    /// The binary, its clock moved as the sandbox's is.
    pub fn binary(&self) -> Command {
        let binary = String::from(env!("CARGO_BIN_EXE_feishu-relay"));
        let mut words = self.before.iter().chain([&binary]);
        let mut command = Command::new(words.next().unwrap());
        command
            .args(words)
            .env_clear()
            .env("PATH", std::env::var("PATH").unwrap_or_default())
            .env("FEISHU_RELAY_TEST_CLOCK", self.dir.path().join("clock"))
            .env(
                "FEISHU_RELAY_URL",
                format!("unix:{}", self.dir.path().join("relay.sock").display()),
            );
        command
    }

    /// What the relay wrote to its log.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    pub fn pid(&self) -> u32 {
        self.relay.as_ref().unwrap().id()
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        let mut relay = self.relay.take().unwrap();
        relay.kill().unwrap();
        relay.wait().unwrap();
        self.judge_log();
    }

    /// SIGTERM, and wait for the end.
    pub fn stop(&mut self) {
        if self.relay.is_some() {
            self.judge_metrics();
            self.signal("TERM");
            self.ended();
        }
    }

    /// Waits for the end that was asked for.
    pub fn ended(&mut self) {
        let mut relay = self.relay.take().unwrap();
        let status = relay.wait().unwrap();
        assert!(
            status.success(),
            "the relay ended with {status}: {}",
            self.log()
        );
        self.judge_log();
    }

    pub fn restart(&mut self) {
        self.stop();
        self.start();
    }

    /// Another secret in the config; takes effect at the next start or reload.
    pub fn set_secret(&mut self, secret: &str) {
        self.config = config(&self.dir, &self.feishu, secret, "");
    }

    pub fn set_config(&mut self, config: String) {
        self.config = config;
    }

    pub fn config(&self) -> &str {
        &self.config
    }

    /// From the next start on the relay also listens there, for programs that know no unix sockets.
    pub fn listen_on(&mut self, port: u16) {
        let socket = format!("\"unix:{}\"", self.socket().display());
        let both = format!("[\"127.0.0.1:{port}\", {socket}]");
        self.config = self.config.replacen(&socket, &both, 1);
    }

    /// The file of its unix socket.
    pub fn socket(&self) -> PathBuf {
        self.dir.path().join("relay.sock")
    }

    pub fn database(&self) -> PathBuf {
        self.dir.path().join("relay.db")
    }

    /// Feishu goes away: connections are refused.
    pub async fn feishu_down(&mut self) {
        let sandbox = self.sandbox.take().unwrap();
        feishu().spawn(sandbox.stop()).await.unwrap();
    }

    /// Feishu is back, on the same address, with all that it knew.
    pub async fn feishu_up(&mut self) {
        let listen = self.feishu.trim_start_matches("http://").parse().unwrap();
        let options = Options {
            listen,
            state: Some(self.dir.path().join("feishu.state")),
            seed: None,
        };
        self.sandbox = Some(
            feishu()
                .spawn(feishu_sandbox::start(options))
                .await
                .unwrap()
                .unwrap(),
        );
        if self.moved_ms != 0 {
            let now = self.control("clock", json!({"advance": "0s"})).await;
            assert!(now["now"].is_i64());
        }
    }

    /// Moves the relay's clocks, and the sandbox's when it is there.
    pub async fn advance(&mut self, by: Duration) {
        self.moved_ms += i64::try_from(by.as_millis()).unwrap();
        self.set_clock(&format!("{}ms", self.moved_ms));
        if self.sandbox.is_some() {
            self.control("clock", json!({"advance": format!("{}ms", by.as_millis())}))
                .await;
        }
        // The relay looks at its clock once a second.
        if self.relay.is_some() {
            let due_ms = unix_ms() + self.moved_ms - 1000;
            let moved = |status: &Value| millis(&status["now"]) >= due_ms;
            self.until("/v1/status", moved).await;
        }
    }

    /// Writes the relay's test clock as it stands there.
    pub fn set_clock(&self, text: &str) {
        let draft = self.dir.path().join("clock.new");
        std::fs::write(&draft, text).unwrap();
        std::fs::rename(draft, self.dir.path().join("clock")).unwrap();
    }

    pub async fn control(&self, what: &str, body: Value) -> Value {
        let answer = plain()
            .post(format!("{}/_sandbox/{what}", self.feishu))
            .json(&body)
            .send()
            .await
            .unwrap();
        let status = answer.status();
        let text = answer.text().await.unwrap();
        assert!(status.is_success(), "{what}: {status} {text}");
        serde_json::from_str(&text).unwrap()
    }

    pub async fn faults(&self, rules: Value) {
        self.control("faults", rules).await;
    }

    pub async fn ledger(&self) -> Value {
        plain()
            .get(format!("{}/_sandbox/ledger", self.feishu))
            .send()
            .await
            .unwrap()
            .json()
            .await
            .unwrap()
    }

    /// The effects of that name, in order.
    pub async fn effects(&self, name: &str) -> Vec<Value> {
        let ledger = self.ledger().await;
        ledger["effects"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|effect| effect["effect"] == name)
            .cloned()
            .collect()
    }

    /// How often a call was made, as the ledger says.
    pub async fn calls(&self, call: &str) -> Value {
        let ledger = self.ledger().await;
        ledger["calls"]
            .as_array()
            .unwrap()
            .iter()
            .find(|one| one["call"] == call)
            .cloned()
            .unwrap_or(Value::Null)
    }

    pub async fn request(&self, method: &str, path: &str, body: Option<Value>) -> (u16, Value) {
        let method = method.parse().unwrap();
        let mut request = self.http.request(method, format!("http://localhost{path}"));
        if let Some(body) = body {
            self.planted.content(&body);
            request = request.json(&body);
        }
        let (status, text) = self.send(request).await;
        (
            status,
            serde_json::from_str(&text).unwrap_or(Value::String(text)),
        )
    }

    /// Posts these bytes as jobs, whatever they are; `words` stand in them as content.
    pub async fn post_bytes(&self, media: &str, body: Vec<u8>, words: &[&str]) -> (u16, String) {
        words.iter().for_each(|word| self.planted.word(word));
        let request = self.http.post("http://localhost/v1/jobs");
        self.send(request.header("content-type", media).body(body))
            .await
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> (u16, String) {
        let answer = request.send().await.unwrap();
        let status = answer.status().as_u16();
        let text = answer.text().await.unwrap();
        if status >= 400 {
            self.planted.judge("an error", &text);
        }
        (status, text)
    }

    /// No log may hold a secret or what a message says.
    pub fn judge_log(&self) {
        self.planted.secrets(&self.config);
        self.planted.judge("the log", &self.log());
    }

    /// Nor may the metrics; a relay that does not answer any more has none.
    fn judge_metrics(&self) {
        let ask = || {
            let mut relay = UnixStream::connect(self.dir.path().join("relay.sock"))?;
            relay.set_read_timeout(Some(Duration::from_secs(5)))?;
            relay.write_all(
                b"GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n",
            )?;
            let mut text = String::new();
            relay.read_to_string(&mut text).map(|_| text)
        };
        if let Ok(text) = ask() {
            self.planted.secrets(&self.config);
            self.planted.judge("/metrics", &text);
        }
    }

    /// Posts a job, or jobs; they must be taken.
    pub async fn post(&self, body: Value) -> Value {
        let (status, answer) = self.request("POST", "/v1/jobs", Some(body)).await;
        assert!(status == 202 || status == 200, "{status}: {answer}");
        answer
    }

    pub async fn act(&self, id: &str, what: &str, body: Option<Value>) -> (u16, Value) {
        self.request("POST", &format!("/v1/jobs/{id}/{what}"), body)
            .await
    }

    pub async fn job(&self, id: &str) -> Value {
        let (status, job) = self.request("GET", &format!("/v1/jobs/{id}"), None).await;
        assert_eq!(status, 200, "{job}");
        job
    }

    /// The job and its children, once they are settled or in doubt.
    pub async fn settled(&self, id: &str) -> Value {
        let (status, job) = self
            .request("GET", &format!("/v1/jobs/{id}?wait=50s&wait_for=all"), None)
            .await;
        assert_eq!(status, 200, "{job}");
        let state = job["state"].as_str().unwrap();
        assert!(
            !matches!(state, "queued" | "sending"),
            "{id} is still {state} after 50 s: {job:#}\n{}",
            self.log()
        );
        job
    }

    /// Waits until `good` likes what `path` answers. Each question lets the relay work in between.
    pub async fn until(&self, path: &str, good: impl Fn(&Value) -> bool) -> Value {
        let deadline = std::time::Instant::now() + PATIENCE;
        loop {
            let (_, answer) = self.request("GET", path, None).await;
            if good(&answer) {
                return answer;
            }
            assert!(
                std::time::Instant::now() < deadline,
                "{path} stayed {answer:#}\n{}",
                self.log()
            );
            tokio::task::yield_now().await;
        }
    }

    /// What the relay has computed since it started, milliseconds.
    pub fn cpu_ms(&self) -> u64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid())).unwrap();
        let (_, fields) = stat.rsplit_once(')').unwrap();
        let fields: Vec<&str> = fields.split_whitespace().collect();
        // User and system time, in hundredths of a second on every Linux of today.
        let ticks = |at: usize| fields[at].parse::<u64>().unwrap();
        (ticks(11) + ticks(12)) * 10
    }

    /// Memory of the relay that is not backed by files, KiB.
    pub fn rss_anon_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status
            .lines()
            .find(|line| line.starts_with("RssAnon:"))
            .unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }
}

impl Drop for House {
    #[expect(
        clippy::print_stderr,
        reason = "a failed test should say what the relay said"
    )]
    fn drop(&mut self) {
        if let Some(mut relay) = self.relay.take() {
            let _ = relay.kill();
            let _ = relay.wait();
        }
        if std::thread::panicking() {
            eprintln!("the relay's log:\n{}", self.log());
        } else {
            self.judge_log();
        }
    }
}

fn unix_ms() -> i64 {
    let since = std::time::UNIX_EPOCH.elapsed().unwrap();
    i64::try_from(since.as_millis()).unwrap()
}

/// Unix milliseconds of a time as the relay writes it.
fn millis(time: &Value) -> i64 {
    let time = time.as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    time.as_millisecond()
}

/// Feishu answers while a test waits for its relay to start or to end.
fn feishu() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap()
    })
}

fn plain() -> reqwest::Client {
    reqwest::Client::builder()
        .no_proxy()
        .timeout(PATIENCE)
        .build()
        .unwrap()
}

/// A config on a unix socket in the folder of the test.
pub fn config(dir: &TempDir, feishu: &str, secret: &str, more: &str) -> String {
    let socket: &Path = &dir.path().join("relay.sock");
    format!(
        "[server]\nlisten = \"unix:{}\"\n[log]\nlevel = \"debug\"\n[store]\npath = \"relay.db\"\n\
         [[apps]]\nname = \"ops\"\napp_id = \"{}\"\napp_secret = \"{secret}\"\nbase_url = \"{feishu}\"\n{more}",
        socket.display(),
        feishu_sandbox::DEFAULT_APP_ID,
    )
}
