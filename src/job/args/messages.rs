//! Args of what answers, changes, sends on and marks messages: replies, edits, forwards, bubbles, reactions.

use feishu_im::{Content, ContentUse, FOLLOW_UP_LANGUAGES as LANGUAGES, limits};
use serde_json::{Map, Value, json};

use crate::job::args::{Parsed, Reader, is_id, strings, unique};
use crate::job::fields::{Fields, Flaw};
use crate::job::submit::Reference;
use crate::job::{JobId, Kind, Makes, Role};

/// The longest name of an emoji, bytes; the longest of Feishu's is far below.
const EMOJI_BYTES_MAX: usize = 64;

impl Reader<'_> {
    pub(super) fn reply(mut self) -> Result<Parsed, Vec<Flaw>> {
        self.target(Kind::Reply);
        self.in_thread();
        self.sent(ContentUse::Reply);
        self.done(Vec::new(), None)
    }

    fn in_thread(&mut self) {
        let Some((name, value)) = self.fields.either(&["in_thread", "reply_in_thread"]) else {
            return;
        };
        match value.as_bool() {
            Some(in_thread) => drop(self.out.insert("in_thread".into(), json!(in_thread))),
            None => self.fields.flaw(name, "must be true or false"),
        }
    }

    pub(super) fn edit(mut self) -> Result<Parsed, Vec<Flaw>> {
        self.target(Kind::Edit);
        self.content(|content| Content::checked(content, ContentUse::Edit).err());
        self.done(Vec::new(), None)
    }

    pub(super) fn forward(mut self, kind: Kind) -> Result<Parsed, Vec<Flaw>> {
        match kind {
            Kind::MergeForward => self.messages(),
            Kind::ForwardThread => self.thread(),
            _ => self.target(kind),
        }
        self.receiver(true);
        self.done(Vec::new(), None)
    }

    /// Several messages, each by its id or by the job that makes it.
    fn messages(&mut self) {
        let Some((name, value)) = self.fields.either(&["messages", "message_id_list"]) else {
            return self
                .fields
                .flaw("messages", "is missing: the messages to send on");
        };
        let ids = match strings(value) {
            Ok(ids) if (1..=limits::MERGE_FORWARD_MAX).contains(&ids.len()) => ids,
            Ok(ids) => {
                let (most, n) = (limits::MERGE_FORWARD_MAX, ids.len());
                let detail = format!("names {n} messages; 1 to {most} are allowed");
                return self.fields.flaw(name, detail);
            }
            Err(n) => {
                let detail = "must be a list of messages, each an id (om_…) or a job (job_…)";
                return self.fields.flaw_at(name, n, detail);
            }
        };
        for (n, id) in ids.iter().enumerate() {
            match id.parse::<JobId>() {
                Ok(job) => self.references.push(Reference {
                    role: Role::Value,
                    job: Some(job),
                    makes: Some(Makes::Message),
                    pointer: format!("{}/{name}/{n}", self.at),
                }),
                Err(_) if is_id(id, "om_") => {}
                Err(_) => {
                    let detail = "must be an id (om_…) or a job (job_ and 32 hex digits)";
                    self.fields.flaw_at(name, Some(n), detail);
                }
            }
        }
        self.out.insert("messages".into(), json!(unique(&ids)));
    }

    fn thread(&mut self) {
        let Some((name, value)) = self.fields.either(&["thread", "thread_id"]) else {
            return self
                .fields
                .flaw("thread", "is missing: the thread to send on (omt_…)");
        };
        match value.as_str() {
            Some(id) if is_id(id, "omt_") => drop(self.out.insert("thread".into(), json!(id))),
            _ => self.fields.flaw(name, "must be a thread's id (omt_…)"),
        }
    }

    pub(super) fn follow_up(mut self) -> Result<Parsed, Vec<Flaw>> {
        self.target(Kind::FollowUp);
        if let Some((name, value)) = self.fields.either(&["bubbles", "follow_ups"]) {
            self.bubbles(name, value);
        } else {
            self.fields
                .flaw("bubbles", "is missing: what may be tapped");
        }
        self.done(Vec::new(), None)
    }

    fn bubbles(&mut self, name: &'static str, value: &Value) {
        let most = limits::FOLLOW_UPS_MAX;
        let list = match value.as_array() {
            Some(list) if (1..=most).contains(&list.len()) => list,
            Some(list) => {
                let detail = format!("holds {} bubbles; 1 to {most} are allowed", list.len());
                return self.fields.flaw(name, detail);
            }
            None => return self.fields.flaw(name, "must be a list of bubbles"),
        };
        let mut bubbles = Vec::with_capacity(list.len());
        for (n, one) in list.iter().enumerate() {
            let at = format!("{}/{name}/{n}", self.at);
            let (bubble, flaws) = match one {
                Value::String(_) => {
                    let whole = Map::from_iter([(String::from("content"), one.clone())]);
                    let (bubble, flaws) = bubble(&whole, &at);
                    // Its one field is the bubble itself.
                    let here = |flaw| Flaw {
                        pointer: at.clone(),
                        ..flaw
                    };
                    (bubble, flaws.into_iter().map(here).collect())
                }
                Value::Object(map) => bubble(map, &at),
                _ => {
                    let detail = "must be a text, or an object with \"content\"";
                    self.fields.flaw_at(name, Some(n), detail);
                    continue;
                }
            };
            self.fields.flaws.extend(flaws);
            bubbles.push(bubble);
        }
        self.out.insert("bubbles".into(), Value::Array(bubbles));
    }

    pub(super) fn react(mut self) -> Result<Parsed, Vec<Flaw>> {
        self.target(Kind::React);
        let names = ["emoji", "emoji_type", "reaction_type"];
        let Some((name, value)) = self.fields.either(&names) else {
            let detail = "is missing: the emoji's name, as \"OK\" or \"THUMBSUP\"";
            self.fields.flaw("emoji", detail);
            return self.done(Vec::new(), None);
        };
        // Feishu's own form has an object around the name.
        let emoji = match value {
            Value::Object(kind) if name == "reaction_type" && kind.len() == 1 => {
                kind.get("emoji_type")
            }
            other => Some(other).filter(|_| name != "reaction_type"),
        };
        match emoji.and_then(Value::as_str) {
            Some(emoji) if is_emoji(emoji) => drop(self.out.insert("emoji".into(), json!(emoji))),
            _ if name == "reaction_type" => {
                self.fields
                    .flaw(name, "must be an object: {\"emoji_type\": \"OK\"}");
            }
            _ => self.fields.flaw(
                name,
                "must be the name of an emoji, as \"OK\" or \"THUMBSUP\"",
            ),
        }
        self.done(Vec::new(), None)
    }

    pub(super) fn unreact(mut self) -> Result<Parsed, Vec<Flaw>> {
        let above = self.parent.filter(|parent| parent.kind == Kind::React);
        match above.and_then(|parent| parent.message) {
            // In the `then` of a reaction the message is the one that was reacted to.
            Some(message) if super::message(Some(&Value::Object(self.map.clone()))).is_none() => {
                self.fields.leave(&["message", "message_id"]);
                self.named_target(
                    "message",
                    message,
                    ("message", "om_"),
                    (Role::Message, Makes::Message),
                );
            }
            _ => self.target(Kind::Unreact),
        }
        let pointer = self.at.to_owned();
        let mut needs = |job, pointer| {
            self.references.push(Reference {
                role: Role::Reaction,
                job,
                makes: Some(Makes::Reaction),
                pointer,
            });
        };
        match self.fields.either(&["reaction", "reaction_id"]) {
            None if above.is_some() => needs(None, pointer),
            None => self.fields.flaw(
                "reaction",
                "is missing: a reaction's id or a job (job_…) that reacted",
            ),
            Some((name, value)) => match value.as_str() {
                Some(text) => match text.parse::<JobId>() {
                    Ok(job) => needs(Some(job), format!("{pointer}/{name}")),
                    Err(_) if is_id(text, "") => {
                        drop(self.out.insert("reaction".into(), json!(text)))
                    }
                    Err(_) => self.fields.flaw(name, "must be a string of 1 to 200 bytes"),
                },
                None => self.fields.flaw(name, "must be a string"),
            },
        }
        self.done(Vec::new(), None)
    }

    /// Marks the names that a kind of this file reads beside its target and its content.
    #[cfg(test)]
    pub(super) fn known_of_message(&mut self, kind: Kind) {
        match kind {
            Kind::Reply => self.in_thread(),
            Kind::MergeForward => self.messages(),
            Kind::ForwardThread => self.thread(),
            Kind::FollowUp => self.fields.leave(&["bubbles", "follow_ups"]),
            Kind::React => self.fields.leave(&["emoji", "emoji_type", "reaction_type"]),
            Kind::Unreact => self.fields.leave(&["reaction", "reaction_id"]),
            _ => {}
        }
        if matches!(
            kind,
            Kind::Forward | Kind::MergeForward | Kind::ForwardThread
        ) {
            self.receiver(true);
        }
    }
}

fn is_emoji(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    !name.is_empty() && name.len() <= EMOJI_BYTES_MAX && name.bytes().all(plain)
}

/// One bubble as it is kept, and what is wrong with it.
fn bubble(map: &Map<String, Value>, at: &str) -> (Value, Vec<Flaw>) {
    let mut fields = Fields::new(map, at);
    let mut made = Map::new();
    let content = words(&mut fields);
    made.insert("content".into(), json!(content));
    if let Some(value) = fields.get("i18n_contents") {
        let most = limits::FOLLOW_UP_LANGUAGES_MAX;
        match value.as_array() {
            Some(list) if list.len() <= most => {
                let mut others = Vec::with_capacity(list.len());
                for (n, one) in list.iter().enumerate() {
                    match one {
                        Value::Object(map) => {
                            let at = format!("{at}/i18n_contents/{n}");
                            let (other, flaws) = local(map, &at);
                            fields.flaws.extend(flaws);
                            others.push(other);
                        }
                        _ => fields.flaw_at("i18n_contents", Some(n), "must be an object"),
                    }
                }
                made.insert("i18n_contents".into(), Value::Array(others));
            }
            _ => fields.flaw("i18n_contents", format!("must be a list of at most {most}")),
        }
    }
    (Value::Object(made), fields.finish())
}

/// The words of a bubble.
fn words(fields: &mut Fields<'_>) -> String {
    let most = limits::FOLLOW_UP_CHARS_MAX;
    match fields.get("content").map(Value::as_str) {
        Some(Some(text)) if (1..=most).contains(&text.chars().count()) => return text.to_owned(),
        Some(_) => fields.flaw(
            "content",
            format!("must be a text of 1 to {most} characters"),
        ),
        None => fields.flaw("content", "is missing"),
    }
    String::new()
}

fn local(map: &Map<String, Value>, at: &str) -> (Value, Vec<Flaw>) {
    let mut fields = Fields::new(map, at);
    let content = words(&mut fields);
    let language = fields.text("language").unwrap_or_default();
    if !LANGUAGES.contains(&language) && fields.flaws.is_empty() {
        fields.flaw(
            "language",
            format!("must be one of {}", LANGUAGES.join(", ")),
        );
    }
    (
        json!({"content": content, "language": language}),
        fields.finish(),
    )
}
