//! The Millrace router's binary. Everything it does is in the library.

use std::process::ExitCode;

use clap::Parser;

/// Cheap frees across threads: batches are made on one core and freed on another.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    millrace_router::process::run(&millrace_router::process::Cli::parse())
}
