//! What people do: read, react, reply, recall, click, write, and look at a link's preview.
//!
//! An act is a person's, so it leaves no effect in the ledger; the endpoints show it (readers,
//! progress, history). An unknown id is a 4xx that names the field.
//!
//! `preview` answers the token that the preview's callback would carry. `write` and `reply` bring
//! a file with `"value": {"msg_type": "image"|"file"|"audio"|"media"|"sticker", "file_name",
//! "size", "duration"}` in the place of `text`; its bytes are made up.

use serde::Deserialize;
use serde_json::{Value, json};

use crate::answer::Answer;
use crate::call::Arrived;
use crate::content;
use crate::endpoints::new_id;
use crate::shared::Shared;
use crate::stored::Stored;
use crate::world::{Click, Message, Preview, Reaction, Sender, Touched, Upload, World};

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
    Preview,
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
                uses: 0,
            };
            world.clicks.insert(token.clone(), click);
            world.touch(Touched::Click(token.clone()));
            Ok(json!({ "token": token }))
        }
        What::Preview => {
            let preview = Preview {
                token: new_id("preview_"),
                message_id: act.message,
                user: act.user,
                updates: 0,
            };
            let answer = json!({ "token": preview.token });
            world.touch(Touched::Preview(preview.token.clone()));
            world.previews.insert(preview.token.clone(), preview);
            Ok(answer)
        }
        What::Reply | What::Write => reply(world, act),
    }
}

fn reply(world: &mut World, act: Act) -> Result<Value, Impossible> {
    let parent = standing(world, &act)?;
    let (chat_id, spot) = (parent.chat_id.clone(), parent.answered());
    let mut message = spoken(world, act, chat_id)?;
    message.stand(spot);
    Ok(put(world, message))
}

fn write(world: &mut World, act: Act) -> Result<Value, Impossible> {
    let chat = world.chats.get(&act.chat);
    if !chat.is_some_and(|chat| chat.has_member(&act.user)) {
        let says = format!("{:?} is no chat that {} is in", act.chat, act.user);
        return Err(Impossible("chat", says));
    }
    let chat_id = act.chat.clone();
    let message = spoken(world, act, chat_id)?;
    Ok(put(world, message))
}

/// A text by a person, or the file that `value` describes.
fn spoken(world: &mut World, act: Act, chat_id: String) -> Result<Message, Impossible> {
    let (msg_type, content) = match &act.value {
        Value::Null if act.text.is_empty() => {
            return Err(Impossible("text", "text is required".to_owned()));
        }
        Value::Null => ("text".to_owned(), json!({ "text": act.text })),
        file => brought(world, file)?,
    };
    let now_ms = world.now_ms();
    let seq = world.next_seq();
    Ok(Message::new(
        seq,
        chat_id,
        Sender::User(act.user),
        &msg_type,
        content.to_string(),
        content.to_string(),
        now_ms,
    ))
}

/// A file as an act describes it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Brought {
    /// `image`, `file`, `audio`, `media`, `sticker`.
    msg_type: String,
    #[serde(default)]
    file_name: String,
    /// Bytes of it, which are made up.
    #[serde(default)]
    size: u64,
    #[serde(default)]
    duration: Option<u64>,
}

/// Makes a file up and answers type and content of the message that brings it.
fn brought(world: &mut World, file: &Value) -> Result<(String, Value), Impossible> {
    let file: Brought = serde_json::from_value(file.clone())
        .map_err(|error| Impossible("value", error.to_string()))?;
    let (prefix, content_type) = match file.msg_type.as_str() {
        "image" => ("img_v3_", "image/png"),
        "file" | "audio" | "media" | "sticker" => ("file_v3_", "application/octet-stream"),
        other => return Err(Impossible("value", format!("nobody can bring a {other:?}"))),
    };
    let upload = Upload {
        key: new_id(prefix),
        app_id: String::new(),
        kind: file.msg_type.clone(),
        content_type: content_type.to_owned(),
        name: file.file_name,
        duration_ms: file.duration,
        at_ms: world.now_ms(),
        bytes: Stored::Made(file.size),
    };
    let content = match file.msg_type.as_str() {
        "image" => json!({ "image_key": upload.key }),
        msg_type => content::received(msg_type, &upload, None),
    };
    world.touch(Touched::Upload(upload.key.clone()));
    world.uploads.insert(upload.key.clone(), upload);
    Ok((file.msg_type, content))
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
