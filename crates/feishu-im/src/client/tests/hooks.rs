//! Custom bots: no token, a signature of the time, and nothing of the URL in any text.

use secrecy::SecretString;

use super::server::json;
use super::*;
use crate::content::HookContent;
use crate::hook::{Hook, HookOptions};

const PATH: &str = "/open-apis/bot/v2/hook/very-private";

fn hook(url: &str, secret: Option<&str>) -> Hook {
    Hook::new(HookOptions {
        url: format!("{url}{PATH}?x=y").into(),
        secret: secret.map(SecretString::from),
        timeout: LONG,
        body_idle: LONG,
        proxy: None,
    })
    .expect("the options are right")
}

fn text(words: &str) -> HookContent {
    HookContent {
        msg_type: "text".to_owned(),
        object: format!(r#"{{"text":"{words}"}}"#),
    }
}

#[tokio::test]
async fn a_bot_says_it_once_without_a_token_and_signs_the_time_it_is_given() {
    let server = Server::start(|_, _| json(r#"{"StatusCode":0,"code":0,"msg":"success"}"#)).await;
    let signed = hook(&server.url, Some("demo"));
    let exchange = signed.say(&text("a"), 1_599_360_473).await;
    assert_eq!(verdict(&exchange).class, Class::Done);
    hook(&server.url, None).say(&text("a"), 7).await;
    let seen = server.seen("");
    let calls: Vec<&str> = seen.iter().map(|one| one.call.as_str()).collect();
    let call = format!("POST {PATH}?x=y");
    assert_eq!(calls, [&call, &call]);
    assert!(
        seen.iter()
            .all(|one| !one.headers.contains_key("authorization"))
    );
    let bodies: Vec<_> = seen
        .iter()
        .map(|one| String::from_utf8_lossy(&one.body))
        .collect();
    assert_eq!(
        bodies,
        [
            r#"{"timestamp":"1599360473","sign":"l1N0gAcBjdwBvGm1xMjOF0XSyaLRpR7tuO5dHfhAYc8=","msg_type":"text","content":{"text":"a"}}"#,
            r#"{"msg_type":"text","content":{"text":"a"}}"#,
        ]
    );
}

#[tokio::test]
async fn a_knock_says_nothing_to_anybody() {
    let server = Server::start(|_, _| json(r#"{"code":99991661,"msg":"no token"}"#)).await;
    let exchange = hook(&server.url, Some("demo")).knock().await;
    assert!(exchange.answer.is_ok());
    let seen = server.seen("");
    assert_eq!(seen.len(), 1);
    assert_eq!(seen[0].call, "GET /open-apis/bot/v3/info");
    assert!(!seen[0].headers.contains_key("authorization"));
}

#[tokio::test]
async fn nothing_that_is_said_of_a_bot_holds_its_url_or_its_secret() {
    let server = Server::start(|_, _| server::Act::Close).await;
    let gone = hook("http://127.0.0.1:9", Some("hush"));
    let lost = hook(&server.url, Some("hush"));
    for hook in [gone, lost] {
        let exchange = hook.say(&text("quiet"), 7).await;
        let fault = exchange.answer.as_ref().expect_err("nobody answers");
        let said = format!("{fault} {exchange:?} {hook:?}");
        for secret in ["very-private", "hush", "quiet", "x=y"] {
            assert!(!said.contains(secret), "{said}");
        }
    }
}
