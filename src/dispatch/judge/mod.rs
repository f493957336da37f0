//! What an attempt's answer means for its job: pure, total, and the only place that decides it.
//!
//! An unknown outcome is sticky: after one, a job ends done or in doubt, whatever a later answer
//! says of its own attempt, unless the answer is marked as proof or as the same for the same bytes.
//! What is not sent, limited or refused for everybody alike spends nothing and fails no job.
//! Not here: what a code means (`feishu-im`'s tables), how long a wait is (`delay`), expiry and
//! cancel (`store`), pauses by scope (`breaker`).

#[cfg(test)]
mod tests;

use feishu_im::limits::{API_PAUSE_MS, SAFE_WINDOW_MS};
use feishu_im::{Api, BucketKind, Class, PauseScope, Repeat, Verdict};

use super::breaker::BreakerEvent;
use super::delay::{IN_PROGRESS, NOT_SENT, Policy, RETRY, UNCLEAR, delay_ms};
use crate::job::{OnDoubt, Outcome};

/// Attempts at what Feishu refuses for now, then the job has given up.
const RETRY_TRIES: u32 = 8;
/// How long a call whose answer is lost may take effect, milliseconds.
pub(crate) const SETTLES_MS: i64 = 30_000;
/// Attempts at what nobody understands, where the verdict names no number.
const UNCLEAR_TRIES: u32 = 3;

/// The job as it stood when the attempt began: the counts are of attempts before this one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Subject {
    /// The endpoint of the job's write, also while it is only read back.
    pub(crate) api: Api,
    /// From the job's id: spreads the waits.
    pub(crate) seed: u64,
    pub(crate) on_doubt: OnDoubt,
    /// Refused for now.
    pub(crate) tries: u32,
    /// Provably never sent.
    pub(crate) unsent: u32,
    /// Refused with a code nobody knows.
    pub(crate) unclear: u32,
    /// Refused for their token.
    pub(crate) token_retries: u32,
    /// Age of the oldest attempt with unknown outcome that is not settled, by the slower clock.
    pub(crate) unknown_age_ms: Option<i64>,
    /// Sent again in spite of doubt, by `on_doubt` or an operator.
    pub(crate) resent: bool,
    /// This attempt reads back what an earlier one did.
    pub(crate) verify: bool,
    /// What the read-back showed; none if the answer did not say.
    pub(crate) verified: Option<bool>,
    /// A card whose producer wants it on a lower rung rather than not at all, and that has one left.
    pub(crate) can_lower: bool,
    /// Longest time of one attempt.
    pub(crate) timeout_ms: i64,
}

/// Everything that follows from one attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Judgement {
    /// How the attempt ended, for the record.
    pub(crate) outcome: Outcome,
    pub(crate) next: Next,
    /// What refuses every job alike, and with which code (0: there was none).
    pub(crate) pause: Option<(PauseScope, i64)>,
    /// Which limit was hit, and until when it is closed.
    pub(crate) bucket: Option<(BucketKind, i64)>,
    pub(crate) breaker: BreakerEvent,
}

/// What becomes of the job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    Done,
    Failed(FailClass),
    InDoubt,
    /// Refused for its form: the same words go a rung lower, as another message under another `uuid`.
    Lower,
    Again(Again),
}

/// How the job goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Again {
    /// Not sooner than this from now; 0 where a pause or a window decides.
    pub(crate) after_ms: i64,
    /// Which count goes up.
    pub(crate) spend: Spend,
    /// The next attempt reads back; it does not write.
    pub(crate) verify: bool,
    pub(crate) unknown: UnknownMove,
}

/// Which of a job's counts an attempt adds to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Spend {
    None,
    Try,
    Unsent,
    Unclear,
    Token,
    /// Not a count: from now on the job is `resent`.
    Resend,
}

/// What becomes of the time since which the job's outcome is unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum UnknownMove {
    /// As it was, none or some.
    Keep,
    /// It is the mark of this attempt.
    Begin,
    /// It is now: a repeat in spite of doubt has a window of its own.
    Renew,
}

/// Why a job failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FailClass {
    Caller,
    Gone,
    Admin,
    GaveUp,
    Unclear,
    Dropped,
}

impl FailClass {
    /// As it stands in `error.class`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Caller => "caller",
            Self::Gone => "gone",
            Self::Admin => "admin",
            Self::GaveUp => "gave_up",
            Self::Unclear => "unclear",
            Self::Dropped => "dropped",
        }
    }
}

/// What one attempt means: for the job, for everything around it, and for the record.
pub(crate) fn judge(subject: &Subject, verdict: &Verdict, now: i64) -> Judgement {
    let next = if subject.verify {
        after_read_back(subject, verdict)
    } else {
        after_write(subject, verdict)
    };
    Judgement {
        outcome: outcome(subject, verdict),
        next: not_twice(subject, next),
        pause: pause(subject, verdict),
        bucket: bucket(verdict, now),
        breaker: breaker_event(verdict),
    }
}

/// A mark was found whose process is gone: nobody knows what became of that attempt.
pub(crate) fn unknown_at_start(subject: &Subject) -> Judgement {
    let next = if subject.verify {
        read_back_later(subject)
    } else {
        settle(subject, unknown_policy(subject), 0)
    };
    Judgement {
        outcome: Outcome::Unknown,
        next: not_twice(subject, next),
        pause: None,
        bucket: None,
        breaker: BreakerEvent::None,
    }
}

/// May the write leave now? To be asked right before it; where it may not, `doubt` says what then.
pub(crate) fn may_write(subject: &Subject) -> bool {
    match (subject.api.endpoint().repeat, subject.unknown_age_ms) {
        (_, None) => true,
        (Repeat::Key, Some(age_ms)) => ends_inside_window(subject, age_ms),
        // After doubt it is written only when a look has shown that it is not there.
        (Repeat::Dup, Some(_)) => subject.resent || reads_back(subject.api),
        (Repeat::Set | Repeat::Guard | Repeat::Orphan | Repeat::Read, Some(_)) => true,
    }
}

/// Nothing can settle the job's unknown outcome any more: what its producer wanted for that case.
pub(crate) fn doubt(subject: &Subject) -> Next {
    match subject.on_doubt {
        OnDoubt::Hold => Next::InDoubt,
        OnDoubt::Drop => Next::Failed(FailClass::Dropped),
        OnDoubt::Resend if subject.resent || !may_resend(subject.api) => Next::InDoubt,
        OnDoubt::Resend => Next::Again(Again {
            after_ms: 0,
            spend: Spend::Resend,
            verify: false,
            unknown: UnknownMove::Renew,
        }),
    }
}

fn after_write(subject: &Subject, verdict: &Verdict) -> Next {
    if is_proven(subject, verdict) {
        return Next::Done;
    }
    let least_ms = verdict.wait_ms.unwrap_or(0);
    match verdict.class {
        Class::Done => Next::Done,
        Class::Limited => again(Spend::None, limited_wait(verdict)),
        Class::NotSent => not_sent(subject, verdict),
        Class::Token => token(subject),
        Class::Caller | Class::Gone | Class::Admin if verdict.pause.is_some() => {
            again(Spend::None, 0)
        }
        Class::Caller if goes_lower(subject, verdict) => Next::Lower,
        Class::Caller => refused(subject, verdict, FailClass::Caller),
        Class::Gone => refused(subject, verdict, FailClass::Gone),
        Class::Admin => refused(subject, verdict, FailClass::Admin),
        Class::Retry => retry(subject, verdict),
        Class::Unclear => unclear(subject, verdict),
        Class::Ambiguous if verdict.in_progress => settle(subject, IN_PROGRESS, least_ms),
        Class::Ambiguous => settle(subject, unknown_policy(subject), least_ms),
    }
}

/// A read-back settles the job or leaves it unknown; it never fails it.
fn after_read_back(subject: &Subject, verdict: &Verdict) -> Next {
    match (subject.verified, verdict.class) {
        (Some(true), _) => Next::Done,
        // What shows twice is written only after a look that shows nothing: this one will never tell.
        (None, Class::Caller | Class::Gone | Class::Admin) if looks_first(subject) => {
            match verdict.pause {
                Some(_) => verified_again(again(Spend::None, 0)),
                None => doubt(subject),
            }
        }
        // It is not done, or this read will never tell: the write is safe to repeat.
        (Some(false), _) if settles_late(subject.api) => again(Spend::None, 0),
        (Some(false), _) | (None, Class::Caller | Class::Gone | Class::Admin) => {
            again(Spend::None, age_wait(subject, RETRY))
        }
        (None, Class::Token) => verified_again(token(subject)),
        (None, Class::NotSent) => verified_again(not_sent(subject, verdict)),
        (None, Class::Limited) => verified_again(again(Spend::None, limited_wait(verdict))),
        (None, Class::Done | Class::Retry | Class::Ambiguous | Class::Unclear) => {
            read_back_later(subject)
        }
    }
}

/// The answer proves that an earlier attempt with unknown outcome worked.
fn is_proven(subject: &Subject, verdict: &Verdict) -> bool {
    verdict.proof && is_unknown(subject)
}

/// Refused for good. After an unknown attempt that says nothing of the earlier one, unless it
/// speaks of the bytes.
fn refused(subject: &Subject, verdict: &Verdict, class: FailClass) -> Next {
    if is_unknown(subject) && !verdict.same_bytes {
        return give_in(subject);
    }
    Next::Failed(class)
}

/// After an unknown attempt the card may be there already, so its words are not sent beside it.
fn goes_lower(subject: &Subject, verdict: &Verdict) -> bool {
    let of_form = verdict.row.is_some_and(|row| row.form);
    subject.can_lower && of_form && subject.unknown_age_ms.is_none()
}

fn retry(subject: &Subject, verdict: &Verdict) -> Next {
    let attempt = subject.tries.saturating_add(1);
    if attempt >= RETRY_TRIES {
        return refused(subject, verdict, FailClass::GaveUp);
    }
    let wait_ms = delay_ms(subject.seed, attempt, RETRY).max(verdict.wait_ms.unwrap_or(0));
    again(Spend::Try, wait_ms)
}

fn unclear(subject: &Subject, verdict: &Verdict) -> Next {
    let attempt = subject.unclear.saturating_add(1);
    let dup = subject.api.endpoint().repeat == Repeat::Dup;
    if dup || attempt >= verdict.tries_max.unwrap_or(UNCLEAR_TRIES) {
        return refused(subject, verdict, FailClass::Unclear);
    }
    again(Spend::Unclear, delay_ms(subject.seed, attempt, UNCLEAR))
}

fn not_sent(subject: &Subject, verdict: &Verdict) -> Next {
    let wait_ms = delay_ms(subject.seed, subject.unsent.saturating_add(1), NOT_SENT);
    again(Spend::Unsent, wait_ms.max(verdict.wait_ms.unwrap_or(0)))
}

/// Once more with a new token; a second time it is not this job's matter (`pause`).
fn token(subject: &Subject) -> Next {
    match subject.token_retries {
        0 => again(Spend::Token, 0),
        1.. => again(Spend::None, 0),
    }
}

/// The bucket is closed, not the job; only where no bucket is named the job itself waits.
fn limited_wait(verdict: &Verdict) -> i64 {
    match verdict.bucket {
        Some(_) => 0,
        None => verdict.wait_ms.unwrap_or(API_PAUSE_MS),
    }
}

/// A message has only its safe window to be repeated in; the rest has days.
fn unknown_policy(subject: &Subject) -> Policy {
    match subject.api.endpoint().repeat {
        Repeat::Key => NOT_SENT,
        Repeat::Set | Repeat::Guard | Repeat::Dup | Repeat::Orphan | Repeat::Read => RETRY,
    }
}

/// This attempt may have happened: settles it by what the operation allows.
fn settle(subject: &Subject, policy: Policy, least_ms: i64) -> Next {
    let unknown = if is_unknown(subject) {
        UnknownMove::Keep
    } else {
        UnknownMove::Begin
    };
    let late_ms = if settles_late(subject.api) {
        SETTLES_MS
    } else {
        0
    };
    let after_ms = age_wait(subject, policy).max(least_ms).max(late_ms);
    let go_on = |verify| {
        Next::Again(Again {
            after_ms,
            spend: Spend::None,
            verify,
            unknown,
        })
    };
    match subject.api.endpoint().repeat {
        Repeat::Read => read_again(subject),
        Repeat::Dup if reads_back(subject.api) => go_on(true),
        Repeat::Dup => doubt(subject),
        // One repeat without a look: a click's token serves twice, and nobody can ask what it did.
        Repeat::Set if subject.api == Api::DelayUpdateCard && subject.resent => doubt(subject),
        Repeat::Set if subject.api == Api::DelayUpdateCard => Next::Again(Again {
            after_ms,
            spend: Spend::Resend,
            verify: false,
            unknown,
        }),
        Repeat::Key => {
            let age_ms = subject.unknown_age_ms.unwrap_or(subject.timeout_ms);
            if ends_inside_window(subject, age_ms.saturating_add(after_ms)) {
                go_on(false)
            } else {
                doubt(subject)
            }
        }
        Repeat::Set | Repeat::Guard | Repeat::Orphan => go_on(reads_back(subject.api)),
    }
}

/// A read has no outcome to be in doubt about.
fn read_again(subject: &Subject) -> Next {
    again(
        Spend::Unsent,
        delay_ms(subject.seed, subject.unsent.saturating_add(1), NOT_SENT),
    )
}

/// Refused after doubt: a repeat would be refused as well, so `resend` has nothing to offer.
fn give_in(subject: &Subject) -> Next {
    match subject.on_doubt {
        OnDoubt::Hold | OnDoubt::Resend => Next::InDoubt,
        OnDoubt::Drop => Next::Failed(FailClass::Dropped),
    }
}

fn read_back_later(subject: &Subject) -> Next {
    verified_again(again(Spend::None, age_wait(subject, RETRY)))
}

fn again(spend: Spend, after_ms: i64) -> Next {
    Next::Again(Again {
        after_ms,
        spend,
        verify: false,
        unknown: UnknownMove::Keep,
    })
}

fn verified_again(next: Next) -> Next {
    match next {
        Next::Again(again) => Next::Again(Again {
            verify: true,
            ..again
        }),
        Next::Done | Next::Failed(_) | Next::InDoubt | Next::Lower => next,
    }
}

/// The last word: what shows twice is not written again after doubt, whatever was decided above.
fn not_twice(subject: &Subject, next: Next) -> Next {
    let dup = subject.api.endpoint().repeat == Repeat::Dup;
    match next {
        Next::Again(again) if dup && again.spend != Spend::Resend && !may_write(subject) => {
            doubt(subject)
        }
        Next::Again(_) | Next::Done | Next::Failed(_) | Next::InDoubt | Next::Lower => next,
    }
}

/// Waits double with the age of the doubt, so they need no count and survive a restart.
fn age_wait(subject: &Subject, policy: Policy) -> i64 {
    let age_s = subject.unknown_age_ms.unwrap_or(0).max(0) / 1_000;
    let step = age_s.saturating_add(1).ilog2() + 1;
    delay_ms(subject.seed, step, policy)
}

fn ends_inside_window(subject: &Subject, age_ms: i64) -> bool {
    age_ms.saturating_add(subject.timeout_ms) < SAFE_WINDOW_MS
}

/// Did an earlier attempt end unknown?
fn is_unknown(subject: &Subject) -> bool {
    subject.unknown_age_ms.is_some() && can_be_in_doubt(subject)
}

/// What reads has no effect to be in doubt about.
pub(crate) fn can_be_in_doubt(subject: &Subject) -> bool {
    subject.api.endpoint().repeat != Repeat::Read
}

/// Operations whose effect a read shows; they are repeated only after it.
fn reads_back(api: Api) -> bool {
    let looked_for = matches!(api, Api::Recall | Api::BatchRecall | Api::Unreact);
    looked_for || settles_late(api)
}

/// A call of these whose answer is lost may be carried out a little later, and would undo a newer state
/// or show a second time: nothing is looked for or written before that is over.
pub(crate) fn settles_late(api: Api) -> bool {
    matches!(api, Api::Edit | Api::UpdateCard | Api::React)
}

/// In doubt, and only a look can settle it.
fn looks_first(subject: &Subject) -> bool {
    let dup = subject.api.endpoint().repeat == Repeat::Dup;
    dup && reads_back(subject.api) && is_unknown(subject)
}

/// A message or a batch may be sent twice if its producer says so; a call or an SMS never.
fn may_resend(api: Api) -> bool {
    !matches!(api, Api::UrgentApp | Api::UrgentSms | Api::UrgentPhone)
}

fn outcome(subject: &Subject, verdict: &Verdict) -> Outcome {
    match (subject.verify, subject.verified, verdict.class) {
        (true, Some(true), _) => Outcome::Done,
        (true, Some(false), _) | (true, None, Class::Done) => Outcome::Unknown,
        _ if is_proven(subject, verdict) => Outcome::Done,
        (_, _, Class::Done) => Outcome::Done,
        (_, _, Class::Limited) => Outcome::Limited,
        (_, _, Class::NotSent | Class::Token) => Outcome::NotSent,
        (_, _, Class::Ambiguous) => Outcome::Unknown,
        (_, _, Class::Caller | Class::Gone | Class::Admin) if verdict.pause.is_some() => {
            Outcome::Limited
        }
        (_, _, Class::Caller | Class::Gone | Class::Admin | Class::Retry | Class::Unclear) => {
            Outcome::Refused
        }
    }
}

fn pause(subject: &Subject, verdict: &Verdict) -> Option<(PauseScope, i64)> {
    let scope = match verdict.class {
        Class::Token if subject.token_retries == 0 => None,
        Class::Token => Some(
            verdict
                .row
                .and_then(|row| row.pause)
                .unwrap_or(PauseScope::AppApi),
        ),
        Class::Caller | Class::Gone | Class::Admin | Class::Limited => verdict.pause,
        Class::Done | Class::Retry | Class::Ambiguous | Class::NotSent | Class::Unclear => None,
    };
    scope.map(|scope| (scope, verdict.row.map_or(0, |row| row.code)))
}

/// Which limit was hit and until when; what pauses a whole scope has no reset to wait for.
pub(crate) fn bucket(verdict: &Verdict, now: i64) -> Option<(BucketKind, i64)> {
    let bucket = verdict.bucket.filter(|_| verdict.pause.is_none())?;
    let wait_ms = verdict.wait_ms.unwrap_or(API_PAUSE_MS);
    Some((bucket, now.saturating_add(wait_ms)))
}

/// Whoever answers with a code is there. A bare status may be a proxy's.
pub(crate) fn breaker_event(verdict: &Verdict) -> BreakerEvent {
    match verdict.class {
        Class::NotSent => BreakerEvent::NotSent,
        Class::Ambiguous if verdict.in_progress => BreakerEvent::Ok,
        Class::Ambiguous => BreakerEvent::Unknown,
        Class::Done | Class::Retry | Class::Unclear => BreakerEvent::Ok,
        Class::Limited | Class::Token | Class::Caller | Class::Gone | Class::Admin => {
            if verdict.row.is_some() {
                BreakerEvent::Ok
            } else {
                BreakerEvent::None
            }
        }
    }
}
