//! See `bodies::tag_set`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| millrace_fuzz::tag_set(bytes));
