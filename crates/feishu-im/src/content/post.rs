//! Posts: paragraphs of nodes, by language.
//!
//! Source: content page of the platform, May 2026.

use serde_json::{Map, Value};

use super::check::below;
use super::{Flaws, mention};

/// Adds what is wrong with a post.
pub(super) fn check(languages: &Map<String, Value>, at: &str, flaws: &mut Flaws) {
    if languages.is_empty() {
        flaws.add(at, "has no language".to_owned());
    }
    for (name, body) in languages {
        let at = below(at, name);
        if !is_language(name) {
            flaws.add(&at, "is no language such as zh_cn".to_owned());
        } else if let Some(body) = body.as_object() {
            check_body(body, &at, flaws);
        } else {
            flaws.add(&at, "is not an object".to_owned());
        }
    }
}

fn is_language(name: &str) -> bool {
    let lower = |part: &str| part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_lowercase());
    name.split_once('_')
        .is_some_and(|(language, country)| lower(language) && lower(country))
}

fn check_body(body: &Map<String, Value>, at: &str, flaws: &mut Flaws) {
    if body.get("title").is_some_and(|title| !title.is_string()) {
        flaws.add(&below(at, "title"), "is not a string".to_owned());
    }
    let at = below(at, "content");
    let Some(paragraphs) = body.get("content").and_then(Value::as_array) else {
        flaws.add(&at, "is not a list of paragraphs".to_owned());
        return;
    };
    for (index, paragraph) in paragraphs.iter().enumerate() {
        let at = format!("{at}/{index}");
        let Some(nodes) = paragraph.as_array() else {
            flaws.add(&at, "is not a list of nodes".to_owned());
            continue;
        };
        for (index, value) in nodes.iter().enumerate() {
            check_node(value, nodes.len() == 1, &format!("{at}/{index}"), flaws);
        }
    }
}

fn check_node(value: &Value, alone: bool, at: &str, flaws: &mut Flaws) {
    let (Some(node), Some(tag)) = (value.as_object(), value["tag"].as_str()) else {
        flaws.add(at, "is not an object with a tag".to_owned());
        return;
    };
    let needs: &[&str] = match tag {
        "text" | "md" | "code_block" => &["text"],
        "a" => &["text", "href"],
        "at" => &["user_id"],
        "img" => &["image_key"],
        "media" => &["file_key"],
        "emotion" => &["emoji_type"],
        "hr" => &[],
        _ => {
            flaws.add(&below(at, "tag"), "is no tag of a post".to_owned());
            return;
        }
    };
    for name in needs {
        let given = node.get(*name).and_then(Value::as_str);
        if given.is_none_or(|given| given.is_empty() && *name != "text") {
            flaws.add(&below(at, name), format!("is needed by {tag} as a string"));
        }
    }
    check_fields(node, tag, at, flaws);
    if !alone && matches!(tag, "img" | "media" | "md") {
        flaws.add(
            at,
            format!("is {tag}, which must be alone in its paragraph"),
        );
    }
}

fn check_fields(node: &Map<String, Value>, tag: &str, at: &str, flaws: &mut Flaws) {
    let text = |name: &str| node.get(name).and_then(Value::as_str);
    if node.get("style").is_some_and(|style| !strings(style)) {
        flaws.add(&below(at, "style"), "is not a list of strings".to_owned());
    }
    match tag {
        "text" if node.get("un_escape").is_some_and(|flag| !flag.is_boolean()) => {
            flaws.add(
                &below(at, "un_escape"),
                "is neither true nor false".to_owned(),
            );
        }
        "md" => {
            for says in mention::in_text(text("text").unwrap_or_default()) {
                flaws.add(&below(at, "text"), says);
            }
        }
        // The platform fails the whole send for it.
        "a" if text("href").is_some_and(|href| !href.is_empty() && !is_link(href)) => {
            flaws.add(
                &below(at, "href"),
                "is no link such as https://example.com".to_owned(),
            );
        }
        "media"
            if node.contains_key("image_key") && text("image_key").is_none_or(str::is_empty) =>
        {
            flaws.add(
                &below(at, "image_key"),
                "is not a string with something in it".to_owned(),
            );
        }
        "code_block"
            if node
                .get("language")
                .is_some_and(|language| !language.is_string()) =>
        {
            flaws.add(&below(at, "language"), "is not a string".to_owned());
        }
        _ => {}
    }
}

fn strings(value: &Value) -> bool {
    value
        .as_array()
        .is_some_and(|list| list.iter().all(Value::is_string))
}

/// A scheme and something behind it, without spaces. Which schemes the platform takes it does not say, so any
/// will do; one for a host must name it.
pub(super) fn is_link(href: &str) -> bool {
    let Some((scheme, rest)) = href.split_once(':') else {
        return false;
    };
    let is_scheme = scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        && scheme
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
    let web = scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https");
    let rest = if web {
        rest.strip_prefix("//").unwrap_or_default()
    } else {
        rest
    };
    let nameless = rest.is_empty() || web && rest.starts_with(['/', '?', '#']);
    is_scheme && !nameless && !href.contains(|each: char| each.is_whitespace() || each.is_control())
}

/// Adds what a batch or a custom bot refuses in a post that is right by itself: `md`, and of a batch styles.
pub(super) fn check_plain(
    languages: &Value,
    styles: bool,
    at: &str,
    whose: &str,
    flaws: &mut Flaws,
) {
    for (name, body) in languages.as_object().into_iter().flatten() {
        let paragraphs = body["content"].as_array().into_iter().flatten().enumerate();
        for (row, column, node) in paragraphs.flat_map(|(row, paragraph)| {
            paragraph
                .as_array()
                .into_iter()
                .flatten()
                .enumerate()
                .map(move |(column, node)| (row, column, node))
        }) {
            let at = format!("{}/content/{row}/{column}", below(at, name));
            if node["tag"] == "md" {
                flaws.add(&at, format!("is md, which {whose} does not take"));
            }
            let styled = node["style"]
                .as_array()
                .is_some_and(|list| !list.is_empty());
            if styled && !styles {
                flaws.add(&below(&at, "style"), format!("is not taken by {whose}"));
            }
        }
    }
}
