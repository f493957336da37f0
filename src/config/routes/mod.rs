//! `[[routes]]` and `[oncall]`: which alert goes where, whom it calls, and how its source shows who it is.
//!
//! Routes of one name are one sink, `POST /v1/alerts/{name}`: how it reads and whom it believes stands at the
//! first of them. A route that nothing can reach is a fault.
//! Not here: what a notification looks like and which route takes an alert (`alerts`), templates (`alerts::cards`).

mod people;
mod quiet;
mod sink;

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::time::Duration;

use toml::de::DeValue;

use super::fault::At;
use super::matchers::{self, Matcher};
use super::read::{Given, Section, duration_within, parsed, text};
use super::sections::{Context, DAY, MINUTE, SECOND, TEN_YEARS, value_or};
use super::{App, values};

pub(super) use self::people::oncall;
pub use self::people::{Person, is_mail, is_person};
pub use self::quiet::{QuietHours, time_zone};
pub use self::sink::{Fields, PATHS, Signature, Source};

const EXPIRES_IN: Duration = Duration::from_secs(15 * 60);
/// The most routes, and rungs of one.
const ROUTES_MAX: usize = 500;
const RUNGS_MAX: usize = 10;
/// Two less than a job may have: `incident` and `route` are the relay's. A test compares the bounds.
const LABELS_MAX: usize = 20;
const LABEL_BYTES_MAX: usize = 200;
/// What `priority` and `Severity` of `alerts` call them; a test compares.
pub const SEVERITIES: [&str; 5] = ["critical", "error", "warning", "unknown", "info"];

/// `[[routes]]`
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Route {
    /// Of its sink; not unique.
    pub name: String,
    /// What its sink reads.
    pub source: Source,
    /// Of `generic`: where it finds what it needs.
    pub fields: Fields,
    /// How its sink knows its source, beside the client's token.
    pub signature: Option<Signature>,
    /// The app of its jobs.
    pub app: String,
    /// Where the card goes.
    pub to: String,
    /// Where it goes when Feishu refuses that.
    pub fallback: Option<String>,
    /// All must take an alert; none: every alert. In canonical order.
    pub matchers: Vec<Matcher>,
    /// Later routes of this name are asked too.
    pub goes_on: bool,
    /// Whom the first card and news mention.
    pub mention: Vec<Person>,
    /// The card is pinned while it fires.
    pub pin: bool,
    /// Of what is not firing any more, from the arrival of `resolved`.
    pub expires_in: Duration,
    /// Fires again this soon after its end: the same card.
    pub reopen: Duration,
    /// Who has read the card is not buzzed.
    pub until_read: bool,
    /// A reaction ends the escalation.
    pub until_reaction: bool,
    /// By `after`.
    pub escalate: Vec<Rung>,
    /// When nobody is to be disturbed.
    pub quiet: Option<QuietHours>,
    /// No news for twice this: stale; zero: never.
    pub stale_after: Duration,
    /// `hold`, `resend` or `drop`.
    pub on_doubt: String,
    /// Of all its jobs.
    pub labels: BTreeMap<String, String>,
    /// The file of its card's template, as written; `Config::beside` finds it.
    pub template: Option<String>,
    /// `high`, `normal` or `low`, by severity; those that it names.
    pub priority: BTreeMap<String, String>,
}

/// One of `escalate`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rung {
    /// From when the card was shown.
    pub after: Duration,
    /// `urgent_app`, `urgent_sms` or `urgent_phone`.
    pub urgent: String,
    /// Ids and lists only.
    pub to: Vec<Person>,
}

/// What is needed from outside to read a route.
struct Around<'a> {
    apps: &'a [App],
    lists: &'a BTreeMap<String, PathBuf>,
}

/// Reads every `[[routes]]`; there may be none.
pub(super) fn routes(
    context: &Context<'_, '_>,
    root: &mut Section<'_, '_>,
    apps: &[App],
    lists: &BTreeMap<String, PathBuf>,
) -> Vec<Route> {
    let at = root.at_value("routes");
    let around = Around { apps, lists };
    let mut routes: Vec<(Route, At)> = Vec::new();
    let mut sinks: HashMap<String, usize> = HashMap::new();
    for section in root.tables("routes") {
        let (mut route, own) = route(context, section, &around);
        let named = match sinks.get(&route.name) {
            Some(first) => Some(&routes[*first].0),
            None => {
                sinks.insert(route.name.clone(), routes.len());
                None
            }
        };
        own.belongs(context, &mut route, named);
        routes.push((route, own.at));
    }
    if routes.len() > ROUTES_MAX {
        let message = format!("are more than {ROUTES_MAX}");
        context.report.fault(&at, message);
    }
    for (n, (route, at)) in routes.iter().enumerate() {
        if let Some(why) = unreachable(route, &routes[..n]) {
            context.report.fault(at, why);
        }
    }
    routes.into_iter().map(|(route, _)| route).collect()
}

/// Why no alert ever comes to `route`, if that is certain.
fn unreachable(route: &Route, before: &[(Route, At)]) -> Option<String> {
    if let Some((one, other)) = matchers::contradiction(&route.matchers) {
        return Some(format!(
            "is never reached: {one} and {other} never hold both"
        ));
    }
    let mut same = before.iter().enumerate();
    let (n, _) = same.find(|(_, (earlier, _))| {
        earlier.name == route.name
            && !earlier.goes_on
            && matchers::implies(&route.matchers, &earlier.matchers)
    })?;
    Some(format!(
        "is never reached: routes[{n}] takes all of its alerts; put it before that one, or give that one continue = true"
    ))
}

/// Where in the file a route stands, and what of its sink it says.
struct Own {
    at: At,
    source: Option<Given<Source>>,
    /// The keys of the sink that it gives, but for `source`.
    keys: Vec<(&'static str, At)>,
}

impl Own {
    /// Of the sink's first route the rest takes what it says of the sink.
    fn belongs(&self, context: &Context<'_, '_>, route: &mut Route, first: Option<&Route>) {
        let Some(first) = first else {
            if self.source.is_none() {
                let at = At {
                    key: format!("{}.source", self.at.key),
                    ..self.at.clone()
                };
                context.report.fault(&at, "is missing");
            }
            if let Some((_, at)) = self.keys.iter().find(|(key, _)| *key == "fields")
                && route.source != Source::Generic
            {
                context.report.fault(at, "is only for source = \"generic\"");
            }
            return;
        };
        for (_, at) in &self.keys {
            let message = format!("belongs to the first route named {:?}", first.name);
            context.report.fault(at, message);
        }
        if let Some(given) = self
            .source
            .as_ref()
            .filter(|given| given.value != first.source)
        {
            let message = format!(
                "fights with the first route named {:?}: a sink has one source",
                first.name
            );
            context.report.fault(&given.at, message);
        }
        route.source = first.source;
        route.fields = first.fields.clone();
        route.signature = first.signature.clone();
    }
}

fn route(
    context: &Context<'_, '_>,
    mut section: Section<'_, '_>,
    around: &Around<'_>,
) -> (Route, Own) {
    let mut own = Own {
        at: section.at(""),
        source: None,
        keys: Vec::new(),
    };
    let sink = [
        "fields",
        "hmac_secret",
        "hmac_secret_file",
        "hmac_secret_env",
        "hmac_header",
        "hmac_timestamp_header",
    ];
    for key in sink.into_iter().filter(|key| section.has(key)) {
        own.keys.push((key, section.at_value(key)));
    }
    let name = section.need("name", parsed(values::name));
    own.source = section.get("source", parsed(sink::source));
    let fields = sink::fields(context, section.table("fields"));
    let signature = sink::signature(context, &mut section);
    let app = app(context, &mut section, around);
    let to = section.need("to", parsed(receiver));
    let fallback = section.get("fallback", parsed(receiver));
    if let (Some(to), Some(fallback)) = (&to, &fallback)
        && to.value == fallback.value
    {
        let message = "is the receiver itself; name another one";
        context.report.fault(&fallback.at, message);
    }
    let matchers = matching(&mut section);
    let goes_on = section.get("continue", switch);
    let mention = people::people(context, &mut section, "mention", around);
    let pin = section.get("pin", switch);
    let expires_in = section.get("expires_in", duration_within(SECOND, TEN_YEARS));
    let reopen = section.get("reopen", duration_within(Duration::ZERO, 14 * DAY));
    let until = section.get("until", until);
    let escalate = escalate(context, &mut section, around);
    let quiet = section.get("quiet", parsed(quiet::quiet));
    let stale_after = section.get("stale_after", stale_after);
    let on_doubt = section.get("on_doubt", parsed(on_doubt));
    let labels = labels(context, &mut section);
    let template = section.get("template", parsed(file));
    let priority = priority(context, &mut section);
    section.finish();
    let (until_read, until_reaction) = value_or(until, (true, true));
    let route = Route {
        name: value_or(name, String::new()),
        source: own.source.as_ref().map_or(Source::Generic, |one| one.value),
        fields,
        signature,
        app,
        to: value_or(to, String::new()),
        fallback: fallback.map(|given| given.value),
        matchers,
        goes_on: value_or(goes_on, false),
        mention,
        pin: value_or(pin, false),
        expires_in: value_or(expires_in, EXPIRES_IN),
        reopen: value_or(reopen, Duration::ZERO),
        until_read,
        until_reaction,
        escalate,
        quiet: quiet.map(|given| given.value),
        stale_after: value_or(stale_after, Duration::ZERO),
        on_doubt: value_or(on_doubt, String::from("hold")),
        labels,
        template: template.map(|given| given.value),
        priority,
    };
    (route, own)
}

fn app(context: &Context<'_, '_>, section: &mut Section<'_, '_>, around: &Around<'_>) -> String {
    let first = around.apps.first().map(|app| app.name.clone());
    let Some(given) = section.get("app", text) else {
        return first.unwrap_or_default();
    };
    if !around.apps.iter().any(|app| app.name == given.value) {
        let message = format!("{:?} is not the name of one of [[apps]]", given.value);
        context.report.fault(&given.at, message);
    }
    given.value
}

fn receiver(text: &str) -> Result<String, String> {
    let id = |prefix: &str| text.strip_prefix(prefix).is_some_and(people::is_id);
    match id("oc_") || id("ou_") || id("on_") || is_mail(text) {
        true => Ok(text.to_owned()),
        false => Err(format!(
            "{text:?} is no receiver: a chat (oc_…), a person (ou_…, on_…) or a mail address"
        )),
    }
}

fn matching(section: &mut Section<'_, '_>) -> Vec<Matcher> {
    let given = section.one_or_more("match", parsed(matchers::parse));
    let mut all: Vec<Matcher> = given.into_iter().flat_map(|given| given.value).collect();
    matchers::sort(&mut all);
    all
}

fn switch(value: &DeValue<'_>) -> Result<bool, String> {
    match value {
        DeValue::Boolean(on) => Ok(*on),
        _ => Err(String::from("must be true or false")),
    }
}

/// Reads and reaction, whether they are named; the list may be empty.
fn until(value: &DeValue<'_>) -> Result<(bool, bool), String> {
    let wrong = || String::from("must be a list of \"read\" and \"reaction\"");
    let (mut read, mut reaction) = (false, false);
    for one in value.as_array().ok_or_else(wrong)? {
        match one.get_ref().as_str() {
            Some("read") => read = true,
            Some("reaction") => reaction = true,
            _ => return Err(wrong()),
        }
    }
    Ok((read, reaction))
}

fn escalate(
    context: &Context<'_, '_>,
    section: &mut Section<'_, '_>,
    around: &Around<'_>,
) -> Vec<Rung> {
    let at = section.at_value("escalate");
    let one = |mut section: Section<'_, '_>| {
        let after = section.need("after", duration_within(Duration::ZERO, 7 * DAY));
        let urgent = section.need("do", parsed(urgent));
        let to_at = section.at_value("to");
        let given = section.has("to");
        let to = people::people(context, &mut section, "to", around);
        section.finish();
        if !given {
            context.report.fault(&to_at, "is missing");
        }
        for who in &to {
            let why = match who {
                Person::Id(_) | Person::List(_) => continue,
                Person::Mail(_) => "names a mail address: Feishu buzzes ids only (ou_…, on_…)",
                Person::All => {
                    "names @all: Feishu buzzes people one by one; use a list of [oncall]"
                }
            };
            context.report.fault(&to_at, why);
        }
        Rung {
            after: value_or(after, Duration::ZERO),
            urgent: value_or(urgent, String::from("urgent_app")),
            to,
        }
    };
    let mut rungs: Vec<Rung> = section.tables("escalate").into_iter().map(one).collect();
    if rungs.len() > RUNGS_MAX {
        let message = format!("has more than {RUNGS_MAX} rungs");
        context.report.fault(&at, message);
    }
    // Of two with the same time the file's order stays.
    rungs.sort_by_key(|rung| rung.after);
    rungs
}

fn urgent(text: &str) -> Result<String, String> {
    match text {
        "urgent_app" | "urgent_sms" | "urgent_phone" => Ok(text.to_owned()),
        _ => Err(format!(
            "{text:?} is not urgent_app, urgent_sms or urgent_phone"
        )),
    }
}

/// `0s`, or long enough that a repeat of the source can come in time.
fn stale_after(value: &DeValue<'_>) -> Result<Duration, String> {
    let given = duration_within(Duration::ZERO, 365 * DAY)(value)?;
    match given.is_zero() || given >= MINUTE {
        true => Ok(given),
        false => Err(String::from("must be 0s (never) or at least 1m")),
    }
}

fn on_doubt(text: &str) -> Result<String, String> {
    match text {
        "hold" | "resend" | "drop" => Ok(text.to_owned()),
        _ => Err(format!("{text:?} is not hold, resend or drop")),
    }
}

fn labels(context: &Context<'_, '_>, section: &mut Section<'_, '_>) -> BTreeMap<String, String> {
    let at = section.at_value("labels");
    let mut labels = BTreeMap::new();
    for (name, given) in section.texts_at("labels") {
        let long = name.len() > LABEL_BYTES_MAX || given.value.len() > LABEL_BYTES_MAX;
        if matches!(&*name, "incident" | "route") {
            context.report.fault(&given.at, "is the relay's own label");
        } else if long || name.is_empty() {
            let message = format!("is empty or longer than {LABEL_BYTES_MAX} bytes");
            context.report.fault(&given.at, message);
        }
        labels.insert(name, given.value);
    }
    if labels.len() > LABELS_MAX {
        let message = format!("has more than {LABELS_MAX} entries");
        context.report.fault(&at, message);
    }
    labels
}

fn file(text: &str) -> Result<String, String> {
    match text.is_empty() || text.ends_with('/') {
        true => Err(format!("{text:?} does not name a file")),
        false => Ok(text.to_owned()),
    }
}

fn priority(context: &Context<'_, '_>, section: &mut Section<'_, '_>) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    for (severity, given) in section.texts_at("priority") {
        if !SEVERITIES.contains(&&*severity) {
            let known = SEVERITIES.join(", ");
            let message = format!("is not a severity; there are {known}");
            context.report.fault(&given.at, message);
        } else if !matches!(&*given.value, "high" | "normal" | "low") {
            let message = format!("{:?} is not high, normal or low", given.value);
            context.report.fault(&given.at, message);
        }
        all.insert(severity, given.value);
    }
    all
}
