//! What the doors take and answer, as OpenAPI 3.1: `GET /openapi.json`.
//!
//! Each handler describes itself with `#[utoipa::path]`, and the router is made from these
//! descriptions, so that no route is without one. What several doors answer alike stands here once,
//! as sets of refusals that a description names: `responses((status = 200, body = Job), Asking, OfJob)`.
//! Not here: what the answers look like (their types say it), what a job looks like (`schema`).

use std::collections::BTreeMap;
use std::sync::LazyLock;

use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response as Answer};
use serde_json::{Value, json};
use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{
    ComponentsBuilder, ContentBuilder, InfoBuilder, LicenseBuilder, ObjectBuilder, OpenApi,
    OpenApiBuilder, Ref, RefOr, Response, ResponseBuilder, Type,
};
use utoipa::{IntoResponses, PartialSchema, ToSchema};

use crate::http::doors_described;
use crate::http::problem::{PROBLEM_JSON, Told};
use crate::http::schema;

/// The name of the one way to say who one is.
const TOKEN: &str = "token";

/// Every refusal: its status, its name as a component, and what it means.
const REFUSALS: [(u16, &str, &str); 11] = [
    (400, "Malformed", "The request cannot be read."),
    (
        401,
        "TokenNeeded",
        "No token, or one that is not of `[[clients]]`.",
    ),
    (
        403,
        "Forbidden",
        "The client lacks a scope, or the request comes from a page of another site.",
    ),
    (
        404,
        "NoSuchJob",
        "There is no such job, incident or route (any more).",
    ),
    (
        408,
        "TooSlow",
        "The body came too slowly; nothing was stored.",
    ),
    (409, "Conflict", "The job's state, or its key, forbids it."),
    (413, "TooLarge", "The body is too large."),
    (415, "NotJson", "The body says that it is not JSON."),
    (
        422,
        "Flawed",
        "The request has faults, each with its place; nothing was stored.",
    ),
    (
        500,
        "Internal",
        "The relay has a fault; its log tells more under this answer's `x-request-id`.",
    ),
    (
        503,
        "Unavailable",
        "Full, or not able at the moment: the same request may come again.",
    ),
];

/// What any door may answer: 400, 403, 500.
pub(super) struct Always;

/// What a door behind a token may answer: `Always`, 401.
pub(super) struct Guarded;

/// What a door that reads a query or the store may answer: `Guarded`, 422, 503.
pub(super) struct Asking;

/// What a door that reads a body may answer: `Asking`, 408, 413, 415.
pub(super) struct Telling;

/// What a door of one job may answer beside these: 404.
pub(super) struct OfJob;

/// What a door whose wish a state or key may forbid may answer beside these: 409.
pub(super) struct Contested;

/// What a door that may be closed for a while answers beside these: 503.
pub(super) struct Closing;

macro_rules! answers {
    ($($set:ident = $statuses:expr;)+) => {
        $(impl IntoResponses for $set {
            fn responses() -> BTreeMap<String, RefOr<Response>> {
                refusals(&$statuses)
            }
        })+
    };
}

answers! {
    Always = [400, 403, 500];
    Guarded = [400, 401, 403, 500];
    Asking = [400, 401, 403, 422, 500, 503];
    Telling = [400, 401, 403, 408, 413, 415, 422, 500, 503];
    OfJob = [404];
    Contested = [409];
    Closing = [503];
}

fn refusals(statuses: &[u16]) -> BTreeMap<String, RefOr<Response>> {
    let named = REFUSALS
        .iter()
        .filter(|(status, _, _)| statuses.contains(status));
    named
        .map(|(status, name, _)| {
            let reference = RefOr::Ref(Ref::from_response_name(*name));
            (status.to_string(), reference)
        })
        .collect()
}

/// What the whole is; the compatible endpoint is Feishu's own to describe.
const DESCRIPTION: &str = concat!(
    env!("CARGO_PKG_DESCRIPTION"),
    ". Below /open-apis/ it takes Feishu's own calls, as Feishu documents them, with tokens of its own: \
     the client's token is the app_secret."
);

/// What the document says beside the doors: of the whole, the refusals, the token.
pub(super) fn frame() -> OpenApi {
    let mut components = ComponentsBuilder::new()
        .schema(Told::name(), Told::schema())
        .security_scheme(
            TOKEN,
            SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer)),
        );
    for (status, name, meaning) in REFUSALS {
        components = components.response(name, refusal(status, meaning));
    }
    let mut schemas = Vec::new();
    Told::schemas(&mut schemas);
    let license = LicenseBuilder::new()
        .name(env!("CARGO_PKG_LICENSE"))
        .identifier(Some(env!("CARGO_PKG_LICENSE")))
        .build();
    let info = InfoBuilder::new()
        .title(env!("CARGO_PKG_NAME"))
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(DESCRIPTION))
        .license(Some(license));
    // A unix socket, and a relay without [[clients]], need no token.
    let token = [
        SecurityRequirement::new::<_, [&str; 0], &str>(TOKEN, []),
        SecurityRequirement::default(),
    ];
    OpenApiBuilder::new()
        .info(info)
        .components(Some(components.schemas_from_iter(schemas).build()))
        .security(Some(token))
        .build()
}

fn refusal(status: u16, meaning: &str) -> Response {
    let problem = ContentBuilder::new()
        .schema(Some(Ref::from_schema_name(Told::name())))
        .build();
    let header = |said: &str| {
        HeaderBuilder::new()
            .schema(Some(ObjectBuilder::new().schema_type(Type::String)))
            .description(Some(said))
            .build()
    };
    let response = ResponseBuilder::new()
        .description(meaning)
        .content(PROBLEM_JSON, problem);
    match status {
        401 => response.header("WWW-Authenticate", header("The challenge of RFC 6750.")),
        503 => response.header(
            "Retry-After",
            header("Seconds until it is worth another try."),
        ),
        _ => response,
    }
    .build()
}

/// Made when it is first asked for; the doors are the same as long as the process lives.
static DOCUMENT: LazyLock<String> = LazyLock::new(|| {
    let mut document = json!(doors_described());
    if let Some(Value::Object(schemas)) = document.pointer_mut("/components/schemas") {
        schemas.extend(schema::components());
    }
    document.to_string()
});

#[utoipa::path(
    get,
    path = "/openapi.json",
    summary = "This document",
    responses((status = 200, description = "OpenAPI 3.1.", body = Value), Guarded),
)]
pub(super) async fn document() -> Answer {
    ([(CONTENT_TYPE, "application/json")], DOCUMENT.as_str()).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_route_is_made_from_a_description() {
        let router = include_str!("mod.rs");
        for undescribed in [".route(", ".nest(", ".fallback(", ".route_service("] {
            assert!(!router.contains(undescribed), "{undescribed}");
        }
    }

    /// A change of the document is seen, and meant: `INSTA_UPDATE=always` writes it anew.
    #[test]
    fn the_document_is_the_one_that_was_read() {
        let document: Value = serde_json::from_str(&DOCUMENT).unwrap();
        insta::assert_json_snapshot!("openapi", document);
    }

    #[test]
    fn every_operation_has_a_name_of_its_own() {
        let document: Value = serde_json::from_str(&DOCUMENT).unwrap();
        let paths = document["paths"].as_object().unwrap();
        let operations = paths.values().flat_map(|item| item.as_object().unwrap());
        let mut names: Vec<_> = operations
            .map(|(_, operation)| operation["operationId"].as_str().unwrap())
            .collect();
        names.sort_unstable();
        let count = names.len();
        names.dedup();
        assert_eq!(names.len(), count, "{names:?}");
    }

    #[test]
    fn every_reference_of_the_document_leads_somewhere() {
        let document: serde_json::Value = serde_json::from_str(&DOCUMENT).unwrap();
        let mut left = vec![&document];
        let mut seen = 0;
        while let Some(value) = left.pop() {
            match value {
                serde_json::Value::Array(list) => left.extend(list),
                serde_json::Value::Object(map) => {
                    if let Some(place) = map.get("$ref").and_then(serde_json::Value::as_str) {
                        let place = place.trim_start_matches('#');
                        assert!(document.pointer(place).is_some(), "{place}");
                        seen += 1;
                    }
                    left.extend(map.values());
                }
                _ => {}
            }
        }
        assert!(seen > 50, "{seen}");
    }
}
