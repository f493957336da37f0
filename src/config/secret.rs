//! Where a secret comes from: written in the config, in a file, or in the environment.
//!
//! A file named without a slash is looked for in `$CREDENTIALS_DIRECTORY` (systemd's
//! `LoadCredential=`), then beside the config. A secret never appears in a fault.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use secrecy::SecretString;

use super::fault::At;
use super::read::{Given, Section, parsed, text};
use super::sections::Context;

/// The largest file that is taken for a secret.
const SECRET_BYTES_MAX: u64 = 64 * 1024;

/// The keys of one secret: as it is, the file that holds it, the variable that holds it.
pub(super) type Keys = [&'static str; 3];

/// Takes a secret that stands under one of three keys; under two of them is a fault.
pub(super) fn one(
    context: &Context<'_, '_>,
    section: &mut Section<'_, '_>,
    keys: Keys,
) -> Option<SecretString> {
    let mut present = keys.into_iter().filter(|key| section.has(key));
    if let (Some(first), Some(second)) = (present.next(), present.next()) {
        let message = format!("is a second secret beside {first}; keep one of them");
        context.report.fault(&section.at_value(second), message);
    }
    let [plain, file, variable] = keys;
    let plain = section.get(plain, parsed(usable));
    let file = section.get(file, text);
    let variable = section.get(variable, text);
    let secret = plain
        .or_else(|| file.and_then(|given| found(context, given, from_file)))
        .or_else(|| variable.and_then(|given| found(context, given, from_env)));
    secret.map(|given| SecretString::from(given.value))
}

/// Takes every secret under three keys, each of which holds one or a list.
pub(super) fn many(
    context: &Context<'_, '_>,
    section: &mut Section<'_, '_>,
    keys: Keys,
) -> Vec<Given<String>> {
    let [plain, file, variable] = keys;
    let mut secrets = section.one_or_more(plain, parsed(usable));
    let files = section.one_or_more(file, text).into_iter();
    secrets.extend(files.filter_map(|given| found(context, given, from_file)));
    let variables = section.one_or_more(variable, text).into_iter();
    secrets.extend(variables.filter_map(|given| found(context, given, from_env)));
    secrets
}

/// Follows the name of a file or variable to the secret it holds.
fn found(
    context: &Context<'_, '_>,
    name: Given<String>,
    find: fn(&Context<'_, '_>, &str, &At) -> Result<String, String>,
) -> Option<Given<String>> {
    let Given { value: name, at } = name;
    match find(context, &name, &at) {
        Ok(value) => Some(Given { value, at }),
        Err(message) => {
            context.report.fault(&at, message);
            None
        }
    }
}

fn from_env(context: &Context<'_, '_>, name: &str, _: &At) -> Result<String, String> {
    let value = (context.env)(name);
    let value = value.ok_or_else(|| format!("the environment has no variable {name}"))?;
    usable(&value).map_err(|message| format!("${name} {message}"))
}

fn from_file(context: &Context<'_, '_>, name: &str, at: &At) -> Result<String, String> {
    let path = locate(context, name);
    let shown = path.display();
    let unreadable = |error: std::io::Error| format!("cannot read {shown}: {error}");
    let facts = std::fs::metadata(&path).map_err(unreadable)?;
    if !facts.is_file() {
        return Err(format!("{shown} is not a file"));
    }
    if facts.len() > SECRET_BYTES_MAX {
        return Err(format!("{shown} is too large for a secret"));
    }
    let text = std::fs::read_to_string(&path).map_err(unreadable)?;
    if facts.permissions().mode() & 0o004 != 0 {
        let message = format!("{shown} can be read by everybody on this machine; chmod 0600 it");
        context.report.warn(at, message);
    }
    usable(&text).map_err(|message| format!("{shown} {message}"))
}

fn locate(context: &Context<'_, '_>, name: &str) -> PathBuf {
    let beside = context.folder.join(name);
    if name.contains('/') {
        return beside;
    }
    let credentials = (context.env)("CREDENTIALS_DIRECTORY");
    let credential = credentials.map(|folder| Path::new(&folder).join(name));
    credential.filter(|path| path.exists()).unwrap_or(beside)
}

/// A secret without the white space around it: one line that is not empty.
fn usable(text: &str) -> Result<String, String> {
    let secret = text.trim();
    if secret.is_empty() {
        return Err("is empty".to_owned());
    }
    if secret.contains(['\n', '\r']) {
        return Err("holds more than one line".to_owned());
    }
    Ok(secret.to_owned())
}
