//! Feishu's answers.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| feishu_im::fuzz::answer(bytes));
