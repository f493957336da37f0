//! Content as a person would see it: words, posts, cards, images.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::{card, escape, sender};
use crate::world::{Batch, Mention, Message, World};

/// Characters of a message shown where only a line fits.
const SUMMARY_CHARS: usize = 60;

/// The body of a message.
pub(super) fn body(world: &World, message: &Message) -> String {
    let shown: Value = serde_json::from_str(&message.shown).unwrap_or(Value::Null);
    let sent: Value = serde_json::from_str(&message.sent).unwrap_or(Value::Null);
    let view = View {
        world,
        mentions: &message.mentions,
    };
    match message.msg_type.as_str() {
        "merge_forward" => view.merged(message),
        msg_type => view.any(msg_type, &shown, &sent),
    }
}

/// A card by itself, as it was sent and as it is given back.
pub(super) fn card(world: &World, sent: &str, shown: &str) -> String {
    let view = View {
        world,
        mentions: &[],
    };
    let value = |text| serde_json::from_str(text).unwrap_or(Value::Null);
    view.card(&value(shown), &value(sent))
}

/// The body of a batch, whose content differs a little.
pub(super) fn batch_body(world: &World, batch: &Batch) -> String {
    let view = View {
        world,
        mentions: &[],
    };
    let content = match batch.msg_type.as_str() {
        "post" => {
            let languages = batch.content.get("post").and_then(Value::as_object);
            let zh = languages.and_then(|all| all.get("zh_cn"));
            zh.or_else(|| languages.and_then(|all| all.values().next()))
                .cloned()
        }
        "share_chat" => batch
            .content
            .get("share_chat_id")
            .map(|id| json!({ "chat_id": id })),
        "interactive" => Some(plain_card(&batch.content)),
        _ => Some(batch.content.clone()),
    };
    view.any(
        &batch.msg_type,
        &content.unwrap_or(Value::Null),
        &batch.content,
    )
}

/// One line about a message.
pub(super) fn summary(message: &Message) -> String {
    if message.deleted {
        return "a recalled message".to_owned();
    }
    let shown: Value = serde_json::from_str(&message.shown).unwrap_or(Value::Null);
    let words = match message.msg_type.as_str() {
        "text" => named(text(&shown, "text"), &message.mentions),
        "post" | "interactive" if !text(&shown, "title").is_empty() => {
            text(&shown, "title").to_owned()
        }
        "post" | "interactive" => first_text(&shown).unwrap_or_default().to_owned(),
        "system" => text(&shown["divider_text"], "text").to_owned(),
        "merge_forward" => "forwarded messages".to_owned(),
        "file" => format!("[file] {}", text(&shown, "file_name")),
        other => format!("[{other}]"),
    };
    let mut line: String = words.chars().take(SUMMARY_CHARS).collect();
    if line.len() < words.len() {
        line.push('…');
    }
    line
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value.get(field).and_then(Value::as_str).unwrap_or_default()
}

/// The first words in a post or a card.
fn first_text(value: &Value) -> Option<&str> {
    match value {
        Value::Array(list) => list.iter().find_map(first_text),
        Value::Object(object) => match object.get("text") {
            Some(Value::String(words)) => Some(words),
            _ => object.values().find_map(first_text),
        },
        _ => None,
    }
}

/// Puts names for `@_user_N`, the longer keys first so that 1 does not eat 12.
fn named(words: &str, mentions: &[Mention]) -> String {
    let mut words = words.replace("@_all", "@everybody");
    for mention in mentions.iter().rev() {
        words = words.replace(&mention.key, &format!("@{}", mention.name));
    }
    words
}

/// A card as title and texts, from whatever form it was sent in.
fn plain_card(card: &Value) -> Value {
    let elements = card
        .pointer("/body/elements")
        .or_else(|| card.get("elements"));
    let mut lines = Vec::new();
    collect_contents(elements.unwrap_or(card), &mut lines);
    let lines: Vec<Value> = lines
        .into_iter()
        .map(|words| json!([{ "tag": "text", "text": words }]))
        .collect();
    let title = card
        .pointer("/header/title/content")
        .cloned()
        .unwrap_or_default();
    json!({ "title": title, "elements": lines })
}

fn collect_contents<'a>(value: &'a Value, lines: &mut Vec<&'a str>) {
    match value {
        Value::Array(list) => list.iter().for_each(|each| collect_contents(each, lines)),
        Value::Object(object) => {
            lines.extend(object.get("content").and_then(Value::as_str));
            object
                .values()
                .for_each(|each| collect_contents(each, lines));
        }
        _ => {}
    }
}

/// What is needed to draw a content.
struct View<'a> {
    world: &'a World,
    mentions: &'a [Mention],
}

impl View<'_> {
    fn any(&self, msg_type: &str, shown: &Value, sent: &Value) -> String {
        match msg_type {
            "text" => self.words(text(shown, "text")),
            "post" => self.titled(shown, "content"),
            "interactive" => self.card(shown, sent),
            "image" => self.image(text(shown, "image_key")),
            "share_chat" => {
                let id = text(shown, "chat_id");
                let name = self
                    .world
                    .chats
                    .get(id)
                    .map_or(id, |chat| chat.name.as_str());
                format!("<p>Group card: <b>{}</b></p>", escape(name))
            }
            "share_user" => {
                let name = self.world.people.name(text(shown, "user_id"));
                format!("<p>Contact card: <b>{}</b></p>", escape(name))
            }
            "file" | "audio" | "media" | "sticker" => self.file(msg_type, shown),
            other => format!("<p>[{}] {}</p>", escape(other), escape(&shown.to_string())),
        }
    }

    fn words(&self, words: &str) -> String {
        format!(
            "<p>{}</p>",
            escape(&named(words, self.mentions)).replace('\n', "<br>")
        )
    }

    fn image(&self, key: &str) -> String {
        match self.world.uploads.get(key) {
            Some(_) => format!("<img src=\"/_sandbox/image/{0}\" alt=\"{0}\">", escape(key)),
            None => format!("<p>[image {}]</p>", escape(key)),
        }
    }

    /// The parts of a merged forward, a line each.
    fn merged(&self, message: &Message) -> String {
        let mut html = String::from("<h3>Forwarded messages</h3>");
        for part in self.world.parts(&message.message_id) {
            let _ = write!(
                html,
                "<div class=\"line\"><b>{}</b>: {}</div>",
                escape(&sender(self.world, &part.sender)),
                escape(&summary(part))
            );
        }
        html
    }

    fn file(&self, msg_type: &str, shown: &Value) -> String {
        let upload = self.world.uploads.get(text(shown, "file_key"));
        let size = upload.map_or(0, |upload| upload.bytes.bytes());
        let seconds = shown["duration"].as_u64().unwrap_or(0) / 1_000;
        let name = escape(text(shown, "file_name"));
        match msg_type {
            "file" => format!("<p>📄 <b>{name}</b> · {size} bytes</p>"),
            "audio" => format!("<p>🎤 {seconds} s</p>"),
            "media" => format!("<p>🎬 <b>{name}</b> · {seconds} s · {size} bytes</p>"),
            _ => "<p>[sticker]</p>".to_owned(),
        }
    }

    fn card(&self, shown: &Value, sent: &Value) -> String {
        const COLOURS: [&str; 12] = [
            "blue",
            "wathet",
            "turquoise",
            "green",
            "yellow",
            "orange",
            "red",
            "carmine",
            "violet",
            "purple",
            "indigo",
            "grey",
        ];
        let template = sent
            .pointer("/header/template")
            .and_then(Value::as_str)
            .unwrap_or_default();
        let colour = COLOURS
            .iter()
            .find(|colour| **colour == template)
            .unwrap_or(&"blue");
        let title = text(shown, "title");
        let body = match card::elements(self.world, sent) {
            Some(elements) if title.is_empty() => elements,
            Some(elements) => format!("<h3>{}</h3>{elements}", escape(title)),
            None => self.titled(shown, "elements"),
        };
        format!("<div class=\"card {colour}\">{body}</div>")
    }

    /// A title and paragraphs of nodes.
    fn titled(&self, shown: &Value, field: &str) -> String {
        let mut html = String::new();
        let title = text(shown, "title");
        if !title.is_empty() {
            let _ = write!(html, "<h3>{}</h3>", escape(title));
        }
        for paragraph in shown
            .get(field)
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
        {
            let nodes = paragraph.as_array().map(Vec::as_slice).unwrap_or_default();
            let inside: String = nodes.iter().map(|node| self.node(node)).collect();
            let _ = write!(html, "<div class=\"line\">{inside}</div>");
        }
        html
    }

    fn node(&self, node: &Value) -> String {
        let words = escape(&named(text(node, "text"), self.mentions)).replace('\n', "<br>");
        match text(node, "tag") {
            "a" => link(text(node, "href"), &words),
            "at" => {
                let key = text(node, "user_id");
                let who = match text(node, "user_name") {
                    "" => named(key, self.mentions),
                    name => format!("@{name}"),
                };
                format!("<b class=\"at\">{}</b>", escape(&who))
            }
            "img" => self.image(text(node, "image_key")),
            "hr" => "<hr>".to_owned(),
            "emotion" => format!("[{}]", escape(text(node, "emoji_type"))),
            "code_block" => format!("<pre>{}</pre>", escape(text(node, "text"))),
            "button" => format!("<span class=\"button\">{words}</span>"),
            _ => styled(node, words),
        }
    }
}

/// A link that only ever leads to the web.
pub(super) fn link(href: &str, words: &str) -> String {
    if href.starts_with("https://") || href.starts_with("http://") {
        format!(
            "<a href=\"{}\" rel=\"noreferrer noopener\">{words}</a>",
            escape(href)
        )
    } else {
        words.to_owned()
    }
}

fn styled(node: &Value, words: String) -> String {
    let styles = node
        .get("style")
        .and_then(Value::as_array)
        .into_iter()
        .flatten();
    styles
        .filter_map(Value::as_str)
        .fold(words, |words, style| match style {
            "bold" => format!("<b>{words}</b>"),
            "italic" => format!("<i>{words}</i>"),
            "underline" => format!("<u>{words}</u>"),
            "lineThrough" => format!("<s>{words}</s>"),
            _ => words,
        })
}
