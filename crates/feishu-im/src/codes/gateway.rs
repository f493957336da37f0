//! Codes any endpoint can answer: gateway, token, permission; and those of the token endpoints.

use super::{CodeRow, Scope, Who, row};
use crate::classify::{BucketKind, Class, PauseScope};
use crate::endpoints::Topic;
use crate::limits::API_PAUSE_MS;

const SOURCE: &str = "generic error codes page, May 2026; class inferred";
const FIELD: &str = "several public bug reports, read 2026-11-21";

const fn any(
    code: i64,
    class: Class,
    who: Who,
    meaning: &'static str,
    meaning_zh: &'static str,
) -> CodeRow {
    row(Scope::Any, SOURCE, code, class, who, meaning, meaning_zh)
}

/// A refused token of the app: once more with a new one, then the app waits.
const fn token(code: i64, meaning: &'static str, meaning_zh: &'static str) -> CodeRow {
    any(code, Class::Token, Who::Relay, meaning, meaning_zh).pause(PauseScope::App)
}

/// The token endpoint refuses the app.
const fn app(code: i64, meaning: &'static str, meaning_zh: &'static str) -> CodeRow {
    row(
        Scope::Topic(Topic::Token),
        SOURCE,
        code,
        Class::Admin,
        Who::Admin,
        meaning,
        meaning_zh,
    )
    .pause(PauseScope::App)
}

const fn caller(code: i64, meaning: &'static str, meaning_zh: &'static str) -> CodeRow {
    any(code, Class::Caller, Who::Caller, meaning, meaning_zh)
}

const fn fault(code: i64) -> CodeRow {
    any(
        code,
        Class::Ambiguous,
        Who::Relay,
        "The platform failed inside; it may have happened.",
        "平台内部错误，请求可能已经生效。",
    )
}

#[rustfmt::skip] // a table
pub(super) const ROWS: &[CodeRow] = &[
    any(99991400, Class::Limited, Who::Relay, "Too many calls of this endpoint.", "该接口调用过于频繁。").bucket(BucketKind::Api, Some(API_PAUSE_MS)),
    any(99991403, Class::Admin, Who::Admin, "The tenant has used up its calls of this month.", "本月的租户接口调用额度已用完。")
        .pause(PauseScope::Tenant).bucket(BucketKind::Month, None),
    any(99991401, Class::Admin, Who::Admin, "The caller's address is not on the app's IP allow-list.", "调用方 IP 不在应用的白名单内。").pause(PauseScope::App),
    token(99991661, "The request carried no token.", "请求没有携带令牌。"),
    token(99991663, "The tenant token is invalid or expired, or this endpoint takes none.", "租户令牌无效或已过期，或者该接口不接受租户令牌。"),
    token(99991664, "The app token is invalid or expired.", "应用令牌无效或已过期。"),
    token(99991665, "The tenant token is malformed.", "租户令牌格式不对。"),
    token(99991668, "The user token is invalid, or this endpoint takes none.", "用户令牌无效，或者该接口不接受用户令牌。"),
    token(99991677, "The user token has expired.", "用户令牌已过期。"),
    token(99991671, "The token does not begin as a token must.", "令牌的前缀不对。"),
    any(99991662, Class::Admin, Who::Admin, "The app is disabled.", "应用已被停用。").pause(PauseScope::App),
    any(99991673, Class::Admin, Who::Admin, "The app is not available in this tenant.", "应用在该租户内不可用。").pause(PauseScope::App),
    any(99991672, Class::Admin, Who::Admin, "The app lacks a scope that this endpoint needs; the answer names it.", "应用缺少该接口所需的权限，返回内容里写明了是哪一项。").pause(PauseScope::AppApi),
    any(99991676, Class::Admin, Who::Admin, "The token lacks the permission for this endpoint.", "令牌没有调用该接口的权限。").pause(PauseScope::AppApi),
    any(99991679, Class::Admin, Who::Admin, "The user has not granted the permission.", "用户没有授予该权限。"),

    app(99991543, "The app id or the secret is wrong.", "应用 ID 或密钥不对。"),
    app(10014, "The secret is wrong, or the app is unavailable.", "密钥不对，或者应用不可用。").source(FIELD),
    app(10015, "The secret is wrong.", "密钥不对。"),
    app(10005, "The app is not authorised, or its id does not exist.", "应用未获授权，或者应用 ID 不存在。"),
    app(10003, "The app id or the secret is missing or malformed.", "缺少应用 ID 或密钥，或者格式不对。").source(FIELD),
    app(20002, "The app id or the secret is wrong.", "应用 ID 或密钥不对。"),
    any(10012, Class::Retry, Who::Relay, "The platform could not get the app's token.", "平台获取应用令牌失败。"),
    any(10013, Class::Retry, Who::Relay, "The platform could not get the tenant's token.", "平台获取租户令牌失败。"),

    caller(99991201, "There is no such path.", "没有这个路径。"),
    caller(99991301, "The path does not take this method.", "该路径不支持这个请求方法。"),
    caller(99992402, "A field did not pass validation; the answer names it.", "字段校验未通过，返回内容里写明了是哪一项。").same_bytes(),
    caller(99992351, "A user id does not exist.", "用户 ID 不存在。"),
    caller(99992352, "A user id does not exist.", "用户 ID 不存在。"),
    caller(99992353, "A user id does not exist.", "用户 ID 不存在。"),
    caller(99992359, "A user id does not exist.", "用户 ID 不存在。"),
    caller(99992360, "A user id does not exist.", "用户 ID 不存在。"),
    caller(99992363, "A user id does not exist.", "用户 ID 不存在。"),
    any(99992354, Class::Gone, Who::Nobody, "There is no message of this id.", "该 ID 的消息不存在。"),
    any(99992355, Class::Gone, Who::Nobody, "There is no chat of this id.", "该 ID 的会话不存在。"),
    any(99992356, Class::Gone, Who::Nobody, "There is no chat of this id.", "该 ID 的会话不存在。"),
    caller(99992361, "The open_id belongs to another app.", "该 open_id 属于另一个应用。"),
    caller(99992364, "The user_id belongs to another tenant.", "该 user_id 属于另一个租户。"),
    caller(99992381, "The union_id belongs to another tenant.", "该 union_id 属于另一个租户。"),
    caller(9499, "The request is malformed.", "请求格式不对。"),
    any(9499, Class::Limited, Who::Relay, "Too many requests.", "请求过于频繁。").text("too many request").bucket(BucketKind::Api, Some(API_PAUSE_MS)).source(FIELD),
    caller(4000, "The request is malformed.", "请求格式不对。"),
    caller(4005, "The request is malformed.", "请求格式不对。"),
    caller(10001, "The request is malformed.", "请求格式不对。"),
    caller(10100, "The request is malformed.", "请求格式不对。"),
    caller(10400, "The request is malformed.", "请求格式不对。"),
    token(4001, "The token is invalid.", "令牌无效。"),
    fault(1500), fault(1663), fault(5000), fault(10101), fault(10500),
    any(2200, Class::Ambiguous, Who::Relay, "The platform failed inside, most often from too many calls.", "平台内部错误，多半是调用过于频繁。").wait(API_PAUSE_MS),
];
