//! `millrace-loadgen`: see `--help`.

#![warn(clippy::print_stderr)]
#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test that cannot go on should stop"))]

mod cli;

use std::process::ExitCode;

use clap::builder::Resettable;
use clap::{CommandFactory, FromArgMatches};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let matches = without_empty_variables(cli::Cli::command()).get_matches();
    match cli::Cli::from_arg_matches(&matches) {
        Ok(cli) => cli.execute(),
        Err(error) => error.exit(),
    }
}

/// A variable of the environment that is empty counts as unset: that is how shells and unit files
/// unset one.
fn without_empty_variables(command: clap::Command) -> clap::Command {
    let command = command.mut_args(|arg| {
        let is_empty = arg.get_env().and_then(std::env::var_os).is_some_and(|value| value.is_empty());
        if is_empty { arg.env(Resettable::Reset) } else { arg }
    });
    command.mut_subcommands(without_empty_variables)
}
