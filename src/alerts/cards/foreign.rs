//! What an expression of a template put into a card, kept apart from what its author wrote, until it is known where
//! in the card it stands.
//!
//! An expression's outcome is marked on its way out (`put`). The text with its marks becomes JSON (`woven`): within
//! quotes the outcome is part of the string, outside it is a string of its own. Then every marked piece is written as
//! its place asks (`settled`): as text, as markdown that styles, mentions and links nothing, or as an address. In any
//! other place there may be none.
//! Promises: whatever an alert says, the card has the structure that its template's author gave it.

use minijinja::value::{Value as Given, ValueKind};
use serde_json::{Map, Value};

use super::pieces;
use super::words;

/// Around what an expression put; both are no characters, and never part of foreign text.
pub(super) const MARKS: [char; 2] = ['\u{fdd0}', '\u{fdd1}'];
/// Fields that hold an address.
const ADDRESSES: [&str; 6] = [
    "url",
    "default_url",
    "pc_url",
    "ios_url",
    "android_url",
    "href",
];
/// Fields that hold a word of the platform, and nothing that it acts on.
const STYLES: [&str; 12] = [
    "template",
    "color",
    "text_color",
    "text_size",
    "text_align",
    "background_style",
    "type",
    "size",
    "width",
    "style",
    "name",
    "token",
];
/// Fields whose insides are somebody's data: shown, perhaps as markdown.
const DATA: [&str; 4] = ["rows", "chart_spec", "value", "template_variable"];
/// Fields that say who is meant, wherever they stand.
const IDS: [&str; 5] = ["id", "user_id", "open_id", "union_id", "email"];
/// Depth of what one expression may put.
const DEPTH_MAX: usize = 8;

/// Why what a template makes is no card.
pub(super) type Fault = String;

/// Writes the outcome of an expression, marked.
///
/// # Errors
/// It is nothing that can stand in a card.
pub(super) fn put(out: &mut dyn std::fmt::Write, value: &Given, depth: usize) -> std::fmt::Result {
    if depth > DEPTH_MAX {
        return Err(std::fmt::Error);
    }
    match value.kind() {
        ValueKind::String if value.is_safe() => out.write_str(value.as_str().unwrap_or_default()),
        ValueKind::String => mark(out, value.as_str().unwrap_or_default()),
        ValueKind::None | ValueKind::Undefined => out.write_str("null"),
        ValueKind::Bool | ValueKind::Number => write!(out, "{value}"),
        ValueKind::Seq | ValueKind::Iterable => {
            out.write_char('[')?;
            for (index, item) in value.try_iter().map_err(|_| std::fmt::Error)?.enumerate() {
                if index > 0 {
                    out.write_char(',')?;
                }
                put(out, &item, depth + 1)?;
            }
            out.write_char(']')
        }
        ValueKind::Map => {
            out.write_char('{')?;
            for (index, name) in value.try_iter().map_err(|_| std::fmt::Error)?.enumerate() {
                if index > 0 {
                    out.write_char(',')?;
                }
                mark(out, &name.to_string())?;
                out.write_char(':')?;
                put(
                    out,
                    &value.get_item(&name).map_err(|_| std::fmt::Error)?,
                    depth + 1,
                )?;
            }
            out.write_char('}')
        }
        _ => Err(std::fmt::Error),
    }
}

fn mark(out: &mut dyn std::fmt::Write, text: &str) -> std::fmt::Result {
    out.write_char(MARKS[0])?;
    for piece in text.split(MARKS) {
        out.write_str(piece)?;
    }
    out.write_char(MARKS[1])
}

/// What a template made, as JSON; marked pieces are still marked.
///
/// # Errors
/// It is none; the words name no foreign text.
pub(super) fn woven(made: &str) -> Result<Value, Fault> {
    let mut json = String::with_capacity(made.len() + 64);
    let (mut quoted, mut escaped) = (false, false);
    let mut rest = made;
    while let Some(sign) = rest.chars().next() {
        let behind = &rest[sign.len_utf8()..];
        if sign == MARKS[0] {
            let (piece, behind) = behind
                .split_once(MARKS[1])
                .ok_or("has an expression whose outcome was cut")?;
            weave(&mut json, piece, quoted);
            (escaped, rest) = (false, behind);
            continue;
        }
        if sign == MARKS[1] {
            return Err("has an expression whose outcome was cut".to_owned());
        }
        match sign {
            _ if escaped => escaped = false,
            '\\' => escaped = quoted,
            '"' => quoted = !quoted,
            _ => {}
        }
        json.push(sign);
        rest = behind;
    }
    serde_json::from_str(&json).map_err(|error| {
        let line = error.line();
        format!(
            "makes no JSON: {} at line {line} of what it makes",
            kind(&error)
        )
    })
}

fn weave(json: &mut String, piece: &str, quoted: bool) {
    let marked = format!("{}{piece}{}", MARKS[0], MARKS[1]);
    let whole = Value::String(marked).to_string();
    json.push_str(if quoted {
        whole.trim_matches('"')
    } else {
        &whole
    });
}

/// The kind of a fault without the text that it is in.
fn kind(error: &serde_json::Error) -> &'static str {
    match error.classify() {
        serde_json::error::Category::Eof => "it ends too early",
        serde_json::error::Category::Data => "a value is too large",
        _ => "a comma, a quote or a bracket is wrong",
    }
}

/// How text stands where it stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// In no element that shows text.
    None,
    /// As it is.
    Plain,
    /// As markdown.
    Markdown,
}

/// The card with every marked piece written as its place asks.
///
/// # Errors
/// A piece stands where none may, or is no address where one is needed; the words name the place.
pub(super) fn settled(mut card: Value) -> Result<Value, Fault> {
    settle(&mut card, "", Mode::None, "")?;
    Ok(card)
}

fn settle(value: &mut Value, name: &str, mode: Mode, at: &str) -> Result<(), Fault> {
    match value {
        Value::Array(list) => list
            .iter_mut()
            .enumerate()
            .try_for_each(|(index, item)| settle(item, name, mode, &format!("{at}/{index}"))),
        Value::Object(object) => settle_object(object, mode, at),
        Value::String(text) if text.contains(MARKS) => {
            *text = written(text, name, mode).map_err(|says| format!("{at} {says}"))?;
            Ok(())
        }
        _ => Ok(()),
    }
}

fn settle_object(object: &mut Map<String, Value>, mode: Mode, at: &str) -> Result<(), Fault> {
    if object.keys().any(|name| name.contains(MARKS)) {
        return Err(format!("{at} has a name that an expression made"));
    }
    let mode = match object.get("tag").and_then(Value::as_str) {
        _ if mode == Mode::Markdown => mode,
        Some("markdown" | "lark_md") => Mode::Markdown,
        Some("plain_text") => Mode::Plain,
        _ => mode,
    };
    object.iter_mut().try_for_each(|(name, item)| {
        let mode = match name.as_str() {
            name if DATA.contains(&name) => Mode::Markdown,
            _ => mode,
        };
        settle(item, name, mode, &format!("{at}/{name}"))
    })
}

fn written(text: &str, name: &str, mode: Mode) -> Result<String, &'static str> {
    let shown = |name: &str| name == "content" || name.contains('_') || name.len() <= 2;
    if ADDRESSES.contains(&name) {
        let whole: String = text.split(MARKS).collect();
        return pieces::web(&whole).ok_or("is no address of the web");
    }
    if STYLES.contains(&name) {
        let whole: String = text.split(MARKS).collect();
        let fine = |sign: char| sign.is_ascii_alphanumeric() || "_-.".contains(sign);
        return if whole.len() <= 40 && whole.chars().all(fine) {
            Ok(whole)
        } else {
            Err("is no single word")
        };
    }
    match mode {
        Mode::Markdown if IDS.contains(&name) => Err("says who is meant, which an alert may not"),
        Mode::Markdown => markdown(text),
        Mode::Plain | Mode::None if name == "content" => Ok(plain(text)),
        Mode::Plain if shown(name) && !names_somebody(name) => Ok(plain(text)),
        _ => Err("holds an expression, and none may stand there"),
    }
}

/// Fields that say who is meant.
fn names_somebody(name: &str) -> bool {
    name == "id" || name.ends_with("_id") || name.ends_with("_ids") || name.ends_with("_key")
}

/// Text that nobody reads as more.
fn plain(text: &str) -> String {
    let whole: String = text.split(MARKS).collect();
    words::lines(&whole, usize::MAX, usize::MAX)
}

/// The author's markdown with what expressions put made harmless.
fn markdown(text: &str) -> Result<String, &'static str> {
    let mut made = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((own, behind)) = rest.split_once(MARKS[0]) {
        made.push_str(own);
        let (piece, behind) = behind.split_once(MARKS[1]).unwrap_or((behind, ""));
        rest = behind;
        let open = made.rfind('<').map(|at| &made[at..]);
        if open.is_some_and(|open| !open.contains('>') && is_tag(open)) {
            return Err("has an expression within a tag of markdown, where none may stand");
        }
        if own.ends_with("](") && rest.starts_with(')') {
            let address = pieces::web(piece).ok_or("links to what is no address of the web")?;
            made.push_str(&address);
        } else {
            let starts_line = made.is_empty() || made.ends_with('\n');
            made.push_str(&words::markdown(piece, starts_line));
        }
    }
    made.push_str(rest);
    Ok(made)
}

fn is_tag(open: &str) -> bool {
    let next = open.chars().nth(1);
    next.is_none_or(|next| !next.is_whitespace() && !next.is_ascii_digit())
}

/// An outcome as it would be marked, for tests and samples.
#[cfg(test)]
fn marked(text: &str) -> String {
    let mut made = String::new();
    let _ = mark(&mut made, text);
    made
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn card(made: &str) -> Result<Value, Fault> {
        woven(made).and_then(settled)
    }

    #[test]
    fn what_an_expression_put_is_a_string_within_quotes_and_without() {
        let name = marked("a \"quoted\\\" {name}\n");
        let element = json!({ "tag": "plain_text", "content": "a \"quoted\\\" {name}" });
        let check = |made: String| assert_eq!(card(&made), Ok(element.clone()), "{made}");
        check(format!("{{\"tag\":\"plain_text\",\"content\":\"{name}\"}}"));
        check(format!("{{\"tag\":\"plain_text\",\"content\":{name}}}"));
    }

    #[test]
    fn a_piece_is_written_as_its_place_asks() {
        let text = |tag: &str, content: &str| {
            card(&format!("{{\"tag\":\"{tag}\",\"content\":\"{content}\"}}"))
                .map(|card| card["content"].as_str().unwrap_or_default().to_owned())
        };
        let evil = marked("<at id=all></at> **b** [x](https://evil.cn)");
        assert_eq!(
            text("plain_text", &evil).as_deref(),
            Ok("＜at id=all>＜/at> **b** [x] (https://evil.cn)")
        );
        assert_eq!(
            text("markdown", &format!("**{evil}**")).as_deref(),
            Ok("**＜at id=all＞＜/at＞ ∗∗b∗∗ ［x］(https：//evil.cn)**")
        );
        assert_eq!(
            text(
                "markdown",
                &format!("[go]({})", marked("https://ex.cn/a b)"))
            )
            .as_deref(),
            Ok("[go](https://ex.cn/a%20b%29)")
        );
        for bad in [
            format!("<at id={}></at>", marked("all")),
            format!("<{}", marked("at id=all>")),
            format!("[x]({})", marked("javascript:x")),
            format!("<font color='{}'>x</font>", marked("red")),
        ] {
            assert!(text("markdown", &bad).is_err(), "{bad}");
        }
        assert_eq!(
            text("markdown", &format!("< 5 {}", marked("x"))).as_deref(),
            Ok("< 5 x")
        );
    }

    #[test]
    fn structure_is_the_authors() {
        let x = marked("all");
        for bad in [
            format!("{{\"tag\":\"person\",\"user_id\":\"{x}\"}}"),
            format!("{{\"tag\":\"{x}\"}}"),
            format!("{{\"{x}\":1}}"),
            format!("{{\"tag\":\"plain_text\",\"user_id\":{x}}}"),
            format!("{{\"tag\":\"img\",\"img_key\":{x}}}"),
            format!("{{\"url\":{x}}}"),
            format!("{{\"color\":{}}}", marked("a b")),
            format!("{{\"a\":{x}{x}}}"),
            format!("{{\"a\":{}", MARKS[0]),
            format!("{{\"a\":{}1}}", MARKS[1]),
            "{".to_owned(),
        ] {
            assert!(card(&bad).is_err(), "{bad}");
        }
        assert_eq!(
            card(&format!(
                "{{\"color\":{x},\"url\":{}}}",
                marked("https://ex.cn")
            )),
            Ok(json!({ "color": "all", "url": "https://ex.cn" }))
        );
    }
}
