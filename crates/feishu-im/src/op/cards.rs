//! Updates of cards, cards for one member, URL previews.

use serde::Serialize;
use serde_json::value::RawValue;

use super::nameless_debug;
use crate::endpoints::Api;
use crate::request::Request;

/// Shows another card in a sent message. No answer beyond the code.
#[derive(Clone, Copy)]
pub struct UpdateCard<'a> {
    /// The bot's own card, ≤ [`crate::limits::CARD_UPDATE_WINDOW_MS`] old.
    pub message_id: &'a str,
    /// The card as JSON text; it travels as a string. Old and new one declare `update_multi`.
    pub content: &'a str,
}

impl UpdateCard<'_> {
    /// The request.
    pub fn request(&self) -> Request {
        #[derive(Serialize)]
        struct Wire<'a> {
            content: &'a str,
        }
        Request::new(Api::UpdateCard, &[self.message_id]).json(&Wire {
            content: self.content,
        })
    }
}

/// Shows another card after a click, once the click was answered. No answer beyond the code.
#[derive(Clone, Copy)]
pub struct DelayUpdateCard<'a> {
    /// `c-…`, from the click; serves [`crate::limits::CARD_TOKEN_USES`] times.
    pub token: &'a str,
    /// The card, an object; with `open_ids` where it is not shared.
    pub card: &'a RawValue,
}

impl DelayUpdateCard<'_> {
    /// The request.
    pub fn request(&self) -> Request {
        #[derive(Serialize)]
        struct Wire<'a> {
            token: &'a str,
            card: &'a RawValue,
        }
        let &DelayUpdateCard { token, card } = self;
        Request::new(Api::DelayUpdateCard, &[]).json(&Wire { token, card })
    }
}

/// Who alone sees a card.
#[derive(Clone, Copy)]
pub enum Member<'a> {
    /// `ou_…`
    OpenId(&'a str),
    /// A user id.
    UserId(&'a str),
    /// A mail address.
    Email(&'a str),
}

/// Shows a card to one member of a group. Answer: [`crate::answers::Ephemeral`].
#[derive(Clone, Copy)]
pub struct SendEphemeral<'a> {
    /// `oc_…`, an ordinary group.
    pub chat_id: &'a str,
    /// Who sees it.
    pub member: Member<'a>,
    /// The card, an object.
    pub card: &'a RawValue,
}

impl SendEphemeral<'_> {
    /// The request.
    pub fn request(&self) -> Request {
        #[derive(Serialize)]
        struct Wire<'a> {
            chat_id: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            open_id: Option<&'a str>,
            #[serde(skip_serializing_if = "Option::is_none")]
            user_id: Option<&'a str>,
            #[serde(skip_serializing_if = "Option::is_none")]
            email: Option<&'a str>,
            msg_type: &'a str,
            card: &'a RawValue,
        }
        let (mut open_id, mut user_id, mut email) = (None, None, None);
        match self.member {
            Member::OpenId(id) => open_id = Some(id),
            Member::UserId(id) => user_id = Some(id),
            Member::Email(id) => email = Some(id),
        }
        Request::new(Api::SendEphemeral, &[]).json(&Wire {
            chat_id: self.chat_id,
            open_id,
            user_id,
            email,
            msg_type: "interactive",
            card: self.card,
        })
    }
}

/// Takes a card for one member away. No answer beyond the code.
#[derive(Clone, Copy)]
pub struct DeleteEphemeral<'a> {
    /// `om_…`
    pub message_id: &'a str,
}

impl DeleteEphemeral<'_> {
    /// The request.
    pub fn request(&self) -> Request {
        #[derive(Serialize)]
        struct Wire<'a> {
            message_id: &'a str,
        }
        Request::new(Api::DeleteEphemeral, &[]).json(&Wire {
            message_id: self.message_id,
        })
    }
}

/// Asks clients to fetch previews again. No answer beyond the code.
#[derive(Clone, Copy)]
pub struct UpdateUrlPreviews<'a> {
    /// From the preview callback; 1 to [`crate::limits::PREVIEW_TOKENS_MAX`], each at most once in 5 s.
    pub preview_tokens: &'a [String],
    /// Whose clients, ≤ [`crate::limits::PREVIEW_USERS_MAX`]; empty for everybody in the chat.
    pub open_ids: &'a [String],
}

impl UpdateUrlPreviews<'_> {
    /// The request.
    pub fn request(&self) -> Request {
        #[derive(Serialize)]
        struct Wire<'a> {
            preview_tokens: &'a [String],
            #[serde(skip_serializing_if = "<[_]>::is_empty")]
            open_ids: &'a [String],
        }
        let &UpdateUrlPreviews {
            preview_tokens,
            open_ids,
        } = self;
        Request::new(Api::UpdateUrlPreviews, &[]).json(&Wire {
            preview_tokens,
            open_ids,
        })
    }
}

nameless_debug!(
    UpdateCard,
    DelayUpdateCard,
    Member,
    SendEphemeral,
    DeleteEphemeral,
    UpdateUrlPreviews
);

#[cfg(test)]
mod tests {
    use super::super::tests::{IM, check};
    use super::*;

    fn card() -> Box<RawValue> {
        RawValue::from_string(r#"{"elements": []}"#.to_owned()).unwrap()
    }

    #[test]
    fn a_sent_card_is_updated_by_a_string_and_a_clicked_one_by_an_object() {
        let update = UpdateCard {
            message_id: "om_1",
            content: r#"{"elements":[]}"#,
        };
        let body = r#"{"content":"{\"elements\":[]}"}"#;
        check(
            &update.request(),
            &format!("PATCH {IM}/messages/om_1"),
            body,
        );
        let delayed = DelayUpdateCard {
            token: "c-1",
            card: &card(),
        };
        let body = r#"{"token":"c-1","card":{"elements": []}}"#;
        check(
            &delayed.request(),
            "POST /open-apis/interactive/v1/card/update",
            body,
        );
    }

    #[test]
    fn a_card_for_one_member_names_that_member_in_one_way() {
        for (member, named) in [
            (Member::OpenId("ou_1"), r#""open_id":"ou_1""#),
            (Member::UserId("u1"), r#""user_id":"u1""#),
            (Member::Email("a@b.cn"), r#""email":"a@b.cn""#),
        ] {
            let send = SendEphemeral {
                chat_id: "oc_1",
                member,
                card: &card(),
            };
            let body = format!(
                r#"{{"chat_id":"oc_1",{named},"msg_type":"interactive","card":{{"elements": []}}}}"#
            );
            check(&send.request(), "POST /open-apis/ephemeral/v1/send", &body);
        }
        let delete = DeleteEphemeral { message_id: "om_1" };
        let body = r#"{"message_id":"om_1"}"#;
        check(
            &delete.request(),
            "POST /open-apis/ephemeral/v1/delete",
            body,
        );
    }

    #[test]
    fn previews_are_renewed_for_everybody_or_for_those_named() {
        let call = "POST /open-apis/im/v2/url_previews/batch_update";
        let update = UpdateUrlPreviews {
            preview_tokens: &["p1".to_owned()],
            open_ids: &[],
        };
        check(&update.request(), call, r#"{"preview_tokens":["p1"]}"#);
        let named = UpdateUrlPreviews {
            open_ids: &["ou_1".to_owned()],
            ..update
        };
        let body = r#"{"preview_tokens":["p1"],"open_ids":["ou_1"]}"#;
        check(&named.request(), call, body);
    }
}
