//! What is answered when a request is not taken: RFC 9457, `application/problem+json`.
//!
//! Every refusal of the doors leaves through here, so that all of them look alike: `type` (a name
//! that programs may compare), `title`, `status`, `detail` (for people) and `errors[]` with a place
//! for each fault. Nothing that the relay keeps to itself stands in it.

use axum::body::Body;
use axum::http::header::{ALLOW, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};

use serde::Serialize;
use utoipa::ToSchema;

use crate::job::Flaw;
use crate::store::StoreError;

/// The media type of every refusal.
pub(super) const PROBLEM_JSON: &str = "application/problem+json";

/// The most faults that are listed; the rest is counted.
const ERRORS_MAX: usize = 100;

/// Seconds after which a full or closed store may be asked again.
const RETRY_AFTER_S: &str = "5";

/// A refusal.
#[derive(Debug)]
pub(super) struct Problem(Box<Said>);

#[derive(Debug)]
struct Said {
    status: StatusCode,
    name: &'static str,
    title: &'static str,
    detail: String,
    errors: Vec<Flaw>,
    header: Option<(HeaderName, &'static str)>,
}

/// On an answer that has a form of its own already.
#[derive(Clone, Copy, Debug)]
pub(super) struct Dressed;

/// As it leaves: RFC 9457.
#[derive(Serialize, ToSchema)]
#[schema(as = Problem)]
pub(super) struct Told<'a> {
    /// What kind of refusal: a name that programs may compare.
    #[serde(rename = "type")]
    #[schema(pattern = "^urn:feishu-relay:problem:")]
    name: String,
    /// The same in words, for every refusal of this kind.
    title: &'a str,
    /// The answer's status.
    #[schema(minimum = 400, maximum = 599)]
    status: u16,
    /// What is wrong this time, for people.
    detail: &'a str,
    /// Each fault with its place; the first 100.
    #[serde(skip_serializing_if = "<[Flaw]>::is_empty")]
    #[schema(required = false)]
    errors: &'a [Flaw],
}

impl Problem {
    fn new(
        status: StatusCode,
        name: &'static str,
        title: &'static str,
        detail: impl Into<String>,
    ) -> Problem {
        Problem(Box::new(Said {
            status,
            name,
            title,
            detail: detail.into(),
            errors: Vec::new(),
            header: None,
        }))
    }

    fn with_header(mut self, name: HeaderName, value: &'static str) -> Problem {
        self.0.header = Some((name, value));
        self
    }

    /// Status, words and header, for an answer of another form.
    pub(super) fn parts(&self) -> (StatusCode, &str, Option<(HeaderName, &'static str)>) {
        (self.0.status, &self.0.detail, self.0.header.clone())
    }

    fn with_errors(mut self, errors: Vec<Flaw>) -> Problem {
        self.0.errors = errors;
        self
    }

    /// The refusal that a bare status stands for: what routing answers by itself.
    pub(super) fn bare(status: StatusCode) -> Problem {
        match status {
            StatusCode::NOT_FOUND => Problem::new(
                status,
                "no-such-path",
                "There is nothing at this path",
                "GET / lists the paths",
            ),
            StatusCode::METHOD_NOT_ALLOWED => Problem::new(
                status,
                "method",
                "The path does not take this method",
                "the Allow header names those that it takes",
            ),
            StatusCode::INTERNAL_SERVER_ERROR => Problem::internal(),
            other => Problem::new(
                other,
                "request",
                other.canonical_reason().unwrap_or("Refused"),
                "the request cannot be answered",
            ),
        }
    }

    /// 500: a fault of the relay. What it is stands in the log, not here.
    pub(super) fn internal() -> Problem {
        Problem::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "The relay has a fault",
            "the log of the relay tells more under this answer's x-request-id",
        )
    }

    /// 400: the body cannot be read as JSON.
    pub(super) fn not_json(detail: impl Into<String>) -> Problem {
        let title = "The body is not JSON";
        Problem::new(StatusCode::BAD_REQUEST, "not-json", title, detail)
    }

    /// 400: the request is broken before its content matters.
    pub(super) fn malformed(detail: impl Into<String>) -> Problem {
        let title = "The request is malformed";
        Problem::new(StatusCode::BAD_REQUEST, "malformed", title, detail)
    }

    /// 401: no token, or one that nobody has.
    pub(super) fn who_are_you(detail: &str, challenge: &'static str) -> Problem {
        let title = "A token is needed";
        Problem::new(StatusCode::UNAUTHORIZED, "token", title, detail)
            .with_header(WWW_AUTHENTICATE, challenge)
    }

    /// 403: known, and not allowed to.
    pub(super) fn forbidden(detail: impl Into<String>) -> Problem {
        let title = "This is not allowed";
        Problem::new(StatusCode::FORBIDDEN, "forbidden", title, detail)
    }

    /// 404: no such job.
    pub(super) fn no_such_job(detail: impl Into<String>) -> Problem {
        let title = "There is no such job";
        Problem::new(StatusCode::NOT_FOUND, "no-such-job", title, detail)
    }

    /// 404: no such incident.
    pub(super) fn no_such_incident(detail: impl Into<String>) -> Problem {
        let title = "There is no such incident";
        Problem::new(StatusCode::NOT_FOUND, "no-such-incident", title, detail)
    }

    /// 401: it does not show that it comes from its source.
    pub(super) fn unsigned(detail: &'static str) -> Problem {
        let title = "A signature is needed";
        Problem::new(StatusCode::UNAUTHORIZED, "signature", title, detail)
            .with_header(WWW_AUTHENTICATE, "Signature")
    }

    /// 404: no such route of alerts.
    pub(super) fn no_such_sink(detail: &'static str) -> Problem {
        let title = "There is no such route";
        Problem::new(StatusCode::NOT_FOUND, "no-such-route", title, detail)
    }

    /// 408: the body came too slowly.
    pub(super) fn too_slow(detail: impl Into<String>) -> Problem {
        let title = "The body came too slowly";
        Problem::new(StatusCode::REQUEST_TIMEOUT, "too-slow", title, detail)
    }

    /// 409: the state of the job forbids it.
    pub(super) fn conflict(detail: impl Into<String>) -> Problem {
        let title = "The job's state does not allow this";
        Problem::new(StatusCode::CONFLICT, "state", title, detail)
    }

    /// 409: a key stands for another request already.
    pub(super) fn key_taken(pointer: String, detail: String) -> Problem {
        let title = "The key stands for another request";
        let errors = vec![Flaw {
            pointer,
            detail: detail.clone(),
        }];
        Problem::new(StatusCode::CONFLICT, "key-taken", title, detail).with_errors(errors)
    }

    /// 413: more bytes than are taken.
    pub(super) fn too_large(bytes_max: u64) -> Problem {
        Problem::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "too-large",
            "The body is too large",
            format!("a body may have {bytes_max} bytes"),
        )
    }

    /// 413: more than is taken at once.
    pub(super) fn too_much(detail: impl Into<String>) -> Problem {
        let title = "The body is too large";
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", title, detail)
    }

    /// 415: something else than JSON.
    pub(super) fn not_taken(detail: impl Into<String>) -> Problem {
        let title = "Bodies are JSON";
        let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
        Problem::new(status, "media-type", title, detail)
    }

    /// 422: readable, and wrong; nothing was stored. The first `ERRORS_MAX` faults are listed.
    pub(super) fn flawed(mut flaws: Vec<Flaw>) -> Problem {
        let detail = match flaws.as_slice() {
            [] => String::from("the request cannot be carried out"),
            [one] if one.pointer.is_empty() => one.detail.clone(),
            [one] => format!("{}: {}", one.pointer, one.detail),
            [one, ..] => format!(
                "{}: {} (and {} more)",
                one.pointer,
                one.detail,
                flaws.len() - 1
            ),
        };
        flaws.truncate(ERRORS_MAX);
        let title = "The request has faults; nothing was stored";
        let status = StatusCode::UNPROCESSABLE_ENTITY;
        Problem::new(status, "flawed", title, detail).with_errors(flaws)
    }

    /// 503: no room; the same request may come again. Never 429, on which alert senders drop.
    pub(super) fn full(detail: impl Into<String>) -> Problem {
        let title = "The relay is full; nothing was stored";
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "full", title, detail)
            .with_header(RETRY_AFTER, RETRY_AFTER_S)
    }

    /// 503: the relay cannot serve at the moment; the same request may come again.
    pub(super) fn unavailable(detail: impl Into<String>) -> Problem {
        let title = "The relay cannot serve at the moment";
        let status = StatusCode::SERVICE_UNAVAILABLE;
        Problem::new(status, "unavailable", title, detail).with_header(RETRY_AFTER, RETRY_AFTER_S)
    }

    /// Gives a bare refusal of the router this form; what has it already, and what is no refusal,
    /// passes unchanged.
    pub(super) fn dress(response: Response) -> Response {
        let status = response.status();
        let refused = status.is_client_error() || status.is_server_error();
        let content = response.headers().get(CONTENT_TYPE);
        if response.extensions().get::<Dressed>().is_some() {
            return response;
        }
        if !refused || content.is_some_and(|content| content == PROBLEM_JSON) {
            return response;
        }
        let allow = response.headers().get(ALLOW).cloned();
        let mut dressed = Problem::bare(status).into_response();
        if let Some(allow) = allow {
            dressed.headers_mut().insert(ALLOW, allow);
        }
        dressed
    }
}

/// The store could not answer: worth another try, unless a person must look first.
impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Problem {
        // The store has said in the log what it is, once, however many ask meanwhile.
        let why = match &error {
            StoreError::Unavailable(failure) => failure.cause.words(),
            StoreError::Unusable(_) => "the store cannot answer",
        };
        Problem::unavailable(format!("{why}; nothing was changed"))
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let said = self.0;
        let told = Told {
            name: format!("urn:feishu-relay:problem:{}", said.name),
            title: said.title,
            status: said.status.as_u16(),
            detail: &said.detail,
            errors: &said.errors,
        };
        let body = serde_json::to_vec(&told).unwrap_or_default();
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = said.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
        if let Some((name, value)) = said.header {
            headers.insert(name, HeaderValue::from_static(value));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flaw(n: usize) -> Flaw {
        Flaw {
            pointer: format!("/{n}/kind"),
            detail: String::from("is missing"),
        }
    }

    #[test]
    fn a_long_list_of_faults_is_cut_and_counted() {
        let problem = Problem::flawed((0..500).map(flaw).collect());
        assert_eq!(problem.0.errors.len(), ERRORS_MAX);
        assert_eq!(problem.0.detail, "/0/kind: is missing (and 499 more)");
    }

    #[test]
    fn a_bare_refusal_is_dressed_and_keeps_its_allow_header() {
        let mut bare = StatusCode::METHOD_NOT_ALLOWED.into_response();
        bare.headers_mut()
            .insert(ALLOW, HeaderValue::from_static("GET"));
        let dressed = Problem::dress(bare);
        assert_eq!(dressed.headers()[CONTENT_TYPE], PROBLEM_JSON);
        assert_eq!(dressed.headers()[ALLOW], "GET");
        let fine = Problem::dress("fine".into_response());
        assert_eq!(fine.headers()[CONTENT_TYPE], "text/plain; charset=utf-8");
    }

    #[test]
    fn a_full_relay_never_says_429() {
        let full = Problem::full("").into_response();
        assert_eq!(full.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(full.headers()[RETRY_AFTER], "5");
    }
}
