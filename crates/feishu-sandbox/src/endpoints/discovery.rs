//! The address of a long connection. Source: events.md 7.1.
//!
//! Only the asking is here: nothing answers at that address, since the sandbox raises no events.

use serde_json::json;

use super::new_id;
use crate::call::{Call, Handled};
use crate::codes::Refusal;

/// Answers the address for an app's id and secret.
pub(crate) fn find(call: &mut Call<'_>) -> Handled {
    let missing = || Refusal::code(1_000_040_344);
    let body = call.json().map_err(|_| missing())?;
    let text = |name: &str| body.get(name).and_then(serde_json::Value::as_str);
    let (Some(app_id), Some(secret)) = (text("AppID"), text("AppSecret")) else {
        return Err(missing());
    };
    let apps = &call.world.seed.apps;
    if !apps
        .iter()
        .any(|app| app.app_id == app_id && app.app_secret == secret)
    {
        return Err(Refusal::code(1_000_040_345));
    }
    let device: u64 = u64::try_from(call.now_ms).unwrap_or(1);
    let url = format!(
        "ws://{}/callback/ws?fpid=493&aid=552564&device_id={device}&access_key={}&service_id=1&ticket={}",
        call.arrived.host,
        new_id(""),
        new_id(""),
    );
    Ok(json!({ "code": 0, "msg": "", "data": {
        "URL": url,
        "ClientConfig": {
            "ReconnectCount": -1, "ReconnectInterval": 120, "ReconnectNonce": 30, "PingInterval": 120,
        },
    } })
    .into())
}
