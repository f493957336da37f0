//! Bubbles under the newest message of a one-to-one chat. Source: endpoints.md 2.16.
//!
//! Its codes are numbers of messages with other meanings (errors.md 3, push_follow_up only). That
//! the bubbles stand there already is said first, so that a repeat always shows it.

use serde_json::{Map, Value, json};

use crate::call::{Call, Handled, success};
use crate::clock::SECOND_MS;
use crate::codes::Refusal;
use crate::ledger::Effect;
use crate::world::Message;

/// Bubbles of one call, and characters of one. Source: limits.md 3.
const BUBBLES_MAX: usize = 3;
const CHARS_MAX: usize = 200;
/// Wordings of one bubble. Source: endpoints.md 2.16.
const WORDINGS_MAX: usize = 50;
/// A message can get bubbles this long. Source: limits.md 4.
const AGE_MAX_MS: i64 = 600 * SECOND_MS;
const LANGUAGES: [&str; 16] = [
    "en_us", "zh_cn", "zh_hk", "zh_tw", "ja_jp", "id_id", "vi_vn", "th_th", "pt_br", "es_es",
    "ko_kr", "de_de", "fr_fr", "it_it", "ru_ru", "ms_my",
];

/// Puts bubbles under an own message.
pub(crate) fn push(call: &mut Call<'_>) -> Handled {
    let body = call.json()?;
    let bubbles = bubbles(&body)?;
    let message = call.message(call.param("message_id"))?;
    check_message(call, message)?;
    let message_id = message.message_id.clone();
    let effect = Effect {
        content: body.get("follow_ups").cloned(),
        ..call.effect_on("follow_up", message)
    };
    call.world
        .change_message(&message_id, |message| message.bubbles = bubbles);
    call.world.effect(effect);
    Ok(success(json!({})))
}

fn check_message(call: &Call<'_>, message: &Message) -> Result<(), Refusal> {
    let chat = match call.enter(&message.chat_id) {
        Err(refusal) if refusal.code == 230_002 => return Err(Refusal::code(230_004)),
        Err(refusal) if refusal.code == 230_013 => return Err(Refusal::code(230_005)),
        other => other?,
    };
    if !message.bubbles.is_empty() {
        return Err(Refusal::code(230_008));
    }
    if chat.is_group() {
        return Err(Refusal::code(230_003));
    }
    if message.deleted || !message.is_by(&call.app_id) {
        return Err(Refusal::code(230_004));
    }
    if call.now_ms - message.create_ms > AGE_MAX_MS {
        return Err(Refusal::code(230_002).saying("The message is too old for bubbles"));
    }
    if chat.messages.last() != Some(&message.message_id) {
        return Err(Refusal::code(230_006).saying("The message is not the newest of the chat"));
    }
    Ok(())
}

/// The words of each bubble.
fn bubbles(body: &Map<String, Value>) -> Result<Vec<String>, Refusal> {
    let bad = || Refusal::code(230_007);
    let list = match body.get("follow_ups") {
        None | Some(Value::Null) => {
            return Err(Refusal::field("follow_ups", "", "follow_ups is required"));
        }
        Some(list) => list.as_array().ok_or_else(bad)?,
    };
    if list.is_empty() || list.len() > BUBBLES_MAX {
        return Err(bad());
    }
    list.iter()
        .map(|each| bubble(each).ok_or_else(bad))
        .collect()
}

/// The words of a bubble; `None` when it is out of form.
fn bubble(each: &Value) -> Option<String> {
    let words = words(each)?;
    let wordings = match each.get("i18n_contents") {
        None | Some(Value::Null) => &[][..],
        Some(list) => list.as_array()?,
    };
    let fits = |wording: &Value| {
        let language = wording.get("language").and_then(Value::as_str);
        language.is_some_and(|language| LANGUAGES.contains(&language))
            && self::words(wording).is_some()
    };
    (wordings.len() <= WORDINGS_MAX && wordings.iter().all(fits)).then(|| words.to_owned())
}

fn words(value: &Value) -> Option<&str> {
    let words = value.get("content")?.as_str()?;
    (1..=CHARS_MAX)
        .contains(&words.chars().count())
        .then_some(words)
}
