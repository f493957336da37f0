//! `explain`: what a code of Feishu means, who can mend it, and what the relay does about it.
//!
//! The meanings are the table by which answers are judged, so this cannot say anything else than what
//! happens. The relay's part follows from a row's class, its pause and its limit.

use comfy_table::Cell;
use feishu_im::codes::{self, CodeRow, Scope, Sub};
use feishu_im::{Api, BucketKind, Class, PauseScope, Who};
use serde_json::{Value, json};

use super::exit::{Ended, Exit};
use super::out;

/// Codes of the relay's own, which callers of `/open-apis` meet: English, Chinese.
const OWN: [(i64, &str, &str); 7] = [
    (
        990_001,
        "The job that the id stands for expired before it was sent.",
        "该 ID 对应的任务在发送前已过期。",
    ),
    (
        990_002,
        "The job that the id stands for was canceled.",
        "该 ID 对应的任务已被取消。",
    ),
    (
        990_003,
        "A read on a promised id whose job is not settled yet; ask again later.",
        "读取的承诺 ID 对应的任务尚未完成，请稍后再试。",
    ),
    (
        990_004,
        "No call is made now: a pause, an outage, the rest of the month, no token; the message says which.",
        "目前不发起调用：已暂停、飞书不可用、本月额度将尽或没有 token；具体见 msg。",
    ),
    (
        990_005,
        "No room: nothing was stored or sent; come again after Retry-After.",
        "没有空间：未保存也未发送；请在 Retry-After 之后重试。",
    ),
    (
        990_006,
        "It was sent and no answer came; what only reads was tried again before.",
        "请求已发出但没有收到应答；只读请求已先行重试。",
    ),
    (
        990_007,
        "The job that the id stands for failed without a code of Feishu's.",
        "该 ID 对应的任务失败，且没有飞书的错误码。",
    ),
];

/// Say what a code of Feishu means, and what the relay does about it
#[derive(Debug, clap::Args)]
pub(super) struct Explain {
    /// The code, or a card's ErrCode; without one, all of them are listed
    #[arg(allow_negative_numbers = true)]
    code: Option<i64>,
    /// Else as $LC_ALL, $LC_MESSAGES or $LANG say
    #[arg(long, value_enum)]
    lang: Option<Lang>,
    /// Print JSON, in both languages
    #[arg(long)]
    json: bool,
}

/// In which language the words are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Lang {
    En,
    Zh,
}

/// The same in both languages.
struct Words {
    en: String,
    zh: String,
}

impl Words {
    fn new(en: impl Into<String>, zh: impl Into<String>) -> Words {
        Words {
            en: en.into(),
            zh: zh.into(),
        }
    }

    fn add(&mut self, en: &str, zh: &str) {
        self.en.push(' ');
        self.en.push_str(en);
        self.zh.push_str(zh);
    }

    fn in_lang(&self, lang: Lang) -> &str {
        match lang {
            Lang::En => &self.en,
            Lang::Zh => &self.zh,
        }
    }

    fn json(&self) -> Value {
        json!({"en": self.en, "zh": self.zh})
    }
}

impl Explain {
    /// Prints every meaning of the code; 1 when no table knows it.
    pub(super) async fn run(self) -> Ended {
        let lang = self.lang.unwrap_or_else(|| {
            let said = |name| std::env::var(name).ok();
            lang_of(
                ["LC_ALL", "LC_MESSAGES", "LANG"]
                    .into_iter()
                    .filter_map(said),
            )
        });
        let Some(code) = self.code else {
            return self.list(lang);
        };
        if let Some((_, en, zh)) = OWN.iter().find(|(own, _, _)| *own == code) {
            return self.own(code, &Words::new(*en, *zh), lang);
        }
        let rows = codes::explain(code);
        if self.json {
            let meanings: Vec<Value> = rows.iter().map(|row| meaning(row)).collect();
            let mut answer = json!({"code": code, "meanings": meanings});
            if rows.is_empty() {
                answer["relay"] = unknown().json();
            }
            out::json(&answer.to_string())?;
        } else {
            for (at, row) in rows.iter().enumerate() {
                if at > 0 {
                    out::line("")?;
                }
                for line in lines(row, lang) {
                    out::line(&line)?;
                }
            }
        }
        if !rows.is_empty() {
            return Ok(Exit::Fine);
        }
        if !self.json {
            let title = match lang {
                Lang::En => format!("{code}  no table knows it"),
                Lang::Zh => format!("{code}  表中没有这个错误码"),
            };
            out::line(&title)?;
            out::line(&format!("  {}", unknown().in_lang(lang)))?;
        }
        Ok(Exit::Failed)
    }

    fn own(&self, code: i64, words: &Words, lang: Lang) -> Ended {
        if self.json {
            let answer = json!({"code": code, "meanings": [], "relay": words.json()});
            out::json(&answer.to_string())?;
            return Ok(Exit::Fine);
        }
        let whose = match lang {
            Lang::En => "the relay's own, at /open-apis",
            Lang::Zh => "本程序自己的错误码（/open-apis）",
        };
        out::line(&format!("{code}  {whose}"))?;
        out::line(&format!("  {}", words.in_lang(lang)))?;
        Ok(Exit::Fine)
    }

    fn list(&self, lang: Lang) -> Ended {
        let mut rows: Vec<&CodeRow> = codes::rows().collect();
        rows.sort_by_key(|row| (row.code, code_of(row)));
        if self.json {
            let rows: Vec<Value> = rows.iter().map(|row| meaning(row)).collect();
            out::json(&Value::Array(rows).to_string())?;
            return Ok(Exit::Fine);
        }
        let row = |row: &&CodeRow| {
            let meaning = text(row, lang);
            vec![
                Cell::new(code_of(row)),
                Cell::new(place(row)),
                Cell::new(meaning),
            ]
        };
        out::table(
            &["CODE", "WHERE", "MEANING"],
            rows.iter().map(row).collect(),
        )?;
        Ok(Exit::Fine)
    }
}

/// The first of the variables that says something decides, as for every program.
fn lang_of(mut said: impl Iterator<Item = String>) -> Lang {
    match said.find(|text| !text.is_empty()) {
        Some(text) if text.to_lowercase().starts_with("zh") => Lang::Zh,
        Some(_) | None => Lang::En,
    }
}

fn text(row: &CodeRow, lang: Lang) -> &'static str {
    match lang {
        Lang::En => row.meaning,
        Lang::Zh => row.meaning_zh,
    }
}

/// The code, with what else must be in the message.
fn code_of(row: &CodeRow) -> String {
    match row.sub {
        Sub::None => row.code.to_string(),
        Sub::Text(words) => format!("{} {words:?}", row.code),
        Sub::Card(card) => format!("{} ErrCode {card}", row.code),
        Sub::CardText(card, words) => format!("{} ErrCode {card} {words:?}", row.code),
    }
}

/// The endpoints at which it means this, by name.
fn apis(row: &CodeRow) -> Vec<&'static str> {
    match row.apis {
        Scope::Any => vec!["any"],
        Scope::Client => vec!["client"],
        Scope::Only(names) => names.to_vec(),
        Scope::Topic(topic) => Api::ALL
            .iter()
            .filter(|api| api.endpoint().topic == topic)
            .map(|api| api.name())
            .collect(),
    }
}

/// The same for a table: a group of endpoints by its name.
fn place(row: &CodeRow) -> String {
    match row.apis {
        Scope::Topic(topic) => format!("{topic:?}"),
        Scope::Any | Scope::Client | Scope::Only(_) => apis(row).join(", "),
    }
}

fn lines(row: &CodeRow, lang: Lang) -> Vec<String> {
    let at = apis(row).join(", ");
    let at = if at.is_empty() { place(row) } else { at };
    let (mend, does, source) = match lang {
        Lang::En => ("mended by", "the relay", "source"),
        Lang::Zh => ("由谁处理", "本程序", "来源"),
    };
    vec![
        format!("{}  {at}", code_of(row)),
        format!("  {}", text(row, lang)),
        format!("  {mend}: {}", who(row.who).in_lang(lang)),
        format!("  {does}: {}", relay(row).in_lang(lang)),
        format!("  {source}: {}", row.source),
    ]
}

fn meaning(row: &CodeRow) -> Value {
    let pause = row.pause.map(|scope| match scope {
        PauseScope::App => "app",
        PauseScope::AppApi => "call",
        PauseScope::Tenant => "tenant",
    });
    json!({
        "code": row.code, "when": code_of(row), "where": apis(row),
        "class": format!("{:?}", row.class).to_lowercase(),
        "meaning": {"en": row.meaning, "zh": row.meaning_zh},
        "who": format!("{:?}", row.who).to_lowercase(), "mended_by": who(row.who).json(),
        "relay": relay(row).json(), "pauses": pause, "proof": row.proof, "source": row.source,
    })
}

fn who(who: Who) -> Words {
    match who {
        Who::Caller => Words::new("whoever made the request", "发起请求的人"),
        Who::Admin => Words::new("an administrator or the app's owner", "管理员或应用负责人"),
        Who::Nobody => Words::new("nobody", "无人可以处理"),
        Who::Relay => Words::new("nobody needs to", "无需人工处理"),
    }
}

/// What the relay does when this is the answer.
fn relay(row: &CodeRow) -> Words {
    if row.apis == Scope::Client {
        return Words::new(
            "Never sees it: it is shown in the user's client.",
            "看不到：它只显示在用户的客户端里。",
        );
    }
    let mut words = after(row);
    if row.form {
        words.add(
            "A card with on_refused \"degrade\" goes on as a post, then as a text.",
            "如果任务写了 on_refused: \"degrade\"，卡片改以富文本、再以纯文本发送。",
        );
    }
    if row.proof {
        words.add(
            "After an attempt with unknown outcome it proves that that one worked: done.",
            "如果之前有结果未知的尝试，它证明那一次已经成功：任务完成。",
        );
    } else if row.same_bytes {
        words.add(
            "It holds for every attempt with the same bytes, so the job fails after an unknown one too.",
            "它对相同内容的每次尝试都成立，所以即使之前有结果未知的尝试，任务也失败。",
        );
    } else if matches!(row.class, Class::Caller | Class::Gone | Class::Admin) && row.pause.is_none()
    {
        words.add(
            "After an attempt with unknown outcome it is in doubt instead.",
            "如果之前有结果未知的尝试，则任务存疑（in_doubt）。",
        );
    }
    words
}

fn after(row: &CodeRow) -> Words {
    let class = format!("{:?}", row.class).to_lowercase();
    match (row.class, row.pause) {
        (Class::Done, _) => Words::new("Counts the job as done.", "视为任务已完成。"),
        (Class::Limited, _) => limited(row.bucket),
        (Class::Token, pause) => {
            let mut words = Words::new(
                "Fetches a new token and tries once more.",
                "换取新的 token 再试一次。",
            );
            if let Some(scope) = pause {
                let stop = stopped(scope);
                words.add(
                    &format!("Refused again: {}", stop.en),
                    &format!("再次被拒绝时：{}", stop.zh),
                );
            }
            words
        }
        (Class::Caller | Class::Gone | Class::Admin, Some(scope)) => stopped(scope),
        (Class::Caller | Class::Gone | Class::Admin, None) => Words::new(
            format!(
                "Fails the job at once (class {class}); `jobs retry` sends it once it is mended."
            ),
            format!("任务立即失败（{class}）；处理之后用 `jobs retry` 重新发送。"),
        ),
        (Class::Retry, _) => Words::new(
            "Tries again with growing waits, 8 attempts in all; then the job fails (class gave_up).",
            "间隔逐渐加长地重试，共 8 次；之后任务失败（gave_up）。",
        ),
        (Class::Ambiguous, _) if row.in_progress => Words::new(
            "Feishu is still working on it: asks again under the same uuid after 1 to 5 s.",
            "飞书仍在处理：1 到 5 秒后用相同的 uuid 再次请求。",
        ),
        (Class::Ambiguous, _) => Words::new(
            "Takes the outcome as unknown: repeats where that is safe, else the job is in doubt.",
            "视为结果未知：可以安全重复时重复，否则任务存疑（in_doubt）。",
        ),
        (Class::NotSent, _) => Words::new(
            "Knows that nothing left: tries again, and spends no attempt.",
            "确定没有发出：再试，不计入尝试次数。",
        ),
        (Class::Unclear, _) => unknown(),
    }
}

fn limited(bucket: Option<BucketKind>) -> Words {
    let (en, zh) = match bucket {
        Some(BucketKind::Api) => ("this call of the app", "该应用的这个接口"),
        Some(BucketKind::Receiver) => ("this person or group", "该用户或群"),
        Some(BucketKind::Message) => ("this message", "这条消息"),
        Some(BucketKind::BatchDay) => ("the day's batches", "当天的批量消息"),
        Some(BucketKind::Month) => ("every app of the tenant", "该租户的所有应用"),
        None => ("the job", "该任务"),
    };
    Words::new(
        format!("Lets {en} wait until the limit is over; spends no attempt and fails no job."),
        format!("让{zh}等到限制解除；不计入尝试次数，也不会因此失败。"),
    )
}

fn stopped(scope: PauseScope) -> Words {
    let (en, zh) = match scope {
        PauseScope::App => ("the app", "该应用"),
        PauseScope::AppApi => ("this call of the app", "该应用的这个接口"),
        PauseScope::Tenant => ("every app of the tenant", "该租户的所有应用"),
    };
    let mut words = Words::new(
        format!(
            "stops {en}: jobs wait and none fails for it; one job probes after 1 min, then every 5 min."
        ),
        format!("暂停{zh}：任务等待而不失败；1 分钟后用一个任务试探，之后每 5 分钟一次。"),
    );
    if scope == PauseScope::Tenant {
        words.add(
            "Also when the month turns (UTC+8). With `month_quota` set it keeps the last 5 % for `high` before it comes to this.",
            "月份更替时（UTC+8）也会试探。设置了 `month_quota` 时，会提前把最后 5% 的额度留给 `high` 任务。",
        );
    }
    words
}

/// What is done about a code that no table has.
fn unknown() -> Words {
    Words::new(
        "The relay tries 3 times, a minute or more apart (urgent calls and batches once), then the job fails (class unclear).",
        "本程序尝试 3 次，间隔至少一分钟（加急和批量消息只有一次），之后任务失败（unclear）。",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_said_whole_in_both_languages() {
        let cjk = |text: &str| text.chars().any(|c| ('\u{4e00}'..='\u{9fff}').contains(&c));
        for row in codes::rows() {
            for (words, here) in [(lines(row, Lang::En), false), (lines(row, Lang::Zh), true)] {
                assert_eq!(words.len(), 5, "{row:?}");
                assert!(words.iter().all(|line| line.trim().len() > 1), "{words:?}");
                // The source's words stay in their language.
                let said = words[1..4].join("");
                assert_eq!(cjk(&said), here, "{said}");
            }
        }
    }

    #[test]
    fn the_first_variable_that_says_something_chooses_the_language() {
        let check = |said: &[&str], lang: Lang| {
            let said = said.iter().map(|text| (*text).to_owned());
            assert_eq!(lang_of(said), lang);
        };
        check(&[], Lang::En);
        check(&["", "zh_CN.UTF-8"], Lang::Zh);
        check(&["C.UTF-8", "zh_CN.UTF-8"], Lang::En);
        check(&["zh_TW"], Lang::Zh);
    }
}
