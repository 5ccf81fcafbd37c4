//! The command line of `millrace spool`, and what it leads to.

use std::path::PathBuf;

use clap::Subcommand;

use super::folder::{drop_pending, inspect};
use super::replay::{self, Replay};
use crate::failure::Failure;
use crate::options::Reach;

/// Look after a spool: a folder where events wait for a router.
#[derive(Debug, clap::Args)]
pub(crate) struct SpoolArgs {
    #[command(subcommand)]
    command: Command,
}

impl SpoolArgs {
    /// Whether it sends something to routers.
    pub(crate) const fn sends(&self) -> bool {
        matches!(self.command, Command::Replay(_))
    }
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show what is in a spool, also while a program uses it.
    ///
    /// Changes nothing, and never shows the publisher's secret.
    Inspect {
        /// The folder.
        #[arg(value_name = "DIR")]
        folder: PathBuf,
    },
    /// Send what is pending, with the ids that it had. Ends when nothing is.
    Replay(Replay),
    /// Give up what is pending.
    ///
    /// Files that were set aside are removed, too. The publisher and its seqs stay.
    Drop {
        /// The folder.
        #[arg(value_name = "DIR")]
        folder: PathBuf,
        /// Do it; without this, only say what would go.
        #[arg(long)]
        yes: bool,
    },
}

/// Runs `millrace spool`.
pub(crate) async fn run(reach: &Reach, args: &SpoolArgs) -> Result<(), Failure> {
    let json = reach.json;
    match &args.command {
        Command::Replay(args) => replay::run(reach, args).await,
        Command::Inspect { folder } => inspect(folder, json).map_err(Failure::other),
        Command::Drop { folder, yes } => drop_pending(folder, *yes, json),
    }
}
