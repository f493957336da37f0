//! Straight at Feishu's stand-in: what the facts say is what the SDKs make of it.

use std::collections::HashMap;

use serde_json::{Value, json};
use tokio::sync::OnceCell;

use crate::packages::{Sdk, node, python};
use crate::run::{Run, Word, scenario};
use crate::same::{Names, agreed};
use crate::support::House;

/// Calls of other programs: of store apps, custom bots and long connections.
const ELSEWHERE: [&str; 5] = [
    "POST /open-apis/auth/v3/app_access_token",
    "POST /open-apis/auth/v3/tenant_access_token",
    "POST /open-apis/auth/v3/app_ticket/resend",
    "POST /open-apis/bot/v2/hook/:hook",
    "POST /callback/ws/endpoint",
];

/// No windows: an SDK keeps none.
pub(crate) fn free() -> Value {
    json!({"limits": {"app_minute": 0, "app_second": 0, "chat_second": 0, "user_second": 0}})
}

/// Runs the scenario to its end in the quiet. Returns the answers and how many tokens were fetched.
pub(crate) async fn quiet(house: &House, mut run: Run) -> (Vec<Value>, u64) {
    let mut answers = Vec::new();
    let mut begun = String::new();
    loop {
        match run.next().await {
            Word::Begin(step) => {
                begun = step;
                run.reply(&json!({})).await;
            }
            Word::Act(act) => run.reply(&house.control("act", act).await).await,
            Word::Clock(by) => {
                let moved = house.control("clock", json!({"advance": by})).await;
                run.reply(&moved).await;
            }
            Word::Answer(answer) => {
                assert_eq!(answer["step"], begun, "a step was left out: {answer}");
                answers.push(answer);
            }
            Word::End(tokens) => {
                run.end().await;
                return (answers, tokens);
            }
        }
    }
}

/// What a step is answered according to the scenario itself: its code.
pub(crate) fn judge_codes(answers: &[Value]) {
    let due: HashMap<String, i64> = scenario()
        .iter()
        .map(|spec| {
            let step = spec["step"].as_str().unwrap().to_owned();
            (step, spec["code"].as_i64().unwrap_or(0))
        })
        .collect();
    let other = |answer: &&Value| {
        let is_file = answer["body"]["sha256"].is_string();
        let code = answer["body"]["code"].as_i64().or(is_file.then_some(0));
        code != due.get(answer["step"].as_str().unwrap()).copied()
    };
    let others: Vec<&Value> = answers.iter().filter(other).collect();
    assert!(others.is_empty(), "other codes than are due: {others:#?}");
    for answer in answers {
        assert!(answer["lost"].is_null(), "the SDK's types lose: {answer:#}");
    }
}

/// What a run straight at the sandbox comes to.
#[derive(Debug)]
pub(crate) struct Straight {
    pub(crate) answers: Vec<Value>,
    pub(crate) ledger: Value,
}

/// That run, once for all tests of a process.
pub(crate) async fn straight(sdk: &Sdk) -> &'static Straight {
    static PYTHON: OnceCell<Straight> = OnceCell::const_new();
    static NODE: OnceCell<Straight> = OnceCell::const_new();
    let cell = match sdk.language {
        "Python" => &PYTHON,
        _ => &NODE,
    };
    let run = async {
        let house = House::without_relay(Some(free()), "").await;
        let run = Run::start(sdk, &house.feishu, "sandbox-secret", &[]).await;
        let (answers, tokens) = quiet(&house, run).await;
        judge_codes(&answers);
        assert_eq!(tokens, 1, "the SDK keeps its token");
        let ledger = house.ledger().await;
        Straight { answers, ledger }
    };
    cell.get_or_init(|| run).await
}

#[tokio::test]
async fn the_python_sdk_finds_every_endpoint_as_it_expects_it() {
    let Some(python) = python() else { return };
    let straight = straight(&python).await;
    for call in straight.ledger["calls"].as_array().unwrap() {
        let name = call["call"].as_str().unwrap();
        let made = call["made"].as_u64().unwrap() > 0;
        assert_eq!(made, !ELSEWHERE.contains(&name), "{call}");
    }
}

#[tokio::test]
async fn both_sdks_are_told_the_same() {
    let (Some(python), Some(node)) = (python(), node()) else {
        return;
    };
    let (of_python, of_node) = (straight(&python).await, straight(&node).await);
    agreed(
        &Names::default().all(&of_python.answers),
        &Names::default().all(&of_node.answers),
    );
}
