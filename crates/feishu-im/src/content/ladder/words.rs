//! What a card says, line by line: its texts with their links, in the order in which they are read.
//!
//! Pictures, charts and inputs have no words; they are counted. Mentions become plain words with an `@`: on a lower
//! rung nobody can tell a mention that was meant from one that stood in somebody's text.

use serde_json::{Map, Value};

use super::super::post::is_link;

/// Fields of an element in the order in which they are read; others come behind, by name.
const ORDER: &[&str] = &[
    "header", "title", "subtitle", "text", "content", "fields", "columns", "elements", "actions",
    "extra",
];
/// Fields that hold no words for people.
const SILENT: &[&str] = &[
    "value",
    "behaviors",
    "confirm",
    "placeholder",
    "options",
    "chart_spec",
    "icon",
    "alt",
    "hover_tips",
    "disabled_tips",
    "config",
    "card_link",
    "rows",
];
/// Elements without words.
const WORDLESS: &[&str] = &[
    "img",
    "img_combination",
    "chart",
    "audio",
    "input",
    "select_static",
    "select_person",
    "multi_select_static",
    "multi_select_person",
    "select_img",
    "date_picker",
    "picker_time",
    "picker_datetime",
    "checker",
    "person",
    "person_list",
    "table",
];
/// Tags of card markdown that style what is between them.
const STYLE_TAGS: &[&str] = &[
    "font",
    "text_tag",
    "b",
    "i",
    "u",
    "s",
    "a",
    "link",
    "number_tag",
    "local_datetime",
];

/// A piece of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) text: String,
    pub(super) href: Option<String>,
}

/// A line for people.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) spans: Vec<Span>,
}

/// What a card says.
#[derive(Debug, Default)]
pub(super) struct Words {
    pub(super) title: String,
    pub(super) lines: Vec<Line>,
    /// Elements that have no words.
    wordless: usize,
}

impl Line {
    /// As a text: the address of a link stands behind its words.
    pub(super) fn text(&self) -> String {
        let spans = self.spans.iter().map(|span| match &span.href {
            Some(href) if *href != span.text => format!("{} {href} ", span.text),
            _ => span.text.clone(),
        });
        spans.collect::<String>().trim_end().to_owned()
    }

    fn is_empty(&self) -> bool {
        self.spans.iter().all(|span| span.text.trim().is_empty())
    }
}

impl Words {
    pub(super) fn of(card: &Value) -> Words {
        let mut words = Words::default();
        let header = &card["header"];
        words.title = one_line(said(&header["title"]));
        words.plain(said(&header["subtitle"]));
        if card["type"] == "template" {
            words.variables(&card["data"]["template_variable"]);
            return words;
        }
        for elements in [&card["body"]["elements"], &card["elements"]] {
            words.element(elements);
        }
        if let Some(languages) = card["i18n_elements"].as_object() {
            let first = languages.get("zh_cn").or_else(|| languages.values().next());
            words.element(first.unwrap_or(&Value::Null));
        }
        words
    }

    /// How much is not shown when these many lines are.
    pub(super) fn left_out(&self, lines: usize) -> usize {
        self.wordless + self.lines.len().saturating_sub(lines)
    }

    /// What stands where a card says nothing.
    pub(super) fn nothing(&self) -> &'static str {
        if self.title.is_empty() {
            "（卡片 / card）"
        } else {
            "…"
        }
    }

    fn element(&mut self, value: &Value) {
        match value {
            Value::Array(list) => list.iter().for_each(|item| self.element(item)),
            Value::Object(object) => match value["tag"].as_str().unwrap_or_default() {
                "markdown" | "lark_md" => self.markdown(said(value)),
                "plain_text" => self.plain(said(value)),
                "button" => self.button(object),
                "hr" => {}
                tag if WORDLESS.contains(&tag) => self.wordless += 1,
                _ => self.fields(object),
            },
            _ => {}
        }
    }

    fn fields(&mut self, object: &Map<String, Value>) {
        for name in ORDER {
            self.field(name, object.get(*name).unwrap_or(&Value::Null));
        }
        for (name, value) in object {
            if !ORDER.contains(&name.as_str()) && !SILENT.contains(&name.as_str()) {
                self.field(name, value);
            }
        }
    }

    /// A bare string is words only where words stand.
    fn field(&mut self, name: &str, value: &Value) {
        match value {
            Value::String(text) if matches!(name, "text" | "content" | "title") => self.plain(text),
            other => self.element(other),
        }
    }

    /// A button that opens a page is a link; another has nobody to press it.
    fn button(&mut self, button: &Map<String, Value>) {
        let label = one_line(said(button.get("text").unwrap_or(&Value::Null)));
        let opens = button
            .get("behaviors")
            .and_then(Value::as_array)
            .into_iter()
            .flatten();
        let urls = [
            button.get("url"),
            button.get("multi_url").and_then(|urls| urls.get("url")),
        ];
        let urls = urls
            .into_iter()
            .flatten()
            .chain(opens.filter_map(|each| each.get("default_url")));
        let href = urls.filter_map(Value::as_str).find(|url| is_web(url));
        match href {
            Some(href) => {
                let text = if label.is_empty() {
                    href.to_owned()
                } else {
                    label
                };
                let href = Some(href.to_owned());
                self.push(Line {
                    spans: vec![Span { text, href }],
                });
            }
            None => self.wordless += 1,
        }
    }

    /// Of a template only what was put into it is known here.
    fn variables(&mut self, value: &Value) {
        for (name, value) in value.as_object().into_iter().flatten() {
            match value {
                Value::String(text) => self.plain(&format!("{name}: {text}")),
                Value::Number(_) | Value::Bool(_) => self.plain(&format!("{name}: {value}")),
                Value::Array(list) => list.iter().for_each(|item| self.variables(item)),
                Value::Object(_) => self.variables(value),
                Value::Null => {}
            }
        }
    }

    fn plain(&mut self, text: &str) {
        for line in text.lines() {
            let text = clean(line);
            self.push(Line {
                spans: vec![Span { text, href: None }],
            });
        }
    }

    fn markdown(&mut self, text: &str) {
        for line in text.replace("<br>", "\n").replace("<br/>", "\n").lines() {
            let spans = spans(&without_tags(&clean(line)));
            self.push(Line { spans });
        }
    }

    fn push(&mut self, line: Line) {
        if !line.is_empty() {
            self.lines.push(line);
        }
    }
}

/// The words of a text object, or of a bare string.
fn said(value: &Value) -> &str {
    let inner = value.get("content").unwrap_or(value);
    inner.as_str().unwrap_or_default()
}

fn one_line(text: &str) -> String {
    clean(&text.lines().collect::<Vec<_>>().join(" "))
}

/// Without control signs, which a message has no use for.
fn clean(text: &str) -> String {
    text.chars()
        .filter(|sign| !sign.is_control() || *sign == '\t')
        .collect()
}

fn is_web(href: &str) -> bool {
    let web = ["https://", "http://", "mailto:", "lark://"];
    web.iter().any(|scheme| href.starts_with(scheme)) && is_link(href)
}

/// A line of markdown as words and links; what is no whole link stays as it is.
fn spans(line: &str) -> Vec<Span> {
    let mut spans = Vec::new();
    let (mut words, mut at) = (0, 0);
    while let Some(found) = line[at..].find("](") {
        let middle = at + found;
        let link = line[words..middle].rfind('[').and_then(|open| {
            let (href, _) = line[middle + 2..].split_once(')')?;
            is_web(href).then(|| (words + open, href))
        });
        let Some((open, href)) = link else {
            at = middle + 2;
            continue;
        };
        let label = &line[open + 1..middle];
        let before = &line[words..open];
        let text = if label.trim().is_empty() { href } else { label };
        spans.push(Span {
            text: before.to_owned(),
            href: None,
        });
        spans.push(Span {
            text: text.to_owned(),
            href: Some(href.to_owned()),
        });
        at = middle + 2 + href.len() + 1;
        words = at;
    }
    spans.push(Span {
        text: line[words..].to_owned(),
        href: None,
    });
    spans.retain(|span| !span.text.is_empty());
    spans
}

/// A line of card markdown with its style tags taken out and its mentions as plain words.
fn without_tags(line: &str) -> String {
    let mut plain = String::with_capacity(line.len());
    let mut rest = line;
    while let Some(at) = rest.find('<') {
        plain.push_str(&rest[..at]);
        rest = &rest[at..];
        match tag(rest) {
            Some((words, length)) => {
                plain.push_str(&words);
                rest = &rest[length..];
            }
            None => {
                plain.push('<');
                rest = &rest[1..];
            }
        }
    }
    plain.push_str(rest);
    plain
}

/// What the tag at the beginning of `text` says in words, and its length.
fn tag(text: &str) -> Option<(String, usize)> {
    let (inside, _) = text[1..].split_once('>')?;
    let length = inside.len() + 2;
    let name = inside.trim_start_matches('/');
    let name = name
        .split(|sign: char| sign.is_whitespace() || sign == '=')
        .next()?;
    if name == "at" {
        if inside.starts_with('/') {
            return Some((String::new(), length));
        }
        let named = text[length..]
            .split_once("</at>")
            .is_some_and(|(name, _)| !name.trim().is_empty() && !name.contains('<'));
        let (_, id) = inside.split_once('=')?;
        let id = id.trim().trim_matches(['"', '\'']);
        let words = if named {
            String::from("@")
        } else {
            format!("@{id}")
        };
        return Some((words, length));
    }
    STYLE_TAGS.contains(&name).then(|| (String::new(), length))
}
