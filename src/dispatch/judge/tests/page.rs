//! docs/ENDPOINTS.md: written from the tables and by asking `judge`, so that the page says what the relay does.
//!
//! `INSTA_UPDATE=always` writes the file anew; else a file that differs fails. Whether it is complete is held against
//! lists that were taken from the platform's pages (`errors`, and the endpoints here), not from the tables.

use std::collections::BTreeMap;
use std::fmt::Write;

use feishu_im::codes::{self, CodeRow, Scope, Sub};
use feishu_im::limits::Window;
use feishu_im::{Paced, Tier, Topic, Who};

use super::*;
use crate::job::Kind;

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/ENDPOINTS.md");

const HEAD: &str = "\
# Endpoints and codes

What the relay makes of every endpoint of Feishu's messaging API, and of every code that these answer. Generated from the code
(`INSTA_UPDATE=always cargo test page`): the tables of `feishu-im`, the kinds of `job`, and what `judge` decides. A test fails when
this file differs.

## Endpoints

- **Kind**: the job that makes the call. `own`: the relay makes it itself. A read is made by no job of a producer's: it passes
  through `/open-apis`.
- **Repeat**: what a second execution does. KEY: nothing, under the same `uuid` within its hour. SET: writes the same again. GUARD:
  fails with a code that proves the first. DUP: a second visible effect. ORPHAN: another object that nobody sees. READ: nothing.
- **Limits**: those that Feishu publishes and the relay keeps, for each app and endpoint, and beside them those of one receiver,
  message or day. A group's five a second are shared by all calls that send there.
- **Answer lost**: after a time-out, a cut connection, a 5xx or a crash nobody knows whether it happened.

";

/// Calls of the platform's page on endpoints, with the custom bot of its page on messages. Not here: the three of store apps
/// (`POST /auth/v3/app_access_token`, `/auth/v3/tenant_access_token`, `/auth/v3/app_ticket/resend`).
const PAGE: &str = "
    POST /auth/v3/tenant_access_token/internal, POST /auth/v3/app_access_token/internal,
    POST /im/v1/messages, POST /message/v4/batch_send/, POST /im/v1/messages/:message_id/reply,
    PUT /im/v1/messages/:message_id, DELETE /im/v1/messages/:message_id,
    DELETE /im/v1/batch_messages/:batch_message_id, POST /im/v1/messages/:message_id/forward,
    POST /im/v1/messages/merge_forward, POST /im/v1/threads/:thread_id/forward,
    GET /im/v1/messages/:message_id/read_users, GET /im/v1/messages,
    GET /im/v1/messages/:message_id/resources/:file_key, GET /im/v1/messages/:message_id,
    GET /im/v1/batch_messages/:batch_message_id/read_user,
    GET /im/v1/batch_messages/:batch_message_id/get_progress,
    POST /im/v1/messages/:message_id/push_follow_up,
    POST /im/v1/images, GET /im/v1/images/:image_key, POST /im/v1/files, GET /im/v1/files/:file_key,
    PATCH /im/v1/messages/:message_id, POST /interactive/v1/card/update,
    POST /ephemeral/v1/send, POST /ephemeral/v1/delete,
    POST /im/v1/messages/:message_id/reactions, GET /im/v1/messages/:message_id/reactions,
    DELETE /im/v1/messages/:message_id/reactions/:reaction_id,
    POST /im/v1/messages/reactions/batch_query,
    PATCH /im/v1/messages/:message_id/urgent_app, PATCH /im/v1/messages/:message_id/urgent_sms,
    PATCH /im/v1/messages/:message_id/urgent_phone,
    POST /im/v1/pins, DELETE /im/v1/pins/:message_id, GET /im/v1/pins,
    POST /im/v2/url_previews/batch_update, GET /bot/v3/info, POST /bot/v2/hook/:hook";

fn page() -> String {
    let mut page = String::from(HEAD);
    page.push_str("| Call | Kind | Repeat | Limits | Answer lost |\n|---|---|---|---|---|\n");
    for api in Api::ALL {
        let row = api.endpoint();
        let call = row.call.replacen("/open-apis", "", 1);
        let repeat = format!("{:?}", row.repeat).to_uppercase();
        let (kind, limits, lost) = (kind(*api), limits(*api), lost(*api));
        writeln!(page, "| `{call}` | {kind} | {repeat} | {limits} | {lost} |").unwrap();
    }
    page.push_str(
        "\nTokens of store apps (`POST /auth/v3/app_access_token`, `/auth/v3/tenant_access_token`, `/auth/v3/app_ticket/resend`) are not\n\
         taken: the relay speaks for self-built apps. Any other path is passed through for clients with the scope `direct`.\n\n\
         ## Codes\n\n\
         A code means something per endpoint: the narrower row wins, a named call over a group of calls over any, words in the message\n\
         over none. `feishu-relay explain CODE` says the same in English or Chinese. *After a lost answer* a refusal speaks of its own\n\
         attempt alone: the job ends in doubt, but where the row says otherwise.\n",
    );
    for (place, rows) in by_place() {
        write!(page, "\n### {place}\n\n| Code | What it says | What follows | Mended by |\n|---|---|---|---|\n").unwrap();
        for row in rows {
            let (code, follows, who) = (code_of(row), follows(row), who(row.who));
            writeln!(page, "| {code} | {} | {follows} | {who} |", row.meaning).unwrap();
        }
    }
    page
}

fn kind(api: Api) -> String {
    let found = Kind::all().find(|kind| kind.api() == api);
    match (found, api.endpoint().repeat) {
        (Some(kind), _) if kind.is_public() => format!("`{}`", kind.name()),
        (Some(kind), _) => format!("read; own: `{}`", kind.name()),
        (None, _) if api.endpoint().family == Family::Token => "own".into(),
        (None, Repeat::Read) => "read".into(),
        (None, _) => "none: passed on".into(),
    }
}

fn window(window: Window) -> String {
    let span = match window.ms {
        1_000 => "s",
        60_000 => "min",
        86_400_000 => "day",
        other => panic!("{other}"),
    };
    format!("{}/{span}", window.count)
}

fn limits(api: Api) -> String {
    use feishu_im::limits::{MESSAGE_SECOND, USER_SECOND};
    let row = api.endpoint();
    let mut all: Vec<String> = row.tier.windows().iter().map(|one| window(*one)).collect();
    match row.tier {
        Tier::Unpublished => all.push("none published".into()),
        Tier::Bot => all.push("for each bot, of no app".into()),
        Tier::Four | Tier::Six => {}
    }
    all.extend(row.paces.iter().map(|pace| match pace {
        Paced::Receiver => format!("{} to one group or person", window(USER_SECOND)),
        Paced::Message => format!("{} on one message", window(MESSAGE_SECOND)),
        Paced::Group(one) => format!("{} in one group", window(*one)),
        Paced::Day(one) => format!("{} people", window(*one)),
    }));
    if !row.counted {
        all.push("not counted in the month".into());
    }
    all.join(", ")
}

/// What `judge` does after an answer that never came, and what a producer may ask for beyond.
fn lost(api: Api) -> String {
    let resends = Subject {
        on_doubt: OnDoubt::Resend,
        ..fresh(api)
    };
    let may_resend = match next(&resends, &timed_out(api)) {
        Next::Again(again) if again.spend == Spend::Resend => {
            "; once more where `on_doubt` says `resend`"
        }
        _ => "; never sent again but by a person",
    };
    let proofs: Vec<String> = codes::rows()
        .filter(|row| row.proof && covers(row, api))
        .map(|row| row.code.to_string())
        .collect();
    let proof = match proofs.is_empty() {
        true => String::new(),
        false => format!("; {} proves that it worked", proofs.join(" or ")),
    };
    match (next(&fresh(api), &timed_out(api)), api.endpoint().repeat) {
        (Next::InDoubt, _) => format!("in doubt at once{may_resend}"),
        (Next::Again(again), _) if again.verify => {
            format!("looked at first, repeated where that shows nothing{proof}")
        }
        (Next::Again(_), Repeat::Key) => {
            "repeated under the same `uuid` for 50 min, then in doubt".into()
        }
        (Next::Again(_), Repeat::Orphan) => "repeated; a first key that nobody uses is left".into(),
        (Next::Again(_), Repeat::Read) => "asked again".into(),
        (Next::Again(_), Repeat::Set | Repeat::Guard) => format!("repeated{proof}"),
        (other, repeat) => panic!("{api:?} {repeat:?}: {other:?}"),
    }
}

fn covers(row: &CodeRow, api: Api) -> bool {
    match row.apis {
        Scope::Any => true,
        Scope::Topic(topic) => api.endpoint().topic == topic,
        Scope::Only(names) => names.contains(&api.name()),
        Scope::Client => false,
    }
}

/// Rows under the words of where they hold, the widest first.
fn by_place() -> Vec<(String, Vec<&'static CodeRow>)> {
    let mut places: BTreeMap<(u8, String), Vec<&CodeRow>> = BTreeMap::new();
    for row in codes::rows() {
        let place = match row.apis {
            Scope::Any => (0, "Any call".to_owned()),
            Scope::Topic(topic) => (1, topic_words(topic).to_owned()),
            Scope::Only(names) => (2, format!("Only {}", names.join(", "))),
            Scope::Client => (3, "In the user's client, never in an answer".to_owned()),
        };
        places.entry(place).or_default().push(row);
    }
    places
        .into_iter()
        .map(|((_, at), rows)| (at, rows))
        .collect()
}

fn topic_words(topic: Topic) -> &'static str {
    match topic {
        Topic::Token => "Tokens",
        Topic::Message => "Messages, urgent, pins, reads, cards by their message",
        Topic::BatchSend => "Batch send",
        Topic::File => "Images, files, resources",
        Topic::Reaction => "Reactions",
        Topic::FollowUp => "Follow-up bubbles",
        Topic::DelayedCard => "Delayed card update",
        Topic::Ephemeral => "Cards for one member",
        Topic::Webhook => "Custom bots",
        Topic::Plain => "No others",
    }
}

fn code_of(row: &CodeRow) -> String {
    match row.sub {
        Sub::None => row.code.to_string(),
        Sub::Text(words) => format!("{} with “{words}”", row.code),
        Sub::Card(card) => format!("{} with ErrCode {card}", row.code),
        Sub::CardText(card, words) => format!("{} with ErrCode {card}, “{words}”", row.code),
    }
}

fn who(who: Who) -> &'static str {
    match who {
        Who::Caller => "caller",
        Who::Admin => "administrator",
        Who::Nobody => "nobody",
        Who::Relay => "itself",
    }
}

/// What `judge` does to a job that was never tried, when this is the answer.
fn follows(row: &CodeRow) -> String {
    let Some(api) = Api::ALL.iter().copied().find(|api| covers(row, *api)) else {
        return "the relay never sees it".into();
    };
    let msg = match row.sub {
        Sub::None => String::new(),
        Sub::Text(words) => words.to_owned(),
        Sub::Card(card) => format!("ErrCode: {card}"),
        Sub::CardText(card, words) => format!("ErrCode: {card}; {words}"),
    };
    let verdict = of(api, Ok(reply(400, row.code, &msg)));
    let judged = judge(&fresh(api), &verdict, NOW);
    let stops = |scope| match scope {
        PauseScope::App => "the app waits",
        PauseScope::AppApi if api == Api::Webhook => "the bot waits",
        PauseScope::AppApi => "the call waits for the whole app",
        PauseScope::Tenant => "all apps of the tenant wait",
    };
    let mut said = match (judged.pause, judged.bucket, judged.outcome, judged.next) {
        (Some((scope, _)), ..) => format!("{}, and is tried now and then", stops(scope)),
        (None, Some((bucket, _)), ..) => limited(bucket).to_owned(),
        (None, None, Outcome::Unknown, _) if verdict.in_progress => {
            "is looked at again soon: this very call is still carried out".into()
        }
        (None, None, Outcome::Unknown, _) => "may have happened: as a lost answer".into(),
        (None, None, _, Next::Done) => "done".into(),
        (None, None, _, Next::Failed(class)) => format!("failed, class `{}`", class.name()),
        (None, None, _, Next::InDoubt) => "in doubt".into(),
        (None, None, _, Next::Lower) => panic!("nobody asked for it"),
        (None, None, _, Next::Again(again)) => match again.spend {
            Spend::Token => match row.pause {
                Some(scope) => format!("once more with a new token, then {}", stops(scope)),
                None => "once more with a new token".into(),
            },
            Spend::Try => format!("tried again, at most {RETRY_TRIES} times"),
            Spend::Unclear => format!("tried slowly, at most {UNCLEAR_TRIES} times"),
            Spend::None | Spend::Unsent | Spend::Resend => "tried again".into(),
        },
    };
    let lowers = Subject {
        can_lower: true,
        ..fresh(api)
    };
    if judge(&lowers, &verdict, NOW).next == Next::Lower {
        said.push_str("; a card goes as a post or a text where `on_refused` says `degrade`");
    }
    if row.proof {
        said.push_str("; after a lost answer done: it proves that one");
    }
    if row.same_bytes {
        said.push_str("; so too after a lost answer, for it speaks of the bytes");
    }
    said
}

fn limited(bucket: BucketKind) -> &'static str {
    match bucket {
        BucketKind::Api => "the call pauses, no attempt is spent",
        BucketKind::Receiver => "that receiver pauses, no attempt is spent",
        BucketKind::Message => "that message pauses, no attempt is spent",
        BucketKind::BatchDay => "batches pause, no attempt is spent",
        BucketKind::Month => "the month is used up",
    }
}

#[test]
fn the_page_of_endpoints_is_what_the_tables_and_the_judge_say() {
    let page = page();
    if std::env::var("INSTA_UPDATE").is_ok_and(|word| word == "always") {
        std::fs::write(FILE, &page).unwrap();
    }
    let file = std::fs::read_to_string(FILE).unwrap_or_default();
    let differs = page.lines().zip(file.lines()).find(|(new, old)| new != old);
    assert!(
        page == file,
        "docs/ENDPOINTS.md is not what the code does, first {differs:?}; INSTA_UPDATE=always writes it anew"
    );
}

#[test]
fn every_endpoint_and_every_code_of_the_platforms_pages_has_its_row() {
    let file = std::fs::read_to_string(FILE).unwrap();
    let (endpoints, codes) = file.split_once("\n## Codes\n").unwrap();
    for call in PAGE.split(',').map(str::trim) {
        assert!(endpoints.contains(&format!("\n| `{call}` |")), "{call}");
    }
    assert_eq!(endpoints.matches("\n| `").count(), PAGE.split(',').count());
    let sections: Vec<(&str, &str)> = codes
        .split("\n### ")
        .skip(1)
        .map(|section| section.split_once('\n').unwrap())
        .collect();
    for api in Api::ALL {
        for (code, ..) in super::errors::pages(*api)
            .into_iter()
            .flat_map(super::errors::rows)
        {
            let has = |(at, rows): &&(&str, &str)| {
                let here = *at == "Any call"
                    || *at == topic_words(api.endpoint().topic)
                    || at
                        .strip_prefix("Only ")
                        .is_some_and(|names| names.split(", ").any(|name| name == api.name()));
                here && (rows.contains(&format!("\n| {code} |"))
                    || rows.contains(&format!("\n| {code} with")))
            };
            assert!(
                sections.iter().any(|section| has(&section)),
                "{api:?} {code}"
            );
        }
    }
    for (card, ..) in super::errors::CARDS {
        assert!(codes.contains(&format!("ErrCode {card}")), "{card}");
    }
    // Shown to people only; the page on errors has them all the same.
    for code in [200_671, 200_672, 200_673] {
        assert!(codes.contains(&format!("\n| {code} |")), "{code}");
    }
}
