//! `millrace`: publish, subscribe, make certificates and look after routers from a shell.
//!
//! Exit codes of all but `check`: 0 done, 1 something was not delivered or was refused, 2 wrong
//! usage, 3 no router could be reached, 130 interrupted before the end.

mod admin;
mod args;
mod brief;
#[cfg(unix)]
mod certs;
mod check;
mod context;
mod credentials;
mod ctl;
mod cursor;
mod deadline;
mod exec;
mod failure;
mod figures;
mod lines;
mod nearest;
mod options;
mod outage;
mod parse;
mod publish;
mod publishing;
mod reach;
mod refusal;
mod reply;
mod request;
mod rules;
mod shell;
mod show;
mod signal;
#[cfg(unix)]
mod spool;
#[cfg(unix)]
mod spooling;
mod standby;
mod subscribe;
mod summary;
mod tags;
mod tap;
mod tell;
mod top;
mod worker;

use std::process::ExitCode;

use clap::CommandFactory;

use crate::args::{Args, Command};
use crate::failure::Failure;

/// Cheap frees across the runtime's threads.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let (mut args, given) = parse::command_line();
    #[cfg(unix)]
    if let Err(error) = open_some_files() {
        let error = anyhow::Error::new(error).context("too few files may be open (`ulimit -n`)");
        return Failure::other(error).report();
    }
    let used = match context::choose(&mut args.reach, args.command.reaches(), &given) {
        Ok(used) => used,
        Err(failure) if matches!(args.command, Command::Check(_)) => {
            return failure.with_code(parse::CHECK_UNKNOWN).report();
        }
        Err(failure) => return failure.report(),
    };
    // A stopped pager blocks only this thread; connections live on another one.
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return Failure::other(error.into()).report(),
    };
    let outcome = runtime.block_on(async {
        match &args.command {
            Command::Pub(command) => publish::run(&args.reach, command).await,
            Command::Sub(command) => match &command.exec {
                Some(line) => worker::run(&args.reach, command, line).await,
                None => subscribe::run(&args.reach, command).await,
            },
            Command::Request(command) => request::run(&args.reach, command).await,
            Command::Reply(command) => reply::run(&args.reach, command).await,
            Command::Check(command) => check::run(&args.reach, command).await,
            Command::Context(command) => context::run(command, &args.reach, &given),
            Command::Rules(command) => rules::run(command, args.reach.json).await,
            Command::Completions(command) => shell::completions(command, Args::command()),
            Command::Man(command) => shell::man(command, Args::command()),
            Command::Top(command) => top::run(&args.reach, command).await,
            Command::Tap(command) => tap::run(&args.reach, command).await,
            Command::Ctl(command) => ctl::run(&args.reach, command).await,
            #[cfg(unix)]
            Command::Certs(command) => certs::run(command, args.reach.json),
            #[cfg(unix)]
            Command::Spool(command) => spool::run(&args.reach, command).await,
        }
    });
    // Reading standard input may still block a thread of the runtime: do not wait for it.
    runtime.shutdown_background();
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => used.iter().fold(failure, |failure, used| used.explain(failure)).report(),
    }
}

/// Opens as many files as the runtime expects to get, which panics where it does not.
#[cfg(unix)]
fn open_some_files() -> std::io::Result<()> {
    use std::os::unix::net::UnixStream;
    let _pairs = [UnixStream::pair()?, UnixStream::pair()?, UnixStream::pair()?];
    Ok(())
}
