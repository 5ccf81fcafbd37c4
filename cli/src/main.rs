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
mod credentials;
mod ctl;
mod cursor;
mod exec;
mod failure;
mod figures;
mod lines;
mod options;
mod outage;
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

use std::any::TypeId;
use std::process::ExitCode;
use std::time::Duration;

use clap::builder::Resettable;
use clap::error::{ContextKind, ContextValue};
use clap::parser::ValueSource;
use clap::{CommandFactory, FromArgMatches};

use crate::args::{Args, Command};
use crate::failure::Failure;

/// Cheap frees across the runtime's threads.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What monitoring systems take for "it could not be found out".
const CHECK_UNKNOWN: i32 = 3;

/// Commands that ask admin pages, and the options that say nothing to them.
const ASK_ADMINS: [&str; 3] = ["check", "ctl", "top"];
const OF_CLIENTS: [&str; 3] = ["router", "token_file", "zone"];
/// Commands that reach no router, and the options that say nothing to them.
const REACH_NOBODY: [&str; 4] = ["certs", "rules", "completions", "man"];
const REACH: [&str; 8] =
    ["router", "ca", "cert", "key", "token_file", "accept_open_key", "server_name", "zone"];

/// Types of options' values that begin with a digit.
const NUMBERS: [TypeId; 4] =
    [TypeId::of::<Duration>(), TypeId::of::<u64>(), TypeId::of::<u32>(), TypeId::of::<u16>()];

fn main() -> ExitCode {
    let args = parse();
    #[cfg(unix)]
    if let Err(error) = open_some_files() {
        let error = anyhow::Error::new(error).context("too few files may be open (`ulimit -n`)");
        return Failure::other(error).report();
    }
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
        Err(failure) => failure.report(),
    }
}

/// Opens as many files as the runtime expects to get, which panics where it does not.
#[cfg(unix)]
fn open_some_files() -> std::io::Result<()> {
    use std::os::unix::net::UnixStream;
    let _pairs = [UnixStream::pair()?, UnixStream::pair()?, UnixStream::pair()?];
    Ok(())
}

/// The command line. A variable of the environment that is empty counts as unset: that is how
/// shells and unit files unset one.
fn parse() -> Args {
    let command = Args::command();
    let command = hidden_from(as_people_write(command), &ASK_ADMINS, &OF_CLIENTS);
    let command = hidden_from(command, &REACH_NOBODY, &REACH);
    let command = brief::briefly(command);
    let mut spare = command.clone();
    let matches = command.try_get_matches().unwrap_or_else(|error| refuse(&taught(error)));
    if let Some(error) = misplaced(&mut spare, &matches) {
        refuse(&error);
    }
    Args::from_arg_matches(&matches).unwrap_or_else(|error| refuse(&error))
}

/// The same, with these options hidden from the help of these commands.
fn hidden_from(command: clap::Command, commands: &[&str], options: &[&str]) -> clap::Command {
    let hidden: Vec<clap::Arg> = command
        .get_arguments()
        .filter(|arg| options.contains(&arg.get_id().as_str()))
        .map(|arg| arg.clone().hide(true))
        .collect();
    commands.iter().fold(command, |command, name| {
        command.mut_subcommand(name, |subcommand| subcommand.args(hidden.clone()))
    })
}

/// What is wrong when such an option was given to a command that asks admin pages: it would look at
/// another router than its user believes.
fn misplaced(command: &mut clap::Command, matches: &clap::ArgMatches) -> Option<clap::Error> {
    let (name, of_command) = matches.subcommand().filter(|(name, _)| ASK_ADMINS.contains(name))?;
    let is_given = |id: &&&str| of_command.value_source(id) == Some(ValueSource::CommandLine);
    let option = OF_CLIENTS.iter().find(is_given)?.replace('_', "-");
    let words = format!(
        "--{option} is for clients, and `{name}` asks admin pages:\nwrite --admin http://HOST:7401, \
         or https://HOST:7402 from elsewhere"
    );
    Some(command.error(clap::error::ErrorKind::ArgumentConflict, words))
}

/// The same error, with what people want who leave out selectors.
fn taught(mut error: clap::Error) -> clap::Error {
    let lacks_selector = match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::Strings(missing)) => missing.iter().any(|name| name.contains("SELECTOR")),
        _ => false,
    };
    if lacks_selector {
        let tip = "'*' is everything; below `--help` stands what selectors can say".into();
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip]));
    }
    error
}

/// Says what is wrong with the command line, or the help that was asked for. Wrong usage of `check`
/// is unknown to monitoring systems, for which 2 is critical.
fn refuse(error: &clap::Error) -> ! {
    let is_option = |word: &std::ffi::OsString| word.as_encoded_bytes().starts_with(b"-");
    let command = std::env::args_os().skip(1).find(|word| !is_option(word));
    if error.use_stderr() && command.is_some_and(|word| word == "check") {
        let _ = error.print();
        std::process::exit(CHECK_UNKNOWN);
    }
    error.exit()
}

/// The same, with negative numbers read as numbers, which are then refused in words.
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
