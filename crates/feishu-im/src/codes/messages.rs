//! Codes of messages, urgent, pins and reads, and the reasons inside 230001.

use super::{CodeRow, Scope, Who, row};
use crate::classify::{BucketKind, Class, PauseScope};
use crate::endpoints::Topic;
use crate::limits::RECEIVER_PAUSE_MS;

const SOURCE: &str = "message endpoints' error tables, May 2026; class inferred";
const FORWARDS: &[&str] = &["forward", "merge_forward", "forward_thread"];
const HOUR_MS: i64 = 3_600_000;

const fn on(
    code: i64,
    class: Class,
    who: Who,
    meaning: &'static str,
    meaning_zh: &'static str,
) -> CodeRow {
    row(
        Scope::Topic(Topic::Message),
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

/// The caller's, but nothing mends it any more.
const fn over(code: i64, meaning: &'static str, meaning_zh: &'static str) -> CodeRow {
    on(code, Class::Caller, Who::Nobody, meaning, meaning_zh)
}

const fn admin(code: i64, meaning: &'static str, meaning_zh: &'static str) -> CodeRow {
    on(code, Class::Admin, Who::Admin, meaning, meaning_zh)
}

const fn gone(code: i64, meaning: &'static str, meaning_zh: &'static str) -> CodeRow {
    on(code, Class::Gone, Who::Nobody, meaning, meaning_zh)
}

const fn limited(
    code: i64,
    bucket: BucketKind,
    meaning: &'static str,
    meaning_zh: &'static str,
) -> CodeRow {
    on(code, Class::Limited, Who::Relay, meaning, meaning_zh)
        .bucket(bucket, Some(RECEIVER_PAUSE_MS))
}

/// A reason inside 230001, known by its words.
const fn ext(words: &'static str, meaning: &'static str, meaning_zh: &'static str) -> CodeRow {
    caller(230001, meaning, meaning_zh).text(words)
}

const fn recalled(code: i64) -> CodeRow {
    on(
        code,
        Class::Done,
        Who::Relay,
        "The message is recalled already.",
        "该消息已经撤回。",
    )
    .only(&["recall"])
    .proof()
}

#[rustfmt::skip] // a table
pub(super) const ROWS: &[CodeRow] = &[
    caller(230001, "A parameter is invalid; the words after ext= say which.", "参数无效，ext= 之后写明了是哪一个。"),
    admin(230002, "The bot is not in the group.", "机器人不在该群里。"),
    admin(230006, "The app's bot ability is off, or the version with it is not published.", "应用没有启用机器人能力，或者相应版本没有发布。").pause(PauseScope::AppApi),
    over(230009, "The message is too old to be recalled.", "消息太旧，已不能撤回。"),
    gone(230011, "The message was recalled.", "该消息已被撤回。"),
    recalled(230011),
    caller(230012, "The bot did not send this message.", "该消息不是这个机器人发的。"),
    admin(230013, "The person is outside the app's availability range, or has left it.", "该用户不在应用的可用范围内，或已不在其中。"),
    caller(230015, "A one-to-one chat cannot be shared.", "单聊不能作为群名片分享。"),
    caller(230017, "The image or file was uploaded by another app.", "图片或文件是由另一个应用上传的。"),
    admin(230018, "The group's settings forbid it: muted, or for admins only.", "群设置不允许：群被禁言，或仅限管理员。"),
    gone(230019, "The thread does not exist.", "话题不存在。"),
    limited(230020, BucketKind::Receiver, "Too many messages to this person, group or message.", "对该用户、群或消息的操作过于频繁。"),
    limited(230020, BucketKind::Message, "Too many updates of this message.", "对该消息的更新过于频繁。").only(&["update_card"]),
    caller(230022, "The content holds sensitive words.", "内容含有敏感词。"),
    on(230023, Class::Retry, Who::Relay, "The person has more than 200 unread urgent messages.", "该用户未读的加急消息已超过 200 条。").wait(HOUR_MS),
    admin(230024, "The tenant's quota of urgent messages is used up.", "租户的加急额度已用完。"),
    caller(230025, "The content is too long.", "内容过长。").same_bytes().form(),
    caller(230026, "The bot may not recall this message.", "机器人无权撤回该消息。"),
    admin(230027, "A permission is missing, or external groups are not allowed.", "缺少权限，或者不允许用于外部群。"),
    caller(230028, "The audit against data loss refused the content: plain phone numbers, mail addresses or the like.", "内容未通过数据防泄漏审核，例如含有明文手机号、邮箱。"),
    gone(230029, "The person has left the company.", "该用户已离职。"),
    caller(230030, "There is no batch of this id, or it is older than 30 days.", "没有该 ID 的批量消息，或已超过 30 天。"),
    over(230031, "The card is older than 14 days.", "卡片发送已超过 14 天。"),
    over(230033, "Readers are kept for 7 days only.", "已读信息只保留 7 天。"),
    caller(230034, "The receiver's id does not fit its type.", "接收者 ID 与其类型不符。"),
    admin(230035, "Sending is denied: the chat is muted, the bot is blocked, or the tenants may not talk.", "不允许发送：会话被禁言、机器人被屏蔽，或租户之间不能沟通。"),
    admin(230036, "The tenant's encryption key was deleted.", "租户的加密密钥已被删除。"),
    admin(230038, "One-to-one messages across tenants are forbidden.", "不允许跨租户单聊。"),
    gone(230045, "The chat does not exist.", "会话不存在。"),
    admin(230046, "The bot has no right to pin here.", "机器人没有在此 Pin 消息的权限。"),
    limited(230047, BucketKind::Message, "Too many pins of this message.", "对该消息的 Pin 操作过于频繁。"),
    limited(230048, BucketKind::Api, "Too many readings of pins.", "读取 Pin 列表过于频繁。"),
    on(230049, Class::Ambiguous, Who::Relay, "This very message is being sent.", "同一条消息正在发送。").in_progress(),
    caller(230050, "The bot cannot see this message.", "机器人看不到该消息。"),
    admin(230052, "The bot may not buzz here, or it was judged risky.", "机器人在此不能加急，或被判定有风险。"),
    on(230053, Class::Admin, Who::Nobody, "The person has stopped messages of this bot.", "该用户已停用此机器人的消息。"),
    caller(230054, "This type of message does not allow it.", "该类型的消息不支持此操作。"),
    caller(230055, "The file was uploaded as another type than it is sent as.", "文件上传时的类型与发送的类型不符。"),
    caller(230061, "This type of message cannot be forwarded.", "该类型的消息不能转发。"),
    admin(230062, "The target is a group with third-party encryption.", "目标群使用第三方加密。"),
    gone(230063, "The target chat is invalid.", "目标会话无效。"),
    gone(230064, "The source is missing, recalled or invisible.", "源消息不存在、已撤回或不可见。"),
    gone(230065, "The source was recalled.", "源消息已撤回。"),
    caller(230066, "The source lies in a secret group.", "源消息在密聊群里。"),
    caller(230067, "These sources cannot be merged into one.", "这些源消息不能合并转发。"),
    caller(230069, "The sources come from different chats.", "源消息来自不同的会话。"),
    admin(230070, "The source is under restricted mode.", "源消息处于防泄密模式。"),
    caller(230071, "The group does not take replies in threads.", "该群不支持话题回复。").only(&["reply"]),
    caller(230071, "The bot did not send the message to be edited.", "要编辑的消息不是这个机器人发的。").only(&["edit"]),
    caller(230072, "An aggregated message takes no reply.", "聚合消息不能回复。").only(&["reply"]),
    over(230072, "All 20 edits of this message are used.", "该消息的 20 次编辑机会已用完。").only(&["edit"]),
    admin(230073, "The bot cannot see the thread.", "机器人看不到该话题。"),
    caller(230073, "A message in a secret group cannot be edited.", "密聊群里的消息不能编辑。").only(&["edit"]),
    admin(230074, "The bot cannot see the target thread.", "机器人看不到目标话题。").only(FORWARDS),
    caller(230074, "A message in a chat with third-party encryption cannot be edited.", "第三方加密会话里的消息不能编辑。").only(&["edit"]),
    caller(230075, "Encrypted chats are not supported.", "不支持加密会话。"),
    over(230075, "The time for editing has passed.", "已超过可编辑的时间。").only(&["edit"]),
    caller(230098, "A folded message cannot be buzzed.", "被折叠的消息不能加急。"),
    on(230101, Class::Unclear, Who::Admin, "Not documented; seen in practice.", "文档没有记载，实际出现过。").source("public bug reports, read 2026-11-21"),
    gone(230110, "The message was deleted.", "该消息已被删除。"),
    recalled(230110),
    caller(230111, "The message will destroy itself.", "该消息是阅后即焚消息。"),
    caller(231203, "The type of chat is not supported.", "不支持该类型的会话。"),
    caller(231204, "The type of app is not supported.", "不支持该类型的应用。"),
    gone(232009, "The chat was dissolved.", "该群已解散。"),

    ext("invalid receive_id", "The receiver's id is invalid.", "接收者 ID 无效。"),
    ext("invalid receive_id_type", "The type of the receiver's id is invalid.", "接收者 ID 的类型无效。"),
    ext("invalid chat_id", "The chat's id is invalid.", "会话 ID 无效。"),
    ext("invalid user_id", "The user's id is invalid.", "用户 ID 无效。"),
    ext("invalid thread_id", "The thread's id is invalid.", "话题 ID 无效。"),
    ext("invalid message_id", "The message's id is malformed or unknown.", "消息 ID 格式不对或不存在。"),
    ext("batch_message_id length is less than 4", "The batch's id in the path is wrong.", "路径里的批量消息 ID 不对。"),
    ext("invalid msg_type", "This type of message is not supported here.", "此处不支持该消息类型。"),
    ext("content is not a string in json format", "The content is not a string that holds JSON.", "content 不是装有 JSON 的字符串。").form(),
    ext("validate content fail", "The content does not have the form of its type.", "内容的结构与消息类型不符。").form(),
    ext("invalid message content", "The content does not have the form of its type.", "内容的结构与消息类型不符。").form(),
    ext("content cannot be empty", "The content is empty.", "内容为空。").form(),
    ext("invalid image_key", "The image's key is unknown.", "图片的 key 不存在。"),
    ext("invalid file_key", "The file's key is unknown.", "文件的 key 不存在。"),
    ext("start_time", "The start is invalid; history counts in seconds, pins in milliseconds.", "开始时间无效；历史消息用秒，Pin 用毫秒。"),
    ext("end_time", "The end is invalid or before the start.", "结束时间无效，或早于开始时间。"),
    ext("page_size exceeds", "The page is too large.", "每页条数过多。"),
    ext("invalid page_token", "The page token is invalid.", "分页标记无效。"),
    ext("request parameters have changed", "Parameters changed between two pages.", "翻页之间改变了参数。"),
    ext("all ids in the user_id_list are invalid", "No id in the list is valid, so nobody was buzzed.", "列表里没有有效的 ID，没有加急任何人。"),
    ext("no valid message to forward", "None of the messages can be forwarded.", "没有可以转发的消息。"),
    ext("not a card", "The message is not a card.", "该消息不是卡片。"),
    ext("this operation to bots is currently not supported", "A bot cannot be the receiver.", "机器人不能作为接收者。"),
    ext("sending system messages in group chats is not supported", "System messages go to one-to-one chats only.", "系统消息只能发到单聊。"),
    on(230001, Class::Ambiguous, Who::Relay, "The platform failed inside; it may have happened.", "平台内部错误，请求可能已经生效。").text("internal error"),
];
