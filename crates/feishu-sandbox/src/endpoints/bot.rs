//! The bot about itself. Source: endpoints.md 9.

use serde_json::json;

use crate::call::{Call, Handled};

/// Answers the bot's own open id and name, at the top level of the body.
pub(crate) fn info(call: &mut Call<'_>) -> Handled {
    let id = call.app_id.trim_start_matches("cli_");
    Ok(json!({
        "code": 0, "msg": "ok",
        "bot": {
            "activate_status": 2, "app_name": format!("Sandbox bot {id}"), "avatar_url": "",
            "ip_white_list": [], "open_id": format!("ou_bot{id}"),
        },
    })
    .into())
}
