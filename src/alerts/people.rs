//! Who is meant: people by their ids and mail addresses, as the lists stand now.

/// People, and what could not be made of a list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct People {
    /// Ids, by their prefix `ou_…`, `on_…`, else a user_id; none twice.
    pub ids: Vec<String>,
    /// Mail addresses; none twice.
    pub mails: Vec<String>,
    /// Everybody in the chat.
    pub all: bool,
    /// Lists that could not be read, lines that name nobody.
    pub faults: Vec<String>,
}
