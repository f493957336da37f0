//! Reactions: add, remove, list, and of many messages at once. Source: endpoints.md 5.
//!
//! The reference lists 31 of more than 180 emoji types; others are taken as they come, unless the
//! switch `emoji` is `listed`. What a second identical reaction does is a switch as well.

use serde_json::{Map, Value, json};

use super::new_id;
use super::paging::Page;
use crate::call::{Call, Handled, success};
use crate::codes::Refusal;
use crate::ledger::Effect;
use crate::seed::{Emoji, SecondReaction, SecondUnreact};
use crate::world::{IdKind, Message, Reaction, Sender, World};

/// Messages of one query, and reactions of each. Source: limits.md 3.
const QUERIES_MAX: usize = 20;
const PER_MESSAGE_MAX: usize = 10;
const LISTED: [&str; 31] = [
    "OK",
    "THUMBSUP",
    "ThumbsDown",
    "THANKS",
    "DONE",
    "SMILE",
    "LAUGH",
    "CRY",
    "ANGRY",
    "HEART",
    "FIREWORKS",
    "PARTY",
    "APPLAUSE",
    "MUSCLE",
    "FINGERHEART",
    "JIAYI",
    "Get",
    "LGTM",
    "OnIt",
    "OneSecond",
    "Typing",
    "CheckMark",
    "CrossMark",
    "Yes",
    "No",
    "Pin",
    "Alarm",
    "Fire",
    "Hundred",
    "MinusOne",
    "EatingFood",
];

/// Adds a reaction of the bot.
pub(crate) fn add(call: &mut Call<'_>) -> Handled {
    let body = call.json()?;
    let emoji = body
        .get("reaction_type")
        .and_then(|kind| kind.get("emoji_type"))
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned();
    if !is_emoji(&emoji, call.world.switches().emoji) {
        return Err(Refusal::code(231_001));
    }
    let message = find(call)?;
    if message.msg_type == "system" {
        return Err(Refusal::code(231_001));
    }
    let by = Sender::App(call.app_id.clone());
    let same = |each: &&Reaction| each.by == by && each.emoji == emoji;
    if call.world.switches().second_reaction == SecondReaction::Same
        && let Some(first) = message.reactions.iter().find(same)
    {
        return Ok(success(object(call.world, first, IdKind::Open)));
    }
    let reaction = Reaction {
        reaction_id: new_id(""),
        by,
        emoji,
        at_ms: call.now_ms,
    };
    let answer = success(object(call.world, &reaction, IdKind::Open));
    let effect = effect(call, "reaction", message, &reaction);
    let message_id = message.message_id.clone();
    call.world
        .change_message(&message_id, |message| message.reactions.push(reaction));
    call.world.effect(effect);
    Ok(answer)
}

/// Removes an own reaction.
pub(crate) fn remove(call: &mut Call<'_>) -> Handled {
    let reaction_id = call.param("reaction_id").to_owned();
    let message = find(call)?;
    let message_id = message.message_id.clone();
    let here = |each: &&Reaction| each.reaction_id == reaction_id;
    let Some(reaction) = message.reactions.iter().find(here).cloned() else {
        let gone = message.removed.iter().find(here);
        return match (gone, call.world.switches().second_unreact) {
            (Some(gone), SecondUnreact::Success) => {
                Ok(success(object(call.world, gone, IdKind::Open)))
            }
            (None, _) if is_elsewhere(call.world, &reaction_id) => Err(Refusal::code(231_010)),
            _ => Err(Refusal::code(231_011)),
        };
    };
    if reaction.by != Sender::App(call.app_id.clone()) {
        return Err(Refusal::code(231_007));
    }
    let effect = effect(call, "unreaction", message, &reaction);
    let answer = success(object(call.world, &reaction, IdKind::Open));
    call.world.change_message(&message_id, |message| {
        message
            .reactions
            .retain(|each| each.reaction_id != reaction_id);
        message.removed.push(reaction);
    });
    call.world.effect(effect);
    Ok(answer)
}

/// Lists the reactions of a message, oldest first.
pub(crate) fn list(call: &mut Call<'_>) -> Handled {
    let kind = id_kind(call)?;
    let page = Page::read_as(call, 50, 20, 231_012)?;
    let message = find(call)?;
    let wanted = call.asked("reaction_type");
    let skip = usize::try_from(page.after.unwrap_or(0)).unwrap_or(usize::MAX);
    let items = (1..)
        .zip(&message.reactions)
        .skip(skip)
        .filter(|(_, each)| wanted.is_none_or(|wanted| wanted == each.emoji))
        .map(|(position, each)| (position, object(call.world, each, kind)));
    Ok(success(page.cut(items)))
}

/// Lists and counts the reactions of up to 20 messages; the entries are as both SDKs' types have them.
pub(crate) fn query(call: &mut Call<'_>) -> Handled {
    let body = call.json()?;
    let kind = id_kind(call)?;
    let bad = |says: &str| Refusal::code(231_001).because(says);
    let queries = body.get("queries").and_then(Value::as_array);
    let queries = queries
        .filter(|list| (1..=QUERIES_MAX).contains(&list.len()))
        .ok_or_else(|| bad("queries holds 1 to 20 messages"))?;
    let size = match body.get("page_size_per_message") {
        None | Some(Value::Null) => PER_MESSAGE_MAX,
        Some(size) => (size.as_u64().and_then(|size| usize::try_from(size).ok()))
            .filter(|size| (1..=PER_MESSAGE_MAX).contains(size))
            .ok_or_else(|| bad("page_size_per_message is 1 to 10"))?,
    };
    let emoji = body.get("reaction_type").and_then(Value::as_str);
    let wanted = Wanted { size, emoji, kind };
    let (mut details, mut counts, mut failed) = (Vec::new(), Vec::new(), Vec::new());
    for each in queries {
        let each = each
            .as_object()
            .ok_or_else(|| bad("a query is an object"))?;
        let id = each
            .get("message_id")
            .and_then(Value::as_str)
            .unwrap_or_default();
        match wanted.of(call, id, each) {
            Ok((detail, count)) => {
                details.push(detail);
                counts.push(count);
            }
            Err(reason) => failed.push(json!({ "message_id": id, "fail_reason": reason })),
        }
    }
    Ok(success(json!({
        "success_msg_reaction_details": details, "success_msg_reaction_counts": counts,
        "fail_msg_reaction_details": failed,
    })))
}

/// What a query wants of each message.
struct Wanted<'a> {
    size: usize,
    emoji: Option<&'a str>,
    kind: IdKind,
}

impl Wanted<'_> {
    /// Details and counts of one message, or why there are none.
    fn of(
        &self,
        call: &Call<'_>,
        message_id: &str,
        query: &Map<String, Value>,
    ) -> Result<(Value, Value), &'static str> {
        let message = call.world.messages.get(message_id).ok_or("invalid")?;
        call.enter(&message.chat_id).map_err(|_| "no_permission")?;
        if message.deleted {
            return Err("invalid");
        }
        let after = match query.get("page_token").and_then(Value::as_str) {
            None | Some("") => 0,
            Some(token) => (token
                .strip_prefix("rq")
                .and_then(|at| at.parse::<usize>().ok()))
            .ok_or("invalid_page_token")?,
        };
        let fits = |each: &&Reaction| self.emoji.is_none_or(|emoji| emoji == each.emoji);
        let all: Vec<&Reaction> = message.reactions.iter().filter(fits).collect();
        let items: Vec<Value> = (all.iter().skip(after).take(self.size))
            .map(|each| entry(call.world, each, self.kind))
            .collect();
        let reached = after + items.len();
        let mut detail = json!({
            "message_id": message_id, "message_reaction_items": items,
            "has_more": reached < all.len(),
        });
        if reached < all.len() {
            detail["page_token"] = json!(format!("rq{reached}"));
        }
        Ok((
            detail,
            json!({ "message_id": message_id, "reaction_count": counts(&all) }),
        ))
    }
}

/// How often each emoji stands there, in the order of its first use.
fn counts(all: &[&Reaction]) -> Vec<Value> {
    let mut counted: Vec<(&str, u64)> = Vec::new();
    for each in all {
        match counted.iter_mut().find(|(emoji, _)| *emoji == each.emoji) {
            Some((_, count)) => *count += 1,
            None => counted.push((&each.emoji, 1)),
        }
    }
    counted
        .into_iter()
        .map(|(emoji, count)| json!({ "reaction_type": emoji, "count": count.to_string() }))
        .collect()
}

/// A reaction in such a list: its emoji stands beside the rest.
fn entry(world: &World, reaction: &Reaction, kind: IdKind) -> Value {
    let mut entry = object(world, reaction, kind);
    entry["emoji_type"] = entry["reaction_type"]["emoji_type"].take();
    if let Some(fields) = entry.as_object_mut() {
        fields.remove("reaction_type");
    }
    entry
}

/// The message of the path, if the operator may react to it.
fn find<'a>(call: &'a Call<'_>) -> Result<&'a Message, Refusal> {
    let message = call.world.messages.get(call.param("message_id"));
    let message = message.ok_or_else(|| Refusal::code(231_003))?;
    match call.enter(&message.chat_id) {
        Err(refusal) if refusal.code == 230_002 => return Err(Refusal::code(231_008)),
        Err(refusal) if refusal.code == 230_013 => return Err(Refusal::code(231_022)),
        other => other.map(drop)?,
    }
    if message.deleted {
        return Err(Refusal::code(231_003));
    }
    Ok(message)
}

fn is_elsewhere(world: &World, reaction_id: &str) -> bool {
    let mut all = world.messages.values().flat_map(|each| &each.reactions);
    all.any(|each| each.reaction_id == reaction_id)
}

fn id_kind(call: &Call<'_>) -> Result<IdKind, Refusal> {
    match call.asked("user_id_type") {
        None | Some("open_id") => Ok(IdKind::Open),
        Some("union_id") => Ok(IdKind::Union),
        Some("user_id") => Ok(IdKind::User),
        Some(_) => Err(Refusal::code(231_014)),
    }
}

/// Case counts: a listed type in other letters is none. Source: endpoints.md 5.
fn is_emoji(name: &str, taken: Emoji) -> bool {
    if LISTED.contains(&name) {
        return true;
    }
    let word = !name.is_empty()
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    let misspelt = LISTED
        .iter()
        .any(|listed| listed.eq_ignore_ascii_case(name));
    taken == Emoji::Any && word && !misspelt && name.len() <= 64
}

fn effect(call: &Call<'_>, name: &str, message: &Message, reaction: &Reaction) -> Effect {
    Effect {
        content: Some(json!({ "reaction_type": { "emoji_type": reaction.emoji } })),
        key: Some(reaction.reaction_id.clone()),
        ..call.effect_on(name, message)
    }
}

fn object(world: &World, reaction: &Reaction, kind: IdKind) -> Value {
    let (id, operator_type) = match &reaction.by {
        Sender::App(app_id) | Sender::Hook(app_id) => (app_id.as_str(), "app"),
        Sender::User(open_id) => {
            let user = world.people.find(IdKind::Open, open_id);
            (user.map_or(open_id.as_str(), |user| kind.of(user)), "user")
        }
    };
    json!({
        "reaction_id": reaction.reaction_id,
        "operator": { "operator_id": id, "operator_type": operator_type },
        "action_time": reaction.at_ms.to_string(),
        "reaction_type": { "emoji_type": reaction.emoji },
    })
}
