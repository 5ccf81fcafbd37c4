//! The command line of `growth`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, value_parser};
use millrace_loadgen::growth::{GrowthOptions, What, growth};
use millrace_loadgen::progress::Progress;
use millrace_loadgen::record::Record;

use super::output::{Places, write};
use super::values::{rate, stretch};

/// What an event costs with more selectors, connections, or routers.
#[derive(Debug, Args)]
pub(crate) struct Growth {
    /// What grows; repeat it or separate by commas. Default: everything.
    #[arg(long, value_enum, value_delimiter = ',')]
    what: Vec<What>,
    /// Writes all figures as JSON to this file; `-` is standard output.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Adds the figures to a collection of runs: a folder with command, JSON and summary, and the
    /// collection's index.
    #[arg(long, value_name = "FOLDER", num_args = 0..=1, default_missing_value = "bench-results")]
    record: Option<PathBuf>,
    /// Rounds of everything; what counts is the median of their ratios.
    #[arg(long, value_name = "N", value_parser = value_parser!(u32).range(1..=1000), default_value_t = 5)]
    rounds: u32,
    /// Length of each measured stretch.
    #[arg(long, value_parser = stretch, default_value = "5s")]
    duration: Duration,
    /// Events per second: 50000, 50k.
    #[arg(long, value_parser = rate, default_value = "50000")]
    rate: u64,
    /// Shows no progress.
    #[arg(long, short)]
    quiet: bool,
}

impl Growth {
    /// Whether everything was delivered; whether a bar is met is in the report.
    pub(crate) fn execute(self) -> anyhow::Result<bool> {
        let what = if self.what.is_empty() { What::ALL.to_vec() } else { self.what };
        let progress = Progress::new(self.quiet);
        let options = GrowthOptions { what, rounds: self.rounds, duration: self.duration, rate: self.rate };
        let report = growth(&options, &progress);
        progress.done();
        let (said, json) = (report.summary(), serde_json::to_string_pretty(&report)? + "\n");
        let run = Record { name: "growth", json: &json, summary: &said, html: None };
        write(&run, Places { json: self.json.as_ref(), html: None, folder: self.record.as_ref() })?;
        Ok(report.is_clean())
    }
}
