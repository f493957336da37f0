//! A card as a person would see it, drawn from what was sent: its elements in order, markdown with bold words, links
//! and names for mentions. What is not known here shows its words.
//!
//! Source: messages.md 4.

use serde_json::{Map, Value};

use super::content::link;
use super::escape;
use crate::world::World;

/// The elements of a card; `None`: it has none of its own, as a template.
pub(super) fn elements(world: &World, card: &Value) -> Option<String> {
    let list = card
        .pointer("/body/elements")
        .or_else(|| card.get("elements"))?
        .as_array()?;
    Some(list.iter().map(|each| element(world, each)).collect())
}

fn element(world: &World, value: &Value) -> String {
    let Some(object) = value.as_object() else {
        return String::new();
    };
    let text = |name: &str| object.get(name).and_then(Value::as_str).unwrap_or_default();
    match text("tag") {
        "hr" => "<hr>".to_owned(),
        "markdown" | "lark_md" => line(&markdown(world, text("content")), ""),
        "plain_text" => {
            let size = if text("text_size") == "notation" {
                " small"
            } else {
                ""
            };
            line(&escape(text("content")).replace('\n', "<br>"), size)
        }
        "button" => button(object),
        "img" => image(world, text("img_key")),
        "column_set" | "action" => format!("<div class=\"row\">{}</div>", inside(world, object)),
        _ => inside(world, object),
    }
}

/// What is in an element, in the order in which it is read.
fn inside(world: &World, object: &Map<String, Value>) -> String {
    let parts = [
        "header", "title", "text", "fields", "columns", "elements", "actions", "extra",
    ];
    let mut html = String::new();
    for value in parts.iter().filter_map(|name| object.get(*name)) {
        match value {
            Value::Array(list) => html.extend(list.iter().map(|each| element(world, each))),
            one => html.push_str(&element(world, one)),
        }
    }
    html
}

fn line(html: &str, class: &str) -> String {
    format!("<div class=\"line{class}\">{html}</div>")
}

fn button(object: &Map<String, Value>) -> String {
    let label = object
        .get("text")
        .and_then(|text| text.get("content"))
        .and_then(Value::as_str);
    let opens = object.get("behaviors").and_then(Value::as_array);
    let opens = opens
        .into_iter()
        .flatten()
        .filter_map(|each| each.get("default_url"));
    let href = object.get("url").into_iter().chain(opens);
    let href = href.filter_map(Value::as_str).next().unwrap_or_default();
    let label = link(href, &escape(label.unwrap_or_default()));
    format!("<span class=\"button\">{label}</span>")
}

fn image(world: &World, key: &str) -> String {
    match world.uploads.get(key) {
        Some(_) => format!("<img src=\"/_sandbox/image/{0}\" alt=\"{0}\">", escape(key)),
        None => format!("<p>[image {}]</p>", escape(key)),
    }
}

/// Markdown of cards: mentions, links and bold words; the rest is shown as it stands.
fn markdown(world: &World, text: &str) -> String {
    let mut html = String::new();
    let mut rest = text;
    let mut bold = false;
    while let Some(sign) = rest.chars().next() {
        if let Some((who, behind)) = mention(rest) {
            let name = match who {
                "all" => "everybody",
                id => world
                    .people
                    .guess(id)
                    .map_or(id, |user| world.people.name(&user.open_id)),
            };
            html.push_str(&format!("<b class=\"at\">@{}</b>", escape(name)));
            rest = behind;
        } else if let Some((label, href, behind)) = link_at(rest) {
            html.push_str(&link(href, &escape(label)));
            rest = behind;
        } else if let Some(behind) = rest.strip_prefix("**")
            && (bold || behind.contains("**"))
        {
            bold = !bold;
            html.push_str(if bold { "<b>" } else { "</b>" });
            rest = behind;
        } else if sign == '\n' {
            html.push_str("<br>");
            rest = &rest[1..];
        } else {
            html.push_str(&escape(&rest[..sign.len_utf8()]));
            rest = &rest[sign.len_utf8()..];
        }
    }
    html
}

/// `<at id=…></at>` or `<at email=…></at>` at the beginning: who, and what stands behind it.
fn mention(text: &str) -> Option<(&str, &str)> {
    let starts = ["<at id=", "<at email="];
    let behind = starts.iter().find_map(|start| text.strip_prefix(start))?;
    let (who, behind) = behind.split_once('>')?;
    let (_, behind) = behind.split_once("</at>")?;
    Some((who.trim_matches(['"', '\'']), behind))
}

/// `[words](address)` at the beginning: both, and what stands behind it.
fn link_at(text: &str) -> Option<(&str, &str, &str)> {
    let (label, behind) = text.strip_prefix('[')?.split_once("](")?;
    let (href, behind) = behind.split_once(')')?;
    (!label.contains(['[', ']', '\n']) && href.starts_with("http")).then_some((label, href, behind))
}
