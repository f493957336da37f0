//! A chat: its messages in order, threads under their roots, and what only some see.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;

use super::{SHOWN_MAX, content, escape, names, sender};
use crate::clock::time_of_day;
use crate::world::{Chat, Ephemeral, Message, Reaction, Sender, View, World};

/// Newest messages looked through for rows and for answers in threads.
const SCANNED_MAX: usize = 1_000;

pub(super) fn draw(world: &World, chat: &Chat) -> String {
    let mut main = format!(
        "<main><header><h2>{}</h2><p>{} · {} people</p>{}</header><ol>",
        escape(&chat.name),
        escape(&chat.chat_id),
        chat.members.len(),
        pins(world, chat),
    );
    let (rows, shown) = rows(world, chat);
    let hidden = chat.messages.len().saturating_sub(shown);
    if hidden > 0 {
        let _ = write!(
            main,
            "<li class=\"note\">{hidden} older messages are not shown</li>"
        );
    }
    if rows.is_empty() {
        main.push_str("<li class=\"note\">No messages yet</li>");
    }
    main.extend(rows.into_values());
    main.push_str("</ol></main>");
    main
}

/// The rows by their place, and how many messages stand in them.
fn rows(world: &World, chat: &Chat) -> (BTreeMap<u64, String>, usize) {
    let mut top: BTreeMap<u64, &Message> = BTreeMap::new();
    let mut threads: HashMap<&str, Vec<&Message>> = HashMap::new();
    let newest = chat.messages.iter().rev().take(SCANNED_MAX);
    for message in newest.filter_map(|id| world.messages.get(id)) {
        if top.len() >= SHOWN_MAX {
            break;
        }
        match &message.thread_id {
            Some(thread_id) if message.is_inside_thread() => {
                threads.entry(thread_id).or_default().push(message);
                let root = message.root_id.as_ref();
                let root = root.and_then(|id| world.messages.get(id));
                top.extend(root.map(|root| (root.seq, root)));
            }
            _ => {
                top.insert(message.seq, message);
            }
        }
    }
    let shown = top.len() + threads.values().map(Vec::len).sum::<usize>();
    let mut rows = BTreeMap::new();
    for (seq, message) in top {
        let thread = message.thread_id.as_deref();
        let answers = thread.and_then(|id| threads.remove(id)).unwrap_or_default();
        rows.insert(seq, row(world, message, &answers));
    }
    let whole = shown >= chat.messages.len();
    let oldest = rows.keys().next().copied().filter(|_| !whole).unwrap_or(0);
    let ephemerals = world.ephemerals.values().rev().take(SCANNED_MAX);
    for each in ephemerals.filter(|each| each.chat_id == chat.chat_id && each.seq >= oldest) {
        rows.insert(each.seq, ephemeral(world, each));
    }
    (rows, shown)
}

fn pins(world: &World, chat: &Chat) -> String {
    if chat.pins.is_empty() {
        return String::new();
    }
    let mut pins = String::from("<ul class=\"pins\">");
    for message in chat
        .pins
        .values()
        .rev()
        .filter_map(|id| world.messages.get(id))
        .take(5)
    {
        let _ = write!(pins, "<li>📌 {}</li>", escape(&content::summary(message)));
    }
    pins.push_str("</ul>");
    pins
}

/// A message with the answers in its thread, the newest first given.
fn row(world: &World, message: &Message, answers: &[&Message]) -> String {
    let name = sender(world, &message.sender);
    if message.msg_type == "system" {
        return format!(
            "<li class=\"note\">{}</li>",
            escape(&content::summary(message))
        );
    }
    let mut thread = String::new();
    if !answers.is_empty() {
        let answers: String = (answers.iter().rev())
            .map(|answer| row(world, answer, &[]))
            .collect();
        let _ = write!(thread, "<ol class=\"thread\">{answers}</ol>");
    }
    if message.deleted {
        let who = escape(&name);
        if !thread.is_empty() {
            thread = format!("<li class=\"bot\"><div>{thread}</div></li>");
        }
        return format!("<li class=\"note\">A message of {who} was recalled</li>{thread}");
    }
    let class = match message.sender {
        Sender::App(_) | Sender::Hook(_) => "bot",
        Sender::User(_) => "person",
    };
    let initial: String = name.chars().take(1).collect();
    format!(
        "<li class=\"{class}\"><span class=\"face\">{}</span><div><p class=\"who\">{} \
         <time>{}</time>{}</p>{}<div class=\"bubble {}\">{}</div>{}{}{}<p class=\"id\">{}</p>{thread}\
         </div></li>",
        escape(&initial),
        escape(&name),
        time_of_day(message.create_ms),
        changed(message),
        parent(world, message),
        escape(&message.msg_type),
        content::body(world, message),
        views(world, message),
        bubbles(message),
        marks(world, message),
        escape(&message.message_id),
    )
}

/// That its words are not those it was sent with.
fn changed(message: &Message) -> String {
    match (message.updated, message.msg_type.as_str()) {
        (false, _) => String::new(),
        (true, "interactive") => {
            let times = if message.changes == 1 {
                "time"
            } else {
                "times"
            };
            format!(" <i>updated {} {times}</i>", message.changes)
        }
        (true, _) => " <i>edited</i>".to_owned(),
    }
}

/// A card that one member sees; taken away it is a note.
fn ephemeral(world: &World, each: &Ephemeral) -> String {
    let who = escape(world.people.name(&each.user));
    if each.deleted {
        return format!("<li class=\"note\">A card that only {who} saw was taken away</li>");
    }
    format!(
        "<li class=\"bot only\"><span class=\"face\">B</span><div><p class=\"who\">Bot {} \
         <time>{}</time> <i>only {who} sees this</i></p><div class=\"bubble interactive\">{}</div>\
         <p class=\"id\">{}</p></div></li>",
        escape(&each.app_id),
        time_of_day(each.at_ms),
        content::card(world, &each.sent, &each.shown),
        escape(&each.message_id),
    )
}

/// What some see in place of the card.
fn views(world: &World, message: &Message) -> String {
    let view = |view: &View| {
        format!(
            "<div class=\"view\"><p class=\"who\">{} sees</p><div class=\"bubble interactive\">{}</div></div>",
            escape(world.people.name(&view.user)),
            content::card(world, &view.sent, &view.shown),
        )
    };
    message.views.iter().map(view).collect()
}

fn bubbles(message: &Message) -> String {
    if message.bubbles.is_empty() {
        return String::new();
    }
    let bubbles: String = (message.bubbles.iter())
        .map(|words| format!("<span class=\"button\">{}</span>", escape(words)))
        .collect();
    format!("<p class=\"bubbles\">{bubbles}</p>")
}

fn parent(world: &World, message: &Message) -> String {
    let parent = message.parent_id.as_ref();
    // Under its root an answer needs no quote.
    match parent.and_then(|id| world.messages.get(id)) {
        Some(parent) if !message.is_inside_thread() => {
            format!(
                "<p class=\"parent\">↪ {}</p>",
                escape(&content::summary(parent))
            )
        }
        _ => String::new(),
    }
}

/// Pin, buzzes, readers, reactions and drawn previews of a message.
fn marks(world: &World, message: &Message) -> String {
    let mut marks = String::new();
    if message.pin.is_some() {
        marks.push_str("<span class=\"mark pin\">📌 pinned</span>");
    }
    for buzz in &message.buzzes {
        let how = match buzz.kind.as_str() {
            "urgent_sms" => "📱 buzzed by SMS",
            "urgent_phone" => "📞 buzzed by phone",
            _ => "🔔 buzzed",
        };
        let who = names(world, &buzz.users);
        let _ = write!(marks, "<span class=\"mark buzz\">{how}: {who}</span>");
    }
    if !message.reads.is_empty() {
        let readers: Vec<String> = message.reads.iter().map(|read| read.user.clone()).collect();
        let _ = write!(
            marks,
            "<span class=\"mark\">✓ read by {}</span>",
            names(world, &readers)
        );
    }
    marks.push_str(&reactions(world, &message.reactions));
    let drawn = world.previews.values();
    let drawn: u32 = drawn
        .filter(|preview| preview.message_id == message.message_id)
        .map(|preview| preview.updates)
        .sum();
    if drawn > 0 {
        let _ = write!(
            marks,
            "<span class=\"mark\">🔗 preview drawn again: {drawn}</span>"
        );
    }
    if marks.is_empty() {
        marks
    } else {
        format!("<p class=\"marks\">{marks}</p>")
    }
}

/// One mark an emoji, with everybody behind it.
fn reactions(world: &World, reactions: &[Reaction]) -> String {
    let mut by_emoji: Vec<(&str, Vec<String>)> = Vec::new();
    for reaction in reactions {
        let name = escape(&sender(world, &reaction.by));
        match by_emoji
            .iter_mut()
            .find(|(emoji, _)| *emoji == reaction.emoji)
        {
            Some((_, names)) => names.push(name),
            None => by_emoji.push((&reaction.emoji, vec![name])),
        }
    }
    by_emoji
        .into_iter()
        .map(|(emoji, names)| {
            let emoji = escape(emoji);
            format!("<span class=\"mark\">{emoji} {}</span>", names.join(", "))
        })
        .collect()
}
