//! Doors to the parsers of this room, for the fuzzer.

use axum::http::Uri;

use super::json::{self, JOBS_MAX};
use super::query::Words;

/// The body of a request, as JSON and as lines: what is handed out stands where it says.
pub fn body(bytes: &[u8]) {
    for lines in [false, true] {
        let mut count = 0;
        let shape = json::jobs(bytes, lines, |at, _| {
            assert!(at.is_empty() || *at == format!("/{count}"));
            count += 1;
        });
        assert!(count <= JOBS_MAX);
        if let Err(fault) = shape {
            assert!(!format!("{fault:?}").is_empty());
        }
    }
    if let Ok(value) = json::value(bytes) {
        // Not the same number to the last digit: a fraction is read with an error of one unit there.
        assert!(json::value(value.to_string().as_bytes()).is_ok());
    }
}

/// What stands behind the `?` of a list.
pub fn query(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let Ok(uri) = format!("/v1/jobs?{text}").parse::<Uri>() else {
        return;
    };
    if let Ok(mut words) = Words::of(&uri) {
        let wait = words.wait(0);
        assert!(wait.ms >= 0);
        let _ = (words.fresh(), words.dry_run());
        let filter = words.filter(1_767_225_600_000);
        assert!(filter.limit >= 1);
        let _ = words.finish();
    }
}
