//! Replies, edits, forwards and follow-up bubbles.

use serde::Serialize;

use super::nameless_debug;
use crate::endpoints::Api;
use crate::ids::IdType;
use crate::request::Request;

/// Answers a message. Answer: [`crate::answers::Message`].
#[derive(Clone, Copy)]
pub struct Reply<'a> {
    /// What is answered, `om_…`.
    pub message_id: &'a str,
    /// The platform's type of message; not `system`.
    pub msg_type: &'a str,
    /// Content as JSON text; it travels as a string.
    pub content: &'a str,
    /// Makes a thread of it, or goes on with one. A message in a thread is always answered there.
    pub reply_in_thread: bool,
    /// As of [`super::SendMessage::uuid`]. It ignores which message is answered.
    pub uuid: &'a str,
}

impl Reply<'_> {
    /// The request.
    pub fn request(&self) -> Request {
        #[derive(Serialize)]
        struct Wire<'a> {
            msg_type: &'a str,
            content: &'a str,
            #[serde(skip_serializing_if = "is_false")]
            reply_in_thread: bool,
            #[serde(skip_serializing_if = "str::is_empty")]
            uuid: &'a str,
        }
        let &Reply {
            message_id,
            msg_type,
            content,
            reply_in_thread,
            uuid,
        } = self;
        Request::new(Api::Reply, &[message_id]).json(&Wire {
            msg_type,
            content,
            reply_in_thread,
            uuid,
        })
    }
}

/// Edits a text or a post; spends one of [`crate::limits::EDITS_MAX`]. Answer: [`crate::answers::Message`].
#[derive(Clone, Copy)]
pub struct Edit<'a> {
    /// The bot's own message, `om_…`.
    pub message_id: &'a str,
    /// `text` or `post`.
    pub msg_type: &'a str,
    /// Content as JSON text; it travels as a string.
    pub content: &'a str,
}

impl Edit<'_> {
    /// The request.
    pub fn request(&self) -> Request {
        #[derive(Serialize)]
        struct Wire<'a> {
            msg_type: &'a str,
            content: &'a str,
        }
        let &Edit {
            message_id,
            msg_type,
            content,
        } = self;
        Request::new(Api::Edit, &[message_id]).json(&Wire { msg_type, content })
    }
}

/// To whom something is forwarded.
#[derive(Clone, Copy)]
pub struct Target<'a> {
    /// Kind of `receive_id`; here a thread too.
    pub receive_id_type: IdType,
    /// The receiver.
    pub receive_id: &'a str,
    /// As of [`super::SendMessage::uuid`], for this target.
    pub uuid: &'a str,
}

impl Target<'_> {
    fn on(&self, request: Request) -> Request {
        let request = request.query("receive_id_type", self.receive_id_type.name());
        if self.uuid.is_empty() {
            request
        } else {
            request.query("uuid", self.uuid)
        }
    }
}

#[derive(Serialize)]
struct ReceiveId<'a> {
    receive_id: &'a str,
}

/// Forwards a message. Answer: [`crate::answers::Message`].
#[derive(Clone, Copy)]
pub struct Forward<'a> {
    /// What is forwarded, `om_…`.
    pub message_id: &'a str,
    /// To whom.
    pub to: Target<'a>,
}

impl Forward<'_> {
    /// The request.
    pub fn request(&self) -> Request {
        let receive_id = self.to.receive_id;
        self.to
            .on(Request::new(Api::Forward, &[self.message_id]))
            .json(&ReceiveId { receive_id })
    }
}

/// Forwards several messages of one chat as one. Answer: [`crate::answers::MergeForwarded`].
#[derive(Clone, Copy)]
pub struct MergeForward<'a> {
    /// What is forwarded; 1 to [`crate::limits::MERGE_FORWARD_MAX`].
    pub message_id_list: &'a [String],
    /// To whom.
    pub to: Target<'a>,
}

impl MergeForward<'_> {
    /// The request.
    pub fn request(&self) -> Request {
        #[derive(Serialize)]
        struct Wire<'a> {
            receive_id: &'a str,
            message_id_list: &'a [String],
        }
        self.to
            .on(Request::new(Api::MergeForward, &[]))
            .json(&Wire {
                receive_id: self.to.receive_id,
                message_id_list: self.message_id_list,
            })
    }
}

/// Forwards a thread. Answer: [`crate::answers::Message`], a merged forward.
#[derive(Clone, Copy)]
pub struct ForwardThread<'a> {
    /// `omt_…`
    pub thread_id: &'a str,
    /// To whom.
    pub to: Target<'a>,
}

impl ForwardThread<'_> {
    /// The request.
    pub fn request(&self) -> Request {
        let receive_id = self.to.receive_id;
        self.to
            .on(Request::new(Api::ForwardThread, &[self.thread_id]))
            .json(&ReceiveId { receive_id })
    }
}

/// Offers bubbles under the newest message of a one-to-one chat. No answer beyond the code.
#[derive(Clone, Copy)]
pub struct FollowUp<'a> {
    /// The bot's own message, ≤ [`crate::limits::FOLLOW_UP_WINDOW_MS`] old.
    pub message_id: &'a str,
    /// 1 to [`crate::limits::FOLLOW_UPS_MAX`].
    pub follow_ups: &'a [Bubble],
}

/// A bubble.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Bubble {
    /// 1 to [`crate::limits::FOLLOW_UP_CHARS_MAX`] characters.
    pub content: String,
    /// The same in other languages, ≤ [`crate::limits::FOLLOW_UP_LANGUAGES_MAX`].
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub i18n_contents: Vec<LocalBubble>,
}

/// A bubble in another language.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LocalBubble {
    /// As of [`Bubble::content`].
    pub content: String,
    /// One of [`LANGUAGES`].
    pub language: String,
}

/// The languages of bubbles. Source: follow-up bubbles page, May 2026.
pub const LANGUAGES: [&str; 16] = [
    "en_us", "zh_cn", "zh_hk", "zh_tw", "ja_jp", "id_id", "vi_vn", "th_th", "pt_br", "es_es",
    "ko_kr", "de_de", "fr_fr", "it_it", "ru_ru", "ms_my",
];

impl FollowUp<'_> {
    /// The request.
    pub fn request(&self) -> Request {
        #[derive(Serialize)]
        struct Wire<'a> {
            follow_ups: &'a [Bubble],
        }
        Request::new(Api::FollowUp, &[self.message_id]).json(&Wire {
            follow_ups: self.follow_ups,
        })
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for it")]
fn is_false(flag: &bool) -> bool {
    !flag
}

nameless_debug!(
    Reply,
    Edit,
    Target,
    Forward,
    MergeForward,
    ForwardThread,
    FollowUp
);

#[cfg(test)]
mod tests {
    use super::super::tests::{IM, check};
    use super::*;

    #[test]
    fn a_reply_names_what_it_answers_in_its_path() {
        let reply = Reply {
            message_id: "om_1",
            msg_type: "text",
            content: r#"{"text":"a"}"#,
            reply_in_thread: false,
            uuid: "u-1",
        };
        let call = format!("POST {IM}/messages/om_1/reply");
        let body = r#"{"msg_type":"text","content":"{\"text\":\"a\"}","uuid":"u-1"}"#;
        check(&reply.request(), &call, body);
        let threaded = Reply {
            reply_in_thread: true,
            uuid: "",
            ..reply
        };
        let body = r#"{"msg_type":"text","content":"{\"text\":\"a\"}","reply_in_thread":true}"#;
        check(&threaded.request(), &call, body);
    }

    #[test]
    fn an_edit_puts_type_and_content() {
        let edit = Edit {
            message_id: "om_1",
            msg_type: "post",
            content: "{}",
        };
        let body = r#"{"msg_type":"post","content":"{}"}"#;
        check(&edit.request(), &format!("PUT {IM}/messages/om_1"), body);
    }

    #[test]
    fn forwards_carry_their_uuid_in_the_query() {
        let to = Target {
            receive_id_type: IdType::ThreadId,
            receive_id: "omt_2",
            uuid: "u 1",
        };
        let query = "receive_id_type=thread_id&uuid=u%201";
        let body = r#"{"receive_id":"omt_2"}"#;
        let forward = Forward {
            message_id: "om_1",
            to,
        };
        let call = format!("POST {IM}/messages/om_1/forward?{query}");
        check(&forward.request(), &call, body);
        let thread = ForwardThread {
            thread_id: "omt_1",
            to: Target { uuid: "", ..to },
        };
        let call = format!("POST {IM}/threads/omt_1/forward?receive_id_type=thread_id");
        check(&thread.request(), &call, body);
        let merged = MergeForward {
            message_id_list: &["om_1".to_owned(), "om_2".to_owned()],
            to,
        };
        let call = format!("POST {IM}/messages/merge_forward?{query}");
        let body = r#"{"receive_id":"omt_2","message_id_list":["om_1","om_2"]}"#;
        check(&merged.request(), &call, body);
    }

    #[test]
    fn bubbles_name_their_other_languages_only_when_there_are_some() {
        let bubble = |i18n_contents| Bubble {
            content: "yes".to_owned(),
            i18n_contents,
        };
        let chinese = LocalBubble {
            content: "是".to_owned(),
            language: "zh_cn".to_owned(),
        };
        let follow_up = FollowUp {
            message_id: "om_1",
            follow_ups: &[bubble(Vec::new()), bubble(vec![chinese])],
        };
        let body = r#"{"follow_ups":[{"content":"yes"},{"content":"yes","i18n_contents":[{"content":"是","language":"zh_cn"}]}]}"#;
        let call = format!("POST {IM}/messages/om_1/push_follow_up");
        check(&follow_up.request(), &call, body);
    }
}
