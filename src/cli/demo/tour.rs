//! The tour: one job of each sort, shown until all have ended, each held to how it should end.

use std::io::IsTerminal;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use feishu_sandbox::{
    DEFAULT_CHAT, DEFAULT_CLOSED_CHAT, DEFAULT_SECOND_CHAT, DEFAULT_USERS, staff_open_id,
};
use serde_json::{Value, json};

use crate::cli::exit::{Ended, Exit, Trouble};
use crate::cli::follow::exit_of;
use crate::cli::out;
use crate::cli::relay::Relay;

/// People of the batch: more than two calls can name.
const BATCH_PEOPLE: usize = 450;

/// How long one look at the jobs waits for a change.
const LOOK: Duration = Duration::from_millis(500);

/// A picture of one white point, as GIF.
const PICTURE: &[u8] = b"GIF89a\x01\x00\x01\x00\x80\x00\x00\xff\xff\xff\x00\x00\x00!\xf9\x04\x00\x00\x00\x00\x00,\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02D\x01\x00;";

/// How a job of the tour should end.
#[derive(Debug, Clone, Copy)]
enum End {
    Done,
    DoneAfterLimit,
    DoneInParts,
    Refused,
    Recalled,
}

/// One job on the tour.
#[derive(Debug)]
struct Stop {
    title: &'static str,
    id: String,
    end: End,
    job: Value,
}

/// Sends the jobs, shows them until all have ended, and says whether each ended as it should.
pub(super) async fn show(relay: &Relay, sandbox: &str) -> Ended {
    let mut stops = vec![throttled(relay, sandbox).await?];
    for (title, end, job) in jobs() {
        stops.extend(enqueue(relay, title, end, &job).await?);
    }
    let mut screen = Screen::default();
    let mut recall_asked = false;
    loop {
        look(relay, &mut stops).await?;
        if !recall_asked {
            recall_asked = recall(relay, &stops).await?;
        }
        screen.draw(&stops)?;
        if stops.iter().all(Stop::has_ended) {
            break;
        }
    }
    screen.finish(&stops)?;
    let wrong = stops.iter().filter(|stop| !stop.is_right()).count();
    match wrong {
        0 => Ok(Exit::Fine),
        _ => Err(Trouble::new(
            Exit::Failed,
            format!("{wrong} jobs did not end as they should"),
        )),
    }
}

fn jobs() -> Vec<(&'static str, End, Value)> {
    let to = |chat: &str, args: Value| {
        let mut args = args;
        args["to"] = json!(chat);
        json!({"kind": "send", "args": args})
    };
    let mut pinned = to(DEFAULT_CHAT, json!({"text": "Pinned, and then a buzz"}));
    pinned["then"] =
        json!([{"kind": "pin"}, {"kind": "urgent_app", "args": {"users": [DEFAULT_USERS[0]]}}]);
    let card = json!({"schema": "2.0", "header": {"title": {"tag": "plain_text", "content": "Disk of db-1"}},
        "body": {"elements": [{"tag": "markdown", "content": "**91 %** used"}]}});
    let image = json!({"data": BASE64.encode(PICTURE), "file_name": "point.gif"});
    let people: Vec<_> = (1..=BATCH_PEOPLE).map(staff_open_id).collect();
    vec![
        (
            "a message",
            End::Done,
            to(DEFAULT_SECOND_CHAT, json!({"text": "Hello from the relay"})),
        ),
        ("pinned, then a buzz", End::Done, pinned),
        (
            "a card",
            End::Done,
            to(DEFAULT_SECOND_CHAT, json!({"card": card})),
        ),
        (
            "an image",
            End::Done,
            to(DEFAULT_SECOND_CHAT, json!({"image": image})),
        ),
        (
            "to 450 people",
            End::DoneInParts,
            json!({"kind": "batch_send", "args": {"open_ids": people, "text": "Lunch is ready"}}),
        ),
        (
            "refused by Feishu",
            End::Refused,
            to(DEFAULT_CLOSED_CHAT, json!({"text": "May I come in?"})),
        ),
        (
            "recalled",
            End::Recalled,
            to(DEFAULT_CHAT, json!({"text": "Sent to the wrong room"})),
        ),
    ]
}

/// The next send meets a limit, so that one job shows what happens then.
async fn throttled(relay: &Relay, sandbox: &str) -> Result<Stop, Trouble> {
    let fault =
        json!([{"call": "POST /open-apis/im/v1/messages", "do": "429", "count": 1, "reset_s": 1}]);
    let client = reqwest::Client::builder().no_proxy().build();
    let client = client.map_err(|error| Trouble::new(Exit::Failed, error.to_string()))?;
    let asked = client
        .post(format!("{sandbox}/_sandbox/faults"))
        .json(&fault)
        .send()
        .await;
    asked
        .and_then(reqwest::Response::error_for_status)
        .map_err(|error| {
            Trouble::new(Exit::Failed, format!("the sandbox takes no fault: {error}"))
        })?;
    let job = json!({"kind": "send", "args": {"to": DEFAULT_CHAT, "text": "After the limit"}});
    let mut stops = enqueue(relay, "throttled", End::DoneAfterLimit, &job).await?;
    // Only its own call may meet the limit, so the others come after it.
    while stops[0].attempts() == 0 && !stops[0].has_ended() {
        look(relay, &mut stops).await?;
    }
    Ok(stops.remove(0))
}

/// Stores a job, and gives it and its children as stops.
async fn enqueue(
    relay: &Relay,
    title: &'static str,
    end: End,
    job: &Value,
) -> Result<Vec<Stop>, Trouble> {
    let stored = relay
        .post(&["jobs"], Vec::new(), Some(job.to_string()))
        .await?
        .json;
    let children = stored["children"].as_array().cloned().unwrap_or_default();
    let stop = |title, id: &Value, end, job| Stop {
        title,
        id: out::text(id),
        end,
        job,
    };
    let mut stops = vec![stop(title, &stored["id"].clone(), end, stored)];
    stops.extend(
        children
            .iter()
            .map(|id| stop("  then", id, End::Done, Value::Null)),
    );
    Ok(stops)
}

/// Asks how each open job stands; waits a moment for the first of them.
async fn look(relay: &Relay, stops: &mut [Stop]) -> Result<(), Trouble> {
    let mut wait = LOOK;
    for stop in stops.iter_mut().filter(|stop| !stop.has_ended()) {
        let query = vec![("wait".to_owned(), format!("{}ms", wait.as_millis()))];
        stop.job = relay.get(&["jobs", &stop.id], query, wait).await?.json;
        wait = Duration::ZERO;
    }
    Ok(())
}

/// Takes back the one that was sent by mistake, once it is sent.
async fn recall(relay: &Relay, stops: &[Stop]) -> Result<bool, Trouble> {
    let sent = |stop: &&Stop| matches!(stop.end, End::Recalled) && stop.job["state"] == "done";
    let Some(stop) = stops.iter().find(sent) else {
        return Ok(false);
    };
    relay
        .post(&["jobs", &stop.id, "recall"], Vec::new(), None)
        .await?;
    Ok(true)
}

impl Stop {
    fn attempts(&self) -> usize {
        self.job["attempts"].as_array().map_or(0, Vec::len)
    }

    /// Nothing more will come of it: it settled, and a recall of it did, too.
    fn has_ended(&self) -> bool {
        let settled = exit_of(&self.job).is_some();
        match self.end {
            End::Recalled if self.job["state"] == "done" => {
                let recall = self.job["recall"]["state"].as_str().unwrap_or("none");
                !matches!(recall, "none" | "queued" | "sending")
            }
            _ => settled,
        }
    }

    fn is_right(&self) -> bool {
        let done = self.job["state"] == "done";
        match self.end {
            End::Done => done,
            End::DoneAfterLimit => done && self.attempts() > 1,
            End::DoneInParts => {
                done && self.job["receipt"]["parts"]
                    .as_array()
                    .is_some_and(|parts| parts.len() > 1)
            }
            End::Refused => self.job["state"] == "failed" && self.job["error"]["code"].is_number(),
            End::Recalled => done && self.job["recalled_at"].is_string(),
        }
    }

    /// How it stands, in words: what makes this stop worth a look.
    fn words(&self) -> String {
        let state = out::state(&self.job);
        let more = match self.end {
            End::DoneAfterLimit if self.attempts() > 1 => "after a limit".to_owned(),
            End::DoneInParts if self.has_ended() => {
                let parts = self.job["receipt"]["parts"].as_array().map_or(0, Vec::len);
                format!("in {parts} calls")
            }
            _ => out::reason(&self.job),
        };
        format!("{state} {more}").trim_end().to_owned()
    }

    fn line(&self) -> String {
        /// No line is wider than this, so that it fits where it is copied to.
        const WIDTH_MAX: usize = 118;
        let kind = out::text(&self.job["kind"]);
        let line = format!("{:<20}  {kind:<10}  {}", self.title, self.words());
        line.chars().take(WIDTH_MAX).collect()
    }
}

/// Where the tour is drawn: over itself on a terminal, change by change elsewhere.
#[derive(Debug, Default)]
struct Screen {
    drawn: Vec<String>,
}

impl Screen {
    fn draw(&mut self, stops: &[Stop]) -> std::io::Result<()> {
        let lines: Vec<_> = stops.iter().map(Stop::line).collect();
        if lines == self.drawn || !std::io::stdout().is_terminal() {
            return Ok(());
        }
        // From the second time on: back to the first line, and clear from there.
        let back = match self.drawn.len() {
            0 => String::new(),
            drawn => format!("\u{1b}[{drawn}A\u{1b}[J"),
        };
        out::line(&format!("{back}{}", lines.join("\n")))?;
        self.drawn = lines;
        Ok(())
    }

    /// Elsewhere than on a terminal the ends are all there is to see.
    fn finish(&self, stops: &[Stop]) -> std::io::Result<()> {
        if !self.drawn.is_empty() {
            return Ok(());
        }
        let lines: Vec<_> = stops.iter().map(Stop::line).collect();
        out::line(&lines.join("\n"))
    }
}
