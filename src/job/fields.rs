//! The fields of one object of a request, taken out by name; what nobody takes is a fault.
//!
//! Every fault has its place as a JSON pointer, and all are found at once.
//! Not here: what the fields mean (`submit`, `args`).

use serde_json::{Map, Value};

use crate::clock;

/// One fault of a request, and where it is.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
pub struct Flaw {
    /// JSON pointer into the request.
    pub pointer: String,
    /// What is wrong, and what would be right.
    pub detail: String,
}

/// The fields of one object: what was asked for is taken out, what is left over is a fault.
pub(super) struct Fields<'a> {
    map: &'a Map<String, Value>,
    at: &'a str,
    pub(super) known: Vec<&'static str>,
    pub(super) flaws: Vec<Flaw>,
}

impl<'a> Fields<'a> {
    pub(super) fn new(map: &'a Map<String, Value>, at: &'a str) -> Fields<'a> {
        Fields {
            map,
            at,
            known: Vec::new(),
            flaws: Vec::new(),
        }
    }

    /// The value of that name; `null` counts as absent.
    pub(super) fn get(&mut self, name: &'static str) -> Option<&'a Value> {
        self.known.push(name);
        self.map.get(name).filter(|value| !value.is_null())
    }

    /// A string of that name that is not empty.
    pub(super) fn text(&mut self, name: &'static str) -> Option<&'a str> {
        let value = self.get(name)?;
        match value.as_str() {
            Some("") => self.flaw(name, "must not be empty"),
            Some(text) => return Some(text),
            None => self.flaw(name, "must be a string"),
        }
        None
    }

    /// The first of `names` that is there: the contract's name, or Feishu's.
    pub(super) fn either(&mut self, names: &[&'static str]) -> Option<(&'static str, &'a Value)> {
        let mut found = None;
        for name in names {
            if let Some(value) = self.get(name) {
                match found {
                    None => found = Some((*name, value)),
                    Some((first, _)) => self.flaw(
                        name,
                        format!("says the same as {first:?}; give one of them"),
                    ),
                }
            }
        }
        found
    }

    /// One of a closed list of words.
    pub(super) fn word<T: Copy>(
        &mut self,
        name: &'static str,
        all: &[T],
        word: fn(T) -> &'static str,
    ) -> Option<T> {
        let text = self.text(name)?;
        let found = all.iter().copied().find(|one| word(*one) == text);
        if found.is_none() {
            let words: Vec<&str> = all.iter().map(|one| word(*one)).collect();
            self.flaw(name, format!("must be one of {}", words.join(", ")));
        }
        found
    }

    /// A duration of that name, milliseconds.
    pub(super) fn duration(&mut self, name: &'static str) -> Option<i64> {
        let text = self.text(name)?;
        let ms = clock::parse_ms(text);
        if ms.is_none() {
            self.flaw(name, "must be a duration such as \"30s\", \"5m\" or \"2h\"");
        }
        ms
    }

    /// A time of that name, Unix milliseconds.
    pub(super) fn time(&mut self, name: &'static str) -> Option<i64> {
        let text = self.text(name)?;
        let ms = clock::parse_rfc3339(text);
        if ms.is_none() {
            self.flaw(name, "must be a time such as \"2026-01-31T08:00:00Z\"");
        }
        ms
    }

    pub(super) fn flaw(&mut self, name: &str, detail: impl Into<String>) {
        let slash = if name.is_empty() { "" } else { "/" };
        self.inner(format!("{slash}{}", escaped(name)), detail.into());
    }

    /// As `flaw`, of the `n`th element of the list of that name.
    pub(super) fn flaw_at(&mut self, name: &str, n: Option<usize>, detail: impl Into<String>) {
        let n = n.map_or_else(String::new, |n| format!("/{n}"));
        self.inner(format!("/{}{n}", escaped(name)), detail.into());
    }

    /// A fault whose place is a JSON pointer below this object.
    pub(super) fn inner(&mut self, pointer: String, detail: String) {
        self.flaws.push(Flaw {
            pointer: format!("{}{pointer}", self.at),
            detail,
        });
    }

    /// Marks names that somebody else reads.
    pub(super) fn leave(&mut self, names: &[&'static str]) {
        self.known.extend_from_slice(names);
    }

    /// Names what nobody asked for.
    pub(super) fn finish(mut self) -> Vec<Flaw> {
        let unknown: Vec<String> = self
            .map
            .keys()
            .filter(|name| !self.known.contains(&name.as_str()))
            .cloned()
            .collect();
        for name in unknown {
            let like = self.known.iter().find(|known| close(known, &name));
            let detail = match like {
                Some(known) => format!("unknown field; did you mean {known:?}?"),
                None => String::from("unknown field"),
            };
            self.inner(format!("/{}", escaped(&name)), detail);
        }
        self.flaws
    }
}

/// A name as it stands in a JSON pointer.
pub(super) fn escaped(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

/// Near enough to be a slip of the finger: one letter more, less or other.
fn close(a: &str, b: &str) -> bool {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let same_head = a.iter().zip(&b).take_while(|(x, y)| x == y).count();
    let same_tail = a
        .iter()
        .rev()
        .zip(b.iter().rev())
        .take_while(|(x, y)| x == y)
        .count();
    let longest = a.len().max(b.len());
    longest > 2 && a.len().abs_diff(b.len()) <= 1 && same_head + same_tail + 1 >= longest
}
