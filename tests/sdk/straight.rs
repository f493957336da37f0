//! Straight at Feishu's stand-in: what the facts say is what the SDKs make of it.

use std::collections::HashMap;

use serde_json::{Value, json};

use crate::packages::{Sdk, node, python};
use crate::run::{Run, Word, scenario};
use crate::same::{agreed, named};
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
pub(crate) async fn quiet(house: &House, run: &mut Run) -> (Vec<Value>, u64) {
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
            Word::End(tokens) => return (answers, tokens),
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
    for answer in answers {
        let code = answer["body"]["code"].as_i64();
        let is_file = answer["body"]["sha256"].is_string();
        let step = answer["step"].as_str().unwrap();
        assert_eq!(
            if is_file { Some(0) } else { code },
            Some(due[step]),
            "{answer:#}"
        );
    }
}

/// Straight at the sandbox: the answers, the ledger.
pub(crate) async fn straight(sdk: &Sdk) -> (Vec<Value>, Value) {
    let house = House::without_relay(Some(free()), "").await;
    let mut run = Run::start(sdk, &house.feishu, "sandbox-secret", &[]).await;
    let (answers, tokens) = quiet(&house, &mut run).await;
    judge_codes(&answers);
    assert_eq!(tokens, 1, "the SDK keeps its token");
    (answers, house.ledger().await)
}

#[tokio::test]
async fn the_python_sdk_finds_every_endpoint_as_it_expects_it() {
    let Some(python) = python() else { return };
    let (_, ledger) = straight(&python).await;
    for call in ledger["calls"].as_array().unwrap() {
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
    let (of_python, _) = straight(&python).await;
    let (of_node, _) = straight(&node).await;
    agreed(&named(&of_python), &named(&of_node));
}
