//! The compatible endpoint's tokens: who gets one, how long it lives, and what ends it.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on should stop here"
)]

mod support;

use feishu_sandbox::{DEFAULT_APP_ID, DEFAULT_APP_SECRET};
use serde_json::{Value, json};
use support::House;
use support::jobs::{HOUR, MINUTE};
use support::openapis::{APP_TOKEN, Said, Sdk, TENANT_TOKEN};

const OTHER_APP: &str = "cli_0000000000000001";
const CLIENTS: &str = r#"
[[apps]]
name = "other"
app_id = "cli_0000000000000001"
app_secret = "x"
base_url = "http://127.0.0.1:9"
[[clients]]
name = "one"
token = ["first-token", "second-token"]
[[clients]]
name = "elsewhere"
token = "elsewhere-token"
apps = ["other"]
"#;

async fn with_clients() -> (House, Sdk) {
    let mut house = House::without_relay(None, CLIENTS).await;
    let base = house.on_a_port();
    house.start();
    let sdk = house.sdk_at(&base);
    (house, sdk)
}

fn change(house: &mut House, from: &str, to: &str) {
    let config = house.config().replacen(from, to, 1);
    assert_ne!(config, house.config(), "there is no {from:?}");
    house.set_config(config);
}

fn expire(said: &Said) -> i64 {
    said.body["expire"].as_i64().unwrap()
}

#[tokio::test]
async fn both_calls_answer_as_feishu_does() {
    let (_house, sdk) = with_clients().await;
    let said = sdk
        .asks_for_token(TENANT_TOKEN, DEFAULT_APP_ID, "first-token")
        .await;
    let token = said.body["tenant_access_token"].clone();
    assert_eq!(said.status, 200);
    let whole = json!({"code": 0, "msg": "ok", "tenant_access_token": token, "expire": 7200});
    assert_eq!(said.body, whole);
    assert!(token.as_str().unwrap().starts_with("t-"));
    let said = sdk
        .asks_for_token(&format!("{APP_TOKEN}/"), DEFAULT_APP_ID, "first-token")
        .await;
    assert_eq!(said.body["app_access_token"], token);
    assert_eq!(said.body["tenant_access_token"], token);
    assert_eq!(said.code(), 0);
}

#[tokio::test]
async fn only_a_clients_token_opens_an_app_and_only_its_own() {
    let (_house, sdk) = with_clients().await;
    let check = async |app_id: &str, secret: &str, code: i64| {
        for path in [TENANT_TOKEN, APP_TOKEN] {
            let said = sdk.asks_for_token(path, app_id, secret).await;
            assert_eq!((said.status, said.code()), (200, code), "{app_id} {secret}");
            assert_eq!(said.body.get("expire").is_some(), code == 0);
        }
    };
    check(DEFAULT_APP_ID, "first-token", 0).await;
    check(OTHER_APP, "first-token", 0).await;
    check(OTHER_APP, "elsewhere-token", 0).await;
    check(DEFAULT_APP_ID, "elsewhere-token", 10_014).await;
    check(DEFAULT_APP_ID, "nobodys-token", 10_014).await;
    // Feishu's own secret stays with the relay.
    check(DEFAULT_APP_ID, DEFAULT_APP_SECRET, 10_014).await;
    check("cli_none", "first-token", 10_014).await;
    for body in [json!({}), json!({"app_id": DEFAULT_APP_ID}), json!([1])] {
        let said = Said::of(sdk.request("POST", TENANT_TOKEN).json(&body)).await;
        said.refuses(200, 10_003);
    }
}

#[tokio::test]
async fn without_clients_any_secret_will_do_on_this_machine() {
    let mut house = House::without_relay(None, "").await;
    let base = house.on_a_port();
    house.start();
    let mut sdk = house.sdk_at(&base);
    sdk.log_in("whatever").await;
    assert_eq!(sdk.refused().await, 0);
    let said = sdk.asks_for_token(TENANT_TOKEN, "cli_none", "x").await;
    said.refuses(200, 10_014);
    let foreign = sdk.request("POST", TENANT_TOKEN);
    let body = json!({"app_id": DEFAULT_APP_ID, "app_secret": "x"});
    let said = Said::of(foreign.header("origin", "http://evil.example").json(&body)).await;
    assert_eq!(said.status, 403);
    // On the socket everybody is let in, with clients too; such a token is nothing worth elsewhere.
    change(
        &mut house,
        "[[apps]]",
        "[[clients]]\nname = \"a\"\ntoken = \"a-token\"\n[[apps]]",
    );
    house.restart();
    let local = house.sdk().await;
    assert_eq!(local.refused().await, 0);
    sdk.token.clone_from(&local.token);
    assert_eq!(sdk.refused().await, 99_991_663);
}

#[tokio::test]
async fn what_is_no_token_of_the_relays_is_refused_in_feishus_words() {
    let (_house, mut sdk) = with_clients().await;
    let said = Said::of(
        sdk.request("POST", "/open-apis/im/v1/messages")
            .json(&json!({})),
    )
    .await;
    said.refuses(400, 99_991_661);
    sdk.log_in("first-token").await;
    let good = sdk.token.clone();
    let last = if good.ends_with('A') { 'Q' } else { 'A' };
    let changed = format!("{}{last}", &good[..good.len() - 1]);
    for (token, code) in [
        ("first-token", 99_991_663),
        ("t-g1044qeGEDXTB6NDJOGV4JQCYDGHRBARFTGT1234", 99_991_663),
        (changed.as_str(), 99_991_663),
        ("u-1234567890", 99_991_668),
        (good.as_str(), 0),
    ] {
        token.clone_into(&mut sdk.token);
        assert_eq!(sdk.refused().await, code, "{token}");
    }
    // Nor is one of these a client's token.
    let told = sdk.call("GET", "/v1/status", Value::Null).await;
    assert_eq!(told.status, 401, "{told:?}");
}

#[tokio::test]
async fn a_token_lives_two_hours_and_beside_its_successor() {
    let (mut house, mut sdk) = with_clients().await;
    sdk.log_in("first-token").await;
    let first = sdk.token.clone();
    let ask = async |sdk: &Sdk| {
        let asked = sdk.asks_for_token(TENANT_TOKEN, DEFAULT_APP_ID, "first-token");
        asked.await
    };
    house.advance(HOUR).await;
    let said = ask(&sdk).await;
    assert_eq!(said.body["tenant_access_token"], *first);
    assert!((3590..=3600).contains(&expire(&said)), "{said:?}");
    house.advance(31 * MINUTE).await;
    let said = ask(&sdk).await;
    assert_ne!(said.body["tenant_access_token"], *first);
    assert_eq!(expire(&said), 7200);
    assert_eq!(sdk.refused().await, 0);
    house.advance(30 * MINUTE).await;
    assert_eq!(sdk.refused().await, 99_991_663);
    said.body["tenant_access_token"]
        .as_str()
        .unwrap()
        .clone_into(&mut sdk.token);
    assert_eq!(sdk.refused().await, 0);
}

#[tokio::test]
async fn a_token_survives_every_restart_and_ends_with_its_client() {
    let (mut house, mut sdk) = with_clients().await;
    sdk.log_in("first-token").await;
    house.kill();
    house.start();
    assert_eq!(sdk.refused().await, 0);
    house.restart();
    house.reload();
    assert_eq!(sdk.refused().await, 0);
    // The client keeps another secret: what was given for the one that is gone ends.
    let mut second = sdk.clone();
    second.log_in("second-token").await;
    change(&mut house, "\"first-token\", ", "");
    house.reload();
    assert_eq!(sdk.refused().await, 99_991_663);
    assert_eq!(second.refused().await, 0);
    change(
        &mut house,
        "name = \"one\"\ntoken = [\"second-token\"]",
        "name = \"two\"\ntoken = [\"another-token\"]",
    );
    house.reload();
    assert_eq!(second.refused().await, 99_991_663);
    let said = second
        .asks_for_token(TENANT_TOKEN, DEFAULT_APP_ID, "second-token")
        .await;
    said.refuses(200, 10_014);
}

#[tokio::test]
async fn a_client_that_may_not_use_the_app_any_more_is_told_so() {
    let (mut house, mut sdk) = with_clients().await;
    sdk.log_in("first-token").await;
    change(
        &mut house,
        "\"second-token\"]",
        "\"second-token\"]\napps = [\"other\"]",
    );
    house.reload();
    let said = sdk
        .call("GET", "/open-apis/im/v1/messages/om_none", Value::Null)
        .await;
    said.refuses(403, 99_991_672);
}

/// Nothing that an answer or a log says holds a token.
#[tokio::test]
async fn no_token_is_written_down() {
    let (house, mut sdk) = with_clients().await;
    sdk.log_in("first-token").await;
    let asked = "/open-apis/im/v1/messages/om_none";
    sdk.call("GET", asked, Value::Null).await;
    let database = std::fs::read(house.database()).unwrap();
    let log = house.log();
    assert!(!log.contains(&sdk.token) && !log.contains("om_none"));
    let needle = sdk.token.as_bytes();
    assert!(!database.windows(needle.len()).any(|at| at == needle));
}
