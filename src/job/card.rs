//! A card made here, looked at as the door will look at it.

use feishu_im::{Content, ContentUse};
use serde_json::{Value, json};

use super::Flaw;

/// What the door would say of a message with this card, one that is to be updated later; pointers into the card.
///
/// # Errors
/// Its flaws, each with its place.
pub fn check_card(card: &Value) -> Result<(), Vec<Flaw>> {
    let args = json!({ "card": card });
    let args = args.as_object().expect("it was made as an object");
    let checked = Content::checked(args, ContentUse::UpdateCard);
    checked.map(drop).map_err(|flaws| {
        let flaw = |flaw: feishu_im::Flaw| Flaw {
            pointer: flaw
                .pointer
                .strip_prefix("/card")
                .unwrap_or_default()
                .to_owned(),
            detail: flaw.detail,
        };
        flaws.into_iter().map(flaw).collect()
    })
}
