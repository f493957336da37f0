//! From a marked job to the one call of its attempt, and from the answer to what is kept of it.
//!
//! Deterministic: the same job gives the same bytes at every attempt, because Feishu's `uuid` only
//! removes a double of the same request.

mod acts;

use std::borrow::Cow;
use std::path::PathBuf;

use feishu_im::answers::{
    BatchSent, Ephemeral, MergeForwarded, Message, Reaction, UploadedFile, UploadedImage,
};
use feishu_im::op::{self, ImageType, UrgentWay};
use feishu_im::{
    Api, BatchContent, BatchLists, CONTENT_KEYS, Content, FileSource, HookContent, IdType, Reply,
    Request,
};
use serde_json::{Map, Value};

use crate::dispatch::follow;
use crate::job::{Kind, Marked, openapi, values};

/// The job cannot be made into a call: its stored form does not fit this binary.
#[derive(Debug, thiserror::Error)]
#[error("the stored job cannot be sent: {0}")]
pub(super) struct Misfit(String);

/// What is kept of an answer that says `done`.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Kept {
    pub(super) receipt: Option<String>,
    pub(super) message_id: Option<String>,
    pub(super) chat: Option<String>,
}

/// Args and what other jobs made, read once.
struct Words {
    args: Map<String, Value>,
    resolved: Map<String, Value>,
    part: Map<String, Value>,
}

impl Words {
    fn of(marked: &Marked) -> Result<Words, Misfit> {
        let part = marked.part.as_ref().map(|part| &*part.args);
        Words::read(&marked.args, marked.resolved.as_deref(), part)
    }

    fn read(args: &str, resolved: Option<&str>, part: Option<&str>) -> Result<Words, Misfit> {
        let object = |text: &str| {
            serde_json::from_str::<Map<String, Value>>(text)
                .map_err(|error| Misfit(error.to_string()))
        };
        let resolved = resolved.map(object).transpose()?.unwrap_or_default();
        let native = openapi::native(args, &resolved);
        let mut words = Words {
            args: native.map_or_else(|| object(args), Ok)?,
            resolved,
            part: part.map(object).transpose()?.unwrap_or_default(),
        };
        values::put(&mut words.args, &words.resolved);
        values::put(&mut words.part, &words.resolved);
        Ok(words)
    }

    fn text(&self, name: &str) -> Result<&str, Misfit> {
        let found = [&self.part, &self.resolved, &self.args]
            .into_iter()
            .find_map(|map| map.get(name))
            .and_then(Value::as_str);
        found.ok_or_else(|| Misfit(format!("it has no {name:?}")))
    }

    fn list(&self, name: &str) -> Vec<String> {
        let value = self.part.get(name).or_else(|| self.args.get(name));
        value
            .and_then(Value::as_array)
            .map(|list| {
                list.iter()
                    .filter_map(Value::as_str)
                    .map(str::to_owned)
                    .collect()
            })
            .unwrap_or_default()
    }

    fn id_type(&self, name: &str) -> Result<IdType, Misfit> {
        IdType::from_name(self.text(name)?).ok_or_else(|| Misfit(format!("{name:?} is unknown")))
    }

    /// The args with the content of a message among them: the args themselves, uncopied, unless another job
    /// brought the image.
    fn message(&self) -> Cow<'_, Map<String, Value>> {
        match self.resolved.contains_key("image") {
            true => Cow::Owned(self.content()),
            false => Cow::Borrowed(&self.args),
        }
    }

    /// The content's args alone, with the key of an image that another job brought.
    fn content(&self) -> Map<String, Value> {
        let mut content: Map<String, Value> = self
            .args
            .iter()
            .filter(|(name, _)| CONTENT_KEYS.contains(&name.as_str()))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        if let Some(key) = self.resolved.get("image") {
            content.insert("image".into(), key.clone());
        }
        content
    }
}

/// The call of this attempt. `upload`: where the bytes of a hash are.
///
/// # Errors
/// The stored job cannot be made into a call; it was checked at the door, so this is a fault of ours.
pub(super) fn request(
    marked: &Marked,
    upload: impl Fn(&str) -> PathBuf,
) -> Result<Request, Misfit> {
    let words = Words::of(marked)?;
    if !marked.head.verify
        && let Some(request) = as_written(marked, &words, &upload)
    {
        return Ok(request);
    }
    let urgent = |way| -> Result<Request, Misfit> {
        let request = op::Urgent {
            way,
            message_id: words.text("message")?,
            user_id_type: words.id_type("user_id_type")?,
            user_id_list: &words.list("users"),
        };
        Ok(request.request())
    };
    Ok(match (marked.head.kind, marked.head.verify) {
        (Kind::Send, _) => send(marked, &words)?,
        (Kind::BatchSend, _) => batch_send(&words)?,
        (Kind::UrgentApp, _) => urgent(UrgentWay::App)?,
        (Kind::UrgentSms, _) => urgent(UrgentWay::Sms)?,
        (Kind::UrgentPhone, _) => urgent(UrgentWay::Phone)?,
        (Kind::Pin, _) => op::Pin {
            message_id: words.text("message")?,
        }
        .request(),
        (Kind::Unpin, _) => op::Unpin {
            message_id: words.text("message")?,
        }
        .request(),
        (Kind::Recall, false) => op::Recall {
            message_id: words.text("message")?,
        }
        .request(),
        (Kind::Recall, true) => op::GetMessage {
            message_id: words.text("message")?,
            user_card_content: false,
        }
        .request(),
        (Kind::BatchRecall, false) => op::BatchRecall {
            batch_message_id: words.text("batch")?,
        }
        .request(),
        (Kind::BatchRecall, true) | (Kind::BatchProgress, _) => op::BatchProgress {
            batch_message_id: words.text("batch")?,
        }
        .request(),
        (Kind::ReadUsers, _) => op::ReadUsers {
            message_id: followed(marked)?,
            user_id_type: IdType::OpenId,
            page_size: Some(feishu_im::limits::READ_USERS_PAGE_MAX),
            page_token: follow::page_token(marked).as_deref(),
        }
        .request(),
        (Kind::BatchReadUser, _) => op::BatchReadUser {
            batch_message_id: followed(marked)?,
        }
        .request(),
        // What a look asks follows from the job that it is about (`doubt`), not from its own row.
        (Kind::History, _) => return Err(Misfit(String::from("a look has no content"))),
        (Kind::Webhook, _) => return Err(Misfit(String::from("a bot has a way of its own"))),
        (
            Kind::Reply
            | Kind::Edit
            | Kind::Forward
            | Kind::MergeForward
            | Kind::ForwardThread
            | Kind::FollowUp
            | Kind::React
            | Kind::Unreact
            | Kind::UpdateCard
            | Kind::DelayUpdateCard
            | Kind::SendEphemeral
            | Kind::DeleteEphemeral
            | Kind::UpdateUrlPreviews,
            _,
        ) => acts::request(marked, &words)?,
        (Kind::UploadImage, _) => {
            let image_type = if words.text("image_type")? == "avatar" {
                ImageType::Avatar
            } else {
                ImageType::Message
            };
            op::UploadImage {
                image_type,
                file_name: words.text("file_name")?,
                image: &FileSource::Path(upload(words.text("sha256")?)),
            }
            .request()
        }
        (Kind::UploadFile, _) => op::UploadFile {
            file_type: words.text("file_type")?,
            file_name: words.text("file_name")?,
            duration_ms: words.args.get("duration").and_then(Value::as_i64),
            file: FileSource::Path(upload(words.text("sha256")?)),
        }
        .request(),
    })
}

/// The request of a call that came in Feishu's own form.
fn as_written(marked: &Marked, words: &Words, upload: impl Fn(&str) -> PathBuf) -> Option<Request> {
    let api = marked.head.kind.api();
    let uuid = marked.id.hex();
    let mut sent = openapi::sent(api, &marked.args, &words.resolved, &uuid)?;
    // Of a batch that was promised each part is taken back by its own id.
    let batch = words.part.get("batch").and_then(Value::as_str);
    if let (Some(batch), [id]) = (batch, &mut sent.params[..]) {
        batch.clone_into(id);
    }
    fn texts(pairs: &[(String, String)]) -> Vec<(&str, &str)> {
        let pairs = pairs.iter();
        pairs
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect()
    }
    if let Ok(sha256) = words.text("sha256") {
        let upload = op::RawUpload {
            api,
            words: &texts(&sent.words),
            file_name: words.text("file_name").unwrap_or("file"),
            file: &FileSource::Path(upload(sha256)),
        };
        return upload.request();
    }
    let raw = op::Raw {
        api,
        params: &sent.params.iter().map(String::as_str).collect::<Vec<_>>(),
        query: &texts(&sent.query),
        body: sent.body.as_deref(),
    };
    Some(raw.request())
}

/// The message or batch that a follow-up asks about.
fn followed(marked: &Marked) -> Result<&str, Misfit> {
    let followed = marked.head.message.as_deref();
    followed.ok_or_else(|| Misfit(String::from("it does not say which message it follows")))
}

/// What the job says under that name, for whoever looks at what it did.
pub(super) fn word(marked: &Marked, name: &str) -> Option<String> {
    let words = Words::of(marked).ok()?;
    words.text(name).ok().map(str::to_owned)
}

/// Type and content of a message as they are sent.
///
/// # Errors
/// As `request`.
pub(super) fn sent_content(
    args: &str,
    resolved: Option<&str>,
    rung: u8,
) -> Result<(String, String), Misfit> {
    let words = Words::read(args, resolved, None)?;
    let content = Content::unchecked(&words.message()).map_err(|flaws| misfit(&flaws))?;
    let content = content.lowered(rung);
    Ok((content.msg_type, content.content))
}

/// Each content has one of its own: a rung of the ladder, and a message whose uploads were made anew.
fn uuid(marked: &Marked, words: &Words) -> String {
    let uuid = marked.id.uuid(marked.rung);
    match words.resolved.contains_key(values::RENEWED) {
        true => format!("{uuid}.k"),
        false => uuid,
    }
}

/// What a custom bot says. It was checked at the door, by the rules of that day.
///
/// # Errors
/// As `request`.
pub(super) fn hook_content(marked: &Marked) -> Result<HookContent, Misfit> {
    let words = Words::of(marked)?;
    HookContent::unchecked(&words.content()).map_err(|flaws| misfit(&flaws))
}

fn send(marked: &Marked, words: &Words) -> Result<Request, Misfit> {
    let content = Content::unchecked(&words.message()).map_err(|flaws| misfit(&flaws))?;
    let content = content.lowered(marked.rung);
    let uuid = uuid(marked, words);
    let send = op::SendMessage {
        receive_id_type: words.id_type("to_type")?,
        receive_id: words.text("to")?,
        msg_type: &content.msg_type,
        content: &content.content,
        uuid: &uuid,
    };
    Ok(send.request())
}

fn batch_send(words: &Words) -> Result<Request, Misfit> {
    let content = BatchContent::unchecked(&words.content()).map_err(|flaws| misfit(&flaws))?;
    let [departments, open_ids, user_ids, union_ids] =
        ["department_ids", "open_ids", "user_ids", "union_ids"].map(|name| words.list(name));
    let lists = BatchLists {
        department_ids: &departments,
        open_ids: &open_ids,
        user_ids: &user_ids,
        union_ids: &union_ids,
    };
    Ok(op::BatchSend {
        content: &content,
        lists,
    }
    .request())
}

fn misfit(flaws: &[feishu_im::Flaw]) -> Misfit {
    Misfit(flaws.first().map_or_else(String::new, |flaw| {
        format!("{} {}", flaw.pointer, flaw.detail)
    }))
}

/// What is kept of an answer with code 0. `None`: it lacks the id that the call makes, so nobody
/// knows whether it did.
pub(super) fn kept(api: Api, reply: &Reply) -> Option<Kept> {
    let receipt = reply
        .data
        .as_ref()
        .map(|data| data.get().to_owned())
        .filter(|data| data.trim_start().starts_with('{'));
    let (message_id, chat) = match api {
        Api::SendMessage | Api::Reply | Api::Forward | Api::ForwardThread => {
            let message: Message = reply.data().ok()?;
            (
                Some(message.message_id).filter(|id| !id.is_empty()),
                message.chat_id,
            )
        }
        Api::MergeForward => {
            let MergeForwarded { message, .. } = reply.data().ok()?;
            (
                Some(message.message_id).filter(|id| !id.is_empty()),
                message.chat_id,
            )
        }
        Api::SendEphemeral => {
            let shown: Ephemeral = reply.data().ok()?;
            (Some(shown.message_id).filter(|id| !id.is_empty()), None)
        }
        Api::React => {
            let reaction: Reaction = reply.data().ok()?;
            return (!reaction.reaction_id.is_empty()).then_some(Kept {
                receipt,
                ..Kept::default()
            });
        }
        Api::BatchSend => {
            let sent: BatchSent = reply.data().ok()?;
            (Some(sent.message_id).filter(|id| !id.is_empty()), None)
        }
        Api::UploadFile => {
            let file: UploadedFile = reply.data().ok()?;
            return (!file.file_key.is_empty()).then_some(Kept {
                receipt,
                ..Kept::default()
            });
        }
        Api::UploadImage => {
            let image: UploadedImage = reply.data().ok()?;
            return (!image.image_key.is_empty()).then_some(Kept {
                receipt,
                ..Kept::default()
            });
        }
        _ => {
            return Some(Kept {
                receipt,
                ..Kept::default()
            });
        }
    };
    message_id.map(|id| Kept {
        receipt,
        message_id: Some(id),
        chat,
    })
}
