//! The units of systemd, and what the program does for them: ready, alive, stopping.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on should stop here"
)]

mod support;

use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::{Child, Command, Output};
use std::time::Duration;

use feishu_sandbox::DEFAULT_CHAT;
use serde_json::json;
use support::House;

const SERVICE: &str = "feishu-relay.service";
const SOCKET: &str = "feishu-relay.socket";
/// What the service may expose at most, by systemd's own measure (0 to 10), in tenths.
const EXPOSURE_MAX: &str = "20";

/// The units in a folder of their own; the program that is started is one that is there.
fn units() -> (tempfile::TempDir, Vec<PathBuf>) {
    let from = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("systemd");
    let folder = tempfile::tempdir().unwrap();
    let copy = |name: &str| {
        let text = std::fs::read_to_string(from.join(name)).unwrap();
        let text = text.replace("/usr/bin/feishu-relay", env!("CARGO_BIN_EXE_feishu-relay"));
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let paths = vec![copy(SERVICE), copy(SOCKET)];
    (folder, paths)
}

/// `None`: systemd-analyze is not here; `.ci/run` installs it.
fn analyze(words: &[&str], units: &[PathBuf]) -> Option<Output> {
    let mut command = Command::new("systemd-analyze");
    command.args(words).args(units).env("SYSTEMD_PAGER", "");
    match command.output() {
        Ok(output) => Some(output),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => panic!("{error}"),
    }
}

fn text(output: &Output) -> String {
    let both = [output.stdout.as_slice(), output.stderr.as_slice()].concat();
    String::from_utf8_lossy(&both).into_owned()
}

#[test]
fn the_service_is_locked_down() {
    let (_folder, units) = units();
    let threshold = format!("--threshold={EXPOSURE_MAX}");
    let words = ["security", "--offline=true", "--no-pager", &threshold];
    let Some(output) = analyze(&words, &units[..1]) else {
        return;
    };
    let said = text(&output);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("Overall exposure level"), "{said}");
}

#[test]
fn systemd_understands_every_line_of_the_units() {
    let (_folder, units) = units();
    let Some(output) = analyze(&["verify", "--man=no"], &units) else {
        return;
    };
    let said = text(&output);
    let ours = said.lines().filter(|line| line.contains("feishu-relay"));
    assert_eq!(ours.collect::<Vec<_>>(), [""; 0], "{said}");
}

/// The relay as systemd starts it, and what it says.
struct Served {
    child: Child,
    said: UnixDatagram,
}

impl Served {
    fn start(house: &House, watchdog: Duration) -> Served {
        let config = house.dir.path().join("relay.toml");
        std::fs::write(&config, house.config()).unwrap();
        let socket = house.dir.path().join("notify.sock");
        let said = UnixDatagram::bind(&socket).unwrap();
        said.set_read_timeout(Some(Duration::from_secs(60)))
            .unwrap();
        let child = house
            .binary()
            .args(["serve", "--config"])
            .arg(config)
            .env("NOTIFY_SOCKET", socket)
            .env("WATCHDOG_USEC", watchdog.as_micros().to_string())
            .spawn()
            .unwrap();
        Served { child, said }
    }

    /// Waits for the next message that says `word`.
    fn hears(&self, word: &str) {
        let mut message = [0; 512];
        loop {
            let n = self.said.recv(&mut message).unwrap();
            if String::from_utf8_lossy(&message[..n]).contains(word) {
                return;
            }
        }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_watchdog_is_fed_while_work_goes_on_and_while_feishu_is_away() {
    let mut house = House::without_relay(None, "").await;
    let served = Served::start(&house, Duration::from_secs(2));
    served.hears("READY=1");
    served.hears("WATCHDOG=1");
    house.feishu_down().await;
    let job = json!({"kind": "send", "args": {"to": DEFAULT_CHAT, "text": "anybody there?"}});
    house.post(job).await;
    for _ in 0..3 {
        served.hears("WATCHDOG=1");
    }
    let pid = served.child.id().to_string();
    assert!(
        Command::new("kill")
            .args(["-TERM", &pid])
            .status()
            .unwrap()
            .success()
    );
    served.hears("STOPPING=1");
}
