//! `[[clients]]`: who may enqueue, with which tokens, and what it may use.

use std::time::Duration;

use sha2::{Digest, Sha256};

use super::read::{Given, Section, duration_within, parsed, text};
use super::sections::{Context, MINUTE, Once, SECOND, TEN_YEARS, plain, value_or};
use super::{App, Client, Scope, secret, values};

/// Of a client that does not say; `direct` is only for who asks for it.
const SCOPES: [Scope; 3] = [Scope::Enqueue, Scope::Read, Scope::Operate];

/// The kinds a client may be held to: those of `job`, whom a leaf cannot ask. A test compares them.
pub const KINDS: [&str; 25] = [
    "send",
    "batch_send",
    "urgent_app",
    "urgent_sms",
    "urgent_phone",
    "pin",
    "unpin",
    "recall",
    "batch_recall",
    "upload_image",
    "upload_file",
    "reply",
    "edit",
    "forward",
    "merge_forward",
    "forward_thread",
    "follow_up",
    "react",
    "unreact",
    "update_card",
    "delay_update_card",
    "send_ephemeral",
    "delete_ephemeral",
    "update_url_previews",
    "webhook",
];

/// Names and tokens that were used before.
#[derive(Default)]
struct Used {
    names: Once<String>,
    tokens: Once<[u8; 32]>,
}

/// Reads every `[[clients]]`; there may be none.
pub(super) fn clients(
    context: &Context<'_, '_>,
    root: &mut Section<'_, '_>,
    apps: &[App],
) -> Vec<Client> {
    let mut used = Used::default();
    let one = |section| client(context, section, apps, &mut used);
    root.tables("clients").into_iter().map(one).collect()
}

fn client(
    context: &Context<'_, '_>,
    mut section: Section<'_, '_>,
    apps: &[App],
    used: &mut Used,
) -> Client {
    let name = section.need("name", parsed(values::name));
    if let Some(name) = &name {
        used.names.check(name, context.report, "names two clients");
    }
    let token_sha256 = tokens(context, &mut section, &mut used.tokens);
    let scopes = scopes(context, &mut section);
    let usable_apps = usable_apps(context, &mut section, apps);
    let kinds = section.list("kinds", parsed(kind));
    let wait = section.get("wait", duration_within(Duration::ZERO, 5 * MINUTE));
    let priority = section.get("priority", parsed(priority));
    let expires_in = section.get("expires_in", duration_within(SECOND, TEN_YEARS));
    let labels = section.texts("labels");
    section.finish();
    Client {
        name: value_or(name, String::new()),
        token_sha256,
        scopes,
        apps: usable_apps,
        kinds: kinds.map(plain),
        wait: wait.map(|given| given.value),
        priority: priority.map(|given| given.value),
        expires_in: expires_in.map(|given| given.value),
        labels,
    }
}

/// Every token as its hash; none is a fault, and so is one that was given before.
fn tokens(
    context: &Context<'_, '_>,
    section: &mut Section<'_, '_>,
    used: &mut Once<[u8; 32]>,
) -> Vec<[u8; 32]> {
    const KEYS: secret::Keys = ["token", "token_file", "token_env"];
    const HASHES: &str = "token_sha256";
    if !section.has(HASHES) && !KEYS.iter().any(|key| section.has(key)) {
        let message = "is missing; give it, token_file, token_env or token_sha256";
        context.report.fault(&section.at("token"), message);
    }
    let mut hashes: Vec<Given<[u8; 32]>> = secret::many(context, section, KEYS)
        .into_iter()
        .map(|Given { value, at }| Given {
            value: Sha256::digest(value.as_bytes()).into(),
            at,
        })
        .collect();
    hashes.extend(section.one_or_more(HASHES, parsed(values::sha256_hex)));
    for hash in &hashes {
        let message = "is a token that was given before";
        used.check(hash, context.report, message);
    }
    plain(hashes)
}

fn scopes(context: &Context<'_, '_>, section: &mut Section<'_, '_>) -> Vec<Scope> {
    let Some(given) = section.list("scopes", parsed(scope)) else {
        return SCOPES.to_vec();
    };
    let mut seen = Once::default();
    for scope in &given {
        seen.check(scope, context.report, "is given twice");
    }
    plain(given)
}

fn scope(text: &str) -> Result<Scope, String> {
    Ok(match text {
        "enqueue" => Scope::Enqueue,
        "read" => Scope::Read,
        "operate" => Scope::Operate,
        "direct" => Scope::Direct,
        _ => {
            return Err(format!("{text:?} is not enqueue, read, operate or direct"));
        }
    })
}

fn usable_apps(
    context: &Context<'_, '_>,
    section: &mut Section<'_, '_>,
    apps: &[App],
) -> Option<Vec<String>> {
    let given = section.list("apps", text)?;
    for name in &given {
        if !apps.iter().any(|app| app.name == name.value) {
            let message = format!("{:?} is not the name of one of [[apps]]", name.value);
            context.report.fault(&name.at, message);
        }
    }
    Some(plain(given))
}

fn kind(text: &str) -> Result<String, String> {
    if !KINDS.contains(&text) {
        let known = KINDS.join(", ");
        return Err(format!("{text:?} is not a kind of job; there are {known}"));
    }
    Ok(text.to_owned())
}

fn priority(text: &str) -> Result<String, String> {
    match text {
        "high" | "normal" | "low" => Ok(text.to_owned()),
        _ => Err(format!("{text:?} is not high, normal or low")),
    }
}
