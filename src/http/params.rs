//! The words of paths and queries as the document has them, from the same constants that read them.
//!
//! Not here: reading them (`query`).

use utoipa::IntoParams;
use utoipa::openapi::path::{Parameter, ParameterBuilder, ParameterIn, ParameterStyle};
use utoipa::openapi::schema::AdditionalProperties;
use utoipa::openapi::{ArrayBuilder, Object, ObjectBuilder, RefOr, Required, Schema, Type};

use crate::http::query::{LABEL, LIMIT, LIMIT_MAX};
use crate::job::{IncidentState, Kind, State};

/// The path's `{id}`.
pub(super) struct Id;

/// `wait` and `wait_for`.
pub(super) struct Waiting;

/// Which jobs: the filters of a list, without its page.
pub(super) struct Filtering;

/// Which jobs of a stream: `Filtering` without its times.
pub(super) struct Choosing;

/// `Last-Event-ID`, as a header and as a word.
pub(super) struct LastEventId;

/// The path's `{id}` of an incident.
pub(super) struct IncidentName;

/// Which incidents: the filters of their list, without its page.
pub(super) struct Incidents;

/// Which page of a list: `limit` and `cursor`.
pub(super) struct Paging;

/// How much is summed up: `limit` and `cursor`.
pub(super) struct Summing;

/// `dry_run`.
pub(super) struct DryRun;

/// `fresh`.
pub(super) struct Fresh;

macro_rules! params {
    ($($set:ident = $list:expr;)+) => {
        $(impl IntoParams for $set {
            fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
                $list
            }
        })+
    };
}

params! {
    Id = vec![id()];
    IncidentName = vec![incident_id()];
    Incidents = incidents();
    Waiting = vec![
        query("wait", duration(), "Answer when the job has settled or is in doubt, at the latest after this long (`10s`; at most `5m`)."),
        query("wait_for", words(["job", "all"]), "`all`: its children too."),
    ];
    Filtering = filtering();
    Choosing = choosing();
    LastEventId = last_event_id();
    Paging = vec![
        query("limit", limit(), "How many on a page."),
        cursor(),
    ];
    Summing = vec![
        query("limit", limit().default(None), "Jobs in the sums, if not all."),
        cursor(),
    ];
    DryRun = vec![flag("dry_run", "Count them, and do nothing.")];
    Fresh = vec![flag("fresh", "Ask Feishu first.")];
}

fn id() -> Parameter {
    let named = text().max_length(Some(200)).description(Some(
        "`job_…`, or the id of a message (`om_…`) or batch (`bm-…`) that it made.",
    ));
    in_path(named)
}

fn incident_id() -> Parameter {
    in_path(text().max_length(Some(200)).description(Some("`inc_…`.")))
}

fn incidents() -> Vec<Parameter> {
    let states = IncidentState::ALL.iter().map(|state| state.name());
    let time = "A time (RFC 3339), or a duration back from now: `2h`.";
    vec![
        several("state", words(states), "In one of these states."),
        query(
            "route",
            text(),
            "Of this route: its name, or its name with its matchers.",
        ),
        query("client", text(), "Brought by this client."),
        flag("digest", "Digests only, or none of them."),
        query("since", text(), &format!("Begun at or after. {time}")),
        query("until", text(), &format!("Begun before. {time}")),
    ]
}

/// The path's `{id}`.
fn in_path(named: ObjectBuilder) -> Parameter {
    ParameterBuilder::new()
        .name("id")
        .parameter_in(ParameterIn::Path)
        .required(Required::True)
        .schema(Some(named.build()))
        .build()
}

fn filtering() -> Vec<Parameter> {
    let time = "A time (RFC 3339), or a duration back from now: `2h`.";
    let mut all = choosing();
    all.extend([
        query("since", text(), &format!("Accepted at or after. {time}")),
        query("until", text(), &format!("Accepted before. {time}")),
    ]);
    all
}

fn last_event_id() -> Vec<Parameter> {
    let id = || text().pattern(Some("^[0-9a-f]{8}-[0-9]{1,18}$"));
    let mut header = query("Last-Event-ID", id(), "Go on behind the event of this id.");
    header.parameter_in = ParameterIn::Header;
    let said = "As the header, which counts before it.";
    vec![header, query("last_event_id", id(), said)]
}

fn choosing() -> Vec<Parameter> {
    let states = State::ALL.iter().map(|state| state.name());
    let kinds = Kind::all().map(Kind::name);
    let code = ObjectBuilder::new().schema_type(Type::Integer);
    vec![
        several("state", words(states), "One of these states."),
        several("kind", words(kinds), "One of these kinds."),
        query("app", text(), "With this app."),
        query("lane", text(), "In this lane."),
        query("client", text(), "From this client."),
        query(
            "to",
            text(),
            "To this receiver, or on this message, as written.",
        ),
        query("key", text(), "With this key."),
        query("message_id", text(), "That made this message."),
        query("code", code, "With this code of Feishu in the error."),
        labels(),
    ]
}

/// `label.NAME=value`, as often as there are labels: an object, exploded.
fn labels() -> Parameter {
    let name = text().pattern(Some(format!(
        "^{}[a-z]{{1,20}}$",
        LABEL.replace('.', "\\.")
    )));
    let labels = ObjectBuilder::new()
        .schema_type(Type::Object)
        .additional_properties(Some(AdditionalProperties::RefOr(RefOr::T(Schema::Object(
            text().build(),
        )))))
        .property_names(Some(Schema::Object(name.build())));
    let said = "`label.NAME=value`: with this label; of several, all.";
    let mut labels = query("label", labels, said);
    labels.style = Some(ParameterStyle::Form);
    labels.explode = Some(true);
    labels
}

fn flag(name: &str, said: &str) -> Parameter {
    query(name, ObjectBuilder::new().schema_type(Type::Boolean), said)
}

fn cursor() -> Parameter {
    let cursor = text().pattern(Some("^-?[0-9]{1,18}$"));
    query("cursor", cursor, "The `next_cursor` of the page before.")
}

fn limit() -> ObjectBuilder {
    ObjectBuilder::new()
        .schema_type(Type::Integer)
        .minimum(Some(1))
        .maximum(Some(LIMIT_MAX))
        .default(Some(LIMIT.into()))
}

/// A text; an empty one would count as absent.
fn text() -> ObjectBuilder {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .min_length(Some(1))
}

fn duration() -> ObjectBuilder {
    text().pattern(Some("^[0-9]{1,3}(ms|s|m)$"))
}

fn words<'a>(all: impl IntoIterator<Item = &'a str>) -> ObjectBuilder {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .enum_values(Some(all))
}

/// Several values: with commas, or by repeating the name.
fn several(name: &str, one: ObjectBuilder, said: &str) -> Parameter {
    let list = ArrayBuilder::new().items(one.build()).build();
    let mut parameter = of_query(name, Schema::Array(list), said);
    parameter.style = Some(ParameterStyle::Form);
    parameter.explode = Some(false);
    parameter
}

fn query(name: &str, schema: ObjectBuilder, said: &str) -> Parameter {
    let schema: Object = schema.build();
    of_query(name, Schema::Object(schema), said)
}

fn of_query(name: &str, schema: Schema, said: &str) -> Parameter {
    ParameterBuilder::new()
        .name(name)
        .parameter_in(ParameterIn::Query)
        .required(Required::False)
        .description(Some(said))
        .schema(Some(schema))
        .build()
}
