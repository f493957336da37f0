//! The codes Feishu refuses with: HTTP status and wording, and the refusal a check returns.
//!
//! Old v4 calls answer their failures with HTTP 200 (endpoints.md 0); `gate` does that by the
//! endpoint's row, so a check never thinks of it.

use serde_json::{Value, json};

use crate::windows::Full;

/// One row of the table below.
struct Code {
    code: i64,
    http: u16,
    says: &'static str,
}

const fn row(code: i64, http: u16, says: &'static str) -> Code {
    Code { code, http, says }
}

/// Gateway codes. Source: errors.md 2; statuses: limits.md 2, contract of the sandbox.
const GATEWAY: &[Code] = &[
    row(9499, 400, "Bad Request"),
    row(99_991_201, 404, "no such path"),
    row(99_991_301, 405, "this path does not take that method"),
    row(99_991_400, 429, "request trigger frequency limit"),
    row(
        99_991_401,
        400,
        "the caller's address is not on the app's allow-list",
    ),
    row(
        99_991_403,
        429,
        "This month's API call quota has been exceeded",
    ),
    row(99_991_661, 400, "Missing access token for authorization"),
    row(99_991_662, 400, "the app is disabled"),
    row(99_991_663, 400, "Invalid access token for authorization"),
    row(99_991_664, 400, "Invalid app access token"),
    row(99_991_665, 400, "Invalid tenant access token"),
    row(99_991_668, 400, "a user access token is not taken here"),
    row(99_991_671, 400, "an access token starts with t- or u-"),
    row(
        99_991_672,
        400,
        "Access denied: the app lacks a scope this API needs",
    ),
    row(99_991_673, 400, "the app is not available in this tenant"),
    row(99_991_676, 400, "the token lacks the permission"),
    row(99_991_677, 400, "the user access token has expired"),
    row(99_991_679, 400, "the user did not grant the permission"),
    row(99_992_351, 400, "the open_id does not exist"),
    row(99_992_352, 400, "the user_id does not exist"),
    row(99_992_353, 400, "the union_id does not exist"),
    row(99_992_354, 400, "the message_id does not exist"),
    row(99_992_355, 400, "the chat_id does not exist"),
    row(99_992_356, 400, "the chat does not exist"),
    row(99_992_359, 400, "the user does not exist"),
    row(99_992_360, 400, "the user does not exist in this tenant"),
    row(99_992_361, 400, "the open_id belongs to another app"),
    row(99_992_363, 400, "the id is no user's"),
    row(99_992_364, 400, "the user_id belongs to another tenant"),
    row(99_992_381, 400, "the union_id belongs to another tenant"),
    row(99_992_402, 400, "field validation failed"),
];

/// Token endpoints answer with HTTP 200. Source: endpoints.md 1, errors.md 2.
const TOKENS: &[Code] = &[
    row(10_003, 200, "invalid param"),
    row(10_005, 200, "the app is not authorized"),
    row(10_012, 200, "getting the app's token failed"),
    row(10_013, 200, "getting the tenant's token failed"),
    row(10_014, 200, "app secret invalid"),
    row(10_015, 200, "the app's secret is wrong"),
    row(20_002, 200, "the app's id or secret is wrong"),
    row(99_991_543, 200, "the app's id or secret is wrong"),
];

/// Message codes. Source: errors.md 3.
const MESSAGES: &[Code] = &[
    row(
        230_001,
        400,
        "Your request contains an invalid request parameter",
    ),
    row(230_002, 400, "The bot can not be outside the group"),
    row(230_006, 400, "Bot ability is not activated"),
    row(
        230_009,
        400,
        "This message was sent too long ago to be recalled",
    ),
    row(230_011, 400, "The message was recalled"),
    row(230_012, 400, "The bot is not the sender of the message"),
    row(230_013, 400, "The user is outside the app's availability"),
    row(230_015, 400, "A one-to-one chat can not be shared"),
    row(230_017, 400, "The resource belongs to another app"),
    row(230_018, 400, "The group's settings forbid this"),
    row(230_019, 400, "The thread does not exist"),
    row(230_020, 400, "This operation triggers the frequency limit"),
    row(230_022, 400, "The content contains sensitive words"),
    row(230_023, 400, "A user has too many unread buzzes"),
    row(230_024, 400, "The buzz quota is used up"),
    row(230_025, 400, "The content is too long"),
    row(230_026, 400, "No right to recall this message"),
    row(230_027, 400, "Permissions are missing for this chat"),
    row(230_028, 400, "The content failed the audit"),
    row(230_029, 400, "The user has resigned"),
    row(230_030, 400, "No record of this batch message"),
    row(230_031, 400, "The card is too old to be updated"),
    row(230_033, 400, "The read state is kept for seven days only"),
    row(
        230_034,
        400,
        "The receive_id does not fit its receive_id_type",
    ),
    row(230_035, 400, "Sending was denied"),
    row(230_036, 400, "The tenant's encryption key was deleted"),
    row(
        230_038,
        400,
        "One-to-one chats across tenants are forbidden",
    ),
    row(230_045, 400, "The chat does not exist"),
    row(230_046, 400, "No right to pin here"),
    row(
        230_047,
        400,
        "This message is pinned and unpinned too often",
    ),
    row(230_048, 400, "Pins are listed too often"),
    row(230_049, 400, "The message is being sent"),
    row(230_050, 400, "The message is invisible to the operator"),
    row(230_052, 400, "Buzzing is not allowed here"),
    row(230_053, 400, "The user has stopped this bot's messages"),
    row(
        230_054,
        400,
        "This operation is not supported for this message type",
    ),
    row(
        230_055,
        400,
        "The type of the upload does not fit the message type",
    ),
    row(230_061, 400, "Messages of this type can not be forwarded"),
    row(230_062, 400, "The target is an encrypted group"),
    row(230_063, 400, "The target chat is invalid"),
    row(230_064, 400, "The message to forward does not exist"),
    row(230_065, 400, "The message to forward was recalled"),
    row(
        230_066,
        400,
        "Messages of a secret group can not be forwarded",
    ),
    row(230_067, 400, "These messages can not be forwarded together"),
    row(230_069, 400, "The messages come from different chats"),
    row(230_070, 400, "The chat's content may not leave it"),
    row(230_071, 400, "The group does not support thread replies"),
    row(
        230_072,
        400,
        "The message can not be replied to or edited any more",
    ),
    row(230_073, 400, "The thread is invisible to the operator"),
    row(
        230_074,
        400,
        "The target thread is invisible to the operator",
    ),
    row(230_075, 400, "Encrypted chats are not supported"),
    row(230_098, 400, "A folded message can not be buzzed"),
    row(230_099, 400, "Failed to create card content"),
    row(230_101, 400, "The operation was refused"),
    row(230_110, 400, "The message was deleted"),
    row(230_111, 400, "The message will destroy itself"),
    row(231_203, 400, "This type of chat is not supported"),
    row(231_204, 400, "This type of app is not supported"),
    row(232_009, 400, "The chat has been dissolved"),
];

/// Codes of batch_send, which come with HTTP 200. Source: errors.md 6.
const BATCH: &[Code] = &[
    row(10_002, 200, "creating or sending failed"),
    row(11_101, 200, "the open_id is unknown"),
    row(11_203, 200, "no permission to send to user ids"),
    row(11_204, 200, "no permission to send to departments"),
    row(11_205, 200, "the app has no bot"),
    row(11_207, 200, "the app can not be used"),
    row(11_209, 200, "the app is missing"),
    row(11_210, 200, "the app is not installed in this tenant"),
    row(11_223, 200, "no permission to write messages"),
    row(11_227, 200, "image_key unknown"),
    row(11_231, 200, "chat not found"),
    row(11_232, 200, "sending is limited for now: system"),
    row(11_233, 200, "sending is limited for now: chat"),
    row(
        11_235,
        200,
        "mentioning everybody is reserved to administrators",
    ),
    row(11_246, 200, "creating the message content failed"),
    row(11_247, 200, "the day's messages are used up"),
    row(11_312, 200, "the content failed the audit"),
    row(19_036, 200, "the content is longer than 30 KB"),
    row(18_120, 200, "one-to-one chats are not allowed"),
    row(18_121, 200, "the same request is in progress"),
    row(230_100, 200, "a meaningless test message is not sent"),
];

/// The other old calls: cards for one member, updates after a click. Their statuses are not known
/// (`old_http` of the switches). Source: errors.md 5, endpoints.md 4.
const OLD: &[Code] = &[
    row(11_311, 200, "the card is out of form"),
    row(18_051, 200, "the card was deleted already"),
    row(100_000, 200, "the card is too large"),
    row(100_030, 200, "the card is no JSON"),
    row(200_000, 200, "the card was recalled"),
    row(200_310, 200, "the card is another app's"),
    row(
        200_320,
        200,
        "open_ids are missing for a card that is not shared",
    ),
    row(300_020, 200, "the token is out of form"),
    row(300_030, 200, "the token has expired"),
    row(300_040, 200, "the token is used up"),
    row(300_090, 200, "the update failed"),
];

/// Custom bots of a group. 11232 and 9499 stand above; the reference names no code for a wrong
/// signature or a missing keyword, see `Switches`.
const HOOKS: &[Code] = &[
    row(
        19_021,
        200,
        "sign match fail or timestamp is not within one hour from current time",
    ),
    row(19_024, 200, "Key Words Not Found"),
];

/// Finding a long connection's address. Source: events.md 7.1.
const DISCOVERY: &[Code] = &[
    row(1_000_040_344, 200, "the credential is missing"),
    row(1_000_040_345, 200, "the credential is wrong"),
];

const ALL: [&[Code]; 10] = [
    GATEWAY, TOKENS, MESSAGES, FOLLOW_UPS, REACTIONS, BATCH, OLD, HOOKS, UPLOADS, DISCOVERY,
];

/// Follow-up bubbles; the other codes of that call are numbers of messages with other words.
/// Source: errors.md 3 (push_follow_up only).
const FOLLOW_UPS: &[Code] = &[
    row(230_003, 400, "The chat is not one to one"),
    row(230_004, 400, "The message is invisible"),
    row(230_005, 400, "The user is invisible"),
    row(230_007, 400, "A bubble is out of form"),
    row(230_008, 400, "The message has its bubbles already"),
];

/// Reactions. Source: errors.md 3 (reactions).
const REACTIONS: &[Code] = &[
    row(231_001, 400, "The reaction type is invalid"),
    row(231_002, 400, "No permission to react"),
    row(231_003, 400, "The message was not found or is deleted"),
    row(231_004, 400, "The chat does not exist any more"),
    row(231_005, 400, "The thread was removed"),
    row(231_006, 400, "The operator is invalid"),
    row(231_007, 400, "The reaction is somebody else's"),
    row(231_008, 400, "The operator is not in the chat"),
    row(231_010, 400, "The reaction is not on this message"),
    row(231_011, 400, "The reaction_id is invalid"),
    row(231_012, 400, "The page_token is invalid"),
    row(231_013, 400, "The kind of authorization is wrong"),
    row(231_014, 400, "The user_id_type is invalid"),
    row(231_015, 400, "The same request is being processed"),
    row(231_017, 400, "The type is not supported"),
    row(231_018, 400, "The message is invisible to the operator"),
    row(231_019, 400, "The user's settings forbid this"),
    row(231_020, 400, "The administrator's settings forbid this"),
    row(231_021, 400, "External groups are not supported"),
    row(231_022, 400, "The user is outside the app's availability"),
];

/// Uploads and downloads. Source: errors.md 3 (files and images).
const UPLOADS: &[Code] = &[
    row(232_096, 400, "writing is stopped for now"),
    row(234_001, 400, "invalid request param"),
    row(234_002, 401, "unauthorized"),
    row(234_003, 400, "the file is not in that message"),
    row(234_004, 400, "the app is not in the chat"),
    row(234_005, 400, "the file was deleted"),
    row(234_006, 400, "the file is larger than allowed"),
    row(234_007, 400, "the app has no bot"),
    row(234_008, 400, "the app did not upload this file"),
    row(234_009, 400, "files of external groups are not supported"),
    row(234_010, 400, "the file is empty"),
    row(234_011, 400, "the format of the image is not supported"),
    row(234_019, 400, "checking the permission failed"),
    row(234_037, 400, "the file is larger than 100 MB"),
    row(234_038, 400, "the chat forbids copying"),
    row(234_039, 400, "the image has too many pixels"),
    row(234_040, 400, "the message is invisible"),
    row(234_041, 400, "the tenant's encryption key was deleted"),
    row(234_042, 400, "the storage is full or failing"),
    row(234_043, 400, "messages of this type have no files"),
];

/// What a refusal speaks of, where another endpoint says it with another code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum About {
    Other,
    Image,
    Chat,
}

/// Why a call was refused: the answer in the making.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) http: u16,
    pub(crate) code: i64,
    pub(crate) msg: String,
    /// Fields at fault, for 99992402.
    pub(crate) violations: Vec<Value>,
    pub(crate) headers: Vec<(&'static str, String)>,
    /// A window said no, rather than a check.
    pub(crate) limited: bool,
    /// The gateway said no: its status stands even on old calls.
    pub(crate) gateway: bool,
    pub(crate) about: About,
}

impl Refusal {
    /// The refusal `code` stands for, with its usual status and wording.
    pub(crate) fn code(code: i64) -> Self {
        let known = find(code);
        Self {
            http: known.map_or(400, |row| row.http),
            code,
            msg: known.map_or_else(|| "refused".to_owned(), |row| row.says.to_owned()),
            violations: Vec::new(),
            headers: Vec::new(),
            limited: false,
            gateway: code >= 99_990_000,
            about: About::Other,
        }
    }

    /// 230001 with its reason, as the tail of the message. Source: errors.md 4.
    pub(crate) fn ext(reason: &str) -> Self {
        Self::code(230_001).because(reason)
    }

    /// The same refusal with `reason` behind `ext=`.
    pub(crate) fn because(mut self, reason: &str) -> Self {
        self.msg = format!("{}, ext={reason}", self.msg);
        self
    }

    /// The same code in the words of an endpoint that means something else by it.
    /// Source: errors.md 0 (codes are reused).
    pub(crate) fn saying(mut self, words: &str) -> Self {
        words.clone_into(&mut self.msg);
        self
    }

    /// The same refusal, naming what it speaks of.
    pub(crate) fn about(mut self, about: About) -> Self {
        self.about = about;
        self
    }

    /// The same refusal, said by a window.
    pub(crate) fn by_a_window(mut self) -> Self {
        self.limited = true;
        self
    }

    /// 99991400 for a window that is full, with its headers. Source: limits.md 2 (kind A).
    pub(crate) fn by_the_gateway(full: &Full) -> Self {
        let mut refusal = Self::code(99_991_400).by_a_window();
        refusal.headers = vec![
            ("x-ogw-ratelimit-limit", full.limit.to_string()),
            ("x-ogw-ratelimit-reset", full.reset_s.to_string()),
        ];
        refusal
    }

    /// 230099 around a sub-code. Source: errors.md 5.
    pub(crate) fn card(sub_code: i64, path: &str, says: &str) -> Self {
        Self::code(230_099).because(&format!(
            "ErrCode: {sub_code}; ErrPath: {path}; ErrMsg: {says}; ErrorValue: "
        ))
    }

    /// 99992402, naming the fields at fault. Source: errors.md 2.
    pub(crate) fn fields(violations: Vec<Value>) -> Self {
        Self {
            violations,
            ..Self::code(99_992_402)
        }
    }

    /// 99992402 for one field.
    pub(crate) fn field(field: &str, value: &str, says: &str) -> Self {
        Self::fields(vec![violation(field, value, says)])
    }

    /// The body of the answer. Source: errors.md 0.
    pub(crate) fn body(&self, log_id: &str) -> Value {
        let mut error = json!({ "log_id": log_id, "troubleshooter": "feishu-sandbox: /_sandbox/" });
        if !self.violations.is_empty() {
            error["field_violations"] = Value::Array(self.violations.clone());
        }
        json!({ "code": self.code, "msg": self.msg, "error": error })
    }
}

/// One entry of `error.field_violations`.
pub(crate) fn violation(field: &str, value: &str, says: &str) -> Value {
    json!({ "field": field, "value": value, "description": says })
}

/// Whether the sandbox has words for `code`.
pub(crate) fn is_known(code: i64) -> bool {
    find(code).is_some()
}

fn find(code: i64) -> Option<&'static Code> {
    ALL.into_iter().flatten().find(|row| row.code == code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_stands_in_the_tables_once() {
        let mut all: Vec<i64> = ALL.into_iter().flatten().map(|row| row.code).collect();
        let count = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), count);
    }

    #[test]
    fn a_card_fault_carries_its_sub_code_in_the_message() {
        let refusal = Refusal::card(11_310, "/body/elements", "too many");
        assert_eq!(refusal.code, 230_099);
        assert!(
            refusal
                .msg
                .starts_with("Failed to create card content, ext=ErrCode: 11310; ")
        );
    }
}
