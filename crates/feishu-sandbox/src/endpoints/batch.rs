//! One content for many people: send, recall, and the two ways to ask how far it got.
//!
//! Sources: endpoints.md 2.2, 2.6, 2.14, 2.15; codes: errors.md 6 (send), 3 (the rest).

use std::collections::HashSet;

use serde_json::{Map, Value, json};

use super::new_id;
use crate::call::{Call, Handled, ok, success};
use crate::clock::{DAY_MS, real_ms};
use crate::codes::Refusal;
use crate::content::{self, Place};
use crate::ledger::Effect;
use crate::world::{Batch, IdKind, Moment, Touched};

/// Ids of one list. Source: limits.md 3.
const IDS_MAX: usize = 200;
/// Body of one send, in KB. Source: limits.md 3.
const BODY_KB_MAX: usize = 30;
/// A task is known this long. Source: limits.md 4.
const TASK_LIFE_MS: i64 = 30 * DAY_MS;

/// Takes a batch; whoever is named is reached once.
pub(crate) fn send(call: &mut Call<'_>) -> Handled {
    let body = call.json().map_err(|_| Refusal::code(10_003))?;
    let receivers = Receivers::read(&body)?;
    if call.arrived.body.len() > BODY_KB_MAX * call.world.switches().kb {
        return Err(Refusal::code(19_036));
    }
    let (msg_type, content) = content_of(&body)?;
    let place = Place {
        world: call.world,
        app_id: &call.app_id,
        chat_id: "",
    };
    content::check_batch(&place, &msg_type, &content)?;

    let people = receivers.resolve(call);
    spend_day(call, people.valid.len())?;
    let now = now(call);
    let batch = Batch {
        batch_message_id: new_id("bm-"),
        app_id: call.app_id.clone(),
        msg_type,
        content,
        valid: u64::try_from(people.valid.len()).unwrap_or(u64::MAX),
        users: people.reached(call),
        at_ms: now.at_ms,
        at_real_ms: now.real_ms,
        recalled: None,
        reads: Vec::new(),
    };
    let mut data = people.invalid;
    data.insert("message_id".to_owned(), json!(batch.batch_message_id));
    accept(call, batch);
    Ok(success(Value::Object(data)))
}

fn accept(call: &mut Call<'_>, batch: Batch) {
    let effect = Effect {
        batch_message_id: Some(batch.batch_message_id.clone()),
        msg_type: Some(batch.msg_type.clone()),
        content: Some(batch.content.clone()),
        users: Some(batch.users.clone()),
        ..call.new_effect("batch")
    };
    if !batch.users.is_empty() {
        call.world.effect(effect);
    }
    call.world
        .touch(Touched::Batch(batch.batch_message_id.clone()));
    call.world
        .batches
        .insert(batch.batch_message_id.clone(), batch);
}

/// The type and the content object, a card under its own name.
fn content_of(body: &Map<String, Value>) -> Result<(String, Value), Refusal> {
    let wrong = |says: &str| Refusal::code(10_003).because(says);
    let msg_type = body
        .get("msg_type")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let field = match msg_type {
        "text" | "image" | "post" | "share_chat" => "content",
        "interactive" => "card",
        "" => return Err(wrong("msg_type is required")),
        _ => return Err(wrong("msg_type is not supported here")),
    };
    match body.get(field) {
        Some(content @ Value::Object(_)) => Ok((msg_type.to_owned(), content.clone())),
        _ => Err(wrong(&format!("{field} must be an object"))),
    }
}

/// The id lists as they came.
struct Receivers {
    departments: Vec<String>,
    people: Vec<(&'static str, IdKind, Vec<String>)>,
}

/// Whom they stand for.
struct Named {
    /// Open ids, each once, in the order of naming.
    valid: Vec<String>,
    invalid: Map<String, Value>,
}

impl Receivers {
    fn read(body: &Map<String, Value>) -> Result<Self, Refusal> {
        let departments = id_list(body, "department_ids")?;
        let people = vec![
            ("invalid_open_ids", IdKind::Open, id_list(body, "open_ids")?),
            ("invalid_user_ids", IdKind::User, id_list(body, "user_ids")?),
            (
                "invalid_union_ids",
                IdKind::Union,
                id_list(body, "union_ids")?,
            ),
        ];
        if departments.is_empty() && people.iter().all(|(_, _, ids)| ids.is_empty()) {
            return Err(Refusal::code(10_003).because("at least one list of receivers is required"));
        }
        if departments.iter().any(|id| id == "0") {
            return Err(Refusal::code(10_003).because("the root department is not allowed"));
        }
        Ok(Self {
            departments,
            people,
        })
    }

    fn resolve(&self, call: &Call<'_>) -> Named {
        let mut seen = HashSet::new();
        let mut valid = Vec::new();
        let mut add = |open_id: &str| {
            if seen.insert(open_id.to_owned()) {
                valid.push(open_id.to_owned());
            }
        };
        let mut invalid = Map::new();
        let mut unknown = Vec::new();
        for id in &self.departments {
            match call.world.people.department(id) {
                Some(people) => people.iter().for_each(|open_id| add(open_id)),
                None => unknown.push(id.clone()),
            }
        }
        invalid.insert("invalid_department_ids".to_owned(), json!(unknown));
        for (name, kind, ids) in &self.people {
            let mut unknown = Vec::new();
            for id in ids {
                match call.world.people.find(*kind, id) {
                    Some(user) => add(&user.open_id),
                    None => unknown.push(id.clone()),
                }
            }
            invalid.insert((*name).to_owned(), json!(unknown));
        }
        Named { valid, invalid }
    }
}

impl Named {
    /// Those the bot can reach. Source: endpoints.md 2.15 (valid counts the others too).
    fn reached(&self, call: &Call<'_>) -> Vec<String> {
        let reachable = |open_id: &&String| {
            let user = call.world.people.find(IdKind::Open, open_id.as_str());
            user.is_some_and(|user| user.refuse.is_none())
        };
        self.valid.iter().filter(reachable).cloned().collect()
    }
}

fn id_list(body: &Map<String, Value>, name: &str) -> Result<Vec<String>, Refusal> {
    let wrong = || Refusal::code(10_003).because(&format!("{name} is a list of at most 200 ids"));
    match body.get(name) {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::Array(list)) if list.len() <= IDS_MAX => list
            .iter()
            .map(|id| id.as_str().map(str::to_owned))
            .collect::<Option<_>>()
            .ok_or_else(wrong),
        Some(_) => Err(wrong()),
    }
}

fn spend_day(call: &mut Call<'_>, count: usize) -> Result<(), Refusal> {
    let count = u64::try_from(count).unwrap_or(u64::MAX);
    let limit = call.world.limits().batch_day;
    let spent = call.world.spent.batch_messages(&call.app_id, call.now_ms);
    if limit > 0 && spent + count > limit {
        return Err(Refusal::code(11_247).by_a_window());
    }
    call.world
        .spent
        .count_batch(&call.app_id, count, call.now_ms);
    call.world.touch(Touched::Spent);
    Ok(())
}

/// Takes a batch back from everybody who got it; a second time changes nothing.
pub(crate) fn recall(call: &mut Call<'_>) -> Handled {
    let now = now(call);
    let window_ms = call.world.switches().recall_window.0;
    let batch = task(call, 230_026)?;
    if batch.recalled.is_some() {
        return Ok(ok(json!({})));
    }
    if now.at_ms - batch.at_ms > window_ms {
        return Err(Refusal::code(230_009));
    }
    let id = batch.batch_message_id.clone();
    let effect = Effect {
        batch_message_id: Some(id.clone()),
        users: Some(batch.users.clone()),
        ..call.new_effect("batch_recall")
    };
    if let Some(batch) = call.world.batches.get_mut(&id) {
        batch.recalled = Some(now);
    }
    call.world.touch(Touched::Batch(id));
    call.world.effect(effect);
    Ok(ok(json!({})))
}

/// Counts of those pushed to and those who have read, as strings.
pub(crate) fn read_user(call: &mut Call<'_>) -> Handled {
    let settle_ms = call.world.switches().batch_settle.0;
    let batch = task(call, 230_012)?;
    let total = Batch::grown(reached(batch), batch.start(), now(call), settle_ms);
    Ok(success(json!({ "read_user": {
        "read_count": batch.reads.len().to_string(), "total_count": total.to_string(),
    } })))
}

/// How far sending and recalling got, as numbers.
pub(crate) fn progress(call: &mut Call<'_>) -> Handled {
    let settle_ms = call.world.switches().batch_settle.0;
    let batch = task(call, 230_012)?;
    let now = now(call);
    let recalled = batch
        .recalled
        .map(|since| Batch::grown(reached(batch), since, now, settle_ms));
    Ok(success(json!({
        "batch_message_send_progress": {
            "valid_user_ids_count": Batch::grown(batch.valid, batch.start(), now, settle_ms),
            "success_user_ids_count": Batch::grown(reached(batch), batch.start(), now, settle_ms),
            "read_user_ids_count": batch.reads.len(),
        },
        "batch_message_recall_progress": {
            "recall": recalled.is_some(), "recall_count": recalled.unwrap_or(0),
        },
    })))
}

/// The app's own task of the path; another app's is refused with `not_own`.
fn task<'a>(call: &'a Call<'_>, not_own: i64) -> Result<&'a Batch, Refusal> {
    let id = call.param("batch_message_id");
    if id.chars().count() < 4 {
        return Err(Refusal::ext("batch_message_id length is less than 4"));
    }
    let batch = call
        .world
        .batches
        .get(id)
        .ok_or_else(|| Refusal::code(230_030))?;
    if batch.app_id != call.app_id {
        return Err(Refusal::code(not_own));
    }
    if call.now_ms - batch.at_ms > TASK_LIFE_MS {
        return Err(Refusal::code(230_030));
    }
    Ok(batch)
}

fn reached(batch: &Batch) -> u64 {
    u64::try_from(batch.users.len()).unwrap_or(u64::MAX)
}

fn now(call: &Call<'_>) -> Moment {
    Moment {
        at_ms: call.now_ms,
        real_ms: real_ms(),
    }
}
