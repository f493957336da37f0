//! Every number of the platform, once.
//!
//! Promises: a constant says its unit, its source and the day the source was read; relations between
//! constants are asserted beside them.
//! Not here: how to pace (the caller's), which code says a limit was hit (`codes`).
//!
//! Sources are Feishu Open Platform pages as of May 2026, read 2026-11-21, unless a line says otherwise.

/// A count of calls in a span of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Window {
    /// Calls allowed in any interval of `ms`.
    pub count: u32,
    /// Length of the interval in milliseconds.
    pub ms: i64,
}

const SECOND_MS: i64 = 1_000;
const MINUTE_MS: i64 = 60 * SECOND_MS;
const HOUR_MS: i64 = 60 * MINUTE_MS;
const DAY_MS: i64 = 24 * HOUR_MS;

/// Tier 4 per minute, for one API of one app in one tenant. Source: frequency control page, tier table.
pub const API_MINUTE: Window = Window {
    count: 1_000,
    ms: MINUTE_MS,
};
/// Tier 4 per second, at the same time as [`API_MINUTE`]. Source: frequency control page, tier table.
pub const API_SECOND: Window = Window {
    count: 50,
    ms: SECOND_MS,
};
/// Messages to one person. Source: send message page.
pub const USER_SECOND: Window = Window {
    count: 5,
    ms: SECOND_MS,
};
/// Messages to one group, shared by every bot in it. Source: send message page.
pub const CHAT_SECOND: Window = Window {
    count: 5,
    ms: SECOND_MS,
};
/// Pins, unpins and card updates of one message. Source: pin and card update pages.
pub const MESSAGE_SECOND: Window = Window {
    count: 5,
    ms: SECOND_MS,
};
/// Messages of batch sends a day for one app. Source: batch send page. The day's zone is not stated;
/// UTC+8 is assumed.
pub const BATCH_DAY: Window = Window {
    count: 500_000,
    ms: DAY_MS,
};
/// Cards for one member, in one group. Source: ephemeral card page.
pub const EPHEMERAL_CHAT_SECOND: Window = Window {
    count: 40,
    ms: SECOND_MS,
};
/// Updates of URL previews, for one app in one tenant. Source: URL preview update page.
pub const PREVIEW_SECOND: Window = Window {
    count: 5,
    ms: SECOND_MS,
};
/// Updates of one URL preview. Source: URL preview update page.
pub const PREVIEW_TOKEN: Window = Window {
    count: 1,
    ms: 5 * SECOND_MS,
};
/// A custom group bot per minute. Source: custom bot page.
pub const BOT_MINUTE: Window = Window {
    count: 100,
    ms: MINUTE_MS,
};
/// A custom group bot per second. Source: custom bot page.
pub const BOT_SECOND: Window = Window {
    count: 5,
    ms: SECOND_MS,
};

const _: () = assert!(API_MINUTE.count < API_SECOND.count * 60); // else the minute would never bind
const _: () =
    assert!(USER_SECOND.count <= API_SECOND.count && CHAT_SECOND.count <= API_SECOND.count);

/// Pause of an API after an over-limit answer without a reset header. Our choice.
pub const API_PAUSE_MS: i64 = SECOND_MS;
/// First pause of a receiver or a message after 230020 or 230047. Source: field reports (0.5 s and 1 s
/// sufficed), read 2026-11-21.
pub const RECEIVER_PAUSE_MS: i64 = 500;
/// Pause after 11232 or 11233, which only say "slow down". Our choice.
pub const BATCH_PAUSE_MS: i64 = 5 * SECOND_MS;
/// Between tries once the day's batch messages are used up, as the day's zone is not stated. Our choice.
pub const BATCH_DAY_PAUSE_MS: i64 = HOUR_MS;
/// Wait after "this very request is still running" (230049, 231015, 18121). Our choice: 1–5 s.
pub const IN_PROGRESS_WAIT_MS: i64 = SECOND_MS;
/// Longest pause taken from a header of the platform; a larger one is cut to it. Our choice.
pub const RESET_MAX_MS: i64 = HOUR_MS;

/// One `uuid` lets at most one send succeed in this time. Source: send message page.
pub const UUID_WINDOW_MS: i64 = HOUR_MS;
/// How long after the first unknown attempt a repeat under the same `uuid` is still safe. Our choice.
pub const SAFE_WINDOW_MS: i64 = 50 * MINUTE_MS;
/// Longest accepted time to the head of an answer, so that a repeat begun inside the safe window ends
/// inside the platform's. Our choice.
pub const TIMEOUT_MAX_MS: i64 = 2 * MINUTE_MS;
const _: () = assert!(SAFE_WINDOW_MS + 2 * TIMEOUT_MAX_MS < UUID_WINDOW_MS); // else one message, seen twice

/// Longest `uuid`, in characters. Source: send message page.
pub const UUID_CHARS_MAX: usize = 50;
/// Longest request body of a text, in bytes. The page says 150 KB; the smaller reading of KB is taken.
/// Source: send message page.
pub const TEXT_BYTES_MAX: usize = 150_000;
/// Longest request body of a post or a card, in bytes; other types are held to it too, as no larger
/// figure is stated. Smaller reading of 30 KB. Source: send message page.
pub const RICH_BYTES_MAX: usize = 30_000;
/// Longest content of a batch send, in bytes. Smaller reading of 30 KB. Source: batch send page.
pub const BATCH_BYTES_MAX: usize = 30_000;
/// Room kept in a send's body for everything but the content: keys, receiver, uuid. Our choice: the keys take 63
/// bytes, the uuid at most 50.
pub const ENVELOPE_BYTES: usize = 256;
const _: () = assert!(ENVELOPE_BYTES > 63 + UUID_CHARS_MAX && ENVELOPE_BYTES < RICH_BYTES_MAX);
/// Ids in each list of a batch send. Source: batch send page.
pub const BATCH_IDS_MAX: usize = 200;
/// People buzzed by one call. Source: urgent pages.
pub const URGENT_USERS_MAX: usize = 200;
/// Messages in one merged forward. Source: merge forward page.
pub const MERGE_FORWARD_MAX: usize = 100;
/// Bubbles of one follow-up. Source: follow-up bubbles page.
pub const FOLLOW_UPS_MAX: usize = 3;
/// Characters of a bubble, in each language. Source: follow-up bubbles page.
pub const FOLLOW_UP_CHARS_MAX: usize = 200;
/// Languages of a bubble beside its own. Source: follow-up bubbles page.
pub const FOLLOW_UP_LANGUAGES_MAX: usize = 50;
/// Preview tokens of one update. Source: URL preview update page.
pub const PREVIEW_TOKENS_MAX: usize = 10;
/// People of one update of URL previews. Source: URL preview update page.
pub const PREVIEW_USERS_MAX: usize = 100;
/// Messages of one batch query of reactions. Source: reaction batch query page.
pub const REACTION_QUERIES_MAX: usize = 20;
/// Reactions of each message of a batch query. Source: reaction batch query page.
pub const REACTIONS_PER_MESSAGE_MAX: u32 = 10;
/// Items on a page of reactions. Source: reaction list page.
pub const REACTIONS_PAGE_MAX: u32 = 50;
/// Edits of one message. Source: edit page.
pub const EDITS_MAX: u32 = 20;
/// Uses of the token of a click. An older page says three. Source: delayed card update page.
pub const CARD_TOKEN_USES: u32 = 2;
/// Bytes of a custom bot's body. Smaller reading of 20 KB. Source: custom bot page.
pub const BOT_BYTES_MAX: usize = 20_000;
/// Elements of a JSON 2.0 card. Source: card structure page.
pub const CARD_ELEMENTS_MAX: usize = 200;
/// Width of a divider's text, a Chinese character counting two: 20 letters or 10 Chinese ones.
/// Source: system message part of the content page.
pub const DIVIDER_WIDTH_MAX: usize = 20;
/// Bytes of an image. Smaller reading of 10 MB. Source: image upload page.
pub const IMAGE_BYTES_MAX: u64 = 10_000_000;
/// Width and height of an image, each. Source: image upload page, May 2026.
pub const IMAGE_SIDE_MAX: usize = 12_000;
/// The same of a GIF. Source: image upload page, May 2026.
pub const GIF_SIDE_MAX: usize = 2_000;
/// The same of an avatar. Source: image upload page, May 2026.
pub const AVATAR_SIDE_MAX: usize = 4_096;
/// Bytes of a file. Smaller reading of 30 MB. Source: file upload page.
pub const FILE_BYTES_MAX: u64 = 30_000_000;
/// Bytes of a download. The larger reading of 100 MB, as it bounds what the platform may answer. Source: download pages.
pub const DOWNLOAD_BYTES_MAX: u64 = 100 << 20;
/// Items on a page of history. Source: history page.
pub const HISTORY_PAGE_MAX: u32 = 50;
/// Items on a page of readers. Source: read users page.
pub const READ_USERS_PAGE_MAX: u32 = 100;
/// Items on a page of pins. Source: pin list page.
pub const PINS_PAGE_MAX: u32 = 50;

/// How long readers of a message can be asked for. Source: read users page.
pub const READ_USERS_WINDOW_MS: i64 = 7 * DAY_MS;
/// How long a batch's progress and counts can be asked for. Source: batch progress page.
pub const BATCH_READ_WINDOW_MS: i64 = 30 * DAY_MS;

/// How long a sent card can be updated. Source: card update page.
pub const CARD_UPDATE_WINDOW_MS: i64 = 14 * DAY_MS;
/// How long the token of a click serves. Source: delayed card update page.
pub const CARD_TOKEN_WINDOW_MS: i64 = 30 * MINUTE_MS;
/// How old a message may be for follow-up bubbles. Source: follow-up bubbles page.
pub const FOLLOW_UP_WINDOW_MS: i64 = 600 * SECOND_MS;

/// A token is renewed by the platform only in the last part of its life. Source: tenant token page.
pub const TOKEN_RENEWAL_MS: i64 = 30 * MINUTE_MS;
/// From this much life left on a new token is asked for while the old one serves. One minute inside the renewal
/// time, so that two clocks a little apart do not fetch the old token again. Our choice.
pub const TOKEN_REFRESH_MS: i64 = 29 * MINUTE_MS;
/// With less life left than this a call waits for the new token, and takes the old one only if none comes. Our choice.
pub const TOKEN_URGENT_MS: i64 = 5 * MINUTE_MS;
/// Least time between two fetches of a token for one app. Our choice: no limit is published.
pub const TOKEN_FETCH_GAP_MS: i64 = 10 * SECOND_MS;
/// Least time between two refreshes ahead of need. Our choice.
pub const TOKEN_REFRESH_GAP_MS: i64 = MINUTE_MS;
/// A token that came back unchanged after it was dropped is given up again at most this often. Our choice.
pub const TOKEN_DROP_GAP_MS: i64 = MINUTE_MS;
const _: () = assert!(TOKEN_URGENT_MS < TOKEN_REFRESH_MS && TOKEN_REFRESH_MS < TOKEN_RENEWAL_MS);
const _: () =
    assert!(TOKEN_FETCH_GAP_MS <= TOKEN_REFRESH_GAP_MS && TOKEN_FETCH_GAP_MS <= TOKEN_DROP_GAP_MS);

/// Largest answer read, in bytes. Our choice.
pub const ANSWER_BYTES_MAX: usize = 8 << 20;
