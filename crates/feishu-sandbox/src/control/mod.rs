//! The controls under `/_sandbox/`: ledger, faults, clock, acts, world, images, the page.
//!
//! No fault touches them and no token is asked. A browser page of another origin is refused.

mod act;
mod page;

use serde_json::{Value, json};

use crate::answer::Answer;
use crate::call::{Arrived, parse_query};
use crate::clock::parse_span;
use crate::shared::Shared;
use crate::world::{Chat, Touched, World};

/// Answers a call that is not under `/open-apis/`.
pub(crate) fn handle(shared: &Shared, arrived: &Arrived, foreign: bool) -> Answer {
    if foreign {
        return Answer::problem(
            403,
            "foreign origin",
            "",
            "a page of another origin may not ask",
        );
    }
    let path = arrived.path.as_str();
    match (arrived.method.as_str(), path) {
        ("GET", "/_sandbox/ledger") => ledger(shared, arrived),
        ("GET", "/_sandbox/faults") => Answer::json(200, &json!(shared.faults().list())),
        ("POST", "/_sandbox/faults") => faults(shared, arrived),
        ("POST", "/_sandbox/clock") => clock(shared, arrived),
        ("GET", "/_sandbox/clock") => Answer::json(200, &json!({ "now": shared.world().now_ms() })),
        ("POST", "/_sandbox/act") => act::handle(shared, arrived),
        ("GET", "/_sandbox/world") => Answer::json(200, &world(&shared.world())),
        ("GET", "/_sandbox/" | "/_sandbox" | "/") => page::page(shared, arrived),
        ("GET", "/_sandbox/part") => page::part(shared, arrived),
        ("GET", _) if path.starts_with("/_sandbox/image/") => image(shared, path),
        (
            _,
            "/_sandbox/ledger" | "/_sandbox/faults" | "/_sandbox/clock" | "/_sandbox/act"
            | "/_sandbox/world" | "/_sandbox/",
        ) => Answer::problem(405, "wrong method", "", "this control takes another method"),
        _ => Answer::problem(
            404,
            "not found",
            "",
            "the sandbox serves /open-apis/ and /_sandbox/",
        ),
    }
}

/// Whether a browser page of another origin asks.
pub(crate) fn is_foreign(origin: Option<&str>, host: Option<&str>) -> bool {
    origin.is_some_and(|origin| {
        let of = origin
            .split_once("://")
            .map_or(origin, |(_, authority)| authority);
        Some(of) != host
    })
}

/// The body as JSON; an empty one counts as `{}`.
fn body(arrived: &Arrived) -> Result<Value, Answer> {
    if arrived.body.is_empty() {
        return Ok(json!({}));
    }
    serde_json::from_slice(&arrived.body)
        .map_err(|error| Answer::problem(400, "not JSON", "", &error.to_string()))
}

fn ledger(shared: &Shared, arrived: &Arrived) -> Answer {
    let query = parse_query(&arrived.query);
    let since = match query.get("since").map(|text| text.parse::<u64>()) {
        None => 0,
        Some(Ok(since)) => since,
        Some(Err(_)) => {
            return Answer::problem(422, "bad query", "", "since is the number of an effect");
        }
    };
    let world = shared.world();
    Answer::json(200, &world.ledger.to_json(world.now_ms(), since))
}

fn faults(shared: &Shared, arrived: &Arrived) -> Answer {
    let list = match body(arrived) {
        Ok(list) => list,
        Err(answer) => return answer,
    };
    match shared.faults().replace(&list) {
        Ok(rules) => Answer::json(200, &json!(rules)),
        Err(bad) => Answer::problem(422, "bad rule", &bad.pointer, &bad.detail),
    }
}

/// `{"advance":"61m"}` moves the clock; `{"freeze":true}` lets it stand, so that a test on a slow
/// machine stays inside its window, and `{"freeze":false}` lets it go on.
fn clock(shared: &Shared, arrived: &Arrived) -> Answer {
    let body = match body(arrived) {
        Ok(body) => body,
        Err(answer) => return answer,
    };
    let bad = |pointer: &str, says: &str| Answer::problem(422, "bad clock", pointer, says);
    let span = match (body.get("advance"), body.get("freeze")) {
        (None, Some(_)) => Some(0),
        (advance, _) => advance.and_then(Value::as_str).and_then(parse_span),
    };
    let Some(span) = span else {
        return bad(
            "/advance",
            "advance is a duration such as \"61m\" or \"-5m\"",
        );
    };
    if body
        .get("freeze")
        .is_some_and(|freeze| !freeze.is_boolean())
    {
        return bad("/freeze", "freeze is true or false");
    }
    let mut world = shared.world();
    world.clock.advance(span);
    if let Some(freeze) = body.get("freeze").and_then(Value::as_bool) {
        world.clock.freeze(freeze);
    }
    world.touch(Touched::Clock);
    shared.journal(&mut world);
    Answer::json(200, &json!({ "now": world.now_ms() }))
}

fn world(world: &World) -> Value {
    let chat = |chat: &Chat| {
        json!({
            "chat_id": chat.chat_id, "name": chat.name, "members": chat.members,
            "bots": chat.bots(), "p2p": !chat.is_group(),
        })
    };
    let groups = world.groups.iter().filter_map(|id| world.chats.get(id));
    let mut talks: Vec<&Chat> = world
        .chats
        .values()
        .filter(|chat| !chat.is_group() && !chat.messages.is_empty())
        .collect();
    talks.sort_unstable_by_key(|chat| &chat.chat_id);
    let apps: Vec<Value> = world
        .seed
        .apps
        .iter()
        .map(|app| json!({ "app_id": app.app_id }))
        .collect();
    let hooks: Vec<Value> = world
        .seed
        .hooks
        .iter()
        .map(|hook| {
            json!({
                "hook": hook.hook, "chat_id": hook.chat_id, "name": hook.name,
                "signed": hook.secret.is_some(), "keywords": hook.keywords,
            })
        })
        .collect();
    json!({
        "now": world.now_ms(),
        "apps": apps,
        "hooks": hooks,
        "users": world.seed.users,
        "chats": groups.chain(talks).map(chat).collect::<Vec<_>>(),
        "departments": world.seed.departments,
        "limits": world.seed.limits,
        "switches": world.seed.switches,
    })
}

fn image(shared: &Shared, path: &str) -> Answer {
    let key = path.trim_start_matches("/_sandbox/image/");
    match shared.world().uploads.get(key) {
        Some(upload) if upload.is_image() => Answer {
            http: 200,
            headers: upload.headers(),
            body: upload.bytes.clone(),
        },
        _ => Answer::problem(404, "not found", "", "no such image"),
    }
}
