//! The ladder of a card that may not go as a card: a post with its words, then a text with them.
//!
//! Promises: pure; the same card gives the same bytes; what comes out passes the checks of its type; nothing in a
//! card, whatever it looks like, mentions anybody or styles anything on a lower rung; what has no room or cannot be
//! said in words is counted in a last line.
//! Not here: when a rung is left (the caller's), under which uuid a rung is sent (the caller's, one for each).

mod words;

use serde_json::{Map, Value, json};

use super::{Content, Flaw, Flaws, card, check};
use crate::limits::{ENVELOPE_BYTES, RICH_BYTES_MAX, TEXT_BYTES_MAX};
use words::{Line, Words};

/// The rungs below the card.
pub const RUNGS: u8 = 2;
/// Room for the line that says what was left out.
const NOTE_BYTES: usize = 200;
/// Room for what is around the words of a line.
const NODE_BYTES: usize = 64;
/// Room for a title; it is one line for people.
const TITLE_BYTES: usize = 1_000;

/// A card that starts below its own rung, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lowered {
    /// For people; never content.
    pub why: String,
}

impl Content {
    /// Content from arguments that may go down the ladder: only a card can, and not a card entity, of which nothing
    /// is known here. A card that is right by itself but too large, or of elements that the platform no longer
    /// takes, is not refused: it starts on the first lower rung.
    ///
    /// # Errors
    /// What is wrong, each with its place.
    pub fn degradable(args: &Map<String, Value>) -> Result<Option<Lowered>, Vec<Flaw>> {
        let mut flaws = Flaws::default();
        let Some(built) = super::build(args, &mut flaws) else {
            return Err(flaws.0);
        };
        if built.content.msg_type != "interactive" {
            let says = "is no card; only a card degrades, to a post and then to a text";
            flaws.add(&built.chosen, says.to_owned());
        } else if built.value["type"] == "card" {
            let says = "is a card entity, of which nothing is known here; it cannot degrade";
            flaws.add(&built.chosen, says.to_owned());
        }
        let mut found = Flaws::default();
        let too_rich = card::too_rich(&built.value);
        if too_rich.is_none() {
            check::content("interactive", &built.value, "", &mut found);
        } else if let Some(object) = built.value.as_object() {
            card::check_but_elements(object, "", &mut found);
        }
        built.place.take(found, &mut flaws);
        if !flaws.0.is_empty() {
            return Err(flaws.0);
        }
        let bytes = built.content.request_bytes();
        let too_large = (bytes > RICH_BYTES_MAX).then(|| {
            format!("the card makes a request of {bytes} bytes; at most {RICH_BYTES_MAX} are taken")
        });
        Ok(too_large.or(too_rich).map(|why| Lowered { why }))
    }

    /// This card's words on a lower rung: 1 is a post, 2 a text. On rung 0, and of what is no card, it is itself.
    pub fn lowered(self, rung: u8) -> Content {
        if rung == 0 || self.msg_type != "interactive" {
            return self;
        }
        let card: Value = serde_json::from_str(&self.content).unwrap_or_default();
        let words = Words::of(&card);
        match rung {
            1 => post(&words),
            _ => text(&words),
        }
    }
}

fn post(words: &Words) -> Content {
    let title = cut(&words.title, TITLE_BYTES);
    let skeleton = json!({ "zh_cn": { "title": title, "content": [] } });
    let mut room = Room::new(RICH_BYTES_MAX, &skeleton);
    let mut paragraphs = Vec::new();
    for line in &words.lines {
        let whole = paragraph(line);
        if room.take(&whole) {
            paragraphs.push(whole);
            continue;
        }
        // The first line that does not fit is cut; what comes behind it is counted.
        let start = json!([{ "tag": "text", "text": cut(&line.text(), room.left.saturating_sub(NODE_BYTES)) }]);
        if room.take(&start) {
            paragraphs.push(start);
        }
        break;
    }
    let left_out = words.left_out(paragraphs.len());
    if left_out > 0 {
        paragraphs.push(json!([{ "tag": "text", "text": note(left_out) }]));
    }
    if paragraphs.is_empty() {
        paragraphs.push(json!([{ "tag": "text", "text": words.nothing() }]));
    }
    made(
        "post",
        &json!({ "zh_cn": { "title": title, "content": paragraphs } }),
    )
}

fn paragraph(line: &Line) -> Value {
    let nodes = line.spans.iter().map(|span| match &span.href {
        None => json!({ "tag": "text", "text": span.text }),
        Some(href) => json!({ "tag": "a", "text": span.text, "href": href }),
    });
    Value::Array(nodes.collect())
}

fn text(words: &Words) -> Content {
    let title = plain(&cut(&words.title, TITLE_BYTES));
    let mut room = Room::new(TEXT_BYTES_MAX, &json!({ "text": title }));
    let mut lines: Vec<String> = Vec::from_iter((!title.is_empty()).then_some(title));
    let mut shown = 0;
    for line in &words.lines {
        let whole = plain(&line.text());
        if room.take(&json!(whole)) {
            lines.push(whole);
            shown += 1;
            continue;
        }
        let start = cut(&plain(&line.text()), room.left.saturating_sub(NODE_BYTES));
        if room.take(&json!(start)) {
            lines.push(start);
            shown += 1;
        }
        break;
    }
    let left_out = words.left_out(shown);
    if left_out > 0 {
        lines.push(note(left_out));
    }
    let mut text = lines.join("\n");
    if text.trim().is_empty() {
        text = words.nothing().to_owned();
    }
    made("text", &json!({ "text": text }))
}

fn made(msg_type: &str, value: &Value) -> Content {
    Content {
        msg_type: msg_type.to_owned(),
        content: value.to_string(),
    }
}

fn note(left_out: usize) -> String {
    format!("… 卡片另有 {left_out} 处未显示 / {left_out} more of the card not shown")
}

/// Words for a text, which knows tags and links and no way to write them literally: without their first sign
/// they are none.
fn plain(text: &str) -> String {
    text.replace('<', "＜").replace("](", "] (")
}

/// The beginning of a text whose JSON, encoded twice, has at most `bytes`.
fn cut(text: &str, bytes: usize) -> String {
    if twice(&json!(text)) <= bytes {
        return text.to_owned();
    }
    let mut left = bytes.saturating_sub(twice(&json!("…")));
    let mut end = 0;
    for (at, sign) in text.char_indices() {
        let cost = sign_twice(sign);
        if cost > left {
            break;
        }
        left -= cost;
        end = at + sign.len_utf8();
    }
    format!("{}…", &text[..end])
}

/// Bytes of a sign of a string that is written as JSON in a JSON string.
fn sign_twice(sign: char) -> usize {
    match sign {
        '"' | '\\' => 4,
        '\n' | '\r' | '\t' | '\u{8}' | '\u{c}' => 3,
        _ if sign < ' ' => 7,
        _ => sign.len_utf8(),
    }
}

/// Bytes of a value that is written as JSON in a JSON string, its own quotes included.
fn twice(value: &Value) -> usize {
    json!(value.to_string()).to_string().len()
}

/// What is left of a request's bytes.
struct Room {
    left: usize,
}

impl Room {
    fn new(max: usize, skeleton: &Value) -> Room {
        let used = ENVELOPE_BYTES + NOTE_BYTES + twice(skeleton);
        Room {
            left: max.saturating_sub(used),
        }
    }

    fn take(&mut self, value: &Value) -> bool {
        // One sign to part it from the next, encoded twice.
        let cost = twice(value) + 2;
        let fits = cost <= self.left;
        if fits {
            self.left -= cost;
        }
        fits
    }
}

#[cfg(test)]
mod tests;
