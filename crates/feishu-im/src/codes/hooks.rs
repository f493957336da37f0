//! Codes of custom group bots, which say no with HTTP 200 (9499 with 400; it stands among the gateway's).

use super::{CodeRow, Scope, Who, row};
use crate::classify::{BucketKind, Class, PauseScope};
use crate::endpoints::Topic;
use crate::limits::BATCH_PAUSE_MS;

const SOURCE: &str = "custom bot page, May 2026; class inferred";
const FIELD: &str = "several public bug reports, read 2026-11-22";

const fn on(
    code: i64,
    class: Class,
    who: Who,
    meaning: &'static str,
    meaning_zh: &'static str,
) -> CodeRow {
    row(
        Scope::Topic(Topic::Webhook),
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

/// It refuses whatever the bot says: the bot waits, not the message.
const fn bot(code: i64, meaning: &'static str, meaning_zh: &'static str) -> CodeRow {
    on(code, Class::Admin, Who::Admin, meaning, meaning_zh).pause(PauseScope::AppApi)
}

#[rustfmt::skip] // a table
pub(super) const ROWS: &[CodeRow] = &[
    bot(19001, "The bot's address is wrong, or the bot was taken out of its group.", "机器人的 webhook 地址不对，或者机器人已被移出群。").source(FIELD),
    caller(19002, "The type or the content of the message is missing or malformed.", "缺少消息类型或内容，或者格式不对。").source(FIELD),
    bot(19021, "The signature is wrong, or the relay's clock is more than an hour off.", "签名校验失败，或者时间戳与当前时间相差超过一小时。"),
    bot(19022, "The caller's address is not on the bot's IP allow-list.", "调用方 IP 不在机器人的白名单内。"),
    caller(19024, "None of the bot's keywords stands in the message.", "消息里没有机器人设定的关键词。"),
    on(11232, Class::Limited, Who::Relay, "The bot speaks too often.", "机器人发送消息过于频繁。").bucket(BucketKind::Api, Some(BATCH_PAUSE_MS)),
];
