//! The command line of `millrace tap`.

use std::time::Duration;

use crate::options::{count, some_time};

/// Show what flows: rates, samples, and a summary at the end.
///
/// Each second, a line says how many events and bytes came; between them stand a few of the events.
/// What is not shown is counted, and on a terminal lines are cut at its width. A summary of tags
/// ends it: after --for, after -n events, or at an interrupt (Ctrl-C). It takes events as fast as
/// they come; when this host cannot keep up, the oldest are dropped at the router and counted here,
/// and publishers do not wait. With --json, samples, rates and the summary are objects.
#[derive(Debug, clap::Args)]
pub(crate) struct Tap {
    /// What to look at, as for `millrace sub`.
    #[arg(value_name = "SELECTOR", required = true)]
    pub(crate) selectors: Vec<String>,
    /// End after this time.
    #[arg(long = "for", value_name = "DURATION", value_parser = some_time)]
    pub(crate) duration: Option<Duration>,
    /// End after this many events. An interrupt before that ends with code 130.
    #[arg(long, short = 'n', value_name = "N", value_parser = count)]
    pub(crate) count: Option<u64>,
    /// Events that are shown of each second.
    #[arg(long, value_name = "N", default_value_t = 5)]
    pub(crate) samples: u32,
}
