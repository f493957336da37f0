//! What stands behind the `?`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| feishu_relay::fuzz::query(bytes));
