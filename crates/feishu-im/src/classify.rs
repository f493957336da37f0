//! From an exchange to what it means: pure, total, decided by tables.
//!
//! Promises: `Done` only for code 0 or for a row that says so; what is doubtful is `Ambiguous`.
//! Not here: how often and when to repeat, what an operation allows after doubt (the caller's).

use crate::codes::{CodeRow, find};
use crate::endpoints::Api;
use crate::exchange::{Exchange, Fault, NotSentKind, Reply, TokenFault};
use crate::limits::{API_PAUSE_MS, RESET_MAX_MS};

/// What an answer means for the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// It is done, now or before.
    Done,
    /// Not done; later it may be.
    Retry,
    /// A limit: not executed.
    Limited,
    /// The token: not executed; once more with a new one.
    Token,
    /// Never, as it stands: the request is at fault.
    Caller,
    /// Never: what it is about is gone.
    Gone,
    /// Not before somebody changes a setting.
    Admin,
    /// It may have happened.
    Ambiguous,
    /// It surely did not leave.
    NotSent,
    /// A code no table knows: a few slow tries, none where a repeat shows.
    Unclear,
}

/// What stops when every request would be refused alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PauseScope {
    /// The app.
    App,
    /// One endpoint of the app.
    AppApi,
    /// Every app of the tenant.
    Tenant,
}

/// Which limit was hit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BucketKind {
    /// The endpoint's windows.
    Api,
    /// One person or group.
    Receiver,
    /// One message.
    Message,
    /// The day's batch messages.
    BatchDay,
    /// The month's calls of the tenant.
    Month,
}

/// What an exchange means.
#[derive(Clone, Copy, Debug)]
pub struct Verdict {
    /// For the request.
    pub class: Class,
    /// The row that decided, if a code did.
    pub row: Option<&'static CodeRow>,
    /// What stops. With `Class::Token` nothing does yet: the row's `pause` is for when the new token fails too.
    pub pause: Option<PauseScope>,
    /// Which limit was hit.
    pub bucket: Option<BucketKind>,
    /// When a repeat makes sense at the earliest, in milliseconds from now.
    pub wait_ms: Option<i64>,
    /// Proves that an earlier attempt with unknown outcome worked.
    pub proof: bool,
    /// Holds for earlier attempts with the same bytes too.
    pub same_bytes: bool,
    /// This very request is still being carried out.
    pub in_progress: bool,
    /// The token was refused; it is dropped already.
    pub token: bool,
    /// At most so many tries in all, for codes no table knows.
    pub tries_max: Option<u32>,
}

/// Tries of a request that is answered with a code no table knows.
const UNCLEAR_TRIES: u32 = 3;

/// What an exchange means.
pub fn classify(exchange: &Exchange) -> Verdict {
    match &exchange.answer {
        Ok(reply) => of_reply(exchange, reply),
        Err(Fault::NotSent {
            kind: NotSentKind::Request,
            ..
        }) => of_class(Class::Caller),
        Err(Fault::NotSent { wait_ms, .. }) => Verdict {
            wait_ms: *wait_ms,
            ..of_class(Class::NotSent)
        },
        Err(Fault::Unknown { .. }) => of_class(Class::Ambiguous),
        Err(Fault::NotJson {
            http,
            reset_s,
            retry_after_s,
        }) => of_status(exchange, *http, *reset_s, *retry_after_s),
        Err(Fault::Token(fault)) => of_token_fault(fault),
    }
}

fn of_class(class: Class) -> Verdict {
    Verdict {
        class,
        row: None,
        pause: None,
        bucket: None,
        wait_ms: None,
        proof: false,
        same_bytes: false,
        in_progress: false,
        token: class == Class::Token,
        tries_max: (class == Class::Unclear).then_some(UNCLEAR_TRIES),
    }
}

fn of_reply(exchange: &Exchange, reply: &Reply) -> Verdict {
    let row = find(exchange.api, reply.code, &reply.msg);
    match (reply.http, reply.code, row) {
        (500.., ..) => Verdict {
            row,
            ..of_class(Class::Ambiguous)
        },
        (200..=299, 0, _) => of_class(Class::Done),
        (429, _, Some(row))
            if row.class == Class::Limited || row.bucket == Some(BucketKind::Month) =>
        {
            of_row(exchange, row, reply)
        }
        (429, ..) => Verdict {
            row,
            ..limited(reply.reset_s, reply.retry_after_s)
        },
        (_, 0, _) => of_class(Class::Ambiguous), // a failing status with the code of success: neither is believed
        (_, _, Some(row)) => of_row(exchange, row, reply),
        (401, _, None) => of_token(exchange, of_class(Class::Token)),
        (408 | 425, _, None) => of_class(Class::Ambiguous),
        (_, _, None) => of_class(Class::Unclear),
    }
}

fn of_row(exchange: &Exchange, row: &'static CodeRow, reply: &Reply) -> Verdict {
    let header = (row.class == Class::Limited)
        .then(|| header_ms(reply.reset_s, reply.retry_after_s))
        .flatten();
    let verdict = Verdict {
        row: Some(row),
        pause: row.pause,
        bucket: row.bucket,
        wait_ms: header.or(row.wait_ms),
        proof: row.proof,
        same_bytes: row.same_bytes,
        in_progress: row.in_progress,
        ..of_class(row.class)
    };
    if row.class == Class::Token {
        of_token(exchange, verdict)
    } else {
        verdict
    }
}

/// A refused token: a new one may do, unless the refused one was the new one.
fn of_token(exchange: &Exchange, verdict: Verdict) -> Verdict {
    if exchange.fresh_token_same {
        return Verdict {
            class: Class::Admin,
            pause: Some(PauseScope::AppApi),
            ..verdict
        };
    }
    Verdict {
        pause: None,
        ..verdict
    }
}

/// A status without a code.
fn of_status(
    exchange: &Exchange,
    http: u16,
    reset_s: Option<f64>,
    retry_after_s: Option<f64>,
) -> Verdict {
    match http {
        429 => limited(reset_s, retry_after_s),
        401 => of_token(exchange, of_class(Class::Token)),
        300..=399 | 403 | 404 | 405 | 407 => Verdict {
            pause: Some(PauseScope::AppApi),
            ..of_class(Class::Admin)
        },
        408 | 425 | 500.. => of_class(Class::Ambiguous),
        _ => of_class(Class::Unclear),
    }
}

fn of_token_fault(fault: &TokenFault) -> Verdict {
    let row = find(Api::TenantToken, fault.code, &fault.msg);
    Verdict {
        row,
        pause: Some(PauseScope::App),
        ..of_class(Class::Admin)
    }
}

fn limited(reset_s: Option<f64>, retry_after_s: Option<f64>) -> Verdict {
    let wait_ms = header_ms(reset_s, retry_after_s).unwrap_or(API_PAUSE_MS);
    Verdict {
        bucket: Some(BucketKind::Api),
        wait_ms: Some(wait_ms),
        ..of_class(Class::Limited)
    }
}

/// The longer of what the headers ask for, in milliseconds, 1 to [`RESET_MAX_MS`].
fn header_ms(reset_s: Option<f64>, retry_after_s: Option<f64>) -> Option<i64> {
    let seconds = [reset_s, retry_after_s]
        .into_iter()
        .flatten()
        .filter(|s| s.is_finite() && *s >= 0.0)
        .reduce(f64::max)?;
    #[expect(
        clippy::cast_possible_truncation,
        reason = "a float to integer cast saturates, and the clamp follows"
    )]
    let ms = (seconds * 1000.0).ceil() as i64;
    Some(ms.clamp(1, RESET_MAX_MS))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codes;
    use crate::exchange::UnknownKind;
    use proptest::prelude::*;

    fn reply(api: Api, http: u16, code: i64, msg: &str) -> Exchange {
        let reply = Reply {
            http,
            code,
            msg: msg.to_owned(),
            data: None,
            body: bytes::Bytes::new(),
            rate_limit: None,
            reset_s: None,
            retry_after_s: None,
            log_id: None,
        };
        Exchange {
            api,
            answer: Ok(reply),
            log_id: None,
            fresh_token_same: false,
        }
    }

    #[track_caller]
    fn check(exchange: &Exchange, class: Class, pause: Option<PauseScope>) -> Verdict {
        let verdict = classify(exchange);
        assert_eq!(
            (verdict.class, verdict.pause),
            (class, pause),
            "{exchange:?}"
        );
        verdict
    }

    use Api::{BatchSend, BotInfo, Recall, SendMessage, UploadImage, UrgentApp};
    use PauseScope::{App, AppApi, Tenant};

    #[test]
    fn success_is_code_zero_under_a_good_status() {
        check(&reply(SendMessage, 200, 0, "success"), Class::Done, None);
        check(
            &reply(SendMessage, 400, 0, "success"),
            Class::Ambiguous,
            None,
        );
        check(
            &reply(SendMessage, 500, 0, "success"),
            Class::Ambiguous,
            None,
        );
        check(&reply(SendMessage, 200, 230002, ""), Class::Admin, None);
    }

    #[test]
    fn what_refuses_every_request_alike_pauses() {
        for (api, code, pause) in [
            (SendMessage, 99991401, App),
            (SendMessage, 99991662, App),
            (SendMessage, 99991673, App),
            (SendMessage, 99991672, AppApi),
            (SendMessage, 99991676, AppApi),
            (SendMessage, 230006, AppApi),
            (UploadImage, 234007, AppApi),
            (BatchSend, 11205, AppApi),
            (BatchSend, 11207, AppApi),
            (BatchSend, 11209, AppApi),
            (BatchSend, 11210, AppApi),
            (BatchSend, 11223, AppApi),
            (BotInfo, 99991403, Tenant),
        ] {
            check(&reply(api, 400, code, ""), Class::Admin, Some(pause));
        }
        for code in [230002, 230013, 230018, 230027, 230035, 230053, 99991679] {
            check(&reply(SendMessage, 400, code, ""), Class::Admin, None);
        }
    }

    #[test]
    fn marks_of_the_table_reach_the_verdict() {
        assert!(check(&reply(Recall, 400, 230110, ""), Class::Done, None).proof);
        assert!(!check(&reply(UrgentApp, 400, 230110, ""), Class::Gone, None).proof);
        assert!(check(&reply(SendMessage, 400, 230025, ""), Class::Caller, None).same_bytes);
        assert!(check(&reply(SendMessage, 400, 99992402, ""), Class::Caller, None).same_bytes);
        let running = check(&reply(SendMessage, 400, 230049, ""), Class::Ambiguous, None);
        assert!(running.in_progress && running.wait_ms == Some(1000));
        assert!(check(&reply(BatchSend, 200, 18121, ""), Class::Ambiguous, None).in_progress);
        let day = check(&reply(BatchSend, 200, 11247, ""), Class::Limited, None);
        assert_eq!(day.bucket, Some(BucketKind::BatchDay));
    }

    #[test]
    fn a_refused_token_is_for_the_endpoint_only_if_it_was_new() {
        let mut exchange = reply(SendMessage, 400, 99991663, "");
        let first = check(&exchange, Class::Token, None);
        assert!(first.token && first.row.and_then(|row| row.pause) == Some(App));
        exchange.fresh_token_same = true;
        assert!(check(&exchange, Class::Admin, Some(AppApi)).token);
    }

    #[test]
    fn an_unknown_code_follows_its_status() {
        check(&reply(SendMessage, 429, 424242, ""), Class::Limited, None);
        check(&reply(SendMessage, 503, 424242, ""), Class::Ambiguous, None);
        check(&reply(SendMessage, 401, 424242, ""), Class::Token, None);
        let unclear = check(&reply(SendMessage, 403, 424242, ""), Class::Unclear, None);
        assert_eq!(unclear.tries_max, Some(3));
        assert_eq!(
            classify(&reply(SendMessage, 429, 230002, "")).class,
            Class::Limited
        );
    }

    fn exchanges() -> impl Strategy<Value = Exchange> {
        let codes: Vec<i64> = codes::rows()
            .map(|row| row.code)
            .chain([0, -1, i64::MAX, 424242])
            .collect();
        let msgs = [
            "",
            "Internal Error",
            "ext=ErrCode: 11310; ErrMsg: template",
            "ErrCode: x",
            "too many request",
        ];
        let header = prop_oneof![
            Just(None),
            any::<f64>().prop_map(Some),
            (0.0..100.0).prop_map(Some)
        ];
        let https = prop_oneof![Just(200_u16), 200..600_u16, any::<u16>()];
        let parts = (
            https,
            prop::sample::select(codes),
            prop::sample::select(msgs.to_vec()),
            header,
            0..8_u8,
        );
        (prop::sample::select(Api::ALL), any::<bool>(), parts).prop_map(|(api, same, parts)| {
            let (http, code, msg, reset_s, kind) = parts;
            let mut exchange = reply(api, http, code, msg);
            exchange.fresh_token_same = same;
            if let Ok(reply) = &mut exchange.answer {
                (reply.reset_s, reply.retry_after_s) = (reset_s, reset_s.map(|s| s / 2.0));
            }
            let text = msg.to_owned();
            match kind {
                0 => {
                    exchange.answer = Err(Fault::NotJson {
                        http,
                        reset_s,
                        retry_after_s: None,
                    })
                }
                1 => {
                    exchange.answer = Err(Fault::Token(TokenFault {
                        http,
                        code,
                        msg: text,
                    }))
                }
                2 => {
                    exchange.answer = Err(Fault::Unknown {
                        kind: UnknownKind::Broken,
                        http: Some(http),
                        text,
                    })
                }
                3 => {
                    exchange.answer = Err(Fault::NotSent {
                        kind: NotSentKind::Token,
                        text,
                        wait_ms: Some(5),
                    })
                }
                _ => {}
            }
            exchange
        })
    }

    proptest! {
        #[test]
        fn verdicts_are_total_and_never_too_sure(exchange in exchanges()) {
            let verdict = classify(&exchange);
            let found = exchange.answer.as_ref().ok().map(|reply| (reply.http, reply.code));
            let (http, code) = found.unwrap_or_default();
            if verdict.class == Class::Done {
                let row_says = verdict.row.is_some_and(|row| row.class == Class::Done);
                prop_assert!(found.is_some() && http < 500 && (code == 0 || row_says));
            }
            if found.is_some() && http >= 500 {
                prop_assert_eq!(verdict.class, Class::Ambiguous);
            }
            if verdict.class == Class::Limited {
                prop_assert!(verdict.bucket.is_some() && verdict.wait_ms.is_some());
            }
            prop_assert!(verdict.wait_ms.is_none_or(|ms| (1..=RESET_MAX_MS).contains(&ms)));
            prop_assert!(verdict.pause.is_none() || verdict.class == Class::Admin);
            prop_assert!(!verdict.proof || verdict.row.is_some_and(|row| row.proof));
            prop_assert_eq!(verdict.class == Class::Unclear, verdict.tries_max.is_some());
            if matches!(exchange.answer, Err(Fault::Unknown { .. })) {
                prop_assert_eq!(verdict.class, Class::Ambiguous);
            }
        }
    }
}
