//! Makes calls that are no jobs: one paced call, its answer handed on as it comes.
//!
//! Promises: nothing leaves without a pass (`core::calls`), and each pass is given back, however the call ends; what
//! reads is tried a few times more within a bounded time, anything else is made once; each call that may count is
//! counted, one that was given up included.
//! Not here: who may call what (`http`), what a code means (`feishu-im`).

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use feishu_im::{
    Answer, Class, Exchange, Fault, NotSentKind, Passing, PauseScope, Streamed, Verdict, classify,
};
use futures_util::stream;
use http::StatusCode;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, timeout_at};

use crate::dispatch::breaker::BreakerEvent;
use crate::dispatch::core::{Call, CallTold, Entered, Pass, Stop};
use crate::dispatch::handle::Dispatcher;
use crate::dispatch::judge;
use crate::dispatch::month;
use crate::job::{Gate, GateAnswer, GateBody, GateCall, GateFault, GateResult, Outcome};
use crate::store::{Counted, MonthWord, Passed, Store, StoreError};

/// How long a call waits for its slot, repeats included.
const WAIT: Duration = Duration::from_secs(30);
/// So often what reads is tried in all.
const TRIES: u32 = 3;
/// Before the first repeat; doubles.
const REPEAT_GAP: Duration = Duration::from_millis(250);
/// When there may be room again, if nobody knows, seconds.
const FULL_S: u64 = 1;

impl Gate for Dispatcher {
    fn call(self: Arc<Self>, call: GateCall) -> Pin<Box<dyn Future<Output = GateResult> + Send>> {
        Box::pin(make(self, call))
    }
}

async fn make(dispatcher: Arc<Dispatcher>, call: GateCall) -> GateResult {
    let Some(app) = dispatcher.core().app_of(call.app) else {
        return Err(GateFault::Flawed(String::from("there is no such app")));
    };
    let who = Call {
        app,
        api: call.read,
    };
    let passing = Passing {
        api: call.read,
        method: call.method,
        path: call.path,
        query: call.query,
        headers: call.headers,
        body: call.body,
    };
    let until = Instant::now() + WAIT;
    let mut place = Place::take(&dispatcher, who, until).await?;
    let mut tries = Tries::default();
    loop {
        let client = dispatcher.clients()[app].clone();
        let streamed = client.stream(&passing).await;
        let verdict = classify(&streamed.exchange);
        place.ended(&streamed.exchange, &verdict, tries.made > 0);
        let Some(gap) = tries.next(&streamed.exchange, &verdict, who.api.is_some(), until) else {
            return handed_on(streamed, place);
        };
        drop(place);
        sleep(gap).await;
        place = match Place::take(&dispatcher, who, until).await {
            Ok(place) => place,
            // What Feishu said last says more than that it is not asked again.
            Err(_) => return handed_on(streamed, Place::none(&dispatcher, who)),
        };
    }
}

/// How often a call was made, and for what it was repeated.
#[derive(Debug, Default)]
struct Tries {
    made: u32,
    token: bool,
}

impl Tries {
    /// The gap before the call is made again; `None`: this was it.
    fn next(
        &mut self,
        exchange: &Exchange,
        verdict: &Verdict,
        reads: bool,
        until: Instant,
    ) -> Option<Duration> {
        self.made += 1;
        // A refused token means that nothing was done, whatever the call is.
        if verdict.class == Class::Token && !exchange.fresh_token_same && !self.token {
            self.token = true;
            return Some(Duration::ZERO);
        }
        if !reads || self.made >= TRIES || matches!(exchange.answer, Err(Fault::Token(_))) {
            return None;
        }
        let gap = REPEAT_GAP * 2_u32.pow(self.made - 1);
        let asked = Duration::from_millis(verdict.wait_ms.unwrap_or(0).max(0).unsigned_abs());
        let gap = match verdict.class {
            Class::Limited | Class::Retry | Class::NotSent | Class::Ambiguous => gap.max(asked),
            Class::Done
            | Class::Token
            | Class::Caller
            | Class::Gone
            | Class::Admin
            | Class::Unclear => return None,
        };
        (Instant::now() + gap < until).then_some(gap)
    }
}

/// The answer, or why there is none.
fn handed_on(streamed: Streamed, place: Place) -> GateResult {
    let Streamed { exchange, answer } = streamed;
    if let Some(answer) = answer {
        let status = StatusCode::from_u16(answer.http).unwrap_or(StatusCode::BAD_GATEWAY);
        return Ok(GateAnswer {
            status,
            headers: answer.headers.clone(),
            body: body(answer, place),
        });
    }
    Err(match exchange.answer {
        Err(Fault::NotSent {
            kind: NotSentKind::Request | NotSentKind::File,
            text,
            ..
        }) => GateFault::Flawed(text),
        Err(Fault::NotSent {
            kind: NotSentKind::Connect,
            ..
        }) => GateFault::Stopped(words(Stop::Unreachable)),
        Err(Fault::NotSent {
            kind: NotSentKind::Token,
            ..
        }) => GateFault::Stopped(String::from("no token of Feishu's can be had now")),
        Err(Fault::Token(refused)) => GateFault::Stopped(words(Stop::Refused(refused.code))),
        Err(Fault::Unknown { .. } | Fault::NotJson { .. }) | Ok(_) => GateFault::Lost,
    })
}

/// Pieces as they are taken; the call's place is free when this is dropped.
fn body(answer: Answer, place: Place) -> GateBody {
    Box::pin(stream::try_unfold(
        (answer, place),
        async |(mut answer, place)| match answer.chunk().await {
            Ok(Some(piece)) => Ok(Some((piece, (answer, place)))),
            Ok(None) => Ok(None),
            Err(broken) => Err(io::Error::other(broken)),
        },
    ))
}

/// Why nothing goes, for the client.
fn words(stop: Stop) -> String {
    match stop {
        Stop::Paused => String::from("the app is paused"),
        Stop::Refused(code) => format!("Feishu refuses every call of the app with code {code}"),
        Stop::Lost => String::from("Feishu's answers to this call are lost"),
        Stop::Unreachable => String::from("Feishu cannot be reached"),
        Stop::Month => {
            String::from("the rest of the month's calls is kept for jobs of priority high")
        }
        Stop::Ending => String::from("the relay is stopping"),
    }
}

/// A call's place among those under way, and the pass of the attempt that is being made.
struct Place {
    dispatcher: Arc<Dispatcher>,
    call: Call,
    pass: Option<Pass>,
    taken: bool,
}

impl Place {
    /// Waits for a pass, at most until then.
    async fn take(
        dispatcher: &Arc<Dispatcher>,
        call: Call,
        until: Instant,
    ) -> Result<Place, GateFault> {
        let entered = {
            let steady_ms = dispatcher.clock.steady_ms();
            dispatcher.core().enter(call, steady_ms)
        };
        let pass = match entered {
            Entered::Goes(pass) => Ok(pass),
            Entered::Stopped(stop) => Err(stop),
            Entered::Full => return Err(GateFault::Full { wait_s: FULL_S }),
            Entered::Waits(comes) => {
                dispatcher.wake.notify_one();
                let mut queued = Queued { dispatcher, comes };
                match timeout_at(until, &mut queued.comes).await {
                    Ok(Ok(turn)) => turn,
                    Ok(Err(_)) => Err(Stop::Ending),
                    Err(_) => return Err(GateFault::Full { wait_s: FULL_S }),
                }
            }
        };
        let pass = pass.map_err(|stop| GateFault::Stopped(words(stop)))?;
        Ok(Place {
            dispatcher: Arc::clone(dispatcher),
            call,
            pass: Some(pass),
            taken: true,
        })
    }

    /// For an answer whose place was given back.
    fn none(dispatcher: &Arc<Dispatcher>, call: Call) -> Place {
        Place {
            dispatcher: Arc::clone(dispatcher),
            call,
            pass: None,
            taken: false,
        }
    }

    /// The attempt came to this. `again`: it repeats one.
    fn ended(&mut self, exchange: &Exchange, verdict: &Verdict, again: bool) {
        let now_ms = self.dispatcher.clock.steady_ms();
        let outcome = outcome(verdict);
        let not_sent = matches!(
            exchange.answer,
            Err(Fault::NotSent { .. } | Fault::Token(_))
        );
        let own_trouble = matches!(
            exchange.answer,
            Err(Fault::NotSent {
                kind: NotSentKind::Request | NotSentKind::File,
                ..
            })
        );
        let lost = month::lost(exchange);
        let reply = exchange.answer.as_ref().ok();
        let code = verdict.row.map(|row| row.code);
        let msg = reply.map_or("", |reply| reply.msg.as_str());
        let pause = verdict.pause.filter(|_| verdict.class == Class::Admin);
        let mut event = judge::breaker_event(verdict);
        if own_trouble {
            event = BreakerEvent::None;
        }
        let told = CallTold {
            event,
            refund: not_sent,
            counted: lost.is_some(),
            bucket: judge::bucket(verdict, now_ms),
            pause: pause.map(|scope| (scope, code.unwrap_or(0), msg)),
            spoke: matches!(outcome, Outcome::Done | Outcome::Refused),
        };
        let counted = lost.map(|lost| Counted { again, lost });
        self.give_back(&told, outcome, reply.map(|reply| reply.code), counted);
    }

    fn give_back(
        &mut self,
        told: &CallTold<'_>,
        outcome: Outcome,
        code: Option<i64>,
        counted: Option<Counted>,
    ) {
        let Some(pass) = self.pass.take() else {
            return;
        };
        let steady_ms = self.dispatcher.clock.steady_ms();
        let app = {
            let mut core = self.dispatcher.core();
            core.call_ended(pass, told, steady_ms);
            core.apps[self.call.app].id
        };
        let cause = match self.call.api {
            Some(_) => "read",
            None => "direct",
        };
        self.dispatcher.tally.add(Passed {
            app,
            cause,
            outcome,
            code,
            counted,
        });
        self.dispatcher.wake.notify_one();
    }
}

impl Drop for Place {
    /// Whoever wanted it went away: what was under way is lost, and may have been done.
    fn drop(&mut self) {
        let lost = Counted {
            again: false,
            lost: true,
        };
        let told = CallTold {
            event: BreakerEvent::None,
            refund: false,
            counted: true,
            bucket: None,
            pause: None,
            spoke: false,
        };
        self.give_back(&told, Outcome::Unknown, None, Some(lost));
        if self.taken {
            self.dispatcher.core().call_over();
            self.dispatcher.wake.notify_one();
        }
    }
}

/// A place in the queue; a pass that came while nobody waited any more is given back.
struct Queued<'a> {
    dispatcher: &'a Arc<Dispatcher>,
    comes: oneshot::Receiver<Result<Pass, Stop>>,
}

impl Drop for Queued<'_> {
    fn drop(&mut self) {
        self.comes.close();
        if let Ok(Ok(pass)) = self.comes.try_recv() {
            let steady_ms = self.dispatcher.clock.steady_ms();
            self.dispatcher.core().call_not_made(pass, steady_ms);
            self.dispatcher.wake.notify_one();
        }
    }
}

/// How it ended, in the words of attempts.
fn outcome(verdict: &Verdict) -> Outcome {
    match verdict.class {
        Class::Done => Outcome::Done,
        Class::Limited => Outcome::Limited,
        Class::NotSent | Class::Token => Outcome::NotSent,
        Class::Ambiguous => Outcome::Unknown,
        Class::Admin if matches!(verdict.pause, Some(PauseScope::App | PauseScope::Tenant)) => {
            Outcome::Limited
        }
        Class::Caller | Class::Gone | Class::Admin | Class::Retry | Class::Unclear => {
            Outcome::Refused
        }
    }
}

/// Calls that ended and are not on disk, alike ones together: how many kinds there are is bounded by codes and apps.
#[derive(Debug, Default)]
pub(super) struct Tally(Mutex<Vec<(Passed, u64)>>);

/// What became of writing them down.
pub(super) type Tallied = Result<(), (Vec<(Passed, u64)>, StoreError)>;

impl Tally {
    fn add(&self, call: Passed) {
        self.put_back(vec![(call, 1)]);
    }

    fn take(&self) -> Vec<(Passed, u64)> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// What could not be written is kept.
    pub(super) fn put_back(&self, calls: Vec<(Passed, u64)>) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (call, times) in calls {
            match kept.iter_mut().find(|(one, _)| *one == call) {
                Some((_, all)) => *all += times,
                None => kept.push((call, times)),
            }
        }
    }
}

/// Writes down what there is; `None`: there is nothing.
pub(super) fn write_down(
    dispatcher: &Dispatcher,
    store: &Store,
) -> Option<impl Future<Output = Tallied> + Send + 'static> {
    let calls = dispatcher.tally.take();
    let store = store.clone();
    (!calls.is_empty()).then_some(async move {
        match store.say_of_month(MonthWord::Passed(calls.clone())).await {
            Ok(_) => Ok(()),
            Err(error) => Err((calls, error)),
        }
    })
}

/// The last of them, at the end.
pub(super) async fn write_last(dispatcher: &Dispatcher, store: &Store) {
    if let Some(writing) = write_down(dispatcher, store)
        && let Err((_, error)) = writing.await
    {
        tracing::warn!(%error, "calls are missing in the month's ledger");
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Place").finish_non_exhaustive()
    }
}
