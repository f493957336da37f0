//! A job as it is answered: everything that is known of it, under the contract's names.

use std::collections::BTreeMap;

use serde::ser::{Serialize, Serializer};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use crate::clock::rfc3339;
use crate::job::{
    Degraded, DoubtRecord, JobId, Kind, Outcome, Priority, ReadsRecord, State, WaitingFor,
};

/// A Unix time in milliseconds that leaves as RFC 3339.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time(pub i64);

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&rfc3339(self.0))
    }
}

impl utoipa::PartialSchema for Time {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
        utoipa::openapi::ObjectBuilder::new()
            .schema_type(utoipa::openapi::Type::String)
            .format(Some(utoipa::openapi::SchemaFormat::KnownFormat(
                utoipa::openapi::KnownFormat::DateTime,
            )))
            .into()
    }
}

impl ToSchema for Time {}

/// One attempt.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, ToSchema)]
pub struct Attempt {
    /// When it began.
    #[serde(rename = "at", serialize_with = "as_time")]
    #[schema(value_type = Time)]
    pub at_ms: i64,
    /// How long it took; absent when the process died meanwhile.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ms: Option<i64>,
    /// How it ended.
    pub outcome: Outcome,
    /// HTTP status, if there was an answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http: Option<u16>,
    /// Feishu's code, if there was one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<i64>,
    /// Feishu's name for the call.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log_id: Option<String>,
    /// Which part of a batch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub part: Option<i64>,
    /// Below a card: 1 as a post, 2 as a text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rung: Option<u8>,
}

/// What a person or a program did to a job.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, ToSchema)]
pub struct Action {
    /// When.
    #[serde(rename = "at", serialize_with = "as_time")]
    #[schema(value_type = Time)]
    pub at_ms: i64,
    /// Who: a client's name, or `local`.
    pub by: String,
    /// What.
    pub what: String,
}

/// Why a job did not end as `done`.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize, ToSchema)]
pub struct Fault {
    /// `caller`, `gone`, `admin`, `gave_up`, `unclear`, `budget`, `dropped`, `expired`, `canceled`,
    /// `dependency` or `doubt`.
    pub class: String,
    /// Feishu's code.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub code: Option<i64>,
    /// Feishu's words, or ours.
    pub msg: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub hint: Option<String>,
    /// Who must mend it: `caller`, `admin`, `operator`, `nobody`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub who: Option<String>,
}

/// One part of a batch.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, ToSchema)]
#[schema(as = Part)]
pub struct PartRecord {
    /// Where it is.
    pub state: State,
    /// Feishu's id of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub batch_message_id: Option<String>,
    /// Ids that were named in it.
    pub count: i64,
    /// Feishu's code, when it was refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<i64>,
    /// Feishu's words, when it was refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub msg: Option<String>,
    /// Feishu's `data` for it: JSON.
    #[serde(skip)]
    pub receipt: Option<String>,
}

/// How far taking a job back is.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, ToSchema)]
#[schema(as = Recall)]
pub struct RecallRecord {
    /// Where the recall is; `queued` too while the wish waits for the id.
    pub state: State,
    /// Messages or batches taken back.
    pub count: i64,
    /// Of how many.
    pub of: i64,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<Fault>,
}

/// A job.
#[derive(Clone, Debug)]
pub struct Job {
    /// The store's number; for cursors, never answered.
    pub seq: i64,
    /// Its name.
    pub id: JobId,
    /// What it does.
    pub kind: Kind,
    /// With which app.
    pub app: String,
    /// Who asked.
    pub client: String,
    /// Receiver as written, or the message that is acted on.
    pub to: Option<String>,
    /// Where it is.
    pub state: State,
    /// What it waits for while queued.
    pub waiting_for: Option<WaitingFor>,
    /// The producer's key.
    pub key: Option<String>,
    /// Its lane, when it has one.
    pub lane: Option<String>,
    /// Its priority.
    pub priority: Priority,
    /// The producer's labels.
    pub labels: BTreeMap<String, String>,
    /// What was asked for: JSON. Only where one job is answered, and while it is kept.
    pub args: Option<String>,
    /// When it was accepted.
    pub created_ms: i64,
    /// Not before.
    pub run_ms: i64,
    /// Not after.
    pub expires_ms: Option<i64>,
    /// When it settled.
    pub finished_ms: Option<i64>,
    /// What was tried: the first and the newest, in order.
    pub attempts: Vec<Attempt>,
    /// What was done to it.
    pub actions: Vec<Action>,
    /// Feishu's `data`: JSON object.
    pub receipt: Option<String>,
    /// How far down the ladder its card went, and why.
    pub degraded: Option<Degraded>,
    /// Its parts, when it is a batch.
    pub parts: Vec<PartRecord>,
    /// Why it is not done.
    pub error: Option<Fault>,
    /// What is known of it while it is in doubt.
    pub doubt: Option<DoubtRecord>,
    /// The job that it hangs on.
    pub parent: Option<JobId>,
    /// The jobs that hang on it.
    pub children: Vec<JobId>,
    /// Batch progress, summed: JSON.
    pub progress: Option<String>,
    /// What is followed after it is done: JSON, as written.
    pub track: Option<String>,
    /// Who read it, as far as that is known.
    pub reads: Option<ReadsRecord>,
    /// How far taking it back is.
    pub recall: Option<RecallRecord>,
    /// When it was taken back.
    pub recalled_ms: Option<i64>,
}

/// A job as it is answered. What is not there, or not known, is left out.
#[derive(serde::Serialize, ToSchema)]
#[schema(as = Job)]
struct Told<'a> {
    id: JobId,
    /// What it does.
    #[schema(value_type = String)]
    kind: &'static str,
    /// With which app.
    app: &'a str,
    /// Who asked; empty where no token is needed.
    client: &'a str,
    /// The receiver as written, or the message that is acted on.
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<&'a str>,
    state: State,
    #[serde(skip_serializing_if = "Option::is_none")]
    waiting_for: Option<WaitingFor>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lane: Option<&'a str>,
    priority: Priority,
    labels: &'a BTreeMap<String, String>,
    /// What was asked for; where one job is asked about, as long as its content is kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    args: Option<&'a RawValue>,
    created_at: Time,
    /// It may not begin before.
    run_at: Time,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<Time>,
    #[serde(skip_serializing_if = "Option::is_none")]
    finished_at: Option<Time>,
    /// What was tried: the first and the newest, in order.
    attempts: &'a [Attempt],
    /// What was done to it.
    actions: &'a [Action],
    /// Feishu's `data`, whole, under its names (`message_id`, `chat_id`, `image_key` …). A batch has
    /// `parts[]`, `batch_message_ids[]` and the joined `invalid_*_ids[]`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    receipt: Option<Receipt<'a>>,
    /// It was not sent as a card: as what, and why. Only with `on_refused: "degrade"`.
    #[serde(skip_serializing_if = "Option::is_none")]
    degraded: Option<&'a Degraded>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a Fault>,
    /// What is known of it, for whoever settles it; while it is in doubt.
    #[serde(skip_serializing_if = "Option::is_none")]
    doubt: Option<&'a DoubtRecord>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parent: Option<JobId>,
    children: &'a [JobId],
    /// What is followed after it is done, as written.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    track: Option<&'a RawValue>,
    /// Who read it; `items` only where one job is answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    reads: Option<&'a ReadsRecord>,
    /// How far a batch is, summed, under Feishu's names.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    progress: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    recall: Option<&'a RecallRecord>,
    #[serde(skip_serializing_if = "Option::is_none")]
    recalled_at: Option<Time>,
}

/// Feishu's answer as it came, or those of a batch as one.
#[derive(serde::Serialize)]
#[serde(untagged)]
enum Receipt<'a> {
    Raw(&'a RawValue),
    Batch(serde_json::Value),
}

impl Serialize for Job {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.told().serialize(serializer)
    }
}

impl utoipa::PartialSchema for Job {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
        Told::schema()
    }
}

impl ToSchema for Job {
    fn name() -> std::borrow::Cow<'static, str> {
        Told::name()
    }

    fn schemas(
        schemas: &mut Vec<(
            String,
            utoipa::openapi::RefOr<utoipa::openapi::schema::Schema>,
        )>,
    ) {
        Told::schemas(schemas);
    }
}

impl Job {
    fn told(&self) -> Told<'_> {
        Told {
            id: self.id,
            kind: self.kind.name(),
            app: &self.app,
            client: &self.client,
            to: self.to.as_deref(),
            state: self.state,
            waiting_for: self.waiting_for,
            key: self.key.as_deref(),
            lane: self.lane.as_deref(),
            priority: self.priority,
            labels: &self.labels,
            args: raw(self.args.as_deref()),
            created_at: Time(self.created_ms),
            run_at: Time(self.run_ms),
            expires_at: self.expires_ms.map(Time),
            finished_at: self.finished_ms.map(Time),
            attempts: &self.attempts,
            actions: &self.actions,
            receipt: match self.parts.is_empty() {
                true => raw(self.receipt.as_deref()).map(Receipt::Raw),
                false => Some(Receipt::Batch(self.batch_receipt())),
            },
            degraded: self.degraded.as_ref(),
            error: self.error.as_ref(),
            doubt: self.doubt.as_ref(),
            parent: self.parent,
            children: &self.children,
            track: raw(self.track.as_deref()),
            reads: self.reads.as_ref(),
            progress: raw(self.progress.as_deref()),
            recall: self.recall.as_ref(),
            recalled_at: self.recalled_ms.map(Time),
        }
    }

    /// The parts' answers as one: ids in order, lists of invalid ids joined.
    fn batch_receipt(&self) -> serde_json::Value {
        let ids: Vec<&String> = self
            .parts
            .iter()
            .filter_map(|part| part.batch_message_id.as_ref())
            .collect();
        let mut receipt = serde_json::Map::new();
        receipt.insert("parts".into(), serde_json::json!(self.parts));
        receipt.insert("batch_message_ids".into(), serde_json::json!(ids));
        for data in self.parts.iter().filter_map(|part| part.receipt.as_deref()) {
            let Ok(serde_json::Value::Object(data)) = serde_json::from_str(data) else {
                continue;
            };
            for (name, value) in data {
                let (true, serde_json::Value::Array(more)) = (name.starts_with("invalid_"), value)
                else {
                    continue;
                };
                let list = receipt.entry(name).or_insert_with(|| serde_json::json!([]));
                if let serde_json::Value::Array(list) = list {
                    list.extend(more);
                }
            }
        }
        serde_json::Value::Object(receipt)
    }
}

fn as_time<S: Serializer>(ms: &i64, serializer: S) -> Result<S::Ok, S::Error> {
    Time(*ms).serialize(serializer)
}

/// Stored JSON goes out as it is; what does not parse any more is left out rather than breaking the answer.
fn raw(json: Option<&str>) -> Option<&RawValue> {
    json.and_then(|json| serde_json::from_str(json).ok())
}
