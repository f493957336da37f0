//! What stands behind the `?`: every word is known, and every value is of its kind.
//!
//! An unknown or misspelt name is refused: `?stat=failed` would else list everything. A name without
//! a value counts as absent.

use axum::extract::Query;
use axum::http::Uri;

use crate::clock;
use crate::http::problem::Problem;
use crate::job::{Flaw, IncidentState, Kind, State};
use crate::store::{Filter, IncidentFilter};

/// The longest that a request may wait.
pub(super) const WAIT_MS_MAX: i64 = 300_000;

/// Jobs on a page, unless the caller says.
pub(super) const LIMIT: u32 = 50;

/// The most jobs on a page.
pub(super) const LIMIT_MAX: u32 = 200;

/// What stands before the name of a label.
pub(super) const LABEL: &str = "label.";

/// The words of a query; what was asked for is taken out, what is left over is a fault.
#[derive(Debug)]
pub(super) struct Words {
    pairs: Vec<(String, String)>,
    flaws: Vec<Flaw>,
}

/// How long a request waits for its jobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wait {
    /// At most so long, milliseconds.
    pub(super) ms: i64,
    /// For the jobs' children too.
    pub(super) children: bool,
}

impl Words {
    /// # Errors
    /// The query is no text.
    pub(super) fn of(uri: &Uri) -> Result<Words, Problem> {
        let Query(mut pairs) = Query::<Vec<(String, String)>>::try_from_uri(uri)
            .map_err(|_| Problem::malformed("the query cannot be read"))?;
        pairs.retain(|(_, value)| !value.is_empty());
        Ok(Words {
            pairs,
            flaws: Vec::new(),
        })
    }

    /// Refuses what was not understood.
    ///
    /// # Errors
    /// 422, with every word that is at fault.
    pub(super) fn finish(mut self) -> Result<(), Problem> {
        for (name, _) in std::mem::take(&mut self.pairs) {
            self.flaw(&name, "is not known here");
        }
        match self.flaws.is_empty() {
            true => Ok(()),
            false => Err(Problem::flawed(self.flaws)),
        }
    }

    fn flaw(&mut self, name: &str, detail: impl Into<String>) {
        self.flaws.push(Flaw {
            pointer: format!("?{name}"),
            detail: detail.into(),
        });
    }

    fn text(&mut self, name: &str) -> Option<String> {
        let found = self.pairs.extract_if(.., |(given, _)| given == name);
        let mut found: Vec<String> = found.map(|(_, value)| value).collect();
        if found.len() > 1 {
            self.flaw(name, "stands twice");
        }
        found.pop()
    }

    fn read<T>(
        &mut self,
        name: &str,
        parse: impl Fn(&str) -> Option<T>,
        expected: &str,
    ) -> Option<T> {
        let text = self.text(name)?;
        let value = parse(&text);
        if value.is_none() {
            self.flaw(name, format!("must be {expected}"));
        }
        value
    }

    /// Several values, with commas or by repeating the name.
    fn several<T>(
        &mut self,
        name: &str,
        parse: impl Fn(&str) -> Option<T>,
        expected: &str,
    ) -> Vec<T> {
        let found = self.pairs.extract_if(.., |(given, _)| given == name);
        let found: Vec<String> = found.map(|(_, value)| value).collect();
        let mut values = Vec::new();
        for word in found.iter().flat_map(|value| value.split(',')) {
            match parse(word.trim()) {
                Some(value) => values.push(value),
                None => self.flaw(name, format!("must be {expected}")),
            }
        }
        values
    }

    /// `wait` and `wait_for`; without `wait`, `default_ms`.
    pub(super) fn wait(&mut self, default_ms: i64) -> Wait {
        let expected = "a duration such as \"10s\", at most 5m";
        let ms = self.read("wait", duration, expected).unwrap_or(default_ms);
        let children = self.read(
            "wait_for",
            |word| match word {
                "all" => Some(true),
                "job" => Some(false),
                _ => None,
            },
            "job or all",
        );
        Wait {
            ms: ms.min(WAIT_MS_MAX),
            children: children.unwrap_or(false),
        }
    }

    /// `fresh`.
    pub(super) fn fresh(&mut self) -> bool {
        let fresh = self.read("fresh", |word| word.parse().ok(), "true or false");
        fresh.unwrap_or(false)
    }

    /// `dry_run`.
    pub(super) fn dry_run(&mut self) -> bool {
        let dry_run = self.read("dry_run", |word| word.parse().ok(), "true or false");
        dry_run.unwrap_or(false)
    }

    /// Is there a word that chooses jobs, not only how many of them or from where on?
    pub(super) fn chooses(&self) -> bool {
        let chooses = |(name, _): &(String, String)| !matches!(name.as_str(), "limit" | "cursor");
        self.pairs.iter().any(chooses)
    }

    /// Is there a word of that name that nobody has read?
    pub(super) fn has(&self, name: &str) -> bool {
        self.pairs.iter().any(|(given, _)| given == name)
    }

    /// Is nothing left that nobody has read?
    pub(super) fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }

    /// Which jobs of a list; `now_ms` is what durations count back from.
    pub(super) fn filter(&mut self, now_ms: i64) -> Filter {
        Filter {
            since_ms: self.time("since", now_ms),
            until_ms: self.time("until", now_ms),
            limit: self.limit(),
            cursor: self.cursor(),
            ..self.choice()
        }
    }

    /// Which incidents of a list; `now_ms` is what durations count back from.
    pub(super) fn incidents(&mut self, now_ms: i64) -> IncidentFilter {
        let states = words(IncidentState::ALL.iter().map(|state| state.name()));
        IncidentFilter {
            route: self.text("route"),
            states: self.several("state", IncidentState::from_name, &states),
            client: self.text("client"),
            is_digest: self.read("digest", |word| word.parse().ok(), "true or false"),
            since_ms: self.time("since", now_ms),
            until_ms: self.time("until", now_ms),
            limit: self.limit(),
            cursor: self.cursor(),
            ..IncidentFilter::default()
        }
    }

    fn time(&mut self, name: &str, now_ms: i64) -> Option<i64> {
        let time = "a time such as 2026-01-31T08:00:00Z, or how long ago: 2h";
        self.read(name, |text| instant(text, now_ms), time)
    }

    fn limit(&mut self) -> u32 {
        let limit = |text: &str| {
            let limit: Option<u32> = text.parse().ok();
            limit.filter(|limit| (1..=LIMIT_MAX).contains(limit))
        };
        let limit = self.read("limit", limit, &format!("from 1 to {LIMIT_MAX}"));
        limit.unwrap_or(LIMIT)
    }

    fn cursor(&mut self) -> Option<i64> {
        let expected = "the next_cursor of an earlier page";
        self.read("cursor", |text| text.parse().ok(), expected)
    }

    /// Which jobs, by what they are: all of a filter but its times and its page.
    pub(super) fn choice(&mut self) -> Filter {
        let states = words(State::ALL.iter().map(|state| state.name()));
        let kinds = words(Kind::all().map(Kind::name));
        Filter {
            states: self.several("state", State::from_name, &states),
            kinds: self.several(
                "kind",
                |word| Kind::from_name(word).map(|kind| kind.name().to_owned()),
                &kinds,
            ),
            app: self.text("app"),
            lane: self.text("lane"),
            client: self.text("client"),
            to: self.text("to"),
            key: self.text("key"),
            message_id: self.text("message_id"),
            code: self.read("code", |text| text.parse().ok(), "a whole number"),
            labels: self.labels(),
            ..Filter::default()
        }
    }

    /// `last_event_id`, for those who cannot send the header.
    pub(super) fn last_event_id(&mut self) -> Option<String> {
        self.text("last_event_id")
    }

    fn labels(&mut self) -> Vec<(String, String)> {
        let is_label = |(name, _): &mut (String, String)| name.starts_with(LABEL);
        let found = self.pairs.extract_if(.., is_label);
        found
            .map(|(name, value)| (name[LABEL.len()..].to_owned(), value))
            .collect()
    }
}

fn words<'a>(all: impl Iterator<Item = &'a str>) -> String {
    format!("one of {}", all.collect::<Vec<_>>().join(", "))
}

/// A duration; a bare 0 needs no unit.
pub(super) fn duration(text: &str) -> Option<i64> {
    match text {
        "0" => Some(0),
        text => clock::parse_ms(text),
    }
}

/// A time, or a duration back from now. A plus sign that was not escaped arrives as a space.
fn instant(text: &str, now_ms: i64) -> Option<i64> {
    clock::parse_rfc3339(&text.replace(' ', "+"))
        .or_else(|| clock::parse_ms(text).map(|ms| now_ms.saturating_sub(ms)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_MS: i64 = 1_767_225_600_000;

    fn filter(query: &str) -> Result<Filter, Vec<String>> {
        let uri: Uri = format!("/v1/jobs?{query}").parse().unwrap();
        let mut words = Words::of(&uri).unwrap();
        let filter = words.filter(NOW_MS);
        let flaws: Vec<String> = words
            .flaws
            .iter()
            .map(|flaw| flaw.pointer.clone())
            .collect();
        let left = words.pairs.iter().map(|(name, _)| format!("?{name}"));
        match flaws.into_iter().chain(left).collect::<Vec<_>>() {
            flaws if flaws.is_empty() => Ok(filter),
            flaws => Err(flaws),
        }
    }

    #[test]
    fn every_filter_of_the_contract_is_read() {
        let all = "state=done,failed&state=expired&kind=send&app=ops&lane=oc_1&client=am&to=oc_1\
                   &key=a%2Fb&message_id=om_1&code=-230001&label.team=db&label.a.b=c%20d\
                   &since=2h&until=2026-01-01T08:00:00%2B08:00&limit=200&cursor=17";
        let filter = filter(all).unwrap();
        assert_eq!(filter.states, [State::Done, State::Failed, State::Expired]);
        assert_eq!(filter.kinds, ["send"]);
        let given = [filter.app, filter.lane, filter.client, filter.to];
        assert_eq!(given.map(Option::unwrap), ["ops", "oc_1", "am", "oc_1"]);
        assert_eq!(filter.key.as_deref(), Some("a/b"));
        assert_eq!(filter.message_id.as_deref(), Some("om_1"));
        assert_eq!(filter.code, Some(-230_001));
        let labels = [("team", "db"), ("a.b", "c d")];
        assert_eq!(filter.labels, labels.map(|(n, v)| (n.into(), v.into())));
        assert_eq!(filter.since_ms, Some(NOW_MS - 7_200_000));
        assert_eq!(filter.until_ms, Some(NOW_MS));
        assert_eq!((filter.limit, filter.cursor), (200, Some(17)));
    }

    #[test]
    fn what_is_absent_or_empty_excludes_nothing() {
        let empty = filter("state=&since=&app=").unwrap();
        assert!(empty.states.is_empty() && empty.since_ms.is_none() && empty.app.is_none());
        assert_eq!(empty.limit, LIMIT);
    }

    #[test]
    fn a_plus_that_was_not_escaped_is_still_a_plus() {
        let filter = filter("since=2026-01-01T08:00:00+08:00").unwrap();
        assert_eq!(filter.since_ms, Some(NOW_MS));
    }

    #[test]
    fn every_word_that_is_not_understood_is_named() {
        let bad =
            "stat=done&state=doone&kind=shout&code=x&since=then&limit=201&cursor=x&app=a&app=b";
        let mut flaws = filter(bad).unwrap_err();
        flaws.sort();
        let expected = [
            "?app", "?code", "?cursor", "?kind", "?limit", "?since", "?stat", "?state",
        ];
        assert_eq!(flaws, expected);
    }

    #[test]
    fn a_wait_is_capped_and_a_zero_needs_no_unit() {
        fn check(query: &str, ms: i64, children: bool) {
            let uri: Uri = format!("/?{query}").parse().unwrap();
            let got = Words::of(&uri).unwrap().wait(3000);
            assert_eq!(got, Wait { ms, children }, "{query}");
        }
        check("", 3000, false);
        check("wait=0", 0, false);
        check("wait=10s&wait_for=all", 10_000, true);
        check("wait=2h&wait_for=job", WAIT_MS_MAX, false);
    }
}
