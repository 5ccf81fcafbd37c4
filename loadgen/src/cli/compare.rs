//! The command line of `compare`, and of the servers that it starts.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, value_parser};
use millrace_compare::placement::Placing;
use millrace_compare::serve::{Served, serve};
use millrace_compare::system::{Places as Peers, System};
use millrace_compare::workload::Workload;
use millrace_compare::{Options, Watcher, compare};
use millrace_loadgen::progress::Progress;
use millrace_loadgen::record::Record;

use super::output::{Places, write};
use super::values::{payload_bytes, stretch};

/// The same load on Millrace and on what you would otherwise pick.
///
/// In interleaved rounds.
#[derive(Debug, Args)]
pub(crate) struct Compare {
    /// Writes all figures as JSON to this file; `-` is standard output.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Adds the comparison to a collection of runs: a folder with command, JSON and summary, and
    /// the collection's index.
    #[arg(long, value_name = "FOLDER", num_args = 0..=1, default_missing_value = "bench-results")]
    record: Option<PathBuf>,
    /// Rounds of everything; what counts is the median.
    #[arg(long, value_name = "N", value_parser = value_parser!(u32).range(1..=1000), default_value_t = 5)]
    rounds: u32,
    /// Length of each measured stretch.
    #[arg(long, value_parser = stretch, default_value = "5s")]
    duration: Duration,
    /// What to run; repeat it or separate by commas. Default: everything.
    #[arg(long, value_enum, value_delimiter = ',')]
    workload: Vec<Workload>,
    /// What to run it on. Default: everything; what is absent is a row that says how to get it.
    #[arg(long, value_enum, value_delimiter = ',')]
    system: Vec<System>,
    /// Events under way at most in saturating workloads, the same for every system.
    #[arg(long, value_name = "N", value_parser = value_parser!(u64).range(1..=10_000_000), default_value_t = 16_384)]
    window: u64,
    /// Bytes of each payload, at least 28.
    #[arg(long, value_parser = payload_bytes, default_value_t = 128)]
    payload_bytes: u32,
    /// Where servers with one busy thread run, and their generator. Beside other busy programs,
    /// compare with `free`.
    #[arg(long, value_enum, default_value_t)]
    placing: Placing,
    /// Where nats-server is, if not in PATH.
    #[arg(long, value_name = "PATH", env = "NATS_SERVER")]
    nats_server: Option<PathBuf>,
    /// Where the zenoh peer is, if neither in PATH nor where peers/zenoh is built.
    #[arg(long, value_name = "PATH", env = "MILLRACE_PEER_ZENOH")]
    zenoh_peer: Option<PathBuf>,
    /// Shows no progress.
    #[arg(long, short)]
    quiet: bool,
}

/// The comparison's progress on the terminal.
struct Shown<'a>(&'a Progress);

impl Watcher for Shown<'_> {
    fn stage(&self, name: &'static str) {
        self.0.stage(name);
    }

    fn say(&self, text: &str) {
        self.0.say(text);
    }
}

impl Compare {
    /// Whether Millrace delivered everything, and nothing failed.
    pub(crate) fn execute(self) -> anyhow::Result<bool> {
        let mut options = Options::new(Peers { nats_server: self.nats_server, zenoh_peer: self.zenoh_peer });
        options.rounds = self.rounds;
        options.duration = self.duration;
        options.payload_bytes = self.payload_bytes;
        options.window = self.window;
        options.placing = self.placing;
        if !self.workload.is_empty() {
            options.workloads = self.workload;
        }
        if !self.system.is_empty() {
            options.systems = self.system;
        }
        let progress = Progress::new(self.quiet);
        let report = compare(&options, &Shown(&progress));
        progress.done();
        let (said, json) = (report.summary(), serde_json::to_string_pretty(&report)? + "\n");
        let run = Record { name: "compare", json: &json, summary: &said, html: None };
        write(&run, Places { json: self.json.as_ref(), html: None, folder: self.record.as_ref() })?;
        Ok(report.is_clean())
    }
}

/// Plays one of the servers that `compare` starts; ends when standard input does.
#[derive(Debug, Args)]
pub(crate) struct Serve {
    #[arg(value_enum)]
    served: Served,
    /// Where the server's one busy thread runs.
    #[arg(long, value_enum, default_value_t)]
    placing: Placing,
}

impl Serve {
    pub(crate) fn execute(&self) -> anyhow::Result<bool> {
        serve(self.served, self.placing)?;
        Ok(true)
    }
}
