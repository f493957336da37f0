//! Codes of cards: the reasons inside a failed card, the delayed update, the card for one member, the client's own.

use super::{CodeRow, Scope, Sub, Who, row};
use crate::classify::Class;
use crate::endpoints::Topic;

const SOURCE: &str = "card error codes page, May 2026; class inferred";

/// A sub-code of a message's card (230099).
const fn sub(
    code: i64,
    class: Class,
    who: Who,
    meaning: &'static str,
    meaning_zh: &'static str,
) -> CodeRow {
    CodeRow {
        sub: Sub::Card(code),
        ..row(
            Scope::Topic(Topic::Message),
            SOURCE,
            230099,
            class,
            who,
            meaning,
            meaning_zh,
        )
    }
}

const fn bad(code: i64, meaning: &'static str, meaning_zh: &'static str) -> CodeRow {
    sub(code, Class::Caller, Who::Caller, meaning, meaning_zh).form()
}

/// A sub-code that stands for several things, told apart by words.
const fn worded(
    code: i64,
    words: &'static str,
    class: Class,
    who: Who,
    meaning: &'static str,
    meaning_zh: &'static str,
) -> CodeRow {
    CodeRow {
        sub: Sub::CardText(code, words),
        ..sub(code, class, who, meaning, meaning_zh)
    }
}

const fn delayed(
    code: i64,
    class: Class,
    who: Who,
    meaning: &'static str,
    meaning_zh: &'static str,
) -> CodeRow {
    let source = "delayed card update page, May 2026; class inferred";
    row(
        Scope::Topic(Topic::DelayedCard),
        source,
        code,
        class,
        who,
        meaning,
        meaning_zh,
    )
}

const fn client(code: i64, meaning: &'static str, meaning_zh: &'static str) -> CodeRow {
    let source = "card callback page, May 2026; shown to the user, never answered to a call";
    row(
        Scope::Client,
        source,
        code,
        Class::Caller,
        Who::Caller,
        meaning,
        meaning_zh,
    )
}

/// The reasons inside 230099.
#[rustfmt::skip] // a table
const SUBS: &[CodeRow] = &[
    bad(100290, "An at or a person element names somebody unknown.", "at 或人员组件里的用户不存在。"),
    bad(11310, "The card cannot be made; the message says why.", "卡片无法生成，原因写在返回信息里。"),
    worded(11310, "template", Class::Admin, Who::Admin, "The app cannot see the card template.", "应用看不到该卡片模板。"),
    worded(11310, "element", Class::Caller, Who::Caller, "The card has more than 200 elements.", "卡片的元素超过 200 个。").form(),
    worded(11310, "card action is lock", Class::Retry, Who::Relay, "A click on the card is still being answered.", "卡片的点击回调还没有结束。"),
    sub(200380, Class::Admin, Who::Admin, "The card template is missing or not published.", "卡片模板不存在或没有发布。"),
    sub(200381, Class::Admin, Who::Admin, "The app cannot see the card template.", "应用看不到该卡片模板。"),
    bad(200550, "The specification of a chart is wrong.", "图表组件的定义有误。"),
    bad(200570, "The card names image keys that do not exist.", "卡片里的图片 key 不存在。"),
    bad(200621, "The card is not valid JSON.", "卡片 JSON 无法解析。"),
    bad(200732, "A variable of the template has the wrong type.", "模板变量的类型不对。"),
    bad(200737, "A variable of the template has the wrong format.", "模板变量的格式不对。"),
    bad(200861, "JSON 2.0 cards do not know this tag.", "JSON 2.0 卡片不支持该标签。"),
    bad(200914, "The rows of a table are wrong.", "表格组件的行数据有误。"),
    bad(200915, "The rows of a table are wrong.", "表格组件的行数据有误。"),
    bad(300220, "A card with an audio element cannot be forwarded.", "含音频组件的卡片不能转发。"),
    bad(300230, "Two audio elements have the same id.", "音频组件的 ID 重复。"),
    bad(300240, "An audio element's file belongs to another app.", "音频组件的文件属于另一个应用。"),
];

/// The same reasons inside a failed batch (11246).
const BATCH_SUBS: [CodeRow; SUBS.len()] = {
    let mut rows =
        [const { row(Scope::Any, "", 0, Class::Caller, Who::Caller, "", "") }; SUBS.len()];
    let mut at = 0;
    while at < rows.len() {
        let CodeRow {
            sub,
            class,
            meaning,
            meaning_zh,
            who,
            source,
            ..
        } = SUBS[at];
        rows[at] = CodeRow {
            sub,
            ..row(
                Scope::Topic(Topic::BatchSend),
                source,
                11246,
                class,
                who,
                meaning,
                meaning_zh,
            )
        };
        at += 1;
    }
    rows
};

pub(super) fn rows() -> impl Iterator<Item = &'static CodeRow> {
    const { &BATCH_SUBS }.iter().chain(SUBS).chain(ROWS)
}

#[rustfmt::skip] // a table
const ROWS: &[CodeRow] = &[
    row(Scope::Topic(Topic::Message), SOURCE, 230099, Class::Caller, Who::Caller, "The card's content was refused; ErrCode in the message says why.", "卡片内容未被接受，原因见返回信息里的 ErrCode。").form(),

    delayed(10002, Class::Caller, Who::Caller, "The update failed; the message says why.", "更新失败，原因写在返回信息里。"),
    delayed(11311, Class::Caller, Who::Caller, "The card is wrong.", "卡片有误。"),
    delayed(100000, Class::Caller, Who::Caller, "The card is over 100 KB after conversion.", "卡片转换后超过 100 KB。"),
    delayed(100030, Class::Caller, Who::Caller, "The card is not JSON.", "卡片不是 JSON。"),
    delayed(200000, Class::Gone, Who::Nobody, "The card was recalled.", "卡片已被撤回。"),
    delayed(200310, Class::Caller, Who::Caller, "The card is another app's.", "该卡片属于另一个应用。"),
    delayed(200320, Class::Caller, Who::Caller, "The card is wrong.", "卡片有误。"),
    delayed(300020, Class::Caller, Who::Caller, "The token of the click is malformed.", "点击令牌的格式不对。"),
    delayed(300030, Class::Caller, Who::Nobody, "The token of the click is older than 30 minutes.", "点击令牌已超过 30 分钟。"),
    delayed(300040, Class::Caller, Who::Nobody, "The token of the click was used twice already.", "点击令牌已经用过两次。").proof(),
    delayed(300090, Class::Caller, Who::Caller, "The card is wrong.", "卡片有误。"),

    row(Scope::Topic(Topic::Ephemeral), "ephemeral card deletion page, May 2026", 18051, Class::Done, Who::Relay, "The card for one member is deleted already.", "该仅自己可见的卡片已经删除。").proof(),

    client(200671, "The callback answered a status other than 200.", "回调返回的状态码不是 200。"),
    client(200672, "The callback's answer is malformed.", "回调返回的内容格式不对。"),
    client(200673, "The card in the callback's answer is wrong.", "回调返回的卡片有误。"),
];
