//! The args of kinds that act on messages and cards, as JSON Schema.

use serde_json::{Map, Value, json};

use super::{fields, id, receiver, text};
use crate::job::{Kind, Makes};

/// What stands in the args of this kind beside its target and its content.
pub(super) fn fields_of(kind: Kind) -> Map<String, Value> {
    match kind {
        Kind::Reply => {
            let in_thread = json!({"type": "boolean", "description": "In a thread under the message; an answer in a thread is there anyway."});
            fields(json!({"in_thread": in_thread, "reply_in_thread": in_thread}))
        }
        Kind::Forward => receiver(true),
        Kind::MergeForward => {
            let one = named("`om_…`, or a job that will make one.", "om_");
            let list = list(one, 1, feishu_max(Kind::MergeForward), "Of one chat.");
            with_receiver(json!({"messages": list, "message_id_list": list}))
        }
        Kind::ForwardThread => {
            let thread = id("`omt_…`.", "^omt_.{1,100}$");
            with_receiver(json!({"thread": thread, "thread_id": thread}))
        }
        Kind::FollowUp => follow_up(),
        Kind::React => {
            let emoji = json!({"type": "string", "maxLength": 64, "pattern": "^[A-Za-z0-9_]+$", "examples": ["OK", "THUMBSUP"], "description": "The emoji's name."});
            let feishu = json!({"type": "object", "properties": {"emoji_type": emoji}, "description": "The same in Feishu's form."});
            fields(json!({"emoji": emoji, "emoji_type": emoji, "reaction_type": feishu}))
        }
        Kind::Unreact => {
            let makes = Kind::all().filter(|kind| kind.makes() == Makes::Reaction);
            let makes: Vec<&str> = makes.map(Kind::name).collect();
            let said = format!(
                "A reaction's id, or a job that will make one (`job_…`: {}); in `then`, the parent's.",
                makes.join(", ")
            );
            let reaction =
                json!({"type": "string", "minLength": 1, "maxLength": 200, "description": said});
            fields(json!({"reaction": reaction, "reaction_id": reaction}))
        }
        Kind::UpdateCard => {
            let mut card = card();
            card.insert("content".into(), json!({"type": ["string", "object"], "description": "The card as Feishu's call has it."}));
            card
        }
        Kind::DelayUpdateCard => {
            let mut card = card();
            card.insert("token".into(), text("The token of a click: `c-…`."));
            card
        }
        Kind::SendEphemeral => ephemeral(),
        Kind::UpdateUrlPreviews => {
            let item = || json!({"type": "string", "minLength": 1, "maxLength": 200});
            let (tokens, people) = (feishu_max(kind), 100);
            fields(json!({
                "preview_tokens": list(item(), 1, tokens, "Which previews."),
                "open_ids": list(item(), 0, people, "Whose clients; everybody's when it is left out."),
            }))
        }
        _ => Map::new(),
    }
}

/// What this kind does, in one sentence.
pub(super) fn said(kind: Kind) -> &'static str {
    match kind {
        Kind::Reply => "Answers `message` with exactly one content; in `then`, the parent's.",
        Kind::Edit => {
            "Puts another text or post in the place of `message`. Of several that wait, only the newest is sent."
        }
        Kind::Forward => "Sends `message` on to `to`; in `then`, the parent's.",
        Kind::MergeForward => "Sends `messages` on to `to`, as one.",
        Kind::ForwardThread => "Sends `thread` on to `to`.",
        Kind::FollowUp => "Shows `bubbles` to tap under `message`; in `then`, under the parent's.",
        Kind::React => "Adds the bot's reaction to `message`; in `then`, to the parent's.",
        Kind::Unreact => {
            "Takes a reaction of the bot away from `message`; in the `then` of a reaction, that one."
        }
        Kind::UpdateCard => {
            "Puts another card (`card`, `template` or `content`) in the place of `message`. Of several that wait, only the newest is sent."
        }
        Kind::DelayUpdateCard => {
            "Puts another card in the place of a clicked one, by the click's `token`: 30 minutes, two uses."
        }
        Kind::SendEphemeral => {
            "A card that one member of the group `chat` sees: `user`, or Feishu's names for one."
        }
        Kind::UpdateUrlPreviews => "Has clients fetch the previews of links anew.",
        _ => "",
    }
}

fn feishu_max(kind: Kind) -> usize {
    if kind == Kind::MergeForward { 100 } else { 10 }
}

fn named(said: &str, prefix: &str) -> Value {
    id(said, &format!("^({prefix}.{{1,100}}|job_[0-9a-f]{{32}})$"))
}

fn list(item: Value, least: usize, most: usize, said: &str) -> Value {
    json!({"type": "array", "items": item, "minItems": least, "maxItems": most, "description": said})
}

fn with_receiver(object: Value) -> Map<String, Value> {
    let mut all = receiver(true);
    all.extend(fields(object));
    all
}

fn card() -> Map<String, Value> {
    fields(json!({
        "card": {"type": "object", "description": "Feishu's card."},
        "template": {"type": ["string", "object"], "description": "A card template: its id, or Feishu's object."},
        "msg_type": {"type": "string", "const": "interactive", "description": "May be left out."},
    }))
}

fn ephemeral() -> Map<String, Value> {
    let mut all = card();
    let chat = id("The group: `oc_…`.", "^oc_.{1,100}$");
    let user = |said: &str| json!({"type": "string", "minLength": 1, "maxLength": 200, "description": said});
    all.extend(fields(json!({
        "chat": chat, "chat_id": chat,
        "user": user("Who sees it: an open_id, a user_id or a mail address."),
        "open_id": user("Instead of `user`."),
        "user_id": user("Instead of `user`."),
        "email": user("Instead of `user`."),
    })));
    all
}

fn follow_up() -> Map<String, Value> {
    let words = json!({"type": "string", "minLength": 1, "maxLength": 200});
    let local = json!({"type": "object", "properties": {"content": words, "language": {"type": "string"}}, "required": ["content", "language"], "additionalProperties": false});
    let whole = json!({"type": "object", "properties": {"content": words, "i18n_contents": list(local, 0, 50, "In other languages.")}, "required": ["content"], "additionalProperties": false});
    let bubbles = list(
        json!({"oneOf": [words, whole]}),
        1,
        3,
        "What may be tapped.",
    );
    fields(json!({"bubbles": bubbles, "follow_ups": bubbles}))
}
