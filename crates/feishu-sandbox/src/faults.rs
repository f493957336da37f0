//! Faults on purpose: rules that spoil a call before or after its effect.
//!
//! The list is asked once per call, when it arrives; the first rule that matches and fires wins.
//! A rule fires always, `count` times, with a probability `share`, or both. Doing it is `gate`'s
//! and `wire`'s.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use thiserror::Error;

use crate::table::ENDPOINTS;

/// What a fault does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Do {
    /// Close without an answer.
    #[serde(rename = "drop")]
    Drop,
    /// Send RST.
    #[serde(rename = "reset")]
    Reset,
    /// Wait, then go on.
    #[serde(rename = "delay")]
    Delay,
    #[serde(rename = "5xx")]
    ServerError,
    #[serde(rename = "429")]
    TooMany,
    /// Answer a code of the rule.
    #[serde(rename = "code")]
    Code,
    /// Send half of the body.
    #[serde(rename = "cut")]
    Cut,
}

/// On which side of the effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum When {
    Before,
    After,
}

/// A rule as it is written.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rule {
    pub(crate) call: String,
    #[serde(rename = "do")]
    pub(crate) what: Do,
    #[serde(default = "before")]
    pub(crate) when: When,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) count: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) share: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) seed: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) http: Option<u16>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) code: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) reset_s: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ms: Option<u64>,
}

const fn before() -> When {
    When::Before
}

/// Why a list was not taken.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("{detail}")]
pub(crate) struct BadRule {
    /// JSON pointer to the fault: `/2/call`.
    pub(crate) pointer: String,
    pub(crate) detail: String,
}

/// A rule at work.
#[derive(Debug)]
struct Armed {
    rule: Rule,
    left: Option<u64>,
    random: u64,
}

/// The list at work.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    rules: Vec<Armed>,
}

impl Faults {
    /// Puts `list` in place of all rules.
    pub(crate) fn replace(&mut self, list: &Value) -> Result<Vec<Rule>, BadRule> {
        let bad = |pointer: String, detail: &str| BadRule {
            pointer,
            detail: detail.to_owned(),
        };
        let Value::Array(list) = list else {
            return Err(bad(String::new(), "the body must be a list of rules"));
        };
        let mut rules = Vec::new();
        for (at, value) in list.iter().enumerate() {
            rules.push(read_rule(at, value)?);
        }
        self.rules = rules.iter().cloned().map(Armed::new).collect();
        Ok(rules)
    }

    /// The list as stored.
    pub(crate) fn list(&self) -> Vec<&Rule> {
        self.rules.iter().map(|armed| &armed.rule).collect()
    }

    /// The fault for a call, if one fires: `path` is as written in the table.
    pub(crate) fn pick(&mut self, method: &str, path: &str) -> Option<Rule> {
        let fires = |armed: &mut Armed| armed.rule.matches(method, path) && armed.fires();
        self.rules
            .iter_mut()
            .find_map(|armed| fires(armed).then(|| armed.rule.clone()))
    }
}

impl Armed {
    fn new(rule: Rule) -> Self {
        let random = rule
            .seed
            .unwrap_or_else(|| uuid::Uuid::now_v7().as_u64_pair().1);
        Self {
            left: rule.count,
            random,
            rule,
        }
    }

    fn fires(&mut self) -> bool {
        if self.left == Some(0) {
            return false;
        }
        if self
            .rule
            .share
            .is_some_and(|share| self.next_share() >= share)
        {
            return false;
        }
        self.left = self.left.map(|left| left - 1);
        true
    }

    /// The next number of 0..1 (splitmix64).
    fn next_share(&mut self) -> f64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let top = u32::try_from((mixed ^ (mixed >> 31)) >> 32).unwrap_or(u32::MAX);
        f64::from(top) / (f64::from(u32::MAX) + 1.0)
    }
}

impl Rule {
    fn matches(&self, method: &str, path: &str) -> bool {
        match self.call.split_once(' ') {
            Some((of_method, of_path)) => of_method == method && of_path == path,
            None => self.call == "*" || self.call == path,
        }
    }
}

fn read_rule(at: usize, value: &Value) -> Result<Rule, BadRule> {
    let bad = |field: &str, detail: String| {
        let pointer = if field.is_empty() {
            format!("/{at}")
        } else {
            format!("/{at}/{field}")
        };
        let place = if field.is_empty() {
            String::new()
        } else {
            format!(", field {field}")
        };
        BadRule {
            pointer,
            detail: format!("rule {at}{place}: {detail}"),
        }
    };
    let Value::Object(object) = value else {
        return Err(bad("", "a rule is an object".to_owned()));
    };
    let rule: Rule = serde_json::from_value(value.clone())
        .map_err(|error| bad(&field_at_fault(object), error.to_string()))?;
    if !is_call(&rule.call) {
        let says = format!(
            "{:?} is no call; write \"*\" or one of the ledger's",
            rule.call
        );
        return Err(bad("call", says));
    }
    if rule
        .share
        .is_some_and(|share| !(0.0..=1.0).contains(&share))
    {
        return Err(bad("share", "a share is between 0 and 1".to_owned()));
    }
    if rule.what == Do::Code && rule.code.is_none() {
        return Err(bad("code", "\"code\" needs the code to answer".to_owned()));
    }
    if rule.what == Do::Delay && rule.ms.is_none() {
        return Err(bad(
            "ms",
            "\"delay\" needs the milliseconds to wait".to_owned(),
        ));
    }
    if rule.http.is_some_and(|http| !(200..=599).contains(&http)) {
        return Err(bad("http", "a status is between 200 and 599".to_owned()));
    }
    if rule.what == Do::ServerError && rule.http.is_some_and(|http| http < 500) {
        return Err(bad(
            "http",
            "\"5xx\" takes a status of 500 to 599".to_owned(),
        ));
    }
    Ok(rule)
}

/// `*`, `POST /open-apis/…` as in the table, or the path alone for every method.
fn is_call(call: &str) -> bool {
    call == "*"
        || ENDPOINTS
            .iter()
            .any(|row| call == row.path || call == row.call())
}

/// The first field that can not be read by itself.
fn field_at_fault(object: &Map<String, Value>) -> String {
    for required in ["call", "do"] {
        if !object.contains_key(required) {
            return required.to_owned();
        }
    }
    let good: [(&str, Value); 2] = [("call", "*".into()), ("do", "drop".into())];
    for (name, value) in object {
        let mut probe: Map<String, Value> = good
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.clone()))
            .collect();
        probe.insert(name.clone(), value.clone());
        if serde_json::from_value::<Rule>(Value::Object(probe)).is_err() {
            return name.clone();
        }
    }
    String::new()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn armed(list: Value) -> Faults {
        let mut faults = Faults::default();
        faults.replace(&list).expect("the list is good");
        faults
    }

    #[test]
    fn the_first_rule_that_matches_and_fires_wins() {
        let mut faults = armed(json!([
            { "call": "POST /open-apis/im/v1/pins", "do": "drop", "count": 1 },
            { "call": "*", "do": "reset" },
        ]));
        let mut pick = |method| {
            faults
                .pick(method, "/open-apis/im/v1/pins")
                .map(|rule| rule.what)
        };
        assert_eq!(pick("GET"), Some(Do::Reset));
        assert_eq!(pick("POST"), Some(Do::Drop));
        assert_eq!(pick("POST"), Some(Do::Reset));
    }

    #[test]
    fn a_share_is_kept_and_repeats_under_its_seed() {
        let run = || {
            let mut faults = armed(json!([{ "call": "*", "do": "drop", "share": 0.2, "seed": 7 }]));
            (0..1_000)
                .map(|_| faults.pick("GET", "/x").is_some())
                .collect::<Vec<_>>()
        };
        let first = run();
        assert_eq!(first, run());
        let fired = first.iter().filter(|fired| **fired).count();
        assert!((150..250).contains(&fired), "{fired}");
    }

    #[test]
    fn a_bad_rule_is_named_with_its_field() {
        for (rule, pointer) in [
            (json!({ "do": "drop" }), "/0/call"),
            (json!({ "call": "*" }), "/0/do"),
            (json!({ "call": "*", "do": "explode" }), "/0/do"),
            (json!({ "call": "*", "do": "drop", "often": 3 }), "/0/often"),
            (
                json!({ "call": "*", "do": "drop", "count": -1 }),
                "/0/count",
            ),
            (
                json!({ "call": "*", "do": "drop", "share": 2.0 }),
                "/0/share",
            ),
            (
                json!({ "call": "GET /open-apis/nothing", "do": "drop" }),
                "/0/call",
            ),
            (
                json!({ "call": "GET /open-apis/bot/v3/info", "do": "code" }),
                "/0/code",
            ),
            (json!("drop"), "/0"),
        ] {
            let error = Faults::default()
                .replace(&json!([rule]))
                .expect_err("a bad rule");
            assert_eq!(error.pointer, pointer, "{}", error.detail);
        }
    }
}
