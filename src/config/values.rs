//! Single values of the config and of the command line: durations, sizes, addresses, URLs, names.
//!
//! Pure: text in, value or a sentence about what would be right out.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::Listen;

/// Longest duration a setting may have; keeps every sum of a time and a setting inside `i64` ms.
const DURATION_MAX: Duration = Duration::from_secs(10 * 365 * 86_400);

/// Longest name of an app, bot, client or tenant, in bytes.
const NAME_BYTES_MAX: usize = 64;

/// Reads `30s`, `5m`, `1h 30m`, `30d`, `0s`: whole numbers with `ms`, `s`, `m`, `h`, `d` or `w`.
///
/// # Errors
/// A sentence that says how a duration is written, or that it is longer than ten years.
pub fn duration(text: &str) -> Result<Duration, String> {
    let wrong =
        || format!("{text:?} is not a duration; write \"30s\", \"5m\", \"1h 30m\" or \"30d\"");
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err(wrong());
    }
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let (digits, after) = split_at_end_of(rest, |c| c.is_ascii_digit());
        let (unit, after) = split_at_end_of(after.trim_start(), |c| c.is_ascii_alphabetic());
        let number: u64 = digits.parse().map_err(|_| wrong())?;
        let unit_ms = unit_ms(unit).ok_or_else(wrong)?;
        let part = number.checked_mul(unit_ms).map(Duration::from_millis);
        total = part
            .and_then(|part| total.checked_add(part))
            .filter(|sum| *sum <= DURATION_MAX)
            .ok_or_else(|| format!("{text:?} is longer than ten years"))?;
        rest = after.trim_start();
    }
    Ok(total)
}

fn unit_ms(unit: &str) -> Option<u64> {
    Some(match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        "w" => 604_800_000,
        _ => return None,
    })
}

fn split_at_end_of(text: &str, part: impl Fn(char) -> bool) -> (&str, &str) {
    let end = text.find(|c| !part(c)).unwrap_or(text.len());
    text.split_at(end)
}

/// Writes a duration as `duration` reads it: the largest units first, `0s` for none.
pub fn duration_text(value: Duration) -> String {
    let mut rest_ms = value.as_millis();
    let mut parts = Vec::new();
    for (unit, unit_ms) in [
        ("d", 86_400_000),
        ("h", 3_600_000),
        ("m", 60_000),
        ("s", 1_000),
        ("ms", 1),
    ] {
        if rest_ms >= unit_ms {
            parts.push(format!("{}{unit}", rest_ms / unit_ms));
            rest_ms %= unit_ms;
        }
    }
    if parts.is_empty() {
        return "0s".to_owned();
    }
    parts.join(" ")
}

/// Reads `48 MiB`, `30MB` or a count of bytes.
pub(super) fn size(text: &str) -> Result<u64, String> {
    let parsed: Result<bytesize::ByteSize, _> = text.trim().parse();
    parsed
        .map(|size| size.as_u64())
        .map_err(|_| format!("{text:?} is not a size; write \"48 MiB\" or \"500 KiB\""))
}

/// Every reader of a single value, for the fuzzer: none may panic.
#[cfg(any(fuzzing, test))]
pub(crate) fn every(text: &str) {
    let _ = (size(text), listen(text), socket_mode(text), proxy(text));
    let _ = (base_url(text), hook_url(text), name(text), word(text));
    let _ = (sha256_hex(text), is_plain_and_remote(text));
    let _ = super::matchers::parse(text);
}

/// Reads `127.0.0.1:8787`, `[::1]:8787` or `unix:/run/feishu-relay/relay.sock`.
pub(super) fn listen(text: &str) -> Result<Listen, String> {
    if let Some(path) = text.strip_prefix("unix:") {
        let path = PathBuf::from(path);
        if !path.is_absolute() {
            return Err(format!("{text:?} needs an absolute path after \"unix:\""));
        }
        return Ok(Listen::Unix(path));
    }
    text.parse::<SocketAddr>().map(Listen::Tcp).map_err(|_| {
        format!(
            "{text:?} is neither an address with a port (\"127.0.0.1:8787\") nor \"unix:/path\""
        )
    })
}

/// Reads the mode of a unix socket, three or four octal digits: `0660`.
pub(super) fn socket_mode(text: &str) -> Result<u32, String> {
    let wrong = || format!("{text:?} is not a file mode; write it in octal, \"0660\"");
    if !(3..=4).contains(&text.len()) || !text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(wrong());
    }
    let mode = u32::from_str_radix(text, 8).map_err(|_| wrong())?;
    if mode > 0o777 {
        return Err(wrong());
    }
    Ok(mode)
}

/// Reads the base of an HTTP service and takes its trailing slash away.
pub(super) fn base_url(text: &str) -> Result<String, String> {
    let url = http_url(text, &["http", "https"])?;
    if url.query().is_some() || url.fragment().is_some() {
        return Err("must be a bare base like \"https://open.feishu.cn\"".to_owned());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("must not carry a user or a password".to_owned());
    }
    Ok(text.trim_end_matches('/').to_owned())
}

/// Whether a base sends plain text to another machine.
pub(super) fn is_plain_and_remote(base_url: &str) -> bool {
    let Ok(url) = reqwest::Url::parse(base_url) else {
        return false;
    };
    url.scheme() == "http" && !url.host_str().is_some_and(is_loopback_host)
}

fn is_loopback_host(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost"
        || bare
            .parse::<std::net::IpAddr>()
            .is_ok_and(|ip| ip.is_loopback())
}

/// Checks the address of a custom bot; it is a secret, so it never appears in the error.
pub(super) fn hook_url(text: &str) -> Result<String, String> {
    let url = http_url(text, &["http", "https"]);
    let url = url.map_err(|_| "is not an http or https URL".to_owned())?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err("must not carry a user or a password".to_owned());
    }
    if url.path() == "/" {
        return Err("is a host without a path; give the bot's whole URL".to_owned());
    }
    Ok(text.to_owned())
}

/// Checks a proxy; it may hold a password, so it never appears in the error.
pub(super) fn proxy(text: &str) -> Result<String, String> {
    http_url(text, &["http", "https", "socks5", "socks5h"])
        .map(|_| text.to_owned())
        .map_err(|_| "is not an http, https, socks5 or socks5h URL".to_owned())
}

fn http_url(text: &str, schemes: &[&str]) -> Result<reqwest::Url, String> {
    let url = reqwest::Url::parse(text).map_err(|_| format!("{text:?} is not a URL"))?;
    if !schemes.contains(&url.scheme()) || url.host_str().is_none_or(str::is_empty) {
        return Err(format!("{text:?} is not a URL of {}", schemes.join(" or ")));
    }
    Ok(url)
}

/// Reads the name of an app, bot, client or tenant: 1 to 64 of letters, digits, `.`, `_`, `-`.
///
/// # Errors
/// Anything else; the text says what a name is.
pub fn name(text: &str) -> Result<String, String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if text.is_empty() || text.len() > NAME_BYTES_MAX || !text.chars().all(fits) {
        return Err(format!(
            "{text:?} is not a name: 1 to {NAME_BYTES_MAX} of letters, digits, \".\", \"_\" and \"-\""
        ));
    }
    Ok(text.to_owned())
}

/// Reads text that must say something and holds no white space.
pub(super) fn word(text: &str) -> Result<String, String> {
    if text.is_empty() || text.contains(char::is_whitespace) {
        return Err("must be one word".to_owned());
    }
    Ok(text.to_owned())
}

/// Reads a SHA-256 as 64 hexadecimal digits.
pub(super) fn sha256_hex(text: &str) -> Result<[u8; 32], String> {
    let wrong = || "is not a SHA-256: 64 hexadecimal digits".to_owned();
    if text.len() != 64 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(wrong());
    }
    let mut hash = [0; 32];
    for (index, byte) in hash.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * index..2 * index + 2], 16).map_err(|_| wrong())?;
    }
    Ok(hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_whole_numbers_with_units() {
        let check = |text, seconds: Option<u64>| {
            assert_eq!(
                duration(text).ok(),
                seconds.map(Duration::from_secs),
                "{text:?}"
            );
        };
        check("30s", Some(30));
        check("0s", Some(0));
        check("1h 30m", Some(5400));
        check("1h30m", Some(5400));
        check("30d", Some(2_592_000));
        check("2w", Some(1_209_600));
        check("5 m", Some(300));
        check("1000ms", Some(1));
        check("", None);
        check("5", None);
        check("-5s", None);
        check("1.5h", None);
        check("5 minutes", None);
        check("4000d", None);
        check("99999999999999999999s", None);
        check("18446744073709551615w", None);
    }

    #[test]
    fn a_duration_is_written_as_it_is_read() {
        for text in ["0s", "30s", "1h 30m", "30d", "1d 2h 3m 4s 5ms"] {
            assert_eq!(duration_text(duration(text).unwrap()), text);
        }
    }

    #[test]
    fn sizes_know_both_kinds_of_mega() {
        assert_eq!(size("48 MiB"), Ok(48 << 20));
        assert_eq!(size("30MB"), Ok(30_000_000));
        assert!(size("many").is_err());
    }

    #[test]
    fn a_listen_is_an_address_or_a_socket() {
        assert!(matches!(listen("127.0.0.1:0"), Ok(Listen::Tcp(_))));
        assert!(matches!(listen("[::1]:8787"), Ok(Listen::Tcp(_))));
        assert!(matches!(listen("unix:/run/a.sock"), Ok(Listen::Unix(_))));
        for wrong in ["8787", "localhost:8787", "unix:a.sock", "unix:", ""] {
            assert!(listen(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn modes_are_octal() {
        assert_eq!(socket_mode("0660"), Ok(0o660));
        assert_eq!(socket_mode("600"), Ok(0o600));
        for wrong in ["660x", "0888", "1777", "", "+66", "00660"] {
            assert!(socket_mode(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_base_is_an_http_url_without_extras() {
        assert_eq!(
            base_url("https://open.feishu.cn/").as_deref(),
            Ok("https://open.feishu.cn")
        );
        assert!(base_url("http://127.0.0.1:9797").is_ok());
        for wrong in [
            "open.feishu.cn",
            "ftp://open.feishu.cn",
            "https://",
            "https://a/?b=c",
            "https://user:word@a",
        ] {
            assert!(base_url(wrong).is_err(), "{wrong:?}");
        }
        assert!(is_plain_and_remote("http://open.feishu.cn"));
        assert!(!is_plain_and_remote("http://[::1]:9797"));
        assert!(!is_plain_and_remote("https://open.feishu.cn"));
    }

    #[test]
    fn the_address_of_a_bot_or_proxy_is_not_repeated_in_its_fault() {
        for url in ["hook/s3cret", "http://s3cret", "https://s3cret@a/b"] {
            assert!(!hook_url(url).unwrap_err().contains("s3cret"), "{url}");
        }
        assert!(hook_url("https://a/open-apis/bot/v2/hook/x").is_ok());
        assert!(!proxy("ftp://u:s3cret@a").unwrap_err().contains("s3cret"));
    }
}
