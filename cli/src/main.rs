//! `millrace`: publish, subscribe, make certificates and look after routers from a shell.
//!
//! Exit codes: 0 done, 1 something was not delivered or was refused, 2 wrong usage, 3 no router
//! could be reached, 130 interrupted before the end.

mod admin;
mod args;
#[cfg(unix)]
mod certs;
mod ctl;
mod failure;
mod lines;
mod outage;
mod publish;
mod reach;
mod show;
mod signal;
#[cfg(unix)]
mod spool;
mod subscribe;
mod tags;
mod tell;

use std::process::ExitCode;

use clap::builder::Resettable;
use clap::{CommandFactory, FromArgMatches};

use crate::args::{Args, Command};
use crate::failure::Failure;

/// Cheap frees across the runtime's threads.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let args = parse();
    // A stopped pager blocks only this thread; connections live on another one.
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return Failure::other(error.into()).report(),
    };
    let outcome = runtime.block_on(async {
        match &args.command {
            Command::Pub(command) => publish::run(&args.reach, command).await,
            Command::Sub(command) => subscribe::run(&args.reach, command).await,
            Command::Ctl(command) => ctl::run(command, args.reach.json).await,
            #[cfg(unix)]
            Command::Certs(command) => certs::run(command, args.reach.json),
            #[cfg(unix)]
            Command::Spool(command) => spool::run(command, args.reach.json),
        }
    });
    // Reading standard input may still block a thread of the runtime: do not wait for it.
    runtime.shutdown_background();
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

/// The command line. A variable of the environment that is empty counts as unset: that is how
/// shells and unit files unset one.
fn parse() -> Args {
    let command = Args::command();
    let command = without_empty_variables(command);
    let matches = command.get_matches();
    Args::from_arg_matches(&matches).unwrap_or_else(|error| error.exit())
}

fn without_empty_variables(command: clap::Command) -> clap::Command {
    command.mut_args(|arg| {
        let is_empty = arg.get_env().and_then(std::env::var_os).is_some_and(|value| value.is_empty());
        if is_empty { arg.env(Resettable::Reset) } else { arg }
    })
}
