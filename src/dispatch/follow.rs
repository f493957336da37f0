//! How long a batch's progress is asked for: until its counts stand still.

use feishu_im::Reply;
use feishu_im::answers::Progress;
use serde_json::{Value, json};

use crate::job::Marked;
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
    finish.progress = Some(counts.to_string());
    let age_ms = (now_ms - marked.created_ms).max(0);
    if now_ms - since_ms < STABLE_MS && age_ms < ANSWERS_MS {
        finish.end = End::Again {
            run_ms: now_ms + (age_ms / 2).clamp(GAP_MS.0, GAP_MS.1),
        };
    }
}
