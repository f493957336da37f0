//! Reading messages back: one by id, or a chat's history. Source: endpoints.md 2.11, 2.13.

use serde_json::{Value, json};

use super::paging::Page;
use crate::call::{Call, Handled, success};
use crate::codes::Refusal;
use crate::seed::RecalledGet;
use crate::world::{Chat, IdKind, Message, World};

/// Content of a recalled message in a list. Source: messages.md 3.
const RECALLED_CONTENT: &str = "This message was recalled";
/// A start or end beyond this many seconds was meant in milliseconds: the year 5138.
const SECONDS_MAX: i64 = 99_999_999_999;

/// Answers one message as a list of one; a merged forward brings its parts along.
pub(crate) fn get(call: &mut Call<'_>) -> Handled {
    let cards = wants_cards(call)?;
    let kind = match call.asked("user_id_type") {
        None => IdKind::Open,
        Some(_) => call.user_id_type()?,
    };
    let message = call.message(call.param("message_id"))?;
    call.enter(&message.chat_id)?;
    if !message.deleted {
        let parts = match message.msg_type.as_str() {
            "merge_forward" => call.world.parts(&message.message_id),
            _ => Vec::new(),
        };
        let items: Vec<Value> = std::iter::once(message)
            .chain(parts)
            .map(|each| each.object(Some(content(each, cards))))
            .map(|object| by_kind(call.world, kind, object))
            .collect();
        return Ok(success(json!({ "items": items })));
    }
    match call.world.switches().recalled_get {
        RecalledGet::Marked => Ok(success(json!({ "items": [message.object(None)] }))),
        RecalledGet::Empty => Ok(success(json!({ "items": [] }))),
        RecalledGet::Recalled => Err(Refusal::code(230_011)),
        RecalledGet::Deleted => Err(Refusal::code(230_110)),
    }
}

/// Lists the messages of a chat or a thread.
pub(crate) fn list(call: &mut Call<'_>) -> Handled {
    let wanted = Wanted::read(call)?;
    let page = Page::read(call, 50, 20)?;
    let cards = wants_cards(call)?;
    let chat = wanted.chat(call)?;
    let items = wanted
        .messages(call.world, chat, page.after)
        .map(|(position, message)| (position, listed(message, cards)));
    Ok(success(page.cut(items)))
}

/// What a history call asks for.
struct Wanted {
    container_id: String,
    is_thread: bool,
    start_s: i64,
    end_s: i64,
    newest_first: bool,
}

impl Wanted {
    fn read(call: &Call<'_>) -> Result<Self, Refusal> {
        let kind = call.choice("container_id_type", &["chat", "thread"])?;
        let Some(container_id) = call.asked("container_id").map(str::to_owned) else {
            return Err(Refusal::field(
                "container_id",
                "",
                "container_id is required",
            ));
        };
        let start_s = seconds(call, "start_time")?.unwrap_or(0);
        let end_s = seconds(call, "end_time")?.unwrap_or(SECONDS_MAX);
        if end_s < start_s {
            return Err(Refusal::ext("end_time earlier than start_time"));
        }
        let newest_first = match call.asked("sort_type") {
            None | Some("ByCreateTimeAsc") => false,
            Some("ByCreateTimeDesc") => true,
            Some(_) => return Err(Refusal::ext("invalid sort_type")),
        };
        Ok(Self {
            container_id,
            is_thread: kind == "thread",
            start_s,
            end_s,
            newest_first,
        })
    }

    /// The chat to look into, which the bot must be in.
    fn chat<'a>(&self, call: &'a Call<'_>) -> Result<&'a Chat, Refusal> {
        if !self.is_thread {
            return match call.enter(&self.container_id) {
                Err(refusal) if refusal.code == 230_001 => {
                    Err(Refusal::ext("invalid container_id"))
                }
                other => other,
            };
        }
        let root = call.world.thread_root(&self.container_id);
        root.map_or_else(
            || Err(Refusal::ext("thread_id")),
            |root| match call.enter(&root.chat_id) {
                Err(refusal) if refusal.code == 230_002 => Err(Refusal::code(230_073)),
                other => other,
            },
        )
    }

    /// The messages that fit, each with its position, from behind `after` on.
    fn messages<'a>(
        &'a self,
        world: &'a World,
        chat: &'a Chat,
        after: Option<u64>,
    ) -> Box<dyn Iterator<Item = (u64, &'a Message)> + 'a> {
        let all = (1..).zip(&chat.messages);
        let length = u64::try_from(chat.messages.len()).unwrap_or(u64::MAX);
        let ordered: Box<dyn Iterator<Item = (u64, &String)>> = if self.newest_first {
            let before = after.unwrap_or(length + 1);
            let newest_first = (1..=length).rev().zip(chat.messages.iter().rev());
            Box::new(newest_first.skip_while(move |(position, _)| *position >= before))
        } else {
            Box::new(all.skip(usize::try_from(after.unwrap_or(0)).unwrap_or(usize::MAX)))
        };
        Box::new(
            ordered
                .filter_map(|(position, id)| world.messages.get(id).map(|each| (position, each)))
                .filter(|(_, message)| self.fits(message)),
        )
    }

    fn fits(&self, message: &Message) -> bool {
        let in_thread = message.thread_id.as_deref() == Some(self.container_id.as_str());
        let is_root_or_plain = !message.is_inside_thread();
        let in_time = (self.start_s..=self.end_s).contains(&message.create_ms.div_euclid(1_000));
        if self.is_thread {
            in_thread
        } else {
            is_root_or_plain && in_time
        }
    }
}

/// The message with its sender, if that is a person, under an id of `kind`.
fn by_kind(world: &World, kind: IdKind, mut object: Value) -> Value {
    let sender = &mut object["sender"];
    if kind != IdKind::Open && sender["sender_type"] == "user" {
        let open_id = sender["id"].as_str().unwrap_or_default();
        if let Some(user) = world.people.find(IdKind::Open, open_id) {
            sender["id"] = json!(kind.of(user));
            sender["id_type"] = json!(if kind == IdKind::Union {
                "union_id"
            } else {
                "user_id"
            });
        }
    }
    object
}

fn listed(message: &Message, cards: bool) -> Value {
    let content = if message.deleted {
        RECALLED_CONTENT
    } else {
        content(message, cards)
    };
    message.object(Some(content))
}

/// Content as it is given back: a card either simplified or as it was sent.
fn content(message: &Message, cards: bool) -> &str {
    if cards && message.msg_type == "interactive" {
        &message.sent
    } else {
        &message.shown
    }
}

fn wants_cards(call: &Call<'_>) -> Result<bool, Refusal> {
    match call.asked("card_msg_content_type") {
        None => Ok(false),
        Some("user_card_content") => Ok(true),
        Some(_) => Err(Refusal::ext("invalid card_msg_content_type")),
    }
}

fn seconds(call: &Call<'_>, name: &str) -> Result<Option<i64>, Refusal> {
    let invalid = || Refusal::ext(&format!("{name} invalid"));
    let in_range = |seconds: &i64| (0..=SECONDS_MAX).contains(seconds);
    call.asked(name)
        .map(|text| {
            text.parse::<i64>()
                .ok()
                .filter(in_range)
                .ok_or_else(invalid)
        })
        .transpose()
}
