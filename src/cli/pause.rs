//! `pause` and `resume`: stop and go on, by app, lane and kind; everything only when that is said.

use comfy_table::Cell;
use serde_json::{Map, Value, json};

use super::exit::{Ended, Exit, Trouble};
use super::out;
use super::relay::Remote;

/// Stop sending, by app, lane or kind; jobs are still taken
#[derive(Debug, clap::Args)]
pub(super) struct Pause {
    #[command(flatten)]
    what: What,
    /// Shown in status, for whoever wonders
    #[arg(long, value_name = "WORDS")]
    reason: Option<String>,
    #[command(flatten)]
    remote: Remote,
}

/// Go on with what was paused, or waits for a fault to be mended
#[derive(Debug, clap::Args)]
pub(super) struct Resume {
    #[command(flatten)]
    what: What,
    #[command(flatten)]
    remote: Remote,
}

/// What is stopped or goes on.
#[derive(Debug, clap::Args)]
struct What {
    /// Jobs of this app
    #[arg(long, value_name = "NAME")]
    app: Option<String>,
    /// Jobs of this lane: a receiver, or a message acted on
    #[arg(long, value_name = "LANE")]
    lane: Option<String>,
    /// Jobs of this kind: send, pin, …
    #[arg(long, value_name = "KIND")]
    kind: Option<String>,
    /// Everything
    #[arg(long, conflicts_with_all = ["app", "lane", "kind"])]
    all: bool,
}

impl Pause {
    /// Asks the relay to stop; nothing of it is sent once this has ended well.
    pub(super) async fn run(self) -> Ended {
        let mut body = self.what.body("pause")?;
        if let Some(reason) = self.reason {
            body.insert("reason".to_owned(), json!(reason));
        }
        ask(&self.remote, "pause", body).await
    }
}

impl Resume {
    /// Asks the relay to go on.
    pub(super) async fn run(self) -> Ended {
        let body = self.what.body("resume")?;
        ask(&self.remote, "resume", body).await
    }
}

impl What {
    fn body(&self, verb: &str) -> Result<Map<String, Value>, Trouble> {
        let named = [
            ("app", &self.app),
            ("lane", &self.lane),
            ("kind", &self.kind),
        ];
        let body: Map<String, Value> = named
            .into_iter()
            .filter_map(|(name, value)| Some((name.to_owned(), json!(value.as_ref()?))))
            .collect();
        match body.is_empty() && !self.all {
            true => Err(Trouble::wrong(format!(
                "say what to {verb}: --app, --lane, --kind, or --all"
            ))),
            false => Ok(body),
        }
    }
}

async fn ask(remote: &Remote, verb: &str, body: Map<String, Value>) -> Ended {
    let relay = remote.relay()?;
    let body = Value::Object(body).to_string();
    let answer = relay.post(&[verb], Vec::new(), Some(body)).await?;
    if remote.json {
        out::json(&answer.body)?;
        return Ok(Exit::Fine);
    }
    match answer.json["paused"]
        .as_array()
        .map_or(&[][..], |list| list)
    {
        [] => out::line("nothing of it is paused any more")?,
        paused => table(paused)?,
    }
    Ok(Exit::Fine)
}

/// What is paused, one a row.
pub(super) fn table(paused: &[Value]) -> std::io::Result<()> {
    let headers = ["APP", "LANE", "WHAT", "BY", "SINCE", "TRIED AGAIN", "WHY"];
    out::table(&headers, paused.iter().map(row).collect())
}

fn row(pause: &Value) -> Vec<Cell> {
    let every = |text: String| {
        Cell::new(if text.is_empty() {
            "all".to_owned()
        } else {
            text
        })
    };
    // Feishu's own name of a call where no kind of ours is meant.
    let what = match &pause["kind"] {
        Value::Null => out::text(&pause["api"]),
        kind => out::text(kind),
    };
    let [code, reason] = ["code", "reason"].map(|name| out::text(&pause[name]));
    // Feishu's words begin with its code.
    let told = reason.split(' ').next() == Some(code.as_str());
    let why = [if told { String::new() } else { code }, reason];
    let why: Vec<String> = why.into_iter().filter(|part| !part.is_empty()).collect();
    vec![
        every(out::text(&pause["app"])),
        every(out::text(&pause["lane"])),
        every(what),
        out::cell(&pause["by"]),
        out::cell(&pause["since"]),
        out::cell(&pause["next_probe"]),
        Cell::new(why.join(" ")),
    ]
}
