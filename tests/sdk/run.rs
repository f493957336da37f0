//! One process of an SDK, and what it and the test say to each other, a line of JSON at a time.

use std::process::Stdio;
use std::time::Duration;

use feishu_sandbox::{
    DEFAULT_APP_ID, DEFAULT_CHAT, DEFAULT_CLOSED_CHAT, DEFAULT_SECOND_CHAT,
    DEFAULT_UNREACHABLE_USER, DEFAULT_USERS,
};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout};

use crate::packages::Sdk;

/// The longest that an SDK may take for one step.
const PATIENCE: Duration = Duration::from_secs(180);

/// What the scenario says.
#[derive(Debug)]
pub(crate) enum Word {
    /// A step begins once it is answered.
    Begin(String),
    /// Somebody in the sandbox shall do something; the answer is a part of the scenario.
    Act(Value),
    /// The sandbox's clock shall move on.
    Clock(String),
    /// A step and what it was answered.
    Answer(Value),
    /// All is said; the SDK fetched so many tokens.
    End(u64),
}

/// A scenario under way.
pub(crate) struct Run {
    child: Child,
    stdin: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Run {
    /// Starts it against `base`. `words`: more of its command line.
    pub(crate) async fn start(sdk: &Sdk, base: &str, secret: &str, words: &[&str]) -> Run {
        let mut child = sdk
            .command()
            .args(["--base", base, "--app-id", DEFAULT_APP_ID])
            .args(words)
            .env("SDK_SECRET", secret)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut run = Run {
            stdin: child.stdin.take().unwrap(),
            lines: BufReader::new(child.stdout.take().unwrap()).lines(),
            child,
        };
        let first = run.line().await;
        assert_eq!(first, json!({"names": true}));
        run.reply(&names()).await;
        run
    }

    /// The next word; who stops waiting for it loses nothing. All but answers and the end want a reply.
    pub(crate) async fn next(&mut self) -> Word {
        let mut line = self.line().await;
        let (word, value) = line.as_object_mut().unwrap().iter_mut().next().unwrap();
        let value = value.take();
        let text = || value.as_str().unwrap().to_owned();
        match word.as_str() {
            "begin" => Word::Begin(text()),
            "act" => Word::Act(value),
            "clock" => Word::Clock(text()),
            "answer" => Word::Answer(value),
            "tokens" => Word::End(value.as_u64().unwrap()),
            other => panic!("the scenario says {other}"),
        }
    }

    /// Waits for the end of the process after its last word.
    pub(crate) async fn end(mut self) {
        let end = self.child.wait().await.unwrap();
        assert!(end.success(), "{end}");
    }

    async fn line(&mut self) -> Value {
        let line = tokio::time::timeout(PATIENCE, self.lines.next_line()).await;
        let line = line.expect("the SDK comes to an end").unwrap();
        let Some(line) = line else {
            panic!("the SDK ended too soon: {:?}", self.child.wait().await)
        };
        serde_json::from_str(&line).unwrap()
    }

    pub(crate) async fn reply(&mut self, value: &Value) {
        let line = format!("{value}\n");
        self.stdin.write_all(line.as_bytes()).await.unwrap();
    }
}

/// Who and what the scenario speaks of.
fn names() -> Value {
    json!({
        "room": DEFAULT_CHAT, "second": DEFAULT_SECOND_CHAT, "closed": DEFAULT_CLOSED_CHAT,
        "lin": DEFAULT_USERS[0], "maria": DEFAULT_USERS[2], "stranger": DEFAULT_UNREACHABLE_USER,
    })
}

/// The steps as they are written.
pub(crate) fn scenario() -> Vec<Value> {
    serde_json::from_str(include_str!("scenario.json")).unwrap()
}
