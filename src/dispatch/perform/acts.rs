//! The calls of what answers, changes, sends on and marks messages and cards, and what a look at them asks.

use feishu_im::op::{self, Bubble, LocalBubble, Member, Target};
use feishu_im::{CardObject, Content, IdType, Request};
use serde_json::Value;
use serde_json::value::RawValue;

use super::{Misfit, Words, misfit, uuid};
use crate::dispatch::follow;
use crate::job::{Kind, Marked};

/// The call of this attempt.
///
/// # Errors
/// As `perform::request`.
pub(super) fn request(marked: &Marked, words: &Words) -> Result<Request, Misfit> {
    let uuid = uuid(marked, words);
    let verify = marked.head.verify;
    Ok(match marked.head.kind {
        Kind::Reply => {
            let content = content(words)?.lowered(marked.rung);
            let in_thread = words.args.get("in_thread").and_then(Value::as_bool);
            op::Reply {
                message_id: words.text("message")?,
                msg_type: &content.msg_type,
                content: &content.content,
                reply_in_thread: in_thread.unwrap_or(false),
                uuid: &uuid,
            }
            .request()
        }
        Kind::Edit | Kind::UpdateCard if verify => op::GetMessage {
            message_id: words.text("message")?,
            user_card_content: marked.head.kind == Kind::UpdateCard,
        }
        .request(),
        Kind::Edit => {
            let content = content(words)?;
            op::Edit {
                message_id: words.text("message")?,
                msg_type: &content.msg_type,
                content: &content.content,
            }
            .request()
        }
        Kind::UpdateCard => op::UpdateCard {
            message_id: words.text("message")?,
            content: &content(words)?.content,
        }
        .request(),
        Kind::Forward => op::Forward {
            message_id: words.text("message")?,
            to: target(words, &uuid)?,
        }
        .request(),
        Kind::MergeForward => op::MergeForward {
            message_id_list: &words.list("messages"),
            to: target(words, &uuid)?,
        }
        .request(),
        Kind::ForwardThread => op::ForwardThread {
            thread_id: words.text("thread")?,
            to: target(words, &uuid)?,
        }
        .request(),
        Kind::FollowUp => op::FollowUp {
            message_id: words.text("message")?,
            follow_ups: &bubbles(words)?,
        }
        .request(),
        Kind::React | Kind::Unreact if verify => op::ListReactions {
            message_id: words.text("message")?,
            reaction_type: words.text("emoji").ok(),
            user_id_type: None,
            page_size: Some(feishu_im::limits::REACTIONS_PAGE_MAX),
            page_token: follow::page_token(marked).as_deref(),
        }
        .request(),
        Kind::React => op::React {
            message_id: words.text("message")?,
            emoji_type: words.text("emoji")?,
        }
        .request(),
        Kind::Unreact => op::Unreact {
            message_id: words.text("message")?,
            reaction_id: words.text("reaction")?,
        }
        .request(),
        Kind::DelayUpdateCard => op::DelayUpdateCard {
            token: words.text("token")?,
            card: &card(words)?,
        }
        .request(),
        Kind::SendEphemeral => op::SendEphemeral {
            chat_id: words.text("chat")?,
            member: member(words)?,
            card: &card(words)?,
        }
        .request(),
        Kind::DeleteEphemeral => op::DeleteEphemeral {
            message_id: words.text("message")?,
        }
        .request(),
        Kind::UpdateUrlPreviews => op::UpdateUrlPreviews {
            preview_tokens: &words.list("preview_tokens"),
            open_ids: &words.list("open_ids"),
        }
        .request(),
        kind => return Err(Misfit(format!("a {} is made elsewhere", kind.name()))),
    })
}

fn content(words: &Words) -> Result<Content, Misfit> {
    Content::unchecked(&words.message()).map_err(|flaws| misfit(&flaws))
}

/// A card as an object, where the platform takes it so.
fn card(words: &Words) -> Result<Box<RawValue>, Misfit> {
    let card = CardObject::unchecked(&words.message()).map_err(|flaws| misfit(&flaws))?;
    Ok(card.card)
}

fn target<'a>(words: &'a Words, uuid: &'a str) -> Result<Target<'a>, Misfit> {
    Ok(Target {
        receive_id_type: words.id_type("to_type")?,
        receive_id: words.text("to")?,
        uuid,
    })
}

fn member(words: &Words) -> Result<Member<'_>, Misfit> {
    let user = words.text("user")?;
    Ok(match words.id_type("user_type")? {
        IdType::UserId => Member::UserId(user),
        IdType::Email => Member::Email(user),
        IdType::OpenId | IdType::UnionId | IdType::ChatId | IdType::ThreadId => {
            Member::OpenId(user)
        }
    })
}

fn bubbles(words: &Words) -> Result<Vec<Bubble>, Misfit> {
    let list = words.args.get("bubbles").and_then(Value::as_array);
    let list = list.ok_or_else(|| Misfit(String::from("it has no bubbles")))?;
    let text = |value: &Value, name: &str| value[name].as_str().unwrap_or_default().to_owned();
    let local = |value: &Value| LocalBubble {
        content: text(value, "content"),
        language: text(value, "language"),
    };
    let bubble = |value: &Value| Bubble {
        content: text(value, "content"),
        i18n_contents: (value["i18n_contents"].as_array().into_iter().flatten())
            .map(local)
            .collect(),
    };
    Ok(list.iter().map(bubble).collect())
}
