//! Answering a message, beside it or in its thread. Source: endpoints.md 2.3.

use serde_json::{Map, Value};

use super::new_id;
use super::send::{Draft, Outgoing, deliver};
use crate::call::{Call, Handled, success};
use crate::codes::Refusal;
use crate::seed::Mode;
use crate::world::{Message, Spot};

/// Answers a message; one that is in a thread is always answered there.
pub(crate) fn reply(call: &mut Call<'_>) -> Handled {
    let body = call.json()?;
    let draft = Draft::read(&body)?;
    let in_thread = wants_thread(&body)?;
    let parent = call.message(call.param("message_id"))?;
    let chat = call.enter(&parent.chat_id)?;
    check_parent(parent)?;
    if in_thread && chat.mode == Mode::NoThreads {
        return Err(Refusal::code(230_071));
    }
    if draft.msg_type == "system" {
        return Err(Refusal::ext("invalid msg_type"));
    }
    let (parent_id, chat_id) = (parent.message_id.clone(), parent.chat_id.clone());
    let (spot, opens) = spot(parent, in_thread);
    draft.check_size(call)?;
    let shown = draft.check_content(call, &chat_id)?;
    call.take_chat_window(&chat_id)?;
    let thread_id = spot.thread_id.clone();
    let out = Outgoing {
        spot,
        ..Outgoing::of(&draft, &chat_id, shown)
    };
    let sent = deliver(call, out)?;
    if opens && !sent.repeated {
        call.world.change_message(&parent_id, |parent| {
            parent.thread_id = thread_id;
            parent.heads_thread = parent.root_id.is_some();
        });
    }
    Ok(success(sent.object))
}

fn wants_thread(body: &Map<String, Value>) -> Result<bool, Refusal> {
    match body.get("reply_in_thread") {
        None | Some(Value::Null) => Ok(false),
        Some(Value::Bool(in_thread)) => Ok(*in_thread),
        Some(other) => Err(Refusal::field(
            "reply_in_thread",
            &other.to_string(),
            "reply_in_thread is true or false",
        )),
    }
}

fn check_parent(parent: &Message) -> Result<(), Refusal> {
    if parent.deleted {
        return Err(Refusal::code(230_011));
    }
    if parent.msg_type == "system" {
        return Err(Refusal::code(230_054));
    }
    if parent.upper_message_id.is_some() {
        return Err(Refusal::code(230_072));
    }
    Ok(())
}

/// Where the answer stands, and whether it opens a thread under its parent.
fn spot(parent: &Message, in_thread: bool) -> (Spot, bool) {
    if !in_thread || parent.thread_id.is_some() {
        return (parent.answered(), false);
    }
    let root = Some(parent.message_id.clone());
    let spot = Spot {
        root_id: root.clone(),
        parent_id: root,
        thread_id: Some(new_id("omt_")),
    };
    (spot, true)
}
