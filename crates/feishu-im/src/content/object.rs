//! A card as an object: of a card for one member, and of an update after a click.

use std::fmt;

use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::{Flaw, Flaws, Form, check, named, pick, place};
use crate::limits::{ENVELOPE_BYTES, RICH_BYTES_MAX};

/// A card, ready to be sent as an object.
#[derive(Clone)]
pub struct CardObject {
    /// The card as JSON text.
    pub card: Box<RawValue>,
}

impl CardObject {
    /// A card from the arguments `card` or `template`.
    ///
    /// # Errors
    /// What is wrong, each with its place: no card or two, a wrong shape, a wrong count, too large.
    pub fn from_args(args: &Map<String, Value>) -> Result<CardObject, Vec<Flaw>> {
        CardObject::made(args, true)
    }

    /// The same without a look at what is in it: for what was checked before, maybe by other rules.
    ///
    /// # Errors
    /// It cannot be made: no card or two, or of a wrong shape.
    pub fn unchecked(args: &Map<String, Value>) -> Result<CardObject, Vec<Flaw>> {
        CardObject::made(args, false)
    }

    fn made(args: &Map<String, Value>, checked: bool) -> Result<CardObject, Vec<Flaw>> {
        let mut flaws = Flaws::default();
        let card = build(args, checked, &mut flaws);
        flaws.none_or(card)
    }
}

fn build(args: &Map<String, Value>, checked: bool, flaws: &mut Flaws) -> Option<CardObject> {
    let (key, value) = match pick(args, flaws)? {
        Form::Named {
            key: key @ ("card" | "template"),
            value,
        } => (key, value),
        Form::Named { key, .. } => return flaws.lost(&format!("/{key}"), ONLY_CARDS),
        Form::Raw { .. } => return flaws.lost("/msg_type", ONLY_CARDS),
    };
    let at = format!("/{key}");
    let (_, made) = named(key, value, &at, flaws)?;
    let text = made.to_string();
    if checked {
        let mut found = Flaws::default();
        check::content("interactive", &made, "", &mut found);
        place(key, value, at.clone()).take(found, flaws);
        if text.len() + ENVELOPE_BYTES > RICH_BYTES_MAX {
            let bytes = text.len() + ENVELOPE_BYTES;
            flaws.add(
                &at,
                format!("makes a request of {bytes} bytes; at most {RICH_BYTES_MAX} are taken"),
            );
        }
    }
    let card = RawValue::from_string(text).ok()?;
    Some(CardObject { card })
}

const ONLY_CARDS: &str = "is not taken here; only a card or a template is";

impl fmt::Debug for CardObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CardObject({} bytes)", self.card.get().len())
    }
}
