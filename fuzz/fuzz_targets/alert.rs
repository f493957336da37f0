//! A notification of any source.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| feishu_relay::fuzz::alert(bytes));
