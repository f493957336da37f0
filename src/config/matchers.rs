//! Matchers of labels, as Alertmanager writes them: `severity="critical"`, `team=~"db|infra"`.
//!
//! What both of its parsers take is taken with the same meaning, and so is what one of them takes; where they
//! differ, the older one is followed, as Alertmanager itself does. A value that would mean something else
//! there than it seems to (outside of quotes: braces, or a first `'` or `=`) is refused.
//! A regular expression is anchored at both ends and takes time linear in the text, as RE2 does. A label that
//! is not there has the value `""`.

use std::fmt;

use regex::{Regex, RegexBuilder};

/// The longest matcher, bytes.
const BYTES_MAX: usize = 2000;
/// What one compiled expression may take, bytes.
const REGEX_BYTES_MAX: usize = 1 << 20;
/// Characters that cannot stand in a label's name, or in a value, outside of quotes.
const RESERVED: &str = "{}!=~,\\\"'`";

/// One condition on one label.
#[derive(Clone)]
pub struct Matcher {
    /// The label's name.
    pub name: String,
    /// How its value is compared.
    pub op: Op,
    /// With what.
    pub value: String,
    /// Of `=~` and `!~`: the value, anchored.
    regex: Option<Regex>,
}

/// How a matcher compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Op {
    /// `=`
    Is,
    /// `!=`
    IsNot,
    /// `=~`
    Matches,
    /// `!~`
    DoesNotMatch,
}

impl Op {
    fn text(self) -> &'static str {
        match self {
            Op::Is => "=",
            Op::IsNot => "!=",
            Op::Matches => "=~",
            Op::DoesNotMatch => "!~",
        }
    }
}

impl PartialEq for Matcher {
    fn eq(&self, other: &Matcher) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Matcher {}

impl fmt::Debug for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Matcher {
    /// In the one form that two matchers with the same meaning share.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let quoted = |text: &str| {
            let text = text.replace('\\', "\\\\").replace('\n', "\\n");
            format!("\"{}\"", text.replace('"', "\\\""))
        };
        match self.name.contains(is_reserved) {
            true => f.write_str(&quoted(&self.name))?,
            false => f.write_str(&self.name)?,
        }
        write!(f, "{}{}", self.op.text(), quoted(&self.value))
    }
}

impl Matcher {
    fn new(name: String, op: Op, value: String) -> Result<Matcher, String> {
        let regex = match op {
            Op::Is | Op::IsNot => None,
            Op::Matches | Op::DoesNotMatch => Some(anchored(&value)?),
        };
        Ok(Matcher {
            name,
            op,
            value,
            regex,
        })
    }

    fn key(&self) -> (&str, Op, &str) {
        (&self.name, self.op, &self.value)
    }

    /// Does a label of this name with this value (absent: `""`) meet it?
    pub fn takes(&self, value: &str) -> bool {
        let found = |regex: &Regex| regex.is_match(value);
        match self.op {
            Op::Is => value == self.value,
            Op::IsNot => value != self.value,
            Op::Matches => self.regex.as_ref().is_some_and(found),
            Op::DoesNotMatch => !self.regex.as_ref().is_some_and(found),
        }
    }

    /// Every value that it takes, where these are few and stand in it word by word.
    fn values(&self) -> Option<Vec<&str>> {
        let plain = |text: &&str| !text.contains(|c| r"\.+*?()|[]{}^$#&~".contains(c));
        match self.op {
            Op::Is => Some(vec![&self.value]),
            Op::Matches => {
                let parts: Vec<&str> = self.value.split('|').collect();
                parts.iter().all(plain).then_some(parts)
            }
            Op::IsNot | Op::DoesNotMatch => None,
        }
    }
}

/// A regular expression that must match the whole text. It must be one by itself: `a)|(b` is none.
fn anchored(text: &str) -> Result<Regex, String> {
    let wrong = |error: regex::Error| match error {
        regex::Error::CompiledTooBig(_) => String::from("is too large a regular expression"),
        error => {
            let text = error.to_string();
            let why = text.rsplit("error: ").next().unwrap_or_default().to_owned();
            format!("is no regular expression: {}", why.trim())
        }
    };
    let build = |text: &str| {
        let mut builder = RegexBuilder::new(text);
        builder.size_limit(REGEX_BYTES_MAX).build().map_err(wrong)
    };
    build(text)?;
    build(&format!("^(?:{text})$"))
}

/// What a matcher takes is taken by `all` of others too, as far as that can be seen from their words: a `true`
/// is certain.
pub(super) fn implies(narrow: &[Matcher], wide: &[Matcher]) -> bool {
    let covered = |wide: &Matcher| {
        narrow
            .iter()
            .any(|one| one == wide || one.name == wide.name && covers(one, wide))
    };
    wide.iter().all(covered)
}

fn covers(narrow: &Matcher, wide: &Matcher) -> bool {
    match narrow.values() {
        Some(values) => values.iter().all(|value| wide.takes(value)),
        None => false,
    }
}

/// Two of these can never both hold: the first such pair.
pub(super) fn contradiction(matchers: &[Matcher]) -> Option<(&Matcher, &Matcher)> {
    let pairs = matchers
        .iter()
        .flat_map(|one| matchers.iter().map(move |other| (one, other)));
    pairs.into_iter().find(|(one, other)| {
        one.name == other.name
            && one
                .values()
                .is_some_and(|values| !values.iter().any(|value| other.takes(value)))
    })
}

/// In the order and form that two equal sets share.
pub(super) fn sort(matchers: &mut Vec<Matcher>) {
    matchers.sort_by(|a, b| a.key().cmp(&b.key()));
    matchers.dedup();
}

/// Reads one matcher, or several with commas between them, in braces or not.
///
/// # Errors
/// A sentence that says what is wrong.
pub(super) fn parse(text: &str) -> Result<Vec<Matcher>, String> {
    if text.len() > BYTES_MAX {
        return Err(format!("is longer than {BYTES_MAX} bytes"));
    }
    let trimmed = text.trim();
    let inside = match (trimmed.strip_prefix('{'), trimmed.strip_suffix('}')) {
        (None, _) => trimmed,
        (Some(_), None) => return Err(String::from("opens a brace and does not close it")),
        (Some(inside), Some(_)) => &inside[..inside.len() - 1],
    };
    let mut rest = Scanner(inside);
    let mut matchers = Vec::new();
    while rest.skip_space() {
        matchers.push(rest.matcher()?);
    }
    match matchers.is_empty() {
        true => Err(String::from(
            "holds no matcher; leave match out to take every alert",
        )),
        false => Ok(matchers),
    }
}

/// What is left to be read.
struct Scanner<'a>(&'a str);

impl<'a> Scanner<'a> {
    /// Passes white space; is there anything behind it?
    fn skip_space(&mut self) -> bool {
        self.0 = self.0.trim_start();
        !self.0.is_empty()
    }

    fn matcher(&mut self) -> Result<Matcher, String> {
        let name = self.name()?;
        self.skip_space();
        let op = self.op()?;
        self.skip_space();
        let value = match self.0.strip_prefix('"') {
            Some(inside) => self.quoted(inside)?,
            None => self.bare()?,
        };
        self.skip_space();
        match self.0.strip_prefix(',') {
            Some(after) => self.0 = after,
            None if self.0.is_empty() => {}
            None => return Err(format!("has {:?} after the value of {name:?}", self.0)),
        }
        Matcher::new(name, op, value)
    }

    fn name(&mut self) -> Result<String, String> {
        let name = match self.0.strip_prefix('"') {
            Some(inside) => self.quoted(inside)?,
            None => self.take_until(is_reserved).to_owned(),
        };
        if name.is_empty() {
            let message = "must be like severity=\"critical\": a label's name, =, !=, =~ or !~, a value in double quotes";
            return Err(String::from(message));
        }
        Ok(name)
    }

    fn op(&mut self) -> Result<Op, String> {
        for op in [Op::Matches, Op::DoesNotMatch, Op::IsNot, Op::Is] {
            if let Some(after) = self.0.strip_prefix(op.text()) {
                self.0 = after;
                return Ok(op);
            }
        }
        Err(String::from(
            "needs =, !=, =~ or !~ after the label's name; other names than Prometheus's stand in double quotes",
        ))
    }

    /// A value without quotes: up to a comma.
    fn bare(&mut self) -> Result<String, String> {
        let value = self.take_until(|c| c == ',').trim_end();
        if value.contains(['"', '{', '}']) || value.starts_with(['\'', '`', '=', '~', '!']) {
            return Err(format!("needs double quotes around its value: {value}"));
        }
        Ok(unescaped(value))
    }

    /// `inside`: what follows the opening quote.
    fn quoted(&mut self, inside: &'a str) -> Result<String, String> {
        let mut escaped = false;
        let end = inside.find(|c| {
            let ends = c == '"' && !escaped;
            escaped = c == '\\' && !escaped;
            ends
        });
        let end = end.ok_or_else(|| String::from("opens a quote and does not close it"))?;
        self.0 = &inside[end + 1..];
        Ok(unescaped(&inside[..end]))
    }

    fn take_until(&mut self, ends: impl Fn(char) -> bool) -> &'a str {
        let (taken, rest) = self.0.split_at(self.0.find(ends).unwrap_or(self.0.len()));
        self.0 = rest;
        taken
    }
}

/// `\"`, `\n` and `\\` mean what they do in OpenMetrics; any other backslash is one, so that regular expressions
/// need not double it.
fn unescaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (c, chars.clone().next()) {
            ('\\', Some(next @ ('"' | '\\' | 'n'))) => {
                chars.next();
                out.push(if next == 'n' { '\n' } else { next });
            }
            (c, _) => out.push(c),
        }
    }
    out
}

fn is_reserved(c: char) -> bool {
    c.is_whitespace() || RESERVED.contains(c)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What `text` is read as, in the canonical form.
    fn check(text: &str, expected: &[&str]) {
        let read = parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        let shown: Vec<String> = read.iter().map(Matcher::to_string).collect();
        assert_eq!(shown, expected, "{text}");
    }

    #[test]
    fn matchers_are_read_as_alertmanager_reads_them() {
        check(r#"severity="critical""#, &[r#"severity="critical""#]);
        check(r#" foo = "bar" "#, &[r#"foo="bar""#]);
        check("foo=bar,dings!=bums", &[r#"foo="bar""#, r#"dings!="bums""#]);
        check(
            r#"{foo = "bar", dings != "bums", }"#,
            &[r#"foo="bar""#, r#"dings!="bums""#],
        );
        check(r#"statuscode=~"5..""#, &[r#"statuscode=~"5..""#]);
        check(r#"host!~^db-\d+"#, &[r#"host!~"^db-\\d+""#]);
        check(r#"path="C:\dir\\x""#, &[r#"path="C:\\dir\\x""#]);
        check(
            r#"{quote="She said: \"Hi, ladies!\""}"#,
            &[r#"quote="She said: \"Hi, ladies!\"""#],
        );
        check(r#"foo="""#, &[r#"foo="""#]);
        check("foo=", &[r#"foo="""#]);
        check("foo=a b", &[r#"foo="a b""#]);
        check(r#""a.b c"="x""#, &[r#""a.b c"="x""#]);
        check(r#"k8s.pod="x""#, &[r#"k8s.pod="x""#]);
        check("名字=\"值\"", &["名字=\"值\""]);
        check("a=\"x\ny\"", &[r#"a="x\ny""#]);
        check(r#"a="},{""#, &[r#"a="},{""#]);
    }

    #[test]
    fn what_is_no_matcher_is_refused_with_a_reason() {
        for (text, why) in [
            ("", "no matcher"),
            ("{}", "no matcher"),
            ("severity", "needs =, !="),
            ("=x", "must be like"),
            (r#"""="x""#, "must be like"),
            ("a==b", "double quotes"),
            ("a=b,c", "needs =, !="),
            (r#"a="b"#, "does not close it"),
            (r#"a="b\""#, "does not close it"),
            (r#"a="b"c"#, "after the value"),
            ("a=b}", "double quotes"),
            ("a=~b{2}", "double quotes"),
            ("a='b'", "double quotes"),
            ("{a=b", "does not close"),
            (r#"a=~"(""#, "is no regular expression: unclosed group"),
            (r#"a=~"b)|(c""#, "is no regular expression"),
            (r#"a=~"(a{999}){999}""#, "too large"),
            ("a b=c", "needs =, !="),
        ] {
            let error = parse(text).expect_err(text);
            assert!(error.contains(why), "{text}: {error}");
        }
        assert!(parse(&format!("a={}", "x".repeat(BYTES_MAX))).is_err());
    }

    #[test]
    fn a_matcher_takes_what_it_says_and_an_absent_label_is_empty() {
        for (text, takes, refuses) in [
            (r#"a="b""#, &["b"][..], &["", "B", "bb"][..]),
            (r#"a!="b""#, &["", "bb"], &["b"]),
            (r#"a=~"db|infra""#, &["db", "infra"], &["", "dbx", "xinfra"]),
            (r#"a!~"db|infra""#, &["", "dbx"], &["db"]),
            (r#"a=~"^db$""#, &["db"], &["db\n", "xdb"]),
            (r#"a=~".*""#, &["", "x"], &["x\ny"]),
            (r#"a=~"""#, &[""], &["x"]),
            (r#"a!="""#, &["x"], &[""]),
        ] {
            let one = parse(text).unwrap().remove(0);
            assert!(takes.iter().all(|value| one.takes(value)), "{text}");
            assert!(!refuses.iter().any(|value| one.takes(value)), "{text}");
        }
    }

    #[test]
    fn a_narrower_set_is_recognized_and_a_wider_one_never() {
        let check = |narrow: &str, wide: &str, expected: bool| {
            let read = |text: &str| match text {
                "" => Vec::new(),
                text => parse(text).unwrap(),
            };
            assert_eq!(
                implies(&read(narrow), &read(wide)),
                expected,
                "{narrow} in {wide}"
            );
        };
        check("", "", true);
        check("a=b", "", true);
        check("", "a=b", false);
        check("a=b", "a=b", true);
        check("a=b,c=d", "a=b", true);
        check("a=b", "a=b,c=d", false);
        check("a=b", r#"a=~"b|c""#, true);
        check(r#"a=~"b|c""#, r#"a=~"b|c|d""#, true);
        check(r#"a=~"b|c""#, r#"a=~"b|d""#, false);
        check(r#"a=~"b|c""#, "a!=d", true);
        check("a=b", "a!=b", false);
        check(r#"a=~"b.*""#, r#"a=~"b.+""#, false);
        check("a=b", "x!=y", false);
    }

    #[test]
    fn what_can_never_hold_is_found() {
        let check = |text: &str, expected: bool| {
            let read = parse(text).unwrap();
            assert_eq!(contradiction(&read).is_some(), expected, "{text}");
        };
        check("a=b,a=c", true);
        check(r#"a=b,a!~"b|c""#, true);
        check(r#"a=~"b|c",a=d"#, true);
        check(r#"a=~"b|c",a=c"#, false);
        check("a=b,c=d", false);
        check("a!=b,a!=c", false);
    }

    proptest! {
        #[test]
        fn every_matcher_is_read_back_from_its_canonical_form(
            name in "[a-zA-Z_:][a-zA-Z0-9_:]{0,8}|\\PC{1,8}", op in 0..2_usize, value in "(?s).{0,20}",
        ) {
            let op = [Op::Is, Op::IsNot][op];
            let matcher = Matcher::new(name, op, value).unwrap();
            prop_assert_eq!(parse(&matcher.to_string()).unwrap(), vec![matcher]);
        }

        #[test]
        fn a_regular_expression_made_of_a_text_takes_that_text_alone(
            value in "(?s).{0,12}", other in "(?s).{0,12}",
        ) {
            let text = format!("a=~\"{}\"", regex::escape(&value).replace('\\', "\\\\").replace('"', "\\\""));
            let one = parse(&text).unwrap().remove(0);
            prop_assert!(one.takes(&value));
            prop_assert_eq!(one.takes(&other), value == other);
        }

        #[test]
        fn no_text_ends_the_reader(text in "(?s)[a-c=!~\"{}\\\\, n|()*]{0,30}") {
            if let Ok(read) = parse(&text) {
                for one in read {
                    prop_assert_eq!(parse(&one.to_string()).unwrap(), vec![one]);
                }
            }
        }

        /// `implies` is only ever certain: what the narrow takes, the wide takes.
        #[test]
        fn what_implies_another_takes_no_more_than_it(
            narrow in proptest::collection::vec(("[ab]", 0..4_usize, "[xy](\\|[xy])?|.*"), 0..3),
            wide in proptest::collection::vec(("[ab]", 0..4_usize, "[xy](\\|[xyz])?"), 0..3),
            labels in proptest::collection::btree_map("[ab]", "[xyz]?", 0..3),
        ) {
            let read = |all: Vec<(String, usize, String)>| -> Option<Vec<Matcher>> {
                let op = |n: usize| [Op::Is, Op::IsNot, Op::Matches, Op::DoesNotMatch][n];
                all.into_iter().map(|(name, n, value)| Matcher::new(name, op(n), value).ok()).collect()
            };
            let (Some(narrow), Some(wide)) = (read(narrow), read(wide)) else { return Ok(()) };
            let takes = |all: &[Matcher]| all.iter().all(|one| {
                one.takes(labels.get(&one.name).map_or("", |value| value))
            });
            if implies(&narrow, &wide) && takes(&narrow) {
                prop_assert!(takes(&wide), "{narrow:?} in {wide:?} of {labels:?}");
            }
            if contradiction(&narrow).is_some() {
                prop_assert!(!takes(&narrow));
            }
        }
    }
}
