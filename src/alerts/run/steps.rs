//! From what is planned to jobs, through the door's own checks: what a producer could not post is not made here.

use serde_json::{Map, Value, json};

use crate::alerts::cards::Cards;
use crate::alerts::incident::{Incident, Unshown};
use crate::alerts::people::{OnCall, People};
use crate::alerts::plan::{Act, Make, What};
use crate::alerts::run::InForce;
use crate::alerts::rungs;
use crate::job::{Door, Flaw, IncidentId, IncidentRole, NewJob, Priority, State, Step, parse};

/// What is known beside the incident when its jobs are made.
#[derive(Clone, Debug)]
pub(super) struct Drawing {
    pub(super) id: IncidentId,
    pub(super) route: String,
    pub(super) client: String,
    pub(super) apps: Vec<String>,
    pub(super) now_ms: i64,
}

/// Does any of them need a card?
pub(super) fn are_drawn(acts: &[Act]) -> bool {
    acts.iter().any(|act| match act {
        Act::Make(Make { what, .. }) | Act::Replace { what, .. } => {
            !matches!(what, What::Pin { .. } | What::Unpin { .. } | What::Call(_))
        }
        Act::Cancel { .. } | Act::Forget { .. } => false,
    })
}

impl Drawing {
    /// The steps, in order. One that cannot be made is left out, and the incident says why.
    pub(super) fn steps(
        &self,
        acts: Vec<Act>,
        incident: &mut Incident,
        in_force: &InForce,
    ) -> Vec<Step> {
        let mut steps = Vec::with_capacity(acts.len());
        for act in acts {
            match act {
                Act::Forget { job } => steps.push(Step::Forget { job }),
                Act::Cancel { job, why } => steps.push(Step::Cancel {
                    job,
                    why: why.to_owned(),
                }),
                Act::Replace {
                    job,
                    expires_ms,
                    tag,
                    what,
                } => match self.job(&what, incident, in_force) {
                    Ok(new) => steps.push(Step::Replace {
                        job,
                        args: new.args,
                        expires_ms,
                        degraded: new.degraded,
                        tag,
                    }),
                    // What it said until now is better than nothing.
                    Err(flaws) => drop(self.flawed(incident, &flaws)),
                },
                Act::Make(make) => self.made(make, incident, in_force, &mut steps),
            }
        }
        steps
    }

    fn made(&self, make: Make, incident: &mut Incident, in_force: &InForce, steps: &mut Vec<Step>) {
        let Make {
            role,
            n,
            tag,
            start_ms,
            expires_ms,
            bounded,
            what,
        } = make;
        match self.job(&what, incident, in_force) {
            Ok(job) => steps.push(Step::Enqueue {
                role,
                n,
                tag,
                bounded,
                job: Box::new(NewJob {
                    start_ms,
                    expires_ms,
                    ..job
                }),
            }),
            Err(flaws) => {
                let why = self.flawed(incident, &flaws);
                if matches!(role, IncidentRole::Card | IncidentRole::Update) {
                    incident.card.unshown = Some(Unshown {
                        tag,
                        job: String::new(),
                        state: State::Failed.name().to_owned(),
                        why: why.clone(),
                    });
                }
                if role == IncidentRole::Rung {
                    rungs::not_made(incident, n, &why);
                }
            }
        }
    }

    /// Says which part of a job was wrong. Returns it in words.
    fn flawed(&self, incident: &mut Incident, flaws: &[Flaw]) -> String {
        let places: Vec<&str> = flaws.iter().map(|flaw| &*flaw.pointer).collect();
        tracing::error!(incident = %self.id, ?places, "a job of an incident could not be made");
        let first = flaws.first();
        let why = first.map_or_else(String::new, |flaw| {
            format!("{}: {}", flaw.pointer, flaw.detail)
        });
        incident.note(self.now_ms, format!("not made: {why}"), None);
        why
    }

    /// A job that says or does this.
    fn job(
        &self,
        what: &What,
        incident: &mut Incident,
        in_force: &InForce,
    ) -> Result<NewJob, Vec<Flaw>> {
        let InForce { cards, oncall, .. } = in_force;
        let (kind, args) = match what {
            What::Card { mention } => {
                let mut args = self.card(incident, cards, oncall, *mention);
                args.insert(String::from("to"), json!(incident.receiver()));
                ("send", args)
            }
            What::Update { message } => {
                let mut args = self.card(incident, cards, oncall, false);
                args.insert(String::from("message"), json!(message));
                ("update_card", args)
            }
            What::News {
                message,
                alerts,
                worse,
                mention,
            } => {
                let people = self.people(incident, oncall, *mention);
                let card = cards.news(incident, alerts, *worse, &people);
                ("reply", reply(incident, message, card))
            }
            What::Moved { message } => ("reply", reply(incident, message, cards.moved(incident))),
            What::Pin { message } => ("pin", object(json!({"message": message}))),
            What::Unpin { message } => ("unpin", object(json!({"message": message}))),
            What::Call(call) => (&*call.urgent, call.args()),
        };
        let policy = &incident.policy;
        let mut labels = policy.labels.clone();
        labels.insert(String::from("incident"), self.id.to_string());
        labels.insert(String::from("route"), self.route.clone());
        let mut request = json!({
            "kind": kind,
            "app": policy.app,
            "priority": policy.priority(incident.severity()).name(),
            "labels": labels,
            "args": args,
        });
        if matches!(
            what,
            What::Card { .. } | What::News { .. } | What::Moved { .. }
        ) {
            request["on_doubt"] = json!(policy.on_doubt().name());
        }
        // With a mention or a template in it there is still a plainer card to try.
        let is_plainest = policy.template.is_none() || incident.card.plain;
        if let What::Card { mention } = what
            && is_plainest
            && (!mention || policy.mention.is_empty())
        {
            request["on_refused"] = json!("degrade");
        }
        if let What::Call(call) = what {
            request["priority"] = json!("high");
            // Of its own: what waits to change the message does not hold it up.
            request["lane"] = json!(format!("{}/{}", self.id, call.tag));
        }
        parse(&request, "", &self.door())
    }

    /// The incident as it stands, in whatever form.
    fn card(
        &self,
        incident: &mut Incident,
        cards: &Cards,
        oncall: &OnCall,
        mention: bool,
    ) -> Map<String, Value> {
        let people = self.people(incident, oncall, mention);
        if let Some(digest) = &incident.digest {
            return object(cards.digest(digest, &incident.policy, &people));
        }
        let template = match incident.card.plain {
            true => incident.policy.template.take(),
            false => None,
        };
        let drawn = cards.live(incident, &people, mention);
        if incident.card.plain {
            incident.policy.template = template;
        }
        if let Some(note) = drawn.note {
            incident.note(self.now_ms, note, None);
        }
        object(drawn.args)
    }

    fn people(&self, incident: &mut Incident, oncall: &OnCall, mention: bool) -> People {
        if !mention {
            return People::default();
        }
        let people = oncall.resolve(&incident.policy.mention);
        for fault in &people.faults {
            tracing::warn!(incident = %self.id, "{fault}");
            incident.note(self.now_ms, fault.clone(), None);
        }
        people
    }

    /// What a producer's request would be read with; the route's word stands for the client's defaults.
    fn door(&self) -> Door {
        Door {
            apps: self.apps.clone(),
            bots: Vec::new(),
            allowed_apps: None,
            allowed_kinds: None,
            client: self.client.clone(),
            priority: Priority::Normal,
            expires_in_ms: None,
            labels: Default::default(),
            now_ms: self.now_ms,
            arrived: Vec::new(),
        }
    }
}

fn reply(incident: &Incident, message: &str, card: Value) -> Map<String, Value> {
    let mut args = object(card);
    args.insert(String::from("message"), json!(message));
    args.insert(String::from("in_thread"), json!(!incident.card.no_thread));
    args
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}
