//! How long is asked how far a batch is, and who read what: until nothing changes, or time is over.

use feishu_im::Reply;
use feishu_im::answers::{BatchReads, Progress, ReadUsers};
use serde_json::{Value, json};

use crate::dispatch::judge::FailClass;
use crate::job::{Fault, Kind, Marked, Reader, Spent};
use crate::store::{End, Finish};

/// Counts that did not change for so long are final. Source: feishu/README.md, Unknown, batch_send.
const STABLE_MS: i64 = 10 * 60_000;
/// The shortest and the longest gap between two questions, milliseconds.
const GAP_MS: (i64, i64) = (2_000, 5 * 60_000);
/// Feishu answers for this long. Source: feishu/limits.md, section 4.
const ANSWERS_MS: i64 = feishu_im::limits::BATCH_READ_WINDOW_MS;

/// Keeps what the answer says, and asks again while it may still change. Gaps grow with the age of
/// the batch, so that a task costs a dozen calls of the month's quota and not hundreds.
pub(super) fn progress(marked: &Marked, reply: Option<&Reply>, finish: &mut Finish, now_ms: i64) {
    let End::Done { .. } = finish.end else { return };
    let Some(counts) = reply.and_then(|reply| reply.data::<Progress>().ok()) else {
        return;
    };
    let counts = json!({
        "batch_message_send_progress": {
            "valid_user_ids_count": counts.send.valid_user_ids_count,
            "success_user_ids_count": counts.send.success_user_ids_count,
            "read_user_ids_count": counts.send.read_user_ids_count,
        },
        "batch_message_recall_progress": {"recall": counts.recall.recall, "recall_count": counts.recall.recall_count},
    });
    let before: Value = marked
        .progress
        .as_deref()
        .and_then(|text| serde_json::from_str(text).ok())
        .unwrap_or_default();
    let same = [
        "batch_message_send_progress",
        "batch_message_recall_progress",
    ]
    .iter()
    .all(|part| before[part] == counts[part]);
    let since_ms = before["since_ms"]
        .as_i64()
        .filter(|_| same)
        .unwrap_or(now_ms);
    let mut counts = counts;
    counts["since_ms"] = json!(since_ms);
    counts["asked_ms"] = json!(now_ms);
    finish.progress = Some(counts.to_string());
    let age_ms = (now_ms - marked.created_ms).max(0);
    if now_ms - since_ms < STABLE_MS && age_ms < ANSWERS_MS {
        finish.spent = Spent::default();
        finish.end = End::Again {
            run_ms: now_ms + (age_ms / 2).clamp(GAP_MS.0, GAP_MS.1),
        };
    }
}

/// Readers are kept no longer. Source: feishu/errors.md, read_users.
const READS_OVER: i64 = 230_033;
/// A page token that is not taken any more comes under this code. Source: feishu/errors.md, section 4.
const BAD_PARAMETER: i64 = 230_001;

/// How often and how long the producer wants to know; nothing for a question that is put once.
struct Plan {
    from_ms: i64,
    every_ms: i64,
    until_ms: i64,
}

impl Plan {
    fn of(marked: &Marked) -> Option<Plan> {
        let args: Value = serde_json::from_str(&marked.args).ok()?;
        let ms = |name: &str| args[name].as_i64();
        Some(Plan {
            from_ms: ms("from_ms")?,
            every_ms: ms("every_ms").filter(|ms| *ms > 0)?,
            until_ms: ms("until_ms")?,
        })
    }

    /// The next time after `now_ms`, counted from the beginning: neither a slow answer nor an outage
    /// moves the later ones. `None`: it is over.
    fn next(&self, now_ms: i64) -> Option<i64> {
        let turns = (now_ms - self.from_ms).div_euclid(self.every_ms) + 1;
        let next_ms = self
            .from_ms
            .saturating_add(turns.saturating_mul(self.every_ms));
        (next_ms <= self.until_ms).then_some(next_ms)
    }
}

/// What earlier attempts of a follow-up learned.
pub(super) fn learned(marked: &Marked) -> Value {
    let progress = marked.progress.as_deref();
    progress
        .and_then(|text| serde_json::from_str(text).ok())
        .unwrap_or_else(|| json!({}))
}

/// Where the next page of readers begins.
pub(super) fn page_token(marked: &Marked) -> Option<String> {
    learned(marked)["page_token"].as_str().map(str::to_owned)
}

/// Keeps what the answer says of those who read it, and asks for the next page, or once more at the
/// next time that the producer wants. It ends when that time is over, or when Feishu refuses.
pub(super) fn reads(marked: &Marked, reply: Option<&Reply>, finish: &mut Finish, now_ms: i64) {
    let next_ms = Plan::of(marked).and_then(|plan| plan.next(now_ms));
    let before = learned(marked);
    match &finish.end {
        End::Done { .. } => {
            let Some((known, readers, more)) = said(marked, reply, &before, now_ms) else {
                return end_or_go_on(finish, next_ms);
            };
            finish.progress = Some(known.to_string());
            finish.readers = readers;
            end_or_go_on(finish, if more { Some(now_ms) } else { next_ms });
        }
        End::Failed { fault, .. } => refused(&before, &fault.clone(), finish, next_ms, now_ms),
        End::Again { .. } | End::InDoubt { .. } => {}
    }
}

fn end_or_go_on(finish: &mut Finish, next_ms: Option<i64>) {
    finish.spent = Spent::default();
    finish.end = match next_ms {
        Some(run_ms) => End::Again { run_ms },
        None => End::Done {
            receipt: None,
            message_id: None,
        },
    };
}

/// What an answer says: what is kept of it, who read it, and whether there is another page.
fn said(
    marked: &Marked,
    reply: Option<&Reply>,
    before: &Value,
    now_ms: i64,
) -> Option<(Value, Vec<Reader>, bool)> {
    let reply = reply?;
    if marked.head.kind == Kind::BatchReadUser {
        let BatchReads { read_user } = reply.data().ok()?;
        let known = json!({
            "asked_ms": now_ms, "read_count": read_user.read_count, "total_count": read_user.total_count,
        });
        return Some((known, Vec::new(), false));
    }
    let page: ReadUsers = reply.data().ok()?;
    let readers = (page.items.into_iter())
        .filter(|reader| !reader.user_id.is_empty())
        .map(|reader| Reader {
            user_id: reader.user_id,
            read_ms: reader.timestamp,
        })
        .collect();
    // A token that comes back would be followed for ever.
    let token = page.page_token.filter(|token| {
        page.has_more && !token.is_empty() && before["page_token"].as_str() != Some(token)
    });
    let known = match &token {
        Some(token) => {
            json!({"asked_ms": before["asked_ms"], "page_token": token, "again": before["again"]})
        }
        None => json!({"asked_ms": now_ms}),
    };
    Some((known, readers, token.is_some()))
}

/// A refusal ends it, unless the next time may be better: what Feishu refused only for now, and a
/// page whose token has grown old. When the readers' time is over and they are known, that is no
/// failure.
fn refused(before: &Value, fault: &Fault, finish: &mut Finish, next_ms: Option<i64>, now_ms: i64) {
    let asked = before["asked_ms"].is_i64();
    let first = json!({"asked_ms": before["asked_ms"]});
    let passing = [FailClass::GaveUp, FailClass::Unclear].map(FailClass::name);
    if fault.code == Some(BAD_PARAMETER) && before["page_token"].is_string() {
        let mut first = first;
        first["again"] = json!(true);
        finish.progress = Some(first.to_string());
        // The first page at once, but once only.
        let again_ms = if before["again"] == true {
            next_ms
        } else {
            Some(now_ms)
        };
        if again_ms.is_some() {
            end_or_go_on(finish, again_ms);
        }
        return;
    }
    finish.progress = Some(first.to_string());
    if fault.code == Some(READS_OVER) && asked {
        return end_or_go_on(finish, None);
    }
    if next_ms.is_some() && passing.contains(&fault.class.as_str()) {
        end_or_go_on(finish, next_ms);
    }
}
