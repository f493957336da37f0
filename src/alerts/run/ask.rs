//! Asks, just before a rung, who has read the card and whether somebody has reacted to it.
//!
//! Promises: an answer within a few seconds, whatever Feishu does; what could not be found out counts as nobody,
//! and says so. Nothing is asked of which no rung would be different.
//! Not here: which rungs are due and whom they call (`rungs`).

use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use http::{HeaderMap, Method};
use serde_json::Value;
use tokio::time::{Instant, timeout_at};

use crate::alerts::people::{OnCall, People};
use crate::alerts::policy::Who;
use crate::alerts::run::Alerts;
use crate::alerts::rungs::{Ask, Called, Facts, id_type};
use crate::job::{Api, AppId, Gate, GateCall, GateFault, IncidentRow, percent_encoded};

/// So long a rung waits for what is asked before it.
const PATIENCE: Duration = Duration::from_secs(4);
/// The largest page.
const PAGE_BYTES_MAX: usize = 1 << 20;
/// The most pages: with a hundred readers each more than a chat has members.
const PAGES_MAX: usize = 100;

impl Alerts {
    /// Whom the rungs name as the lists stand now, and what Feishu says of them.
    pub(super) async fn ask(&self, row: &IncidentRow, ask: &Ask) -> Facts {
        let (rungs, in_force) = (ask.rungs.clone(), self.in_force());
        let read = move || whom(&rungs, &in_force.oncall);
        // Lists are files, which may lie on a slow disk.
        let called = tokio::task::spawn_blocking(read).await.unwrap_or_default();
        for fault in called.values().flat_map(|called| &called.faults) {
            tracing::warn!(incident = %row.id, "{fault}");
        }
        let app = self.store.apps().iter().find(|(_, name)| *name == row.app);
        let mut facts = match app {
            Some((app, _)) => facts(&self.gate, *app, ask, called).await,
            None => Facts {
                message: ask.message.clone(),
                called,
                troubles: vec![String::from("its app is not configured any more")],
                ..Facts::default()
            },
        };
        facts.asked_ms = self.clock.wall_ms();
        facts
    }
}

/// Reads files. Mail addresses can be mentioned, not called.
fn whom(rungs: &BTreeMap<usize, Vec<Who>>, oncall: &OnCall) -> BTreeMap<usize, Called> {
    let read = |(n, named): (&usize, &Vec<Who>)| {
        let People {
            ids,
            mails,
            mut faults,
            ..
        } = oncall.resolve(named);
        if !mails.is_empty() {
            faults.push(format!("{} mail addresses cannot be called", mails.len()));
        }
        (*n, Called { ids, faults })
    };
    rungs.iter().map(read).collect()
}

/// Asks Feishu what `ask` wants to know of a message of `app`; `asked_ms` is not set.
async fn facts(
    gate: &Arc<dyn Gate>,
    app: AppId,
    ask: &Ask,
    called: BTreeMap<usize, Called>,
) -> Facts {
    let until = Instant::now() + PATIENCE;
    let asking = Asking {
        gate,
        app,
        ask,
        until,
    };
    let (read, reacted) = tokio::join!(asking.readers(&called), asking.reaction());
    let (readers, mut troubles) = read;
    let (reaction, trouble) = reacted;
    troubles.extend(trouble);
    Facts {
        asked_ms: 0,
        message: ask.message.clone(),
        called,
        readers,
        reaction,
        troubles,
    }
}

struct Asking<'a> {
    gate: &'a Arc<dyn Gate>,
    app: AppId,
    ask: &'a Ask,
    until: Instant,
}

impl Asking<'_> {
    /// Who of those who are named has read it; each kind of id is asked for by itself.
    async fn readers(&self, called: &BTreeMap<usize, Called>) -> (BTreeSet<String>, Vec<String>) {
        let (mut readers, mut troubles) = (BTreeSet::new(), Vec::new());
        if !self.ask.read {
            return (readers, troubles);
        }
        let mut kinds: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for id in called.values().flat_map(|called| &called.ids) {
            kinds.entry(id_type(id)).or_default().insert(id);
        }
        for (kind, mut wanted) in kinds {
            let query = format!("user_id_type={kind}&page_size=100");
            let asked = self.pages(Api::ReadUsers, "read_users", &query, |item| {
                let id = item["user_id"].as_str().unwrap_or_default();
                if self.counts(&item["timestamp"]) && wanted.remove(id) {
                    readers.insert(id.to_owned());
                }
                !wanted.is_empty()
            });
            if let Err(why) = asked.await {
                troubles.push(format!("who has read it is not known: {why}"));
            }
        }
        (readers, troubles)
    }

    /// Who has reacted to it: a person, not an app.
    async fn reaction(&self) -> (Option<String>, Option<String>) {
        let mut by = None;
        if !self.ask.reaction {
            return (by, None);
        }
        let query = "user_id_type=open_id&page_size=50";
        let asked = self.pages(Api::ListReactions, "reactions", query, |item| {
            let operator = &item["operator"];
            if operator["operator_type"] == "user" && self.counts(&item["action_time"]) {
                by = operator["operator_id"].as_str().map(str::to_owned);
            }
            by.is_none()
        });
        let trouble = asked.await.err();
        (
            by,
            trouble.map(|why| format!("whether somebody reacted is not known: {why}")),
        )
    }

    /// It happened since what is asked about began. `time`: Unix milliseconds, as a string.
    fn counts(&self, time: &Value) -> bool {
        let Some(since_ms) = self.ask.since_ms else {
            return true;
        };
        let at_ms = time.as_str().and_then(|time| time.parse::<i64>().ok());
        at_ms.is_some_and(|at_ms| at_ms >= since_ms)
    }

    /// Hands each item of a list to `next` until it wants no more.
    async fn pages(
        &self,
        api: Api,
        what: &str,
        query: &str,
        mut next: impl FnMut(&Value) -> bool,
    ) -> Result<(), String> {
        let mut token = None;
        for _ in 0..PAGES_MAX {
            let data = self.page(api, what, query, token.as_deref()).await?;
            let items = data["items"].as_array();
            for item in items.into_iter().flatten() {
                if !next(item) {
                    return Ok(());
                }
            }
            token = data["page_token"].as_str().map(str::to_owned);
            if data["has_more"] != true || token.is_none() {
                return Ok(());
            }
        }
        Err(String::from("Feishu's list does not end"))
    }

    async fn page(
        &self,
        api: Api,
        what: &str,
        query: &str,
        token: Option<&str>,
    ) -> Result<Value, String> {
        let message = percent_encoded(&self.ask.message);
        let mut query = query.to_owned();
        if let Some(token) = token {
            query.push_str("&page_token=");
            query.push_str(&percent_encoded(token));
        }
        let call = GateCall {
            app: self.app,
            read: Some(api),
            method: Method::GET,
            path: format!("/open-apis/im/v1/messages/{message}/{what}"),
            query,
            headers: HeaderMap::new(),
            body: Bytes::new(),
        };
        let answer = timeout_at(self.until, self.answer(call)).await;
        let body = answer.map_err(|_| String::from("Feishu did not answer in time"))??;
        let answer: Value = serde_json::from_slice(&body)
            .map_err(|_| String::from("Feishu's answer cannot be read"))?;
        match answer["code"].as_i64() {
            Some(0) => Ok(answer["data"].clone()),
            Some(code) => Err(format!("Feishu answered with code {code}")),
            None => Err(String::from("Feishu's answer has no code")),
        }
    }

    async fn answer(&self, call: GateCall) -> Result<Vec<u8>, String> {
        let answer = Arc::clone(self.gate).call(call).await.map_err(words)?;
        let mut pieces = pin!(answer.body);
        let mut body = Vec::new();
        while let Some(piece) = pieces.next().await {
            let piece = piece.map_err(|_| String::from("Feishu's answer broke off"))?;
            if body.len() + piece.len() > PAGE_BYTES_MAX {
                return Err(String::from("Feishu's answer is too large"));
            }
            body.extend_from_slice(&piece);
        }
        Ok(body)
    }
}

fn words(fault: GateFault) -> String {
    match fault {
        GateFault::Full { .. } => String::from("too many calls wait"),
        GateFault::Stopped(why) | GateFault::Flawed(why) => why,
        GateFault::Lost => String::from("Feishu's answer was lost"),
    }
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;
    use std::sync::Mutex;

    use futures_util::{FutureExt, stream};
    use http::StatusCode;
    use serde_json::json;

    use super::*;
    use crate::job::{GateAnswer, GateResult};

    /// Answers by path and query, and remembers what was asked.
    #[derive(Debug)]
    struct Told {
        answers: Vec<(&'static str, Value)>,
        asked: Mutex<Vec<String>>,
    }

    impl Gate for Told {
        fn call(
            self: Arc<Self>,
            call: GateCall,
        ) -> Pin<Box<dyn Future<Output = GateResult> + Send>> {
            let asked = format!("{}?{}", call.path, call.query);
            let known = self.answers.iter().find(|(part, _)| asked.ends_with(part));
            let body = known.map(|(_, body)| body.to_string());
            self.asked.lock().unwrap().push(asked);
            let Some(body) = body else {
                return std::future::ready(Err(GateFault::Lost)).boxed();
            };
            // In two pieces, as it may come.
            let (head, tail) = body.split_at(body.len() / 2);
            let pieces = [head, tail].map(|piece| Ok(Bytes::copy_from_slice(piece.as_bytes())));
            let answer = GateAnswer {
                status: StatusCode::OK,
                headers: HeaderMap::new(),
                body: Box::pin(stream::iter(pieces)),
            };
            std::future::ready(Ok(answer)).boxed()
        }
    }

    fn page(items: Value, next: Option<&str>) -> Value {
        json!({"code": 0, "data": {"items": items, "has_more": next.is_some(), "page_token": next}})
    }

    fn reader(id: &str, at: &str) -> Value {
        json!({"user_id": id, "timestamp": at})
    }

    async fn asked(
        answers: Vec<(&'static str, Value)>,
        ids: &[&str],
        since_ms: Option<i64>,
    ) -> (Facts, Vec<String>) {
        let told = Arc::new(Told {
            answers,
            asked: Mutex::default(),
        });
        let gate: Arc<dyn Gate> = Arc::clone(&told) as Arc<dyn Gate>;
        let called = Called {
            ids: ids.iter().map(|id| (*id).to_owned()).collect(),
            faults: Vec::new(),
        };
        let wanted = Ask {
            message: String::from("om_1"),
            rungs: BTreeMap::new(),
            read: true,
            reaction: true,
            since_ms,
        };
        let facts = facts(&gate, AppId(1), &wanted, BTreeMap::from([(0, called)])).await;
        let asked = told.asked.lock().unwrap().clone();
        (facts, asked)
    }

    const NO_REACTION: (&str, &str) = ("reactions?user_id_type=open_id&page_size=50", "");

    #[tokio::test]
    async fn readers_are_asked_for_by_each_kind_of_id_and_page_by_page() {
        let first = page(
            json!([reader("ou_9", "5"), reader("ou_1", "5")]),
            Some("a/b=="),
        );
        let second = page(json!([reader("ou_2", "6")]), None);
        let union = page(json!([reader("on_3", "7")]), None);
        let (facts, asked) = asked(
            vec![
                ("user_id_type=open_id&page_size=100", first),
                ("&page_size=100&page_token=a%2Fb%3D%3D", second),
                ("user_id_type=union_id&page_size=100", union),
                (NO_REACTION.0, page(json!([]), None)),
            ],
            &["ou_1", "ou_2", "on_3", "on_4"],
            None,
        )
        .await;
        let expected = ["on_3", "ou_1", "ou_2"].map(str::to_owned);
        assert_eq!(facts.readers, BTreeSet::from(expected));
        assert_eq!(
            (facts.troubles, facts.reaction),
            (Vec::<String>::new(), None)
        );
        assert_eq!(asked.len(), 4);
    }

    #[tokio::test]
    async fn once_all_are_known_to_have_read_no_further_page_is_asked_for() {
        let first = page(json!([reader("ou_1", "5")]), Some("more"));
        let (facts, asked) = asked(
            vec![
                ("user_id_type=open_id&page_size=100", first),
                (NO_REACTION.0, page(json!([]), None)),
            ],
            &["ou_1"],
            None,
        )
        .await;
        assert_eq!((facts.readers.len(), asked.len()), (1, 2));
        assert!(facts.troubles.is_empty());
    }

    #[tokio::test]
    async fn a_persons_reaction_counts_and_the_bots_own_does_not() {
        let by = |kind: &str, who: &str| json!({"operator": {"operator_type": kind, "operator_id": who}, "action_time": "50"});
        let reactions = page(json!([by("app", "cli_1"), by("user", "ou_7")]), None);
        let answers = || {
            vec![
                ("page_size=100", page(json!([reader("ou_1", "50")]), None)),
                (NO_REACTION.0, reactions.clone()),
            ]
        };
        let (now, _) = asked(answers(), &["ou_1"], Some(50)).await;
        assert_eq!(now.reaction.as_deref(), Some("ou_7"));
        assert_eq!(now.readers.len(), 1);
        let (before, _) = asked(answers(), &["ou_1"], Some(51)).await;
        assert_eq!((before.reaction, before.readers.len()), (None, 0));
    }

    #[tokio::test]
    async fn what_cannot_be_asked_is_said_and_counts_as_nobody() {
        let refused = json!({"code": 230_033, "msg": "too old"});
        let (facts, _) = asked(vec![("page_size=100", refused)], &["ou_1"], None).await;
        assert!(facts.readers.is_empty() && facts.reaction.is_none());
        assert_eq!(
            facts.troubles,
            [
                "who has read it is not known: Feishu answered with code 230033",
                "whether somebody reacted is not known: Feishu's answer was lost",
            ]
        );
    }
}
