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
