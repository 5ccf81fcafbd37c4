//! See `bodies::mesh_frame`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| millrace_fuzz::mesh_frame(bytes));
