//! `routes test`: what a notification would do, by the config alone. It sends nothing and needs no daemon.
//!
//! It answers for a sink that has heard nothing yet, without storms; who has the duty is read from the lists now.

use std::io::Read;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};

use super::exit::{Ended, Exit, Trouble};
use super::out;
use crate::alerts::arrive::{Arrival, arrive};
use crate::alerts::cards::{Cards, title};
use crate::alerts::notice::Notification;
use crate::alerts::people::{OnCall, People};
use crate::alerts::policy::{Policy, Who};
use crate::alerts::routes::{Picked, Routes, Sink};
use crate::alerts::sources::{BODY_BYTES_MAX, Refused};
use crate::clock;
use crate::config::{Config, values};

/// See where alerts would go
#[derive(Debug, clap::Subcommand)]
pub(super) enum RoutesCommand {
    Test(Test),
}

impl RoutesCommand {
    pub(super) async fn run(self) -> Ended {
        match self {
            RoutesCommand::Test(test) => test.run(),
        }
    }
}

/// Say what a notification would do: which routes take it, whom it would call, the card. Sends nothing
#[derive(Debug, clap::Args)]
pub(super) struct Test {
    /// What a source would post; - for stdin
    #[arg(value_name = "FILE.json")]
    file: PathBuf,
    /// Else $FEISHU_RELAY_CONFIG, else /etc/feishu-relay/config.toml
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The sink, POST /v1/alerts/NAME; not needed when there is one
    #[arg(long, value_parser = values::name)]
    name: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// What the answer is made from.
struct Desk {
    cards: Cards,
    oncall: OnCall,
    sink: String,
    now_ms: i64,
}

impl Test {
    fn run(self) -> Ended {
        let config = super::load(self.config.as_deref())?;
        let routes = Routes::new(&config);
        let sink = self.sink(&routes)?;
        let desk = Desk {
            cards: cards(&config)?,
            oncall: OnCall::new(&config),
            sink: sink.name().to_owned(),
            now_ms: clock::Clock::system().wall_ms(),
        };
        let note = sink.parse(&self.body()?).map_err(refused)?;
        let routed = sink.route(&note);
        let picked = routed.picked.iter();
        let picked: Vec<Value> = picked.map(|one| desk.would(one, &note)).collect();
        let answer = json!({
            "sink": desk.sink, "group_key": note.group_key, "alerts": note.alerts.len(),
            "truncated": note.truncated, "unmatched": routed.unmatched, "routes": picked,
        });
        match self.json {
            true => out::json(&answer.to_string())?,
            false => show(&answer)?,
        }
        Ok(Exit::Fine)
    }

    fn sink<'r>(&self, routes: &'r Routes) -> Result<&'r Sink, Trouble> {
        let names: Vec<&str> = routes.names().collect();
        let name = match (&self.name, &names[..]) {
            (_, []) => return Err(Trouble::wrong("the config has no [[routes]]")),
            (Some(name), _) => name.as_str(),
            (None, [one]) => one,
            (None, _) => {
                let names = names.join(", ");
                return Err(Trouble::wrong(format!("--name says which sink: {names}")));
            }
        };
        routes.sink(name).ok_or_else(|| {
            let names = names.join(", ");
            Trouble::wrong(format!("no route is named {name:?}; there are {names}"))
        })
    }

    fn body(&self) -> Result<Vec<u8>, Trouble> {
        let mut body = Vec::new();
        let most = BODY_BYTES_MAX as u64 + 1;
        let read = match self.file.as_os_str() == "-" {
            true => std::io::stdin().take(most).read_to_end(&mut body),
            false => {
                let file = std::fs::File::open(&self.file);
                file.and_then(|file| file.take(most).read_to_end(&mut body))
            }
        };
        let shown = self.file.display();
        read.map_err(|error| Trouble::wrong(format!("cannot read {shown}: {error}")))?;
        Ok(body)
    }
}

fn cards(config: &Config) -> Result<Cards, Trouble> {
    Cards::load(config).map_err(|faults| Trouble::wrong(faults.join("\n")))
}

fn refused(refused: Refused) -> Trouble {
    let sentence = match refused {
        Refused::Unsigned(why) => why.to_owned(),
        Refused::Malformed(why) => format!("it is no JSON: {why}"),
        Refused::TooLarge(why) => why,
        Refused::Flawed(flaws) => {
            for flaw in &flaws {
                let place = match &*flaw.pointer {
                    "" => "the whole",
                    pointer => pointer,
                };
                out::complain(&format!("{place}: {}", flaw.detail));
            }
            String::from("the relay would refuse it (422)")
        }
    };
    Trouble::wrong(sentence)
}

impl Desk {
    /// What one route would do with what it takes.
    fn would(&self, picked: &Picked, note: &Notification) -> Value {
        let policy = &picked.policy;
        let firing = picked.alerts.iter().filter(|alert| alert.firing).count();
        let arrival = Arrival {
            sink: &self.sink,
            note,
            alerts: &picked.alerts,
            policy,
            now_ms: self.now_ms,
        };
        let quiet = policy.quiet.as_ref();
        let quiet = quiet.and_then(|quiet| quiet.ends_ms(self.now_ms));
        let people = self.oncall.resolve(&policy.mention);
        let mention = quiet.is_none() && !people.is_empty();
        let mut answer = json!({
            "route": picked.identity, "app": policy.app, "to": policy.to, "fallback": policy.fallback,
            "firing": firing, "resolved": picked.alerts.len() - firing,
            "pin": policy.pin, "quiet_until": quiet.map(clock::rfc3339),
            "mention": named(&people), "escalate": self.rungs(policy),
        });
        if let Some((incident, _)) = arrive(None, &arrival) {
            let drawn = self.cards.live(&incident, &people, mention);
            let severity = incident.severity();
            answer["title"] = json!(title(&incident));
            answer["severity"] = json!(severity);
            answer["priority"] = json!(policy.priority(severity).name());
            answer["mentioned"] = json!(mention);
            answer["note"] = json!(drawn.note);
            answer["card"] = drawn.args["card"].clone();
        }
        answer
    }

    fn rungs(&self, policy: &Policy) -> Vec<Value> {
        let rungs = policy.escalate.iter();
        rungs
            .map(|rung| {
                let after = u64::try_from(rung.after_ms).unwrap_or(0);
                let after = values::duration_text(Duration::from_millis(after));
                let mut people = named(&self.oncall.resolve(&rung.to));
                people["after"] = json!(after);
                people["do"] = json!(rung.urgent);
                people["named"] = rung.to.iter().map(written).collect();
                people
            })
            .collect()
    }
}

fn named(people: &People) -> Value {
    json!({
        "ids": people.ids, "mails": people.mails, "all": people.all, "faults": people.faults,
    })
}

/// As the config writes it.
fn written(who: &Who) -> Value {
    match who {
        Who::Id(text) | Who::Mail(text) => json!(text),
        Who::List(list) => json!(format!("@{list}")),
        Who::All => json!("@all"),
    }
}

/// For people: a paragraph for each route, and its card.
fn show(answer: &Value) -> Result<(), Trouble> {
    let (sink, alerts) = (word(&answer["sink"]), &answer["alerts"]);
    out::line(&format!(
        "POST /v1/alerts/{sink}: {alerts} alerts in the group {}",
        answer["group_key"]
    ))?;
    if answer["unmatched"] != 0 {
        let count = &answer["unmatched"];
        out::line(&format!(
            "no route takes {count} of them: nobody would see them"
        ))?;
    }
    for route in answer["routes"].as_array().into_iter().flatten() {
        out::line("")?;
        for line in lines(route) {
            out::line(&line)?;
        }
    }
    Ok(())
}

fn lines(route: &Value) -> Vec<String> {
    let mut lines = vec![format!(
        "{}: {} firing, {} resolved",
        word(&route["route"]),
        route["firing"],
        route["resolved"]
    )];
    if route["card"].is_null() {
        lines.push(String::from(
            "  nothing: none of it is firing, and nothing was shown before",
        ));
        return lines;
    }
    let then = match route["fallback"].as_str() {
        Some(fallback) => format!(", or {fallback} if Feishu refuses that"),
        None => String::new(),
    };
    lines.push(format!(
        "  one card to {} by {}{then}: {}",
        word(&route["to"]),
        word(&route["app"]),
        word(&route["title"])
    ));
    let (severity, priority) = (word(&route["severity"]), word(&route["priority"]));
    let pinned = match route["pin"] == true {
        true => ", pinned while it fires",
        false => "",
    };
    lines.push(format!(
        "  severity {severity}, priority {priority}{pinned}"
    ));
    match route["quiet_until"].as_str() {
        Some(until) => lines.push(format!(
            "  quiet until {until}: no mention, no rungs before"
        )),
        None => lines.push(format!("  mentions {}", everybody(&route["mention"]))),
    }
    for rung in route["escalate"].as_array().into_iter().flatten() {
        let (after, urgent) = (word(&rung["after"]), word(&rung["do"]));
        // A mail address cannot be called.
        let mut called = rung.clone();
        let mails = called["mails"].take();
        let mut line = format!("  after {after} {urgent} to {}", everybody(&called));
        if let Some(mails) = mails.as_array().filter(|mails| !mails.is_empty()) {
            let mails: Vec<String> = mails.iter().map(word).collect();
            line.push_str(&format!(
                "; mail addresses cannot be called: {}",
                mails.join(", ")
            ));
        }
        lines.push(line);
    }
    if let Some(note) = route["note"].as_str() {
        lines.push(format!("  {note}"));
    }
    let card = serde_json::to_string_pretty(&route["card"]).unwrap_or_default();
    lines.extend(card.lines().map(str::to_owned));
    lines
}

fn everybody(people: &Value) -> String {
    let listed = |name: &str| people[name].as_array().into_iter().flatten();
    let mut all: Vec<String> = listed("ids").chain(listed("mails")).map(word).collect();
    if people["all"] == true {
        all.push(String::from("everybody in the chat"));
    }
    let faults: Vec<String> = listed("faults").map(word).collect();
    let who = match all.is_empty() {
        true => String::from("nobody"),
        false => all.join(", "),
    };
    match faults.is_empty() {
        true => who,
        false => format!("{who} ({})", faults.join("; ")),
    }
}

fn word(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
