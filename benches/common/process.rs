//! Relay, sandbox and helpers as processes that end with whoever started them.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use feishu_sandbox::{DEFAULT_APP_ID, DEFAULT_APP_SECRET};
use serde_json::Value;

/// The relay that was built with the bench.
pub(crate) const RELAY: &str = env!("CARGO_BIN_EXE_feishu-relay");

/// The longest that a process may take to be ready.
const PATIENCE: Duration = Duration::from_secs(60);

/// Why something could not be measured.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BenchError {
    #[error("{what}: {source}")]
    File { what: String, source: io::Error },
    #[error("no answer: {0}")]
    Call(#[from] hyper::Error),
    #[error("not understood: {0}")]
    Json(#[from] serde_json::Error),
    #[error("{0}")]
    Answer(String),
}

pub(crate) fn file(what: impl Into<String>) -> impl FnOnce(io::Error) -> BenchError {
    let what = what.into();
    |source| BenchError::File { what, source }
}

/// A process, killed when this is dropped.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
}

impl Process {
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    fn signal(&self, which: &str) -> Result<(), BenchError> {
        let pid = self.pid().to_string();
        let asked = Command::new("kill").args([which, &pid]).status();
        asked.map(drop).map_err(file("kill"))
    }

    /// Asks it to end, and waits until it has.
    pub(crate) fn stop(mut self) -> Result<(), BenchError> {
        self.signal("-TERM")?;
        self.child.wait().map(drop).map_err(file("an end"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A process that one talks to by lines of JSON.
#[derive(Debug)]
pub(crate) struct Helper {
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
    process: Process,
}

impl Helper {
    /// Starts this very program again, in another part.
    pub(crate) fn start(args: &[&str]) -> Result<Helper, BenchError> {
        let itself = std::env::current_exe().map_err(file("this program"))?;
        let mut child = Command::new(itself)
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(file("a helper"))?;
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        let process = Process { child };
        match (stdin, stdout) {
            (Some(stdin), Some(stdout)) => Ok(Helper {
                stdin,
                stdout: BufReader::new(stdout),
                process,
            }),
            _ => Err(BenchError::Answer(String::from("a helper has no pipes"))),
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Waits for what it says next.
    pub(crate) fn hear(&mut self) -> Result<Value, BenchError> {
        let mut line = String::new();
        self.stdout
            .read_line(&mut line)
            .map_err(file("a helper's answer"))?;
        match line.is_empty() {
            true => Err(BenchError::Answer(String::from("a helper ended early"))),
            false => Ok(serde_json::from_str(&line)?),
        }
    }

    pub(crate) fn ask(&mut self, what: &impl serde::Serialize) -> Result<Value, BenchError> {
        let line = serde_json::to_string(what)?;
        writeln!(self.stdin, "{line}").map_err(file("a helper's question"))?;
        let answer = self.hear()?;
        match answer["error"].as_str() {
            Some(error) => Err(BenchError::Answer(error.to_owned())),
            None => Ok(answer),
        }
    }
}

/// A sandbox with the world `seed`.
#[derive(Debug)]
pub(crate) struct Sandbox {
    pub(crate) address: SocketAddr,
    /// It says more than the address, and ends when nobody can hear it.
    _stdout: Option<BufReader<ChildStdout>>,
    pub(crate) process: Process,
}

impl Sandbox {
    pub(crate) fn start(binary: &Path, folder: &Path, seed: &Value) -> Result<Sandbox, BenchError> {
        let world = folder.join("world.json");
        std::fs::write(&world, seed.to_string()).map_err(file("the world"))?;
        let mut child = Command::new(binary)
            .args(["sandbox", "--listen", "127.0.0.1:0", "--seed"])
            .arg(&world)
            .env_clear()
            .stdout(Stdio::piped())
            .stderr(log(folder, "sandbox.log")?)
            .spawn()
            .map_err(file("the sandbox"))?;
        let mut stdout = child.stdout.take().map(BufReader::new);
        let process = Process { child };
        let mut line = String::new();
        if let Some(stdout) = &mut stdout {
            stdout.read_line(&mut line).map_err(file("the sandbox"))?;
        }
        let (_, address) = line.trim().rsplit_once("http://").unwrap_or_default();
        match address.parse() {
            Ok(address) => Ok(Sandbox {
                address,
                _stdout: stdout,
                process,
            }),
            Err(_) => Err(BenchError::Answer(format!(
                "the sandbox said no address but {line:?}"
            ))),
        }
    }
}

/// A relay with one app and a database of its own, on loopback.
#[derive(Debug)]
pub(crate) struct Relay {
    pub(crate) address: SocketAddr,
    /// From its start until it took jobs.
    pub(crate) ready_after: Duration,
    pub(crate) process: Process,
    word: Word,
    config: PathBuf,
    feishu: SocketAddr,
}

impl Relay {
    /// Returns once it takes jobs. `limits`: false turns them off.
    pub(crate) fn start(
        binary: &Path,
        folder: &Path,
        feishu: SocketAddr,
        limits: bool,
    ) -> Result<Relay, BenchError> {
        let config = |address| config(address, feishu, limits);
        Relay::with(binary, folder, feishu, config)
    }

    /// With the config that is made for its address.
    pub(crate) fn with(
        binary: &Path,
        folder: &Path,
        feishu: SocketAddr,
        config: impl Fn(SocketAddr) -> String,
    ) -> Result<Relay, BenchError> {
        let address = free_address()?;
        let path = folder.join("relay.toml");
        std::fs::write(&path, config(address)).map_err(file("the config"))?;
        let word = Word::listen()?;
        let began = Instant::now();
        let child = Command::new(binary)
            .args(["serve", "--config"])
            .arg(&path)
            .env_clear()
            .env("NOTIFY_SOCKET", word.folder.path().join("notify"))
            .stdout(Stdio::null())
            .stderr(log(folder, "relay.log")?)
            .spawn()
            .map_err(file("the relay"))?;
        let process = Process { child };
        word.ready()?;
        Ok(Relay {
            address,
            ready_after: began.elapsed(),
            process,
            word,
            config: path,
            feishu,
        })
    }

    /// Turns the limits on while it runs.
    pub(crate) fn limit(&self) -> Result<(), BenchError> {
        let text = config(self.address, self.feishu, true);
        std::fs::write(&self.config, text).map_err(file("the config"))?;
        self.process.signal("-HUP")?;
        self.word.ready()
    }
}

fn config(address: SocketAddr, feishu: SocketAddr, limits: bool) -> String {
    let off = "limits = { app_minute = 0, app_second = 0, chat_second = 0, user_second = 0 }\n";
    format!(
        "[server]\nlisten = \"{address}\"\n[store]\npath = \"relay.db\"\n\
         [queue]\nmax_pending = 4_000_000\n\
         [[apps]]\nname = \"ops\"\napp_id = \"{DEFAULT_APP_ID}\"\napp_secret = \"{DEFAULT_APP_SECRET}\"\n\
         base_url = \"http://{feishu}\"\n{}",
        if limits { "" } else { off },
    )
}

/// What the relay tells whoever started it.
#[derive(Debug)]
struct Word {
    said: UnixDatagram,
    folder: tempfile::TempDir,
}

impl Word {
    fn listen() -> Result<Word, BenchError> {
        let folder = folder_of_sockets()?;
        let said = UnixDatagram::bind(folder.path().join("notify"))
            .map_err(file("the socket for readiness"))?;
        said.set_read_timeout(Some(PATIENCE))
            .map_err(file("the socket for readiness"))?;
        Ok(Word { said, folder })
    }

    /// Waits until it says that it is ready.
    fn ready(&self) -> Result<(), BenchError> {
        let mut word = [0; 256];
        loop {
            let n = self
                .said
                .recv(&mut word)
                .map_err(file("the relay's readiness"))?;
            if String::from_utf8_lossy(&word[..n]).contains("READY=1") {
                return Ok(());
            }
        }
    }
}

/// A socket's name has little room, so it does not stand in the folder of the database.
fn folder_of_sockets() -> Result<tempfile::TempDir, BenchError> {
    tempfile::tempdir().map_err(file("a folder for a socket"))
}

/// Nobody listens there now.
pub(crate) fn free_address() -> Result<SocketAddr, BenchError> {
    let listener = TcpListener::bind("127.0.0.1:0").map_err(file("a free port"))?;
    listener.local_addr().map_err(file("a free port"))
}

fn log(folder: &Path, name: &str) -> Result<std::fs::File, BenchError> {
    std::fs::File::create(folder.join(name)).map_err(file(name))
}

/// An empty folder on the disk that is measured; gone when it is dropped.
pub(crate) fn folder(parent: &Path) -> Result<tempfile::TempDir, BenchError> {
    std::fs::create_dir_all(parent).map_err(file(parent.display().to_string()))?;
    tempfile::tempdir_in(parent).map_err(file(parent.display().to_string()))
}

/// Where databases are made unless somebody says otherwise.
pub(crate) fn usual_folder() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_TARGET_TMPDIR"), "/bench"))
}
