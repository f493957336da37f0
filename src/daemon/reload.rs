//! A reload: the config is read again, whole; what can change while the daemon runs does, and what
//! needs a restart is named.
//!
//! A file with a fault changes nothing: every fault is logged with its place, and what was in force
//! stays. The log names keys, never values. A key that needs a restart is named at each reload until
//! the restart.
//! Not here: what asks for a reload (`cli`), what a config may say (`config`).

use std::sync::Arc;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use tracing::Level;

use crate::alerts::Alerts;
use crate::clock::Clock;
use crate::config::{App, Bot, Config};
use crate::dispatch::Dispatcher;
use crate::http::HttpState;
use crate::job::{AppId, Reach};
use crate::store::Store;

/// How long the config and the files that it names may take to be read; a stop waits for it.
const READ_MAX: Duration = Duration::from_secs(10);

/// What a reload changes, and the config that is in force.
pub(super) struct Reloader {
    pub(super) running: Config,
    pub(super) clock: Clock,
    pub(super) store: Store,
    pub(super) dispatcher: Arc<Dispatcher>,
    pub(super) doors: Arc<HttpState>,
    pub(super) alerts: Arc<Alerts>,
    /// One for each app, in order.
    pub(super) clients: Vec<feishu_im::Client>,
}

/// Keys that differ.
#[derive(Debug, Default, PartialEq, Eq)]
struct Differences {
    /// In force from now on.
    now: Vec<String>,
    /// In force after a restart.
    later: Vec<String>,
}

impl Differences {
    fn now(&mut self, key: impl Into<String>, differs: bool) -> bool {
        if differs {
            self.now.push(key.into());
        }
        differs
    }

    fn later(&mut self, key: impl Into<String>, differs: bool) {
        if differs {
            self.later.push(key.into());
        }
    }
}

impl Reloader {
    /// Reads the config again and brings into force what can be.
    pub(super) async fn reload(&mut self, set_level: &impl Fn(Level)) {
        let Some(new) = read(&self.running).await else {
            return;
        };
        let mut differ = Differences::default();
        plain(&mut differ, &self.running, &new);
        let merged = merged(&self.running, new);
        let old = std::mem::replace(&mut self.running, merged);
        set_level(self.running.log.level);
        self.doors.set_clients(self.running.clients.clone());
        self.bots(&old.bots);
        if let Err(faults) = self.alerts.reload(&self.running) {
            for fault in faults {
                tracing::error!("{fault}");
            }
            tracing::error!("the routes and templates that were in force stay");
            self.running.routes = old.routes;
            self.running.oncall = old.oncall;
            differ.now.retain(|key| key != "routes" && key != "oncall");
        }
        for at in 0..old.apps.len() {
            self.app(at, &old.apps[at], &mut differ);
        }
        let names: Vec<String> = self
            .running
            .apps
            .iter()
            .map(|app| app.name.clone())
            .collect();
        if let Err(error) = self.store.tune(super::options(&self.running, &names)).await {
            tracing::warn!(%error, "the store did not take the new config: it is closing");
        }
        for key in &differ.later {
            tracing::warn!("{key} differs from what is in force; it needs a restart");
        }
        match differ.now.is_empty() {
            true => tracing::info!("reloaded: nothing has changed that can change now"),
            false => tracing::info!("reloaded: {}", differ.now.join(", ")),
        }
    }

    /// Brings into force what changed of one app.
    fn app(&mut self, at: usize, old: &App, differ: &mut Differences) {
        let new = &self.running.apps[at];
        let key = |name: &str| format!("apps.{}.{name}", new.name);
        let secret = differ.now(key("app_secret"), !same(&old.app_secret, &new.app_secret));
        let limits = differ.now(key("limits"), old.limits != new.limits);
        let timeout = differ.now(key("timeout"), old.timeout != new.timeout);
        let quota = differ.now(key("month_quota"), old.month_quota != new.month_quota);
        differ.now(key("budget"), old.budget != new.budget);
        let id = self.store.apps()[at].0;
        if secret {
            self.clients[at].set_secret(new.app_secret.clone());
        }
        if timeout {
            // A client has its time-out from its making; another one asks for a token of its own.
            match super::client(new, &self.clock) {
                Ok(client) => self.clients[at] = client,
                Err(error) => tracing::error!(%error, "the new time-out is not in force"),
            }
        }
        if timeout || limits || quota {
            let app = super::dispatched(new, id, self.clients[at].clone());
            self.dispatcher.change(at, app);
        }
        if secret {
            self.mended(id);
        }
    }

    /// Brings into force what changed of the custom bots: which there are, and each of their keys.
    fn bots(&self, old: &[Bot]) {
        if same_bots(old, &self.running.bots) {
            return;
        }
        match super::bots(&self.running, Some(old)) {
            Ok(bots) => {
                self.dispatcher.set_bots(bots);
                self.doors.set_bots(&self.running.bots);
            }
            Err(error) => tracing::error!(%error, "the new bots are not in force"),
        }
    }

    /// What waits because the app was refused is tried at once.
    fn mended(&self, app: AppId) {
        self.dispatcher.probe(&Reach {
            app: Some(app),
            ..Reach::default()
        });
    }
}

/// The config as it stands in the file now; `None`: it has faults, which are logged.
async fn read(running: &Config) -> Option<Config> {
    let file = running.file.clone();
    // Reads files of secrets too, which may lie on a slow disk.
    let read = tokio::task::spawn_blocking(move || Config::load(Some(&file)));
    let Ok(read) = tokio::time::timeout(READ_MAX, read).await else {
        tracing::error!(
            "not reloaded: the config, or a file that it names, cannot be read: nothing came for 10 s"
        );
        return None;
    };
    match read {
        Ok(Ok(config)) => {
            for warning in &config.warnings {
                tracing::warn!("{}", warning.in_file(&config.file));
            }
            Some(config)
        }
        Ok(Err(error)) => {
            for fault in &error.faults {
                tracing::error!("{}", fault.in_file(&error.file));
            }
            tracing::error!("not reloaded: the config has faults; what was in force stays");
            None
        }
        Err(_) => {
            tracing::error!("not reloaded: the config could not be read to its end");
            None
        }
    }
}

/// What differs outside of the apps, and of these what needs a restart.
fn plain(differ: &mut Differences, old: &Config, new: &Config) {
    differ.later("server.listen", old.server.listen != new.server.listen);
    let mode = old.server.socket_mode != new.server.socket_mode;
    differ.later("server.socket_mode", mode);
    differ.later(
        "server.max_body",
        old.server.max_body != new.server.max_body,
    );
    differ.now("log.level", old.log.level != new.log.level);
    differ.later("log.format", old.log.format != new.log.format);
    differ.later("store.path", old.store.path != new.store.path);
    differ.now(
        "store.retention",
        old.store.retention != new.store.retention,
    );
    let content = old.store.content_retention != new.store.content_retention;
    differ.now("store.content_retention", content);
    differ.now(
        "queue.max_pending",
        old.queue.max_pending != new.queue.max_pending,
    );
    let give_up = old.queue.give_up_after != new.queue.give_up_after;
    differ.now("queue.give_up_after", give_up);
    differ.now("bots", !same_bots(&old.bots, &new.bots));
    differ.now("clients", old.clients != new.clients);
    differ.now("routes", old.routes != new.routes);
    differ.now("oncall", old.oncall != new.oncall);
    let names = |config: &Config| -> Vec<String> {
        config.apps.iter().map(|app| app.name.clone()).collect()
    };
    differ.later(
        "apps (which there are, and their order)",
        names(old) != names(new),
    );
    for (old, new) in old
        .apps
        .iter()
        .filter_map(|app| Some((app, named(new, app)?)))
    {
        let key = |name: &str| format!("apps.{}.{name}", old.name);
        differ.later(key("app_id"), old.app_id != new.app_id);
        differ.later(key("tenant"), old.tenant != new.tenant);
        differ.later(key("base_url"), old.base_url != new.base_url);
        differ.later(key("proxy"), old.proxy != new.proxy);
    }
}

fn named<'a>(config: &'a Config, app: &App) -> Option<&'a App> {
    config.apps.iter().find(|one| one.name == app.name)
}

/// What is in force after the reload: of `new` what can change now, of `old` the rest.
fn merged(old: &Config, new: Config) -> Config {
    let apps = old.apps.iter().map(|app| match named(&new, app) {
        None => app.clone(),
        // The secret of another app_id would be refused.
        Some(of) if of.app_id != app.app_id => app.clone(),
        Some(of) => App {
            app_secret: of.app_secret.clone(),
            timeout: of.timeout,
            month_quota: of.month_quota,
            limits: of.limits,
            budget: of.budget,
            ..app.clone()
        },
    });
    let mut merged = Config {
        apps: apps.collect(),
        server: old.server.clone(),
        file: old.file.clone(),
        ..new
    };
    merged.log.format = old.log.format;
    merged.store.path.clone_from(&old.store.path);
    merged
}

fn same(old: &SecretString, new: &SecretString) -> bool {
    old.expose_secret() == new.expose_secret()
}

fn same_bots(old: &[Bot], new: &[Bot]) -> bool {
    let same = |(old, new): (&Bot, &Bot)| old.name == new.name && is_same_bot(old, new);
    old.len() == new.len() && old.iter().zip(new).all(same)
}

/// Is it reached as before?
pub(super) fn is_same_bot(old: &Bot, new: &Bot) -> bool {
    let secret = |bot: &Bot| {
        bot.secret
            .as_ref()
            .map(|one| one.expose_secret().to_owned())
    };
    let ways = (old.timeout, &old.proxy) == (new.timeout, &new.proxy);
    same(&old.url, &new.url) && secret(old) == secret(new) && ways
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    const APP: &str = "[[apps]]\nname = \"ops\"\napp_id = \"cli_a\"\napp_secret = \"s\"\n";

    fn config(text: &str) -> Config {
        Config::parse(text, Path::new("/etc/relay.toml"), &|_| None).unwrap()
    }

    /// The keys outside of the apps' own that differ.
    fn check(old: &str, new: &str, now: &[&str], later: &[&str]) {
        let mut differ = Differences::default();
        plain(&mut differ, &config(old), &config(new));
        assert_eq!(
            (&differ.now[..], &differ.later[..]),
            (&owned(now)[..], &owned(later)[..])
        );
        let merged = merged(&config(old), config(new));
        let mut left = Differences::default();
        plain(&mut left, &merged, &config(new));
        assert_eq!(left.now, [""; 0], "what can change did");
        assert_eq!(left.later, owned(later), "and is named again next time");
    }

    fn owned(keys: &[&str]) -> Vec<String> {
        keys.iter().map(|key| (*key).to_owned()).collect()
    }

    #[test]
    fn every_key_changes_now_or_is_named_as_needing_a_restart() {
        check(APP, APP, &[], &[]);
        let server = format!(
            "[server]\nlisten = \"127.0.0.1:1\"\nsocket_mode = \"0600\"\nmax_body = \"1 MiB\"\n{APP}"
        );
        let keys = ["server.listen", "server.socket_mode", "server.max_body"];
        check(APP, &server, &[], &keys);
        let log = format!("[log]\nlevel = \"warn\"\nformat = \"json\"\n{APP}");
        check(APP, &log, &["log.level"], &["log.format"]);
        let store = format!(
            "[store]\npath = \"x.db\"\nretention = \"9d\"\ncontent_retention = \"1d\"\n{APP}"
        );
        let keys = ["store.retention", "store.content_retention"];
        check(APP, &store, &keys, &["store.path"]);
        let queue = format!("[queue]\nmax_pending = 7\ngive_up_after = \"1d\"\n{APP}");
        let keys = ["queue.max_pending", "queue.give_up_after"];
        check(APP, &queue, &keys, &[]);
        let clients = format!("{APP}[[clients]]\nname = \"am\"\ntoken = \"t\"\n");
        check(APP, &clients, &["clients"], &[]);
        check(&clients, APP, &["clients"], &[]);
        let route = format!(
            "{APP}[[routes]]\nname = \"db\"\nsource = \"grafana\"\nto = \"oc_1\"\nhmac_secret = \"s\"\n"
        );
        check(APP, &route, &["routes"], &[]);
        check(&route, &route, &[], &[]);
        for (was, is) in [
            ("\"s\"", "\"t\""),
            ("oc_1", "oc_2"),
            ("to = ", "match = \"a=b\"\nto = "),
        ] {
            check(&route, &route.replace(was, is), &["routes"], &[]);
        }
        let oncall = format!("{APP}[oncall]\nduty = \"/dev/null\"\n");
        check(APP, &oncall, &["oncall"], &[]);
        let bots = format!("{APP}[[bots]]\nname = \"room\"\nurl = \"https://x.example/hook/1\"\n");
        check(APP, &bots, &["bots"], &[]);
        check(&bots, &bots.replace("hook/1", "hook/2"), &["bots"], &[]);
        for key in [
            "secret = \"s\"",
            "timeout = \"3s\"",
            "proxy = \"http://127.0.0.1:2\"",
        ] {
            check(&bots, &format!("{bots}{key}\n"), &["bots"], &[]);
        }
        let app = format!(
            "{APP}tenant = \"t\"\nbase_url = \"http://127.0.0.1:1\"\nproxy = \"http://127.0.0.1:2\"\n"
        );
        let keys = ["apps.ops.tenant", "apps.ops.base_url", "apps.ops.proxy"];
        check(APP, &app, &[], &keys);
        let id = APP.replace("cli_a", "cli_b");
        check(APP, &id, &[], &["apps.ops.app_id"]);
        let two = format!("{APP}[[apps]]\nname = \"hr\"\napp_id = \"cli_h\"\napp_secret = \"h\"\n");
        let which = "apps (which there are, and their order)";
        check(APP, &two, &[], &[which]);
        check(&two, APP, &[], &[which]);
    }

    #[test]
    fn of_an_app_what_can_change_does_and_its_place_stays() {
        let two = format!("{APP}[[apps]]\nname = \"hr\"\napp_id = \"cli_h\"\napp_secret = \"h\"\n");
        let new = "[[apps]]\nname = \"hr\"\napp_id = \"cli_h\"\napp_secret = \"h2\"\ntimeout = \"3s\"\n\
             month_quota = 5\nlimits = { app_second = 9 }\nbudget = { urgent_sms = 8 }\n\
             [[apps]]\nname = \"ops\"\napp_id = \"cli_other\"\napp_secret = \"s2\"\n";
        let merged = merged(&config(&two), config(new));
        let [ops, hr] = &merged.apps[..] else {
            panic!("{:?}", merged.apps);
        };
        assert_eq!((&*ops.name, ops.app_secret.expose_secret()), ("ops", "s"));
        assert_eq!((&*hr.name, hr.app_secret.expose_secret()), ("hr", "h2"));
        let told = (hr.timeout.as_secs(), hr.month_quota, hr.limits.app_second);
        assert_eq!((told, hr.budget.urgent_sms), ((3, 5, 9), 8));
    }
}
