//! A custom bot of a group: one URL, no app, no token.
//!
//! Promises: one attempt a call, as `client`; neither the URL nor the secret appears in a text or in `Debug`.
//! Not here: what a message may be (`content`), repeating.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use reqwest::Url;
use secrecy::{ExposeSecret, SecretString};

use crate::client::{Client, ClientError, ClientOptions, SystemClock};
use crate::content::{HookContent, Signed};
use crate::exchange::Exchange;
use crate::op;

/// How to reach a custom bot.
pub struct HookOptions {
    /// Where it listens; whoever knows it may speak.
    pub url: SecretString,
    /// What it checks signatures with, if it does.
    pub secret: Option<SecretString>,
    /// To the head of an answer.
    pub timeout: Duration,
    /// Between two pieces of a body, either way.
    pub body_idle: Duration,
    /// A proxy's address, else none; the environment is not asked.
    pub proxy: Option<String>,
}

/// A custom bot; a clone is another handle on the same.
#[derive(Clone)]
pub struct Hook {
    client: Client,
    path: SecretString,
    query: SecretString,
    secret: Option<SecretString>,
}

impl Hook {
    /// A bot of these options; nothing is sent yet.
    ///
    /// # Errors
    /// `BaseUrl`, `Proxy`: that setting is wrong. `Setup`: TLS cannot work on this machine.
    pub fn new(options: HookOptions) -> Result<Hook, ClientError> {
        let url = Url::parse(options.url.expose_secret()).map_err(|_| ClientError::BaseUrl)?;
        let client = Client::new(ClientOptions {
            base_url: url.origin().ascii_serialization(),
            app_id: String::new(),
            app_secret: "".into(),
            timeout: options.timeout,
            body_idle: options.body_idle,
            proxy: options.proxy,
            clock: Arc::new(SystemClock::default()),
        })?;
        Ok(Hook {
            client,
            path: url.path().into(),
            query: url.query().unwrap_or_default().into(),
            secret: options.secret,
        })
    }

    /// Says something once, signed with this time (Unix seconds) if the bot has a secret.
    ///
    /// Dropping the future after it began leaves the outcome unknown.
    pub async fn say(&self, content: &HookContent, now_s: i64) -> Exchange {
        let sign = (self.secret.as_ref()).map(|secret| op::sign(now_s, secret.expose_secret()));
        let signed = sign.as_deref().map(|sign| Signed {
            timestamp: now_s,
            sign,
        });
        let request = op::Webhook {
            path: self.path.expose_secret(),
            query: self.query.expose_secret(),
            content,
            signed,
        };
        self.client.call(&request.request()).await
    }

    /// Asks the bot's host for something without saying anything to anybody: a read that is refused for
    /// want of a token. Any answer shows that the host is there.
    pub async fn knock(&self) -> Exchange {
        self.client.call_bare(&op::BotInfo.request()).await
    }
}

impl fmt::Debug for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hook")
    }
}

impl fmt::Debug for HookOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HookOptions")
    }
}
