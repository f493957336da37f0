//! The endpoints, one row each: what the gateway must know, and who answers.
//!
//! A new endpoint is a row here and a function in `endpoints`. Path parameters are written as
//! `:name`; the written call (`POST /open-apis/im/v1/messages`) is the name in ledger and faults.

use crate::call::{Call, Handled};
use crate::endpoints::{
    batch, bot, cards, delayed, discovery, edit, ephemeral, files, follow, forward, history, hook,
    images, pins, previews, reactions, read, recall, reply, resources, send, tokens, urgent,
};

/// Who may call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Auth {
    Nobody,
    Tenant,
}

/// How often one app may call one API. Source: limits.md 1.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tier {
    /// No tier published.
    None,
    /// 1000 in a minute and 50 in a second.
    Four,
    /// 5 in a second.
    Six,
}

/// The status of a failure behind the gateway. Source: endpoints.md 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failures {
    /// That of its code.
    Http,
    Always200,
    /// Not known: as the switch `old_http` says.
    Old,
}

/// One endpoint.
pub(crate) struct Endpoint {
    pub(crate) method: &'static str,
    pub(crate) path: &'static str,
    /// Another spelling of the path that is taken too.
    pub(crate) also: Option<&'static str>,
    pub(crate) auth: Auth,
    pub(crate) tier: Tier,
    /// Counts toward the month's quota. Source: limits.md 1.3.
    pub(crate) counted: bool,
    pub(crate) failures: Failures,
    /// The body is a multipart form.
    pub(crate) form: bool,
    /// Code of the window of one receiver or object, where there is one. Source: limits.md 1.2.
    pub(crate) window_code: i64,
    pub(crate) handle: fn(&mut Call<'_>) -> Handled,
}

impl Endpoint {
    /// The call as it is written in the ledger.
    pub(crate) fn call(&self) -> String {
        format!("{} {}", self.method, self.path)
    }
}

/// An IM call of today: tenant token, tier 4, counted, failures with HTTP 4xx.
const fn im(
    method: &'static str,
    path: &'static str,
    handle: fn(&mut Call<'_>) -> Handled,
) -> Endpoint {
    Endpoint {
        method,
        path,
        also: None,
        auth: Auth::Tenant,
        tier: Tier::Four,
        counted: true,
        failures: Failures::Http,
        form: false,
        window_code: 0,
        handle,
    }
}

/// An IM call under the windows of its receiver or message. Source: limits.md 1.2.
const fn speaking(
    method: &'static str,
    path: &'static str,
    handle: fn(&mut Call<'_>) -> Handled,
) -> Endpoint {
    Endpoint {
        window_code: 230_020,
        ..im(method, path, handle)
    }
}

/// An old call. Source: endpoints.md 4.2 to 4.4.
const fn old(path: &'static str, handle: fn(&mut Call<'_>) -> Handled) -> Endpoint {
    Endpoint {
        failures: Failures::Old,
        ..im("POST", path, handle)
    }
}

/// A call without a token, a tier or a place in the month's quota. Source: limits.md 1.
const fn open(path: &'static str, handle: fn(&mut Call<'_>) -> Handled) -> Endpoint {
    Endpoint {
        auth: Auth::Nobody,
        tier: Tier::None,
        counted: false,
        ..im("POST", path, handle)
    }
}

/// A token call. Source: endpoints.md 1.
const fn token(
    path: &'static str,
    also: &'static str,
    handle: fn(&mut Call<'_>) -> Handled,
) -> Endpoint {
    Endpoint {
        also: Some(also),
        failures: Failures::Always200,
        ..open(path, handle)
    }
}

/// Where a long connection's address is asked for. Source: events.md 7.1.
pub(crate) const DISCOVERY: &str = "/callback/ws/endpoint";

/// All endpoints. Sources: endpoints.md, the section behind each row.
pub(crate) static ENDPOINTS: &[Endpoint] = &[
    token(
        "/open-apis/auth/v3/tenant_access_token/internal",
        "/open-apis/auth/v3/tenant_access_token/internal/",
        tokens::issue,
    ), // 1
    token(
        "/open-apis/auth/v3/app_access_token/internal",
        "/open-apis/auth/v3/app_access_token/internal/",
        tokens::issue,
    ), // 1
    token(
        "/open-apis/auth/v3/app_access_token",
        "/open-apis/auth/v3/app_access_token/",
        tokens::of_store_app,
    ), // 1
    token(
        "/open-apis/auth/v3/tenant_access_token",
        "/open-apis/auth/v3/tenant_access_token/",
        tokens::of_tenant,
    ), // 1
    token(
        "/open-apis/auth/v3/app_ticket/resend",
        "/open-apis/auth/v3/app_ticket/resend/",
        tokens::resend_ticket,
    ), // 1
    speaking("POST", "/open-apis/im/v1/messages", send::send), // 2.1
    Endpoint {
        failures: Failures::Always200,
        ..im("POST", "/open-apis/message/v4/batch_send/", batch::send)
    }, // 2.2
    speaking(
        "POST",
        "/open-apis/im/v1/messages/:message_id/reply",
        reply::reply,
    ), // 2.3
    speaking("PUT", "/open-apis/im/v1/messages/:message_id", edit::edit), // 2.4
    im(
        "DELETE",
        "/open-apis/im/v1/messages/:message_id",
        recall::recall,
    ), // 2.5
    im(
        "DELETE",
        "/open-apis/im/v1/batch_messages/:batch_message_id",
        batch::recall,
    ), // 2.6
    speaking(
        "POST",
        "/open-apis/im/v1/messages/:message_id/forward",
        forward::one,
    ), // 2.7
    speaking(
        "POST",
        "/open-apis/im/v1/messages/merge_forward",
        forward::merge,
    ), // 2.8
    speaking(
        "POST",
        "/open-apis/im/v1/threads/:thread_id/forward",
        forward::thread,
    ), // 2.9
    im(
        "GET",
        "/open-apis/im/v1/messages/:message_id/read_users",
        read::users,
    ), // 2.10
    im("GET", "/open-apis/im/v1/messages", history::list),     // 2.11
    im(
        "GET",
        "/open-apis/im/v1/messages/:message_id/resources/:file_key",
        resources::get,
    ), // 2.12
    im("GET", "/open-apis/im/v1/messages/:message_id", history::get), // 2.13
    im(
        "GET",
        "/open-apis/im/v1/batch_messages/:batch_message_id/read_user",
        batch::read_user,
    ), // 2.14
    im(
        "GET",
        "/open-apis/im/v1/batch_messages/:batch_message_id/get_progress",
        batch::progress,
    ), // 2.15
    im(
        "POST",
        "/open-apis/im/v1/messages/:message_id/push_follow_up",
        follow::push,
    ), // 2.16
    Endpoint {
        form: true,
        ..im("POST", "/open-apis/im/v1/images", images::upload)
    }, // 3
    Endpoint {
        form: true,
        ..im("POST", "/open-apis/im/v1/files", files::upload)
    }, // 3
    im(
        "GET",
        "/open-apis/im/v1/images/:image_key",
        files::download_image,
    ), // 3
    im(
        "GET",
        "/open-apis/im/v1/files/:file_key",
        files::download_file,
    ), // 3
    speaking(
        "PATCH",
        "/open-apis/im/v1/messages/:message_id",
        cards::update,
    ), // 4.1
    old("/open-apis/interactive/v1/card/update", delayed::update), // 4.2
    old("/open-apis/ephemeral/v1/send", ephemeral::send),      // 4.3
    old("/open-apis/ephemeral/v1/delete", ephemeral::delete),  // 4.4
    im(
        "POST",
        "/open-apis/im/v1/messages/:message_id/reactions",
        reactions::add,
    ), // 5
    im(
        "GET",
        "/open-apis/im/v1/messages/:message_id/reactions",
        reactions::list,
    ), // 5
    im(
        "DELETE",
        "/open-apis/im/v1/messages/:message_id/reactions/:reaction_id",
        reactions::remove,
    ), // 5
    im(
        "POST",
        "/open-apis/im/v1/messages/reactions/batch_query",
        reactions::query,
    ), // 5
    im(
        "PATCH",
        "/open-apis/im/v1/messages/:message_id/urgent_app",
        urgent::app,
    ), // 6
    im(
        "PATCH",
        "/open-apis/im/v1/messages/:message_id/urgent_sms",
        urgent::sms,
    ), // 6
    im(
        "PATCH",
        "/open-apis/im/v1/messages/:message_id/urgent_phone",
        urgent::phone,
    ), // 6
    Endpoint {
        window_code: 230_047,
        ..im("POST", "/open-apis/im/v1/pins", pins::pin)
    }, // 7
    Endpoint {
        window_code: 230_047,
        ..im("DELETE", "/open-apis/im/v1/pins/:message_id", pins::unpin)
    }, // 7
    Endpoint {
        window_code: 230_048,
        ..im("GET", "/open-apis/im/v1/pins", pins::list)
    }, // 7
    Endpoint {
        tier: Tier::Six,
        ..im(
            "POST",
            "/open-apis/im/v2/url_previews/batch_update",
            previews::update,
        )
    }, // 8
    open("/open-apis/bot/v2/hook/:hook", hook::say),           // messages.md 5
    open(DISCOVERY, discovery::find),                          // events.md 7.1
    im("GET", "/open-apis/bot/v3/info", bot::info),            // 9
];

/// What a method and a path lead to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Route {
    /// Place in `ENDPOINTS` and the path's parameters, decoded.
    Found(usize, Vec<(&'static str, String)>),
    WrongMethod,
    Unknown,
}

/// Finds the endpoint of a request.
pub(crate) fn route(method: &str, path: &str) -> Route {
    let mut known_path = false;
    for (at, row) in ENDPOINTS.iter().enumerate() {
        let spellings = std::iter::once(row.path).chain(row.also);
        if let Some(params) = spellings.into_iter().find_map(|pattern| fit(pattern, path)) {
            if row.method == method {
                return Route::Found(at, params);
            }
            known_path = true;
        }
    }
    if known_path {
        Route::WrongMethod
    } else {
        Route::Unknown
    }
}

fn fit(pattern: &'static str, path: &str) -> Option<Vec<(&'static str, String)>> {
    let mut params = Vec::new();
    let mut given = path.split('/');
    for part in pattern.split('/') {
        let value = given.next()?;
        match part.strip_prefix(':') {
            Some(_) if value.is_empty() => return None,
            Some(name) => params.push((name, percent_decode(value, false))),
            None if part == value => {}
            None => return None,
        }
    }
    given.next().is_none().then_some(params)
}

/// Undoes percent-encoding; with `plus`, `+` is a space. What is not UTF-8 is replaced.
pub(crate) fn percent_decode(text: &str, plus: bool) -> String {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = bytes
            .get(at + 1..at + 3)
            .and_then(|two| std::str::from_utf8(two).ok());
        let byte = hex.and_then(|two| u8::from_str_radix(two, 16).ok());
        match (bytes[at], byte) {
            (b'%', Some(byte)) => {
                decoded.push(byte);
                at += 2;
            }
            (b'+', _) if plus => decoded.push(b' '),
            (other, _) => decoded.push(other),
        }
        at += 1;
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_leads_to_its_endpoint_with_parameters_decoded() {
        let Route::Found(at, params) =
            route("PATCH", "/open-apis/im/v1/messages/om%5F1/urgent_app")
        else {
            panic!("no endpoint found");
        };
        assert_eq!(
            ENDPOINTS[at].call(),
            "PATCH /open-apis/im/v1/messages/:message_id/urgent_app"
        );
        assert_eq!(params, [("message_id", "om_1".to_owned())]);
    }

    #[test]
    fn a_wrong_method_is_told_from_an_unknown_path() {
        assert_eq!(route("PUT", "/open-apis/im/v1/pins"), Route::WrongMethod);
        assert_eq!(route("GET", "/open-apis/im/v9/pins"), Route::Unknown);
        assert_eq!(
            route("POST", "/open-apis/message/v4/batch_send"),
            Route::Unknown
        );
    }

    #[test]
    fn every_endpoint_is_found_under_its_own_name() {
        for (at, row) in ENDPOINTS.iter().enumerate() {
            assert!(matches!(route(row.method, row.path), Route::Found(found, _) if found == at));
        }
    }
}
