//! What a job that came in Feishu's own form came to, as Feishu would say it.
//!
//! Settled: Feishu's answer, status and body as they came. Not settled: a promise, the job's name where
//! Feishu's id will stand.

use std::time::Duration;

use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::http::Relay;
use crate::http::openapis::{CANCELED, EXPIRED, FAILED, Refusal, said, whole};
use crate::job::{AppId, JobId, Kind, Priority, Reach, State, openapi};
use crate::store::{Said, Spares, StoreError};

/// Says that an answer is a promise, and what became of the job so far.
pub(super) const STATE: HeaderName = HeaderName::from_static("x-relay-state");

/// Feishu's name of its trace.
const LOG_ID: HeaderName = HeaderName::from_static("x-tt-logid");

/// So often whoever waits looks whether the app was stopped meanwhile.
const LOOK: Duration = Duration::from_secs(1);

/// How far back it is followed why a job was canceled.
const CAUSES_MAX: usize = 32;

/// Where a job stands.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) app: AppId,
    pub(super) app_name: String,
    pub(super) kind: Kind,
    pub(super) lane: Option<String>,
    pub(super) priority: Priority,
}

impl Relay {
    /// The job once it is settled or in doubt, else as it is when the wait is over; at once while its place
    /// is stopped.
    ///
    /// # Errors
    /// The store cannot answer.
    pub(super) async fn settled(
        &self,
        id: JobId,
        wait: Duration,
        place: &Place,
    ) -> Result<Option<Said>, StoreError> {
        let store = &self.state.store;
        // Before the first look, so that no change falls between the two.
        let mut watch = store.watch(id);
        let until = Instant::now() + wait;
        loop {
            let now = store.said(&[id]).await?.pop();
            let pending = now.as_ref().is_some_and(|said| said.state.is_pending());
            let is_over = Instant::now() >= until || self.stop.is_cancelled();
            if !pending || is_over || self.is_stopped(place).await? {
                return Ok(now);
            }
            tokio::select! {
                () = watch.changed() => {}
                () = tokio::time::sleep_until(until.min(Instant::now() + LOOK)) => {}
                () = self.stop.cancelled() => {}
            }
        }
    }

    /// Does anything that was paused keep a job from there?
    async fn is_stopped(&self, place: &Place) -> Result<bool, StoreError> {
        let reach = Reach {
            app: Some(place.app),
            lane: place.lane.as_deref().map(Into::into),
            kind: Some(place.kind),
        };
        let api = place.kind.api().name();
        let pauses = self.state.store.paused(&reach).await?;
        Ok(pauses.iter().any(|pause| {
            let spared = match pause.spares {
                Spares::Nobody => false,
                Spares::Jobs => true,
                Spares::High => place.priority == Priority::High,
            };
            let here = |is: &str, mine: &str| is.is_empty() || is == mine;
            !spared
                && here(&pause.app, &place.app_name)
                && here(&pause.lane, place.lane.as_deref().unwrap_or_default())
                && here(&pause.api, api)
        }))
    }

    /// What is answered for a job as it is now.
    pub(super) async fn told(&self, now: &Said) -> Response {
        match now.state {
            State::Queued | State::Sending => unsettled(now, "queued"),
            State::InDoubt => unsettled(now, "in_doubt"),
            State::Done => self.done(now).await,
            State::Failed | State::Expired | State::Canceled => self.refused(now).await,
        }
    }

    async fn done(&self, now: &Said) -> Response {
        let receipt = now.receipt.as_deref().unwrap_or("{}");
        // What a newer one carried gets its answer.
        let folded: Option<Value> = serde_json::from_str(receipt).ok();
        let carrier = folded.as_ref().and_then(|receipt| {
            let carrier = receipt.get("folded_into")?.as_str()?;
            carrier.parse::<JobId>().ok()
        });
        if let Some(carrier) = carrier {
            let carrier = self.state.store.said(&[carrier]).await;
            return match carrier.unwrap_or_default().pop() {
                Some(carrier) => as_it_came(&carrier),
                None => said(StatusCode::OK, &success(&json!({}))),
            };
        }
        as_it_came(now)
    }

    /// The refusal of a job that ended without being done; of one that was canceled because another did,
    /// that one's.
    pub(super) async fn refused(&self, now: &Said) -> Response {
        let mut cause = now.clone();
        for _ in 0..CAUSES_MAX {
            if cause.state != State::Canceled {
                break;
            }
            let named = cause.args.as_deref().map(openapi::named);
            let above = self.state.store.said(&named.unwrap_or_default()).await;
            let mut above = above.unwrap_or_default().into_iter();
            match above.find(is_refused) {
                Some(above) => cause = above,
                None => break,
            }
        }
        let refuse = |code, msg: &str| Refusal::new(StatusCode::BAD_REQUEST, code, msg);
        match cause.state {
            State::Expired => refuse(EXPIRED, "it expired before it was sent").into_response(),
            State::Canceled => {
                refuse(CANCELED, "it was canceled before it was sent").into_response()
            }
            _ if cause.answer.is_some() => as_it_came(&cause),
            _ => {
                let fault = cause.fault.unwrap_or_default();
                refuse(fault.code.unwrap_or(FAILED), &fault.msg).into_response()
            }
        }
    }
}

/// Will it not be done any more?
pub(super) fn is_refused(said: &Said) -> bool {
    said.state.is_settled() && said.state != State::Done
}

/// Feishu's answer; of a job that came to its end in another way, what is known, in the same shape.
fn as_it_came(now: &Said) -> Response {
    let Some(answer) = &now.answer else {
        let receipt = now.receipt.as_deref().unwrap_or("{}");
        let data: Option<&RawValue> = serde_json::from_str(receipt).ok();
        return said(StatusCode::OK, &success(&json!(data)));
    };
    let http = StatusCode::from_u16(answer.http).unwrap_or(StatusCode::OK);
    let mut response = whole(http, answer.body.clone());
    let log_id = answer.log_id.as_deref().map(HeaderValue::try_from);
    if let Some(Ok(log_id)) = log_id {
        response.headers_mut().insert(LOG_ID, log_id);
    }
    response
}

fn success(data: &Value) -> Value {
    json!({"code": 0, "msg": "success", "data": data})
}

fn unsettled(now: &Said, state: &'static str) -> Response {
    let data = openapi::promise(now.kind, now.id, now.args.as_deref());
    promised(&data, state)
}

/// A job that is on disk, of which nothing else can be said.
pub(super) fn promised(data: &Value, state: &'static str) -> Response {
    let mut response = said(StatusCode::OK, &success(data));
    let headers = response.headers_mut();
    headers.insert(STATE, HeaderValue::from_static(state));
    response
}
