//! What a call does not cost: a connection of its own, a wait for somebody else's token.

use super::server::{Act, json, token};
use super::*;
use crate::limits::TOKEN_REFRESH_MS;

async fn calls(client: &Client, at_once: usize) {
    let request = get();
    let exchanges = (0..at_once).map(|_| client.call(&request));
    for exchange in futures_util::future::join_all(exchanges).await {
        exchange.answer.expect("it is answered");
    }
}

/// A connection may be back a moment after its answer, so now and then one more is opened; never one for each call.
#[tokio::test]
async fn connections_are_used_again() {
    for at_once in [1, 16] {
        let server = Server::with_token(|_, _| json(r#"{"code":0}"#)).await;
        let client = client(&server, LONG);
        for _ in 0..20 {
            calls(&client, at_once).await;
        }
        assert_eq!(server.seen("/im/").len(), 20 * at_once);
        let opened = server.opened();
        assert!(opened <= 2 * at_once + 2, "{opened} for {at_once} at once");
    }
}

/// The token's endpoint takes its time: whoever has a token does not wait for it.
#[tokio::test]
async fn a_token_that_is_being_renewed_keeps_nobody_waiting() {
    const LIFE_MS: i64 = 7_200_000;
    let server = Server::start(|seen, nth| match (seen.call.contains("/auth/"), nth) {
        (true, 0) => token("t-1"),
        (true, _) => Act::Hang(String::new()),
        (false, _) => json(r#"{"code":0}"#),
    })
    .await;
    let clock = Arc::new(HandClock::default());
    let options = ClientOptions {
        clock: clock.clone(),
        ..options(&server.url, 10 * LONG)
    };
    let client = Client::new(options).unwrap();
    calls(&client, 1).await;
    clock.advance(LIFE_MS - TOKEN_REFRESH_MS + 1);
    let meanwhile = async {
        calls(&client, 1).await;
        server.until("/auth/", 2).await;
        calls(&client, 16).await;
    };
    let meanwhile = tokio::time::timeout(LONG, meanwhile).await;
    meanwhile.expect("nobody waits for what does not come");
    assert_eq!(server.seen("/auth/").len(), 2, "one asks for all");
    assert_eq!(server.seen("/im/").len(), 18);
}
