//! From words to a command line: what clap does not know by itself.

use std::any::TypeId;
use std::time::Duration;

use clap::builder::Resettable;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::parser::ValueSource;
use clap::{CommandFactory, FromArgMatches};

use crate::args::Args;
use crate::brief;
use crate::context::Given;
use crate::options::REACH;

/// What monitoring systems take for "it could not be found out".
pub(crate) const CHECK_UNKNOWN: u8 = 3;

/// Commands that ask admin pages, and the options that say nothing to them.
const ASK_ADMINS: [&str; 3] = ["check", "ctl", "top"];
const OF_CLIENTS: [&str; 3] = ["router", "token_file", "zone"];
/// Commands that reach no router: the options that say how say nothing to them.
const REACH_NOBODY: [&str; 7] =
    ["certs", "rules", "completions", "man", "context", "spool inspect", "spool drop"];
/// It reaches no router either, and keeps these options.
const KEEPS: [&str; 1] = ["context save"];
/// What is for the commands of `sub --exec` alone, and what it is.
const OF_EXEC: [(&str, &str); 2] = [
    ("timeout", "how long a command of --exec may run"),
    ("jobs", "how many commands of --exec run at once"),
];

/// Types of options' values that begin with a digit.
const NUMBERS: [TypeId; 4] =
    [TypeId::of::<Duration>(), TypeId::of::<u64>(), TypeId::of::<u32>(), TypeId::of::<u16>()];

/// The command line, and what of it is given. A variable of the environment that is empty counts as
/// unset: that is how shells and unit files unset one.
pub(crate) fn command_line() -> (Args, Given) {
    let command = command();
    let mut spare = command.clone();
    let matches = command.try_get_matches().unwrap_or_else(|error| refuse(&taught(error)));
    if let Some(error) = misplaced(&mut spare, &matches).or_else(|| without_exec(&mut spare, &matches)) {
        refuse(&error);
    }
    let given = Given::of(&matches);
    (Args::from_arg_matches(&matches).unwrap_or_else(|error| refuse(&error)), given)
}

/// What is read, with the options of each command that say something to it.
fn command() -> clap::Command {
    let command = hidden_from(as_people_write(Args::command()), &ASK_ADMINS, &OF_CLIENTS, true);
    let command = hidden_from(command, &REACH_NOBODY, &REACH, true);
    let kept: Vec<&str> = REACH.into_iter().filter(|&id| id != "context").collect();
    brief::briefly(hidden_from(command, &KEEPS, &kept, false))
}

/// The same, with these options hidden from the help of these commands, or not.
fn hidden_from(command: clap::Command, commands: &[&str], options: &[&str], hidden: bool) -> clap::Command {
    let options: Vec<clap::Arg> = command
        .get_arguments()
        .filter(|arg| options.contains(&arg.get_id().as_str()))
        .map(|arg| arg.clone().hide(hidden))
        .collect();
    commands.iter().fold(command, |command, path| with(command, path, &options))
}

/// The same, with options of its own for the command at this path, if there is one.
fn with(command: clap::Command, path: &str, options: &[clap::Arg]) -> clap::Command {
    let (name, below) = path.split_once(' ').map_or((path, None), |(name, below)| (name, Some(below)));
    if command.find_subcommand(name).is_none() {
        return command;
    }
    command.mut_subcommand(name, |subcommand| match below {
        Some(below) => with(subcommand, below, options),
        None => subcommand.args(options.to_vec()),
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
    Some(command.error(ErrorKind::ArgumentConflict, words))
}

/// What is wrong when `sub` has an option for the commands of --exec, and no --exec: `--timeout` is
/// what people write who want an end.
fn without_exec(command: &mut clap::Command, matches: &clap::ArgMatches) -> Option<clap::Error> {
    let (_, of_command) = matches.subcommand().filter(|(name, _)| *name == "sub")?;
    let is_given = |id: &str| of_command.value_source(id) == Some(ValueSource::CommandLine);
    if is_given("exec") {
        return None;
    }
    let (option, what) = OF_EXEC.into_iter().find(|(id, _)| is_given(id))?;
    let cure = match of_command.get_one::<Duration>("timeout") {
        Some(time) if option == "timeout" => {
            let time = humantime::format_duration(*time);
            format!("to end after a time write --for {time}, to run a command for each event --exec CMD")
        }
        _ => format!("add --exec CMD, which is run for each event, or leave --{option} out"),
    };
    let words = format!("--{option} is {what}, and there is no --exec:\n{cure}");
    command.build();
    let command = command.find_subcommand_mut("sub")?;
    Some(command.error(ErrorKind::MissingRequiredArgument, words))
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
        std::process::exit(CHECK_UNKNOWN.into());
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

#[cfg(test)]
mod tests {
    use super::*;

    /// The words of the error that a command line ends with.
    fn refused(args: &[&str]) -> String {
        let mut spare = command();
        let matches = command().try_get_matches_from([&["millrace"], args].concat());
        let matches = matches.unwrap_or_else(|error| panic!("{error}"));
        let error = misplaced(&mut spare, &matches).or_else(|| without_exec(&mut spare, &matches));
        error.map(|error| error.to_string()).unwrap_or_default()
    }

    #[test]
    fn options_of_exec_say_what_they_are_for_and_what_else_may_be_meant() {
        let timeout = refused(&["sub", "*", "--since", "5m", "-n", "3", "--timeout", "3s"]);
        assert!(timeout.contains("--for 3s") && timeout.contains("--exec CMD"), "{timeout}");
        assert!(timeout.contains("Usage: millrace sub "), "{timeout}");
        let jobs = refused(&["sub", "*", "--jobs", "2"]);
        assert!(jobs.contains("--jobs is how many commands") && !jobs.contains("--for"), "{jobs}");
        for args in [
            &["sub", "*", "--exec", "cat", "--timeout", "3s", "--jobs", "2"][..],
            &["sub", "*", "--for", "3s"],
        ] {
            assert_eq!(refused(args), "");
        }
    }

    #[test]
    fn help_shows_the_options_that_say_something_to_a_command() {
        let help = |path: &[&str]| {
            let mut command = command();
            command.build();
            let command = path.iter().fold(&mut command, |command, name| {
                command.find_subcommand_mut(name).unwrap_or_else(|| panic!("{name}"))
            });
            command.render_long_help().to_string()
        };
        for (path, shown, hidden) in [
            (&["sub"][..], &["--router", "--context"][..], &[][..]),
            (&["spool", "replay"], &["--router", "--context"], &[]),
            (&["ctl", "status"], &["--context", "--ca"], &["--router <", "--zone"]),
            (&["context", "save"], &["--router", "--ca", "--admin", "--token-file"], &["--context"]),
            (&["context", "use"], &["--none"], &["--router", "--context"]),
            (&["certs", "init"], &[], &["--router", "--context"]),
            (&["spool", "inspect"], &[], &["--router", "--context"]),
        ] {
            let help = help(path);
            for option in shown {
                assert!(help.contains(*option), "{path:?} without {option}: {help}");
            }
            for option in hidden {
                assert!(!help.contains(&format!("      {option}")), "{path:?} with {option}: {help}");
            }
        }
    }
}
