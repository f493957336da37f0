//! The HTTP client of the commands that speak to a running relay.
//!
//! It repeats nothing: what happened to a request is told apart as far as it can be known.
//! No proxy is used, whatever the environment says; redirects are not followed.

use std::path::PathBuf;
use std::time::Duration;

use reqwest::{Method, StatusCode, Url, header};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

use super::exit::{Exit, Trouble};

const CONNECT_MAX: Duration = Duration::from_secs(5);

/// How much longer than the wait that was asked for an answer may take.
const ANSWER_MAX: Duration = Duration::from_secs(60);

/// How much longer again, while a file goes over.
const UPLOAD_MAX: Duration = Duration::from_secs(600);

const URL_VARIABLE: &str = "FEISHU_RELAY_URL";
const TOKEN_VARIABLE: &str = "FEISHU_RELAY_TOKEN";
const USUAL_URL: &str = "http://127.0.0.1:8787";

/// Which relay to speak to, and how to answer.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct Remote {
    /// http://… or unix:/path; else $FEISHU_RELAY_URL, else http://127.0.0.1:8787
    #[arg(
        long,
        help_heading = "Relay",
        value_name = "URL",
        hide_short_help = true
    )]
    url: Option<String>,
    /// Client token; else $FEISHU_RELAY_TOKEN
    #[arg(
        long,
        help_heading = "Relay",
        conflicts_with = "token_file",
        hide_short_help = true
    )]
    token: Option<String>,
    /// File that holds the client token
    #[arg(
        long,
        help_heading = "Relay",
        value_name = "FILE",
        hide_short_help = true
    )]
    token_file: Option<PathBuf>,
    /// Print the relay's JSON
    #[arg(long, help_heading = None)]
    pub(super) json: bool,
}

/// A relay to speak to.
#[derive(Debug)]
pub(super) struct Relay {
    http: reqwest::Client,
    base: Url,
    name: String,
    token: Option<SecretString>,
}

/// What a request carries.
#[derive(Debug)]
pub(super) enum Body {
    /// JSON.
    Json(String),
    /// A form, its files streamed.
    Form(reqwest::multipart::Form),
}

/// One request.
#[derive(Debug)]
pub(super) struct Request<'a> {
    pub(super) method: Method,
    /// Segments of the path below `/v1`.
    pub(super) path: &'a [&'a str],
    pub(super) query: Vec<(String, String)>,
    pub(super) body: Option<Body>,
    /// How long the relay is asked to wait.
    pub(super) wait: Duration,
}

/// The relay's answer when it did what was asked.
#[derive(Debug)]
pub(super) struct Answer {
    /// As it came.
    pub(super) body: String,
    /// Parsed.
    pub(super) json: Value,
}

/// Why there is no such answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum RelayError {
    /// Surely nothing was stored; `so` says it where something would have been.
    #[error("the relay at {relay} cannot be reached ({why}){so}")]
    Unreachable {
        relay: String,
        why: String,
        so: &'static str,
    },
    /// The request may have been carried out.
    #[error(
        "the connection to {relay} was lost before it answered ({why}): it may or may not have been carried out"
    )]
    Lost { relay: String, why: String },
    /// Nothing was asked to change, so nothing did.
    #[error("{relay} did not answer ({why})")]
    Unanswered { relay: String, why: String },
    /// 503: later it may take it.
    #[error("the relay is full or not ready{later}; nothing was stored: {words}")]
    Full { later: String, words: String },
    /// 4xx: the same again is refused again.
    #[error("the relay refused this ({status}): {words}")]
    Refused { status: u16, words: String },
    /// Another status, or no JSON: not what a relay answers.
    #[error("{relay} answered {status}, which is no answer of a relay: {words}")]
    Strange {
        relay: String,
        status: u16,
        words: String,
    },
}

impl From<RelayError> for Trouble {
    fn from(error: RelayError) -> Self {
        let exit = match &error {
            RelayError::Unreachable { .. }
            | RelayError::Unanswered { .. }
            | RelayError::Full { .. } => Exit::Unreachable,
            RelayError::Lost { .. } => Exit::Doubt,
            RelayError::Refused { .. } => Exit::Wrong,
            RelayError::Strange { .. } => Exit::Failed,
        };
        Self::new(exit, error.to_string())
    }
}

impl Remote {
    /// Prepares to speak to the relay; nothing is sent yet.
    pub(super) fn relay(&self) -> Result<Relay, Trouble> {
        let name = self.url.clone().or_else(|| variable(URL_VARIABLE));
        let name = name.unwrap_or_else(|| USUAL_URL.to_owned());
        Relay::new(name, self.token()?)
    }

    fn token(&self) -> Result<Option<SecretString>, Trouble> {
        let text = match (&self.token, &self.token_file) {
            (Some(token), _) => Some(token.clone()),
            (None, Some(path)) => Some(std::fs::read_to_string(path).map_err(|error| {
                Trouble::wrong(format!("cannot read {}: {error}", path.display()))
            })?),
            (None, None) => variable(TOKEN_VARIABLE),
        };
        Ok(text.map(|text| SecretString::from(text.trim())))
    }
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

impl Relay {
    /// A relay on this machine that asks for no token.
    pub(super) fn on_loopback(url: &str) -> Result<Self, Trouble> {
        Self::new(url.to_owned(), None)
    }

    fn new(name: String, token: Option<SecretString>) -> Result<Self, Trouble> {
        let builder = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT_MAX);
        let (builder, base) = match name.strip_prefix("unix:") {
            Some(path) => (builder.unix_socket(PathBuf::from(path)), "http://localhost"),
            None => (builder, name.as_str()),
        };
        let base = Url::parse(base)
            .ok()
            .filter(|url| matches!(url.scheme(), "http" | "https"))
            .ok_or_else(|| {
                Trouble::wrong(format!("{name:?} is not http://…, https://… or unix:/path"))
            })?;
        let http = builder.build().map_err(|error| {
            Trouble::new(
                Exit::Failed,
                format!("cannot prepare the HTTP client: {error}"),
            )
        })?;
        Ok(Self {
            http,
            base,
            name,
            token,
        })
    }

    /// Asks for what is below `/v1`, without changing anything.
    pub(super) async fn get(
        &self,
        path: &[&str],
        query: Vec<(String, String)>,
        wait: Duration,
    ) -> Result<Answer, RelayError> {
        let method = Method::GET;
        let request = Request {
            method,
            path,
            query,
            body: None,
            wait,
        };
        self.call(request).await
    }

    /// Asks the relay to do something.
    pub(super) async fn post(
        &self,
        path: &[&str],
        query: Vec<(String, String)>,
        body: Option<String>,
    ) -> Result<Answer, RelayError> {
        let method = Method::POST;
        let request = Request {
            method,
            path,
            query,
            body: body.map(Body::Json),
            wait: Duration::ZERO,
        };
        self.call(request).await
    }

    /// Opens the stream of events, behind the event of that id.
    ///
    /// # Errors
    /// There is no stream; see each variant.
    pub(super) async fn events(
        &self,
        query: Vec<(String, String)>,
        last_id: Option<&str>,
    ) -> Result<reqwest::Response, RelayError> {
        /// Longer than anybody watches: a stream ends when somebody ends it.
        const EVER: Duration = Duration::from_secs(10 * 365 * 86_400);
        let mut asked = self.prepare(Request {
            method: Method::GET,
            path: &["events"],
            query,
            body: None,
            wait: EVER,
        });
        if let Some(id) = last_id {
            asked = asked.header("Last-Event-ID", id);
        }
        let lost = |error: reqwest::Error| self.lost(&error, false);
        let response = asked.send().await.map_err(lost)?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let body = response.text().await.map_err(lost)?;
        match self.judge(status, String::new(), body) {
            Err(error) => Err(error),
            Ok(answer) => Err(RelayError::Strange {
                relay: self.name.clone(),
                status: status.as_u16(),
                words: answer.body,
            }),
        }
    }

    /// Sends one request and tells apart what became of it.
    ///
    /// # Errors
    /// By what the caller may conclude about what was stored; see each variant.
    pub(super) async fn call(&self, request: Request<'_>) -> Result<Answer, RelayError> {
        let changes = request.method != Method::GET;
        let lost = |error: reqwest::Error| self.lost(&error, changes);
        let response = self.prepare(request).send().await.map_err(lost)?;
        let status = response.status();
        let later = response
            .headers()
            .get(header::RETRY_AFTER)
            .and_then(|value| value.to_str().ok())
            .map(|seconds| format!(" for the next {seconds} s"))
            .unwrap_or_default();
        let body = response.text().await.map_err(lost)?;
        self.judge(status, later, body)
    }

    fn prepare(&self, request: Request<'_>) -> reqwest::RequestBuilder {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().push("v1").extend(request.path);
        }
        if !request.query.is_empty() {
            url.query_pairs_mut().extend_pairs(request.query);
        }
        let mut builder = self
            .http
            .request(request.method, url)
            .timeout(request.wait + ANSWER_MAX);
        if let Some(token) = &self.token {
            builder = builder.bearer_auth(token.expose_secret());
        }
        match request.body {
            None => builder,
            Some(Body::Json(body)) => builder
                .header(header::CONTENT_TYPE, "application/json")
                .body(body),
            Some(Body::Form(form)) => builder
                .timeout(request.wait + ANSWER_MAX + UPLOAD_MAX)
                .multipart(form),
        }
    }

    fn lost(&self, error: &reqwest::Error, changes: bool) -> RelayError {
        let relay = self.name.clone();
        let why = innermost(error);
        if error.is_connect() || error.is_builder() {
            let so = if changes { "; nothing was stored" } else { "" };
            RelayError::Unreachable { relay, why, so }
        } else if changes {
            RelayError::Lost { relay, why }
        } else {
            RelayError::Unanswered { relay, why }
        }
    }

    fn judge(&self, status: StatusCode, later: String, body: String) -> Result<Answer, RelayError> {
        let json = serde_json::from_str(&body);
        match (status, json) {
            (status, Ok(json)) if status.is_success() => Ok(Answer { body, json }),
            (StatusCode::SERVICE_UNAVAILABLE, json) => Err(RelayError::Full {
                later,
                words: words(json.ok(), &body),
            }),
            (status, json) if status.is_client_error() => Err(RelayError::Refused {
                status: status.as_u16(),
                words: words(json.ok(), &body),
            }),
            (status, json) => Err(RelayError::Strange {
                relay: self.name.clone(),
                status: status.as_u16(),
                words: words(json.ok(), &body),
            }),
        }
    }
}

/// A problem document in one line: each flaw with its pointer, else the detail, which says no
/// more than the flaws do where there are any.
fn words(problem: Option<Value>, body: &str) -> String {
    const SHOWN_MAX: usize = 200;
    let Some(problem) = problem.filter(Value::is_object) else {
        let line: String = body.split_whitespace().collect::<Vec<_>>().join(" ");
        return line.chars().take(SHOWN_MAX).collect();
    };
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let flaws = problem["errors"].as_array().into_iter().flatten();
    let flaws = flaws.map(|flaw| match text(&flaw["pointer"]) {
        pointer if pointer.is_empty() => text(&flaw["detail"]),
        pointer => format!("{pointer}: {}", text(&flaw["detail"])),
    });
    let said = flaws.collect::<Vec<_>>().join("; ");
    let words = [said, text(&problem["detail"]), text(&problem["title"])];
    words
        .into_iter()
        .find(|words| !words.is_empty())
        .unwrap_or_default()
}

/// The last cause of an error: the one with the system's words.
fn innermost(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "it took too long".to_owned();
    }
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}
