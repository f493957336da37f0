//! The seed: who lives in the sandbox, and how strict it is.
//!
//! JSON, in the form of the contract. A list that is absent keeps the default world's
//! (`default_world`); a limit or a switch that is absent keeps its default. Unknown keys, twins
//! and members who do not exist are refused with their place.
//!
//! `users`, `chats` and `apps` may each say `"refuse": CODE`: every call that meets them is
//! refused with it (230013 for a user out of reach, 232009 for a dissolved chat, 99991672 for an
//! app without its scope), which is how a test gets an answer that no request can provoke.

use std::collections::HashSet;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::clock::{DAY_MS, SECOND_MS, parse_span};
use crate::codes::is_known;
use crate::default_world;

/// Why a seed was not taken.
#[derive(Debug, thiserror::Error)]
pub enum SeedError {
    /// It is not JSON of the right form.
    #[error("the seed is not in form at line {line}, column {column}: {says}")]
    Form {
        /// Line, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
        /// What was found and what was due.
        says: String,
    },
    /// It contradicts itself.
    #[error("the seed is wrong at {place}: {says}")]
    Wrong {
        /// Where, as `chats[1].members[0]`.
        place: String,
        /// What is wrong there.
        says: String,
    },
}

/// An app that may ask for a token.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct App {
    pub(crate) app_id: String,
    pub(crate) app_secret: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) refuse: Option<i64>,
}

/// A person.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct User {
    pub(crate) open_id: String,
    #[serde(default)]
    pub(crate) union_id: String,
    #[serde(default)]
    pub(crate) user_id: String,
    #[serde(default)]
    pub(crate) email: String,
    #[serde(default)]
    pub(crate) name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) refuse: Option<i64>,
}

/// What kind of group.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Mode {
    #[default]
    Group,
    /// Every message opens a thread.
    Topic,
    /// No message can be answered in a thread (230071).
    NoThreads,
}

/// A group.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SeedChat {
    pub(crate) chat_id: String,
    #[serde(default)]
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) members: Vec<String>,
    /// Apps whose bot is in the chat; absent = every app.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) bots: Option<Vec<String>>,
    #[serde(default)]
    pub(crate) mode: Mode,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) refuse: Option<i64>,
}

/// A custom bot of a group: who knows its `hook` may speak. Source: messages.md 5.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Hook {
    /// The last part of its URL.
    pub(crate) hook: String,
    pub(crate) chat_id: String,
    #[serde(default = "custom_bot")]
    pub(crate) name: String,
    /// Messages must be signed with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) secret: Option<String>,
    /// One of them must stand in every message.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) keywords: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) refuse: Option<i64>,
}

fn custom_bot() -> String {
    "Custom bot".to_owned()
}

/// A department; its people are its members and those of the departments below it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Department {
    pub(crate) department_id: String,
    #[serde(default)]
    pub(crate) members: Vec<String>,
    /// The department above.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) parent: Option<String>,
}

/// The limits; 0 turns one off. Source: limits.md 1 and 4.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Limits {
    /// Calls of one API by one app in a minute, and in a second (tier 4).
    pub(crate) app_minute: u32,
    pub(crate) app_second: u32,
    /// Messages to one group in a second, whoever sends.
    pub(crate) chat_second: u32,
    /// Messages of one app to one person in a second.
    pub(crate) user_second: u32,
    /// Pins, unpins and card updates of one message in a second.
    pub(crate) message_second: u32,
    /// Pin lists by one app in a second.
    pub(crate) list_pins_second: u32,
    /// Messages of one app by batch_send in a day of UTC+8.
    pub(crate) batch_day: u64,
    /// Calls of all apps in a month of UTC+8.
    pub(crate) month: u64,
    /// Messages of one custom bot.
    pub(crate) bot_minute: u32,
    pub(crate) bot_second: u32,
    /// Cards for one member, in one group in a second.
    pub(crate) ephemeral_second: u32,
    /// URL preview updates in a second.
    pub(crate) preview_second: u32,
    /// Buzzes a person may leave unread.
    pub(crate) unread_buzzes: u32,
    /// SMS and calls the tenant has bought.
    pub(crate) sms_quota: u64,
    pub(crate) phone_quota: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            app_minute: 1_000,
            app_second: 50,
            chat_second: 5,
            user_second: 5,
            message_second: 5,
            list_pins_second: 50,
            batch_day: 500_000,
            month: 0,
            bot_minute: 100,
            bot_second: 5,
            ephemeral_second: 40,
            preview_second: 5,
            unread_buzzes: 200,
            sms_quota: 0,
            phone_quota: 0,
        }
    }
}

/// A duration written as `24h`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span(pub(crate) i64);

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&format!("{}ms", self.0))
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let span = parse_span(&text).filter(|ms| *ms >= 0);
        span.map(Self).ok_or_else(|| {
            serde::de::Error::custom(format!("{text:?} is no duration such as \"24h\""))
        })
    }
}

/// What a second recall of a message answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum SecondRecall {
    #[serde(rename = "success")]
    Success,
    #[serde(rename = "230011")]
    Recalled,
    #[serde(rename = "230110")]
    Deleted,
}

/// What GET answers for a recalled message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum RecalledGet {
    #[serde(rename = "deleted")]
    Marked,
    #[serde(rename = "empty")]
    Empty,
    #[serde(rename = "230011")]
    Recalled,
    #[serde(rename = "230110")]
    Deleted,
}

/// How far one `uuid` reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum UuidScope {
    /// All calls of one app.
    App,
    /// All apps.
    Tenant,
    /// One call of one app.
    Call,
    /// Nothing: `uuid` is ignored.
    Off,
}

/// What an unknown person in a text's `<at>` does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum UnknownMention {
    Refuse,
    Plain,
}

/// What an identical second buzz does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum SecondBuzz {
    Repeats,
    Suppressed,
}

/// What a second identical reaction of one operator does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum SecondReaction {
    /// It stands there twice.
    Another,
    /// It is answered with the first one.
    Same,
}

/// What removing a reaction a second time answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum SecondUnreact {
    #[serde(rename = "231011")]
    Refused,
    #[serde(rename = "success")]
    Success,
}

/// How a custom bot is told of too many messages. Source: limits.md 1.2.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum HookOver {
    #[serde(rename = "11232")]
    Limited,
    /// HTTP 400, the code of any bad request.
    #[serde(rename = "9499")]
    BadRequest,
}

/// Which emoji types are taken: the reference lists 31 of more than 180.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Emoji {
    /// Any word that is not a listed one in other letters.
    Any,
    Listed,
}

/// The body of a refusal by the gateway's windows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum LimitBody {
    Json,
    Empty,
    Text,
}

/// What is not known about Feishu, each with the worse case as its default.
/// Source: README.md, "Unknown".
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Switches {
    pub(crate) second_recall: SecondRecall,
    pub(crate) recalled_get: RecalledGet,
    pub(crate) refused_calls_count: bool,
    pub(crate) uuid_scope: UuidScope,
    /// While an answer is held back by a fault, a repeat meets 230049.
    pub(crate) uuid_busy: bool,
    pub(crate) unknown_mention: UnknownMention,
    pub(crate) second_buzz: SecondBuzz,
    pub(crate) limit_body: LimitBody,
    /// HTTP status of a missing or wrong token.
    pub(crate) token_http: u16,
    /// Bytes of a KB.
    pub(crate) kb: usize,
    /// Age after which an own message can not be recalled.
    pub(crate) recall_window: Span,
    pub(crate) edit_window: Span,
    /// Time until a batch's counts are final.
    pub(crate) batch_settle: Span,
    /// Age after which the key of an upload is unknown; 0 = never.
    pub(crate) upload_life: Span,
    /// Edits count in the receiver's second as well.
    pub(crate) edits_count: bool,
    /// What a second identical reaction of one operator does.
    pub(crate) second_reaction: SecondReaction,
    pub(crate) second_unreact: SecondUnreact,
    /// Emoji types beyond those the reference lists.
    pub(crate) emoji: Emoji,
    /// HTTP status of failures of the card calls of `interactive/v1` and `ephemeral/v1`.
    pub(crate) old_http: u16,
    /// Code of too many cards for members of one group.
    pub(crate) ephemeral_over: i64,
    /// Updates a click's token is good for.
    pub(crate) click_uses: u32,
    /// How a custom bot is told of too many messages.
    pub(crate) hook_over: HookOver,
    /// Codes of a wrong signature and of a missing keyword; the reference names none.
    pub(crate) hook_sign: i64,
    pub(crate) hook_keyword: i64,
    /// For so long after a click its card can not be updated (230099 around 11310).
    pub(crate) click_open: Span,
}

impl Default for Switches {
    fn default() -> Self {
        Self {
            second_recall: SecondRecall::Recalled,
            recalled_get: RecalledGet::Marked,
            refused_calls_count: true,
            uuid_scope: UuidScope::App,
            uuid_busy: true,
            unknown_mention: UnknownMention::Refuse,
            second_buzz: SecondBuzz::Repeats,
            limit_body: LimitBody::Json,
            token_http: 400,
            kb: 1_000,
            recall_window: Span(DAY_MS),
            edit_window: Span(DAY_MS),
            batch_settle: Span(2 * SECOND_MS),
            upload_life: Span(0),
            edits_count: true,
            second_reaction: SecondReaction::Another,
            second_unreact: SecondUnreact::Refused,
            emoji: Emoji::Any,
            old_http: 200,
            ephemeral_over: 11_233,
            click_uses: 2,
            hook_over: HookOver::Limited,
            hook_sign: 19_021,
            hook_keyword: 19_024,
            click_open: Span(0),
        }
    }
}

/// The file as written: every list may be absent.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct SeedFile {
    apps: Option<Vec<App>>,
    users: Option<Vec<User>>,
    chats: Option<Vec<SeedChat>>,
    departments: Option<Vec<Department>>,
    hooks: Option<Vec<Hook>>,
    limits: Limits,
    switches: Switches,
}

/// A checked world to start from.
///
/// `{"apps":[…], "users":[…], "chats":[…], "departments":[…], "hooks":[…], "limits":{…},
/// "switches":{…}}`, each part optional. `departments` are `{"department_id", "members":[open_id],
/// "parent"?}`; `hooks`, the custom bots, `{"hook", "chat_id", "name"?, "secret"?, "keywords"?:[…]}`;
/// a chat may say `"mode"`: `"group"`, `"topic"` or `"no_threads"`.
///
/// `limits`, 0 = off: `app_minute` 1000, `app_second` 50, `chat_second` 5, `user_second` 5,
/// `message_second` 5 (pins; updates of a card), `list_pins_second` 50, `batch_day` 500000, `month`
/// 0, `unread_buzzes` 200, `sms_quota` 0, `phone_quota` 0, `bot_minute` 100, `bot_second` 5 (custom
/// bots), `ephemeral_second` 40, `preview_second` 5 (and one in 5 s for each token).
///
/// `switches`, the default first, are what the reference leaves open: `second_recall` `"230011"` |
/// `"230110"` | `"success"`; `recalled_get` `"deleted"` | `"empty"` | `"230011"` | `"230110"`;
/// `refused_calls_count` `true`; `uuid_scope` `"app"` | `"tenant"` | `"call"` | `"off"`; `uuid_busy`
/// `true` (230049 while a fault holds the first answer back); `unknown_mention` `"refuse"` |
/// `"plain"`; `second_buzz` `"repeats"` | `"suppressed"`; `limit_body` `"json"` | `"empty"` |
/// `"text"` (of a 429); `token_http` 400; `kb` 1000; `recall_window` `"24h"`; `edit_window` `"24h"`;
/// `batch_settle` `"2s"`; `upload_life` `"0s"` (of the keys of uploads; 0 = for ever); `edits_count`
/// `true` (in the chat's second); `second_reaction` `"another"` | `"same"`; `second_unreact`
/// `"231011"` | `"success"`; `emoji` `"any"` | `"listed"`; `old_http` 200 (of failures of
/// `interactive/v1` and `ephemeral/v1`); `ephemeral_over` 11233; `click_uses` 2; `click_open` `"0s"`
/// (while a click is open its card is locked); `hook_over` `"11232"` | `"9499"`; `hook_sign` 19021;
/// `hook_keyword` 19024.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Seed {
    pub(crate) apps: Vec<App>,
    pub(crate) users: Vec<User>,
    pub(crate) chats: Vec<SeedChat>,
    pub(crate) departments: Vec<Department>,
    #[serde(default = "default_world::hooks")]
    pub(crate) hooks: Vec<Hook>,
    pub(crate) limits: Limits,
    pub(crate) switches: Switches,
}

impl Default for Seed {
    /// The default world with Feishu's own limits.
    fn default() -> Self {
        Self::complete(SeedFile::default())
    }
}

impl Seed {
    /// Reads a seed and fills what it leaves out from the default world.
    ///
    /// With `users` given and `chats` or `departments` absent, the default chats and departments
    /// stay and all given users are their members.
    ///
    /// # Errors
    /// `Form`: not JSON, a wrong type, an unknown key. `Wrong`: twins, unknown members or bots, a
    /// `refuse` without words. Both name the place; mend the file.
    pub fn from_json(text: &str) -> Result<Self, SeedError> {
        let file: SeedFile = serde_json::from_str(text).map_err(|error| SeedError::Form {
            line: error.line(),
            column: error.column(),
            says: error.to_string(),
        })?;
        let seed = Self::complete(file);
        seed.check()?;
        Ok(seed)
    }

    fn complete(file: SeedFile) -> Self {
        let mut chats = default_world::chats();
        let mut departments = default_world::departments();
        if let Some(users) = &file.users {
            let everybody: Vec<String> = users.iter().map(|user| user.open_id.clone()).collect();
            chats
                .iter_mut()
                .for_each(|chat| chat.members.clone_from(&everybody));
            departments
                .iter_mut()
                .for_each(|each| each.members.clone_from(&everybody));
        }
        let chats = file.chats.unwrap_or(chats);
        let mut hooks = default_world::hooks();
        hooks.retain(|hook| chats.iter().any(|chat| chat.chat_id == hook.chat_id));
        Self {
            apps: file.apps.unwrap_or_else(default_world::apps),
            users: file.users.unwrap_or_else(default_world::users),
            chats,
            hooks: file.hooks.unwrap_or(hooks),
            departments: file.departments.unwrap_or(departments),
            limits: file.limits,
            switches: file.switches,
        }
    }

    fn check(&self) -> Result<(), SeedError> {
        let apps = unique(
            "apps",
            "app_id",
            self.apps.iter().map(|app| app.app_id.as_str()),
        )?;
        let users = unique(
            "users",
            "open_id",
            self.users.iter().map(|u| u.open_id.as_str()),
        )?;
        let chats = unique(
            "chats",
            "chat_id",
            self.chats.iter().map(|chat| chat.chat_id.as_str()),
        )?;
        let departments = unique(
            "departments",
            "department_id",
            self.departments
                .iter()
                .map(|each| each.department_id.as_str()),
        )?;
        for (at, chat) in self.chats.iter().enumerate() {
            known(&format!("chats[{at}].members"), &chat.members, &users)?;
            known(
                &format!("chats[{at}].bots"),
                chat.bots.as_deref().unwrap_or(&[]),
                &apps,
            )?;
        }
        for (at, each) in self.departments.iter().enumerate() {
            known(&format!("departments[{at}].members"), &each.members, &users)?;
            known(
                &format!("departments[{at}].parent"),
                each.parent.as_slice(),
                &departments,
            )?;
        }
        unique(
            "hooks",
            "hook",
            self.hooks.iter().map(|hook| hook.hook.as_str()),
        )?;
        for (at, hook) in self.hooks.iter().enumerate() {
            let chat = std::slice::from_ref(&hook.chat_id);
            known(&format!("hooks[{at}].chat_id"), chat, &chats)?;
        }
        self.check_refusals()
    }

    fn check_refusals(&self) -> Result<(), SeedError> {
        let refusals = (self
            .apps
            .iter()
            .enumerate()
            .map(|(at, app)| ("apps", at, app.refuse)))
        .chain(
            self.users
                .iter()
                .enumerate()
                .map(|(at, user)| ("users", at, user.refuse)),
        )
        .chain(
            self.chats
                .iter()
                .enumerate()
                .map(|(at, chat)| ("chats", at, chat.refuse)),
        );
        for (list, at, refuse) in refusals {
            if let Some(code) = refuse.filter(|code| !is_known(*code)) {
                return Err(SeedError::Wrong {
                    place: format!("{list}[{at}].refuse"),
                    says: format!("{code} is no code of the sandbox"),
                });
            }
        }
        Ok(())
    }
}

fn unique<'a>(
    list: &str,
    key: &str,
    ids: impl Iterator<Item = &'a str>,
) -> Result<HashSet<&'a str>, SeedError> {
    let mut seen = HashSet::new();
    for (at, id) in ids.enumerate() {
        let says = match id {
            "" => "it is empty".to_owned(),
            _ if !seen.insert(id) => format!("{id:?} stands there twice"),
            _ => continue,
        };
        return Err(SeedError::Wrong {
            place: format!("{list}[{at}].{key}"),
            says,
        });
    }
    Ok(seen)
}

fn known(place: &str, ids: &[String], all: &HashSet<&str>) -> Result<(), SeedError> {
    match ids.iter().position(|id| !all.contains(id.as_str())) {
        None => Ok(()),
        Some(at) => Err(SeedError::Wrong {
            place: format!("{place}[{at}]"),
            says: format!("{:?} is not in the seed", ids[at]),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(text: &str) -> String {
        Seed::from_json(text)
            .expect_err("the seed must be refused")
            .to_string()
    }

    #[test]
    fn an_empty_seed_is_the_default_world() {
        let seed = Seed::from_json("{}").unwrap();
        assert_eq!(seed.apps[0].app_id, crate::DEFAULT_APP_ID);
        assert!(seed.users.len() >= 450);
        assert_eq!(seed.limits.app_minute, 1_000);
        seed.check().unwrap();
    }

    #[test]
    fn a_fault_names_its_place() {
        assert!(fault("{\n\"limits\": {\"app_hour\": 1}}").contains("line 2"));
        assert!(
            fault(r#"{"users":[{"open_id":"ou_1"}],"chats":[{"chat_id":"oc_1","members":["ou_1","ou_2"]}]}"#)
                .contains("chats[0].members[1]")
        );
        assert!(
            fault(r#"{"users":[{"open_id":"ou_1"},{"open_id":"ou_1"}]}"#)
                .contains("users[1].open_id")
        );
        assert!(fault(r#"{"users":[{"open_id":"ou_1","refuse":5}]}"#).contains("users[0].refuse"));
        assert!(fault(r#"{"switches":{"recall_window":"soon"}}"#).contains("no duration"));
    }

    #[test]
    fn given_users_live_in_the_default_chats() {
        let seed = Seed::from_json(r#"{"users":[{"open_id":"ou_1","name":"One"}]}"#).unwrap();
        assert_eq!(seed.chats[0].chat_id, crate::DEFAULT_CHAT);
        assert_eq!(seed.chats[0].members, ["ou_1"]);
    }
}
