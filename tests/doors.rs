//! Doors that somebody else opened, and guests who hold up nobody: the real binary.

#![expect(clippy::unwrap_used, reason = "what a test stands on must hold")]

mod support;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::process::{Child, Command, Stdio};

use serde_json::json;

use support::House;
use support::jobs::*;
use support::stream::Stream;

/// Starts the relay as systemd does, with `first` and `second` as descriptors 3 and 4.
fn start_on(house: &House, first: OwnedFd, second: OwnedFd) -> Child {
    const SHELL: &str = "exec 3<&0 4>&1 </dev/null >/dev/null; \
                         LISTEN_FDS=2 LISTEN_PID=$$ exec \"$0\" \"$@\"";
    let path = house.dir.path().join("relay.toml");
    std::fs::write(&path, house.config()).unwrap();
    let relay = house.binary();
    let mut command = Command::new("sh");
    command.env_clear();
    for (name, value) in relay.get_envs() {
        command.env(name, value.unwrap_or_default());
    }
    command
        .args(["-c", SHELL])
        .arg(relay.get_program())
        .args(["serve", "--config"])
        .arg(path)
        .stdin(Stdio::from(first))
        .stdout(Stdio::from(second))
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn ask(mut stream: impl Read + Write) -> String {
    let question = b"GET /readyz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    stream.write_all(question).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn terminate(child: &mut Child) -> String {
    let pid = child.id().to_string();
    let asked = Command::new("kill").args(["-TERM", &pid]).status().unwrap();
    assert!(asked.success());
    said(child)
}

/// What it wrote until its end.
fn said(child: &mut Child) -> String {
    let mut text = String::new();
    let mut from = child.stderr.take().unwrap();
    from.read_to_string(&mut text).unwrap();
    text
}

#[tokio::test]
async fn sockets_that_systemd_passes_win_over_the_config_and_stay_systemds() {
    let house = House::without_relay(None, "").await;
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = tcp.local_addr().unwrap();
    let path = house.dir.path().join("passed.sock");
    let unix = UnixListener::bind(&path).unwrap();
    let kept = unix.try_clone().unwrap();
    let mut relay = start_on(&house, tcp.into(), unix.into());
    // Both listen already: who comes before the relay is ready waits.
    for answer in [
        ask(TcpStream::connect(address).unwrap()),
        ask(UnixStream::connect(&path).unwrap()),
    ] {
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
    assert!(
        !house.socket().exists(),
        "the config's own place is not opened"
    );
    let log = terminate(&mut relay);
    assert!(relay.wait().unwrap().success(), "{log}");
    let places = format!("listening on {address}, unix:{}", path.display());
    assert!(log.contains(&places), "{log}");
    assert!(path.exists(), "{log}");
    drop(kept);
}

#[tokio::test]
async fn a_passed_socket_that_cannot_be_served_is_named() {
    let house = House::without_relay(None, "").await;
    let path = |name: &str| house.dir.path().join(name);
    let tcp = || TcpListener::bind("127.0.0.1:0").unwrap();
    let letters = UnixDatagram::bind(path("letters")).unwrap();
    let listener = tcp();
    let dialed = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let anybody = TcpListener::bind("0.0.0.0:0").unwrap();
    let file = std::fs::File::create(path("file")).unwrap();
    for (second, why) in [
        (
            OwnedFd::from(letters),
            "neither a TCP socket nor a unix stream socket",
        ),
        (
            OwnedFd::from(file),
            "neither a TCP socket nor a unix stream socket",
        ),
        (OwnedFd::from(dialed), "does not listen"),
        (OwnedFd::from(anybody), "not loopback"),
    ] {
        let mut relay = start_on(&house, tcp().into(), second);
        let text = said(&mut relay);
        assert_eq!(relay.wait().unwrap().code(), Some(1), "{text}");
        let named = text.contains("descriptor 4") && text.contains(why);
        assert!(named, "{why}: {text}");
    }
}

#[tokio::test]
async fn guests_who_do_not_go_hold_up_no_stop() {
    let mut house = House::new().await;
    let many = json!(vec![message(json!({"delay": "1h"})); 800]);
    let mut streams = Vec::new();
    for _ in 0..200 {
        streams.push(Stream::open(&house, "").await);
    }
    // Nobody reads the streams: what is written to them waits.
    house.post(many).await;
    let guest = |said: &str| {
        let mut guest = UnixStream::connect(house.socket()).unwrap();
        guest.write_all(said.as_bytes()).unwrap();
        guest
    };
    let head = "POST /v1/jobs HTTP/1.1\r\nhost: localhost\r\n";
    let mut guests = Vec::new();
    for _ in 0..20 {
        guests.push(guest(""));
        guests.push(guest("GET / HTTP/1.1\r\nHo"));
        guests.push(guest(&format!(
            "{head}content-length: 100\r\n\r\n{{\"kind\""
        )));
        guests.push(guest(
            "GET /v1/jobs?limit=200 HTTP/1.1\r\nhost: localhost\r\n\r\n",
        ));
    }
    house.until("/readyz", |answer| answer == "ready\n").await;
    house.stop();
    // What took longer than the two seconds of a drain would have been cut off.
    let log = house.log();
    assert!(!log.contains("cut off"), "{log}");
    assert!(!house.socket().exists());
}
