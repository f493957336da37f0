//! A chat: a group, or one app with one person.

use std::collections::{BTreeMap, HashSet};

use sha2::{Digest, Sha256};

use crate::seed::{Mode, SeedChat, User};

/// Group, or one to one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ChatKind {
    Group,
    P2p { app_id: String, user: String },
}

/// A chat with its messages in order.
#[derive(Debug)]
pub(crate) struct Chat {
    pub(crate) chat_id: String,
    pub(crate) name: String,
    pub(crate) kind: ChatKind,
    pub(crate) mode: Mode,
    pub(crate) members: Vec<String>,
    member_set: HashSet<String>,
    /// Apps in the group; `None` = every app.
    bots: Option<HashSet<String>>,
    /// Code that every call into this chat is refused with.
    pub(crate) refuse: Option<i64>,
    /// Message ids, oldest first.
    pub(crate) messages: Vec<String>,
    /// Message ids by the order of pinning.
    pub(crate) pins: BTreeMap<u64, String>,
}

impl Chat {
    pub(crate) fn group(seed: &SeedChat) -> Self {
        Self {
            chat_id: seed.chat_id.clone(),
            name: if seed.name.is_empty() {
                seed.chat_id.clone()
            } else {
                seed.name.clone()
            },
            kind: ChatKind::Group,
            mode: seed.mode,
            members: seed.members.clone(),
            member_set: seed.members.iter().cloned().collect(),
            bots: seed
                .bots
                .as_ref()
                .map(|bots| bots.iter().cloned().collect()),
            refuse: seed.refuse,
            messages: Vec::new(),
            pins: BTreeMap::new(),
        }
    }

    /// The one-to-one chat of an app and a person: its id never changes.
    pub(crate) fn p2p(app_id: &str, user: &User) -> Self {
        Self {
            chat_id: p2p_chat_id(app_id, &user.open_id),
            name: if user.name.is_empty() {
                user.open_id.clone()
            } else {
                user.name.clone()
            },
            kind: ChatKind::P2p {
                app_id: app_id.to_owned(),
                user: user.open_id.clone(),
            },
            mode: Mode::Group,
            members: vec![user.open_id.clone()],
            member_set: HashSet::from([user.open_id.clone()]),
            bots: Some(HashSet::from([app_id.to_owned()])),
            refuse: user.refuse,
            messages: Vec::new(),
            pins: BTreeMap::new(),
        }
    }

    pub(crate) fn is_group(&self) -> bool {
        self.kind == ChatKind::Group
    }

    pub(crate) fn has_member(&self, open_id: &str) -> bool {
        self.member_set.contains(open_id)
    }

    pub(crate) fn has_bot(&self, app_id: &str) -> bool {
        self.bots.as_ref().is_none_or(|bots| bots.contains(app_id))
    }

    /// Apps in the group; `None` = every app.
    pub(crate) fn bots(&self) -> Option<Vec<&str>> {
        let mut bots: Vec<&str> = self.bots.as_ref()?.iter().map(String::as_str).collect();
        bots.sort_unstable();
        Some(bots)
    }
}

/// The id of the one-to-one chat of an app and a person.
pub(crate) fn p2p_chat_id(app_id: &str, open_id: &str) -> String {
    let hash = Sha256::digest(format!("p2p {app_id} {open_id}").as_bytes());
    let hex: String = hash
        .iter()
        .take(16)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("oc_{hex}")
}
