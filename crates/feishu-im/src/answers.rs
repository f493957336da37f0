//! Typed answers, read from `data` (or from the whole body where an endpoint has none).
//!
//! Promises: absent fields read as empty or `None`, unknown ones are ignored, numbers are taken as numbers or as
//! strings.
//! Not here: the raw `data` (`exchange::Reply` keeps it).

use serde::Deserialize;

/// A message as create, get and history answer it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Message {
    /// `om_…`
    pub message_id: String,
    /// The root of a reply's thread.
    pub root_id: Option<String>,
    /// What a reply answers.
    pub parent_id: Option<String>,
    /// `omt_…`, for messages in a thread.
    pub thread_id: Option<String>,
    /// `oc_…`, also for one-to-one chats.
    pub chat_id: Option<String>,
    /// The platform's type.
    pub msg_type: Option<String>,
    /// Unix milliseconds, by the platform's clock.
    #[serde(deserialize_with = "number::optional")]
    pub create_time: Option<i64>,
    /// Unix milliseconds.
    #[serde(deserialize_with = "number::optional")]
    pub update_time: Option<i64>,
    /// Recalled or deleted.
    pub deleted: bool,
    /// Edited.
    pub updated: bool,
    /// Who sent it.
    pub sender: Option<Sender>,
    /// What it says.
    pub body: Option<MessageBody>,
    /// The merged message it is a part of.
    pub upper_message_id: Option<String>,
}

/// Who sent a message.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Sender {
    /// An app id or an open id.
    pub id: String,
    /// `app_id` or `open_id`.
    pub id_type: String,
    /// `app` or `user`.
    pub sender_type: String,
}

/// What a message says.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct MessageBody {
    /// JSON text in the receiving form, which is not what was sent.
    pub content: String,
}

/// A page of messages.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Messages {
    /// The messages; a recalled one may be missing, or be there with `deleted`.
    pub items: Vec<Message>,
    /// Whether there is another page.
    pub has_more: bool,
    /// Where it begins.
    pub page_token: Option<String>,
}

/// A batch that was taken.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct BatchSent {
    /// `bm-…`
    pub message_id: String,
    /// Departments that do not exist or are out of reach.
    #[serde(deserialize_with = "lists")]
    pub invalid_department_ids: Vec<String>,
    /// People that do not exist or are out of reach.
    #[serde(deserialize_with = "lists")]
    pub invalid_open_ids: Vec<String>,
    /// People that do not exist or are out of reach.
    #[serde(deserialize_with = "lists")]
    pub invalid_user_ids: Vec<String>,
    /// People that do not exist or are out of reach.
    #[serde(deserialize_with = "lists")]
    pub invalid_union_ids: Vec<String>,
}

/// Whom a buzz did not reach.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Urgent {
    /// Ids that were left out; the others were buzzed.
    #[serde(deserialize_with = "lists")]
    pub invalid_user_id_list: Vec<String>,
}

/// A pin.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Pin {
    /// `om_…`
    pub message_id: String,
    /// `oc_…`
    pub chat_id: Option<String>,
    /// Who pinned it.
    pub operator_id: Option<String>,
    /// `open_id` or `app_id`.
    pub operator_id_type: Option<String>,
    /// Unix milliseconds.
    #[serde(deserialize_with = "number::optional")]
    pub create_time: Option<i64>,
}

/// The answer of a pin; an older pin of the same message if there was one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Pinned {
    /// The pin.
    pub pin: Option<Pin>,
}

/// A page of pins, newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Pins {
    /// The pins.
    pub items: Vec<Pin>,
    /// Whether there is another page.
    pub has_more: bool,
    /// Where it begins.
    pub page_token: Option<String>,
}

/// One who read a message.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Reader {
    /// Kind of `user_id`.
    pub user_id_type: String,
    /// Who.
    pub user_id: String,
    /// Unix milliseconds.
    #[serde(deserialize_with = "number::optional")]
    pub timestamp: Option<i64>,
    /// The reader's tenant.
    pub tenant_key: Option<String>,
}

/// A page of readers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct ReadUsers {
    /// The readers; those who have not read it are not named.
    pub items: Vec<Reader>,
    /// Whether there is another page.
    pub has_more: bool,
    /// Where it begins.
    pub page_token: Option<String>,
}

/// How far a batch and its recall are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Progress {
    /// The sending.
    #[serde(rename = "batch_message_send_progress")]
    pub send: SendProgress,
    /// The recall.
    #[serde(rename = "batch_message_recall_progress")]
    pub recall: RecallProgress,
}

/// How far the sending of a batch is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct SendProgress {
    /// Valid receivers; 0 also while nothing is scheduled yet.
    #[serde(deserialize_with = "number::plain")]
    pub valid_user_ids_count: i64,
    /// Receivers reached; may stay below the valid ones for good.
    #[serde(deserialize_with = "number::plain")]
    pub success_user_ids_count: i64,
    /// Receivers who read it.
    #[serde(deserialize_with = "number::plain")]
    pub read_user_ids_count: i64,
}

/// How far the recall of a batch is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct RecallProgress {
    /// A recall was asked for.
    pub recall: bool,
    /// Messages recalled.
    #[serde(deserialize_with = "number::plain")]
    pub recall_count: i64,
}

/// Counts of a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct BatchReads {
    /// The counts.
    pub read_user: ReadCounts,
}

/// Reached and read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct ReadCounts {
    /// Who read it.
    #[serde(deserialize_with = "number::plain")]
    pub read_count: i64,
    /// Who got it.
    #[serde(deserialize_with = "number::plain")]
    pub total_count: i64,
}

/// An uploaded image.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct UploadedImage {
    /// `img_…`, usable by this app only.
    pub image_key: String,
}

/// An uploaded file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct UploadedFile {
    /// `file_…`, usable by this app only.
    pub file_key: String,
}

/// A merged forward that was sent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct MergeForwarded {
    /// The new message.
    pub message: Message,
    /// What was left out of it.
    #[serde(deserialize_with = "lists")]
    pub invalid_message_id_list: Vec<String>,
}

/// A card for one member that was sent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Ephemeral {
    /// `om_…`
    pub message_id: String,
}

/// A reaction.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Reaction {
    /// What takes it away again.
    pub reaction_id: String,
    /// Who reacted.
    pub operator: Operator,
    /// Unix milliseconds.
    #[serde(deserialize_with = "number::optional")]
    pub action_time: Option<i64>,
    /// How.
    pub reaction_type: Emoji,
}

/// Who reacted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Operator {
    /// An app id, or a person's id of the kind that was asked for.
    pub operator_id: String,
    /// `app` or `user`.
    pub operator_type: String,
}

/// Kind of a reaction.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Emoji {
    /// The platform's name.
    pub emoji_type: String,
}

/// A page of reactions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Reactions {
    /// The reactions.
    pub items: Vec<Reaction>,
    /// Whether there is another page.
    pub has_more: bool,
    /// Where it begins.
    pub page_token: Option<String>,
}

/// The answer of the bot info endpoint; read it from the whole body.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct BotInfo {
    /// The bot.
    pub bot: Bot,
}

/// A bot.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Bot {
    /// Its name.
    pub app_name: String,
    /// Its open id.
    pub open_id: String,
}

/// The answer of the token endpoint; read it from the whole body.
#[derive(Clone, Default, Deserialize)]
#[serde(default)]
pub struct TenantToken {
    /// `t-…`
    pub tenant_access_token: String,
    /// Seconds it still lives.
    #[serde(deserialize_with = "number::plain")]
    pub expire: i64,
}

/// The answer of the app token endpoint; read it from the whole body.
#[derive(Clone, Default, Deserialize)]
#[serde(default)]
pub struct AppToken {
    /// `a-…` or `t-…`
    pub app_access_token: String,
    /// `t-…`
    pub tenant_access_token: String,
    /// Seconds they still live.
    #[serde(deserialize_with = "number::plain")]
    pub expire: i64,
}

impl std::fmt::Debug for AppToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AppToken")
            .field("expire", &self.expire)
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for MessageBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "MessageBody({} bytes)", self.content.len())
    }
}

impl std::fmt::Debug for TenantToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TenantToken")
            .field("expire", &self.expire)
            .finish_non_exhaustive()
    }
}

/// A list that may be `null`.
fn lists<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    Ok(Option::<Vec<String>>::deserialize(from)?.unwrap_or_default())
}

/// Integers as numbers or as strings; empty strings and `null` count as absent.
mod number {
    use serde::de::Error;
    use serde::{Deserialize, Deserializer};

    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Either {
        Number(i64),
        Text(String),
    }

    pub(super) fn optional<'de, D: Deserializer<'de>>(from: D) -> Result<Option<i64>, D::Error> {
        match Option::<Either>::deserialize(from)? {
            None => Ok(None),
            Some(Either::Number(number)) => Ok(Some(number)),
            Some(Either::Text(text)) if text.is_empty() => Ok(None),
            Some(Either::Text(text)) => text
                .parse()
                .map(Some)
                .map_err(|_| D::Error::custom("not an integer")),
        }
    }

    pub(super) fn plain<'de, D: Deserializer<'de>>(from: D) -> Result<i64, D::Error> {
        Ok(optional(from)?.unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fmt::Debug;

    fn check<T: serde::de::DeserializeOwned + PartialEq + Debug>(text: &str, expected: &T) {
        assert_eq!(
            &serde_json::from_str::<T>(text).expect(text),
            expected,
            "{text}"
        );
    }

    #[test]
    fn numbers_are_read_from_numbers_and_from_strings() {
        let expected = BatchReads {
            read_user: ReadCounts {
                read_count: 2,
                total_count: 30,
            },
        };
        check(
            r#"{"read_user":{"read_count":"2","total_count":"30"}}"#,
            &expected,
        );
        check(
            r#"{"read_user":{"read_count":2,"total_count":30}}"#,
            &expected,
        );
        let send = SendProgress {
            valid_user_ids_count: 3,
            success_user_ids_count: 2,
            read_user_ids_count: 0,
        };
        let text = r#"{"batch_message_send_progress":{"valid_user_ids_count":3,"success_user_ids_count":"2"}}"#;
        check(
            text,
            &Progress {
                send,
                recall: RecallProgress::default(),
            },
        );
    }

    #[test]
    fn a_message_keeps_what_the_platform_named() {
        let text = r#"{"message_id":"om_1","chat_id":"oc_1","create_time":"1767225600123","deleted":false,
            "body":{"content":"{}"},"sender":{"id":"cli_1","id_type":"app_id","sender_type":"app","tenant_key":"t"}}"#;
        let sender = Sender {
            id: "cli_1".into(),
            id_type: "app_id".into(),
            sender_type: "app".into(),
        };
        let expected = Message {
            message_id: "om_1".into(),
            chat_id: Some("oc_1".into()),
            create_time: Some(1_767_225_600_123),
            sender: Some(sender),
            body: Some(MessageBody {
                content: "{}".into(),
            }),
            ..Message::default()
        };
        check(text, &expected);
        assert!(!format!("{expected:?}").contains("{}"));
    }

    #[test]
    fn an_absent_or_null_list_is_empty() {
        check(
            r#"{"message_id":"bm-1","invalid_open_ids":null}"#,
            &BatchSent {
                message_id: "bm-1".into(),
                ..BatchSent::default()
            },
        );
        check("{}", &Urgent::default());
        check(
            r#"{"pin":{"message_id":"om_1","create_time":""}}"#,
            &Pinned {
                pin: Some(Pin {
                    message_id: "om_1".into(),
                    ..Pin::default()
                }),
            },
        );
    }
}
