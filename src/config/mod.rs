//! The config file: what a person may set, checked whole before anything starts.
//!
//! A `Config` that exists is right: every value in its bounds, every secret read, every name
//! unique, every path resolved. A file that is not names all of its faults, each with line and
//! column. `config.example.toml` shows every key with its default; a test holds the two together.
//! Not here: what can change while the daemon runs (`daemon`), tokens compared (`http`).

mod apps;
mod clients;
mod fault;
mod matchers;
mod read;
mod routes;
mod secret;
mod sections;
pub mod values;

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use secrecy::SecretString;
use toml::de::DeTable;

pub use self::apps::{LIMITS, TIMEOUT_MAX};
pub use self::clients::KINDS;
use self::fault::{At, Report};
pub use self::fault::{ConfigError, Fault};
pub use self::matchers::{Matcher, Op};
pub use self::routes::{
    Fields, PATHS, Person, QuietHours, Route, Rung, SEVERITIES, Signature, Source, is_mail,
    is_person, time_zone,
};
use self::sections::Context;

/// Read when neither `--config` nor `$FEISHU_RELAY_CONFIG` names another file.
pub const DEFAULT_PATH: &str = "/etc/feishu-relay/config.toml";

/// Names the config file when `--config` does not.
pub const PATH_VARIABLE: &str = "FEISHU_RELAY_CONFIG";

/// The whole config, checked.
#[derive(Debug, Clone)]
pub struct Config {
    /// The file it was read from.
    pub file: PathBuf,
    /// Where requests come in.
    pub server: Server,
    /// What is logged, and how.
    pub log: Log,
    /// Where jobs are kept, and how long.
    pub store: StoreConfig,
    /// How much may wait, and how long.
    pub queue: Queue,
    /// At least one; the first is the default.
    pub apps: Vec<App>,
    /// Custom group bots.
    pub bots: Vec<Bot>,
    /// Who may enqueue; empty: loopback and unix sockets only.
    pub clients: Vec<Client>,
    /// Where alerts go, in the order of the file.
    pub routes: Vec<Route>,
    /// The file of each list of people, by its name.
    pub oncall: BTreeMap<String, PathBuf>,
    /// What is allowed and still worth a word, in the order of the file.
    pub warnings: Vec<Fault>,
}

/// `[server]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// At least one, none twice.
    pub listen: Vec<Listen>,
    /// File mode of the unix sockets.
    pub socket_mode: u32,
    /// Largest request body in bytes.
    pub max_body: u64,
}

/// One place to listen on.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Listen {
    /// An address and port; port 0 takes a free one.
    Tcp(SocketAddr),
    /// An absolute path; needs no token.
    Unix(PathBuf),
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "{address}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// `[log]`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Log {
    /// Nothing less severe is written.
    pub level: tracing::Level,
    /// Text for people or JSON for programs.
    pub format: LogFormat,
}

/// How a line of the log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// A sentence and its fields.
    Text,
    /// One JSON object a line; the default under systemd.
    Json,
}

/// `[store]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreConfig {
    /// The database; resolved, so independent of the working directory of a service.
    pub path: PathBuf,
    /// How long a settled job stays; at least 24 h.
    pub retention: Duration,
    /// How long its content stays; at most `retention`.
    pub content_retention: Duration,
}

/// `[queue]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Queue {
    /// Producers' unsettled jobs and children; beyond it the relay is full.
    pub max_pending: u64,
    /// Age at which a job without a deadline fails.
    pub give_up_after: Duration,
}

/// `[[apps]]`
#[derive(Clone)]
pub struct App {
    /// Unique; what jobs and metrics call it.
    pub name: String,
    /// Unique; Feishu's id of it.
    pub app_id: String,
    /// Apps of one tenant share its month's quota and the windows of its chats.
    pub tenant: String,
    /// Exchanged for a token at Feishu; goes nowhere else.
    pub app_secret: SecretString,
    /// Without a trailing slash.
    pub base_url: String,
    /// To the head of an answer.
    pub timeout: Duration,
    /// None: no proxy, whatever the environment says. May hold a password.
    pub proxy: Option<String>,
    /// Calls a month; 0 = unknown.
    pub month_quota: u64,
    /// Feishu's windows, or what of them this app may use.
    pub limits: Limits,
    /// What may cost money.
    pub budget: Budget,
}

impl fmt::Debug for App {
    /// Leaves out the secret and the proxy, which may hold a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("App")
            .field("name", &self.name)
            .field("app_id", &self.app_id)
            .field("tenant", &self.tenant)
            .field("base_url", &self.base_url)
            .field("timeout", &self.timeout)
            .field("proxied", &self.proxy.is_some())
            .field("month_quota", &self.month_quota)
            .field("limits", &self.limits)
            .field("budget", &self.budget)
            .finish_non_exhaustive()
    }
}

/// `limits` of an app, in calls; 0 = off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Calls of one API in any 60 s.
    pub app_minute: u32,
    /// Calls of one API in any second.
    pub app_second: u32,
    /// Messages to one group in any second.
    pub chat_second: u32,
    /// Messages to one user in any second.
    pub user_second: u32,
}

/// `budget` of an app, in calls a day (UTC+8), whoever asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// Urgent SMS.
    pub urgent_sms: u32,
    /// Urgent phone calls.
    pub urgent_phone: u32,
}

/// `[[bots]]`: a custom bot of one group.
#[derive(Clone)]
pub struct Bot {
    /// Unique; what a `webhook` job calls it.
    pub name: String,
    /// Its address; whoever knows it may post, so it is a secret.
    pub url: SecretString,
    /// Signs what is sent, if the bot asks for it.
    pub secret: Option<SecretString>,
    /// To the head of an answer.
    pub timeout: Duration,
    /// None: no proxy, whatever the environment says. May hold a password.
    pub proxy: Option<String>,
}

impl fmt::Debug for Bot {
    /// Leaves out the URL, the secret and the proxy, which may hold a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bot")
            .field("name", &self.name)
            .field("signs", &self.secret.is_some())
            .field("timeout", &self.timeout)
            .field("proxied", &self.proxy.is_some())
            .finish_non_exhaustive()
    }
}

/// `[[clients]]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Client {
    /// Unique; what a job's `client` says.
    pub name: String,
    /// SHA-256 of each of its tokens, however they were given; at least one.
    pub token_sha256: Vec<[u8; 32]>,
    /// At least one, none twice.
    pub scopes: Vec<Scope>,
    /// Names of `apps` it may use; none: all.
    pub apps: Option<Vec<String>>,
    /// Kinds of job it may enqueue; none: all.
    pub kinds: Option<Vec<String>>,
    /// How long its Feishu-compatible writes wait, if they do not say.
    pub wait: Option<Duration>,
    /// `high`, `normal` or `low`, for jobs that do not say.
    pub priority: Option<String>,
    /// For jobs that do not say.
    pub expires_in: Option<Duration>,
    /// Added to each of its jobs.
    pub labels: BTreeMap<String, String>,
}

/// What a client may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scope {
    /// Jobs, alerts, recall and cancel of its own.
    Enqueue,
    /// All GETs and the metrics.
    Read,
    /// Everything else.
    Operate,
    /// Feishu's API directly, with the app's token.
    Direct,
}

impl Config {
    /// Reads and checks the file at `path`, else `$FEISHU_RELAY_CONFIG`, else `DEFAULT_PATH`.
    ///
    /// # Errors
    /// Everything that is wrong with the file: show it and start nothing.
    pub fn load(path: Option<&Path>) -> Result<Self, ConfigError> {
        let env = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let path = match path {
            Some(path) => path.to_owned(),
            None => env(PATH_VARIABLE).map_or_else(|| PathBuf::from(DEFAULT_PATH), PathBuf::from),
        };
        let text = std::fs::read_to_string(&path)
            .map_err(|error| ConfigError::unreadable(&path, format!("cannot be read: {error}")))?;
        Self::parse(&text, &path, &env)
    }

    /// The path of a file that the config names: as it is, or beside the config.
    pub fn beside(&self, name: &str) -> PathBuf {
        self.file.parent().unwrap_or(Path::new("")).join(name)
    }

    /// Checks `text` as the content of the file `origin`, in the environment `env`.
    ///
    /// Reads the files of secrets it names; touches nothing else.
    ///
    /// # Errors
    /// As `load`.
    pub fn parse(
        text: &str,
        origin: &Path,
        env: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, ConfigError> {
        let report = Report::new(text);
        let (document, errors) = DeTable::parse_recoverable(text);
        for error in &errors {
            let at = At::new(&error.span().unwrap_or_default(), String::new());
            report.fault(&at, error.message());
        }
        let config = report.is_clean().then(|| {
            let context = Context {
                report: &report,
                folder: origin.parent().unwrap_or(Path::new("")),
                env,
            };
            sections::config(&context, origin, document.into_inner())
        });
        let (faults, warnings) = report.into_parts();
        match config {
            Some(config) if faults.is_empty() => Ok(Config { warnings, ..config }),
            _ => Err(ConfigError {
                file: origin.to_owned(),
                faults,
            }),
        }
    }
}
