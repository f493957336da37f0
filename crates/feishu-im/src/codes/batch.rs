//! Codes of the old batch send, which says no with HTTP 200.

use super::{CodeRow, Scope, Who, row};
use crate::classify::{BucketKind, Class, PauseScope};
use crate::endpoints::Topic;
use crate::limits::{BATCH_DAY_PAUSE_MS, BATCH_PAUSE_MS};

const SOURCE: &str = "batch send page, May 2026; class inferred";
const GENERIC: &str =
    "generic error codes page, May 2026, not on the batch send page; class inferred";

const fn on(
    code: i64,
    class: Class,
    who: Who,
    meaning: &'static str,
    meaning_zh: &'static str,
) -> CodeRow {
    row(
        Scope::Topic(Topic::BatchSend),
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

const fn internal(code: i64) -> CodeRow {
    on(
        code,
        Class::Ambiguous,
        Who::Relay,
        "The platform failed inside; it may have happened.",
        "平台内部错误，请求可能已经生效。",
    )
    .text("internal")
}

#[rustfmt::skip] // a table
pub(super) const ROWS: &[CodeRow] = &[
    caller(10002, "The batch could not be made or sent; the message says why.", "批量消息创建或发送失败，原因写在返回信息里。"),
    internal(10002),
    caller(10003, "A parameter is missing or wrong.", "缺少参数，或参数有误。"),
    caller(11101, "An open_id is unknown.", "open_id 不存在。"),
    admin(11203, "The app may not send by user_ids.", "应用没有按 user_ids 批量发送的权限。"),
    admin(11204, "The app may not send by department_ids.", "应用没有按部门批量发送的权限。"),
    admin(11205, "The app has no bot.", "应用没有机器人。").pause(PauseScope::AppApi),
    admin(11207, "The app cannot be used.", "应用不可用。").pause(PauseScope::AppApi),
    admin(11209, "The app does not exist.", "应用不存在。").pause(PauseScope::AppApi),
    admin(11210, "The app is not installed in the tenant.", "租户没有安装该应用。").pause(PauseScope::AppApi),
    admin(11223, "The app may not send messages.", "应用没有发送消息的权限。").pause(PauseScope::AppApi),
    caller(11227, "The image's key is unknown.", "图片的 key 不存在。"),
    on(11231, Class::Gone, Who::Nobody, "The chat to be shared was not found.", "没有找到要分享的群。"),
    on(11232, Class::Limited, Who::Relay, "Batches are sent too often.", "批量发送过于频繁。").bucket(BucketKind::Api, Some(BATCH_PAUSE_MS)).source(GENERIC),
    on(11233, Class::Limited, Who::Relay, "Batches are sent too often to a group.", "向群批量发送过于频繁。").bucket(BucketKind::Api, Some(BATCH_PAUSE_MS)).source(GENERIC),
    admin(11235, "Only administrators may mention everybody.", "仅管理员可以 @所有人。"),
    caller(11246, "The content could not be made; a card's ErrCode says why.", "内容创建失败，卡片的原因见 ErrCode。"),
    internal(11246),
    on(11247, Class::Limited, Who::Relay, "The 500 000 messages of the day are used up.", "当天的 50 万条批量消息已用完。").bucket(BucketKind::BatchDay, Some(BATCH_DAY_PAUSE_MS)),
    caller(11312, "The audit refused the content.", "内容未通过审核。"),
    admin(18120, "One-to-one messages to this person are not allowed.", "不允许与该用户单聊。").source(GENERIC),
    on(18121, Class::Ambiguous, Who::Relay, "This very request is being carried out.", "同一个请求正在处理。").in_progress().source(GENERIC),
    caller(19036, "The content is over 30 KB.", "内容超过 30 KB。").source(GENERIC),
    caller(230100, "The platform refuses a test message without meaning; send a real text.", "平台拒绝无意义的测试消息，请换成真实内容。"),
];
