//! Paging: `page_size` and `page_token` in, `has_more` and `page_token` out.
//!
//! A token carries a position and a mark of the other parameters, so that changing those between
//! pages is noticed. Source: endpoints.md 0 (paging), errors.md 4.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::call::Call;
use crate::codes::Refusal;

/// How many are wanted, from where on.
#[derive(Debug)]
pub(crate) struct Page {
    size: usize,
    /// Where the page before ended; `None` on the first page.
    pub(crate) after: Option<u64>,
    mark: String,
}

impl Page {
    /// Reads the paging parameters; `max` and `default` are the endpoint's page sizes.
    pub(crate) fn read(call: &Call<'_>, max: usize, default: usize) -> Result<Self, Refusal> {
        Self::read_as(call, max, default, 230_001)
    }

    /// The same, where a bad page token is refused with `token_code`.
    pub(crate) fn read_as(
        call: &Call<'_>,
        max: usize,
        default: usize,
        token_code: i64,
    ) -> Result<Self, Refusal> {
        let size = match call.asked("page_size") {
            None => default,
            Some(text) => match text.parse::<usize>() {
                Ok(size) if (1..=max).contains(&size) => size,
                Ok(_) => return Err(Refusal::ext(&format!("page_size exceeds 1 to {max}"))),
                Err(_) => return Err(Refusal::field("page_size", text, "page_size is a number")),
            },
        };
        let mark = mark(call);
        let after = match call.asked("page_token") {
            None => None,
            Some(token) => Some(
                position(token, &mark).map_err(|says| Refusal::code(token_code).because(says))?,
            ),
        };
        Ok(Self { size, after, mark })
    }

    /// Cuts the page from `items`, which start behind `after`; each comes with its position.
    pub(crate) fn cut(&self, items: impl Iterator<Item = (u64, Value)>) -> Value {
        let mut page: Vec<(u64, Value)> = items.take(self.size + 1).collect();
        let has_more = page.len() > self.size;
        page.truncate(self.size);
        let last = page.last().map(|(position, _)| *position);
        let items: Vec<Value> = page.into_iter().map(|(_, item)| item).collect();
        let mut data = json!({ "items": items, "has_more": has_more });
        if let (true, Some(last)) = (has_more, last) {
            data["page_token"] = json!(format!("{}{last:016x}", self.mark));
        }
        data
    }
}

fn position(token: &str, mark: &str) -> Result<u64, &'static str> {
    let invalid = || "invalid page_token";
    let (of, position) = token.split_at_checked(mark.len()).ok_or_else(invalid)?;
    let position = u64::from_str_radix(position, 16).map_err(|_| invalid())?;
    if of != mark {
        return Err("request parameters have changed");
    }
    Ok(position)
}

/// A mark of everything asked but the page itself.
fn mark(call: &Call<'_>) -> String {
    let mut asked: Vec<_> = (call.query.iter())
        .filter(|(key, _)| *key != "page_token" && *key != "page_size")
        .collect();
    asked.sort_unstable();
    let hash = Sha256::digest(format!("{} {asked:?}", call.arrived.path).as_bytes());
    hash.iter()
        .take(8)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}
