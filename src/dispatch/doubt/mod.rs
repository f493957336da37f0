//! A look into a chat's history for a message whose answer was lost: what is asked, which messages fit,
//! and when it gives up.
//!
//! It asks once, for the time around the attempts whose outcome is unknown, page by page and no more
//! than a bound. Kept are ids and times, and whether the content is the same; never anybody's words.
//! Not here: when a look begins (`store::doubt`), what a person does with it.

mod same;

pub(in crate::dispatch) use same::same;

use feishu_im::answers::{Message, Messages};
use feishu_im::{IdType, Reply, Request, op};
use serde_json::{Value, json};

use crate::dispatch::follow::learned;
use crate::dispatch::judge::FailClass;
use crate::dispatch::perform;
use crate::job::{Fault, Marked, Outcome, Spent};
use crate::store::{Case, End, Finish};

/// How far before and after an attempt its message may have been made: the clocks differ, and a call
/// whose answer is lost takes its time.
const MARGIN_MS: i64 = 120_000;
/// Pages of one look; each is a call of the month's quota.
const PAGES_MAX: i64 = 10;
/// Answers that stay away, then the look is given up; somebody may ask anew.
const TRIES_MAX: u32 = 12;
/// The first wait after an answer that stayed away, and the longest, milliseconds.
const WAIT_MS: (i64, i64) = (10_000, 3_600_000);
/// Attempts that a job keeps, and of those how many of the first: between these some may be missing.
const ATTEMPTS_KEPT: (usize, usize) = (40, 8);

/// Why nothing is asked.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Over {
    /// The job is not in doubt any more.
    Settled,
    /// Its chat is not known.
    NoChat,
}

/// The next question.
#[derive(Debug)]
pub(super) struct Step {
    chat: String,
    /// Seconds, both included.
    spans: Vec<(i64, i64)>,
    at: usize,
    token: Option<String>,
    pages: i64,
    found: Vec<Value>,
    /// Type and content as they were sent; `None`: not kept any more.
    sent: Option<(String, String)>,
}

/// What the look asks next.
pub(super) fn step(marked: &Marked, case: Case) -> Result<Step, Over> {
    if !case.open {
        return Err(Over::Settled);
    }
    let sent = case.content.as_ref().and_then(|(args, resolved)| {
        perform::sent_content(args, resolved.as_deref(), case.rung).ok()
    });
    let spans = spans(&case);
    let chat = case.chat.ok_or(Over::NoChat)?;
    let next = learned(marked)["next"].take();
    let pair = |span: &Value| Some((span[0].as_i64()?, span[1].as_i64()?));
    let kept = next["spans"]
        .as_array()
        .map(|list| list.iter().filter_map(pair).collect::<Vec<_>>());
    Ok(match kept {
        Some(spans) => Step {
            chat,
            at: next["at"].as_u64().map_or(0, |at| at as usize),
            token: next["token"].as_str().map(str::to_owned),
            pages: next["pages"].as_i64().unwrap_or(0),
            found: next["found"].as_array().cloned().unwrap_or_default(),
            spans,
            sent,
        },
        None => Step {
            chat,
            spans,
            at: 0,
            token: None,
            pages: 0,
            found: Vec::new(),
            sent,
        },
    })
}

impl Step {
    pub(super) fn request(&self) -> Request {
        let (from_s, to_s) = self.spans.get(self.at).copied().unwrap_or_default();
        let cards = |(msg_type, _): &(String, String)| msg_type == "interactive";
        op::ListMessages {
            container: IdType::ChatId,
            container_id: &self.chat,
            start_time_s: Some(from_s),
            end_time_s: Some(to_s),
            newest_first: false,
            page_size: Some(feishu_im::limits::HISTORY_PAGE_MAX),
            page_token: self.token.as_deref(),
            user_card_content: self.sent.as_ref().is_none_or(cards),
        }
        .request()
    }

    /// Keeps what the answer shows, and asks for the rest of that time, or ends.
    pub(super) fn keep(
        mut self,
        reply: Option<&Reply>,
        app_id: &str,
        before: &Value,
        finish: &mut Finish,
        now_ms: i64,
    ) {
        match &finish.end {
            End::Done { .. } => {}
            End::Failed { .. } | End::InDoubt { .. } => {
                finish.progress = Some(without_next(before).to_string());
                return;
            }
            End::Again { .. } => return wait_or_give_up(before, finish, now_ms),
        }
        let Some(page) = reply.and_then(|reply| reply.data::<Messages>().ok()) else {
            finish.spent.unclear += 1;
            return wait_or_give_up(before, finish, now_ms);
        };
        let fits = |message: &Message| candidate(message, app_id, self.sent.as_ref());
        let fitting: Vec<Value> = page.items.iter().filter_map(fits).collect();
        self.found.extend(fitting);
        self.pages += 1;
        // A token that comes back would be followed for ever.
        let token = page
            .page_token
            .filter(|token| page.has_more && !token.is_empty())
            .filter(|token| self.token.as_ref() != Some(token));
        if token.is_none() {
            self.at += 1;
        }
        self.token = token;
        let complete = self.at >= self.spans.len();
        let mut known = without_next(before);
        finish.spent = Spent::default();
        if complete || self.pages >= PAGES_MAX {
            known = json!({"asked_ms": now_ms, "chat": self.chat, "complete": complete, "found": self.found});
            finish.end = done();
        } else {
            known["next"] = json!({"spans": self.spans, "at": self.at, "token": self.token,
                "pages": self.pages, "found": self.found});
            finish.end = End::Again { run_ms: now_ms };
        }
        finish.progress = Some(known.to_string());
    }
}

/// A look that ends without a question. Without a chat nothing that was known stays: it was of nowhere.
pub(super) fn over(over: &Over, before: &Value) -> (End, String) {
    let known = match over {
        Over::Settled => without_next(before),
        Over::NoChat => json!({}),
    };
    (done(), known.to_string())
}

fn done() -> End {
    End::Done {
        receipt: None,
        message_id: None,
    }
}

fn without_next(before: &Value) -> Value {
    let mut known = before.clone();
    if let Value::Object(fields) = &mut known {
        fields.remove("next");
    }
    known
}

/// Waits double with the answers that stayed away, so that an outage costs a look a dozen calls.
fn wait_or_give_up(before: &Value, finish: &mut Finish, now_ms: i64) {
    let End::Again { run_ms } = finish.end else {
        return give_up(before, finish);
    };
    let tries = finish.spent.tries + finish.spent.unsent + finish.spent.unclear;
    if tries >= TRIES_MAX {
        return give_up(before, finish);
    }
    let wait_ms = match tries {
        // A limit or a token: what spends no attempt has a wait of its own.
        0 => 0,
        _ => (WAIT_MS.0 << (tries - 1)).min(WAIT_MS.1),
    };
    finish.end = End::Again {
        run_ms: run_ms.max(now_ms + wait_ms),
    };
}

fn give_up(before: &Value, finish: &mut Finish) {
    finish.progress = Some(without_next(before).to_string());
    finish.end = End::Failed {
        fault: Fault {
            class: FailClass::GaveUp.name().into(),
            msg: String::from("no answer that could be read"),
            ..Fault::default()
        },
        content: false,
    };
}

/// When the message can have been made, in seconds: around each attempt whose outcome is unknown, and
/// of a job from a restored copy all the time that the copy does not know.
fn spans(case: &Case) -> Vec<(i64, i64)> {
    let mut spans: Vec<(i64, i64)> = Vec::new();
    let mut last = None;
    for (n, attempt) in case.attempts.iter().enumerate() {
        if attempt.outcome != Outcome::Unknown {
            continue;
        }
        let end_ms = attempt.at_ms.saturating_add(attempt.ms.unwrap_or(0));
        let (first, of_first) = (case.attempts.len() >= ATTEMPTS_KEPT.0, ATTEMPTS_KEPT.1);
        // Those that are not kept lie between the first ones and the newest.
        let gap = first && n >= of_first && last.is_some_and(|last| last < of_first);
        let begin_ms = match spans.last() {
            Some((_, before_ms)) if gap => attempt.at_ms.min(*before_ms),
            _ => attempt.at_ms,
        };
        spans.push((begin_ms, end_ms));
        last = Some(n);
    }
    let since_ms = case.unknown_ms;
    for action in case.actions.iter().filter(|action| action.by == "restore") {
        spans.extend(since_ms.map(|since| (since.min(action.at_ms), action.at_ms)));
    }
    if spans.is_empty() {
        spans.extend(since_ms.map(|since| (since, since)));
    }
    merged(spans)
}

fn merged(mut spans: Vec<(i64, i64)>) -> Vec<(i64, i64)> {
    for (from, to) in &mut spans {
        *from = (*from - MARGIN_MS).div_euclid(1_000).max(0);
        *to = (*to + MARGIN_MS).div_euclid(1_000) + 1;
    }
    spans.sort_unstable();
    let mut whole: Vec<(i64, i64)> = Vec::new();
    for (from, to) in spans {
        match whole.last_mut() {
            Some(last) if from <= last.1 => last.1 = last.1.max(to),
            _ => whole.push((from, to)),
        }
    }
    whole
}

/// The message as a candidate; `None`: it cannot be the one.
fn candidate(message: &Message, app_id: &str, sent: Option<&(String, String)>) -> Option<Value> {
    let sender = message.sender.as_ref()?;
    if sender.sender_type != "app" || sender.id != app_id || message.message_id.is_empty() {
        return None;
    }
    let msg_type = message.msg_type.as_deref()?;
    if sent.is_some_and(|(sent_type, _)| sent_type != msg_type) {
        return None;
    }
    let shown = message.body.as_ref().map(|body| body.content.as_str());
    let same = match (sent, shown) {
        (Some((_, sent)), Some(shown)) if !message.deleted => same(msg_type, sent, shown),
        _ => None,
    };
    Some(json!({
        "message_id": message.message_id,
        "create_ms": message.create_time.unwrap_or(0),
        "sender": sender.id,
        "same_content": same,
        "recalled": message.deleted,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::{Action, Attempt};

    const MINUTE_MS: i64 = 60_000;

    fn unknown(at_ms: i64) -> Attempt {
        Attempt {
            at_ms,
            ms: Some(10_000),
            outcome: Outcome::Unknown,
            http: None,
            code: None,
            log_id: None,
            part: None,
            rung: None,
        }
    }

    fn check(attempts: Vec<Attempt>, actions: Vec<Action>, expected: &[(i64, i64)]) {
        let case = Case {
            open: true,
            content: None,
            rung: 0,
            chat: None,
            attempts,
            actions,
            unknown_ms: Some(60 * MINUTE_MS),
        };
        assert_eq!(spans(&case), expected);
    }

    #[test]
    fn the_time_around_each_unknown_attempt_is_read_once() {
        let refused = Attempt {
            outcome: Outcome::Refused,
            ..unknown(300 * MINUTE_MS)
        };
        check(
            vec![unknown(60 * MINUTE_MS), refused],
            vec![],
            &[(3_480, 3_731)],
        );
        let near = vec![unknown(60 * MINUTE_MS), unknown(62 * MINUTE_MS)];
        check(near, vec![], &[(3_480, 3_851)]);
        let far = vec![unknown(60 * MINUTE_MS), unknown(600 * MINUTE_MS)];
        check(far, vec![], &[(3_480, 3_731), (35_880, 36_131)]);
        check(vec![], vec![], &[(3_480, 3_721)]);
    }

    #[test]
    fn what_is_not_on_record_is_read_whole() {
        let mut many: Vec<Attempt> = (0..8).map(|n| unknown((60 + n) * MINUTE_MS)).collect();
        many.extend((0..32).map(|n| unknown((100 + n) * MINUTE_MS)));
        check(many, vec![], &[(3_480, 131 * 60 + 131)]);
        let restored = Action {
            at_ms: 90 * MINUTE_MS,
            by: String::from("restore"),
            what: String::new(),
        };
        check(vec![], vec![restored], &[(3_480, 90 * 60 + 121)]);
    }

    fn message(sender: &str, msg_type: &str, text: &str) -> Message {
        let content = json!({"text": text}).to_string();
        let message = json!({"message_id": "om_1", "msg_type": msg_type, "create_time": "5000",
            "sender": {"id": sender, "id_type": "app_id", "sender_type": "app"}, "body": {"content": content}});
        serde_json::from_value(message).unwrap()
    }

    #[test]
    fn only_messages_of_the_app_and_of_the_type_are_candidates_and_no_word_of_them_is_kept() {
        let sent = (
            String::from("text"),
            json!({"text": "disk full"}).to_string(),
        );
        let look = |message: &Message| candidate(message, "cli_a", Some(&sent));
        let found = look(&message("cli_a", "text", "disk full")).unwrap();
        assert_eq!(
            found,
            json!({"message_id": "om_1", "create_ms": 5000, "sender": "cli_a", "same_content": true, "recalled": false})
        );
        let other = look(&message("cli_a", "text", "all is well")).unwrap();
        assert_eq!(other["same_content"], false);
        assert!(!other.to_string().contains("well"));
        assert_eq!(look(&message("cli_b", "text", "disk full")), None);
        assert_eq!(look(&message("cli_a", "post", "disk full")), None);
        let mut person = message("cli_a", "text", "disk full");
        person.sender.as_mut().unwrap().sender_type = String::from("user");
        assert_eq!(look(&person), None);
        let mut gone = message("cli_a", "text", "This message was recalled");
        gone.deleted = true;
        let gone = look(&gone).unwrap();
        assert_eq!(
            (&gone["same_content"], &gone["recalled"]),
            (&Value::Null, &json!(true))
        );
    }
}
