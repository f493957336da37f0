//! The doors of the relay: jobs come in and are asked about over HTTP, on TCP and unix sockets.
//!
//! A 2xx to a submission means that its jobs are on disk. Every refusal is a problem (RFC 9457) that
//! points at its fault and leaves nothing behind. No door calls Feishu but through the `Gate`.
//! Not here: what a job is (`job`), how it is kept (`store`), when it runs (`dispatch`).

mod activity;
mod alerts;
mod auth;
#[cfg(any(feature = "bench", test))]
pub(crate) mod bench;
mod body;
mod bulk;
mod doors;
mod events;
mod form;
#[cfg(any(fuzzing, test))]
pub(crate) mod fuzz;
mod incidents;
mod jobs;
mod json;
mod metrics;
mod month;
mod multipart;
mod openapi;
mod openapis;
mod params;
mod passed;
mod pause;
mod problem;
mod query;
mod reads;
mod schema;
mod status;
mod submit;
mod wait;

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, Bytes, HttpBody};
use axum::http::header::{
    CACHE_CONTROL, CONNECTION, HeaderName, HeaderValue, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, Request, StatusCode};
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::alerts::Alerts;
use crate::clock::Clock;
use crate::config::{Bot, Client, Config};
use crate::job::Gate;
use crate::store::Store;

use auth::Peer;
use body::Lent;
pub(crate) use doors::Doors;
use openapis::Signer;
pub use passed::Sockets;
use problem::Problem;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The longest name that a caller may give its request.
const REQUEST_ID_BYTES_MAX: usize = 128;

/// Paths that need no token.
const OPEN_PATHS: [&str; 2] = ["/healthz", "/readyz"];

/// Paths without an id that the log may name, beside those.
const OUR_PATHS: [&str; 3] = ["/", "/metrics", "/openapi.json"];

/// What the doors answer from.
#[derive(Debug)]
pub(crate) struct HttpState {
    store: Store,
    clock: Clock,
    apps: Vec<String>,
    /// As Feishu knows them, in the same order.
    app_ids: Vec<String>,
    tokens: Signer,
    gate: Arc<dyn Gate>,
    alerts: Arc<Alerts>,
    max_body: u64,
    clients: RwLock<Arc<[Arc<Client>]>>,
    bots: RwLock<Arc<[String]>>,
}

impl HttpState {
    /// Of `config` as it is at the start.
    pub(crate) fn new(
        store: Store,
        gate: Arc<dyn Gate>,
        alerts: Arc<Alerts>,
        clock: Clock,
        config: &Config,
    ) -> HttpState {
        let apps = || config.apps.iter();
        HttpState {
            apps: apps().map(|app| app.name.clone()).collect(),
            app_ids: apps().map(|app| app.app_id.clone()).collect(),
            tokens: Signer::new(store.token_key()),
            store,
            gate,
            alerts,
            clock,
            max_body: config.server.max_body,
            clients: RwLock::new(shared(config.clients.clone())),
            bots: RwLock::new(names(&config.bots)),
        }
    }

    /// From the next request on these are the custom bots.
    pub(crate) fn set_bots(&self, bots: &[Bot]) {
        *self.bots.write().unwrap_or_else(PoisonError::into_inner) = names(bots);
    }

    fn bots(&self) -> Arc<[String]> {
        Arc::clone(&self.bots.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// From the next request on these are the clients.
    pub(crate) fn set_clients(&self, clients: Vec<Client>) {
        *self.clients.write().unwrap_or_else(PoisonError::into_inner) = shared(clients);
    }

    fn clients(&self) -> Arc<[Arc<Client>]> {
        Arc::clone(&self.clients.read().unwrap_or_else(PoisonError::into_inner))
    }
}

fn names(bots: &[Bot]) -> Arc<[String]> {
    bots.iter().map(|bot| bot.name.clone()).collect()
}

fn shared(clients: Vec<Client>) -> Arc<[Arc<Client>]> {
    clients.into_iter().map(Arc::new).collect()
}

impl Doors {
    /// Serves until `stop`, then at most for `drain` what is under way; waits end at once.
    pub(crate) async fn serve(
        self,
        state: Arc<HttpState>,
        stop: CancellationToken,
        drain: Duration,
    ) {
        let relay = Arc::new(Relay {
            state,
            room: Arc::new(Semaphore::new(body::ROOM_BYTES)),
            streams: Arc::new(Semaphore::new(events::STREAMS_MAX)),
            stop: stop.clone(),
        });
        let router = router(Arc::clone(&relay));
        let answer = move |request, peer| {
            let (relay, router) = (Arc::clone(&relay), router.clone());
            async move { answer(&relay, router, request, peer).await }
        };
        self.open(answer, stop, drain).await;
    }
}

/// What every handler works with.
#[derive(Debug)]
struct Relay {
    state: Arc<HttpState>,
    /// For bodies that are being read or parsed, in bytes.
    room: Arc<Semaphore>,
    /// For streams of events.
    streams: Arc<Semaphore>,
    stop: CancellationToken,
}

/// The doors, each with what it says of itself: a handler's `#[utoipa::path]` is its route.
fn every_door() -> OpenApiRouter<Arc<Relay>> {
    OpenApiRouter::with_openapi(openapi::frame())
        .routes(routes!(status::index))
        .routes(routes!(status::healthz))
        .routes(routes!(status::readyz))
        .routes(routes!(openapi::document))
        .routes(routes!(metrics::metrics))
        .routes(routes!(status::status))
        .routes(routes!(events::events))
        .routes(routes!(jobs::list, submit::submit))
        .routes(routes!(bulk::cancel))
        .routes(routes!(bulk::retry))
        .routes(routes!(bulk::recall))
        .routes(routes!(jobs::one))
        .routes(routes!(jobs::progress))
        .routes(routes!(reads::one))
        .routes(routes!(reads::notice))
        .routes(routes!(jobs::cancel))
        .routes(routes!(jobs::retry))
        .routes(routes!(jobs::recall))
        .routes(routes!(jobs::settle))
        .routes(routes!(incidents::list))
        .routes(routes!(incidents::one))
        .routes(routes!(incidents::ack))
        .routes(routes!(pause::pause))
        .routes(routes!(pause::resume))
        .routes(routes!(alerts::take))
}

fn router(relay: Arc<Relay>) -> Router {
    let (router, _) = every_door().split_for_parts();
    router.with_state(relay)
}

/// What the doors say of themselves.
fn doors_described() -> OpenApi {
    every_door().into_openapi()
}

/// Answers one request, whatever happens on the way.
async fn answer<B>(relay: &Relay, router: Router, request: Request<B>, peer: Peer) -> Response
where
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<axum::BoxError>,
{
    let started = Instant::now();
    let id = request_id(request.headers());
    let (method, path) = (
        request.method().clone(),
        told(request.uri().path()).to_owned(),
    );
    let (body, request) = Lent::lend(request);
    let answered = AssertUnwindSafe(route(relay, router, request, peer))
        .catch_unwind()
        .await;
    let answered = answered.unwrap_or_else(|_| {
        tracing::error!(request_id = ?id, %method, path, "a handler panicked");
        Problem::internal().into_response()
    });
    let mut response = Problem::dress(answered);
    let status = response.status();
    let heard = status == StatusCode::REQUEST_TIMEOUT || body.put_away(&relay.stop).await;
    let headers = response.headers_mut();
    if !heard || status == StatusCode::REQUEST_TIMEOUT {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    let ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    let status = status.as_u16();
    tracing::debug!(request_id = ?id, %method, path, status, ms, "a request was answered");
    headers.insert(REQUEST_ID, id);
    response
}

/// What the log says of a path: ours hold ids at most, a foreign one may hold a secret.
fn told(path: &str) -> &str {
    if openapis::is_here(path) {
        return openapis::BELOW;
    }
    match path.starts_with("/v1/") || OUR_PATHS.contains(&path) || OPEN_PATHS.contains(&path) {
        true => path,
        false => "(unknown)",
    }
}

/// Past the guard, to the handler.
async fn route(relay: &Relay, router: Router, mut request: Request<Body>, peer: Peer) -> Response {
    let clients = relay.state.clients();
    let (method, uri) = (request.method(), request.uri());
    if openapis::is_here(uri.path()) {
        return match auth::enter(peer, &clients, uri, request.headers()) {
            Ok(()) => openapis::answer(relay, peer, request).await,
            Err(problem) => problem.into_response(),
        };
    }
    let open = OPEN_PATHS.contains(&uri.path());
    match auth::admit(peer, &clients, method, uri, request.headers(), open) {
        Ok(caller) => {
            request.extensions_mut().insert(caller);
            router.oneshot(request).await.into_response()
        }
        Err(problem) => problem.into_response(),
    }
}

/// The caller's name for its request, or a new one.
fn request_id(headers: &HeaderMap) -> HeaderValue {
    let given = headers.get(REQUEST_ID).filter(|id| {
        let visible = id.as_bytes().iter().all(u8::is_ascii_graphic);
        visible && (1..=REQUEST_ID_BYTES_MAX).contains(&id.len())
    });
    given.cloned().unwrap_or_else(|| {
        let made = uuid::Uuid::now_v7().simple().to_string();
        HeaderValue::try_from(made).unwrap_or(HeaderValue::from_static("unnamed"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_keeps_the_name_it_came_with_unless_it_is_no_name() {
        fn check(given: &'static str, kept: bool) {
            let mut headers = HeaderMap::new();
            headers.insert(REQUEST_ID, HeaderValue::from_static(given));
            assert_eq!(request_id(&headers) == given, kept, "{given:?}");
        }
        check("abc-123", true);
        check("", false);
        check("two words", false);
        const LONG: &str = concat!(
            "0123456789012345678901234567890123456789012345678901234567890123456789",
            "0123456789012345678901234567890123456789012345678901234567890123456789"
        );
        check(LONG, false);
        let made = request_id(&HeaderMap::new());
        assert_eq!(made.len(), 32);
        assert_ne!(made, request_id(&HeaderMap::new()));
    }
}
