//! The tenant token: fetched when needed, by one caller for all, given up when refused.
//!
//! Promises: one fetch in flight, one start per [`TOKEN_FETCH_GAP_MS`]; a valid old token serves while a new one is
//! fetched; a drop names the token it saw and does nothing if another is current; no token or secret in `Debug`.
//! Not here: the call that fetches (`client`).

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use secrecy::{ExposeSecret, SecretString};

use crate::client::Inner;
use crate::exchange::{Fault, NotSentKind};
use crate::limits::{
    TOKEN_DROP_GAP_MS, TOKEN_FETCH_GAP_MS, TOKEN_REFRESH_GAP_MS, TOKEN_REFRESH_MS, TOKEN_URGENT_MS,
};

/// A token in use.
#[derive(Clone, Debug)]
pub(crate) struct Token {
    pub(crate) value: Arc<SecretString>,
    expires_ms: i64,
    /// It had been dropped and came back.
    pub(crate) returned: bool,
}

/// What a fetch brought.
pub(crate) struct Fetched {
    pub(crate) value: SecretString,
    pub(crate) life_ms: i64,
}

/// The token of one app and the rules around it.
#[derive(Debug)]
pub(crate) struct Tokens {
    state: Mutex<State>,
    flight: tokio::sync::Mutex<()>,
}

#[derive(Debug)]
struct State {
    secret: SecretString,
    /// Counts changes of the secret.
    epoch: u64,
    current: Option<Token>,
    /// The token given up last, and when.
    dropped: Option<(Arc<SecretString>, i64)>,
    /// When the last fetch began.
    fetched_ms: Option<i64>,
    /// Counts finished fetches, so that those who waited for one take its result.
    finished: u64,
    last: Result<(), Fault>,
}

/// What a caller may do about its token now.
enum Plan {
    Use(Token),
    UseAndRefresh(Token),
    Wait(Option<Token>),
}

impl Tokens {
    pub(crate) fn new(secret: SecretString) -> Tokens {
        let state = State {
            secret,
            epoch: 0,
            current: None,
            dropped: None,
            fetched_ms: None,
            finished: 0,
            last: Ok(()),
        };
        Tokens {
            state: Mutex::new(state),
            flight: tokio::sync::Mutex::new(()),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes another secret; the next caller without a token may fetch at once.
    pub(crate) fn set_secret(&self, secret: SecretString) {
        let mut state = self.state();
        state.secret = secret;
        state.epoch += 1;
        state.fetched_ms = None;
    }

    /// The secret in use.
    pub(crate) fn secret(&self) -> SecretString {
        self.state().secret.clone()
    }

    /// Returns once no fetch is in flight.
    #[cfg(test)]
    pub(crate) async fn settled(&self) {
        drop(self.flight.lock().await);
    }

    /// Gives `seen` up. A token that came back unchanged is kept for a while: other endpoints may take it.
    pub(crate) fn drop_token(&self, seen: &Token, now_ms: i64) {
        let mut state = self.state();
        if !state
            .current
            .as_ref()
            .is_some_and(|token| same(&token.value, &seen.value))
        {
            return;
        }
        let recently = state
            .dropped
            .as_ref()
            .is_some_and(|(_, at)| within(now_ms, *at, TOKEN_DROP_GAP_MS));
        if seen.returned && recently {
            return;
        }
        state.current = None;
        state.dropped = Some((seen.value.clone(), now_ms));
    }
}

impl State {
    fn plan(&self, now_ms: i64) -> Plan {
        let Some(token) = &self.current else {
            return Plan::Wait(None);
        };
        let left_ms = token.expires_ms - now_ms;
        let refresh_due = !self
            .fetched_ms
            .is_some_and(|at| within(now_ms, at, TOKEN_REFRESH_GAP_MS));
        match left_ms {
            ..=0 => Plan::Wait(None),
            1..TOKEN_URGENT_MS => Plan::Wait(Some(token.clone())),
            TOKEN_URGENT_MS..TOKEN_REFRESH_MS if refresh_due => Plan::UseAndRefresh(token.clone()),
            _ => Plan::Use(token.clone()),
        }
    }

    fn store(&mut self, fetched: Fetched, begun_ms: i64) {
        let value = Arc::new(fetched.value);
        let known = self
            .current
            .as_ref()
            .is_some_and(|token| token.returned && same(&token.value, &value));
        let returned = known
            || self
                .dropped
                .as_ref()
                .is_some_and(|(old, _)| same(old, &value));
        self.current = Some(Token {
            value,
            expires_ms: begun_ms + fetched.life_ms,
            returned,
        });
    }
}

/// A token for a call.
///
/// # Errors
/// `Fault::Token`: the platform refuses the app. `Fault::NotSent`: no token now, for another reason.
pub(crate) async fn acquire(inner: &Arc<Inner>) -> Result<Token, Fault> {
    let (plan, seen) = {
        let state = inner.tokens.state();
        (state.plan(inner.now_ms()), state.finished)
    };
    match plan {
        Plan::Use(token) => Ok(token),
        Plan::UseAndRefresh(token) => {
            if inner.tokens.flight.try_lock().is_ok() {
                drop(tokio::spawn(refresh(inner.clone(), seen)));
            }
            Ok(token)
        }
        Plan::Wait(old) => {
            // A task of its own: a caller that gives up must not stop the fetch others wait for.
            let fetched = tokio::spawn(fetch(inner.clone(), seen)).await;
            let fetched = fetched.unwrap_or_else(|_| Err(no_token("the fetch was stopped", None)));
            let current = inner.tokens.state().current.clone();
            match (fetched, current.or(old)) {
                (_, Some(token)) if token.expires_ms > inner.now_ms() => Ok(token),
                (Err(fault), _) => Err(fault),
                (Ok(()), _) => Err(no_token(
                    "the token was refused before it could be used",
                    None,
                )),
            }
        }
    }
}

/// Fetches ahead of need; a failure is only told, as the old token serves on.
async fn refresh(inner: Arc<Inner>, seen: u64) {
    if let Err(fault) = fetch(inner.clone(), seen).await {
        // Feishu's own words may quote what was sent.
        let why = match &fault {
            Fault::Token(refused) => format!("code {}", refused.code),
            other => other.to_string(),
        };
        tracing::warn!(
            app_id = inner.app_id(),
            why,
            "no new token could be had; the old one serves on"
        );
    }
}

/// Fetches a token unless somebody did since `seen` fetches were finished.
async fn fetch(inner: Arc<Inner>, seen: u64) -> Result<(), Fault> {
    let _one_at_a_time = inner.tokens.flight.lock().await;
    let begun_ms = inner.now_ms();
    let (secret, epoch) = {
        let mut state = inner.tokens.state();
        if state.finished != seen {
            return state.last.clone();
        }
        if let Some(at) = state
            .fetched_ms
            .filter(|at| within(begun_ms, *at, TOKEN_FETCH_GAP_MS))
        {
            let wait_ms = at + TOKEN_FETCH_GAP_MS - begun_ms;
            return Err(no_token("a token was asked for moments ago", Some(wait_ms)));
        }
        state.fetched_ms = Some(begun_ms);
        (state.secret.clone(), state.epoch)
    };
    let fetched = inner.fetch_token(secret.expose_secret()).await;
    let mut state = inner.tokens.state();
    let result = fetched.map(|fetched| state.store(fetched, begun_ms));
    if result.is_ok() || state.epoch == epoch {
        state.finished += 1; // a refusal of the old secret says nothing to those who wait with the new one
        state.last = result.clone();
    }
    result
}

pub(crate) fn no_token(text: &str, wait_ms: Option<i64>) -> Fault {
    Fault::NotSent {
        kind: NotSentKind::Token,
        text: text.to_owned(),
        wait_ms,
    }
}

/// Whether `at` lies less than `span_ms` before `now_ms`; a clock that went back counts as long enough.
fn within(now_ms: i64, at: i64, span_ms: i64) -> bool {
    (0..span_ms).contains(&(now_ms - at))
}

fn same(one: &SecretString, other: &SecretString) -> bool {
    one.expose_secret() == other.expose_secret()
}
