//! `sandbox`: a local Feishu, until it is told to stop.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use feishu_sandbox::{DEFAULT_APP_ID, DEFAULT_APP_SECRET, DEFAULT_CHAT, Options, Seed};
use serde_json::Value;

use super::exit::{Ended, Exit, Trouble};
use super::{out, signal};

/// Run a local Feishu that says no wherever Feishu would
#[derive(Debug, clap::Args)]
pub(super) struct Sandbox {
    /// Where to listen; port 0 takes a free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9797")]
    listen: SocketAddr,
    /// World to start from, JSON
    #[arg(long, value_name = "FILE")]
    seed: Option<PathBuf>,
    /// File in which world and ledger outlive the sandbox
    #[arg(long, value_name = "FILE")]
    state: Option<PathBuf>,
}

impl Sandbox {
    /// Serves until SIGINT or SIGTERM.
    pub(super) async fn run(self) -> Ended {
        let stop = signal::stop()?;
        let seed = self.seed.as_deref().map(seed).transpose()?;
        let secrets = secrets(seed.as_ref());
        let options = Options {
            listen: self.listen,
            state: self.state,
            seed,
        };
        let sandbox = feishu_sandbox::start(options)
            .await
            .map_err(|error| Trouble::new(Exit::Failed, error.to_string()))?;
        let url = sandbox.url();
        out::line(&format!("base_url  {url}"))?;
        out::line(&format!("chats     {url}/_sandbox/"))?;
        let world = world(&url).await?;
        for id in texts(&world["apps"], "app_id") {
            match secrets.get(id) {
                Some(secret) => out::line(&format!("app       {id} with secret {secret}"))?,
                None => out::line(&format!("app       {id} with the secret of its seed"))?,
            }
        }
        if let Some(chat) = chat(&world) {
            out::line(&format!("a chat    {chat}"))?;
        }
        if let Some(hook) = hook(&world) {
            out::line(&format!("a bot     {url}/open-apis/bot/v2/hook/{hook}"))?;
        }
        stop.cancelled().await;
        sandbox.stop().await;
        Ok(Exit::Fine)
    }
}

fn seed(file: &Path) -> Result<Seed, Trouble> {
    let shown = file.display();
    let text = std::fs::read_to_string(file)
        .map_err(|error| Trouble::wrong(format!("cannot read {shown}: {error}")))?;
    Seed::from_json(&text).map_err(|error| Trouble::wrong(format!("{shown}: {error}")))
}

/// The secrets of the apps as far as they are known here: those of the seed, else the default one.
/// What a state file was seeded with stays in it.
fn secrets(seed: Option<&Seed>) -> HashMap<String, String> {
    let Some(seed) = seed.and_then(|seed| serde_json::to_value(seed).ok()) else {
        let default = (DEFAULT_APP_ID.to_owned(), DEFAULT_APP_SECRET.to_owned());
        return HashMap::from([default]);
    };
    let ids = texts(&seed["apps"], "app_id").map(str::to_owned);
    let secrets = texts(&seed["apps"], "app_secret").map(str::to_owned);
    ids.zip(secrets).collect()
}

/// The world as the sandbox has it, be it from a seed, a state file or neither.
async fn world(url: &str) -> Result<Value, Trouble> {
    let failed = |error: reqwest::Error| {
        Trouble::new(
            Exit::Failed,
            format!("the sandbox does not say who lives in it: {error}"),
        )
    };
    let client = reqwest::Client::builder().no_proxy().build();
    let request = client.map_err(failed)?.get(format!("{url}/_sandbox/world"));
    let response = request.send().await.map_err(failed)?;
    response.json().await.map_err(failed)
}

/// A chat to send to: the default one, else the first with a bot in it.
fn chat(world: &Value) -> Option<&str> {
    let open = |chat: &&Value| chat["bots"].as_array().is_none_or(|bots| !bots.is_empty());
    let chats = world["chats"].as_array()?;
    let open = chats.iter().filter(open);
    let ids = || open.clone().filter_map(|chat| chat["chat_id"].as_str());
    ids()
        .find(|id| *id == DEFAULT_CHAT)
        .or_else(|| ids().next())
}

/// A custom bot that anybody may speak through.
fn hook(world: &Value) -> Option<&str> {
    let open = |hook: &&Value| hook["signed"] == false && hook["keywords"] == Value::Array(vec![]);
    world["hooks"].as_array()?.iter().find(open)?["hook"].as_str()
}

/// The text called `name` of each item of a list.
fn texts<'a>(list: &'a Value, name: &'a str) -> impl Iterator<Item = &'a str> {
    let items = list.as_array().into_iter().flatten();
    items.filter_map(move |item| item[name].as_str())
}
