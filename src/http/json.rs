//! Bodies into JSON values, strictly and one job at a time.
//!
//! A name that stands twice in an object is refused: of two values one would be lost in silence.
//! A list is taken apart while it is read, so that only one job's values are in memory at once, and
//! their number is bounded: a body of commas would else take thirty times its size.
//! Not here: what a job must look like (`job`).

use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Deserializer, Map, Number, Value};

/// The most jobs of one request.
pub(super) const JOBS_MAX: usize = 10_000;

/// The most values (numbers, strings, lists, objects) of one body.
const VALUES_MAX: usize = 2_000_000;

/// How the jobs of a body stand in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// One object.
    One,
    /// A list, or one on each line.
    Many,
}

/// Why a body cannot be taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// It is no JSON; line, column and what is wrong there.
    Syntax(String),
    /// It has more than `JOBS_MAX` jobs.
    TooManyJobs,
    /// It has more than `VALUES_MAX` values.
    TooManyValues,
    /// There is nothing in it.
    Empty,
}

/// Hands each job of `body` to `take`, in order: where it is (a JSON pointer) and its value.
///
/// `lines`: the sender says that it is NDJSON. Otherwise a list is a list, and a body with more
/// than one value is read by lines.
///
/// # Errors
/// The body is at fault; some of its jobs may have been handed out.
pub(super) fn jobs(
    body: &[u8],
    lines: bool,
    mut take: impl FnMut(&str, Value),
) -> Result<Shape, Fault> {
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    let budget = Budget::default();
    match body.iter().find(|b| !b.is_ascii_whitespace()) {
        None => return Err(Fault::Empty),
        Some(b'[') => {
            let elements = Elements {
                budget: &budget,
                take: &mut take,
            };
            let mut reader = Deserializer::from_slice(body);
            let read = elements.deserialize(&mut reader);
            read.and_then(|()| reader.end())
                .map_err(|error| budget.fault(&error, None))?;
            return Ok(Shape::Many);
        }
        Some(_) if lines => {}
        Some(_) => {
            let mut reader = Deserializer::from_slice(body);
            let value = Strict(&budget)
                .deserialize(&mut reader)
                .map_err(|error| budget.fault(&error, None))?;
            if reader.end().is_ok() {
                take("", value);
                return Ok(Shape::One);
            }
        }
    }
    by_lines(body, &mut take)?;
    Ok(Shape::Many)
}

/// One value of `body`, which has nothing else in it.
pub(super) fn value(body: &[u8]) -> Result<Value, Fault> {
    let budget = Budget::default();
    let mut reader = Deserializer::from_slice(body);
    let value = Strict(&budget).deserialize(&mut reader);
    value
        .and_then(|value| reader.end().map(|()| value))
        .map_err(|error| budget.fault(&error, None))
}

fn by_lines(body: &[u8], take: &mut impl FnMut(&str, Value)) -> Result<(), Fault> {
    let budget = Budget::default();
    let mut count = 0;
    for (number, line) in body.split(|b| *b == b'\n').enumerate() {
        if line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        if count == JOBS_MAX {
            return Err(Fault::TooManyJobs);
        }
        let mut reader = Deserializer::from_slice(line);
        let value = Strict(&budget).deserialize(&mut reader);
        let value = value
            .and_then(|value| reader.end().map(|()| value))
            .map_err(|error| budget.fault(&error, Some(number + 1)))?;
        take(&format!("/{count}"), value);
        count += 1;
    }
    Ok(())
}

/// Counts what a body holds, and remembers which bound was met.
#[derive(Default)]
struct Budget {
    values: Cell<usize>,
    broken: Cell<Option<Bound>>,
}

#[derive(Clone, Copy)]
enum Bound {
    Jobs,
    Values,
}

impl Budget {
    fn spend<E: serde::de::Error>(&self) -> Result<(), E> {
        self.values.set(self.values.get() + 1);
        match self.values.get() > VALUES_MAX {
            true => Err(self.exceed(Bound::Values)),
            false => Ok(()),
        }
    }

    fn exceed<E: serde::de::Error>(&self, bound: Bound) -> E {
        self.broken.set(Some(bound));
        E::custom("too much")
    }

    /// `line`: where in the body this part of it stands.
    fn fault(&self, error: &serde_json::Error, line: Option<usize>) -> Fault {
        match self.broken.get() {
            Some(Bound::Jobs) => return Fault::TooManyJobs,
            Some(Bound::Values) => return Fault::TooManyValues,
            None => {}
        }
        let text = error.to_string();
        let place = format!(" at line {} column {}", error.line(), error.column());
        let what = text.strip_suffix(&place).unwrap_or(&text);
        let line = line.unwrap_or(error.line());
        Fault::Syntax(format!("line {line}, column {}: {what}", error.column()))
    }
}

/// Reads any value; refuses a name that stands twice.
struct Strict<'a>(&'a Budget);

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value;

    fn deserialize<D: serde::Deserializer<'de>>(self, from: D) -> Result<Value, D::Error> {
        self.0.spend()?;
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        let number = Number::from_f64(value).ok_or_else(|| E::custom("number out of range"))?;
        Ok(Value::Number(number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut from: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(value) = from.next_element_seed(Strict(self.0))? {
            list.push(value);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut from: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(name) = from.next_key::<String>()? {
            if map.contains_key(&name) {
                let message = format!("the name {name:?} stands twice in one object");
                return Err(A::Error::custom(message));
            }
            let value = from.next_value_seed(Strict(self.0))?;
            map.insert(name, value);
        }
        Ok(Value::Object(map))
    }
}

/// Reads a list and hands out its elements as they come.
struct Elements<'a, F> {
    budget: &'a Budget,
    take: &'a mut F,
}

impl<'de, F: FnMut(&str, Value)> DeserializeSeed<'de> for Elements<'_, F> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_seq(self)
    }
}

impl<'de, F: FnMut(&str, Value)> Visitor<'de> for Elements<'_, F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of jobs")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut from: A) -> Result<(), A::Error> {
        let mut count = 0;
        while let Some(value) = from.next_element_seed(Strict(self.budget))? {
            if count == JOBS_MAX {
                return Err(self.budget.exceed(Bound::Jobs));
            }
            (self.take)(&format!("/{count}"), value);
            count += 1;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str, lines: bool) -> Result<(Shape, Vec<String>), Fault> {
        let mut seen = Vec::new();
        let shape = jobs(body.as_bytes(), lines, |at, value| {
            seen.push(format!("{at} {value}"));
        })?;
        Ok((shape, seen))
    }

    #[test]
    fn a_body_is_one_object_a_list_or_lines() {
        fn check(body: &str, shape: Shape, expected: &[&str]) {
            let expected: Vec<String> = expected.iter().map(|one| (*one).to_owned()).collect();
            assert_eq!(read(body, false), Ok((shape, expected)), "{body:?}");
        }
        check("{\"a\":1}", Shape::One, &[" {\"a\":1}"]);
        check(" \n{\n\"a\":\n1}\n", Shape::One, &[" {\"a\":1}"]);
        check("\u{feff}{}", Shape::One, &[" {}"]);
        check("7", Shape::One, &[" 7"]);
        check("[{\"a\":1}, 2]", Shape::Many, &["/0 {\"a\":1}", "/1 2"]);
        check("[]", Shape::Many, &[]);
        check(
            "{\"a\":1}\n\n{\"a\":2}\r\n",
            Shape::Many,
            &["/0 {\"a\":1}", "/1 {\"a\":2}"],
        );
        let one_line = read("{\"a\":1}\n", true).unwrap();
        assert_eq!(one_line, (Shape::Many, vec![String::from("/0 {\"a\":1}")]));
    }

    #[test]
    fn what_is_no_json_is_pointed_at() {
        fn check(body: &str, expected: &str) {
            match read(body, false) {
                Err(Fault::Syntax(text)) => assert!(text.starts_with(expected), "{text}"),
                other => panic!("{body:?} gave {other:?}"),
            }
        }
        check("to=oc_1&text=hi", "line 1, column 2: ");
        check(
            "{\"a\": 1,\n \"a\": 2}",
            "line 2, column 4: the name \"a\" stands twice",
        );
        check(
            "{\"x\": {\"b\": 1, \"b\": 1}}",
            "line 1, column 18: the name \"b\"",
        );
        check("{\"a\": 1", "line 1, column 7: EOF");
        check("[{\"a\": 1}", "line 1, column 9: EOF");
        check("[1] [2]", "line 1, column 5: trailing");
        check("{\"a\":1}\n{\"a\":}\n", "line 2, column 6: expected value");
        check("{\"a\":1} {\"a\":2}", "line 1, column 9: trailing");
        check(&"[".repeat(200), "line 1, column 128: recursion limit");
        check("{\"a\": \"\u{1}\"}", "line 1, column 8: control character");
    }

    #[test]
    fn bytes_that_are_no_text_are_no_json() {
        let got = jobs(b"{\"a\": \"\xff\"}", false, |_, _| {});
        assert!(matches!(got, Err(Fault::Syntax(_))));
    }

    #[test]
    fn a_body_has_bounds_beside_its_size() {
        assert_eq!(read(" \r\n", false), Err(Fault::Empty));
        assert_eq!(read("", true), Err(Fault::Empty));
        let list = |count: usize| format!("[{}]", vec!["1"; count].join(","));
        assert!(read(&list(JOBS_MAX), false).is_ok());
        assert_eq!(read(&list(JOBS_MAX + 1), false), Err(Fault::TooManyJobs));
        let lines = "1\n".repeat(JOBS_MAX + 1);
        assert_eq!(read(&lines, false), Err(Fault::TooManyJobs));
        let values = format!("[{}]", list(VALUES_MAX));
        assert_eq!(read(&values, false), Err(Fault::TooManyValues));
    }
}
