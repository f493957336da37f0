//! `send`: one message, to one receiver or to many, in the words of the command line.
//!
//! Returns once the job is on the relay's disk; with `--wait` once it is settled. Repeats nothing
//! by itself: with `--key` the user may, and the first job answers.

use std::collections::BTreeMap;
use std::io::Read;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use reqwest::Method;
use reqwest::multipart::{Form, Part};
use serde::Serialize;
use serde_json::json;
use serde_json::value::RawValue;
use tokio::time::Instant;

use super::exit::{Ended, Exit, Trouble};
use super::follow::{WAIT_MAX, exit_of, settle};
use super::out;
use super::relay::{Answer, Body, Relay, RelayError, Remote, Request};
use crate::config::values;

/// The file name that means standard input.
const STDIN: &str = "-";

/// Send one message; FILE or TEXT may be `-` for standard input
#[derive(Debug, clap::Args)]
#[command(override_usage = "feishu-relay send --to <ID> --text <TEXT> [OPTIONS]")]
pub(super) struct Send {
    /// Receiver: oc_… ou_… on_…, user id or mail address
    #[arg(long, value_name = "ID", required_unless_present_any = ["open_ids", "user_ids", "departments"])]
    to: Option<String>,
    #[command(flatten)]
    content: Content,
    /// Many receivers in few calls: open_ids, one a line
    #[arg(long, value_name = "FILE", conflicts_with = "to")]
    open_ids: Option<PathBuf>,
    /// user_ids; --departments FILE: department ids
    #[arg(long, value_name = "FILE", conflicts_with = "to")]
    user_ids: Option<PathBuf>,
    /// The same with department ids
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with = "to",
        hide_short_help = true
    )]
    departments: Option<PathBuf>,
    /// App to send as; else the first in the config
    #[arg(long, value_name = "NAME")]
    app: Option<String>,
    /// Same key, same job; another under it is refused
    #[arg(long)]
    key: Option<String>,
    /// high, normal or low
    #[arg(long, value_parser = ["high", "normal", "low"], hide_possible_values = true)]
    priority: Option<String>,
    /// Not before this long from now
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    delay: Option<String>,
    /// Not after this long from now
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    expires_in: Option<String>,
    /// Label, may be repeated
    #[arg(long = "label", value_name = "K=V", value_parser = super::label)]
    labels: Vec<(String, String)>,
    /// Pin it once it is sent
    #[arg(long, conflicts_with_all = ["open_ids", "user_ids", "departments"])]
    then_pin: bool,
    /// Buzz these people once it is sent: ou_a,ou_b
    #[arg(long, value_name = "IDS", value_delimiter = ',', conflicts_with_all = ["open_ids", "user_ids", "departments"])]
    then_urgent_app: Vec<String>,
    /// Wait until it is settled: 30s, or --wait=2m
    #[arg(long, value_name = "TIME", num_args = 0..=1, require_equals = true, default_missing_value = "30s", value_parser = values::duration)]
    wait: Option<Duration>,
    #[command(flatten)]
    remote: Remote,
}

/// What is sent: exactly one.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct Content {
    /// Text as Feishu writes it
    #[arg(long, allow_hyphen_values = true)]
    text: Option<String>,
    /// Markdown, as a post
    #[arg(long, allow_hyphen_values = true, value_name = "TEXT")]
    markdown: Option<String>,
    /// Card, a JSON file
    #[arg(long, value_name = "FILE")]
    card: Option<PathBuf>,
    /// Image, brought to Feishu first
    #[arg(long, value_name = "FILE")]
    image: Option<PathBuf>,
    /// File, brought to Feishu first
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
}

/// The job as the relay takes it.
#[derive(Debug, Serialize)]
struct Job<'a> {
    kind: &'a str,
    args: BTreeMap<&'a str, Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    app: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    priority: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    delay: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_in: Option<&'a str>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    labels: BTreeMap<&'a str, &'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    then: Vec<serde_json::Value>,
}

impl Send {
    /// Stores the job and, with `--wait`, follows it.
    pub(super) async fn run(self) -> Ended {
        super::each_label_once(&self.labels)?;
        let mut input = Input::default();
        let job = self.body(&mut input)?;
        let body = match &self.content.file {
            None => Body::Json(job),
            Some(file) => Body::Form(form(job, file, &mut input).await?),
        };
        let relay = self.remote.relay()?;
        let until = self.wait.map(|wait| Instant::now() + wait);
        let first = self.store(&relay, body).await?;
        let Some(until) = until else {
            self.show(&first)?;
            return Ok(Exit::Fine);
        };
        let (exit, last) = settle(&relay, first, until, exit_of).await?;
        self.show(&last)?;
        if exit == Exit::Unsettled {
            out::complain("feishu-relay: it is stored, but not settled in the time given");
        }
        Ok(exit)
    }

    fn show(&self, answer: &Answer) -> Result<(), Trouble> {
        match self.remote.json {
            true => out::json(&answer.body)?,
            false => out::line(&out::summary(&answer.json))?,
        }
        Ok(())
    }

    async fn store(&self, relay: &Relay, body: Body) -> Result<Answer, Trouble> {
        let wait = self.wait.unwrap_or_default().min(WAIT_MAX);
        let query = match wait.is_zero() {
            true => Vec::new(),
            false => vec![("wait".to_owned(), format!("{}ms", wait.as_millis()))],
        };
        let request = Request {
            method: Method::POST,
            path: &["jobs"],
            query,
            body: Some(body),
            wait,
        };
        relay
            .call(request)
            .await
            .map_err(|error| self.explain(error))
    }

    /// Says after a lost connection what the user can do: repeat, if there is a key.
    fn explain(&self, error: RelayError) -> Trouble {
        let RelayError::Lost { relay, why } = error else {
            return error.into();
        };
        let advice = match self.key {
            Some(_) => "repeating it with the same --key is safe",
            None => {
                "look with `jobs list` before sending again (repeating is safe only with a --key given from the start)"
            }
        };
        Trouble::new(
            Exit::Doubt,
            format!(
                "the connection to {relay} was lost before it answered ({why}): the job may or may not be stored; {advice}"
            ),
        )
    }

    fn body(&self, input: &mut Input) -> Result<String, Trouble> {
        let mut args = BTreeMap::new();
        let lists = [
            ("open_ids", &self.open_ids),
            ("user_ids", &self.user_ids),
            ("department_ids", &self.departments),
        ];
        let mut kind = "send";
        for (name, file) in lists {
            if let Some(file) = file {
                kind = "batch_send";
                args.insert(name, raw(&input.lines(file)?)?);
            }
        }
        if let Some(to) = &self.to {
            args.insert("to", raw(to)?);
        }
        // A file goes beside the job.
        if self.content.file.is_none() {
            let (name, content) = self.content.read(input)?;
            args.insert(name, content);
        }
        let job = Job {
            kind,
            args,
            app: self.app.as_deref(),
            key: self.key.as_deref(),
            priority: self.priority.as_deref(),
            delay: self.delay.as_deref(),
            expires_in: self.expires_in.as_deref(),
            labels: self
                .labels
                .iter()
                .map(|(name, value)| (name.as_str(), value.as_str()))
                .collect(),
            then: self.then(),
        };
        serde_json::to_string(&job).map_err(unwritable)
    }

    fn then(&self) -> Vec<serde_json::Value> {
        let pin = self.then_pin.then(|| json!({"kind": "pin"}));
        let users = &self.then_urgent_app;
        let urgent =
            (!users.is_empty()).then(|| json!({"kind": "urgent_app", "args": {"users": users}}));
        pin.into_iter().chain(urgent).collect()
    }
}

impl Content {
    /// The name of the content's argument, and its value.
    fn read(&self, input: &mut Input) -> Result<(&'static str, Box<RawValue>), Trouble> {
        if let Some(text) = &self.text {
            return Ok(("text", raw(&input.words(text)?)?));
        }
        if let Some(markdown) = &self.markdown {
            return Ok(("markdown", raw(&input.words(markdown)?)?));
        }
        if let Some(file) = &self.card {
            let text = input.text(file)?;
            let card = RawValue::from_string(text.trim().to_owned());
            let card = card.map_err(|error| {
                Trouble::wrong(format!("{} is not JSON: {error}", file.display()))
            })?;
            return Ok(("card", card));
        }
        if let Some(file) = &self.image {
            return Ok(("image", bytes(file, input)?));
        }
        Err(Trouble::wrong(
            "give one of --text, --markdown, --card, --image and --file",
        ))
    }
}

fn bytes(file: &Path, input: &mut Input) -> Result<Box<RawValue>, Trouble> {
    let data = BASE64.encode(input.bytes(file)?);
    raw(&json!({"data": data, "file_name": name_of(file)}))
}

fn name_of(file: &Path) -> String {
    match file.file_name() {
        Some(name) if file != Path::new(STDIN) => name.to_string_lossy().into_owned(),
        _ => "stdin".to_owned(),
    }
}

/// The job, and beside it the file, which is read while it is sent.
async fn form(job: String, file: &Path, input: &mut Input) -> Result<Form, Trouble> {
    let opened = input.open(file)?;
    let cannot = |error| Trouble::wrong(format!("cannot read {}: {error}", file.display()));
    let about = opened.metadata().map_err(cannot)?;
    if about.is_dir() {
        return Err(Trouble::wrong(format!("{} is a folder", file.display())));
    }
    let bytes = tokio::fs::File::from_std(opened);
    let part = match about.is_file() && file != Path::new(STDIN) {
        true => Part::stream_with_length(bytes, about.len()),
        false => Part::stream(bytes),
    };
    // Feishu wants a suffix.
    let name = match file == Path::new(STDIN) {
        true => "stdin.bin".to_owned(),
        false => name_of(file),
    };
    let part = part.file_name(name);
    Ok(Form::new().text("job", job).part("file", part))
}

fn raw<T: Serialize>(value: &T) -> Result<Box<RawValue>, Trouble> {
    serde_json::value::to_raw_value(value).map_err(unwritable)
}

fn unwritable(error: serde_json::Error) -> Trouble {
    Trouble::new(Exit::Failed, format!("cannot write the request: {error}"))
}

/// Files and standard input; the latter can be read once.
#[derive(Debug, Default)]
struct Input {
    stdin_used: bool,
}

impl Input {
    /// Words of the command line, or standard input without its last newline.
    fn words(&mut self, words: &str) -> Result<String, Trouble> {
        if words != STDIN {
            return Ok(words.to_owned());
        }
        let text = self.text(Path::new(STDIN))?;
        let text = text.strip_suffix('\n').unwrap_or(&text);
        Ok(text.strip_suffix('\r').unwrap_or(text).to_owned())
    }

    /// Ids, one a line; empty lines and what follows a `#` do not count.
    fn lines(&mut self, file: &Path) -> Result<Vec<String>, Trouble> {
        let text = self.text(file)?;
        let ids = text
            .lines()
            .map(|line| line.split('#').next().unwrap_or_default().trim());
        Ok(ids.filter(|id| !id.is_empty()).map(str::to_owned).collect())
    }

    fn text(&mut self, file: &Path) -> Result<String, Trouble> {
        String::from_utf8(self.bytes(file)?)
            .map_err(|_| Trouble::wrong(format!("{} is not UTF-8 text", file.display())))
    }

    fn bytes(&mut self, file: &Path) -> Result<Vec<u8>, Trouble> {
        let mut bytes = Vec::new();
        let read = self.open(file)?.read_to_end(&mut bytes);
        read.map_err(|error| Trouble::wrong(format!("cannot read {}: {error}", file.display())))?;
        Ok(bytes)
    }

    fn open(&mut self, file: &Path) -> Result<std::fs::File, Trouble> {
        let opened = if file == Path::new(STDIN) {
            if std::mem::replace(&mut self.stdin_used, true) {
                return Err(Trouble::wrong("standard input (-) can be read only once"));
            }
            let stdin = std::io::stdin();
            stdin.as_fd().try_clone_to_owned().map(std::fs::File::from)
        } else {
            std::fs::File::open(file)
        };
        opened.map_err(|error| Trouble::wrong(format!("cannot read {}: {error}", file.display())))
    }
}
