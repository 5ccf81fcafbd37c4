//! The command line of `millrace-loadgen`: one file per command, and where their results go.

mod chaos;
mod command;
mod compare;
mod features;
mod growth;
mod options;
mod output;
mod run;
mod values;

pub(crate) use command::Cli;
