//! A job as it is answered: everything that is known of it, under the contract's names.

use std::collections::BTreeMap;

use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::value::RawValue;

use crate::clock::rfc3339;
use crate::job::{JobId, Kind, Outcome, Priority, State, WaitingFor};

/// A Unix time in milliseconds that leaves as RFC 3339.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time(pub i64);

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&rfc3339(self.0))
    }
}

/// One attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// When it began.
    pub at_ms: i64,
    /// How long it took; absent when the process died meanwhile.
    pub ms: Option<i64>,
    /// How it ended.
    pub outcome: Outcome,
    /// HTTP status, if there was an answer.
    pub http: Option<u16>,
    /// Feishu's code, if there was one.
    pub code: Option<i64>,
    /// Feishu's name for the call.
    pub log_id: Option<String>,
    /// Which part of a batch.
    pub part: Option<i64>,
}

/// What a person or a program did to a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Action {
    /// When.
    pub at_ms: i64,
    /// Who: a client's name, or `local`.
    pub by: String,
    /// What.
    pub what: String,
}

/// Why a job did not end as `done`.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
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
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
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
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
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
    /// Its parts, when it is a batch.
    pub parts: Vec<PartRecord>,
    /// Why it is not done.
    pub error: Option<Fault>,
    /// The job that it hangs on.
    pub parent: Option<JobId>,
    /// The jobs that hang on it.
    pub children: Vec<JobId>,
    /// Batch progress, summed: JSON.
    pub progress: Option<String>,
    /// How far taking it back is.
    pub recall: Option<RecallRecord>,
    /// When it was taken back.
    pub recalled_ms: Option<i64>,
}

impl Serialize for Attempt {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("at", &Time(self.at_ms))?;
        some(&mut map, "ms", &self.ms)?;
        map.serialize_entry("outcome", &self.outcome)?;
        some(&mut map, "http", &self.http)?;
        some(&mut map, "code", &self.code)?;
        some(&mut map, "log_id", &self.log_id)?;
        some(&mut map, "part", &self.part)?;
        map.end()
    }
}

impl Serialize for Action {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(3))?;
        map.serialize_entry("at", &Time(self.at_ms))?;
        map.serialize_entry("by", &self.by)?;
        map.serialize_entry("what", &self.what)?;
        map.end()
    }
}

impl Serialize for Job {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("id", &self.id)?;
        map.serialize_entry("kind", self.kind.name())?;
        map.serialize_entry("app", &self.app)?;
        map.serialize_entry("client", &self.client)?;
        some(&mut map, "to", &self.to)?;
        map.serialize_entry("state", &self.state)?;
        some(&mut map, "waiting_for", &self.waiting_for)?;
        some(&mut map, "key", &self.key)?;
        some(&mut map, "lane", &self.lane)?;
        map.serialize_entry("priority", &self.priority)?;
        map.serialize_entry("labels", &self.labels)?;
        raw(&mut map, "args", self.args.as_deref())?;
        map.serialize_entry("created_at", &Time(self.created_ms))?;
        map.serialize_entry("run_at", &Time(self.run_ms))?;
        some(&mut map, "expires_at", &self.expires_ms.map(Time))?;
        some(&mut map, "finished_at", &self.finished_ms.map(Time))?;
        map.serialize_entry("attempts", &self.attempts)?;
        map.serialize_entry("actions", &self.actions)?;
        self.serialize_ends(&mut map)?;
        map.end()
    }
}

impl Job {
    fn serialize_ends<M: SerializeMap>(&self, map: &mut M) -> Result<(), M::Error> {
        match self.parts.is_empty() {
            true => raw(map, "receipt", self.receipt.as_deref())?,
            false => map.serialize_entry("receipt", &self.batch_receipt())?,
        }
        some(map, "error", &self.error)?;
        some(map, "parent", &self.parent)?;
        map.serialize_entry("children", &self.children)?;
        raw(map, "progress", self.progress.as_deref())?;
        some(map, "recall", &self.recall)?;
        some(map, "recalled_at", &self.recalled_ms.map(Time))
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

fn some<M: SerializeMap, T: Serialize>(
    map: &mut M,
    name: &'static str,
    value: &Option<T>,
) -> Result<(), M::Error> {
    match value {
        Some(value) => map.serialize_entry(name, value),
        None => Ok(()),
    }
}

/// Stored JSON goes out as it is; what does not parse any more is left out rather than breaking the answer.
fn raw<M: SerializeMap>(
    map: &mut M,
    name: &'static str,
    json: Option<&str>,
) -> Result<(), M::Error> {
    match json.and_then(|json| serde_json::from_str::<&RawValue>(json).ok()) {
        Some(value) => map.serialize_entry(name, value),
        None => Ok(()),
    }
}
