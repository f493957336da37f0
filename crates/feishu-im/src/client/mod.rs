//! Performs requests, each exactly once.
//!
//! Promises: one attempt a call; "not sent" is proven by the body that was never taken; the head of an answer comes
//! in `timeout`, its body keeps moving within `body_idle`; no token, secret, address or content in a text.
//! Not here: repeating (nobody does it here), what an answer means (`classify`).

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Response, Url};
use secrecy::{ExposeSecret, SecretString};
use tokio::time::{Instant, sleep_until, timeout};

use crate::answers::TenantToken;
use crate::body::{Evidence, Outgoing, Part};
use crate::classify::{Class, classify};
use crate::endpoints::{Api, Family, Method};
use crate::exchange::{Exchange, Fault, Head, NotSentKind, Reply, TokenFault, UnknownKind};
use crate::form;
use crate::limits::ANSWER_BYTES_MAX;
use crate::op;
use crate::request::{Body, Request};
use crate::token::{self, Fetched, Token, Tokens, no_token};

/// How to reach the platform, and as whom.
pub struct ClientOptions {
    /// `https://open.feishu.cn`, `https://open.larksuite.com` or a local one; without `/open-apis`.
    pub base_url: String,
    /// `cli_…`
    pub app_id: String,
    /// The app's secret.
    pub app_secret: SecretString,
    /// To the head of an answer.
    pub timeout: Duration,
    /// Between two pieces of a body, either way.
    pub body_idle: Duration,
    /// A proxy's address, else none; the environment is not asked.
    pub proxy: Option<String>,
    /// For the token's life and the gap between fetches.
    pub clock: Arc<dyn Clock>,
}

/// A clock in milliseconds that does not go back; its zero means nothing.
pub trait Clock: Send + Sync + fmt::Debug {
    /// Milliseconds now.
    fn now_ms(&self) -> i64;
}

/// The machine's monotonic clock.
#[derive(Debug)]
pub struct SystemClock(Instant);

impl Default for SystemClock {
    fn default() -> SystemClock {
        SystemClock(Instant::now())
    }
}

impl Clock for SystemClock {
    fn now_ms(&self) -> i64 {
        i64::try_from(self.0.elapsed().as_millis()).unwrap_or(i64::MAX)
    }
}

/// Why no client can be made of these options.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The address is not an `http` or `https` one.
    #[error("base_url is not an http or https address without query")]
    BaseUrl,
    /// The proxy's address cannot be read.
    #[error("the proxy's address cannot be read")]
    Proxy,
    /// TLS or the like could not be set up.
    #[error("the HTTP client cannot be set up: {0}")]
    Setup(String),
}

/// A client of one app; a clone is another handle on the same.
#[derive(Clone)]
pub struct Client(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    http: reqwest::Client,
    pub(crate) base: String,
    app_id: String,
    timeout: Duration,
    pub(crate) body_idle: Duration,
    clock: Arc<dyn Clock>,
    pub(crate) tokens: Tokens,
}

/// An unused connection is given up before common front ends do it, and soon after a burst: some hundred of them hold
/// 16 MiB. It takes up to twice this long.
const POOL_IDLE: Duration = Duration::from_secs(15);
/// Longest time for a connection; half of a shorter time-out.
const CONNECT_MAX: Duration = Duration::from_secs(5);
/// An HTTP/2 connection is asked for life so often, and given up after [`CONNECT_MAX`] without a sign.
const KEEP_ALIVE: Duration = Duration::from_secs(20);

impl Client {
    /// A client of these options; nothing is sent yet.
    ///
    /// # Errors
    /// `BaseUrl`, `Proxy`: that setting is wrong. `Setup`: TLS cannot work on this machine.
    pub fn new(options: ClientOptions) -> Result<Client, ClientError> {
        let connect = CONNECT_MAX.min(options.timeout / 2);
        Client::with_connect_timeout(options, connect)
    }

    fn with_connect_timeout(
        options: ClientOptions,
        connect: Duration,
    ) -> Result<Client, ClientError> {
        let base = options.base_url.trim_end_matches('/').to_owned();
        let url = Url::parse(&base).map_err(|_| ClientError::BaseUrl)?;
        let plain = url.query().is_none() && url.fragment().is_none() && url.has_host();
        if !matches!(url.scheme(), "http" | "https") || !plain {
            return Err(ClientError::BaseUrl);
        }
        let builder = reqwest::Client::builder()
            .connect_timeout(connect)
            .pool_idle_timeout(POOL_IDLE)
            .http2_keep_alive_interval(KEEP_ALIVE)
            .http2_keep_alive_timeout(CONNECT_MAX)
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .user_agent(concat!("feishu-im/", env!("CARGO_PKG_VERSION")));
        let builder = match &options.proxy {
            None => builder.no_proxy(),
            Some(proxy) => {
                builder.proxy(reqwest::Proxy::all(proxy).map_err(|_| ClientError::Proxy)?)
            }
        };
        let http = builder
            .build()
            .map_err(|error| ClientError::Setup(text_of(error)))?;
        Ok(Client(Arc::new(Inner {
            http,
            base,
            app_id: options.app_id,
            timeout: options.timeout,
            body_idle: options.body_idle,
            clock: options.clock,
            tokens: Tokens::new(options.app_secret),
        })))
    }

    /// Performs `request` once, with a token where its endpoint takes one.
    ///
    /// Dropping the future after it began leaves the outcome unknown.
    pub async fn call(&self, request: &Request) -> Exchange {
        let mut exchange = Exchange {
            api: request.api,
            answer: Err(flawed("")),
            log_id: None,
            fresh_token_same: false,
        };
        if let Some(flaw) = request.flaw {
            exchange.answer = Err(flawed(flaw));
            return exchange;
        }
        if matches!(request.api.endpoint().family, Family::Token | Family::Hook) {
            (exchange.answer, exchange.log_id) = self.0.perform(request, None).await;
            return exchange;
        }
        let token = match token::acquire(&self.0).await {
            Ok(token) => token,
            Err(fault) => {
                exchange.answer = Err(fault);
                return exchange;
            }
        };
        (exchange.answer, exchange.log_id) = self.0.perform(request, Some(&token)).await;
        if classify(&exchange).token {
            self.0.tokens.drop_token(&token, self.0.now_ms());
            exchange.fresh_token_same = token.returned;
        }
        exchange
    }

    /// Performs `request` once, without a token, whatever its endpoint takes.
    pub(crate) async fn call_bare(&self, request: &Request) -> Exchange {
        let (answer, log_id) = self.0.perform(request, None).await;
        Exchange {
            api: request.api,
            answer,
            log_id,
            fresh_token_same: false,
        }
    }

    /// Makes sure that a token is at hand.
    ///
    /// # Errors
    /// `Fault::Token`: the platform refuses the app. `Fault::NotSent`: none now, for another reason.
    pub async fn token(&self) -> Result<(), Fault> {
        token::acquire(&self.0).await.map(drop)
    }

    /// Uses another secret from now on; a valid token stays in use, a fetch may begin at once.
    pub fn set_secret(&self, secret: SecretString) {
        self.0.tokens.set_secret(secret);
    }

    /// The app's id, `cli_…`: the sender of its messages, as a history shows it.
    pub fn app_id(&self) -> &str {
        self.0.app_id()
    }
}

impl Inner {
    pub(crate) fn now_ms(&self) -> i64 {
        self.clock.now_ms()
    }

    pub(crate) fn app_id(&self) -> &str {
        &self.app_id
    }

    /// One attempt; the trace id beside the answer.
    async fn perform(
        &self,
        request: &Request,
        token: Option<&Token>,
    ) -> (Result<Reply, Fault>, Option<String>) {
        let (parts, content_type) = match parts_of(&request.body).await {
            Ok(parts) => parts,
            Err(fault) => return (Err(fault), None),
        };
        let (body, evidence) = Outgoing::new(parts);
        let built = match self.build(request, token, content_type.as_deref(), body) {
            Ok(built) => built,
            Err(fault) => return (Err(fault), None),
        };
        match self.head(built, &evidence).await {
            Ok(response) => {
                let head = head_of(&response);
                let log_id = head.log_id.clone();
                let answer = self.answer(response, &head).await;
                let log_id =
                    log_id.or_else(|| answer.as_ref().ok().and_then(|reply| reply.log_id.clone()));
                (answer, log_id)
            }
            Err(fault) => (Err(fault), None),
        }
    }

    fn build(
        &self,
        request: &Request,
        token: Option<&Token>,
        content_type: Option<&str>,
        body: Outgoing,
    ) -> Result<reqwest::Request, Fault> {
        let mark = if request.query.is_empty() { "" } else { "?" };
        let url = format!("{}{}{mark}{}", self.base, request.path, request.query);
        let url = Url::parse(&url).map_err(|_| flawed("the path is none"))?;
        let method = match request.api.endpoint().method {
            Method::Get => reqwest::Method::GET,
            Method::Post => reqwest::Method::POST,
            Method::Put => reqwest::Method::PUT,
            Method::Patch => reqwest::Method::PATCH,
            Method::Delete => reqwest::Method::DELETE,
        };
        let mut built = reqwest::Request::new(method, url);
        if let Some(token) = token {
            built.headers_mut().insert(AUTHORIZATION, bearer(token)?);
        }
        if let Some(value) = content_type.and_then(|value| HeaderValue::try_from(value).ok()) {
            built.headers_mut().insert(CONTENT_TYPE, value);
        }
        *built.body_mut() = Some(reqwest::Body::wrap(body));
        Ok(built)
    }

    /// The head of the answer.
    pub(crate) async fn head(
        &self,
        built: reqwest::Request,
        evidence: &Evidence,
    ) -> Result<Response, Fault> {
        let started = Instant::now();
        let mut sending = Box::pin(self.http.execute(built));
        let outcome = loop {
            let deadline = evidence.deadline(started, self.timeout, self.body_idle);
            tokio::select! {
                biased;
                outcome = &mut sending => break outcome.map_err(|error| (UnknownKind::Broken, text_of(error))),
                // A body in pieces changes its deadline as it moves, so it is looked at again now and then.
                () = sleep_until(deadline.min(Instant::now() + self.body_idle)) => {
                    if evidence.deadline(started, self.timeout, self.body_idle) <= Instant::now() {
                        break Err((UnknownKind::Timeout, "no answer in time".to_owned()));
                    }
                }
            }
        };
        drop(sending);
        outcome.map_err(|(kind, text)| {
            if evidence.withdraw() {
                return Fault::NotSent {
                    kind: NotSentKind::Connect,
                    text,
                    wait_ms: None,
                };
            }
            Fault::Unknown {
                kind,
                http: None,
                text,
            }
        })
    }

    /// The rest of the answer.
    async fn answer(&self, response: Response, head: &Head) -> Result<Reply, Fault> {
        let http = head.http;
        let unknown = |kind, text: &str| Fault::Unknown {
            kind,
            http: Some(http),
            text: text.to_owned(),
        };
        let not_json = Fault::NotJson {
            http,
            reset_s: head.reset_s,
            retry_after_s: head.retry_after_s,
        };
        let body = match self.collect(response).await {
            Ok(body) => body,
            Err(_) if http == 429 => return Err(not_json), // the status alone says: not executed
            Err((kind, text)) => return Err(unknown(kind, text)),
        };
        match Reply::read(head, body) {
            Some(reply) => Ok(reply),
            None if (300..500).contains(&http) => Err(not_json),
            None if http >= 500 => Err(unknown(
                UnknownKind::ServerError,
                "a server error without a code",
            )),
            None => Err(unknown(
                UnknownKind::Garbled,
                "the answer is not JSON with a code",
            )),
        }
    }

    async fn collect(&self, mut response: Response) -> Result<Bytes, (UnknownKind, &'static str)> {
        let mut body = BytesMut::new();
        loop {
            let chunk = match timeout(self.body_idle, response.chunk()).await {
                Err(_) => return Err((UnknownKind::Timeout, "the answer stopped in the middle")),
                Ok(Err(_)) => return Err((UnknownKind::Broken, "the answer broke off")),
                Ok(Ok(None)) => return Ok(body.freeze()),
                Ok(Ok(Some(chunk))) => chunk,
            };
            if body.len() + chunk.len() > ANSWER_BYTES_MAX {
                return Err((UnknownKind::Garbled, "the answer is too large"));
            }
            body.extend_from_slice(&chunk);
        }
    }

    /// Asks for a token, once.
    ///
    /// # Errors
    /// `Fault::Token`: refused for good. `Fault::NotSent`: none now.
    pub(crate) async fn fetch_token(&self, app_secret: &str) -> Result<Fetched, Fault> {
        let request = op::TenantToken {
            app_id: &self.app_id,
            app_secret,
        }
        .request();
        let (answer, log_id) = self.perform(&request, None).await;
        let exchange = Exchange {
            api: Api::TenantToken,
            answer,
            log_id,
            fresh_token_same: false,
        };
        let verdict = classify(&exchange);
        let reply = match exchange.answer {
            Ok(reply) => reply,
            Err(Fault::NotSent { text, wait_ms, .. }) => return Err(no_token(&text, wait_ms)),
            Err(fault) => return Err(no_token(&fault.to_string(), verdict.wait_ms)),
        };
        let refused = TokenFault {
            http: reply.http,
            code: reply.code,
            msg: reply.msg.clone(),
        };
        match verdict.class {
            Class::Done => {
                let answer: TenantToken = reply
                    .whole()
                    .map_err(|_| no_token("the token's answer is garbled", None))?;
                if answer.tenant_access_token.is_empty() || answer.expire <= 0 {
                    return Err(no_token("the answer holds no token", None));
                }
                let life_ms = answer.expire.saturating_mul(1000).min(i64::from(i32::MAX));
                Ok(Fetched {
                    value: answer.tenant_access_token.into(),
                    life_ms,
                })
            }
            Class::Retry | Class::Limited | Class::Ambiguous | Class::NotSent => {
                let text = format!("the token endpoint answered code {}", refused.code);
                Err(no_token(&text, verdict.wait_ms))
            }
            Class::Token | Class::Caller | Class::Gone | Class::Admin | Class::Unclear => {
                Err(Fault::Token(refused))
            }
        }
    }
}

/// The token as it is shown.
pub(crate) fn bearer(token: &Token) -> Result<HeaderValue, Fault> {
    let value = format!("Bearer {}", token.value.expose_secret());
    let mut value =
        HeaderValue::try_from(value).map_err(|_| no_token("the token is garbled", None))?;
    value.set_sensitive(true);
    Ok(value)
}

pub(crate) fn flawed(text: &str) -> Fault {
    Fault::NotSent {
        kind: NotSentKind::Request,
        text: text.to_owned(),
        wait_ms: None,
    }
}

/// The pieces of a body and its content type.
async fn parts_of(body: &Body) -> Result<(Vec<Part>, Option<String>), Fault> {
    match body {
        Body::None => Ok((Vec::new(), None)),
        Body::Json(text) => Ok((
            vec![Part::Bytes(text.clone())],
            Some("application/json; charset=utf-8".to_owned()),
        )),
        Body::Multipart {
            fields,
            file_field,
            file_name,
            file,
        } => {
            let (parts, content_type) = form::encode(fields, file_field, file_name, file)
                .await
                .map_err(|error| {
                    let text = format!("the file cannot be read: {}", error.kind());
                    Fault::NotSent {
                        kind: NotSentKind::File,
                        text,
                        wait_ms: None,
                    }
                })?;
            Ok((parts, Some(content_type)))
        }
    }
}

pub(crate) fn head_of(response: &Response) -> Head {
    let headers = response.headers();
    Head {
        http: response.status().as_u16(),
        rate_limit: header(headers, "x-ogw-ratelimit-limit"),
        reset_s: header(headers, "x-ogw-ratelimit-reset"),
        retry_after_s: header(headers, "retry-after"),
        log_id: header(headers, "x-tt-logid").or_else(|| header(headers, "x-request-id")),
    }
}

fn header<T: std::str::FromStr>(headers: &HeaderMap, name: &'static str) -> Option<T> {
    headers
        .get(HeaderName::from_static(name))?
        .to_str()
        .ok()?
        .trim()
        .parse()
        .ok()
}

/// The chain of an error without its address.
fn text_of(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        source = inner.source();
    }
    text
}

impl fmt::Debug for ClientOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientOptions")
            .field("app_id", &self.app_id)
            .field("timeout", &self.timeout)
            .field("body_idle", &self.body_idle)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("app_id", &self.0.app_id)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
