//! The world without a seed: one app, a small named cast, a large staff, four rooms.
//!
//! All ids are fixed, so a demo and a test can name them. `staff_open_id` gives the others.

use crate::seed::{App, Department, Hook, Mode, SeedChat, User};

/// The default app.
pub const DEFAULT_APP_ID: &str = "cli_5a9db0c5a9db0c5a";
/// Its secret.
pub const DEFAULT_APP_SECRET: &str = "sandbox-secret";

/// The room of the named cast, with the bot in it.
pub const DEFAULT_CHAT: &str = "oc_5a9db0c0000000000000000000000001";
/// A second room of the named cast, with the bot in it.
pub const DEFAULT_SECOND_CHAT: &str = "oc_5a9db0c0000000000000000000000002";
/// Everybody, with the bot in it.
pub const DEFAULT_BIG_CHAT: &str = "oc_5a9db0c0000000000000000000000003";
/// A room without any bot: sending there is refused with 230002.
pub const DEFAULT_CLOSED_CHAT: &str = "oc_5a9db0c0000000000000000000000004";

/// A custom bot of the first room: the last part of its URL, behind `/open-apis/bot/v2/hook/`.
pub const DEFAULT_HOOK: &str = "5a9db0c0-0000-4000-8000-000000000001";
/// Another one, whose messages must be signed.
pub const DEFAULT_SIGNED_HOOK: &str = "5a9db0c0-0000-4000-8000-000000000002";
/// What it signs with.
pub const DEFAULT_HOOK_SECRET: &str = "sandbox-hook-secret";

/// The named cast: open ids of those every default room holds.
pub const DEFAULT_USERS: [&str; 6] = [
    "ou_5a9db0c0000000000000000000000001",
    "ou_5a9db0c0000000000000000000000002",
    "ou_5a9db0c0000000000000000000000003",
    "ou_5a9db0c0000000000000000000000004",
    "ou_5a9db0c0000000000000000000000005",
    "ou_5a9db0c0000000000000000000000006",
];
/// The first of the named cast, for whoever needs just one.
pub const DEFAULT_USER: &str = DEFAULT_USERS[0];
/// A person the app can not reach: sending to them is refused with 230013, a batch leaves them out.
pub const DEFAULT_UNREACHABLE_USER: &str = "ou_5a9db0c00000000000000000000000ff";

/// The company: no members of its own, the two departments below it.
pub const DEFAULT_COMPANY: &str = "od-5a9db0c0000000000000000000000000";
/// A department of 300 people.
pub const DEFAULT_DEPARTMENT: &str = "od-5a9db0c0000000000000000000000001";
/// A department of the other 300.
pub const DEFAULT_SECOND_DEPARTMENT: &str = "od-5a9db0c0000000000000000000000002";

/// How many people the default world's departments hold: the named cast is the first six.
pub const DEFAULT_STAFF: usize = 600;

const NAMES: [(&str, &str); 6] = [
    ("Lin Wei", "lin.wei"),
    ("Chen Jing", "chen.jing"),
    ("Maria Silva", "maria.silva"),
    ("Tanaka Yuki", "tanaka.yuki"),
    ("Amadou Diop", "amadou.diop"),
    ("Olga Novak", "olga.novak"),
];

/// The open id of the `number`-th person of the default world, 1 to `DEFAULT_STAFF`.
#[must_use]
pub fn staff_open_id(number: usize) -> String {
    format!("ou_5a9db0c{number:025}")
}

pub(crate) fn apps() -> Vec<App> {
    vec![App {
        app_id: DEFAULT_APP_ID.to_owned(),
        app_secret: DEFAULT_APP_SECRET.to_owned(),
        refuse: None,
    }]
}

pub(crate) fn users() -> Vec<User> {
    let mut users: Vec<User> = (1..=DEFAULT_STAFF).map(person).collect();
    users.push(User {
        open_id: DEFAULT_UNREACHABLE_USER.to_owned(),
        union_id: "on_5a9db0c00000000000000000000000ff".to_owned(),
        user_id: "u0999".to_owned(),
        email: "visitor@sandbox.example".to_owned(),
        name: "Visitor".to_owned(),
        refuse: Some(230_013),
    });
    users
}

fn person(number: usize) -> User {
    let (name, mail) = match NAMES.get(number - 1) {
        Some((name, mail)) => ((*name).to_owned(), (*mail).to_owned()),
        None => (format!("Staff {number:03}"), format!("staff.{number:03}")),
    };
    User {
        open_id: staff_open_id(number),
        union_id: format!("on_5a9db0c{number:025}"),
        user_id: format!("u{number:04}"),
        email: format!("{mail}@sandbox.example"),
        name,
        refuse: None,
    }
}

fn staff(numbers: std::ops::RangeInclusive<usize>) -> Vec<String> {
    numbers.map(staff_open_id).collect()
}

pub(crate) fn chats() -> Vec<SeedChat> {
    let room = |chat_id: &str, name: &str, last: usize, bots| SeedChat {
        chat_id: chat_id.to_owned(),
        name: name.to_owned(),
        members: staff(1..=last),
        bots,
        mode: Mode::Group,
        refuse: None,
    };
    vec![
        room(DEFAULT_CHAT, "Operations", NAMES.len(), None),
        room(DEFAULT_SECOND_CHAT, "Releases", NAMES.len(), None),
        room(DEFAULT_BIG_CHAT, "Everybody", DEFAULT_STAFF, None),
        room(
            DEFAULT_CLOSED_CHAT,
            "No bots here",
            NAMES.len(),
            Some(Vec::new()),
        ),
    ]
}

/// Two custom bots of the first room: one open, one that must sign.
pub(crate) fn hooks() -> Vec<Hook> {
    let bot = |hook: &str, name: &str, secret| Hook {
        hook: hook.to_owned(),
        chat_id: DEFAULT_CHAT.to_owned(),
        name: name.to_owned(),
        secret,
        keywords: Vec::new(),
        refuse: None,
    };
    let secret = Some(DEFAULT_HOOK_SECRET.to_owned());
    vec![
        bot(DEFAULT_HOOK, "Open custom bot", None),
        bot(DEFAULT_SIGNED_HOOK, "Signed custom bot", secret),
    ]
}

pub(crate) fn departments() -> Vec<Department> {
    let half = DEFAULT_STAFF / 2;
    let below = |department_id: &str, members| Department {
        department_id: department_id.to_owned(),
        members,
        parent: Some(DEFAULT_COMPANY.to_owned()),
    };
    vec![
        Department {
            department_id: DEFAULT_COMPANY.to_owned(),
            members: Vec::new(),
            parent: None,
        },
        below(DEFAULT_DEPARTMENT, staff(1..=half)),
        below(DEFAULT_SECOND_DEPARTMENT, staff(half + 1..=DEFAULT_STAFF)),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_named_cast_are_the_first_of_the_staff() {
        let first: Vec<String> = (1..=DEFAULT_USERS.len()).map(staff_open_id).collect();
        assert_eq!(first, DEFAULT_USERS);
    }
}
