//! Bodies: read within bounds of size, time and memory, or put away so that the refusal is heard.
//!
//! A client that is still sending does not read; if the connection closed on it, it would see a
//! broken pipe instead of the answer. So what a handler left unread is read and thrown away, up to a
//! bound, before the answer goes out.
//! Not here: what a body says (`json`).

use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, EXPECT};
use axum::http::{HeaderMap, Request};
use futures_util::FutureExt;
use http_body_util::BodyExt;
use hyper::body::{Frame, SizeHint};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::http::problem::Problem;

/// Bytes of all bodies that are being read or parsed at one time.
pub(super) const ROOM_BYTES: usize = 64 << 20;

/// How long a body may pause.
const IDLE: Duration = Duration::from_secs(30);

/// How long a body may take.
pub(super) const WHOLE: Duration = Duration::from_secs(600);

/// How long a body may still take when the relay stops.
const WHEN_STOPPING: Duration = Duration::from_millis(500);

/// How much of a refused body is read so that the refusal is heard.
const DRAIN_BYTES_MAX: usize = 8 << 20;

/// How long that may take.
const DRAIN: Duration = Duration::from_secs(2);

/// A body that two may read, one after the other: the handler, then whoever puts the rest away.
#[derive(Clone, Debug)]
pub(super) struct Lent {
    body: Arc<Mutex<Body>>,
    touched: Arc<AtomicBool>,
    /// The client sends its body only when it is asked for it.
    on_demand: bool,
}

impl Lent {
    /// Takes the body out of `request` and puts a share of it back.
    pub(super) fn lend<B>(request: Request<B>) -> (Lent, Request<Body>)
    where
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<axum::BoxError>,
    {
        let (head, body) = request.into_parts();
        let lent = Lent {
            body: Arc::new(Mutex::new(Body::new(body))),
            touched: Arc::default(),
            on_demand: head.headers.contains_key(EXPECT),
        };
        let share = Body::new(lent.clone());
        (lent, Request::from_parts(head, share))
    }

    /// Reads what is left, within bounds; false: there is more, so the connection must close.
    pub(super) async fn put_away(mut self, stop: &CancellationToken) -> bool {
        if self.is_end_stream() {
            return true;
        }
        // Asking for a body only to throw it away is worse than closing.
        if self.on_demand && !self.touched.load(Ordering::Relaxed) {
            return false;
        }
        let until = Instant::now() + DRAIN;
        let mut left = DRAIN_BYTES_MAX;
        loop {
            let frame = tokio::select! {
                frame = timeout_at(until, self.frame()) => frame,
                () = stop.cancelled() => return false,
            };
            match frame {
                Ok(None) => return true,
                Ok(Some(Ok(frame))) => {
                    let bytes = frame.data_ref().map_or(0, Bytes::len);
                    match left.checked_sub(bytes) {
                        Some(rest) => left = rest,
                        None => return false,
                    }
                }
                Ok(Some(Err(_))) | Err(_) => return false,
            }
        }
    }
}

impl HttpBody for Lent {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        self.touched.store(true, Ordering::Relaxed);
        let mut body = self.body.lock().unwrap_or_else(PoisonError::into_inner);
        Pin::new(&mut *body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        let body = self.body.lock().unwrap_or_else(PoisonError::into_inner);
        body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let body = self.body.lock().unwrap_or_else(PoisonError::into_inner);
        body.size_hint()
    }
}

/// A body in memory, with its share of the room; the share is given back when this is dropped.
#[derive(Debug)]
pub(super) struct Whole {
    /// All of it.
    pub(super) bytes: Vec<u8>,
    _share: Option<OwnedSemaphorePermit>,
}

/// Reads `body`, at most `bytes_max` of it.
///
/// # Errors
/// 413: it is larger. 408: it came too slowly. 503: too many bodies are being read, or the relay
/// stops. 400: it broke off.
pub(super) async fn read(
    headers: &HeaderMap,
    mut body: Body,
    bytes_max: u64,
    room: &Arc<Semaphore>,
    stop: &CancellationToken,
) -> Result<Whole, Problem> {
    let announced = headers
        .get(CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|bytes| bytes > bytes_max) {
        return Err(Problem::too_large(bytes_max));
    }
    let until = Instant::now() + WHOLE;
    let mut whole = Whole {
        bytes: Vec::new(),
        _share: None,
    };
    // Most bodies came with their head: no timer is needed for them.
    match body.frame().now_or_never() {
        None => {}
        Some(None) => return Ok(whole),
        Some(Some(Err(_))) => return Err(broken_off()),
        Some(Some(Ok(frame))) => {
            whole.take(frame.into_data().unwrap_or_default(), bytes_max, room)?;
            if body.is_end_stream() {
                return Ok(whole);
            }
        }
    }
    let mut stopped = pin!(stopped(stop));
    while let Some(bytes) = next(&mut body, until, stopped.as_mut()).await? {
        whole.take(bytes, bytes_max, room)?;
    }
    Ok(whole)
}

impl Whole {
    fn take(&mut self, bytes: Bytes, bytes_max: u64, room: &Arc<Semaphore>) -> Result<(), Problem> {
        if (self.bytes.len() + bytes.len()) as u64 > bytes_max {
            return Err(Problem::too_large(bytes_max));
        }
        let size = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let more = Arc::clone(room)
            .try_acquire_many_owned(size)
            .map_err(|_| Problem::full("too many large bodies at one time; nothing was stored"))?;
        match &mut self._share {
            Some(share) => share.merge(more),
            share => *share = Some(more),
        }
        self.bytes.extend_from_slice(&bytes);
        Ok(())
    }
}

fn broken_off() -> Problem {
    Problem::malformed("the body broke off")
}

/// The relay stops, and what is still coming has had its time.
pub(super) async fn stopped(stop: &CancellationToken) {
    stop.cancelled().await;
    tokio::time::sleep(WHEN_STOPPING).await;
}

/// The next piece; `None`: that was all.
pub(super) async fn next(
    body: &mut Body,
    until: Instant,
    stopped: Pin<&mut impl Future<Output = ()>>,
) -> Result<Option<Bytes>, Problem> {
    let until = until.min(Instant::now() + IDLE);
    let piece = async {
        loop {
            match body.frame().await.map(|frame| frame.map(Frame::into_data)) {
                None => return Ok(None),
                Some(Ok(Ok(bytes))) => return Ok(Some(bytes)),
                Some(Ok(Err(_trailers))) => {}
                Some(Err(_)) => return Err(broken_off()),
            }
        }
    };
    tokio::select! {
        piece = timeout_at(until, piece) => match piece {
            Ok(piece) => piece,
            Err(_) => Err(Problem::too_slow("nothing was stored; send it again, faster")),
        },
        () = stopped => Err(Problem::unavailable("the relay is stopping; nothing was stored")),
    }
}

/// Does the sender say that each line is a job? Refuses what is clearly no JSON.
///
/// # Errors
/// 415: the content type names something else, or the body is compressed.
pub(super) fn is_ndjson(headers: &HeaderMap) -> Result<bool, Problem> {
    let encoding = headers.get(CONTENT_ENCODING);
    if encoding.is_some_and(|encoding| encoding != "identity") {
        return Err(Problem::not_taken("compressed bodies are not taken"));
    }
    let Some(named) = headers.get(CONTENT_TYPE) else {
        return Ok(false);
    };
    let named = named.to_str().unwrap_or_default().to_ascii_lowercase();
    let named = named.split(';').next().unwrap_or_default().trim();
    if is_something_else(named) {
        return Err(Problem::not_taken(format!(
            "{named} is not taken; send application/json, application/x-ndjson or multipart/form-data"
        )));
    }
    let lines = [
        "application/x-ndjson",
        "application/ndjson",
        "application/jsonl",
    ];
    Ok(lines.contains(&named) || named == "application/json-seq")
}

/// Everything else is judged by its content: curl calls whatever it sends a form.
fn is_something_else(media: &str) -> bool {
    const FAMILIES: [&str; 6] = [
        "multipart/",
        "image/",
        "audio/",
        "video/",
        "font/",
        "model/",
    ];
    const TYPES: [&str; 13] = [
        "application/cbor",
        "application/gzip",
        "application/msgpack",
        "application/pdf",
        "application/protobuf",
        "application/toml",
        "application/x-protobuf",
        "application/x-yaml",
        "application/xml",
        "application/yaml",
        "application/zip",
        "text/csv",
        "text/html",
    ];
    FAMILIES.iter().any(|family| media.starts_with(family))
        || TYPES.contains(&media)
        || media.ends_with("+xml")
        || media == "text/xml"
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderValue, StatusCode};
    use axum::response::IntoResponse;
    use futures_util::stream;

    use super::*;

    fn content_type(media: &'static str) -> Result<bool, Problem> {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(media));
        is_ndjson(&headers)
    }

    #[test]
    fn a_body_is_judged_by_its_content_unless_its_type_is_clearly_another() {
        fn check(media: &'static str, expected: Option<bool>) {
            assert_eq!(content_type(media).ok(), expected, "{media}");
        }
        check("application/json", Some(false));
        check("application/x-www-form-urlencoded", Some(false));
        check("text/plain; charset=utf-8", Some(false));
        check("application/octet-stream", Some(false));
        check("application/x-ndjson", Some(true));
        check("Application/X-NDJSON; charset=utf-8", Some(true));
        check("multipart/form-data; boundary=x", None);
        check("image/png", None);
        check("text/xml", None);
        check("application/soap+xml", None);
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        assert!(is_ndjson(&headers).is_err());
    }

    fn pieces(sizes: &[usize]) -> Body {
        let pieces: Vec<_> = sizes
            .iter()
            .map(|size| Ok::<_, std::io::Error>(Bytes::from(vec![b' '; *size])))
            .collect();
        Body::from_stream(stream::iter(pieces))
    }

    async fn status(body: Body, bytes_max: u64, room: &Arc<Semaphore>) -> StatusCode {
        let headers = HeaderMap::new();
        match read(&headers, body, bytes_max, room, &CancellationToken::new()).await {
            Ok(_) => StatusCode::OK,
            Err(problem) => problem.into_response().status(),
        }
    }

    #[tokio::test]
    async fn a_body_without_a_length_is_bounded_while_it_is_read() {
        let room = Arc::new(Semaphore::new(ROOM_BYTES));
        assert_eq!(status(pieces(&[4, 6]), 10, &room).await, StatusCode::OK);
        let large = status(pieces(&[4, 7]), 10, &room).await;
        assert_eq!(large, StatusCode::PAYLOAD_TOO_LARGE);
        assert_eq!(room.available_permits(), ROOM_BYTES);
    }

    #[tokio::test]
    async fn all_bodies_share_one_room_and_give_it_back() {
        let room = Arc::new(Semaphore::new(10));
        let headers = HeaderMap::new();
        let stop = CancellationToken::new();
        let first = read(&headers, pieces(&[4, 4]), 10, &room, &stop)
            .await
            .unwrap();
        let refused = status(pieces(&[3]), 10, &room).await;
        assert_eq!(refused, StatusCode::SERVICE_UNAVAILABLE);
        drop(first);
        assert_eq!(status(pieces(&[3]), 10, &room).await, StatusCode::OK);
        assert_eq!(room.available_permits(), 10);
    }

    #[tokio::test]
    async fn a_body_that_stands_still_does_not_outlive_a_stop() {
        let room = Arc::new(Semaphore::new(ROOM_BYTES));
        let stop = CancellationToken::new();
        stop.cancel();
        let still = Body::from_stream(stream::pending::<Result<Bytes, std::io::Error>>());
        let headers = HeaderMap::new();
        let problem = read(&headers, still, 10, &room, &stop).await.unwrap_err();
        let status = problem.into_response().status();
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    }

    #[tokio::test]
    async fn what_a_handler_left_is_put_away_within_a_bound() {
        let stop = CancellationToken::new();
        let (lent, request) = Lent::lend(Request::new(pieces(&[10, 10])));
        drop(request);
        assert!(lent.put_away(&stop).await);
        let (lent, request) = Lent::lend(Request::new(pieces(&[DRAIN_BYTES_MAX, 1])));
        drop(request);
        assert!(!lent.put_away(&stop).await);
    }

    #[tokio::test]
    async fn a_client_that_waits_to_be_asked_is_not_asked_in_vain() {
        let mut request = Request::new(pieces(&[10]));
        let headers = request.headers_mut();
        headers.insert(EXPECT, HeaderValue::from_static("100-continue"));
        let (lent, request) = Lent::lend(request);
        drop(request);
        assert!(!lent.put_away(&CancellationToken::new()).await);
    }
}
