//! Fetching what a message carries: an image, a file, a sound, a film. Source: endpoints.md 2.12.

use serde_json::Value;

use super::files;
use crate::call::{Call, Handled};
use crate::codes::Refusal;
use crate::world::Message;

/// Bytes of a download, in KB. Source: limits.md 3.
const DOWNLOAD_KB_MAX: usize = 100_000;
/// Types whose content can not be fetched. Source: endpoints.md 2.12, errors.md 3 (234043).
const WITHOUT: [&str; 3] = ["sticker", "merge_forward", "interactive"];

/// Answers the bytes of one thing in a message.
pub(crate) fn get(call: &mut Call<'_>) -> Handled {
    let image = match call.asked("type") {
        Some("image") => true,
        Some("file") => false,
        _ => return Err(files::wrong("type is image or file")),
    };
    let message = call.world.messages.get(call.param("message_id"));
    let message = message.ok_or_else(|| files::wrong("invalid message_id"))?;
    match call.enter(&message.chat_id) {
        Err(refusal) if refusal.code == 230_002 => return Err(Refusal::code(234_004)),
        other => other.map(drop)?,
    }
    if message.deleted {
        return Err(Refusal::code(230_110));
    }
    if WITHOUT.contains(&message.msg_type.as_str()) || message.upper_message_id.is_some() {
        return Err(Refusal::code(234_043));
    }
    let key = call.param("file_key");
    if !carries(message, key) {
        return Err(Refusal::code(234_003));
    }
    let upload = call.world.upload(key);
    let upload = upload.ok_or_else(|| Refusal::code(234_005))?;
    if upload.is_image() != image {
        return Err(Refusal::code(234_003));
    }
    let bytes_max = u64::try_from(DOWNLOAD_KB_MAX * call.world.switches().kb).unwrap_or(u64::MAX);
    if upload.bytes.bytes() > bytes_max {
        return Err(Refusal::code(234_037));
    }
    Ok(files::answer(upload))
}

/// Whether the content names this key.
fn carries(message: &Message, key: &str) -> bool {
    let content: Value = serde_json::from_str(&message.shown).unwrap_or_default();
    names(&content, key)
}

fn names(value: &Value, key: &str) -> bool {
    match value {
        Value::Array(list) => list.iter().any(|each| names(each, key)),
        Value::Object(object) => {
            let named = |field| object.get(field).and_then(Value::as_str) == Some(key);
            named("image_key") || named("file_key") || object.values().any(|each| names(each, key))
        }
        _ => false,
    }
}
