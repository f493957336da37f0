//! Reads a TOML table key by key: each value with its place, each fault noted, none fatal.
//!
//! What is left in a section when it is finished is an unknown key. A reader built on `serde`
//! stops at the first fault; this one goes on, so that a person mends a file once.
//! Not here: which keys there are and what they mean (`sections`).

use std::collections::BTreeMap;
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::fault::{At, Report};
use super::values;

/// A value that the file gives, and where.
#[derive(Debug, Clone)]
pub(super) struct Given<T> {
    pub(super) value: T,
    pub(super) at: At,
}

/// A table of the file while it is being read.
#[derive(Debug)]
pub(super) struct Section<'r, 't> {
    report: &'r Report<'t>,
    at: At,
    entries: DeTable<'t>,
    known: Vec<&'static str>,
}

/// What a value is turned into, or a sentence about what would be right.
type Read<T> = Result<T, String>;

impl<'r, 't> Section<'r, 't> {
    /// Starts with the whole document.
    pub(super) fn root(report: &'r Report<'t>, entries: DeTable<'t>) -> Self {
        let at = At::new(&(0..0), String::new());
        Self::new(report, at, entries)
    }

    fn new(report: &'r Report<'t>, at: At, entries: DeTable<'t>) -> Self {
        Self {
            report,
            at,
            entries,
            known: Vec::new(),
        }
    }

    /// Where the section itself stands: the place of a key that is missing.
    pub(super) fn at(&self, key: &str) -> At {
        At {
            start: self.at.start,
            key: self.path(key),
        }
    }

    fn path(&self, key: &str) -> String {
        if self.at.key.is_empty() {
            key.to_owned()
        } else if key.is_empty() {
            self.at.key.clone()
        } else {
            format!("{}.{key}", self.at.key)
        }
    }

    fn take(&mut self, key: &'static str) -> Option<Spanned<DeValue<'t>>> {
        self.known.push(key);
        self.entries.remove(key)
    }

    /// Whether the file gives a key that was not taken yet.
    pub(super) fn has(&self, key: &str) -> bool {
        self.entries.contains_key(key)
    }

    /// The place of a key's value, or of the section when the file does not give it.
    pub(super) fn at_value(&self, key: &str) -> At {
        match self.entries.get(key) {
            Some(value) => At::new(&value.span(), self.path(key)),
            None => self.at(key),
        }
    }

    /// Takes a key and turns it into a value; `None` when it is absent or a fault.
    pub(super) fn get<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(&DeValue<'_>) -> Read<T>,
    ) -> Option<Given<T>> {
        let value = self.take(key)?;
        let at = At::new(&value.span(), self.path(key));
        self.note(at, read(value.get_ref()))
    }

    /// As `get`, and a fault when the key is absent.
    pub(super) fn need<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(&DeValue<'_>) -> Read<T>,
    ) -> Option<Given<T>> {
        if !self.has(key) {
            self.report.fault(&self.at(key), "is missing");
        }
        self.get(key, read)
    }

    /// Takes a key that holds one value or a list of them; empty when it is absent.
    pub(super) fn one_or_more<T>(
        &mut self,
        key: &'static str,
        read: impl Fn(&DeValue<'_>) -> Read<T>,
    ) -> Vec<Given<T>> {
        let Some(value) = self.take(key) else {
            return Vec::new();
        };
        let at = At::new(&value.span(), self.path(key));
        match value.get_ref() {
            DeValue::Array(_) => self.items(&value, &at, read),
            one => self.note(at, read(one)).into_iter().collect(),
        }
    }

    /// Takes a key that holds a list; `None` when it is absent, a fault when it is empty.
    pub(super) fn list<T>(
        &mut self,
        key: &'static str,
        read: impl Fn(&DeValue<'_>) -> Read<T>,
    ) -> Option<Vec<Given<T>>> {
        let value = self.take(key)?;
        let at = At::new(&value.span(), self.path(key));
        if !value.get_ref().is_array() {
            let message = expected("a list", value.get_ref());
            self.report.fault(&at, message);
            return None;
        }
        Some(self.items(&value, &at, read))
    }

    fn items<T>(
        &self,
        list: &Spanned<DeValue<'_>>,
        at: &At,
        read: impl Fn(&DeValue<'_>) -> Read<T>,
    ) -> Vec<Given<T>> {
        let items = list.get_ref().as_array().map_or(&[][..], |items| items);
        if items.is_empty() {
            self.report
                .fault(at, "is an empty list; leave the key out instead");
        }
        let one = |(index, item): (usize, &Spanned<DeValue<'_>>)| {
            let at = At::new(&item.span(), format!("{}[{index}]", at.key));
            self.note(at, read(item.get_ref()))
        };
        items.iter().enumerate().filter_map(one).collect()
    }

    /// Takes a table; when it is absent, an empty one, so that its defaults are found.
    pub(super) fn table(&mut self, key: &'static str) -> Section<'r, 't> {
        let absent = self.at(key);
        let Some(value) = self.take(key) else {
            return Self::new(self.report, absent, DeTable::new());
        };
        let at = At::new(&value.span(), self.path(key));
        self.section(at, value)
    }

    /// Takes a list of tables (`[[key]]`); empty when it is absent.
    pub(super) fn tables(&mut self, key: &'static str) -> Vec<Section<'r, 't>> {
        let Some(value) = self.take(key) else {
            return Vec::new();
        };
        let at = At::new(&value.span(), self.path(key));
        let DeValue::Array(items) = value.into_inner() else {
            let hint = format!("must be a list of tables: [[{key}]]");
            self.report.fault(&at, hint);
            return Vec::new();
        };
        let one = |(index, item): (usize, Spanned<DeValue<'t>>)| {
            let at = At::new(&item.span(), format!("{}[{index}]", at.key));
            self.section(at, item)
        };
        items.into_iter().enumerate().map(one).collect()
    }

    fn section(&self, at: At, value: Spanned<DeValue<'t>>) -> Section<'r, 't> {
        let entries = match value.into_inner() {
            DeValue::Table(entries) => entries,
            other => {
                self.report.fault(&at, expected("a table", &other));
                DeTable::new()
            }
        };
        Self::new(self.report, at, entries)
    }

    /// Takes a table whose keys are the user's own, with text for values.
    pub(super) fn texts(&mut self, key: &'static str) -> BTreeMap<String, String> {
        let given = self.texts_at(key).into_iter();
        given.map(|(key, given)| (key, given.value)).collect()
    }

    /// As `texts`, each with its place.
    pub(super) fn texts_at(&mut self, key: &'static str) -> BTreeMap<String, Given<String>> {
        let section = self.table(key);
        let mut texts = BTreeMap::new();
        for (key, value) in section.entries.iter() {
            let at = At::new(&value.span(), section.path(key.get_ref()));
            if let Some(given) = section.note(at, text(value.get_ref())) {
                texts.insert(key.get_ref().clone().into_owned(), given);
            }
        }
        texts
    }

    /// Ends the section: each key that nobody took is unknown.
    pub(super) fn finish(self) {
        for key in self.entries.keys() {
            let at = At::new(&key.span(), self.path(key.get_ref()));
            let known = self.known.join(", ");
            self.report
                .fault(&at, format!("is not a known key; known here: {known}"));
        }
    }

    fn note<T>(&self, at: At, read: Read<T>) -> Option<Given<T>> {
        match read {
            Ok(value) => Some(Given { value, at }),
            Err(message) => {
                self.report.fault(&at, message);
                None
            }
        }
    }
}

/// The sentence about a value of the wrong type.
fn expected(what: &str, value: &DeValue<'_>) -> String {
    let article = match value {
        DeValue::Integer(_) | DeValue::Array(_) => "an",
        _ => "a",
    };
    format!("must be {what}, not {article} {}", value.type_str())
}

/// Reads a string.
pub(super) fn text(value: &DeValue<'_>) -> Read<String> {
    match value {
        DeValue::String(text) => Ok(text.clone().into_owned()),
        other => Err(expected("a string", other)),
    }
}

/// Reads a string and gives it to `parse`.
pub(super) fn parsed<T>(parse: impl Fn(&str) -> Read<T>) -> impl Fn(&DeValue<'_>) -> Read<T> {
    move |value| parse(&text(value)?)
}

/// Reads a duration of at least `least` and at most `most`.
pub(super) fn duration_within(
    least: Duration,
    most: Duration,
) -> impl Fn(&DeValue<'_>) -> Read<Duration> {
    move |value| {
        let DeValue::String(text) = value else {
            return Err(expected("a duration like \"30s\"", value));
        };
        let given = values::duration(text)?;
        let (low, high) = (values::duration_text(least), values::duration_text(most));
        if given < least {
            return Err(format!("must be at least {low}"));
        }
        if given > most {
            return Err(format!("must be at most {high}"));
        }
        Ok(given)
    }
}

/// Reads a size of at least `least` and at most `most` bytes.
pub(super) fn size_within(least: u64, most: u64) -> impl Fn(&DeValue<'_>) -> Read<u64> {
    move |value| {
        let DeValue::String(text) = value else {
            return Err(expected("a size like \"48 MiB\"", value));
        };
        let given = values::size(text)?;
        if !(least..=most).contains(&given) {
            let (low, high) = (bytesize::ByteSize(least), bytesize::ByteSize(most));
            return Err(format!("must be from {low} to {high}"));
        }
        Ok(given)
    }
}

/// Reads a whole number of at least `least` and at most `most`.
pub(super) fn number_within(least: u64, most: u64) -> impl Fn(&DeValue<'_>) -> Read<u64> {
    move |value| {
        let DeValue::Integer(number) = value else {
            return Err(expected("a whole number", value));
        };
        let given = u64::from_str_radix(number.as_str(), number.radix());
        given
            .ok()
            .filter(|given| (least..=most).contains(given))
            .ok_or_else(|| match most {
                u64::MAX => format!("must be at least {least}"),
                _ => format!("must be from {least} to {most}"),
            })
    }
}
