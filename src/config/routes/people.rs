//! Whom a route names: ids, mail addresses, and the lists of `[oncall]`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::super::read::{Section, parsed};
use super::super::sections::Context;
use super::super::values;
use super::Around;

/// The most people that one key names.
const PEOPLE_MAX: usize = 100;

/// Somebody, or a list of people, as a route names them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Person {
    /// `ou_…`, `on_…`, else a user_id.
    Id(String),
    /// A mail address.
    Mail(String),
    /// `@name`, one of `[oncall]`.
    List(String),
    /// `@all`.
    All,
}

/// Reads `[oncall]`: the file of each list.
pub(in crate::config) fn oncall(
    context: &Context<'_, '_>,
    root: &mut Section<'_, '_>,
) -> BTreeMap<String, PathBuf> {
    let mut lists = BTreeMap::new();
    for (name, given) in root.texts_at("oncall") {
        match oncall_list(&name, &given.value) {
            Err(message) => context.report.fault(&given.at, message),
            Ok(()) => {
                let path = context.folder.join(&given.value);
                if let Err(error) = std::fs::metadata(&path) {
                    let message = format!("{} cannot be read now: {error}", path.display());
                    context.report.warn(&given.at, message);
                }
                lists.insert(name, path);
            }
        }
    }
    lists
}

fn oncall_list(name: &str, file: &str) -> Result<(), String> {
    values::name(name)?;
    if name == "all" {
        return Err(String::from("@all is everybody in the chat already"));
    }
    match file.is_empty() || file.ends_with('/') {
        true => Err(format!("{file:?} does not name a file")),
        false => Ok(()),
    }
}

pub(super) fn is_id(text: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    (1..=100).contains(&text.len()) && text.chars().all(fits)
}

/// A mail address of plain letters, digits and the usual signs.
pub fn is_mail(text: &str) -> bool {
    let fits = |part: &str, more: &str| {
        !part.is_empty()
            && part
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || more.contains(c))
    };
    let parts = text.split_once('@');
    text.len() <= 200 && parts.is_some_and(|(name, host)| fits(name, "._%+-") && fits(host, ".-"))
}

/// A person by id: `ou_…`, `on_…`, else a user_id; never a chat, a message or an app.
pub fn is_person(text: &str) -> bool {
    let other = ["oc_", "om_", "cli_", "bm-", "job_", "inc_"];
    is_id(text) && !other.iter().any(|prefix| text.starts_with(prefix))
}

pub(super) fn people(
    context: &Context<'_, '_>,
    section: &mut Section<'_, '_>,
    key: &'static str,
    around: &Around<'_>,
) -> Vec<Person> {
    let at = section.at_value(key);
    let given = section.one_or_more(key, parsed(|text| person(text, around)));
    if given.len() > PEOPLE_MAX {
        let message = format!("names more than {PEOPLE_MAX}; put them into a list of [oncall]");
        context.report.fault(&at, message);
    }
    let mut people = Vec::new();
    for one in given {
        match people.contains(&one.value) {
            true => context.report.fault(&one.at, "is named twice"),
            false => people.push(one.value),
        }
    }
    people
}

fn person(text: &str, around: &Around<'_>) -> Result<Person, String> {
    if text == "@all" {
        return Ok(Person::All);
    }
    if let Some(list) = text.strip_prefix('@') {
        return match around.lists.contains_key(list) {
            true => Ok(Person::List(list.to_owned())),
            false => Err(format!("{text:?} is no list of [oncall]")),
        };
    }
    if is_mail(text) {
        return Ok(Person::Mail(text.to_owned()));
    }
    match is_person(text) {
        true => Ok(Person::Id(text.to_owned())),
        false => Err(format!(
            "{text:?} is nobody: an id (ou_…, on_…, a user id), a mail address or @ and a list of [oncall]"
        )),
    }
}
