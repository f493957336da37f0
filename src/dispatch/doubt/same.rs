//! Does a message of the history say what was sent? The platform shows content otherwise than it was
//! sent (`feishu/messages.md`, section 3), so the answer is often that nobody can tell.

use serde_json::Value;

/// What the platform rewrites in a text: tags, styles, links, entities.
const REWRITTEN: [char; 6] = ['<', '*', '_', '~', '[', '&'];

/// `sent` and `shown`: content as JSON, of the same `msg_type`. `None`: it cannot be told.
pub(in crate::dispatch) fn same(msg_type: &str, sent: &str, shown: &str) -> Option<bool> {
    let sent: Value = serde_json::from_str(sent).ok()?;
    let shown: Value = serde_json::from_str(shown).ok()?;
    if sent == shown {
        return Some(true);
    }
    match msg_type {
        "text" => text(sent["text"].as_str()?, shown["text"].as_str()?),
        "post" => post(&sent, &shown),
        // These come back as they were sent.
        "image" | "sticker" | "share_chat" | "share_user" => Some(false),
        "file" | "audio" | "media" => holds(&sent, &shown).then_some(true),
        _ => None,
    }
}

fn text(sent: &str, shown: &str) -> Option<bool> {
    let (plain, seen) = (without_tags(sent), without_names(shown));
    if plain.trim() == seen.trim() {
        return Some(true);
    }
    let rewritten = plain.contains(REWRITTEN) || plain.contains("://");
    (!rewritten).then_some(false)
}

/// A text with `@` for each `<at …>…</at>`.
fn without_tags(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, tag)) = rest.split_once("<at ") {
        let Some((_, after)) = tag.split_once("</at>") else {
            break;
        };
        plain.push_str(before);
        plain.push('@');
        rest = after;
    }
    plain.push_str(rest);
    plain
}

/// A text with `@` for each `@_user_1` and `@_all`.
fn without_names(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, name)) = rest.split_once("@_") {
        plain.push_str(before);
        let after = name.strip_prefix("user_").map_or_else(
            || name.strip_prefix("all"),
            |number| Some(number.trim_start_matches(|each: char| each.is_ascii_digit())),
        );
        plain.push_str(if after.is_some() { "@" } else { "@_" });
        rest = after.unwrap_or(name);
    }
    plain.push_str(rest);
    plain
}

/// A post stands under its language when it is sent, and without it when it is shown.
fn post(sent: &Value, shown: &Value) -> Option<bool> {
    let languages = || sent.as_object().into_iter().flatten().map(|(_, body)| body);
    let title = |body: &Value| body["title"].as_str().unwrap_or_default().trim().to_owned();
    let titled: Vec<&Value> = languages()
        .filter(|body| title(body) == title(shown))
        .collect();
    if titled.is_empty() {
        return Some(false);
    }
    titled
        .iter()
        .any(|body| body["content"] == shown["content"])
        .then_some(true)
}

/// Everything that was sent is there as it was, and perhaps more.
fn holds(sent: &Value, shown: &Value) -> bool {
    let fields = sent.as_object();
    fields.is_some_and(|fields| fields.iter().all(|(name, value)| shown[name] == *value))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn content_is_the_same_or_other_or_nobody_can_tell() {
        fn check(msg_type: &str, sent: Value, shown: Value, expected: Option<bool>) {
            let found = same(msg_type, &sent.to_string(), &shown.to_string());
            assert_eq!(found, expected, "{msg_type} {sent} {shown}");
        }
        let text = |text: &str| json!({ "text": text });
        check("text", text("disk full"), text("disk full"), Some(true));
        check("text", text("disk full\n"), text("disk full"), Some(true));
        check("text", text("disk full"), text("disk fine"), Some(false));
        let named = "<at user_id=\"ou_1\">Li</at> <at user_id=\"all\"></at> disk full";
        check(
            "text",
            text(named),
            text("@_user_1 @_all disk full"),
            Some(true),
        );
        check(
            "text",
            text(named),
            text("@_user_12 disk full"),
            Some(false),
        );
        check("text", text("**disk** full"), text("disk full"), None);
        check(
            "text",
            text("see https://a.cn"),
            text("see [https://a.cn](https://a.cn)"),
            None,
        );
        check("text", text("a@_b"), text("a@_b c"), None);
        let body = json!({"title": "disk", "content": [[{"tag": "text", "text": "full"}]]});
        check("post", json!({"zh_cn": body}), body.clone(), Some(true));
        let other =
            json!({"title": "disk", "content": [[{"tag": "text", "text": "full", "style": []}]]});
        check("post", json!({"zh_cn": body}), other, None);
        check(
            "post",
            json!({"zh_cn": body}),
            json!({"title": "fire", "content": []}),
            Some(false),
        );
        check(
            "image",
            json!({"image_key": "a"}),
            json!({"image_key": "b"}),
            Some(false),
        );
        check(
            "file",
            json!({"file_key": "a"}),
            json!({"file_key": "a", "file_name": "b"}),
            Some(true),
        );
        check(
            "file",
            json!({"file_key": "a"}),
            json!({"file_key": "c", "file_name": "b"}),
            None,
        );
        check(
            "interactive",
            json!({"elements": []}),
            json!({"title": "x"}),
            None,
        );
        assert_eq!(
            same("text", "{\"text\":\"a\"}", "This message was recalled"),
            None
        );
    }
}
