//! What cards are made of: elements of JSON 2.0, the words of states and severities in both languages, times, links.
//!
//! Foreign text stands in `plain_text` alone; markdown holds our own words, mentions of people that the config
//! named, and links whose address is written without any sign of markdown.

use std::fmt::Write as _;

use jiff::Timestamp;
use jiff::tz::{Offset, TimeZone};
use serde_json::{Value, json};

use crate::alerts::notice::{Links, Severity};
use crate::alerts::people::People;

/// Mentions on one card, at most.
const MENTIONS_MAX: usize = 50;
/// Bytes of an address; a longer one is left out, since a part of it leads nowhere.
const URL_BYTES_MAX: usize = 1_500;

/// A state in both languages.
pub(super) const FIRING: &str = "告警中 firing";
/// See [`FIRING`].
pub(super) const RESOLVED: &str = "已恢复 resolved";
/// See [`FIRING`].
pub(super) const ACKNOWLEDGED: &str = "已确认 acknowledged";
/// See [`FIRING`].
pub(super) const STALE: &str = "久无消息 stale";

/// A severity in both languages; nothing of one that is not known.
pub(super) fn severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Critical => "严重 critical",
        Severity::Error => "错误 error",
        Severity::Warning => "警告 warning",
        Severity::Info => "提示 info",
        Severity::Unknown => "",
    }
}

/// The colour of a card's head while it fires.
pub(super) fn colour(severity: Severity) -> &'static str {
    match severity {
        Severity::Critical => "red",
        Severity::Error | Severity::Unknown => "orange",
        Severity::Warning => "yellow",
        Severity::Info => "blue",
    }
}

/// What stands before an alert's name.
pub(super) fn mark(firing: bool, severity: Severity) -> &'static str {
    match (firing, severity) {
        (false, _) => "✅",
        (true, Severity::Critical) => "🔴",
        (true, Severity::Error | Severity::Unknown) => "🟠",
        (true, Severity::Warning) => "🟡",
        (true, Severity::Info) => "🔵",
    }
}

/// A card of JSON 2.0, which can be updated.
pub(super) fn card(title: &str, colour: &str, elements: Vec<Value>) -> Value {
    json!({
        "schema": "2.0",
        "config": { "update_multi": true },
        "header": { "title": { "tag": "plain_text", "content": title }, "template": colour },
        "body": { "elements": elements },
    })
}

/// Text that is nothing but text.
pub(super) fn plain(text: &str) -> Value {
    json!({ "tag": "div", "text": { "tag": "plain_text", "content": text } })
}

/// As [`plain`], small and grey.
pub(super) fn small(text: &str) -> Value {
    json!({ "tag": "div", "text": {
        "tag": "plain_text", "content": text, "text_size": "notation", "text_color": "grey",
    } })
}

/// Our own words; never foreign ones.
pub(super) fn markdown(text: &str) -> Value {
    json!({ "tag": "markdown", "content": text })
}

/// A line across.
pub(super) fn rule() -> Value {
    json!({ "tag": "hr" })
}

/// Buttons that open pages, side by side.
pub(super) fn buttons(links: &[(&'static str, String)]) -> Value {
    let button = |(label, url): &(&'static str, String)| {
        let button = json!({
            "tag": "button", "type": "default",
            "text": { "tag": "plain_text", "content": label },
            "behaviors": [{ "type": "open_url", "default_url": url }],
        });
        json!({ "tag": "column", "width": "auto", "elements": [button] })
    };
    let columns: Vec<Value> = links.iter().map(button).collect();
    json!({ "tag": "column_set", "flex_mode": "flow", "columns": columns })
}

/// Links in a line of markdown.
pub(super) fn line_of_links(links: &[(&'static str, String)]) -> Value {
    let links: Vec<String> = links
        .iter()
        .map(|(label, url)| format!("[{label}]({url})"))
        .collect();
    markdown(&links.join(" · "))
}

/// The links of an alert, each with its name.
pub(super) fn links(links: &Links) -> Vec<(&'static str, String)> {
    let all = [
        ("来源 source", &links.source),
        ("看板 dashboard", &links.dashboard),
        ("手册 runbook", &links.runbook),
        ("静默 silence", &links.silence),
    ];
    let web = |(label, url): (&'static str, &Option<String>)| Some((label, web(url.as_deref()?)?));
    all.into_iter().filter_map(web).collect()
}

/// An address of the web, written so that it is one wherever it stands; `None`: it is none, or too long.
pub(super) fn web(url: &str) -> Option<String> {
    let url = url.trim();
    let scheme = ["https://", "http://"].into_iter().find(|scheme| {
        url.get(..scheme.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(scheme))
    })?;
    let rest = &url[scheme.len()..];
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let bad = |sign: char| !(sign.is_alphanumeric() || "-._~:@[]%!$&'+,;=".contains(sign));
    if host.is_empty() || host.contains(bad) || url.len() > URL_BYTES_MAX {
        return None;
    }
    let mut made = String::from(scheme);
    for byte in rest.bytes() {
        let fine = byte.is_ascii_alphanumeric() || b"-._~:/?#@!$&+,;=%".contains(&byte);
        if fine || made.len() < scheme.len() + host.len() && b"[]".contains(&byte) {
            made.push(char::from(byte));
        } else {
            let _ = write!(made, "%{byte:02X}");
        }
    }
    (made.len() <= URL_BYTES_MAX).then_some(made)
}

/// Mentions of these people in a card's markdown; nothing of whom the syntax could not name.
pub(super) fn mentions(people: &People) -> String {
    let id = |id: &&String| {
        let fine = |sign: char| sign.is_ascii_alphanumeric() || "_-.@".contains(sign);
        (1..=64).contains(&id.len()) && id.chars().all(fine) && !id.eq_ignore_ascii_case("all")
    };
    let mail = |mail: &&String| {
        let fine = |sign: char| sign.is_ascii_alphanumeric() || "_-.@+".contains(sign);
        mail.len() <= 254 && mail.contains('@') && mail.chars().all(fine)
    };
    let all = people.all.then(|| "<at id=all></at>".to_owned());
    let ids = people.ids.iter().filter(id);
    let ids = ids.map(|id| format!("<at id={id}></at>"));
    let mails = people.mails.iter().filter(mail);
    let mails = mails.map(|mail| format!("<at email={mail}></at>"));
    let named: Vec<String> = all
        .into_iter()
        .chain(ids)
        .chain(mails)
        .take(MENTIONS_MAX)
        .collect();
    named.join(" ")
}

/// The clock of a card: the one of the route's quiet hours, else that of Feishu's home.
pub(super) fn zone(name: Option<&str>) -> TimeZone {
    let named = name.and_then(|name| TimeZone::get(name).ok());
    named.unwrap_or_else(|| TimeZone::fixed(Offset::constant(8)))
}

/// A time in words, with its zone.
pub(super) fn time(ms: i64, zone: &TimeZone) -> String {
    match Timestamp::from_millisecond(ms) {
        Ok(time) => time
            .to_zoned(zone.clone())
            .strftime("%Y-%m-%d %H:%M:%S %:z")
            .to_string(),
        Err(_) => "?".to_owned(),
    }
}

/// What is left of a card: bytes, and elements.
pub(super) struct Room {
    bytes: usize,
}

impl Room {
    /// Room beside `card` when at most `bytes` are to be used; as Feishu counts them, which is JSON within JSON.
    pub(super) fn beside(card: &Value, bytes: usize) -> Room {
        Room {
            bytes: bytes.saturating_sub(twice(card)),
        }
    }

    /// Takes the room of an element; `false`: there is not enough.
    pub(super) fn take(&mut self, element: &Value) -> bool {
        let cost = twice(element) + 2;
        let fits = cost <= self.bytes;
        if fits {
            self.bytes -= cost;
        }
        fits
    }
}

/// Bytes of a value that is written as JSON in a JSON string.
pub(super) fn twice(value: &Value) -> usize {
    json!(value.to_string()).to_string().len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_of_the_web_or_none() {
        let check = |url: &str, expected: Option<&str>| {
            assert_eq!(web(url).as_deref(), expected, "{url}");
        };
        check("https://ex.cn/a?b=c#d", Some("https://ex.cn/a?b=c#d"));
        check("HTTP://ex.cn", Some("http://ex.cn"));
        check(
            "http://prom:9090/graph?g0.expr=up{a=\"b\"} (x)",
            Some("http://prom:9090/graph?g0.expr=up%7Ba=%22b%22%7D%20%28x%29"),
        );
        check("http://[::1]:9/a[1]", Some("http://[::1]:9/a%5B1%5D"));
        check("https://ex.cn/字", Some("https://ex.cn/%E5%AD%97"));
        check("https://ex.cn/%zz", Some("https://ex.cn/%zz"));
        for none in [
            "javascript:alert(1)",
            "https://",
            "https:///x",
            "https://a b",
            "https://a)<at id=all>",
            "mailto:a@b",
            "ftp://x",
            "",
        ] {
            check(none, None);
        }
        check(&format!("https://ex.cn/{}", "x".repeat(2_000)), None);
    }

    #[test]
    fn only_who_can_be_named_is_mentioned() {
        let people = People {
            ids: vec![
                "ou_1".into(),
                "all".into(),
                "ALL".into(),
                "x></at><at id=all".into(),
                String::new(),
            ],
            mails: vec!["a@corp.cn".into(), "b c@d".into(), "nobody".into()],
            ..People::default()
        };
        assert_eq!(
            mentions(&people),
            "<at id=ou_1></at> <at email=a@corp.cn></at>"
        );
        let everybody = People {
            all: true,
            ..People::default()
        };
        assert_eq!(mentions(&everybody), "<at id=all></at>");
    }

    #[test]
    fn a_time_says_its_zone() {
        let check =
            |ms, name, expected: &str| assert_eq!(time(ms, &zone(name)), expected, "{name:?}");
        check(0, None, "1970-01-01 08:00:00 +08:00");
        check(0, Some("nowhere"), "1970-01-01 08:00:00 +08:00");
        check(0, Some("UTC"), "1970-01-01 00:00:00 +00:00");
        check(i64::MAX, None, "?");
    }
}
