//! A daemon with a sandbox behind it, and a client in front.

#![expect(clippy::unwrap_used, reason = "what a test stands on must hold")]

use std::path::{Path, PathBuf};
use std::thread::JoinHandle;

use feishu_relay::config::Config;
use feishu_relay::daemon;
use feishu_sandbox::{DEFAULT_APP_ID, DEFAULT_APP_SECRET, Sandbox};
use reqwest::RequestBuilder;
use reqwest::header::HeaderMap;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::net::TcpStream;
use tokio::runtime::Builder;
use tokio::sync::oneshot;
use tokio_util::sync::{CancellationToken, DropGuard};

/// A token that nobody has.
pub(crate) const SECRET: &str = "nobodys-token";

/// A running daemon, on a thread of its own; dropped, it is told to stop.
pub(crate) struct House {
    /// Its base URL over TCP.
    pub(crate) url: String,
    client: reqwest::Client,
    folder: TempDir,
    sandbox: Sandbox,
    stop: DropGuard,
    daemon: JoinHandle<Result<(), daemon::DaemonError>>,
}

impl House {
    /// Starts with `more` in its config; a section `[server_more]` there goes into `[server]`.
    pub(crate) async fn open(more: &str) -> House {
        let folder = tempfile::tempdir().unwrap();
        let listen = "127.0.0.1:0".parse().unwrap();
        let sandbox = feishu_sandbox::start(feishu_sandbox::Options {
            listen,
            ..feishu_sandbox::Options::default()
        });
        let sandbox = sandbox.await.unwrap();
        let socket = folder.path().join("relay.sock");
        let server = format!(
            "[server]\nlisten = [\"127.0.0.1:0\", \"unix:{}\"]\n",
            socket.display()
        );
        let app = format!(
            "[[apps]]\nname = \"ops\"\napp_id = \"{DEFAULT_APP_ID}\"\n\
             app_secret = \"{DEFAULT_APP_SECRET}\"\nbase_url = \"{}\"\n",
            sandbox.url()
        );
        let text = match more.strip_prefix("[server_more]\n") {
            Some(more) => format!("{server}{more}{app}"),
            None => format!("{server}{more}{app}"),
        };
        let config = Config::parse(&text, &folder.path().join("relay.toml"), &|_| None);
        let config = config.unwrap_or_else(|error| panic!("{error}\n{text}"));
        let stop = CancellationToken::new();
        let (tell, told) = oneshot::channel();
        let ready = move |ready| {
            let _ = tell.send(ready);
        };
        let until = stop.clone();
        let daemon = std::thread::spawn(move || {
            let runtime = Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(daemon::run(config, ready, until))
        });
        let ready = told.await.expect("the daemon starts");
        House {
            url: format!("http://{}", ready.addrs[0]),
            client: reqwest::Client::builder().no_proxy().build().unwrap(),
            folder,
            sandbox,
            stop: stop.drop_guard(),
            daemon,
        }
    }

    /// Stops the daemon and waits for its end.
    pub(crate) async fn close(self) {
        drop(self.stop);
        let ended = tokio::task::spawn_blocking(|| self.daemon.join());
        ended.await.unwrap().unwrap().unwrap();
        self.sandbox.stop().await;
    }

    /// A request over TCP.
    pub(crate) fn request(&self, method: &str, path: &str) -> RequestBuilder {
        let method = method.parse().unwrap();
        self.client.request(method, format!("{}{path}", self.url))
    }

    /// Posts JSON.
    pub(crate) async fn post(&self, path: &str, body: &Value) -> Told {
        Told::of(self.request("POST", path).json(body)).await
    }

    /// Gets.
    pub(crate) async fn get(&self, path: &str) -> Told {
        Told::of(self.request("GET", path)).await
    }

    /// The ids of a list, newest first.
    pub(crate) async fn ids(&self, path: &str) -> Vec<String> {
        let told = self.get(path).await;
        assert_eq!(told.status, 200, "{told:?}");
        let jobs = told.body["jobs"].as_array().unwrap();
        let id = |job: &Value| job["id"].as_str().unwrap().to_owned();
        jobs.iter().map(id).collect()
    }

    /// Moves the clock of the sandbox alone.
    pub(crate) async fn move_sandbox(&self, by: &str) {
        let url = format!("{}/_sandbox/clock", self.sandbox.url());
        let request = self.client.post(url).json(&json!({ "advance": by }));
        assert_eq!(Told::of(request).await.status, 200);
    }

    /// The file of its unix socket.
    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.path().join("relay.sock")
    }

    /// A client that comes in by the unix socket.
    pub(crate) fn over_unix(&self) -> reqwest::Client {
        let socket: &Path = &self.socket();
        let client = reqwest::Client::builder().unix_socket(socket);
        client.no_proxy().build().unwrap()
    }

    /// A bare connection over TCP.
    pub(crate) async fn connect(&self) -> TcpStream {
        let address = self.url.trim_start_matches("http://");
        TcpStream::connect(address).await.unwrap()
    }
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Told {
    /// Its HTTP status.
    pub(crate) status: u16,
    headers: HeaderMap,
    /// Its body, if it is JSON.
    pub(crate) body: Value,
}

impl Told {
    /// Sends, and reads the whole answer.
    pub(crate) async fn of(request: RequestBuilder) -> Told {
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let bytes = response.bytes().await.unwrap();
        Told {
            status,
            headers,
            body: serde_json::from_slice(&bytes).unwrap_or(Value::Null),
        }
    }

    /// A header, empty when it is absent.
    pub(crate) fn header(&self, name: &str) -> String {
        let value = self.headers.get(name);
        value.map_or_else(String::new, |value| value.to_str().unwrap().to_owned())
    }

    /// A string of the body.
    pub(crate) fn text(&self, name: &str) -> String {
        let text = self.body[name].as_str();
        text.unwrap_or_else(|| panic!("no {name} in {self:?}"))
            .to_owned()
    }

    /// It is a refusal in the form that all of them have.
    pub(crate) fn is_problem(&self, status: u16) {
        assert_eq!(self.status, status, "{self:?}");
        assert_eq!(self.header("content-type"), "application/problem+json");
        assert_eq!(self.body["status"], status);
        for name in ["type", "title", "detail"] {
            assert!(!self.text(name).is_empty(), "{name} of {self:?}");
        }
    }

    /// It is a refusal, and one of its errors stands at `pointer`.
    pub(crate) fn points_at(&self, pointer: &str) {
        self.is_problem(self.status);
        assert!((400..500).contains(&self.status), "{self:?}");
        let errors = self.body["errors"].as_array();
        let errors = errors.unwrap_or_else(|| panic!("no errors in {self:?}"));
        let found = errors.iter().any(|error| error["pointer"] == pointer);
        assert!(found, "nothing at {pointer:?} in {self:?}");
    }
}

/// Reads an answer's head.
pub(crate) async fn head(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut text = Vec::new();
    while !text.ends_with(b"\r\n\r\n") {
        text.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(text).unwrap()
}
