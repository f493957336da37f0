//! One job of a request.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| feishu_relay::fuzz::job(bytes));
