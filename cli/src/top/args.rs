//! The command line of `millrace top`.

use std::time::Duration;

use crate::admin::AdminArgs;
use crate::options::some_time;

/// Show the cluster on a screen that stays open.
///
/// It has routers, cores, links, hottest tags, slowest receivers and drops. The screen stays open
/// when routers die, and shows them again when they are back. Colours are those of the terminal, so
/// that light and dark ones work; NO_COLOR switches them off.
#[derive(Debug, clap::Args)]
pub(crate) struct Top {
    #[command(flatten)]
    pub(crate) admin: AdminArgs,
    /// Between two looks; rates are means over it.
    #[arg(long, short = 'd', value_name = "DURATION", default_value = "1s", value_parser = some_time)]
    pub(crate) every: Duration,
    /// Look once, print what a screen would show, and end; with --json, an object.
    #[arg(long)]
    pub(crate) once: bool,
    /// Columns of the text that --once prints.
    #[arg(long, value_name = "N", default_value_t = 80, requires = "once", value_parser = clap::value_parser!(u16).range(40..=400))]
    pub(crate) width: u16,
}
