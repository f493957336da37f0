//! The accept loop: connections in, requests to `gate` or `control`, answers out.
//!
//! A connection can be closed, cut or reset on purpose. A client that is slow with its header is
//! hung up on; stopping waits a moment for calls at work and then ends them.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt, TryStreamExt, stream};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, Limited, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::answer::{Answer, Reply};
use crate::call::{Arrived, Part};
use crate::shared::Shared;
use crate::stored::Stored;
use crate::table::{DISCOVERY, ENDPOINTS, Route, route};
use crate::{control, gate};

/// A header must be complete after this long; an idle connection is closed after it, too.
const HEADER_TIMEOUT: Duration = Duration::from_secs(75);
/// Calls at work when the sandbox stops get this long.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(2);
/// More than the largest upload (limits.md 3), so that too large a one is refused by its code.
const BODY_BYTES_MAX: usize = 48 * 1024 * 1024;

/// Why a connection ends without a whole answer.
#[derive(Debug, thiserror::Error)]
#[error("the sandbox hangs up on purpose")]
struct HangUp;

type OutBody = UnsyncBoxBody<Bytes, HangUp>;

/// Serves until `stop` is cancelled, then drains.
pub(crate) async fn serve(listener: TcpListener, shared: Arc<Shared>, stop: CancellationToken) {
    let graceful = GracefulShutdown::new();
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            Some(_) = connections.join_next() => continue,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                connections.spawn(connection(stream, Arc::clone(&shared), &graceful));
            }
            Err(error) => {
                tracing::warn!(%error, "the sandbox can not accept a connection");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
    drop(listener);
    // After the deadline the set is dropped, and with it whatever is still open.
    let drained = tokio::time::timeout(DRAIN_TIMEOUT, graceful.shutdown()).await;
    if drained.is_err() {
        tracing::debug!("the sandbox ends calls that are still at work");
    }
    shared.close();
}

/// One connection until it closes.
fn connection(
    stream: TcpStream,
    shared: Arc<Shared>,
    graceful: &GracefulShutdown,
) -> impl Future<Output = ()> + use<> {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "no TCP_NODELAY");
    }
    let reset = Arc::new(AtomicBool::new(false));
    let socket = Socket {
        stream,
        reset: Arc::clone(&reset),
    };
    let service = service_fn(move |request| {
        let (shared, reset) = (Arc::clone(&shared), Arc::clone(&reset));
        async move { answer(shared, request, &reset).await }
    });
    let served = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        // The Python SDK looks for `Content-Type` and `X-Tt-Logid` in this spelling alone.
        .title_case_headers(true)
        .serve_connection(TokioIo::new(socket), service);
    let watched = graceful.watch(served);
    async move {
        if let Err(error) = watched.await {
            tracing::debug!(%error, "a connection of the sandbox ended");
        }
    }
}

async fn answer(
    shared: Arc<Shared>,
    request: Request<Incoming>,
    reset: &AtomicBool,
) -> Result<Response<OutBody>, HangUp> {
    match reply(&shared, request).await {
        Reply::Whole(answer) => {
            let body = match answer.body.clone() {
                Stored::Memory(bytes) => Full::new(bytes).map_err(never).boxed_unsync(),
                stored => pieces(stored, u64::MAX),
            };
            let length = answer.body.bytes().to_string();
            Ok(response(&answer.with("content-length", length), body))
        }
        Reply::Half(answer) => {
            let body = half(answer.body.clone());
            let length = answer.body.bytes().to_string();
            Ok(response(&answer.with("content-length", length), body))
        }
        Reply::Nothing => Err(HangUp),
        Reply::Reset => {
            reset.store(true, Ordering::Relaxed);
            Err(HangUp)
        }
    }
}

fn never(never: Infallible) -> HangUp {
    match never {}
}

/// The first `limit` bytes of `stored`; one that can not be read ends the connection.
fn pieces(stored: Stored, limit: u64) -> OutBody {
    let frames = stored.pieces(limit).map(|piece| match piece {
        Ok(piece) => Ok(Frame::data(piece)),
        Err(error) => {
            tracing::error!(%error, "the sandbox can not read an uploaded file");
            Err(HangUp)
        }
    });
    StreamBody::new(frames).boxed_unsync()
}

/// Half of `body`, given time to leave, and then the end of the connection.
fn half(body: Stored) -> OutBody {
    let limit = body.bytes() / 2;
    let end = stream::once(async {
        // The half is flushed while this waits; an error at once would take it along.
        tokio::time::sleep(Duration::from_millis(20)).await;
        Err(HangUp)
    });
    let parts = pieces(body, limit).into_data_stream();
    StreamBody::new(parts.map_ok(Frame::data).chain(end)).boxed_unsync()
}

fn response(answer: &Answer, body: OutBody) -> Response<OutBody> {
    let mut builder = Response::builder().status(answer.http);
    for (name, value) in &answer.headers {
        builder = builder.header(*name, value);
    }
    builder.body(body).unwrap_or_else(|error| {
        tracing::error!(%error, "an answer of the sandbox has a bad header");
        Response::new(Full::new(Bytes::new()).map_err(never).boxed_unsync())
    })
}

async fn reply(shared: &Arc<Shared>, request: Request<Incoming>) -> Reply {
    let (head, body) = request.into_parts();
    let header = |name: &str| head.headers.get(name).and_then(|value| value.to_str().ok());
    let content_type = header("content-type").unwrap_or_default().to_owned();
    let authorization = header("authorization").map(str::to_owned);
    let foreign = control::is_foreign(header("origin"), header("host"));
    let too_much = || {
        let says = "the body was cut off or is larger than 48 MiB";
        Reply::Whole(Answer::problem(413, "body not taken", "", says))
    };
    let length = header("content-length").and_then(|length| length.parse::<usize>().ok());
    if length.is_some_and(|length| length > BODY_BYTES_MAX) {
        return too_much();
    }
    let mut arrived = Arrived {
        method: head.method.as_str().to_owned(),
        path: head.uri.path().to_owned(),
        query: head.uri.query().unwrap_or_default().to_owned(),
        authorization,
        host: header("host").unwrap_or_default().to_owned(),
        body: Bytes::new(),
        form: None,
    };
    let body = Limited::new(body, BODY_BYTES_MAX);
    match route(&arrived.method, &arrived.path) {
        Route::Found(at, _) if ENDPOINTS[at].form => {
            arrived.form = read_form(&content_type, body, length.unwrap_or(0)).await;
        }
        _ => match body.collect().await {
            Ok(body) => arrived.body = body.to_bytes(),
            Err(_) => return too_much(),
        },
    }
    let is_api = arrived.path.starts_with("/open-apis/") || arrived.path == DISCOVERY;
    if !is_api {
        return Reply::Whole(control::handle(shared, &arrived, foreign));
    }
    gate::handle(shared, arrived).await
}

/// The parts of a form, read as they come, so that a large file is held once; `None` when the body
/// is none. `length` is that of the whole body, where it is known.
async fn read_form(
    content_type: &str,
    body: Limited<Incoming>,
    length: usize,
) -> Option<Vec<Part>> {
    use axum::extract::{DefaultBodyLimit, FromRequest, Multipart};
    let mut request = axum::http::Request::builder()
        .header("content-type", content_type)
        .body(axum::body::Body::new(body))
        .ok()?;
    // The body is bounded already; axum's own 2 MB would hide the code for too large an image.
    DefaultBodyLimit::disable().apply(&mut request);
    let mut form = Multipart::from_request(request, &()).await.ok()?;
    let mut parts = Vec::new();
    while let Some(mut field) = form.next_field().await.ok()? {
        let name = field.name().unwrap_or_default().to_owned();
        let mut bytes = BytesMut::new();
        if field.file_name().is_some() {
            bytes.reserve(length);
        }
        while let Some(chunk) = field.chunk().await.ok()? {
            bytes.extend_from_slice(&chunk);
        }
        let bytes = bytes.freeze();
        parts.push(Part { name, bytes });
    }
    Some(parts)
}

/// A connection that can end with RST.
struct Socket {
    stream: TcpStream,
    reset: Arc<AtomicBool>,
}

impl Drop for Socket {
    fn drop(&mut self) {
        if self.reset.load(Ordering::Relaxed) {
            // Closing with nothing to linger for sends RST instead of FIN.
            let linger = socket2::SockRef::from(&self.stream).set_linger(Some(Duration::ZERO));
            if let Err(error) = linger {
                tracing::debug!(%error, "a connection could not be reset");
            }
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        if self.reset.load(Ordering::Relaxed) {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[std::io::IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
