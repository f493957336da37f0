//! One attempt of a marked job: the last look at the clock, the call, the judgement, the result.

use std::sync::Arc;

use feishu_im::{
    Api, Class, Client, Exchange, Fault as Failure, Hook, NotSentKind, PauseScope, Reply, Verdict,
    classify,
};

use crate::clock::{Clock, Now};
use crate::dispatch::breaker::BreakerEvent;
use crate::dispatch::doubt as look;
use crate::dispatch::follow;
use crate::dispatch::judge::{self, FailClass, Judgement, Next, Spend, Subject};
use crate::dispatch::month;
use crate::dispatch::perform;
use crate::dispatch::readback;
use crate::job::{
    Attempt, Degraded, Fault, Kind, Marked, Moment, OnRefused, Outcome, Spent, openapi,
};
use crate::store::{End, Finish, SaidAnswer, Store, UnknownMove};

/// How long a look waits when the store cannot say what it is about, milliseconds.
const STORE_BUSY_MS: i64 = 5_000;

/// What an attempt came to: what is recorded, and what is told to everything around it.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) finish: Finish,
    pub(super) judgement: Judgement,
    pub(super) msg: String,
    pub(super) refund: bool,
    pub(super) chat: Option<String>,
}

/// What attempts are made with.
#[derive(Clone, Debug)]
pub(super) struct Means {
    pub(super) client: Client,
    /// The custom bot that the job is for.
    pub(super) hook: Option<Hook>,
    pub(super) clock: Clock,
    pub(super) store: Store,
    pub(super) timeout_ms: i64,
}

/// Makes the attempt. The mark is committed; this is the only place from which a write leaves.
pub(super) async fn run(means: &Means, marked: &Marked) -> Ended {
    let before = means.clock.now();
    if marked.head.kind == Kind::History {
        return look_into_history(means, marked, &before).await;
    }
    let subject = subject(marked, &before, means.timeout_ms, None);
    // A mark that was long on its way, or a clock that moved: the window is looked at right here.
    if !marked.head.verify && !judge::may_write(&subject) {
        return not_written(marked, &subject, &before);
    }
    if let Some(receipt) = known_key(means, marked).await {
        let end = End::Done {
            receipt: Some(receipt),
            message_id: None,
        };
        return no_call(marked, &before, end, None);
    }
    let exchange = match call(means, marked, &before).await {
        Ok(exchange) => exchange,
        Err(ended) => return *ended,
    };
    judged(
        marked,
        means.client.app_id(),
        &exchange,
        &before,
        &means.clock.now(),
        means.timeout_ms,
        means.clock.steady_ms(),
    )
}

/// The receipt of an upload whose bytes Feishu has already.
async fn known_key(means: &Means, marked: &Marked) -> Option<String> {
    let kind = marked.head.kind;
    if !kind.brings_bytes() {
        return None;
    }
    let known = means.store.known_key(marked.head.app, kind, &marked.args);
    // Where nobody can say, it goes again: a second key harms nobody.
    known.await.ok().flatten()
}

/// The call itself, or the end of an attempt that makes none.
async fn call(means: &Means, marked: &Marked, before: &Now) -> Result<Exchange, Box<Ended>> {
    let misfits = |misfit: perform::Misfit| Box::new(misfits(marked, before, misfit.to_string()));
    if marked.head.api() != Api::Webhook {
        let upload = |sha256: &str| means.store.upload_path(sha256);
        let request = perform::request(marked, upload).map_err(misfits)?;
        return Ok(means.client.call(&request).await);
    }
    let content = perform::hook_content(marked).map_err(misfits)?;
    let Some(hook) = &means.hook else {
        // A reload took the bot away after the mark: the job waits until it is back (`core`).
        let end = End::Again {
            run_ms: before.wall_ms,
        };
        return Err(Box::new(no_call(marked, before, end, None)));
    };
    let now_s = means.clock.wall_ms().div_euclid(1000);
    Ok(hook.say(&content, now_s).await)
}

/// One page of the chat's history, for a job that is in doubt.
async fn look_into_history(means: &Means, marked: &Marked, before: &Now) -> Ended {
    let known = follow::learned(marked);
    let step = match means.store.case(marked.head.seq).await {
        Ok(case) => look::step(marked, case),
        Err(_) => {
            return no_call(
                marked,
                before,
                End::Again {
                    run_ms: before.wall_ms + STORE_BUSY_MS,
                },
                None,
            );
        }
    };
    let step = match step {
        Ok(step) => step,
        Err(over) => {
            let (end, known) = look::over(&over, &known);
            return no_call(marked, before, end, Some(known));
        }
    };
    let exchange = means.client.call(&step.request()).await;
    let after = means.clock.now();
    let steady_ms = means.clock.steady_ms();
    let mut ended = judged(
        marked,
        means.client.app_id(),
        &exchange,
        before,
        &after,
        means.timeout_ms,
        steady_ms,
    );
    let reply = exchange.answer.as_ref().ok();
    let app_id = means.client.app_id();
    step.keep(reply, app_id, &known, &mut ended.finish, after.wall_ms);
    ended
}

/// What ended without a call: a look for which nothing was asked, an upload whose key is known, a bot that is gone.
fn no_call(marked: &Marked, now: &Now, end: End, known: Option<String>) -> Ended {
    let judgement = Judgement {
        outcome: Outcome::NotSent,
        next: Next::Done,
        pause: None,
        bucket: None,
        breaker: BreakerEvent::None,
    };
    let record = record(marked, now, now, Outcome::NotSent, None);
    let mut ended = ended(
        marked,
        judgement,
        record,
        Fault::default(),
        now,
        None,
        String::new(),
    );
    ended.finish.end = end;
    ended.finish.progress = known;
    ended.refund = true;
    ended
}

/// An earlier process left this mark: nobody knows what became of its attempt.
pub(super) fn left(marked: &Marked, now: &Now, timeout_ms: i64) -> Ended {
    let subject = Subject {
        unknown_age_ms: age(marked, now),
        ..subject(marked, now, timeout_ms, None)
    };
    let judgement = judge::unknown_at_start(&subject);
    let record = Attempt {
        at_ms: marked.mark.wall_ms,
        ms: None,
        outcome: Outcome::Unknown,
        http: None,
        code: None,
        log_id: None,
        part: marked.part.as_ref().map(|part| part.n),
        rung: rung(marked),
    };
    let fault = doubt("the relay stopped while the attempt was under way");
    let mut ended = ended(marked, judgement, record, fault, now, None, String::new());
    ended.finish.counted = month::left(marked);
    if let End::Again { run_ms } = &mut ended.finish.end {
        // The time that passed since is wait enough, unless what was begun may still take effect.
        *run_ms = match judge::settles_late(subject.api) {
            true => now.wall_ms.max(
                marked
                    .mark
                    .wall_ms
                    .saturating_add(timeout_ms + judge::SETTLES_MS),
            ),
            false => now.wall_ms,
        };
        // The doubt that was judged is this mark's own: from here on it is the job's.
        let doubtful = judge::can_be_in_doubt(&subject);
        if doubtful && marked.head.unknown.is_none() && ended.finish.unknown == UnknownMove::Keep {
            ended.finish.unknown = UnknownMove::Begin(marked.mark.clone());
        }
    }
    ended
}

fn age(marked: &Marked, now: &Now) -> Option<i64> {
    let since = marked.head.unknown.as_ref().unwrap_or(&marked.mark);
    Some(now.age_ms(since.wall_ms, since.boot_ms, &since.boot_id))
}

fn subject(marked: &Marked, now: &Now, timeout_ms: i64, verified: Option<bool>) -> Subject {
    Subject {
        api: marked.head.kind.api(),
        seed: marked.id.seed(),
        on_doubt: marked.on_doubt,
        tries: marked.spent.tries,
        unsent: marked.spent.unsent,
        unclear: marked.spent.unclear,
        token_retries: marked.spent.token,
        unknown_age_ms: marked
            .head
            .unknown
            .as_ref()
            .map(|since| now.age_ms(since.wall_ms, since.boot_ms, &since.boot_id)),
        resent: marked.resent,
        verify: marked.head.verify,
        verified,
        can_lower: marked.on_refused == OnRefused::Degrade && marked.rung < feishu_im::RUNGS,
        timeout_ms,
    }
}

fn not_written(marked: &Marked, subject: &Subject, now: &Now) -> Ended {
    let judgement = Judgement {
        outcome: Outcome::NotSent,
        next: judge::doubt(subject),
        pause: None,
        bucket: None,
        breaker: BreakerEvent::None,
    };
    let fault = doubt("an attempt's outcome is not known, and it is too old to be repeated safely");
    let mut ended = ended(
        marked,
        judgement,
        record(marked, now, now, Outcome::NotSent, None),
        fault,
        now,
        None,
        String::new(),
    );
    ended.refund = true;
    ended
}

fn misfits(marked: &Marked, now: &Now, msg: String) -> Ended {
    let next = if marked.head.unknown.is_some() {
        Next::InDoubt
    } else {
        Next::Failed(FailClass::Caller)
    };
    let judgement = Judgement {
        outcome: Outcome::NotSent,
        next,
        pause: None,
        bucket: None,
        breaker: BreakerEvent::None,
    };
    let fault = Fault {
        class: FailClass::Caller.name().into(),
        msg,
        ..Fault::default()
    };
    let mut ended = ended(
        marked,
        judgement,
        record(marked, now, now, Outcome::NotSent, None),
        fault,
        now,
        None,
        String::new(),
    );
    ended.refund = true;
    ended
}

fn judged(
    marked: &Marked,
    app_id: &str,
    exchange: &Exchange,
    before: &Now,
    after: &Now,
    timeout_ms: i64,
    steady_ms: i64,
) -> Ended {
    let mut verdict = classify(exchange);
    let reply = exchange.answer.as_ref().ok();
    let kept = match (verdict.class, reply) {
        (Class::Done, Some(reply)) if reply.code == 0 && !marked.head.verify => {
            perform::kept(marked.head.api(), reply)
        }
        _ => None,
    };
    if verdict.class == Class::Done
        && reply.is_some_and(|reply| reply.code == 0)
        && kept.is_none()
        && !marked.head.verify
    {
        // Code 0 without the id that it makes: it may have happened, and under which id nobody knows.
        verdict.class = Class::Ambiguous;
    }
    if verdict.pause == Some(PauseScope::AppApi) && only_looks(marked) && !verdict.token {
        // What only looks for what became of another call is a help: the app may well be allowed all
        // else, so nothing is stopped and nobody is alarmed. The look says that it was refused.
        verdict.pause = None;
    }
    let looked = reply.filter(|_| marked.head.verify);
    let shown = looked.map(|reply| readback::shown(marked, reply, app_id));
    let shown = shown.unwrap_or_default();
    let kept = kept.or_else(|| {
        let receipt = shown.receipt.clone();
        receipt.map(|receipt| perform::Kept {
            receipt: Some(receipt),
            ..perform::Kept::default()
        })
    });
    let subject = subject(marked, after, timeout_ms, shown.verified);
    let mut judgement = judge::judge(&subject, &verdict, steady_ms);
    if is_own_trouble(exchange) {
        judgement.breaker = BreakerEvent::None;
    }
    let fault = fault(&judgement, &verdict, exchange);
    let record = record(marked, before, after, judgement.outcome, Some(exchange));
    let refund = judgement.outcome == Outcome::NotSent
        && matches!(
            exchange.answer,
            Err(Failure::NotSent { .. } | Failure::Token(_))
        );
    let msg = words(exchange);
    let mut ended = ended(marked, judgement, record, fault, after, kept, msg);
    ended.refund = refund;
    ended.finish.counted = month::counted(marked, exchange);
    ended.finish.answer = reply.and_then(|reply| answer(marked, reply, &ended.finish.end));
    if marked.head.verify {
        shown.turn(marked, &mut ended.finish, after.wall_ms);
    }
    if marked.head.kind == Kind::BatchProgress {
        follow::progress(marked, reply, &mut ended.finish, after.wall_ms);
    }
    if marked.head.kind.asks_reads() {
        follow::reads(marked, reply, &mut ended.finish, after.wall_ms);
    }
    ended
}

/// Feishu's answer for whoever called in Feishu's own form, where it is what the call came to. That a
/// repeat was refused because an attempt before it had done it is none: the call did what it should.
fn answer(marked: &Marked, reply: &Reply, end: &End) -> Option<String> {
    let proves = reply.code != 0 && marked.head.unknown.is_some();
    let is_it = match end {
        End::Done { .. } => !marked.head.verify && !proves,
        End::Failed { .. } => !marked.head.verify,
        End::InDoubt { .. } | End::Again { .. } => false,
    };
    if !is_it || !openapi::is_one(&marked.args) {
        return None;
    }
    let said = SaidAnswer {
        http: reply.http,
        log_id: reply.log_id.clone(),
        body: String::from_utf8_lossy(&reply.body).into_owned(),
    };
    serde_json::to_string(&said).ok()
}

fn only_looks(marked: &Marked) -> bool {
    marked.head.verify || marked.head.kind == Kind::History
}

/// Nothing was tried on the way to Feishu, so nothing is known of it.
fn is_own_trouble(exchange: &Exchange) -> bool {
    matches!(
        exchange.answer,
        Err(Failure::NotSent {
            kind: NotSentKind::File | NotSentKind::Request,
            ..
        })
    )
}

/// Feishu's words, or ours where there are none.
fn words(exchange: &Exchange) -> String {
    match &exchange.answer {
        Ok(reply) => format!("{} {}", reply.code, reply.msg),
        Err(Failure::Token(fault)) => format!("{} {}", fault.code, fault.msg),
        Err(Failure::NotSent { text, .. } | Failure::Unknown { text, .. }) => text.clone(),
        Err(Failure::NotJson { http, .. }) => format!("HTTP {http} without an answer of Feishu"),
    }
}

fn record(
    marked: &Marked,
    before: &Now,
    after: &Now,
    outcome: Outcome,
    exchange: Option<&Exchange>,
) -> Attempt {
    let reply = exchange.and_then(|exchange| exchange.answer.as_ref().ok());
    let http = match exchange.map(|exchange| &exchange.answer) {
        Some(Ok(reply)) => Some(reply.http),
        Some(Err(Failure::Unknown { http, .. })) => *http,
        Some(Err(Failure::NotJson { http, .. })) => Some(*http),
        Some(Err(Failure::Token(fault))) => Some(fault.http),
        Some(Err(Failure::NotSent { .. })) | None => None,
    };
    let token = exchange.and_then(|exchange| {
        if let Err(Failure::Token(fault)) = &exchange.answer {
            Some(fault.code)
        } else {
            None
        }
    });
    Attempt {
        at_ms: before.wall_ms,
        ms: Some((after.boot_ms - before.boot_ms).max(0)),
        outcome,
        http,
        code: reply.map(|reply| reply.code).or(token),
        log_id: exchange.and_then(|exchange| exchange.log_id.clone()),
        part: marked.part.as_ref().map(|part| part.n),
        rung: rung(marked),
    }
}

/// Said where a card went down.
fn rung(marked: &Marked) -> Option<u8> {
    (marked.rung > 0).then_some(marked.rung)
}

fn doubt(msg: &str) -> Fault {
    Fault {
        class: "doubt".into(),
        code: None,
        msg: msg.into(),
        hint: Some("look whether it arrived; then settle it as done or failed, or retry it".into()),
        who: Some("operator".into()),
    }
}

fn fault(judgement: &Judgement, verdict: &Verdict, exchange: &Exchange) -> Fault {
    let msg = match &exchange.answer {
        Ok(reply) => reply.msg.clone(),
        Err(Failure::Token(fault)) => fault.msg.clone(),
        Err(_) => words(exchange),
    };
    let code = exchange
        .answer
        .as_ref()
        .ok()
        .map(|reply| reply.code)
        .filter(|code| *code != 0);
    match judgement.next {
        Next::Failed(class) => Fault {
            class: class.name().into(),
            code,
            msg,
            hint: verdict.row.map(|row| row.meaning.to_owned()),
            who: verdict
                .row
                .map(|row| format!("{:?}", row.who).to_lowercase()),
        },
        Next::InDoubt => Fault {
            code,
            ..doubt(&format!("the outcome of an attempt is not known: {msg}"))
        },
        // Why it goes lower is kept with the job.
        Next::Lower => Fault {
            code,
            msg,
            ..Fault::default()
        },
        Next::Done | Next::Again(_) => Fault::default(),
    }
}

/// A refusal of the content holds for every part of a batch; one of its people does not.
fn speaks_of_content(api: Api, fault: &Fault) -> bool {
    const OF_PEOPLE: [i64; 2] = [10_003, 11_101];
    api == Api::BatchSend
        && fault.class == FailClass::Caller.name()
        && fault.code.is_some_and(|code| !OF_PEOPLE.contains(&code))
}

fn ended(
    marked: &Marked,
    judgement: Judgement,
    record: Attempt,
    fault: Fault,
    now: &Now,
    kept: Option<perform::Kept>,
    msg: String,
) -> Ended {
    let api = marked.head.kind.api();
    let mut spent = marked.spent;
    let mut unknown = UnknownMove::Keep;
    let (mut verify, mut resent) = (false, marked.resent);
    let mut degraded = None;
    let kept = kept.unwrap_or_default();
    let end = match judgement.next {
        Next::Done => End::Done {
            receipt: kept.receipt,
            message_id: kept.message_id,
        },
        Next::Failed(class) => {
            let fault = Fault {
                class: class.name().into(),
                ..fault
            };
            End::Failed {
                content: speaks_of_content(api, &fault),
                fault,
            }
        }
        Next::InDoubt => {
            unknown = began(marked, now, &judgement);
            End::InDoubt { fault }
        }
        Next::Lower => {
            degraded = Some(Degraded::to(marked.rung + 1, fault.code, fault.msg));
            spent.token = 0;
            End::Again {
                run_ms: now.wall_ms,
            }
        }
        Next::Again(again) => {
            spend(&mut spent, again.spend);
            resent |= again.spend == Spend::Resend;
            verify = again.verify;
            unknown = match again.unknown {
                judge::UnknownMove::Keep => UnknownMove::Keep,
                judge::UnknownMove::Begin => UnknownMove::Begin(marked.mark.clone()),
                judge::UnknownMove::Renew => UnknownMove::Begin(moment(now)),
            };
            End::Again {
                run_ms: now.wall_ms.saturating_add(again.after_ms),
            }
        }
    };
    Ended {
        finish: Finish {
            head: marked.head.clone(),
            attempt: marked.attempt,
            part: marked.part.as_ref().map(|part| part.n),
            end,
            record,
            spent,
            unknown,
            verify,
            resent,
            degraded,
            counted: None,
            progress: None,
            readers: Vec::new(),
            answer: None,
        },
        judgement,
        msg,
        refund: false,
        chat: kept.chat,
    }
}

/// A job that ends in doubt remembers since when, for whoever retries it.
fn began(marked: &Marked, now: &Now, judgement: &Judgement) -> UnknownMove {
    match (&marked.head.unknown, judgement.outcome) {
        (None, Outcome::Unknown) => UnknownMove::Begin(marked.mark.clone()),
        (None, _) => UnknownMove::Begin(moment(now)),
        (Some(_), _) => UnknownMove::Keep,
    }
}

fn moment(now: &Now) -> Moment {
    Moment {
        wall_ms: now.wall_ms,
        boot_ms: now.boot_ms,
        boot_id: Arc::clone(&now.boot_id),
    }
}

/// A token is retried once in a row; any other end of an attempt shows that the token was taken.
fn spend(spent: &mut Spent, by: Spend) {
    if by != Spend::Token {
        spent.token = 0;
    }
    match by {
        Spend::None | Spend::Resend => {}
        Spend::Try => spent.tries += 1,
        Spend::Unsent => spent.unsent += 1,
        Spend::Unclear => spent.unclear += 1,
        Spend::Token => spent.token += 1,
    }
}

/// One line for the log: the id and how it ended, never content.
pub(super) fn log(marked: &Marked, ended: &Ended) {
    let (id, kind, outcome) = (
        marked.id,
        marked.head.kind.name(),
        ended.judgement.outcome.name(),
    );
    let code = ended.finish.record.code;
    match &ended.finish.end {
        End::Done { .. } => tracing::debug!(%id, kind, outcome, "done"),
        End::Again { .. } if ended.finish.degraded.is_some() => {
            tracing::info!(%id, kind, outcome, code, "refused for its form: goes on in a simpler one")
        }
        End::Again { .. } => tracing::debug!(%id, kind, outcome, code, "will be tried again"),
        End::Failed { fault, .. } => {
            tracing::warn!(%id, kind, outcome, code, class = fault.class, "failed")
        }
        End::InDoubt { .. } => {
            tracing::warn!(%id, kind, outcome, code, "in doubt: a person must settle it")
        }
    }
}
