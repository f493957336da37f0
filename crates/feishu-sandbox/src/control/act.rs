//! What people do: read, react, reply, recall, click, write.
//!
//! An act is a person's, so it leaves no effect in the ledger; the endpoints show it (readers,
//! progress, history). An unknown id is a 4xx that names the field.

use serde::Deserialize;
use serde_json::{Value, json};

use crate::answer::Answer;
use crate::call::Arrived;
use crate::endpoints::new_id;
use crate::shared::Shared;
use crate::world::{Click, Message, Reaction, Sender, Touched, World};

/// An act as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Act {
    #[serde(rename = "do")]
    what: What,
    #[serde(default)]
    user: String,
    #[serde(default)]
    message: String,
    #[serde(default)]
    emoji: String,
    #[serde(default)]
    text: String,
    #[serde(default)]
    value: Value,
    #[serde(default)]
    chat: String,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum What {
    Read,
    React,
    Reply,
    Recall,
    Click,
    Write,
}

/// Why an act can not be: the field and what is wrong with it.
struct Impossible(&'static str, String);

/// Does what the body says.
pub(super) fn handle(shared: &Shared, arrived: &Arrived) -> Answer {
    let body = match super::body(arrived) {
        Ok(body) => body,
        Err(answer) => return answer,
    };
    let act: Act = match serde_json::from_value(body) {
        Ok(act) => act,
        Err(error) => return Answer::problem(422, "bad act", "", &error.to_string()),
    };
    let mut world = shared.world();
    let done = perform(&mut world, act);
    shared.journal(&mut world);
    match done {
        Ok(answer) => Answer::json(200, &answer),
        Err(Impossible(field, says)) => {
            Answer::problem(422, "impossible act", &format!("/{field}"), &says)
        }
    }
}

fn perform(world: &mut World, mut act: Act) -> Result<Value, Impossible> {
    let user = world
        .people
        .guess(&act.user)
        .map(|user| user.open_id.clone());
    act.user = user.ok_or_else(|| Impossible("user", format!("no user {:?}", act.user)))?;
    match act.what {
        What::Read if act.message.starts_with("bm-") => read_batch(world, &act),
        What::Write => write(world, act),
        _ => {
            standing(world, &act)?;
            on_message(world, act)
        }
    }
}

/// The message must stand in a chat the person is in.
fn standing<'a>(world: &'a World, act: &Act) -> Result<&'a Message, Impossible> {
    let message = world
        .messages
        .get(&act.message)
        .ok_or_else(|| Impossible("message", format!("no message {:?}", act.message)))?;
    let chat = world.chats.get(&message.chat_id);
    if !chat.is_some_and(|chat| chat.has_member(&act.user)) {
        return Err(Impossible(
            "user",
            format!("{} is not in the message's chat", act.user),
        ));
    }
    if message.deleted {
        return Err(Impossible(
            "message",
            format!("{} was recalled", act.message),
        ));
    }
    Ok(message)
}

fn on_message(world: &mut World, act: Act) -> Result<Value, Impossible> {
    let now_ms = world.now_ms();
    match act.what {
        What::Read => {
            world.read_message(&act.message, &act.user);
            Ok(json!({}))
        }
        What::React => {
            if act.emoji.is_empty() {
                return Err(Impossible("emoji", "emoji is required".to_owned()));
            }
            let reaction_id = new_id("");
            let by = Sender::User(act.user);
            let reaction = Reaction {
                reaction_id: reaction_id.clone(),
                by,
                emoji: act.emoji,
                at_ms: now_ms,
            };
            world.change_message(&act.message, |message| message.reactions.push(reaction));
            Ok(json!({ "reaction_id": reaction_id }))
        }
        What::Recall => {
            world.delete_message(&act.message);
            Ok(json!({}))
        }
        What::Click => {
            let token = new_id("c-");
            let Act {
                message,
                user,
                value,
                ..
            } = act;
            let click = Click {
                token: token.clone(),
                at_ms: now_ms,
                message_id: message,
                user,
                value,
            };
            world.clicks.insert(token.clone(), click);
            world.touch(Touched::Click(token.clone()));
            Ok(json!({ "token": token }))
        }
        What::Reply | What::Write => reply(world, act),
    }
}

fn reply(world: &mut World, act: Act) -> Result<Value, Impossible> {
    let parent = standing(world, &act)?;
    let root_id = parent
        .root_id
        .clone()
        .unwrap_or_else(|| parent.message_id.clone());
    let parent_id = parent.message_id.clone();
    let (chat_id, thread_id) = (parent.chat_id.clone(), parent.thread_id.clone());
    let mut message = spoken(world, act.user, chat_id, &act.text)?;
    message.root_id = Some(root_id);
    message.parent_id = Some(parent_id);
    message.thread_id = thread_id;
    Ok(put(world, message))
}

fn write(world: &mut World, act: Act) -> Result<Value, Impossible> {
    let chat = world.chats.get(&act.chat);
    if !chat.is_some_and(|chat| chat.has_member(&act.user)) {
        let says = format!("{:?} is no chat that {} is in", act.chat, act.user);
        return Err(Impossible("chat", says));
    }
    let message = spoken(world, act.user, act.chat, &act.text)?;
    Ok(put(world, message))
}

/// A text by a person.
fn spoken(
    world: &mut World,
    user: String,
    chat_id: String,
    text: &str,
) -> Result<Message, Impossible> {
    if text.is_empty() {
        return Err(Impossible("text", "text is required".to_owned()));
    }
    let now_ms = world.now_ms();
    let content = json!({ "text": text }).to_string();
    let seq = world.next_seq();
    Ok(Message::new(
        seq,
        chat_id,
        Sender::User(user),
        "text",
        content.clone(),
        content,
        now_ms,
    ))
}

fn put(world: &mut World, message: Message) -> Value {
    let answer = json!({ "message_id": message.message_id, "chat_id": message.chat_id });
    world.put_message(message);
    answer
}

fn read_batch(world: &mut World, act: &Act) -> Result<Value, Impossible> {
    let now_ms = world.now_ms();
    let batch = world
        .batches
        .get_mut(&act.message)
        .ok_or_else(|| Impossible("message", format!("no batch {:?}", act.message)))?;
    if !batch.read_by(&act.user, now_ms) {
        return Err(Impossible(
            "user",
            format!("the batch did not reach {}", act.user),
        ));
    }
    world.touch(Touched::Batch(act.message.clone()));
    Ok(json!({}))
}
