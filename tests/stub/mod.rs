//! A relay that answers what it is told, and the command line in front of it.
#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test file uses a part of it"
)]

use std::process::Stdio;
use std::sync::Arc;
use std::sync::Mutex;

use axum::Router;
use axum::body::Bytes;
use axum::extract::Request;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header;
use axum::response::IntoResponse;
use axum::response::Response;
use serde_json::Value;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::process::Command;

/// What a request looked like to the relay.
#[derive(Debug, Clone)]
pub struct Seen {
    pub line: String,
    pub token: Option<String>,
    pub body: Value,
}

/// A relay that gives the next of its prepared answers and keeps what it saw.
#[derive(Clone, Default)]
pub struct Stub {
    pub answers: Arc<Mutex<Vec<(u16, Value)>>>,
    pub seen: Arc<Mutex<Vec<Seen>>>,
}

pub async fn answer(State(stub): State<Stub>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 1 << 20)
        .await
        .expect("a whole body");
    let token = head.headers.get(header::AUTHORIZATION);
    let seen = Seen {
        line: format!("{} {}", head.method, head.uri),
        token: token.map(|token| token.to_str().expect("text").to_owned()),
        body: serde_json::from_slice(&body).unwrap_or(Value::Null),
    };
    stub.seen.lock().expect("not poisoned").push(seen);
    let (status, body) = stub.answers.lock().expect("not poisoned").remove(0);
    let status = StatusCode::from_u16(status).expect("a status");
    (status, Bytes::from(body.to_string())).into_response()
}

/// How the command ended.
#[derive(Debug)]
pub struct Ended {
    pub code: i32,
    pub out: String,
    pub err: String,
    pub seen: Vec<Seen>,
}

impl Ended {
    pub fn lines(&self) -> Vec<&str> {
        self.seen.iter().map(|seen| seen.line.as_str()).collect()
    }
}

pub fn command(words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_feishu-relay"));
    command.args(words).env_clear().kill_on_drop(true);
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

pub async fn finish(mut command: Command, input: &str) -> Ended {
    let mut child = command.spawn().expect("the binary starts");
    let mut stdin = child.stdin.take().expect("a pipe");
    // A command that fails early does not read its input.
    let _ = stdin.write_all(input.as_bytes()).await;
    drop(stdin);
    let output = child.wait_with_output().await.expect("an end");
    Ended {
        code: output.status.code().expect("an exit code"),
        out: String::from_utf8(output.stdout).expect("text"),
        err: String::from_utf8(output.stderr).expect("text"),
        seen: Vec::new(),
    }
}

/// Runs the binary against a relay that gives `answers` in order.
pub async fn run(answers: Vec<(u16, Value)>, words: &[&str], input: &str) -> Ended {
    let stub = Stub::default();
    *stub.answers.lock().expect("not poisoned") = answers;
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let router = Router::new().fallback(answer).with_state(stub.clone());
    let server = tokio::spawn(async move { axum::serve(listener, router).await });
    let mut command = command(words);
    command.env("FEISHU_RELAY_URL", url);
    let mut ended = finish(command, input).await;
    server.abort();
    ended.seen = stub.seen.lock().expect("not poisoned").clone();
    ended
}
