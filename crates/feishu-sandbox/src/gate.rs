//! The gateway: from a request to its answer.
//!
//! Order: fault before the effect, path, method, token, tier, month, the endpoint, fault after the
//! effect. Whatever a call changes is journaled before its answer leaves.
//! Source of the order: limits.md 2 (gateway, then checks, then execution).

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::json;
use uuid::Uuid;

use crate::answer::{Answer, Reply};
use crate::call::{Answered, Arrived, Call, parse_query};
use crate::clock::stamp;
use crate::codes::Refusal;
use crate::faults::{Do, Rule, When};
use crate::seed::LimitBody;
use crate::shared::Shared;
use crate::table::{Auth, ENDPOINTS, Endpoint, Failures, Route, Tier, route};
use crate::windows::{Ask, Scope};
use crate::world::{Touched, World};

/// How long an injected wait may last: longer than any client's patience.
const DELAY_MS_MAX: u64 = 600_000;

/// Answers a call to `/open-apis/`.
pub(crate) async fn handle(shared: &Arc<Shared>, arrived: Arrived) -> Reply {
    let found = route(&arrived.method, &arrived.path);
    let path = match &found {
        Route::Found(at, _) => ENDPOINTS[*at].path,
        Route::WrongMethod | Route::Unknown => arrived.path.as_str(),
    };
    let Some(rule) = shared.faults().pick(&arrived.method, path) else {
        return Reply::Whole(execute(shared, &found, &arrived, false).answer);
    };
    count_fault(shared, &found, &rule);
    let shared = Arc::clone(shared);
    // A call goes on when its caller hangs up: a server that is slow is still at work.
    let work = tokio::spawn(async move { spoiled(&shared, &found, &arrived, &rule).await });
    work.await.unwrap_or(Reply::Nothing)
}

/// Answers a call under a fault.
async fn spoiled(shared: &Shared, found: &Route, arrived: &Arrived, rule: &Rule) -> Reply {
    let wait = Duration::from_millis(rule.ms.unwrap_or(0).min(DELAY_MS_MAX));
    match (rule.when, rule.what) {
        (When::Before, Do::Delay) => {
            tokio::time::sleep(wait).await;
            if shared.is_closed() {
                return Reply::Nothing;
            }
            Reply::Whole(execute(shared, found, arrived, false).answer)
        }
        (When::After, Do::Delay) => {
            let executed = execute(shared, found, arrived, true);
            tokio::time::sleep(wait).await;
            if let Some(key) = executed.busy_uuid {
                shared.world().busy_uuids.remove(&key);
            }
            Reply::Whole(executed.answer)
        }
        (When::Before, _) => {
            let never = Answer::json(200, &json!({ "code": 0, "msg": "success", "data": {} }));
            spoil(rule, never)
        }
        (When::After, _) => spoil(rule, execute(shared, found, arrived, false).answer),
    }
}

/// Does to an answer what a rule says.
fn spoil(rule: &Rule, answer: Answer) -> Reply {
    let http = |default: u16| rule.http.unwrap_or(default);
    match rule.what {
        Do::Drop => Reply::Nothing,
        Do::Reset => Reply::Reset,
        Do::Cut => Reply::Half(answer),
        Do::Delay => Reply::Whole(answer),
        Do::ServerError => Reply::Whole(match rule.code {
            Some(code) => coded(http(503), code),
            None => Answer::of(
                http(503),
                "text/html",
                Bytes::from_static(b"<h1>upstream error</h1>"),
            ),
        }),
        Do::TooMany => Reply::Whole(
            coded(http(429), rule.code.unwrap_or(99_991_400))
                .with("x-ogw-ratelimit-limit", "50")
                .with(
                    "x-ogw-ratelimit-reset",
                    rule.reset_s.unwrap_or(1).to_string(),
                ),
        ),
        Do::Code => {
            let code = rule.code.unwrap_or(0);
            Reply::Whole(coded(http(Refusal::code(code).http), code))
        }
    }
}

fn coded(http: u16, code: i64) -> Answer {
    let log_id = new_log_id(crate::clock::real_ms());
    Answer::json(http, &Refusal::code(code).body(&log_id)).with("x-tt-logid", log_id)
}

/// An executed call.
struct Executed {
    answer: Answer,
    /// The uuid held busy until the answer is let go.
    busy_uuid: Option<String>,
}

/// Runs a call to its end under the world's lock.
fn execute(shared: &Shared, found: &Route, arrived: &Arrived, hold_uuid: bool) -> Executed {
    let mut world = shared.world();
    let world = &mut *world;
    let log_id = new_log_id(world.now_ms());
    let (at, params) = match found {
        Route::Found(at, params) => (*at, params.as_slice()),
        Route::WrongMethod => return plain(&Refusal::code(99_991_301), log_id),
        Route::Unknown => return plain(&Refusal::code(99_991_201), log_id),
    };
    let row = &ENDPOINTS[at];
    let now_ms = world.now_ms();
    let (result, uuid_key) = match admit(world, at, arrived, now_ms) {
        Err(refusal) => (Err(refusal), None),
        Ok(app_id) => {
            let query = parse_query(&arrived.query);
            let mut call = Call {
                world,
                at,
                app_id,
                params,
                query,
                arrived,
                now_ms,
                uuid_key: None,
            };
            let result = (row.handle)(&mut call);
            (result, call.uuid_key)
        }
    };
    let answer = match &result {
        Ok(Answered::Json(body)) => Answer::json(200, body).with("x-tt-logid", log_id),
        Ok(Answered::File { headers, bytes }) => Answer {
            http: 200,
            headers: headers.clone(),
            body: bytes.clone(),
        }
        .with("x-tt-logid", log_id),
        Err(refusal) => refused(world, row, refusal, &log_id),
    };
    book(world, at, result.as_ref().err(), answer.http);
    let busy_uuid = uuid_key.filter(|_| hold_uuid && world.switches().uuid_busy);
    world.busy_uuids.extend(busy_uuid.clone());
    shared.journal(world);
    Executed { answer, busy_uuid }
}

fn plain(refusal: &Refusal, log_id: String) -> Executed {
    let answer = Answer::json(refusal.http, &refusal.body(&log_id)).with("x-tt-logid", log_id);
    Executed {
        answer,
        busy_uuid: None,
    }
}

/// Lets a call past the gateway and names its app.
fn admit(world: &mut World, at: usize, arrived: &Arrived, now_ms: i64) -> Result<String, Refusal> {
    let row = &ENDPOINTS[at];
    if row.auth == Auth::Nobody {
        return Ok(String::new());
    }
    let token_http = world.switches().token_http;
    let app_id = caller(world, arrived, now_ms).map_err(|code| Refusal {
        http: token_http,
        ..Refusal::code(code)
    })?;
    take_tier(world, row, &app_id, now_ms)?;
    let month = world.limits().month;
    if row.counted && month > 0 && world.spent.month_calls(now_ms) >= month {
        return Err(Refusal::code(99_991_403).by_a_window());
    }
    match world
        .seed
        .apps
        .iter()
        .find(|app| app.app_id == app_id)
        .and_then(|app| app.refuse)
    {
        Some(code) => Err(Refusal::code(code)),
        None => Ok(app_id),
    }
}

/// The app of the token, or the code against it. Source: errors.md 2, endpoints.md 0.
fn caller(world: &World, arrived: &Arrived, now_ms: i64) -> Result<String, i64> {
    let header = arrived.authorization.as_deref().unwrap_or_default();
    let token = header
        .strip_prefix("Bearer ")
        .map(str::trim)
        .unwrap_or_default();
    if token.is_empty() {
        return Err(99_991_661);
    }
    let known = world
        .tokens
        .get(token)
        .filter(|known| now_ms < known.expires_ms);
    match known {
        Some(known) => Ok(known.app_id.clone()),
        None if token.starts_with("u-") || token.starts_with("eyJ") => Err(99_991_668),
        None if token.starts_with("t-") || token.starts_with("a-") => Err(99_991_663),
        None => Err(99_991_671),
    }
}

/// Takes a place in the API's minute and second. Source: limits.md 1.1, 2 (kind A).
fn take_tier(world: &mut World, row: &Endpoint, app_id: &str, now_ms: i64) -> Result<(), Refusal> {
    if row.tier == Tier::None {
        return Ok(());
    }
    let limits = world.limits();
    let key = format!("{app_id} {} {}", row.method, row.path);
    let (minute, second) = match row.tier {
        Tier::Six => (0, limits.preview_second),
        Tier::Four | Tier::None => (limits.app_minute, limits.app_second),
    };
    let asks = [
        Ask {
            scope: Scope::AppMinute,
            key: key.clone(),
            limit: minute,
        },
        Ask {
            scope: Scope::AppSecond,
            key,
            limit: second,
        },
    ];
    let refused_count = world.switches().refused_calls_count;
    match world.windows.take(&asks, now_ms, refused_count) {
        None => Ok(()),
        Some(full) => Err(Refusal::by_the_gateway(&full)),
    }
}

/// The answer of a refusal: old calls fail with HTTP 200 behind the gateway.
fn refused(world: &World, row: &Endpoint, refusal: &Refusal, log_id: &str) -> Answer {
    let http = match row.failures {
        _ if refusal.gateway => refusal.http,
        Failures::Http => refusal.http,
        Failures::Always200 => 200,
        Failures::Old => world.switches().old_http,
    };
    let answer = match world.switches().limit_body {
        LimitBody::Empty if refusal.code == 99_991_400 => {
            Answer::of(http, "text/plain", Bytes::new())
        }
        LimitBody::Text if refusal.code == 99_991_400 => {
            Answer::of(http, "text/plain", Bytes::from_static(b"too many requests"))
        }
        _ => Answer::json(http, &refusal.body(log_id)),
    };
    let with_headers = refusal
        .headers
        .iter()
        .fold(answer, |answer, (name, value)| answer.with(name, value));
    with_headers.with("x-tt-logid", log_id)
}

/// Counts a call in ledger and month. Source: limits.md 1.3 (failed calls are not counted).
fn book(world: &mut World, at: usize, refusal: Option<&Refusal>, http: u16) {
    let counts = &mut world.ledger.counts[at];
    counts.made += 1;
    match refusal {
        None => counts.done += 1,
        Some(refusal) if refusal.limited => counts.limited += 1,
        Some(_) => counts.refused += 1,
    }
    world.touch(Touched::Calls(at));
    if ENDPOINTS[at].counted && http < 400 && world.limits().month > 0 {
        let now_ms = world.now_ms();
        world.spent.count_call(now_ms);
        world.touch(Touched::Spent);
    }
}

/// Counts a fault; a call that it keeps from being executed is counted as made here.
fn count_fault(shared: &Shared, found: &Route, rule: &Rule) {
    let Route::Found(at, _) = found else { return };
    let mut world = shared.world();
    let counts = &mut world.ledger.counts[*at];
    counts.faulted += 1;
    counts.made += u64::from(rule.when == When::Before && rule.what != Do::Delay);
    world.touch(Touched::Calls(*at));
    shared.journal(&mut world);
}

/// A new trace id: a time and a tail.
fn new_log_id(at_ms: i64) -> String {
    let tail = Uuid::now_v7().simple().to_string().to_uppercase();
    format!("{}{}", stamp(at_ms), &tail[12..])
}
