//! `GET /v1/events`: every change of state, as server-sent events.
//!
//! The head is answered at once. Each change is an event `job`, with the id under which a later
//! request goes on (`Last-Event-ID`): first what has settled since, from the table, then what
//! happens, with neither a gap nor a double between. Where changes were missed all the same an event
//! `gap` says why. A comment keeps a quiet stream alive, and carries the id of the place it is at.
//! A stream holds a few events at a time: who does not read them gets no more, and is cut off in the
//! end; nobody waits for it. Streams end at once when the relay stops.
//! Not here: what is told (`store`).

use std::convert::Infallible;
use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Uri};
use axum::response::Response;
use futures_util::stream;
use serde_json::{Map, Value, json};
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::CancellationToken;

use crate::http::Relay;
use crate::http::auth::Caller;
use crate::http::openapi::Asking;
use crate::http::params::{Choosing, LastEventId};
use crate::http::problem::Problem;
use crate::http::query::Words;
use crate::job::{Flaw, Time};
use crate::store::{Event, Events, Gap, Heard, News};

/// The most streams at one time: they must leave connections to those who bring jobs.
pub(super) const STREAMS_MAX: usize = 256;

/// How long nothing is said before a comment shows that the stream is alive.
const QUIET: Duration = Duration::from_secs(15);

/// How long a client whose stream broke off should wait before it comes again, milliseconds.
const RETRY_MS: u32 = 2000;

/// Events in one piece of the body. The connection holds some pieces, so this bounds its memory.
const AT_ONCE: usize = 16;

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// Asks proxies not to hold events back.
const ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// `GET /v1/events[?state=&kind=&app=&lane=&client=&to=&key=&message_id=&code=&label.NAME=&last_event_id=]`
#[utoipa::path(
    get,
    path = "/v1/events",
    summary = "Every change of state, as it happens",
    description = "Events `job` (their `data` is an object: a job without its content) and `gap` (changes were missed). It ends with the relay; a client comes again with the last id, and what has settled since is told first.",
    params(Choosing, LastEventId),
    responses((status = 200, description = "A stream that ends with the relay.", body = str, content_type = "text/event-stream"), Asking),
)]
pub(super) async fn events(
    State(relay): State<Arc<Relay>>,
    Extension(caller): Extension<Caller>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let mut words = Words::of(&uri)?;
    let asked = words.last_event_id();
    let filter = words.choice();
    words.finish()?;
    let heard = heard(&headers, asked)?;
    let place = Arc::clone(&relay.streams).try_acquire_owned();
    let place = place.map_err(|_| {
        Problem::unavailable(format!("{STREAMS_MAX} streams of events are open already"))
    })?;
    let events = relay.state.store.listen(
        filter,
        caller.apps().map(<[String]>::to_vec),
        heard.as_ref(),
    );
    let telling = Telling {
        events: events.await?,
        stop: relay.stop.clone(),
        relay,
        caller,
        opened: false,
        _place: place,
    };
    let pieces = stream::unfold(telling, |mut telling| async move {
        let piece = telling.piece().await?;
        Some((Ok::<_, Infallible>(piece), telling))
    });
    let mut response = Response::new(Body::from_stream(pieces));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(ACCEL_BUFFERING, HeaderValue::from_static("no"));
    Ok(response)
}

/// Where the client was, from the header or from the query.
fn heard(headers: &HeaderMap, asked: Option<String>) -> Result<Option<Heard>, Problem> {
    let mut given = headers.get_all(LAST_EVENT_ID).iter();
    let header = match (given.next(), given.next()) {
        (None, _) => "",
        (Some(header), None) => header.to_str().unwrap_or("?").trim(),
        (Some(_), Some(_)) => {
            return Err(Problem::malformed("there are two Last-Event-ID headers"));
        }
    };
    // A client that comes again sends the header; what stands in its address is older.
    let (pointer, text) = match (header, asked) {
        ("", None) => return Ok(None),
        ("", Some(asked)) => ("?last_event_id", asked),
        (header, _) => ("Last-Event-ID", header.to_owned()),
    };
    let heard = text.parse().map_err(|()| {
        Problem::flawed(vec![Flaw {
            pointer: String::from(pointer),
            detail: String::from("is not the id of an event of this relay"),
        }])
    })?;
    Ok(Some(heard))
}

/// One stream.
struct Telling {
    events: Events,
    stop: CancellationToken,
    relay: Arc<Relay>,
    caller: Caller,
    opened: bool,
    _place: OwnedSemaphorePermit,
}

impl Telling {
    /// The next piece of the body; `None`: the stream ends here.
    async fn piece(&mut self) -> Option<Bytes> {
        if !std::mem::replace(&mut self.opened, true) {
            let place = self.events.place();
            return Some(format!(": feishu-relay\nretry: {RETRY_MS}\nid: {place}\n\n").into());
        }
        let piece = self.next().await?;
        // A reload may have taken the client away, or changed what it may see, since it came.
        let clients = self.relay.state.clients();
        self.caller.is_still_of(&clients).then_some(piece)
    }

    async fn next(&mut self) -> Option<Bytes> {
        tokio::select! {
            biased;
            () = self.stop.cancelled() => None,
            news = self.events.next(AT_ONCE) => match news {
                Ok(news) => Some(self.write(&news).into()),
                Err(error) => {
                    tracing::warn!(%error, "a stream of events broke off: the store did not answer");
                    None
                }
            },
            () = tokio::time::sleep(QUIET) => {
                Some(format!(": still here\nid: {}\n\n", self.events.place()).into())
            }
        }
    }

    fn write(&self, news: &[News]) -> String {
        let mut text = String::new();
        for one in news {
            // Writing to a string cannot fail.
            let _ = match one {
                News::Event(event) => {
                    let id = self.events.id_of(event);
                    write!(text, "event: job\nid: {id}\ndata: {}\n\n", data(event))
                }
                News::Gap(gap) => write!(text, "event: gap\ndata: {}\n\n", said(*gap)),
            };
        }
        text
    }
}

/// An event as it is answered: as in the list, without what the job says and what was tried.
fn data(event: &Event) -> Value {
    let mut map = Map::new();
    map.insert(String::from("id"), json!(event.id));
    map.insert(String::from("state"), json!(event.state));
    map.insert(String::from("at"), json!(Time(event.at_ms)));
    map.insert(String::from("kind"), json!(event.kind.name()));
    map.insert(String::from("app"), json!(event.app));
    map.insert(String::from("client"), json!(event.client));
    map.insert(String::from("labels"), json!(event.labels));
    let some = [
        ("to", json!(event.to)),
        ("lane", json!(event.lane)),
        ("key", json!(event.key)),
        ("parent", json!(event.parent)),
        ("waiting_for", json!(event.waiting_for)),
        ("message_id", json!(event.message_id)),
        ("class", json!(event.class)),
        ("code", json!(event.code)),
    ];
    let some = some.into_iter().filter(|(_, value)| !value.is_null());
    map.extend(some.map(|(name, value)| (String::from(name), value)));
    Value::Object(map)
}

/// Why changes were missed, and what is to be done.
fn said(gap: Gap) -> Value {
    let (why, detail) = match gap {
        Gap::Lagged => (
            "lagged",
            "read too slowly: what settled follows, other changes are lost",
        ),
        Gap::Purged => (
            "purged",
            "some of what settled since may be purged: what is kept follows",
        ),
        Gap::Foreign => (
            "foreign",
            "the last id is not of this database as it is now: nothing is replayed, GET /v1/jobs lists what is there",
        ),
    };
    json!({ "why": why, "detail": detail })
}
