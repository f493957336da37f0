//! The body of a request: JSON or lines.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| feishu_relay::fuzz::body(bytes));
