//! The endpoints, as a table: path, what a repeat does, which windows count the call.
//!
//! Promises: one row an [`Api`], in the order of [`Api::ALL`]; names are stable and may be stored.
//! Another endpoint is another variant and another row.
//! Not here: what is sent (`op`), what answers mean (`codes`).

use crate::limits::{
    API_MINUTE, API_SECOND, BATCH_DAY, BOT_MINUTE, BOT_SECOND, EPHEMERAL_CHAT_SECOND,
    PREVIEW_SECOND, Window,
};

/// One endpoint of the platform.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the names are the endpoints'")]
pub enum Api {
    SendMessage,
    BatchSend,
    UrgentApp,
    UrgentSms,
    UrgentPhone,
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
    BotInfo,
    TenantToken,
    Reply,
    Edit,
    Forward,
    MergeForward,
    ForwardThread,
    FollowUp,
    UpdateCard,
    DelayUpdateCard,
    SendEphemeral,
    DeleteEphemeral,
    React,
    Unreact,
    ListReactions,
    BatchQueryReactions,
    UploadFile,
    DownloadImage,
    DownloadFile,
    GetResource,
    UpdateUrlPreviews,
    AppToken,
    Webhook,
}

/// The verb of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "HTTP's names")]
pub enum Method {
    Get,
    Post,
    Put,
    Patch,
    Delete,
}

/// What a second execution of the same request does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Repeat {
    /// Nothing, under the same `uuid` within its hour.
    Key,
    /// Writes the same state again.
    Set,
    /// Fails with a code that proves the first one worked.
    Guard,
    /// A second visible effect; nothing can be looked up.
    Dup,
    /// Another object that nobody sees.
    Orphan,
    /// Nothing: it only reads.
    Read,
}

/// Where an endpoint takes its `uuid`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum UuidPlace {
    /// It has none.
    None,
    /// A field of the JSON body.
    Body,
    /// A query parameter.
    Query,
}

/// How an endpoint says no.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Family {
    /// HTTP 4xx and a code.
    V1,
    /// HTTP 200 and a code.
    Old,
    /// A token endpoint: HTTP 200 and a code, answer at the top level, no token in the request.
    Token,
    /// A custom bot: HTTP 200 and a code, no token in the request; whoever has its URL may speak.
    Hook,
}

/// The group of meanings an endpoint's codes belong to; numbers are reused between groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Topic {
    /// Token endpoints.
    Token,
    /// Messages, urgent, pins, reads, batch reads, updates of a card by its message.
    Message,
    /// The old batch send.
    BatchSend,
    /// Images, files and resources.
    File,
    /// Reactions.
    Reaction,
    /// Follow-up bubbles.
    FollowUp,
    /// Delayed card update.
    DelayedCard,
    /// Cards for one member.
    Ephemeral,
    /// Custom group bots.
    Webhook,
    /// Nothing beyond the codes any endpoint can answer.
    Plain,
}

/// The published rate class of an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Tier {
    /// 1000 a minute and 50 a second, both at once.
    Four,
    /// 5 a second ([`PREVIEW_SECOND`]).
    Six,
    /// 100 a minute and 5 a second, both at once, for each custom bot.
    Bot,
    /// No figure is published.
    Unpublished,
}

impl Tier {
    /// The windows of this tier, per API, app and tenant (of a custom bot: per bot); empty when none is published.
    pub fn windows(self) -> &'static [Window] {
        match self {
            Tier::Four => &[API_MINUTE, API_SECOND],
            Tier::Six => &[PREVIEW_SECOND],
            Tier::Bot => &[BOT_MINUTE, BOT_SECOND],
            Tier::Unpublished => &[],
        }
    }
}

/// A window beside the tier's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Paced {
    /// 5 a second to one person or group ([`crate::limits::USER_SECOND`], [`crate::limits::CHAT_SECOND`]).
    Receiver,
    /// 5 a second on one message ([`crate::limits::MESSAGE_SECOND`]).
    Message,
    /// So many calls for one group, beside what its messages may take.
    Group(Window),
    /// So many messages (not calls) a day.
    Day(Window),
}

/// A row of the table.
#[derive(Debug)]
pub struct Endpoint {
    /// Which one.
    pub api: Api,
    /// Stable `snake_case` name for logs, metrics and rows.
    pub name: &'static str,
    /// Method and path template: `PATCH /open-apis/im/v1/messages/:message_id/urgent_app`.
    pub call: &'static str,
    /// The method of `call`.
    pub method: Method,
    /// The path of `call`, parameters as `:name`.
    pub path: &'static str,
    /// What a repeat does.
    pub repeat: Repeat,
    /// Where the `uuid` goes.
    pub uuid: UuidPlace,
    /// How it says no.
    pub family: Family,
    /// Which group of codes it answers.
    pub topic: Topic,
    /// Its rate class.
    pub tier: Tier,
    /// Windows beside the tier's.
    pub paces: &'static [Paced],
    /// Whether a successful call counts towards the tenant's month.
    pub counted: bool,
    /// Where the row comes from.
    pub source: &'static str,
}

impl Api {
    /// Every endpoint, in the order of the table.
    pub const ALL: &[Api] = &[
        Api::SendMessage,
        Api::BatchSend,
        Api::UrgentApp,
        Api::UrgentSms,
        Api::UrgentPhone,
        Api::Pin,
        Api::Unpin,
        Api::ListPins,
        Api::Recall,
        Api::BatchRecall,
        Api::ReadUsers,
        Api::BatchProgress,
        Api::BatchReadUser,
        Api::GetMessage,
        Api::ListMessages,
        Api::UploadImage,
        Api::BotInfo,
        Api::TenantToken,
        Api::Reply,
        Api::Edit,
        Api::Forward,
        Api::MergeForward,
        Api::ForwardThread,
        Api::FollowUp,
        Api::UpdateCard,
        Api::DelayUpdateCard,
        Api::SendEphemeral,
        Api::DeleteEphemeral,
        Api::React,
        Api::Unreact,
        Api::ListReactions,
        Api::BatchQueryReactions,
        Api::UploadFile,
        Api::DownloadImage,
        Api::DownloadFile,
        Api::GetResource,
        Api::UpdateUrlPreviews,
        Api::AppToken,
        Api::Webhook,
    ];

    /// The row of this endpoint.
    pub fn endpoint(self) -> &'static Endpoint {
        &TABLE[self as usize]
    }

    /// The stable `snake_case` name.
    pub fn name(self) -> &'static str {
        self.endpoint().name
    }

    /// The endpoint of that method and path (as it came, percent-encoded) and what its parameters are, in order.
    ///
    /// A trailing slash more or less names the same one, as on the platform. Of two that fit, the one with fewer
    /// parameters is meant.
    pub fn of_call<'a>(method: &str, path: &'a str) -> Option<(Api, Vec<&'a str>)> {
        let fits = |row: &Endpoint| {
            let params = params(row.path, path).filter(|_| row.method.as_str() == method)?;
            Some((row.api, params))
        };
        let all = TABLE.iter().filter_map(fits);
        all.min_by_key(|(_, params)| params.len())
    }

    /// The endpoint of that name, or `None`.
    pub fn from_name(name: &str) -> Option<Api> {
        TABLE.iter().find(|row| row.name == name).map(|row| row.api)
    }
}

impl Method {
    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Method::Get => "GET",
            Method::Post => "POST",
            Method::Put => "PUT",
            Method::Patch => "PATCH",
            Method::Delete => "DELETE",
        }
    }
}

/// What stands in `path` where `template` has parameters; `None`: it is not of that form.
fn params<'a>(template: &str, path: &'a str) -> Option<Vec<&'a str>> {
    let mut found = Vec::new();
    let mut pieces = path.trim_end_matches('/').split('/');
    for part in template.trim_end_matches('/').split('/') {
        let piece = pieces.next()?;
        match part.starts_with(':') {
            true if !piece.is_empty() => found.push(piece),
            false if part == piece => {}
            _ => return None,
        }
    }
    pieces.next().is_none().then_some(found)
}

const fn row(
    api: Api,
    name: &'static str,
    method: Method,
    call: &'static str,
    source: &'static str,
) -> Endpoint {
    Endpoint {
        api,
        name,
        call,
        method,
        path: call.split_at(method_len(method) + 1).1,
        repeat: Repeat::Read,
        uuid: UuidPlace::None,
        family: Family::V1,
        topic: Topic::Message,
        tier: Tier::Four,
        paces: &[],
        counted: true,
        source,
    }
}

const fn method_len(method: Method) -> usize {
    match method {
        Method::Get | Method::Put => 3,
        Method::Post => 4,
        Method::Patch => 5,
        Method::Delete => 6,
    }
}

#[rustfmt::skip] // a table: one endpoint, one or two lines
static TABLE: [Endpoint; 39] = [
    Endpoint { repeat: Repeat::Key, uuid: UuidPlace::Body, paces: &[Paced::Receiver],
        ..row(Api::SendMessage, "send_message", Method::Post, "POST /open-apis/im/v1/messages", "send message page, May 2026") },
    Endpoint { repeat: Repeat::Dup, family: Family::Old, topic: Topic::BatchSend, paces: &[Paced::Day(BATCH_DAY)],
        ..row(Api::BatchSend, "batch_send", Method::Post, "POST /open-apis/message/v4/batch_send/", "batch send page, May 2026; the path ends with a slash") },
    Endpoint { repeat: Repeat::Dup,
        ..row(Api::UrgentApp, "urgent_app", Method::Patch, "PATCH /open-apis/im/v1/messages/:message_id/urgent_app", "urgent in-app page, May 2026") },
    Endpoint { repeat: Repeat::Dup,
        ..row(Api::UrgentSms, "urgent_sms", Method::Patch, "PATCH /open-apis/im/v1/messages/:message_id/urgent_sms", "urgent SMS page, May 2026") },
    Endpoint { repeat: Repeat::Dup,
        ..row(Api::UrgentPhone, "urgent_phone", Method::Patch, "PATCH /open-apis/im/v1/messages/:message_id/urgent_phone", "urgent phone page, May 2026") },
    Endpoint { repeat: Repeat::Set, paces: &[Paced::Message],
        ..row(Api::Pin, "pin", Method::Post, "POST /open-apis/im/v1/pins", "pin page, May 2026") },
    Endpoint { repeat: Repeat::Set, paces: &[Paced::Message],
        ..row(Api::Unpin, "unpin", Method::Delete, "DELETE /open-apis/im/v1/pins/:message_id", "unpin page, May 2026") },
    row(Api::ListPins, "list_pins", Method::Get, "GET /open-apis/im/v1/pins", "pin list page, May 2026"),
    Endpoint { repeat: Repeat::Guard,
        ..row(Api::Recall, "recall", Method::Delete, "DELETE /open-apis/im/v1/messages/:message_id", "recall page, May 2026; which code a second recall answers is not stated") },
    Endpoint { repeat: Repeat::Set,
        ..row(Api::BatchRecall, "batch_recall", Method::Delete, "DELETE /open-apis/im/v1/batch_messages/:batch_message_id", "batch recall page, May 2026") },
    row(Api::ReadUsers, "read_users", Method::Get, "GET /open-apis/im/v1/messages/:message_id/read_users", "read users page, May 2026"),
    row(Api::BatchProgress, "batch_progress", Method::Get, "GET /open-apis/im/v1/batch_messages/:batch_message_id/get_progress", "batch progress page, May 2026"),
    row(Api::BatchReadUser, "batch_read_user", Method::Get, "GET /open-apis/im/v1/batch_messages/:batch_message_id/read_user", "batch read counts page, May 2026"),
    row(Api::GetMessage, "get_message", Method::Get, "GET /open-apis/im/v1/messages/:message_id", "get message page, May 2026"),
    row(Api::ListMessages, "list_messages", Method::Get, "GET /open-apis/im/v1/messages", "history page, May 2026"),
    Endpoint { repeat: Repeat::Orphan, topic: Topic::File,
        ..row(Api::UploadImage, "upload_image", Method::Post, "POST /open-apis/im/v1/images", "image upload page, May 2026") },
    Endpoint { topic: Topic::Plain,
        ..row(Api::BotInfo, "bot_info", Method::Get, "GET /open-apis/bot/v3/info", "bot info page, May 2026; counted in the month") },
    Endpoint { repeat: Repeat::Set, family: Family::Token, topic: Topic::Token, tier: Tier::Unpublished, counted: false,
        ..row(Api::TenantToken, "tenant_token", Method::Post, "POST /open-apis/auth/v3/tenant_access_token/internal", "tenant token page, May 2026") },
    Endpoint { repeat: Repeat::Key, uuid: UuidPlace::Body, paces: &[Paced::Receiver],
        ..row(Api::Reply, "reply", Method::Post, "POST /open-apis/im/v1/messages/:message_id/reply", "reply page, May 2026") },
    Endpoint { repeat: Repeat::Set, paces: &[Paced::Message],
        ..row(Api::Edit, "edit", Method::Put, "PUT /open-apis/im/v1/messages/:message_id", "edit page, May 2026; each success spends one of 20 edits; that its 230020 counts by message is assumed") },
    Endpoint { repeat: Repeat::Key, uuid: UuidPlace::Query, paces: &[Paced::Receiver],
        ..row(Api::Forward, "forward", Method::Post, "POST /open-apis/im/v1/messages/:message_id/forward", "forward page, May 2026; the uuid holds for each target") },
    Endpoint { repeat: Repeat::Key, uuid: UuidPlace::Query, paces: &[Paced::Receiver],
        ..row(Api::MergeForward, "merge_forward", Method::Post, "POST /open-apis/im/v1/messages/merge_forward", "merge forward page, May 2026; the uuid holds for each target") },
    Endpoint { repeat: Repeat::Key, uuid: UuidPlace::Query, paces: &[Paced::Receiver],
        ..row(Api::ForwardThread, "forward_thread", Method::Post, "POST /open-apis/im/v1/threads/:thread_id/forward", "thread forward page, May 2026; the uuid holds for each target") },
    Endpoint { repeat: Repeat::Guard, topic: Topic::FollowUp,
        ..row(Api::FollowUp, "follow_up", Method::Post, "POST /open-apis/im/v1/messages/:message_id/push_follow_up", "follow-up bubbles page, May 2026; a repeat answers 230008") },
    Endpoint { repeat: Repeat::Set, paces: &[Paced::Message],
        ..row(Api::UpdateCard, "update_card", Method::Patch, "PATCH /open-apis/im/v1/messages/:message_id", "card update page, May 2026; the last write wins") },
    Endpoint { repeat: Repeat::Set, topic: Topic::DelayedCard, family: Family::Old,
        ..row(Api::DelayUpdateCard, "delay_update_card", Method::Post, "POST /open-apis/interactive/v1/card/update", "delayed card update page, May 2026; a token serves twice, then 300040; the status of a refusal is not stated") },
    Endpoint { repeat: Repeat::Dup, topic: Topic::Ephemeral, family: Family::Old, paces: &[Paced::Group(EPHEMERAL_CHAT_SECOND)],
        ..row(Api::SendEphemeral, "send_ephemeral", Method::Post, "POST /open-apis/ephemeral/v1/send", "ephemeral card page, May 2026; the status of a refusal is not stated") },
    Endpoint { repeat: Repeat::Guard, topic: Topic::Ephemeral, family: Family::Old,
        ..row(Api::DeleteEphemeral, "delete_ephemeral", Method::Post, "POST /open-apis/ephemeral/v1/delete", "ephemeral card deletion page, May 2026; a repeat answers 18051") },
    Endpoint { repeat: Repeat::Dup, topic: Topic::Reaction,
        ..row(Api::React, "react", Method::Post, "POST /open-apis/im/v1/messages/:message_id/reactions", "reaction page, May 2026; whether a repeat answers the same reaction is not stated, so the worse is assumed; a list tells") },
    Endpoint { repeat: Repeat::Guard, topic: Topic::Reaction,
        ..row(Api::Unreact, "unreact", Method::Delete, "DELETE /open-apis/im/v1/messages/:message_id/reactions/:reaction_id", "reaction deletion page, May 2026; that a repeat answers 231011 is inferred") },
    Endpoint { topic: Topic::Reaction,
        ..row(Api::ListReactions, "list_reactions", Method::Get, "GET /open-apis/im/v1/messages/:message_id/reactions", "reaction list page, May 2026") },
    Endpoint { topic: Topic::Reaction,
        ..row(Api::BatchQueryReactions, "batch_query_reactions", Method::Post, "POST /open-apis/im/v1/messages/reactions/batch_query", "reaction batch query page, May 2026") },
    Endpoint { repeat: Repeat::Orphan, topic: Topic::File,
        ..row(Api::UploadFile, "upload_file", Method::Post, "POST /open-apis/im/v1/files", "file upload page, May 2026") },
    Endpoint { topic: Topic::File,
        ..row(Api::DownloadImage, "download_image", Method::Get, "GET /open-apis/im/v1/images/:image_key", "image download page, May 2026; answers bytes") },
    Endpoint { topic: Topic::File,
        ..row(Api::DownloadFile, "download_file", Method::Get, "GET /open-apis/im/v1/files/:file_key", "file download page, May 2026; answers bytes") },
    Endpoint { topic: Topic::File,
        ..row(Api::GetResource, "get_resource", Method::Get, "GET /open-apis/im/v1/messages/:message_id/resources/:file_key", "message resource page, May 2026; answers bytes") },
    Endpoint { repeat: Repeat::Set, tier: Tier::Six,
        ..row(Api::UpdateUrlPreviews, "update_url_previews", Method::Post, "POST /open-apis/im/v2/url_previews/batch_update", "URL preview update page, May 2026; a preview token serves once in 5 s") },
    Endpoint { repeat: Repeat::Set, family: Family::Token, topic: Topic::Token, tier: Tier::Unpublished, counted: false,
        ..row(Api::AppToken, "app_token", Method::Post, "POST /open-apis/auth/v3/app_access_token/internal", "app token page, May 2026") },
    Endpoint { repeat: Repeat::Dup, family: Family::Hook, topic: Topic::Webhook, tier: Tier::Bot, counted: false,
        ..row(Api::Webhook, "webhook", Method::Post, "POST /open-apis/bot/v2/hook/:hook", "custom bot page, May 2026; not counted in the month; of its windows the page adds: avoid full and half hours") },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_endpoint_stands_in_its_own_row() {
        assert_eq!(Api::ALL.len(), TABLE.len());
        for (at, api) in Api::ALL.iter().enumerate() {
            let row = api.endpoint();
            assert_eq!((row.api, *api as usize), (*api, at));
            assert_eq!(Api::from_name(row.name), Some(*api));
            assert_eq!(format!("{} {}", row.method.as_str(), row.path), row.call);
            assert!(row.path.starts_with("/open-apis/"), "{}", row.call);
        }
        assert_eq!(Api::from_name("no_such"), None);
    }

    #[test]
    fn a_call_is_found_by_its_path() {
        #[track_caller]
        fn check(method: &str, path: &str, expected: Option<(Api, &[&str])>) {
            let expected = expected.map(|(api, params)| (api, params.to_vec()));
            assert_eq!(Api::of_call(method, path), expected, "{method} {path}");
        }
        for api in Api::ALL {
            let row = api.endpoint();
            let found = Api::of_call(row.method.as_str(), row.path).map(|(api, _)| api);
            assert_eq!(found, Some(*api), "{}", row.call);
        }
        let one = "/open-apis/im/v1/messages/om_1";
        check("GET", one, Some((Api::GetMessage, &["om_1"])));
        check("DELETE", one, Some((Api::Recall, &["om_1"])));
        check(
            "GET",
            "/open-apis/im/v1/messages/",
            Some((Api::ListMessages, &[])),
        );
        let files = "/open-apis/im/v1/messages/om_1/resources/file%2F1";
        check(
            "GET",
            files,
            Some((Api::GetResource, &["om_1", "file%2F1"])),
        );
        let merge = "/open-apis/im/v1/messages/merge_forward";
        check("POST", merge, Some((Api::MergeForward, &[])));
        let query = "/open-apis/im/v1/messages/reactions/batch_query";
        check("POST", query, Some((Api::BatchQueryReactions, &[])));
        check(
            "POST",
            "/open-apis/message/v4/batch_send",
            Some((Api::BatchSend, &[])),
        );
        check("POST", one, None);
        check("GET", "/open-apis/im/v1/messages//read_users", None);
        check("GET", "/open-apis/contact/v3/users/ou_1", None);
    }

    #[test]
    fn a_key_has_a_place_for_its_uuid_and_nothing_else_has() {
        for api in Api::ALL {
            let row = api.endpoint();
            assert_eq!(
                row.repeat == Repeat::Key,
                row.uuid != UuidPlace::None,
                "{}",
                row.name
            );
        }
    }
}
