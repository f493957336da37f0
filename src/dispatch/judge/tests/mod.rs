//! The rules of outcomes: one test a sentence.

mod errors;
mod page;
mod table;

use feishu_im::exchange::{Exchange, Fault, NotSentKind, Reply, TokenFault, UnknownKind};
use feishu_im::{Family, classify};

use super::*;

const MINUTE_MS: i64 = 60_000;
const NOW: i64 = 1_800_000_000_000;

fn fresh(api: Api) -> Subject {
    Subject {
        api,
        seed: 7,
        on_doubt: OnDoubt::Hold,
        tries: 0,
        unsent: 0,
        unclear: 0,
        token_retries: 0,
        unknown_age_ms: None,
        resent: false,
        verify: false,
        verified: None,
        can_lower: false,
        timeout_ms: 10_000,
    }
}

fn unknown(api: Api) -> Subject {
    Subject {
        unknown_age_ms: Some(MINUTE_MS),
        ..fresh(api)
    }
}

fn read_back(api: Api, verified: Option<bool>) -> Subject {
    Subject {
        verify: true,
        verified,
        ..unknown(api)
    }
}

fn of(api: Api, answer: Result<Reply, Fault>) -> Verdict {
    classify(&Exchange {
        api,
        answer,
        log_id: None,
        fresh_token_same: false,
    })
}

fn reply(http: u16, code: i64, msg: &str) -> Reply {
    Reply {
        http,
        code,
        msg: msg.to_owned(),
        data: None,
        body: Vec::new().into(),
        rate_limit: None,
        reset_s: None,
        retry_after_s: None,
        log_id: None,
    }
}

fn code(api: Api, code: i64) -> Verdict {
    let http = if code == 0 || api.endpoint().family != Family::V1 {
        200
    } else {
        400
    };
    of(api, Ok(reply(http, code, "")))
}

fn timed_out(api: Api) -> Verdict {
    of(
        api,
        Err(Fault::Unknown {
            kind: UnknownKind::Timeout,
            http: None,
            text: String::new(),
        }),
    )
}

fn unsent(api: Api) -> Verdict {
    of(
        api,
        Err(Fault::NotSent {
            kind: NotSentKind::Connect,
            text: String::new(),
            wait_ms: None,
        }),
    )
}

fn bare(api: Api, http: u16) -> Verdict {
    of(
        api,
        Err(Fault::NotJson {
            http,
            reset_s: None,
            retry_after_s: None,
        }),
    )
}

fn next(subject: &Subject, verdict: &Verdict) -> Next {
    judge(subject, verdict, NOW).next
}

/// The job goes on; anything else fails the test.
fn goes_on(subject: &Subject, verdict: &Verdict) -> Again {
    match next(subject, verdict) {
        Next::Again(again) => again,
        other => panic!("{other:?} for {subject:?} after {verdict:?}"),
    }
}

#[test]
fn code_zero_is_done() {
    for api in Api::ALL {
        for subject in [fresh(*api), unknown(*api)] {
            let judgement = judge(&subject, &code(*api, 0), NOW);
            assert_eq!(
                (judgement.outcome, judgement.next),
                (Outcome::Done, Next::Done)
            );
            assert_eq!(judgement.breaker, BreakerEvent::Ok);
        }
    }
}

#[test]
fn a_refusal_fails_a_fresh_job_with_its_class() {
    for (api, number, class) in [
        (Api::SendMessage, 230_025, FailClass::Caller),
        (Api::SendMessage, 230_002, FailClass::Admin),
        (Api::Pin, 230_011, FailClass::Gone),
        (Api::Recall, 230_009, FailClass::Caller),
    ] {
        let judgement = judge(&fresh(api), &code(api, number), NOW);
        assert_eq!(
            (judgement.outcome, judgement.next),
            (Outcome::Refused, Next::Failed(class)),
            "{number}"
        );
    }
}

#[test]
fn what_is_refused_for_now_is_tried_eight_times() {
    let verdict = code(Api::UploadImage, 232_096);
    for tries in 0..7 {
        let again = goes_on(
            &Subject {
                tries,
                ..fresh(Api::UploadImage)
            },
            &verdict,
        );
        assert_eq!(again.spend, Spend::Try);
        assert!(
            again.after_ms >= 1_000 << tries.min(7),
            "{again:?} after {tries}"
        );
    }
    let last = Subject {
        tries: 7,
        ..fresh(Api::UploadImage)
    };
    assert_eq!(next(&last, &verdict), Next::Failed(FailClass::GaveUp));
    let doubtful = Subject {
        tries: 7,
        ..unknown(Api::UploadImage)
    };
    assert_eq!(next(&doubtful, &verdict), Next::InDoubt);
}

#[test]
fn a_refusal_that_names_a_longer_wait_gets_it() {
    let again = goes_on(&fresh(Api::UrgentApp), &code(Api::UrgentApp, 230_023));
    assert_eq!((again.after_ms, again.spend), (3_600_000, Spend::Try));
}

#[test]
fn a_wait_that_is_named_is_the_least_for_what_never_left_and_what_is_unknown() {
    let wait_ms = Some(45_000);
    for verdict in [unsent(Api::SendMessage), timed_out(Api::SendMessage)] {
        let verdict = Verdict { wait_ms, ..verdict };
        let again = goes_on(&fresh(Api::SendMessage), &verdict);
        assert_eq!(again.after_ms, 45_000, "{verdict:?}");
    }
}

#[test]
fn a_code_nobody_knows_is_tried_three_times_a_minute_apart_and_once_where_a_repeat_shows() {
    let verdict = code(Api::SendMessage, 987_654);
    for unclear in 0..2 {
        let again = goes_on(
            &Subject {
                unclear,
                ..fresh(Api::SendMessage)
            },
            &verdict,
        );
        assert_eq!(again.spend, Spend::Unclear);
        assert!(again.after_ms >= MINUTE_MS);
    }
    let last = Subject {
        unclear: 2,
        ..fresh(Api::SendMessage)
    };
    assert_eq!(next(&last, &verdict), Next::Failed(FailClass::Unclear));
    let batch = next(&fresh(Api::BatchSend), &code(Api::BatchSend, 987_654));
    assert_eq!(batch, Next::Failed(FailClass::Unclear));
}

#[test]
fn a_limit_closes_its_bucket_and_costs_the_job_nothing() {
    for (api, number, bucket, wait_ms) in [
        (Api::SendMessage, 230_020, BucketKind::Receiver, 500),
        (Api::Pin, 230_047, BucketKind::Message, 500),
        (Api::SendMessage, 99_991_400, BucketKind::Api, 1_000),
        (Api::BatchSend, 11_247, BucketKind::BatchDay, 3_600_000),
    ] {
        let judgement = judge(&fresh(api), &code(api, number), NOW);
        assert_eq!(judgement.outcome, Outcome::Limited);
        assert_eq!(judgement.bucket, Some((bucket, NOW + wait_ms)), "{number}");
        assert_eq!(judgement.next, again(Spend::None, 0));
    }
}

#[test]
fn the_reset_that_feishu_names_is_kept() {
    let reply = Reply {
        reset_s: Some(17.5),
        ..reply(429, 99_991_400, "")
    };
    let judgement = judge(
        &fresh(Api::SendMessage),
        &of(Api::SendMessage, Ok(reply)),
        NOW,
    );
    assert_eq!(judgement.bucket, Some((BucketKind::Api, NOW + 17_500)));
}

#[test]
fn what_never_left_is_tried_again_by_its_own_count() {
    for (before, least, most) in [
        (0, 1_000, 2_000),
        (1, 2_000, 4_000),
        (5_000, 15_000, 30_000),
    ] {
        let subject = Subject {
            unsent: before,
            ..fresh(Api::UrgentPhone)
        };
        let judgement = judge(&subject, &unsent(Api::UrgentPhone), NOW);
        assert_eq!(
            (judgement.outcome, judgement.breaker),
            (Outcome::NotSent, BreakerEvent::NotSent)
        );
        let again = goes_on(&subject, &unsent(Api::UrgentPhone));
        assert_eq!(again.spend, Spend::Unsent);
        assert!((least..=most).contains(&again.after_ms), "{again:?}");
    }
}

#[test]
fn a_token_is_renewed_once_and_then_the_app_pauses() {
    let verdict = code(Api::SendMessage, 99_991_663);
    let judgement = judge(&fresh(Api::SendMessage), &verdict, NOW);
    assert_eq!(
        (judgement.outcome, judgement.pause),
        (Outcome::NotSent, None)
    );
    assert_eq!(judgement.next, again(Spend::Token, 0));
    let subject = Subject {
        token_retries: 1,
        ..fresh(Api::SendMessage)
    };
    let judgement = judge(&subject, &verdict, NOW);
    assert_eq!(judgement.next, again(Spend::None, 0));
    assert_eq!(judgement.pause, Some((PauseScope::App, 99_991_663)));
    let bare = judge(&subject, &bare(Api::SendMessage, 401), NOW);
    assert_eq!(
        bare.pause,
        Some((PauseScope::AppApi, 0)),
        "a bare 401 blames no more than the call"
    );
}

#[test]
fn what_refuses_every_job_alike_pauses_and_fails_none() {
    let app = Some(PauseScope::App);
    let api = Some(PauseScope::AppApi);
    let tenant = Some(PauseScope::Tenant);
    for (at, number, scope) in [
        (Api::SendMessage, 99_991_401, app),
        (Api::SendMessage, 99_991_662, app),
        (Api::SendMessage, 99_991_673, app),
        (Api::SendMessage, 99_991_672, api),
        (Api::SendMessage, 99_991_676, api),
        (Api::SendMessage, 230_006, api),
        (Api::UploadImage, 234_007, api),
        (Api::BatchSend, 11_205, api),
        (Api::BatchSend, 11_207, api),
        (Api::BatchSend, 11_209, api),
        (Api::BatchSend, 11_210, api),
        (Api::BatchSend, 11_223, api),
        (Api::SendMessage, 99_991_403, tenant),
    ] {
        for subject in [
            fresh(at),
            Subject {
                resent: true,
                ..unknown(at)
            },
        ] {
            let judgement = judge(&subject, &code(at, number), NOW);
            assert_eq!(judgement.pause, scope.map(|scope| (scope, number)));
            assert_eq!(judgement.next, again(Spend::None, 0), "{number}");
            assert_eq!(judgement.outcome, Outcome::Limited);
        }
    }
    for http in [403, 404, 405] {
        let judgement = judge(&fresh(Api::Pin), &bare(Api::Pin, http), NOW);
        assert_eq!(
            (judgement.pause, judgement.next),
            (Some((PauseScope::AppApi, 0)), again(Spend::None, 0))
        );
        assert_eq!(
            judgement.breaker,
            BreakerEvent::None,
            "it may be a proxy's word"
        );
    }
    let secret = TokenFault {
        http: 200,
        code: 10_014,
        msg: String::new(),
    };
    let judgement = judge(
        &fresh(Api::Pin),
        &of(Api::Pin, Err(Fault::Token(secret))),
        NOW,
    );
    assert_eq!(
        (judgement.pause, judgement.next),
        (Some((PauseScope::App, 10_014)), again(Spend::None, 0))
    );
}

#[test]
fn a_message_with_unknown_outcome_is_repeated_while_its_window_lasts() {
    let verdict = timed_out(Api::SendMessage);
    let first = goes_on(&fresh(Api::SendMessage), &verdict);
    assert_eq!(
        (first.unknown, first.verify, first.spend),
        (UnknownMove::Begin, false, Spend::None)
    );
    for age_ms in [0, 5_000, 45 * MINUTE_MS] {
        let subject = Subject {
            unknown_age_ms: Some(age_ms),
            ..fresh(Api::SendMessage)
        };
        let again = goes_on(&subject, &verdict);
        assert_eq!(again.unknown, UnknownMove::Keep);
        assert!((1_000..=30_000).contains(&again.after_ms), "{again:?}");
    }
    let late = Subject {
        unknown_age_ms: Some(50 * MINUTE_MS),
        ..fresh(Api::SendMessage)
    };
    assert_eq!(next(&late, &verdict), Next::InDoubt);
    assert_eq!(judge(&late, &verdict, NOW).breaker, BreakerEvent::Unknown);
}

#[test]
fn a_repeat_that_could_end_outside_the_window_does_not_begin() {
    let at = |age_ms| Subject {
        unknown_age_ms: Some(age_ms),
        ..fresh(Api::SendMessage)
    };
    assert!(may_write(&fresh(Api::SendMessage)));
    assert!(may_write(&at(50 * MINUTE_MS - 10_001)));
    assert!(!may_write(&at(50 * MINUTE_MS - 10_000)));
    assert!(!may_write(&at(i64::MAX)));
    assert_eq!(
        next(&at(50 * MINUTE_MS - 10_001), &timed_out(Api::SendMessage)),
        Next::InDoubt
    );
}

#[test]
fn a_message_that_is_being_sent_waits_one_to_five_seconds_and_spends_nothing() {
    for subject in [fresh(Api::SendMessage), unknown(Api::SendMessage)] {
        let verdict = code(Api::SendMessage, 230_049);
        let judgement = judge(&subject, &verdict, NOW);
        assert_eq!(
            (judgement.outcome, judgement.breaker),
            (Outcome::Unknown, BreakerEvent::Ok)
        );
        let again = goes_on(&subject, &verdict);
        assert_eq!(again.spend, Spend::None);
        assert!((1_000..=5_000).contains(&again.after_ms), "{again:?}");
    }
}

#[test]
fn after_an_unknown_attempt_a_refusal_leaves_doubt() {
    for (api, number) in [
        (Api::SendMessage, 230_002),
        (Api::SendMessage, 230_029),
        (Api::Pin, 230_011),
        (Api::UploadImage, 234_011),
    ] {
        assert_eq!(
            next(&unknown(api), &code(api, number)),
            Next::InDoubt,
            "{number}"
        );
        let drop = Subject {
            on_doubt: OnDoubt::Drop,
            ..unknown(api)
        };
        assert_eq!(
            next(&drop, &code(api, number)),
            Next::Failed(FailClass::Dropped)
        );
    }
}

#[test]
fn proof_and_the_same_bytes_settle_an_unknown_attempt() {
    for number in [230_011, 230_110] {
        assert_eq!(
            next(&unknown(Api::Recall), &code(Api::Recall, number)),
            Next::Done
        );
    }
    for number in [230_025, 99_992_402] {
        let refused = next(&unknown(Api::SendMessage), &code(Api::SendMessage, number));
        assert_eq!(refused, Next::Failed(FailClass::Caller), "{number}");
    }
    let used_twice = Verdict {
        proof: true,
        ..code(Api::Pin, 230_002)
    };
    assert_eq!(next(&unknown(Api::Pin), &used_twice), Next::Done);
    assert_eq!(
        judge(&unknown(Api::Pin), &used_twice, NOW).outcome,
        Outcome::Done
    );
    assert_eq!(
        next(&fresh(Api::Pin), &used_twice),
        Next::Failed(FailClass::Admin)
    );
}

#[test]
fn what_cannot_be_repeated_is_in_doubt_at_once() {
    for api in [
        Api::BatchSend,
        Api::UrgentApp,
        Api::UrgentSms,
        Api::UrgentPhone,
    ] {
        assert_eq!(next(&fresh(api), &timed_out(api)), Next::InDoubt);
        assert_eq!(unknown_at_start(&fresh(api)).next, Next::InDoubt);
        assert!(!may_write(&unknown(api)));
        let drop = Subject {
            on_doubt: OnDoubt::Drop,
            ..fresh(api)
        };
        assert_eq!(
            next(&drop, &timed_out(api)),
            Next::Failed(FailClass::Dropped)
        );
    }
}

#[test]
fn resend_repeats_a_message_or_a_batch_once_and_never_a_call() {
    let resend = |subject| Subject {
        on_doubt: OnDoubt::Resend,
        ..subject
    };
    let late = Subject {
        unknown_age_ms: Some(60 * MINUTE_MS),
        ..fresh(Api::SendMessage)
    };
    for subject in [resend(fresh(Api::BatchSend)), resend(late)] {
        let verdict = timed_out(subject.api);
        let again = goes_on(&subject, &verdict);
        assert_eq!(
            (again.spend, again.unknown),
            (Spend::Resend, UnknownMove::Renew)
        );
        let resent = Subject {
            resent: true,
            unknown_age_ms: Some(50 * MINUTE_MS),
            ..subject
        };
        assert_eq!(next(&resent, &verdict), Next::InDoubt);
    }
    assert!(may_write(&Subject {
        resent: true,
        ..unknown(Api::BatchSend)
    }));
    for api in [Api::UrgentApp, Api::UrgentSms, Api::UrgentPhone] {
        assert_eq!(next(&resend(fresh(api)), &timed_out(api)), Next::InDoubt);
    }
}

#[test]
fn what_writes_the_same_state_is_repeated_for_as_long_as_the_job_lives() {
    for api in [Api::Pin, Api::Unpin, Api::UploadImage] {
        for age_ms in [0, 3_600_000, 3 * 24 * 3_600_000] {
            let subject = Subject {
                unknown_age_ms: Some(age_ms),
                ..fresh(api)
            };
            let again = goes_on(&subject, &timed_out(api));
            assert!(!again.verify && may_write(&subject));
            assert!((1_000..=300_000).contains(&again.after_ms), "{again:?}");
        }
    }
}

#[test]
fn a_recall_is_read_back_before_it_is_repeated() {
    for api in [Api::Recall, Api::BatchRecall] {
        let again = goes_on(&fresh(api), &timed_out(api));
        assert!(again.verify && again.unknown == UnknownMove::Begin);
        let read = code(Api::GetMessage, 0);
        assert_eq!(next(&read_back(api, Some(true)), &read), Next::Done);
        assert_eq!(
            judge(&read_back(api, Some(true)), &read, NOW).outcome,
            Outcome::Done
        );
        let not_done = goes_on(&read_back(api, Some(false)), &read);
        assert_eq!(
            (not_done.verify, not_done.unknown),
            (false, UnknownMove::Keep)
        );
        assert_eq!(
            judge(&read_back(api, Some(false)), &read, NOW).outcome,
            Outcome::Unknown
        );
        assert_eq!(next(&unknown(api), &code(api, 230_009)), Next::InDoubt);
    }
}

#[test]
fn a_read_back_that_tells_nothing_is_made_again() {
    let subject = read_back(Api::Recall, None);
    let read = Api::GetMessage;
    for verdict in [
        timed_out(read),
        unsent(read),
        code(read, 99_991_400),
        code(read, 99_991_663),
        code(read, 0),
    ] {
        let again = goes_on(&subject, &verdict);
        assert!(
            again.verify && again.unknown == UnknownMove::Keep,
            "{verdict:?}"
        );
        assert!(matches!(
            again.spend,
            Spend::None | Spend::Unsent | Spend::Token
        ));
    }
    assert!(matches!(
        unknown_at_start(&subject).next,
        Next::Again(Again { verify: true, .. })
    ));
}

#[test]
fn a_read_back_that_is_refused_leads_to_the_write_again() {
    let judgement = judge(
        &read_back(Api::Recall, None),
        &code(Api::GetMessage, 230_027),
        NOW,
    );
    assert!(matches!(
        judgement.next,
        Next::Again(Again {
            verify: false,
            spend: Spend::None,
            ..
        })
    ));
    let scope = judge(
        &read_back(Api::Recall, None),
        &code(Api::GetMessage, 99_991_672),
        NOW,
    );
    assert_eq!(scope.pause, Some((PauseScope::AppApi, 99_991_672)));
    assert!(matches!(
        scope.next,
        Next::Again(Again { verify: false, .. })
    ));
}

#[test]
fn a_read_is_never_in_doubt() {
    for api in [Api::BatchProgress, Api::ReadUsers] {
        let again = goes_on(&fresh(api), &timed_out(api));
        assert_eq!(
            (again.spend, again.unknown),
            (Spend::Unsent, UnknownMove::Keep)
        );
        assert_eq!(
            next(&unknown(api), &code(api, 230_030)),
            next(&fresh(api), &code(api, 230_030))
        );
    }
}

#[test]
fn a_mark_without_a_process_is_an_unknown_attempt() {
    let judgement = unknown_at_start(&fresh(Api::SendMessage));
    assert_eq!(
        (judgement.outcome, judgement.breaker),
        (Outcome::Unknown, BreakerEvent::None)
    );
    assert!(matches!(
        judgement.next,
        Next::Again(Again {
            unknown: UnknownMove::Begin,
            verify: false,
            ..
        })
    ));
}
