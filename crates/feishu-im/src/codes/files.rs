//! Codes of images, files and resources in messages.

use super::{CodeRow, Scope, Who, row};
use crate::classify::{Class, PauseScope};
use crate::endpoints::Topic;

const SOURCE: &str = "image and file endpoints' error tables, May 2026; class inferred";

const fn on(
    code: i64,
    class: Class,
    who: Who,
    meaning: &'static str,
    meaning_zh: &'static str,
) -> CodeRow {
    row(
        Scope::Topic(Topic::File),
        SOURCE,
        code,
        class,
        who,
        meaning,
        meaning_zh,
    )
}

const fn caller(code: i64, meaning: &'static str, meaning_zh: &'static str) -> CodeRow {
    on(code, Class::Caller, Who::Caller, meaning, meaning_zh)
}

const fn admin(code: i64, meaning: &'static str, meaning_zh: &'static str) -> CodeRow {
    on(code, Class::Admin, Who::Admin, meaning, meaning_zh)
}

#[rustfmt::skip] // a table
pub(super) const ROWS: &[CodeRow] = &[
    on(232096, Class::Retry, Who::Relay, "The platform has stopped writing of metadata for now.", "平台暂时停止写入元数据。"),
    on(230110, Class::Gone, Who::Nobody, "The message was deleted.", "该消息已被删除。"),
    caller(234001, "A parameter is invalid.", "参数无效。"),
    on(234002, Class::Token, Who::Relay, "The request is not authorised.", "请求未获授权。"),
    caller(234003, "The file is not in that message.", "该文件不在这条消息里。"),
    admin(234004, "The app is not in the chat.", "应用不在该会话里。"),
    on(234005, Class::Gone, Who::Nobody, "The file was deleted.", "该文件已被删除。"),
    caller(234006, "The file is too large.", "文件过大。"),
    admin(234007, "The app has no bot.", "应用没有机器人。").pause(PauseScope::AppApi),
    caller(234008, "Another app uploaded it.", "该文件是由另一个应用上传的。"),
    admin(234009, "It is not allowed in external groups.", "不允许用于外部群。"),
    caller(234010, "The file is empty.", "文件为空。"),
    caller(234011, "The format is not supported.", "不支持该格式。"),
    on(234019, Class::Retry, Who::Relay, "The platform could not check the permission.", "平台校验权限失败。"),
    caller(234037, "The file is over 100 MB.", "文件超过 100 MB。"),
    admin(234038, "The chat forbids copying.", "该会话禁止复制和下载。"),
    caller(234039, "The image has too many pixels.", "图片分辨率过大。"),
    caller(234040, "The bot cannot see this message.", "机器人看不到该消息。"),
    admin(234041, "The tenant's encryption key was deleted.", "租户的加密密钥已被删除。"),
    on(234042, Class::Retry, Who::Admin, "The tenant's storage failed or is full.", "租户的存储出错或已满。"),
    caller(234043, "Resources of this type of message cannot be read.", "不支持读取该类型消息里的资源。"),
];
