//! The commands that judge one feature each.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::ensure;
use clap::Args;
use millrace_loadgen::features::quench::{QuenchSettings, quench};
use millrace_loadgen::features::requests::{self, RequestSettings};
use millrace_loadgen::features::{FeatureError, Figures, Report};
use millrace_loadgen::progress::Progress;
use millrace_loadgen::record::Record;

use super::options::rate;
use super::output::{Places, write};

/// Where the result of a feature's command goes.
#[derive(Debug, Args)]
struct Out {
    /// Writes the report as JSON to this file; `-` is standard output.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Adds the run to a collection of runs: a folder with command, JSON and summary, and the
    /// collection's index.
    #[arg(long, value_name = "FOLDER", num_args = 0..=1, default_missing_value = "bench-results")]
    record: Option<PathBuf>,
    /// Shows no progress.
    #[arg(long, short)]
    quiet: bool,
}

impl Out {
    /// Runs something and writes its report; whether it passed.
    fn of<F: Figures>(
        &self,
        name: &'static str,
        run: impl FnOnce(&Progress) -> Result<Report<F>, FeatureError>,
    ) -> anyhow::Result<bool> {
        let progress = Progress::new(self.quiet);
        let report = run(&progress);
        progress.done();
        let report = report?;
        let (said, json) = (report.summary(), serde_json::to_string_pretty(&report)? + "\n");
        let run = Record { name, json: &json, summary: &said, html: None };
        write(&run, Places { json: self.json.as_ref(), html: None, folder: self.record.as_ref() })?;
        Ok(report.passed())
    }
}

/// What quench saves when nobody wants most of what is published, and whether anything is missed.
///
/// Emitters publish with quench off, then with it; then those alone that nobody wants, which may
/// cost routers what silence costs, because their events stay where they are made. In the end
/// somebody subscribes to one more emitter again and again, and must get the event that it publishes
/// at once. The exit code is 1 when an event that somebody wanted is missing, or one that nobody
/// wanted crossed without being a sample (one of each emitter every 10 s).
#[derive(Debug, Args)]
pub(super) struct QuenchArgs {
    /// Emitters, each with a tag set of its own.
    #[arg(long, value_name = "N", default_value_t = QuenchSettings::default().emitters)]
    emitters: u32,
    /// One emitter of so many is wanted.
    #[arg(long, value_name = "N", default_value_t = QuenchSettings::default().one_in)]
    one_in: u32,
    /// Connections that carry them, dealt out to the routers.
    #[arg(long, value_name = "N", default_value_t = QuenchSettings::default().connections)]
    connections: u32,
    /// Router processes, linked with each other, at most 16.
    #[arg(long, value_name = "N", default_value_t = QuenchSettings::default().routers)]
    routers: u16,
    /// Events per second that all emitters together have: 20000, 50k.
    #[arg(long, value_parser = rate, default_value = "20000")]
    rate: u64,
    /// Length of each of the four stretches.
    #[arg(long, value_parser = humantime::parse_duration, default_value = "2s")]
    duration: Duration,
    /// Times that somebody subscribes to one more emitter.
    #[arg(long, value_name = "N", default_value_t = QuenchSettings::default().switches)]
    switches: u32,
    #[command(flatten)]
    out: Out,
}

impl QuenchArgs {
    /// Whether what was wanted came, and the rest was saved.
    pub(super) fn execute(self) -> anyhow::Result<bool> {
        ensure!((2..=1_000_000).contains(&self.emitters), "--emitters is from 2 to 1000000");
        ensure!((2..=self.emitters).contains(&self.one_in), "--one-in is from 2 to the number of emitters");
        ensure!(
            (1..=self.emitters.min(1_000)).contains(&self.connections),
            "--connections is from 1 to 1000, and no more than emitters"
        );
        ensure!((1..=16).contains(&self.routers), "--routers is from 1 to 16");
        let Self { emitters, one_in, connections, routers, rate, duration, switches, out } = self;
        let settings = QuenchSettings { emitters, one_in, connections, routers, rate, duration, switches };
        out.of("quench", |progress| quench(&settings, progress))
    }
}

/// 100,000 requests that wait for their replies at once, and what each takes at routers.
///
/// A responder at another router holds all requests until the last one is there, then replies.
/// After that some are asked in turn, for the time that a reply takes; receivers that have just
/// subscribed are asked at once; and nobody is asked. The exit code is 1 when a request has not its own
/// reply, once, when somebody who had subscribed is said to be nobody, or when an open request takes
/// more than --bytes of the resident memory of routers.
#[derive(Debug, Args)]
pub(super) struct RequestArgs {
    /// Requests that wait at once; a requester has 131072 at most.
    #[arg(long, value_name = "N", default_value_t = RequestSettings::default().outstanding)]
    outstanding: u32,
    /// Connections that ask.
    #[arg(long, value_name = "N", default_value_t = RequestSettings::default().requesters)]
    requesters: u32,
    /// Router processes, linked with each other, at most 16.
    #[arg(long, value_name = "N", default_value_t = RequestSettings::default().routers)]
    routers: u16,
    /// Requests that are asked in turn, at a time.
    #[arg(long, value_name = "N", default_value_t = RequestSettings::default().at_a_time)]
    at_a_time: u32,
    /// For how long they are.
    #[arg(long, value_parser = humantime::parse_duration, default_value = "3s")]
    duration: Duration,
    /// Receivers that are asked as soon as they have subscribed.
    #[arg(long, value_name = "N", default_value_t = RequestSettings::default().fresh)]
    fresh: u32,
    /// Bytes that an open request may take at routers.
    #[arg(long, value_name = "N", default_value_t = RequestSettings::default().bytes_max)]
    bytes: u64,
    #[command(flatten)]
    out: Out,
}

impl RequestArgs {
    /// Whether every request had its reply.
    pub(super) fn execute(self) -> anyhow::Result<bool> {
        ensure!((1..=64).contains(&self.requesters), "--requesters is from 1 to 64");
        ensure!((10..=200_000).contains(&self.outstanding), "--outstanding is from 10 to 200000");
        ensure!((1..=1_000).contains(&self.at_a_time), "--at-a-time is from 1 to 1000");
        ensure!((1..=16).contains(&self.routers), "--routers is from 1 to 16");
        let Self { outstanding, requesters, routers, at_a_time, duration, fresh, bytes, out } = self;
        let settings = RequestSettings {
            outstanding,
            requesters,
            routers,
            at_a_time,
            duration,
            fresh,
            bytes_max: bytes,
        };
        out.of("requests", |progress| requests::requests(&settings, progress))
    }
}
