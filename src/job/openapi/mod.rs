//! Calls in Feishu's own form: which endpoint a path is, and the job that a writing call becomes.
//!
//! Such a job keeps the call as it was written, `{"openapi": {"path", "query", "body"}}`: nothing of it
//! is checked, since what Feishu would refuse Feishu shall refuse. What the rest of the relay asks of a job (its
//! receiver, the message that it acts on) is read from there.
//! Not here: who may call (`http`), the request that leaves (`dispatch`).

mod text;

use std::collections::BTreeMap;

use feishu_im::{Api, Repeat};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::job::submit::{NewPart, Reference};
use crate::job::{
    Arrived, JobId, Kind, LaneRule, Makes, Needs, NewJob, OnDoubt, OnRefused, Priority, Role,
    Upload, hex, values,
};

pub(crate) use text::{put, with_uuid};

/// The longest uuid that Feishu takes. Source: endpoints.md, section 0.
const UUID_CHARS_MAX: usize = 50;

/// The longest receiver or message that is taken for one.
const ID_BYTES_MAX: usize = 200;

/// The name of the field, or of the query's word.
const UUID: &str = "uuid";

/// What the args of such a job begin with.
const BEGINS: &str = "{\"openapi\":";

/// An endpoint that was called, and with which ids in its path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Call {
    pub(crate) api: Api,
    /// In the order of the path.
    pub(crate) params: Vec<(&'static str, String)>,
}

/// A writing call as it was written.
#[derive(Debug)]
pub(crate) struct Written<'a> {
    pub(crate) call: &'a Call,
    pub(crate) query: Vec<(String, String)>,
    /// A JSON object.
    pub(crate) body: Option<(&'a str, &'a Value)>,
}

/// What is set for a call by its caller and for its client.
#[derive(Debug)]
pub(crate) struct Terms {
    pub(crate) app: String,
    pub(crate) client: String,
    pub(crate) priority: Priority,
    pub(crate) expires_ms: i64,
    pub(crate) labels: BTreeMap<String, String>,
    /// The `Idempotency-Key`.
    pub(crate) key: Option<String>,
}

/// The args of such a job, as they are kept.
#[derive(Serialize, Deserialize)]
struct Args<'a> {
    #[serde(borrow)]
    openapi: Kept<'a>,
}

#[derive(Serialize, Deserialize)]
struct Kept<'a> {
    path: BTreeMap<String, String>,
    query: Vec<(String, String)>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    body: Option<&'a RawValue>,
    /// Of a form that brought a file.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    words: Vec<(String, String)>,
}

/// The same of a form, with its file under the names that a sweep knows.
#[derive(Serialize)]
struct FileArgs<'a> {
    openapi: Kept<'a>,
    sha256: String,
    bytes: u64,
    file_name: &'a str,
}

/// A form that brings a file, as it was written.
#[derive(Debug)]
pub(crate) struct Brought<'a> {
    pub(crate) words: &'a [(String, String)],
    pub(crate) file_name: Option<&'a str>,
    pub(crate) file: Arrived,
}

impl Call {
    /// The endpoint of that method and path, which came percent-encoded; `None`: it is none that the relay
    /// knows, or an id in it cannot be one.
    pub(crate) fn find(method: &str, path: &str) -> Option<Call> {
        let (api, given) = Api::of_call(method, path)?;
        let pattern = api.endpoint().path.split('/');
        let names = pattern.filter_map(|part| part.strip_prefix(':'));
        let params = names
            .zip(given)
            .map(|(name, id)| Some((name, decoded(id)?)));
        Some(Call {
            api,
            params: params.collect::<Option<_>>()?,
        })
    }

    /// What a job of this call is; `None`: it only reads.
    pub(crate) fn kind(&self) -> Option<Kind> {
        Kind::of_call(self.api.name()).filter(|kind| kind.is_public())
    }

    /// The name of the file in the form that this call is; `None`: it is none.
    pub(crate) fn file(&self) -> Option<&'static str> {
        match self.api {
            Api::UploadImage => Some("image"),
            Api::UploadFile => Some("file"),
            _ => None,
        }
    }
}

/// Does it change nothing?
pub(crate) fn reads(api: Api) -> bool {
    api.endpoint().repeat == Repeat::Read
}

/// An id of a path; one that would name another path is none.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let digits = [rest.next()?, rest.next()?];
                u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?
            }
            other => other,
        });
    }
    let id = String::from_utf8(bytes).ok()?;
    (!matches!(id.as_str(), "" | "." | "..")).then_some(id)
}

impl Written<'_> {
    /// Every job that stands where an id will: in the path, and as a whole string in the body.
    pub(crate) fn named(&self) -> Vec<JobId> {
        let mut jobs: Vec<JobId> = self
            .call
            .params
            .iter()
            .filter_map(|(_, id)| id.parse().ok())
            .collect();
        jobs.extend(self.body.iter().flat_map(|(body, _)| text::named(body)));
        jobs.sort_unstable();
        jobs.dedup();
        jobs
    }

    /// The job. `promised`: of the jobs that it names those whose ids it takes.
    ///
    /// `None`: the call only reads.
    pub(crate) fn job(
        &self,
        promised: &[JobId],
        brought: Option<&Brought<'_>>,
        terms: Terms,
    ) -> Option<NewJob> {
        let kind = self.call.kind()?;
        let target = self.target(kind);
        let is_promised = |id: &str| id.parse().is_ok_and(|job| promised.contains(&job));
        let mut references: Vec<Reference> = promised
            .iter()
            .map(|job| needs(Role::Value, *job))
            .collect();
        let acted = target.filter(|id| is_promised(id));
        if let (Some(job), Some(role)) = (acted.and_then(|id| id.parse().ok()), role(kind)) {
            references.retain(|reference| reference.job != Some(job));
            references.push(needs(role, job));
        }
        let to = match acted {
            Some(_) => None,
            None => target.map(str::to_owned),
        };
        let people = self.people();
        let parts = (kind == Kind::BatchSend).then(|| NewPart {
            args: String::from("{}"),
            count: i64::try_from(people).unwrap_or(i64::MAX),
        });
        Some(NewJob {
            uuid: self.space(kind, terms.key.as_deref()),
            kind,
            app: terms.app,
            client: terms.client,
            key: None,
            priority: terms.priority,
            start_ms: None,
            delay_ms: 0,
            expires_ms: Some(terms.expires_ms),
            lane: match kind.lane() {
                LaneRule::Receiver | LaneRule::Message => to.clone(),
                // Updates after one click go in order; the token itself shows nowhere but in the args.
                LaneRule::Alone => self.field("token").map(values::click_lane),
                LaneRule::MessageReceiver => None,
            },
            to,
            labels: terms.labels,
            args: self.args(brought),
            on_doubt: OnDoubt::Hold,
            on_refused: OnRefused::Fail,
            degraded: None,
            references,
            parts: parts.into_iter().collect(),
            people,
            track: None,
            upload: brought.map(|brought| Upload {
                sha256: brought.file.sha256,
                len: brought.file.bytes,
                bytes: None,
            }),
            first: Vec::new(),
            then: Vec::new(),
        })
    }

    fn args(&self, brought: Option<&Brought<'_>>) -> String {
        let path = self.call.params.iter();
        let raw = |(body, _): &(&str, &Value)| RawValue::from_string((*body).to_owned()).ok();
        let body = self.body.as_ref().and_then(raw);
        let openapi = Kept {
            path: path
                .map(|(name, id)| ((*name).to_owned(), id.clone()))
                .collect(),
            query: self.query.clone(),
            body: body.as_deref(),
            words: brought.map_or_else(Vec::new, |brought| brought.words.to_vec()),
        };
        let args = match brought {
            None => serde_json::to_string(&Args { openapi }),
            Some(brought) => serde_json::to_string(&FileArgs {
                openapi,
                sha256: hex(&brought.file.sha256),
                bytes: brought.file.bytes,
                file_name: brought.file_name.unwrap_or("file"),
            }),
        };
        args.unwrap_or_default()
    }

    fn field(&self, name: &str) -> Option<&str> {
        let value = self.body?.1.get(name)?;
        value.as_str().filter(|text| !text.is_empty())
    }

    fn param(&self, name: &str) -> Option<&str> {
        let mut params = self.call.params.iter();
        params
            .find(|(one, _)| *one == name)
            .map(|(_, id)| id.as_str())
    }

    /// To whom it goes, or what it acts on.
    fn target(&self, kind: Kind) -> Option<&str> {
        let target = match (kind.lane(), kind.needs()) {
            (LaneRule::Receiver, _) => self.field("receive_id").or_else(|| self.field("chat_id")),
            (_, Needs::Batch) => self.param("batch_message_id"),
            (_, Needs::Message | Needs::Ephemeral) => self
                .param("message_id")
                .or_else(|| self.field("message_id")),
            (_, Needs::Nothing) => None,
        };
        // What is no id is not looked at; Feishu will refuse it.
        target.filter(|id| id.len() <= ID_BYTES_MAX && !id.chars().any(char::is_control))
    }

    /// How many people one call reaches, as far as it says.
    fn people(&self) -> usize {
        const LISTS: [&str; 5] = [
            "user_id_list",
            "open_ids",
            "user_ids",
            "union_ids",
            "department_ids",
        ];
        let body = self.body.map(|(_, body)| body);
        let list = |name: &&str| body?.get(*name)?.as_array().map(Vec::len);
        LISTS.iter().filter_map(list).sum::<usize>().max(1)
    }

    /// Within what the caller's uuid is unique, hashed: messages and replies share one space, each of
    /// the forwards has one for a target, and a key of a header one for its call and what that names.
    fn space(&self, kind: Kind, key: Option<&str>) -> Option<[u8; 32]> {
        let mut words = self.query.iter();
        let word = words
            .find(|(name, _)| name == UUID)
            .map(|(_, value)| value.as_str());
        let (own, within) = match kind {
            Kind::Send | Kind::Reply => (self.field(UUID), "message"),
            Kind::Forward | Kind::MergeForward | Kind::ForwardThread => (word, kind.name()),
            _ => (None, kind.name()),
        };
        let own = own.filter(|uuid| is_uuid(uuid));
        let target = match within {
            "message" => None,
            _ => self.field("receive_id"),
        };
        let given = key.or(own)?;
        // The same key for two messages would swallow the second edit or recall.
        let path: Vec<&str> = match (key, within) {
            (None, _) | (_, "message") => Vec::new(),
            _ => self
                .call
                .params
                .iter()
                .map(|(_, value)| value.as_str())
                .collect(),
        };
        let whole = json!([within, target, path, given]).to_string();
        Some(Sha256::digest(whole.as_bytes()).into())
    }
}

/// Does Feishu take it as one? Else it leaves as it is, for Feishu to refuse.
fn is_uuid(text: &str) -> bool {
    text.chars().count() <= UUID_CHARS_MAX
}

fn needs(role: Role, job: JobId) -> Reference {
    Reference {
        role,
        job: Some(job),
        makes: None,
        pointer: String::new(),
    }
}

/// In what role it needs the job that makes what it acts on.
fn role(kind: Kind) -> Option<Role> {
    match kind.needs() {
        Needs::Message | Needs::Ephemeral => Some(Role::Message),
        Needs::Batch => Some(Role::Batch),
        Needs::Nothing => None,
    }
}

/// Did the job come in Feishu's own form?
pub(crate) fn is_one(args: &str) -> bool {
    args.starts_with(BEGINS)
}

/// Every job that such args name.
pub(crate) fn named(args: &str) -> Vec<JobId> {
    text::named(args)
}

/// What is kept of a call, for the request that leaves. `None`: the job came otherwise.
#[derive(Debug)]
pub(crate) struct Sent {
    /// In the order of the path.
    pub(crate) params: Vec<String>,
    pub(crate) query: Vec<(String, String)>,
    pub(crate) body: Option<String>,
    /// Of a form that brought a file.
    pub(crate) words: Vec<(String, String)>,
}

/// The call of such args, with the ids that other jobs made, under the relay's own `uuid`.
pub(crate) fn sent(api: Api, args: &str, made: &Map<String, Value>, uuid: &str) -> Option<Sent> {
    let kept = is_one(args)
        .then(|| serde_json::from_str::<Args<'_>>(args).ok())??
        .openapi;
    let id = |name: &str| {
        let id = kept.path.get(name).map_or("", String::as_str);
        let made = made.get(id).and_then(Value::as_str);
        made.unwrap_or(id).to_owned()
    };
    let names = api.endpoint().path.split('/');
    let params = names.filter_map(|part| part.strip_prefix(':')).map(id);
    let mut query = kept.query;
    let mut body = kept.body.map(|body| put(body.get(), made));
    match api.endpoint().uuid {
        feishu_im::UuidPlace::None => {}
        feishu_im::UuidPlace::Query => {
            let too_long = |(name, value): &(String, String)| name == UUID && !is_uuid(value);
            if !query.iter().any(too_long) {
                query.retain(|(name, _)| name != UUID);
                query.push((UUID.to_owned(), uuid.to_owned()));
            }
        }
        feishu_im::UuidPlace::Body => body = body.map(|body| with_uuid(&body, uuid)),
    }
    Some(Sent {
        params: params.collect(),
        query,
        body,
        words: kept.words,
    })
}

/// The same call under the names that jobs of `/v1/jobs` have, for whoever looks at what was sent.
pub(crate) fn native(args: &str, made: &Map<String, Value>) -> Option<Map<String, Value>> {
    let kept = is_one(args)
        .then(|| serde_json::from_str::<Args<'_>>(args).ok())??
        .openapi;
    let body = kept.body.map(|body| put(body.get(), made));
    let body: Map<String, Value> = body
        .and_then(|body| serde_json::from_str(&body).ok())
        .unwrap_or_default();
    let mut native: Map<String, Value> = serde_json::from_str(args).unwrap_or_default();
    native.remove("openapi");
    const PARAMS: [(&str, &str); 4] = [
        ("message_id", "message"),
        ("batch_message_id", "batch"),
        ("reaction_id", "reaction"),
        ("thread_id", "thread"),
    ];
    for (theirs, ours) in PARAMS {
        let id = kept.path.get(theirs).map(String::as_str);
        let id = id.map(|id| made.get(id).and_then(Value::as_str).unwrap_or(id));
        let id = id.or_else(|| body.get(theirs).and_then(Value::as_str));
        native.extend(id.map(|id| (ours.to_owned(), json!(id))));
    }
    const FIELDS: [(&str, &str); 4] = [
        ("receive_id", "to"),
        ("msg_type", "msg_type"),
        ("content", "content"),
        ("card", "card"),
    ];
    for (theirs, ours) in FIELDS {
        let field = body.get(theirs).cloned();
        native.extend(field.map(|field| (ours.to_owned(), field)));
    }
    let emoji = body
        .get("reaction_type")
        .and_then(|kind| kind.get("emoji_type"));
    native.extend(emoji.map(|emoji| (String::from("emoji"), emoji.clone())));
    Some(native)
}

/// What stands where Feishu's answer has the id that the call makes, before there is one.
///
/// An edit's answer has the id of the message that it changes, which `args` name.
pub(crate) fn promise(kind: Kind, id: JobId, args: Option<&str>) -> Value {
    let id = id.to_string();
    if kind == Kind::Edit {
        let native = args.and_then(|args| native(args, &Map::new()));
        let message = native.and_then(|mut native| native.remove("message"));
        return json!({"message_id": message});
    }
    match (kind, kind.makes()) {
        (Kind::MergeForward, _) => json!({"message": {"message_id": id}}),
        (_, Makes::Message | Makes::Batch | Makes::Ephemeral) => json!({"message_id": id}),
        (_, Makes::Image) => json!({"image_key": id}),
        (_, Makes::File) => json!({"file_key": id}),
        (_, Makes::Reaction) => json!({"reaction_id": id}),
        (_, Makes::Nothing) => json!({}),
    }
}

#[cfg(test)]
mod tests;
