//! Args of what changes cards, shows one to one member, and has previews fetched anew.

use feishu_im::{CardObject, Content, ContentUse, IdType, limits};
use serde_json::{Map, json};

use crate::job::args::{Parsed, Reader, is_id, strings, unique};
use crate::job::fields::Flaw;
use crate::job::{Kind, values};

/// The longest token of a click or of a preview, bytes.
const TOKEN_BYTES_MAX: usize = 1000;
/// The member of a group, under the contract's name and Feishu's.
const MEMBER: [&str; 4] = ["user", "open_id", "user_id", "email"];

impl Reader<'_> {
    pub(super) fn update_card(mut self) -> Result<Parsed, Vec<Flaw>> {
        self.target(Kind::UpdateCard);
        self.card(true);
        self.done(Vec::new(), None)
    }

    /// A card, by `card` or `template`; with `raw` also as Feishu's `content`.
    fn card(&mut self, raw: bool) {
        let names: &[&'static str] = match raw {
            true => &["card", "template", "content"],
            false => &["card", "template"],
        };
        if let Some(value) = self.fields.get("msg_type")
            && value != "interactive"
        {
            self.fields.flaw(
                "msg_type",
                "must be \"interactive\": a card is all that fits",
            );
        }
        let Some((name, value)) = self.fields.either(names) else {
            return self
                .fields
                .flaw("card", "is missing: a card, or a \"template\"");
        };
        let mut content = Map::from_iter([(name.to_owned(), value.clone())]);
        if name == "content" {
            content.insert("msg_type".into(), json!("interactive"));
        }
        let flaws = match raw {
            true => Content::checked(&content, ContentUse::UpdateCard).err(),
            false => CardObject::from_args(&content).err(),
        };
        for flaw in flaws.into_iter().flatten() {
            self.fields.inner(flaw.pointer, flaw.detail);
        }
        self.named_in(name, value);
        self.out.append(&mut content);
    }

    pub(super) fn delay_update_card(mut self) -> Result<Parsed, Vec<Flaw>> {
        match self.fields.text("token") {
            Some(token)
                if token.len() <= TOKEN_BYTES_MAX && !token.chars().any(char::is_control) =>
            {
                self.out.insert("token".into(), json!(token));
                // Updates after one click go in order; the token itself shows nowhere but in the args.
                self.lane = Some(values::click_lane(token));
            }
            Some(_) => self
                .fields
                .flaw("token", "must be the token of a click (c-…)"),
            None if self.fields.flaws.is_empty() => {
                self.fields
                    .flaw("token", "is missing: the token of a click (c-…)");
            }
            None => {}
        }
        self.card(false);
        self.done(Vec::new(), None)
    }

    pub(super) fn send_ephemeral(mut self) -> Result<Parsed, Vec<Flaw>> {
        match self.fields.either(&["chat", "chat_id"]) {
            Some((name, value)) => match value.as_str() {
                Some(id) if is_id(id, "oc_") => {
                    self.out.insert("chat".into(), json!(id));
                    self.to = Some(id.to_owned());
                }
                _ => self.fields.flaw(name, "must be a group's id (oc_…)"),
            },
            None => self.fields.flaw("chat", "is missing: the group (oc_…)"),
        }
        self.member();
        self.card(false);
        self.done(Vec::new(), None)
    }

    fn member(&mut self) {
        let Some((name, value)) = self.fields.either(&MEMBER) else {
            return self.fields.flaw(
                "user",
                "is missing: who shall see it (ou_…, a user id or a mail address)",
            );
        };
        let Some(id) = value.as_str().filter(|id| is_id(id, "")) else {
            return self.fields.flaw(name, "must be a string of 1 to 200 bytes");
        };
        let id_type = match IdType::from_name(name) {
            Some(said) => said,
            None => IdType::guess(id),
        };
        if !matches!(id_type, IdType::OpenId | IdType::UserId | IdType::Email) {
            return self.fields.flaw(
                name,
                "must be an open_id (ou_…), a user id or a mail address",
            );
        }
        self.out.insert("user".into(), json!(id));
        self.out.insert("user_type".into(), json!(id_type.name()));
    }

    pub(super) fn update_url_previews(mut self) -> Result<Parsed, Vec<Flaw>> {
        for (name, least, most) in [
            ("preview_tokens", 1, limits::PREVIEW_TOKENS_MAX),
            ("open_ids", 0, limits::PREVIEW_USERS_MAX),
        ] {
            match self.fields.get(name).map(strings) {
                Some(Ok(list)) if (least..=most).contains(&list.len()) => {
                    self.out.insert(name.into(), json!(unique(&list)));
                }
                Some(Ok(list)) => {
                    let detail = format!("holds {}; {least} to {most} are allowed", list.len());
                    self.fields.flaw(name, detail);
                }
                Some(Err(n)) => {
                    let detail = "must be a list of strings that are not empty";
                    self.fields.flaw_at(name, n, detail);
                }
                None if least > 0 => self.fields.flaw(name, "is missing"),
                None => {}
            }
        }
        self.done(Vec::new(), None)
    }

    /// Marks the names that a kind of this file reads beside its target.
    #[cfg(test)]
    pub(super) fn known_of_card(&mut self, kind: Kind) {
        match kind {
            Kind::UpdateCard => self.card(true),
            Kind::DelayUpdateCard => {
                self.fields.leave(&["token"]);
                self.card(false);
            }
            Kind::SendEphemeral => {
                self.fields.leave(&["chat", "chat_id"]);
                self.member();
                self.card(false);
            }
            _ => self.fields.leave(&["preview_tokens", "open_ids"]),
        }
    }
}
