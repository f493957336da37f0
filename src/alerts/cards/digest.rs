//! The card of a digest: how many incidents it speaks for, how bad they are, and the worst of them by name.

use serde_json::Value;

use super::built::BYTES_MAX;
use super::pieces::{self, Room};
use super::words;
use crate::alerts::incident::{Digest, DigestLine};
use crate::alerts::notice::Severity;
use crate::alerts::people::People;
use crate::alerts::policy::Policy;

/// Incidents named.
const LINES_MAX: usize = 40;
/// Names in one element.
const LINES_EACH: usize = 10;
/// Signs of a title.
const TITLE_CHARS: usize = 120;
/// Bytes kept for what comes behind the names.
const END_BYTES: usize = 1_000;

/// The card of a digest, with mentions where there is somebody to mention.
pub(super) fn digest(digest: &Digest, policy: &Policy, people: &People) -> Value {
    let zone = pieces::zone(policy.quiet.as_ref().map(|quiet| quiet.zone.as_str()));
    let worst = digest.by_severity.iter().filter(|(_, count)| **count > 0);
    let worst = worst.map(|(severity, _)| *severity).max();
    let colour = match worst {
        _ if digest.firing == 0 => "green",
        worst => pieces::colour(worst.unwrap_or_default()),
    };
    let mut elements = vec![pieces::markdown(&format!(
        "**{}** · 告警 alerts: {}",
        counts(digest),
        digest.alerts
    ))];
    if digest.moved > 0 {
        elements.push(pieces::markdown(&format!(
            "已转至其他消息 spoken of by other messages now: {}",
            digest.moved
        )));
    }
    let severities = severities(digest);
    if !severities.is_empty() {
        elements.push(pieces::markdown(&severities));
    }
    let mentioned = pieces::mentions(people);
    if !mentioned.is_empty() {
        elements.push(pieces::markdown(&mentioned));
    }
    elements.push(pieces::rule());
    let title = format!("告警汇总 digest · {}", counts(digest));
    let mut card = pieces::card(&title, colour, elements);
    let mut room = Room::beside(&card, BYTES_MAX - END_BYTES);
    let names: Vec<String> = (digest.worst.iter().take(LINES_MAX))
        .map(|line| named(line, &zone))
        .collect();
    let mut made = Vec::new();
    let mut done = 0;
    for chunk in names.chunks(LINES_EACH) {
        let piece = pieces::plain(&chunk.join("\n"));
        if !room.take(&piece) {
            break;
        }
        made.push(piece);
        done += chunk.len();
    }
    let more = (digest.firing + digest.resolved).saturating_sub(u64::try_from(done).unwrap_or(0));
    if more > 0 {
        made.push(pieces::plain(&format!("另有 {more} 条 / and {more} more")));
    }
    if let Some(elements) = card["body"]["elements"].as_array_mut() {
        elements.extend(made);
    }
    card
}

fn counts(digest: &Digest) -> String {
    let mut said = Vec::new();
    if digest.firing > 0 || digest.resolved == 0 {
        said.push(format!("{} {}", digest.firing, pieces::FIRING));
    }
    if digest.resolved > 0 {
        said.push(format!("{} {}", digest.resolved, pieces::RESOLVED));
    }
    said.join(" · ")
}

fn severities(digest: &Digest) -> String {
    let said = digest.by_severity.iter().rev();
    let said = said.filter(|(_, count)| **count > 0);
    let said = said.map(|(severity, count)| {
        let word = match severity {
            Severity::Unknown => "未知 unknown",
            known => pieces::severity(*known),
        };
        format!("{} {word}: {count}", pieces::mark(true, *severity))
    });
    said.collect::<Vec<_>>().join(" · ")
}

fn named(line: &DigestLine, zone: &jiff::tz::TimeZone) -> String {
    let mark = pieces::mark(line.firing, line.severity);
    let title = words::line(&line.title, TITLE_CHARS);
    let mut said = format!("{mark} {title}");
    if line.alerts > 1 {
        said = format!("{said} · 告警 alerts: {}", line.alerts);
    }
    let word = if line.firing {
        "开始于 since"
    } else {
        "已恢复 resolved, 始于 began"
    };
    format!("{said} · {word} {}", pieces::time(line.since_ms, zone))
}
