//! See `bodies::data_frame`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| millrace_fuzz::data_frame(bytes));
