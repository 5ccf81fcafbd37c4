//! `millrace-loadgen`: see `--help`.

#![warn(clippy::print_stderr)]
#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test that cannot go on should stop"))]

mod cli;

use std::any::TypeId;
use std::process::ExitCode;
use std::time::Duration;

use clap::builder::Resettable;
use clap::{CommandFactory, FromArgMatches};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Types of options' values that begin with a digit.
const NUMBERS: [TypeId; 4] =
    [TypeId::of::<Duration>(), TypeId::of::<u64>(), TypeId::of::<u32>(), TypeId::of::<u16>()];

fn main() -> ExitCode {
    let matches = as_people_write(cli::Cli::command()).get_matches();
    match cli::Cli::from_arg_matches(&matches) {
        Ok(cli) => cli.execute(),
        Err(error) => error.exit(),
    }
}

/// A command line that takes what people write: a variable of the environment that is empty counts
/// as unset, because that is how shells and unit files unset one; and a negative number is one.
fn as_people_write(command: clap::Command) -> clap::Command {
    let command = command.mut_args(|arg| {
        let is_empty = arg.get_env().and_then(std::env::var_os).is_some_and(|value| value.is_empty());
        // `--duration -5s` is told that times are not negative, rather than that `-5` is no option.
        let is_number = NUMBERS.iter().any(|number| arg.get_value_parser().type_id() == *number);
        let arg = arg.allow_hyphen_values(is_number);
        if is_empty { arg.env(Resettable::Reset) } else { arg }
    });
    command.mut_subcommands(as_people_write)
}
