//! `check`: every fault of a config file, before a daemon is started with it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use feishu_im::{Client, ClientOptions, Fault, SystemClock};

use super::exit::{Ended, Exit, Trouble};
use super::out;
use crate::alerts::cards::Cards;
use crate::config::{App, Config};

/// Longest silence inside the answer of the token endpoint.
const BODY_IDLE: Duration = Duration::from_secs(30);

/// Say every fault of a config file, with line and column
#[derive(Debug, clap::Args)]
pub(super) struct Check {
    /// Else $FEISHU_RELAY_CONFIG, else /etc/feishu-relay/config.toml
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Ask Feishu for a token of each app, too
    #[arg(long)]
    online: bool,
}

impl Check {
    /// Prints warnings and faults to stderr, and what it found to stdout when there are none.
    pub(super) async fn run(self) -> Ended {
        let config = super::load(self.config.as_deref())?;
        templates(&config)?;
        if self.online {
            self.ask(&config).await?;
        }
        Cards::load(&config).map_err(|faults| Trouble::wrong(faults.join("\n")))?;
        let (apps, bots, clients, routes) = (
            counted(config.apps.len(), "app"),
            counted(config.bots.len(), "bot"),
            counted(config.clients.len(), "client"),
            counted(config.routes.len(), "route"),
        );
        out::line(&format!("ok: {apps}, {bots}, {clients}, {routes}"))?;
        Ok(Exit::Fine)
    }

    async fn ask(&self, config: &Config) -> Result<(), Trouble> {
        let mut refused = Vec::new();
        for app in &config.apps {
            if let Err(why) = token(app).await {
                refused.push(format!("app {}: {why}", app.name));
            }
        }
        match refused.is_empty() {
            true => Ok(()),
            false => Err(Trouble::wrong(refused.join("\n"))),
        }
    }
}

/// Tries the templates of cards, as the daemon will.
fn templates(config: &Config) -> Result<(), Trouble> {
    let cards = Cards::load(config).map(drop);
    cards.map_err(|faults| Trouble::wrong(faults.join("\n")))
}

fn counted(count: usize, thing: &str) -> String {
    match count {
        1 => format!("1 {thing}"),
        _ => format!("{count} {thing}s"),
    }
}

/// Asks Feishu for a token, as the daemon would.
async fn token(app: &App) -> Result<(), String> {
    let options = ClientOptions {
        base_url: app.base_url.clone(),
        app_id: app.app_id.clone(),
        app_secret: app.app_secret.clone(),
        timeout: app.timeout,
        body_idle: BODY_IDLE,
        proxy: app.proxy.clone(),
        clock: Arc::new(SystemClock::default()),
    };
    let client = Client::new(options).map_err(|error| error.to_string())?;
    client.token().await.map_err(|fault| match fault {
        Fault::Token(token) => format!("Feishu refuses it: {} {}", token.code, token.msg),
        Fault::NotSent { text, .. } | Fault::Unknown { text, .. } => text,
        Fault::NotJson { http, .. } => format!("{} answered {http} without a code", app.base_url),
    })
}
