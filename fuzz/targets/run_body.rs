//! See `bodies::run_body`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| millrace_fuzz::run_body(bytes));
