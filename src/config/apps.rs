//! `[[apps]]` and `[[bots]]`: who the relay speaks as at Feishu.

use std::collections::HashMap;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};

use super::read::{Given, Section, duration_within, number_within, parsed};
use super::sections::{Context, NUMBER_MAX, Once, SECOND, value_or};
use super::{App, Bot, Budget, Limits, secret, values};

const BASE_URL: &str = "https://open.feishu.cn";
const TENANT: &str = "main";
const TIMEOUT: Duration = Duration::from_secs(10);

/// Longest `timeout`: a repeat begun inside the safe window must end inside Feishu's.
pub const TIMEOUT_MAX: Duration = Duration::from_secs(120);

/// What Feishu allows at most; a setting is lower, or 0 to switch the window off.
pub const LIMITS: Limits = Limits {
    app_minute: 1000,
    app_second: 50,
    chat_second: 5,
    user_second: 5,
};

const BUDGET: Budget = Budget {
    urgent_sms: 50,
    urgent_phone: 20,
};

/// Names and ids that were used before, and the quota of each tenant.
#[derive(Default)]
struct Used {
    names: Once<String>,
    ids: Once<String>,
    quotas: HashMap<String, u64>,
}

/// Reads every `[[apps]]`; none is a fault.
pub(super) fn apps(context: &Context<'_, '_>, root: &mut Section<'_, '_>) -> Vec<App> {
    let at = root.at_value("apps");
    let given = root.has("apps");
    let sections = root.tables("apps");
    if sections.is_empty() {
        let message = match given {
            true => "is empty; the relay needs an app to send as",
            false => "is missing; add [[apps]] with name, app_id and app_secret_file",
        };
        context.report.fault(&at, message);
    }
    let mut used = Used::default();
    let one = |section| app(context, section, &mut used);
    sections.into_iter().map(one).collect()
}

fn app(context: &Context<'_, '_>, mut section: Section<'_, '_>, used: &mut Used) -> App {
    let name = section.need("name", parsed(values::name));
    let app_id = section.need("app_id", parsed(values::word));
    if let Some(name) = &name {
        used.names.check(name, context.report, "names two apps");
    }
    if let Some(app_id) = &app_id {
        used.ids
            .check(app_id, context.report, "is the id of two apps");
    }
    let tenant = section.get("tenant", parsed(values::name));
    let app_secret = app_secret(context, &mut section);
    let base_url = base_url(context, &mut section);
    let timeout = section.get("timeout", duration_within(SECOND, TIMEOUT_MAX));
    let proxy = section.get("proxy", parsed(values::proxy));
    let month_quota = section.get("month_quota", number_within(0, NUMBER_MAX));
    let tenant = value_or(tenant, TENANT.to_owned());
    if let Some(quota) = month_quota.as_ref().filter(|quota| quota.value > 0) {
        let first = used.quotas.entry(tenant.clone()).or_insert(quota.value);
        if *first != quota.value {
            let message =
                format!("fights with another app: tenant {tenant:?} has one quota, {first} there");
            context.report.fault(&quota.at, message);
        }
    }
    let limits = limits(section.table("limits"));
    let budget = budget(section.table("budget"));
    section.finish();
    App {
        name: value_or(name, String::new()),
        app_id: value_or(app_id, String::new()),
        tenant,
        app_secret,
        base_url,
        timeout: value_or(timeout, TIMEOUT),
        proxy: proxy.map(|given| given.value),
        month_quota: value_or(month_quota, 0),
        limits,
        budget,
    }
}

fn app_secret(context: &Context<'_, '_>, section: &mut Section<'_, '_>) -> SecretString {
    const KEYS: secret::Keys = ["app_secret", "app_secret_file", "app_secret_env"];
    if !KEYS.iter().any(|key| section.has(key)) {
        let message = "is missing; give it, app_secret_file or app_secret_env";
        context.report.fault(&section.at("app_secret"), message);
    }
    secret::one(context, section, KEYS).unwrap_or_else(|| SecretString::from(""))
}

fn base_url(context: &Context<'_, '_>, section: &mut Section<'_, '_>) -> String {
    let given = section.get("base_url", parsed(values::base_url));
    if let Some(plain) = given
        .as_ref()
        .filter(|given| values::is_plain_and_remote(&given.value))
    {
        let message = "sends the app's secret over the network unencrypted";
        context.report.warn(&plain.at, message);
    }
    value_or(given, BASE_URL.to_owned())
}

fn limits(mut section: Section<'_, '_>) -> Limits {
    let limits = Limits {
        app_minute: at_most(&mut section, "app_minute", LIMITS.app_minute),
        app_second: at_most(&mut section, "app_second", LIMITS.app_second),
        chat_second: at_most(&mut section, "chat_second", LIMITS.chat_second),
        user_second: at_most(&mut section, "user_second", LIMITS.user_second),
    };
    section.finish();
    limits
}

fn budget(mut section: Section<'_, '_>) -> Budget {
    let budget = Budget {
        urgent_sms: count(&mut section, "urgent_sms", u32::MAX).unwrap_or(BUDGET.urgent_sms),
        urgent_phone: count(&mut section, "urgent_phone", u32::MAX).unwrap_or(BUDGET.urgent_phone),
    };
    section.finish();
    budget
}

fn at_most(section: &mut Section<'_, '_>, key: &'static str, most: u32) -> u32 {
    count(section, key, most).unwrap_or(most)
}

fn count(section: &mut Section<'_, '_>, key: &'static str, most: u32) -> Option<u32> {
    let given = section.get(key, number_within(0, u64::from(most)))?;
    u32::try_from(given.value).ok()
}

/// Names and URLs of bots that were used before.
#[derive(Default)]
struct UsedBots {
    names: Once<String>,
    urls: Once<String>,
}

/// Reads every `[[bots]]`; there may be none.
pub(super) fn bots(context: &Context<'_, '_>, root: &mut Section<'_, '_>) -> Vec<Bot> {
    let mut used = UsedBots::default();
    let one = |section| bot(context, section, &mut used);
    root.tables("bots").into_iter().map(one).collect()
}

fn bot(context: &Context<'_, '_>, mut section: Section<'_, '_>, used: &mut UsedBots) -> Bot {
    let name = section.need("name", parsed(values::name));
    if let Some(name) = &name {
        used.names.check(name, context.report, "names two bots");
    }
    let url = hook_url(context, &mut section, used);
    let keys = ["secret", "secret_file", "secret_env"];
    let secret = secret::one(context, &mut section, keys);
    let timeout = section.get("timeout", duration_within(SECOND, TIMEOUT_MAX));
    let proxy = section.get("proxy", parsed(values::proxy));
    section.finish();
    Bot {
        name: value_or(name, String::new()),
        url: SecretString::from(url.unwrap_or_default()),
        secret,
        timeout: value_or(timeout, TIMEOUT),
        proxy: proxy.map(|given| given.value),
    }
}

/// A bot's URL, which is a secret: no fault repeats it.
fn hook_url(
    context: &Context<'_, '_>,
    section: &mut Section<'_, '_>,
    used: &mut UsedBots,
) -> Option<String> {
    const KEYS: secret::Keys = ["url", "url_file", "url_env"];
    let Some(key) = KEYS.into_iter().find(|key| section.has(key)) else {
        let message = "is missing; give it, url_file or url_env";
        context.report.fault(&section.at("url"), message);
        return None;
    };
    let at = section.at_value(key);
    let secret = secret::one(context, section, KEYS)?;
    match values::hook_url(secret.expose_secret()) {
        Err(message) => {
            context.report.fault(&at, message);
            None
        }
        Ok(url) => {
            if values::is_plain_and_remote(&url) {
                let message =
                    "sends itself, with which anybody may post, over the network unencrypted";
                context.report.warn(&at, message);
            }
            let given = Given { value: url, at };
            used.urls
                .check(&given, context.report, "is the URL of two bots");
            Some(given.value)
        }
    }
}
