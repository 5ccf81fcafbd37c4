//! See `bodies::stream_preamble`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| millrace_fuzz::stream_preamble(bytes));
