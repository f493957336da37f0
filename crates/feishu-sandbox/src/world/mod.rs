//! The world behind the endpoints: people, chats, messages, batches, uploads, tokens.
//!
//! One lock holds it all and no call keeps the lock across a wait. Whatever changes is marked by
//! `touch`, and `journal` writes the marked things down at the end of the call.
//! Not here: who may do what (`endpoints`), what is counted (`windows`, `ledger`).

mod batch;
mod chat;
mod ephemeral;
mod message;
mod people;
mod upload;

use std::collections::{BTreeMap, HashMap, HashSet};

use serde::{Deserialize, Serialize};

pub(crate) use batch::{Batch, Moment};
pub(crate) use chat::{Chat, ChatKind, p2p_chat_id};
pub(crate) use ephemeral::{Ephemeral, Preview};
pub(crate) use message::{Buzz, Mention, Message, Pin, Reaction, Read, Sender, Spot, View};
pub(crate) use people::{IdKind, People};
pub(crate) use upload::Upload;

use crate::clock::{Clock, HOUR_MS, MINUTE_MS, SECOND_MS, day_utc8, month_utc8};
use crate::ledger::{Effect, Ledger};
use crate::seed::{Limits, Seed, SeedChat, Switches, UuidScope};
use crate::windows::Windows;

/// The tenant everybody belongs to: 16 hex digits. Source: messages.md 1.
pub(crate) const TENANT_KEY: &str = "5a9db0c05a9db0c0";
/// A uuid is remembered this long after its success. Source: endpoints.md 0.
pub(crate) const UUID_WINDOW_MS: i64 = HOUR_MS;
/// A token lives this long. Source: endpoints.md 1.
pub(crate) const TOKEN_LIFE_MS: i64 = 7_200 * SECOND_MS;
/// A new token is issued only in the last half hour. Source: endpoints.md 1.
pub(crate) const TOKEN_RENEWAL_MS: i64 = 30 * MINUTE_MS;

/// A token and its end.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Token {
    pub(crate) token: String,
    pub(crate) app_id: String,
    pub(crate) expires_ms: i64,
}

/// A uuid that had its success.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct UuidUse {
    pub(crate) key: String,
    pub(crate) at_ms: i64,
    pub(crate) message_id: String,
}

/// What is used up of the tenant's and the apps' allowances.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Spent {
    month: i64,
    calls: u64,
    day: i64,
    batch_messages: HashMap<String, u64>,
    pub(crate) sms: u64,
    pub(crate) phone: u64,
}

impl Spent {
    /// Calls counted in the month of `now_ms`.
    pub(crate) fn month_calls(&self, now_ms: i64) -> u64 {
        if self.month == month_utc8(now_ms) {
            self.calls
        } else {
            0
        }
    }

    /// Counts one call in the month of `now_ms`.
    pub(crate) fn count_call(&mut self, now_ms: i64) {
        self.calls = self.month_calls(now_ms) + 1;
        self.month = month_utc8(now_ms);
    }

    /// Messages `app_id` has sent by batch on the day of `now_ms`.
    pub(crate) fn batch_messages(&self, app_id: &str, now_ms: i64) -> u64 {
        let today = self.day == day_utc8(now_ms);
        if today {
            self.batch_messages.get(app_id).copied().unwrap_or(0)
        } else {
            0
        }
    }

    /// Counts `count` messages by batch on the day of `now_ms`.
    pub(crate) fn count_batch(&mut self, app_id: &str, count: u64, now_ms: i64) {
        if self.day != day_utc8(now_ms) {
            self.day = day_utc8(now_ms);
            self.batch_messages.clear();
        }
        *self.batch_messages.entry(app_id.to_owned()).or_default() += count;
    }
}

/// A click on a card, waiting for its update.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Click {
    pub(crate) token: String,
    pub(crate) at_ms: i64,
    pub(crate) message_id: String,
    pub(crate) user: String,
    pub(crate) value: serde_json::Value,
    /// Updates made with its token.
    #[serde(default)]
    pub(crate) uses: u32,
}

/// Something that changed and is due in the journal.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Touched {
    Seed,
    Clock,
    Message(String),
    Batch(String),
    Upload(String),
    Token(String),
    Uuid(String),
    Click(String),
    Ephemeral(String),
    Preview(String),
    Spent,
    Effect(u64),
    Calls(usize),
}

/// Everything the sandbox knows.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) clock: Clock,
    pub(crate) seed: Seed,
    pub(crate) people: People,
    pub(crate) chats: HashMap<String, Chat>,
    /// Groups in the order of the seed.
    pub(crate) groups: Vec<String>,
    pub(crate) messages: HashMap<String, Message>,
    pub(crate) batches: BTreeMap<String, Batch>,
    pub(crate) uploads: HashMap<String, Upload>,
    pub(crate) tokens: HashMap<String, Token>,
    pub(crate) newest_token: HashMap<String, String>,
    pub(crate) uuids: HashMap<String, UuidUse>,
    /// Uuids whose first answer is still held back.
    pub(crate) busy_uuids: HashSet<String>,
    pub(crate) clicks: HashMap<String, Click>,
    /// By message id, so in the order of sending.
    pub(crate) ephemerals: BTreeMap<String, Ephemeral>,
    pub(crate) previews: HashMap<String, Preview>,
    /// Buzzes nobody has read yet, by person.
    pub(crate) unread_buzzes: HashMap<String, u32>,
    pub(crate) spent: Spent,
    pub(crate) windows: Windows,
    pub(crate) ledger: Ledger,
    touched: Vec<Touched>,
    next_seq: u64,
}

impl World {
    /// The world of `seed` before anything happened.
    pub(crate) fn new(seed: Seed) -> Self {
        let people = People::new(&seed);
        let mut chats = HashMap::new();
        for chat in seed.chats.iter().map(Chat::group) {
            chats.insert(chat.chat_id.clone(), chat);
        }
        let groups = seed
            .chats
            .iter()
            .map(|chat: &SeedChat| chat.chat_id.clone())
            .collect();
        for app in &seed.apps {
            for user in &seed.users {
                let chat = Chat::p2p(&app.app_id, user);
                chats.insert(chat.chat_id.clone(), chat);
            }
        }
        Self {
            clock: Clock::default(),
            seed,
            people,
            chats,
            groups,
            messages: HashMap::new(),
            batches: BTreeMap::new(),
            uploads: HashMap::new(),
            tokens: HashMap::new(),
            newest_token: HashMap::new(),
            uuids: HashMap::new(),
            busy_uuids: HashSet::new(),
            clicks: HashMap::new(),
            ephemerals: BTreeMap::new(),
            previews: HashMap::new(),
            unread_buzzes: HashMap::new(),
            spent: Spent::default(),
            windows: Windows::default(),
            ledger: Ledger::default(),
            touched: Vec::new(),
            next_seq: 1,
        }
    }

    pub(crate) fn now_ms(&self) -> i64 {
        self.clock.now_ms()
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.seed.limits
    }

    pub(crate) fn switches(&self) -> &Switches {
        &self.seed.switches
    }

    /// Marks a thing as changed.
    pub(crate) fn touch(&mut self, what: Touched) {
        self.touched.push(what);
    }

    /// Gives up the marks, in order and without twins.
    pub(crate) fn take_touched(&mut self) -> Vec<Touched> {
        let mut seen = HashSet::new();
        let mut touched = std::mem::take(&mut self.touched);
        touched.retain(|each| seen.insert(each.clone()));
        touched
    }

    /// A number larger than every one given before: the order of messages and pins.
    pub(crate) fn next_seq(&mut self) -> u64 {
        let seq = self.next_seq;
        self.next_seq += 1;
        seq
    }

    /// Writes `effect` into the ledger.
    pub(crate) fn effect(&mut self, effect: Effect) {
        let seq = self.ledger.append(effect);
        self.touch(Touched::Effect(seq));
    }

    /// Adds or replaces a message; a new one is placed at the end of its chat.
    pub(crate) fn put_message(&mut self, message: Message) {
        self.next_seq = self.next_seq.max(message.seq + 1);
        self.touch(Touched::Message(message.message_id.clone()));
        let known = self.messages.contains_key(&message.message_id);
        if let Some(chat) = self.chats.get_mut(&message.chat_id) {
            chat.pins.retain(|_, id| *id != message.message_id);
            if let Some(pin) = &message.pin {
                self.next_seq = self.next_seq.max(pin.seq + 1);
                chat.pins.insert(pin.seq, message.message_id.clone());
            }
            if !known && message.upper_message_id.is_none() {
                chat.messages.push(message.message_id.clone());
            }
        }
        self.messages.insert(message.message_id.clone(), message);
    }

    /// Adds or replaces a card for one member.
    pub(crate) fn put_ephemeral(&mut self, each: Ephemeral) {
        self.next_seq = self.next_seq.max(each.seq + 1);
        self.touch(Touched::Ephemeral(each.message_id.clone()));
        self.ephemerals.insert(each.message_id.clone(), each);
    }

    /// Changes a message in place and marks it; nothing happens to an unknown one.
    pub(crate) fn change_message(&mut self, message_id: &str, change: impl FnOnce(&mut Message)) {
        if let Some(message) = self.messages.get_mut(message_id) {
            change(message);
            self.touched.push(Touched::Message(message_id.to_owned()));
        }
    }

    /// The upload under `key`, while the platform still keeps it.
    pub(crate) fn upload(&self, key: &str) -> Option<&Upload> {
        let life_ms = self.switches().upload_life.0;
        let now_ms = self.now_ms();
        let kept = |upload: &&Upload| life_ms == 0 || now_ms - upload.at_ms < life_ms;
        self.uploads.get(key).filter(kept)
    }

    /// The message a thread hangs under.
    pub(crate) fn thread_root(&self, thread_id: &str) -> Option<&Message> {
        self.messages.values().find(|message| {
            message.thread_id.as_deref() == Some(thread_id)
                && message.upper_message_id.is_none()
                && !message.is_inside_thread()
        })
    }

    /// The parts of a merged forward, in their order.
    pub(crate) fn parts(&self, upper: &str) -> Vec<&Message> {
        let mut parts: Vec<&Message> = (self.messages.values())
            .filter(|message| message.upper_message_id.as_deref() == Some(upper))
            .collect();
        parts.sort_unstable_by_key(|message| message.seq);
        parts
    }

    /// Counts the buzzes of `message` that nobody read: after a restart.
    pub(crate) fn recount_buzzes(&mut self) {
        self.unread_buzzes.clear();
        for buzz in self.messages.values().flat_map(|message| &message.buzzes) {
            for user in buzz.users.iter().filter(|user| !buzz.read.contains(user)) {
                *self.unread_buzzes.entry(user.clone()).or_default() += 1;
            }
        }
    }

    /// Notes that `user` has read a message: a reader once, its buzzes read.
    pub(crate) fn read_message(&mut self, message_id: &str, user: &str) {
        let now_ms = self.now_ms();
        let mut read = 0;
        self.change_message(message_id, |message| read = message.read_by(user, now_ms));
        if let Some(unread) = self.unread_buzzes.get_mut(user) {
            *unread = unread.saturating_sub(read);
        }
    }

    /// The success a `uuid` had within its window, if any.
    pub(crate) fn uuid_success(&self, key: &str) -> Option<&UuidUse> {
        let now_ms = self.now_ms();
        self.uuids
            .get(key)
            .filter(|used| now_ms - used.at_ms < UUID_WINDOW_MS)
    }

    /// The key under which `uuid` is remembered; `None` when it is not looked at.
    pub(crate) fn uuid_key(&self, app_id: &str, call: &str, uuid: &str) -> Option<String> {
        match self.switches().uuid_scope {
            _ if uuid.is_empty() => None,
            UuidScope::App => Some(format!("{app_id} {uuid}")),
            UuidScope::Tenant => Some(uuid.to_owned()),
            UuidScope::Call => Some(format!("{app_id} {call} {uuid}")),
            UuidScope::Off => None,
        }
    }

    /// Marks a message as recalled: its pin goes with it.
    pub(crate) fn delete_message(&mut self, message_id: &str) {
        let now_ms = self.now_ms();
        self.unpin(message_id);
        self.change_message(message_id, |message| {
            message.deleted = true;
            message.update_ms = now_ms;
        });
    }

    /// Takes a message's pin off, if it has one.
    pub(crate) fn unpin(&mut self, message_id: &str) {
        let Some(message) = self.messages.get_mut(message_id) else {
            return;
        };
        let Some(pin) = message.pin.take() else {
            return;
        };
        if let Some(chat) = self.chats.get_mut(&message.chat_id) {
            chat.pins.remove(&pin.seq);
        }
        self.touch(Touched::Message(message_id.to_owned()));
    }
}
