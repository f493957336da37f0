//! Codes of reactions and of follow-up bubbles; the latter reuse message numbers with other meanings.

use super::{CodeRow, Scope, Who, row};
use crate::classify::Class;
use crate::endpoints::Topic;

const SOURCE: &str = "reaction endpoints' error tables, May 2026; class inferred";

const fn on(
    code: i64,
    class: Class,
    who: Who,
    meaning: &'static str,
    meaning_zh: &'static str,
) -> CodeRow {
    row(
        Scope::Topic(Topic::Reaction),
        SOURCE,
        code,
        class,
        who,
        meaning,
        meaning_zh,
    )
}

const fn bubble(
    code: i64,
    class: Class,
    who: Who,
    meaning: &'static str,
    meaning_zh: &'static str,
) -> CodeRow {
    let source = "follow-up bubbles page, May 2026; class inferred";
    row(
        Scope::Topic(Topic::FollowUp),
        source,
        code,
        class,
        who,
        meaning,
        meaning_zh,
    )
}

#[rustfmt::skip] // a table
pub(super) const ROWS: &[CodeRow] = &[
    bubble(230002, Class::Caller, Who::Nobody, "The message is older than 600 seconds.", "该消息已超过 600 秒。"),
    bubble(230003, Class::Caller, Who::Caller, "The chat is not a one-to-one chat.", "该会话不是单聊。"),
    bubble(230004, Class::Caller, Who::Caller, "The bot cannot see this message.", "机器人看不到该消息。"),
    bubble(230005, Class::Admin, Who::Admin, "The person is outside the app's availability range.", "该用户不在应用的可用范围内。"),
    bubble(230006, Class::Caller, Who::Nobody, "The message is not the newest of its chat.", "该消息不是会话里最新的一条。"),
    bubble(230007, Class::Caller, Who::Caller, "A bubble is malformed.", "气泡的内容不对。"),
    bubble(230008, Class::Done, Who::Relay, "The bubbles are there already.", "气泡已经存在。").proof(),

    on(230110, Class::Gone, Who::Nobody, "The message was deleted.", "该消息已被删除。"),
    on(232009, Class::Gone, Who::Nobody, "The chat was dissolved.", "该群已解散。"),
    on(231001, Class::Caller, Who::Caller, "There is no such emoji, or the message takes no reactions.", "没有这个表情，或者该消息不能添加表情回复。"),
    on(231002, Class::Admin, Who::Admin, "The bot has no right to react.", "机器人没有添加表情回复的权限。"),
    on(231003, Class::Gone, Who::Nobody, "The message was not found or was deleted.", "没有找到该消息，或已被删除。"),
    on(231004, Class::Gone, Who::Nobody, "The chat is gone.", "会话已不存在。"),
    on(231005, Class::Gone, Who::Nobody, "The thread was removed.", "话题已被移除。"),
    on(231006, Class::Retry, Who::Relay, "The one who reacts was found invalid; the page says to try again.", "操作者无效，文档建议重试。"),
    on(231007, Class::Caller, Who::Caller, "The reaction is somebody else's.", "该表情回复是别人添加的。"),
    on(231008, Class::Admin, Who::Admin, "The bot is not in the chat.", "机器人不在该会话里。"),
    on(231010, Class::Caller, Who::Caller, "The reaction is not on this message.", "该表情回复不在这条消息上。"),
    on(231011, Class::Caller, Who::Caller, "The reaction's id is invalid.", "表情回复的 ID 无效。"),
    on(231011, Class::Done, Who::Relay, "The reaction is gone already, if its id was a valid one.", "该表情回复已经删除（前提是 ID 曾经有效）。").only(&["unreact"]).proof(),
    on(231012, Class::Caller, Who::Caller, "The page token is invalid.", "分页标记无效。"),
    on(231013, Class::Caller, Who::Caller, "This kind of token does not fit.", "令牌的类型不对。"),
    on(231014, Class::Caller, Who::Caller, "The type of user id is invalid.", "用户 ID 的类型无效。"),
    on(231015, Class::Ambiguous, Who::Relay, "This very request is being carried out.", "同一个请求正在处理。").in_progress(),
    on(231017, Class::Caller, Who::Caller, "This type of message takes no reactions.", "该类型的消息不支持表情回复。"),
    on(231018, Class::Caller, Who::Caller, "The bot cannot see this message.", "机器人看不到该消息。"),
    on(231019, Class::Admin, Who::Admin, "The person's settings do not allow it.", "用户的设置不允许。"),
    on(231020, Class::Admin, Who::Admin, "The administrator's settings do not allow it.", "管理员的设置不允许。"),
    on(231021, Class::Admin, Who::Admin, "It is not allowed in external groups.", "不允许用于外部群。"),
    on(231022, Class::Admin, Who::Admin, "The person is outside the app's availability range.", "该用户不在应用的可用范围内。"),
];
