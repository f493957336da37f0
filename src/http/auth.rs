//! Who asks, and whether they may: browser pages, `Host`, bearer tokens, scopes.
//!
//! Without `[[clients]]` everybody on this machine may do everything, except a web page: only
//! loopback names are taken as `Host` (a name that an attacker points here is not one of them), and
//! a foreign `Origin` is always refused. With clients each request shows a token; a unix socket
//! needs none, its file mode says who may come in.
//! Not here: which job a client may touch for other reasons than who it is (`job`, `store`).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use axum::http::header::{AUTHORIZATION, HOST, ORIGIN};
use axum::http::{HeaderMap, Method, Uri};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::config::{Client, Scope};
use crate::http::problem::Problem;
use crate::job::{Door, Job, Priority};
use crate::store::Filter;

/// Under it stand the sinks of alerts.
const ALERTS: &str = "/v1/alerts/";

/// Where a connection comes from.
#[derive(Clone, Copy, Debug)]
pub(super) enum Peer {
    /// Over TCP.
    Tcp(SocketAddr),
    /// Over a unix socket.
    Unix,
}

/// Who asks.
#[derive(Clone, Debug)]
pub(super) struct Caller(Option<Arc<Client>>);

impl Caller {
    /// The one that this is; `None`: whoever needs no token.
    pub(super) fn of(client: Option<Arc<Client>>) -> Caller {
        Caller(client)
    }

    /// The kinds that it may enqueue; `None`: all.
    pub(super) fn kinds(&self) -> Option<&[String]> {
        self.0.as_ref()?.kinds.as_deref()
    }

    /// As a job's `client` says; empty for whoever needs no token.
    pub(super) fn name(&self) -> &str {
        self.0.as_ref().map_or("", |client| &client.name)
    }

    /// As an action's `by` says.
    pub(super) fn by(&self) -> &str {
        self.0.as_ref().map_or("local", |client| &client.name)
    }

    /// May it do what needs `scope`?
    pub(super) fn may(&self, scope: Scope) -> bool {
        self.0
            .as_ref()
            .is_none_or(|client| client.scopes.contains(&scope))
    }

    /// Refuses a caller who lacks `scope`.
    pub(super) fn need(&self, scope: Scope) -> Result<(), Problem> {
        match self.may(scope) {
            true => Ok(()),
            false => Err(Problem::forbidden(format!(
                "client {:?} lacks the scope {:?}",
                self.name(),
                word(scope)
            ))),
        }
    }

    /// Refuses to do something to a job of others.
    pub(super) fn need_job(&self, job: &Job) -> Result<(), Problem> {
        self.need_own(&job.client, "job")
    }

    /// Refuses to do something to a `thing` that another client, the `owner`, brought.
    pub(super) fn need_own(&self, owner: &str, thing: &str) -> Result<(), Problem> {
        let Some(client) = &self.0 else { return Ok(()) };
        if self.may(Scope::Operate) || owner == client.name {
            return Ok(());
        }
        Err(Problem::forbidden(format!(
            "the {thing} is not one of client {:?}; others' need the scope \"operate\"",
            client.name
        )))
    }

    /// How long its Feishu-compatible calls wait, if its config says, milliseconds.
    pub(super) fn wait_ms(&self) -> Option<i64> {
        let wait = self.0.as_ref()?.wait?;
        Some(i64::try_from(wait.as_millis()).unwrap_or(i64::MAX))
    }

    /// The apps that it may use; `None`: all.
    pub(super) fn apps(&self) -> Option<&[String]> {
        self.0.as_ref()?.apps.as_deref()
    }

    /// Do these clients hold the one that this is, as it was when it came?
    pub(super) fn is_still_of(&self, clients: &[Arc<Client>]) -> bool {
        let known = |one: &Arc<Client>| clients.iter().any(|client| client == one);
        self.0.as_ref().is_none_or(known)
    }

    /// Is that app, and all that belongs to it, there for this client?
    pub(super) fn sees(&self, app: &String) -> bool {
        self.apps().is_none_or(|apps| apps.contains(app))
    }

    /// The filter, of what this client sees.
    pub(super) fn within(&self, filter: Filter) -> Filter {
        let apps = self.apps().map(<[String]>::to_vec);
        Filter { apps, ..filter }
    }

    /// What is known of this producer when a request is read.
    pub(super) fn door(&self, apps: &[String], bots: &[String], now_ms: i64) -> Door {
        let client = self.0.as_ref();
        let priority = client.and_then(|client| client.priority.as_deref());
        let expires_in = client.and_then(|client| client.expires_in);
        Door {
            apps: apps.to_vec(),
            bots: bots.to_vec(),
            allowed_apps: client.and_then(|client| client.apps.clone()),
            allowed_kinds: client.and_then(|client| client.kinds.clone()),
            client: self.name().to_owned(),
            priority: priority
                .and_then(Priority::from_name)
                .unwrap_or(Priority::Normal),
            expires_in_ms: expires_in
                .map(|life| i64::try_from(life.as_millis()).unwrap_or(i64::MAX)),
            labels: client.map_or_else(Default::default, |client| client.labels.clone()),
            now_ms,
            arrived: Vec::new(),
        }
    }
}

/// Lets a request in, or says why not.
///
/// `open` is a path that needs no token. A GET needs the scope `read`; what other methods need,
/// their handlers ask for.
pub(super) fn admit(
    peer: Peer,
    clients: &[Arc<Client>],
    method: &Method,
    uri: &Uri,
    headers: &HeaderMap,
    open: bool,
) -> Result<Caller, Problem> {
    enter(peer, clients, uri, headers)?;
    let caller = Caller(match (clients.is_empty() || open, peer) {
        (true, _) => None,
        (false, peer) => identify(peer, clients, headers, uri.path().starts_with(ALERTS))?,
    });
    if !open && matches!(*method, Method::GET | Method::HEAD) {
        caller.need(Scope::Read)?;
    }
    Ok(caller)
}

/// Lets in whoever shows what they may do in another way than by a client's token.
///
/// # Errors
/// 403: a page of another site, or a stranger where only this machine may call.
pub(super) fn enter(
    peer: Peer,
    clients: &[Arc<Client>],
    uri: &Uri,
    headers: &HeaderMap,
) -> Result<(), Problem> {
    let host = host(uri, headers)?;
    refuse_pages(headers, host)?;
    match clients.is_empty() {
        true => refuse_strangers(peer, host),
        false => Ok(()),
    }
}

/// The name under which the relay was called; `None`: it was not named.
fn host<'a>(uri: &'a Uri, headers: &'a HeaderMap) -> Result<Option<&'a str>, Problem> {
    let mut named = headers.get_all(HOST).iter();
    let host = named.next().map(|host| host.to_str());
    if named.next().is_some() {
        return Err(Problem::malformed("there are two Host headers"));
    }
    match (uri.authority(), host) {
        (Some(authority), _) => Ok(Some(authority.as_str())),
        (None, None) => Ok(None),
        (None, Some(Ok(host))) => Ok(Some(host)),
        (None, Some(Err(_))) => Err(Problem::malformed("the Host header is no text")),
    }
}

/// A page of another site sends `Origin` with what it posts, and new browsers say whose page it is.
fn refuse_pages(headers: &HeaderMap, host: Option<&str>) -> Result<(), Problem> {
    let site = headers.get("sec-fetch-site");
    if site.is_some_and(|site| site == "cross-site" || site == "same-site") {
        let detail = "pages of other sites may not call the relay (Sec-Fetch-Site)";
        return Err(Problem::forbidden(detail));
    }
    let foreign = |origin: &str| !host.is_some_and(|host| is_same(origin, host));
    for origin in headers.get_all(ORIGIN) {
        if origin.to_str().map_or(true, foreign) {
            let detail = "pages of other sites may not call the relay (Origin)";
            return Err(Problem::forbidden(detail));
        }
    }
    Ok(())
}

/// Is `origin` (`http://name:port`) the place that was called as `host`?
fn is_same(origin: &str, host: &str) -> bool {
    let (name, port) = match origin.split_once("://") {
        Some(("http", name)) => (name, ":80"),
        Some(("https", name)) => (name, ":443"),
        _ => return false,
    };
    let bare = |name: &str| {
        let name = name.to_ascii_lowercase();
        name.strip_suffix(port).map(str::to_owned).unwrap_or(name)
    };
    bare(name) == bare(host)
}

/// Nobody shows a token: only this machine, called by a name that always means this machine.
fn refuse_strangers(peer: Peer, host: Option<&str>) -> Result<(), Problem> {
    let Peer::Tcp(address) = peer else {
        return Ok(());
    };
    if !address.ip().to_canonical().is_loopback() {
        let detail = "without [[clients]] only this machine may call the relay";
        return Err(Problem::forbidden(detail));
    }
    match host {
        Some(host) if is_loopback(host) => Ok(()),
        Some(_) => Err(Problem::forbidden(
            "without [[clients]] only localhost, 127.0.0.0/8 and [::1] are taken as Host",
        )),
        None => Err(Problem::forbidden(
            "without [[clients]] a Host header must name this machine: localhost",
        )),
    }
}

/// `localhost`, `127.0.0.0/8` or `[::1]`, with or without a port.
fn is_loopback(host: &str) -> bool {
    let (name, port) = match host.rfind(':') {
        Some(colon) if !host.ends_with(']') => (&host[..colon], &host[colon + 1..]),
        _ => (host, ""),
    };
    if !port.bytes().all(|b| b.is_ascii_digit()) {
        return false;
    }
    let inside = name
        .strip_prefix('[')
        .and_then(|name| name.strip_suffix(']'));
    match inside {
        Some(inside) => inside
            .parse()
            .is_ok_and(|ip: Ipv6Addr| IpAddr::V6(ip).is_loopback()),
        None => {
            name.eq_ignore_ascii_case("localhost")
                || name.parse().is_ok_and(|ip: Ipv4Addr| ip.is_loopback())
        }
    }
}

/// Whose token it is. A unix socket needs none; a token shown there counts all the same. `basic`: it may be a
/// password as well.
fn identify(
    peer: Peer,
    clients: &[Arc<Client>],
    headers: &HeaderMap,
    basic: bool,
) -> Result<Option<Arc<Client>>, Problem> {
    let mut shown = headers.get_all(AUTHORIZATION).iter();
    let header = match (shown.next(), shown.next()) {
        (Some(header), None) => header,
        (Some(_), Some(_)) => {
            return Err(Problem::malformed("there are two Authorization headers"));
        }
        (None, _) => {
            return match peer {
                Peer::Unix => Ok(None),
                Peer::Tcp(_) => Err(Problem::who_are_you(
                    "send Authorization: Bearer and a token of one of [[clients]]",
                    "Bearer",
                )),
            };
        }
    };
    let unknown = || {
        let challenge = "Bearer error=\"invalid_token\"";
        Problem::who_are_you("the token is not one of [[clients]]", challenge)
    };
    let shown = header.to_str().ok().ok_or_else(unknown)?;
    let password = || basic.then(|| password(shown)).flatten();
    let token = bearer(shown).map(str::to_owned).or_else(password);
    let client = owner(&token.ok_or_else(unknown)?, clients).ok_or_else(unknown)?;
    Ok(Some(client))
}

/// The password of HTTP's basic authentication, which is all that some sources of alerts can show; the name
/// before it says nothing.
fn password(header: &str) -> Option<String> {
    let (scheme, pair) = header.split_once(' ')?;
    let pair = scheme
        .eq_ignore_ascii_case("basic")
        .then(|| BASE64.decode(pair.trim()))?;
    let pair = String::from_utf8(pair.ok()?).ok()?;
    pair.split_once(':').map(|(_, word)| word.trim().to_owned())
}

/// The token of an `Authorization` header.
pub(super) fn bearer(header: &str) -> Option<&str> {
    let (scheme, token) = header.split_once(' ')?;
    scheme
        .eq_ignore_ascii_case("bearer")
        .then_some(token.trim())
}

/// As the config keeps it.
pub(super) fn hash(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

/// Compares with every token of every client, so that the time taken tells nothing.
pub(super) fn owner(token: &str, clients: &[Arc<Client>]) -> Option<Arc<Client>> {
    let hash = hash(token);
    let mut owner = None;
    for client in clients {
        for known in &client.token_sha256 {
            if bool::from(known.ct_eq(&hash)) {
                owner = Some(client);
            }
        }
    }
    owner.cloned()
}

fn word(scope: Scope) -> &'static str {
    match scope {
        Scope::Enqueue => "enqueue",
        Scope::Read => "read",
        Scope::Operate => "operate",
        Scope::Direct => "direct",
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use axum::http::HeaderValue;
    use axum::response::IntoResponse;

    use super::*;

    const NEAR: &str = "127.0.0.1:50000";

    fn client(name: &str, token: &str, scopes: &[Scope]) -> Arc<Client> {
        Arc::new(Client {
            name: name.to_owned(),
            token_sha256: vec![[7; 32], Sha256::digest(token.as_bytes()).into()],
            scopes: scopes.to_vec(),
            apps: None,
            kinds: None,
            wait: None,
            priority: None,
            expires_in: None,
            labels: BTreeMap::new(),
        })
    }

    fn headers(given: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in given {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    /// The status of the refusal, or the name of who was let in.
    fn enter(
        peer: Peer,
        clients: &[Arc<Client>],
        method: Method,
        given: &[(&'static str, &'static str)],
    ) -> Result<String, u16> {
        let uri = Uri::from_static("/v1/jobs");
        admit(peer, clients, &method, &uri, &headers(given), false)
            .map(|caller| caller.by().to_owned())
            .map_err(|problem| problem.into_response().status().as_u16())
    }

    fn tcp(address: &str) -> Peer {
        Peer::Tcp(address.parse().unwrap())
    }

    #[test]
    fn without_clients_only_loopback_names_are_taken_as_host() {
        fn check(host: &'static str, expected: Result<&str, u16>) {
            let got = enter(tcp(NEAR), &[], Method::POST, &[("host", host)]);
            assert_eq!(got.as_deref().map_err(|code| *code), expected, "{host}");
        }
        check("localhost", Ok("local"));
        check("LocalHost:8787", Ok("local"));
        check("127.0.0.1:8787", Ok("local"));
        check("127.8.9.10", Ok("local"));
        check("[::1]:8787", Ok("local"));
        check("[::1]", Ok("local"));
        check("", Err(403));
        check("relay.example:8787", Err(403));
        check("127.0.0.1.example", Err(403));
        check("localhost.example", Err(403));
        check("localhost@evil.example", Err(403));
        check("localhost:80@evil.example", Err(403));
        check("10.0.0.1", Err(403));
        check("[::2]", Err(403));
        check("::1", Err(403));
        assert_eq!(enter(tcp(NEAR), &[], Method::POST, &[]), Err(403));
        let two = [("host", "localhost"), ("host", "localhost")];
        assert_eq!(enter(tcp(NEAR), &[], Method::POST, &two), Err(400));
    }

    #[test]
    fn at_the_sinks_of_alerts_a_token_may_be_a_password() {
        let clients = [client("am", "secret", &[Scope::Enqueue])];
        let check = |path: &'static str, shown: String, expected: Result<&str, u16>| {
            let mut headers = HeaderMap::new();
            headers.insert("authorization", shown.parse().unwrap());
            let uri = Uri::from_static(path);
            let far = tcp("10.0.0.7:4");
            let got = admit(far, &clients, &Method::POST, &uri, &headers, false);
            let got = got.map(|caller| caller.by().to_owned());
            let got = got.map_err(|problem| problem.into_response().status().as_u16());
            assert_eq!(
                got.as_deref().map_err(|code| *code),
                expected,
                "{path} {shown}"
            );
        };
        let basic = |pair: &str| format!("Basic {}", BASE64.encode(pair));
        check("/v1/alerts/db", basic("grafana:secret"), Ok("am"));
        check(
            "/v1/alerts/db",
            basic(":secret").replace("Basic", "basic"),
            Ok("am"),
        );
        check("/v1/alerts/db", String::from("Bearer secret"), Ok("am"));
        check("/v1/alerts/db", basic("secret:"), Err(401));
        check("/v1/alerts/db", basic("secret"), Err(401));
        check("/v1/alerts/db", basic("a:b:secret"), Err(401));
        check("/v1/alerts/db", String::from("Basic secret"), Err(401));
        check("/v1/jobs", basic("grafana:secret"), Err(401));
    }

    #[test]
    fn the_name_in_the_request_line_counts_before_the_host_header() {
        let uri = Uri::from_static("http://evil.example/v1/jobs");
        let headers = headers(&[("host", "localhost")]);
        let got = admit(tcp(NEAR), &[], &Method::GET, &uri, &headers, false);
        assert!(got.is_err());
    }

    #[test]
    fn without_clients_another_machine_is_refused() {
        let host = [("host", "localhost")];
        assert_eq!(enter(tcp("10.0.0.7:4"), &[], Method::GET, &host), Err(403));
        let mapped = tcp("[::ffff:127.0.0.1]:4");
        assert!(enter(mapped, &[], Method::GET, &host).is_ok());
        assert!(enter(Peer::Unix, &[], Method::GET, &[]).is_ok());
    }

    #[test]
    fn pages_of_other_sites_are_refused_and_our_own_are_not() {
        let operator = [client("ops", "secret", &[Scope::Operate])];
        fn check(
            clients: &[Arc<Client>],
            name: &'static str,
            value: &'static str,
            expected: Result<(), u16>,
        ) {
            let given = [
                ("host", "localhost:8787"),
                ("authorization", "Bearer secret"),
                (name, value),
            ];
            let got = enter(tcp(NEAR), clients, Method::POST, &given).map(|_| ());
            assert_eq!(got, expected, "{name}: {value}");
        }
        for clients in [&[][..], &operator[..]] {
            check(clients, "origin", "http://localhost:8787", Ok(()));
            check(clients, "origin", "http://localhost:3000", Err(403));
            check(clients, "origin", "http://evil.example", Err(403));
            check(clients, "origin", "null", Err(403));
            check(clients, "sec-fetch-site", "cross-site", Err(403));
            check(clients, "sec-fetch-site", "same-site", Err(403));
            check(clients, "sec-fetch-site", "same-origin", Ok(()));
            check(clients, "sec-fetch-site", "none", Ok(()));
        }
        let over_unix = [("origin", "http://evil.example"), ("host", "localhost")];
        assert_eq!(enter(Peer::Unix, &[], Method::POST, &over_unix), Err(403));
    }

    #[test]
    fn a_default_port_may_be_left_out_of_an_origin() {
        assert!(is_same("https://relay.example", "Relay.example:443"));
        assert!(is_same("http://relay.example:80", "relay.example"));
        assert!(!is_same("http://relay.example", "relay.example:8787"));
        assert!(!is_same("file://", ""));
    }

    #[test]
    fn with_clients_a_token_is_needed_except_on_a_unix_socket() {
        let clients = [
            client("reader", "r", &[Scope::Read]),
            client("ops", "o", &[Scope::Operate]),
        ];
        let far = || tcp("10.0.0.7:4");
        let get = |auth: &'static str| {
            let given = [("host", "relay.example"), ("authorization", auth)];
            enter(far(), &clients, Method::GET, &given)
        };
        assert_eq!(get("Bearer r"), Ok(String::from("reader")));
        assert_eq!(get("bearer  r"), Ok(String::from("reader")));
        assert_eq!(get("Bearer o"), Err(403));
        assert_eq!(get("Bearer x"), Err(401));
        assert_eq!(get("Bearer "), Err(401));
        assert_eq!(get("Basic r"), Err(401));
        assert_eq!(enter(far(), &clients, Method::GET, &[]), Err(401));
        let unix = enter(Peer::Unix, &clients, Method::GET, &[]);
        assert_eq!(unix, Ok(String::from("local")));
        let wrong = [("authorization", "Bearer x")];
        assert_eq!(enter(Peer::Unix, &clients, Method::GET, &wrong), Err(401));
    }

    #[test]
    fn a_path_that_is_open_needs_no_token_but_is_still_closed_to_pages() {
        let clients = [client("reader", "r", &[Scope::Read])];
        let uri = Uri::from_static("/healthz");
        let enter = |given: &[(&'static str, &'static str)]| {
            let peer = tcp("10.0.0.7:4");
            admit(peer, &clients, &Method::GET, &uri, &headers(given), true).is_ok()
        };
        assert!(enter(&[]));
        assert!(!enter(&[("origin", "http://evil.example")]));
    }
}
