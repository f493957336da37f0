//! Durations, times, sizes, names.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| feishu_relay::fuzz::words(bytes));
