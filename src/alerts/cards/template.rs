//! A user's own card: a template whose outcome is the JSON of a card.
//!
//! A template is compiled and tried on samples before it is taken; at work it has so much fuel and so much room, and
//! what an alert says reaches only the places where it can do nothing (`foreign`).
//! Not here: its variables (`values`), the file it is read from (`files`).

use std::io::Write;

use minijinja::{
    AutoEscape, Environment, Error, ErrorKind, UndefinedBehavior, filters, functions, tests,
};
use serde_json::Value;

use super::{foreign, values};
use crate::job;

/// Steps of one drawing; a card of fifty alerts takes a tenth of it.
const FUEL: u64 = 200_000;
/// Bytes that a template may make; a card has 30 000.
const MADE_BYTES_MAX: usize = 512 * 1024;
/// Bytes of a template.
const SOURCE_BYTES_MAX: usize = 256 * 1024;
/// Depth of macros within macros.
const RECURSION_MAX: usize = 40;
/// What a template is called within the engine.
const NAME: &str = "card";

/// What is wrong with a template, in words that hold nothing of an alert.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Broken {
    /// Of the template, if that is known.
    pub(super) line: Option<usize>,
    /// What.
    pub(super) says: String,
}

/// A template that could be compiled.
pub(super) struct Template {
    engine: Environment<'static>,
}

impl std::fmt::Debug for Template {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Template")
    }
}

impl Template {
    /// Compiles a template and draws the sample incidents with it.
    pub(super) fn new(source: &str) -> Result<Template, Broken> {
        if source.len() > SOURCE_BYTES_MAX {
            let says = format!("is larger than {SOURCE_BYTES_MAX} bytes");
            return Err(Broken { line: None, says });
        }
        let mut lines = source.lines();
        if let Some(at) = lines.position(|line| line.contains(foreign::MARKS)) {
            let says = "has a sign that is no character (U+FDD0 or U+FDD1)".to_owned();
            return Err(Broken {
                line: Some(at + 1),
                says,
            });
        }
        let mut engine = engine();
        engine
            .add_template_owned(NAME, source.to_owned())
            .map_err(|error| broken(&error, true))?;
        let template = Template { engine };
        for sample in values::samples() {
            template.drawn(sample, true)?;
        }
        Ok(template)
    }

    /// The card of these values.
    pub(super) fn draw(&self, values: minijinja::Value) -> Result<Value, Broken> {
        self.drawn(values, false)
    }

    /// `sample`: nothing in `values` is foreign, so a fault may be told with all its words.
    fn drawn(&self, values: minijinja::Value, sample: bool) -> Result<Value, Broken> {
        let template = self
            .engine
            .get_template(NAME)
            .map_err(|error| broken(&error, sample))?;
        let mut made = Bounded(Vec::new());
        template
            .render_captured_to(values, &mut made)
            .map_err(|error| broken(&error, sample))?;
        let made = String::from_utf8_lossy(&made.0);
        let says = |says| Broken { line: None, says };
        let mut card = foreign::woven(&made)
            .and_then(foreign::settled)
            .map_err(says)?;
        share(&mut card);
        match job::check_card(&card) {
            Ok(()) => Ok(card),
            Err(flaws) => {
                let flaw = flaws.into_iter().next();
                let flaw = flaw.map(|flaw| format!("{} {}", flaw.pointer, flaw.detail));
                let flaw = flaw.unwrap_or_default();
                Err(says(format!(
                    "makes what is no card that can be updated: {}",
                    flaw.trim()
                )))
            }
        }
    }
}

/// A card of JSON 1.0 is shared only if it says so, and is updated only if it is shared.
fn share(card: &mut Value) {
    let Some(card) = card
        .as_object_mut()
        .filter(|card| card.contains_key("elements"))
    else {
        return;
    };
    let config = card
        .entry("config")
        .or_insert_with(|| serde_json::json!({}));
    if let Some(config) = config.as_object_mut() {
        config.entry("update_multi").or_insert(Value::Bool(true));
    }
}

/// What is known of an error; its detail may quote a value, so only samples let it be told.
fn broken(error: &Error, sample: bool) -> Broken {
    let says = match (error.kind(), error.detail()) {
        (ErrorKind::OutOfFuel, _) => "runs too long".to_owned(),
        (ErrorKind::WriteFailure, _) => {
            format!("makes more than {MADE_BYTES_MAX} bytes, or what cannot stand in a card")
        }
        (kind, Some(detail)) if sample => format!("{kind}: {detail}"),
        (kind, _) => kind.to_string(),
    };
    Broken {
        line: error.line(),
        says,
    }
}

/// Takes so many bytes and then no more.
struct Bounded(Vec<u8>);

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if self.0.len() + bytes.len() > MADE_BYTES_MAX {
            return Err(std::io::Error::other("too much"));
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// The engine with what a template may use. It is named one by one: a filter that calls its outcome safe would carry
/// foreign text past its marks.
fn engine() -> Environment<'static> {
    let mut engine = Environment::empty();
    engine.set_undefined_behavior(UndefinedBehavior::Strict);
    engine.set_fuel(Some(FUEL));
    engine.set_recursion_limit(RECURSION_MAX);
    engine.set_auto_escape_callback(|_| AutoEscape::Json);
    engine.set_formatter(|out, _, value| {
        foreign::put(out, value, 0).map_err(|_| Error::from(ErrorKind::WriteFailure))
    });
    engine.add_filter("upper", |text: String| text.to_uppercase());
    engine.add_filter("lower", |text: String| text.to_lowercase());
    engine.add_filter("title", filters::title);
    engine.add_filter("trim", |text: String| text.trim().to_owned());
    engine.add_filter("replace", |text: String, from: String, to: String| {
        text.replace(&from, &to)
    });
    engine.add_filter("join", join);
    engine.add_filter("truncate", truncate);
    engine.add_filter("tojson", |value: minijinja::Value| value);
    engine.add_filter("length", filters::length);
    engine.add_filter("count", filters::length);
    engine.add_filter("default", filters::default);
    engine.add_filter("d", filters::default);
    engine.add_filter("first", filters::first);
    engine.add_filter("list", filters::list);
    engine.add_filter("sort", filters::sort);
    engine.add_filter("unique", filters::unique);
    engine.add_filter("items", filters::items);
    engine.add_filter("dictsort", filters::dictsort);
    engine.add_filter("batch", filters::batch);
    engine.add_filter("slice", filters::slice);
    engine.add_filter("map", filters::map);
    engine.add_filter("select", filters::select);
    engine.add_filter("reject", filters::reject);
    engine.add_filter("selectattr", filters::selectattr);
    engine.add_filter("rejectattr", filters::rejectattr);
    engine.add_filter("groupby", filters::groupby);
    engine.add_filter("int", filters::int);
    engine.add_filter("float", filters::float);
    engine.add_filter("round", filters::round);
    engine.add_filter("abs", filters::abs);
    engine.add_filter("min", filters::min);
    engine.add_filter("max", filters::max);
    engine.add_filter("sum", filters::sum);
    engine.add_test("defined", tests::is_defined);
    engine.add_test("undefined", tests::is_undefined);
    engine.add_test("none", tests::is_none);
    engine.add_test("odd", tests::is_odd);
    engine.add_test("even", tests::is_even);
    engine.add_test("in", tests::is_in);
    engine.add_test("eq", tests::is_eq);
    engine.add_test("equalto", tests::is_eq);
    engine.add_test("ne", tests::is_ne);
    engine.add_test("gt", tests::is_gt);
    engine.add_test("ge", tests::is_ge);
    engine.add_test("lt", tests::is_lt);
    engine.add_test("le", tests::is_le);
    engine.add_test("startingwith", tests::is_startingwith);
    engine.add_test("endingwith", tests::is_endingwith);
    engine.add_function("range", functions::range);
    engine.add_function("dict", functions::dict);
    engine
}

fn join(list: minijinja::Value, between: Option<String>) -> Result<String, Error> {
    let items = list.try_iter()?;
    let items: Vec<String> = items.map(|item| item.to_string()).collect();
    Ok(items.join(between.as_deref().unwrap_or_default()))
}

fn truncate(text: String, signs: Option<usize>) -> String {
    super::words::lines(&text, signs.unwrap_or(100), usize::MAX)
}
