//! One struct an operation, each with `request()`.
//!
//! Promises: field names are the platform's; a request depends on nothing but the struct.
//! Not here: checks of content (`content`), answers (`answers`).

mod cards;
mod files;
mod hook;
mod messages;
mod raw;
mod reactions;

pub use cards::{
    DelayUpdateCard, DeleteEphemeral, Member, SendEphemeral, UpdateCard, UpdateUrlPreviews,
};
pub use files::{DownloadFile, DownloadImage, FILE_TYPES, GetResource, ResourceType, UploadFile};
pub use hook::{Webhook, sign};
pub use messages::{
    Bubble, Edit, FollowUp, Forward, ForwardThread, LANGUAGES, LocalBubble, MergeForward, Reply,
    Target,
};
pub use raw::{Raw, RawUpload, form_of};
pub use reactions::{BatchQueryReactions, ListReactions, React, ReactionQuery, Unreact};

use serde::Serialize;

use crate::content::{BatchContent, BatchLists};
use crate::endpoints::Api;
use crate::ids::IdType;
use crate::request::{Body, FileSource, Request};

/// `Debug` by name alone: fields are ids, content and secrets.
macro_rules! nameless_debug {
    ($($op:ident),*) => {$(
        impl std::fmt::Debug for $op<'_> {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(stringify!($op))
            }
        }
    )*};
}
use nameless_debug;

/// Sends one message. Answer: [`crate::answers::Message`].
#[derive(Clone, Copy)]
pub struct SendMessage<'a> {
    /// Kind of `receive_id`.
    pub receive_id_type: IdType,
    /// The receiver.
    pub receive_id: &'a str,
    /// The platform's type of message.
    pub msg_type: &'a str,
    /// Content as JSON text; it travels as a string.
    pub content: &'a str,
    /// The key that lets one of several equal requests succeed, ≤ 50 characters; empty for none.
    pub uuid: &'a str,
}

impl SendMessage<'_> {
    /// The request.
    pub fn request(&self) -> Request {
        #[derive(Serialize)]
        struct Wire<'a> {
            receive_id: &'a str,
            msg_type: &'a str,
            content: &'a str,
            #[serde(skip_serializing_if = "str::is_empty")]
            uuid: &'a str,
        }
        let &SendMessage {
            receive_id,
            msg_type,
            content,
            uuid,
            ..
        } = self;
        Request::new(Api::SendMessage, &[])
            .query("receive_id_type", self.receive_id_type.name())
            .json(&Wire {
                receive_id,
                msg_type,
                content,
                uuid,
            })
    }
}

/// Sends one content to many people and departments. Answer: [`crate::answers::BatchSent`].
#[derive(Clone, Copy)]
pub struct BatchSend<'a> {
    /// What is sent.
    pub content: &'a BatchContent,
    /// To whom; each list ≤ [`crate::limits::BATCH_IDS_MAX`].
    pub lists: BatchLists<'a>,
}

impl BatchSend<'_> {
    /// The request.
    pub fn request(&self) -> Request {
        let mut request = Request::new(Api::BatchSend, &[]);
        request.body = Body::Json(self.content.body(&self.lists));
        request
    }
}

/// How people are buzzed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum UrgentWay {
    /// In the app.
    App,
    /// In the app and by SMS.
    Sms,
    /// In the app and by a call.
    Phone,
}

/// Buzzes people about a message. Answer: [`crate::answers::Urgent`].
#[derive(Clone, Copy)]
pub struct Urgent<'a> {
    /// How.
    pub way: UrgentWay,
    /// The bot's own message, `om_…`.
    pub message_id: &'a str,
    /// Kind of the ids: open, union or user id.
    pub user_id_type: IdType,
    /// Whom; ≤ [`crate::limits::URGENT_USERS_MAX`].
    pub user_id_list: &'a [String],
}

impl Urgent<'_> {
    /// The request.
    pub fn request(&self) -> Request {
        #[derive(Serialize)]
        struct Wire<'a> {
            user_id_list: &'a [String],
        }
        let api = match self.way {
            UrgentWay::App => Api::UrgentApp,
            UrgentWay::Sms => Api::UrgentSms,
            UrgentWay::Phone => Api::UrgentPhone,
        };
        Request::new(api, &[self.message_id])
            .query("user_id_type", self.user_id_type.name())
            .json(&Wire {
                user_id_list: self.user_id_list,
            })
    }
}

/// Pins a message in its chat. Answer: [`crate::answers::Pinned`].
#[derive(Clone, Copy)]
pub struct Pin<'a> {
    /// `om_…`
    pub message_id: &'a str,
}

impl Pin<'_> {
    /// The request.
    pub fn request(&self) -> Request {
        #[derive(Serialize)]
        struct Wire<'a> {
            message_id: &'a str,
        }
        Request::new(Api::Pin, &[]).json(&Wire {
            message_id: self.message_id,
        })
    }
}

/// Takes a pin away. No answer beyond the code.
#[derive(Clone, Copy)]
pub struct Unpin<'a> {
    /// `om_…`
    pub message_id: &'a str,
}

impl Unpin<'_> {
    /// The request.
    pub fn request(&self) -> Request {
        Request::new(Api::Unpin, &[self.message_id])
    }
}

/// A page of a chat's pins. Answer: [`crate::answers::Pins`].
#[derive(Clone, Copy, Default)]
pub struct ListPins<'a> {
    /// `oc_…`
    pub chat_id: &'a str,
    /// Unix milliseconds.
    pub start_time_ms: Option<i64>,
    /// Unix milliseconds.
    pub end_time_ms: Option<i64>,
    /// 1 to [`crate::limits::PINS_PAGE_MAX`].
    pub page_size: Option<u32>,
    /// From the page before.
    pub page_token: Option<&'a str>,
}

impl ListPins<'_> {
    /// The request.
    pub fn request(&self) -> Request {
        Request::new(Api::ListPins, &[])
            .query("chat_id", self.chat_id)
            .query_opt("start_time", self.start_time_ms)
            .query_opt("end_time", self.end_time_ms)
            .query_opt("page_size", self.page_size)
            .query_opt("page_token", self.page_token)
    }
}

/// Recalls a message. No answer beyond the code.
#[derive(Clone, Copy)]
pub struct Recall<'a> {
    /// `om_…`
    pub message_id: &'a str,
}

impl Recall<'_> {
    /// The request.
    pub fn request(&self) -> Request {
        Request::new(Api::Recall, &[self.message_id])
    }
}

/// Recalls a batch; done in the background, see [`BatchProgress`]. No answer beyond the code.
#[derive(Clone, Copy)]
pub struct BatchRecall<'a> {
    /// `bm-…`
    pub batch_message_id: &'a str,
}

impl BatchRecall<'_> {
    /// The request.
    pub fn request(&self) -> Request {
        Request::new(Api::BatchRecall, &[self.batch_message_id])
    }
}

/// A page of those who read a message. Answer: [`crate::answers::ReadUsers`].
#[derive(Clone, Copy)]
pub struct ReadUsers<'a> {
    /// The bot's own message, ≤ 7 days old.
    pub message_id: &'a str,
    /// Kind of the answered ids: open, union or user id.
    pub user_id_type: IdType,
    /// 1 to [`crate::limits::READ_USERS_PAGE_MAX`].
    pub page_size: Option<u32>,
    /// From the page before.
    pub page_token: Option<&'a str>,
}

impl ReadUsers<'_> {
    /// The request.
    pub fn request(&self) -> Request {
        Request::new(Api::ReadUsers, &[self.message_id])
            .query("user_id_type", self.user_id_type.name())
            .query_opt("page_size", self.page_size)
            .query_opt("page_token", self.page_token)
    }
}

/// How far a batch is. Answer: [`crate::answers::Progress`].
#[derive(Clone, Copy)]
pub struct BatchProgress<'a> {
    /// `bm-…`, ≤ 30 days old.
    pub batch_message_id: &'a str,
}

impl BatchProgress<'_> {
    /// The request.
    pub fn request(&self) -> Request {
        Request::new(Api::BatchProgress, &[self.batch_message_id])
    }
}

/// How many a batch reached and how many read it. Answer: [`crate::answers::BatchReads`].
#[derive(Clone, Copy)]
pub struct BatchReadUser<'a> {
    /// `bm-…`, ≤ 30 days old.
    pub batch_message_id: &'a str,
}

impl BatchReadUser<'_> {
    /// The request.
    pub fn request(&self) -> Request {
        Request::new(Api::BatchReadUser, &[self.batch_message_id])
    }
}

/// Reads one message. Answer: [`crate::answers::Messages`].
#[derive(Clone, Copy)]
pub struct GetMessage<'a> {
    /// `om_…`
    pub message_id: &'a str,
    /// A card as it was sent instead of the simplified form.
    pub user_card_content: bool,
}

impl GetMessage<'_> {
    /// The request.
    pub fn request(&self) -> Request {
        let request = Request::new(Api::GetMessage, &[self.message_id]);
        card_form(request, self.user_card_content)
    }
}

/// A page of a chat's or a thread's messages. Answer: [`crate::answers::Messages`].
#[derive(Clone, Copy)]
pub struct ListMessages<'a> {
    /// `ChatId` or `ThreadId`.
    pub container: IdType,
    /// The chat or the thread.
    pub container_id: &'a str,
    /// Unix **seconds**; not for threads.
    pub start_time_s: Option<i64>,
    /// Unix **seconds**; not for threads.
    pub end_time_s: Option<i64>,
    /// Newest first; fixed while paging.
    pub newest_first: bool,
    /// 1 to [`crate::limits::HISTORY_PAGE_MAX`].
    pub page_size: Option<u32>,
    /// From the page before.
    pub page_token: Option<&'a str>,
    /// Cards as they were sent instead of the simplified form.
    pub user_card_content: bool,
}

impl ListMessages<'_> {
    /// The request.
    pub fn request(&self) -> Request {
        let kind = if self.container == IdType::ThreadId {
            "thread"
        } else {
            "chat"
        };
        let sort = if self.newest_first {
            "ByCreateTimeDesc"
        } else {
            "ByCreateTimeAsc"
        };
        let request = Request::new(Api::ListMessages, &[])
            .query("container_id_type", kind)
            .query("container_id", self.container_id)
            .query_opt("start_time", self.start_time_s)
            .query_opt("end_time", self.end_time_s)
            .query("sort_type", sort)
            .query_opt("page_size", self.page_size)
            .query_opt("page_token", self.page_token);
        card_form(request, self.user_card_content)
    }
}

fn card_form(request: Request, user_card_content: bool) -> Request {
    if user_card_content {
        request.query("card_msg_content_type", "user_card_content")
    } else {
        request
    }
}

/// What an uploaded image is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ImageType {
    /// To be sent.
    Message,
    /// To be an avatar.
    Avatar,
}

/// Uploads an image. Answer: [`crate::answers::UploadedImage`].
#[derive(Clone, Copy)]
pub struct UploadImage<'a> {
    /// What for.
    pub image_type: ImageType,
    /// The name it travels under.
    pub file_name: &'a str,
    /// Its bytes, ≤ [`crate::limits::IMAGE_BYTES_MAX`], not empty.
    pub image: &'a FileSource,
}

impl UploadImage<'_> {
    /// The request.
    pub fn request(&self) -> Request {
        let image_type = match self.image_type {
            ImageType::Message => "message",
            ImageType::Avatar => "avatar",
        };
        let mut request = Request::new(Api::UploadImage, &[]);
        request.body = Body::Multipart {
            fields: vec![("image_type", image_type.to_owned())],
            file_field: "image",
            file_name: self.file_name.to_owned(),
            file: self.image.clone(),
        };
        request
    }
}

/// Who the bot is. Answer: [`crate::answers::BotInfo`], read from the whole body.
#[derive(Clone, Copy, Debug)]
pub struct BotInfo;

impl BotInfo {
    /// The request.
    pub fn request(&self) -> Request {
        Request::new(Api::BotInfo, &[])
    }
}

/// Asks for a tenant token. Answer: [`crate::answers::TenantToken`], read from the whole body.
#[derive(Clone, Copy)]
pub struct TenantToken<'a> {
    /// `cli_…`
    pub app_id: &'a str,
    /// The app's secret.
    pub app_secret: &'a str,
}

impl TenantToken<'_> {
    /// The request.
    pub fn request(&self) -> Request {
        let &TenantToken { app_id, app_secret } = self;
        Request::new(Api::TenantToken, &[]).json(&Credentials { app_id, app_secret })
    }
}

/// Asks for an app token. Answer: [`crate::answers::AppToken`], read from the whole body.
#[derive(Clone, Copy)]
pub struct AppToken<'a> {
    /// `cli_…`
    pub app_id: &'a str,
    /// The app's secret.
    pub app_secret: &'a str,
}

impl AppToken<'_> {
    /// The request.
    pub fn request(&self) -> Request {
        let &AppToken { app_id, app_secret } = self;
        Request::new(Api::AppToken, &[]).json(&Credentials { app_id, app_secret })
    }
}

#[derive(Serialize)]
struct Credentials<'a> {
    app_id: &'a str,
    app_secret: &'a str,
}

nameless_debug!(
    SendMessage,
    BatchSend,
    Urgent,
    Pin,
    Unpin,
    ListPins,
    Recall,
    BatchRecall,
    ReadUsers,
    BatchProgress,
    BatchReadUser,
    GetMessage,
    ListMessages,
    UploadImage,
    TenantToken,
    AppToken
);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content::Content;

    #[track_caller]
    pub(super) fn check(request: &Request, call: &str, body: &str) {
        let mark = if request.query.is_empty() { "" } else { "?" };
        let method = request.api.endpoint().method.as_str();
        assert_eq!(
            format!("{method} {}{mark}{}", request.path, request.query),
            call
        );
        match &request.body {
            Body::None => assert_eq!(body, ""),
            Body::Json(text) => assert_eq!(body.as_bytes(), text),
            Body::Multipart { .. } => panic!("forms are looked at on the wire"),
        }
    }

    pub(super) const IM: &str = "/open-apis/im/v1";

    #[test]
    fn writes_are_written_as_the_pages_say() {
        let (receive_id_type, content) = (IdType::ChatId, r#"{"text":"a"}"#);
        let send = SendMessage {
            receive_id_type,
            receive_id: "oc_1",
            msg_type: "text",
            content,
            uuid: "u-1",
        };
        let body =
            r#"{"receive_id":"oc_1","msg_type":"text","content":"{\"text\":\"a\"}","uuid":"u-1"}"#;
        let call = format!("POST {IM}/messages?receive_id_type=chat_id");
        check(&send.request(), &call, body);
        check(
            &SendMessage { uuid: "", ..send }.request(),
            &call,
            &body.replace(r#","uuid":"u-1""#, ""),
        );
        let user_id_list = &["ou_1".to_owned()];
        for (way, word) in [
            (UrgentWay::App, "app"),
            (UrgentWay::Sms, "sms"),
            (UrgentWay::Phone, "phone"),
        ] {
            let urgent = Urgent {
                way,
                message_id: "om_1",
                user_id_type: IdType::OpenId,
                user_id_list,
            };
            let call = format!("PATCH {IM}/messages/om_1/urgent_{word}?user_id_type=open_id");
            check(&urgent.request(), &call, r#"{"user_id_list":["ou_1"]}"#);
        }
        let message_id = "om_1";
        check(
            &Pin { message_id }.request(),
            &format!("POST {IM}/pins"),
            r#"{"message_id":"om_1"}"#,
        );
        check(
            &Unpin { message_id }.request(),
            &format!("DELETE {IM}/pins/om_1"),
            "",
        );
        check(
            &Recall { message_id }.request(),
            &format!("DELETE {IM}/messages/om_1"),
            "",
        );
        let recall = BatchRecall {
            batch_message_id: "bm-1",
        };
        check(
            &recall.request(),
            &format!("DELETE {IM}/batch_messages/bm-1"),
            "",
        );
        let content = BatchContent {
            msg_type: "text".to_owned(),
            object: r#"{"text":"a"}"#.to_owned(),
        };
        let lists = BatchLists {
            open_ids: user_id_list,
            ..BatchLists::default()
        };
        let body = r#"{"msg_type":"text","content":{"text":"a"},"open_ids":["ou_1"]}"#;
        check(
            &BatchSend {
                content: &content,
                lists,
            }
            .request(),
            "POST /open-apis/message/v4/batch_send/",
            body,
        );
        let token = TenantToken {
            app_id: "cli_1",
            app_secret: "s",
        };
        let call = "POST /open-apis/auth/v3/tenant_access_token/internal";
        check(
            &token.request(),
            call,
            r#"{"app_id":"cli_1","app_secret":"s"}"#,
        );
    }

    #[test]
    fn reads_ask_only_for_what_is_set() {
        let (message_id, batch_message_id, page_token) = ("om_1", "bm-1", Some("p=1"));
        let get = GetMessage {
            message_id,
            user_card_content: true,
        };
        check(
            &get.request(),
            &format!("GET {IM}/messages/om_1?card_msg_content_type=user_card_content"),
            "",
        );
        let readers = ReadUsers {
            message_id,
            user_id_type: IdType::UnionId,
            page_size: Some(100),
            page_token,
        };
        let call = format!(
            "GET {IM}/messages/om_1/read_users?user_id_type=union_id&page_size=100&page_token=p%3D1"
        );
        check(&readers.request(), &call, "");
        let progress = BatchProgress { batch_message_id };
        check(
            &progress.request(),
            &format!("GET {IM}/batch_messages/bm-1/get_progress"),
            "",
        );
        let counts = BatchReadUser { batch_message_id };
        check(
            &counts.request(),
            &format!("GET {IM}/batch_messages/bm-1/read_user"),
            "",
        );
        let pins = ListPins {
            chat_id: "oc_1",
            start_time_ms: Some(5),
            ..ListPins::default()
        };
        check(
            &pins.request(),
            &format!("GET {IM}/pins?chat_id=oc_1&start_time=5"),
            "",
        );
        let history = ListMessages {
            container: IdType::ThreadId,
            container_id: "omt_1",
            start_time_s: None,
            end_time_s: None,
            newest_first: true,
            page_size: None,
            page_token: None,
            user_card_content: false,
        };
        let call =
            "messages?container_id_type=thread&container_id=omt_1&sort_type=ByCreateTimeDesc";
        check(&history.request(), &format!("GET {IM}/{call}"), "");
        let chat = ListMessages {
            container: IdType::ChatId,
            newest_first: false,
            start_time_s: Some(7),
            ..history
        };
        let call = "messages?container_id_type=chat&container_id=omt_1&start_time=7&sort_type=ByCreateTimeAsc";
        check(&chat.request(), &format!("GET {IM}/{call}"), "");
        check(&BotInfo.request(), "GET /open-apis/bot/v3/info", "");
    }

    #[test]
    fn the_room_kept_for_the_envelope_is_enough() {
        let content = Content {
            msg_type: "interactive".to_owned(),
            content: r#"{"a":"\n"}"#.to_owned(),
        };
        let send = SendMessage {
            receive_id_type: IdType::Email,
            receive_id: &"x".repeat(128),
            msg_type: &content.msg_type,
            content: &content.content,
            uuid: &"x".repeat(crate::limits::UUID_CHARS_MAX),
        };
        let Body::Json(body) = send.request().body else {
            panic!("a send has a JSON body")
        };
        assert!(body.len() <= content.request_bytes(), "{}", body.len());
    }

    #[test]
    fn debug_names_the_operation_and_no_more() {
        let token = TenantToken {
            app_id: "cli_1",
            app_secret: "hush",
        };
        assert_eq!(format!("{token:?}"), "TenantToken");
    }
}
