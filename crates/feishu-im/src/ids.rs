//! Identifiers: which kind an id is, by its prefix or by name.
//!
//! Promises: an id is opaque; a guess is a guess, and a wrong one is refused by the platform, not here.

/// The kinds of `receive_id_type` and `user_id_type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum IdType {
    /// A person, per app: `ou_…`.
    OpenId,
    /// A person, per developer: `on_…`.
    UnionId,
    /// A person, per tenant: no fixed form.
    UserId,
    /// A person's work mail.
    Email,
    /// A group or a one-to-one chat: `oc_…`.
    ChatId,
    /// A thread: `omt_…`; only a target of forwards.
    ThreadId,
}

impl IdType {
    /// Every kind.
    pub const ALL: &[IdType] = &[
        IdType::OpenId,
        IdType::UnionId,
        IdType::UserId,
        IdType::Email,
        IdType::ChatId,
        IdType::ThreadId,
    ];

    /// The platform's word for it.
    pub fn name(self) -> &'static str {
        match self {
            IdType::OpenId => "open_id",
            IdType::UnionId => "union_id",
            IdType::UserId => "user_id",
            IdType::Email => "email",
            IdType::ChatId => "chat_id",
            IdType::ThreadId => "thread_id",
        }
    }

    /// The kind of that name, or `None`.
    pub fn from_name(name: &str) -> Option<IdType> {
        Self::ALL.iter().copied().find(|kind| kind.name() == name)
    }

    /// The kind an id looks like; without a known form it is a `user_id`.
    pub fn guess(id: &str) -> IdType {
        match id {
            _ if id.starts_with("oc_") => IdType::ChatId,
            _ if id.starts_with("ou_") => IdType::OpenId,
            _ if id.starts_with("on_") => IdType::UnionId,
            _ if id.starts_with("omt_") => IdType::ThreadId,
            _ if id.contains('@') => IdType::Email,
            _ => IdType::UserId,
        }
    }

    /// Whether it can stand in `user_id_type`.
    pub fn is_user_id_type(self) -> bool {
        matches!(self, IdType::OpenId | IdType::UnionId | IdType::UserId)
    }
}

/// Whether `id` has the form of a message: `om_…`.
pub fn is_message(id: &str) -> bool {
    id.starts_with("om_")
}

/// Whether `id` has the form of a batch: `bm-…`.
pub fn is_batch(id: &str) -> bool {
    id.starts_with("bm-")
}

/// Whether `id` has the form of a chat: `oc_…`.
pub fn is_chat(id: &str) -> bool {
    id.starts_with("oc_")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(id: &str, expected: &str) {
        assert_eq!(IdType::guess(id).name(), expected, "{id}");
        assert_eq!(IdType::from_name(expected), Some(IdType::guess(id)));
    }

    #[test]
    fn the_type_is_found_from_the_form_of_the_id() {
        check("oc_9c8b", "chat_id");
        check("ou_1a", "open_id");
        check("on_1a", "union_id");
        check("omt_1a", "thread_id");
        check("li.lei@corp.cn", "email");
        check("4g7d2b", "user_id");
        assert_eq!(IdType::from_name("phone"), None);
        assert!(is_message("om_1") && !is_message("omt_1") && is_batch("bm-1") && is_chat("oc_1"));
    }
}
