//! The platform's page of errors, code by code, and what each does to a job: written from that page, not
//! from the tables of `feishu-im`.
//!
//! Letters as there: R later, L limited, T token, C caller, P admin, G gone, A ambiguous, D done; U is the
//! one that it holds for a person. After a letter stands what pauses (`app`, `api`, `tenant`) where every
//! job would be refused alike.

use super::*;

/// Any endpoint.
const GATEWAY: &str = "
    99991400 L, 99991403 P tenant, 99991401 P app,
    99991661 T, 99991663 T, 99991664 T, 99991665 T, 99991668 T, 99991677 T, 99991671 T,
    99991662 P app, 99991673 P app, 99991672 P api, 99991676 P api, 99991679 P,
    10012 R, 10013 R, 99991201 C, 99991301 C, 99992402 C,
    99992351 C, 99992352 C, 99992353 C, 99992359 C, 99992360 C, 99992363 C,
    99992354 G, 99992355 G, 99992356 G, 99992361 C, 99992364 C, 99992381 C,
    9499 C, 4000 C, 4005 C, 10100 C, 10400 C, 4001 T,
    1500 A, 1663 A, 5000 A, 10101 A, 10500 A, 2200 A";
/// Create, urgent, pins, reads, recall.
const MESSAGES: &str = "
    230001 C, 230002 P, 230006 P api, 230009 C, 230012 C, 230013 P, 230015 C, 230017 C, 230018 P,
    230019 G, 230020 L, 230022 C, 230023 R, 230024 P, 230025 C, 230026 C, 230027 P, 230028 C, 230029 G,
    230030 C, 230031 C, 230033 C, 230034 C, 230035 P, 230036 P, 230038 P, 230045 G, 230046 P, 230047 L,
    230048 L, 230049 A, 230050 C, 230052 P, 230053 P, 230054 C, 230055 C, 230061 C, 230062 P, 230063 G,
    230064 G, 230065 G, 230066 C, 230067 C, 230069 C, 230070 P, 230075 C, 230098 C, 230099 C, 230101 U,
    230111 C, 231203 C, 231204 C, 232009 G";
const NOT_RECALL: &str = "230011 G, 230110 G";
const RECALL: &str = "230011 D, 230110 D";
const REPLY: &str = "230071 C, 230072 C";
const EDIT: &str = "230071 C, 230072 C, 230073 C, 230074 C";
const FORWARDS: &str = "230073 P, 230074 P";
const FOLLOW_UP: &str = "
    230002 C, 230003 C, 230004 C, 230005 P, 230006 C, 230007 C, 230008 D";
const REACTIONS: &str = "
    231001 C, 231002 P, 231003 G, 231004 G, 231005 G, 231006 R, 231007 C, 231008 P, 231010 C, 231012 C, 231013 C,
    231014 C, 231015 A, 231017 C, 231018 C, 231019 P, 231020 P, 231021 P, 231022 P, 230110 G, 232009 G";
const NOT_UNREACT: &str = "231011 C";
const UNREACT: &str = "231011 D";
const DELAYED: &str = "
    10002 C, 11311 C, 100030 C, 200320 C, 300020 C, 300090 C, 100000 C, 200000 G, 200310 C, 300030 C, 300040 C";
const EPHEMERAL: &str = "18051 D";
const UPLOADS: &str = "
    232096 R, 234001 C, 234002 T, 234003 C, 234004 P, 234005 G, 234006 C, 234007 P api, 234008 C, 234009 P,
    234010 C, 234011 C, 234019 R, 234037 C, 234038 P, 234039 C, 234040 C, 234041 P, 234042 R, 234043 C";
const BATCH: &str = "
    10002 C, 10003 C, 11101 C, 11203 P, 11204 P, 11205 P api, 11207 P api, 11209 P api, 11210 P api,
    11223 P api, 11227 C, 11231 G, 11232 L, 11233 L, 11235 P, 11246 C, 11247 L, 11312 C, 18120 P, 18121 A,
    19036 C, 230100 C";
/// Custom bots: the page has 11232 (its section of limits); the others are on the bots' own page. What speaks
/// of the bot stops the bot.
const WEBHOOK: &str = "11232 L, 19001 P api, 19002 C, 19021 P api, 19022 P api, 19024 C";
/// On the token endpoint.
const TOKEN: &str =
    "99991543 P app, 10014 P app, 10015 P app, 10005 P app, 10003 P app, 20002 P app";
/// Reasons of 230001.
const EXT: [(&str, char); 24] = [
    ("invalid receive_id", 'C'),
    ("invalid receive_id_type", 'C'),
    ("invalid chat_id", 'C'),
    ("invalid user_id", 'C'),
    ("invalid thread_id", 'C'),
    ("invalid message_id", 'C'),
    ("batch_message_id length is less than 4", 'C'),
    ("invalid msg_type", 'C'),
    ("content is not a string in json format", 'C'),
    ("validate content fail", 'C'),
    ("invalid message content", 'C'),
    ("content cannot be empty", 'C'),
    ("invalid image_key", 'C'),
    ("invalid file_key", 'C'),
    ("start_time invalid", 'C'),
    ("end_time earlier than start_time", 'C'),
    ("page_size exceeds the limit", 'C'),
    ("invalid page_token", 'C'),
    ("all ids in the user_id_list are invalid", 'C'),
    ("no valid message to forward", 'C'),
    ("This message is NOT a card", 'C'),
    ("this operation to bots is currently not supported", 'C'),
    (
        "sending system messages in group chats is not supported",
        'C',
    ),
    ("Internal Error", 'A'),
];
/// Reasons of a card that was not made, and words that decide.
pub(super) const CARDS: [(i64, &str, char); 17] = [
    (100_290, "", 'C'),
    (11_310, "template is not visible to app", 'P'),
    (11_310, "element exceeds the limit", 'C'),
    (11_310, "card action is lock", 'R'),
    (200_380, "", 'P'),
    (200_381, "", 'P'),
    (200_550, "", 'C'),
    (200_570, "", 'C'),
    (200_621, "", 'C'),
    (200_732, "", 'C'),
    (200_737, "", 'C'),
    (200_861, "", 'C'),
    (200_914, "", 'C'),
    (200_915, "", 'C'),
    (300_220, "", 'C'),
    (300_230, "", 'C'),
    (300_240, "", 'C'),
];

/// A line of the page: code, letter, what pauses.
pub(super) fn rows(page: &'static str) -> impl Iterator<Item = (i64, char, Option<PauseScope>)> {
    page.split(',').map(|row| {
        let words: Vec<&str> = row.split_whitespace().collect();
        let pause = words.get(2).map(|word| match *word {
            "app" => PauseScope::App,
            "api" => PauseScope::AppApi,
            "tenant" => PauseScope::Tenant,
            other => panic!("{other}"),
        });
        let letter = words[1].chars().next().unwrap();
        (words[0].parse().unwrap(), letter, pause)
    })
}

/// What the letter does to a job that was never tried.
#[track_caller]
fn does(api: Api, verdict: &Verdict, letter: char, pause: Option<PauseScope>) {
    let judgement = judge(&fresh(api), verdict, NOW);
    let said = format!("{api:?} {letter} {pause:?}: {judgement:?} of {verdict:?}");
    let scope = judgement.pause.map(|(scope, _)| scope);
    assert_eq!(scope, pause, "{said}");
    let repeat = api.endpoint().repeat;
    let spends = |spend| matches!(judgement.next, Next::Again(again) if again.spend == spend);
    let fails = |class| judgement.next == Next::Failed(class);
    let (outcome, right) = match letter {
        _ if pause.is_some() => (Outcome::Limited, spends(Spend::None)),
        'D' => (Outcome::Done, judgement.next == Next::Done),
        'L' => (
            Outcome::Limited,
            judgement.bucket.is_some() && spends(Spend::None),
        ),
        'T' => (Outcome::NotSent, spends(Spend::Token)),
        'C' => (Outcome::Refused, fails(FailClass::Caller)),
        'P' => (Outcome::Refused, fails(FailClass::Admin)),
        'G' => (Outcome::Refused, fails(FailClass::Gone)),
        'R' => (Outcome::Refused, spends(Spend::Try)),
        'U' if repeat == Repeat::Dup => (Outcome::Refused, fails(FailClass::Unclear)),
        'U' => (Outcome::Refused, spends(Spend::Unclear)),
        // A list tells; a click's token serves once more.
        'A' if api == Api::React => (Outcome::Unknown, spends(Spend::None)),
        'A' if api == Api::DelayUpdateCard => (Outcome::Unknown, spends(Spend::Resend)),
        'A' if repeat == Repeat::Dup => (Outcome::Unknown, judgement.next == Next::InDoubt),
        'A' if repeat == Repeat::Read => (Outcome::Unknown, spends(Spend::Unsent)),
        'A' => (Outcome::Unknown, spends(Spend::None)),
        'N' => (Outcome::NotSent, spends(Spend::Unsent)),
        other => panic!("{other}"),
    };
    assert!(judgement.outcome == outcome && right, "{said}");
}

/// The pages that speak of this endpoint. A later page has the last word about a number.
pub(super) fn pages(api: Api) -> Vec<&'static str> {
    match api {
        Api::BatchSend => vec![GATEWAY, BATCH],
        Api::Webhook => vec![GATEWAY, WEBHOOK],
        Api::UploadImage
        | Api::UploadFile
        | Api::DownloadImage
        | Api::DownloadFile
        | Api::GetResource => vec![GATEWAY, UPLOADS],
        Api::BotInfo => vec![GATEWAY],
        Api::TenantToken | Api::AppToken => vec![TOKEN],
        Api::Recall => vec![GATEWAY, MESSAGES, RECALL],
        Api::Reply => vec![GATEWAY, MESSAGES, NOT_RECALL, REPLY],
        Api::Edit => vec![GATEWAY, MESSAGES, NOT_RECALL, EDIT],
        Api::Forward | Api::MergeForward | Api::ForwardThread => {
            vec![GATEWAY, MESSAGES, NOT_RECALL, FORWARDS]
        }
        Api::FollowUp => vec![GATEWAY, FOLLOW_UP],
        Api::React | Api::ListReactions | Api::BatchQueryReactions => {
            vec![GATEWAY, REACTIONS, NOT_UNREACT]
        }
        Api::Unreact => vec![GATEWAY, REACTIONS, UNREACT],
        Api::DelayUpdateCard => vec![GATEWAY, DELAYED],
        Api::SendEphemeral | Api::DeleteEphemeral => vec![GATEWAY, EPHEMERAL],
        Api::SendMessage
        | Api::UrgentApp
        | Api::UrgentSms
        | Api::UrgentPhone
        | Api::Pin
        | Api::Unpin
        | Api::ListPins
        | Api::BatchRecall
        | Api::ReadUsers
        | Api::BatchProgress
        | Api::BatchReadUser
        | Api::GetMessage
        | Api::ListMessages
        | Api::UpdateCard
        | Api::UpdateUrlPreviews => vec![GATEWAY, MESSAGES, NOT_RECALL],
    }
}

#[test]
fn every_code_of_every_endpoint_does_what_the_page_says() {
    let mut checked = 0;
    for api in Api::ALL {
        for (number, letter, pause) in pages(*api).into_iter().flat_map(rows) {
            let https: &[u16] = match number {
                99_991_400 => &[429, 400],
                99_991_403 => &[429],
                234_002 => &[401],
                _ => &[200, 400],
            };
            for http in https {
                does(*api, &of(*api, Ok(reply(*http, number, ""))), letter, pause);
                checked += 1;
            }
            let ambiguous = of(*api, Ok(reply(503, number, "")));
            does(*api, &ambiguous, 'A', None);
        }
    }
    assert!(checked > 2_000, "{checked}");
}

#[test]
fn the_words_inside_a_message_decide_where_the_page_says_so() {
    let said = "Your request contains an invalid request parameter, ext=";
    for (words, letter) in EXT {
        let verdict = of(
            Api::SendMessage,
            Ok(reply(400, 230_001, &format!("{said}{words}."))),
        );
        does(Api::SendMessage, &verdict, letter, None);
    }
    for (number, words, letter) in CARDS {
        let msg = format!(
            "Failed to create card content, ext=ErrCode: {number}; ErrPath: ROOT -> elements; ErrMsg: {words}; ErrorValue: x"
        );
        for (api, outer) in [(Api::SendMessage, 230_099), (Api::BatchSend, 11_246)] {
            // A batch cannot be repeated, but what is refused for now was not carried out.
            does(api, &of(api, Ok(reply(400, outer, &msg))), letter, None);
        }
    }
    for (number, msg) in [
        (10_002, "internal error"),
        (11_246, "Service Internal Error"),
    ] {
        does(
            Api::BatchSend,
            &of(Api::BatchSend, Ok(reply(200, number, msg))),
            'A',
            None,
        );
    }
    for api in Api::ALL {
        let verdict = of(*api, Ok(reply(400, 9_499, "too many request")));
        does(*api, &verdict, 'L', None);
    }
}

#[test]
fn the_transport_does_what_the_page_says() {
    for api in Api::ALL {
        does(*api, &unsent(*api), 'N', None);
        for kind in [
            UnknownKind::Timeout,
            UnknownKind::Broken,
            UnknownKind::Garbled,
            UnknownKind::ServerError,
        ] {
            let fault = Fault::Unknown {
                kind,
                http: None,
                text: String::new(),
            };
            does(*api, &of(*api, Err(fault)), 'A', None);
        }
        for http in [500, 502, 503, 504, 599] {
            does(*api, &bare(*api, http), 'A', None);
            does(*api, &of(*api, Ok(reply(http, 987_654, ""))), 'A', None);
            does(*api, &of(*api, Ok(reply(http, 0, "success"))), 'A', None);
        }
        // Probably not carried out, but nothing proves it: as safe for a message, as careful for the rest.
        for http in [408, 425] {
            does(*api, &bare(*api, http), 'A', None);
            does(*api, &of(*api, Ok(reply(http, 987_654, ""))), 'A', None);
        }
        does(*api, &bare(*api, 429), 'L', None);
        for http in [403, 404, 405] {
            does(*api, &bare(*api, http), 'P', Some(PauseScope::AppApi));
        }
    }
}

#[test]
fn a_code_that_is_on_no_page_follows_its_status() {
    for api in Api::ALL {
        for (http, letter) in [
            (429, 'L'),
            (500, 'A'),
            (401, 'T'),
            (200, 'U'),
            (400, 'U'),
            (403, 'U'),
        ] {
            let verdict = of(*api, Ok(reply(http, 987_654, "?")));
            does(*api, &verdict, letter, None);
        }
    }
}

#[test]
fn a_token_endpoint_that_refuses_the_app_stops_the_app() {
    for (number, _, _) in rows(TOKEN) {
        let fault = TokenFault {
            http: 200,
            code: number,
            msg: String::new(),
        };
        let verdict = of(Api::SendMessage, Err(Fault::Token(fault)));
        does(Api::SendMessage, &verdict, 'P', Some(PauseScope::App));
    }
}
