//! The command line of `millrace rules`.

use std::path::PathBuf;

use clap::Subcommand;

/// Try tag rules (`[[rule]]`) before routers have them.
#[derive(Debug, clap::Args)]
pub(crate) struct Rules {
    #[command(subcommand)]
    pub(crate) what: What,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum What {
    Test(Test),
}

/// Apply the rules of a configuration file to events.
///
/// Prints both tag sets of each: the published one, and with what rules add.
/// Events come on standard input, one a line: objects as `millrace sub --json` prints them, or
/// `TAGS<TAB>PAYLOAD`, with tags as for `millrace pub -t`. Exit code 2: a rule cannot be used; 1: a
/// line is no event.
#[derive(Debug, clap::Args)]
pub(crate) struct Test {
    /// A configuration file of a router, with `[[rule]]` in it. With --rules: a file of events in
    /// place of standard input.
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// The configuration file, if FILE has events.
    #[arg(long, value_name = "CONFIG")]
    pub(crate) rules: Option<PathBuf>,
}
