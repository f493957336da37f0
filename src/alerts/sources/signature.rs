//! The signature of a notification: HMAC-SHA256 over the body, in hexadecimal, as Grafana makes it.
//!
//! With a header for the time, `<Unix seconds>:` stands before the body, and what is older than five minutes, or
//! that far ahead, is not taken.
//! Source: grafana.com/docs/grafana/latest/alerting (webhook notifier, HMAC signature) and `http/hmac.go` of
//! grafana/alerting, read 2026-11-22.

use hmac::{Hmac, KeyInit, Mac};
use http::HeaderMap;
use secrecy::ExposeSecret;
use sha2::Sha256;

use super::Refused;
use crate::config::Signature;

/// How far a signed time may lie from now.
const TOLERANCE_MS: i64 = 5 * 60 * 1000;

/// Checks that `body` is signed.
///
/// # Errors
/// It is not, or not now.
pub(crate) fn verify(
    signature: &Signature,
    headers: &HeaderMap,
    body: &[u8],
    now_ms: i64,
) -> Result<(), Refused> {
    let shown = only(headers, &signature.header).ok_or(Refused::Unsigned(
        "the sink wants a signature of the body, in one header",
    ))?;
    let wrong = Refused::Unsigned("the signature is not that of the body and the secret");
    let shown = shown.strip_prefix("sha256=").unwrap_or(shown);
    let shown = bytes(shown).ok_or_else(|| wrong.clone())?;
    let secret = signature.secret.expose_secret().as_bytes();
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).map_err(|_| wrong.clone())?;
    if let Some(header) = &signature.timestamp_header {
        let stamp = only(headers, header).ok_or(Refused::Unsigned(
            "the sink wants the time of the signature, in one header",
        ))?;
        mac.update(stamp.as_bytes());
        mac.update(b":");
        let seconds: Option<i64> = stamp.parse().ok();
        let off = seconds.map(|s| s.saturating_mul(1000).saturating_sub(now_ms));
        if off.is_none_or(|off| off.unsigned_abs() > TOLERANCE_MS.unsigned_abs()) {
            return Err(Refused::Unsigned(
                "the signature's time is more than five minutes from the relay's",
            ));
        }
    }
    mac.update(body);
    mac.verify_slice(&shown).map_err(|_| wrong)
}

/// The value of a header that stands once.
fn only<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    let mut all = headers.get_all(name).iter();
    match (all.next(), all.next()) {
        (Some(value), None) => value.to_str().ok().map(str::trim),
        _ => None,
    }
}

/// The bytes of 64 hexadecimal digits.
fn bytes(hex: &str) -> Option<[u8; 32]> {
    let digits: &[u8; 64] = hex.as_bytes().try_into().ok()?;
    let mut out = [0; 32];
    for (byte, pair) in out.iter_mut().zip(digits.chunks(2)) {
        let digit = |c: u8| char::from(c).to_digit(16);
        let value = digit(pair[0])? * 16 + digit(pair[1])?;
        *byte = u8::try_from(value).ok()?;
    }
    Some(out)
}
