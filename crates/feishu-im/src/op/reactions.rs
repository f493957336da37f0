//! Reactions.

use serde::Serialize;

use super::nameless_debug;
use crate::endpoints::Api;
use crate::ids::IdType;
use crate::request::Request;

#[derive(Serialize)]
struct Emoji<'a> {
    emoji_type: &'a str,
}

/// Reacts to a message. Answer: [`crate::answers::Reaction`].
#[derive(Clone, Copy)]
pub struct React<'a> {
    /// `om_…`
    pub message_id: &'a str,
    /// The platform's name, case counts: `THUMBSUP`, `OnIt`.
    pub emoji_type: &'a str,
}

impl React<'_> {
    /// The request.
    pub fn request(&self) -> Request {
        #[derive(Serialize)]
        struct Wire<'a> {
            reaction_type: Emoji<'a>,
        }
        let emoji_type = self.emoji_type;
        Request::new(Api::React, &[self.message_id]).json(&Wire {
            reaction_type: Emoji { emoji_type },
        })
    }
}

/// Takes the bot's own reaction away. Answer: [`crate::answers::Reaction`].
#[derive(Clone, Copy)]
pub struct Unreact<'a> {
    /// `om_…`
    pub message_id: &'a str,
    /// From [`React`] or [`ListReactions`].
    pub reaction_id: &'a str,
}

impl Unreact<'_> {
    /// The request.
    pub fn request(&self) -> Request {
        Request::new(Api::Unreact, &[self.message_id, self.reaction_id])
    }
}

/// A page of a message's reactions. Answer: [`crate::answers::Reactions`].
#[derive(Clone, Copy)]
pub struct ListReactions<'a> {
    /// `om_…`
    pub message_id: &'a str,
    /// Only these; the platform's name.
    pub reaction_type: Option<&'a str>,
    /// Kind of the answered ids: open, union or user id.
    pub user_id_type: Option<IdType>,
    /// 1 to [`crate::limits::REACTIONS_PAGE_MAX`].
    pub page_size: Option<u32>,
    /// From the page before.
    pub page_token: Option<&'a str>,
}

impl ListReactions<'_> {
    /// The request.
    pub fn request(&self) -> Request {
        Request::new(Api::ListReactions, &[self.message_id])
            .query_opt("reaction_type", self.reaction_type)
            .query_opt("user_id_type", self.user_id_type.map(IdType::name))
            .query_opt("page_size", self.page_size)
            .query_opt("page_token", self.page_token)
    }
}

/// The first reactions of several messages. Its answer has no type here: the inner shape of its lists is not stated.
#[derive(Clone, Copy)]
pub struct BatchQueryReactions<'a> {
    /// 1 to [`crate::limits::REACTION_QUERIES_MAX`].
    pub queries: &'a [ReactionQuery],
    /// 1 to [`crate::limits::REACTIONS_PER_MESSAGE_MAX`].
    pub page_size_per_message: Option<u32>,
    /// Only these; the platform's name.
    pub reaction_type: Option<&'a str>,
}

/// Which message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ReactionQuery {
    /// `om_…`
    pub message_id: String,
    /// From the answer before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub page_token: Option<String>,
}

impl BatchQueryReactions<'_> {
    /// The request.
    pub fn request(&self) -> Request {
        #[derive(Serialize)]
        struct Wire<'a> {
            queries: &'a [ReactionQuery],
            #[serde(skip_serializing_if = "Option::is_none")]
            page_size_per_message: Option<u32>,
            #[serde(skip_serializing_if = "Option::is_none")]
            reaction_type: Option<&'a str>,
        }
        let &BatchQueryReactions {
            queries,
            page_size_per_message,
            reaction_type,
        } = self;
        Request::new(Api::BatchQueryReactions, &[]).json(&Wire {
            queries,
            page_size_per_message,
            reaction_type,
        })
    }
}

nameless_debug!(React, Unreact, ListReactions, BatchQueryReactions);

#[cfg(test)]
mod tests {
    use super::super::tests::{IM, check};
    use super::*;

    #[test]
    fn a_reaction_is_added_by_name_and_taken_away_by_id() {
        let (message_id, emoji_type) = ("om_1", "OnIt");
        let react = React {
            message_id,
            emoji_type,
        };
        let call = format!("POST {IM}/messages/om_1/reactions");
        check(
            &react.request(),
            &call,
            r#"{"reaction_type":{"emoji_type":"OnIt"}}"#,
        );
        let unreact = Unreact {
            message_id,
            reaction_id: "r/1",
        };
        let call = format!("DELETE {IM}/messages/om_1/reactions/r%2F1");
        check(&unreact.request(), &call, "");
    }

    #[test]
    fn reactions_are_listed_of_one_message_or_of_several() {
        let list = ListReactions {
            message_id: "om_1",
            reaction_type: Some("OK"),
            user_id_type: Some(IdType::OpenId),
            page_size: Some(50),
            page_token: None,
        };
        let call = format!(
            "GET {IM}/messages/om_1/reactions?reaction_type=OK&user_id_type=open_id&page_size=50"
        );
        check(&list.request(), &call, "");
        let query = BatchQueryReactions {
            queries: &[ReactionQuery {
                message_id: "om_1".to_owned(),
                page_token: None,
            }],
            page_size_per_message: Some(10),
            reaction_type: None,
        };
        let call = format!("POST {IM}/messages/reactions/batch_query");
        let body = r#"{"queries":[{"message_id":"om_1"}],"page_size_per_message":10}"#;
        check(&query.request(), &call, body);
    }
}
