//! The page: the chats as a person would see them, brought up to date every second.
//!
//! One document without anything from outside; its style and its script are allowed by their
//! hashes and nothing else is. Foreign text reaches it only through `escape`.

mod card;
mod content;
mod room;

use std::fmt::Write as _;
use std::sync::LazyLock;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use sha2::{Digest, Sha256};

use crate::answer::Answer;
use crate::call::{Arrived, parse_query};
use crate::clock::time_of_day;
use crate::shared::Shared;
use crate::world::{Batch, Chat, Sender, World};

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// Messages and batches shown: the newest ones.
const SHOWN_MAX: usize = 200;
/// Names written out before "and … more".
const NAMES_MAX: usize = 8;
/// The `chat` that stands for the list of batches.
const BATCHES: &str = "batches";

static POLICY: LazyLock<String> = LazyLock::new(|| {
    let hash = |text: &str| STANDARD.encode(Sha256::digest(text.as_bytes()));
    format!(
        "default-src 'none'; img-src 'self'; connect-src 'self'; style-src 'sha256-{}'; \
         script-src 'sha256-{}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        hash(STYLE),
        hash(SCRIPT),
    )
});

/// The whole document.
pub(super) fn page(shared: &Shared, arrived: &Arrived) -> Answer {
    let inside = inside(shared, arrived);
    html(format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <title>Feishu sandbox</title><style>{STYLE}</style></head>\
         <body><div id=\"inside\">{inside}</div><script>{SCRIPT}</script></body></html>"
    ))
}

/// What changes of it; the script fetches this.
pub(super) fn part(shared: &Shared, arrived: &Arrived) -> Answer {
    html(inside(shared, arrived))
}

fn html(text: String) -> Answer {
    Answer::of(200, "text/html; charset=utf-8", Bytes::from(text))
        .with("content-security-policy", POLICY.as_str())
        .with("x-content-type-options", "nosniff")
        .with("referrer-policy", "no-referrer")
        .with("cache-control", "no-store")
}

fn inside(shared: &Shared, arrived: &Arrived) -> String {
    let query = parse_query(&arrived.query);
    let world = shared.world();
    let newest = || world.messages.values().max_by_key(|message| message.seq);
    let chosen = query
        .get("chat")
        .cloned()
        .or_else(|| newest().map(|message| message.chat_id.clone()))
        .or_else(|| world.groups.first().cloned())
        .unwrap_or_default();
    let main = match world.chats.get(&chosen) {
        Some(chat) => room::draw(&world, chat),
        None if chosen == BATCHES => batches(&world),
        None => "<main><p class=\"empty\">There is no such chat.</p></main>".to_owned(),
    };
    format!("{}{main}", sidebar(&world, &chosen))
}

/// Makes text safe in HTML, between tags and in quoted attributes.
fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            other => safe.push(other),
        }
    }
    safe
}

fn sidebar(world: &World, chosen: &str) -> String {
    let groups = world.groups.iter().filter_map(|id| world.chats.get(id));
    let mut people: Vec<&Chat> = world
        .chats
        .values()
        .filter(|chat| !chat.is_group() && !chat.messages.is_empty())
        .collect();
    people.sort_unstable_by(|a, b| (&a.name, &a.chat_id).cmp(&(&b.name, &b.chat_id)));
    let mut side = String::from("<nav><h1>Feishu sandbox</h1><h2>Groups</h2>");
    for chat in groups {
        side.push_str(&link(
            &chat.chat_id,
            &chat.name,
            chat.messages.len(),
            chosen,
        ));
    }
    side.push_str("<h2>People</h2>");
    if people.is_empty() {
        side.push_str("<p class=\"hint\">Nobody was written to yet.</p>");
    }
    for chat in people {
        side.push_str(&link(
            &chat.chat_id,
            &chat.name,
            chat.messages.len(),
            chosen,
        ));
    }
    side.push_str("<h2>Batches</h2>");
    side.push_str(&link(BATCHES, "All batches", world.batches.len(), chosen));
    let _ = write!(
        side,
        "<p class=\"hint\">Clock {} UTC<br><a href=\"/_sandbox/ledger\">ledger</a> · \
         <a href=\"/_sandbox/world\">world</a> · <a href=\"/_sandbox/faults\">faults</a></p></nav>",
        time_of_day(world.now_ms())
    );
    side
}

fn link(id: &str, name: &str, count: usize, chosen: &str) -> String {
    let class = if id == chosen { "chat chosen" } else { "chat" };
    let count = if count == 0 {
        String::new()
    } else {
        format!("<b>{count}</b>")
    };
    let (id, name) = (escape(id), escape(name));
    format!("<a class=\"{class}\" href=\"/_sandbox/?chat={id}\"><span>{name}</span>{count}</a>")
}

/// The name a sender goes by.
fn sender<'a>(world: &'a World, sender: &'a Sender) -> std::borrow::Cow<'a, str> {
    match sender {
        Sender::App(app_id) => format!("Bot {app_id}").into(),
        Sender::User(open_id) => world.people.name(open_id).into(),
        Sender::Hook(name) => name.as_str().into(),
    }
}

fn names(world: &World, users: &[String]) -> String {
    let mut names: Vec<String> = users
        .iter()
        .take(NAMES_MAX)
        .map(|user| escape(world.people.name(user)))
        .collect();
    if users.len() > NAMES_MAX {
        names.push(format!("and {} more", users.len() - NAMES_MAX));
    }
    names.join(", ")
}

fn batches(world: &World) -> String {
    let mut main = String::from(
        "<main><header><h2>Batches</h2><p>Each reached everybody named, once</p></header><ol>",
    );
    let hidden = world.batches.len().saturating_sub(SHOWN_MAX);
    for batch in world.batches.values().skip(hidden) {
        main.push_str(&batch_row(world, batch));
    }
    if world.batches.is_empty() {
        main.push_str("<li class=\"note\">No batches yet</li>");
    }
    main.push_str("</ol></main>");
    main
}

fn batch_row(world: &World, batch: &Batch) -> String {
    let recalled = if batch.recalled.is_some() {
        "<span class=\"mark buzz\">was recalled</span>"
    } else {
        ""
    };
    format!(
        "<li class=\"bot\"><span class=\"face\">B</span><div><p class=\"who\">Bot {} \
         <time>{}</time></p><div class=\"bubble {}\">{}</div><p class=\"marks\">\
         <span class=\"mark\">to {} people: {}</span><span class=\"mark\">✓ read by {}</span>\
         {recalled}</p><p class=\"id\">{}</p></div></li>",
        escape(&batch.app_id),
        time_of_day(batch.at_ms),
        escape(&batch.msg_type),
        content::batch_body(world, batch),
        batch.users.len(),
        names(world, &batch.users),
        batch.reads.len(),
        escape(&batch.batch_message_id),
    )
}

#[cfg(test)]
mod tests {
    use super::escape;

    #[test]
    fn foreign_text_can_not_leave_its_place() {
        let foreign = "<script>'a' & \"b\"</script>";
        let safe = escape(foreign);
        assert!(!safe.contains(['<', '>', '"', '\'']), "{safe}");
        assert!(safe.contains("&lt;script&gt;"));
    }
}
