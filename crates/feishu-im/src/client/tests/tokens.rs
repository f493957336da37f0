//! When tokens are fetched, shared, kept and given up.

use super::server::{Act, Server, json, token};
use super::*;
use crate::classify::{Class, PauseScope};
use crate::limits::{TOKEN_FETCH_GAP_MS, TOKEN_REFRESH_MS, TOKEN_URGENT_MS};

const LIFE_MS: i64 = 7_200_000;

fn with_clock(server: &Server) -> (Client, Arc<HandClock>) {
    let clock = Arc::new(HandClock::default());
    let options = ClientOptions {
        clock: clock.clone(),
        ..options(&server.url, LONG)
    };
    (Client::new(options).unwrap(), clock)
}

/// Tokens `t-1`, `t-2`, … in turn; everything else is answered with success.
async fn numbered() -> Server {
    Server::start(|seen, nth| match seen.call.contains("/auth/") {
        true => token(&format!("t-{}", nth + 1)),
        false => json(r#"{"code":0}"#),
    })
    .await
}

/// A refused token, HTTP 400 as seen in practice.
fn refused() -> Act {
    Act::Answer(
        400,
        "",
        r#"{"code":99991663,"msg":"Invalid access token"}"#.to_owned(),
    )
}

fn used(server: &Server) -> Vec<String> {
    server
        .seen("/im/")
        .iter()
        .map(|seen| seen.headers["authorization"].replace("Bearer ", ""))
        .collect()
}

#[tokio::test]
async fn one_token_serves_many_callers_at_once() {
    let server = numbered().await;
    let (client, _) = with_clock(&server);
    let request = get();
    let exchanges = futures_util::future::join_all((0..20).map(|_| client.call(&request))).await;
    assert!(exchanges.iter().all(|exchange| exchange.answer.is_ok()));
    client.token().await.unwrap();
    assert_eq!(server.seen("/auth/").len(), 1);
    let asked = &server.seen("/auth/")[0].body;
    assert_eq!(
        asked,
        format!(r#"{{"app_id":"cli_a1b2c3d4e5f60718","app_secret":"{SECRET}"}}"#).as_bytes()
    );
}

#[tokio::test]
async fn a_token_is_renewed_ahead_of_its_end_while_the_old_one_serves() {
    let server = numbered().await;
    let (client, clock) = with_clock(&server);
    client.call(&get()).await.answer.unwrap();
    clock.advance(LIFE_MS - TOKEN_REFRESH_MS);
    client.call(&get()).await.answer.unwrap();
    assert_eq!(server.seen("/auth/").len(), 1);
    clock.advance(1);
    client.call(&get()).await.answer.unwrap();
    server.until("/auth/", 2).await;
    client.0.tokens.settled().await;
    client.call(&get()).await.answer.unwrap();
    assert_eq!(used(&server), ["t-1", "t-1", "t-1", "t-2"]);
    assert_eq!(server.seen("/auth/").len(), 2);
}

#[tokio::test]
async fn a_failed_renewal_is_no_error_while_the_old_token_lives() {
    let server = Server::start(|seen, nth| match (seen.call.contains("/auth/"), nth) {
        (true, 0) => token("t-1"),
        (true, _) => Act::Answer(500, "", String::new()),
        (false, _) => json(r#"{"code":0}"#),
    })
    .await;
    let (client, clock) = with_clock(&server);
    client.token().await.unwrap();
    clock.advance(LIFE_MS - TOKEN_URGENT_MS + 1);
    client.call(&get()).await.answer.unwrap();
    assert_eq!(
        (server.seen("/auth/").len(), used(&server)),
        (2, vec!["t-1".to_owned()])
    );
    clock.advance(TOKEN_URGENT_MS);
    let exchange = client.call(&get()).await;
    assert_eq!(
        (verdict(&exchange).class, server.seen("/im/").len()),
        (Class::NotSent, 1)
    );
}

#[tokio::test]
async fn an_expired_token_is_not_used() {
    let server = numbered().await;
    let (client, clock) = with_clock(&server);
    client.call(&get()).await.answer.unwrap();
    clock.advance(LIFE_MS);
    client.call(&get()).await.answer.unwrap();
    assert_eq!(used(&server), ["t-1", "t-2"]);
}

#[tokio::test]
async fn a_refused_token_is_replaced_but_not_more_often_than_every_ten_seconds() {
    let server = Server::start(|seen, nth| match seen.call.contains("/auth/") {
        true => token(&format!("t-{}", nth + 1)),
        false if seen.headers["authorization"] == "Bearer t-1" => refused(),
        false => json(r#"{"code":0}"#),
    })
    .await;
    let (client, clock) = with_clock(&server);
    let exchange = client.call(&get()).await;
    assert_eq!(verdict(&exchange).class, Class::Token);
    assert!(verdict(&exchange).pause.is_none() && !exchange.fresh_token_same);
    clock.advance(4_000);
    let exchange = client.call(&get()).await;
    let verdict = verdict(&exchange);
    assert_eq!(
        (verdict.class, verdict.wait_ms),
        (Class::NotSent, Some(TOKEN_FETCH_GAP_MS - 4_000))
    );
    assert_eq!(server.seen("/auth/").len(), 1);
    clock.advance(6_000);
    client.call(&get()).await.answer.unwrap();
    assert_eq!(used(&server), ["t-1", "t-2"]);
}

#[tokio::test]
async fn a_token_that_comes_back_the_same_is_refused_by_that_endpoint() {
    let server = Server::with_token(|seen, _| match seen.call.contains("/pins") {
        true => refused(),
        false => json(r#"{"code":0}"#),
    })
    .await;
    let (client, clock) = with_clock(&server);
    assert_eq!(verdict(&client.call(&pin()).await).class, Class::Token);
    clock.advance(TOKEN_FETCH_GAP_MS);
    let exchange = client.call(&pin()).await;
    let verdict = verdict(&exchange);
    assert!(exchange.fresh_token_same);
    assert_eq!(
        (verdict.class, verdict.pause),
        (Class::Admin, Some(PauseScope::AppApi))
    );
    client
        .call(&get())
        .await
        .answer
        .expect("other endpoints go on with it");
    assert_eq!(server.seen("/auth/").len(), 2);
    clock.advance(60_000);
    assert!(
        client.call(&pin()).await.fresh_token_same,
        "a probe gives it up again"
    );
    client.call(&get()).await.answer.unwrap();
    assert_eq!(server.seen("/auth/").len(), 3);
}

#[tokio::test]
async fn giving_up_an_older_token_does_nothing() {
    let server = numbered().await;
    let (client, clock) = with_clock(&server);
    let first = token::acquire(&client.0).await.unwrap();
    client.0.tokens.drop_token(&first, clock.now_ms());
    clock.advance(TOKEN_FETCH_GAP_MS);
    token::acquire(&client.0).await.unwrap();
    client.0.tokens.drop_token(&first, clock.now_ms());
    client.call(&get()).await.answer.unwrap();
    assert_eq!(
        (used(&server), server.seen("/auth/").len()),
        (vec!["t-2".to_owned()], 2)
    );
}

#[tokio::test]
async fn a_wrong_secret_stops_the_app_until_another_is_set() {
    let server = Server::start(|seen, _| match seen.call.contains("/auth/") {
        true if String::from_utf8_lossy(&seen.body).contains(SECRET) => {
            json(r#"{"code":10014,"msg":"app secret invalid"}"#)
        }
        true => token("t-1"),
        false => json(r#"{"code":0}"#),
    })
    .await;
    let (client, _) = with_clock(&server);
    let request = get();
    let (exchange, waited) = tokio::join!(client.call(&request), client.call(&request));
    assert_eq!(
        exchange.answer.as_ref().err(),
        waited.answer.as_ref().err(),
        "who waited hears the same"
    );
    let fault = TokenFault {
        http: 200,
        code: 10014,
        msg: "app secret invalid".to_owned(),
    };
    assert_eq!(exchange.answer.as_ref().err(), Some(&Fault::Token(fault)));
    assert_eq!(
        (verdict(&exchange).class, verdict(&exchange).pause),
        (Class::Admin, Some(PauseScope::App))
    );
    assert_eq!(verdict(&exchange).row.map(|row| row.code), Some(10014));
    assert_eq!(verdict(&client.call(&get()).await).class, Class::NotSent);
    client.set_secret("another".into());
    client.call(&get()).await.answer.unwrap();
    assert_eq!(server.seen("/auth/").len(), 2);
}

#[tokio::test]
async fn a_token_that_cannot_be_had_now_is_not_sent() {
    let answers = [
        json(r#"{"code":10012,"msg":""}"#),
        Act::Answer(429, "x-ogw-ratelimit-reset: 7\r\n", String::new()),
        Act::Answer(502, "", String::new()),
        Act::Close,
        json(r#"{"code":0,"tenant_access_token":"","expire":7200}"#),
        json(r#"{"code":0,"tenant_access_token":"t-1","expire":0}"#),
    ];
    for (at, act) in answers.into_iter().enumerate() {
        let act = std::sync::Mutex::new(Some(act));
        let server =
            Server::start(move |_, _| act.lock().unwrap().take().expect("asked once")).await;
        let exchange = with_clock(&server).0.call(&get()).await;
        assert!(
            matches!(
                exchange.answer,
                Err(Fault::NotSent {
                    kind: NotSentKind::Token,
                    ..
                })
            ),
            "{exchange:?}"
        );
        assert_eq!(verdict(&exchange).wait_ms, (at == 1).then_some(7_000));
    }
}

#[tokio::test]
async fn a_caller_that_gives_up_does_not_stop_the_fetch_of_the_others() {
    let server = numbered().await;
    let (client, _) = with_clock(&server);
    let request = get();
    tokio::select! {
        biased;
        () = server.until("/auth/", 1) => {}
        _ = client.call(&request) => panic!("the fetch was seen first"),
    }
    client.call(&request).await.answer.unwrap();
    assert_eq!(server.seen("/auth/").len(), 1);
}
