//! See `operations::core_operations`.
#![no_main]

#[path = "../operations.rs"]
#[allow(dead_code, reason = "whoever replays corpora reads the list of targets")]
mod operations;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| operations::core_operations(bytes));
