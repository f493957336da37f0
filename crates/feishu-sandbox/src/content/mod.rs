//! What may be said: the content of a message by its type, checked, and turned into the form in
//! which the platform gives it back.
//!
//! Sources: messages.md 2 (sending), 3 (receiving), 5 (batch).

mod card;
mod post;
mod text;

use serde_json::{Map, Value, json};

use crate::codes::{About, Refusal};
use crate::world::{IdKind, Mention, TENANT_KEY, Upload, World};

/// Where a content is going.
pub(crate) struct Place<'a> {
    pub(crate) world: &'a World,
    pub(crate) app_id: &'a str,
    /// Empty for a batch.
    pub(crate) chat_id: &'a str,
}

/// A content as it is given back.
#[derive(Debug, Default)]
pub(crate) struct Shown {
    pub(crate) content: String,
    pub(crate) mentions: Vec<Mention>,
}

impl Shown {
    fn of(content: &Value) -> Self {
        Self {
            content: content.to_string(),
            mentions: Vec::new(),
        }
    }
}

/// Checks `content` for `msg_type`.
pub(crate) fn check(place: &Place<'_>, msg_type: &str, content: &Value) -> Result<Shown, Refusal> {
    let Value::Object(object) = content else {
        return Err(match msg_type {
            "interactive" => Refusal::card(200_621, "/", "the card is no object"),
            _ => Refusal::ext("content is not a string in json format"),
        });
    };
    match msg_type {
        "text" => text::check(place, object),
        "post" => post::check(place, object),
        "interactive" => card::check(place, object),
        "image" => {
            place.image(object, "image_key")?;
            Ok(Shown::of(content))
        }
        "file" | "audio" | "media" | "sticker" => file(place, msg_type, object),
        "share_chat" => share_chat(place, object, "chat_id"),
        "share_user" => share_user(place, object),
        "system" => system(place, object),
        _ => Err(Refusal::ext("invalid msg_type")),
    }
}

/// Checks the content of a batch: objects, fewer types, codes of its own.
pub(crate) fn check_batch(
    place: &Place<'_>,
    msg_type: &str,
    content: &Value,
) -> Result<(), Refusal> {
    let Value::Object(object) = content else {
        return Err(Refusal::code(10_003));
    };
    let checked = match msg_type {
        "text" => text::check_batch(object),
        "post" => match object.get("post") {
            Some(Value::Object(post)) => post::check_batch(place, post),
            _ => Err(Refusal::code(10_003).because("content.post must be an object")),
        },
        "image" => place.image(object, "image_key").map(drop),
        "share_chat" => share_chat(place, object, "share_chat_id").map(drop),
        _ => card::check(place, object).map(drop),
    };
    checked.map_err(as_batch_code)
}

/// Checks what a custom bot says: objects, fewer types. Source: messages.md 5.
pub(crate) fn check_hook(
    place: &Place<'_>,
    msg_type: &str,
    content: &Value,
) -> Result<Shown, Refusal> {
    let Value::Object(object) = content else {
        return Err(Refusal::ext("content must be an object"));
    };
    match msg_type {
        "text" => text::check(place, object),
        "post" => match object.get("post") {
            Some(Value::Object(post)) => post::check_hook(place, post),
            _ => Err(Refusal::ext("content.post must be an object")),
        },
        "image" => {
            let key = object.get("image_key").and_then(Value::as_str);
            let image = key.and_then(|key| place.world.upload(key));
            match image.filter(|image| image.is_image()) {
                Some(_) => Ok(Shown::of(content)),
                None => Err(Refusal::ext("invalid image_key")),
            }
        }
        "share_chat" => {
            let chat = object.get("share_chat_id").and_then(Value::as_str);
            let chat = chat.and_then(|id| place.world.chats.get(id));
            match chat.filter(|chat| chat.is_group()) {
                Some(chat) => Ok(Shown::of(&json!({ "chat_id": chat.chat_id }))),
                None => Err(Refusal::ext("invalid share_chat_id")),
            }
        }
        _ => card::check(place, object),
    }
}

/// Says a refusal of the message checks in the codes of batch_send. Source: errors.md 6.
fn as_batch_code(refusal: Refusal) -> Refusal {
    let code = match (refusal.about, refusal.code) {
        (About::Image, _) => 11_227,
        (About::Chat, _) => 11_231,
        (About::Other, 230_001) => 10_003,
        (About::Other, 230_099) => 11_246,
        (About::Other, _) => return refusal,
    };
    Refusal::code(code).because(&refusal.msg)
}

impl Place<'_> {
    /// The image key in `field`, if the app may use it. Source: errors.md 3 and 4.
    fn image<'a>(&self, object: &'a Map<String, Value>, field: &str) -> Result<&'a str, Refusal> {
        let key = object
            .get(field)
            .and_then(Value::as_str)
            .unwrap_or_default();
        let refusal = match self.world.upload(key) {
            Some(upload) if upload.app_id != self.app_id => Refusal::code(230_017),
            Some(upload) if upload.is_image() => return Ok(key),
            _ => Refusal::ext("invalid image_key"),
        };
        Err(refusal.about(About::Image))
    }

    /// Whether the app has uploaded an image under this key.
    fn has_image(&self, key: &str) -> bool {
        self.world
            .upload(key)
            .is_some_and(|upload| upload.app_id == self.app_id)
    }

    /// A mention of the person with this id, numbered `@_user_N` by `number`.
    fn mention(&self, id: &str, number: usize) -> Option<Mention> {
        let user = self.world.people.guess(id)?;
        Some(Mention {
            key: format!("@_user_{number}"),
            id: user.open_id.clone(),
            id_type: "open_id".to_owned(),
            name: self.world.people.name(&user.open_id).to_owned(),
            tenant_key: TENANT_KEY.to_owned(),
        })
    }
}

/// Files, by what they were uploaded as. Source: messages.md 2.
fn file(place: &Place<'_>, msg_type: &str, object: &Map<String, Value>) -> Result<Shown, Refusal> {
    let key = object
        .get("file_key")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let upload = match place.world.upload(key) {
        // A sticker is somebody's who sent it; any bot may send it back.
        Some(upload) if upload.kind == "sticker" => upload,
        Some(upload) if upload.app_id != place.app_id => return Err(Refusal::code(230_017)),
        Some(upload) if !upload.is_image() => upload,
        _ => return Err(Refusal::ext("invalid file_key")),
    };
    let fits = match msg_type {
        "audio" => upload.kind == "opus",
        "media" => upload.kind == "mp4",
        "file" => upload.kind != "mp4" && upload.kind != "sticker",
        _ => upload.kind == "sticker",
    };
    if !fits {
        return Err(Refusal::code(230_055));
    }
    if msg_type == "media" && object.contains_key("image_key") {
        place.image(object, "image_key")?;
    }
    Ok(Shown::of(&received(
        msg_type,
        upload,
        object.get("image_key"),
    )))
}

/// How a file comes back. Source: messages.md 3.
pub(crate) fn received(msg_type: &str, upload: &Upload, cover: Option<&Value>) -> Value {
    let mut content = json!({ "file_key": upload.key });
    if matches!(msg_type, "file" | "media") {
        content["file_name"] = json!(upload.name);
    }
    if matches!(msg_type, "audio" | "media") {
        content["duration"] = json!(upload.duration_ms.unwrap_or(0));
    }
    if let (Some(cover), "media") = (cover, msg_type) {
        content["image_key"] = cover.clone();
    }
    content
}

/// A group the bot is in, passed on as a card. Source: messages.md 2.
fn share_chat(
    place: &Place<'_>,
    object: &Map<String, Value>,
    field: &str,
) -> Result<Shown, Refusal> {
    let chat_id = object
        .get(field)
        .and_then(Value::as_str)
        .unwrap_or_default();
    let refusal = match place.world.chats.get(chat_id) {
        None => Refusal::ext(&format!("invalid {field}")),
        Some(chat) if !chat.is_group() => Refusal::code(230_015),
        Some(chat) if !chat.has_bot(place.app_id) => Refusal::code(230_002),
        Some(_) => return Ok(Shown::of(&Value::Object(object.clone()))),
    };
    Err(refusal.about(About::Chat))
}

/// A person, by open id only. Source: messages.md 2.
fn share_user(place: &Place<'_>, object: &Map<String, Value>) -> Result<Shown, Refusal> {
    let open_id = object
        .get("user_id")
        .and_then(Value::as_str)
        .unwrap_or_default();
    match place.world.people.find(IdKind::Open, open_id) {
        Some(user) => match user.refuse {
            Some(code) => Err(Refusal::code(code)),
            None => Ok(Shown::of(&Value::Object(object.clone()))),
        },
        None => Err(Refusal::ext("invalid user_id")),
    }
}

/// Languages of a divider. Source: messages.md 2.
const SYSTEM_LANGUAGES: [&str; 16] = [
    "zh_CN", "en_US", "zh_HK", "zh_TW", "ja_JP", "id_ID", "vi_VN", "th_TH", "pt_BR", "es_ES",
    "ko_KR", "de_DE", "fr_FR", "it_IT", "ru_RU", "ms_MY",
];
/// Width of a divider: a Chinese character takes two. Source: messages.md 2.
const DIVIDER_WIDTH_MAX: usize = 20;

/// A divider, one to one only. Source: messages.md 2.
fn system(place: &Place<'_>, object: &Map<String, Value>) -> Result<Shown, Refusal> {
    if place
        .world
        .chats
        .get(place.chat_id)
        .is_some_and(crate::world::Chat::is_group)
    {
        return Err(Refusal::ext(
            "sending system messages in group chats is not supported",
        ));
    }
    let wrong = || Refusal::ext("invalid message content");
    if object.get("type").and_then(Value::as_str) != Some("divider") {
        return Err(wrong());
    }
    let divider = object
        .get("params")
        .and_then(|params| params.get("divider_text"))
        .and_then(Value::as_object)
        .ok_or_else(wrong)?;
    let text = divider
        .get("text")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let mut texts = vec![Some(text)];
    if let Some(i18n) = divider.get("i18n_text").and_then(Value::as_object) {
        if i18n
            .keys()
            .any(|language| !SYSTEM_LANGUAGES.contains(&language.as_str()))
        {
            return Err(wrong());
        }
        texts.extend(i18n.values().map(Value::as_str));
    }
    let width = |text: &str| {
        text.chars()
            .map(|c| if c.is_ascii() { 1 } else { 2 })
            .sum::<usize>()
    };
    let fits = |text: &Option<&str>| {
        text.is_some_and(|text| (1..=DIVIDER_WIDTH_MAX).contains(&width(text)))
    };
    if !texts.iter().all(fits) {
        return Err(wrong());
    }
    Ok(Shown::of(&json!({
        "template": "{divider_text}", "from_user": [], "to_chatters": [], "divider_text": divider,
    })))
}
