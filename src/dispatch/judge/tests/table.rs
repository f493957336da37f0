//! The rules that hold for every code of every endpoint, whatever the job's past.

use feishu_im::codes::{self, Sub};
use proptest::prelude::*;

use super::*;

/// Every answer that the tables know, and every way to get none.
fn verdicts(api: Api) -> Vec<Verdict> {
    let words = |sub| match sub {
        Sub::None => String::new(),
        Sub::Text(words) => words.to_owned(),
        Sub::Card(number) => format!("ErrCode: {number}"),
        Sub::CardText(number, words) => format!("ErrCode: {number}; {words}"),
    };
    let mut all: Vec<Verdict> = codes::rows()
        .flat_map(|row| {
            [200, 400, 429, 500].map(|http| of(api, Ok(reply(http, row.code, &words(row.sub)))))
        })
        .collect();
    all.extend([200, 400, 401, 408, 429, 503].map(|http| of(api, Ok(reply(http, 987_654, "")))));
    all.extend([301, 400, 401, 403, 404, 405, 408, 425, 429].map(|http| bare(api, http)));
    all.extend([code(api, 0), timed_out(api), unsent(api)]);
    let fault = |kind| {
        Err(Fault::NotSent {
            kind,
            text: String::new(),
            wait_ms: Some(45_000),
        })
    };
    all.extend(
        [NotSentKind::Request, NotSentKind::File, NotSentKind::Token]
            .map(|kind| of(api, fault(kind))),
    );
    let same = Exchange {
        api,
        answer: Ok(reply(400, 99_991_663, "")),
        log_id: None,
        fresh_token_same: true,
    };
    all.push(classify(&same));
    all
}

fn subjects(api: Api) -> Vec<Subject> {
    let ages = [None, Some(0), Some(10 * MINUTE_MS), Some(55 * MINUTE_MS)];
    let read_backs = [
        (false, None),
        (true, None),
        (true, Some(false)),
        (true, Some(true)),
    ];
    let mut all = Vec::new();
    for on_doubt in [OnDoubt::Hold, OnDoubt::Resend, OnDoubt::Drop] {
        for unknown_age_ms in ages {
            for (verify, verified) in read_backs {
                for (count, resent) in [(0, false), (0, true), (1, false), (9, true)] {
                    let counts = Subject {
                        tries: count,
                        unsent: count,
                        unclear: count,
                        token_retries: count,
                        ..fresh(api)
                    };
                    all.push(Subject {
                        on_doubt,
                        unknown_age_ms,
                        can_lower: count == 0,
                        verify,
                        verified,
                        resent,
                        ..counts
                    });
                }
            }
        }
    }
    all
}

/// What must hold whatever the code, the job and its past.
fn holds(subject: &Subject, verdict: &Verdict) {
    let judgement = judge(subject, verdict, NOW);
    let said = || format!("{judgement:?} for {subject:?} after {verdict:?}");
    let repeat = subject.api.endpoint().repeat;
    let before = subject.unknown_age_ms.is_some() && repeat != Repeat::Read;
    match judgement.next {
        Next::Done => {
            let proven = verdict.class == Class::Done || (verdict.proof && before);
            assert!(
                if subject.verify {
                    subject.verified == Some(true)
                } else {
                    proven
                },
                "{}",
                said()
            );
        }
        Next::Failed(FailClass::Dropped) => {
            assert_eq!(subject.on_doubt, OnDoubt::Drop, "{}", said())
        }
        Next::Failed(_) => {
            assert!(!before || verdict.same_bytes, "{}", said());
            assert!(
                !subject.verify && judgement.outcome == Outcome::Refused,
                "{}",
                said()
            );
        }
        Next::Lower => {
            let of_form = verdict.row.is_some_and(|row| row.form);
            assert!(subject.can_lower && of_form, "{}", said());
            assert!(!before && !subject.verify, "{}", said());
            assert_eq!(judgement.outcome, Outcome::Refused, "{}", said());
        }
        Next::InDoubt => assert!(
            before || judgement.outcome == Outcome::Unknown,
            "{}",
            said()
        ),
        Next::Again(again) => goes_on_rightly(subject, &judgement, again, &said),
    }
    if judgement.pause.is_some() && !before && subject.verified.is_none() {
        assert!(matches!(judgement.next, Next::Again(_)), "{}", said());
    }
    assert_eq!(
        judgement.bucket.is_some(),
        verdict.bucket.is_some() && verdict.pause.is_none(),
        "{}",
        said()
    );
}

fn goes_on_rightly(
    subject: &Subject,
    judgement: &Judgement,
    again: Again,
    said: &dyn Fn() -> String,
) {
    let repeat = subject.api.endpoint().repeat;
    let executed = judgement.outcome == Outcome::Unknown && !subject.verify;
    assert!((0..=3_600_000).contains(&again.after_ms), "{}", said());
    if subject.api == Api::DelayUpdateCard && executed {
        let once = again.spend == Spend::Resend && !subject.resent;
        assert!(once || again.unknown == UnknownMove::Renew, "{}", said());
        return;
    }
    assert_eq!(
        again.spend == Spend::Resend,
        again.unknown == UnknownMove::Renew,
        "{}",
        said()
    );
    if again.spend == Spend::Resend {
        assert!(
            subject.on_doubt == OnDoubt::Resend && !subject.resent,
            "{}",
            said()
        );
        assert!(!subject.api.name().starts_with("urgent"), "{}", said());
        return;
    }
    if repeat == Repeat::Dup && reads_back(subject.api) {
        // Nothing is looked for that is not in doubt.
        let needless = subject.unknown_age_ms.is_none();
        let looked = !subject.verify || subject.verified == Some(false) || needless;
        assert!(again.verify || (!executed && looked), "{}", said());
        assert!(!executed || again.after_ms >= SETTLES_MS, "{}", said());
    } else if repeat == Repeat::Dup {
        assert!(
            !executed && (subject.unknown_age_ms.is_none() || subject.resent),
            "{}",
            said()
        );
    }
    if repeat == Repeat::Key && executed {
        let age_ms = subject.unknown_age_ms.unwrap_or(0) + again.after_ms;
        assert!(age_ms + subject.timeout_ms < SAFE_WINDOW_MS, "{}", said());
    }
    let begins = executed && subject.unknown_age_ms.is_none() && repeat != Repeat::Read;
    assert_eq!(again.unknown == UnknownMove::Begin, begins, "{}", said());
    let spends = matches!(again.spend, Spend::Try | Spend::Unclear);
    assert!(
        !spends || judgement.outcome == Outcome::Refused,
        "{}",
        said()
    );
    assert!(
        again.spend != Spend::Unclear || again.after_ms >= MINUTE_MS,
        "{}",
        said()
    );
    assert!(
        !again.verify || subject.verify || reads_back(subject.api),
        "{}",
        said()
    );
}

#[test]
fn every_code_of_every_endpoint_keeps_the_rules() {
    for api in Api::ALL {
        let subjects = subjects(*api);
        for verdict in verdicts(*api) {
            subjects.iter().for_each(|subject| holds(subject, &verdict));
        }
    }
}

fn any_class() -> impl Strategy<Value = Class> {
    use Class::{Admin, Ambiguous, Caller, Done, Gone, Limited, NotSent, Retry, Token, Unclear};
    prop::sample::select(vec![
        Done, Retry, Limited, Token, Caller, Gone, Admin, Ambiguous, NotSent, Unclear,
    ])
}

fn any_scope() -> impl Strategy<Value = Option<PauseScope>> {
    prop::option::of(prop::sample::select(vec![
        PauseScope::App,
        PauseScope::AppApi,
        PauseScope::Tenant,
    ]))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn it_has_an_answer_for_everything(
        (api, class, pause) in (prop::sample::select(Api::ALL), any_class(), any_scope()),
        wait_ms in prop::option::of(any::<i64>()),
        (proof, same_bytes, in_progress) in any::<(bool, bool, bool)>(),
        counts in any::<[u32; 4]>(),
        unknown_age_ms in prop::option::of(any::<i64>()),
        (verify, verified, resent, can_lower) in any::<(bool, Option<bool>, bool, bool)>(),
        (seed, timeout_ms, now) in any::<(u64, i64, i64)>(),
    ) {
        let bucket = (class == Class::Limited).then_some(BucketKind::Api);
        let verdict = Verdict { class, pause, bucket, wait_ms, proof, same_bytes, in_progress, ..code(api, 0) };
        let [tries, unsent, unclear, token_retries] = counts;
        let subject = Subject {
            seed, tries, unsent, unclear, token_retries, unknown_age_ms, resent, verify, verified, can_lower, timeout_ms,
            ..fresh(api)
        };
        prop_assert_eq!(judge(&subject, &verdict, now), judge(&subject, &verdict, now));
        let _ = (unknown_at_start(&subject), may_write(&subject));
    }
}
