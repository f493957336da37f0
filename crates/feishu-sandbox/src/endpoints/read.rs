//! Who has read a message. Source: endpoints.md 2.10.

use serde_json::json;

use super::paging::Page;
use crate::call::{Call, Handled, success};
use crate::clock::DAY_MS;
use crate::codes::Refusal;
use crate::world::{IdKind, TENANT_KEY};

/// Read state is kept this long. Source: limits.md 4.
const READ_STATE_MS: i64 = 7 * DAY_MS;

/// Lists the readers of an own message, in the order of reading.
pub(crate) fn users(call: &mut Call<'_>) -> Handled {
    let kind = call.user_id_type()?;
    let page = Page::read(call, 100, 20)?;
    let message = call.message(call.param("message_id"))?;
    call.enter(&message.chat_id)?;
    if !message.is_by(&call.app_id) {
        return Err(Refusal::code(230_012));
    }
    if message.deleted {
        return Err(Refusal::code(230_110));
    }
    if call.now_ms - message.create_ms > READ_STATE_MS {
        return Err(Refusal::code(230_033));
    }
    let name = call.asked("user_id_type").unwrap_or_default();
    let readers = (1..)
        .zip(&message.reads)
        .skip(usize::try_from(page.after.unwrap_or(0)).unwrap_or(0));
    let items = readers.map(|(position, read)| {
        let user = call.world.people.find(IdKind::Open, &read.user);
        let id = user.map_or(read.user.as_str(), |user| kind.of(user));
        let item = json!({
            "user_id_type": name, "user_id": id,
            "timestamp": read.at_ms.to_string(), "tenant_key": TENANT_KEY,
        });
        (position, item)
    });
    Ok(success(page.cut(items)))
}
