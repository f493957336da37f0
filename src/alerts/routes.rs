//! Which route takes an alert, and what it wants of the incident.
//!
//! The routes of one name are a sink: its first route says how a notification is read and how it must be signed,
//! and each alert goes to the first route that takes it, and to later ones where a route says `continue`.
//! Not here: what a config may say (`config`), what an alert does to its incident (`incident`).

use std::collections::BTreeMap;

use http::HeaderMap;
use sha2::{Digest, Sha256};

use crate::alerts::notice::{Alert, Notification, Severity};
use crate::alerts::policy::{Policy, Quiet, Rung, Who};
use crate::alerts::sources::{self, Refused};
use crate::config::{self, Config, Person, Route};
use crate::job::hex;

/// The longest identity of a route: a job's label holds it.
const IDENTITY_BYTES_MAX: usize = 200;

/// Every sink of a config.
#[derive(Clone, Debug, Default)]
pub struct Routes {
    sinks: BTreeMap<String, Sink>,
}

/// The routes of one name.
#[derive(Clone, Debug)]
pub struct Sink {
    name: String,
    rules: Vec<Rule>,
}

/// A route and what follows from it.
#[derive(Clone, Debug)]
struct Rule {
    identity: String,
    route: Route,
    policy: Policy,
}

/// What the routes of a sink make of a notification.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Routed {
    /// Each route that took something of it, in the file's order.
    pub picked: Vec<Picked>,
    /// How many alerts none took.
    pub unmatched: usize,
}

/// What one route took.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picked {
    /// The route's identity: its name and matchers, wherever it stands in the file. At most 200 bytes.
    pub identity: String,
    /// What it wants.
    pub policy: Policy,
    /// The alerts, in the source's order.
    pub alerts: Vec<Alert>,
}

impl Routes {
    /// Those of `config`.
    pub fn new(config: &Config) -> Routes {
        let mut sinks: BTreeMap<String, Sink> = BTreeMap::new();
        for route in &config.routes {
            let sink = sinks.entry(route.name.clone()).or_insert_with(|| Sink {
                name: route.name.clone(),
                rules: Vec::new(),
            });
            let equal = sink.rules.iter();
            let equal = equal.filter(|rule| rule.route.matchers == route.matchers);
            let identity = identity(route, equal.count() + 1);
            sink.rules.push(Rule {
                identity,
                policy: policy(route),
                route: route.clone(),
            });
        }
        Routes { sinks }
    }

    /// The sink of that name.
    pub fn sink(&self, name: &str) -> Option<&Sink> {
        self.sinks.get(name)
    }

    /// The first app of a route of the sink `name` that is not among `allowed`.
    pub fn beyond(&self, name: &str, allowed: &[String]) -> Option<&str> {
        let rules = self.sinks.get(name)?.rules.iter();
        let mut apps = rules.map(|rule| &rule.policy.app);
        apps.find(|app| !allowed.contains(app)).map(String::as_str)
    }

    /// The names of all sinks.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.sinks.keys().map(String::as_str)
    }
}

impl Sink {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Reads a notification that came at `now_ms` with these headers, if it is signed as it must be.
    ///
    /// # Errors
    /// What to answer; nothing of the content stands in it.
    pub fn read(
        &self,
        headers: &HeaderMap,
        body: &[u8],
        now_ms: i64,
    ) -> Result<Notification, Refused> {
        let signature = self.first().and_then(|first| first.signature.as_ref());
        if let Some(signature) = signature {
            sources::verify(signature, headers, body, now_ms)?;
        }
        self.parse(body)
    }

    /// As `read`, without asking for a signature.
    ///
    /// # Errors
    /// As `read`.
    pub fn parse(&self, body: &[u8]) -> Result<Notification, Refused> {
        let first = self.first().expect("a sink is made with its first route");
        sources::read(first.source, &first.fields, body)
    }

    fn first(&self) -> Option<&Route> {
        self.rules.first().map(|rule| &rule.route)
    }

    /// Gives each alert to the routes that take it.
    pub fn route(&self, notification: &Notification) -> Routed {
        let mut picked: Vec<Vec<Alert>> = vec![Vec::new(); self.rules.len()];
        let mut unmatched = 0;
        for alert in &notification.alerts {
            let mut taken = false;
            for (rule, alerts) in self.rules.iter().zip(&mut picked) {
                if rule.takes(alert) {
                    taken = true;
                    alerts.push(alert.clone());
                    if !rule.route.goes_on {
                        break;
                    }
                }
            }
            unmatched += usize::from(!taken);
        }
        let picked = self.rules.iter().zip(picked);
        let picked = picked.filter(|(_, alerts)| !alerts.is_empty());
        Routed {
            picked: picked
                .map(|(rule, alerts)| Picked {
                    identity: rule.identity.clone(),
                    policy: rule.policy.clone(),
                    alerts,
                })
                .collect(),
            unmatched,
        }
    }
}

impl Rule {
    fn takes(&self, alert: &Alert) -> bool {
        let value = |name: &str| alert.labels.get(name).map_or("", String::as_str);
        let mut matchers = self.route.matchers.iter();
        matchers.all(|matcher| matcher.takes(value(&matcher.name)))
    }
}

/// The name and the matchers, so that it survives another order of the file; `#2` for a second one with the same.
fn identity(route: &Route, nth: usize) -> String {
    let nth = match nth {
        1 => String::new(),
        n => format!("#{n}"),
    };
    let matchers: Vec<String> = route.matchers.iter().map(ToString::to_string).collect();
    let matchers = match matchers.is_empty() {
        true => String::new(),
        false => format!("{{{}}}", matchers.join(",")),
    };
    let whole = format!("{}{matchers}{nth}", route.name);
    if whole.len() <= IDENTITY_BYTES_MAX {
        return whole;
    }
    let hash = hex(&Sha256::digest(&whole)[..8]);
    let mut end = IDENTITY_BYTES_MAX - hash.len() - nth.len() - '…'.len_utf8();
    while !whole.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}…{hash}{nth}", &whole[..end])
}

fn policy(route: &Route) -> Policy {
    let ms = |long: std::time::Duration| i64::try_from(long.as_millis()).unwrap_or(i64::MAX);
    let rung = |rung: &config::Rung| Rung {
        after_ms: ms(rung.after),
        urgent: rung.urgent.clone(),
        to: rung.to.iter().map(who).collect(),
    };
    let quiet = route.quiet.as_ref().map(|quiet| Quiet {
        from_min: quiet.from_min,
        until_min: quiet.until_min,
        zone: quiet.zone.clone(),
    });
    let priority = route.priority.iter();
    Policy {
        app: route.app.clone(),
        to: route.to.clone(),
        fallback: route.fallback.clone(),
        mention: route.mention.iter().map(who).collect(),
        pin: route.pin,
        expires_in_ms: ms(route.expires_in),
        reopen_ms: ms(route.reopen),
        until_read: route.until_read,
        until_reaction: route.until_reaction,
        escalate: route.escalate.iter().map(rung).collect(),
        quiet,
        stale_after_ms: ms(route.stale_after),
        on_doubt: route.on_doubt.clone(),
        labels: route.labels.clone(),
        template: route.template.clone(),
        priority: priority
            .filter_map(|(severity, name)| Some((Severity::named(severity)?, name.clone())))
            .collect(),
    }
}

fn who(person: &Person) -> Who {
    match person {
        Person::Id(id) => Who::Id(id.clone()),
        Person::Mail(mail) => Who::Mail(mail.clone()),
        Person::List(list) => Who::List(list.clone()),
        Person::All => Who::All,
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use proptest::prelude::*;

    use super::*;
    use crate::job::Priority;

    const APP: &str = "[[apps]]\nname = \"ops\"\napp_id = \"cli_a\"\napp_secret = \"s\"\n";

    fn routes(text: &str) -> Routes {
        let text = format!("{APP}{text}");
        Routes::new(&Config::parse(&text, Path::new("relay.toml"), &|_| None).unwrap())
    }

    /// A route of the sink `db` to `oc_{to}`.
    fn route(to: &str, more: &str) -> String {
        format!("[[routes]]\nname = \"db\"\nsource = \"alertmanager\"\nto = \"oc_{to}\"\n{more}\n")
    }

    fn alert(name: &str, labels: &[(&str, &str)]) -> Alert {
        let labels = labels.iter();
        Alert {
            fingerprint: name.to_owned(),
            labels: labels
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
            ..Alert::default()
        }
    }

    /// Where each alert went, and how many went nowhere.
    fn went(routes: &Routes, alerts: Vec<Alert>) -> (Vec<String>, usize) {
        let notification = Notification {
            alerts,
            ..Notification::default()
        };
        let routed = routes.sink("db").unwrap().route(&notification);
        let picked = routed.picked.iter().map(|picked| {
            let names: Vec<&str> = picked.alerts.iter().map(|a| &*a.fingerprint).collect();
            format!("{}: {}", picked.policy.to, names.join(" "))
        });
        (picked.collect(), routed.unmatched)
    }

    #[test]
    fn the_first_route_takes_an_alert_and_later_ones_only_where_it_goes_on() {
        let text = [
            route("all", "continue = true"),
            route("crit", "match = 'severity=\"critical\"'"),
            route("db", "match = ['team=~\"db|infra\"', 'env!=\"test\"']"),
        ];
        let routes = routes(&text.concat());
        let alerts = vec![
            alert("a", &[("severity", "critical"), ("team", "db")]),
            alert("b", &[("team", "infra")]),
            alert("c", &[("team", "db"), ("env", "test")]),
            alert("d", &[]),
        ];
        let expected = ["oc_all: a b c d", "oc_crit: a", "oc_db: b"];
        assert_eq!(
            went(&routes, alerts),
            (expected.map(String::from).into(), 0)
        );
        assert!(routes.sink("other").is_none());
        assert_eq!(routes.names().collect::<Vec<_>>(), ["db"]);
    }

    #[test]
    fn what_no_route_takes_is_counted() {
        let routes = routes(&route("crit", "match = 'severity=\"critical\"'"));
        let alerts = vec![alert("a", &[]), alert("b", &[("severity", "")])];
        assert_eq!(went(&routes, alerts), (Vec::new(), 2));
    }

    #[test]
    fn a_route_is_the_same_wherever_it_stands_in_the_file() {
        let crit = route("crit", "match = ['team = db', 'severity=\"critical\"']");
        let twin = route(
            "twin",
            "match = ['severity=critical', 'team=\"db\"']\ncontinue = true",
        );
        let rest = route("rest", "");
        let identities = |text: &[&str]| -> Vec<String> {
            let routes = routes(&text.concat());
            let rules = &routes.sink("db").unwrap().rules;
            rules.iter().map(|rule| rule.identity.clone()).collect()
        };
        let known = "db{severity=\"critical\",team=\"db\"}";
        assert_eq!(identities(&[&crit, &rest]), [known, "db"]);
        let other = route("x", "match = 'a=b'");
        assert_eq!(identities(&[&other, &crit]), ["db{a=\"b\"}", known]);
        let second = format!("{known}#2");
        assert_eq!(identities(&[&twin, &crit]), [known, &second]);
        let long = |n: u8| route("l", &format!("match = 'a={}{n}'", "ü".repeat(300)));
        let long = identities(&[&long(1), &long(2)]);
        assert!(long.iter().all(|one| one.len() <= IDENTITY_BYTES_MAX));
        assert_ne!(long[0], long[1]);
    }

    #[test]
    fn a_policy_says_what_the_route_says() {
        let text = route(
            "1",
            "fallback = \"oc_2\"\nmention = [\"@duty\", \"a@corp.cn\", \"@all\", \"ou_1\"]\npin = true\nreopen = \"10m\"\n\
             until = [\"reaction\"]\nquiet = \"22:00-08:00 Asia/Shanghai\"\nstale_after = \"1h\"\non_doubt = \"resend\"\n\
             template = \"card.json\"\nlabels = { team = \"db\" }\npriority = { warning = \"high\", critical = \"normal\" }\n\
             escalate = [{ after = \"10m\", do = \"urgent_phone\", to = \"ou_2\" }, { after = \"5m\", do = \"urgent_app\", to = [\"@duty\"] }]",
        );
        let routes = routes(&format!("{text}[oncall]\nduty = \"duty.txt\"\n"));
        let policy = &routes.sink("db").unwrap().rules[0].policy;
        let mention = [
            Who::List("duty".into()),
            Who::Mail("a@corp.cn".into()),
            Who::All,
            Who::Id("ou_1".into()),
        ];
        assert_eq!(policy.mention, mention);
        assert_eq!((&*policy.app, &*policy.to), ("ops", "oc_1"));
        assert_eq!(policy.fallback.as_deref(), Some("oc_2"));
        assert_eq!(
            (policy.pin, policy.reopen_ms, policy.expires_in_ms),
            (true, 600_000, 900_000)
        );
        assert_eq!((policy.until_read, policy.until_reaction), (false, true));
        let rungs: Vec<_> = policy
            .escalate
            .iter()
            .map(|r| (r.after_ms, &*r.urgent))
            .collect();
        assert_eq!(rungs, [(300_000, "urgent_app"), (600_000, "urgent_phone")]);
        let quiet = policy.quiet.as_ref().unwrap();
        assert_eq!((quiet.from_min, quiet.until_min), (1320, 480));
        assert_eq!(
            (policy.stale_after_ms, &*policy.on_doubt),
            (3_600_000, "resend")
        );
        assert_eq!(policy.template.as_deref(), Some("card.json"));
        let priorities = Severity::ALL.map(|severity| policy.priority(severity));
        use Priority::{High, Low, Normal};
        assert_eq!(priorities, [Low, Normal, High, High, Normal]);
        // It is kept with the incident and read back.
        let kept = serde_json::to_string(policy).unwrap();
        assert_eq!(&serde_json::from_str::<Policy>(&kept).unwrap(), policy);
    }

    #[test]
    fn the_severities_of_the_config_are_those_of_the_alerts() {
        let words = Severity::ALL.map(Severity::word);
        assert!(config::SEVERITIES.iter().rev().eq(words.iter()));
    }

    proptest! {
        /// Each alert is in the picks of every route that takes it, up to the first that does not go on, and
        /// in no other; none is lost uncounted.
        #[test]
        fn every_alert_is_taken_or_counted(
            rules in proptest::collection::vec(("[ab]", "[xy]?", any::<bool>()), 1..6),
            labels in proptest::collection::vec(proptest::collection::btree_map("[ab]", "[xy]?", 0..3), 0..8),
        ) {
            let text: String = rules.iter().enumerate().map(|(n, (name, value, on))| {
                route(&format!("{n}"), &format!("match = '{name}=\"{value}\"'\ncontinue = {on}"))
            }).collect();
            let text = format!("{APP}{text}");
            // A route that nothing reaches is refused.
            let Ok(config) = Config::parse(&text, Path::new("relay.toml"), &|_| None) else { return Ok(()) };
            let alerts: Vec<Alert> = labels.iter().enumerate().map(|(n, labels)| Alert {
                fingerprint: n.to_string(), labels: labels.clone(), ..Alert::default()
            }).collect();
            let mut expected: Vec<Vec<String>> = vec![Vec::new(); rules.len()];
            let mut none = 0;
            for alert in &alerts {
                let takes = |(_, (name, value, _)): &(usize, &(String, String, bool))| {
                    alert.labels.get(name).map_or("", |v| v) == value
                };
                let all: Vec<_> = rules.iter().enumerate().filter(takes).collect();
                let last = all.iter().position(|(_, (_, _, on))| !on).map_or(all.len(), |at| at + 1);
                none += usize::from(all.is_empty());
                for (n, _) in &all[..last] {
                    expected[*n].push(alert.fingerprint.clone());
                }
            }
            let expected: Vec<String> = expected.iter().enumerate().filter(|(_, names)| !names.is_empty())
                .map(|(n, names)| format!("oc_{n}: {}", names.join(" "))).collect();
            prop_assert_eq!(went(&Routes::new(&config), alerts), (expected, none));
        }
    }
}
